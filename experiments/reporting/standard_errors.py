"""How far a number that was drawn lies from its law by chance: the tolerances of checks on what is drawn.

    a mean of n numbers                             sd / n^(1/2)
    the root of a mean of n squares                 that of their mean, over twice the root
    a share p of n                                  (p (1 - p) / n)^(1/2)
    a difference of shares of n and of m            (p (1 - p) (1 / n + 1 / m))^(1/2)
    the variance of n normal numbers, relative      (2 / n)^(1/2)

each times `sigmas`: by chance a number is farther off than four of them once in 16 000 times, than two once in 22.
Where the deviation itself is known from few draws, Student's t says how far 99 of 100 lie.

Whether one is ahead of another, or level with it, is judged on the differences of pairs, such as runs of one seed:
`least_lead` and `most_apart` are what chance leaves of their mean.
"""

from collections.abc import Callable
from typing import Any

import numpy as np


def error_of_mean(values: Any, axis: int | None = None, sigmas: float = 4) -> Any:
    """The standard error of a mean of independent numbers, times `sigmas`.

    >>> round(float(error_of_mean([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0], sigmas=3)), 4)
    2.582
    """
    values = np.asarray(values, float)
    count = values.size if axis is None else values.shape[axis]
    return sigmas * values.std(axis) / np.sqrt(count)


def error_of_root(squares: Any, sigmas: float = 4) -> float:
    """The standard error of a root mean square, times `sigmas`.

    >>> round(error_of_root([1.0, 9.0, 1.0, 9.0], sigmas=1), 4)  # 2 / (2 5^(1/2))
    0.4472
    """
    return float(error_of_mean(squares, sigmas=sigmas) / (2 * np.sqrt(np.mean(squares))))


def error_of_share(share: float, *counts: float, sigmas: float = 4) -> float:
    """The standard error of a share of so many, or of a difference of shares of two counts, times `sigmas`.

    >>> round(error_of_share(0.2, 100), 6), round(error_of_share(0.2, 100, 400, sigmas=2), 6)
    (0.16, 0.089443)
    """
    return float(sigmas * np.sqrt(share * (1 - share) * sum(1 / count for count in counts)))


def error_of_variance(count: float, sigmas: float = 4) -> float:
    """The standard error of a mean square of normal numbers over their variance, times `sigmas`.

    >>> round(error_of_variance(200), 6)
    0.4
    """
    return float(sigmas * np.sqrt(2 / count))


def independent(count: float, kept: float) -> float:
    """How many independent squares those of an autoregression are worth, of which `kept` is kept from one to the next.

    Squares correlate by kept^2, so that a mean of many has (1 + kept^2) / (1 - kept^2) times the variance.

    >>> round(independent(170, 0.6), 9), independent(10, 0.0)
    (80.0, 10.0)
    """
    return count * (1 - kept**2) / (1 + kept**2)


def student_99(freedom: float) -> float:
    """What 99 of 100 of Student's t with so many degrees of freedom stay below, whatever their sign.

    >>> round(student_99(1), 2), round(student_99(1e9), 3)  # of Cauchy's distribution, and of the normal one
    (63.66, 2.576)
    """
    from scipy.stats import t as student  # which takes two seconds to import

    return float(student.ppf(0.995, freedom))


def error_of_few(values: Any, axis: int | None = None) -> Any:
    """The standard error of the mean of a few numbers, times Student's t for 99 of 100.

    >>> round(float(error_of_few([-1.0, 1.0])) / student_99(1), 6)
    1.0
    """
    values = np.asarray(values, float)
    count = values.size if axis is None else values.shape[axis]
    return student_99(count - 1) * values.std(axis, ddof=1) / np.sqrt(count)


def least_lead(values: Any, others: Any = 0.0, error: Callable[..., Any] = error_of_few) -> Any:
    """By how much values are above others in the mean, pair by pair, less what chance may add.

    Args:
        values: of shape (..., draws); of few draws, or uneven ones, a lead may leave less than 0.
        others: what each is paired with, of a shape that broadcasts.
        error: a function of the differences and of their `axis`, to what their mean is off by at most.

    Returns:
        An array of shape (...).

    >>> least_lead([[3.0, 5.0], [1.0, 4.0]], [[1.0, 3.0], [1.0, 1.0]]).round(2).tolist()  # 2, and 1.5 (1 - 63.66)
    [2.0, -93.99]
    """
    differences = np.asarray(values, float) - np.asarray(others, float)
    return differences.mean(-1) - error(differences, axis=-1)


def most_apart(values: Any, others: Any = 0.0, error: Callable[..., Any] = error_of_few) -> Any:
    """How far values and others are apart in the mean, pair by pair, and what chance may hide; see `least_lead`.

    >>> most_apart([[3.0, 5.0], [1.0, 4.0]], [[5.0, 7.0], [1.0, 1.0]]).round(2).tolist()  # 2, and 1.5 (1 + 63.66)
    [2.0, 96.99]
    """
    differences = np.asarray(values, float) - np.asarray(others, float)
    return np.abs(differences.mean(-1)) + error(differences, axis=-1)


def error_of_difference(one: float, other: float, count: int, counted: int) -> float:
    """How far two means of equal law lie apart, by deviations of their numbers and how many: Student's t for 99 of 100.

    >>> round(error_of_difference(3.0, 4.0, 25, 25) / student_99(48), 6)
    1.0
    >>> round(error_of_difference(3.0, 4.0, 9, 4) / student_99(11), 6)  # 5^(1/2)
    2.236068
    """
    return float(student_99(count + counted - 2) * np.hypot(one / np.sqrt(count), other / np.sqrt(counted)))


def error_of_ratio(values: Any, others: Any) -> float:
    """The standard error of the ratio of two means of independent numbers, times four: relative ones add as squares.

    >>> round(error_of_ratio([8.0, 12.0], [1.0, 3.0]) / 4, 6)  # 5 ((1.414 / 10)^2 + (.707 / 2)^2)^(1/2)
    1.903943
    """
    relative = [error_of_mean(part) / np.mean(part) for part in (values, others)]
    return float(np.mean(values) / np.mean(others) * np.hypot(*relative))


def off_the_odds(labels: Any, logits: Any) -> float:
    """How far labels, 0 or 1, lie off the odds of these logits, along the logits, in standard errors.

    The sum of (label - odds) logit is 0 in the mean, its variance the sum of odds (1 - odds) logit^2.

    >>> round(off_the_odds([1.0, 0.0], np.log([3.0, 1 / 3])), 6)  # 1/4 and -1/4 along log 3 and -log 3, 3/16 each
    0.816497
    """
    labels, logits = np.asarray(labels, float), np.asarray(logits, float)
    odds = 1 / (1 + np.exp(-logits))
    return float(abs((labels - odds) @ logits) / np.sqrt((odds * (1 - odds)) @ logits**2))


def error_of_draw(values: Any, axis: int | None = None, of: int = 1) -> Any:
    """How far from the mean of these draws 99 of 100 further ones lie, or means `of` so many, by Student's t.

    >>> [round(float(error_of_draw([-1.0, 1.0], of=n)) / student_99(1), 6) for n in (1, 2)]  # (2 (1 / n + 1 / 2))^(1/2)
    [1.732051, 1.414214]
    """
    values = np.asarray(values, float)
    count = values.size if axis is None else values.shape[axis]
    return student_99(count - 1) * values.std(axis, ddof=1) * np.sqrt(1 / of + 1 / count)


def at_the_others_best(values: Any) -> Any:
    """Of each draw the value where the median of the others is lowest: that choice favors no draw's own luck.

    Args:
        values: of shape (..., choices, draws), such as losses by rate and seed; NaN counts as infinite.

    >>> at_the_others_best([[1.0, 2.0, 9.0], [3.0, 3.0, 3.0]]).tolist()
    [3.0, 3.0, 9.0]
    """
    values = np.nan_to_num(np.asarray(values, float), nan=np.inf, posinf=np.inf, neginf=-np.inf)
    others = [np.median(np.delete(values, draw, -1), -1).argmin(-1) for draw in range(values.shape[-1])]
    return np.take_along_axis(values, np.stack(others, -1)[..., None, :], -2)[..., 0, :]
