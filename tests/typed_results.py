"""What a type checker knows of the results: mypy reads this file, and nothing calls what is in it."""

from typing import assert_type

import jax
import jax.numpy as jnp

import gdlab
import hessian

Layer = dict[str, jax.Array]


def loss(layer: Layer) -> jax.Array:
    return jnp.sum(layer["w"] ** 2)


def with_state(layer: Layer, mean: jax.Array) -> tuple[jax.Array, jax.Array]:
    return loss(layer) - jnp.sum(mean), 0.9 * mean


def results(layer: Layer) -> None:
    run = gdlab.minimize(loss, gdlab.gd(0.1), layer, 5, record=("loss", "params"))
    assert_type(run.params, Layer)
    assert_type(run.best, Layer)
    assert_type(run.history["loss"], jax.Array)
    assert_type(run.history["params"], Layer)
    assert_type(run.model_state, None)
    params, _, history = run
    assert_type(params, Layer)
    assert_type(history["params"], Layer)
    assert_type(gdlab.minimize(loss, gdlab.gd(0.1), layer, 5, state=run).params, Layer)
    assert_type(gdlab.minimize(with_state, gdlab.gd(0.1), layer, 5, model_state=jnp.ones(2)).model_state, jax.Array)
    assert_type(gdlab.long_run(loss, gdlab.gd(0.1), layer, 5).params, Layer)

    stream = gdlab.minibatches(layer, 2, key=jax.random.key(0))
    assert_type(stream.data, Layer)
    assert_type(stream.next(stream.init())[0], Layer)

    optimizer = gdlab.inspect(gdlab.adam(0.1))
    step, _ = optimizer.step(layer, optimizer.init(layer))
    assert_type(step.eta, jax.Array)
    assert_type(step.sigma, Layer)
    assert_type(step.m, Layer)
    assert_type(step.moved, Layer | None)
    assert_type(step.update, Layer)

    point = hessian.classify(loss, run.params)
    assert_type(hessian.hvp(loss, layer)(layer), Layer)
    assert_type(point.lowest.vector, Layer)
    assert_type(point.face.descent if point.face else layer, Layer)
    assert_type(hessian.escape(loss, layer).params, Layer)
    assert_type(hessian.find_minimum(loss, layer).params, Layer)
    assert_type(hessian.curvature(loss, layer).vectors, Layer)
    assert_type(hessian.diagonal(loss, layer).value, Layer)
    assert_type(hessian.trace(loss, layer).value, jax.Array)
    assert_type(hessian.connect(loss, layer).ends.params, Layer)
