"""Quick runs are compiled quickly, and nothing else is."""

import jax
import pytest

from experiments.cli.compiling import compiled_quickly, quick_flags
from experiments.cli.settings import Experiment
from experiments.reporting.checks import conclude, is_true
from experiments.reporting.figures import plt
from gdlab.ground.compilers import ONCE, known

pytestmark = pytest.mark.full

SETTING = "jax_disable_most_optimizations"


@pytest.fixture(autouse=True)
def _compiled_as_for_users():
    before = jax.config.read(SETTING)
    jax.config.update(SETTING, False)
    yield
    jax.config.update(SETTING, before)


@pytest.mark.parametrize(("quick", "heavy"), [(True, False), (True, True), (False, False)])
def test_an_experiment_is_compiled_quickly_where_its_run_is_quick_and_not_heavy(quick, heavy, tmp_path):
    found = []

    def measure():
        found.append(jax.config.read(SETTING))
        return [is_true("S1", "it is", True)], plt.figure

    assert conclude(Experiment(quick=quick, out=tmp_path / "out"), "stand_in", "?", measure, heavy=heavy) == 0
    assert found == [quick and not heavy]
    assert jax.config.read(SETTING) is False


def test_what_fails_leaves_the_setting_as_it_was():
    with pytest.raises(ZeroDivisionError), compiled_quickly():
        raise ZeroDivisionError
    assert jax.config.read(SETTING) is False


def test_flags_follow_those_of_the_user_as_far_as_the_compiler_knows_them(monkeypatch):
    users = "--xla_cpu_multi_thread_eigen=true"
    monkeypatch.setenv("XLA_FLAGS", users)
    ours = [f"--{name}={value}" for name, value in known(ONCE).items()]
    assert len(ours) >= 2
    assert quick_flags({**ONCE, "xla_of_no_compiler": 1}).split() == [users, *ours]
