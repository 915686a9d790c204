"""Division by what may be zero, in values and in derivatives (test, make safe, divide, select), and bisection.

| function | what it returns |
|---|---|
| `divisor` | what a number is divided by: itself where it is positive, else 1 |
| `divided` | a / b where that is asked for, 0 elsewhere |
| `newton_coordinates` | Newton's step along eigenvectors |
| `bisect` | the interval that holds the point where a condition ends |
| `curvature_rounding` | the size up to which the sign of an eigenvalue is rounding |
| `unit`, `length`, `length_scale` | a direction, its Euclidean length, and what distances are measured against |
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from hessian.limits import CURVATURE_ROUNDING


def divisor(b: jax.Array) -> jax.Array:
    """Where b > 0, b; elsewhere 1, as for the length of a vector that is 0.

    >>> divisor(jnp.array([2.0, 0.0])).tolist()
    [2.0, 1.0]
    """
    return jnp.where(b > 0, b, 1)


def divided(a: ArrayLike, b: jax.Array, where: jax.Array | None = None) -> jax.Array:
    """The ratio a / b, and 0 where not `where`, by default where not b > 0; its derivatives there are 0 too.

    >>> divided(6.0, jnp.array([2.0, 0.0, -3.0])).tolist()
    [3.0, 0.0, 0.0]
    """
    where = b > 0 if where is None else where
    return jnp.where(where, a / jnp.where(where, b, 1), 0)


def newton_coordinates(values: jax.Array, slopes: jax.Array, where: jax.Array) -> jax.Array:
    """Newton's step along eigenvectors, -slope / eigenvalue, and 0 where not `where`.

    >>> newton_coordinates(jnp.array([2.0, 1e-17]), jnp.array([6.0, 1.0]), jnp.array([True, False])).tolist()
    [-3.0, 0.0]
    """
    return divided(-slopes, values, where)


def bisect(
    below: Callable[[jax.Array], jax.Array], low: jax.Array, high: jax.Array, halvings: int
) -> tuple[jax.Array, jax.Array]:
    """(low, high) after so many halvings, where `below` holds at low and not at high.

    >>> low, high = bisect(lambda x: x**2 < 9, jnp.array(0.0), jnp.array(8.0), 20)
    >>> round(float(low), 4), round(float(high), 4)
    (3.0, 3.0)
    """

    def halve(_, interval):
        low, high = interval
        middle = low + (high - low) / 2
        is_below = below(middle)
        return jnp.where(is_below, middle, low), jnp.where(is_below, high, middle)

    return jax.lax.fori_loop(0, halvings, halve, (low, high))


def curvature_rounding(eigenvalues: jax.Array) -> jax.Array:
    """The half width of the band in which the sign of an eigenvalue is rounding: 50 eps |H|."""
    return CURVATURE_ROUNDING * jnp.finfo(eigenvalues.dtype).eps * jnp.max(jnp.abs(eigenvalues))


def unit(vector: jax.Array) -> jax.Array:
    """The vector divided by its length; 0 for 0, which is all that is left when a basis spans the whole space."""
    return vector / divisor(length(vector))


def length(vector: jax.Array) -> jax.Array:
    """The Euclidean length, also where squares would underflow or overflow; 0 for 0."""
    largest = jnp.max(jnp.abs(vector))
    return largest * jnp.linalg.norm(vector / divisor(largest))


def length_scale(theta: jax.Array) -> jax.Array:
    """What a distance from theta is measured against, 1 + |theta|: nothing at 0 is infinitely far."""
    return 1 + length(theta)
