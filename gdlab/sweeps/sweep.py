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
import functools
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import jax
import jaxlib
import numpy as np

from gdlab.ground.checks import choice, function, whole
from gdlab.progress import alive, bar
from gdlab.storage.fingerprint import array_bytes
from gdlab.storage.multihost import on_first_process, shared_store
from gdlab.storage.store import Store, StoreError, check_same, digest, read_identity
from gdlab.sweeps.axes import Grid
from gdlab.sweeps.batching import all_devices
from gdlab.sweeps.dataset import attributes, dims_of, labelled
from gdlab.sweeps.plan import Choice, planned
from gdlab.sweeps.ways import NAMES
from gdlab.sweeps.workers import gathered

if TYPE_CHECKING:
    import xarray

SCHEMA = 5  # the version of the layout of datasets and stores


def sweep(
    fn: Callable[..., Any],
    *,
    chunk: int | None = None,
    block: int | None = None,
    way: str | None = None,
    mesh: jax.sharding.Mesh | None = None,
    store: str | os.PathLike | None = None,
    shard: tuple[int, int] = (0, 1),
    progress: bool | Callable[[int, int], None] = False,
    dims: Mapping[str, Sequence[str]] | None = None,
    attrs: Mapping[str, Any] | None = None,
    **axes: Any,
) -> "xarray.Dataset":
    """Apply a function at every point of a grid, in one compiled program, and label the results.

    Args:
        fn: `fn(**one value per axis) -> pytree of arrays`, of the same shapes at every point; traced.
        chunk: how many points of the numeric axes are computed between two looks of the host; at most 65,536 by
            default; beside a GPU or TPU up to 2^20, as many as fit in 1 GiB with their results.
        block: how many of them each device computes at once; by default what fits in the cache of a CPU, and the share
            of an accelerator.
        way: how they are computed, "vmap", "kernel" or "vectors" (`gdlab.sweeps.ways`), which differ in the last bits.
            By default, with the block, that of the store; else, in a long sweep on a CPU, the fastest of a few, which
            are timed once and kept in the user's cache (not where GDLAB_CACHE is "off", nor for a shard); else what
            suits the program.  The attributes say which it was.
        mesh: the devices that share the lanes; by default all there are, of all processes.
        store: a folder that keeps each finished chunk.  The same sweep goes on from it; another one is refused.
        shard: (i, n): compute only every n-th chunk, from the i-th on, into `store`; `merge` joins the n stores.
        progress: True for a bar on stderr (silent when that is no terminal), or a function of (done, total) lanes.
        dims: names for further axes of a result, by the result's name: `{"loss": ("step",)}`.  The history of a `Run`
            has "step" by itself, with its coordinate.
        attrs: further attributes of the dataset by name, which `merge` gives back as well: numbers, texts, lists of
            them; truths become 1 and 0, dates and paths texts.
        **axes: by name, either a list of numbers, an array or a pytree of arrays whose leading axis is swept; or a
            sequence of strings, or a mapping from names to anything, whose values `fn` gets untraced.

    Returns:
        An `xarray.Dataset` whose dimensions are the axes in the order given, then those of each result.  The variables
        are named by their path in the pytree that `fn` returns, joined by dots; a bare array is called "value", and
        what has the name of an axis, or is called alive, died or done, gets "result." before it.  It can be written
        with `to_netcdf`, which is why bfloat16 becomes float32.
        `alive` says where all numbers are finite; where a result has a dim called "step", `died` is the first row of
        it that is not finite, or -1.  Of a shard, lanes of other shards are empty and not `done`.  The attributes say
        what was swept, on what, by which versions and command, and how long it took.

    Raises:
        ValueError: for no axes, an empty axis, 2^31 points or more, a chunk or block below 1, a shard out of range or
            without a store; and before anything is computed for names that no file can hold or that stand for two
            things, dims of two lengths, and results unlike each other.
        TypeError: for results that are no arrays of numbers, and attributes that no file can hold.
        MemoryError: when the first chunk shows that all results would not fit in memory.
        StoreError: for a store of another sweep, in use, or that cannot be written (a ValueError).

    >>> import jax.numpy as jnp
    >>> result = sweep(lambda a, b: a + 10 * b, a=jnp.arange(3.0), b=jnp.array([1.0, 2.0]))
    >>> result["value"].sel(a=2.0, b=1.0).item(), dict(result.sizes)
    (12.0, {'a': 3, 'b': 2})
    """
    started = time.monotonic()
    function("fn", fn, "fn(**one value per axis) -> pytree of arrays")
    chunk = None if chunk is None else whole("chunk", chunk)
    block = None if block is None else whole("block", block)
    part, parts = _share(shard, store)
    grid = Grid(axes)
    mesh = all_devices() if mesh is None else mesh
    labels = grid.labels()
    settled = _settled(way, block, store, parts)
    prepared, chunk, described, names, places = planned(fn, grid, labels, chunk, settled, mesh, dims_of(dims))
    versions = _versions()
    attrs = attributes(attrs, [*versions, "config", "argv", "way", "block", "wall_seconds"]) if attrs else {}
    identity = _identity(grid, prepared, chunk, described, shard, attrs) if store is not None else {}
    leaves = jax.tree.leaves(grid.numeric)
    held = contextlib.nullcontext() if store is None else shared_store(store, identity)
    done: dict[int, dict[str, np.ndarray]] = {}
    chunks = -(-grid.lanes // chunk)
    with bar(progress, "sweep", grid.lanes) as advance, held as stored:
        for number in range(chunks)[part::parts]:
            arrays = stored.read(number) if stored else None
            if arrays is None:
                computed = prepared.compute(prepared.constants, number * chunk, leaves)
                arrays = dict(zip(names, gathered(computed, chunk, prepared.axes), strict=True))
                if stored:
                    stored.write(number, arrays)
            if not done and chunks > 1:  # the results of one chunk are in memory already
                _must_fit(arrays, chunks + chunks // parts)  # the dataset, and the chunks that it is made of
            done[number] = arrays
            advance(min((number + 1) * chunk, grid.lanes), f"alive {alive(arrays).mean():.0%}" if progress else "")
    config = _config(grid, chunk, prepared.way.block, shard)
    said = {**versions, "config": config, "argv": _argv(), "way": prepared.way.name, "block": prepared.way.block}
    said |= {"wall_seconds": time.monotonic() - started, **attrs}
    return labelled(described, labels, done, chunk, said, places)


def merge(*folders: str | os.PathLike) -> "xarray.Dataset":
    """The dataset of a sweep whose shards were computed into these stores.

    Raises:
        StoreError: when the stores are of different sweeps or overlap, or chunks are missing or damaged.

    >>> import tempfile
    >>> import jax.numpy as jnp
    >>> with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
    ...     for i, folder in enumerate((one, two)):
    ...         _ = sweep(lambda a: a * a, a=jnp.arange(3.0), chunk=1, store=folder, shard=(i, 2))
    ...     print(merge(one, two)["value"].values)
    [0. 1. 4.]
    """
    if not folders:
        msg = "merge needs at least one store; got none"
        raise ValueError(msg)
    stores = [Store(folder, read_identity(folder)) for folder in folders]
    first = stores[0].identity
    for store in stores:
        if store.identity.get("schema") != SCHEMA or "lanes" not in store.identity:
            msg = f"stores must be of sweeps, of schema {SCHEMA}; {store.folder} is not"
            raise StoreError(msg)
        check_same(store.folder, {**store.identity, "shard": None}, {**first, "shard": None})
    lanes, chunk = first["lanes"], first["chunk"]
    there: dict[int, list[Store]] = {}  # looked up once: a thousand stores of a thousand chunks are a million files
    for store in stores:
        for number in store.numbers():
            there.setdefault(number, []).append(store)
    done = {}
    for number in range(-(-lanes // chunk)):
        holding = there.get(number, [])
        if len(holding) > 1:
            msg = f"stores must not overlap; chunk {number} is in both {holding[0].folder} and {holding[1].folder}"
            raise StoreError(msg)
        arrays = holding[0].read(number) if holding else None
        if arrays is None:
            msg = f"stores must hold every chunk of the sweep; chunk {number} is "
            msg += f"damaged in {holding[0].folder}" if holding else f"missing in all {len(folders)}"
            raise StoreError(msg)
        done[number] = arrays
    labels = {name: _label(entry) for name, entry in first["labels"].items()}
    said = {**first["versions"], **{name: first[name] for name in ("config", "way", "block")}}
    said |= {"argv": _argv(), **first["attrs"]}
    return labelled(first["description"], labels, done, chunk, said)


def _share(shard, store):
    """The number of this share and how many there are."""
    if shard == (0, 1):
        return shard
    pair = isinstance(shard, tuple | list) and len(shard) == 2 and all(isinstance(part, Integral) for part in shard)
    if not pair or not 0 <= shard[0] < shard[1] or (shard[1] > 1 and store is None):
        msg = f"shard must be (i, n) with 0 <= i < n, and needs a store where n > 1; got {shard} and store {store}"
        raise ValueError(msg)
    return int(shard[0]), int(shard[1])


def _settled(way, block, store, parts):
    """What is settled of the way: by the caller, or by the first chunk of the store; shards keep to the rule."""
    way = None if way is None else choice("way", way, NAMES)
    if way is None and block is None and store is not None:
        kept = on_first_process(lambda: _kept(store))
        if kept is not None:
            return Choice(NAMES[int(kept["way"])], int(kept["block"]), stored=True)
    return Choice(way, block, measured=parts == 1)


def _kept(store):
    """The way of a store, in numbers; None where there is no store."""
    try:
        identity = read_identity(store)
        return {"way": np.asarray(NAMES.index(identity["way"])), "block": np.asarray(whole("block", identity["block"]))}
    except (KeyError, ValueError, TypeError):  # there is none, or one of something else, which is refused when opened
        return None


def _must_fit(arrays, chunks):
    """Refuse, after the first chunk, a sweep whose results cannot fit in memory."""
    needed = chunks * sum(array.nbytes for array in arrays.values())
    if hasattr(os, "sysconf") and needed > (there := os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")):
        gib = f"{needed / 2**30:.3g} GiB of {there / 2**30:.3g}"
        msg = f"results must fit in memory; these take {gib}: let the function return less, or sweep fewer points"
        raise MemoryError(msg)


def _config(grid, chunk, block, shard):
    """What was asked for, as JSON."""
    axes = tuple([(name, tuple(grid.named.get(name, ())) or f"{grid.sizes[name]} values") for name in grid.order])
    return _config_of(axes, chunk, block, tuple(map(int, shard)))


@functools.lru_cache(maxsize=64, typed=True)
def _config_of(axes, chunk, block, shard):
    return json.dumps({"axes": dict(axes), "chunk": chunk, "block": block, "shard": shard})


def _identity(grid, prepared, chunk, described, shard, attrs):
    """The identity of this sweep, as JSON: hashes of its program and arguments, and its sizes."""
    axes = {
        f"axis {name}": f"{grid.sizes[name]} values, {digest(*map(array_bytes, jax.tree.leaves(values)))}"
        for name, values in grid.numeric.items()
    }
    named = {f"axis {name}": ", ".join(map(str, values)) for name, values in grid.named.items()}
    labels = {
        name: [value[0], _listed(value[1])] if isinstance(value, tuple) else [None, _listed(value)]
        for name, value in grid.labels().items()
    }
    return {
        "schema": SCHEMA,
        "program": prepared.program.hex()[:16],
        **axes,
        **named,
        "order": ", ".join(grid.order),
        "lanes": grid.lanes,
        "chunk": chunk,
        "way": prepared.way.name,
        "block": prepared.way.block,
        "shard": list(map(int, shard)),
        "versions": _versions(),
        "config": _config(grid, chunk, prepared.way.block, (0, 1)),
        "argv": _argv(),
        "attrs": attrs,
        "labels": labels,
        "description": described,
    }


def _listed(values):
    """A list of labels as JSON, complex ones as pairs of numbers."""
    values = np.ascontiguousarray(values)
    numbers = values.view(values.real.dtype) if values.dtype.kind == "c" else values
    return {"dtype": str(values.dtype), "values": numbers.tolist()}


def _label(entry):
    along, listed = entry
    dtype = np.dtype(listed["dtype"])
    values = np.asarray(listed["values"], np.finfo(dtype).dtype if dtype.kind == "c" else dtype).view(dtype)
    return values if along is None else (along, values)


def _argv():
    """The command, in characters that a file can hold."""
    return " ".join(sys.argv).encode("utf-8", "backslashreplace").decode()


def _versions():
    return _versions_with(jax.devices()[0].device_kind, jax.dtypes.canonicalize_dtype(float))


@functools.lru_cache(maxsize=16)
def _versions_with(device, dtype):
    return {
        "gdlab_schema": SCHEMA,
        "python": sys.version.split()[0],
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "device": device,
        "dtype": str(dtype),
    }
