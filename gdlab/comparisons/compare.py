"""Compare: which optimizer is better, how sure that is, and what the runs leave open.

    scores  ->  settings chosen by some runs  ->  judged by other runs  ->  estimates, intervals, tests of pairs

A pair that the tests do not separate is not ranked.  What is computed stands in `estimates`, `pairs`, `tuning` and
`targets`; this file puts it together, and `table` and `figures` show it.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gdlab.comparisons import estimates, pairs, tuning
from gdlab.comparisons.pairs import runs_needed, share
from gdlab.comparisons.scores import costs, labelled_scores, rank_shares
from gdlab.comparisons.targets import steps_to_target
from gdlab.ground.checks import choice, function, switch, whole
from gdlab.ground.leaves import shown

if TYPE_CHECKING:
    import xarray

    from gdlab.comparisons.figures import Figure

BOUNDS = ["low", "high"]
VALUES = 100  # at which a profile is read
WITHIN = 0.05  # of the best: the band of sensitivity


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    `results` is an `xarray.Dataset`; with C contestants, T tasks and R judging runs it holds

    | variable | dims | what |
    |---|---|---|
    | score | C, T, R | of the judging runs, as given or as shares of ranks |
    | iqm, iqm_interval | C; C, bound | interquartile mean over tasks and runs |
    | task_iqm, task_iqm_interval | C, T; C, T, bound | the same on each task |
    | improvement, improvement_interval | C, other | the probability that a run is better than one of the other |
    | p_value, p_corrected | C, other | of the pair; NaN for a pair that is not tested |
    | separated | C, other | whether the runs show that it is better than the other |
    | rank | C, bound | the places that the separated pairs leave it |
    | profile, profile_interval | C, value | the share of runs as good as a value, or better |
    | best_AXIS, AXIS_at_edge | C, T | the chosen setting; whether its axis ends there |
    | AXIS_width, AXIS_open, AXIS_blind | C, T | sensitivity: `gdlab.comparisons.tuning.sensitivity` |
    | budget_score | C, T, tries | the score after so many tried settings |
    | steps, steps_median, steps_median_interval, steps_reached | C, T, (R) | steps to the target, where one is given |

    Its attributes say how it was compared, `runs_needed` how many runs the stated `effect` takes, and
    `effect_seen` the smallest effect, in standard deviations of a run, that these runs would have shown.
    """

    results: "xarray.Dataset"

    @property
    def contestants(self) -> list[str | float]:
        """Their names, in the order of the data."""
        return self.results["iqm"].indexes[self.results["iqm"].dims[0]].tolist()

    def better(self, one: str | float, other: str | float) -> bool | None:
        """Whether the runs show `one` to be better than `other`: True, False where worse, None where neither."""
        for name in (one, other):
            if name not in self.contestants:
                msg = f"one and other must be among {', '.join(map(str, self.contestants))}; got {shown(name)}"
                raise ValueError(msg)
        first, second = self.contestants.index(one), self.contestants.index(other)
        won = self.results["separated"].values
        return True if won[first, second] else False if won[second, first] else None

    def table(self) -> str:
        """The contestants with estimate, interval and places, and which pairs the runs do not separate."""
        from gdlab.comparisons.table import text

        return text(self.results)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return self.table()

    def draw(self, what: str = "intervals") -> "Figure":
        """A matplotlib figure of one part: intervals, improvement, profiles, sensitivity, budget or targets."""
        from gdlab.comparisons import figures

        drawn = choice("what", what, figures.FIGURES)
        if figures.NEEDS[what] is not None and not figures.shown_of(self.results, what):
            msg = f"what must be a part that was compared; got {what!r}, which needs {figures.NEEDS[what]}"
            raise ValueError(msg)
        return drawn(self.results)


def compare(
    data: Any,
    *,
    score: str | Sequence[str] | None = None,
    of: str = "optimizer",
    task: str | None = None,
    run: str | None = None,
    step: str = "step",
    better: str = "lower",
    tuning_runs: int | None = None,
    paired: bool = True,
    nominee: Any = None,
    normalize: str = "none",
    interval: str = "corrected",
    confidence: float = 0.95,
    target: Any = None,
    effect: float = 1.0,
    chance: float = 0.9,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Compare optimizers, or whatever an axis names, by what a sweep's dataset says of their runs.

    Args:
        data: the dataset of a `gdlab.sweep`, an `xarray.DataArray` of scores, or a mapping from names to arrays of
            shape (task, run) or (run,).  A run whose score is not finite is worse than all others.
        score: the variable of the dataset, by default "loss" or the only one; or several, each a task of its own.
        of: the axis whose values are compared.
        task: the axis of tasks: by default one called task, workload, problem or surface, if there is one.
        run: the axis of repeated runs: by default one called run, key, seed or start.  All other axes are settings
            that are tuned, but for `step`, along which the last value is the score; of a `Run` that a sweep returned
            and that ended at a small gradient or on a plateau, the last that was recorded.
        better: "lower" or "higher".
        tuning_runs: how many of the runs, the first ones, choose the setting; the others judge it.  By default half.
        paired: whether the runs of all contestants share their seeds.
        nominee: one contestant that was chosen before the judging runs were seen, by the tuning runs for instance: then
            only whether it is better than each other one is tested, which takes fewer runs; or a function of the names
            and their tuning scores, dims (of, task), that chooses it.
        normalize: "ranks" makes each score its rank on its task, from 0 (best) to 1, so that tasks of different units
            count alike; "none" leaves the scores as they are.
        interval: "corrected" for few runs, or "percentile", as the field computes it; neither reaches beyond the runs,
            so that below eight runs of one task an interval holds less than it says.
        confidence: of intervals and tests, in (0, 1).
        target: a score, or one for each task: how many steps runs take to it is compared as well.
        effect: the difference that should be found, in standard deviations of a run.
        chance: with what probability, in (0, 1).
        resamples: how many resamplings the intervals are read from.
        seed: of the resamplings.

    Returns:
        A `Comparison`: `results`, a labelled dataset; `table()`; `draw(what)`; `better(one, other)`.

    Raises:
        TypeError: for data without real numbers.
        ValueError: for an argument out of range, or a name that the data do not have.

    >>> found = compare({"a": [1.0, 2.0, 3.0, 4.0], "b": [11.0, 12.0, 13.0, 14.0]}, paired=False)
    >>> found.better("a", "b"), float(found.results["iqm"].sel(optimizer="b"))
    (True, 12.5)
    """
    sign = choice("better", better, {"lower": 1.0, "higher": -1.0})
    corrected = choice("interval", interval, {"corrected": True, "percentile": False})
    ranked = choice("normalize", normalize, {"none": False, "ranks": True})
    paired, confidence, chance = switch("paired", paired), share("confidence", confidence), share("chance", chance)
    effect, resamples = share("effect", effect, 1e6), whole("resamples", resamples, 10)
    all_costs = costs(labelled_scores(data, score=score, of=of, task=task, run=run, step=step), sign)
    task, run = map(str, all_costs.dims[1:3])
    curves = all_costs if step in all_costs.dims else None
    final = all_costs if curves is None else curves.isel({step: -1}, drop=True)
    split = _split(final, tuning_runs)
    parts, chosen, tuned = _tuned(final, split, sign)
    judging = tuning.judged(final.isel({run: slice(split, None)}), chosen)
    values = judging.values
    if len(values) < 2 or values.shape[2] < 2:
        msg = f"data must have at least two contestants and two judging runs; got {len(values)} and {values.shape[2]}"
        raise ValueError(msg)
    named = _nominee(nominee, judging, tuned)
    counts = _resampled(np.random.default_rng(whole("seed", seed, 0)), values.shape, resamples, paired)
    level = estimates.interval_level(confidence, *values.shape[1:], corrected=corrected)
    shown_values, shown_sign = (rank_shares(values), 1.0) if ranked else (values, sign)
    parts |= _estimated(judging.copy(data=shown_values), shown_sign, counts, (level, confidence, corrected))
    parts |= _paired_off(judging, counts, level, {"paired": paired, "alpha": 1 - confidence, "nominee": named})
    if target is not None:
        parts |= _timed(curves, step, target, sign, (split, chosen, confidence))
    said: dict[str, Any] = {
        "better": better,
        "normalize": normalize,
        "interval": interval,
        "confidence": confidence,
        "tuning_runs": split,
        "judging_runs": values.shape[2],
        "paired": int(paired),
        "nominee": "" if named is None else str(judging[of].values[named]),
        **_power(values.shape, paired, named is not None, 1 - confidence, effect, chance),
    }
    return Comparison(_dataset(judging, parts, said))


def _split(final, tuning_runs):
    """How many runs tune: none where nothing is tuned."""
    run, settings = final.dims[2], final.dims[3:]
    total = final.sizes[run]
    if not settings:
        if tuning_runs not in (None, 0):
            msg = f"tuning_runs must be left out where no axis is tuned; got {shown(tuning_runs)}"
            raise ValueError(msg)
        return 0
    if total < 3:
        msg = f"data must have at least three runs where settings are tuned, one to tune and two to judge; got {total}"
        raise ValueError(msg)
    return whole("tuning_runs", total // 2 if tuning_runs is None else tuning_runs, 1, total - 2)


def _tuned(final, split, sign):
    """What is said of the settings, the chosen ones, and the tuning scores of these."""
    of, task, run, *settings = map(str, final.dims)
    if not settings:
        return {}, None, None
    first, rest = final.isel({run: slice(0, split)}), final.isel({run: slice(split, None)})
    chosen = tuning.choose(first)
    tries, curve = tuning.budget_curve(first, rest)
    parts = {**tuning.described(first, chosen), **tuning.sensitivity(final, WITHIN)}
    parts |= {"budget_score": ((of, task, "tries"), sign * curve), "tries": ("tries", tries)}
    return parts, chosen, tuning.judged(first, chosen).median(run)


def _nominee(nominee, judging, tuned):
    """The place of the nominee."""
    names = judging[judging.dims[0]].values.tolist()
    if nominee is None:
        return None
    if not isinstance(nominee, str) and callable(nominee):
        if tuned is None:
            msg = "nominee must be a name where no runs tune; got a function"
            raise ValueError(msg)
        nominee = function("nominee", nominee, "nominee(names, scores) -> name")(names, tuned.values)
    if nominee not in names:
        msg = f"nominee must be one of {', '.join(map(str, names))}; got {shown(nominee)}"
        raise ValueError(msg)
    return names.index(nominee)


def _resampled(rng, shape, resamples, paired):
    """The resamplings of each contestant's runs: the same ones for all where runs share their seeds."""
    contestants, tasks, runs = shape
    if paired:
        return [estimates.resamplings(rng, resamples, tasks, runs)] * contestants
    return [estimates.resamplings(rng, resamples, tasks, runs) for _ in range(contestants)]


def _estimated(scores, sign, counts, how):
    """Interquartile means, of all tasks and of each, and profiles, with their intervals; signs as they were given."""
    of, task, run = map(str, scores.dims)
    level, confidence, corrected = how
    values = scores.values
    level_of_one = estimates.interval_level(confidence, 1, values.shape[2], corrected=corrected)
    whole_one = [estimates.interval(row, drawn, level) for row, drawn in zip(values, counts, strict=True)]
    each = [
        [
            estimates.interval(row[i : i + 1], drawn[:, i : i + 1], level_of_one)
            for i in range(len(row))
        ]
        for row, drawn in zip(values, counts, strict=True)
    ]  # fmt: skip
    finite = values[np.isfinite(values)]
    levels = np.unique(np.quantile(finite, np.linspace(0, 1, VALUES))) if finite.size else np.zeros(1)
    bands = [estimates.profile_interval(row, levels, drawn, level) for row, drawn in zip(values, counts, strict=True)]
    order = slice(None, None, int(sign))
    return {
        "score": ((of, task, run), sign * values),
        "iqm": (of, sign * estimates.interquartile_mean(values, (1, 2))),
        "iqm_interval": ((of, "bound"), sign * np.stack(whole_one)[:, order]),
        "task_iqm": ((of, task), sign * estimates.interquartile_mean(values, 2)),
        "task_iqm_interval": ((of, task, "bound"), sign * np.array(each)[..., order]),
        "profile": ((of, "value"), estimates.profile(values, levels)),
        "profile_interval": ((of, "bound", "value"), np.stack(bands)),
        "value": ("value", sign * levels),
    }


def _paired_off(judging, counts, level, how):
    """The tests of pairs, and the places that they leave."""
    of, values = str(judging.dims[0]), judging.values
    count, alpha, nominee = len(values), how["alpha"], how["nominee"]
    improvement, ends = np.full((count, count), 0.5), np.full((count, count, 2), 0.5)
    for i, j in itertools.permutations(range(count), 2):
        improvement[i, j] = estimates.improvement(values[i], values[j])
        ends[i, j] = estimates.improvement_interval(values[i], values[j], (counts[i], counts[j]), level)
    tested = [(i, j) for i, j in itertools.combinations(range(count), 2) if nominee in (None, i, j)]
    tested = [(i, j) if nominee in (None, i) else (j, i) for i, j in tested]
    one_sided = nominee is not None
    raw = [pairs.p_value(values[i], values[j], paired=how["paired"], one_sided=one_sided) for i, j in tested]
    p_value, p_corrected = np.full((count, count), np.nan), np.full((count, count), np.nan)
    separated = np.zeros((count, count), bool)
    for (i, j), p, corrected in zip(tested, raw, pairs.holm(raw), strict=True):
        p_value[i, j] = p_value[j, i] = p
        p_corrected[i, j] = p_corrected[j, i] = corrected
        if corrected <= alpha:
            separated[(i, j) if improvement[i, j] > 0.5 else (j, i)] = True
    rank = np.stack([1 + separated.sum(axis=0), count - separated.sum(axis=1)], axis=1)
    both = (of, "other")
    return {
        "improvement": (both, improvement),
        "improvement_interval": ((*both, "bound"), ends),
        "p_value": (both, p_value),
        "p_corrected": (both, p_corrected),
        "separated": (both, separated),
        "rank": ((of, "bound"), rank),
    }


def _timed(curves, step, target, sign, how):
    """The steps to the target, of the judging runs at the chosen settings."""
    split, chosen, confidence = how
    if curves is None:
        msg = f"target must be left out where the scores have no axis {step!r}; got {shown(target)}"
        raise ValueError(msg)
    run, tasks = curves.dims[2], curves[curves.dims[1]].values.tolist()
    bounds = [target[name] for name in tasks] if _names_all(target, tasks) else target
    try:
        bounds = np.broadcast_to(np.asarray(bounds, float), len(tasks))
    except (TypeError, ValueError):
        bounds = np.array([np.nan])
    if not np.isfinite(bounds).all():
        msg = f"target must be a finite number, or one for each of {', '.join(map(str, tasks))}; got {shown(target)}"
        raise ValueError(msg)
    judged = tuning.judged(curves.isel({run: slice(split, None)}), chosen, step)
    return steps_to_target(judged, step, sign * bounds, confidence)


def _names_all(target, tasks):
    return isinstance(target, Mapping) and set(target) >= set(tasks)


def _power(shape, paired, nominated, alpha, effect, chance):
    """How many runs the stated effect needs, and the smallest effect that these runs would have shown."""
    contestants, tasks, runs = shape
    found = contestants - 1 if nominated else contestants * (contestants - 1) // 2
    needed = runs_needed(
        effect,
        tasks=tasks,
        contestants=contestants,
        paired=paired,
        nominee=nominated,
        confidence=1 - alpha,
        chance=chance,
    )
    said: dict[str, Any] = {"alpha": alpha, "paired": paired, "one_sided": nominated, "chance": chance}
    seen = pairs.effect_seen(runs, tasks=tasks, pairs=found, **said)
    return {"effect": effect, "chance": chance, "runs_needed": needed, "effect_seen": seen}


def _dataset(judging, parts, said):
    """The labelled results."""
    import xarray

    of, task, run = judging.dims
    labels = {dim: judging[dim].values for dim in (of, task, run)}
    labels |= {"other": labels[of], "bound": BOUNDS}
    labels |= {name: parts.pop(name) for name in ("value", "tries") if name in parts}
    return xarray.Dataset(parts, labels, said)
