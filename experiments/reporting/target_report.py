"""What a command on a target reports: words and one table, on a page of its own, and slices through a point.

A page holds its figures, and every text in it is escaped: names and paths come from the user.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import hessian
from experiments.cli.settings import OnTarget
from experiments.reporting import figures, pages
from experiments.reporting.run_folder import Findings, Table, publish


class Report(NamedTuple):
    """What a command found out about a target."""

    title: str
    words: Sequence[str]  # sentences
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    summary: dict[str, Any]  # for JSON
    draw: Callable[[], Any]  # the figure
    save: Callable[[Path], None] = lambda folder: None  # writes more results into the folder
    passed: bool = True  # whether the exit status may be 0
    play: Callable[[], str] | None = None  # makes the page to play with


def publish_report(settings: OnTarget, name: str, make: Callable[[], Report]) -> int:
    """Make the report, write its folder with a page of its own, and print it; the exit status."""

    def find(_):
        report = make()
        play = report.play
        played = [("page.html", lambda _: play())] if settings.page and play is not None else []
        return Findings(
            title=report.title,
            summary=report.summary,
            tables=[Table("", report.columns, report.rows)],
            draw=report.draw,
            words=report.words,
            caption=figures.plain(report.title),
            save=report.save,
            pages=[("report.html", lambda folder: page(report.title, folder, name)), *played],
            above=[report.title, *report.words],
            passed=report.passed,
        )

    return publish(settings, name, find)


def page(title: str, folder: Path, name: str) -> str:
    """The page of one run, whose folder has not its final name yet."""
    return pages.page(title, [pages.read(folder)._replace(name=name)])


def slices(axes: Any, loss: Callable, params: Any, pairs: Sequence[tuple[str, Any, float]]) -> None:
    """Draw the loss along directions through params, and the parabola that its slope and curvature predict."""
    theta, unravel = ravel_pytree(params)
    largest = float(jnp.max(jnp.abs(theta)))  # first, as the square of a large number overflows
    reach = 0.5 * (1 + largest * float(jnp.linalg.norm(theta / (largest or 1.0))))
    t = reach * np.linspace(-1, 1, 121)
    center, slope = jax.value_and_grad(lambda theta: loss(unravel(theta)))(theta)
    drawn = False
    for (label, direction, curvature), colour in zip(pairs, figures.PALETTE, strict=False):
        u = ravel_pytree(direction)[0]
        values = jax.lax.map(lambda s, u=u: loss(unravel(theta + s * u)), jnp.asarray(t, theta.dtype))
        with np.errstate(all="ignore"):
            model = np.where(np.abs(t) < reach / 3, float(center) + float(slope @ u) * t + curvature * t**2 / 2, np.nan)
        x, (curve, parabola) = figures.drawable(t), figures.drawable([values, model])
        axes.plot(x, curve, color=colour, label=f"along the {label} eigenvector, {curvature:.4g}")
        axes.plot(x, parabola, ":", color=colour)
        drawn = drawn or np.isfinite(x + curve).any()
    if not drawn:
        figures.say(axes, figures.NOTHING)
    axes.axvline(0, color="0.7", linewidth=0.8)
    axes.set(
        xlabel="distance", ylabel="loss", title="slices of the loss, and what slope and curvature predict (dotted)"
    )
    figures.legend(axes, fontsize=7)


def extreme_slices(loss: Callable, params: Any, point: hessian.CriticalPoint) -> Any:
    """A figure of the slices along the eigenvectors of the lowest and the highest eigenvalue, where they are known."""
    ends = (("lowest", point.lowest), ("highest", point.highest))
    pairs = [(name, end.vector, float(end.value)) for name, end in ends]
    figure, axes = figures.plt.subplots(figsize=(7, 4.4))
    slices(axes, loss, params, [pair for pair in pairs if np.isfinite(pair[2])])
    return figure


def shown(value: Any) -> str:
    """Parameters in short: all numbers of a few, the shapes of many."""
    flat = np.asarray(ravel_pytree(value)[0])
    if flat.size <= 6:
        return "(" + ", ".join(f"{number:.8g}" for number in flat) + ")"
    return f"{flat.size:,} parameters"
