"""The catalogue of distinct points: which two ends are one point, by distances and losses that are made to the bit."""

import numpy as np
import pytest

from hessian import symmetry
from hessian.landscapes.catalogue import Catalogue, Ends, _Columns
from hessian.symmetry.declared import declare
from hessian.verdicts.classify import Kind
from hessian.verdicts.refinement import TOLERANCE

pytestmark = pytest.mark.full

NEAR = TOLERANCE[True]  # the distance at which points of double precision are the same, where unit + max |theta| is 1


def end(theta=(0.0, 0.0), loss=0.0, *, doubt=0.0, index=0, flat=0, curvature=0.0, code=Kind.MINIMUM, dtype=float):
    theta = np.array(theta, dtype)
    every = np.array(curvature * np.array([1, -1]), dtype)
    return Ends(
        theta, np.array(loss, dtype), every, np.eye(2, dtype=dtype), np.full(2, doubt, dtype), np.bool_(True),
        np.array(code), np.array(index), np.array(0), np.array(flat), np.array(0.0, dtype),
    )  # fmt: skip


def places(*ends, unit=1.0, symmetries=None):
    """The number of each end's point."""
    catalogue = Catalogue(symmetries, np.zeros(2), unit)
    return [catalogue.place(one)[0] for one in ends]


def test_ends_are_one_point_up_to_the_distance_and_another_beyond():
    for scale, more in ((1.0, 0.0), (1.5, 0.5), (5.0, 4.0)):  # the unit and the largest |coordinate| of the new end
        far = scale * NEAR
        for shift, same in ((far * (1 - 1e-9), True), (far * (1 + 1e-9), False)):
            ends = end([shift, -more], 1.0), end([0.0, -more], 1.0)
            assert places(*ends, unit=scale - more) == [0, 0 if same else 1]
    diagonal = NEAR / np.sqrt(2)
    assert places(end([diagonal * 0.999, -diagonal * 0.999]), end()) == [0, 0]
    assert places(end([diagonal * 1.001, -diagonal * 1.001]), end()) == [0, 1]


def test_single_precision_has_a_distance_of_its_own():
    for shift, same in ((0.9, True), (1.1, False)):
        ends = (end([one, 0.0], dtype=np.float32) for one in (shift * TOLERANCE[False], 0.0))
        assert places(*ends) == [0, 0 if same else 1]


def test_what_is_in_doubt_of_either_widens_the_distance_coordinate_by_coordinate():
    for doubts in ((0.25, 0.5), (0.5, 0.25)):
        for shift, same in ((0.75 + 0.9 * NEAR, True), (0.75 + 1.1 * NEAR, False)):
            here, there = (end(one, doubt=doubt) for one, doubt in zip(([shift, -0.75], [0, 0]), doubts, strict=True))
            assert places(here, there) == [0, 0 if same else 1]


def test_points_of_other_losses_indices_or_orbits_are_others_at_one_place():
    assert places(end(), end(index=1), end(flat=1), end(index=1, flat=1), end()) == [0, 1, 2, 3, 0]
    rounding = 1e4 * np.finfo(float).eps  # of the larger loss, where nothing is curved
    for one, other in ((2.0, 2.0 * (1 - 0.9 * rounding)), (-2.0 * (1 - 0.9 * rounding), -2.0)):
        assert places(end(loss=one), end(loss=other)) == places(end(loss=other), end(loss=one)) == [0, 0]
    for one, other in ((2.0, 2.0 * (1 - 1.1 * rounding)), (2.0, -2.0)):
        assert places(end(loss=one), end(loss=other)) == places(end(loss=other), end(loss=one)) == [0, 1]


@pytest.mark.parametrize("curvature", [3.0, -3.0])
def test_losses_may_differ_by_what_the_curvature_makes_of_the_distance(curvature):
    """By |lambda| far^2, where far is the distance and the norms of both doubts: 2^-2 and 2^-3 in each coordinate."""
    far = 2**-2 * np.sqrt(2) + 2**-3 * np.sqrt(2) + NEAR
    for share, same in ((0.999, True), (1.001, False)):
        known = end(loss=share * 3.0 * far**2, doubt=2**-2)
        assert places(known, end(doubt=2**-3, curvature=curvature)) == [0, 0 if same else 1]


def test_points_keep_their_numbers_and_how_often_they_were_found_however_many_they_are():
    catalogue = Catalogue(None, np.zeros(2), 1.0)
    rows = [end([i, -i], float(i), doubt=1e-9 * i, index=i % 3, flat=i % 2) for i in range(200)]
    assert [catalogue.place(row) for row in rows] == [(i, True) for i in range(200)]
    assert [catalogue.place(row) for row in rows[::-3]] == [(i, False) for i in range(199, -1, -3)]
    assert catalogue.found == [1 + (i % 3 == 1) for i in range(200)]
    assert catalogue.points == rows
    assert len(catalogue._columns.loss) == 256  # 64, doubled twice
    np.testing.assert_allclose(catalogue._columns.doubt_norm[:200], 1e-9 * np.arange(200) * np.sqrt(2), rtol=1e-14)


def test_room_is_made_of_the_kind_of_the_numbers():
    columns = _Columns.room(3, np.zeros(2, np.float32))
    assert [column.shape for column in columns] == [(3,)] * 4 + [(3, 2)] * 2
    assert [column.dtype.kind for column in columns] == list("fiifff") and columns.theta.dtype == np.float32


def test_an_end_moved_along_a_symmetry_is_the_same_point():
    shifts = declare(symmetry.periodic(2.0), np.zeros(2))
    assert places(end([0.25, 0.5]), end([2.25, -1.5]), end([1.25, 0.5]), symmetries=shifts) == [0, 0, 1]
    for shift, same in ((0.3 + 0.7 * NEAR, True), (0.3 + 2.1 * NEAR, False)):  # beside the norm of both doubts
        ends = end([2 + shift, 0.0], doubt=0.1 / np.sqrt(2)), end(doubt=0.2 / np.sqrt(2))
        assert places(*ends, symmetries=shifts) == [0, 0 if same else 1]


def test_copies_are_counted_within_the_distance_and_twice_the_doubt(monkeypatch):
    """Of one hidden unit, whose sign makes another point unless its weights are zero."""
    like = {"a": np.zeros((1, 1)), "b": np.zeros((1, 1))}
    mirrored = declare(symmetry.signs("a", "b"), like)
    for shift, copies in ((0.9, 1), (1.1, 2)):
        catalogue = Catalogue(mirrored, like, 1.0)
        catalogue.place(end([0.5 + shift * 1.5 * NEAR, 0.0], doubt=0.25 / np.sqrt(2)))
        assert catalogue.multiplicity(0) == copies
    most = int(np.finfo(float).max)
    for count, said in ((7, 7.0), (most, float(most)), (10**400, np.inf), (None, np.nan)):
        monkeypatch.setattr("hessian.landscapes.catalogue.multiplicity", lambda *_, count=count: count)
        np.testing.assert_equal(catalogue.multiplicity(0), said)


def test_only_known_points_that_are_explained_are_accepted():
    k = 6
    ends = Ends(
        np.zeros((k, 2)), np.array([0.0, 0, 0, 0, np.inf, 0]), np.zeros((k, 2)), np.zeros((k, 1, 2)), np.zeros((k, 2)),
        np.array([True, True, True, False, True, True]),
        np.array([Kind.MINIMUM, Kind.MAXIMUM, Kind.SADDLE, Kind.MINIMUM, Kind.MINIMUM, Kind.DEGENERATE]),
        np.zeros(k, int), np.zeros(k, int), np.zeros(k, int), np.zeros(k),
    )  # fmt: skip
    assert ends.accepted.tolist() == [True, True, True, False, False, False]
    assert ends._replace(unexplained=np.array([1, 0, -1, 0, 0, 0])).accepted.tolist()[:3] == [False, True, False]
    assert ends.row(2).code == Kind.SADDLE and ends.row(2).theta.shape == (2,)
