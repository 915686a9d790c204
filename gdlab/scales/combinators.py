"""Scales made from other scales.

    RunningMax          sigma = the largest that the other scale has been            AMSGrad   (S90)
    BiasCorrected       sigma = other / sqrt(1 - b^(t+1)) + eps                      Adam's correction, after the other
    UndoBiasCorrection  sigma = other * (1 - b^(t+1))                                takes back that of a direction
    AddEps              sigma = other + eps
    Bounded             sigma such that eta / sigma lies between two bounds          AdaBound  (S91)
    Rectified           sigma = other / r_t, or 1 while r_t does not exist           RAdam     (S94)

All are reached as `gdlab.scales.RunningMax` and so on.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gdlab.base import Scale
from gdlab.ground.checks import one_of
from gdlab.numerics import (
    Params,
    bias_weight,
    each,
    effective_length,
    like,
    one_where,
    safe_ratio,
    safe_root,
    zeros_wide_real,
)
from gdlab.pieces import NONNEGATIVE, POSITIVE, SHARE, Number, Range, checked, number, piece
from gdlab.scales.matrices import MatrixScale
from gdlab.schedules.base import Rate, as_rate, rate_at

__all__ = [
    "AddEps",
    "BiasCorrected",
    "Bounded",
    "Rectified",
    "RunningMax",
    "UndoBiasCorrection",
]


def _diagonal(name, scale):
    one_of(name, scale, Scale, "one of gdlab.scales, such as Unit()")
    if isinstance(scale, MatrixScale):
        msg = f"{name} must be a scale with a size for each parameter, such as Unit(); got {scale!r}, one of matrices"
        raise ValueError(msg)
    return scale


class RunningMaxState(NamedTuple):
    """The state of a scale that remembers the largest of another."""

    scale: Any  # the state of that other
    sigma_max: Params  # the largest sigma so far: real, like params


@piece
class RunningMax(Scale):
    """sigma <- max(sigma, that of the other scale): a scale that never shrinks (Reddi et al. 2018)."""

    scale: Scale = checked(_diagonal)

    def init(self, params):
        return RunningMaxState(self.scale.init(params), jax.tree.map(zeros_wide_real, params))

    def measure(self, grads, state, count, eta, m):
        sigma, scale_state = self.scale.measure(grads, state.scale, count, eta, m)
        sigma = jax.tree.map(jnp.maximum, state.sigma_max, sigma)
        return sigma, RunningMaxState(scale_state, sigma)


class _Stateless(Scale):
    """A scale whose state is that of the other."""

    scale: Scale

    def init(self, params):
        return self.scale.init(params)


@piece
class BiasCorrected(_Stateless):
    """sigma = that of the other scale / sqrt(1 - b^(t+1)) + eps, for one that started at zero.

    Args:
        scale: the other scale.
        decay: its b, in [0, 1).
        eps: added to the quotient, >= 0.
    """

    scale: Scale = checked(_diagonal)
    decay: Number = number(SHARE)
    eps: Number = number(NONNEGATIVE, default=0.0)

    def measure(self, grads, state, count, eta, m):
        sigma, state = self.scale.measure(grads, state, count, eta, m)
        weight = bias_weight(self.decay, count + 1)
        sigma = each(lambda sigma, weight, eps: sigma / jnp.sqrt(weight) + eps, sigma, weight=weight, eps=self.eps)
        return sigma, state


@piece
class UndoBiasCorrection(_Stateless):
    """sigma = that of the other scale * (1 - b^(t+1)).

    Args:
        scale: the other scale.
        decay: b in [0, 1).

    >>> import gdlab
    >>> sigma = UndoBiasCorrection(gdlab.scales.Unit(), decay=0.9)
    >>> optimizer = gdlab.descent(gdlab.directions.Gradient(), sigma, 0.1)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -2.0
    """

    scale: Scale = checked(_diagonal)
    decay: Number = number(SHARE)

    def measure(self, grads, state, count, eta, m):
        sigma, state = self.scale.measure(grads, state, count, eta, m)
        return each(lambda sigma, weight: sigma * weight, sigma, weight=bias_weight(self.decay, count + 1)), state


@piece
class AddEps(_Stateless):
    """sigma = that of the other scale + eps, for eps >= 0."""

    scale: Scale = checked(_diagonal)
    eps: Number = number(NONNEGATIVE)

    def measure(self, grads, state, count, eta, m):
        sigma, state = self.scale.measure(grads, state, count, eta, m)
        return each(lambda sigma, eps: sigma + eps, sigma, eps=self.eps), state


@piece
class Bounded(_Stateless):
    """sigma such that eta / sigma = clip(eta / other, lower, upper) (S91; Luo et al. 2019).

        lower = final_rate (1 - 1 / (gamma t + 1)),   upper = final_rate (1 + 1 / (gamma t)),   t from 1

    Where nothing is clipped it is the other scale to the bit.  Extras: `lower`, `upper` and `clipped`, the share of
    parameters whose rate is clipped.

    Args:
        scale: the other scale.
        final_rate: the limit of both bounds, >= 0: a number or a schedule.
        gamma: how fast the bounds converge, > 0; the paper has 1 - b2.

    >>> import gdlab
    >>> sigma = Bounded(gdlab.scales.Unit(), final_rate=0.5, gamma=1e9)  # the bounds have met
    >>> optimizer = gdlab.descent(gdlab.directions.Gradient(), sigma, 0.1)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -1.0
    """

    scale: Scale = checked(_diagonal)
    final_rate: Rate = checked(as_rate, default=0.1)
    gamma: Number = number(POSITIVE, default=1e-3)

    def measure(self, grads, state, count, eta, m):
        sigma, state = self.scale.measure(grads, state, count, eta, m)
        lower, upper = self._bounds(count, eta)
        return each(_clipped, sigma, eta=eta, lower=lower, upper=upper), state

    def _bounds(self, count, eta):
        final, t = like(rate_at(self.final_rate, count), eta), like(count + 1, eta)
        narrowing = like(self.gamma, eta) * t
        return final * (1 - 1 / (narrowing + 1)), final * (1 + 1 / narrowing)

    def extras(self, grads, state, count, eta, m):
        sigma, _ = self.scale.measure(grads, state, count, eta, m)
        lower, upper = self._bounds(count, eta)

        def outside(sigma):
            rate = safe_ratio(like(eta, sigma), sigma, jnp.inf)
            return jnp.sum((rate < like(lower, sigma)) | (rate > like(upper, sigma)))

        leaves = jax.tree.leaves(sigma)
        clipped = sum(map(outside, leaves)) / max(1, sum(leaf.size for leaf in leaves))
        return {"lower": lower, "upper": upper, "clipped": clipped}


def _clipped(sigma, eta, lower, upper):
    rate = safe_ratio(eta, sigma, upper)
    clipped = jnp.clip(rate, lower, upper)
    return jnp.where((rate == clipped) | (eta == 0), sigma, safe_ratio(eta, clipped, jnp.inf))


@piece
class Rectified(_Stateless):
    """sigma = that of the other scale / r where rho > threshold, else 1 (S94; Liu et al. 2019).

        r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho)),   rho_inf = 2 / (1 - b) - 1

    rho_t, the number of gradients that the average of squares is worth, is `gdlab.numerics.effective_length`, exact in
    float32.  Extras: `rho` and `r` (0 while there is none).

    Args:
        scale: the other scale.
        decay: its b, in [0, 1); up to .6 rho never exceeds 4, and sigma stays 1.
        threshold: of rho, >= 4: 4 in the paper, 5 in the authors' code, torch and optax.
    """

    scale: Scale = checked(_diagonal)
    decay: Number = number(SHARE, default=0.999)
    threshold: Number = number(Range(4), default=4.0)

    def measure(self, grads, state, count, eta, m):
        sigma, state = self.scale.measure(grads, state, count, eta, m)
        _, r = self._rectification(count, eta)
        return each(lambda sigma, r: safe_ratio(sigma, r, 1), sigma, r=r), state

    def _rectification(self, count, eta):
        b = like(self.decay, eta)
        rho, rho_inf = effective_length(b, count + 1), (1 + b) / (1 - b)
        below = (rho_inf - 4) * (rho_inf - 2) * rho  # 0 at rho_inf = 4 or 2, where no rho is beyond the threshold
        r_squared = (rho - 4) * (rho - 2) * rho_inf / one_where(below == 0, below)
        return rho, safe_root(jnp.where(rho > like(self.threshold, eta), r_squared, 0))

    def extras(self, grads, state, count, eta, m):
        rho, r = self._rectification(count, eta)
        return {"rho": rho, "r": r}
