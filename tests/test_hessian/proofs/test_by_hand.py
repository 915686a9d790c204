"""Proofs by hand: where Krawczyk's operator just maps a box into itself, where a cover ends, what Arb decides."""

import itertools
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

pytestmark = pytest.mark.full

flint = pytest.importorskip("flint")
pytest.importorskip("ival")

import hessian  # noqa: E402
from hessian.proofs import covered, point  # noqa: E402
from hessian.proofs.complete import _holds, _inside  # noqa: E402
from hessian.proofs.cover import leaves, written  # noqa: E402
from hessian.proofs.kernels import arb as judge  # noqa: E402
from hessian.proofs.kernels import balls, boxes, points  # noqa: E402
from hessian.proofs.lowering import lowered  # noqa: E402
from hessian.proofs.orbit import OrbitSlice  # noqa: E402
from hessian.proofs.program import NotProved, Program, Refused, as_data, from_data  # noqa: E402
from hessian.proofs.prove import _inside as refuse_bounds  # noqa: E402
from hessian.proofs.record import Ball  # noqa: E402


def program_of(loss, n) -> Program:
    return lowered(loss, jnp.full(n, 0.25))[0]


def ball(center, radius, index=0):
    ratios = [float(x).as_integer_ratio() for x in center]
    return Ball(tuple((top, 1 - bottom.bit_length()) for top, bottom in ratios), tuple(radius), index, 53)


# ------------------------------------------------------------------------------------- Krawczyk's operator, by hand

QUARTIC = program_of(lambda w: w[0] ** 2 / 2 + w[0] ** 4 / 4, 1)  # |1 - H(X)| r = 3 r^3 below r: r < 0.577
BOWL = program_of(lambda w: w[0] ** 2 / 2, 1)  # the step is the center's distance from 0
COUPLED = program_of(lambda w: w[0] ** 2 / 2 + w[1] ** 2 / 2 + w[0] ** 2 * w[1] / 2, 2)  # 2 r0 r1 < r0, r0^2 < r1
SADDLE = program_of(lambda w: 3 * w[0] ** 2 - w[1] ** 2 + w[0] * w[1], 2)
STATEMENTS = [  # the program, center, radii, index, and whether it comes out
    (QUARTIC, [0.0], [0.57], 0, True),
    (QUARTIC, [0.0], [0.585], 0, False),
    (BOWL, [0.5], [0.51], 0, True),
    (BOWL, [0.5], [0.49], 0, False),
    (BOWL, [-0.5], [0.51], 0, True),
    (BOWL, [-0.5], [0.49], 0, False),
    (BOWL, [0.0], [1e3], 0, True),
    (BOWL, [0.0], [1e3], 1, False),
    (COUPLED, [0.0, 0.0], [0.3, 0.49], 0, True),
    (COUPLED, [0.0, 0.0], [0.3, 0.51], 0, False),
    (COUPLED, [0.0, 0.0], [0.66, 0.45], 0, True),
    (COUPLED, [0.0, 0.0], [0.69, 0.45], 0, False),
    (SADDLE, [0.01, -0.02], [0.011, 0.021], 1, True),
    (SADDLE, [0.01, -0.02], [0.009, 0.021], 1, False),
    (SADDLE, [0.01, -0.02], [0.011, 0.019], 1, False),
    (SADDLE, [0.0, 0.0], [1.0, 1.0], 0, False),
    (SADDLE, [0.0, 0.0], [1.0, 1.0], 2, False),
]


@pytest.mark.parametrize("case", range(len(STATEMENTS)))
def test_a_ball_holds_one_point_just_where_krawczyks_operator_maps_it_inside(case):
    program, center, radius, index, true = STATEMENTS[case]
    assert point.holds(program, ball(center, radius, index), 106) == true
    assert points.holds(program, points.Point(np.array(center), np.array(radius), index)) == true
    assert point.holds_by_rows(program, ball(center, radius, index)) == true


GROWTHS = [  # the program, center, radii, and how many of these Krawczyk's operator reaches
    (QUARTIC, [0.0], [0.1], 3 * 0.1**2),
    (QUARTIC, [0.0], [2.0], 12.0),
    (BOWL, [0.5], [0.25], 2.0),
    (BOWL, [-0.5], [2.0], 0.25),
    (COUPLED, [0.0, 0.0], [0.2, 0.3], 0.6),  # of 2 r1 and r0^2 / r1 the larger
    (COUPLED, [0.0, 0.0], [0.6, 0.1], 3.6),
    (COUPLED, [0.0, 0.0], [0.1, 0.5], 1.0),
    (SADDLE, [0.25, -0.5], [0.5, 0.25], 2.0),  # of a quadratic it is the step
]


@pytest.mark.parametrize("case", range(len(GROWTHS)))
def test_krawczyks_operator_reaches_as_far_as_the_step_and_the_change_of_the_hessian(case):
    program, center, radius, growth = GROWTHS[case]
    _, hessian = points.derivatives(program, balls.Balls(np.array(center)))
    by_rows = points._growth(program, np.array(center), np.array(radius), points._inverse(hessian))
    with judge.bits(106):
        exact = [judge.arb(x) for x in center]
        thin = judge.jet(program, exact)
        inverse = point._approximate_inverse(thin)
        by_arb = point._growth(program, exact, radius, inverse, inverse * thin.gradient)
    for found in (by_rows, by_arb):
        assert growth * (1 - 1e-15) <= found <= growth * (1 + 1e-5)


def test_the_units_of_a_ball_are_the_roots_of_the_diagonal_of_the_inverse_of_the_modulus():
    draw = np.random.default_rng(5)
    for _ in range(3):
        basis, sizes = np.linalg.qr(draw.normal(size=(3, 3)))[0], draw.normal(size=3)
        expected = np.sqrt(np.diag((basis / np.abs(sizes)) @ basis.T))
        table = flint.arb_mat(((basis * sizes) @ basis.T).tolist())
        found = point._lengths(judge.Jet(None, None, table))
        np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=1e-10)
    assert point._lengths(judge.Jet(None, None, flint.arb_mat(1, 1))).tolist() == pytest.approx(
        [1e15]
    )  # of no curvature


def test_a_ball_that_the_other_kernel_does_not_confirm_is_taken_a_quarter_as_large_up_to_twelve_times(monkeypatch):
    asked = []

    def holds_below(size):
        def held(program, one, precision):
            asked.append((one.radius[0], precision))
            return one.radius[0] <= size

        return held

    one = ball([0.0], [1.0])._replace(kernel="balls")
    monkeypatch.setattr(point, "holds", holds_below(4.0**-2))
    assert point.confirmed(BOWL, one).radius == (4.0**-2,)
    assert asked == [(1.0, 106), (0.25, 106), (0.0625, 106)]
    monkeypatch.setattr(point, "holds", holds_below(4.0**-11))
    assert point.confirmed(BOWL, one).radius == (4.0**-11,)
    monkeypatch.setattr(point, "holds", holds_below(4.0**-12))
    with pytest.raises(NotProved, match="two kernels do not agree"):
        point.confirmed(BOWL, one)
    monkeypatch.setattr(point, "holds", None)
    assert point.confirmed(BOWL, ball([0.0], [1.0])) == ball([0.0], [1.0])
    many = ball([0.0] * 65, [1.0] * 65)._replace(kernel="balls")
    assert point.confirmed(BOWL, many) == many
    with pytest.raises(TypeError):
        point.confirmed(BOWL, ball([0.0] * 64, [1.0] * 64)._replace(kernel="balls"))


def test_a_point_beside_the_parameters_is_at_most_a_tenth_of_their_length_scale_away():
    start = np.array([3.0, -4.0])
    point._refuse_far(np.array([0.0, 0.6]), start)
    for moved in ([0.36, 0.481], [np.nan, 0.0]):
        with pytest.raises(NotProved, match="no critical point beside these parameters"):
            point._refuse_far(np.array(moved), start)


def test_arrays_hold_a_ball_whose_center_is_made_of_doubles():
    fine = Ball(((2**53 + 1, -54),), (0.75,), 0, 106)
    with pytest.raises(NotProved, match="not made of doubles"):
        point.holds_by_rows(BOWL, fine)
    assert point.holds_by_rows(BOWL, fine._replace(center=((2**53, -54),)))


def test_newtons_method_ends_at_the_point_and_the_ball_around_it_has_the_shape_of_the_valley():
    program = program_of(lambda w: 50 * (w[0] - 2) ** 2 + jnp.cosh(w[1] - 1) / 100, 2)
    found = points.proved_at(program, np.array([2.0001, 1.0001]))
    np.testing.assert_allclose(found.center, [2, 1], atol=1e-12)
    assert (np.abs(found.center - [2, 1]) < found.radius).all()
    assert found.radius[1] / found.radius[0] == pytest.approx(100, rel=1e-6)  # 1 / sqrt(0.01) to 1 / sqrt(100)
    assert found.index == 0
    assert points.holds(program, found)
    assert np.max(found.radius / (1 + found.center)) == pytest.approx(
        points.FIRST, rel=1e-9
    )  # the first is small enough
    again = point.proved_at(program, np.array([2.02, 1.1]))
    assert again.radius[1] / again.radius[0] == pytest.approx(100, rel=1e-6)
    assert point.holds(program, again, 106)
    assert np.max(np.array(again.radius) / (1 + found.center)) == pytest.approx(point.FIRST, rel=1e-9)
    steep = program_of(lambda w: w[0] ** 2 / 2 + 1e9 * w[0] ** 4, 1)  # no larger than 1 / sqrt(12e9)
    for radius in (points.proved_at(steep, np.zeros(1)).radius, point.proved_at(steep, np.zeros(1)).radius):
        # 12e9 r^2 is 12,000 for a thousandth, far too much; 1.2 for a hundredth of that, of which half is aimed at.
        assert radius[0] == pytest.approx(1e-3 * 0.01 * 0.5 / 1.2, rel=1e-6)
    assert point.proved_at(program, np.array([2.3, 1.1])).index == 0  # 0.32 away, of 0.1 (1 + 2.55)
    with pytest.raises(NotProved, match="away"):
        point.proved_at(program, np.array([2.4, 1.15]))  # 0.43 of 0.1 (1 + 2.67)


def test_an_index_is_that_of_every_matrix_in_the_ball_or_refused():
    draw, found = np.random.default_rng(12), {"arb": [0, 0], "balls": [0, 0]}
    rows, columns = np.triu_indices(3)
    for _ in range(60):
        mid, rad = draw.normal(size=(3, 3)), 10.0 ** draw.uniform(-3, 0) * draw.uniform(size=(3, 3))
        mid, rad = mid + mid.T, rad + rad.T
        indices = set()
        for signs in itertools.product([-1, 1], repeat=6):
            corner = np.zeros((3, 3))
            corner[rows, columns] = corner[columns, rows] = signs
            indices.add(int((np.linalg.eigvalsh(mid + corner * rad) < 0).sum()))
        table = flint.arb_mat(
            [[flint.arb(m, r) for m, r in zip(*both, strict=True)] for both in zip(mid, rad, strict=True)]
        )
        for kernel, ask in (
            ("arb", lambda: point._index(judge.Jet(None, None, table))),  # noqa: B023
            ("balls", lambda: points._index(balls.Balls(mid, rad))),  # noqa: B023
        ):
            try:
                assert {ask()} == indices
                found[kernel][0] += 1
            except NotProved:
                found[kernel][1] += 1
    assert min(*found["arb"], *found["balls"]) >= 10
    with pytest.raises(NotProved, match="may be zero"):
        point._index(judge.Jet(None, None, flint.arb_mat([[flint.arb(0, 1e-3)]])))
    for sizes in ([0.25, -0.5], [-0.25, -3.0], [1e-9, 0.5]):
        assert point._index(judge.Jet(None, None, flint.arb_mat(np.diag(sizes).tolist()))) == sum(s < 0 for s in sizes)


def test_fields_lead_off_a_slice_as_long_as_no_angle_in_the_ball_is_zero():
    turn = OrbitSlice((1.0, 0.0), ((0.0, 1.0),), 1.0, (((0, 1, -1.0), (1, 0, 1.0)),))  # (-y, x) . (0, 1) = x
    for center, radius, off in ((1.0, 0.99, True), (1.0, 1.01, False), (-1.0, 0.99, True), (-1.0, 1.01, False)):
        assert point.transverse(turn, ball([center, 0.0], [radius, 1.0]), 106) == off
    shift = OrbitSlice((0.0, 0.0), ((0.0, 1.0),), 1.0, (((1, 2, 0.5), (1, 0, 1.0)),))  # x + 1/2
    assert point.transverse(shift, ball([0.0, 0.0], [0.49, 9.0]), 106)
    assert not point.transverse(shift, ball([0.0, 0.0], [0.51, 0.1]), 106)
    along = OrbitSlice((1.0, 0.0), ((1.0, 0.0),), 1.0, (((0, 1, -1.0), (1, 0, 1.0)),))
    assert not point.transverse(along, ball([1.0, 0.0], [0.1, 0.1]), 106)


def test_a_slice_adds_half_its_weight_times_the_square_of_what_leads_off_it():
    cut = OrbitSlice((0.5, -1.0), ((1.0, 2.0), (4.0, -1.0)), 3.0, ((), ()))
    made = cut.onto(program_of(lambda w: w[0] - w[1], 2))
    assert from_data(as_data(made)) == made
    for x, y in ((0.5, -1.0), (2.5, 0.0), (0.0, 3.0)):
        u, v = x - 0.5, y + 1
        assert judge.jet(made, [flint.arb(x), flint.arb(y)]).value == x - y + 1.5 * (
            (u + 2 * v) ** 2 + (4 * u - v) ** 2
        )


def test_the_weight_of_a_slice_is_in_the_units_of_the_loss_and_one_where_there_is_no_curvature():
    circle, at = hessian.symmetry.rotations(2), jnp.array([0.6, 0.8])
    weights = [
        hessian.prove(lambda w: scale * (w @ w - 1) ** 2, at, symmetries=circle).orbit.weight  # noqa: B023
        for scale in (1.0, 2.0**-30)
    ]
    assert weights[1] == pytest.approx(weights[0] * 2.0**-30, rel=1e-9)
    flat = hessian.prove(lambda w: 0 * jnp.sum(w), jnp.ones(2), symmetries=hessian.symmetry.translations(2))
    assert (flat.kind, flat.flat, flat.orbit.weight) == ("minimum", 2, 1.0)  # as `classify` says of a constant


def test_a_ball_that_touches_a_bound_is_not_inside_of_it():
    one, below, above = ball([0.0], [0.5]), np.nextafter(0.5, 1), np.inf
    for low, high, inside in ((-below, below, True), (-0.5, below, False), (-below, 0.5, False), (-above, above, True)):
        if inside:
            refuse_bounds(one, (np.array([low]), np.array([high])))
        else:
            with pytest.raises(NotProved, match="a bound lies in the ball"):
                refuse_bounds(one, (np.array([low]), np.array([high])))


def test_a_box_is_held_by_the_inside_of_a_ball_and_holds_one_up_to_its_edge():
    unit, beside = ball([0.0, 1.0], [1.0, 0.5]), np.nextafter(1.0, 0)
    assert _inside(unit, np.array([[-1, 1], [0.5, 1.5]]))
    for ends in ([[-beside, 1], [0.5, 1.5]], [[-1, beside], [0.5, 1.5]], [[-1, 1], [0.6, 1.5]], [[-1, 1], [0.5, 1.4]]):
        assert not _inside(unit, np.array(ends))
    assert _holds(unit, np.array([[-beside, beside], [0.6, 1.4]]))
    for ends in ([[-1, 0], [1, 1]], [[0, 1], [1, 1]], [[0, 0], [0.5, 1]], [[0, 0], [1, 1.5]]):
        assert not _holds(unit, np.array(ends))


# --------------------------------------------------------------------------------------------- covers and searches

CUBIC = program_of(lambda w: w[0] ** 3 / 3 - 2 * w[0], 1)  # g = x^2 - 2
ROOT = ball([1.4142135623730951], [1e-9])
OTHER = ball([-1.4142135623730951], [1e-9], 1)
LISTS = {  # box, balls, which are on the edge, cover, and what is wrong
    "both": ([-3, 3], [ROOT, OTHER], [False, False], "a..", ""),
    "one": ([0, 3], [ROOT], [False], ".", ""),
    "one forgotten": ([-3, 3], [ROOT], [False], "a..", "not in the list"),
    "all forgotten": ([0, 3], [], [], ".", "not in the list"),
    "none": ([2, 3], [], [], ".", ""),
    "one outside": ([2, 3], [ROOT], [False], ".", "is not in the box"),
    "one outside, on the edge": ([2, 3], [ROOT], [True], ".", "is not in the box"),
    "one outside below": ([-3, 1], [ROOT, OTHER], [True, False], ".", "is not in the box"),
    "no point at all": ([0, 3], [ball([2.0], [1e-9])], [False], ".", "is not in the box"),
    "one twice": ([0, 3], [ROOT, ROOT], [False, False], ".", "may be one"),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_complete_where_every_part_of_the_cover_is_empty_or_holds_one_of_it(name):
    ends, listed, edge, cover, fault = LISTS[name]
    found = covered.wrong(CUBIC, np.array([ends], float), listed, edge, cover)
    assert fault in found if fault else found == ""


@pytest.mark.parametrize("ends", [(0.0, 3.0), (-3.0, 0.0), (-3.0, 3.0)])
@pytest.mark.parametrize("edge", [False, True])
def test_a_point_exactly_on_the_edge_is_in_the_box(ends, edge):
    """Newton's step of a parabola ends at its lowest point exactly."""
    assert covered.wrong(BOWL, np.array([ends]), [ball([0.0], [1e-9])], [edge], ".") == ""


def test_a_contracted_box_is_smaller_and_keeps_the_root():
    with judge.bits(80):
        (near,) = covered.contracted(CUBIC, [judge.arb(1).union(judge.arb(2))])
        assert near.contains(judge.arb(2).sqrt())
        assert float(near.rad()) < 0.3
        assert 1 <= float(near.lower()) <= float(near.upper()) <= 2
        assert covered.contracted(CUBIC, [judge.arb(1.5).union(judge.arb(2))]) is None
        box = [judge.arb(-1).union(judge.arb(1))]
        assert covered.contracted(program_of(lambda w: jnp.sqrt(w[0]), 1), box) is box


@pytest.mark.parametrize("most", [1, 2, 7])
def test_a_search_that_is_cut_leaves_boxes_that_cover_what_is_not_decided(most):
    def found(program, ends, **more):
        return boxes.search(program, np.array(ends, float), **{"smallest": 1e-3, "most": most, **more})[0]

    left = found(COUPLED, [(-1.1, 1.3), (-0.7, 1.0)])
    assert left.examined >= most
    areas = [np.prod(box[:, 1] - box[:, 0]) for box in left.undecided]
    assert len(areas) == 2 or most > 1
    assert most > 1 or sum(areas) == pytest.approx(2.4 * 1.7, rel=1e-12)
    whole = found(CUBIC, [(-3, 3.1)], most=1000)
    assert len(whole.near) == 2 and not len(whole.undecided)
    for ((low, high),), ((first, last),) in zip(whole.near, whole.alone, strict=True):
        small, large = sorted((abs(Fraction(low)), abs(Fraction(high))))
        assert small**2 <= 2 <= large**2
        assert first <= low <= high <= last
        assert first * last > 0  # the other root lies beyond 0
        assert high - low < 1e-14
    assert (
        len(list(leaves(whole.cover, [(-3.0, 3.1)])))
        == whole.cover.count(".")
        == whole.examined - whole.cover.count("a")
    )


@pytest.mark.parametrize("smallest", [1e-2, 1e-4])
def test_boxes_are_halved_until_they_are_as_small_as_is_asked_for_and_not_further(smallest):
    flat = program_of(lambda w: w[0] ** 4, 1)
    for ends, size in (((-1.0, 1.1), 1.0), ((-0.1, 0.12), 0.22), ((-1000.0, 1100.0), 1.0)):  # 1 + |x|, or the width
        left = boxes.search(flat, np.array([ends]), smallest, 10**5)[0].undecided[:, 0]
        width = left[:, 1] - left[:, 0]
        assert (left[:, 0] <= 0).any() and (left[:, 1] >= 0).any()
        assert (width <= smallest * size * (1 + 10 * smallest)).all()
        assert (width >= 0.48 * smallest * size).all()


FLAT = program_of(lambda w: w[0] ** 4, 1)  # whose Hessian is 0 at 0
LEVEL = program_of(lambda w: 0 * w[0], 1)


@pytest.mark.parametrize(
    ("program", "ends", "into", "alone", "none"),
    [
        (BOWL, (-1.0, 0.5), (0, 0), True, False),  # Newton's step is exact
        (BOWL, (0.0, 1.0), (0, 0), False, False),  # not inside, on the edge
        (BOWL, (-1.0, 0.0), (0, 0), False, False),
        (BOWL, (0.25, 1.0), (0, 0), False, True),
        (BOWL, (-1.0, -0.25), (0, 0), False, True),
        (
            QUARTIC,
            (-1.0, 1.0),
            (-0.6, 0.6),
            True,
            False,
        ),  # 1.5 r^3 / (1 + 1.5 r^2), for the Hessian is in [1, 1 + 3 r^2]
        (QUARTIC, (-2.0, 2.0), (-12 / 7, 12 / 7), True, False),
        (FLAT, (-1.0, 1.0), (-1, 1), False, False),
    ],
)
def test_krawczyks_operator_on_a_box_by_hand(program, ends, into, alone, none):
    found, inside, empty, smooth = boxes._krawczyk(program, np.array([[ends]]))
    np.testing.assert_allclose(found[0, 0], into, rtol=1e-9, atol=1e-12)
    assert (bool(inside[0]), bool(empty[0]), bool(smooth[0])) == (alone, none, True)


def test_a_box_is_open_until_it_is_empty_or_holds_one_point_alone():
    ends = np.array([[[-1.0, 1.0]], [[0.25, 1.0]], [[-3.0, -0.125]], [[0.0, 2.0]]])
    still, found = boxes._examined(BOWL, ends)
    assert still.tolist() == [False] * 4 and len(found) == 2  # the second and the third are empty
    np.testing.assert_allclose(found[:, 0, :, 1], [[-1.2, 1.2], [-0.2, 2.2]], rtol=1e-12)  # blown up by a tenth
    np.testing.assert_allclose(found[:, 0, :, 0], 0, atol=1e-12)
    still, found = boxes._examined(FLAT, np.array([[[-1.0, 1.0]], [[1.0, 2.0]]]))
    assert still.tolist() == [True, False] and not len(found)


def test_boxes_are_blown_up_by_a_tenth_and_by_rounding_and_cut_a_little_below_their_middle():
    ends = np.array([[[0.0, 1.0], [-3.0, 1.0]], [[8.0, 8.0], [0.0, 0.0]]])
    np.testing.assert_allclose(boxes._blown(ends)[0], [[-0.1, 1.1], [-3.4, 1.4]], rtol=1e-12)
    assert (boxes._blown(ends)[1] - ends[1]).tolist() == [[-(2.0**-47), 2.0**-47], [-1e-300, 1e-300]]
    lower, upper = boxes._halves(ends, np.array([1, 0]))
    np.testing.assert_allclose(lower[0], [[0, 1], [-3, -3 + 4 * 0.487]])
    np.testing.assert_allclose(upper[0], [[0, 1], [-3 + 4 * 0.487, 1]])
    assert lower[0, 1, 1] == upper[0, 1, 0] and np.array_equal(lower[1], ends[1])


def test_inverses_of_singular_matrices_are_finite():
    made = boxes._inverses(np.array([[[2.0, 0.0], [0.0, -4.0]], [[1.0, 1.0], [1.0, 1.0]], [[np.nan, 0.0], [0.0, 1.0]]]))
    np.testing.assert_array_equal(made, [[[0.5, 0], [0, -0.25]], np.eye(2), np.eye(2)])
    assert np.isfinite(boxes._inverses(np.array([[[5e-324]]]))).all()


def test_what_may_be_zero_holds_zero_and_a_box_lies_in_another_up_to_its_edge():
    low, high = np.array([-1.0, 0.0, -1.0, 1e-300, -2.0]), np.array([1.0, 1.0, 0.0, 1.0, -1e-300])
    assert boxes._holds_zero(boxes.intervals(low, high)).tolist() == [True, True, True, False, False]
    outer = np.array([[0.0, 1.0], [0.0, 2.0]])
    for inner, within in (
        ([[0, 1], [0, 2]], True), ([[0.5, 1], [1, 2]], True), ([[-0.1, 1], [0, 2]], False), ([[0, 1], [0, 2.1]], False),
    ):  # fmt: skip
        assert boxes._within(np.array(inner, float), outer) == within


def test_a_point_of_two_boxes_is_kept_once_and_what_may_be_one_or_two_is_unclear():
    def found(program, *pairs):
        """The points where it lies `near` and is `alone`."""
        kept, unclear = boxes._once(program, np.array([[[[n[0], a[0]], [n[1], a[1]]]] for n, a in pairs], float))
        return kept[:, 0, :, 0].tolist(), unclear[:, 0].tolist()

    kept, unclear = found(BOWL, ((-0.1, 0.1), (-1, 1)), ((-0.05, 0.2), (-2, 2)))
    np.testing.assert_allclose(kept, [[0, 0]], atol=1e-12)
    assert not unclear
    # Nothing is sharpened where the loss is level.
    wide, beside, apart = ((-0.1, 0.1), (-0.1, 0.1)), ((0.05, 0.3), (0.05, 0.3)), ((0.2, 0.3), (0.2, 0.3))
    assert found(LEVEL, wide, beside) == ([[-0.1, 0.1]], [[0.05, 0.3]])
    assert found(LEVEL, wide, apart) == ([[-0.1, 0.1], [0.2, 0.3]], [])
    assert found(LEVEL, wide, ((0.05, 0.3), (-0.1, 0.3))) == ([[-0.1, 0.1]], [])  # alone where the first one lies
    assert found(LEVEL, ((-0.1, 0.1), (-0.1, 0.3)), beside) == ([[-0.1, 0.1]], [])
    assert found(LEVEL, wide, ((0.1, 0.3), (0.1, 0.3))) == ([[-0.1, 0.1]], [[0.1, 0.3]])  # they touch
    none, unclear = boxes._once(LEVEL, np.zeros((0, 1, 2, 2)))
    assert not len(none) and unclear.shape == (0, 1, 2)


def test_the_parts_of_a_cover_fill_the_box_and_meet_only_at_their_edges():
    draw = np.random.default_rng(3)
    cuts, waiting, count = [], [0], 1
    for _ in range(20):
        cuts.append([waiting.pop(draw.integers(len(waiting))), draw.integers(3), count, count + 1])
        waiting += [count, count + 1]
        count += 2
    text, box = written(np.array(cuts), count), [(0.0, 1.0), (-1.0, 1.0), (2.0, 5.0)]
    parts = list(leaves(text, box))
    assert (len(parts), len(text)) == (21, 41)
    exact = [[(Fraction(low), Fraction(high)) for low, high in part] for part in parts]
    assert sum(np.prod([high - low for low, high in part]) for part in exact) == 6
    for one, other in itertools.combinations(exact, 2):
        assert any(a[1] <= b[0] or b[1] <= a[0] for a, b in zip(one, other, strict=True))
    for wrong in ("d..", "a.", "a...", "", ".."):
        with pytest.raises(ValueError, match="no list of the cuts"):
            list(leaves(wrong, box))


# -------------------------------------------------------------------------------------------------- Arb's functions


def holds(x, value):
    with judge.bits(300):
        return x.contains(flint.fmpq(value.numerator, value.denominator))


def test_powers_are_those_of_whole_numbers_and_odd_functions_have_negative_arguments():
    with judge.bits(53):
        for x, n in itertools.product((-3, -1, 2, 5), range(-4, 7)):
            made = judge.derivatives("power", flint.arb(x), (n,))
            exact = [Fraction(x) ** n, n * Fraction(x) ** (n - 1), n * (n - 1) * Fraction(x) ** (n - 2)]
            for one, value in zip(made, exact, strict=True):
                assert holds(one, value)
                assert float(one.rad()) <= 1e-15 * abs(value)
        for name, values in (("cbrt", (-2, "1/12", "1/144")), ("abs", (8, -1, 0)), ("sign", (-1, 0, 0))):
            for one, value in zip(judge.derivatives(name, flint.arb(-8)), map(Fraction, values), strict=True):
                assert holds(one, value)
        assert judge.derivatives("floor", flint.arb(-7.5))[0] == -8
        assert judge.derivatives("floor", flint.arb(1.5, 0.4))[0] == 1
        for whole in (flint.arb(2), flint.arb(2.2, 0.3)):
            with pytest.raises(Refused, match="whole part"):
                judge.derivatives("floor", whole)


@pytest.mark.parametrize(("low", "high"), [(-0.25, 0.75), (-0.75, 0.25), (0.0, 1.0), (-1.0, 0.0), (-0.5, 0.5)])
def test_squares_and_absolute_values_across_zero_are_held_from_zero_to_the_farther_end(low, high):
    with judge.bits(53):
        x = flint.arb(low).union(flint.arb(high))
        for name, f in (("abs", abs), ("square", lambda t: t * t)):
            made = judge.derivatives(name, x)[0]
            largest = max(f(low), f(high))
            assert made.contains(0) and made.contains(largest)
            assert made.upper() <= largest * (1 + 1e-6) and made.lower() >= -1e-6


def test_at_zero_a_kink_has_no_slope_and_a_sign_is_refused():
    with judge.bits(53):
        for zero in (flint.arb(0), flint.arb(0, 1e-9)):
            value, slope, _ = judge.derivatives("abs", zero)
            assert value.contains(0) and not slope.is_finite()
            assert not judge.derivatives("cbrt", zero)[0].is_finite()
            with pytest.raises(Refused, match="sign of a number is undecided"):
                judge.derivatives("sign", zero)
        for x, sign in ((1e-9, 1), (-1e-9, -1)):
            assert judge.derivatives("sign", flint.arb(x))[0] == judge.derivatives("abs", flint.arb(x))[1] == sign


def test_of_constants_a_tie_is_decided_and_of_inputs_not():
    tied = {"less": False, "equal": True}
    for name, other, true in (
        ("less", 2.0, True),
        ("less", 0.5, False),
        ("equal", 2.0, False),
        *((n, 1.0, t) for n, t in tied.items()),
    ):
        assert judge.PAIRS[name](flint.arb(1), flint.arb(other)) is true
        x = judge.Jet(flint.arb(1), flint.arb_mat(1, 1, [1]), flint.arb_mat(1, 1))
        if other != 1.0:
            assert judge.PAIRS[name](x, flint.arb(other)) is true
        else:
            for pair in ((x, flint.arb(other)), (flint.arb(other), x)):
                with pytest.raises(Refused, match="undecided"):
                    judge.PAIRS[name](*pair)
    for name, chosen in (("max", 2), ("min", 1)):
        assert judge.PAIRS[name](flint.arb(1), flint.arb(2)) == judge.PAIRS[name](flint.arb(2), flint.arb(1)) == chosen
