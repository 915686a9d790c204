"""What a value is, in words that are the same in every process; an error where that cannot be said.

    number, text        type and value, exactly          tuple, dict, dataclass    its type, and its parts
    array               dtype, shape and bytes           function, class           where it is defined
    program (a jaxpr)   its equations in order, each with its parameters, and the values of its constants

Two programs of the same words are the same program.  A function that is no name of a module of `KNOWN` packages, a
program that calls Python or has an effect, and whatever else is not known to be said completely have no words.

| name | what it is |
|---|---|
| `words_of` | the words of a value |
| `Unsaid` | the error |
"""

import dataclasses
import enum
import functools
import hashlib
import inspect
import sys
from typing import Any

import jax
import numpy as np

from gdlab.ground.jaxprs import ClosedJaxpr, Literal

KNOWN = ("builtins", "gdlab", "hessian", "jax", "jaxlib", "ml_dtypes", "numpy", "optax")  # what is said by name alone
# Operations that call what is not in their parameters: Python, or a library.
FOREIGN = ("callback", "custom_vjp", "custom_vmap", "ffi", "stated_error", "infeed", "outfeed", "custom_transpose")
RULES = ("jvp_jaxpr_fun", "jvp_jaxpr_thunk")  # of a custom_jvp: what they make is in the program of the derivative


class Unsaid(Exception):
    """What a value is cannot be said in words that are the same in every process."""


def words_of(value: Any) -> str:
    """The words of a value; raises `Unsaid`.

    >>> words_of((1, 0.1, [None])), words_of(jax.numpy.sin)
    ('tuple(int 1,float 0.1,list(NoneType None))', 'jax.numpy.sin')
    """
    kind = type(value)
    if value is None or kind in (bool, int, float, complex, str, bytes):
        return f"{kind.__name__} {value!r}"
    if kind in (tuple, list, frozenset, set):
        parts = map(words_of, value)
        return _listed(kind.__name__, parts if kind in (tuple, list) else sorted(parts))
    if kind is dict:
        return _listed("dict", (f"{words_of(key)}:{words_of(one)}" for key, one in value.items()))
    return next((say(value) for fits, say in SAID if fits(value)), None) or _by_its_repr(value)


def _listed(name, parts):
    return f"{name}({','.join(parts)})"


def _name_of(value):
    """Where a function or a class is defined."""
    module, name = getattr(value, "__module__", None) or "", getattr(value, "__qualname__", None) or ""
    found = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if module.partition(".")[0] not in KNOWN or found is not value:
        raise Unsaid(f"{module}.{name}")
    return f"{module}.{name}"


def _of_array(array):
    if isinstance(array, jax.core.Tracer) or jax.dtypes.issubdtype(array.dtype, jax.dtypes.extended):
        raise Unsaid(repr(array.dtype))
    plain = np.asarray(array)
    if plain.dtype.hasobject:
        raise Unsaid(repr(plain.dtype))
    weak = getattr(array, "weak_type", False)
    return f"array {plain.dtype}{plain.shape}{weak} {hashlib.sha256(plain.tobytes()).hexdigest()}"


def _of_partial(value):
    return _listed("partial", map(words_of, (value.func, value.args, value.keywords)))


def _of_fields(value: Any) -> str:
    named = getattr(value, "_fields", None) or [field.name for field in dataclasses.fields(value)]
    return _listed(_name_of(type(value)), (f"{name}={words_of(getattr(value, name))}" for name in named))


def _of_structure(structure):
    """The words of the structure of a pytree."""
    node = structure.node_data()
    if node is None or node[0] is type(None):
        return "none" if node else "leaf"
    parts = ",".join(map(_of_structure, structure.children()))
    return f"{_name_of(node[0])}[{words_of(node[1])}]({parts})"


def _of_shape(aval):
    if getattr(aval, "sharding", None) is not None and not _is_alone(aval.sharding):
        raise Unsaid(repr(aval.sharding))
    return f"{aval.dtype}{aval.shape}{getattr(aval, 'weak_type', False)}"


def _is_alone(sharding):
    """Whether an array is on one device, as far as its type says."""
    return isinstance(sharding, jax.sharding.SingleDeviceSharding) or sharding.mesh.empty


def _of_program(closed):
    """The words of a jaxpr and its constants."""
    if closed.effects:
        raise Unsaid(repr(closed.effects))
    return f"program({_of_jaxpr(closed.jaxpr)};{words_of(list(closed.consts))})"


def _of_jaxpr(jaxpr):
    numbers: dict[Any, int] = {}

    def new(variables):
        return " ".join(f"{numbers.setdefault(one, len(numbers))}:{_of_shape(one.aval)}" for one in variables)

    def read(atom):
        if isinstance(atom, Literal):
            return f"{words_of(np.asarray(atom.val))}:{_of_shape(atom.aval)}"
        return numbers[atom]

    lines = [new([*jaxpr.constvars, *jaxpr.invars])]
    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        lines.append(f"{_of_operation(equation)} {inputs} {new(equation.outvars)}")
    return "\n".join([*lines, str([read(atom) for atom in jaxpr.outvars])])


def _of_operation(equation):
    """The words of an operation and its parameters."""
    name = equation.primitive.name
    if equation.effects or any(part in name for part in FOREIGN):
        raise Unsaid(name)
    given = sorted((key, one) for key, one in equation.params.items() if key not in RULES)
    return _listed(name, (f"{key}={words_of(one)}" for key, one in given)) + _of_context(equation.ctx)


def _of_context(context):
    """What an operation is told beside its parameters, where it is told anything."""
    told = [getattr(context, name, None) for name in ("compute_type", "xla_metadata")]
    return words_of(told) if any(told) else ""


def _by_its_repr(value):
    """The words of a value of a known library, which its `repr` says."""
    name, said = _name_of(type(value)), repr(value)
    if " at 0x" in said or "..." in said:
        raise Unsaid(name)
    return f"{name} {said}"


def _has_fields(value):
    return (isinstance(value, tuple) and hasattr(value, "_fields")) or dataclasses.is_dataclass(value)


SAID = (
    (lambda value: isinstance(value, type) or inspect.isroutine(value), _name_of),
    (lambda value: isinstance(value, enum.Enum), lambda value: f"{_name_of(type(value))} {value.name}"),
    (lambda value: isinstance(value, ClosedJaxpr), _of_program),
    (lambda value: hasattr(value, "eqns"), _of_jaxpr),
    (lambda value: isinstance(value, jax.Array | np.ndarray | np.generic), _of_array),
    (lambda value: isinstance(value, np.dtype), lambda value: f"dtype {value}"),
    (lambda value: isinstance(value, jax.tree_util.PyTreeDef), _of_structure),
    (lambda value: isinstance(value, jax.core.ShapedArray | jax.ShapeDtypeStruct), _of_shape),
    (lambda value: isinstance(value, functools.partial), _of_partial),
    (_has_fields, _of_fields),
)
