"""Named test functions of many valleys, with saddles between them and tops among them.

Every function takes one point theta, a floating array of shape (k,), and returns a scalar of its dtype; many points
go through `jax.vmap`.  Beside each stands its declaration, with all its critical points.

| function | k | what it is good for |
|---|---|---|
| `himmelblau` | 2 | 4 minima, 4 saddles, 1 maximum |
| `six_hump_camel`, `three_hump_camel` | 2 | even losses: the origin is a saddle, or the minimum |
| `dixon_price` | any | minima in pairs; an axis is the stable manifold of the saddle |
| `goldstein_price` | 2 | values over six orders of magnitude |
| `wolfe_quapp` | 2 | 3 minima, 3 saddles, 1 maximum, no symmetry |
| `mueller_brown` | 2 | a reaction path: minima joined by saddles, badly scaled |
"""

import jax
import jax.numpy as jnp

from gdlab.problems import known_points as known
from gdlab.problems.landscape import Surface, arranged, coordinates


def himmelblau(theta: jax.Array) -> jax.Array:
    """(x^2 + y - 11)^2 + (x + y^2 - 7)^2, theta = (x, y) (Himmelblau 1972; S53).

    >>> float(himmelblau(jnp.array([3.0, 2.0])))
    0.0
    """
    x, y = coordinates(theta, 2)
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


HIMMELBLAU = Surface(
    name="himmelblau",
    loss=himmelblau,
    dim=2,
    source="Himmelblau 1972, Applied Nonlinear Programming",
    box=((-5.0, 5.0), (-5.0, 5.0)),
    starts=((0.0, 0.0), (-1.0, -4.0), (3.385154183607021, 0.07385187983774928)),
    critical_points=arranged(known.HIMMELBLAU),
    complete=True,
    formula="(x^2 + y - 11)^2 + (x + y^2 - 7)^2",
    coercive=True,
)


def six_hump_camel(theta: jax.Array) -> jax.Array:
    """(4 - 2.1 x^2 + x^4/3) x^2 + x y + (4 y^2 - 4) y^2, theta = (x, y) (Dixon & Szego 1978; S53).

    >>> round(float(six_hump_camel(jnp.array([1.0, 1.0]))), 4)  # 2.2333 + 1 + 0
    3.2333
    """
    x, y = coordinates(theta, 2)
    return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2


SIX_HUMP_CAMEL = Surface(
    name="six_hump_camel",
    loss=six_hump_camel,
    dim=2,
    source="Dixon & Szego 1978, Towards Global Optimisation 2",
    box=((-2.0, 2.0), (-1.1, 1.1)),
    starts=((1.5, 0.5), (-1.0, 0.3), (0.0, 0.0)),
    critical_points=arranged(known.SIX_HUMP_CAMEL),
    complete=True,
    formula="(4 - 2.1 x^2 + x^4/3) x^2 + x y + (4 y^2 - 4) y^2",
    coercive=True,
)


def three_hump_camel(theta: jax.Array) -> jax.Array:
    """2 x^2 - 1.05 x^4 + x^6/6 + x y + y^2, theta = (x, y) (Jamil & Yang 2013, number 29; S61).

    >>> round(float(three_hump_camel(jnp.array([1.0, 1.0]))), 4)  # 0.95 + 1/6 + 2
    3.1167
    """
    x, y = coordinates(theta, 2)
    return 2 * x**2 - 1.05 * x**4 + x**6 / 6 + x * y + y**2


THREE_HUMP_CAMEL = Surface(
    name="three_hump_camel",
    loss=three_hump_camel,
    dim=2,
    source="Jamil & Yang 2013, A literature survey of benchmark functions, number 29",
    box=((-2.2, 2.2), (-2.2, 2.2)),
    starts=((1.5, 1.5), (-2.0, -1.0), (1.07054229182366, -0.53527114591183)),
    critical_points=arranged(known.THREE_HUMP_CAMEL),
    complete=True,
    formula="2 x^2 - 1.05 x^4 + x^6/6 + x y + y^2",
    coercive=True,
)


def dixon_price(theta: jax.Array) -> jax.Array:
    """(x_1 - 1)^2 + sum_{i>=2} i (2 x_i^2 - x_{i-1})^2, theta of shape (k,) (Dixon & Price 1989; S57).

    >>> float(dixon_price(jnp.array([1.0, 1.0])))  # 0 + 2 (2 - 1)^2
    2.0
    """
    x = coordinates(theta)
    i = jnp.arange(2, x.size + 1, dtype=x.dtype)
    return (x[0] - 1) ** 2 + jnp.sum(i * (2 * x[1:] ** 2 - x[:-1]) ** 2)


DIXON_PRICE_2D = Surface(
    name="dixon_price_2d",
    loss=dixon_price,
    dim=2,
    source="Dixon & Price 1989, Journal of Optimization Theory and Applications 60",
    box=((-2.0, 2.0), (-1.5, 1.5)),
    starts=((-1.0, 1.0), (1 / 3, 0.0), (1.0, 0.0)),
    critical_points=arranged(known.DIXON_PRICE_2D),
    complete=True,
    formula="(x - 1)^2 + 2 (2 y^2 - x)^2",
    coercive=True,
)


def goldstein_price(theta: jax.Array) -> jax.Array:
    """(1 + (s + 1)^2 (3 s^2 - 14 s + 19)) (30 + t^2 (3 t^2 - 16 t + 18)), s = x + y, t = 2 x - 3 y.

    A product of two positive quartics (Goldstein & Price 1971), written here in the variables that separate it: its
    critical points are the nine pairs of s in {-1, 1, 2} and t in {0, 1, 3}.  Theta = (x, y).

    >>> float(goldstein_price(jnp.array([0.0, -1.0])))  # s = -1, t = 3
    3.0
    """
    x, y = coordinates(theta, 2)
    s, t = x + y, 2 * x - 3 * y
    return (1 + (s + 1) ** 2 * (3 * s**2 - 14 * s + 19)) * (30 + t**2 * (3 * t**2 - 16 * t + 18))


GOLDSTEIN_PRICE = Surface(
    name="goldstein_price",
    loss=goldstein_price,
    dim=2,
    source="Goldstein & Price 1971, On descent from local minima",
    box=((-2.0, 2.0), (-2.0, 2.0)),
    starts=((1.0, 1.0), (-1.0, -1.5), (-0.4, -0.6)),
    critical_points=arranged(known.GOLDSTEIN_PRICE),
    complete=True,
    formula="(1 + (s + 1)^2 (3 s^2 - 14 s + 19)) (30 + t^2 (3 t^2 - 16 t + 18)), s = x + y, t = 2 x - 3 y",
    coercive=True,
)


def wolfe_quapp(theta: jax.Array) -> jax.Array:
    """x^4 + y^4 - 2 x^2 - 4 y^2 + x y + 0.3 x + 0.1 y, theta = (x, y) (Wolfe et al. 1975, Quapp 2005; S53).

    >>> round(float(wolfe_quapp(jnp.array([1.0, -1.0]))), 4)  # 1 + 1 - 2 - 4 - 1 + 0.3 - 0.1
    -4.8
    """
    x, y = coordinates(theta, 2)
    return x**4 + y**4 - 2 * x**2 - 4 * y**2 + x * y + 0.3 * x + 0.1 * y


WOLFE_QUAPP = Surface(
    name="wolfe_quapp",
    loss=wolfe_quapp,
    dim=2,
    source="Wolfe et al. 1975; Quapp 2005, Journal of Chemical Physics 122",
    box=((-2.0, 2.0), (-2.0, 2.0)),
    starts=((0.0, 1.0), (1.8, 0.0), (-0.3032105577484368, -1.4013375886000126)),
    critical_points=arranged(known.WOLFE_QUAPP),
    complete=True,
    formula="x^4 + y^4 - 2 x^2 - 4 y^2 + x y + 0.3 x + 0.1 y",
    coercive=True,
)


# Amplitude A, the exponents a, b, c of dx^2, dx dy, dy^2, and the centre, of each of the four terms.
_MUELLER_BROWN_TERMS = (
    (-200.0, -1.0, 0.0, -10.0, 1.0, 0.0),
    (-100.0, -1.0, 0.0, -10.0, 0.0, 0.5),
    (-170.0, -6.5, 11.0, -6.5, -0.5, 1.5),
    (15.0, 0.7, 0.6, 0.7, -1.0, 1.0),
)


def mueller_brown(theta: jax.Array) -> jax.Array:
    """Sum of four A exp(a dx^2 + b dx dy + c dy^2), theta = (x, y) (Mueller & Brown 1979; S53).

    >>> round(float(mueller_brown(jnp.array([-0.558, 1.442]))), 2)  # the lowest published minimum
    -146.7
    """
    x, y = coordinates(theta, 2)
    loss = jnp.zeros((), x.dtype)
    for amplitude, a, b, c, x0, y0 in _MUELLER_BROWN_TERMS:
        dx, dy = x - x0, y - y0
        loss += amplitude * jnp.exp(a * dx**2 + b * dx * dy + c * dy**2)
    return loss


MUELLER_BROWN = Surface(
    name="mueller_brown",
    loss=mueller_brown,
    dim=2,
    source="Mueller & Brown 1979, Theoretica Chimica Acta 53",
    box=((-1.5, 1.2), (-0.2, 2.0)),
    starts=((-0.75, 0.55), (0.0, 1.0), (-0.8220015587327321, 0.6243128028148713)),
    critical_points=arranged(known.MUELLER_BROWN),
    complete=True,
    formula="sum of four A exp(a (x - p)^2 + b (x - p) (y - q) + c (y - q)^2)",
    coercive=True,
)


CLASSICS = (
    HIMMELBLAU,
    SIX_HUMP_CAMEL,
    THREE_HUMP_CAMEL,
    DIXON_PRICE_2D,
    GOLDSTEIN_PRICE,
    WOLFE_QUAPP,
    MUELLER_BROWN,
)
