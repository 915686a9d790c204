"""The judge: ball arithmetic of any precision, by Arb (python-flint), and what it says of a program on a ball.

A number is a ball [m +/- r] that holds the true one; an `arb` by itself is a constant, a `Jet` carries its gradient and
its Hessian with respect to the inputs.  Each operation is one rule: f, f' and f'' of a ball.  A comparison that the
ball does not decide, and a result that is not finite, are refused by the name of the operation.

F. Johansson, Arb: efficient arbitrary-precision midpoint-radius interval arithmetic, IEEE Trans. Comput. 66 (2017).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from flint import arb, arb_mat, ctx

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
    seeds = [Jet(x, arb_mat(n, 1, [int(i == j) for j in range(n)]), none) for i, x in enumerate(inputs)]
    made: list[list[Any]] = []
    for operation, finished in zip(program.operations, last_uses(program), strict=True):
        made.append(_entries(operation, [made[i] for i in operation.inputs], seeds))
        for place in finished:
            made[place] = []  # no later operation needs it
    (out,) = made[-1]
    return out if isinstance(out, Jet) else Jet(out, arb_mat(n, 1), none)


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
    if name == "matmul":
        return _products(*inputs, *detail)
    if name == "power":
        return [_function(name, x, *_power(_value(x), detail[0])) for x in inputs[0]]
    if name in PAIRS:
        return [PAIRS[name](a, b) for a, b in zip(*inputs, strict=True)]
    if name == "not":
        return [not one for one in inputs[0]]
    return [_function(name, x, *FUNCTIONS[name](_value(x))) for x in inputs[0]]


def _value(x):
    return x.value if isinstance(x, Jet) else x


def _function(name, x, f, slope, bend):
    """F of a number by the chain rule."""
    if not isinstance(x, Jet):
        return _finite(name, f)
    gradient, hessian = x.gradient, x.hessian
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
    return b if _less(a, b) else a


def _min(a, b):
    return a if _less(a, b) else b


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


# ---------------------------------------------------------------------------------- f, f' and f'' on a ball


def _raised(x, k):
    """x^k for a whole k >= 0: Arb's own ** is exp(k log x), which has no value where x may be negative."""
    result = arb(1)
    for digit in bin(k)[2:]:
        result = result * result * x if digit == "1" else result * result
    return result


def _power(x, k):
    def term(coefficient, exponent):
        if coefficient == 0:
            return arb(0)
        return coefficient * _raised(x, exponent) if exponent >= 0 else coefficient / _raised(x, -exponent)

    return term(1, k), term(k, k - 1), term(k * (k - 1), k - 2)


def _square(x):
    """x^2, which is not negative."""
    return x * x if x > 0 or x < 0 else (x * x).nonnegative_part()


def _exp(x):
    e = x.exp()
    return e, e, e


def _log(x):
    return (x.log() if x > 0 else arb.nan()), 1 / x, -1 / _square(x)


def _log1p(x):
    inverse = 1 / (1 + x)
    return (x.log1p() if x > -1 else arb.nan()), inverse, -(_square(inverse))


def _sqrt(x):
    root = x.sqrt()
    return root, 1 / (2 * root), -1 / (4 * _raised(root, 3))


def _rsqrt(x):
    inverse = x.rsqrt()
    return inverse, -(_raised(inverse, 3)) / 2, 3 * _raised(inverse, 5) / 4


def _cbrt(x):
    if not x > 0 and not x < 0:
        return arb.nan(), x, x
    root = x.root(3) if x > 0 else -(-x).root(3)
    return root, 1 / (3 * _raised(root, 2)), -2 / (9 * _raised(root, 5))


def _logistic(x):
    s = 1 / (1 + (-x).exp())
    return s, s * (1 - s), s * (1 - s) * (1 - 2 * s)


def _erf(x):
    slope = 2 * (-(_square(x))).exp() / arb.pi().sqrt()
    return x.erf(), slope, -2 * x * slope


def _tan(x):
    t = x.tan()
    return t, 1 + _square(t), 2 * t * (1 + _square(t))


def _tanh(x):
    t = x.tanh()
    return t, 1 - _square(t), -2 * t * (1 - _square(t))


def _asin(x):
    inverse = (1 - _square(x)).rsqrt()
    return x.asin(), inverse, x * _raised(inverse, 3)


def _acos(x):
    _, slope, bend = _asin(x)
    return x.acos(), -slope, -bend


def _atan(x):
    inverse = 1 / (1 + _square(x))
    return x.atan(), inverse, -2 * x * _square(inverse)


def _asinh(x):
    inverse = (1 + _square(x)).rsqrt()
    return x.asinh(), inverse, -x * _raised(inverse, 3)


def _acosh(x):
    inverse = (_square(x) - 1).rsqrt()
    return (x.acosh() if x > 1 else arb.nan()), inverse, -x * _raised(inverse, 3)


def _atanh(x):
    inverse = 1 / (1 - _square(x))
    return x.atanh(), inverse, 2 * x * _square(inverse)


def _sign_of(name, x):
    if x > 0 or x < 0:
        return arb(1 if x > 0 else -1)
    msg = f"{name} is undecided on the ball: not twice differentiable there, for all that is known"
    raise Refused(msg)


def _abs(x):
    sign = _sign_of("abs", x)
    return sign * x, sign, arb(0)


FUNCTIONS = {
    "neg": lambda x: (-x, arb(-1), arb(0)),
    "square": lambda x: (_square(x), 2 * x, arb(2)),
    "abs": _abs,
    "sign": lambda x: (_sign_of("sign", x), arb(0), arb(0)),
    "exp": _exp,
    "expm1": lambda x: (x.expm1(), x.exp(), x.exp()),
    **{"log": _log, "log1p": _log1p, "sqrt": _sqrt, "rsqrt": _rsqrt, "cbrt": _cbrt, "logistic": _logistic, "erf": _erf},
    "sin": lambda x: (x.sin(), x.cos(), -x.sin()),
    "cos": lambda x: (x.cos(), -x.sin(), -x.cos()),
    "sinh": lambda x: (x.sinh(), x.cosh(), x.sinh()),
    "cosh": lambda x: (x.cosh(), x.sinh(), x.cosh()),
    **{"tan": _tan, "tanh": _tanh, "asin": _asin, "acos": _acos, "atan": _atan},
    **{"asinh": _asinh, "acosh": _acosh, "atanh": _atanh},
}
