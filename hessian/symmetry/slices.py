"""The slice across an orbit: a loss without the directions that are flat by symmetry; a verdict speaks of the rest.

    Xi(x) = [xi_1 .. xi_m]' ,    Q = an orthonormal basis of its row space at x0,     P = 1 - Q'Q
    F(x) = L(x0 + P (x - x0)),   grad F = P grad L,   H_F = P H P

A critical point of F beside x0 at which Xi Q' is invertible is one of L: there grad L has no part along P, and none
along Xi.  The inertia of H_F without the d null vectors Q is that of L across the orbit (Bott 1954), because null(H)
holds Xi and meets the slice in nothing.

A combination of generators counts as one of the d directions only where it does not vanish as near to x0 as the
critical point can be; three atoms on a line have one rotation less.

| name | what it is |
|---|---|
| `Orbit` | a point with an orthonormal basis of its flat directions |
| `orbit_at` | that of declared symmetries |
| `Slice` | the loss F |
| `across` | the spectrum of H_F, with the d flat directions last |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from hessian.bounds import Face
from hessian.compiled import compiled
from hessian.numerics import divided, divisor, unit
from hessian.precision import Loss, Params, TracedOnce
from hessian.roundoff import UNIFORM
from hessian.spectra.eigh import eigh
from hessian.symmetry.declared import Symmetries
from hessian.tolerances import DISTANCE_TOL, distance_tol

MARGIN = 10  # how many times farther than a critical point can be a generator must not vanish
PROBES = 4  # directions in which the change of the generators is measured


class Orbit(NamedTuple):
    """A point, and the directions along which the symmetries move it."""

    center: jax.Array  # (n,)
    flat: jax.Array  # (m, n): orthonormal rows, and rows of zeros
    dimension: jax.Array  # how many are not zero: d

    def across(self, vector: jax.Array) -> jax.Array:
        """The part of a vector, shape (n,), that leads off the orbit."""
        with jax.default_matmul_precision("highest"):
            return vector - (self.flat @ vector) @ self.flat

    def onto(self, theta: jax.Array) -> jax.Array:
        """The point of the slice beside theta."""
        return self.center + self.across(theta - self.center)

    @property
    def projector(self) -> jax.Array:
        """The matrix that leaves the part of a vector along the orbit."""
        return self.flat.T @ self.flat


@dataclass(frozen=True)
class Slice(TracedOnce):
    """A loss `Slice(loss)(params, orbit, *args)` on the slice across an orbit, or on the face of a box.

    Equal for equal losses.
    """

    loss: Loss

    def __call__(self, params: Params, orbit: Orbit | Face, *args: Any) -> jax.Array:
        """F(params)."""
        theta, unravel = ravel_pytree(params)
        return self.loss(unravel(orbit.onto(theta)), *args)


@compiled(static_argnums=0)
def orbit_at(symmetries: Symmetries, params: Params) -> Orbit:
    """The directions along which the symmetries move params."""
    theta, unravel = ravel_pytree(params)
    n, eps = theta.size, jnp.finfo(theta.dtype).eps

    def fields(x):
        return symmetries.fields(unravel(x))

    here = fields(theta)
    if not len(here):
        return Orbit(theta, here, jnp.int32(0))
    starts = jnp.stack([jnp.resize(jnp.asarray(UNIFORM[97 * i :], theta.dtype), (n,)) for i in range(PROBES)])
    probes = jax.vmap(unit)(starts)
    with jax.default_matmul_precision("highest"):
        # |J z| of random unit vectors z is the Frobenius norm of J over sqrt(n), on average.
        change = jax.vmap(lambda z: jax.jvp(fields, (theta,), (z,))[1])(probes) * (n / PROBES) ** 0.5
        far = MARGIN * distance_tol(theta)
        sizes = jnp.linalg.norm(here, axis=1) + far * jnp.sqrt(jnp.sum(change**2, axis=(0, 2)))
        here, change = here / divisor(sizes)[:, None], change / divisor(sizes)[:, None]
        mixes = eigh(here @ here.T)[1]
        combined = mixes.T @ here
        lengths = jnp.linalg.norm(combined, axis=1)
        vanishing = far * jnp.sqrt(jnp.sum(jnp.einsum("mi,pmn->pin", mixes, change) ** 2, axis=(0, 2)))
        least = max(DISTANCE_TOL, MARGIN * float(eps) ** 0.5)
        kept = lengths > jnp.maximum(vanishing, least * jnp.max(lengths))
        flat = divided(combined, lengths[:, None], kept[:, None])
        for _ in range(2):
            flat = _orthonormal(flat, kept)
    return Orbit(theta, flat, jnp.sum(kept, dtype=jnp.int32))


def _orthonormal(rows, kept):
    """The orthonormal rows nearest to these (Loewdin); rows that are not kept stay zero."""
    gram = jnp.where(kept[:, None] & kept[None], rows @ rows.T, jnp.eye(len(rows), dtype=rows.dtype))
    values, vectors = eigh(gram)
    return (vectors / jnp.sqrt(values)[None]) @ vectors.T @ rows


def across(matrix: jax.Array, orbit: Orbit | Face) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues and eigenvectors of P H P, (n,) and (n, n): those off the orbit ascending, then d times zero."""
    n = len(matrix)
    with jax.default_matmul_precision("highest"):
        largest = divisor(jnp.max(jnp.abs(matrix)))
        fourth = jnp.linalg.matrix_power(matrix / largest, 4)
        beyond = 2 * largest * jnp.linalg.norm(fourth) ** 0.25  # above |H|, and below 2 n^(1/8) |H|
        values, basis = eigh(matrix + beyond * orbit.projector)
    return jnp.where(jnp.arange(n) < n - orbit.dimension, values, 0), basis


def sliced(
    loss: Loss, args: tuple, symmetries: Symmetries | None, params: Params
) -> tuple[Callable[..., jax.Array], tuple, Orbit | None]:
    """The loss across the orbit of params, its arguments, and the orbit; the loss itself without symmetries."""
    if symmetries is None:
        return loss, args, None
    orbit = orbit_at(symmetries, params)
    return Slice(loss), (orbit, *args), orbit
