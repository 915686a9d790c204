"""Which minima are there, which saddles join them, and how high is the way from one to another? (S53, S57, S59)

A search from many starts, each orbit of the declared symmetries once; `results.nc` holds minima, saddles and what they
join, `landscape.graphml` the multigraph, the figure is the disconnectivity graph.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

import hessian
from gdlab.problems import lennard_jones, lennard_jones_starts
from gdlab.progress import bar

from ..cli.settings import InputError, Landscape, at_least_one, countable_seed, deviation
from ..playground.landscape import page
from ..reporting.figures import plt
from ..reporting.run_folder import write_dataset
from ..reporting.target_report import Report, publish_report
from ..workloads.user_loss import Target, target

LARGEST = 200  # parameters, each step needing a dense Hessian
SHOWN = 60  # rows of the table
BATCH = 16  # starts between two parts of the store
CLUSTER = re.compile(r"lennard_jones_(\d+)")
SYMMETRIES: dict[str, Callable[[int], Any]] = {
    name: getattr(hessian.symmetry, name)
    for name in ("atoms", "euclidean", "rotations", "translations", "identical", "reflections")
}


def main(settings: Landscape) -> int:
    """Search, print the table, write the folder; the exit status."""
    at_least_one("starts", settings.starts)
    countable_seed(settings.seed)
    deviation(settings.spread)
    if settings.patience is not None:
        at_least_one("patience", settings.patience)
    if settings.searches is not None:
        at_least_one("searches", settings.searches)
    chosen, starts, symmetries = _chosen(settings)
    size = ravel_pytree(chosen.params)[0].size
    if size > LARGEST:
        raise InputError(f"target must have at most {LARGEST} parameters for a landscape; {chosen.name} has {size:,}")
    return publish_report(settings, "landscape", lambda: _report(chosen, starts, symmetries, settings))


def _chosen(settings):
    """The target, the starts, and the symmetries."""
    cluster = CLUSTER.fullmatch(settings.target)
    declared = declared_symmetries(settings.symmetry)
    if cluster and settings.params is None:
        atoms = int(cluster[1])
        if not 2 <= atoms <= LARGEST // 3:
            raise InputError(f"target must be a cluster of 2 to {LARGEST // 3} atoms; got {settings.target}")
        starts = lennard_jones_starts(atoms, settings.starts, key=jax.random.key(settings.seed))
        chosen = Target(settings.target, lennard_jones, starts[0], None)
        return chosen, starts, hessian.symmetry.atoms(3) if declared is None else declared
    chosen = target(settings)
    return chosen, chosen.starts(settings.starts, settings.spread, settings.seed), declared


def declared_symmetries(text: str | None) -> Any:
    """The symmetries that `atoms:3` or `rotations:2,reflections:2` names.

    >>> [type(one).__name__ for one in declared_symmetries("rotations:2,reflections:2")]
    ['Rotations', 'Reflections']
    """
    if text is None:
        return None
    found = []
    for part in text.split(","):
        name, _, d = part.partition(":")
        if name not in SYMMETRIES or not d.isascii() or not d.isdigit() or int(d) < 1:
            raise InputError(
                f"symmetry must be NAME:D, or several with commas, with a name of {', '.join(SYMMETRIES)} and the"
                f" number D of coordinates of a point, such as atoms:3; got {text!r}"
            )
        found.append(SYMMETRIES[name](int(d)))
    return found


def _searched(chosen, starts, symmetries, settings):
    with bar(settings.progress, chosen.name, settings.starts) as report:
        try:
            return hessian.landscape(
                chosen.loss, starts, symmetries=symmetries, highest=min(2, ravel_pytree(chosen.params)[0].size),
                patience=settings.patience, searches=settings.searches, batch=BATCH, store=settings.store,
                progress=report,
            )  # fmt: skip
        except ValueError as error:  # such as symmetries that do not hold, or a store of another search
            raise InputError(str(error)) from None


def _report(chosen: Target, starts: Any, symmetries: Any, settings: Landscape) -> Report:
    found = _searched(chosen, starts, symmetries, settings)
    if not len(found.minima):
        ends = "; ".join(f"{count} {words}" for words, count in found.ended.items())
        raise InputError(f"starts must lead to a minimum; of {found.starts} none did: {ends}")
    unknown = int((found.joins < 0).any(axis=1).sum())
    flat = sorted({*found.minima.flat.tolist(), *found.saddles.flat.tolist()})
    words = [
        *chosen.words,
        f"{len(found.minima)} minima and {len(found.saddles)} saddles of index 1 from {found.starts} starts, each orbit"
        f" once; the last new one came {found.starts_since_new} starts before the end.",
        f"One more start leads to a new minimum with a probability of about {found.missing_mass:.2g} (Good-Turing).",
    ]
    if flat != [0]:
        words.append(f"Their orbits have {' or '.join(map(str, flat))} dimensions; no other eigenvalue is zero.")
    if unknown:
        words.append(f"Of {unknown} saddles a way down ends at no minimum.")
    rows = [
        ["minimum", str(i), f"{loss:.9f}", str(count), ""]
        for i, (loss, count) in enumerate(zip(found.minima.loss, found.minima.found, strict=True))
    ]
    for s, (pair, barrier) in enumerate(zip(found.joins.tolist(), found.barriers, strict=True)):
        ends = " - ".join("?" if end < 0 else str(end) for end in pair)
        high = " and ".join(f"{one:.4g}" for one in barrier[np.isfinite(barrier)])
        row = ["saddle", str(s), f"{found.saddles.loss[s]:.9f}", str(found.saddles.found[s])]
        rows.append([*row, f"{ends}, {high} above" if high else ends])
    said = tuple(words)
    if len(rows) > SHOWN:
        words.append(f"The table has the first {SHOWN} of {len(rows)} points, results.nc all of them.")
    summary = {
        "target": chosen.name, "minima": found.minima.loss.tolist(), "saddles": found.saddles.loss.tolist(),
        "joins": found.joins.tolist(), "flat": flat, "starts": found.starts,
        "starts_since_new": found.starts_since_new, "missing_mass": found.missing_mass, "ended": found.ended,
    }  # fmt: skip

    def save(folder: Path) -> None:
        write_dataset(folder / "results.nc", found.to_dataset())
        found.to_graphml(folder / "landscape.graphml")

    title = f"The landscape of {chosen.name}"
    columns = ["point", "number", "loss", "found", "joins"]

    def play():
        return page(title, said, found, chosen.loss, symmetries)

    return Report(
        title=title,
        words=words,
        columns=columns,
        rows=rows[:SHOWN],
        summary=summary,
        draw=lambda: _draw(found),
        save=save,
        play=play,
    )


def _draw(found):
    figure, axes = plt.subplots(figsize=(5.5, 5.5))
    found.disconnectivity().draw(axes)
    return figure
