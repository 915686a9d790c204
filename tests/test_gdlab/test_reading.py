"""What is read out of optax's states is what optax did."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab

GRADS = np.random.default_rng(5).normal(size=(6, 4)) * np.array([1e-3, 1.0, 10.0, 0.0])


def schedule(t):
    return 0.1 / jnp.sqrt(t + 1.0)


CASES = {
    "adam": (optax.adam(0.1, 0.8, 0.9, 1e-3), {"learning_rate": 0.1, "b1": 0.8, "b2": 0.9, "eps": 1e-3}),
    "adam by a schedule": (optax.adam(schedule), {"learning_rate": schedule}),
    "amsgrad": (optax.amsgrad(0.1), {"learning_rate": 0.1}),
    "injected": (optax.inject_hyperparams(optax.adam)(schedule, b1=0.7, eps_root=1e-4), {}),
    "rmsprop": (optax.rmsprop(0.1), {"learning_rate": 0.1}),
    "rmsprop with momentum": (optax.rmsprop(0.1, eps=1e-4, momentum=0.8), {"learning_rate": 0.1, "eps": 1e-4}),
    "adagrad": (optax.adagrad(0.1), {"learning_rate": 0.1}),
    "adagrad from zero": (optax.adagrad(0.1, 0.0, 0.0), {"learning_rate": 0.1, "eps": 0.0}),
    "momentum": (optax.sgd(schedule, 0.8), {"learning_rate": schedule}),
    "clipped": (optax.chain(optax.clip(1e3), optax.adam(0.1)), {"learning_rate": 0.1}),
}


@pytest.mark.parametrize(("optimizer", "hypers"), CASES.values(), ids=CASES)
def test_the_step_that_is_read_is_the_update_that_was_made(optimizer, hypers):
    params = {"w": jnp.zeros(4)}
    state = optimizer.init(params)
    for t, g in enumerate(GRADS):
        updates, state = optimizer.update({"w": jnp.asarray(g)}, state, params)
        step = gdlab.inspect(state, {"w": jnp.asarray(g)}, **hypers)
        np.testing.assert_allclose(step.update["w"], updates["w"], rtol=1e-12, atol=1e-300)
        assert int(step.count) in (t, -1)
        assert jnp.all(step.sigma["w"] > 0)


def test_adams_m_and_sigma_are_those_of_our_adam():
    theirs, ours = optax.adam(0.1), gdlab.adam(0.1)
    state, our_state = theirs.init(jnp.zeros(3)), ours.init(jnp.zeros(3))
    for g in GRADS[:, :3]:
        _, state = theirs.update(jnp.asarray(g), state)
        step, our_state = ours.step(jnp.asarray(g), our_state)
    read = gdlab.inspect(state, learning_rate=0.1)
    for name in ("count", "eta", "sigma", "m"):
        np.testing.assert_allclose(getattr(read, name), getattr(step, name), rtol=1e-12)


def test_what_cannot_be_read_is_named():
    state = optax.rmsprop(0.1).init(jnp.zeros(2))
    with pytest.raises(ValueError, match="learning_rate must be given: optax keeps it in the state only under inject"):
        gdlab.inspect(state, jnp.zeros(2))
    with pytest.raises(ValueError, match="grads must be given"):
        gdlab.inspect(state, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"state must be one of optax's adam, .*; got .*ScaleByLionState"):
        gdlab.inspect(optax.lion(0.1).init(jnp.zeros(2)), learning_rate=0.1)


def test_what_is_not_said_is_what_optax_takes():
    g = {"w": jnp.asarray(GRADS[0])}
    for theirs, hypers in (
        (optax.adam(0.1), {}),
        (optax.adam(0.1, 0.9, 0.999, 1e-8, 0.0), {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "eps_root": 0.0}),
        (optax.adam(0.1, eps_root=0.5), {"eps_root": 0.5}),
        (optax.rmsprop(0.1), {}),
        (optax.rmsprop(0.1), {"eps": 1e-8}),
        (optax.adagrad(0.1), {"eps": 1e-7}),
    ):
        updates, state = theirs.update(g, theirs.init(g))
        step = gdlab.inspect(state, g, learning_rate=0.1, **hypers)
        np.testing.assert_allclose(step.update["w"], updates["w"], rtol=1e-14)


def test_the_count_is_of_steps_before_and_minus_one_where_none_is_kept():
    for theirs, counts in ((optax.adam(schedule), [0, 1, 2]), (optax.sgd(0.1, 0.9), [-1] * 3)):
        state, read = theirs.init(jnp.zeros(2)), []
        for _ in range(3):
            _, state = theirs.update(jnp.ones(2), state)
            read.append(gdlab.inspect(state, learning_rate=schedule))
        assert [int(step.count) for step in read] == counts
        rates = [schedule(max(count, 0)) for count in counts]
        np.testing.assert_allclose([step.eta for step in read], rates)
