"""What a record may say: programs that are as the format says, one entry more or less, and bounds that reach zero."""

import pytest

from hessian.proofs.curvature import Curvature
from hessian.proofs.program import HIGHEST, as_data, from_data
from hessian.proofs.record import Ball, Proof, ball_of, data_of_ball

pytestmark = pytest.mark.full


def data(*rows):
    return [["input", [], 2, [2]], *map(list, rows)]


LAST = ["sum", [1], 1, [2]]
ROWS = {  # operations on two numbers, and whether they are as the format says
    "a sum": (data(["sum", [0], 1, [2]]), True),
    "a sum of one": (data(["sum", [0], 2, [1]], LAST), True),
    "a sum of none": (data(["sum", [0], 2, [0]], LAST), False),
    "a sum of three": (data(["sum", [0], 1, [3]]), False),
    "two numbers at the end": (data(["exp", [0], 2, []]), False),
    "a truth at the end": (data(["take", [0], 1, [0]], ["less", [1, 1], 1, []]), False),
    "the highest power": (data(["power", [0], 2, [HIGHEST]], LAST), True),
    "the lowest power": (data(["power", [0], 2, [-HIGHEST]], LAST), True),
    "a higher power": (data(["power", [0], 2, [HIGHEST + 1]], LAST), False),
    "a lower power": (data(["power", [0], 2, [-HIGHEST - 1]], LAST), False),
    "two powers": (data(["power", [0], 2, [2, 2]], LAST), False),
    "the last place": (data(["take", [0], 1, [1]]), True),
    "a place beyond": (data(["take", [0], 1, [2]]), False),
    "a place before": (data(["take", [0], 1, [-1]]), False),
    "a place too many": (data(["take", [0], 1, [0, 1]]), False),
    "a product": (data(["matmul", [0, 0], 1, [1, 1, 2, 1]]), True),
    "another product": (data(["matmul", [0, 0], 4, [1, 2, 1, 2]], ["sum", [1], 1, [4]]), True),
    "products": (data(["matmul", [0, 0], 2, [2, 1, 1, 1]], LAST), True),
    "a product of another size": (data(["matmul", [0, 0], 2, [1, 2, 1, 2]], LAST), False),
    "a product of no inner number": (data(["matmul", [0, 0], 1, [1, 1, 0, 1]]), False),
    "a product that does not fit": (data(["matmul", [0, 0], 1, [1, 1, 1, 1]]), False),
    "a function of another size": (data(["exp", [0], 1, []]), False),
    "a function with a detail": (data(["exp", [0], 2, [1]], LAST), False),
    "a function of two": (data(["exp", [0, 0], 2, []], LAST), False),
    "a choice": (data(["less", [0, 0], 2, []], ["select", [1, 0, 0], 2, []], ["sum", [2], 1, [2]]), True),
    "a choice by numbers": (data(["select", [0, 0, 0], 2, []], LAST), False),
    "an exponential of truths": (data(["less", [0, 0], 2, []], ["exp", [1], 2, []], ["sum", [2], 1, [2]]), False),
    "a negation of numbers": (data(["not", [0], 2, []], ["select", [1, 0, 0], 2, []], ["sum", [2], 1, [2]]), False),
    "an input of its own": (data(["exp", [1], 2, []], LAST), False),
    "a second input": (data(["input", [], 2, [2]], LAST), False),
    "constants": (data(["constant", [], 2, [(1.0).hex(), (-0.1).hex()]], LAST), True),
    "a constant too few": (data(["constant", [], 2, ["0x1p0"]], LAST), False),
    "an infinite constant": (data(["constant", [], 2, ["0x1p0", "inf"]], LAST), False),
    "no input": ([["constant", [], 1, ["0x1p0"]]], False),
    "no numbers": ([["input", [], 0, [0]], ["constant", [], 1, ["0x1p0"]]], False),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_program_of_a_record_is_as_the_format_says_or_refused(name):
    rows, sound = ROWS[name]
    if sound:
        assert as_data(from_data(rows)) == rows
    else:
        with pytest.raises(ValueError, match=r"must|is not as the format says"):
            from_data(rows)


def test_the_entries_of_a_program_are_counted_with_the_pools_of_what_is_taken():
    rows = data(["exp", [0], 2, []], ["take", [0, 1], 3, [0, 1, 3]], ["sum", [2], 1, [3]])
    counted = 2 + 2 + (3 + 4) + 1
    assert as_data(from_data(rows, counted)) == rows
    with pytest.raises(ValueError, match=f"at most {counted - 1} entries"):
        from_data(rows, counted - 1)


BALL = {"index": 1, "center": [["-5", -1], ["3", 7]], "radius": ["0x1.0p-3", "0x1.8p-2"], "bits": 53, "kernel": "arb"}
CHANGES = [  # of a point, and whether it is still one
    ({}, True),
    ({"index": 0}, True),
    ({"index": 2}, True),
    ({"index": 3}, False),
    ({"index": -1}, False),
    ({"bits": 2}, True),
    ({"bits": 1}, False),
    ({"bits": 4096}, True),
    ({"bits": 4097}, False),
    ({"kernel": "other"}, False),
    ({"radius": ["0x1.0p-3"]}, False),
    ({"radius": ["0x1.0p-3", "0x0.0p+0"]}, False),
    ({"radius": ["0x1.0p-3", "inf"]}, False),
    ({"radius": [], "center": []}, False),
    ({"center": [["9" * 1999, 999_999], ["-" + "9" * 1999, -999_999]]}, True),
    ({"center": [["9" * 2000, 0], ["3", 7]]}, False),
    ({"center": [["3", 10**6], ["3", 7]]}, False),
    ({"center": [["3", -(10**6)], ["3", 7]]}, False),
    ({"center": [["3", 1, 2], ["3", 7]]}, False),
    ({"center": [["--3", 1], ["3", 7]]}, False),
    ({"center": [["", 1], ["3", 7]]}, False),
]


@pytest.mark.parametrize("case", range(len(CHANGES)))
def test_a_ball_of_a_record_has_its_numbers_in_range(case):
    change, sound = CHANGES[case]
    if not sound:
        with pytest.raises(ValueError, match="must be"):
            ball_of({**BALL, **change})
    else:
        made = ball_of({**BALL, **change})
        assert ball_of(data_of_ball(made)) == made
    assert ball_of(BALL) == Ball(((-5, -1), (3, 7)), (0.125, 0.375), 1, 53, "arb")


def test_the_center_of_a_proof_is_the_double_that_its_digits_say_and_parameters_that_are_held_are_counted():
    proof = Proof("", Ball(((3 * 2**200 + 1, -200), (-5, -1)), (0.125, 0.375), 2, 212), None)
    assert proof.center.tolist() == [3.0, -2.5]
    assert (proof.kind, "radii 0.124 to 0.373" in proof.statement, "held" in proof.statement) == (
        "maximum",
        True,
        False,
    )
    for held, words in ((1, "1 other parameter is held"), (2, "2 other parameters are held")):
        assert Proof("", proof.ball, None, frozen=held).statement.endswith(words)


def test_bounds_that_reach_zero_say_nothing_of_minima_or_maxima():
    for low, high, words in (
        (-2.0, -1.0, "no local minimum"),
        (-2.0, 0.0, "either sign"),
        (0.0, 1.0, "either sign"),
        (1.0, 2.0, "no local maximum"),
    ):
        made = Curvature("", low, high)
        assert words in made.statement
        assert "at the point" in made.statement
        assert made.proved == (high < 0)
        assert "0.5 away" in Curvature("", low, high, 0.5).statement
    assert not Curvature("a kink", -2.0, -1.0).proved
