"""Trials: what a study is told is what a loop would have told it, from one program."""

import jax.numpy as jnp
import numpy as np
import optuna
import pytest

import gdlab

optuna.logging.set_verbosity(optuna.logging.ERROR)


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
