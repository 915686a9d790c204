"""Whatever dtypes parameters, data and losses have, what comes out is right, or one sentence says what to do."""

import dataclasses
import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import hessian

pytestmark = pytest.mark.full

ONE = {"w": np.array([0.5, -1.5]), "b": np.array(0.25)}
DATA = np.array([1.0, -2.0, 0.5])  # float64

# name -> the dtypes of "w" and "b"
STORAGE = {
    "float32 with float64 data": (jnp.float32, jnp.float32),
    "float32 and float64": (jnp.float32, jnp.float64),
    "bfloat16 and float32": (jnp.bfloat16, jnp.float32),
    "bfloat16": (jnp.bfloat16, jnp.bfloat16),
    "float16": (jnp.float16, jnp.float16),
}


def well(params, data):
    """A saddle at zero with the eigenvalues -2, 2 and 2 |data|^2 / 3 = 3.5."""
    w, b = params["w"], params["b"]
    return (1 - w[0] * w[1]) ** 2 + jnp.mean((b * data) ** 2)


def stored(tree, case):
    w, b = STORAGE[case]
    return {"w": jnp.asarray(tree["w"], w), "b": jnp.asarray(tree["b"], b)}


def stepped(method, loss, params, steps=3):
    """The parameters after steps of a method, and the losses before each."""

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = method.update(grads, state, params, value=value, value_fn=loss)
        return (optax.apply_updates(params, updates), state), params

    (end, _), places = jax.lax.scan(step, (params, method.init(params)), length=steps)
    return end, places


def transformed(method):
    return lambda loss, params, *args: stepped(method, lambda p: loss(p, *args), params)[0]


def starts(params):
    return jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf]), params)


SIZE = np.float64(0.5)  # a strong float64, which no loop of a float32 run may take over

# name -> what of a function's result is like params
LIKE_PARAMS = {
    "hvp": lambda f, p, x: hessian.hvp(f, p, x)(p),
    "spectrum": lambda f, p, x: hessian.spectrum(f, p, x).eigenvectors,
    "extremal": lambda f, p, x: hessian.extremal(f, p, x).eigenvectors,
    "classify": lambda f, p, x: hessian.classify(f, p, x).lowest.vector,
    "classify, lanczos": lambda f, p, x: hessian.classify(f, p, x, method="lanczos").highest.vector,
    "escape": lambda f, p, x: hessian.escape(f, p, x).params,
    "escape, its direction": lambda f, p, x: hessian.escape(f, p, x).direction,
    "find_minimum": lambda f, p, x: hessian.find_minimum(f, p, x, radius=SIZE).params,
    "arrive, with an optimizer": lambda f, p, x: (
        hessian.find_minimum(f, p, x, optimizer=optax.adam(0.1), rounds=2).params
    ),
    "connect": lambda f, p, x: hessian.connect(f, p, x, radius=SIZE / 25).ends.point.lowest.vector,
    "escape_trajectory": lambda f, p, x: (
        hessian.escape_trajectory(f, p, x, optimizer=optax.adam(0.1), steps=2, offset=SIZE).params
    ),
    "diagonal": lambda f, p, x: hessian.diagonal(f, p, x).error,
    "sharpness": lambda f, p, x: hessian.sharpness(f, p, x).direction,
    "keskar": lambda f, p, x: hessian.sharpness(f, p, x, measure="keskar", epsilon=SIZE).direction,
    "circle": lambda f, p, x: hessian.trust_region_step(f, p, x, radius=SIZE, order=2),
    "newton": transformed(hessian.newton(SIZE)),
    "saddle_free_newton": transformed(hessian.saddle_free_newton(SIZE, damping=SIZE)),
    "trust_region": transformed(hessian.trust_region(SIZE)),
    "trust_region, krylov": transformed(hessian.trust_region(SIZE, krylov=1)),
    "cubic_regularization": transformed(hessian.cubic_regularization(SIZE)),
    "newton_cg": transformed(hessian.newton_cg(damping=SIZE, weight=SIZE)),
    "with_saddle_escape": transformed(hessian.with_saddle_escape(optax.adam(0.1), every=2)),
    "perturbed_gd": transformed(hessian.perturbed_gd(SIZE, radius=SIZE, threshold=1.0)),
}


@pytest.mark.parametrize("name", LIKE_PARAMS)
def test_what_is_like_params_has_their_dtypes_whatever_those_of_the_data_are(name):
    for case in STORAGE:
        params = stored(ONE, case)
        found = jax.eval_shape(functools.partial(LIKE_PARAMS[name], well), params, DATA)
        assert jax.tree.map(lambda leaf: leaf.dtype, found) == jax.tree.map(lambda leaf: leaf.dtype, params), case


@pytest.mark.parametrize("case", STORAGE)
def test_curvature_is_computed_in_at_least_float32(case):
    zero = stored(jax.tree.map(jnp.zeros_like, ONE), case)
    working = jnp.float64 if case == "float32 and float64" else jnp.float32
    values = hessian.spectrum(well, zero, DATA).eigenvalues
    assert values.dtype == working
    np.testing.assert_allclose(values, [-2, 2, 3.5], rtol=1e-6)
    np.testing.assert_allclose(hessian.trace(well, zero, DATA).value, 3.5, rtol=1e-6)
    point = hessian.classify(well, zero, DATA)
    assert (point.kind, int(point.index)) == ("saddle", 1)
    np.testing.assert_allclose(hessian.taylor(well, zero, DATA)(stored(ONE, case)), 1 + 1.5 + 0.25**2 * 1.75, rtol=1e-6)


@pytest.mark.parametrize("case", ["float32 with float64 data", "bfloat16"])
def test_a_saddle_is_left_and_the_minimum_found_in_any_dtypes(case):
    zero = stored(jax.tree.map(jnp.zeros_like, ONE), case)
    way = hessian.escape(well, zero, DATA)
    assert way.loss_after == well(jax.tree.map(lambda leaf: leaf.astype(jnp.float32), way.params), DATA)
    tilted = lambda p, x: well(p, x) + (p["w"][0] - p["w"][1]) ** 2  # noqa: E731  # minima at w = 1 and -1
    end = hessian.find_minimum(tilted, stored(ONE, case), DATA)
    assert bool(end.converged)
    np.testing.assert_allclose(np.abs(end.params["w"].astype(float)), 1, rtol=4e-3 if case == "bfloat16" else 1e-5)


def test_a_step_that_rounding_would_turn_uphill_is_not_taken():
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])

    def valley(w):  # so narrow that the neighbours of its floor in bfloat16 lie high above it
        x = turn @ w
        return 300 * x[0] ** 2 + (x[1] - 3) ** 2

    start = jnp.asarray(turn.T @ np.array([0.0, 1.0]), jnp.bfloat16)
    for method in (hessian.trust_region(0.3), hessian.cubic_regularization(), hessian.newton_cg()):
        end, places = stepped(method, valley, start, 12)
        values = [float(valley(np.asarray(place, float))) for place in [*places, end]]
        assert all(after <= before * (1 + 1e-5) for before, after in itertools.pairwise(values))
        assert values[-1] < values[0]
    way = hessian.escape(lambda w: -valley(w), start)
    assert -valley(np.asarray(way.params, float)) <= -values[0] * (1 - 1e-5)


def test_a_float32_loss_of_float64_parameters_is_known_to_float32():
    def loss(w):
        a, b = w.astype(jnp.float32)
        return (1 - a * b) ** 2

    point = hessian.classify(loss, jnp.array([1.1, 1 / 1.1]))  # every point with w0 w1 = 1 is degenerate
    assert point.gradient_norm.dtype == jnp.float32
    assert point.kind not in ("saddle", "minimum")
    assert point.lowest.vector.dtype == jnp.float64


def test_the_inertia_of_numbers_stored_in_half_precision_is_theirs():
    assert [int(count) for count in hessian.inertia(jnp.array([-0.5, 0, 2], jnp.bfloat16))] == [1, 1, 1]


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.complex64])
def test_a_perturbation_stays_in_its_ball_in_every_dtype(dtype):
    step = hessian.perturbed_gd(1.0, radius=0.5, threshold=np.inf)
    grads = jnp.zeros(300, dtype)
    updates, _ = step.update(grads, step.init(grads))
    assert updates.dtype == dtype
    assert 0.45 < np.linalg.norm(np.asarray(updates, complex)) < 0.502  # in so many dimensions all is near the surface


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_means_over_many_examples_neither_overflow_nor_stop_growing_in_half_precision(dtype):
    x, w = jnp.full(3000, 100, dtype), jnp.asarray(1, dtype)
    mean = lambda w, x: jnp.mean(w * x)  # noqa: E731
    for loss, data in ((hessian.microbatched(mean, 7), (x,)), (hessian.pooled(mean), ([(x[:1000],), (x[1000:],)],))):
        value = loss(w, *data)
        assert (float(value), value.dtype) == (100, dtype)


# ------------------------------------------------------------------------------- what does not work, in one sentence


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Module:
    weight: jax.Array
    activation: object


W = jnp.array([0.5, -1.0])


def squares(w, *_):
    return jnp.sum(w**2)


REFUSED = {
    "a word": (
        lambda: hessian.classify(squares, W, W, "mean"),
        "args must be arrays, .* got 'mean' at args\\[1\\].*partial",
    ),
    "a word in a dict": (lambda: hessian.trace(squares, W, {"by": "sum"}), "got 'sum' at args\\[0\\]\\['by'\\]"),
    "a function": (lambda: hessian.spectrum(squares, W, jnp.tanh), "args must be arrays, .*lambda"),
    "words in an array": (lambda: hessian.hvp(squares, W, np.array(["a"])), "args must be arrays, .* <U1"),
    "a number of layers": (
        lambda: hessian.escape(lambda w, n: sum(squares(w) for _ in range(n)), W, 3),
        "loss must take traced arrays, .* bind 3 to it",
    ),
    "a switch": (lambda: hessian.find_minimum(lambda w, on: squares(w) if on else 0.0, W, True), "bind True to it"),
    "a branch": (
        lambda: hessian.trace(lambda w: squares(w) if w[0] > 0 else 0.0, W),
        "loss must take traced .*jax.numpy",
    ),
    "a Python number": (lambda: hessian.trace(lambda w: float(squares(w)), W), "loss must take traced arrays"),
    "value and aux": (lambda: hessian.classify(lambda w: (squares(w), w, w), W), r"tuple of 3: pass lambda.*\)\[0\]$"),
    "a dict": (
        lambda: hessian.escape(lambda w: {"accuracy": 1.0, "loss": squares(w)}, W),
        r"dict of 'accuracy', 'loss': pass lambda.*\['loss'\]$",
    ),
    "nothing": (lambda: hessian.spectrum(lambda w: None, W), "got a NoneType: does it end in a return"),
    "a text": (lambda: hessian.spectrum(lambda w: "loss", W), "loss must return a scalar; got .*str"),
    "a vector": (lambda: hessian.spectrum(lambda w: w, W), r"shape \(2,\): take its mean or its sum"),
    "a count": (lambda: hessian.spectrum(lambda w: jnp.sum(w > 0), W), "loss must return a scalar; got dtype int"),
    "a complex number": (
        lambda: hessian.trace(lambda w: jnp.sum(w + 1j), W),
        "got dtype complex128, which is not real",
    ),
    "a value_fn with aux": (
        lambda: hessian.trust_region().update(
            W, hessian.trust_region().init(W), W, value_fn=lambda w: (squares(w), w, w)
        ),
        r"^value_fn must return a scalar; got a tuple of 3: pass lambda \*args: value_fn",
    ),
    "complex parameters of a step": (
        lambda: hessian.newton_cg().update(W + 0j, hessian.newton_cg().init(W + 0j), W + 0j, value_fn=squares),
        "params must be a pytree of real floating arrays; got complex128",
    ),
    "a complex vector": (lambda: hessian.hvp(squares, W)(W + 1j), "vector must be real, like params"),
    "half precision inside": (
        lambda: hessian.classify(lambda w: squares(w.astype(jnp.bfloat16)), W),
        "loss must return at least float32; at params in float64 it returned bfloat16",
    ),
    "half precision only": (
        lambda: hessian.classify(lambda w: squares(jax.lax.add(w, jnp.ones(2, jnp.bfloat16))), W.astype(jnp.bfloat16)),
        "loss must take params in float32, in which curvature is computed, as well as in bfloat16; it raised TypeError",
    ),
    "one loss for all examples": (
        lambda: hessian.trace(hessian.empirical_fisher(squares), W),
        r"shape \(N,\); got shape \(\)",
    ),
    "a module without arrays": (
        lambda: hessian.classify(lambda m: squares(m.activation(m.weight)), Module("w", jnp.tanh)),
        r"got 'w' at params.weight: partition a module",
    ),
    "a module that is no pytree": (lambda: hessian.spectrum(squares, object()), "at params: partition a module"),
    "no saddle": (
        lambda: hessian.connect(squares, jnp.zeros(2)),
        "saddle must have a negative eigenvalue, along which ways lead down; got minimum: ",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_natural_mistake_is_answered_in_one_sentence(case):
    call, words = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_an_error_of_the_loss_itself_is_not_explained_away():
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        hessian.classify(lambda w, x: (lambda w: squares(w))(w, x), W.astype(jnp.bfloat16), W)


def test_the_line_that_a_refused_module_is_answered_with_mends_it():
    params, loss = Module(W, jnp.sin), lambda m, x: x * jnp.sum(m.activation(m.weight))
    arrays, rest = hessian.split(params, lambda path: path not in [".activation"])
    found = hessian.spectrum(lambda arrays, *args: hessian.partial_loss(loss)(arrays, rest, *args), arrays, 2.0)
    np.testing.assert_allclose(found.eigenvalues, np.sort(-2 * np.sin(W)), rtol=1e-12)


# ------------------------------------------------------------------------------------------ rules of one's own


@jax.custom_vjp
def cube(x):
    return x**3


cube.defvjp(lambda x: (cube(x), x), lambda x, slope: (3 * x**2 * slope,))


def test_a_rule_of_ones_own_is_differentiated_to_every_order():
    near = hessian.taylor(lambda w: jnp.sum(cube(cube(w))), jnp.array([1.0, 0.0]), order=4)
    h = 0.1  # (1 + h)^9 up to the fourth order
    np.testing.assert_allclose(
        near(jnp.array([1 + h, 0.0])), 1 + 9 * h + 36 * h**2 + 84 * h**3 + 126 * h**4, rtol=1e-12
    )


def test_a_rule_of_ones_own_has_a_gauss_newton_and_a_fisher_matrix():
    x, y = jnp.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]]), jnp.array([1.0, 0.0, 2.0])
    slopes = 3 * (x @ W)[:, None] ** 2 * x  # the Jacobian of (x.w)^3
    gauss = hessian.gauss_newton(lambda w, x: {"out": cube(x @ w)}, lambda z, y: jnp.sum((z["out"] - y) ** 2))
    np.testing.assert_allclose(hessian.product.matrix(gauss, W, x, y), 2 * slopes.T @ slopes, rtol=1e-12)
    fisher = hessian.empirical_fisher(lambda w, x: cube(x @ w))
    np.testing.assert_allclose(hessian.product.matrix(fisher, W, x), slopes.T @ slopes / 3, rtol=1e-12)


@pytest.mark.parametrize("params", [jnp.ones(2), {"w": jnp.ones(2), "name": "net"}], ids=["arrays", "a model"])
def test_a_loss_that_takes_more_is_named_with_what_it_takes(params):
    def loss(params, x, *, noise):
        return jnp.sum(jax.tree.leaves(params)[0] * x) + noise

    said = re.escape(
        "loss must take 2 arguments, params and each of args; got loss(params, x, *, noise): bind what else"
    )
    with pytest.raises(TypeError, match=f"^{said}"):
        hessian.classify(loss, params, jnp.ones(2))


def test_a_loader_among_the_args_is_sent_to_what_takes_it():
    class Loader:
        def __iter__(self):
            yield jnp.ones(2)

    with pytest.raises(TypeError, match=r"goes into hessian\.streamed\(loss, batches\)$"):
        hessian.classify(lambda w, x: jnp.sum((w - x) ** 2), jnp.zeros(2), Loader())
