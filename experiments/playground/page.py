"""The page to play with: a race as one HTML file, from the same loss and the same optimizers.

Where these can be written as JavaScript, the page computes every run itself (`live`); else it replays the race's
(`replay`).

| module | what it is |
|---|---|
| `page` | the page of a race, which computes or replays |
| `live` | the page that computes, of one surface or of many |
| `replay` | the page that replays |
| `landscape` | the page of a landscape |
| `plane` | where more than two parameters are drawn |
| `emit` | JavaScript from a jaxpr |
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jax.flatten_util import ravel_pytree

import hessian

from ..cli.settings import Race
from ..playground import live
from ..playground.plane import Plane, plane_of, shown_starts
from ..playground.replay import replaying
from ..reporting.endpoints import best_rates
from ..workloads.workload import Workload

STARTS_TO_CHOOSE = 12  # on the page that computes
SEARCHED = 64  # starts of the search for critical points, on the paths and as many in the window
LIVE = (
    "The loss, and the runs on it, each computed in this page. Drag the start, turn a number, type a loss of your own."
)


def page(
    dataset: xarray.Dataset,
    workload: Workload,
    optimizers: dict[str, Any],
    settings: Race,
    *,
    title: str = "",
    begin: int | None = None,
    corners: Any = None,
    proofs: Sequence[hessian.Proof] = (),
) -> str:
    """The page of a race: one that computes, or, of what has no place on such a page, one that replays.

    Args:
        dataset: the race, its workload, optimizers and settings.
        workload: the same.
        optimizers: the same.
        settings: the same.
        title: of the page.
        begin: the start that is chosen first; one beside a saddle by default.
        corners: three points, as rows, through which the plane of more than two parameters goes.
        proofs: records of critical points, which the page that computes checks again.
    """
    title = title or f"Race on {workload.name}"
    plane = plane_of(dataset, workload, optimizers, settings, corners)
    seen = points(dataset, workload, plane, shown_starts(workload))
    try:
        scene = scene_of(dataset, workload, plane, seen, begin)._replace(proofs=[one for one in proofs if one.proved])
        return computing(title, [scene], optimizers, int(dataset["step"].values[-1]))
    except live.Refused:
        return replaying(dataset, workload, optimizers, settings, plane, seen, title)


computing = live.computing


def scene_of(dataset: xarray.Dataset, workload: Workload, plane: Plane, seen: Any, begin: int | None) -> live.Scene:
    """What a race leaves to play with.

    Raises:
        Refused: where it is run on mini-batches.
    """
    if workload.batches is not None:
        msg = "mini-batches have no place on a page that computes"
        raise live.Refused(msg)
    starts = [
        np.asarray(ravel_pytree(jax.tree.map(lambda leaf, k=k: leaf[k], workload.starts))[0])
        for k in range(min(STARTS_TO_CHOOSE, len(workload.seen_as)))
    ]
    first = begin if begin is not None else shown_starts(workload)[-1]
    order = sorted(range(len(starts)), key=lambda k: k != first)
    flat = len(starts[0]) == 2 and workload.box is not None
    return live.Scene(
        name=workload.name,
        words=LIVE if flat else plane.words.replace(" Solid: the true loss; dotted: that in the plane.", ""),
        loss=lambda params: workload.loss(params, *workload.args),
        params=jax.tree.map(lambda leaf: np.asarray(leaf[0], np.float64), workload.starts),
        plane=plane,
        starts=[(f"start {k + 1}: {workload.seen_as[k]}", starts[k]) for k in order],
        points=seen,
        rates=[float(dataset["lr"].values[j]) for j in best_rates(dataset)],
        typed=flat,
    )


def points(dataset: xarray.Dataset, workload: Workload, plane: Plane, starts: Any) -> list[dict[str, Any]]:
    """Critical points in the plane, by kind, with the directions in which the loss falls."""
    if workload.points:
        places = np.array([x for x, _ in workload.points])
    elif workload.few:
        paths = dataset["path"].values.reshape(-1, dataset.sizes["param"])
        paths = paths[np.isfinite(paths).all(axis=1)]
        paths = paths[:: max(1, len(paths) // SEARCHED)]
        low, high = np.array(plane.box).T
        window = np.random.default_rng(0).uniform(low, high, (SEARCHED, 2))
        flat = np.concatenate([paths, plane.origin + window @ plane.basis])
        found_there = hessian.find_critical_points(workload.flat_loss, jnp.asarray(flat))
        if not len(found_there.loss):
            return []
        places = np.asarray(found_there.params)
    else:
        places = np.stack([dataset["end"].values[i, j, starts[0]] for i, j in enumerate(best_rates(dataset))])
    places = places[np.isfinite(places).all(axis=1)]
    if not len(places):
        return []
    judge = jax.jit(lambda x: hessian.classify(workload.flat_loss, x))
    found = []
    for x in places:
        point = judge(jnp.asarray(x))
        ends = (point.lowest, point.highest)
        down = [end.vector for end in ends if float(end.value) < 0 and point.kind != "degenerate"]
        at = plane.basis @ (jnp.asarray(x) - plane.origin)
        found.append(
            {
                "x": np.asarray(at).tolist(),
                "off": float(jnp.linalg.norm(plane.origin + plane.basis.T @ at - x)),
                "theta": x.tolist(),
                "kind": point.kind,
                "loss": float(workload.flat_loss(jnp.asarray(x))),
                "eigenvalues": [float(end.value) for end in ends],
                "down": [(plane.basis @ v).tolist() for v in down[:2]],
            }
        )
    return found
