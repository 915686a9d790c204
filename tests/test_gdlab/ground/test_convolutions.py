"""Convolutions in the order of the library: the same numbers, in loops, under maps, and beside what is no array."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdlab.ground.convolutions import canonical
from gdlab.ground.jaxprs import jaxprs_in_params

pytestmark = pytest.mark.full

ORDERS = {
    "features first": ("NCHW", "OIHW", "NCHW"),
    "features last": ("NHWC", "HWIO", "NHWC"),
    "out of order": ("CNHW", "IHWO", "HWNC"),
}
LIBRARY = jax.lax.ConvDimensionNumbers((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))


def curvature_along(order, **how):
    """v -> the gradient, and H v, of a loss with one convolution; and a kernel."""
    axes = {"N": 5, "C": 4, "H": 6, "W": 7, "I": 4 // how.get("feature_group_count", 1), "O": 8}
    image, kernel = ([axes[axis] if axis not in "HW" or "N" in names else 3 for axis in names] for names in order[:2])
    x = jnp.asarray(np.random.default_rng(0).normal(size=image), jnp.float32)
    k = jnp.asarray(np.random.default_rng(1).normal(size=kernel), jnp.float32)

    def loss(k):
        return jnp.mean(jnp.tanh(jax.lax.conv_general_dilated(x, k, dimension_numbers=order, **how)))

    return lambda k, v: jax.jvp(jax.grad(loss), (k,), (v,)), k


def convolutions(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "conv_general_dilated":
            yield equation.params["dimension_numbers"]
        for inner in jaxprs_in_params(equation.params):
            yield from convolutions(getattr(inner, "jaxpr", inner))


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize(
    "how",
    [
        {"window_strides": (1, 1), "padding": "SAME"},
        {"window_strides": (2, 1), "padding": "VALID", "rhs_dilation": (1, 2)},
        {"window_strides": (1, 2), "padding": ((1, 0), (2, 1)), "feature_group_count": 2},
    ],
    ids=["plain", "strided", "grouped"],
)
def test_gradient_and_product_are_the_same_in_another_order(order, how):
    both, k = curvature_along(order, **how)
    for plain, ours in zip(both(k, k), canonical(both)(k, k), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-6)


def test_every_convolution_of_a_loop_is_in_the_order_of_the_library_and_stays_so_under_vmap():
    both, k = curvature_along(ORDERS["features first"], window_strides=(1, 1), padding="SAME")
    looped = canonical(lambda k, v: jax.lax.scan(lambda v, _: (jax.jit(both)(k, v)[1], 0), v, length=3)[0])
    for program in (looped, jax.vmap(looped)):
        given = k if program is looped else jnp.stack([k, 2 * k])
        assert set(convolutions(jax.make_jaxpr(program)(given, given).jaxpr)) == {LIBRARY}


def test_convolutions_along_one_axis_are_in_the_order_of_the_library_too():
    x, k = (np.random.default_rng(0).normal(size=shape).astype(np.float32) for shape in [(5, 4, 7), (8, 4, 3)])
    slope = jax.grad(lambda k: jnp.mean(jnp.tanh(jax.lax.conv(x, k, (1,), "SAME"))))
    ordered = jax.lax.ConvDimensionNumbers((0, 2, 1), (2, 1, 0), (0, 2, 1))
    assert set(convolutions(jax.make_jaxpr(canonical(slope))(k).jaxpr)) == {ordered}
    np.testing.assert_allclose(canonical(slope)(k), slope(k), rtol=1e-4, atol=1e-6)


def test_what_is_no_array_comes_back_as_it_was():
    both, k = curvature_along(ORDERS["features first"], window_strides=(1, 1), padding="SAME")
    made, said = canonical(lambda k: (both(k, k)[1], {"name": "a text", "n": 3}))(k)
    assert said == {"name": "a text", "n": 3}
    np.testing.assert_allclose(made, both(k, k)[1], rtol=1e-4, atol=1e-6)


def test_a_function_without_a_kernel_is_traced_once():
    traces = []
    canonical(lambda x: traces.append(1) or jnp.sum(x))(jnp.ones((2, 2)))
    assert len(traces) == 1
