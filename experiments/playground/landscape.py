"""The page of a landscape: its disconnectivity graph and its multigraph, and the place of the point that is picked.

| function | what it returns |
|---|---|
| `page` | the page |
| `points_in` | the number of coordinates of a point of params, where the declared symmetries move such points |
"""

import html
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import hessian

from ..playground.plane import Plane
from ..playground.replay import surface
from ..playground.template import filled, packed, script

ABOUT = "The minima of a loss, and the saddles that join them"
AROUND = 0.2  # the room around the points of a map, in units of their extent
MOST = 1000  # minima on the page, and as many saddles


def page(title: str, words: Sequence[str], found: hessian.Landscape, loss: Callable, symmetries: Any) -> str:
    """The page of a landscape, one file that needs no network.

    Args:
        title: of the page.
        words: sentences that stand above.
        found: the landscape; the lowest minima are shown, and the lowest saddles between them.
        loss: that of which it is.
        symmetries: the declared ones; where they move points of the plane or of space, these are drawn.
    """
    shown, tree, left_out = _lowest(found)
    rows = [_raveled(points) for points in (shown.minima, shown.saddles)]
    d = points_in(symmetries)
    data = {
        "points": [*_points(shown.minima, "minimum"), *_points(shown.saddles, "saddle")],
        "joins": shown.joins.tolist(),
        "places": tree.places().tolist(),
        "lines": [[np.round(x, 3).tolist(), y] for x, y in tree.lines()],
        "d": d if d is not None and rows[0].shape[1] >= 2 * d else 0,
        "size": rows[0].shape[1],
        "theta": packed(np.concatenate(rows)),
        "down": packed(_ways_down(loss, shown.saddles)),
    }
    if rows[0].shape[1] == 2:
        data |= _map(loss, shown.minima, np.concatenate(rows))
    said = " ".join([*words, *([left_out] if left_out else [])])
    texts = {"words": html.escape(said), "script": script("draw.js", "landscape.js")}
    return filled("landscape.html", title, data, texts, about=ABOUT, marks="data-live data-landscape")


def points_in(symmetries: Any) -> int | None:
    """The number of coordinates, 2 or 3, of the points that all of the declared symmetries move; else None.

    >>> points_in(hessian.symmetry.atoms(3)), points_in(hessian.symmetry.rescale("a", "b")), points_in(None)
    (3, None, None)
    """
    found = {getattr(one, "d", None) for one in jax.tree.leaves(symmetries)}
    return found.pop() if len(found) == 1 and found <= {2, 3} else None


def _lowest(found):
    """The part of a landscape that is shown, its disconnectivity graph by all saddles, and what is not shown."""
    between = np.flatnonzero((found.joins < MOST).all(axis=1))
    minima = _rows(found.minima, np.arange(min(len(found.minima), MOST)))
    every = found._replace(minima=minima, saddles=_rows(found.saddles, between), joins=found.joins[between])
    saddles = _rows(every.saddles, np.arange(min(len(between), MOST)))
    part = every._replace(saddles=saddles, joins=every.joins[:MOST])
    whole = len(minima) == len(found.minima) and len(saddles) == len(found.saddles)
    return (
        part,
        every.disconnectivity(),
        "" if whole else f"Shown are the lowest {len(minima)} minima and {len(saddles)} saddles between them.",
    )


def _rows(points, places):
    return jax.tree.map(lambda column: column[places], points)


def _points(points, kind):
    """What is said of each."""
    return [
        {
            "kind": kind,
            "loss": float(points.loss[i]),
            "found": int(points.found[i]),
            "flat": int(points.flat[i]),
            "copies": float(points.multiplicity[i]) if np.isfinite(points.multiplicity[i]) else None,
            "eigenvalues": _ends(points.eigenvalues[i], points.flat[i]),
        }
        for i in range(len(points))
    ]


def _ends(values, flat):
    """The lowest and the highest eigenvalue but those that are zero along the orbit."""
    kept = values[np.argsort(np.abs(values))[flat:]]
    return [float(kept.min()), float(kept.max())] if len(kept) else [0.0, 0.0]


def _raveled(points):
    """The numbers of each point, shape (k, n)."""
    if not len(points):
        return np.zeros((0, points.eigenvalues.shape[1]))
    return np.asarray(jax.vmap(lambda tree: ravel_pytree(tree)[0])(points.params), float)


def _map(loss, minima, places):
    """The loss of two parameters around its points."""
    unravel = ravel_pytree(minima.at(0))[1]
    room = np.ptp(places, axis=0)
    room = np.where(room > 0, room, room.max() or 1.0)
    box = list(
        zip((places.min(axis=0) - AROUND * room).tolist(), (places.max(axis=0) + AROUND * room).tolist(), strict=True)
    )
    return surface(lambda x: loss(unravel(x)), Plane(jnp.zeros(2), jnp.eye(2), box, ("", ""), ""))


def _ways_down(loss, saddles):
    """The eigenvector of the lowest eigenvalue at each saddle, shape (k, n)."""
    if not len(saddles):
        return np.zeros((0, 0))
    unravel = ravel_pytree(saddles.at(0))[1]
    hessians = jax.jit(lambda rows: jax.lax.map(jax.hessian(lambda x: loss(unravel(x))), rows))
    return np.linalg.eigh(np.asarray(hessians(jnp.asarray(_raveled(saddles)))))[1][:, :, 0]
