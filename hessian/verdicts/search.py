"""All critical points that many starts lead to, of every index: grad L = 0, sought as |grad L|^2 -> min.

In the modes of the Hessian, a_i = u_i.g, each start takes one of these steps until |g| is rounding:

    levenberg_marquardt      p_i = -lambda_i a_i / (lambda_i^2 + mu)     |g| falls with every step; any index
    newton_mr                p_i = -a_i / lambda_i, halved until |g| falls                    any index
    eigenvector_following    p_i = +a_i / |lambda_i| for the `index` lowest, - for the others     that index
    gentlest_ascent          p_i = +rate a_i / |H|   for the `index` lowest, - for the others     that index

The first two find any; where they stop short with H g = 0 but g != 0 the point is `gradient flat`, and never listed
(Frye et al. 2021).  What is found is refined by Newton's method (`hessian.verdicts.refinement`).  An end counts where
its last Newton step, undamped along every eigenvalue beyond rounding, is short; it is classified, and listed once.

| name | what it is |
|---|---|
| `find_critical_points` | the search |
| `CriticalPoints` | its result: a table, how often each point was found, which starts failed and why |
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from hessian.arguments import choice, number, shown, whole
from hessian.limits import CURVATURE_ROUNDING
from hessian.numerics import divided, divisor
from hessian.precision import working
from hessian.product import Loss, Params
from hessian.results import Outcome
from hessian.roundoff import spread
from hessian.spectra.lanczos import length
from hessian.steps.eigenbasis import modes
from hessian.steps.second_order import Flat
from hessian.verdicts.classify import CriticalPoint, Kind, classify
from hessian.verdicts.refinement import TOLERANCE, Refining, refined, short_way, undamped

SearchMethod = Literal["levenberg_marquardt", "newton_mr", "eigenvector_following", "gentlest_ascent"]
METHODS = ("levenberg_marquardt", "newton_mr", "eigenvector_following", "gentlest_ascent")
REFINEMENTS = 8  # Newton steps at the end, beside those that the search left
HOPELESS = 1e6  # damping, in units of |H|^2, at which nothing makes the gradient smaller
DOUBT = 4  # times the rounding of the gradient that was measured is what it may be
SAMPLES = 4  # of the rounding of the gradient
FLAT = 1e-2  # |H g| below this share of |H| |g| is called gradient flat


class SearchOutcome(Outcome):
    """How one start of a search ended."""

    CRITICAL = "critical"
    GRADIENT_FLAT = "gradient flat: H g = 0 but g is not"
    NOT_CONVERGED = "not converged"
    NOT_FINITE = "not finite"


class CriticalPoints(NamedTuple):
    """The distinct critical points, by index and then by loss, with k rows; arrays of numpy."""

    params: Params  # like the starts, k rows
    loss: np.ndarray  # (k,)
    code: np.ndarray  # (k,), the kind as an integer: a `hessian.Kind`
    index: np.ndarray  # type: ignore[assignment]  # (k,), Morse index
    nullity: np.ndarray  # (k,), eigenvalues without a certain sign
    gradient_norm: np.ndarray  # (k,)
    eigenvalues: np.ndarray  # (k, n), ascending
    found: np.ndarray  # (k,), how many starts ended there
    family: np.ndarray  # (k,), the same for points of equal loss and index: one critical set each, as a rule
    reached: np.ndarray  # (starts,), the row that each start ended at, or -1
    ended: np.ndarray  # (starts,), how each start ended, as an integer: a `hessian.SearchOutcome`
    separation: float  # points closer than this are the same; the largest of those along the coordinates

    @property
    def kind(self) -> np.ndarray:
        """The kinds in words, shape (k,)."""
        return np.asarray(Kind.words_of(self.code))

    @property
    def families(self) -> int:
        """How many different pairs of loss and index there are."""
        return len(set(self.family.tolist()))

    @property
    def euler_characteristic(self) -> int | None:
        """The sum of (-1)^index, which is 1 where the loss grows in every direction and no point is missing.

        None where a point is degenerate, as Poincare and Hopf count isolated ones only.
        """
        return None if self.nullity.any() else int(np.sum((-1) ** self.index))

    def __str__(self) -> str:
        rows = zip(self.kind, self.index, self.loss, self.gradient_norm, self.found, self.eigenvalues, strict=True)
        lines = [
            f"{i:4} {kind:12} {index:5} {loss:14.8g} {slope:9.1e} {found:6} {lambdas[0]:11.4g} {lambdas[-1]:11.4g}"
            for i, (kind, index, loss, slope, found, lambdas) in enumerate(rows)
        ]
        ends = ", ".join(f"{np.sum(self.ended == outcome)} {outcome.words}" for outcome in SearchOutcome)
        head = f"{'':4} {'kind':12} {'index':>5} {'loss':>14} {'|g|':>9} {'found':>6} {'lowest':>11} {'highest':>11}"
        return "\n".join([head, *lines, f"starts: {ends}"])


def find_critical_points(
    loss: Loss,
    starts: Params,
    *args: Any,
    method: SearchMethod = "levenberg_marquardt",
    index: int = 1,
    steps: int = 200,
    separation: float | None = None,
    radius: ArrayLike = 0.1,
    batch: int = 4096,
) -> CriticalPoints:
    """The critical points of every index that the starts lead to, each once, refined and classified (S53, S59).

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
        radius: the longest step of the last two, relative to 1 + |theta|, > 0.  Here and above, starts that are all
            smaller than 1 put their largest size in the place of 1.
        batch: how many starts are searched at once, >= 1.

    Returns:
        `CriticalPoints`; print it for a table.  Not inside `jit`: how many there are is data.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError for an unknown method, or index, steps, batch out of range.

    >>> found = find_critical_points(lambda w: (1 - w[0] * w[1]) ** 2 + (w[0] - w[1]) ** 2,
    ...                              jnp.array([[2.0, 1.0], [-1.0, -1.5], [0.1, 0.0]]))
    >>> sorted(found.kind.tolist())
    ['minimum', 'minimum', 'saddle']
    """
    loss, one, stored = working(loss, jax.tree.map(_first, starts), *args, names=("loss", "starts"))
    theta = ravel_pytree(one)[0]
    choice("method", method, METHODS)
    steps, batch, index = whole("steps", steps), whole("batch", batch), whole("index", index, 0, theta.size)
    radius = jnp.asarray(number("radius", radius), theta.dtype)
    if separation is not None:
        number("separation", separation)
    flat = jax.vmap(lambda tree: ravel_pytree(tree)[0])(jax.tree.map(jnp.asarray, starts)).astype(theta.dtype)
    units = _units(np.asarray(flat))
    ends = _search(loss, (method, index, steps, min(batch, len(flat))), one, args, flat, radius, units.max())
    ends = jax.tree.map(np.asarray, ends)
    unravel = ravel_pytree(one)[1]
    return _listed(ends, lambda row: stored(unravel(row)), separation, units)


def _first(starts):
    if isinstance(starts, str) or jnp.ndim(starts) == 0 or len(starts) == 0:
        msg = f"starts must be arrays with a leading axis of at least one start; got {shown(starts)}"
        raise TypeError(msg)
    return jnp.asarray(starts)[0]


def _units(starts):
    """For each coordinate the length that tells small from large: 1, or the largest start if that is smaller."""
    sizes = np.abs(np.where(np.isfinite(starts), starts, 0)).max(axis=0)
    largest = sizes.max()
    return np.minimum(1, np.where(sizes > 0, sizes, largest if largest > 0 else 1))


class _End(NamedTuple):
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


@partial(jax.jit, static_argnums=(0, 1))
def _search(loss, plan, like, args, starts, radius, unit):
    method, index, steps, batch = plan
    unravel = ravel_pytree(like)[1]
    flat = Flat(loss, unravel, args)
    slope = jax.grad(flat)
    key = jax.random.key(0)
    goal = {"levenberg_marquardt": _levenberg, "newton_mr": _newton}.get(method)
    unit = jnp.asarray(unit, starts.dtype)

    def reach(theta):
        return unit + length(theta)

    def step(state):
        found = modes(flat, state.theta, state.gradient, None, key)
        size = jnp.max(jnp.abs(found.values))
        if goal is not None:
            theta, gradient, damping, streak = _lowered(goal, slope, state, found, size)
        else:
            theta = state.theta + found.step(_climb(found, size, reach(state.theta), method, index, radius))
            gradient, damping, streak = slope(theta), state.damping, state.streak
        norm = length(gradient)
        stuck = (norm >= length(state.gradient)) & (norm <= DOUBT * jnp.finfo(norm.dtype).eps * size * reach(theta))
        done = stuck | _still(found, gradient, reach(theta)) | (damping >= HOPELESS) | ~jnp.isfinite(norm)
        return _Seek(~done & (state.count + 1 < steps), state.count + 1, theta, gradient, damping, streak)

    def refine(state):
        found = modes(flat, state.theta, state.gradient, None, key)
        return refined(found, slope, state, reach(state.theta), 1e-2 if goal is None else 0.1)

    def seek(theta):
        none, damping = jnp.int32(0), jnp.asarray(1e-3, theta.dtype)
        start = _Seek(jnp.bool_(True), none, theta, slope(theta), damping, none)
        state = jax.lax.while_loop(lambda state: state.seeking, step, start)
        left = jnp.int32(REFINEMENTS) if goal is None else REFINEMENTS + steps - state.count
        first = Refining(jnp.bool_(True), left, state.theta, state.gradient, jnp.ones_like(damping), jnp.bool_(False))
        end = jax.lax.while_loop(lambda state: state.going, refine, first)
        # Newton's method that led nowhere leaves the search where it was, as flat as that is.
        theta, gradient = (
            jnp.where(end.short, end.theta, state.theta),
            jnp.where(end.short, end.gradient, state.gradient),
        )
        point = classify(loss, unravel(theta), *args, method="dense")
        return _end(loss, unravel(theta), args, flat, theta, gradient, reach(theta), point, key)

    return jax.lax.map(seek, starts, batch_size=batch)


def _end(loss, params, args, flat, theta, gradient, reach, point, key):
    """What is known of the point at which a search ended."""
    found = modes(flat, theta, gradient, None, key)
    sizes = jnp.abs(found.values)
    seen = sizes > found.band
    noise = DOUBT * jnp.max(jnp.abs(spread(loss, params, args, SAMPLES)[0] @ found.vectors.T), axis=0)
    short, eps = short_way(reach), jnp.finfo(theta.dtype).eps
    steps = divided(jnp.abs(found.along), sizes)
    # Where the curvature is not known the gradient must be rounding, or even then Newton's step short.
    flat_there = (jnp.abs(found.along) <= noise) | (steps <= short)
    converged = (length(jnp.where(seen, steps, 0)) <= short) & jnp.all(seen | flat_there)
    # Curvature within the band tells no sign, but above a few eps |H| it tells how far the point can be.
    bent = seen | (sizes > DOUBT * eps * jnp.max(sizes))
    doubt = jnp.where(bent, steps + divided(noise, sizes), 0)
    image, whole = length(found.values * found.along), jnp.max(sizes) * length(gradient)
    return _End(
        theta,
        flat(theta),
        found.values,
        point,
        image / divisor(whole),
        converged,
        jnp.sqrt(jnp.sum((doubt[:, None] * found.vectors) ** 2, axis=0)),
    )


def _still(found, gradient, reach):
    """Whether Newton's step is rounding along each mode."""
    with jax.default_matmul_precision("highest"):
        along = jnp.abs(found.vectors @ gradient)
    return jnp.all(along <= CURVATURE_ROUNDING * jnp.finfo(gradient.dtype).eps * jnp.abs(found.values) * reach)


def _levenberg(found, size, damping):
    """The Levenberg-Marquardt step on |g|^2 / 2, whose Gauss-Newton matrix is H^2."""
    x = found.values / divisor(size)  # squares of scaled numbers neither overflow nor vanish
    return -x * found.along / (x**2 + damping) / divisor(size)


def _newton(found, size, damping):
    """The shortest Newton step, halved as often as the damping was raised."""
    del size
    return undamped(found, found.along) / (1 + damping)


def _lowered(goal, slope, state, found, size):
    """The step where it makes the gradient smaller, else none; with the damping and the streak after it.

    Each success in a row divides the damping by 5 more than the one before, each failure multiplies it by 4 more: a
    soft mode needs one of the square of its eigenvalue, and soon, as |g| shows no progress along it under a larger one.
    """
    theta = state.theta + found.step(goal(found, size, state.damping))
    gradient = slope(theta)
    good = length(gradient) < length(state.gradient)
    streak = jnp.where(good, jnp.maximum(state.streak, 0) + 1, jnp.minimum(state.streak, 0) - 1)
    factor = jnp.where(good, 0.2, 4.0).astype(theta.dtype) ** jnp.minimum(jnp.abs(streak), 12)
    least = jnp.finfo(theta.dtype).eps ** 2  # the smallest square of an eigenvalue that is not rounding
    damping = jnp.maximum(state.damping * factor, least)
    return jnp.where(good, theta, state.theta), jnp.where(good, gradient, state.gradient), damping, streak


def _climb(found, size, reach, method, index, radius):
    """Uphill along the lowest `index` modes and downhill along the others, so far at most."""
    longest = radius * reach
    if method == "eigenvector_following":
        sizes = jnp.maximum(jnp.abs(found.values), jnp.abs(found.along) / longest)
    else:
        sizes = 2 * size
    side = jnp.where(jnp.arange(len(found.values)) < index, 1, -1)
    p = side * found.along / divisor(sizes)
    return p * jnp.minimum(1, longest / divisor(length(p)))


def _listed(ends, unravel, separation, units):
    """Each point once, the best of its kin, by index and then by loss."""
    code, theta, norm = ends.point.code, ends.theta, ends.point.gradient_norm
    critical_there = (code != Kind.UNDETERMINED) & (code != Kind.NOT_CRITICAL)
    hit = ends.converged & critical_there & np.isfinite(ends.loss)
    not_finite = ~np.isfinite(norm) | ~np.isfinite(ends.loss)
    ended = np.select(
        [hit, not_finite, ends.flatness <= FLAT],
        [SearchOutcome.CRITICAL, SearchOutcome.NOT_FINITE, SearchOutcome.GRADIENT_FLAT],
        SearchOutcome.NOT_CONVERGED,
    )
    double = theta.dtype == np.float64
    if separation is None:
        separation = TOLERANCE[double] * (units + np.abs(theta[hit]).max(axis=0, initial=0))
    reached, chosen = np.full(len(theta), -1), list[int]()
    for row in np.argsort(norm, kind="stable"):
        if hit[row] and reached[row] < 0:
            apart = np.maximum(np.abs(theta - theta[row]) - ends.doubt - ends.doubt[row], 0)
            near = hit & (reached < 0) & (np.linalg.norm(apart / separation, axis=1) <= 1)
            reached[near] = len(chosen)
            chosen.append(row)
    rows = np.array(chosen, int)
    order = np.lexsort((ends.loss[rows], ends.point.index[rows])) if len(rows) else rows
    place = np.empty(len(rows), int)
    place[order] = np.arange(len(rows))
    reached = np.where(reached >= 0, place[reached] if len(rows) else -1, -1)
    rows = rows[order]
    loss, index = ends.loss[rows], ends.point.index[rows]
    return CriticalPoints(
        jax.vmap(unravel)(jnp.asarray(theta[rows])) if len(rows) else None,
        loss,
        code[rows],
        index,
        ends.point.inertia.zero[rows],
        norm[rows],
        ends.eigenvalues[rows],
        np.bincount(reached[reached >= 0], minlength=len(rows)),
        _families(loss, index, 1e-6 if double else 1e-3),
        reached,
        ended,
        float(np.max(separation)),
    )


def _families(loss, index, tol):
    """A number for each pair of index and loss; losses count as equal within tol, relative to their spread."""
    if not len(loss):
        return np.zeros(0, int)
    scale = tol * max(float(np.ptp(loss)), float(np.abs(loss).max()) * 1e-3, 1e-300)
    new = np.r_[True, (np.diff(index) != 0) | (np.diff(loss) > scale)]  # rows are sorted by index, then by loss
    return np.cumsum(new) - 1
