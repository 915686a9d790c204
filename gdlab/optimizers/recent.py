"""Optimizers since Adam's relatives: cells of the grid, and what stands around one.

| optimizer | sigma | m | around it |
|---|---|---|---|
| `ademamix` | Adam's | a fast average and alpha times a slow one | |
| `adan` | of g + (1 - b2) times its change | the average of g, and of its change | |
| `adopt` | Adam's of the steps before | the gradient | an average of the steps m / sigma |
| `lamb` | Adam's | Adam's | weight decay, then the trust ratio |
| `lars` | 1 | the gradient | weight decay, then the trust ratio, then momentum |
| `adafactor` | of means over rows and over columns | the gradient | clipped steps, relative to the parameters |
"""

from jax.typing import ArrayLike

from gdlab import directions, scales
from gdlab.arguments import real
from gdlab.base import LossSchedule
from gdlab.equation import Optimizer, descent
from gdlab.optimizers.named import adam, decays, gd
from gdlab.optimizers.rescaled import with_clipped_rms, with_parameter_scale, with_trust_ratio
from gdlab.optimizers.wrappers import ema_on_updates, momentum_on_updates, with_weight_decay
from gdlab.pieces import SHARE
from gdlab.schedules.base import Rate

__all__ = ["adafactor", "adan", "ademamix", "adopt", "lamb", "lars"]


def ademamix(
    learning_rate: Rate | LossSchedule,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    b3: ArrayLike = 0.9999,
    alpha: Rate = 5.0,
    eps: ArrayLike = 1e-8,
) -> Optimizer:
    """Adam with m = mu / (1 - b1^t) + alpha mu_slow (Pagliardini et al. 2024); for decay see `with_weight_decay`.

    Args:
        learning_rate: eta.
        b1, b2: Adam's decays, in [0, 1).
        b3: of the slow average, in [0, 1).
        alpha: its weight >= 0, a number or a schedule.
        eps: >= 0.

    >>> optimizer = ademamix(0.1)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -0.10005
    """
    b1, b2 = decays(b1, b2)
    return descent(directions.MixedEma(b1, b3, alpha), scales.BiasCorrectedRootMeanSquare(b2, eps), learning_rate)


def adan(
    learning_rate: Rate | LossSchedule,
    b1: ArrayLike = 0.98,
    b2: ArrayLike = 0.92,
    b3: ArrayLike = 0.99,
    eps: ArrayLike = 1e-8,
    *,
    eps_root: ArrayLike = 1e-8,
) -> Optimizer:
    """Adam with Nesterov's look ahead as a change of the gradient (Xie et al. 2022, whose betas are 1 - these).

    Args:
        learning_rate: eta.
        b1, b2, b3: decays of gradients, of their changes and of squares, in [0, 1).
        eps, eps_root: added to the root and under it, >= 0.

    >>> optimizer = adan(0.1)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -0.1
    """
    b1, b2 = decays(b1, b2)
    b3, m = real("b3", b3, SHARE), directions.EmaAndChange(b1, b2)
    return descent(m, scales.RootMeanSquareAhead(b3, b2, eps, eps_root=eps_root), learning_rate)


def adopt(
    learning_rate: Rate | LossSchedule, b1: ArrayLike = 0.9, b2: ArrayLike = 0.9999, eps: ArrayLike = 1e-6
) -> Optimizer:
    """Adam whose sigma does not know the gradient it divides, and whose average is of steps (Taniguchi et al. 2024).

    No entry of a step is above t^(1/4); the first gradient only makes sigma.

    Args:
        learning_rate: eta.
        b1, b2: decays in [0, 1).
        eps: the least sigma, >= 0.

    >>> optimizer = adopt(0.1)
    >>> _, state = optimizer.update(2.0, optimizer.init(0.0))
    >>> round(float(optimizer.update(2.0, state)[0]), 6)
    -0.01
    """
    b1, b2 = decays(b1, b2)
    moves = descent(directions.AfterFirst(directions.Gradient()), scales.PreviousRootMeanSquare(b2, eps), learning_rate)
    return ema_on_updates(moves, b1)


def lamb(
    learning_rate: Rate | LossSchedule,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-6,
    *,
    weight_decay: Rate = 0.0,
) -> Optimizer:
    """Adam with decay, each leaf's step as long as eta norm(theta) (You et al. 2020); its update needs `params`.

    >>> optimizer = lamb(0.1, eps=0.0)
    >>> round(float(optimizer.update(2.0, optimizer.init(3.0), 3.0)[0]), 6)
    -0.3
    """
    return with_trust_ratio(with_weight_decay(adam(learning_rate, b1, b2, eps), weight_decay))


def lars(
    learning_rate: Rate | LossSchedule,
    decay: ArrayLike = 0.9,
    *,
    weight_decay: Rate = 0.0,
    coefficient: ArrayLike = 1e-3,
    eps: ArrayLike = 0.0,
) -> Optimizer:
    """Momentum of steps as long as eta coefficient norm(theta) (You et al. 2017); its update needs `params`.

    >>> optimizer = lars(0.1, coefficient=0.5)
    >>> round(float(optimizer.update(2.0, optimizer.init(3.0), 3.0)[0]), 6)
    -0.15
    """
    relative = with_trust_ratio(with_weight_decay(gd(learning_rate), weight_decay), coefficient, eps)
    return momentum_on_updates(relative, decay)


def adafactor(
    learning_rate: Rate | LossSchedule = 1e-2,
    power: ArrayLike = 0.8,
    eps: ArrayLike = 1e-30,
    *,
    threshold: ArrayLike = 1.0,
    least: ArrayLike = 1e-3,
    smallest: int = 128,
) -> Optimizer:
    """RMSProp that keeps a mean for each row and column, in relative steps (Shazeer & Stern 2018).

    Its update needs `params`.  Momentum: `momentum_on_updates`; decay: `with_independent_weight_decay`.

    Args:
        learning_rate: eta, relative to the root of the mean square of each leaf.
        power: the decay of step t, from 1, is 1 - t^-power, >= 0.
        eps: added to squared gradients, >= 0.
        threshold: of the root of the mean square of a step, > 0.
        least: the least size that a leaf counts as, >= 0.
        smallest: the length from which the two longest axes of a leaf are factored, a whole number >= 1.

    >>> optimizer = adafactor(0.1)
    >>> round(float(optimizer.update(2.0, optimizer.init(3.0), 3.0)[0]), 6)
    -0.3
    """
    moves = descent(directions.Gradient(), scales.FactoredRootMeanSquare(power, eps, smallest), learning_rate)
    return with_parameter_scale(with_clipped_rms(moves, threshold), least)
