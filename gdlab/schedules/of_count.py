"""Schedules: how far to step, a rate for each count of steps (from 0).

    eta_t = schedule(t)

A schedule is a piece whose fields are its parameters: each can be traced, vmapped and differentiated.  The count is
turned into a float *first*: `jnp.sqrt` of an int32 is float32 even where x64 is on.  Any other callable
`count -> rate`, optax's schedules included, fits wherever a learning rate is asked for.

| schedule | eta_t | source |
|---|---|---|
| `Constant` | eta | |
| `InverseSqrt` | eta / sqrt(t + 1) | S14 (the lectures call it "1/t decay") |
| `InverseTime` | eta / (1 + decay t / every) | keras, torch's Adagrad |
| `StepDecay` | eta factor^floor(t / every) | S12 |
| `Exponential` | eta factor^(t / every) | |
| `Piecewise` | rates[number of boundaries <= t] | |
| `Linear`, `Polynomial`, `Cosine` | from start to end in a number of steps | |
| `Warmup` | another schedule after a linear rise | S17 (Goyal et al. 2017) |
| `Join` | one schedule after another, each from its own 0 | |
| `Noam` | up by t, down by 1 / sqrt(t) | S17 (the Transformer's) |
| `Wsd` | warm-up, stable, decay: along a line, 1 - sqrt or a cosine | Haegele et al. 2024 |
| `Infinite` | warm-up, down to a constant, and out of it at any time | Ibrahim et al. 2024 |
| `Warmup(Linear(rate, 0, steps), width)` | linear to zero | Bergsma et al. 2025 |
| `InProportion` | a rate times the relative course of another schedule | |
| `LrRangeTest` | every rate from low to high once | S92 |
| `OneCycle`, `OneCycleCosine`, `Cyclic`, `Sgdr` | up and down | `gdlab.schedules.cycles` |
| `ReduceOnPlateau`, `PolyakStep` | driven by the loss | `gdlab.schedules.of_loss` |
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from gdlab.arguments import sequence
from gdlab.base import Schedule
from gdlab.ground.checks import choice
from gdlab.ground.leaves import shown
from gdlab.numerics import one_where, safe_ratio
from gdlab.pieces import NONNEGATIVE, POSITIVE, Number, Range, checked, number, piece, static
from gdlab.schedules.base import Rate, as_float, as_rate, as_schedule, between, half_cosine, power, progress, rate_at

__all__ = [
    "Cosine",
    "Exponential",
    "InProportion",
    "Infinite",
    "InverseSqrt",
    "InverseTime",
    "Join",
    "Linear",
    "LrRangeTest",
    "Noam",
    "Piecewise",
    "Polynomial",
    "StepDecay",
    "Warmup",
    "Wsd",
]


@piece
class InverseSqrt(Schedule):
    """eta_t = rate / sqrt(t + 1), for a rate >= 0 or a schedule of rates (S14).

    >>> float(InverseSqrt(1.0)(3))
    0.5
    """

    rate: Rate = checked(as_rate)

    def __call__(self, count):
        return rate_at(self.rate, count) / jnp.sqrt(as_float(count) + 1)


@piece
class InverseTime(Schedule):
    """eta_t = rate / (1 + decay t / every), for a rate or a schedule of rates, decay >= 0 and every > 0.

    >>> float(InverseTime(1.0, 0.5)(2))
    0.5
    """

    rate: Rate = checked(as_rate)
    decay: Number = number(NONNEGATIVE)
    every: Number = number(POSITIVE, default=1.0, kw_only=True)

    def __call__(self, count):
        return rate_at(self.rate, count) / (1 + self.decay * as_float(count) / self.every)


@piece
class StepDecay(Schedule):
    """eta_t = rate factor^floor(t / every): multiplied by a factor >= 0 every `every` steps (S12).

    >>> [float(StepDecay(1.0, 0.5, every=10)(t)) for t in (0, 9, 10, 25)]
    [1.0, 1.0, 0.5, 0.25]
    """

    rate: Rate = checked(as_rate)
    factor: Number = number(NONNEGATIVE)
    every: Number = number(POSITIVE, kw_only=True)

    def __call__(self, count):
        return rate_at(self.rate, count) * power(self.factor, jnp.floor(as_float(count) / self.every))


@piece
class Exponential(Schedule):
    """eta_t = rate factor^(t / every), for factor >= 0 and every > 0.

    >>> float(Exponential(1.0, 0.25, every=2)(1))
    0.5
    """

    rate: Rate = checked(as_rate)
    factor: Number = number(NONNEGATIVE)
    every: Number = number(POSITIVE, default=1.0, kw_only=True)

    def __call__(self, count):
        return rate_at(self.rate, count) * power(self.factor, as_float(count) / self.every)


@piece
class Piecewise(Schedule):
    """eta_t = rates[k] where k boundaries are <= t; one rate more than boundaries.

    >>> [float(Piecewise([1.0, 0.1], [5])(t)) for t in (4, 5)]
    [1.0, 0.1]
    """

    rates: Any = checked(sequence)
    boundaries: Any = checked(sequence)

    def __post_init__(self):
        """The number of rates is checked beside what each field checks."""
        super().__post_init__()
        rates, boundaries = self.rates.shape[-1:], self.boundaries.shape[-1]
        if rates != (boundaries + 1,):
            msg = f"rates must be one more than boundaries; got {rates[0]} rates and {boundaries} boundaries"
            raise ValueError(msg)

    def __call__(self, count):
        return self.rates[jnp.sum(self.boundaries <= as_float(count)).astype(int)]


@piece
class Linear(Schedule):
    """eta_t from start to end in a straight line of `steps` > 0 steps, then end.

    >>> [float(Linear(1.0, 0.0, 4)(t)) for t in (0, 1, 9)]
    [1.0, 0.75, 0.0]
    """

    start: Number = number(NONNEGATIVE)
    end: Number = number(NONNEGATIVE)
    steps: Number = number(POSITIVE)

    def __call__(self, count):
        return between(self.start, self.end, progress(count, self.steps))


@piece
class Polynomial(Schedule):
    """eta_t = (start - end) (1 - t / steps)^power + end, then end, for steps > 0 and power >= 0.

    >>> float(Polynomial(1.0, 0.0, 4, power=2)(2))
    0.25
    """

    start: Number = number(NONNEGATIVE)
    end: Number = number(NONNEGATIVE)
    steps: Number = number(POSITIVE)
    power: Number = number(NONNEGATIVE)

    def __call__(self, count):
        return (self.start - self.end) * power(1 - progress(count, self.steps), self.power) + self.end


@piece
class Cosine(Schedule):
    """eta_t = end + (start - end) (1 + cos(pi t / steps)) / 2, then end, for steps > 0.

    >>> [round(float(Cosine(1.0, 0.0, 4)(t)), 6) for t in (0, 2, 4)]
    [1.0, 0.5, 0.0]
    """

    start: Number = number(NONNEGATIVE)
    end: Number = number(NONNEGATIVE)
    steps: Number = number(POSITIVE)

    def __call__(self, count):
        return self.end + (self.start - self.end) * half_cosine(progress(count, self.steps))


@piece
class Warmup(Schedule):
    """A linear rise, then another schedule: eta_t = (t + 1) / width of its first rate, then it from its own 0 (S17).

    The first rate is above 0, so that no step is wasted; width 0 is no warm-up at all.

    Args:
        rate: a rate or a schedule of rates.
        width: the number of steps of the rise, >= 0.

    >>> [float(Warmup(1.0, 4)(t)) for t in (0, 1, 3, 9)]
    [0.25, 0.5, 1.0, 1.0]
    """

    rate: Rate = checked(as_rate)
    width: Number = number(NONNEGATIVE)

    def __call__(self, count):
        t = as_float(count)
        width = jnp.asarray(self.width, t.dtype)
        risen = (t + 1) / one_where(width == 0, width)
        return jnp.where(t < width, risen, 1) * rate_at(self.rate, jnp.maximum(t - width, 0))


def _schedules(name, parts):
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        msg = f"{name} must be a sequence of rates or schedules; got {shown(parts)}"
        raise TypeError(msg)
    return tuple(as_schedule(part, name=name) for part in parts)


@piece
class Join(Schedule):
    """One schedule after another: schedule k between boundaries k - 1 (included) and k, counted from its own 0.

    Args:
        schedules: at least one, rates or schedules.
        boundaries: the counts at which the second, third, ... take over, ascending.

    >>> [float(Join([1.0, InverseSqrt(0.5)], [2])(t)) for t in (1, 2, 5)]
    [1.0, 0.5, 0.25]
    """

    schedules: Sequence[Rate] = checked(_schedules)
    boundaries: Any = checked(sequence)

    def __post_init__(self):
        """The number of schedules is checked beside what each field checks."""
        super().__post_init__()
        parts, boundaries = len(self.schedules), self.boundaries.shape[-1]
        if parts != boundaries + 1:
            msg = f"schedules must be one more than boundaries; got {parts} schedules and {boundaries} boundaries"
            raise ValueError(msg)

    def __call__(self, count):
        t = as_float(count)
        rate = rate_at(self.schedules[0], count)
        for part, begin in zip(self.schedules[1:], self.boundaries, strict=True):
            rate = jnp.where(t >= begin, rate_at(part, jnp.maximum(t - begin, 0)), rate)
        return rate


@piece
class Noam(Schedule):
    """eta_t = factor size^(-1/2) min((t + 1)^(-1/2), (t + 1) width^(-3/2)): the Transformer's (S17).

    Args:
        size: of the model, > 0.
        width: of the warm-up in steps, > 0.
        factor: >= 0.

    >>> float(Noam(4.0, 4)(3))
    0.25
    """

    size: Number = number(POSITIVE)
    width: Number = number(POSITIVE)
    factor: Number = number(NONNEGATIVE, default=1.0)

    def __call__(self, count):
        t = as_float(count) + 1
        size = jnp.sqrt(jnp.asarray(self.size, t.dtype))
        return self.factor / size * jnp.minimum(1 / jnp.sqrt(t), t / power(self.width, 1.5))


FALLS = {  # how much of the way down is made, from 0 to 1 as the progress is
    "linear": lambda progress: progress,
    "1-sqrt": lambda progress: power(progress, 0.5),
    "cosine": lambda progress: 1 - half_cosine(progress),
}


def _fall(name, value):
    choice(name, value, FALLS)
    return value


@piece
class Wsd(Schedule):
    """Warm-up, stable, decay: (t + 1) / width of the peak, the peak, and down to the end.

    Args:
        peak, end: rates >= 0.
        width, stable: the numbers of steps of warm-up and at the peak, >= 0.
        decay: the number of steps down, > 0.
        shape: of the way down: "linear", "1-sqrt", which is steep at first (Haegele et al. 2024), or "cosine".

    >>> [float(Wsd(1.0, 2, 3, 4)(t)) for t in (0, 1, 4, 5, 7, 9)]
    [0.5, 1.0, 1.0, 1.0, 0.5, 0.0]
    """

    peak: Number = number(NONNEGATIVE)
    width: Number = number(NONNEGATIVE)
    stable: Number = number(NONNEGATIVE)
    decay: Number = number(POSITIVE)
    end: Number = number(NONNEGATIVE, default=0.0)
    shape: str = static(_fall, default="linear")

    def __call__(self, count):
        begin = self.width + self.stable
        rising = Warmup(self.peak, self.width)(count)
        made = FALLS[self.shape](progress(jnp.maximum(as_float(count) - begin, 0), self.decay))
        return jnp.where(as_float(count) < begin, rising, between(self.peak, self.end, made))


@piece
class Infinite(Schedule):
    """Warm-up, a half cosine down to a constant rate for as long as one likes, and an exponential way out of it.

    A run may be prolonged or branched off at any time: only the last `decay` steps know where it ends.  Before
    `stop`, the rate does not depend on it (Ibrahim et al. 2024).

    Args:
        peak, constant, end: rates; the first >= 0, the others > 0.
        width, cooldown: the numbers of steps of warm-up, >= 0, and from the peak to the constant rate, > 0.
        stop: the count at which the way out begins, >= 0.
        decay: the number of its steps, > 0.

    >>> [round(float(Infinite(1.0, 0.5, 0.05, 2, 2, stop=10, decay=2)(t)), 6) for t in (0, 2, 3, 9, 11, 12)]
    [0.5, 1.0, 0.75, 0.5, 0.158114, 0.05]
    """

    peak: Number = number(NONNEGATIVE)
    constant: Number = number(POSITIVE)
    end: Number = number(POSITIVE)
    width: Number = number(NONNEGATIVE)
    cooldown: Number = number(POSITIVE)
    stop: Number = number(NONNEGATIVE, kw_only=True)
    decay: Number = number(POSITIVE, kw_only=True)

    def __call__(self, count):
        t = as_float(count)
        steady = Warmup(Cosine(self.peak, self.constant, self.cooldown), self.width)
        out = power(self.end / self.constant, progress(t - self.stop, self.decay))
        return jnp.where(t < self.stop, 1, out) * steady(jnp.minimum(t, self.stop))


@piece
class LrRangeTest(Schedule):
    """eta_t = low (high / low)^(t / (steps - 1)): every rate once, from low at 0 to high at steps - 1; then high (S92).

    `gdlab.lr_range_test` runs it and names the rates at which the loss falls fastest and at which it leaves.

    Args:
        low, high: rates > 0.
        steps: the number of steps, > 1.

    >>> [round(float(LrRangeTest(0.01, 1.0, 3)(t)), 6) for t in (0, 1, 2)]
    [0.01, 0.1, 1.0]
    """

    low: Number = number(POSITIVE)
    high: Number = number(POSITIVE)
    steps: Number = number(Range(1, above=True))

    def __call__(self, count):
        return self.low * power(self.high / self.low, progress(count, self.steps - 1))


@piece
class InProportion(Schedule):
    """eta_t = rate * other_t / other_0: one rate that follows the course of another schedule.

    >>> float(InProportion(0.1, Linear(1.0, 0.0, 4))(2))
    0.05
    """

    rate: Number = number(NONNEGATIVE)
    other: Rate = checked(as_rate)

    def __call__(self, count):
        return self.rate * safe_ratio(rate_at(self.other, count), rate_at(self.other, 0), 1)
