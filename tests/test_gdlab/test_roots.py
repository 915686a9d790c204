"""Roots of matrices: values by NumPy, derivatives by differences of the same values along curves of one rank."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdlab import roots


def rng(seed=0):
    return np.random.default_rng(seed)


def drawn(generator, shape, dtype):
    """Normal numbers; both parts are such where they are complex."""
    array = generator.normal(size=shape)
    return jnp.asarray(array + 1j * generator.normal(size=shape) if dtype is complex else array)


def difference(curve, h=1e-4):
    """The derivative of a curve at 0, to the fourth power of h."""
    return (8 * (curve(h) - curve(-h)) - (curve(2 * h) - curve(-2 * h))) / (12 * h)


def inverse_of_root(matrix, k, rank):
    """S^(-1/k), of the `rank` largest eigenvalues alone."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors[:, -rank:] * values[-rank:] ** (-1 / k)) @ vectors[:, -rank:].T.conj()


def slope(function, at, along):
    return jax.jvp(function, (at,), (along,))


@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("rank", [4, 2])
def test_the_derivative_of_a_root_is_that_along_a_curve_of_its_rank(dtype, k, rank):
    generator = rng(k)
    basis = jnp.linalg.qr(drawn(generator, (4, 4), dtype))[0][:, :rank]
    factor, turn = basis * jnp.array([2.0, 2.0, 1.0, 0.5])[:rank], drawn(generator, (4, rank), dtype)
    curve = lambda t: (factor + t * turn) @ (factor + t * turn).T.conj()  # noqa: E731
    tangent = turn @ factor.T.conj() + factor @ turn.T.conj()
    value, change = slope(lambda matrix: roots.inverse_root(matrix, k), curve(0.0), tangent)
    np.testing.assert_allclose(value, inverse_of_root(curve(0.0), k, rank), atol=1e-12)
    np.testing.assert_allclose(change, difference(lambda t: inverse_of_root(curve(t), k, rank)), atol=1e-8)


@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize(("shape", "rank"), [((3, 5), 3), ((3, 3), 3), ((3, 4), 2)])
def test_the_derivative_of_the_inverse_modulus_is_that_along_a_curve_of_its_rank(dtype, shape, rank):
    generator = rng(1)
    left, right = drawn(generator, (shape[0], rank), dtype), drawn(generator, (rank, shape[1]), dtype)
    turn, other = drawn(generator, (shape[0], rank), dtype), drawn(generator, (rank, shape[1]), dtype)
    curve = lambda t: (left + t * turn) @ (right + t * other)  # noqa: E731
    expected = lambda t: inverse_of_root(curve(t) @ curve(t).T.conj(), 2, rank)  # noqa: E731
    value, change = slope(roots.inverse_modulus, curve(0.0), turn @ right + left @ other)
    np.testing.assert_allclose(value, expected(0.0), atol=1e-10)
    np.testing.assert_allclose(change, difference(expected), rtol=1e-6, atol=1e-6)


def test_what_would_raise_the_rank_changes_nothing():
    value, change = slope(lambda matrix: roots.inverse_root(matrix, 4), jnp.diag(jnp.array([16.0, 0.0])), jnp.eye(2))
    np.testing.assert_allclose(value, [[0.5, 0], [0, 0]])
    np.testing.assert_allclose(change, [[-(0.5**5) / 4, 0], [0, 0]])  # of x^(-1/4) at 16


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_eigenvalue_is_zero_below_the_rounding_of_the_largest(dtype):
    least = 3 * float(np.finfo(dtype).eps) * 8
    values = jnp.asarray([8.0, 1.01 * least, 0.99 * least], dtype)
    expected = [1 / 8, 1 / (1.01 * least), 0]
    np.testing.assert_allclose(roots.pseudo_inverse(values), expected, rtol=1e-6)
    unit = 2.0**-20  # a small matrix has the rounding of its own largest
    np.testing.assert_allclose(roots.pseudo_inverse(values * unit), np.array(expected) / unit, rtol=1e-6)
    assert roots.pseudo_inverse(jnp.zeros(2, dtype)).tolist() == [0, 0]
    np.testing.assert_allclose(
        jnp.diag(roots.inverse_root(jnp.diag(values), 2)), [8**-0.5, (1.01 * least) ** -0.5, 0], rtol=1e-6
    )


@pytest.mark.parametrize("dtype", [float, complex])
def test_eigenvectors_turn_as_perturbation_theory_says_and_equal_ones_do_not(dtype):
    generator = rng(2)
    basis = jnp.linalg.qr(drawn(generator, (4, 4), dtype))[0]
    values = np.array([-1.0, 0.5, 0.5, 3.0])
    change = drawn(generator, (4, 4), dtype)
    change = change + change.T.conj()
    (found, vectors), (rates, turns) = slope(roots.eigh, (basis * values) @ basis.T.conj(), change)
    np.testing.assert_allclose(found, values, atol=1e-12)
    seen = vectors.T.conj() @ change @ vectors
    np.testing.assert_allclose(rates, jnp.diag(seen).real, atol=1e-12)
    expected = np.zeros((4, 4), dtype)
    for i in range(4):
        for j in range(4):
            if i != j and {i, j} != {1, 2}:
                expected[i, j] = seen[i, j] / (values[j] - values[i])
    np.testing.assert_allclose(vectors.T.conj() @ turns, expected, atol=1e-10)


def test_gaps_of_eigenvalues_count_above_the_rounding_of_the_largest():
    least = 2 * float(np.finfo(float).eps) * 4
    for gap, counts in ((2.0, True), (0.5, False)):
        matrix = jnp.diag(jnp.array([-4.0, -4.0 + gap * least]))
        _, (_, turns) = slope(roots.eigh, matrix, jnp.array([[0.0, 1.0], [1.0, 0.0]]))
        assert bool(jnp.any(turns != 0)) == counts


@pytest.mark.parametrize("dtype", [float, complex])
def test_the_derivative_of_an_orthonormal_basis_is_that_of_gram_and_schmidt(dtype):
    generator = rng(3)
    matrix, along = drawn(generator, (4, 4), dtype), drawn(generator, (4, 4), dtype)

    def with_phases_of(t, basis):
        """The Q of NumPy, whose columns have signs or phases of their own, turned to those of the basis."""
        found = np.linalg.qr(matrix + t * along)[0]
        phases = np.sum(found.conj() * basis, axis=0)
        return found * phases / np.abs(phases)

    basis, change = slope(roots.orthonormal, matrix, along)
    np.testing.assert_allclose(basis.T.conj() @ basis, np.eye(4), atol=1e-12)
    expected = difference(lambda t: with_phases_of(t, basis))
    # A phase is free: what a column turns by itself counts for nothing.
    own = lambda turn: turn - basis * np.sum(np.conj(basis) * turn, axis=0)  # noqa: E731
    np.testing.assert_allclose(own(change), own(expected), atol=1e-8)
    skew = basis.T.conj() @ change
    np.testing.assert_allclose(skew, -skew.T.conj(), atol=1e-12)


def test_a_lost_column_of_an_orthonormal_basis_has_a_finite_derivative():
    matrix = jnp.array([[1.0, 2.0, 3.0], [0.0, 0.0, 4.0], [0.0, 0.0, 5.0]])
    _, change = slope(roots.orthonormal, matrix, jnp.arange(9.0).reshape(3, 3))
    assert jnp.isfinite(change).all()
    _, change = slope(roots.orthonormal, jnp.diag(jnp.array([1.0, 1e-12])), jnp.array([[0.0, 0.0], [1.0, 0.0]]))
    np.testing.assert_allclose(change, [[0, -1], [1, 0]], atol=1e-9)  # small, but not lost: the basis turns
