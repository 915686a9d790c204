r"""The grid: every named optimizer is one cell, one expression.

| sigma \ m | gradient | heavy ball, Nesterov | average | its sign |
|---|---|---|---|---|
| 1 | `gd`, `sgd`, `polyak` | `momentum`, `nesterov` | | `sign_gd`, `signum`, `lion` |
| root of the mean square of all gradients, with eta / sqrt(t + 1) | `adagrad` | | | |
| root of a running average of squares | `rmsprop` | `rmsprop(momentum=)` | `adam`, `nadam` | |
| the same, divided by r_t | | | `radam` | |
| its running maximum | | | `amsgrad` | |
| between two converging bounds | | | `adabound`, `amsbound` | |
| spread around m, decayed maximum, bounded changes | | | `adabelief`, `adamax`, `yogi` | |
| the norm of the gradient | `normalized_gd` | | | |

The rows below it, in which sigma is an operator on matrices, are in `gdlab.optimizers.of_matrices`.  Around it:
`adamw`, `sgdw` (weight decay), and `gdlab.lookahead`, `gdlab.swats`.

Rates may be numbers, arrays or schedules.  Where sources differ, `source` names whose formula it is; the first one is
the default.  A source stands for a formula, not for its default numbers, which each docstring gives.
"""

from jax.typing import ArrayLike

from gdlab import directions, scales, schedules
from gdlab.arguments import real
from gdlab.base import LossSchedule
from gdlab.equation import Optimizer, descent
from gdlab.ground.checks import choice, switch
from gdlab.optimizers.wrappers import (
    momentum_on_updates,
    trace_on_updates,
    with_independent_weight_decay,
    with_weight_decay,
)
from gdlab.pieces import CLOSED_SHARE, NONNEGATIVE, SHARE
from gdlab.schedules.base import Rate, as_schedule

__all__ = [
    "adabelief",
    "adabound",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "amsbound",
    "amsgrad",
    "gd",
    "lion",
    "momentum",
    "nadam",
    "nesterov",
    "normalized_gd",
    "polyak",
    "radam",
    "rmsprop",
    "sgd",
    "sgdw",
    "sign_gd",
    "signum",
    "yogi",
]

from_zero = {"start": 0.0}


def gd(learning_rate: Rate | LossSchedule) -> Optimizer:
    """theta <- theta - eta g (S3).

    >>> optimizer = gd(0.1)
    >>> update, _ = optimizer.update(2.0, optimizer.init(1.0))
    >>> round(float(update), 6)
    -0.2
    """
    return descent(directions.Gradient(), scales.Unit(), learning_rate)


sgd = gd  # the same rule on the gradient of a mini-batch


def polyak(
    max_rate: ArrayLike = 1.0, *, lowest: ArrayLike = 0.0, scaling: Rate = 1.0, eps: ArrayLike = 0.0
) -> Optimizer:
    """Descent with eta = scaling min(max_rate, (loss - lowest) / norm(g)^2); needs `value=` (Polyak 1969).

    >>> optimizer = polyak()
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0), value=1.0)[0]), 6)
    -0.5
    """
    return gd(schedules.PolyakStep(max_rate, lowest=lowest, scaling=scaling, eps=eps))


def momentum(learning_rate: Rate | LossSchedule, decay: ArrayLike = 0.9, *, source: str = "lecture") -> Optimizer:
    """v <- lambda v + eta g, theta <- theta - v: the rate inside the buffer (S73; Polyak 1964).

    Sources: "lecture", "keras"; "torch", "optax" have the rate outside, the same for a constant rate only.

    >>> optimizer = momentum(0.1)
    >>> _, state = optimizer.update(1.0, optimizer.init(0.0))
    >>> round(float(optimizer.update(1.0, state)[0]), 6)
    -0.19
    """
    inside, outside = directions.HeavyBall(decay), directions.Trace(decay)
    m = _of(source, lecture=inside, keras=inside, torch=outside, optax=outside)
    return descent(m, scales.Unit(), learning_rate)


def nesterov(learning_rate: Rate | LossSchedule, decay: ArrayLike = 0.9, *, source: str = "lecture") -> Optimizer:
    """v <- lambda v + eta g, theta <- theta - lambda v - eta g, in the looked-ahead parameters (S96; Nesterov 1983).

    Sources: "lecture", "keras"; "torch", "optax" have the rate outside, the same for a constant rate only.

    >>> optimizer = nesterov(0.1)
    >>> _, state = optimizer.update(1.0, optimizer.init(0.0))
    >>> round(float(optimizer.update(1.0, state)[0]), 6)
    -0.271
    """
    inside, outside = directions.Nesterov(decay), directions.NesterovTrace(decay)
    m = _of(source, lecture=inside, keras=inside, torch=outside, optax=outside)
    return descent(m, scales.Unit(), learning_rate)


def adagrad(learning_rate: Rate, *, eps: ArrayLike = 0.0, source: str = "lecture") -> Optimizer:
    """theta <- theta - eta / sqrt(sum of all g^2) g, in the form of S19 (equal to S20; Duchi et al. 2011).

    Sources: "lecture"; "paper", "torch" (S20's form; torch has eps 1e-10); "optax", "keras" (the sum starts at .1, eps
    is under the root; they have eps 1e-7).  Decaying rates of torch's: `schedules.InverseTime(rate, lr_decay)`.

    >>> optimizer = adagrad(0.1)
    >>> _, state = optimizer.update(1.0, optimizer.init(0.0))
    >>> round(float(optimizer.update(1.0, state)[0]), 6)
    -0.070711
    """
    g, sums, learning_rate = directions.Gradient(), scales.RootSumSquare(eps), as_schedule(learning_rate)
    if source == "lecture":
        return descent(g, scales.RootMeanSquare(eps), schedules.InverseSqrt(learning_rate))
    tenth = scales.RootSumSquare(start=0.1**0.5, eps_root=eps)
    return descent(g, _of(source, lecture=None, paper=sums, torch=sums, optax=tenth, keras=tenth), learning_rate)


def rmsprop(
    learning_rate: Rate | LossSchedule,
    decay: ArrayLike = 0.9,
    eps: ArrayLike = 0.0,
    *,
    momentum: ArrayLike | None = None,
    centered: bool = False,
    source: str = "lecture",
) -> Optimizer:
    """sigma_0 = abs(g_0), sigma^2 <- a sigma^2 + (1 - a) g^2, theta <- theta - eta / sigma g (S77; Hinton 2012).

    Sources: "lecture"; "torch" (sigma from zero, eps outside the root; it has decay .99, eps 1e-8); "optax" (from zero,
    eps under the root, 1e-8); "keras" (likewise, 1e-7).

    Args:
        learning_rate: eta.
        decay: a in [0, 1].
        eps: >= 0.
        momentum: None, or how much of the movement is kept.  In the lectures a heavy ball of raw gradients (S83); in
            the other sources momentum on the moves g / sigma, with the rate inside but for torch.
        centered: sigma as the spread around the running mean, from zero in each source.
        source: whose formula.

    >>> optimizer = rmsprop(0.1)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -0.1
    """
    eps = real("eps", eps, NONNEGATIVE)
    under, over = {"eps_root": eps}, {"eps": eps}
    where = _of(source, lecture=over, torch=over, optax=under, keras=under)
    started = {} if source == "lecture" else from_zero
    sigma = (
        scales.Centered(decay, **where)
        if switch("centered", centered)
        else scales.RunningRootMeanSquare(decay, **where, **started)
    )
    if momentum is None:
        return descent(directions.Gradient(), sigma, learning_rate)
    momentum = real("momentum", momentum, CLOSED_SHARE)
    if source == "lecture":
        return descent(directions.HeavyBall(momentum), sigma, learning_rate)
    moves = descent(directions.Gradient(), sigma, learning_rate)
    return trace_on_updates(moves, momentum) if source == "torch" else momentum_on_updates(moves, momentum)


def adam(
    learning_rate: Rate | LossSchedule,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    *,
    source: str = "lecture",
) -> Optimizer:
    """RMSProp with momentum, both debiased (S81; Kingma & Ba 2015).

    Sources: "lecture", "paper", "torch", "optax"; "keras" adds eps (1e-7) before sigma is debiased.

    >>> optimizer = adam(0.1)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -0.1
    """
    b1, b2 = decays(b1, b2)
    sigma = scales.BiasCorrectedRootMeanSquare(b2, eps)
    early = scales.BiasCorrected(scales.RunningRootMeanSquare(b2, eps, **from_zero), b2)
    sigma = _of(source, lecture=sigma, paper=sigma, torch=sigma, optax=sigma, keras=early)
    return descent(directions.BiasCorrectedEma(b1), sigma, learning_rate)


def amsgrad(
    learning_rate: Rate | LossSchedule,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    *,
    source: str = "lecture",
) -> Optimizer:
    """Adam whose sigma is the peak of all so far (S90; Reddi et al. 2018).

    Sources: "lecture", "paper" (nothing is debiased); "torch" (the peak, then debiased); "keras" (eps before that);
    "optax" (the peak of the debiased).

    >>> optimizer = amsgrad(0.1)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -0.316228
    """
    b1, b2 = decays(b1, b2)
    m, raw_m = directions.BiasCorrectedEma(b1), directions.Ema(b1)
    sigma = scales.BiasCorrectedRootMeanSquare(b2, eps)
    raw = scales.RunningRootMeanSquare(b2, **from_zero)
    raw_eps = scales.RunningRootMeanSquare(b2, eps, **from_zero)
    return _of(
        source,
        lecture=descent(raw_m, scales.RunningMax(raw_eps), learning_rate),
        paper=descent(raw_m, scales.RunningMax(raw_eps), learning_rate),
        torch=descent(m, scales.BiasCorrected(scales.RunningMax(raw), b2, eps), learning_rate),
        keras=descent(m, scales.BiasCorrected(scales.RunningMax(raw_eps), b2), learning_rate),
        optax=descent(m, scales.RunningMax(sigma), learning_rate),
    )


def adabound(
    learning_rate: Rate,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    *,
    final_rate: ArrayLike = 0.1,
    gamma: ArrayLike = 1e-3,
    source: str = "lecture",
) -> Optimizer:
    """Adam whose rate eta / sigma is clipped between bounds that close in on `final_rate` (S91; Luo et al. 2019).

    Sources: "lecture" (both debiased); "paper" (nothing debiased, no eps, rate and bounds over sqrt(t + 1)); "code"
    (the authors': debiased, then the raw average; the final rate follows the schedule).  Extras: see `scales.Bounded`.

    Args:
        learning_rate: eta, a rate or a schedule.
        b1, b2: decays in [0, 1).
        eps: >= 0.
        final_rate: what the bounds close in upon, >= 0.
        gamma: how fast, > 0; 1 - b2 in the paper.
        source: whose formula.

    >>> optimizer = adabound(0.1, final_rate=0.5, gamma=1e9)  # the bounds have met
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -1.0
    """
    b1, b2 = decays(b1, b2)
    final_rate = real("final_rate", final_rate, NONNEGATIVE)
    raw = scales.RunningRootMeanSquare(b2, eps, **from_zero)
    bare = scales.RunningRootMeanSquare(b2, **from_zero)
    whole = scales.BiasCorrectedRootMeanSquare(b2, eps)
    return _bounded_adam(learning_rate, b1, b2, whole, bare, raw, final_rate, gamma, source)


def amsbound(
    learning_rate: Rate,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    *,
    final_rate: ArrayLike = 0.1,
    gamma: ArrayLike = 1e-3,
    source: str = "lecture",
) -> Optimizer:
    """AdaBound with AMSGrad's peak in the place of sigma (Luo et al. 2019); arguments and sources as `adabound`.

    >>> optimizer = amsbound(0.1, final_rate=0.5, gamma=1e9)  # the bounds have met
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -1.0
    """
    b1, b2 = decays(b1, b2)
    final_rate = real("final_rate", final_rate, NONNEGATIVE)
    raw = scales.RunningMax(scales.RunningRootMeanSquare(b2, eps, **from_zero))
    bare = scales.RunningMax(scales.RunningRootMeanSquare(b2, **from_zero))
    whole = scales.RunningMax(scales.BiasCorrectedRootMeanSquare(b2, eps))
    return _bounded_adam(learning_rate, b1, b2, whole, bare, raw, final_rate, gamma, source)


def _bounded_adam(rate, b1, b2, whole, bare, raw, final_rate, gamma, source):
    rate = as_schedule(rate)
    m, raw_m, fading = directions.BiasCorrectedEma(b1), directions.Ema(b1), schedules.InverseSqrt
    coded = scales.UndoBiasCorrection(scales.BiasCorrected(raw, b2), b1)
    following = schedules.InProportion(final_rate, rate)
    return _of(
        source,
        lecture=descent(m, scales.Bounded(whole, final_rate, gamma), rate),
        paper=descent(raw_m, scales.Bounded(bare, fading(final_rate), gamma), fading(rate)),
        code=descent(raw_m, scales.Bounded(coded, following, gamma), rate),
    )


def radam(
    learning_rate: Rate | LossSchedule,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    *,
    threshold: ArrayLike = 4.0,
    source: str = "lecture",
) -> Optimizer:
    """Adam whose early steps are r_t times shorter, or those of momentum (S94; Liu et al. 2019).

    How many gradients sigma is worth, rho_t, is `gdlab.numerics.effective_length`.
    Sources: "lecture", "paper", "optax" (eps after debiasing), "torch" (before).  torch and optax have threshold 5.
    Extras: `rho`, `r`.

    >>> optimizer = radam(0.1)  # its first steps are those of momentum
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -0.2
    """
    b1, b2 = decays(b1, b2)
    sigma = scales.BiasCorrectedRootMeanSquare(b2, eps)
    early = scales.BiasCorrected(scales.RunningRootMeanSquare(b2, eps, **from_zero), b2)
    sigma = _of(source, lecture=sigma, paper=sigma, optax=sigma, torch=early)
    return descent(directions.BiasCorrectedEma(b1), scales.Rectified(sigma, b2, threshold), learning_rate)


def nadam(
    learning_rate: Rate | LossSchedule,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    *,
    source: str = "lecture",
) -> Optimizer:
    """Adam with Nesterov's direction (S97; Dozat 2016).

    Sources: "lecture", "optax" (constant b1); "torch", "keras" (b1 grows, slowly in torch, fast in keras).

    >>> optimizer = nadam(0.1)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -0.147368
    """
    b1, b2 = decays(b1, b2)
    constant = directions.NesterovEma(b1)
    slow, fast = directions.NadamScheduled(b1, 4e-3), directions.NadamScheduled(b1, 1.0)
    m = _of(source, lecture=constant, optax=constant, torch=slow, keras=fast)
    return descent(m, scales.BiasCorrectedRootMeanSquare(b2, eps), learning_rate)


def adamax(
    learning_rate: Rate | LossSchedule,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    *,
    source: str = "torch",
) -> Optimizer:
    """Adam with the decayed maximum of abs(g) for sigma (Kingma & Ba 2015, algorithm 2).

    Sources: "torch", "optax" (eps within the maximum), "keras" (behind it), "paper" (no eps).

    >>> optimizer = adamax(0.1)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -0.1
    """
    b1, b2 = decays(b1, b2)
    inside, bare = scales.Adamax(b2, eps), scales.Adamax(b2)
    sigma = _of(source, torch=inside, optax=inside, keras=scales.AddEps(bare, eps), paper=bare)
    return descent(directions.BiasCorrectedEma(b1), sigma, learning_rate)


def adabelief(
    learning_rate: Rate | LossSchedule,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-16,
    eps_root: ArrayLike = 1e-16,
) -> Optimizer:
    """Adam with the spread of gradients around m for sigma (Zhuang et al. 2020; both eps 1e-8 in the paper).

    >>> optimizer = adabelief(0.1)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -0.111111
    """
    b1, b2 = decays(b1, b2)
    sigma = scales.AdaBelief(mean_decay=b1, decay=b2, eps=eps, eps_root=eps_root)
    return descent(directions.BiasCorrectedEma(b1), sigma, learning_rate)


def yogi(
    learning_rate: Rate | LossSchedule, b1: ArrayLike = 0.9, b2: ArrayLike = 0.999, eps: ArrayLike = 1e-3
) -> Optimizer:
    """Adam whose average of squares moves by bounded amounts (Zaheer et al. 2018).

    >>> optimizer = yogi(0.1, eps=0.0)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -0.099988
    """
    b1, b2 = decays(b1, b2)
    return descent(directions.BiasCorrectedEma(b1), scales.Yogi(b2, eps), learning_rate)


def sign_gd(learning_rate: Rate | LossSchedule) -> Optimizer:
    """theta <- theta - eta sign(g).

    >>> optimizer = sign_gd(0.1)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -0.1
    """
    return descent(directions.Sign(directions.Gradient()), scales.Unit(), learning_rate)


def signum(learning_rate: Rate | LossSchedule, decay: ArrayLike = 0.9) -> Optimizer:
    """theta <- theta - eta sign(m), m the running average (Bernstein et al. 2018).

    >>> optimizer = signum(0.1)
    >>> _, state = optimizer.update(2.0, optimizer.init(0.0))
    >>> round(float(optimizer.update(-1.0, state)[0]), 6)
    -0.1
    """
    return descent(directions.Sign(directions.Ema(decay)), scales.Unit(), learning_rate)


def lion(learning_rate: Rate | LossSchedule, b1: ArrayLike = 0.9, b2: ArrayLike = 0.99) -> Optimizer:
    """theta <- theta - eta sign(b1 mu + (1 - b1) g) (Chen et al. 2023); for decay see `with_weight_decay`.

    >>> optimizer = lion(0.1)
    >>> _, state = optimizer.update(2.0, optimizer.init(0.0))
    >>> round(float(optimizer.update(-1.0, state)[0]), 6)
    0.1
    """
    return descent(directions.Sign(directions.LionInterpolation(b1=b1, b2=b2)), scales.Unit(), learning_rate)


def normalized_gd(learning_rate: Rate | LossSchedule, eps: ArrayLike = 0.0) -> Optimizer:
    """theta <- theta - eta g / norm(g): a step of length eta.

    >>> optimizer = normalized_gd(0.1)
    >>> [round(float(u), 6) for u in optimizer.update((3.0, 4.0), optimizer.init((0.0, 0.0)))[0]]
    [-0.06, -0.08]
    """
    return descent(directions.Gradient(), scales.GradientNorm(eps), learning_rate)


def adamw(
    learning_rate: Rate | LossSchedule,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    *,
    weight_decay: Rate = 1e-2,
    source: str = "torch",
) -> Optimizer:
    """Adam with decay beside the gradient (S98; Loshchilov & Hutter 2017); its update needs `params`.

    Sources: "torch", "keras", "optax" (theta shrinks by eta w; their w is .01, .004, .0001), "paper" (by w alone).

    >>> optimizer = adamw(0.1, weight_decay=0.5)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0), 1.0)[0]), 6)
    -0.15
    """
    return _with_decay(adam(learning_rate, b1, b2, eps), weight_decay, source)


def sgdw(
    learning_rate: Rate | LossSchedule, decay: ArrayLike = 0.9, *, weight_decay: Rate = 1e-2, source: str = "torch"
) -> Optimizer:
    """Momentum with decay beside the gradient (S98; Loshchilov & Hutter 2017); sources as `adamw`.

    >>> optimizer = sgdw(0.1, weight_decay=0.5)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0), 1.0)[0]), 6)
    -0.25
    """
    return _with_decay(momentum(learning_rate, decay), weight_decay, source)


def _with_decay(optimizer, weight_decay, source):
    slow, outright = with_weight_decay(optimizer, weight_decay), with_independent_weight_decay(optimizer, weight_decay)
    return _of(source, torch=slow, keras=slow, optax=slow, paper=outright)


def decays(b1, b2):
    """Both decays, checked under the names that their caller knows them by."""
    return real("b1", b1, SHARE), real("b2", b2, SHARE)


def _of(source, **choices):
    return choice("source", source, choices)
