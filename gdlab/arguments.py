"""Checks of arrays and hyperparameters, in the form and beside the checks of `gdlab.ground.checks`.

| function | what it returns |
|---|---|
| `real`, `hyperparameter` | a real number in a range, or an array of them, as a leaf of a piece |
| `any_array`, `real_array` | an array; one of real numbers |
| `sequence` | an array of real numbers with at least one axis, as floats |
| `floating` | a pytree of floating arrays |

The values of arrays and tracers are data and are not checked; their dtypes and shapes are.
"""

import math
import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gdlab.ground.checks import Range, is_real, number, within_bits
from gdlab.ground.leaves import shown

# What mends a module that is given for its parameters.
PARTITION = (
    "; partition a module and hand over its arrays alone: eqx.partition(model, eqx.is_inexact_array), "
    "nnx.split(model, nnx.Param)"
)


def real(name: str, value: ArrayLike, allowed: Range) -> ArrayLike:
    """The value as a leaf of a piece: a number as a float, an array as a floating one.

    Numbers are checked to lie in the range.  Arrays and tracers go through unread: their values are data.  Raises
    TypeError for what is no number, ValueError for a number out of range.
    """
    value = number(name, value, allowed)
    if isinstance(value, numbers.Real):
        return float(value)
    is_leaf = isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jnp.floating)
    return value if is_leaf else jnp.asarray(value, dtype=float)


def hyperparameter(
    name: str, value: ArrayLike, low: float, high: float = math.inf, *, open: bool = False, above: bool = False
) -> ArrayLike:
    """`real` for a range that no field declares: [low, high], without high where `open`, without low where `above`."""
    return real(name, value, Range(low, high, open, above))


def any_array(name: str, value: Any, what: str = "an array") -> jax.Array:
    """The value as an array; TypeError where it cannot be one, ValueError for whole numbers that it cannot hold."""
    for leaf in jax.tree.leaves(value):
        within_bits(name, leaf)
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
    if not is_real(array):
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
