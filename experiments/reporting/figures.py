"""What the figures share: colours that colour-blind readers can tell apart, marks of critical points, contours, axes.

The palette is Okabe and Ito's (2008), and a colour of it always means an optimizer or a run: kinds of critical points
are told apart by their marks, in black, grey and white.  Runs diverge, so that any number may come: what is not finite
or beyond LARGEST is left out, and says so where all is.
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
    "minimum": ("o", "#ffffff"),
    "saddle": ("X", "#000000"),
    "maximum": ("^", "#999999"),
    "degenerate": ("D", "#d9d9d9"),
}
DASHES = ("-", "--", "-.", ":")  # one after the other, each time that the palette is used up
WIDEST, THINNEST = 2.8, 1.0  # of the lines of runs, so that lines that coincide are seen inside one another
LARGEST = 1e150  # a number that can be drawn, with margins on a log scale
DECADES = 40  # of a log scale
BOTTOMLESS = 10.0
NOTHING = "nothing finite to draw"
plt.rcParams.update(
    {"svg.hashsalt": "gdlab", "font.size": 9, "axes.titlesize": 10, "figure.constrained_layout.use": True}
)


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each name, the same for the same list."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def lines(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How to draw the line of each name: its colour, dashes beyond the palette, each thinner than the one before.

    >>> [style["linewidth"] for style in lines(["gd", "momentum", "adam"]).values()]
    [2.8, 1.9, 1.0]
    """
    widths = np.linspace(WIDEST, THINNEST, len(names)) if len(names) > 1 else [THINNEST]
    return {
        name: {"color": colour, "linestyle": DASHES[i // len(PALETTE) % len(DASHES)], "linewidth": float(width)}
        for i, ((name, colour), width) in enumerate(zip(colours(names).items(), widths, strict=True))
    }


def contours(axes: Any, loss: Callable, box: Sequence[Sequence[float]], levels: int = 20) -> None:
    """Draw the contours of a loss of two parameters over a box, at quantiles of its values, so that valleys show."""
    (left, right), (bottom, top) = box
    x, y = np.linspace(left, right, 301), np.linspace(bottom, top, 301)
    grid = jnp.stack(jnp.meshgrid(jnp.asarray(x), jnp.asarray(y)), axis=-1)
    values = drawable(jax.jit(jax.vmap(jax.vmap(loss)))(grid))
    known = values[np.isfinite(values)]
    heights = np.unique(np.quantile(known, np.linspace(0, 1, levels))) if known.size else known
    if len(heights) > 1:
        shades = plt.get_cmap("bone")(np.linspace(0.55, 1, len(heights)))
        axes.contourf(x, y, values, heights, colors=shades[:-1])
        axes.contour(x, y, values, heights, colors="0.5", linewidths=0.3, linestyles="solid")
    elif not known.size:
        say(axes, NOTHING)
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel="$\\theta_1$", ylabel="$\\theta_2$")


def critical_points(axes: Any, points: Sequence[tuple[Sequence[float], str]]) -> None:
    """Mark points of two coordinates by their kind."""
    for kind, (mark, colour) in MARKS.items():
        places = np.array([x for x, of_kind in points if of_kind == kind])
        if len(places):
            axes.scatter(
                *places.T, s=46, marker=mark, color=colour, edgecolors="black", linewidths=0.8, zorder=5, label=kind
            )


def proved(axes: Any, points: Any) -> None:
    """Put a ring around each point of two coordinates that is proved."""
    if len(points):
        axes.scatter(
            *np.asarray(points).T,
            s=130,
            facecolors="none",
            edgecolors="black",
            linewidths=1.2,
            zorder=5,
            label="proved",
        )


def way_out(axes: Any, at: Any, direction: Any, reached: Any, end: Any) -> None:
    """Draw the negative direction through a saddle, the step along it, and a star where descent leads from there."""
    if not np.isfinite([at, direction]).all():
        return
    reached, end = drawable(reached), drawable(end)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    length = 0.12 * min(right - left, top - bottom)
    tips = np.stack([at - length * direction, at + length * direction])
    axes.annotate("", tips[1], tips[0], arrowprops={"arrowstyle": "<->", "color": "black", "linewidth": 1.6}, zorder=6)
    axes.plot(*np.stack([at, reached]).T, "--", color="black", linewidth=1.0, zorder=4)
    axes.plot(*np.stack([reached, end]).T, ":", color="black", linewidth=1.0, zorder=4)
    axes.plot(*end, "*", color="black", markersize=9, zorder=6)
    axes.set(xlim=(left, right), ylim=(bottom, top))


def band(axes: Any, x: Any, values: Any, colour: str, name: str, **line: Any) -> None:
    """Draw the median of the last axis against x, as `line` says, with the band between its quartiles."""
    values = drawable(values)
    some = np.isfinite(values).any(axis=-1)
    x, values = drawable(x)[some], values[some]
    low, middle, high = np.nanquantile(values, (0.25, 0.5, 0.75), axis=-1) if some.any() else values.T[:1].repeat(3, 0)
    axes.plot(x, middle, **{"color": colour, "label": name, **line})
    axes.fill_between(x, low, high, color=colour, alpha=0.1, linewidth=0)


def drawable(values: Any) -> Any:
    """The values as floats, NaN where one is not finite or too large for the limits and ticks of an axis.

    >>> drawable([1.0, -2e155, np.inf])
    array([ 1., nan, nan])
    """
    values = np.asarray(values, float)
    return np.where(np.abs(values) < LARGEST, values, np.nan)


def log_axis(axes: Any, name: str, values: Any) -> None:
    """Put an axis, x or y, on a log scale that shows these values, at most DECADES decades from the lowest on."""
    known = np.log10([value for value in np.ravel(values) if 1 / LARGEST < value < LARGEST])
    if not known.size and name == "y":
        say(axes, "nothing to draw: all diverged")
    low, high = (known.min(), min(known.max(), known.min() + DECADES)) if known.size else (0.0, 0.0)
    margin = max(0.05 * (high - low), 0.1 if high > low else 0.5)
    axes.set(
        **{f"{name}lim": (10 ** (low - margin), 10 ** (high + margin))}
    )  # first, or values below 0 are complained of
    axes.set(**{f"{name}scale": "log"})


def plain(text: str) -> str:
    """A text of the user's, such as a file's name, for a figure, where dollars would open a formula."""
    return text.replace("$", r"\$")


def say(axes: Any, words: str) -> None:
    """Words in the middle of empty axes."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color="0.4")


def legend(axes: Any, **how: Any) -> None:
    """The legend, where anything has a label."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**how)


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
