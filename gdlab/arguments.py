"""Checks of arguments, all with one form of error message.

    <name> must be <what is allowed>; got <what came>

| function | what it returns |
|---|---|
| `Range` | an interval, with or without its ends |
| `real`, `hyperparameter` | a real number in a range, or an array of them, as a leaf of a piece |
| `any_array`, `real_array` | an array; one of real numbers |
| `sequence` | an array of real numbers with at least one axis, as floats |
| `whole` | a whole number within bounds |
| `prng_key` | a PRNG key |
| `function` | a function |
| `one_of`, `switch` | an instance of a class; True or False |
| `choice` | the value that a word selects |
| `alike` | nothing; raises for a pytree unlike params |
| `floating` | a pytree of floating arrays |

The values of arrays and tracers are data and are not checked; their dtypes and shapes are.
"""

import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gdlab.ground.leaves import shown

# What mends a module that is given for its parameters.
PARTITION = (
    "; partition a module and hand over its arrays alone: eqx.partition(model, eqx.is_inexact_array), "
    "nnx.split(model, nnx.Param)"
)


class Range(NamedTuple):
    """The real numbers from `low` to `high`; infinity is in no range."""

    low: float = 0.0
    high: float = math.inf
    open: bool = False  # whether `high` itself is outside
    above: bool = False  # whether `low` itself is outside

    def __contains__(self, value: object) -> bool:
        low, high, open_, above = self
        inside = low <= value <= high and not math.isinf(value)  # type: ignore[operator, arg-type]
        return inside and not (open_ and value == high) and not (above and value == low)

    def __str__(self) -> str:
        left = "(" if self.above or self.low == -math.inf else "["
        right = ")" if self.open or self.high == math.inf else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}"


def real(name: str, value: ArrayLike, allowed: Range) -> ArrayLike:
    """The value as a leaf of a piece: a number as a float, an array as a floating one.

    Numbers are checked to lie in the range.  Arrays and tracers go through unread: their values are data.  Raises
    TypeError for what is no number, ValueError for a number out of range.
    """
    if type(value) is float or (isinstance(value, numbers.Real) and not isinstance(value, bool)):
        value = float(value)
        if value not in allowed:
            msg = f"{name} must lie in {allowed}; got {value:g}"
            raise ValueError(msg)
        return value
    array = value if isinstance(value, jax.Array) or not hasattr(value, "__array__") else np.asarray(value)
    if not _real(array):
        msg = f"{name} must be a real number or an array of them; got {shown(value)}"
        raise TypeError(msg)
    is_leaf = isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jnp.floating)
    return array if is_leaf else jnp.asarray(array, dtype=float)


def hyperparameter(
    name: str, value: ArrayLike, low: float, high: float = math.inf, *, open: bool = False, above: bool = False
) -> ArrayLike:
    """`real` for a range that no field declares: [low, high], without high where `open`, without low where `above`."""
    return real(name, value, Range(low, high, open, above))


def any_array(name: str, value: Any, what: str = "an array") -> jax.Array:
    """The value as an array; TypeError where it cannot be one."""
    try:
        if any(isinstance(leaf, str) for leaf in jax.tree.leaves(value)):
            raise TypeError  # NumPy would ask whether the string names a dtype
        return jnp.asarray(value)
    except (TypeError, ValueError, OverflowError):
        msg = f"{name} must be {what}; got {shown(value)}"
        raise TypeError(msg) from None


def real_array(name: str, value: Any, what: str = "an array of real numbers") -> jax.Array:
    """The value as an array; TypeError where it holds anything but real numbers."""
    array = any_array(name, value, what)
    if not _real(array):
        msg = f"{name} must be {what}; got {shown(value)}"
        raise TypeError(msg)
    return array


def sequence(name: str, values: Any, least: int = 0) -> jax.Array:
    """A sequence of at least `least` real numbers, as a floating array with at least one axis."""
    what = f"a sequence of {f'at least {least} ' if least else ''}real numbers"
    array = real_array(name, values, what)
    if array.ndim == 0 or len(array) < least:
        msg = f"{name} must be {what}; got {shown(values)}"
        raise TypeError(msg)
    return array.astype(float)


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """The value as an int; ValueError for what is no whole number from `least` to `most`."""
    integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not integer or not least <= value <= (value if most is None else most):
        allowed = f"at least {least}" if most is None else f"from {least} to {most}"
        msg = f"{name} must be a whole number, {allowed}; got {shown(value)}"
        raise ValueError(msg)
    return int(value)


def prng_key(name: str, value: Any, axes: int = 0) -> jax.Array:
    """The value, if it is one PRNG key of either kind, or an array of keys with `axes` axes."""
    array = isinstance(value, jax.Array | np.ndarray)
    new = array and jnp.issubdtype(value.dtype, jax.dtypes.prng_key) and value.ndim == axes
    shape = jax.random.key_data(jax.random.key(0)).shape
    old = array and value.dtype == jnp.uint32 and value.ndim == axes + 1 and value.shape[axes:] == shape
    if not (new or old):
        many = f"PRNG keys with {axes} axis, such as jax.random.split(jax.random.key(0), 3)"
        what = many if axes else "a PRNG key, such as jax.random.key(0)"
        msg = f"{name} must be {what}; got {shown(value)}"
        raise TypeError(msg)
    return value


def function(name: str, value: Any, example: str) -> Callable[..., Any]:
    """The value, if it can be called."""
    if not callable(value):
        msg = f"{name} must be a function, {example}; got {shown(value)}"
        raise TypeError(msg)
    return value


def one_of(name: str, value: Any, kind: type, example: str) -> Any:
    """The value, if it is an instance of the class."""
    if not isinstance(value, kind):
        msg = f"{name} must be {example}; got {shown(value)}"
        raise TypeError(msg)
    return value


def choice(name: str, value: Any, choices: Mapping[str, Any]) -> Any:
    """The value that the word selects; ValueError for another word."""
    if not isinstance(value, str) or value not in choices:
        msg = f"{name} must be one of {', '.join(choices)}; got {shown(value)}"
        raise ValueError(msg)
    return choices[value]


def alike(name: str, tree: Any, params: Any) -> None:
    """Raise ValueError where the structure or a shape of the pytree differs from those of params."""
    got, wanted = ((jax.tree.structure(one), list(map(jnp.shape, jax.tree.leaves(one)))) for one in (tree, params))
    if got != wanted:
        msg = f"{name} must be like params, {wanted[0]} with shapes {wanted[1]}; got {got[0]} with shapes {got[1]}"
        raise ValueError(msg)


def switch(name: str, value: Any) -> bool:
    """The value, if it is True or False."""
    return one_of(name, value, bool, "True or False")


def floating(name: str, tree: Any) -> Any:
    """The pytree with its leaves as arrays; TypeError where one is not floating (complex is), or there is none."""
    if not jax.tree.leaves(tree):
        msg = f"{name} must hold at least one floating array; got {shown(tree)}"
        raise TypeError(msg)

    def array(path, leaf):
        try:
            array = any_array(name, leaf)
        except TypeError:
            array = None
        if array is None or not jnp.issubdtype(array.dtype, jnp.inexact):
            got = shown(leaf) if array is None else f"a leaf of dtype {array.dtype}"
            at = jax.tree_util.keystr(path)
            msg = f"{name} must be a pytree of floating arrays; got {got}{f' at {name}{at}' if at else ''}"
            raise TypeError(msg if _plain(tree) else msg + PARTITION)
        return array

    return jax.tree_util.tree_map_with_path(array, tree)


def _plain(tree):
    """Whether a pytree is made of Python's own containers and values, not of the modules of a library."""
    if isinstance(tree, dict | list | tuple):
        return all(map(_plain, tree.values() if isinstance(tree, dict) else tree))
    return tree is None or isinstance(tree, jax.Array | np.ndarray | np.generic | numbers.Number | str)


def _real(array):
    """Whether the value is an array of real numbers."""
    kinds = jnp.floating, jnp.integer
    return isinstance(array, jax.Array | np.ndarray) and any(jnp.issubdtype(array.dtype, kind) for kind in kinds)
