"""A number that is taken off before exponentials and put back is left out, and nothing else is: the value stays."""

import itertools

import numpy as np
import pytest

from hessian.proofs.program import Operation
from hessian.proofs.shifts import without_shifts

pytestmark = pytest.mark.full

PAIRS = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}
ONES = {"exp": np.exp, "log": np.log, "abs": np.abs, "neg": np.negative}


def values(operations, x):
    """What each operation makes of the inputs."""
    made = []
    for name, inputs, size, detail in operations:
        given = [made[i] for i in inputs]
        if name == "input":
            made.append(np.asarray(x))
        elif name == "take":
            made.append(np.concatenate(given)[np.asarray(detail, int)])
        elif name == "sum":
            made.append(given[0].reshape(size, *detail).sum(1))
        elif name == "logsumexp":
            made.append(np.log(np.exp(given[0].reshape(size, *detail)).sum(1)))
        else:
            made.append({**PAIRS, **ONES}[name](*given))
        assert made[-1].shape == (size,)
    return made


def program(*rows):
    """Operations on eight inputs, of which the last four are what is taken off."""
    return [Operation("input", (), 8), *(Operation(*row) for row in rows)]


X = range(4)
IDENTITY, PAIRED, CROSSED = [0, 1, 2, 3], [0, 0, 1, 1], [2, 0, 3, 1]


def shifted(repeated=PAIRED, order=IDENTITY, function="exp", difference="sub"):
    """x - c, its exponentials and their sums by pairs, in an order; operations 1 to 6, and c for each sum is 2."""
    return [
        ("take", (0,), 4, X), ("take", (0,), 2, [4, 5]), ("take", (2,), 4, repeated), (difference, (1, 3), 4),
        (function, (4,), 4), ("take", (5,), 4, order), ("sum", (6,), 2, (2,)),
    ]  # fmt: skip


def repeats(order):
    """The c of each entry of x - c, where the sums are of pairs in that order."""
    back = np.empty(4, int)
    back[order] = PAIRED
    return back.tolist()


WHOLE = {  # the operations behind the sums, 7, of programs that are logsumexps
    "added": [("log", (7,), 2), ("add", (8, 2), 2)],
    "added from the left": [("log", (7,), 2), ("add", (2, 8), 2)],
    "of absolute values": [("abs", (7,), 2), ("log", (8,), 2), ("add", (9, 2), 2)],
    "taken off": lambda back: [("log", (7,), 2), ("take", (8,), 4, back), ("sub", (4, 9), 4)],
    "divided": lambda back: [("take", (7,), 4, back), ("div", (5, 8), 4)],
}


@pytest.mark.parametrize("order", [IDENTITY, CROSSED])
@pytest.mark.parametrize("name", WHOLE)
def test_what_is_put_back_is_left_out_and_the_value_stays(name, order):
    back = repeats(order)
    behind = WHOLE[name](back) if callable(WHOLE[name]) else WHOLE[name]
    operations = program(*shifted(back, order), *behind)
    made, places = without_shifts(operations, [0, 4, len(operations) - 1])
    assert sum(one.name == "logsumexp" for one in made) == 1
    assert places[0] == 0 and places[2] == len(made) - 1
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=8)
        before, after = values(operations, x), values(made, x)
        np.testing.assert_allclose(after[-1], before[-1], rtol=1e-13, atol=1e-14)
        np.testing.assert_allclose(after[places[1]], before[4], rtol=1e-13)
        # What was taken off is no part of it any more.
        np.testing.assert_allclose(values(made, [*x[:4], 9, 9, 9, 9])[-1], after[-1], rtol=1e-13)


NEARLY = {  # what is like one of these, and none: nothing is left out
    "c that differs within a sum": (shifted([0, 1, 1, 1]), [("log", (7,), 2), ("add", (8, 2), 2)]),
    "c of other sums": (shifted([1, 1, 0, 0]), [("log", (7,), 2), ("add", (8, 2), 2)]),
    "another number put back": (shifted(), [("take", (0,), 2, [6, 7]), ("log", (7,), 2), ("add", (9, 8), 2)]),
    "c put back elsewhere": (shifted(), [("take", (2,), 2, [1, 0]), ("log", (7,), 2), ("add", (9, 8), 2)]),
    "an exponential twice": (shifted(order=[0, 1, 2, 2]), [("log", (7,), 2), ("add", (8, 2), 2)]),
    "no exponential": (shifted(function="abs"), [("log", (7,), 2), ("add", (8, 2), 2)]),
    "no difference": (shifted(difference="add"), [("log", (7,), 2), ("add", (8, 2), 2)]),
    "exponentials of two kinds": (
        [*shifted(), ("neg", (4,), 4), ("exp", (8,), 4), ("take", (5, 9), 4, [0, 1, 6, 7])],
        [("sum", (10,), 2, (2,)), ("log", (11,), 2), ("add", (12, 2), 2)],
    ),
    "only some exponentials": (
        [*shifted(), ("take", (5,), 2, [0, 1]), ("sum", (8,), 1, (2,)), ("log", (9,), 1)],
        [("take", (2,), 1, [0]), ("add", (10, 11), 1)],
    ),
    "no logarithm": (shifted(), [("exp", (7,), 2), ("add", (8, 2), 2)]),
    "absolute values of no sum": (
        shifted(), [("neg", (7,), 2), ("abs", (8,), 2), ("log", (9,), 2), ("add", (10, 2), 2)],
    ),
    "a quotient by other sums": (shifted(), [("take", (7,), 4, [1, 1, 0, 0]), ("div", (5, 8), 4)]),
    "a quotient by crossed sums": (shifted(), [("take", (7,), 4, [0, 1, 0, 1]), ("div", (5, 8), 4)]),
    "a quotient of what is shifted": (shifted(), [("take", (7,), 4, PAIRED), ("div", (4, 8), 4)]),
    "a difference of exponentials": (shifted(), [("log", (7,), 2), ("take", (8,), 4, PAIRED), ("sub", (5, 9), 4)]),
    "a difference from a sum": (shifted(), [("take", (7,), 4, PAIRED), ("sub", (4, 8), 4)]),
    "a quotient by logarithms": (shifted(), [("log", (7,), 2), ("take", (8,), 4, PAIRED), ("div", (5, 9), 4)]),
    "a difference from two": (
        shifted(), [("log", (7,), 2), ("take", (8, 2), 4, [0, 0, 3, 3]), ("sub", (4, 9), 4)],
    ),
    "a product": (shifted(), [("take", (7,), 4, PAIRED), ("mul", (5, 8), 4)]),
    "another difference": (
        [*shifted(), ("log", (7,), 2), ("take", (8,), 4, PAIRED)],
        [("sub", (1, 3), 4), ("neg", (10,), 4), ("sub", (11, 9), 4)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NEARLY)
def test_what_is_nearly_such_an_expression_stays_as_it_is(name):
    operations = program(*itertools.chain(*NEARLY[name]))
    made, places = without_shifts(operations, list(range(len(operations))))
    assert made == operations and places == list(range(len(operations)))


def test_a_difference_of_its_own_with_the_same_numbers_keeps_its_value():
    """x - c again, beside that of which the exponentials are: it may be known or not, and its value stays."""
    operations = program(
        *shifted(), ("log", (7,), 2), ("take", (8,), 4, PAIRED), ("sub", (1, 3), 4), ("sub", (10, 9), 4)
    )
    made, _ = without_shifts(operations, [])
    x = np.random.default_rng(5).normal(size=8)
    np.testing.assert_allclose(values(made, x)[-1], values(operations, x)[-1], rtol=1e-13)


def test_random_places_never_change_a_value():
    """Every way of repeating c, of ordering the exponentials and of taking the sums back, at random."""
    draw, known = np.random.default_rng(6), 0
    for _ in range(300):
        order = draw.permutation(4) if draw.random() < 0.7 else draw.integers(4, size=4)
        repeated = repeats(order) if draw.random() < 0.6 and len({*order}) == 4 else draw.integers(2, size=4)
        back = repeats(order) if draw.random() < 0.6 and len({*order}) == 4 else draw.integers(2, size=4)
        behind = list(WHOLE.values())[draw.integers(len(WHOLE))]
        behind = behind(list(back)) if callable(behind) else behind
        operations = program(*shifted(list(repeated), list(order)), *behind)
        made, _ = without_shifts(operations, [])
        known += any(one.name == "logsumexp" for one in made)
        x = draw.normal(size=8)
        np.testing.assert_allclose(values(made, x)[-1], values(operations, x)[-1], rtol=1e-12, atol=1e-13)
    assert 30 < known < 270
