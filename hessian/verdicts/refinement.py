"""Newton's method at the end of a search for critical points, with a test that counts soft directions as well.

    p = -H^-1 g,     q = -H^-1 g(theta + s p),     taken where |q| < (1 - s / 4) |p|,  else a quarter of s is tried

H is that of theta in both (the natural monotonicity test, Deuflhard 2004, section 3.3): |g| mostly measures the stiff
directions, while |p| is a distance.  Along eigenvalues within rounding there is no step.

| name | what it returns |
|---|---|
| `refine` | the state after one step |
| `same_point_distance` | the distance within which points count as the same |
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from hessian.numerics import divisor, length
from hessian.steps.eigenbasis import Eigenbasis

SMALLEST = 1e-4  # share of Newton's step below which none shortens the next one
TOLERANCE = {True: 1e-5, False: 1e-2}  # relative distance at which points are the same: in float64, and below


class Refining(NamedTuple):
    """The state of the refinement; its loop reads only `going`."""

    going: jax.Array  # bool
    left: jax.Array  # steps that may still be taken
    theta: jax.Array
    gradient: jax.Array
    share: jax.Array  # of Newton's step that is tried next
    short: jax.Array  # bool: the last one was short


def refine(
    found: Eigenbasis,
    gradient_at: Callable[[jax.Array], jax.Array],
    state: Refining,
    length_scale: jax.Array,
    furthest: ArrayLike,
) -> Refining:
    """The state after a share of Newton's step, at most `furthest` length scales long, if the next one is shorter."""
    p = found.newton(found.projections)
    size = length(p)
    share = jnp.minimum(state.share, furthest * length_scale / divisor(size))
    theta = state.theta + share * found.step(p)
    gradient = gradient_at(theta)
    with jax.default_matmul_precision("highest"):
        following = length(found.newton(found.vectors @ gradient))
    good = following < (1 - share / 4) * size
    theta, gradient = jnp.where(good, theta, state.theta), jnp.where(good, gradient, state.gradient)
    # A step that is short already fails by rounding, not by curvature: a share of it would do no better.
    short = size <= same_point_distance(length_scale)
    going = (good | ((size > same_point_distance(length_scale)) & (share >= SMALLEST))) & (state.left > 1)
    share = jnp.where(good, jnp.minimum(1, 4 * share), share / 4)
    return Refining(going=going, left=state.left - 1, theta=theta, gradient=gradient, share=share, short=short)


def same_point_distance(length_scale: jax.Array) -> jax.Array:
    """The distance within which points count as the same."""
    return TOLERANCE[length_scale.dtype == jnp.float64] * length_scale
