"""Steps with curvature, against closed forms and a solver of the subproblem that knows no eigenvectors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
import hessian
from gdlab.problems import rosenbrock, surface
from hessian.modes import Modes
from hessian.second_order import cubic, within


def model(seed, n=5, hard=False):
    a, h = jax.random.normal(jax.random.key(seed), (n,)), jax.random.normal(jax.random.key(seed + 99), (n, n))
    values, columns = jnp.linalg.eigh(h + h.T)
    along = (columns.T @ a).at[0].multiply(0.0 if hard else 1.0)
    return Modes(values, columns.T, along, jnp.int32(n))


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("radius", [0.01, 1.0, 30.0])
def test_the_step_meets_the_conditions_of_more_and_sorensen(radius, hard):
    for seed in range(10):
        found = model(seed, hard=hard)
        inside, rest, size = within(found, jnp.array(radius))
        p = inside.at[0].add(rest)
        assert size <= radius * (1 + 1e-9)
        used = np.abs(p) > 1e-9 * radius
        mu = (-found.along / jnp.where(used, p, 1) - found.values)[used]
        np.testing.assert_allclose(mu, mu[-1], rtol=1e-5, atol=1e-6)  # (H + mu) p = -g with one mu
        assert mu[-1] >= max(0, -found.values[0]) - 1e-5
        assert mu[-1] < 1e-5 or size >= radius * (1 - 1e-9)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("weight", [0.01, 1.0, 100.0])
def test_the_cubic_step_meets_its_conditions(weight, hard):
    for seed in range(10):
        found = model(seed, hard=hard)
        inside, rest = cubic(found, jnp.array(weight))
        p = inside.at[0].add(rest)
        mu = weight * jnp.linalg.norm(p)
        np.testing.assert_allclose((found.values + mu) * p, -found.along, atol=1e-6 * jnp.abs(found.values).max())
        assert mu >= -found.values[0] * (1 - 1e-9)


METHODS = {
    "trust_region": hessian.trust_region,
    "cubic_regularisation": hessian.cubic_regularisation,
    "newton_cg": hessian.newton_cg,
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_saddles_are_left_and_the_loss_never_rises(method):
    loss = surface("linear_net_ridge").loss
    starts = jnp.array([[0.0, 0.0], [1e-8, 0.0], [0.5, -0.5], [1.7, -0.2]], jnp.float32)

    def run(start):
        return gdlab.minimize(loss, method(), start, 40)

    runs = jax.jit(jax.vmap(run))(starts)
    assert (np.diff(runs.history["loss"], axis=1) <= 0).all()
    np.testing.assert_allclose(jax.vmap(loss)(runs.params), 0.19, rtol=1e-5)


@pytest.mark.parametrize("method", [hessian.cubic_regularisation, hessian.newton_cg])
def test_the_valley_is_followed_to_its_end(method):
    run = gdlab.minimize(rosenbrock, method(), jnp.array([-1.2, 1.0]), 60)
    np.testing.assert_allclose(run.params, 1, atol=1e-6)


def test_newton_goes_to_the_nearest_saddle_and_saddle_free_newton_away_from_it():
    loss = surface("linear_net_ridge").loss
    start = jnp.array([0.2, 0.1])
    assert jnp.linalg.norm(gdlab.minimize(loss, hessian.newton(), start, 20).params) < 1e-12
    free = gdlab.minimize(loss, hessian.saddle_free_newton(), start, 12).params
    np.testing.assert_allclose(free, np.sqrt(0.9), atol=1e-9)
    stuck = gdlab.minimize(loss, hessian.saddle_free_newton(), jnp.array([0.5, -0.5]), 12).params
    assert jnp.linalg.norm(stuck) < 1e-9  # on the stable manifold it is no better than others
    helped = gdlab.minimize(loss, hessian.escaping(hessian.saddle_free_newton(), every=10), jnp.array([0.5, -0.5]), 60)
    np.testing.assert_allclose(jnp.abs(helped.params), np.sqrt(0.9), atol=1e-9)


def test_krylov_spaces_see_the_way_out_that_the_gradient_does_not():
    def loss(x):
        return jnp.sum((1 - x[0] * x[1]) ** 2) + jnp.sum(jnp.arange(3, 101) * x[2:] ** 2)

    x = jnp.zeros(100).at[0].set(0.5).at[1].set(-0.5)
    run = gdlab.minimize(loss, hessian.trust_region(krylov=12), x, 25)
    assert loss(run.params) < 1e-6


def test_dense_and_krylov_agree_where_the_spaces_are_everything():
    x = jnp.array([-1.0, 0.3, 0.8, -0.2, 0.5, 1.1])
    dense, some, full = (
        gdlab.minimize(rosenbrock, hessian.trust_region(0.3, krylov=krylov), x, 1).params for krylov in (None, 3, 5)
    )
    np.testing.assert_allclose(dense, full, rtol=1e-6)
    assert (some != dense).any()


def test_hyperparameters_are_leaves_and_bad_ones_are_named():
    assert len(jax.tree.leaves(hessian.trust_region(0.5))) == 2  # key and radius
    with pytest.raises(ValueError, match="krylov must be None for the dense Hessian, or a whole number"):
        hessian.newton(krylov=0)
    with pytest.raises(ValueError, match="value_fn must be given to update"):
        hessian.newton().update(jnp.zeros(2), hessian.newton().init(jnp.zeros(2)), jnp.zeros(2))


def test_steps_go_through_trees_in_their_own_dtype():
    def loss(w):
        return (1 - jnp.sum(w["a"] * w["b"])) ** 2

    w = {"a": jnp.zeros(2, jnp.float32), "b": jnp.zeros(2, jnp.float32)}
    run = gdlab.minimize(loss, hessian.trust_region(), w, 30)
    assert run.params["a"].dtype == jnp.float32
    assert loss(run.params) < 1e-6
