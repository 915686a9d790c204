"""Directions: where to go, m, a weighted sum of gradients.

    gradient          m = g
    heavy ball        v <- lambda v + eta g;   m = v / eta                      (S73, S74: m <- lambda m - eta g)
    Nesterov          v <- lambda v + eta g;   m = (lambda v + eta g) / eta     (S96, in the looked-ahead parameters)
    running average   mu <- b mu + (1 - b) g;  m = mu
    average           mu likewise;             m = mu / (1 - b^(t+1))            (S81)
    sign              m = sign of another direction

The heavy ball holds the rate *inside* its buffer, as the lectures and keras do: what was thrown keeps its speed when
the rate falls.  torch and optax multiply by the rate outside; the two agree for a constant rate only.
A direction sees the raw gradients, as the scale does: the two are parallel statistics, never a chain.

| direction | state | source |
|---|---|---|
| `gradient()` | none | S3 |
| `heavy_ball(decay)`, `nesterov(decay)` | `trace` v | S73-S76, S96; keras |
| `heavy_ball_outside(decay)`, `nesterov_outside(decay)` | `trace`, without rates | torch, optax |
| `running_average(decay)`, `average(decay)` | `mu` | AMSGrad; Adam (S81, S83) |
| `nesterov_average(decay)` | `mu` | Nadam (S97; Dozat 2016), optax |
| `nesterov_average_warming(decay, warming)` | `mu`, `product` | Nadam of torch and keras |
| `interpolation(near=, far=)` | `mu` | Lion |
| `sign(direction)` | that of the direction | sign descent, signum, Lion |
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.arguments import hyperparameter, one_of
from gdlab.base import Direction
from gdlab.numerics import Params, debiased, decaying, like, likes, shared, wide, zeros_wide


class NoState(NamedTuple):
    """The state of a piece that remembers nothing."""


class TraceState(NamedTuple):
    """The state of a direction with a buffer of moves."""

    trace: Params  # sum of past moves, like params


class MeanState(NamedTuple):
    """The state of a direction that averages."""

    mu: Params  # decaying average of gradients from zero, like params


class WarmingMeanState(NamedTuple):
    """The state of an average whose decay grows."""

    mu: Params  # decaying average of gradients from zero, like params
    product: jax.Array  # of all decays so far: scalar


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
    return Direction(Partial(_zero_trace), Partial(_heavy_ball, _decay(decay)))


def _zero_trace(params):
    return TraceState(jax.tree.map(zeros_wide, params))


def _heavy_ball(decay, grads, state, count, eta):
    del count
    trace = _thrown(decay, eta, grads, state.trace)
    return *_in_units_of_rate(eta, trace), TraceState(trace)


def nesterov(decay: ArrayLike = 0.9) -> Direction:
    """v <- decay v + eta g, m = (decay v + eta g) / eta: Nesterov's momentum at the looked-ahead point (S96).

    Args:
        decay: how much of the movement is kept, lambda in [0, 1].
    """
    return Direction(Partial(_zero_trace), Partial(_nesterov, _decay(decay)))


def _nesterov(decay, grads, state, count, eta):
    del count
    trace = _thrown(decay, eta, grads, state.trace)
    return *_in_units_of_rate(eta, _thrown(decay, eta, grads, trace)), TraceState(trace)


def heavy_ball_outside(decay: ArrayLike = 0.9) -> Direction:
    """v <- decay v + g, m = v: the heavy ball of torch and optax, whose rate is not in the buffer.

    Args:
        decay: how much of the sum is kept, lambda in [0, 1].
    """
    return Direction(Partial(_zero_trace), Partial(_heavy_ball_outside, _decay(decay)))


def _heavy_ball_outside(decay, grads, state, count, eta):
    del count
    trace = _thrown(decay, 1, grads, state.trace)
    return eta, trace, TraceState(trace)


def nesterov_outside(decay: ArrayLike = 0.9) -> Direction:
    """v <- decay v + g, m = decay v + g: Nesterov's momentum of torch and optax, whose rate is not in the buffer.

    Args:
        decay: how much of the sum is kept, lambda in [0, 1].
    """
    return Direction(Partial(_zero_trace), Partial(_nesterov_outside, _decay(decay)))


def _nesterov_outside(decay, grads, state, count, eta):
    del count
    trace = _thrown(decay, 1, grads, state.trace)
    return eta, _thrown(decay, 1, grads, trace), TraceState(trace)


def _thrown(decay, eta, grads, trace):
    """Lambda v + eta g."""
    decay, eta = likes(decay), likes(eta)
    return jax.tree.map(lambda v, g: decay(v) * v + eta(v) * jnp.asarray(g).astype(v.dtype), trace, grads)


def _in_units_of_rate(eta, moves):
    """A rate and the moves divided by it; the rate 1 where the schedule says 0 and the ball still rolls."""
    unit = jnp.where(eta == 0, jnp.ones_like(eta), eta)
    of = likes(unit)
    return unit, jax.tree.map(lambda v: v / of(v), moves)


def running_average(decay: ArrayLike = 0.9) -> Direction:
    """mu <- b mu + (1 - b) g from zero, m = mu, as it is: AMSGrad's (S90) and signum's.

    Args:
        decay: b in [0, 1); 0 is the gradient itself.
    """
    return Direction(Partial(_zero_mean), Partial(_running_average, _decay(decay, open=True)))


def _zero_mean(params):
    return MeanState(jax.tree.map(zeros_wide, params))


def _running_average(decay, grads, state, count, eta):
    del count
    mu = decaying(state.mu, grads, decay)
    return eta, mu, MeanState(mu)


def average(decay: ArrayLike = 0.9) -> Direction:
    """mu <- b mu + (1 - b) g, m = mu / (1 - b^(t+1)): the debiased average of gradients (S81; Kingma & Ba 2015).

    Args:
        decay: b in [0, 1); 0 is the gradient itself.
    """
    return Direction(Partial(_zero_mean), Partial(_average, _decay(decay, open=True)))


def _average(decay, grads, state, count, eta):
    mu = decaying(state.mu, grads, decay)
    return eta, debiased(mu, decay, count + 1), MeanState(mu)


def nesterov_average(decay: ArrayLike = 0.9) -> Direction:
    """m = b mu / (1 - b^(t+2)) + (1 - b) g / (1 - b^(t+1)): Nadam's (S97; Dozat 2016), with a constant decay.

    Args:
        decay: b in [0, 1).
    """
    return Direction(Partial(_zero_mean), Partial(_nesterov_average, _decay(decay, open=True)))


def _nesterov_average(decay, grads, state, count, eta):
    mu = decaying(state.mu, grads, decay)
    ahead = debiased(mu, decay, count + 2)
    g = debiased(jax.tree.map(wide, grads), decay, count + 1)
    return eta, decaying(ahead, g, decay), MeanState(mu)


def nesterov_average_warming(decay: ArrayLike = 0.9, warming: ArrayLike = 4e-3) -> Direction:
    """Nadam's direction with the decay mu_t = b (1 - .96^(t warming) / 2), t from 1, as torch and keras have it.

        m = mu_(t+1) mu / (1 - mu_1 ... mu_(t+1)) + (1 - mu_t) g / (1 - mu_1 ... mu_t)

    Args:
        decay: b in [0, 1).
        warming: how fast the decay grows to b, >= 0: .004 in torch, 1 in keras.
    """
    hypers = _decay(decay, open=True), hyperparameter("warming", warming, 0)
    return Direction(Partial(_zero_warming_mean), Partial(_nesterov_average_warming, *hypers))


def _zero_warming_mean(params):
    return WarmingMeanState(jax.tree.map(zeros_wide, params), jnp.ones([]))


def _nesterov_average_warming(decay, warming, grads, state, count, eta):
    def decay_at(t):
        return like(decay, product) * (1 - 0.5 * 0.96 ** (t * like(warming, product)))

    product, t = state.product, like(count + 1, state.product)
    now, ahead = decay_at(t), decay_at(t + 1)
    product = product * now
    mu = decaying(state.mu, grads, decay)
    of = shared(lambda dtype: [w.astype(dtype) for w in (ahead / (1 - product * ahead), (1 - now) / (1 - product))])
    m = jax.tree.map(lambda mu, g: of(mu)[0] * mu + of(mu)[1] * jnp.asarray(g).astype(mu.dtype), mu, grads)
    return eta, m, WarmingMeanState(mu, product)


def interpolation(*, near: ArrayLike = 0.9, far: ArrayLike = 0.99) -> Direction:
    """m = near mu + (1 - near) g, and only then mu <- far mu + (1 - far) g: Lion's (Chen et al. 2023).

    Args:
        near: how much of the average is in this direction, in [0, 1].
        far: how much of the average is kept, in [0, 1).
    """
    hypers = hyperparameter("near", near, 0, 1), hyperparameter("far", far, 0, 1, open=True)
    return Direction(Partial(_zero_mean), Partial(_interpolation, *hypers))


def _interpolation(near, far, grads, state, count, eta):
    del count
    return eta, decaying(state.mu, grads, near), MeanState(decaying(state.mu, grads, far))


def sign(direction: Direction) -> Direction:
    """m = sign of another direction (z / abs(z) for complex z; 0 stays 0).

    >>> _, m, _ = sign(gradient()).follow(jnp.array([3.0, 0.0, -0.1]), NoState(), 0, 1.0)
    >>> m.tolist()
    [1.0, 0.0, -1.0]
    """
    one_of("direction", direction, Direction, "one of gdlab.directions, such as gradient()")
    return Direction(direction.init, Partial(_sign, direction.follow))


def _sign(follow, grads, state, count, eta):
    eta, m, state = follow(grads, state, count, eta)
    return eta, jax.tree.map(jnp.sign, m), state


def _decay(value, *, open=False):
    return hyperparameter("decay", value, 0, 1, open=open)
