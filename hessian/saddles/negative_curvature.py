"""One check of the curvature, and the step along a direction in which it is negative.

A Krylov space gives the first direction u along which the curvature is clearly negative: u.H u < -tol, or the loss
itself falls to both sides by more than its rounding.  The step is +-length u, where a line search finds the loss lower.
"""

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from hessian.numerics import curvature_rounding, length_scale
from hessian.precision import Storage
from hessian.product import Loss, Params, flat_product
from hessian.saddles.escape import Escape, line_search_along
from hessian.steps.acceptance import smallest_visible_step
from hessian.steps.eigenbasis import lowest_direction
from hessian.steps.second_order import Flat

SECOND_DIFFERENCE = 32  # the rounding of a second difference of losses, in eps |loss|
NUM_MATVECS = 40  # with the Hessian, at most, for one check


def negative_curvature_step(
    loss: Loss,
    params: Params,
    args: tuple,
    curvature_tol: ArrayLike | None,
    key: jax.Array,
    num_matvecs: int,
    stored: Storage | None = None,
) -> tuple[Escape, jax.Array]:
    """The step along the first clear direction of negative curvature, and the number of products that it took."""
    theta, unravel = ravel_pytree(params)
    _, direction, spectral_norm, used = lowest_direction(loss, params, args, key, num_matvecs)
    with jax.default_matmul_precision("highest"):
        value = direction @ flat_product(loss, params, *args)(direction)
    tol = curvature_tol
    if tol is None:
        tol = jnp.where(
            _bends_down(Flat(loss, unravel, args), theta, direction, value), 0, curvature_rounding(spectral_norm)
        )
    return line_search_along(loss, params, args, tol, unravel(direction), value, spectral_norm, stored), used + 1


def _bends_down(flat, theta, direction, curvature):
    """Whether the loss itself shows this negative curvature, by more than rounding, where eps |H| would hide it."""
    eps = jnp.finfo(theta.dtype).eps
    reach = length_scale(theta)
    here = flat(theta)
    length = jnp.clip(smallest_visible_step(here, curvature), eps ** (1 / 4) * reach, reach)
    ahead, behind = flat(theta + length * direction), flat(theta - length * direction)
    noise = SECOND_DIFFERENCE * eps * jnp.maximum(jnp.abs(here), jnp.maximum(jnp.abs(ahead), jnp.abs(behind)))
    return (ahead - here) + (behind - here) < jnp.minimum(-noise, curvature * length**2 / 4)
