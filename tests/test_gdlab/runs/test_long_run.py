"""Long runs: chunks change nothing, a store keeps all of it, and every lane is its own run."""

import contextlib
import dataclasses
import importlib
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
from gdlab.storage.store import StoreError

pytestmark = pytest.mark.full

START = jnp.array([-1.2, 1.0])
RATES = jnp.geomspace(1e-4, 1e3, 6)
ROSENBROCK = gdlab.problems.rosenbrock


@pytest.mark.parametrize("every", [1, 4])
def test_chunks_change_nothing(every):
    how = {"record": ("loss", "params"), "every": every}
    whole = gdlab.minimize(ROSENBROCK, gdlab.adam(0.01), START, 103, **how)
    long = gdlab.long_run(ROSENBROCK, gdlab.adam(0.01), START, 103, chunk=12, **how)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), long.history, whole.history)
    np.testing.assert_allclose(long.params, whole.params, rtol=1e-12)
    assert (int(long.steps), long.why) == (103, "steps")


def test_each_lane_ends_where_it_would_alone_and_is_then_silent():
    def alone(rate):
        return gdlab.minimize(ROSENBROCK, gdlab.gd(rate), START, 50, tolerance=1e-3, every=5)

    whole = jax.jit(jax.vmap(alone))(RATES)
    seen = []
    long = gdlab.long_run(
        ROSENBROCK,
        gdlab.gd(RATES),
        START,
        50,
        batched="optimizer",
        tolerance=1e-3,
        every=5,
        chunk=10,
        progress=lambda done, total: seen.append((done, total)),
    )
    np.testing.assert_array_equal(long.steps, whole.steps)
    np.testing.assert_array_equal(long.reason, whole.reason)
    np.testing.assert_allclose(long.history["loss"], whole.history["loss"].T, rtol=1e-9)
    assert seen == [(10 * i, 50) for i in range(1, 6)]


def test_a_chunk_is_a_hundredth_of_the_steps_in_whole_rows_or_that_of_the_store(tmp_path):
    def looks(steps, every, **how):
        seen, watched = [], lambda done, total: seen.append((done, total))
        gdlab.long_run(lambda x: x * x, gdlab.gd(0.01), 1.0, steps, every=every, progress=watched, **how)
        assert {total for _, total in seen} == {steps}
        return [done for done, _ in seen]

    assert looks(250, 2) == [*range(4, 250, 4), 250]
    assert looks(200, 2) == [*range(2, 201, 2)]
    assert looks(7, 3) == [3, 6, 7]
    store = tmp_path / "s"
    assert looks(12, 2, chunk=6, store=store) == [6, 12]
    assert looks(24, 2, store=store) == [18, 24]
    with pytest.raises(StoreError, match="every is 2 there and 3 here"):
        looks(24, 3, store=store)
    with pytest.raises(ValueError, match="chunk must be a multiple of every, 4; got 6"):
        looks(24, 4, chunk=6)


def test_a_run_ends_when_its_last_lane_has_ended():
    seen = []
    long = gdlab.long_run(
        ROSENBROCK,
        gdlab.gd(jnp.array([10.0, 1e3])),
        START,
        10_000,
        batched=["optimizer"],
        progress=lambda done, _: seen.append(done),
    )
    assert seen == [100]
    assert list(np.asarray(long.reason)) == [4, 4]
    assert long.history["loss"].shape == (10_000, 2)
    assert np.isnan(long.history["loss"][100:]).all()


def test_minibatches_share_their_data_and_each_lane_has_its_order(tmp_path):
    data = (jnp.arange(12.0).reshape(6, 2) / 10, jnp.arange(6.0))
    stream, adam = gdlab.minibatches(data, 2, key=jax.random.key(0)), optax.adam(0.1)

    def loss(params, batch):
        return jnp.mean((batch[0] @ params["w"] - batch[1]) ** 2)

    def ran(**how):
        keyed = dataclasses.replace(stream, key=gdlab.seeds(3))
        how = {"batched": ["batches"], "chunk": 10, "every": 5, "record": ("loss", "params"), **how}
        return gdlab.long_run(loss, adam, {"w": jnp.zeros(2)}, 45, batches=keyed, **how)

    long = ran()
    for i, key in enumerate(gdlab.seeds(3)):
        batches = dataclasses.replace(stream, key=key)
        alone = gdlab.minimize(loss, adam, {"w": jnp.zeros(2)}, 45, batches=batches)
        np.testing.assert_allclose(long.params["w"][i], alone.params["w"], rtol=1e-9)

    store = tmp_path / "store"
    assert ran(store=store).history == {}
    (store / "chunk-00003.npz").write_bytes(b"no longer what it was")
    with pytest.raises(StoreError, match="chunk 3 is missing or damaged"), pytest.warns(UserWarning, match="damaged"):
        gdlab.read_history(store)
    with pytest.warns(UserWarning, match="chunk-00003.npz is damaged"):
        again = ran(store=store)
    np.testing.assert_array_equal(again.params["w"], long.params["w"])
    read = gdlab.read_history(store)
    np.testing.assert_array_equal(read["step"], range(0, 45, 5))
    np.testing.assert_array_equal(read["loss"], long.history["loss"])
    np.testing.assert_array_equal(read["params.w"], long.history["params"]["w"])
    assert len(list(store.glob("state-*"))) == 2
    with pytest.raises(StoreError, match="every is 5 there and 1 here"):
        ran(store=store, every=1)
    with pytest.raises(StoreError, match="arguments is"):
        ran(store=store, tolerance=1.0)


def test_keys_in_a_state_survive_a_store(tmp_path):
    noisy = optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(3)), optax.sgd(0.1))
    for _ in range(2):
        long = gdlab.long_run(lambda x: x * x, noisy, 1.0, 4, chunk=2, store=tmp_path / "s")
        os.unlink(tmp_path / "s" / "chunk-00001.npz")
    assert jnp.issubdtype(long.state[0].rng_key.dtype, jax.dtypes.prng_key)
    np.testing.assert_allclose(long.params, gdlab.minimize(lambda x: x * x, noisy, 1.0, 4).params, rtol=1e-12)


BAD = {
    "chunk": ({"chunk": 3, "every": 2}, "chunk must be a multiple of every, 2; got 3"),
    "no chunk": ({"chunk": 0}, "chunk must be a whole number"),
    "batched": ({"batched": ["loss"]}, "batched must name some of optimizer"),
    "record": ({"record": "lost"}, "record must name some of"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_one_sentence(name):
    how, said = BAD[name]
    with pytest.raises(ValueError, match=said):
        gdlab.long_run(ROSENBROCK, gdlab.gd(0.1), START, 10, **how)


def test_a_history_without_a_store_is_whole_and_reports_words(monkeypatch):
    """33 steps, each 4th recorded, in chunks of 12: rows of 3, 3 and 3, the last one of a single step."""
    said = []

    @contextlib.contextmanager
    def bar(progress, name, total):
        assert (progress, name, total) == (True, "run", 33)
        yield lambda done, words: said.append((done, words))

    monkeypatch.setattr(importlib.import_module("gdlab.runs.long_run"), "bar", bar)
    record = {"loss": lambda moment: moment.loss, "count": lambda moment: moment.count}
    how = {"record": record, "every": 4, "chunk": 12, "batched": ["optimizer"], "progress": True}
    long = gdlab.long_run(lambda x: x * x, gdlab.gd(jnp.array([0.25, 1e9, 0.5])), 1e100, 33, **how)
    assert long.history["count"].tolist() == [[4 * i] * 3 for i in range(9)]
    np.testing.assert_allclose(long.history["loss"][:3, 0], 1e200 * 0.25 ** jnp.array([0.0, 4.0, 8.0]))
    assert long.steps.tolist() == [33] * 3
    assert said == [
        (12, "median loss 7.63e+194, alive 100%"),
        (24, "median loss 4.55e+187, alive 67%"),
        (33, "median loss 2.71e+180, alive 67%"),
    ]
    assert long.reason.tolist() == [1, 4, 1]


def test_what_happens_after_the_end_is_recorded_as_nothing():
    record = {"loss": lambda moment: moment.loss, "count": lambda moment: moment.count}
    how = {"record": record, "every": 2, "chunk": 4, "batched": ["params"], "tolerance": 0.3}
    long = gdlab.long_run(lambda x: x * x, gdlab.gd(0.25), jnp.array([0.1, 1.0, 8.0]), 8, **how)
    assert long.steps.tolist() == [0, 3, 6]
    assert [gdlab.runs.minimize.REASONS[reason] for reason in long.reason] == ["small gradient"] * 3
    np.testing.assert_allclose(long.params, [0.1, 0.125, 0.125])
    assert long.history["count"].tolist() == [[0, 0, 0], [0, 2, 2], [0, 0, 4], [0, 0, 6]]
    assert np.isfinite(long.history["loss"]).tolist() == [[True] * 3, [False, True, True]] + [[False, False, True]] * 2


def test_a_chunk_is_a_hundredth_unless_it_is_said():
    for steps, every, done in (
        (250, 1, [3 * i for i in range(1, 84)] + [250]),
        (9, 4, [4, 8, 9]),
        (100, 1, range(1, 101)),
    ):
        seen = []
        gdlab.long_run(
            lambda x: x * x, gdlab.gd(0.1), 1.0, steps, every=every, progress=lambda at, _, seen=seen: seen.append(at)
        )
        assert seen == list(done)


def test_a_store_of_something_else_is_no_history(tmp_path):
    gdlab.sweep(lambda a: a, store=tmp_path / "s", a=jnp.arange(2.0))
    with pytest.raises(StoreError, match=r"^store must be of a long run; .* is not"):
        gdlab.read_history(tmp_path / "s")


def test_the_last_sound_state_is_taken_up(tmp_path):
    """Of four chunks the third and its state are damaged: the run goes on behind the second."""

    def ran(progress=False):
        how = {"chunk": 5, "every": 5, "store": tmp_path / "s", "progress": progress}
        return gdlab.long_run(ROSENBROCK, gdlab.adam(0.01), START, 20, **how)

    first, seen = ran(), []
    states = sorted(path.name for path in (tmp_path / "s").glob("state-*"))
    assert states == ["state-00002.npz", "state-00003.npz"]
    (tmp_path / "s" / "state-00003.npz").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="state-00003.npz is damaged"):
        again = ran(lambda done, _: seen.append(done))
    assert seen == [20]
    np.testing.assert_array_equal(first.params, again.params)
    assert (int(again.steps), again.why) == (20, "steps")
    assert gdlab.read_history(tmp_path / "s")["step"].tolist() == [0, 5, 10, 15]
    identity = json.loads((tmp_path / "s" / "store.json").read_text())
    said = {name: identity[name] for name in ("schema", "kind", "steps", "chunk", "every", "batched", "record")}
    assert said == {
        "schema": 2, "kind": "long run", "steps": 20, "chunk": 5, "every": 5, "batched": [], "record": ["loss"],
    }  # fmt: skip


def test_arguments_and_keys_may_be_lanes_and_what_is_lost_at_the_start_is_run_for_one_chunk():
    def noisy(x, target, scale, *, key):
        return scale * (x - target) ** 2 + 0.1 * x * jax.random.normal(key)

    targets, keys = jnp.array([0.0, 2.0, -1.0]), gdlab.seeds(3)
    long = gdlab.long_run(noisy, gdlab.gd(0.2), 1.0, 6, batched=["args", "key"], args=(targets, 0.5), key=keys, chunk=2)
    for i in range(3):
        alone = gdlab.minimize(noisy, gdlab.gd(0.2), 1.0, 6, args=(targets[i], 0.5), key=keys[i])
        np.testing.assert_allclose(long.params[i], alone.params, rtol=1e-12)
        np.testing.assert_allclose(long.history["loss"][:, i], alone.history["loss"], rtol=1e-12)
    lost = gdlab.long_run(lambda x: x * x, gdlab.gd(0.2), jnp.inf, 6, chunk=2)
    assert (int(lost.steps), lost.why, lost.history["loss"].shape) == (2, "not finite", (6,))
    assert np.isnan(lost.history["loss"][2:]).all()


def test_keys_that_do_not_fit_the_lanes_are_named():
    def noisy(x, key):
        return x * x + jax.random.normal(key)

    keys = jax.random.split(jax.random.PRNGKey(0), 3)
    for key, lanes, said in (
        (0, (), "key must be a PRNG key, such as jax.random.key(0); got 0"),
        (keys, (), "key must be a PRNG key, such as jax.random.key(0); got an array of dtype uint32 and shape (3, 2)"),
        (keys[0], ("key",), "key must be PRNG keys with 1 axis, such as jax.random.split(jax.random.key(0), 3); got"),
    ):
        with pytest.raises(TypeError) as caught:
            gdlab.long_run(noisy, gdlab.gd(0.1), 1.0, 2, key=key, batched=lanes)
        assert str(caught.value).startswith(said)
