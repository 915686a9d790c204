"""The evidence on the critical point near theta: intervals for the ends of the spectrum, and certain signs.

A run stops beside a critical point, not on it, and the verdict is on the point.  Along the eigenvector u_i of H the
curvature is lambda_i, the slope a_i = u_i.g and Newton's step p_i = -a_i / lambda_i, undamped.  A sign is certain where

    |lambda_i| > tau = max(50 eps |H|, the rounding of H)      and      H changes by at most a twentieth on the way

and theta is critical where along every eigenvector Newton's step is short, or the slope is rounding,

    |p_i| <= 1e-6 (1 + |theta|)      or      |a_i| <= the rounding of the gradient

Along an eigenvector without a certain sign Newton's step says little; there the remaining decrease must be negligible.
All of this is certain to rounding and to the points that were tested; it is no proof.

| function | what it returns |
|---|---|
| `dense` | evidence from all eigenvalues, and from how they change: `hessian.verdicts.drift` |

Without the matrix: `hessian.verdicts.krylov_evidence`.  The tolerances: `hessian.tolerances`.
"""

from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from gdlab.ground.results import digits, result
from hessian.bounds import Face
from hessian.compiled import compiled
from hessian.numerics import divided, divisor, length, newton_coordinates
from hessian.precision import Tree
from hessian.product import Loss, Params, gradient, matrix
from hessian.roundoff import SAFETY, spread
from hessian.spectra.eigh import eigh
from hessian.symmetry.slices import Orbit, across
from hessian.tolerances import distance_tol, slope_tols, zero_band
from hessian.verdicts.drift import MAX_DRIFT, Drift, Frame, drift

DRAWS = 8  # samples of rounding for a Hessian of one row; larger ones take fewer, since each holds more numbers
GRADIENTS = 4  # eight gradients on the way, counted as products; the 16 where curvature changes are not counted


@result
class Eigenpair(NamedTuple, Generic[Tree]):
    """An eigenvalue at the end of the spectrum, its eigenvector, and the interval that holds it."""

    value: jax.Array  # the estimate
    vector: Tree  # like params, of length 1
    low: jax.Array  # bounds that hold at the critical point as well; the outer one of a matrix-free end
    high: jax.Array  # holds with the confidence of the evidence

    def _words(self) -> str:
        return f"{digits(self.value)} in [{digits(self.low)}, {digits(self.high)}]"


class Evidence(NamedTuple):
    """What gradient and curvature say about one point; a pytree of arrays."""

    gradient_norm: jax.Array
    gradient_tol: jax.Array
    curvature_tol: jax.Array  # tau, half the width of the zero band
    lowest: Eigenpair
    highest: Eigenpair
    positive: jax.Array  # how many eigenvalues are certain to be positive
    negative: jax.Array  # ... to be negative
    complete: jax.Array  # bool: all eigenvalues are known
    flat: jax.Array  # bool: eigenvalues without a certain sign are zero, as far as can be told
    kink: jax.Array  # bool: gradient or Hessian jump at theta
    change: jax.Array  # of curvature on the way to the critical point, relative to the curvature
    settled: jax.Array  # bool: it is known whether a critical point is near
    decrement: jax.Array  # Newton decrement, sqrt(|g.p|)
    distance: jax.Array  # |p|: to the critical point, at most about
    step: jax.Array  # p, shape (n,)
    num_matvecs: jax.Array  # two gradients count as one, rounding included
    finite: jax.Array  # bool


@compiled(static_argnames=("loss", "chunk"))
def dense(
    loss: Loss,
    params: Params,
    args: tuple,
    gradient_tol: Any,
    curvature_tol: Any,
    orbit: Orbit | Face | None = None,
    chunk: int = 64,
) -> Evidence:
    """Evidence from the dense matrix; where the loss is that of a slice across an orbit, on what lies off that."""
    theta, unravel = ravel_pytree(params)
    n = theta.size

    def gradient_at(x):
        return ravel_pytree(gradient(loss, unravel(x), *args))[0]

    def curvature(x):
        return matrix(loss, unravel(x), *args, chunk=chunk)

    with jax.default_matmul_precision("highest"):
        values, basis = eigh(curvature(theta)) if orbit is None else across(curvature(theta), orbit)
        draws = -(-DRAWS // n) + 1
        errors, products = spread(loss, params, args, draws)
        projections, errors = gradient_at(theta) @ basis, SAFETY * _rms(errors @ basis)
        blur = jnp.linalg.norm(_rms(products))  # about the norm of the error of H, for small n; else half of it
        spectral_norm = jnp.max(jnp.abs(values))
        eps = jnp.finfo(theta.dtype).eps
        zero = zero_band(spectral_norm, blur, curvature_tol)
        frame = Frame(
            theta=theta, gradient=projections, values=values, basis=basis, seen=jnp.abs(values) > zero,
            gradient_error=errors, entry_error=4 * (blur / n**0.5 + eps * spectral_norm),
        )  # fmt: skip
        strict, loose = slope_tols(theta, loss(params, *args), values, frame.seen, errors, distance_tol(theta))
        norm = length(projections)
        candidate = jnp.all(jnp.abs(projections) <= loose) if gradient_tol is None else norm <= gradient_tol
        nothing = Drift(jnp.zeros_like(values), jnp.bool_(False), jnp.bool_(True))
        found = jax.lax.cond(candidate, lambda: drift(frame, gradient_at, curvature), lambda: nothing)

    certain = frame.seen & (found.relative <= MAX_DRIFT)
    slopes = jnp.where(certain, strict, loose)
    excess = jnp.max(divided(jnp.abs(projections), slopes), initial=0)
    excess = jnp.where(jnp.any((slopes == 0) & (projections != 0)), jnp.inf, excess)
    usual = distance_tol(theta) * spectral_norm
    tolerance = jnp.where(excess > 0, norm / divisor(excess), usual) if gradient_tol is None else gradient_tol
    sizes = jnp.abs(values)
    tau = zero + jnp.where(certain, found.relative * sizes, jnp.where(frame.seen, sizes, 0))
    last = n - 1 if orbit is None else jnp.maximum(n - orbit.dimension, 1) - 1
    lowest, highest = (
        Eigenpair(values[i], unravel(basis[:, i]), values[i] - tau[i], values[i] + tau[i]) for i in (0, last)
    )
    positive, negative = (jnp.sum(certain & (side > 0), dtype=jnp.int32) for side in (values, -values))
    step = newton_coordinates(values, projections, frame.seen)
    change = jnp.max(jnp.where(frame.seen, found.relative, 0))
    flat = ~found.kink & found.converging
    return Evidence(
        gradient_norm=norm, gradient_tol=jnp.asarray(tolerance, theta.dtype),
        curvature_tol=jnp.asarray(zero, theta.dtype), lowest=lowest, highest=highest, positive=positive,
        negative=negative, complete=jnp.bool_(True), flat=flat, kink=found.kink, change=change,
        settled=jnp.bool_(True), decrement=jnp.sqrt(jnp.abs(projections @ step)), distance=length(step),
        step=basis @ step, num_matvecs=jnp.int32(n + 2 * draws) + jnp.where(candidate, 3 * n + GRADIENTS, 0),
        finite=jnp.isfinite(norm) & jnp.isfinite(spectral_norm) & jnp.isfinite(blur),
    )  # fmt: skip


def _rms(samples: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(samples**2, axis=0))
