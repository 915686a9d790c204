"""The report of a command on a target, and `report`: one page of all that a folder holds.

A page holds its figures, and every text in it is escaped: names and paths come from the user.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from experiments import claims, figures, pages
from experiments.runs import Table, dump, new_folder, now, write_figure, write_new, write_record
from experiments.settings import InputError, OnFolder, OnTarget


def main(settings: OnFolder) -> int:
    """Write the page of a folder; the exit status."""
    out = settings.out or settings.folder / "report.html"
    folders = [settings.folder, *sorted(path for path in settings.folder.glob("*") if not path.name.startswith("."))]
    runs = [pages.read(folder) for folder in folders if (folder / "report.json").is_file()]
    if not runs:
        raise InputError(f"folder must hold finished runs, each with a report.json; got {settings.folder}")
    write_new(out, pages.page("What came out", runs, claims.overview(runs), claims.NAVIGATION))
    print(f"written: {out}, {len(runs)} runs, {out.stat().st_size / 1e6:.1f} MB")
    return 0


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
    started = now()
    out = settings.out or Path("runs") / name
    with new_folder(out) as folder:
        report = make()
        report.figure.suptitle(report.title, fontsize="medium", wrap=True)
        write_figure(folder, name, report.figure, pgf=settings.pgf)
        table = Table("", report.columns, report.rows)
        write_record(folder, name, settings, started, report.summary, report.title, report.words, [table])
        page = pages.page(report.title, [pages.read(folder)._replace(name=name)])
        (folder / "report.html").write_text(page, encoding="utf-8")
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


def slices(axes: Any, loss: Callable, params: Any, pairs: Sequence[tuple[str, Any, float]]) -> None:
    """Draw the loss along directions through params, and the parabola that its slope and curvature predict."""
    theta, unravel = ravel_pytree(params)
    reach = 0.5 * (1 + float(jnp.linalg.norm(theta)))
    t = np.linspace(-reach, reach, 121)
    center, slope = jax.value_and_grad(lambda theta: loss(unravel(theta)))(theta)
    for (label, direction, curvature), colour in zip(pairs, figures.PALETTE, strict=False):
        u = ravel_pytree(direction)[0]
        values = np.asarray(jax.lax.map(lambda s, u=u: loss(unravel(theta + s * u)), jnp.asarray(t, theta.dtype)))
        axes.plot(t, values, color=colour, label=f"along the {label} eigenvector, {curvature:.4g}")
        inner = np.abs(t) < reach / 3
        axes.plot(t[inner], center + slope @ u * t[inner] + curvature * t[inner] ** 2 / 2, ":", color=colour)
    axes.axvline(0, color="0.7", linewidth=0.8)
    axes.set(
        xlabel="distance", ylabel="loss", title="slices of the loss, and what slope and curvature predict (dotted)"
    )
    axes.legend(fontsize=7)


def shown(value: Any) -> str:
    """Parameters in short: all numbers of a few, the shapes of many."""
    flat = np.asarray(ravel_pytree(value)[0])
    if flat.size <= 6:
        return "(" + ", ".join(f"{number:.8g}" for number in flat) + ")"
    return f"{flat.size:,} parameters"
