"""How far curvature changes on the way to a critical point: by the formulas in NumPy, and where there is a kink."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian.roundoff import UNIFORM
from hessian.verdicts.drift import MAX_DRIFT, Frame, drift, slope_left

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


EPS = np.finfo(float).eps
THETA, SIDE = np.array([600.0, 0, 800]), np.sign(UNIFORM[:3])
FIRST = -GRADIENT * SEEN / np.where(SEEN, VALUES, 1)
ERRORS = np.array([4e-9, 1e-9, 8e-9])
NOISE = np.maximum(ERRORS, 9e-9 / np.sqrt(3))  # rounding along each eigenvector, and its mean over all at least


def ways(jump, errors):
    """Newton's step, the corners of the box, half and twice the step, and both sides of theta."""
    sizes = np.where(SEEN, np.abs(VALUES), np.inf)
    beside = 16 * EPS * 1000
    corner = SIDE * (2 * (np.abs(FIRST) + np.abs(jump) / sizes + 0.3 * errors / sizes) + 16 * beside)
    return np.array([FIRST, corner, -corner, FIRST / 2, 2 * FIRST, SIDE * beside, -SIDE * beside])


@jax.jit
@jax.vmap
def drifted(jumps, bends, errors, entry_error, places):
    """Of a bowl whose gradient jumps at each of seven places alone, and whose curvature is bent at each of them."""

    def here(x):
        return jnp.all(jnp.abs(x - THETA - places) <= 5e-13, axis=1)

    theta, gradient, values, seen = (jnp.asarray(x) for x in (THETA, GRADIENT, VALUES, SEEN))
    one = Frame(theta, gradient, values, jnp.eye(3), seen, errors, entry_error)
    return drift(
        one, lambda x: gradient + values * (x - theta) + here(x) @ jumps, lambda x: jnp.diag(values) + here(x) @ bends
    )


def of_cases(*cases):
    """Up to seven cases of (jumps, bends, errors, entry_error), each jump and bend with the number of its place."""
    asked = len(cases)
    cases = [*cases, *[({}, {}, ERRORS, 0.0)] * (7 - asked)]  # one program serves all
    jumps, bends = np.zeros((len(cases), 7, 3)), np.zeros((len(cases), 7))
    for row, (jump, bend, _, _) in enumerate(cases):
        for place, size in jump.items():
            jumps[row, place] = size
        for place, size in bend.items():
            bends[row, place] = size
    errors, entries = np.array([case[2] for case in cases]), np.array([case[3] for case in cases])
    places = np.array([ways(jump[0], error) for jump, error in zip(jumps, errors, strict=True)])
    return jax.tree.map(lambda x: x[:asked], drifted(jumps, bends, errors, entries, places))


def test_the_slope_deviates_in_five_places_beyond_its_noise_and_is_measured_by_the_energy_of_the_move():
    jump = np.array([3e-8, -5e-8, 7e-8])
    found = of_cases(*(({place: jump}, {}, ERRORS, 0.0) for place in range(7)))
    root = np.sqrt(np.abs(np.where(SEEN, VALUES, 1)))
    for place, relative in enumerate(found.relative):
        move = THETA + ways(jump if place == 0 else 0 * jump, ERRORS)[place] - THETA  # after rounding
        left = (np.abs(jump) - NOISE) / root
        energy = np.linalg.norm((root * move)[SEEN])
        want = np.sqrt(np.cumsum(left[STIFFEST] ** 2)) / energy
        np.testing.assert_allclose(relative[np.array(STIFFEST)], want, rtol=1e-5)
    moved = np.linalg.norm(2 * FIRST)
    lost = 50 * EPS * 8 * moved  # what rounding of the curvature makes of the slope
    quiet = of_cases(*[({4: np.array([3 * lost, 0, 0])}, {}, 0 * ERRORS, 0.0)] * 7)
    energy = np.linalg.norm((root * 2 * FIRST)[SEEN])
    np.testing.assert_allclose(quiet.relative[0], 2 * lost / root[0] / energy, rtol=1e-2)


def test_curvature_turns_at_newtons_step_and_at_two_corners_beyond_the_rounding_of_its_entries():
    jump = np.array([3e-3, 0, -2e-3])  # so that the second step is none of rounding
    found = of_cases(*(({0: jump}, {place: 9.0}, ERRORS, 1.0) for place in range(7)))
    root = np.sqrt(np.abs(np.where(SEEN, VALUES, 1)))[STIFFEST]
    scaled = 8.0 / np.outer(root, root)
    turned = [np.linalg.norm(scaled[:k, :k]) for k in (1, 2, 3)]
    np.testing.assert_allclose(found.relative[:3, np.array(STIFFEST)], [turned] * 3, rtol=1e-12)
    assert (found.relative[3:] < 0.1).all()


def test_a_deviation_that_is_sudden_or_as_steep_beside_the_point_as_far_from_it_is_a_kink():
    edge = 16 * (5e-8 + 9e-9)  # of a deviation of 5e-8 at p, and of rounding
    quiet = np.full(3, 1e-30)
    lengths = np.linalg.norm(THETA + ways(np.zeros(3), quiet) - THETA, axis=1)
    cases = []
    for ahead in (0.999, 1.001):
        cases.append(({0: [5e-8 + NOISE[0], 0, 0], 4: [edge * ahead + NOISE[0], 0, 0]}, {}, ERRORS, 0.0))
    for place, corner, share in ((5, 1, 0.999), (5, 1, 1.001), (6, 2, 0.999), (6, 2, 1.001)):
        size = (1e-3 / lengths[corner] / 2 * share + 50 * EPS * 8) * lengths[place]  # half as steep as at the corner
        cases.append(({corner: [1e-3, 0, 0], place: [size, 0, 0]}, {}, quiet, 0.0))
    cases.append(({1: [1e-3, 0, 0], 3: [1e-3, 0, 0]}, {}, ERRORS, 0.0))  # halfway nothing is asked
    assert of_cases(*cases).kink.tolist() == [False, True, False, True, False, True, False]


def test_where_curvature_changes_a_tenth_of_the_slope_may_be_left():
    allowed = 0.1 * np.linalg.norm(GRADIENT[SEEN]) + 1e-3
    # from p, where alone the slope jumps, Newton's steps lead to and fro, with this slope at either end
    cases = [({0: [0, 0, share * allowed]}, {}, np.full(3, 1e-3), 0.0) for share in (0.999, 1.001)]
    cases.append(({0: [0, 9 * allowed, 0]}, {0: 9.0}, np.full(3, 1e-3), 0.0))  # what is not seen does not count
    found = of_cases(*cases)
    assert found.converging.tolist() == [True, False, True]
    assert (found.relative[:, 2] > MAX_DRIFT).all()


def test_the_slope_that_is_left_is_that_before_the_seventeenth_of_newtons_steps_with_one_hessian():
    error = 0.03
    moving = SEEN & (np.abs(GRADIENT) > error)
    steep = np.array([0.02, 0.5, 0.7])

    def bent(x):
        return GRADIENT + VALUES * x * steep

    x = np.zeros(3)
    for _ in range(16):
        x = x - np.where(moving, bent(x) / np.where(SEEN, VALUES, 1), 0)
    np.testing.assert_allclose(
        slope_left(frame(GRADIENT, error), bent), np.where(moving, np.abs(bent(x)), 0), rtol=1e-12
    )
    at_rounding = slope_left(frame(GRADIENT, 0.05), bent)  # the last slope is rounding, and counts for nothing
    np.testing.assert_array_equal(np.asarray(at_rounding) > 0, [True, False, False])
