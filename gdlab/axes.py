"""Axes: the named lists of values that a sweep takes the product of.

    lanes  =  axis_1 x ... x axis_n  over the numeric axes;      cases  =  the same over the axes of names

A numeric axis is an array, or a pytree of arrays, whose leading axis is swept; a pytree moves in step (a zipped axis).
An axis of names is a sequence of strings, or a mapping from names to anything (optimizers, surfaces), and reaches the
function untraced.  Labels stay on the host: a dict of axes would come back sorted from a compiled function.

| function | what it returns |
|---|---|
| `Grid` | the axes of a sweep: sizes, cases, lanes, and the point at a lane |
| `path_name` | the name of a leaf of a result |
| `seeds` | PRNG keys, one for each number of a run |
| `draws` | random or quasi-random points of a box, as a zipped axis |
| `range_of` | the bounds that a range names |
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gdlab.arguments import shown, whole


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
        self.named = {name: values for name in axes if (values := _named(axes[name])) is not None}
        self.numeric = {name: _numeric(name, axes[name]) for name in axes if name not in self.named}
        self.sizes = {
            name: len(self.named[name]) if name in self.named else _length(name, self.numeric[name]) for name in axes
        }
        for name, size in self.sizes.items():
            if size == 0:
                msg = f"axis {name!r} must have at least one value; got none"
                raise ValueError(msg)
        if self.lanes >= 2**31:
            msg = f"the axes must have fewer than 2^31 points together, which 32 bits count; got {self.lanes}"
            raise ValueError(msg)

    @property
    def cases(self) -> list[dict[str, Any]]:
        """Every choice of one value for each axis of names."""
        product = itertools.product(*(values.values() for values in self.named.values()))
        return [dict(zip(self.named, values, strict=True)) for values in product]

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the numeric axes."""
        return tuple(self.sizes[name] for name in self.numeric)

    @property
    def lanes(self) -> int:
        """How many points the numeric axes have."""
        return math.prod(self.shape)

    def labels(self) -> dict[str, Any]:
        """The coordinates of every axis; those of a zipped axis are its number and each of its parts."""
        labels: dict[str, Any] = {}
        for name in self.order:
            if name in self.named:
                labels[name] = list(self.named[name])
                continue
            values, parts = self.numeric[name], {}
            if isinstance(values, Mapping):
                parts = {part: (name, np.asarray(value)) for part, value in values.items() if _is_label(value)}
            labels[name] = np.asarray(values) if _is_label(values) else np.arange(self.sizes[name])
            labels |= {part: value for part, value in parts.items() if part not in self.order}
        return labels


def at(lane: jax.Array, numeric: Mapping[str, Any], order: Sequence[str], shape: tuple[int, ...]) -> dict[str, Any]:
    """The values of the numeric axes at a lane, counted with the last one of the order fastest.

    The order comes apart from the values: a dict that went through `jax.jit` is sorted by name.
    """
    place = jnp.unravel_index(lane, shape) if shape else ()
    return {name: jax.tree.map(lambda v, i=i: v[i], numeric[name]) for name, i in zip(order, place, strict=True)}


def path_name(path: Sequence[Any]) -> str:
    """The name of a leaf of a pytree: its path, joined by dots.

    >>> [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path({"a": [1, 2]})]
    ['a.0', 'a.1']
    """
    return ".".join(str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", key)))) for key in path)


def seeds(count: int, seed: int = 0) -> jax.Array:
    """PRNG keys for `count` runs, each folded from the number of its run: more runs leave the first ones as they are.

    >>> bool((jax.random.key_data(seeds(3))[1] == jax.random.key_data(seeds(2))[1]).all())
    True
    """
    numbers, key = jnp.arange(whole("count", count)), jax.random.key(whole("seed", seed, -(2**63)))
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)


def draws(count: int, *, seed: int = 0, quasi: bool = False, **ranges: Sequence[Any]) -> dict[str, Any]:
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


def range_of(name: str, given: Any) -> tuple[float, float, bool]:
    """The lowest and the highest value of a range, and whether its scale is logarithmic; ValueError if it is none."""
    ends: Any = given if isinstance(given, Sequence) and len(given) in (2, 3) else (math.nan, math.nan)
    low, high, *scale = ends
    numeric = all(isinstance(end, Real) and math.isfinite(end) for end in (low, high))
    if not numeric or scale not in ([], ["log"]) or not low < high or (scale and not low > 0):
        allowed = '(low, high) or (low, high, "log") with low < high, above 0 for "log"'
        msg = f"{name} must be {allowed}; got {shown(given)}"
        raise ValueError(msg)
    return low, high, bool(scale)


def _named(values):
    """The axis as a mapping from labels to values, or None where it is numeric."""
    if isinstance(values, Mapping) and not all(isinstance(value, jax.Array | np.ndarray) for value in values.values()):
        return dict(values)
    if isinstance(values, list | tuple) and values and all(isinstance(value, str) for value in values):
        return {value: value for value in values}
    return None


def _numeric(name, values):
    try:
        return jax.tree.map(jnp.asarray, values)
    except TypeError:
        msg = f"axis {name!r} must be an array, a pytree of arrays, or names; got {values!r}"
        raise ValueError(msg) from None


def _length(name, values):
    lengths = {leaf.shape[0] if leaf.ndim else -1 for leaf in jax.tree.leaves(values)}
    if len(lengths) != 1 or lengths == {-1}:
        msg = f"axis {name!r} must be an array, or arrays with one common leading axis, or names; got {values!r}"
        raise ValueError(msg)
    return lengths.pop()


def _is_label(values):
    return isinstance(values, jax.Array) and values.ndim == 1 and not jnp.issubdtype(values.dtype, jax.dtypes.extended)
