"""Runs: any optimizer, what is recorded, batches, keys and refusals."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
from gdlab.runs.loop import RECORDERS


def bowl(x):
    return 0.5 * jnp.sum(x**2)


START = jnp.array([1.0, -2.0])


@pytest.mark.full
@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adam(0.1),
        optax.chain(optax.clip_by_global_norm(1.0), gdlab.adam(0.1)),
        optax.MultiSteps(gdlab.gd(0.1), 2),
        optax.inject_hyperparams(optax.sgd)(0.1),
        optax.lbfgs(),
        gdlab.adam(0.1),
    ],
    ids=["adam", "chain", "MultiSteps", "inject_hyperparams", "lbfgs", "ours"],
)
def test_runs_any_optimizer_of_optax(optimizer):
    run = gdlab.minimize(bowl, optimizer, START, 20)
    params, state = START, optimizer.init(START)
    extended = optax.with_extra_args_support(optimizer)

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(bowl)(params)
        updates, state = extended.update(grads, state, params, value=value, grad=grads, value_fn=bowl)
        return optax.apply_updates(params, updates), state

    for _ in range(20):
        params, state = step(params, state)
    np.testing.assert_allclose(run.params, params, atol=1e-7)
    assert run.history["loss"].shape == (20,)


@pytest.mark.full
@pytest.mark.parametrize(("steps", "every"), [(1, 3), (9, 3), (10, 4), (4, 20)])
def test_the_history_has_every_kth_moment_and_does_not_change_the_run(steps, every):
    names = set(RECORDERS) - {"aux"}
    run = gdlab.minimize(bowl, gdlab.adam(0.1), START, steps, record=sorted(names), every=every)
    whole = gdlab.minimize(bowl, gdlab.adam(0.1), START, steps, record=sorted(names))
    np.testing.assert_allclose(run.params, whole.params, rtol=1e-13)  # two compilations may round differently
    for name in names - {"extras"}:
        np.testing.assert_allclose(run.history[name], whole.history[name][::every], rtol=1e-13)
    assert run.history["sigma"].shape == (-(-steps // every), 2)


def test_the_history_is_of_the_moments_before_the_steps():
    run = gdlab.minimize(bowl, gdlab.momentum(0.5, 0.5), START, 3, record=("params", "update", "loss", "gradient_norm"))
    assert jnp.array_equal(run.history["params"][0], START)
    np.testing.assert_array_equal(run.history["params"][1:], (run.history["params"] + run.history["update"])[:-1])
    np.testing.assert_allclose(run.history["loss"], 0.5 * run.history["gradient_norm"] ** 2)


def test_own_recorders_see_the_moment():
    def curvature(moment):
        return jnp.linalg.eigvalsh(jax.hessian(bowl)(moment.params))

    run = gdlab.minimize(bowl, gdlab.gd(0.1), START, 10, record={"curvature": curvature}, every=5)
    assert run.history["curvature"].tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_one_trace_serves_all_starts_data_and_rates():
    traces = []

    def counted(x, target):
        traces.append(1)
        return jnp.sum((x - target) ** 2)

    for limits in ({}, {"tolerance": 1.0, "patience": 2}):
        for rate in (0.1, 0.2):
            own = {name: rate + limit for name, limit in limits.items()}
            gdlab.minimize(counted, gdlab.gd(rate), rate * START, 3, args=(START + rate,), **own)
            if rate == 0.1:
                first = len(traces)
        assert len(traces) == first


def test_a_foreign_optimizer_is_compiled_in_and_may_stop_early_as_well():
    for limits in ({}, {"tolerance": 1e-3}):
        foreign, ours = (gdlab.minimize(bowl, one(0.5), START, 50, **limits) for one in (optax.sgd, gdlab.gd))
        assert (int(foreign.steps), foreign.why) == (int(ours.steps), ours.why)
        np.testing.assert_allclose(foreign.params, ours.params, rtol=1e-14)


def test_a_run_goes_through_vmap_and_grad():
    def final(rate):
        return gdlab.minimize(bowl, gdlab.gd(rate), START, 3).params

    np.testing.assert_allclose(jax.vmap(final)(jnp.array([0.0, 0.5])), [START, START / 8])
    np.testing.assert_allclose(jax.jacobian(final)(0.5), -3 * 0.25 * START)


@pytest.mark.full
def test_batches_come_once_an_epoch_or_one_a_step():
    data = jnp.arange(6.0)
    seen = {"batch": lambda moment: moment.grads}
    stream = gdlab.minibatches(data, 2, key=jax.random.key(1))

    def linear(x, batch):
        return jnp.sum(x * batch)

    run = gdlab.minimize(linear, gdlab.gd(0.0), jnp.zeros(2), 6, batches=stream, record=seen)
    for epoch in run.history["batch"].reshape(2, 6):
        assert sorted(epoch.tolist()) == data.tolist()
    rows = jnp.arange(10.0).reshape(5, 2)
    run = gdlab.minimize(linear, gdlab.gd(0.0), jnp.zeros(2), 5, batches=rows, record=seen, every=2)
    assert jnp.array_equal(run.history["batch"], rows[::2])


def test_each_step_has_a_fresh_key():
    def noisy(x, *, key):
        return jnp.sum(x * jax.random.normal(key, x.shape))

    drawn = {"noise": lambda moment: moment.grads}
    run = gdlab.minimize(noisy, gdlab.gd(0.1), START, 3, key=jax.random.key(0), record=drawn)
    again = gdlab.minimize(noisy, gdlab.gd(0.1), START, 3, key=jax.random.key(0), record=drawn)
    assert jnp.array_equal(run.history["noise"], again.history["noise"])
    assert len({tuple(row) for row in run.history["noise"].tolist()}) == 3
    expected = jax.random.normal(jax.random.fold_in(jax.random.key(0), 2), START.shape)
    assert jnp.array_equal(run.history["noise"][2], expected)


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3"])
@pytest.mark.parametrize("name", ["steps", "every"])
def test_a_wrong_number_of_steps_is_named(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a whole number, .*; got {value!r}"):
        gdlab.minimize(bowl, gdlab.gd(0.1), START, **{"steps": 1, name: value})


def test_wrong_input_is_named():
    with pytest.raises(TypeError, match="params must hold at least one floating array; got a leaf of dtype int"):
        gdlab.minimize(bowl, gdlab.gd(0.1), jnp.array([1, 2]), 3)
    with pytest.raises(ValueError, match=r"loss must return a scalar, .*; got an array of shape \(2,\)"):
        gdlab.minimize(lambda x: x, gdlab.gd(0.1), START, 3)
    with pytest.raises(ValueError, match=r"record must name some of loss, .*; got 'speed'"):
        gdlab.minimize(bowl, gdlab.gd(0.1), START, 3, record=("speed",))
    with pytest.raises(ValueError, match="got scale_by_lbfgs"):
        gdlab.minimize(bowl, optax.lbfgs(0.1), START, 3, record="eta")


def test_the_steps_of_optax_are_recorded_as_ours_are():
    names = ("params", "eta", "sigma", "m", "update")
    theirs = gdlab.minimize(bowl, optax.chain(optax.clip(0.5), optax.adam(0.1)), START, 6, record=names)
    ours = gdlab.minimize(bowl, gdlab.chain(optax.clip(0.5), gdlab.adam(0.1)), START, 6, record=names)
    for name in names:
        np.testing.assert_allclose(theirs.history[name], ours.history[name], rtol=1e-9)


@pytest.mark.parametrize("every", [1, 7])
def test_a_run_stops_at_the_first_gradient_within_the_tolerance(every):
    whole = gdlab.minimize(bowl, gdlab.gd(0.5), START, 50, record="gradient_norm").history["gradient_norm"]
    first = int(jnp.argmax(whole <= 1e-3))
    run = gdlab.minimize(bowl, gdlab.gd(0.5), START, 50, record=("loss",), every=every, tolerance=1e-3)
    assert (int(run.steps), run.why) == (first, "small gradient")
    np.testing.assert_allclose(run.params, START * 0.5**first)
    seen = jnp.isfinite(run.history["loss"])
    assert seen.tolist() == [row * every <= first for row in range(len(seen))]


@pytest.mark.full
def test_a_run_stops_on_a_plateau_and_where_the_loss_is_not_finite():
    flat = gdlab.minimize(lambda x: jnp.sum(0 * x), gdlab.gd(0.5), START, 50, patience=5)
    assert (int(flat.steps), flat.why) == (5, "plateau")
    burst = gdlab.minimize(lambda x: jnp.sum(x**4), gdlab.gd(0.5), START, 50, tolerance=0.0)
    assert burst.why == "not finite"
    assert int(burst.steps) < 50
    assert gdlab.minimize(lambda x: jnp.sum(x**4), gdlab.gd(0.5), START, 50).why == "not finite"
    done = gdlab.minimize(bowl, gdlab.gd(0.1), START, 5, tolerance=1e-9, every=3)
    assert (int(done.steps), done.why) == (5, "steps")
    same = gdlab.minimize(bowl, gdlab.gd(0.1), START, 5)
    np.testing.assert_allclose(done.params, same.params, rtol=1e-14)
    assert (int(same.steps), same.why) == (5, "steps")


@pytest.mark.full
def test_lanes_that_stop_early_wait_for_the_others_unchanged():
    def run(rate):
        return gdlab.minimize(bowl, gdlab.gd(rate), START, 40, tolerance=1e-2, every=3)

    rates = jnp.array([0.9, 0.5, 0.05])
    lanes = jax.vmap(run)(rates)
    for i, rate in enumerate(rates):
        alone = run(rate)
        assert int(lanes.steps[i]) == int(alone.steps)
        assert int(lanes.reason[i]) == int(alone.reason)
        np.testing.assert_allclose(lanes.params[i], alone.params, rtol=1e-13)
        np.testing.assert_allclose(lanes.history["loss"][i], alone.history["loss"], rtol=1e-13)


@pytest.mark.full
def test_early_stopping_sees_the_same_batches_and_keys():
    stream = gdlab.minibatches(jnp.arange(6.0), 2, key=jax.random.key(1))

    def noisy(x, batch, *, key):
        return jnp.sum((x - batch) ** 2) + jnp.sum(x * jax.random.normal(key, x.shape))

    for batches in (stream, jnp.arange(20.0).reshape(10, 2)):
        options = {"batches": batches, "key": jax.random.key(2), "record": ("loss",)}
        watched = gdlab.minimize(noisy, gdlab.gd(0.1), START, 10, **options, tolerance=0.0)
        fixed = gdlab.minimize(noisy, gdlab.gd(0.1), START, 10, **options)
        np.testing.assert_allclose(watched.history["loss"], fixed.history["loss"], rtol=1e-13)


@pytest.mark.full
def test_a_run_unpacks_into_three_and_records_curvature_and_extras():
    def curvature(moment):
        return jnp.linalg.eigvalsh(jax.hessian(moment.value_fn)(moment.params))

    record = {"curvature": curvature, "r": lambda moment: moment.extras["r"], "count": lambda moment: moment.count}
    params, state, history = gdlab.minimize(bowl, gdlab.radam(0.1), START, 10, record=record, every=5)
    assert params.shape == (2,)
    assert int(state.count) == 10
    assert history["curvature"].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert history["count"].tolist() == [0, 5]
    assert float(history["r"][0]) == 0 < float(history["r"][1])


@pytest.mark.full
def test_patience_counts_steps_since_the_lowest_loss():
    """The loss falls for three steps and then stays; patience counts steps since its lowest."""
    losses = jnp.array([5.0, 4.0, 3.0, 3.0, 3.0, 3.5, 2.9, 9.0])

    def told(x, loss):
        return loss + 0 * jnp.sum(x)

    for patience, steps, why in ((1, 3, "plateau"), (3, 5, "plateau"), (4, 8, "steps"), (jnp.inf, 8, "steps")):
        run = gdlab.minimize(told, gdlab.gd(0.1), START, 8, batches=losses, patience=jnp.asarray(patience), every=3)
        assert (int(run.steps), run.why) == (steps, why)
    assert gdlab.minimize(told, gdlab.gd(0.1), START, 8, batches=losses, tolerance=0.0).why == "small gradient"


def test_what_ends_a_run_first_is_what_is_said():
    """Of several reasons at once: a number that is not finite, a small gradient, a plateau, the last step."""
    cases = {
        "small gradient": (lambda x: jnp.sum(0 * x), {"tolerance": 0.0, "patience": 1}),
        "not finite": (lambda x: jnp.sum(x * jnp.nan), {"tolerance": 1e9, "patience": 1}),
    }
    for why, (loss, limits) in cases.items():
        run = gdlab.minimize(loss, gdlab.gd(0.1), START, 1, **limits)
        assert (run.why, int(run.steps)) == (why, 0)
        np.testing.assert_array_equal(run.params, START)
    at_the_tolerance = gdlab.minimize(bowl, gdlab.gd(0.5), START, 9, tolerance=float(jnp.linalg.norm(START / 4)))
    assert (int(at_the_tolerance.steps), at_the_tolerance.why) == (2, "small gradient")


def test_rows_after_the_end_are_empty_whatever_they_hold():
    record = {"count": lambda moment: moment.count, "params": lambda moment: moment.params}
    run = gdlab.minimize(bowl, gdlab.gd(0.5), START, 8, tolerance=0.3, record=record, every=2)
    assert int(run.steps) == 3
    assert run.history["count"].tolist() == [0, 2, 0, 0]
    assert np.isfinite(run.history["params"]).tolist() == [[True] * 2] * 2 + [[False] * 2] * 2


def test_why_is_a_word_for_each_number():
    words = [gdlab.runs.minimize.Run(None, None, {}, None, reason).why for reason in range(5)]
    assert words == ["running", "steps", "small gradient", "plateau", "not finite"]


def test_arguments_of_the_loss_come_behind_the_batch():
    def loss(x, batch, scale, shift):
        return jnp.sum(scale * batch * x) + shift

    run = gdlab.minimize(loss, gdlab.gd(1.0), START, 1, batches=jnp.ones((1, 2)), args=(3.0, 0.5))
    np.testing.assert_allclose(run.params, START - 3)
    np.testing.assert_allclose(run.history["loss"], [3 * START.sum() + 0.5])


WRONG = {
    "a loss": ({"loss": 3}, TypeError, "loss must be a function, loss(params, ...) -> scalar; got 3"),
    "no optimizer": (
        {"optimizer": "adam"},
        TypeError,
        "optimizer must be optax-compatible, such as gdlab.adam(1e-3); got 'adam'",
    ),
    "half an optimizer": (
        {"optimizer": type("Half", (), {"init": print, "__repr__": lambda self: "half"})()},
        TypeError,
        "optimizer must be optax-compatible, such as gdlab.adam(1e-3); got half",
    ),
    "one argument": ({"args": 3}, TypeError, "args must be a tuple of further arguments of the loss; got 3"),
    "a word": ({"args": "ab"}, TypeError, "args must be a tuple of further arguments of the loss; got 'ab'"),
    "a seed": ({"key": 0}, TypeError, "key must be a PRNG key, such as jax.random.key(0); got 0"),
    "steps": ({"steps": 2**31}, ValueError, f"steps must be a whole number, from 1 to {2**31 - 1}; got {2**31}"),
    "tolerance": ({"tolerance": -1e-9}, ValueError, "tolerance must lie in [0, inf); got -1e-09"),
    "patience": ({"patience": 0.5}, ValueError, "patience must lie in [1, inf); got 0.5"),
    "what is recorded": (
        {"record": {"a": lambda moment: {"kind": "small"}}},
        TypeError,
        "record['a'] must return a pytree of arrays of numbers; got 'small'",
    ),
    "a recorder": ({"record": {"a": 3}}, TypeError, "record must be a function, of a gdlab.runs.loop.Snapshot; got 3"),
    "a number": (
        {"record": 3},
        ValueError,
        f"record must name some of {', '.join(RECORDERS)}, or map names to functions; got 3",
    ),
    "a loss and much more": (
        {"loss": lambda x: (jnp.sum(x), x, x)},
        ValueError,
        "loss must return a scalar, which is real and floating; got a tuple of 3; "
        "return the number, or the pair (number, aux)",
    ),
    "a dictionary": (
        {"loss": lambda x: {"loss": jnp.sum(x)}},
        ValueError,
        "loss must return a scalar, which is real and floating; got a dict of 1; "
        "return the number, or the pair (number, aux)",
    ),
    "nothing": (
        {"loss": lambda x: None},
        ValueError,
        "loss must return a scalar, which is real and floating; got None; end it with `return`",
    ),
    "a number of Python": (
        {"loss": lambda x: float(jnp.sum(x))},
        TypeError,
        "loss must be made of functions of JAX; got one that asks for the value of an array, as float(x), x.item(), "
        "np.asarray(x) and `if x > 0` do",
    ),
    "a complex loss": (
        {"loss": lambda x: jnp.sum(x * 1j)},
        ValueError,
        "loss must return a scalar, which is real and floating; got an array of shape () and dtype complex128",
    ),
}


def test_steps_that_cannot_be_counted_with_those_before_are_refused():
    most = 2**31 - 1
    run = gdlab.minimize(bowl, gdlab.gd(0.1), START, 2, record=())
    far = dataclasses.replace(run, steps=jnp.int32(most - 2))
    assert gdlab.minimize(bowl, gdlab.gd(0.1), START, 2, record=(), state=far).steps == most
    said = f"steps must be at most 2, as {most - 2} were taken before; got 3"
    with pytest.raises(ValueError, match=said):
        gdlab.minimize(bowl, gdlab.gd(0.1), START, 3, record=(), state=far)


@pytest.mark.parametrize(("how", "kind", "said"), WRONG.values(), ids=WRONG)
def test_what_a_run_cannot_be_given_is_named(how, kind, said):
    with pytest.raises(kind) as caught:
        gdlab.minimize(**{"loss": bowl, "optimizer": gdlab.gd(0.1), "params": START, "steps": 2, **how})
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("dtype", "size"), [("float32", 1e-30), ("float32", 1e30), ("float64", 1e-200), ("float64", 1e200)]
)
def test_the_norm_of_a_gradient_is_no_smaller_than_it_is(dtype, size):
    slope = jnp.asarray([3 * size, -4 * size], dtype)
    run = gdlab.minimize(
        lambda x: slope @ x, gdlab.gd(0.0), jnp.zeros(2, dtype), 2, tolerance=0.0, record=("gradient_norm",)
    )
    assert run.why == "steps"
    np.testing.assert_allclose(run.history["gradient_norm"], 5 * size, rtol=1e-6)


def test_a_run_says_its_first_and_last_loss_where_one_is_known():
    run = gdlab.minimize(lambda x: 0 * x, gdlab.gd(0.1), 1.0, 2)
    for losses, words in (
        ([3.0, 2.0], ", loss 3 -> 2"),
        ([3.0, np.nan], ", loss 3 -> 3"),
        ([np.nan] * 2, ""),
        ([], ""),
    ):
        said = repr(dataclasses.replace(run, history={"loss": np.array(losses)}))
        assert said.endswith(f"2 steps, ended by steps{words}")
