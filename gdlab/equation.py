"""The equation, once, and the only place where its parts meet.

    theta  <-  theta  -  eta_t / sigma_t * m_t

m and sigma are parallel statistics of the same gradient, so `descent` is a fork-join; a chain of transformations
would feed one into the other.  The sign is turned in `Step.update`, nowhere else.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.arguments import one_of
from gdlab.base import Direction, Driven, Optimizer, Scale, Schedule, Step, optimizer_from, rate_dtype
from gdlab.schedules.base import as_driven


class DescentState(NamedTuple):
    """What the next step needs."""

    count: jax.Array  # type: ignore[assignment]  # steps made so far: int32 scalar
    direction: Any  # the state of the direction
    scale: Any  # the state of the scale
    schedule: Any  # the state of the schedule, empty unless the loss drives it


def descent(direction: Direction, scale: Scale, schedule: ArrayLike | Schedule | Driven) -> Optimizer:
    """The optimizer that moves by -eta / sigma * m (S83).

    Args:
        direction: m, one of `gdlab.directions`.
        scale: sigma, one of `gdlab.scales`.
        schedule: eta, a rate >= 0, one of `gdlab.schedules`, or any callable count -> rate.

    Returns:
        An `Optimizer`: optax's pair, a pytree of its hyperparameters, each step readable with `.step`.

    >>> import jax.numpy as jnp
    >>> from gdlab import directions, scales
    >>> sign_descent = descent(directions.gradient(), scales.running_root_mean_square(0.0), 0.5)
    >>> updates, _ = sign_descent.update(jnp.array([8.0, -0.1]), sign_descent.init(jnp.zeros(2)))
    >>> [round(float(u), 6) for u in updates]
    [-0.5, 0.5]
    """
    one_of("direction", direction, Direction, "one of gdlab.directions, such as heavy_ball(0.9)")
    one_of("scale", scale, Scale, "one of gdlab.scales, such as unit()")
    rate = as_driven(schedule)
    init = Partial(_init, direction.init, scale.init, rate.init)
    return optimizer_from(init, Partial(_step, direction, scale, rate), _extras)


def _init(init_direction, init_scale, init_schedule, params):
    return DescentState(jnp.zeros([], jnp.int32), init_direction(params), init_scale(params), init_schedule())


def _step(direction, scale, schedule, grads, state, params=None, value=None, **extra):
    del params, extra
    (eta, m), follows = _aimed(direction, schedule, grads, state, value)
    sigma, scale_state = scale.measure(grads, state.scale, state.count, eta, m)
    direction_state, rate_state = follows
    return Step(state.count, eta, sigma, m), DescentState(state.count + 1, direction_state, scale_state, rate_state)


def _aimed(direction, schedule, grads, state, value):
    """The rate and the direction of this step, and the states of both after it."""
    eta, rate_state = schedule.follow(state.count, state.schedule, grads, value)
    eta, m, direction_state = direction.follow(grads, state.direction, state.count, eta.astype(rate_dtype(grads)))
    return (eta, m), (direction_state, rate_state)


def _extras(direction, scale, schedule, grads, state, params=None, value=None, **extra):
    del params, extra
    if scale.extras is None:
        return {}
    (eta, m), _ = _aimed(direction, schedule, grads, state, value)
    return scale.extras(*scale.measure.args, grads, state.scale, state.count, eta, m)
