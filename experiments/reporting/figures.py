"""What the figures share: `gdlab.plots` and `hessian.plots`, which they are made of, and losses above the lowest."""

from typing import Any

import matplotlib
import matplotlib.figure

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from gdlab import plots
from gdlab.plots import NOTHING, PALETTE, band, colors, contours, drawable, legend, lines, log_axis, paths, say
from hessian.plots import MARKS, atlas, critical_points, proved, slices, way_out

__all__ = [
    "HATCHES", "MARKS", "NOTHING", "PALETTE", "above", "around", "atlas", "band", "colors", "contours",
    "critical_points", "drawable", "legend", "lines", "log_axis", "lowest", "paths", "plain", "plt", "proved",
    "say", "slices", "told_apart", "way_out",
]  # fmt: skip

BOTTOMLESS = 10.0
HATCHES = ("", "////", "....", "xxxx")  # of bars, whose colors alone do not tell them apart
plt.rcParams.update(
    {"svg.hashsalt": "gdlab", "font.size": 9, "axes.titlesize": 10, "figure.constrained_layout.use": True}
)


def plain(text: str) -> str:
    """A text of the user's, such as a file's name, for a figure, where dollars would open a formula."""
    return text.replace("$", r"\$")


def told_apart(figure: Any) -> Any:
    """The figure, where more solid lines than a color-blind reader tells apart are dashed by their colors.

    Axes in which a dash already says something stay as they are.

    >>> axes = matplotlib.figure.Figure().subplots()
    >>> for color in PALETTE[:4]:
    ...     _ = axes.plot([0, 1], color=color)
    >>> [line.get_linestyle() for line in told_apart(axes.figure).axes[0].lines]
    ['-', '-', '-', '--']
    """
    for axes in figure.axes:
        legend = axes.get_legend()
        shown = [*axes.lines, *(legend.get_lines() if legend else [])]
        solid = [line for line in shown if line.get_linestyle() == "-" and line.get_color() in PALETTE]
        dashed = any(line.get_linestyle() in plots.DASHES[1:3] for line in shown)
        if dashed or len({line.get_color() for line in solid}) <= plots.DISTINCT:
            continue
        for line in solid:
            line.set_linestyle(plots.DASHES[PALETTE.index(line.get_color()) // plots.DISTINCT])
    return figure


def around(points: np.ndarray) -> list[tuple[float, float]]:
    """The ranges of both axes around points of two parameters, wider by a third of the larger on each side.

    >>> around(np.array([[0.0, 1.0], [3.0, 1.0], [np.nan, 0.0]]))
    [(-1.0, 4.0), (0.0, 2.0)]
    """
    points = points[np.isfinite(points).all(axis=1)].astype(float)
    if not len(points):
        return [(-1.0, 1.0), (-1.0, 1.0)]
    low, high = points.min(axis=0), points.max(axis=0)
    margin = max(np.max(high - low), 1e-3 * (1 + np.abs(points).max())) / 3
    return list(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))


def above(losses: Any, lowest: float) -> Any:
    """How far losses lie above the lowest, and 1e-16, so that a log scale shows the lowest itself; NaN below it.

    >>> above([3.0, 1.0, -1e200], 1.0)
    array([2.e+00, 1.e-16,    nan])
    """
    with np.errstate(over="ignore"):
        far = drawable(np.asarray(losses, float) - lowest)
    return np.where(far >= 0, far, np.nan) + 1e-16


def lowest(losses: Any, steps: Any) -> float:
    """The loss above which a chart shows runs, of losses with a last axis of steps: the lowest that has a bottom.

    A run has no bottom in sight where it leaves the finite numbers, or falls faster at its end than ever before.  It
    counts all the same unless it falls below the lowest loss of the others, or of the starts where there are none, by
    BOTTOMLESS times the height of the highest start above that.

    >>> lowest([[5.0, 1.0, 0.5], [3.0, 0.0, -1e200]], [0, 10, 20])
    0.5
    """
    losses = np.asarray(losses, float).reshape(-1, len(steps))
    finite = np.isfinite(losses)
    lows = np.min(losses, axis=1, where=finite, initial=np.inf)
    starts = losses[finite[:, 0], 0]
    if not starts.size:
        return float(np.min(lows, where=np.isfinite(lows), initial=0.0))
    with np.errstate(over="ignore", invalid="ignore"):
        falls = -np.diff(losses, axis=1) / np.diff(steps)
        on = (falls[:, -1] > 0) & (falls[:, -1] >= falls.max(axis=1))
        settled = np.min(lows, where=finite[:, -1] & ~on, initial=np.inf)
        base = settled if np.isfinite(settled) else starts.min()
        height = starts.max() - base or abs(base)
        seen = lows[(lows >= base - BOTTOMLESS * height) & np.isfinite(lows)]
    return float(seen.min() if seen.size else base - height)
