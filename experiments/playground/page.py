"""The page to play with: a race as one HTML file, from the same loss and the same optimizers.

Where these can be written as JavaScript, the page computes every run itself (`live`); else it replays the race's.

    x = B (theta - theta_0)        where a run is drawn: B holds two directions, or two parameters as they are

Of more than two parameters the plane goes through the best end of the race, or the start where all runs diverge, along
the two main directions of the paths, or the two eigenvectors of highest curvature; the page says how much of the
paths' variance lies in it, and draws the true loss beside that in the plane.
"""

import base64
import html
import re
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray
from jax.flatten_util import ravel_pytree

import gdlab
import hessian
from gdlab.base import Optimizer

from ..cli.settings import Race
from ..playground import live
from ..reporting import figures
from ..reporting.endpoints import NOT_SEEN, best_rates
from ..reporting.run_folder import dump
from ..workloads.workload import Workload

HERE = Path(__file__).parent
ENDS = {
    "minimum": "on a minimum",
    "saddle": "on a saddle",
    "maximum": "on a maximum",
    "degenerate": "on a degenerate critical point",
    "not critical": "on no critical point",
    "undetermined": "on a point whose kind is not certain",
}
ROWS, RATES, STARTS, SIDE, LEVELS = 80, 16, 2, 121, 18
BUDGET = (
    14_000  # rows of all runs together, each a loss in 8 bytes and 9 numbers in 4, so that the page stays below 1 MB
)
FAR = 1000.0  # times the usual distance from the start: what is further away is no part of the window
STARTS_TO_CHOOSE = 12  # on the page that computes
LIVE = (
    "The loss, and the runs on it, each computed in this page. Drag the start, turn a number, type a loss of your own."
)
TYPED = """<label class="text">a loss of your own <input id="typed" type="text" spellcheck="false" autocomplete="off"
      placeholder="x^4 - 2x^2 + y^2" aria-describedby="said"></label><p id="said" role="status"></p>"""
SEARCHED = 64  # starts of the search for critical points, on the paths and as many in the window


class Plane(NamedTuple):
    """Where theta is drawn: at basis @ (theta - origin)."""

    origin: jax.Array
    basis: jax.Array  # two rows
    box: list[tuple[float, float]]
    axes: tuple[str, str]
    words: str


def page(dataset: xarray.Dataset, workload: Workload, optimizers: dict[str, Any], settings: Race) -> str:
    """The page of a race: one that computes, or, of what has no place on such a page, one that replays."""
    plane = plane_of(dataset, workload, optimizers, settings)
    try:
        return computing(dataset, workload, optimizers, plane)
    except live.Refused:
        return replaying(dataset, workload, optimizers, settings, plane)


def computing(dataset: xarray.Dataset, workload: Workload, optimizers: dict[str, Any], plane: Plane) -> str:
    """The page that computes every run again.

    Raises:
        Refused: where the loss or an optimizer cannot be written as JavaScript, or is too large.
    """
    names, best = list(optimizers), best_rates(dataset)
    code, cards = live.code(workload, plane, optimizers, [float(dataset["lr"].values[j]) for j in best])
    starts = np.stack([np.asarray(ravel_pytree(jax.tree.map(lambda leaf, k=k: leaf[k], workload.starts))[0])
                       for k in range(min(STARTS_TO_CHOOSE, len(workload.seen_as)))])  # fmt: skip
    places = (starts - np.asarray(plane.origin)) @ np.asarray(plane.basis).T
    order = sorted(range(len(places)), key=lambda k: k not in shown_starts(workload)[-1:])
    data = {
        "optimizers": [
            {**card, "colour": colour} for card, colour in zip(cards, figures.colors(names).values(), strict=True)
        ],
        "kinds": {kind: colour for kind, (_, colour) in figures.MARKS.items()},
        "starts": [{"name": f"start {k + 1}: {workload.seen_as[k]}", "x": places[k].tolist()} for k in order],
        "steps": int(dataset["step"].values[-1]),
        "size": starts.shape[1],
        "plain": starts.shape[1] == 2,
        "axes": plane.axes,
        "box": plane.box,
        "points": points(dataset, workload, plane, shown_starts(workload)),
    }
    own = starts.shape[1] == 2 and workload.box is not None  # a typed loss has two parameters
    listed = ["init", "step"]
    steps = [f"{one}{i}" for i in range(len(cards)) for one in listed]
    texts = {
        "words": html.escape(
            LIVE if own else plane.words.replace("Solid: the true loss; dotted: that in the plane.", "")
        ),
        "typed": TYPED if own else "",
        "code": f"{code}\nreturn {{{','.join([*live.NAMES, *steps])}}};",
        "script": "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("draw.js", "typed.js", "live.js")),
    }
    return filled("live.html", workload, data, texts)


def filled(template: str, workload: Workload, data: Any, texts: dict[str, str]) -> str:
    """A page from its template; what comes from outside cannot end an element."""
    texts = {
        "title": html.escape(f"Race on {workload.name}"),
        "style": (HERE / "page.css").read_text(encoding="utf-8"),
        "data": dump(data).replace("<", "\\u003c"),
        **texts,
    }
    text = (HERE / template).read_text(encoding="utf-8")
    return re.sub(r"\{(" + "|".join(texts) + r")\}", lambda found: texts[found[1]], text)


def replaying(
    dataset: xarray.Dataset, workload: Workload, optimizers: dict[str, Any], settings: Race, plane: Plane
) -> str:
    """The page that replays: the race is run again at some of its rates with every piece of its steps recorded."""
    total = int(dataset["step"].values[-1])
    starts = shown_starts(workload)
    most = min(RATES, max(1, BUDGET // (len(optimizers) * len(starts) * ROWS)), dataset.sizes["lr"])
    dataset = dataset.isel(lr=np.linspace(0, dataset.sizes["lr"] - 1, most).round().astype(int))
    rows = np.unique(np.append(np.geomspace(1, total + 1, ROWS // 2) - 1, np.linspace(0, total, ROWS // 2)).astype(int))
    ran = recorded(workload, optimizers, jnp.asarray(dataset["lr"].values), starts, rows, plane, settings)
    data = {
        "optimizers": list(optimizers),
        "colours": list(figures.colors(list(optimizers)).values()),
        "kinds": {kind: colour for kind, (_, colour) in figures.MARKS.items()},
        "rates": dataset["lr"].values.tolist(),
        "steps": rows.tolist(),
        "starts": [workload.seen_as[k] for k in starts],
        "plain": dataset.sizes["param"] == 2,
        "axes": plane.axes,
        "points": points(dataset, workload, plane, starts),
        "ends": ends(dataset, starts),
        "best": best_rates(dataset),
        "lowest": figures.lowest(ran["loss"], rows),
        "losses": packed(ran["loss"], "<f8"),  # as float32 a loss beside zero or beside another would be lost
        **surface(workload, plane),
        "runs": {name: packed(values) for name, values in ran.items() if name != "loss"},
    }
    texts = {
        "words": html.escape(plane.words),
        "script": "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("draw.js", "page.js")),
    }
    return filled("page.html", workload, data, texts)


def packed(values: Any, kind: str = "<f4") -> str:
    """Numbers in base64, as little-endian float32 or another kind; one too large for that is infinite."""
    with np.errstate(over="ignore"):
        return base64.b64encode(np.asarray(values, kind).tobytes()).decode()


def shown_starts(workload: Workload) -> list[int]:
    """The starts that are shown: one beside a saddle where there is one, and others."""
    last = len(workload.seen_as) - 1
    picked = (0, 1) if workload.points == [] else (1, 5)
    return sorted({min(k, last) for k in picked[: 1 if workload.batches else STARTS]})


def recorded(
    workload: Workload, optimizers: Any, rates: Any, starts: Any, rows: Any, plane: Plane, settings: Race
) -> Any:
    """What each run does at the rows, by name: arrays (optimizer, rate, start, row), or of pairs in the plane."""

    def onto(tree):
        return plane.basis @ ravel_pytree(tree)[0]

    def look(moment):
        apply = optax.with_extra_args_support(moment.optimizer).update
        extra = {"value": moment.loss, "grad": moment.grads, "value_fn": moment.value_fn}
        seen = {
            "x": onto(moment.params) - plane.basis @ plane.origin,
            "loss": workload.loss(moment.params, *workload.args),
            "update": onto(apply(moment.grads, moment.state, moment.params, **extra)[0]),
        }
        nothing = jnp.full_like(seen["x"], jnp.nan)
        if not isinstance(moment.optimizer, Optimizer):
            return {**seen, "eta": nothing[0], "m": nothing, "sigma": nothing}
        step = moment.step
        sizes = jax.tree.map(jnp.broadcast_to, step.sigma, jax.tree.map(jnp.shape, moment.params))
        sigma = ravel_pytree(sizes)[0] if plane.basis.shape[1] == 2 else nothing
        return {**seen, "eta": jnp.mean(step.eta), "m": onto(step.m), "sigma": sigma}

    def run(optimizer, lr, start):
        params, seed = start
        batches = (
            None
            if workload.batches is None
            else workload.batches(jax.random.fold_in(jax.random.key(settings.seed), seed))
        )
        ran = gdlab.minimize(
            workload.loss, optimizer(lr), params, int(rows[-1]) + 1, args=() if workload.batches else workload.args,
            batches=batches, record={"seen": look},
        )  # fmt: skip
        return jax.tree.map(lambda values: values[rows], ran.history["seen"])

    begun = (jax.tree.map(lambda leaf: leaf[jnp.array(starts)], workload.starts), jnp.array(starts))
    dataset = gdlab.sweep(run, optimizer=optimizers, lr=rates, start=begun)
    return {name: dataset[name].values for name in ("x", "loss", "update", "eta", "m", "sigma")}


def plane_of(dataset: xarray.Dataset, workload: Workload, optimizers: Any, settings: Race) -> Plane:
    """The plane in which a race is drawn."""
    size = dataset.sizes["param"]
    if size == 2 and workload.box is not None:
        box = [(float(low), float(high)) for low, high in workload.box]
        said = f"The loss, and the runs on it: each path goes through up to {ROWS} of its steps, which can be read."
        return Plane(jnp.zeros(2), jnp.eye(2), box, ("θ₁", "θ₂"), said)
    origin, seen, where_to = trajectories(dataset, workload, optimizers, settings)
    away = (seen - seen.mean(axis=0)) / (np.abs(seen - seen.mean(axis=0)).max() or 1.0)
    basis, curvatures = steepest(workload, origin, size) if settings.plane == "hessian" else (None, None)
    if basis is not None and curvatures is not None:
        said = f"the two highest curvatures there, {curvatures[0]:.4g} and {curvatures[1]:.4g}"
        axes = ("along the highest curvature", "along the second highest")
    else:
        _, basis = np.linalg.eigh(away @ away.T)
        basis = np.linalg.qr((away.T @ basis[:, -2:])[:, ::-1])[0].T
        basis = np.vstack([basis, np.zeros_like(basis)])[:2]  # of a single parameter there is one direction only
        said, axes = "the two main directions of the paths", ("first main direction", "second main direction")
    share = np.sum((away @ basis.T) ** 2, axis=0) / (np.sum(away**2) or 1.0)
    words = (
        f"{size:,} parameters in the plane through {where_to} along {said}. The plane holds {share.sum():.1%} of the"
        f" variance of the paths ({share[0]:.1%} and {share[1]:.1%}). Solid: the true loss; dotted: that in the plane."
    )
    at = (seen - origin) @ basis.T
    low, high = at.min(axis=0), at.max(axis=0)
    margin = 0.15 * np.maximum(high - low, 0.2 * np.max(high - low) or 1.0)
    box = list(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))
    return Plane(jnp.asarray(origin), jnp.asarray(basis), box, axes, words)


def steepest(workload: Workload, origin: Any, size: int) -> tuple[Any, Any]:
    """The directions of the two highest curvatures at a point, as rows, and these; None where they are not finite."""
    spectrum = hessian.extremal(workload.flat_loss, jnp.asarray(origin), k=min(2, size), which="highest")
    basis = np.asarray(spectrum.eigenvectors).reshape(-1, size)[::-1]
    curvatures = np.asarray(spectrum.eigenvalues)[::-1]
    if not (np.isfinite(basis).all() and np.isfinite(curvatures).all()):
        return None, None
    return np.vstack([basis, np.zeros_like(basis)])[:2], np.append(curvatures, 0.0)[:2]


def trajectories(dataset: xarray.Dataset, workload: Workload, optimizers: Any, settings: Race) -> tuple[Any, Any, str]:
    """The point a plane goes through, points of the paths of each optimizer at its best rate, as rows; and what it is.

    It is the best end of the race, or the start where that is not finite or FAR from it, as a run without a bottom is.
    """
    total, at = int(dataset["step"].values[-1]), best_rates(dataset)
    k = shown_starts(workload)[0]  # the first may be on a saddle, where nothing moves
    final = np.array([dataset["loss"].values[i, j, k, -1] for i, j in enumerate(at)])
    start = jax.tree.map(lambda leaf: leaf[k], workload.starts)
    key = jax.random.fold_in(jax.random.key(settings.seed), k)
    seen = []
    for j, optimizer in zip(at, optimizers.values(), strict=True):
        ran = gdlab.minimize(
            workload.loss, optimizer(float(dataset["lr"].values[j])), start, total,
            args=() if workload.batches else workload.args, batches=workload.batches and workload.batches(key),
            record=("params",), every=max(1, total // 40),
        )  # fmt: skip
        seen.append(np.asarray(jax.vmap(lambda params: ravel_pytree(params)[0])(ran.history["params"])))
    flat = np.asarray(ravel_pytree(start)[0])
    ends = [dataset["end"].values[i, j, k] for i, j in enumerate(at)]
    points = np.concatenate([flat[None], *seen, ends])
    near = within(points, flat)
    best = int(np.argmin(np.where(np.isfinite(final) & near[-len(at) :], final, np.inf)))
    if near[best - len(at)] and np.isfinite(final[best]):
        return ends[best], points[near], "the best end"
    return flat, points[near], "the start"


def within(points: Any, start: Any) -> Any:
    """Which points are finite, and at most FAR times as far from the start as half of those that are not on it."""
    finite = np.isfinite(points).all(axis=1)
    far = np.max(np.abs(np.where(finite[:, None], points, start) / 2 - start / 2), axis=1)  # halves do not overflow
    usual = np.median(far[far > 0]) if (far > 0).any() else 0.0
    return finite & (far / FAR <= usual)


def surface(workload: Workload, plane: Plane) -> dict[str, Any]:
    """The loss on a grid of the plane, and the heights of its contours."""
    across, up = (jnp.linspace(low, high, SIDE) for low, high in plane.box)
    row = jax.vmap(lambda a, b: workload.flat_loss(plane.origin + plane.basis.T @ jnp.stack([a, b])), (0, None))
    values = np.asarray(jax.jit(lambda up: jax.lax.map(lambda b: row(across, b), up))(up))
    known = values[np.isfinite(values)]
    levels = np.unique(np.quantile(known, np.linspace(0, 1, LEVELS)[1:-1])) if known.size else known
    return {"grid": packed(values), "side": SIDE, "levels": levels.tolist(), "box": plane.box}


def ends(dataset: xarray.Dataset, starts: Any) -> list[list[list[str]]]:
    """In words, where each run ended: by optimizer, rate and start."""
    kinds, losses = dataset["kind"].values[:, :, starts], dataset["loss"].values[:, :, starts, -1]

    def said(code, value):
        if not np.isfinite(value):
            return "diverged"
        return "on a point that was not classified" if code == NOT_SEEN else ENDS[hessian.Kind(code).words]

    return np.vectorize(said, otypes=[object])(kinds, losses).tolist()


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
        down = [
            end.vector for end in (point.lowest, point.highest) if float(end.value) < 0 and point.kind != "degenerate"
        ]
        at = np.asarray(plane.basis @ (jnp.asarray(x) - plane.origin))
        found.append({"x": at.tolist(), "kind": point.kind, "down": [(plane.basis @ v).tolist() for v in down[:2]]})
    return found
