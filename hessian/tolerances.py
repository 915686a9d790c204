"""When a point is critical, and which curvature is zero: the rules that verdicts and searches share.

    near        |p_i| = |a_i / lambda_i| <= 1e-6 (1 + |theta|)         Newton's step along each eigenvector, undamped
    uncounted   |a_i p_i| <= eps min(1 + |L|, |H| (1 + |theta|)^2)     a decrease that does not count
    band        |lambda_i| <= max(50 eps |H|, the rounding of H)       no sign

The gradient's norm says none of this: along a soft direction sqrt(eps) |H| is a long way, and along a flat one a slope.

| function | what it returns |
|---|---|
| `near` | the distance at which a critical point is near |
| `allowed` | the slope along each eigenvector at which it is critical, with a certain sign and without |
| `uncounted` | a decrease of the loss that does not count |
| `band` | half the width of the zero band |
"""

from typing import Any

import jax
import jax.numpy as jnp

from hessian.roundoff import SAFETY
from hessian.spectra.lanczos import length
from hessian.spectra.spectrum import rounding

NEAR = 1e-6  # in units of 1 + |theta|; in single precision sqrt(eps), which is more


def near(theta: jax.Array) -> jax.Array:
    """The distance at which a critical point is near."""
    return max(NEAR, float(jnp.finfo(theta.dtype).eps) ** 0.5) * (1 + length(theta))


def uncounted(theta: jax.Array, value: jax.Array, size: jax.Array) -> jax.Array:
    """A decrease of the loss that does not count: eps of the loss, and of what a curvature makes of |theta|."""
    return jnp.finfo(theta.dtype).eps * jnp.minimum(1 + jnp.abs(value), size * (1 + length(theta)) ** 2)


def allowed(
    theta: jax.Array,
    value: jax.Array,
    values: jax.Array,
    seen: jax.Array,
    gradient_error: jax.Array | float,
    distance: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The slope that is critical along each mode, shape (n,): where its sign is certain, and where it is not.

    `values` are the eigenvalues, `seen` says which lie outside the zero band, `gradient_error` is the slopes' rounding,
    and Newton's step is short up to this distance.
    """
    sizes = jnp.abs(values)
    certain = jnp.maximum(distance * sizes, gradient_error)
    decrease = uncounted(theta, value, jnp.max(sizes))
    return certain, jnp.maximum(certain, jnp.where(seen, jnp.sqrt(decrease * sizes), decrease / (1 + length(theta))))


def band(size: jax.Array, blur: jax.Array, curvature_tol: Any) -> jax.Array:
    """Half the width of the zero band: what is asked for, or else the rounding of |H| and of what was summed for it."""
    return jnp.maximum(rounding(size), SAFETY * blur) if curvature_tol is None else curvature_tol
