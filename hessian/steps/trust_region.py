"""The minimizer of a quadratic model under a limit on its length: the secular equation and its hard case.

    p(t)_i = -a_i / (lambda_i + base + t),     |p(t)| = limit(t),     t > 0

    in the ball |p| <= radius     base = max(0, -lambda_1),  limit = radius;  or Newton's step, where it is inside
    with weight |p|^3 / 3         base = max(0, -lambda_1),  limit = (base + t) / weight
    on the sphere |p| = radius    base = -lambda_1,          limit = radius

in the eigenbasis, where a_i is the gradient along u_i (More & Sorensen 1983).  |p(t)| falls with t, so bisection finds
the root.  Where even p(0) is too short, because the gradient has no component along u_1 (the hard case), the rest of
the length goes along u_1, to either side.

| function | what it returns |
|---|---|
| `in_ball` | the minimizer in the ball, the length left for u_1, and the length in all |
| `cubic` | the minimizer with the cubic term, and the length left for u_1 |
| `on_sphere` | the minimizer on the sphere, the sign along u_1 chosen |
| `other_leg` | the second leg of a right triangle |
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from hessian.numerics import bisect, divided, divisor, length
from hessian.steps.eigenbasis import Eigenbasis

HALVINGS = 100  # of the interval that holds t


def in_ball(found: Eigenbasis, radius: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The minimizer of the model in |p| <= radius: its coordinates, the length left for u_1, and the length in all."""
    convex = found.values[0] > found.band
    base = jnp.maximum(-found.values[0], 0)
    newton = shifted_step(found.values, found.projections, base, jnp.zeros_like(radius))
    interior = convex & (length(newton) <= radius)
    t = _on_boundary(found.values, found.projections, base, radius)
    on_boundary = shifted_step(found.values, found.projections, base, t)
    coordinates, rest = _completed(found, jnp.where(interior, newton, on_boundary), radius)
    return coordinates, rest, jnp.hypot(length(coordinates), rest)


def cubic(found: Eigenbasis, weight: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The minimizer of the model with weight |p|^3 / 3: its coordinates, and the length left for u_1."""
    base = jnp.maximum(-found.values[0], 0)
    largest = jnp.sqrt(weight) * jnp.sqrt(length(found.projections))

    def too_long(t):
        return weight * length(shifted_step(found.values, found.projections, base, t)) > base + t

    t = _secular_root(too_long, largest)
    return _completed(found, shifted_step(found.values, found.projections, base, t), base / weight)


def on_sphere(values: jax.Array, projections: jax.Array, radius: jax.Array) -> jax.Array:
    """The minimizer of the model on |p| = radius, in coordinates; `values` ascend, `projections` is the gradient."""
    t = _on_boundary(values, projections, -values[0], radius)
    p = shifted_step(values, projections, -values[0], t)
    first = other_leg(radius, length(p.at[0].set(0)))
    completed = p.at[0].set(jnp.where(projections[0] > 0, -first, first))
    return jnp.where(other_leg(radius, length(p)) > 0, completed, p)


def shifted_step(values: jax.Array, projections: jax.Array, base: jax.Array, t: jax.Array) -> jax.Array:
    """-a_i / (lambda_i + base + t), and 0 where the divisor is not positive."""
    return divided(-projections, values + base + t)


def other_leg(hypotenuse: jax.Array, leg: jax.Array) -> jax.Array:
    """The second leg of a right triangle; 0 where the difference is rounding.

    >>> round(float(other_leg(jnp.array(5.0), jnp.array(4.0))), 6)
    3.0
    """
    share = leg / divisor(hypotenuse)
    square = (1 - share) * (1 + share)
    seen = square > 100 * jnp.finfo(hypotenuse.dtype).eps
    return jnp.where(seen, hypotenuse * jnp.sqrt(jnp.where(seen, square, 1)), 0)


def _completed(found, coordinates, limit):
    """The coordinates, and the length left for u_1 where they are too short, which then have no part along it."""
    short = (found.values[0] < -found.band) & (other_leg(limit, length(coordinates)) > 0)
    # A slope along u_1 far below the others leaves a part of the way there, whose root the halvings do not resolve.
    across = coordinates.at[0].set(0)
    return jnp.where(short, across, coordinates), jnp.where(short, other_leg(limit, length(across)), 0)


def _on_boundary(values, projections, base, radius):
    """The t at which the step is as long as the radius."""
    # |p(t)| <= |a| / t, so the root lies below |a| / radius.
    largest = jnp.minimum(length(projections) / radius, jnp.finfo(radius.dtype).max)
    return _secular_root(lambda t: length(shifted_step(values, projections, base, t)) > radius, largest)


def _secular_root(too_long: Callable[[jax.Array], jax.Array], largest: jax.Array) -> jax.Array:
    """The smallest t in (0, largest] at which the step is not too long."""
    return bisect(too_long, jnp.zeros_like(largest), largest, HALVINGS)[1]
