"""Taylor models of a program, whole arrays at a time: loss(theta + t v) to the second order.

    y = f(x):   y0 = f(x0)     y1 = f'(x0) x1            y2 = f'(x0) x2 + f''(x0) x1^2
    y = a b:    y0 = a0 b0     y1 = a1 b0 + a0 b1        y2 = a2 b0 + 2 a1 b1 + a0 b2

1 and 2 count derivatives by t, so that the last y2 is v.Hv: about two passes, whatever n is.  To the first order there
may be many directions at once, a row of y1 for each.  A zero is None.  Numbers are `balls`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from hessian.proofs.kernels.balls import Balls, function, hull, product, together, total
from hessian.proofs.program import Operation, Program, Refused, last_uses


class Taylor(NamedTuple):
    """Numbers along lines."""

    value: Balls  # (entries,)
    slope: Balls | None = None  # (entries,), or (directions, entries)
    bend: Balls | None = None  # (entries,)


def along(program: Program, at: Balls, direction: np.ndarray) -> Taylor:
    """The program at theta + t v, v exact: value, g.v and v.Hv.

    Raises:
        Refused: where the program is not twice differentiable for certain on all of the balls.
    """
    made: list[Any] = []
    with np.errstate(all="ignore"):
        for operation, finished in zip(program.operations, last_uses(program), strict=True):
            made.append(forward(operation, [made[i] for i in operation.inputs], Taylor(at, Balls(direction)), 2))
            for place in finished:
                made[place] = None
    return made[-1]


def forward(operation: Operation, inputs: list[Any], seed: Taylor, order: int) -> Any:
    """What one operation makes: a Taylor model to this order, or truths; the inputs are the seed."""
    name, _, _, detail = operation
    if name == "input":
        return seed
    if name == "constant":
        return Taylor(Balls(np.asarray(detail, float)))
    if name == "truth":
        return np.asarray(detail, bool)
    if name == "pick":
        return np.concatenate(inputs)[np.asarray(detail, int)]
    if name == "take":
        places = np.asarray(detail, int)
        return linear(lambda *of: _taken(of, places), *inputs)
    if name == "sum":
        return linear(lambda x: total(x, *detail), *inputs)
    if name == "logsumexp":
        return log_sum_exp(inputs[0], detail[0], order)
    if name in _RULES:
        return _RULES[name](*inputs)
    if name == "matmul":
        return matmul(*inputs, *detail, order=order)
    if name in ("mul", "div"):
        return multiply(inputs[0], inputs[1] if name == "mul" else inverse(inputs[1], order), order)
    return applied(name, inputs[0], detail, order)


def linear(move: Callable[..., Balls], *of: Taylor) -> Taylor:
    """A linear map of each coefficient; a zero is filled where another is none."""
    parts: list[Balls | None] = []
    for coefficient in zip(*of, strict=True):
        given = [one for one in coefficient if one is not None]
        rows = max((one.mid.shape[:-1] for one in given), key=len, default=())
        filled = (
            Balls(np.zeros((*rows, like.value.mid.size))) if one is None else one
            for one, like in zip(coefficient, of, strict=True)
        )
        parts.append(move(*filled) if given else None)
    return Taylor(*parts)  # type: ignore[arg-type]


def _taken(of, places):
    if len(of) > 1:
        rows = max((one.mid.shape[:-1] for one in of), key=len)
        pool = together(lambda *ends: np.concatenate([np.broadcast_to(e, (*rows, e.shape[-1])) for e in ends], -1), *of)
        return pool.moved(lambda ends: ends[..., places])
    if places.size and places[-1] - places[0] + 1 == places.size and (np.diff(places) == 1).all():
        return of[0].moved(lambda ends: ends[..., places[0] : places[-1] + 1])  # a slice is no copy
    return of[0].moved(lambda ends: ends[..., places])


def plus(a: Taylor, b: Taylor) -> Taylor:
    """The sum."""
    return Taylor(*map(_plus, a, b))


def negative(x: Taylor) -> Taylor:
    """The negative."""
    return Taylor(*(None if one is None else -one for one in x))  # type: ignore[arg-type]


def _plus(*terms):
    """The sum of what is not None."""
    made = None
    for one in terms:
        made = one if made is None else made if one is None else made + one
    return made


def _times(a, b):
    return None if a is None or b is None else a * b


def multiply(a: Taylor, b: Taylor, order: int) -> Taylor:
    """The product, entry by entry."""
    slope = _plus(_times(a.slope, b.value), _times(a.value, b.slope))
    if order < 2:
        return Taylor(a.value * b.value, slope)
    cross = _times(a.slope, b.slope)
    bend = _plus(_times(a.bend, b.value), cross if cross is None else cross.doubled(), _times(a.value, b.bend))
    return Taylor(a.value * b.value, slope, bend)


def matmul(a: Taylor, b: Taylor, batches: int, m: int, k: int, n: int, *, order: int) -> Taylor:
    """The matrix products, those of one coefficient as one product of matrices side by side."""
    lefts = [_shaped(one, (batches, m, k)) for one in a[: order + 1]]
    rights = [_shaped(one, (batches, k, n)) for one in b[: order + 1]]
    parts: list[Balls | None] = []
    for degree in range(order + 1):
        pairs = [
            (x.doubled() if degree == 2 and i == 1 else x, y)
            for i, x in enumerate(lefts[: degree + 1])
            if x is not None and (y := rights[degree - i]) is not None
        ]
        made = product(*zip(*pairs, strict=True)) if pairs else None
        parts.append(None if made is None else made.moved(lambda ends: ends.reshape(*ends.shape[:-3], -1)))
    return Taylor(*parts)  # type: ignore[arg-type]


def _shaped(x, shape):
    return None if x is None else x.moved(lambda ends: ends.reshape(*ends.shape[:-1], *shape))


def applied(name: str, x: Taylor, detail: tuple[Any, ...] = (), order: int = 2) -> Taylor:
    """f(x) by the chain rule."""
    if x.slope is None:
        return Taylor(*function(name, x.value, detail, 0))
    f, slope, bend = function(name, x.value, detail)
    if order < 2:
        return Taylor(f, slope * x.slope)
    return Taylor(f, slope * x.slope, _plus(_times(slope, x.bend), bend * (x.slope * x.slope)))


def inverse(x: Taylor, order: int) -> Taylor:
    """1 / x."""
    return applied("power", x, (-1,), order)


def log_sum_exp(x: Taylor, length: int, order: int) -> Taylor:
    """With the largest midpoint taken off and put back: any number does, with this one nothing overflows."""
    top = x.value.mid.reshape(-1, length).max(-1)
    powers = applied("exp", x._replace(value=x.value + Balls(-top.repeat(length))), (), order)
    made = applied("log", linear(lambda y: total(y, length), powers), (), order)
    return made._replace(value=made.value + Balls(top))


# --------------------------------------------------------------------------------------- comparisons and choices


def less(a: Taylor, b: Taylor) -> np.ndarray:
    """Whether a < b on all of the balls; of two exact constants a tie is decided."""
    known = a.slope is None and b.slope is None and a.value.exact and b.value.exact
    yes = a.value.high < b.value.low
    no = (a.value.low >= b.value.high) if known else (a.value.low > b.value.high)
    if not (yes | no).all():
        msg = "a comparison is undecided on the ball: not twice differentiable there, for all that is known"
        raise Refused(msg)
    return yes


def equal(a: Taylor, b: Taylor) -> np.ndarray:
    """Whether a = b on all of the balls."""
    known = a.slope is None and b.slope is None and a.value.exact and b.value.exact
    no = (a.value.high < b.value.low) | (b.value.high < a.value.low)
    yes = (a.value.mid == b.value.mid) if known else np.zeros_like(no)
    if not (yes | no).all():
        msg = "an equality is undecided on the ball"
        raise Refused(msg)
    return yes


def select(which: np.ndarray, no: Taylor, yes: Taylor) -> Taylor:
    """The entries of `yes` where true, else those of `no`."""
    return linear(lambda a, b: together(lambda x, y: np.where(which, y, x), a, b), no, yes)


def below(name: str, a: Taylor, b: Taylor) -> tuple[np.ndarray, np.ndarray]:
    """Which entries of max or min are those of b, and which are undecided."""
    less, more = a.value.high < b.value.low, b.value.high < a.value.low
    return (less if name == "max" else more), ~(less | more)


def extreme(name: str, a: Taylor, b: Taylor) -> Taylor:
    """The larger or smaller of two; where a tie is undecided with slopes that are no numbers."""
    which, undecided = below(name, a, b)
    made, pick = select(which, a, b), np.maximum if name == "max" else np.minimum
    value = hull(pick(a.value.low, b.value.low), pick(a.value.high, b.value.high))
    made = made._replace(value=together(lambda x, y: np.where(undecided, x, y), value, made.value))
    return made if made.slope is None else without_slopes(made, undecided)


def without_slopes(x: Taylor, where: np.ndarray) -> Taylor:
    """The same with coefficients that are no numbers at some entries, those that were left out as zeros too."""
    if not where.any():
        return x
    rows = [one.mid.shape for one in x[1:] if one is not None]
    zeros = Balls(np.zeros(rows[0] if rows else x.value.mid.shape))
    filled = (zeros if one is None else one for one in x[1:])
    return Taylor(x.value, *(one.moved(lambda ends: np.where(where, np.nan, ends)) for one in filled))


_RULES: dict[str, Callable[..., Any]] = {
    **{"add": plus, "sub": lambda a, b: plus(a, negative(b)), "neg": negative},
    "max": lambda a, b: extreme("max", a, b),
    "min": lambda a, b: extreme("min", a, b),
    **{"less": less, "equal": equal, "select": select},
    **{"not": np.logical_not, "and": np.logical_and, "or": np.logical_or},
}
