"""Roots of symmetric matrices and polar factors, with derivatives that equal eigenvalues do not spoil.

    S = Q diag(lambda) Q';   S^(-1/k) = Q diag(1 / x) Q',   x = lambda^(1/k)
    d S^(-1/k) = Q (W * (Q' dS Q)) Q',   W_ij = -1 / (x_i x_j (x_i^(k-1) + x_i^(k-2) x_j + ... + x_j^(k-1)))

The divided difference W of a root needs no difference of eigenvalues (Daleckii & Krein 1965).  For k = 2 it has
1 / (x_i + x_j), the rule of the polar factor M (M' M)^(-1/2) = U V' with singular values x.  Eigenvalues that are 0 to
rounding stay 0: the root is that of the pseudo-inverse, and its derivative the one at fixed rank.

All but `of_each` take one matrix; many go to the library one after the other, for two batches at a time can wait for
each other for ever on a CPU of two cores (jaxlib 0.10 and 0.12).

| function | what it returns |
|---|---|
| `inverse_root` | S^(-1/k) |
| `inverse_modulus` | (M M')^(-1/2), from the singular values of M, so that it loses half as many digits |
| `pseudo_inverse` | 1 / lambda, 0 where lambda is 0 to rounding |
| `eigh` | eigenvalues, and eigenvectors whose derivative is 0 between equal ones |
| `orthonormal` | Q of a QR decomposition, likewise |
| `of_each` | one of these for each matrix of a stack |
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from gdlab.numerics import one_where


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def inverse_root(matrix: jax.Array, k: int) -> jax.Array:
    """S^(-1/k) of a symmetric positive matrix (n, n), of its pseudo-inverse where it is singular.

    >>> inverse_root(jnp.diag(jnp.array([16.0, 0.0])), 4).tolist()
    [[0.5, 0.0], [0.0, 0.0]]
    """
    values, vectors = _eigh(matrix)
    return _assembled(vectors, _inverse(_root(values, k)))


@inverse_root.defjvp
def _(k, primals, tangents):
    (matrix,), (tangent,) = primals, tangents
    values, vectors = _eigh(matrix)
    return _root_and_change(vectors, _root(values, k), tangent, k)


@jax.custom_jvp
def inverse_modulus(matrix: jax.Array) -> jax.Array:
    """(M M')^(-1/2) of a matrix (rows, columns >= rows), of its pseudo-inverse where M has not full row rank.

    Its product with M is the polar factor U V'.

    >>> inverse_modulus(jnp.array([[0.0, 2.0], [4.0, 0.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    values, vectors = _svd(matrix)
    return _assembled(vectors, pseudo_inverse(values))


@inverse_modulus.defjvp
def _(primals, tangents):
    (matrix,), (tangent,) = primals, tangents
    values, vectors = _svd(matrix)
    change = tangent @ matrix.T.conj()
    return _root_and_change(vectors, _visible(values), change + change.T.conj(), 2)


def _root_and_change(vectors, x, tangent, k):
    """S^(-1/k) and its change, for the roots x of the eigenvalues of S."""
    inverse, seen = _inverse(x), x > 0
    below = jnp.where(seen, x, 1)
    total = sum(below[:, None] ** i * below[None, :] ** (k - 1 - i) for i in range(k))
    both = -inverse[:, None] * inverse[None, :] / total
    one = inverse ** (k + 1)  # between an eigenvalue and 0 the difference is that of 1 / x and 0
    edge = jnp.where(seen[:, None], one[:, None], one[None, :])
    weights = jnp.where(seen[:, None] & seen[None, :], both, jnp.where(seen[:, None] | seen[None, :], edge, 0))
    change = vectors @ (weights * (vectors.T.conj() @ tangent @ vectors)) @ vectors.T.conj()
    return _assembled(vectors, inverse), change


def _assembled(vectors, values):
    return (vectors * values[None, :]) @ vectors.T.conj()


def _root(values, k):
    """The roots of eigenvalues, 0 where these are 0 to rounding."""
    values = _visible(values)
    return jnp.where(values > 0, one_where(~(values > 0), values) ** (1 / k), values)


def _visible(values):
    least = len(values) * jnp.finfo(values.dtype).eps * jnp.max(values, initial=0)
    return jnp.where(values > least, values, 0)


def pseudo_inverse(values: jax.Array) -> jax.Array:
    """The inverses of the eigenvalues of a matrix, (n,), 0 where these are 0 to rounding."""
    return _inverse(_visible(values))


def _inverse(x):
    return jnp.where(x > 0, 1 / one_where(~(x > 0), x), 0)


@jax.custom_jvp
def eigh(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues in ascending order, (n,), and a column for each eigenvector, (n, n)."""
    return _eigh(matrix)


@eigh.defjvp
def _(primals, tangents):
    values, vectors = eigh(*primals)
    change = vectors.T.conj() @ tangents[0] @ vectors
    gaps = values[None, :] - values[:, None]
    apart = jnp.abs(gaps) > len(values) * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values), initial=0)
    turn = jnp.where(apart, change / jnp.where(apart, gaps, 1), 0)
    return (values, vectors), (jnp.diag(change).real, vectors @ turn)


@jax.custom_jvp
def orthonormal(matrix: jax.Array) -> jax.Array:
    """Q of the QR decomposition of a square matrix (n, n)."""
    return _qr(matrix)[0]


@orthonormal.defjvp
def _(primals, tangents):
    basis, upper = _qr(*primals)
    sizes = jnp.abs(jnp.diag(upper))
    lost = sizes <= len(sizes) * jnp.finfo(sizes.dtype).eps * jnp.max(sizes, initial=0)
    upper = upper + jnp.diag(jnp.where(lost, jnp.inf, 0)).astype(upper.dtype)
    seen = jax.scipy.linalg.solve_triangular(upper, tangents[0].T, trans=1, lower=False).T
    turn = basis.T.conj() @ seen
    below = jnp.tril(turn, -1)
    return basis, basis @ (below - below.T.conj() - turn) + seen


@partial(jax.jit, static_argnums=(0, 2))
def of_each(fn: Callable[..., Any], stack: jax.Array, *static: Any) -> Any:
    """`fn(matrix, *static)` of each matrix of a stack (count, rows, columns).

    Outside of jit it is compiled for each shape, not for each call.
    """
    return jax.vmap(lambda matrix: fn(matrix, *static))(stack)


@jax.custom_batching.sequential_vmap
def _eigh(matrix):
    return tuple(jnp.linalg.eigh(matrix))


@jax.custom_batching.sequential_vmap
def _svd(matrix):
    """The singular values, and a column for each left singular vector."""
    vectors, values, _ = jnp.linalg.svd(matrix, full_matrices=False)
    return values, vectors


@jax.custom_batching.sequential_vmap
def _qr(matrix):
    return tuple(jnp.linalg.qr(matrix))
