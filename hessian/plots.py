"""Figures of critical points and curvature: kinds, ways out, slices, the density of eigenvalues, the edge of stability.

Every function takes `ax` and returns it, and changes nothing else; without one it makes a new figure.  matplotlib is
imported when something is drawn.  Kinds of critical points are told apart by their marks, in black, grey and white.

| function | what it draws |
|---|---|
| `critical_points` | points of two parameters, by kind |
| `proved` | a ring around those that are proved |
| `way_out` | the direction out of a saddle, the step along it, and where it leads |
| `atlas` | the points of a search: loss against index |
| `slices` | the loss along directions, and what slope and curvature predict |
| `density` | the density of the eigenvalues, with a band of two standard errors |
| `eigenvalues` | eigenvalues along a run, against 2 / eta |
"""

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from hessian.spectra.density import Density

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["atlas", "critical_points", "density", "eigenvalues", "proved", "slices", "way_out"]

MARKS = {
    "minimum": ("o", "#ffffff"),
    "saddle": ("X", "#000000"),
    "maximum": ("^", "#999999"),
    "degenerate": ("D", "#d9d9d9"),
}
COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")  # of Okabe and Ito (2008)
WAY = ("negative curvature", "step along it", "descent from there", "where it ends")  # out of a saddle
LARGEST = 1e150  # a number that can be drawn


def _axes():
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def _drawable(values):
    values = np.asarray(values, float)
    return np.where(np.abs(values) < LARGEST, values, np.nan)


def _ink(ax):
    """The color of the words beside the axes, which are light where the axes are dark."""
    return ax.xaxis.label.get_color()


def critical_points(points: Any, *, ax: Any = None) -> "Axes":
    """Points of two parameters, marked by their kind.

    Args:
        points: what `find_critical_points` found, or pairs of coordinates and a kind.
        ax: where to draw; a new figure where none is given.

    >>> from matplotlib.figure import Figure
    >>> ax = critical_points([((0.0, 1.0), "saddle")], ax=Figure().subplots())
    >>> [(part.get_label(), part.get_offsets().tolist()) for part in ax.collections]
    [('saddle', [[0.0, 1.0]])]
    """
    ax = _axes() if ax is None else ax
    if hasattr(points, "params"):
        points = list(zip(_flat(points.params), points.kind, strict=True))
    for kind, (mark, color) in MARKS.items():
        places = np.array([x for x, of_kind in points if of_kind == kind])
        if len(places):
            ax.scatter(
                *places.T, s=46, marker=mark, color=color, edgecolors="black", linewidths=0.8, zorder=5, label=kind
            )
    return ax


def _flat(params):
    """Points as rows of two coordinates."""
    rows = np.zeros((0, 2)) if params is None else np.asarray(jax.vmap(lambda tree: ravel_pytree(tree)[0])(params))
    if rows.shape[1] != 2:
        msg = f"points must have two parameters to be drawn by their place; got {rows.shape[1]}: atlas draws any"
        raise ValueError(msg)
    return rows


def proved(points: Any, *, ax: Any = None) -> "Axes":
    """A ring around each point of two coordinates that is proved.

    >>> from matplotlib.figure import Figure
    >>> proved([(0.0, 1.0)], ax=Figure().subplots()).collections[0].get_offsets().tolist()
    [[0.0, 1.0]]
    """
    ax = _axes() if ax is None else ax
    if len(points):
        ring = {"facecolors": "none", "edgecolors": "black", "linewidths": 1.2}
        ax.scatter(*np.asarray(points).T, s=130, zorder=5, label="proved", **ring)
    return ax


def way_out(at: Any, direction: Any, reached: Any, end: Any, *, ax: Any = None) -> "Axes":
    """The negative direction through a saddle, the step along it, and a star where descent leads from there.

    A legend of the axes says so once, of however many saddles.

    Args:
        at: the saddle, shape (2,).
        direction: of negative curvature, such as `escape(...).direction`.
        reached: where the step along it ended, `escape(...).params`.
        end: where descent leads, such as `find_minimum(...).params`.
        ax: where to draw, with the limits that it has; a new figure where none is given.

    >>> from matplotlib.figure import Figure
    >>> ax = way_out([0, 0], [1, 0], [0.5, 0], [1, 0.5], ax=Figure().subplots())
    >>> ax.lines[-1].get_xydata().tolist()  # the star
    [[1.0, 0.5]]
    """
    ax = _axes() if ax is None else ax
    at, direction = np.asarray(at, float), np.asarray(direction, float)
    if not np.isfinite([at, direction]).all():
        return ax
    reached, end = _drawable(reached), _drawable(end)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    length = 0.12 * min(right - left, top - bottom)
    tips = np.stack([at - length * direction, at + length * direction])
    ax.annotate("", tips[1], tips[0], arrowprops={"arrowstyle": "<->", "color": "black", "linewidth": 1.6}, zorder=6)
    named = WAY[-1] in ax.get_legend_handles_labels()[1]
    line, step, descent, star = [None] * 4 if named else WAY
    descent = None if np.array_equal(reached, end) else descent
    ax.plot([], [], marker=r"$\leftrightarrow$", color="black", linestyle="", markersize=11, label=line)
    ax.plot(*np.stack([at, reached]).T, "--", color="black", linewidth=1.0, zorder=4, label=step)
    ax.plot(*np.stack([reached, end]).T, ":", color="black", linewidth=1.0, zorder=4, label=descent)
    ax.plot(*end, "*", color="black", markersize=9, linestyle="", zorder=6, label=star)
    ax.set(xlim=(left, right), ylim=(bottom, top))
    return ax


def atlas(points: Any, *, ax: Any = None) -> "Axes":
    """The points that `find_critical_points` found, of any number of parameters: the loss against the index.

    >>> from types import SimpleNamespace; from matplotlib.figure import Figure
    >>> kinds = np.array(["minimum", "saddle"])
    >>> points = SimpleNamespace(kind=kinds, loss=np.array([0.5, 2.0]), index=np.array([0, 1]))
    >>> [line.get_xydata().tolist() for line in atlas(points, ax=Figure().subplots()).lines]
    [[[0.0, 0.5]], [[1.0, 2.0]]]
    """
    ax = _axes() if ax is None else ax
    for kind, (mark, color) in MARKS.items():
        of_kind = points.kind == kind
        if of_kind.any():
            losses = _drawable(points.loss[of_kind])
            ax.plot(points.index[of_kind], losses, mark, color=color, markeredgecolor=_ink(ax), label=kind)
    ax.set(xlabel="index: negative eigenvalues", ylabel="loss", title="critical points")
    ax.xaxis.get_major_locator().set_params(integer=True)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=7)
    return ax


def slices(loss: Callable, params: Any, pairs: Sequence[tuple[str, Any, float]], *, ax: Any = None) -> "Axes":
    """The loss along directions through params, and the parabola that its slope and curvature predict, dotted.

    Args:
        loss: `loss(params) -> scalar`.
        params: the point, any pytree of floating arrays.
        pairs: of each direction its name, itself, like params and of length 1, and the curvature along it.
        ax: where to draw; a new figure where none is given.

    >>> from matplotlib.figure import Figure
    >>> loss, at, along = lambda x: x[0] ** 2 - x[1] ** 2, jnp.zeros(2), jnp.array([0.0, 1.0])
    >>> ax = slices(loss, at, [("lowest", along, -2.0)], ax=Figure().subplots())
    >>> round(float(ax.lines[0].get_ydata()[0]), 6)  # (1/2)^2 below the saddle
    -0.25
    """
    ax = _axes() if ax is None else ax
    theta, unravel = ravel_pytree(params)
    largest = float(jnp.max(jnp.abs(theta)))  # first, as the square of a large number overflows
    reach = 0.5 * (1 + largest * float(jnp.linalg.norm(theta / (largest or 1.0))))
    t = reach * np.linspace(-1, 1, 121)
    center, slope = jax.value_and_grad(lambda theta: loss(unravel(theta)))(theta)
    drawn = False
    for (label, direction, curvature), color in zip(pairs, itertools.cycle(COLORS), strict=False):
        u = ravel_pytree(direction)[0]
        values = jax.lax.map(lambda s, u=u: loss(unravel(theta + s * u)), jnp.asarray(t, theta.dtype))
        with np.errstate(all="ignore"):
            model = np.where(np.abs(t) < reach / 3, float(center) + float(slope @ u) * t + curvature * t**2 / 2, np.nan)
        x, (curve, parabola) = _drawable(t), _drawable([values, model])
        ax.plot(x, curve, color=color, label=f"along the {label} eigenvector, {curvature:.4g}")
        ax.plot(x, parabola, ":", color=color)
        drawn = drawn or np.isfinite(x + curve).any()
    if not drawn:
        ax.text(0.5, 0.5, "nothing finite to draw", transform=ax.transAxes, ha="center", va="center", color="0.4")
    ax.axvline(0, color="0.7", linewidth=0.8)
    ax.set(xlabel="distance", ylabel="loss", title="slices of the loss; dotted: by slope and curvature")
    if drawn:
        ax.legend(fontsize=7)
    return ax


def density(found: Density, *, width: float | None = None, ax: Any = None) -> "Axes":
    """The density of the eigenvalues on a log scale, with a band of two standard errors.

    Args:
        found: what `hessian.density` returned.
        width: the standard deviation of the Gaussian that stands for a node, > 0; by default a hundredth of the range.
        ax: where to draw; a new figure where none is given.

    >>> from matplotlib.figure import Figure
    >>> found = Density(jnp.array([[0.0, 1.0]]), jnp.array([[0.5, 0.5]]), jnp.zeros((1, 2)), jnp.int32(2))
    >>> density(found, width=0.1, ax=Figure().subplots()).get_yscale()
    'log'
    """
    ax = _axes() if ax is None else ax
    low, high = float(jnp.min(found.nodes)), float(jnp.max(found.nodes))
    width = width or (high - low or abs(high) or 1.0) / 100
    x = np.linspace(low - 4 * width, high + 4 * width, 801)
    value, error = (np.asarray(part) for part in found.pdf(jnp.asarray(x, found.nodes.dtype), width))
    floor = 1e-6 * value.max()
    ax.plot(x, np.maximum(value, floor), color=COLORS[0])
    lows, highs = np.maximum(value - 2 * error, floor), np.maximum(value + 2 * error, floor)
    ax.fill_between(x, lows, highs, color=COLORS[0], alpha=0.2, linewidth=0)
    ax.axvline(0, color="0.7", linewidth=0.8)
    ax.set(yscale="log", xlabel="eigenvalue", ylabel="density", ylim=(floor, None))
    return ax


def eigenvalues(steps: ArrayLike, values: ArrayLike, *, rate: ArrayLike | None = None, ax: Any = None) -> "Axes":
    """Eigenvalues along a run, against 2 / eta, the curvature beyond which gradient descent of that rate diverges.

    Args:
        steps: at which they were computed, shape (k,), such as `run.step`.
        values: shape (k,) or (k, m).
        rate: eta, a number or one for each of the steps.
        ax: where to draw; a new figure where none is given.

    >>> from matplotlib.figure import Figure
    >>> ax = eigenvalues([0, 5], [1.0, 3.0], rate=0.5, ax=Figure().subplots())
    >>> [line.get_ydata().tolist() for line in ax.lines]
    [[1.0, 3.0], [4.0, 4.0]]
    """
    ax = _axes() if ax is None else ax
    rows = _drawable(values)
    for i, column in enumerate(rows.reshape(len(rows), -1).T):
        ax.plot(steps, column, color=COLORS[i % len(COLORS)], linewidth=1.2)
    if rate is not None:
        edge = np.broadcast_to(2 / np.asarray(rate, float), np.shape(steps))
        ax.plot(steps, _drawable(edge), "--", color=_ink(ax), linewidth=1.0, label="$2 / \\eta$")
        ax.legend()
    ax.set(xlabel="steps", ylabel="eigenvalue of the Hessian")
    return ax


def __dir__() -> list[str]:
    """What completion offers: the public names."""
    return sorted(__all__)
