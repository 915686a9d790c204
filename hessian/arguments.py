"""Checks of arguments of verdicts, in the form and beside the checks of `gdlab.ground.checks`.

| function | what it returns |
|---|---|
| `tolerance` | a real number >= 0 or an array of them, or None |
| `alike` | a pytree like params, in their dtypes |
| `transformation` | nothing, but raises for what is no optimizer |
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gdlab.ground import checks
from gdlab.ground.leaves import shown


def tolerance(name: str, value: ArrayLike | None) -> ArrayLike | None:
    """None, which stands for a default, or a number >= 0."""
    return None if value is None else checks.number(name, value, "[0, inf)")


def transformation(optimizer: Any) -> None:
    """Raise TypeError for an optimizer that has not both `init` and `update`."""
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        msg = f"optimizer must be optax-compatible, such as optax.sgd(0.1); got {shown(optimizer)}"
        raise TypeError(msg)


def alike(name: str, tree: Any, params: Any) -> Any:
    """The pytree in the dtypes of params; ValueError where its structure or a shape differs from theirs."""
    checks.alike(name, tree, params)
    if any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(tree)):
        msg = f"{name} must be real, like params; got complex numbers"
        raise TypeError(msg)
    return jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), tree, params)
