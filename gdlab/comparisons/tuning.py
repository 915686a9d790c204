"""Tuning: the setting that some runs choose, judged by others; and what it costs to choose it badly, or briefly.

    chosen  =  the setting with the lowest median cost over the tuning runs
    width   =  how far a setting may move before the median leaves the band within 5 % of the best

Runs that chose a setting say too much good about it, so that other runs judge it.

| function | what it returns |
|---|---|
| `choose` | the place of the chosen setting for each contestant and task |
| `judged` | the runs at a chosen setting |
| `described` | the chosen values, and whether they stand at the edge of their axis |
| `sensitivity` | the width of the band around the best value of each axis, and what a blind choice costs |
| `budget_curve` | the score after so many tried settings |

Reference: Dodge et al. 2019, "Show your work" (arXiv 1909.03004), for the curve, here with other runs as judges.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gdlab.comparisons.estimates import Floats

if TYPE_CHECKING:
    import xarray

MOST_TRIALS = 64  # points of a budget curve


def choose(costs: "xarray.DataArray") -> Floats:
    """The number of the chosen setting, counted through all of them, shape (of, task), by the tuning costs."""
    return np.argmin(_flat_medians(costs), axis=-1)


def judged(costs: "xarray.DataArray", chosen: Any, step: str | None = None) -> "xarray.DataArray":
    """The costs at the chosen settings: dims (of, task, run), and the step last where there is one."""
    of, task, run, *settings = costs.dims
    settings = [dim for dim in settings if dim != step]
    if not settings:
        return costs
    last = [step] if step is not None else []
    flat = costs.transpose(of, task, run, *last, *settings).values
    flat = flat.reshape(*flat.shape[: 3 + len(last)], -1)
    places = chosen.reshape(*chosen.shape, *[1] * (1 + len(last)), 1)
    first = costs.isel(dict.fromkeys(settings, 0), drop=True)
    return first.copy(data=np.take_along_axis(flat, places, -1)[..., 0])


def described(costs: "xarray.DataArray", chosen: Any) -> dict[str, Any]:
    """By name, the chosen value on each axis of settings, and whether it is at the edge of an axis of numbers."""
    of, task, _, *settings = map(str, costs.dims)
    found: dict[str, Any] = {}
    places = np.unravel_index(chosen, [costs.sizes[dim] for dim in settings])
    finished = np.isfinite(np.min(_flat_medians(costs), axis=-1))
    for dim, place in zip(settings, places, strict=True):
        found[f"best_{dim}"] = ((of, task), costs[dim].values[place])
        if costs.sizes[dim] > 1 and costs[dim].dtype.kind in "iuf":
            order = np.argsort(np.argsort(costs[dim].values))[place]
            found[f"{dim}_at_edge"] = ((of, task), finished & ((order == 0) | (order == costs.sizes[dim] - 1)))
    return found


def sensitivity(costs: "xarray.DataArray", within: float) -> dict[str, Any]:
    """By name, for each axis of settings with the others at their best: the width of the band, and a blind choice.

    `{axis}_width` is in decades where all values are positive, else in the units of the axis; `{axis}_open` says that
    the band reaches the edge, so that the width is only a lower bound; `{axis}_blind` is the median over the values of
    the axis of how much higher their cost is than the best.
    """
    of, task, run, *settings = map(str, costs.dims)
    medians, found = costs.median(run), {}
    for dim in settings:
        curve = medians.min([other for other in settings if other != dim]).transpose(of, task, dim).values
        best = curve.min(axis=-1, keepdims=True)
        with np.errstate(invalid="ignore"):  # infinity minus infinity, where no run ended well
            found[f"{dim}_blind"] = ((of, task), np.median(curve - best, axis=-1))
        if costs.sizes[dim] > 1 and costs[dim].dtype.kind in "iuf":
            bands = [[_band(costs[dim].values, row, within) for row in rows] for rows in curve]
            found[f"{dim}_width"] = ((of, task), np.array([[width for width, _ in rows] for rows in bands]))
            found[f"{dim}_open"] = ((of, task), np.array([[is_open for _, is_open in rows] for rows in bands]))
    return found


def _band(values, curve, within):
    """The width of the band around the best value, by straight lines between the values, and whether it is open."""
    order = np.argsort(values)
    values, curve = values[order].astype(float), curve[order]
    places = np.log10(values) if (values > 0).all() else values
    best = int(np.argmin(curve))
    bound = curve[best] + within * abs(curve[best])
    if not math.isfinite(bound):
        return math.nan, False
    left, open_left = _crossing(places[best::-1], curve[best::-1], bound)
    right, open_right = _crossing(places[best:], curve[best:], bound)
    return right - left, open_left or open_right


def _crossing(places, curve, bound):
    """Where a curve first leaves a bound, and whether it never does."""
    outside = np.flatnonzero(curve > bound)
    if not len(outside):
        return places[-1], True
    out, inside = outside[0], outside[0] - 1
    part = (bound - curve[inside]) / (curve[out] - curve[inside]) if math.isfinite(curve[out]) else 0.0
    return places[inside] + part * (places[out] - places[inside]), False


def budget_curve(tuning: "xarray.DataArray", judging: "xarray.DataArray") -> tuple[Any, Floats]:
    """How many settings are tried, and the median over which ones they are of the score of the best: (of, task, tries).

    The tuning runs choose among the tried settings, and the judging runs give the score of the chosen one.
    """
    by, true = _flat_medians(tuning), _flat_medians(judging)
    count = by.shape[-1]
    tries = np.unique(np.geomspace(1, count, min(count, MOST_TRIALS)).round().astype(int))
    true = np.take_along_axis(true, np.argsort(by, axis=-1, kind="stable"), -1)
    order = np.argsort(true, axis=-1)
    rank = np.arange(count)
    curve = []
    for tried in tries:
        # The setting of rank i is chosen where it is tried, and all others that are tried come behind it.
        log = [_log_choices(count - 1 - i, tried - 1) - _log_choices(count, tried) for i in rank]
        below = np.cumsum(np.exp(log)[order], axis=-1)
        place = np.argmax(below >= 0.5 - 1e-9, axis=-1)[..., None]
        curve.append(np.take_along_axis(np.take_along_axis(true, order, -1), place, -1)[..., 0])
    return tries, np.stack(curve, axis=-1)


def _log_choices(count, chosen):
    if chosen > count:
        return -math.inf
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)


def _flat_medians(costs):
    """The median over the runs at every setting: shape (of, task, settings)."""
    medians = np.median(costs.values, axis=2)
    return medians.reshape(*medians.shape[:2], -1)
