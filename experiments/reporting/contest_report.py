"""What a contest found: the optimizer to take on each task, who is better than whom over all of them, and how sure.

On a task the optimizer with the lowest tuning score is nominated, and the judging runs, which the tuning has not seen,
say which others it is better than: one test for each, one-sided, corrected for their number.  Over all tasks every pair
is tested on the runs of each task.  A pair that the runs do not separate is not ranked.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray

import gdlab
import hessian
from gdlab.comparisons.targets import steps_to_target

from ..cli.settings import InputError
from ..reporting.run_folder import Extras, Findings, Table, publish, write_dataset
from ..reporting.swept import warnings_as_lines
from ..workloads.blocks import curvatures
from ..workloads.tasks import TASKS

BLOCKS = ("convolutions", "transformer")  # the tasks whose blocks are looked at
SOLVED = 1e-6  # above the lowest known value of a surface
WAY = 0.9  # the share of the way from the first loss to the lowest end, at which a run has arrived
COLUMNS = ("task", "take", "rate", "score", "interval", "shown better than", "not separated from")


def publish_contest(settings: Any, name: str, make: Callable[[], xarray.Dataset]) -> int:
    """Make the dataset of a contest, write its folder, and print its tables; the exit status."""
    with warnings_as_lines():
        return publish(settings, name, lambda extras: findings(make(), extras))


def findings(dataset: xarray.Dataset, extras: Extras) -> Findings:
    """Tables, words and figure of the dataset of a contest.

    Raises:
        InputError: for a single optimizer.
    """
    names = [str(name) for name in dataset["optimizer"].values]
    if len(names) < 2:
        raise InputError(f"optimizers must name at least two to compare; got {names[0]}")
    overall = gdlab.compare(dataset["score"], normalize="ranks")
    rows = [on_task(dataset, str(task)) for task in dataset["task"].values]
    none: list[list[str]] = []
    where = extras.made("the kinds of the stops", lambda: stops(dataset), none)
    runs = int(dataset["score"].size + dataset["tuning_score"].size)
    title = f"Contest: {len(names)} optimizers, {len(rows)} tasks, {runs} runs"
    tables = [
        Table(title, COLUMNS, [shown(row) for row in rows]),
        Table("Over all tasks, by rank on each from 0 (best) to 1", *overall_rows(overall)),
    ]
    if where:
        tables.append(Table("Where the judging runs stopped on the surfaces", ("task", "optimizer", "stops"), where))
    soon = [row for task in dataset["task"].values if (row := arrival(dataset, str(task)))]
    columns: tuple[str, ...] = ("task", "loss", "soonest", "steps", "interval", "half of the runs never")
    if soon:
        tables.append(Table(f"Steps until a run's loss has come {WAY:.0%} of the way to the lowest end", columns, soon))
    steep = extras.made("the curvature of blocks", lambda: blocks(dataset), none)
    if steep:
        columns = ("task", "steepest block", "curvature", "flattest block", "curvature", "ratio")
        tables.append(Table("Blocks of the networks at their start: why one rate may suit none", columns, steep))
    words = advice(rows, overall, dataset)
    return Findings(
        title=title,
        summary={
            **{"runs": runs, "tasks": rows, "overall": overall_summary(overall)},
            **{"stops": where, "arrivals": soon, "blocks": steep, "advice": words},
        },
        tables=tables,
        draw=lambda: draw(dataset, overall, rows),
        words=words,
        save=lambda folder: write_dataset(folder / "results.nc", dataset),
        below="".join(f"{line}\n" for line in words),
    )


def on_task(dataset: xarray.Dataset, task: str) -> dict[str, Any]:
    """What the runs on one task say of the optimizer that tuning nominates for it."""
    here = dataset.sel(task=task)
    tuned = here["tuning_score"].fillna(np.inf).transpose("optimizer", "trial").values
    best, first = np.argmin(tuned, axis=1), int(np.argmin(np.min(tuned, axis=1)))
    nominee = str(dataset["optimizer"].values[first])
    found = gdlab.compare(here["score"], paired=False, nominee=nominee)
    of = found.results.sel(optimizer=nominee)
    edge = (best == 0) | (best == tuned.shape[1] - 1)
    others = [name for name in found.contestants if name != nominee]
    beaten = [name for name in others if bool(of["separated"].sel(other=name))]
    return {
        "task": task,
        "take": nominee,
        "rate": float(here["rate"].sel(optimizer=nominee)[best[first]]),
        "score": float(of["iqm"]),
        "interval": of["iqm_interval"].values.tolist(),
        "shown_better_than": beaten,
        "not_separated_from": [name for name in others if name not in beaten],
        "at_edge": [str(name) for name in here["optimizer"].values[edge]],
        "runs_needed": int(found.results.attrs["runs_needed"]),
    }


def shown(row: dict[str, Any]) -> list[str]:
    """The row of a task as texts."""
    low, high = row["interval"]
    edge = " (end of the grid)" if row["take"] in row["at_edge"] else ""
    return [
        row["task"],
        row["take"],
        f"{row['rate']:.3g}{edge}",
        f"{row['score']:.3g}",
        f"{low:.3g} to {high:.3g}",
        listed(row["shown_better_than"], row["not_separated_from"]),
        listed(row["not_separated_from"], row["shown_better_than"]),
    ]


def listed(names: Sequence[str], others: Sequence[str]) -> str:
    """Names in a row, in short where they are none or all."""
    return "none" if not names else "all others" if not others else ", ".join(names)


def overall_rows(overall: gdlab.Comparison) -> tuple[Sequence[str], list[list[str]]]:
    """The table over all tasks: its column heads and its rows."""
    from gdlab.comparisons.table import rows

    head, *body = rows(overall.results)
    return head, body


def overall_summary(overall: gdlab.Comparison) -> list[dict[str, Any]]:
    """The numbers over all tasks, by optimizer."""
    results = overall.results
    return [
        {
            "optimizer": str(name),
            "mean_rank": float(results["iqm"].sel(optimizer=name)),
            "interval": results["iqm_interval"].sel(optimizer=name).values.tolist(),
            "place": results["rank"].sel(optimizer=name).values.tolist(),
            "better_than": [other for other in overall.contestants if overall.better(name, other)],
        }
        for name in overall.contestants
    ]


def advice(rows: Sequence[dict[str, Any]], overall: gdlab.Comparison, dataset: xarray.Dataset) -> list[str]:
    """What a newcomer should take, and how sure that is."""
    results = overall.results
    leaders = [str(name) for name in results["optimizer"].values[results["rank"].values[:, 0] == 1]]
    first = str(results["optimizer"].values[int(np.argmin(results["iqm"].values))])
    beaten = int(results["separated"].sel(optimizer=first).sum())
    lines = ["Over all tasks these runs show no optimizer to be better than another."]
    if results["separated"].any():
        lines = [
            f"To begin with take {first}: over all tasks it has the lowest rank, and is shown to be better than "
            f"{beaten} of {len(overall.contestants) - 1} others."
        ]
    if len(leaders) > 1 and results["separated"].any():
        lines.append(f"The runs show none better than any of {', '.join(leaders)}: among these they do not decide.")
    sure = [row for row in rows if not row["not_separated_from"]]
    if sure:
        pairs = ", ".join(f"{row['take']} on {row['task']}" for row in sure)
        lines.append(f"Shown to be better than all others: {pairs}.")
    open_ = [row["task"] for row in rows if not row["shown_better_than"]]
    if open_:
        lines.append(f"No difference is shown on {', '.join(open_)}: take what is at hand there.")
    edges = sorted({f"{name} on {row['task']}" for row in rows for name in row["at_edge"] if name == row["take"]})
    if edges:
        lines.append(f"The best rate is at an end of its grid for {', '.join(edges)}: it may do better beyond.")
    needed = max(row["runs_needed"] for row in rows)
    lines.append(
        f"Each row rests on {dataset.sizes['run']} judging runs; on each task the chance of a difference that is not "
        f"there is at most 5 %. To find one of a standard deviation on a single task takes {needed}."
    )
    return lines


def blocks(dataset: xarray.Dataset) -> list[list[str]]:
    """The steepest and the flattest matrix of the networks in `BLOCKS`."""
    rows = []
    for task in (name for name in BLOCKS if name in dataset["task"].values):
        found = curvatures(TASKS[task], jax.random.key(int(dataset.attrs["seed"])))
        ordered = sorted((abs(size), name) for name, size in found.items() if not name.endswith(".b"))
        (least, flat), (most, steep) = ordered[0], ordered[-1]
        rows.append([task, steep, f"{most:.3g}", flat, f"{least:.3g}", f"{most / least:.3g}"])
    return rows


def stops(dataset: xarray.Dataset) -> list[list[str]]:
    """Where the judging runs stopped on each surface: solved, the kind of the point, or diverged."""
    rows = []
    for task in map(str, dataset["task"].values):
        known = TASKS[task].surface
        if known is None or f"end of {task}" not in dataset:
            continue
        ends, scores = dataset[f"end of {task}"].values, dataset["score"].sel(task=task).values
        lowest = min(point.value for point in known.critical_points)
        judge = jax.jit(jax.vmap(lambda end, loss=known.loss: hessian.classify(loss, end).code))
        flat = ends.reshape(-1, ends.shape[-1])
        codes = np.asarray(judge(jnp.asarray(np.nan_to_num(flat, posinf=0, neginf=0)))).reshape(ends.shape[:2])
        for i, name in enumerate(map(str, dataset["optimizer"].values)):
            kinds = [_stop(*one, lowest) for one in zip(codes[i], scores[i], ends[i], strict=True)]
            counts = {kind: kinds.count(kind) for kind in dict.fromkeys(sorted(kinds))}
            rows.append([task, name, ", ".join(f"{count} {kind}" for kind, count in counts.items())])
    return rows


def arrival(dataset: xarray.Dataset, task: str) -> list[str]:
    """The optimizer whose judging runs arrive soonest on a task, after how many steps, and which ones never do."""
    if f"loss of {task}" not in dataset or not bool(dataset["done"].sel(task=task).all()):
        return []
    losses = dataset[f"loss of {task}"].fillna(np.inf).transpose("optimizer", "run", ...)
    first, last = np.median(losses.values[..., 0]), np.median(losses.values[..., -1], axis=1).min()
    target = first + WAY * (last - first)
    step = f"row of {task}"
    found = steps_to_target(losses.expand_dims("task", 1), step, target, 0.95)
    medians, ends = found["steps_median"][1][:, 0], found["steps_median_interval"][1][:, 0]
    soonest = int(np.argmin(medians))
    names = [str(name) for name in dataset["optimizer"].values]
    never = [name for name, median in zip(names, medians, strict=True) if not np.isfinite(median)]
    low, high = (f"{end:.0f}" if np.isfinite(end) else "never" for end in ends[soonest])
    steps = f"{medians[soonest]:.0f}" if np.isfinite(medians[soonest]) else "never"
    others = [name for name in names if name not in never]
    return [task, f"{target:.3g}", names[soonest], steps, f"{low} to {high}", listed(never, others)]


def _stop(code, score, end, lowest):
    if not (np.isfinite(score) and np.isfinite(end).all()):
        return "diverged"
    return "solved" if score - lowest <= SOLVED else hessian.Kind(code).words


def draw(dataset: xarray.Dataset, overall: gdlab.Comparison, rows: Sequence[dict[str, Any]]) -> Any:
    """The rank of each optimizer on each task, a mark where tuning nominates it, and over all tasks with intervals."""
    from ..reporting.figures import PALETTE, plain, plt

    results = overall.results
    order = np.argsort(results["iqm"].values, kind="stable")
    names, tasks = [plain(str(results["optimizer"].values[i])) for i in order], [row["task"] for row in rows]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(5.5 + 0.5 * len(tasks), 1.8 + 0.32 * len(names)), width_ratios=(1 + 0.4 * len(tasks), 3)
    )
    ranks = results["task_iqm"].values[order]
    image = left.imshow(ranks, vmin=0, vmax=1, cmap="cividis_r", aspect="auto")
    for j, row in enumerate(rows):
        i = names.index(plain(row["take"]))
        shape = "*" if not row["not_separated_from"] else "o"
        left.plot(j, i, shape, color="white", markeredgecolor="black", markersize=11 if shape == "*" else 7)
    left.set(yticks=range(len(names)), yticklabels=names, xticks=range(len(tasks)))
    left.set_xticklabels(tasks, rotation=45, ha="right")
    left.set_title("rank on each task; o nominated by tuning,\nstar: and shown better than all others")
    figure.colorbar(image, ax=left, label="rank, 0 is best")
    for place, i in enumerate(order):
        low, high = results["iqm_interval"].values[i]
        right.plot([low, high], [place, place], color=PALETTE[0], linewidth=5, alpha=0.35, solid_capstyle="butt")
        right.plot(results["iqm"].values[i], place, "|", color=PALETTE[0], markersize=12, markeredgewidth=2)
    right.set(yticks=range(len(names)), yticklabels=[], xlabel="rank, 0 is best", ylim=left.get_ylim())
    right.set_title("over all tasks, 95 % interval")
    return figure
