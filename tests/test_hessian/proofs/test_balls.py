"""Balls over arrays hold every exact result, by fractions, where nothing but rounding is left, and are not wide."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

pytestmark = pytest.mark.full

pytest.importorskip("ival")

from hessian.proofs.kernels import balls  # noqa: E402
from hessian.proofs.kernels.balls import SHORT, Balls  # noqa: E402
from hessian.proofs.program import Refused  # noqa: E402

ROUNDING = Fraction(1, 2**52)  # of one operation, twice over
LEAST = Fraction(1, 10**299)  # what underflow may add
DRAW = np.random.default_rng(30)
KINDS = {  # of midpoints and radii
    "exact": lambda draw: Balls(draw.normal(size=60) * 10.0 ** draw.integers(-9, 9, 60)),
    "thin": lambda draw: Balls(draw.normal(size=60), 1e-17 * draw.uniform(size=60)),
    "wide": lambda draw: Balls(draw.normal(size=60), 10.0 ** draw.uniform(-3, 3, 60)),
    "around zero": lambda draw: Balls(np.zeros(60), draw.uniform(size=60)),  # no rounding of a midpoint helps
    "huge": lambda draw: Balls(1e200 * draw.normal(size=60), 1e190 * draw.uniform(size=60)),
    "tiny": lambda draw: Balls(1e-200 * draw.normal(size=60)),
}


def ends(ball):
    """The exact lowest and highest number of each."""
    rad = np.broadcast_to(ball.rad, ball.mid.shape)
    return [
        (Fraction(m) - Fraction(r), Fraction(m) + Fraction(r)) for m, r in zip(ball.mid.flat, rad.flat, strict=True)
    ]


def check(made, exact, roundings=1, sizes=None):
    """A ball holds intervals; its radius is theirs, but for what so many roundings of such sizes may add."""
    for place, ((low, high), (least, most)) in enumerate(zip(ends(made), exact, strict=True)):
        assert low <= least <= most <= high
        size = abs(least + most) / 2 if sizes is None else sizes[place]
        needed = (most - least) / 2 + roundings * ROUNDING * size
        assert (high - low) / 2 <= needed * (1 + (roundings + 60) * ROUNDING) + LEAST


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_a_sum_difference_and_product_hold_all_that_comes_of_the_ends_and_little_more(first, second):
    a, b = KINDS[first](np.random.default_rng(31)), KINDS[second](np.random.default_rng(32))
    for made, operation in ((a + b, Fraction.__add__), (a - b, Fraction.__sub__)):
        check(made, [(min(p), max(p)) for p in _corners(operation, a, b)])
    if (first, second) != ("huge", "huge"):
        product = _corners(Fraction.__mul__, a, b)
        for (low, high), values in zip(ends(a * b), product, strict=True):
            assert low <= min(values) <= max(values) <= high
        _product_is_close(a * b, a, b)
        assert not (a * b).exact
    assert not (a + b).exact


def _corners(operation, a, b):
    return [[operation(*pair) for pair in itertools.product(*sides)] for sides in zip(ends(a), ends(b), strict=True)]


def _product_is_close(made, a, b):
    """The radius is |a| rad b + rad a |b| + rad a rad b and one rounding."""
    for place, ((low, high), *of) in enumerate(zip(ends(made), ends(a), ends(b), strict=True)):
        (m, r), (n, s) = ((abs(one + other) / 2, (other - one) / 2) for one, other in of)
        needed = m * s + r * n + r * s + ROUNDING * abs(Fraction(float(made.mid[place])))
        assert (high - low) / 2 <= needed * (1 + 60 * ROUNDING) + LEAST


@pytest.mark.parametrize("kind", KINDS)
def test_the_ends_of_a_ball_are_outside_by_no_more_than_two_roundings(kind):
    ball = KINDS[kind](np.random.default_rng(33))
    outer = zip(ball.low, ball.high, ball.largest, ends(ball), strict=True)
    for low, high, largest, (least, most) in outer:
        slack = 2 * ROUNDING * max(abs(least), abs(most), most - least)
        assert least - slack <= Fraction(low) <= least
        assert most <= Fraction(high) <= most + slack
        assert max(-least, most) <= Fraction(largest) <= max(-least, most) + slack
        assert not ball.exact or low == high
    check(ball.doubled(), [(2 * low, 2 * high) for low, high in ends(ball)], 0)
    check(-ball, [(-high, -low) for low, high in ends(ball)], 0)
    assert ball.doubled().exact == ball.exact
    assert np.array_equal(ball.filled().rad, np.broadcast_to(ball.rad, 60))
    assert np.array_equal(ball.moved(lambda one: one[::-1]).filled().rad, ball.filled().rad[::-1])


def test_what_is_put_together_keeps_every_radius():
    exact, wide = Balls(np.array([1.0, 2.0])), Balls(np.array([3.0]), np.array([0.5]))
    both = balls.together(lambda *of: np.concatenate(of), exact, wide)
    assert ends(both) == [(1, 1), (2, 2), (2.5, 3.5)]
    assert balls.together(lambda *of: np.concatenate(of), exact, exact).exact
    assert not both.exact


def test_the_hull_of_an_interval_holds_both_ends():
    low = np.r_[-DRAW.uniform(size=50), 1.0, 0.1, -5e-324, 1e308, -1.7e308]
    high = np.r_[DRAW.uniform(size=50), np.nextafter(1.0, 2), 0.1, 5e-324, 1.7e308, 1.7e308]
    made = balls.hull(low, high)
    for (least, most), a, b in zip(ends(made), low, high, strict=True):
        assert least <= Fraction(a) <= Fraction(b) <= most
        assert (most - least) / 2 <= (Fraction(b) - Fraction(a)) / 2 + 60 * ROUNDING * Fraction(
            max(abs(a), abs(b))
        ) + LEAST


CANCELING = np.array([1e16, 1.0, -1e16, 0.1, 1e-17, 3.0])


@pytest.mark.parametrize("rad", [None, 1e-3, 1e10])
def test_sums_of_neighbors_hold_the_exact_sums_of_what_cancels(rad):
    mids = np.stack([DRAW.permutation(CANCELING) for _ in range(40)]).reshape(2, -1)
    x = Balls(mids) if rad is None else Balls(mids, rad * DRAW.uniform(size=mids.shape))
    made, terms = balls.total(x, 6), np.array(ends(x), dtype=object).reshape(-1, 6, 2)
    assert made.mid.shape == (2, 20)
    sizes = [sum(abs(Fraction(one)) for one in row) for row in mids.reshape(-1, 6)]
    check(made, [tuple(row.sum(0)) for row in terms], 6, sizes)
    short = balls.total(Balls(np.array([1.0, 2.0**-53, 2.0**-53, 1.0])), 2)  # half of the last place is lost
    check(short, [(1 + Fraction(1, 2**53),) * 2] * 2, 2)


@pytest.mark.parametrize("rad", [None, 1e-3, 1e10])
def test_what_goes_to_the_same_place_is_added_and_what_goes_nowhere_is_zero(rad):
    places = np.array([4, 0, 4, 2, 4, 0, 4])
    mids = np.array([[1e16, 1.0, 1.0, 3.0, -1e16, 2.0**-53, 0.1], np.arange(7.0)])
    x = Balls(mids) if rad is None else Balls(mids, rad * DRAW.uniform(size=mids.shape))
    made, parts = balls.gathered(x, places, 5), np.array(ends(x), dtype=object).reshape(2, 7, 2)
    exact = [tuple(row[places == place].sum(0)) if place in places else (0, 0) for row in parts for place in range(5)]
    sizes = [sum(map(Fraction, abs(row[places == place]))) for row in mids for place in range(5)]
    check(made, exact, 4, sizes)
    assert balls.gathered(Balls(np.arange(3.0)), np.array([2, 0, 1]), 3).exact  # each alone: nothing is added
    assert not balls.gathered(Balls(np.arange(3.0)), np.array([2, 0, 2]), 3).exact


@pytest.mark.parametrize("kinds", [*itertools.product([0.0, 1e-9, 1e3], repeat=2)])
def test_a_product_of_matrices_side_by_side_holds_every_exact_one(kinds):
    def drawn(shape, rad):
        mid = DRAW.normal(size=shape) * 10.0 ** DRAW.integers(-8, 8, shape)
        return Balls(mid, rad * DRAW.uniform(size=shape)) if rad else Balls(mid)

    lefts = [drawn((2, 3, 4), kinds[0]), drawn((3, 2), kinds[0])]  # the second for both matrices of the first
    rights = [drawn((2, 4, 2), kinds[1]), drawn((2, 2), kinds[1])]
    made = balls.product(lefts, rights)
    for place in np.ndindex(2, 3, 2):
        low, high, needed = _entry(lefts, rights, *place)
        mid, rad = Fraction(made.mid[place]), Fraction(made.rad[place])
        assert mid - rad <= low
        assert high <= mid + rad <= high + 2 * needed * Fraction(101, 100) + LEAST * 10**150


def _entry(lefts, rights, batch, i, j):
    """The least and the largest entry, for all matrices in the balls, and what rounding the midpoint may move it by."""
    low = high = size = Fraction(0)
    for left, right in zip(lefts, rights, strict=True):
        a, b = (np.broadcast_to(one.mid, (2, *one.mid.shape[-2:]))[batch] for one in (left, right))
        r, s = (np.broadcast_to(one.filled().rad, (2, *one.mid.shape[-2:]))[batch] for one in (left, right))
        for k in range(a.shape[1]):
            sides = [
                [Fraction(m) - Fraction(w), Fraction(m) + Fraction(w)]
                for m, w in ((a[i, k], r[i, k]), (b[k, j], s[k, j]))
            ]
            values = [x * y for x, y in itertools.product(*sides)]
            low, high, size = low + min(values), high + max(values), size + max(map(abs, values))
    return low, high, size


def test_a_product_in_which_all_is_lost_to_underflow_still_holds_the_exact_one():
    small = Balls(np.array([[1e-170]]))
    for made in (balls.product([small], [small]), small * small, balls.product([small * small], [small * small])):
        ((low, high),) = ends(made)
        assert low < 0 < Fraction(1e-170) ** 2 <= high <= 10 * LEAST


@pytest.mark.parametrize("terms", [2, 100, SHORT, SHORT + 1])
def test_a_bound_of_a_product_is_above_it_where_every_rounding_goes_down(terms):
    a = np.full((1, terms), 1 + 2.0**-24)  # single precision makes 1 of it
    for right in (a.T, np.full((terms, 1), 1e-130)):
        (bound,) = balls._bound_of_product(a, right).flat
        exact = terms * Fraction(a[0, 0]) * Fraction(right[0, 0])
        assert exact <= Fraction(bound) <= exact * (1 + Fraction(terms + 40, 2**22))
    assert balls._bound_of_product(np.zeros((1, 3)), np.zeros((3, 1))) >= 0


def test_functions_are_cut_at_their_order_and_refused_by_what_they_leave():
    x = Balls(np.array([0.25, 4.0]), np.array([0.125, 1e-3]))
    for name in ("neg", "sqrt"):
        for order in (0, 1, 2):
            assert len(balls.function(name, x, order=order)) == order + 1
    f, slope, bend = balls.function("neg", x)
    assert ends(f) == [(-high, -low) for low, high in ends(x)]
    assert (slope.mid.tolist(), bend.mid.tolist(), slope.exact, bend.exact) == ([-1.0] * 2, [0.0] * 2, True, True)
    for f, g in zip(balls.function("sqrt", x), (lambda t: t**0.5, lambda t: 0.5 * t**-0.5), strict=False):
        assert (f.low <= g(x.mid)).all() and (g(x.mid) <= f.high).all()
    crossing = Balls(np.array([1.0, 0.0]), np.array([0.1, 0.1]))
    for name, words in (("sign", "undecided"), ("floor", "undecided"), ("log", "leaves its domain")):
        with pytest.raises(Refused, match=words):
            balls.function(name, crossing)
    assert balls.function("abs", crossing)[0].high[1] >= 0.1  # a value, though no slope
