"""The way out: down from every saddle, never up, and a reason where there is none."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian
from gdlab.problems import styblinski_tang

LOSSES = {
    "lecture": lambda w, a, b: (1 - w[0] * w[1]) ** 2,
    "himmelblau": lambda w, a, b: (w[0] ** 2 + w[1] - 11) ** 2 + (w[0] + w[1] ** 2 - 7) ** 2,
    "quartic": lambda w, a, b: w[0] ** 2 - a * w[1] ** 2 + b * w[1] ** 4,
    "far away": lambda w, a, b: (w[0] - 100) ** 2 - (w[1] - 100) ** 2 + (w[1] - 100) ** 4 + 1,
    "wild": lambda w, a, b: jnp.sin(3 * w[0]) * jnp.cos(2 * w[1]) + 0.1 * jnp.sum(w**4),
    "bowl": lambda w, a, b: jnp.sum(w**2),
    "logarithm": lambda w, a, b: jnp.sum(jnp.log(w)),
    # 1e12 hides a valley 2e-6 deep
    "hidden": lambda w, a, b: 1e12 + 1e-6 * jnp.cos(1e-6 * w[1]) + 0 * w[0],
}


def any_of(w, which, a, b):
    return jax.lax.switch(which, LOSSES.values(), w, a, b)


@jax.jit
def compiled(w, which, a, b):
    return hessian.escape(any_of, w, which, a, b)


def way_from(name, w, a=1.0, b=1.0):
    """One way out, compiled once for all losses; a and b are read by the quartic only."""
    w = jnp.asarray(w)
    return compiled(w, list(LOSSES).index(name), jnp.asarray(a, w.dtype), jnp.asarray(b, w.dtype))


SADDLES = {
    "lecture": ((0, 0), (1, -1)),
    "himmelblau": ((3.385154183607021, 0.07385187983774928), (0.5, -0.1)),
    "quartic": ((0, 0), (1, 0)),
    "far away": ((100, 100), (1, 0)),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", SADDLES)
def test_leaves_from_on_the_saddle_and_beside_it(name, dtype):
    saddle, beside = (jnp.array(x, dtype) for x in SADDLES[name])
    for offset in (0, 1e-8, 1e-3):
        start = saddle + offset * beside
        check_left(way_from(name, start), start, saddle)


def check_left(way, start, saddle):
    assert way.reason == "stepped along negative curvature"
    assert way.loss_after < way.loss_before
    assert way.params.dtype == start.dtype
    np.testing.assert_allclose(jnp.linalg.norm(way.direction), 1, rtol=1e-6)
    np.testing.assert_allclose(way.params, start + way.step * way.direction, rtol=1e-6, atol=1e-6)
    assert jnp.linalg.norm(way.params - saddle) > 0.05


def test_leaves_in_six_dimensions():
    saddle = jnp.full(6, 0.15673125)
    way = hessian.escape(styblinski_tang, saddle)
    check_left(way, saddle, saddle)


def test_leaves_from_the_stable_manifold_where_gradient_descent_walks_in():
    way = way_from("lecture", [0.5, -0.5])
    assert way.loss_after < 1 < way.loss_before
    assert abs(way.direction[0] - way.direction[1]) < 1e-12


def test_the_sign_follows_the_gradient_where_it_says_something():
    for side in (1.0, -1.0):
        way = way_from("lecture", [side * 0.1, side * 0.1])
        assert side * way.direction[0] > 0


def test_falls_at_least_half_as_far_as_the_direction_allows():
    for curvature in (1e-6, 1.0, 1e6):
        for quartic in (1e-3, 1.0, 1e3):
            best = min(
                50.0, (curvature / quartic / 2) ** 0.5
            )  # doubling stops at 100, and may stop short of it by half
            lowest = quartic * best**4 - curvature * best**2
            assert way_from("quartic", [0.0, 0.0], curvature, quartic).loss_after <= lowest / 2


def test_no_way_out_is_said_with_its_reason():
    reasons = {
        "no negative curvature beyond the zero band": ("bowl", [1.0, 1.0]),
        "the loss, gradient or Hessian is not finite": ("logarithm", [0.0, 0.0]),
        "negative curvature, but no step along it lowers the loss visibly": ("hidden", [0.0, 0.0]),
    }
    for reason, (name, start) in reasons.items():
        way = way_from(name, start)
        assert way.reason == reason
        assert way.step == 0
        np.testing.assert_array_equal(way.params, start)
        np.testing.assert_array_equal(way.loss_after, way.loss_before)


def test_an_unbounded_surface_ends_at_the_longest_step():
    way = way_from("quartic", [0.0, 0.0], 1.0, 0.0)
    assert way.reason == "stepped along negative curvature"
    assert 1 < way.step <= 100
    assert jnp.isfinite(way.loss_after)


def test_never_to_a_higher_loss_wherever_it_starts():
    wild = functools.partial(LOSSES["wild"], a=1.0, b=1.0)
    starts = 2 * jax.random.normal(jax.random.key(1), (500, 2))
    ways = jax.jit(jax.vmap(lambda w: hessian.escape(wild, w)))(starts)
    assert (ways.loss_after <= ways.loss_before).all()
    assert set(ways.reason) <= {"stepped along negative curvature", "no negative curvature beyond the zero band"}
    curved = np.linalg.eigvalsh(jax.vmap(jax.hessian(wild))(starts))[:, 0] < 0
    np.testing.assert_array_equal(np.asarray(ways.reason) == "stepped along negative curvature", curved)
    np.testing.assert_allclose(ways.loss_after, jax.vmap(wild)(ways.params), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ways.params[7], way_from("wild", starts[7]).params, rtol=1e-9)
