"""Intervals over arrays: what a program is on many boxes at once, by correctly rounded IEEE 1788 intervals (crival).

A *tower* is an Interval of shape (rows, entries, boxes): row 0 is the value, rows 1..n the gradient, the rest the
Hessian, diagonal first.  Rows that are zero are left out, so a constant has one row and an input 1 + n.  Where one box
leaves a domain, or leaves a comparison undecided, that box alone is refused.

IEEE Std 1788.1-2017, interval arithmetic; A. Sibidanov, P. Zimmermann, S. Glondu, The CORE-MATH project, ARITH 2022.
"""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import ival
import numpy as np
from ival import Interval

from hessian.proofs.kernels import calculus
from hessian.proofs.program import Operation, Program, last_uses


class Enclosure(NamedTuple):
    """Intervals that hold value, gradient and Hessian at every point of each box, where `smooth` says so."""

    value: Interval  # (boxes,)
    gradient: Interval  # (boxes, n)
    hessian: Interval  # (boxes, n, n); no entries where only the gradient was asked for
    smooth: np.ndarray  # (boxes,) whether the program is twice differentiable on all of the box, for certain


def enclose(program: Program, boxes: Interval, order: int = 2) -> Enclosure:
    """Value, gradient and, of order 2, Hessian of a program on boxes, shape (boxes, n)."""
    count, n = boxes.shape
    towers = Towers(n, count, order)
    made: list[Any] = []
    inputs = towers.seeds(intervals(np.ascontiguousarray(boxes.lo.T), np.ascontiguousarray(boxes.hi.T)))
    for operation, finished in zip(program.operations, last_uses(program), strict=True):
        made.append(towers.made(operation, [made[i] for i in operation.inputs]) if made else inputs)
        for place in finished:
            made[place] = None
    out = towers.widened(towers.filled(made[-1]), towers.rows)
    value, rest = out[0, 0], intervals(out.lo[1:, 0].T, out.hi[1:, 0].T)
    places = np.zeros((n, n), int)
    places[towers.first, towers.second] = places[towers.second, towers.first] = np.arange(len(towers.first)) + n
    bends = rest[:, places] if order == 2 else intervals(*np.zeros((2, count, 0, 0)))
    finite = np.isfinite(out.lo).all(axis=(0, 1)) & np.isfinite(out.hi).all(axis=(0, 1))
    return Enclosure(value, rest[:, :n], bends, towers.smooth & finite)


def intervals(low: np.ndarray, high: np.ndarray) -> Interval:
    """Intervals with these ends, as they are."""
    made = Interval.empty()
    made.lo, made.hi = np.ascontiguousarray(low), np.ascontiguousarray(high)
    return made


def each(move: Callable[..., np.ndarray], *of: Interval) -> Interval:
    """The same move of arrays, made on the lower and on the upper ends."""
    return intervals(move(*(one.lo for one in of)), move(*(one.hi for one in of)))


def total(x: Interval, axis: int) -> Interval:
    """The sum along an axis, by halves."""
    x = each(lambda ends: np.moveaxis(ends, axis, 0), x)
    while (length := x.shape[0]) > 1:
        paired, half = x[: length - length % 2], length // 2
        rest = x[length - length % 2 :]
        x = paired[:half] + paired[half:]
        x = each(lambda a, b: np.concatenate([a, b]), x, rest) if length % 2 else x
    return x[0]


class Towers:
    """The operations of a program on towers over one batch of boxes; `smooth` forgets a box that must be refused."""

    def __init__(self, n: int, count: int, order: int = 2):
        self.n, self.count = n, count
        first, second = np.triu_indices(n, 1)
        self.first, self.second = np.r_[np.arange(n), first], np.r_[np.arange(n), second]
        if order < 2:
            self.first = self.second = np.zeros(0, int)
        self.rows = 1 + n + len(self.first)
        self.smooth = np.ones(count, bool)

    def seeds(self, boxes: Interval) -> Interval:
        """The inputs: boxes of shape (n, count), and the unit vectors."""
        one = np.broadcast_to(np.eye(self.n)[:, :, None], (self.n, self.n, self.count))
        return each(lambda ends: np.concatenate([ends[None], one]), boxes)

    def made(self, operation: Operation, inputs: list[Any]) -> Any:
        """What one operation makes: a tower, or truths of shape (entries, boxes)."""
        name, _, size, detail = operation
        if name in ("constant", "truth"):
            kept = np.asarray(detail, bool if name == "truth" else float).reshape(size, 1)
            return kept if name == "truth" else intervals(kept[None], kept[None])
        if name in ("take", "pick"):
            return self._taken(inputs, np.asarray(detail, int))
        if name == "sum":
            (length,), (x,) = detail, inputs
            return total(each(lambda ends: ends.reshape(len(ends), size, length, -1), x), 2)
        if name in _LOGIC:
            return _LOGIC[name](*inputs)
        if name in ("power", *calculus.RULES):
            return self.function(name, inputs[0], detail)
        return getattr(self, name)(*inputs, *detail)

    def widened(self, x: Interval, rows: int) -> Interval:
        """The same tower with more rows: of zeros."""
        more = rows - len(x.lo)
        return each(lambda ends: np.concatenate([ends, np.zeros((more, *ends.shape[1:]))]), x) if more > 0 else x

    def filled(self, x: Interval) -> Interval:
        """The same tower for every box, where it was one for all."""
        return each(lambda ends: np.broadcast_to(ends, (*ends.shape[:2], self.count)), x)

    def _taken(self, inputs, places):
        if isinstance(inputs[0], np.ndarray):
            pool = np.concatenate([np.broadcast_to(one, (len(one), self.count)) for one in inputs])
            return pool[places]
        if len(inputs) > 1:
            rows = max(len(one.lo) for one in inputs)
            boxes = max(one.lo.shape[2] for one in inputs)
            inputs = [self.widened(one, rows) for one in inputs]
            pooled = [self.filled(one) if boxes > 1 else one for one in inputs]
            return each(lambda *ends: np.concatenate(ends, axis=1)[:, places], *pooled)
        return inputs[0][:, places]

    def refuse(self, wrong: np.ndarray) -> None:
        """Say of the boxes where an entry is wrong that they are refused; wrong has shape (..., boxes or 1)."""
        self.smooth = self.smooth & ~wrong.any(axis=tuple(range(wrong.ndim - 1)))

    # --------------------------------------------------------------------------------------------------- numbers

    def add(self, a: Interval, b: Interval) -> Interval:
        rows = max(len(a.lo), len(b.lo))
        return self.widened(a, rows) + self.widened(b, rows)

    def sub(self, a: Interval, b: Interval) -> Interval:
        rows = max(len(a.lo), len(b.lo))
        return self.widened(a, rows) - self.widened(b, rows)

    def mul(self, a: Interval, b: Interval) -> Interval:
        """(ab)'' = a'' b + a b'' + a' b' + b' a'."""
        if len(a.lo) < len(b.lo):
            a, b = b, a
        made = a * b[:1]
        if len(b.lo) == 1:
            return made
        made = self.add(made, each(_under_zero, b[1:] * a[:1]))
        i, j, n = self.first + 1, self.second + 1, self.n
        crossed = a[i] * b[j]
        others = a[j[n:]] * b[i[n:]]
        both = each(lambda x, y: np.concatenate([x[:n], y]), crossed, others)
        return self._with_bends(made, crossed + both)

    def div(self, a: Interval, b: Interval) -> Interval:
        x = b[:1]
        inverse = ival.recip(x)
        return self.mul(a, self._composed(b, inverse, -ival.sqr(inverse), 2 * ival.pown(inverse, 3)))

    def function(self, name: str, x: Interval, detail: tuple[Any, ...] = ()) -> Interval:
        """F of a tower by the chain rule."""
        if len(x.lo) == 1:
            value = derivatives(name, x, detail, alone=True)[0]
            self.refuse(~(np.isfinite(value.lo) & np.isfinite(value.hi)))
            return value
        return self._composed(x, *derivatives(name, x[:1], detail), kinked=name in calculus.KINKED)

    def _composed(self, x, f, slope, bend, kinked=False):
        for one in (f, slope, bend)[: 1 if kinked else 3]:  # `enclose` looks at what comes of such slopes
            self.refuse(~(np.isfinite(one.lo) & np.isfinite(one.hi)))
        made = each(lambda a, b: np.concatenate([a, b]), f, x[1:] * slope) if len(x.lo) > 1 else f
        if len(x.lo) == 1 or not len(self.first) or not (np.any(bend.lo) or np.any(bend.hi)):
            return made
        n, (i, j) = self.n, (self.first + 1, self.second + 1)
        outer = each(lambda a, b: np.concatenate([a, b]), ival.sqr(x[1 : n + 1]), x[i[n:]] * x[j[n:]])
        return self._with_bends(made, outer * bend)

    def _with_bends(self, made, bends):
        if not len(self.first):
            return made
        slopes, known = made[: 1 + self.n], made[1 + self.n :]
        bends = known + bends if len(known.lo) else bends
        return each(lambda a, b: np.concatenate([a, b]), slopes, bends)

    def logsumexp(self, x: Interval, length: int) -> Interval:
        """With the largest midpoint taken off and put back: any number does, with this one nothing overflows."""
        grouped = each(lambda ends: ends.reshape(len(ends), -1, length, ends.shape[-1]), x)
        top = (grouped.lo[0] / 2 + grouped.hi[0] / 2).max(axis=1)
        top = np.where(np.isfinite(top), top, 0.0)[None]
        shift = intervals(top, top)
        powers = self.function("exp", self.sub(x, shift[:, np.arange(top.shape[1]).repeat(length)]))
        summed = total(each(lambda ends: ends.reshape(len(ends), -1, length, ends.shape[-1]), powers), 2)
        return self.add(self.function("log", summed), shift)

    def matmul(self, a: Interval, b: Interval, batches: int, m: int, k: int, n: int) -> Interval:
        left = np.arange(batches * m * k).reshape(batches, m, 1, k)
        right = np.arange(batches * k * n).reshape(batches, k, n).transpose(0, 2, 1)[:, None]
        pairs = [np.broadcast_to(one, (batches, m, n, k)).reshape(-1) for one in (left, right)]
        products = self.mul(a[:, pairs[0]], b[:, pairs[1]])
        return total(each(lambda ends: ends.reshape(len(ends), batches * m * n, k, -1), products), 2)

    # --------------------------------------------------------------------------------------- comparisons and choices

    def less(self, a: Interval, b: Interval) -> np.ndarray:
        """Whether a < b on all of each box; of two constants a tie is decided."""
        known, (a, b) = len(a.lo) == len(b.lo) == 1, (a[0], b[0])
        yes, no = a.hi < b.lo, (a.lo >= b.hi) if known else (a.lo > b.hi)
        self.refuse(~(yes | no))
        return yes

    def equal(self, a: Interval, b: Interval) -> np.ndarray:
        known, (a, b) = len(a.lo) == len(b.lo) == 1, (a[0], b[0])
        no = (a.hi < b.lo) | (b.hi < a.lo)
        yes = (a.lo == b.hi) & (a.hi == b.lo) if known else np.zeros_like(no)
        self.refuse(~(yes | no))
        return yes

    def max(self, a: Interval, b: Interval) -> Interval:
        return self._extreme(np.maximum, a, b)

    def min(self, a: Interval, b: Interval) -> Interval:
        return self._extreme(np.minimum, a, b)

    def _extreme(self, pick, a, b):
        """The larger or smaller of two; where a tie is undecided with slopes that are no numbers."""
        below, above = a.hi[0] < b.lo[0], b.hi[0] < a.lo[0]
        made, value = self.select(below if pick is np.maximum else above, a, b), each(pick, a[:1], b[:1])
        if len(made.lo) == 1 or (decided := below | above).all():
            return each(lambda x, y: np.concatenate([x, y]), value, made[1:])
        rest = each(lambda ends: np.where(decided, ends, np.nan), self.widened(made, self.rows)[1:])
        return each(lambda x, y: np.concatenate([x, y]), value, rest)

    def select(self, which: np.ndarray, no: Interval, yes: Interval) -> Interval:
        rows = max(len(no.lo), len(yes.lo))
        return each(lambda a, b: np.asarray(np.where(which, b, a)), self.widened(no, rows), self.widened(yes, rows))


_LOGIC: dict[str, Callable[..., np.ndarray]] = {
    "not": np.logical_not,
    "and": np.logical_and,
    "or": np.logical_or,
}


def _under_zero(ends):
    return np.concatenate([np.zeros_like(ends[:1]), ends])


# ------------------------------------------------------------------------------------------------ values on intervals


def _sign(x):
    sign = np.where(x.lo > 0, 1.0, np.where(x.hi < 0, -1.0, np.nan))  # no number where it is undecided
    return intervals(sign, sign)


def _abs(x):
    low = np.maximum(np.maximum(x.lo, -x.hi), 0.0 * x.lo)
    return intervals(low, np.maximum(-x.lo, x.hi))


def _floor(x):
    low = np.floor(x.lo)
    whole = np.where((low == np.floor(x.hi)) & (low < x.lo), low, np.nan)  # no number where it is undecided, or jumps
    return intervals(whole, whole)


PI: Any = Interval(math.pi, math.nextafter(math.pi, 4))  # the double below pi, and the next
VALUES = SimpleNamespace(  # what `calculus` asks of a kernel; outside of a domain crival gives what is not finite
    **{
        "square": ival.sqr,
        "raised": ival.pown,
        "sign": _sign,
        "abs": _abs,
        "slope_of_abs": _sign,
        "floor": _floor,
        "reciprocal": ival.recip,
        "cbrt": ival.cbrt,
    },
    **{"exp": ival.exp, "expm1": ival.expm1, "log": ival.log, "log1p": ival.log1p, "sqrt": ival.sqrt},
    **{"rsqrt": ival.rsqrt, "erf": ival.erf, "sin": ival.sin, "cos": ival.cos, "tan": ival.tan},
    **{"asin": ival.asin, "acos": ival.acos, "atan": ival.atan, "sinh": ival.sinh, "cosh": ival.cosh},
    **{"tanh": ival.tanh, "asinh": ival.asinh, "acosh": ival.acosh, "atanh": ival.atanh},
    two_over_root_pi=lambda: 2 / ival.sqrt(PI),
)
# Where the value alone does not tell that the argument leaves the domain, for crival cuts it off there.
DOMAIN = {"sqrt": (0.0, math.inf), "asin": (-1.0, 1.0), "acos": (-1.0, 1.0), "acosh": (1.0, math.inf)}


def derivatives(
    name: str, x: Interval, detail: tuple[Any, ...] = (), alone: bool = False
) -> tuple[Interval, Interval, Interval]:
    """f, f' and f'' of one function on intervals: none that is finite where x leaves the domain; or the value alone."""
    if name in DOMAIN:
        low, high = DOMAIN[name]
        inside = (x.lo >= low) & (x.hi <= high)
        x = each(lambda ends: np.where(inside, ends, np.nan), x)
    made = calculus.power(VALUES, x, *detail) if name == "power" else calculus.RULES[name](VALUES, x)
    like = np.zeros_like(x.lo)
    f, slope, bend = (one if isinstance(one, Interval) else intervals(like + one, like + one) for one in made)
    return (f, f, f) if alone else (f, slope, bend)
