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

from dataclasses import dataclass
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
from hessian.bounds import Box, Clipped
from hessian.compiled import compiled
from hessian.limits import DENSE_STEP
from hessian.numerics import length_scale
from hessian.precision import Tree, working
from hessian.product import Loss, second_order
from hessian.results import Outcome, counts
from hessian.saddles.box_steps import bounded, projected_trust_region
from hessian.saddles.flat_directions import POINTS, probe_flat_directions
from hessian.saddles.rounds import run_rounds
from hessian.steps.second_order import Flat
from hessian.steps.sr1_trust_region import Goal, Walk, sr1_trust_region
from hessian.symmetry.declared import Symmetries, declare, refuse_wrong
from hessian.verdicts.classify import CriticalPoint, Kind, Method, classify


class MinimumOutcome(Outcome):
    """Why a search for a minimum ended."""

    MINIMUM = "a minimum: the gradient vanishes and every eigenvalue is positive"
    DEGENERATE = "a degenerate second-order point: the gradient vanishes, no eigenvalue is negative, some round to zero"
    PLATEAU = "a plateau: gradient and curvature vanish, and so does every change of the loss nearby"
    UNBOUNDED = "unbounded: the loss fell below the floor"
    NOT_FINITE = "not finite: the loss, its gradient or its Hessian is NaN or infinite"
    BUDGET = "the budget is spent before the gradient vanishes"
    NO_STEP = "no step lowers the loss visibly, though the gradient does not vanish"
    PINNED = "negative curvature is left whose decrease lies below the rounding of the loss"
    UNDETERMINED = "undetermined: no sign is certain, and the verdict says why"


PASSES = 20  # of steps and a verdict on where they ended
NEARER = 1 / 8  # of the gradient's tolerance is asked for where the verdict is undetermined, or not critical
SMALLEST_SHARE = NEARER**2  # at which it is asked for again, so thrice
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
    found = _find_minimum(
        loss, static, plan, stored, traced, finish, params, args, radius, floor, gradient_tol, curvature_tol, key,
        holds, within,
    )  # fmt: skip
    point = found.point._replace(frozen=jax.device_put(np.full(found.point.code.shape, stored.frozen, np.int32)))
    return found._replace(params=stored.whole(found.params, args), point=point)


class _Plan(NamedTuple):
    rounds: int
    steps: int
    reset: bool
    method: Method
    symmetries: Symmetries | None


@compiled(kept_by=second_order, static_argnums=(0, 1, 2, 3))
def _find_minimum(
    loss, static, plan, stored, optimizer, budget, params, args, radius, floor, gradient_tol, curvature_tol, key, holds,
    within,
):  # fmt: skip
    optimizer, key = optimizer if static is None else static, key_or_default(key)
    theta, unravel = ravel_pytree(params)
    theta = theta if within is None else within.clip(theta)
    flat = Flat(loss, unravel, args)
    before = flat(theta)
    floor = -1e12 * jnp.maximum(1, jnp.abs(before)) if floor is None else jnp.asarray(floor, before.dtype)
    region = jnp.asarray(radius, theta.dtype)
    how = plan.method, plan.symmetries
    search = _Search(flat, floor, region, gradient_tol, curvature_tol, *how, symmetric=holds, box=within)
    walk = _begun(theta, before, region, budget, key)
    if plan.rounds:
        walk = run_rounds(flat, optimizer, walk, floor, curvature_tol, plan.rounds, plan.steps, plan.reset)
        walk = walk._replace(left=jnp.asarray(budget, jnp.int32))
    walk, point = _settled(search, walk)
    code = _code(flat if within is None else Clipped(flat, within), walk, point, floor, gradient_tol)
    end, value = _at_rest(flat, stored, params, before, walk)
    return MinimumSearch(
        params=stored(end), loss_before=before, loss=value, point=point.in_storage(stored), code=code,
        escapes=walk.escapes, steps=walk.steps, gradients=walk.gradients + 1, num_matvecs=walk.num_matvecs,
        evaluations=walk.evaluations,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Search:
    """What is lowered, and when it is done."""

    flat: Flat
    floor: jax.Array
    region: jax.Array  # the first trust radius of every pass
    gradient_tol: Any
    curvature_tol: Any
    method: Method
    symmetries: Symmetries | None
    symmetric: Any  # bool: they hold
    box: Box | None = None

    @property
    def bounds(self) -> tuple | None:
        """The box as an argument of `classify`."""
        return None if self.box is None else (self.flat.unravel(self.box.lower), self.flat.unravel(self.box.upper))

    def verdict(self, theta: jax.Array, key: jax.Array) -> CriticalPoint:
        """What `classify` says of theta."""
        return classify(
            self.flat.loss, self.flat.unravel(theta), *self.flat.args,
            gradient_tol=self.gradient_tol, curvature_tol=self.curvature_tol, method=self.method, key=key,
            symmetries=self.symmetries, bounds=self.bounds,
        ).provided(self.symmetric)  # fmt: skip


def _begun(theta, value, region, budget, key):
    """The walk before its first step."""
    none = jnp.int32(0)
    return Walk(
        walking=jnp.bool_(True),
        theta=theta,
        value=value,
        gradient=jnp.zeros_like(theta),
        region=region,
        moved=jnp.bool_(True),
        convex=jnp.bool_(False),
        left=jnp.asarray(budget, jnp.int32),
        escapes=none,
        steps=none,
        gradients=none,
        num_matvecs=none,
        evaluations=none,
        key=key,
    )


def _settled(search, walk):
    """The walk after passes until the verdict asks for no more, and that verdict."""
    shapes = jax.eval_shape(search.verdict, walk.theta, walk.key)
    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    state = (walk._replace(walking=jnp.bool_(True)), blank, jnp.int32(0), jnp.ones((), walk.theta.dtype))
    return jax.lax.while_loop(lambda state: state[0].walking, partial(_passed, search), state)[:2]


def _passed(search, state):
    """The state after trust-region steps, a verdict and, where it is degenerate, a probe of flat directions."""
    walk, _, passes, share = state
    walk = walk._replace(region=search.region)
    goal = Goal(search.flat, search.floor, search.gradient_tol, search.curvature_tol, share)
    walk = sr1_trust_region(goal, walk) if search.box is None else projected_trust_region(goal, walk, search.box)
    point = search.verdict(walk.theta, walk.key)
    walk = walk._replace(num_matvecs=walk.num_matvecs + point.num_matvecs)
    # The Hessian was last recomputed some steps before; where the verdict finds more, the steps go on.
    more = walk.convex & walk.moved & ((point.inertia.negative > 0) | (point.code == Kind.NOT_CRITICAL))
    flat_here = (point.code == Kind.DEGENERATE) & (point.inertia.negative == 0)
    if walk.theta.size <= DENSE_STEP and search.box is None:
        probe = partial(_probed, search.flat)
        walk, lower = jax.lax.cond(flat_here, probe, lambda walk: (walk, jnp.bool_(False)), walk)
        more |= lower
    # Beside a flat direction a gradient within its tolerance can be too large to tell signs by.
    unsure = walk.moved & (point.code == Kind.UNDETERMINED) & (share >= SMALLEST_SHARE)
    walking = (more | unsure) & (walk.left > 0) & (passes + 1 < PASSES)
    nearer = unsure | (point.code == Kind.NOT_CRITICAL)
    return walk._replace(walking=walking), point, passes + 1, jnp.where(nearer, NEARER * share, share)


def _probed(flat, walk):
    """The walk at the lowest point along its flat directions, and whether that is lower."""
    key, fresh = jax.random.split(walk.key)
    there, value = probe_flat_directions(flat, walk.theta, walk.value, fresh)
    lower = (value < walk.value) & (walk.left > 0)
    walk = walk._replace(
        theta=jnp.where(lower, there, walk.theta),
        value=jnp.where(lower, value, walk.value),
        escapes=walk.escapes + lower,
        gradients=walk.gradients + 1 + POINTS,
        num_matvecs=walk.num_matvecs + walk.theta.size,
        evaluations=walk.evaluations + 2 * POINTS,
        key=key,
    )
    return walk, lower


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
