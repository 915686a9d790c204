"""The ways down from a saddle: the flow of a quadratic model in closed form, step by step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from hessian.saddles.connect import _flow, _followed
from hessian.steps.eigenbasis import Eigenbasis

FLOWS = {  # curvature, gradient, longest
    "a valley, cut off": ((1.0, 2.0), (3.0, -1.0), 0.5),
    "a valley, to its end": ((1.0, 4.0), (0.3, -0.2), 0.5),
    "a saddle": ((-1.0, 2.0), (0.1, 0.2), 0.7),
    "a slope": ((0.0, 3.0), (0.5, 0.5), 0.9),
    "stiff and flat": ((1e-6, 1e6), (1e-3, 10.0), 0.3),
    "a plane": ((0.0, 0.0), (3.0, -4.0), 2.0),
}
flow = jax.jit(_flow)


def at(time, values, slope):
    values, slope = np.asarray(values), np.asarray(slope)
    flat = values == 0
    return -slope * np.where(flat, time, -np.expm1(-values * time) / np.where(flat, 1, values))


@pytest.mark.parametrize("case", FLOWS, ids=FLOWS)
def test_the_flow_is_that_of_the_quadratic_model_for_so_far_at_most(case):
    values, slope, longest = FLOWS[case]
    found = Eigenbasis(jnp.asarray(values), jnp.eye(2), jnp.asarray(slope), jnp.int32(2))
    p = flow(found, max(map(abs, values)), jnp.asarray(longest))
    if case == "a valley, to its end":
        want = -np.divide(slope, values)
    else:
        time = scipy.optimize.brentq(lambda t: np.linalg.norm(at(t, values, slope)) - longest, 0, 340, xtol=1e-14)
        want = at(time, values, slope)
    np.testing.assert_allclose(p, want, rtol=1e-8, atol=1e-12)


def test_where_nothing_pulls_nothing_flows():
    still = Eigenbasis(jnp.array([-1.0, 1.0]), jnp.eye(2), jnp.zeros(2), jnp.int32(2))
    np.testing.assert_array_equal(flow(still, 1.0, jnp.asarray(0.5)), [0, 0])


def bowl(w, bends, wall):
    return jnp.where(w[0] < wall, jnp.nan, bends @ w**2 / 2)


@functools.partial(jax.jit, static_argnums=4)
def followed(begin, bends, wall, radius, steps):
    return _followed(lambda w: bowl(w, bends, wall), begin, radius, steps)


@pytest.mark.full
def test_each_step_is_as_long_as_its_radius_until_the_valley_ends():
    valley = jnp.array([1.0, 1.0])
    x = 5.0
    for _ in range(3):
        x -= 0.2 * (1 + x)
    for steps, bends, start, wall, want in (
        (3, valley, 5.0, -9.0, x),
        (99, valley, 5.0, -9.0, 0.0),
        (99, valley, 0.11, -9.0, 0.0),
        (99, jnp.array([-1.0, 1.0]), 0.1, -9.0, None),
        (99, valley, 5.0, 4.0, 3.8),  # the first step behind the wall is the last
    ):
        end = followed(jnp.array([start, 0.0]), bends, wall, 0.2, steps)
        if want is None:
            want = 0.1
            for _ in range(99):
                want += 0.2 * (1 + want)
        np.testing.assert_allclose(end, [want, 0], rtol=1e-6, atol=1e-9)
