"""An optimizer with looks at the curvature: it keeps its own steps, and leaves where they no longer pay."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
import hessian
from gdlab.problems import octopus, quadratic_bowl, surface

pytestmark = pytest.mark.full


def stiff_octopus(x):
    return octopus(x, stiffness=3.0)


def legs_left(x):
    return int(jnp.sum(jnp.abs(x) > 2 * np.e))


def test_gradients_on_the_octopus_grow_linearly_where_descent_stays_for_ever():
    for dim in (5, 20):
        start = jax.random.uniform(jax.random.key(1), (dim,), minval=-1, maxval=1)
        run = gdlab.minimize(stiff_octopus, hessian.with_saddle_escape(gdlab.gd(1 / 12), every=20), start, 22 * dim)
        assert legs_left(run.params) == dim
        assert run.state.escapes <= dim
    start = jax.random.uniform(jax.random.key(1), (10,), minval=-1, maxval=1)
    assert legs_left(gdlab.minimize(stiff_octopus, gdlab.gd(1 / 12), start, 300_000, every=300_000).params) < 10


def test_waiting_times_on_the_octopus_grow_as_the_theory_says():
    start = jnp.array([1e-3, 1e-3, 1e-3, 1e-3])
    path = gdlab.minimize(octopus_of_one, gdlab.gd(1 / 4), start, 2000, record=("params",)).history["params"]
    arrivals = np.argmax(np.abs(path) > 2 * np.e, axis=0)
    waits = np.diff(arrivals)
    assert waits[2] / waits[1] == pytest.approx(1 + np.log(2) / np.log(1.5), rel=0.05)  # gamma = L = 1


def octopus_of_one(x):
    return octopus(x, stiffness=1.0)


@pytest.mark.parametrize("optimizer", [gdlab.adam(0.01), optax.sgd(0.1, momentum=0.9)])
def test_the_lectures_saddle_is_left(optimizer):
    loss = surface("linear_net").loss
    starts = jnp.array([(0.0, 0.0), (0.5, -0.5), (1e-8, -1e-8)])
    plain = jax.vmap(lambda start: gdlab.minimize(loss, gdlab.gd(0.1), start, 500).params)(starts)
    run = jax.vmap(lambda start: gdlab.minimize(loss, hessian.with_saddle_escape(optimizer), start, 500).params)(starts)
    assert (jax.vmap(loss)(plain) > 0.99).all()
    assert (jax.vmap(loss)(run) < 1e-3).all()


def test_where_nothing_is_negative_the_steps_are_the_optimizers_own():
    start = jnp.array([3.0, 1.0])
    own = gdlab.minimize(quadratic_bowl, gdlab.adam(0.1), start, 100).params
    run = gdlab.minimize(quadratic_bowl, hessian.with_saddle_escape(gdlab.adam(0.1), every=7), start, 100)
    np.testing.assert_allclose(run.params, own, rtol=1e-12)
    assert run.state.escapes == 0


def test_state_is_reset_or_kept_by_choice():
    loss = surface("linear_net").loss
    counts = {}
    for reset in (True, False):
        optimizer = hessian.with_saddle_escape(optax.adam(1e-3), every=5, reset=reset)
        counts[reset] = int(gdlab.minimize(loss, optimizer, jnp.zeros(2), 5).state.inner[0].count)
    assert counts == {True: 0, False: 5}


def test_vmap_equals_a_loop_and_keys_matter_only_by_the_sign():
    loss = surface("himmelblau").loss
    starts = jnp.array([[3.385154183607021, 0.07385187983774928], [0.0, 0.0], [-1.0, -4.0]])

    def end(start):
        return gdlab.minimize(loss, hessian.with_saddle_escape(gdlab.gd(0.005)), start, 300).params

    together = jax.vmap(end)(starts)
    alone = jax.jit(end)
    for start, one in zip(starts, together, strict=True):
        np.testing.assert_allclose(alone(start), one, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(loss)(together), 0, atol=1e-9)


def test_a_look_is_computed_only_where_it_is_due_even_under_vmap():
    loss = surface("linear_net").loss
    optimizer = hessian.with_saddle_escape(gdlab.gd(0.1), every=50)

    def end(start):
        return gdlab.minimize(loss, optimizer, start, 100).params

    text = str(jax.make_jaxpr(jax.vmap(end))(jnp.zeros((3, 2))))
    assert "cond[" in text  # a branch taken by the count stays a branch


def test_a_look_needs_the_loss():
    optimizer = hessian.with_saddle_escape(optax.sgd(0.1))
    state = optimizer.init(jnp.zeros(2))
    with pytest.raises(ValueError, match="value_fn must be given to update"):
        optimizer.update(jnp.zeros(2), state, jnp.zeros(2))
    with pytest.raises(ValueError, match="num_matvecs must be a whole number, at least 2; got 1"):
        hessian.with_saddle_escape(optax.sgd(0.1), num_matvecs=1)
    hessian.with_saddle_escape(optax.sgd(0.1), num_matvecs=2)


def test_looks_come_after_every_so_many_steps_and_pay_more_than_those_did():
    optimizer = hessian.with_saddle_escape(optax.sgd(1.0), every=4)

    @jax.jit
    def step(w, state, speed):
        def loss(w):  # each step along w[1] brings speed^2; along w[0] there is 1/4 to win
            return -speed * w[1] - w[0] ** 2 / 2 + w[0] ** 4 / 4

        updates, state = optimizer.update(jax.grad(loss)(w), state, w, value_fn=loss)
        return w + updates, state

    for speed, after in ((0.01, [0, 0, 0, 1, 1, 1, 1, 1]), (0.25, [0, 0, 0, 1]), (0.3, [0, 0, 0, 0])):
        w, escapes = jnp.zeros(2), []
        state = optimizer.init(w)
        for _ in after:
            w, state = step(w, state, speed)
            escapes.append(int(state.escapes))
        assert escapes == after  # three steps of 0.3^2 bring more than the way out


def test_an_update_names_what_it_misses():
    optimizer = hessian.with_saddle_escape(optax.sgd(0.1))
    state = optimizer.init(jnp.zeros(2))
    for params, value_fn, missing in ((None, jnp.sum, "params"), (jnp.zeros(2), None, "value_fn")):
        with pytest.raises(ValueError, match=f"^{missing} must be given to update: .* needs params and value_fn; got"):
            optimizer.update(jnp.zeros(2), state, params, value_fn=value_fn)


def wells(w, low, high):
    return low * (w[0] ** 2 - 1) ** 2 + high * w[1] ** 2


@pytest.mark.parametrize(("dtype", "low", "high"), [("float32", 1e-6, 1e3), ("float64", 1e-6, 1e9)])
def test_a_saddle_whose_curvature_is_below_the_rounding_of_the_stiffest_is_left(dtype, low, high):
    optimizer = hessian.with_saddle_escape(gdlab.adam(0.01))

    def loss(w):
        return wells(w, low, high)

    starts = jnp.array([(0.0, 0.0), (0.0, 0.3)], dtype)  # on the saddle, and on its stable manifold
    run = jax.vmap(lambda start: gdlab.minimize(loss, optimizer, start, 2000))(starts)
    np.testing.assert_allclose(jnp.abs(run.params[:, 0]), 1, atol=1e-2)
    np.testing.assert_array_equal(run.state.escapes, 1)


def test_rounding_is_no_way_out():
    rows = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)

    def loss(w):
        return jnp.mean((rows @ w - rows.sum(axis=1)) ** 2) + 1e3 * (jnp.sum(w) - 8) ** 2 + 5

    def flat(w):
        return jnp.sum(jax.nn.softmax(w)) + 1e3 * w[0] ** 2

    for of in (loss, flat):
        start = jnp.asarray(np.random.default_rng(1).normal(size=8), jnp.float32)
        run = gdlab.minimize(of, hessian.with_saddle_escape(gdlab.adam(0.01), every=10), start, 500)
        assert run.state.escapes == 0


def test_a_narrow_minimum_amid_lower_ground_is_no_saddle():
    def dimple(w):  # of curvature 1/2, and 1e-5 wide: the loss itself falls at every length that shows in it
        return jnp.sum(2.5e-10 * (1 - jnp.exp(-((w / 1e-5) ** 2) / 2)) - w**2)

    run = gdlab.minimize(dimple, hessian.with_saddle_escape(gdlab.gd(0.1), every=5), jnp.zeros(2), 20)
    assert run.state.escapes == 0 and not jnp.any(run.params)
