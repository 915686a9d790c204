"""The judge: ball arithmetic of any precision, by Arb (python-flint), and what it says of a program on a ball.

A number is a ball [m +/- r] that holds the true one; an `arb` by itself is a constant, a `Jet` carries its gradient and
its Hessian with respect to the inputs.  Each operation is one rule: f, f' and f'' of a ball.  A comparison that the
ball does not decide, and a result that is not finite, are refused by the name of the operation; abs, max and min have
values without a decision, and slopes that are no numbers, which only a result that needs them is refused for.

F. Johansson, Arb: efficient arbitrary-precision midpoint-radius interval arithmetic, IEEE Trans. Comput. 66 (2017).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

from flint import arb, arb_mat, ctx

from hessian.proofs.kernels import calculus
from hessian.proofs.program import Operation, Program, Refused, last_uses

HIGHEST_EXPONENT = 2**20  # no number of a loss is as large; those of a hostile record would fill the memory
LARGEST = arb((1, HIGHEST_EXPONENT))


class Jet(NamedTuple):
    """A number with its derivatives by n inputs."""

    value: Any  # arb
    gradient: Any  # arb_mat (n, 1)
    hessian: Any  # arb_mat (n, n)


@contextmanager
def bits(precision: int) -> Iterator[None]:
    """Arithmetic of so many bits; what was before comes back afterwards."""
    before, ctx.prec = ctx.prec, precision
    try:
        yield
    finally:
        ctx.prec = before


def jet(program: Program, inputs: Sequence[Any]) -> Jet:
    """The value, gradient and Hessian of a program where its inputs are these balls.

    Raises:
        Refused: where the program is not twice differentiable for certain on all of the ball.
    """
    n = len(inputs)
    none = arb_mat(n, n)
    return _run(program, [Jet(x, arb_mat(n, 1, [int(i == j) for j in range(n)]), none) for i, x in enumerate(inputs)])


def along(program: Program, inputs: Sequence[Any], direction: Sequence[float]) -> Jet:
    """The value, g.v and v.Hv of a program where its inputs are these balls, v exact; raises as `jet`."""
    return _run(program, [Jet(x, arb_mat(1, 1, [v]), arb_mat(1, 1)) for x, v in zip(inputs, direction, strict=True)])


def _run(program, seeds):
    made: list[list[Any]] = []
    for operation, finished in zip(program.operations, last_uses(program), strict=True):
        made.append(_entries(operation, [made[i] for i in operation.inputs], seeds))
        for place in finished:
            made[place] = []  # no later operation needs it
    (out,) = made[-1]
    if not isinstance(out, Jet):
        return Jet(out, 0 * seeds[0].gradient, 0 * seeds[0].hessian)
    if not all(entry.is_finite() for table in (out.gradient, out.hessian) for entry in table.entries()):
        msg = "a kink is undecided on the ball: not twice differentiable there, for all that is known"
        raise Refused(msg)
    return out


def _entries(operation: Operation, inputs: list[list[Any]], seeds: list[Jet]) -> list[Any]:
    """The entries that one operation makes."""
    name, _, size, detail = operation
    if name == "input":
        return list(seeds)
    if name == "constant":
        return [arb(number) for number in detail]
    if name == "truth":
        return list(detail)
    if name in ("take", "pick"):
        pool = [entry for one in inputs for entry in one]
        return [pool[place] for place in detail]
    if name == "select":
        return [yes if truth else no for truth, no, yes in zip(*inputs, strict=True)]
    if name == "sum":
        (length,), (terms,) = detail, inputs
        return [_sum(terms[i * length : (i + 1) * length]) for i in range(size)]
    if name == "logsumexp":
        (length,), (terms,) = detail, inputs
        return [_log_sum_exp(terms[i * length : (i + 1) * length]) for i in range(size)]
    if name == "matmul":
        return _products(*inputs, *detail)
    if name in PAIRS:
        return [PAIRS[name](a, b) for a, b in zip(*inputs, strict=True)]
    if name == "not":
        return [not one for one in inputs[0]]
    return [_applied(name, x, detail) for x in inputs[0]]


def _applied(name, x, detail=()):
    return _function(name, x, *derivatives(name, _value(x), detail))


def _log_sum_exp(terms):
    top = max(arb(_value(term).mid()) for term in terms)  # any number does; with this one nothing overflows
    return _add(_applied("log", _sum([_applied("exp", _add(term, -top)) for term in terms])), top)


def _value(x):
    return x.value if isinstance(x, Jet) else x


def _function(name, x, f, slope, bend):
    """F of a number by the chain rule."""
    if not isinstance(x, Jet):
        return _finite(name, f)
    gradient, hessian = x.gradient, x.hessian
    if name not in calculus.KINKED:
        _finite(name, slope), _finite(name, bend)
    outer = gradient * gradient.transpose() * bend
    return Jet(_finite(name, f), gradient * slope, hessian * slope + outer)


def _finite(name, x):
    if not x.is_finite():
        msg = f"{name} leaves its domain on the ball"
        raise Refused(msg)
    if not x.abs_upper() < LARGEST:
        msg = f"{name} makes numbers beyond 2^{HIGHEST_EXPONENT}"
        raise Refused(msg)
    return x


def _add(a, b):
    if isinstance(a, Jet) and isinstance(b, Jet):
        return Jet(a.value + b.value, a.gradient + b.gradient, a.hessian + b.hessian)
    if isinstance(a, Jet):
        return a._replace(value=a.value + b)
    return b._replace(value=a + b.value) if isinstance(b, Jet) else a + b


def _scaled(a, factor):
    return Jet(a.value * factor, a.gradient * factor, a.hessian * factor)


def _mul(a, b):
    if isinstance(a, Jet) and isinstance(b, Jet):
        cross = a.gradient * b.gradient.transpose()
        return Jet(
            _finite("mul", a.value * b.value),
            a.gradient * b.value + b.gradient * a.value,
            a.hessian * b.value + b.hessian * a.value + cross + cross.transpose(),
        )
    if isinstance(a, Jet):
        return _scaled(a, b)
    return _scaled(b, a) if isinstance(b, Jet) else _finite("mul", a * b)


def _sub(a, b):
    return _add(a, _scaled(b, -1) if isinstance(b, Jet) else -b)


def _div(a, b):
    x = _value(b)
    inverse = 1 / x
    return _mul(a, _function("div", b, inverse, -(_square(inverse)), 2 * _raised(inverse, 3)))


def _max(a, b):
    return _extreme(a, b, arb.max)


def _min(a, b):
    return _extreme(a, b, arb.min)


def _extreme(a, b, pick):
    """The larger or smaller of two; where a tie is undecided with slopes that are no numbers."""
    x, y = _value(a), _value(b)
    if x < y or y < x:
        return a if (x < y) == (pick is arb.min) else b
    jets = [one for one in (a, b) if isinstance(one, Jet)]
    if not jets:
        return pick(x, y)
    return Jet(pick(x, y), jets[0].gradient * arb.nan(), jets[0].hessian * arb.nan())


def _less(a, b):
    """Whether a < b on all of the ball."""
    known = not isinstance(a, Jet) and not isinstance(b, Jet)  # of two constants a tie is decided
    a, b = _value(a), _value(b)
    if a < b:
        return True
    if a > b or (known and a.is_exact() and b.is_exact()):
        return False
    msg = "a comparison is undecided on the ball: not twice differentiable there, for all that is known"
    raise Refused(msg)


def _equal(a, b):
    known = not isinstance(a, Jet) and not isinstance(b, Jet)
    a, b = _value(a), _value(b)
    if not a.overlaps(b):
        return False
    if known and a.is_exact() and b.is_exact():
        return True
    msg = "an equality is undecided on the ball"
    raise Refused(msg)


PAIRS = {
    **{"add": _add, "sub": _sub, "mul": _mul, "div": _div, "max": _max, "min": _min},
    **{"less": _less, "equal": _equal, "and": lambda a, b: a and b, "or": lambda a, b: a or b},
}


def _sum(terms):
    total = terms[0]
    for term in terms[1:]:
        total = _add(total, term)
    return total


def _products(a, b, batches, m, k, n):
    """The entries of the matrix products."""
    return [
        _sum([_mul(a[(batch * m + i) * k + inner], b[(batch * k + inner) * n + j]) for inner in range(k)])
        for batch in range(batches)
        for i in range(m)
        for j in range(n)
    ]


# -------------------------------------------------------------------------------------------- values on a ball


def _raised(x, n):
    """x^n for a whole n >= 0: Arb's own ** is exp(n log x), which has no value where x may be negative."""
    result = arb(1)
    for digit in bin(n)[2:]:
        result = result * result * x if digit == "1" else result * result
    return result


def _square(x):
    """x^2, which is not negative."""
    return x * x if x > 0 or x < 0 else (x * x).nonnegative_part()


def _cbrt(x):
    if not x > 0 and not x < 0:
        return arb.nan()
    return x.root(3) if x > 0 else -(-x).root(3)


def _sign(x):
    if x > 0 or x < 0:
        return arb(1 if x > 0 else -1)
    msg = "the sign of a number is undecided on the ball: not twice differentiable there, for all that is known"
    raise Refused(msg)


def _abs(x):
    if x > 0 or x < 0:
        return x if x > 0 else -x
    half = arb(x.abs_upper()) / 2
    return arb(half.mid(), (half + half.rad()).abs_upper())


def _slope_of_abs(x):
    return arb(1 if x > 0 else -1) if x > 0 or x < 0 else arb.nan()


def _floor(x):
    whole = x.floor()
    if whole.is_exact() and x > whole:
        return whole
    msg = "the whole part of a number is undecided on the ball: not continuous there, for all that is known"
    raise Refused(msg)


VALUES = SimpleNamespace(  # what `calculus` asks of a kernel
    **{"square": _square, "raised": _raised, "cbrt": _cbrt, "sign": _sign, "floor": _floor},
    **{"abs": _abs, "slope_of_abs": _slope_of_abs},
    **{"exp": arb.exp, "expm1": arb.expm1, "sqrt": arb.sqrt, "rsqrt": arb.rsqrt, "erf": arb.erf},
    **{"sin": arb.sin, "cos": arb.cos, "tan": arb.tan, "asin": arb.asin, "acos": arb.acos, "atan": arb.atan},
    **{"sinh": arb.sinh, "cosh": arb.cosh, "tanh": arb.tanh, "asinh": arb.asinh, "atanh": arb.atanh},
    log=lambda x: x.log() if x > 0 else arb.nan(),
    log1p=lambda x: x.log1p() if x > -1 else arb.nan(),
    acosh=lambda x: x.acosh() if x > 1 else arb.nan(),
    reciprocal=lambda x: 1 / x,
    two_over_root_pi=lambda: 2 / arb.pi().sqrt(),
)


def derivatives(name: str, x: Any, detail: tuple[Any, ...] = ()) -> tuple[Any, Any, Any]:
    """f, f' and f'' of one function on a ball."""
    made = calculus.power(VALUES, x, *detail) if name == "power" else calculus.RULES[name](VALUES, x)
    return tuple(map(arb, made))  # type: ignore[return-value]
