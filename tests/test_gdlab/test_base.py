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
