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
    for _ in range(20):
        value, grads = jax.value_and_grad(bowl)(params)
        updates, state = extended.update(grads, state, params, value=value, grad=grads, value_fn=bowl)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(run.params, params, atol=1e-7)
    assert run.history["loss"].shape == (20,)


@pytest.mark.parametrize("steps", [1, 4, 9, 10])
@pytest.mark.parametrize("every", [1, 3, 5, 20])
def test_the_history_has_every_kth_moment_and_does_not_change_the_run(steps, every):
    run = gdlab.minimize(bowl, gdlab.adam(0.1), START, steps, record=RECORDERS, every=every)
    whole = gdlab.minimize(bowl, gdlab.adam(0.1), START, steps, record=RECORDERS)
    np.testing.assert_allclose(run.params, whole.params, rtol=1e-13)  # two compilations may round differently
    for name in RECORDERS:
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
    with pytest.raises(ValueError, match=f"{name} must be a whole number, at least 1; got {value!r}"):
        gdlab.minimize(bowl, gdlab.gd(0.1), START, **{"steps": 1, name: value})


def test_wrong_input_is_named():
    with pytest.raises(TypeError, match="params must be a pytree of floating arrays; got a leaf of dtype int"):
        gdlab.minimize(bowl, gdlab.gd(0.1), jnp.array([1, 2]), 3)
    with pytest.raises(ValueError, match=r"loss must return a scalar; got an array of shape \(2,\)"):
        gdlab.minimize(lambda x: x, gdlab.gd(0.1), START, 3)
    with pytest.raises(ValueError, match=r"record must name some of loss, .*; got 'speed'"):
        gdlab.minimize(bowl, gdlab.gd(0.1), START, 3, record=("speed",))
    with pytest.raises(TypeError, match="record='eta' needs an optimizer of gdlab"):
        gdlab.minimize(bowl, optax.sgd(0.1), START, 3, record="eta")
