"""Pairs: whether two contestants differ, by exact tests on ranks, and how many runs it takes to see it.

    s  =  sum over the tasks of (rank sum of a  -  rank sum of b),     ranks among the runs of both on that task

It is the probability of improvement on another scale: no unit of a score and no order-preserving change of it matters,
and a run that diverged is a last rank.  Where nothing differs, each pair of runs with one seed may be swapped (paired),
or the runs of a task may be dealt anew (unpaired): the p-value counts those that give at least |s|, all of them by
recursion over the ranks, or by the normal distribution of the same variance where they are too many.

| function | what it returns |
|---|---|
| `p_value` | the probability of a difference as large where there is none |
| `holm` | p-values corrected for their number |
| `power` | the probability of finding an effect |
| `runs_needed` | how many runs find an effect |
| `effect_seen` | the smallest effect that so many runs find |

References: van Elteren 1960; Pitman 1937; Holm 1979; Lehmann 1975 for 3/pi, the efficiency of ranks beside means.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gdlab.comparisons.estimates import Floats
from gdlab.ground.checks import switch, whole
from gdlab.ground.leaves import shown

EXACT = 10**8  # operations of the recursion, above which the normal distribution takes its place
EFFICIENCY = 3 / math.pi  # of ranks beside means, for normal scores
MOST = 10**6  # runs


def p_value(a: Floats, b: Floats, *, paired: bool, one_sided: bool = False) -> float:
    """The probability, where nothing differs, of a rank sum as far from that of the other, in scores (task, run).

    One-sided it is that of `a` being as much lower.
    """
    ranks = twice_the_ranks(np.concatenate([a, b], axis=1))
    first, second = ranks[:, : a.shape[1]], ranks[:, a.shape[1] :]
    if paired:
        lower, upper = _tails_of_swaps((first - second).ravel())
    else:
        lower, upper = _tails_of_deals(first, ranks)
    return min(1.0, lower if one_sided else 2 * min(lower, upper))


def twice_the_ranks(scores: Floats) -> NDArray[np.int64]:
    """Twice the rank of each score in its row, whole also where a tie shares the mean of its ranks.

    >>> twice_the_ranks(np.array([[3.0, 1.0, 1.0]])).tolist()
    [[6, 3, 3]]
    """
    ranks = [np.searchsorted(np.sort(row), row, "left") + np.searchsorted(np.sort(row), row, "right") for row in scores]
    return np.asarray(ranks) + 1


def _tails_of_swaps(differences):
    """P(S <= s) and P(S >= s) for the sum of the differences with random signs."""
    observed, reach = int(differences.sum()), int(np.abs(differences).sum())
    sizes = [int(size) for size in np.abs(differences) if size]
    if len(sizes) * (2 * reach + 1) > EXACT:
        return _normal_tails(observed, sum(size**2 for size in sizes))
    mass = np.ones(1)
    for size in sizes:  # the sum has gone from -k to k in steps of one
        both = np.zeros(len(mass) + 2 * size)
        both[2 * size :] += mass / 2
        both[: len(mass)] += mass / 2
        mass = both
    return _tails(mass, observed + reach)


def _tails_of_deals(first, ranks):
    """P(S <= s) and P(S >= s) for the rank sum of runs that are dealt at random on each task."""
    count, total = first.shape[1], ranks.shape[1]
    observed = int(first.sum())
    if len(ranks) * total * count * int(ranks[0].sum()) > EXACT:
        variance = (ranks.var(axis=1, ddof=1) * count * (total - count) / total).sum()
        return _normal_tails(observed - ranks.mean(axis=1).sum() * count, float(variance))
    mass = np.ones(1)
    for row in ranks:
        mass = np.convolve(mass, _rank_sums(tuple(sorted(row.tolist())), count))
    return _tails(mass, observed)


@functools.lru_cache(maxsize=64)
def _rank_sums(ranks: tuple[int, ...], count: int) -> Floats:
    """The distribution of the sum of `count` of the ranks, all choices alike."""
    ways = np.zeros((count + 1, sum(ranks[-count:]) + 1))
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] = ways[1:, rank:] + ways[:-1, : ways.shape[1] - rank]
    return ways[count] / math.comb(len(ranks), count)


def _tails(mass, place):
    return float(mass[: place + 1].sum()), float(mass[place:].sum())


def _normal_tails(difference, variance):
    from scipy import special

    if not variance:
        return 1.0, 1.0
    upper = float(special.ndtr(-difference / math.sqrt(variance)))
    return 1 - upper, upper


def holm(p_values: Sequence[float]) -> Floats:
    """The p-values times how many are left as they are taken from the lowest up, none below the one before (Holm).

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, float)
    order = np.argsort(values, kind="stable")
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1.0)
    return corrected


def power(effect: float, runs: int, *, tasks: int, pairs: int, alpha: float, paired: bool, one_sided: bool) -> float:
    """The probability that one of `pairs` pairs is found to differ, where it does by `effect` standard deviations.

    The scores are taken as normal, the runs as independent (pairing helps where they are not), and every other pair as
    still to be tested: Holm's first step.
    """
    from scipy import special

    level = alpha / pairs
    least = 2.0 ** -(runs * tasks) if paired else float(math.comb(2 * runs, runs)) ** -tasks
    if least * (1 if one_sided else 2) > level or runs < 2:
        return 0.0
    freedom = tasks * (runs - 1) * (1 if paired else 2)
    shift = effect * math.sqrt(runs * tasks * EFFICIENCY / 2)
    beyond = -special.stdtrit(freedom, level if one_sided else level / 2)
    return float(1 - special.nctdtr(freedom, shift, beyond))


def runs_needed(
    effect: float = 1.0,
    *,
    tasks: int = 1,
    contestants: int = 2,
    paired: bool = True,
    nominee: bool = False,
    confidence: float = 0.95,
    chance: float = 0.9,
) -> int:
    """How many runs of each contestant on each task find a difference between two of them.

    Args:
        effect: the difference, in standard deviations of a run over its seeds, above 0.
        tasks: how many tasks show it.
        contestants: how many are compared, at least 2: each pair with each other, corrected for the number of pairs.
        paired: whether the runs of two contestants share their seeds; the answer holds also where that helps nothing.
        nominee: whether one contestant, chosen before, is compared with the others, and no other pair.
        confidence: one minus the probability that any difference is found where there is none, in (0, 1).
        chance: the probability of finding the effect, in (0, 1).

    Raises:
        ValueError: for an argument out of range, and where it takes more than 10^6 runs.

    >>> runs_needed(1.0), runs_needed(1.0, tasks=10), runs_needed(0.5)
    (25, 3, 90)
    """
    share("effect", effect, 10.0**6)
    tasks, contestants = whole("tasks", tasks), whole("contestants", contestants, 2)
    paired, nominee = switch("paired", paired), switch("nominee", nominee)
    confidence, chance = share("confidence", confidence), share("chance", chance)
    pairs = contestants - 1 if nominee else contestants * (contestants - 1) // 2
    said: dict[str, Any] = {"tasks": tasks, "pairs": pairs, "alpha": 1 - confidence, "paired": paired}
    few, many = 1, 2
    while power(effect, many, one_sided=nominee, **said) < chance:
        if many == MOST:
            msg = f"effect must be one that {MOST} runs can find; got {effect:g}"
            raise ValueError(msg)
        few, many = many, min(2 * many, MOST)
    while many - few > 1:
        middle = (few + many) // 2
        found = power(effect, middle, one_sided=nominee, **said) >= chance
        few, many = (few, middle) if found else (middle, many)
    return many


def effect_seen(
    runs: int, *, tasks: int, pairs: int, alpha: float, paired: bool, one_sided: bool, chance: float
) -> float:
    """The smallest effect that is found with probability `chance`; infinite where no effect can be."""

    def found(effect):
        said: dict[str, Any] = {"alpha": alpha, "paired": paired, "one_sided": one_sided}
        return power(effect, runs, tasks=tasks, pairs=pairs, **said) >= chance

    low, high = 0.0, 1e3
    if not found(high):
        return math.inf
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


def share(name: str, value: Any, high: float = 1.0) -> float:
    """The value as a float, if it is a number between 0 and `high`, without these."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not 0 < value < high:
        msg = f"{name} must be a number above 0 and below {high:g}; got {shown(value)}"
        raise ValueError(msg)
    return float(value)
