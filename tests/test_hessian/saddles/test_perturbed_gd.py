"""Gradient descent with noise where the gradient is small."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import gdlab
import hessian
from gdlab.problems import surface

pytestmark = pytest.mark.full


def test_perturbed_descent_leaves_by_chance_and_never_further_than_its_radius():
    optimizer = hessian.perturbed_gd(0.1, radius=0.01, threshold=1e-3, wait=5)
    run = gdlab.minimize(surface("linear_net").loss, optimizer, jnp.zeros(2), 400)
    assert surface("linear_net").loss(run.params) < 1e-3
    grads = jnp.zeros(4)

    def length(key):
        noise = hessian.perturbed_gd(0.1, radius=0.01, threshold=1.0, key=key)
        return jnp.linalg.norm(noise.update(grads, noise.init(grads))[0])

    lengths = jax.vmap(length)(jax.random.split(jax.random.key(0), 200))
    assert max(lengths) <= 0.01
    assert np.mean(lengths) == pytest.approx(0.01 * 4 / 5, rel=0.1)  # of a ball in four dimensions
    still = hessian.perturbed_gd(0.1, radius=0.01, threshold=1e-3)
    np.testing.assert_allclose(still.update(grads + 1, still.init(grads))[0], -0.1)


@pytest.mark.parametrize("shape", [jnp.zeros(1), jnp.zeros(3), jnp.zeros(1, complex), jnp.zeros((2, 2), complex)])
def test_the_noise_is_uniform_in_a_ball_of_as_many_dimensions_as_there_are_real_numbers(shape):
    def noise(key):
        optimizer = hessian.perturbed_gd(0.1, radius=0.25, threshold=0.0, key=key)
        return jnp.ravel(optimizer.update(shape, optimizer.init(shape))[0])

    sides = shape.size * (2 if jnp.iscomplexobj(shape) else 1)
    xi = np.asarray(jax.vmap(noise)(jax.random.split(jax.random.key(1), 2000))).view(float)
    within = (np.linalg.norm(xi, axis=1) / 0.25) ** sides  # the share of the ball that is nearer to its center
    assert scipy.stats.kstest(within, "uniform").pvalue > 1e-3
    np.testing.assert_allclose(xi.T @ xi / 2000, np.eye(sides) * 0.25**2 / (sides + 2), atol=0.06 * 0.25**2)


def test_params_without_a_number_are_not_perturbed():
    optimizer = hessian.perturbed_gd(0.1, radius=0.01, threshold=1.0)
    assert optimizer.update({}, optimizer.init({}))[0] == {}


def test_noise_is_added_where_the_gradient_is_small_and_not_before_the_wait_is_over():
    optimizer = hessian.perturbed_gd(0.5, radius=0.1, threshold=1.0, wait=3)

    @jax.jit
    def noise(state, size):
        grads = jnp.array([size, 0.0])
        updates, state = optimizer.update(grads, state)
        return jnp.linalg.norm(updates + 0.5 * grads) > 0, state

    for sizes, added in (
        ([0.0] * 8, [1, 0, 0, 1, 0, 0, 1, 0]),
        ([2.0, 2.0, 1.0, 0.9, 1.1, 1.1, 1.1, 1.0], [0, 0, 1, 0, 0, 0, 0, 1]),
    ):
        state, seen = optimizer.init(jnp.zeros(2)), []
        for size in sizes:
            one, state = noise(state, size)
            seen.append(int(one))
        assert seen == added
    assert state.count == 8
    assert state.last == 7


def test_noise_is_added_at_once_and_again_after_ten_steps():
    optimizer = hessian.perturbed_gd(0.5, radius=0.1, threshold=jnp.inf)
    state, seen = optimizer.init(jnp.zeros(1)), []
    for _ in range(12):
        updates, state = optimizer.update(jnp.zeros(1), state)
        seen.append(bool(updates != 0))
    assert np.flatnonzero(seen).tolist() == [0, 10]
