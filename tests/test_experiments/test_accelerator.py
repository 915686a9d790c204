"""The measure of a device: pieces are kept, resumed and judged, and their programs are those of any platform."""

import json
import re
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from experiments.__main__ import main
from experiments.commands import accelerator
from experiments.workloads import device_accuracy, device_speed
from experiments.workloads.measured import COLUMNS, Row, cells

pytestmark = pytest.mark.full

PLATFORMS = ("cuda", "tpu")
RATES = {"bytes": 1e9, "flops": 1e9}
LIMITS = [Row("a copy", "1", 2.0, "GB/s"), Row("a product", "1", 3.0, "GFLOP/s")]


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A command of two pieces that compute nothing, and how often each was measured."""
    monkeypatch.chdir(tmp_path)
    made, verdicts = {"limits": 0, "law": 0}, [True]

    def piece(name, rows):
        made[name] += 1
        return rows

    law = lambda rates: piece("law", [Row("a law", "1", rates["bytes"], "eps", "at most", 4.0, passed=verdicts[0])])  # noqa: E731
    monkeypatch.setattr(accelerator, "pieces", lambda quick: {"limits": lambda _: piece("limits", LIMITS), "law": law})
    return made, verdicts


def test_each_piece_is_measured_once_and_a_second_call_measures_what_is_missing(counted, capsys):
    made, _ = counted
    assert main(["accelerator", "--store", "s", "--pieces", "limits", "--json"]) == 0
    assert main(["accelerator", "--store", "s", "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert made == {"limits": 1, "law": 1}
    assert said["rows"]["law"][0]["value"] == 2e9  # in bytes, from the piece that was there
    Path("s/law.json").write_text('{"rows"')
    assert main(["accelerator", "--store", "s"]) == 0
    assert made == {"limits": 1, "law": 2}
    table = [line for line in Path("s/accelerator.md").read_text().splitlines() if line.startswith("|")]
    assert len(table) == 2 + 3 and all(line.count("|") == len(COLUMNS) + 2 for line in table)
    assert json.loads(Path("s/accelerator.json").read_text())["rows"] == said["rows"]


def test_a_law_that_fails_and_a_piece_that_is_missing_are_status_1(counted, monkeypatch, capsys):
    _, verdicts = counted
    verdicts[0] = False
    assert main(["accelerator", "--store", "s"]) == 1
    assert "FAILED" in capsys.readouterr().out
    clock = iter(range(0, 10**6, 100))
    monkeypatch.setattr(accelerator.time, "monotonic", lambda: next(clock))
    assert main(["accelerator", "--store", "t", "--minutes", "1"]) == 1
    assert "note: limits is missing: 1 minutes are over" in capsys.readouterr().err

    def broken(rates):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(accelerator, "pieces", lambda quick: {"limits": lambda _: LIMITS, "leaf": broken})
    assert main(["accelerator", "--store", "u", "--pieces", "leaf"]) == 1
    assert "leaf is missing: RuntimeError" in capsys.readouterr().err


WRONG = {
    "a store of another size": (["--store", "s", "--quick"], "quick is False there and True here"),
    "no piece": (["--store", "s", "--pieces", "law,what"], "pieces must be among limits, law; got 'what'"),
    "no time": (["--store", "s", "--minutes", "0"], "minutes must be above 0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bad_input_is_one_sentence(name, counted, capsys):
    flags, words = WRONG[name]
    assert main(["accelerator", "--store", "s"]) == 0
    capsys.readouterr()
    assert main(["accelerator", *flags]) == 2
    assert words in capsys.readouterr().err


def test_a_row_says_by_how_much_ours_is_faster_and_how_near_to_the_limit():
    assert cells(Row("a step", "one leaf", 2.0, "ms", "optax:", 3.0, 0.5))[2:] == [
        "2 ms",
        "optax: 3",
        "1.50",
        "0.5",
        "25%",
        "",
    ]
    assert cells(Row("a law", "", 5.0, "eps", "at most", 4.0, passed=False))[3:] == ["at most 4", "", "", "", "FAILED"]


def test_an_error_is_counted_in_eps_of_the_dtype():
    exact = {"a": np.array([1.0, 0.0]), "b": np.array(0.0)}
    off = {"a": np.array([1.0, 3 * 2.0**-23]), "b": np.array(4 * 2.0**-23)}
    assert device_accuracy.error(off, exact, np.float32, 2) == pytest.approx(2.5)


DATA = np.ones((4, 64), "float32"), np.zeros(4, "int32")
LAYERS = [{"w": np.ones((64, 10), "float32"), "b": np.ones(10, "float32")}]
PROGRAMS = {
    "a walk": lambda: (partial(device_accuracy.walked, device_accuracy.SMOOTH["adam"], "float32"), DATA[0]),
    "a run": lambda: (partial(device_accuracy.descended, "float32"), np.float32(0.1)),
    "a run of optax": lambda: (partial(device_speed.theirs, "adam", device_speed.waves, 3), np.float32(0.1)),
    "a product": lambda: (device_speed.of_ours, LAYERS, DATA, LAYERS),
    "a product by hand": lambda: (device_speed.by_hand, LAYERS, DATA, LAYERS),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_its_programs_are_lowered_for_gpus_and_tpus(name):
    with jax.enable_x64(False):
        fn, *args = PROGRAMS[name]()
        text = jax.jit(fn).trace(*args).lower(lowering_platforms=PLATFORMS).as_text()
        assert not re.search(r"f64>|callback|xla_cpu|lapack", text)


def test_every_piece_measures_at_a_small_size():
    with jax.enable_x64(False):
        rows = device_speed.limits(1, 2**10, 8)
        assert set(device_speed.rates_of(rows)) == set(RATES)
        rows += device_speed.sweeps(RATES, 1, 3, 2) + device_speed.leaves(RATES, 1, 100)
        rows += device_speed.lanczos(RATES, 1, 3, 4, 4)
    assert all(row.value > 0 and row.passed is None for row in rows)
    assert all(row.other > 0 and row.limit > 0 for row in rows[5:])
    judged = device_accuracy.laws(("radam",)) + device_accuracy.verdicts(("double_well_quadratic",))
    assert [row.passed for row in judged] == [True] * 5
    assert judged[-1].value == judged[-1].other == 3
