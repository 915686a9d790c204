"""Box bounds: a pair of numbers, or of pytrees like the parameters that they hold.

| function | what it returns |
|---|---|
| `sides` | the lower and the upper bound, both like params |
"""

from typing import Any

import jax
import jax.numpy as jnp

from gdlab.ground.leaves import shown

__all__ = ["sides"]


def sides(bounds: Any, params: Any) -> tuple[Any, Any] | None:
    """The box in which params stay, (lower, upper), both like params; None for None.

    Raises:
        ValueError: for what is no pair, fits no params, or holds a lower bound above the upper one, or NaN.

    >>> sides((0.0, None), {"w": jnp.ones(2)})[1]["w"].tolist()
    [inf, inf]
    """
    if bounds is None:
        return None
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        msg = f"bounds must be a pair (lower, upper), each a number, None, or a pytree like params; got {shown(bounds)}"
        raise ValueError(msg)
    lower, upper = (_bound(bound, params, far) for bound, far in zip(bounds, (-jnp.inf, jnp.inf), strict=True))
    for low, high in zip(jax.tree.leaves(lower), jax.tree.leaves(upper), strict=True):
        if not isinstance(low + high, jax.core.Tracer) and not bool(jnp.all(low <= high)):
            msg = f"bounds must have no lower bound above the upper one; got {shown(bounds)}"
            raise ValueError(msg)
    return lower, upper


def _bound(bound, params, far):
    """One side of the box, like params; `far` where there is none."""

    def spread(part, tree):
        part = far if part is None else part
        return jax.tree.map(lambda leaf: jnp.broadcast_to(jnp.asarray(part, leaf.dtype), leaf.shape), tree)

    try:
        return jax.tree.map(spread, bound, params, is_leaf=lambda part: part is None)
    except (TypeError, ValueError):
        shapes = shown(jax.tree.map(jnp.shape, params))
        msg = f"bounds must be numbers, or pytrees like params, of shape {shapes}; got {shown(bound)}"
        raise ValueError(msg) from None
