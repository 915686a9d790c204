"""Every known critical point is found from random starts, each once, with its index; traps are not listed."""

import inspect
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian
from gdlab.problems import linear_autoencoder, linear_autoencoder_points, styblinski_tang, surface
from hessian.steps.eigenbasis import Eigenbasis
from hessian.verdicts import critical_points, search
from hessian.verdicts.classify import Kind
from hessian.verdicts.critical_points import SearchOutcome

pytestmark = pytest.mark.full


def in_modes(values, slope):
    values, slope = jnp.asarray(values, float), jnp.asarray(slope, float)
    return Eigenbasis(values, jnp.eye(len(values)), slope, jnp.int32(0)), jnp.max(jnp.abs(values))


def test_each_method_steps_by_its_formula():
    found, size = in_modes((-1.0, 0.0, 4.0), (3.0, 0.0, -2.0))
    x, y = 1 / (1 + 0.5 * 16), 4 / (16 + 0.5 * 16)
    np.testing.assert_allclose(search._levenberg(found, size, 0.5), [x * 3, 0, y * 2], rtol=1e-12)
    np.testing.assert_allclose(search._newton(found, size, 0.5), [2, 0, 1 / 3], rtol=1e-12)
    tiny, _ = in_modes((1e-14, 2e-14, 1.0), (1.0, 1.0, 1.0))  # rounding is what lies below 1.1e-14
    np.testing.assert_allclose(search._newton(tiny, jnp.asarray(1.0), 0.0), [0, -5e13, -1])

    def climb(method, index, radius=9.0, found=found, size=size):
        return search._climb(found, size, 6.0, method, index, radius)

    following, ascent = "eigenvector_following", "gentlest_ascent"
    np.testing.assert_allclose(climb(following, 0), [-3, 0, 0.5])
    np.testing.assert_allclose(climb(following, 1), [3, 0, 0.5])
    np.testing.assert_allclose(climb(following, 3), [3, 0, -0.5])
    np.testing.assert_allclose(climb(ascent, 1), [3 / 8, 0, 2 / 8])
    np.testing.assert_allclose(climb(ascent, 1, 0.01), 0.06 * np.array([3, 0, 2]) / np.sqrt(13))  # 0.01 of 6
    soft = climb(following, 3, found=in_modes((0, 0.01, 4), (1, 1, 1))[0], radius=10)
    np.testing.assert_allclose(soft / soft[2], [240, 240, 1])  # no mode goes further than 60, nor do all together
    assert jnp.linalg.norm(soft) == pytest.approx(60)
    still, nothing = in_modes((0, 0, 0), (0, 0, 0))
    for step in (
        climb(following, 1, found=still, size=nothing),
        climb(ascent, 1, found=still, size=nothing),
        search._levenberg(still, nothing, 1e-3),
        search._newton(still, nothing, 1e-3),
    ):
        np.testing.assert_array_equal(step, 0)


def test_a_step_is_taken_where_the_gradient_falls_and_damped_where_not_more_with_each_in_a_row():
    found, size = in_modes((1.0, 2.0), (3.0, -2.0))
    tiny = np.finfo(float).eps ** 2
    for damping, streak, slope, want in (
        (1.0, -3, lambda x: x / 2, ((2.5, -0.5), (1.25, -0.25), 1 / 5, 1)),
        (1.0, 2, lambda x: x / 2, ((2.5, -0.5), (1.25, -0.25), 1 / 125, 3)),
        (tiny, 0, lambda x: x / 2, ((1.0, 0.0), (0.5, 0.0), tiny, 1)),
        (1.0, 5, lambda x: 9 * x, ((4.0, -1.0), (3.0, -2.0), 4.0, -1)),
        (1.0, -2, lambda x: 9 * x, ((4.0, -1.0), (3.0, -2.0), 64.0, -3)),
    ):
        state = search._Seek(
            True, 0, jnp.array([4.0, -1.0]), found.projections, jnp.asarray(damping), jnp.int32(streak)
        )
        for got, expected in zip(search._lowered(search._newton, slope, state, found, size), want, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-14)


def listed(theta, norm, index, *, code=Kind.SADDLE, loss=None, flatness=1.0, separation=None, dtype=float, **more):
    theta, k = np.asarray(theta, dtype), len(theta)
    code, flatness = np.broadcast_to(code, k), np.broadcast_to(flatness, k)
    loss = theta[:, 0] if loss is None else np.asarray(loss, dtype)
    point = SimpleNamespace(
        code=code,
        gradient_norm=np.asarray(norm),
        index=np.asarray(index),
        inertia=SimpleNamespace(zero=0 * code),
        flat=0 * code,
    )
    ends = SimpleNamespace(theta=theta, loss=loss, point=point, flatness=flatness, eigenvalues=theta)
    ends.converged = np.broadcast_to(more.get("converged", True), k)
    ends.doubt = np.broadcast_to(more.get("doubt", 0.0), theta.shape)
    return critical_points.listed(ends, lambda x: x, separation, np.asarray(more.get("units", (1.0, 1.0))))


def test_points_are_listed_once_the_best_of_their_kin_by_index_and_then_by_loss():
    theta = [[3.0, 0], [1.0, 0], [1.0 + 1.9e-5, 0], [-2.0, 0], [1.0 - 2e-5, 0], [3.0, 5e-5]]
    found = listed(theta, [1, 3, 2, 1, 1, 0.5], [1, 0, 0, 2, 0, 1])
    assert found.separation == pytest.approx(4e-5)
    np.testing.assert_allclose(found.loss, [1 - 2e-5, 3, 3, -2])
    np.testing.assert_array_equal(found.index, [0, 1, 1, 2])
    np.testing.assert_array_equal(found.gradient_norm, [1, 0.5, 1, 1])
    np.testing.assert_array_equal(found.found, [3, 1, 1, 1])
    np.testing.assert_array_equal(found.reached, [2, 0, 0, 3, 0, 1])
    np.testing.assert_array_equal(found.family, [0, 1, 1, 2])
    assert found.families == 3
    assert found.euler_characteristic == 0
    assert len(listed(theta, [1] * 6, [1] * 6, separation=6e-5).loss) == 3
    assert len(listed(theta, [1] * 6, [1] * 6, separation=1e-9).loss) == 6
    assert len(listed(theta, [1] * 6, [1] * 6, converged=np.array([0, 1, 1, 1, 0, 0]) > 0).loss) == 2
    single = listed(theta, [1] * 6, [1] * 6, dtype=np.float32)
    assert single.separation == pytest.approx(0.04)
    assert len(single.loss) == 3


def test_points_are_apart_by_what_each_coordinate_tells_beyond_the_doubt():
    theta, doubt = [[1e6, 0.0], [1e6, 1e-3], [1e6 + 3, 0.0], [1e6 + 30, 0.0]], [[0, 0], [0, 1e-3], [0, 0], [11, 0]]
    assert listed(theta, [1] * 4, [1] * 4).found.tolist() == [2, 1, 1]  # 10 along the first, 1e-5 along the second
    assert listed(theta, [1] * 4, [1] * 4, doubt=doubt).found.tolist() == [3, 1]
    small = np.multiply(theta, 1e-9)
    assert listed(small, [1] * 4, [1] * 4, units=(1e-3, 1e-9)).found.tolist() == [2, 1, 1]
    assert listed(small, [1] * 4, [1] * 4).found.tolist() == [4]


def test_points_of_one_orbit_are_one_where_index_and_loss_agree_and_the_best_of_them_stays(monkeypatch):
    asked = []

    def same_orbit(symmetries, like, rows, goal, within):
        asked.append(within)
        return np.abs(np.linalg.norm(rows, axis=1) - np.linalg.norm(goal)) < 1e-9

    monkeypatch.setattr(critical_points, "same_orbit", same_orbit)
    theta = [[3.0, 4], [5.0, 0], [0.0, -5], [6.0, 0], [0.0, 6]]
    plain = listed(theta, [3, 1, 2, 1, 1], [0, 0, 1, 0, 0], loss=[1.0, 1, 1, 1, 2])
    found = critical_points.orbits(plain, None, None, np.array([1.0, 3.0]))
    np.testing.assert_array_equal(found.params, [[5, 0], [6, 0], [0, 6], [0, -5]])
    np.testing.assert_array_equal(found.reached, [0, 0, 3, 1, 2])
    np.testing.assert_array_equal(found.found, [2, 1, 1, 1])
    np.testing.assert_array_equal(found.family, [0, 0, 1, 2])
    np.testing.assert_array_equal(found.gradient_norm, [1, 1, 1, 2])
    np.testing.assert_allclose(asked, np.tile(1e-5 * np.array([1 + 6, 3 + 6]), (4, 1)))
    asked.clear()
    critical_points.orbits(plain, None, 0.5, np.ones(2))
    assert asked == [0.5] * 4
    apart = plain._replace(flat=np.array([0, 0, 1, 0, 0]))  # of another dimension
    assert len(critical_points.orbits(apart, None, 0.5, np.ones(2)).loss) == 5
    assert critical_points.orbits(listed([[0.0, 0]], [1], [0], converged=False), None, 0.5, np.ones(2)).params is None


def test_lengths_are_measured_in_units_of_small_starts():
    starts = np.array([[3.0, -1e-6, 0.0], [np.nan, 1e-7, 0.0]])
    np.testing.assert_array_equal(search._units(starts), [1, 1e-6, 1])
    np.testing.assert_array_equal(search._units(1e-3 * starts), [3e-3, 1e-9, 3e-3])
    np.testing.assert_array_equal(search._units(0 * starts), [1, 1, 1])


def test_each_start_has_its_end_and_only_critical_ones_are_listed():
    code = np.array([Kind.SADDLE, Kind.NOT_CRITICAL, Kind.UNDETERMINED, Kind.MINIMUM] + 2 * [1])
    found = listed(
        np.arange(12.0).reshape(6, 2), [0, 1, np.nan, 0, 1, 1], [1, 1, 0, 0, 0, 0],
        code=code, loss=[0, 1, 2, np.inf, 4, 5], flatness=[1, 0.01, 0, 1, 0.011, 0.009],
    )  # fmt: skip
    words = [SearchOutcome(end).words.split(":")[0] for end in found.ended]
    assert words == ["critical", "gradient flat", "not finite", "not finite", "not converged", "gradient flat"]
    assert found.reached.tolist() == [0, -1, -1, -1, -1, -1]
    assert found.separation == pytest.approx(2e-5)
    assert str(found).splitlines() == [
        "     kind         index           loss       |g|  found      lowest     highest",
        "   0 saddle           1              0   0.0e+00      1           0           1",
        "starts: 1 critical, 2 gradient flat: H g = 0 but g is not, 1 not converged, 2 not finite",
    ]
    none = listed([[0.0, 0.0]], [1.0], [0], code=Kind.NOT_CRITICAL)
    assert none.params is None
    assert none.reached.tolist() == [-1]
    assert none.families == 0


def test_losses_are_one_family_within_a_share_of_their_spread():
    for loss, index, tol, family in (
        ([1.0, 1.0005, 2.0], [0, 0, 0], 1e-3, [0, 0, 1]),
        ([1.0, 1.002, 2.0], [0, 0, 0], 1e-3, [0, 1, 2]),
        ([1.0, 1.0, 1.0], [0, 1, 1], 1e-3, [0, 1, 1]),
        ([1e3, 1e3 + 9e-4], [0, 0], 1e-3, [0, 0]),  # a thousandth of the loss is the least of the spreads
        ([1e3, 1e3 + 1.1e-3], [0, 0], 1e-3, [0, 1]),
        ([], [], 1e-3, []),
    ):
        np.testing.assert_array_equal(critical_points._families(np.array(loss), np.array(index), tol), family)
    noise = np.array([0.0, 1e-33, 5e-32]), np.zeros(3, int), 1e-6
    assert len(set(critical_points._families(*noise).tolist())) == 3
    hidden = critical_points._hidden(np.array([[0.0, 8.0]]), 1e-5)
    assert critical_points._families(*noise, hidden).tolist() == [0, 0, 0]  # the curvature says that they are one


COUNTS = {"six_hump_camel": (200, 15), "mueller_brown": (300, 5)}


@pytest.mark.parametrize(("name", "count"), COUNTS.items(), ids=COUNTS)
def test_every_known_point_is_found_once_with_its_index(name, count):
    entry, (starts, known) = surface(name), count
    low, high = np.array(entry.box).T
    found = hessian.find_critical_points(
        entry.loss, np.random.default_rng(0).uniform(low, high, size=(starts, entry.dim))
    )
    assert len(found.loss) == known
    distances = np.linalg.norm(
        np.asarray(found.params) - np.array([p.x for p in entry.critical_points])[:, None], axis=2
    )
    np.testing.assert_array_less(distances.min(axis=1), 1e-8)
    np.testing.assert_array_equal(found.index[distances.argmin(axis=1)], [p.index for p in entry.critical_points])
    assert found.euler_characteristic == 1
    assert found.found.sum() == np.sum(found.ended == 0)
    assert len(str(found).splitlines()) == known + 2


def test_three_to_the_power_of_the_dimension():
    starts = np.random.default_rng(0).uniform(-5, 5, size=(1000, 4))
    found = hessian.find_critical_points(styblinski_tang, starts)
    assert len(found.loss) == 81
    assert np.bincount(found.index).tolist() == [16, 32, 24, 8, 1]
    assert found.euler_characteristic == 1


def test_the_families_of_the_autoencoder():
    starts = 0.5 * np.random.default_rng(1).normal(size=(60, 24))
    found = hessian.find_critical_points(linear_autoencoder, starts)
    known = {(round(p.value, 6), p.index) for p in linear_autoencoder_points()}
    seen = set(zip(found.loss.round(6).tolist(), found.index.tolist(), strict=True))
    assert seen <= known
    assert len(seen) == found.families >= 10
    assert found.euler_characteristic is None


@pytest.mark.parametrize(("method", "index", "count"), [("eigenvector_following", 2, 1), ("gentlest_ascent", 1, 4)])
def test_saddles_of_a_given_index(method, index, count):
    entry = surface("styblinski_tang_2d")
    starts = np.random.default_rng(2).uniform(-3, 3, size=(40, 2))
    found = hessian.find_critical_points(entry.loss, starts, method=method, index=index)
    assert set(found.index.tolist()) == {index}
    assert len(found.loss) == count


def test_newton_mr_finds_them_too():
    starts = np.random.default_rng(0).uniform(-5, 5, size=(150, 2))
    assert len(hessian.find_critical_points(surface("himmelblau").loss, starts, method="newton_mr").loss) == 9


def test_where_the_gradient_is_flat_or_not_finite_nothing_is_critical():
    starts = jnp.array([[0.5, 0.3], [jnp.nan, 0.3]])
    found = hessian.find_critical_points(lambda x: x[0] ** 3 / 3 + x[0] + x[1] ** 2, starts)
    assert len(found.loss) == 0  # g = 1 + x^2 is never 0, but H g = 0 at 0
    flat, unknown = (SearchOutcome(reason).words for reason in found.ended)
    assert flat.startswith("gradient flat")
    assert unknown == "not finite"
    assert found.reached.tolist() == [-1, -1]


def test_trees_and_data_go_through():
    def loss(params, target):
        return (params["a"] * params["b"] - target) ** 2 + 0.1 * (params["a"] ** 2 + params["b"] ** 2)

    starts = {"a": jnp.linspace(-2, 2, 9), "b": jnp.linspace(-1, 2, 9)}
    found = hessian.find_critical_points(loss, starts, 1.0)
    assert found.kind.tolist() == ["minimum", "minimum", "saddle"]
    np.testing.assert_allclose(jnp.sort(found.params["a"]), [-np.sqrt(0.9), 0, np.sqrt(0.9)], atol=1e-9)


def test_the_compiled_part_of_a_search_has_the_defaults_of_the_whole():
    part, whole = (
        inspect.signature(function).parameters
        for function in (search.seek_critical_points, search.find_critical_points)
    )
    assert [(name, one.default) for name, one in part.items()] == [
        (name, one.default) for name, one in whole.items() if name != "separation"
    ]


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"method must be 'levenberg_marquardt', .*; got 'newton'"):
        hessian.find_critical_points(jnp.sum, jnp.zeros((2, 2)), method="newton")
    with pytest.raises(ValueError, match="index must be a whole number, from 0 to 2; got 3"):
        hessian.find_critical_points(jnp.sum, jnp.zeros((2, 2)), index=3)


def test_a_saddle_joins_the_minima_on_both_sides_and_other_points_are_called_none():
    entry = surface("mueller_brown")
    minima = np.array([p.x for p in entry.critical_points if p.index == 0])
    saddles = np.array([p.x for p in entry.critical_points if p.index == 1])
    points = jnp.array([*saddles, minima[0], saddles[0] + 0.05, (jnp.nan, 0.0)])
    ways = jax.vmap(lambda x: hessian.connect(entry.loss, x))(points)
    said = ("both ways", "both ways", "no saddle: the lowest", "no saddle: the gradient", "not finite")
    for reason, words in zip(ways.reason, said, strict=True):
        assert reason.startswith(words)
    assert ways.ends.converged[:2].all()
    distances = np.linalg.norm(np.asarray(ways.ends.params)[:2, :, None] - minima, axis=-1)
    np.testing.assert_array_less(distances.min(axis=-1), 1e-6)
    joined = [set(pair) for pair in distances.argmin(axis=-1).tolist()]
    assert joined == [{1, 2}, {0, 2}]  # the lowest and the highest minimum meet only through the third


def bowl(x):
    return x @ x / 2


def test_steps_are_as_many_and_as_long_as_they_may_be_and_so_is_the_refinement_after_them():
    def seek(radius, *starts):
        starts = jnp.array(starts)[:, None]
        return search.seek_critical_points(
            bowl, starts, method="eigenvector_following", index=0, steps=3, radius=radius
        )

    # 1 + x shrinks by a tenth with each of three steps; refining, which takes a hundredth at a time, does not get there
    np.testing.assert_allclose(seek(0.1, 100.0, -20.0).theta[:, 0], [101 * 0.9**3 - 1, 1 - 21 * 0.9**3], rtol=1e-12)
    # small starts are measured by the largest of them
    small = seek(0.1, 0.5e-3, -0.25e-3).theta[:, 0]
    np.testing.assert_allclose(small, [0.5e-3 * (2 * 0.9**3 - 1), 0.5e-3 * (1 - 1.5 * 0.9**3)], rtol=1e-12)
    # of eight steps of refinement seven lead to the point where (1 + x) 0.99^7 <= 1, and one sees that it is there
    for start, arrived in ((0.0728, True), (0.0730, False)):
        end = seek(1e-12, start, 3.0)
        assert end.converged.tolist() == [arrived, False]
        np.testing.assert_allclose(end.theta[0], 0 if arrived else start, atol=1e-9)
    # the damping of 1e-3 leaves a share of 1 / 1001, and a refinement of tenths ends where (1 + x) 0.9^7 <= 1
    furthest = 1001 * (0.9**-7 - 1)
    starts = jnp.array([[0.999 * furthest], [1.001 * furthest]])
    assert search.seek_critical_points(bowl, starts, steps=1).converged.tolist() == [True, False]


@pytest.fixture
def judged(monkeypatch):
    """The end at a point whose eigenpairs, gradient and rounding are given, at a length scale of 2."""

    def end(values, projections, errors, vectors=((1.0, 0.0), (0.0, 1.0))):
        values, projections, vectors = (jnp.asarray(x, float) for x in (values, projections, vectors))
        found = Eigenbasis(values, vectors, projections, jnp.int32(0))
        monkeypatch.setattr(search, "eigenbasis", lambda *_: found)
        monkeypatch.setattr(search, "spread", lambda *_: (jnp.asarray(errors, float), None))
        slope = projections @ vectors
        return search.judged(None, None, (), jnp.sum, jnp.array([3.0, 4]), slope, jnp.asarray(2.0), None, None)

    return end


def test_an_end_converged_where_newtons_step_is_short_and_slopes_without_curvature_are_rounding(judged):
    none, within = [[0.0, 0.0]], 1e-14  # the zero band of |H| = 4 is 4.4e-14
    for values, projections, errors, converged in (
        ((-4, 2), (4 * 1.199e-5, 2 * 1.6e-5), none, True),  # a step of 2e-5
        ((-4, 2), (4 * 1.201e-5, 2 * 1.6e-5), none, False),
        ((-4, 2), (4 * 1.201e-5, 2 * 1.6e-5), [[9.0, 9.0]], False),
        ((within, 4), (1.0, 0.0), [[0.1, 0.0], [-0.25, 0.0]], True),  # four times the largest rounding
        ((within, 4), (1.001, 0.0), [[0.1, 0.0], [-0.25, 0.0]], False),
        ((within, 4), (-1.001, 0.0), [[0.1, 0.0], [-0.25, 0.0]], False),
        ((within, 4), (1.99e-5 * within, 0.0), none, True),
        ((within, 4), (2.01e-5 * within, 0.0), none, False),
        ((0, 4), (0.0, 0.0), none, True),
    ):
        assert bool(judged(values, projections, errors).converged) == converged, (values, projections)


def test_the_doubt_of_a_point_is_newtons_step_and_rounding_wherever_curvature_bounds_them(judged):
    turned = np.array([[0.6, 0.8], [-0.8, 0.6]])
    for soft, along in ((2.0, (0.5 + 0.4 * 3) / 2), (1e-14, (0.5 + 1.2) / 1e-14), (3.5e-15, 0.0)):
        end = judged((soft, 4), (0.5, 0.0), 0.3 * turned[:1], turned)
        np.testing.assert_allclose(end.doubt, along * np.array([0.6, 0.8]), rtol=1e-9)
    np.testing.assert_allclose(end.flatness, 3.5e-15 / 4, rtol=1e-12)  # |H g| / (|H| |g|)
    np.testing.assert_allclose(judged((2, 4), (3.0, 2.0), [[0.0, 0.0]]).flatness, 10 / 4 / np.sqrt(13), rtol=1e-12)
    assert judged((0, 0), (0.0, 0.0), [[0.0, 0.0]]).flatness == 0
    assert end.loss == 7


def test_a_search_ends_where_newtons_step_is_rounding_along_each_eigenvector():
    edge = 50 * np.finfo(float).eps * 6.0
    for values, slope, still in (
        ((-2, 4), (2 * edge, 4 * edge), True),
        ((-2, 4), (-2 * edge, 4.01 * edge), False),
        ((-2, 4), (-2.01 * edge, 4 * edge), False),
        ((0, 4), (0.0, 0.0), True),
        ((0, 4), (1e-300, 0.0), False),
    ):
        found = in_modes(values, slope)[0]
        assert bool(search._still(found, found.projections, 6.0)) == still


def test_starts_are_rows_of_numbers_whatever_their_tree():
    starts = {"a": np.array([1, 2], "float32"), "b": np.array([[[3.0, 4]], [[5, 6]]])}
    rows = search._rows(starts)
    np.testing.assert_array_equal(rows, [[1, 3, 4], [2, 5, 6]])
    assert rows.dtype == np.float64


def rotation(n):
    return np.linalg.qr(np.random.default_rng(0).normal(size=(n, n)))[0]


def form(x, matrix, center):
    return (x - center) @ matrix @ (x - center) / 2


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_an_ill_conditioned_point_is_listed_once(dtype):
    starts = np.random.default_rng(0).uniform(-3, 3, size=(50, 4)).astype(dtype)
    center = np.array([1.0, -2.0, 0.5, 0.0], dtype)
    for condition in (1e8, 1e12) if dtype == "float64" else (1e4, 1e6):
        values = np.geomspace(1, condition, 4)
        for signs, turn in (((1, 1, 1, 1), np.eye(4)), ((1, 1, 1, 1), rotation(4)), ((1, -1, 1, -1), rotation(4))):
            matrix = (turn * (values * signs) @ turn.T).astype(dtype)
            found = hessian.find_critical_points(form, starts, matrix, center)
            assert len(found.loss) == 1
            assert found.found[0] >= (45 if dtype == "float64" else 26)  # in float32 most of 50
            np.testing.assert_allclose(found.params[0], center, atol=1e-2 if dtype == "float32" else 1e-5)


def wells(x, low, high, turn):
    x = turn @ x
    return low * (x[0] ** 2 - 1) ** 2 + high * (x[1] - 0.7) ** 2


def test_both_wells_and_the_saddle_are_found_where_they_are_nearly_flat():
    starts = np.random.default_rng(0).uniform(-3, 3, size=(40, 2))
    for turn in (np.eye(2), rotation(2)):
        for low, high in ((1e-6, 1e3), (1e-9, 1e2), (1e6, 1e-3)):
            found = hessian.find_critical_points(wells, starts, low, high, jnp.asarray(turn))
            assert found.kind.tolist() == ["minimum", "minimum", "saddle"]
            at = np.asarray(found.params) @ turn.T
            np.testing.assert_allclose(np.sort(at[:2, 0]), [-1, 1], atol=1e-6)
            np.testing.assert_allclose(at[2, 0], 0, atol=1e-6)
            np.testing.assert_allclose(at[:, 1], 0.7, atol=1e-12)


def test_only_points_where_the_gradient_vanishes_are_listed_in_float32():
    def rosenbrock(x):
        return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    starts = np.random.default_rng(0).uniform(-2, 2, size=(100, 6)).astype(np.float32)
    found = hessian.find_critical_points(rosenbrock, starts)
    assert found.kind.tolist() == ["minimum", "minimum", "saddle"]  # Kok & Sandrock 2009
    slope, curvature = jax.jit(jax.grad(rosenbrock)), jax.jit(jax.hessian(rosenbrock))
    for point in np.asarray(found.params, float):
        exact = point
        for _ in range(6):
            exact = exact - np.linalg.solve(curvature(exact), slope(exact))
        np.testing.assert_allclose(slope(exact), 0, atol=1e-12)
        np.testing.assert_allclose(point, exact, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_units_of_loss_and_parameters_change_nothing(dtype):
    himmelblau = surface("himmelblau")
    starts = np.random.default_rng(0).uniform(-5, 5, size=(100, 2))
    known = np.array(sorted(p.x for p in himmelblau.critical_points))

    def scaled(x, size, length):
        return size * himmelblau.loss(x / length)

    both, uneven = jnp.ones(2), jnp.array([1e3 if dtype == "float64" else 10, 1])
    for size, length in ((1e-8, both), (1e8, both), (1.0, 1e-6 * both), (1.0, 1e6 * both), (1.0, uneven)):
        length = length.astype(dtype)
        found = hessian.find_critical_points(scaled, (starts * length).astype(dtype), size, length)
        at = np.array(sorted((found.params / length).tolist()))
        np.testing.assert_allclose(at, known, atol=1e-5 if dtype == "float32" else 1e-8)


def test_a_turned_bowl_of_any_condition_is_one_minimum():
    rng = np.random.default_rng(0)
    turn, center = np.linalg.qr(rng.normal(size=(10, 10)))[0], rng.normal(size=10)

    def bowl(x, matrix):
        q = (x - center) @ matrix @ (x - center) / 2
        return q + q**2 / 4

    for condition in (1e8, 1e12):
        matrix = turn * np.geomspace(1 / condition, 1, 10) @ turn.T
        found = hessian.find_critical_points(bowl, jnp.asarray(3 * rng.normal(size=(100, 10))), matrix)
        assert list(found.kind) == ["minimum"]
        np.testing.assert_allclose(found.params[0], center, atol=found.separation)
        assert (found.unseen, found.starts_since_new) == (0, 99)


def test_a_surface_in_pieces_has_all_its_points_whatever_rounding_does_to_the_pieces():
    octopus = surface("octopus_3d")
    points = jnp.array([point.x for point in octopus.critical_points])
    found = hessian.find_critical_points(octopus.loss, points + 0.05)
    assert sorted(found.kind) == sorted(point.kind for point in octopus.critical_points)
