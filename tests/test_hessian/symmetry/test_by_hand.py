"""Symmetries by hand: distances that are attained, nearest copies by trying all, thresholds in closed form."""

import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from hessian import symmetry
from hessian.roundoff import POOL
from hessian.symmetry import declared, detection
from hessian.symmetry.alignment import same_orbit
from hessian.symmetry.congruence import PointGroup
from hessian.symmetry.declared import Symmetries, declare, refuse_wrong
from hessian.symmetry.multiplicity import multiplicity
from hessian.symmetry.points import Identical
from hessian.symmetry.slices import MARGIN, _orthonormal, orbit_at
from hessian.tolerances import distance_tol

pytestmark = pytest.mark.full
RNG = np.random.default_rng(11)
SIDES = list(itertools.product([1, -1], repeat=3))
ORDERS = list(itertools.permutations(range(3)))


def group(d, *, shifted=False, turned=False, mirrored=False, kinds="none"):
    return PointGroup(d, shifted, turned, mirrored, None if kinds == "none" else Identical(d, kinds))


def test_a_distance_is_what_remains_and_no_more_than_is_asked_for():
    x, y = np.array([0.0, 1.0]), np.array([0.0, 3.0])
    assert group(1).distance(x, y, 2.0) == 2.0
    assert group(1).distance(x, y, 1.99) == np.inf
    assert group(1, shifted=True).distance(x, y, 2.0) == 2**0.5  # a step of 1 to both sides of the middle
    assert group(1).distance(x, -y, 4.0) == 4.0
    assert group(1, mirrored=True).distance(x, -y, 2.0) == 2.0
    assert group(1, shifted=True).distance(x, x + 5, 1e-12) == 0.0
    assert group(1, kinds=None).distance(np.array([3.0, 0.25]), y, 0.3) == 0.25
    assert group(1, kinds=("A", "B")).distance(np.array([3.0, 0.25]), y, 0.3) == np.inf
    places = declare(symmetry.identical(1), jnp.zeros(2))
    for within, one in ((2.0, True), (1.99, False)):
        assert same_orbit(places, jnp.zeros(2), np.array([[1.0, 0.0]]), y, within).tolist() == [one]
    corner = np.array([1.0, 2.0])
    assert group(2, mirrored=True).distance(corner * [-1, 1], corner, 1e-9) == 0.0
    assert group(2, mirrored=True).distance(corner * [1, -1], corner, 1e-9) == np.inf
    assert group(2, turned=True).distance(corner * [1, -1], corner, 1e-9) < 1e-12


def test_points_that_moved_apart_by_less_than_is_allowed_are_found_though_their_lengths_changed_by_more():
    within, x = 1e-3, np.array([[-1.0, 0], [1, 0], [0, 0.3]])
    y = x + 0.7 * within * np.array([[-1.0, 0], [1, 0], [0, 0]])
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    for moved in (x, x @ turn.T, (x @ turn.T)[[1, 2, 0]]):
        far = group(2, turned=True, kinds=None).distance(moved.ravel(), y.ravel(), within)
        assert far == pytest.approx(0.7 * within * 2**0.5, rel=1e-3)
    assert group(2, turned=True, kinds=None).distance(x.ravel(), y.ravel(), 0.9 * within) == np.inf


def test_points_as_near_as_is_asked_for_are_at_one_place():
    x = np.array([[0.0, 0], [1, 0], [5, 5]])
    for within, copies in ((1.0, 3), (0.99, 6)):
        assert group(2, kinds=None).copies(x.ravel(), within) == copies
        assert group(2, kinds=None, mirrored=True).copies(x.ravel(), within) == 2 * copies
    assert group(2, kinds=("A", "A", "B")).copies(x.ravel(), 0.5) == 2
    assert group(2, kinds=("A", "A", "B")).copies(x.ravel(), 1.0) == 1
    assert group(2).copies(x.ravel(), 0.5) == 1
    even = np.array([[-2.0, 0], [2, 0], [0, 3]])  # the mirror brings it back with two places changed
    assert group(2, kinds=None, mirrored=True).copies(even.ravel(), 1e-9) == 6
    units = {"a": np.array([[0.0, 1.0]]), "b": np.array([[0.0], [0.0]])}  # columns (0, 0) and (1, 0)
    for one, within, copies in (
        ("permutations", 1.0, 1),
        ("permutations", 0.9, 2),
        ("signs", 1.0, 1),
        ("signs", 0.9, 2),
    ):
        declared = declare(getattr(symmetry, one)("a", "b"), units)
        assert multiplicity(declared, units, np.array([0.0, 1, 0, 0]), within) == copies


def test_without_any_symmetry_points_are_one_within_an_ellipsoid():
    rows = np.array([[1.0, 0], [0, 2], [0.6, 1.6], [1, 2], [1.01, 0], [0, 0]]) + 3
    found = same_orbit(Symmetries(), jnp.zeros(2), rows, np.full(2, 3.0), np.array([1.0, 2.0]) + 1e-12)
    assert found.tolist() == [True, True, True, False, False, True]
    assert same_orbit(Symmetries(), jnp.zeros(2), rows[:0], np.zeros(2), 1.0).tolist() == []


@pytest.mark.parametrize("names", [["permutations"], ["signs"], ["permutations", "signs"]])
def test_the_nearest_copy_of_units_is_the_nearest_of_all_that_can_be_listed(names):
    for _ in range(8):
        here, goal = (
            {"a": RNG.normal(size=(2, 3)), "b": RNG.normal(size=(3, 2)), "c": RNG.normal(size=3)} for _ in "hg"
        )
        (one,) = declare([getattr(symmetry, name)(("a", "c"), "b") for name in names], goal).discrete
        made = one.nearest(here, goal)

        def apart(order, side, here=here, goal=goal):
            moved = {
                "a": here["a"][:, order] * side,
                "b": here["b"][order] * side[:, None],
                "c": here["c"][order] * side,
            }
            return sum(np.sum((moved[name] - goal[name]) ** 2) for name in moved)

        orders = ORDERS if "permutations" in names else [(0, 1, 2)]
        sides = SIDES if "signs" in names else [(1, 1, 1)]
        least = min(apart(list(order), np.array(side)) for order in orders for side in sides)
        assert sum(np.sum((made[name] - goal[name]) ** 2) for name in made) == pytest.approx(least, rel=1e-12)


def test_the_nearest_copy_of_points_and_of_angles_is_the_nearest_of_all():
    for _ in range(8):
        x, y = RNG.normal(size=(2, 4, 2))
        for kinds, orders in (
            (None, itertools.permutations(range(4))),
            ("ABAA", [o for o in itertools.permutations(range(4)) if o[1] == 1]),
        ):
            made = symmetry.identical(2, None if kinds is None else list(kinds)).nearest(x, y)
            least = min(np.sum((x[list(order)] - y) ** 2) for order in orders)
            assert np.sum((made - y) ** 2) == pytest.approx(least, rel=1e-12)
        made = symmetry.reflections(2).nearest(x, y)
        least = min(np.sum((x * side - y) ** 2) for side in ([1, 1], [-1, 1]))
        assert np.sum((made - y) ** 2) == pytest.approx(least, rel=1e-12)
        here, goal = 9 * RNG.normal(size=(2, 3))
        made = symmetry.periodic(2.5).nearest(jnp.asarray(here), jnp.asarray(goal))
        every = here[:, None] + 2.5 * np.arange(-40, 41)
        np.testing.assert_allclose(np.abs(made - goal), np.abs(every - goal[:, None]).min(axis=1), atol=1e-9)
    some = symmetry.periodic(2.0, (0, 2)).nearest(jnp.array([0.0, 0, 0]), jnp.array([3.5, 7, -1.5]))
    assert some.tolist() == [4.0, 0.0, -2.0]


def test_random_copies_are_copies_and_not_all_the_same():
    x = jnp.arange(6.0)
    shifts = np.stack([symmetry.periodic(2.0).image(x, jax.random.key(i)) - x for i in range(9)])
    assert set(shifts.ravel().tolist()) == {-2.0, 0.0, 2.0}
    rows = x.reshape(3, 2)
    images = [
        np.asarray(symmetry.identical(2, ["A", "B", "A"]).image(rows, jax.random.key(i))).tolist() for i in range(9)
    ]
    assert {str(one) for one in images} == {
        "[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]",
        "[[4.0, 5.0], [2.0, 3.0], [0.0, 1.0]]",
    }
    assert symmetry.reflections(2).image(rows, jax.random.key(0)).tolist() == [[0, 1], [-2, 3], [-4, 5]]


def test_entries_are_counted_from_either_end():
    w = jnp.array([2.0, 0.5])
    for a, b in ((0, 1), (0, -1), (-2, 1)):
        assert declare(symmetry.rescale(a, b), w).fields(w).tolist() == [[2.0, -0.5]]
    for beyond in (2, -3):
        with pytest.raises(ValueError, match=f"from 0 to 1; got {beyond}"):
            declare(symmetry.rescale(0, beyond), w)


@pytest.mark.parametrize("share", [0.98, 1.02])
def test_a_rotation_counts_where_its_field_is_longer_than_margins_of_what_newtons_step_may_leave(share):
    for n, angle in ((2, 0.0), (2, 1.0)):
        still = distance_tol(jnp.zeros(n))  # the field of one rotation grows by |J| = sqrt 2, J = [[0, 1], [-1, 0]]
        x = share * MARGIN * still * 2**0.5 * jnp.array([np.cos(angle), np.sin(angle)])
        orbit = orbit_at(declare(symmetry.rotations(2), x), x)
        assert int(orbit.dimension) == (share > 1)
        np.testing.assert_allclose(np.abs(orbit.flat @ x), 0, atol=1e-12)


def test_what_does_not_hold_is_measured_in_shares_of_the_slope_and_of_the_loss():
    for which in (0, 1):
        words = f"along generator {which} the slope is 1 of"
        with pytest.raises(ValueError, match=words):
            refuse_wrong(lambda w: w[which] ** 3, jnp.ones(2), (), declare(symmetry.translations(2), jnp.ones(2)))  # noqa: B023
    mirror = [symmetry.identical(1), symmetry.reflections(1)]
    with pytest.raises(ValueError, match="discrete symmetry 1 changes it by 2 of itself"):
        refuse_wrong(lambda w: jnp.sum(w) ** 3, jnp.ones(2), (), declare(mirror, jnp.ones(2)))


def test_only_what_changes_distances_stretches():
    x = jnp.ones((3, 2))
    assert not declare(symmetry.euclidean(2), x).stretch(x)
    assert not declare(symmetry.identical(2), x).stretch(x)
    assert declare(symmetry.rescale(0, 1), jnp.ones(2)).stretch(jnp.ones(2))
    assert not declare(symmetry.rotate("a", "b"), {"a": x, "b": x.T}).stretch({"a": x, "b": x.T})
    assert declare([symmetry.translations(1), symmetry.rescale(0, 1)], jnp.ones(2)).stretch(jnp.ones(2))
    assert not declare(symmetry.translations(2), jnp.ones(2)).stretch(jnp.ones(2))
    for size in (1.0, 1e-9):  # a field counts as skew to a ten-thousandth of its own size
        for part, one in ((0.49e-4, False), (0.51e-4, True)):
            field = size * jnp.array([[part, 1.0], [-1.0, 0.0]])
            assert declare(lambda w, field=field: field @ w, jnp.ones(2)).stretch(jnp.ones(2)) == one


def test_what_is_detected_has_its_kind_and_leads_along_the_known_fields():
    found = symmetry.detect(lambda w: (w @ w - 1) ** 2, jnp.ones(3))
    assert str(found).splitlines()[1:] == ["  a rotation"] * 2  # a third moves nothing new
    np.testing.assert_allclose(found.matrices + found.matrices.transpose(0, 2, 1), 0, atol=1e-9)
    np.testing.assert_allclose(found.shifts, 0, atol=1e-9)
    flat = symmetry.detect(lambda w: jnp.cos(w[0] - 2 * w[1]), jnp.ones(3))
    assert str(flat).splitlines()[1:] == ["  a shift"] * 2
    np.testing.assert_allclose(flat.shifts @ [1, -2, 0], 0, atol=1e-9)
    np.testing.assert_allclose(flat.matrices, 0, atol=1e-9)
    assert np.linalg.matrix_rank(flat.shifts) == 2
    assert str(symmetry.detect(lambda w: (1 - w[0] * w[1]) ** 2, jnp.ones(2))).splitlines()[1:] == ["  a linear map"]
    with pytest.raises(ValueError, match="got one at 0 points"):
        symmetry.detect(lambda w: jnp.sum(jnp.sqrt(-jnp.abs(w))), jnp.ones(2))


EPS = np.finfo(float).eps


@pytest.mark.parametrize(("share", "holds"), [(0.99, True), (1.01, False)])
def test_a_slope_may_be_a_thousand_roundings_of_the_sizes_that_it_sums(share, holds):
    b = jnp.array([1.0, -1.0 + share * 1e3 * EPS * 2])  # (1, 1) . b, where |1| |b| is 2
    loss = lambda w, b: b @ w  # noqa: E731
    pair = declare(lambda w: jnp.ones(2), jnp.ones(2))
    if holds:
        assert refuse_wrong(loss, jnp.ones(2), (b,), pair)
    else:
        with pytest.raises(ValueError, match=r"along generator 0 the slope is 2\.2e-13 of .* 1 times what rounding"):
            refuse_wrong(loss, jnp.ones(2), (b,), pair)


def test_a_change_of_the_loss_is_measured_by_its_size_and_by_ten_times_its_rounding():
    doubled, same = (SimpleNamespace(image=lambda x, key, by=by: by * x) for by in (2, 1))
    x, pools = jnp.array([3.0]), jnp.ones((2, POOL))
    for loss, rounding in ((lambda x: x[0], 0), (lambda x: -7 * x[0] / 7, 2)):  # of no operation, and of two
        found = declared._images(loss, SimpleNamespace(discrete=[same, doubled]), x, (), jax.random.key(0), pools)
        np.testing.assert_array_equal(found[0], [0, 0])
        np.testing.assert_allclose(found[1], [1, 1 / (1e3 * EPS + 10 * rounding * EPS)], rtol=1e-3)
    ratios = declared._ratios(jnp.array([0.0, 6.0]), jnp.array([0.0, 2.0]), jnp.array([0.0, 3.0]))
    np.testing.assert_array_equal(ratios, [[0, 0], [3, 2]])


def test_affine_fields_are_shifts_of_the_points_size_rotations_and_unit_matrices():
    shifts, rigid, every = detection._families(3, 2.0)
    assert [len(family) for family in (shifts, rigid, every)] == [3, 3 + 3, 3 + 9]
    for family, lengths in ((shifts, [2] * 3), (rigid, [2] * 3 + [1] * 3), (every, [2] * 3 + [1] * 9)):
        flat = family.reshape(len(family), -1)
        np.testing.assert_allclose(flat @ flat.T, np.diag(np.square(lengths)), atol=1e-15)
    np.testing.assert_allclose(shifts[:, :, :3], 0)
    np.testing.assert_allclose(rigid[3:, :, :3] + rigid[3:, :, :3].transpose(0, 2, 1), 0)
    points, slopes = RNG.normal(size=(2, 5, 3))
    slow = [[g @ (field[:, :3] @ x + field[:, 3]) for field in every] for x, g in zip(points, slopes, strict=True)]
    np.testing.assert_allclose(detection._moments(every, points, slopes), slow, rtol=1e-12)


def test_a_singular_value_is_nought_by_its_share_of_the_largest_and_the_root_of_the_points():
    left, right = (np.linalg.qr(RNG.normal(size=(k, k)))[0] for k in (9, 3))
    for last, dimension in ((2.99, 1), (3.01, 0)):  # 4 x 0.25, for each of nine points
        found = detection._null(left[:, :3] * [4.0, 3.5, last] @ right, 0.25)
        assert len(found) == dimension
        np.testing.assert_allclose(np.abs(found @ right.T), np.eye(3)[2:][:dimension], atol=1e-12)
    assert len(detection._null(np.zeros((9, 3)), 0.25)) == 3


def test_a_field_is_new_where_it_leads_out_of_the_others_by_a_millionth_of_the_point():
    x = np.array([3.0, 4.0])
    one, none = np.zeros((1, 2, 2)), np.zeros((0, 2, 2))
    for share, count in ((0.99, 1), (1.01, 2)):
        new = np.array([[7.0, share * 5e-6]])
        matrices, shifts = detection._led_out(one, np.array([[2.0, 0.0]]), one, new, x)
        assert matrices.shape == (count, 2, 2)
        np.testing.assert_allclose(np.abs(shifts[1:]), np.abs(new)[: count - 1])
    first = detection._led_out(none, np.zeros((0, 2)), one, np.array([[0.0, 2.0]]), x)
    np.testing.assert_allclose(np.abs(first[1]), [[0, 2]])
    assert detection._led_out(one, np.ones((1, 2)), none, np.zeros((0, 2)), x)[1].tolist() == [[1, 1]]
    turn = np.array([[[0.0, 1.0], [-1.0, 0.0]]])  # the field (4, -3) there, which is that of a shift
    assert len(detection._led_out(one, np.array([[8.0, -6.0]]), turn, np.zeros((1, 2)), x)[0]) == 1
    assert len(detection._led_out(one, np.array([[8.0, 6.0]]), turn, np.zeros((1, 2)), x)[0]) == 2


def test_the_nearest_orthonormal_rows_are_those_of_the_polar_decomposition():
    rows = RNG.normal(size=(2, 4))
    found = _orthonormal(jnp.asarray([rows[0], np.zeros(4), rows[1]]), jnp.array([True, False, True]))
    np.testing.assert_allclose(found[np.array([0, 2])], scipy.linalg.polar(rows)[0], atol=1e-12)
    np.testing.assert_array_equal(found[1], 0)


def test_more_values_than_affine_fields_can_be_tried_for_are_refused():
    with pytest.raises(ValueError, match=r"params must hold at most 40 values, .*; got 41"):
        symmetry.detect(lambda w: w @ w, jnp.ones(41))
