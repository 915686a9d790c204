"""JavaScript from a jaxpr: what a browser computes is what JAX computes, within the rounding of its terms."""

import base64

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import every
from jax.flatten_util import ravel_pytree

import gdlab
from experiments.playground import operations, script
from experiments.playground.emit import PRELUDE, Refused, emitted
from gdlab.problems import surfaces

pytestmark = pytest.mark.full

SHARE = 1e-12  # of the magnitudes of the terms
DRAWS = 8


@pytest.fixture(scope="module")
def run(browser):
    """What the emitted function makes of rows of numbers, in the system's Chromium.

    With draws, also how far the results move on average when every operation of `text` rounds at random.
    """
    page = browser.new_page()
    page.evaluate(
        """() => {
            let seed = 1;
            const uniform = () => (2 * (seed = (seed * 48271) % 2147483647)) / 2147483647 - 1;
            window.J_ = (x) => x * (1 + 4 * Number.EPSILON * uniform());
            const made = (f, rows, size) => rows.map((x) => { const y = new Float64Array(size); f(x, y); return y });
            window.computed = ([texts, packed, length, size, draws]) => {
                const bytes = Uint8Array.from(atob(packed), (one) => one.charCodeAt(0)), rows = [];
                const told = new Float64Array(bytes.buffer);
                for (let i = 0; i < told.length; i += length) rows.push(told.subarray(i, i + length));
                const [f, g] = texts.map((one) => new Function(one)()), still = made(f, rows, size);
                const sums = rows.map(() => new Float64Array(size));
                for (let k = 0; k < draws; k++) {
                    made(g, rows, size).forEach((y, i) => {
                        for (let j = 0; j < size; j++) sums[i][j] += Math.abs(y[j] - still[i][j]) / draws;
                    });
                }
                const words = [];
                for (const y of [...still, ...sums]) words.push(String.fromCharCode(...new Uint8Array(y.buffer)));
                return btoa(words.join(""));
            };
        }"""
    )

    def computed(text, rows, outputs, noisy=None):
        rows, draws = np.asarray(rows, np.float64), DRAWS if noisy else 0
        texts = [f"{PRELUDE}{one};return f" for one in (text, noisy or text)]
        packed = base64.b64encode(rows.astype("<f8").tobytes()).decode()
        made = page.evaluate("told => computed(told)", [texts, packed, rows.shape[1], outputs, draws])
        still, moved = np.frombuffer(base64.b64decode(made), "<f8").reshape(2, len(rows), outputs)
        return (still, moved) if noisy else still

    return computed


def flat(function, *like):
    """The function of the numbers of its arguments, as one array, and how many they are."""
    numbers, unravel = ravel_pytree([jnp.asarray(one, float) for one in jax.tree.leaves(like)])
    shapes = [jnp.asarray(one) for one in jax.tree.leaves(like)]

    def of(x):
        leaves = [a.astype(b.dtype) for a, b in zip(unravel(x), shapes, strict=True)]
        out = function(*jax.tree.unflatten(jax.tree.structure(like), leaves))
        return jnp.concatenate([jnp.ravel(jnp.asarray(one, float)) for one in jax.tree.leaves(out)])

    return of, numbers


def rounded_at_random(function, *like):
    """The emitted text of a function, in which every operation on floats passes its result through J_."""
    exact = ("floor", "ceil", "sign", "abs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(script.WRAPS, "float64", "J_({})")
        for name, text in operations.FUNCTIONS.items():
            patch.setitem(operations.FUNCTIONS, name, text if name in exact else f"J_({text})")
        return emitted("f", function, *like)


def agrees(run, function, rows, expected, *like):
    """Emitted and run on rows of numbers, a function is JAX's, to SHARE of the magnitudes of its terms.

    These are read off how far its results move on average when every operation rounds at random, by up to four units so
    that hardly one stays where it is: at most the root of the sum of their squares, and thus below the sum.  JAX takes
    subnormal numbers for 0, a browser does not.
    """
    finite = np.isfinite(expected)
    text, outputs = emitted("f", function, *like), expected.shape[1]
    got, moved = run(text, rows, outputs, rounded_at_random(function, *like))
    terms = np.where(finite, moved, 0.0) / (4 * np.finfo(float).eps) + np.abs(np.where(finite, expected, 0.0))
    np.testing.assert_array_equal(np.isfinite(got), finite)
    assert np.all(np.abs(got[finite] - expected[finite]) <= SHARE * terms[finite] + np.finfo(float).tiny)


def on_rows(function, rows, *like):
    """What JAX makes of rows of numbers."""
    return np.asarray(jax.jit(jax.vmap(flat(function, *like)[0]))(rows))


def everything(loss):
    def of(theta):
        return *jax.value_and_grad(loss)(theta), jax.hessian(loss)(theta)

    return of


NAMES = ("linear_net", "octopus_3d", "rastrigin_2d", "mueller_brown", "ill_conditioned_bowl")


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=() if one in NAMES else pytest.mark.full) for one in sorted(surfaces)]
)
def test_value_gradient_and_hessian_of_every_surface_are_those_of_jax(run, name):
    surface = surfaces[name]
    low, high = np.array(surface.box).T
    count = 10_000 if surface.dim <= 4 else 100
    rows = jnp.asarray(np.random.default_rng(0).uniform(low, high, (count, surface.dim)))
    agrees(run, everything(surface.loss), rows, on_rows(everything(surface.loss), rows, rows[0]), rows[0])


def test_a_network_seen_by_two_of_its_weights_is_emitted(run):
    rng = np.random.default_rng(1)
    first, second, x = rng.normal(size=(5, 3)), rng.normal(size=5), rng.normal(size=(12, 3))
    y = np.sin(x.sum(axis=1))

    def loss(theta):
        hidden = jnp.tanh(jnp.asarray(x) @ jnp.asarray(first).at[1, 2].set(theta[0]).T)
        return jnp.mean((hidden @ jnp.asarray(second).at[3].set(theta[1]) - jnp.asarray(y)) ** 2)

    rows = jnp.asarray(rng.uniform(-4, 4, (10_000, 2)))
    agrees(run, everything(loss), rows, on_rows(everything(loss), rows, rows[0]), rows[0])


@pytest.mark.parametrize("make", every())
def test_each_of_a_thousand_steps_from_the_state_of_jax_is_its_step(run, make):
    optimizer, loss = make(1e-3), surfaces["rosenbrock_2d"].loss
    params = jnp.array([-1.2, 1.0])

    def step(optimizer, state, params, grads, value):
        made, state = optimizer.step(grads, state, params, value=value)
        return made.eta, made.sigma, made.m, made.update, state

    def numbers(tree):
        return jnp.concatenate([jnp.ravel(jnp.asarray(a, float)) for a in jax.tree.leaves(tree)])

    def turn(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        made = step(optimizer, state, params, grads, value)
        seen = numbers((optimizer, state, params, grads, value)), numbers(made)
        return (params + made[3], made[4]), seen

    state = optimizer.init(params)
    rows, expected = jax.jit(lambda: jax.lax.scan(turn, (params, state), None, 1000)[1])()
    value, grads = jax.value_and_grad(loss)(params)
    agrees(run, step, rows, np.asarray(expected), optimizer, state, params, grads, value)


def loops(x):
    halved = jax.lax.while_loop(
        lambda c: (c[0] > 1.0) & (c[1] < 60), lambda c: (c[0] / 2, c[1] + 1), (jnp.abs(x[0]), 0)
    )
    total, seen = jax.lax.scan(lambda a, b: (jnp.sin(a) + b, a * b), x[1], jnp.arange(12.0) * x[2])
    back = jax.lax.scan(lambda a, b: (a * 0.5 + b, a), x[1], seen, reverse=True)[1]
    branch = jax.lax.cond(
        x[0] > x[1], lambda x: jnp.exp(-(x**2)), lambda x: jax.lax.cond(x[2] > 0, jnp.cos, jnp.sin, x), x
    )
    switched = jax.lax.switch(jnp.int32(x[2]), [lambda: x[0], lambda: x[1] ** 3, lambda: x[2]])
    return halved, total, seen, back, branch, switched, jax.lax.fori_loop(0, 20, lambda i, a: a + x[0] / (i + 1.0), 0.0)


def whole(x):
    n, m = jnp.int32(x[0] * 1000), jnp.int32(x[1] * 1000)
    wide, bits = jnp.int64(x[0] * 1e9) * jnp.int64(x[1] * 1e9), jax.lax.bitcast_convert_type(x[2], jnp.uint64)
    unsigned = jnp.uint32(n)
    pairs = (n * m * 977, n // 7, n % 7, n & m, n | m, n ^ m, ~n, n << 5, n >> 3, jnp.sign(n), jnp.maximum(n, m))
    big = (wide % 1000003, (bits >> 40), (bits & 0xFF), jnp.sign(wide), jnp.abs(wide) % 1009)
    return (
        *pairs,
        unsigned * unsigned,
        unsigned >> 3,
        *big,
        jnp.round(x),
        jax.lax.round(x),
        n.astype(bool),
        jnp.ldexp(x[0], n % 7),
    )


def places(x):
    at = jnp.int32(jnp.abs(x[0])) % 3
    return (
        x[at], jnp.argmax(x), jnp.argmin(x), x.at[at].set(7.0), x.at[at].add(x[1]), x.at[jnp.array([0, 0, 2])].add(x),
        jax.lax.dynamic_slice(x, (at,), (2,)), jnp.cumsum(x), jnp.cumprod(x[::-1]), jnp.max(x), jnp.prod(x),
        jnp.outer(x, x) @ x, jnp.einsum("i,ij->j", x, jnp.outer(x, x)), jnp.clip(x, -0.5, at),
        jnp.any(x > 1), jnp.all(x > -2), jnp.searchsorted(jnp.array([-2.0, 0.0, 1.0]), x),
        jnp.interp(x[0], jnp.array([-2.0, 0.0, 1.0]), jnp.array([1.0, 0.0, 3.0])),
        jax.nn.softmax(x), jax.nn.logsumexp(x), jax.nn.softplus(x), jax.nn.sigmoid(x), x.astype(jnp.float32) * 1.1,
    )  # fmt: skip


def draws(x):
    key = jax.random.fold_in(jax.random.key(3), jnp.int32(jnp.abs(x[0] * 100)))
    one, two = jax.random.split(key)
    return jax.random.uniform(one, (3,)) * x, jax.random.bits(two, (2,)), jax.random.randint(one, (2,), 0, 1000)


def special(x):
    inside = x / 3.0001
    flat = jax.lax.scan(lambda a, b: (a + b * x[0], a), 0.0, np.arange(3.0))
    return jax.lax.erf(x), jax.lax.erfc(x), jax.lax.erf_inv(inside), jax.nn.gelu(x, approximate=False), flat


@pytest.mark.parametrize("function", [loops, whole, places, draws, special])
def test_loops_whole_numbers_places_and_draws_are_those_of_jax(run, function):
    rows = jnp.asarray(np.random.default_rng(2).uniform(-3, 3, (300, 3)))
    expected = np.asarray(jax.jit(jax.vmap(flat(function, rows[0])[0]))(rows))
    got = run(emitted("f", function, rows[0]), rows, expected.shape[1])
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)


def test_what_is_not_finite_is_so_there_too(run):
    def of(x):
        return (
            1 / x,
            jnp.log(x),
            jnp.sqrt(x),
            x**0.5,
            jnp.maximum(x, 1.0),
            jnp.sign(x),
            jnp.exp(x),
            jnp.isfinite(x),
            1.0**x,
        )

    rows = np.array([[0.0], [-0.0], [np.inf], [-np.inf], [np.nan], [-1.0], [1e300], [1e-300]])
    expected = np.stack([np.array([float(v) for v in of(jnp.float64(x[0]))]) for x in rows])
    np.testing.assert_allclose(run(emitted("f", of, 1.0), rows, expected.shape[1]), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (jax.lax.lgamma, "lgamma"),
        (lambda x: jnp.linalg.eigvalsh(jnp.outer(x, x)), "eigh"),
        (lambda x: jnp.sort(x), "sort"),
        (lambda x: jax.lax.top_k(x, 2), "top_k"),
        (lambda x: jnp.convolve(x, x, mode="same"), "conv_general_dilated"),
        (lambda x: (x * 1j).real, "complex128"),
        (lambda x: x.astype(jnp.float16), "float16"),
        (jax.lax.digamma, "digamma"),
        (lambda x: jax.pure_callback(np.sin, x, x), "pure_callback"),
    ],
)
def test_what_has_no_rule_is_refused_by_name(function, name):
    with pytest.raises(Refused, match=name):
        emitted("f", function, jnp.ones(3))


def test_a_program_that_is_too_long_is_refused():
    with pytest.raises(Refused, match="more than 100 operations"):
        emitted("f", lambda x: jnp.outer(jnp.sin(x), x) @ x, jnp.ones(30), longest=100)


def test_what_nobody_reads_and_what_was_said_is_left_out():
    text = emitted("f", lambda x: (jnp.sin(x) + jnp.sin(x), jnp.cos(x))[0], 1.0)
    assert text.count("Math.sin") == 1
    assert "Math.cos" not in text


def test_an_optimizer_is_emitted_with_its_hyperparameters_as_inputs(run):
    adam = gdlab.adam(0.1)
    text = emitted("f", lambda o, s, g: o.update(g, s)[0], adam, adam.init(1.0), 2.0)
    numbers = np.asarray(flat(lambda *a: a, adam, adam.init(1.0), 2.0)[1])
    assert "0.999" not in text
    slower = numbers.copy()
    slower[numbers == 0.1] = 0.05
    np.testing.assert_allclose(run(text, [numbers, slower], 1)[:, 0], [-0.1, -0.05], rtol=1e-7)
