"""How a saddle is left: the records against eigenvalues computed otherwise, the times against the linear theory."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
import hessian
from gdlab.problems import surface


def test_measured_times_are_those_of_the_theory_over_seeds():
    def run(key, offset):
        return hessian.departure(
            surface("linear_net").loss, jnp.zeros(2), optimizer=gdlab.gd(0.05), steps=400, offset=offset, key=key
        )

    runs = jax.vmap(run)(jax.random.split(jax.random.key(0), 40), jnp.repeat(jnp.array([1e-3, 1e-8]), 20))
    np.testing.assert_allclose(runs.curvature, -2, rtol=1e-12)
    predicted = hessian.escape_time(runs.curvature, 0.05, runs.start_along, 0.5)
    assert (np.abs(runs.left_at - predicted) <= 3).all()  # the quartic term slows the last steps
    rough = np.log(0.5 / runs.start_along) / (0.05 * 2)
    np.testing.assert_allclose(runs.left_at, rough, rtol=0.15)


def test_records_are_those_of_the_dense_hessian():
    loss, saddle = surface("linear_autoencoder_2_1_2").loss, jnp.zeros(4)
    run = hessian.departure(loss, saddle, optimizer=optax.sgd(0.1), steps=60)
    path = gdlab.minimize(loss, optax.sgd(0.1), run.params, 1)  # goes on from where it ended
    assert jnp.isfinite(path.params).all()
    np.testing.assert_allclose(run.lowest[0], -3, atol=1e-5)
    assert run.alignment[:2].max() <= 1 + 1e-12
    assert run.alignment[10] > 0.99  # what is left of the gradient points out
    assert (np.diff(run.loss) <= 1e-12).all()


def test_a_large_hessian_is_followed_by_two_products_a_step():
    def loss(x):
        return (1 - x[0] * x[1]) ** 2 + jnp.sum(jnp.linspace(0.5, 1.5, x.size - 2) * x[2:] ** 2)

    run = hessian.departure(loss, jnp.zeros(100), optimizer=optax.sgd(0.1), steps=120, offset=1e-4)
    rows = jax.jit(jax.vmap(jax.hessian(loss)))(jnp.stack([jnp.zeros(100), run.params]))
    exact = np.linalg.eigvalsh(rows)[:, 0]
    np.testing.assert_allclose(run.lowest[0], exact[0], rtol=1e-3)
    np.testing.assert_allclose(run.lowest[-1], exact[1], atol=0.05)


def test_bad_steps_are_named():
    with pytest.raises(ValueError, match="steps must be a whole number, at least 1; got 0"):
        hessian.departure(jnp.sum, jnp.zeros(2), optimizer=optax.sgd(0.1), steps=0)
