"""Pieces: what an optimizer is."""

import jax
import jax.numpy as jnp
import optax

import gdlab


def test_an_optimizer_is_a_pair_and_a_pytree_of_its_hyperparameters_each_once():
    optimizer = gdlab.adam(0.1, 0.8, 0.9, 1e-3)
    assert isinstance(optimizer, optax.GradientTransformationExtraArgs)
    init, update = optimizer
    assert (init, update) == (optimizer.init, optimizer.update)
    assert sorted(jax.tree.leaves(optimizer)) == [1e-3, 0.1, 0.8, 0.9]
    assert jax.tree.structure(optimizer) == jax.tree.structure(gdlab.adam(0.2, 0.7, 0.6, 0.0))
    assert isinstance(jax.tree.map(lambda leaf: leaf, optimizer), gdlab.Optimizer)


def test_updates_come_in_the_dtype_of_the_gradients():
    optimizer = gdlab.gd(0.1)
    updates, _ = optimizer.update([1.0, jnp.ones(2, "bfloat16")], optimizer.init([1.0, jnp.ones(2, "bfloat16")]))
    assert updates[1].dtype == jnp.bfloat16


def test_an_optimizer_shows_its_numbers_and_no_addresses():
    rate = optax.cosine_decay_schedule(0.1, 100)
    shown = [gdlab.adam(rate), gdlab.lookahead(gdlab.gd(rate)), gdlab.inspect(optax.adam(rate))]
    shown += [gdlab.chain(gdlab.gd(lambda t: 0.1), optax.clip(0.25)), gdlab.gd(jax.tree_util.Partial(jax.jit(rate)))]
    assert not [one for one in shown if " at 0x" in repr(one)]
    assert "decay_steps=100" in repr(shown[0]) and "init_value=0.1" in repr(shown[2])
    assert "clip(max_delta=0.25)" in repr(shown[3])
