"""Branch and bound: where in a box the gradient of a program vanishes, each point once, and nowhere else.

    0 not in g(X), or not in g(m) + H(X) (X - m)             no critical point in X
    K = m - Y g(m) + (I - Y H(X)) (X - m),  Y ~ H(m)^-1      each one in X lies in K (Krawczyk)
    K inside X                                               exactly one in X, and it lies in K
    otherwise                                                X becomes its part in K, and is halved

Krawczyk's test is made on X blown up a little, so that points on the edges between boxes are found too; the same point
of two boxes is told by K of the one within X of the other.  All boxes of a batch are one array.

R. Krawczyk, Computing 4 (1969); A. Neumaier, Interval Methods for Systems of Equations, 1990.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ival import Interval

from hessian.proofs.kernels.arrays import enclose, intervals, total
from hessian.proofs.program import Program

SPLIT = 0.487  # of a side: halves would put the points of symmetric functions on edges for ever
BLOWN = 0.1  # of the width, on each side, for Krawczyk's test
ENTRIES = 2**15  # of derivatives in a batch, about
TURNS = 6  # of Krawczyk's operator, to sharpen where a point lies


class Found(NamedTuple):
    """What the boxes hold; the last axis of boxes is (low, high)."""

    near: np.ndarray  # (points, n, 2) where each lies
    alone: np.ndarray  # (points, n, 2) where there is no other
    undecided: np.ndarray  # (boxes, n, 2) where nothing is known
    examined: int


def search(
    program: Program, box: np.ndarray, smallest: float, most: int, progress: Callable[[int, int], None] | None = None
) -> Found:
    """The critical points in a box, shape (n, 2): boxes are halved down to `smallest` of its widths, `most` in all."""
    waiting, undecided, found = [box[None]], [], [np.zeros((0, len(box), 2, 2))]
    widths, examined = box[:, 1] - box[:, 0], 0
    batch = max(64, ENTRIES // (1 + len(box)) ** 2)
    while waiting and examined < most:
        boxes = np.concatenate(waiting)
        waiting = [boxes[batch:]] if len(boxes) > batch else []
        boxes = boxes[:batch]
        examined += len(boxes)
        rest, points = _examined(program, boxes)
        found.append(points)
        share = ((rest[..., 1] - rest[..., 0]) / widths).max(axis=1, initial=0.0)
        undecided.append(rest[share <= smallest])
        waiting.append(_halved(rest[share > smallest], widths))
        waiting = [one for one in waiting if len(one)]
        if progress is not None:
            progress(examined, examined + sum(map(len, waiting)))
    points, unclear = _once(program, np.concatenate(found))
    left = np.concatenate([*undecided, *waiting, unclear])
    return Found(points[..., 0], points[..., 1], left, examined)


def _examined(program, boxes):
    """The boxes, or the parts of them, that are still open; and of the decided ones the points, as K and X."""
    open_box = np.ones(len(boxes), bool)
    first = enclose(program, _as_intervals(boxes), 1)
    open_box[first.smooth] = _holds_zero(first.gradient).all(axis=1)[first.smooth]
    boxes = boxes[open_box]
    blown = _blown(boxes)
    into, alone, none, smooth = _krawczyk(program, blown)
    low, high = np.maximum(boxes[..., 0], into[..., 0]), np.minimum(boxes[..., 1], into[..., 1])
    empty = smooth & (none | (low > high).any(axis=1))
    part = np.where(smooth[:, None, None], np.stack([low, high], -1), boxes)
    points = np.stack([into, blown], -1)[smooth & alone & ~empty]
    return part[~empty & ~(smooth & alone)], points


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
    none = ~_holds_zero(taylor).all(axis=1) | (known & ((ends[..., 0] > boxes[..., 1]) | (ends[..., 1] < boxes[..., 0])).any(1))
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


def _halved(boxes, widths):
    """Both parts of each box, cut across its widest side."""
    rows, side = np.arange(len(boxes)), ((boxes[..., 1] - boxes[..., 0]) / widths).argmax(axis=1)
    low, high = boxes[rows, side, 0], boxes[rows, side, 1]
    cut = low + SPLIT * (high - low)
    lower, upper = boxes.copy(), boxes.copy()
    lower[rows, side, 1] = upper[rows, side, 0] = cut
    return np.concatenate([lower, upper])


def _blown(boxes):
    more = BLOWN * (boxes[..., 1] - boxes[..., 0]) + 2.0**-50 * np.abs(boxes).max(axis=2) + 1e-300
    return np.stack([boxes[..., 0] - more, boxes[..., 1] + more], -1)


def _as_intervals(boxes) -> Interval:
    return intervals(boxes[..., 0], boxes[..., 1])


def _holds_zero(x):
    return ~((x.lo > 0) | (x.hi < 0))  # what is not a number may be zero


