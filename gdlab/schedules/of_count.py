"""Schedules: how far to step, a rate for each count of steps (from 0).

    eta_t = schedule(t)

A schedule is a `jax.tree_util.Partial` whose leaves are its parameters: each can be traced, vmapped and
differentiated.  The count is turned into a float *first*: `jnp.sqrt` of an int32 is float32 even where x64 is on.
Any other callable `count -> rate`, optax's schedules included, fits wherever a learning rate is asked for.

| schedule | eta_t | source |
|---|---|---|
| `constant` | eta | |
| `inverse_sqrt` | eta / sqrt(t + 1) | S14 (the lectures call it "1/t decay") |
| `inverse_time` | eta / (1 + decay t / every) | keras, torch's Adagrad |
| `step_decay` | eta factor^floor(t / every) | S12 |
| `exponential` | eta factor^(t / every) | |
| `piecewise` | rates[how many boundaries are <= t] | |
| `linear`, `polynomial`, `cosine` | from start to end in so many steps | |
| `warmup` | another schedule, led up to in so many steps | S17 (Goyal et al. 2017) |
| `join` | one schedule after another, each from its own 0 | |
| `one_cycle`, `one_cycle_cosine` | up, down, and further down | S92 (Smith & Topin 2017) |
| `cyclic` | up and down again, in three modes | S92 (Smith 2015) |
| `sgdr` | cosines from the top again and again | S92 (Loshchilov & Hutter 2016) |
| `noam` | up by t, down by 1 / sqrt(t) | S17 (the Transformer's) |
| `wsd` | warm-up, stable, decay | |
| `in_proportion` | another schedule's course from another start | |
| `lr_range_test` | every rate from low to high once | S92 |
| `reduce_on_plateau`, `polyak_step` | driven by the loss | `gdlab.schedules.of_loss` |
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.arguments import choice, hyperparameter, sequence, shown
from gdlab.numerics import safe_ratio
from gdlab.schedules.base import Rate, as_float, as_schedule


def inverse_sqrt(rate: Rate) -> Partial:
    """eta_t = rate / sqrt(t + 1), for a rate >= 0 or a schedule of rates (S14).

    >>> float(inverse_sqrt(1.0)(3))
    0.5
    """
    return Partial(_inverse_sqrt, as_schedule(rate, name="rate"))


def _inverse_sqrt(schedule, count):
    return schedule(count) / jnp.sqrt(as_float(count) + 1)


def inverse_time(rate: Rate, decay: ArrayLike, *, every: ArrayLike = 1.0) -> Partial:
    """eta_t = rate / (1 + decay t / every), for a rate or a schedule of rates, decay >= 0 and every > 0.

    >>> float(inverse_time(1.0, 0.5)(2))
    0.5
    """
    return Partial(
        _inverse_time, as_schedule(rate, name="rate"), hyperparameter("decay", decay, 0), _positive("every", every)
    )


def _inverse_time(schedule, slowing, every, count):
    return schedule(count) / (1 + slowing * as_float(count) / every)


def step_decay(rate: Rate, factor: ArrayLike, *, every: ArrayLike) -> Partial:
    """eta_t = rate factor^floor(t / every): reduced by a factor >= 0 every so many steps (S12).

    >>> [float(step_decay(1.0, 0.5, every=10)(t)) for t in (0, 9, 10, 25)]
    [1.0, 1.0, 0.5, 0.25]
    """
    return Partial(
        _step_decay, as_schedule(rate, name="rate"), hyperparameter("factor", factor, 0), _positive("every", every)
    )


def _step_decay(schedule, factor, every, count):
    return schedule(count) * _power(factor, jnp.floor(as_float(count) / every))


def exponential(rate: Rate, factor: ArrayLike, *, every: ArrayLike = 1.0) -> Partial:
    """eta_t = rate factor^(t / every), for factor >= 0 and every > 0.

    >>> float(exponential(1.0, 0.25, every=2)(1))
    0.5
    """
    return Partial(
        _exponential, as_schedule(rate, name="rate"), hyperparameter("factor", factor, 0), _positive("every", every)
    )


def _exponential(schedule, factor, every, count):
    return schedule(count) * _power(factor, as_float(count) / every)


def piecewise(rates: ArrayLike | Sequence[float], boundaries: ArrayLike | Sequence[float]) -> Partial:
    """eta_t = rates[k] where k boundaries are <= t; one rate more than boundaries.

    >>> [float(piecewise([1.0, 0.1], [5])(t)) for t in (4, 5)]
    [1.0, 0.1]
    """
    rates, boundaries = sequence("rates", rates), sequence("boundaries", boundaries)
    if rates.shape[-1:] != (boundaries.shape[-1] + 1,):
        msg = (
            f"rates must be one more than boundaries; got {rates.shape[-1]} rates and {boundaries.shape[-1]} boundaries"
        )
        raise ValueError(msg)
    return Partial(_piecewise, rates, boundaries)


def _piecewise(rates, boundaries, count):
    return rates[jnp.sum(boundaries <= as_float(count)).astype(int)]


def linear(start: ArrayLike, end: ArrayLike, steps: ArrayLike) -> Partial:
    """eta_t from start to end in a straight line of so many steps > 0, then end.

    >>> [float(linear(1.0, 0.0, 4)(t)) for t in (0, 1, 9)]
    [1.0, 0.75, 0.0]
    """
    return Partial(_linear, *_ends(start, end), _positive("steps", steps))


def _linear(start, end, steps, count):
    return _between(start, end, _share(count, steps))


def polynomial(start: ArrayLike, end: ArrayLike, steps: ArrayLike, power: ArrayLike) -> Partial:
    """eta_t = (start - end) (1 - t / steps)^power + end, then end, for steps > 0 and power >= 0.

    >>> float(polynomial(1.0, 0.0, 4, power=2)(2))
    0.25
    """
    hypers = *_ends(start, end), _positive("steps", steps), hyperparameter("power", power, 0)
    return Partial(_polynomial, *hypers)


def _polynomial(start, end, steps, power, count):
    return (start - end) * _power(1 - _share(count, steps), power) + end


def cosine(start: ArrayLike, end: ArrayLike, steps: ArrayLike) -> Partial:
    """eta_t = end + (start - end) (1 + cos(pi t / steps)) / 2, then end, for steps > 0.

    >>> [round(float(cosine(1.0, 0.0, 4)(t)), 6) for t in (0, 2, 4)]
    [1.0, 0.5, 0.0]
    """
    return Partial(_cosine, *_ends(start, end), _positive("steps", steps))


def _cosine(start, end, steps, count):
    return end + (start - end) * _half_cosine(_share(count, steps))


def warmup(rate: Rate, width: ArrayLike) -> Partial:
    """Leads up to another schedule: eta_t = (t + 1) / width of its first rate, then the schedule from its own 0 (S17).

    The first rate is above 0, so that no step is wasted; width 0 is no warm-up at all.

    Args:
        rate: a rate or a schedule of rates.
        width: how many steps, >= 0.

    >>> [float(warmup(1.0, 4)(t)) for t in (0, 1, 3, 9)]
    [0.25, 0.5, 1.0, 1.0]
    """
    return Partial(_warmup, as_schedule(rate, name="rate"), hyperparameter("width", width, 0))


def _warmup(schedule, width, count):
    t = as_float(count)
    width = jnp.asarray(width, t.dtype)
    risen = (t + 1) / jnp.where(width == 0, 1, width)
    return jnp.where(t < width, risen, 1) * schedule(jnp.maximum(t - width, 0))


def join(schedules: Sequence[Rate], boundaries: ArrayLike | Sequence[float]) -> Partial:
    """One schedule after another: schedule k between boundaries k - 1 (included) and k, counted from its own 0.

    Args:
        schedules: at least one, rates or schedules.
        boundaries: the counts at which the second, third, ... take over, ascending.

    >>> [float(join([1.0, inverse_sqrt(0.5)], [2])(t)) for t in (1, 2, 5)]
    [1.0, 0.5, 0.25]
    """
    if not isinstance(schedules, Sequence) or isinstance(schedules, str):
        msg = f"schedules must be a sequence of rates or schedules; got {shown(schedules)}"
        raise TypeError(msg)
    parts = tuple(as_schedule(part, name="schedules") for part in schedules)
    boundaries = sequence("boundaries", boundaries)
    if len(parts) != boundaries.shape[-1] + 1:
        got = f"{len(parts)} schedules and {boundaries.shape[-1]} boundaries"
        msg = f"schedules must be one more than boundaries; got {got}"
        raise ValueError(msg)
    return Partial(_join, parts, boundaries)


def _join(parts, boundaries, count):
    t = as_float(count)
    rate = parts[0](count)
    for part, begin in zip(parts[1:], boundaries, strict=True):
        rate = jnp.where(t >= begin, part(jnp.maximum(t - begin, 0)), rate)
    return rate


def one_cycle(
    peak: ArrayLike,
    steps: ArrayLike,
    *,
    rise: ArrayLike = 0.3,
    fall: ArrayLike = 0.85,
    start_ratio: ArrayLike = 25.0,
    end_ratio: ArrayLike = 1e4,
) -> Partial:
    """Warm-up, annealing, fine-tuning, in straight lines (S92; Smith & Topin 2017).

    peak / start_ratio at 0, peak at rise * steps, peak / start_ratio at fall * steps, and peak / (start_ratio
    end_ratio) at steps; then that.

    Args:
        peak: the highest rate, >= 0.
        steps: the length of the cycle, > 0.
        rise, fall: where two parts of it end, 0 < rise < fall < 1.
        start_ratio, end_ratio: > 0.

    >>> [float(one_cycle(1.0, 20, rise=0.5, fall=0.75, start_ratio=2.0)(t)) for t in (0, 5, 10, 15)]
    [0.5, 0.75, 1.0, 0.5]
    """
    fall = _share_of_one("fall", fall)
    hypers = *_cycle(peak, steps, rise, start_ratio, end_ratio), fall
    if isinstance(rise, float) and isinstance(fall, float) and not rise < fall:
        msg = f"fall must be above rise = {rise:g}; got {fall:g}"
        raise ValueError(msg)
    return Partial(_one_cycle, *hypers)


def _one_cycle(peak, steps, rise, start_ratio, end_ratio, fall, count):
    low = peak / start_ratio
    t, top, bottom = as_float(count), rise * steps, fall * steps
    up = _between(low, peak, _share(t, top))
    down = _between(peak, low, _share(t - top, bottom - top))
    out = _between(low, low / end_ratio, _share(t - bottom, steps - bottom))
    return jnp.where(t < top, up, jnp.where(t < bottom, down, out))


def one_cycle_cosine(
    peak: ArrayLike,
    steps: ArrayLike,
    *,
    rise: ArrayLike = 0.3,
    start_ratio: ArrayLike = 25.0,
    end_ratio: ArrayLike = 1e4,
) -> Partial:
    """One cycle in two half cosines: peak / start_ratio, peak at rise * steps, peak / (start_ratio end_ratio) at steps.

    Args:
        peak: the highest rate, >= 0.
        steps: the length of the cycle, > 0.
        rise: where the peak is, 0 < rise < 1.
        start_ratio, end_ratio: > 0.

    >>> [round(float(one_cycle_cosine(1.0, 20, rise=0.5, start_ratio=2.0)(t)), 6) for t in (0, 5, 10)]
    [0.5, 0.75, 1.0]
    """
    return Partial(_one_cycle_cosine, *_cycle(peak, steps, rise, start_ratio, end_ratio))


def _one_cycle_cosine(peak, steps, rise, start_ratio, end_ratio, count):
    low, t, top = peak / start_ratio, as_float(count), rise * steps
    up = peak + (low - peak) * _half_cosine(_share(t, top))
    down = low / end_ratio + (peak - low / end_ratio) * _half_cosine(_share(t - top, steps - top))
    return jnp.where(t < top, up, down)


def _cycle(peak, steps, rise, start_ratio, end_ratio):
    ratios = _positive("start_ratio", start_ratio), _positive("end_ratio", end_ratio)
    return hyperparameter("peak", peak, 0), _positive("steps", steps), _share_of_one("rise", rise), *ratios


def cyclic(
    low: ArrayLike, high: ArrayLike, half: ArrayLike, mode: str = "triangular", *, factor: ArrayLike = 0.99994
) -> Partial:
    """Up from low to high in `half` steps, down again in as many, and so on (S92; Smith 2015).

    Args:
        low, high: rates >= 0.
        half: half a cycle, in steps, > 0.
        mode: "triangular"; "triangular2", whose height halves with each cycle; or "exp_range", whose height is
            multiplied by `factor` with each step.
        factor: of "exp_range", >= 0.

    >>> [float(cyclic(1.0, 3.0, 2)(t)) for t in (0, 1, 2, 3, 4)]
    [1.0, 2.0, 3.0, 2.0, 1.0]
    """
    hypers = hyperparameter("low", low, 0), hyperparameter("high", high, 0), _positive("half", half)
    modes = {
        "triangular": Partial(_triangular, *hypers),
        "triangular2": Partial(_triangular_halving, *hypers),
        "exp_range": Partial(_triangular_decaying, *hypers, hyperparameter("factor", factor, 0)),
    }
    return choice("mode", mode, modes)


def _triangular(low, high, half, count, height=1.0):
    t = as_float(count)
    t = t - 2 * half * jnp.floor(t / (2 * half))  # within its cycle, exact for whole numbers
    return low + (high - low) * (1 - jnp.abs(t / half - 1)) * height


def _triangular_halving(low, high, half, count):
    return _triangular(low, high, half, count, _power(0.5, jnp.floor(as_float(count) / (2 * half))))


def _triangular_decaying(low, high, half, factor, count):
    return _triangular(low, high, half, count, _power(factor, as_float(count)))


def sgdr(high: ArrayLike, low: ArrayLike, period: ArrayLike, growth: ArrayLike = 1.0) -> Partial:
    """eta_t = low + (high - low) (1 + cos(pi T_cur / T_i)) / 2, restarted after each T_i steps (S92).

    The first period T_0 is `period`, each next one `growth` times as long (Loshchilov & Hutter 2016).

    Args:
        high, low: rates >= 0.
        period: the first period in steps, > 0.
        growth: >= 1.

    >>> [round(float(sgdr(1.0, 0.0, 2, growth=2)(t)), 6) for t in (0, 1, 2, 4, 6)]
    [1.0, 0.5, 1.0, 0.5, 1.0]
    """
    hypers = hyperparameter("high", high, 0), hyperparameter("low", low, 0)
    return Partial(_sgdr, *hypers, _positive("period", period), hyperparameter("growth", growth, 1))


def _sgdr(high, low, period, growth, count):
    t = as_float(count)
    growth = jnp.asarray(growth, t.dtype)
    steady = growth == 1
    g = jnp.where(steady, 2, growth)

    def begin(n):
        return period * jnp.where(steady, n, (_power(g, n) - 1) / (g - 1))

    grown = jnp.log1p(t * (g - 1) / period) / jnp.log(g)
    n = jax.lax.stop_gradient(jnp.floor(jnp.where(steady, t / period, grown)))
    due = t * (1 + 16 * jnp.finfo(t.dtype).eps)  # a restart that only rounding puts off is due
    n = jnp.where(begin(n + 1) <= due, n + 1, n)
    length = period * jnp.where(steady, 1, _power(g, n))
    return low + (high - low) * _half_cosine((t - begin(n)) / length)


def noam(size: ArrayLike, width: ArrayLike, factor: ArrayLike = 1.0) -> Partial:
    """eta_t = factor size^(-1/2) min((t + 1)^(-1/2), (t + 1) width^(-3/2)): the Transformer's (S17).

    Args:
        size: of the model, > 0.
        width: of the warm-up in steps, > 0.
        factor: >= 0.

    >>> float(noam(4.0, 4)(3))
    0.25
    """
    hypers = _positive("size", size), _positive("width", width), hyperparameter("factor", factor, 0)
    return Partial(_noam, *hypers)


def _noam(size, width, factor, count):
    t = as_float(count) + 1
    return factor / jnp.sqrt(jnp.asarray(size, t.dtype)) * jnp.minimum(1 / jnp.sqrt(t), t / _power(width, 1.5))


def wsd(peak: ArrayLike, width: ArrayLike, stable: ArrayLike, decay: ArrayLike, end: ArrayLike = 0.0) -> Partial:
    """Warm-up, stable, decay: (t + 1) / width of the peak, the peak, and a straight line down to the end.

    Args:
        peak, end: rates >= 0.
        width, stable: how many steps of warm-up and at the peak, >= 0.
        decay: how many steps down, > 0.

    >>> [float(wsd(1.0, 2, 3, 4)(t)) for t in (0, 1, 4, 5, 7, 9)]
    [0.5, 1.0, 1.0, 1.0, 0.5, 0.0]
    """
    rising = warmup(hyperparameter("peak", peak, 0), width)
    hyperparameter("end", end, 0)
    falling = linear(peak, end, _positive("decay", decay))
    return Partial(_wsd, rising, hyperparameter("stable", stable, 0), falling)


def _wsd(rising, stable, falling, count):
    begin = rising.args[1] + stable
    return jnp.where(as_float(count) < begin, rising(count), falling(jnp.maximum(as_float(count) - begin, 0)))


def lr_range_test(low: ArrayLike, high: ArrayLike, steps: ArrayLike) -> Partial:
    """eta_t = low (high / low)^(t / (steps - 1)): every rate once, from low at 0 to high at steps - 1; then high (S92).

    `gdlab.lr_range_test` runs it and names the rates at which the loss falls fastest and at which it leaves.

    Args:
        low, high: rates > 0.
        steps: how many, > 1.

    >>> [round(float(lr_range_test(0.01, 1.0, 3)(t)), 6) for t in (0, 1, 2)]
    [0.01, 0.1, 1.0]
    """
    return Partial(
        _lr_range_test, _positive("low", low), _positive("high", high), hyperparameter("steps", steps, 1, above=True)
    )


def _lr_range_test(low, high, steps, count):
    return low * _power(high / low, _share(count, steps - 1))


def in_proportion(rate: ArrayLike, other: Rate) -> Partial:
    """eta_t = rate * other_t / other_0: one rate that follows the course of another schedule.

    >>> float(in_proportion(0.1, linear(1.0, 0.0, 4))(2))
    0.05
    """
    return Partial(_in_proportion, hyperparameter("rate", rate, 0), as_schedule(other, name="other"))


def _in_proportion(rate, other, count):
    return rate * safe_ratio(other(count), other(0), 1)


def _ends(start, end):
    return hyperparameter("start", start, 0), hyperparameter("end", end, 0)


def _positive(name, value):
    return hyperparameter(name, value, 0, above=True)


def _share_of_one(name, value):
    return hyperparameter(name, value, 0, 1, open=True, above=True)


def _share(count, steps):
    """How much of so many steps is over, in [0, 1]."""
    return jnp.clip(as_float(count) / steps, 0, 1)


def _between(start, end, share):
    return start + (end - start) * share


def _half_cosine(share):
    """From 1 down to 0 along half a cosine."""
    return (1 + jnp.cos(jnp.pi * share)) / 2


def _power(base, exponent):
    """base^exponent with a finite derivative at base 0, where it is 0 (1 for exponent 0)."""
    base, exponent = jnp.asarray(base, float), jnp.asarray(exponent, float)
    zero = base == 0
    return jnp.where(zero, (exponent == 0).astype(base.dtype), jnp.where(zero, 1, base) ** exponent)
