"""All critical points that many starts lead to, of every index: grad L = 0, sought as |grad L|^2 -> min.

In the modes of the Hessian, a_i = u_i.g, each start takes one of these steps until |g| is rounding:

    levenberg_marquardt      p_i = -lambda_i a_i / (lambda_i^2 + mu)     |g| falls with every step; any index
    newton_mr                p_i = -a_i / lambda_i, halved until |g| falls                    any index
    eigenvector_following    p_i = +a_i / |lambda_i| for the `index` lowest, - for the others     that index
    gentlest_ascent          p_i = +rate a_i / |H|   for the `index` lowest, - for the others     that index

The first two find any; where they stop short with H g = 0 but g != 0 the point is `gradient flat`, and never listed
(Frye et al. 2021).  What is found is refined by Newton's method, classified, and listed once.

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

from hessian import critical
from hessian.arguments import choice, number, shown, whole
from hessian.critical import KINDS, CriticalPoint, classify
from hessian.division import divided, divisor
from hessian.modes import modes
from hessian.precision import working
from hessian.product import Loss, Params
from hessian.second_order import Flat

SearchMethod = Literal["levenberg_marquardt", "newton_mr", "eigenvector_following", "gentlest_ascent"]
METHODS = ("levenberg_marquardt", "newton_mr", "eigenvector_following", "gentlest_ascent")
REFINEMENTS = 4  # Newton steps at the end, each kept where the gradient falls
HOPELESS = 1e6  # damping, in units of |H|^2, at which nothing makes the gradient smaller
FLAT = 1e-2  # |H g| below this share of |H| |g| is called gradient flat
REASONS = ("critical", "gradient flat: H g = 0 but g is not", "not converged", "not finite")


class CriticalPoints(NamedTuple):
    """The distinct critical points, by index and then by loss, with k rows; arrays of numpy."""

    params: Params  # like the starts, k rows
    loss: np.ndarray  # (k,)
    code: np.ndarray  # (k,), the kind as an index of hessian.KINDS
    index: np.ndarray  # type: ignore[assignment]  # (k,), Morse index
    nullity: np.ndarray  # (k,), eigenvalues without a certain sign
    gradient_norm: np.ndarray  # (k,)
    eigenvalues: np.ndarray  # (k, n), ascending
    found: np.ndarray  # (k,), how many starts ended there
    family: np.ndarray  # (k,), the same for points of equal loss and index: one critical set each, as a rule
    reached: np.ndarray  # (starts,), the row that each start ended at, or -1
    ended: np.ndarray  # (starts,), an index of hessian.search.REASONS
    separation: float  # points closer than this are the same

    @property
    def kind(self) -> np.ndarray:
        """The kinds in words, shape (k,)."""
        return np.array(KINDS)[self.code]

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
        ends = ", ".join(f"{np.sum(self.ended == i)} {reason}" for i, reason in enumerate(REASONS))
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
        separation: points closer than this are one; by default 1e-5 (1 + largest |theta| found), 1e-2 in float32.
        radius: the longest step of the last two, relative to 1 + |theta|, > 0.
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
    ends = _search(loss, (method, index, steps, min(batch, len(flat))), one, args, flat, radius)
    ends = jax.tree.map(np.asarray, ends)
    unravel = ravel_pytree(one)[1]
    return _listed(ends, lambda row: stored(unravel(row)), separation)


def _first(starts):
    if isinstance(starts, str) or jnp.ndim(starts) == 0 or len(starts) == 0:
        msg = f"starts must be arrays with a leading axis of at least one start; got {shown(starts)}"
        raise TypeError(msg)
    return jnp.asarray(starts)[0]


class _End(NamedTuple):
    """Where one start ended."""

    theta: jax.Array
    loss: jax.Array
    eigenvalues: jax.Array
    point: CriticalPoint
    flatness: jax.Array  # |H g| / (|H| |g|)


class _Seek(NamedTuple):
    """The state of a search; its loop reads only `seeking`."""

    seeking: jax.Array  # bool
    count: jax.Array  # type: ignore[assignment]
    theta: jax.Array
    gradient: jax.Array
    damping: jax.Array  # in units of |H|^2


@partial(jax.jit, static_argnums=(0, 1))
def _search(loss, plan, like, args, starts, radius):
    method, index, steps, batch = plan
    unravel = ravel_pytree(like)[1]
    flat = Flat(loss, unravel, args)
    slope = jax.grad(flat)
    key = jax.random.key(0)

    def seek(theta):
        eps = jnp.finfo(theta.dtype).eps
        goal = {"levenberg_marquardt": _levenberg, "newton_mr": _newton}.get(method)

        def step(state):
            found = modes(flat, state.theta, state.gradient, None, key)
            size = jnp.max(jnp.abs(found.values))
            if goal is not None:
                theta, gradient, damping, moved = _lowered(goal, slope, state, found, size)
            else:
                theta = state.theta + found.step(_climb(found, size, state.theta, method, index, radius))
                gradient, damping, moved = slope(theta), state.damping, jnp.bool_(True)
            norm = jnp.linalg.norm(gradient)
            small = norm <= 50 * eps * size * (1 + jnp.linalg.norm(theta))
            going = moved & ~small & jnp.isfinite(norm) & (state.count + 1 < steps)
            return _Seek(going, state.count + 1, theta, gradient, damping)

        start = _Seek(jnp.bool_(True), jnp.int32(0), theta, slope(theta), jnp.asarray(1e-3, theta.dtype))
        state = jax.lax.while_loop(lambda state: state.seeking, step, start)

        def refine(_, here):
            theta, gradient = here
            return _refined(modes(flat, theta, gradient, None, key), slope, theta, gradient)

        theta, gradient = jax.lax.fori_loop(0, REFINEMENTS, refine, (state.theta, state.gradient))
        found = modes(flat, theta, gradient, None, key)
        image = jnp.linalg.norm(found.values * found.along)
        whole = jnp.max(jnp.abs(found.values)) * jnp.linalg.norm(gradient)
        point = classify(loss, unravel(theta), *args, method="dense")
        return _End(theta, flat(theta), found.values, point, image / divisor(whole))

    return jax.lax.map(seek, starts, batch_size=batch)


def _levenberg(found, size, damping):
    """The Levenberg-Marquardt step on |g|^2 / 2, whose Gauss-Newton matrix is H^2."""
    x = found.values / divisor(size)  # squares of scaled numbers neither overflow nor vanish
    return -x * found.along / (x**2 + damping) / divisor(size)


def _newton(found, size, damping):
    """The shortest Newton step, halved as often as the damping was raised."""
    seen = jnp.abs(found.values) > jnp.sqrt(jnp.finfo(size.dtype).eps) * size
    return divided(-found.along, found.values, seen) / (1 + damping)


def _lowered(goal, slope, state, found, size):
    """The step where it makes the gradient smaller, else none and four times the damping, until that is hopeless."""
    theta = state.theta + found.step(goal(found, size, state.damping))
    gradient = slope(theta)
    good = jnp.linalg.norm(gradient) < jnp.linalg.norm(state.gradient)
    damping = jnp.where(good, jnp.maximum(state.damping / 5, 1e-14), 4 * state.damping)
    theta, gradient = jnp.where(good, theta, state.theta), jnp.where(good, gradient, state.gradient)
    return theta, gradient, damping, damping < HOPELESS


def _climb(found, size, theta, method, index, radius):
    """Uphill along the lowest `index` modes and downhill along the others, so far at most."""
    sizes = jnp.maximum(jnp.abs(found.values), 1e-3 * size) if method == "eigenvector_following" else 2 * size
    side = jnp.where(jnp.arange(len(found.values)) < index, 1, -1)
    p = side * found.along / divisor(sizes)
    length = jnp.linalg.norm(p)
    return p * jnp.minimum(1, radius * (1 + jnp.linalg.norm(theta)) / divisor(length))


def _refined(found, slope, theta, gradient):
    """Point and gradient after Newton's step, where that is short and makes the gradient smaller; else as they were."""
    sizes = jnp.abs(found.values)
    seen = sizes > jnp.sqrt(jnp.finfo(theta.dtype).eps) * jnp.max(sizes)
    there = theta + found.step(divided(-found.along, found.values, seen))
    new = slope(there)
    better = (jnp.linalg.norm(new) < jnp.linalg.norm(gradient)) & (
        jnp.linalg.norm(there - theta) <= 1e-2 * (1 + jnp.linalg.norm(theta))
    )
    return jnp.where(better, there, theta), jnp.where(better, new, gradient)


def _listed(ends, unravel, separation):
    """Each point once, the best of its kin, by index and then by loss."""
    code, theta, norm = ends.point.code, ends.theta, ends.point.gradient_norm
    hit = (code != critical.UNDETERMINED) & (code != critical.NOT_CRITICAL) & np.isfinite(ends.loss)
    ended = np.select([hit, ~np.isfinite(norm) | ~np.isfinite(ends.loss), ends.flatness <= FLAT], [0, 3, 1], 2)
    single = theta.dtype != np.float64
    if separation is None:
        separation = (1e-2 if single else 1e-5) * (1 + float(np.abs(theta[hit]).max(initial=0)))
    reached, chosen = np.full(len(theta), -1), list[int]()
    for row in np.argsort(norm, kind="stable"):
        if hit[row] and reached[row] < 0:
            near = hit & (reached < 0) & (np.linalg.norm(theta - theta[row], axis=1) <= separation)
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
        _families(loss, index, 1e-3 if single else 1e-6),
        reached,
        ended,
        float(separation),
    )


def _families(loss, index, tol):
    """A number for each pair of index and loss; losses count as equal within tol, relative to their spread."""
    if not len(loss):
        return np.zeros(0, int)
    scale = tol * max(float(np.ptp(loss)), float(np.abs(loss).max()) * 1e-3, 1e-300)
    new = np.r_[True, (np.diff(index) != 0) | (np.diff(loss) > scale)]  # rows are sorted by index, then by loss
    return np.cumsum(new) - 1
