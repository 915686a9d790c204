"""Rates that depend on the loss: `update` then needs `value=loss`, which `gdlab.minimize` passes.

    ReduceOnPlateau   eta <- eta * factor when the loss has stopped falling
    PolyakStep        eta = (loss - lowest) / norm(g)^2

Both fit wherever a learning rate is asked for, and are reached as `gdlab.schedules.ReduceOnPlateau` and so on.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gdlab.base import LossSchedule, rate_dtype
from gdlab.numerics import least_square, like, nearest_whole, norm, safe_ratio, safe_root, square
from gdlab.pieces import CLOSED_SHARE, NONNEGATIVE, REAL, Number, Range, checked, number, piece
from gdlab.schedules.base import Rate, as_rate, rate_at

__all__ = [
    "PolyakStep",
    "ReduceOnPlateau",
]


class PlateauState(NamedTuple):
    """The state of a rate that falls on a plateau."""

    factor: jax.Array  # of the schedule's rate: scalar
    best: jax.Array  # the lowest mean loss so far: scalar
    total: jax.Array  # of the losses seen since the last decision: scalar
    seen: jax.Array  # how many those are: int32 scalar
    waited: jax.Array  # decisions without a better loss: int32 scalar
    resting: jax.Array  # decisions still to be left out: int32 scalar


@piece
class ReduceOnPlateau(LossSchedule):
    """The rate times `factor` after each `patience` decisions without a loss below best - rtol abs(best) - atol.

    A decision is taken on the mean of `window` losses; the rate of a step already knows that step's loss.

    Args:
        rate: a rate or a schedule of rates.
        factor: in [0, 1].
        patience: decisions, >= 1.
        rtol, atol: how much lower counts as lower, >= 0.
        cooldown: decisions left out after a reduction, >= 0.
        window: losses for one decision, >= 1; more than one for the noisy losses of mini-batches.
        min_factor: the smallest product of factors, in [0, 1].

    >>> reduce = ReduceOnPlateau(1.0, factor=0.5, patience=2)
    >>> state, rates = reduce.init(), []
    >>> for loss in (3.0, 3.0, 3.0, 2.0):
    ...     rate, state = reduce.follow(None, state, 0, loss)
    ...     rates.append(float(rate))
    >>> rates
    [1.0, 1.0, 0.5, 0.5]
    """

    rate: Rate = checked(as_rate)
    factor: Number = number(CLOSED_SHARE, default=0.1, kw_only=True)
    patience: Number = number(Range(1), default=10, kw_only=True)
    rtol: Number = number(NONNEGATIVE, default=1e-4, kw_only=True)
    atol: Number = number(NONNEGATIVE, default=0.0, kw_only=True)
    cooldown: Number = number(NONNEGATIVE, default=0, kw_only=True)
    window: Number = number(Range(1), default=1, kw_only=True)
    min_factor: Number = number(CLOSED_SHARE, default=0.0, kw_only=True)

    def init(self):
        none = jnp.zeros([], jnp.int32)
        return PlateauState(
            factor=jnp.ones([]),
            best=jnp.full([], jnp.inf, float),
            total=jnp.zeros([]),
            seen=none,
            waited=none,
            resting=none,
        )

    def follow(self, grads, state, count, value):
        total = state.total + _loss(value).astype(state.total.dtype)
        seen = state.seen + 1
        decide = seen >= nearest_whole(self.window)
        decided = self._decided(state, total / like(seen, total))
        undecided = state._replace(total=total, seen=seen)
        state = jax.tree.map(lambda new, old: jnp.where(decide, new, old), decided, undecided)
        return rate_at(self.rate, count) * state.factor, state

    def _decided(self, state, mean):
        """The state after a decision on the mean loss."""
        # Before the first decision there is no best; the largest number has a margin of finite size.
        best = jnp.where(state.best == jnp.inf, jnp.finfo(mean.dtype).max, state.best)
        better = mean < best - self.rtol * jnp.abs(best) - self.atol
        rests = state.resting > 0
        waited = jnp.where(better | rests, 0, state.waited + 1)
        reduce = waited >= nearest_whole(self.patience)
        lowered = jnp.maximum(state.factor * self.factor, self.min_factor).astype(state.factor.dtype)
        resting = jnp.where(reduce, nearest_whole(self.cooldown), jnp.maximum(state.resting - 1, 0))
        return PlateauState(
            factor=jnp.where(reduce, lowered, state.factor),
            best=jnp.where(better, mean, state.best),
            total=jnp.zeros_like(state.total),
            seen=jnp.zeros_like(state.seen),
            waited=jnp.where(reduce, 0, waited).astype(jnp.int32),
            resting=resting,
        )


@piece
class PolyakStep(LossSchedule):
    """eta = scaling min(max_rate, (loss - lowest) / (norm(g)^2 + eps)): Polyak's step size (Polyak 1969).

    Where the gradient is zero, or the loss below `lowest`, eta is 0.

    Args:
        max_rate: the largest rate, >= 0.
        lowest: the loss at the minimum.
        scaling: a factor or a schedule of factors.
        eps: added to the squared norm, >= 0.

    >>> rate, _ = PolyakStep().follow(jnp.array([3.0, 4.0]), (), 0, 10.0)
    >>> float(rate)
    0.4
    """

    max_rate: Number = number(NONNEGATIVE, default=1.0)
    lowest: Number = number(REAL, default=0.0, kw_only=True)
    scaling: Rate = checked(as_rate, default=1.0, kw_only=True)
    eps: Number = number(NONNEGATIVE, default=0.0, kw_only=True)

    def init(self):
        return ()

    def follow(self, grads, state, count, value):
        dtype = rate_dtype(grads)
        length = norm(grads).astype(dtype)
        gap = jnp.maximum(_loss(value).astype(dtype) - like(self.lowest, length), 0)
        squared = length * length + like(self.eps, length)
        # Where the square leaves the range of this dtype the rate does not, and eps is negligible beside it.
        seen = jnp.isfinite(squared) & (squared >= least_square(dtype))
        beyond = square(safe_ratio(safe_root(gap), jnp.where(seen, 0, length), 0))
        rate = jnp.where(seen, safe_ratio(gap, jnp.where(seen, squared, 0), 0), beyond)
        return like(rate_at(self.scaling, count), rate) * jnp.minimum(rate, like(self.max_rate, rate)), state


def _loss(value):
    if value is None:
        msg = "value must be given, update(grads, state, params, value=loss): the rate is driven by the loss; got None"
        raise TypeError(msg)
    return jnp.asarray(value)
