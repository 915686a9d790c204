"""`landscape`: all minima, the saddles between them, and which minima each joins, from many starts.

    start      down to a minimum, up to a saddle of index 1; where symmetries stretch, up along their orbits as well
    minimum    up along both sides of its softest eigenvectors, each when it is new
    saddle     the gradient flow to both sides, when it is new: the two minima that it joins
               and up along its next soft eigenvectors, to points of index 2
    the rest   from points of higher index, a step along each of their lowest eigenvectors and up to a saddle again

until nothing new is left to follow, start after start.  Between minima that no saddle joins then, strings are drawn,
and searches climb from their highest images.  Every end is refined by Newton's method and classified; what does not
converge, or is degenerate beyond its orbit, is not listed.  Orbits are listed once.
"""

import os
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from gdlab.ground.checks import number, whole
from gdlab.ground.leaves import shown
from hessian.landscapes.catalogue import Catalogue, Ends
from hessian.landscapes.graph import Landscape, Points
from hessian.landscapes.rounds import Job, Rounds
from hessian.landscapes.seek import FLOW, Plan
from hessian.landscapes.strings import nearest, strung, tops, unjoined
from hessian.precision import Tree, working
from hessian.product import Loss, Params
from hessian.symmetry.declared import declare, refuse_wrong
from hessian.verdicts.classify import Kind

KICK = 1e-3  # from a saddle to both sides, in length scales
LIFT = 0.05  # from a minimum, and beside a saddle
MEASURED = 16  # starts whose spread says how long a step may be
TOGETHER = 32  # new points that are followed at once
BESIDE = 2  # soft eigenvectors of a new saddle along which points of index 2 are sought


def landscape(
    loss: Loss,
    starts: Tree,
    *args: Any,
    symmetries: Any = None,
    highest: int = 1,
    modes: int = 6,
    steps: int = 200,
    radius: ArrayLike = 0.05,
    patience: int | None = None,
    searches: int | None = None,
    strings: int = 16,
    batch: int = 16,
    store: str | os.PathLike[str] | None = None,
    progress: Callable[[int, str], Any] | None = None,
) -> Landscape[Tree]:
    """The minima of a loss and the saddles of index 1 that join them, each orbit once (S53, S57, S59).

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable, of few enough parameters for a dense Hessian.
        starts: pytree like params with a leading axis of starts.
        *args: further arguments of the loss.
        symmetries: as in `hessian.classify`; `hessian.symmetry.atoms(3)` for a cluster of atoms.
        highest: points up to this index are sought, from 1 to n; what is met above 1 is listed, too.
        modes: how many of the softest eigenvectors of a new minimum are climbed, to both sides, >= 0.
        steps: at most, of each search, >= 1; ten times as many along the gradient flow.
        radius: the longest step, relative to 1 + |theta| or, where that is less, to twice the spread of the first 16
            starts, > 0; the largest size of the starts replaces a larger 1.
        patience: it stops after so many starts in a row that led to nothing new, >= 1; by default all starts are used.
        searches: after so many searches, >= 1, it only follows the ways down from the saddles that it has; none by
            default.  What it finds of a landscape with more points than there is time for is a part of it.
        strings: how many pairs of minima at most that no chain of saddles joins are tried with a string between them,
            >= 0 (E, Ren & Vanden-Eijnden 2007).
        batch: how many searches one call of the compiled program runs, >= 1.
        store: a folder that keeps finished searches.  The same call goes on from it, also with more starts; another
            search is refused.
        progress: a function of (starts used, words), called as searches end.

    Returns:
        A `Landscape`; print it for a table.  Not inside `jit`: how many points there are is data.

    Raises:
        TypeError, ValueError: as `hessian.find_critical_points`.
        StoreError: for a store of another search, in use, or that cannot be written (a ValueError).

    Source: Wales, Energy Landscapes, 2003; Cerjan & Miller 1981.

    >>> found = landscape(lambda w: (w[0] ** 2 - 1) ** 2 + w[1] ** 2, jnp.array([[0.5, 1.0], [-2.0, 0.3]]))
    >>> found.minima.loss.round(6).tolist(), found.saddles.loss.round(6).tolist(), sorted(found.joins[0].tolist())
    ([0.0, 0.0], [1.0], [0, 1])
    """
    loss, one, args, stored = working(loss, jax.tree.map(_first, starts), *args, names=("loss", "starts"))
    theta = ravel_pytree(one)[0]
    highest, modes = whole("highest", highest, 1, theta.size), whole("modes", modes, 0)
    steps, batch = whole("steps", steps), whole("batch", batch)
    radius = jnp.asarray(number("radius", radius), theta.dtype)
    patience = None if patience is None else whole("patience", patience)
    searches = None if searches is None else whole("searches", searches)
    strings = whole("strings", strings, 0)
    flat = jax.vmap(lambda tree: ravel_pytree(tree)[0])(jax.tree.map(jnp.asarray, starts))
    begun = np.asarray(flat.astype(theta.dtype))
    unit = min(1.0, float(np.abs(np.where(np.isfinite(begun), begun, 0)).max()) or 1.0)
    symmetries = declare(symmetries, one)
    refuse_wrong(loss, one, args, symmetries)
    plan = Plan(steps, symmetries, min(modes, theta.size), 1)
    rounds = Rounds(loss, plan, one, args, radius=radius, unit=unit, room=_room(begun), block=batch)
    stretched = symmetries is not None and symmetries.stretch(one)
    catalogue = Catalogue(symmetries, one, unit)
    search = _Search(rounds, catalogue, highest, stretched, most=searches, progress=progress)
    with rounds.kept(store):
        for first in range(0, len(begun), batch):
            search.begin(begun[first : first + batch], first)
            if search.spent or (patience is not None and search.used - 1 - search.last >= patience):
                break
        search.join(strings)
    return search.result(ravel_pytree(one)[1], stored)


def _first(starts):
    if isinstance(starts, str) or jnp.ndim(starts) == 0 or len(starts) == 0:
        msg = f"starts must be arrays with a leading axis of at least one start; got {shown(starts)}"
        raise TypeError(msg)
    return jnp.asarray(starts)[0]


def _room(starts):
    """Twice the root mean square distance of the first starts from their mean; infinite where they do not differ.

    Of the first ones, so that a store goes on with more starts.
    """
    finite = starts[:MEASURED][np.isfinite(starts[:MEASURED]).all(axis=1)]
    if not len(finite):
        return np.inf
    spread = 2 * float(np.sqrt(np.mean(np.sum((finite - finite.mean(axis=0)) ** 2, axis=1))))
    return spread if spread > 0 else np.inf


class _Search:
    """What was found so far, and what follows from it."""

    def __init__(
        self, rounds: Rounds, catalogue: Catalogue, highest: int, stretched: bool, most: int | None, progress: Any
    ):
        self.rounds, self.catalogue, self.highest, self.stretched = rounds, catalogue, highest, stretched
        self.most, self.progress, self.searches = most, progress, 0
        self.joins: dict[int, list[int]] = {}
        self.degenerate = 0
        self.ended: Counter[str] = Counter()
        self.indices: Counter[int] = Counter()  # how many points of each were found
        self.drawn: Counter[int] = Counter()
        self.used, self.last = 0, -1

    @property
    def spent(self) -> bool:
        """Whether there were as many searches as are wanted."""
        return self.most is not None and self.searches >= self.most

    def _run(self, jobs):
        """The ends of some jobs."""
        ends = self.rounds.run(jobs)
        self.searches += len(jobs)
        if self.progress is not None:
            self.progress(self.used, f"{self.indices[0]} minima, {self.indices[1]} saddles")
        return ends

    def begin(self, starts: np.ndarray, first: int) -> None:
        """Search from some starts, and from all that is new until nothing is."""
        aims = range(self.highest + 1)
        free = [Job(start, aim, free=True) for aim in aims[1:] for start in starts] if self.stretched else []
        ends = self._run([Job(start, aim) for aim in aims for start in starts] + free)
        fresh = deque[int]()
        for place, end in enumerate(ends):
            spot, new = self._placed(end)
            if place < len(starts):
                self.drawn[spot] += 1
                self.ended[_word(end)] += 1
            if new:
                fresh.append(spot)
                self.last = max(self.last, first + place % len(starts))
        self.used = first + len(starts)
        self._drain(fresh)

    def _drain(self, fresh):
        """Follow what is new until nothing is."""
        while fresh:
            found = self._followed([fresh.popleft() for _ in range(min(len(fresh), TOGETHER))])
            self.last = self.used - 1 if found else self.last
            fresh.extend(found)

    def join(self, most: int) -> None:
        """Search along strings between minima that no chain of saddles joins, for at most so many pairs."""
        tried = set[tuple[int, int]]()
        while len(tried) < most and not self.spent:
            pairs = self._apart(tried)[: most - len(tried)]
            if not pairs:
                return
            tried.update((low, other) for low, other, _ in pairs)
            jobs = [job for low, _, there in pairs for job in self._along(self.catalogue.points[low], there)]
            placed = [self._placed(end) for end in self._run(jobs)]
            self._drain(deque(spot for spot, new in placed if new))

    def _apart(self, tried):
        """Pairs of minima that are to be joined: the numbers of both, and where the second one is."""
        points = self.catalogue.points
        minima = [spot for spot, point in enumerate(points) if point.index == 0]
        rank = {spot: place for place, spot in enumerate(minima)}
        joins = [[rank.get(end, -1) for end in ends] for ends in self.joins.values() if len(ends) == 2]
        known = {(rank[i], rank[j]) for i, j in tried}
        found = []
        for low, others in unjoined([float(points[spot].loss) for spot in minima], joins, known):
            rows = np.stack([points[minima[place]].theta for place in others])
            place, there = nearest(self.rounds.plan.symmetries, self.rounds.like, rows, points[minima[low]].theta)
            found.append((minima[low], minima[others[place]], there))
        return found

    def _along(self, point, there):
        """The searches from the highest images of a string."""
        rounds = self.rounds
        scale = rounds.stride(point.theta)
        rate = 1 / (2 * np.abs(point.eigenvalues).max())
        ends = (jnp.asarray(each, rounds.dtype) for each in (point.theta, there, rate, LIFT * scale))
        line, losses = strung(rounds.loss, rounds.like, rounds.args, *ends)
        return [Job(place, 1, way) for place, way in tops(np.asarray(line), np.asarray(losses))]

    def _followed(self, fresh):
        """The points that are new once those before were followed."""
        jobs: list[Job] = []
        owners: list[int] = []
        for spot in fresh:
            more = self._jobs(self.catalogue.points[spot])
            jobs += more
            owners += [spot] * len(more)
        found = []
        for owner, job, end in zip(owners, jobs, self._run(jobs), strict=True):
            spot, new = self._placed(end)
            if new:
                found.append(spot)
            if job.mode == FLOW:
                is_minimum = spot >= 0 and self.catalogue.points[spot].index == 0
                self.joins.setdefault(owner, []).append(spot if is_minimum else -1)
        return found

    def _jobs(self, point):
        """What follows from a new point."""
        scale = self.rounds.stride(point.theta)
        if point.index == 0 and not self.spent:
            ways = [side * row for row in point.vectors[: self.rounds.plan.modes] for side in (1, -1) if row.any()]
            return [Job(point.theta + LIFT * scale * way, 1, way) for way in ways]
        if point.index == 1:
            down = [Job(point.theta + side * KICK * scale * point.vectors[0], FLOW) for side in (1, -1)]
            beside = [] if self.spent else [row for row in point.vectors[1 : 1 + BESIDE] if row.any()]
            return down + [Job(point.theta + side * LIFT * scale * row, 2) for row in beside for side in (1, -1)]
        lowest = [] if self.spent else point.vectors[: int(point.index)]
        return [Job(point.theta + side * LIFT * scale * row, 1) for row in lowest for side in (1, -1)]

    def _placed(self, end: Ends) -> tuple[int, bool]:
        """The number of the point at which a search ended, -1 for none, and whether it is new."""
        if bool(end.accepted):
            spot, new = self.catalogue.place(end)
            self.indices[int(end.index)] += new
            return spot, new
        self.degenerate += _word(end) == "degenerate"
        return -1, False

    def result(self, unravel: Callable[[Any], Params], stored: Any) -> Landscape:
        """The landscape."""
        points = self.catalogue.points
        groups: list[list[int]] = [[], [], []]
        for spot, point in enumerate(points):
            groups[min(int(point.index), 2)].append(spot)
        for group in groups:
            group.sort(key=lambda spot: (float(points[spot].loss), spot))
        rank = {spot: place for place, spot in enumerate(groups[0])}
        rank[-1] = -1
        pairs = [sorted((rank[end] for end in self.joins[spot]), reverse=False) for spot in groups[1]]
        minima, saddles, others = (self._table(group, unravel, stored) for group in groups)
        joins = np.array(pairs, int).reshape(-1, 2)
        since = self.used - 1 - self.last
        drawn = np.array([self.drawn[spot] for spot in groups[0]], int)
        counts = drawn, self.used, since, dict(self.ended), self.degenerate, self.highest
        return Landscape(minima, saddles, others, joins, *counts)

    def _table(self, group, unravel, stored):
        chosen = [self.catalogue.points[spot] for spot in group]
        n = self.rounds.size

        def column(name, shape=()):
            return np.array([getattr(point, name) for point in chosen]).reshape(len(chosen), *shape)

        params = jax.vmap(unravel)(jnp.asarray(column("theta", (n,)), self.rounds.dtype))
        return Points(
            params=stored(params),
            loss=column("loss"),
            index=column("index").astype(int),
            flat=column("flat").astype(int),
            eigenvalues=column("eigenvalues", (n,)),
            gradient_norm=column("gradient_norm"),
            found=np.array([self.catalogue.found[spot] for spot in group], int),
            multiplicity=np.array([self.catalogue.multiplicity(spot) for spot in group], float),
        )


def _word(end):
    """How one way down ended."""
    if bool(end.accepted):
        return str(Kind.words_of(end.code))
    if not np.isfinite(end.loss) or not np.isfinite(end.gradient_norm):
        return "not finite"
    known = int(end.code) not in (Kind.NOT_CRITICAL, Kind.UNDETERMINED)
    return "degenerate" if bool(end.converged) and known else "not converged"
