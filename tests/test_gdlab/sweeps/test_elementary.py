"""Elementary functions in vector form: as near as they say to more bits, right beyond limits, found at any depth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
from gdlab.ground.jaxprs import jaxprs_in_params
from gdlab.sweeps import elementary

pytestmark = pytest.mark.full

FUNCTIONS = {"sine": (elementary.sine, np.sin), "cosine": (elementary.cosine, np.cos)}


def numbers(dtype):
    """Everywhere up to the limit, close to zero, and beside every zero and extremum."""
    random, places = np.random.default_rng(0), np.arange(-63, 64) * np.pi / 2
    limit = elementary.LIMIT
    spread = [random.uniform(-limit, limit, 2**18), random.normal(size=2**16), [0.0, -0.0, limit]]
    beside = [np.nextafter(places.astype(dtype), dtype(end)) for end in (-200, 0, 200)]
    return np.concatenate([*spread, 1e-5 * spread[1], places, *beside]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_within_two_ulp_of_more_bits(name, dtype):
    ours, exact = FUNCTIONS[name]
    x = numbers(dtype)
    true = exact(x.astype(np.longdouble))  # of 64 bits: a thousandth of an ulp of float64
    ulp = np.spacing(np.abs(true).astype(dtype))
    assert np.max(np.abs(np.asarray(jax.jit(ours)(x)) - true) / ulp) <= 2


@pytest.mark.parametrize("name", FUNCTIONS)
def test_beyond_the_limit_and_without_a_value_it_is_the_library(name):
    ours, _ = FUNCTIONS[name]
    x = np.array([1.0, 101.0, -1e4, 1e30, np.inf, -np.inf, np.nan])
    np.testing.assert_array_equal(ours(x), {"sine": jnp.sin, "cosine": jnp.cos}[name](x))
    assert np.isnan(ours(np.array([0.5, np.nan]))[1])


def test_the_sine_of_a_negative_zero_is_one():
    assert np.signbit(elementary.sine(np.array([-0.0, 0.0]))).tolist() == [True, False]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_tangent_is_within_eight_ulp_one_in_the_mean_and_never_beyond_one(dtype):
    random, tiny = np.random.default_rng(0), np.finfo(dtype).tiny
    spread = [random.uniform(-20, 20, 2**17), random.normal(size=2**17), np.geomspace(2 * tiny, 20, 2**16)]
    x = np.concatenate(spread).astype(dtype)
    y, true = np.asarray(jax.jit(elementary.tangent)(x)), np.tanh(x.astype(np.longdouble))
    off = np.abs(y - true) / np.spacing(np.abs(true).astype(dtype))
    assert np.max(off) <= 8
    assert np.mean(off) <= 1
    assert np.max(np.abs(y)) == 1


def test_the_tangent_of_zeros_infinities_and_what_is_no_number():
    x = np.array([-0.0, 0.0, np.inf, -np.inf, np.nan])
    y = np.asarray(elementary.tangent(x))
    np.testing.assert_array_equal(y, [0, 0, 1, -1, np.nan])
    assert np.signbit(y[:2]).tolist() == [True, False]


def deep(x):
    """Sines in a jit, a scan, a while, a branch and a custom rule."""
    x = jax.lax.scan(lambda x, _: (jnp.sin(x), jnp.cos(x)), x, length=2)[0]
    x = jax.lax.while_loop(lambda x: jnp.sum(jnp.cos(x)) > 5, lambda x: x + jnp.sin(x) / 9, x)
    x = jax.lax.cond(x[0] > 0, jnp.sin, lambda x: x, x) + jax.jit(jnp.cos)(x)
    return {"x": jax.nn.silu(x) * jnp.sin(x), "dtype": jnp.sin(x.astype(jnp.bfloat16))}


def primitives(jaxpr):
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from primitives(getattr(inner, "jaxpr", inner))


def test_a_program_keeps_its_results_and_has_the_library_in_branches_alone():
    x = jnp.linspace(0.1, 3.0, 8)
    made = elementary.in_vectors(deep)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13), made(x), deep(x))
    counted = [eqn for eqn in primitives(jax.make_jaxpr(made)(x).jaxpr) if eqn.primitive.name in ("sin", "cos")]
    before = [eqn for eqn in primitives(jax.make_jaxpr(deep)(x).jaxpr) if eqn.primitive.name in ("sin", "cos")]
    assert len(counted) == len(before)  # each once, as what a far argument takes
    conditions = [eqn for eqn in primitives(jax.make_jaxpr(made)(x).jaxpr) if eqn.primitive.name == "cond"]
    assert len(conditions) == len(before)  # the one of bfloat16 has none, the one of `deep` its own


def test_runs_of_a_sweep_are_those_of_a_loop_also_beside_one_that_diverges():
    def run(lr):
        return gdlab.minimize(lambda x: jnp.sin(3 * x) + 0.1 * x**2, gdlab.gd(lr), 1.0, 20, record=()).params

    rates = np.append(np.linspace(0.01, 0.1, 31), 1e9)
    swept = gdlab.sweep(run, lr=rates)["value"].values
    np.testing.assert_allclose(swept[:-1], jax.vmap(run)(rates)[:-1], rtol=1e-12)
    assert not np.isfinite(swept[-1]) or abs(swept[-1]) > 1e3
