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
| `counts` | outcomes in a sentence, of one point or of many |
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Self

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
