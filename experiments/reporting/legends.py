"""Legends that hide nothing: one that lies on a line, a mark or a bar goes where it is free, or below its axes.

covers(axes)        ->  does the legend hide what is drawn there?
uncovered(figure)   ->  the same figure, with each such legend moved; taller by those that went below
"""

from typing import Any

import numpy as np
from matplotlib.transforms import Bbox, ScaledTranslation

EDGE = 4  # pixels around a legend that are its own: the width of a line
GAP = 0.06  # between the words of an axis and a legend below them, in inches


def uncovered(figure: Any) -> bool:
    """Move each legend that hides something; whether any was moved, so that the axes must find their places again.

    >>> from matplotlib.figure import Figure
    >>> axes = Figure().subplots()
    >>> _ = axes.plot([0, 1, 1, 0], [0, 0, 1, 1], label="around"), axes.legend(loc="upper right")
    >>> axes.figure.draw_without_rendering()  # which gives them their places
    >>> covers(axes), uncovered(axes.figure), covers(axes)
    (True, True, False)
    """
    hiding = [axes for axes in figure.axes if covers(axes)]
    for axes in hiding:
        axes.get_legend().set_loc("best")
    below = [axes for axes in hiding if covers(axes)]
    tall: dict[int, float] = {}  # of each row of axes
    for axes in below:
        place = axes.get_subplotspec()
        row = place.rowspan.stop if place else 0
        tall[row] = max(tall.get(row, 0.0), put_below(axes))
    figure.set_figheight(figure.get_figheight() + sum(tall.values()))
    return bool(hiding)


def covers(axes: Any) -> bool:
    """Whether the legend of axes lies on a line, a mark or a bar; lines across all of the axes do not count."""
    legend = axes.get_legend()
    box = legend and Bbox.intersection(legend.get_window_extent().padded(EDGE), axes.bbox)
    if not box:
        return False
    bars = any(bar.get_window_extent().overlaps(box) for bar in axes.patches)
    spots = any(_within(spots.get_offset_transform().transform(spots.get_offsets()), box) for spots in _spots(axes))
    return bars or spots or any(_crosses(line, axes, box) for line in axes.lines)


def _spots(axes):
    """The scattered marks; the other collections are contours and bands."""
    return [part for part in axes.collections if type(part).__name__ == "PathCollection"]


def _crosses(line, axes, box):
    if line.get_transform() != axes.transData or not len(line.get_xdata()):
        return False
    path = line.get_path().transformed(axes.transData)
    joined = line.get_linestyle() not in ("None", "", " ")
    return _within(path.vertices, box) or (joined and path.intersects_bbox(box, filled=False))


def _within(points, box):
    return bool(np.any([box.contains(x, y) for x, y in np.asarray(points) if np.isfinite(x + y)]))


def put_below(axes: Any) -> float:
    """Put the legend of axes below them, in as many columns as fit; its height in inches."""
    old, inch = axes.get_legend(), axes.figure.dpi
    words, across = old.get_texts(), old.get_window_extent().width / old._ncols
    axis = axes.xaxis.get_tightbbox()
    down = (axes.bbox.y0 - axis.y0 if axis else 0.0) / inch + GAP
    new = axes.legend(
        old.legend_handles,
        [text.get_text() for text in words],
        title=old.get_title().get_text() or None,
        title_fontsize=old.get_title().get_fontsize(),
        fontsize=words[0].get_fontsize(),
        ncols=int(np.clip(axes.bbox.width // across, 1, len(words))),
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
        bbox_transform=axes.transAxes + ScaledTranslation(0, -down, axes.figure.dpi_scale_trans),
        borderaxespad=0,
    )
    return new.get_window_extent().height / inch + GAP
