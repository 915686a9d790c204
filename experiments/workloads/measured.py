"""What is measured: programs timed side by side, and the row of a table that a stranger can read.

| name | what it does |
|---|---|
| `in_turns` | seconds of several programs, in turns, so that a noisy machine is noisy to all of them |
| `clocked` | seconds of one call |
| `Row` | a number with its unit, what stands beside it, and the least that the device allows |
| `cells` | the row as texts, under `COLUMNS` |
"""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

COLUMNS = (
    "what",
    "size",
    "measured",
    "beside it",
    "ours is faster by",
    "the device's limit",
    "of the limit",
    "verdict",
)


class Row(NamedTuple):
    """One measured number."""

    what: str
    size: str
    value: float
    unit: str
    beside: str = ""  # what else was measured in the same unit, or what the value must not exceed
    other: float | None = None  # and its number
    limit: float | None = None  # no device of this rate can do it in less
    passed: bool | None = None  # the verdict, where there is one


def cells(row: Row) -> list[str]:
    """The row as texts; of a value and its bound no ratio is shown."""
    timed = row.passed is None
    return [
        row.what,
        row.size,
        f"{digits(row.value)} {row.unit}",
        row.beside if row.other is None else f"{row.beside} {digits(row.other)}",
        f"{row.other / row.value:.2f}" if timed and row.other is not None and row.value else "",
        "" if row.limit is None else digits(row.limit),
        f"{row.limit / row.value:.0%}" if row.limit is not None and row.value else "",
        "" if timed else "passed" if row.passed else "FAILED",
    ]


def digits(value: float) -> str:
    """A number in three digits, or all that it has before the point.

    >>> digits(12345.6), digits(0.012345)
    ('12,346', '0.0123')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def in_turns(contenders: Mapping[str, tuple[Callable[[], Any], int]], rounds: int) -> dict[str, np.ndarray]:
    """The seconds of each contender in each round, over a count of its own; what is short is done again in its turn."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    again = dict.fromkeys(contenders, 1)
    for turn in range(-2, rounds):  # the first turn compiles, the second tells how often
        names = list(contenders)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            act, count = contenders[name]
            seconds = clocked(partial(_repeated, act, again[name])) / again[name]
            if turn == -1:
                again[name] = int(np.clip(0.02 / seconds, 1, 50))
            elif turn >= 0:
                taken[name].append(seconds / count)
    return {name: np.array(seconds) for name, seconds in taken.items()}


def _repeated(act, times):
    return [act() for _ in range(times)][-1]


def clocked(act: Callable[[], Any]) -> float:
    """The seconds that something takes once."""
    begun = time.perf_counter()
    jax.block_until_ready(act())
    return time.perf_counter() - begun
