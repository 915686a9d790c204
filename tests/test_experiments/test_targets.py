"""Commands on a target: verdicts, ways out and maps of surfaces and of a user's own loss and parameters."""

import json
import re
import struct

import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import hessian
from experiments.__main__ import main
from experiments.cli.settings import Classify, InputError
from experiments.workloads.user_loss import target

pytestmark = pytest.mark.full

LOSS = """
import jax.numpy as jnp
import numpy as np

def loss(params):
    return jnp.sum((params["a"] @ params["b"] - jnp.eye(3)) ** 2)

def vector(params):
    return params

def hill(params):
    return jnp.sum(params + params**3 / 3)

def double(w):
    return (1 - w[0] * w[1] * np.ones(1)[0]) ** 2 + (w[0] - w[1]) ** 2 * np.ones(()) / 4

def doubled(w):
    return w * 2

def converted(w):
    return float(np.sum(np.asarray(w) ** 2))

def unequal(params):
    return params["w"] @ params["w"][:1]

def broken(params):
    return params["no such name"]

def silent(params):
    assert False
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_loss.py").write_text(LOSS)
    (tmp_path / "bad.py").write_text("1 / 0")
    np.savez(tmp_path / "params.npz", a=np.zeros((3, 2)), b=np.zeros((2, 3)))
    np.savez(tmp_path / "whole.npz", a=np.zeros(3, int))
    np.savez(tmp_path / "nan.npz", a=np.full((3, 2), np.nan), b=np.zeros((2, 3)))
    np.savez(tmp_path / "pickled.npz", a=np.array([{}], dtype=object))
    np.savez(tmp_path / "one.npz", params=np.ones(1))
    np.savez(tmp_path / "empty.npz", params=np.ones((0, 3)))
    np.savez(tmp_path / "half.npz", w=np.zeros(2, jnp.bfloat16))
    (tmp_path / "short.npz").write_bytes(b"PK")


def answer(capsys, *argv):
    assert main([*argv, "--json"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return json.loads(shown.out)


def test_classify_a_surface_and_every_file_is_there(capsys, tmp_path):
    said = answer(capsys, "classify", "himmelblau")
    assert (said["kind"], said["index"]) == ("saddle", [1, 1])
    assert said["lowest"] == pytest.approx(-14.135178485450488)
    names = {path.name for path in (tmp_path / "runs" / "classify").iterdir()}
    assert names == {
        "classify.png",
        "classify.svg",
        "config.json",
        "meta.json",
        "report.html",
        "report.json",
        "summary.json",
    }


def test_classify_ones_own_loss_and_parameters(capsys):
    said = answer(capsys, "classify", "my_loss.py:loss", "--params", "params.npz")
    assert said["kind"] == "saddle"
    assert said["inertia"] == {"positive": 6, "zero": 0, "negative": 6}


def test_safetensors_are_the_same_parameters(capsys, tmp_path):
    header = {
        "__metadata__": {"format": "np"},
        "a": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]},
        "b": {"dtype": "F32", "shape": [2, 3], "data_offsets": [24, 48]},
    }
    text = json.dumps(header).encode()
    (tmp_path / "p.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(48))
    said = answer(capsys, "classify", "my_loss.py:loss", "--params", "p.safetensors")
    assert (said["kind"], said["inertia"]["negative"]) == ("saddle", 6)


def test_half_precision_is_read_as_it_was_stored_and_computed_in_float32(capsys, tmp_path):
    header = {
        "a": {"dtype": "BF16", "shape": [3, 2], "data_offsets": [0, 12]},
        "b": {"dtype": "F16", "shape": [2, 3], "data_offsets": [12, 24]},
    }
    text = json.dumps(header).encode()
    (tmp_path / "p.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(24))
    said = answer(capsys, "classify", "my_loss.py:loss", "--params", "p.safetensors")
    assert (said["kind"], said["inertia"]["negative"]) == ("saddle", 6)
    assert said["lowest"] == pytest.approx(-2)


def test_float32_parameters_find_their_way_down_a_float64_loss(capsys, tmp_path):
    np.savez(tmp_path / "single.npz", params=np.zeros(2, np.float32))
    said = answer(capsys, "escape", "my_loss.py:double", "--params", "single.npz", "--out", "way")
    assert said["end"]["arrived"]
    assert said["end"]["loss"] == pytest.approx(0, abs=1e-6)


def test_an_array_with_a_name_is_taken_itself_by_a_loss_of_an_array_and_that_is_said(capsys, tmp_path):
    np.savez(tmp_path / "named.npz", w=np.zeros(2))
    assert main(["classify", "my_loss.py:double", "--params", "named.npz"]) == 0
    shown = capsys.readouterr().out
    assert "The loss takes w, the only array of named.npz, itself." in shown
    assert "Verdict: saddle" in shown


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("doubled", "must return one number, real and floating; my_loss.py:doubled returned an array of dtype float64"),
        ("converted", "an array, as its one argument; my_loss.py:converted raised TracerArrayConversionError"),
        ("unequal", "with the names 'w', as its one argument; my_loss.py:unequal raised TypeError dot_general"),
    ],
)
def test_what_is_wrong_with_a_loss_of_one_array_is_said_of_the_array_or_of_its_name(tmp_path, name, why):
    np.savez(tmp_path / "named.npz", w=np.zeros(2))
    with pytest.raises(InputError, match=re.escape(why)):
        target(Classify(target=f"my_loss.py:{name}", params=tmp_path / "named.npz"))


def test_escape_leads_down_and_keeps_where_it_ended(capsys, tmp_path):
    said = answer(capsys, "escape", "my_loss.py:loss", "--params", "params.npz", "--out", "way")
    assert said["loss_before"] == 3
    assert said["loss_after"] < 3
    assert said["end"]["arrived"]
    assert said["end"]["loss"] == pytest.approx(1)  # rank two leaves one
    with np.load(tmp_path / "way" / "params.npz", allow_pickle=False) as kept:
        product = kept["a"] @ kept["b"]
    np.testing.assert_allclose(np.sum((product - np.eye(3)) ** 2), 1, rtol=1e-12)


def test_map_lists_every_point_and_what_each_saddle_joins(capsys, tmp_path):
    said = answer(capsys, "map", "mueller_brown")
    assert [point["index"] for point in said["points"]] == ["0", "0", "0", "1", "1"]
    assert {frozenset(point["joins"].split(" - ")) for point in said["points"][3:]} == {
        frozenset("12"),
        frozenset("02"),
    }
    assert said["euler_characteristic"] == 1
    dataset = xarray.open_dataset(tmp_path / "runs" / "map" / "results.nc", engine="h5netcdf")
    assert dict(dataset.sizes) == {"point": 5, "coordinate": 2, "mode": 2}


def test_landscape_lists_minima_and_the_saddles_between_them_and_writes_the_graph(capsys, tmp_path):
    said = answer(capsys, "landscape", "six_hump_camel", "--starts", "32", "--store", "kept", "--page")
    assert (len(said["minima"]), len(said["saddles"])) == (6, 7)
    dataset = xarray.open_dataset(tmp_path / "runs" / "landscape" / "results.nc", engine="h5netcdf")
    assert (dataset.sizes["minimum"], dataset.sizes["saddle"]) == (6, 7)
    assert (tmp_path / "runs" / "landscape" / "landscape.graphml").read_text().count("<edge ") == 7
    page = (tmp_path / "runs" / "landscape" / "page.html").read_text()
    held = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert [point["loss"] for point in held["points"]] == [*dataset.minimum_loss.values, *dataset.saddle_loss.values]
    again = answer(capsys, "landscape", "six_hump_camel", "--starts", "32", "--store", "kept", "--out", "again")
    assert {**said, "out": ""} == {**again, "out": ""}


def test_the_words_and_the_page_say_the_same_and_the_page_is_whole(capsys, tmp_path):
    (tmp_path / "<script>alert(1)<b>.py").write_text(LOSS)
    name = "<script>alert(1)<b>.py:loss"
    assert main(["classify", name, "--params", "params.npz"]) == 0
    shown = capsys.readouterr().out
    page = (tmp_path / "runs" / "classify" / "report.html").read_text()
    assert "Verdict: saddle: |g| = 0" in shown
    assert "Verdict: saddle: |g| = 0" in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert 'src="data:image/' in page
    assert "http" not in page


def test_a_config_repeats_a_run(capsys):
    first = answer(capsys, "escape", "linear_net", "--out", "first", "--seed", "3")
    again = answer(capsys, "escape", "--config", "first/config.json", "--out", "again")
    assert {**first, "out": ""} == {**again, "out": ""}


BAD = {
    "unknown surface": (["classify", "mount_doom"], "mount_doom", "FILE.py:FUNCTION"),
    "no such file": (["escape", "nowhere.py:loss"], "nowhere.py", "no file"),
    "no such function": (["classify", "my_loss.py:lost", "--params", "params.npz"], "lost", "function"),
    "no parameters": (["classify", "my_loss.py:loss"], "params", ".npz"),
    "a file that breaks": (["classify", "bad.py:loss", "--params", "params.npz"], "bad.py", "division"),
    "a loss that breaks": (["classify", "my_loss.py:broken", "--params", "params.npz"], "no such name", "raised"),
    "a loss that breaks without a word": (["race", "my_loss.py:silent", "--params", "one.npz"], "raised Assertion"),
    "no number at all": (["map", "my_loss.py:hill", "--params", "empty.npz"], "at least one number", "empty.npz"),
    "a loss that is no scalar": (["classify", "my_loss.py:vector", "--params", "params.npz"], "one number", "vector"),
    "names for a loss of an array": (
        ["classify", "my_loss.py:double", "--params", "params.npz"],
        "the names 'a', 'b'",
        "KeyError 0",
    ),
    "bfloat16 where NumPy forgets it": (
        ["classify", "my_loss.py:double", "--params", "half.npz"],
        "stored as float32",
        "V2",
    ),
    "integers": (["classify", "my_loss.py:loss", "--params", "whole.npz"], "floating", "whole.npz"),
    "no numbers": (["race", "my_loss.py:loss", "--params", "nan.npz"], "finite", "a in nan.npz"),
    "pickles": (["classify", "my_loss.py:loss", "--params", "pickled.npz"], "pickled.npz", "pickle"),
    "no archive": (["classify", "my_loss.py:loss", "--params", "short.npz"], "short.npz", "sound"),
    "another kind of file": (["classify", "my_loss.py:loss", "--params", "my_loss.py"], ".safetensors", "my_loss.py"),
    "missing parameters": (["map", "my_loss.py:loss", "--params", "none.npz"], "none.npz", "read"),
    "race without parameters": (["race", "my_loss.py:loss"], "params", ".npz"),
    "no spread": (["race", "my_loss.py:loss", "--params", "params.npz", "--spread=-1"], "spread", "at least 0"),
    "no starts": (["map", "himmelblau", "--starts", "0"], "starts", "at least 1"),
    "no symmetry": (["landscape", "himmelblau", "--symmetry", "spin:2"], "symmetry", "atoms:3"),
    "no critical point": (["map", "my_loss.py:hill", "--params", "one.npz", "--starts", "3"], "starts", "none did"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_sentence_and_status_2(name, capsys, tmp_path):
    argv, *said = BAD[name]
    before = sorted(tmp_path.iterdir())
    assert main(argv) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1, shown.err
    assert all(part in shown.err for part in said), shown.err
    assert [path for path in sorted(tmp_path.iterdir()) if path.name not in ("runs", "__pycache__")] == before


MODEL_FILE = """
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp


@jax.tree_util.register_dataclass
@dataclass
class Model:
    w: Any
    power: Any
    act: Any


def model():
    return Model(jnp.zeros(2), 2, jnp.tanh)


def loss(model):
    return (1 - model.w[0] * model.w[1]) ** model.power, {"w": model.w}


def broken():
    raise ValueError("no weights")
"""


def test_a_model_of_a_file_is_a_target_as_it_is(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(MODEL_FILE)
    found = target(Classify(target=f"{file}:loss", params=f"{file}:model"))
    assert hessian.classify(found.loss, found.params).kind == "saddle"
    with pytest.raises(InputError, match=r"^params must be what .*:broken\(\) returns; it raised ValueError: no"):
        target(Classify(target=f"{file}:loss", params=f"{file}:broken"))
    with pytest.raises(InputError, match=r"^params must hold a floating array; .*:nothing holds none"):
        target(Classify(target=f"{file}:loss", params=f"{file}:nothing"))


STREAMS = """
import jax.numpy as jnp
import numpy as np

X = np.arange(14.0).reshape(7, 2) / 7

def loss(w, x):
    return jnp.mean((x @ w - 1) ** 2)

def whole(w):
    return loss(w, X)

def batches():
    for i in range(0, 7, 3):
        yield X[i : i + 3]
"""


def test_a_verdict_over_batches_is_that_over_all_data(tmp_path, capsys):
    (tmp_path / "streams.py").write_text(STREAMS)
    np.savez(tmp_path / "w.npz", params=np.linalg.lstsq(np.arange(14.0).reshape(7, 2) / 7, np.ones(7))[0])
    ours = answer(
        capsys, "classify", "streams.py:loss", "--params", "w.npz", "--data", "streams.py:batches", "--out", "a"
    )
    alone = answer(capsys, "classify", "streams.py:whole", "--params", "w.npz", "--out", "b")
    assert ours["kind"] == alone["kind"] == "minimum"
    assert ours["lowest"] == pytest.approx(alone["lowest"], rel=1e-9)
    for name in ("streams.py:nothing", "streams.py", "w.npz"):
        with pytest.raises(InputError, match=r"^data must be"):
            target(Classify("streams.py:loss", params=tmp_path / "w.npz", data=name))


@pytest.mark.full
def test_the_way_down_over_batches_begins_along_the_curvature_of_all_data(tmp_path, capsys):
    (tmp_path / "streams.py").write_text(STREAMS.replace("x @ w - 1", "(x @ w) ** 2 - 1"))
    np.savez(tmp_path / "w.npz", params=np.zeros(2))
    found = answer(capsys, "escape", "streams.py:loss", "--params", "w.npz", "--data", "streams.py:batches")
    x = np.arange(14.0).reshape(7, 2) / 7
    assert found["curvature"] == pytest.approx(-4 * np.linalg.eigvalsh(x.T @ x / 7)[-1], rel=1e-9)
    assert found["end"]["kind"] == "minimum"
