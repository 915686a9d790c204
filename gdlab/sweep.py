"""A sweep: one function over the product of named axes, as one labelled dataset.

    result[a, b, ...] = fn(a=axis_a[a], b=axis_b[b], ...)

The numeric axes are computed as lanes of one compiled program, chunk by chunk from the host: memory is bounded by the
chunk, a bar can be drawn, and a store can keep what is done.  Axes of names are unrolled in that program.  A run that
diverges is data (inf or NaN, and `alive` false), never dropped.

| function | what it does |
|---|---|
| `sweep` | computes, or goes on where a killed sweep stopped |
| `merge` | joins the stores of the shards of one sweep, computed by independent processes |
"""

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from gdlab.axes import Grid, at
from gdlab.lanes import all_devices, gathered, prepare
from gdlab.store import Store, StoreError, check_same, digest, read_chunk, read_identity

if TYPE_CHECKING:
    import xarray

SCHEMA = 2  # the version of the layout of datasets and stores
LARGEST_CHUNK = 2**16  # lanes at once, unless the caller says otherwise


def sweep(
    fn: Callable[..., Any],
    *,
    chunk: int | None = None,
    block: int | None = None,
    mesh: jax.sharding.Mesh | None = None,
    store: str | os.PathLike | None = None,
    shard: tuple[int, int] = (0, 1),
    progress: bool | Callable[[int, int], None] = False,
    dims: Mapping[str, Sequence[str]] | None = None,
    **axes: Any,
) -> "xarray.Dataset":
    """Apply a function at every point of a grid, in one compiled program, and label the results.

    Args:
        fn: `fn(**one value per axis) -> pytree of arrays`, of the same shapes at every point; traced.
        chunk: how many points of the numeric axes are computed between two looks of the host; at most 65536 by default.
        block: how many of them each device computes at once; by default what fits in the cache of a CPU.
        mesh: the devices that share the lanes; by default all there are, of all processes.
        store: a folder that keeps each finished chunk.  The same sweep goes on from it; another one is refused.
        shard: (i, n): compute only every n-th chunk, from the i-th on, into `store`; `merge` joins the n stores.
        progress: True for a bar on stderr (silent when that is no terminal), or a function of (done, total) lanes.
        dims: names for further axes of a result, by the result's name: `{"history.loss": ("step",)}`.
        **axes: by name, either an array or pytree of arrays whose leading axis is swept; or a sequence of strings, or a
            mapping from names to anything, whose values `fn` gets untraced.

    Returns:
        An `xarray.Dataset` whose dimensions are the axes in the order given, then those of each result.  The variables
        are named by their path in the pytree that `fn` returns, joined by dots; a bare array is called "value".
        `alive` says where all numbers are finite.  Of a shard, lanes of other shards are empty and not `done`.

    Raises:
        ValueError: for no axes, an empty axis, a chunk or block below 1, a shard out of range or without a store.
        StoreError: for a store of another sweep (a ValueError).

    >>> result = sweep(lambda a, b: a + 10 * b, a=jnp.arange(3.0), b=jnp.array([1.0, 2.0]))
    >>> result["value"].sel(a=2.0, b=1.0).item(), dict(result.sizes)
    (12.0, {'a': 3, 'b': 2})
    """
    started = time.time()
    for name, value in (("chunk", chunk), ("block", block)):
        if value is not None and value < 1:
            msg = f"{name} must be at least 1; got {value}"
            raise ValueError(msg)
    part, parts = shard
    if not 0 <= part < parts or (parts > 1 and store is None):
        msg = f"shard must be (i, n) with 0 <= i < n, and needs a store where n > 1; got {shard} and store {store}"
        raise ValueError(msg)
    grid = Grid(axes)
    mesh = all_devices() if mesh is None else mesh
    chunk = min(chunk or LARGEST_CHUNK, grid.lanes)
    chunk += -chunk % (1 if mesh is None else mesh.size)
    point = _Point(fn, tuple(tuple(case.items()) for case in grid.cases), tuple(grid.numeric), grid.shape)
    prepared = prepare(point, grid.numeric, chunk, block, mesh)
    kept = None if store is None else Store(store, _identity(grid, prepared, chunk, dims, shard))
    chunks = range(-(-grid.lanes // chunk))
    names = _names(prepared.structure, len(grid.cases))
    done: dict[int, dict[str, np.ndarray]] = {}
    with _bar(progress, grid.lanes) as advance, kept.locked() if kept else contextlib.nullcontext():
        for number in chunks[part::parts]:
            arrays = kept.read(number) if kept else None
            if arrays is None:
                lanes = jnp.minimum(number * chunk + jnp.arange(chunk, dtype=jnp.int32), grid.lanes - 1)
                leaves = prepared.compute(prepared.constants, lanes, jax.tree.leaves(grid.numeric))
                arrays = dict(zip(names, gathered(leaves), strict=True))
                if kept and jax.process_index() == 0:
                    kept.write(number, arrays)
            done[number] = arrays
            advance(min((number + 1) * chunk, grid.lanes), arrays)
    attributes = {"block": prepared.block, "argv": " ".join(sys.argv), "wall_seconds": time.time() - started}
    described = _description(grid, dims)
    return _dataset(described, grid.labels(), done, chunk, {**_versions(), **attributes})


def merge(*folders: str | os.PathLike) -> "xarray.Dataset":
    """The dataset of a sweep whose shards were computed into these stores.

    Raises:
        StoreError: when the stores are of different sweeps, or chunks are missing or damaged (a ValueError).
    """
    if not folders:
        msg = "merge needs at least one store; got none"
        raise ValueError(msg)
    identities = [read_identity(folder) for folder in folders]
    for folder, identity in zip(folders, identities, strict=True):
        check_same(folder, {**identity, "shard": None}, {**identities[0], "shard": None})
    first = identities[0]
    lanes, chunk = first["lanes"], first["chunk"]
    done = {}
    for number in range(-(-lanes // chunk)):
        found = (read_chunk(folder, number) for folder in folders)
        arrays = next((arrays for arrays in found if arrays is not None), None)
        if arrays is None:
            msg = (
                f"stores must hold every chunk of the sweep; chunk {number} is missing or damaged in all {len(folders)}"
            )
            raise StoreError(msg)
        done[number] = arrays
    labels = {name: _label(entry) for name, entry in first["labels"].items()}
    return _dataset(first["description"], labels, done, chunk, first["versions"])


@dataclasses.dataclass(frozen=True)
class _Point:
    """The function at a lane, for every case of the axes of names; equal for equal functions and cases."""

    fn: Callable[..., Any]
    cases: tuple[tuple[tuple[str, Any], ...], ...]
    order: tuple[str, ...]
    shape: tuple[int, ...]

    def __call__(self, lane, numeric):
        values = at(lane, numeric, self.order, self.shape)
        return [self.fn(**values, **dict(case)) for case in self.cases]


def _names(structure, cases):
    """A name for each leaf of the result, `path:case`."""
    paths = jax.tree_util.tree_flatten_with_path(jax.tree.unflatten(structure, range(structure.num_leaves)))[0]
    named = [(".".join(_key_name(key) for key in path[1:]) or "value", path[0].idx) for path, _ in paths]
    if len({tuple(name for name, case in named if case == i) for i in range(cases)}) > 1:
        msg = "fn must return the same pytree for every value of the axes of names; got different ones"
        raise ValueError(msg)
    return [f"{name}:{case}" for name, case in named]


def _key_name(key):
    return str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key))))


def _description(grid, dims):
    """What it takes to lay out the results."""
    sizes = {name: grid.sizes[name] for name in grid.order}
    dims = {name: list(extra) for name, extra in (dims or {}).items()}
    return {"order": grid.order, "sizes": sizes, "named": list(grid.named), "dims": dims}


def _identity(grid, prepared, chunk, dims, shard):
    """What makes this sweep this sweep, as JSON."""
    constants = [_bytes(constant) for constant in prepared.constants]
    axes = {
        f"axis {name}": f"{grid.sizes[name]} values, {digest(*map(_bytes, jax.tree.leaves(values)))}"
        for name, values in grid.numeric.items()
    }
    named = {f"axis {name}": ", ".join(values) for name, values in grid.named.items()}
    labels = {
        name: [value[0], _listed(value[1])] if isinstance(value, tuple) else [None, _listed(value)]
        for name, value in grid.labels().items()
    }
    return {
        "schema": SCHEMA,
        "program": digest(prepared.program, *constants),
        **axes,
        **named,
        "lanes": grid.lanes,
        "chunk": chunk,
        "block": prepared.block,
        "shard": list(shard),
        "versions": _versions(),
        "labels": labels,
        "description": _description(grid, dims),
    }


def _listed(values):
    return {"dtype": str(np.asarray(values).dtype), "values": np.asarray(values).tolist()}


def _label(entry):
    along, listed = entry
    values = np.asarray(listed["values"], dtype=listed["dtype"])
    return values if along is None else (along, values)


def _bytes(array):
    keys = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(array) if keys else array).tobytes()


def _versions():
    device = jax.devices()[0].device_kind
    return {
        "gdlab_schema": SCHEMA,
        "jax": jax.__version__,
        "device": device,
        "x64": int(jax.config.read("jax_enable_x64")),
    }


def _dataset(description, labels, done, chunk, attributes):
    """The chunks as one labelled dataset; lanes of missing chunks are empty."""
    import xarray

    order, sizes, named = description["order"], description["sizes"], description["named"]
    numeric = [name for name in order if name not in named]
    lanes = int(np.prod([sizes[name] for name in numeric], dtype=int))
    arranged = [*named, *numeric]
    gathered_leaves: dict[str, list[np.ndarray]] = {}
    here = np.zeros(lanes, bool)
    for number in done:
        here[number * chunk : (number + 1) * chunk] = True
    for leaf in next(iter(done.values()), {}):
        example = next(iter(done.values()))[leaf]
        empty = np.nan if np.issubdtype(example.dtype, np.floating) else 0
        whole = np.full((lanes, *example.shape[1:]), empty, example.dtype)
        for number, arrays in done.items():
            rows = whole[number * chunk : (number + 1) * chunk]
            rows[...] = arrays[leaf][: len(rows)]
        gathered_leaves.setdefault(leaf.rpartition(":")[0], []).append(whole)

    def laid_out(stacked):
        shaped = stacked.reshape(*(sizes[axis] for axis in arranged), *stacked.shape[2:])
        return np.moveaxis(shaped, range(len(order)), [order.index(axis) for axis in arranged])

    variables, alive = {}, np.ones((1, lanes), bool)
    for name, cases in gathered_leaves.items():
        stacked = np.stack(cases)
        if np.issubdtype(stacked.dtype, np.inexact):
            alive = alive & np.isfinite(stacked).reshape(*stacked.shape[:2], -1).all(-1)
        shaped = laid_out(stacked)
        extra = description["dims"].get(name, ())
        extra = [*extra, *(f"{name}_{i}" for i in range(len(extra), shaped.ndim - len(order)))]
        variables[name] = ([*order, *extra], shaped)
    count = int(np.prod([sizes[name] for name in named], dtype=int))
    for name, flags in (("alive", alive & here), ("done", here[None])):
        if name not in variables and not (name == "done" and here.all()):
            variables[name] = (order, laid_out(np.broadcast_to(flags, (count, lanes))).copy())
    return xarray.Dataset(variables, labels, attributes)


@contextlib.contextmanager
def _bar(progress, total):
    """A bar on stderr, or the caller's own report, or nothing: what to call with the lanes done and their arrays."""
    if callable(progress):
        yield lambda done, _: progress(done, total)
    elif not progress:
        yield lambda done, _: None
    else:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as drawn:
            task = drawn.add_task("sweep", total=total)

            def advance(done, arrays):
                floats = [a for a in arrays.values() if np.issubdtype(a.dtype, np.floating)]
                alive = np.mean([np.isfinite(a).reshape(len(a), -1).all(-1).mean() for a in floats] or [1.0])
                drawn.update(task, completed=done, description=f"sweep, alive {alive:.0%}")

            yield advance
