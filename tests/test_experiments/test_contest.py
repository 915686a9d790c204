"""A contest: killed, resumed and shared it ends as if it had not been; its report ranks what the runs separate."""

import json

import jax
import numpy as np
import pytest
import xarray

from experiments.__main__ import main
from experiments.reporting import contest_report
from experiments.workloads import contest as module
from experiments.workloads.blocks import curvatures
from experiments.workloads.contest import contest, merged
from experiments.workloads.optimizers import named_optimizers
from experiments.workloads.tasks import TASKS, Drawn, Task

pytestmark = pytest.mark.full

OPTIMIZERS, CHOSEN = ("sgd", "optax.adam"), ("saddle", "noisy_quadratic")
FLAGS = ["--optimizers", "sgd,optax.adam", "--tasks", "saddle,noisy_quadratic", "--tuning", "4", "--seeds", "3"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def whole():
    return contest(OPTIMIZERS, CHOSEN, tuning=4, seeds=3)


def lots(task, make, said):
    """Scores in place of those of runs: they depend on what is asked for alone."""
    name = [*TASKS.values()].index(task) + 100 * ("optax" in repr(make))
    rng = np.random.default_rng([name, said["seed"]])
    tuning, seeds = said["tuning"], said["seeds"]
    sizes = {"rate": tuning, "tuning_score": tuning, "score": seeds, "loss": (seeds, 3), "end": (seeds, 2)}
    return {key: rng.normal(size=size) for key, size in sizes.items()}


def test_killed_and_resumed_and_shared_it_is_the_same(monkeypatch, capsys):
    left = [10]

    def computed(*args):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return lots(*args)

    monkeypatch.setattr(module, "computed", computed)
    whole = contest(OPTIMIZERS, CHOSEN, tuning=4, seeds=3)
    left[0] = 2
    assert main(["contest", *FLAGS, "--store", "kept"]) == 130
    assert "the same command goes on from what is in kept" in capsys.readouterr().err
    left[0] = 2  # only what is missing is computed
    assert main(["contest", *FLAGS, "--store", "kept", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    with xarray.open_dataset("runs/contest/results.nc", engine="h5netcdf") as read:
        xarray.testing.assert_identical(read["score"].load().drop_attrs(), whole["score"].drop_attrs())
    left[0] = 10
    for i in (1, 2):
        assert main(["contest", *FLAGS, "--store", f"s/{i}", "--shard", f"{i}/2"]) == 0
    capsys.readouterr()
    assert main(["merge", "s/1", "s/2", "--json", "--out", "merged"]) == 0
    assert {**json.loads(capsys.readouterr().out), "out": ""} == {**said, "out": ""}
    assert main(["contest", *FLAGS, "--seed", "1", "--store", "kept", "--out", "other"]) == 2
    assert "seed is 0 there and 1 here" in capsys.readouterr().err
    with pytest.raises(ValueError, match="stores must hold every unit of the contest; unit 1 is in none"):
        merged(["s/1"])


def test_runs_that_tune_do_not_judge_and_every_optimizer_gets_the_same_seeds(whole):
    again = contest(OPTIMIZERS[:1], CHOSEN[1:], tuning=4, seeds=2)
    both = whole.sel(task="noisy_quadratic", optimizer="sgd")
    np.testing.assert_array_equal(both["score"][:2], again["score"].values[0, 0])  # another run more changes none
    assert not set(both["score"].values) & set(both["tuning_score"].values)


def test_the_report_ranks_what_is_separated_and_names_where_runs_stop(whole):
    scores = whole["score"].copy()
    scores[0] = 1 + scores[0] / 10
    scores[1] = scores[1] / 10
    tuned = whole["tuning_score"].copy()
    tuned[1] = -1.0
    report = contest_report.findings(whole.assign(score=scores, tuning_score=tuned), contest_report.Extras("."))
    row = report.summary["tasks"][0]
    assert row["take"] == "optax.adam"
    assert row["shown_better_than"] == ["sgd"]
    stops = {(row[0], row[1]): row[2] for row in report.summary["stops"]}
    assert set(stops) == {("saddle", "sgd"), ("saddle", "optax.adam")}
    assert all("1" in kinds or "2" in kinds or "3" in kinds for kinds in stops.values())


def test_a_run_arrives_where_its_loss_first_has_come_nine_tenths_of_the_way(whole):
    losses = whole["loss of saddle"].copy()
    rows = losses.sizes["row of saddle"]
    losses[0] = np.where(np.arange(rows) < 3, 10.0, 0.0)  # sgd is there at its fourth row
    losses[1] = np.where(np.arange(rows) < 7, 10.0, 1.01)  # Adam stops short of it
    row = contest_report.arrival(whole.assign({"loss of saddle": losses}), "saddle")
    assert row == ["saddle", "1", "sgd", str(3 * 8), "24 to 24", "optax.adam"]  # of 200 steps every eighth is recorded


def test_rates_are_the_sizes_of_updates_where_they_are_matched():
    task = TASKS["noisy_quadratic"]
    drawn = task.draw(jax.random.key(3))
    grads = jax.grad(drawn.loss)(drawn.params, key=jax.random.key(4))
    for make in named_optimizers(OPTIMIZERS).values():
        optimizer = make(1e-3 / float(module.size_of_updates(task, make, jax.random.key(5))))
        update, _ = optimizer.update(grads, optimizer.init(drawn.params), drawn.params)
        assert 0.3e-3 < float(np.sqrt(np.mean(np.square(update)))) < 3e-3


BAD = {
    "tasks": (["--tasks", "digits"], "tasks must be among quadratic, "),
    "one optimizer": (["--optimizers", "sgd", "--tasks", "saddle", "--steps", "2"], "at least two to compare"),
    "seeds": (["--seeds", "1"], "seeds must be at least 2"),
    "share": (["--shard", "1/2"], "store must name a folder"),
    "lr": (["--lr", "1:0"], "lr must be lo:hi"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_one_sentence(name, capsys):
    flags, said = BAD[name]
    assert main(["contest", *flags]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_the_curvature_of_a_block_is_that_of_its_part_of_the_hessian():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(5, 5))
    whole = root @ root.T

    def loss(params, key):
        theta = jax.numpy.concatenate([params["first"], params["second"]])
        return theta @ whole @ theta / 2

    drawn = Drawn({"first": jax.numpy.ones(2), "second": jax.numpy.ones(3)}, loss, lambda params: (0.0, 0.0))
    found = curvatures(Task(lambda key: drawn, 1), jax.random.key(0))
    wanted = {"first": whole[:2, :2], "second": whole[2:, 2:]}
    assert found == pytest.approx({name: np.linalg.eigvalsh(part)[-1] for name, part in wanted.items()}, rel=1e-6)
