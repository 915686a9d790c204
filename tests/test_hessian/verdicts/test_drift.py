"""How far curvature changes on the way to a critical point: by the formulas in NumPy, and where there is a kink."""

import jax.numpy as jnp
import numpy as np
import pytest

from hessian.roundoff import UNIFORM
from hessian.verdicts.drift import Frame, drift

# the mode in the middle is rounding: no step is made along it
VALUES, GRADIENT, TURN = np.array([-8.0, 0.0, 2.0]), np.array([0.3, 0.01, -0.05]), np.array([0.7, 0.9, 0.4])
SEEN, STIFFEST = VALUES != 0, [0, 2, 1]


def frame(gradient, error):
    theta, gradient, values, seen = (jnp.asarray(x) for x in (np.zeros(3), gradient, VALUES, SEEN))
    return Frame(theta, gradient, values, jnp.eye(3), seen, jnp.full(3, error), jnp.asarray(0.0))


def slope(x):
    """Of a loss whose i-th curvature is values_i + turn_i x_i."""
    return GRADIENT + VALUES * x + TURN * x**2 / 2


@pytest.mark.parametrize("turns", [False, True], ids=["of the gradient alone", "of the curvature too"])
def test_the_change_is_the_largest_at_newtons_step_and_at_the_corners_of_its_box_stiffest_first(turns):
    sizes = np.where(SEEN, VALUES, 1)
    first = -GRADIENT * SEEN / sizes
    second = -slope(first) * SEEN / sizes
    corner = 2 * (np.abs(first) + np.abs(second)) * np.sign(UNIFORM[:3])
    root = np.sqrt(np.abs(sizes))
    worst = np.zeros(3)
    for move in (first, corner, -corner, first / 2, 2 * first):
        left = TURN * move**2 / 2 / root
        worst = np.maximum(worst, np.sqrt(np.cumsum(left[STIFFEST] ** 2)) / np.linalg.norm((root * move)[SEEN]))
    for move in (first, corner, -corner) if turns else ():
        worst = np.maximum(worst, np.sqrt(np.cumsum((TURN * move / root**2)[STIFFEST] ** 2)))
    found = drift(frame(GRADIENT, 1e-15), slope, lambda x: jnp.diag(VALUES + turns * TURN * x))
    np.testing.assert_allclose(found.relative[np.array(STIFFEST)], worst, rtol=1e-9)
    assert not found.kink


def test_a_gradient_that_jumps_in_its_derivative_has_a_kink():
    for jump, kink in ((0.0, False), (1e-3, True)):
        bent = lambda x, jump=jump: VALUES * x + TURN * x**2 / 2 + jump * jnp.abs(x)  # noqa: E731
        assert bool(drift(frame(np.zeros(3), 0.0), bent, lambda x: jnp.diag(VALUES)).kink) == kink
