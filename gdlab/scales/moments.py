"""Scales: how big gradients have been, sigma, a positive size for each parameter.

    unit                      sigma = 1
    root mean square          sigma = sqrt((g_0^2 + ... + g_t^2) / (t + 1))                     Adagrad  (S19)
    running root mean square  nu <- a nu + (1 - a) g^2, nu_0 = g_0^2;  sigma = sqrt(nu)           RMSProp  (S77)
    debiased                  nu <- b nu + (1 - b) g^2 from 0;  sigma = sqrt(nu / (1 - b^(t+1)))  Adam     (S81)

A scale sees the raw gradients; it knows sizes only (S83).  `eps` is added to the root, `eps_root` under it.
Where no gradient has been seen yet sigma is the smallest number whose square counts, and m is 0: no step is made.
Second moments are kept in at least float32 whatever the parameters are.

| scale | state | its optimizer |
|---|---|---|
| `unit()` | none | gd, momentum, nesterov |
| `norm()` | none | normalized_gd |
| `root_mean_square(eps)`, `root_sum_square(eps)` | `nu` sum of squares | adagrad in its two forms |
| `running_root_mean_square(decay, eps, start)` | `nu` running average | rmsprop |
| `windowed_root_mean_square(length, eps)` | `recent` squares | note 004's idea |
| `centred(decay, eps)` | `mu`, `nu` running mean and variance | centred rmsprop |
| `debiased_root_mean_square(decay, eps)` | `nu` running average from zero | adam |
| `additive(decay, eps)` | `nu` running average, moved by bounded amounts | yogi |
| `belief(mean_decay=, decay=, eps=)` | `mu`, `nu` running mean and mean square deviation | adabelief |
| `infinity(decay, eps)` | `nu` decayed maximum of abs(g) | adamax |
"""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.arguments import hyperparameter, whole
from gdlab.base import Scale
from gdlab.numerics import (
    Params,
    debiased,
    decaying,
    least_square,
    likes,
    positive_root,
    square,
    wide,
    zeros_wide,
    zeros_wide_real,
)
from gdlab.numerics import norm as norm_of


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


def unit() -> Scale:
    """sigma = 1: the same rate for all parameters (S3)."""
    return Scale(Partial(_nothing), Partial(_unit))


def _nothing(params):
    del params
    return UnitState()


def _unit(grads, state, count, eta, m):
    del grads, count, eta
    return _uniform(m, jnp.ones), state


def _uniform(m, fill):
    """One array for all leaves of a shape, so that they also share what is computed from it."""
    same = cache(fill)
    return jax.tree.map(lambda m: same(m.shape, jnp.finfo(m.dtype).dtype), m)


def norm(eps: ArrayLike = 0.0) -> Scale:
    """sigma = norm of the whole gradient + eps, one number for all parameters: normalised descent.

    Args:
        eps: added to the norm, >= 0.
    """
    return Scale(Partial(_nothing), Partial(_norm, hyperparameter("eps", eps, 0)))


def _norm(eps, grads, state, count, eta, m):
    del count
    total = norm_of(grads).astype(eta.dtype)

    def size(shape, dtype):
        length = total.astype(dtype)
        positive = jnp.where(length == 0, least_square(dtype) ** 0.5, length)
        return jnp.full(shape, positive + jnp.asarray(eps).astype(dtype))

    return _uniform(m, size), state


def root_mean_square(eps: ArrayLike = 0.0) -> Scale:
    """sigma = sqrt(mean of all squared gradients) + eps: Adagrad's with eta / sqrt(t + 1) (S19, S31; Duchi 2011).

    Args:
        eps: added to the root, >= 0.
    """
    return Scale(Partial(_zero_squares), Partial(_root_mean_square, hyperparameter("eps", eps, 0)))


def _zero_squares(params):
    return SquareState(jax.tree.map(zeros_wide_real, params))


def _root_mean_square(eps, grads, state, count, eta, m):
    del eta, m
    nu = _plus_squares(grads, state)
    values = likes(count + 1)
    return _root(jax.tree.map(lambda nu: nu / values(nu), nu), eps), SquareState(nu)


def root_sum_square(eps: ArrayLike = 0.0, *, start: ArrayLike = 0.0, eps_root: ArrayLike | None = None) -> Scale:
    """sigma = sqrt(start^2 + sum of all squared gradients): Adagrad's with a constant eta (S20; Duchi et al. 2011).

    Args:
        eps: added to the root, >= 0.
        start: sigma before the first gradient, >= 0; its square is optax's `initial_accumulator_value`.
        eps_root: added under the root, >= 0; None adds nothing.
    """
    measure = Partial(_root_sum_square, hyperparameter("eps", eps, 0), _optional("eps_root", eps_root))
    return Scale(Partial(_filled_squares, hyperparameter("start", start, 0)), measure)


def _filled_squares(start, params):
    value = likes(start)
    return SquareState(jax.tree.map(lambda nu: nu + value(nu) ** 2, jax.tree.map(zeros_wide_real, params)))


def _root_sum_square(eps, eps_root, grads, state, count, eta, m):
    del count, eta, m
    nu = _plus_squares(grads, state)
    return _root(nu, eps, eps_root), SquareState(nu)


def running_root_mean_square(
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 0.0,
    *,
    start: ArrayLike | str = "gradient",
    eps_root: ArrayLike | None = None,
) -> Scale:
    """sigma_0 = abs(g_0), sigma_t^2 = a sigma_(t-1)^2 + (1 - a) g_t^2: RMSProp's in the lectures' form (S77).

    Args:
        decay: a in [0, 1]; smaller weighs recent gradients more.
        eps: added to the root, >= 0.
        start: "gradient" for sigma_0 = abs(g_0); or a number >= 0, sigma before the first gradient: 0 in torch.
        eps_root: added under the root, >= 0; None adds nothing.
    """
    hypers = _decay(decay), hyperparameter("eps", eps, 0), _optional("eps_root", eps_root)
    if isinstance(start, str):
        if start != "gradient":
            msg = f"start must be 'gradient' or a number >= 0; got {start!r}"
            raise ValueError(msg)
        return Scale(Partial(_zero_squares), Partial(_running_from_gradient, *hypers))
    return Scale(Partial(_filled_squares, hyperparameter("start", start, 0)), Partial(_running, *hypers))


def _running_from_gradient(decay, eps, eps_root, grads, state, count, eta, m):
    first_is_taken_whole = jnp.where(count == 0, jnp.zeros_like(decay), decay)
    return _running(first_is_taken_whole, eps, eps_root, grads, state, count, eta, m)


def _running(decay, eps, eps_root, grads, state, count, eta, m):
    del count, eta, m
    nu = decaying(state.nu, _squares(grads), decay)
    return _root(nu, eps, eps_root), SquareState(nu)


def windowed_root_mean_square(length: int, eps: ArrayLike = 0.0) -> Scale:
    """sigma = sqrt(mean of the last `length` squared gradients) + eps (S30, note 004's idea).

    The mean is computed anew each step: a sum kept up by subtraction loses small squares behind large ones and ends
    in NaN.

    Args:
        length: how many gradients are remembered, a whole number >= 1; 1 is sign descent.
        eps: added to the root, >= 0.
    """
    return Scale(Partial(_zero_window(whole("length", length))), Partial(_windowed, hyperparameter("eps", eps, 0)))


@cache  # the same function for the same length, so that optimizers of one length share a trace
def _zero_window(length):
    def init(params):
        rows = jax.tree.map(lambda zeros: jnp.stack([zeros] * length), jax.tree.map(zeros_wide_real, params))
        return WindowState(rows)

    return init


def _windowed(eps, grads, state, count, eta, m):
    del eta, m

    def remembered(rows, new):
        return jax.lax.dynamic_update_index_in_dim(rows, new, count % rows.shape[0], 0)

    def mean(rows):
        return jnp.sum(rows, axis=0) / jnp.minimum(count + 1, rows.shape[0]).astype(rows.dtype)

    recent = jax.tree.map(remembered, state.recent, _squares(grads))
    return _root(jax.tree.map(mean, recent), eps), WindowState(recent)


def centred(decay: ArrayLike = 0.9, eps: ArrayLike = 0.0, *, eps_root: ArrayLike | None = None) -> Scale:
    """sigma = sqrt(running variance of gradients), from zero: d = g - mu, mu += (1 - a) d, nu = a (nu + (1 - a) d^2).

    Equal to mean square less squared mean, but never negative: that difference cancels to NaN for steady gradients.

    Args:
        decay: a in [0, 1].
        eps: added to the root, >= 0.
        eps_root: added under the root, >= 0; None adds nothing.
    """
    hypers = _decay(decay), hyperparameter("eps", eps, 0), _optional("eps_root", eps_root)
    return Scale(Partial(_zero_spread), Partial(_centred, *hypers))


def _zero_spread(params):
    return SpreadState(jax.tree.map(zeros_wide, params), jax.tree.map(zeros_wide_real, params))


def _centred(decay, eps, eps_root, grads, state, count, eta, m):
    del count, eta, m
    a = likes(decay)
    d = jax.tree.map(lambda g, mu: jnp.asarray(g).astype(mu.dtype) - mu, grads, state.mu)
    mu = jax.tree.map(lambda mu, d: mu + (1 - a(mu)) * d, state.mu, d)
    nu = jax.tree.map(lambda nu, d: a(nu) * (nu + (1 - a(nu)) * square(d)), state.nu, d)
    return _root(nu, eps, eps_root), SpreadState(mu, nu)


def debiased_root_mean_square(
    decay: ArrayLike = 0.999, eps: ArrayLike = 0.0, *, eps_root: ArrayLike | None = None
) -> Scale:
    """sigma = sqrt(nu / (1 - b^(t+1))) + eps with nu <- b nu + (1 - b) g^2 from zero: Adam's (S81; Kingma & Ba 2015).

    Args:
        decay: b in [0, 1).
        eps: added to the root, >= 0.
        eps_root: added under the root, >= 0; None adds nothing.
    """
    hypers = _decay(decay, open=True), hyperparameter("eps", eps, 0), _optional("eps_root", eps_root)
    return Scale(Partial(_zero_squares), Partial(_debiased_root_mean_square, *hypers))


def _debiased_root_mean_square(decay, eps, eps_root, grads, state, count, eta, m):
    del eta, m
    nu = decaying(state.nu, _squares(grads), decay)
    return _root(debiased(nu, decay, count + 1), eps, eps_root), SquareState(nu)


def additive(decay: ArrayLike = 0.999, eps: ArrayLike = 1e-3, *, start: ArrayLike = 1e-3) -> Scale:
    """nu <- nu - (1 - b) sign(nu - g^2) g^2, debiased: Yogi's, which forgets no faster than gradients are small.

    Args:
        decay: b in [0, 1).
        eps: added to the root, >= 0.
        start: sigma before the first gradient, >= 0 (Zaheer et al. 2018).
    """
    hypers = _decay(decay, open=True), hyperparameter("eps", eps, 0)
    return Scale(Partial(_filled_squares, hyperparameter("start", start, 0)), Partial(_additive, *hypers))


def _additive(decay, eps, grads, state, count, eta, m):
    del eta, m
    b = likes(decay)
    nu = jax.tree.map(lambda nu, s: nu - (1 - b(nu)) * jnp.sign(nu - s) * s, state.nu, _squares(grads))
    return _root(debiased(nu, decay, count + 1), eps), SquareState(nu)


def belief(
    *, mean_decay: ArrayLike = 0.9, decay: ArrayLike = 0.999, eps: ArrayLike = 1e-16, eps_root: ArrayLike = 1e-16
) -> Scale:
    """nu <- b nu + (1 - b) (g - mu)^2 + eps_root, debiased: AdaBelief's, the spread around the running average mu.

    The average is its own, whatever the direction is.

    Args:
        mean_decay: the decay of the average mu, in [0, 1).
        decay: b in [0, 1).
        eps: added to the root, >= 0.
        eps_root: added to nu at each step, >= 0 (Zhuang et al. 2020).
    """
    hypers: tuple = hyperparameter("mean_decay", mean_decay, 0, 1, open=True), _decay(decay, open=True)
    hypers = *hypers, hyperparameter("eps", eps, 0), hyperparameter("eps_root", eps_root, 0)
    return Scale(Partial(_zero_spread), Partial(_belief, *hypers))


def _belief(mean_decay, decay, eps, eps_root, grads, state, count, eta, m):
    del eta, m
    mu = decaying(state.mu, grads, mean_decay)
    surprise = jax.tree.map(lambda g, mu: square(jnp.asarray(g).astype(mu.dtype) - mu), grads, mu)
    least = likes(eps_root)
    nu = jax.tree.map(lambda nu: nu + least(nu), decaying(state.nu, surprise, decay))
    return _root(debiased(nu, decay, count + 1), eps), SpreadState(mu, nu)


def infinity(decay: ArrayLike = 0.999, eps: ArrayLike = 0.0) -> Scale:
    """sigma = max(b sigma, abs(g) + eps): Adamax's (Kingma & Ba 2015, algorithm 2; eps as in torch and optax).

    Args:
        decay: b in [0, 1].
        eps: added to abs(g), >= 0.
    """
    return Scale(Partial(_zero_squares), Partial(_infinity, _decay(decay), hyperparameter("eps", eps, 0)))


def _infinity(decay, eps, grads, state, count, eta, m):
    del count, eta, m
    b, least = likes(decay), likes(eps)
    nu = jax.tree.map(lambda nu, g: jnp.maximum(b(nu) * nu, jnp.abs(wide(g)) + least(nu)), state.nu, grads)
    return jax.tree.map(lambda nu: jnp.maximum(nu, least_square(nu.dtype) ** 0.5), nu), SquareState(nu)


def _squares(grads):
    return jax.tree.map(lambda g: square(wide(g)), grads)


def _plus_squares(grads, state):
    return jax.tree.map(lambda nu, g: nu + square(wide(g)).astype(nu.dtype), state.nu, grads)


def _root(nu, eps, eps_root=None):
    if eps_root is not None:
        under = likes(eps_root)
        nu = jax.tree.map(lambda nu: nu + under(nu), nu)
    eps = likes(eps)
    return jax.tree.map(lambda nu: positive_root(nu) + eps(nu), nu)


def _decay(value, *, open=False):
    return hyperparameter("decay", value, 0, 1, open=open)


def _optional(name, value):
    """A hyperparameter that may be missing, which is structure: the piece then has one leaf less."""
    return None if value is None else hyperparameter(name, value, 0)
