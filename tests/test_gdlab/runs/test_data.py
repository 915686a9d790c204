"""Data: the laws of scaling and of batches."""

import itertools
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab


@pytest.mark.full
def test_standardised_columns_have_mean_zero_and_variance_one():
    x = np.random.default_rng(0).normal(size=(200, 4)) * [1e-3, 1.0, 1e4, 1.0] + [0.0, 1e6, -5.0, 2.0]
    z, scaling = gdlab.standardize(x)
    np.testing.assert_allclose(z.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(z.var(0), 1, rtol=1e-9)
    np.testing.assert_allclose(scaling.invert(z), x, rtol=1e-12)
    np.testing.assert_allclose(scaling.apply(x[:3]), z[:3])


@pytest.mark.full
@pytest.mark.parametrize(("dtype", "sizes"), [("float32", (-35, -25, 25, 38)), ("float64", (-300, -200, 200, 308))])
def test_features_of_any_size_are_standardised(dtype, sizes):
    x = np.array([[0.5, -1.0], [1.7, 0.25], [-0.9, 1.5], [1.1, 0.3]])
    expected = (x - x.mean(0)) / x.std(0)
    for size in sizes:
        features = (x * float(f"1e{size}")).astype(dtype)
        for standardize in (gdlab.standardize, jax.jit(gdlab.standardize)):
            z, scaling = standardize(features)
            np.testing.assert_allclose(z, expected, rtol=3e-6 if dtype == "float32" else 1e-14)
            np.testing.assert_allclose(scaling.invert(z) / features, 1, rtol=3e-6)
            np.testing.assert_allclose(scaling.apply(features), expected, rtol=3e-6)


@pytest.mark.full
def test_a_column_of_many_sizes_comes_back():
    z, scaling = gdlab.standardize(jnp.array([1.9e30, 6e24, 7e22], "float32"))
    np.testing.assert_allclose(z, [2**0.5, -(0.5**0.5), -(0.5**0.5)], rtol=1e-5)
    np.testing.assert_allclose(scaling.invert(z)[0], 1.9e30, rtol=1e-6)


@pytest.mark.full
@pytest.mark.parametrize("constant", [0.0, 7.0, 0.1, 1e8 + 0.1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_constant_column_becomes_zero_and_comes_back(constant, dtype):
    x = np.full((1000, 1), constant, dtype)
    z, scaling = gdlab.standardize(x)
    assert np.all(z == 0)
    np.testing.assert_allclose(scaling.invert(z), x, rtol=1e-6)


def test_no_rows_are_named():
    with pytest.raises(ValueError, match="x must have at least one row of features"):
        gdlab.standardize(np.zeros((0, 3)))


def drawn(stream, batches):
    return jax.lax.scan(lambda state, _: stream.next(state)[::-1], stream.init(), None, batches)[1]


@pytest.mark.full
@pytest.mark.parametrize(("examples", "size"), [(6, 2), (7, 3), (5, 5), (4, 1), (5, 4)])
def test_each_example_comes_exactly_once_an_epoch(examples, size):
    stream = gdlab.minibatches(jnp.arange(examples), size, key=jax.random.key(3))
    flat = drawn(stream, 4 * examples).ravel()[: 4 * examples]
    for epoch in flat.reshape(4, examples):
        assert sorted(epoch.tolist()) == list(range(examples))


@pytest.mark.full
def test_epochs_differ_and_the_key_decides():
    def make(seed):
        return drawn(gdlab.minibatches(jnp.arange(30), 30, key=jax.random.key(seed)), 3)

    first, again, other = make(0), make(0), make(1)
    assert jnp.array_equal(first, again)
    assert not jnp.array_equal(first, other)
    assert not jnp.array_equal(first[0], first[1])


@pytest.mark.full
def test_leaves_of_the_data_stay_together():
    data = {"x": jnp.arange(16).reshape(8, 2), "y": 10 * jnp.arange(8)}
    stream = gdlab.minibatches(data, 3, key=jax.random.key(0))
    batch, _ = stream.next(stream.init())
    assert jnp.array_equal(5 * batch["x"][:, 0], batch["y"])
    assert stream.examples == 8


@pytest.mark.full
def test_each_lane_of_a_vmap_has_its_own_order():
    keys = jax.random.split(jax.random.key(0), 2)
    lanes = jax.vmap(lambda key: drawn(gdlab.minibatches(jnp.arange(20), 5, key=key), 4))(keys)
    alone = [drawn(gdlab.minibatches(jnp.arange(20), 5, key=key), 4) for key in keys]
    assert jnp.array_equal(lanes, jnp.stack(alone))
    assert not jnp.array_equal(lanes[0], lanes[1])


@pytest.mark.parametrize("size", [0, 9, 2.0, True])
def test_a_wrong_size_is_named(size):
    with pytest.raises(ValueError, match="size must be a whole number, from 1 to 8; got"):
        gdlab.minibatches(jnp.arange(8), size, key=jax.random.key(0))


def test_unequal_data_is_named():
    with pytest.raises(ValueError, match=r"common, non-empty leading axis of examples; got lengths \[2, 3\]"):
        gdlab.minibatches((jnp.zeros(2), jnp.zeros(3)), 1, key=jax.random.key(0))


@pytest.mark.full
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_varies_by_more_than_rounding_is_kept_and_what_does_not_is_constant(dtype):
    eps = float(np.finfo(dtype).eps)
    x = 1000 * (1 + np.outer(np.arange(8) % 2, [64 * eps, 2 * eps, 0.0])).astype(dtype)
    z, scaling = gdlab.standardize(x)
    np.testing.assert_allclose(z[:, 0], np.where(np.arange(8) % 2, 1, -1), rtol=0.05)
    assert not z[:, 1:].any()
    assert scaling.deviation[1:].tolist() == [1, 1]
    assert z.dtype == dtype
    assert gdlab.standardize(x.astype("float16"))[0].dtype == "float32"


def test_the_state_of_a_stream_says_which_epoch_and_how_much_of_it_is_used():
    stream = gdlab.minibatches(jnp.arange(5), 2, key=jax.random.key(0))
    state, stands = stream.init(), []
    for _ in range(6):
        stands.append((int(state.epoch), int(state.offset)))
        _, state = stream.next(state)
    assert stands == [(0, 0), (0, 2), (0, 4), (1, 1), (1, 3), (2, 0)]
    order = jax.random.permutation(jax.random.fold_in(jax.random.key(0), 2), 5)
    np.testing.assert_array_equal(state.order, order)
    for bad in (jnp.float32(1), {}, jnp.zeros((0, 2))):
        with pytest.raises(ValueError, match=r"^data must hold arrays with one common, non-empty leading axis"):
            gdlab.minibatches(bad, 1, key=jax.random.key(0))


def squares(theta, batch):
    return jnp.sum(batch[0] * theta**2)


class Loader:
    """What torch calls a DataLoader: it can be iterated, and that is all."""

    def __iter__(self):
        return iter([(np.ones(2), np.ones(2))])


RUNS = {
    "minimize": gdlab.minimize,
    "minimize, recording now and then": partial(gdlab.minimize, every=4),
    "minimize with patience": partial(gdlab.minimize, patience=3),
    "minimize with a tolerance": partial(gdlab.minimize, tolerance=0.0),
    "long_run": gdlab.long_run,
    "long_run in lanes": partial(gdlab.long_run, batched="params"),
    "tune": gdlab.tune,
    "lr_range_test": lambda loss, optimizer, *args, **how: gdlab.lr_range_test(loss, gdlab.sgd, *args, **how),
}
CYCLED = r"\*itertools.islice\(itertools.cycle\(batches\), \d+\)"
STACK = rf", whose batches jax.tree.map\(lambda \*leaves: np.stack\(leaves\), {CYCLED}\) would stack, "
STACK += "and which gdlab.long_run takes as they are$"
# What is given for a run of 6 steps, and what is said of it.
NOT_BATCHES = {
    "too few": (lambda: np.ones((4, 2)), "arrays with 4$"),
    "too many": (lambda: jnp.ones((8, 2)), "arrays with 8$"),
    "whole data": (lambda: (np.ones((50, 2)), np.ones(50)), "arrays with 50$"),
    "unequal lengths": (lambda: {"x": np.ones((6, 2)), "y": np.ones(5)}, "arrays with 5 and 6$"),
    "a number": (lambda: np.float32(32), "arrays with 1$"),
    "a size": (lambda: 32, "32$"),
    "a list of arrays": (lambda: [np.ones(2)] * 6, STACK),
    "a list of pairs of as many examples as steps": (lambda: [(np.ones((6, 2)), np.ones(6))] * 6, STACK),
    "a generator": (lambda: (np.ones(2) for _ in range(6)), STACK),
    "a loader": (Loader, STACK),
    "pairs": (lambda: zip(np.ones(6), np.ones(6), strict=True), STACK),
    "a function of the step": (lambda: lambda step: np.ones(2), "<function"),
    "nothing in a mapping": (lambda: {}, "{}$"),
    "a word": (lambda: "digits", "'digits'$"),
}


def test_the_line_that_a_refused_loader_is_answered_with_mends_it():
    batches = [np.full(2, i) for i in range(4)]

    def run(batches):
        return gdlab.minimize(lambda w, x: jnp.sum((w - x) ** 2), gdlab.gd(0.5), jnp.zeros(2), 6, batches=batches)

    with pytest.raises(ValueError, match="would stack") as caught:
        run(batches)
    line = re.search(r"jax\.tree\.map.*(?= would stack)", str(caught.value))
    stacked = eval(line[0], {"jax": jax, "np": np, "itertools": itertools, "batches": batches})
    np.testing.assert_allclose(run(stacked).params, 1.0)  # the sixth batch is the second one


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("name", NOT_BATCHES)
def test_batches_that_do_not_fit_the_steps_are_one_sentence_everywhere(name, run):
    make, said = NOT_BATCHES[name]
    if said == STACK and run.startswith("long_run"):
        pytest.skip("long_run takes them as they are")
    allowed = r"batches must be gdlab.minibatches\(.*\) of whole data, or arrays with one batch a step, here 6"
    with pytest.raises(ValueError, match=f"^{allowed}, along their leading axis; got .*{said}"):
        RUNS[run](squares, gdlab.gd(0.1), jnp.ones(2), 6, batches=make())


def test_batches_of_lanes_have_one_batch_a_step_behind_the_lanes():
    losses = jnp.arange(12.0).reshape(2, 6, 1)
    run = gdlab.long_run(lambda x, batch: batch[0] + 0 * x, gdlab.gd(0.1), 1.0, 6, batches=losses, batched="batches")
    np.testing.assert_array_equal(run.history["loss"], losses[:, :, 0].T)
    with pytest.raises(ValueError, match=r"here 5, along their second axis; got arrays with 6"):
        gdlab.long_run(squares, gdlab.gd(0.1), jnp.ones(2), 5, batches=losses, batched="batches")


def test_a_list_of_batches_is_stacked_as_the_sentence_says():
    batches = [(np.full(2, float(i)), np.float64(10 * i)) for i in range(3)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *batches)
    run = gdlab.minimize(lambda x, b: x + b[0][1] + b[1], gdlab.gd(0.0), 0.0, 3, batches=stacked)
    assert run.history["loss"].tolist() == [0, 11, 22]


@pytest.mark.parametrize(
    "key", [jnp.zeros(3, jnp.uint32), jnp.zeros(2), jax.random.split(jax.random.PRNGKey(0), 2), 0, "word"], ids=str
)
def test_what_is_no_key_is_named_by_every_run(key):
    for run in (gdlab.minimize, gdlab.long_run, gdlab.tune):
        with pytest.raises(TypeError, match=r"^key must be a PRNG key, such as jax.random.key\(0\); got"):
            run(lambda x, key: x * x, gdlab.gd(0.1), 1.0, 3, key=key)


@pytest.mark.full
def test_a_raw_key_draws_what_the_key_of_the_same_seed_draws():
    def noisy(x, key):
        return x * x + jax.random.normal(key)

    keys = jax.random.PRNGKey(3), jax.random.key(3)
    raw, new = (gdlab.minimize(noisy, gdlab.gd(0.1), 1.0, 3, key=key).history["loss"] for key in keys)
    np.testing.assert_array_equal(raw, new)
