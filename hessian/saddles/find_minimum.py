"""Descent to a second-order point that leaves every saddle on the way, with a certificate of where it ends.

    |grad L| <= gradient_tol   and   lambda_1 >= -curvature_tol          (a second-order stationary point)

Three phases, each of which never raises the loss:

    rounds     steps of a first-order optimizer, then one check of the curvature and, where that promises more than the
               steps brought, a step along it (`hessian.saddles.rounds`; only where an optimizer is given)
    finish     trust-region steps, hard case included, until gradient and curvature are within their tolerances
    verdict    `classify`; from a saddle, and from a degenerate point beside which a lower one is found, the finish
               starts again

Whatever the end, `reason` says why.
"""

from functools import partial
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from gdlab.ground.checks import choice, key_or_default, number, switch, whole
from gdlab.ground.results import digits, result
from hessian.arguments import tolerance, transformation
from hessian.bounds import Clipped
from hessian.compiled import compiled, is_costly
from hessian.numerics import length_scale
from hessian.precision import Tree, working
from hessian.product import Loss, second_order
from hessian.results import Outcome, counts
from hessian.saddles.box_steps import bounded
from hessian.saddles.passes import ONE_HESSIAN, Given, Search, begun, driven, settled
from hessian.saddles.rounds import run_rounds
from hessian.steps.second_order import Flat
from hessian.symmetry.declared import Symmetries, declare, refuse_wrong
from hessian.verdicts.classify import CriticalPoint, Kind, Method


class MinimumOutcome(Outcome):
    """Why a search for a minimum ended."""

    MINIMUM = "a minimum: the gradient vanishes and every eigenvalue is positive"
    DEGENERATE = "a degenerate second-order point: the gradient vanishes, no eigenvalue is negative, but some are zero"
    PLATEAU = "a plateau: gradient and curvature vanish, and so does every change of the loss nearby"
    UNBOUNDED = "unbounded: the loss fell below the floor"
    NOT_FINITE = "not finite: the loss, its gradient or its Hessian is NaN or infinite"
    BUDGET = "the budget is spent before the gradient vanishes"
    NO_STEP = "no step lowers the loss visibly, though the gradient does not vanish"
    PINNED = "negative curvature is left whose decrease lies below the rounding of the loss"
    UNDETERMINED = "undetermined: no sign is certain, and the verdict says why"


NUMERIC = (jax.Array, np.ndarray, np.number, float, int)  # leaves of an optimizer that a program takes as arguments
UNCHANGED = 8  # losses that differ by this many eps |loss| are the same


@result
class MinimumSearch(NamedTuple, Generic[Tree]):
    """Where the descent ended, why, and what it cost; a pytree of arrays."""

    params: Tree  # the lowest point visited; its loss is never above that of the start
    loss_before: jax.Array  # at the start
    loss: jax.Array  # at params
    point: CriticalPoint[Tree]  # the verdict on params
    code: jax.Array  # the reason as an integer: a `MinimumOutcome`
    escapes: jax.Array  # steps along negative curvature that were taken after a check
    steps: jax.Array  # of the optimizer and of the trust region
    gradients: jax.Array  # how many were computed
    num_matvecs: jax.Array  # with the Hessian, each about two gradients
    evaluations: jax.Array  # of the loss alone

    def _words(self) -> str:
        loss = f"loss {digits(self.loss_before)} -> {digits(self.loss)} in {digits(self.steps)} steps"
        return f"{counts(MinimumOutcome, self.code) if np.ndim(self.code) else self.certificate}; {loss}"

    @property
    def reason(self) -> str:
        """Why it ended, in words: a string, or an array of them for many starts.  Not inside `jit`."""
        return MinimumOutcome.words_of(self.code)

    @property
    def converged(self) -> jax.Array:
        """Whether params is a second-order point, certain to rounding: a minimum, or degenerate and none negative."""
        return (self.code == MinimumOutcome.MINIMUM) | (self.code == MinimumOutcome.DEGENERATE)

    @property
    def certificate(self) -> str:
        """The reason, and the verdict on which it stands.  Not inside `jit`."""
        return f"{self.reason} ({self.point.certificate})"


def find_minimum(
    loss: Loss,
    params: Tree,
    *args: Any,
    optimizer: optax.GradientTransformation | None = None,
    rounds: int = 100,
    steps: int = 50,
    finish: int = 1000,
    reset: bool = True,
    radius: ArrayLike = 1.0,
    floor: ArrayLike | None = None,
    gradient_tol: ArrayLike | None = None,
    curvature_tol: ArrayLike | None = None,
    method: Method = "auto",
    key: jax.Array | None = None,
    symmetries: Any = None,
    trainable: Any = None,
    bounds: Any = None,
) -> MinimumSearch[Tree]:
    """A second-order point below the start, with its certificate, or the reason why there is none (S57, S61).

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        params: the start, any pytree of floating arrays; on a saddle is as good as anywhere.
        *args: further arguments of the loss.
        optimizer: any optax-compatible optimizer for the rounds; without one, trust-region steps do it all.
        rounds: how many rounds at most, >= 0; they end when the optimizer has converged or no longer makes progress.
        steps: cheap steps of a round, >= 1.
        finish: how many trust-region steps at most, >= 0.
        reset: whether the optimizer starts afresh after an escape.
        radius: the first trust radius, > 0.
        floor: a loss below this counts as unbounded; by default 1e12 max(1, |loss at the start|) below zero.
        gradient_tol, curvature_tol, method: as in `hessian.classify`, which gives their defaults.
        key: of the random directions, `jax.random.key(0)` by default; each check draws a fresh one.
        symmetries: as in `hessian.classify`; directions that they make flat leave a minimum one.
        trainable: which floating arrays are free, a pytree of bools like params or a prefix of it, or a function of
            paths such as "['layer']['bias']"; the others are held where they are, and the certificate says so.
        bounds: as in `hessian.classify`; every step stays in the box, and starts at its nearest point.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError for rounds, steps or finish out of range, and for
            symmetries that do not hold.

    >>> end = find_minimum(lambda w: (1 - w[0] * w[1]) ** 2, jnp.zeros(2))  # from the saddle of S52
    >>> bool(end.converged), float(end.loss_before), round(float(end.loss), 9)
    (True, 1.0, 0.0)
    """
    rounds, steps, finish = whole("rounds", rounds, 0), whole("steps", steps), whole("finish", finish, 0)
    loss, params, args, stored = working(loss, params, *args, trainable=trainable)
    radius = number("radius", radius)
    switch("reset", reset)
    choice("method", method, ("auto", "dense", "lanczos"))
    tolerance("gradient_tol", gradient_tol)
    tolerance("curvature_tol", curvature_tol)
    if floor is not None:
        number("floor", floor, "[-inf, inf)")
    if optimizer is not None:
        transformation(optimizer)
    numeric = all(isinstance(leaf, NUMERIC) for leaf in jax.tree.leaves(optimizer))
    traced, static = (optimizer, None) if numeric else (None, optimizer)
    within = bounded(bounds, params, symmetries, optimizer)
    known = isinstance(symmetries, Symmetries)
    symmetries = declare(symmetries, params)
    holds = True if known else refuse_wrong(loss, params, args, symmetries)
    plan = _Plan(rounds if optimizer is not None else 0, steps, reset, method, symmetries)
    key = None if key is None else key_or_default(key)
    given = Given(
        floor=floor, region=radius, gradient_tol=gradient_tol, curvature_tol=curvature_tol, symmetric=holds, box=within
    )
    work = loss, params, args, given
    found = _searched(work, (static, plan, stored), (traced, finish, key))
    point = found.point._replace(frozen=jax.device_put(np.full(found.point.code.shape, stored.frozen, np.int32)))
    return found._replace(params=stored.whole(found.params, args), point=point)


class _Plan(NamedTuple):
    rounds: int
    steps: int
    reset: bool
    method: Method
    symmetries: Symmetries | None


def _searched(work, how, begin):
    """The search in one program; where the loss is costly, driven by the host."""
    loss, params, args, given = work
    static, plan, stored = how
    if not is_costly(loss, params, args):
        return _find_minimum(loss, static, plan, stored, *begin, params, args, given)
    given, before, walk = _begin(loss, static, plan, *begin, params, args, given)
    walk, point = driven(_search_of, (loss, plan), (params, args, given), walk)
    return _end(loss, plan, stored, params, args, given, before, walk, point)


@compiled(kept_by=second_order, static_argnums=(0, 1, 2, 3))
def _find_minimum(loss, static, plan, stored, optimizer, budget, key, params, args, given):
    given, before, walk = _begun(loss, static, plan, optimizer, budget, key, params, args, given)
    walk, point = settled(_search_of(loss, plan, params, args, given), walk)
    return _ended(loss, plan, stored, params, args, given, before, walk, point)


def _search_of(loss, plan, params, args, given):
    """What is lowered."""
    return Search(Flat(loss, ravel_pytree(params)[1], args), given, plan.method, plan.symmetries)


def _begun(loss, static, plan, optimizer, budget, key, params, args, given):
    """What the search is given, as arrays; the loss at its start; and the walk after the rounds of the optimizer."""
    optimizer, key = optimizer if static is None else static, key_or_default(key)
    theta, within = ravel_pytree(params)[0], given.box
    theta = theta if within is None else within.clip(theta)
    flat = _search_of(loss, plan, params, args, given).flat
    before = flat(theta)
    bound = -1e12 * jnp.maximum(1, jnp.abs(before)) if given.floor is None else jnp.asarray(given.floor, before.dtype)
    given = given._replace(floor=bound, region=jnp.asarray(given.region, theta.dtype))
    walk = begun(theta, before, given.region, budget, key)
    if plan.rounds:
        walk = run_rounds(flat, optimizer, walk, given.floor, given.curvature_tol, plan.rounds, plan.steps, plan.reset)
        walk = walk._replace(left=jnp.asarray(budget, jnp.int32))
    return given, before, walk


def _ended(loss, plan, stored, params, args, given, before, walk, point):
    """What the search found."""
    flat = _search_of(loss, plan, params, args, given).flat
    around = flat if given.box is None else Clipped(flat, given.box)
    code = _code(around, walk, point, given.floor, given.gradient_tol)
    end, value = _at_rest(flat, stored, params, before, walk)
    return MinimumSearch(
        params=stored(end), loss_before=before, loss=value, point=point.in_storage(stored), code=code,
        escapes=walk.escapes, steps=walk.steps, gradients=walk.gradients + 1, num_matvecs=walk.num_matvecs,
        evaluations=walk.evaluations,
    )  # fmt: skip


_begin = compiled(static_argnums=(0, 1, 2))(_begun)
_end = compiled(products=ONE_HESSIAN, static_argnums=(0, 1, 2))(_ended)


def _at_rest(flat, stored, params, before, walk):
    """Where the walk ends once it is stored, and the loss there; the start where rounding raised it above that."""
    end = flat.unravel(walk.theta)
    if not stored.rounds:
        return end, walk.value
    end = stored.landed(end)
    value = flat(ravel_pytree(end)[0])
    higher = value > before
    return jax.tree.map(partial(jnp.where, higher), params, end), jnp.where(higher, before, value)


def _code(flat, walk, point, floor, gradient_tol):
    """Why it ended there: the code of a `MinimumOutcome`."""
    negative = point.inertia.negative > 0
    critical_here = (point.code != Kind.NOT_CRITICAL) & (point.code != Kind.UNDETERMINED)
    finite = jnp.isfinite(walk.value) & jnp.isfinite(point.gradient_norm) & jnp.isfinite(point.lowest.value)
    reach = length_scale(walk.theta)
    # On a slope that flattens towards infinity the gradient becomes small beside |theta|.
    share = 1 if gradient_tol is not None else 1 / reach
    spent = (walk.left <= 0) & (walk.steps > 0) & (point.gradient_norm > share * point.gradient_tol)
    directions = jax.random.normal(walk.key, (4, walk.theta.size), walk.theta.dtype)
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
    probes = jnp.concatenate([walk.theta + share * reach * directions for share in (1e-3, 1e-2, 1e-1)])
    change = jnp.max(jnp.abs(jax.lax.map(flat, probes) - walk.value))
    same = UNCHANGED * jnp.finfo(walk.value.dtype).eps * jnp.abs(walk.value)
    flat_here = (point.gradient_norm == 0) & (change <= same)
    return MinimumOutcome.code_of(
        [
            (~finite, MinimumOutcome.NOT_FINITE),
            (walk.value < floor, MinimumOutcome.UNBOUNDED),
            (spent & ~negative, MinimumOutcome.BUDGET),
            (point.code == Kind.MINIMUM, MinimumOutcome.MINIMUM),
            (flat_here & critical_here & ~negative, MinimumOutcome.PLATEAU),
            ((point.code == Kind.DEGENERATE) & ~negative, MinimumOutcome.DEGENERATE),
            (critical_here & negative, MinimumOutcome.PINNED),
            (point.code == Kind.UNDETERMINED, MinimumOutcome.UNDETERMINED),
            (~walk.moved, MinimumOutcome.NO_STEP),
        ],
        MinimumOutcome.BUDGET,
    )
