"""What arguments may be, and the one sentence that is raised where they are something else.

    <name> must be <what is allowed>; got <what came>

| function | what it returns |
|---|---|
| `number`, `tolerance` | a real number, or an array of them, in an interval; the same >= 0, or None |
| `whole` | a whole number within bounds |
| `choice` | one of several words |
| `prng_key` | a PRNG key; that of seed 0 for None |
| `alike` | a pytree like params |
| `function`, `transformation` | a function; nothing, but raises for what is no optimizer |

Values of arrays and tracers are data and go through unread; their kind is looked at.
"""

import math
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gdlab.ground.leaves import shown


def number(name: str, value: ArrayLike, interval: str = "(0, inf)") -> ArrayLike:
    """The value; TypeError for what is no real number or array of them, ValueError for a number outside the interval.

    >>> number("radius", 0.5), number("confidence", 0.99, "(0, 1)")
    (0.5, 0.99)
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        low, high = map(float, interval[1:-1].split(","))
        beyond = value < low or value > high or math.isnan(value)
        if beyond or (value == low and interval[0] == "(") or (value == high and interval[-1] == ")"):
            msg = f"{name} must lie in {interval}; got {float(value):g}"
            raise ValueError(msg)
        return value
    real = isinstance(value, jax.Array | np.ndarray) and any(
        jnp.issubdtype(value.dtype, kind) for kind in (jnp.floating, jnp.integer)
    )
    if not real:
        msg = f"{name} must be a real number or an array of them; got {shown(value)}"
        raise TypeError(msg)
    return value


def tolerance(name: str, value: ArrayLike | None) -> ArrayLike | None:
    """None, which stands for a default, or a number >= 0."""
    return None if value is None else number(name, value, "[0, inf)")


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """The value as an int; ValueError for what is no whole number from `least` to `most`."""
    integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not integer or not least <= value <= (value if most is None else most):
        allowed = f"at least {least}" if most is None else f"from {least} to {most}"
        msg = f"{name} must be a whole number, {allowed}; got {shown(value)}"
        raise ValueError(msg)
    return int(value)


def choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """The value, if it is one of the choices."""
    if not any(value is one or (type(value) is type(one) and value == one) for one in choices):
        *others, last = map(repr, choices)
        msg = f"{name} must be {', '.join(others)} or {last}; got {shown(value)}"
        raise ValueError(msg)
    return value


def prng_key(value: jax.Array | None) -> jax.Array:
    """The value, if it is a single PRNG key of either kind; `jax.random.key(0)` for None."""
    if value is None:
        return jax.random.key(0)
    array = isinstance(value, jax.Array | np.ndarray)
    new = array and jnp.issubdtype(value.dtype, jax.dtypes.prng_key) and value.ndim == 0
    old = array and value.dtype == jnp.uint32 and value.ndim == 1
    if not (new or old):
        msg = f"key must be a PRNG key, such as jax.random.key(0); got {shown(value)}"
        raise TypeError(msg)
    return value


def transformation(optimizer: Any) -> None:
    """Raise TypeError for an optimizer that has not both `init` and `update`."""
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        msg = f"optimizer must be optax-compatible, such as optax.sgd(0.1); got {shown(optimizer)}"
        raise TypeError(msg)


def alike(name: str, tree: Any, params: Any) -> Any:
    """The pytree in the dtypes of params; ValueError where its structure or a shape differs from theirs."""
    (here, shapes), (there, wanted) = (
        (str(jax.tree.structure(one)), [jnp.shape(leaf) for leaf in jax.tree.leaves(one)]) for one in (tree, params)
    )
    if here != there or shapes != wanted:
        msg = f"{name} must be like params, {there} with shapes {wanted}; got {here} with shapes {shapes}"
        raise ValueError(msg)
    if any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(tree)):
        msg = f"{name} must be real, like params; got complex numbers"
        raise TypeError(msg)
    return jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), tree, params)


def function(name: str, value: Any) -> Callable[..., Any]:
    """The value, if it can be called."""
    if not callable(value):
        msg = f"{name} must be a function; got {shown(value)}"
        raise TypeError(msg)
    return value
