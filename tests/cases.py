"""The cases of the tests: every optimizer once, with what the tests need to know of it.

The laws, the faults, the peers and the tests of arguments read these tables.  A new optimizer adds one row to
`OPTIMIZERS`; the ranges of its hyperparameters are read from the fields of its pieces (`gdlab.pieces.ranges`).
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.contrib import reduce_on_plateau

import gdlab

RATE = 0.05
DTYPES = ("float64", "float32", "bfloat16", "float16")
CLIP, SHRINK = optax.clip_by_global_norm(2.0), optax.scale(0.9)


class Case(NamedTuple):
    """One optimizer of the tables."""

    make: Callable[[Any], gdlab.Optimizer]  # of a rate, with hyperparameters small enough that their effect is seen
    bare: Callable[[Any], gdlab.Optimizer] | None = None  # of a rate, with eps = 0: a zero gradient makes no step
    arrives: Callable[[], gdlab.Optimizer] | None = None  # at the rate with which optax's own tests expect it to arrive


OPTIMIZERS = {
    "gd": Case(
        gdlab.gd,
        bare=gdlab.gd,
    ),
    "momentum": Case(
        lambda rate: gdlab.momentum(rate, 0.8),
        bare=gdlab.momentum,
        arrives=lambda: gdlab.momentum(1e-3),
    ),
    "momentum, torch": Case(
        lambda rate: gdlab.momentum(gdlab.schedules.InverseSqrt(rate), 0.8, source="torch"),
    ),
    "nesterov": Case(
        lambda rate: gdlab.nesterov(rate, 0.8),
        bare=gdlab.nesterov,
    ),
    "adagrad": Case(
        lambda rate: gdlab.adagrad(rate, eps=1e-3),
        bare=gdlab.adagrad,
        arrives=lambda: gdlab.adagrad(1.0),
    ),
    "adagrad, torch": Case(
        lambda rate: gdlab.adagrad(rate, eps=1e-3, source="torch"),
        bare=lambda rate: gdlab.adagrad(rate, source="torch"),
    ),
    "rmsprop": Case(
        lambda rate: gdlab.rmsprop(rate, 0.8, eps=1e-3),
        bare=gdlab.rmsprop,
        arrives=lambda: gdlab.rmsprop(5e-3),
    ),
    "rmsprop, momentum": Case(
        lambda rate: gdlab.rmsprop(rate, 0.8, eps=1e-3, momentum=0.7),
        bare=lambda rate: gdlab.rmsprop(rate, momentum=0.9),
    ),
    "rmsprop, torch, all": Case(
        lambda rate: gdlab.rmsprop(rate, 0.8, 1e-1, momentum=0.7, centered=True, source="torch"),
        bare=lambda rate: gdlab.rmsprop(rate, momentum=0.9, centered=True, source="torch"),
    ),
    "windowed": Case(
        lambda rate: gdlab.descent(gdlab.directions.Gradient(), gdlab.scales.WindowedRootMeanSquare(3, 1e-2), rate),
        bare=lambda rate: gdlab.descent(gdlab.directions.Gradient(), gdlab.scales.WindowedRootMeanSquare(10), rate),
    ),
    "adam": Case(
        lambda rate: gdlab.adam(rate, 0.8, 0.9, 1e-3),
        bare=lambda rate: gdlab.adam(rate, eps=0.0),
        arrives=lambda: gdlab.adam(1e-1),
    ),
    "adam, keras": Case(
        lambda rate: gdlab.adam(rate, 0.8, 0.9, 1e-3, source="keras"),
        bare=lambda rate: gdlab.adam(rate, eps=0.0, source="keras"),
    ),
    "amsgrad": Case(
        lambda rate: gdlab.amsgrad(rate, 0.8, 0.9, 1e-2),
        bare=lambda rate: gdlab.amsgrad(rate, eps=0.0),
    ),
    "amsgrad, optax": Case(
        lambda rate: gdlab.amsgrad(rate, 0.8, 0.9, 1e-3, source="optax"),
        bare=lambda rate: gdlab.amsgrad(rate, eps=0.0, source="optax"),
        arrives=lambda: gdlab.amsgrad(1e-1, source="optax"),
    ),
    "adabound": Case(
        lambda rate: gdlab.adabound(rate, 0.8, 0.9, 1e-3, final_rate=0.02, gamma=0.9),
        bare=lambda rate: gdlab.adabound(rate, eps=0.0),
        arrives=lambda: gdlab.adabound(1e-2, final_rate=1e-3),
    ),
    "amsbound, code": Case(
        lambda rate: gdlab.amsbound(rate, 0.8, 0.9, 1e-3, final_rate=0.02, gamma=0.9, source="code"),
        bare=lambda rate: gdlab.amsbound(rate, eps=0.0, source="code"),
    ),
    "radam": Case(
        lambda rate: gdlab.radam(rate, 0.8, 0.9, 1e-3),
        bare=lambda rate: gdlab.radam(rate, eps=0.0),
        arrives=lambda: gdlab.radam(5e-3),
    ),
    "nadam": Case(
        lambda rate: gdlab.nadam(rate, 0.8, 0.9, 1e-3),
        bare=lambda rate: gdlab.nadam(rate, eps=0.0),
        arrives=lambda: gdlab.nadam(1e-2),
    ),
    "nadam, torch": Case(
        lambda rate: gdlab.nadam(rate, 0.8, 0.9, 1e-3, source="torch"),
    ),
    "adamax": Case(
        lambda rate: gdlab.adamax(rate, 0.8, 0.9, 1e-3),
        bare=lambda rate: gdlab.adamax(rate, eps=0.0),
        arrives=lambda: gdlab.adamax(1e-1),
    ),
    "adabelief": Case(
        lambda rate: gdlab.adabelief(rate, 0.8, 0.9, 1e-3, 1e-4),
        bare=lambda rate: gdlab.adabelief(rate, eps=0.0, eps_root=0.0),
        arrives=lambda: gdlab.adabelief(1e-2),
    ),
    "yogi": Case(
        lambda rate: gdlab.yogi(rate, 0.8, 0.9, 1e-3),
        bare=lambda rate: gdlab.yogi(rate, eps=0.0),
        arrives=lambda: gdlab.yogi(1e-1),
    ),
    "sign_gd": Case(
        gdlab.sign_gd,
        bare=gdlab.sign_gd,
    ),
    "signum": Case(
        lambda rate: gdlab.signum(rate, 0.8),
        bare=gdlab.signum,
    ),
    "lion": Case(
        lambda rate: gdlab.lion(rate, 0.7, 0.8),
    ),
    "normalized_gd": Case(
        lambda rate: gdlab.normalized_gd(rate, 1e-2),
        bare=gdlab.normalized_gd,
    ),
    "muon": Case(
        lambda rate: gdlab.muon(rate, 0.8, 1e-3, b1=0.7, b2=0.9),
        bare=lambda rate: gdlab.muon(rate, eps=0.0),
    ),
    "muon, exact": Case(
        lambda rate: gdlab.muon(rate, 0.8, 1e-3, b1=0.7, b2=0.9, source="exact", shape_factor="rms"),
        bare=lambda rate: gdlab.muon(rate, eps=0.0, source="exact"),
    ),
    "muon, decayed": Case(
        lambda rate: gdlab.with_weight_decay(gdlab.muon(rate, 0.8, 1e-3), 0.1),
    ),
    "scion": Case(
        lambda rate: gdlab.scion(rate, 0.8, 1e-3),
        bare=lambda rate: gdlab.scion(rate, eps=0.0),
    ),
    "shampoo": Case(
        lambda rate: gdlab.shampoo(rate, 0.8, 0.9, 1e-3),
        bare=lambda rate: gdlab.shampoo(rate, eps=0.0),
    ),
    "shampoo, paper": Case(
        lambda rate: gdlab.shampoo(rate, eps=1e-3, source="paper"),
        bare=lambda rate: gdlab.shampoo(rate, eps=0.0, source="paper"),
    ),
    "soap": Case(
        lambda rate: gdlab.soap(rate, 0.8, 0.9, 1e-3, basis_decay=0.7, every=2),
        bare=lambda rate: gdlab.soap(rate, eps=0.0, every=3),
    ),
    "kron": Case(
        lambda rate: gdlab.kron(rate, 0.8, fit_rate=0.2, every=2),
        bare=gdlab.kron,
    ),
    "soap, momentum": Case(
        lambda rate: gdlab.trace_on_updates(gdlab.soap(rate, 0.8, 0.9, 1e-3, every=2), 0.5),
    ),
    "ademamix": Case(
        lambda rate: gdlab.ademamix(rate, 0.8, 0.9, 0.95, 2.0, 1e-3),
        bare=lambda rate: gdlab.ademamix(rate, eps=0.0),
        arrives=lambda: gdlab.ademamix(1e-2, b3=0.99),
    ),
    "adan": Case(
        lambda rate: gdlab.adan(rate, 0.8, 0.7, 0.9, 1e-3, eps_root=1e-4),
        bare=lambda rate: gdlab.adan(rate, eps=0.0, eps_root=0.0),
        arrives=lambda: gdlab.adan(1e-1),
    ),
    "adopt": Case(
        lambda rate: gdlab.adopt(rate, 0.8, 0.9, 1e-3),
        bare=gdlab.adopt,
        arrives=lambda: gdlab.adopt(1e-2, 0.9, 0.99),
    ),
    "lamb": Case(
        lambda rate: gdlab.lamb(rate, 0.8, 0.9, 1e-3, weight_decay=0.1),
    ),
    "lars": Case(
        lambda rate: gdlab.lars(rate, 0.8, weight_decay=0.1, coefficient=0.5, eps=1e-3),
    ),
    "adafactor": Case(
        lambda rate: gdlab.adafactor(rate, 0.7, 1e-3, threshold=0.5, smallest=1),
        bare=lambda rate: gdlab.adafactor(rate, eps=0.0),
    ),
    "prodigy": Case(
        lambda rate: gdlab.prodigy(20 * rate, 0.8, 0.9, 1e-3, start=1e-2),
        bare=lambda rate: gdlab.prodigy(1.0, eps=0.0),
        arrives=lambda: gdlab.prodigy(1e-1),
    ),
    "cautious": Case(
        lambda rate: gdlab.cautious(gdlab.momentum(rate, 0.8)),
        bare=lambda rate: gdlab.cautious(gdlab.adam(rate, eps=0.0)),
        arrives=lambda: gdlab.cautious(gdlab.adam(1e-1)),
    ),
    "cautious muon": Case(
        lambda rate: gdlab.cautious(gdlab.muon(rate, 0.8, 1e-3)),
    ),
    "mars": Case(
        lambda rate: gdlab.mars(gdlab.adam(rate, 0.8, 0.9, 1e-3), 0.1, 0.8),
        bare=lambda rate: gdlab.mars(gdlab.adam(rate, eps=0.0)),
        arrives=lambda: gdlab.mars(gdlab.adam(1e-1)),
    ),
    "hyperball": Case(
        lambda rate: gdlab.hyperball(gdlab.muon(rate, 0.8, 1e-3)),
    ),
    "schedule_free": Case(
        lambda rate: gdlab.schedule_free(gdlab.gd(rate), 0.8, 1.5),
        bare=lambda rate: gdlab.schedule_free(gdlab.gd(rate)),
    ),
    "adamw": Case(
        lambda rate: gdlab.adamw(rate, 0.8, 0.9, 1e-3, weight_decay=0.1),
        arrives=lambda: gdlab.adamw(1e-1, weight_decay=1e-4),
    ),
    "sgdw, paper": Case(
        lambda rate: gdlab.sgdw(rate, 0.8, weight_decay=0.1, source="paper"),
    ),
    "lookahead": Case(
        lambda rate: gdlab.lookahead(gdlab.adam(rate, 0.8, 0.9, 1e-3), 3, 0.4),
        bare=lambda rate: gdlab.lookahead(gdlab.adam(rate, eps=0.0)),
        arrives=lambda: gdlab.lookahead(gdlab.adam(1e-1)),
    ),
    "swats": Case(
        lambda rate: gdlab.swats(rate, 0.8, 0.9, 1e-3, tolerance=0.05, min_steps=3),
        bare=lambda rate: gdlab.swats(rate, eps=0.0, tolerance=1e-3),
    ),
    "swats by leaf": Case(
        lambda rate: gdlab.swats(rate, 0.8, 0.9, 1e-3, tolerance=0.05, min_steps=3, scope="leaf"),
    ),
    "chain": Case(
        lambda rate: gdlab.chain(CLIP, gdlab.adam(rate, 0.8, 0.9, 1e-3), SHRINK),
    ),
    "polyak": Case(
        lambda rate: gdlab.polyak(2 * rate, lowest=-1.0),
    ),
    "plateau": Case(
        lambda rate: gdlab.gd(gdlab.schedules.ReduceOnPlateau(rate, factor=0.5, patience=1, rtol=0.3, window=2)),
        bare=lambda rate: gdlab.gd(gdlab.schedules.ReduceOnPlateau(rate)),
    ),
}

# One optimizer for each type of state: the laws on these are run by `lab.py test --fast`.
FAST = (
    "gd",
    "momentum, torch",
    "rmsprop",
    "adam",
    "amsgrad, optax",
    "radam",
    "nadam, torch",
    "swats by leaf",
    "lookahead",
    "plateau",
)


def every(what: str = "make") -> list:
    """The parameters of a law: what is asked for of every case that has it; those not in `FAST` are marked as full."""
    return list(_parameters(what))


def _parameters(what: str) -> Iterator:
    for name, case in OPTIMIZERS.items():
        if getattr(case, what) is not None:
            yield pytest.param(getattr(case, what), id=name, marks=() if name in FAST else pytest.mark.full)


def start() -> dict[str, Any]:
    """Where the laws begin."""
    return {
        "w": jnp.array([1.0, -2.0, 0.5]),
        "b": jnp.array(0.3),
        "u": jnp.array([[1.0, 0.5, -0.3], [-0.4, 2.0, 0.6]]),
    }


# ------------------------------------------------------------------------------------------------ peers

ETA, LAM, ALPHA, B1, B2, EPS = 0.02, 0.8, 0.9, 0.9, 0.99, 1e-8
inject = optax.inject_hyperparams
by_rate = optax.scale_by_learning_rate
inverse_sqrt = gdlab.schedules.InverseSqrt(ETA)
directions, scales = gdlab.directions, gdlab.scales


def decayed(t):
    return ETA / jnp.sqrt(t + 1.0)


def bc(decay, t):
    return 1 - decay ** (t + 1.0)


# the rule: (ours, optax's)
PEERS = {
    "gd": (gdlab.gd(ETA), optax.sgd(ETA)),
    "gd, decayed": (gdlab.gd(inverse_sqrt), optax.sgd(decayed)),
    "gd by optax's schedule": (gdlab.gd(decayed), optax.sgd(decayed)),
    "momentum": (gdlab.momentum(ETA, LAM), optax.sgd(ETA, LAM)),
    "momentum, decayed": (gdlab.momentum(inverse_sqrt, LAM), optax.chain(by_rate(decayed), optax.trace(LAM))),
    "nesterov": (gdlab.nesterov(ETA, LAM), optax.sgd(ETA, LAM, nesterov=True)),
    "nesterov, decayed": (
        gdlab.nesterov(inverse_sqrt, LAM),
        optax.chain(by_rate(decayed), optax.trace(LAM, nesterov=True)),
    ),
    "adagrad": (gdlab.adagrad(ETA), optax.adagrad(ETA, initial_accumulator_value=0.0, eps=0.0)),
    "rmsprop": (
        gdlab.rmsprop(ETA, ALPHA),
        inject(optax.rmsprop)(ETA, decay=lambda t: jnp.where(t == 0, 0.0, ALPHA), eps=0.0),
    ),
    "adam": (gdlab.adam(ETA, B1, B2, EPS), optax.adam(ETA, B1, B2, EPS)),
    "momentum, decayed, rate outside": (gdlab.momentum(inverse_sqrt, LAM, source="optax"), optax.sgd(decayed, LAM)),
    "nesterov, decayed, rate outside": (
        gdlab.nesterov(inverse_sqrt, LAM, source="optax"),
        optax.sgd(decayed, LAM, nesterov=True),
    ),
    "adagrad's sum": (
        gdlab.adagrad(ETA, source="paper"),
        optax.adagrad(ETA, initial_accumulator_value=0.0, eps=0.0),
    ),
    "adagrad as in optax": (gdlab.adagrad(ETA, eps=1e-7, source="optax"), optax.adagrad(ETA)),
    "root mean square, constant rate": (
        gdlab.descent(directions.Gradient(), scales.RootMeanSquare(), ETA),
        optax.chain(optax.scale_by_rss(0.0, 0.0), by_rate(lambda t: ETA * jnp.sqrt(t + 1.0))),
    ),
    "rmsprop as in optax": (gdlab.rmsprop(ETA, ALPHA, 1e-8, source="optax"), optax.rmsprop(ETA, ALPHA)),
    "rmsprop as in optax, momentum": (
        gdlab.rmsprop(inverse_sqrt, ALPHA, 1e-8, momentum=LAM, source="optax"),
        optax.rmsprop(decayed, ALPHA, momentum=LAM),
    ),
    "rmsprop as in optax, centred": (
        gdlab.rmsprop(ETA, ALPHA, 1e-8, centered=True, source="optax"),
        optax.rmsprop(ETA, ALPHA, centered=True),
    ),
    "rmsprop, then momentum": (
        gdlab.momentum_on_updates(gdlab.rmsprop(inverse_sqrt, ALPHA), LAM),
        inject(optax.rmsprop)(decayed, decay=lambda t: jnp.where(t == 0, 0.0, ALPHA), eps=0.0, momentum=LAM),
    ),
    "general form": (
        gdlab.descent(directions.BiasCorrectedEma(LAM), scales.BiasCorrectedRootMeanSquare(ALPHA), inverse_sqrt),
        optax.adam(decayed, LAM, ALPHA, 0.0),
    ),
    "adagrad's sigma, momentum's m": (
        gdlab.descent(directions.Ema(LAM), scales.RootMeanSquare(), inverse_sqrt),
        inject(optax.adam)(
            lambda t: ETA / jnp.sqrt(t + 1.0) * bc(LAM, t) / jnp.sqrt(1 - (t / (t + 1.0)) ** (t + 1.0)),
            b1=LAM,
            b2=lambda t: t / (t + 1.0),
            eps=0.0,
        ),
    ),
    "adam, eps in the root": (
        gdlab.descent(directions.BiasCorrectedEma(B1), scales.BiasCorrectedRootMeanSquare(B2, eps_root=1e-3), ETA),
        optax.adam(ETA, B1, B2, eps=0.0, eps_root=1e-3),
    ),
    "adam as in keras": (
        gdlab.adam(ETA, B1, B2, 1e-3, source="keras"),
        inject(optax.adam)(ETA, B1, B2, eps=lambda t: 1e-3 / jnp.sqrt(bc(B2, t))),
    ),
    "adam, not debiased": (
        gdlab.descent(directions.Ema(B1), scales.RunningRootMeanSquare(B2, 1e-3, start=0.0), ETA),
        inject(optax.adam)(
            lambda t: ETA * bc(B1, t) / jnp.sqrt(bc(B2, t)), B1, B2, eps=lambda t: 1e-3 / jnp.sqrt(bc(B2, t))
        ),
    ),
    "amsgrad": (
        gdlab.amsgrad(ETA, B1, B2, EPS),
        optax.amsgrad(ETA, B1, B2, EPS, bias_correction_mu=False, bias_correction_nu=False),
    ),
    "amsgrad as in torch": (
        gdlab.amsgrad(ETA, B1, B2, 1e-3, source="torch"),
        inject(optax.amsgrad, static_args=("bias_correction_mu", "bias_correction_nu"))(
            lambda t: ETA * jnp.sqrt(bc(B2, t)) / bc(B1, t),
            B1,
            B2,
            eps=lambda t: 1e-3 * jnp.sqrt(bc(B2, t)),
            bias_correction_mu=False,
            bias_correction_nu=False,
        ),
    ),
    "amsgrad as in optax": (gdlab.amsgrad(ETA, B1, B2, EPS, source="optax"), optax.amsgrad(ETA, B1, B2, EPS)),
    "nadam": (gdlab.nadam(ETA, B1, B2, EPS), optax.nadam(ETA, B1, B2, EPS)),
    "radam": (gdlab.radam(ETA, B1, B2, EPS), optax.radam(ETA, B1, B2, EPS, threshold=np.nextafter(4.0, 5.0))),
    "radam as in optax": (gdlab.radam(ETA, B1, B2, EPS, threshold=5.0), optax.radam(ETA, B1, B2, EPS)),
    "adamax": (gdlab.adamax(ETA, B1, B2, EPS), optax.adamax(ETA, B1, B2, EPS)),
    "adabelief": (gdlab.adabelief(ETA, B1, B2, EPS, EPS), optax.adabelief(ETA, B1, B2, EPS, EPS)),
    "adamw": (gdlab.adamw(ETA, B1, B2, EPS, weight_decay=0.1), optax.adamw(ETA, B1, B2, EPS, weight_decay=0.1)),
    "adamw, decoupled in truth": (
        gdlab.adamw(inverse_sqrt, B1, B2, EPS, weight_decay=0.01, source="paper"),
        optax.chain(optax.scale_by_adam(B1, B2, EPS), by_rate(decayed), optax.add_decayed_weights(-0.01)),
    ),
    "sgdw": (
        gdlab.sgdw(ETA, LAM, weight_decay=0.1),
        optax.chain(by_rate(ETA), optax.trace(LAM), optax.add_decayed_weights(-ETA * 0.1)),
    ),
    "lion": (gdlab.lion(ETA, B1, B2), optax.lion(ETA, B1, B2, weight_decay=0.0)),
    "signum": (gdlab.signum(ETA, B1), optax.signum(ETA, B1)),
    "sign_gd": (gdlab.sign_gd(ETA), optax.sign_sgd(ETA)),
    "normalized_gd": (gdlab.normalized_gd(ETA, 1e-6), optax.chain(optax.normalize_by_update_norm(), by_rate(ETA))),
    "chain": (
        gdlab.chain(optax.clip(0.5), gdlab.adam(ETA, B1, B2, EPS), optax.scale(0.7)),
        optax.chain(optax.clip(0.5), optax.adam(ETA, B1, B2, EPS), optax.scale(0.7)),
    ),
    "polyak": (gdlab.polyak(2.0, lowest=-1.0), optax.polyak_sgd(2.0, f_min=-1.0)),
    "reduce_on_plateau": (
        gdlab.gd(
            gdlab.schedules.ReduceOnPlateau(
                ETA, factor=0.5, patience=3, rtol=0.0, atol=0.1, cooldown=2, window=4, min_factor=1e-3
            )
        ),
        optax.chain(
            optax.sgd(ETA), reduce_on_plateau(0.5, 3, 0.0, 0.1, cooldown=2, accumulation_size=4, min_scale=1e-3)
        ),
    ),
}


class Tensor:
    """What another library calls an array: it can become one of NumPy."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)
