"""Runs within bounds: projected steps, beside a loop of NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

import gdlab

LOW, HIGH = {"w": jnp.array([-0.5, 0.0]), "b": None}, {"w": 0.75, "b": 2.0}
TARGET = np.array([2.0, -1.0])


def loss(params):
    return jnp.sum((params["w"] - TARGET) ** 2) + (params["b"] - 3) ** 2


def projected(steps):
    """Projected gradient descent in NumPy, and the losses on the way."""
    w, b, losses = np.array([0.1, 0.4]), 1.0, []
    for _ in range(steps):
        losses.append(((w - TARGET) ** 2).sum() + (b - 3) ** 2)
        w, b = np.clip(w - 0.2 * (w - TARGET), [-0.5, 0.0], 0.75), min(b - 0.2 * (b - 3), 2.0)
    return w, b, losses


@pytest.mark.parametrize("run", [gdlab.minimize, gdlab.long_run])
def test_steps_within_bounds_are_projected(run):
    start = {"w": jnp.array([0.1, 0.4]), "b": jnp.array(1.0)}
    found = run(loss, gdlab.gd(0.1), start, 12, bounds=(LOW, HIGH))
    w, b, losses = projected(12)
    np.testing.assert_allclose(found.params["w"], w, rtol=1e-12)
    np.testing.assert_allclose(found.params["b"], b, rtol=1e-12)
    np.testing.assert_allclose(found.history["loss"], losses, rtol=1e-12)


def test_a_start_outside_is_put_into_the_box():
    run = gdlab.minimize(lambda w: w * w, gdlab.gd(0.25), 9.0, 2, bounds=(1.0, 4.0))
    assert run.history["loss"].tolist() == [16.0, 4.0]
    assert float(run.params) == 1.0


@pytest.mark.parametrize("bounds", [3, (1.0, 0.0), (0.0,), ({"w": 0.0}, None), (jnp.nan, None)], ids=str)
def test_bounds_that_are_none_are_named(bounds):
    with pytest.raises(ValueError, match=r"^bounds must"):
        gdlab.minimize(lambda w: jnp.sum(w * w), gdlab.gd(0.1), jnp.ones(2), 1, bounds=bounds)


def test_bounds_of_another_shape_are_told_that_of_the_parameters():
    start = {"w": jnp.ones(2), "b": jnp.array(1.0)}
    with pytest.raises(ValueError, match=r"^bounds must .* of shape \{'b': \(\), 'w': \(2,\)\}; got \{'w': Array"):
        gdlab.minimize(loss, gdlab.gd(0.1), start, 1, bounds=({"w": jnp.zeros(3), "b": 0.0}, None))
