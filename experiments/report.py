"""The report of a command on a target: words on the terminal, JSON, a figure, and one page that needs nothing else.

The page holds its figure, and every text in it is escaped: names and paths come from the user.
"""

import base64
import html
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from experiments import figures
from experiments.figures import plt
from experiments.runs import dump, new_folder, provenance, write_figure, write_json
from experiments.settings import OnTarget, as_json

STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse}td,th{border:1px solid #bbb;padding:.2em .6em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%}"
)


class Report(NamedTuple):
    """What a command found out."""

    title: str
    words: Sequence[str]  # sentences
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    summary: dict[str, Any]  # for JSON
    figure: Any
    extra: Callable[[Path], None] | None = None  # writes more into the folder


def publish(settings: OnTarget, name: str, make: Callable[[], Report]) -> int:
    """Make the report, write its folder, and print it; the exit status."""
    started = time.time()
    out = settings.out or Path("runs") / name
    with new_folder(out) as folder:
        report = make()
        write_figure(folder, name, report.figure)
        plt.close(report.figure)
        write_json(folder / "summary.json", report.summary)
        write_json(folder / "config.json", as_json(settings))
        write_json(folder / "meta.json", provenance(settings.seed, started))
        (folder / "report.html").write_text(page(report, folder / f"{name}.png"), encoding="utf-8")
        if report.extra is not None:
            report.extra(folder)
    if settings.json:
        print(dump({**report.summary, "out": str(out)}))
    else:
        from experiments.show import print_table

        print(report.title)
        print("\n".join(report.words))
        print_table("", report.columns, report.rows)
        print(f"written: {out}/report.html, {name}.png, {name}.svg, summary.json")
    return 0


def page(report: Report, picture: Path) -> str:
    """The report as one HTML page."""
    escape = html.escape
    image = base64.b64encode(picture.read_bytes()).decode()
    words = "".join(f"<p>{escape(sentence)}</p>" for sentence in report.words)
    head = "".join(f"<th>{escape(column)}</th>" for column in report.columns)
    rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in report.rows)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(report.title)}</title>'
        f"<style>{STYLE}</style><h1>{escape(report.title)}</h1>{words}"
        f'<img alt="{escape(report.title)}" src="data:image/png;base64,{image}">'
        f"<table><tr>{head}</tr>{rows}</table></html>\n"
    )


def slices(axes: Any, loss: Callable, params: Any, pairs: Sequence[tuple[str, Any, float]]) -> None:
    """Draw the loss along directions through params, and the parabola that its curvature predicts."""
    theta, unravel = ravel_pytree(params)
    reach = 0.5 * (1 + float(jnp.linalg.norm(theta)))
    t = np.linspace(-reach, reach, 121)
    center = float(loss(params))
    for (label, direction, curvature), colour in zip(pairs, figures.PALETTE, strict=False):
        u = ravel_pytree(direction)[0]
        values = np.asarray(jax.lax.map(lambda s, u=u: loss(unravel(theta + s * u)), jnp.asarray(t, theta.dtype)))
        axes.plot(t, values, color=colour, label=f"along the {label} eigenvector, {curvature:.4g}")
        inner = np.abs(t) < reach / 3
        axes.plot(t[inner], center + curvature * t[inner] ** 2 / 2, ":", color=colour)
    axes.axvline(0, color="0.7", linewidth=0.8)
    axes.set(xlabel="distance", ylabel="loss", title="slices of the loss, and what the curvature predicts (dotted)")
    axes.legend(fontsize=7)


def shown(value: Any) -> str:
    """Parameters in short: all numbers of a few, the shapes of many."""
    flat = np.asarray(ravel_pytree(value)[0])
    if flat.size <= 6:
        return "(" + ", ".join(f"{number:.8g}" for number in flat) + ")"
    return f"{flat.size:,} parameters"
