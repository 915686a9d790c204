"""Does a proof hold? Its record is replayed from the file alone, in twice the bits, and nothing in it is run."""

import json

import numpy as np

from gdlab.problems import surfaces

from ..cli.settings import Check, InputError
from ..workloads.user_loss import function_of


def main(settings: Check) -> int:
    """Replay the record, say what was checked and what was taken for granted; 0 where it holds, else 1."""
    try:
        from hessian.proofs.replay import read, replayed
    except ImportError:
        raise InputError("check needs python-flint; install it with the extra: pip install 'gdlab[proof]'") from None
    try:
        proof = read(settings.file)
    except ValueError as error:
        raise InputError(f"{settings.file}: {error}") from None
    replay = replayed(proof)
    same = _same(settings.loss, proof) if settings.loss else None
    passed = replay.passed and same is not False
    granted = {
        None: "taken for granted: that the program in the record is the loss that you mean; --loss compares it",
        True: f"checked: the program in the record is that of {settings.loss}",
        False: f"the program in the record is not, operation by operation, that of {settings.loss}",
    }[same]
    if settings.json:
        print(json.dumps({"passed": passed, "said": replay.said, "by": replay.by, "loss": same}))
        return 0 if passed else 1
    print(replay.said)
    if replay.passed and proof.program is not None:
        print(f"checked: {len(proof.program.operations)} operations, {replay.by}, from the file alone")
    print(granted)
    return 0 if passed else 1


def _same(loss, proof):
    """Whether the user's own loss of an array has the program of the record."""
    from hessian.proofs.lowering import lowered
    from hessian.proofs.program import NotProved

    try:
        program, _ = lowered(
            surfaces[loss].loss if loss in surfaces else function_of(loss), np.zeros(proof.program.inputs)
        )
    except NotProved as error:
        raise InputError(f"loss must be made of operations with a rule; got {loss}: {error}") from None
    return program == proof.program
