"""What a result says of itself: documented fields, and a repr that is one short sentence.

| name | what it is |
|---|---|
| `result` | the decorator of a result: its fields are documented, and its repr is one sentence |
| `digits` | a number in such a sentence, or the range of many |
| `sizes` | how many parameters a pytree holds |
| `Floats`, `Integers`, `Truths`, `Words` | arrays of numpy in a result, of whatever shape |
"""

import linecache
import re
import sys
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gdlab.ground.leaves import is_array, is_floating, parameters, plain

Floats: TypeAlias = NDArray[np.floating]
Integers: TypeAlias = NDArray[np.integer]
Truths: TypeAlias = NDArray[np.bool_]
Words: TypeAlias = NDArray[np.str_]
T = TypeVar("T", bound=type)
FIELD = re.compile(r"^    (\w+): [^#\n]*(?:#\s*type: ignore\S*\s*)?(?:#\s*(.*?)\s*)?$", re.MULTILINE)


def result(cls: T) -> T:
    """The class of a result, whose repr is the sentence of its method `_words`, where it has one.

    Its fields are documented by the comments beside them, where `help` and a notebook look.
    """
    said = {name: words for name, words in _fields(cls) if name in cls.__annotations__ and words}
    for name, words in said.items():
        if issubclass(cls, tuple):
            getattr(cls, name).__doc__ = words
    listed = "\n".join(f"    {name}: {words}" for name, words in said.items())
    cls.__doc__ = f"{cls.__doc__}\n\nAttributes:\n{listed}" if listed else cls.__doc__
    if hasattr(cls, "_words"):
        setattr(cls, "__repr__", _repr_of(getattr(cls, "__repr__")))  # noqa: B009, B010  # a type checker sees no class
    return cls


def _fields(cls):
    """The names of the fields of a class, as its source has them, with the comments beside them."""
    lines = linecache.getlines(sys.modules[cls.__module__].__file__ or "")
    start = next((i for i, line in enumerate(lines) if re.match(rf"class {cls.__name__}\b", line)), len(lines))
    end = next((i for i in range(start + 1, len(lines)) if re.match(r"\S", lines[i])), len(lines))
    return FIELD.findall("".join(lines[start:end]))


def _repr_of(plain: Callable[[Any], str]) -> Callable[[Any], str]:
    """The sentence of a result; the plain one where a field is no number, as within a transformation."""

    def sentence(self):
        try:
            return f"{type(self).__name__}: {self._words()}"
        except (TypeError, ValueError, AttributeError, IndexError):  # a tracer raises a TypeError
            return plain(self)

    return sentence


def digits(value: Any) -> str:
    """A number in a sentence, or the range of many.

    >>> digits(0.1234567), digits(jnp.array([3.0, 1.0]))
    ('0.123457', '1 to 3')
    """
    values = np.asarray(value)
    if values.size == 1:
        return f"{values.item():.6g}"
    low, high = f"{np.nanmin(values):.6g}", f"{np.nanmax(values):.6g}"
    return low if low == high else f"{low} to {high}"


def sizes(tree: Any, lead: int = 0) -> str:
    """How many parameters a pytree holds behind its leading axes, and the shape of their arrays where there are few.

    >>> sizes({"w": jnp.ones((2, 3)), "b": 0.0, "calls": 3})
    '7 parameters of shapes (), (2, 3)'
    """
    wanted, (is_plain, leaves) = parameters(tree)[0], (plain(tree), jax.tree.leaves(tree))
    shapes = [
        jnp.shape(leaf)[lead:]
        for leaf, yes in zip(leaves, wanted, strict=True)
        if yes and is_floating(leaf) and (is_plain or is_array(leaf))
    ]
    total = sum(int(np.prod(shape)) for shape in shapes)
    words = f"{total:,} parameter{'s'[: total != 1]}"
    return f"{words} of shape{'s'[: len(shapes) > 1]} {', '.join(map(str, shapes))}" if len(shapes) <= 3 else words
