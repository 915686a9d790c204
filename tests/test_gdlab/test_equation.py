"""The equation: how its parts meet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdlab import base, descent, directions, equation, scales, schedules


def test_a_cell_without_a_name_is_its_three_parts():
    """Heavy ball over a running root mean square: both see the raw gradients."""
    optimizer = descent(directions.HeavyBall(0.5), scales.RunningRootMeanSquare(0.75), schedules.InverseSqrt(0.1))
    grads, state, v, nu = np.random.default_rng(2).normal(size=(50, 3)), optimizer.init(jnp.zeros(3)), 0, None
    for t, g in enumerate(grads):
        eta = 0.1 / np.sqrt(t + 1)
        v = 0.5 * v + eta * g
        nu = g**2 if nu is None else 0.75 * nu + 0.25 * g**2
        updates, state = optimizer.update(jnp.asarray(g), state)
        np.testing.assert_allclose(updates, -v / np.sqrt(nu), rtol=1e-12)


def test_a_ball_keeps_rolling_when_the_rate_is_zero():
    optimizer = descent(directions.HeavyBall(0.5), scales.Unit(), lambda t: jnp.where(t == 0, 1.0, 0.0))
    state = optimizer.init(0.0)
    first, state = optimizer.update(1.0, state)
    second, state = optimizer.update(1.0, state)
    assert (float(first), float(second)) == (-1.0, -0.5)


def test_sigma_is_above_zero_and_m_is_zero_where_nothing_was_seen():
    optimizer = descent(directions.Gradient(), scales.RunningRootMeanSquare(0.9), 0.1)
    step, _ = optimizer.step(jnp.array([0.0, 3.0]), optimizer.init(jnp.zeros(2)))
    assert 0 < step.sigma[0] < 1e-150
    assert step.sigma[1] == 3
    assert step.m.tolist() == [0.0, 3.0]
    np.testing.assert_allclose(step.update, [0.0, -0.1], rtol=1e-15)


def test_a_schedule_may_be_any_callable_and_sees_the_widest_integer():
    seen = []
    optimizer = descent(directions.Gradient(), scales.Unit(), lambda t: seen.append(t.dtype) or 1 / jnp.sqrt(t + 1))
    state = optimizer.init(jnp.zeros(2))
    _, state = optimizer.update(jnp.ones(2), state)
    updates, _ = optimizer.update(jnp.ones(2), state)
    assert set(seen) == {jnp.zeros([], int).dtype}
    np.testing.assert_allclose(updates, -1 / np.sqrt(2), rtol=1e-15)


@pytest.mark.parametrize("name", ["direction", "scale"])
def test_a_wrong_piece_is_named(name):
    parts = {"direction": directions.Gradient(), "scale": scales.Unit(), "schedule": 0.1, name: 0.9}
    with pytest.raises(TypeError, match=f"{name} must be one of gdlab.{name}s"):
        descent(**parts)


def test_the_rate_is_as_wide_as_the_parameters():
    assert (
        descent(directions.Gradient(), scales.Unit(), 0.1)
        .step(jnp.ones(2), descent(directions.Gradient(), scales.Unit(), 0.1).init(jnp.ones(2)))[0]
        .eta.dtype
        == jnp.zeros([]).dtype
    )
    optimizer = descent(directions.Gradient(), scales.Unit(), 0.1)
    step, _ = jax.jit(optimizer.step)(jnp.ones(2, "float16"), optimizer.init(jnp.ones(2, "float16")))
    assert step.eta.dtype == jnp.float32


def test_leaves_that_share_a_sigma_share_its_division_and_others_do_not():
    sigma, other = jnp.array([1.0, 2.0]), jnp.array([4.0, 5.0])
    step = equation.Step(
        jnp.int32(0), jnp.asarray(0.5), [sigma, sigma, other], [jnp.ones(2), 2 * jnp.ones(2), jnp.ones(2)]
    )
    for made, size, m in zip(step.update, step.sigma, step.m, strict=True):
        np.testing.assert_allclose(made, -0.5 / size * m, rtol=1e-15)
    assert str(jax.make_jaxpr(lambda step: step.update)(step)).count("div") == 3
    shared = jax.make_jaxpr(lambda one: equation.Step(0, 0.5, [one, one, one], step.m).update)(sigma)
    assert str(shared).count("div") == 1


def test_an_optimizer_without_extras_has_none_and_the_rate_is_as_wide_as_the_widest_leaf():
    optimizer = descent(directions.Gradient(), scales.Unit(), 0.1)
    assert optimizer.extras(jnp.ones(2), optimizer.init(jnp.ones(2))) == {}
    for dtypes, rate in ((["float16"], "float32"), (["float32", "float64"], "float64"), (["complex64"], "float32")):
        assert base.rate_dtype([jnp.zeros(1, dtype) for dtype in dtypes]) == rate
