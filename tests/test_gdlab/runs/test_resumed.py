"""A run that goes on: as one run to the bit, and only with what it had."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab

DATA = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2)))
START = {"w": jnp.array([1.0, -1.0]), "b": jnp.array(0.5)}


def loss(params, batch):
    return jnp.mean((batch @ params["w"] + params["b"] - 1) ** 2)


def stateful(params, state, batch):
    return loss(params, batch), state + 1


def stream(data=DATA):
    return gdlab.minibatches(data, 2, key=jax.random.key(0))


def held_out(params):
    return jnp.sum(params["w"] ** 2)


HOW = {"best": {"keep_best": True}, "validation": {"validation": held_out}, "patience": {"patience": 4}}


@pytest.mark.parametrize("how", HOW)
def test_a_part_of_a_model_is_trained_on_to_the_bit(how):
    options = {"batches": stream(), "trainable": {"w": True, "b": False}, **HOW[how]}
    whole = gdlab.minimize(loss, gdlab.adam(0.1), START, 9, **options)
    first = gdlab.minimize(loss, gdlab.adam(0.1), START, 4, **options)
    last = gdlab.minimize(loss, gdlab.adam(0.1), START, 5, **options, state=first)
    for a, b in zip(
        jax.tree.leaves((last.params, last.rest)), jax.tree.leaves((whole.params, whole.rest)), strict=True
    ):
        np.testing.assert_array_equal(a, b)


OTHER = {
    "an optimizer without moments": (
        {"optimizer": gdlab.gd(0.1)},
        "optimizer must keep the arrays that the run to go on from kept, direction.mu['b'] float64[], "
        "direction.mu['w'] float64[2], scale.nu['b'] float64[], scale.nu['w'] float64[2]; got none",
    ),
    "one of optax": ({"optimizer": optax.sgd(0.1)}, "got (EmptyState(), EmptyState())"),
    "more examples": (
        {"batches": stream(jnp.ones((7, 2)))},
        "order int64[6], order_after int64[6]; got order",
    ),
    "arrays": ({"batches": jnp.ones((3, 2, 2))}, "batches must keep the arrays that the run to go on from kept, epoch"),
    "no batches": ({"batches": None, "args": (DATA,)}, "order_after int64[6]; got None"),
    "other parameters": (
        {"params": {"w": jnp.zeros(3), "b": jnp.array(0.5)}},
        "params must be like that of the run to go on from, of shapes [(), (2,)]; got shapes [(), (3,)]",
    ),
    "a state of the model": (
        {"loss": stateful, "model_state": jnp.zeros(2)},
        "model_state must be like that of the run to go on from, of shapes []; got shapes [(2,)]",
    ),
    "a validation": (
        {"validation": held_out},
        "validation must be given where the run to go on from had one, and only there, as they share one lowest loss; "
        "got one",
    ),
}


@pytest.mark.parametrize(("other", "said"), OTHER.values(), ids=OTHER)
def test_what_a_run_cannot_go_on_with_is_named(other, said):
    options = {"loss": loss, "optimizer": gdlab.adam(0.1), "params": START, "steps": 3, "batches": stream()}
    run = gdlab.minimize(**options, keep_best=True)
    with pytest.raises(ValueError, match="must") as caught:
        gdlab.minimize(**options | other, state=run)
    assert said in str(caught.value)


def test_runs_side_by_side_go_on_within_vmap():
    def on(rate, run=None):
        return gdlab.minimize(loss, gdlab.adam(rate), START, 3, batches=stream(), state=run)

    rates = jnp.array([0.1, 0.2])
    first = jax.vmap(on)(rates)
    with pytest.raises(ValueError, match="state must be one run; got 2 side by side, which go on within"):
        on(0.1, first)
    whole = jax.vmap(lambda rate: gdlab.minimize(loss, gdlab.adam(rate), START, 6, batches=stream()))(rates)
    np.testing.assert_allclose(jax.vmap(on)(rates, first).params["w"], whole.params["w"], rtol=1e-12)


@pytest.mark.parametrize("name", ["tolerance", "patience", "min_delta"])
def test_a_limit_is_one_number(name):
    limits = {"patience": 1, name: jnp.array([1.0, 2.0])}
    said = f"{name} must be one number, of all runs side by side too; got an array of dtype float64 and shape (2,)"
    for run in (gdlab.minimize, gdlab.long_run):
        with pytest.raises(ValueError, match="must be one number") as caught:
            run(loss, gdlab.gd(0.1), START, 3, args=(DATA,), **limits)
        assert str(caught.value) == said


def test_a_run_with_a_store_says_its_losses(tmp_path):
    rates = jnp.array([0.1, 0.2, 0.5])
    options = {"batched": ["optimizer"], "args": (DATA,), "tolerance": 0.1}
    without = gdlab.long_run(loss, gdlab.gd(rates), START, 200, **options)
    losses = np.asarray(without.history["loss"])
    last = [lane[~np.isnan(lane)][-1] for lane in losses.T]
    assert repr(without).endswith(f"-> {min(last):.6g} to {max(last):.6g}")
    for _ in range(2):  # written, and read again
        assert repr(gdlab.long_run(loss, gdlab.gd(rates), START, 200, **options, store=tmp_path / "s")) == repr(without)
