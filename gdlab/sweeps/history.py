"""The history of a run as a dataset, and of the runs that a sweep returns.

| function | what it returns |
|---|---|
| `dataset_of` | the history of a run as one labelled dataset |
| `rows_of` | which results of a sweep are histories, and which steps their rows are |
| `steps_of` | the steps of the rows |
| `settled` | a history of a sweep whose runs that ended early keep their last value |
| `REASONS` | why a run ends |
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from gdlab.sweeps.axes import path_name

if TYPE_CHECKING:
    import xarray


REASONS = ("running", "steps", "small gradient", "plateau", "not finite")
SETTLED = [REASONS.index("small gradient"), REASONS.index("plateau")]  # these runs ended early at a finite loss


class History(NamedTuple):
    """The history of a run among the results of a sweep."""

    rows: int
    every: int  # how many steps apart they are
    begun: str | None  # the name of how many steps were taken before, where that is a result
    names: tuple[str, ...]  # of the results that have these rows


def dataset_of(
    history: Mapping[str, Any], lead: Sequence[str], step: np.ndarray, about: Mapping[str, Any]
) -> "xarray.Dataset":
    """What was recorded as one labelled dataset.

    Args:
        history: pytrees of arrays by name; their leading axes are those of `lead`.
        lead: the names of these axes, "step" among them.
        step: the coordinate of that axis.
        about: attributes of the dataset.
    """
    import xarray

    variables = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(dict(history)):
        name = path_name(path)
        inner = [f"{name}_{i}" for i in range(np.ndim(leaf) - len(lead))]
        variables[name] = ([*lead, *inner], np.asarray(leaf))
    return xarray.Dataset(variables, {"step": step}, dict(about))


def rows_of(results: Any, taken: Sequence[str]) -> dict[str, Any]:
    """Which results have rows that are the steps of runs, as JSON: `dims` for them, and how many steps apart they are.

    A run is known by its fields.  There are none where runs have histories of several lengths, or "step" is taken, the
    name of another axis or result.
    """
    found = [
        _history(path, node)
        for path, node in jax.tree_util.tree_leaves_with_path(results, is_leaf=_is_run)
        if _is_run(node) and node.history and not np.ndim(node.begun)
    ]
    if "step" in taken or len({run.rows for run in found}) != 1:
        return {"dims": {}, "every": None, "begun": [], "rows": 0}
    dims = {name: ["step"] for run in found for name in run.names}
    every = found[0].every if len({run.every for run in found}) == 1 else None
    return {"dims": dims, "every": every, "begun": sorted({run.begun or "" for run in found}), "rows": found[0].rows}


def _is_run(node):
    return all(hasattr(node, field) for field in ("params", "history", "begun", "every"))


def _history(path, run):
    path = path[1:]  # behind the number of the case
    begun = path_name((*path, jax.tree_util.GetAttrKey("begun"))) if run.begun is not None else None
    leaves = jax.tree_util.tree_leaves_with_path(dict(run.history))
    names = (path_name((*path, jax.tree_util.GetAttrKey("history"), *inner)) for inner, _ in leaves)
    return History(leaves[0][1].shape[0], run.every, begun, tuple(names))


def steps_of(rows: Mapping[str, Any], chunks: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The coordinate of the axis "step"; nothing where no result has such rows, or runs go on from different steps."""
    if rows["every"] is None:
        return {}
    begun = {
        int(number)
        for arrays in chunks
        for name, numbers in arrays.items()
        if name.rpartition(":")[0] in rows["begun"]
        for number in np.unique(numbers)
    }
    begun |= {0} if "" in rows["begun"] else set()  # a run that is no result of its own begins at its first step
    if len(begun) > 1:
        return {}
    first = -(-next(iter(begun), 0) // rows["every"]) * rows["every"]
    return {"step": first + rows["every"] * np.arange(rows["rows"])}


def settled(data: "xarray.Dataset", name: str, step: str) -> "xarray.DataArray":
    """The variable; where it is what a `Run` recorded that ended early, with its last value from there on.

    A run that ended as its loss was not finite has none.
    """
    run, history, _ = name.rpartition("history.")
    curves, reason = data[name], data.get(f"{run}reason")
    if not history or reason is None or step not in curves.dims:
        return curves
    rows = curves.transpose(..., step)
    known = np.where(rows.isnull(), 0, np.arange(rows.sizes[step]))
    last = rows.copy(data=np.take_along_axis(rows.values, np.maximum.accumulate(known, axis=-1), axis=-1))
    return curves.where(curves.notnull() | ~reason.isin(SETTLED), last)
