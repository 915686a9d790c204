"""The rounding of a gradient as measured: none where arithmetic is exact, and what was cancelled where it is not."""

import jax
import jax.numpy as jnp
import numpy as np

from hessian.modes import Modes
from hessian.noise import gradient_noise


def noise_at(slope, theta, values, vectors):
    theta = jnp.asarray(theta)
    found = Modes(jnp.asarray(values), jnp.asarray(vectors), slope(theta), jnp.int32(0))
    return gradient_noise(slope, theta, slope(theta), found, jnp.asarray(1.0), jax.random.key(0))


def test_exact_arithmetic_has_no_noise():
    values = np.array([0.5, 8.0])
    np.testing.assert_array_equal(noise_at(lambda x: values * x, [3.0, -7.0], values, np.eye(2)), 0)


def test_a_cancelled_offset_is_seen_along_its_own_direction():
    eps, big = np.finfo(float).eps, 2.0**20
    turn = np.array([[0.6, 0.8], [-0.8, 0.6]])  # rows are eigenvectors

    def slope(x):
        there = (turn @ x + jnp.array([big, 0.0])) - jnp.array([big, 0.0])
        return turn.T @ there

    noise = noise_at(slope, [1.0, 0.3], [1.0, 1.0], turn)
    assert eps * big / 8 < noise[0] <= eps * big
    assert noise[1] < 10 * eps
