"""The equation: the only place where direction, scale and schedule meet.

    theta  <-  theta  -  eta_t / sigma_t * m_t

m and sigma are parallel statistics of the same gradient, so `descent` is a fork-join; a chain of transformations
would feed one into the other.  The sign flips in `Step.update`, nowhere else.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gdlab.base import Direction, LossSchedule, Optimizer, Rule, Scale, Step, rate_dtype
from gdlab.pieces import checked, part, piece
from gdlab.schedules.base import Rate, as_loss_schedule


class DescentState(NamedTuple):
    """What the next step needs."""

    count: jax.Array  # type: ignore[assignment]  # steps made so far: int32 scalar
    direction: Any  # the state of the direction
    scale: Any  # the state of the scale
    schedule: Any  # the state of the schedule, empty unless the loss drives it


def descent(direction: Direction, scale: Scale, schedule: Rate | LossSchedule) -> Optimizer:
    """The optimizer that moves by -eta / sigma * m (S83).

    Args:
        direction: m, one of `gdlab.directions`.
        scale: sigma, one of `gdlab.scales`.
        schedule: eta, a rate >= 0, one of `gdlab.schedules`, or any callable count -> rate.

    Returns:
        An `Optimizer`: optax's pair, a pytree of its hyperparameters, each step readable with `.step`.

    >>> import jax.numpy as jnp
    >>> from gdlab import directions, scales
    >>> sign_descent = descent(directions.Gradient(), scales.RunningRootMeanSquare(0.0), 0.5)
    >>> updates, _ = sign_descent.update(jnp.array([8.0, -0.1]), sign_descent.init(jnp.zeros(2)))
    >>> [round(float(u), 6) for u in updates]
    [-0.5, 0.5]
    """
    return Optimizer(Descent(direction, scale, schedule))


@piece
class Descent(Rule):
    """The rule theta <- theta - eta / sigma * m; its three pieces do not read each other's state."""

    direction: Direction = part(Direction, "one of gdlab.directions, such as HeavyBall(0.9)")
    scale: Scale = part(Scale, "one of gdlab.scales, such as Unit()")
    schedule: Any = checked(lambda name, rate: as_loss_schedule(rate))

    def init(self, params):
        zero = jnp.zeros([], jnp.int32)
        return DescentState(zero, self.direction.init(params), self.scale.init(params), self.schedule.init())

    def step(self, grads, state, params=None, value=None, **extra):
        eta, schedule_state = self._rate(grads, state, value)
        eta, m, direction_state = self.direction.follow(grads, state.direction, state.count, eta)
        sigma, scale_state = self.scale.measure(grads, state.scale, state.count, eta, m)
        after = DescentState(state.count + 1, direction_state, scale_state, schedule_state)
        return Step(state.count, eta, sigma, m), after

    def _rate(self, grads, state, value):
        eta, schedule_state = self.schedule.follow(grads, state.schedule, state.count, value)
        return eta.astype(rate_dtype(grads)), schedule_state

    def extras(self, grads, state, params=None, value=None, **extra):
        eta, _ = self._rate(grads, state, value)
        eta, m, _ = self.direction.follow(grads, state.direction, state.count, eta)
        return self.scale.extras(grads, state.scale, state.count, eta, m)
