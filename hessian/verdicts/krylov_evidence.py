"""What is known about the critical point near theta without the matrix, from products with the Hessian.

    p  =  -|g| V T^+ e_1        Newton's step, from the Krylov space V of the gradient, in which it is found fastest
    v  =  V f                   the ends of the spectrum, from a random start; then the curvature v.H v along p

A Ritz value bounds its end from inside, for certain; from outside the end is bounded at a confidence, and where that
makes a minimum or a maximum it is bounded once more, from another random start, at theta + p: what changes between the
two need not show along any vector that is known.  Where the Krylov space does not hold Newton's step, nobody knows
whether a critical point is near, and nothing is said.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from hessian.numerics import divided, divisor
from hessian.product import Loss, Params, flat_product, gradient
from hessian.roundoff import SAFETY, UNIFORM, spread
from hessian.spectra import lanczos
from hessian.spectra.bounds import ends
from hessian.tolerances import band, near, uncounted
from hessian.verdicts.drift import BESIDE, DRIFT, HIDDEN
from hessian.verdicts.evidence import Eigenpair, Evidence

FAMILY_SIZE = 1000  # verdicts that hold together at the confidence asked for: each takes its share of the doubt
CHECKS = 18  # products beside those of the three Krylov spaces
LEFT = 1e-4  # the share of the gradient that Newton's step may leave where curvature has both signs


class _Found(NamedTuple):
    """What the three Krylov spaces found: of the gradient, of a random start, and of another at theta + p."""

    step: jax.Array  # (n,), Newton's
    exhausted: jax.Array  # bool: the gradient's space is invariant
    krylov: lanczos.Krylov  # of the first random start
    low: jax.Array  # bounds on the ends, at theta and at theta + p
    high: jax.Array
    size: jax.Array  # |H| from below
    products: jax.Array


class _Seen(NamedTuple):
    """What is seen on the way along Newton's step."""

    change: jax.Array  # (2,), of the curvature along both ends, relative to it
    ends: jax.Array  # (2, n), the eigenvectors of both ends
    kink: jax.Array  # bool
    left: jax.Array  # what Newton's step leaves of the gradient by the Hessian at theta
    there: jax.Array  # what it leaves of it in truth


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
    """Evidence from at most `products` products, in Lanczos bases of `rows` vectors."""
    theta, unravel = ravel_pytree(params)
    doubt = (1 - confidence) / FAMILY_SIZE / 2

    def slope(x):
        return ravel_pytree(gradient(loss, unravel(x), *args))[0]

    def product(x, vector):
        return flat_product(loss, unravel(x), *args)(vector)

    with jax.default_matmul_precision("highest"):
        g = slope(theta)
        errors, blurs = spread(loss, params, args, 1)
        blur, gradient_error = lanczos.length(blurs[0]), SAFETY * lanczos.length(errors[0])

        def zero(size):
            return band(size, blur, curvature_tol)

        spaces = _spaces(product, theta, g, key, rows, products - CHECKS, zero, doubt, gradient_error)
        found = lanczos.ritz(spaces.krylov)
        seen = _changes(slope, product, theta, g, spaces, found, zero, gradient_error)

    tau = zero(spaces.size)
    lowest, highest, positive, negative = _ends(found, spaces, seen, tau, unravel)
    near_point = _nearness(loss(params, *args), theta, g, spaces, seen, lowest, highest, gradient_error)
    settled = (gradient_tol is not None) | near_point.settled
    tolerance = near_point.gradient_tol if gradient_tol is None else gradient_tol
    norm, n = lanczos.length(g), theta.size
    return Evidence(
        norm, jnp.asarray(tolerance, theta.dtype), jnp.asarray(tau, theta.dtype), lowest, highest,
        jnp.where(lowest.low > 0, n, positive), jnp.where(highest.high < 0, n, negative),
        found.count == n, ~seen.kink, seen.kink, jnp.max(seen.change), jnp.asarray(settled),
        jnp.sqrt(jnp.abs(g @ spaces.step)), near_point.distance, (spaces.products + CHECKS).astype(jnp.int32),
        jnp.isfinite(norm) & jnp.isfinite(spaces.size) & jnp.isfinite(tau),
    )  # fmt: skip


def _ends(found, spaces, seen, tau, unravel):
    """The lowest and the highest eigenpair, and how many Ritz values are certain to be positive, and negative."""
    values = jnp.stack([found.values[0], found.values[found.count - 1]])
    certain = (jnp.abs(values) > tau) & (seen.change <= DRIFT) & ~seen.kink
    half = tau + jnp.where(certain, seen.change, 1) * jnp.abs(values)
    lowest = Eigenpair(values[0], unravel(seen.ends[0]), spaces.low - half[0], values[0] + half[0])
    highest = Eigenpair(values[1], unravel(seen.ends[1]), values[1] - half[1], spaces.high + half[1])
    # Ritz values that even the change along the end could not turn are as certain as the end.
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
    norm = lanczos.length(g)
    # Where all curvature has one sign its softest bounds what is left of the way, whatever Newton's step left.
    softest = jnp.maximum(lowest.low, -highest.high)
    distance = lanczos.length(spaces.step) + divided(seen.left, softest)
    decrease = uncounted(theta, value, spaces.size)
    slack = jnp.maximum(gradient_error, decrease / (1 + lanczos.length(theta)))
    known = (softest > 0) | (seen.left <= jnp.maximum(slack, LEFT * norm))
    beyond = (distance > near(theta)) | (spaces.exhausted & ~known)
    ratio = jnp.maximum(distance / near(theta), jnp.where(beyond, 2, 0))
    tolerance = jnp.where(norm <= gradient_error, gradient_error, norm / divisor(ratio))
    falling = seen.there <= jnp.maximum(norm / 2, gradient_error)
    return _Nearness(distance, tolerance, (norm <= gradient_error) | (known & falling))


def _spaces(product, theta, g, key, rows, limit, zero, doubt, goal):
    """The three Krylov spaces, one after the other; the third only where the second makes a minimum or a maximum."""
    n, norm = theta.size, lanczos.length(g)

    def newton(krylov, found):
        """Newton's step in the basis, and what it leaves of the gradient as far as the basis tells."""
        used = jnp.arange(rows, dtype=jnp.int32) < found.count
        seen = used & (jnp.abs(found.values) > zero(found.size))
        coordinates = found.vectors @ divided(-norm * found.vectors[0], found.values, seen)
        blind = norm * jnp.linalg.norm(jnp.where(used & ~seen, found.vectors[0], 0))
        return coordinates, jnp.hypot(krylov.coupling * coordinates[found.count - 1], blind)

    def stage(before, which):
        def enough(krylov, found):
            known = (newton(krylov, found)[1] <= goal) | (krylov.coupling == 0)
            low, high = ends(krylov, found, doubt)
            lowest, highest, tau = found.values[0], found.values[found.count - 1], 2 * zero(found.size)
            signs = ((lowest < -tau) & (highest > tau)) | (low > tau) | (high < -tau)
            return jnp.where(which == 0, known, signs)

        tau, moved = zero(before.size), lanczos.length(before.step) > 0
        one_sign = ((before.low > tau) | (before.high < -tau)) & moved
        spare = limit - before.products
        may = jnp.stack([jnp.where(norm > goal, limit // 3, 0), jnp.where(moved, spare // 2, spare), spare])
        start = lanczos.begin(jax.random.fold_in(key, which), n, rows, theta.dtype)
        start = start._replace(following=jnp.where(which == 0, g / divisor(norm), start.following))
        at = theta + jnp.where(which == 2, before.step, 0)
        allowed = jnp.where((which < 2) | one_sign, may[which], 0)
        krylov, found = lanczos.grow(partial(product, at), start, allowed, enough)
        begun = krylov.count > 0
        low, high = ends(krylov, found, doubt)
        step = jnp.where(begun, newton(krylov, found)[0], 0) @ krylov.basis
        of_gradient = before._replace(step=step, exhausted=(krylov.coupling == 0) | (krylov.count == n) | ~begun)
        of_start = before._replace(krylov=krylov, low=low, high=high)
        lower, upper = jnp.minimum(before.low, low), jnp.maximum(before.high, high)
        of_other = before._replace(low=jnp.where(begun, lower, before.low), high=jnp.where(begun, upper, before.high))
        after = jax.tree.map(lambda *each: jax.lax.select_n(which, *each), of_gradient, of_start, of_other)
        size = jnp.where(begun, jnp.maximum(before.size, found.size), before.size)
        return after._replace(size=size, products=before.products + krylov.products), None

    nought, none = jnp.zeros((), theta.dtype), jnp.int32(0)
    blank = lanczos.begin(key, n, rows, theta.dtype)
    nothing = _Found(jnp.zeros_like(theta), jnp.bool_(False), blank, nought, nought, nought, none)
    return jax.lax.scan(stage, nothing, jnp.arange(3, dtype=jnp.int32))[0]


def _changes(slope, product, theta, g, spaces, found, zero, gradient_error):
    """What is seen on the way to theta + p."""
    eps = jnp.finfo(theta.dtype).eps
    ends_of = jax.vmap(lanczos.unit)(found.vectors[:, jnp.stack([0, found.count - 1])].T @ spaces.krylov.basis)
    values = jnp.stack([found.values[0], found.values[found.count - 1]])
    # Along the ends Newton's step is known whatever its Krylov space has seen, but for the rounding of the slope.
    curved = jnp.abs(values) > zero(spaces.size)
    known = divided(-(ends_of @ g), values, curved)
    p = spaces.step + (known - ends_of @ spaces.step) @ ends_of
    hidden = divided(HIDDEN * gradient_error / theta.size**0.5, jnp.abs(values), curved)
    corner = (2 * (jnp.abs(known) + hidden)) @ ends_of
    side = lanczos.unit(jnp.resize(jnp.asarray(UNIFORM, theta.dtype), theta.shape))
    beside = BESIDE * eps * (lanczos.length(theta) + eps) * theta.size**0.5 * side

    def look(each):
        move, at, vectors = each
        return jax.lax.map(partial(product, theta + at), vectors), slope(theta + move), theta + move - theta

    here = jnp.stack([spaces.step, beside])
    moves = jnp.stack([spaces.step, p / 2, p, 2 * p, beside, -beside, corner, -corner])
    points = moves.at[0].set(0)  # Newton's residual needs the Hessian at theta
    images, slopes, moved = jax.lax.map(look, (moves, points, jnp.stack([here] + 7 * [ends_of])))
    apart = jnp.abs(jnp.einsum("kn,mkn->mk", ends_of, images[1:]) - values[None])
    relative = jnp.maximum(jnp.max(apart, axis=0) - 4 * eps * spaces.size, 0) / divisor(jnp.abs(values))
    of_step, of_beside = images[0]
    bent = [lanczos.length(slopes[i] - g - sign * of_beside) for i, sign in ((4, 1), (5, -1))]
    kink = jnp.maximum(*bent) > spaces.size * lanczos.length(moved[4]) + gradient_error
    change = jnp.where(jnp.isfinite(relative), relative, jnp.inf)
    return _Seen(change, ends_of, kink, lanczos.length(of_step + g), lanczos.length(slopes[0]))
