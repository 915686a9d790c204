"""Statements of JavaScript: what is said twice is said once, and what nobody reads is left out.

An atom is a number or a truth that is known, or the name of a variable; an array of atoms is a NumPy array of objects.
Numbers of float64, int32 and uint32 are JavaScript's numbers, those of float32 are rounded to it after every operation,
whole numbers of 64 bits are BigInts.
"""

import math
from collections import ChainMap
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

KINDS = {"float64", "float32", "int32", "uint32", "int64", "uint64", "bool"}
WRAPS = {
    "float64": "{}",
    "float32": "Math.fround({})",
    "int32": "({})|0",
    "uint32": "({})>>>0",
    "int64": "BigInt.asIntN(64,{})",
    "uint64": "BigInt.asUintN(64,{})",
    "bool": "{}",
}
# What the statements may call; each does what XLA's operation of that name does where JavaScript's own differs.
PRELUDE = """
const V_=new DataView(new ArrayBuffer(8));
const F_={
bits:(x,k)=>(V_.setFloat64(0,x),k?V_.getBigInt64(0):V_.getBigUint64(0)),
real:(u)=>(V_.setBigUint64(0,BigInt.asUintN(64,u)),V_.getFloat64(0)),
bits32:(x,k)=>(V_.setFloat32(0,x),k?V_.getInt32(0):V_.getUint32(0)),
real32:(u)=>(V_.setInt32(0,u|0),V_.getFloat32(0)),
pow:(a,b)=>a===1||(a===-1&&(b===Infinity||b===-Infinity))?1:Math.pow(a,b),
even:(x)=>{const f=Math.floor(x),d=x-f;return d<0.5||(d===0.5&&f%2===0)?f:Math.ceil(x)},
away:(x)=>{const a=Math.abs(x),f=Math.floor(a);return Math.sign(x)*(a-f<0.5?f:Math.ceil(a))},
whole:(x,l,h)=>Number.isNaN(x)?0:Math.min(Math.max(Math.trunc(x),l),h)+0,
big:(x,l,h)=>{if(Number.isNaN(x))return 0n;const t=Math.trunc(x);return t<=Number(l)?l:t>=Number(h)?h:BigInt(t)}};
""".strip()


class Refused(ValueError):
    """What cannot be said in JavaScript here, by its name."""


class Statement(NamedTuple):
    """Lines of code, the variables that they make and those that they read."""

    makes: tuple[str, ...]
    reads: frozenset[str]
    text: str
    plain: bool = True  # one constant


class Script:
    """Statements in blocks; a name that is made in a block is known in the blocks within it."""

    def __init__(self, longest: int):
        self.longest, self.count = longest, 0
        self.block: list[Statement] = []
        self.said: ChainMap[str, str] = ChainMap()

    def name(self) -> str:
        """A new name of a variable."""
        self.count += 1
        if self.count > self.longest:
            msg = f"the program has more than {self.longest} operations"
            raise Refused(msg)
        return "v" + np.base_repr(self.count, 36)  # in capitals, as no word of the language is

    def make(self, text: str, *atoms: Any) -> str:
        """The variable that holds an expression, whose places {} are filled with the atoms."""
        expression = text.format(*map(literal, atoms))
        if expression not in self.said:
            self.said[expression] = made = self.name()
            self.block.append(Statement((made,), names(atoms), f"{made}={expression}"))
        return self.said[expression]

    def within(self, body: Callable[[], Any]) -> tuple[list[Statement], Any]:
        """The statements that a body makes, and what it returns."""
        outside, self.block, self.said = self.block, [], self.said.new_child()
        try:
            made = body()
            return self.block, made
        finally:
            self.block, self.said = outside, self.said.parents


def names(atoms: Iterable[Any]) -> frozenset[str]:
    """The variables among atoms, without what is read of an array."""
    return frozenset(one.split("[")[0] for one in atoms if isinstance(one, str))


def literal(atom: Any) -> str:
    """An atom in JavaScript."""
    if isinstance(atom, str):
        return atom
    if isinstance(atom, bool | np.bool_):
        return "true" if atom else "false"
    if isinstance(atom, Big):
        return f"{int(atom)}n" if atom >= 0 else f"({int(atom)}n)"
    if isinstance(atom, int | np.integer):
        return str(int(atom)) if atom >= 0 else f"({int(atom)})"
    value = float(atom)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "(-Infinity)"
    text = repr(value).removesuffix(".0")
    return f"({text})" if text.startswith("-") else text


class Big(int):
    """A whole number of 64 bits."""


def known(values: Any) -> np.ndarray:
    """An array of known atoms."""
    values = np.asarray(values)
    if values.dtype.name not in KINDS:
        msg = f"{values.dtype.name} has no place here"
        raise Refused(msg)
    flat = values.reshape(-1).tolist()
    kind: Any = Big if values.dtype.name in ("int64", "uint64") else lambda one: one
    return shaped([kind(one) for one in flat], values.shape)


def shaped(atoms: Sequence[Any], shape: Sequence[int]) -> np.ndarray:
    """Atoms as an array."""
    out = np.empty(len(atoms), object)
    out[:] = list(atoms)
    return out.reshape(tuple(shape))


def is_known(atoms: np.ndarray) -> bool:
    """Whether no atom is a variable."""
    return not any(isinstance(one, str) for one in atoms.flat)


def written(block: list[Statement], needed: set[str]) -> str:
    """The statements that make what is needed, in order; `needed` gains what they read."""
    kept = []
    for one in reversed(block):
        if needed.intersection(one.makes):
            needed |= one.reads
            kept.append(one)
    groups = groupby(reversed(kept), key=lambda one: one.plain)
    return "".join(
        f"const {','.join(one.text for one in group)};" if plain else "".join(one.text for one in group)
        for plain, group in groups
    )
