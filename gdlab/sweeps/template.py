"""A dataset from an earlier one with the same labels: xarray's checks are made once.

They cost a few tenths of a millisecond, for which a sweep of a few short runs would wait.  What is built without them
was held against what xarray builds with them; where the two differ, as another version of xarray may, each dataset is
a copy of the checked one.

| function | what it returns |
|---|---|
| `dataset_of` | the dataset of variables that fit their labels |
"""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import xarray

KEPT = 2**16  # bytes of labels of which a template is kept


class Template(NamedTuple):
    """The labels of many datasets, and what is the same in all of them."""

    checked: Any  # a dataset whose variables are all false, made with xarray's checks
    labels: dict[Any, Any]  # its coordinates
    names: tuple[Any, ...]  # of all variables, in their order
    lengths: dict[Any, int]  # of the dims
    indexes: dict[Any, Any]
    swift: bool  # whether a dataset may be built without the checks

    def filled(self, variables: Mapping[str, Any], attributes: dict[str, Any]) -> "xarray.Dataset":
        """The dataset of this data; nothing in it that can be written to is shared with another one."""
        if self.swift:
            return _built(self, variables, attributes)
        dataset = self.checked.copy(data={name: values for name, (_, values) in variables.items()})
        dataset.attrs = attributes
        return dataset


def dataset_of(variables: Mapping[str, Any], labels: Mapping[str, Any], attributes: dict[str, Any]) -> "xarray.Dataset":
    """The dataset of variables, (dims, values) by name, that fit their labels; of few labels it is a template, filled.

    A label is an array along an axis of its own name, a list of names, or a pair of an axis and an array.
    """
    import xarray

    frozen = tuple(_frozen(name, label) for name, label in labels.items())
    if sum(len(one[-1]) for one in frozen) > KEPT:
        return xarray.Dataset(variables, labels, attributes)
    shapes = tuple((name, tuple(dims), values.shape) for name, (dims, values) in variables.items())
    return _template(shapes, frozen).filled(variables, attributes)


def _frozen(name, label):
    """A label that can be hashed: its name, its axis, its dtype (None for a list) and its values."""
    along, values = label if isinstance(label, tuple) else (name, label)
    if isinstance(values, np.ndarray):
        return name, along, values.dtype, values.tobytes()
    return name, along, None, tuple((type(value), value) for value in values)


def _thawed(name, along, dtype, values):
    listed = [value for _, value in values] if dtype is None else np.frombuffer(values, dtype)
    return listed if along == name else (along, listed)


@functools.lru_cache(maxsize=64)
def _template(shapes, frozen):
    import xarray

    variables = {name: (dims, np.broadcast_to(False, shape)) for name, dims, shape in shapes}
    checked = xarray.Dataset(variables, {label[0]: _thawed(*label) for label in frozen})
    labels = {name: checked.variables[name] for name in checked.coords}
    names, lengths = tuple(checked.variables), dict(checked.sizes)
    template = Template(
        checked=checked, labels=labels, names=names, lengths=lengths, indexes=dict(checked.xindexes), swift=True
    )
    try:
        same = _built(template, variables, {}).identical(checked)
    except Exception:  # of a version of xarray whose insides are others
        same = False
    return template if same else template._replace(swift=False)


def _built(template, variables, attributes):
    """A dataset without xarray's checks."""
    import xarray

    held = {}
    for name in template.names:
        like = template.checked._variables[name]
        held[name] = made = object.__new__(type(like))
        data = variables[name][1] if name in variables else like._data
        made._dims, made._data, made._attrs, made._encoding = like._dims, data, None, None
    lengths, indexes = dict(template.lengths), dict(template.indexes)
    return xarray.Dataset._construct_direct(held, set(template.labels), lengths, attributes, indexes)
