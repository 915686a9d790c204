"""Lanczos from a random start: an orthonormal basis in which a large symmetric matrix is small.

    H q_j  =  beta_{j-1} q_{j-1} + alpha_j q_j + beta_j q_{j+1},      q_1 uniform on the sphere

The eigenvalues of the small matrix (Ritz values) lie within the spectrum of H and reach its ends first.  The start is
random and never the gradient: on the stable manifold of a saddle the Krylov space of (H, g) does not hold the lowest
eigenvector at all.  What ruins a short recurrence is guarded here:

- every new vector is freed of the whole basis after the recurrence freed it of its neighbors, and once more when that
  took away more than rounding, so no eigenvalue comes back as a ghost;
- a remainder below `BREAKDOWN` eps |H| is rounding, and normalizing it would invent eigenvalues (down to -400 for a
  positive definite matrix): the space is invariant, its coupling is 0, and a fresh random vector opens the next one;
- no more vectors than dimensions.

A basis that outgrows its rows is restarted with its best Ritz vectors (Wu & Simon 2000), where that is asked for.

| function | what it returns |
|---|---|
| `blank` | a basis with nothing in it |
| `begin` | a basis with nothing in it but its random start |
| `grow` | the basis after more products, until enough is known |
| `ritz` | eigenpairs of the small matrix, with residuals |
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hessian.numerics import divisor, length, unit
from hessian.spectra.eigh import eigh

BREAKDOWN = 10  # in units of eps |H|: below it a remainder is rounding
EVERY = 5  # products between two computations of the Ritz values, or a quarter of those made so far if that is more

Product = Callable[[jax.Array], jax.Array]  # v of shape (n,) -> H v


class Krylov(NamedTuple):
    """A basis, and the matrix in it; all shapes are fixed, rows from `count` on hold zeros."""

    basis: jax.Array  # (rows, n), orthonormal
    matrix: jax.Array  # (rows, rows): basis @ H @ basis.T
    count: jax.Array  # type: ignore[assignment]  # how many rows are in use
    following: jax.Array  # (n,), the unit vector that comes next
    coupling: jax.Array  # what ties it to the last row; 0 where the basis spans an invariant space
    key: jax.Array  # of the vectors that open further spaces
    num_matvecs: jax.Array  # used so far


class Ritz(NamedTuple):
    """Eigenpairs of the small matrix; the first `count` entries are in use, those behind them larger than all."""

    values: jax.Array  # (rows,), ascending
    vectors: jax.Array  # (rows, rows), a column per value, coordinates in the basis
    residuals: jax.Array  # (rows,), |H y - value y| of the vector y = vectors.T @ basis
    count: jax.Array  # type: ignore[assignment]
    spectral_norm: jax.Array  # the largest absolute value: |H| from below


def blank(key: jax.Array, n: int, rows: int, dtype: jax.typing.DTypeLike) -> Krylov:
    """A basis of at most `rows` <= n rows with nothing in it, and without a start."""
    zero = jnp.int32(0)
    return Krylov(
        basis=jnp.zeros((rows, n), dtype),
        matrix=jnp.zeros((rows, rows), dtype),
        count=zero,
        following=jnp.zeros(n, dtype),
        coupling=jnp.zeros((), dtype),
        key=key,
        num_matvecs=zero,
    )


def begin(
    key: jax.Array,
    n: int,
    rows: int,
    dtype: jax.typing.DTypeLike,
    within: Product | None = None,
    leaning: jax.Array | None = None,
) -> Krylov:
    """A basis of at most `rows` <= n rows, with a start uniform on the sphere, projected `within`, plus `leaning`."""
    key, start = jax.random.split(key)
    first = unit(_inside(within, jax.random.normal(start, (n,), dtype)))
    following = first if leaning is None else unit(first + leaning)
    return blank(key, n, rows, dtype)._replace(following=following)


def grow(
    product: Product,
    krylov: Krylov,
    limit: int | jax.Array,
    enough: Callable[[Krylov, Ritz], jax.Array],
    keep: Callable[[Ritz], jax.Array] | None = None,
    within: Product | None = None,
) -> tuple[Krylov, Ritz]:
    """More products until `enough(krylov, ritz)`, or `limit` products in all, or all rows are in use.

    `keep(ritz)` names the columns of Ritz vectors with which a full basis is restarted; without it, it is not.
    `within(v)` projects fresh vectors into the space that the products stay in, if that is not the whole.
    """
    rows = krylov.matrix.shape[0]

    def extend(state):
        krylov = state[0]
        steps = jnp.maximum(EVERY, krylov.count // 4)
        steps = jnp.minimum(steps, jnp.minimum(rows - krylov.count, limit - krylov.num_matvecs))
        krylov = jax.lax.fori_loop(0, steps, lambda _, k: _step(product, k, within), krylov)
        found = ritz(krylov)
        done = enough(krylov, found) | (krylov.num_matvecs >= limit) | ~jnp.isfinite(found.spectral_norm)
        full = krylov.count == rows
        if keep is None:
            return krylov, found, done | full
        # An invariant space of all rows cannot be left by restarting with a coupling of 0: the fresh vector leads out.
        krylov = jax.lax.cond(~done & full, lambda k: _restart(k, found, keep(found)), lambda k: k, krylov)
        return krylov, found, done

    # The condition reads a bool of the carry and nothing else: under vmap it is evaluated twice,
    # and comparisons of floats could round differently.
    begun = krylov, _unknown(krylov), krylov.num_matvecs >= limit
    return jax.lax.while_loop(lambda state: ~state[2], extend, begun)[:2]


def _unknown(krylov: Krylov) -> Ritz:
    """The Ritz pairs of a basis with nothing in it."""
    rows, dtype = len(krylov.matrix), krylov.matrix.dtype
    one = jnp.ones((), dtype)
    return Ritz(jnp.ones(rows, dtype), jnp.eye(rows, dtype=dtype), jnp.zeros(rows, dtype), krylov.count, one)


def ritz(krylov: Krylov) -> Ritz:
    """Eigenpairs of the matrix in the basis; rows not in use get a value beyond all others."""
    count = krylov.count
    unused = jnp.arange(len(krylov.matrix), dtype=jnp.int32) >= count
    # The last row's coupling is no part of the projection: with it the values would not be Rayleigh quotients.
    small = jnp.where(unused[None, :] | unused[:, None], 0, krylov.matrix)
    beyond = 1.1 * jnp.max(jnp.sum(jnp.abs(small), axis=1))
    values, vectors = eigh(small + jnp.diag(jnp.where(unused, divisor(beyond), 0)))
    residuals = jnp.abs(krylov.coupling * vectors[count - 1])
    return Ritz(values, vectors, residuals, count, jnp.maximum(-values[0], values[count - 1]))


def _step(product: Product, krylov: Krylov, within: Product | None) -> Krylov:
    """One product, one more row."""
    j, q = krylov.count, krylov.following
    basis = krylov.basis.at[j].set(q)
    w = product(q)
    alpha = q @ w
    previous = jnp.where(j > 0, krylov.coupling, 0)
    w = w - alpha * q - previous * basis[j - 1]
    w = _freed(basis, w)
    beta = length(w)
    matrix = krylov.matrix.at[j, j].set(alpha)
    spectral_norm = jnp.maximum(jnp.max(jnp.abs(matrix)), beta)
    broken = ~(beta > BREAKDOWN * jnp.finfo(w.dtype).eps * spectral_norm)
    coupling = jnp.where(broken, 0, beta)
    matrix = matrix.at[j, j + 1].set(coupling, mode="drop").at[j + 1, j].set(coupling, mode="drop")

    def elsewhere():
        key = jax.random.fold_in(krylov.key, krylov.num_matvecs)
        start = _inside(within, jax.random.normal(key, w.shape, w.dtype))
        return unit(_inside(within, _without(basis, _without(basis, unit(_without(basis, start))))))

    following = jax.lax.cond(broken, elsewhere, lambda: w / beta)
    after = krylov._replace(basis=basis, matrix=matrix, following=following, coupling=coupling)
    return after._replace(count=j + 1, num_matvecs=krylov.num_matvecs + 1)


def _inside(within: Product | None, vector: jax.Array) -> jax.Array:
    return vector if within is None else within(vector)


def _without(basis: jax.Array, w: jax.Array) -> jax.Array:
    """The part of w that is orthogonal to the basis."""
    return w - (basis @ w) @ basis


def _freed(basis: jax.Array, w: jax.Array) -> jax.Array:
    """The vector w without its part in the basis, twice where the first time took away more than rounding."""
    with jax.default_matmul_precision("highest"):
        once = _without(basis, w)
        moved = length(w - once) > jnp.sqrt(jnp.finfo(w.dtype).eps) * length(once)
        return jax.lax.cond(moved, lambda: _without(basis, once), lambda: once)


def _restart(krylov: Krylov, found: Ritz, columns: jax.Array) -> Krylov:
    """The basis of the Ritz vectors in these columns; the vector that comes next is coupled to all of them."""
    kept = len(columns)
    chosen = found.vectors[:, columns]
    with jax.default_matmul_precision("highest"):
        basis = jnp.zeros_like(krylov.basis).at[:kept].set(chosen.T @ krylov.basis)
    arrow = krylov.coupling * chosen[-1]
    matrix = jnp.zeros_like(krylov.matrix).at[jnp.arange(kept), jnp.arange(kept)].set(found.values[columns])
    matrix = matrix.at[kept, :kept].set(arrow).at[:kept, kept].set(arrow)
    return krylov._replace(basis=basis, matrix=matrix, count=jnp.int32(kept))
