"""Pieces: what their hyperparameters are where none is given, those of the papers and of the peers."""

import dataclasses
import inspect
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import gdlab
from gdlab import directions, scales, schedules
from gdlab.optimizers import other_points, prodigy, rescaled, swats, wrappers
from gdlab.scales import matrices

BETAS = {"b1": "b1", "b2": "b2"}
ADAM = {**BETAS, "eps": "eps"}
PEERS = {  # one of optax, and what it calls our hyperparameters
    "adabelief": (optax.adabelief, {**ADAM, "eps_root": "eps_root"}),
    "adafactor": (
        optax.adafactor,
        {"power": "decay_rate", "eps": "eps", "threshold": "clipping_threshold", "smallest": "min_dim_size_to_factor"},
    ),
    "adam": (optax.adam, ADAM),
    "adamax": (optax.adamax, ADAM),
    "adamw": (optax.adamw, ADAM),
    "adan": (optax.adan, {**ADAM, "b3": "b3", "eps_root": "eps_root"}),
    "ademamix": (contrib.ademamix, {**ADAM, "b3": "b3", "alpha": "alpha"}),
    "adopt": (contrib.adopt, ADAM),
    "amsgrad": (optax.amsgrad, ADAM),
    "lamb": (optax.lamb, {**ADAM, "weight_decay": "weight_decay"}),
    "lars": (
        optax.lars,
        {"decay": "momentum", "coefficient": "trust_coefficient", "eps": "eps", "weight_decay": "weight_decay"},
    ),
    "lion": (optax.lion, BETAS),
    "muon": (contrib.muon, {"decay": "beta", "eps": "eps", "b1": "adam_b1", "b2": "adam_b2"}),
    "nadam": (optax.nadam, ADAM),
    "prodigy": (
        contrib.prodigy,
        {"learning_rate": "learning_rate", "eps": "eps", "start": "estim_lr0", "coefficient": "estim_lr_coef"},
    ),
    "radam": (optax.radam, ADAM),
    "rmsprop": (optax.rmsprop, {"decay": "decay"}),
    "schedule_free": (contrib.schedule_free, {"b1": "b1", "power": "weight_lr_power"}),
    "signum": (optax.signum, {"decay": "beta"}),
    "yogi": (optax.yogi, ADAM),
}
PAPERS = {  # those without a peer, or another number than there
    "adabound": {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "final_rate": 0.1, "gamma": 1e-3},  # Luo et al. 2019
    "adafactor": {"learning_rate": 1e-2, "least": 1e-3},  # Shazeer & Stern 2018
    "adagrad": {"eps": 0.0},  # a gradient of zero is not divided
    "adamw": {"weight_decay": 1e-2},  # torch
    "amsbound": {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "final_rate": 0.1, "gamma": 1e-3},
    "cautious": {"least": 1e-3},  # Liang et al. 2024
    "ema_on_updates": {"decay": 0.9},
    "kron": {"b1": 0.9, "fit_rate": 0.1, "every": 1, "seed": 0},  # Li 2018
    "lookahead": {"period": 5, "slow_rate": 0.5},  # Zhang et al. 2019
    "mars": {"gamma": 0.025, "b1": 0.95},  # Yuan et al. 2024
    "momentum": {"decay": 0.9},  # S73
    "momentum_on_updates": {"decay": 0.9},
    "nesterov": {"decay": 0.9},
    "normalized_gd": {"eps": 0.0},
    "polyak": {"max_rate": 1.0, "lowest": 0.0, "scaling": 1.0, "eps": 0.0},
    "prodigy": {"b1": 0.9, "b2": 0.999},  # Mishchenko & Defazio 2024
    "radam": {"threshold": 4.0},  # Liu et al. 2020
    "rmsprop": {"eps": 0.0},
    "sam": {"radius": 0.05},  # Foret et al. 2021
    "scion": {"decay": 0.9, "eps": 1e-7},  # Pethick et al. 2025
    "sgdw": {"decay": 0.9, "weight_decay": 1e-2},
    "shampoo": {"b1": 0.9, "b2": 0.999, "eps": 1e-12},
    "soap": {"b1": 0.95, "b2": 0.95, "eps": 1e-8, "basis_decay": 0.95, "every": 10},  # Vyas et al. 2025
    "swats": {"b1": 0.9, "b2": 0.999, "eps": 1e-9, "tolerance": 1e-9, "min_steps": 2, "after": 1.0},  # S91
    "trace_on_updates": {"decay": 0.9},
    "with_clipped_rms": {"threshold": 1.0},
    "with_parameter_scale": {"least": 1e-3},
    "with_trust_ratio": {"coefficient": 1.0, "eps": 0.0},
}


def numbers(function):
    """The arguments of a function that are numbers where none is given."""
    said = inspect.signature(function).parameters.items()
    return {name: one.default for name, one in said if type(one.default) in (int, float)}


@pytest.mark.parametrize("name", [*PEERS])
def test_what_no_one_gives_is_what_it_is_in_optax(name):
    peer, names = PEERS[name]
    ours, theirs = numbers(getattr(gdlab, name)), numbers(peer)
    assert {one: ours[one] for one in names} == {one: theirs[other] for one, other in names.items()}


def test_what_no_one_gives_is_what_the_papers_say_where_optax_has_another_or_none():
    for name, said in PAPERS.items():
        ours = numbers(getattr(gdlab, name))
        assert {one: ours[one] for one in said} == said, name
        assert set(ours) == set(said) | set(PEERS.get(name, (None, {}))[1]), name


# What runs, sweeps and comparisons do where nothing is said.
RUNS = {
    "compare": {"confidence": 0.95, "effect": 1.0, "chance": 0.9, "resamples": 2000, "seed": 0},
    "draws": {"seed": 0},
    "long_run": {"every": 1, "min_delta": 0.0},
    "lr_range_test": {"steps": 100, "low": 1e-6, "high": 10.0},
    "minimize": {"every": 1, "min_delta": 0.0},
    "runs_needed": {"effect": 1.0, "tasks": 1, "contestants": 2, "confidence": 0.95, "chance": 0.9},
    "seeds": {"seed": 0},
    "trials": {"batch": 32},
    "tune": {"rounds": 50, "rate": 0.1},
}


def test_every_public_function_has_its_numbers_where_none_is_given():
    for name, said in RUNS.items():
        assert numbers(getattr(gdlab, name)) == said, name
    every = {name: one for name, one in vars(gdlab).items() if inspect.isfunction(one)}
    assert {name for name, one in every.items() if numbers(one)} <= {*RUNS, *PEERS, *PAPERS}


# The decay of momentum is that of the lectures and of every library; a scale alone has no eps; S78 has the decay of a
# running mean, Kingma & Ba 2015 that of a corrected one.
MOMENTUM, PLAIN, EACH = {"decay": 0.9}, {"eps": 0.0}, {"every": 1.0}
RUNNING, CORRECTED = {"decay": 0.9, "eps": 0.0}, {"decay": 0.999, "eps": 0.0}
PIECES = {
    **dict.fromkeys((directions.HeavyBall, directions.Nesterov, directions.Trace, directions.NesterovTrace), MOMENTUM),
    **dict.fromkeys((directions.Ema, directions.BiasCorrectedEma, directions.NesterovEma), MOMENTUM),
    **dict.fromkeys((wrappers.EmaOnUpdates, wrappers.MomentumOnUpdates, wrappers.TraceOnUpdates), MOMENTUM),
    directions.NadamScheduled: {"decay": 0.9, "momentum_decay": 4e-3},  # torch
    **dict.fromkeys((scales.RootMeanSquare, scales.WindowedRootMeanSquare, scales.DirectionRms), PLAIN),
    **dict.fromkeys((scales.GradientNorm, scales.BiasCorrected), PLAIN),
    **dict.fromkeys((scales.RunningRootMeanSquare, scales.Centered), RUNNING),
    **dict.fromkeys((scales.BiasCorrectedRootMeanSquare, scales.Adamax), CORRECTED),
    scales.RootSumSquare: {"eps": 0.0, "start": 0.0},
    scales.RootMeanSquareAhead: {"decay": 0.99, "change_decay": 0.92, "eps": 0.0, "eps_root": 0.0},  # Xie et al. 2022
    scales.Yogi: {"decay": 0.999, "eps": 1e-3, "start": 1e-3},  # Zaheer et al. 2018
    scales.Rectified: {"decay": 0.999, "threshold": 4.0},
    scales.ShampooSum: {"eps": 1e-4},  # Gupta, Koren & Singer 2018
    schedules.Cyclic: {"factor": 0.99994},  # Smith 2015
    schedules.OneCycle: {"rise": 0.3, "fall": 0.85, "start_ratio": 25.0, "end_ratio": 1e4},  # optax
    schedules.OneCycleCosine: {"rise": 0.3, "start_ratio": 25.0, "end_ratio": 1e4},  # torch
    schedules.Sgdr: {"growth": 1.0},
    **dict.fromkeys((schedules.Exponential, schedules.InverseTime), EACH),
    schedules.Noam: {"factor": 1.0},
    schedules.Wsd: {"end": 0.0},
    schedules.PolyakStep: {"max_rate": 1.0, "lowest": 0.0, "scaling": 1.0, "eps": 0.0},
    schedules.ReduceOnPlateau: {  # torch
        "factor": 0.1, "patience": 10, "rtol": 1e-4, "atol": 0.0, "cooldown": 0, "window": 1, "min_factor": 0.0,
    },
}  # fmt: skip
# The parts of an optimizer alone are as they are within it.
PARTS = {
    directions.LionInterpolation: ("lion", {"b1": "b1", "b2": "b2"}),
    directions.MixedEma: ("ademamix", {"b1": "b1", "b3": "b3", "alpha": "alpha"}),
    directions.EmaAndChange: ("adan", {"b1": "b1", "b2": "b2"}),
    scales.PreviousRootMeanSquare: ("adopt", {"decay": "b2", "eps": "eps"}),
    scales.AdaBelief: ("adabelief", {"mean_decay": "b1", "decay": "b2", "eps": "eps", "eps_root": "eps_root"}),
    scales.Bounded: ("adabound", {"final_rate": "final_rate", "gamma": "gamma"}),
    scales.FactoredRootMeanSquare: ("adafactor", {"power": "power", "eps": "eps", "smallest": "smallest"}),
    scales.NewtonSchulz: ("muon", {"eps": "eps"}),
    scales.Shampoo: ("shampoo", {"decay": "b2", "eps": "eps"}),
    scales.Soap: ("soap", {"decay": "b2", "eps": "eps", "basis_decay": "basis_decay", "every": "every"}),
    scales.Kron: ("kron", {"fit_rate": "fit_rate", "every": "every", "seed": "seed"}),
    other_points.Mars: ("mars", {"gamma": "gamma", "b1": "b1"}),
    other_points.Sam: ("sam", {"radius": "radius"}),
    other_points.ScheduleFree: ("schedule_free", {"b1": "b1", "power": "power"}),
    prodigy.Prodigy: (
        "prodigy",
        {**ADAM, "learning_rate": "learning_rate", "start": "start", "coefficient": "coefficient"},
    ),
    rescaled.Cautious: ("cautious", {"least": "least"}),
    rescaled.WithClippedRms: ("with_clipped_rms", {"threshold": "threshold"}),
    rescaled.WithParameterScale: ("with_parameter_scale", {"least": "least"}),
    rescaled.WithTrustRatio: ("with_trust_ratio", {"coefficient": "coefficient", "eps": "eps"}),
    swats.Swats: ("swats", {**ADAM, "tolerance": "tolerance", "min_steps": "min_steps", "after": "after"}),
    wrappers.Lookahead: ("lookahead", {"period": "period", "slow_rate": "slow_rate"}),
}


def fields(piece):
    return {one.name: one.default for one in dataclasses.fields(piece) if type(one.default) in (int, float)}


def test_every_piece_has_what_its_source_says_where_nothing_is_given():
    for piece, said in PIECES.items():
        assert fields(piece) == said, piece.__name__
    for piece, (name, names) in PARTS.items():
        whole = numbers(getattr(gdlab, name))
        assert fields(piece) == {one: whole[other] for one, other in names.items()}, piece.__name__
    modules = (directions, scales, schedules, wrappers, rescaled, other_points, prodigy, swats)
    every = {one for module in modules for one in vars(module).values() if dataclasses.is_dataclass(one)}
    assert {one for one in every if isinstance(one, type) and fields(one)} == {*PIECES, *PARTS}


def test_the_polynomials_of_newton_and_schulz_are_those_of_optax():
    for name, ours in (("standard", matrices.STANDARD), ("dion", matrices.DION)):
        state = contrib.muon(0.1, name).init(jnp.ones((2, 2)))
        (theirs,) = (
            x for path, x in jax.tree_util.tree_leaves_with_path(state) if "ns_coeffs" in jax.tree_util.keystr(path)
        )
        np.testing.assert_allclose(ours, np.broadcast_to(theirs, (5, 3)), rtol=1e-7)


def test_a_step_of_matrices_is_scaled_by_its_shape():
    for shape, factors in (
        ((2, 8), {"one": 1, "width": 2, "ratio": 2, "rms": 0.2 * 8**0.5}),
        ((8, 2), {"one": 1, "width": 1, "ratio": 0.5, "rms": 0.2 * 8**0.5}),
        ((3, 3), {"one": 1, "width": 1, "ratio": 1, "rms": 0.2 * 3**0.5}),
    ):
        assert {name: factor(*shape) for name, factor in matrices.SHAPE_FACTORS.items()} == pytest.approx(factors)


RANGES = {
    "NONNEGATIVE": ([0.0, 1e300], [-1e-300]),
    "POSITIVE": ([1e-300, 1e300], [0.0]),
    "CLOSED_SHARE": ([0.0, 1.0], [-1e-9, 1 + 1e-9]),
    "SHARE": ([0.0, 1 - 1e-9], [-1e-9, 1.0]),
    "OPEN_SHARE": ([1e-9, 1 - 1e-9], [0.0, 1.0]),
    "REAL": ([-1e300, 0.0, 1e300], []),
}


@pytest.mark.parametrize("name", RANGES)
def test_a_range_holds_its_ends_or_not(name):
    allowed = getattr(gdlab.pieces, name)
    inside, outside = RANGES[name]
    for value, sound in itertools.chain(((one, True) for one in inside), ((one, False) for one in outside)):
        if sound:
            assert gdlab.pieces.real("x", value, allowed=allowed) == value
        else:
            with pytest.raises(ValueError, match="x must lie in"):
                gdlab.pieces.real("x", value, allowed=allowed)
