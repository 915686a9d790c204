"""Generators that a loss seems to have: the affine fields along which its gradient vanishes at random points.

    (A x + b) . grad L(x) = 0     at more random x than A and b have entries

is linear in A and b, and its null space holds all affine symmetries.  A multiple of a generator by a function of x is a
generator, too, and moves nothing new: so the fields are taken in turn from shifts, rotations and all affine fields,
each only where it leads out of the span of those before it at a random point.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gdlab.ground.checks import key_or_default
from hessian.compiled import compiled
from hessian.numerics import divisor
from hessian.precision import working
from hessian.product import Loss, Params, gradient
from hessian.symmetry.generators import Affine

MOST = 40  # parameters: the null space of n^2 + n unknowns is computed
EXTRA = 20  # points beyond the number of unknowns
NOUGHT = 1e3  # a singular value below so many eps of the largest is zero
OUT = 1e-6  # the share of a unit field that must lead out of the span of the others


def detect(loss: Loss, params: Params, *args: Any, key: jax.Array | None = None) -> Affine:
    """The affine generators that the loss seems to have around params: a suggestion, to be declared as `symmetries`.

    Args:
        loss: `loss(params, *args) -> scalar`, differentiable.
        params: pytree of at most 40 values; random points are drawn around it, as far away as it is large.
        *args: further arguments of the loss.
        key: of these points, `jax.random.key(0)` by default.

    Raises:
        ValueError: for more parameters, or a gradient that is not finite at most points.

    >>> found = detect(lambda w: (1 - w[0] * w[1]) ** 2, jnp.ones(2))
    >>> len(found), bool(abs(found.matrices[0] + found.matrices[0][::-1, ::-1]).max() < 1e-9)
    (1, True)
    """
    loss, params, args, _ = working(loss, params, *args)
    key = key_or_default(key)
    theta = ravel_pytree(params)[0]
    n = theta.size
    if n > MOST:
        msg = f"params must hold at most {MOST} values, for all affine fields to be tried; got {n}"
        raise ValueError(msg)
    points, slopes = map(np.asarray, _samples(loss, n * n + n + EXTRA, params, args, key))
    finite = np.isfinite(slopes).all(axis=1) & (np.abs(slopes).max(axis=1) > 0)
    if finite.sum() < n * n + n:
        msg = f"loss must have a gradient, finite and not zero, around params; got one at {finite.sum()} points of many"
        raise ValueError(msg)
    points, slopes = points[finite].astype(float), slopes[finite].astype(float)
    slopes /= np.linalg.norm(slopes, axis=1, keepdims=True)
    tol = NOUGHT * float(jnp.finfo(theta.dtype).eps)
    scale = np.sqrt(np.mean(points**2))
    matrices, shifts = np.zeros((0, n, n)), np.zeros((0, n))
    for family in _families(n, scale):
        new = _null(_moments(family, points, slopes), tol) @ family.reshape(len(family), -1)
        new = new.reshape(-1, n, n + 1)
        matrices, shifts = _led_out(matrices, shifts, new[:, :, :n], new[:, :, n], points[0])
    return Affine(matrices, shifts)


@compiled(static_argnums=(0, 1))
def _samples(loss, count, params, args, key):
    theta, unravel = ravel_pytree(params)
    size = jnp.sqrt(jnp.mean(theta**2))
    noise = jax.random.normal(key, (count, theta.size), theta.dtype)
    points = theta + divisor(size) * noise
    slopes = jax.lax.map(lambda x: ravel_pytree(gradient(loss, unravel(x), *args))[0], points, batch_size=64)
    return points, slopes


def _families(n, scale):
    """Bases of affine fields [A b], shape (k, n, n + 1), each within the next: shifts, with rotations, all."""
    shifts = np.zeros((n, n, n + 1))
    shifts[np.arange(n), np.arange(n), n] = scale
    i, j = np.triu_indices(n, 1)
    turns = np.zeros((len(i), n, n + 1))
    turns[np.arange(len(i)), i, j], turns[np.arange(len(i)), j, i] = 0.5**0.5, -(0.5**0.5)
    every = np.zeros((n * n, n, n + 1))
    every[:, :, :n] = np.eye(n * n).reshape(-1, n, n)
    return shifts, np.concatenate([shifts, turns]), np.concatenate([shifts, every])


def _moments(family, points, slopes):
    """(points, fields): the slope along each field at each point."""
    ahead = np.concatenate([points, np.ones((len(points), 1))], axis=1)
    return np.einsum("pi,kij,pj->pk", slopes, family, ahead, optimize=True)


def _null(moments, tol):
    """An orthonormal basis of the null space, a row per vector."""
    _, sizes, rows = np.linalg.svd(moments, full_matrices=False)
    return rows[sizes <= tol * max(sizes[0], 1e-300) * len(moments) ** 0.5]


def _led_out(matrices, shifts, new_matrices, new_shifts, x):
    """The fields, and of the new ones as many combinations as lead out of their span at x."""
    old, new = matrices @ x + shifts, new_matrices @ x + new_shifts
    if not len(new):
        return matrices, shifts
    if len(old):
        span = np.linalg.svd(old, full_matrices=False)[2]
        new = new - new @ span.T @ span
    mixes, sizes, _ = np.linalg.svd(new, full_matrices=False)
    chosen = mixes.T[sizes > OUT * np.linalg.norm(x)]
    return (
        np.concatenate([matrices, np.tensordot(chosen, new_matrices, 1)]),
        np.concatenate([shifts, chosen @ new_shifts]),
    )
