"""Arguments: what each may be, what it is when it is not said, and the sentence where it is something else."""

import copy
import dataclasses
import importlib
import inspect
import math
import pkgutil
from typing import Any

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
from gdlab import arguments, directions, scales
from gdlab.ground import checks
from gdlab.pieces import ranges

# name of a piece or an optimizer: each hyperparameter, its value where it is not said, and its range
RANGES = """
directions.BiasCorrectedEma: decay=0.9 [0, 1)
directions.HeavyBall: decay=0.9 [0, 1]
directions.Trace: decay=0.9 [0, 1]
directions.LionInterpolation: b1=0.9 [0, 1]; b2=0.99 [0, 1)
directions.Nesterov: decay=0.9 [0, 1]
directions.NesterovEma: decay=0.9 [0, 1)
directions.NadamScheduled: decay=0.9 [0, 1); momentum_decay=0.004 [0, inf)
directions.NesterovTrace: decay=0.9 [0, 1]
directions.Ema: decay=0.9 [0, 1)
scales.Yogi: decay=0.999 [0, 1); eps=0.001 [0, inf); start=0.001 [0, inf)
scales.AdaBelief: mean_decay=0.9 [0, 1); decay=0.999 [0, 1); eps=1e-16 [0, inf); eps_root=1e-16 [0, inf)
scales.Bounded: final_rate=0.1 [0, inf); gamma=0.001 (0, inf)
scales.Centered: decay=0.9 [0, 1]; eps=0.0 [0, inf); eps_root=None [0, inf)
scales.BiasCorrected: decay [0, 1); eps=0.0 [0, inf)
scales.BiasCorrectedRootMeanSquare: decay=0.999 [0, 1); eps=0.0 [0, inf); eps_root=None [0, inf)
scales.Adamax: decay=0.999 [0, 1]; eps=0.0 [0, inf)
scales.GradientNorm: eps=0.0 [0, inf)
scales.AddEps: eps [0, inf)
scales.Rectified: decay=0.999 [0, 1); threshold=4.0 [4, inf)
scales.RootMeanSquare: eps=0.0 [0, inf)
scales.RootSumSquare: eps=0.0 [0, inf); start=0.0 [0, inf); eps_root=None [0, inf)
scales.RunningRootMeanSquare: decay=0.9 [0, 1]; eps=0.0 [0, inf); start=None [0, inf); eps_root=None [0, inf)
scales.UndoBiasCorrection: decay [0, 1)
scales.WindowedRootMeanSquare: eps=0.0 [0, inf)
schedules.Cosine: start [0, inf); end [0, inf); steps (0, inf)
schedules.Cyclic: low [0, inf); high [0, inf); half (0, inf); factor=0.99994 [0, inf)
schedules.Exponential: rate [0, inf); factor [0, inf); every=1.0 (0, inf)
schedules.InProportion: rate [0, inf); other [0, inf)
schedules.InverseSqrt: rate [0, inf)
schedules.InverseTime: rate [0, inf); decay [0, inf); every=1.0 (0, inf)
schedules.Linear: start [0, inf); end [0, inf); steps (0, inf)
schedules.LrRangeTest: low (0, inf); high (0, inf); steps (1, inf)
schedules.Noam: size (0, inf); width (0, inf); factor=1.0 [0, inf)
schedules.OneCycle: peak [0, inf); steps (0, inf); rise=0.3 (0, 1); fall=0.85 (0, 1); start_ratio=25.0 (0, inf);
    end_ratio=10000.0 (0, inf)
schedules.OneCycleCosine: peak [0, inf); steps (0, inf); rise=0.3 (0, 1); start_ratio=25.0 (0, inf);
    end_ratio=10000.0 (0, inf)
schedules.PolyakStep: max_rate=1.0 [0, inf); lowest=0.0 (-inf, inf); scaling=1.0 [0, inf); eps=0.0 [0, inf)
schedules.Polynomial: start [0, inf); end [0, inf); steps (0, inf); power [0, inf)
schedules.ReduceOnPlateau: rate [0, inf); factor=0.1 [0, 1]; patience=10 [1, inf); rtol=0.0001 [0, inf);
    atol=0.0 [0, inf); cooldown=0 [0, inf); window=1 [1, inf); min_factor=0.0 [0, 1]
schedules.Sgdr: high [0, inf); low [0, inf); period (0, inf); growth=1.0 [1, inf)
schedules.StepDecay: rate [0, inf); factor [0, inf); every (0, inf)
schedules.Warmup: rate [0, inf); width [0, inf)
schedules.Wsd: peak [0, inf); width [0, inf); stable [0, inf); decay (0, inf); end=0.0 [0, inf)
adabelief: learning_rate [0, inf); b1=0.9 [0, 1); b2=0.999 [0, 1); eps=1e-16 [0, inf); eps_root=1e-16 [0, inf)
adabound: learning_rate [0, inf); b1=0.9 [0, 1); b2=0.999 [0, 1); eps=1e-08 [0, inf); final_rate=0.1 [0, inf);
    gamma=0.001 (0, inf)
adagrad: learning_rate [0, inf); eps=0.0 [0, inf)
adam: learning_rate [0, inf); b1=0.9 [0, 1); b2=0.999 [0, 1); eps=1e-08 [0, inf)
adamax: learning_rate [0, inf); b1=0.9 [0, 1); b2=0.999 [0, 1); eps=1e-08 [0, inf)
adamw: learning_rate [0, inf); b1=0.9 [0, 1); b2=0.999 [0, 1); eps=1e-08 [0, inf); weight_decay=0.01 [0, inf)
amsbound: learning_rate [0, inf); b1=0.9 [0, 1); b2=0.999 [0, 1); eps=1e-08 [0, inf); final_rate=0.1 [0, inf);
    gamma=0.001 (0, inf)
amsgrad: learning_rate [0, inf); b1=0.9 [0, 1); b2=0.999 [0, 1); eps=1e-08 [0, inf)
with_weight_decay: weight_decay [0, inf)
with_independent_weight_decay: weight_decay [0, inf)
gd: learning_rate [0, inf)
lion: learning_rate [0, inf); b1=0.9 [0, 1]; b2=0.99 [0, 1)
lookahead: period=5 [1, inf); slow_rate=0.5 [0, 1]
momentum: learning_rate [0, inf); decay=0.9 [0, 1]
nadam: learning_rate [0, inf); b1=0.9 [0, 1); b2=0.999 [0, 1); eps=1e-08 [0, inf)
nesterov: learning_rate [0, inf); decay=0.9 [0, 1]
normalized_gd: learning_rate [0, inf); eps=0.0 [0, inf)
radam: learning_rate [0, inf); b1=0.9 [0, 1); b2=0.999 [0, 1); eps=1e-08 [0, inf); threshold=4.0 [4, inf)
rmsprop: learning_rate [0, inf); decay=0.9 [0, 1]; eps=0.0 [0, inf); momentum=None [0, 1]
momentum_on_updates: decay=0.9 [0, 1]
trace_on_updates: decay=0.9 [0, 1]
sgdw: learning_rate [0, inf); decay=0.9 [0, 1]; weight_decay=0.01 [0, inf)
sign_gd: learning_rate [0, inf)
signum: learning_rate [0, inf); decay=0.9 [0, 1)
swats: learning_rate [0, inf); b1=0.9 [0, 1); b2=0.999 [0, 1); eps=1e-09 [0, inf); tolerance=1e-09 [0, inf);
    min_steps=2 [2, inf); after=1.0 [0, inf)
yogi: learning_rate [0, inf); b1=0.9 [0, 1); b2=0.999 [0, 1); eps=0.001 [0, inf)
"""
PIECES = [one for module in (directions, scales, gdlab.schedules) for one in map(vars(module).get, module.__all__)]
PIECES = [one for one in PIECES if inspect.isclass(one) and dataclasses.is_dataclass(one)]
FIELDS = [(piece, field) for piece in PIECES for field in dataclasses.fields(piece) if "range" in field.metadata]


@pytest.mark.parametrize(
    ("piece", "field"), [pytest.param(*one, id=f"{one[0].__name__}.{one[1].name}") for one in FIELDS]
)
def test_each_field_takes_what_its_range_holds_and_refuses_the_rest(piece, field):
    allowed, check = field.metadata["range"], field.metadata["check"]
    for value in (allowed.low, allowed.high, allowed.low - 1, allowed.high + 1, 0.0, 0.5, 4.5, math.nan, math.inf):
        if value in allowed:
            assert check(field.name, value) == value
        else:
            with pytest.raises(ValueError) as caught:
                check(field.name, value)
            assert str(caught.value) == f"{field.name} must lie in {allowed}; got {value:g}"
    if field.default not in (None, dataclasses.MISSING):
        assert field.default in allowed


def test_the_ranges_of_an_optimizer_are_in_the_order_of_its_leaves():
    for case in cases.OPTIMIZERS.values():
        optimizer = case.make(0.1)
        named = list(ranges(optimizer))
        assert [value for _, value, _ in named] == jax.tree.leaves(optimizer)
        assert all(value in allowed for _, value, allowed in named)
        assert len({name for name, _, _ in named}) == len(named)


def test_an_optimizer_prints_its_pieces_and_comes_back_from_a_copy():
    for case in cases.OPTIMIZERS.values():
        optimizer = case.make(0.1)
        assert f"{optimizer}".count("=") >= 3
        again = copy.copy(optimizer)
        assert jax.tree.structure(again) == jax.tree.structure(optimizer)
        assert jax.tree.leaves(again) == jax.tree.leaves(optimizer)
    assert "rate=0.001" in str(gdlab.adam(1e-3))
    assert "an array of dtype float64 and shape (2,)" in str(gdlab.adam(jnp.array([1e-3, 1e-2])))
    assert "decay=0.5" in repr(directions.HeavyBall(jnp.array(0.5)))


GIVEN = {"optimizer": gdlab.gd(0.1), "scale": scales.Unit(), "direction": directions.Gradient(), "length": 3}


def rows():
    for line in RANGES.replace(";\n", ";").strip().splitlines():
        name, _, described = line.partition(": ")
        yield name, [row.strip().partition(" ")[::2] for row in described.split(";")]


@pytest.mark.parametrize(("name", "described"), [pytest.param(*row, id=row[0]) for row in rows()])
def test_each_hyperparameter_has_its_default_and_its_range(name, described):
    function = gdlab
    for part in name.split("."):
        function = getattr(function, part)
    parameters = inspect.signature(function).parameters
    lacking = {key: GIVEN.get(key, 0.5) for key, one in parameters.items() if one.default is one.empty}
    for argument, allowed in described:
        argument, _, said = argument.partition("=")
        default = parameters[argument].default
        assert said == ("" if default is inspect.Parameter.empty else repr(default))
        with pytest.raises(ValueError) as caught:
            function(**{**lacking, argument: math.nan})
        assert str(caught.value) == f"{argument} must lie in {allowed}; got nan"


@pytest.mark.parametrize(
    ("how", "range_", "inside", "outside"),
    [
        ({}, "[1, 2]", (1, 1.5, 2), (0.999, 2.001)),
        ({"open": True}, "[1, 2)", (1, 1.999), (2,)),
        ({"above": True}, "(1, 2]", (1.001, 2), (1,)),
        ({"low": -math.inf}, "(-inf, 2]", (-1e300, 2), (-math.inf, 3)),
        ({"high": math.inf}, "[1, inf)", (1, 1e300), (math.inf, 0)),
        ({"low": -math.inf, "high": math.inf}, "(-inf, inf)", (0,), (-math.inf, math.inf, math.nan)),
    ],
)
def test_the_ends_of_a_range_belong_to_it_or_not(how, range_, inside, outside):
    for value in inside:
        assert arguments.hyperparameter("x", value, **{"low": 1, "high": 2, **how}) == value
    for value in outside:
        with pytest.raises(ValueError) as caught:
            arguments.hyperparameter("x", value, **{"low": 1, "high": 2, **how})
        assert str(caught.value) == f"x must lie in {range_}; got {value:g}"


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Module:
    """A module as libraries have it: a pytree of arrays and of what is none."""

    weight: Any
    inner: Any


KEY, OLD = jax.random.key(0), jax.random.PRNGKey(0)
PARAMS = {"a": jnp.zeros((2, 3)), "b": 1.0}
SENTENCES = {
    "no number": (lambda: arguments.hyperparameter("x", "a", 0), "a real number or an array of them; got 'a'"),
    "a list": (lambda: arguments.hyperparameter("x", [1, 2], 0), "a real number or an array of them; got [1, 2]"),
    "True": (lambda: arguments.hyperparameter("x", True, 0), "a real number or an array of them; got True"),
    "complex": (
        lambda: arguments.hyperparameter("x", np.zeros(2, complex), 0),
        "a real number or an array of them; got an array of dtype complex128 and shape (2,)",
    ),
    "no array": (lambda: arguments.any_array("x", object), "an array; got <class 'object'>"),
    "too large": (lambda: arguments.any_array("x", 2**70), f"an array; got {2**70}"),
    "ragged": (lambda: arguments.real_array("x", [[1], [1, 2]]), "an array of real numbers; got [[1], [1, 2]]"),
    "booleans": (lambda: arguments.real_array("x", [True], "real"), "real; got [True]"),
    "one number": (lambda: arguments.sequence("x", 3), "a sequence of real numbers; got 3"),
    "too few": (lambda: arguments.sequence("x", [1], 2), "a sequence of at least 2 real numbers; got [1]"),
    "below": (lambda: checks.whole("x", 0), "a whole number, at least 1; got 0"),
    "above": (lambda: checks.whole("x", 4, 2, 3), "a whole number, from 2 to 3; got 4"),
    "a fraction": (lambda: checks.whole("x", 2.0), "a whole number, at least 1; got 2.0"),
    "a switch": (lambda: checks.whole("x", True), "a whole number, at least 1; got True"),
    "a seed": (lambda: checks.prng_key("x", 3), "a PRNG key, such as jax.random.key(0); got 3"),
    "keys": (
        lambda: checks.prng_key("x", jax.random.split(KEY, 2)),
        "a PRNG key, such as jax.random.key(0); got an array of dtype key<fry> and shape (2,)",
    ),
    "old keys": (
        lambda: checks.prng_key("x", jax.random.split(OLD, 2)),
        "a PRNG key, such as jax.random.key(0); got an array of dtype uint32 and shape (2, 2)",
    ),
    "floats": (
        lambda: checks.prng_key("x", np.zeros(2)),
        "a PRNG key, such as jax.random.key(0); got an array of dtype float64 and shape (2,)",
    ),
    "no function": (lambda: checks.function("x", 1, "x()"), "a function, x(); got 1"),
    "another class": (lambda: checks.one_of("x", 1, str, "a word"), "a word; got 1"),
    "no switch": (lambda: checks.switch("x", 1), "True or False; got 1"),
    "another word": (lambda: checks.choice("x", "c", {"a": 1, "b": 2}), "'a' or 'b'; got 'c'"),
    "no word": (lambda: checks.choice("x", ["a"], {"a": 1}), "'a'; got ['a']"),
    "other shapes": (
        lambda: checks.alike("x", {"a": jnp.zeros(3), "b": 1.0}, PARAMS),
        "like params, PyTreeDef({'a': *, 'b': *}) with shapes [(2, 3), ()]; "
        "got PyTreeDef({'a': *, 'b': *}) with shapes [(3,), ()]",
    ),
    "other names": (
        lambda: checks.alike("x", {"a": PARAMS["a"]}, PARAMS),
        "like params, PyTreeDef({'a': *, 'b': *}) with shapes [(2, 3), ()]; "
        "got PyTreeDef({'a': *}) with shapes [(2, 3)]",
    ),
    "nothing": (lambda: arguments.floating("x", {}), "at least one floating array; got {}"),
    "integers": (
        lambda: arguments.floating("x", [1]),
        "a pytree of floating arrays; got a leaf of dtype int64 at x[0]",
    ),
    "words": (lambda: arguments.floating("x", ["word"]), "a pytree of floating arrays; got 'word' at x[0]"),
    "a count among them": (
        lambda: arguments.floating("x", {"layer": [jnp.ones(2), 3]}),
        "a pytree of floating arrays; got a leaf of dtype int64 at x['layer'][1]",
    ),
    "a raw key among them": (
        lambda: arguments.floating("x", {"key": OLD}),
        "a pytree of floating arrays; got a leaf of dtype uint32 at x['key']",
    ),
    "a module": (
        lambda: arguments.floating("x", Module(jnp.ones(2), Module(jnp.ones(2), "relu"))),
        "a pytree of floating arrays; got 'relu' at x.inner.inner" + arguments.PARTITION,
    ),
    "a module of counts": (
        lambda: arguments.floating("x", {"layer": Module(jnp.ones(2), jnp.arange(3))}),
        "a pytree of floating arrays; got a leaf of dtype int64 at x['layer'].inner" + arguments.PARTITION,
    ),
    "one key for many": (
        lambda: checks.prng_key("x", OLD, 1),
        "PRNG keys with 1 axis, such as jax.random.split(jax.random.key(0), 3); "
        "got an array of dtype uint32 and shape (2,)",
    ),
}


@pytest.mark.parametrize(("call", "said"), SENTENCES.values(), ids=SENTENCES)
def test_what_is_something_else_is_named(call, said):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value) == f"x must {'hold' if said.startswith('at least one') else 'be'} {said}"


def test_what_is_allowed_comes_back():
    assert [checks.whole("x", n, 1, 3) for n in (1, 3, np.int32(2))] == [1, 3, 2]
    assert checks.whole("x", 10**9) == 10**9
    assert [checks.prng_key("x", key) is key for key in (KEY, OLD)] == [True, True]
    assert arguments.sequence("x", [1, 2], 2).dtype == arguments.hyperparameter("x", np.arange(2), 0).dtype == float
    assert arguments.sequence("x", []).shape == (0,)
    half = jnp.ones((), "bfloat16")
    assert arguments.hyperparameter("x", half, 0) is half
    assert checks.choice("x", "b", {"a": 1, "b": 2}) == 2
    assert checks.switch("x", False) is False
    assert checks.alike("x", jax.tree.map(jnp.ones_like, PARAMS), PARAMS) is None
    leaves = jax.tree.leaves(arguments.floating("x", {"a": 1j, "b": np.float32(1)}))
    assert [leaf.dtype for leaf in leaves] == ["complex128", "float32"]


def test_decays_that_stand_beside_decays_are_named_by_the_caller():
    """No range tells one from another, nor from an eps."""
    for call in (
        lambda: scales.AdaBelief(0.999, 1e-8),
        lambda: directions.LionInterpolation(0.99, 0.9),
        lambda: gdlab.sgdw(0.1, 1e-2, 0.9),
        lambda: gdlab.adamw(0.1, 0.9, 0.999, 1e-8, 1e-8),
        lambda: gdlab.polyak(1.0, 1e-8),
        lambda: gdlab.adagrad(0.1, 0.1),
        lambda: gdlab.schedules.StepDecay(0.1, 10, 0.5),
        lambda: gdlab.schedules.Exponential(0.1, 1000, 0.9),
        lambda: gdlab.schedules.InverseTime(0.1, 100, 0.5),
    ):
        with pytest.raises(TypeError, match="positional argument"):
            call()


def test_a_batch_of_keys_has_an_axis():
    for keys in (jax.random.split(KEY, 3), jax.random.split(OLD, 3)):
        assert checks.prng_key("x", keys, 1) is keys


def test_arrays_go_through_unread():
    foreign = type("Foreign", (), {"__array__": lambda self, dtype=None, copy=None: np.array([3, 4])})()
    assert arguments.hyperparameter("x", foreign, 0, 1).tolist() == [3.0, 4.0]
    assert arguments.hyperparameter("x", jnp.array([2.0]), 0, 1).tolist() == [2.0]
    assert jax.jit(lambda x: arguments.hyperparameter("x", x, 0, 1))(2) == 2


def test_what_came_fits_in_eighty_characters():
    assert arguments.shown("x" * 78) == repr("x" * 78)
    assert arguments.shown("x" * 79) == repr("x" * 79)[:77] + "..."
    assert arguments.shown(["a\nb"]) == r"['a\nb']"


def test_every_argument_can_be_named():
    """But for those of `trials`, whose names are free for the hyperparameters."""
    modules = [importlib.import_module(found.name) for found in pkgutil.walk_packages(gdlab.__path__, "gdlab.")]
    functions = {
        f"{module.__name__}.{name}": member
        for module in modules
        for name, member in inspect.getmembers(module, inspect.isfunction)
        if member.__module__ == module.__name__
    }
    assert len(functions) > 200
    nameless = {
        name
        for name, function in functions.items()
        for one in inspect.signature(function).parameters.values()
        if one.kind is one.POSITIONAL_ONLY
    }
    assert nameless == {"gdlab.sweeps.trials.trials"}
