"""The page that replays: the race is run again at some of its rates, with every piece of its steps recorded."""

import html
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import xarray
from jax.flatten_util import ravel_pytree

import gdlab
import hessian
from gdlab.equation import Optimizer

from ..cli.settings import Race
from ..playground.plane import ROWS, Plane, shown_starts
from ..playground.template import filled, packed, script
from ..reporting import figures
from ..reporting.endpoints import NOT_SEEN, best_rates
from ..workloads.workload import Workload

ABOUT = "A race of optimizers on a loss, step by step"
ENDS = {
    "minimum": "on a minimum",
    "saddle": "on a saddle",
    "maximum": "on a maximum",
    "degenerate": "on a degenerate critical point",
    "not critical": "on no critical point",
    "undetermined": "on a point whose kind is not certain",
}
RATES, SIDE, LEVELS = 16, 121, 18
BUDGET = (
    14_000  # rows of all runs together, each a loss in 8 bytes and 9 numbers in 4, so that the page stays below 1 MB
)


def replaying(
    dataset: xarray.Dataset,
    workload: Workload,
    optimizers: dict[str, Any],
    settings: Race,
    plane: Plane,
    points: list[dict[str, Any]],
    title: str,
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
        "points": [{name: value for name, value in point.items() if name in ("x", "kind", "down")} for point in points],
        "ends": ends(dataset, starts),
        "best": best_rates(dataset),
        "lowest": figures.lowest(ran["loss"], rows),
        "losses": packed(ran["loss"], "<f8"),  # as float32 a loss beside zero or beside another would be lost
        **surface(workload.flat_loss, plane),
        "runs": {name: packed(values) for name, values in ran.items() if name != "loss"},
    }
    texts = {"words": html.escape(plane.words), "script": script("draw.js", "page.js")}
    return filled("page.html", title, data, texts, about=ABOUT)


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


def surface(loss: Callable[[jax.Array], jax.Array], plane: Plane) -> dict[str, Any]:
    """The loss on a grid of the plane, and the heights of its contours."""
    across, up = (jnp.linspace(low, high, SIDE) for low, high in plane.box)
    row = jax.vmap(lambda a, b: loss(plane.origin + plane.basis.T @ jnp.stack([a, b])), (0, None))
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
