"""The mean loss over batches that are fetched as the program runs, beside that over all of the data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian

X = np.random.default_rng(0).normal(size=(7, 3))
Y = X.sum(1) ** 2
PARAMS = {"w": jnp.array([0.5, -0.2, 0.1]), "n": 2}


def loss(params, batch, scale=1.0):
    x, y = batch
    return jnp.mean((jnp.tanh(x @ params["w"]) * params["n"] - y) ** 2) * scale


BATCHES = [(X[i : i + 3], Y[i : i + 3]) for i in (0, 3, 6)]  # the last one is smaller


def shuffled():
    rng = np.random.default_rng()
    for i in rng.permutation(3):
        yield BATCHES[i]


@pytest.mark.full
@pytest.mark.parametrize("batches", [BATCHES, shuffled(), shuffled], ids=["a list", "a generator", "a function"])
def test_value_gradient_and_products_are_those_of_all_data(batches):
    mean = hessian.streamed(loss, batches)
    free, whole = {"w": PARAMS["w"]}, lambda free: loss({**PARAMS, **free}, (X, Y))
    value, slope = jax.jit(jax.value_and_grad(lambda free: mean({**PARAMS, **free})))(free)
    np.testing.assert_allclose(value, whole(free), rtol=1e-13)
    np.testing.assert_allclose(slope["w"], jax.grad(whole)(free)["w"], rtol=1e-12)
    found, ours = hessian.spectrum(mean, PARAMS).eigenvalues, hessian.spectrum(whole, free).eigenvalues
    np.testing.assert_allclose(found, ours, rtol=1e-11)


def test_the_mean_weighs_each_batch_by_its_examples():
    mean = hessian.streamed(lambda w, batch: jnp.mean(w * batch), shuffled_rows())
    np.testing.assert_allclose(mean(2.0), 2 * X.mean(), rtol=1e-14)
    np.testing.assert_allclose(jax.grad(mean)(2.0), X.mean(), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["bfloat16", "int8", "bool", "complex64"])
def test_batches_of_every_dtype_come_back_from_the_folder(dtype):
    rows = jnp.array([1, 0, 1], dtype), jnp.array([1, 1], dtype)
    means = [hessian.streamed(lambda w, x: jnp.mean(w * jnp.abs(x)), rows) for rows in (rows, iter(rows))]
    assert float(means[0](0.5)) == float(means[1](0.5)) == pytest.approx(0.4, rel=1e-2)


def shuffled_rows():
    yield from (x for x, _ in shuffled())


WRONG = {
    "a number": (3, "batches must yield pytrees of arrays"),
    "nothing": ([], "at least one batch"),
    "texts": (["a"], "pytrees of arrays of numbers"),
    "two lengths": ([(X, Y[:2])], "one number of examples each"),
    "two structures": ([(X, Y), {"x": X}], "pytrees of one structure"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_yields_no_batches_is_named(name):
    batches, said = WRONG[name]
    with pytest.raises((TypeError, ValueError), match=said):
        hessian.streamed(loss, batches)
