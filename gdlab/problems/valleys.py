"""Valleys that are hard to follow, to stay in or to choose between.

Every function takes one point theta, a floating array of shape (k,), and returns a scalar of its dtype; many points
go through `jax.vmap`.  Beside each stands its declaration, with all its critical points.

| function | k | what it is good for |
|---|---|---|
| `rosenbrock` | any > 1 | a crescent; from k = 4 a second minimum close to a saddle |
| `beale` | 2 | a flat ray on which descent runs off to infinity |
| `tilted_double_well` | 1 | a lower and a higher minimum |
| `hills` | 1 | momentum rolls over local minima |
"""

import jax
import jax.numpy as jnp

from gdlab.problems import known_points as known
from gdlab.problems.landscape import Surface, arranged, coordinates


def rosenbrock(theta: jax.Array) -> jax.Array:
    """Sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2, theta of shape (k,), k >= 2 (Rosenbrock 1960; S79).

    The crescent of the lectures, and one of its coupled forms for more dimensions (Kok & Sandrock 2009).

    >>> float(rosenbrock(jnp.array([2.0, 3.0])))  # 100 (3 - 4)^2 + (1 - 2)^2
    101.0
    """
    x = coordinates(theta)
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def _rosenbrock(rows, box, starts):
    return Surface(
        name=f"rosenbrock_{len(box)}d",
        loss=rosenbrock,
        dim=len(box),
        source="Rosenbrock 1960, Computer Journal 3; all points: Kok & Sandrock 2009, Evolutionary Computation 17(3)",
        box=box,
        starts=starts,
        critical_points=arranged(rows),
        complete=True,
        formula="sum_i 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2",
        coercive=True,
    )


ROSENBROCK_2D = _rosenbrock(known.ROSENBROCK_2D, ((-2.0, 2.0), (-1.0, 3.0)), ((-1.2, 1.0), (0.0, 0.0)))
ROSENBROCK_3D = _rosenbrock(known.ROSENBROCK_3D, ((-2.0, 2.0),) * 3, ((-1.2, 1.0, 1.0), (0.0, 0.0, 0.0)))
ROSENBROCK_4D = _rosenbrock(
    known.ROSENBROCK_4D,
    ((-2.0, 2.0),) * 4,
    (
        (-1.2, 1.0, -1.2, 1.0),
        (0.0, 0.0, 0.0, 0.0),
        (-0.6561246357194459, 0.44312004097157237, 0.20431224822836433, 0.041743494776128764),
    ),
)


def beale(theta: jax.Array) -> jax.Array:
    """Sum over i = 1, 2, 3 of (c_i - x + x y^i)^2, c = (1.5, 2.25, 2.625), theta = (x, y) (Beale 1958; S61).

    On the whole line y = 1 the value is 14.203125: the loss is not coercive, and descent can run off along it.

    >>> float(beale(jnp.array([3.0, 0.5])))
    0.0
    """
    x, y = coordinates(theta, 2)
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


BEALE = Surface(
    name="beale",
    loss=beale,
    dim=2,
    source="Beale 1958, On an iterative method for finding a local minimum",
    box=((-4.5, 4.5), (-4.5, 4.5)),
    starts=((1.0, 1.5), (1.0, -3.0), (0.0, 1.0)),
    critical_points=arranged(known.BEALE),
    complete=True,
    formula="(1.5 - x + x y)^2 + (2.25 - x + x y^2)^2 + (2.625 - x + x y^3)^2",
    coercive=False,
)


def tilted_double_well(theta: jax.Array) -> jax.Array:
    """x^4/4 - x^2/2 + x/10, theta = (x,): does the loss fall with every update? (S10, S61).

    >>> round(float(tilted_double_well(jnp.array([1.0]))), 4)  # 0.25 - 0.5 + 0.1
    -0.15
    """
    (x,) = coordinates(theta, 1)
    return x**4 / 4 - x**2 / 2 + 0.1 * x


TILTED_DOUBLE_WELL = Surface(
    name="tilted_double_well",
    loss=tilted_double_well,
    dim=1,
    source="elementary; S10",
    box=((-2.0, 2.0),),
    starts=((1.5,), (-1.5,)),
    critical_points=arranged(known.TILTED_DOUBLE_WELL),
    complete=True,
    formula="x^4/4 - x^2/2 + x/10",
    coercive=True,
)


def hills(theta: jax.Array) -> jax.Array:
    """0.6 cos(1.5 x) + 0.05 (x - 6)^2, theta = (x,): valleys that enough momentum rolls through (S75, S76).

    >>> round(float(hills(jnp.array([0.0]))), 4)  # 0.6 + 0.05 * 36
    2.4
    """
    (x,) = coordinates(theta, 1)
    return 0.6 * jnp.cos(1.5 * x) + 0.05 * (x - 6) ** 2


HILLS = Surface(
    name="hills",
    loss=hills,
    dim=1,
    source="S75",
    box=((-4.0, 16.0),),
    starts=((-3.0,), (15.0,)),
    critical_points=arranged(known.HILLS),
    complete=True,
    formula="0.6 cos(1.5 x) + 0.05 (x - 6)^2",
    coercive=True,
)

VALLEYS = (ROSENBROCK_2D, ROSENBROCK_3D, ROSENBROCK_4D, BEALE, TILTED_DOUBLE_WELL, HILLS)
