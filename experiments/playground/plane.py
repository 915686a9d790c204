"""The plane in which a loss is drawn.

    x = B (theta - theta_0)        B holds two directions, or two parameters as they are

Of more than two parameters the plane goes through the best end of the race, or the start where all runs diverge, along
the two main directions of the paths or the two eigenvectors of highest curvature, or through three points; the page
says how much of the paths' variance lies in it.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from jax.flatten_util import ravel_pytree

import gdlab
import hessian

from ..cli.settings import InputError, Race
from ..reporting.endpoints import best_rates
from ..workloads.workload import Workload

STARTS = 2
ROWS = 80  # of a run that is replayed
FAR = 1000.0  # times the usual distance from the start: what is further away is no part of the window
FLAT = 1e-8  # of the longer side of a triangle: what is lower is a line


class Plane(NamedTuple):
    """Where theta is drawn: at basis @ (theta - origin)."""

    origin: jax.Array
    basis: jax.Array  # two rows
    box: list[tuple[float, float]]
    axes: tuple[str, str]
    words: str


def plane_of(
    dataset: xarray.Dataset, workload: Workload, optimizers: Any, settings: Race, corners: Any = None
) -> Plane:
    """The plane in which a race is drawn; of more than two parameters it goes through three corners, where given."""
    size = dataset.sizes["param"]
    if size == 2 and workload.box is not None:
        box = [(float(low), float(high)) for low, high in workload.box]
        said = f"The loss, and the runs on it: each path goes through up to {ROWS} of its steps, which can be read."
        return Plane(jnp.zeros(2), jnp.eye(2), box, ("θ₁", "θ₂"), said)
    origin, seen, where_to = trajectories(dataset, workload, optimizers, settings)
    if corners is not None:
        return through(corners, seen)
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
    return Plane(jnp.asarray(origin), jnp.asarray(basis), window((seen - origin) @ basis.T), axes, words)


def window(places: Any) -> list[tuple[float, float]]:
    """The sides of a window that holds places of a plane, with a margin."""
    low, high = places.min(axis=0), places.max(axis=0)
    margin = 0.15 * np.maximum(high - low, 0.2 * np.max(high - low) or 1.0)
    return list(zip((low - margin).tolist(), (high + margin).tolist(), strict=True))


def through(corners: Any, seen: Any = None) -> Plane:
    """The plane through three points, and, where points of paths are given, how much of their variance it holds.

    Args:
        corners: the points, as three rows.
        seen: points of paths, as rows; those that are near enough are in the window, too.

    Raises:
        InputError: where the three points lie on a line.
    """
    corners = np.asarray(corners, float)
    first, second = corners[1] - corners[0], corners[2] - corners[0]
    long = max(np.linalg.norm(first), np.linalg.norm(second))
    across = first / (np.linalg.norm(first) or 1.0)
    up = second - (second @ across) * across
    if not np.linalg.norm(up) > FLAT * long or not np.linalg.norm(first) > FLAT * long:
        msg = "through must name three points that do not lie on a line"
        raise InputError(msg)
    basis, origin = np.stack([across, up / np.linalg.norm(up)]), corners[0]
    words, places = f"{corners.shape[1]:,} parameters in the plane through three points.", (corners - origin) @ basis.T
    if seen is not None:
        away = (seen - seen.mean(axis=0)) / (np.abs(seen - seen.mean(axis=0)).max() or 1.0)
        share = np.sum((away @ basis.T) ** 2) / (np.sum(away**2) or 1.0)
        words += f" The plane holds {share:.1%} of the variance of the paths."
        words += " Solid: the true loss; dotted: that in the plane."
        at = (seen - origin) @ basis.T
        places = np.concatenate([places, at[np.abs(at).max(axis=1) <= 3 * long]])
    axes = ("from the first point to the second", "across, toward the third")
    return Plane(jnp.asarray(origin), jnp.asarray(basis), window(places), axes, words)


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


def shown_starts(workload: Workload) -> list[int]:
    """The starts that are shown: one beside a saddle where there is one, and others."""
    last = len(workload.seen_as) - 1
    picked = (0, 1) if workload.points == [] else (1, 5)
    return sorted({min(k, last) for k in picked[: 1 if workload.batches else STARTS]})
