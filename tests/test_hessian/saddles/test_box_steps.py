"""Steps within bounds: exact ends and counts on a parabola in a box."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian.bounds import Box
from hessian.saddles.box_steps import projected_trust_region
from hessian.saddles.find_minimum import _begun
from hessian.steps.second_order import Flat
from hessian.steps.sr1_trust_region import Goal

pytestmark = pytest.mark.full


def parabola(w, bends, center, constant):
    return constant + bends @ (w - center) ** 2 / 2


@jax.jit
def walked(bends, center, constant, upper, region, left, floor, gradient_tol):
    """A walk from the origin, in a box from -1 to `upper`."""
    flat, theta = Flat(parabola, lambda x: x, (bends, center, constant)), jnp.zeros(2)
    walk = _begun(theta, flat(theta), region, left, jax.random.key(0))
    return projected_trust_region(Goal(flat, floor, gradient_tol, 0.0), walk, Box(jnp.full(2, -1.0), upper))


BOWL = {
    "bends": (1.0, 1.0), "center": (2.0, 0.0), "constant": 0.0, "upper": (9.0, 1.0), "region": 8.0, "left": 100,
    "floor": -9.0, "gradient_tol": 1e-6,
}  # fmt: skip
# What is given; where it ends, the steps that are taken, those that are looked at, and the next radius.
WALKS = {
    "to the bottom": ({}, (2, 0), 1, 2, 8.0),
    "to the bound": ({"upper": (1.0, 1.0)}, (1, 0), 1, 2, 8.0),
    "to the corner": (
        {"upper": (1.0, 1.0), "center": (2.0, 9.0), "region": 99.0},
        (1, 1),
        1,
        2,
        np.sqrt(85) / 2,
    ),  # 10 of 42.5
    "radii that double": ({"center": (7.0, 0.0), "region": 1.0}, (7, 0), 3, 4, 8.0),
    "a budget of two": ({"center": (7.0, 0.0), "region": 1.0, "left": 2}, (3, 0), 2, 2, 4.0),
    "a budget of none": ({"left": 0}, (0, 0), 0, 0, 8.0),
    "a bottom at the floor": ({"floor": 0.0}, (2, 0), 1, 2, 8.0),
    "a step below the floor": ({"center": (7.0, 0.0), "region": 1.0, "floor": 18.1}, (1, 0), 1, 1, 2.0),
    "a step to the floor": ({"center": (7.0, 0.0), "region": 1.0, "floor": 18.0}, (3, 0), 2, 2, 4.0),
    "a saddle, into a corner": ({"bends": (-1.0, 1.0), "center": (0.0, 0.0), "upper": (1.0, 1.0)}, (1, 0), 1, 2, 4.0),
    "a slope that is allowed": ({"gradient_tol": 4.0, "constant": 2.0**52}, (0, 0), 0, 1, 8.0),
    "a slope that is not": ({"gradient_tol": 3.9, "constant": 2.0**52}, (2, 0), 1, 2, 8.0),
}


@pytest.mark.parametrize("case", WALKS, ids=WALKS)
def test_in_a_box_every_step_and_every_count_is_known(case):
    given, end, steps, looks, region = WALKS[case]
    given = {**BOWL, **given}
    left = given.pop("left")
    found = walked(**{name: jnp.array(x, float) for name, x in given.items()}, left=jnp.int32(left))
    np.testing.assert_allclose(jnp.abs(found.theta), end, atol=1e-9)
    shape = (np.array(given[name]) for name in ("bends", "center", "constant"))
    assert found.value == parabola(np.array(found.theta), *shape)
    assert (int(found.steps), int(found.left)) == (steps, left - looks)
    # Each look takes the gradient beside the bounds, on them and on the face, one more to judge by, and all products.
    assert (int(found.gradients), int(found.num_matvecs)) == (4 * looks, 2 * looks)
    assert int(found.evaluations) == (2 + 1) * looks  # both sides of a step, and the loss on the face
    np.testing.assert_allclose(found.region, region, rtol=1e-12)
    assert bool(found.moved)
