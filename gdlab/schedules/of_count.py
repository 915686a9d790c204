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
| `OneCycle`, `OneCycleCosine` | up, down, and further down | S92 (Smith & Topin 2017) |
| `Cyclic` | up and down again, in three modes | S92 (Smith 2015) |
| `Sgdr` | cosines, each restarted at the highest rate | S92 (Loshchilov & Hutter 2016) |
| `Noam` | up by t, down by 1 / sqrt(t) | S17 (the Transformer's) |
| `Wsd` | warm-up, stable, decay | |
| `InProportion` | a rate times the relative course of another schedule | |
| `LrRangeTest` | every rate from low to high once | S92 |
| `ReduceOnPlateau`, `PolyakStep` | driven by the loss | `gdlab.schedules.of_loss` |
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gdlab.arguments import choice, sequence, shown
from gdlab.base import Schedule
from gdlab.numerics import safe_ratio
from gdlab.pieces import NONNEGATIVE, OPEN_SHARE, POSITIVE, Number, Range, checked, number, piece, static
from gdlab.schedules.base import Rate, as_float, as_rate, as_schedule, rate_at

__all__ = [
    "Cosine",
    "Cyclic",
    "Exponential",
    "InProportion",
    "InverseSqrt",
    "InverseTime",
    "Join",
    "Linear",
    "LrRangeTest",
    "Noam",
    "OneCycle",
    "OneCycleCosine",
    "Piecewise",
    "Polynomial",
    "Sgdr",
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
        return rate_at(self.rate, count) * _power(self.factor, jnp.floor(as_float(count) / self.every))


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
        return rate_at(self.rate, count) * _power(self.factor, as_float(count) / self.every)


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
        return _between(self.start, self.end, _progress(count, self.steps))


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
        return (self.start - self.end) * _power(1 - _progress(count, self.steps), self.power) + self.end


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
        return self.end + (self.start - self.end) * _half_cosine(_progress(count, self.steps))


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
        risen = (t + 1) / jnp.where(width == 0, 1, width)
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
class OneCycle(Schedule):
    """Warm-up, annealing, fine-tuning, in straight lines (S92; Smith & Topin 2017).

    peak / start_ratio at 0, peak at rise * steps, peak / start_ratio at fall * steps, and peak / (start_ratio
    end_ratio) at steps; then that.

    Args:
        peak: the highest rate, >= 0.
        steps: the length of the cycle, > 0.
        rise, fall: where two parts of it end, 0 < rise < fall < 1.
        start_ratio, end_ratio: > 0.

    >>> [float(OneCycle(1.0, 20, rise=0.5, fall=0.75, start_ratio=2.0)(t)) for t in (0, 5, 10, 15)]
    [0.5, 0.75, 1.0, 0.5]
    """

    peak: Number = number(NONNEGATIVE)
    steps: Number = number(POSITIVE)
    rise: Number = number(OPEN_SHARE, default=0.3, kw_only=True)
    fall: Number = number(OPEN_SHARE, default=0.85, kw_only=True)
    start_ratio: Number = number(POSITIVE, default=25.0, kw_only=True)
    end_ratio: Number = number(POSITIVE, default=1e4, kw_only=True)

    def __post_init__(self):
        """The order of rise and fall is checked beside what each field checks."""
        super().__post_init__()
        rise, fall = self.rise, self.fall
        if isinstance(rise, float) and isinstance(fall, float) and not rise < fall:
            msg = f"fall must be above rise = {rise:g}; got {fall:g}"
            raise ValueError(msg)

    def __call__(self, count):
        low = self.peak / self.start_ratio
        t, top, bottom = as_float(count), self.rise * self.steps, self.fall * self.steps
        up = _between(low, self.peak, _progress(t, top))
        down = _between(self.peak, low, _progress(t - top, bottom - top))
        out = _between(low, low / self.end_ratio, _progress(t - bottom, self.steps - bottom))
        return jnp.where(t < top, up, jnp.where(t < bottom, down, out))


@piece
class OneCycleCosine(Schedule):
    """One cycle in two half cosines: peak / start_ratio, peak at rise * steps, peak / (start_ratio end_ratio) at steps.

    Args:
        peak: the highest rate, >= 0.
        steps: the length of the cycle, > 0.
        rise: where the peak is, 0 < rise < 1.
        start_ratio, end_ratio: > 0.

    >>> [round(float(OneCycleCosine(1.0, 20, rise=0.5, start_ratio=2.0)(t)), 6) for t in (0, 5, 10)]
    [0.5, 0.75, 1.0]
    """

    peak: Number = number(NONNEGATIVE)
    steps: Number = number(POSITIVE)
    rise: Number = number(OPEN_SHARE, default=0.3, kw_only=True)
    start_ratio: Number = number(POSITIVE, default=25.0, kw_only=True)
    end_ratio: Number = number(POSITIVE, default=1e4, kw_only=True)

    def __call__(self, count):
        peak, low, t, top = self.peak, self.peak / self.start_ratio, as_float(count), self.rise * self.steps
        bottom = low / self.end_ratio
        up = peak + (low - peak) * _half_cosine(_progress(t, top))
        down = bottom + (peak - bottom) * _half_cosine(_progress(t - top, self.steps - top))
        return jnp.where(t < top, up, down)


HEIGHTS = {  # the height of a cycle, from the schedule and the count
    "triangular": lambda one, t: 1.0,
    "triangular2": lambda one, t: _power(0.5, jnp.floor(t / (2 * one.half))),
    "exp_range": lambda one, t: _power(one.factor, t),
}


def _mode(name, value):
    choice(name, value, HEIGHTS)
    return value


@piece
class Cyclic(Schedule):
    """Up from low to high in `half` steps, down again in as many, and so on (S92; Smith 2015).

    Args:
        low, high: rates >= 0.
        half: half a cycle, in steps, > 0.
        mode: "triangular"; "triangular2", whose height halves with each cycle; or "exp_range", whose height is
            multiplied by `factor` with each step.
        factor: of "exp_range", >= 0.

    >>> [float(Cyclic(1.0, 3.0, 2)(t)) for t in (0, 1, 2, 3, 4)]
    [1.0, 2.0, 3.0, 2.0, 1.0]
    """

    low: Number = number(NONNEGATIVE)
    high: Number = number(NONNEGATIVE)
    half: Number = number(POSITIVE)
    mode: str = static(_mode, default="triangular")
    factor: Number = number(NONNEGATIVE, default=0.99994, kw_only=True)

    def __call__(self, count):
        height = HEIGHTS[self.mode](self, as_float(count))
        t = as_float(count)
        t = t - 2 * self.half * jnp.floor(t / (2 * self.half))  # within its cycle, exact for whole numbers
        return self.low + (self.high - self.low) * (1 - jnp.abs(t / self.half - 1)) * height


@piece
class Sgdr(Schedule):
    """eta_t = low + (high - low) (1 + cos(pi T_cur / T_i)) / 2, restarted after each T_i steps (S92).

    The first period T_0 is `period`, each next one `growth` times as long (Loshchilov & Hutter 2016).

    Args:
        high, low: rates >= 0.
        period: the first period in steps, > 0.
        growth: >= 1.

    >>> [round(float(Sgdr(1.0, 0.0, 2, growth=2)(t)), 6) for t in (0, 1, 2, 4, 6)]
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """

    high: Number = number(NONNEGATIVE)
    low: Number = number(NONNEGATIVE)
    period: Number = number(POSITIVE)
    growth: Number = number(Range(1), default=1.0)

    def __call__(self, count):
        t, period = as_float(count), self.period
        growth = jnp.asarray(self.growth, t.dtype)
        steady = growth == 1
        g = jnp.where(steady, 2, growth)

        def begin(n):
            return period * jnp.where(steady, n, (_power(g, n) - 1) / (g - 1))

        grown = jnp.log1p(t * (g - 1) / period) / jnp.log(g)
        n = jax.lax.stop_gradient(jnp.floor(jnp.where(steady, t / period, grown)))
        due = t * (1 + 16 * jnp.finfo(t.dtype).eps)  # a restart that only rounding puts off is due
        n = jnp.where(begin(n + 1) <= due, n + 1, n)
        length = period * jnp.where(steady, 1, _power(g, n))
        return self.low + (self.high - self.low) * _half_cosine((t - begin(n)) / length)


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
        return self.factor / size * jnp.minimum(1 / jnp.sqrt(t), t / _power(self.width, 1.5))


@piece
class Wsd(Schedule):
    """Warm-up, stable, decay: (t + 1) / width of the peak, the peak, and a straight line down to the end.

    Args:
        peak, end: rates >= 0.
        width, stable: the numbers of steps of warm-up and at the peak, >= 0.
        decay: the number of steps down, > 0.

    >>> [float(Wsd(1.0, 2, 3, 4)(t)) for t in (0, 1, 4, 5, 7, 9)]
    [0.5, 1.0, 1.0, 1.0, 0.5, 0.0]
    """

    peak: Number = number(NONNEGATIVE)
    width: Number = number(NONNEGATIVE)
    stable: Number = number(NONNEGATIVE)
    decay: Number = number(POSITIVE)
    end: Number = number(NONNEGATIVE, default=0.0)

    def __call__(self, count):
        begin = self.width + self.stable
        rising = Warmup(self.peak, self.width)(count)
        falling = Linear(self.peak, self.end, self.decay)(jnp.maximum(as_float(count) - begin, 0))
        return jnp.where(as_float(count) < begin, rising, falling)


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
        return self.low * _power(self.high / self.low, _progress(count, self.steps - 1))


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


def _progress(count, steps):
    """The fraction of the steps that is over, in [0, 1]."""
    return jnp.clip(as_float(count) / steps, 0, 1)


def _between(start, end, progress):
    return start + (end - start) * progress


def _half_cosine(progress):
    """From 1 down to 0 along half a cosine."""
    return (1 + jnp.cos(jnp.pi * progress)) / 2


def _power(base, exponent):
    """base^exponent with a finite derivative at base 0, where it is 0 (1 for exponent 0)."""
    base, exponent = jnp.asarray(base, float), jnp.asarray(exponent, float)
    zero = base == 0
    return jnp.where(zero, (exponent == 0).astype(base.dtype), jnp.where(zero, 1, base) ** exponent)
