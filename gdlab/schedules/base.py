"""What stands for a learning rate: a number, a schedule, any callable, or a rate that answers to the loss.

| function | what it returns |
|---|---|
| `constant` | the schedule of one rate |
| `as_schedule` | the schedule that a rate stands for |
| `as_driven` | the same as a rate that might answer to the loss |
| `as_float` | a count as a float |
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.arguments import hyperparameter
from gdlab.base import Driven

Rate = ArrayLike | Callable[[ArrayLike], Any]  # a number or a schedule


def constant(rate: ArrayLike, *, name: str = "learning_rate") -> Partial:
    """eta_t = rate, for a rate >= 0, which errors call by its name.

    >>> float(constant(0.5)(7))
    0.5
    """
    return Partial(_constant, hyperparameter(name, rate, 0))


def _constant(rate, count):
    del count
    return jnp.asarray(rate)


def as_schedule(rate: Rate, *, name: str = "learning_rate") -> Partial:
    """The schedule that a rate stands for: itself where it is callable, else constant."""
    if isinstance(rate, Partial):
        return rate
    if isinstance(rate, Driven):
        msg = f"{name} must here be a number or a schedule, which does not answer to the loss; got {rate!r}"
        raise TypeError(msg)
    return Partial(_called, Partial(rate)) if callable(rate) else constant(rate, name=name)


def _called(schedule, count):
    # The widest integer of the session, so that sqrt(count + 1) in a user's schedule is as exact as ours.
    return jnp.asarray(schedule(jnp.asarray(count).astype(int)))


def as_driven(rate: Rate | Driven) -> Driven:
    """The rate as one that might answer to the loss; a schedule does not look at it."""
    return rate if isinstance(rate, Driven) else Driven(Partial(tuple), Partial(_undriven, as_schedule(rate)))


def _undriven(schedule, count, state, grads, value):
    del grads, value
    return jnp.asarray(schedule(count)), state


def as_float(count: ArrayLike) -> jax.Array:
    """The count as a float: float64 where x64 is on, else float32."""
    return jnp.asarray(count).astype(float)
