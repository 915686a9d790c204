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

from experiments.cli.settings import InputError, OnFolder, OnTarget
from experiments.reporting import claims, figures, pages
from experiments.reporting.run_folder import Extras, Table, dump, new_folder, now, write_new, write_record, written


def main(settings: OnFolder) -> int:
    """Write the page of a folder; the exit status."""
    out = settings.out or settings.folder / "report.html"
    folders = [settings.folder, *sorted(path for path in settings.folder.glob("*") if not path.name.startswith("."))]
    runs = pages.told_apart([pages.read(folder) for folder in folders if (folder / "report.json").is_file()])
    if not runs:
        raise InputError(f"folder must hold finished runs, each with a report.json; got {settings.folder}")
    overview, navigation = claims.overview(runs)
    write_new(out, pages.page("What came out", runs, overview, navigation))
    print(f"written: {out}, {len(runs)} runs, {out.stat().st_size / 1e6:.1f} MB")
    return 0


class Report(NamedTuple):
    """What a command found out."""

    title: str
    words: Sequence[str]  # sentences
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    summary: dict[str, Any]  # for JSON
    draw: Callable[[], Any]  # the figure
    save: Callable[[Path], None] | None = None  # writes more results into the folder


def publish(settings: OnTarget, name: str, make: Callable[[], Report]) -> int:
    """Make the report, write its folder, and print it; the exit status."""
    started = now()
    out = settings.out or Path("runs") / name
    with new_folder(out) as folder:
        report = make()
        if report.save is not None:
            report.save(folder)
        table = Table("", report.columns, report.rows)
        write_record(folder, name, settings, started, report.summary, report.title, report.words, [table])
        extras = Extras(folder)
        extras.figure(name, report.draw, title=figures.plain(report.title), pgf=settings.pgf)
        extras.text("report.html", lambda: pages.page(report.title, [pages.read(folder)._replace(name=name)]))
    if settings.json:
        print(dump({**report.summary, "out": str(out)}))
    else:
        from experiments.cli.console import print_table

        print(report.title)
        print("\n".join(report.words))
        print_table("", report.columns, report.rows)
        print(written(out, "report.html", f"{name}.png", f"{name}.svg", "summary.json"))
    return extras.status


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


def shown(value: Any) -> str:
    """Parameters in short: all numbers of a few, the shapes of many."""
    flat = np.asarray(ravel_pytree(value)[0])
    if flat.size <= 6:
        return "(" + ", ".join(f"{number:.8g}" for number in flat) + ")"
    return f"{flat.size:,} parameters"
