"""The ways down from a saddle: the flow of a quadratic model in closed form, step by step."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

import hessian
from hessian.precision import working
from hessian.saddles import connect
from hessian.saddles.connect import ConnectionOutcome, _flow, _followed
from hessian.steps.eigenbasis import Eigenbasis
from hessian.verdicts.classify import Kind

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


def bowl(w, bends, wall, quartic=0.0):
    return jnp.where(w[0] < wall, jnp.nan, bends @ w**2 / 2 + quartic * w[0] ** 4 / 4)


@jax.jit
def followed(begin, bends, wall, radius, steps, quartic):
    return _followed(lambda w: bowl(w, bends, wall, quartic), begin, radius, steps)


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
        end = followed(jnp.array([start, 0.0]), bends, wall, 0.2, steps, 0.0)
        if want is None:
            want = 0.1
            for _ in range(99):
                want += 0.2 * (1 + want)
        np.testing.assert_allclose(end, [want, 0], rtol=1e-6, atol=1e-9)


@pytest.mark.full
def test_the_flow_ends_with_the_first_step_of_less_than_half_its_radius():
    # In x^4 / 4 Newton's step, where the flow of the model ends, is -x / 3; the radius is (1 + x) / 5.
    for start, steps in ((0.5, 2), (0.44, 2), (0.42, 1), (0.3, 1)):
        end = followed(jnp.array([start, 0.0]), jnp.array([0.0, 1.0]), -9.0, 0.2, 99, 1.0)
        np.testing.assert_allclose(end, [start * (2 / 3) ** steps, 0], rtol=1e-9)


class Verdict(SimpleNamespace):
    """A made verdict, which needs no point."""

    certificate = "made"

    def provided(self, holds):
        return self


def verdict(lowest, code=Kind.SADDLE, gradient=0.0):
    lowest, gradient = jnp.asarray(lowest), jnp.asarray(gradient)
    return Verdict(lowest=SimpleNamespace(value=lowest), code=code, gradient_norm=gradient, curvature_tol=0.5)


def test_what_lies_below_a_point_is_told_by_its_lowest_eigenvalue_and_its_gradient():
    for outcome, made in (
        (ConnectionOutcome.DOWN, verdict(-0.51)),
        (ConnectionOutcome.NO_CURVATURE, verdict(-0.5, Kind.DEGENERATE)),
        (ConnectionOutcome.NO_CURVATURE, verdict(0.5, Kind.MINIMUM)),
        (ConnectionOutcome.NO_CURVATURE, verdict(-0.49, Kind.NOT_CRITICAL, 9.0)),
        (ConnectionOutcome.SLOPE, verdict(-0.51, Kind.NOT_CRITICAL, 9.0)),
        (ConnectionOutcome.NOT_FINITE, verdict(-0.51, gradient=jnp.inf)),
        (ConnectionOutcome.NOT_FINITE, verdict(jnp.nan)),
    ):
        assert connect._kind(made) == outcome


def double_well(w):
    return (w[0] ** 2 - 1) ** 2 + (w[1] - 3) ** 2


def test_both_ways_begin_at_a_radius_from_the_saddle(monkeypatch):
    monkeypatch.setattr(connect, "_followed", lambda flat, begin, radius, steps: begin)
    monkeypatch.setattr(connect, "find_minimum", lambda loss, start, **settings: start)
    saddle = jnp.array([0.0, 3.0])
    stored = working(double_well, saddle)[3]
    direction, begins = connect._connect.__wrapped__(double_well, 9, stored, None, saddle, (), 0.125, None)
    np.testing.assert_allclose(jnp.abs(direction), [1, 0], atol=1e-12)
    np.testing.assert_allclose(begins, [saddle + 0.5 * direction, saddle - 0.5 * direction], atol=1e-12)


class GoesOn(Exception):
    """The ways down are asked for."""


def test_only_where_no_eigenvalue_is_negative_and_that_is_known_a_connection_is_refused(monkeypatch):
    def go_on(*given):
        raise GoesOn

    def of(lowest):
        monkeypatch.setattr(connect, "classify", lambda *given, **settings: verdict(lowest))
        return hessian.connect(double_well, jnp.zeros(2))

    monkeypatch.setattr(connect, "_connect", go_on)
    with pytest.raises(
        ValueError, match="saddle must have a negative eigenvalue, along which ways lead down; got made"
    ):
        of(1.0)
    with pytest.raises(GoesOn):
        of(-1.0)
    with pytest.raises(GoesOn):  # inside of a program nothing is known yet
        jax.eval_shape(of, 1.0)
