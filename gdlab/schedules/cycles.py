"""Schedules that go up and down.

| schedule | eta_t | source |
|---|---|---|
| `OneCycle`, `OneCycleCosine` | up, down, and further down | S92 (Smith & Topin 2017) |
| `Cyclic` | up and down again, in three modes | S92 (Smith 2015) |
| `Sgdr` | cosines, each restarted at the highest rate | S92 (Loshchilov & Hutter 2016) |
"""

import jax
import jax.numpy as jnp

from gdlab.base import Schedule
from gdlab.ground.checks import choice
from gdlab.pieces import NONNEGATIVE, OPEN_SHARE, POSITIVE, Number, Range, number, piece, static
from gdlab.schedules.base import as_float, between, half_cosine, power, progress

__all__ = ["Cyclic", "OneCycle", "OneCycleCosine", "Sgdr"]


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
        up = between(low, self.peak, progress(t, top))
        down = between(self.peak, low, progress(t - top, bottom - top))
        out = between(low, low / self.end_ratio, progress(t - bottom, self.steps - bottom))
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
        up = peak + (low - peak) * half_cosine(progress(t, top))
        down = bottom + (peak - bottom) * half_cosine(progress(t - top, self.steps - top))
        return jnp.where(t < top, up, down)


HEIGHTS = {  # the height of a cycle, from the schedule and the count
    "triangular": lambda one, t: 1.0,
    "triangular2": lambda one, t: power(0.5, jnp.floor(t / (2 * one.half))),
    "exp_range": lambda one, t: power(one.factor, t),
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
            return period * jnp.where(steady, n, (power(g, n) - 1) / (g - 1))

        grown = jnp.log1p(t * (g - 1) / period) / jnp.log(g)
        n = jax.lax.stop_gradient(jnp.floor(jnp.where(steady, t / period, grown)))
        due = t * (1 + 16 * jnp.finfo(t.dtype).eps)  # a restart that only rounding puts off is due
        n = jnp.where(begin(n + 1) <= due, n + 1, n)
        length = period * jnp.where(steady, 1, power(g, n))
        return self.low + (self.high - self.low) * half_cosine((t - begin(n)) / length)
