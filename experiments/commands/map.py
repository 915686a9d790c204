"""Which critical points are there, and which minima does each saddle join? (S53, S57, S59)

A search from many starts, each point once with its index; `results.nc` holds them as a labelled dataset.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray
from jax.flatten_util import ravel_pytree

import hessian

from ..cli.settings import InputError, Map, at_least_one, deviation
from ..commands.race import play
from ..reporting import figures
from ..reporting.figures import plt
from ..reporting.run_folder import write_dataset
from ..reporting.target_report import Report, publish_report, shown
from ..workloads.user_loss import Target, target

LARGEST = 200  # parameters, each start needing dense Hessians
JOINED = 100  # saddles whose ways down are followed, at most
NUMBERED = 60  # points that a figure has room to number


def main(settings: Map) -> int:
    """Search, print the table, write the folder; the exit status."""
    at_least_one("starts", settings.starts)
    deviation(settings.spread)
    chosen = target(settings)
    size = ravel_pytree(chosen.params)[0].size
    if size > LARGEST:
        raise InputError(f"target must have at most {LARGEST} parameters for a map; {chosen.name} has {size:,}")
    return publish_report(settings, "map", lambda: _report(chosen, settings))


def to_dataset(points: hessian.CriticalPoints) -> xarray.Dataset:
    """The critical points as a labelled dataset, with dims (point, coordinate)."""
    flat = np.asarray(jax.vmap(lambda tree: ravel_pytree(tree)[0])(points.params))
    columns: dict[str, tuple[Any, Any]] = {
        name: ("point", getattr(points, name))
        for name in ("loss", "kind", "index", "nullity", "gradient_norm", "found", "family")
    }
    columns |= {"theta": (("point", "coordinate"), flat), "eigenvalue": (("point", "mode"), points.eigenvalues)}
    return xarray.Dataset(columns, attrs={"separation": points.separation, "starts": len(points.reached)})


def _report(chosen: Target, settings: Map) -> Report:
    starts = chosen.starts(settings.starts, settings.spread, settings.seed)
    points = hessian.find_critical_points(chosen.loss, starts)
    if not len(points.loss):
        ends = [hessian.SearchOutcome(code).words for code in sorted(set(points.ended.tolist()))]
        raise InputError(f"starts must lead to a critical point; of {settings.starts} none did: {'; '.join(ends)}")
    joined = _joined(chosen.loss, points)
    proofs = _proofs(chosen.loss, points) if settings.proof else []
    columns, rows = _table(points, joined, proofs)
    summary = {
        "target": chosen.name,
        "euler_characteristic": points.euler_characteristic,
        "points": [dict(zip(columns, row, strict=True)) for row in rows],
        "ended": {outcome.words: int(np.sum(points.ended == outcome)) for outcome in hessian.SearchOutcome},
    }

    def save(folder: Path) -> None:
        write_dataset(folder / "results.nc", to_dataset(points))
        for i, proof in enumerate(proofs):
            if proof.proved:
                proof.save(folder / f"proof_{i}.json")

    title = f"The critical points of {chosen.name}"
    return Report(
        title=title,
        words=[*chosen.words, *_words(points, settings, proofs)],
        columns=columns,
        rows=rows,
        summary=summary,
        draw=lambda: _draw(chosen, points, joined, proofs),
        save=save,
        play=lambda: play(settings, title, _places(points), proofs, None),
    )


def _words(points, settings, proofs):
    """How many points were found, what their indices add up to, and how many are proved."""
    count, chi = len(points.loss), points.euler_characteristic
    words = [
        f"{count} critical points from {settings.starts} starts; {int((points.ended != 0).sum())} starts led to none.",
        "Some are degenerate, so their signed count says nothing."
        if chi is None
        else f"The sum of (-1)^index is {chi}; it is 1 where the loss grows in every direction and none is missing.",
    ]
    if proofs:
        words.append(f"{sum(one.proved for one in proofs)} of {count} are proved, with a record each.")
    return words


def _table(points, joined, proofs):
    """The columns of the table, and a row for each point."""
    columns = ["point", "kind", "index", "loss", "lowest", "highest", "found", "theta", "joins"]
    rows = [
        [
            str(i),
            str(points.kind[i]),
            str(points.index[i]),
            f"{points.loss[i]:.10g}",
            f"{points.eigenvalues[i, 0]:.5g}",
            f"{points.eigenvalues[i, -1]:.5g}",
            str(points.found[i]),
            shown(jax.tree.map(lambda leaf, i=i: leaf[i], points.params)),
            " - ".join("?" if j < 0 else str(j) for j in joined.get(i, ())),
            *(["yes" if proofs[i].proved else proofs[i].reason] if proofs else []),
        ]
        for i in range(len(points.loss))
    ]
    return columns + ["proved"] * bool(proofs), rows


def _places(points):
    """The numbers and the kind of each point, the lowest and of least index first, as a page takes them."""
    flat = np.asarray(jax.vmap(lambda tree: ravel_pytree(tree)[0])(points.params))
    order = np.lexsort((points.loss, points.index))
    return [(tuple(flat[i].tolist()), str(points.kind[i])) for i in order]


def _proofs(loss, points):
    """The record of each point, or why there is none."""
    try:
        rows = (jax.tree.map(lambda leaf, i=i: leaf[i], points.params) for i in range(len(points.loss)))
        return [hessian.prove(loss, row) for row in rows]
    except ImportError as error:
        raise InputError(str(error)) from None


def _joined(loss, points):
    """The pair of minima that each saddle of index 1 joins, by row; -1 where a way leads to none of the list."""
    rows = np.flatnonzero((points.index == 1) & (points.nullity == 0))[:JOINED]
    if not len(rows):
        return {}
    saddles = jax.tree.map(lambda leaf: leaf[rows], points.params)
    ends = jax.vmap(lambda saddle: hessian.connect(loss, saddle))(saddles).ends.params
    flat = jax.vmap(lambda tree: ravel_pytree(tree)[0])
    listed, reached = np.asarray(flat(points.params)), np.asarray(jax.vmap(flat)(ends))
    distances = np.linalg.norm(reached[:, :, None] - listed, axis=-1)
    distances[..., points.index != 0] = np.inf
    near = np.where(distances.min(axis=-1) <= 1e-3 * (1 + np.abs(listed).max()), distances.argmin(axis=-1), -1)
    return {int(row): pair for row, pair in zip(rows, near.tolist(), strict=True)}


def _draw(chosen, points, joined, proofs):
    figure, axes = plt.subplots(figsize=(7, 5))
    unravel = ravel_pytree(chosen.params)[1]
    places = np.asarray(jax.vmap(lambda tree: ravel_pytree(tree)[0])(points.params))
    if places.shape[1] == 2:
        box = figures.around(places) if chosen.surface is None else chosen.surface.box
        figures.contours(lambda x: chosen.loss(unravel(x)), box, ax=axes)
        for ends in ((row, end) for row, pair in joined.items() for end in pair if end >= 0):
            axes.plot(*places[list(ends)].T, ":", color="black", linewidth=0.9)
        for number, place in enumerate(places[:NUMBERED]):
            axes.annotate(str(number), place, (5, 4), textcoords="offset points", fontsize=8)
        figures.critical_points(list(zip(places.tolist(), points.kind, strict=True)), ax=axes)
        figures.proved(places[[i for i, one in enumerate(proofs) if one.proved]], ax=axes)
        figures.legend(fontsize=7, ax=axes, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=5, frameon=False)
    else:
        figures.atlas(points, ax=axes)
    return figure
