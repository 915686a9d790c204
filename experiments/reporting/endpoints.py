"""Where the runs of a race stopped: the kind of each point, and the way out of each saddle.

end of a run  ->  kind, index, extreme eigenvalues;      saddles among them  ->  step along u_1  ->  descent  ->  kind
"""

import functools
from typing import NamedTuple

import jax
import numpy as np
import xarray

import gdlab
import hessian
from gdlab.ground.compilers import LIGHT, compiled_with

from ..workloads.workload import Workload

DOWNHILL = 5000  # steps of gradient descent after an escape
AT_ONCE = 64  # ends that are judged at once
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
    points = _judged(workload, dataset["end"].values[lanes])

    def spread(values, empty):
        whole = np.full(shape, empty, np.asarray(values).dtype)
        whole[lanes] = values
        return dims, whole

    return unclassified(dataset).assign(
        kind=(*spread(points.code, NOT_SEEN), _flags()),
        index=spread(points.index, -1),
        lowest=spread(points.lowest.value, np.nan),
        highest=spread(points.highest.value, np.nan),
    )


def unclassified(dataset: xarray.Dataset) -> xarray.Dataset:
    """The dataset with the variables of `classified`, all unknown."""
    dims = ("optimizer", "lr", "start")
    none = np.full([dataset.sizes[dim] for dim in dims], NOT_SEEN)
    unknown = (dims, np.full(none.shape, np.nan))
    return dataset.assign(kind=(dims, none, _flags()), index=(dims, none), lowest=unknown, highest=unknown)


def _flags():
    return {"flag_values": np.arange(NOT_SEEN, len(hessian.Kind)), "flag_meanings": _meanings()}


def _judged(workload, ends):
    """The critical point of each end; of few parameters, so many ends at once that one program serves all calls."""
    if not workload.few:
        return jax.lax.map(lambda end: hessian.classify(workload.loss, workload.unravel(end), *workload.args), ends)
    judge = _judge(workload.flat_loss)
    blocks = np.array_split(ends, range(AT_ONCE, len(ends), AT_ONCE))
    found = [judge(np.resize(block, (AT_ONCE, *block.shape[1:]))) for block in blocks]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[: len(ends)], *found)


@functools.lru_cache(maxsize=1)
def _judge(loss):
    return compiled_with(LIGHT, jax.vmap(lambda end: hessian.classify(loss, end)))


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

    loss, at = workload.flat_loss, np.stack([at for at, _ in groups])
    ways = [hessian.escape(loss, one) for one in at]
    ends = np.stack([_downhill(loss, one, way.params) for one, way in zip(at, ways, strict=True)])
    final = jax.jit(jax.vmap(loss))(ends)
    points, reached = (_judged(workload, some) for some in (at, ends))
    return [
        EscapeRoute(
            at=at[i],
            index=int(points.index[i]),
            runs=runs,
            certificate=jax.tree.map(lambda leaf, i=i: leaf[i], points).certificate,
            curvature=float(way.curvature),
            direction=np.asarray(way.direction),
            step=float(way.step),
            loss_before=float(way.loss_before),
            loss_after=float(way.loss_after),
            reached=np.asarray(way.params),
            end=ends[i],
            end_loss=float(final[i]),
            end_kind=str(reached.kind[i]),
        )
        for i, ((_, runs), way) in enumerate(zip(groups, ways, strict=True))
    ]


def _downhill(loss, at, params):
    """Where gradient descent leads, at half the rate that is stable at both points."""
    steepest = max(np.abs(hessian.spectrum(loss, x).eigenvalues).max() for x in (at, params))
    return gdlab.minimize(loss, gdlab.gd(0.5 / steepest), params, DOWNHILL, every=DOWNHILL).params
