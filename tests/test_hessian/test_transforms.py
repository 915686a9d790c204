"""Other matrices as Hessians of other losses: each against its definition, by loops."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import hessian
from hessian import transforms
from hessian.product import matrix

pytestmark = pytest.mark.full


def model(params, x):
    return jnp.tanh(x @ params["in"] + params["bias"]) @ params["out"]


def cross_entropy(logits, y):
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - logits[jnp.arange(len(y)), y])


def loss(params, x, y):
    return cross_entropy(model(params, x), y)


@pytest.fixture(scope="module")
def case():
    keys = jax.random.split(jax.random.key(5), 4)
    params = {
        "in": jax.random.normal(keys[0], (3, 2)),
        "bias": jnp.array([0.1, -0.2]),
        "out": jax.random.normal(keys[1], (2, 4)),
    }
    return params, jax.random.normal(keys[2], (10, 3)), jax.random.randint(keys[3], (10,), 0, 4)


def jacobian(params, x):
    flat, unravel = ravel_pytree(params)
    return jax.jacobian(lambda w: model(unravel(w), x))(flat)


def test_gauss_newton_is_the_fisher_matrix_of_a_softmax(case):
    params, x, y = case
    made = transforms.gauss_newton(model, cross_entropy)
    p, j = jax.nn.softmax(model(params, x)), jacobian(params, x)
    fisher = np.zeros((j.shape[-1],) * 2)
    for i in range(10):
        for label in range(4):  # the expectation over the model's own labels
            gradient = (p[i] - jax.nn.one_hot(label, 4)) @ j[i]
            fisher += p[i, label] * np.outer(gradient, gradient) / 10
    np.testing.assert_allclose(matrix(made, params, x, y), fisher, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(made(params, x, y), loss(params, x, y), rtol=1e-14)
    for a, b in zip(*(jax.tree.leaves(jax.grad(f)(params, x, y)) for f in (made, loss)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)
    assert hessian.extremal(made, params, x, y).eigenvalues[0] > -1e-12


def test_empirical_fisher_is_the_mean_of_outer_products_of_gradients(case):
    params, x, y = case

    def each(params, x, y):
        return jax.vmap(lambda a, b: loss(params, a[None], b[None]))(x, y)

    gradients = np.array([ravel_pytree(jax.grad(loss)(params, x[i : i + 1], y[i : i + 1]))[0] for i in range(10)])
    made = transforms.empirical_fisher(each)
    np.testing.assert_allclose(matrix(made, params, x, y), gradients.T @ gradients / 10, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(made(params, x, y), loss(params, x, y), rtol=1e-14)


def test_preconditioned_hessian_is_scaled_on_both_sides(case):
    params, x, y = case
    sigma = jax.tree.map(lambda p: 0.5 + p**2, params)
    scale = 1 / jnp.sqrt(ravel_pytree(sigma)[0])
    dense = scale[:, None] * matrix(loss, params, x, y) * scale
    found = hessian.spectrum(transforms.preconditioned(loss), params, sigma, x, y)
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh(dense), atol=1e-13)


@pytest.mark.parametrize(
    "chosen",
    [{"in": False, "bias": True, "out": True}, lambda path: "in" not in path],
    ids=["a pytree of bools", "a function of the path"],
)
def test_the_block_of_some_leaves_is_the_block_of_the_whole(case, chosen):
    params, x, y = case
    part, rest = transforms.split(params, chosen)
    block = matrix(transforms.partial_loss(loss), part, rest, x, y)
    whole = matrix(loss, params, x, y)  # raveled in the order bias, in, out
    keep = np.r_[0:2, 8:16]
    np.testing.assert_allclose(block, np.asarray(whole)[np.ix_(keep, keep)], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("size", [4, 11])
def test_micro_batches_are_weighted_by_their_sizes(case, size):
    params, x, y = case
    made = transforms.microbatched(loss, size)
    np.testing.assert_allclose(made(params, x, y), loss(params, x, y), rtol=1e-13)
    np.testing.assert_allclose(matrix(made, params, x, y), matrix(loss, params, x, y), rtol=1e-10, atol=1e-14)
    made = transforms.pooled(loss)
    batches = [(x[i : i + size], y[i : i + size]) for i in range(0, 10, size)]
    np.testing.assert_allclose(matrix(made, params, batches), matrix(loss, params, x, y), rtol=1e-10, atol=1e-14)


def test_only_bools_choose(case):
    for chosen in ({"in": 1, "bias": True, "out": True}, {"in": True}):
        with pytest.raises(ValueError, match="chosen must be a pytree of bools like params"):
            transforms.split(case[0], chosen)


def test_micro_batches_take_the_memory_of_one():
    params, x = jnp.ones((20, 20)), jnp.ones((4096, 20))

    def deep(w, x):
        for _ in range(8):
            x = jnp.tanh(x @ w)
        return jnp.mean(x**2)

    def temporary(loss):
        product = jax.jit(lambda w, x: hessian.hvp(loss, w, x)(w))
        return product.lower(params, x).compile().memory_analysis().temp_size_in_bytes

    assert temporary(transforms.microbatched(deep, 128)) < temporary(deep) / 4


def test_data_without_one_number_of_examples_is_refused(case):
    params, x, y = case
    for made in (transforms.microbatched(loss, 4), transforms.pooled(lambda p, b: loss(p, *b))):
        with pytest.raises(ValueError, match=r"one number of examples .*got shapes \(10, 3\), \(9,\)"):
            made(params, x, y[:9]) if "pooled" not in str(made) else made(params, [((x, y[:9]),)])
    with pytest.raises(ValueError, match="size must be a whole number, at least 1; got 0"):
        transforms.microbatched(loss, 0)


def test_data_that_fill_the_devices_evenly_leave_no_rest(case):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    np.testing.assert_allclose(transforms.data_parallel(loss, mesh)(*case), loss(*case), rtol=1e-14)


SHARDED = """
import jax, jax.numpy as jnp, numpy as np, hessian
from hessian import transforms
jax.config.update("jax_enable_x64", True)
assert jax.device_count() == 4
mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
def loss(w, x, y):
    return jnp.mean((jnp.tanh(x @ w) - y) ** 2)
w, x, y = jnp.arange(3.0), jax.random.normal(jax.random.key(0), (18, 3)), jnp.ones(18)
spread = transforms.data_parallel(loss, mesh)
many = hessian.hvp(spread, w, x, y)(w)
np.testing.assert_allclose(many, hessian.hvp(loss, w, x, y)(w), rtol=1e-12)
text = jax.jit(lambda w, x, y: hessian.hvp(spread, w, x, y)(w)).lower(w, x, y).compile().as_text()
assert "all-reduce" in text
lowest = hessian.extremal(spread, w, x, y).eigenvalues
np.testing.assert_allclose(lowest, hessian.spectrum(loss, w, x, y).eigenvalues[:1], rtol=1e-10)
on_mesh = jax.device_put(x[:16], jax.NamedSharding(mesh, jax.P("data")))
alone, shared = (hessian.hvp(loss, w, data, y[:16])(w) for data in (x[:16], on_mesh))
np.testing.assert_allclose(shared, alone, rtol=1e-12)
print("equal")
"""


def test_many_devices_give_what_one_gives_to_rounding():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", SHARDED], env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == "equal\n", done.stderr


def test_losses_made_alike_are_equal_so_that_they_are_traced_once(case):
    assert transforms.preconditioned(loss) == transforms.preconditioned(loss)
    assert transforms.microbatched(loss, 4) != transforms.microbatched(loss, 5)
    assert len({transforms.partial_loss(loss), transforms.partial_loss(loss)}) == 1


def test_a_prefix_and_numpys_bools_choose_and_what_is_none_is_refused(case):
    for chosen in ({"in": np.bool_(True), "bias": False, "out": False}, lambda path: path == "['in']"):
        part, rest = transforms.split(case[0], chosen)
        assert part["bias"] is None
        assert part["in"] is case[0]["in"]
        assert rest["in"] is None
    part, rest = transforms.split({"a": {"b": 1.0, "c": 2.0}, "d": 3.0}, {"a": True, "d": False})
    assert part == {"a": {"b": 1.0, "c": 2.0}, "d": None}
    for chosen in ({"in": None, "bias": True, "out": True}, 3, {"in": True, "bias": True, "out": 0}):
        with pytest.raises(
            ValueError, match="chosen must be a pytree of bools like params or a prefix of it, or a function"
        ):
            transforms.split(case[0], chosen)


def test_only_functions_and_meshes_make_losses():
    for make, name in (
        (lambda bad: transforms.gauss_newton(bad, loss), "model"),
        (lambda bad: transforms.gauss_newton(model, bad), "criterion"),
        (transforms.empirical_fisher, "losses"),
        (transforms.preconditioned, "loss"),
        (lambda bad: transforms.data_parallel(loss, bad), "mesh"),
    ):
        with pytest.raises(TypeError, match=f"^{name} must be a .*; got 3"):
            make(3)


def test_examples_are_counted_along_first_axes():
    data = jnp.arange(5.0)
    mean = transforms.microbatched(lambda w, x: w * jnp.mean(x), 2)
    assert mean(1.0, data) == 2
    assert transforms.microbatched(lambda w, x: w * jnp.mean(x), 1)(1.0, data) == 2
    for wrong in ((jnp.zeros((0, 2)),), (jnp.zeros(()),), (), (data, data[:1])):
        with pytest.raises(ValueError, match="data must be arrays of one number of examples >= 1"):
            mean(1.0, *wrong)


def test_models_with_a_derivative_of_their_own_have_the_same_matrices():
    @jax.custom_vjp
    def cube(x):
        return x**3

    cube.defvjp(lambda x: (cube(x), x), lambda x, slope: (3 * x**2 * slope,))
    w, v, x = jnp.array([0.5, -1.0]), jnp.array([1.0, 2.0]), jnp.array([[1.0, 2.0], [0.3, -0.4], [-1.0, 0.2]])
    for of in (
        lambda power: transforms.empirical_fisher(lambda w, x: power(x @ w)),
        lambda power: transforms.gauss_newton(lambda w, x: power(x @ w), lambda made: jnp.sum(made**4)),
    ):
        plain, own = (hessian.hvp(of(power), w, x)(v) for power in (lambda x: x**3, cube))
        np.testing.assert_allclose(own, plain, rtol=1e-12)
