"""Division by what may be zero, in values and in derivatives: test, make safe, divide, select.

| function | what it returns |
|---|---|
| `divisor` | what a number is divided by: itself where it is positive, else 1 |
| `divided` | a / b where that is asked for, 0 elsewhere |
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def divisor(b: jax.Array) -> jax.Array:
    """Where b > 0, b; elsewhere 1, as for the length of a vector that is 0.

    >>> divisor(jnp.array([2.0, 0.0])).tolist()
    [2.0, 1.0]
    """
    return jnp.where(b > 0, b, 1)


def divided(a: ArrayLike, b: jax.Array, where: jax.Array | None = None) -> jax.Array:
    """A / b, and 0 where not `where`, by default where not b > 0; its derivatives there are 0 too.

    >>> divided(6.0, jnp.array([2.0, 0.0, -3.0])).tolist()
    [3.0, 0.0, 0.0]
    """
    where = b > 0 if where is None else where
    return jnp.where(where, a / jnp.where(where, b, 1), 0)
