"""Eigenvalues and eigenvectors: against NumPy, and against the numbers of the lectures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import hessian


def lecture(w):
    """(1 - w1 w2)^2, the network with one hidden neuron (S52)."""
    return (1 - w[0] * w[1]) ** 2


def quadratic(w, a):
    return w @ a @ w / 2


def symmetric(eigenvalues, seed=0):
    """A matrix with these eigenvalues in a random basis, and that basis."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(len(eigenvalues), len(eigenvalues))))[0]
    return (basis * np.asarray(eigenvalues)) @ basis.T, basis


@pytest.mark.parametrize(
    ("point", "eigenvalues"), [((0, 0), (-2, 2)), ((1, 1), (0, 4)), ((2, 0.5), (0, 8.5)), ((-1, -1), (0, 4))]
)
def test_the_eigenvalues_of_the_lectures_example(point, eigenvalues):
    found = hessian.spectrum(lecture, jnp.array(point, float))
    np.testing.assert_allclose(found.eigenvalues, eigenvalues, atol=1e-14)


def test_the_eigenvector_of_the_lectures_saddle_is_the_diagonal():
    vectors = hessian.spectrum(lecture, jnp.zeros(2)).eigenvectors
    np.testing.assert_allclose(abs(vectors[0]), np.sqrt([0.5, 0.5]), rtol=1e-15)
    assert vectors[0][0] * vectors[0][1] > 0
    assert vectors[1][0] * vectors[1][1] < 0


@pytest.mark.parametrize("eigenvalues", [(3.0,), (-1, 2), (1, 1, 1), (-4, 0, 0, 7), tuple(range(-5, 6))])
def test_eigenpairs_solve_the_eigenvalue_equation(eigenvalues):
    a, _ = symmetric(eigenvalues)
    values, vectors, *_ = hessian.spectrum(quadratic, jnp.ones(len(a)), jnp.asarray(a))
    np.testing.assert_allclose(values, sorted(eigenvalues), atol=1e-13)
    np.testing.assert_allclose(vectors @ a, values[:, None] * vectors, atol=1e-13)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(len(a)), atol=1e-13)


def test_eigenvectors_come_back_as_pytrees():
    params = {"a": jnp.ones(()), "b": jnp.ones((2, 1))}
    values, vectors, *_ = hessian.spectrum(lambda p: p["a"] ** 2 + jnp.sum(p["b"] ** 3), params)
    assert {k: v.shape for k, v in vectors.items()} == {"a": (3,), "b": (3, 2, 1)}
    np.testing.assert_allclose(values, [2, 6, 6])
    np.testing.assert_allclose(np.linalg.norm(jax.vmap(lambda v: ravel_pytree(v)[0])(vectors), axis=1), 1)
