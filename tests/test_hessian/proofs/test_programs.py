"""What a record may say: programs that are as the format says, one entry more or less, and bounds that reach zero."""

import json

import pytest

from hessian.proofs import curvature, orbit, record
from hessian.proofs.curvature import Curvature
from hessian.proofs.orbit import orbit_of
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


@pytest.mark.parametrize("given", [None, [], {}, 5, "x", {"input": []}])
def test_what_is_no_list_of_operations_is_no_program(given):
    with pytest.raises(ValueError, match=r"^the program must be a list of operations$"):
        from_data(given)


@pytest.mark.parametrize(
    "row",
    [
        ["exp", [0], 2],
        ["exp", [0], 2, [], 0],
        "exp",
        [3, [0], 2, []],
        ["exp", 0, 2, []],
        ["exp", [0], "2", []],
        ["exp", [0], 2, 0],
    ],
)
def test_an_operation_is_a_name_inputs_a_size_and_details(row):
    with pytest.raises(ValueError, match="operation 1 must"):
        from_data([["input", [], 2, [2]], row, LAST])


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


# Each number is forgotten after its last use: 2, 4, 4, 4 and 3 entries are held, of 2 + 2 + 2 + 2 + 1 that are made.
CHAIN = data(["exp", [0], 2, []], ["sin", [1], 2, []], ["exp", [2], 2, []], ["sum", [3], 1, [2]])
# Held are 2, 2 + 4, 4 + 4, 4 + 4 + 3 and, without the three that nothing needs, 4 + 1; a product multiplies 8 times.
FORKED = data(
    ["take", [0], 4, [0, 1, 0, 1]],
    ["matmul", [1, 1], 4, [1, 2, 2, 2]],
    ["take", [1], 3, [0, 0, 0]],
    ["sum", [2], 1, [4]],
)
HESSIANS = [  # a program of two inputs, its multiplications by hand, and its entries at once
    (CHAIN, 9 * (4 + 2 + 1) + 8, 4 * (4 + 2 + 1)),
    (FORKED, (2 + 4 + 8 + 3 + 1) * (4 + 2 + 1) + 8, 11 * (4 + 2 + 1)),
]


@pytest.mark.parametrize(("rows", "work", "live"), HESSIANS)
def test_a_program_is_replayed_up_to_its_work_and_to_what_is_held_at_once(rows, work, live, monkeypatch):
    def is_replayed(**limits):
        for name, limit in {"WORK": work, "LIVE": live, "MANY": 2, "ROWS": 0, **limits}.items():
            monkeypatch.setattr(record, name, limit)
        try:
            return record.program_of({"program": rows}, 2) == from_data(rows)
        except ValueError as error:
            assert str(error) == "the program is larger than is replayed"
            return False

    assert is_replayed() and not is_replayed(WORK=work - 1) and not is_replayed(LIVE=live - 1)
    # By rows of the Hessian, where there are more parameters, one at a time.
    by_rows, held = (work - 8) // 7 * 2 + 8, live // 7
    limits = {"MANY": 1, "ROWS": by_rows, "WORK": 0, "LIVE": held}
    assert is_replayed(**limits)
    assert not is_replayed(**{**limits, "ROWS": by_rows - 1}) and not is_replayed(**{**limits, "LIVE": held - 1})


def test_a_program_has_as_many_inputs_as_the_center_has_coordinates():
    with pytest.raises(ValueError, match="as many inputs as the center has coordinates"):
        record.program_of({"program": CHAIN}, 3)


def test_a_record_is_read_up_to_its_longest_and_has_a_known_format_and_no_unknown_hypotheses(tmp_path, monkeypatch):
    path = tmp_path / "record.json"

    def read(**data):
        path.write_text(json.dumps(data))
        return record.data_of(path, ["one", "other"])

    sound = {"format": "other", "hypotheses": []}
    monkeypatch.setattr(record, "LONGEST", len(json.dumps(sound)))
    assert read(**sound) == sound
    with pytest.raises(ValueError, match=f"at most {record.LONGEST} bytes"):
        read(**sound, more=1)
    monkeypatch.undo()
    assert read(format="one", hypotheses=["a"], orbit=1)["orbit"] == 1
    for wrong in ({"format": "one"}, {"format": "one", "hypotheses": ["a"]}):
        with pytest.raises(ValueError, match="no hypotheses but that of an orbit"):
            read(**wrong)
    with pytest.raises(ValueError, match="must have the format 'one' or 'other'"):
        read(format="third", hypotheses=[])
    path.write_text("[]")
    with pytest.raises(ValueError, match="must have the format"):
        record.data_of(path, ["one"])
    path.write_text("{")
    with pytest.raises(ValueError, match="a record must be JSON"):
        record.data_of(path, ["one"])


def test_digits_beyond_those_of_a_double_are_cut_and_the_exponent_makes_up_for_them():
    for mantissa in (0, 5, 2**60 - 1, -(2**60) + 1, 2**60, -3 * 2**90, 7 * 2**200):
        scaled, exponent = record._scaled(mantissa, -7)
        assert scaled * 2.0 ** (exponent + 7) == float(mantissa)
    assert record._scaled(2**5000, 0) == (2.0**59, 5000 - 59)


ORBIT = {
    "center": ["0x1p0", "0x0p0"], "rows": [["0x0p0", "0x1p0"]], "weight": "0x1p1",
    "fields": [[[0, 1, "-0x1p0"], [1, 0, "0x1p0"]]],
}  # fmt: skip
LEAST = (5e-324).hex()
ORBITS = [  # changes, and whether it is still an orbit of two parameters
    ({}, True),
    ({"fields": [[[1, 2, "0x1p0"]]]}, True),  # column n is that of b
    ({"fields": [[[1, 3, "0x1p0"]]]}, False),
    ({"fields": [[[2, 0, "0x1p0"]]]}, False),
    ({"fields": [[[-1, 0, "0x1p0"]]]}, False),
    ({"fields": [[[0, -1, "0x1p0"]]]}, False),
    ({"fields": [[[0, 1.0, "0x1p0"]]]}, False),
    ({"fields": [[[True, 1, "0x1p0"]]]}, False),
    ({"fields": [[], []]}, False),
    ({"rows": [], "fields": []}, False),
    ({"rows": [["0x0p0", "0x1p0"]] * 2, "fields": [[], []]}, True),
    ({"rows": [["0x0p0", "0x1p0"]] * 3, "fields": [[], [], []]}, False),
    ({"rows": [["0x0p0"]]}, False),
    ({"center": ["0x1p0"]}, False),
    ({"center": ["0x1p0", "inf"]}, False),
    ({"weight": "0x0p0"}, False),
    ({"weight": "-0x1p1"}, False),
    ({"weight": LEAST}, False),  # half of it is zero
    ({"weight": (1e-323).hex()}, True),
]


@pytest.mark.parametrize("case", range(len(ORBITS)))
def test_an_orbit_of_a_record_has_its_numbers_in_range(case):
    change, sound = ORBITS[case]
    if sound:
        made = orbit_of({**ORBIT, **change}, 2)
        assert orbit_of(made.data(), 2) == made
        assert (made.center, made.dimension) == ((1.0, 0.0), len(made.rows))
    else:
        with pytest.raises(ValueError, match="an orbit must have"):
            orbit_of({**ORBIT, **change}, 2)


def test_the_fields_of_an_orbit_have_so_many_numbers_at_most(monkeypatch):
    monkeypatch.setattr(orbit, "MOST", 2)
    assert orbit_of(ORBIT, 2).fields == (((0, 1, -1.0), (1, 0, 1.0)),)
    with pytest.raises(ValueError, match="one row and one field"):
        orbit_of({**ORBIT, "rows": ORBIT["rows"] * 2, "fields": [ORBIT["fields"][0], [[0, 0, "0x1p0"]]]}, 2)


def tabled(n, products):
    """The program of n inputs that makes a table of n x n of them, one of n^2 x n, and products of that with itself."""
    rows = [["input", [], n, [n]], ["matmul", [0, 0], n**2, [1, n, 1, n]], ["matmul", [1, 0], n**3, [1, n**2, 1, n]]]
    rows += [["matmul", [2, 2], n**2, [1, n, n**2, n]]] * products
    return [*rows, ["sum", [len(rows) - 1], 1, [rows[-1][2]]]]


def is_replayed(rows):
    try:
        return record.program_of({"program": rows}, rows[0][2]) == from_data(rows)
    except ValueError as error:
        assert str(error) == "the program is larger than is replayed"
        return False


def test_a_replay_of_up_to_64_parameters_makes_ten_billion_multiplications_and_holds_twenty_million_balls():
    """Of n = 20 each is made n^2 + n + 1 = 421 times, beside n^3; a product of the table multiplies 160,000 times."""
    products = 148
    assert (20 + 400 + 8000 + 20**4 * products + 1) * 421 + 20**3 < 10**10 < 20**4 * (products + 1) * 421
    assert is_replayed(tabled(20, products)) and not is_replayed(tabled(20, products + 1))
    # A table of 400, as many exponentials of it as are held with it at once, and their sum.
    assert 118 * 400 * 421 < 2 * 10**7 < 119 * 400 * 421
    for tables, sound in ((118, True), (119, False)):
        rows = [["input", [], 20, [20]], ["matmul", [0, 0], 400, [1, 20, 1, 20]]]
        rows += [["exp", [1], 400, []]] * (tables - 1)
        rows += [["add", [2, 3], 400, []]]
        rows += [["add", [len(rows) - 1 + i, 4 + i], 400, []] for i in range(tables - 3)]
        assert is_replayed([*rows, ["sum", [len(rows) - 1], 1, [400]]]) == sound


def test_of_more_parameters_a_row_at_a_time_a_trillion_multiplications():
    """Of n = 65 each of the products multiplies 65^4 times."""
    products = 861
    assert (65 + 65**2 + 65**3 + 65**4 * products + 1) * 65 + 65**3 < 10**12 < 65**4 * (products + 1) * 65
    assert is_replayed(tabled(65, products)) and not is_replayed(tabled(65, products + 1))
    assert not is_replayed(tabled(64, 1))  # for 64 parameters that is too much
    assert is_replayed([*tabled(64, 0)[:2], ["sum", [1], 1, [64**2]]])


def test_a_program_has_a_hundred_million_entries_at_most():
    for size, sound in ((10**8 - 1, True), (10**8, False)):
        rows = [["input", [], size, [size]], ["sum", [0], 1, [size]]]
        if sound:
            assert from_data(rows).inputs == size
        else:
            with pytest.raises(ValueError, match="at most 100000000 entries"):
                from_data(rows)


def test_a_record_has_64_mebibytes_at_most(tmp_path):
    with open(tmp_path / "zeros", "wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(ValueError, match="at most 67108864 bytes"):
        record.data_of(tmp_path / "zeros", ["one"])


CURVED = {  # of w0 + w1 along (1, 1/2)
    "low": "0x0p0", "high": "0x1p0", "radius": "0x0p0", "center": ["0x1p0", "-0x1p0"], "direction": ["0x1p0", "0x1p-1"],
    "program": data(["sum", [0], 1, [2]]),
}  # fmt: skip
CURVATURES = [  # changes, and whether it is still one
    ({}, True),
    ({"high": "0x0p0"}, True),
    ({"high": "-0x1p-1074"}, False),
    ({"radius": "0x1p-9"}, True),
    ({"radius": "-0x1p-1074"}, False),
    ({"radius": ["0x0p0", "0x0p0"]}, False),
    ({"radius": "inf"}, False),
    ({"low": "nan"}, False),
    ({"low": 0.0}, False),
    ({"direction": ["0x0p0", "0x0p0"]}, False),
    ({"direction": ["0x0p0", "0x1p-1074"]}, True),
    ({"direction": ["0x1p0"]}, False),
    ({"center": ["0x1p0"]}, False),
    ({"center": ["0x1p0"] * 3}, False),
    ({"center": ["0x1p0"] * 3, "direction": ["0x1p0"] * 3}, False),
]


@pytest.mark.parametrize("case", range(len(CURVATURES)))
def test_a_curvature_of_a_record_has_its_numbers_in_range_and_says_what_they_say(case):
    change, sound = CURVATURES[case]
    record = {**CURVED, **change}
    if not sound:
        with pytest.raises(ValueError, match=r"finite doubles|a number for each input|low <= high, a radius"):
            curvature.from_data(record)
        return
    with pytest.raises(ValueError, match="must say what its numbers say"):
        curvature.from_data(record)
    low, high, radius = (float.fromhex(record[name]) for name in ("low", "high", "radius"))
    made = curvature.from_data({**record, "statement": Curvature("", low, high, radius).statement})
    assert (made.low, made.high, made.radius, made.center.tolist()) == (low, high, radius, [1.0, -1.0])
