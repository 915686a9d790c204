"""Calculus: f, f' and f'' of every function and power, stated once for all kinds of numbers.

A kernel k has the values, `k.exp(x)`, ..., `k.square(x)`, `k.raised(x, n)` and `k.reciprocal(x)`, each an enclosure
that is not finite where x leaves the domain; its numbers add, subtract and multiply.  Constants are whole numbers.
`abs` has values where its slope is undecided: f' and f'' are no numbers there, and what needs them is refused.
"""

from collections.abc import Callable
from typing import Any

Rule = Callable[[Any, Any], tuple[Any, Any, Any]]


def power(k: Any, x: Any, n: int) -> tuple[Any, Any, Any]:
    """x^n, n x^(n-1) and n (n-1) x^(n-2) for a whole n."""

    def term(coefficient, exponent):
        if coefficient == 0 or exponent == 0:
            return coefficient
        raised = k.raised(x, abs(exponent))
        return coefficient * (raised if exponent > 0 else k.reciprocal(raised))

    return term(1, n), term(n, n - 1), term(n * (n - 1), n - 2)


def _exp(k, x):
    e = k.exp(x)
    return e, e, e


def _expm1(k, x):
    e = k.exp(x)
    return k.expm1(x), e, e


def _log(k, x):
    inverse = k.reciprocal(x)
    return k.log(x), inverse, -k.square(inverse)


def _log1p(k, x):
    inverse = k.reciprocal(1 + x)
    return k.log1p(x), inverse, -k.square(inverse)


def _sqrt(k, x):
    root = k.sqrt(x)
    return root, k.reciprocal(2 * root), -k.reciprocal(4 * k.raised(root, 3))


def _rsqrt(k, x):
    inverse = k.rsqrt(x)
    return inverse, k.raised(inverse, 3) * -0.5, k.raised(inverse, 5) * 0.75


def _cbrt(k, x):
    root = k.cbrt(x)
    return root, k.reciprocal(3 * k.square(root)), -2 * k.reciprocal(9 * k.raised(root, 5))


def _logistic(k, x):
    s = k.reciprocal(1 + k.exp(-x))
    slope = 0.25 - k.square(s - 0.5)  # s (1 - s), with s once
    return s, slope, slope * (1 - 2 * s)


def _erf(k, x):
    slope = k.exp(-k.square(x)) * k.two_over_root_pi()
    return k.erf(x), slope, -2 * x * slope


def _sin(k, x):
    s = k.sin(x)
    return s, k.cos(x), -s


def _cos(k, x):
    c = k.cos(x)
    return c, -k.sin(x), -c


def _tan(k, x):
    t = k.tan(x)
    slope = 1 + k.square(t)
    return t, slope, 2 * t * slope


def _tanh(k, x):
    t = k.tanh(x)
    slope = 1 - k.square(t)
    return t, slope, -2 * t * slope


def _sinh(k, x):
    s = k.sinh(x)
    return s, k.cosh(x), s


def _cosh(k, x):
    c = k.cosh(x)
    return c, k.sinh(x), c


def _asin(k, x):
    inverse = k.rsqrt(1 - k.square(x))
    return k.asin(x), inverse, x * k.raised(inverse, 3)


def _acos(k, x):
    _, slope, bend = _asin(k, x)
    return k.acos(x), -slope, -bend


def _atan(k, x):
    inverse = k.reciprocal(1 + k.square(x))
    return k.atan(x), inverse, -2 * x * k.square(inverse)


def _asinh(k, x):
    inverse = k.rsqrt(1 + k.square(x))
    return k.asinh(x), inverse, -x * k.raised(inverse, 3)


def _acosh(k, x):
    inverse = k.rsqrt(k.square(x) - 1)
    return k.acosh(x), inverse, -x * k.raised(inverse, 3)


def _atanh(k, x):
    inverse = k.reciprocal(1 - k.square(x))
    return k.atanh(x), inverse, 2 * x * k.square(inverse)


def _abs(k, x):
    kink = k.slope_of_abs(x)
    return k.abs(x), kink, 0 * kink


KINKED = ("abs", "max", "min")  # values without a decision; slopes that may be no numbers, and are not refused by name
RULES: dict[str, Rule] = {
    "neg": lambda k, x: (-x, -1, 0),
    "square": lambda k, x: (k.square(x), 2 * x, 2),
    "abs": _abs,
    "sign": lambda k, x: (k.sign(x), 0, 0),
    "floor": lambda k, x: (k.floor(x), 0, 0),
    **{"exp": _exp, "expm1": _expm1, "log": _log, "log1p": _log1p, "sqrt": _sqrt, "rsqrt": _rsqrt, "cbrt": _cbrt},
    **{"logistic": _logistic, "erf": _erf, "sin": _sin, "cos": _cos, "tan": _tan},
    **{"sinh": _sinh, "cosh": _cosh, "tanh": _tanh, "asin": _asin, "acos": _acos, "atan": _atan},
    **{"asinh": _asinh, "acosh": _acosh, "atanh": _atanh},
}
