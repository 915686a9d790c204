"""When a point is critical, and which curvature is zero: the tolerances that verdicts, searches and steps share.

    distance    |p_i| = |a_i / lambda_i| <= 1e-6 (1 + |theta|)         Newton's step along each eigenvector, undamped
    decrease    |a_i p_i| <= eps min(1 + |L|, |H| (1 + |theta|)^2)     a decrease that does not count
    zero band   |lambda_i| <= max(50 eps |H|, the rounding of H)       no sign

The norm of the gradient cannot decide alone: sqrt(eps) |H| is a long way to go along a soft direction, and a clear
slope along a flat one.

| function | what it returns |
|---|---|
| `distance_tol` | the length of Newton's step at which a critical point is near |
| `slope_tols` | the slope along each eigenvector at which it is critical, with a certain sign and without |
| `negligible_decrease` | a decrease of the loss that does not count |
| `zero_band` | half the width of the band in which eigenvalues have no sign |
"""

from typing import Any

import jax
import jax.numpy as jnp

from hessian.numerics import curvature_rounding, length_scale
from hessian.roundoff import SAFETY

DISTANCE_TOL = 1e-6  # in units of 1 + |theta|; in single precision sqrt(eps), which is more


def distance_tol(theta: jax.Array) -> jax.Array:
    """The length of Newton's step at which a critical point is near: 1e-6 (1 + |theta|), or sqrt(eps) of that."""
    return max(DISTANCE_TOL, float(jnp.finfo(theta.dtype).eps) ** 0.5) * length_scale(theta)


def negligible_decrease(theta: jax.Array, value: jax.Array, spectral_norm: jax.Array) -> jax.Array:
    """The largest decrease of the loss that does not count: eps of the loss, or of |H| (1 + |theta|)^2 if less."""
    return jnp.finfo(theta.dtype).eps * jnp.minimum(1 + jnp.abs(value), spectral_norm * length_scale(theta) ** 2)


def slope_tols(
    theta: jax.Array,
    value: jax.Array,
    values: jax.Array,
    seen: jax.Array,
    gradient_error: jax.Array | float,
    distance: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The slope at which each eigendirection is critical, shape (n,): where its sign is certain, and where it is not.

    Args:
        theta: the point, shape (n,).
        value: the loss there.
        values: the eigenvalues, shape (n,).
        seen: which of them lie outside the zero band.
        gradient_error: the rounding of the slopes.
        distance: the length up to which Newton's step is short.
    """
    sizes = jnp.abs(values)
    certain = jnp.maximum(distance * sizes, gradient_error)
    decrease = negligible_decrease(theta, value, jnp.max(sizes))
    return certain, jnp.maximum(certain, jnp.where(seen, jnp.sqrt(decrease * sizes), decrease / length_scale(theta)))


def zero_band(spectral_norm: jax.Array, blur: jax.Array, curvature_tol: Any) -> jax.Array:
    """Half the width of the zero band: `curvature_tol`, or by default the rounding of |H| and of its summed terms."""
    return jnp.maximum(curvature_rounding(spectral_norm), SAFETY * blur) if curvature_tol is None else curvature_tol
