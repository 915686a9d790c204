"""A sweep: one function over the product of named axes, as one labelled dataset.

    result[a, b, ...] = fn(a=axis_a[a], b=axis_b[b], ...)

Numeric axes are vmapped over their product, in one compiled call; axes of names or of a mapping from names to values
(optimizers, surfaces) are unrolled in that same call.  Labels stay outside the compiled part: a dict of axes would come
back from it sorted.  A run that diverges is data (inf or NaN), never dropped.
"""

import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

SCHEMA = 1  # the version of the layout of the datasets


def sweep(
    fn: Callable[..., Any],
    *,
    chunk: int | None = None,
    progress: bool | Callable[[int, int], None] = False,
    dims: Mapping[str, Sequence[str]] | None = None,
    **axes: Any,
):
    """Apply a function at every point of a grid, in one compiled call, and label the results.

    Args:
        fn: `fn(**one value per axis) -> pytree of arrays`, of the same shapes at every point; traced.
        chunk: how many points of the numeric grid are computed at once, which bounds the memory; all by default.
        progress: True for a bar on stderr (silent when that is no terminal), or a function of (done, total) points.
        dims: names for further axes of a result, by the result's name: `{"history.loss": ("step",)}`.
        **axes: by name, either an array or pytree of arrays whose leading axis is swept; or a sequence of strings, or a
            mapping from names to anything, whose values `fn` gets untraced.

    Returns:
        An `xarray.Dataset` whose dimensions are the axes in the order given, then those of each result.  The variables
        are named by their path in the pytree that `fn` returns, joined by dots; a bare array is called "value".

    Raises:
        ValueError: for no axes, an empty axis, or a chunk below 1.

    >>> result = sweep(lambda a, b: a + 10 * b, a=jnp.arange(3.0), b=jnp.array([1.0, 2.0]))
    >>> result["value"].sel(a=2.0, b=1.0).item(), dict(result.sizes)
    (12.0, {'a': 3, 'b': 2})
    """
    import xarray

    started = time.perf_counter()
    named = {name: _named_values(values) for name, values in axes.items()}
    numeric = {name: jax.tree.map(jnp.asarray, axes[name]) for name in axes if named[name] is None}
    named = {name: values for name, values in named.items() if values is not None}
    sizes = {name: len(named[name]) if name in named else _length(name, numeric[name]) for name in axes}
    for name, size in sizes.items():
        if size == 0:
            msg = f"axis {name!r} must have at least one value; got none"
            raise ValueError(msg)
    if not axes:
        msg = "sweep needs at least one axis, given as a keyword argument; got none"
        raise ValueError(msg)
    lanes = math.prod(sizes[name] for name in numeric)
    chunk = lanes if chunk is None else chunk
    if chunk < 1:
        msg = f"chunk must be at least 1; got {chunk}"
        raise ValueError(msg)

    shape = tuple(sizes[name] for name in numeric)

    def at(lane, values):
        place = jnp.unravel_index(lane, shape) if shape else ()
        point = {name: jax.tree.map(lambda v: v[i], values[name]) for name, i in zip(numeric, place, strict=True)}
        return [fn(**point, **dict(zip(named, combo, strict=True))) for combo in combos]

    combos = list(itertools.product(*(values.values() for values in named.values())))
    compute = jax.jit(jax.vmap(at, in_axes=(0, None)))
    blocks = []
    with _bar(progress, lanes * len(combos)) as report:
        for start in range(0, lanes, chunk):
            lane = jnp.minimum(start + jnp.arange(min(chunk, lanes)), lanes - 1)
            block = jax.tree.map(np.asarray, compute(lane, numeric))
            done = min(start + chunk, lanes)
            blocks.append(jax.tree.map(lambda leaf, n=done - start: leaf[:n], block))
            report(done * len(combos))
    results = jax.tree.map(lambda *parts: np.concatenate(parts), *blocks)

    whole = jax.tree.map(lambda *parts: np.stack(parts), *results)  # (combos, lanes, ...)
    order = [*named, *numeric]
    variables = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(whole)[0]:
        name = ".".join(_key_name(key) for key in path) or "value"
        leaf = leaf.reshape(*(sizes[axis] for axis in order), *leaf.shape[2:])
        leaf = np.moveaxis(leaf, range(len(order)), [list(axes).index(axis) for axis in order])
        extra = (dims or {}).get(name, ())
        extra = [*extra, *(f"{name}_{i}" for i in range(len(extra), leaf.ndim - len(axes)))]
        variables[name] = ([*axes, *extra], leaf)
    coordinates = {name: list(named[name]) if name in named else _coordinate(numeric[name]) for name in axes}
    attributes = {
        "gdlab_schema": SCHEMA,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
        "wall_seconds": time.perf_counter() - started,
    }
    return xarray.Dataset(variables, coordinates, attributes)


def _named_values(values):
    """The axis as a mapping from labels to values, or None where it is numeric."""
    if isinstance(values, Mapping) and not all(isinstance(v, jax.Array | np.ndarray) for v in values.values()):
        return dict(values)
    if isinstance(values, list | tuple) and values and all(isinstance(value, str) for value in values):
        return {value: value for value in values}
    return None


def _length(name, values):
    lengths = {leaf.shape[0] if leaf.ndim else -1 for leaf in jax.tree.leaves(values)}
    if len(lengths) != 1 or lengths == {-1}:
        msg = f"axis {name!r} must be an array, or a pytree of arrays with one common leading axis, or names; got {values}"
        raise ValueError(msg)
    return lengths.pop()


def _coordinate(values):
    leaves = jax.tree.leaves(values)
    plain = len(leaves) == 1 and leaves[0].ndim == 1 and not jnp.issubdtype(leaves[0].dtype, jax.dtypes.extended)
    return np.asarray(leaves[0]) if plain else np.arange(leaves[0].shape[0])


def _key_name(key):
    return str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key))))


class _bar:
    """A progress bar on stderr, or the caller's own report, or nothing."""

    def __init__(self, progress, total):
        self.report, self.total, self.drawn = progress, total, None

    def __enter__(self):
        if callable(self.report):
            return lambda done: self.report(done, self.total)
        if not self.report:
            return lambda done: None
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self.drawn = Progress(console=console, transient=True, disable=not console.is_terminal)
        self.drawn.start()
        task = self.drawn.add_task("sweep", total=self.total)
        return lambda done: self.drawn.update(task, completed=done)

    def __exit__(self, *_):
        if self.drawn is not None:
            self.drawn.stop()
