"""lab.py: what it would start, when it sets up, and what it leaves to the program it starts.

Every interpreter and every uv here is a small shell script that writes down how it was called; nothing is installed.
"""

import ast
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[1] / "lab.py"
PYTHON = sys.executable

pytestmark = [pytest.mark.full, pytest.mark.skipif(os.name != "posix", reason="the fake programs are shell scripts")]

# A script that writes its name, its folder and each of its arguments in brackets, then does more.
FAKE = """#!/bin/sh
{{ printf '%s in %s:' "{name}" "$(pwd -P)"; printf ' [%s]' "$@"; echo; }} >> "{log}"
{more}
"""

# What `python -m venv --clear FOLDER` does; it refuses to put pip into the folder where a file says so.
FAKE_VENV = """
[ "$2" = venv ] || exit 0
case "$*" in *--without-pip*) ;; *) [ -e "{refusal}" ] && exit 1 ;; esac
for folder; do :; done
rm -rf "$folder" && mkdir -p "$folder/bin" && cp "{python}" "$folder/bin/python"
"""


class House:
    """A folder with the launcher, a pyproject.toml, and fake programs that keep a common log."""

    def __init__(self, folder: Path):
        self.folder = folder / "a house"  # The space is on purpose.
        self.programs = folder / "programs"
        self.outside = folder / "outside"
        for place in (self.folder, self.programs, self.outside):
            place.mkdir()
        self.log = folder / "log"
        self.refusal = folder / "no ensurepip"
        shutil.copy(LAUNCHER, self.folder / "lab.py")
        (self.folder / "pyproject.toml").write_text("[project]\n")
        self.fake("venv-python", more="exit ${STATUS:-0}")
        venv = FAKE_VENV.format(refusal=self.refusal, python=self.programs / "venv-python")
        self.base = self.fake("base-python", more=venv)
        self.variables = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}

    def fake(self, name: str, more: str = "", folder: Path | None = None) -> Path:
        script = (folder or self.programs) / name
        script.write_text(FAKE.format(name=name, log=self.log, more=more))
        script.chmod(0o755)
        return script

    def add_uv(self, more: str = "") -> None:
        folder = self.programs / "with uv"
        folder.mkdir()
        self.fake("uv", more, folder)
        self.variables["PATH"] = f"{folder}:{self.variables['PATH']}"

    def calls(self) -> list[str]:
        """What the fake programs were called with since the last time this was asked."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.write_text("")
        return lines

    def module(self):
        """The launcher as a module."""
        spec = importlib.util.spec_from_file_location("lab_under_test", self.folder / "lab.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
        """The launcher as a program, called from another folder, whose base interpreter is the fake one."""
        start = (
            f"import runpy, sys; sys.executable = sys._base_executable = {str(self.base)!r}; "
            "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], None, '__main__')"
        )
        return subprocess.run(
            [PYTHON, "-c", start, str(self.folder / "lab.py"), *arguments],
            cwd=self.outside,
            env={**self.variables, **variables},
            capture_output=True,
            text=True,
            timeout=60,
        )


@pytest.fixture
def house(tmp_path, monkeypatch):
    house = House(tmp_path.resolve())
    monkeypatch.setenv("PATH", house.variables["PATH"])
    monkeypatch.delenv("GDLAB_EXTRAS", raising=False)
    monkeypatch.setattr(sys, "_base_executable", str(house.base))
    monkeypatch.setattr(sys, "executable", str(house.base))
    return house


def set_up_again(house) -> bool:
    """Whether a further command sets up; its own call is taken from the log as well."""
    finished = house.run("race")
    assert finished.returncode == 0, finished.stderr
    return any("[venv]" in call for call in house.calls())


def test_what_it_starts_is_told_how_it_was_called(house):
    house.add_uv(more='echo "$GDLAB_LAUNCHER"')
    assert house.run("race").stdout == f"python3 '{house.folder}/lab.py'\n"  # the space in the name needs quotes


# ---------------------------------------------------------------------------------------------- without a set-up


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]], ids=["nothing", "--help", "-h"])
def test_the_usage_needs_no_set_up(house, arguments):
    finished = house.run(*arguments)
    assert finished.returncode == 0
    assert "python3 lab.py race" in finished.stdout
    assert "python3 lab.py test" in finished.stdout
    assert not house.calls()
    assert not (house.folder / ".venv").exists()


def test_an_old_python_can_read_the_launcher():
    ast.parse(LAUNCHER.read_text(), feature_version=(3, 6))


def test_the_launcher_imports_the_standard_library_only():
    nodes = list(ast.walk(ast.parse(LAUNCHER.read_text())))
    assert not [node for node in nodes if isinstance(node, ast.ImportFrom)]
    assert {
        alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
    } <= sys.stdlib_module_names


def test_an_old_python_without_uv_gets_one_sentence(house, monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 8, 18))
    with pytest.raises(SystemExit) as exit:
        house.module().main(["race"])
    assert exit.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "lab.py: gdlab needs Python 3.11 or newer, or uv on PATH; this is Python 3.8.\n"
    assert not house.calls()


# --------------------------------------------------------------------------------------------------------- with uv


def test_uv_runs_experiments_where_it_was_called(house):
    house.add_uv()
    house.run("race", "--lr", "1e-3:1:40")
    project = f"[run] [--quiet] [--project] [{house.folder}] [--extra] [test]"
    assert house.calls() == [
        f"uv in {house.outside}: {project} [python] [-m] [experiments] [race] [--lr] [1e-3:1:40]",
    ]


def test_uv_runs_the_tests_in_the_folder_of_the_project(house):
    house.add_uv()
    house.run("test", "-x", "tests")
    (call,) = house.calls()
    assert call.startswith(f"uv in {house.folder}:")
    assert call.endswith("[python] [-m] [pytest] [-x] [tests]")


def test_without_arguments_all_of_the_tests_run_on_every_core(house):
    house.add_uv()
    house.run("test")
    (call,) = house.calls()
    spread = "[-n] [auto] [--maxprocesses] [4] [--dist] [worksteal]"
    assert call.endswith(f"[python] [-m] [pytest] {spread}")
    house.run("test", "--fast")
    assert house.calls()[-1].endswith(f"[python] [-m] [pytest] [-m] [not full] {spread}")


def test_uv_gets_the_extras_of_the_environment(house):
    house.add_uv()
    house.run("race", GDLAB_EXTRAS="cuda, docs")
    (call,) = house.calls()
    assert "[--extra] [cuda] [--extra] [docs] [--extra] [test]" in call


def test_the_site_is_built_where_it_was_asked_for_with_the_extra_docs(house):
    house.add_uv()
    house.run("docs", "--out", "here")
    (call,) = house.calls()
    assert call.startswith(f"uv in {house.outside}:")
    assert call.endswith(f"[--extra] [docs] [--extra] [test] [python] [{house.folder}/docs/build.py] [--out] [here]")


def test_the_extra_docs_is_installed_once_and_harms_no_other_command(house):
    house.run("docs")
    assert house.calls()[1].endswith("[--editable] [.[docs,test]]")
    assert not set_up_again(house)


def test_uv_is_asked_before_the_version_of_python(house, monkeypatch):
    house.add_uv()
    monkeypatch.setenv("PATH", house.variables["PATH"])
    monkeypatch.setattr(sys, "version_info", (3, 8, 18))
    words = house.module().command(["race"])
    assert words[1] == "run"
    assert words[-3:] == ["-m", "experiments", "race"]


def test_uv_leaves_its_exit_status_and_its_output_alone(house):
    house.add_uv("echo out; exit 7")
    finished = house.run("race")
    assert finished.returncode == 7
    assert finished.stdout == "out\n"


def test_the_first_command_with_uv_says_what_it_does(house):
    house.add_uv('mkdir -p "$4/.venv"')  # The fourth argument is the folder of the project.
    assert house.run("race").stderr == "lab.py: setting up .venv with uv, once; this takes a minute or two\n"
    assert house.run("race").stderr == ""


# -------------------------------------------------------------------------------------------------------- with pip


def test_the_first_command_sets_up_and_the_second_does_not(house):
    first = house.run("race")
    venv = house.folder / ".venv"
    options = "[install] [--quiet] [--disable-pip-version-check] [--no-compile] [--editable] [.[test]]"
    assert house.calls() == [
        f"base-python in {house.outside}: [-m] [venv] [--clear] [{venv}]",
        f"venv-python in {house.folder}: [-m] [pip] {options}",
        f"venv-python in {house.outside}: [-m] [experiments] [race]",
    ]
    assert first.returncode == 0
    assert first.stdout == ""
    assert first.stderr == "lab.py: setting up .venv with pip, once; this takes a minute or two\n"
    second = house.run("test", "-q")
    assert house.calls() == [f"venv-python in {house.folder}: [-m] [pytest] [-q]"]
    assert second.stdout == second.stderr == ""


def test_a_python_without_ensurepip_lends_its_own_pip(house):
    house.refusal.touch()
    finished = house.run("race")
    venv = house.folder / ".venv"
    calls = house.calls()
    assert finished.returncode == 0
    assert calls[1].endswith(f"[-m] [venv] [--clear] [--without-pip] [{venv}]")
    assert calls[2].startswith(f"base-python in {house.folder}: [-m] [pip] [--python] [{venv / 'bin' / 'python'}]")
    assert calls[2].endswith("[--editable] [.[test]]")


def test_the_extras_of_the_environment_are_installed(house):
    house.run("race", GDLAB_EXTRAS="cuda")
    assert house.calls()[1].endswith("[--editable] [.[cuda,test]]")
    assert not set_up_again(house), "an extra that is installed but not asked for does no harm"


def change_pyproject(house):
    (house.folder / "pyproject.toml").write_text("[project]\nversion = '2'\n")


def move_the_folder(house):
    house.folder = house.folder.rename(house.folder.with_name("elsewhere"))


def lose_the_interpreter(house):
    (house.folder / ".venv" / "bin" / "python").unlink()


def ask_for_an_extra(house):
    house.variables["GDLAB_EXTRAS"] = "cuda"


def forget_the_stamp(house):
    (house.folder / ".venv" / "gdlab-stamp").unlink()


def spoil_the_stamp(house):
    (house.folder / ".venv" / "gdlab-stamp").write_text("")


CHANGES = [change_pyproject, move_the_folder, lose_the_interpreter, ask_for_an_extra, forget_the_stamp, spoil_the_stamp]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_that_matters_sets_up_once_more(house, change):
    assert set_up_again(house)
    change(house)
    assert set_up_again(house)
    assert not set_up_again(house)


def test_another_python_sets_up_once_more(house, monkeypatch):
    module = house.module()
    module.set_up()
    assert module.is_set_up()
    monkeypatch.setattr(sys, "version", "3.99.0")
    assert not module.is_set_up()


def test_a_set_up_that_fails_is_told_and_done_again(house):
    failed = house.run("race", STATUS="3")
    assert failed.returncode == 3
    assert failed.stderr.count("\n") == 2
    assert "lab.py: the set-up failed." in failed.stderr
    assert not (house.folder / ".venv" / "gdlab-stamp").exists()
    assert not any("[experiments]" in call for call in house.calls())
    assert set_up_again(house)


def test_a_set_up_that_is_interrupted_is_done_again(house, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    module = house.module()
    monkeypatch.setattr(module.subprocess, "check_call", interrupt)
    assert module.main(["race"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not module.is_set_up()


def test_output_of_the_set_up_stays_off_stdout(house):
    house.fake("venv-python", more="echo talkative; exit 0")
    finished = house.run("race")
    assert finished.stdout == "talkative\n", "that of the experiment alone"
    assert finished.stderr.endswith("talkative\n")


# -------------------------------------------------------------------------------------------- what is handed through


@pytest.mark.parametrize("status", [0, 1, 5, 77])
def test_the_exit_status_is_that_of_the_program(house, status):
    house.module().set_up()
    assert house.run("race", STATUS=str(status)).returncode == status


def test_arguments_arrive_as_they_were_typed(house):
    house.module().set_up()
    house.calls()
    house.run("race", "two words", "", "$HOME", "--", "test", "*")
    (call,) = house.calls()
    assert call.endswith("[experiments] [race] [two words] [] [$HOME] [--] [test] [*]")


def test_an_interrupt_reaches_the_program(house):
    house.module().set_up()
    ready = house.outside / "ready"
    waiting = f'trap "exit 42" INT; touch "{ready}"; while :; do sleep 0.05; done'
    shutil.copy(house.fake("venv-python", more=waiting), house.folder / ".venv" / "bin" / "python")
    process = subprocess.Popen([PYTHON, str(house.folder / "lab.py"), "race"], env=house.variables)
    for _ in range(400):
        if ready.exists():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 42


def test_windows_has_its_own_place_for_the_interpreter(house, monkeypatch):
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        python = house.module().PYTHON
    assert python == str(house.folder / ".venv" / "Scripts" / "python.exe")


def test_windows_has_no_exec_but_the_exit_status_is_the_same(house, monkeypatch):
    module = house.module()
    module.set_up()
    handlers = []
    monkeypatch.setenv("STATUS", "9")
    monkeypatch.setattr(signal, "signal", lambda *handler: handlers.append(handler))
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        status = module.main(["race"])
    assert status == 9
    assert handlers == [(signal.SIGINT, signal.SIG_IGN)]
