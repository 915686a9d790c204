"""The last stretch: which way out of the hard case, and exact counts on a parabola."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian.steps import sr1_trust_region
from hessian.steps.eigenbasis import Eigenbasis
from hessian.steps.second_order import Flat

EPS = np.finfo(float).eps


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
        (1.0, 9.0, valley, jnp.array([0.495, 0.0]), (-0.495, 0), True, 0),  # within a hundredth of it
        (1.0, 9.0, valley, jnp.array([0.49, 0.0]), (-0.49, 0), False, 0),
        (1.0, 9.0, saddle, jnp.array([9.0, 0.0]), (-0.5, 0), True, 0),
    ):
        p, point, on_boundary, tried = proposed(tilt, wall, 0.5, values, projections)
        np.testing.assert_allclose(p, want, rtol=1e-9)
        np.testing.assert_allclose(point, p)
        assert (bool(on_boundary), int(tried)) == (boundary, evaluations)


def parabola(w, bends, constant):
    return constant + bends @ w**2 / 2


def finish(theta, bends, constant, region, left, gradient_tol, curvature_tol, floor):
    flat = Flat(parabola, lambda x: x, (bends, constant))
    walk = walk_at(parabola(theta, bends, constant), theta, region, theta)._replace(left=left)
    return sr1_trust_region.sr1_trust_region(sr1_trust_region.Goal(flat, floor, gradient_tol, curvature_tol), walk)


finished = jax.jit(finish)


# Start, curvature, first radius, steps allowed, gradient_tol, curvature_tol, floor; then where it ends and how many
# steps, gradients, products and losses it takes.  On a parabola every step is what was predicted.
WALKS = {
    "one step inside": ((0.3, 0.4), (1.0, 1.0), 1.0, 100, 1e-6, 0.0, -9.0, (0, 0), 1, 2, 2, 0),
    "there already": ((0.0, 0.0), (1.0, 1.0), 1.0, 100, 1e-6, 0.0, -9.0, (0, 0), 0, 1, 2, 0),
    "radii that double": ((7.0, 0.0), (1.0, 1.0), 1.0, 100, 1e-6, 0.0, -9.0, (0, 0), 3, 4, 2, 0),
    "a budget of two": ((7.0, 0.0), (1.0, 1.0), 1.0, 2, 1e-6, 0.0, -9.0, (4, 0), 2, 3, 2, 0),
    "a budget of none": ((7.0, 0.0), (1.0, 1.0), 1.0, 0, 1e-6, 0.0, -9.0, (7, 0), 0, 1, 0, 0),
    "the saddle, to the floor": ((0.0, 0.0), (-1.0, 1.0), 1.0, 100, 1e-6, 0.0, -99.0, (15, 0), 4, 5, 2, 2),
    "the saddle, beyond a floor that it reaches": (
        (0.0, 0.0), (-1.0, 1.0), 1.0, 100, 1e-6, 0.0, -111.5, (31, 0), 5, 6, 2, 2,
    ),
    "a saddle that is allowed": ((0.0, 0.0), (-1.0, 1.0), 1.0, 100, 1e-6, 2.0, -99.0, (0, 0), 0, 1, 2, 0),
    "a gradient that is allowed": ((0.3, 0.4), (1.0, 1.0), 1.0, 100, 1.0, 0.0, -9.0, (0, 0), 1, 2, 2, 0),
}  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize("case", WALKS, ids=WALKS)
def test_on_a_parabola_every_count_is_known(case):
    start, bends, region, left, gradient_tol, curvature_tol, floor, end, *counts = WALKS[case]
    check_counts(finished, start, bends, 1.0, region, left, gradient_tol, curvature_tol, floor, end, counts)


def check_counts(finished, start, bends, constant, region, left, gradient_tol, curvature_tol, floor, end, counts):
    found = finished(
        *(jnp.array(x, float) for x in (start, bends, constant, region)), jnp.int32(left),
        *(jnp.array(x, float) for x in (gradient_tol, curvature_tol, floor)),
    )  # fmt: skip
    np.testing.assert_allclose(jnp.abs(found.theta), end, atol=1e-12)
    assert [int(x) for x in (found.steps, found.gradients, found.num_matvecs, found.evaluations)] == counts
    assert found.left == left - found.gradients + 1


@pytest.mark.full
def test_a_loss_so_large_that_it_hides_what_is_left_ends_the_steps_at_the_gradient_that_is_asked_for():
    for gradient_tol, end, counts in ((2.0, 2.0, [0, 1, 2, 0]), (1.9, 0.0, [1, 2, 2, 0])):
        given = (1.0, 1.0), 2.0**52, 8.0, 100, gradient_tol, 0.0, -9.0
        check_counts(finished, (2.0, 0.0), *given, (end, 0.0), counts)


@pytest.mark.full
def test_a_step_from_a_hessian_known_in_part_ends_at_half_the_tolerance_and_a_look_at_all_of_it(monkeypatch):
    monkeypatch.setattr(sr1_trust_region, "DENSE_STEP", 1)
    part = jax.jit(lambda *given: finish(*given))
    # from 4.4 by 1 to 3.4 and by 2 to 1.4, with two products each; where that is not enough the third look finds it so
    for gradient_tol, products in ((2.81, 4), (2.79, 6)):
        given = (1.0, 1.0), 2.0**52, 1.0, 100, gradient_tol, 0.0, -9.0
        check_counts(part, (4.4, 0.0), *given, (1.4, 0.0), [2, 3, products, 0])


@pytest.mark.full
def test_where_there_is_negative_curvature_the_first_step_is_long_enough_to_be_seen():
    visible = np.sqrt(128 * EPS * 1e12 / 0.5)  # of a loss of 1e12
    for region, length in ((1e-6, visible), (2 * visible, 2 * visible)):
        given = (-0.5, 1.0), 1e12, region, 1, 1e-6, 0.0, -9.0
        check_counts(finished, (0.0, 0.0), *given, (length, 0.0), [1, 2, 2, 2])


def modes(values, projections):
    values, projections = (jnp.asarray(x, float) for x in (values, projections))
    return Eigenbasis(values, jnp.eye(values.size), projections, jnp.int32(0))


def goal_of(gradient_tol=None, curvature_tol=None, **share):
    return sr1_trust_region.Goal(None, None, gradient_tol, curvature_tol, **share)


def test_a_model_is_convex_down_to_its_tolerance_or_to_fifty_roundings_of_its_size():
    for lowest, tolerance, convex in (
        (-100 * EPS, None, True),
        (-101 * EPS, None, False),
        (-0.5, 0.5, True),
        (-0.51, 0.5, False),
        (-EPS, 0.0, False),
    ):
        assert bool(goal_of(curvature_tol=tolerance).is_convex(modes((lowest, 2.0), (0, 0)))) == convex


def test_newtons_step_is_short_by_its_length_or_by_a_decrease_that_the_loss_does_not_show():
    shortest = 6 * np.sqrt(EPS)  # at a distance of 5
    for slopes, value, short in (
        ((9.0, 9.0, 2 * shortest), 0.0, True),  # along negative and along no curvature there is no Newton step
        ((9.0, 9.0, 2.01 * shortest), 0.0, False),
        ((0.0, 0.0, 2.0), 0.1 / EPS, True),  # a step of 1, of which the model promises exactly ten roundings: 1
        ((0.0, 0.0, 2.0), 0.099 / EPS, False),
        ((0.0, 0.0, 2.0), -0.1 / EPS, True),
    ):
        walk, found = walk_at(value=value, theta=(3.0, -4.0)), modes((-1.0, 0.0, 2.0), slopes)
        assert bool(sr1_trust_region._newton_step_is_short(walk, found)) == short


def test_a_gradient_that_was_asked_for_is_met_where_its_length_and_newtons_step_are_short():
    short, long = modes((1.0, 2.0), (0.0, 0.0)), modes((1.0, 2.0), (0.0, 1e-3))
    for gradient, found, share, met in (
        ((0.6, 0.8), short, 0.5, True),
        ((0.6, 0.81), short, 0.5, False),
        ((1.2, 1.6), short, 1.0, True),
        ((1.2, 1.7), short, 1.0, False),
        ((0.6, 0.8), long, 0.5, False),
    ):
        walk = walk_at(gradient=gradient)
        assert bool(goal_of(gradient_tol=8.0, share=0.25).is_met(walk, found, share)) == met
        assert bool(goal_of(gradient_tol=2.0).is_met(walk, found, share)) == met


def test_by_default_the_slope_along_each_mode_is_within_its_own_tolerance():
    root = np.sqrt(EPS)
    for value, share, slopes in (
        # Newton's step is as short as sqrt(eps); without curvature the decrease is eps
        (0.0, 1.0, np.array([root, EPS, 4 * root])),
        (0.0, 0.125, np.array([root, EPS, 4 * root])),
        # Newton's step brings half of ten roundings of a loss of a million; without curvature 4 eps
        (1e6, 1.0, np.array([np.sqrt(1e7 * EPS), 4 * EPS, np.sqrt(4e7 * EPS)])),
    ):
        walk = walk_at(value=value)
        for at in range(3):
            for factor, met in ((0.999, True), (1.001, False)):
                projections = share * 0.5 * 0.999 * slopes
                projections[at] *= factor / 0.999 * (-1) ** at
                found = modes((-1.0, 0.0, 4.0), projections)
                assert bool(goal_of(share=0.5).is_met(walk, found, share)) == met


def test_a_curvature_of_fifty_roundings_of_the_largest_allows_no_slope_of_its_own():
    for lowest, met in ((100 * EPS, False), (101 * EPS, True)):  # a slope of 5 eps, of sqrt(100 eps^2) or else of eps
        assert bool(goal_of().is_met(walk_at(), modes((lowest, 2.0), (5 * EPS, 0.0)), 1.0)) == met


@pytest.mark.full
def test_failures_and_poor_steps_are_counted_from_none():
    @jax.jit
    def behind(wall, left):
        def loss(w):
            return jnp.where(w[0] < wall, jnp.nan, w @ w / 2)

        walk = walk_at(2.0, (2.0, 0.0), 8.0, (2.0, 0.0))._replace(left=left)
        goal = sr1_trust_region.Goal(Flat(loss, lambda x: x), -9.0, 1e-6, 0.0)
        return sr1_trust_region.sr1_trust_region(goal, walk)

    stuck = behind(2.0, jnp.int32(100))  # no step leads anywhere
    assert (int(stuck.left), int(stuck.steps), int(stuck.num_matvecs)) == (70, 0, 2)
    # steps of 2, 1/2 and 1/8 fail, those of 1/32 and 1/16 do not: the Hessian serves for all five
    beside = behind(1.9, jnp.int32(5))
    np.testing.assert_allclose(beside.theta, [2 - 3 / 32, 0], rtol=1e-12)
    assert (int(beside.left), int(beside.steps), int(beside.num_matvecs)) == (0, 2, 2)


def test_all_of_the_hessian_is_known_up_to_512_parameters():
    assert sr1_trust_region.krylov_size(jnp.zeros(512)) is None
    assert sr1_trust_region.krylov_size(jnp.zeros(513)) == 40


STRIDE = {
    "values": (1.0, 1.0), "projections": (-4.0, 0.0), "slope": (-4.0, 0.0), "bends": (1.0, 1.0), "constant": 0.0,
    "region": 1.0, "failed": 3, "poor": 0, "left": 100, "moved": True, "floor": -9.0,
    "gradient_tol": 1e-6,
}  # fmt: skip


@jax.jit
def stridden(given):
    """One step from the origin by a model that need not be that of the loss."""

    def loss(w, slope, bends, constant):
        return constant + slope @ w + bends @ w**2 / 2

    flat = Flat(loss, lambda x: x, (given["slope"], given["bends"], given["constant"]))
    walk = walk_at(given["constant"], given["slope"], given["region"])._replace(
        left=given["left"], moved=given["moved"]
    )
    found = Eigenbasis(given["values"], jnp.eye(2), given["projections"], jnp.int32(2))
    goal = sr1_trust_region.Goal(flat, given["floor"], given["gradient_tol"], 0.0)
    return sr1_trust_region._step(goal, sr1_trust_region._Stride(True, walk, found, given["failed"], given["poor"]))


def stride(**named):
    given = {**STRIDE, **named}
    arrays = {name: jnp.asarray(x, float) for name, x in given.items() if name not in ("failed", "poor", "left")}
    counts = {name: jnp.int32(given[name]) for name in ("failed", "poor", "left")}
    return stridden({**arrays, **counts, "moved": jnp.bool_(given["moved"])})


# The model promises 3.5 of a step of 1; a slope of -3.5 r without curvature brings r of it.
UPHILL = {"slope": (4.0, 0.0)}
GOING = {  # what is given; whether steps go on, failures in a row, poor steps in all, and the next radius
    "as promised": ({}, True, 0, 0, 2.0),
    "the last that is left": ({"left": 1}, False, 0, 0, 2.0),
    "one before the last": ({"left": 2}, True, 0, 0, 2.0),
    "to the floor": ({"floor": -3.5}, True, 0, 0, 2.0),
    "below the floor": ({"floor": -3.4}, False, 0, 0, 2.0),
    "to the end": ({"region": 8.0}, False, 0, 0, 8.0),
    # by 2, to a gradient of 2, where the rest is hidden by a loss of 2^52
    "to half the tolerance": ({"constant": 2.0**52, "region": 2.0, "gradient_tol": 4.0}, False, 0, 0, 4.0),
    "to a little more": ({"constant": 2.0**52, "region": 2.0, "gradient_tol": 3.9}, True, 0, 0, 4.0),
    "29 failures": ({**UPHILL, "failed": 28}, True, 29, 1, 0.25),
    "30 failures": ({**UPHILL, "failed": 29}, False, 30, 1, 0.25),
    "a tenth": ({"projections": (-1.5, 0.0), "slope": (-0.1, 0.0), "bends": (0, 0)}, True, 0, 0, 0.5),
    "less than a tenth": ({"slope": (-0.34, 0.0), "bends": (0, 0)}, True, 0, 1, 0.5),
    "the third poor one": ({"slope": (-0.34, 0.0), "bends": (0, 0), "poor": 2}, True, 0, 3, 0.5),
    "the fourth poor one": ({"slope": (-0.34, 0.0), "bends": (0, 0), "poor": 3}, False, 0, 4, 0.5),
    "the fourth, none taken": ({**UPHILL, "poor": 3, "moved": False}, True, 4, 4, 0.25),
    "nowhere to go": ({"projections": (0.0, 0.0)}, False, 4, 1, 0.0),
    "hidden, and calmer": (
        {"projections": (-1e-6, 0), "slope": (-1e-6, 0), "constant": 1e6, "region": 9.0}, False, 0, 1, 9.0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GOING, ids=GOING)
def test_steps_go_on_until_they_arrive_fail_thirty_times_or_are_poor_too_often(case):
    given, going, failed, poor, region = GOING[case]
    after = stride(**given)
    assert (bool(after.going), int(after.failed), int(after.poor)) == (going, failed, poor)
    assert (float(after.walk.region), int(after.walk.left)) == (region, given.get("left", 100) - 1)
    good = failed == 0
    assert (int(after.walk.steps), int(after.walk.gradients), int(after.walk.evaluations)) == (good, 1, 0)
    assert bool(after.walk.theta.any()) == good


def test_a_failure_teaches_the_model_only_after_a_success():
    for moved, values in ((False, (1.0, 1.0)), (True, (1.0, 9.0))):
        after = stride(**UPHILL, bends=(9.0, 1.0), moved=moved)  # a step of 1 uphill, on which the gradient rises by 9
        assert after.failed == 4
        np.testing.assert_allclose(after.found.values, values, rtol=1e-9)
    for region, values in ((1e-8, (1.0, 1.0)), (2e-8, (1.0, 9.0))):  # a step shorter than sqrt(eps) teaches nothing
        after = stride(**UPHILL, bends=(9.0, 1.0), region=region)
        np.testing.assert_allclose(after.found.values, values, rtol=1e-6)
