"""Schedules: how far to step, a rate for each count of steps (from 0).

    eta_t = schedule(t)

A schedule is a `jax.tree_util.Partial` whose leaves are its parameters: each can be traced, vmapped and
differentiated.  The count is turned into a float *first*: `jnp.sqrt` of an int32 is float32 even where x64 is on.
Any other callable `count -> rate`, optax's schedules included, fits wherever a learning rate is asked for.

| schedule | eta_t | source |
|---|---|---|
| `constant` | eta | |
| `inverse_sqrt` | eta / sqrt(t + 1) | S14 (the lectures call it "1/t decay") |
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.pieces import hyperparameter


def constant(rate: ArrayLike) -> Partial:
    """eta_t = rate, for a rate >= 0.

    >>> float(constant(0.5)(7))
    0.5
    """
    return Partial(_constant, hyperparameter("learning_rate", rate, 0))


def _constant(rate, count):
    del count
    return jnp.asarray(rate)


def inverse_sqrt(rate: ArrayLike | Callable[[ArrayLike], Any]) -> Partial:
    """eta_t = rate / sqrt(t + 1), for a rate >= 0 or a schedule of rates (S14).

    >>> float(inverse_sqrt(1.0)(3))
    0.5
    """
    return Partial(_inverse_sqrt, as_schedule(rate))


def _inverse_sqrt(schedule, count):
    return schedule(count) / jnp.sqrt(as_float(count) + 1)


def as_float(count: ArrayLike) -> jax.Array:
    """The count as a float: float64 where x64 is on, else float32."""
    return jnp.asarray(count).astype(float)


def as_schedule(rate: ArrayLike | Callable[[ArrayLike], Any]) -> Partial:
    """The schedule that a learning rate stands for: itself where it is callable, else constant."""
    if isinstance(rate, Partial):
        return rate
    return Partial(_called, Partial(rate)) if callable(rate) else constant(rate)


def _called(schedule, count):
    # The widest integer of the session, so that sqrt(count + 1) in a user's schedule is as exact as ours.
    return jnp.asarray(schedule(jnp.asarray(count).astype(int)))
