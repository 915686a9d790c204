"""Scales: how big gradients have been, sigma, a positive size for each parameter.

    Unit                         sigma = 1
    RootMeanSquare               sigma = sqrt((g_0^2 + ... + g_t^2) / (t + 1))                     Adagrad  (S19)
    RunningRootMeanSquare        nu <- a nu + (1 - a) g^2, nu_0 = g_0^2;  sigma = sqrt(nu)           RMSProp  (S77)
    BiasCorrectedRootMeanSquare  nu <- b nu + (1 - b) g^2 from 0;  sigma = sqrt(nu / (1 - b^(t+1)))  Adam     (S81)

A scale reads the raw gradients and measures magnitudes only (S83).  `eps` is added to the root, `eps_root` under it.
Until a parameter receives a gradient, sigma is a tiny positive floor and m is zero, so its update is exactly zero.
Second moments are kept in at least float32 whatever the parameters are.

| scale | state | its optimizer |
|---|---|---|
| `Unit()` | none | gd, momentum, nesterov |
| `GradientNorm(eps)` | none | normalized_gd |
| `DirectionRms(eps)` | none | scion, beside its matrices |
| `RootMeanSquare(eps)`, `RootSumSquare(eps)` | `nu` sum of squares | adagrad in its two forms |
| `RunningRootMeanSquare(decay, eps, start=)` | `nu` moving average | rmsprop |
| `WindowedRootMeanSquare(length, eps)` | `recent` squares | a window in the place of an average (S30) |
| `Centered(decay, eps)` | `mu`, `nu` running mean and variance | centered rmsprop |
| `BiasCorrectedRootMeanSquare(decay, eps)` | `nu` moving average from zero | adam |
| `RootMeanSquareAhead(decay, change_decay, eps)` | `nu`, `last` gradient | adan |
| `PreviousRootMeanSquare(decay, eps)` | `nu` of the gradients before | adopt |
| `Yogi(decay, eps)` | `nu` moving average, moved by bounded amounts | yogi |
| `AdaBelief(mean_decay=, decay=, eps=)` | `mu`, `nu` mean and mean square deviation | adabelief |
| `Adamax(decay, eps)` | `nu` decayed maximum of abs(g) | adamax |

Scales made of another scale (amsgrad's maximum, radam's rectification, the bounds of adabound) are in
`gdlab.scales.combinators`, those of matrices in `gdlab.scales.matrices`.
"""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gdlab.base import Scale
from gdlab.ground.checks import whole
from gdlab.numerics import (
    Params,
    bias_corrected,
    each,
    ema,
    least_square,
    like,
    norm,
    positive_root,
    square,
    wide,
    zeros_wide,
    zeros_wide_real,
)
from gdlab.pieces import CLOSED_SHARE, NONNEGATIVE, SHARE, Number, number, piece, static

__all__ = [
    "AdaBelief",
    "Adamax",
    "BiasCorrectedRootMeanSquare",
    "Centered",
    "DirectionRms",
    "GradientNorm",
    "PreviousRootMeanSquare",
    "RootMeanSquare",
    "RootMeanSquareAhead",
    "RootSumSquare",
    "RunningRootMeanSquare",
    "Unit",
    "WindowedRootMeanSquare",
    "Yogi",
]


class UnitState(NamedTuple):
    """The state of a scale that remembers nothing."""


class SquareState(NamedTuple):
    """The state of a scale that adds up squares."""

    nu: Params  # sum or average of squared gradients: real, like params, at least float32


class WindowState(NamedTuple):
    """The state of a scale that remembers the last squares."""

    recent: Params  # squared gradients, (length, *shape) for each leaf; step t is in row t mod length


class SpreadState(NamedTuple):
    """The state of a scale that measures the spread around a running mean."""

    mu: Params  # running mean of gradients, like params
    nu: Params  # running mean of squared deviations from it: real, like params


@piece
class Unit(Scale):
    """sigma = 1: the same rate for all parameters (S3)."""

    def init(self, params):
        return UnitState()

    def measure(self, grads, state, count, eta, m):
        return _uniform(m, jnp.ones), state


def _uniform(m, fill):
    """One array for all leaves of a shape, so that they also share what is computed from it."""
    same = cache(fill)
    return jax.tree.map(lambda m: same(m.shape, jnp.finfo(m.dtype).dtype), m)


@piece
class GradientNorm(Scale):
    """sigma = norm of the whole gradient + eps, one number for all parameters: normalized descent.

    Args:
        eps: added to the norm, >= 0.
    """

    eps: Number = number(NONNEGATIVE, default=0.0)

    def init(self, params):
        return UnitState()

    def measure(self, grads, state, count, eta, m):
        total = norm(grads).astype(eta.dtype)

        def size(shape, dtype):
            length = total.astype(dtype)
            positive = jnp.where(length == 0, least_square(dtype) ** 0.5, length)
            return jnp.full(shape, positive + jnp.asarray(self.eps).astype(dtype))

        return _uniform(m, size), state


@piece
class DirectionRms(Scale):
    """sigma = root of the mean square of m over its leaf + eps, one number for each leaf: Scion's for vectors.

    Args:
        eps: added to the root, >= 0.
    """

    eps: Number = number(NONNEGATIVE, default=0.0)

    def init(self, params):
        return UnitState()

    def measure(self, grads, state, count, eta, m):
        def size(m, eps):
            return jnp.full(m.shape, positive_root(jnp.mean(square(m)) if m.size else jnp.zeros([])) + eps)

        return each(size, m, eps=self.eps), state


class _Squares(Scale):
    def init(self, params):
        return SquareState(jax.tree.map(zeros_wide_real, params))


@piece
class RootMeanSquare(_Squares):
    """sigma = sqrt(mean of all squared gradients) + eps: Adagrad's with eta / sqrt(t + 1) (S19, S31; Duchi 2011).

    Args:
        eps: added to the root, >= 0.
    """

    eps: Number = number(NONNEGATIVE, default=0.0)

    def measure(self, grads, state, count, eta, m):
        nu = _summed(state.nu, grads)
        mean = each(lambda nu, t: nu / t, nu, t=count + 1)
        return _root(mean, self.eps), SquareState(nu)


@piece
class RootSumSquare(Scale):
    """sigma = sqrt(start^2 + sum of all squared gradients): Adagrad's with a constant eta (S20; Duchi et al. 2011).

    Args:
        eps: added to the root, >= 0.
        start: sigma before the first gradient, >= 0; its square is optax's `initial_accumulator_value`.
        eps_root: added under the root, >= 0; None adds nothing.
    """

    eps: Number = number(NONNEGATIVE, default=0.0)
    start: Number = number(NONNEGATIVE, default=0.0, kw_only=True)
    eps_root: Number | None = number(NONNEGATIVE, default=None, optional=True, kw_only=True)

    def init(self, params):
        return SquareState(_filled(self.start, params))

    def measure(self, grads, state, count, eta, m):
        nu = _summed(state.nu, grads)
        return _root(nu, self.eps, self.eps_root), SquareState(nu)


def _filled(start, params):
    """start^2 as the second moment of every parameter."""
    return each(lambda nu, start: nu + start**2, jax.tree.map(zeros_wide_real, params), start=start)


@piece
class RunningRootMeanSquare(Scale):
    """sigma_0 = abs(g_0), sigma_t^2 = a sigma_(t-1)^2 + (1 - a) g_t^2: RMSProp's in the lectures' form (S77).

    Args:
        decay: a in [0, 1]; smaller weighs recent gradients more.
        eps: added to the root, >= 0.
        start: sigma before the first gradient, >= 0, which is 0 in torch; None for sigma_0 = abs(g_0).
        eps_root: added under the root, >= 0; None adds nothing.
    """

    decay: Number = number(CLOSED_SHARE, default=0.9)
    eps: Number = number(NONNEGATIVE, default=0.0)
    start: Number | None = number(NONNEGATIVE, default=None, optional=True, kw_only=True)
    eps_root: Number | None = number(NONNEGATIVE, default=None, optional=True, kw_only=True)

    def init(self, params):
        if self.start is None:
            return SquareState(jax.tree.map(zeros_wide_real, params))
        return SquareState(_filled(self.start, params))

    def measure(self, grads, state, count, eta, m):
        a = self.decay
        if self.start is None:
            a = jnp.where(count == 0, jnp.zeros_like(a), a)
        nu = ema(state.nu, _squares(grads), a)
        return _root(nu, self.eps, self.eps_root), SquareState(nu)


@piece
class WindowedRootMeanSquare(Scale):
    """sigma = sqrt(mean of the last `length` squared gradients) + eps (S30).

    The mean is computed anew each step: a sum updated by subtraction loses small squares behind large ones and ends
    in NaN.

    Args:
        length: the number of gradients that are remembered, a whole number >= 1; 1 is sign descent.
        eps: added to the root, >= 0.

    >>> import gdlab
    >>> optimizer = gdlab.descent(gdlab.directions.Gradient(), WindowedRootMeanSquare(2), 0.1)
    >>> _, state = optimizer.update(1.0, optimizer.init(0.0))
    >>> round(float(optimizer.update(7.0, state)[0]), 6)  # -0.1 * 7 / sqrt((1 + 49) / 2)
    -0.14
    """

    length: int = static(whole)
    eps: Number = number(NONNEGATIVE, default=0.0)

    def init(self, params):
        zeros = jax.tree.map(zeros_wide_real, params)
        return WindowState(jax.tree.map(lambda zeros: jnp.stack([zeros] * self.length), zeros))

    def measure(self, grads, state, count, eta, m):
        def remembered(rows, new):
            return jax.lax.dynamic_update_index_in_dim(rows, new, count % rows.shape[0], 0)

        def mean(rows):
            return jnp.sum(rows, axis=0) / jnp.minimum(count + 1, rows.shape[0]).astype(rows.dtype)

        recent = jax.tree.map(remembered, state.recent, _squares(grads))
        return _root(jax.tree.map(mean, recent), self.eps), WindowState(recent)


class _Spread(Scale):
    def init(self, params):
        return SpreadState(jax.tree.map(zeros_wide, params), jax.tree.map(zeros_wide_real, params))


@piece
class Centered(_Spread):
    """sigma = sqrt(running variance of gradients), from zero: d = g - mu, mu += (1 - a) d, nu = a (nu + (1 - a) d^2).

    Equal to mean square less squared mean, but never negative: that difference cancels to NaN for steady gradients.

    Args:
        decay: a in [0, 1].
        eps: added to the root, >= 0.
        eps_root: added under the root, >= 0; None adds nothing.
    """

    decay: Number = number(CLOSED_SHARE, default=0.9)
    eps: Number = number(NONNEGATIVE, default=0.0)
    eps_root: Number | None = number(NONNEGATIVE, default=None, optional=True, kw_only=True)

    def measure(self, grads, state, count, eta, m):
        d = each(lambda mu, g: g.astype(mu.dtype) - mu, state.mu, grads)
        mu = each(lambda mu, d, a: mu + (1 - a) * d, state.mu, d, a=self.decay)
        nu = each(lambda nu, d, a: a * (nu + (1 - a) * square(d)), state.nu, d, a=self.decay)
        return _root(nu, self.eps, self.eps_root), SpreadState(mu, nu)


@piece
class BiasCorrectedRootMeanSquare(_Squares):
    """sigma = sqrt(nu / (1 - b^(t+1))) + eps with nu <- b nu + (1 - b) g^2 from zero: Adam's (S81; Kingma & Ba 2015).

    Args:
        decay: b in [0, 1).
        eps: added to the root, >= 0.
        eps_root: added under the root, >= 0; None adds nothing.
    """

    decay: Number = number(SHARE, default=0.999)
    eps: Number = number(NONNEGATIVE, default=0.0)
    eps_root: Number | None = number(NONNEGATIVE, default=None, optional=True, kw_only=True)

    def measure(self, grads, state, count, eta, m):
        nu = ema(state.nu, _squares(grads), self.decay)
        nu_hat = bias_corrected(nu, self.decay, count + 1)
        return _root(nu_hat, self.eps, self.eps_root), SquareState(nu)


class AheadState(NamedTuple):
    """The state of a scale of gradients and their changes."""

    nu: Params  # average of squares: real, like params
    last: Params  # the gradient before, like params


@piece
class RootMeanSquareAhead(Scale):
    """Adam's sigma of g + (1 - b2) (g - the gradient before): Adan's (Xie et al. 2022).

    Args:
        decay: of the average of squares, in [0, 1).
        change_decay: b2 in [0, 1).
        eps: added to the root, >= 0.
        eps_root: added under the root, >= 0.
    """

    decay: Number = number(SHARE, default=0.99)
    change_decay: Number = number(SHARE, default=0.92)
    eps: Number = number(NONNEGATIVE, default=0.0)
    eps_root: Number = number(NONNEGATIVE, default=0.0, kw_only=True)

    def init(self, params):
        return AheadState(jax.tree.map(zeros_wide_real, params), jax.tree.map(zeros_wide, params))

    def measure(self, grads, state, count, eta, m):
        g = each(lambda last, g: g.astype(last.dtype), state.last, grads)
        change = each(lambda g, last: jnp.where(count == 0, 0, g - last), g, state.last)
        ahead = each(lambda g, change, b2: g + (1 - b2) * change, g, change, b2=self.change_decay)
        nu = ema(state.nu, _squares(ahead), self.decay)
        return _root(bias_corrected(nu, self.decay, count + 1), self.eps, self.eps_root), AheadState(nu, g)


@piece
class PreviousRootMeanSquare(_Squares):
    """sigma = max(sqrt(nu), eps, abs(g) / t^(1/4)), nu of the gradients before this one: ADOPT's (Taniguchi 2024).

    nu starts with the square of the first gradient, for which sigma is 1; it then is a running average.

    Args:
        decay: b in [0, 1).
        eps: the least sigma, >= 0.
    """

    decay: Number = number(SHARE, default=0.9999)
    eps: Number = number(NONNEGATIVE, default=1e-6)

    def measure(self, grads, state, count, eta, m):
        squares, first = _squares(grads), count == 0

        def size(nu, square, eps, t):
            sigma = jnp.maximum(jnp.maximum(positive_root(nu), eps), positive_root(square) / t**0.25)
            return jnp.where(first, 1, sigma)

        sigma = each(size, state.nu, squares, eps=self.eps, t=jnp.maximum(count, 1))
        return sigma, SquareState(ema(state.nu, squares, jnp.where(first, 0, like(self.decay, eta))))


@piece
class Yogi(Scale):
    """nu <- nu - (1 - b) sign(nu - g^2) g^2, bias-corrected: nu falls by at most (1 - b) g^2 a step.

    Args:
        decay: b in [0, 1).
        eps: added to the root, >= 0.
        start: sigma before the first gradient, >= 0 (Zaheer et al. 2018).
    """

    decay: Number = number(SHARE, default=0.999)
    eps: Number = number(NONNEGATIVE, default=1e-3)
    start: Number = number(NONNEGATIVE, default=1e-3, kw_only=True)

    def init(self, params):
        return SquareState(_filled(self.start, params))

    def measure(self, grads, state, count, eta, m):
        nu = each(lambda nu, s, b: nu - (1 - b) * jnp.sign(nu - s) * s, state.nu, _squares(grads), b=self.decay)
        nu_hat = bias_corrected(nu, self.decay, count + 1)
        return _root(nu_hat, self.eps), SquareState(nu)


@piece
class AdaBelief(_Spread):
    """nu <- b nu + (1 - b) (g - mu)^2 + eps_root, bias-corrected: the spread around the moving average mu.

    The scale keeps the average mu itself, so that it goes with every direction.

    Args:
        mean_decay: the decay of the average mu, in [0, 1).
        decay: b in [0, 1).
        eps: added to the root, >= 0.
        eps_root: added to nu at each step, >= 0 (Zhuang et al. 2020).
    """

    mean_decay: Number = number(SHARE, default=0.9, kw_only=True)
    decay: Number = number(SHARE, default=0.999, kw_only=True)
    eps: Number = number(NONNEGATIVE, default=1e-16, kw_only=True)
    eps_root: Number = number(NONNEGATIVE, default=1e-16, kw_only=True)

    def measure(self, grads, state, count, eta, m):
        mu = ema(state.mu, grads, self.mean_decay)
        surprise = each(lambda mu, g: square(g.astype(mu.dtype) - mu), mu, grads)
        nu = ema(state.nu, surprise, self.decay)
        nu = each(lambda nu, eps_root: nu + eps_root, nu, eps_root=self.eps_root)
        nu_hat = bias_corrected(nu, self.decay, count + 1)
        return _root(nu_hat, self.eps), SpreadState(mu, nu)


@piece
class Adamax(_Squares):
    """sigma = max(b sigma, abs(g) + eps): Adamax's (Kingma & Ba 2015, algorithm 2; eps as in torch and optax).

    Args:
        decay: b in [0, 1].
        eps: added to abs(g), >= 0.
    """

    decay: Number = number(CLOSED_SHARE, default=0.999)
    eps: Number = number(NONNEGATIVE, default=0.0)

    def measure(self, grads, state, count, eta, m):
        sizes = jax.tree.map(lambda g: jnp.abs(wide(g)), grads)
        nu = each(lambda nu, g, b, eps: jnp.maximum(b * nu, g + eps), state.nu, sizes, b=self.decay, eps=self.eps)
        sigma = jax.tree.map(lambda nu: jnp.maximum(nu, least_square(nu.dtype) ** 0.5), nu)
        return sigma, SquareState(nu)


def _squares(grads):
    return jax.tree.map(lambda g: square(wide(g)), grads)


def _summed(nu, grads):
    return each(lambda nu, s: nu + s, nu, _squares(grads))


def _root(nu, eps, eps_root=None):
    """sqrt(nu + eps_root) + eps."""
    if eps_root is not None:
        nu = each(lambda nu, eps_root: nu + eps_root, nu, eps_root=eps_root)
    return each(lambda nu, eps: positive_root(nu) + eps, nu, eps=eps)
