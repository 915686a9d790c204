"""Random calls over the whole public API: a result that obeys the laws, or one clear sentence.

Every public function is called with arguments drawn by their names from `KINDS`: all of them allowed, or one of them
not.  Allowed arguments give finite results, of the shapes that were asked for; one that is not allowed gives a
TypeError or ValueError, raised by us, that names the argument, what is allowed and what came.  A new argument needs a
row in `KINDS`, which the first test says.  `FUZZ_CALLS=10000` makes so many calls; the seed of each is its number.
"""

import dataclasses
import inspect
import os
import random
import re
import traceback
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
import hessian
from gdlab import directions, problems, scales, schedules
from gdlab.base import Direction, LossSchedule, Scale
from gdlab.equation import Optimizer
from gdlab.ground.checks import whole
from gdlab.pieces import Piece
from gdlab.schedules.base import as_rate

pytestmark = pytest.mark.full

CALLS = int(os.environ.get("FUZZ_CALLS", "400"))
LONG = CALLS > 400  # then slow functions are also called with allowed arguments, which their own tests do anyway


class Kind(NamedTuple):
    good: list[Any]
    bad: list[Any]


def saddle(w, *args):
    return (1 - w[0] * w[1]) ** 2


def bowl(p, *args):
    return jnp.sum(p["w"] ** 2) + (p["b"] - 1) ** 2


def twice(w, x=None):
    return w * 2


PAIR, TREE = jnp.array([0.5, -1.5]), {"w": jnp.array([1.0, 0.0]), "b": jnp.array(2.0)}
KEY, OLD_KEY = jax.random.key(3), jax.random.PRNGKey(3)
ABSENT = object()  # the argument is left out
NO_NUMBERS = ["fast", None, True, 1j, [0.1], {}, (), np.array("x"), jnp.array(True)]
NAN, INF = float("nan"), float("inf")
BEYOND = [NAN, INF, -INF]


def numbers(*good, bad=()):
    return Kind([*good, np.float32(good[0]), jnp.asarray(good[0], float), ABSENT], [*NO_NUMBERS, *BEYOND, *bad])


def optional(kind):
    return Kind([*kind.good, None], [one for one in kind.bad if one is not None])


def wholes(*good, bad=()):
    return Kind([*good, np.int64(good[0]), ABSENT], ["3", None, True, 1.5, 2.0, NAN, INF, [1], -1, jnp.array(2), *bad])


def words(*good):
    return Kind([*good, ABSENT], ["", "no such", None, 1, b"adam", [good[0]], NAN])


def functions(*good):
    return Kind(list(good), [None, 3, "loss", jnp.ones(2), {}])


RATE = Kind(
    [
        0.1,
        0.0,
        1,
        1e-30,
        1e6,
        np.float32(0.1),
        jnp.array(0.1),
        schedules.InverseSqrt(0.1),
        optax.constant_schedule(0.1),
    ],
    [*NO_NUMBERS, *BEYOND, -1.0],
)
NUMBER = numbers(0.5, 0.0, 3, 1e3, bad=[-0.5])
POSITIVE = numbers(0.5, 3, 1e3, 1e-3, bad=[0, 0.0, -0.5])
SHARE = numbers(0.5, 0.0, 1.0, bad=[-0.1, 1.1])
DECAY = numbers(0.5, 0.0, 0.9, 0.999, bad=[-0.1, 1.0, 1.1])
WHOLE = wholes(1, 3, bad=[0])
KEYS = Kind([KEY, OLD_KEY], [3, "key", jnp.zeros(2), jax.random.split(KEY), [1, 2], True])
TOLERANCE = optional(numbers(1e-3, 0.0, 10.0, bad=[-1.0]))
LOSS = functions(saddle)
PARAMS = Kind(
    [PAIR, [0.5, -1.5], np.array([0.5, 2.0]), jnp.array([1.0, 2.0], "float32")],
    [None, "theta", jnp.array([1, 2]), {}, jnp.array([1j, 2]), jnp.array([True, False]), [None, "x"], KEY],
)
BOUNDS = Kind(
    [None, (-9.0, 9.0), (None, 9.0), ABSENT],
    [3, "box", (1.0, 0.0), (0.0,), ("a", None), (NAN, 1.0), (jnp.zeros(7), None)],
)
THETA = Kind([PAIR], ["theta", None, 3.0, jnp.ones((2, 2)), [1j, 2], KEY, {"a": 1.0}, jnp.array([True, False])])
OPTIMIZER = Kind([gdlab.gd(0.1), gdlab.adam(0.1)], [None, "adam", 0.1, gdlab.adam, (), optax.adam(0.1)])
ANY_OPTIMIZER = Kind([gdlab.gd(0.1), gdlab.adam(0.1), optax.adam(0.1)], ["adam", 0.1, gdlab.adam, ()])
SCALE = Kind([scales.Unit(), scales.RootMeanSquare(1e-3)], [None, "unit", 1.0, directions.Gradient(), scales.Unit])
DIRECTION = Kind(
    [directions.Gradient(), directions.BiasCorrectedEma()], [None, "m", 1.0, scales.Unit(), directions.Gradient]
)
SOURCE = Kind([ABSENT], ["", "matlab", None, 1, ["torch"]])
BOOL = Kind([True, False, ABSENT], [None, "yes", 2, NAN, [True]])
EIGENVALUES = Kind([jnp.array([-1.0, 0.0, 2.0])], [None, "x", 1.0, jnp.zeros(0), jnp.array([1j]), {}, [True]])

KINDS: dict[str, Kind] = {
    **dict.fromkeys(["learning_rate", "scaling", "weight_decay", "final_rate", "after", "rate", "other"], RATE),
    **dict.fromkeys(["b1", "b2", "b3", "mean_decay"], DECAY),
    **dict.fromkeys(["alpha"], RATE),
    **dict.fromkeys(["coefficient", "least"], NUMBER),
    "smallest": WHOLE,
    "decay": numbers(0.5, 0.0, 0.9, bad=[-0.1, 1.1]),
    **dict.fromkeys(["factor", "min_factor", "slow_rate"], SHARE),
    **dict.fromkeys(["eps", "max_rate", "momentum_decay", "rtol", "atol", "tolerance", "start", "end"], NUMBER),
    **dict.fromkeys(["power", "low", "high", "peak", "stable", "damping", "cooldown"], NUMBER),
    "eps_root": NUMBER,
    **dict.fromkeys(["every", "half", "period", "size", "start_ratio", "end_ratio", "radius", "weight"], POSITIVE),
    **dict.fromkeys(["epsilon", "offset", "stiffness", "tau", "gamma", "condition", "projection", "memory"], POSITIVE),
    "tol": optional(POSITIVE),
    "memory": numbers(1e9, bad=[0, -1]),
    "lowest": numbers(0.0, -2.0, 3.0),
    "floor": Kind([None, -1e9, ABSENT], ["low", NAN, INF, [1.0], True]),
    "momentum": optional(SHARE),
    "threshold": numbers(4.0, 5, bad=[3.0, -1]),
    "patience": numbers(1, 10.0, bad=[0, -1]),
    "window": numbers(1, 3.0, bad=[0, -1]),
    "min_steps": numbers(2, 10.0, bad=[1, -1]),
    "growth": numbers(1.0, 2, bad=[0.5, -1]),
    "width": NUMBER,
    "rise": numbers(0.3, 0.5, bad=[0.0, 1.0, -1, 2]),
    "fall": numbers(0.6, 0.9, bad=[0.0, 1.0, -1, 2]),
    "confidence": numbers(0.99, 0.5, bad=[0, 1, 2.0, -1]),
    "accuracy": numbers(1e-3, 0.5, bad=[0, 1, 2.0, -1]),
    "curvature": numbers(-2.0, -0.5, bad=[0.0, 1.0]),
    "wait": numbers(1, 10, bad=[0, -1]),
    **dict.fromkeys(["gradient_tol", "curvature_tol"], TOLERANCE),
    "separation": optional(POSITIVE),
    **dict.fromkeys(["length", "steps", "count", "rounds", "chunk", "starts", "order", "dim", "k"], WHOLE),
    "code": wholes(1, 2, bad=[0, 9]),
    **dict.fromkeys(["probes", "batch", "block"], WHOLE),
    "atoms": wholes(2, 5, bad=[0, 1]),
    "spins": wholes(2, 5, bad=[0, 1]),
    "couplings": Kind([jnp.eye(3)], ["J", None, 3.0, jnp.ones(3), jnp.ones((2, 2)), KEY]),
    "num_matvecs": wholes(50, bad=[0, 1]),
    "krylov": Kind([None, 1, 2, ABSENT], [0, -1, 1.5, "2", True, [1]]),
    "index": wholes(0, 1, 2, bad=[3]),
    "finish": wholes(5, 0),
    "seed": wholes(0, 3),
    "key": KEYS,
    "source": SOURCE,
    "matrices": words("last two", "flattened", "rank two"),
    "shape_factor": words("one", "width", "ratio", "rms"),
    "coefficients": Kind([[[1.5, -0.5, 0.0]], ABSENT], [None, "x", 3.0, [1.5, -0.5], [[1.5, -0.5]], [[1j, 0, 0]], {}]),
    "basis_decay": DECAY,
    "others": SCALE,
    **dict.fromkeys(["of_matrices", "of_others"], DIRECTION),
    "shape": words("linear", "1-sqrt", "cosine"),
    "mode": words("triangular", "triangular2", "exp_range"),
    "scope": words("global", "leaf"),
    "which": words("lowest", "highest", "both"),
    "measure": words("eigenvalue", "keskar"),
    "name": words("himmelblau", "linear_net"),
    "method": words("auto", "dense", "lanczos"),
    "loss": LOSS,
    **dict.fromkeys(["criterion", "f", "fn", "losses"], LOSS),
    "model": functions(twice),
    "function": functions(lambda t: 0.1 / (t + 1), optax.constant_schedule(0.1)),
    "make": functions(gdlab.sgd, gdlab.adam),
    "validation": Kind([None, saddle], [3, "loss", jnp.ones(2)]),
    **dict.fromkeys(["params", "x0", "saddle"], PARAMS),
    "theta": THETA,
    "optimizer": OPTIMIZER,
    "parts": OPTIMIZER,
    "scale": SCALE,
    "direction": DIRECTION,
    "schedule": RATE,
    "args": Kind([()], [3, "x", None]),
    "batches": Kind([None], []),
    "record": Kind([(), ("loss",), "loss", ["eta", "params"], ABSENT], ["speed", ("loss", "speed"), [3], 3, None]),
    "x": Kind(
        [[[1.0, 2.0], [3.0, 5.0]], jnp.ones((3, 2)), [[1], [2]]], ["x", None, 3.0, jnp.zeros((0, 2)), [[1j]], {}, KEY]
    ),
    "data": Kind(
        [jnp.arange(6.0), (jnp.ones(3), jnp.ones((3, 2)))],
        [{}, (), jnp.ones(()), (jnp.ones(2), jnp.ones(3)), "x", None],
    ),
    "rates": Kind([[0.1, 0.2]], [[0.1], "x", None, 3.0, [1j, 2], ["a", "b"], {}, []]),
    "boundaries": Kind([[5.0], (5,), jnp.array([5.0])], [[1.0, 2.0], "x", None, 3.0, [1j], ["a"], {}, []]),
    "schedules": Kind(
        [[0.1, schedules.InverseSqrt(0.1)]], [[0.1], "x", None, 3.0, ["a", "b"], {}, [], [0.1, -1.0], [0.1, NAN]]
    ),
    "variances": Kind([(3.0, 2.0), ABSENT], [None, 3.0, "x", (-1.0, 2.0), (1.0, 1.0), (), ("a", "b"), (NAN, 1.0)]),
    "min_delta": numbers(0.0, 1e-3, bad=[-1]),
    "keep_best": BOOL,
    "bounds": BOUNDS,
    "trainable": Kind([None, lambda path: True, ABSENT], ["w", 3]),
    "model_state": Kind([None, ABSENT], []),
    "state": Kind([None, ABSENT], [3, "run", {}]),
    "mu": Kind([(2.0, 1.0)], [None, 3.0, "x", (), ("a", "b"), (1j, 1.0)]),
    "sizes": Kind([(2, 3), [4, 3, 2]], [(), (2,), (2, 0), (2.0, 3.0), "x", None, (2, "3"), 5]),
    "eigenvalues": EIGENVALUES,
    "chosen": Kind([{"w": True, "b": False}, lambda path: "w" in path], [None, "w", {"w": True}, 3]),
    **dict.fromkeys(["quasi", "centered", "reset", "inside"], BOOL),
    "symmetries": Kind([None, (), ABSENT], ["rotations", 3, [3]]),
    "before": Kind([None, ABSENT], [3, "curvature", {}, jnp.ones((2, 2))]),
    "only": Kind([None, ("schedule.rate",)], [("rate",), "rate", 3, ["schedule.rate", 3]]),
}

# What an argument of one function means there, where its name means something else elsewhere.
OVERRIDES: dict[tuple[str, str], Kind] = {
    **{
        (f"gdlab.{name}", "params"): Kind(PARAMS.good, [None, "theta", jnp.array([1, 2]), {}, [None, "x"], KEY])
        for name in ("minimize", "tune", "lr_range_test")
    },
    ("gdlab.minimize", "every"): WHOLE,
    **dict.fromkeys([("gdlab.soap", "every"), ("gdlab.kron", "every"), ("gdlab.scales.Kron", "every")], WHOLE),
    **dict.fromkeys([("gdlab.kron", "fit_rate"), ("gdlab.scales.Kron", "fit_rate")], DECAY),
    ("gdlab.mars", "gamma"): NUMBER,
    ("gdlab.cautious", "least"): POSITIVE,
    ("gdlab.prodigy", "start"): POSITIVE,
    ("gdlab.prodigy", "coefficient"): POSITIVE,
    ("gdlab.schedule_free", "b1"): numbers(0.5, 0.9, bad=[0.0, 1.0, -0.1]),
    **{(f"gdlab.{name}", "threshold"): POSITIVE for name in ("adafactor", "with_clipped_rms")},
    ("gdlab.minimize", "tolerance"): optional(numbers(0.0, 1e-12, bad=[-1.0])),  # none that ends a run at once
    ("gdlab.minimize", "record"): Kind([(), ("loss",), "loss", ABSENT], ["speed", ("loss", "speed"), [3], 3, None]),
    ("hessian.classify", "memory"): optional(KINDS["memory"]),
    ("hessian.classify", "proof"): Kind([False, ABSENT], BOOL.bad),
    ("gdlab.minimize", "patience"): optional(KINDS["patience"]),
    ("gdlab.minimize", "optimizer"): ANY_OPTIMIZER,
    ("gdlab.minimize", "key"): Kind([None], list(KEYS.bad)),
    ("gdlab.tune", "key"): Kind([None], list(KEYS.bad)),
    ("gdlab.tune", "rate"): numbers(0.1, 0.0, 1.0, bad=[-1.0]),
    ("gdlab.lr_range_test", "steps"): wholes(3, 5, bad=[0, 2]),
    ("gdlab.lr_range_test", "low"): numbers(1e-3, 0.5, bad=[0, -1]),
    ("gdlab.lr_range_test", "high"): numbers(1.0, 3, bad=[0, -1, 1e-9]),
    ("gdlab.lookahead", "period"): numbers(1, 5.0, bad=[0, -1]),
    ("gdlab.minibatches", "size"): wholes(1, 3, bad=[0, 7]),
    ("gdlab.polyak", "max_rate"): NUMBER,
    ("gdlab.adabound", "final_rate"): NUMBER,
    ("gdlab.amsbound", "final_rate"): NUMBER,
    ("gdlab.schedules.as_schedule", "name"): Kind([ABSENT], []),
    ("gdlab.problems.linear_net_ridge", "decay"): NUMBER,
    ("gdlab.problems.network", "key"): KEYS,
    **{
        (f"gdlab.problems.{name}", "theta"): Kind([jnp.array([0.5])], THETA.bad)
        for name in ("hills", "tilted_double_well")
    },
    ("gdlab.problems.lennard_jones", "theta"): Kind(
        [jnp.array([[0.0, 0.0], [1.0, 1.0]]), jnp.arange(6.0)], ["theta", None, 3.0, jnp.ones(4), jnp.zeros(0), KEY]
    ),
    ("gdlab.problems.linear_autoencoder_2_1_2", "theta"): Kind([jnp.ones(4)], THETA.bad),
    ("gdlab.problems.linear_autoencoder", "theta"): Kind([jnp.ones(12)], THETA.bad),
    **{
        (f"gdlab.problems.{name}", "theta"): Kind([jnp.ones(3)], THETA.bad)
        for name in ("linear_net_depth3", "matrix_factorization")
    },
    ("gdlab.problems.linear_autoencoder", "variances"): Kind([(2.0,), ABSENT], [None, 3.0, "x", (), ("a", "b")]),
    ("gdlab.problems.matrix_factorization", "mu"): Kind([(2.0,), ABSENT], [None, 3.0, "x", (), ("a", "b"), (1j, 1.0)]),
    ("gdlab.seeds", "seed"): Kind([0, 3, -1], ["3", None, True, 1.5, NAN, INF, [1]]),
    ("gdlab.lion", "b1"): SHARE,
    ("gdlab.kron", "fit_rate"): numbers(0.1, 0.0, bad=[1.0, -0.1]),
    **{(f"hessian.{name}", "method"): words("hutchinson", "hutch++") for name in ("trace", "diagonal")},
    ("hessian.find_critical_points", "method"): words(
        "levenberg_marquardt", "newton_mr", "eigenvector_following", "gentlest_ascent"
    ),
    ("hessian.find_critical_points", "starts"): Kind(
        [jnp.array([[0.5, 1.0], [0.1, 0.0]])], [None, "x", jnp.zeros((0, 2)), {}, 3.0, jnp.array([[1, 2]])]
    ),
    ("hessian.with_saddle_escape", "every"): numbers(1, 5, bad=[0, -1]),
    ("hessian.with_saddle_escape", "optimizer"): ANY_OPTIMIZER,
    ("hessian.escape_trajectory", "optimizer"): ANY_OPTIMIZER,
    ("hessian.find_minimum", "optimizer"): Kind([None, gdlab.gd(0.1)], ["adam", 0.1, gdlab.adam]),
    ("hessian.find_minimum", "rounds"): wholes(0, 3),
    ("hessian.multiplicity", "which"): words("lowest", "highest"),
    ("hessian.find_minimum", "bounds"): Kind([None, ABSENT], BOUNDS.bad),  # which an optimizer would leave
    ("hessian.perturbed_gd", "radius"): NUMBER,
    ("hessian.perturbed_gd", "threshold"): numbers(0.1, 0.0, bad=[-1, NAN]),
    ("hessian.perturbed_gd", "rate"): POSITIVE,
    ("hessian.newton", "rate"): POSITIVE,
    ("hessian.saddle_free_newton", "rate"): POSITIVE,
    ("hessian.escape_time", "rate"): POSITIVE,
    ("hessian.newton_cg", "damping"): optional(POSITIVE),
    ("hessian.microbatched", "size"): WHOLE,
    ("hessian.curvature", "num_matvecs"): optional(wholes(50, 6, bad=[0, 5])),
    **{("hessian.curvature_recorder", name): wholes(50, 6, bad=[0, 5]) for name in ("num_matvecs", "first")},
    ("hessian.extremal", "k"): wholes(1, 2, bad=[0, 3]),
    ("hessian.taylor", "order"): wholes(0, 1, 2),
    ("hessian.trust_region_step", "order"): Kind([1, 2, ABSENT], [0, 3, "1", None, 1.5]),
    ("hessian.inertia", "curvature_tol"): optional(numbers(1e-3, 0.0, bad=[-1.0])),
    ("hessian.split", "params"): Kind([TREE], []),
}
OVERRIDES["hessian.perturbed_gd", "threshold"].bad.remove(INF)

# Functions with arguments that are named by the caller, or that need data of one shape, have tests of their own.
ELSEWHERE = {
    *("gdlab.sweep", "gdlab.merge", "gdlab.long_run", "gdlab.read_history", "gdlab.trials", "gdlab.draws"),
    *("gdlab.sam", "gdlab.schedule_free_average", "gdlab.compare", "gdlab.runs_needed"),
    *("gdlab.inspect", "gdlab.problems.network_accuracy", "gdlab.problems.network_logits"),
    *(
        "gdlab.problems.network_loss",
        "gdlab.problems.pokemon_loss",
        "hessian.data_parallel",
        "hessian.foreign_loss",
        "hessian.streamed",
        "hessian.landscape",
        "hessian.prove",
        "hessian.prove_saddle",
        "hessian.prove_all",
    ),
}
SLOW = {"find_minimum", "connect", "find_critical_points", "escape_trajectory", "tune", "classify", "escape"}
SLOW |= {"extremal", "spectrum", "density", "minimum_ratio", "trace", "diagonal", "sharpness", "lr_range_test"}
SLOW |= {"minimize", "multiplicity", "curvature"}


def public():
    for module in (gdlab, directions, scales, schedules, problems, hessian):
        for name in getattr(module, "__all__", vars(module)):
            function = getattr(module, name)
            here = getattr(function, "__module__", "").startswith(module.__name__)
            piece = inspect.isclass(function) and issubclass(function, Piece) and function._leaves is not Piece._leaves
            if (inspect.isfunction(function) or piece) and not name.startswith("_") and here:
                yield f"{module.__name__}.{name}", function


PUBLIC = {name: function for name, function in public() if name not in ELSEWHERE}


def kind_of(function, argument):
    if (function, argument) in OVERRIDES or not inspect.isclass(PUBLIC.get(function)):
        return OVERRIDES.get((function, argument), KINDS.get(argument))
    declared = {field.name: field for field in dataclasses.fields(PUBLIC[function])}[argument]
    if "range" not in declared.metadata:
        if is_whole(declared):
            return WHOLE
        return RATE if declared.metadata["check"] is as_rate else KINDS.get(argument)
    return from_range(declared.metadata["range"], declared.default is None)


def is_whole(declared):
    """Whether the field is a whole number, whatever another argument of its name is."""
    return declared.metadata["check"] is whole


def from_range(allowed, may_be_none):
    """What a field of a piece says that its hyperparameter may be."""
    tried = (0.5, 0.0, 0.9, 1.0, 2, 4.0, 10.0, 1e3, -0.5, -1, allowed.low, allowed.high)
    kind = numbers(*(x for x in tried if x in allowed), bad=[x for x in tried if x not in allowed])
    return optional(kind) if may_be_none else kind


def test_every_argument_of_the_public_api_has_a_kind():
    for name, function in PUBLIC.items():
        for argument in inspect.signature(function).parameters.values():
            if argument.kind is not argument.VAR_KEYWORD:
                assert kind_of(name, argument.name), f"{name} takes {argument.name!r}, which has no row in KINDS"


def drawn(name, rng):
    """Arguments by name, and the one that is not allowed, if any."""
    parameters = inspect.signature(PUBLIC[name]).parameters.values()
    parameters = [one for one in parameters if one.kind not in (one.VAR_KEYWORD,)]
    parameters = [one for one in parameters if not (one.kind is one.VAR_POSITIONAL and one.name == "args")]
    spoilt = rng.choice([None, *(one.name for one in parameters if kind_of(name, one.name).bad)])
    if spoilt is None and name.rpartition(".")[2] in SLOW and not LONG:
        spoilt = rng.choice([one.name for one in parameters if kind_of(name, one.name).bad])
    arguments = {}
    for one in parameters:
        kind = kind_of(name, one.name)
        value = rng.choice(kind.bad if one.name == spoilt else kind.good)
        if value is ABSENT and one.default is one.empty:
            value = kind.good[0]
        if one.name == "source" != spoilt:
            value = sources(PUBLIC[name], rng)
        if value is not ABSENT and (one.name == spoilt or one.default is one.empty or rng.random() < 0.7):
            arguments[one.name] = value
    return arguments, spoilt


def sources(function, rng):
    """One of the sources that the docstring lists."""
    listed = re.search(r"Sources: (.*?)(?:\n\n|\Z|Args:)", inspect.getdoc(function), re.S)
    return rng.choice(
        re.findall(r'"(\w+)"', listed[1]) if listed else [inspect.signature(function).parameters["source"].default]
    )


GRADS = [{"w": jnp.array([3.0 * size, 0.0]), "b": jnp.array(-1e-3 * size)} for size in (1.0, 0.0, 1e-6, 1e6)]


def finite(tree):
    return all(
        jnp.all(jnp.isfinite(leaf))
        for leaf in jax.tree.leaves(tree)
        if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)
    )


def obeys(name, result, arguments):
    """Whether a result of allowed arguments is one."""
    if isinstance(result, Direction):
        result = gdlab.descent(result, scales.Unit(), 0.1)
    if isinstance(result, Scale):
        result = gdlab.descent(directions.Gradient(), result, 0.1)
    if isinstance(result, LossSchedule) and not callable(result):
        result = gdlab.gd(result)
    if isinstance(result, Optimizer):
        return walks(result)
    if name.startswith("gdlab.schedules"):
        rates = [result(count) for count in (0, 1, 7, 1000)]
        return all(jnp.isfinite(rate) and rate >= 0 and rate.ndim == 0 for rate in rates)
    if isinstance(result, optax.GradientTransformation):
        return not LONG or walks(result, saddle)
    if callable(result) and name.startswith("hessian."):
        return name not in ("hessian.hvp", "hessian.taylor", "hessian.quadratic_model") or finite(
            result(jax.tree.map(jnp.asarray, arguments.get("x0", arguments.get("params"))))
        )
    if name == "gdlab.lr_range_test":
        return finite(result.rates)
    if name == "hessian.condition_number":
        return result >= 1
    if name == "hessian.sharpness":
        return finite((result.value, result.direction))
    if (
        isinstance(result, problems.Surface | tuple)
        and name.startswith("gdlab.problems")
        and name != "gdlab.problems.pokemon"
    ):
        return bool(result)
    if isinstance(result, hessian.CriticalPoint):
        return result.kind in hessian.Kind.list_words() and finite(result[3:5])
    return finite(result)


def walks(optimizer, loss=None):
    if loss is not None:
        state, theta = optimizer.init(PAIR), PAIR
        for _ in range(2):
            value, grads = jax.value_and_grad(loss)(theta)
            updates, state = optimizer.update(grads, state, theta, value=value, grad=grads, value_fn=loss)
            theta = theta + updates
        return finite(theta)
    state, params = optimizer.init(TREE), TREE
    like = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), TREE)
    for grads in GRADS:
        updates, state = optimizer.update(grads, state, params, value=jnp.array(2.0), grad=grads)
        if jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), updates) != like or not finite(updates):
            return False
        params = optax.apply_updates(params, updates)
    return True


def complaint(name, arguments, spoilt, function):
    """What is wrong with a call, or None."""
    positional = [arguments[one] for one in ("parts",) if one in arguments]
    arguments = {one: value for one, value in arguments.items() if one != "parts"}
    try:
        result = function(*positional, **arguments)
    except (TypeError, ValueError) as error:
        said = str(error)
        if spoilt is None:
            return f"refused: {type(error).__name__}: {said}"
        where = traceback.extract_tb(error.__traceback__)[-1].filename
        ours = any(os.path.dirname(room.__file__) in where for room in (gdlab, hessian))
        alias = "learning_rate" if spoilt == "schedule" or name.endswith("as_schedule") else spoilt
        clear = re.search(rf"\b{alias}\b", said) and " must " in said and "got" in said
        if not ours or not clear or "\n" in said or len(said) > 1500:
            return f"unclear ({where.rpartition('/')[2]}): {type(error).__name__}: {said[:300]}"
        return None
    except Exception as error:
        return f"crashed: {type(error).__name__}: {str(error)[:300]}"
    if spoilt is not None:
        return "accepted"
    try:
        return None if obeys(name, result, arguments) else "result breaks a law"
    except Exception as error:
        return f"crashed afterwards: {type(error).__name__}: {str(error)[:300]}"


def test_random_calls_give_a_result_that_obeys_the_laws_or_one_clear_sentence():
    found = []
    for number in range(CALLS):
        rng = random.Random(number)
        name = rng.choice(list(PUBLIC))
        arguments, spoilt = drawn(name, rng)
        wrong = complaint(name, arguments, spoilt, PUBLIC[name])
        if wrong:
            found.append(f"call {number}: {name}({arguments}), {spoilt} not allowed: {wrong}")
    assert not found, "\n".join(found)
