"""The table of a comparison: estimates, intervals and places, and in words what the runs do not tell."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray

MOST = 12  # names in a sentence


def text(results: "xarray.Dataset") -> str:
    """The table and the sentences below it."""
    return "\n".join([heading(results), *aligned(rows(results)), *sentences(results)])


def heading(results: "xarray.Dataset") -> str:
    """What was compared, on how many runs."""
    of, task, _ = results["score"].dims
    said = results.attrs
    tuned = f" ({said['tuning_runs']} others chose the settings)" if said["tuning_runs"] else ""
    tasks = results.sizes[task]
    unit = "rank from 0 to 1; lower" if said["normalize"] == "ranks" else said["better"]
    return (
        f"{results.sizes[of]} contestants, {tasks} task{'s' * (tasks > 1)}, {said['judging_runs']} judging runs each"
        f"{tuned}; {unit} is better; {said['confidence']:.0%} {said['interval']} intervals"
    )


def rows(results: "xarray.Dataset") -> list[list[str]]:
    """The rows, the column heads first: contestants by their interquartile mean, each with the places left to it."""
    of = results["score"].dims[0]
    names = [str(name) for name in results[of].values]
    places, means, ends = (results[name].values for name in ("rank", "iqm", "iqm_interval"))
    won = results["separated"].values
    lower = results.attrs["better"] == "lower" or results.attrs["normalize"] == "ranks"
    order = np.argsort(means if lower else -means, kind="stable")
    head = ["place", str(of), "interquartile mean", "interval", "better than", "not separated from"]
    body = []
    for i in order:
        low, high = places[i]
        open_ = [names[j] for j in order if j != i and not won[i, j] and not won[j, i]]
        body.append([
            str(low) if low == high else f"{low}-{high}",
            names[i],
            f"{means[i]:.4g}",
            f"{ends[i][0]:.4g} to {ends[i][1]:.4g}",
            listed([names[j] for j in order if won[i, j]]),
            listed(open_),
        ])  # fmt: skip
    return [head, *body]


def listed(names: list[str]) -> str:
    """Names in a row, or how many they are where that is too long."""
    return ", ".join(names) if len(names) <= MOST else f"{', '.join(names[:MOST])} and {len(names) - MOST} others"


def sentences(results: "xarray.Dataset") -> list[str]:
    """What the runs separate, what they could have seen, and which settings stand at an edge."""
    of, said, won = results["score"].dims[0], results.attrs, results["separated"].values
    tested = np.isfinite(results["p_value"].values)
    all_pairs, found = int(tested.sum()) // 2, int(won.sum())
    most = "" if found == all_pairs else "; the other pairs are not ranked, as these runs do not tell them apart"
    lines = [f"{found} of {all_pairs} tested pairs are separated{most}."]
    if said["nominee"]:
        lines.append(f"Only whether {said['nominee']} is better than each other one was tested.")
    seen = said["effect_seen"]
    could = f"show a difference of {seen:.2g} standard deviations" if np.isfinite(seen) else "show no difference at all"
    lines.append(
        f"With a chance of {said['chance']:.0%} these runs could {could}; one of {said['effect']:g} takes "
        f"{said['runs_needed']} judging runs."
    )
    for name in results.data_vars:
        if str(name).endswith("_at_edge") and bool(results[name].any()):
            where = [str(label) for label in results[of].values[results[name].values.any(axis=1)]]
            axis = str(name).removesuffix("_at_edge")
            lines.append(f"The best {axis} is at an end of its grid for {listed(where)}: widen the grid.")
    return lines


def aligned(table: list[list[str]]) -> list[str]:
    """The rows with their columns aligned."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
