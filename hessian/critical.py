"""Critical points, and what kind they are: the verdict, and why it is proved (S53, S55).

    gradient not zero                                             not critical
    gradient zero, eigenvalues below -tau and above tau           saddle; its index counts those below -tau
    gradient zero, all above tau                                  minimum
    gradient zero, all below -tau                                 maximum
    gradient zero, some within [-tau, tau], no opposite signs     degenerate: second order cannot tell
    not finite                                                    undetermined

"All positive: minimum, otherwise saddle" calls each minimum of (1 - w1 w2)^2 a saddle; the band around zero is why
this one does not.  Its half width tau has two parts:

    tau  =  50 eps |H|  +  2 |H(theta + p) - H(theta)|_F,      p = -H^+ g

rounding, and how much the Hessian changes on the way to the critical point that Newton's step p predicts: a sign that
does not survive that move is no proof about that point.  Near x^k = 0 the second part covers every eigenvalue.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from hessian.product import Loss, Params, check, gradient, matrix

KINDS = ("undetermined", "not critical", "minimum", "maximum", "saddle", "degenerate")
UNDETERMINED, NOT_CRITICAL, MINIMUM, MAXIMUM, SADDLE, DEGENERATE = range(len(KINDS))
ROUNDING = 50  # half width of the zero band in units of eps |H|: measured errors of Hessians stay below 14


class Inertia(NamedTuple):
    """How many eigenvalues lie above, within and below the zero band: integers that sum to n."""

    positive: jax.Array
    zero: jax.Array
    negative: jax.Array


class Eigenpair(NamedTuple):
    """An eigenvalue and its eigenvector."""

    value: jax.Array
    vector: Params  # like params, of length 1


class CriticalPoint(NamedTuple):
    """A verdict on a point; a pytree of arrays, so that `vmap` gives one for each of many points."""

    code: jax.Array  # the kind as an integer: an index of KINDS
    index: jax.Array  # type: ignore[assignment]  # Morse index: how many eigenvalues lie below the zero band
    inertia: Inertia
    gradient_norm: jax.Array
    gradient_tol: jax.Array  # a point is critical where gradient_norm <= gradient_tol
    curvature_tol: jax.Array  # tau, the half width of the zero band
    lowest: Eigenpair
    highest: Eigenpair

    @property
    def kind(self) -> Any:
        """The kind in words: a string, or an array of strings for many points.  Not inside `jit`."""
        words = np.array(KINDS)[np.asarray(self.code)]
        return str(words) if words.ndim == 0 else words

    @property
    def certificate(self) -> str:
        """Why this kind is proved, in one sentence, for one point.  Not inside `jit`."""
        g, g_tol, tau = float(self.gradient_norm), float(self.gradient_tol), float(self.curvature_tol)
        low, high = float(self.lowest.value), float(self.highest.value)
        positive, zero, negative = (int(n) for n in self.inertia)
        critical = f"|g| = {g:.2g} <= {g_tol:.2g}"
        reasons = (
            "the gradient or the Hessian is not finite",
            f"|g| = {g:.2g} > {g_tol:.2g}",
            f"{critical}, and the lowest eigenvalue {low:.6g} > {tau:.2g}",
            f"{critical}, and the highest eigenvalue {high:.6g} < -{tau:.2g}",
            f"{critical}, and eigenvalues from {low:.6g} < -{tau:.2g} to {high:.6g} > {tau:.2g}",
            f"{critical}, and of {positive + zero + negative} eigenvalues {zero} within +-{tau:.2g}, none opposite",
        )
        return f"{self.kind}: {reasons[int(self.code)]}"


def classify(
    loss: Loss,
    params: Params,
    *args: Any,
    gradient_tol: ArrayLike | None = None,
    curvature_tol: ArrayLike | None = None,
) -> CriticalPoint:
    """The kind of a point of the loss surface, with its index, inertia and extreme eigenpairs (S52-S57).

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        params: pytree of n real floating values.
        *args: further arguments of the loss.
        gradient_tol: the point is critical where the Euclidean norm of the gradient is at most this, >= 0; by default
            sqrt(eps) |H| (1 + |theta|), which knows no scale of the loss: a relative distance of about sqrt(eps).
        curvature_tol: the rounding part of the zero band, >= 0; by default 50 eps |H|.

    Returns:
        A `CriticalPoint`.  A gradient or Hessian that is not finite is "undetermined", never an exception.

    Raises:
        TypeError, ValueError: as `hessian.hvp`.

    >>> point = classify(lambda w: (1 - w[0] * w[1]) ** 2, jnp.zeros(2))
    >>> point.kind, int(point.index), float(point.lowest.value), float(point.highest.value)
    ('saddle', 1, -2.0, 2.0)
    >>> classify(lambda w: (1 - w[0] * w[1]) ** 2, jnp.ones(2)).kind
    'degenerate'
    """
    params = check(loss, params, *args)
    theta, unravel = ravel_pytree(params)
    g = ravel_pytree(gradient(loss, params, *args))[0]
    hessian = matrix(loss, params, *args)
    eigenvalues, basis = jnp.linalg.eigh(hessian)  # a column per eigenvector

    eps = jnp.finfo(theta.dtype).eps
    size = jnp.max(jnp.abs(eigenvalues))
    gradient_norm = jnp.linalg.norm(g)
    allowed = jnp.sqrt(eps) * size * (1 + jnp.linalg.norm(theta)) if gradient_tol is None else gradient_tol
    rounding = ROUNDING * eps * size if curvature_tol is None else curvature_tol
    allowed, rounding = (jnp.asarray(tol, theta.dtype) for tol in (allowed, rounding))
    critical = gradient_norm <= allowed

    def change_of_hessian():
        seen = jnp.abs(eigenvalues) > rounding
        newton = -basis @ jnp.where(seen, g @ basis / jnp.where(seen, eigenvalues, 1), 0)
        return jnp.linalg.norm(matrix(loss, unravel(theta + newton), *args) - hessian)

    tau = rounding + 2 * jnp.where(critical, change_of_hessian(), 0)
    negative, positive = (jnp.sum(side > tau, dtype=jnp.int32) for side in (-eigenvalues, eigenvalues))
    inertia = Inertia(positive, theta.size - positive - negative, negative)
    finite = jnp.isfinite(gradient_norm) & jnp.isfinite(size) & jnp.isfinite(tau)
    code = jnp.select(
        [
            ~finite,
            ~critical,
            (negative > 0) & (positive > 0),
            positive == theta.size,
            negative == theta.size,
        ],
        [UNDETERMINED, NOT_CRITICAL, SADDLE, MINIMUM, MAXIMUM],
        DEGENERATE,
    ).astype(jnp.int32)
    lowest, highest = (Eigenpair(eigenvalues[i], unravel(basis[:, i])) for i in (0, -1))
    return CriticalPoint(code, negative, inertia, gradient_norm, allowed, tau, lowest, highest)
