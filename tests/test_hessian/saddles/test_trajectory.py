"""How a saddle is left: the records against eigenvalues computed otherwise, the times against the linear theory."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
import hessian
from gdlab.problems import surface
from hessian.saddles import trajectory

pytestmark = pytest.mark.full
EPS = np.finfo(float).eps


def test_measured_times_are_those_of_the_theory_over_seeds():
    def run(key, offset):
        return hessian.escape_trajectory(
            surface("linear_net").loss, jnp.zeros(2), optimizer=gdlab.gd(0.05), steps=400, offset=offset, key=key
        )

    runs = jax.vmap(run)(jax.random.split(jax.random.key(0), 40), jnp.repeat(jnp.array([1e-3, 1e-8]), 20))
    np.testing.assert_allclose(runs.curvature, -2, rtol=1e-12)
    predicted = hessian.escape_time(runs.curvature, 0.05, runs.start_projection, 0.5)
    assert (np.abs(runs.left_at - predicted) <= 3).all()  # the quartic term slows the last steps
    rough = np.log(0.5 / runs.start_projection) / (0.05 * 2)
    np.testing.assert_allclose(runs.left_at, rough, rtol=0.15)


def test_records_are_those_of_the_dense_hessian():
    loss, saddle = surface("linear_autoencoder_2_1_2").loss, jnp.zeros(4)
    run = hessian.escape_trajectory(loss, saddle, optimizer=optax.sgd(0.1), steps=60)
    path = gdlab.minimize(loss, optax.sgd(0.1), run.params, 1)  # goes on from where it ended
    assert jnp.isfinite(path.params).all()
    np.testing.assert_allclose(run.lowest[0], -3, atol=1e-5)
    assert run.alignment[:2].max() <= 1 + 1e-12
    assert run.alignment[10] > 0.99  # what is left of the gradient points out
    assert (np.diff(run.loss) <= 1e-12).all()
    np.testing.assert_allclose(run.distance[0], 1e-6)
    assert 0 < run.left_at == np.argmax(run.distance > 0.5)


@pytest.mark.parametrize(("limit", "dense"), [(3, 1), (2, 0)])
def test_all_eigenvectors_are_taken_up_to_a_number_of_parameters(monkeypatch, limit, dense):
    calls, eigenbasis = [], trajectory.eigenbasis
    monkeypatch.setattr(trajectory, "DENSE_TRAJECTORY", limit)
    monkeypatch.setattr(trajectory, "eigenbasis", lambda *args: calls.append(args) or eigenbasis(*args))
    jax.eval_shape(
        lambda w: hessian.escape_trajectory(lambda w: w @ w, w, optimizer=optax.sgd(0.1), steps=1), jnp.zeros(3)
    )
    assert len(calls) == dense


def test_a_large_hessian_is_followed_by_two_products_a_step():
    def loss(x):
        return (1 - x[0] * x[1]) ** 2 + jnp.sum(jnp.linspace(0.5, 1.5, x.size - 2) * x[2:] ** 2)

    run = hessian.escape_trajectory(loss, jnp.zeros(100), optimizer=optax.sgd(0.1), steps=120, offset=1e-4)
    rows = jax.jit(jax.vmap(jax.hessian(loss)))(jnp.stack([jnp.zeros(100), run.params]))
    exact = np.linalg.eigvalsh(rows)[:, 0]
    np.testing.assert_allclose(run.lowest[0], exact[0], rtol=1e-3)
    np.testing.assert_allclose(run.lowest[-1], exact[1], atol=0.05)
    assert (run.lowest[:20] >= exact[0] * (1 + 1e-9)).all()  # Rayleigh quotients come from inside
    assert (np.diff(run.lowest[:20]) <= 1e-6).all()
    assert abs(run.lowest[20] / exact[0] - 1) < 1e-4
    assert run.alignment[20] > 0.99
    assert run.alignment.max() <= 1 + 1e-9


def test_bad_steps_are_named():
    with pytest.raises(ValueError, match="steps must be a whole number, at least 1; got 0"):
        hessian.escape_trajectory(jnp.sum, jnp.zeros(2), optimizer=optax.sgd(0.1), steps=0)


def test_on_a_parabola_everything_recorded_is_in_closed_form():
    bends = jnp.array([-1.0, 2.0])

    def loss(w):
        return bends @ w**2 / 2

    @jax.jit
    def leave(radius):
        return hessian.escape_trajectory(
            loss, jnp.zeros(2), optimizer=optax.sgd(0.5), steps=30, offset=1e-3, radius=radius
        )

    run = leave(0.1)
    assert leave(1e9).left_at == 30
    assert leave(float(run.distance[20])).left_at == 21  # beyond the radius, not on it
    start = np.asarray(run.params) / np.array([1.5, 0.5]) ** 30  # halved across: exact to the last
    start[1] = np.sqrt(1e-6 - start[0] ** 2)
    path = start * np.array([1.5, 0.0]) ** np.arange(30)[:, None]
    gradients = path * np.array(bends)
    norms = np.linalg.norm(gradients, axis=1)
    for name, want in (
        ("loss", path**2 @ np.array(bends) / 2),
        ("gradient_norm", norms),
        ("lowest", np.full(30, -1)),
        ("alignment", np.abs(gradients[:, 0]) / norms),
        ("distance", np.linalg.norm(path, axis=1)),
        ("start_projection", abs(start[0])),
        ("curvature", -1),
        ("left_at", np.argmax(np.linalg.norm(path, axis=1) > 0.1)),
    ):
        np.testing.assert_allclose(getattr(run, name), want, rtol=1e-9, atol=1e-15, err_msg=name)


def test_of_the_gradient_counts_what_lies_along_curvature_that_is_negative_beyond_doubt():
    @jax.jit
    def lowest_of(bends):
        here, g = jnp.zeros(2), jnp.array([3.0, 4.0])
        return trajectory._lowest(lambda w, b: b @ w**2 / 2, here, (bends,), here, g, None, jax.random.key(0))

    for lowest, share in ((-101 * EPS, 3.0), (-99 * EPS, 0.0), (1.0, 0.0)):  # of 50 roundings of 2
        value, _, length = lowest_of(jnp.array([lowest, 2.0]))
        assert (float(value), float(length)) == (lowest, share)


def test_of_a_large_hessian_the_lowest_eigenvector_in_the_plane_of_a_vector_and_its_image_is_taken(monkeypatch):
    monkeypatch.setattr(trajectory, "DENSE_TRAJECTORY", 2)
    here, g = jnp.zeros(3), jnp.array([3.0, 4.0, 5.0])

    @jax.jit
    def lowest_near(bends, vector):
        key = jax.random.key(0)
        return trajectory._lowest(lambda w, b: b @ w**2 / 2, here, (bends,), here, g, vector, key)

    bent = jnp.array([-1.0, 2.0, 5.0])
    for vector, lowest, want in (
        ((0.6, 0.8, 0.0), -1, (1, 0, 0)),
        ((0.0, 0.6, 0.8), 2, (0, 1, 0)),
        ((1.0, 0.0, 0.0), -1, (1, 0, 0)),  # an eigenvector, and the lowest
    ):
        value, found, share = lowest_near(bent, jnp.array(vector))
        np.testing.assert_allclose(value, lowest, rtol=1e-12)
        np.testing.assert_allclose(jnp.abs(found), want, atol=1e-12)
        np.testing.assert_allclose(share, 3 if lowest < 0 else 0, rtol=1e-12)
    value, found, _ = lowest_near(bent, jnp.array([0.0, 0.0, 1.0]))  # an eigenvector, above whatever else
    np.testing.assert_allclose(value, found @ (bent * found), rtol=1e-12)
    assert value <= 2
    for vector in np.random.default_rng(0).normal(size=(9, 3)):  # an eigenvector but for rounding
        value, found, _ = lowest_near(jnp.full(3, 2.0), jnp.asarray(vector / np.linalg.norm(vector)))
        np.testing.assert_allclose((value, jnp.linalg.norm(found)), (2, 1), rtol=1e-12)


def test_the_time_to_escape_is_that_of_a_geometric_growth():
    for curvature, rate, projections, radius in ((-2.0, 0.5, 1e-3, 1.0), (-0.1, 0.3, 2e-6, 0.7)):
        steps = float(hessian.escape_time(curvature, rate, projections, radius))
        np.testing.assert_allclose(projections * (1 - rate * curvature) ** steps, radius, rtol=1e-9)
    assert hessian.escape_time(-1.0, 1.0, 0.25) == 2  # to a distance of 1


def test_the_offset_takes_the_dtype_of_the_saddle():
    saddle = jnp.zeros(2, jnp.float32)
    run = hessian.escape_trajectory(
        surface("linear_net").loss, saddle, optimizer=optax.sgd(0.1), steps=1, offset=jnp.array(0.5, jnp.float64)
    )
    assert {leaf.dtype for leaf in (run.loss, run.distance, run.params)} == {jnp.dtype("float32")}
