"""The Hessian of a loss in its eigenbasis, in which every second-order step is written.

    H u_i = lambda_i u_i,    a_i = u_i.g,    loss(theta + sum p_i u_i)  ~  loss + sum a_i p_i + lambda_i p_i^2 / 2

Dense, the u_i are all eigenvectors.  Matrix-free, they are the Ritz vectors of H in a subspace of two parts: the Krylov
space of the gradient, which holds a good Newton step, and the lowest Ritz vector of a random start.  Without the second
part a step on the stable manifold of a saddle would not contain the direction of negative curvature.

| name | what it is |
|---|---|
| `Eigenbasis` | eigenvalues, eigenvectors and the gradient's projections |
| `eigenbasis` | that of a loss at a point |
| `sr1_update` | that after a symmetric rank-one update |
| `lowest_direction` | a direction of negative curvature, found by products alone |
| `orthogonal` | the part of a vector orthogonal to a basis |
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from hessian.numerics import curvature_rounding, divided, divisor, length, newton_coordinates, unit
from hessian.product import Params, flat_product, matrix
from hessian.spectra import lanczos
from hessian.spectra.eigh import eigh


class Eigenbasis(NamedTuple):
    """Eigenpairs of H, or of H within a subspace that holds the gradient."""

    values: jax.Array  # (k,), ascending
    vectors: jax.Array  # (k, n), orthonormal rows
    projections: jax.Array  # (k,), of the gradient on each: a_i
    num_matvecs: jax.Array  # with H, used

    @property
    def band(self) -> jax.Array:
        """Below this an eigenvalue is rounding: 50 eps |H|."""
        return curvature_rounding(self.values)

    def newton(self, slopes: jax.Array) -> jax.Array:
        """Newton's step in coordinates, along every eigenvector whose curvature exceeds rounding."""
        return newton_coordinates(self.values, slopes, jnp.abs(self.values) > self.band)

    def step(self, coordinates: jax.Array) -> jax.Array:
        """The step of shape (n,) that has these coordinates, shape (k,)."""
        with jax.default_matmul_precision("highest"):
            return coordinates @ self.vectors


def eigenbasis(
    loss: Callable[[jax.Array], jax.Array],
    theta: jax.Array,
    gradient: jax.Array,
    krylov: int | None,
    key: jax.Array,
) -> Eigenbasis:
    """The eigenbasis of a loss of one vector: dense where `krylov` is None, else of two Krylov spaces of that size."""
    if krylov is None or theta.size <= krylov + 1:
        values, columns = eigh(matrix(loss, theta))
        return _eigenbasis(values, columns.T, gradient, theta.size)
    product = flat_product(loss, theta)
    start = lanczos.begin(key, theta.size, krylov, theta.dtype)
    slope = length(gradient)
    towards = jnp.where(slope > 0, gradient / divisor(slope), start.following)
    downhill, _ = lanczos.grow(product, start._replace(following=towards), krylov, _exhausted)
    random, found = lanczos.grow(product, start, krylov, _negative)

    with jax.default_matmul_precision("highest"):
        lowest = found.vectors[:, 0] @ random.basis
        lowest = orthogonal(downhill.basis, lowest, key)
        image = product(lowest)
        basis = jnp.concatenate([downhill.basis, lowest[None]])
        used = jnp.concatenate([jnp.arange(krylov) < downhill.count, jnp.array([True])])
        inner = jnp.pad(downhill.matrix, (0, 1))
        border = jnp.where(used, basis @ image, 0)
        inner = inner.at[-1, :].set(border).at[:, -1].set(border)
        # A row that is not in use is the vector 0; it gets the middle of the spectrum and a gradient of 0.
        middle = jnp.sum(jnp.diag(inner)) / jnp.sum(used)
        inner = inner + jnp.diag(jnp.where(used, 0, middle))
        values, columns = eigh((inner + inner.T) / 2)
        vectors = columns.T @ basis
    return _eigenbasis(values, vectors, gradient, downhill.num_matvecs + random.num_matvecs + 1)


def sr1_update(found: Eigenbasis, p: jax.Array, y: jax.Array, gradient: jax.Array) -> Eigenbasis:
    """The eigenpairs of B + r r^T / (r.p), r = y - B p, where y is the observed change of the gradient over the step p.

    `p` is given in coordinates; B stays as it is where r.p is rounding or y is not finite.
    """
    with jax.default_matmul_precision("highest"):
        r = found.vectors @ y - found.values * p
        size, step, u = length(r), length(p), unit(r)
        cosine = u @ unit(p)
        seen = jnp.abs(cosine) > jnp.sqrt(jnp.finfo(p.dtype).eps)
        update = jnp.where(seen, divided(size / divisor(step), cosine, seen) * (u[:, None] * u), 0)
        values, columns = eigh(jnp.diag(found.values) + update)
        return _eigenbasis(values, columns.T @ found.vectors, gradient, found.num_matvecs)


def lowest_direction(
    loss: Callable[..., jax.Array], params: Params, args: tuple, key: jax.Array, num_matvecs: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """A clear direction of negative curvature, or else the lowest that `num_matvecs` products find.

    Returns its curvature, the direction of shape (n,) and length 1, a lower bound on |H|, and the products it took:
    about ten where there is such a direction, since its curvature is clear long before it is an eigenvector.
    """
    theta = ravel_pytree(params)[0]
    rows = min(num_matvecs, theta.size)
    start = lanczos.begin(key, theta.size, rows, theta.dtype)
    krylov, found = lanczos.grow(flat_product(loss, params, *args), start, rows, _negative)
    with jax.default_matmul_precision("highest"):
        direction = unit(found.vectors[:, 0] @ krylov.basis)
    return found.values[0], direction, found.spectral_norm, krylov.num_matvecs


def _eigenbasis(values, vectors, gradient, num_matvecs):
    with jax.default_matmul_precision("highest"):
        return Eigenbasis(values, vectors, vectors @ gradient, jnp.asarray(num_matvecs, jnp.int32))


def _exhausted(krylov, found):
    """Whether the Krylov space of the gradient is invariant: a fresh vector beyond it is not needed."""
    return krylov.coupling == 0


def _negative(krylov, found):
    """Whether the lowest Ritz pair is a clear direction of negative curvature."""
    return (found.values[0] < -curvature_rounding(found.spectral_norm)) & (
        found.residuals[0] <= 0.1 * jnp.abs(found.values[0])
    )


def orthogonal(basis: jax.Array, vector: jax.Array, key: jax.Array) -> jax.Array:
    """The part of the vector orthogonal to the basis, scaled to length 1; a random one where nothing is left of it.

    Args:
        basis: orthonormal rows, shape (k, n) with k < n; rows of zeros count for nothing.
        vector: shape (n,), of length 1: what is shorter than 1e-3 beside the basis counts as nothing.
        key: draws the random one.

    >>> orthogonal(jnp.eye(1, 2), jnp.array([0.8, 0.6]), jax.random.key(0)).tolist()
    [0.0, 1.0]
    """
    for _ in range(2):
        rest = vector - (basis @ vector) @ basis
        size = length(rest)
        other = jax.random.normal(key, vector.shape, vector.dtype)
        vector = unit(jnp.where(size > 1e-3, rest, other))
    rest = vector - (basis @ vector) @ basis
    return unit(rest)
