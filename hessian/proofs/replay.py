"""The replay of a record: the statement again, from nothing but the file, in more bits."""

from typing import NamedTuple

from hessian.proofs import point
from hessian.proofs.program import NotProved
from hessian.proofs.record import Proof


class Replay(NamedTuple):
    """What a replay found."""

    passed: bool
    said: str  # the statement, or why it does not hold


def replayed(proof: Proof, more: int = 2) -> Replay:
    """Whether the statement comes out again in so many times the bits, from the record alone."""
    if proof.ball is None or proof.program is None:
        return Replay(False, proof.statement)
    bits = max(more * proof.ball.bits, *(abs(m).bit_length() for m, _ in proof.ball.center))
    try:
        held = point.holds(proof.program, proof.ball, bits)
    except NotProved as error:
        return Replay(False, f"not replayed: {error}")
    return Replay(held, proof.statement if held else "not replayed: the ball or the index is wrong")
