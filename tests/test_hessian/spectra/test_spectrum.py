"""Eigenvalues and eigenvectors: against NumPy, and against the numbers of the lectures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import hessian
from hessian.limits import MATRIX_MEMORY
from hessian.spectra.spectrum import fits, rows_within


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


@pytest.mark.full
@pytest.mark.parametrize("eigenvalues", [(3.0,), (-1, 2), (1, 1, 1), (-4, 0, 0, 7), tuple(range(-5, 6))])
def test_eigenpairs_solve_the_eigenvalue_equation(eigenvalues):
    a, _ = symmetric(eigenvalues)
    values, vectors, *_ = hessian.spectrum(quadratic, jnp.ones(len(a)), jnp.asarray(a))
    np.testing.assert_allclose(values, sorted(eigenvalues), atol=1e-13)
    np.testing.assert_allclose(vectors @ a, values[:, None] * vectors, atol=1e-13)
    np.testing.assert_allclose(vectors @ vectors.T, np.eye(len(a)), atol=1e-13)


@pytest.mark.full
def test_eigenvectors_come_back_as_pytrees():
    params = {"a": jnp.ones(()), "b": jnp.ones((2, 1))}
    values, vectors, *_ = hessian.spectrum(lambda p: p["a"] ** 2 + jnp.sum(p["b"] ** 3), params)
    assert {k: v.shape for k, v in vectors.items()} == {"a": (3,), "b": (3, 2, 1)}
    np.testing.assert_allclose(values, [2, 6, 6])
    np.testing.assert_allclose(np.linalg.norm(jax.vmap(lambda v: ravel_pytree(v)[0])(vectors), axis=1), 1)


def test_signs_are_counted_beyond_the_band():
    eps = np.finfo(float).eps
    values = jnp.array([-8.0, -51 * eps * 8, -49 * eps * 8, 0.0, 49 * eps * 8, 51 * eps * 8, 3.0])
    assert [int(count) for count in hessian.inertia(values)] == [2, 3, 2]
    for tolerance, counts in ((0.0, [3, 1, 3]), (3.0, [0, 6, 1]), (8.0, [0, 7, 0])):
        assert [int(count) for count in hessian.inertia(values, tolerance)] == counts
    assert hessian.inertia(values).positive.dtype == jnp.int32


def test_the_condition_number_is_infinite_where_the_smallest_is_rounding():
    eps = np.finfo(float).eps
    for values, number in (
        ((-8.0, 2.0, 4.0), 4),
        ((8.0, -1.0), 8),
        ((8.0, 49 * eps * 8), np.inf),
        ((0.0, 0.0), np.inf),
    ):
        assert hessian.condition_number(jnp.array(values)) == number
    np.testing.assert_allclose(hessian.condition_number(jnp.array([8.0, 51 * eps * 8])), 1 / (51 * eps))
    assert hessian.condition_number(jnp.array([2, 6])) == 3  # whole numbers are numbers


def test_eigenvalues_are_an_array_of_at_least_one_number():
    for wrong in (jnp.zeros(0), jnp.asarray(1.0), np.zeros((2, 0))):
        with pytest.raises(ValueError, match=r"eigenvalues must be an array of at least one number; got shape \("):
            hessian.inertia(wrong)
    assert hessian.inertia(np.array([[1.0, -2.0]])).positive == 1


def test_what_fits_in_memory_to_the_byte():
    theta = jnp.zeros(1000, jnp.float32)
    fits(theta, 8 * 1000**2 * 4)
    words = "1,000 values, whose dense Hessian with its eigenvectors takes 0.0 GiB where memory allows 0.0; raise"
    with pytest.raises(ValueError, match=words):
        fits(theta, 8 * 1000**2 * 4 - 1)
    with pytest.raises(ValueError, match=r"563,722 values, .* takes 18,941.3 GiB where memory allows 8.0; "):
        fits(jax.ShapeDtypeStruct((563722,), jnp.dtype(float)), MATRIX_MEMORY)


def test_a_basis_has_as_many_rows_as_fit_and_are_of_use():
    theta = jnp.zeros(1000, jnp.float32)
    for memory, most, least, rows in (
        (1e9, 50, 2, 50),
        (1e9, 5000, 2, 1000),
        (40_000, 50, 2, 10),
        (40_000 - 1, 50, 2, 9),
        (40_000, 50, 10, 10),
        (40_000, 8, 20, 8),  # no more are needed than are allowed
    ):
        assert rows_within(memory, theta, most, least) == rows
    with pytest.raises(ValueError, match="memory must be at least 44,000 bytes for a basis of 11 vectors; got 43,999"):
        rows_within(43_999, theta, 50, 11)
    assert rows_within(44_000, theta, 50, 11) == 11


@pytest.mark.full
def test_the_fewest_products_that_give_eigenpairs_are_enough():
    a = jnp.asarray(symmetric(np.arange(1.0, 9))[0])
    for k, which, least in ((1, "lowest", 3), (2, "highest", 5), (1, "both", 5), (3, "lowest", 7)):
        with pytest.raises(
            ValueError, match=f"num_matvecs must be at least {least} for .* eigenpairs; got {least - 1}"
        ):
            hessian.extremal(quadratic, jnp.zeros(8), a, k=k, which=which, num_matvecs=least - 1)
        found = jax.eval_shape(
            lambda a, k=k, w=which, p=least: hessian.extremal(quadratic, jnp.zeros(8), a, k=k, which=w, num_matvecs=p),
            a,
        )
        assert found.eigenvalues.shape == (2 * k if which == "both" else k,)
    whole = hessian.extremal(quadratic, jnp.zeros(8), a, k=8, num_matvecs=16)
    np.testing.assert_allclose(whole.eigenvalues, np.arange(1, 9), atol=1e-12)
    assert whole.num_matvecs == 16
    with pytest.raises(ValueError, match="num_matvecs must be at least 17 for 8 eigenpairs; got 15"):
        hessian.extremal(quadratic, jnp.zeros(8), a, k=8, num_matvecs=15)


def test_residuals_are_those_of_the_matrix_and_products_those_of_its_columns():
    a, _ = symmetric((-1, 0, 2, 5))
    found = hessian.spectrum(quadratic, jnp.zeros(4), jnp.asarray(a), chunk=1)
    assert found.num_matvecs == 4
    assert (found.residuals < 1e-14).all()
