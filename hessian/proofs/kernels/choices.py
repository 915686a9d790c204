"""Which entries a result is made of, where select, max and min are decided: a kink elsewhere does not matter."""

from collections.abc import Callable
from typing import Any

import numpy as np

from hessian.proofs.program import TRUTHS, Program


def counted(program: Program, choices: Callable[[int], tuple[np.ndarray, np.ndarray]]) -> list[Any]:
    """Of each operation which entries count, or None where none does.

    Args:
        program: what is computed.
        choices: of a place of select, max or min: which entries may be those of its last two inputs.
    """
    counts: list[Any] = [None] * len(program.operations)
    counts[-1] = np.ones(1, bool)
    for place in range(len(program.operations) - 1, 0, -1):
        operation, mine = program.operations[place], counts[place]
        if mine is None or operation.name in TRUTHS:
            continue
        sizes = [program.operations[i].size for i in operation.inputs]
        for i, theirs in zip(operation.inputs, _theirs(operation, mine, sizes, place, choices), strict=True):
            if theirs is not None and theirs.any():
                counts[i] = theirs if counts[i] is None else counts[i] | theirs
    return counts


def _theirs(operation, mine, sizes, place, choices):
    """Which entries of the inputs count."""
    name, _, _, detail = operation
    if name == "take":
        pool = np.zeros(sum(sizes), bool)
        pool[np.asarray(detail, int)[mine]] = True
        return np.split(pool, np.cumsum(sizes)[:-1])
    if name in ("select", "max", "min"):
        no, yes = (mine & one for one in choices(place))
        return [None, no, yes] if name == "select" else [no, yes]
    if name in ("sum", "logsumexp"):
        return [mine.repeat(detail[0])]
    if name == "matmul":
        batches, m, k, n = detail
        table = mine.reshape(batches, m, n)
        left, right = table.any(2)[:, :, None], table.any(1)[:, None, :]
        return [np.broadcast_to(left, (batches, m, k)).reshape(-1), np.broadcast_to(right, (batches, k, n)).reshape(-1)]
    return [mine] * len(sizes)
