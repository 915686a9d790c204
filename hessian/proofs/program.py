"""Programs: real functions of n numbers as elementary operations on flat vectors, with exact constants.

An operation makes one vector of earlier ones; operation 0 is the vector of the n inputs, the last has one entry.

| name | inputs | detail | entries |
|---|---|---|---|
| `input` | | n | the inputs |
| `constant` | | numbers, exact doubles | these |
| `take` | any number | places | those at these places of the inputs, put one after another |
| `add`, `sub`, `mul`, `div`, `max`, `min` | a, b | | entry by entry |
| `neg`, `exp`, `log`, `sin`, ... of `FUNCTIONS` | a | | entry by entry |
| `power` | a | k, whole | a^k |
| `sum` | a | length | sums of so many neighboring entries |
| `logsumexp` | a | length | the logarithms of the sums of exp of so many neighboring entries |
| `matmul` | a, b | batches, m, k, n | the products of (m, k) and (k, n) matrices, row by row |
| `less`, `equal` | a, b | | whether a < b, a = b: truths |
| `truth` | | truths | these |
| `not`, `and`, `or` | truths | | entry by entry |
| `pick` | truths | places | as `take` |
| `select` | truths, a, b | | b where true, else a |
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

FUNCTIONS = (
    *(
        "neg",
        "square",
        "abs",
        "sign",
        "floor",
        "exp",
        "expm1",
        "log",
        "log1p",
        "sqrt",
        "rsqrt",
        "cbrt",
        "logistic",
        "erf",
    ),
    *("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh"),
)
MOST = 10**8  # entries of a program, and sizes in it
HIGHEST = 9999  # exponent of `power`
PAIRS = ("add", "sub", "mul", "div", "max", "min")
ARITY = {
    **dict.fromkeys(("input", "constant", "truth"), 0),
    **dict.fromkeys((*FUNCTIONS, "power", "sum", "logsumexp", "not"), 1),
    **dict.fromkeys((*PAIRS, "matmul", "less", "equal", "and", "or"), 2),
    "select": 3,
}
TRUTHS = ("truth", "pick", "less", "equal", "not", "and", "or")


class NotProved(ValueError):
    """Why nothing is proved."""


class Refused(NotProved):
    """What cannot be said of a whole ball: a comparison both ways, a pole inside."""


class Operation(NamedTuple):
    """One operation: `inputs` are the numbers of earlier ones, `size` counts its entries."""

    name: str
    inputs: tuple[int, ...]
    size: int
    detail: tuple = ()


class Program(NamedTuple):
    """A real function of `operations[0].size` numbers; its value is the only entry of the last operation."""

    operations: tuple[Operation, ...]

    @property
    def inputs(self) -> int:
        """How many numbers it is a function of."""
        return self.operations[0].size


def last_uses(program: "Program") -> list[list[int]]:
    """The operations that no later one than this needs, for each operation."""
    last = {}
    for place, operation in enumerate(program.operations):
        last[place] = place
        last.update(dict.fromkeys(operation.inputs, place))
    uses: list[list[int]] = [[] for _ in program.operations]
    for place, until in last.items():
        if place < len(program.operations) - 1:
            uses[until].append(place)
    return uses


def pruned(operations: Sequence[Operation], guarded: Sequence[int] = ()) -> Program:
    """The operations that the last one needs, the inputs, and what must have a value all the same."""
    needed, stack = {0}, [len(operations) - 1, *guarded]
    while stack:
        place = stack.pop()
        if place not in needed:
            needed.add(place)
            stack += operations[place].inputs
    order = sorted(needed)
    place_of = {old: new for new, old in enumerate(order)}
    return Program(
        tuple(operations[i]._replace(inputs=tuple(place_of[j] for j in operations[i].inputs)) for i in order)
    )


def as_data(program: Program) -> list[list[Any]]:
    """Lists, words and whole numbers, as JSON has them; a double is written exactly, in hexadecimal.

    >>> as_data(Program((Operation("input", (), 1, (1,)), Operation("power", (0,), 1, (2,)))))
    [['input', [], 1, [1]], ['power', [0], 1, [2]]]
    """
    return [
        [name, list(inputs), size, [number.hex() if isinstance(number, float) else number for number in detail]]
        for name, inputs, size, detail in program.operations
    ]


def from_data(data: Any, entries: int = MOST) -> Program:
    """The program that `as_data` wrote; ValueError with a sentence for anything else.

    Nothing in the data is run: every word is one of the table, every number is checked before it is used.
    """
    operations: list[Operation] = []
    if not isinstance(data, list) or not data:
        _refuse("the program must be a list of operations")
    total = 0
    for place, row in enumerate(data):
        if not (isinstance(row, list) and len(row) == 4 and isinstance(row[0], str)):
            _refuse(f"operation {place} must be a list of name, inputs, size and detail")
        name, inputs, size, detail = row
        if not (isinstance(inputs, list) and all(_whole(i) and i < place for i in inputs)):
            _refuse(f"the inputs of operation {place} must be earlier operations")
        if not (_whole(size) and isinstance(detail, list)):
            _refuse(f"operation {place} must have a size and a list of details")
        total += size + (sum(operations[i].size for i in inputs) if name in ("take", "pick") else 0)
        if total > entries:
            _refuse(f"the program must have at most {entries} entries")
        operation = Operation(name, tuple(inputs), size, tuple(detail))
        if name == "constant":
            operation = operation._replace(detail=tuple(map(_double, detail)))
        _check(place, operation, [operations[i] for i in inputs])
        operations.append(operation)
    if operations[-1].size != 1 or operations[-1].name in TRUTHS:
        _refuse("the last operation must have one number")
    return Program(tuple(operations))


def _check(place, operation, inputs):
    """Raise where an operation is none of the table."""
    name, _, size, detail = operation
    sizes = [one.size for one in inputs]
    wrong = f"operation {place}, {name[:20]!r}, is not as the format says"
    if (name == "input") != (place == 0) or not (name in ("take", "pick") or ARITY.get(name) == len(inputs)):
        _refuse(wrong)
    truths = [one.name in TRUTHS for one in inputs]

    def places():
        pool = sum(sizes)
        return len(detail) == size and all(_whole(one) and one < pool for one in detail)

    def grouped():
        return len(detail) == 1 and _whole(detail[0]) and detail[0] > 0 and sizes == [size * detail[0]]

    fits = {
        "input": lambda: detail == (size,) and size > 0,
        "constant": lambda: len(detail) == size,
        "truth": lambda: len(detail) == size and all(isinstance(one, bool) for one in detail),
        "take": places,
        "pick": places,
        "power": lambda: len(detail) == 1 and type(detail[0]) is int and abs(detail[0]) <= HIGHEST and sizes == [size],
        "sum": grouped,
        "logsumexp": grouped,
        "matmul": lambda: (
            len(detail) == 4
            and all(_whole(one) and 0 < one <= MOST for one in detail)
            and sizes == [detail[0] * detail[1] * detail[2], detail[0] * detail[2] * detail[3]]
            and size == detail[0] * detail[1] * detail[3]
        ),
    }.get(name, lambda: not detail and all(one == size for one in sizes))
    logical = {"select": [True, False, False], **dict.fromkeys(("not", "and", "or", "pick"), [True] * len(inputs))}
    if not fits() or truths != logical.get(name, [False] * len(inputs)):
        _refuse(wrong)


def _whole(value):
    return type(value) is int and value >= 0


def _double(text):
    try:
        value = float.fromhex(text)
    except (TypeError, ValueError, OverflowError):
        _refuse("a constant must be a double in hexadecimal")
    if value - value != 0:
        _refuse("a constant must be finite")
    return value


def _refuse(sentence):
    raise ValueError(sentence)
