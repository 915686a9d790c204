"""Optimizers of other libraries: their numbers as arguments of the compiled program.

    optax.sgd(0.1)  and  optax.sgd(0.2)  are one program of one number:   updates, state  =  program(numbers, ...)

Such an optimizer is two functions that close over its hyperparameters.  Both are traced on their own, and each number
and array in what comes out becomes an argument.  What is left is compared equation by equation: optimizers that differ
in numbers alone are equal, and compiled once.  The numbers are those that the library computed, such as 1 - b1 in
double precision, so that nothing is rounded anew.

An optimizer whose update asks for the loss, its gradient or its value elsewhere is part of the program as it is.

| name | what it is |
|---|---|
| `taken_apart` | an optimizer as its numbers and its program, where that can be done |
| `Program` | two traced functions without their numbers; equal for equal programs |
| `taken` | the extra arguments that an update takes |
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gdlab.ground.jaxprs import Jaxpr, Literal, Var

CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr"}


@dataclass(frozen=True)
class _Function:
    """A traced function whose numbers are its first arguments."""

    key: tuple  # its equations
    tree: Any  # the structure of what it returns
    jaxpr: Jaxpr = field(compare=False)

    def __call__(self, numbers: list, *args: Any) -> Any:
        return jax.tree.unflatten(self.tree, jax.core.eval_jaxpr(self.jaxpr, numbers, *jax.tree.leaves(args)))


@dataclass(frozen=True)
class Program:
    """An optimizer without its numbers."""

    init: _Function
    update: _Function

    def of(self, numbers: tuple[list, list]) -> optax.GradientTransformation:
        """The optimizer of these numbers."""
        first, further = numbers

        def update(grads, state, params=None):
            return self.update(further, grads, state, params)

        return optax.GradientTransformation(lambda params: self.init(first, params), update)


def taken_apart(
    optimizer: optax.GradientTransformation, params: Any, state: Any = None
) -> tuple[tuple[list, list], Program] | None:
    """(numbers, program) of an optimizer for params of these shapes; None where it is more than its numbers.

    A state, where one is given, must be as those that it makes.
    """
    leaves, tree = jax.tree.flatten(_shapes(params))
    try:
        numbers, program, begun = _taken_apart(optimizer.init, optimizer.update, tree, tuple(leaves), _precision())
        return (numbers, program) if state is None or jax.tree.flatten(_shapes(state)) == begun else None
    except Exception:  # whatever a foreign function raises, it raises again where it is run as it is
        return None


def _shapes(tree):
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf)), tree)


def _precision():
    """The settings under which one function may be traced to two programs."""
    names = ("jax_enable_x64", "jax_default_matmul_precision", "jax_numpy_dtype_promotion", "jax_default_prng_impl")
    return tuple(getattr(jax.config, name) for name in names)


@lru_cache(maxsize=64)
def _taken_apart(init, update, tree, leaves, _):
    params = jax.tree.unflatten(tree, leaves)
    begun, state = jax.make_jaxpr(init, return_shape=True)(params)
    before: Any = jax.tree.structure(state)
    # Whoever computes with the loss finds that it is no number, and stays as it is.
    extras = {name: _Absent() for name in ("value", "grad", "value_fn")}
    with_extras = _takes_any(update)
    stepped, out = jax.make_jaxpr(
        lambda grads, state, params: update(grads, state, params, **(extras if with_extras else {})),
        return_shape=True,
    )(params, state, params)
    if begun.effects or stepped.effects or before != jax.tree.structure(out[1]):
        msg = "the update has effects, or makes a state unlike the first one"
        raise ValueError(msg)
    (first, numbers), (second, further) = _without_numbers(begun, state), _without_numbers(stepped, out)
    # Leaves and structure: modules of some libraries are equal to themselves alone.
    return (numbers, further), Program(first, second), jax.tree.flatten(_shapes(state))


class _Absent:
    """What a traced update may hand on, and not look at."""


def _takes_any(update):
    """Whether an update takes extra arguments; ValueError for one that names some of those of a loss."""
    named = taken(update, dict.fromkeys(("value", "grad", "value_fn", "obj_fn", "grad_fn")))
    if named and list(named) != ["value", "grad", "value_fn"]:
        msg = "the update asks for the loss"
        raise ValueError(msg)
    return bool(named)


def _without_numbers(closed, out):
    """The function of a closed jaxpr, and its numbers."""
    inlined = _Inlined()
    given = [Var(v.aval) for v in closed.jaxpr.invars]
    results = inlined.add(closed.jaxpr, closed.consts, given)
    jaxpr = closed.jaxpr.replace(constvars=inlined.constants, invars=given, outvars=results, eqns=inlined.equations)
    return _Function(_key(jaxpr), jax.tree.structure(out), jaxpr), inlined.numbers


class _Inlined:
    """The equations of a function and of those that it calls, with a variable for each number."""

    def __init__(self):
        self.equations: list = []
        self.constants: list = []
        self.numbers: list = []

    def add(self, jaxpr, consts, given):
        """Add the equations of a jaxpr, and return what stands for its results."""
        names = dict(zip(jaxpr.invars, given, strict=True))
        names |= {var: self.argument(var.aval, value) for var, value in zip(jaxpr.constvars, consts, strict=True)}

        def read(value):
            if not isinstance(value, Literal):
                return names[value]
            aval: Any = value.aval
            floating = jnp.issubdtype(aval.dtype, jnp.inexact)
            return self.argument(aval, np.asarray(value.val, aval.dtype)) if floating else value

        for equation in jaxpr.eqns:
            inner = equation.params.get(CALLS.get(equation.primitive.name))
            if hasattr(inner, "consts"):
                results = self.add(inner.jaxpr, inner.consts, [read(value) for value in equation.invars])
            else:
                # A power of a fixed exponent is a product for the compiler; of an argument it is none.
                kept = 1 if equation.primitive.name == "pow" else len(equation.invars)
                operands = [read(value) for value in equation.invars[:kept]]
                operands += [v if isinstance(v, Literal) else read(v) for v in equation.invars[kept:]]
                results = [Var(var.aval) for var in equation.outvars]
                self.equations.append(equation.replace(invars=operands, outvars=results))
            names |= zip(equation.outvars, results, strict=True)
        return [read(value) for value in jaxpr.outvars]

    def argument(self, aval, value):
        """The variable of a number."""
        self.constants.append(Var(aval))
        self.numbers.append(value)
        return self.constants[-1]


def _key(jaxpr):
    """The equations of a jaxpr as nested tuples; TypeError where a part of one cannot be compared."""
    places: dict[Any, int] = {}

    def placed(value):
        if isinstance(value, Literal):
            return "literal", str(value.aval), np.asarray(value.val).tobytes()
        return places.setdefault(value, len(places)), str(value.aval)

    def equation_key(equation):
        ends = tuple(map(placed, equation.invars)), tuple(map(placed, equation.outvars))
        return equation.primitive, *ends, _frozen(equation.params)

    ends = tuple(map(placed, (*jaxpr.constvars, *jaxpr.invars)))
    return ends, tuple(map(equation_key, jaxpr.eqns)), tuple(map(placed, jaxpr.outvars))


def _frozen(value: Any) -> Any:
    """The parameter of an equation as something to compare."""
    if hasattr(value, "consts"):
        return _key(value.jaxpr), _frozen(list(value.consts))
    if hasattr(value, "eqns"):
        return _key(value)
    if isinstance(value, list | tuple):
        return type(value), tuple(map(_frozen, value))
    if isinstance(value, dict):
        return tuple((name, _frozen(value[name])) for name in sorted(value))
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype, value.tobytes()
    hash(value)
    return value


# Extra arguments that only optimizers which name them get: others hand what they do not know on to the loss.
ON_DEMAND = ("obj_fn", "grad_fn")


def taken(update: Callable, extras: dict[str, Any]) -> dict[str, Any]:
    """Those of the extra arguments that an update takes."""
    named = inspect.signature(update).parameters
    if any(one.kind is one.VAR_KEYWORD for one in named.values()):
        within = _named_within(update, set())
        return {name: value for name, value in extras.items() if name not in ON_DEMAND or name in within}
    return {name: value for name, value in extras.items() if name in named}


def _named_within(value, seen):
    """The names of the arguments of a function, and of those that it is made of."""
    if isinstance(value, tuple | list):
        return set().union(*(_named_within(one, seen) for one in value))
    code = getattr(value, "__code__", None)
    if code is None or id(value) in seen:
        return set()
    seen.add(id(value))
    cells = [cell.cell_contents for cell in value.__closure__ or () if cell != type(cell)()]
    return set(inspect.signature(value).parameters).union(*(_named_within(cell, seen) for cell in cells))
