"""log, sum and exp with a maximum taken off and put back: the same function without the maximum.

    log(sum(exp(x - c))) + c = logsumexp(x)      (x - c) - log(sum(exp(x - c))) = x - logsumexp(x)
    exp(x - c) / sum(exp(x - c)) = exp(x - logsumexp(x))                      whatever c is, one number for each sum

Softmax and its relatives take c = max(x), which has no derivative where two x are equal, though c matters nowhere.
These are identities of real numbers, so that the program on the left and the one on the right are one function.
"""

from typing import NamedTuple

import numpy as np

from hessian.proofs.program import Operation


class _Sum(NamedTuple):
    """A sum of exp(x - c) by groups of `length`: the x of each term in the order of the sum, and the c of each."""

    shifted: int  # the operation x - c
    order: np.ndarray  # which entry of it each term is
    length: int
    shifts: tuple[np.ndarray, np.ndarray]  # of each group: an operation and the entry of it that c is


def without_shifts(operations: list[Operation], guarded: list[int]) -> tuple[list[Operation], list[int]]:
    """The operations with each such expression in its form without c, and the new places of the guarded ones."""
    made: list[Operation] = []
    place_of: list[int] = []
    known: dict[int, int] = {}  # the logsumexp of a sum

    def emit(name, inputs, size, detail=()):
        made.append(Operation(name, tuple(inputs), size, tuple(detail)))
        return len(made) - 1

    def whole(place, of):
        """The logsumexp that a sum stands for, once."""
        if place not in known:
            x = place_of[operations[of.shifted].inputs[0]]
            terms = emit("take", [x], of.order.size, of.order.tolist())
            known[place] = emit("logsumexp", [terms], of.order.size // of.length, [of.length])
        return known[place]

    def less_whole(place, of):
        """The x less their logsumexp, in the order of x - c."""
        back = np.empty_like(of.order)
        back[of.order] = np.arange(of.order.size) // of.length
        repeated = emit("take", [whole(place, of)], back.size, back.tolist())
        return emit("sub", [place_of[operations[of.shifted].inputs[0]], repeated], back.size)

    for place, operation in enumerate(operations):
        found = _found(operations, place)
        if found is None:
            made.append(operation._replace(inputs=tuple(place_of[i] for i in operation.inputs)))
        elif operation.name == "add":
            emit("take", [whole(*found)], operation.size, range(operation.size))
        elif operation.name == "sub":
            less_whole(*found)
        else:
            emit("exp", [less_whole(*found)], operation.size)
        place_of.append(len(made) - 1)
    return made, [place_of[place] for place in guarded]


def _found(operations, place):
    """The sum that an operation puts its shift back to, or is divided by; None for all others."""
    name, inputs, size, _ = operations[place]
    if name == "add":
        for log, back in (inputs, inputs[::-1]):
            total = _logarithm(operations, log)
            of = None if total is None else _sum_of(operations, total)
            if of is not None and _same(_origins(operations, back), of.shifts):
                return total, of
    if name in ("sub", "div"):
        left, right = operations[inputs[0]], _origins(operations, inputs[1])
        if not (left.name == ("sub" if name == "sub" else "exp") and (right[0] == right[0][0]).all()):
            return None
        total = int(right[0][0]) if name == "div" else _logarithm(operations, int(right[0][0]))
        of = None if total is None else _sum_of(operations, total)
        shifted = inputs[0] if name == "sub" else left.inputs[0]
        if of is None or of.shifted != shifted or of.order.size != size:
            return None
        groups = np.arange(size) // of.length
        if np.array_equal(right[1][of.order], groups):
            return total, of
    return None


def _logarithm(operations, place):
    """The operation whose logarithm this is, or the absolute value of whose; None for all others."""
    if operations[place].name != "log":
        return None
    (inside,) = operations[place].inputs
    return operations[inside].inputs[0] if operations[inside].name == "abs" else inside


def _sum_of(operations, place):
    if operations[place].name != "sum" or not operations[place].size:
        return None
    (length,) = operations[place].detail
    exps, order = _origins(operations, operations[place].inputs[0])
    exp = operations[exps[0]]
    if exp.name != "exp" or not (exps == exps[0]).all() or operations[exp.inputs[0]].name != "sub":
        return None
    shifted = exp.inputs[0]
    if not np.array_equal(np.sort(order), np.arange(exp.size)):
        return None  # not each exp once
    shifts = tuple(one[order].reshape(-1, length) for one in _origins(operations, operations[shifted].inputs[1]))
    if not all((one == one[:, :1]).all() for one in shifts):
        return None  # more than one c in a sum
    return _Sum(shifted, order, length, tuple(one[:, 0] for one in shifts))


def _origins(operations, place):
    """Of each entry the operation and the entry of it that it is a copy of."""
    name, inputs, size, detail = operations[place]
    if name != "take":
        return np.full(size, place), np.arange(size)
    pools = [_origins(operations, one) for one in inputs]
    places = np.asarray(detail, int)
    return tuple(np.concatenate(ends)[places] for ends in zip(*pools, strict=True))


def _same(these, those):
    return all(np.array_equal(one, other) for one, other in zip(these, those, strict=True))
