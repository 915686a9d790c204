"""One step of a search, by hand: the flow of a quadratic model, what is climbed and how far, the way along an orbit."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.linalg import expm

from hessian import symmetry
from hessian.landscapes.seek import DOWN, FLOW, Plan, _across, _climb, _fields, _flow, _followed, _Search, _Walk
from hessian.steps.second_order import Flat
from hessian.symmetry.declared import declare

pytestmark = pytest.mark.full


def test_the_flow_of_a_quadratic_model_is_that_of_its_differential_equation():
    values, a = jnp.array([-2.0, -1e-12, 0.0, 1e-3, 0.5, 40.0]), jnp.array([1.0, 2.0, -3.0, 1.0, -1.0, 2.0])
    for time in (1e-3, 0.7, 5.0):
        # d/dt (p, 1) = -(values p + a, 0)
        matrix = jnp.zeros((7, 7)).at[jnp.arange(6), jnp.arange(6)].set(-values).at[:6, 6].set(-a)
        np.testing.assert_allclose(_flow(values, a, time), expm(matrix * time)[:6, 6], rtol=1e-9, atol=1e-12)
    assert np.isfinite(_flow(jnp.array([-1e9]), jnp.array([1.0]), 1.0)).all()


EYE = jnp.eye(3)


@pytest.mark.parametrize(
    ("mode", "toward", "expected"),
    [
        (0, [0, 0, 0], [0.5, -0.25, 0.2]),  # -a / |values|
        (1, [0, 0, 0], [-0.5, -0.25, 0.2]),  # up along the lowest
        (2, [0, 0, 0], [-0.5, 0.25, 0.2]),
        (3, [0, 0, 0], [-0.5, 0.25, -0.2]),
    ],
)
def test_a_step_goes_down_along_all_but_the_lowest_eigenvectors(mode, toward, expected):
    values, a = jnp.array([-2.0, 4.0, 5.0]), jnp.array([-1.0, 1.0, -1.0])
    found = _climb(values, EYE, a, mode, jnp.array(toward, float), 1.0)
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    size = np.linalg.norm(expected)
    short = _climb(values, EYE, a, mode, jnp.array(toward, float), 0.55)  # no coordinate is longer, but the whole is
    np.testing.assert_allclose(short, np.array(expected) * 0.55 / size, rtol=1e-14)
    cut = _climb(values, EYE, a, mode, jnp.array(toward, float), 0.3)
    first = np.clip(expected, -0.3, 0.3)  # each coordinate first, and then the length
    np.testing.assert_allclose(cut, first * 0.3 / np.linalg.norm(first), rtol=1e-14)


def test_in_a_basin_that_eigenvector_is_climbed_which_is_nearest_to_the_last_and_outside_of_it_the_lowest():
    toward = jnp.array([0.3, -0.9, 0.1])
    inside, outside = jnp.array([1.0, 2.0, 3.0]), jnp.array([-1.0, 2.0, 3.0])
    assert _followed(inside, EYE, toward).tolist() == [0, -1, 0]  # turned to its side
    assert _followed(outside, EYE, toward).tolist() == [1, 0, 0]
    assert _followed(outside, EYE, -toward).tolist() == [-1, 0, 0]
    assert _followed(inside, EYE, jnp.zeros(3)).tolist() == [1, 0, 0]
    assert _followed(jnp.array([0.0, 2.0, 3.0]), EYE, toward).tolist() == [0, -1, 0]
    a = jnp.ones(3)
    np.testing.assert_allclose(_climb(inside, EYE, a, 1, toward, 9.0), [-1, 1 / 2, -1 / 3])


def test_what_lies_along_an_orbit_comes_last_and_the_rest_is_the_hessian_across_it():
    draw = np.random.default_rng(8)
    x = jnp.asarray(draw.normal(size=4))
    pair = declare([symmetry.rotations(2), symmetry.rotations(2)], x)  # twice the same: one direction
    fields = np.asarray(_fields(pair, lambda theta: theta, x))
    kept = fields[np.linalg.norm(fields, axis=1) > 0.5]
    turned = np.asarray(x).reshape(2, 2)[:, ::-1] * [1, -1]
    turned = turned.ravel() / np.linalg.norm(x)
    assert len(kept) == 1
    np.testing.assert_allclose(np.linalg.norm(fields, axis=1).sum(), 1, atol=1e-7)
    np.testing.assert_allclose(np.abs(kept[0] @ turned), 1, atol=1e-12)
    assert _fields(None, None, x).shape == (0, 4)
    h = draw.normal(size=(4, 4))
    h = h + h.T
    values, vectors = map(np.asarray, _across(jnp.asarray(h), jnp.asarray(kept)))
    projector = np.eye(4) - np.outer(turned, turned)
    expected = np.linalg.eigvalsh(projector @ h @ projector)
    np.testing.assert_allclose(values[:3], np.delete(expected, np.abs(expected).argmin()), atol=1e-12)
    np.testing.assert_allclose(np.abs(vectors[3] @ turned), 1, atol=1e-12)
    assert values[3] > np.abs(expected).max()
    np.testing.assert_allclose(_across(jnp.asarray(h), jnp.zeros((0, 4)))[0], np.linalg.eigvalsh(h), atol=1e-12)


def test_gradients_of_a_walk_are_along_its_eigenvectors():
    values, rows = _across(jnp.diag(jnp.array([3.0, -1.0, 2.0])), jnp.zeros((0, 3)))
    assert values.tolist() == [-1, 2, 3]
    np.testing.assert_allclose(jnp.abs(rows), jax.nn.one_hot(jnp.array([1, 2, 0]), 3), atol=1e-15)


def stepped(loss, start, mode, reach, *, symmetries=None, free=False, radius=9.0, unit=1.0):
    """The walk after one step from a start."""
    start = jnp.asarray(start, float)
    flat = Flat(loss, lambda theta: theta, ())
    declared = declare(symmetries, start)
    search = _Search(flat, Plan(7, declared, 1, 1), jnp.array(radius), jnp.array(unit), jnp.array(jnp.inf))
    value, gradient = jax.value_and_grad(flat)(start)
    walk = _Walk(jnp.bool_(True), jnp.int32(0), start, value, gradient, jnp.array(reach), jnp.zeros_like(start))
    return search.step(jnp.int32(mode), jnp.bool_(free), walk)


RATES = [  # a loss at 1, how it moves, how far it may, and by hand the step and what the radius is multiplied by
    (lambda w: 2 * w[0] ** 2, DOWN, 0.1, -0.2, 2),  # the length scale is 1 + 1, and the model is exact
    (lambda w: 2 * w[0] ** 2, DOWN, 3.0, -1.0, 2),
    (lambda w: 2 * w[0] ** 2, DOWN, 8.0, -1.0, 9 / 8),  # no longer than the longest of all
    (lambda w: w[0] ** 4, DOWN, 0.05, -0.1, 2),  # q = 3 r^2 - r^3 is 0.03, good
    (lambda w: w[0] ** 4, DOWN, 0.1, -0.2, 1),  # 0.11, fair
    (lambda w: w[0] ** 4, 1, 0.16, 0.32, 0.5),  # 3 r^2 + r^3 is 0.34, worse
    (lambda w: jnp.sqrt(w[0]), DOWN, 1.5, 0.0, 0.25),  # to -1, where there is no value
    (lambda w: 2 * w[0] ** 2, FLOW, 0.1, np.expm1(-0.4), 2),
    (lambda w: w[0] ** 4, FLOW, 0.03, np.expm1(-0.36) / 3, 1),  # 3 times 0.1^2 is 0.03, not a third of 0.05
    (lambda w: w[0] ** 4, FLOW, 0.05, 0.0, 0.25),  # 3 times 0.15^2 is 0.07
]


@pytest.mark.parametrize("case", range(len(RATES)))
def test_a_step_is_taken_and_the_next_is_longer_or_shorter_by_how_good_the_quadratic_model_was(case):
    loss, mode, reach, move, factor = RATES[case]
    walk = stepped(loss, [1.0], mode, reach)
    np.testing.assert_allclose(walk.theta, 1 + move, rtol=1e-12)
    np.testing.assert_allclose(walk.reach, reach * factor, rtol=1e-12)
    np.testing.assert_allclose(walk.gradient, jax.grad(loss)(walk.theta), rtol=1e-12)
    assert (int(walk.count), bool(walk.going)) == (1, True)


def test_a_flow_takes_no_step_longer_than_the_radius():
    for radius, taken in ((0.17, True), (0.16, False)):  # 1 - exp(-0.4) is 0.3297, of a length scale of 2
        walk = stepped(lambda w: 2 * w[0] ** 2, [1.0], FLOW, 0.1, radius=radius)
        assert (float(walk.theta[0]) < 1) == taken


def test_only_a_free_search_moves_along_the_orbit():
    def loss(w):
        return (1 - w[0] * w[1]) ** 2

    start, pair = [1.3, 0.2], symmetry.rescale(0, 1)
    plain = stepped(loss, start, 1, 0.05)
    np.testing.assert_allclose(stepped(loss, start, 1, 0.05, symmetries=pair, free=True).theta, plain.theta, rtol=1e-12)
    across = stepped(loss, start, 1, 0.05, symmetries=pair).theta - jnp.array(start)
    np.testing.assert_allclose(across @ jnp.array([1.3, -0.2]), 0, atol=1e-12)
    assert abs((plain.theta - jnp.array(start)) @ jnp.array([1.3, -0.2])) > 1e-3


def begun(loss, start, reach, **changes):
    """A search in double precision of at most seven steps, and a walk that stands at its start."""
    start = jnp.asarray(start, float)
    flat = Flat(loss, lambda theta: theta, ())
    search = _Search(flat, Plan(7, None, 1, 1), jnp.array(9.0), jnp.array(1.0), jnp.array(jnp.inf))
    value, gradient = jax.value_and_grad(flat)(start)
    walk = _Walk(jnp.bool_(True), jnp.int32(0), start, value, gradient, jnp.array(reach), jnp.zeros_like(start))
    return search, walk._replace(**changes)


def parabola(w):
    return 2 * w[0] ** 2


def test_a_search_takes_as_many_steps_as_it_may_and_the_flow_ten_times_as_many():
    for mode, last in ((DOWN, 7), (1, 7), (FLOW, 70)):
        for count, going in ((last - 2, True), (last - 1, False)):
            search, walk = begun(parabola, [1.0], 0.01, count=jnp.int32(count))
            after = search.step(jnp.int32(mode), jnp.bool_(False), walk)
            assert (int(after.count), bool(after.going)) == (count + 1, going)


def test_a_search_gives_up_where_its_radius_is_a_billionth_and_the_flow_does_not():
    wrong = jnp.full(1, -4.0)  # by a slope of the other sign the model is wrong by twice the slope
    for mode, reach, going in ((DOWN, 4.1e-9, True), (DOWN, 3.9e-9, False), (FLOW, 3.9e-9, True)):
        search, walk = begun(parabola, [1.0], reach, gradient=wrong)
        after = search.step(jnp.int32(mode), jnp.bool_(False), walk)
        assert after.theta == 1.0 and after.reach == reach / 4
        assert bool(after.going) == going
    search, walk = begun(parabola, [1.0], 0.1, gradient=jnp.full(1, jnp.nan))
    assert not search.step(jnp.int32(FLOW), jnp.bool_(False), walk).going


def test_a_way_down_takes_no_step_to_a_higher_loss_but_for_rounding_and_a_way_up_does():
    after = 2 * 0.8**2  # the loss of the step from 1 to 0.8
    for mode, below, taken in ((DOWN, 3.8, True), (DOWN, 4.6, False), (FLOW, 4.6, False), (1, 4.6, True)):
        reach = 0.1 if mode != FLOW else -np.log(0.8) / 4
        search, walk = begun(parabola, [1.0], reach, value=jnp.array(after * (1 - below * 2.0**-52)))
        there = search.step(jnp.int32(mode), jnp.bool_(False), walk)
        assert bool(there.theta[0] != 1) == taken
    search, walk = begun(lambda w: parabola(w) - 9, [1.0], 0.1, value=jnp.array((after - 9) * (1 + 3 * 2.0**-52)))
    assert search.step(jnp.int32(DOWN), jnp.bool_(False), walk).theta[0] == pytest.approx(0.8)


def test_the_direction_that_is_climbed_is_followed_where_a_step_is_taken():
    basin, toward = lambda w: w[0] ** 2 + 3 * w[1] ** 2, jnp.array([0.1, -0.9])
    for mode, reach, expected in ((1, 0.01, [0, -1]), (2, 0.01, toward), (DOWN, 0.01, toward)):
        search, walk = begun(basin, [1.0, 1.0], reach, toward=toward)
        found = search.step(jnp.int32(mode), jnp.bool_(False), walk).toward
        np.testing.assert_allclose(found, expected, atol=1e-12)
    search, walk = begun(basin, [1.0, 1.0], 0.01, toward=toward, gradient=jnp.array([-2.0, -6.0]))  # a wrong model
    np.testing.assert_array_equal(search.step(jnp.int32(1), jnp.bool_(False), walk).toward, toward)


def test_a_walk_has_arrived_where_newtons_step_is_short_and_no_slope_is_left_where_nothing_curves():
    search, _ = begun(parabola, [1.0], 0.1)
    scale = jnp.array(3.0)
    near = 1e-3 * 1e-5 * 3.0  # of the distance at which points are the same
    for values, a, arrived in (
        ([-2.0, 5.0], [2 * 0.6 * near, 5 * 0.79 * near], True),  # 0.36 + 0.6241 < 1
        ([-2.0, 5.0], [2 * 0.6 * near, 5 * 0.81 * near], False),
        ([0.0, 4.0], [4 * 2.0**-52 * 3 * 0.9, 0.0], True),
        ([0.0, 4.0], [-4 * 2.0**-52 * 3 * 1.1, 0.0], False),
        ([0.0, -4.0], [0.0, 4 * 0.9 * near], True),
        ([0.0, -4.0], [0.0, 4 * 1.1 * near], False),
    ):
        assert bool(search.arrived(jnp.array(values), jnp.array(a), scale)) == arrived


def test_a_flow_begins_with_a_tenth_of_the_time_of_the_largest_curvature():
    class Still(_Search):
        def step(self, mode, free, walk):
            return walk._replace(going=jnp.bool_(False))

    search, walk = begun(lambda w: 2 * w[0] ** 2 - 8 * w[0] * w[1], [1.0, 1.0], 0.1)
    still = Still(search.flat, search.plan, search.radius, search.unit, search.room)
    for mode, reach in ((FLOW, 0.1 / 8), (DOWN, 9.0), (1, 9.0)):
        found = still.walked(walk.theta, jnp.ones(2), jnp.int32(mode), jnp.bool_(False))
        assert float(found.reach) == pytest.approx(reach, rel=1e-15)
        assert found.gradient.tolist() == [4 - 8, -8] and found.value == -6


@pytest.mark.parametrize(("dtype", "least"), [("float64", 2e-8), ("float32", 0.02)])
def test_fields_of_nearly_one_direction_are_one_where_their_angle_is_rounding(dtype, least):
    """Of fields at an angle d the smaller eigenvalue of the table of their products is d^2 / 4 of the larger."""
    shares = ((0.9, 1), (1.1, 2)) if dtype == "float32" else ((0.3, 1), (30, 2))  # this far from 1 rounding is small
    for share, count in shares:
        angle = share * least
        rows = jnp.array([[3.0, 0.0], [0.5 * np.cos(angle), 0.5 * np.sin(angle)]], dtype)
        some = types.SimpleNamespace(continuous=True, fields=lambda _, rows=rows: rows)
        kept = np.asarray(_fields(some, lambda theta: theta, jnp.zeros(2, dtype)))
        kept = kept[np.abs(kept).max(axis=1) > 0]
        assert len(kept) == count
        np.testing.assert_allclose(kept @ kept.T, np.eye(count), atol=2e-3)
