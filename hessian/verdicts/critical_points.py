"""The distinct critical points among the ends of a search, as a table: each once, with the starts that led there.

Two ends are one point where they are closer than `separation`, beyond what rounding hides of either.

| name | what it is |
|---|---|
| `CriticalPoints` | the table: points, how often each was found, and how each start ended |
| `SearchOutcome` | how a start can end |
| `listed` | the table of the ends of a search |
| `orbits` | the table with the points of one orbit as one |
"""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gdlab.ground.results import Floats, Integers, Words, result
from hessian.precision import Tree
from hessian.product import Params
from hessian.results import Outcome
from hessian.symmetry.alignment import same_orbit
from hessian.symmetry.declared import Symmetries
from hessian.verdicts.classify import Kind
from hessian.verdicts.refinement import TOLERANCE

PER_POINT = ("loss", "code", "index", "nullity", "gradient_norm", "eigenvalues", "family", "flat")
HEAD = ("", "kind", "index", "loss", "|g|", "found", "lowest", "highest")
FLAT = 1e-2  # |H g| below this share of |H| |g| is called gradient flat


class SearchOutcome(Outcome):
    """How one start of a search ended."""

    CRITICAL = "critical"
    GRADIENT_FLAT = "gradient flat: H g = 0 but g is not"
    NOT_CONVERGED = "not converged"
    NOT_FINITE = "not finite"


@result
class CriticalPoints(NamedTuple, Generic[Tree]):
    """The distinct critical points, by index and then by loss, with k rows; arrays of numpy."""

    params: Tree  # like the starts, k rows
    loss: Floats  # (k,)
    code: Integers  # (k,), the kind as an integer: a `hessian.Kind`
    index: Integers  # type: ignore[assignment]  # (k,), Morse index
    nullity: Integers  # (k,), eigenvalues without a certain sign
    gradient_norm: Floats  # (k,)
    eigenvalues: Floats  # (k, n), ascending
    found: Integers  # (k,), how many starts ended there
    family: Integers  # (k,), the same for points of equal loss and index: one critical set each, as a rule
    reached: Integers  # (starts,), the row that each start ended at, or -1
    ended: Integers  # (starts,), how each start ended, as an integer: a `hessian.SearchOutcome`
    separation: float  # points closer than this are the same; the largest of those along the coordinates
    flat: Integers  # (k,), how many directions of the nullity the declared symmetries explain: the orbit's dimension

    @property
    def kind(self) -> Words:
        """The kinds in words, shape (k,)."""
        return np.asarray(Kind.words_of(self.code))

    @property
    def families(self) -> int:
        """How many different pairs of loss and index there are."""
        return len(set(self.family.tolist()))

    @property
    def euler_characteristic(self) -> int | None:
        """The sum of (-1)^index, which is 1 where the loss grows in every direction and no point is missing.

        None where a point is degenerate, as Poincare and Hopf count isolated ones only.
        """
        return None if self.nullity.any() else int(np.sum((-1) ** self.index))

    @property
    def missing_mass(self) -> float:
        """The probability that one more start leads to a new point, by the share of those found once (Good 1953).

        NaN where no start arrived.
        """
        arrived = int(self.found.sum())
        return float(np.sum(self.found == 1) / arrived) if arrived else float("nan")

    @property
    def unseen(self) -> float:
        """How many points are missing at least, estimated from those found once and twice (Chao 1984).

        A lower bound on average, as basins are not equally likely; points that no start can reach do not count.
        """
        once, twice = int(np.sum(self.found == 1)), int(np.sum(self.found == 2))
        return once * (once - 1) / (2 * (twice + 1))

    @property
    def starts_since_new(self) -> int:
        """How many starts came after the last that led to a new point; all where none did."""
        firsts = [int(np.argmax(self.reached == row)) for row in range(len(self.loss))]
        return len(self.reached) - 1 - max(firsts, default=-1)

    @property
    def _rows(self) -> list[list[str]]:
        rows = zip(self.kind, self.index, self.loss, self.gradient_norm, self.found, self.eigenvalues, strict=True)
        return [
            [str(i), kind, str(index), f"{loss:.8g}", f"{norm:.1e}", str(found), *(f"{x:.4g}" for x in ends[[0, -1]])]
            for i, (kind, index, loss, norm, found, ends) in enumerate(rows)
        ]

    @property
    def _ends(self) -> str:
        return ", ".join(f"{np.sum(self.ended == outcome)} {outcome.words}" for outcome in SearchOutcome)

    def __str__(self) -> str:
        widths = (4, -12, 5, 14, 9, 6, 11, 11)
        line = lambda cells: " ".join(  # noqa: E731
            cell.ljust(-width) if width < 0 else cell.rjust(width) for cell, width in zip(cells, widths, strict=True)
        )
        return "\n".join([line(HEAD), *map(line, self._rows), f"starts: {self._ends}"])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        row = lambda cells, tag: "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"  # noqa: E731
        rows = "".join(row(cells, "td") for cells in self._rows)
        return f"<table>{row(HEAD, 'th')}{rows}</table><p>starts: {self._ends}</p>"


def listed(ends: Any, unravel: Callable[[Any], Params], separation: float | None, units: np.ndarray) -> CriticalPoints:
    """Each point once, that of the smallest gradient, by index and then by loss."""
    code, theta, norm = ends.point.code, ends.theta, ends.point.gradient_norm
    critical_there = (code != Kind.UNDETERMINED) & (code != Kind.NOT_CRITICAL)
    hit = ends.converged & critical_there & np.isfinite(ends.loss)
    not_finite = ~np.isfinite(norm) | ~np.isfinite(ends.loss)
    ended = np.select(
        [hit, not_finite, ends.flatness <= FLAT],
        [SearchOutcome.CRITICAL, SearchOutcome.NOT_FINITE, SearchOutcome.GRADIENT_FLAT],
        SearchOutcome.NOT_CONVERGED,
    )
    double = theta.dtype == np.float64
    if separation is None:
        separation = TOLERANCE[double] * (units + np.abs(theta[hit]).max(axis=0, initial=0))
    reached, chosen = np.full(len(theta), -1), list[int]()
    for row in np.argsort(norm, kind="stable"):
        if hit[row] and reached[row] < 0:
            apart = np.maximum(np.abs(theta - theta[row]) - ends.doubt - ends.doubt[row], 0)
            near = hit & (reached < 0) & (np.linalg.norm(apart / separation, axis=1) <= 1)
            reached[near] = len(chosen)
            chosen.append(row)
    rows = np.array(chosen, int)
    order = np.lexsort((ends.loss[rows], ends.point.index[rows])) if len(rows) else rows
    place = np.empty(len(rows), int)
    place[order] = np.arange(len(rows))
    reached = np.where(reached >= 0, place[reached] if len(rows) else -1, -1)
    rows = rows[order]
    loss, index = ends.loss[rows], ends.point.index[rows]
    return CriticalPoints(
        params=jax.vmap(unravel)(jnp.asarray(theta[rows])) if len(rows) else None,
        loss=loss,
        code=code[rows],
        index=index,
        nullity=ends.point.inertia.zero[rows],
        gradient_norm=norm[rows],
        eigenvalues=ends.eigenvalues[rows],
        found=np.bincount(reached[reached >= 0], minlength=len(rows)),
        family=_families(loss, index, 1e-6 if double else 1e-3, _hidden(ends.eigenvalues[rows], separation)),
        reached=reached,
        ended=ended,
        separation=float(np.max(separation)),
        flat=ends.point.flat[rows],
    )


def orbits(
    found: CriticalPoints, symmetries: Symmetries, separation: float | None, units: np.ndarray
) -> CriticalPoints:
    """The same with the points of one orbit as one: that with the smallest gradient."""
    count = len(found.loss)
    if not count:
        return found
    like = jax.tree.map(lambda leaf: leaf[0], found.params)
    flat = np.asarray(jax.vmap(lambda tree: ravel_pytree(tree)[0])(found.params))
    double = flat.dtype == np.float64
    within = TOLERANCE[double] * (units + np.abs(flat).max()) if separation is None else separation
    of = np.full(count, -1)
    best = np.argsort(found.gradient_norm, kind="stable")
    for row in best:
        if of[row] < 0:
            kin = (found.index == found.index[row]) & (found.flat == found.flat[row])
            others = np.flatnonzero((of < 0) & kin & (found.family == found.family[row]))
            same = same_orbit(symmetries, like, flat[others], flat[row], within)
            of[others[same]] = row
            of[row] = row
    rows = np.flatnonzero(of == np.arange(count))
    place = np.searchsorted(rows, of)
    reached = np.where(found.reached >= 0, place[found.reached], -1)
    table = {name: value[rows] for name, value in found._asdict().items() if name in PER_POINT}
    params = jax.tree.map(lambda leaf: leaf[rows], found.params)
    arrived = np.bincount(reached[reached >= 0], minlength=len(rows))
    return found._replace(**{**table, "params": params, "found": arrived, "reached": reached})


def _hidden(eigenvalues, separation):
    """How far the losses of two ends may be apart that count as one point: by curvature, where the loss itself is 0."""
    return float(np.abs(eigenvalues).max(initial=0)) * float(np.max(separation, initial=0)) ** 2


def _families(loss, index, tol, hidden=0.0):
    """A number for each pair of index and loss; losses are equal within tol of their spread, or `hidden`."""
    if not len(loss):
        return np.zeros(0, int)
    scale = max(tol * max(float(np.ptp(loss)), float(np.abs(loss).max()) * 1e-3, 1e-300), hidden)
    new = np.r_[True, (np.diff(index) != 0) | (np.diff(loss) > scale)]  # rows are sorted by index, then by loss
    return np.cumsum(new) - 1
