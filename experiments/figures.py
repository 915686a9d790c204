"""What the figures share: colours that colour-blind readers can tell apart, marks of critical points, contours.

The palette is Okabe and Ito's (2008).  Every kind of critical point has its own mark as well as its own colour.
"""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib

matplotlib.use("Agg")

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442", "#000000")
MARKS = {
    "minimum": ("o", "#009E73"),
    "saddle": ("X", "#D55E00"),
    "maximum": ("^", "#0072B2"),
    "degenerate": ("D", "#F0E442"),
}
plt.rcParams.update(
    {"svg.hashsalt": "gdlab", "font.size": 9, "axes.titlesize": 10, "figure.constrained_layout.use": True}
)


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, the same for the same list."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def contours(axes: Any, loss: Callable, box: Sequence[Sequence[float]], levels: int = 20) -> None:
    """Draw the contours of a loss of two parameters over a box, at quantiles of its values, so that valleys show."""
    (left, right), (bottom, top) = box
    x, y = np.linspace(left, right, 301), np.linspace(bottom, top, 301)
    grid = jnp.stack(jnp.meshgrid(jnp.asarray(x), jnp.asarray(y)), axis=-1)
    values = np.asarray(jax.jit(jax.vmap(jax.vmap(loss)))(grid))
    heights = np.unique(np.quantile(values[np.isfinite(values)], np.linspace(0, 1, levels)))
    shades = plt.get_cmap("bone")(np.linspace(0.55, 1, len(heights)))
    axes.contourf(x, y, values, heights, colors=shades[:-1])
    axes.contour(x, y, values, heights, colors="0.5", linewidths=0.3, linestyles="solid")
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel="$\\theta_1$", ylabel="$\\theta_2$")


def critical_points(axes: Any, points: Sequence[tuple[Sequence[float], str]]) -> None:
    """Mark points of two coordinates by their kind."""
    for kind, (mark, colour) in MARKS.items():
        places = np.array([x for x, of_kind in points if of_kind == kind])
        if len(places):
            axes.scatter(
                *places.T, s=46, marker=mark, color=colour, edgecolors="black", linewidths=0.8, zorder=5, label=kind
            )


def way_out(axes: Any, at: Any, direction: Any, reached: Any, end: Any) -> None:
    """Draw the negative direction through a saddle, the step along it, and a star where descent leads from there."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    length = 0.12 * min(right - left, top - bottom)
    tips = np.stack([at - length * direction, at + length * direction])
    axes.annotate(
        "", tips[1], tips[0], arrowprops={"arrowstyle": "<->", "color": "#D55E00", "linewidth": 1.6}, zorder=6
    )
    axes.plot(*np.stack([at, reached]).T, "--", color="#D55E00", linewidth=1.0, zorder=4)
    axes.plot(*np.stack([reached, end]).T, ":", color="#D55E00", linewidth=1.0, zorder=4)
    axes.plot(*end, "*", color="#D55E00", markersize=9, zorder=6)
    axes.set(xlim=(left, right), ylim=(bottom, top))


def band(axes: Any, x: Any, values: Any, colour: str, name: str) -> None:
    """Draw the median of the last axis against x, with the band between its quartiles."""
    some = np.isfinite(values).any(axis=-1)
    x, values = np.asarray(x)[some], np.where(np.isfinite(values), values, np.nan)[some]
    low, middle, high = np.nanquantile(values, (0.25, 0.5, 0.75), axis=-1)
    axes.plot(x, middle, "-", color=colour, label=name)
    axes.fill_between(x, low, high, color=colour, alpha=0.1, linewidth=0)
