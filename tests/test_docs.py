"""The guides are true: every block of them is executed, and what they add to the house fits there."""

import ast
import doctest
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.full

DOCS = Path(__file__).parents[1] / "docs"


def loaded(name, path):
    """The module in a file."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


blocks = loaded("blocks", DOCS / "blocks.py")
GUIDES = sorted(path.stem for path in DOCS.glob("*.md"))


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_runs_as_printed(name, tmp_path):
    """Every block of it, as the site shows them; a program that prints nothing teaches nothing."""
    for block in blocks.execute(DOCS / f"{name}.md", tmp_path):
        if block.language == "python" and not blocks.FILE.match(block.text):
            assert block.shows.strip() or block.figures, f"{name}.md has a block that shows nothing"
            assert "exit status" not in block.shows or "exit status 0" in block.shows


def test_a_verdict_is_added_at_the_four_places_that_its_guide_names(tmp_path, monkeypatch):
    guide = (DOCS / "add_a_verdict.md").read_text("utf-8")
    source = re.search(r"```python\n(# conditioning\.py\n.*?)```", guide, re.DOTALL)[1]
    places = dict(line.split(maxsplit=1) for line in re.search(r"```text\n(.*?)```", guide, re.DOTALL)[1].splitlines())
    file, export, floors, news = places
    assert (file, export) == ("hessian/verdicts/conditioning.py", "hessian/__init__.py")
    assert (floors, news) == ("tests/test_architecture.py", "CHANGELOG.md")

    shutil.copytree(DOCS.parent / "hessian", tmp_path / "hessian", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / file).write_text(source, encoding="utf-8")
    with (tmp_path / export).open("a", encoding="utf-8") as init:
        init.write(places[export] + "\n")
    house = loaded("house", DOCS.parent / floors)
    complaints = [complaint for check in house.CHECKS for complaint in check(tmp_path)]
    assert ["no floor" in complaint for complaint in complaints] == [True]
    monkeypatch.setitem(
        house.STAIRS, "hessian.verdicts", ast.literal_eval("{" + places[floors] + "}")["hessian.verdicts"]
    )
    assert [complaint for check in house.CHECKS for complaint in check(tmp_path)] == []

    added = loaded("hessian.verdicts.conditioning", tmp_path / file)
    names = places[export].partition(" import ")[2].split(", ")
    assert [hasattr(added, name) for name in names] == [True, True]
    assert tuple(doctest.testmod(added)) == (0, 2)
    arguments = list(inspect.signature(added.conditioning).parameters)
    laws = loaded("laws", DOCS.parent / "tests" / "test_fuzz.py")
    assert all(laws.kind_of("hessian.conditioning", argument) for argument in arguments)
    assert re.fullmatch(r"- `hessian\.conditioning` .*\.", places[news])


def test_an_experiment_is_added_in_the_places_that_its_guide_names(tmp_path):
    """The guide's own file and row, in a copy of the house: its tests miss the places, until all of them are there."""
    for name in ("gdlab", "hessian", "experiments", "tests/test_architecture.py", "tests/test_experiments"):
        source, copy = DOCS.parent / name, tmp_path / name
        copy.parent.mkdir(exist_ok=True)
        shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    guide = (DOCS / "add_an_experiment.md").read_text("utf-8")
    (file,) = re.findall(r"```python\n# halving.py\n(.*?)```", guide, re.DOTALL)
    (row,) = re.findall(r"^\| S6 .*$", guide, re.MULTILINE)
    claims, stairs = tmp_path / "experiments/lectures/README.md", tmp_path / "tests/test_architecture.py"

    def run(*words):
        words = [sys.executable, "-m", *words]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""})

    tests = ("pytest", "-q", "-p", "no:cacheprovider", "tests/test_architecture.py")
    tests += ("tests/test_experiments/test_coverage.py",)
    (tmp_path / "experiments/lectures/halving.py").write_text(file, "utf-8")
    missed = run(*tests).stdout
    assert "experiments.lectures.halving has no floor" in missed
    assert "test_every_check_of_an_item_stands_in_a_file_of_its_row" in missed
    claims.write_text(re.sub(r"^\| S6 .*$", row, claims.read_text("utf-8"), flags=re.MULTILINE), "utf-8")
    stairs.write_text(stairs.read_text("utf-8").replace('"saddle pokemon', '"halving saddle pokemon'), "utf-8")
    done = run(*tests)
    assert done.returncode == 0, done.stdout
    assert "halving          Does a rate of 1/L halve" in run("experiments").stdout
    done = run("experiments", "halving", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["passed"]


@pytest.mark.full
def test_an_optimizer_added_as_the_guide_says_obeys_the_laws():
    """The guide's own text makes the piece and the optimizer; its places are files that exist, and there are four."""
    guide, names = (DOCS / "add_an_optimizer.md").read_text("utf-8"), {}
    for block in re.findall(r"```python\n(.*?)```", guide, re.DOTALL):
        exec(compile(block, "add_an_optimizer.md", "exec"), names)
    places = re.findall(r"^(\d)\. \*\*.*?(?=^\d\. |\Z)", guide, re.DOTALL | re.MULTILINE)
    assert places == ["1", "2", "3", "4"]
    for file in re.findall(r"`((?:gdlab|tests)/[\w/]+\.py|CHANGELOG\.md)`", guide):
        assert (DOCS.parent / file).is_file()
    spec = importlib.util.spec_from_file_location("laws", Path(__file__).parent / "test_gdlab" / "test_laws.py")
    laws = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(laws)
    tested = [law for name, law in vars(laws).items() if name.startswith("test_") and arguments(law) == ["make"]]
    assert len(tested) >= 12
    for law in tested:
        law(names["optimistic_gd"])


def arguments(function):
    return list(inspect.signature(function).parameters)
