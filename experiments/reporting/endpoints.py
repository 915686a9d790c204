"""Where the runs of a race stopped: the kind of each point, and the way out of each saddle.

end of a run  ->  kind, index, extreme eigenvalues;      saddles among them  ->  step along u_1  ->  descent  ->  kind
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray

import gdlab
import hessian

from ..workloads.workload import Workload

DOWNHILL = 5000  # steps of gradient descent after an escape
NOT_SEEN = -1  # the kind of an end that was not classified


class EscapeRoute(NamedTuple):
    """A saddle on which runs stopped, and the way out of it."""

    at: np.ndarray
    index: int  # type: ignore[assignment]  # the Morse index, not the method of tuples
    runs: dict[str, int]  # how many runs of each optimizer stopped there
    certificate: str
    curvature: float
    direction: np.ndarray
    step: float
    loss_before: float
    loss_after: float
    reached: np.ndarray  # after the step
    end: np.ndarray  # where gradient descent leads from there
    end_loss: float
    end_kind: str


def classified(dataset: xarray.Dataset, workload: Workload) -> xarray.Dataset:
    """The dataset with kind, index and extreme eigenvalues of each end; of many parameters, one end per optimizer."""
    dims = ("optimizer", "lr", "start")
    shape = tuple(dataset.sizes[dim] for dim in dims)
    lanes = np.zeros(shape, bool)
    if workload.few:
        lanes[...] = True
    else:
        best = best_rates(dataset)
        for i in range(shape[0]):
            lanes[i, best[i], 0] = True
    ends = jnp.asarray(dataset["end"].values[lanes])
    judge = jax.jit(lambda end: _verdict(workload, end))
    found = jax.vmap(judge)(ends) if workload.few else jax.lax.map(judge, ends)

    def spread(values, empty):
        whole = np.full(shape, empty, np.asarray(values).dtype)
        whole[lanes] = values
        return dims, whole

    code, index, low, high = found
    return unclassified(dataset).assign(
        kind=(*spread(code, NOT_SEEN), _flags()),
        index=spread(index, -1),
        lowest=spread(low, np.nan),
        highest=spread(high, np.nan),
    )


def unclassified(dataset: xarray.Dataset) -> xarray.Dataset:
    """The dataset with the variables of `classified`, all unknown."""
    dims = ("optimizer", "lr", "start")
    none = np.full([dataset.sizes[dim] for dim in dims], NOT_SEEN)
    unknown = (dims, np.full(none.shape, np.nan))
    return dataset.assign(kind=(dims, none, _flags()), index=(dims, none), lowest=unknown, highest=unknown)


def _flags():
    return {"flag_values": np.arange(NOT_SEEN, len(hessian.Kind)), "flag_meanings": _meanings()}


def _verdict(workload, end):
    point = hessian.classify(workload.loss, workload.unravel(end), *workload.args)
    return point.code, point.index, point.lowest.value, point.highest.value


def _meanings():
    return " ".join(kind.replace(" ", "_") for kind in ("not seen", *hessian.Kind.list_words()))


def best_rates(dataset: xarray.Dataset) -> list[int]:
    """For each optimizer the index of the learning rate of lowest median loss at the end."""
    final = dataset["loss"].values[..., -1]
    median = np.median(np.where(np.isfinite(final), final, np.inf), axis=2)
    return [int(i) for i in np.argmin(median, axis=1)]


def ways_out(dataset: xarray.Dataset, workload: Workload) -> list[EscapeRoute]:
    """The escape route of each saddle on which a run stopped; saddles within 1e-3 of each other count as one."""
    if not workload.few:
        return []
    stuck = np.argwhere(dataset["kind"].values == hessian.Kind.SADDLE)
    groups: list[tuple[np.ndarray, dict[str, int]]] = []
    names = [str(name) for name in dataset["optimizer"].values]
    for lane in stuck:
        end = dataset["end"].values[tuple(lane)]
        with np.errstate(over="ignore"):  # of a run that has left, a distance may be infinite
            runs = next((runs for at, runs in groups if np.linalg.norm(at - end) < 1e-3), None)
        if runs is None:
            groups.append((end, runs := {}))
        runs[names[lane[0]]] = runs.get(names[lane[0]], 0) + 1
    if not groups:
        return []

    def leave(at):
        point = hessian.classify(workload.flat_loss, at)
        way = hessian.escape(workload.flat_loss, at)
        steepest = jnp.maximum(
            *(jnp.max(jnp.abs(hessian.spectrum(workload.flat_loss, x).eigenvalues)) for x in (at, way.params))
        )
        down = gdlab.minimize(workload.flat_loss, gdlab.gd(0.5 / steepest), way.params, DOWNHILL, every=DOWNHILL)
        end = hessian.classify(workload.flat_loss, down.params)
        return point, way, down.params, workload.flat_loss(down.params), end

    point, way, end, end_loss, end_point = jax.jit(jax.vmap(leave))(jnp.stack([at for at, _ in groups]))
    kinds = end_point.kind
    return [
        EscapeRoute(
            at=at,
            index=int(point.index[i]),
            runs=runs,
            certificate=jax.tree.map(lambda leaf, i=i: leaf[i], point).certificate,
            curvature=float(way.curvature[i]),
            direction=np.asarray(way.direction[i]),
            step=float(way.step[i]),
            loss_before=float(way.loss_before[i]),
            loss_after=float(way.loss_after[i]),
            reached=np.asarray(way.params[i]),
            end=np.asarray(end[i]),
            end_loss=float(end_loss[i]),
            end_kind=str(kinds[i]),
        )
        for i, (at, runs) in enumerate(groups)
    ]
