"""Branch and bound: where in a box the gradient of a program vanishes, each point once, and nowhere else.

    0 not in g(X), or not in g(m) + H(X) (X - m)             no critical point in X
    K = m - Y g(m) + (I - Y H(X)) (X - m),  Y ~ H(m)^-1      each one in X lies in K (Krawczyk)
    K inside X                                               exactly one in X, and it lies in K
    otherwise                                                X is halved

Krawczyk's test is made on X blown up a little, so that points on the edges between boxes are found too; the same point
of two boxes is told by K of the one within X of the other.  All boxes of a batch are one array.

R. Krawczyk, Computing 4 (1969); A. Neumaier, Interval Methods for Systems of Equations, 1990.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ival import Interval

from hessian.proofs.cover import cut, written
from hessian.proofs.kernels.arrays import enclose, intervals, total
from hessian.proofs.program import Program

BLOWN = 0.1  # of the width, on each side, for Krawczyk's test
ENTRIES = 2**15  # of derivatives in a batch, about
TURNS = 6  # of Krawczyk's operator, to sharpen where a point lies


class Search(NamedTuple):
    """How far a search has come; the last axis of boxes is (low, high)."""

    boxes: np.ndarray  # (boxes, n, 2): still to be examined, in this order
    names: np.ndarray  # (boxes,): their numbers, by which `cuts` speaks of them
    cuts: np.ndarray  # (cuts, 4): the name of a box, the side across which it was cut, its lower part, its upper part
    points: np.ndarray  # (points, n, 2, 2): where each lies, and where it is alone; some more than once
    undecided: np.ndarray  # (boxes, n, 2): too small to be halved
    examined: np.ndarray  # how many boxes were examined


class Found(NamedTuple):
    """What a box holds; the last axis of boxes is (low, high)."""

    near: np.ndarray  # (points, n, 2) where each lies
    alone: np.ndarray  # (points, n, 2) where there is no other
    undecided: np.ndarray  # (boxes, n, 2) where nothing is known
    examined: int
    cover: str  # how the box was halved, as `cover` writes it


def search(
    program: Program,
    box: np.ndarray,
    smallest: float,
    most: int,
    *,
    progress: Callable[[int, int], None] | None = None,
    start: Search | None = None,
    keep: Callable[[Callable[[], Search]], None] | None = None,
) -> tuple[Found, Search]:
    """The critical points in a box, shape (n, 2), and how far the search is.

    Boxes are halved until each of their widths is at most `smallest` of the box's and of 1 + |x|, and `most` are
    examined.  A search goes on from `start`; `keep` is given, after each batch, a function that returns how far it is.
    """
    n = len(box)
    start = start or _nothing_known(box)
    boxes, names = start.boxes, start.names
    cuts, found, undecided = [start.cuts], [start.points], [start.undecided]
    examined, named = int(start.examined), 1 + 2 * len(start.cuts)
    batch = max(64, ENTRIES // (1 + n) ** 2)

    def so_far():
        cut, points, left = (np.concatenate(parts) for parts in (cuts, found, undecided))
        return Search(boxes=boxes, names=names, cuts=cut, points=points, undecided=left, examined=np.array(examined))

    while len(boxes) and examined < most:
        now, boxes, ours, names = boxes[:batch], boxes[batch:], names[:batch], names[batch:]
        examined += len(now)
        still, points = _examined(program, now)
        found.append(points)
        now, ours = now[still], ours[still]
        width = now[..., 1] - now[..., 0]
        small = (width <= smallest * np.minimum(box[:, 1] - box[:, 0], 1 + np.abs(now).max(axis=2))).all(axis=1)
        undecided.append(now[small])
        now, ours, width = now[~small], ours[~small], width[~small]
        sides = (width / (box[:, 1] - box[:, 0])).argmax(axis=1)
        lower = named + np.arange(len(now))
        cuts.append(np.stack([ours, sides, lower, lower + len(now)], axis=1))
        boxes = np.concatenate([boxes, *_halves(now, sides)])
        names = np.concatenate([names, lower, lower + len(now)])
        named += 2 * len(now)
        if progress is not None:
            progress(examined, examined + len(boxes))
        if keep is not None:
            keep(so_far)
    end = so_far()
    points, unclear = _once(program, end.points)
    left = np.concatenate([end.undecided, boxes, unclear])
    return Found(points[..., 0], points[..., 1], left, examined, written(end.cuts, named)), end


def _nothing_known(box):
    """One box to examine, and no cut, point or undecided box."""
    n, first = len(box), np.zeros(1, int)
    return Search(
        boxes=box[None],
        names=first,
        cuts=np.zeros((0, 4), int),
        points=np.zeros((0, n, 2, 2)),
        undecided=np.zeros((0, n, 2)),
        examined=np.array(0),
    )


def _examined(program, boxes):
    """Which boxes are still open; and of the decided ones the points, as K and X."""
    still = np.ones(len(boxes), bool)
    first = enclose(program, _as_intervals(boxes), 1)
    still[first.smooth] = _holds_zero(first.gradient).all(axis=1)[first.smooth]
    blown = _blown(boxes[still])
    into, alone, none, smooth = _krawczyk(program, blown)
    aside = ((into[..., 0] > boxes[still][..., 1]) | (into[..., 1] < boxes[still][..., 0])).any(axis=1)
    empty, alone = smooth & (none | aside), smooth & alone
    still[still] = ~empty & ~alone
    return still, np.stack([into, blown], -1)[alone & ~empty]


def _krawczyk(program, boxes):
    """K of each box, whether it lies inside, whether there is no zero for certain, and whether all of this is known."""
    count, n, _ = boxes.shape
    middle = boxes[..., 0] / 2 + boxes[..., 1] / 2
    around = _as_intervals(boxes)
    wide, thin = enclose(program, around), enclose(program, intervals(middle, middle), 1)
    smooth = wide.smooth & thin.smooth
    bends, slopes = wide.hessian, thin.gradient
    away = around - intervals(middle, middle)
    taylor = slopes + total(bends * away[:, None, :], 2)
    with np.errstate(all="ignore"):
        inverse = _inverses(np.where(smooth[:, None, None], bends.lo / 2 + bends.hi / 2, 0.0))
    inverse = intervals(inverse, inverse)
    step = total(inverse * slopes[:, None, :], 2)
    unit = np.broadcast_to(np.eye(n), (count, n, n))
    rest = intervals(unit, unit) - total(inverse[:, :, :, None] * bends[:, None, :, :], 2)
    into = intervals(middle, middle) - step + total(rest * away[:, None, :], 2)
    ends = np.stack([into.lo, into.hi], -1)
    known = np.isfinite(ends).all(axis=(1, 2))
    ends = np.where(known[:, None, None], ends, boxes)
    alone = known & ((ends[..., 0] > boxes[..., 0]) & (ends[..., 1] < boxes[..., 1])).all(axis=1)
    none = ~_holds_zero(taylor).all(axis=1) | (
        known & ((ends[..., 0] > boxes[..., 1]) | (ends[..., 1] < boxes[..., 0])).any(1)
    )
    return ends, alone, none, smooth


def _inverses(matrices):
    """The inverses, nearly; of singular matrices something finite."""
    with np.errstate(all="ignore"):
        determinants = np.linalg.det(matrices)
        sound = np.isfinite(determinants) & (determinants != 0)
        made = np.linalg.inv(np.where(sound[:, None, None], matrices, np.eye(matrices.shape[1])))
    return np.where(np.isfinite(made), made, 0.0)


def _once(program, points):
    """Each point once, sharpened; and the boxes of those of which it is not clear whether they are one."""
    for _ in range(TURNS):
        if not len(points):
            break
        into, _, _, smooth = _krawczyk(program, _blown(points[..., 0]))
        low = np.maximum(points[..., 0, 0], into[..., 0])
        high = np.minimum(points[..., 1, 0], into[..., 1])
        better = smooth & (low <= high).all(axis=1)
        points[better, ..., 0] = np.stack([low, high], -1)[better]
    kept: list[np.ndarray] = []
    unclear = [np.zeros((0, *points.shape[1:3]))]
    for point in points:
        near, alone = point[..., 0], point[..., 1]
        others = np.stack(kept) if kept else np.zeros((0, *point.shape))
        meets = ((others[..., 0, 0] <= near[:, 1]) & (near[:, 0] <= others[..., 1, 0])).all(axis=1)
        same = _within(near, others[..., 1]) | _within(others[..., 0], alone)
        if (meets & ~same).any():
            unclear.append(near[None])
        elif not (meets & same).any():
            kept.append(point)
    return np.stack(kept) if kept else points[:0], np.concatenate(unclear)


def _within(inner, outer):
    return ((outer[..., 0] <= inner[..., 0]) & (inner[..., 1] <= outer[..., 1])).all(axis=-1)


def _halves(boxes, sides):
    """The lower and the upper part of each box, cut across a side."""
    rows, lower, upper = np.arange(len(boxes)), boxes.copy(), boxes.copy()
    lower[rows, sides, 1] = upper[rows, sides, 0] = cut(boxes[rows, sides, 0], boxes[rows, sides, 1])
    return lower, upper


def _blown(boxes):
    more = BLOWN * (boxes[..., 1] - boxes[..., 0]) + 2.0**-50 * np.abs(boxes).max(axis=2) + 1e-300
    return np.stack([boxes[..., 0] - more, boxes[..., 1] + more], -1)


def _as_intervals(boxes: np.ndarray) -> Interval:
    return intervals(boxes[..., 0], boxes[..., 1])


def _holds_zero(x):
    return ~((x.lo > 0) | (x.hi < 0))  # what is not a number may be zero
