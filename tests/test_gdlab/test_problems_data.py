"""The lectures' regression, the digits and the small network, checked against numbers published elsewhere."""

import hashlib

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from gdlab.problems import (
    POKEMON_BOX,
    POKEMON_CURVATURES,
    POKEMON_OPTIMUM,
    POKEMON_RATE_BOUND,
    POKEMON_START,
    digits,
    network,
    network_accuracy,
    network_logits,
    network_loss,
    pokemon,
    pokemon_loss,
)
from gdlab.problems.pokemon import curvatures, line_of_least_squares

pytestmark = pytest.mark.full


@pytest.fixture(autouse=True)
def _double_precision():
    assert jax.config.jax_enable_x64, "these tests compare 1e-10; run them with JAX_ENABLE_X64=1"


def test_the_line_of_least_squares_is_the_one_printed_in_the_lectures():
    assert POKEMON_START == (-120.0, -4.0)
    assert np.round(POKEMON_OPTIMUM, 8).tolist() == [-188.43319666, 2.66945497]
    assert round(float(pokemon_loss(jnp.array(POKEMON_OPTIMUM), pokemon())), 4) == 101936.7299


def test_the_line_of_least_squares_is_the_one_numpy_finds():
    x, y = map(np.asarray, pokemon())
    np.testing.assert_allclose(POKEMON_OPTIMUM, np.polynomial.Polynomial.fit(x, y, 1).convert().coef, rtol=1e-12)


def test_the_gradient_vanishes_at_the_optimum_and_the_hessian_has_the_printed_eigenvalues():
    theta = jnp.array(POKEMON_OPTIMUM)
    gradient, hessian = (jax.jit(of(pokemon_loss))(theta, pokemon()) for of in (jax.grad, jax.hessian))
    assert jnp.abs(gradient).max() <= 1e-10 * hessian.max()
    np.testing.assert_allclose(np.linalg.eigvalsh(hessian), POKEMON_CURVATURES, rtol=1e-9)
    np.testing.assert_allclose(POKEMON_CURVATURES, [5.57347746, 1.74683043e6], rtol=2e-9)
    assert pytest.approx(1.14493082e-6, rel=5e-9) == POKEMON_RATE_BOUND
    assert round(POKEMON_CURVATURES[1] / POKEMON_CURVATURES[0]) == 313418


def test_the_line_and_the_curvatures_of_other_points_are_those_of_numpy():
    x, y = [0.5, -1.0, 3.0, 7.0], [2.0, 0.0, -1.5, 4.0]
    line = line_of_least_squares(x, y)
    np.testing.assert_allclose(line, np.polynomial.Polynomial.fit(x, y, 1).convert().coef, rtol=1e-12)
    hessian = 2 * np.array([[4, sum(x)], [sum(x), sum(c * c for c in x)]])
    np.testing.assert_allclose(curvatures(x), np.linalg.eigvalsh(hessian), rtol=1e-12)


def test_curvatures_do_not_cancel():
    x = [1e6, 1e6 + 1]
    n, s, ss = 2, sum(x), sum(c * c for c in x)
    assert curvatures(x)[0] * curvatures(x)[1] == pytest.approx(4 * (n * ss - s**2), rel=1e-12)


@pytest.mark.parametrize(("b", "w", "mean"), [(-200, -5, 5192293.4), (-101, -5, 4818647.6), (-200, 4.9, 431925.128)])
def test_the_mean_loss_is_the_one_printed_at_the_corners_of_the_contour_plot(b, w, mean):
    assert float(pokemon_loss(jnp.array([b, w]), pokemon())) / 10 == pytest.approx(mean, rel=1e-9)


def test_the_box_is_the_window_of_the_lectures_and_holds_the_start_and_the_optimum():
    assert POKEMON_BOX == ((-200, -100), (-5, 5))
    for point in (POKEMON_START, POKEMON_OPTIMUM):
        assert all(low <= value <= high for value, (low, high) in zip(point, POKEMON_BOX, strict=True))


def test_the_first_iterates_at_the_rate_1e_7_are_the_printed_ones():
    theta, seen = jnp.array(POKEMON_START), []
    for _ in range(5):
        seen.append(round(float(theta[1]), 3))
        theta = theta - 1e-7 * jax.grad(pokemon_loss)(theta, pokemon())
    assert seen == [-4.0, -2.869, -1.936, -1.166, -0.53]


def test_the_loss_is_the_sum_over_single_examples():
    x, y = pokemon()
    theta = jnp.array([-150.0, 1.5])
    one_by_one = sum(pokemon_loss(theta, (x[i : i + 1], y[i : i + 1])) for i in range(10))
    np.testing.assert_allclose(pokemon_loss(theta, (x, y)), one_by_one, rtol=1e-14)


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1]), ([2, 2], [1, 3]), ([], [])])
def test_points_without_a_line_are_refused(x, y):
    with pytest.raises(ValueError, match="x and y must have the same length, with two distinct x"):
        line_of_least_squares(x, y)


def test_the_digits_are_those_distributed_since_1998():
    images, labels = digits()
    assert (images.shape, images.dtype, labels.shape, labels.dtype) == ((1797, 64), jnp.float64, (1797,), jnp.int32)
    assert float(images.min()) == 0.0
    assert float(images.max()) == 1.0
    assert float(16 * images.sum()) == 561718.0
    assert jnp.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    pixels = np.asarray(16 * images).astype(np.uint8).tobytes() + np.asarray(labels).astype(np.uint8).tobytes()
    assert hashlib.sha256(pixels).hexdigest() == "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def test_asking_for_the_digits_twice_gives_arrays_of_their_own():
    assert digits()[0] is not digits()[0]
    np.testing.assert_array_equal(digits()[0], digits()[0])


SIZES = (64, 12, 7, 10)


def _batch(examples=40):
    images, labels = digits()
    return images[:examples], labels[:examples]


def test_weights_have_variance_one_over_inputs_and_biases_are_zero():
    first, second = network(jax.random.key(3), (400, 300, 10))
    assert (first["w"].shape, first["b"].shape) == ((400, 300), (300,))
    assert (second["w"].shape, second["b"].shape) == ((300, 10), (10,))
    assert float(400 * first["w"].var()) == pytest.approx(1, rel=0.02)
    assert float(300 * second["w"].var()) == pytest.approx(1, rel=0.1)
    assert not first["b"].any()


def test_the_key_alone_decides_the_network():
    leaves = [jax.tree.leaves(network(jax.random.key(seed), SIZES)) for seed in (0, 0, 1)]
    assert all(bool((a == b).all()) for a, b in zip(leaves[0], leaves[1], strict=True))
    assert not any(bool((a == b).all()) for a, b in zip(leaves[0], leaves[2], strict=True) if a.ndim == 2)


def test_the_network_equals_its_numpy_transcription():
    layers = network(jax.random.key(1), SIZES)
    images, labels = map(np.asarray, _batch())
    hidden = images
    for layer in layers[:-1]:
        hidden = np.maximum(hidden @ np.asarray(layer["w"]) + np.asarray(layer["b"]), 0)
    logits = hidden @ np.asarray(layers[-1]["w"]) + np.asarray(layers[-1]["b"])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    np.testing.assert_allclose(network_logits(layers, images, jax.nn.relu), logits, rtol=1e-11, atol=1e-13)
    assert float(network_loss(layers, (images, labels), activation=jax.nn.relu)) == pytest.approx(loss, rel=1e-12)
    accuracy = float(network_accuracy(layers, (images, labels), activation=jax.nn.relu))
    assert accuracy == (logits.argmax(axis=1) == labels).mean()


def test_the_gradient_of_the_network_equals_central_differences():
    layers, batch = network(jax.random.key(2), SIZES), _batch()
    flat, rebuild = jax.flatten_util.ravel_pytree(layers)
    loss = jax.jit(lambda v: network_loss(rebuild(v), batch))
    gradient = jax.grad(loss)(flat)
    directions = jax.random.normal(jax.random.key(5), (20, flat.size))
    differences = (
        jax.vmap(lambda d: loss(flat + 1e-5 * d))(directions) - jax.vmap(lambda d: loss(flat - 1e-5 * d))(directions)
    ) / 2e-5
    np.testing.assert_allclose(directions @ gradient, differences, rtol=1e-6, atol=1e-8)


def test_a_batch_is_the_mean_of_its_examples():
    layers, (images, labels) = network(jax.random.key(2), SIZES), _batch()
    single = jax.vmap(lambda image, label: network_loss(layers, (image[None], label[None])))(images, labels)
    np.testing.assert_allclose(network_loss(layers, (images, labels)), single.mean(), rtol=1e-13)


def test_float32_layers_and_images_stay_float32():
    layers, (images, labels) = jax.tree.map(jnp.float32, (network(jax.random.key(2), SIZES), _batch()))
    labels = labels.astype(jnp.int32)
    value, gradient = jax.value_and_grad(network_loss)(layers, (images, labels))
    assert {leaf.dtype for leaf in jax.tree.leaves((value, gradient))} == {jnp.dtype("float32")}


def test_descent_learns_the_digits():
    batch = digits()
    layers = network(jax.random.key(0), (64, 32, 10))

    def step(params, _):
        return jax.tree.map(lambda p, g: p - 0.5 * g, params, jax.grad(network_loss)(params, batch)), None

    trained, _ = jax.lax.scan(step, layers, length=300)
    assert float(network_accuracy(layers, batch)) < 0.3
    assert float(network_accuracy(trained, batch)) > 0.95


@pytest.mark.parametrize("sizes", [(64,), (), (64, 0, 10)])
def test_a_network_of_no_layer_or_no_units_is_refused(sizes):
    with pytest.raises(ValueError, match="sizes must be at least two positive integers, such as"):
        network(jax.random.key(0), sizes)


def test_the_activation_is_the_hyperbolic_tangent_unless_another_is_named():
    layers, (images, labels) = network(jax.random.key(2), (64, 10)) * 2, _batch()
    layers[1] = {"w": jnp.eye(10), "b": jnp.zeros(10)}
    for measure in (network_loss, network_accuracy):
        assert measure(layers, (images, labels)) == measure(layers, (images, labels), activation=jnp.tanh)
        assert measure(layers, (images, labels)) != measure(layers, (images, labels), activation=jnp.negative)
    with pytest.raises(TypeError, match="key must be a PRNG key"):
        network(0, SIZES)
    for sizes in ((64, 10.0), 64, (64, -1), (True, 2)):
        with pytest.raises(ValueError, match="sizes must be at least two positive integers, such as"):
            network(jax.random.key(0), sizes)
    assert [layer["w"].shape for layer in network(jax.random.key(0), (np.int64(1), 1))] == [(1, 1)]
