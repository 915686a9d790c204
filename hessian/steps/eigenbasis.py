"""The curvature of a loss in its own coordinates: what every second-order step is written in.

    H u_i = lambda_i u_i,    a_i = u_i.g,    loss(theta + sum p_i u_i)  ~  loss + sum a_i p_i + lambda_i p_i^2 / 2

Dense, the u_i are all eigenvectors.  Matrix-free, they are those of H within a subspace of two parts: the Krylov space
of the gradient, in which a Newton step is found fastest, and the lowest Ritz vector of a random start, without which a
step on the stable manifold of a saddle would never hear of the way out.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from hessian.numerics import divided, divisor
from hessian.product import Params, flat_product, matrix
from hessian.spectra import lanczos
from hessian.spectra.eigh import eigh
from hessian.spectra.spectrum import rounding


class Modes(NamedTuple):
    """Eigenpairs of H, or of H within a subspace that holds the gradient."""

    values: jax.Array  # (k,), ascending
    vectors: jax.Array  # (k, n), orthonormal rows
    along: jax.Array  # (k,), the gradient along each
    products: jax.Array  # with H, used

    @property
    def band(self) -> jax.Array:
        """Below this an eigenvalue is rounding: 50 eps |H|."""
        return rounding(self.values)

    def step(self, coordinates: jax.Array) -> jax.Array:
        """The step of shape (n,) that has these coordinates, shape (k,)."""
        with jax.default_matmul_precision("highest"):
            return coordinates @ self.vectors


def modes(
    loss: Callable[[jax.Array], jax.Array],
    theta: jax.Array,
    gradient: jax.Array,
    krylov: int | None,
    key: jax.Array,
) -> Modes:
    """The modes of a loss of one vector: all of them where `krylov` is None, else of two Krylov spaces of that size."""
    if krylov is None or theta.size <= krylov + 1:
        values, columns = eigh(matrix(loss, theta))
        return _modes(values, columns.T, gradient, theta.size)
    product = flat_product(loss, theta)
    start = lanczos.begin(key, theta.size, krylov, theta.dtype)
    slope = lanczos.length(gradient)
    towards = jnp.where(slope > 0, gradient / divisor(slope), start.following)
    downhill, _ = lanczos.grow(product, start._replace(following=towards), krylov, _exhausted)
    random, found = lanczos.grow(product, start, krylov, _negative)

    with jax.default_matmul_precision("highest"):
        lowest = found.vectors[:, 0] @ random.basis
        lowest = _orthogonal(downhill.basis, lowest, key)
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
    return _modes(values, vectors, gradient, downhill.products + random.products + 1)


def learned(found: Modes, p: jax.Array, change: jax.Array, gradient: jax.Array) -> Modes:
    """All modes of B + r r^T / r.p, r = change - B p: what B is after a step p, in coordinates, changed the gradient.

    Where r.p is rounding, or the change is not finite, B stays as it is.
    """
    with jax.default_matmul_precision("highest"):
        r = found.vectors @ change - found.values * p
        size, step, u = lanczos.length(r), lanczos.length(p), lanczos.unit(r)
        cosine = u @ lanczos.unit(p)
        seen = jnp.abs(cosine) > jnp.sqrt(jnp.finfo(p.dtype).eps)
        update = jnp.where(seen, divided(size / divisor(step), cosine, seen) * (u[:, None] * u), 0)
        values, columns = eigh(jnp.diag(found.values) + update)
        return _modes(values, columns.T @ found.vectors, gradient, found.products)


def lowest_direction(
    loss: Callable[..., jax.Array], params: Params, args: tuple, key: jax.Array, products: int
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """A clear direction of negative curvature, or else the lowest that so many products find.

    Returns its curvature, the direction of shape (n,) and length 1, |H| from below, and the products used: about ten
    where there is such a direction, since its curvature shows it long before it is an eigenvector.
    """
    theta = ravel_pytree(params)[0]
    rows = min(products, theta.size)
    start = lanczos.begin(key, theta.size, rows, theta.dtype)
    krylov, found = lanczos.grow(flat_product(loss, params, *args), start, rows, _negative)
    with jax.default_matmul_precision("highest"):
        direction = lanczos.unit(found.vectors[:, 0] @ krylov.basis)
    return found.values[0], direction, found.size, krylov.products


def _modes(values, vectors, gradient, products):
    with jax.default_matmul_precision("highest"):
        return Modes(values, vectors, vectors @ gradient, jnp.asarray(products, jnp.int32))


def _exhausted(krylov, found):
    """Whether the gradient's own space is invariant: what comes behind it is not asked for."""
    return krylov.coupling == 0


def _negative(krylov, found):
    """Whether the lowest Ritz pair is a clear direction of negative curvature."""
    return (found.values[0] < -rounding(found.size)) & (found.residuals[0] <= 0.1 * jnp.abs(found.values[0]))


def _orthogonal(basis, vector, key):
    """The vector without the basis, of length 1; another where nothing is left of it."""
    for _ in range(2):
        rest = vector - (basis @ vector) @ basis
        size = lanczos.length(rest)
        other = jax.random.normal(key, vector.shape, vector.dtype)
        vector = lanczos.unit(jnp.where(size > 1e-3, rest, other))
    rest = vector - (basis @ vector) @ basis
    return lanczos.unit(rest)
