"""The gradient of the curvature along a line: Taylor models taken backward.

    x* = f'(x) y*     a* = b y*     A* = Y* B'     the transpose of what moves or sums

Each line is between Taylor models, so that the last coefficient that comes back to the inputs is d^2/dt^2 of the
gradient at theta + t v, which is the gradient of v.Hv.  SLOPES has f'(x) of each function as an expression in x and
y = f(x), so that no third derivative is needed.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hessian.proofs.kernels import taylor
from hessian.proofs.kernels.balls import Balls, gathered, total
from hessian.proofs.kernels.taylor import Taylor, applied, linear, negative, plus
from hessian.proofs.program import Operation, Program, Refused

TWO_OVER_ROOT_PI = Balls(np.array([2 / np.sqrt(np.pi)]), np.array([2.0**-51]))


def curvature(program: Program, center: np.ndarray, radius: float, direction: np.ndarray) -> tuple[float, float]:
    """Bounds of v.Hv wherever no coordinate is further than `radius` from the center; raises as `gradient`.

    On a box, the mean value theorem: the value at the center, and radius times the sum of |d(v.Hv)/d theta_i|; or the
    Taylor model itself where that says more.
    """
    bounds = [_ends(taylor.along(program, Balls(center), direction).bend)]
    if radius:
        box = Balls(center, np.full(center.size, radius))
        steepest = total(Balls(gradient(program, box, direction).largest), center.size).high.item()
        far = math.nextafter(radius * steepest, math.inf)
        bounds[0] = math.nextafter(bounds[0][0] - far, -math.inf), math.nextafter(bounds[0][1] + far, math.inf)
        bounds.append(_ends(taylor.along(program, box, direction).bend))
    low, high = max(low for low, _ in bounds), min(high for _, high in bounds)
    if not (math.isfinite(low) and math.isfinite(high)):
        msg = "the bounds are beyond the range of doubles"
        raise Refused(msg)
    return low, high


def _ends(bend):
    if bend is None:
        return 0.0, 0.0
    low, high = bend.low.item(), bend.high.item()
    return (low if low == low else -math.inf), (high if high == high else math.inf)


def gradient(program: Program, at: Balls, direction: np.ndarray) -> Balls:
    """The gradient of v.Hv, shape (n,), with enclosures for all theta in the balls.

    Raises:
        Refused: where the program is not twice differentiable for certain on all of the balls.
    """
    with np.errstate(all="ignore"):
        made: list[Any] = []
        for operation in program.operations:
            inputs = [made[i] for i in operation.inputs]
            made.append(taylor.forward(operation, inputs, Taylor(at, Balls(direction)), 2))
        back: list[Any] = [None] * len(made)
        back[-1] = Taylor(Balls(np.ones(1)))
        for place in range(len(made) - 1, 0, -1):
            given, back[place] = back[place], None
            operation, y = program.operations[place], made[place]
            if given is None or not isinstance(y, Taylor) or y.slope is None:
                continue
            inputs = [made[i] for i in operation.inputs]
            for i, one in zip(operation.inputs, _backward(operation, inputs, y, given), strict=True):
                if one is not None and made[i].slope is not None:
                    back[i] = one if back[i] is None else plus(back[i], one)
    bend = None if back[0] is None else back[0].bend
    return Balls(np.zeros_like(direction)) if bend is None else bend


def _backward(operation: Operation, inputs: list[Any], y: Taylor, given: Taylor) -> list[Taylor | None]:
    """What comes back to each input; None to truths."""
    name, _, _, detail = operation
    if name == "add":
        return [given, given]
    if name == "sub":
        return [given, negative(given)]
    if name == "take":
        return _to_their_places(inputs, given, np.asarray(detail, int))
    if name == "sum":
        return [_repeated(given, detail[0])]
    if name in ("select", "max", "min"):
        return _to_the_chosen(name, inputs, given)
    if name == "mul":
        return [_times(given, other) for other in inputs[::-1]]
    if name == "matmul":
        return _through_matmul(inputs, given, *detail)
    if name == "div":
        scaled = _times(given, taylor.inverse(inputs[1], 2))
        return [scaled, negative(_times(scaled, y))]
    (x,) = inputs
    if name == "logsumexp":
        softmax = applied("exp", plus(x, negative(_repeated(y, detail[0]))))
        return [_times(_repeated(given, detail[0]), softmax)]
    if name == "power":
        (k,) = detail
        return [_times(given, _scaled(applied("power", x, (k - 1,)), float(k)))]
    return [_times(given, SLOPES[name](x, y))]


def _times(a, b):
    return taylor.multiply(a, b, 2)


def _scaled(x, factor):
    return _times(x, _number(x, factor))


def _number(like, value):
    ball = value if isinstance(value, Balls) else Balls(np.array([value]))
    return Taylor(
        Balls(np.broadcast_to(ball.mid, like.value.mid.shape), np.broadcast_to(ball.rad, like.value.mid.shape))
    )


def _shifted(x, number):
    return plus(x, _number(x, number))


def _repeated(x, length):
    return linear(lambda y: y.moved(lambda ends: np.repeat(ends, length, -1)), x)


def _squared(x):
    return applied("square", x)


SLOPES: dict[str, Callable[[Taylor, Taylor], Taylor]] = {
    "neg": lambda x, y: _number(x, -1.0),
    "square": lambda x, y: _scaled(x, 2.0),
    "abs": lambda x, y: applied("sign", x),
    "sign": lambda x, y: _number(x, 0.0),
    "exp": lambda x, y: y,
    "expm1": lambda x, y: _shifted(y, 1.0),
    "log": lambda x, y: taylor.inverse(x, 2),
    "log1p": lambda x, y: taylor.inverse(_shifted(x, 1.0), 2),
    "sqrt": lambda x, y: taylor.inverse(_scaled(y, 2.0), 2),
    "rsqrt": lambda x, y: _scaled(applied("power", y, (3,)), -0.5),
    "cbrt": lambda x, y: taylor.inverse(_scaled(_squared(y), 3.0), 2),
    "logistic": lambda x, y: _times(y, negative(_shifted(y, -1.0))),
    "erf": lambda x, y: _scaled(applied("exp", negative(_squared(x))), TWO_OVER_ROOT_PI),
    "sin": lambda x, y: applied("cos", x),
    "cos": lambda x, y: negative(applied("sin", x)),
    "tan": lambda x, y: _shifted(_squared(y), 1.0),
    "asin": lambda x, y: applied("rsqrt", negative(_shifted(_squared(x), -1.0))),
    "acos": lambda x, y: negative(applied("rsqrt", negative(_shifted(_squared(x), -1.0)))),
    "atan": lambda x, y: taylor.inverse(_shifted(_squared(x), 1.0), 2),
    "sinh": lambda x, y: applied("cosh", x),
    "cosh": lambda x, y: applied("sinh", x),
    "tanh": lambda x, y: negative(_shifted(_squared(y), -1.0)),
    "asinh": lambda x, y: applied("rsqrt", _shifted(_squared(x), 1.0)),
    "acosh": lambda x, y: applied("rsqrt", _shifted(_squared(x), -1.0)),
    "atanh": lambda x, y: taylor.inverse(negative(_shifted(_squared(x), -1.0)), 2),
}


def _to_their_places(inputs, given, places):
    sizes = [one.value.mid.size for one in inputs]
    pool = linear(lambda y: gathered(y, places, sum(sizes)), given)
    starts = np.cumsum([0, *sizes])
    return [
        linear(lambda y: y.moved(lambda ends: ends[..., start : start + size]), pool)  # noqa: B023
        for start, size in zip(starts, sizes, strict=False)
    ]


def _to_the_chosen(name, inputs, given):
    which = inputs[0] if name == "select" else taylor.less(*inputs) ^ (name == "min")
    no, yes = (linear(lambda y: y.moved(lambda ends: np.where(ones, ends, 0.0)), given) for ones in (~which, which))  # noqa: B023
    return [None, no, yes] if name == "select" else [no, yes]


def _through_matmul(inputs, given, batches, m, k, n):
    a, b = inputs

    def turned(x, rows, columns):
        places = np.arange(batches * rows * columns).reshape(batches, rows, columns).transpose(0, 2, 1).reshape(-1)
        return linear(lambda y: y.moved(lambda ends: ends[..., places]), x)

    return [
        None if a.slope is None else taylor.matmul(given, turned(b, k, n), batches, m, n, k, order=2),
        None if b.slope is None else taylor.matmul(turned(a, m, k), given, batches, k, m, n, order=2),
    ]
