"""Which minima a saddle joins: both ways down from it along its negative direction.

    d theta / dt = -grad L(theta)     from  theta + radius u_1  and  theta - radius u_1

The flow is followed in the modes of the Hessian, where it is exact for the quadratic model,

    p_i(t) = -a_i (1 - exp(-lambda_i t)) / lambda_i,

for as long as |p| stays within a radius; so stiff valleys cost no more steps than round ones.  The last stretch is that
of `hessian.arrive`.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from hessian.arguments import number, whole
from hessian.numerics import bisect, divisor
from hessian.precision import working
from hessian.product import Loss, Params
from hessian.results import Outcome
from hessian.saddles.find_minimum import Arrival, arrive
from hessian.steps.eigenbasis import modes
from hessian.steps.second_order import Flat
from hessian.verdicts.classify import CriticalPoint, Kind, classify


class ConnectionOutcome(Outcome):
    """What lies below a point."""

    DOWN = "both ways lead down from a critical point, along its direction of negative curvature"
    NO_CURVATURE = "no saddle: the lowest eigenvalue is not negative, so no way leads down along its direction"
    SLOPE = "no saddle: the gradient does not vanish, so both ways begin on a slope"
    NOT_FINITE = "not finite: the loss, its gradient or its Hessian is NaN or infinite"


class Connection(NamedTuple):
    """What lies on both sides below a saddle."""

    direction: Params  # u_1
    arrival: Arrival  # where each way ends, with its certificate; with a leading axis of 2, for +u_1 and -u_1
    point: CriticalPoint  # the verdict on the point from which they lead
    code: jax.Array  # what they are as an integer: a `ConnectionOutcome`

    @property
    def reason(self) -> Any:
        """What the ways are, in words: a string, or an array of them for many points.  Not inside `jit`."""
        return ConnectionOutcome.words_of(self.code)


def connect(
    loss: Loss, saddle: Params, *args: Any, radius: ArrayLike = 0.02, steps: int = 1000, floor: ArrayLike | None = None
) -> Connection:
    """The two points to which the ways down from a saddle lead (S53, S57).

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable, of few enough parameters for a dense Hessian.
        saddle: a critical point with a negative eigenvalue; of index 1 where the answer is to be a pair of minima.
        *args: further arguments of the loss.
        radius: the longest step of the path, relative to 1 + |theta|, > 0.
        steps: of the path, at most, >= 1.
        floor: as in `hessian.arrive`.

    Returns:
        A `Connection`; its `reason` says whether the point is a saddle.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError, outside `jit` and `vmap`, where no eigenvalue is
            negative.

    >>> ways = connect(lambda w: (w[0] ** 2 - 1) ** 2 + w[1] ** 2, jnp.zeros(2))
    >>> sorted(ways.arrival.params[:, 0].round(6).tolist())
    [-1.0, 1.0]
    """
    loss, saddle, stored = working(loss, saddle, *args, names=("loss", "saddle"))
    radius = jnp.asarray(number("radius", radius), stored.working)
    floor = None if floor is None else number("floor", floor, "[-inf, inf)")
    steps, point = whole("steps", steps), classify(loss, saddle, *args, method="dense")
    code = _kind(point)
    if not isinstance(code, jax.core.Tracer) and code == ConnectionOutcome.NO_CURVATURE:
        msg = f"saddle must have a negative eigenvalue, along which ways lead down; got {point.certificate}"
        raise ValueError(msg)
    direction, arrival = _connect(loss, steps, stored, saddle, args, radius, floor)
    return Connection(direction, arrival, point.in_storage(stored), code)


def _kind(point):
    """What leads down from a point: the code of a `ConnectionOutcome`."""
    finite = jnp.isfinite(point.gradient_norm) & jnp.isfinite(point.lowest.value)
    flat = point.lowest.value >= -point.curvature_tol
    slope = point.code == Kind.NOT_CRITICAL
    return ConnectionOutcome.code_of(
        [
            (~finite, ConnectionOutcome.NOT_FINITE),
            (flat, ConnectionOutcome.NO_CURVATURE),
            (slope, ConnectionOutcome.SLOPE),
        ],
        ConnectionOutcome.DOWN,
    )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _connect(loss, steps, stored, saddle, args, radius, floor):
    theta, unravel = ravel_pytree(saddle)
    flat = Flat(loss, unravel, args)
    out = modes(flat, theta, jnp.zeros_like(theta), None, jax.random.key(0)).vectors[0]

    def way(sign):
        begin = theta + sign * radius * (1 + jnp.linalg.norm(theta)) * out
        end = _followed(flat, begin, radius, steps)
        return arrive(loss, stored(unravel(end)), *args, radius=radius, floor=floor)

    return stored(unravel(out)), jax.vmap(way)(jnp.array([1.0, -1.0], theta.dtype))


def _followed(flat, begin, radius, steps):
    """Where the flow from there ends in a valley, or how far it is after so many steps."""
    slope = jax.grad(flat)

    def step(state):
        _, count, here, gradient = state
        found = modes(flat, here, gradient, None, jax.random.key(0))
        size = jnp.max(jnp.abs(found.values))
        longest = radius * (1 + jnp.linalg.norm(here))
        p = _flow(found, size, longest)
        there = here + found.step(p)
        new = slope(there)
        close = jnp.linalg.norm(p) < 0.5 * longest  # the flow ends before it has gone far
        going = ~(close & (found.values[0] > 0)) & jnp.isfinite(jnp.linalg.norm(new)) & (count + 1 < steps)
        return going, count + 1, there, new

    state = (jnp.bool_(True), jnp.int32(0), begin, slope(begin))
    return jax.lax.while_loop(lambda state: state[0], step, state)[2]


def _flow(found, size, longest):
    """The way along the flow of the quadratic model, at most so long."""
    x = found.values / divisor(size)
    a = found.along / divisor(size)

    def moved(log_time):
        z = x * jnp.exp(log_time)
        flat = jnp.abs(z) < 1e-8
        growth = jnp.where(
            flat, 1, -jnp.expm1(-jnp.where(flat, 1, jnp.minimum(jnp.maximum(z, -80), 80))) / jnp.where(flat, 1, z)
        )
        return -a * growth * jnp.exp(log_time)

    def short(log_time):
        return jnp.linalg.norm(moved(log_time)) <= longest

    return moved(bisect(short, jnp.asarray(-30.0, x.dtype), jnp.asarray(30.0, x.dtype), 40)[0])
