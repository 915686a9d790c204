"""`prove_saddle` bounds v.Hv, at a point and on boxes; Arb replays a record of it, and a false one is refused."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian import prove_saddle

pytestmark = pytest.mark.full

flint = pytest.importorskip("flint")
pytest.importorskip("ival")

from hessian.proofs.kernels import adjoint  # noqa: E402
from hessian.proofs.kernels import arb as judge  # noqa: E402
from hessian.proofs.kernels.balls import Balls  # noqa: E402
from hessian.proofs.lowering import lowered  # noqa: E402
from hessian.proofs.program import FUNCTIONS  # noqa: E402
from hessian.proofs.replay import read, replayed  # noqa: E402

DRAW = np.random.default_rng(20)
X, Y = jnp.asarray(DRAW.normal(size=(12, 3))), jnp.asarray(DRAW.integers(0, 4, 12))


def layers(activation):
    def loss(params):
        h = activation(X @ params["a"] + params["b"])
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(h @ params["c"]), Y[:, None], 1))

    return loss


def normed(x):
    return jnp.tanh((x - jnp.mean(x, -1, keepdims=True)) * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-5))


def squared_softmax(params):
    return jnp.sum(jax.nn.softmax(X @ params["a"] + params["b"], axis=0) ** 2) + jnp.sum(params["c"] ** 4)


def tied_logsumexp(params):
    return jnp.sum(jax.nn.logsumexp(0 * X[:, :1] * params["b"] + params["b"][0], axis=1)) + jnp.sum(params["a"] ** 2)


LOSSES = {
    **{name: layers(getattr(jax.nn, name)) for name in ("tanh", "sigmoid", "softplus", "gelu", "silu", "relu")},
    "layer norm": layers(normed),
    "softmax along the batch": squared_softmax,
    "logsumexp of equal numbers": tied_logsumexp,
}
PARAMS = {name: jnp.asarray(DRAW.normal(size=shape)) for name, shape in (("a", (3, 5)), ("b", (5,)), ("c", (5, 4)))}
DIRECTION = jax.tree.map(lambda leaf: jnp.asarray(DRAW.normal(size=leaf.shape)), PARAMS)


@functools.partial(jax.jit, static_argnums=0)
def curvature_by_jax(loss, params):
    product = jax.jvp(jax.grad(loss), (params,), (DIRECTION,))[1]
    return sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (product, DIRECTION)), strict=True))


def curvature_by_arb(loss, params):
    program, center = lowered(loss, params)
    v = np.concatenate([np.asarray(leaf).reshape(-1) for leaf in jax.tree.leaves(DIRECTION)])
    with judge.bits(200):
        return judge.along(program, [flint.arb(x) for x in center.tolist()], v.tolist()).hessian[0, 0]


@pytest.mark.parametrize("name", LOSSES)
def test_the_bounds_at_a_point_hold_the_value_at_200_bits_and_nearly_that_of_jax(name):
    found = prove_saddle(LOSSES[name], PARAMS, DIRECTION)
    exact = curvature_by_arb(LOSSES[name], PARAMS)
    assert found.low <= exact
    assert found.high >= exact
    assert found.high - found.low <= 1e-11 * max(abs(float(exact)), 1)
    assert float(exact) == pytest.approx(float(curvature_by_jax(LOSSES[name], PARAMS)), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("name", LOSSES)
def test_the_bounds_on_a_box_hold_the_values_at_its_corners_and_inside(name):
    radius = 1e-5
    found = prove_saddle(LOSSES[name], PARAMS, DIRECTION, radius=radius)
    assert not found.reason
    draw = np.random.default_rng(21)
    for corner in (np.sign, lambda at: at):
        at = jax.tree.map(lambda leaf: leaf + 0.999 * radius * corner(draw.uniform(-1, 1, leaf.shape)), PARAMS)  # noqa: B023
        exact = curvature_by_arb(LOSSES[name], at)
        assert found.low <= exact
        assert found.high >= exact
    slopes = jax.jit(jax.grad(lambda params: curvature_by_jax(LOSSES[name], params)))(PARAMS)
    growth = sum(float(jnp.sum(jnp.abs(leaf))) for leaf in jax.tree.leaves(slopes))
    steady = 1e-6 * abs(found.low)  # where it does not grow to the first order
    assert (found.high - found.low) / 2 <= 2 * radius * growth + steady


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_gradient_of_the_curvature_is_that_of_jax_for_every_function(name):
    inside = {"acosh": 1.5, "atanh": 0.1, "asin": 0.1, "acos": 0.1}.get(name, 0.4)
    function = {
        **{"neg": jnp.negative, "square": jnp.square, "abs": jnp.abs, "sign": jnp.sign, "cbrt": jnp.cbrt},
        **{"logistic": jax.nn.sigmoid, "rsqrt": jax.lax.rsqrt, "erf": jax.lax.erf},
    }.get(name) or getattr(jnp, name)

    def loss(w):
        return jnp.sum(function(w[:3]) * w[3:]) + function(w[0] * w[1] / w[2])

    at = inside + jnp.array([0.0, 0.1, 0.05, -0.2, 0.3, 0.2])
    v = jnp.array([1.0, -0.5, 0.3, 0.2, 0.7, -1.1])
    program, center = lowered(loss, at)
    made = adjoint.gradient(program, Balls(center), np.asarray(v))
    exact = jax.jit(jax.grad(lambda w: jnp.vdot(v, jax.jvp(jax.grad(loss), (w,), (v,))[1])))(at)
    np.testing.assert_allclose(made.mid, exact, rtol=1e-10, atol=1e-10)
    assert np.all(made.rad < 1e-10)


def test_planted_saddles_are_proved_and_bowls_never_are():
    draw = np.random.default_rng(22)
    for n in (2, 5, 30):
        for _ in range(10):
            basis, _ = np.linalg.qr(draw.normal(size=(n, n)))
            values = 10.0 ** draw.uniform(-3, 3, n)
            bowl, saddle = (basis * values) @ basis.T, (basis * np.r_[-values[0], values[1:]]) @ basis.T
            at = jnp.asarray(draw.normal(size=n))
            assert prove_saddle(lambda w, h: w @ h @ w / 2, at, jnp.asarray(basis[:, 0]), saddle).proved
            assert not prove_saddle(lambda w, h: w @ h @ w / 2, at, jnp.asarray(draw.normal(size=n)), bowl).proved


def test_a_kink_inside_the_box_is_refused_by_name():
    found = prove_saddle(lambda w: jnp.sum(jax.nn.relu(w) - w**2), jnp.array([1e-3, 1.0]), jnp.ones(2), radius=1e-2)
    assert not found.proved
    assert "undecided" in found.reason
    assert prove_saddle(
        lambda w: jnp.sum(jax.nn.relu(w) - w**2), jnp.array([1e-3, 1.0]), jnp.ones(2), radius=1e-4
    ).proved


@pytest.mark.parametrize("larger", [lambda w: jnp.maximum(0.3, w), lambda w: jnp.maximum(w, 0.3)])
def test_a_kink_inside_the_box_is_refused_on_whichever_side_the_constant_stands(larger):
    def loss(w):
        return jnp.sum(larger(w) ** 2) - 2 * jnp.sum(w**2)  # v.Hv is -8 below 0.3 and -4 above

    at, v = jnp.full(2, 0.31), jnp.ones(2)
    assert not prove_saddle(loss, at, v, radius=2e-2).proved
    for beside, exact in ((at, -4.0), (at - 0.02, -8.0)):
        found = prove_saddle(loss, beside, v, radius=9e-3)
        assert found.low <= exact <= found.high < exact + 1e-9


def test_where_the_curvature_is_zero_nothing_is_claimed():
    for loss in (lambda w: jnp.sum(w**3), lambda w: w[0] * 1.0, lambda w: jnp.sum(w) ** 4):
        assert not prove_saddle(loss, jnp.zeros(2), jnp.ones(2)).proved
        assert not prove_saddle(loss, jnp.zeros(2), jnp.ones(2), radius=1e-3).proved


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"direction": jnp.zeros(2)}, "direction must be finite and not zero"),
        ({"direction": jnp.ones(3)}, "direction must be like params"),
        ({"radius": -1.0}, r"radius must lie in \[0, inf\); got -1"),
    ],
)
def test_bad_input_gets_one_sentence(change, words):
    given = {"direction": jnp.ones(2), **change}
    with pytest.raises(ValueError, match=words):
        prove_saddle(lambda w: jnp.sum(w**2), jnp.ones(2), **given)


@pytest.mark.parametrize("radius", [0.0, 1e-4])
def test_a_record_is_replayed_from_the_file_and_what_is_false_is_refused(tmp_path, radius):
    loss, path = LOSSES["tanh"], tmp_path / "saddle.json"
    made = prove_saddle(loss, PARAMS, DIRECTION, radius=radius)
    made.save(path)
    proof = read(path)
    assert (proof.low, proof.high, proof.radius) == (made.low, made.high, radius)
    assert replayed(proof).passed
    assert radius or "Arb" in replayed(proof).by
    width = made.high - made.low
    for low, high in ((made.low - 3 * width, made.low - width), (made.high + width, made.high + 3 * width)):
        data = json.loads(path.read_text()) | {"low": low.hex(), "high": high.hex()}
        data["statement"] = type(made)("", low, high, radius).statement
        path.with_name("false.json").write_text(json.dumps(data))
        replay = replayed(read(path.with_name("false.json")))
        assert not replay.passed
        assert radius or replay.by.startswith("by Arb in")
    data = json.loads(path.read_text()) | {"radius": (1.0).hex()}
    data["statement"] = type(made)("", made.low, made.high, 1.0).statement
    path.with_name("false.json").write_text(json.dumps(data))
    assert not replayed(read(path.with_name("false.json"))).passed
