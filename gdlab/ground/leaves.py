"""The leaves of a pytree, modules of any library included: which are arrays, which may be parameters, which are chosen.

A module is known by being a pytree; a variable that is no parameter (the statistics of a BatchNorm, the counter of a
Dropout) by a class called `Variable` among those of its node, and none called `Param`.

| name | what it is |
|---|---|
| `is_array`, `is_floating` | whether a leaf is an array of numbers; one that can be differentiated, or such a number |
| `as_array` | a leaf, as an array of JAX where it is one of another library |
| `parameters` | for each leaf whether its node lets it be a parameter |
| `chosen_of` | which leaves a mask or a rule by path chooses |
| `Fixed` | a leaf that is no array |
| `plain` | whether a pytree is made of Python's own containers |
| `shown` | what came, for a sentence about it |
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["Fixed", "as_array", "chosen_of", "is_array", "is_floating", "parameters", "plain", "shown"]


@dataclass(frozen=True, eq=False)
class Fixed:
    """A leaf that is no array; equal to an equal one, so that a model is compiled once."""

    leaf: Any

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Fixed) or type(self.leaf) is not type(other.leaf):
            return False
        return self.leaf is other.leaf or (_hashable(self.leaf) and bool(self.leaf == other.leaf))

    def __hash__(self) -> int:
        return hash(self.leaf) if _hashable(self.leaf) else id(self.leaf)


def _hashable(value):
    try:
        hash(value)
    except TypeError:
        return False
    return True


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array of JAX or NumPy, of numbers: not of text, objects or dates."""
    return isinstance(leaf, jax.Array | np.generic) or (isinstance(leaf, np.ndarray) and not _is_text(leaf))


def _is_text(array):
    return array.dtype.kind in "USOMm"


def is_floating(leaf: Any) -> bool:
    """Whether a leaf is a floating array or number, real or complex."""
    if is_array(leaf):
        return jnp.issubdtype(leaf.dtype, jnp.inexact)
    return isinstance(leaf, float | complex)


def as_array(path: str, leaf: Any) -> Any:
    """The leaf, which is at this path for errors, as an array of JAX where it is one of another library."""
    if isinstance(leaf, np.ndarray) and _is_text(leaf):
        msg = f"{path} must be an array of numbers; got one of dtype {leaf.dtype}: np.array(x, float) makes it one"
        raise TypeError(msg)
    if is_array(leaf) or isinstance(leaf, type) or not hasattr(leaf, "__array__"):
        return leaf
    try:
        return jnp.asarray(leaf)
    except Exception as error:  # another library may raise anything
        msg = f"{path} must be an array of JAX or NumPy; got one of {type(leaf).__module__.partition('.')[0]}: "
        msg += "jnp.asarray(x.detach().cpu().numpy()) makes it one"
        raise TypeError(msg) from error


def parameters(tree: Any) -> tuple[list[bool], bool]:
    """For each leaf whether its node lets it be a parameter; whether any node is a variable, changed in place."""
    nodes = jax.tree.leaves(tree, is_leaf=_is_variable)
    wanted = [
        flag
        for node in nodes
        for flag in [not _is_variable(node) or "Param" in _names(node)] * len(jax.tree.leaves(node))
    ]
    return wanted, any(map(_is_variable, nodes))


def _names(node):
    return {base.__name__ for base in type(node).__mro__}


def _is_variable(node):
    return not isinstance(node, jax.Array) and "Variable" in _names(node)


def chosen_of(name: str, tree: Any, chosen: Any) -> Any:
    """A pytree of bools, which leaves are chosen: by a pytree of bools or a prefix of it, or by a function of paths.

    Raises:
        ValueError: for what is neither.

    >>> chosen_of("trainable", {"w": 1.0, "bias": 0.0}, lambda path: "bias" not in path)
    {'bias': False, 'w': True}
    """
    flags = jax.tree.leaves(chosen)
    said = bool(flags) and all(isinstance(flag, bool | np.bool_) for flag in flags)
    if callable(chosen) and not said and not isinstance(chosen, type):  # a module of bools may be callable, too
        return jax.tree_util.tree_map_with_path(lambda path, _: bool(chosen(jax.tree_util.keystr(path))), tree)
    try:
        mask = jax.tree.map(lambda flag, part: jax.tree.map(lambda _: bool(flag), part), chosen, tree)
    except (TypeError, ValueError):
        mask = None
    if mask is None or not said:
        msg = f"{name} must be a pytree of bools like params or a prefix of it, or a function of paths such as "
        msg += f"lambda path: 'bias' not in path; got {shown(chosen)}"
        raise ValueError(msg)
    return mask


def plain(tree: Any) -> bool:
    """Whether a pytree is made of Python's own containers, not of the modules of a library."""
    if isinstance(tree, dict | list | tuple):
        return all(map(plain, tree.values() if isinstance(tree, dict) else tree))
    return tree is None or isinstance(tree, jax.Array) or jax.tree_util.all_leaves([tree])


def shown(value: Any) -> str:
    """What came, short enough for one line."""
    if isinstance(value, jax.Array | np.ndarray | jax.ShapeDtypeStruct):
        return f"an array of dtype {value.dtype} and shape {value.shape}"
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
