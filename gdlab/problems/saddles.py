"""Elementary saddles: the plainest of each kind, those the Hessian shows and those it cannot see.

Every function takes one point theta, a floating array of shape (k,), and returns a scalar of its dtype; many points
go through `jax.vmap`.  Beside each stands its declaration.

| function | k | at the origin | Hessian there |
|---|---|---|---|
| `classical_saddle` | 2 | saddle, unbounded below | 10, -2 |
| `double_well_quadratic`, `quadratic_saddle_quartic` | any | saddle between two minima | 1, ..., -1 |
| `mexican_hat` | any | maximum, in a ring of minima | -4, ..., -4 |
| `quartic_min` | 2 | minimum | 0, 2 |
| `quartic_saddle` | 2 | saddle | 0, 2 |
| `cubic_fold` | 2 | neither: x falls through | 0, 2 |
| `peano` | 2 | saddle, though a minimum on every line | 0, 2 |
| `monkey_saddle` | 2 | saddle of three valleys | 0, 0 |
| `real_part_z4` | 2 | saddle of four valleys | 0, 0 |

Four of them share one Hessian and are four different things: "degenerate" is all that curvature can say.
"""

import jax
import jax.numpy as jnp

from gdlab.problems.landscape import Surface, arranged, coordinates, known_point


def classical_saddle(theta: jax.Array) -> jax.Array:
    """5 x^2 - y^2, theta = (x, y) (Dauphin et al. 2014, figure 2; S57).

    >>> float(classical_saddle(jnp.array([1.0, 2.0])))
    1.0
    """
    x, y = coordinates(theta, 2)
    return 5 * x**2 - y**2


CLASSICAL_SADDLE = Surface(
    name="classical_saddle",
    loss=classical_saddle,
    dim=2,
    source="Dauphin et al. 2014, arXiv:1406.2572, figure 2",
    box=((-2.0, 2.0), (-2.0, 2.0)),
    starts=((1.0, 0.001), (0.0, 0.0), (1.0, 0.0)),
    critical_points=(known_point((0.0, 0.0), 0.0, (-2.0, 10.0)),),
    complete=True,
    formula="5 x^2 - y^2",
    coercive=False,
)


def double_well_quadratic(theta: jax.Array) -> jax.Array:
    """x_1^4/4 - x_1^2/2 + 1/2 sum_{i>=2} x_i^2, theta of shape (k,) (S57).

    From (0, t) the gradient stays orthogonal to the way out: descent, momentum and Newton go to the saddle.

    >>> float(double_well_quadratic(jnp.array([1.0, 0.0])))
    -0.25
    """
    x = coordinates(theta)
    return x[0] ** 4 / 4 - x[0] ** 2 / 2 + 0.5 * jnp.sum(x[1:] ** 2)


DOUBLE_WELL_QUADRATIC = Surface(
    name="double_well_quadratic",
    loss=double_well_quadratic,
    dim=2,
    source="elementary",
    box=((-2.0, 2.0), (-1.5, 1.5)),
    starts=((0.1, 1.0), (0.0, 0.0), (0.0, 0.7)),
    critical_points=arranged(
        (
            ((-1.0, 0.0), -0.25, (1.0, 2.0)),
            ((1.0, 0.0), -0.25, (1.0, 2.0)),
            ((0.0, 0.0), 0.0, (-1.0, 1.0)),
        )
    ),
    complete=True,
    formula="x^4/4 - x^2/2 + y^2/2",
    coercive=True,
)


def quadratic_saddle_quartic(theta: jax.Array) -> jax.Array:
    """x_k^4/4 - x_k^2/2 + 1/2 sum_{i<k} x_i^2, theta of shape (k,): `double_well_quadratic` with renamed variables.

    >>> float(quadratic_saddle_quartic(jnp.array([0.0, 1.0])))
    -0.25
    """
    x = coordinates(theta)
    return x[-1] ** 4 / 4 - x[-1] ** 2 / 2 + 0.5 * jnp.sum(x[:-1] ** 2)


QUADRATIC_SADDLE_QUARTIC = Surface(
    name="quadratic_saddle_quartic",
    loss=quadratic_saddle_quartic,
    dim=2,
    source="elementary",
    box=((-1.5, 1.5), (-2.0, 2.0)),
    starts=((1.0, 0.1), (0.0, 0.0), (0.7, 0.0)),
    critical_points=arranged(
        (
            ((0.0, -1.0), -0.25, (1.0, 2.0)),
            ((0.0, 1.0), -0.25, (1.0, 2.0)),
            ((0.0, 0.0), 0.0, (-1.0, 1.0)),
        )
    ),
    complete=True,
    formula="x^2/2 - y^2/2 + y^4/4",
    coercive=True,
)


def mexican_hat(theta: jax.Array) -> jax.Array:
    """(sum_i x_i^2 - 1)^2, theta of shape (k,): a maximum whose every direction leads down to a ring (S55).

    The lowest eigenvalue at the origin is as many times there as there are dimensions: compare subspaces, not vectors.

    >>> float(mexican_hat(jnp.array([0.0, 0.0]))), float(mexican_hat(jnp.array([0.0, -1.0])))
    (1.0, 0.0)
    """
    x = coordinates(theta)
    return (jnp.sum(x**2) - 1) ** 2


MEXICAN_HAT = Surface(
    name="mexican_hat",
    loss=mexican_hat,
    dim=2,
    source="Goldstone 1961, Nuovo Cimento 19",
    box=((-1.6, 1.6), (-1.6, 1.6)),
    starts=((1.5, 0.5), (0.1, -0.05), (0.0, 0.0)),
    critical_points=arranged(
        (
            ((1.0, 0.0), 0.0, (0.0, 8.0)),
            ((0.0, 1.0), 0.0, (0.0, 8.0)),
            ((-1.0, 0.0), 0.0, (0.0, 8.0)),
            ((-0.6, 0.8), 0.0, (0.0, 8.0)),
            ((0.0, 0.0), 1.0, (-4.0, -4.0)),
        )
    ),
    complete=False,
    formula="(x^2 + y^2 - 1)^2",
    coercive=True,
)


def _degenerate(loss, formula, source, curvature, starts, *, coercive=False):
    return Surface(
        name=loss.__name__,
        loss=loss,
        dim=2,
        source=source,
        box=((-2.0, 2.0), (-2.0, 2.0)),
        starts=starts,
        critical_points=(known_point((0.0, 0.0), 0.0, (0.0, curvature)),),
        complete=True,
        formula=formula,
        coercive=coercive,
    )


def quartic_min(theta: jax.Array) -> jax.Array:
    """y^2 + x^4, theta = (x, y): a minimum that the Hessian cannot show (S55).

    >>> float(quartic_min(jnp.array([2.0, 1.0])))
    17.0
    """
    x, y = coordinates(theta, 2)
    return y**2 + x**4


QUARTIC_MIN = _degenerate(quartic_min, "y^2 + x^4", "elementary", 2.0, ((1.0, 1.0), (0.0, 0.0)), coercive=True)


def quartic_saddle(theta: jax.Array) -> jax.Array:
    """y^2 - x^4, theta = (x, y): a saddle without negative curvature (S55).

    >>> float(quartic_saddle(jnp.array([1.0, 2.0])))
    3.0
    """
    x, y = coordinates(theta, 2)
    return y**2 - x**4


QUARTIC_SADDLE = _degenerate(quartic_saddle, "y^2 - x^4", "elementary", 2.0, ((0.1, 1.0), (0.0, 0.0), (0.0, 1.0)))


def cubic_fold(theta: jax.Array) -> jax.Array:
    """x^3 + y^2, theta = (x, y): descent arrives from x > 0 and would have to go on to x < 0 (S55).

    >>> float(cubic_fold(jnp.array([-1.0, 2.0])))
    3.0
    """
    x, y = coordinates(theta, 2)
    return x**3 + y**2


CUBIC_FOLD = _degenerate(cubic_fold, "x^3 + y^2", "elementary", 2.0, ((-0.1, 1.0), (0.0, 0.0), (1.0, 0.5)))


def peano(theta: jax.Array) -> jax.Array:
    """(y - x^2) (y - 2 x^2), theta = (x, y): a minimum on every line through 0, yet no minimum (Peano 1884; S55).

    Between the two parabolas the loss is negative.

    >>> float(peano(jnp.array([1.0, 1.5])))  # 0.5 * (-0.5)
    -0.25
    """
    x, y = coordinates(theta, 2)
    return (y - x**2) * (y - 2 * x**2)


PEANO = _degenerate(peano, "(y - x^2) (y - 2 x^2)", "Genocchi & Peano 1884", 2.0, ((0.5, 1.0), (0.0, 0.0), (0.0, 1.0)))


def monkey_saddle(theta: jax.Array) -> jax.Array:
    """x^3 - 3 x y^2, the real part of (x + i y)^3, theta = (x, y) (Dauphin et al. 2014, figure 2; S57).

    >>> float(monkey_saddle(jnp.array([1.0, 1.0])))
    -2.0
    """
    x, y = coordinates(theta, 2)
    return x**3 - 3 * x * y**2


MONKEY_SADDLE = _degenerate(
    monkey_saddle,
    "x^3 - 3 x y^2",
    "Dauphin et al. 2014, arXiv:1406.2572, figure 2",
    0.0,
    ((0.5, 0.1), (0.0, 0.0), (1.0, 0.0)),
)


def real_part_z4(theta: jax.Array) -> jax.Array:
    """x^4 - 6 x^2 y^2 + y^4, the real part of (x + i y)^4, theta = (x, y) (S57).

    >>> float(real_part_z4(jnp.array([1.0, 1.0])))
    -4.0
    """
    x, y = coordinates(theta, 2)
    return x**4 - 6 * x**2 * y**2 + y**4


REAL_PART_Z4 = _degenerate(
    real_part_z4, "x^4 - 6 x^2 y^2 + y^4", "elementary", 0.0, ((0.5, 0.1), (0.0, 0.0), (1.0, 0.0))
)

SADDLES = (
    CLASSICAL_SADDLE,
    DOUBLE_WELL_QUADRATIC,
    QUADRATIC_SADDLE_QUARTIC,
    MEXICAN_HAT,
    QUARTIC_MIN,
    QUARTIC_SADDLE,
    CUBIC_FOLD,
    PEANO,
    MONKEY_SADDLE,
    REAL_PART_Z4,
)
