"""What is known about the critical point near theta: intervals for the ends of the spectrum, and certain signs.

A run stops beside a critical point, not on it, and what counts is the point.  In the eigenvectors u_i of H a direction
has curvature lambda_i, slope a_i = u_i.g and Newton's step p_i = -a_i / lambda_i, undamped.  Its sign is certain where

    |lambda_i| > tau = max(50 eps |H|, the rounding of H)      and      H changes by at most a twentieth on the way

and theta is critical where every direction is: Newton's step is short, or the slope is rounding,

    |p_i| <= 1e-6 (1 + |theta|)      or      |a_i| <= the rounding of the gradient

In directions without a certain sign Newton's step says little; there, it is enough that no decrease is left that counts.
All of this is certain to rounding and to the looks that were taken, and no proof.

| function | what it returns |
|---|---|
| `dense` | evidence from all eigenvalues, and from how they change: `hessian.drift` |
| `band_of`, `uncounted` | what rounding hides of curvature, and a decrease of the loss that does not count |

Without the matrix: `hessian.krylov_evidence`.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from hessian import lanczos
from hessian.division import divided, divisor
from hessian.drift import DRIFT, Drift, Frame, drift
from hessian.product import Loss, Params, gradient, matrix
from hessian.roundoff import spread
from hessian.spectrum import rounding
from hessian.symmetric import eigh

DRAWS = 8  # samples of rounding that a Hessian of one row takes; larger ones hold more numbers each
SAFETY = 10  # how many times its spread rounding may be
LIKE_A_POWER = 30  # the largest relative change of curvature that x^k = 0 can make: e^2.6, in two directions
CLOSE = 1e-6  # how near a critical point is, in units of 1 + |theta|; at least sqrt(eps)


class Eigenpair(NamedTuple):
    """An eigenvalue at the end of the spectrum, its eigenvector, and the interval that holds it."""

    value: jax.Array
    vector: Params  # like params, of length 1
    low: jax.Array  # bounds that hold at the critical point, too; what lies beyond the last Ritz value
    high: jax.Array  # holds at the confidence of the evidence


class Evidence(NamedTuple):
    """What one point's gradient and curvature say; a pytree of arrays."""

    gradient_norm: jax.Array
    gradient_tol: jax.Array
    curvature_tol: jax.Array  # the part of the band that is rounding
    lowest: Eigenpair
    highest: Eigenpair
    positive: jax.Array  # how many eigenvalues are certain to be positive
    negative: jax.Array  # ... to be negative
    complete: jax.Array  # bool: there are no eigenvalues that were not seen
    flat: jax.Array  # bool: what has no certain sign is zero, as far as can be told
    kink: jax.Array  # bool: gradient or Hessian jump at theta
    change: jax.Array  # of curvature on the way to the critical point, relative to the curvature
    settled: jax.Array  # bool: it is known whether a critical point is near
    decrement: jax.Array  # Newton decrement, sqrt(|g.p|)
    distance: jax.Array  # |p|: how far the critical point may be
    products: jax.Array
    finite: jax.Array  # bool


@partial(jax.jit, static_argnames=("loss", "chunk"))
def dense(loss: Loss, params: Params, args: tuple, gradient_tol: Any, curvature_tol: Any, chunk: int = 64) -> Evidence:
    """Evidence from the dense matrix."""
    theta, unravel = ravel_pytree(params)
    n = theta.size

    def slope(x):
        return ravel_pytree(gradient(loss, unravel(x), *args))[0]

    def curvature(x):
        return matrix(loss, unravel(x), *args, chunk=chunk)

    with jax.default_matmul_precision("highest"):
        values, basis = eigh(curvature(theta))
        errors, products = spread(loss, params, args, -(-DRAWS // n) + 1)
        along, errors = slope(theta) @ basis, SAFETY * _rms(errors @ basis)
        blur = jnp.linalg.norm(_rms(products))  # about the norm of the error of H, for small n; else half of it
        size = jnp.max(jnp.abs(values))
        eps = jnp.finfo(theta.dtype).eps
        band = band_of(size, blur, curvature_tol)
        frame = Frame(theta, along, values, basis, jnp.abs(values) > band, errors, 4 * (blur / n**0.5 + eps * size))
        loose, strict = _allowed(frame, loss(params, *args))
        norm = lanczos.length(along)
        candidate = jnp.all(jnp.abs(along) <= loose) if gradient_tol is None else norm <= gradient_tol
        nothing = Drift(jnp.zeros_like(values), jnp.bool_(False), jnp.bool_(True))
        found = jax.lax.cond(candidate, lambda: drift(frame, slope, curvature), lambda: nothing)

    certain = frame.seen & (found.relative <= DRIFT)
    allowed = jnp.where(certain, strict, loose)
    excess = jnp.max(divided(jnp.abs(along), allowed), initial=0)
    excess = jnp.where(jnp.any((allowed == 0) & (along != 0)), jnp.inf, excess)
    usual = jnp.sqrt(eps) * size * (1 + jnp.linalg.norm(theta))
    tolerance = jnp.where(excess > 0, norm / divisor(excess), usual) if gradient_tol is None else gradient_tol
    sizes = jnp.abs(values)
    tau = band + jnp.where(certain, found.relative * sizes, jnp.where(frame.seen, sizes, 0))
    lowest, highest = (
        Eigenpair(values[i], unravel(basis[:, i]), values[i] - tau[i], values[i] + tau[i]) for i in (0, n - 1)
    )
    positive, negative = (jnp.sum(certain & (side > 0), dtype=jnp.int32) for side in (values, -values))
    step = divided(-along, values, frame.seen)
    change = jnp.max(jnp.where(frame.seen, found.relative, 0))
    flat = ~found.kink & found.converging & (change <= LIKE_A_POWER)
    return Evidence(
        norm, jnp.asarray(tolerance, theta.dtype), jnp.asarray(band, theta.dtype), lowest, highest, positive, negative,
        jnp.bool_(True), flat, found.kink, change, jnp.bool_(True), jnp.sqrt(jnp.abs(along @ step)), lanczos.length(step),
        jnp.where(candidate, 8 * n, n).astype(jnp.int32), jnp.isfinite(norm) & jnp.isfinite(size) & jnp.isfinite(blur),
    )  # fmt: skip


def _allowed(frame: Frame, value: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The slope along each mode that still is critical: where its sign is not certain, and where it is."""
    reach, sizes = 1 + jnp.linalg.norm(frame.theta), jnp.abs(frame.values)
    strict = jnp.maximum(close(frame.theta) * jnp.where(frame.seen, sizes, 0), frame.gradient_error)
    unseen = uncounted(value, jnp.max(sizes), reach)
    newton = jnp.where(frame.seen, jnp.sqrt(unseen * sizes), unseen / reach)
    return jnp.maximum(strict, newton), strict


def close(theta: jax.Array) -> jax.Array:
    """The distance at which a critical point is near."""
    return max(CLOSE, jnp.finfo(theta.dtype).eps ** 0.5) * (1 + jnp.linalg.norm(theta))


def band_of(size: jax.Array, blur: jax.Array, curvature_tol: Any) -> jax.Array:
    """Half the width of the zero band: what is asked for, or else the rounding of |H| and of what was summed for it."""
    return jnp.maximum(rounding(size[None]), SAFETY * blur) if curvature_tol is None else curvature_tol


def uncounted(value: jax.Array, size: jax.Array, reach: jax.Array) -> jax.Array:
    """A decrease of the loss that does not count: eps of the loss and of what curvature makes of it over this reach."""
    return jnp.finfo(value.dtype).eps * jnp.minimum(1 + jnp.abs(value), size * reach**2)


def _rms(samples: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(samples**2, axis=0))
