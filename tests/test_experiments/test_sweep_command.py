"""Sweeps on the command line: shares merge to the whole, and what is wrong with a store is one sentence."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray

from experiments.__main__ import main

pytestmark = pytest.mark.full

FLAGS = ["himmelblau", "--optimizers", "gd,adam", "--lr", "1e-3:1:6", "--starts", "4", "--steps", "200", "--chunk", "5"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read(folder):
    with xarray.open_dataset(f"{folder}/results.nc", engine="h5netcdf") as dataset:
        return dataset.load()


def refused(capsys, *argv):
    assert main([*argv]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    return said[0]


def test_shares_merge_to_the_whole_and_nothing_else_does(capsys):
    assert main(["sweep", *FLAGS, "--out", "whole", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    for i in (1, 2):
        assert main(["sweep", *FLAGS, "--store", f"s/{i}", "--shard", f"{i}/2"]) == 0
    assert main(["merge", "s/1", "s/2", "--out", "merged", "--json"]) == 0
    captured = capsys.readouterr()
    merged = json.loads(captured.out.splitlines()[-1])
    assert {**merged, "out": ""} == {**said, "out": ""}
    whole = read("whole")
    assert read("merged").equals(whole)
    assert whole["step"].values[[0, 1, -1]].tolist() == [0, 2, 200]
    best = said["optimizers"][1]
    final = whole["loss"].sel(optimizer="adam", lr=best["best_lr"], step=200)
    assert best["median_loss"] == np.quantile(final, 0.5, method="nearest")
    assert said["optimizers"][0]["diverged"] == 1 - whole["alive"].sel(optimizer="gd").mean()

    assert "chunk 1 is missing in all 1" in refused(capsys, "merge", "s/1", "--out", "bad")
    assert "must not overlap" in refused(capsys, "merge", "s/1", "s/2", "s/2", "--out", "bad")
    assert "shard is [0, 2] there" in refused(capsys, "sweep", *FLAGS, "--store", "s/1", "--shard", "2/2")
    assert "axis lr" in refused(capsys, "sweep", *FLAGS, "--lr", "1e-3:1:7", "--store", "s/1", "--shard", "1/2")
    assert not Path("bad").exists()

    chunk = Path("s/1/chunk-00000.npz")
    chunk.write_bytes(chunk.read_bytes()[:99])
    assert main(["sweep", *FLAGS, "--store", "s/1", "--shard", "1/2"]) == 0
    assert capsys.readouterr().err.startswith("note: s/1/chunk-00000.npz is damaged")
    assert main(["merge", "s/1", "s/2", "--out", "again"]) == 0
    assert read("again").equals(whole)


@pytest.mark.parametrize("shard", ["0/2", "3/2", "1", "a/b", "1/2/3"])
def test_a_share_that_is_none_is_refused(shard, capsys):
    assert "shard must be i/n" in refused(capsys, "sweep", *FLAGS, "--store", "s", "--shard", shard)


def test_a_share_needs_a_store(capsys):
    assert "store must name a folder" in refused(capsys, "sweep", *FLAGS, "--shard", "1/2")
