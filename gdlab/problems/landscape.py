"""What is declared beside a loss: where one draws it, where one starts, and its known critical points.

    grad loss(x) = 0,    Hessian at x with eigenvalues  l_1 <= ... <= l_k,    index = number of l_i < 0

A loss is a plain function of one 1-D array; a `Surface` is that function with its declaration, read on the host
only.  Tables of points that have no closed form are in `known_points`.

| name | what it is |
|---|---|
| `KnownPoint` | one critical point: coordinates, value, Hessian eigenvalues, and what those tell |
| `Surface` | a loss with its source, window, start points and critical points |
| `known_point` | a `KnownPoint` from coordinates, value and eigenvalues |
| `arranged` | rows as points, by index and then by value |
| `mirrored` | rows and their images under x -> -x |
| `separable` | the points of a sum of one-dimensional losses |
| `coordinates` | theta as a 1-D floating array, or a ValueError that says what came |
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from gdlab.arguments import real_array

Loss = Callable[..., jax.Array]
Row = tuple[tuple[float, ...], float, tuple[float, ...]]  # coordinates, value, Hessian eigenvalues ascending


@dataclass(frozen=True)
class KnownPoint:
    """One critical point, rounded to the nearest float64."""

    x: tuple[float, ...]  # where it is
    value: float  # the loss there
    eigenvalues: tuple[float, ...]  # of the Hessian, ascending; an exact 0.0 is a true zero
    index: int  # how many eigenvalues are negative (Morse index)
    nullity: int  # how many are zero
    kind: str  # what the Hessian can tell: "minimum" | "maximum" | "saddle" | "degenerate"


@dataclass(frozen=True)
class Surface:
    """A loss with all that is known about it.

    `complete` means that no other critical point exists (inside `box` where the source says so).  It is False when
    critical points fill whole curves: then `critical_points` are samples of each.  `coercive` means that the loss
    grows without bound in every direction.  `starts` begins with typical points; where there is a saddle, one lies
    exactly on it, and the last lies on its stable manifold where that is a simple expression.
    """

    name: str  # its key in `surfaces`
    loss: Loss  # f(theta) -> scalar, theta of shape (dim,)
    dim: int
    source: str  # author and year, lecture items
    box: tuple[tuple[float, float], ...]  # (low, high) per coordinate, the window in which one draws it
    starts: tuple[tuple[float, ...], ...]
    critical_points: tuple[KnownPoint, ...]
    complete: bool
    formula: str
    coercive: bool


def known_point(x: Sequence[float], value: float, eigenvalues: Sequence[float]) -> KnownPoint:
    """The critical point with these coordinates, value and Hessian eigenvalues; the rest follows from their signs.

    Curvature of both signs is a saddle, whatever else is zero; otherwise one exact zero leaves it "degenerate".

    >>> point = known_point((0.0, 0.0), 1.0, (2.0, -2.0))  # (1 - w1 w2)^2 at the origin, S52
    >>> point.kind, point.index, point.nullity
    ('saddle', 1, 0)
    """
    ordered = tuple(sorted(float(number) for number in eigenvalues))
    index = sum(number < 0 for number in ordered)
    nullity = sum(number == 0 for number in ordered)
    if 0 < index < len(ordered) - nullity:
        kind = "saddle"
    elif nullity:
        kind = "degenerate"
    else:
        kind = "maximum" if index else "minimum"
    return KnownPoint(
        x=tuple(float(number) for number in x),
        value=float(value),
        eigenvalues=ordered,
        index=index,
        nullity=nullity,
        kind=kind,
    )


def arranged(rows: Iterable[Row]) -> tuple[KnownPoint, ...]:
    """Rows of (coordinates, value, eigenvalues) as points, by index and then by value."""
    points = [known_point(*row) for row in rows]
    return tuple(sorted(points, key=lambda point: (point.index, point.value)))


def mirrored(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows and, for each that is not at the origin, its image under x -> -x (for even losses)."""
    images = [(tuple(-c for c in x), value, eigenvalues) for x, value, eigenvalues in rows if any(x)]
    return (*rows, *images)


def separable(*axes: Sequence[Row]) -> tuple[KnownPoint, ...]:
    """The critical points of f_1(x_1) + ... + f_k(x_k) from the rows of each one-dimensional f_i.

    Every combination is critical; the values add up and the Hessian is diagonal.

    >>> well = [((-1.0,), 0.0, (8.0,)), ((0.0,), 1.0, (-4.0,)), ((1.0,), 0.0, (8.0,))]  # (x^2 - 1)^2
    >>> [point.index for point in separable(well, well)]
    [0, 0, 0, 0, 1, 1, 1, 1, 2]
    """
    return arranged(
        (
            tuple(row[0][0] for row in rows),
            sum(row[1] for row in rows),
            tuple(row[2][0] for row in rows),
        )
        for rows in itertools.product(*axes)
    )


def coordinates(theta: jax.Array, dim: int | None = None) -> jax.Array:
    """Theta as a 1-D floating array, of `dim` numbers if given; ValueError for any other shape."""
    theta = real_array("theta", theta)
    if theta.ndim != 1 or dim not in (None, theta.size):
        length = "" if dim is None else f" of {dim} number{'s' * (dim > 1)}"
        msg = f"theta must be a 1-D array{length}, got shape {theta.shape}; use jax.vmap for many points"
        raise ValueError(msg)
    return theta if jnp.issubdtype(theta.dtype, jnp.floating) else theta.astype(float)
