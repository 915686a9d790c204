"""Learning rates: a number, a schedule, any callable of the count, or a rate that depends on the loss.

| name | what it is |
|---|---|
| `Constant` | the schedule of one rate |
| `FromFunction` | the schedule of any callable count -> rate, such as one of optax |
| `as_schedule` | the schedule that a rate stands for |
| `as_loss_schedule` | the same, where the rate may answer to the loss |
| `as_rate`, `rate_at` | the check of a field that holds a rate; the value of such a field at a count |
| `as_float` | a count as a float |
| `progress`, `between`, `half_cosine`, `power` | fractions of the steps, and what is made of them |
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.arguments import real
from gdlab.base import LossSchedule, Schedule
from gdlab.ground.checks import function
from gdlab.numerics import one_where
from gdlab.pieces import NONNEGATIVE, Number, checked, number, piece

Rate = ArrayLike | Callable[[ArrayLike], Any]  # a number or a schedule


@piece
class Constant(Schedule):
    """eta_t = rate, for a rate >= 0.

    >>> float(Constant(0.5)(7))
    0.5
    """

    rate: Number = number(NONNEGATIVE)

    def __call__(self, count):
        return jnp.asarray(self.rate)


def _as_partial(name, value):
    function(name, value, "count -> rate")
    return value if isinstance(value, Partial) else Partial(value)


@piece
class FromFunction(Schedule):
    """eta_t = function(t), for any callable; the hyperparameters of a `jax.tree_util.Partial` stay leaves.

    >>> float(FromFunction(lambda t: 1 / (t + 1))(3))
    0.25
    """

    function: Callable[[jax.Array], Any] = checked(_as_partial)

    def __call__(self, count):
        # The widest integer of the session, so that sqrt(count + 1) in a user's schedule is as exact as ours.
        return jnp.asarray(self.function(jnp.asarray(count).astype(int)))


def as_rate(name: str, value: Rate) -> Rate:
    """A rate as a field, `checked(as_rate)`, holds it: a number >= 0, or a schedule."""
    if isinstance(value, Schedule):
        return value
    if isinstance(value, LossSchedule):
        msg = f"{name} must here be a number or a schedule, which does not answer to the loss; got {value!r}"
        raise TypeError(msg)
    return FromFunction(value) if callable(value) else real(name, value, NONNEGATIVE)


def rate_at(rate: Rate, count: ArrayLike) -> jax.Array:
    """The value of a rate field at a count of steps."""
    return rate(count) if callable(rate) else jnp.asarray(rate)


def as_schedule(rate: Rate, *, name: str = "learning_rate") -> Schedule:
    """The schedule that a rate, which errors call by its name, stands for: itself where it is one, else constant.

    >>> float(as_schedule(0.1)(7)), float(as_schedule(lambda t: 1 / (t + 1))(3))
    (0.1, 0.25)
    """
    checked_rate = as_rate(name, rate)
    return checked_rate if isinstance(checked_rate, Schedule) else Constant(checked_rate)


def as_loss_schedule(rate: Rate | LossSchedule) -> LossSchedule:
    """The rate as one that may answer to the loss; a schedule ignores it."""
    return rate if isinstance(rate, LossSchedule) else as_schedule(rate)


def as_float(count: ArrayLike) -> jax.Array:
    """The count as a float: float64 where x64 is on, else float32."""
    return jnp.asarray(count).astype(float)


def progress(count: ArrayLike, steps: ArrayLike) -> jax.Array:
    """The fraction of the steps that is over, in [0, 1]."""
    return jnp.clip(as_float(count) / steps, 0, 1)


def between(start: Number, end: Number, progress: jax.Array) -> jax.Array:
    """The point at such a fraction of the way."""
    return start + (end - start) * progress


def half_cosine(progress: jax.Array) -> jax.Array:
    """From 1 down to 0 along half a cosine."""
    return (1 + jnp.cos(jnp.pi * progress)) / 2


def power(base: ArrayLike, exponent: ArrayLike) -> jax.Array:
    """base^exponent with a finite derivative at base 0, where it is 0 (1 for exponent 0)."""
    base, exponent = jnp.asarray(base, float), jnp.asarray(exponent, float)
    zero = base == 0
    return jnp.where(zero, (exponent == 0).astype(base.dtype), one_where(zero, base) ** exponent)
