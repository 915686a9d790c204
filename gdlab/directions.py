"""Directions: where to go, m, a weighted sum of gradients.

    gradient     m = g
    heavy ball   v <- lambda v + eta g;   m = v / eta                         (S73, S74: m <- lambda m - eta g)
    Nesterov     v <- lambda v + eta g;   m = (lambda v + eta g) / eta         (S96, in the looked-ahead parameters)
    average      mu <- b mu + (1 - b) g;  m = mu / (1 - b^(t+1))               (S81)

The heavy ball holds the rate *inside* its buffer, as the lectures and keras do: what was thrown keeps its speed when
the rate falls.  torch and optax multiply by the rate outside; the two agree for a constant rate only.
A direction sees the raw gradients, as the scale does: the two are parallel statistics, never a chain.

| direction | state | the lectures' m |
|---|---|---|
| `gradient()` | none | S3 |
| `heavy_ball(decay)` | `trace` v | S73-S76 |
| `nesterov(decay)` | `trace` v | S96 |
| `average(decay)` | `mu` | S81, S83 |
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.averages import decaying, decaying_weight, like, wide, zeros_wide
from gdlab.pieces import Direction, Params, hyperparameter


class NoState(NamedTuple):
    """The state of a piece that remembers nothing."""


class TraceState(NamedTuple):
    """The state of a direction with a buffer of moves."""

    trace: Params  # sum of past moves, like params


class MeanState(NamedTuple):
    """The state of a direction that averages."""

    mu: Params  # decaying average of gradients from zero, like params


def gradient() -> Direction:
    """m = g: steepest descent (S3)."""
    return Direction(Partial(_no_state), Partial(_gradient))


def _no_state(params):
    del params
    return NoState()


def _gradient(grads, state, count, eta):
    del count
    return eta, jax.tree.map(wide, grads), state


def heavy_ball(decay: ArrayLike = 0.9) -> Direction:
    """v <- decay v + eta g, m = v / eta: the previous movement plus the gradient's (S73; Polyak 1964).

    Args:
        decay: how much of the movement is kept, lambda in [0, 1].
    """
    return Direction(Partial(_zero_trace), Partial(_heavy_ball, hyperparameter("decay", decay, 0, 1)))


def _zero_trace(params):
    return TraceState(jax.tree.map(zeros_wide, params))


def _heavy_ball(decay, grads, state, count, eta):
    del count
    trace = _thrown(decay, grads, state, eta)
    unit = _unit_of_rate(eta)
    return unit, jax.tree.map(lambda v: v / like(unit, v), trace), TraceState(trace)


def nesterov(decay: ArrayLike = 0.9) -> Direction:
    """v <- decay v + eta g, m = (decay v + eta g) / eta: Nesterov's momentum at the looked-ahead point (S96).

    Args:
        decay: how much of the movement is kept, lambda in [0, 1].
    """
    return Direction(Partial(_zero_trace), Partial(_nesterov, hyperparameter("decay", decay, 0, 1)))


def _nesterov(decay, grads, state, count, eta):
    del count
    trace = _thrown(decay, grads, state, eta)
    unit = _unit_of_rate(eta)
    ahead = _thrown(decay, grads, TraceState(trace), eta)
    return unit, jax.tree.map(lambda v: v / like(unit, v), ahead), TraceState(trace)


def _thrown(decay, grads, state, eta):
    """Lambda v + eta g."""
    return jax.tree.map(
        lambda v, g: like(decay, v) * v + like(eta, v) * jnp.asarray(g).astype(v.dtype), state.trace, grads
    )


def _unit_of_rate(eta):
    """The rate in which a buffer that holds rates is measured: 1 where the schedule says 0 and the ball still rolls."""
    return jnp.where(eta == 0, jnp.ones_like(eta), eta)


def average(decay: ArrayLike = 0.9) -> Direction:
    """mu <- b mu + (1 - b) g, m = mu / (1 - b^(t+1)): the debiased average of gradients (S81; Kingma & Ba 2015).

    Args:
        decay: b in [0, 1); 0 is the gradient itself.
    """
    return Direction(Partial(_zero_mean), Partial(_average, hyperparameter("decay", decay, 0, 1, open=True)))


def _zero_mean(params):
    return MeanState(jax.tree.map(zeros_wide, params))


def _average(decay, grads, state, count, eta):
    mu = jax.tree.map(lambda mu, g: decaying(mu, jnp.asarray(g), decay), state.mu, grads)
    weight = decaying_weight(like(decay, eta), count + 1)
    m = jax.tree.map(lambda mu: mu / like(weight, mu), mu)
    return eta, m, MeanState(mu)
