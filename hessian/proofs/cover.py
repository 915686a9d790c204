"""Covers: how a box was halved until each part was decided, as a text, and where a box is cut.

a, b, ...   the box is cut across its first, second, ... side; its lower and then its upper part follow
.           the box is not cut
"""

import string
from collections.abc import Iterator
from typing import Any

import numpy as np

SPLIT = 0.487  # of a side: halves would put the points of symmetric functions on edges for ever
SIDES = string.ascii_lowercase


def cut(low: Any, high: Any) -> Any:
    """Where a side from low to high is cut: the same double for everyone who asks."""
    return low + SPLIT * (high - low)


def written(cuts: np.ndarray, count: int) -> str:
    """The text of boxes 0 to count - 1; a row of `cuts` names a box, the side it is cut across, and its two parts.

    >>> written(np.array([[0, 1, 1, 2]]), 3)
    'b..'
    """
    words, lower, upper = np.full(count, "."), np.zeros(count, int), np.zeros(count, int)
    names, sides = cuts[:, 0], cuts[:, 1]
    words[names], lower[names], upper[names] = np.array(list(SIDES))[sides], cuts[:, 2], cuts[:, 3]
    text, waiting = [], [0]
    while waiting:
        place = waiting.pop()
        text.append(words[place])
        if words[place] != ".":
            waiting += [int(upper[place]), int(lower[place])]
    return "".join(text)


def leaves(text: str, box: list[tuple[float, float]]) -> Iterator[list[tuple[float, float]]]:
    """The boxes that are not cut, which cover the box; ValueError where the text is no cover of it.

    >>> list(leaves("b..", [(0.0, 1.0), (0.0, 1.0)]))
    [[(0.0, 1.0), (0.0, 0.487)], [(0.0, 1.0), (0.487, 1.0)]]
    """
    waiting = [box]
    for word in text:
        side = SIDES.find(word)
        if not waiting or (word != "." and not 0 <= side < len(box)):
            msg = "the cover is no list of the cuts of a box"
            raise ValueError(msg)
        here = waiting.pop()
        if word == ".":
            yield here
        else:
            low, high = here[side]
            middle = cut(low, high)
            waiting += [[*here[:side], part, *here[side + 1 :]] for part in ((middle, high), (low, middle))]
    if waiting:
        msg = "the cover is no list of the cuts of a box"
        raise ValueError(msg)
