"""What an equation of a jaxpr is like, and what JAX itself makes of whole numbers, truths and keys."""

import jax
import jax.numpy as jnp
import numpy as np


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


def bound(equation, inputs):
    """What JAX itself makes of whole numbers, truths and keys."""
    out = equation.primitive.bind(*map(jnp.asarray, inputs), **equation.params)
    return [seen(one) for one in (out if equation.primitive.multiple_results else [out])]


def seen(value):
    """A value as NumPy has it; keys stay as they are."""
    key = jax.dtypes.issubdtype(getattr(value, "dtype", np.dtype(bool)), jax.dtypes.prng_key)
    return value if key else np.asarray(value)


def floating(aval):
    return jnp.issubdtype(aval.dtype, jnp.inexact)
