"""Newton's method at the end of a search for critical points, judged in a way that soft directions count in.

    p = -H^-1 g,     q = -H^-1 g(theta + s p),     taken where |q| < (1 - s / 4) |p|,  else a quarter of s is tried

H is that of theta in both (the natural monotonicity test, Deuflhard 2004, section 3.3): |g| hears the stiff directions
alone, while |p| is a distance.  Along eigenvalues within rounding there is no step.

| name | what it is |
|---|---|
| `refined` | one step |
| `undamped` | Newton's step in coordinates |
| `short_way` | the distance within which points are the same |
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hessian.numerics import divided, divisor
from hessian.spectra.lanczos import length
from hessian.steps.eigenbasis import Modes

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


def undamped(found: Modes, along: jax.Array) -> jax.Array:
    """Newton's step in coordinates, along every mode whose curvature is known."""
    return divided(-along, found.values, jnp.abs(found.values) > found.band)


def refined(
    found: Modes, slope: Callable[[jax.Array], jax.Array], state: Refining, reach: jax.Array, furthest: float
) -> Refining:
    """After a share of Newton's step, within a share of the reach: it is taken where the next one is shorter."""
    p = undamped(found, found.along)
    size = length(p)
    share = jnp.minimum(state.share, furthest * reach / divisor(size))
    theta = state.theta + share * found.step(p)
    gradient = slope(theta)
    with jax.default_matmul_precision("highest"):
        following = length(undamped(found, found.vectors @ gradient))
    good = following < (1 - share / 4) * size
    theta, gradient = jnp.where(good, theta, state.theta), jnp.where(good, gradient, state.gradient)
    # A step that is short already fails by rounding, not by curvature: a share of it would do no better.
    short = size <= short_way(reach)
    going = (good | ((size > short_way(reach)) & (share >= SMALLEST))) & (state.left > 1)
    share = jnp.where(good, jnp.minimum(1, 4 * share), share / 4)
    return Refining(going, state.left - 1, theta, gradient, share, short)


def short_way(reach: jax.Array) -> jax.Array:
    """The distance within which points are the same."""
    return TOLERANCE[reach.dtype == jnp.float64] * reach
