"""A landscape as a graph: minima as nodes, saddles of index 1 as edges, parallel ones and loops included.

| name | what it is |
|---|---|
| `Points` | critical points of one kind, by their loss |
| `Landscape` | minima, saddles, and which minima each saddle joins |
| `Path` | a way from minimum to minimum over saddles |
"""

import os
from collections import deque
from pathlib import Path as File
from typing import TYPE_CHECKING, Any, Generic, NamedTuple
from xml.etree import ElementTree

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

from gdlab.ground.results import Floats, Integers, result
from hessian.landscapes.disconnectivity import Disconnectivity, disconnectivity
from hessian.precision import Tree

if TYPE_CHECKING:
    import xarray

GRAPHML = "http://graphml.graphdrawing.org/xmlns"


@result
class Points(NamedTuple, Generic[Tree]):
    """Critical points, by their loss, with k rows; arrays of numpy."""

    params: Tree  # like the starts, k rows
    loss: Floats  # (k,), ascending
    index: Integers  # type: ignore[assignment]  # (k,), Morse index
    flat: Integers  # (k,), the dimension of the orbit
    eigenvalues: Floats  # (k, n), ascending
    gradient_norm: Floats  # (k,), the Euclidean norms of the gradients
    found: Integers  # (k,), how many searches ended there
    multiplicity: Floats  # (k,), how many copies the discrete symmetries make; NaN where they are not counted

    def __len__(self) -> int:
        return len(self.loss)

    def at(self, place: int) -> Tree:
        """The params of one point."""
        return jax.tree.map(lambda leaf: leaf[place], self.params)


# A named tuple asks `len` for the number of its fields when it is made anew; here that is the number of points.
Points._make = classmethod(lambda cls, fields: cls(*fields))  # type: ignore[assignment, method-assign]


@result
class Path(NamedTuple):
    """A way from minimum to minimum, over as few saddles as its highest one allows."""

    minima: list[int]  # one more than the saddles
    saddles: list[int]  # in their order on the way
    barrier: float  # the loss of the highest saddle; of the minimum itself where there is none


@result
class Landscape(NamedTuple, Generic[Tree]):
    """Minima, saddles of index 1, and which minima each joins: a multigraph."""

    minima: Points[Tree]  # by their loss
    saddles: Points[Tree]  # of index 1, by their loss
    others: Points[Tree]  # critical points of higher index that were met
    joins: Integers  # (saddles, 2): the minima below each, -1 where a way down ended at none
    drawn: Integers  # (minima,), how many starts led straight down to each
    starts: int  # how many were used
    starts_since_new: int  # how many came after the last that led to a new point
    ended: dict[str, int]  # how the ways down from the starts ended
    degenerate: int  # searches that ended where an eigenvalue without a sign is not explained; these are not listed
    highest: int  # the index up to which points were sought

    @property
    def barriers(self) -> Floats:
        """How far each saddle lies above the minima that it joins, shape (saddles, 2); NaN for -1."""
        below = np.append(self.minima.loss, np.nan)[self.joins]
        return np.asarray(self.saddles.loss[:, None] - below)

    @property
    def euler_characteristic(self) -> int | None:
        """The sum of (-1)^index: 1 where the loss grows in every direction and no point is missing.

        None where points fill orbits, as Poincare and Hopf count isolated ones, where a search ended at a
        degenerate one, or where not every index was sought.
        """
        every = [self.minima, self.saddles, self.others]
        sought = self.highest >= self.minima.eigenvalues.shape[1]
        isolated = not self.degenerate and not any(points.flat.any() for points in every)
        return int(sum(np.sum((-1) ** points.index) for points in every)) if sought and isolated else None

    @property
    def missing_mass(self) -> float:
        """The probability that one more start leads down to a new minimum, by those met once (Good 1953)."""
        arrived = int(self.drawn.sum())
        return float(np.sum(self.drawn == 1) / arrived) if arrived else float("nan")

    def disconnectivity(self) -> Disconnectivity:
        """The disconnectivity graph; `.draw(axes)` draws it."""
        return disconnectivity(self.minima.loss, self.saddles.loss, self.joins)

    def path(self, i: int, j: int) -> Path | None:
        """The path between two minima whose highest saddle is lowest, of these the one with the fewest; or None."""
        for place in (i, j):
            if not 0 <= place < len(self.minima):
                msg = f"path must lead between minima from 0 to {len(self.minima) - 1}; got {place}"
                raise ValueError(msg)
        barrier = self.disconnectivity().barrier(i, j)
        came: dict[int, tuple[int, int]] = {}
        waiting, seen = deque([i]), {i}
        while waiting and j not in seen:
            here = waiting.popleft()
            for saddle in np.flatnonzero((self.joins == here).any(axis=1) & (self.saddles.loss <= barrier)).tolist():
                for there in self.joins[saddle].tolist():
                    if there >= 0 and there not in seen:
                        seen.add(there)
                        came[there] = here, saddle
                        waiting.append(there)
        if j not in seen:
            return None
        minima, saddles = [j], list[int]()
        while minima[-1] != i:
            here, saddle = came[minima[-1]]
            minima.append(here)
            saddles.append(saddle)
        return Path(minima[::-1], saddles[::-1], barrier)

    def to_dataset(self) -> "xarray.Dataset":
        """An `xarray.Dataset` with the dims minimum, saddle, other, side, coordinate and mode; it needs xarray."""
        import xarray

        columns: dict[str, tuple[Any, Any]] = {"joins": (("saddle", "side"), self.joins)}
        columns["barrier"] = (("saddle", "side"), self.barriers)
        for name, points in (("minimum", self.minima), ("saddle", self.saddles), ("other", self.others)):
            columns[f"{name}_theta"] = ((name, "coordinate"), _raveled(points))
            columns[f"{name}_eigenvalue"] = ((name, "mode"), points.eigenvalues)
            for field in ("loss", "index", "flat", "gradient_norm", "found", "multiplicity"):
                columns[f"{name}_{field}"] = (name, getattr(points, field))
        notes = {"starts": self.starts, "starts_since_new": self.starts_since_new, "highest": self.highest}
        return xarray.Dataset(columns, attrs=notes)

    def to_graphml(self, path: str | os.PathLike[str] | None = None) -> str:
        """The multigraph as GraphML, written to a file where `path` is given: saddles with two known ends are edges."""
        root = ElementTree.Element("graphml", xmlns=GRAPHML)
        for part, names in (("node", ("loss", "flat")), ("edge", ("loss", "saddle"))):
            for name in names:
                kind = "double" if name == "loss" else "int"
                attributes = {"id": f"{part}_{name}", "for": part, "attr.name": name, "attr.type": kind}
                ElementTree.SubElement(root, "key", attributes)
        graph = ElementTree.SubElement(root, "graph", id="landscape", edgedefault="undirected")
        for i in range(len(self.minima)):
            node = ElementTree.SubElement(graph, "node", id=f"m{i}")
            _data(node, "node_loss", float(self.minima.loss[i]))
            _data(node, "node_flat", int(self.minima.flat[i]))
        for s, (i, j) in enumerate(self.joins.tolist()):
            if i >= 0 and j >= 0:
                edge = ElementTree.SubElement(graph, "edge", id=f"s{s}", source=f"m{i}", target=f"m{j}")
                _data(edge, "edge_loss", float(self.saddles.loss[s]))
                _data(edge, "edge_saddle", s)
        ElementTree.indent(root)
        text = '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
        if path is not None:
            File(path).write_text(text, encoding="utf-8")
        return text

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        lines = [f"{len(self.minima)} minima, {len(self.saddles)} saddles of index 1, {self.starts} starts"]
        lines += [f"  minimum {i:4} {value:16.9g}" for i, value in enumerate(self.minima.loss)]
        for s, (value, pair) in enumerate(zip(self.saddles.loss, self.joins, strict=True)):
            ends = " - ".join("?" if end < 0 else str(end) for end in pair)
            lines.append(f"  saddle  {s:4} {value:16.9g}   joins {ends}")
        return "\n".join(lines)


def _data(parent, key, value):
    ElementTree.SubElement(parent, "data", key=key).text = repr(value)


def _raveled(points):
    if not len(points):
        return np.zeros((0, points.eigenvalues.shape[1]))
    return np.asarray(jax.vmap(lambda tree: ravel_pytree(tree)[0])(points.params))
