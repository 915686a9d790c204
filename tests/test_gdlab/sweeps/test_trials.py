"""Trials: what a study is told is what a loop would have told it, from one program."""

import jax.numpy as jnp
import numpy as np
import optuna
import pytest

import gdlab

optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.mark.full
def test_a_study_is_told_what_a_loop_would_tell_it():
    traces = []

    def final(lr, momentum):
        traces.append(lr)
        run = gdlab.minimize(lambda x: jnp.sum(x**2), gdlab.momentum(lr, momentum), jnp.array([1.0, -2.0]), 20)
        return run.history["loss"][-1]

    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    gdlab.trials(study, final, 20, batch=8, momentum=(0.0, 0.9), lr=(1e-3, 1.0, "log"))
    assert (len(study.trials), len(traces)) == (20, 1)
    for trial in study.trials:
        assert trial.value == pytest.approx(float(final(**trial.params)), rel=1e-9)
    assert {type(trial.distributions["lr"].log) for trial in study.trials} == {bool}


def test_a_trial_that_diverges_has_failed():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    gdlab.trials(study, lambda x: jnp.where(x > 0.5, jnp.inf, x), 16, batch=16, x=(0.0, 1.0))
    for trial in study.trials:
        assert (trial.state.name == "FAIL") == (trial.params["x"] > 0.5)


def test_several_objectives():
    study = optuna.create_study(directions=["minimize", "maximize"])
    gdlab.trials(study, lambda x: jnp.stack([x, 2 * x]), 3, x=(0.0, 1.0))
    for trial in study.trials:
        np.testing.assert_allclose(trial.values, [trial.params["x"], 2 * trial.params["x"]])


@pytest.mark.parametrize("bad", [{}, {"x": (1.0, 0.0)}, {"x": (0.0, 1.0, "log")}, {"x": 3}])
def test_bad_ranges_are_one_sentence(bad):
    with pytest.raises(ValueError, match=r"(ranges|x) must"):
        gdlab.trials(None, lambda x: x, 3, **bad)


def test_batches_are_as_large_as_asked_and_what_is_wrong_is_named():
    sizes = []

    class Study:
        def ask(self):
            return self

        def suggest_float(self, name, low, high, log):
            return {"x": high, "y": low}[name] + log

        def tell(self, trial, value):
            sizes.append(value)

    study = Study()
    assert gdlab.trials(study, lambda x, y: x + 10 * y, 33, x=(0.0, 2.0), y=(3.0, 4.0)) is study
    assert sizes == [32.0] * 33
    for how, kind, said in (
        ({"count": 0}, ValueError, "count must be a whole number, at least 1; got 0"),
        ({"batch": 0}, ValueError, "batch must be a whole number, at least 1; got 0"),
        ({"fn": 3}, TypeError, r"fn must be a function, fn\(lr=...\) -> value; got 3"),
    ):
        asked = {"fn": lambda x: x, "count": 3, "batch": 2, **how}
        with pytest.raises(kind, match=said):
            gdlab.trials(study, asked.pop("fn"), asked.pop("count"), **asked, x=(0.0, 1.0))


def states(study):
    return {trial.state.name for trial in study.trials}


def fresh(objectives=1):
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)


# What a function returns, and for how many objectives it is refused.
NO_VALUES = {
    "two numbers for one": (1, lambda x: jnp.stack([x, x])),
    "a pair for one": (1, lambda x: (x, x)),
    "one number for two": (2, lambda x: x),
    "three numbers for two": (2, lambda x: x * jnp.ones(3)),
    "a matrix": (1, lambda x: x * jnp.ones((1, 1))),
    "no number": (1, lambda x: jnp.zeros(0)),
    "an empty list": (1, lambda x: []),
    "a loss and what else there is": (1, lambda x: (x, {"x": x})),
    "a mapping": (1, lambda x: {"loss": x}),
    "nothing": (1, lambda x: None),
    "a complex number": (1, lambda x: x * 1j),
    "a word": (1, lambda x: "low"),
}


@pytest.mark.parametrize("name", NO_VALUES)
def test_what_is_no_value_is_refused_before_a_trial_is_asked_for(name):
    objectives, fn = NO_VALUES[name]
    study = fresh(objectives)
    with pytest.raises(TypeError, match=r"^fn must return .* for each objective of the study; got ") as refused:
        gdlab.trials(study, fn, 8, batch=4, x=(0.0, 1.0))
    assert "\n" not in str(refused.value)
    assert study.trials == []


def test_a_pair_is_a_value_of_two_objectives_and_a_vector_of_one_number_is_one_of_one():
    two, one = fresh(2), fresh()
    gdlab.trials(two, lambda x: (x, 2 * x), 2, x=(0.0, 1.0))
    gdlab.trials(one, lambda x: x[None], 2, x=(0.0, 1.0))
    for of_two, of_one in zip(two.trials, one.trials, strict=True):
        np.testing.assert_allclose(of_two.values, [of_two.params["x"], 2 * of_two.params["x"]])
        np.testing.assert_allclose(of_one.values, [of_one.params["x"]])


def test_whole_numbers_stay_whole_and_names_stay_names():
    kinds = []

    def fn(width, optimizer, rate, size):
        kinds.append((width.dtype.kind, rate.dtype.kind))
        return width + {gdlab.gd: 0.25, gdlab.adam: 0.5}[optimizer] + 0 * rate + size

    study, optimizers = fresh(), {"gd": gdlab.gd, "adam": gdlab.adam}
    ranges = {"width": (1, 9, "log"), "optimizer": optimizers, "rate": (0, 1.0), "size": {16: 16}}
    gdlab.trials(study, fn, 24, batch=8, **ranges)
    seen = {trial.params["width"] for trial in study.trials}
    assert seen <= set(range(1, 10))
    assert len(seen) > 3
    assert set(kinds) == {("i", "f")}
    assert len(kinds) <= 3  # a trace for each choice of names
    assert {trial.params["optimizer"] for trial in study.trials} == {"gd", "adam"}
    for trial in study.trials:
        assert type(trial.params["width"]) is int
        assert trial.value == trial.params["width"] + {"gd": 0.25, "adam": 0.5}[trial.params["optimizer"]] + 16
    words = gdlab.trials(fresh(), lambda word: len(word), 4, word=("a", "bcd"))
    assert [trial.value for trial in words.trials] == [len(trial.params["word"]) for trial in words.trials]


@pytest.mark.parametrize("error", [RuntimeError("lost"), KeyboardInterrupt()], ids=["an error", "an interrupt"])
def test_no_trial_is_left_running(error):
    def fn(name):
        if name == "b":
            raise error
        return 1.0

    class Once:
        """A study that stops in the middle of a batch, as it asks or as it is told."""

        def __init__(self, at, number):
            self.study, self.at, self.number = fresh(), at, number
            self.directions = self.study.directions

        def ask(self):
            self._stop("ask", len(self.study.trials))
            return self.study.ask()

        def tell(self, trial, value):
            self._stop("tell", trial.number)
            self.study.tell(trial, value)

        def _stop(self, at, number):
            if (at, number) == (self.at, self.number):
                self.at = ""
                raise error

    study = fresh()
    with pytest.raises(type(error)):
        gdlab.trials(study, fn, 16, batch=8, name=["a", "b"])
    assert states(study) == {"FAIL"}
    for at in ("ask", "tell"):
        stopped = Once(at, 6)
        with pytest.raises(type(error)):
            gdlab.trials(stopped, lambda x: x, 16, batch=4, x=(0.0, 1.0))
        assert states(stopped.study) == {"COMPLETE", "FAIL"}
        assert sum(trial.state.name == "COMPLETE" for trial in stopped.study.trials) == {"ask": 4, "tell": 6}[at]


@pytest.mark.parametrize("bad", [[16, 32, 64], (False, True), ["a", "a"], (1, 2**70), {None: 1}, [], {}], ids=str)
def test_what_is_neither_a_range_nor_names_is_one_sentence(bad):
    with pytest.raises(ValueError, match=r"^(the highest of )?x must [^\n]*$"):
        gdlab.trials(fresh(), lambda x: x, 3, x=bad)


def test_what_is_no_study_is_named():
    with pytest.raises(TypeError, match=r"^study must have ask and tell, as one of optuna has; got 3"):
        gdlab.trials(3, lambda x: x, 3, x=(0.0, 1.0))
