"""Lanes along the last axis: what `jax.vmap` computes, laid out for the vectors of a CPU.

    x of shape (n,) at each lane      vmap: (lanes, n)       here: (n, lanes)

A loop's state that vmap has batched lies lane by lane, so that a vector of lanes is gathered from every n-th number.
Along the last axis it is read as it lies.  Operations that have no rule here are batched by vmap, along the same axis.
`gdlab.sweeps.fusion` makes the program one kernel.

| function | what it does |
|---|---|
| `along_last` | a program, at every lane |
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata

from gdlab.ground.jaxprs import Literal


class Value(NamedTuple):
    """What a variable of the program holds."""

    array: Any
    swept: bool  # whether it has an axis of lanes, the last one


# fmt: off
ELEMENTWISE = frozenset((
    "abs", "acos", "acosh", "add", "and", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil",
    "convert_element_type", "copy", "cos", "cosh", "digamma", "div", "eq", "erf", "erf_inv", "erfc", "exp", "exp2",
    "expm1", "floor", "ge", "gt", "imag", "integer_pow", "is_finite", "le", "lgamma", "log", "log1p", "logistic", "lt",
    "max", "min", "mul", "ne", "neg", "nextafter", "not", "or", "pow", "real", "rem", "round", "rsqrt", "sign", "sin",
    "sinh", "sqrt", "square", "stop_gradient", "sub", "tan", "tanh", "xor",
))
# So slow that they are computed once, not for each number that they lead to.
COSTLY = frozenset((
    "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cosh", "digamma", "erf", "erf_inv", "erfc",
    "exp", "exp2", "expm1", "lgamma", "log", "log1p", "logistic", "pow", "sinh", "tan", "tanh",
))
# Their axes, counted from the first one, are the same with lanes behind them.
UNCHANGED = frozenset((
    "argmax", "argmin", "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod", "reduce_sum", "rev",
    "squeeze",
))
# Programs within the program, and the parameter that holds them.
CALLS = {
    "jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr", "checkpoint": "jaxpr",
}
# fmt: on


def along_last(program: Any, arrays: Sequence[Value], lanes: int) -> list[Any]:
    """The outputs of a closed jaxpr at every lane, each with lanes along the last axis.

    >>> program = jax.make_jaxpr(lambda x, y: jnp.stack([x, x + y]))(1.0, 2.0)
    >>> along_last(program, [Value(jnp.arange(3.0), True), Value(10.0, False)], 3)[0].tolist()
    [[0.0, 1.0, 2.0], [10.0, 11.0, 12.0]]
    """
    return [_full(value, lanes).array for value in _run(program, arrays, lanes)]


def _run(program, values, lanes):
    """The outputs of a program: closed, or a jaxpr without constants."""
    jaxpr, consts = getattr(program, "jaxpr", program), getattr(program, "consts", ())
    known = dict(zip(jaxpr.constvars, [Value(const, False) for const in consts], strict=True))
    known.update(zip(jaxpr.invars, values, strict=True))

    def read(variable):
        return Value(variable.val, False) if isinstance(variable, Literal) else known[variable]

    for equation in jaxpr.eqns:
        inputs = [read(variable) for variable in equation.invars]
        name = equation.primitive.name
        if name in CALLS:
            outputs = _run(equation.params[CALLS[name]], inputs, lanes)
        elif not any(value.swept for value in inputs):
            outputs = [Value(array, False) for array in _bound(equation, [value.array for value in inputs])]
        else:
            outputs = RULES.get(name, _by_vmap)(equation, inputs, lanes)
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _bound(equation, arrays, **changed):
    """The outputs of an operation."""
    params = equation.primitive.get_bind_params({**equation.params, **changed})
    found = equation.primitive.bind(*arrays, **params)
    return found if equation.primitive.multiple_results else [found]


def _by_vmap(equation, inputs, lanes):
    axes = [-1 if value.swept else None for value in inputs]
    act = jax.vmap(lambda *arrays: _bound(equation, arrays), axes, -1, axis_size=lanes)
    return [Value(array, True) for array in act(*(value.array for value in inputs))]


def _full(value, lanes, shape=None):
    """A value with an axis of lanes, and of this shape at each of them, which a number is spread over."""
    array, swept = value
    own = jnp.shape(array)[:-1] if swept else jnp.shape(array)
    shape = own if shape is None else shape
    if swept and own == shape:
        return value
    dims = [*range(len(own)), *([len(shape)] if swept else [])]
    return Value(jax.lax.broadcast_in_dim(array, (*shape, lanes), dims), True)


def _elementwise(equation, inputs, lanes, whole=()):
    """Of an operation on each number; one number that all lanes share stays one, but at the places in `whole`."""
    shape = equation.outvars[0].aval.shape
    one = [not value.swept and not jnp.ndim(value.array) for value in inputs]
    full = [not one[place] or place in whole for place in range(len(inputs))]
    arrays = [
        _full(value, lanes, shape).array if fill else value.array for value, fill in zip(inputs, full, strict=True)
    ]
    act = lambda *arrays: _bound(equation, arrays)  # noqa: E731
    if equation.primitive.name in COSTLY:
        act = _apart(act)
    return [Value(array, True) for array in act(*arrays)]


def _apart(act):
    """The operation as a call, not fused with what follows, which would compute it again for each of its uses."""
    called = jax.jit(act)
    return lambda *arrays: set_xla_metadata(called(*arrays), inlineable="false")


def _unchanged(equation, inputs, lanes):
    return [Value(array, True) for array in _bound(equation, [_full(value, lanes).array for value in inputs])]


def _changed(change):
    """The rule of an operation whose parameters, at every lane, are those of all lanes but for this change."""

    def rule(equation, inputs, lanes):
        first, *others = inputs
        if any(value.swept for value in others):
            return _by_vmap(equation, inputs, lanes)
        params = change(equation.params, lanes)
        if params is None or not first.swept:
            return _by_vmap(equation, inputs, lanes)
        arrays = [value.array for value in inputs]
        return [Value(array, True) for array in _bound(equation, arrays, **params)]

    return rule


def _broadcast(params, lanes):
    shape, dims = params["shape"], params["broadcast_dimensions"]
    return {"shape": (*shape, lanes), "broadcast_dimensions": (*dims, len(shape))}


def _reshape(params, lanes):
    return {"new_sizes": (*params["new_sizes"], lanes)} if params["dimensions"] is None else None


def _slice(params, lanes):
    strides = params["strides"] and (*params["strides"], 1)
    starts, limits = (*params["start_indices"], 0), (*params["limit_indices"], lanes)
    return {"start_indices": starts, "limit_indices": limits, "strides": strides}


def _pad(params, lanes):
    return {"padding_config": (*params["padding_config"], (0, 0, 0))}


def _transpose(params, lanes):
    return {"permutation": (*params["permutation"], len(params["permutation"]))}


def _dot(equation, inputs, lanes):
    """A small product: the sum of products, spread over the axes of both."""
    ((left, right), (left_batch, right_batch)) = equation.params["dimension_numbers"]
    (x, y), out = (value.array for value in inputs), equation.outvars[0].aval
    frees = []
    for value, summed, batch in zip(inputs, (left, right), (left_batch, right_batch), strict=True):
        every = range(jnp.ndim(value.array) - value.swept)
        frees.append([axis for axis in every if axis not in summed and axis not in batch])
    x = _arranged(inputs[0], [*left_batch, *frees[0], *left], len(left_batch) + len(frees[0]), len(frees[1]))
    y = _arranged(inputs[1], [*right_batch, *frees[1], *right], len(right_batch), len(frees[0]))
    axes = tuple(range(len(out.shape), len(out.shape) + len(left)))
    return [Value((x.astype(out.dtype) * y.astype(out.dtype)).sum(axes), True)]


def _arranged(value, order, place, count):
    """The array with its axes in this order, and so many of length 1 at a place, lanes behind all of them."""
    array = value.array if value.swept else value.array[..., None]
    array = array.transpose(*order, len(order))
    return array.reshape(*array.shape[:place], *[1] * count, *array.shape[place:])


def _scan(equation, inputs, lanes):
    params = equation.params
    step, (first, begin) = params["jaxpr"], parts_of_scan(params)
    consts, carry, rows = inputs[:first], inputs[first:begin], inputs[begin:]
    swept = _settled(step, consts, carry, rows)
    ends = _spread(step, [*(value.swept for value in consts), *swept, *(value.swept for value in rows)])
    ends[: len(swept)] = swept

    def body(carry, rows_):
        held = [*consts, *map(Value, carry, swept), *map(Value, rows_, (value.swept for value in rows))]
        outputs = [
            _full(value, lanes).array if end else value.array
            for value, end in zip(_run(step, held, lanes), ends, strict=True)
        ]
        return outputs[: len(swept)], outputs[len(swept) :]

    how = {"length": params["length"], "reverse": params["reverse"], "unroll": params["unroll"]}
    carried, stacked = jax.lax.scan(body, _filled(carry, swept, lanes), [value.array for value in rows], **how)
    return [*map(Value, carried, swept), *map(Value, stacked, ends[len(swept) :])]


def parts_of_scan(params: Any) -> tuple[int, int]:
    """Where, among the inputs of a scan, what it carries begins and ends."""
    if "num_consts" in params:
        return params["num_consts"], params["num_consts"] + params["num_carry"]
    consts, carry, _ = params["ft_in"].unpack()  # of JAX 0.12
    return len(list(consts.vals)), len(list(consts.vals)) + len(list(carry.vals))


def _while(equation, inputs, lanes):
    params = equation.params
    test, step, first = params["cond_jaxpr"], params["body_jaxpr"], params["cond_nconsts"]
    begin = first + params["body_nconsts"]
    tested, consts, carry = inputs[:first], inputs[first:begin], inputs[begin:]
    swept = _settled(step, consts, carry)
    apart = _spread(test, [*(value.swept for value in tested), *swept])[0]  # lanes end at different turns
    swept = [True] * len(swept) if apart else swept

    def going(carry):
        (value,) = _run(test, [*tested, *map(Value, carry, swept)], lanes)
        return value.array

    def body(carry):
        new = _filled(_run(step, [*consts, *map(Value, carry, swept)], lanes), swept, lanes)
        if not apart:
            return new
        on = going(carry)
        return [jnp.where(on, after, before) for after, before in zip(new, carry, strict=True)]

    begun = _filled(carry, swept, lanes)
    ended = jax.lax.while_loop(lambda carry: going(carry).any() if apart else going(carry), body, begun)
    return [*map(Value, ended, swept)]


def _cond(equation, inputs, lanes):
    index, *given = inputs
    branches = equation.params["branches"]
    flags = [value.swept for value in given]
    swept = [True] * len(equation.outvars)
    if not index.swept:
        swept = [any(each) for each in zip(*(_spread(branch, flags) for branch in branches), strict=True)]

    def of(branch):
        return lambda *arrays: _filled(_run(branch, [*map(Value, arrays, flags)], lanes), swept, lanes)

    arrays = [value.array for value in given]
    if not index.swept:
        return [*map(Value, jax.lax.switch(index.array, [of(branch) for branch in branches], *arrays), swept)]
    which = jnp.clip(index.array, 0, len(branches) - 1)
    found = [of(branch)(*arrays) for branch in branches]
    chosen = [jax.lax.select_n(jnp.broadcast_to(which, jnp.shape(each[0])), *each) for each in zip(*found, strict=True)]
    return [Value(array, True) for array in chosen]


def _filled(values, swept, lanes):
    """The arrays of some values, those that are swept with an axis of lanes."""
    return [_full(value, lanes).array if fill else value.array for value, fill in zip(values, swept, strict=True)]


def _settled(step, consts, carry, rows=()):
    """Which parts of what a loop carries are swept, once it has gone round often enough."""
    swept = [value.swept for value in carry]
    while True:
        flags = [*(value.swept for value in consts), *swept, *(value.swept for value in rows)]
        after = [old or new for old, new in zip(swept, _spread(step, flags), strict=False)]
        if after == swept:
            return swept
        swept = after


def _spread(program, flags):
    """Which outputs of a program are swept where these inputs are."""
    jaxpr = getattr(program, "jaxpr", program)
    known = {**dict.fromkeys(jaxpr.constvars, False), **dict(zip(jaxpr.invars, flags, strict=True))}

    def read(variable):
        return not isinstance(variable, Literal) and known[variable]

    for equation in jaxpr.eqns:
        inputs = [read(variable) for variable in equation.invars]
        name, params = equation.primitive.name, equation.params
        if name in CALLS:
            outputs = _spread(params[CALLS[name]], inputs)
        elif not any(inputs):
            outputs = [False] * len(equation.outvars)
        else:
            outputs = SPREADS.get(name, lambda params, inputs, count: [True] * count)(
                params, inputs, len(equation.outvars)
            )
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _spread_by_scan(params, inputs, count):
    first, begin = parts_of_scan(params)
    values = [Value(None, flag) for flag in inputs]
    swept = _settled(params["jaxpr"], values[:first], values[first:begin], values[begin:])
    return [*swept, *_spread(params["jaxpr"], [*inputs[:first], *swept, *inputs[begin:]])[len(swept) :]]


def _spread_by_while(params, inputs, count):
    first = params["cond_nconsts"]
    begin = first + params["body_nconsts"]
    values = [Value(None, flag) for flag in inputs]
    swept = _settled(params["body_jaxpr"], values[first:begin], values[begin:])
    return [True] * count if _spread(params["cond_jaxpr"], [*inputs[:first], *swept])[0] else swept


def _spread_by_cond(params, inputs, count):
    if inputs[0]:
        return [True] * count
    return [any(each) for each in zip(*(_spread(branch, inputs[1:]) for branch in params["branches"]), strict=True)]


SPREADS = {"scan": _spread_by_scan, "while": _spread_by_while, "cond": _spread_by_cond}
RULES: dict[str, Callable[..., list[Value]]] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    "add_any": partial(_elementwise, whole=range(2)),  # alone among sums it takes two arrays of one shape only
    "select_n": partial(_elementwise, whole=range(1, 2**31)),
    "clamp": partial(_elementwise, whole=(1,)),
    **dict.fromkeys(UNCHANGED, _unchanged),
    "concatenate": _unchanged,
    "stack": _unchanged,
    "broadcast_in_dim": _changed(_broadcast),
    "reshape": _changed(_reshape),
    "slice": _changed(_slice),
    "pad": _changed(_pad),
    "transpose": _changed(_transpose),
    "dot_general": _dot,
    "scan": _scan,
    "while": _while,
    "cond": _cond,
}
