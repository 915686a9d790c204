"""What a result can be: an ordered list of outcomes, each with a code for arrays and words for people.

    class Kind(Outcome):
        MINIMUM = "minimum"          code 0, words "minimum"
        SADDLE = "saddle"            code 1

Inside `jit` a result holds the code, an int32; outside, its property gives the words.  An outcome is an int, so
`point.code == Kind.SADDLE` compares arrays.

| name | what it is |
|---|---|
| `Outcome` | the base of every enumeration of outcomes |
| `Outcome.code_of` | the code of the first outcome whose condition holds, an int32 array |
| `Outcome.words_of` | the words of a code, or of an array of codes |
| `Outcome.list_words` | the words of all outcomes, in the order of their codes |
| `result` | the decorator of a result: its fields are documented, and its repr is one sentence |
| `digits`, `counts` | numbers and outcomes in such a sentence, of one point or of many |
"""

import linecache
import re
import sys
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np


class Outcome(IntEnum):
    """One of several outcomes: a code, counted from 0 in the order of definition, and words.

    >>> class Answer(Outcome):
    ...     NO = "it does not"
    ...     YES = "it does"
    >>> int(Answer.YES), Answer.YES.words, Answer.words_of(jnp.array([1, 0])).tolist()
    (1, 'it does', ['it does', 'it does not'])
    """

    _words: str

    def __new__(cls, words: str) -> Self:
        """The next outcome, described by these words."""
        outcome = int.__new__(cls, len(cls.__members__))
        outcome._value_ = len(cls.__members__)
        outcome._words = words
        return outcome

    @property
    def words(self) -> str:
        """What it means, in words."""
        return self._words

    @classmethod
    def code_of(cls, cases: Sequence[tuple[jax.Array, Self]], otherwise: Self) -> jax.Array:
        """The code of the first of the (condition, outcome) pairs whose condition holds, int32."""
        conditions, outcomes = zip(*cases, strict=True)
        return jnp.select(list(conditions), [int(outcome) for outcome in outcomes], int(otherwise)).astype(jnp.int32)

    @classmethod
    def words_of(cls, codes: Any) -> Any:
        """The words of a code: a string, or an array of them for an array of codes.  Not inside `jit`."""
        words = np.array(cls.list_words())[np.asarray(codes)]
        return str(words) if words.ndim == 0 else words

    @classmethod
    def list_words(cls) -> tuple[str, ...]:
        """The words of all outcomes."""
        return tuple(outcome.words for outcome in cls)


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
    low, high = f"{np.min(values):.6g}", f"{np.max(values):.6g}"
    return low if low == high else f"{low} to {high}"


def counts(outcome: type[Outcome], codes: Any) -> str:
    """An outcome in words, or how often each came.

    >>> class Answer(Outcome):
    ...     NO = "no"
    ...     YES = "yes"
    >>> counts(Answer, 1), counts(Answer, jnp.array([1, 0, 1]))
    ('yes', '1 no, 2 yes')
    """
    codes = np.asarray(codes)
    if codes.ndim == 0:
        return outcome.words_of(codes)
    return ", ".join(f"{np.sum(codes == one)} {one.words}" for one in outcome if np.any(codes == one))
