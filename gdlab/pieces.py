"""A piece of an optimizer: a frozen dataclass whose fields are its hyperparameters, each declared with its range.

    @piece
    class HeavyBall(Direction):
        decay: ArrayLike = number(CLOSED_SHARE, default=0.9)

    HeavyBall(2)            ValueError: decay must lie in [0, 1]; got 2
    jax.tree.leaves(HeavyBall())    [0.9]

A piece is a pytree: its fields are leaves (or pieces themselves), so one trace serves all values, and `vmap` and `grad`
go through a piece as through any other argument.  What changes the shape of the state or the program is a static field.
A range is declared once, on its field; checks of arguments, `gdlab.tune`, the tests and the docs read it there.

| name | what it is |
|---|---|
| `piece` | the decorator: frozen dataclass, registered pytree, checks on construction, a readable repr |
| `number`, `part`, `static` | declare a field: a hyperparameter, another piece, a part of the structure |
| `NONNEGATIVE`, `POSITIVE`, `SHARE`, `CLOSED_SHARE`, `OPEN_SHARE`, `REAL` | the ranges in use |
| `Number` | the type of a hyperparameter |
| `ranges` | every hyperparameter of a piece: its name (the pytree path), its value, its range |
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, field, fields
from functools import partial
from typing import Any, TypeVar, dataclass_transform

import jax
import numpy as np

from gdlab.arguments import real
from gdlab.ground.callables import as_call
from gdlab.ground.checks import Range, one_of
from gdlab.ground.leaves import shown

NONNEGATIVE = Range(0)
POSITIVE = Range(0, above=True)
CLOSED_SHARE = Range(0, 1)
SHARE = Range(0, 1, open=True)  # a decay b: the weight 1 - b^t of an average must not vanish
OPEN_SHARE = Range(0, 1, open=True, above=True)
REAL = Range(-math.inf)

Number = Any  # a real number or an array of them when given; a float or a floating array once checked
T = TypeVar("T")


def number(allowed: Range, *, default: Any = MISSING, optional: bool = False, kw_only: bool = False) -> Any:
    """A field that is a hyperparameter: a real number in a range, or an array of them.

    Args:
        allowed: the range; `gdlab.tune` moves a number of a range up to 1 in its logit, others in their logarithm.
        default: the value that is meant where none is given.
        optional: whether None may be given; the piece then has one leaf less.
        kw_only: whether it must be given by name.
    """
    check = partial(real, allowed=allowed)

    def check_if_given(name, value):
        return None if value is None else check(name, value)

    return checked(check_if_given if optional else check, default=default, kw_only=kw_only, range=allowed)


def part(kind: type, example: str) -> Any:
    """A field that is another piece, of such a kind."""
    return checked(lambda name, value: one_of(name, value, kind, example))


def static(check: Callable[[str, Any], Any], *, default: Any = MISSING) -> Any:
    """A field that belongs to the structure: it is hashable, and another value makes another trace."""
    return checked(check, default=default, static=True)


def checked(check: Callable[[str, Any], Any], *, default: Any = MISSING, kw_only: bool = False, **about: Any) -> Any:
    """A field whose value `check(name, value)` returns, or refuses with one sentence."""
    return field(default=default, kw_only=kw_only, metadata={"check": check, **about})


class Piece:
    """What all pieces share; `piece` makes a class of this kind a dataclass and a pytree."""

    _checks: tuple[tuple[str, Callable[[str, Any], Any]], ...] = ()
    _leaves: tuple[str, ...] = ()  # names of the fields that are leaves or pieces
    _statics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        values = self.__dict__
        for name, check in self._checks:
            values[name] = check(name, values[name])

    def __repr__(self) -> str:
        named = {name: self.__dict__[name] for name in (*self._leaves, *self._statics)}
        return f"{type(self).__name__}({', '.join(f'{k}={short(v)}' for k, v in named.items() if v is not None)})"


def short(value):
    """A value in a repr: the number of an array that holds one, else its dtype and shape."""
    if isinstance(value, jax.Array | np.ndarray) and not isinstance(value, jax.core.Tracer):
        return repr(value.item()) if value.size == 1 else shown(value)
    if type(value) in (tuple, list) and value:
        return f"({', '.join(map(short, value))})"
    ours = isinstance(getattr(value, "rule", value), Piece)
    return as_call(value) if not ours and (callable(value) or hasattr(value, "update")) else repr(value)


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(number, part, static, checked))
def piece(cls: type[T]) -> type[T]:
    """The class as a frozen dataclass and a pytree of its fields, whose values are checked when one is constructed.

    JAX rebuilds a piece from tracers, axes and None without any check: they stand for values, which are data.
    """
    cls = dataclass(frozen=True, eq=False, repr=False)(cls)  # compared and hashed by identity, as functions are
    own = fields(cls)  # type: ignore[arg-type]
    leaves = tuple(f.name for f in own if not f.metadata.get("static"))
    statics = tuple(f.name for f in own if f.metadata.get("static"))
    cls._leaves, cls._statics = leaves, statics  # type: ignore[attr-defined]
    cls._checks = tuple((f.name, f.metadata["check"]) for f in own if "check" in f.metadata)  # type: ignore[attr-defined]
    keys = tuple(map(jax.tree_util.GetAttrKey, leaves))

    def flatten(one):
        values = one.__dict__
        return [values[name] for name in leaves], tuple([values[name] for name in statics])

    def flatten_with_keys(one):
        children, structure = flatten(one)
        return list(zip(keys, children, strict=True)), structure

    def unflatten(structure, children):
        return rebuilt(cls, children, structure)

    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


def rebuilt(kind: type[T], children: Any, statics: tuple) -> T:
    """A piece of such a class from the values of its fields, unchecked."""
    one = object.__new__(kind)
    one.__dict__.update(zip(kind._leaves, children, strict=True))  # type: ignore[attr-defined]
    if statics:
        one.__dict__.update(zip(kind._statics, statics, strict=True))  # type: ignore[attr-defined]
    return one


def ranges(tree: Any) -> Iterator[tuple[str, Any, Range]]:
    """The name, the value and the range of every hyperparameter of a pytree of pieces, in the order of its leaves.

    A name is the pytree path, such as `direction.decay`.  A leaf that no field declares, as one of a user's schedule,
    may be any number >= 0.
    """
    yield from _ranges(tree, (), NONNEGATIVE)


def _ranges(tree, path, allowed):
    tree = getattr(tree, "rule", tree)  # an optimizer is the pytree of its rule
    if isinstance(tree, Piece):
        for one in fields(tree):  # type: ignore[arg-type]
            if not one.metadata.get("static"):
                key = jax.tree_util.GetAttrKey(one.name)
                yield from _ranges(getattr(tree, one.name), (*path, key), one.metadata.get("range", NONNEGATIVE))
        return
    for inner, leaf in jax.tree_util.tree_leaves_with_path(tree, is_leaf=_compound):
        if _compound(leaf):
            yield from _ranges(leaf, (*path, *inner), NONNEGATIVE)
        else:
            yield jax.tree_util.keystr((*path, *inner), simple=True, separator="."), leaf, allowed


def _compound(one):
    return isinstance(getattr(one, "rule", one), Piece)
