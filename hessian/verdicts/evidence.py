"""What is known about the critical point near theta: intervals for the ends of the spectrum, and certain signs.

A run stops beside a critical point, not on it, and what counts is the point.  In the eigenvectors u_i of H a direction
has curvature lambda_i, slope a_i = u_i.g and Newton's step p_i = -a_i / lambda_i, undamped.  Its sign is certain where

    |lambda_i| > tau = max(50 eps |H|, the rounding of H)      and      H changes by at most a twentieth on the way

and theta is critical where every direction is: Newton's step is short, or the slope is rounding,

    |p_i| <= 1e-6 (1 + |theta|)      or      |a_i| <= the rounding of the gradient

In directions without a certain sign Newton's step says little; there it is enough that no decrease that counts is left.
All of this is certain to rounding and to the looks that were taken, and no proof.

| function | what it returns |
|---|---|
| `dense` | evidence from all eigenvalues, and from how they change: `hessian.verdicts.drift` |

Without the matrix: `hessian.verdicts.krylov_evidence`.  What is near, and what is zero: `hessian.tolerances`.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from hessian.numerics import divided, divisor
from hessian.product import Loss, Params, gradient, matrix
from hessian.roundoff import SAFETY, spread
from hessian.spectra import lanczos
from hessian.spectra.eigh import eigh
from hessian.tolerances import allowed, band, near
from hessian.verdicts.drift import DRIFT, Drift, Frame, drift

DRAWS = 8  # samples of rounding that a Hessian of one row takes; larger ones hold more numbers each
LOOKS = 4  # of eight gradients on the way, as products; the 16 where curvature changes are not counted


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
    products: jax.Array  # two gradients count as one, rounding included
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
        draws = -(-DRAWS // n) + 1
        errors, products = spread(loss, params, args, draws)
        along, errors = slope(theta) @ basis, SAFETY * _rms(errors @ basis)
        blur = jnp.linalg.norm(_rms(products))  # about the norm of the error of H, for small n; else half of it
        size = jnp.max(jnp.abs(values))
        eps = jnp.finfo(theta.dtype).eps
        zero = band(size, blur, curvature_tol)
        frame = Frame(theta, along, values, basis, jnp.abs(values) > zero, errors, 4 * (blur / n**0.5 + eps * size))
        strict, loose = allowed(theta, loss(params, *args), values, frame.seen, errors, near(theta))
        norm = lanczos.length(along)
        candidate = jnp.all(jnp.abs(along) <= loose) if gradient_tol is None else norm <= gradient_tol
        nothing = Drift(jnp.zeros_like(values), jnp.bool_(False), jnp.bool_(True))
        found = jax.lax.cond(candidate, lambda: drift(frame, slope, curvature), lambda: nothing)

    certain = frame.seen & (found.relative <= DRIFT)
    slopes = jnp.where(certain, strict, loose)
    excess = jnp.max(divided(jnp.abs(along), slopes), initial=0)
    excess = jnp.where(jnp.any((slopes == 0) & (along != 0)), jnp.inf, excess)
    usual = near(theta) * size
    tolerance = jnp.where(excess > 0, norm / divisor(excess), usual) if gradient_tol is None else gradient_tol
    sizes = jnp.abs(values)
    tau = zero + jnp.where(certain, found.relative * sizes, jnp.where(frame.seen, sizes, 0))
    lowest, highest = (
        Eigenpair(values[i], unravel(basis[:, i]), values[i] - tau[i], values[i] + tau[i]) for i in (0, n - 1)
    )
    positive, negative = (jnp.sum(certain & (side > 0), dtype=jnp.int32) for side in (values, -values))
    step = divided(-along, values, frame.seen)
    change = jnp.max(jnp.where(frame.seen, found.relative, 0))
    flat = ~found.kink & found.converging
    return Evidence(
        norm, jnp.asarray(tolerance, theta.dtype), jnp.asarray(zero, theta.dtype), lowest, highest, positive, negative,
        jnp.bool_(True), flat, found.kink, change, jnp.bool_(True),
        jnp.sqrt(jnp.abs(along @ step)), lanczos.length(step),
        jnp.int32(n + 2 * draws) + jnp.where(candidate, 3 * n + LOOKS, 0),
        jnp.isfinite(norm) & jnp.isfinite(size) & jnp.isfinite(blur),
    )  # fmt: skip


def _rms(samples: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(samples**2, axis=0))
