"""When a step is taken: by the loss where its decrease is seen, else by the gradient; the smallest length; the sign."""

import jax.numpy as jnp
import numpy as np
import pytest

from hessian.steps.acceptance import accepted, descent_sign, gradient_fell, loss_rounding, smallest_visible_step

EPS = np.finfo(float).eps

JUDGED = {
    "half of what was promised": (1.0, 0.0, (1.0, 0.0), 2.0, True, 0.5),
    "next to nothing": (1.0, 1 - 1e-4, (1.0, 0.0), 1.0, False, 0.0),
    "exactly the least share": (1e-4, 0.0, (1.0, 0.0), 1.0, False, 0.0),
    "a little more": (1.0, 1 - 1.4e-4, (1.0, 0.0), 1.0, True, 1.4e-4),
    "uphill": (1.0, 1.5, (0.1, 0.0), 1.0, False, 0.0),
    "uphill, as promised": (1.0, 1.5, (0.1, 0.0), -1.0, False, 0.0),
    "nothing promised": (1.0, 0.5, (0.1, 0.0), 0.0, False, 0.5),
    "hidden, and calmer": (1.0, 1.0, (0.89, 0.0), 9 * EPS, True, 0.0),
    "hidden, at the edge": (1.0, 1.0, (0.89, 0.0), 10 * EPS, True, 0.0),
    "not hidden": (1.0, 1.0, (0.89, 0.0), 11 * EPS, False, 0.0),
    "hidden, and not calmer": (1.0, 1.0, (0.9, 0.0), 9 * EPS, False, 0.0),
    "hidden, but uphill": (1.0, 1 + 2 * EPS, (0.0, 0.0), 9 * EPS, False, 0.0),
}


@pytest.mark.parametrize("case", JUDGED, ids=JUDGED)
def test_a_step_is_judged_by_the_loss_or_where_that_is_blind_by_the_gradient(case):
    before, after, gradient, predicted, good, ratio = JUDGED[case]
    before, after, predicted = (jnp.asarray(x) for x in (before, after, predicted))
    fell = gradient_fell(jnp.asarray(1.0), jnp.linalg.norm(jnp.asarray(gradient)))
    taken, share = accepted(before, after, predicted, predicted > 0, fell)
    assert bool(taken) == good
    np.testing.assert_allclose(share, ratio, rtol=1e-9)


def test_a_gradient_fell_where_less_than_nine_tenths_of_it_are_left():
    for before, after, fell in ((2.0, 1.79, True), (2.0, 1.8, False), (2.0, 1.9, False), (0.5, 0.46, False)):
        assert bool(gradient_fell(jnp.asarray(before), jnp.asarray(after))) == fell


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_loss_shows_no_less_than_ten_of_its_roundings(dtype):
    for value in (4.0, -4.0, 0.25, 0.0):
        assert loss_rounding(jnp.asarray(value, dtype)) == 10 * abs(value) * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_the_smallest_visible_step_lowers_a_parabola_by_64_roundings(dtype):
    for value, curvature in ((3.0, -2.0), (-0.5, 8.0)):
        t = smallest_visible_step(jnp.asarray(value, dtype), jnp.asarray(curvature, dtype))
        assert t.dtype == dtype
        decrease = abs(curvature) * float(t) ** 2 / 2
        np.testing.assert_allclose(decrease, 64 * jnp.finfo(dtype).eps * abs(value), rtol=1e-5)


def test_the_gradient_tells_the_sign_where_its_slope_matters_at_this_length():
    for slope, length, sign, known in (
        (0.5, 1.0, -1, True),
        (-0.5, 1.0, 1, True),
        (0.0, 1.0, 1, False),
        (2.1e-3, 1.0, -1, True),
        (2e-3, 1.0, -1, False),  # exactly at the edge
        (1.9e-3, 1.0, -1, False),
        (1.9e-3, 0.5, -1, True),
    ):
        found = descent_sign(jnp.asarray(slope), jnp.asarray(-2.0), jnp.asarray(length))
        assert (float(found[0]), bool(found[1])) == (sign, known)
