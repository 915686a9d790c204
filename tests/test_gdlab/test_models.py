"""Models as they are: what is trained, what is carried, and what comes back."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import Tensor

import gdlab
from gdlab.models import partition

pytestmark = pytest.mark.full


@jax.tree_util.register_dataclass
@dataclass
class Layer:
    """A module whose fields are all leaves: arrays, a function, a whole number, a key, a number."""

    weight: Any
    act: Any
    width: int
    key: Any
    scale: float


class Variable:
    """What flax.nnx calls a variable: a node that holds one value, which may be replaced in place."""

    def __init__(self, value):
        self.value = value


class Param(Variable):
    """A variable that is trained."""


class Statistic(Variable):
    """A variable that is not."""


for kind in (Param, Statistic):
    jax.tree_util.register_pytree_with_keys(
        kind,
        lambda node: (((jax.tree_util.GetAttrKey("value"), node.value),), None),
        lambda _, children, kind=kind: kind(*children),
    )

X = jnp.linspace(-1, 1, 8)[:, None] * jnp.array([1.0, 0.5])


def layer():
    return {"first": Layer(jnp.array([0.5, -0.3]), jnp.tanh, 2, jax.random.key(3), 2.0), "none": None, "name": "net"}


def fit(model, x=X):
    one = model["first"]
    noise = jax.random.normal(one.key, (2,)) * 0.1
    return jnp.mean((one.act(x @ (one.weight + noise)) * one.scale - x[:, 0] / one.width) ** 2)


def plain(weight, x=X):
    return fit({"first": Layer(weight, jnp.tanh, 2, jax.random.key(3), 2.0)}, x)


RUNS = {
    "minimize": gdlab.minimize,
    "minimize with patience": lambda *args, **how: gdlab.minimize(*args, **how, patience=100),
    "long_run": gdlab.long_run,
    "an optimizer of optax": lambda loss, _, *args, **how: gdlab.minimize(loss, optax.adam(0.1), *args, **how),
}


@pytest.mark.parametrize("run", RUNS)
def test_a_module_is_trained_as_its_arrays_are_and_comes_back_as_it_came(run):
    model = layer()
    whole, arrays = (
        RUNS[run](loss, gdlab.adam(0.1), at, 9) for loss, at in ((fit, model), (plain, model["first"].weight))
    )
    np.testing.assert_array_equal(whole.params["first"].weight, arrays.params)
    np.testing.assert_array_equal(whole.history["loss"], arrays.history["loss"])
    back = whole.params["first"]
    assert (back.act, back.width, back.scale, whole.params["name"]) == (jnp.tanh, 2, 2.0, "net")
    assert jnp.array_equal(jax.random.key_data(back.key), jax.random.key_data(model["first"].key))
    assert jax.tree.structure(whole.params) == jax.tree.structure(model)


def test_a_module_is_swept_and_tuned_as_it_is():
    def final(rate):
        return gdlab.minimize(fit, gdlab.gd(rate), layer(), 3).history["loss"]

    swept = gdlab.sweep(final, rate=jnp.array([0.1, 0.2]))["value"]
    np.testing.assert_allclose(
        swept[1], gdlab.minimize(plain, gdlab.gd(0.2), layer()["first"].weight, 3).history["loss"]
    )
    whole = gdlab.tune(fit, gdlab.gd(0.1), layer(), 3, rounds=3)
    np.testing.assert_allclose(
        whole.score, gdlab.tune(plain, gdlab.gd(0.1), layer()["first"].weight, 3, rounds=3).score
    )


def test_equal_modules_are_traced_once():
    traces = []

    def counted(model):
        traces.append(1)
        return fit(model)

    for scale in (1.0, 1.0, 2.0):
        model = layer()
        model["first"].scale = scale
        gdlab.minimize(counted, gdlab.gd(0.1), model, 2)
        traces.append(0)
    first, second, third = (len(part) for part in "".join(map(str, traces)).split("0")[:-1])
    assert (second, third) == (0, first)  # a number of a module is compiled in


FILTERS = {
    "a function of paths": lambda path: "b" in path,
    "a pytree of bools": {"a": False, "b": {"c": True}},
    "a prefix": {"a": False, "b": True},
}


@pytest.mark.parametrize("name", FILTERS)
def test_what_is_not_chosen_stays(name):
    params = {"a": jnp.ones(2), "b": {"c": jnp.ones(2)}}
    loss = lambda p: jnp.sum((p["a"] + p["b"]["c"]) ** 2)  # noqa: E731
    run = gdlab.minimize(loss, gdlab.gd(0.1), params, 1, trainable=FILTERS[name])
    np.testing.assert_array_equal(run.params["a"], params["a"])
    np.testing.assert_allclose(run.params["b"]["c"], 1 - 0.1 * 4)


@jax.tree_util.register_dataclass
@dataclass
class Affine:
    """A module that is called, as those of Equinox are, with a part that is None."""

    weight: Any
    shift: Any
    note: Any

    def __call__(self, x):
        return self.weight * x + self.shift


def test_a_filter_may_be_a_module_that_is_called_and_has_parts_that_are_none():
    model, x = Affine(jnp.ones(2), jnp.zeros(2), None), jnp.array([1.0, 2.0])
    loss = lambda model: jnp.sum((model(x) - 3) ** 2)  # noqa: E731
    run = gdlab.minimize(loss, gdlab.gd(0.1), model, 1, trainable=Affine(False, True, None))
    np.testing.assert_array_equal(run.params.weight, model.weight)
    np.testing.assert_allclose(run.params.shift, 0.1 * 2 * (3 - x))


def test_a_variable_that_is_no_parameter_changes_as_the_loss_changes_it():
    """An average of the inputs, kept in place: after t steps it is 1 - 1/2^t of their mean."""

    def loss(model):
        model["mean"].value = (model["mean"].value + 3.0) / 2
        return jnp.sum((model["w"].value - model["mean"].value) ** 2)

    model = {"w": Param(jnp.zeros(1)), "mean": Statistic(jnp.zeros(()))}
    run = gdlab.minimize(loss, gdlab.gd(0.25), model, 4)
    assert float(run.params["mean"].value) == 3 * (1 - 0.5**4)
    w, mean = 0.0, 0.0
    for _ in range(4):
        mean = (mean + 3) / 2
        w -= 0.25 * 2 * (w - mean)
    np.testing.assert_allclose(run.params["w"].value, [w])
    assert float(model["mean"].value) == 0  # the given one is not touched
    long = gdlab.long_run(loss, gdlab.gd(0.25), model, 4, chunk=3)
    np.testing.assert_array_equal(long.params["mean"].value, run.params["mean"].value)


class Transformed(NamedTuple):
    """What haiku makes of a model: its functions, in a pytree."""

    init: Any
    apply: Any


class OnlyFunctions:
    """What has functions of such names, and no arrays."""

    def __init__(self, *names):
        for name in names:
            setattr(self, name, lambda *args: None)

    def __repr__(self):
        return "a model"


WRONG = {
    "whole numbers": (
        {"w": jnp.arange(2)},
        r"got a leaf of dtype int64 at params\['w'\]: jnp.asarray\(x, float\) makes",
    ),
    "no arrays": ({"f": jnp.tanh}, "got .*tanh"),
    "nothing": ({}, "got {}$"),
    "a model of flax": (OnlyFunctions("init", "apply"), r"got a model at params: hand over what its init\(key, x\)"),
    "functions of haiku": (
        Transformed(lambda key: None, lambda p: 0.0),
        r"got <function.* at params.init: hand over what its init\(key, x\)",
    ),
    "a module of torch": ({"net": OnlyFunctions("parameters")}, r"params\['net'\]: hand over its parameters as arrays"),
    "an optimizer": (OnlyFunctions("init", "update"), "got a model at params$"),
    "text": (
        {"w": jnp.ones(1), "t": np.array(["a"])},
        r"params\['t'\] must be an array of numbers; .* np.array\(x, float\)",
    ),
    "nothing chosen": (None, r"trainable must choose at least one floating array of params; got none of params\['w'\]"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_trained_is_named_by_its_path_with_what_mends_it(name):
    params, said = WRONG[name]
    how = {"trainable": lambda path: False} if params is None else {}
    with pytest.raises(TypeError, match=said):
        gdlab.minimize(
            lambda p: 0.0, gdlab.gd(0.1), params or {"w": jnp.ones(1)} if params is None else params, 1, **how
        )


def test_a_filter_is_not_named_where_nothing_could_be_chosen():
    with pytest.raises(TypeError, match=r"^params must hold at least one floating array; got a leaf of dtype int64"):
        gdlab.minimize(lambda p: 0.0, gdlab.gd(0.1), {"w": jnp.arange(2)}, 1, trainable=lambda path: True)


@pytest.mark.parametrize("chosen", [{"a": "yes"}, {"b": True}, 3.5, "w", Param], ids=str)
def test_a_filter_that_does_not_fit_is_named(chosen):
    with pytest.raises(ValueError, match=r"^trainable must be a pytree of bools like params or a prefix of it"):
        gdlab.minimize(lambda p: jnp.sum(p["a"]), gdlab.gd(0.1), {"a": jnp.ones(1)}, 1, trainable=chosen)


def test_the_parts_of_a_pytree_make_it_again():
    tree = [jnp.ones(2), {"n": 3, "s": "a", "i": jnp.arange(2), "k": jax.random.key(0)}, None, 1.5, jnp.tanh]
    params, rest, model = partition("params", tree)
    assert [leaf is None for leaf in jax.tree.leaves(params, is_leaf=lambda x: x is None)].count(False) == 2
    again = model.combine(params, rest)
    assert jax.tree.structure(again) == jax.tree.structure(tree)
    assert all(
        a is b or np.array_equal(a, b) for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(tree), strict=True)
    )
    assert model == partition("params", tree)[2]
    assert hash(model) == hash(partition("params", tree)[2])


def test_a_run_of_a_module_is_swept_as_it_is():
    def run(rate):
        return gdlab.minimize(fit, gdlab.gd(rate), layer(), 2)

    swept = gdlab.sweep(run, rate=[0.1, 0.2])
    alone = run(0.2).params["first"].weight
    np.testing.assert_allclose(swept["params.first.weight"][1], alone, rtol=1e-14)  # tanh of a kernel rounds otherwise
    assert not any(word in name for name in swept for word in ("act", "key", "name", "width", "scale"))


def test_arrays_of_other_libraries_are_data():
    x = np.array([1.0, 3.0])
    runs = [gdlab.minimize(lambda w, data: jnp.mean((w - data["x"]) ** 2), gdlab.gd(0.5), 0.0, 1, args=({"x": data},))
            for data in (Tensor(x), x)]  # fmt: skip
    assert [float(run.params) for run in runs] == [2.0, 2.0]


def test_data_that_are_no_arrays_are_named():
    with pytest.raises(TypeError, match=r"^args\[0\]\['mode'\] must be an array, as it is traced; got 'same'"):
        gdlab.minimize(lambda w, data: w * w, gdlab.gd(0.5), 1.0, 1, args=({"mode": "same"},))


def test_a_run_says_how_many_parameters_it_has_whatever_else_the_model_holds():
    model = {"layer": layer(), "mean": Statistic(jnp.zeros(5)), "scale": Param(jnp.ones(3))}
    run = gdlab.minimize(lambda model: jnp.sum(model["layer"]["first"].weight ** 2), gdlab.gd(0.1), model, 2)
    assert repr(run).startswith("Run: 5 parameters of shapes (2,), (3,), 2 steps")


def test_a_recorder_of_a_part_of_the_model_is_told_where_the_whole_one_is():
    with pytest.raises(TypeError) as raised:
        gdlab.minimize(fit, gdlab.gd(0.1), layer(), 2, record={"again": lambda step: fit(step.params)})
    assert any("step.model is the whole model" in note for note in raised.value.__notes__)
    run = gdlab.minimize(
        fit, gdlab.gd(0.1), layer(), 2, record={"loss": lambda s: s.loss, "again": lambda s: fit(s.model)}
    )
    np.testing.assert_array_equal(run.history["again"], run.history["loss"])
