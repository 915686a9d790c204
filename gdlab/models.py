"""Models: the floating arrays of a pytree, which are trained, and the rest, which is carried.

    params, rest, model  =  partition(name, tree)          tree  =  model.combine(params, rest)

A module of a library is a pytree of arrays, numbers, functions and keys.  `params` keeps its structure, with None where
a leaf is not trained; `rest` holds the arrays that are not, and what is no array stays in `model`, which is static.
No library is asked for: modules are known by being pytrees, and a variable that is no parameter (the statistics of a
BatchNorm, the counter of a Dropout) by a class called `Variable` among those of its node, and none called `Param`.

| name | what it is |
|---|---|
| `partition` | the trained part of a pytree, the carried part, and what makes the pytree of them again |
| `Model` | the latter |
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from gdlab.arguments import floating
from gdlab.ground.leaves import Fixed, as_array, chosen_of, is_array, is_floating, parameters, plain, shown

TRAINED, CARRIED = "trained", "carried"


@dataclass(frozen=True)
class Model:
    """What a pytree is beside its arrays: hashable, so that it can be a static argument."""

    structure: Any
    kinds: tuple  # of each leaf: TRAINED, CARRIED, or the leaf itself, `Fixed`
    mutable: bool  # whether a function that is called with the tree may change its arrays in place

    def combine(self, params: Any, rest: Sequence[Any]) -> Any:
        """The pytree of its trained and its carried arrays."""
        trained, carried = iter(jax.tree.leaves(params)), iter(rest)
        parts = {TRAINED: trained, CARRIED: carried}
        leaves = [kind.leaf if isinstance(kind, Fixed) else next(parts[kind]) for kind in self.kinds]
        return jax.tree.unflatten(self.structure, leaves)

    def rest(self, tree: Any) -> tuple:
        """The carried arrays of the pytree."""
        leaves = jax.tree.leaves(tree)
        return tuple(leaf for leaf, kind in zip(leaves, self.kinds, strict=True) if kind == CARRIED)

    def carried(self, tree: Any, rest: Sequence[Any]) -> tuple:
        """The carried arrays after a function was called with the pytree; ValueError where one is not like before."""
        if not self.mutable:
            return tuple(rest)
        structure = jax.tree.structure(tree)
        if structure != self.structure:
            msg = "params must keep the variables that it has while the loss is computed; the loss added or removed "
            msg += f"some: it was {shown(self.structure)} and is {shown(structure)}"
            raise ValueError(msg)
        pairs = zip(self.rest(tree), rest, strict=True)
        return tuple(like(f"variable {i} of params", *pair) for i, pair in enumerate(pairs))


def partition(name: str, tree: Any, trainable: Any = None) -> tuple[Any, tuple, Model | None]:
    """The trained part of a pytree as arrays, the carried arrays, and the `Model` that combines them.

    Args:
        name: of the argument, for errors.
        tree: any pytree.  Trained are its floating arrays, and floating numbers that no module holds.
        trainable: which of them: a pytree of bools like the tree or a prefix of it, or a function of a leaf's path,
            such as "['layer']['bias']".

    Returns:
        (params, rest, model); the model is None where all leaves are trained.

    Raises:
        TypeError: where no leaf is trained, or one is an array of neither JAX nor NumPy that cannot become one.
        ValueError: for `trainable` that does not fit the tree.

    >>> params, rest, model = partition("params", {"w": jnp.ones(2), "n": 3, "f": jnp.tanh})
    >>> params["n"], params["f"], rest
    (None, None, ())
    >>> model.combine(params, rest)["f"] is jnp.tanh
    True
    """
    is_plain = plain(tree)
    leaves, structure = jax.tree.flatten(tree)
    if trainable is None and is_plain and leaves and all(map(is_floating, leaves)):
        return floating(name, tree), (), None
    paths = [name + jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    leaves = [as_array(path, leaf) for path, leaf in zip(paths, leaves, strict=True)]
    wanted, mutable = parameters(tree)
    chosen = [True] * len(leaves) if trainable is None else jax.tree.leaves(chosen_of("trainable", tree, trainable))
    trained = [
        is_floating(leaf) and (is_plain or is_array(leaf)) and both[0] and both[1]
        for leaf, *both in zip(leaves, wanted, chosen, strict=True)
    ]
    if not any(trained):
        raise TypeError(_nothing(name, tree, leaves, paths, trainable is not None))
    if all(trained) and not mutable:
        return jax.tree.unflatten(structure, list(map(jnp.asarray, leaves))), (), None
    kinds = tuple(
        TRAINED if yes else CARRIED if is_array(leaf) else Fixed(leaf)
        for leaf, yes in zip(leaves, trained, strict=True)
    )
    params = [jnp.asarray(leaf) if yes else None for leaf, yes in zip(leaves, trained, strict=True)]
    rest = tuple(jnp.asarray(leaf) for leaf, kind in zip(leaves, kinds, strict=True) if kind == CARRIED)
    return jax.tree.unflatten(structure, params), rest, Model(structure, kinds, mutable)


def like(name: str, new: Any, old: Any) -> Any:
    """An array that is carried on, in the dtype of before; ValueError for another shape."""
    if jnp.shape(new) != jnp.shape(old):
        msg = f"{name} must keep its shape while it is carried, {jnp.shape(old)}; got {jnp.shape(new)}"
        raise ValueError(msg)
    if getattr(new, "dtype", None) == old.dtype:
        return new
    return jnp.asarray(new, old.dtype)


def _nothing(name, tree, leaves, paths, filtered):
    """The sentence for a pytree of which nothing can be trained."""
    floats = [path for path, leaf in zip(paths, leaves, strict=True) if is_floating(leaf)]
    if filtered and floats:
        return f"trainable must choose at least one floating array of {name}; got none of {', '.join(floats)}"
    found = [(path, leaf) for path, leaf in zip(paths, leaves, strict=True) if is_array(leaf)]
    if found or (leaves and plain(tree)):
        path, leaf = found[0] if found else (paths[0], leaves[0])
        number = isinstance(leaf, bool | int)
        got = f"a leaf of dtype {jnp.result_type(leaf)}" if found or number else shown(leaf)
        mend = (
            ": jnp.asarray(x, float) makes it floating" if found or number else _of_a_model(leaf) or _of_a_model(tree)
        )
        return f"{name} must hold at least one floating array; got {got} at {path}{mend}"
    return f"{name} must hold at least one floating array; got {shown(tree)}{_of_a_model(tree)}"


def _of_a_model(one):
    """What to hand over in the place of a model without its parameters; nothing for what is no model."""
    if hasattr(one, "init") and hasattr(one, "apply"):
        return ": hand over what its init(key, x) returns, and call its apply in the loss"
    if hasattr(one, "parameters"):
        return ": hand over its parameters as arrays of JAX, and a loss made of functions of JAX"
    return ""
