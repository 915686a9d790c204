"""The guides are true: every block of them is executed, and what they add to the house fits there."""

import ast
import contextlib
import doctest
import importlib
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

import gdlab

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
README = (DOCS.parent / "README.md").read_text("utf-8")


@pytest.mark.parametrize("name", GUIDES)
def test_a_guide_runs_as_printed(name, tmp_path):
    """Every block of it, as the site shows them; a program that prints nothing teaches nothing."""
    missing = blocks.missing(DOCS / f"{name}.md")
    if missing and "GDLAB_CLIENTS" not in os.environ:
        pytest.skip(f"{name}.md runs with {', '.join(missing)}, of the extra clients")
    for block in blocks.execute(DOCS / f"{name}.md", tmp_path):
        if block.language == "python" and not blocks.FILE.match(block.text):
            assert block.shows.strip() or block.figures, f"{name}.md has a block that shows nothing"
            assert "exit status" not in block.shows or "exit status 0" in block.shows


def test_a_type_checker_accepts_what_the_guides_print(tmp_path):
    """Every program of a guide as one file, and each block of the README: whoever types it reads no error."""
    programs = {f"readme_{i}": [text] for i, (_, text) in enumerate(blocks.BLOCK.findall(README)) if "import " in text}
    for name in GUIDES:
        for language, text in blocks.BLOCK.findall((DOCS / f"{name}.md").read_text("utf-8")):
            if language == "python":
                file = blocks.FILE.match(text)
                programs.setdefault(file[1].removesuffix(".py") if file else f"guide_{name}", []).append(text)
    for name, parts in programs.items():
        (tmp_path / f"{name}.py").write_text("\n".join(parts), "utf-8")
    settings = ["--config-file", os.devnull, "--check-untyped-defs", "--ignore-missing-imports"]
    words = [sys.executable, "-m", "mypy", *settings, "--cache-dir", str(tmp_path / "cache"), str(tmp_path)]
    env = {**os.environ, "MYPYPATH": str(DOCS.parent)}
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stdout


def copied(folder, *names):
    """Copy these files and folders of the house."""
    for name in names:
        source, copy = DOCS.parent / name, folder / name
        copy.parent.mkdir(exist_ok=True)
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, copy, ignore=ignored) if source.is_dir() else shutil.copy(source, copy)


def ran(folder, *words):
    """What a module of Python does in a copy of the house."""
    words = [sys.executable, "-m", *words]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""})


def test_a_verdict_is_added_at_the_four_places_that_its_guide_names(tmp_path, monkeypatch):
    guide = (DOCS / "add_a_verdict.md").read_text("utf-8")
    source = re.search(r"```python\n(# conditioning\.py\n.*?)```", guide, re.DOTALL)[1]
    places = dict(line.split(maxsplit=1) for line in re.search(r"```text\n(.*?)```", guide, re.DOTALL)[1].splitlines())
    file, export, floors, news = places
    assert (file, export) == ("hessian/verdicts/conditioning.py", "hessian/__init__.py")
    assert (floors, news) == ("tests/test_architecture.py", "CHANGELOG.md")

    copied(tmp_path, "hessian")
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
    copied(tmp_path, "gdlab", "hessian", "experiments", "tests/test_architecture.py", "tests/test_experiments")
    guide = (DOCS / "add_an_experiment.md").read_text("utf-8")
    (file,) = re.findall(r"```python\n# halving.py\n(.*?)```", guide, re.DOTALL)
    (row,) = re.findall(r"^\| S6 .*$", guide, re.MULTILINE)
    claims, stairs = tmp_path / "experiments/lectures/README.md", tmp_path / "tests/test_architecture.py"
    tests = ("pytest", "-q", "-p", "no:cacheprovider", "tests/test_architecture.py")
    tests += ("tests/test_experiments/test_coverage.py",)
    (tmp_path / "experiments/lectures/halving.py").write_text(file, "utf-8")
    missed = ran(tmp_path, *tests, "-k", "without_a_floor or every_check").stdout
    assert "experiments.lectures.halving has no floor" in missed
    assert "test_every_check_of_an_item_stands_in_a_file_of_its_row" in missed
    claims.write_text(re.sub(r"^\| S6 .*$", row, claims.read_text("utf-8"), flags=re.MULTILINE), "utf-8")
    stairs.write_text(stairs.read_text("utf-8").replace('"saddle pokemon', '"halving saddle pokemon'), "utf-8")
    done = ran(tmp_path, *tests)
    assert done.returncode == 0, done.stdout
    assert "halving          Does a rate of 1/L halve" in ran(tmp_path, "experiments").stdout
    done = ran(tmp_path, "experiments", "halving", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["passed"]


def test_an_optimizer_is_added_in_the_places_that_its_guide_names(tmp_path):
    """The guide's own text, in a copy of the house: the laws, the example and all tables are content with four."""
    copied(tmp_path, "gdlab", "hessian", "docs", "conftest.py", "pyproject.toml", "tests")
    guide = (DOCS / "add_an_optimizer.md").read_text("utf-8")
    (classes,) = re.findall(r"^class OptimisticState.*?(?=^def)", guide, re.DOTALL | re.MULTILINE)
    (function,) = re.findall(r"^def optimistic_gd.*?(?=^optimizer)", guide, re.DOTALL | re.MULTILINE)
    (case,) = re.findall(r"^tests/cases.py +(.*)$", guide, re.MULTILINE)
    assert re.findall(r"^(\d)\. \*\*", guide, re.MULTILINE) == ["1", "2", "3", "4"]
    assert re.search(r"^CHANGELOG.md +- `gdlab\.optimistic_gd` .*\.$", guide, re.MULTILINE)

    def put(file, before, text):
        path = tmp_path / file
        old = path.read_text("utf-8")
        assert old.count(before) == 1
        path.write_text(old.replace(before, text + before), "utf-8")

    put("gdlab/directions.py", '    "Sign",\n', '    "Optimistic",\n')
    put("gdlab/directions.py", "@piece\nclass Sign", classes)
    put("gdlab/optimizers/named.py", '    "polyak",\n', '    "optimistic_gd",\n')
    put("gdlab/optimizers/named.py", "def polyak", function.replace("Optimistic(c", "directions.Optimistic(c"))
    put("tests/cases.py", '    "momentum": Case(', f"    {case}\n")
    files = ["tests/test_gdlab/test_laws.py", "gdlab/optimizers/named.py", "tests/test_fuzz.py", "tests/test_site.py"]
    chosen = "optimistic_gd or public_name or every_argument or architecture"
    done = ran(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "tests/test_architecture.py", *files, "-k", chosen)
    assert done.returncode == 0, done.stdout
    laws = re.findall(r"^def test_\w+\((?:make|bare|eager)", (DOCS.parent / files[0]).read_text("utf-8"), re.MULTILINE)
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= len(laws) + 3


def test_the_pieces_of_the_skeletons_obey_the_laws(tmp_path):
    """A scale, a schedule and a wrapper that are one optimizer."""
    guide = (DOCS / "skeletons.md").read_text("utf-8")
    with contextlib.chdir(tmp_path), blocks.importable(tmp_path):
        for name in ("scale", "schedule", "wrapper"):
            (text,) = re.findall(rf"^```python\n(# {name}\.py\n.*?)^```$", guide, re.DOTALL | re.MULTILINE)
            (tmp_path / f"{name}.py").write_text(text, "utf-8")
        scale, schedule, wrapper = map(importlib.import_module, ("scale", "schedule", "wrapper"))
    laws = loaded("laws", DOCS.parent / "tests" / "test_gdlab" / "test_laws.py")

    def make(rate):
        plain = gdlab.descent(gdlab.directions.Gradient(), scale.MeanSize(0.9), schedule.ExponentialWarmup(rate))
        return wrapper.with_longest_step(plain, 0.01)

    laws.test_scan_equals_loop(make)
    laws.test_update_is_exactly_minus_eta_over_sigma_times_m(laws.eager_steps(make))
    laws.test_gradient_of_a_run_with_respect_to_the_optimizer_equals_finite_differences(make)
    laws.test_zero_gradient_gives_zero_step_without_eps(make)
