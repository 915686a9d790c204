"""The tolerances of verdicts, each by its formula at a point of length 3, and what each of them guards."""

import jax.numpy as jnp
import numpy as np
import pytest

from hessian.numerics import length_scale
from hessian.tolerances import distance_tol, negligible_decrease, slope_tols, zero_band

POINT = (1.0, 2.0, -2.0)
EPS = np.finfo(float).eps


@pytest.mark.parametrize(("dtype", "share"), [("float64", 1e-6), ("float32", np.finfo("float32").eps ** 0.5)])
def test_near_is_a_share_of_one_and_the_length(dtype, share):
    theta = jnp.array(POINT, dtype)
    assert length_scale(theta) == 4
    np.testing.assert_allclose(distance_tol(theta), 4 * share, rtol=1e-6)


def test_a_decrease_that_does_not_count_is_rounding_of_the_loss_or_of_its_curvature():
    theta = jnp.array(POINT)
    for value, norm, want in ((3.0, 1.0, 4.0), (-3.0, 1.0, 4.0), (99.0, 0.5, 8.0), (0.0, 1e-3, 0.016)):
        np.testing.assert_allclose(negligible_decrease(theta, jnp.asarray(value), jnp.asarray(norm)), want * EPS)


def test_a_slope_is_small_by_newtons_step_or_by_rounding_and_where_no_sign_is_certain_by_its_decrease():
    values, seen = jnp.array([-2.0, 1e-20, 1e-5, 8.0]), jnp.array([True, False, True, True])
    strict, loose = slope_tols(jnp.array(POINT), jnp.asarray(8.0), values, seen, 1e-11, jnp.asarray(1e-9))
    np.testing.assert_allclose(strict, [2e-9, 1e-11, 1e-11, 8e-9], rtol=1e-12)
    decrease = 9 * EPS
    # of slope a and curvature h Newton's step brings a^2 / 2h; without curvature a step as long as the scale brings 4 a
    np.testing.assert_allclose(loose, [np.sqrt(2 * decrease), 1e-11, np.sqrt(1e-5 * decrease), np.sqrt(8 * decrease)])
    far = slope_tols(jnp.array(POINT), jnp.asarray(8.0), values, seen, 0.0, jnp.asarray(0.0))
    np.testing.assert_array_equal(far[0], 0)
    np.testing.assert_allclose(far[1][1], decrease / 4)


def test_the_zero_band_is_the_larger_of_two_roundings_or_what_was_asked_for():
    for norm, blur, asked, want in (
        (2.0, 0.0, None, 100 * EPS),
        (2.0, 11 * EPS, None, 110 * EPS),
        (2.0, 9 * EPS, None, 100 * EPS),
        (2.0, 9.0, 0.0, 0.0),
        (2.0, 9.0, 0.25, 0.25),
    ):
        np.testing.assert_allclose(zero_band(jnp.asarray(norm), jnp.asarray(blur), asked), want)
