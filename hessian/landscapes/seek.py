"""From one point to a critical point: down to a minimum, up to a saddle, or along the gradient flow.

In the eigenbasis of the Hessian across the orbit, a_i = u_i.g, one step is

    down       p_i = -a_i / |lambda_i|                                    to a minimum
    up         the same, with + along k eigenvectors                      to a saddle of index k (Cerjan & Miller 1981)
    flow       p_i = -a_i (1 - exp(-lambda_i t)) / lambda_i               exact where the loss is quadratic

along each eigenvector at most as long as a radius; and of the flow as long as a time t.  How good the quadratic model
was is read off the gradient,

    q  =  |g(theta + p) - g - H p| / |g|

and the step is taken where q is small, and then lengthened; else shortened.  Of one eigenvector to climb, in a basin,
that nearest to the last one is kept; outside it is the lowest.

Across the orbits of w1, w2 -> c w1, w2 / c no step leads to their common center (0, 0): w1^2 - w2^2 stays.  A search
that is free takes H as it is.

| name | what it is |
|---|---|
| `FLOW`, `DOWN` | how a start moves; a number k >= 1 climbs to index k |
| `seek_all` | where many starts end, each with the verdict on the point there |
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from hessian.numerics import curvature_rounding, divided, divisor, length
from hessian.product import matrix
from hessian.spectra.eigh import eigh
from hessian.steps.eigenbasis import eigenbasis
from hessian.steps.second_order import Flat
from hessian.symmetry.declared import Symmetries
from hessian.verdicts.classify import classify
from hessian.verdicts.refinement import Refining, refine, same_point_distance
from hessian.verdicts.search import End, judged

FLOW, DOWN = -1, 0
REFINEMENTS = 20  # Newton steps at the end
GOOD, FAIR = 0.1, 0.3  # q below which a step is lengthened, and above which it is shortened
FAITHFUL = 0.05  # q above which a step of the flow is not taken
WORST = 1.0  # the same for the others
LEAST = 1e-9  # the radius, in length scales, at which a search gives up
LONGER = 10  # how many times more steps the flow may take, which are short
CLOSE = 1e-3  # Newton's step at which a walk ends, in units of the distance at which points are the same
NEAR = 1e-2  # the longest step of Newton's method at the end, in length scales
BEGIN = 0.1  # the first time of the flow, in units of 1 / |H|
VANISHED = 1e-16  # square of the share of a generator's field that is rounding


class _Walk(NamedTuple):
    """The state of a search; its loop reads only `going`."""

    going: jax.Array  # bool
    count: jax.Array  # type: ignore[assignment]
    theta: jax.Array
    value: jax.Array
    gradient: jax.Array
    reach: jax.Array  # the radius, in length scales; of the flow its time
    toward: jax.Array  # the eigenvector that is climbed, or 0


class Plan(NamedTuple):
    """What a search is compiled for."""

    steps: int
    symmetries: Symmetries | None
    modes: int  # how many eigenvectors are returned
    batch: int


@partial(jax.jit, static_argnums=(0, 1))
def seek_all(
    loss: Any,
    plan: Plan,
    like: Any,
    args: tuple,
    starts: jax.Array,
    towards: jax.Array,
    modes: jax.Array,
    free: jax.Array,
    radius: jax.Array,
    unit: jax.Array,
    room: jax.Array,
) -> tuple[End, jax.Array]:
    """Where the starts end, and the lowest eigenvectors there, across the orbit, shape (k, modes, n).

    Args:
        loss: of params like `like` and `args`, in the working precision.
        plan: what is static.
        like: params.
        args: further arguments of the loss.
        starts: shape (k, n).
        towards: shape (k, n), for each the direction that it climbs at first, or 0.
        modes: shape (k,), `FLOW`, `DOWN`, or the index to climb to.
        free: shape (k,), whether it also moves along the orbit.
        radius: the longest step, in length scales.
        unit: what is added to |theta| for a length scale.
        room: the largest length scale of a step.
    """
    flat = Flat(loss, ravel_pytree(like)[1], args)
    search = _Search(flat, plan, radius, unit, room)
    return jax.lax.map(search.end, (starts, towards, modes, free), batch_size=plan.batch)


@dataclass(frozen=True, eq=False)
class _Search:
    """The searches of one loss."""

    flat: Flat
    plan: Plan
    radius: jax.Array
    unit: jax.Array
    room: jax.Array

    def length_scale(self, theta):
        return self.unit + length(theta)

    def stride(self, theta):
        """The length scale of a step, which does not grow where all that happens lies far from zero."""
        return jnp.minimum(self.length_scale(theta), self.room)

    def fields(self, theta):
        return _fields(self.plan.symmetries, self.flat.unravel, theta)

    def end(self, each):
        """Where one search ends."""
        start, toward, mode, free = each
        theta, gradient = self.refined(self.walked(start, toward, mode, free))
        flat, scale = self.flat, self.length_scale(theta)
        params, symmetries = flat.unravel(theta), self.plan.symmetries
        point = classify(flat.loss, params, *flat.args, method="dense", symmetries=symmetries)
        vectors = _across(matrix(flat, theta), self.fields(theta))[1]
        across = jnp.where(jnp.arange(theta.size)[:, None] < theta.size - point.flat, vectors, 0)
        verdict = judged(flat.loss, params, flat.args, flat, theta, gradient, scale, point, jax.random.key(0))
        return verdict, across[: max(self.plan.modes, 3)]

    def walked(self, start, toward, mode, free):
        """The last state of the walk from a start."""
        value, gradient = jax.value_and_grad(self.flat)(start)
        largest = divisor(jnp.max(jnp.abs(matrix(self.flat, start))))
        reach = jnp.where(mode == FLOW, BEGIN / largest, self.radius)
        walk = _Walk(
            going=jnp.bool_(True),
            count=jnp.int32(0),
            theta=start,
            value=value,
            gradient=gradient,
            reach=reach,
            toward=toward,
        )
        return jax.lax.while_loop(lambda state: state.going, partial(self.step, mode, free), walk)

    def refined(self, walk):
        """The point, with its gradient, that Newton's method finds from the end of a walk; that end if none."""
        slope = jax.grad(self.flat)

        def once(state):
            found = eigenbasis(self.flat, state.theta, state.gradient, None, jax.random.key(0))
            scale = self.length_scale(state.theta)
            return refine(found, slope, state, scale, NEAR * self.stride(state.theta) / scale)

        whole = jnp.ones((), walk.theta.dtype)
        begin = Refining(
            going=jnp.bool_(True),
            left=jnp.int32(REFINEMENTS),
            theta=walk.theta,
            gradient=walk.gradient,
            share=whole,
            short=jnp.bool_(False),
        )
        end = jax.lax.while_loop(lambda state: state.going, once, begin)
        return jnp.where(end.short, end.theta, walk.theta), jnp.where(end.short, end.gradient, walk.gradient)

    def step(self, mode, free, walk):
        """The walk after one step that is tried."""
        h, fields = matrix(self.flat, walk.theta), self.fields(walk.theta)
        values, vectors = _across(h, jnp.where(free, 0, fields))
        a, scale, flowing = vectors @ walk.gradient, self.stride(walk.theta), mode == FLOW
        climbed = _climb(values, vectors, a, mode, walk.toward, walk.reach * scale)
        p = jnp.where(flowing, _flow(values, a, walk.reach), climbed)
        move = p @ vectors
        theta = walk.theta + move
        value, gradient = jax.value_and_grad(self.flat)(theta)
        q = length(gradient - walk.gradient - h @ move) / divisor(length(walk.gradient))
        lower = value <= walk.value + 4 * jnp.finfo(value.dtype).eps * jnp.abs(walk.value)
        within = ~flowing | (length(p) <= self.radius * scale)
        taken = (q <= jnp.where(flowing, FAITHFUL, WORST)) & (lower | (mode > 0)) & within & jnp.isfinite(value)
        good, fair = q <= jnp.where(flowing, FAITHFUL / 3, GOOD), q <= jnp.where(flowing, FAITHFUL, FAIR)
        factor = jnp.where(taken, jnp.where(good, 2.0, jnp.where(fair, 1.0, 0.5)), 0.25).astype(q.dtype)
        reach = jnp.where(flowing, walk.reach * factor, jnp.minimum(walk.reach * factor, self.radius))
        lost = ~flowing & (reach < LEAST) | ~jnp.isfinite(length(walk.gradient))
        most = jnp.where(flowing, LONGER, 1) * self.plan.steps
        going = ~self.arrived(values, a, self.length_scale(walk.theta)) & ~lost & (walk.count + 1 < most)
        followed = jnp.where((mode == 1) & taken, _followed(values, vectors, walk.toward), walk.toward)
        walk = walk._replace(going=going, count=walk.count + 1, reach=reach, toward=followed)
        there = walk._replace(theta=theta, value=value, gradient=gradient)
        return jax.tree.map(lambda new, old: jnp.where(taken, new, old), there, walk)

    def arrived(self, values, a, scale):
        """Whether Newton's step is short, and the slope rounding where there is no curvature."""
        seen = jnp.abs(values) > curvature_rounding(values)
        newton = length(divided(a, jnp.abs(values), seen))
        slight = jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values)) * scale
        return (newton <= CLOSE * same_point_distance(scale)) & jnp.all(seen | (jnp.abs(a) <= slight))


def _fields(symmetries, unravel, theta):
    """An orthonormal basis of the directions along the orbit, shape (m, n), with rows of zeros."""
    if symmetries is None or not symmetries.continuous:
        return jnp.zeros((0, theta.size), theta.dtype)
    fields = symmetries.fields(unravel(theta))
    fields = fields / divisor(jnp.linalg.norm(fields, axis=1))[:, None]
    with jax.default_matmul_precision("highest"):
        values, mixes = eigh(fields @ fields.T)
        kept = values > VANISHED ** (1 if values.dtype == jnp.float64 else 0.25) * values[-1]
        return divided(mixes.T @ fields, jnp.sqrt(jnp.where(kept, values, 1))[:, None], kept[:, None])


def _across(h, fields):
    """Eigenvalues of P H P and a row per eigenvector; those along the fields last, above all others."""
    with jax.default_matmul_precision("highest"):
        if len(fields):
            h = h - fields.T @ (fields @ h)
            h = h - (h @ fields.T) @ fields
            h = (h + h.T) / 2 + 2 * jnp.linalg.norm(h) * (fields.T @ fields)
    values, columns = eigh(h)
    return values, columns.T


def _followed(values, vectors, toward):
    """The eigenvector that is climbed to a saddle of index 1: the lowest, in a basin that nearest to the last one."""
    overlaps = vectors @ toward
    place = jnp.where(values[0] < 0, 0, jnp.argmax(jnp.abs(overlaps)))
    return vectors[place] * jnp.where(overlaps[place] < 0, -1, 1)


def _climb(values, vectors, a, mode, toward, longest):
    """Downhill, and uphill along `mode` of the eigenvectors, at most `longest` far."""
    followed = jnp.abs(vectors @ _followed(values, vectors, toward)) > 0.5
    uphill = jnp.where(mode == 1, followed, jnp.arange(len(values)) < mode)
    sizes = jnp.maximum(jnp.abs(values), jnp.abs(a) / longest)
    p = jnp.where(uphill, 1, -1) * divided(a, sizes)
    return p * jnp.minimum(1, longest / divisor(length(p)))


def _flow(values, a, time):
    """Where the flow of the quadratic model is after this time."""
    z = jnp.clip(values * time, -30, None)
    flat = jnp.abs(z) < 1e-8
    return -a * time * jnp.where(flat, 1, -jnp.expm1(-z) / jnp.where(flat, 1, z))
