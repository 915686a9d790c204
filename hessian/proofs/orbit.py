"""What is proved modulo symmetry: the slice across an orbit, with what makes it one, as data.

    xi_i(x) = A_i x + b_i       d fields with xi_i . grad f = 0: the hypothesis
    F(x)    = f(x) + c/2 |Q (x - x0)|^2,      c > 0

Where the matrix xi_i(x) . q_j is invertible, a critical point of F is one of f, on the slice Q (x - x0) = 0:

    0 = xi_i . grad F = c sum_j (xi_i . q_j) (Q (x - x0))_j     =>     Q (x - x0) = 0  and  grad f = 0

and a critical point of f on the slice is one of F.  Space is the sum of the slice's directions and of the fields, along
which H is zero; so H_F has the index of H across the orbit, and is nonsingular where H has no other null vector.

| name | what it is |
|---|---|
| `OrbitSlice` | Q, x0, c and the fields, all exact doubles |
| `OrbitSlice.onto` | the program of F, from that of f |
| `orbit_of` | the same from the data of a record |
"""

import math
from typing import Any, NamedTuple

from hessian.proofs.program import Operation, Program

MOST = 10**6  # numbers in the fields of a record

Entry = tuple[int, int, float]  # row, column and number of [A | b]; column n is that of b


class OrbitSlice(NamedTuple):
    """A slice across an orbit of dimension d, of n parameters."""

    center: tuple[float, ...]  # x0, (n,)
    rows: tuple[tuple[float, ...], ...]  # Q, (d, n)
    weight: float  # c
    fields: tuple[tuple[Entry, ...], ...]  # d of them, the entries that are not zero

    @property
    def dimension(self) -> int:
        """That of the orbit."""
        return len(self.rows)

    @property
    def hypotheses(self) -> list[str]:
        """What is taken for granted."""
        return [f"the loss does not change along the {self.dimension} fields x -> A x + b of the orbit"]

    def onto(self, program: Program) -> Program:
        """The program of F, from that of f."""
        n, d, last = program.inputs, self.dimension, len(program.operations) - 1
        made = list(program.operations)

        def emit(name: str, inputs: tuple[int, ...], size: int, detail: tuple = ()) -> int:
            made.append(Operation(name, inputs, size, detail))
            return len(made) - 1

        center = emit("constant", (), n, self.center)
        apart = emit("sub", (0, center), n)
        matrix = emit("constant", (), d * n, tuple(number for row in self.rows for number in row))
        along = emit("matmul", (matrix, apart), d, (1, d, n, 1))
        squares = emit("square", (along,), d)
        total = emit("sum", (squares,), 1, (d,))
        half = emit("constant", (), 1, (self.weight / 2,))
        penalty = emit("mul", (half, total), 1)
        emit("add", (last, penalty), 1)
        return Program(tuple(made))

    def data(self) -> dict[str, Any]:
        """As JSON has it, doubles in hexadecimal."""
        return {
            "center": [x.hex() for x in self.center],
            "rows": [[x.hex() for x in row] for row in self.rows],
            "weight": self.weight.hex(),
            "fields": [[[i, j, x.hex()] for i, j, x in field] for field in self.fields],
        }


def orbit_of(data: Any, n: int) -> OrbitSlice:
    """The orbit of n parameters in the data of a record; ValueError with a sentence for what is none."""
    try:
        center = tuple(map(_double, data["center"]))
        rows = tuple(tuple(map(_double, row)) for row in data["rows"])
        weight = _double(data["weight"])
        fields = tuple(tuple((i, j, _double(x)) for i, j, x in field) for field in data["fields"])
    except (KeyError, TypeError, ValueError, OverflowError):
        msg = "an orbit must have a center, rows, a weight and fields, of finite doubles in hexadecimal"
        raise ValueError(msg) from None
    whole = all(type(i) is int and type(j) is int for field in fields for i, j, _ in field)
    shaped = len(center) == n and 0 < len(rows) == len(fields) <= n and all(len(row) == n for row in rows)
    few = sum(map(len, fields)) <= MOST
    if not (whole and shaped and few and weight > 0 and weight / 2 > 0):
        msg = "an orbit must have one row and one field for each of its dimensions, and a weight above zero"
        raise ValueError(msg)
    if not all(0 <= i < n and 0 <= j <= n for field in fields for i, j, _ in field):
        msg = "an orbit must have fields of as many rows as there are parameters"
        raise ValueError(msg)
    return OrbitSlice(center, rows, weight, fields)


def _double(text):
    value = float.fromhex(text)
    if not math.isfinite(value):
        raise ValueError
    return value
