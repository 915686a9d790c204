"""Models as they are: the verdict on a module is that on its floating arrays."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import Tensor

import hessian
from hessian.models import partition

pytestmark = pytest.mark.full


@jax.tree_util.register_dataclass
@dataclass
class Net:
    """A module whose fields are all leaves."""

    inner: Any
    act: Any
    outer: Any
    width: int
    key: Any


X = jnp.linspace(-1, 1, 6)[:, None] * jnp.array([1.0, 0.5])
INNER, OUTER, KEY = jnp.array([[0.3, -0.2], [0.1, 0.4]]), jnp.array([0.5, -0.6]), jax.random.key(5)


def net():
    return Net(INNER, jnp.tanh, OUTER, 2, KEY)


def fit(model, x):
    noise = jax.random.normal(model.key, (2,)) * 0.1
    out = model.act(x @ model.inner + noise) @ model.outer
    return jnp.mean((out - x[:, 0] / model.width) ** 2), {"out": out}  # as scripts return it, with what they plot


def plain(arrays, x):
    return fit(Net(arrays["inner"], jnp.tanh, arrays["outer"], 2, KEY), x)[0]


ARRAYS = {"inner": INNER, "outer": OUTER}
DIRECTION = {"inner": jnp.ones((2, 2)), "outer": -jnp.ones(2)}
# What each function says of a loss at a point.
SAYS = {
    "hvp": lambda loss, at, v: hessian.hvp(loss, at, X)(v),
    "spectrum": lambda loss, at, v: hessian.spectrum(loss, at, X).eigenvalues,
    "extremal": lambda loss, at, v: hessian.extremal(loss, at, X).eigenvalues,
    "trace": lambda loss, at, v: hessian.trace(loss, at, X, num_matvecs=6).value,
    "diagonal": lambda loss, at, v: hessian.diagonal(loss, at, X, num_matvecs=6).value,
    "density": lambda loss, at, v: hessian.density(loss, at, X).nodes,
    "minimum_ratio": lambda loss, at, v: hessian.minimum_ratio(loss, at, X),
    "sharpness": lambda loss, at, v: hessian.sharpness(loss, at, X).value,
    "classify": lambda loss, at, v: hessian.classify(loss, at, X),
    "classify, by products": lambda loss, at, v: hessian.classify(loss, at, X, method="lanczos").lowest.low,
    "taylor": lambda loss, at, v: hessian.taylor(loss, at, X)(v),
    "quadratic_model": lambda loss, at, v: hessian.quadratic_model(loss, at, X)(v),
    "trust_region_step": lambda loss, at, v: hessian.trust_region_step(loss, at, X, radius=0.1),
    "newton_step_length": lambda loss, at, v: hessian.newton_step_length(loss, at, X),
    "escape_trajectory": lambda loss, at, v: hessian.escape_trajectory(loss, at, X, optimizer=optax.sgd(0.1), steps=3)[
        0
    ],
}


def of_net(arrays):
    return Net(arrays["inner"], None, arrays["outer"], None, None)


@pytest.mark.parametrize("name", SAYS)
def test_a_module_is_seen_as_its_arrays_are(name):
    say = SAYS[name]
    whole, arrays = say(fit, net(), of_net(DIRECTION)), say(plain, ARRAYS, DIRECTION)
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-12)


WAYS = {
    "escape": lambda loss, at: hessian.escape(loss, at, X).params,
    "find_minimum": lambda loss, at: hessian.find_minimum(loss, at, X, finish=3).params,
    "escape_trajectory": lambda loss, at: (
        hessian.escape_trajectory(loss, at, X, optimizer=optax.sgd(0.1), steps=3).params
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_way_leads_to_a_module_that_can_be_called(name):
    there, arrays = WAYS[name](fit, net()), WAYS[name](plain, ARRAYS)
    assert jax.tree.structure(there) == jax.tree.structure(net())
    assert (there.act, there.width) == (jnp.tanh, 2)
    np.testing.assert_allclose(there.inner, arrays["inner"], rtol=1e-9)
    np.testing.assert_allclose(fit(there, X)[0], plain(arrays, X), rtol=1e-9)


def outputs(model, x):
    return model.act(x @ model.inner) @ model.outer


def plain_outputs(arrays, x):
    return outputs(Net(arrays["inner"], jnp.tanh, arrays["outer"], 2, KEY), x)


def squares(z, y):
    return jnp.mean((z - y) ** 2)


SIGMA = {"inner": jnp.full((2, 2), 4.0), "outer": jnp.full(2, 9.0)}
# Losses made of others, of a module and of its arrays, with their arguments behind the parameters.
MADE = {
    "gauss_newton": (
        (hessian.gauss_newton(outputs, squares), X, X[:, 0]),
        (hessian.gauss_newton(plain_outputs, squares), X, X[:, 0]),
    ),
    "empirical_fisher": (
        (hessian.empirical_fisher(lambda p, x: outputs(p, x) ** 2), X),
        (hessian.empirical_fisher(lambda p, x: plain_outputs(p, x) ** 2), X),
    ),
    "preconditioned": ((hessian.preconditioned(fit), of_net(SIGMA), X), (hessian.preconditioned(plain), SIGMA, X)),
    "microbatched": ((hessian.microbatched(fit, 4), X), (hessian.microbatched(plain, 4), X)),
    "pooled": ((hessian.pooled(fit), [(X[:2],), (X[2:],)]), (hessian.pooled(plain), [(X[:2],), (X[2:],)])),
}


@pytest.mark.parametrize("name", MADE)
def test_losses_made_of_the_loss_of_a_module_are_those_of_its_arrays(name):
    (loss, *args), (alone, *others) = MADE[name]
    product = hessian.hvp(loss, net(), *args)(of_net(DIRECTION))
    expected = hessian.hvp(alone, ARRAYS, *others)(DIRECTION)
    np.testing.assert_allclose(product.inner, expected["inner"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(product.outer, expected["outer"], rtol=1e-6, atol=1e-9)


def test_critical_points_of_a_module_are_modules():
    """Of (1 - w0 w1)^2 + (w0 - w1)^2, whose points are known: the origin, and (1, 1) with its mirror image."""
    loss = lambda m: (1 - m.inner[0] * m.inner[1]) ** m.width + (m.act(m.inner[0] - m.inner[1])) ** 2  # noqa: E731
    starts = Net(jnp.array([[1.1, 0.9], [0.1, 0.0]]), lambda x: x, None, 2, jnp.stack([KEY, KEY]))
    found = hessian.find_critical_points(loss, starts)
    assert found.kind.tolist() == ["minimum", "saddle"]
    np.testing.assert_allclose(found.params.inner, [[1, 1], [0, 0]], atol=1e-6)
    assert (found.params.width, found.params.key.shape) == (2, (2,))
    with pytest.raises(ValueError, match=r"^starts must have equal arrays where these are no parameters"):
        hessian.find_critical_points(loss, Net(starts.inner, starts.act, None, 2, jnp.array([1, 2])))


def valley(p):
    return p["x"] ** 2 - p["y"] ** 2 + p["y"] ** 4


VALLEY = {"x": jnp.float64(0), "y": jnp.float64(0)}


@pytest.mark.parametrize("trainable", [{"x": True, "y": False}, lambda path: path == "['x']"])
def test_a_verdict_on_the_free_part_is_that_of_the_loss_with_the_rest_held_and_says_so(trainable):
    point = hessian.classify(valley, VALLEY, trainable=trainable)
    assert (hessian.classify(valley, VALLEY).kind, point.kind, int(point.frozen)) == ("saddle", "minimum", 1)
    assert "of the free part, with 1 parameter frozen" in point.certificate
    assert hessian.escape(valley, VALLEY, trainable=trainable).reason == "no negative curvature beyond the zero band"


def test_a_way_out_leaves_what_is_held():
    held = {"x": jnp.float64(0.5), "y": jnp.float64(0)}
    way = hessian.escape(valley, held, trainable={"x": False, "y": True})
    assert float(way.params["x"]) == 0.5
    assert float(way.loss_after) < float(way.loss_before)
    with pytest.raises(ValueError, match=r"^trainable must choose at least one floating array"):
        hessian.escape(valley, held, trainable=False)
    with pytest.raises(ValueError, match=r"^trainable must be a pytree of bools like params"):
        hessian.classify(valley, held, trainable=3)


def test_a_proof_of_the_free_part_says_what_is_held():
    pytest.importorskip("flint")
    proof = hessian.prove(valley, VALLEY, trainable={"x": True, "y": False})
    assert (proof.kind, hessian.prove(valley, VALLEY).kind) == ("minimum", "saddle")
    assert proof.statement.endswith("; 1 other parameter is held")


def test_a_proof_of_a_module_is_that_of_its_arrays():
    pytest.importorskip("flint")
    model = {"w": jnp.array([0.0, 0.0]), "f": jnp.tanh, "n": 2}
    proof = hessian.prove(lambda m: (1 - m["w"][0] * m["w"][1]) ** m["n"], model)
    assert proof.kind == hessian.prove(lambda w: (1 - w[0] * w[1]) ** 2, model["w"]).kind == "saddle"


class Variable:
    """What flax.nnx calls a variable."""

    def __init__(self, value):
        self.value = value


class Statistic(Variable):
    """A variable that is no parameter."""


jax.tree_util.register_pytree_node(Statistic, lambda node: ((node.value,), None), lambda _, parts: Statistic(*parts))


def test_the_state_of_a_model_is_frozen():
    """The loss changes its statistic in place; curvature is that at the statistic given, and it stays as it was."""

    def loss(model):
        value = jnp.sum(model["w"] ** 2) * model["scale"].value
        model["scale"].value = model["scale"].value * 10
        return value

    model = {"w": jnp.ones(2), "scale": Statistic(jnp.float64(3))}
    assert hessian.spectrum(loss, model).eigenvalues.tolist() == [6, 6]
    assert float(model["scale"].value) == 3
    stateful = lambda w, state: (jnp.sum(w**2) * state, state * 10)  # noqa: E731
    assert hessian.spectrum(stateful, jnp.ones(2), 3.0).eigenvalues.tolist() == [6, 6]


def test_equal_modules_are_traced_once_and_arrays_are_arguments():
    traces = []

    def counted(model, x):
        traces.append(1)
        return fit(model, x)

    for seed in (1, 2, 3):
        model = net()
        model.key = jax.random.key(seed)
        hessian.escape(counted, model, X)
        traces.append(0)
    parts = "".join(map(str, traces)).split("0")[:-1]
    assert len(parts[1]) == len(parts[2]) < len(parts[0])


def test_the_parts_of_a_pytree_make_it_again_and_plain_ones_are_left_alone():
    params, rest, model = partition(net())
    assert (params.act, params.width, params.key, len(rest)) == (None, None, None, 1)
    assert jax.tree.structure(model.combine(params, rest)) == jax.tree.structure(net())
    assert hash(model) == hash(partition(net())[2])
    assert partition(ARRAYS) == (ARRAYS, (), None)


def test_what_a_loss_returns_beside_its_value_is_not_looked_at():
    beside = lambda w: (jnp.sum(w**2), {"name": "squares", "key": KEY})  # noqa: E731
    assert float(hessian.extremal(beside, jnp.ones(2)).eigenvalues[0]) == pytest.approx(2, rel=1e-12)


def test_text_among_the_parameters_is_named_by_its_path():
    params = {"w": jnp.ones(2), "names": np.array(["a", "b"])}
    with pytest.raises(TypeError, match=r"^params\['names'\] must be an array of numbers; got one of dtype <U1"):
        hessian.classify(lambda params: jnp.sum(params["w"] ** 2), params)


def test_arrays_of_other_libraries_are_data():
    point = hessian.classify(lambda w, data: jnp.sum((w - data[0]) ** 2), jnp.ones(2), (Tensor([1.0, 1.0]),))
    assert point.kind == "minimum"
    mixed = hessian.classify(lambda p: jnp.sum(p["w"] ** 2) - p["b"] ** 2, {"w": Tensor([0.0, 0.0]), "b": 0.0})
    assert (mixed.kind, mixed.index) == ("saddle", 1)
    assert mixed.inertia == (2, 0, 1)


def test_the_ways_down_from_a_saddle_of_the_free_part_leave_the_rest_where_it_is():
    def pulled(p):
        return valley(p) + 0.3 * p["z"] * p["x"]

    ways = hessian.connect(pulled, {**VALLEY, "z": jnp.float64(0)}, trainable=lambda path: "z" not in path)
    np.testing.assert_allclose(np.sort(ways.ends.params["y"]), [-(0.5**0.5), 0.5**0.5], rtol=1e-6)
    assert float(ways.ends.params["z"]) == 0
    assert int(ways.point.frozen) == 1
    assert "1 parameter frozen" in ways.point.certificate
