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

| name | what it is |
|---|---|
| `FLOW`, `DOWN` | how a start moves; a number k >= 1 climbs to index k |
| `seek_all` | where many starts end, each with the verdict on the point there |
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from hessian.numerics import divided, divisor, length
from hessian.product import matrix
from hessian.spectra.eigh import eigh
from hessian.spectra.spectrum import rounding
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
    radius: jax.Array,
    unit: jax.Array,
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
        radius: the longest step, in length scales.
        unit: what is added to |theta| for a length scale.
    """
    unravel = ravel_pytree(like)[1]
    flat = Flat(loss, unravel, args)
    at = jax.value_and_grad(flat)

    def length_scale(theta):
        return unit + length(theta)

    def step(mode, walk):
        h = matrix(flat, walk.theta)
        values, vectors = _across(h, _fields(plan.symmetries, unravel, walk.theta))
        a = vectors @ walk.gradient
        seen = jnp.abs(values) > rounding(values)
        p = jnp.where(
            mode == FLOW,
            _flow(values, a, walk.reach),
            _climb(values, vectors, a, mode, walk.toward, walk.reach * length_scale(walk.theta)),
        )
        followed = _followed(values, vectors, walk.toward)
        move = p @ vectors
        theta = walk.theta + move
        value, gradient = at(theta)
        q = length(gradient - walk.gradient - h @ move) / divisor(length(walk.gradient))
        size, longest = length(p), radius * length_scale(walk.theta)
        lower = value <= walk.value + 4 * jnp.finfo(value.dtype).eps * jnp.abs(walk.value)
        fit = q <= jnp.where(mode == FLOW, FAITHFUL, WORST)
        taken = fit & (lower | (mode > 0)) & ((mode != FLOW) | (size <= longest)) & jnp.isfinite(value)
        good, fair = (
            q <= jnp.where(mode == FLOW, FAITHFUL / 3, GOOD),
            q <= jnp.where(mode == FLOW, FAITHFUL, FAIR),
        )
        # A step that was cut by neither radius nor time says nothing against a longer one.
        factor = jnp.where(taken, jnp.where(good, 2.0, jnp.where(fair, 1.0, 0.5)), 0.25).astype(size.dtype)
        reach = walk.reach * factor
        reach = jnp.where(mode == FLOW, reach, jnp.minimum(reach, radius))
        newton = length(divided(a, jnp.abs(values), seen))
        arrived = (newton <= 1e-3 * same_point_distance(length_scale(walk.theta))) & jnp.all(
            seen | (jnp.abs(a) <= _slight(values, length_scale(walk.theta)))
        )
        lost = (mode != FLOW) & (reach < LEAST)
        going = ~arrived & ~lost & (walk.count + 1 < plan.steps) & jnp.isfinite(length(walk.gradient))
        return _Walk(
            going,
            walk.count + 1,
            jnp.where(taken, theta, walk.theta),
            jnp.where(taken, value, walk.value),
            jnp.where(taken, gradient, walk.gradient),
            reach,
            jnp.where((mode == 1) & taken, followed, walk.toward),
        )

    def refine_once(state):
        found = eigenbasis(flat, state.theta, state.gradient, None, jax.random.key(0))
        return refine(found, at_gradient, state, length_scale(state.theta), 0.01)

    def at_gradient(theta):
        return at(theta)[1]

    def seek(each):
        start, toward, mode = each
        value, gradient = at(start)
        some = divisor(jnp.max(jnp.abs(matrix(flat, start))))
        reach = jnp.where(mode == FLOW, 0.1 / some, radius)
        walk = _Walk(jnp.bool_(True), jnp.int32(0), start, value, gradient, reach, toward)
        walk = jax.lax.while_loop(lambda state: state.going, partial(step, mode), walk)
        one = jnp.ones((), start.dtype)
        first = Refining(
            jnp.bool_(True), jnp.int32(REFINEMENTS), walk.theta, walk.gradient, one, jnp.bool_(False)
        )
        end = jax.lax.while_loop(lambda state: state.going, refine_once, first)
        theta = jnp.where(end.short, end.theta, walk.theta)
        gradient = jnp.where(end.short, end.gradient, walk.gradient)
        point = classify(loss, unravel(theta), *args, method="dense", symmetries=plan.symmetries)
        values, vectors = _across(matrix(flat, theta), _fields(plan.symmetries, unravel, theta))
        lowest = jnp.where(jnp.arange(theta.size)[:, None] < theta.size - point.flat, vectors, 0)[: max(plan.modes, 3)]
        scale = length_scale(theta)
        end = judged(loss, unravel(theta), args, flat, theta, gradient, scale, point, jax.random.key(0))
        return end, lowest

    return jax.lax.map(seek, (starts, towards, modes), batch_size=plan.batch)


def _slight(values, length_scale):
    """The slope along an eigenvector without curvature that is rounding."""
    return jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values)) * length_scale


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
