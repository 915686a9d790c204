"""Runs: any optimizer, what is recorded, batches, keys and refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
from gdlab.run import RECORDERS


def bowl(x):
    return 0.5 * jnp.sum(x**2)


START = jnp.array([1.0, -2.0])


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


@pytest.mark.parametrize(("steps", "every"), [(1, 3), (9, 3), (10, 4), (4, 20)])
def test_the_history_has_every_kth_moment_and_does_not_change_the_run(steps, every):
    run = gdlab.minimize(bowl, gdlab.adam(0.1), START, steps, record=RECORDERS, every=every)
    whole = gdlab.minimize(bowl, gdlab.adam(0.1), START, steps, record=RECORDERS)
    np.testing.assert_allclose(run.params, whole.params, rtol=1e-13)  # two compilations may round differently
    for name in set(RECORDERS) - {"extras"}:
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

    for rate in (0.1, 0.2):
        gdlab.minimize(counted, gdlab.gd(rate), rate * START, 3, args=(START + rate,))
    first = len(traces)
    gdlab.minimize(counted, gdlab.gd(0.3), START, 3, args=(START,))
    assert len(traces) == first


def test_a_run_goes_through_vmap_and_grad():
    def final(rate):
        return gdlab.minimize(bowl, gdlab.gd(rate), START, 3).params

    np.testing.assert_allclose(jax.vmap(final)(jnp.array([0.0, 0.5])), [START, START / 8])
    np.testing.assert_allclose(jax.jacobian(final)(0.5), -3 * 0.25 * START)


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
    with pytest.raises(TypeError, match="params must be a pytree of floating arrays; got a leaf of dtype int"):
        gdlab.minimize(bowl, gdlab.gd(0.1), jnp.array([1, 2]), 3)
    with pytest.raises(ValueError, match=r"loss must return a scalar, .*; got an array of shape \(2,\)"):
        gdlab.minimize(lambda x: x, gdlab.gd(0.1), START, 3)
    with pytest.raises(ValueError, match=r"record must name some of loss, .*; got 'speed'"):
        gdlab.minimize(bowl, gdlab.gd(0.1), START, 3, record=("speed",))
    with pytest.raises(
        TypeError, match="record must not name eta, sigma, m, update or extras but for an optimizer of gdlab"
    ):
        gdlab.minimize(bowl, optax.sgd(0.1), START, 3, record="eta")


@pytest.mark.parametrize("every", [1, 7])
def test_a_run_stops_at_the_first_gradient_within_the_tolerance(every):
    whole = gdlab.minimize(bowl, gdlab.gd(0.5), START, 50, record="gradient_norm").history["gradient_norm"]
    first = int(jnp.argmax(whole <= 1e-3))
    run = gdlab.minimize(bowl, gdlab.gd(0.5), START, 50, record=("loss",), every=every, tolerance=1e-3)
    assert (int(run.steps), run.why) == (first, "small gradient")
    np.testing.assert_allclose(run.params, START * 0.5**first)
    seen = jnp.isfinite(run.history["loss"])
    assert seen.tolist() == [row * every <= first for row in range(len(seen))]


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


def test_early_stopping_sees_the_same_batches_and_keys():
    stream = gdlab.minibatches(jnp.arange(6.0), 2, key=jax.random.key(1))

    def noisy(x, batch, *, key):
        return jnp.sum((x - batch) ** 2) + jnp.sum(x * jax.random.normal(key, x.shape))

    for batches in (stream, jnp.arange(20.0).reshape(10, 2)):
        options = {"batches": batches, "key": jax.random.key(2), "record": ("loss",)}
        watched = gdlab.minimize(noisy, gdlab.gd(0.1), START, 10, **options, tolerance=0.0)
        fixed = gdlab.minimize(noisy, gdlab.gd(0.1), START, 10, **options)
        np.testing.assert_allclose(watched.history["loss"], fixed.history["loss"], rtol=1e-13)


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
