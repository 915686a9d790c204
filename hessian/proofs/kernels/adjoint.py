"""Taylor models of a program taken backward: the gradient of the curvature along a line, and rows of the Hessian.

    x* = f'(x) y*     a* = b y*     A* = Y* B'     the transpose of what moves or sums

Each line is between Taylor models.  Of the second order, along v, the last coefficient that comes back to the inputs
is d^2/dt^2 of the gradient at theta + t v, which is the gradient of v.Hv; of the first order, along many directions at
once, the slopes are the products of the Hessian with them.  SLOPES has f'(x) of each function as an expression in x
and y = f(x), so that no further derivative is needed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from hessian.proofs.kernels import taylor
from hessian.proofs.kernels.balls import Balls, gathered, total
from hessian.proofs.kernels.calculus import KINKED
from hessian.proofs.kernels.choices import counted
from hessian.proofs.kernels.taylor import Taylor, linear, negative, plus
from hessian.proofs.program import Operation, Program, Refused

TWO_OVER_ROOT_PI = Balls(np.array([2 / np.sqrt(np.pi)]), np.array([2.0**-51]))
CHUNK = 2**22  # numbers of one array at a time, about


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
        msg = "a kink is undecided on the box, or the bounds are beyond the range of doubles"
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
    bend = Backward(2).through(program, Taylor(at, Balls(direction))).bend
    return Balls(np.zeros_like(direction)) if bend is None else bend


def derivatives(program: Program, at: Balls) -> tuple[Balls, Balls]:
    """The gradient, shape (n,), and the Hessian, shape (n, n), on the balls; raises as `gradient`."""
    n = program.inputs
    rows = max(1, CHUNK // max(one.size for one in program.operations))
    parts = [products(program, at, np.eye(n)[start : start + rows]) for start in range(0, n, rows)]
    mid, rad = (np.concatenate([getattr(one.filled(), ends) for _, one in parts]) for ends in ("mid", "rad"))
    if not (np.isfinite(mid).all() and np.isfinite(rad).all()):
        msg = "a kink is undecided on the ball: not twice differentiable there, for all that is known"
        raise Refused(msg)
    return parts[0][0], Balls(mid, rad)


def products(program: Program, at: Balls, directions: np.ndarray) -> tuple[Balls, Balls]:
    """The gradient, shape (n,), and the products of the Hessian with rows, shape (d, n); raises as `gradient`."""
    back = Backward(1).through(program, Taylor(at, Balls(directions)))
    zeros = Balls(np.zeros_like(directions))
    return back.value, zeros if back.slope is None else zeros + back.slope


@dataclass(frozen=True)
class Backward:
    """What comes back to the inputs, as Taylor models of an order."""

    order: int

    def through(self, program: Program, seed: Taylor) -> Taylor:
        """What comes back to all inputs where they are the seed."""
        with np.errstate(all="ignore"):
            made: list[Any] = []
            for operation in program.operations:
                made.append(taylor.forward(operation, [made[i] for i in operation.inputs], seed, self.order))
            choices = lambda one: _choices(one.name, [made[i] for i in one.inputs])  # noqa: E731
            counts = counted(program, lambda place: choices(program.operations[place]))
            back: list[Any] = [None] * len(made)
            back[-1] = Taylor(Balls(np.ones(1)))
            for place in range(len(made) - 1, 0, -1):
                given, back[place] = back[place], None
                operation, y = program.operations[place], made[place]
                if given is None or not isinstance(y, Taylor) or y.slope is None:
                    continue
                inputs = [made[i] for i in operation.inputs]
                if operation.name in KINKED and counts[place] is not None:
                    given = _unknown(given, _undecided(operation.name, inputs) & counts[place])
                for i, one in zip(operation.inputs, self.backward(operation, inputs, y, given), strict=True):
                    if one is not None and made[i].slope is not None:
                        back[i] = one if back[i] is None else plus(back[i], one)
        return Taylor(Balls(np.zeros_like(seed.value.mid))) if back[0] is None else back[0]

    def backward(self, operation: Operation, inputs: list[Any], y: Taylor, given: Taylor) -> list[Taylor | None]:
        """What comes back to each input of one operation; None to truths."""
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
            return [self.times(given, other) for other in inputs[::-1]]
        if name == "matmul":
            return self.through_matmul(inputs, given, *detail)
        if name == "div":
            scaled = self.times(given, self.inverse(inputs[1]))
            return [scaled, negative(self.times(scaled, y))]
        (x,) = inputs
        if name == "logsumexp":
            softmax = self.applied("exp", plus(x, negative(_repeated(y, detail[0]))))
            return [self.times(_repeated(given, detail[0]), softmax)]
        if name == "power":
            (k,) = detail
            return [self.times(given, self.scaled(self.applied("power", x, (k - 1,)), float(k)))]
        return [self.times(given, SLOPES[name](self, x, y))]

    def times(self, a: Taylor, b: Taylor) -> Taylor:
        return taylor.multiply(a, b, self.order)

    def applied(self, name: str, x: Taylor, detail: tuple[Any, ...] = ()) -> Taylor:
        return taylor.applied(name, x, detail, self.order)

    def inverse(self, x: Taylor) -> Taylor:
        return taylor.inverse(x, self.order)

    def scaled(self, x: Taylor, factor: float | Balls) -> Taylor:
        return self.times(x, _number(x, factor))

    def squared(self, x: Taylor) -> Taylor:
        return self.applied("square", x)

    def through_matmul(self, inputs, given, batches, m, k, n):
        a, b = inputs
        right = None if a.slope is None else _turned(b, batches, k, n)
        left = None if b.slope is None else _turned(a, batches, m, k)
        return [
            None if right is None else taylor.matmul(given, right, batches, m, n, k, order=self.order),
            None if left is None else taylor.matmul(left, given, batches, k, m, n, order=self.order),
        ]


def _turned(x, batches, rows, columns):
    places = np.arange(batches * rows * columns).reshape(batches, rows, columns).transpose(0, 2, 1).reshape(-1)
    return linear(lambda y: y.moved(lambda ends: ends[..., places]), x)


def _number(like, value):
    ball = value if isinstance(value, Balls) else Balls(np.array([value]))
    mid, rad = (np.broadcast_to(one, like.value.mid.shape) for one in (ball.mid, ball.rad))
    return Taylor(Balls(mid) if ball.exact else Balls(mid, rad))


def _shifted(x, number):
    return plus(x, _number(x, number))


def _repeated(x, length):
    return linear(lambda y: y.moved(lambda ends: np.repeat(ends, length, -1)), x)


SLOPES: dict[str, Callable[[Backward, Taylor, Taylor], Taylor]] = {
    "neg": lambda to, x, y: _number(x, -1.0),
    "square": lambda to, x, y: to.scaled(x, 2.0),
    "abs": lambda to, x, y: _number(x, Balls(np.where(x.value.low > 0, 1.0, np.where(x.value.high < 0, -1.0, 0.0)))),
    "sign": lambda to, x, y: _number(x, 0.0),
    "floor": lambda to, x, y: _number(x, 0.0),
    "exp": lambda to, x, y: y,
    "expm1": lambda to, x, y: _shifted(y, 1.0),
    "log": lambda to, x, y: to.inverse(x),
    "log1p": lambda to, x, y: to.inverse(_shifted(x, 1.0)),
    "sqrt": lambda to, x, y: to.inverse(to.scaled(y, 2.0)),
    "rsqrt": lambda to, x, y: to.scaled(to.applied("power", y, (3,)), -0.5),
    "cbrt": lambda to, x, y: to.inverse(to.scaled(to.squared(y), 3.0)),
    "logistic": lambda to, x, y: to.times(y, negative(_shifted(y, -1.0))),
    "erf": lambda to, x, y: to.scaled(to.applied("exp", negative(to.squared(x))), TWO_OVER_ROOT_PI),
    "sin": lambda to, x, y: to.applied("cos", x),
    "cos": lambda to, x, y: negative(to.applied("sin", x)),
    "tan": lambda to, x, y: _shifted(to.squared(y), 1.0),
    "asin": lambda to, x, y: to.applied("rsqrt", negative(_shifted(to.squared(x), -1.0))),
    "acos": lambda to, x, y: negative(to.applied("rsqrt", negative(_shifted(to.squared(x), -1.0)))),
    "atan": lambda to, x, y: to.inverse(_shifted(to.squared(x), 1.0)),
    "sinh": lambda to, x, y: to.applied("cosh", x),
    "cosh": lambda to, x, y: to.applied("sinh", x),
    "tanh": lambda to, x, y: negative(_shifted(to.squared(y), -1.0)),
    "asinh": lambda to, x, y: to.applied("rsqrt", _shifted(to.squared(x), 1.0)),
    "acosh": lambda to, x, y: to.applied("rsqrt", _shifted(to.squared(x), -1.0)),
    "atanh": lambda to, x, y: to.inverse(negative(_shifted(to.squared(x), -1.0))),
}


def _to_their_places(inputs, given, places):
    sizes = [one.value.mid.size for one in inputs]
    pool = linear(lambda y: gathered(y, places, sum(sizes)), given)
    starts = np.cumsum([0, *sizes])
    return [
        linear(lambda y: y.moved(lambda ends: ends[..., start : start + size]), pool)  # noqa: B023
        for start, size in zip(starts, sizes, strict=False)
    ]


def _undecided(name, inputs):
    """Where the sign of a number, or the larger of two, is undecided."""
    if name == "abs":
        return ~((inputs[0].value.low > 0) | (inputs[0].value.high < 0))
    return taylor.below(name, *inputs)[1]


def _choices(name, inputs):
    """Which entries of select, max or min may be those of its last two inputs."""
    if name == "select":
        return ~inputs[0], inputs[0]
    which, undecided = taylor.below(name, *inputs)
    return ~which | undecided, which | undecided


def _unknown(x, where):
    """The same with no numbers at some entries."""
    x = taylor.without_slopes(x, where)
    return x._replace(value=x.value.moved(lambda ends: np.where(where, np.nan, ends))) if where.any() else x


def _to_the_chosen(name, inputs, given):
    """What goes to the last two inputs: all to the chosen one, and to both where that is undecided."""
    sides = _choices(name, inputs)
    no, yes = (linear(lambda y: y.moved(lambda ends: np.where(ones, ends, 0.0)), given) for ones in sides)  # noqa: B023
    return [None, no, yes] if name == "select" else [no, yes]
