"""Losses with one critical point, a minimum: bowls of any condition number, and wells in a plateau.

Every function takes one point theta, a floating array of shape (k,), and returns a scalar of its dtype; many points
go through `jax.vmap`.  Beside each stands its declaration, with all its critical points.

| function | k | what it is good for |
|---|---|---|
| `quadratic_bowl` | any | any condition number; S7's bowl is the one of k = 2, condition 10 |
| `booth`, `matyas` | 2 | quadratics that are not aligned with the axes |
| `gaussian_well`, `plateau` | any | tiny gradient and tiny curvature far from the only critical point |
"""

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gdlab.arguments import hyperparameter
from gdlab.problems.landscape import Surface, coordinates, known_point


def quadratic_bowl(theta: jax.Array, condition: ArrayLike = 10.0) -> jax.Array:
    """1/2 sum_i c_i x_i^2 with curvatures c_i = condition^((i - 1) / (k - 1)), theta of shape (k,) (S5, S7).

    >>> float(quadratic_bowl(jnp.array([3.0, 1.0])))  # (9 + 10) / 2, the start of S7
    9.5
    """
    x, condition = coordinates(theta), hyperparameter("condition", condition, 0, above=True)
    exponents = jnp.arange(x.size, dtype=x.dtype) / max(x.size - 1, 1)
    return 0.5 * jnp.sum(jnp.asarray(condition, x.dtype) ** exponents * x**2)


def _quadratic_bowl(name, curvatures, box, starts):
    dim, condition = len(curvatures), curvatures[-1]
    return Surface(
        name=name,
        loss=functools.partial(quadratic_bowl, condition=condition),
        dim=dim,
        source="elementary; S7" if dim == 2 else "elementary",
        box=box,
        starts=starts,
        critical_points=(known_point((0.0,) * dim, 0.0, curvatures),),
        complete=True,
        formula=f"1/2 sum_i c_i x_i^2, c = ({', '.join(f'{c:g}' for c in curvatures)})",
        coercive=True,
    )


ILL_CONDITIONED_BOWL = _quadratic_bowl(
    "ill_conditioned_bowl", (1.0, 10.0), ((-4.0, 4.0), (-2.0, 2.0)), ((3.0, 1.0), (-2.0, 1.5))
)
QUADRATIC_BOWL_KAPPA_1E1 = _quadratic_bowl(
    "quadratic_bowl_kappa_1e1",
    (1.0, 2.154434690031884, 4.641588833612778, 10.0),
    ((-2.0, 2.0),) * 4,
    ((1.0, 1.0, 1.0, 1.0), (-1.5, 0.5, 1.0, -0.2)),
)
QUADRATIC_BOWL_KAPPA_1E4 = _quadratic_bowl(
    "quadratic_bowl_kappa_1e4",
    (1.0, 21.544346900318832, 464.15888336127773, 10000.0),
    ((-2.0, 2.0),) * 4,
    ((1.0, 1.0, 1.0, 1.0), (-1.5, 0.5, 1.0, -0.2)),
)


def booth(theta: jax.Array) -> jax.Array:
    """(x + 2 y - 7)^2 + (2 x + y - 5)^2, theta = (x, y): a bowl, condition number 9 (Jamil & Yang 2013).

    >>> float(booth(jnp.array([1.0, 3.0])))
    0.0
    """
    x, y = coordinates(theta, 2)
    return (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2


BOOTH = Surface(
    name="booth",
    loss=booth,
    dim=2,
    source="Jamil & Yang 2013, number 17",
    box=((-10.0, 10.0), (-10.0, 10.0)),
    starts=((0.0, 0.0), (-8.0, -5.0)),
    critical_points=(known_point((1.0, 3.0), 0.0, (2.0, 18.0)),),
    complete=True,
    formula="(x + 2 y - 7)^2 + (2 x + y - 5)^2",
    coercive=True,
)


def matyas(theta: jax.Array) -> jax.Array:
    """0.26 (x^2 + y^2) - 0.48 x y, theta = (x, y): a bowl, condition number 25 (Matyas 1965).

    >>> round(float(matyas(jnp.array([1.0, 1.0]))), 6)
    0.04
    """
    x, y = coordinates(theta, 2)
    return 0.26 * (x**2 + y**2) - 0.48 * x * y


MATYAS = Surface(
    name="matyas",
    loss=matyas,
    dim=2,
    source="Matyas 1965, Random optimization",
    box=((-10.0, 10.0), (-10.0, 10.0)),
    starts=((8.0, 3.0), (-5.0, 5.0)),
    critical_points=(known_point((0.0, 0.0), 0.0, (0.04, 1.0)),),
    complete=True,
    formula="0.26 (x^2 + y^2) - 0.48 x y",
    coercive=True,
)


def gaussian_well(theta: jax.Array) -> jax.Array:
    """-exp(-1/2 sum_i x_i^2), theta of shape (k,) (S62).

    Beyond |x| = 7 both the gradient and the lowest curvature are below 1e-9, though nothing is critical there.

    >>> float(gaussian_well(jnp.array([0.0, 0.0])))
    -1.0
    """
    x = coordinates(theta)
    return -jnp.exp(-0.5 * jnp.sum(x**2))


GAUSSIAN_WELL = Surface(
    name="gaussian_well",
    loss=gaussian_well,
    dim=2,
    source="elementary",
    box=((-8.0, 8.0), (-8.0, 8.0)),
    starts=((1.0, 0.5), (3.0, -2.0), (7.5, 0.0)),
    critical_points=(known_point((0.0, 0.0), -1.0, (1.0, 1.0)),),
    complete=True,
    formula="-exp(-(x^2 + y^2)/2)",
    coercive=False,
)


def plateau(theta: jax.Array) -> jax.Array:
    """1 - exp(-1/2 sum_i x_i^2), theta of shape (k,): where a gradient below 1e-6 is a trap (S61, S62).

    >>> round(float(plateau(jnp.array([6.0]))), 6), float(plateau(jnp.array([0.0])))
    (1.0, 0.0)
    """
    x = coordinates(theta)
    return -jnp.expm1(-0.5 * jnp.sum(x**2))


PLATEAU = Surface(
    name="plateau",
    loss=plateau,
    dim=1,
    source="elementary; S62",
    box=((-8.0, 8.0),),
    starts=((3.0,), (5.0,), (6.0,)),
    critical_points=(known_point((0.0,), 0.0, (1.0,)),),
    complete=True,
    formula="1 - exp(-x^2/2)",
    coercive=False,
)


BOWLS = (
    ILL_CONDITIONED_BOWL,
    QUADRATIC_BOWL_KAPPA_1E1,
    QUADRATIC_BOWL_KAPPA_1E4,
    BOOTH,
    MATYAS,
    GAUSSIAN_WELL,
    PLATEAU,
)
