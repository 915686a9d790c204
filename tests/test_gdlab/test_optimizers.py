"""Each optimizer is its literal NumPy transcription, over 1000 random steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab

STEPS = 1000
RATE = 0.03


def gradients(steps=STEPS, seed=0):
    """Random gradients of five coordinates whose sizes span five decades."""
    draws = np.random.default_rng(seed)
    return draws.normal(size=(steps, 5)) * np.array([1e-3, 1e-1, 1.0, 10.0, 100.0])


def path(optimizer, grads, start=0.5, **extra):
    """The parameters after each step."""

    @jax.jit
    def run(optimizer, grads):
        def body(carry, g):
            params, state = carry
            updates, state = optimizer.update(g, state, params, **extra)
            return (params + updates, state), params + updates

        params = jnp.full(grads.shape[1:], start)
        return jax.lax.scan(body, (params, optimizer.init(params)), grads)[1]

    return np.asarray(run(optimizer, jnp.asarray(grads)))


def assert_same_path(actual, expected):
    """To 1e-12 of how far each coordinate has gone at most."""
    reach = np.max(np.abs(expected - 0.5), axis=0)
    np.testing.assert_array_less(np.max(np.abs(actual - expected), axis=0), 1e-12 * np.maximum(reach, 1.0))


def walk(moves):
    """The path of a generator of moves, from 0.5."""

    def transcription(grads):
        theta, places = np.full(grads.shape[1:], 0.5), []
        for move in moves(grads):
            theta = theta + move
            places.append(theta)
        return np.array(places)

    return transcription


def gd(grads):
    for g in grads:
        yield -RATE * g


def gd_decayed(grads):
    for t, g in enumerate(grads):
        yield -RATE / np.sqrt(t + 1) * g


def momentum(grads, decay=0.9, rate=lambda t: RATE):
    m = 0
    for t, g in enumerate(grads):
        m = decay * m - rate(t) * g
        yield m


def momentum_decayed(grads):
    return momentum(grads, 0.9, lambda t: RATE / np.sqrt(t + 1))


def nesterov(grads, decay=0.9):
    m = 0
    for g in grads:
        m = decay * m - RATE * g
        yield decay * m - RATE * g


def adagrad(grads):
    total = 0
    for g in grads:
        total = total + g**2
        yield -RATE * g / np.sqrt(total)


def rmsprop(grads, decay=0.9):
    sigma = None
    for g in grads:
        sigma = np.abs(g) if sigma is None else np.sqrt(decay * sigma**2 + (1 - decay) * g**2)
        yield -RATE / sigma * g


def adam(grads, b1=0.9, b2=0.999, eps=1e-8):
    m = v = 0
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        yield -RATE * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)


TRANSCRIPTIONS = {
    "gd": (gdlab.gd(RATE), gd),
    "gd, eta / sqrt(t + 1)": (gdlab.gd(gdlab.schedules.inverse_sqrt(RATE)), gd_decayed),
    "momentum": (gdlab.momentum(RATE), momentum),
    "momentum, eta / sqrt(t + 1)": (gdlab.momentum(gdlab.schedules.inverse_sqrt(RATE)), momentum_decayed),
    "nesterov": (gdlab.nesterov(RATE), nesterov),
    "adagrad": (gdlab.adagrad(RATE), adagrad),
    "rmsprop": (gdlab.rmsprop(RATE), rmsprop),
    "adam": (gdlab.adam(RATE), adam),
}


@pytest.mark.parametrize(("optimizer", "moves"), TRANSCRIPTIONS.values(), ids=TRANSCRIPTIONS)
def test_equals_its_transcription_over_a_thousand_random_steps(optimizer, moves):
    grads = gradients()
    assert_same_path(path(optimizer, grads), walk(moves)(grads))


@pytest.mark.parametrize("make", [gdlab.adagrad, gdlab.rmsprop, lambda rate: gdlab.adam(rate, eps=0.0)])
def test_the_first_step_is_the_rate_whatever_the_gradient(make):
    """S22."""
    grads = gradients(1)
    np.testing.assert_allclose(path(make(0.25), grads)[0], 0.5 - 0.25 * np.sign(grads[0]), rtol=1e-14)


def test_adam_ignores_the_scale_of_the_loss():
    """LECTURE 3.3 a: a power of two changes no bit, any other factor rounding only."""
    optimizer, grads = gdlab.adam(RATE, eps=0.0), gradients(200)
    np.testing.assert_array_equal(path(optimizer, grads), path(optimizer, 1024 * grads))
    np.testing.assert_allclose(path(optimizer, grads), path(optimizer, 3.7 * grads), rtol=1e-12)


def test_a_surprising_gradient_gets_a_large_step_and_an_expected_one_a_small_step():
    """The contrast table of S24: the same last gradient .1 after small and after large ones."""
    small, large = np.array([0.001, 0.001, 0.003, 0.002, 0.1]), np.array([10.8, 20.9, 31.7, 12.1, 0.1])
    places = path(gdlab.adagrad(1.0), np.stack([small, large], axis=1))
    np.testing.assert_allclose(places[3] - places[4], [0.999251, 0.002422], atol=5e-7)


def test_adams_one_informative_gradient_moves_ten_root_ten_rates():
    """S89: b1 = 0, b2 = .999, gradients of 1 and a single 100000."""
    grads = np.ones((101_000, 1))
    grads[100_998] = 1e5
    places = path(gdlab.adam(1.0, b1=0.0, b2=0.999, eps=0.0), grads)[:, 0]
    np.testing.assert_allclose(places[100_997] - places[100_998], 10 * np.sqrt(10), rtol=1e-5)
    np.testing.assert_allclose(places[100_998] - places[100_999], 3.16386e-4, rtol=1e-5)
