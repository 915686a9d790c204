"""Whether two sets of points are congruent: moved, turned, mirrored and with places changed, as far as is declared.

Of the goal few points are chosen that span it.  Each choice of points of the other set with the same lengths and
angles gives one rotation, and the other points then lie beside those of the goal, or they do not.  No start, no
iteration and no luck is involved: what is congruent is found.

| function | what it returns |
|---|---|
| `group_of_points` | the group, where the declared symmetries are such moves and nothing else |
| `PointGroup.distance` | how far a set of points, moved to another, remains from it |
| `PointGroup.copies` | how many copies of it places and mirror make |
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import factorial, prod
from typing import Any

import numpy as np

from hessian.symmetry.declared import Symmetries
from hessian.symmetry.generators import Rotations, Translations
from hessian.symmetry.points import Identical, OfPoints, Reflections


@dataclass(frozen=True)
class PointGroup:
    """Moves of points of d coordinates."""

    d: int
    shifted: bool
    turned: bool
    mirrored: bool
    exchanged: Identical | None

    def distance(self, x: np.ndarray, y: np.ndarray, within: float) -> float:
        """The distance between x, moved, and y, both raveled, once it is at most `within`; infinite where it is not."""
        x, y = x.reshape(-1, self.d), y.reshape(-1, self.d)
        if self.shifted:
            x, y = x - x.mean(axis=0), y - y.mean(axis=0)
        for turn in self._turns(x, y, within):
            far = self._brought(x @ turn.T, y)[0]
            if far <= within:
                return far
        return np.inf

    def copies(self, x: np.ndarray, within: float) -> int:
        """How many places the points of x, raveled, can take that no shift and no rotation leads to from another."""
        x = x.reshape(-1, self.d)
        if self.shifted:
            x = x - x.mean(axis=0)
        alone = [np.array([i]) for i in range(len(x))]
        groups = alone if self.exchanged is None else self.exchanged.groups(len(x))
        at = _places(x, groups, within)
        kept = set()
        for turn in self._turns(x, x, within):
            far, order = self._brought(x @ turn.T, x)
            if far <= within:
                kept.add((np.linalg.det(turn) > 0, *at[order].tolist()))
        apart = prod(factorial(len(group)) for group in groups)
        together = prod(factorial(count) for count in np.unique(at, return_counts=True)[1].tolist())
        return (2 if self.mirrored else 1) * apart // (len(kept) * together)

    def _brought(self, x, y):
        """How far x remains from y once its points have changed places and it is turned, and their order."""
        order = np.arange(len(x)) if self.exchanged is None else self.exchanged.order(x, y)
        moved = x[order]
        if self.turned:
            moved = moved @ _nearest_rotation(moved, y).T
        return float(np.linalg.norm(moved - y)), order

    def _turns(self, x, y, within):
        """The orthogonal matrices that may lead from x to y."""
        mirror = np.diag(np.where(np.arange(self.d) == 0, -1.0, 1.0))
        if not self.turned:
            yield from (np.eye(self.d), mirror) if self.mirrored else (np.eye(self.d),)
            return
        chosen = _spanning(y, within)
        for places in self._alike(x, y, chosen, 2 * within):
            for turn in _completions(x[places], y[chosen], len(chosen) < self.d):
                if self.mirrored or np.linalg.det(turn) > 0:
                    yield turn

    def _alike(self, x: Any, y: Any, chosen: list[int], within: float) -> Iterator[list[int]]:
        """The places of points of x with the lengths and distances of the chosen points of y."""
        groups = [np.array([i]) for i in range(len(x))] if self.exchanged is None else self.exchanged.groups(len(x))
        allowed = {int(i): group for group in groups for i in group}

        def extended(places):
            if len(places) == len(chosen):
                yield places
                return
            goal = y[chosen[len(places)]]
            for i in allowed[int(chosen[len(places)])]:
                fits = abs(np.linalg.norm(x[i]) - np.linalg.norm(goal)) <= within and all(
                    abs(np.linalg.norm(x[i] - x[j]) - np.linalg.norm(goal - y[k])) <= within
                    for j, k in zip(places, chosen, strict=False)
                )
                if fits and i not in places:
                    yield from extended([*places, i])

        yield from extended([])


def group_of_points(symmetries: Symmetries) -> PointGroup | None:
    """The group of moves of points, where the symmetries are nothing else; None where they are more, or continuous."""
    continuous = {type(one): one for one in symmetries.continuous}
    discrete = {type(one): one for one in symmetries.discrete}
    every = (*symmetries.continuous, *symmetries.discrete)
    of_all = all(isinstance(one, OfPoints) or getattr(one, "parts", ()) is None for one in every)
    dimensions = {int(getattr(one, "d", 0)) for one in every}
    if not discrete or not of_all or len(dimensions) != 1 or not {*continuous} <= {Translations, Rotations}:
        return None
    exchanged = discrete.get(Identical)
    several = sum(isinstance(one, Identical) for one in symmetries.discrete) > 1
    if several or not {*discrete} <= {Identical, Reflections}:
        return None
    return PointGroup(
        dimensions.pop(), Translations in continuous, Rotations in continuous, Reflections in discrete, exchanged
    )


def _places(x, groups, within):
    """For each point the first of its group at the same place."""
    at = np.arange(len(x))
    for group in groups:
        for k, i in enumerate(group):
            at[i] = next(j for j in group[: k + 1] if np.linalg.norm(x[i] - x[j]) <= within)
    return at


def _spanning(y, within):
    """The places of few points that span all of them: each the farthest from the span of those before."""
    chosen, rest = [], y.copy()
    for _ in range(min(y.shape[1], len(y))):
        sizes = np.linalg.norm(rest, axis=1)
        place = int(np.argmax(sizes))
        if sizes[place] <= 10 * within:
            break
        chosen.append(place)
        axis = rest[place] / sizes[place]
        rest = rest - np.outer(rest @ axis, axis)
    return chosen


def _nearest_rotation(x, y):
    """The orthogonal matrix R without change of handedness that brings the rows x nearest to y (Kabsch 1976)."""
    left, _, right = np.linalg.svd(y.T @ x)
    side = np.ones(x.shape[1])
    side[-1] = np.sign(np.linalg.det(left @ right))
    return (left * side) @ right


def _completions(x, y, free):
    """The orthogonal matrices that bring the rows x to y; both handednesses where the rows leave one direction free."""
    left, _, right = np.linalg.svd(y.T @ x)
    yield left @ right
    if free:
        side = np.ones(len(left))
        side[-1] = -1
        yield (left * side) @ right
