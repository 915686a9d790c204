"""Optimizers of optax: one program for all their numbers, which makes the steps that optax makes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
from gdlab.runs import minimize as runs
from gdlab.runs.foreign import taken_apart

pytestmark = pytest.mark.full

START = {"w": jnp.array([0.5, -1.5]), "b": jnp.array(0.3)}


def bowl(p):
    return jnp.sum(p["w"] ** 4) + (p["b"] * p["w"][0] - 1) ** 2


def parabola(w):
    return (w - 1.0) ** 2


def by_hand(optimizer, params, steps):
    """optax's own loop, one step after the other."""
    state = optimizer.init(params)
    for _ in range(steps):
        updates, state = optimizer.update(jax.grad(bowl)(params), state, params)
        params = optax.apply_updates(params, updates)
    return params


# Of one number, in every place where optimizers of optax keep theirs.
OF_ONE_NUMBER = {
    "sgd": optax.sgd,
    "momentum": lambda x: optax.sgd(0.01, momentum=x, nesterov=True),
    "adam": optax.adam,
    "adam, b2": lambda x: optax.adam(0.01, b2=1 - x),
    "adagrad, start": lambda x: optax.adagrad(0.01, initial_accumulator_value=x),
    "decay": lambda x: optax.adamw(0.01, weight_decay=x),
    "schedule": lambda x: optax.sgd(optax.exponential_decay(0.1, 3, x)),
    "warm-up": lambda x: optax.sgd(optax.warmup_cosine_decay_schedule(0.0, x, 3, 9)),
    "clip": lambda x: optax.chain(optax.clip_by_global_norm(x), optax.sgd(0.1)),
    "masked": lambda x: optax.masked(optax.sgd(x), {"w": True, "b": False}),
    "partition": lambda x: optax.partition({"a": optax.sgd(x), "b": optax.adam(x)}, {"w": "a", "b": "b"}),
    "array": lambda x: optax.sgd(jnp.asarray(x)),
}


@pytest.mark.parametrize("make", OF_ONE_NUMBER.values(), ids=OF_ONE_NUMBER)
def test_two_numbers_are_one_program_and_make_the_steps_of_optax(make):
    first, second = (taken_apart(make(x), START) for x in (0.1, 0.05))
    assert first[1] == second[1]
    assert hash(first[1]) == hash(second[1])
    for x, (numbers, program) in ((0.1, first), (0.05, second)):
        ours = jax.jit(partial(by_hand, program.of(numbers), steps=3))(START)
        theirs = by_hand(make(x), START, 3)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-13), ours, theirs)


def test_sixty_four_rates_compile_once():
    usual, _ = runs._run.programs
    usual.clear_cache()
    rates = np.logspace(-3, 0, 64)  # the last one is 1, for which optax's program has no other form
    ends = [gdlab.minimize(parabola, optax.sgd(float(rate)), 3.0, 2).params for rate in rates]
    np.testing.assert_allclose(ends, 1 + 2 * (1 - 2 * rates) ** 2, rtol=1e-14)
    assert usual._cache_size() == 1


@pytest.mark.parametrize("make", [optax.polyak_sgd, optax.lbfgs], ids=["value", "value_fn"])
def test_what_asks_for_the_loss_is_run_as_it_is(make):
    assert taken_apart(make(0.1), START) is None


class Selfish:
    """A module that is equal to itself alone, as those of flax.nnx are."""

    def __init__(self, kernel, bias):
        self.kernel, self.bias = kernel, bias


jax.tree_util.register_pytree_node(
    Selfish, lambda node: ((node.kernel, node.bias), None), lambda _, parts: Selfish(*parts)
)


def test_a_run_of_a_module_that_is_equal_to_itself_alone_goes_on_in_the_program_that_it_began_in():
    module = Selfish(jnp.ones((2, 2)), jnp.zeros(2))
    optimizer = optax.adam(optax.cosine_decay_schedule(0.1, 9))
    _, begun = taken_apart(optimizer, module)
    _, goes_on = taken_apart(optimizer, module, optimizer.init(module))
    assert goes_on == begun
    assert taken_apart(optimizer, module, optimizer.init(module.kernel)) is None
