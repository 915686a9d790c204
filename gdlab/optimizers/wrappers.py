"""Optimizers made from other optimizers; each step stays readable as -eta / sigma * m.

    chain             transformations of the gradient, one of our optimizers, transformations of the move
    rolling           v <- lambda v + eta / sigma * m;  theta <- theta - v               momentum on moves
    rolling_outside   v <- lambda v + m / sigma;        theta <- theta - eta v
    decayed           theta <- theta - eta / sigma * m - eta w theta                      AdamW as known  (S98)
    decayed_outright  theta <- theta - eta / sigma * m - w theta                          decoupled in truth
    lookahead         k moves forward, one back to slow weights                           (S95)

What the other optimizer calls sigma is kept; m becomes what makes `-eta / sigma * m` the move that is made.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.arguments import hyperparameter, one_of
from gdlab.base import Optimizer, Step, optimizer_from
from gdlab.numerics import Params, likes, nearest_whole, wide, zeros_wide
from gdlab.schedules.base import Rate, as_schedule


class RollingState(NamedTuple):
    """The state of momentum on the moves of another optimizer."""

    inner: Any  # the state of that optimizer
    trace: Params  # sum of past moves, like params


class LookaheadState(NamedTuple):
    """The state of an optimizer with slow weights."""

    inner: Any  # the state of the optimizer that goes ahead
    slow: Params  # the slow weights, like params


def chain(*parts: optax.GradientTransformation) -> Optimizer:
    """`optax.chain` around one of our optimizers: a pytree of its hyperparameters, and every step can be read.

    Args:
        *parts: any transformations, of which exactly one is a `gdlab.Optimizer`; those before it change the gradient,
            those behind it the move.

    Raises:
        ValueError: when none or several of the parts are ours.

    >>> import gdlab
    >>> optimizer = chain(optax.clip(1.0), gdlab.gd(0.5))
    >>> step, _ = optimizer.step(4.0, optimizer.init(0.0))
    >>> float(step.m), float(step.update)
    (1.0, -0.5)
    """
    ours = [i for i, part in enumerate(parts) if isinstance(part, Optimizer)]
    if len(ours) != 1:
        msg = f"parts must hold exactly one optimizer of gdlab; got {len(ours)}"
        raise ValueError(msg)
    for part in parts:
        one_of("parts", part, optax.GradientTransformation, "optax transformations, such as optax.clip(1.0)")
    parts = tuple(part if isinstance(part, Optimizer) else _without_leaves(part) for part in parts)
    before, optimizer, after = parts[: ours[0]], parts[ours[0]], parts[ours[0] + 1 :]
    updates = (tuple(part[1] for part in before), optimizer.update, tuple(part[1] for part in after))
    return optimizer_from(
        Partial(_init_chain, tuple(part[0] for part in parts)), Partial(_chain, *updates), _chain_extras
    )


@lru_cache(maxsize=256)  # the same structure for the same transformation, so that chains of it share a trace
def _without_leaves(transform):
    transform = optax.with_extra_args_support(transform)
    return Partial(transform.init), Partial(transform.update)


def _init_chain(inits, params):
    return tuple(init(params) for init in inits)


def _chain(before, inner, after, grads, state, params=None, **extra):
    grads, states = _through(before, grads, state[: len(before)], params, extra)
    step, inner_state = Optimizer(None, inner).step(grads, state[len(before)], params, **extra)
    if not after:
        return step, (*states, inner_state)
    move, after_states = _through(after, step.update, state[len(before) + 1 :], params, extra)
    return _remade(step, move), (*states, inner_state, *after_states)


def _through(updates, values, states, params, extra):
    new = []
    for update, state in zip(updates, states, strict=True):
        values, state = update(values, state, params, **extra)
        new.append(state)
    return values, new


def _chain_extras(before, inner, after, grads, state, params=None, **extra):
    del after
    grads, _ = _through(before, grads, state[: len(before)], params, extra)
    return Optimizer(None, inner).extras(grads, state[len(before)], params, **extra)


def rolling(optimizer: Optimizer, decay: ArrayLike = 0.9) -> Optimizer:
    """v <- decay v + eta / sigma * m, theta <- theta - v: a heavy ball thrown by the moves of another optimizer.

    Args:
        optimizer: one of ours.
        decay: how much of the movement is kept, in [0, 1].
    """
    step = Partial(_rolling, _ours(optimizer).update, hyperparameter("decay", decay, 0, 1))
    return optimizer_from(Partial(_init_rolling, optimizer.init), step, _extras_of_rolling)


def _init_rolling(init, params):
    return RollingState(init(params), jax.tree.map(zeros_wide, params))


def _rolling(inner, decay, grads, state, params=None, **extra):
    step, inner_state = Optimizer(None, inner).step(grads, state.inner, params, **extra)
    keep = likes(decay)
    trace = jax.tree.map(lambda v, u: keep(v) * v + u, state.trace, step.update)
    return _remade(step, trace), RollingState(inner_state, trace)


def rolling_outside(optimizer: Optimizer, decay: ArrayLike = 0.9) -> Optimizer:
    """v <- decay v + m / sigma, theta <- theta - eta v: the same with the rate outside the buffer, as torch has it.

    Args:
        optimizer: one of ours.
        decay: how much of the sum is kept, in [0, 1].
    """
    step = Partial(_rolling_outside, _ours(optimizer).update, hyperparameter("decay", decay, 0, 1))
    return optimizer_from(Partial(_init_rolling, optimizer.init), step, _extras_of_rolling)


def _rolling_outside(inner, decay, grads, state, params=None, **extra):
    step, inner_state = Optimizer(None, inner).step(grads, state.inner, params, **extra)
    keep = likes(decay)
    trace = jax.tree.map(lambda v, sigma, m: keep(v) * v + m / sigma, state.trace, step.sigma, step.m)
    return step._replace(m=jax.tree.map(jnp.multiply, trace, step.sigma)), RollingState(inner_state, trace)


def decayed(optimizer: Optimizer, weight_decay: Rate) -> Optimizer:
    """theta <- theta - eta / sigma * m - eta w theta: decay beside the gradient, at the pace of the rate (S98).

    This is AdamW as torch, keras and optax have it; `decayed_outright` leaves out the rate.

    Args:
        optimizer: one of ours; its `update` must then be given `params`.
        weight_decay: w >= 0, a number or a schedule.
    """
    step = Partial(_decayed, _ours(optimizer).update, as_schedule(weight_decay, name="weight_decay"))
    return optimizer_from(optimizer.init, step, _extras_of_inner)


def _decayed(inner, weight_decay, grads, state, params=None, **extra):
    step, state = Optimizer(None, inner).step(grads, state, params, **extra)
    w = likes(weight_decay(step.count))
    pull = jax.tree.map(lambda sigma, m, theta: m + w(m) * sigma * wide(theta), step.sigma, step.m, _given(params))
    return step._replace(m=pull), state


def decayed_outright(optimizer: Optimizer, weight_decay: Rate) -> Optimizer:
    """theta <- theta - eta / sigma * m - w theta: decay that no learning rate scales (S98; Loshchilov & Hutter 2017).

    Args:
        optimizer: one of ours; its `update` must then be given `params`.
        weight_decay: w >= 0, a number or a schedule.
    """
    step = Partial(_decayed_outright, _ours(optimizer).update, as_schedule(weight_decay, name="weight_decay"))
    return optimizer_from(optimizer.init, step, _extras_of_inner)


def _decayed_outright(inner, weight_decay, grads, state, params=None, **extra):
    step, state = Optimizer(None, inner).step(grads, state, params, **extra)
    w = likes(weight_decay(step.count))
    move = jax.tree.map(lambda u, theta: u - w(u) * wide(theta), step.update, _given(params))
    return _remade(step, move), state


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
    hypers = hyperparameter("period", period, 1), hyperparameter("slow_rate", slow_rate, 0, 1)
    step = Partial(_lookahead, _ours(optimizer).update, *hypers)
    return optimizer_from(Partial(_init_lookahead, optimizer.init), step, _extras_of_lookahead)


def _init_lookahead(init, params):
    return LookaheadState(init(params), jax.tree.map(_copy, params))


def _copy(leaf):
    # A copy of its own: parameters and state may both be donated.  Abstract parameters have no values to copy.
    zeros = zeros_wide(leaf)
    return zeros if isinstance(leaf, jax.ShapeDtypeStruct) else zeros + jnp.asarray(leaf, zeros.dtype)


def _lookahead(inner, period, slow_rate, grads, state, params=None, **extra):
    step, inner_state = Optimizer(None, inner).step(grads, state.inner, params, **extra)
    back = (step.count + 1) % nearest_whole(period) == 0
    alpha = likes(slow_rate)

    def pulled(slow, u, theta):
        return jnp.where(back, slow + alpha(slow) * (wide(theta) + u - slow), slow)

    def move(slow, u, theta):
        return jnp.where(back, slow - wide(theta), u)

    slow = jax.tree.map(pulled, state.slow, step.update, _given(params))
    return _remade(step, jax.tree.map(move, slow, step.update, params)), LookaheadState(inner_state, slow)


def _extras_of_inner(inner, decay, grads, state, params=None, **extra):
    del decay
    return Optimizer(None, inner).extras(grads, state, params, **extra)


def _extras_of_rolling(inner, decay, grads, state, params=None, **extra):
    return _extras_of_inner(inner, decay, grads, state.inner, params, **extra)


def _extras_of_lookahead(inner, period, slow_rate, grads, state, params=None, **extra):
    del period
    return _extras_of_inner(inner, slow_rate, grads, state.inner, params, **extra)


def _remade(step, move):
    """The step that makes another move with the same sigma; its rate is 1 where the rate was 0."""
    eta = jnp.where(step.eta == 0, jnp.ones_like(step.eta), step.eta)
    of = likes(-eta)
    return Step(step.count, eta, step.sigma, jax.tree.map(lambda u, sigma: u * sigma / of(sigma), move, step.sigma))


def _ours(optimizer):
    return one_of("optimizer", optimizer, Optimizer, "one of gdlab, such as gdlab.adam(1e-3)")


def _given(params):
    if params is None:
        msg = "params must be given, update(grads, state, params): the step depends on them; got None"
        raise ValueError(msg)
    return params
