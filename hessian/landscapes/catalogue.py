"""The distinct critical points of a search that goes on: each orbit once, with how often it was reached.

Two ends are one point where one, moved along the declared symmetries, lies beside the other: within the distance at
which points count as the same, and what rounding hides of either.

| name | what it is |
|---|---|
| `Ends` | where searches ended, as arrays of numpy with a row for each |
| `Catalogue` | the points, `Catalogue.place` finds or adds one |
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from hessian.symmetry.alignment import same_orbit
from hessian.symmetry.declared import Symmetries
from hessian.verdicts.classify import Kind
from hessian.verdicts.refinement import TOLERANCE
from hessian.verdicts.search import End

KINDS = (Kind.MINIMUM, Kind.MAXIMUM, Kind.SADDLE)


class Ends(NamedTuple):
    """Where searches ended, with a leading axis."""

    theta: np.ndarray  # (k, n)
    loss: np.ndarray  # (k,)
    eigenvalues: np.ndarray  # (k, n), ascending
    vectors: np.ndarray  # (k, m, n): the directions that are tried from a minimum, softest first
    doubt: np.ndarray  # (k, n), how far away the point may be
    converged: np.ndarray  # (k,) bool
    code: np.ndarray  # (k,), a `Kind`
    index: np.ndarray  # type: ignore[assignment]  # (k,)
    unexplained: np.ndarray  # (k,), eigenvalues without a sign that no symmetry explains
    flat: np.ndarray  # (k,), the dimension of the orbit
    gradient_norm: np.ndarray  # (k,)

    @property
    def accepted(self) -> np.ndarray:
        """Which are critical points of known index, nondegenerate across their orbit, shape (k,)."""
        known = np.isin(self.code, KINDS) & (self.unexplained == 0)
        return np.asarray(self.converged & known & np.isfinite(self.loss))

    def row(self, place: int) -> "Ends":
        """One of them, without the leading axis."""
        return Ends(*(column[place] for column in self))


def as_ends(found: End, vectors: Any) -> Ends:
    """The ends of a search as arrays of numpy."""
    point = found.point
    return Ends(
        *jax.tree.map(
            np.asarray,
            (
                found.theta,
                found.loss,
                found.eigenvalues,
                vectors,
                found.doubt,
                found.converged,
                point.code,
                point.index,
                point.unexplained,
                point.flat,
                point.gradient_norm,
            ),
        )
    )


class Catalogue:
    """The distinct points, in the order in which they were found."""

    def __init__(self, symmetries: Symmetries | None, like: Any, unit: float):
        """No point yet; `unit` is what a distance is measured against besides |theta|."""
        self.symmetries, self.like, self.unit = symmetries, like, unit
        self.points: list[Ends] = []
        self.found: list[int] = []

    def place(self, end: Ends) -> tuple[int, bool]:
        """The number of the point at which a search ended, and whether it is new."""
        double = end.theta.dtype == np.float64
        within = TOLERANCE[double] * (self.unit + np.abs(end.theta).max(initial=0))
        alike = [
            number
            for number, point in enumerate(self.points)
            if point.index == end.index and point.flat == end.flat and self._level(point, end, within)
        ]
        same = [number for number, is_same in zip(alike, self._same(alike, end, within), strict=True) if is_same]
        if same:
            self.found[same[0]] += 1
            return same[0], False
        self.points.append(end)
        self.found.append(1)
        return len(self.points) - 1, True

    def _level(self, point, end, within):
        """Whether the losses of the two could be that of one point."""
        far = within + np.linalg.norm(end.doubt) + np.linalg.norm(point.doubt)
        rounding = 1e4 * np.finfo(end.theta.dtype).eps * max(abs(point.loss), abs(end.loss))
        return abs(point.loss - end.loss) <= np.abs(end.eigenvalues).max() * far**2 + rounding

    def _same(self, numbers, end, within):
        if not numbers:
            return []
        rows = np.stack([self.points[number].theta for number in numbers])
        doubts = np.stack([self.points[number].doubt for number in numbers]) + end.doubt
        if self.symmetries is None:
            apart = np.maximum(np.abs(rows - end.theta) - doubts, 0)
            return (np.linalg.norm(apart, axis=1) <= within).tolist()
        far = within + float(np.linalg.norm(doubts, axis=1).max())
        return same_orbit(self.symmetries, self.like, rows, end.theta, far).tolist()
