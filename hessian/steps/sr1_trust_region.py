"""Trust-region steps with a Hessian that is computed once and then updated from gradients.

    compute  B = H(theta), n products; done where |g| and -lambda_1 are within their tolerances
    step     p minimizes g.p + p.B p / 2 in |p| <= radius, hard case included; then
             B <- B + r r^T / r.p  with  r = y - B p,  y the change of the gradient       (symmetric rank one)

A step costs one gradient; recomputing the Hessian costs about 2n.  Steps follow the SR1 model until convergence, or
until 2n of them have been poor; then the Hessian is recomputed.  Unlike BFGS the SR1 update keeps negative curvature
negative (Conn, Gould & Toint 1991).  Above 512 parameters B is H within two Krylov spaces, and is recomputed for each
step.  A step is judged as `hessian.steps.acceptance` says; the loss never rises.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hessian.limits import DENSE_STEP
from hessian.numerics import divided, length, length_scale
from hessian.product import slope_of
from hessian.steps.acceptance import accepted, gradient_fell, loss_rounding, smallest_visible_step
from hessian.steps.eigenbasis import Eigenbasis, eigenbasis, sr1_update
from hessian.steps.second_order import Flat, TrustRegion
from hessian.steps.trust_region import in_ball
from hessian.tolerances import slope_tols

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
    moved: jax.Array  # bool: a step since B was computed lowered the loss, or none was needed
    convex: jax.Array  # bool: the curvature, as far as it is known, has no negative eigenvalue
    left: jax.Array  # steps that may still be taken
    escapes: jax.Array
    steps: jax.Array
    gradients: jax.Array
    num_matvecs: jax.Array
    evaluations: jax.Array  # of the loss alone
    key: jax.Array


class _Stride(NamedTuple):
    """The steps between two computations of the Hessian; the loop reads only `going`."""

    going: jax.Array  # bool
    walk: Walk
    found: Eigenbasis
    failed: jax.Array  # steps in a row
    poor: jax.Array  # steps in all


@dataclass(frozen=True, eq=False)
class Goal:
    """What the steps lower, and when they are done."""

    flat: Flat
    floor: jax.Array  # a loss below this counts as unbounded
    gradient_tol: Any
    curvature_tol: Any
    share: Any = 1  # of the gradient's tolerance: less where a verdict asks for more steps

    def is_convex(self, found: Eigenbasis) -> jax.Array:
        """Whether the model has no negative eigenvalue beyond its tolerance."""
        return found.values[0] >= -(found.band if self.curvature_tol is None else self.curvature_tol)

    def is_met(self, walk: Walk, found: Eigenbasis, share: float) -> jax.Array:
        """Whether the gradient is within this share of its tolerance, along every eigenvector."""
        share = share * self.share
        if self.gradient_tol is not None:
            tolerance = share * jnp.asarray(self.gradient_tol, walk.theta.dtype)
            return (length(walk.gradient) <= tolerance) & _newton_step_is_short(walk, found)
        seen = jnp.abs(found.values) > found.band
        slopes = slope_tols(walk.theta, walk.value, found.values, seen, 0, _shortest_step(walk))[1]
        visible = jnp.where(seen, jnp.sqrt(loss_rounding(walk.value) * jnp.abs(found.values)), 0)
        return jnp.all(jnp.abs(found.projections) <= share * jnp.maximum(slopes, visible))


def krylov_size(theta: jax.Array) -> int | None:
    """The size of the Krylov spaces in which the Hessian is known; None for all of it."""
    return None if theta.size <= DENSE_STEP else KRYLOV


def sr1_trust_region(goal: Goal, walk: Walk) -> Walk:
    """The walk after steps until the tolerances are met, none lowers the loss, or the budget is spent."""
    gradient = slope_of(goal.flat)(walk.theta)
    walk = walk._replace(walking=walk.left > 0, gradient=gradient, gradients=walk.gradients + 1)
    return jax.lax.while_loop(lambda walk: walk.walking, partial(_computed, goal), walk)


def _computed(goal, walk):
    """The walk after the Hessian was computed once, and the steps that follow."""
    key, fresh = jax.random.split(walk.key)
    found = eigenbasis(goal.flat, walk.theta, walk.gradient, krylov_size(walk.theta), fresh)
    convex = goal.is_convex(found)
    settled = goal.is_met(walk, found, 1) & convex
    # Where there is negative curvature no region is so small that the decrease along it cannot be seen.
    negative_curvature = jnp.where(convex, jnp.inf, -found.values[0])
    walk = walk._replace(
        num_matvecs=walk.num_matvecs + found.num_matvecs,
        key=key,
        region=jnp.maximum(walk.region, smallest_visible_step(walk.value, negative_curvature)),
        moved=settled,
        convex=convex,
    )
    begin = _Stride(~settled, walk, found, jnp.int32(0), jnp.int32(0))
    walk, found = jax.lax.while_loop(lambda stride: stride.going, partial(_step, goal), begin)[1:3]
    # A small gradient is enough where the curvature seems positive; the verdict looks at it again.
    there = goal.is_met(walk, found, 0.5) & walk.convex
    return walk._replace(walking=walk.moved & ~settled & ~there & (walk.left > 0) & (walk.value >= goal.floor))


def _step(goal, stride):
    """The stride after one step, taken where it lowers the loss or, where that is hidden, the gradient."""
    walk, found = stride.walk, stride.found
    p, point, on_boundary, tried = _proposed(goal.flat, walk, found)
    value, gradient = jax.value_and_grad(goal.flat)(point)
    predicted = -(found.projections @ p + 0.5 * found.values @ p**2)
    fell = gradient_fell(jnp.linalg.norm(walk.gradient), jnp.linalg.norm(gradient))
    good, ratio = accepted(walk.value, value, predicted, predicted > 0, fell)
    size = jnp.linalg.norm(p)
    adapted = TrustRegion.adapt(walk.region, size, ratio, on_boundary)
    after = walk._replace(
        theta=jnp.where(good, point, walk.theta),
        value=jnp.where(good, value, walk.value),
        gradient=jnp.where(good, gradient, walk.gradient),
        region=jnp.where(good & (ratio == 0), walk.region, adapted),
        moved=walk.moved | good,
        left=walk.left - 1,
        steps=walk.steps + good,
        gradients=walk.gradients + 1,
        evaluations=walk.evaluations + tried,
    )
    failed = jnp.where(good, 0, stride.failed + 1)
    poor = stride.poor + (ratio < POOR)
    going = (size > 0) & (after.left > 0) & (after.value >= goal.floor) & (failed < TRIES)
    if krylov_size(walk.theta) is not None:
        return _Stride(going & ~good, after, found, failed, poor)
    # Before the first success B is exact, so a failure teaches nothing; over a very short step y is mostly rounding.
    informative = after.moved & (size > _shortest_step(walk))
    found = sr1_update(found, p, jnp.where(informative, gradient - walk.gradient, jnp.nan), after.gradient)
    after = after._replace(convex=goal.is_convex(found))
    converged = goal.is_met(after, found, 0.5) & (good | after.convex)
    going &= ~converged & ~(after.moved & (poor >= 2 * p.size))
    return _Stride(going, after, found, failed, poor)


def _shortest_step(walk):
    """The shortest step that can be told from none; a verdict asks for less."""
    return jnp.sqrt(jnp.finfo(walk.theta.dtype).eps) * length_scale(walk.theta)


def _newton_step_is_short(walk, found):
    """Whether Newton's step is as short, or its decrease as small, as rounding can tell."""
    p = divided(found.projections, found.values, found.values > found.band)
    return (length(p) <= _shortest_step(walk)) | (found.projections @ p / 2 <= loss_rounding(walk.value))


def _proposed(flat, walk, found):
    """The step in coordinates, where it leads, whether it reaches the boundary, and the losses that this took."""
    inside, rest, size = in_ball(found, walk.region)
    out = jnp.zeros_like(inside).at[0].set(rest)
    ahead, behind = walk.theta + found.step(inside + out), walk.theta + found.step(inside - out)
    hard = rest > 0

    def lower():
        values = jnp.stack([flat(ahead), flat(behind)])
        return jnp.argmin(jnp.where(jnp.isfinite(values), values, jnp.inf)) == 1

    turned = jax.lax.cond(hard, lower, lambda: jnp.bool_(False))
    p = inside + jnp.where(turned, -out, out)
    return p, jnp.where(turned, behind, ahead), size >= 0.99 * walk.region, jnp.where(hard, 2, 0)
