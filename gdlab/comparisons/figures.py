"""The figures of a comparison, one for each part of its results; matplotlib is imported when one is drawn."""

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

INK, SOFT = "#0072b2", "#8a94a0"
COLORS = ("#0072b2", "#e69f00", "#56b4e9", "#d55e00", "#cc79a7", "#009e73", "#000000", "#7f3c8d", "#999933")
DASHES = ("-", "--", ":", "-.")  # the next one after each DISTINCT colors
DISTINCT = 3  # colors in a row that color-blind readers tell apart


def intervals(results: "xarray.Dataset") -> "Figure":
    """The interquartile mean of each contestant with its interval, the best on top."""
    names, order = _names(results), _order(results)
    figure, axes = _figure(1, 0.34 * len(names) + 1.2)
    for place, i in enumerate(order):
        low, high = results["iqm_interval"].values[i]
        axes.plot([low, high], [place, place], color=INK, linewidth=5, alpha=0.35, solid_capstyle="butt")
        axes.plot(results["iqm"].values[i], place, "|", color=INK, markersize=14, markeredgewidth=2)
    axes.set(yticks=range(len(names)), yticklabels=[names[i] for i in order], xlabel=_unit(results))
    axes.invert_yaxis()
    ends = results["iqm_interval"].values
    _log_if_wide(axes.set_xscale, ends[np.isfinite(ends)])
    axes.set_title(f"interquartile mean and {results.attrs['confidence']:.0%} interval", fontsize="medium")
    return figure


def improvement(results: "xarray.Dataset") -> "Figure":
    """The probability of improvement of the row on the column; a dot where the runs separate the pair."""
    names, order = _names(results), _order(results)
    figure, axes = _figure(1, 0.42 * len(names) + 1.8)
    values = results["improvement"].values[np.ix_(order, order)]
    image = axes.imshow(values, vmin=0, vmax=1, cmap="PuOr")
    separated = results["separated"].values[np.ix_(order, order)]
    rows, columns = np.nonzero(separated | separated.T)
    axes.plot(columns, rows, "o", color="black", markersize=4)
    labels = [names[i] for i in order]
    axes.set(xticks=range(len(names)), yticks=range(len(names)), yticklabels=labels)
    axes.set_xticklabels(labels, rotation=45, ha="right")
    figure.colorbar(image, label="row better than column")
    axes.set_title("probability of improvement; dot: separated", fontsize="medium")
    return figure


def profiles(results: "xarray.Dataset") -> "Figure":
    """The share of runs that are as good as a score, or better, with its interval."""
    figure, axes = _figure(1, 4.0)
    values = results["value"].values
    for i, (name, style) in enumerate(_styles(results)):
        axes.fill_between(values, *results["profile_interval"].values[i], step="post", color=style["color"], alpha=0.12)
        axes.step(values, results["profile"].values[i], where="post", label=name, **style)
    higher = results.attrs["better"] == "higher" and results.attrs["normalize"] == "none"
    axes.set(xlabel=_unit(results), ylabel=f"share of runs {'at or above' if higher else 'at or below'}")
    _log_if_wide(axes.set_xscale, values)
    axes.legend(fontsize="small")
    return figure


def sensitivity(results: "xarray.Dataset") -> "Figure":
    """The width of the band within 5 % of the best, on each axis of settings: each task a point, their median a bar."""
    names = _names(results)
    widths = [name for name in map(str, results.data_vars) if name.endswith("_width")]
    figure, all_axes = _figure(len(widths), 0.34 * len(names) + 1.4)
    for axes, width in zip(np.atleast_1d(all_axes), widths, strict=True):
        axis = width.removesuffix("_width")
        values, is_open = results[width].values, results[f"{axis}_open"].values
        axes.barh(range(len(names)), _middle(values), color=INK, alpha=0.35)
        for i, row in enumerate(values):
            for marked, mark in ((is_open[i], ">"), (~is_open[i], "o")):
                axes.plot(row[marked], np.full(marked.sum(), i), mark, color=INK, markersize=4)
        axes.set(yticks=range(len(names)), yticklabels=names, title=axis)
        axes.set_xlabel("width of the band (decades if all > 0)\n> reaches the edge of the grid")
        axes.invert_yaxis()
    return figure


def budget(results: "xarray.Dataset") -> "Figure":
    """The score after so many tried settings, a panel for each task."""
    task = str(results["score"].dims[1])
    return _panels(results, results[task].values, _budget_of)


def _budget_of(axes, results, place):
    for i, (name, style) in enumerate(_styles(results)):
        axes.plot(results["tries"].values, results["budget_score"].values[i, place], label=name, **style)
    axes.set(xlabel="settings tried", ylabel="score of the best one")
    _log_if_wide(axes.set_yscale, results["budget_score"].values[:, place])


def targets(results: "xarray.Dataset") -> "Figure":
    """The share of runs that have come to the target after so many steps, a panel for each task."""
    return _panels(results, results[str(results["score"].dims[1])].values, _target_of)


def _target_of(axes, results, place):
    last = max(np.max(results["steps"].values, initial=0, where=np.isfinite(results["steps"].values)), 1)
    for i, (name, style) in enumerate(_styles(results)):
        steps = np.sort(results["steps"].values[i, place])
        come = steps[np.isfinite(steps)]
        share = np.append(np.arange(len(come) + 1), len(come)) / len(steps)  # flat to the end of the axis
        axes.step([0, *come, last], share, where="post", label=name, **style)
    axes.set(xlabel="steps", ylabel="share of runs at the target", ylim=(-0.03, 1.03))


FIGURES: dict[str, Callable[["xarray.Dataset"], "Figure"]] = {
    "intervals": intervals,
    "improvement": improvement,
    "profiles": profiles,
    "sensitivity": sensitivity,
    "budget": budget,
    "targets": targets,
}
# What the data must have had.
NEEDS = {
    **dict.fromkeys(["intervals", "improvement", "profiles"]),
    "sensitivity": "a tuned axis of numbers",
    "budget": "a tuned axis",
    "targets": "a target",
}
ENDINGS = {"sensitivity": "_width", "budget": "budget_score", "targets": "steps"}


def shown_of(results: "xarray.Dataset", what: str) -> bool:
    """Whether the results hold what a figure shows."""
    return any(str(name).endswith(ENDINGS[what]) for name in results.data_vars)


def _panels(results, tasks, draw):
    columns = min(len(tasks), 4)
    lines = math.ceil(len(tasks) / columns)
    figure, grid = _figure(columns, 3.2 * lines, lines)
    for place, (axes, task) in enumerate(zip(np.ravel(grid), tasks, strict=False)):
        draw(axes, results, place)
        if len(tasks) > 1:
            axes.set_title(str(task), fontsize="medium")
    for axes in np.ravel(grid)[len(tasks) :]:
        axes.set_axis_off()
    np.ravel(grid)[0].legend(fontsize="x-small")
    return figure


def _figure(columns, height, lines=1):
    import matplotlib.pyplot as plt

    width = 7.0 if columns == 1 else 3.6 * columns
    return plt.subplots(lines, columns, figsize=(width, height), layout="constrained")


def _names(results):
    return [str(name) for name in results[results["score"].dims[0]].values]


def _styles(results: "xarray.Dataset") -> Iterable[tuple[str, dict[str, Any]]]:
    for i, name in enumerate(_names(results)):
        dash = DASHES[(i // DISTINCT) % len(DASHES)]
        yield name, {"color": COLORS[i % len(COLORS)], "linestyle": dash, "linewidth": 1.5}


def _order(results):
    lower = results.attrs["better"] == "lower" or results.attrs["normalize"] == "ranks"
    return np.argsort(results["iqm"].values if lower else -results["iqm"].values, kind="stable")


def _unit(results):
    return "rank on the task, from 0 (best) to 1" if results.attrs["normalize"] == "ranks" else "score"


def _middle(values):
    return [np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else 0.0 for row in values]


def _log_if_wide(set_scale, values):
    values = values[np.isfinite(values)]
    if values.size and values.min() > 0 and values.max() > 30 * values.min():
        set_scale("log")
