"""Comparisons: estimates beside SciPy's, tests of pairs beside a count of all cases, the whole on planted scores."""

import itertools
import math
import re

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import pytest
import xarray
from scipy import stats

import gdlab
from gdlab.comparisons import estimates, pairs, tuning
from gdlab.comparisons.figures import FIGURES

pytestmark = pytest.mark.full

mpl.use("agg")
NAMES = ["adam", "sgd", "muon"]


def rng(seed=0):
    return np.random.default_rng(seed)


def swept(generator, shifts=(0.0, 0.1, 1.5), runs=16, tasks=2):
    """Scores with a best rate of 10^-1.5, a shift for each contestant, and noise; curves that fall to them."""
    rates = np.geomspace(1e-3, 1, 9)
    valley = (np.log10(rates) + 1.5) ** 2
    noise = generator.normal(size=(len(shifts), tasks, runs, 9)) / 3
    final = np.array(shifts)[:, None, None, None] + valley + noise
    steps = np.arange(0, 100, 10)
    curves = final[..., None] + 3 * (1 - steps / 90)
    labels = {"optimizer": NAMES[: len(shifts)], "lr": rates, "step": steps}
    return xarray.DataArray(curves, dims=("optimizer", "task", "key", "lr", "step"), coords=labels)


# ------------------------------------------------------------------------------------------------------- estimates


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (3, 5), (10, 10), (2, 7)])
def test_the_interquartile_mean_is_the_trimmed_mean_of_scipy(shape):
    scores = rng().standard_cauchy(size=(6, *shape))
    ours = estimates.interquartile_mean(scores, (1, 2))
    np.testing.assert_allclose(ours, stats.trim_mean(scores.reshape(6, -1), 0.25, axis=1), rtol=1e-13)


def test_the_percentile_interval_is_that_of_scipy():
    scores, count = rng(1).normal(size=(4, 9)) + np.arange(4)[:, None], 20_000

    def statistic(*tasks, axis=-1):
        return stats.trim_mean(np.concatenate(tasks, axis=axis), 0.25, axis=axis)

    theirs = stats.bootstrap(tuple(scores), statistic, n_resamples=count, method="percentile", rng=rng(2))
    level = estimates.interval_level(0.95, 4, 9, corrected=False)
    ours = estimates.interval(scores, estimates.resamplings(rng(3), count, 4, 9), level)
    np.testing.assert_allclose(
        ours, theirs.confidence_interval, atol=5 * theirs.standard_error / np.sqrt(0.025 * count)
    )


@pytest.mark.parametrize("kind", ["normal", "cauchy"])
def test_the_corrected_interval_covers_as_often_as_it_says(kind):
    generator, experiments = rng(4), 400
    draw = {"normal": generator.normal, "cauchy": generator.standard_cauchy}[kind]
    level = estimates.interval_level(0.95, 10, 10, corrected=True)
    covered = 0
    for _ in range(experiments):  # the middle of a symmetric distribution is its center
        low, high = estimates.interval(draw(size=(10, 10)), estimates.resamplings(generator, 400, 10, 10), level)
        covered += low <= 0 <= high
    assert abs(covered / experiments - 0.95) <= 3 * math.sqrt(0.95 * 0.05 / experiments)


def test_the_probability_of_improvement_counts_pairs_of_runs():
    a, b = rng(5).integers(0, 4, size=(2, 3, 6)).astype(float)
    won = [(x < y) + (x == y) / 2 for row, other in zip(a, b, strict=True) for x in row for y in other]
    assert estimates.improvement(a, b) == pytest.approx(np.mean(won))
    ones = np.ones((1, 3, 6), int)
    low, high = estimates.improvement_interval(a, b, (ones, ones), 0.1)
    assert low == high == pytest.approx(np.mean(won))


def test_an_interval_ends_at_the_quantile_of_student_widened_for_few_runs_and_of_one_run_at_the_ends():
    assert estimates.interval_level(0.95, 3, 1, corrected=True) == 0
    for tasks, runs in ((1, 2), (3, 2), (4, 7)):
        wide = stats.t.ppf(0.05, tasks * (runs - 1)) * math.sqrt(runs / (runs - 1))
        assert estimates.interval_level(0.9, tasks, runs, corrected=True) == pytest.approx(stats.norm.cdf(wide))
        assert estimates.interval_level(0.9, tasks, runs, corrected=False) == pytest.approx(0.05)


# ------------------------------------------------------------------------------------------------------------ pairs


def test_the_test_of_one_task_is_mann_whitney():
    generator = rng(6)
    for runs in (3, 8, 20):
        a, b = generator.normal(size=(2, 1, runs))
        theirs = stats.mannwhitneyu(a[0], b[0] + 0.7, method="exact").pvalue
        assert pairs.p_value(a, b + 0.7, paired=False) == pytest.approx(theirs, rel=1e-10)


def test_p_values_count_all_deals_and_all_swaps_ties_included():
    a, b = rng(7).integers(0, 5, size=(2, 2, 4)).astype(float)
    ranks = np.stack([stats.rankdata(row) for row in np.concatenate([a, b], axis=1)])
    observed = ranks[:, :4].sum()
    choices = list(itertools.combinations(range(8), 4))
    deals = [ranks[0, list(one)].sum() + ranks[1, list(two)].sum() for one in choices for two in choices]
    swaps = [
        np.where(sign, ranks[:, :4].ravel(), ranks[:, 4:].ravel()).sum() for sign in itertools.product([0, 1], repeat=8)
    ]
    for paired, sums in ((False, deals), (True, swaps)):
        lower, upper = np.mean(np.array(sums) <= observed), np.mean(np.array(sums) >= observed)
        assert pairs.p_value(a, b, paired=paired) == pytest.approx(min(1, 2 * min(lower, upper)))
        assert pairs.p_value(a, b, paired=paired, one_sided=True) == pytest.approx(lower)


@pytest.mark.parametrize("tied", [False, True])
def test_where_runs_are_many_the_tests_are_those_of_the_normal_distribution(tied, monkeypatch):
    monkeypatch.setattr(pairs, "EXACT", 0)
    a, b = rng(8).normal(size=(2, 3, 12))
    a, b = (np.round(a), np.round(b + 0.4)) if tied else (a, b + 0.4)
    for side, one_sided in (("two-sided", False), ("less", True)):
        theirs = stats.mannwhitneyu(a[0], b[0], alternative=side, method="asymptotic", use_continuity=False).pvalue
        assert pairs.p_value(a[:1], b[:1], paired=False, one_sided=one_sided) == pytest.approx(theirs, rel=1e-10)
    ranks = np.stack([stats.rankdata(row) for row in np.concatenate([a, b], axis=1)])
    swaps = ranks[:, :12] - ranks[:, 12:]
    dealt = (ranks[:, :12].sum() - ranks.sum() / 2) / np.sqrt(ranks.var(axis=1, ddof=1).sum() * 12 * 12 / 24)
    for paired, z in ((False, dealt), (True, swaps.sum() / np.sqrt((swaps**2).sum()))):
        assert pairs.p_value(a, b, paired=paired, one_sided=True) == pytest.approx(stats.norm.cdf(z), rel=1e-10)
        assert pairs.p_value(a, b, paired=paired) == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-10)
        assert pairs.p_value(a, a, paired=paired) == 1
        assert pairs.p_value(np.ones((2, 5)), np.ones((2, 5)), paired=paired, one_sided=True) == 1


@pytest.mark.parametrize("paired", [True, False])
def test_the_normal_distribution_takes_over_smoothly(paired, monkeypatch):
    a, b = rng(8).normal(size=(2, 3, 30))
    exact = pairs.p_value(a, b + 0.2, paired=paired)
    monkeypatch.setattr(pairs, "EXACT", 0)
    assert pairs.p_value(a, b + 0.2, paired=paired) == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("tasks", [1, 3])
def test_nothing_is_seldom_found_and_the_stated_effect_is_mostly_found_with_the_runs_asked_for(paired, tasks):
    generator, runs = rng(9), gdlab.runs_needed(1.0, tasks=tasks, paired=paired)
    a, b = generator.normal(size=(2, 300, tasks, runs))
    null = np.mean([pairs.p_value(x, y, paired=paired) <= 0.05 for x, y in zip(a, b, strict=True)])
    found = np.mean([pairs.p_value(x, y + 1, paired=paired) <= 0.05 for x, y in zip(a, b, strict=True)])
    assert null <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert found >= 0.9 - 3 * math.sqrt(0.9 * 0.1 / 300)


def test_the_correction_is_holms():
    p = rng(10).uniform(size=9) ** 3
    ordered = np.sort(p)
    wanted = {value: max(min(1, (9 - j) * ordered[j]) for j in range(i + 1)) for i, value in enumerate(ordered)}
    np.testing.assert_allclose(pairs.holm(p), [wanted[value] for value in p])


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("tasks", [1, 2, 4])
def test_an_effect_that_cannot_be_missed_needs_as_many_runs_as_a_test_has_to_say(paired, tasks):
    for nominee, contestants in itertools.product([False, True], [2, 6]):
        level = 0.05 / (contestants - 1 if nominee else math.comb(contestants, 2))
        apart = lambda runs: (np.ones((tasks, 1)) * np.arange(runs), np.ones((tasks, 1)) * np.arange(runs) + runs)  # noqa: E731
        least = next(n for n in range(2, 99) if pairs.p_value(*apart(n), paired=paired, one_sided=nominee) <= level)
        said = {"tasks": tasks, "paired": paired, "nominee": nominee, "contestants": contestants}
        assert gdlab.runs_needed(1e3, **said) == least
        never = {"alpha": level, "pairs": 1, "one_sided": nominee, "chance": 0.9}
        assert pairs.effect_seen(least - 1, tasks=tasks, paired=paired, **never) == math.inf
        assert pairs.effect_seen(least, tasks=tasks, paired=paired, **never) < 50


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("one_sided", [True, False])
def test_the_power_is_that_of_students_test_with_the_efficiency_of_ranks(paired, one_sided):
    for tasks, runs, count in ((1, 9, 1), (3, 5, 4)):
        freedom = tasks * (runs - 1) if paired else tasks * (2 * runs - 2)
        shift = 0.8 / math.sqrt(2 / runs) * math.sqrt(tasks * 3 / math.pi)
        beyond = stats.t.isf(0.05 / count / (1 if one_sided else 2), freedom)
        said = {"tasks": tasks, "pairs": count, "alpha": 0.05, "paired": paired, "one_sided": one_sided}
        assert pairs.power(0.8, runs, **said) == pytest.approx(stats.nct.sf(beyond, freedom, shift), rel=1e-6)


@pytest.mark.parametrize(("contestants", "nominee"), [(2, None), (4, None), (4, "1")])
def test_the_effect_that_is_seen_is_the_least_that_needs_no_more_runs(contestants, nominee):
    scores = {str(i): rng(i).normal(size=(2, 12)) for i in range(contestants)}
    said = gdlab.compare(scores, nominee=nominee, effect=0.7, confidence=0.9, chance=0.8, resamples=10).results.attrs
    usual = gdlab.compare(scores, nominee=nominee, resamples=10).results.attrs
    assert (usual["effect"], usual["chance"], usual["confidence"]) == (1.0, 0.9, 0.95)
    how = {"tasks": 2, "contestants": contestants, "nominee": nominee is not None, "confidence": 0.9, "chance": 0.8}
    assert said["runs_needed"] == gdlab.runs_needed(0.7, **how)
    seen = said["effect_seen"]
    assert (gdlab.runs_needed(seen * (1 + 1e-9), **how), gdlab.runs_needed(seen * (1 - 1e-9), **how)) == (12, 13)


def test_an_effect_may_need_up_to_a_million_runs():
    """Of so many runs Student's distribution is normal: n = 2 (z_.975 + z_.9)^2 pi / (3 effect^2)."""
    for runs in (600_000, 990_000):
        effect = (stats.norm.isf(0.025) + stats.norm.isf(0.1)) * math.sqrt(2 * math.pi / 3 / runs)
        assert gdlab.runs_needed(effect) == pytest.approx(runs, rel=1e-4)
    with pytest.raises(ValueError, match=r"effect must be one that 1000000 runs can find; got 0\.0046"):
        gdlab.runs_needed(0.0046)


def test_more_contestants_smaller_effects_and_fewer_tasks_need_more_runs():
    assert gdlab.runs_needed(contestants=12) > gdlab.runs_needed(contestants=12, nominee=True) > gdlab.runs_needed()
    assert gdlab.runs_needed(0.5) > gdlab.runs_needed(1.0) > gdlab.runs_needed(1.0, tasks=4)
    assert gdlab.runs_needed() == gdlab.runs_needed(1.0, tasks=1, contestants=2, confidence=0.95, chance=0.9)


# --------------------------------------------------------------------------------------------------------- the whole


def test_a_pair_that_the_runs_do_not_separate_is_not_ranked():
    found = gdlab.compare(swept(rng(11)))
    assert found.better("adam", "muon") is True
    assert found.better("muon", "sgd") is False
    assert found.better("adam", "sgd") is None
    assert found.results["rank"].values.tolist() == [[1, 2], [1, 2], [3, 3]]
    assert "2 of 3 tested pairs are separated; the other pairs are not ranked" in str(found)


def test_the_table_says_of_each_contestant_where_it_stands_and_what_is_open():
    scores = {"worst": np.arange(8.0) + 20, "best": np.arange(8.0), "same": np.arange(8.0)[::-1].copy()}
    scores |= {"last": np.arange(8.0) + 40}
    lines = gdlab.compare(scores, paired=False).table().splitlines()
    assert lines[0].startswith("4 contestants, 1 task, 8 judging runs each; lower is better; 95% corrected intervals")
    cells = [re.split(r" {2,}", line) for line in lines[1:6]]
    assert [[row[0], row[1], row[2], *row[4:]] for row in cells[1:]] == [
        ["1-2", "best", "3.5", "worst, last", "same"],
        ["1-2", "same", "3.5", "worst, last", "best"],
        ["3", "worst", "23.5", "last"],
        ["4", "last", "43.5"],
    ]
    assert lines[6].startswith("5 of 6 tested pairs are separated; the other pairs are not ranked")
    one = gdlab.compare({"a": np.arange(8.0), "b": np.arange(8.0) + 9}, nominee="a").table()
    assert "1 of 1 tested pairs are separated.\nOnly whether a is better than each other one was tested." in one


def test_many_names_are_counted_beyond_the_twelfth():
    same = {str(i): np.arange(6.0) for i in range(15)}
    rows = gdlab.compare(same, resamples=10).table().splitlines()[2:17]
    assert all(row.endswith(" and 2 others") and row.count(",") == 11 for row in rows)
    assert gdlab.compare(dict(list(same.items())[:13]), resamples=10).table().splitlines()[2].endswith("10, 11, 12")


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_a_profile_is_the_share_of_runs_as_good_as_a_value(better):
    scores = rng(18).normal(size=(2, 3, 5)) + np.array([0.0, 1.0])[:, None, None]
    found = gdlab.compare(dict(zip("ab", scores, strict=True)), better=better, resamples=300).results
    for name, of in zip("ab", scores, strict=True):
        for value, share, (low, high) in zip(
            found["value"].values,
            found["profile"].sel(optimizer=name).values,
            found["profile_interval"].sel(optimizer=name).values.T,
            strict=True,
        ):
            assert share == (of <= value if better == "lower" else of >= value).mean()
            assert low <= share <= high
    assert {scores.min(), scores.max()} <= {*found["value"].values}
    assert len(found["value"]) <= 100


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_of_one_task_the_mean_over_all_tasks_is_the_task_s(better):
    scores = {name: rng(i).normal(size=9) for i, name in enumerate(NAMES)}
    found = gdlab.compare(scores, better=better).results
    np.testing.assert_array_equal(found["iqm"], found["task_iqm"][:, 0])
    np.testing.assert_array_equal(found["iqm_interval"], found["task_iqm_interval"][:, 0])
    ends = found["iqm_interval"].values
    assert (ends[:, 0] < found["iqm"]).all() and (found["iqm"] < ends[:, 1]).all()


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_ranks_count_the_runs_of_all_contestants_on_a_task(better):
    scores = rng(19).integers(0, 6, size=(3, 2, 5)).astype(float)
    found = gdlab.compare(dict(zip(NAMES, scores, strict=True)), better=better, normalize="ranks", resamples=10)
    sign = 1 if better == "lower" else -1
    for i in range(2):
        ranks = stats.rankdata(sign * scores[:, i]).reshape(3, 5)
        np.testing.assert_allclose(found.results["score"][:, i], (ranks - 1) / 14, rtol=1e-15)
    assert "rank from 0 to 1; lower is better" in str(found)
    places = np.argsort(found.results["iqm"].values)
    assert [line.split()[1] for line in str(found).splitlines()[2:5]] == [NAMES[i] for i in places]


def test_settings_are_chosen_by_runs_that_do_not_judge():
    generator = rng(12)
    noise = xarray.DataArray(generator.normal(size=(2, 40, 8, 30)), dims=("optimizer", "task", "run", "lr"))
    found = gdlab.compare(noise, resamples=10)  # no setting is better than another: an honest score is near 0
    assert abs(found.results["score"].values.mean()) < 4 / math.sqrt(2 * 40 * 4)
    assert noise.median("run").min("lr").values.mean() < -0.5  # the winner's curse
    assert found.results["run"].values.tolist() == [4, 5, 6, 7]


def test_one_run_may_choose_the_settings_or_all_but_two_and_no_one_is_better_than_itself():
    data = swept(rng(22), runs=6)
    for chosen in (1, 4):
        found = gdlab.compare(data, tuning_runs=chosen, resamples=10).results
        assert found["key"].values.tolist() == list(range(chosen, 6))
        assert np.diag(found["improvement"]).tolist() == [0.5] * 3
    for refused in (0, 5):
        with pytest.raises(ValueError, match="tuning_runs must be a whole number, from 1 to 4"):
            gdlab.compare(data, tuning_runs=refused)


def test_units_and_order_preserving_changes_change_no_verdict_and_a_run_that_is_no_number_is_the_worst():
    scores = rng(13).normal(size=(3, 4, 6)) + np.array([0.0, 0.5, 2.0])[:, None, None]
    as_given = gdlab.compare(dict(zip(NAMES, scores, strict=True)), resamples=10).results
    changed = dict(zip(NAMES, np.exp(scores) * 10.0 ** np.arange(4)[:, None], strict=True))
    changed["muon"][0, 0] = np.nan
    scores[2, 0, 0] = np.inf
    again = gdlab.compare(changed, resamples=10).results
    np.testing.assert_array_equal(gdlab.compare(dict(zip(NAMES, scores, strict=True))).results.p_value, again.p_value)
    assert (as_given["separated"] == again["separated"]).all()
    higher = gdlab.compare(dict(zip(NAMES, -scores, strict=True)), resamples=10, better="higher").results
    np.testing.assert_array_equal(higher.p_value, again.p_value)
    np.testing.assert_allclose(higher.iqm, -gdlab.compare(dict(zip(NAMES, scores, strict=True))).results.iqm)


@pytest.mark.parametrize("better", ["lower", "higher"])
@pytest.mark.parametrize("worst", [np.nan, np.inf, -np.inf])
def test_a_run_that_is_not_finite_is_the_worst_whatever_its_sign(better, worst):
    curves = rng(17).normal(size=(2, 6, 3)) + np.array([0.0, 9.0])[:, None, None]
    curves[0, 0, 1:] = worst
    data = xarray.DataArray(curves, dims=("optimizer", "run", "step"), coords={"step": [0, 5, 10]})
    sign = 1 if better == "lower" else -1
    found = gdlab.compare(sign * data, better=better, target=-sign * 8.0, resamples=10).results
    last = np.where(np.isfinite(curves[..., -1]), curves[..., -1], np.inf)
    wins = (last[0][:, None] < last[1]) + 0.5 * (last[0][:, None] == last[1])
    assert float(found["improvement"][0, 1]) == wins.mean()
    assert np.isinf(found["steps"].values).all()
    np.testing.assert_allclose(found["iqm"], sign * np.sort(last, axis=1)[:, 1:5].mean(axis=1))


def test_a_run_that_ended_early_has_the_last_loss_that_it_recorded_and_one_that_diverged_none():
    rates = {"fast": 0.3, "slow": 0.001, "diverging": 1e200}

    def runs(optimizer, start):
        bowl = lambda x: jnp.sum(x * x)  # noqa: E731
        return gdlab.minimize(bowl, gdlab.gd(optimizer), jnp.full(2, start), 30, tolerance=1e-3, every=2)

    swept = gdlab.sweep(runs, optimizer=rates, start=jnp.arange(1.0, 5.0))
    found = gdlab.compare(swept, score="history.loss", target=1e-2, resamples=10).results
    for name, ended in (("fast", "small gradient"), ("slow", "steps")):
        for start in range(1, 5):
            alone = runs(rates[name], float(start))
            losses = np.asarray(alone.history["loss"])
            assert alone.why == ended
            last = losses[~np.isnan(losses)][-1]
            np.testing.assert_allclose(found["score"].sel(optimizer=name, start=start), last, rtol=1e-12)
    assert np.isinf(found["score"].sel(optimizer="diverging")).all()
    assert (found["steps"].sel(optimizer="fast") < 30).all()
    assert np.isinf(found["steps"].sel(optimizer=["slow", "diverging"])).all()


def test_a_nominee_is_compared_with_the_others_alone_and_needs_fewer_runs():
    scores = {name: rng(i).normal(size=5) + 9 * i for i, name in enumerate("abcdefghijkl")}
    every = gdlab.compare(scores, paired=False)
    chosen = gdlab.compare(scores, paired=False, nominee="a")
    assert not every.results["separated"].any()  # five runs cannot separate 66 pairs
    assert math.isinf(every.results.attrs["effect_seen"])
    assert chosen.results["separated"].sel(optimizer="a").sum() == 11
    assert np.isnan(chosen.results["p_value"].sel(optimizer="b", other="c"))


def test_a_best_value_at_the_edge_is_reported_and_a_band_is_as_wide_as_it_is():
    rates = np.geomspace(1e-2, 1e2, 401)
    inside, edge = 1 + np.log10(rates) ** 2, 2 + np.log10(rates)
    data = xarray.DataArray(
        np.broadcast_to(np.stack([inside, edge])[:, None], (2, 4, 401)),
        dims=("optimizer", "seed", "lr"),
        coords={"optimizer": ["in", "edge"], "lr": rates},
    )
    results = gdlab.compare(data, resamples=10).results
    assert results["lr_at_edge"].values.tolist() == [[False], [True]]
    assert results["best_lr"].values[:, 0] == pytest.approx([1.0, 1e-2])
    few = gdlab.compare(data.isel(lr=[100, 300]), resamples=10).results  # an axis of two values has its edges as well
    assert few["lr_at_edge"].all()
    assert few["lr_width"].values[:, 0] == pytest.approx([2, 0.05])
    assert not {"lr_at_edge", "lr_width"} & set(gdlab.compare(data.isel(lr=[200]), resamples=10).results)
    assert results["lr_width"].values[0, 0] == pytest.approx(2 * math.sqrt(0.05), rel=1e-3)
    assert results["lr_open"].values.tolist() == [[False], [True]]
    assert "at an end of its grid for edge" in gdlab.compare(data).table()


def test_the_band_is_measured_along_straight_lines_in_the_units_of_an_axis_that_is_not_positive():
    labels = {"optimizer": ["a", "b", "c"], "shift": [4.0, -2.0, 0.0, 1.0], "run": range(4)}
    curves = np.array([[9.0, 3.0, 2.0, 4.0], [np.inf, 1.0, -2.0, -1.95], [np.inf] * 4])  # at the shifts as they stand
    data = xarray.DataArray(np.repeat(curves[..., None], 4, -1), dims=("optimizer", "shift", "run"), coords=labels)
    found = gdlab.compare(data, resamples=10).results
    # 0.1 above 2, and above -2: lines of slope -1/2 and 2; of slope -3/2, and to 1, where infinity comes next.
    widths = found["shift_width"].values[:, 0]
    assert widths[:2] == pytest.approx([0.1 / 0.5 + 0.1 / 2, 0.1 / 1.5 + 1])
    assert np.isnan(widths[2])
    assert not found["shift_open"].any()
    assert not found["shift_at_edge"].any()
    assert found["shift_blind"].values[:2, 0].tolist() == [1.5, 1.525]


def test_the_budget_curve_is_the_median_over_all_choices_of_settings():
    scores = rng(14).normal(size=(1, 1, 6, 7))
    data = xarray.DataArray(scores, dims=("optimizer", "task", "run", "lr"))
    first, rest = data.isel(run=slice(3)), data.isel(run=slice(3, 6))
    tries, curve = tuning.budget_curve(first, rest)
    by, true = np.median(scores[0, 0, :3], axis=0), np.median(scores[0, 0, 3:], axis=0)
    for tried, value in zip(tries, curve[0, 0], strict=True):
        outcomes = sorted(true[min(kept, key=by.__getitem__)] for kept in itertools.combinations(range(7), int(tried)))
        assert value == outcomes[math.ceil(len(outcomes) / 2) - 1]


def test_runs_that_never_reach_the_target_are_censored():
    curves = np.array([[[3.0, 2.0, 1.0], [3.0, 1.0, 1.0], [3.0, 3.0, 0.5]], [[3.0, 3.0, 3.0]] * 3])
    data = xarray.DataArray(curves, dims=("optimizer", "run", "step"), coords={"step": [0, 5, 10]})
    results = gdlab.compare(data, target=1.0).results
    assert results["steps"].values[:, 0].tolist() == [[10, 5, 10], [math.inf] * 3]
    assert results["steps_median"].values[:, 0].tolist() == [10, math.inf]
    assert results["steps_reached"].values[:, 0].tolist() == [1, 0]


@pytest.mark.parametrize(("runs", "confidence"), [(2, 0.9), (5, 0.9), (6, 0.9), (12, 0.9), (13, 0.9), (13, 0.2)])
def test_the_interval_of_the_median_of_the_steps_is_the_binomial_one(runs, confidence):
    times = np.stack([rng(20).permutation(runs), rng(21).permutation(runs)])
    curves = (np.arange(runs + 1) < times[..., None]).astype(float)
    data = xarray.DataArray(curves, dims=("optimizer", "run", "step"), coords={"step": np.arange(runs + 1)})
    found = gdlab.compare(data, target=0.5, confidence=confidence, resamples=10).results
    np.testing.assert_array_equal(found["steps"].values[:, 0], times)
    low, high = stats.quantile_test(times[0], p=0.5).confidence_interval(confidence)
    exact = [low, high] if np.isfinite(low) else [0, runs - 1]  # too few runs for any
    np.testing.assert_array_equal(found["steps_median_interval"].values[:, 0], [exact] * 2)


def test_a_sweep_goes_in_and_every_figure_comes_out():
    def loss(optimizer, lr, key):
        return {"loss": (jnp.log10(lr) + optimizer) ** 2 + jnp.arange(3.0)[::-1] + jnp.cos(key)}

    dataset = gdlab.sweep(
        loss, dims={"loss": ["step"]}, optimizer={"a": 1.0, "b": 2.0}, lr=[1e-3, 1e-2, 0.1], key=jnp.arange(6.0)
    )
    found = gdlab.compare(dataset, target=1.5)
    assert found.results["best_lr"].values[:, 0] == pytest.approx([0.1, 0.01])
    for name in FIGURES:
        figure = found.draw(name)
        assert figure.axes[0].has_data()
        mpl.pyplot.close(figure)


def rows_without_a_name():
    """A sweep that returns what a run recorded, but not the run, so that nothing says what its rows are."""

    def history(optimizer, key):
        return gdlab.minimize(lambda x: x * x, gdlab.gd(optimizer), 1.0 + key, 3).history

    return gdlab.sweep(history, optimizer={"slow": 0.1, "fast": 0.4}, key=jnp.arange(4.0))


def test_the_last_of_rows_that_are_given_a_name_is_the_score():
    found = gdlab.compare(rows_without_a_name(), step="loss_0", tuning_runs=0)
    last = {name: (1 - 2 * rate) ** 4 * (1 + np.arange(4)) ** 2 for name, rate in (("slow", 0.1), ("fast", 0.4))}
    np.testing.assert_allclose(found.results["score"].values[:, 0], list(last.values()), rtol=1e-5)


BAD = {
    "data": (lambda: gdlab.compare([1.0, 2.0]), "data must be"),
    "data without numbers": (lambda: gdlab.compare({"a": ["x"], "b": ["y"]}), "data must be"),
    "data of two shapes": (lambda: gdlab.compare({"a": np.ones(3), "b": np.ones(4)}), "all of one shape"),
    "data of one contestant": (lambda: gdlab.compare({"a": np.ones(3)}), "at least two contestants"),
    "of": (lambda: gdlab.compare(swept(rng()), of="method"), "of must be an axis"),
    "run": (lambda: gdlab.compare(swept(rng()).rename(key="draw")), "run must name the axis"),
    "two runs": (lambda: gdlab.compare(swept(rng()).rename(lr="start")), "run must be one axis"),
    "runs of two kinds": (lambda: gdlab.compare(swept(rng()).rename(lr="start"), run="key"), "data must have one"),
    "better": (lambda: gdlab.compare(swept(rng()), better="low"), "better must be 'lower' or 'higher'"),
    "tuning_runs": (lambda: gdlab.compare(swept(rng()), tuning_runs=15), "tuning_runs must be a whole number"),
    "nominee": (lambda: gdlab.compare(swept(rng()), nominee="adamw"), "nominee must be one of"),
    "confidence": (lambda: gdlab.compare(swept(rng()), confidence=95), "confidence must be a number above 0"),
    "target": (lambda: gdlab.compare(swept(rng()), target="low"), "target must be a finite number"),
    "target without steps": (lambda: gdlab.compare({"a": [1, 2], "b": [1, 2]}, target=1.0), "target must be left"),
    "effect": (lambda: gdlab.runs_needed(0), "effect must be a number above 0"),
    "effect beyond all": (lambda: gdlab.runs_needed(1e6), "effect must be a number above 0 and below 1e[+]06; got"),
    "contestants": (lambda: gdlab.runs_needed(contestants=1), "contestants must be a whole number, at least 2"),
    "what": (lambda: gdlab.compare(swept(rng()), resamples=10).draw("targets"), "which needs a target"),
    "score": (lambda: gdlab.compare(xarray.Dataset({"x": ("run", [1.0])}), score="y"), "score must be one"),
    "step": (lambda: gdlab.compare(rows_without_a_name()), "step must name the rows of a run.*give step='loss_0'"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_argument_is_one_sentence(name):
    call, said = BAD[name]
    with pytest.raises((TypeError, ValueError), match=said):
        call()
