"""The disconnectivity graph: which minima can reach which without rising above a level (Becker & Karplus 1997).

Saddles, from the lowest on, merge the basins that they join; a merge is kept, as in a dendrogram, with its loss.

    barrier(i, j)  =  min over paths from i to j of the highest saddle on the path

| name | what it is |
|---|---|
| `Disconnectivity` | the tree, with the barrier between two minima, the basins at a level, and its drawing |
| `disconnectivity` | that of minima and of the saddles that join them |
"""

from typing import Any, NamedTuple

import numpy as np

from gdlab.ground.results import Floats, Integers, result

LEVELS = 24  # of a drawing
NUMBERED = 40  # minima, up to which each has its number below its branch


@result
class Disconnectivity(NamedTuple):
    """The tree of basins: minimum i is node i of k, and merge m makes node k + m."""

    loss: Floats  # (k,), of the minima
    heights: Floats  # (m,), at which two basins merge, ascending
    merged: Integers  # (m, 2), the nodes that merge
    saddles: Integers  # (m,), the saddle through which they do

    def basins(self, level: float) -> Integers:
        """The number of the basin of each minimum once saddles up to `level` are open, shape (k,)."""
        of = np.arange(len(self.loss))
        members = {i: [i] for i in range(len(of))}
        for merge, (height, pair) in enumerate(zip(self.heights, self.merged, strict=True)):
            if height <= level:
                members[len(of) + merge] = members.pop(int(pair[0])) + members.pop(int(pair[1]))
        for number, one in enumerate(sorted(members.values(), key=min)):
            of[one] = number
        return of

    def barrier(self, i: int, j: int) -> float:
        """The loss of the highest saddle on the lowest path between two minima; infinite where none is known."""
        if i == j:
            return float(self.loss[i])
        members = {place: {place} for place in range(len(self.loss))}
        for merge, pair in enumerate(self.merged):
            both = members.pop(int(pair[0])) | members.pop(int(pair[1]))
            members[len(self.loss) + merge] = both
            if i in both and j in both:
                return float(self.heights[merge])
        return float("inf")

    def draw(self, axes: Any, levels: int = LEVELS, color: str = "black") -> None:
        """Draw the graph on axes of matplotlib: a branch ends at the loss of its minimum, and meets others at levels.

        Up to 40 minima have their numbers below their branches.

        Args:
            axes: of matplotlib.
            levels: how many, evenly spaced from the lowest saddle's to the highest's.
            color: of the lines.
        """
        for x, y in self.lines(levels):
            axes.plot(x, y, color=color, linewidth=0.9, solid_capstyle="round")
        if len(self.loss) <= NUMBERED:
            for number, end in enumerate(zip(self.places(levels), self.loss, strict=True)):
                below = {"xytext": (0, -3), "textcoords": "offset points", "ha": "center", "va": "top"}
                axes.annotate(str(number), end, color=color, fontsize="small", **below)
            axes.set_xlabel("minima, by their numbers")
        axes.set(xticks=[], xlim=(-0.5, max(len(self.loss), 1) - 0.5), ylabel="loss")
        for side in ("top", "right", "bottom"):
            axes.spines[side].set_visible(False)

    def lines(self, levels: int = LEVELS) -> list[tuple[list[float], list[float]]]:
        """The branches that `draw` draws, each as the xs and ys of its corners."""
        if not len(self.loss):
            return []
        grid = self._grid(levels)
        basins = [self.basins(level) for level in grid]
        found: list[tuple[list[float], list[float]]] = []
        left = 0
        for part in _arranged(_parts(np.arange(len(self.loss)), basins[0]), self.loss):
            found += self._branch(part, grid, basins, 0, left, None)
            left += len(part)
        return found

    def places(self, levels: int = LEVELS) -> Integers:
        """The x of each minimum on the drawing, shape (k,)."""
        parts = [np.arange(len(self.loss))]
        for level in self._grid(levels) if len(self.loss) else ():
            basins = self.basins(level)
            parts = [part for inside in parts for part in _arranged(_parts(inside, basins), self.loss)]
        return np.argsort(np.concatenate(parts))

    def _grid(self, levels):
        """The levels, from above the highest saddle down."""
        low, high = float(self.loss.min()), float(max(self.heights.max(initial=-np.inf), self.loss.max()))
        step = (high - low) / levels or 1.0
        return high + step / 2 - step * np.arange(levels + 1)

    def _branch(self, inside, grid, basins, depth, left, above):
        """The lines of a basin whose minima take the places from `left` on, below the corner `above`."""
        middle = left + (len(inside) - 1) / 2
        corner = (middle, float(grid[depth]))
        lines = [([above[0], middle], [above[1], corner[1]])] if above is not None else []
        if len(inside) == 1:
            return [*lines, ([middle, middle], [corner[1], float(self.loss[inside[0]])])]
        if depth + 1 == len(grid):  # minima that the lowest level does not tell apart
            ends = enumerate(self.loss[inside], left)
            return [*lines, *(([middle, place], [corner[1], float(loss)]) for place, loss in ends)]
        for part in _arranged(_parts(inside, basins[depth + 1]), self.loss):
            lines += self._branch(part, grid, basins, depth + 1, left, corner)
            left += len(part)
        return lines


def _parts(inside, basins):
    """The minima of each basin, of those inside a larger one."""
    of = basins[inside]
    order = np.argsort(of, kind="stable")
    return np.split(inside[order], np.flatnonzero(np.diff(of[order])) + 1)


def _arranged(parts, loss):
    """The basins from left to right, that of the lowest minimum in the middle."""
    ordered = sorted(parts, key=lambda part: (float(loss[part].min()), int(part[0])))
    return ordered[1::2][::-1] + ordered[::2]


def disconnectivity(loss: np.ndarray, saddles: np.ndarray, joins: np.ndarray) -> Disconnectivity:
    """The tree of minima with these losses and of saddles with theirs, (s,), each of which joins two, (s, 2).

    >>> tree = disconnectivity(np.array([0.0, 1.0, 0.5]), np.array([2.0, 3.0, 4.0]), np.array([[0, 1], [1, 2], [0, 2]]))
    >>> tree.barrier(0, 1), tree.barrier(0, 2), tree.basins(2.5).tolist()
    (2.0, 3.0, [0, 0, 1])
    """
    of = list(range(len(loss)))  # the node of each minimum's basin

    heights, merged, through = list[float](), list[tuple[int, int]](), list[int]()
    for row in np.argsort(saddles, kind="stable"):
        i, j = (int(end) for end in joins[row])
        if i < 0 or j < 0 or of[i] == of[j]:
            continue
        a, b, new = of[i], of[j], len(loss) + len(heights)
        of = [new if node in (a, b) else node for node in of]
        heights.append(float(saddles[row]))
        merged.append((a, b))
        through.append(int(row))
    return Disconnectivity(loss, np.array(heights), np.array(merged, int).reshape(-1, 2), np.array(through, int))
