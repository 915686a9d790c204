"""The plan of a sweep: all that does not depend on the values of its axes, made once for equal sweeps.

    plan(function, axes by name and shape, chunk, way)  =  the compiled program, the names and places of the results

| name | what it is |
|---|---|
| `Point` | the function at a lane |
| `Choice` | what the caller or a store says of the way in which lanes are computed |
| `Plan` | the program of a sweep, and the layout of its results |
| `planned` | the plan, from an earlier sweep where one was equal |
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from numbers import Number
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gdlab.sweeps.axes import Grid, at
from gdlab.sweeps.batching import Prepared, Traced, lanes_to_cut, prepare, seconds_of, traced
from gdlab.sweeps.dataset import description, leaf_names, placed, returned
from gdlab.sweeps.ways import by_rule, chosen_way, usual_chunk


class Point(NamedTuple):
    """The function at a lane, for every case of the axes of names; equal for equal functions and cases."""

    fn: Callable[..., Any]
    cases: tuple[tuple[tuple[str, Any], ...], ...]
    order: tuple[str, ...]
    shape: tuple[int, ...]

    def __call__(self, lane, numeric):
        values = at(lane, numeric, self.order, self.shape)
        return [returned(self.fn(**values, **dict(case))) for case in self.cases]


class Plan(NamedTuple):
    """What equal sweeps share."""

    prepared: Prepared
    chunk: int  # lanes
    description: dict[str, Any]  # what it takes to lay out the results, as JSON
    names: list[str]  # of the leaves of the results, `path:case`
    places: dict[str, tuple[str, list[str]]]  # the variable and the dims of each result


class Choice(NamedTuple):
    """What is settled of the way in which lanes are computed, before the program is known."""

    name: str | None = None
    block: int | None = None
    measured: bool = False  # whether a measurement may settle the rest
    stored: bool = False  # whether a store says so, which may turn out to be one of another program


class _Asked(NamedTuple):
    """What a plan depends on."""

    point: Point
    sizes: tuple[tuple[str, int], ...]  # of all axes in their order
    named: tuple[str, ...]
    labels: tuple[str, ...]
    tree: Any  # of the numeric axes
    shapes: tuple[tuple[Any, Any], ...]
    chunk: int | None
    choice: "Choice"
    mesh: Any
    dims: tuple[tuple[str, tuple[str, ...]], ...]
    widest: Any  # the dtype of floats, under which the function is traced
    kinds: tuple[str, ...]  # of the numbers in the cases: 1, 1.0 and True are equal, as 0.0 and -0.0 are


def planned(
    fn: Callable[..., Any],
    grid: Grid,
    labels: Mapping[str, Any],
    chunk: int | None,
    choice: Choice,
    mesh: jax.sharding.Mesh | None,
    dims: Mapping[str, tuple[str, ...]],
) -> Plan:
    """The plan of a sweep; equal functions (hashable, over axes of the same shapes) are traced and compiled once.

    Raises:
        ValueError: for names and shapes that make no dataset, as `leaf_names` and `placed` say.
    """
    leaves, tree = jax.tree.flatten(grid.numeric)
    asked = _Asked(
        point=Point(fn, tuple([tuple(case.items()) for case in grid.cases]), tuple(grid.numeric), grid.shape),
        sizes=tuple(grid.sizes.items()),
        named=tuple(grid.named),
        labels=tuple(labels),
        tree=tree,
        shapes=tuple([(leaf.shape, leaf.dtype) for leaf in leaves]),
        chunk=chunk,
        choice=choice,
        mesh=mesh,
        dims=tuple(dims.items()),
        widest=jax.dtypes.canonicalize_dtype(float),
        kinds=tuple(map(_kind, jax.tree.leaves([list(values.values()) for values in grid.named.values()]))),
    )
    try:
        draft = _planned(asked)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        draft = _planned.__wrapped__(asked)
    if draft.plan is None:
        draft.plan = draft.settled(leaves)
    return draft.plan


def _kind(value):
    """What tells a number from one that it is equal to."""
    return f"{type(value).__name__} {value!r}" if isinstance(value, Number) else ""


@dataclasses.dataclass
class _Draft:
    """All of a plan but the way, which may be measured on the values of the axes."""

    made: Traced
    asked: _Asked
    chunk: int
    description: dict[str, Any]
    names: list[str]
    places: dict[str, tuple[str, list[str]]]
    plan: Plan | None = None

    def settled(self, leaves):
        """The plan, its way settled."""
        choice, mesh = self.asked.choice, self.asked.mesh
        foreign = choice.stored and not self.made.task.small
        way = by_rule(self.made.task, choice.block, None if foreign else choice.name)
        if choice == Choice(measured=True):
            way = chosen_way(self.made.task, lambda way: seconds_of(self.made, leaves, way))
        prepared = prepare(self.made, self.chunk, way, mesh)
        return Plan(prepared, self.chunk, self.description, self.names, self.places)


@functools.lru_cache(maxsize=64)
def _planned(asked):
    leaves = [jax.ShapeDtypeStruct(*shaped) for shaped in asked.shapes]
    numeric = jax.tree.unflatten(asked.tree, leaves)
    lanes = math.prod(asked.point.shape)
    made = traced(asked.point, numeric, lanes)
    width = made.task.carried + sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(made.results))
    chunk = min(asked.chunk or usual_chunk(width), lanes)
    made = made.of_lanes(lanes_to_cut(chunk, asked.choice.block, asked.mesh))
    described = description(dict(asked.sizes), asked.named, dict(asked.dims), made.results)
    names = leaf_names(made.results)
    shapes = dict(zip(names, map(jnp.shape, jax.tree.leaves(made.results)), strict=True))
    places = placed(described, dict.fromkeys(asked.labels), shapes)
    return _Draft(made=made, asked=asked, chunk=chunk, description=described, names=names, places=places)
