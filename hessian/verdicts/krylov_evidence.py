"""The evidence on the critical point near theta from products with the Hessian, without the matrix.

    p  =  -|g| V T^+ e_1        Newton's step, from the Krylov space V of the gradient, which holds it soonest
    v  =  V f                   the ends of the spectrum, from a random start; then the curvature v.H v along p

A Ritz value bounds its end of the spectrum from inside, for certain; from outside the bound has a confidence.  Where
these bounds make a minimum or a maximum, both ends are bounded again from another random start at theta + p, because
the change on the way need not show along any vector that is known.  Where the Krylov space does not hold Newton's step
it is not known whether a critical point is near, and the kind is undetermined.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from hessian.bounds import Face
from hessian.compiled import compiled
from hessian.numerics import divided, divisor, length, length_scale, newton_coordinates, unit
from hessian.product import Loss, Params, gradient, gradient_and_product
from hessian.roundoff import SAFETY, UNIFORM, spread
from hessian.spectra import lanczos
from hessian.spectra.bounds import ends
from hessian.symmetry.slices import Orbit
from hessian.tolerances import distance_tol, negligible_decrease, slope_tols, zero_band
from hessian.verdicts.drift import BESIDE, HIDDEN, MAX_DRIFT
from hessian.verdicts.evidence import Eigenpair, Evidence

FAMILY_SIZE = 1000  # verdicts that hold jointly with the confidence asked for: each takes its share of the doubt
CHECKS = 18  # products besides those of the three Krylov spaces
LEFT = 1e-4  # the share of the gradient that Newton's step may leave where curvature has both signs


class _Found(NamedTuple):
    """The results of three Krylov spaces: of the gradient, of a random start, and of another at theta + p."""

    step: jax.Array  # (n,), Newton's
    excess: jax.Array  # (2,): how many times its tolerance the largest slope is, of signs certain and not
    exhausted: jax.Array  # bool: the gradient's space is invariant
    krylov: lanczos.Krylov  # of the first random start
    low: jax.Array  # bounds on the ends, at theta and at theta + p
    high: jax.Array
    spectral_norm: jax.Array  # a lower bound on |H|
    num_matvecs: jax.Array


class _Seen(NamedTuple):
    """How gradient and curvature change along Newton's step."""

    change: jax.Array  # (2,), of the curvature along both ends, relative to it
    ends: jax.Array  # (2, n), the eigenvectors of both ends
    kink: jax.Array  # bool
    left: jax.Array  # |g + H p|: the gradient that Newton's step leaves by the model
    there: jax.Array  # the norm of the gradient at theta + p


def rounding_of(loss: Loss, params: Params, args: tuple) -> tuple[jax.Array, jax.Array]:
    """What rounding makes of the gradient at most, and of the product with a vector of length 1: two lengths."""
    errors, blurs = spread(loss, params, args, 1)
    return SAFETY * length(errors[0]), length(blurs[0])


@compiled(products=200, static_argnames=("loss", "num_matvecs", "rows"))
def matrix_free(
    loss: Loss,
    params: Params,
    args: tuple,
    errors: tuple[jax.Array, jax.Array],
    gradient_tol: Any,
    curvature_tol: Any,
    key: jax.Array,
    confidence: Any,
    num_matvecs: int,
    rows: int,
    orbit: Orbit | Face | None = None,
) -> Evidence:
    """Evidence from at most `num_matvecs` products, in Lanczos bases of `rows` vectors.

    `errors` are those of `rounding_of`.  Where the loss is that of the slice across an orbit the bases lie in the
    slice, too.
    """
    theta, unravel = ravel_pytree(params)
    doubt = (1 - confidence) / FAMILY_SIZE / 2

    def gradient_at(x):
        return ravel_pytree(gradient(loss, unravel(x), *args))[0]

    def product(x, vector):
        return both(x, vector)[1]

    def both(x, vector):
        slope, image = gradient_and_product(loss, unravel(x), args, unravel(vector))
        return ravel_pytree(slope)[0], ravel_pytree(image)[0]

    with jax.default_matmul_precision("highest"):
        g = gradient_at(theta)
        gradient_error, blur = errors

        def zero(spectral_norm):
            return zero_band(spectral_norm, blur, curvature_tol)

        value = loss(params, *args)

        def excess(slopes, values, seen):
            each = gradient_error / theta.size**0.5
            allowed = slope_tols(theta, value, values, seen, each, distance_tol(theta))
            return jnp.stack([jnp.max(divided(jnp.abs(slopes), tol, seen)) for tol in allowed])

        spaces = _spaces(product, theta, g, key, rows, num_matvecs - CHECKS, zero, excess, doubt, gradient_error, orbit)
        found = lanczos.ritz(spaces.krylov)
        seen = _changes(both, theta, g, spaces, found, zero, gradient_error)

    tau = zero(spaces.spectral_norm)
    lowest, highest, positive, negative = _ends(found, spaces, seen, tau, unravel)
    near_point = _nearness(value, theta, g, spaces, seen, lowest, highest, gradient_error)
    settled = (gradient_tol is not None) | near_point.settled
    tolerance = near_point.gradient_tol if gradient_tol is None else gradient_tol
    norm, n = length(g), _dimension(theta, orbit)
    return Evidence(
        gradient_norm=norm, gradient_tol=jnp.asarray(tolerance, theta.dtype),
        curvature_tol=jnp.asarray(tau, theta.dtype), lowest=lowest, highest=highest,
        positive=jnp.where(lowest.low > 0, n, positive), negative=jnp.where(highest.high < 0, n, negative),
        complete=found.count == n, flat=~seen.kink, kink=seen.kink, change=jnp.max(seen.change),
        settled=jnp.asarray(settled), decrement=jnp.sqrt(jnp.abs(g @ spaces.step)), distance=near_point.distance,
        step=spaces.step, num_matvecs=(spaces.num_matvecs + CHECKS).astype(jnp.int32),
        finite=jnp.isfinite(norm) & jnp.isfinite(spaces.spectral_norm) & jnp.isfinite(tau),
    )  # fmt: skip


def _dimension(theta, orbit):
    """The dimension of the space of the bases."""
    return theta.size if orbit is None else theta.size - orbit.dimension


def _ends(found, spaces, seen, tau, unravel):
    """The lowest and the highest eigenpair, and how many Ritz values are certain to be positive, and negative."""
    values = jnp.stack([found.values[0], found.values[found.count - 1]])
    certain = (jnp.abs(values) > tau) & (seen.change <= MAX_DRIFT) & ~seen.kink
    half = tau + jnp.where(certain, seen.change, 1) * jnp.abs(values)
    lowest = Eigenpair(values[0], unravel(seen.ends[0]), spaces.low - half[0], values[0] + half[0])
    highest = Eigenpair(values[1], unravel(seen.ends[1]), values[1] - half[1], spaces.high + half[1])
    # Ritz values whose sign even the change along the end could not turn are as certain as the end.
    used = jnp.arange(len(found.values), dtype=jnp.int32) < found.count
    positive = jnp.sum(used & (found.values > half[1]) & certain[1], dtype=jnp.int32)
    negative = jnp.sum(used & (found.values < -half[0]) & certain[0], dtype=jnp.int32)
    return lowest, highest, positive, negative


class _Nearness(NamedTuple):
    """How near a critical point is."""

    distance: jax.Array  # the length of Newton's step, with a bound on what it left
    gradient_tol: jax.Array  # the gradient's norm at which it would count as near
    settled: jax.Array  # bool: it is known whether one is near


def _nearness(value, theta, g, spaces, seen, lowest, highest, gradient_error):
    """How near a critical point is, by Newton's step and what it leaves of the gradient."""
    norm = length(g)
    # Where all curvature has one sign, the smallest bounds the rest of the way, whatever Newton's step left.
    softest = jnp.maximum(lowest.low, -highest.high)
    distance = length(spaces.step) + divided(seen.left, softest)
    decrease = negligible_decrease(theta, value, spaces.spectral_norm)
    slack = jnp.maximum(gradient_error, decrease / length_scale(theta))
    known = (softest > 0) | (seen.left <= jnp.maximum(slack, LEFT * norm))
    # Slopes along soft directions count by the decrease that they promise, where it is open which way these curve.
    certain, uncertain = spaces.excess
    beyond = jnp.maximum(jnp.where(softest > 0, certain, uncertain), jnp.where(spaces.exhausted & ~known, 2, 0))
    within = jnp.maximum(certain, (distance - length(spaces.step)) / distance_tol(theta))
    ratio = jnp.where(beyond > 1, beyond, jnp.minimum(within, 1))
    tolerance = jnp.where(norm <= gradient_error, gradient_error, norm / divisor(ratio))
    falling = seen.there <= jnp.maximum(norm / 2, gradient_error)
    return _Nearness(distance, tolerance, (norm <= gradient_error) | (known & falling & (within <= 1)))


def _spaces(product, theta, g, key, rows, limit, zero, excess, doubt, goal, orbit):
    """The three Krylov spaces, one after the other; the third only where the second makes a minimum or a maximum."""
    n, norm = theta.size, length(g)
    within = None if orbit is None else orbit.across

    def slopes_of(found):
        """The gradient's slopes along the Ritz vectors, and which of these have a curvature that is seen, and not."""
        used = jnp.arange(rows, dtype=jnp.int32) < found.count
        seen = used & (jnp.abs(found.values) > zero(found.spectral_norm))
        return norm * found.vectors[0], seen, used & ~seen

    def newton(krylov, found):
        """Newton's step in the basis, and the norm of the gradient that it leaves, as far as the basis tells."""
        slopes, seen, unseen = slopes_of(found)
        coordinates = found.vectors @ newton_coordinates(found.values, slopes, seen)
        blind = jnp.linalg.norm(jnp.where(unseen, slopes, 0))
        return coordinates, jnp.hypot(krylov.coupling * coordinates[found.count - 1], blind)

    def stage(before, which):
        def enough(krylov, found):
            known = (newton(krylov, found)[1] <= goal) | (krylov.coupling == 0)
            low, high = ends(krylov, found, doubt)
            lowest, highest, tau = found.values[0], found.values[found.count - 1], 2 * zero(found.spectral_norm)
            signs = ((lowest < -tau) & (highest > tau)) | (low > tau) | (high < -tau)
            return jnp.where(which == 0, known, signs)

        tau, moved = zero(before.spectral_norm), length(before.step) > 0
        one_sign = ((before.low > tau) | (before.high < -tau)) & moved
        spare = limit - before.num_matvecs
        may = jnp.stack([jnp.where(norm > goal, limit // 3, 0), jnp.where(moved, spare // 2, spare), spare])
        start = lanczos.begin(jax.random.fold_in(key, which), n, rows, theta.dtype, within)
        start = start._replace(following=jnp.where(which == 0, g / divisor(norm), start.following))
        at = theta + jnp.where(which == 2, before.step, 0)
        allowed = jnp.where((which < 2) | one_sign, may[which], 0)
        allowed = allowed if orbit is None else jnp.minimum(allowed, _dimension(theta, orbit))
        krylov, found = lanczos.grow(partial(product, at), start, allowed, enough, within=within)
        begun = krylov.count > 0
        low, high = ends(krylov, found, doubt)
        step = jnp.where(begun, newton(krylov, found)[0], 0) @ krylov.basis
        slopes, seen, _ = slopes_of(found)
        over = excess(slopes, found.values, seen & begun)
        whole = krylov.count == _dimension(theta, orbit)
        of_gradient = before._replace(step=step, excess=over, exhausted=(krylov.coupling == 0) | whole | ~begun)
        of_start = before._replace(krylov=krylov, low=low, high=high)
        lower, upper = jnp.minimum(before.low, low), jnp.maximum(before.high, high)
        of_other = before._replace(low=jnp.where(begun, lower, before.low), high=jnp.where(begun, upper, before.high))
        after = jax.tree.map(lambda *each: jax.lax.select_n(which, *each), of_gradient, of_start, of_other)
        spectral_norm = jnp.where(begun, jnp.maximum(before.spectral_norm, found.spectral_norm), before.spectral_norm)
        return after._replace(spectral_norm=spectral_norm, num_matvecs=before.num_matvecs + krylov.num_matvecs), None

    nought, none = jnp.zeros((), theta.dtype), jnp.int32(0)
    nothing = _Found(
        step=jnp.zeros_like(theta),
        excess=jnp.zeros(2, theta.dtype),
        exhausted=jnp.bool_(False),
        krylov=lanczos.blank(key, n, rows, theta.dtype),
        low=nought,
        high=nought,
        spectral_norm=nought,
        num_matvecs=none,
    )
    return jax.lax.scan(stage, nothing, jnp.arange(3, dtype=jnp.int32))[0]


def _changes(both, theta, g, spaces, found, zero, gradient_error):
    """How gradient and curvature change on the way to theta + p."""
    eps = jnp.finfo(theta.dtype).eps
    ends_of = jax.vmap(unit)(found.vectors[:, jnp.stack([0, found.count - 1])].T @ spaces.krylov.basis)
    values = jnp.stack([found.values[0], found.values[found.count - 1]])
    # Along the end vectors Newton's step is known whatever its Krylov space holds, up to the rounding of the slope.
    curved = jnp.abs(values) > zero(spaces.spectral_norm)
    known = newton_coordinates(values, ends_of @ g, curved)
    p = spaces.step + (known - ends_of @ spaces.step) @ ends_of
    hidden = divided(HIDDEN * gradient_error / theta.size**0.5, jnp.abs(values), curved)
    corner = (2 * (jnp.abs(known) + hidden)) @ ends_of
    side = unit(jnp.resize(jnp.asarray(UNIFORM, theta.dtype), theta.shape))
    beside = BESIDE * eps * (length(theta) + eps) * theta.size**0.5 * side

    # Two products at theta, then the slope after Newton's step, then slope and both curvatures at each other point.
    moves = jnp.stack([beside, -beside, p / 2, p, 2 * p, corner, -corner])
    here = jnp.zeros_like(theta)
    points = jnp.concatenate([jnp.stack([here, here, spaces.step]), jnp.repeat(moves, 2, axis=0)])
    vectors = jnp.concatenate([jnp.stack([spaces.step, beside, beside]), jnp.tile(ends_of, (len(moves), 1))])
    slopes, images = jax.lax.map(lambda each: both(theta + each[0], each[1]), (points, vectors))
    (of_step, of_beside), there, (ahead, behind) = images[:2], slopes[2], slopes[3:7:2]
    apart = jnp.abs(jnp.sum(vectors[3:] * images[3:], axis=1).reshape(len(moves), 2) - values[None])
    relative = jnp.maximum(jnp.max(apart, axis=0) - 4 * eps * spaces.spectral_norm, 0) / divisor(jnp.abs(values))
    deviation = jnp.maximum(length(ahead - g - of_beside), length(behind - g + of_beside))
    kink = deviation > spaces.spectral_norm * length(theta + beside - theta) + gradient_error
    change = jnp.where(jnp.isfinite(relative), relative, jnp.inf)
    return _Seen(change, ends_of, kink, length(of_step + g), length(there))
