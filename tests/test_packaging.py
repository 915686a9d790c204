"""pyproject.toml: one list of test tools for pip and for uv, every library declared, and every one explained."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+", requirement).group() for requirement in requirements}


DECLARED = names(PROJECT["project"]["dependencies"])
EXTRAS = {"hessian": {"flint", "ival"}}  # what an extra brings, and a room does without
TESTED_WITH = names(PROJECT["project"]["optional-dependencies"]["test"])
DOCUMENTED_WITH = names(PROJECT["project"]["optional-dependencies"]["docs"])


def test_pip_and_uv_install_the_same_test_tools():
    assert PROJECT["dependency-groups"]["test"] == PROJECT["project"]["optional-dependencies"]["test"]
    assert PROJECT["tool"]["uv"]["default-groups"] == ["test"]


def imported(folder: Path) -> set[str]:
    """The libraries, outside the standard one, that the files of a folder import."""
    found = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_is_declared(room):
    assert imported(ROOT / room) <= DECLARED | EXTRAS.get(room, set())


def test_the_tests_import_only_what_is_declared():
    assert imported(ROOT / "tests") <= DECLARED | TESTED_WITH | EXTRAS["hessian"] | {"cases"}


def test_contributing_explains_every_dependency_and_no_other():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## What the dependencies are for")[2]
    explained = {
        name for row in re.findall(r"^\| (`.*?`) \|", text, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)
    }
    assert explained == DECLARED | TESTED_WITH | DOCUMENTED_WITH | {"jax[cuda13]"}


def test_every_dependency_is_pinned_with_its_hashes():
    pinned = re.findall(
        r"^([\w-]+)==\S+.*?\\$(?=\n    --hash=sha256:)", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )
    assert set(pinned) >= DECLARED | TESTED_WITH
