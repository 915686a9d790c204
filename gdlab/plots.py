"""Figures of runs: contours with paths, loss curves, sensitivity to the rate, an animation.

Every function takes `ax` and returns it, and changes nothing else; without one it makes a new figure.  matplotlib is
imported when something is drawn.  The palette is Okabe and Ito's (2008), which colour-blind readers can tell apart,
with an olive in place of their yellow, which is faint on white; a color of it always means an optimizer or a run.  Runs
diverge, so that any number may come: what is not finite or beyond LARGEST is left out, and the axes say so where all
is.

| function | what it draws |
|---|---|
| `contours` | a loss of two parameters over a box |
| `paths` | where runs went on it |
| `losses` | the loss of runs against the step |
| `rate_sensitivity` | the final loss of a sweep against the learning rate |
| `animate` | runs that move on the contours |
| `band` | medians with the band between quartiles |
| `colors`, `lines` | a color, and a style, for each name |
| `drawable`, `log_axis`, `legend`, `say` | numbers that can be drawn, and axes for them |
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from gdlab.ground.leaves import shown
from gdlab.sweeps.history import settled

if TYPE_CHECKING:
    import xarray
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes

__all__ = ["animate", "band", "contours", "losses", "paths", "rate_sensitivity"]

BLACK = "#000000"
PALETTE = ("#0072B2", "#E69F00", "#56B4E9", "#D55E00", "#CC79A7", "#009E73", "#999933", BLACK)
DASHES = ("-", "--", "-.", ":")  # the next one after DISTINCT colors
DISTINCT = 3  # colors in a row that color-blind readers tell apart
WIDEST, THINNEST = 2.8, 1.0  # of the lines of runs, so that lines that coincide are seen inside one another
LARGEST = 1e150  # a number that can be drawn, with margins on a log scale
DECADES = 40  # of a log scale
NOTHING = "nothing finite to draw"


def new_axes() -> "Axes":
    """The axes of a new figure."""
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def contours(loss: Callable, box: Sequence[Sequence[float]], *, levels: int = 20, ax: Any = None) -> "Axes":
    """The contours of a loss of two parameters over a box, at quantiles of its values, so that valleys show.

    Args:
        loss: `loss(x) -> scalar` of an array of shape (2,).
        box: ((left, right), (bottom, top)).
        levels: how many contours.
        ax: where to draw; a new figure where none is given.

    >>> from matplotlib.figure import Figure
    >>> ax = contours(lambda x: x[0] ** 2 + x[1] ** 2, ((-1, 1), (-2, 2)), ax=Figure().subplots())
    >>> [float(end) for end in ax.get_ylim()]
    [-2.0, 2.0]
    """
    import matplotlib

    ax = new_axes() if ax is None else ax
    (left, right), (bottom, top) = box
    x, y = np.linspace(left, right, 301), np.linspace(bottom, top, 301)
    grid = jnp.stack(jnp.meshgrid(jnp.asarray(x), jnp.asarray(y)), axis=-1)
    values = drawable(jax.jit(jax.vmap(jax.vmap(loss)))(grid))
    known = values[np.isfinite(values)]
    heights = np.unique(np.quantile(known, np.linspace(0, 1, levels))) if known.size else known
    if len(heights) > 1:
        shades = matplotlib.colormaps["bone"](np.linspace(0.55, 1, len(heights)))
        ax.contourf(x, y, values, heights, colors=shades[:-1])
        ax.contour(x, y, values, heights, colors="0.5", linewidths=0.3, linestyles="solid")
    elif not known.size:
        say(NOTHING, ax=ax)
    ax.set(xlim=(left, right), ylim=(bottom, top), xlabel="$\\theta_1$", ylabel="$\\theta_2$")
    return ax


def paths(runs: Any, *, ax: Any = None) -> "Axes":
    """The paths of runs of two parameters, a dot where each starts and a square where it ends.

    Args:
        runs: a `Run` that recorded "params", an array of shape (steps, 2), or a mapping from names to such.
        ax: where to draw; a new figure where none is given.

    >>> from matplotlib.figure import Figure
    >>> ax = paths(np.array([[0.0, 0.0], [1.0, 2.0]]), ax=Figure().subplots())
    >>> ax.lines[0].get_xydata().tolist()
    [[0.0, 0.0], [1.0, 2.0]]
    """
    ax = new_axes() if ax is None else ax
    named = _named(runs)
    for (name, style), run in zip(lines(list(named)).items(), named.values(), strict=True):
        path = drawable(_path(run))
        path = path[np.isfinite(path).all(axis=1)]
        ax.plot(*path.T, label=name or None, **style)
        ax.plot(*path[:1].T, ".", color="black", markersize=5)
        ax.plot(*path[-1:].T, "s", color=style["color"], markersize=4)
    return ax


def losses(runs: Any, *, ax: Any = None) -> "Axes":
    """The loss against the step, on a log scale where all are above 0; of runs side by side median and quartiles.

    Args:
        runs: a `Run` that recorded "loss", or a mapping from names to such.
        ax: where to draw; a new figure where none is given.

    >>> import gdlab; from matplotlib.figure import Figure
    >>> run = gdlab.minimize(lambda x: x * x, gdlab.gd(0.25), 4.0, steps=3)
    >>> losses({"gd": run}, ax=Figure().subplots()).lines[0].get_ydata().tolist()
    [16.0, 4.0, 1.0]
    """
    ax = new_axes() if ax is None else ax
    named, drawn = _named(runs), []
    for (name, style), run in zip(lines(list(named)).items(), named.values(), strict=True):
        values = np.moveaxis(np.asarray(_recorded(run, "loss"), float), np.ndim(run.begun), 0)
        drawn.append(values.ravel())
        band(run.step, values.reshape(len(values), -1), label=name or None, ax=ax, **style)
    ax.set(xlabel="steps", ylabel="loss")
    known = drawable(np.concatenate(drawn))
    if not (known <= 0).any():
        log_axis("y", known, ax=ax)
    legend(ax=ax)
    return ax


def rate_sensitivity(dataset: "xarray.Dataset", *, rate: str = "lr", loss: str = "loss", ax: Any = None) -> "Axes":
    """The final loss of a sweep against the learning rate: medians and quartiles, a line for each optimizer.

    Args:
        dataset: from `gdlab.sweep`, with the coordinate `rate` and the variable `loss`.
        rate: the name of the axis of rates.
        loss: the name of the variable; along "step", where it has that, the last one counts, as for `compare`.
        ax: where to draw; a new figure where none is given.

    >>> import xarray; from matplotlib.figure import Figure
    >>> swept = xarray.Dataset({"loss": (("lr", "start"), [[1.0, 3.0], [4.0, 6.0]])}, {"lr": [0.1, 1.0]})
    >>> rate_sensitivity(swept, ax=Figure().subplots()).lines[0].get_ydata().tolist()
    [2.0, 5.0]
    """
    ax = new_axes() if ax is None else ax
    curves = settled(dataset, loss, "step")
    final = curves.isel(step=-1) if "step" in curves.dims else curves
    named = {"": final}
    if "optimizer" in final.dims:
        named = {str(name): final.sel(optimizer=name) for name in final["optimizer"].values}
    for (name, style), part in zip(lines(list(named)).items(), named.values(), strict=True):
        values = part.transpose(rate, ...).values
        band(part[rate].values, values.reshape(len(values), -1), label=name or None, ax=ax, **style)
    ax.set(xlabel="learning rate", ylabel="final loss")
    if not (drawable(final) <= 0).any():
        log_axis("y", drawable(final), ax=ax)
    log_axis("x", final[rate].values, ax=ax)
    legend(ax=ax)
    return ax


def animate(runs: Any, *, frames: int = 100, interval: float = 40, ax: Any = None) -> "FuncAnimation":
    """Runs of two parameters that move, at the same step in each frame; `.save("runs.gif")`, or `.to_jshtml()`.

    Args:
        runs: as for `paths`.
        frames: how many, at most the number of recorded steps.
        interval: milliseconds between them.
        ax: where to draw, such as what `contours` returned; a new figure where none is given.

    >>> from matplotlib.figure import Figure
    >>> movie = animate(np.zeros((5, 2)), frames=3, ax=Figure().subplots())
    >>> movie._draw_was_started = True  # it is not shown here
    >>> [int(count) for count in movie.new_frame_seq()]
    [1, 3, 5]
    """
    from matplotlib.animation import FuncAnimation

    ax = new_axes() if ax is None else ax
    walked = {name: drawable(_path(run)) for name, run in _named(runs).items()}
    longest = max(map(len, walked.values()))
    shown = np.unique(np.linspace(1, longest, min(frames, longest)).astype(int))
    drawn = [ax.plot([], [], label=name or None, **style)[0] for name, style in lines(list(walked)).items()]
    heads = [ax.plot([], [], "o", color=line.get_color(), markersize=5)[0] for line in drawn]

    def show(count: int) -> list[Any]:
        for line, head, path in zip(drawn, heads, walked.values(), strict=True):
            line.set_data(*path[:count].T)
            head.set_data(*path[:count][-1:].T)
        return [*drawn, *heads]

    legend(ax=ax)
    return FuncAnimation(ax.figure, show, shown, interval=interval, blit=True)


def _named(runs):
    return dict(runs) if isinstance(runs, Mapping) else {"": runs}


def _recorded(run, name):
    """What a run recorded under a name; a run with a store keeps nothing of it in memory."""
    if not hasattr(run, "history"):
        msg = f"runs must be a Run, or a mapping from names to such; got {shown(run)}"
        raise TypeError(msg)
    if name not in run.history:
        msg = f'runs must have recorded "{name}", as minimize(..., record=("loss", "params")) does; got one with '
        stored = "its history in its store, which gdlab.read_history reads"
        raise ValueError(msg + (", ".join(run.history) or ("nothing" if run.ends is None else stored)))
    return run.history[name]


def _path(run):
    """The path of a run, shape (steps, 2)."""
    points = run
    if hasattr(run, "history"):
        points = jax.vmap(lambda tree: ravel_pytree(tree)[0])(_recorded(run, "params"))
    if np.ndim(points) != 2 or np.shape(points)[1] != 2:
        msg = f"runs must be of two parameters, shape (steps, 2); got {np.shape(points)}"
        raise ValueError(msg)
    return points


def colors(names: Sequence[str]) -> dict[str, str]:
    """A color for each name, the same for the same list."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def lines(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How to draw the line of each name: its color, dashes beyond the third, each thinner than the one before.

    >>> [style["linewidth"] for style in lines(["gd", "momentum", "adam"]).values()]
    [2.8, 1.9, 1.0]
    """
    widths = np.linspace(WIDEST, THINNEST, len(names)) if len(names) > 1 else [THINNEST]
    return {
        name: {"color": color, "linestyle": DASHES[i // DISTINCT % len(DASHES)], "linewidth": float(width)}
        for i, ((name, color), width) in enumerate(zip(colors(names).items(), widths, strict=True))
    }


def band(x: ArrayLike, values: ArrayLike, *, color: str | None = None, ax: Any = None, **line: Any) -> "Axes":
    """The median of the last axis against x, as `line` says, with the band between its quartiles.

    A black line has the color of the words beside the axes, which is white where these are dark.

    >>> from matplotlib.figure import Figure
    >>> ax = band([1, 2], [[0.0, 1.0, 5.0], [2.0, 2.0, 2.0]], ax=Figure().subplots())
    >>> ax.lines[0].get_ydata().tolist()
    [1.0, 2.0]
    """
    ax = new_axes() if ax is None else ax
    if color == BLACK:
        from matplotlib.colors import to_hex

        color = to_hex(ax.xaxis.label.get_color())
    values = drawable(values)
    some = np.isfinite(values).any(axis=-1)
    x, values = drawable(x)[some], values[some]
    low, middle, high = np.nanquantile(values, (0.25, 0.5, 0.75), axis=-1) if some.any() else values.T[:1].repeat(3, 0)
    (drawn,) = ax.plot(x, middle, **{"color": color, **line})
    if values.shape[-1] > 1:
        ax.fill_between(x, low, high, color=drawn.get_color(), alpha=0.1, linewidth=0)
    return ax


def drawable(values: Any) -> np.ndarray:
    """The values as floats, NaN where one is not finite or too large for the limits and ticks of an axis.

    >>> drawable([1.0, -2e155, np.inf])
    array([ 1., nan, nan])
    """
    values = np.asarray(values, float)
    return np.where(np.abs(values) < LARGEST, values, np.nan)


def log_axis(name: str, values: Any, *, ax: Any) -> "Axes":
    """Put an axis, x or y, on a log scale that shows these values, at most DECADES decades from the lowest on."""
    known = np.log10([value for value in np.ravel(values) if 1 / LARGEST < value < LARGEST])
    if not known.size and name == "y":
        say("nothing to draw: all diverged", ax=ax)
    low, high = (known.min(), min(known.max(), known.min() + DECADES)) if known.size else (0.0, 0.0)
    margin = max(0.05 * (high - low), 0.1 if high > low else 0.5)
    # The limits first, or values below 0 are complained of.
    ax.set(**{f"{name}lim": (10 ** (low - margin), 10 ** (high + margin))})
    ax.set(**{f"{name}scale": "log"})
    return ax


def say(words: str, *, ax: Any) -> "Axes":
    """Words in the middle of empty axes."""
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color="0.4")
    return ax


def legend(*, ax: Any, **how: Any) -> "Axes":
    """The legend, where anything has a label."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(**how)
    return ax


def __dir__() -> list[str]:
    """What completion offers: the public names."""
    return sorted(__all__)
