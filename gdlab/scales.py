"""Scales: how big gradients have been, sigma, a positive size for each parameter.

    unit                      sigma = 1
    root mean square          sigma = sqrt((g_0^2 + ... + g_t^2) / (t + 1))                     Adagrad  (S19)
    running root mean square  nu <- a nu + (1 - a) g^2, nu_0 = g_0^2;  sigma = sqrt(nu)           RMSProp  (S77)
    debiased                  nu <- b nu + (1 - b) g^2 from 0;  sigma = sqrt(nu / (1 - b^(t+1)))  Adam     (S81)

A scale sees the raw gradients and never their direction: it knows sizes only (S83).  `eps` is added to the root.
Where no gradient has been seen yet (sigma = 0) `gdlab.descent` makes no step.
Second moments are kept in at least float32 whatever the parameters are.

| scale | state | its optimizer |
|---|---|---|
| `unit()` | none | gd, momentum, nesterov |
| `root_mean_square(eps)` | `nu` sum of squares | adagrad |
| `running_root_mean_square(decay, eps)` | `nu` running average | rmsprop |
| `debiased_root_mean_square(decay, eps)` | `nu` running average from zero | adam |
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.averages import decaying, decaying_weight, like, safe_root, square, wide, zeros_wide_real
from gdlab.pieces import Params, Scale, hyperparameter


class UnitState(NamedTuple):
    """The state of the scale that measures nothing."""


class SquareState(NamedTuple):
    """The state of a scale that adds up squares."""

    nu: Params  # sum or average of squared gradients: real, like params, at least float32


def unit() -> Scale:
    """sigma = 1: the same rate for all parameters (S3)."""
    return Scale(Partial(_nothing), Partial(_unit))


def _nothing(params):
    del params
    return UnitState()


def _unit(grads, state, count, eta, m):
    del grads, count, eta
    return jax.tree.map(lambda m: jnp.ones_like(m.real), m), state


def root_mean_square(eps: ArrayLike = 0.0) -> Scale:
    """sigma = sqrt(mean of all squared gradients) + eps: Adagrad's (S19, S31; Duchi et al. 2011).

    Args:
        eps: added to the root, >= 0.
    """
    return Scale(Partial(_zero_squares), Partial(_root_mean_square, hyperparameter("eps", eps, 0)))


def _zero_squares(params):
    return SquareState(jax.tree.map(zeros_wide_real, params))


def _root_mean_square(eps, grads, state, count, eta, m):
    del eta, m
    nu = jax.tree.map(lambda nu, g: nu + square(wide(g)).astype(nu.dtype), state.nu, grads)
    sigma = jax.tree.map(lambda nu: safe_root(nu / like(count + 1, nu)) + like(eps, nu), nu)
    return sigma, SquareState(nu)


def running_root_mean_square(decay: ArrayLike = 0.9, eps: ArrayLike = 0.0) -> Scale:
    """sigma_0 = abs(g_0), sigma_t^2 = a sigma_(t-1)^2 + (1 - a) g_t^2: RMSProp's in the lectures' form (S77).

    Args:
        decay: a in [0, 1]; smaller weighs recent gradients more.
        eps: added to the root, >= 0.
    """
    hypers = hyperparameter("decay", decay, 0, 1), hyperparameter("eps", eps, 0)
    return Scale(Partial(_zero_squares), Partial(_running_root_mean_square, *hypers))


def _running_root_mean_square(decay, eps, grads, state, count, eta, m):
    del eta, m
    decay = jnp.where(count == 0, jnp.zeros_like(decay), decay)  # the first square is taken whole
    nu = _decaying_squares(decay, grads, state)
    return jax.tree.map(lambda nu: safe_root(nu) + like(eps, nu), nu), SquareState(nu)


def debiased_root_mean_square(decay: ArrayLike = 0.999, eps: ArrayLike = 0.0) -> Scale:
    """sigma = sqrt(nu / (1 - b^(t+1))) + eps with nu <- b nu + (1 - b) g^2 from zero: Adam's (S81; Kingma & Ba 2015).

    Args:
        decay: b in [0, 1).
        eps: added to the root, >= 0.
    """
    hypers = hyperparameter("decay", decay, 0, 1, open=True), hyperparameter("eps", eps, 0)
    return Scale(Partial(_zero_squares), Partial(_debiased_root_mean_square, *hypers))


def _debiased_root_mean_square(decay, eps, grads, state, count, eta, m):
    del m
    nu = _decaying_squares(decay, grads, state)
    weight = decaying_weight(like(decay, eta), count + 1)
    sigma = jax.tree.map(lambda nu: safe_root(nu / like(weight, nu)) + like(eps, nu), nu)
    return sigma, SquareState(nu)


def _decaying_squares(decay, grads, state):
    return jax.tree.map(lambda nu, g: decaying(nu, square(wide(g)), decay), state.nu, grads)
