"""Which optimizer gets where, at which learning rate, and who is stuck on a saddle? (S3-S11, S61, S65)

Every optimizer runs from the same starts, some of them on a saddle or 1e-6 beside it, at the same learning rates, all
in one compiled call.  Where each run stops is classified by the eigenvalues of its Hessian; from the saddles on which
runs stopped, one step along the negative eigenvector is made, and gradient descent shows where it leads.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray
from jax.flatten_util import ravel_pytree

import gdlab
import hessian

from ..cli.console import bar
from ..cli.settings import InputError, OnTarget, Race, as_json, at_least_one
from ..reporting.endpoints import NOT_SEEN, EscapeRoute, best_rates, classified, unclassified, ways_out
from ..reporting.run_folder import Extras, Findings, Table, dump, publish, write_dataset
from ..workloads.optimizers import named_optimizers
from ..workloads.user_loss import parameters
from ..workloads.workload import Workload, load, rates_of, spaced

ROWS = 100  # rows of the recorded history
DIVERGED = "diverged"
SOLVED = 1e-8  # of the highest loss at the start above the lowest: the figure tells apart no smaller ones
WIDTH, HEIGHT = 11, 5.8  # of the figure with one row of names, in inches
LINE, LETTER, HANDLE = 0.17, 0.065, 0.5  # of the legend: a row, a letter, and what stands around a name, in inches


def main(settings: Race) -> int:
    """Race, print the table, write the folder; the exit status."""
    settings, workload, optimizers, rates = resolve(settings)
    corners(settings, workload)

    def find(extras: Extras) -> Findings:
        with bar(settings.progress, ["race", "classify", "escape"]) as advance:
            raced = race(workload, optimizers, rates, settings)
            advance()
            dataset = extras.made("the kinds of the stops", lambda: classified(raced, workload), unclassified(raced))
            advance()
            none: list[EscapeRoute] = []
            ways = extras.made("the ways out of the saddles", lambda: ways_out(dataset, workload), none)
            advance()
        summary = summarize(dataset, ways, workload)
        dataset.attrs["config"] = dump(as_json(settings))
        nothing: tuple[list[Table], list[str]] = ([], [])
        tables, words = extras.made("the table", lambda: summary_text(summary, settings), nothing)
        return Findings(
            title=f"Race on {workload.name}",
            summary=summary,
            tables=tables,
            draw=lambda: draw(dataset, ways, workload),
            words=words,
            save=lambda folder: write_dataset(folder / "results.nc", dataset),
            pages=[("page.html", lambda _: page_of(dataset, workload, optimizers, settings))] if settings.page else [],
            below="".join(f"{line}\n" for line in words[1:]),
        )

    return publish(settings, "race", find)


def page_of(dataset: xarray.Dataset, workload: Workload, optimizers: dict[str, Any], settings: Race) -> str:
    """The race to play with in a browser."""
    from ..playground.page import page

    return page(dataset, workload, optimizers, settings, corners=corners(settings, workload))


def corners(settings: Race, workload: Workload) -> Any:
    """The three points, as rows, through which a race is drawn; None where the settings name none.

    Raises:
        InputError: for another number of files, or parameters of another structure.
    """
    if not settings.through:
        return None
    from ..playground.plane import through

    if len(settings.through) != 3:
        raise InputError(f"through must name three files of parameters; got {len(settings.through)}")
    like = jax.tree.map(lambda leaf: leaf[0], workload.starts)
    if sum(jnp.size(leaf) for leaf in jax.tree.leaves(like)) <= 2:
        raise InputError("through must stay away from a loss of two parameters, all of which is drawn")
    rows = []
    for path in settings.through:
        params = parameters(path)
        if jax.tree.map(jnp.shape, params) != jax.tree.map(jnp.shape, like):
            raise InputError(f"through must name files of parameters as those of the race are; {path} holds others")
        rows.append(np.asarray(ravel_pytree(params)[0]))
    through(rows)
    return np.stack(rows)


def play(
    settings: OnTarget, title: str, points: Any = (), proofs: Sequence[hessian.Proof] = (), begin: int | None = 0
) -> str:
    """The page to play with of a target: its loss, and a small race on it from the parameters that are looked at.

    Args:
        settings: of the command on the target.
        title: of the page.
        points: its critical points where they are known, each as flat numbers and a kind.
        proofs: records of some of them.
        begin: the start that is chosen first, 0 for the parameters.
    """
    from ..playground.page import page

    asked = Race(target=settings.target, params=settings.params, seed=settings.seed, quick=True)
    asked, workload, optimizers, rates = resolve(asked)
    workload = workload._replace(points=list(points) or workload.points)
    places = [x for x, _ in points]
    apart = np.array(places[:3]) if len(places) >= 3 and len(places[0]) > 2 else None
    raced = unclassified(race(workload, optimizers, rates, asked))
    return page(raced, workload, optimizers, asked, title=title, begin=begin, corners=apart, proofs=proofs)


def resolve(settings: Race) -> tuple[Race, Workload, dict[str, Any], jax.Array]:
    """The settings with every default filled in, and what they name.

    Raises:
        InputError: for an unknown surface or optimizer, a range or number that is not allowed.
    """
    for name in ("starts", "steps"):
        if getattr(settings, name) is not None:
            at_least_one(name, getattr(settings, name))
    workload = load(settings)
    low, high, count = rates_of(settings, workload)
    steps, starts = settings.steps or workload.steps, len(workload.seen_as)
    if settings.quick:
        if settings.lr is None:
            count = max(count // 8, 3)
        if settings.starts is None:
            starts = max(starts // 4, 1)
            workload = load(replace(settings, starts=starts))
        if settings.steps is None:
            steps = max(steps // 4, 1)
    optimizers = named_optimizers(settings.optimizers)
    settings = replace(
        settings,
        optimizers=tuple(optimizers),
        lr=f"{low!r}:{high!r}:{count}",
        steps=steps,
        starts=starts,
        quick=False,
        config=None,
    )
    return settings, workload, optimizers, spaced(low, high, count)


def race(workload: Workload, optimizers: dict[str, Any], rates: jax.Array, settings: Race) -> xarray.Dataset:
    """All runs: variables loss (optimizer, lr, start, step), end, and path where there are few parameters."""
    total = settings.steps or workload.steps
    every = -(-total // ROWS)
    few = workload.few

    def run(optimizer, lr, start):
        params, seed = start
        key = jax.random.fold_in(jax.random.key(settings.seed), seed)
        batches = None if workload.batches is None else workload.batches(key)
        ran = gdlab.minimize(
            workload.loss,
            optimizer(lr),
            params,
            total,
            args=() if workload.batches else workload.args,
            batches=batches,
            record=("loss", "params") if few else ("loss",),
            every=every,
        )
        value, grads = jax.value_and_grad(workload.loss)(ran.params, *workload.args)
        result = {
            "loss": jnp.append(ran.history["loss"], value),
            "gradient_norm": optax.tree.norm(grads),
            "end": ravel_pytree(ran.params)[0],
        }
        if few:
            path = jax.vmap(lambda params: ravel_pytree(params)[0])(ran.history["params"])
            result["path"] = jnp.append(path, result["end"][None], axis=0)
        return result

    starts = (workload.starts, jnp.arange(len(workload.seen_as)))
    names = {"loss": ["step"], "end": ["param"], **({"path": ["step", "param"]} if few else {})}
    dataset = gdlab.sweep(run, dims=names, optimizer=optimizers, lr=rates, start=starts)
    return dataset.assign_coords(step=[*range(0, total, every), total], seen_as=("start", workload.seen_as))


def summarize(dataset: xarray.Dataset, ways: list[EscapeRoute], workload: Workload) -> dict[str, Any]:
    """The numbers of the table: for each optimizer at its best learning rate, and for each saddle."""
    rows = {}
    final = dataset["loss"].values[..., -1]
    for i, (name, j) in enumerate(zip(dataset["optimizer"].values, best_rates(dataset), strict=True)):
        kinds: dict[str, int] = {}
        for k, code in enumerate(dataset["kind"].values[i, j]):
            kind = hessian.Kind(code).words if code != NOT_SEEN else "not seen"
            kind = kind if np.isfinite(final[i, j, k]) else DIVERGED
            kinds[kind] = kinds.get(kind, 0) + 1
        rows[str(name)] = {
            "best_lr": float(dataset["lr"].values[j]),
            "median_loss": float(np.median(np.where(np.isfinite(final[i, j]), final[i, j], np.inf))),
            "median_gradient_norm": float(np.median(dataset["gradient_norm"].values[i, j])),
            "index": int(dataset["index"].values[i, j, 0]),
            "kinds": kinds,
            "diverged_share": float(np.mean(~np.isfinite(final[i]))),
        }
    saddles = [
        {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in way._asdict().items()}
        for way in ways
    ]
    return {"problem": workload.name, "starts": dataset.sizes["start"], "optimizers": rows, "saddles": saddles}


def summary_text(summary: dict[str, Any], settings: Race) -> tuple[list[Table], list[str]]:
    """The tables and the words of a race."""
    title = f"{summary['problem']}: {summary['starts']} starts, {settings.steps} steps, lr {settings.lr}"
    rows = [
        [
            name,
            f"{row['best_lr']:.3g}",
            f"{row['median_loss']:.6g}",
            f"{row['median_gradient_norm']:.1e}",
            ", ".join(f"{count} {kind}" for kind, count in sorted(row["kinds"].items(), key=lambda item: -item[1])),
            f"{row['diverged_share']:.0%}",
        ]
        for name, row in summary["optimizers"].items()
    ]
    columns = ["optimizer", "best lr", "median loss", "median |g|", "where it stops (at the best lr)", "diverged"]
    tables = [Table(title, columns, rows)]
    rows = [
        [
            _point(way["at"]),
            str(way["index"]),
            f"{way['curvature']:.4g}",
            str(sum(way["runs"].values())),
            f"{way['step']:.3g} along {_point(way['direction'])}",
            f"{way['loss_before']:.5g} -> {way['loss_after']:.5g}",
            f"{way['end_kind']} {_point(way['end'])}, loss {way['end_loss']:.5g}",
        ]
        for way in summary["saddles"]
    ]
    if rows:
        columns = ["stopped on the saddle", "index", "lowest eigenvalue", "runs", "the way out", "loss", "leads to"]
        tables.append(Table("Saddles on which runs stopped", columns, rows))
    words = [f"{_point(way['at'])} is a {way['certificate']}" for way in summary["saddles"]]
    return tables, [_who_won(summary["optimizers"]), *words]


def _who_won(rows: dict[str, Any]) -> str:
    """Whose median loss is the lowest, to the digits of the table."""
    least = min(row["median_loss"] for row in rows.values())
    if not np.isfinite(least):
        return "Of every optimizer half of the runs or more diverged, at any learning rate."
    first = [name for name, row in rows.items() if f"{row['median_loss']:.6g}" == f"{least:.6g}"]
    return f"The lowest median loss is {least:.6g}: {', '.join(first)}, at the best learning rate."


def _point(x):
    return "(" + ", ".join(f"{float(value):.4g}" for value in x) + ")"


def draw(dataset: xarray.Dataset, ways: list[EscapeRoute], workload: Workload) -> Any:
    """The figure: surface and paths (or the loss along the runs), loss and stops against the learning rate."""
    from ..reporting import figures
    from ..reporting.figures import plt

    line = figures.lines([str(name) for name in dataset["optimizer"].values])
    figure = plt.figure(figsize=(WIDTH, HEIGHT))
    grid = figure.add_gridspec(2, 2, width_ratios=(1.35, 1))
    left, upper, lower = figure.add_subplot(grid[:, 0]), figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
    lowest = figures.lowest(dataset["loss"].values, dataset["step"].values)
    if workload.box is not None:
        draw_paths(left, dataset, ways, workload, line)
    else:
        draw_losses(left, dataset, lowest, workload, line)
    draw_ends(upper, lower, dataset, lowest, workload, line)
    entries, labels = left.get_legend_handles_labels()
    if labels:  # below the axes, where it hides no point
        columns, rows = legend_shape(labels, WIDTH)
        figure.set_size_inches(WIDTH, HEIGHT + LINE * (rows - 1))
        figure.legend(entries, labels, loc="outside lower center", ncols=columns, fontsize=8, frameon=False)
    return figure


def legend_shape(labels: list[str], width: float) -> tuple[int, int]:
    """How many columns of names in small letters fit into so many inches, at most 9, and in how many rows."""
    columns = max(1, min(len(labels), 9, int(width / (LETTER * max(map(len, labels)) + HANDLE))))
    return columns, -(-len(labels) // columns)


def draw_paths(axes, dataset, ways, workload, line):
    """Contours, the paths of a few starts at the best rate, critical points, ways out of saddles."""
    from ..reporting import figures

    figures.contours(workload.flat_loss, workload.box, ax=axes)
    shown = sorted({min(k, len(workload.seen_as) - 1) for k in (1, 3, 5)})
    for i, ((name, style), at) in enumerate(zip(line.items(), best_rates(dataset), strict=True)):
        for k in shown:
            path = dataset["path"].values[i, at, k]
            path = path[np.all(np.isfinite(path), axis=1)]
            axes.plot(*path.T, label=name if k == shown[0] else None, **style)
            axes.plot(*path[-1:].T, "s", color=style["color"], markersize=4)
            axes.plot(*path[:1].T, ".", color="black", markersize=5)
    figures.critical_points(workload.points, ax=axes)
    for way in ways:
        figures.way_out(way.at, way.direction, way.reached, way.end, ax=axes)
    axes.set_title(f"{figures.plain(workload.name)}: paths at the best rate, critical points, ways out")


def draw_losses(axes, dataset, lowest, workload, line):
    """The loss along the runs at the best rate: median and quartiles over the starts."""
    from ..reporting import figures

    curves = np.stack([dataset["loss"].values[i, at].T for i, at in enumerate(best_rates(dataset))])
    positive = lowest > 0  # else a log scale shows how far above the lowest they are
    curves = curves if positive else figures.above(curves, lowest)
    for (name, style), curve in zip(line.items(), curves, strict=True):
        figures.band(dataset["step"].values, curve, label=name, **style, ax=axes)
    axes.set(xlabel="updates", ylabel="loss" if positive else "loss above the lowest")
    figures.log_axis("y", curves, ax=axes)
    axes.set_title(f"{figures.plain(workload.name)}: loss at the best rate, median and quartiles over starts")


def draw_ends(upper, lower, dataset, lowest, workload, line):
    """Against the rate: the median of the final losses, and the shares that diverged or stopped on a saddle."""
    from ..reporting import figures

    rates, final = figures.drawable(dataset["lr"]), dataset["loss"].values[..., -1]
    above = figures.above(final, lowest)
    solved = SOLVED * np.nanmax(figures.above(dataset["loss"].values[..., 0], lowest), initial=0.0) or 1e-16
    above = np.maximum(above, solved)
    for i, style in enumerate(line.values()):
        finite = np.isfinite(above[i]).any(axis=1)
        alone = "o" if finite.sum() == 1 else None  # a line of one point is not seen
        upper.plot(rates[finite], np.nanmedian(above[i][finite], axis=1), marker=alone, markersize=4, **style)
        lower.plot(rates, np.mean(~np.isfinite(final[i]), axis=1), **{**style, "linestyle": ":"})
        if workload.few:
            lower.plot(rates, np.mean(dataset["kind"].values[i] == hessian.Kind.SADDLE, axis=1), **style)
    upper.set(xlabel="learning rate", ylabel=f"loss above the lowest, or {solved:.0e}")
    upper.set_title("final loss: median over the starts that stayed finite")
    lower.set(xlabel="learning rate", ylabel="share of starts", ylim=(-0.03, 1.03))
    figures.log_axis("y", above, ax=upper)
    for part in (upper, lower):
        figures.log_axis("x", rates, ax=part)
    lower.set_title("stopped on a saddle; dotted: diverged" if workload.few else "diverged")
