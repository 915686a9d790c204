"""What a command on a target reports: words and one table, on a page of its own, and slices through a point.

A page holds its figures, and every text in it is escaped: names and paths come from the user.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jax.flatten_util import ravel_pytree

import hessian

from ..cli.settings import OnTarget
from ..reporting import figures, pages
from ..reporting.run_folder import Findings, Table, publish


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


def extreme_slices(loss: Callable, params: Any, point: hessian.CriticalPoint) -> Any:
    """A figure of the slices along the eigenvectors of the lowest and the highest eigenvalue, where they are known."""
    ends = (("lowest", point.lowest), ("highest", point.highest))
    pairs = [(name, end.vector, float(end.value)) for name, end in ends]
    figure, axes = figures.plt.subplots(figsize=(7, 4.4))
    figures.slices(loss, params, [pair for pair in pairs if np.isfinite(pair[2])], ax=axes)
    return figure


def shown(value: Any) -> str:
    """Parameters in short: all numbers of a few, the shapes of many."""
    flat = np.asarray(ravel_pytree(value)[0])
    if flat.size <= 6:
        return "(" + ", ".join(f"{number:.8g}" for number in flat) + ")"
    return f"{flat.size:,} parameters"
