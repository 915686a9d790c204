"""The distinct critical points of a search that goes on: each orbit once, with how often it was reached.

Two ends are one point where one, moved along the declared symmetries, lies beside the other: within the distance at
which points count as the same, and what rounding hides of either.

| name | what it is |
|---|---|
| `Ends` | where searches ended, as arrays of numpy with a row for each |
| `Catalogue` | the points, `Catalogue.place` finds or adds one |
"""

import sys
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from hessian.symmetry.alignment import same_orbit
from hessian.symmetry.declared import Symmetries
from hessian.symmetry.multiplicity import multiplicity
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


class _Columns(NamedTuple):
    """What is compared first, with a row for each point and room for more."""

    loss: np.ndarray
    index: np.ndarray  # type: ignore[assignment]
    flat: np.ndarray
    doubt_norm: np.ndarray
    theta: np.ndarray
    doubt: np.ndarray

    @classmethod
    def room(cls, count: int, theta: np.ndarray) -> "_Columns":
        """Room for so many points like theta."""
        row = (0.0, 0, 0, 0.0, theta, theta)
        return cls(*(np.zeros((count, *np.shape(each)), np.asarray(each).dtype) for each in row))


class Catalogue:
    """The distinct points, in the order in which they were found."""

    def __init__(self, symmetries: Symmetries | None, like: Any, unit: float):
        """No point yet; `unit` is what a distance is measured against besides |theta|."""
        self.symmetries, self.like, self.unit = symmetries, like, unit
        self.points: list[Ends] = []
        self.found: list[int] = []
        self._columns = _Columns.room(64, np.asarray(ravel_pytree(like)[0]))

    def place(self, end: Ends) -> tuple[int, bool]:
        """The number of the point at which a search ended, and whether it is new."""
        within = self._within(end)
        same = self._same(self._alike(end, within), end, within)
        if len(same):
            self.found[same[0]] += 1
            return int(same[0]), False
        self._keep(end)
        self.points.append(end)
        self.found.append(1)
        return len(self.points) - 1, True

    def multiplicity(self, spot: int) -> float:
        """How many copies of a point the discrete symmetries make; NaN where it is not counted."""
        end = self.points[spot]
        far = self._within(end) + 2 * float(np.linalg.norm(end.doubt))
        count = multiplicity(self.symmetries, self.like, end.theta, far)
        # Python compares any whole number with a float of its own; NumPy's overflows.
        return np.nan if count is None else float(count) if count <= sys.float_info.max else np.inf

    def _within(self, end):
        """The distance at which points count as the same."""
        double = end.theta.dtype == np.float64
        return TOLERANCE[double] * (self.unit + np.abs(end.theta).max(initial=0))

    def _keep(self, end):
        count = len(self.points)
        if count == len(self._columns.loss):
            # Twice the room, so that a point costs no copy of all those before.
            room = _Columns.room(2 * count, end.theta)
            for new, old in zip(room, self._columns, strict=True):
                new[:count] = old
            self._columns = room
        row = (end.loss, end.index, end.flat, np.linalg.norm(end.doubt), end.theta, end.doubt)
        for column, each in zip(self._columns, row, strict=True):
            column[count] = each

    def _alike(self, end, within):
        """The numbers of the points of the same kind whose losses could be that of one point with the end."""
        known = _Columns(*(column[: len(self.points)] for column in self._columns))
        far = within + np.linalg.norm(end.doubt) + known.doubt_norm
        rounding = 1e4 * np.finfo(end.theta.dtype).eps * np.maximum(np.abs(known.loss), np.abs(end.loss))
        level = np.abs(known.loss - end.loss) <= np.abs(end.eigenvalues).max() * far**2 + rounding
        return np.flatnonzero(level & (known.index == end.index) & (known.flat == end.flat))

    def _same(self, numbers, end, within):
        """Those of the points that are one with the end."""
        if not len(numbers):
            return numbers
        rows, doubts = self._columns.theta[numbers], self._columns.doubt[numbers] + end.doubt
        if self.symmetries is None:
            apart = np.maximum(np.abs(rows - end.theta) - doubts, 0)
            return numbers[np.linalg.norm(apart, axis=1) <= within]
        far = within + float(np.linalg.norm(doubts, axis=1).max())
        return numbers[same_orbit(self.symmetries, self.like, rows, end.theta, far)]
