"""What an equation of a jaxpr is like, and what JAX itself makes of whole numbers, truths and keys."""

import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hessian.proofs.tape import Uncovered

EXACT: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
}
FEW = 16  # numbers that are worked out one by one: counts, and not data


def narrows(equation):
    """Whether an operation on numbers rounds to fewer bits than it got."""
    bits = [
        max((jnp.finfo(one.aval.dtype).nmant for one in of if floating(one.aval)), default=0)
        for of in (equation.invars, equation.outvars)
    ]
    return 0 < bits[1] < bits[0]


def is_logaddexp(inner):
    """Whether a jaxpr is that of jnp.logaddexp, which compares, and yet is smooth."""
    shapes = [jax.ShapeDtypeStruct(one.aval.shape, one.aval.dtype) for one in getattr(inner, "jaxpr", inner).invars]
    if len(shapes) != 2 or not all(floating(one) for one in shapes):
        return False
    known = jax.make_jaxpr(jnp.logaddexp)(*shapes).eqns
    return any(str(inner) == str(one.params.get("call_jaxpr")) for one in known)


def worked_out(equation, inputs, narrow):
    """The outputs of an equation on whole numbers, truths and keys, exactly; None where they are numbers with a rule.

    Where 64 bits are off for the caller (`narrow`), what would be other in 32 bits is refused: random draws, overflow.
    """
    name = equation.primitive.name
    if narrow and name in ("random_bits", "threefry2x32"):
        msg = "random draws are others in 64 bits: set jax_enable_x64, or draw outside of the loss"
        raise Uncovered(msg)
    (aval, *_), numbers = (out.aval for out in equation.outvars), any(floating(out.aval) for out in equation.outvars)
    if numbers and name not in ("iota", "bitcast_convert_type", "convert_element_type"):
        return None
    made = bound(equation, inputs)
    rounded = name == "iota" and numbers and max(aval.shape) > 2 ** jnp.finfo(aval.dtype).nmant
    if name == "convert_element_type" and numbers:
        rounded = made[0].astype(np.float64).tolist() != inputs[0].tolist()
    if rounded:
        msg = f"{name} rounds to {aval.dtype}; what is proved must be computed in one precision"
        raise Uncovered(msg)
    most = {np.dtype(np.int64): 2**31 - 1, np.dtype(np.uint64): 2**32 - 1}
    whole = [one for one in made if getattr(one, "dtype", None) in most]
    if narrow and any(np.any((one > most[one.dtype]) | (one < -(2**31))) for one in whole):
        msg = f"{name} goes beyond 32 bits: set jax_enable_x64"
        raise Uncovered(msg)
    return made


def exact(name, a, b):
    """The sum, difference or product of numbers that are known, where no rounding is needed; else None."""
    if name not in EXACT or max(a.size, b.size) > FEW or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    with np.errstate(all="ignore"):
        known = np.asarray(EXACT[name](*(one.astype(np.float64) for one in (a, b))))
    if not np.isfinite(known).all():
        return None
    pairs = zip(*(one.reshape(-1).tolist() for one in np.broadcast_arrays(a.astype(np.float64), b)), strict=True)
    exactly = [EXACT[name](Fraction(x), Fraction(y)) for x, y in pairs]
    return known if known.reshape(-1).tolist() == exactly else None


def bound(equation, inputs, **changed):
    """What JAX itself makes of whole numbers, truths and keys."""
    out = equation.primitive.bind(*map(jnp.asarray, inputs), **{**equation.params, **changed})
    return [seen(one) for one in (out if equation.primitive.multiple_results else [out])]


def seen(value):
    """A value as NumPy has it; keys stay as they are."""
    key = jax.dtypes.issubdtype(getattr(value, "dtype", np.dtype(bool)), jax.dtypes.prng_key)
    return value if key else np.asarray(value)


def floating(aval):
    return jnp.issubdtype(aval.dtype, jnp.inexact)
