"""Scales made from other scales.

    peak       sigma = the largest that the other scale has been            AMSGrad   (S90)
    debias     sigma = other / sqrt(1 - b^(t+1)) + eps                      Adam's correction, after whatever it wraps
    weighted   sigma = other * (1 - b^(t+1))                                takes back the correction of a direction
    plus       sigma = other + eps
    bounded    sigma such that eta / sigma lies between two closing bounds  AdaBound  (S91)
    rectified  sigma = other / r_t, or 1 while r_t does not exist           RAdam     (S94)

All are reached as `gdlab.scales.peak` and so on.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.arguments import hyperparameter, one_of
from gdlab.base import Scale, Schedule
from gdlab.numerics import (
    Params,
    decaying_weight,
    effective_length,
    like,
    likes,
    safe_ratio,
    safe_root,
    shared,
    zeros_wide_real,
)
from gdlab.schedules.base import as_schedule


class PeakState(NamedTuple):
    """The state of a scale that remembers the largest of another."""

    scale: Any  # the state of that other
    sigma_max: Params  # the largest sigma so far: real, like params


def peak(scale: Scale) -> Scale:
    """sigma <- max(sigma, that of the other scale): a scale that never shrinks (Reddi et al. 2018)."""
    _checked(scale)
    return Scale(Partial(_zero_peak, scale.init), Partial(_peak, scale.measure))


def _zero_peak(init, params):
    return PeakState(init(params), jax.tree.map(zeros_wide_real, params))


def _peak(measure, grads, state, count, eta, m):
    sigma, scale_state = measure(grads, state.scale, count, eta, m)
    sigma = jax.tree.map(jnp.maximum, state.sigma_max, sigma)
    return sigma, PeakState(scale_state, sigma)


def debias(scale: Scale, decay: ArrayLike, eps: ArrayLike = 0.0) -> Scale:
    """sigma = that of the other scale / sqrt(1 - b^(t+1)) + eps, for one that started at zero.

    Args:
        scale: the other scale.
        decay: its b, in [0, 1).
        eps: added to the quotient, >= 0.
    """
    _checked(scale)
    hypers = hyperparameter("decay", decay, 0, 1, open=True), hyperparameter("eps", eps, 0)
    return Scale(scale.init, Partial(_debias, scale.measure, *hypers))


def _debias(measure, decay, eps, grads, state, count, eta, m):
    sigma, state = measure(grads, state, count, eta, m)
    weight, eps = _weight(decay, count), likes(eps)
    return jax.tree.map(lambda sigma: sigma / jnp.sqrt(weight(sigma)) + eps(sigma), sigma), state


def weighted(scale: Scale, decay: ArrayLike) -> Scale:
    """sigma = that of the other scale * (1 - b^(t+1)).

    Args:
        scale: the other scale.
        decay: b in [0, 1).
    """
    _checked(scale)
    return Scale(scale.init, Partial(_weighted, scale.measure, hyperparameter("decay", decay, 0, 1, open=True)))


def _weighted(measure, decay, grads, state, count, eta, m):
    sigma, state = measure(grads, state, count, eta, m)
    weight = _weight(decay, count)
    return jax.tree.map(lambda sigma: sigma * weight(sigma), sigma), state


def _weight(decay, count):
    return shared(lambda dtype: decaying_weight(jnp.asarray(decay).astype(dtype), count + 1))


def plus(scale: Scale, eps: ArrayLike) -> Scale:
    """sigma = that of the other scale + eps, for eps >= 0."""
    _checked(scale)
    return Scale(scale.init, Partial(_plus, scale.measure, hyperparameter("eps", eps, 0)))


def _plus(measure, eps, grads, state, count, eta, m):
    sigma, state = measure(grads, state, count, eta, m)
    eps = likes(eps)
    return jax.tree.map(lambda sigma: sigma + eps(sigma), sigma), state


def bounded(scale: Scale, final_rate: ArrayLike | Schedule = 0.1, closing: ArrayLike = 1e-3) -> Scale:
    """sigma such that eta / sigma = clip(eta / other, lower, upper) (S91; Luo et al. 2019).

        lower = final_rate (1 - 1 / (closing t + 1)),   upper = final_rate (1 + 1 / (closing t)),   t from 1

    Where nothing is clipped it is the other scale to the bit.  Extras: `lower`, `upper` and `clipped`, the share of
    parameters whose rate is clipped.

    Args:
        scale: the other scale.
        final_rate: what both bounds close in upon, >= 0: a number or a schedule.
        closing: how fast, > 0; the paper has 1 - b2.
    """
    _checked(scale)
    hypers = as_schedule(final_rate, name="final_rate"), hyperparameter("closing", closing, 0, above=True)
    return Scale(scale.init, Partial(_bounded, scale.measure, *hypers), Partial(_bounded_extras))


def _bounded(measure, final_rate, closing, grads, state, count, eta, m):
    sigma, state = measure(grads, state, count, eta, m)
    limits = shared(lambda dtype: [x.astype(dtype) for x in (eta, *_bounds(final_rate, closing, count, eta))])

    def between(sigma):
        eta, lower, upper = limits(sigma)
        rate = safe_ratio(eta, sigma, upper)
        clipped = jnp.clip(rate, lower, upper)
        return jnp.where((rate == clipped) | (eta == 0), sigma, safe_ratio(eta, clipped, jnp.inf))

    return jax.tree.map(between, sigma), state


def _bounds(final_rate, closing, count, eta):
    final, t = like(final_rate(count), eta), like(count + 1, eta)
    narrowing = like(closing, eta) * t
    return final * (1 - 1 / (narrowing + 1)), final * (1 + 1 / narrowing)


def _bounded_extras(measure, final_rate, closing, grads, state, count, eta, m):
    sigma, _ = measure(grads, state, count, eta, m)
    lower, upper = _bounds(final_rate, closing, count, eta)

    def outside(sigma):
        rate = safe_ratio(like(eta, sigma), sigma, jnp.inf)
        return jnp.sum((rate < like(lower, sigma)) | (rate > like(upper, sigma)))

    leaves = jax.tree.leaves(sigma)
    clipped = sum(map(outside, leaves)) / max(1, sum(leaf.size for leaf in leaves))
    return {"lower": lower, "upper": upper, "clipped": clipped}


def rectified(scale: Scale, decay: ArrayLike = 0.999, threshold: ArrayLike = 4.0) -> Scale:
    """sigma = that of the other scale / r where rho > threshold, else 1 (S94; Liu et al. 2019).

        r = sqrt((rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho)),   rho_inf = 2 / (1 - b) - 1

    rho_t, how many gradients the average of squares is worth, is `gdlab.numerics.effective_length`, exact in float32.
    Extras: `rho` and `r` (0 while there is none).

    Args:
        scale: the other scale.
        decay: its b, in (.6, 1), so that rho_inf > 4.
        threshold: of rho, >= 4: 4 in the paper, 5 in the authors' code, torch and optax.
    """
    _checked(scale)
    hypers = hyperparameter("decay", decay, 0, 1, open=True), hyperparameter("threshold", threshold, 4)
    return Scale(scale.init, Partial(_rectified, scale.measure, *hypers), Partial(_rectified_extras))


def _rectified(measure, decay, threshold, grads, state, count, eta, m):
    sigma, state = measure(grads, state, count, eta, m)
    r = likes(_rectification(decay, threshold, count, eta)[1])
    return jax.tree.map(lambda sigma: safe_ratio(sigma, r(sigma), 1), sigma), state


def _rectification(decay, threshold, count, eta):
    b = like(decay, eta)
    rho, rho_inf = effective_length(b, count + 1), (1 + b) / (1 - b)
    square = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
    return rho, safe_root(jnp.where(rho > like(threshold, eta), square, 0))


def _rectified_extras(measure, decay, threshold, grads, state, count, eta, m):
    del measure, grads, state, m
    rho, r = _rectification(decay, threshold, count, eta)
    return {"rho": rho, "r": r}


def _checked(scale):
    one_of("scale", scale, Scale, "one of gdlab.scales, such as unit()")
