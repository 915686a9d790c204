"""Test problems of the optimisation literature: sums of squares and others, each with the start its authors give.

More, Garbow & Hillstrom 1981 (ACM Trans. Math. Softw. 7), and from CUTEst (Gould, Orban & Toint 2015) some whose
Hessian changes its signs.  A problem is a function of one vector; `PROBLEMS` holds it with its start.
"""

import jax.numpy as jnp
import numpy as np


def squares(residuals):
    """The loss that is the sum of the squares of the residuals."""
    return lambda x: jnp.sum(residuals(x) ** 2)


def freudenstein_roth(x):
    a, b = x
    return jnp.stack([-13 + a + ((5 - b) * b - 2) * b, -29 + a + ((b + 1) * b - 14) * b])


def beale(x):
    return jnp.array([1.5, 2.25, 2.625]) - x[0] * (1 - x[1] ** jnp.arange(1, 4))


def box_3d(x):
    t = 0.1 * jnp.arange(1, 11)
    return jnp.exp(-t * x[0]) - jnp.exp(-t * x[1]) - x[2] * (jnp.exp(-t) - jnp.exp(-10 * t))


def wood(x):
    a, b, c, d = x
    return (
        100 * (b - a**2) ** 2 + (1 - a) ** 2 + 90 * (d - c**2) ** 2 + (1 - c) ** 2
        + 10 * (b + d - 2) ** 2 + 0.1 * (b - d) ** 2
    )  # fmt: skip


def biggs_exp6(x):
    t = 0.1 * jnp.arange(1, 14)
    y = jnp.exp(-t) - 5 * jnp.exp(-10 * t) + 3 * jnp.exp(-4 * t)
    return x[2] * jnp.exp(-t * x[0]) - x[3] * jnp.exp(-t * x[1]) + x[5] * jnp.exp(-t * x[4]) - y


def kowalik_osborne(x):
    y = jnp.array([0.1957, 0.1947, 0.1735, 0.16, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235, 0.0246])
    u = jnp.array([4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625])
    return y - x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])


def trigonometric(x):
    i = jnp.arange(1, x.size + 1)
    return x.size - jnp.sum(jnp.cos(x)) + i * (1 - jnp.cos(x)) - jnp.sin(x)


def brown_almost_linear(x):
    return jnp.append(x[:-1] + jnp.sum(x) - (x.size + 1), jnp.prod(x) - 1)


def broyden_tridiagonal(x):
    left, right = jnp.append(0.0, x[:-1]), jnp.append(x[1:], 0.0)
    return (3 - 2 * x) * x - left - 2 * right + 1


def broydn7d(x):
    """A sum of powers 7/3 of smooth residuals; twice differentiable, its third derivative is not bounded."""
    half = x.size // 2
    left, right = jnp.append(0.0, x[:-1]), jnp.append(x[1:], 0.0)
    small = jnp.abs((3 - 2 * x) * x - left - 2 * right + 1) ** (7 / 3)
    return jnp.sum(small) + jnp.sum(jnp.abs(x[:half] + x[half:]) ** (7 / 3))


def chebyquad(x):
    y, n = 2 * x - 1, x.size
    before, now, rows = jnp.ones_like(y), y, []
    for i in range(1, n + 1):
        rows.append(jnp.mean(now) + (1 / (i**2 - 1) if i % 2 == 0 else 0.0))
        before, now = now, 2 * y * now - before
    return jnp.stack(rows)


def rosenbrock_chain(x):
    """GENROSE."""
    return 1 + jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (x[1:] - 1) ** 2)


def hairy(x):
    a, b = x
    return (
        30 * jnp.sin(7 * a) ** 2 * jnp.cos(7 * b) ** 2
        + 100 * jnp.sqrt(0.01 + (a - b) ** 2)
        + 100 * jnp.sqrt(0.01 + a**2)
    )


def humps(x):
    return jnp.sum(0.05 * x**2) + jnp.sin(20 * x[0]) ** 2 * jnp.sin(20 * x[1]) ** 2


def schmidt_vetters(x):
    a, b, c = x[:-2], x[1:-1], x[2:]
    return jnp.sum(-1 / (1 + (a - b) ** 2) - jnp.sin((jnp.pi * b + c) / 2) - jnp.exp(-(((a + c) / b - 2) ** 2)))


def denschn_c(x):
    return jnp.stack([x[0] ** 2 + x[1] ** 2 - 2, jnp.exp(x[0] - 1) + x[1] ** 3 - 2])


def double_chain(x):
    """A chain of particles, each in two wells, held together by springs (Allen & Cahn)."""
    return jnp.sum((x**2 - 1) ** 2) / 4 + 0.2 * jnp.sum((x[1:] - x[:-1]) ** 2)


def starting(*x):
    return np.array(x, float)


PROBLEMS = {
    "freudenstein_roth": (squares(freudenstein_roth), starting(0.5, -2)),
    "beale": (squares(beale), starting(1, 1)),
    "hairy": (hairy, starting(-5, -7)),
    "humps": (humps, starting(-2, 2)),
    "denschn_c": (squares(denschn_c), starting(2, 3)),
    "box_3d": (squares(box_3d), starting(0, 10, 20)),
    "wood": (wood, starting(-3, -1, -3, -1)),
    "kowalik_osborne": (squares(kowalik_osborne), starting(0.25, 0.39, 0.415, 0.39)),
    "biggs_exp6": (squares(biggs_exp6), starting(1, 2, 1, 1, 1, 1)),
    "trigonometric_8": (squares(trigonometric), np.full(8, 1 / 8)),
    "brown_almost_linear_6": (squares(brown_almost_linear), np.full(6, 0.5)),
    "chebyquad_8": (squares(chebyquad), np.arange(1, 9) / 9),
    "broyden_tridiagonal_10": (squares(broyden_tridiagonal), np.full(10, -1.0)),
    "broydn7d_10": (broydn7d, np.ones(10)),
    "schmidt_vetters_10": (schmidt_vetters, np.full(10, 0.5)),
    "rosenbrock_chain_10": (rosenbrock_chain, np.arange(1, 11) / 11),
    "double_chain_12": (double_chain, np.linspace(-0.9, 1.1, 12)),
}
