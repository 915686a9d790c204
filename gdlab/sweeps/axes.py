"""Axes: the named lists of values whose product a sweep computes.

    lanes  =  axis_1 x ... x axis_n  over the numeric axes;      cases  =  the same over the axes of names

A numeric axis is a list of numbers, an array, or a pytree of arrays, whose leading axis is swept; a pytree moves in
step (a zipped axis).
An axis of names is a sequence of strings, or a mapping from names to anything (optimizers, surfaces), and reaches the
function untraced.  Labels stay on the host: a dict of axes would come back sorted from a compiled function.

| function | what it returns |
|---|---|
| `Grid` | the axes of a sweep: sizes, cases, lanes, and the point at a lane |
| `path_name` | the name of a leaf of a result |
| `storable`, `is_text` | an array in a dtype that a file can hold; whether it can hold a text |
| `seeds` | PRNG keys, one for each run |
| `draws` | random or quasi-random points of a box, as a zipped axis |
| `range_of` | the bounds that a range names |
| `names_of` | values by their labels |
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Number, Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gdlab.arguments import any_array
from gdlab.ground.checks import whole, within_bits
from gdlab.ground.leaves import shown

# What an axis may be.
AXIS = "an array or a list of numbers, arrays with one common leading axis, or names, as in {'adam': gdlab.adam}"


class Grid:
    """The axes of a sweep in their order, numeric ones apart from those of names.

    Raises:
        ValueError: for no axes, an axis that is empty or neither numeric nor of names, or more than 2^31 - 1 lanes.
    """

    def __init__(self, axes: Mapping[str, Any]):
        """Sort the axes."""
        if not axes:
            msg = "sweep needs at least one axis, given as a keyword argument; got none"
            raise ValueError(msg)
        self.order = list(axes)
        self.named: dict[str, dict[Any, Any]] = {}
        self.numeric: dict[str, Any] = {}
        self.sizes: dict[str, int] = {}
        for name, values in axes.items():
            if (named := _named(name, values)) is not None:
                self.named[name], size = named, len(named)
            else:
                self.numeric[name] = arrays = _numeric(name, values)
                size = len(arrays if arrays is values else jax.tree.leaves(arrays)[0])
            if size == 0:
                msg = f"axis {name!r} must have at least one value; got none"
                raise ValueError(msg)
            self.sizes[name] = size
        self.shape = tuple([self.sizes[name] for name in self.numeric])  # of the numeric axes
        self.lanes = math.prod(self.shape)  # how many points they have
        if self.lanes >= 2**31:
            msg = f"the axes must have fewer than 2^31 points together, which 32 bits count; got {self.lanes}"
            raise ValueError(msg)

    @property
    def cases(self) -> list[dict[str, Any]]:
        """Every choice of one value for each axis of names."""
        if not self.named:
            return [{}]
        product = itertools.product(*(values.values() for values in self.named.values()))
        return [dict(zip(self.named, values, strict=True)) for values in product]

    def labels(self) -> dict[str, Any]:
        """The coordinates of every axis; those of a zipped axis are its number and each of its parts.

        A part has the name of its axis before its own where two axes have parts of one name.
        """
        labels: dict[str, Any] = {}
        parts_of_all = [str(part) for values in self.numeric.values() if isinstance(values, Mapping) for part in values]
        for name in self.order:
            if name in self.named:
                labels[name] = list(self.named[name])
                continue
            values, parts = self.numeric[name], {}
            if type(values) is not np.ndarray and isinstance(values, Mapping):
                for part, value in ((str(part), value) for part, value in values.items() if _is_label(value)):
                    unique = part if parts_of_all.count(part) == 1 else f"{name}.{part}"
                    parts[unique] = (name, _label(value))
            labels[name] = _label(values) if _is_label(values) else np.arange(self.sizes[name])
            labels |= {part: value for part, value in parts.items() if part not in self.order}
        return labels


def at(lane: jax.Array, numeric: Mapping[str, Any], order: Sequence[str], shape: tuple[int, ...]) -> dict[str, Any]:
    """The values of the numeric axes at a lane, counted with the last one of the order fastest.

    The order comes apart from the values: a dict that went through `jax.jit` is sorted by name.
    """
    place = jnp.unravel_index(lane, shape) if shape else ()
    return {name: jax.tree.map(lambda v, i=i: v[i], numeric[name]) for name, i in zip(order, place, strict=True)}


def path_name(path: Sequence[Any]) -> str:
    """The name of a leaf of a pytree: its path, joined by dots, which also take the place of slashes.

    >>> [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path({"a": [1, 2]})]
    ['a.0', 'a.1']
    """
    parts = (str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key)))) for key in path)
    return ".".join(parts).replace("/", ".")  # which no variable of a NetCDF file may hold


def seeds(count: int, seed: int = 0) -> jax.Array:
    """PRNG keys for `count` runs, each folded from the number of its run, so that more runs keep the first keys.

    >>> bool((jax.random.key_data(seeds(3))[1] == jax.random.key_data(seeds(2))[1]).all())
    True
    """
    numbers, key = jnp.arange(whole("count", count)), jax.random.key(whole("seed", seed, -(2**63)))
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)


def draws(count: int, *, seed: int = 0, quasi: bool = False, **ranges: Sequence[Any]) -> dict[str, jax.Array]:
    """Points drawn from a box, as one zipped axis: a mapping from names to arrays of shape (count,).

    Args:
        count: how many points, at least 1.
        seed: the seed of the draw.
        quasi: draw a scrambled Halton sequence, which fills the box more evenly, in place of independent points.
        **ranges: by name, `(low, high)` or `(low, high, "log")` with low < high, and 0 < low for "log".

    Raises:
        ValueError: for a range or a count that is not allowed.

    >>> points = draws(4, lr=(1e-4, 1e-1, "log"), momentum=(0.0, 0.99))
    >>> sorted(points), points["lr"].shape
    (['lr', 'momentum'], (4,))
    """
    count, seed = whole("count", count), whole("seed", seed, 0)
    if not ranges:
        msg = "ranges must be at least one, such as lr=(1e-4, 1e-1); got none"
        raise ValueError(msg)
    boxes = {name: range_of(name, given) for name, given in ranges.items()}
    if quasi:
        from scipy.stats import qmc

        unit = qmc.Halton(len(ranges), rng=np.random.default_rng(seed)).random(count)
    else:
        unit = np.random.default_rng(seed).random((count, len(ranges)))
    drawn = {}
    for column, (name, (low, high, log)) in zip(unit.T, boxes.items(), strict=True):
        drawn[name] = jnp.asarray(low * (high / low) ** column if log else low + (high - low) * column, float)
    return drawn


def range_of(name: str, given: Any, otherwise: str = "") -> tuple[float, float, bool]:
    """The bounds of a range, and whether its scale is logarithmic; ValueError for what is no range.

    `otherwise` names what else the argument may be, for the error.
    """
    ends: Any = given if isinstance(given, Sequence) and len(given) in (2, 3) else (math.nan, math.nan)
    low, high, *scale = ends
    numeric = all(isinstance(end, Real) and not isinstance(end, bool) and math.isfinite(end) for end in (low, high))
    if not numeric or scale not in ([], ["log"]) or not low < high or (scale and not low > 0):
        allowed = '(low, high) or (low, high, "log") with low < high, above 0 for "log"'
        msg = f"{name} must be {allowed}{otherwise}; got {shown(given)}"
        raise ValueError(msg)
    return low, high, bool(scale)


def _named(name, values):
    """The axis as a mapping from labels to values, or None where it is numeric."""
    if isinstance(values, jax.Array) or (type(values) is np.ndarray and values.dtype.kind in "fiub"):
        return None
    values = values.tolist() if isinstance(values, np.ndarray) and values.dtype.kind == "U" else values
    if isinstance(values, Mapping) and not all(isinstance(value, jax.Array | np.ndarray) for value in values.values()):
        return names_of(f"axis {name!r}", values, values.values())
    if isinstance(values, list | tuple) and values and all(isinstance(value, str) for value in values):
        return names_of(f"axis {name!r}", values, values)
    return None


def names_of(name: str, labels: Iterable[Any], values: Iterable[Any]) -> dict[Any, Any]:
    """The values by their labels; ValueError for labels that are not of one kind, differ, and can be kept in a file."""
    labels = [label.item() if isinstance(label, np.generic) else label for label in labels]
    labels = [str.__str__(label) if isinstance(label, str) else label for label in labels]  # of an Enum its text
    kinds = {str if isinstance(label, str) else Real if isinstance(label, Real) else None for label in labels}
    if None in kinds or len(kinds) > 1 or np.asarray(labels).dtype.kind not in "biufU":
        msg = f"{name} must have labels that are all texts or all numbers; got {shown(labels)}"
        raise ValueError(msg)
    for label in labels:
        if labels.count(label) > 1 or (isinstance(label, str) and not is_text(label)):
            msg = f"{name} must have labels that differ and that a file can hold; got {shown(label)}"
            raise ValueError(msg)
    return dict(zip(labels, values, strict=True))


def is_text(text: str) -> bool:
    """Whether a file can hold the text: HDF5 ends a text at a null character and writes it in UTF-8."""
    return "\0" not in text and text == text.encode("utf-8", "ignore").decode()


def storable(array: Any) -> np.ndarray:
    """The array in a dtype that NetCDF can hold: 8-bit floats and bfloat16 become the next wider type."""
    array = np.asarray(array)
    if array.dtype.isbuiltin == 1 or array.dtype.kind in "US":
        return array
    if jnp.issubdtype(array.dtype, jnp.inexact):
        return array.astype(np.float32)
    return array.astype(np.uint8 if jnp.issubdtype(array.dtype, jnp.unsignedinteger) else np.int8)


def _numeric(name, values):
    """The axis as a pytree of arrays with one leading axis: the array itself, as most often, where it is one."""
    if _is_ready(values) and values.ndim and values.dtype != np.uint32:
        return values
    for leaf in [] if isinstance(values, Iterator) else jax.tree.leaves(values):
        within_bits(f"axis {name!r}", leaf)
    try:
        if isinstance(values, Iterator):
            raise TypeError
        if _is_ready(values):
            arrays = values
        else:
            each = lambda leaf: any_array(name, leaf)  # noqa: E731
            arrays = jnp.asarray(values) if _is_list(values) else jax.tree.map(each, values)
    except (TypeError, ValueError, OverflowError):
        arrays = None
    leaves = jax.tree.leaves(arrays)
    if len({leaf.shape[:1] for leaf in leaves} | {()}) != 2 or not all(leaf.ndim for leaf in leaves):
        msg = f"axis {name!r} must be {AXIS}; got {shown(values)}"
        raise ValueError(msg)
    whole_numbers = [leaf for leaf in leaves if leaf.ndim == 1 and leaf.dtype == jnp.uint32]
    if whole_numbers and any(
        leaf.shape == (raw := jax.random.key_data(jax.random.key(0))).shape for leaf in whole_numbers
    ):
        msg = f"axis {name!r} must be PRNG keys, such as gdlab.seeds(10); got what looks like one raw key, {shown(raw)}"
        raise ValueError(msg)
    return arrays


def _is_ready(values):
    """Whether the value is an array that the compiled program takes as it is."""
    if isinstance(values, jax.Array):
        return True
    plain = type(values) is np.ndarray and values.dtype.kind in "fiubc" and values.dtype.isnative
    return plain and jax.dtypes.canonicalize_dtype(values.dtype) == values.dtype


def _is_list(values):
    """Whether the value is a list of numbers, or of such lists: no pytree whose leaves are swept."""

    def number(part):
        if type(part) in (list, tuple):
            return all(map(number, part))
        array = isinstance(part, jax.Array | np.ndarray) and jnp.issubdtype(part.dtype, np.number)
        return (array or isinstance(part, Number)) and np.ndim(part) == 0

    return type(values) in (list, tuple) and number(values)


def _is_label(values):
    if type(values) is np.ndarray:
        return values.ndim == 1
    array = isinstance(values, jax.Array | np.ndarray) and values.ndim == 1
    return array and not jnp.issubdtype(values.dtype, jax.dtypes.extended)


def _label(values):
    """The values as a coordinate, which does not change with an array of the caller."""
    return values.copy() if isinstance(values, np.ndarray) else storable(values)
