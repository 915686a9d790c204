"""The parts of params on which a symmetry acts, by name.

    "w1", "layer.weight"     the leaf of that path
    2                        entry 2 of params that are one array, raveled
    ("w1", "b1")             several parts

| function | what it returns |
|---|---|
| `taken` | the arrays of parts |
| `placed` | a pytree like params with new arrays in these parts |
| `named` | a declared part as a tuple of names |
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gdlab.ground.leaves import shown
from hessian.precision import Params

Part = str | int | tuple


def named(name: str, part: Any) -> tuple:
    """A declared part, or several, as a tuple of names."""
    parts = tuple(part) if isinstance(part, tuple | list) else (part,)
    if not parts or not all(isinstance(one, str | int) and not isinstance(one, bool) for one in parts):
        msg = f"{name} must be the name of a leaf of params, the place of an entry, or several; got {shown(part)}"
        raise TypeError(msg)
    return parts


def taken(params: Params, parts: Sequence[str | int]) -> list[jax.Array]:
    """The arrays of these parts."""
    leaves = _leaves(params)
    return [_entry(params, part) if _is_entry(params, part) else leaves[_known(part, leaves)] for part in parts]


def placed(params: Params, new: dict[str | int, jax.Array]) -> Params:
    """Like params, with these arrays in these parts."""
    entries = {part: value for part, value in new.items() if _is_entry(params, part)}
    if entries:
        flat = params.ravel()
        for part, value in entries.items():
            flat = flat.at[part].set(value)
        return flat.reshape(params.shape)
    leaves = _leaves(params)
    by_name = {_known(part, leaves): value for part, value in new.items()}
    return jax.tree.unflatten(jax.tree.structure(params), [by_name.get(name, leaf) for name, leaf in leaves.items()])


def _leaves(params):
    """The leaves by the names of their paths."""
    pairs = jax.tree_util.tree_leaves_with_path(params)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in pairs}


def _is_entry(params, part):
    return isinstance(part, int) and isinstance(params, jax.Array)


def _entry(params, part):
    if not -params.size <= part < params.size:
        msg = f"symmetries must name an entry of params, from 0 to {params.size - 1}; got {part}"
        raise ValueError(msg)
    return params.ravel()[part]


def _known(part, leaves):
    if str(part) not in leaves:
        names = ", ".join(map(repr, leaves)) if list(leaves) != [""] else "no names: params is one array"
        msg = f"symmetries must name leaves of params, which has {names}; got {part!r}"
        raise ValueError(msg)
    return str(part)


def zeros(params: Params) -> Params:
    """A pytree like params of zeros."""
    return jax.tree.map(jnp.zeros_like, params)
