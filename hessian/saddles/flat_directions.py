"""A search for a lower point along the flat directions of a degenerate critical point, where second order says nothing.

    x = theta + t u,   H u = 0,  |u| = 1,  both signs and two lengths t;      x' = x - H^+ grad L(x)

x' lies on the floor of a curved valley: Peano's (y - x^2)(y - 2 x^2) falls along no straight line.  The directions are
random, so finding nothing proves nothing.  A point counts as lower only where the gradient, the rounding of the
curvature and that of the loss cannot explain the difference.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from hessian.numerics import divisor, length_scale, newton_coordinates
from hessian.product import slope_of
from hessian.steps.eigenbasis import eigenbasis

DIRECTIONS = 8
LENGTHS = (1e-2, 1e-1)  # in units of 1 + |theta|
CERTAIN = 128  # a decrease of this many eps |loss|, beside what the slope explains, is no rounding
POINTS = 2 * DIRECTIONS * len(LENGTHS)


def probe_flat_directions(
    loss: Callable[[jax.Array], jax.Array], theta: jax.Array, value: jax.Array, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The lowest point found near theta, shape (n,), and its loss; theta itself where none is certainly lower.

    It takes one dense Hessian, a gradient at each of `POINTS` points and their losses, twice.
    """
    gradient = slope_of(loss)(theta)
    found = eigenbasis(loss, theta, gradient, None, key)
    eps = jnp.finfo(theta.dtype).eps
    scale = length_scale(theta)
    spectral_norm = jnp.max(jnp.abs(found.values))
    flat = jnp.abs(found.values) <= eps ** (1 / 4) * spectral_norm

    u = jax.random.normal(key, (DIRECTIONS, theta.size), theta.dtype) * flat
    lengths = jnp.linalg.norm(u, axis=1, keepdims=True)
    u = u / divisor(lengths)
    steps = jnp.concatenate([side * length * scale * u for side in (1, -1) for length in LENGTHS])

    def improved(p):
        there = theta + found.step(p)
        slopes = found.vectors @ slope_of(loss)(there)
        back = newton_coordinates(found.values, slopes, ~flat)
        points = jnp.stack([there, there + found.step(back)])
        values = jax.vmap(loss)(points)
        moved = jnp.linalg.norm(points - theta, axis=1)
        explained = 2 * jnp.linalg.norm(gradient) * moved + 2 * found.band * moved**2
        certain = values < value - explained - CERTAIN * eps * jnp.abs(value)
        return points, jnp.where(certain, values, jnp.inf)

    points, values = jax.lax.map(improved, steps, batch_size=POINTS)
    best = jnp.argmin(values)
    reached = values.ravel()[best]
    lower = jnp.isfinite(reached)
    return jnp.where(lower, points.reshape(-1, theta.size)[best], theta), jnp.where(lower, reached, value)
