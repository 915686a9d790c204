"""Directions: where to go, m, a weighted sum of gradients.

    gradient            m = g
    heavy ball          v <- lambda v + eta g;   m = v / eta                      (S73, S74: m <- lambda m - eta g)
    Nesterov            v <- lambda v + eta g;   m = (lambda v + eta g) / eta     (S96, in the looked-ahead parameters)
    ema                 mu <- b mu + (1 - b) g;  m = mu
    bias-corrected ema  mu likewise;             m = mu / (1 - b^(t+1))            (S81)
    sign                m = sign of another direction

The heavy ball keeps the learning rate *inside* its buffer, as the lectures and keras do: momentum already gained is not
reduced when the rate falls.  torch and optax multiply by the rate outside (`Trace`); the two agree only for a constant
rate.  A direction reads the raw gradients, as the scale does: the two are parallel statistics, not a chain.

| direction | state | source |
|---|---|---|
| `Gradient()` | none | S3 |
| `HeavyBall(decay)`, `Nesterov(decay)` | `trace` v | S73-S76, S96; keras |
| `Trace(decay)`, `NesterovTrace(decay)` | `trace`, without rates | torch, optax |
| `Ema(decay)`, `BiasCorrectedEma(decay)` | `mu` | AMSGrad; Adam (S81, S83) |
| `NesterovEma(decay)` | `mu` | Nadam (S97; Dozat 2016), optax |
| `NadamScheduled(decay, momentum_decay)` | `mu`, `product` | Nadam of torch and keras |
| `LionInterpolation(b1=, b2=)` | `mu` | Lion |
| `MixedEma(b1, b3, alpha)` | `mu`, `slow` | AdEMAMix |
| `EmaAndChange(b1, b2)` | `mu`, `change`, `last` | Adan |
| `Sign(direction)` | that of the direction | sign descent, signum, Lion |
| `AfterFirst(direction)` | that of the direction | SOAP |
| `ByLeaf(of_matrices, of_others)` | those of the two | muon |
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gdlab.base import Direction
from gdlab.matrices import merged, only_matrices, rule_of, without_matrices
from gdlab.numerics import Params, bias_corrected, each, ema, like, one_where, wide, zeros_wide
from gdlab.pieces import CLOSED_SHARE, NONNEGATIVE, SHARE, Number, checked, number, part, piece, static
from gdlab.schedules.base import Rate, as_rate, rate_at

__all__ = [
    "AfterFirst",
    "BiasCorrectedEma",
    "ByLeaf",
    "Direction",
    "Ema",
    "EmaAndChange",
    "Gradient",
    "HeavyBall",
    "LionInterpolation",
    "MixedEma",
    "NadamScheduled",
    "Nesterov",
    "NesterovEma",
    "NesterovTrace",
    "Sign",
    "Trace",
]


class NoState(NamedTuple):
    """The state of a piece that remembers nothing."""


class TraceState(NamedTuple):
    """The state of a direction with momentum."""

    trace: Params  # decayed sum of past steps or gradients, like params


class MeanState(NamedTuple):
    """The state of a direction that averages."""

    mu: Params  # moving average of gradients from zero, like params


class ScheduledMeanState(NamedTuple):
    """The state of an average whose decay grows."""

    mu: Params  # moving average of gradients from zero, like params
    product: jax.Array  # of all decays so far: scalar


@piece
class Gradient(Direction):
    """m = g: steepest descent (S3)."""

    def init(self, params):
        return NoState()

    def follow(self, grads, state, count, eta):
        return eta, jax.tree.map(wide, grads), state


class _Momentum(Direction):
    def init(self, params):
        return TraceState(jax.tree.map(zeros_wide, params))


@piece
class HeavyBall(_Momentum):
    """v <- decay v + eta g, m = v / eta: the previous movement plus the gradient's (S73; Polyak 1964).

    Args:
        decay: the fraction of the movement that is kept, lambda in [0, 1].
    """

    decay: Number = number(CLOSED_SHARE, default=0.9)

    def follow(self, grads, state, count, eta):
        v = _accumulated(self.decay, eta, grads, state.trace)
        return *_over_rate(v, eta), TraceState(v)


@piece
class Nesterov(_Momentum):
    """v <- decay v + eta g, m = (decay v + eta g) / eta: Nesterov's momentum at the looked-ahead point (S96).

    Args:
        decay: the fraction of the movement that is kept, lambda in [0, 1].
    """

    decay: Number = number(CLOSED_SHARE, default=0.9)

    def follow(self, grads, state, count, eta):
        v = _accumulated(self.decay, eta, grads, state.trace)
        ahead = _accumulated(self.decay, eta, grads, v)
        return *_over_rate(ahead, eta), TraceState(v)


@piece
class Trace(_Momentum):
    """v <- decay v + g, m = v: the heavy ball of torch and optax, whose rate is not in the buffer.

    Args:
        decay: the fraction of the sum that is kept, lambda in [0, 1].
    """

    decay: Number = number(CLOSED_SHARE, default=0.9)

    def follow(self, grads, state, count, eta):
        v = _accumulated(self.decay, 1, grads, state.trace)
        return eta, v, TraceState(v)


@piece
class NesterovTrace(_Momentum):
    """v <- decay v + g, m = decay v + g: Nesterov's momentum of torch and optax, whose rate is not in the buffer.

    Args:
        decay: the fraction of the sum that is kept, lambda in [0, 1].
    """

    decay: Number = number(CLOSED_SHARE, default=0.9)

    def follow(self, grads, state, count, eta):
        v = _accumulated(self.decay, 1, grads, state.trace)
        ahead = _accumulated(self.decay, 1, grads, v)
        return eta, ahead, TraceState(v)


def _accumulated(decay, eta, grads, trace):
    """The sum decay v + eta g."""

    def step(v, g, decay, eta):
        return decay * v + eta * g.astype(v.dtype)

    return each(step, trace, grads, decay=decay, eta=eta)


def _over_rate(v, eta):
    """The rate, and m = v / eta; both for the rate 1 where the schedule returns 0 and v still moves."""
    eta = one_where(eta == 0, eta)
    return eta, each(lambda v, eta: v / eta, v, eta=eta)


class _Average(Direction):
    def init(self, params):
        return MeanState(jax.tree.map(zeros_wide, params))


@piece
class Ema(_Average):
    """mu <- b mu + (1 - b) g from zero, m = mu, without bias correction: AMSGrad's (S90) and signum's.

    Args:
        decay: b in [0, 1); 0 is the gradient itself.
    """

    decay: Number = number(SHARE, default=0.9)

    def follow(self, grads, state, count, eta):
        mu = ema(state.mu, grads, self.decay)
        return eta, mu, MeanState(mu)


@piece
class BiasCorrectedEma(_Average):
    """mu <- b mu + (1 - b) g, m = mu / (1 - b^(t+1)): Adam's first moment (S81; Kingma & Ba 2015).

    Args:
        decay: b in [0, 1); 0 is the gradient itself.
    """

    decay: Number = number(SHARE, default=0.9)

    def follow(self, grads, state, count, eta):
        mu = ema(state.mu, grads, self.decay)
        m = bias_corrected(mu, self.decay, count + 1)
        return eta, m, MeanState(mu)


@piece
class NesterovEma(_Average):
    """m = b mu / (1 - b^(t+2)) + (1 - b) g / (1 - b^(t+1)): Nadam's (S97; Dozat 2016), with a constant decay.

    Args:
        decay: b in [0, 1).
    """

    decay: Number = number(SHARE, default=0.9)

    def follow(self, grads, state, count, eta):
        mu = ema(state.mu, grads, self.decay)
        mu_ahead = bias_corrected(mu, self.decay, count + 2)
        g = bias_corrected(jax.tree.map(wide, grads), self.decay, count + 1)
        return eta, ema(mu_ahead, g, self.decay), MeanState(mu)


@piece
class NadamScheduled(Direction):
    """Nadam's direction with the decay mu_t = b (1 - .96^(t momentum_decay) / 2), t from 1, as torch and keras have it.

        m = mu_(t+1) mu / (1 - mu_1 ... mu_(t+1)) + (1 - mu_t) g / (1 - mu_1 ... mu_t)

    Args:
        decay: b in [0, 1).
        momentum_decay: how fast the decay grows to b, >= 0: .004 in torch, 1 in keras.
    """

    decay: Number = number(SHARE, default=0.9)
    momentum_decay: Number = number(NONNEGATIVE, default=4e-3)

    def init(self, params):
        return ScheduledMeanState(jax.tree.map(zeros_wide, params), jnp.ones([]))

    def follow(self, grads, state, count, eta):
        product, t = state.product, like(count + 1, state.product)
        now, ahead = self._decay_at(t), self._decay_at(t + 1)
        product = product * now
        mu = ema(state.mu, grads, self.decay)
        of_mu, of_g = ahead / (1 - product * ahead), (1 - now) / (1 - product)
        m = each(lambda mu, g, x, y: x * mu + y * g.astype(mu.dtype), mu, grads, x=of_mu, y=of_g)
        return eta, m, ScheduledMeanState(mu, product)

    def _decay_at(self, t):
        return like(self.decay, t) * (1 - 0.5 * 0.96 ** (t * like(self.momentum_decay, t)))


@piece
class LionInterpolation(_Average):
    """m = b1 mu + (1 - b1) g, and only then mu <- b2 mu + (1 - b2) g: Lion's (Chen et al. 2023).

    Args:
        b1: the weight of the average in this direction, in [0, 1].
        b2: the decay of the average, in [0, 1).
    """

    b1: Number = number(CLOSED_SHARE, default=0.9, kw_only=True)
    b2: Number = number(SHARE, default=0.99, kw_only=True)

    def follow(self, grads, state, count, eta):
        m = ema(state.mu, grads, self.b1)
        mu = ema(state.mu, grads, self.b2)
        return eta, m, MeanState(mu)


class MixedState(NamedTuple):
    """The state of two averages."""

    mu: Params  # the fast average of gradients from zero, like params
    slow: Params  # the slow one


@piece
class MixedEma(Direction):
    """m = mu / (1 - b1^(t+1)) + alpha mu_slow, the averages of decay b1 and b3: AdEMAMix (Pagliardini et al. 2024).

    Args:
        b1, b3: decays of the two averages, in [0, 1).
        alpha: the weight of the slow one, a number >= 0 or a schedule.
    """

    b1: Number = number(SHARE, default=0.9)
    b3: Number = number(SHARE, default=0.9999)
    alpha: Rate = checked(as_rate, default=5.0)

    def init(self, params):
        return MixedState(*(jax.tree.map(zeros_wide, params) for _ in range(2)))

    def follow(self, grads, state, count, eta):
        mu, slow = ema(state.mu, grads, self.b1), ema(state.slow, grads, self.b3)
        mean = bias_corrected(mu, self.b1, count + 1)
        m = each(lambda mean, slow, alpha: mean + alpha * slow, mean, slow, alpha=rate_at(self.alpha, count))
        return eta, m, MixedState(mu, slow)


class ChangeState(NamedTuple):
    """The state of averages of gradients and of their changes."""

    mu: Params  # average of gradients from zero, like params
    change: Params  # average of their changes from zero
    last: Params  # the gradient before


@piece
class EmaAndChange(Direction):
    """m = mu / (1 - b1^t) + (1 - b2) change / (1 - b2^t), averages of g and of g - g_before: Adan (Xie et al. 2022).

    The first gradient has no change.

    Args:
        b1, b2: decays of the two averages, in [0, 1).
    """

    b1: Number = number(SHARE, default=0.98)
    b2: Number = number(SHARE, default=0.92)

    def init(self, params):
        return ChangeState(*(jax.tree.map(zeros_wide, params) for _ in range(3)))

    def follow(self, grads, state, count, eta):
        g = each(lambda last, g: g.astype(last.dtype), state.last, grads)
        change = each(lambda g, last: jnp.where(count == 0, 0, g - last), g, state.last)
        state = ChangeState(ema(state.mu, g, self.b1), ema(state.change, change, self.b2), g)
        mean, ahead = bias_corrected(state.mu, self.b1, count + 1), bias_corrected(state.change, self.b2, count + 1)
        return eta, each(lambda mean, ahead, b2: mean + (1 - b2) * ahead, mean, ahead, b2=self.b2), state


@piece
class Sign(Direction):
    """m = sign of another direction (z / abs(z) for complex z; 0 stays 0).

    >>> _, m, _ = Sign(Gradient()).follow(jnp.array([3.0, 0.0, -0.1]), NoState(), 0, 1.0)
    >>> m.tolist()
    [1.0, 0.0, -1.0]
    """

    direction: Direction = part(Direction, "one of gdlab.directions, such as Gradient()")

    def init(self, params):
        return self.direction.init(params)

    def follow(self, grads, state, count, eta):
        eta, m, state = self.direction.follow(grads, state, count, eta)
        return eta, jax.tree.map(jnp.sign, m), state


@piece
class AfterFirst(Direction):
    """Another direction that begins with the second gradient: m = 0 for the first, which SOAP makes its basis of."""

    direction: Direction = part(Direction, "one of gdlab.directions, such as Gradient()")

    def init(self, params):
        return self.direction.init(params)

    def follow(self, grads, state, count, eta):
        first = count == 0
        eta, m, after = self.direction.follow(grads, state, jnp.maximum(count - 1, 0), eta)
        after = jax.tree.map(lambda before, after: jnp.where(first, before, after), state, after)
        return eta, jax.tree.map(lambda m: jnp.where(first, 0, m), m), after


class ByLeafState(NamedTuple):
    """The state of a direction that is one for matrices and another for the rest."""

    of_matrices: Any  # the state of the one, with None in the place of leaves without matrices
    of_others: Any  # the state of the other, likewise


@piece
class ByLeaf(Direction):
    """One direction for the leaves that hold matrices, another for the rest, by a rule of `gdlab.matrices`."""

    of_matrices: Direction = part(Direction, "one of gdlab.directions, such as Gradient()")
    of_others: Direction = part(Direction, "one of gdlab.directions, such as Gradient()")
    matrices: Any = static(rule_of, default="last two")

    def init(self, params):
        return ByLeafState(*(piece.init(part) for piece, part in self._parts(params)))

    def follow(self, grads, state, count, eta):
        (one, matrices), (other, others) = self._parts(grads)
        _, m, of_matrices = one.follow(matrices, state.of_matrices, count, eta)
        eta, m_of_others, of_others = other.follow(others, state.of_others, count, eta)
        return eta, merged(m, m_of_others), ByLeafState(of_matrices, of_others)

    def _parts(self, tree):
        pair = only_matrices(self.matrices, tree), without_matrices(self.matrices, tree)
        return zip((self.of_matrices, self.of_others), pair, strict=True)


def __dir__() -> list[str]:
    """What completion offers: the public names."""
    return sorted(__all__)
