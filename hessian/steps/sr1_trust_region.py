"""Trust-region steps whose curvature is learned on the way: one look at the Hessian, then many gradients.

    look     B = H(theta), n products; done where |g| and -lambda_1 are within their tolerances
    step     p minimises g.p + p.B p / 2 in |p| <= radius, hard case included; then
             B <- B + r r^T / r.p  with  r = y - B p,  y the change of the gradient       (symmetric rank one)

A step costs one gradient, a look 2n: the steps go on until they end, or as many of them were poor as a look costs.
Unlike BFGS the update keeps what is negative negative (Conn, Gould & Toint 1991).  Above 512 parameters B is H within
two Krylov spaces, and each step has its own look.  A step is judged by the loss where its decrease can be seen, else by
the gradient; the loss never rises.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hessian.numerics import divided, divisor
from hessian.spectra.lanczos import length
from hessian.steps.eigenbasis import Modes, learned, modes
from hessian.steps.second_order import ROUNDING, Flat, TrustRegion, within
from hessian.tolerances import allowed

DENSE = 512  # parameters up to which a look takes the dense Hessian
KRYLOV = 40  # the size of its Krylov spaces beyond that
TRIES = 30  # steps in a row that may fail
POOR = 0.1  # a step that brings less than this share of what was predicted


class Walk(NamedTuple):
    """Where a walk is; loops read only `walking`."""

    walking: jax.Array  # bool
    theta: jax.Array
    value: jax.Array
    gradient: jax.Array
    region: jax.Array
    moved: jax.Array  # bool: a step since the last look lowered the loss, or none was needed
    convex: jax.Array  # bool: the curvature, as far as it is known, has no negative eigenvalue
    left: jax.Array  # steps that may still be taken
    escapes: jax.Array
    steps: jax.Array
    gradients: jax.Array
    products: jax.Array
    evaluations: jax.Array  # of the loss alone
    key: jax.Array


class _Stride(NamedTuple):
    """The steps from one look to the next; the loop reads only `going`."""

    going: jax.Array  # bool
    walk: Walk
    found: Modes
    failed: jax.Array  # steps in a row
    poor: jax.Array  # steps in all


def finish(flat: Flat, walk: Walk, floor: jax.Array, gradient_tol: Any, curvature_tol: Any) -> Walk:
    """The walk after steps until the tolerances are met, none lowers the loss, or the budget is spent."""
    krylov = None if walk.theta.size <= DENSE else KRYLOV
    patience = 2 * walk.theta.size

    def done(walk, found, share):
        """Whether the gradient is within this share of its tolerance, along every mode."""
        if gradient_tol is not None:
            return (length(walk.gradient) <= share * jnp.asarray(gradient_tol, walk.theta.dtype)) & short(walk, found)
        seen = jnp.abs(found.values) > found.band
        hidden = ROUNDING * jnp.finfo(walk.theta.dtype).eps * jnp.abs(walk.value)
        slopes = allowed(walk.theta, walk.value, found.values, seen, 0, shortest(walk))[1]
        slopes = jnp.maximum(slopes, jnp.where(seen, jnp.sqrt(hidden * jnp.abs(found.values)), 0))
        return jnp.all(jnp.abs(found.along) <= share * slopes)

    def shortest(walk):
        """A step that is as short as can be told: a verdict asks for less."""
        return jnp.sqrt(jnp.finfo(walk.theta.dtype).eps) * (1 + length(walk.theta))

    def short(walk, found):
        """Whether what is left of the way is as short, or its decrease as small, as can be told."""
        p = divided(found.along, found.values, found.values > found.band)
        hidden = ROUNDING * jnp.finfo(walk.theta.dtype).eps * jnp.abs(walk.value)
        return (length(p) <= shortest(walk)) | (found.along @ p / 2 <= hidden)

    def convex(found):
        return found.values[0] >= -(found.band if curvature_tol is None else curvature_tol)

    def look(walk):
        key, fresh = jax.random.split(walk.key)
        found = modes(flat, walk.theta, walk.gradient, krylov, fresh)
        settled = done(walk, found, 1) & convex(found)
        # Where there is negative curvature no region is so small that the decrease along it cannot be seen.
        bend = jnp.where(convex(found), jnp.inf, -found.values[0])
        visible = jnp.sqrt(128 * jnp.finfo(bend.dtype).eps * jnp.abs(walk.value) / bend)
        walk = walk._replace(
            products=walk.products + found.products,
            key=key,
            region=jnp.maximum(walk.region, visible),
            moved=settled,
            convex=convex(found),
        )
        begin = _Stride(~settled, walk, found, jnp.int32(0), jnp.int32(0))
        walk, found = jax.lax.while_loop(lambda stride: stride.going, step, begin)[1:3]
        # A small gradient is enough where the curvature seems positive; the verdict looks at it again.
        there = done(walk, found, 0.5) & walk.convex
        return walk._replace(walking=walk.moved & ~settled & ~there & (walk.left > 0) & (walk.value >= floor))

    def step(stride):
        walk, found = stride.walk, stride.found
        p, point, on_boundary, tried = _proposed(flat, walk, found)
        value, gradient = jax.value_and_grad(flat)(point)
        predicted = -(found.along @ p + 0.5 * found.values @ p**2)
        good, ratio = _judged(walk, value, gradient, predicted)
        size = jnp.linalg.norm(p)
        after = walk._replace(
            theta=jnp.where(good, point, walk.theta),
            value=jnp.where(good, value, walk.value),
            gradient=jnp.where(good, gradient, walk.gradient),
            region=jnp.where(
                good & (ratio == 0), walk.region, TrustRegion.adapt(walk.region, size, ratio, on_boundary)
            ),
            moved=walk.moved | good,
            left=walk.left - 1,
            steps=walk.steps + good,
            gradients=walk.gradients + 1,
            evaluations=walk.evaluations + tried,
        )
        failed = jnp.where(good, 0, stride.failed + 1)
        poor = stride.poor + (ratio < POOR)
        going = (size > 0) & (after.left > 0) & (after.value >= floor) & (failed < TRIES)
        if krylov is None:
            # Right after a look B is exact where a step fails; and over a very short one changes are mostly rounding.
            told = after.moved & (size > jnp.sqrt(jnp.finfo(size.dtype).eps) * (1 + jnp.linalg.norm(walk.theta)))
            found = learned(found, p, jnp.where(told, gradient - walk.gradient, jnp.nan), after.gradient)
            after = after._replace(convex=convex(found))
            arrived = done(after, found, 0.5) & (good | after.convex)
            going &= ~arrived & ~(after.moved & (poor >= patience))
        else:
            going &= ~good
        return _Stride(going, after, found, failed, poor)

    gradient = jax.grad(flat)(walk.theta)
    walk = walk._replace(walking=walk.left > 0, gradient=gradient, gradients=walk.gradients + 1)
    return jax.lax.while_loop(lambda walk: walk.walking, look, walk)


def _proposed(flat, walk, found):
    """The step in coordinates, where it leads, whether it reaches the boundary, and the losses that this took."""
    inside, rest, size = within(found, walk.region)
    out = jnp.zeros_like(inside).at[0].set(rest)
    ahead, behind = walk.theta + found.step(inside + out), walk.theta + found.step(inside - out)
    hard = rest > 0

    def lower():
        values = jnp.stack([flat(ahead), flat(behind)])
        return jnp.argmin(jnp.where(jnp.isfinite(values), values, jnp.inf)) == 1

    turned = jax.lax.cond(hard, lower, lambda: jnp.bool_(False))
    p = inside + jnp.where(turned, -out, out)
    return p, jnp.where(turned, behind, ahead), size >= 0.99 * walk.region, jnp.where(hard, 2, 0)


def _judged(walk, value, gradient, predicted):
    """Whether a step is taken, and the share of the predicted decrease that it brings; 0 where that is not seen."""
    ratio = (walk.value - value) / divisor(predicted)
    seen = (value < walk.value) & (ratio > 1e-4)
    hidden = (predicted <= ROUNDING * jnp.finfo(value.dtype).eps * jnp.abs(walk.value)) & (value <= walk.value)
    calmer = hidden & (jnp.linalg.norm(gradient) < 0.9 * jnp.linalg.norm(walk.gradient))
    return (predicted > 0) & (seen | calmer), jnp.where(seen, ratio, 0)
