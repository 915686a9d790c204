"""`prove` and `check`: a record is written where something is proved, and replays; the exit status says which."""

import json

import pytest

pytest.importorskip("flint")

from experiments.__main__ import main

pytestmark = pytest.mark.full


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_saddle_is_proved_and_its_record_is_that_of_the_surface_and_of_no_other(folder, capsys):
    assert main(["prove", "linear_net"]) == 0
    shown = capsys.readouterr().out
    assert "proved: exactly one critical point" in shown
    assert "proof.json" in shown.splitlines()[-1]
    assert json.loads((folder / "runs/prove/summary.json").read_text())["index"] == 1
    assert main(["check", "runs/prove/proof.json"]) == 0
    assert "taken for granted" in capsys.readouterr().out
    assert main(["check", "runs/prove/proof.json", "--loss", "linear_net", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] is True
    assert main(["check", "runs/prove/proof.json", "--loss", "himmelblau"]) == 1


def test_a_degenerate_point_is_not_proved_and_has_no_record(folder, capsys):
    assert main(["prove", "quartic_min", "--out", "flat", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["proved"], found["kind"], found["index"]) == (False, "not proved", None)
    assert not (folder / "flat/proof.json").exists()


def test_a_loss_of_ones_own_is_proved_and_compared(folder, capsys):
    (folder / "mine.py").write_text("import jax.numpy as jnp\n\ndef loss(w):\n    return jnp.sum(jnp.cosh(w - 0.3))\n")
    import numpy as np

    np.savez(folder / "w.npz", w=np.full(2, 0.3))
    assert main(["prove", "mine.py:loss", "--params", "w.npz"]) == 0
    assert main(["check", "runs/prove/proof.json", "--loss", "mine.py:loss"]) == 0
    assert "is that of mine.py:loss" in capsys.readouterr().out


def test_what_is_no_record_is_one_sentence(folder, capsys):
    (folder / "x.json").write_text("{}")
    assert main(["check", "x.json"]) == 2
    assert (
        capsys.readouterr().err
        == "error: x.json: a record must have the format 'gdlab proof 1' or 'gdlab curvature 1' or 'gdlab list 1'\n"
    )
    assert main(["check", "nothing.json"]) == 2


def test_a_record_whose_index_was_changed_does_not_pass(folder, capsys):
    assert main(["prove", "classical_saddle"]) == 0
    record = folder / "runs/prove/proof.json"
    data = json.loads(record.read_text())
    record.write_text(json.dumps({**data, "index": 0}))
    assert main(["check", str(record)]) == 2
    assert "must say what its numbers say" in capsys.readouterr().err
    said = data["statement"].replace("a saddle", "a minimum").replace("exactly 1 are", "exactly 0 are")
    record.write_text(json.dumps({**data, "index": 0, "statement": said}))
    assert main(["check", str(record)]) == 1
    assert "not replayed" in capsys.readouterr().out


def test_all_points_of_a_box_are_proved_and_the_list_is_checked(folder, capsys):
    assert main(["prove", "himmelblau", "--box=-6:6", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["complete"], len(found["points"]), found["undecided"]) == (True, 9, [])
    assert (folder / "runs/prove/prove.png").stat().st_size > 10_000
    assert main(["check", "runs/prove/proof.json", "--loss", "himmelblau"]) == 0
    assert "and no others" in capsys.readouterr().out
    assert main(["prove", "linear_net", "--box=-2:2,-2:2.1", "--out", "valley"]) == 1
    assert not (folder / "valley/proof.json").exists()
    assert main(["prove", "himmelblau", "--box=6:-6"]) == 2
    assert "box must be LOW:HIGH for each of the 2 parameters" in capsys.readouterr().err


def test_a_map_proves_its_points_and_writes_a_record_of_each(folder, capsys):
    assert main(["map", "himmelblau", "--starts", "200", "--proof", "--out", "map"]) == 0
    assert "9 of 9 are proved" in capsys.readouterr().out
    assert main(["check", "map/proof_8.json", "--loss", "himmelblau"]) == 0
