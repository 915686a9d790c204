"""Schedules: values to one unit in the last place, all parameters at once under vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdlab import schedules

COUNTS = np.arange(0, 60)

# name -> (constructor, values for its parameters, the same in NumPy: (t, *parameters))
SCHEDULES = {
    "constant": (schedules.constant, [0.3], lambda t, rate: rate + 0 * t),
    "inverse_sqrt": (schedules.inverse_sqrt, [0.3], lambda t, rate: rate / np.sqrt(t + 1)),
}
every_schedule = pytest.mark.parametrize(("make", "values", "formula"), SCHEDULES.values(), ids=SCHEDULES)


@every_schedule
def test_values_are_exact_to_the_last_place(make, values, formula):
    actual = jax.vmap(make(*values))(jnp.asarray(COUNTS, jnp.int32))
    assert actual.dtype == jnp.float64
    np.testing.assert_array_max_ulp(np.asarray(actual), formula(COUNTS.astype(float), *values), maxulp=1)


@every_schedule
def test_all_parameters_vary_at_once_under_vmap(make, values, formula):
    lanes = [jnp.asarray([value, 1.5 * value, 2 * value]) for value in values]
    together = jax.vmap(lambda count, *values: jax.vmap(make(*values))(count), in_axes=(None, *[0] * len(values)))(
        jnp.asarray(COUNTS), *lanes
    )
    for lane, row in enumerate(together):
        np.testing.assert_allclose(row, formula(COUNTS.astype(float), *(float(v[lane]) for v in lanes)), rtol=1e-14)


@every_schedule
def test_all_parameters_have_finite_derivatives(make, values, formula):
    def total(values):
        return jnp.sum(jax.vmap(make(*values))(jnp.asarray(COUNTS)))

    assert all(jnp.isfinite(slope) for slope in jax.grad(total)([jnp.asarray(float(value)) for value in values]))
