"""Pieces: hyperparameters and what an optimizer is."""

import jax
import jax.numpy as jnp
import optax
import pytest

import gdlab
from gdlab.arguments import hyperparameter, shown


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: gdlab.gd(-0.1), r"learning_rate must lie in \[0, inf\); got -0.1"),
        (lambda: gdlab.momentum(0.1, 1.5), r"decay must lie in \[0, 1\]; got 1.5"),
        (lambda: gdlab.adam(0.1, b2=1.0), r"b2 must lie in \[0, 1\); got 1"),
        (lambda: gdlab.gd(float("nan")), r"learning_rate must lie in \[0, inf\); got nan"),
    ],
)
def test_a_number_out_of_range_is_named(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("value", ["fast", True, None, 1j])
def test_what_is_no_number_is_named(value):
    with pytest.raises(TypeError, match="eps must be a real number or an array of them; got"):
        hyperparameter("eps", value, 0)


def test_arrays_go_through_unread_and_integers_become_floats():
    assert hyperparameter("decay", jnp.array([2.0]), 0, 1).tolist() == [2.0]
    assert jnp.issubdtype(hyperparameter("decay", jnp.array([2]), 0, 9).dtype, jnp.floating)


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


def test_what_came_fits_in_eighty_characters():
    assert shown("x" * 78) == repr("x" * 78)
    assert shown("x" * 79) == repr("x" * 79)[:77] + "..."
    assert shown(["a\nb"]) == r"['a\nb']"
