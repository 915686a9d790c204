"""The last stretch: which way out of the hard case, and exact counts on a parabola."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian.steps import sr1_trust_region
from hessian.steps.eigenbasis import Eigenbasis
from hessian.steps.second_order import Flat


def walk_at(value=0.0, gradient=(0.0, 0.0), region=1.0, theta=(0.0, 0.0), left=100):
    none = jnp.int32(0)
    arrays = (jnp.asarray(x, float) for x in (theta, value, gradient, region))
    return sr1_trust_region.Walk(
        jnp.bool_(True), *arrays, jnp.bool_(True), jnp.bool_(False), jnp.int32(left), none, none, none, none, none,
        jax.random.key(0),
    )  # fmt: skip


@jax.jit
def proposed(tilt, wall, region, values, projections):
    def loss(x):
        return jnp.where(x[0] > wall, jnp.nan, tilt * x[0])

    found = Eigenbasis(values, jnp.eye(2), projections, jnp.int32(2))
    return sr1_trust_region._proposed(loss, walk_at(region=region), found)


def test_both_sides_of_the_hard_case_are_tried_and_only_there():
    saddle, valley, still = (jnp.array(x) for x in ((-1.0, 2.0), (1.0, 2.0), (0.0, 0.0)))
    for tilt, wall, values, projections, want, boundary, evaluations in (
        (1.0, 9.0, saddle, still, (-0.5, 0), True, 2),
        (-1.0, 9.0, saddle, still, (0.5, 0), True, 2),
        (-1.0, 0.0, saddle, still, (-0.5, 0), True, 2),
        (1.0, 9.0, valley, jnp.array([0.1, 0.2]), (-0.1, -0.1), False, 0),
        (1.0, 9.0, valley, jnp.array([0.496, 0.0]), (-0.496, 0), True, 0),
        (1.0, 9.0, valley, jnp.array([0.49, 0.0]), (-0.49, 0), False, 0),
        (1.0, 9.0, saddle, jnp.array([9.0, 0.0]), (-0.5, 0), True, 0),
    ):
        p, point, on_boundary, tried = proposed(tilt, wall, 0.5, values, projections)
        np.testing.assert_allclose(p, want, rtol=1e-9)
        np.testing.assert_allclose(point, p)
        assert (bool(on_boundary), int(tried)) == (boundary, evaluations)


def parabola(w, bends):
    return 1 + bends @ w**2 / 2


@jax.jit
def finished(theta, bends, region, left, gradient_tol, curvature_tol, floor):
    flat = Flat(parabola, lambda x: x, (bends,))
    walk = walk_at(parabola(theta, bends), theta, region, theta)._replace(left=left)
    return sr1_trust_region.sr1_trust_region(sr1_trust_region.Goal(flat, floor, gradient_tol, curvature_tol), walk)


# Start, curvature, first radius, steps allowed, gradient_tol, curvature_tol, floor; then where it ends and how many
# steps, gradients, products and losses it takes.  On a parabola every step is what was predicted.
WALKS = {
    "one step inside": ((0.3, 0.4), (1.0, 1.0), 1.0, 100, 1e-6, 0.0, -9.0, (0, 0), 1, 2, 2, 0),
    "there already": ((0.0, 0.0), (1.0, 1.0), 1.0, 100, 1e-6, 0.0, -9.0, (0, 0), 0, 1, 2, 0),
    "radii that double": ((7.0, 0.0), (1.0, 1.0), 1.0, 100, 1e-6, 0.0, -9.0, (0, 0), 3, 4, 2, 0),
    "a budget of two": ((7.0, 0.0), (1.0, 1.0), 1.0, 2, 1e-6, 0.0, -9.0, (4, 0), 2, 3, 2, 0),
    "a budget of none": ((7.0, 0.0), (1.0, 1.0), 1.0, 0, 1e-6, 0.0, -9.0, (7, 0), 0, 1, 0, 0),
    "the saddle, to the floor": ((0.0, 0.0), (-1.0, 1.0), 1.0, 100, 1e-6, 0.0, -99.0, (15, 0), 4, 5, 2, 2),
    "a saddle that is allowed": ((0.0, 0.0), (-1.0, 1.0), 1.0, 100, 1e-6, 2.0, -99.0, (0, 0), 0, 1, 2, 0),
    "a gradient that is allowed": ((0.3, 0.4), (1.0, 1.0), 1.0, 100, 1.0, 0.0, -9.0, (0, 0), 1, 2, 2, 0),
}


@pytest.mark.full
@pytest.mark.parametrize("case", WALKS, ids=WALKS)
def test_on_a_parabola_every_count_is_known(case):
    start, bends, region, left, gradient_tol, curvature_tol, floor, end, *counts = WALKS[case]
    found = finished(
        *(jnp.asarray(x, float) for x in (start, bends, region)), jnp.int32(left), gradient_tol, curvature_tol, floor
    )
    np.testing.assert_allclose(jnp.abs(found.theta), end, atol=1e-12)
    assert [int(x) for x in (found.steps, found.gradients, found.num_matvecs, found.evaluations)] == counts
    assert found.left == left - found.gradients + 1
