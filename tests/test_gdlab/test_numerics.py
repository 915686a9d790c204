"""Averages and the arithmetic near zero."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdlab import numerics
from gdlab.schedules.base import power


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999, 1 - 1e-5, 1 - 1e-7])
@pytest.mark.parametrize("count", [1, 2, 10, 1000, 100_000])
def test_the_weight_is_exact_in_float32(decay, count):
    b = np.float32(decay)
    exact = -np.expm1(count * np.log1p(np.float64(b) - 1))
    np.testing.assert_allclose(numerics.ema_weight(b, jnp.int32(count)), exact, rtol=1e-6)


def test_the_weight_of_no_memory_is_one():
    assert float(numerics.ema_weight(0.0, 3)) == 1
    assert float(jax.grad(numerics.ema_weight)(0.0, 3)) == 0


def test_the_weight_has_the_derivative_of_its_formula():
    np.testing.assert_allclose(jax.grad(numerics.ema_weight)(0.9, 5), -5 * 0.9**4, rtol=1e-13)


def test_the_root_has_derivative_zero_at_zero():
    value, slope = jax.vmap(jax.value_and_grad(numerics.safe_root))(jnp.array([0.0, 4.0]))
    assert value.tolist() == [0.0, 2.0]
    assert slope.tolist() == [0.0, 0.25]


def test_a_second_moment_of_bfloat16_gradients_does_not_stall():
    nu = numerics.zeros_wide_real(jnp.zeros((), "bfloat16"))
    one = jnp.ones((), "bfloat16")
    nu = jax.lax.fori_loop(0, 3000, lambda _, nu: numerics.ema(nu, one, 0.999), nu)
    assert nu.dtype == jnp.float32
    np.testing.assert_allclose(nu, 1 - 0.999**3000, rtol=1e-4)


def test_squares_of_complex_numbers_are_real():
    square = numerics.square(jnp.array([3 + 4j], "complex64"))
    assert square.dtype == jnp.float32
    assert square.tolist() == [25.0]


@pytest.mark.parametrize("b", [0.01, 0.3, 0.37, 0.5, 0.9, 0.99, 0.999])
def test_the_effective_length_is_that_of_rational_numbers(b):
    exact = Fraction(b)
    for t in (1, 2, 3, 7, 20, 60):
        rho = 2 / (1 - exact) - 1 - 2 * t * exact**t / (1 - exact**t)
        np.testing.assert_allclose(numerics.effective_length(b, t), float(rho), rtol=1e-14)


def test_counts_are_rounded_to_the_nearest_whole_number():
    assert numerics.nearest_whole(jnp.array([0.4, 0.6, 1.0, 2.4])).tolist() == [0, 1, 1, 2]
    assert numerics.nearest_whole(2.0).dtype == jnp.int32


def test_a_hyperparameter_takes_the_real_dtype_of_each_array_and_is_made_once():
    made = []
    of = numerics.shared(lambda dtype: made.append(dtype) or jnp.zeros([], dtype))
    arrays = [jnp.zeros(2, dtype) for dtype in ("float32", "complex64", "float64", "complex128", "bfloat16")]
    dtypes = ["float32", "float32", "float64", "float64", "bfloat16"]
    assert [of(array).dtype for array in arrays] == dtypes
    assert made == ["float32", "float64", "bfloat16"]
    assert [numerics.like(0.5, array).dtype for array in arrays] == dtypes
    assert [numerics.likes(0.5)(array).dtype for array in arrays] == dtypes


def test_what_is_accumulated_is_at_least_float32_whatever_promotion_is_allowed():
    cases = {"bfloat16": "float32", "float16": "float32", "float32": "float32", "float64": "float64"}
    with jax.numpy_dtype_promotion("strict"):
        for dtype, wide in cases.items():
            leaf = jax.ShapeDtypeStruct((2,), dtype)
            assert numerics.zeros_wide(leaf).dtype == numerics.zeros_wide_real(leaf).dtype == wide
            assert numerics.wide(jnp.ones(2, dtype)).dtype == wide
    assert numerics.zeros_wide_real(jnp.ones(2, "complex128")).dtype == "float64"
    assert numerics.zeros_wide(jnp.ones(2, "complex64")).dtype == "complex64"


@pytest.mark.full
def test_roots_and_ratios_are_safe_at_zero_and_exact_elsewhere():
    least = numerics.least_square(jnp.float32)
    assert least == 1024 * float(np.finfo("float32").tiny)
    root = jax.vmap(jax.value_and_grad(numerics.positive_root))
    value, slope = root(jnp.array([0.0, 4.0], "float32"))
    np.testing.assert_allclose(value, [least**0.5, 2.0], rtol=1e-6)
    assert slope.tolist() == [0.0, 0.25]
    assert np.isfinite(value[0] ** -2.0)
    ratio = jax.vmap(jax.value_and_grad(lambda x: numerics.safe_ratio(3.0, x, 7.0)))
    value, slope = ratio(jnp.array([0.0, 2.0]))
    assert value.tolist() == [7.0, 1.5]
    assert slope.tolist() == [0.0, -0.75]
    assert numerics.safe_root(jnp.array([0.0, 9.0])).tolist() == [0.0, 3.0]


def test_leaves_beside_the_first_come_in_its_precision_and_keep_their_kind():
    cases = {
        ("float32", "float64"): "float32",
        ("complex64", "complex128"): "complex64",
        ("complex64", "float64"): "float32",
        ("float64", "complex128"): "complex128",
    }
    for (first, other), expected in cases.items():
        value = jnp.asarray([1 + 2j] if "complex" in other else [3.0], other)
        found = numerics.each(lambda one, other: other, jnp.zeros(1, first), value)
        assert found.dtype == expected
        np.testing.assert_array_equal(found, value)


def test_debiased_averages_of_a_constant_are_the_constant():
    value = {"a": jnp.array([3.0, -1.0]), "b": jnp.array(2.0, "float32")}
    average = jax.tree.map(jnp.zeros_like, value)
    for count in range(1, 6):
        average = numerics.ema(average, value, 0.75)
        for name, weight in (("a", 1 - 0.75**count), ("b", 1 - 0.75**count)):
            np.testing.assert_allclose(average[name], weight * value[name], rtol=1e-6)
            np.testing.assert_allclose(numerics.bias_corrected(average, 0.75, count)[name], value[name], rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "slopes"),
    [
        (numerics.safe_root, [0, 0.25]),
        (numerics.positive_root, [0, 0.25]),
        (lambda x: numerics.safe_ratio(3.0, x, 7.0), [0, -3 / 16]),
        (lambda x: numerics.ema_weight(x / 8, 3), [0, -3 / 32]),
        (lambda x: power(x, 2.0), [0, 8]),
        (lambda x: power(x, 0.5), [0, 0.25]),
        (lambda x: power(x, 0.0), [0, 0]),
    ],
)
def test_derivatives_near_zero_are_the_same_forward_and_backward_and_no_nan_is_on_the_way(function, slopes):
    x = jnp.array([0.0, 4.0])
    with jax.debug_nans(True):
        for derivative in (jax.jacfwd, jax.jacrev):
            np.testing.assert_allclose(jax.vmap(derivative(function))(x), slopes, atol=1e-15)


@pytest.mark.full
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_norm_has_the_size_of_its_numbers(dtype):
    info = np.finfo(dtype)
    for size in (4 * float(info.tiny), float(info.tiny) ** 0.5, 1.0, float(info.max) ** 0.5, float(info.max) / 8):
        tree = {"a": jnp.asarray([3 * size], dtype), "b": jnp.asarray(-4 * size, dtype), "c": jnp.zeros((0,), dtype)}
        for norm in (numerics.norm, jax.jit(numerics.norm)):
            np.testing.assert_allclose(np.float64(norm(tree)) / size, 5, rtol=4 * info.eps)
    np.testing.assert_allclose(numerics.norm(jnp.asarray([3e30 + 4e30j], "complex64")), 5e30, rtol=1e-6)
    assert numerics.norm([jnp.zeros(2), jnp.zeros(())]) == 0
    assert jax.grad(numerics.norm)(jnp.zeros(2)).tolist() == [0, 0]
    np.testing.assert_allclose(jax.grad(numerics.norm)(jnp.asarray([3e30, -4e30], dtype)), [0.6, -0.8], rtol=1e-6)
    assert numerics.norm(jnp.array([1.0, jnp.inf])) == jnp.inf
    assert jnp.isnan(numerics.norm(jnp.array([1.0, jnp.nan])))
    assert numerics.norm({}) == 0


@pytest.mark.full
def test_a_unit_is_a_power_of_two_whose_inverse_is_one_as_well():
    for dtype in ("float32", "float64"):
        info = np.finfo(dtype)
        sizes = jnp.asarray([info.tiny, 3 * info.tiny, 0.75, 1.0, 5.0, info.max, 0.0, jnp.inf, jnp.nan], dtype)
        units = numerics.power_of_two(sizes)
        expected = [info.tiny, 2 * info.tiny, 0.5, 1.0, 4.0, 1 / info.tiny, 1.0, 1.0, 1.0]
        np.testing.assert_array_equal(units, np.asarray(expected, dtype))
