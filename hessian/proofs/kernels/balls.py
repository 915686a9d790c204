"""Balls over arrays: midpoint and radius, with matrix products by BLAS.

    A B in fl(A B) +/- (k eps |A| |B| + |A| rad B + rad A (|B| + rad B))     k terms a sum; any order, FMA or not

Midpoints are rounded to nearest; eps = 2^-52, twice the unit roundoff, bounds their errors.  Radii are sums and
products of numbers that are not negative: each comes with a relative error of a few roundings, which `upward` puts on
top.  What has no bound in floating point, exp or tanh, goes through intervals (`arrays`).

C.-P. Jeannerod and S. M. Rump, Improved error bounds for inner products in floating-point arithmetic, SIAM J. Matrix
Anal. Appl. 34 (2013); S. M. Rump, Fast and parallel interval arithmetic, BIT 39 (1999).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hessian.proofs.kernels import arrays
from hessian.proofs.program import Refused

EPS = 2.0**-52
TINY = 1e-300  # far above all that underflow loses in one operation
EXACT = np.float64(0)  # the radius of numbers that are all exact
SHORT = 2**14  # terms of a sum of radii in single precision, at most


@dataclass(frozen=True, eq=False, slots=True)
class Balls:
    """Numbers, each within `rad` of `mid`; the last axis counts entries, the ones before may broadcast."""

    mid: np.ndarray
    rad: np.ndarray | np.float64 = EXACT  # of the shape of mid, or EXACT for all

    def __add__(self, other: "Balls") -> "Balls":
        """The sum."""
        mid = self.mid + other.mid
        return Balls(mid, upward(self.rad + other.rad + EPS * np.abs(mid)))

    def __neg__(self) -> "Balls":
        """The negative, exactly."""
        return Balls(-self.mid, self.rad)

    def __sub__(self, other: "Balls") -> "Balls":
        """The difference."""
        return self + -other

    def __mul__(self, other: "Balls") -> "Balls":
        """The product."""
        mid = self.mid * other.mid
        spread = self._spread(other) + other._spread(self) + np.multiply(self.rad, other.rad)
        return Balls(mid, upward(spread + EPS * np.abs(mid)) + TINY)

    def _spread(self, other):
        return EXACT if self.exact else self.rad * np.abs(other.mid)

    @property
    def exact(self) -> bool:
        """Whether all are known to be exact."""
        return self.rad is EXACT

    @property
    def low(self) -> np.ndarray:
        """A lower bound of each."""
        return self.mid if self.exact else np.nextafter(self.mid - self.rad, -np.inf)

    @property
    def high(self) -> np.ndarray:
        """An upper bound of each."""
        return self.mid if self.exact else np.nextafter(self.mid + self.rad, np.inf)

    @property
    def largest(self) -> np.ndarray:
        """An upper bound of each one's absolute value."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def doubled(self) -> "Balls":
        """Twice the numbers, exactly."""
        return Balls(2 * self.mid, self.rad if self.exact else 2 * self.rad)

    def moved(self, move: Any) -> "Balls":
        """The numbers after a move that computes nothing."""
        return Balls(move(self.mid), EXACT if self.exact else move(self.rad))

    def filled(self) -> "Balls":
        """The same with a radius for each."""
        return Balls(self.mid, np.zeros_like(self.mid)) if self.exact else self


def together(move: Any, *of: Balls) -> Balls:
    """One move of several arrays of numbers, such as np.concatenate."""
    if all(one.exact for one in of):
        return Balls(move(*(one.mid for one in of)))
    return Balls(move(*(one.mid for one in of)), move(*(one.filled().rad for one in of)))


def hull(low: np.ndarray, high: np.ndarray) -> Balls:
    """The smallest balls, nearly, that hold these intervals."""
    mid = low / 2 + high / 2
    return Balls(mid, upward(np.maximum(high - mid, mid - low)) + TINY)


def total(x: Balls, length: int) -> Balls:
    """The sums of so many neighboring entries, in whatever order."""
    rows = x.moved(lambda ends: ends.reshape(*ends.shape[:-1], -1, length))
    mid = rows.mid.sum(-1)
    rad = length * EPS * np.abs(rows.mid).sum(-1) + (0 if x.exact else rows.rad.sum(-1))
    return Balls(mid, upward(rad, length))


def gathered(x: Balls, places: np.ndarray, size: int) -> Balls:
    """The sums of all entries that go to the same place: the transpose of taking entries from places."""
    order = np.argsort(places, kind="stable")
    sorted_places = places[order]
    starts = np.flatnonzero(np.r_[True, sorted_places[1:] != sorted_places[:-1]])
    most = int(np.diff(np.r_[starts, places.size]).max())

    def summed(ends):
        made = np.zeros((*ends.shape[:-1], size))
        made[..., sorted_places[starts]] = np.add.reduceat(ends[..., order], starts, axis=-1)
        return made

    rad = most * EPS * summed(np.abs(x.mid)) if most > 1 else EXACT
    if not x.exact:
        rad = rad + summed(x.rad)
    return Balls(summed(x.mid), rad if rad is EXACT else upward(rad, most))


def product(lefts: Sequence[Balls], rights: Sequence[Balls]) -> Balls:
    """The sum of the matrix products of each left with its right, as one product of all of them side by side."""
    a = _side_by_side(lefts, -1)
    b = _side_by_side(rights, -2)
    terms = a.mid.shape[-1]
    left, right = np.abs(a.mid), np.abs(b.mid)
    rad = _bound_of_product(terms * EPS * left + a.rad, right)
    if not b.exact:
        rad = rad + _bound_of_product(left + a.rad, b.rad)
    return Balls(a.mid @ b.mid, upward(rad) + TINY)


def _side_by_side(of, axis):
    if len(of) == 1:
        return of[0]
    shape = np.broadcast_shapes(*(one.mid.shape[:-2] for one in of))
    return together(
        lambda *ends: np.concatenate([np.broadcast_to(one, (*shape, *one.shape[-2:])) for one in ends], axis), *of
    )


def _bound_of_product(a, b):
    """An upper bound of the product of two matrices without negative entries.

    Single precision is enough for a radius: both are scaled to at most 1 and rounded up before.
    """
    terms = a.shape[-1]
    if terms > SHORT:
        return upward(a @ b, terms) + TINY
    (a, m), (b, n) = _single(a), _single(b)
    bound = (a @ b).astype(np.float64) * (1 + (terms + 8) * 2.0**-23) + terms * 2.0**-120
    return upward(bound * m * n) + TINY


def _single(a):
    """Numbers in single precision and a scale: their product is an upper bound."""
    scale = np.ldexp(1.0, np.frexp(a.max(initial=TINY))[1])
    return (a / scale * (1 + 2.0**-22)).astype(np.float32) + np.float32(2.0**-100), scale


def upward(bound: Any, roundings: int = 16) -> Any:
    """A bound after so many roundings of what is not negative."""
    return bound * (1 + (roundings + 16) * EPS)


def function(name: str, x: Balls, detail: tuple[Any, ...] = (), order: int = 2) -> list[Balls]:
    """f, f' and f'' of numbers; of order 0 f alone.

    Raises:
        Refused: where a number leaves the domain, or the sign of one is undecided.
    """
    if name == "neg":
        one = np.ones_like(x.mid)
        return [-x, Balls(-one), Balls(0 * one)][: order + 1]
    made = arrays.derivatives(name, arrays.intervals(x.low, x.high), detail, alone=order == 0)[: order + 1]
    for one in made[: 1 if name in arrays.calculus.KINKED else 3]:
        if not (np.isfinite(one.lo).all() and np.isfinite(one.hi).all()):
            undecided = name in ("sign", "floor")
            msg = (
                f"{name} is undecided on the ball: not twice differentiable there, for all that is known"
                if undecided
                else f"{name} leaves its domain on the ball, or the range of doubles"
            )
            raise Refused(msg)
    return [hull(one.lo, one.hi) for one in made]
