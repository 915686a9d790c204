"""`prove_all`: every critical point in a box, each with its proof, and the proof that there are no others."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from gdlab.ground.checks import number, whole
from gdlab.ground.results import Floats, Truths, result
from hessian.precision import Loss, check
from hessian.proofs.program import NotProved, Program, as_data
from hessian.proofs.record import Ball, Proof, ball_of, data_of_ball, program_of, save

FORMAT = "gdlab list 1"


@result
@dataclass(frozen=True, repr=False)
class CompleteList:
    """All critical points in a box, as far as they are proved.

    Each critical point in the box is one of `points` or lies in one of the `undecided` boxes.
    """

    box: Floats  # shape (n, 2): lows and highs
    points: tuple[Proof, ...]
    undecided: Floats  # shape (k, n, 2): boxes of which it is not known what they hold
    on_edge: Truths  # shape (points,): too near the edge of the box to say on which side
    boxes: int  # how many were examined
    reason: str  # why something is undecided; "" where nothing is
    program: Program | None = None
    cover: str = "."  # how the box was halved: `hessian.proofs.cover`

    @property
    def complete(self) -> bool:
        """Whether `points` are proved to be all critical points in the box."""
        return not len(self.undecided)

    @property
    def statement(self) -> str:
        """The theorem in words."""
        counts = Counter(point.index or 0 for point in self.points)
        kinds = ", ".join(f"{count} of index {index}" for index, count in sorted(counts.items()))
        edge = f"; {self.on_edge.sum()} of them on its edge or just outside" if self.on_edge.any() else ""
        plural = "" if len(self.points) == 1 else "s"
        count = f"{len(self.points)} critical point{plural}" + (f" ({kinds})" if kinds else "") + edge
        if self.complete:
            return f"proved: the box holds {count}, and no others"
        return f"not complete: {count} proved; {len(self.undecided)} boxes are undecided: {self.reason}"

    def __repr__(self) -> str:
        return f"CompleteList: {self}"

    def __str__(self) -> str:
        """The statement."""
        return self.statement

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record, with the cover, whole or not at all, to a file that must not exist yet.

        Raises:
            ValueError: where the list is not complete.
            FileExistsError: where the file exists.
        """
        if not self.complete or self.program is None:
            msg = f"a record must hold a complete list; got {self.statement}"
            raise ValueError(msg)
        record = {
            "format": FORMAT,
            "statement": self.statement,
            "box": [[low.hex(), high.hex()] for low, high in self.box.tolist()],
            "points": [data_of_ball(one.ball) for one in self.points if one.ball is not None],
            "on_edge": self.on_edge.tolist(),
            "cover": self.cover,
            "kernel": "arrays",
            "hypotheses": [],
            "program": as_data(self.program),
        }
        save(path, record)


def from_data(data: dict[str, Any]) -> CompleteList:
    """The record in this data; ValueError with a sentence for what is none."""
    try:
        ends = np.array([[float.fromhex(end) for end in side] for side in data.get("box")])  # type: ignore[union-attr]
    except (TypeError, ValueError, OverflowError):
        ends = np.zeros(0)
    box, points, edge, cover = _ends(ends), data.get("points"), data.get("on_edge"), data.get("cover")
    balls = [ball_of(one) for one in points] if isinstance(points, list) else []
    sound = isinstance(points, list) and isinstance(edge, list) and len(edge) == len(points) and isinstance(cover, str)
    if not (sound and all(isinstance(one, bool) for one in edge) and all(len(b.center) == len(box) for b in balls)):  # type: ignore[union-attr]
        msg = "a record must have points of as many coordinates as the box, a truth for each, and a cover"
        raise ValueError(msg)
    program = program_of(data, len(box))
    proofs, none = tuple(Proof("", ball, program) for ball in balls), np.zeros((0, *box.shape))
    proof = CompleteList(
        box=box,
        points=proofs,
        undecided=none,
        on_edge=np.array(edge, bool),
        boxes=len(cover),  # type: ignore[arg-type]
        reason="",
        program=program,
        cover=cover,  # type: ignore[arg-type]
    )
    if data.get("statement") != proof.statement:
        msg = f"a record must say what its numbers say, {proof.statement!r}"
        raise ValueError(msg)
    return proof


def prove_all(
    loss: Loss,
    box: Any,
    *args: Any,
    smallest: float = 1e-7,
    max_boxes: int = 10**6,
    progress: Callable[[int, int], None] | None = None,
    store: str | os.PathLike[str] | None = None,
) -> CompleteList:
    """Every critical point in a box, each with its proof and index, and the proof that there are no others.

    Branch and bound with Krawczyk's operator: boxes are dropped where the gradient cannot vanish, decided where exactly
    one critical point lies, and halved otherwise; then each point is proved as by `prove`.  For up to 5 parameters.

    Args:
        loss: `loss(params, *args) -> scalar`, of JAX, of one array of n parameters.
        box: shape (n, 2), the lowest and the highest value of each parameter.
        *args: further arguments, taken as exact.
        smallest: boxes of less than this share of the box's widths are left undecided.
        max_boxes: how many boxes are examined at most; what is left then is undecided.
        progress: a function of (boxes examined, boxes known of).
        store: a folder that keeps how far the search is.  The same call goes on from it, also with more `max_boxes`;
            another search is refused.

    Returns:
        A `CompleteList`: `points`, `complete`, `undecided`, `on_edge`, `statement`, `save(path)`.

    Raises:
        ImportError: where the extra `proof` is not installed.
        TypeError, ValueError: for a box that is no box, and as `prove`.
        StoreError: for a store of another search, in use, or that cannot be written (a ValueError).

    Source: Kearfott, Rigorous Global Search, 1996; Krawczyk 1969.

    >>> found = prove_all(lambda w: (w[0] ** 2 - 1) ** 2 + w[1] ** 2, [(-2, 2), (-1, 1.5)])
    >>> found.complete, sorted(point.kind for point in found.points)
    (True, ['minimum', 'minimum', 'saddle'])
    """
    try:
        from hessian.proofs import lowering, pauses
        from hessian.proofs.kernels import boxes
    except ImportError as error:
        msg = "prove_all needs python-flint and crival; install them with the extra: pip install 'gdlab[proof]'"
        raise ImportError(msg) from error
    ends = _ends(box)
    smallest, max_boxes = float(np.asarray(number("smallest", smallest, "(0, 1)"))), whole("max_boxes", max_boxes)
    middle = jnp.asarray(ends.mean(axis=1))
    check(loss, middle, *args)
    try:
        program, _ = lowering.lowered(loss, middle, *args)
    except NotProved as error:
        return CompleteList(
            box=ends, points=(), undecided=ends[None], on_edge=np.zeros(0, bool), boxes=0, reason=str(error)
        )
    with pauses.paused(store, program, ends, smallest) as pause:
        found, search = boxes.search(
            program, ends, smallest, max_boxes, progress=progress, start=pause.read(), keep=pause.keep
        )
        pause.write(search)
    points, edge, left = [], [], list(found.undecided)
    reason = "degenerate, not twice differentiable, or in need of more boxes or smaller ones" if left else ""
    for near, alone in zip(found.near, found.alone, strict=True):
        if (near[:, 1] < ends[:, 0]).any() or (near[:, 0] > ends[:, 1]).any():
            continue  # it lies outside: boxes are blown up a little
        proof = _proved(program, near, alone)
        if proof.proved:
            points.append(proof)
            edge.append(bool(((near[:, 0] < ends[:, 0]) | (near[:, 1] > ends[:, 1])).any()))
        else:
            left.append(near)
            reason = proof.reason
    undecided = np.stack(left) if left else np.zeros((0, *ends.shape))
    return CompleteList(
        box=ends,
        points=tuple(points),
        undecided=undecided,
        on_edge=np.array(edge, bool),
        boxes=found.examined,
        reason=reason,
        program=program,
        cover=found.cover,
    )


def _ends(box):
    """The box as an array of doubles, shape (n, 2)."""
    try:
        ends = np.array(box, np.float64)
    except (TypeError, ValueError):
        ends = np.zeros(0)
    if ends.ndim != 2 or ends.shape[1] != 2 or not len(ends):
        msg = "box must be a low and a high for each parameter, shape (n, 2), such as [(-1, 1), (0, 2)]"
        raise ValueError(msg)
    if not (np.isfinite(ends).all() and (ends[:, 0] < ends[:, 1]).all()):
        msg = f"box must have finite lows below its highs; got {ends.tolist()}"
        raise ValueError(msg)
    return ends


def _proved(program, near, alone):
    """The proof of the only critical point in a small box, by the judge; not proved where it may be another one."""
    from hessian.proofs import point

    try:
        ball = point.proved_at(program, near.mean(axis=1))
    except NotProved as error:
        return Proof(str(error))
    if _holds(ball, near) or _inside(ball, alone):
        return Proof("", ball, program)
    return Proof("the proved ball may hold another point than the box")


def _holds(ball: Ball, near: np.ndarray) -> bool:
    """Whether all of a box lies in the ball."""
    return all(
        first < Fraction(low) and Fraction(high) < last
        for (first, last), (low, high) in zip(_sides(ball), near.tolist(), strict=True)
    )


def _inside(ball: Ball, alone: np.ndarray) -> bool:
    """Whether all of the ball lies in a box."""
    return all(
        Fraction(low) <= first and last <= Fraction(high)
        for (first, last), (low, high) in zip(_sides(ball), alone.tolist(), strict=True)
    )


def _sides(ball):
    """The ends of a ball, exactly."""
    middles = [Fraction(m) * Fraction(2) ** e for m, e in ball.center]
    return [(m - Fraction(r), m + Fraction(r)) for m, r in zip(middles, ball.radius, strict=True)]
