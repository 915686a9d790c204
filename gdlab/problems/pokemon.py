"""Ten points and a line: the error surface behind most figures of the lectures (S1, S7, S32, S63).

    y = b + w x,    L(b, w) = sum_n (y_n - b - w x_n)^2,    Hessian = 2 [[n, sum x], [sum x, sum x^2]]

x and y are a Pokemon's combat power before and after it evolves.  L is a quadratic bowl with curvatures 5.57 and
1.75e6: descent drops into the valley at once and then hardly moves along it, from (-120, -4) to (-188.4, 2.67).
The contours of the figures show the mean, L / 10; the descent uses the sum.  float32 cannot hold these numbers
(squared gradients reach 1e14): enable x64.

| name | what it is |
|---|---|
| `pokemon()` | the points (x, y) |
| `pokemon_loss(params, data)` | the sum of squared errors at params = [b, w] |
| `POKEMON_START`, `POKEMON_OPTIMUM` | where descent starts, and (b, w) of least loss, exact to rounding |
| `POKEMON_CURVATURES`, `POKEMON_RATE_BOUND` | Hessian eigenvalues; beyond the rate 2 / lambda_max GD diverges |
| `POKEMON_BOX` | the window of the contour plots |
| `line_of_least_squares`, `curvatures` | the closed forms that those come from |

Source: H. Lee, Machine Learning, National Taiwan University 2017, the regression demonstration.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import jax
import jax.numpy as jnp

_BEFORE = (338, 333, 328, 207, 226, 25, 179, 60, 208, 606)
_AFTER = (640, 633, 619, 393, 428, 27, 193, 66, 226, 1591)


def line_of_least_squares(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """(b, w) of the line y = b + w x with the smallest sum of squared errors, exact up to the last rounding.

    Solves the normal equations  n b + w sum x = sum y,  b sum x + w sum x^2 = sum x y  in rational numbers.

    Raises:
        ValueError: when x and y differ in length, or all x are the same.

    >>> line_of_least_squares([0, 1, 2], [1, 3, 5])
    (1.0, 2.0)
    """
    if len(x) != len(y) or len(set(x)) < 2:
        msg = f"x and y must have the same length, with two distinct x; got lengths {len(x)} and {len(y)}"
        raise ValueError(msg)
    xs, ys = [Fraction(number) for number in x], [Fraction(number) for number in y]
    n, sum_x, sum_y = len(xs), sum(xs), sum(ys)
    sum_xx, sum_xy = sum(a * a for a in xs), sum(a * b for a, b in zip(xs, ys, strict=True))
    determinant = n * sum_xx - sum_x**2
    return float((sum_xx * sum_y - sum_x * sum_xy) / determinant), float((n * sum_xy - sum_x * sum_y) / determinant)


def curvatures(x: Sequence[float]) -> tuple[float, float]:
    """The eigenvalues of the Hessian 2 [[n, sum x], [sum x, sum x^2]], ascending; the data y do not matter.

    >>> curvatures([1, -1])  # 2 [[2, 0], [0, 2]]
    (4.0, 4.0)
    """
    n, sum_x, sum_xx = len(x), math.fsum(x), math.fsum(number * number for number in x)
    highest = n + sum_xx + math.hypot(n - sum_xx, 2 * sum_x)
    return 4 * (n * sum_xx - sum_x**2) / highest, highest  # by the determinant: their difference would cancel


POKEMON_START = (-120.0, -4.0)
POKEMON_OPTIMUM = line_of_least_squares(_BEFORE, _AFTER)
POKEMON_CURVATURES = curvatures(_BEFORE)
POKEMON_RATE_BOUND = 2 / POKEMON_CURVATURES[1]
POKEMON_BOX = ((-200.0, -100.0), (-5.0, 5.0))


def pokemon() -> tuple[jax.Array, jax.Array]:
    """The ten points: combat power before and after, (x, y), floating arrays of shape (10,).

    >>> x, y = pokemon()
    >>> float(x.sum()), float(y.sum())
    (2510.0, 4816.0)
    """
    return jnp.array(_BEFORE, dtype=float), jnp.array(_AFTER, dtype=float)


def pokemon_loss(params: jax.Array, data: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Sum_n (y_n - b - w x_n)^2, the SUM of squared errors (S1, S39).

    Args:
        params: [b, w], shape (2,).
        data: (x, y), each of shape (n,): `pokemon()` or any part of it.

    >>> x, y = jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0])
    >>> float(pokemon_loss(jnp.array([0.0, 1.0]), (x, y)))  # (3 - 1)^2 + (4 - 2)^2
    8.0
    """
    (b, w), (x, y) = params, data
    return jnp.sum((y - (b + w * x)) ** 2)
