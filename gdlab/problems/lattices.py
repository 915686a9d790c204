"""Separable losses, sums of one-dimensional ones: their critical points are a lattice with every index.

    f(x) = f_1(x_1) + ... + f_k(x_k),    Hessian = diag(f_i''(x_i)),    index = coordinates at a maximum of their f_i

Every function takes one point theta, a floating array of shape (k,), and returns a scalar of its dtype; many points
go through `jax.vmap`.  Beside each stands its declaration, with all its critical points.

| function | points in k dimensions |
|---|---|
| `styblinski_tang` | 3^k |
| `double_wells` | 3^k, of distinct curvatures |
| `rastrigin` | 21^k in its box |
"""

import jax
import jax.numpy as jnp

from gdlab.problems import known_points as known
from gdlab.problems.landscape import Surface, coordinates, separable


def styblinski_tang(theta: jax.Array) -> jax.Array:
    """1/2 sum_i (x_i^4 - 16 x_i^2 + 5 x_i), theta of shape (k,) (Styblinski & Tang 1990; S59).

    Each coordinate stands at one of three roots, so there are 3^k critical points; the index counts the coordinates
    that stand at the middle one.

    >>> float(styblinski_tang(jnp.array([1.0, 2.0])))  # (1 - 16 + 5)/2 + (16 - 64 + 10)/2
    -24.0
    """
    x = coordinates(theta)
    return 0.5 * jnp.sum(x**4 - 16 * x**2 + 5 * x)


def _styblinski_tang(dim, starts):
    return Surface(
        name=f"styblinski_tang_{dim}d",
        loss=styblinski_tang,
        dim=dim,
        source="Styblinski & Tang 1990, Neural Networks 3",
        box=((-5.0, 5.0),) * dim,
        starts=starts,
        critical_points=separable(*[known.STYBLINSKI_TANG] * dim),
        complete=True,
        formula="1/2 sum_i (x_i^4 - 16 x_i^2 + 5 x_i)",
        coercive=True,
    )


STYBLINSKI_TANG_1D = _styblinski_tang(1, ((0.0,), (4.0,), (0.1567312567803401,)))
STYBLINSKI_TANG_2D = _styblinski_tang(
    2,
    ((0.0, 0.0), (4.0, -1.0), (0.1567312567803401, 2.746802770990837), (0.1567312567803401, 2.0)),
)


def double_wells(theta: jax.Array) -> jax.Array:
    """Sum_i i (x_i^2 - 1)^2, theta of shape (k,): critical where every x_i is -1, 0 or 1 (S57, S59).

    >>> float(double_wells(jnp.array([0.0, 0.0, 2.0])))  # 1 + 2 + 3 * 9
    30.0
    """
    x = coordinates(theta)
    i = jnp.arange(1, x.size + 1, dtype=x.dtype)
    return jnp.sum(i * (x**2 - 1) ** 2)


def _double_wells(dim, starts):
    axes = [[((x,), i * value, (i * bend,)) for x, value, bend in _DOUBLE_WELL] for i in range(1, dim + 1)]
    return Surface(
        name=f"double_wells_{dim}d",
        loss=double_wells,
        dim=dim,
        source="elementary",
        box=((-2.0, 2.0),) * dim,
        starts=starts,
        critical_points=separable(*axes),
        complete=True,
        formula="sum_i i (x_i^2 - 1)^2",
        coercive=True,
    )


_DOUBLE_WELL = ((-1.0, 0.0, 8.0), (0.0, 1.0, -4.0), (1.0, 0.0, 8.0))  # x, value and second derivative of (x^2 - 1)^2

DOUBLE_WELLS_2D = _double_wells(2, ((1.5, -0.5), (0.2, 0.1), (0.0, 1.0), (0.0, 0.5)))
DOUBLE_WELLS_3D = _double_wells(3, ((1.5, -0.5, 0.3), (0.0, 1.0, 0.0), (0.0, 0.5, 0.0)))


def rastrigin(theta: jax.Array) -> jax.Array:
    """Sum_i 10 + x_i^2 - 10 cos(2 pi x_i), theta of shape (k,) (Rastrigin 1974; S61).

    >>> float(rastrigin(jnp.array([0.0, 0.0])))
    0.0
    """
    x = coordinates(theta)
    return jnp.sum(10 + x**2 - 10 * jnp.cos(2 * jnp.pi * x))


def _rastrigin(dim, starts):
    return Surface(
        name=f"rastrigin_{dim}d",
        loss=rastrigin,
        dim=dim,
        source="Rastrigin 1974; all points in the box [-5.12, 5.12]^k, where there are 21^k",
        box=((-5.12, 5.12),) * dim,
        starts=starts,
        critical_points=separable(*[known.RASTRIGIN] * dim),
        complete=True,
        formula="sum_i 10 + x_i^2 - 10 cos(2 pi x_i)",
        coercive=True,
    )


RASTRIGIN_1D = _rastrigin(1, ((3.3,), (-4.7,)))
RASTRIGIN_2D = _rastrigin(2, ((3.3, -2.2), (-4.7, 1.4), (0.5025460365546747, 0.0), (0.5025460365546747, 0.2)))


LATTICES = (
    STYBLINSKI_TANG_1D,
    STYBLINSKI_TANG_2D,
    DOUBLE_WELLS_2D,
    DOUBLE_WELLS_3D,
    RASTRIGIN_1D,
    RASTRIGIN_2D,
)
