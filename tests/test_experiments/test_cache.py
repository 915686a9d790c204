"""Where commands keep what they compile."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.cli import cache
from gdlab.ground import caches


@pytest.mark.parametrize("asked", ["off", "0"])
def test_nothing_is_kept_where_it_is_turned_off(monkeypatch, asked):
    monkeypatch.setenv("GDLAB_CACHE", asked)
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    cache.keep_compiled()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


def test_a_folder_that_is_set_for_jax_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("GDLAB_CACHE", str(tmp_path))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    cache.keep_compiled()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "elsewhere"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("system", "variable", "there"),
    [("linux", "XDG_CACHE_HOME", "home"), ("linux", None, "home/.cache"), ("darwin", None, "home/Library/Caches")],
)
def test_the_folder_is_that_of_the_platform(monkeypatch, tmp_path, system, variable, there):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    assert caches.user_cache() == tmp_path / there


@pytest.mark.full
def test_a_command_says_the_same_with_what_an_earlier_one_compiled(tmp_path):
    without = ("GDLAB_CACHE", "JAX_COMPILATION_CACHE_DIR")
    variables = {name: value for name, value in os.environ.items() if name not in without}
    words = [sys.executable, "-m", "experiments", "classify", "classical_saddle"]
    variables |= {"GDLAB_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(Path(cache.__file__).parents[2])}
    runs = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        runs.append(subprocess.run(words, env=variables, cwd=tmp_path / name, capture_output=True, text=True))
    assert [(run.returncode, run.stderr) for run in runs] == [(0, "")] * 2
    assert runs[0].stdout == runs[1].stdout
    assert len(list((tmp_path / "cache" / "compiled" / caches.processor()).iterdir())) > 0
