"""Rounding that is sampled, against the rounding that happens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian.roundoff import POOL, jittered, spread

pytestmark = pytest.mark.full

W = np.array([0.7, -1.3, 2.0])


def looping(w):
    """A scan, a while loop, a branch, a function with a derivative of its own, and one that is jitted."""
    end, steps = jax.lax.scan(lambda c, x: (jnp.tanh(c * w[0] + x), c), w[1], jnp.arange(4.0))
    _, grown = jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * w[2]), (0, end))
    branch = jax.lax.cond(w[0] > 0, lambda x: jnp.sin(x), lambda x: x, grown)
    return branch + jnp.sum(steps) + jax.jit(jnp.prod)(jax.nn.relu(w)) + jax.nn.logsumexp(w)


def test_without_errors_the_program_is_the_same():
    nothing, w = jnp.zeros(POOL), jnp.asarray(W)
    np.testing.assert_allclose(jax.jit(jittered(looping, w))(nothing, w), looping(w), rtol=1e-14)


def test_errors_of_one_unit_move_a_result_by_a_few():
    w, pool = jnp.asarray(W), jnp.asarray(np.random.default_rng(0).uniform(-1, 1, POOL))
    moved = abs(jax.jit(jittered(looping, w))(pool, w) / looping(w) - 1)
    assert 0 < moved < 1e3 * np.finfo(float).eps


CONSTANT = {
    "softmax": lambda w: jnp.sum(jax.nn.softmax(w)),
    "log of exp": lambda w: jnp.sum(jnp.log(jnp.exp(w)) - w),
    "a square, expanded": lambda w: jnp.sum((w + 1) ** 2 - w**2 - 2 * w - 1),
    "tanh twice": lambda w: jnp.sum(jnp.tanh(w) - (jnp.exp(2 * w) - 1) / (jnp.exp(2 * w) + 1)),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", CONSTANT)
def test_where_everything_cancels_the_spread_covers_what_is_left(name, dtype):
    loss, w = CONSTANT[name], jnp.asarray(W, dtype)
    of_gradient, of_products = (np.sqrt(np.mean(np.sum(x**2, axis=1))) for x in spread(loss, w, (), 8))
    assert np.linalg.norm(jax.grad(loss)(w)) <= 10 * of_gradient
    assert np.linalg.norm(jax.hessian(loss)(w), 2) <= 10 * of_products
    assert of_products < 1e3 * jnp.finfo(dtype).eps


def test_the_spread_of_a_long_sum_covers_its_rounding():
    x = np.random.default_rng(0).normal(size=(100_000, 3)) + 1

    def loss(w, x):
        return jnp.mean((x @ w - 1) ** 2)

    rows = jnp.asarray(x, jnp.float32)
    computed = jax.jit(jax.hessian(loss))(jnp.ones(3, jnp.float32), rows)
    exact = 2 * np.asarray(rows, float).T @ np.asarray(rows, float) / len(x)
    happened = np.linalg.norm(computed - exact, 2)
    sampled = np.sqrt(np.mean(np.sum(spread(loss, jnp.ones(3, jnp.float32), (rows,), 8)[1] ** 2, axis=1)))
    assert happened <= 10 * sampled
    assert sampled <= 1e3 * np.finfo(np.float32).eps * np.linalg.norm(exact, 2)
