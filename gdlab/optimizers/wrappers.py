"""Optimizers made from other optimizers; each step stays readable as -eta / sigma * m.

    chain                          transformations of the gradient, one of our optimizers, transformations of the update
    momentum_on_updates            v <- lambda v + eta / sigma * m;  theta <- theta - v
    trace_on_updates               v <- lambda v + m / sigma;        theta <- theta - eta v
    ema_on_updates                 v <- b v + (1 - b) m / sigma;     theta <- theta - eta v                    ADOPT
    with_weight_decay              theta <- theta - eta / sigma * m - eta w theta              AdamW as known  (S98)
    with_independent_weight_decay  theta <- theta - eta / sigma * m - w theta                  as in its paper
    lookahead                      k steps forward, one back to slow weights                   (S95)

The sigma of the wrapped optimizer is kept, and m is chosen so that `-eta / sigma * m` is the update that is made.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from gdlab.equation import Optimizer, Rule
from gdlab.ground.checks import one_of
from gdlab.numerics import Params, each, ema, like, likes, nearest_whole, wide, zeros_wide
from gdlab.operators import applied, by_leaf, is_operator, of_operators, solved
from gdlab.pieces import CLOSED_SHARE, Number, Range, checked, number, part, piece, static
from gdlab.schedules.base import Rate, as_rate, rate_at

EXAMPLE = "one of gdlab, such as gdlab.adam(1e-3)"


class MomentumOnUpdatesState(NamedTuple):
    """The state of momentum on the updates of another optimizer."""

    inner: Any  # the state of that optimizer
    trace: Params  # decayed sum of past updates, like params


class LookaheadState(NamedTuple):
    """The state of an optimizer with slow weights."""

    inner: Any  # the state of the fast optimizer
    slow: Params  # the slow weights, like params


def chain(*parts: optax.GradientTransformation) -> Optimizer:
    """`optax.chain` around one of our optimizers: a pytree of its hyperparameters, and every step can be read.

    Args:
        *parts: any transformations, of which exactly one is a `gdlab.Optimizer`; those before it change the gradient,
            those behind it the update.

    Raises:
        ValueError: when none or several of the parts are ours.

    >>> import gdlab
    >>> optimizer = chain(optax.clip(1.0), gdlab.gd(0.5))
    >>> step, _ = optimizer.step(4.0, optimizer.init(0.0))
    >>> float(step.m), float(step.update)
    (1.0, -0.5)
    """
    for one in parts:
        one_of("parts", one, optax.GradientTransformation, "optax transformations, such as optax.clip(1.0)")
    ours = [i for i, part in enumerate(parts) if isinstance(part, Optimizer)]
    if len(ours) != 1:
        msg = f"parts must hold exactly one optimizer of gdlab; got {len(ours)}"
        raise ValueError(msg)
    place = ours[0]
    before, after = (tuple(map(_with_extra, some)) for some in (parts[:place], parts[place + 1 :]))
    return Optimizer(Chain(before, parts[place], after))


@lru_cache(maxsize=256)  # the same object for the same transformation, so that chains of it share a trace
def _with_extra(transformation):
    return optax.with_extra_args_support(transformation)


@piece
class Chain(Rule):
    """The rule of `chain`: transformations of optax, which are structure, before and after an optimizer."""

    before: tuple = static(lambda name, parts: parts)
    optimizer: Optimizer = part(Optimizer, EXAMPLE)
    after: tuple = static(lambda name, parts: parts)

    def init(self, params):
        return tuple(one.init(params) for one in (*self.before, self.optimizer, *self.after))

    def step(self, grads, state, params=None, **extra):
        place = len(self.before)
        grads, states = _through(self.before, grads, state[:place], params, extra)
        step, inner_state = self.optimizer.step(grads, state[place], params, **extra)
        if not self.after:
            return step, (*states, inner_state)
        update, after_states = _through(self.after, step.update, state[place + 1 :], params, extra)
        return step.moving(update), (*states, inner_state, *after_states)

    def extras(self, grads, state, params=None, **extra):
        grads, _ = _through(self.before, grads, state[: len(self.before)], params, extra)
        return self.optimizer.extras(grads, state[len(self.before)], params, **extra)


def _through(transformations, values, states, params, extra):
    new = []
    for transformation, state in zip(transformations, states, strict=True):
        values, state = transformation.update(values, state, params, **extra)
        new.append(state)
    return values, new


def momentum_on_updates(optimizer: Optimizer, decay: ArrayLike = 0.9) -> Optimizer:
    """v <- decay v + eta / sigma * m, theta <- theta - v: a heavy ball made of the updates of another optimizer.

    Args:
        optimizer: one of ours.
        decay: the fraction of the movement that is kept, in [0, 1].

    >>> import gdlab
    >>> optimizer = momentum_on_updates(gdlab.gd(0.1))
    >>> _, state = optimizer.update(1.0, optimizer.init(0.0))
    >>> round(float(optimizer.update(1.0, state)[0]), 6)
    -0.19
    """
    return Optimizer(MomentumOnUpdates(optimizer, decay))


class _OnUpdates(Rule):
    optimizer: Optimizer

    def init(self, params):
        return MomentumOnUpdatesState(self.optimizer.init(params), jax.tree.map(zeros_wide, params))

    def extras(self, grads, state, params=None, **extra):
        return self.optimizer.extras(grads, state.inner, params, **extra)


@piece
class MomentumOnUpdates(_OnUpdates):
    """The rule of `momentum_on_updates`."""

    optimizer: Optimizer = part(Optimizer, EXAMPLE)
    decay: Number = number(CLOSED_SHARE, default=0.9)

    def step(self, grads, state, params=None, **extra):
        step, inner_state = self.optimizer.step(grads, state.inner, params, **extra)
        v = each(lambda v, u, decay: decay * v + u, state.trace, step.update, decay=self.decay)
        return step.moving(v), MomentumOnUpdatesState(inner_state, v)


def trace_on_updates(optimizer: Optimizer, decay: ArrayLike = 0.9) -> Optimizer:
    """v <- decay v + m / sigma, theta <- theta - eta v: the same with the rate outside the buffer, as torch has it.

    Args:
        optimizer: one of ours.
        decay: the fraction of the sum that is kept, in [0, 1].

    >>> import gdlab
    >>> optimizer = trace_on_updates(gdlab.gd(0.1))
    >>> _, state = optimizer.update(1.0, optimizer.init(0.0))
    >>> round(float(optimizer.update(1.0, state)[0]), 6)
    -0.19
    """
    return Optimizer(TraceOnUpdates(optimizer, decay))


@piece
class TraceOnUpdates(_OnUpdates):
    """The rule of `trace_on_updates`."""

    optimizer: Optimizer = part(Optimizer, EXAMPLE)
    decay: Number = number(CLOSED_SHARE, default=0.9)

    def step(self, grads, state, params=None, **extra):
        step, inner_state = self.optimizer.step(grads, state.inner, params, **extra)
        v = self._accumulated(state.trace, by_leaf(solved, step.sigma, step.m))
        moved = each(lambda v, eta: -eta * v, of_operators(step.sigma, v), eta=step.eta)
        return step._replace(m=by_leaf(applied, step.sigma, v), moved=moved), MomentumOnUpdatesState(inner_state, v)

    def _accumulated(self, trace, moves):
        return each(lambda v, move, decay: decay * v + move, trace, moves, decay=self.decay)


def ema_on_updates(optimizer: Optimizer, decay: ArrayLike = 0.9) -> Optimizer:
    """v <- decay v + (1 - decay) m / sigma, theta <- theta - eta v: what was scaled is averaged, as in ADOPT.

    Args:
        optimizer: one of ours.
        decay: of the average, in [0, 1].

    >>> import gdlab
    >>> optimizer = ema_on_updates(gdlab.gd(0.1))
    >>> _, state = optimizer.update(1.0, optimizer.init(0.0))
    >>> round(float(optimizer.update(1.0, state)[0]), 6)
    -0.019
    """
    return Optimizer(EmaOnUpdates(optimizer, decay))


@piece
class EmaOnUpdates(TraceOnUpdates):
    """The rule of `ema_on_updates`."""

    def _accumulated(self, trace, moves):
        return ema(trace, moves, self.decay)


def with_weight_decay(optimizer: Optimizer, weight_decay: Rate) -> Optimizer:
    """theta <- theta - eta / sigma * m - eta w theta: weight decay that is scaled by the learning rate (S98).

    This is AdamW as torch, keras and optax have it; `with_independent_weight_decay` leaves out the rate.

    Args:
        optimizer: one of ours; its `update` must then be given `params`.
        weight_decay: w >= 0, a number or a schedule.

    >>> import gdlab
    >>> optimizer = with_weight_decay(gdlab.gd(0.1), 0.5)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0), 1.0)[0]), 6)
    -0.25
    """
    return Optimizer(WithWeightDecay(optimizer, weight_decay))


class _Decayed(Rule):
    optimizer: Optimizer

    def init(self, params):
        return self.optimizer.init(params)

    def extras(self, grads, state, params=None, **extra):
        return self.optimizer.extras(grads, state, params, **extra)


@piece
class WithWeightDecay(_Decayed):
    """The rule of `with_weight_decay`."""

    optimizer: Optimizer = part(Optimizer, EXAMPLE)
    weight_decay: Rate = checked(as_rate)

    def step(self, grads, state, params=None, **extra):
        step, state = self.optimizer.step(grads, state, params, **extra)
        w = rate_at(self.weight_decay, step.count)
        return _pulled(step, given(params), w), state


def with_independent_weight_decay(optimizer: Optimizer, weight_decay: Rate) -> Optimizer:
    """theta <- theta - eta / sigma * m - w theta: weight decay independent of the rate (S98; Loshchilov & Hutter 2017).

    Args:
        optimizer: one of ours; its `update` must then be given `params`.
        weight_decay: w >= 0, a number or a schedule.

    >>> import gdlab
    >>> optimizer = with_independent_weight_decay(gdlab.gd(0.1), 0.5)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0), 1.0)[0]), 6)
    -0.7
    """
    return Optimizer(WithIndependentWeightDecay(optimizer, weight_decay))


@piece
class WithIndependentWeightDecay(_Decayed):
    """The rule of `with_independent_weight_decay`."""

    optimizer: Optimizer = part(Optimizer, EXAMPLE)
    weight_decay: Rate = checked(as_rate)

    def step(self, grads, state, params=None, **extra):
        step, state = self.optimizer.step(grads, state, params, **extra)
        w = rate_at(self.weight_decay, step.count)
        update = each(lambda u, theta, w: u - w * wide(theta), step.update, given(params), w=w)
        return step.moving(update), state


def lookahead(optimizer: Optimizer, period: ArrayLike = 5, slow_rate: ArrayLike = 0.5) -> Optimizer:
    """phi <- phi + alpha (theta - phi), theta <- phi, every k steps of another optimizer (S95; Zhang et al. 2019).

    The slow weights phi are in the state, so that the parameters are plain ones.

    Args:
        optimizer: one of ours; its `update` must then be given `params`.
        period: k, a whole number >= 1.
        slow_rate: alpha in [0, 1]; 1 is the other optimizer itself.

    >>> import gdlab
    >>> optimizer = lookahead(gdlab.gd(1.0), period=2, slow_rate=0.5)
    >>> theta, state = jnp.asarray(0.0), optimizer.init(jnp.asarray(0.0))
    >>> for _ in range(2):
    ...     update, state = optimizer.update(jnp.asarray(1.0), state, theta)
    ...     theta = theta + update
    >>> float(theta)
    -1.0
    """
    return Optimizer(Lookahead(optimizer, period, slow_rate))


@piece
class Lookahead(Rule):
    """The rule of `lookahead`."""

    optimizer: Optimizer = part(Optimizer, EXAMPLE)
    period: Number = number(Range(1), default=5)
    slow_rate: Number = number(CLOSED_SHARE, default=0.5)

    def init(self, params):
        return LookaheadState(self.optimizer.init(params), jax.tree.map(copied, params))

    def step(self, grads, state, params=None, **extra):
        step, inner_state = self.optimizer.step(grads, state.inner, params, **extra)
        back = (step.count + 1) % nearest_whole(self.period) == 0

        def pulled(slow, u, theta, alpha):
            return jnp.where(back, slow + alpha * (wide(theta) + u - slow), slow)

        def update(slow, u, theta):
            return jnp.where(back, slow - wide(theta), u)

        slow = each(pulled, state.slow, step.update, given(params), alpha=self.slow_rate)
        return step.moving(jax.tree.map(update, slow, step.update, params)), LookaheadState(inner_state, slow)

    def extras(self, grads, state, params=None, **extra):
        return self.optimizer.extras(grads, state.inner, params, **extra)


def copied(leaf: Any) -> jax.Array:
    """A copy of its own, for parameters and state may both be donated; zeros for an abstract leaf."""
    zeros = zeros_wide(leaf)
    return zeros if isinstance(leaf, jax.ShapeDtypeStruct) else zeros + jnp.asarray(leaf, zeros.dtype)


def _pulled(step, params, w):
    """The step that also moves by -eta w theta."""
    of = likes(w)

    def pull(sigma, m, theta):
        theta = wide(theta).astype(m.dtype)
        return m + (of(m) * sigma.apply(theta) if is_operator(sigma) else of(m) * sigma * theta)

    update, theta = (of_operators(step.sigma, tree) for tree in (step.update, params))
    moved = each(lambda u, theta, rate: u - rate * wide(theta), update, theta, rate=step.eta * like(w, step.eta))
    return step._replace(m=by_leaf(pull, step.sigma, step.m, params), moved=moved)


def given(params: Params | None) -> Params:
    """The parameters; ValueError where an update was not given them."""
    if params is None:
        msg = "params must be given, update(grads, state, params): the step depends on them; got None"
        raise ValueError(msg)
    return params
