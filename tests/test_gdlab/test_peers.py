"""The same paths as optax, by the calls that reproduce each rule."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from cases import ETA, PEERS, decayed, inject

import gdlab


def path(optimizer, steps=200):
    """The parameters after each step, for gradients that span five decades."""
    draws = np.random.default_rng(1).normal(size=(steps, 5)) * np.array([1e-3, 1e-1, 1.0, 10.0, 100.0])

    values = 10 / jnp.sqrt(jnp.arange(steps) + 1.0) - 0.5
    optimizer = optax.with_extra_args_support(optimizer)

    def body(carry, inputs):
        params, state = carry
        updates, state = optimizer.update(inputs[0], state, params, value=inputs[1])
        return (params + updates, state), params + updates

    params = jnp.full(5, 0.5)
    return jax.jit(lambda: jax.lax.scan(body, (params, optimizer.init(params)), (jnp.asarray(draws), values))[1])()


@pytest.mark.parametrize(("ours", "theirs"), PEERS.values(), ids=PEERS)
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


def test_lookahead_equals_optax_which_needs_pairs_of_parameters():
    ours, theirs = gdlab.lookahead(gdlab.adam(ETA), 3, 0.4), optax.lookahead(optax.adam(ETA), 3, 0.4)
    params = jnp.array([0.5, -1.0])
    pair, state = optax.LookaheadParams.init_synced(params), ours.init(params)
    state_of_pair = theirs.init(pair)
    for g in np.random.default_rng(3).normal(size=(20, 2)):
        updates, state = ours.update(jnp.asarray(g), state, params)
        params = params + updates
        updates, state_of_pair = theirs.update(jnp.asarray(g), state_of_pair, pair)
        pair = optax.apply_updates(pair, updates)
        np.testing.assert_allclose(params, pair.fast, rtol=1e-12)
        np.testing.assert_allclose(state.slow, pair.slow, rtol=1e-12)


def test_yogi_equals_optax_once_its_first_moment_starts_at_zero():
    ours, theirs = gdlab.yogi(ETA), optax.yogi(ETA)
    state, state_of_theirs = ours.init(jnp.zeros(3)), theirs.init(jnp.zeros(3))
    state_of_theirs = optax.tree.set(state_of_theirs, mu=jnp.zeros(3))
    for g in np.random.default_rng(3).normal(size=(50, 3)):
        updates, state = ours.update(jnp.asarray(g), state)
        expected, state_of_theirs = theirs.update(jnp.asarray(g), state_of_theirs)
        np.testing.assert_allclose(updates, expected, rtol=1e-9)
