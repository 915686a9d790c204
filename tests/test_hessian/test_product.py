"""Products with the Hessian agree with the dense matrix, with differences of gradients, and with the lectures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import hessian
from hessian.product import gradient, matrix


def network(params, x, y):
    """A small tanh network with a pytree of parameters and data as arguments."""
    hidden = jnp.tanh(x @ params["in"]["weight"] + params["in"]["bias"])
    return jnp.mean((hidden @ params["out"] - y) ** 2)


@pytest.fixture
def case():
    """Parameters, a vector like them, and data, in float64."""
    keys = jax.random.split(jax.random.key(3), 8)
    shapes = {"in": {"weight": (3, 4), "bias": (4,)}, "out": (4,)}
    leaves, tree = jax.tree.flatten(shapes, is_leaf=lambda s: isinstance(s, tuple))
    params = jax.tree.unflatten(tree, [jax.random.normal(k, s) for k, s in zip(keys[:3], leaves, strict=True)])
    vector = jax.tree.unflatten(tree, [jax.random.normal(k, s) for k, s in zip(keys[3:6], leaves, strict=True)])
    return params, vector, jax.random.normal(keys[6], (5, 3)), jax.random.normal(keys[7], (5,))


@pytest.mark.full
def test_product_is_the_dense_hessian_times_the_vector(case):
    params, vector, x, y = case
    flat, unravel = ravel_pytree(params)
    dense = jax.hessian(lambda w: network(unravel(w), x, y))(flat)
    product = hessian.hvp(network, params, x, y)(vector)
    assert jax.tree.structure(product) == jax.tree.structure(params)
    np.testing.assert_allclose(ravel_pytree(product)[0], dense @ ravel_pytree(vector)[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(matrix(network, params, x, y), dense, rtol=1e-12, atol=1e-13)


def test_product_is_the_difference_of_gradients(case):
    params, vector, x, y = case
    h = 1e-5
    ahead, behind = (
        ravel_pytree(gradient(network, jax.tree.map(lambda p, v, s=s: p + s * v, params, vector), x, y))[0]
        for s in (h, -h)
    )
    product = ravel_pytree(hessian.hvp(network, params, x, y)(vector))[0]
    np.testing.assert_allclose(product, (ahead - behind) / (2 * h), rtol=1e-7, atol=1e-8)


@pytest.mark.full
def test_matrix_is_symmetric_to_the_bit_and_does_not_depend_on_the_chunk(case):
    params, _, x, y = case
    whole = matrix(network, params, x, y)
    assert (whole == whole.T).all()
    for chunk in (1, 3, 1000):
        np.testing.assert_allclose(matrix(network, params, x, y, chunk=chunk), whole, rtol=1e-13, atol=1e-14)


def test_one_trace_serves_all_parameters_and_data(case):
    params, vector, x, y = case
    traces = []

    def counted(params, x, y):
        traces.append(None)
        return network(params, x, y)

    product = jax.jit(lambda p, v, x, y: hessian.hvp(counted, p, x, y)(v))
    product(params, vector, x, y)
    seen = len(traces)
    product(jax.tree.map(lambda p: 2 * p, params), vector, x + 1, y)
    assert len(traces) == seen


def test_the_product_function_is_itself_an_argument_of_jit(case):
    params, vector, x, y = case
    traces = []

    @jax.jit
    def twice(product, vector):
        traces.append(None)
        return product(product(vector))

    for factor in (1.0, 2.0):
        moved = jax.tree.map(lambda p, f=factor: f * p, params)
        got = ravel_pytree(twice(hessian.hvp(network, moved, x, y), vector))[0]
        dense = matrix(network, moved, x, y)
        np.testing.assert_allclose(got, dense @ (dense @ ravel_pytree(vector)[0]), rtol=1e-10)
    assert len(traces) == 1


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_product_keeps_the_dtype_of_each_leaf(dtype):
    params = {"a": jnp.ones(2, dtype), "b": jnp.float32(2)}
    product = hessian.hvp(lambda p: jnp.sum(p["a"] ** 2) * p["b"], params)(jax.tree.map(jnp.ones_like, params))
    assert product["a"].dtype == dtype
    assert product["b"].dtype == jnp.float32


@pytest.mark.parametrize(
    ("params", "loss", "error", "words"),
    [
        ({"w": jnp.arange(2), "n": jnp.arange(3)}, lambda p: 0.0, TypeError, r"floating.*int.*\['n'\]"),
        (jnp.ones(2, complex), lambda p: jnp.sum(p.real), TypeError, "real floating.*complex"),
        ({}, lambda p: 0.0, TypeError, "at least one floating array; got an empty pytree"),
        (jnp.ones(3), lambda p: p**2, ValueError, r"scalar; got shape \(3,\)"),
        (jnp.ones(3), lambda p: (p.sum(), p, p), ValueError, "scalar; got a tuple"),
    ],
    ids=["integers", "complex", "empty", "vector", "tuple"],
)
@pytest.mark.parametrize("function", [hessian.hvp, hessian.spectrum, hessian.classify, hessian.escape])
def test_wrong_arguments_are_named_in_one_sentence(function, params, loss, error, words):
    with pytest.raises(error, match=words) as caught:
        function(loss, params)
    assert "\n" not in str(caught.value)


def test_a_rule_of_ones_own_for_the_gradient_is_differentiated_in_reverse():
    @jax.custom_vjp
    def cube(x):
        return x**3

    cube.defvjp(lambda x: (cube(x), x), lambda x, slope: (3 * x**2 * slope,))
    product = hessian.hvp(lambda w: jnp.sum(cube(cube(w))), jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(product(jnp.array([1.0, 10.0])), [72, 72 * 2**7 * 10])


def test_every_kind_of_wrong_parameters_has_its_words():
    for params, words in (
        ("w", "params must be a pytree of real floating arrays; got"),
        ([jnp.arange(2), None, "w"], r"params must be a pytree of real floating arrays; got .* at params\[0\]"),
        ([object()], r"params must be a pytree of real floating arrays; got <object .* at params\[0\]"),
        (jnp.zeros((0, 3)), "params must hold at least one value; got arrays of size 0"),
    ):
        with pytest.raises(TypeError, match=words):
            hessian.hvp(lambda p: jnp.zeros(()), params)
    with pytest.raises(TypeError, match="loss must be a function; got 3"):
        hessian.hvp(3, jnp.zeros(2))
    with pytest.raises(ValueError, match="loss must return a scalar; got a NoneType"):
        hessian.hvp(lambda p: None, jnp.zeros(2))
    with pytest.raises(ValueError, match=r"f must return a scalar; got shape \(2,\)"):
        hessian.taylor(lambda x: x, jnp.zeros(2))
