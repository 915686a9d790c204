"""Which minima a saddle connects: gradient flow from it to both sides of its direction of negative curvature.

    d theta / dt = -grad L(theta)     from  theta + radius u_1  and  theta - radius u_1

The flow is integrated in the eigenbasis of the Hessian, where it is exact for the quadratic model,

    p_i(t) = -a_i (1 - exp(-lambda_i t)) / lambda_i,

until |p| reaches a radius, so stiff valleys cost no more steps than round ones.  `hessian.find_minimum` goes on from
where the flow ends in a valley.
"""

from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from gdlab.ground.checks import number, whole
from gdlab.ground.results import result
from hessian.compiled import compiled
from hessian.numerics import bisect, divisor, length_scale
from hessian.precision import Tree, working
from hessian.product import Loss
from hessian.results import Outcome, counts
from hessian.saddles.find_minimum import MinimumOutcome, MinimumSearch, find_minimum
from hessian.steps.eigenbasis import eigenbasis
from hessian.steps.second_order import Flat
from hessian.symmetry.declared import Symmetries, declare, refuse_wrong
from hessian.symmetry.slices import sliced
from hessian.verdicts.classify import CriticalPoint, Kind, classify


class ConnectionOutcome(Outcome):
    """What lies below a point."""

    DOWN = "both ways lead down from a critical point, along its direction of negative curvature"
    NO_CURVATURE = "no saddle: the lowest eigenvalue is not negative, so no way leads down along its direction"
    SLOPE = "no saddle: the gradient does not vanish, so both ways begin on a slope"
    NOT_FINITE = "not finite: the loss, its gradient or its Hessian is NaN or infinite"


@result
class Connection(NamedTuple, Generic[Tree]):
    """The points on both sides below a saddle."""

    direction: Tree  # u_1
    ends: MinimumSearch[Tree]  # where each side leads, with its certificate; leading axis of 2, for +u_1 and -u_1
    point: CriticalPoint[Tree]  # the verdict on the saddle itself
    code: jax.Array  # the reason as an integer: a `ConnectionOutcome`

    def _words(self) -> str:
        return f"{counts(ConnectionOutcome, self.code)}; the ends are {counts(MinimumOutcome, self.ends.code)}"

    @property
    def reason(self) -> str:
        """Whether the point is a saddle, in words: a string, or an array of them for many points.  Not inside `jit`."""
        return ConnectionOutcome.words_of(self.code)


def connect(
    loss: Loss,
    saddle: Tree,
    *args: Any,
    radius: ArrayLike = 0.02,
    steps: int = 1000,
    floor: ArrayLike | None = None,
    symmetries: Any = None,
    trainable: Any = None,
) -> Connection[Tree]:
    """The two points to which gradient flow leads from a saddle (S53, S57).

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable, of few enough parameters for a dense Hessian.
        saddle: a critical point with a negative eigenvalue; of index 1 where the answer is to be a pair of minima.
        *args: further arguments of the loss.
        radius: the longest step along the flow, relative to 1 + |theta|, > 0.
        steps: how many at most, >= 1.
        floor: as in `hessian.find_minimum`.
        symmetries: as in `hessian.classify`, for the saddle and for both ends.
        trainable: as in `hessian.classify`; what is frozen stays where it is on both ways.

    Returns:
        A `Connection`; its `reason` says whether the point is a saddle.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError, outside `jit` and `vmap`, where no eigenvalue is
            negative, and for symmetries that do not hold.

    >>> ways = connect(lambda w: (w[0] ** 2 - 1) ** 2 + w[1] ** 2, jnp.zeros(2))
    >>> sorted(ways.ends.params[:, 0].round(6).tolist())
    [-1.0, 1.0]
    """
    loss, saddle, args, stored = working(loss, saddle, *args, names=("loss", "saddle"), trainable=trainable)
    radius = jnp.asarray(number("radius", radius), stored.working)
    floor = None if floor is None else number("floor", floor, "[-inf, inf)")
    known = isinstance(symmetries, Symmetries)
    steps, symmetries = whole("steps", steps), declare(symmetries, saddle)
    holds = True if known else refuse_wrong(loss, saddle, args, symmetries)
    point = classify(loss, saddle, *args, method="dense", symmetries=symmetries).provided(holds)
    code = _kind(point)
    if not isinstance(code, jax.core.Tracer) and code == ConnectionOutcome.NO_CURVATURE:
        msg = f"saddle must have a negative eigenvalue, along which ways lead down; got {point.certificate}"
        raise ValueError(msg)
    direction, ends = _connect(loss, steps, stored, symmetries, saddle, args, radius, floor)
    ends_point = ends.point.provided(holds)._replace(frozen=jnp.full_like(ends.point.code, stored.frozen))
    ends = ends._replace(params=stored.whole(ends.params, args), point=ends_point)
    point = point.in_storage(stored)._replace(frozen=jnp.full_like(point.code, stored.frozen))
    return Connection(direction, ends, point, code)


def _kind(point):
    """What leads down from a point: the code of a `ConnectionOutcome`."""
    finite = jnp.isfinite(point.gradient_norm) & jnp.isfinite(point.lowest.value)
    flat = point.lowest.value >= -point.curvature_tol
    is_slope = point.code == Kind.NOT_CRITICAL
    return ConnectionOutcome.code_of(
        [
            (~finite, ConnectionOutcome.NOT_FINITE),
            (flat, ConnectionOutcome.NO_CURVATURE),
            (is_slope, ConnectionOutcome.SLOPE),
        ],
        ConnectionOutcome.DOWN,
    )


@compiled(static_argnums=(0, 1, 2, 3))
def _connect(loss, steps, stored, symmetries, saddle, args, radius, floor):
    theta, unravel = ravel_pytree(saddle)
    flat = Flat(loss, unravel, args)
    across, sliced_args, _ = sliced(loss, args, symmetries, saddle)
    off_orbit = Flat(across, unravel, sliced_args)
    out = eigenbasis(off_orbit, theta, jnp.zeros_like(theta), None, jax.random.key(0)).vectors[0]

    def way(sign):
        begin = theta + sign * radius * length_scale(theta) * out
        end = _followed(flat, begin, radius, steps)
        return find_minimum(loss, stored(unravel(end)), *args, radius=radius, floor=floor, symmetries=symmetries)

    return stored(unravel(out)), jax.vmap(way)(jnp.array([1.0, -1.0], theta.dtype))


def _followed(flat, begin, radius, steps):
    """Where the flow ends in a valley, or the point that it reaches after so many steps."""
    gradient_at = jax.grad(flat)

    def step(state):
        _, count, here, gradient = state
        found = eigenbasis(flat, here, gradient, None, jax.random.key(0))
        spectral_norm = jnp.max(jnp.abs(found.values))
        longest = radius * length_scale(here)
        p = _flow(found, spectral_norm, longest)
        there = here + found.step(p)
        new = gradient_at(there)
        close = jnp.linalg.norm(p) < 0.5 * longest  # the flow ends before it has gone far
        going = ~(close & (found.values[0] > 0)) & jnp.isfinite(jnp.linalg.norm(new)) & (count + 1 < steps)
        return going, count + 1, there, new

    state = (jnp.bool_(True), jnp.int32(0), begin, gradient_at(begin))
    return jax.lax.while_loop(lambda state: state[0], step, state)[2]


def _flow(found, spectral_norm, longest):
    """The step along the flow of the quadratic model whose length is `longest`, or the end of the flow."""
    x = found.values / divisor(spectral_norm)
    a = found.projections / divisor(spectral_norm)

    def moved(log_time):
        z = x * jnp.exp(log_time)
        flat = jnp.abs(z) < 1e-8
        growth = jnp.where(flat, 1, -jnp.expm1(-jnp.maximum(z, -80)) / jnp.where(flat, 1, z))
        return -a * growth * jnp.exp(log_time)

    def short(log_time):
        return jnp.linalg.norm(moved(log_time)) <= longest

    return moved(bisect(short, jnp.asarray(-30.0, x.dtype), jnp.asarray(30.0, x.dtype), 40)[0])
