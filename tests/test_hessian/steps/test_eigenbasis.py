"""The curvature in its own coordinates: against projections by NumPy, and the update that keeps what was seen."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian.spectra import lanczos
from hessian.steps import eigenbasis
from hessian.steps.eigenbasis import Eigenbasis, sr1_update

EPS = np.finfo(float).eps


@pytest.mark.full
def test_what_a_step_taught_is_the_update_of_rank_one_unless_it_is_rounding():
    rng = np.random.default_rng(0)
    values, vectors = np.sort(rng.normal(size=3)), np.linalg.qr(rng.normal(size=(3, 3)))[0]
    old = Eigenbasis(jnp.asarray(values), jnp.asarray(vectors), jnp.zeros(3), jnp.int32(5))
    b = vectors.T @ np.diag(values) @ vectors
    p, r, gradient = rng.normal(size=(3, 3))
    across = r - (r @ p) / (p @ p) * p
    learn = jax.jit(sr1_update)
    for rest, seen in ((r, True), (across + 1e-7 * p, True), (across + 1e-9 * p, False), (np.nan * r, False)):
        change = b @ p + rest
        new = learn(old, jnp.asarray(vectors @ p), jnp.asarray(change), jnp.asarray(gradient))
        found = np.asarray(new.vectors).T @ np.diag(new.values) @ new.vectors
        size = np.abs(new.values).max()
        np.testing.assert_allclose(
            found, b + seen * np.outer(rest, rest) / (rest @ p) if seen else b, atol=1e-14 * size
        )
        np.testing.assert_allclose(new.projections, new.vectors @ gradient, rtol=1e-12)
        assert new.num_matvecs == 5


def curved(w, bends, slope):
    return slope @ w + bends @ w**2 / 2


@functools.partial(jax.jit, static_argnums=2)
def modes_of(bends, slope, krylov):
    zero = jnp.zeros_like(bends)
    return eigenbasis.eigenbasis(lambda w: curved(w, bends, slope), zero, slope, krylov, jax.random.key(0))


@pytest.mark.full
@pytest.mark.parametrize("space", [2, 4], ids=["the gradient's own space is smaller", "it is full"])
def test_the_modes_of_two_krylov_spaces_are_those_of_the_projection(space):
    bends = np.array([-2.0, -1.9, 0.1, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
    slope = np.r_[np.zeros(9 - space), np.ones(space)]  # nothing along the way out
    found = modes_of(jnp.asarray(bends), jnp.asarray(slope), 4)
    rows, used = np.asarray(found.vectors), np.linalg.norm(found.vectors, axis=1) > 0.5
    np.testing.assert_allclose(rows[used] @ rows[used].T, np.eye(used.sum()), atol=1e-12)
    np.testing.assert_allclose(rows[used] * bends @ rows[used].T, np.diag(found.values[used]), atol=1e-12)
    np.testing.assert_allclose(rows[~used], 0, atol=1e-12)
    np.testing.assert_allclose(found.projections @ rows, slope, atol=1e-12)  # the gradient is in it
    assert found.values[0] < -1
    assert found.num_matvecs == 4 + 4 + 1


@pytest.mark.full
def test_rows_that_the_gradients_space_does_not_use_change_nothing():
    bends = np.r_[-2.0, np.linspace(0.1, 3.0, 12), 2.5]
    slope = np.r_[np.zeros(9), np.ones(5)]  # a space of five dimensions, looked at after five products
    found = modes_of(jnp.asarray(bends), jnp.asarray(slope), 8)
    rows, used = np.asarray(found.vectors), np.linalg.norm(found.vectors, axis=1) > 0.5
    assert used.sum() == 5 + 1
    np.testing.assert_allclose(rows[used] * bends @ rows[used].T, np.diag(found.values[used]), atol=1e-12)
    np.testing.assert_allclose(rows[used] @ rows[used].T, np.eye(6), atol=1e-12)
    np.testing.assert_allclose(rows[~used], 0, atol=1e-12)
    np.testing.assert_allclose(found.values[~used], found.values[used].mean(), rtol=1e-12)  # amid the others
    np.testing.assert_allclose(found.projections[~used], 0, atol=1e-12)


@pytest.mark.full
def test_small_problems_take_the_whole_matrix():
    bends = jnp.array([3.0, -1.0, 2.0])
    for krylov in (None, 2):
        found = modes_of(bends, jnp.ones(3), krylov)
        np.testing.assert_allclose(found.values, [-1, 2, 3])
        np.testing.assert_allclose(found.band, 50 * EPS * 3)
        assert found.num_matvecs == 3
    more = jax.eval_shape(lambda b: modes_of(b, b, 2), jnp.ones(4))
    assert more.values.shape == (3,)


def test_a_clear_direction_is_far_below_zero_and_nearly_an_eigenvector():
    for lowest, residual, clear in (
        (-1.0, 0.1, True),
        (-1.0, 0.11, False),
        (-101 * EPS, 0.0, True),
        (-99 * EPS, 0.0, False),
        (1.0, 0.0, False),
    ):
        found = lanczos.Ritz(jnp.array([lowest, 2.0]), None, jnp.array([residual, 9.0]), 2, jnp.asarray(2.0))
        assert bool(eigenbasis._negative(None, found)) == clear


@pytest.mark.full
def test_a_vector_is_freed_of_a_basis_or_drawn_afresh_where_nothing_is_left():
    basis = jnp.eye(5)[:2]
    for vector, want in (
        (jnp.array([1.0, 2, 3, 0, 4]), [0, 0, 0.6, 0, 0.8]),
        (jnp.array([1.0, 0, 1.1e-3, 0, 0]), [0, 0, 1, 0, 0]),
    ):
        np.testing.assert_allclose(eigenbasis.orthogonal(basis, vector, jax.random.key(0)), want, atol=1e-14)
    afresh = eigenbasis.orthogonal(basis, jnp.array([1.0, 0, 0.9e-3, 0, 0]), jax.random.key(0))
    np.testing.assert_allclose(basis @ afresh, 0, atol=1e-15)
    assert abs(afresh[3]) > 1e-3
    np.testing.assert_allclose(jnp.linalg.norm(afresh), 1)


@pytest.mark.full
def test_the_lowest_direction_takes_few_products_where_it_is_clear_and_all_where_there_is_none():
    @jax.jit
    def lowest(bends):
        zero = jnp.zeros_like(bends)
        return eigenbasis.lowest_direction(curved, zero, (bends, zero), jax.random.key(0), 12)

    outlier = jnp.linspace(0.1, 1.0, 40).at[7].set(-2.0)
    value, direction, size, num_matvecs = lowest(outlier)
    np.testing.assert_allclose(value, -2, rtol=0.02)
    np.testing.assert_allclose(direction @ (outlier * direction), value, rtol=1e-13)
    np.testing.assert_allclose(jnp.linalg.norm(direction), 1)
    assert size >= 1.9
    assert num_matvecs in (5, 10)
    assert lowest(jnp.abs(outlier))[3] == 12
