"""Standard errors are what drawn numbers deviate by."""

import numpy as np
import pytest

from experiments.reporting.standard_errors import (
    error_of_difference,
    error_of_draw,
    error_of_mean,
    error_of_ratio,
    error_of_root,
    error_of_share,
    error_of_variance,
    independent,
)

SETS, SIZE = 20_000, 50
DRAWN = np.random.default_rng(0).normal(3.0, 2.0, size=(SETS, SIZE))
KEPT = np.empty_like(DRAWN)  # an autoregression of variance 1 that keeps .6 of each number
KEPT[:, 0] = (DRAWN[:, 0] - 3) / 2
for i in range(1, SIZE):
    KEPT[:, i] = 0.6 * KEPT[:, i - 1] + 0.8 * (DRAWN[:, i] - 3) / 2
SHARES = np.random.default_rng(1).binomial([SIZE, 80], 0.3, size=(SETS, 2)) / np.array([SIZE, 80])
# What deviates from set to set, and its standard error by the formula.
DEVIATIONS = {
    "mean": (DRAWN.mean(1), error_of_mean(DRAWN, axis=1, sigmas=1).mean()),
    "root": (np.sqrt((DRAWN**2).mean(1)), np.mean([error_of_root(row**2, sigmas=1) for row in DRAWN[:2000]])),
    "share": (SHARES[:, 0], error_of_share(0.3, SIZE, sigmas=1)),
    "difference of shares": (SHARES[:, 0] - SHARES[:, 1], error_of_share(0.3, SIZE, 80, sigmas=1)),
    "variance": (((DRAWN - 3) ** 2).mean(1) / 4, error_of_variance(SIZE, sigmas=1)),
    "variance of an autoregression": ((KEPT**2).mean(1), error_of_variance(independent(SIZE, 0.6), sigmas=1)),
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_a_standard_error_is_the_deviation_from_draw_to_draw(name):
    drawn, error = DEVIATIONS[name]
    # The deviation of so many sets is known to 2 %; that within a set of 50 is 1 % too small.
    assert drawn.std() == pytest.approx(error, rel=0.03)


def test_the_ratio_of_two_means_deviates_by_its_error():
    ones, others = DRAWN[::2], DRAWN[1::2, :30]
    ratios = ones.mean(1) / others.mean(1)
    errors = [error_of_ratio(one, other) / 4 for one, other in zip(ones[:1000], others[:1000], strict=True)]
    assert ratios.std() == pytest.approx(np.mean(errors), rel=0.05)  # to first order, of numbers spread by 2 / 3


def test_one_difference_of_two_means_in_a_hundred_is_beyond():
    ones, others = DRAWN[::2, :12], DRAWN[1::2, :20]
    beyond = [
        abs(one.mean() - other.mean()) > error_of_difference(one.std(ddof=1), other.std(ddof=1), 12, 20)
        for one, other in zip(ones[:4000], others[:4000], strict=True)
    ]
    assert np.mean(beyond) == pytest.approx(0.01, abs=error_of_share(0.01, 4000) + 0.003)  # Welch's freedom is less


def test_a_mean_of_a_few_further_draws_is_beyond_once_in_a_hundred():
    beyond = [abs(row[:10].mean() - row[10:13].mean()) > error_of_draw(row[:10], of=3) for row in DRAWN[:4000]]
    assert np.mean(beyond) == pytest.approx(0.01, abs=error_of_share(0.01, 4000))


def test_tolerances_are_four_standard_errors():
    values, squares = DRAWN[0], DRAWN[0] ** 2
    assert error_of_mean(values) == 4 * error_of_mean(values, sigmas=1)
    assert error_of_root(squares) == pytest.approx(4 * error_of_root(squares, sigmas=1))
    assert error_of_share(0.3, 7) == pytest.approx(4 * error_of_share(0.3, 7, sigmas=1))
    assert error_of_variance(7) == pytest.approx(4 * error_of_variance(7, sigmas=1))


@pytest.mark.parametrize("size", [2, 4, 20])
def test_ninety_nine_of_a_hundred_further_draws_lie_within_their_reach(size):
    known, further = DRAWN[:, :size], DRAWN[:, -1]
    inside = np.abs(further - known.mean(1)) < error_of_draw(known, axis=1)
    assert inside.mean() == pytest.approx(0.99, abs=error_of_share(0.99, SETS))
