"""The replay of a record: the statement again, from nothing but the file, in more bits or by another kernel."""

import math
import os
from contextlib import suppress
from typing import NamedTuple

from hessian.proofs import complete, covered, curvature, point, record
from hessian.proofs.complete import CompleteList
from hessian.proofs.curvature import Curvature
from hessian.proofs.kernels import adjoint, arb
from hessian.proofs.program import NotProved
from hessian.proofs.record import MANY, Proof

BITS = 106  # of Arb, beside the doubles of the kernel that made the bounds
ARB = 10**7  # multiplications of a program that Arb follows along a line; minutes


class Replay(NamedTuple):
    """What a replay found."""

    passed: bool
    said: str  # the statement, or why it does not hold
    by: str = ""  # the kernel and its precision


def read(path: str | os.PathLike[str]) -> Proof | Curvature | CompleteList:
    """The record in a file; ValueError with a sentence for what is none."""
    kinds = {one.FORMAT: one for one in (record, curvature, complete)}
    data = record.data_of(path, list(kinds))
    return kinds[data["format"]].from_data(data)


def replayed(proof: Proof | Curvature | CompleteList, more: int = 2) -> Replay:
    """Whether the statement comes out again from the record alone: in so many times the bits, or by another kernel."""
    if proof.program is None:
        return Replay(False, proof.statement)
    try:
        if isinstance(proof, Curvature):
            (held, by), fault = _along(proof), "the bounds are wrong"
        elif isinstance(proof, CompleteList):
            held, by, fault = _of_all(proof, more)
        else:
            (held, by), fault = _at_a_point(proof, more), "the ball or the index is wrong"
            if (
                held
                and proof.orbit is not None
                and proof.ball is not None
                and not point.transverse(proof.orbit, proof.ball, BITS)
            ):
                held, fault = False, "the fields do not lead off the slice"
    except (NotProved, ValueError) as error:
        return Replay(False, f"not replayed: {error}")
    return Replay(held, proof.statement if held else f"not replayed: {fault}", by)


def _of_all(proof, more):
    """Each point, and that there are no others."""
    for one in proof.points:
        if not _at_a_point(one, more)[0]:
            return False, "", "a ball or an index is wrong"
    balls = [one.ball for one in proof.points]
    fault = covered.wrong(proof.program, proof.box, balls, proof.on_edge.tolist(), proof.cover)
    return not fault, f"by Arb in {covered.BITS} bits and more", fault


def _at_a_point(proof, more):
    """The point again by the kernel that did not find it, or by Arb in more bits where only that is enough."""
    ball, many = proof.ball, len(proof.ball.center) > MANY
    if many or ball.kernel == "arb":
        with suppress(NotProved, OverflowError):
            if point.holds_by_rows(proof.across, ball):
                return True, "by balls over arrays" + ("; Arb would take hours" if many else ", the other kernel")
    if many:
        return False, ""
    bits = max(more * ball.bits, *(abs(m).bit_length() for m, _ in ball.center))
    return point.holds(proof.across, ball, bits), f"by Arb in {bits} bits"


def _along(proof):
    """The bounds again: by Arb, or by the kernel that made them where Arb takes hours or encloses a wide box worse."""
    same = "by the kernel that made it"
    work = sum(math.prod(one.detail) if one.name == "matmul" else one.size for one in proof.program.operations)
    if work <= ARB:
        with arb.bits(BITS):
            at = [arb.arb(x, proof.radius) for x in proof.center.tolist()]
            bend = arb.along(proof.program, at, proof.direction.tolist()).hessian[0, 0]
            if bend >= proof.low and bend <= proof.high:
                return True, f"by Arb in {BITS} bits"
            if bend < proof.low or bend > proof.high:
                return False, f"by Arb in {BITS} bits"
            same += f"; Arb in {BITS} bits says {bend.str(10)}"
    low, high = adjoint.curvature(proof.program, proof.center, proof.radius, proof.direction)
    return proof.low <= low and high <= proof.high, same
