"""Averages and the arithmetic near zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdlab import averages


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999, 1 - 1e-5, 1 - 1e-7])
@pytest.mark.parametrize("count", [1, 2, 10, 1000, 100_000])
def test_the_weight_is_exact_in_float32(decay, count):
    b = np.float32(decay)
    exact = -np.expm1(count * np.log1p(np.float64(b) - 1))
    np.testing.assert_allclose(averages.decaying_weight(b, jnp.int32(count)), exact, rtol=1e-6)


def test_the_weight_of_no_memory_is_one():
    assert float(averages.decaying_weight(0.0, 3)) == 1
    assert float(jax.grad(averages.decaying_weight)(0.0, 3)) == 0


def test_the_weight_has_the_derivative_of_its_formula():
    np.testing.assert_allclose(jax.grad(averages.decaying_weight)(0.9, 5), -5 * 0.9**4, rtol=1e-13)


def test_the_root_has_derivative_zero_at_zero():
    value, slope = jax.vmap(jax.value_and_grad(averages.safe_root))(jnp.array([0.0, 4.0]))
    assert value.tolist() == [0.0, 2.0]
    assert slope.tolist() == [0.0, 0.25]


def test_a_second_moment_of_bfloat16_gradients_does_not_stall():
    nu = averages.zeros_wide_real(jnp.zeros((), "bfloat16"))
    one = jnp.ones((), "bfloat16")
    nu = jax.lax.fori_loop(0, 3000, lambda _, nu: averages.decaying(nu, one, 0.999), nu)
    assert nu.dtype == jnp.float32
    np.testing.assert_allclose(nu, 1 - 0.999**3000, rtol=1e-4)


def test_squares_of_complex_numbers_are_real():
    square = averages.square(jnp.array([3 + 4j], "complex64"))
    assert square.dtype == jnp.float32
    assert square.tolist() == [25.0]
