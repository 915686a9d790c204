"""The dataset of a sweep: the names and the layout of its variables, each of which a NetCDF file can hold.

    variable[axis_1, ..., axis_n, *dims]  =  the result of that name, of all cases and lanes

What cannot become a dataset, or a file, is refused before anything is computed.

| function | what it does |
|---|---|
| `attributes` | further attributes, as numbers and texts |
| `returned` | refuses what is no array, and what holds none |
| `leaf_names` | a name for each leaf of all cases |
| `dims_of`, `description` | the names of further axes; what it takes to lay out the results |
| `placed` | the variable and the dims of each result |
| `labelled` | the dataset |
"""

import datetime
import functools
import itertools
import math
import os
from collections.abc import Mapping, Sequence
from numbers import Integral, Number, Real
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gdlab.ground.leaves import plain, shown
from gdlab.sweeps.axes import is_text, path_name, storable
from gdlab.sweeps.history import rows_of, steps_of
from gdlab.sweeps.template import dataset_of

if TYPE_CHECKING:
    import xarray

FLAGS = ("alive", "died", "done")  # what the dataset says of every lane
FEW = 2**12  # numbers, for which it does not pay to look at their sum first
# What HDF5 and NetCDF keep for themselves among the names of attributes.
RESERVED = frozenset((
    "CLASS", "DIMENSION_LIST", "NAME", "REFERENCE_LIST", "_NCProperties", "_Netcdf4Coordinates", "_Netcdf4Dimid",
    "_nc3_strict",
))  # fmt: skip


def attributes(attrs: Mapping[str, Any] | None, taken: Sequence[str]) -> dict[str, Any]:
    """Further attributes as plain numbers, texts and lists of these, which both JSON and NetCDF hold.

    Numbers of NumPy become those of Python, truths 1 and 0, dates their ISO texts, paths texts.

    Raises:
        ValueError: for a name that is taken or that no file can hold.
        TypeError: for a value that is none of these.
    """
    if not isinstance(attrs or {}, Mapping):
        msg = f"attrs must be a mapping from names to numbers and texts; got {shown(attrs)}"
        raise TypeError(msg)
    for name in attrs or {}:
        if not isinstance(name, str) or not name or not is_text(name) or name in {*RESERVED, *taken}:
            msg = f"attrs must have names that are texts, and none of {', '.join(taken)}; got {shown(name)}"
            raise ValueError(msg)
    return {name: _attribute(name, value) for name, value in (attrs or {}).items()}


def _attribute(name, value):
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic | jax.Array) else value
    if isinstance(value, np.datetime64):
        return str(value)
    if isinstance(plain, list | tuple):
        parts = [_attribute(name, part) for part in plain]
        if len({isinstance(part, str) for part in parts}) <= 1 and not any(isinstance(part, list) for part in parts):
            return parts
    elif isinstance(plain, str | os.PathLike | datetime.date | datetime.time):
        text = plain.isoformat() if isinstance(plain, datetime.date | datetime.time) else os.fspath(plain)
        if is_text(text):
            return text
    elif isinstance(plain, Integral) and -(2**63) <= int(plain) < 2**63:
        return int(plain)
    elif isinstance(plain, Real) and not isinstance(plain, Integral):
        return float(plain)
    msg = "attrs must be numbers, texts, or lists of one of them, which a NetCDF file can hold; got "
    msg += f"{shown(value)} for {name!r}"
    raise TypeError(msg)


def returned(result: Any) -> Any:
    """What the function of a sweep returned, if it is a pytree of arrays.

    A `Run` and the modules of a library may hold functions, texts, keys and Python's numbers as well, which are the
    same at every point and left out.

    Raises:
        TypeError: for a leaf that is no array, and where there is none.
    """
    if not plain(result):
        result = jax.tree.map(lambda leaf: leaf if _of_numbers(leaf, False) else None, result)
    leaves = jax.tree.leaves(result)
    for leaf in leaves:
        dtype = getattr(leaf, "dtype", None)
        if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.extended):
            msg = "fn must return a pytree of arrays of numbers, and of a PRNG key jax.random.key_data(key); got "
            raise TypeError(msg + f"a leaf of dtype {dtype}")
        if not _of_numbers(leaf):
            break
    else:
        if leaves:
            return result
    msg = f"fn must return a pytree of arrays of numbers, at least one; got {shown(leaf if leaves else result)}"
    raise TypeError(msg)


def _of_numbers(leaf, alone=True):
    """Whether a leaf is an array of numbers, or, where these may stand `alone`, one of Python's."""
    if isinstance(leaf, jax.Array):
        return not jnp.issubdtype(leaf.dtype, jax.dtypes.extended)
    is_array = isinstance(leaf, np.ndarray | np.generic)
    return leaf.dtype.kind not in "OSUMm" if is_array else alone and isinstance(leaf, Number)


def leaf_names(results: Sequence[Any]) -> list[str]:
    """A name for each leaf of the results of all cases, `path:case`.

    Raises:
        ValueError: where cases differ in their names or shapes, or two leaves have one name.
    """
    shapes: list[dict[str, tuple[int, ...]]] = []
    for result in results:
        shapes.append({})
        for path, leaf in jax.tree_util.tree_leaves_with_path(result):
            name = path_name(path) or "value"
            if name in shapes[-1]:
                msg = f"fn must return leaves whose names, paths joined by dots, differ; got {name!r} twice"
                raise ValueError(msg)
            shapes[-1][name] = leaf.shape
    for other in shapes:
        if list(other) != list(shapes[0]):
            got = f"got {', '.join(shapes[0])} and {', '.join(other)}"
            msg = f"fn must return the same pytree for every value of the axes of names; {got}"
            raise ValueError(msg)
        for name, shape in other.items():
            if shape != shapes[0][name]:
                got = f"{name} has {shapes[0][name]} and {shape}"
                msg = f"fn must return arrays of the same shapes for every value of the axes of names; {got}"
                raise ValueError(msg)
    return [f"{name}:{case}" for case, shapes_ in enumerate(shapes) for name in shapes_]


def dims_of(dims: Mapping[str, Sequence[str]] | None) -> dict[str, tuple[str, ...]]:
    """The names of further axes of each result; TypeError for what is none."""
    if not dims:
        return {}
    if not isinstance(dims, Mapping):
        msg = f"dims must be a mapping from results to names of their axes; got {shown(dims)}"
        raise TypeError(msg)
    for name, given in dims.items():
        if not isinstance(given, str | list | tuple):
            msg = f"dims must be names of axes, as in {{'loss': ('step',)}}; got {shown(given)} for {name!r}"
            raise TypeError(msg)
    return {name: (given,) if isinstance(given, str) else tuple(given) for name, given in dims.items()}


def description(
    sizes: Mapping[str, int], named: Sequence[str], dims: Mapping[str, Sequence[str]], results: Sequence[Any]
) -> dict[str, Any]:
    """What it takes to lay out the results, as JSON: the axes in their order, those of names, and `dims_of` results."""
    extra = {name: list(given) for name, given in dims.items()}
    paths = itertools.chain(*map(jax.tree_util.tree_leaves_with_path, results))
    rows = rows_of(results, [*sizes, *itertools.chain(*extra.values()), *(path_name(path) for path, _ in paths)])
    dims = {**rows.pop("dims"), **extra}
    return {"order": list(sizes), "sizes": dict(sizes), "named": list(named), "dims": dims, "rows": rows}


def placed(
    description: Mapping[str, Any], labels: Mapping[str, Any], leaves: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[str, list[str]]]:
    """The variable and the dims of each result, from the shapes at one point of its leaves, called `path:case`.

    Raises:
        ValueError: for names that no file can hold, that stand for two things, or for axes of two lengths.
    """
    dims, lengths = description["dims"], dict(description["sizes"])
    shapes = {name.rpartition(":")[0]: shape for name, shape in leaves.items()}
    for kind, names in (("axes", labels), ("fn's results", shapes), ("dims", itertools.chain(*dims.values()))):
        for name in names:
            _check_name(kind, name)
    for name in labels:
        if name in FLAGS:
            msg = f"axes must not be called {', '.join(FLAGS)}, which the dataset says itself; got {name!r}"
            raise ValueError(msg)
    for name in dims:
        if name not in shapes:
            msg = f"dims must name results, here {', '.join(shapes)}; got {name!r}"
            raise ValueError(msg)
    places: dict[str, tuple[str, list[str]]] = {}
    for name, shape in shapes.items():
        extra = dims.get(name, [])
        if len(extra) > len(shape):
            msg = f"dims must name at most the axes of a result; {name} has shape {shape}, got {extra}"
            raise ValueError(msg)
        extra = [*extra, *(f"{name}_{i}" for i in range(len(extra), len(shape)))]
        for dim, length in zip(extra, shape, strict=True):
            if dim in description["order"] or extra.count(dim) > 1:
                msg = f"dims must differ from the axes and from each other; those of {name} are {', '.join(extra)}"
                raise ValueError(msg)
            if lengths.setdefault(dim, length) != length:
                msg = f"dims must have one length each; {dim!r} has {lengths[dim]} elsewhere and {length} in {name}"
                raise ValueError(msg)
        places[name] = f"result.{name}" if name in labels or name in FLAGS else name, extra
    variables = [variable for variable, _ in places.values()]
    for name, (variable, _) in places.items():
        if variables.count(variable) > 1:
            msg = f"fn must return results that differ in their names; {name!r} is called {variable!r}, got that twice"
            raise ValueError(msg)
    return places


def _check_name(kind, name):
    if not isinstance(name, str) or name in ("", ".") or "/" in name or not is_text(name):
        msg = f"{kind} must have names that a NetCDF file can hold, texts without a slash; got {shown(name)}"
        raise ValueError(msg)


def labelled(
    description: Mapping[str, Any],
    labels: Mapping[str, Any],
    done: Mapping[int, Mapping[str, np.ndarray]],
    chunk: int,
    attributes: dict[str, Any],
    places: Mapping[str, tuple[str, list[str]]] | None = None,
) -> "xarray.Dataset":
    """The chunks as one labelled dataset; lanes of missing chunks are empty.

    `places` is what `placed` says, where it is known.
    """
    layout = _layout_of(description)
    lanes, cases = layout.lanes, layout.cases
    complete = len(done) * chunk >= lanes
    here = np.zeros(lanes, bool)
    for number in done:
        here[number * chunk : (number + 1) * chunk] = True
    first = next(iter(done.values()), {})
    labels = {**labels, **steps_of(description["rows"], done.values())}
    if places is None:
        places = placed(description, labels, {name: array.shape[1:] for name, array in first.items()})
    elif not first:
        places = {}
    variables: dict[str, Any] = {}
    living, died = here[None], None
    for name, (variable, extra) in places.items():
        stacked = _stacked(name, done, chunk, cases, here)
        if stacked.dtype.kind in "fc":
            lives, ends = _finite(stacked, extra[:1] == ["step"])
            living = living & lives
            if ends is not None:
                died = ends if died is None else np.minimum(died, ends)
        variables[variable] = (layout.order + tuple(extra), layout.laid_out(stacked))
    flags = {"alive": living, **({} if complete else {"done": here[None].copy()})}
    if died is not None:
        flags["died"] = np.where(living | ~here, -1, died)
    for name, values in flags.items():
        full = values if values.shape == (cases, lanes) else np.broadcast_to(values, (cases, lanes)).copy()
        variables[name] = (layout.order, layout.laid_out(full))
    return dataset_of(variables, labels, attributes)


class _Layout(NamedTuple):
    """Where the numbers of cases and lanes lie in a variable."""

    order: tuple[str, ...]  # the axes
    lengths: tuple[int, ...]  # of the axes of names, then of the numeric ones
    targets: tuple[int, ...] | None  # the places of these axes in the order; None where they are in order
    cases: int
    lanes: int

    def laid_out(self, stacked):
        """An array of shape (cases, lanes, ...) as a variable of the dataset."""
        shaped = stacked.reshape(*self.lengths, *stacked.shape[2:])
        return shaped if self.targets is None else np.moveaxis(shaped, range(len(self.order)), self.targets)


def _layout_of(description):
    return _layout(tuple(description["sizes"].items()), tuple(description["order"]), tuple(description["named"]))


@functools.lru_cache(maxsize=64)
def _layout(sizes, order, named):
    lengths = dict(sizes)
    numeric = tuple(name for name in order if name not in named)
    lanes, cases = (math.prod(lengths[name] for name in names) for names in (numeric, named))
    arranged = (*named, *numeric)
    targets = None if arranged == order else tuple(order.index(axis) for axis in arranged)
    return _Layout(order, tuple(lengths[axis] for axis in arranged), targets, cases, lanes)


def _finite(stacked, in_rows):
    """Whether all numbers are finite, for each case and lane; and the first row of each that is not, in rows."""
    if not 0 < stacked.size <= FEW:
        with np.errstate(all="ignore"):
            if np.isfinite(stacked.sum()):  # then each number is, and a sum needs no memory
                return np.bool_(True), np.full(stacked.shape[:2], stacked.shape[2]) if in_rows else None
    finite = np.isfinite(stacked)
    lives = np.logical_and.reduce(finite, axis=tuple(range(2, finite.ndim)))
    if not in_rows:
        return lives, None
    rows = finite.all(axis=tuple(range(3, finite.ndim)))
    return lives, np.where(rows.all(axis=-1), rows.shape[-1], rows.argmin(axis=-1))


def _stacked(name, done, chunk, cases, here):
    """A result of all chunks, shape (cases, lanes, ...), in a dtype that a file can hold."""
    example = next(iter(done.values()))
    if len(here) <= chunk and cases == 1:
        return storable(example[f"{name}:0"][None, : len(here)])
    dtype = np.result_type(*(storable(example[f"{name}:{case}"][:0]).dtype for case in range(cases)))
    stacked = np.empty((cases, len(here), *example[f"{name}:0"].shape[1:]), dtype)
    if not here.all():
        stacked[...] = np.nan if jnp.issubdtype(dtype, jnp.inexact) else 0
    for number, arrays in done.items():
        for case in range(cases):
            rows = stacked[case, number * chunk : (number + 1) * chunk]
            rows[...] = arrays[f"{name}:{case}"][: len(rows)]
    return stacked
