"""What stops a command, and what does not: signals, and a standard output that takes nothing."""

import os
import time
from types import SimpleNamespace

import pytest

from experiments import interrupts
from experiments.output import Output


def test_an_interrupt_that_python_forgets_comes_again():
    with pytest.raises(KeyboardInterrupt):
        interrupts._again(SimpleNamespace(exc_type=KeyboardInterrupt))
        time.sleep(30)


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
