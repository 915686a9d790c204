"""The gallery: every surface of the catalogue on one page that computes, for any static host.

A surface of two parameters is drawn as it is, one of more in the plane through three of its critical points, or along
the eigenvectors of its lowest and highest curvature.  Critical points of surfaces of few parameters
carry their proofs, where these can be made; the page checks them again.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import hessian
from gdlab.problems import Surface, surfaces
from hessian.proofs.record import Proof

from ..cli.settings import InputError
from ..playground.live import Scene, computing
from ..playground.plane import Plane, through

STEPS = 1000
SHOWN = 41  # critical points of a surface, those nearest to the middle of its window
PROVED = 4  # parameters at most of a surface whose points carry proofs
WORDS = "{formula}. {source}. Drag the start, turn a number, choose another surface, or type a loss of your own."


def gallery(optimizers: dict[str, Any], names: Sequence[str] = tuple(surfaces)) -> str:
    """The page of these surfaces, on which these optimizers, functions of a learning rate, run."""
    with jax.enable_x64(True):
        scenes = [scene(surfaces[name]) for name in names]
    return computing("gdlab playground", scenes, optimizers, STEPS)


def scene(surface: Surface) -> Scene:
    """A surface of the catalogue with its known critical points."""
    plane = plane_of(surface)
    middle = np.mean(np.array(surface.box), axis=1)
    known = sorted(surface.critical_points, key=lambda point: np.linalg.norm(np.array(point.x) - middle))[:SHOWN]
    return Scene(
        name=surface.name,
        words=WORDS.format(formula=surface.formula.rstrip("."), source=surface.source.rstrip(".")),
        loss=surface.loss,
        params=np.zeros(surface.dim),
        plane=plane,
        starts=[(f"start {k + 1}", np.array(x)) for k, x in enumerate(surface.starts)],
        points=[_shown(point, plane) for point in known],
        rates=None,
        typed=surface.dim == 2,
        proofs=proofs(surface, known),
    )


def plane_of(surface: Surface) -> Plane:
    """Where a surface is drawn."""
    box = [(float(low), float(high)) for low, high in surface.box]
    if surface.dim <= 2:  # of one parameter nothing changes along the second axis
        sides = [*box, (-1.0, 1.0)][:2]
        return Plane(jnp.zeros(surface.dim), jnp.eye(2, surface.dim), sides, ("θ₁", "θ₂"), "")
    corners = np.array([point.x for point in surface.critical_points])
    first = corners[0]
    second = corners[np.argmax(np.linalg.norm(corners - first, axis=1))]
    way = (second - first) / (np.linalg.norm(second - first) or 1.0)
    apart = (corners - first) - np.outer((corners - first) @ way, way)
    try:
        return through(np.stack([first, second, corners[np.argmax(np.linalg.norm(apart, axis=1))]]))
    except InputError:
        _, vectors = np.linalg.eigh(np.asarray(jax.hessian(surface.loss)(jnp.asarray(first))))
        half = min(high - low for low, high in box) / 2
        axes = ("along the lowest curvature", "along the highest curvature")
        return Plane(jnp.asarray(first), jnp.asarray(vectors[:, [0, -1]].T), [(-half, half)] * 2, axes, "")


def _shown(point, plane):
    """A known point as a page has it."""
    theta, basis, origin = np.array(point.x), np.asarray(plane.basis), np.asarray(plane.origin)
    at = basis @ (theta - origin)
    seen = {"x": at.tolist(), "theta": theta.tolist(), "kind": point.kind}
    if len(theta) <= 2:  # the page sees the rest itself
        return seen
    return {
        **seen,
        "off": float(np.linalg.norm(origin + basis.T @ at - theta)),
        "loss": point.value,
        "eigenvalues": [point.eigenvalues[0], point.eigenvalues[-1]],
    }


def proofs(surface: Surface, known: Sequence[Any]) -> list[Proof]:
    """The proofs of its points; none where proofs cannot be made."""
    if surface.dim > PROVED:
        return []
    made: list[Proof] = []
    for point in known:
        if point.kind == "degenerate":
            continue
        try:
            one = hessian.prove(surface.loss, jnp.array(point.x))
        except ImportError:
            return []
        made += [one] if one.proved else []
    return made
