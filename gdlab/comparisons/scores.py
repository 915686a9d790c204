"""Scores: what a sweep's dataset, or labelled arrays, hold of each run, in one layout.

    score[contestant, task, run, *settings]       and, of the recorded curves,       [..., step]

A setting is every other axis: those that are tuned.  Within a comparison lower is better, and a run whose score is not
finite is the worst: what is to be high is negated, and NaN and both infinities are the highest cost.

| function | what it returns |
|---|---|
| `labelled_scores` | the scores, labelled, as given |
| `costs` | the same with lower as better, and infinite where they are not finite |
| `rank_shares` | their ranks on each task, from 0 to 1 |
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gdlab.comparisons.estimates import Floats
from gdlab.comparisons.pairs import twice_the_ranks
from gdlab.ground.leaves import shown
from gdlab.sweeps.history import settled

if TYPE_CHECKING:
    import xarray

RUNS = ("run", "key", "seed", "start")  # axes that are taken for repeated runs
TASKS = ("task", "workload", "problem", "surface")  # axes that are taken for tasks
FLAGS = ("alive", "died", "done")  # what a sweep says of each run beside its results
GIVEN = "an xarray.Dataset of a sweep, an xarray.DataArray, or a mapping from names to arrays of shape (task, run)"


def labelled_scores(
    data: Any, *, score: str | Sequence[str] | None, of: str, task: str | None, run: str | None, step: str
) -> "xarray.DataArray":
    """The scores with dims (of, task, run, *settings), and step last where there is one.

    Raises:
        TypeError: for data that are none, or hold no real numbers.
        ValueError: for a name that is no variable or axis of the data, or one that must be given.
    """
    array = _array(data, score, of, step)
    if array.dtype.kind not in "biuf" or not array.size:
        msg = f"data must hold real numbers, at least one; got dtype {array.dtype} and shape {array.shape}"
        raise TypeError(msg)
    dims = [str(dim) for dim in array.dims]
    if of not in dims:
        msg = f"of must be an axis of the data, one of {', '.join(dims)}; got {shown(of)}"
        raise ValueError(msg)
    run = _axis("run", run, RUNS, dims)
    if run is None:
        msg = f"run must name the axis of the runs, one of {', '.join(dims)}; got none"
        raise ValueError(msg)
    if task is None and "task" in dims and isinstance(score, list | tuple):
        task = "task"
    task = _axis("task", task, TASKS, dims)
    if task is None:
        array, task = array.expand_dims(task=["all"]), "task"
    for dim in {*dims} & {*RUNS} - {run, task, of}:
        msg = f"data must have one axis of runs, here {run}; {dim!r} is another: choose a value, average over it, "
        raise ValueError(msg + f"or give it as task={dim!r}")
    last = [step] if step in dims else []
    array = array.transpose(of, task, run, ..., *last).astype(float)
    missing = {dim: np.arange(array.sizes[dim]) for dim in array.dims if dim not in array.coords}
    return array.assign_coords(missing)


def _array(data, score, of, step):
    """The data as one labelled array."""
    import xarray

    if isinstance(data, xarray.Dataset):
        if "done" in data and not bool(data["done"].all()):
            msg = "data must be of a whole sweep; got one of a shard: gdlab.merge joins the stores of all shards"
            raise ValueError(msg)
        return _variables(data, score, step)
    if isinstance(data, xarray.DataArray):
        return data
    if isinstance(data, Mapping) and data:
        try:
            arrays = [np.asarray(value) for value in data.values()]
        except (TypeError, ValueError):
            arrays = []
        shapes = {array.shape for array in arrays}
        if len(shapes) == 1 and all(array.ndim in (1, 2) and array.dtype.kind in "biuf" for array in arrays):
            return xarray.DataArray(np.stack(arrays), {of: list(data)}, [of, "task", "run"][:: 3 - arrays[0].ndim])
        shapes_or_kinds = sorted({f"{array.dtype} {array.shape}" for array in arrays})
        msg = f"data must be {GIVEN}, all of one shape; got {', '.join(shapes_or_kinds) or shown(data)}"
        raise TypeError(msg)
    msg = f"data must be {GIVEN}; got {shown(data)}"
    raise TypeError(msg)


def _variables(data, score, step):
    """The variables of a dataset that are scored: one, or one for each task."""
    import xarray

    there = [str(name) for name in data.data_vars if name not in FLAGS]
    if score is None:
        score = "loss" if "loss" in there else there[0] if len(there) == 1 else None
    names = [score] if isinstance(score, str) or score is None else list(score)
    for name in names or [score]:
        if name not in there:
            msg = f"score must be one or several of the variables {', '.join(there)}; got {shown(score)}"
            raise ValueError(msg)
    for name in names:
        unnamed = re.compile(re.escape(str(name).removeprefix("result.")) + r"_\d+")
        for dim in map(str, data[name].dims):
            if unnamed.fullmatch(dim) and dim not in data.coords and dim != step:
                msg = f"step must name the rows of a run, along which the last is the score; {name} has the axis "
                raise ValueError(msg + f"{dim!r}, which is none of the sweep: give step={dim!r}, or choose a value")
    if isinstance(score, str):
        return settled(data, score, step)
    scored: list[Any] = [settled(data, str(name), step).drop_attrs() for name in names]
    return xarray.concat(scored, "task").assign_coords(task=names)


def _axis(name, given, known, dims):
    """The axis that was named, or the one of the known names, or None."""
    found = [given] if given is not None else [dim for dim in known if dim in dims]
    if len(found) > 1 or any(dim not in dims for dim in found):
        msg = f"{name} must be one axis of the data, of {', '.join(dims)}; got {shown(given or tuple(found))}"
        raise ValueError(msg)
    return found[0] if found else None


def costs(scores: "xarray.DataArray", sign: float) -> "xarray.DataArray":
    """The scores times a sign that makes lower better, infinite where a run's is not finite."""
    return (sign * scores).where(np.isfinite(scores), np.inf)


def rank_shares(scores: Floats) -> Floats:
    """The rank of each run among those of all contestants on its task, from 0 to 1, for scores (of, task, run).

    >>> rank_shares(np.array([[[1.0, 7.0]], [[9.0, 7.0]]])).tolist()
    [[[0.0, 0.5]], [[1.0, 0.5]]]
    """
    by_task = np.moveaxis(scores, 1, 0)
    pooled = by_task.reshape(len(by_task), -1)
    shares = (twice_the_ranks(pooled) - 2) / max(2 * pooled.shape[1] - 2, 1)
    return np.asarray(np.moveaxis(shares.reshape(by_task.shape), 0, 1))
