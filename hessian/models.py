"""Models: the floating arrays of a pytree, which are differentiated, and the rest, which is carried.

    params, rest, model  =  partition(tree)          tree  =  model.combine(params, rest)

`params` keeps the structure of the pytree, with None where a leaf is not differentiated; `rest` holds the other arrays,
and what is no array stays in `model`, which is static.  Modules are known by being pytrees.  A variable that is no
parameter, such as the statistics of a BatchNorm, is known by a class called `Variable` among those of its node, and
none called `Param`; it is frozen, also where the loss changes it in place.

| name | what it is |
|---|---|
| `partition` | the differentiated part of a pytree, the carried arrays, and what makes the pytree of them again |
| `Model` | the latter |
| `free_part` | the differentiated part, and what makes the pytree of such a part again |
| `chosen_of` | which leaves a mask or a rule by path chooses |
| `WholeLoss` | a loss of the pytree as a function of the two parts |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hessian.arguments import shown

FREE, CARRIED = "free", "carried"


@dataclass(frozen=True, eq=False)
class _Fixed:
    """A leaf that is no array; equal to an equal one, so that a model is compiled once."""

    leaf: Any

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Fixed) or type(self.leaf) is not type(other.leaf):
            return False
        return self.leaf is other.leaf or (_hashable(self.leaf) and bool(self.leaf == other.leaf))

    def __hash__(self) -> int:
        return hash(self.leaf) if _hashable(self.leaf) else id(self.leaf)


@dataclass(frozen=True)
class Model:
    """What a pytree is beside its arrays: hashable, so that it can be a static argument."""

    structure: Any
    kinds: tuple  # of each leaf: FREE, CARRIED, or the leaf itself, `_Fixed`
    frozen: int = 0  # how many floating numbers could be differentiated, and were not chosen

    def combine(self, params: Any, rest: Sequence[Any]) -> Any:
        """The pytree of its differentiated and its carried arrays."""
        parts = {FREE: iter(jax.tree.leaves(params)), CARRIED: iter(rest)}
        leaves = [kind.leaf if isinstance(kind, _Fixed) else next(parts[kind]) for kind in self.kinds]
        return jax.tree.unflatten(self.structure, leaves)


@dataclass(frozen=True)
class WholeLoss:
    """A loss of a pytree as `loss(params, rest, *args)`; equal for equal losses, so that it is traced once."""

    loss: Callable[..., Any]
    model: Model

    def __call__(self, params: Any, rest: Sequence[Any], *args: Any) -> Any:
        return self.loss(self.model.combine(params, rest), *args)


def partition(tree: Any, trainable: Any = None) -> tuple[Any, tuple, Model | None]:
    """The differentiated part of a pytree, the carried arrays, and the `Model` that combines them.

    The model is None, and the tree as it is, where all its leaves are differentiated or none can be.  Where `trainable`
    is given, the part that it chooses is differentiated: a pytree of bools, or a function of paths.

    >>> params, rest, model = partition({"w": jnp.ones(2), "n": 3, "f": jnp.tanh})
    >>> params["n"], params["f"], rest
    (None, None, ())
    >>> model.combine(params, rest)["f"] is jnp.tanh
    True
    """
    leaves, structure = jax.tree.flatten(tree)
    is_plain = _plain(tree)
    if trainable is None and is_plain and all(map(_isfloating, leaves)):
        return tree, (), None
    nodes = jax.tree.leaves(tree, is_leaf=_isvariable)
    wanted = [
        flag
        for node in nodes
        for flag in [not _isvariable(node) or "Param" in _names(node)] * len(jax.tree.leaves(node))
    ]
    free = [
        yes and _isfloating(leaf) and (is_plain or _isarray(leaf)) for leaf, yes in zip(leaves, wanted, strict=True)
    ]
    chosen = free if trainable is None else jax.tree.leaves(chosen_of("trainable", tree, trainable))
    frozen = sum(jnp.size(leaf) for leaf, yes, on in zip(leaves, free, chosen, strict=True) if yes and not on)
    free = [yes and on for yes, on in zip(free, chosen, strict=True)]
    if frozen and not any(free):
        msg = "trainable must choose at least one floating array of params; got none"
        raise ValueError(msg)
    if all(free) or not any(free):
        return tree, (), None
    kinds = tuple(
        FREE if yes else CARRIED if _isarray(leaf) else _Fixed(leaf) for leaf, yes in zip(leaves, free, strict=True)
    )
    params = [leaf if yes else None for leaf, yes in zip(leaves, free, strict=True)]
    rest = tuple(jnp.asarray(leaf) for leaf, kind in zip(leaves, kinds, strict=True) if kind == CARRIED)
    return jax.tree.unflatten(structure, params), rest, Model(structure, kinds, frozen)


def chosen_of(name: str, tree: Any, chosen: Any) -> Any:
    """For each leaf of a pytree whether it is chosen, by a pytree of bools like it or a prefix, or a function of paths.

    Raises:
        ValueError: for what is neither.
    """
    if callable(chosen):
        return jax.tree_util.tree_map_with_path(lambda path, _: bool(chosen(jax.tree_util.keystr(path))), tree)
    flags = jax.tree.leaves(chosen, is_leaf=lambda flag: flag is None)
    try:
        mask = jax.tree.map(lambda flag, part: jax.tree.map(lambda _: bool(flag), part), chosen, tree)
    except (TypeError, ValueError):
        mask = None
    if mask is None or not all(isinstance(flag, bool | np.bool_) for flag in flags):
        msg = f"{name} must be a pytree of bools like params, or a function of paths; got {shown(chosen)}"
        raise ValueError(msg)
    return mask


def free_part(params: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The differentiated part of a pytree, and the function that makes the pytree of such a part again."""
    free, rest, model = partition(params)
    return free, (lambda part: part) if model is None else (lambda part: model.combine(part, rest))


def _names(node):
    return {base.__name__ for base in type(node).__mro__}


def _isvariable(node):
    return not isinstance(node, jax.Array) and "Variable" in _names(node)


def _plain(tree):
    """Whether a pytree is made of Python's own containers, not of the modules of a library."""
    if isinstance(tree, dict | list | tuple):
        return all(map(_plain, tree.values() if isinstance(tree, dict) else tree))
    return tree is None or isinstance(tree, jax.Array) or jax.tree_util.all_leaves([tree])


def _isarray(leaf):
    return isinstance(leaf, jax.Array | np.generic) or (
        isinstance(leaf, np.ndarray) and leaf.dtype.kind not in "USOMm"  # no text, objects and dates
    )


def _isfloating(leaf):
    if _isarray(leaf):
        return jnp.issubdtype(leaf.dtype, jnp.inexact)
    return isinstance(leaf, float | complex)


def _hashable(value):
    try:
        hash(value)
    except TypeError:
        return False
    return True
