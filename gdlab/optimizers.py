r"""The grid: every named optimizer is one cell, one expression.

| sigma \ m | gradient | heavy ball | Nesterov | debiased average |
|---|---|---|---|---|
| 1 | `gd`, `sgd` | `momentum` | `nesterov` | |
| root of the mean square of all gradients, with eta / sqrt(t + 1) | `adagrad` | | | |
| root of a running average of squares, started at the first gradient | `rmsprop` | | | |
| the same from zero, debiased | | | | `adam` |

The lectures' form is the default; rates may be numbers, arrays or schedules.
"""

from jax.typing import ArrayLike

from gdlab import directions, scales, schedules
from gdlab.descent import descent
from gdlab.pieces import Optimizer, Schedule


def gd(learning_rate: ArrayLike | Schedule) -> Optimizer:
    """theta <- theta - eta g (S3).

    >>> optimizer = gd(0.1)
    >>> update, _ = optimizer.update(2.0, optimizer.init(1.0))
    >>> round(float(update), 6)
    -0.2
    """
    return descent(directions.gradient(), scales.unit(), learning_rate)


sgd = gd  # the same rule on the gradient of a mini-batch


def momentum(learning_rate: ArrayLike | Schedule, decay: ArrayLike = 0.9) -> Optimizer:
    """v <- lambda v + eta g, theta <- theta - v: the rate inside the buffer (S73; Polyak 1964)."""
    return descent(directions.heavy_ball(decay), scales.unit(), learning_rate)


def nesterov(learning_rate: ArrayLike | Schedule, decay: ArrayLike = 0.9) -> Optimizer:
    """v <- lambda v + eta g, theta <- theta - lambda v - eta g, in the looked-ahead parameters (S96; Nesterov 1983)."""
    return descent(directions.nesterov(decay), scales.unit(), learning_rate)


def adagrad(learning_rate: ArrayLike, eps: ArrayLike = 0.0) -> Optimizer:
    """theta <- theta - eta / sqrt(sum of all g^2) g, in the form of S19 (equal to S20; Duchi et al. 2011)."""
    return descent(directions.gradient(), scales.root_mean_square(eps), schedules.inverse_sqrt(learning_rate))


def rmsprop(learning_rate: ArrayLike | Schedule, decay: ArrayLike = 0.9, eps: ArrayLike = 0.0) -> Optimizer:
    """sigma_0 = abs(g_0), sigma^2 <- a sigma^2 + (1 - a) g^2, theta <- theta - eta / sigma g (S77; Hinton 2012)."""
    return descent(directions.gradient(), scales.running_root_mean_square(decay, eps), learning_rate)


def adam(
    learning_rate: ArrayLike | Schedule, b1: ArrayLike = 0.9, b2: ArrayLike = 0.999, eps: ArrayLike = 1e-8
) -> Optimizer:
    """RMSProp with momentum, both debiased (S81; Kingma & Ba 2015)."""
    return descent(directions.average(b1), scales.debiased_root_mean_square(b2, eps), learning_rate)
