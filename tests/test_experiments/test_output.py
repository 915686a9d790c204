"""What stops a command, and what does not: signals, another process, and a standard output that takes nothing."""

import os
import time
from types import SimpleNamespace

import pytest

from experiments.__main__ import main
from experiments.cli import signals
from experiments.cli.stdout import Output
from experiments.reporting.run_folder import held, new_folder

pytestmark = pytest.mark.full


def test_an_interrupt_that_python_forgets_comes_again():
    with pytest.raises(KeyboardInterrupt):
        signals._again(SimpleNamespace(exc_type=KeyboardInterrupt))
        for _ in range(3000):  # it comes between two instructions, and wakes no sleep
            time.sleep(0.01)


@pytest.mark.parametrize(("target", "status"), [("a closed pipe", 0), ("/dev/full", 2)])
def test_work_goes_on_when_its_words_are_not_taken(target, status, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    if target == "/dev/full":
        os.dup2(os.open(target, os.O_WRONLY), writer)
    with open(writer, "w", buffering=1) as stream:
        output = Output(stream)
        print("a line", file=output)
        print("another", file=output, flush=True)
        assert output.closed_with(0) == status
    said = capsys.readouterr().err
    assert said == ("" if status == 0 else "error: stdout must be writable; No space left on device\n")


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path):
    left, held_by_us = tmp_path / ".out-12345678.partial", tmp_path / ".out-abcdefgh.partial"
    for folder in (left, held_by_us):
        (folder / "inside").mkdir(parents=True)
    with held(held_by_us), new_folder(tmp_path / "out"):
        assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == [held_by_us.name, "out"]


def test_experiments_are_not_run_into_one_folder_by_two_at_once(tmp_path, capsys):
    with held(tmp_path):
        assert main(["all", "--quick", "--out", str(tmp_path)]) == 2
    assert "in use" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
