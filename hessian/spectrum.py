"""Eigenvalues and eigenvectors of the Hessian: what the surface is like where theta stands.

    H u_i = lambda_i u_i,   lambda_1 <= ... <= lambda_n                        (S55)

| function | what it returns |
|---|---|
| `spectrum` | all of them, from the dense matrix |
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from hessian.product import Loss, Params, matrix


class Spectrum(NamedTuple):
    """Eigenvalues in ascending order, and their eigenvectors."""

    eigenvalues: jax.Array  # shape (k,), ascending
    eigenvectors: Params  # like params with a leading axis of k; each of length 1 over all leaves together


def spectrum(loss: Loss, params: Params, *args: Any) -> Spectrum:
    """All eigenvalues and eigenvectors of the Hessian of the loss at params (S52, S55, S56).

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        params: pytree of n real floating values; the dense matrix takes n^2 of them.
        *args: further arguments of the loss.

    Raises:
        TypeError, ValueError: as `hessian.hvp`.

    >>> import jax.numpy as jnp
    >>> found = spectrum(lambda w: (1 - w[0] * w[1]) ** 2, jnp.zeros(2))
    >>> found.eigenvalues.tolist()
    [-2.0, 2.0]
    """
    eigenvalues, eigenvectors = jnp.linalg.eigh(matrix(loss, params, *args))
    unravel = ravel_pytree(jax.tree.map(jnp.asarray, params))[1]
    return Spectrum(eigenvalues, jax.vmap(unravel, in_axes=1)(eigenvectors))
