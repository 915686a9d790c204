"""Tuning: hyperparameters found by gradient descent on the loss at the end of a run (S9).

    h  <-  h  -  grad_h L(theta_T(h))

Every optimizer is a pytree of its hyperparameters, so the whole run can be differentiated with respect to them.  They
move within the ranges that their fields declare: a number of a range up to 1 (a decay) in its logit, other positive
numbers (rates) in their logarithm, zeros not at all.

| function | what it returns |
|---|---|
| `hyperparameters` | those of an optimizer, by name |
| `tune` | a better optimizer |
| `lr_range_test` | at which rates the loss falls, and at which it leaves |
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from gdlab.arguments import hyperparameter
from gdlab.equation import Optimizer
from gdlab.ground.checks import choice, function, one_of, whole
from gdlab.ground.leaves import shown
from gdlab.ground.results import digits, result
from gdlab.numerics import Params
from gdlab.optimizers.named import adam
from gdlab.pieces import ranges
from gdlab.runs.given import data_of
from gdlab.runs.gradients import traced, value_and_gradient
from gdlab.runs.loop import (
    Plan,
    loop_of,
)
from gdlab.runs.minimize import minimize
from gdlab.runs.objective import begun, parted
from gdlab.runs.typed import Loss
from gdlab.schedules.of_count import Cosine, LrRangeTest

OUTCOMES = ("found", "no fall", "falling to the end", "not finite")
UNSEEN = 100  # eps abs(loss): a fall below it is rounding


@result
class Tuned(NamedTuple):
    """What tuning found."""

    optimizer: Optimizer  # the best of all rounds
    score: jax.Array  # its loss at the end of the run
    history: dict[str, jax.Array]  # "score" and each hyperparameter by name, of shape (rounds,)

    def _words(self) -> str:
        scores = self.history["score"]
        return f"score {digits(self.score)}, {digits(scores[0])} at first, of {len(scores)} rounds; {self.optimizer}"


@result
class RangeTest(NamedTuple):
    """What a test of all learning rates found."""

    rates: jax.Array  # tried, ascending, one a step
    losses: jax.Array  # before each step
    steepest: jax.Array  # the rate at which the loss falls fastest; NaN where it does not fall
    highest: jax.Array  # the last rate before the lowest loss: those above it made the loss rise; NaN where none did
    reason: jax.Array  # why a rate is NaN, a place in `OUTCOMES`: int32

    def _words(self) -> str:
        found = f"steepest fall at {digits(self.steepest)}, highest {digits(self.highest)}"
        return f"{jnp.size(self.rates)} rates from {digits(self.rates[0])} to {digits(self.rates[-1])}, {found}"

    @property
    def why(self) -> str:
        """The outcome: "found", "no fall", "falling to the end" or "not finite" (the first loss)."""
        return OUTCOMES[int(self.reason)]


def hyperparameters(optimizer: Optimizer) -> dict[str, jax.Array | float]:
    """The hyperparameters of an optimizer by their pytree path, in the order of `jax.tree.leaves`.

    >>> import gdlab
    >>> hyperparameters(gdlab.adam(0.1))
    {'direction.decay': 0.9, 'scale.decay': 0.999, 'scale.eps': 1e-08, 'schedule.rate': 0.1}
    """
    one_of("optimizer", optimizer, Optimizer, "one of gdlab, whose hyperparameters are leaves")
    return {name: leaf for name, leaf, _ in ranges(optimizer)}


def tune(
    loss: Loss,
    optimizer: Optimizer,
    params: Params,
    steps: int,
    *,
    args: Sequence[Any] = (),
    batches: Any = None,
    key: jax.Array | None = None,
    validation: Callable[[Params], jax.Array] | None = None,
    only: Sequence[str] | None = None,
    rounds: int = 50,
    rate: ArrayLike = 0.1,
    trainable: Any = None,
    model_state: Any = None,
) -> Tuned:
    """Improve the hyperparameters of an optimizer by gradient descent through the unrolled run (S9).

    Each round runs the whole optimization and its derivative; about 2 sqrt(steps) states are kept at a time and the
    others computed again.  The result is the best of all rounds, of which the first is the given optimizer itself.

    Args:
        loss, params, steps, args, batches, key, trainable, model_state: as in `gdlab.minimize`.
        optimizer: one of ours, where tuning starts.
        validation: `validation(params) -> scalar` (and of `model_state`), to be improved in place of the last loss.
        only: names of the hyperparameters to tune, see `hyperparameters`; all of them by default.
        rounds: of tuning, at least 1.
        rate: of the descent in logarithms and logits, where it falls along a cosine: .1 is a tenth of a rate a round.

    Raises:
        TypeError: for an optimizer of another library.
        ValueError: for an unknown name, or steps or rounds below 1.

    >>> import gdlab
    >>> tuned = tune(lambda x: x * x, gdlab.gd(0.1), 4.0, steps=1, rounds=100)
    >>> round(float(hyperparameters(tuned.optimizer)["schedule.rate"]), 2)
    0.5
    """
    steps, rounds = whole("steps", steps), whole("rounds", rounds)
    rate = hyperparameter("rate", rate, 0)
    names = tuple(hyperparameters(optimizer))
    chosen = names if only is None else (only,) if not isinstance(only, Sequence) or isinstance(only, str) else only
    for name in chosen:
        if not isinstance(name, str) or name not in names:
            msg = f"only must name some of {', '.join(names)}; got {shown(name)}"
            raise ValueError(msg)
    moving = (
        tuple(name in chosen for name in names),
        tuple(allowed.high == 1 for _, _, allowed in ranges(optimizer)),
    )
    if validation is not None:
        function("validation", validation, "validation(params) -> scalar")
    data = data_of(args, batches, key, steps)
    objective, start = begun(loss, params, trainable, model_state)
    best, score, history = _tune(objective, validation, steps, rounds, moving, optimizer, start, data, rate)
    scores, leaves = history
    return Tuned(best, score, {"score": scores, **dict(zip(names, leaves, strict=True))})


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _tune(objective, validation, steps, rounds, moving, optimizer, start, data, rate):
    leaves, structure = jax.tree.flatten(optimizer)
    leaves = [jnp.asarray(leaf, float) for leaf in leaves]
    free = list(map(_freed, leaves, *moving))

    def bound(free):
        return list(map(_bound, leaves, free, *moving))

    def score(free):
        loss, at = _unrolled(objective, jax.tree.unflatten(structure, bound(free)), start, data, steps)
        given = objective.whole(at.params, at.carried), *(at.carried[1:] if objective.stateful else ())
        if validation is None:
            return loss
        return parted(traced(validation, "validation")(*given), "validation")[0]

    outer = adam(Cosine(rate, 0.0, rounds), 0.8, 0.9, eps=0.0)

    def round_(carry, _):
        free, state, best, best_score = carry
        value, grads = value_and_gradient(score, free)
        sound = jnp.isfinite(value)
        for g in grads:
            sound = sound & jnp.all(jnp.isfinite(g))
        better = jnp.isfinite(value) & (value < best_score)
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), free, best)
        best_score = jnp.where(better, value, best_score)
        # A run that is not finite has no gradient: go half the way back to the best, and on from there.
        # Final losses span decades, so the descent follows their relative changes.
        size = jnp.where(value == 0, 1, jnp.abs(value))
        grads = jax.tree.map(lambda g: g / size, grads)
        updates, moved = outer.update(grads, state)
        back = jax.tree.map(lambda x, good: (good - x) / 2, free, best)
        free_next = jax.tree.map(lambda x, u, b: x + jnp.where(sound, u, b), free, updates, back)
        state = jax.tree.map(lambda new, old: jnp.where(sound, new, old), moved, state)
        return (free_next, state, best, best_score), (value, bound(free))

    carry = (free, outer.init(free), free, jnp.full([], jnp.inf, jax.eval_shape(score, free).dtype))
    (_, _, best, best_score), history = jax.lax.scan(round_, carry, length=rounds)
    return jax.tree.unflatten(structure, bound(best)), best_score, history


def _freed(leaf, moves, share):
    """A hyperparameter as an unconstrained number: its logit or logarithm, 0 where it does not move."""
    inside = (leaf > 0) & ((leaf < 1) | (not share))
    x = jnp.where(inside, leaf, 0.5)
    return jnp.where(inside & moves, jnp.log(x) - (jnp.log1p(-x) if share else 0), 0)


def _bound(leaf, x, moves, share):
    """The hyperparameter of an unconstrained number; the given one where it does not move."""
    if not moves:
        return leaf
    inside = (leaf > 0) & ((leaf < 1) | (not share))
    return jnp.where(inside, jax.nn.sigmoid(x) if share else jnp.exp(x), leaf)


def _unrolled(objective, optimizer, start, data, steps):
    """The loss after a run, and where it ended; reverse mode stores one state in about sqrt(steps)."""
    loop = loop_of(Plan(objective), optimizer, data)

    def segment(carry, length):
        return jax.lax.scan(lambda carry, _: (loop.step(carry)[0], None), carry, length=length)[0]

    length = math.isqrt(steps)
    whole, tail = divmod(steps, length)
    once = jax.checkpoint(partial(segment, length=length))
    carry, _ = jax.lax.scan(lambda carry, _: (once(carry), None), loop.init(start), length=whole)
    end = segment(carry, tail)
    return loop.evaluate(end.at)[0].loss, end.at


def lr_range_test(
    loss: Loss,
    make: Callable[[Any], optax.GradientTransformation],
    params: Params,
    steps: int = 100,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    **options: Any,
) -> RangeTest:
    """Try every learning rate once, from low to high, one a step (S92; Smith 2015).

    Args:
        loss, params, steps: as in `gdlab.minimize`, steps at least 3.
        make: an optimizer of a schedule, such as `gdlab.sgd`.
        low, high: rates, 0 < low < high.
        **options: `args`, `batches`, `key`, `trainable` and `model_state` of `gdlab.minimize`.

    Returns:
        A `RangeTest`; `why` says that both rates were found, or why one is NaN.

    >>> import gdlab
    >>> test = lr_range_test(lambda x: 0.5 * x * x, gdlab.gd, 1.0, low=1e-3, high=100.0)
    >>> 1 < float(test.highest) < 2.2, test.why
    (True, 'found')
    """
    steps = whole("steps", steps, 3)
    function("make", make, "an optimizer of a schedule, such as gdlab.sgd")
    hyperparameter("low", low, 0, above=True)
    hyperparameter("high", high, low, above=True)
    for name in options:
        choice("options", name, dict.fromkeys(("args", "batches", "key", "trainable", "model_state")))
    run = minimize(loss, make(LrRangeTest(low, high, steps)), params, steps, record=("loss",), **options)
    rates = jax.vmap(LrRangeTest(low, high, steps))(jnp.arange(steps))
    return RangeTest(rates, run.history["loss"], *_told(rates, run.history["loss"]))


def _told(rates, losses):
    """The two rates that a range test names, and its outcome."""
    first, steps = losses[0], len(losses)
    losses = jnp.where(jnp.isfinite(losses), losses, jnp.inf)
    bottom = jnp.argmin(losses)
    falls = losses[bottom] < first - UNSEEN * jnp.finfo(losses.dtype).eps * jnp.abs(first)
    reasons = {"falling to the end": bottom == steps - 1, "no fall": ~falls, "not finite": ~jnp.isfinite(first)}
    reason = jnp.zeros([], jnp.int32)
    for name, holds in reasons.items():
        reason = jnp.where(holds, OUTCOMES.index(name), reason).astype(jnp.int32)
    # A loss that is not finite is passed over: the fall from it to a finite one would be the largest of all.
    passed = losses[jax.lax.cummax(jnp.where(jnp.isfinite(losses), jnp.arange(steps), 0))]
    fall = jnp.where(jnp.arange(1, steps) <= bottom, passed[:-1] - passed[1:], -jnp.inf)
    steepest = jnp.where(falls & jnp.isfinite(first), rates[jnp.argmax(fall)], jnp.nan)
    return steepest, jnp.where(reason == 0, rates[bottom - 1], jnp.nan), reason
