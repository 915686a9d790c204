"""The minimizer of a quadratic model on a sphere, in a ball and under a cubic term, against all angles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian.steps import trust_region
from hessian.steps.eigenbasis import Eigenbasis

ANGLES = np.linspace(-np.pi, np.pi, 40_001)
# curvatures and slopes: a bowl, a saddle, a cap, a trough, and three that lose the slope along the first mode
MODELS = {
    "bowl": ((1.0, 3.0), (0.3, -0.2)),
    "saddle": ((-1.0, 2.0), (-0.4, 0.7)),
    "cap": ((-2.0, -1.0), (0.5, 0.5)),
    "trough": ((0.0, 2.0), (0.1, -1.0)),
    "plane": ((0.0, 0.0), (0.3, 0.4)),
    "hard": ((-1.0, 2.0), (0.0, 0.6)),
    "hard but for rounding": ((-1.0, 2.0), (1e-40, 0.6)),
    "hard on the other side": ((-1.0, 2.0), (-1e-40, 0.6)),
}


def rise(p, values, slopes):
    return p @ slopes + p**2 @ values / 2


def lowest_on_circle(values, slopes, radius):
    points = radius * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
    return np.min(rise(points, np.array(values), np.array(slopes)))


@pytest.mark.parametrize("radius", [0.1, 1.0, 5.0])
@pytest.mark.parametrize("name", MODELS)
def test_on_a_sphere_and_in_a_ball_no_point_is_lower(name, radius):
    values, slopes = (np.array(x) for x in MODELS[name])
    on_circle = lowest_on_circle(values, slopes, radius)
    p = np.asarray(jax.jit(trust_region.on_sphere)(values, slopes, radius))
    np.testing.assert_allclose(np.linalg.norm(p), radius, rtol=1e-9)
    np.testing.assert_allclose(rise(p, values, slopes), on_circle, rtol=1e-6)
    assert p[0] * slopes[0] <= 0
    found = Eigenbasis(jnp.asarray(values), jnp.eye(2), jnp.asarray(slopes), jnp.int32(2))
    inside, rest, size = jax.jit(trust_region.in_ball)(found, jnp.asarray(radius))
    p = np.add(inside, [rest, 0])
    np.testing.assert_allclose(size, np.linalg.norm(p), rtol=1e-9)
    newton = -slopes / np.where(values, values, 1)
    within = values[0] > 0 and np.linalg.norm(newton) < radius
    want = rise(newton, values, slopes) if within else on_circle
    np.testing.assert_allclose(rise(p, values, slopes), want, rtol=1e-6)


@pytest.mark.parametrize("weight", [0.1, 4.0])
@pytest.mark.parametrize("name", MODELS)
def test_with_a_cubic_term_no_circle_holds_a_lower_point(name, weight):
    values, slopes = MODELS[name]
    found = Eigenbasis(jnp.asarray(values), jnp.eye(2), jnp.asarray(slopes), jnp.int32(2))
    inside, rest = jax.jit(trust_region.cubic)(found, jnp.asarray(weight))
    p = np.add(inside, [rest, 0])
    size = np.linalg.norm(p)
    reached = rise(p, np.array(values), np.array(slopes)) + weight * size**3 / 3
    for share in (0.5, 0.9, 0.999, 1.0, 1.001, 1.1, 2.0):
        radius = share * size
        other = lowest_on_circle(values, slopes, radius) + weight * radius**3 / 3
        assert reached <= other + 1e-7 * abs(other)


def test_however_small_the_slope_along_the_first_mode_both_ways_out_are_of_the_length():
    """Its halvings resolve the root to 1e-30 of its range: below, the part of the way there is no part of the step."""

    @jax.jit
    @jax.vmap
    def lengths(slope):
        found = Eigenbasis(jnp.array([-1.0, 2.0]), jnp.eye(2), jnp.stack([slope, jnp.array(0.6)]), jnp.int32(2))
        inside, rest, _ = trust_region.in_ball(found, jnp.array(1.0))
        under, left = trust_region.cubic(found, jnp.array(1.0))
        return [jnp.hypot(at[0] + side * way, at[1]) for at, way in ((inside, rest), (under, left)) for side in (1, -1)]

    for_ball, back, for_cubic, back_again = lengths(10.0 ** np.arange(-40, 0, 0.25))
    np.testing.assert_allclose(for_ball, 1, rtol=1e-12)
    np.testing.assert_allclose(back, 1, rtol=1e-12)
    np.testing.assert_allclose(for_cubic, back_again, rtol=1e-12)
