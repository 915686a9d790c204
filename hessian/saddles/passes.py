"""Steps and a verdict on where they ended, again and again until the verdict asks for no more.

    steps      trust-region steps, hard case included, until gradient and curvature are within their tolerances
    verdict    `classify`; beside a saddle, and where the gradient is too large to tell signs by, the steps go on
    probe      where the verdict is degenerate: the lowest point along the flat directions, from which they go on

All of it is one program, which also runs within others.  Where the loss is costly its kernels must be improved, for
which a user waits: then the host calls the parts, of which only the steps are many, and none that is not reached.

| name | what it is |
|---|---|
| `Search` | what is lowered, and when it is done |
| `settled` | the walk and its verdict, in one program |
| `driven` | the same, driven by the host |
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hessian.bounds import Box
from hessian.compiled import compiled
from hessian.limits import DENSE_STEP
from hessian.saddles.box_steps import projected_trust_region
from hessian.saddles.flat_directions import POINTS, probe_flat_directions
from hessian.steps.second_order import Flat
from hessian.steps.sr1_trust_region import Goal, Walk, sr1_trust_region
from hessian.symmetry.declared import Symmetries
from hessian.verdicts.classify import CriticalPoint, Kind, Method, classify

PASSES = 20  # of steps and a verdict on where they ended
NEARER = 1 / 8  # of the gradient's tolerance is asked for where the verdict is undetermined, or not critical
SMALLEST_SHARE = 1 / 500  # so thrice
ONE_HESSIAN = 200  # products, as of a verdict: how a program is compiled that computes no more


class Given(NamedTuple):
    """What a search is given beside the loss; arrays and numbers."""

    floor: Any
    region: Any  # the first trust radius of every pass
    gradient_tol: Any
    curvature_tol: Any
    symmetric: Any  # bool: the symmetries hold
    box: Box | None


@dataclass(frozen=True, eq=False)
class Search:
    """What is lowered, and when it is done."""

    flat: Flat
    given: Given
    method: Method
    symmetries: Symmetries | None

    @property
    def bounds(self) -> tuple | None:
        """The box as an argument of `classify`."""
        box = self.given.box
        return None if box is None else (self.flat.unravel(box.lower), self.flat.unravel(box.upper))

    def verdict(self, theta: jax.Array, key: jax.Array) -> CriticalPoint:
        """What `classify` says of theta."""
        return classify(
            self.flat.loss, self.flat.unravel(theta), *self.flat.args,
            gradient_tol=self.given.gradient_tol, curvature_tol=self.given.curvature_tol, method=self.method, key=key,
            symmetries=self.symmetries, bounds=self.bounds,
        ).provided(self.given.symmetric)  # fmt: skip

    def lowered(self, walk: Walk, share: jax.Array) -> Walk:
        """The walk after trust-region steps to this share of the gradient's tolerance."""
        given = self.given
        walk = walk._replace(region=given.region)
        goal = Goal(self.flat, given.floor, given.gradient_tol, given.curvature_tol, share)
        return sr1_trust_region(goal, walk) if given.box is None else projected_trust_region(goal, walk, given.box)


class _Pass(NamedTuple):
    """Where the passes are; their loop reads only `walk.walking`."""

    walk: Walk
    point: CriticalPoint
    passes: jax.Array
    share: jax.Array  # of the gradient's tolerance


def begun(theta: jax.Array, value: jax.Array, region: jax.Array, budget: Any, key: jax.Array) -> Walk:
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


def settled(search: Search, walk: Walk) -> tuple[Walk, CriticalPoint]:
    """The walk after passes until the verdict asks for no more, and that verdict."""
    shapes = jax.eval_shape(search.verdict, walk.theta, walk.key)
    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    begin = _Pass(walk._replace(walking=jnp.bool_(True)), blank, jnp.int32(0), jnp.ones((), walk.theta.dtype))
    end = jax.lax.while_loop(lambda at: at.walk.walking, partial(_passed, search), begin)
    return end.walk, end.point


def _passed(search, at):
    """Steps, a verdict and, where it is degenerate, a probe of flat directions."""
    walk = search.lowered(at.walk, at.share)
    point = search.verdict(walk.theta, walk.key)
    lower = jnp.bool_(False)
    if _probes(search, walk):
        probe = partial(_probed, search.flat)
        walk, lower = jax.lax.cond(_flat_here(point), probe, lambda walk: (walk, jnp.bool_(False)), walk)
    return _onward(at._replace(walk=walk, point=point), lower)


def driven(search_of: Callable[..., Search], static: tuple, traced: tuple, walk: Walk) -> tuple[Walk, CriticalPoint]:
    """As `settled`; `search_of(*static, *traced)` is the search, in which loss, plan, params, args and given stand."""
    search = search_of(*static, *traced)
    unknown: Any = None  # until the first verdict
    at = _Pass(walk, unknown, jnp.int32(0), jnp.ones((), walk.theta.dtype))
    while at.point is None or at.walk.walking:
        walk = _lowered(search_of, *static, *traced, at.walk, at.share)
        point, lower = search.verdict(walk.theta, walk.key), jnp.bool_(False)
        if _probes(search, walk) and _flat_here(point):
            walk, lower = _probe(search_of, *static, *traced, walk)
        at = _next(at._replace(walk=walk, point=point), lower)
    return at.walk, at.point


@compiled(static_argnums=(0, 1, 2))
def _lowered(search_of, loss, plan, params, args, given, walk, share):
    return search_of(loss, plan, params, args, given).lowered(walk, share)


@compiled(products=ONE_HESSIAN, static_argnums=(0, 1, 2))
def _probe(search_of, loss, plan, params, args, given, walk):
    return _probed(search_of(loss, plan, params, args, given).flat, walk)


def _probes(search, walk):
    """Whether flat directions are probed at all."""
    return walk.theta.size <= DENSE_STEP and search.given.box is None


def _flat_here(point):
    """Whether flat directions are to be probed."""
    return (point.code == Kind.DEGENERATE) & (point.inertia.negative == 0)


def _onward(at, lower):
    """The next pass; `lower` says whether a probe found a lower point."""
    walk, point, passes, share = at
    walk = walk._replace(num_matvecs=walk.num_matvecs + point.num_matvecs)
    # The Hessian was last recomputed some steps before; where the verdict finds more, the steps go on.
    more = walk.convex & walk.moved & ((point.inertia.negative > 0) | (point.code == Kind.NOT_CRITICAL)) | lower
    # Beside a flat direction a gradient within its tolerance can be too large to tell signs by.
    unsure = walk.moved & (point.code == Kind.UNDETERMINED) & (share >= SMALLEST_SHARE)
    walking = (more | unsure) & (walk.left > 0) & (passes + 1 < PASSES)
    nearer = unsure | (point.code == Kind.NOT_CRITICAL)
    return _Pass(walk._replace(walking=walking), point, passes + 1, jnp.where(nearer, NEARER * share, share))


_next = jax.jit(_onward)


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
