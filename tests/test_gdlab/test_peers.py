"""The same paths as optax, by the calls that reproduce each rule."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab

ETA, LAM, ALPHA, B1, B2, EPS = 0.02, 0.8, 0.9, 0.9, 0.99, 1e-8
inject = optax.inject_hyperparams
by_rate = optax.scale_by_learning_rate
inverse_sqrt = gdlab.schedules.inverse_sqrt(ETA)


def decayed(t):
    return ETA / jnp.sqrt(t + 1.0)


# the rule: (ours, optax's)
OPTAX = {
    "gd": (gdlab.gd(ETA), optax.sgd(ETA)),
    "gd, decayed": (gdlab.gd(inverse_sqrt), optax.sgd(decayed)),
    "gd by optax's schedule": (gdlab.gd(decayed), optax.sgd(decayed)),
    "momentum": (gdlab.momentum(ETA, LAM), optax.sgd(ETA, LAM)),
    "momentum, decayed": (gdlab.momentum(inverse_sqrt, LAM), optax.chain(by_rate(decayed), optax.trace(LAM))),
    "nesterov": (gdlab.nesterov(ETA, LAM), optax.sgd(ETA, LAM, nesterov=True)),
    "nesterov, decayed": (
        gdlab.nesterov(inverse_sqrt, LAM),
        optax.chain(by_rate(decayed), optax.trace(LAM, nesterov=True)),
    ),
    "adagrad": (gdlab.adagrad(ETA), optax.adagrad(ETA, initial_accumulator_value=0.0, eps=0.0)),
    "rmsprop": (
        gdlab.rmsprop(ETA, ALPHA),
        inject(optax.rmsprop)(ETA, decay=lambda t: jnp.where(t == 0, 0.0, ALPHA), eps=0.0),
    ),
    "adam": (gdlab.adam(ETA, B1, B2, EPS), optax.adam(ETA, B1, B2, EPS)),
}


def path(optimizer, steps=200):
    """The parameters after each step, for gradients that span five decades."""
    draws = np.random.default_rng(1).normal(size=(steps, 5)) * np.array([1e-3, 1e-1, 1.0, 10.0, 100.0])

    def body(carry, g):
        params, state = carry
        updates, state = optimizer.update(g, state, params)
        return (params + updates, state), params + updates

    params = jnp.full(5, 0.5)
    return jax.jit(lambda: jax.lax.scan(body, (params, optimizer.init(params)), jnp.asarray(draws))[1])()


@pytest.mark.parametrize(("ours", "theirs"), OPTAX.values(), ids=OPTAX)
def test_equals_optax(ours, theirs):
    np.testing.assert_allclose(path(ours), path(theirs), rtol=1e-9, atol=1e-9)


def test_hyperparameters_can_be_injected():
    params, grads = jnp.array([1.0, -2.0]), jnp.array([0.1, 10.0])
    injected = inject(gdlab.adam)(learning_rate=decayed, b1=0.8)
    state = injected.init(params)
    for t in range(3):
        updates, state = injected.update(grads, state, params)
        assert float(state.hyperparams["learning_rate"]) == pytest.approx(float(decayed(t)))
    plain = gdlab.adam(decayed, b1=0.8)
    plain_state = plain.init(params)
    for _ in range(3):
        expected, plain_state = plain.update(grads, plain_state, params)
    np.testing.assert_allclose(updates, expected, rtol=1e-12)
