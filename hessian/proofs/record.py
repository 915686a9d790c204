"""Records: what is proved, as data, and the replay that trusts nothing but the arithmetic.

A record is JSON: the statement in words, the ball (exact dyadic numbers), the index, and the loss itself as a program
of `hessian.proofs.program`, with every constant.  Reading one runs no code of it.  `replayed` recomputes everything
that the statement rests on, in more bits, from the file alone; it takes one thing for granted, that the program is the
loss that the reader means.
"""

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gdlab.ground.results import Floats, result
from hessian.proofs import program
from hessian.proofs.orbit import OrbitSlice, orbit_of
from hessian.proofs.program import Program, last_uses

FORMAT = "gdlab proof 1"
LONGEST = 2**26  # bytes of a record that is read
WORK = 10**10  # multiplications of a replay, at most
LIVE = 2 * 10**7  # balls that are held at once, at most: about 1 GiB
MANY = 64  # parameters beyond which Hessians are made by rows over arrays, for Arb takes hours
ROWS = 10**12  # multiplications of a replay by rows, at most


class Ball(NamedTuple):
    """Exactly one critical point lies where |x_i - center_i| < radius_i; so many eigenvalues there are negative."""

    center: tuple[tuple[int, int], ...]  # m 2^e, exactly, for each coordinate
    radius: tuple[float, ...]
    index: int  # type: ignore[assignment]
    bits: int
    kernel: str = "arb"  # that found it: `arb`, or `balls` over arrays


@result
@dataclass(frozen=True, repr=False)
class Proof:
    """What is proved of one point, or why nothing is.

    `center` and `radius` are rounded to doubles to be read; the exact ones are in `ball`, and in the record.
    """

    reason: str  # why nothing is proved; "" where it is
    ball: Ball | None = None
    program: Program | None = None
    distance: float = float("nan")  # from the parameters that were asked about to the center
    orbit: OrbitSlice | None = None  # where the proof is modulo symmetries: the slice of which it speaks
    frozen: int = 0  # how many parameters are held where they are: constants of the loss that is spoken of

    @property
    def proved(self) -> bool:
        """Whether there is a proof."""
        return self.ball is not None

    @property
    def index(self) -> int | None:
        """How many eigenvalues of the Hessian are negative, at the critical point and on all of the ball."""
        return None if self.ball is None else self.ball.index

    @property
    def kind(self) -> str:
        """Minimum, maximum or saddle; "not proved" otherwise."""
        if self.ball is None:
            return "not proved"
        return {len(self.ball.center) - self.flat: "maximum", 0: "minimum"}.get(self.ball.index, "saddle")

    @property
    def flat(self) -> int:
        """The dimension of the orbit of critical points; 0 where no symmetry was declared."""
        return 0 if self.orbit is None else self.orbit.dimension

    @property
    def across(self) -> Program | None:
        """The program whose one critical point the ball holds: the loss's, with a penalty along the orbit if any."""
        return self.program if self.orbit is None or self.program is None else self.orbit.onto(self.program)

    @property
    def center(self) -> Floats | None:
        """The middle of the ball, shape (n,)."""
        return None if self.ball is None else np.array([np.ldexp(*_scaled(m, e)) for m, e in self.ball.center])

    @property
    def radius(self) -> Floats | None:
        """The half widths of the ball, shape (n,)."""
        return None if self.ball is None else np.array(self.ball.radius)

    @property
    def statement(self) -> str:
        """The theorem in words."""
        if self.ball is None:
            return f"not proved: {self.reason}"
        low, high = (0.994 * one for one in (min(self.ball.radius), max(self.ball.radius)))  # rounded down below
        if self.orbit is not None:
            return (
                f"proved, given that {self.orbit.hypotheses[0]}: in the box of radii {low:.3g} to {high:.3g} around the"
                " center exactly one critical point lies on the slice across its orbit; close to it the critical points"
                f" are that orbit, of dimension exactly {self.flat}; it is a {self.kind}: of the"
                f" {len(self.ball.center) - self.flat} eigenvalues across it exactly {self.index} are negative, and"
                " none is zero"
            )
        return (
            f"proved: exactly one critical point lies in the box of radii {low:.3g} to {high:.3g} around the center; "
            f"it is a {self.kind}: of the {len(self.ball.center)} eigenvalues of its Hessian exactly {self.index} are "
            "negative, and none is zero"
        ) + (
            f"; {self.frozen:,} other {'parameters are' if self.frozen > 1 else 'parameter is'} held"
            * bool(self.frozen)
        )

    def __repr__(self) -> str:
        return f"Proof: {self}"

    def __str__(self) -> str:
        """The statement."""
        return self.statement

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record, whole or not at all, to a file that must not exist yet.

        Raises:
            ValueError: where nothing is proved.
            FileExistsError: where the file exists.
        """
        if self.ball is None or self.program is None:
            msg = f"a record must hold a proof; got {self.statement}"
            raise ValueError(msg)
        record = {
            "format": FORMAT,
            "statement": self.statement,
            **data_of_ball(self.ball),
            "hypotheses": [] if self.orbit is None else self.orbit.hypotheses,
            "program": program.as_data(self.program),
        }
        if self.orbit is not None:
            record["orbit"] = self.orbit.data()
        save(path, record)


def save(path: str | os.PathLike[str], record: dict[str, Any]) -> None:
    """Write a record, whole or not at all, to a file that must not exist yet."""
    half = Path(path).with_name(f".{Path(path).name}.{os.getpid()}")
    try:
        half.write_text(json.dumps(record), encoding="utf-8")
        os.link(half, path)  # unlike a rename it overwrites nothing
    finally:
        half.unlink(missing_ok=True)


def data_of(path: str | os.PathLike[str], formats: Sequence[str]) -> dict[str, Any]:
    """The data of a record of one of these formats; ValueError with a sentence for what is none."""
    with open(path, "rb") as file:
        text = file.read(LONGEST + 1)
    if len(text) > LONGEST:
        msg = f"a record must have at most {LONGEST} bytes"
        raise ValueError(msg)
    try:
        data = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        msg = f"a record must be JSON; got {str(error)[:100]}"
        raise ValueError(msg) from None
    if not isinstance(data, dict) or data.get("format") not in formats:
        msg = f"a record must have the format {' or '.join(map(repr, formats))}"
        raise ValueError(msg)
    if data.get("hypotheses") != [] and "orbit" not in data:
        msg = "a record must have no hypotheses but that of an orbit: none is known to this version"
        raise ValueError(msg)
    return data


def from_data(data: dict[str, Any]) -> Proof:
    """The record in this data; ValueError with a sentence for what is none."""
    ball = ball_of(data)
    orbit = orbit_of(data["orbit"], len(ball.center)) if "orbit" in data else None
    if orbit is not None and data.get("hypotheses") != orbit.hypotheses:
        _refuse("a record of an orbit must have its hypotheses")
    proof = Proof("", ball, program_of(data, len(ball.center)), orbit=orbit)
    if data.get("statement") != proof.statement:
        msg = f"a record must say what its numbers say, {proof.statement!r}"
        raise ValueError(msg)
    return proof


def data_of_ball(ball: Ball) -> dict[str, Any]:
    """Index, center, radius and bits, exactly, as JSON has them."""
    center = [[str(m), e] for m, e in ball.center]
    radius = [r.hex() for r in ball.radius]
    return {"index": ball.index, "center": center, "radius": radius, "bits": ball.bits, "kernel": ball.kernel}


def ball_of(data: Any) -> Ball:
    """The ball in the data of a point; ValueError with a sentence for what is none."""
    if not isinstance(data, dict):
        _refuse("a point must have a center, a radius, an index and bits")
    fields: list[Any] = [data.get(name) for name in ("center", "radius", "index", "bits")]
    center, radius, index, bits = fields
    if not (isinstance(center, list) and isinstance(radius, list) and 0 < len(center) == len(radius)):
        _refuse("center and radius must be lists of one length")
    if not (_whole(index, len(center)) and _whole(bits, 4096) and bits >= 2):
        _refuse("index and bits must be whole numbers in range")
    if (kernel := data.get("kernel")) not in ("arb", "balls"):
        _refuse("kernel must be arb or balls")
    return Ball(tuple(map(_dyadic, center)), tuple(map(_radius, radius)), index, bits, kernel)


def program_of(data: dict[str, Any], n: int) -> Program:
    """The program of n inputs in a record; ValueError with a sentence for what is none, or too large to be replayed."""
    made = program.from_data(data.get("program"))
    if n != made.inputs:
        _refuse("the program must have as many inputs as the center has coordinates")
    work = sum(math.prod(one.detail) if one.name == "matmul" else one.size for one in made.operations)
    few = work * (n**2 + n + 1) + n**3 <= WORK and _most_entries_at_once(made) * (n**2 + n + 1) <= LIVE
    if not (few if n <= MANY else work * n + n**3 <= ROWS and _most_entries_at_once(made) <= LIVE):
        _refuse("the program is larger than is replayed")
    return made


def _most_entries_at_once(made: Program) -> int:
    """How many entries are held at once, at most, when each is forgotten after its last use."""
    last = last_uses(made)
    held = most = 0
    for place, operation in enumerate(made.operations):
        held += operation.size
        most = max(most, held)
        held -= sum(made.operations[i].size for i in last[place])
    return most


def _dyadic(pair):
    if not (isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) and type(pair[1]) is int):
        _refuse("a coordinate of the center must be a text of digits and an exponent")
    digits = pair[0].removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 2000 and abs(pair[1]) < 10**6):
        _refuse("a coordinate of the center must be a text of digits and an exponent")
    return int(pair[0]), pair[1]


def _radius(text):
    try:
        value = float.fromhex(text)
    except (TypeError, ValueError, OverflowError):
        value = 0.0
    if not 0 < value < float("inf"):
        _refuse("a radius must be a positive double in hexadecimal")
    return value


def _whole(value, most):
    return type(value) is int and 0 <= value <= most


def _scaled(mantissa, exponent):
    """A mantissa that a double can hold, and its exponent."""
    extra = max(abs(mantissa).bit_length() - 60, 0)
    return float(mantissa >> extra), exponent + extra


def _refuse(sentence):
    raise ValueError(sentence)
