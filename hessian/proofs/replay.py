"""The replay of a record: the statement again, from nothing but the file, in more bits or by another kernel."""

import math
import os
from typing import NamedTuple

from hessian.proofs import curvature, point, record
from hessian.proofs.curvature import Curvature
from hessian.proofs.kernels import adjoint, arb
from hessian.proofs.program import NotProved
from hessian.proofs.record import Proof

BITS = 106  # of Arb, beside the doubles of the kernel that made the bounds
ARB = 10**7  # multiplications of a program that Arb follows along a line; minutes


class Replay(NamedTuple):
    """What a replay found."""

    passed: bool
    said: str  # the statement, or why it does not hold
    by: str = ""  # the kernel and its precision


def read(path: str | os.PathLike[str]) -> Proof | Curvature:
    """The record in a file; ValueError with a sentence for what is none."""
    data = record.data_of(path, [record.FORMAT, curvature.FORMAT])
    return (record if data["format"] == record.FORMAT else curvature).from_data(data)


def replayed(proof: Proof | Curvature, more: int = 2) -> Replay:
    """Whether the statement comes out again from the record alone: in so many times the bits, or by another kernel."""
    if proof.program is None:
        return Replay(False, proof.statement)
    try:
        held, by = _along(proof) if isinstance(proof, Curvature) else _at_a_point(proof, more)
    except NotProved as error:
        return Replay(False, f"not replayed: {error}")
    wrong = "the bounds are wrong" if isinstance(proof, Curvature) else "the ball or the index is wrong"
    return Replay(held, proof.statement if held else f"not replayed: {wrong}", by)


def _at_a_point(proof, more):
    bits = max(more * proof.ball.bits, *(abs(m).bit_length() for m, _ in proof.ball.center))
    return point.holds(proof.program, proof.ball, bits), f"by Arb in {bits} bits"


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
