"""The guide to scale: its bookkeeping with few processes, its arithmetic, and what it reads from compiled programs."""

import importlib.util
import re
from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "docs" / "scale.py"


@pytest.fixture(scope="module")
def scale():
    spec = importlib.util.spec_from_file_location("scale", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_shards_that_were_interrupted_merge_to_the_whole(scale, tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "LANES", 8)
    found = scale.bookkeeping(4, tmp_path)
    assert (found["lanes"], found["equal"]) == (64, "yes")
    assert len(list(tmp_path.glob("*/chunk-*.npz"))) == 8
    assert [len(values) for values in scale.grid(64).values()] == [4, 4, 4]


def test_the_arithmetic_by_hand(scale):
    measured = {"momentum": 0.5, "adam": 2.0, "shard": 10.0, "read": 2.0, "rate": 100.0, "shared_product": 3.0}
    found = scale.derived(measured)
    assert found["momentum_seconds"] == pytest.approx(10**13 * 0.5e-9 / 1024)
    assert (found["all_chunks"], found["chunks_each"]) == (15259, 15)
    assert found["product_seconds"] == pytest.approx(100 * 12 * 1e10 * 1024 / 1e11 / 1024)
    assert (found["weights"], found["basis"], found["moved"]) == pytest.approx((40, 4, 12))


def test_collectives_are_counted_with_all_of_their_outputs(scale):
    text = "x = (f32[2,3]{1,0}, f32[4]) all-reduce(a, b)\ny = f32[8] add(x, x)\nz = f32[] all-gather-start(y), d={0}"
    assert scale.received(text) == 4 * (6 + 4 + 1)


def test_the_guide_is_what_the_program_writes(scale):
    """The prose in the file is that of the program; only numbers may be older."""
    said = re.sub(r"\{[^}]*\}", "#", scale.GUIDE).split("#")
    text = FILE.with_suffix(".md").read_text(encoding="utf-8")
    assert all(part in text for part in said)
