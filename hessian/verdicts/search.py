"""A search for critical points of every index from many starts: grad L = 0, solved as |grad L|^2 -> min.

In the eigenbasis of the Hessian, a_i = u_i.g, each start takes one of these steps until |g| is rounding:

    levenberg_marquardt      p_i = -lambda_i a_i / (lambda_i^2 + mu)     |g| falls with every step; any index
    newton_mr                p_i = -a_i / lambda_i, halved until |g| falls                    any index
    eigenvector_following    p_i = +a_i / |lambda_i| for the `index` lowest, - for the others     that index
    gentlest_ascent          p_i = +rate a_i / |H|   for the `index` lowest, - for the others     that index

Where the first two stop at a point with H g = 0 but g != 0 it is `gradient flat`, and not listed (Frye et al. 2021).
Each end is refined by Newton's method (`hessian.verdicts.refinement`).  It counts where its last Newton step, undamped
along every eigenvalue beyond rounding, is short; it is then classified, and listed once.

Its result is `hessian.verdicts.critical_points.CriticalPoints`.

| name | what it is |
|---|---|
| `find_critical_points` | the search |
| `End`, `judged` | where one start ended, with its spectrum and verdict |
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from gdlab.ground.checks import choice, number, whole
from gdlab.ground.leaves import shown
from hessian.compiled import compiled
from hessian.limits import CURVATURE_ROUNDING
from hessian.models import WholeLoss, partition
from hessian.numerics import divided, divisor, length
from hessian.precision import Tree, working
from hessian.product import Loss, Params, second_order, slope_of
from hessian.roundoff import spread
from hessian.steps.eigenbasis import eigenbasis
from hessian.steps.second_order import Flat
from hessian.symmetry.declared import declare, refuse_wrong
from hessian.verdicts.classify import CriticalPoint, classify
from hessian.verdicts.critical_points import CriticalPoints, listed, orbits
from hessian.verdicts.refinement import Refining, refine, same_point_distance

SearchMethod = Literal["levenberg_marquardt", "newton_mr", "eigenvector_following", "gentlest_ascent"]
METHODS = ("levenberg_marquardt", "newton_mr", "eigenvector_following", "gentlest_ascent")
REFINEMENTS = 8  # Newton steps at the end, besides those that the search did not use
HOPELESS = 1e6  # damping, in units of |H|^2, at which a search gives up
DOUBT = 4  # the rounding of the gradient may be this many times what was measured
SAMPLES = 4  # of the rounding of the gradient


def find_critical_points(
    loss: Loss,
    starts: Tree,
    *args: Any,
    method: SearchMethod = "levenberg_marquardt",
    index: int = 1,
    steps: int = 200,
    separation: float | None = None,
    radius: ArrayLike = 0.1,
    batch: int = 4096,
    symmetries: Any = None,
) -> CriticalPoints[Tree]:
    """The critical points of every index to which the starts lead, each once, refined and classified (S53, S59).

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable, of few enough parameters for a dense Hessian.
        starts: pytree like params with a leading axis of starts.
        *args: further arguments of the loss.
        method: "levenberg_marquardt" (finds most), "newton_mr", or, for saddles of a given index near the starts,
            "eigenvector_following" or "gentlest_ascent".
        index: the index that the last two seek, from 0 to n.
        steps: at most, for each start, >= 1.
        separation: points closer than this, or than rounding lets them be known, are one; by default, along each
            coordinate, 1e-5 (1 + its largest size found), 1e-2 in float32.
        radius: the longest step of the last two, relative to 1 + |theta|, > 0.  Here and above, the largest size of
            the starts replaces 1 where it is smaller.
        batch: how many starts are searched at once, >= 1.
        symmetries: as in `hessian.classify`; kinds are then modulo these, and an orbit of points is listed once.

    Returns:
        `CriticalPoints`; print it for a table.  Not inside `jit`: how many there are is data.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError for an unknown method, or index, steps, batch out of range,
            and for symmetries that do not hold.

    >>> found = find_critical_points(lambda w: (1 - w[0] * w[1]) ** 2 + (w[0] - w[1]) ** 2,
    ...                              jnp.array([[2.0, 1.0], [-1.0, -1.5], [0.1, 0.0]]))
    >>> sorted(found.kind.tolist())
    ['minimum', 'minimum', 'saddle']
    """
    if separation is not None:
        number("separation", separation)
    search, stored, ends = _begun(loss, starts, args, method, index, steps, radius, batch, symmetries)
    units, symmetries = _units(_rows(_alone(starts)[0])), search.plan[-1]
    ends = jax.tree.map(np.asarray, ends())
    unravel = ravel_pytree(search.one)[1]
    found = listed(ends, unravel, separation, units)
    found = found if symmetries is None else orbits(found, symmetries, separation, units)
    if found.params is None:
        return found
    params, (_, rest, model) = stored(found.params), _alone(starts)
    if model is None:
        return found._replace(params=params)
    return found._replace(params=model.combine(params, [jnp.stack([leaf] * len(found.loss)) for leaf in rest]))


def seek_critical_points(
    loss: Loss,
    starts: Params,
    *args: Any,
    method: SearchMethod = "levenberg_marquardt",
    index: int = 1,
    steps: int = 200,
    radius: ArrayLike = 0.1,
    batch: int = 4096,
    symmetries: Any = None,
) -> "End":
    """Where each start ends, one row a start: the compiled part of `find_critical_points`, which also passes `jit`.

    Arguments and errors are those of `find_critical_points`.

    >>> end = jax.jit(lambda starts: seek_critical_points(lambda w: w[0] ** 2 - w[1] ** 2, starts))(jnp.ones((1, 2)))
    >>> bool(end.converged[0]), end.theta[0].tolist()
    (True, [0.0, 0.0])
    """
    return _begun(loss, starts, args, method, index, steps, radius, batch, symmetries)[2]()


class _Begun(NamedTuple):
    """What a search needs beside its starts."""

    loss: Loss
    plan: tuple
    one: Params  # like one start
    args: tuple


def _begun(loss, starts, args, method, index, steps, radius, batch, symmetries):
    """The search, checked; the storage of its starts; and what computes its ends."""
    starts, rest, model = _alone(starts)
    if model is not None:
        loss, args = WholeLoss(loss, model), (rest, *args)
    loss, one, args, stored = working(loss, jax.tree.map(_first, starts), *args, names=("loss", "starts"))
    n = sum(leaf.size for leaf in jax.tree.leaves(one))
    count = len(jax.tree.leaves(starts)[0])
    choice("method", method, METHODS)
    steps, batch, index = whole("steps", steps), whole("batch", batch), whole("index", index, 0, n)
    radius = number("radius", radius)
    symmetries = declare(symmetries, one)
    refuse_wrong(loss, one, args, symmetries)
    search = _Begun(loss, (method, index, steps, min(batch, count), symmetries), one, args)
    return search, stored, partial(_search, loss, search.plan, one, args, starts, radius)


def _alone(starts):
    """The differentiated part of starts, the other arrays of one start, and the model of both, as `partition`."""
    free, rest, model = partition(starts)
    count = len(jax.tree.leaves(free)[0]) if model is not None and jnp.ndim(jax.tree.leaves(free)[0]) else 0
    rows = [leaf for leaf in rest if jnp.ndim(leaf) and len(leaf) == count]
    if any(not bool(jnp.all(leaf == leaf[:1])) for leaf in rows if not isinstance(leaf, jax.core.Tracer)):
        msg = (
            "starts must have equal arrays where these are no parameters, as integers and keys are; got different ones"
        )
        raise ValueError(msg)
    return free, tuple(leaf[0] if jnp.ndim(leaf) and len(leaf) == count else leaf for leaf in rest), model


def _first(starts):
    if isinstance(starts, str) or jnp.ndim(starts) == 0 or len(starts) == 0:
        msg = f"starts must be arrays with a leading axis of at least one start; got {shown(starts)}"
        raise TypeError(msg)
    return starts[0] if isinstance(starts, jax.core.Tracer) else jnp.asarray(np.asarray(starts)[0])


def _rows(starts):
    """The starts on the host, one row each."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(starts)]
    return np.concatenate([leaf.reshape(len(leaf), -1).astype(np.float64) for leaf in leaves], axis=1)


def _units(starts):
    """For each coordinate the length that tells small from large: 1, or the largest start if that is smaller."""
    sizes = np.abs(np.where(np.isfinite(starts), starts, 0)).max(axis=0)
    largest = sizes.max()
    return np.minimum(1, np.where(sizes > 0, sizes, largest if largest > 0 else 1))


class End(NamedTuple):
    """Where one start ended."""

    theta: jax.Array
    loss: jax.Array
    eigenvalues: jax.Array
    point: CriticalPoint
    flatness: jax.Array  # |H g| / (|H| |g|)
    converged: jax.Array  # bool
    doubt: jax.Array  # (n,), how far from theta, along each coordinate, the critical point may be


class _Seek(NamedTuple):
    """The state of a search; its loop reads only `seeking`."""

    seeking: jax.Array  # bool
    count: jax.Array  # type: ignore[assignment]
    theta: jax.Array
    gradient: jax.Array
    damping: jax.Array  # in units of |H|^2
    streak: jax.Array  # how many steps in a row made the gradient smaller, or, below zero, did not


@compiled(kept_by=second_order, static_argnums=(0, 1))
def _search(loss, plan, params, args, starts, radius):
    method, index, steps, batch, symmetries = plan
    theta, unravel = ravel_pytree(params)
    starts = jax.vmap(lambda tree: ravel_pytree(tree)[0])(jax.tree.map(jnp.asarray, starts)).astype(theta.dtype)
    radius = jnp.asarray(radius, theta.dtype)
    flat = Flat(loss, unravel, args)
    gradient_at = slope_of(flat)
    key = jax.random.key(0)
    goal = {"levenberg_marquardt": _levenberg, "newton_mr": _newton}.get(method)
    largest = jnp.max(jnp.where(jnp.isfinite(starts), jnp.abs(starts), 0))
    unit = jnp.minimum(1, divisor(largest))

    def length_scale(theta):
        return unit + length(theta)

    def step(state):
        found = eigenbasis(flat, state.theta, state.gradient, None, key)
        spectral_norm = jnp.max(jnp.abs(found.values))
        if goal is not None:
            theta, gradient, damping, streak = _lowered(goal, gradient_at, state, found, spectral_norm)
        else:
            theta = state.theta + found.step(
                _climb(found, spectral_norm, length_scale(state.theta), method, index, radius)
            )
            gradient, damping, streak = gradient_at(theta), state.damping, state.streak
        norm = length(gradient)
        stuck = (norm >= length(state.gradient)) & (
            norm <= DOUBT * jnp.finfo(norm.dtype).eps * spectral_norm * length_scale(theta)
        )
        done = stuck | _still(found, gradient, length_scale(theta)) | (damping >= HOPELESS) | ~jnp.isfinite(norm)
        seeking = ~done & (state.count + 1 < steps)
        return _Seek(seeking, state.count + 1, theta, gradient, damping=damping, streak=streak)

    def refine_once(state):
        found = eigenbasis(flat, state.theta, state.gradient, None, key)
        return refine(found, gradient_at, state, length_scale(state.theta), 1e-2 if goal is None else 0.1)

    def seek(theta):
        none, damping = jnp.int32(0), jnp.asarray(1e-3, theta.dtype)
        start = _Seek(jnp.bool_(True), none, theta, gradient_at(theta), damping=damping, streak=none)
        state = jax.lax.while_loop(lambda state: state.seeking, step, start)
        left = jnp.int32(REFINEMENTS) if goal is None else REFINEMENTS + steps - state.count
        ones = jnp.ones_like(damping)
        first = Refining(jnp.bool_(True), left, state.theta, state.gradient, share=ones, short=jnp.bool_(False))
        end = jax.lax.while_loop(lambda state: state.going, refine_once, first)
        # Where Newton's method did not converge the end is that of the search, so that a flat gradient stays visible.
        theta, gradient = (
            jnp.where(end.short, end.theta, state.theta),
            jnp.where(end.short, end.gradient, state.gradient),
        )
        point = classify(loss, unravel(theta), *args, method="dense", symmetries=symmetries)
        return judged(loss, unravel(theta), args, flat, theta, gradient, length_scale(theta), point, key)

    return jax.lax.map(seek, starts, batch_size=batch)


def judged(loss, params, args, flat, theta, gradient, length_scale, point, key):
    """The point at which a search ended, with its spectrum and verdict."""
    found = eigenbasis(flat, theta, gradient, None, key)
    sizes = jnp.abs(found.values)
    seen = sizes > found.band
    noise = DOUBT * jnp.max(jnp.abs(spread(loss, params, args, SAMPLES)[0] @ found.vectors.T), axis=0)
    short, eps = same_point_distance(length_scale), jnp.finfo(theta.dtype).eps
    steps = divided(jnp.abs(found.projections), sizes)
    # Where the curvature is not known the gradient must be rounding, or even then Newton's step short.
    flat_there = (jnp.abs(found.projections) <= noise) | (steps <= short)
    converged = (length(jnp.where(seen, steps, 0)) <= short) & jnp.all(seen | flat_there)
    # Curvature within the zero band has no sign, but above a few eps |H| it still bounds the distance.
    is_curved = seen | (sizes > DOUBT * eps * jnp.max(sizes))
    doubt = jnp.where(is_curved, steps + divided(noise, sizes), 0)
    image, whole = length(found.values * found.projections), jnp.max(sizes) * length(gradient)
    return End(
        theta=theta,
        loss=flat(theta),
        eigenvalues=found.values,
        point=point,
        flatness=image / divisor(whole),
        converged=converged,
        doubt=jnp.sqrt(jnp.sum((doubt[:, None] * found.vectors) ** 2, axis=0)),
    )


def _still(found, gradient, length_scale):
    """Whether Newton's step is rounding along each eigenvector."""
    with jax.default_matmul_precision("highest"):
        projections = jnp.abs(found.vectors @ gradient)
    return jnp.all(
        projections <= CURVATURE_ROUNDING * jnp.finfo(gradient.dtype).eps * jnp.abs(found.values) * length_scale
    )


def _levenberg(found, spectral_norm, damping):
    """The Levenberg-Marquardt step on |g|^2 / 2, whose Gauss-Newton matrix is H^2."""
    x = found.values / divisor(spectral_norm)  # squares of scaled numbers neither overflow nor vanish
    return -x * found.projections / (x**2 + damping) / divisor(spectral_norm)


def _newton(found, spectral_norm, damping):
    """The shortest Newton step, halved as often as the damping was raised."""
    del spectral_norm
    return found.newton(found.projections) / (1 + damping)


def _lowered(goal, gradient_at, state, found, spectral_norm):
    """The step where it makes the gradient smaller, else none; with the damping and the streak after it.

    The k-th success in a row divides the damping by 5^k, the k-th failure multiplies it by 4^k: a soft direction needs
    a damping as small as its squared eigenvalue, and |g| shows no progress along it before.
    """
    theta = state.theta + found.step(goal(found, spectral_norm, state.damping))
    gradient = gradient_at(theta)
    good = length(gradient) < length(state.gradient)
    streak = jnp.where(good, jnp.maximum(state.streak, 0) + 1, jnp.minimum(state.streak, 0) - 1)
    factor = jnp.where(good, 0.2, 4.0).astype(theta.dtype) ** jnp.minimum(jnp.abs(streak), 12)
    least = jnp.finfo(theta.dtype).eps ** 2  # the smallest square of an eigenvalue that is not rounding
    damping = jnp.maximum(state.damping * factor, least)
    return jnp.where(good, theta, state.theta), jnp.where(good, gradient, state.gradient), damping, streak


def _climb(found, spectral_norm, length_scale, method, index, radius):
    """Uphill along the lowest `index` eigenvectors, downhill along the others, at most `radius` length scales far."""
    longest = radius * length_scale
    if method == "eigenvector_following":
        sizes = jnp.maximum(jnp.abs(found.values), jnp.abs(found.projections) / longest)
    else:
        sizes = 2 * spectral_norm
    side = jnp.where(jnp.arange(len(found.values)) < index, 1, -1)
    p = side * found.projections / divisor(sizes)
    return p * jnp.minimum(1, longest / divisor(length(p)))
