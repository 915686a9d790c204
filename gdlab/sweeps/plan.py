"""The plan of a sweep: all that does not depend on the values of its axes, made once for equal sweeps.

    plan(function, axes by name and shape, chunk, block)  =  the compiled program, the names and places of the results

| name | what it is |
|---|---|
| `Point` | the function at a lane |
| `Plan` | the program of a sweep, and the layout of its results |
| `planned` | the plan, from an earlier sweep where one was equal |
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gdlab.sweeps.axes import Grid, at
from gdlab.sweeps.batching import Prepared, prepare
from gdlab.sweeps.dataset import description, leaf_names, placed, returned


@dataclasses.dataclass(frozen=True)
class Point:
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
    description: dict[str, Any]  # what it takes to lay out the results, as JSON
    names: list[str]  # of the leaves of the results, `path:case`
    places: dict[str, tuple[str, list[str]]]  # the variable and the dims of each result


class _Asked(NamedTuple):
    """What a plan depends on."""

    point: Point
    sizes: tuple[tuple[str, int], ...]  # of all axes in their order
    named: tuple[str, ...]
    labels: tuple[str, ...]
    tree: Any  # of the numeric axes
    shapes: tuple[tuple[Any, Any], ...]
    chunk: int
    block: int | None
    mesh: Any
    dims: tuple[tuple[str, tuple[str, ...]], ...]
    widest: Any  # the dtype of floats, under which the function is traced


def planned(
    fn: Callable[..., Any],
    grid: Grid,
    labels: Mapping[str, Any],
    chunk: int,
    block: int | None,
    mesh: jax.sharding.Mesh | None,
    dims: Mapping[str, tuple[str, ...]],
) -> Plan:
    """The plan of a sweep; equal functions (hashable, over axes of the same shapes) are traced and compiled once.

    Raises:
        ValueError: for names and shapes that make no dataset, as `leaf_names` and `placed` say.
    """
    leaves, tree = jax.tree.flatten(grid.numeric)
    asked = _Asked(
        point=Point(fn, tuple(tuple(case.items()) for case in grid.cases), tuple(grid.numeric), grid.shape),
        sizes=tuple(grid.sizes.items()),
        named=tuple(grid.named),
        labels=tuple(labels),
        tree=tree,
        shapes=tuple((leaf.shape, leaf.dtype) for leaf in leaves),
        chunk=chunk,
        block=block,
        mesh=mesh,
        dims=tuple(dims.items()),
        widest=jax.dtypes.canonicalize_dtype(float),
    )
    try:
        return _planned(asked)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        return _planned.__wrapped__(asked)


@functools.lru_cache(maxsize=64)
def _planned(asked):
    leaves = [jax.ShapeDtypeStruct(*shaped) for shaped in asked.shapes]
    numeric = jax.tree.unflatten(asked.tree, leaves)
    prepared = prepare(asked.point, numeric, asked.chunk, asked.block, asked.mesh)
    described = description(dict(asked.sizes), asked.named, dict(asked.dims), prepared.results)
    names = leaf_names(prepared.results)
    shapes = dict(zip(names, map(jnp.shape, jax.tree.leaves(prepared.results)), strict=True))
    return Plan(prepared, described, names, placed(described, dict.fromkeys(asked.labels), shapes))
