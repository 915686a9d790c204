"""Batches that are yielded: generators, loaders, lists."""

import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
from gdlab.runs import feed

ROWS = np.sin(np.arange(24.0)).reshape(12, 2)
START = jnp.array([1.0, -2.0])


def loss(x, batch):
    return jnp.sum((x - batch["row"]) ** 2) * batch["weight"]


def batch(i):
    return {"row": ROWS[i], "weight": np.float64(1 + i)}


class Loader:
    """What torch calls a DataLoader: it can be iterated, again and again."""

    def __init__(self, count):
        self.count, self.begun = count, 0

    def __iter__(self):
        self.begun += 1
        return iter([batch(i) for i in range(self.count)])


def stacked(order):
    return {"row": ROWS[list(order)], "weight": np.array([1.0 + i for i in order])}


FEEDS = {
    "a generator": (lambda: (batch(i) for i in range(11)), range(11)),
    "a list": (lambda: [batch(i) for i in range(11)], range(11)),
    "a loader of three epochs": (lambda: Loader(4), [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2]),
}


@pytest.mark.full
@pytest.mark.parametrize("chunk", [1, 3, 20])
@pytest.mark.parametrize("name", FEEDS)
def test_what_is_yielded_is_trained_on_as_arrays_are(name, chunk):
    make, order = FEEDS[name]
    run = gdlab.long_run(loss, gdlab.adam(0.1), START, 11, batches=make(), chunk=chunk)
    arrays = gdlab.minimize(loss, gdlab.adam(0.1), START, 11, batches=stacked(order))
    np.testing.assert_allclose(run.params, arrays.params, rtol=1e-12)
    np.testing.assert_allclose(run.history["loss"], arrays.history["loss"], rtol=1e-12)


@pytest.mark.parametrize("chunk", [1, 3, 20])
def test_a_loader_may_fill_the_same_memory_with_each_batch(chunk):
    def feed():
        row, weight = np.empty(2), np.empty(())
        for i in range(11):
            row[...], weight[...] = ROWS[i], 1 + i
            yield {"row": row, "weight": weight}

    run = gdlab.long_run(loss, gdlab.adam(0.1), START, 11, batches=feed(), chunk=chunk)
    arrays = gdlab.minimize(loss, gdlab.adam(0.1), START, 11, batches=stacked(range(11)))
    np.testing.assert_allclose(run.history["loss"], arrays.history["loss"], rtol=1e-12)


def test_batches_are_fetched_one_chunk_ahead_and_no_further():
    taken, seen = [], []
    feed = (taken.append(i) or batch(i) for i in range(12))
    gdlab.long_run(
        loss, gdlab.gd(0.01), START, 9, batches=feed, chunk=3, progress=lambda done, _: seen.append((done, len(taken)))
    )
    assert seen == [(3, 6), (6, 9), (9, 9)]


def test_a_store_skips_the_batches_that_it_has_used(tmp_path):
    how = {"chunk": 3, "store": tmp_path / "s"}
    gdlab.long_run(loss, gdlab.adam(0.1), START, 6, batches=(batch(i) for i in range(6)), **how)
    last = gdlab.long_run(loss, gdlab.adam(0.1), START, 12, batches=(batch(i) for i in range(12)), **how)
    whole = gdlab.long_run(loss, gdlab.adam(0.1), START, 12, batches=stacked(range(12)), chunk=3)
    np.testing.assert_array_equal(last.params, whole.params)


def test_a_short_last_chunk_is_filled_up_by_its_last_batch():
    for fed in (feed.Stacks(map(batch, range(9)), 9), feed.Slices(stacked(range(9)))):
        assert fed.like(4)["row"].shape == (4, 2)
        for done, until, order in ((0, 4, [0, 1, 2, 3]), (4, 8, [4, 5, 6, 7]), (8, 9, [8, 8, 8, 8])):
            found = fed.between(done, until, 4)()
            for name, rows in stacked(order).items():
                np.testing.assert_array_equal(found[name], rows)


def broken():
    yield from map(batch, range(4))
    msg = "the disk is gone"
    raise OSError(msg)


def test_what_was_computed_before_an_iterable_fails_is_kept(tmp_path):
    with pytest.raises(OSError, match="the disk is gone"):
        gdlab.long_run(loss, gdlab.gd(0.01), START, 9, batches=broken(), chunk=2, store=tmp_path / "s")
    assert gdlab.read_history(tmp_path / "s")["step"].tolist() == [0, 1, 2, 3]


WRONG = {
    "too few": (
        lambda: (batch(i) for i in range(5)),
        r"^batches must yield one batch a step, here 9; they ended after 5$",
    ),
    "none": (lambda: [], "^batches must yield one batch a step, here 9; they ended after 0$"),
    "a smaller last one": (
        lambda: [batch(0), {"row": ROWS[:1], "weight": np.float64(1)}],
        r"^batches must all be like the first one, .*shape \(2,\).*; batch 1 is .*shape \(1, 2\).*: .*drop_last=True",
    ),
    "another structure": (lambda: [batch(0), (ROWS[0],)], "^batches must all be like the first one, .*; batch 1 is"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_feed_a_run_is_one_sentence(name):
    make, said = WRONG[name]
    with pytest.raises(ValueError, match=said):
        gdlab.long_run(loss, gdlab.gd(0.01), START, 9, batches=make(), chunk=2)
    with pytest.raises(TypeError, match=r"^batches must yield pytrees of arrays of numbers; batch 0 holds 'a'"):
        gdlab.long_run(loss, gdlab.gd(0.01), START, 9, batches=["a", "b"])
