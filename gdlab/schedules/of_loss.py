"""Rates that answer to the loss: they ask for `update(..., value=loss)`, which `gdlab.minimize` gives.

    reduce_on_plateau   eta <- eta * factor when the loss has not fallen for so long
    polyak_step         eta = (loss - lowest) / norm(g)^2

Both fit wherever a learning rate is asked for, and are reached as `gdlab.schedules.reduce_on_plateau` and so on.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.arguments import hyperparameter
from gdlab.base import Driven, rate_dtype
from gdlab.numerics import least_square, like, nearest_whole, norm, safe_ratio, safe_root, square
from gdlab.schedules.base import Rate, as_schedule


class PlateauState(NamedTuple):
    """The state of a rate that falls on a plateau."""

    factor: jax.Array  # of the schedule's rate: scalar
    best: jax.Array  # the lowest mean loss so far: scalar
    total: jax.Array  # of the losses seen since the last decision: scalar
    seen: jax.Array  # how many those are: int32 scalar
    waited: jax.Array  # decisions without a better loss: int32 scalar
    resting: jax.Array  # decisions still to be left out: int32 scalar


def reduce_on_plateau(
    rate: Rate,
    *,
    factor: ArrayLike = 0.1,
    patience: ArrayLike = 10,
    rtol: ArrayLike = 1e-4,
    atol: ArrayLike = 0.0,
    cooldown: ArrayLike = 0,
    window: ArrayLike = 1,
    least: ArrayLike = 0.0,
) -> Driven:
    """The rate times `factor` after each `patience` decisions without a loss below best - rtol abs(best) - atol.

    A decision is taken on the mean of `window` losses; the rate of a step already knows that step's loss.

    Args:
        rate: a rate or a schedule of rates.
        factor: in [0, 1].
        patience: decisions, >= 1.
        rtol, atol: how much lower counts as lower, >= 0.
        cooldown: decisions left out after a reduction, >= 0.
        window: losses for one decision, >= 1; more than one for the noisy losses of mini-batches.
        least: the smallest product of factors, in [0, 1].

    >>> reduce = reduce_on_plateau(1.0, factor=0.5, patience=2)
    >>> state, rates = reduce.init(), []
    >>> for loss in (3.0, 3.0, 3.0, 2.0):
    ...     rate, state = reduce.follow(0, state, None, loss)
    ...     rates.append(float(rate))
    >>> rates
    [1.0, 1.0, 0.5, 0.5]
    """
    limits: tuple = hyperparameter("factor", factor, 0, 1), hyperparameter("patience", patience, 1)
    limits = *limits, hyperparameter("rtol", rtol, 0), hyperparameter("atol", atol, 0)
    limits = *limits, hyperparameter("cooldown", cooldown, 0), hyperparameter("window", window, 1)
    return Driven(
        Partial(_fresh_plateau),
        Partial(_plateau, as_schedule(rate, name="rate"), *limits, hyperparameter("least", least, 0, 1)),
    )


def _fresh_plateau():
    none = jnp.zeros([], jnp.int32)
    return PlateauState(jnp.ones([]), jnp.full([], jnp.inf, float), jnp.zeros([]), none, none, none)


def _plateau(schedule, factor, patience, rtol, atol, cooldown, window, least, count, state, grads, value):
    del grads
    total = state.total + _loss(value).astype(state.total.dtype)
    seen = state.seen + 1
    decide = seen >= nearest_whole(window)
    mean = total / like(seen, total)

    # Before the first decision there is no best; the largest number has a margin of finite size.
    best = jnp.where(state.best == jnp.inf, jnp.finfo(mean.dtype).max, state.best)
    better = mean < best - rtol * jnp.abs(best) - atol
    rests = state.resting > 0
    waited = jnp.where(better | rests, 0, state.waited + 1)
    reduce = waited >= nearest_whole(patience)
    lowered = jnp.maximum(state.factor * factor, least).astype(state.factor.dtype)
    resting = jnp.where(reduce, nearest_whole(cooldown), jnp.maximum(state.resting - 1, 0))
    decided = PlateauState(
        factor=jnp.where(reduce, lowered, state.factor),
        best=jnp.where(better, mean, state.best),
        total=jnp.zeros_like(total),
        seen=jnp.zeros_like(seen),
        waited=jnp.where(reduce, 0, waited).astype(jnp.int32),
        resting=resting,
    )
    undecided = state._replace(total=total, seen=seen)
    state = jax.tree.map(lambda new, old: jnp.where(decide, new, old), decided, undecided)
    return schedule(count) * state.factor, state


def polyak_step(most: ArrayLike = 1.0, *, lowest: ArrayLike = 0.0, scaling: Rate = 1.0, eps: ArrayLike = 0.0) -> Driven:
    """eta = scaling min(most, (loss - lowest) / (norm(g)^2 + eps)): Polyak's step size (Polyak 1969).

    Where the gradient is zero, or the loss below `lowest`, eta is 0.

    Args:
        most: the largest rate, >= 0.
        lowest: the loss at the minimum.
        scaling: a factor or a schedule of factors.
        eps: added to the squared norm, >= 0.

    >>> rate, _ = polyak_step().follow(0, (), jnp.array([3.0, 4.0]), 10.0)
    >>> float(rate)
    0.4
    """
    hypers = hyperparameter("most", most, 0), hyperparameter("lowest", lowest, -float("inf"))
    return Driven(
        Partial(tuple), Partial(_polyak, *hypers, as_schedule(scaling, name="scaling"), hyperparameter("eps", eps, 0))
    )


def _polyak(most, lowest, scaling, eps, count, state, grads, value):
    dtype = rate_dtype(grads)
    length = norm(grads).astype(dtype)
    gap = jnp.maximum(_loss(value).astype(dtype) - like(lowest, length), 0)
    squared = length * length + like(eps, length)
    # Where the square has no place in this dtype, the rate has one all the same; eps counts for nothing beside it.
    seen = jnp.isfinite(squared) & (squared >= least_square(dtype))
    beyond = square(safe_ratio(safe_root(gap), jnp.where(seen, 0, length), 0))
    rate = jnp.where(seen, safe_ratio(gap, jnp.where(seen, squared, 0), 0), beyond)
    return like(scaling(count), rate) * jnp.minimum(rate, like(most, rate)), state


def _loss(value):
    if value is None:
        msg = "value must be given, update(grads, state, params, value=loss): the rate is driven by the loss; got None"
        raise TypeError(msg)
    return jnp.asarray(value)
