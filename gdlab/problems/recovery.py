"""Recovering a matrix or a vector from products of its parts: no spurious minima, saddles of every index.

    matrix factorization     1/4 |X X^T - M|^2,   M = diag(mu)             minima: the best approximation of rank p
    phase retrieval          E ((a.x)^2 - (a.x*)^2)^2 / 4,   a ~ N(0, 1)    minima: +-x*

| function | k | critical points |
|---|---|---|
| `matrix_factorization` | n p | one for each choice of at most p eigenvectors, up to rotation |
| `phase_retrieval` | any | 0 a maximum, +-x* minima, a sphere of saddles between |
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from gdlab.arguments import sequence
from gdlab.problems.landscape import Surface, arranged, coordinates

_MU = (3.0, 2.0, 1.0)


def matrix_factorization(theta: jax.Array, mu: Sequence[float] = _MU) -> jax.Array:
    """1/4 |X X^T - diag(mu)|^2, theta = X row by row, n x p; mu fixes n, theta's size fixes p (S57, S59).

    For p = 1 the critical points are 0 and +-sqrt(mu_i) e_i, with eigenvalues 2 mu_i and mu_i - mu_j
    (Ge, Jin & Zheng 2017, arXiv:1704.00708).

    Raises:
        ValueError: when theta's size is no multiple of n.

    >>> float(matrix_factorization(jnp.zeros(3)))  # (9 + 4 + 1) / 4
    3.5
    """
    theta, eigenvalues = coordinates(theta), sequence("mu", mu, 1)
    n = len(eigenvalues)
    if theta.size % n:
        msg = f"theta must hold n p numbers with n = {n} eigenvalues mu, a multiple of {n}; got {theta.size}"
        raise ValueError(msg)
    x = theta.reshape(n, -1)
    missed = jnp.matmul(x, x.T, precision="highest") - jnp.diag(eigenvalues.astype(theta.dtype))
    return jnp.sum(missed**2) / 4


def _factor_rows(mu):
    rows = [((0.0,) * len(mu), sum(m**2 for m in mu) / 4, tuple(-m for m in mu))]
    for i, own in enumerate(mu):
        rest = sum(m**2 for j, m in enumerate(mu) if j != i) / 4
        eigenvalues = (2 * own, *(own - m for j, m in enumerate(mu) if j != i))
        for sign in (-1, 1):
            x = tuple(sign * math.sqrt(own) * (j == i) + 0.0 for j in range(len(mu)))
            rows.append((x, rest, eigenvalues))
    return rows


RANK_ONE_3D = Surface(
    name="matrix_factorization_3d",
    loss=matrix_factorization,
    dim=3,
    source="Ge, Jin & Zheng 2017, arXiv:1704.00708, for rank one",
    box=((-2.0, 2.0),) * 3,
    starts=((0.5, 0.2, -0.3), (0.0, math.sqrt(2), 0.0), (0.0, 1.0, 0.5)),
    critical_points=arranged(_factor_rows(_MU)),
    complete=True,
    formula="1/4 |x x^T - diag(3, 2, 1)|^2",
    coercive=True,
)


def phase_retrieval(theta: jax.Array) -> jax.Array:
    """(3 |x|^4 - 2 |x|^2 - 4 x_1^2 + 3) / 4, theta = x of shape (k,), x* = e_1 (Sun, Qu & Wright 2018; S57, S59).

    The mean of ((a.x)^2 - a_1^2)^2 / 4 over standard normal a.

    >>> float(phase_retrieval(jnp.array([1.0, 0.0]))), float(phase_retrieval(jnp.zeros(2)))
    (0.0, 0.75)
    """
    x = coordinates(theta)
    square = jnp.sum(x**2)
    return (3 * square**2 - 2 * square - 4 * x[0] ** 2 + 3) / 4


_ROOT = 1 / math.sqrt(3)

PHASE_RETRIEVAL_3D = Surface(
    name="phase_retrieval_3d",
    loss=phase_retrieval,
    dim=3,
    source="Sun, Qu & Wright 2018, Foundations of Computational Mathematics 18, in expectation",
    box=((-1.5, 1.5),) * 3,
    starts=((0.3, 0.8, -0.4), (0.0, _ROOT, 0.0), (0.0, 0.5, 0.5)),
    critical_points=arranged(
        [
            ((-1.0, 0.0, 0.0), 0.0, (2.0, 2.0, 6.0)),
            ((1.0, 0.0, 0.0), 0.0, (2.0, 2.0, 6.0)),
            ((0.0, _ROOT, 0.0), 2 / 3, (-2.0, 0.0, 2.0)),
            ((0.0, -_ROOT, 0.0), 2 / 3, (-2.0, 0.0, 2.0)),
            ((0.0, 0.6 * _ROOT, 0.8 * _ROOT), 2 / 3, (-2.0, 0.0, 2.0)),
            ((0.0, 0.0, 0.0), 0.75, (-3.0, -1.0, -1.0)),
        ]
    ),
    complete=False,
    formula="(3 |x|^4 - 2 |x|^2 - 4 x_1^2 + 3)/4",
    coercive=True,
)

RECOVERIES = (RANK_ONE_3D, PHASE_RETRIEVAL_3D)
