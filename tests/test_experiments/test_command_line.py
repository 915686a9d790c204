"""The command line: it answers at once, says in one sentence what is wrong, and writes whole folders or none."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray

from experiments.__main__ import COMMANDS, main
from experiments.cli.settings import All, Experiment, InputError, experiments, module_of
from experiments.commands.all import main as all_main
from experiments.reporting import pages
from experiments.reporting.checks import conclude, is_true
from experiments.reporting.figures import plt

pytestmark = pytest.mark.full

SMALL = ["--surface", "linear_net", "--optimizers", "gd,adam", "--lr", "1e-2:1e-1:3", "--starts", "5", "--steps", "400"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_help_answers_without_jax():
    code = (
        "import sys; from experiments.__main__ import COMMANDS, main\n"
        "for command in COMMANDS:\n"
        "    print('>>>', command)\n"
        "    try: main([command, '--help'])\n"
        "    except SystemExit as stop: assert stop.code == 0, stop.code\n"
        "heavy = {'jax', 'xarray', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={"PYTHONPATH": root}
    )
    assert done.returncode == 0, done.stderr
    helps = done.stdout.split(">>> ")[1:]
    assert [text.split()[0] for text in helps] == list(COMMANDS)
    assert all(f"usage: python -m experiments {text.split()[0]}" in text for text in helps)


CALLS = {
    "/usr/local/bin/gdlab": "gdlab",
    "C:/gdlab/Scripts/gdlab.exe": "gdlab",
    "gdlab-script.py": "gdlab",
    "/home/gdlab/experiments/__main__.py": "python -m experiments",
}


@pytest.mark.parametrize("called", CALLS)
def test_messages_name_the_command_as_it_was_called(called, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", [called])
    monkeypatch.delenv("GDLAB_LAUNCHER", raising=False)
    name = CALLS[called]
    assert main([]) == 0
    assert main(["experiments"]) == 0
    assert main(["race", "--no-such-flag"]) == 2
    assert main(["experiments", "run", "nothing"]) == 2
    with pytest.raises(SystemExit):
        main(["sweep", "--help"])
    shown = capsys.readouterr()
    assert f"usage: {name} COMMAND" in shown.out
    assert f"{name} experiments run NAME" in shown.out
    assert f"usage: {name} sweep" in shown.out
    refused, unknown = shown.err.splitlines()
    assert f"`{name} race --help`" in refused
    assert f"{name} experiments run takes" in unknown
    if name == "gdlab":
        assert not re.search(r"lab\.py|(?<!gdlab )experiments (?!run)[a-z]+ --|-m experiments", shown.out + shown.err)
    conclude(Experiment(out=tmp_path / "s"), "saddle", "?", lambda: ([is_true("S1", "", True)], plt.figure))
    assert f"<code>{name} saddle</code>" in pages.section(pages.read(tmp_path / "s"))


def test_the_launcher_is_named_by_what_it_says(monkeypatch, capsys):
    monkeypatch.setenv("GDLAB_LAUNCHER", "python3 ../lab.py")
    assert main(["race", "--no-such-flag"]) == 2
    assert "`python3 ../lab.py race --help`" in capsys.readouterr().err


def test_without_a_command_the_commands_are_listed(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)


BAD = {
    "unknown command": (["rase"], "command", "race"),
    "run nothing": (["experiments", "run"], "experiments run", "saddle"),
    "run no experiment": (["experiments", "run", "race"], "'race'", "saddle"),
    "no such loss": (["race", "nowhere.py:loss"], "nowhere.py", "no file"),
    "unknown surface": (["race", "--surface", "mount_doom"], "mount_doom", "linear_net"),
    "unknown optimizer": (["race", "--optimizers", "adamm"], "adamm", "adam"),
    "no optimizer": (["race", "--optimizers", ","], "optimizers", "adam"),
    "optax's name of no optimizer": (["race", "--optimizers", "optax.apply_updates"], "optax.apply_updates", "adam"),
    "private name": (["race", "--optimizers", "optax.__doc__"], "optax.__doc__", "adam"),
    "too many rates": (["race", "--lr", "1:2:99999999"], "lr", "10^7"),
    "too many runs": (["race", "--lr", "1:2:9999999", "--starts", "300"], "lr times starts", "2^31"),
    "more starts than names": (["race", "--starts", "999999999"], "starts", "at most 10000000"),
    "more numbers than memory": (
        ["race", "--optimizers=gd", "--lr=1:2:9999999", "--starts=200", "--steps=1000"],
        "memory",
        "GiB",
    ),
    "the folder we are in": (["saddle", "--out", "."], "out", "run-2"),
    "every folder": (["saddle", "--out", "/"], "out", "/run-2"),
    "a name of two lines": (["verify", "a\nb"], "file", r"a\nb"),
    "a name without end": (["saddle", "--out", "x" * 5000], "out", "too long"),
    "a config without end": (["race", "--config", "/dev/zero"], "config", "device"),
    "a page without end": (["verify", "/dev/zero"], "file", "device"),
    "rate zero": (["race", "--lr", "0:1:3"], "lr", "0 < lo"),
    "rate below zero": (["race", "--lr=-1:1:3"], "lr", "0 < lo"),
    "rate upside down": (["race", "--lr", "1:0.1:3"], "lr", "lo <= hi"),
    "empty range": (["race", "--lr", "0.1:1:0"], "lr", "n from 1 to 10^7"),
    "infinite rate": (["race", "--lr", "0.1:inf:3"], "lr", "finite"),
    "rate that is no number": (["race", "--lr", "0.1:nan:3"], "lr", "finite"),
    "no range at all": (["race", "--lr", "fast"], "lr", "lo:hi:n"),
    "an empty range": (["race", "--lr", ""], "lr", "lo:hi:n"),
    "a single rate": (["sweep", "--lr", "0.1"], "lr", "lo:hi:n"),
    "rates by commas": (["sweep", "--lr", "0.1,1,3"], "lr", "lo:hi:n"),
    "rate too small to be one": (["race", "--lr", "1e-400:1:3"], "lr", "0 < lo"),
    "half a rate": (["race", "--lr", "0.1:1:2.5"], "lr", "whole n"),
    "seed below zero": (["race", "--seed=-1"], "seed", "at least 0"),
    "seed beyond counting": (["map", "himmelblau", "--seed", "9" * 20], "seed", "below 2^63"),
    "seed below zero, of a verdict": (["classify", "himmelblau", "--seed=-1"], "seed", "at least 0"),
    "deviation below zero": (["map", "himmelblau", "--spread=-1"], "spread", "at least 0"),
    "no deviation": (["race", "himmelblau", "--spread", "nan"], "spread", "finite"),
    "a store that is the folder to write": (["sweep", "--store", "a", "--out", "a"], "store", "no folder in out"),
    "a store within it": (["sweep", "--store", "a/b/c", "--out", "a"], "store", "no folder in out"),
    "name of no library": (["race", "--optimizers", ".adam"], "optimizers", "'.adam'"),
    "no steps": (["race", "--steps", "0"], "steps", "at least 1"),
    "no starts": (["race", "--starts", "0"], "starts", "at least 1"),
    "negative steps": (["race", "--steps=-5"], "steps", "at least 1"),
    "missing config": (["race", "--config", "nowhere.json"], "config", "nowhere.json"),
    "command that is nearly one": (["rase"], "the command must be one of", "'rase': did you mean race?"),
    "unknown flag": (["race", "--no-such-flag"], "flags must be", "--no-such-flag"),
    "flag of another kind": (["race", "--seed", "x"], "flags must be", "--seed"),
    "flag that is lacking": (["merge"], "flags must be", "; missing: --stores\n"),
    "flags that are nearly there": (
        ["race", "--optimizer", "adam"],
        "; unknown: --optimizer (did you mean --optimizers?)",
    ),
    "word too many": (["saddle", "stray"], "flags must be", "stray"),
    "steps beyond counting": (["race", "--steps", "9" * 20], "steps", "below 2^31"),
    "folder with a null character": (["race", *SMALL, "--out", "a\0b"], "out", "null"),
    "folder below a file, deeper": (["race", *SMALL, "--out", "file/a/b/c"], "out", "can be written"),
    "script for a surface": (["race", "--surface", "<script>alert(1)</script>"], "alert", "linear_net"),
    "folder below a file": (["race", *SMALL, "--out", "file/race"], "out", "can be written"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_sentence_and_status_2(name, capsys, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    argv, *said = BAD[name]
    assert main(argv) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1, shown.err
    assert all(part in shown.err for part in said), shown.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_pgf_without_latex_is_refused_at_once(capsys, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert main(["saddle", "--pgf"]) == 2
    assert "xelatex" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", '{"colour": 1}', '{"steps": 0}', '{"steps": "many"}', '{"optimizers": 3}']
)
def test_a_config_that_is_none_is_refused(text, tmp_path, capsys):
    (tmp_path / "config.json").write_text(text)
    assert main(["race", "--config", "config.json"]) == 2
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 1, shown.err


def test_an_existing_folder_is_never_written_to(tmp_path, capsys):
    (tmp_path / "race").mkdir()
    (tmp_path / "race" / "mine.txt").write_text("mine")
    assert main(["race", *SMALL, "--out", "race"]) == 2
    assert "race-2" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "race").iterdir()] == ["mine.txt"]


def test_a_run_that_breaks_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("experiments.commands.race.summarize", interrupt)
    assert main(["race", *SMALL, "--out", "race"]) == 130
    assert list(tmp_path.iterdir()) == []
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("experiments.commands.race.write_dataset", full)
    assert main(["race", *SMALL, "--out", "race"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_json_is_one_object_on_stdout_and_nothing_on_stderr(tmp_path, capsys):
    assert main(["race", *SMALL, "--out", "race", "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    summary = json.loads(shown.out)
    assert set(summary["optimizers"]) == {"gd", "adam"}
    assert json.loads((tmp_path / "race" / "summary.json").read_text()) == {
        k: summary[k] for k in summary if k != "out"
    }


def test_a_config_reproduces_its_run(tmp_path):
    assert main(["race", *SMALL, "--out", "first", "--seed", "3", "--json"]) == 0
    assert main(["race", "--config", "first/config.json", "--out", "second", "--json"]) == 0
    first, second = (
        xarray.open_dataset(tmp_path / name / "results.nc", engine="h5netcdf") for name in ("first", "second")
    )
    for name in first.variables:
        np.testing.assert_array_equal(first[name].values, second[name].values)
    assert (tmp_path / "first" / "race.png").stat().st_size > 10_000
    assert json.loads((tmp_path / "first" / "meta.json").read_text())["seed"] == 3


def test_problems_are_listed(capsys):
    assert main(["problems", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["linear_net"]["critical_points"]["saddle"] == 1
    assert main(["problems"]) == 0
    assert "monkey_saddle" in capsys.readouterr().out


def test_experiments_are_listed_with_their_items_and_without_jax(capsys):
    assert main(["experiments", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed) == experiments()
    assert listed["saddle"]["items"] == "S52-S58"
    assert all(row["question"].endswith("?") for row in listed.values())
    assert main(["experiments"]) == 0
    assert "saddle" in capsys.readouterr().out


CHECKS = {  # what stands in for the experiments: one that passes, one that fails, one that breaks
    "good": lambda: [is_true("S1", "two is even", True)],
    "bad": lambda: [is_true("S1", "three is even", False)],
    "ugly": lambda: [1 / 0],
}


def test_all_runs_each_once_says_what_failed_and_goes_on(tmp_path, monkeypatch, capsys):
    runs = []

    def stand_in(name):
        def main(settings):
            runs.append(name)
            return conclude(settings, name, "?", lambda: (CHECKS[name](), lambda: plt.figure(figsize=(1, 1))))

        return SimpleNamespace(main=main)

    for name in CHECKS:
        monkeypatch.setitem(sys.modules, module_of(name), stand_in(name))
    monkeypatch.setattr("experiments.commands.all.experiments", lambda: list(CHECKS))
    assert all_main(All(quick=True, json=True, jobs=1)) == 1
    shown = json.loads(capsys.readouterr().out)
    assert not shown["passed"]
    failed = {name: row["failed"] for name, row in shown["experiments"].items()}
    assert failed == {"good": [], "bad": ["S1 three is even"], "ugly": ["ZeroDivisionError: division by zero"]}
    assert all_main(All(quick=True, jobs=1)) == 1
    assert "FAILED: S1 three is even" in capsys.readouterr().out
    assert runs == ["good", "bad", "ugly", "ugly"]  # what is finished is kept
    shutil.rmtree(tmp_path / "runs" / "quick" / "bad")
    monkeypatch.setattr("experiments.commands.all.experiments", lambda: {"good": Experiment})
    assert all_main(All(quick=True, jobs=2)) == 0  # from another process
    with pytest.raises(InputError, match="same size"):
        all_main(All(out=tmp_path / "runs" / "quick"))
