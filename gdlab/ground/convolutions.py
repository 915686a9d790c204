"""Convolutions written as the CPU's library of them takes them, in loops as well.

    (batch, space..., features)  *  (space..., features in, features out)        the one order that it knows

XLA brings a convolution into that order outside of loops and nowhere else.  Within a loop, as runs and Krylov spaces
are, one in another order is a plain loop over its numbers, ten times as slow, and the derivative for a kernel is in
another order whatever the model.  So what is differentiated is rewritten here, after its derivatives: the operands are
transposed, and the result back.  No other operation changes.

| name | what it is |
|---|---|
| `canonical` | a function whose convolutions are in that order, on a CPU |
| `is_in_library` | whether the library takes numbers of this type |
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gdlab.ground.jaxprs import Literal, jaxprs_in_params

CONVOLUTION = "conv_general_dilated"
RANKS = (3, 4)  # of arrays with one axis, or two, of space
CALLS = ("jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint")


def is_in_library(dtype: Any) -> bool:
    """Whether the library takes numbers of this type: of half and single precision."""
    return dtype in (jnp.float16, jnp.float32)


def canonical(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function of arrays, with its convolutions in the order of the library; the function itself where it has none.

    >>> image, kernel = jnp.ones((1, 1, 3, 3), jnp.float32), jnp.ones((1, 1, 2, 2), jnp.float32)
    >>> slope = jax.grad(lambda k: jax.lax.conv(image, k, (1, 1), "VALID").sum())
    >>> canonical(slope)(kernel).ravel().tolist()
    [4.0, 4.0, 4.0, 4.0]
    >>> jax.make_jaxpr(canonical(slope))(kernel).eqns[-2].params["dimension_numbers"].lhs_spec
    (0, 3, 1, 2)
    """

    @functools.wraps(fn)
    def called(*args):
        if jax.default_backend() != "cpu" or not any(map(_may_be_kernel, jax.tree.leaves(args))):
            return fn(*args)
        others: list[Any] = []  # of what it returns: what is no array

        def arrays(*args):
            leaves, structure = jax.tree.flatten(fn(*args))
            others[:] = structure, [None if isinstance(leaf, jax.Array) else leaf for leaf in leaves]
            return [leaf for leaf in leaves if isinstance(leaf, jax.Array)]

        closed = jax.make_jaxpr(arrays)(*args)
        if not _holds_any(closed.jaxpr):
            return fn(*args)
        made = iter(_evaluated(closed.jaxpr, closed.consts, jax.tree.leaves(args)))
        structure, leaves = others
        return jax.tree.unflatten(structure, [next(made) if leaf is None else leaf for leaf in leaves])

    return called


def _may_be_kernel(leaf):
    """Whether an argument may be the kernel of a convolution: without one there is nothing to look for."""
    return jnp.ndim(leaf) in RANKS and is_in_library(jnp.result_type(leaf))


def _holds_any(jaxpr):
    """Whether a program has a convolution that the library could take."""
    return any(_is_taken(equation) or any(map(_holds_any, _programs(equation))) for equation in jaxpr.eqns)


def _programs(equation):
    """The programs that an equation calls."""
    return (getattr(inner, "jaxpr", inner) for inner in jaxprs_in_params(equation.params))


def _is_taken(equation):
    if equation.primitive.name != CONVOLUTION:
        return False
    whole = equation.params["batch_group_count"] == 1 and len(equation.outvars[0].aval.shape) in RANKS
    return whole and all(is_in_library(x.aval.dtype) for x in [*equation.invars, *equation.outvars])


def _evaluated(jaxpr, consts, values):
    """What a program computes of these values, with its convolutions in the order of the library."""
    known = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *values], strict=True))

    def value_of(x):
        return x.val if isinstance(x, Literal) else known[x]

    for equation in jaxpr.eqns:
        results = _of_equation(equation, [value_of(x) for x in equation.invars])
        known |= dict(zip(equation.outvars, results, strict=True))
    return [value_of(x) for x in jaxpr.outvars]


def _of_equation(equation, values):
    name, params = equation.primitive.name, equation.params
    if name == CONVOLUTION and _is_taken(equation):
        return [_convolved(values, params)]
    if name in CALLS and _holds_any(_inside(params)[0]):
        inner, consts = _inside(params)
        return _evaluated(inner, consts, values)
    if name == "scan" and _holds_any(_inside(params)[0]):
        return _scanned(equation, values)
    results = equation.primitive.bind(*values, **equation.primitive.get_bind_params(params))
    return results if equation.primitive.multiple_results else [results]


def _inside(params):
    """The program that an equation calls, and its constants."""
    inner = params["jaxpr"] if "jaxpr" in params else params["call_jaxpr"]
    return getattr(inner, "jaxpr", inner), getattr(inner, "consts", ())


def _scanned(equation, values):
    """A scan whose turns have their convolutions in the order of the library."""
    inner, consts = _inside(equation.params)
    turn = jax.make_jaxpr(lambda *inputs: _evaluated(inner, consts, inputs))(*(x.aval for x in inner.invars))
    return equation.primitive.bind(*values, **{**equation.params, "jaxpr": turn})


def _convolved(values, params):
    """One convolution with its operands transposed into the order of the library, and its result back."""
    lhs, rhs = values
    (batch, features, *space), (out, into, *kernel), result = params["dimension_numbers"]
    last, inner = lhs.ndim - 1, tuple(range(lhs.ndim - 2))
    numbers = jax.lax.ConvDimensionNumbers(
        lhs_spec=(0, last, *range(1, last)), rhs_spec=(last, last - 1, *inner), out_spec=(0, last, *range(1, last))
    )
    operands = lhs.transpose(batch, *space, features), rhs.transpose(*kernel, into, out)
    made = jax.lax.conv_general_dilated_p.bind(*operands, **{**params, "dimension_numbers": numbers})
    places = [result[0], *result[2:], result[1]]  # of batch, space and features in what is asked for
    return made.transpose([places.index(axis) for axis in range(made.ndim)])
