"""How far beyond the Ritz values the true ends of the spectrum can be.

Lanczos from q_1 writes its last vector as a polynomial in H, so that for every eigenvector u of length 1

    q_{k+1} = p_k(H) q_1,    |p_k(lambda)| |u.q_1| <= 1,    p_k(x) = prod_i (x - theta_i) / prod_i beta_i

With q_1 uniform on the sphere |u.q_1| >= t holds with probability 1 - delta, t = delta / (2 c_n).  Outside the Ritz
values |p_k| only grows, so lambda_min is not below the x < theta_1 at which |p_k(x)| = 1 / t (van Dorsselaer,
Hochstenbach & van der Vorst 1999, theorem 3.1).  It costs no product.  Where some beta is 0 the space is invariant and
holds a part of every eigenspace: the Ritz value is the end itself.

A start that leans, (q + a) / |q + a| with q uniform and `a` independent of it, is as good but for its length: the
density of u.q is nowhere above c_n, so |u.(q + a)| >= t holds with probability 1 - delta too, and |q + a| <= 1 + |a|.
(For n < 3, where the density has no such bound, two products leave nothing to bound.)

| function | what it returns |
|---|---|
| `ends` | a lower bound on the lowest eigenvalue and an upper bound on the highest, both at once at a confidence |
| `num_matvecs_for` | how many products a resolution needs, known before the first (Kuczynski & Wozniakowski 1992) |
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from hessian.numerics import bisect
from hessian.spectra.lanczos import Krylov, Ritz


def ends(
    krylov: Krylov, found: Ritz, doubt: jax.Array | float, leaning: jax.Array | float = 0
) -> tuple[jax.Array, jax.Array]:
    """(low, high) with low <= lambda_min <= lambda_max <= high but for a probability of at most `doubt`, 0 < doubt < 1.

    For a basis that was never restarted, whose start leans by a vector of length `leaning`.  Rounding comes on top:
    these are the bounds of exact arithmetic.
    """
    small, n = krylov.matrix, krylov.basis.shape[1]
    rows = jnp.arange(len(small), dtype=jnp.int32)
    used = rows < krylov.count
    couplings = jnp.where(rows == krylov.count - 1, krylov.coupling, jnp.diag(jnp.pad(small, (0, 1)), 1)[: len(small)])
    log_t = _log_least_share(n, jnp.asarray(doubt, small.dtype) / 2) - jnp.log1p(jnp.asarray(leaning, small.dtype))
    # Minus infinity where a coupling is 0: the space that held the first vector is invariant.
    target = jnp.sum(jnp.where(used, jnp.log(jnp.where(used, couplings, 1)), 0)) - log_t
    largest = target / krylov.count.astype(target.dtype)

    def beyond(end):
        gaps = jnp.abs(found.values - end)

        # sum_i log(gap_i + d) = target has one root d, and d <= exp(target / k).
        def too_near(log_distance):
            return ~(jnp.sum(jnp.where(used, jnp.log(gaps + jnp.exp(log_distance)), 0)) > target)

        # Over 80 powers of e below the largest possible distance nothing is left to tell apart.
        log_distance = bisect(too_near, largest - 80, largest, 60)[1]
        return jnp.where(jnp.isneginf(target), 0, jnp.exp(log_distance))

    lowest, highest = found.values[0], found.values[krylov.count - 1]
    return lowest - beyond(lowest), highest + beyond(highest)


def num_matvecs_for(resolution: jax.Array, n: int, confidence: jax.Array | float) -> jax.Array:
    """The products after which lambda_min is known to resolution * |H| at this confidence; never more than n."""
    delta = 1 - jnp.asarray(confidence)
    needed = 0.5 + 0.5 * jnp.log(2.72 * n / delta**2) / jnp.sqrt(resolution)
    return jnp.where(needed < n, jnp.ceil(needed), n).astype(jnp.int32)


def _log_least_share(n: int, delta: jax.Array) -> jax.Array:
    """Log t, where a coordinate of a uniform unit vector in n dimensions is below t in size with probability <= delta.

    The density of a coordinate is at most c_n = Gamma(n/2) / (sqrt(pi) Gamma((n-1)/2)) for n >= 3.
    """
    if n == 1:
        return jnp.zeros_like(delta)
    if n == 2:
        return jnp.log(jnp.sin(jnp.pi * delta / 2))
    density = jnp.exp(gammaln(n / 2) - gammaln((n - 1) / 2)) / jnp.sqrt(jnp.pi)
    return jnp.log(delta / (2 * density))
