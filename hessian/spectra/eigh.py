"""Eigenvalues and eigenvectors of symmetric matrices, small and large, of one and of many at once.

Up to three rows they come from rotations,

    tan of the angle  t = a_pq / (d + sign(d) sqrt(d^2 + a_pq^2)),   d = (a_qq - a_pp) / 2

each of which turns a_pq into 0, a_pp into a_pp - t a_pq and a_qq into a_qq + t a_pq (Jacobi 1846).  Two rows take one
rotation, which is exact; three take a fixed number, after which quadratic convergence has left only rounding.  Unlike
the roots of the characteristic polynomial they lose nothing at repeated eigenvalues or at ratios of 1e12.

Larger ones go to the library, many of them one after the other: two batches at a time wait for each other for ever on
a CPU of two cores (jaxlib 0.10 and 0.12), whose threads all wait for threads.

| function | what it returns |
|---|---|
| `eigh` | eigenvalues and eigenvectors of any symmetric matrix |
| `rotated` | the same for up to three rows |
"""

import jax
import jax.numpy as jnp

from hessian.numerics import divided, divisor

SWEEPS = {1: 0, 2: 1, 3: 6}
PAIRS = {1: (), 2: ((0, 1),), 3: ((0, 1), (0, 2), (1, 2))}
LARGEST = max(SWEEPS)


@jax.custom_jvp
def eigh(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues in ascending order, shape (n,), and a column per eigenvector, shape (n, n).

    Differentiable; where eigenvalues are equal, as if their vectors did not turn.

    >>> eigh(jnp.array([[0.0, -2.0], [-2.0, 0.0]]))[0].tolist()
    [-2.0, 2.0]
    """
    return rotated(matrix) if len(matrix) <= LARGEST else _one_by_one(matrix)


@eigh.defjvp
def _(primals, tangents):
    values, vectors = eigh(*primals)
    with jax.default_matmul_precision("highest"):
        change = vectors.T @ tangents[0] @ vectors
        gaps = values - values[:, None]
        turn = divided(change, gaps, gaps != 0)
        return (values, vectors), (jnp.diag(change), vectors @ turn)


@jax.custom_batching.sequential_vmap
def _one_by_one(matrix):
    return tuple(jnp.linalg.eigh(matrix))


def rotated(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues in ascending order, shape (n,), and a column per eigenvector, shape (n, n), for n <= 3.

    >>> rotated(jnp.array([[0.0, -2.0], [-2.0, 0.0]]))[0].tolist()
    [-2.0, 2.0]
    """
    n = len(matrix)
    size = jnp.max(jnp.abs(matrix))
    scale = jnp.where(jnp.isfinite(size), divisor(size), 1)
    a = {(i, j): matrix[i, j] / scale for i in range(n) for j in range(i, n)}
    columns = list(jnp.eye(n, dtype=matrix.dtype))
    for _ in range(SWEEPS[n]):
        for p, q in PAIRS[n]:
            a, columns = _rotate(a, columns, p, q)
    values = jnp.stack([a[i, i] for i in range(n)]) * scale
    order = jnp.argsort(values)
    return values[order], jnp.stack(columns, axis=1)[:, order]


def _rotate(a, columns, p, q):
    """The matrix, its upper triangle as scalars, and the basis after the rotation that makes a_pq zero."""
    d = (a[q, q] - a[p, p]) / 2
    square = d**2 + a[p, q] ** 2
    turned = square > 0  # where not, d and a_pq are 0 to rounding, and the root would have no derivative
    root = jnp.sqrt(jnp.where(turned, square, 1))
    t = jnp.where(turned, a[p, q] / jnp.where(d >= 0, d + root, d - root), 0)
    c = 1 / jnp.sqrt(1 + t**2)
    s = t * c
    new = dict(a)
    new[p, p], new[q, q], new[p, q] = a[p, p] - t * a[p, q], a[q, q] + t * a[p, q], jnp.zeros_like(t)
    for r in {key[0] for key in a} - {p, q}:
        rp, rq = (min(r, p), max(r, p)), (min(r, q), max(r, q))
        new[rp], new[rq] = c * a[rp] - s * a[rq], s * a[rp] + c * a[rq]
    turned_columns = list(columns)
    turned_columns[p] = c * columns[p] - s * columns[q]
    turned_columns[q] = s * columns[p] + c * columns[q]
    return new, turned_columns
