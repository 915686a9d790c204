"""The way out: down from every saddle, never up, and a reason where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian


def lecture(w):
    return (1 - w[0] * w[1]) ** 2


def himmelblau(w):
    return (w[0] ** 2 + w[1] - 11) ** 2 + (w[0] + w[1] ** 2 - 7) ** 2


SADDLES = {
    "lecture": (lecture, (0, 0), (1, -1)),
    "himmelblau": (himmelblau, (3.385154183607021, 0.07385187983774928), (0.5, -0.1)),
    "quartic": (lambda w: w[0] ** 2 - w[1] ** 2 + w[1] ** 4, (0, 0), (1, 0)),
    "far away": (lambda w: (w[0] - 100) ** 2 - (w[1] - 100) ** 2 + (w[1] - 100) ** 4 + 1, (100, 100), (1, 0)),
    "in six dimensions": (lambda w: jnp.sum(w**4 - 16 * w**2 + 5 * w) / 2, (0.15673125,) * 6, (1, 2, 3, 4, 5, 6)),
}


@pytest.mark.parametrize(("loss", "saddle", "beside"), SADDLES.values(), ids=SADDLES)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_leaves_from_on_the_saddle_and_beside_it(loss, saddle, beside, dtype):
    offsets = jnp.array([0, 1e-8, 1e-3], dtype)[:, None]
    starts = jnp.array(saddle, dtype) + offsets * jnp.array(beside, dtype)
    ways = jax.vmap(lambda start: hessian.escape(loss, start))(starts)
    assert (ways.reason == "stepped along negative curvature").all()
    assert (ways.loss_after < ways.loss_before).all()
    assert ways.params.dtype == dtype
    np.testing.assert_allclose(ways.loss_after, [loss(params) for params in ways.params], rtol=1e-6)
    np.testing.assert_allclose(jnp.linalg.norm(ways.direction, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(ways.params, starts + ways.step[:, None] * ways.direction, rtol=1e-6, atol=1e-6)
    assert (jnp.linalg.norm(ways.params - jnp.array(saddle, dtype), axis=1) > 0.05).all()


def test_leaves_from_the_stable_manifold_where_gradient_descent_walks_in():
    start = jnp.array([0.5, -0.5])
    way = hessian.escape(lecture, start)
    assert way.loss_after < 1 < way.loss_before
    assert abs(way.direction[0] - way.direction[1]) < 1e-12


def test_the_sign_follows_the_gradient_where_it_says_something():
    for side in (1.0, -1.0):
        way = hessian.escape(lecture, side * jnp.array([0.1, 0.1]))
        assert side * way.direction[0] > 0


def test_falls_at_least_half_as_far_as_the_direction_allows():
    def loss(w, curvature, quartic):
        return w[0] ** 2 - curvature * w[1] ** 2 + quartic * w[1] ** 4

    curvature, quartic = (x.ravel() for x in np.meshgrid([1e-6, 1.0, 1e6], [1e-3, 1.0, 1e3]))
    ways = jax.vmap(lambda *ab: hessian.escape(loss, jnp.zeros(2), *ab))(curvature, quartic)
    longest = 50.0  # doubling stops at 100, and may stop short of it by half
    best = np.minimum(longest, (curvature / quartic / 2) ** 0.5)
    assert (ways.loss_after <= (quartic * best**4 - curvature * best**2) / 2).all()


def test_no_way_out_is_said_with_its_reason():
    reasons = {
        "no negative curvature beyond the zero band": (lambda w: jnp.sum(w**2), jnp.ones(2)),
        "the loss, gradient or Hessian is not finite": (lambda w: jnp.sum(jnp.log(w)), jnp.zeros(2)),
        # 1e12 hides a valley 2e-6 deep
        "negative curvature, but no step along it lowers the loss visibly": (
            lambda w: 1e12 + 1e-6 * jnp.cos(1e-6 * w[1]) + 0 * w[0],
            jnp.zeros(2),
        ),
    }
    for reason, (loss, start) in reasons.items():
        way = jax.jit(lambda w, loss=loss: hessian.escape(loss, w))(start)
        assert way.reason == reason
        assert way.step == 0
        np.testing.assert_array_equal(way.params, start)
        np.testing.assert_array_equal(way.loss_after, way.loss_before)


def test_an_unbounded_surface_ends_at_the_longest_step():
    way = hessian.escape(lambda w: w[0] ** 2 - w[1] ** 2, jnp.zeros(2))
    assert way.reason == "stepped along negative curvature"
    assert 1 < way.step <= 100
    assert jnp.isfinite(way.loss_after)


def test_never_to_a_higher_loss_wherever_it_starts():
    def wild(w):
        return jnp.sin(3 * w[0]) * jnp.cos(2 * w[1]) + 0.1 * jnp.sum(w**4)

    starts = 2 * jax.random.normal(jax.random.key(1), (500, 2))
    ways = jax.jit(jax.vmap(lambda w: hessian.escape(wild, w)))(starts)
    assert (ways.loss_after <= ways.loss_before).all()
    assert set(ways.reason) <= {"stepped along negative curvature", "no negative curvature beyond the zero band"}
    curved = np.linalg.eigvalsh(jax.vmap(jax.hessian(wild))(starts))[:, 0] < 0
    np.testing.assert_array_equal(np.asarray(ways.reason) == "stepped along negative curvature", curved)
    np.testing.assert_allclose(ways.loss_after, jax.vmap(wild)(ways.params), rtol=1e-12, atol=1e-12)
    one = hessian.escape(wild, starts[7])
    np.testing.assert_allclose(ways.params[7], one.params, rtol=1e-9)
