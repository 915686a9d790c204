"""What is known about the critical point near theta: intervals for the ends of the spectrum, and certain signs.

A run stops beside a critical point, not on it, and what counts is the point.  In the eigenvectors u_i of H a direction
has curvature lambda_i, slope a_i = u_i.g and Newton's step p_i = -a_i / lambda_i, undamped.  Its sign is certain where

    |lambda_i| > tau = max(50 eps |H|, the rounding of H)      and      H changes by at most a twentieth on the way

and theta is critical where every direction is: Newton's step is short, or the slope is rounding,

    |p_i| <= sqrt(eps) (1 + |theta|)      or      |a_i| <= the rounding of the gradient

In directions without a certain sign Newton's step says little; there, it is enough that no decrease is left that counts.
All of this is certain to rounding and to the looks that were taken, and no proof.

Matrix-free, a Ritz value bounds its end from inside, for certain; from outside it is bounded at a confidence.

| function | how | certain |
|---|---|---|
| `dense` | all eigenvalues, and how they change: `hessian.drift` | all |
| `matrix_free` | Lanczos until the ends have signs; then the curvature along them at theta + p | opposite signs |
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from hessian import lanczos
from hessian.bounds import ends
from hessian.division import divided, divisor
from hessian.drift import DRIFT, Drift, Frame, drift
from hessian.product import Loss, Params, flat_product, gradient, matrix
from hessian.roundoff import spread
from hessian.spectrum import DENSE, rounding
from hessian.symmetric import eigh

DRAWS = 8  # samples of rounding that a Hessian of one row takes; larger ones hold more numbers each
SAFETY = 10  # how many times its spread rounding may be
LIKE_A_POWER = 30  # the largest relative change of curvature that x^k = 0 can make: e^2.6, in two directions
TOGETHER = 1000  # verdicts that hold together at the confidence asked for: each takes its share of the doubt
CHANGE = 3  # how many times its change an eigenvalue must exceed; near x^3 = 0 it is 2 times


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
    decrement: jax.Array  # Newton decrement, sqrt(|g.p|)
    distance: jax.Array  # |p|: how far the critical point may be
    products: jax.Array
    finite: jax.Array  # bool

    @property
    def settled(self) -> jax.Array:
        """Whether the ends tell the kind: opposite signs, or one sign for all."""
        opposite = (self.lowest.high < 0) & (self.highest.low > 0)
        return opposite | (self.lowest.low > 0) | (self.highest.high < 0)


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
        band = jnp.maximum(rounding(values), SAFETY * blur) if curvature_tol is None else curvature_tol
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
        jnp.bool_(True), flat, found.kink, change, jnp.sqrt(jnp.abs(along @ step)), lanczos.length(step),
        jnp.where(candidate, 8 * n, n).astype(jnp.int32), jnp.isfinite(norm) & jnp.isfinite(size) & jnp.isfinite(blur),
    )  # fmt: skip


def _allowed(frame: Frame, value: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The slope along each mode that still is critical: where its sign is not certain, and where it is."""
    eps = jnp.finfo(value.dtype).eps
    reach, sizes = 1 + jnp.linalg.norm(frame.theta), jnp.abs(frame.values)
    strict = jnp.maximum(jnp.sqrt(eps) * reach * jnp.where(frame.seen, sizes, 0), frame.gradient_error)
    unseen = eps * jnp.minimum(1 + jnp.abs(value), jnp.max(sizes) * reach**2)  # a decrease that does not count
    newton = jnp.where(frame.seen, jnp.sqrt(unseen * sizes), unseen / reach)
    return jnp.maximum(strict, newton), strict


def _rms(samples: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(samples**2, axis=0))


@partial(jax.jit, static_argnames=("loss", "products", "rows"))
def matrix_free(
    loss: Loss,
    params: Params,
    args: tuple,
    gradient_tol: Any,
    curvature_tol: Any,
    key: jax.Array,
    confidence: Any,
    products: int,
    rows: int,
) -> Evidence:
    """Evidence from at most `products` products, in a Lanczos basis of `rows` vectors."""
    theta, unravel = ravel_pytree(params)
    n, dtype = theta.size, theta.dtype
    g = ravel_pytree(gradient(loss, params, *args))[0]
    product = flat_product(loss, params, *args)

    def assess(krylov, found):
        last, basis, size = found.count - 1, krylov.basis, found.size
        values = jnp.stack([found.values[0], found.values[last]])
        vectors = _highest_precision(jnp.matmul, found.vectors[:, jnp.stack([0, last])].T, basis)
        vectors = jax.vmap(lanczos.unit)(vectors)
        norm, allowed, band = _tolerances(theta, g, size, gradient_tol, curvature_tol)
        critical = norm <= allowed

        def move():
            step = _step(product, krylov, found, g, norm, theta)
            there = flat_product(loss, unravel(theta + _cut(step, theta)), *args)
            start = basis[0]
            first, second = found_first(krylov)
            images = jax.lax.map(there, jnp.concatenate([vectors, start[None]]))
            along = jnp.abs(jnp.sum(vectors * images[:2], axis=1) - values)
            # n^(1/2) times a unit vector that is uniform on the sphere sees about the Frobenius norm of the change.
            anywhere = jnp.sqrt(n) * lanczos.length(images[2] - first - second)
            return step, along, jnp.maximum(anywhere, jnp.max(along))

        def stay():
            return jnp.zeros_like(theta), jnp.zeros_like(values), jnp.zeros((), dtype)

        step, along, anywhere = jax.lax.cond(critical, move, stay)
        (smallest, largest), (below, above) = values, band + CHANGE * along
        far = band + CHANGE * anywhere
        low, high = ends(krylov, found, (1 - confidence) / TOGETHER)
        lowest = Eigenpair(smallest, unravel(vectors[0]), low - far, smallest + below)
        highest = Eigenpair(largest, unravel(vectors[-1]), largest - above, high + far)
        used = jnp.arange(rows, dtype=jnp.int32) < found.count
        positive = jnp.sum(used & (found.values > above), dtype=jnp.int32)
        negative = jnp.sum(used & (found.values < -below), dtype=jnp.int32)
        positive, negative = jnp.where(lowest.low > 0, n, positive), jnp.where(highest.high < 0, n, negative)
        finite = jnp.isfinite(norm) & jnp.isfinite(size) & jnp.isfinite(far)
        decrement, distance = jnp.sqrt(jnp.abs(g @ step)), jnp.linalg.norm(step)
        used_products = krylov.products + jnp.where(critical, 4, 0)
        return Evidence(
            norm, allowed, band, lowest, highest, positive.astype(jnp.int32), negative.astype(jnp.int32),
            found.count == n, found.count == n, jnp.bool_(False), far / divisor(size), decrement, distance, used_products, finite,
        )  # fmt: skip

    def found_first(krylov):
        """H q_1 = alpha_1 q_1 + beta_1 q_2, in two parts."""
        alone = krylov.count == 1
        beta = jnp.where(alone, krylov.coupling, krylov.matrix[0, min(1, rows - 1)])
        return krylov.matrix[0, 0] * krylov.basis[0], beta * jnp.where(
            alone, krylov.following, krylov.basis[min(1, rows - 1)]
        )

    def look(state):
        krylov, bar, spent, _, _ = state

        def enough(krylov, found):
            tau = jnp.maximum(bar, rounding(found.size[None]) if curvature_tol is None else curvature_tol)
            low, high = ends(krylov, found, (1 - confidence) / TOGETHER)
            lowest, highest = found.values[0], found.values[found.count - 1]
            return ((lowest < -tau) & (highest > tau)) | (low > tau) | (high < -tau)

        krylov, found = lanczos.grow(product, krylov, products - 4 - spent, enough)
        evidence = assess(krylov, found)
        over = (krylov.count == rows) | (krylov.products >= products - 4 - spent)
        settled = evidence.settled | over | ~evidence.finite | (evidence.gradient_norm > evidence.gradient_tol)
        bands = jnp.stack([evidence.lowest.high - evidence.lowest.value, evidence.highest.value - evidence.highest.low])
        spent = spent + jnp.where(settled, 0, 4)
        return krylov, 2 * jnp.maximum(bar, jnp.max(bands)), spent, evidence, settled

    krylov = lanczos.begin(key, n, rows, dtype)
    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(assess, krylov, lanczos.ritz(krylov)))
    state = (krylov, jnp.zeros((), dtype), jnp.int32(0), nothing, jnp.bool_(False))
    _, _, spent, evidence, _ = jax.lax.while_loop(lambda state: ~state[4], look, state)
    return evidence._replace(products=evidence.products + spent)


def _step(product, krylov, found, g, norm, theta):
    """Newton's step as far as the basis knows the Hessian, and the best step along what is left of the gradient."""
    with jax.default_matmul_precision("highest"):
        coordinates = krylov.basis @ g
        along = coordinates @ found.vectors
        inside = (found.vectors @ (along * _damped(found.values, found.residuals, norm, theta))) @ krylov.basis
        rest = g - coordinates @ krylov.basis
        image = product(rest)
        square = image @ image + (norm / (1 + jnp.linalg.norm(theta))) ** 2 * (rest @ rest)
        outside = rest * divided(rest @ image, square)
    return -(inside + outside)


def _cut(step, theta):
    """The step, no longer than it is believed."""
    if theta.size <= DENSE:
        return step
    reach = jnp.sqrt(jnp.finfo(theta.dtype).eps) * (1 + jnp.linalg.norm(theta))
    return step * jnp.minimum(1, divided(reach, jnp.linalg.norm(step)))


def _damped(eigenvalues, residuals, norm, theta):
    """lambda / (lambda^2 + r^2 + m^2): 1 / lambda where that is known and its step is not too far."""
    damping = norm / (1 + jnp.linalg.norm(theta))
    size = jnp.max(jnp.abs(eigenvalues))
    scale = divisor(size)  # squares of scaled numbers neither overflow nor vanish
    x, r, m = eigenvalues / scale, residuals / scale, damping / scale
    return divided(x, x**2 + r**2 + m**2) / scale


def _tolerances(theta, g, size, gradient_tol, curvature_tol):
    """The gradient's norm, what is allowed for it, and the rounding of the curvature."""
    norm = lanczos.length(g)
    eps = jnp.finfo(theta.dtype).eps
    allowed = jnp.sqrt(eps) * size * (1 + jnp.linalg.norm(theta)) if gradient_tol is None else gradient_tol
    band = rounding(size[None]) if curvature_tol is None else curvature_tol
    return norm, jnp.asarray(allowed, theta.dtype), jnp.asarray(band, theta.dtype)


def _highest_precision(function, *arrays):
    with jax.default_matmul_precision("highest"):
        return function(*arrays)
