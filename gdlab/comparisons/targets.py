"""Targets: after how many steps a run first reaches one, where a run that never does is censored at its end.

All runs are watched equally long, so that a censored time is longer than every other: it is infinite, its median is
exact where more than half of the runs arrive, and ranks compare times as they compare scores (Gehan 1965).
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray


def steps_to_target(costs: "xarray.DataArray", step: str, bounds: Any, confidence: float) -> dict[str, Any]:
    """By name, for curves (of, task, run, step) and a bound for each task: the steps, their median, and its interval.

    `steps` is infinite for a run that never comes to the bound or below; `steps_median` where half of them do not.
    The interval of the median stands between two of the ordered steps (the binomial one).
    """
    of, task, run, _ = map(str, costs.dims)
    inside = costs.values <= np.asarray(bounds, float).reshape(-1, 1, 1)
    first = costs[step].values[np.argmax(inside, axis=-1)]
    steps = np.where(inside.any(axis=-1), first, np.inf)
    ordered = np.sort(steps, axis=-1)
    low = _place(steps.shape[-1], confidence)
    ends = np.stack([ordered[..., low], ordered[..., -1 - low]], axis=-1)
    return {
        "steps": ((of, task, run), steps),
        "steps_reached": ((of, task), np.isfinite(steps).mean(axis=-1)),
        "steps_median": ((of, task), np.median(steps, axis=-1)),
        "steps_median_interval": ((of, task, "bound"), ends),
    }


def _place(runs, confidence):
    """The place of the lower end among the ordered values: the last one that leaves the tail below it."""
    tail, place = 0.0, 0
    for below in range(runs // 2):
        tail += math.comb(runs, below) / 2**runs
        if tail > (1 - confidence) / 2:
            break
        place = below
    return place
