"""Losses of training scripts: aux, a state that each step updates, validation, and runs that go on."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab

pytestmark = pytest.mark.full

START = jnp.array([1.0, -2.0])
MEAN = jnp.array([0.5, 0.25])


def bowl(x):
    return 0.5 * jnp.sum(x**2)


def noisy(x, state, *, key):
    """A loss whose center is an average of its noise, kept in the state of the model."""
    drawn = jax.random.normal(key, x.shape)
    state = {"center": 0.9 * state["center"] + 0.1 * drawn, "count": state["count"] + 1}
    return bowl(x - state["center"]), (state, {"drawn": drawn})


STATE = {"center": jnp.zeros(2), "count": jnp.int32(0)}


def by_hand(steps):
    """The same run, written as the scripts of jax users are."""
    optimizer = optax.adam(0.1)
    x, state, inner, losses, drawn = START, STATE, optimizer.init(START), [], []
    for t in range(steps):
        key = jax.random.fold_in(jax.random.key(1), t)
        (value, (state, aux)), grads = jax.value_and_grad(noisy, has_aux=True)(x, state, key=key)
        updates, inner = optimizer.update(grads, inner, x)
        x = optax.apply_updates(x, updates)
        losses.append(value)
        drawn.append(aux["drawn"])
    return x, state, losses, drawn


@pytest.mark.parametrize("run", [gdlab.minimize, gdlab.long_run], ids=["minimize", "long_run"])
def test_a_state_is_updated_each_step_and_comes_back_as_in_a_script(run):
    ran = run(noisy, optax.adam(0.1), START, 7, key=jax.random.key(1), model_state=STATE, record=("loss", "aux"))
    x, state, losses, drawn = by_hand(7)
    np.testing.assert_allclose(ran.params, x, rtol=1e-12)
    np.testing.assert_allclose(ran.history["loss"], losses, rtol=1e-12)
    np.testing.assert_allclose(ran.history["aux"]["drawn"], drawn, rtol=1e-12)
    np.testing.assert_allclose(ran.model_state["center"], state["center"], rtol=1e-12)
    assert int(ran.model_state["count"]) == 7


def test_a_state_that_changes_its_shape_or_is_not_returned_is_named():
    for loss, said in (
        (lambda x, s: bowl(x), r"^loss must return \(value, model_state\) where model_state is given; got"),
        (
            lambda x, s: (bowl(x), {"other": s}),
            r"^loss must return \(value, model_state\) or \(value, \(model_state, aux",
        ),
        (
            lambda x, s: (bowl(x), jnp.ones(3)),
            r"^model_state must keep its shape while it is carried, \(2,\); got \(3,\)",
        ),
    ):
        with pytest.raises(ValueError, match=said):
            gdlab.minimize(loss, gdlab.gd(0.1), START, 2, model_state=jnp.zeros(2))
    with pytest.raises(ValueError, match=r"^record must not name aux but for a loss that returns \(value, aux\)"):
        gdlab.minimize(bowl, gdlab.gd(0.1), START, 2, record="aux")


DATA = jnp.sin(jnp.arange(24.0)).reshape(12, 2)
PIECES = (1, 3, 1, 1, 7, 3, 7, 1, 7, 4)  # ten, of 35 steps and four lengths: each is a program


def batch_loss(x, batch, *, key):
    return jnp.mean((x - batch) ** 4) + 0.01 * jnp.sum(x * jax.random.normal(key, x.shape))


def stream():
    return gdlab.minibatches(DATA, 5, key=jax.random.key(2))


# The schedules know the whole length.
OPTIMIZERS = {
    "adam": lambda: gdlab.adam(gdlab.schedules.Cosine(0.1, 0.0, sum(PIECES))),
    "amsgrad": lambda: gdlab.amsgrad(0.1),
    "momentum": lambda: gdlab.momentum(0.05, 0.9),
    "optax": lambda: optax.adamw(optax.cosine_decay_schedule(0.1, sum(PIECES))),
}
HOW = {
    "plain": {},
    "every 4": {"every": 4},
    "patience": {"patience": 30, "min_delta": 1e-3},
    "best": {"keep_best": True},
}


def joined(parts):
    return jax.tree.map(lambda *rows: np.concatenate(rows), *(part.history for part in parts))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_in_ten_pieces_is_one_run_to_the_bit(name, how):
    if name not in ("adam", "optax") and how != "plain":
        pytest.skip("the other ways are tried with two optimizers")
    optimizer, options = OPTIMIZERS[name](), {"key": jax.random.key(3), "batches": stream(), **HOW[how]}
    whole = gdlab.minimize(batch_loss, optimizer, START, sum(PIECES), **options)
    parts = []
    for steps in PIECES:
        parts.append(gdlab.minimize(batch_loss, optimizer, START, steps, **options, state=parts[-1] if parts else None))
    last = parts[-1]
    for a, b in zip(
        jax.tree.leaves((whole.params, whole.state)), jax.tree.leaves((last.params, last.state)), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert int(last.steps) == int(whole.steps)
    if how != "patience":
        np.testing.assert_array_equal(joined(parts)["loss"], whole.history["loss"])
    if how == "best":
        np.testing.assert_array_equal(last.best, whole.best)


def image_loss(weights, state, images):
    """A block with a convolution, its output standardized over the batch, and half of that dropped."""
    kernel, out = weights
    made = jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
    key, drawn = jax.random.split(state["key"])
    mean = made.mean((0, 2, 3), keepdims=True)
    hidden = jax.nn.relu((made - mean) / jnp.sqrt(made.var((0, 2, 3), keepdims=True) + 1e-5))
    hidden = images[:, :1] + jnp.where(jax.random.bernoulli(drawn, 0.5, hidden.shape), hidden, 0)
    return jnp.mean((hidden.mean((2, 3)) @ out - 1) ** 2), {"key": key, "mean": 0.9 * state["mean"] + 0.1 * mean}


def test_a_run_of_a_block_with_convolutions_in_pieces_is_one_run_to_the_bit():
    single = partial(jnp.asarray, dtype=jnp.float32)
    images = single(np.random.default_rng(0).normal(size=(8, 2, 6, 6)))
    start = single(np.random.default_rng(1).normal(size=(4, 2, 3, 3))), single(np.ones((4, 3)))
    state = {"key": jax.random.key(5), "mean": single(np.zeros((1, 4, 1, 1)))}
    optimizer = optax.adam(optax.cosine_decay_schedule(0.01, 20))
    run = partial(gdlab.minimize, image_loss, optimizer, start, args=(images,), model_state=state)
    whole, last = run(20), None
    for steps in (7, 1, 12):
        last = run(steps, state=last)
    np.testing.assert_array_equal(last.model_state["mean"], whole.model_state["mean"])
    for a, b in zip(jax.tree.leaves(last.params), jax.tree.leaves(whole.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_store_goes_on_with_more_steps_as_one_run(tmp_path):
    options = {"key": jax.random.key(3), "batches": stream(), "chunk": 4}
    whole = gdlab.long_run(batch_loss, OPTIMIZERS["adam"](), START, sum(PIECES), **options)
    for steps in np.cumsum(PIECES):
        last = gdlab.long_run(batch_loss, OPTIMIZERS["adam"](), START, int(steps), **options, store=tmp_path / "s")
    np.testing.assert_array_equal(last.params, whole.params)
    held = gdlab.read_history(tmp_path / "s")
    np.testing.assert_array_equal(held["loss"], whole.history["loss"])
    with pytest.raises(ValueError, match=r"^store must be of this very computation, .* steps is 35 there and 34 here"):
        gdlab.long_run(batch_loss, OPTIMIZERS["adam"](), START, 34, **options, store=tmp_path / "s")


def test_a_store_goes_on_with_the_batches_of_its_arrays_and_refuses_others(tmp_path):
    rows = jnp.sin(jnp.arange(20.0)).reshape(10, 2)
    loss = lambda x, batch: jnp.sum((x - batch) ** 2)  # noqa: E731
    how = {"chunk": 3, "store": tmp_path / "s"}
    gdlab.long_run(loss, gdlab.adam(0.1), START, 4, batches=rows[:4], **how)
    last = gdlab.long_run(loss, gdlab.adam(0.1), START, 10, batches=rows, **how)
    np.testing.assert_allclose(last.params, gdlab.minimize(loss, gdlab.adam(0.1), START, 10, batches=rows).params)
    with pytest.raises(ValueError, match="batches is"):
        gdlab.long_run(loss, gdlab.adam(0.1), START, 12, batches=jnp.ones((12, 2)), **how)


def test_the_best_params_are_those_at_the_lowest_loss_of_held_out_data():
    """The loss of training falls to 0 at x = 0, that of held-out data is lowest where x passes 1."""
    train = lambda x, target: (x - target) ** 2  # noqa: E731
    kept = gdlab.minimize(train, gdlab.gd(0.1), 4.0, 30, args=(0.0,), validation=(1.0,), record=("loss", "params"))
    seen = kept.history["validation"]
    np.testing.assert_allclose(seen, (kept.history["params"] - 1) ** 2)
    assert float(kept.best) == float(kept.history["params"][jnp.argmin(seen)]) != float(kept.params)
    rare = gdlab.minimize(train, gdlab.gd(0.1), 4.0, 30, args=(0.0,), validation=lambda x: (x - 1) ** 2, every=5)
    np.testing.assert_array_equal(rare.history["validation"], seen[::5])
    assert rare.history["validation"].shape == (6,)
    ended = gdlab.minimize(train, gdlab.gd(0.1), 4.0, 30, args=(0.0,), validation=(1.0,), patience=3)
    assert (ended.why, int(ended.steps)) == ("plateau", int(jnp.argmin(seen)) + 3)
    for args, given, said in (
        ((0.0,), (1.0, 2.0), "a tuple of 1 in the place of args"),
        ((0.0,), 1.0, "a tuple of 1 in the place of args"),
        ((), (1.0,), "a function of the parameters"),
    ):
        with pytest.raises(TypeError, match=f"^validation must be {said}, as there are no batches; got"):
            gdlab.minimize(lambda x, *args: x * x, gdlab.gd(0.1), 4.0, 3, args=args, validation=given)
    with pytest.raises(AttributeError, match="best is kept with keep_best=True or a validation"):
        _ = gdlab.minimize(bowl, gdlab.gd(0.1), START, 3).best


def bumpy(x):
    return jnp.sum((x - 1) ** 2 + jnp.sin(3 * x))


RATES, STARTS = jnp.array([0.05, 0.9, 0.3, 0.01]), jnp.array([[4.0, 2.0], [-1.0, 0.5], [2.0, -3.0]])


def alone(rate, start):
    return gdlab.minimize(bumpy, gdlab.gd(rate), start, 4, record=("loss", "params"))


def test_runs_side_by_side_have_the_best_of_each():
    batched = {"record": ("loss", "params"), "batched": ["optimizer"]}
    long = gdlab.long_run(bumpy, gdlab.gd(RATES), STARTS[0], 4, **batched)
    mapped = jax.vmap(alone, (0, None))(RATES, STARTS[0])
    for run in (long, mapped):
        assert run.best.shape == (4, 2)
        for rate, best in zip(RATES, run.best, strict=True):
            np.testing.assert_allclose(best, alone(rate, STARTS[0]).best, rtol=1e-12)


def test_the_history_of_runs_along_two_axes_is_labelled_by_both():
    runs = jax.vmap(jax.vmap(alone, (None, 0)), (0, None))(RATES, STARTS)
    data = runs.to_dataset()
    assert dict(data["loss"].sizes) == {"run_0": 4, "run_1": 3, "step": 4}
    assert data["params"].dims == ("run_0", "run_1", "step", "params_0")
    for i, rate in enumerate(RATES):
        for j, start in enumerate(STARTS):
            np.testing.assert_allclose(data["loss"][i, j], alone(rate, start).history["loss"], rtol=1e-12)
            np.testing.assert_allclose(runs.best[i, j], alone(rate, start).best, rtol=1e-12)


def test_a_fall_is_more_than_min_delta():
    losses = jnp.array([5.0, 4.0, 3.9, 3.8, 3.7, 3.6, 3.5])
    told = lambda x, loss: loss + 0 * x  # noqa: E731
    run = gdlab.minimize(told, gdlab.gd(0.1), 1.0, 7, batches=losses, patience=3, min_delta=0.5)
    assert (run.why, int(run.steps)) == ("plateau", 4)
    assert gdlab.minimize(told, gdlab.gd(0.1), 1.0, 7, batches=losses, patience=3).why == "steps"
    with pytest.raises(ValueError, match="min_delta must come with a patience"):
        gdlab.minimize(told, gdlab.gd(0.1), 1.0, 7, batches=losses, min_delta=0.5)


def test_a_loss_that_takes_another_number_of_arguments_is_told_so_and_its_own_errors_are_its_own():
    with pytest.raises(TypeError, match=r"loss must take 2 arguments.* batch as one; got loss\(x, images, labels\)"):
        gdlab.minimize(lambda x, images, labels: bowl(x), gdlab.gd(0.1), START, 3, args=((MEAN, MEAN),))
    with pytest.raises(TypeError, match=r"take 1 argument: .*got loss\(x, \*, key\): a run with key=.* a fresh one"):
        gdlab.minimize(lambda x, *, key: bowl(x), gdlab.gd(0.1), START, 3)
    with pytest.raises(TypeError, match="'a' and 'b'"):
        gdlab.minimize(lambda x: jnp.dot(), gdlab.gd(0.1), START, 3)
