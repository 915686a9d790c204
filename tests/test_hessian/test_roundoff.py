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


def counted(w):
    """What is made of comparisons, counts and constants alone: whole numbers, as the program computes them."""
    mask = (jnp.stack([w, 2 * w]) > 0).astype(w.dtype)
    other = jnp.arange(3, dtype=w.dtype) - jnp.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]], w.dtype)
    both = (mask - other) @ mask.T + 3 * jnp.sum(mask**2) - jnp.where(w[0] > 0, mask[:, :2], -other[:, 1:])
    return jax.jit(lambda x: jnp.concatenate([x, -x[::-1]]))(both) * jnp.max(mask), mask * w, w / 4, -0.5 * w


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_whole_numbers_and_what_they_switch_on_and_off_do_not_round(dtype):
    w, pool = jnp.asarray(W, dtype), jnp.asarray(np.random.default_rng(0).uniform(-1, 1, POOL), dtype)
    moved, exact = jax.jit(jittered(counted, w))(pool, w), jax.jit(counted)(w)
    assert all(np.array_equal(a, b) for a, b in zip(moved, exact, strict=True))


@pytest.mark.parametrize(
    "inexact",
    [
        lambda w: 3 * w,  # by no power of two
        lambda w: jnp.sum((w > 0).astype(w.dtype)) * w,  # a count that is more than 1
        lambda w: jax.lax.fori_loop(0, 3, lambda _, x: x + 1 / w, jnp.zeros_like(w)),  # whole at the start alone
        lambda w: (w > 0).astype(w.dtype) / 3 + w * 0,
        lambda w: 3 * (w.astype(jnp.int32) + 20_000_000).astype(w.dtype),  # whole, of a size that is not known
        lambda w: jnp.arange(1.0, 4, dtype=w.dtype) ** 13 * 11 + w * 0,  # whole, and too large for float32
    ],
)
def test_other_numbers_do(inexact):
    w, pool = jnp.asarray(W, "float32"), jnp.asarray(np.random.default_rng(0).uniform(-1, 1, POOL), "float32")
    w = abs(w)
    moved, exact = jax.jit(jittered(inexact, w))(pool, w), jax.jit(inexact)(w)
    assert not np.array_equal(moved, exact)
    assert np.max(np.abs(moved - exact) / np.abs(exact)) < 20 * np.finfo("float32").eps


def test_a_mask_that_is_compared_with_nothing_stays_on_its_side():
    """The loss doubles where two equal masks differ, which they never do: a sample must not think that they may."""

    def loss(w):
        mask = (w > -5).astype(w.dtype)
        again = 2 * mask - 1
        return jnp.sum(jnp.where(again - mask > 0, 1e6, 1.0) * w**2)

    errors, _ = spread(loss, jnp.asarray(W), (), 8)
    assert np.max(np.abs(errors)) < 1e-14
