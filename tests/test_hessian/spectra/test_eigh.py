"""Eigenvalues and eigenvectors of small and large symmetric matrices, against NumPy and perturbation theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian.spectra.eigh import eigh

pytestmark = pytest.mark.full


def symmetric(eigenvalues):
    """A matrix with these eigenvalues in a random basis."""
    rng = np.random.default_rng(len(eigenvalues))
    basis = np.linalg.qr(rng.normal(size=(len(eigenvalues), len(eigenvalues))))[0]
    a = (basis * np.asarray(eigenvalues, float)) @ basis.T
    return (a + a.T) / 2


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_eigh_agrees_with_numpy_at_repeated_and_far_eigenvalues(n):
    rng = np.random.default_rng(n)
    choices = [0, 1, 1, -1, 1e-12, 1e12, 0.3]
    matrices = np.stack([symmetric(rng.choice(choices, n)) for _ in range(300)])
    values, vectors = jax.jit(jax.vmap(eigh))(matrices)
    size = np.abs(matrices).max(axis=(1, 2))
    size = np.where(size > 0, size, 1)
    assert (np.abs(values - np.linalg.eigvalsh(matrices)) <= 1e-14 * size[:, None]).all()
    np.testing.assert_allclose(
        np.swapaxes(vectors, 1, 2) @ vectors, np.broadcast_to(np.eye(n), (300, n, n)), atol=1e-14
    )
    errors = matrices @ vectors - vectors * values[:, None, :]
    assert (np.abs(errors).max(axis=(1, 2)) <= 1e-14 * size).all()


def test_the_derivative_of_an_eigenvalue_is_the_projection_on_its_eigenvector():
    matrix = jnp.diag(jnp.array([1.0, 2.0, 4.0])) + 0.1
    lowest = eigh(matrix)[1][:, 0]
    np.testing.assert_allclose(jax.grad(lambda m: eigh(m)[0][0])(matrix), jnp.outer(lowest, lowest), atol=1e-14)


def test_the_derivatives_are_those_of_perturbation_theory():
    matrix, change = jnp.diag(jnp.array([1.0, 2.0, 4.0, 4.0])), np.ones((4, 4))
    (values, vectors), (slopes, turns) = jax.jvp(eigh, (matrix,), (jnp.asarray(change),))
    rows = np.asarray(vectors).T
    np.testing.assert_allclose(slopes, np.diag(rows @ change @ rows.T), atol=1e-14)
    for i in range(4):
        # u_i turns by (u_j.dH u_i) / (l_i - l_j) towards u_j, and not at all where these are equal
        want = sum(
            rows[j] * (rows[j] @ change @ rows[i]) / (values[i] - values[j])
            for j in range(4)
            if abs(values[i] - values[j]) > 1e-9
        )
        np.testing.assert_allclose(np.asarray(turns)[:, i], want, atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_zero_and_not_a_number_are_answered_in_kind(n):
    values, vectors = eigh(jnp.zeros((n, n)))
    np.testing.assert_array_equal(values, np.zeros(n))
    np.testing.assert_array_equal(vectors, np.eye(n))
    assert jnp.isnan(eigh(jnp.full((n, n), jnp.nan))[0]).all()


def test_derivatives_of_diagonal_matrices_are_finite():
    for size in (0.0, 1.0):
        slopes = jax.grad(lambda m: eigh(m)[0].sum())(size * jnp.eye(3))
        np.testing.assert_allclose(slopes, np.eye(3), atol=1e-14)
