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
| `WholeLoss` | a loss of the pytree as a function of the two parts |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from gdlab.ground.leaves import Fixed, as_array, chosen_of, is_array, is_floating, parameters, plain

FREE, CARRIED = "free", "carried"


@dataclass(frozen=True)
class Model:
    """What a pytree is beside its arrays: hashable, so that it can be a static argument."""

    structure: Any
    kinds: tuple  # of each leaf: FREE, CARRIED, or the leaf itself, `Fixed`
    frozen: int = 0  # how many floating numbers could be differentiated, and were not chosen

    def combine(self, params: Any, rest: Sequence[Any]) -> Any:
        """The pytree of its differentiated and its carried arrays."""
        parts = {FREE: iter(jax.tree.leaves(params)), CARRIED: iter(rest)}
        leaves = [kind.leaf if isinstance(kind, Fixed) else next(parts[kind]) for kind in self.kinds]
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
    is_plain = plain(tree)
    if trainable is None and is_plain and all(map(is_floating, leaves)):
        return tree, (), None
    tree = jax.tree_util.tree_map_with_path(
        lambda path, leaf: as_array("params" + jax.tree_util.keystr(path), leaf), tree
    )
    leaves = jax.tree.leaves(tree)
    wanted, _ = parameters(tree)
    free = [
        yes and is_floating(leaf) and (is_plain or is_array(leaf)) for leaf, yes in zip(leaves, wanted, strict=True)
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
        FREE if yes else CARRIED if is_array(leaf) else Fixed(leaf) for leaf, yes in zip(leaves, free, strict=True)
    )
    params = [leaf if yes else None for leaf, yes in zip(leaves, free, strict=True)]
    rest = tuple(jnp.asarray(leaf) for leaf, kind in zip(leaves, kinds, strict=True) if kind == CARRIED)
    return jax.tree.unflatten(structure, params), rest, Model(structure, kinds, frozen)


def free_part(params: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The differentiated part of a pytree, and the function that makes the pytree of such a part again."""
    free, rest, model = partition(params)
    return free, (lambda part: part) if model is None else (lambda part: model.combine(part, rest))
