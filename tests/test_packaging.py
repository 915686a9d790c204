"""pyproject.toml: one list of test tools for pip and for uv, every library declared, and every one explained."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WHEEL = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
ROOMS = WHEEL["only-include"]
INSTALLED = {room: WHEEL["sources"].get(room, room) for room in ROOMS}


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w-]+", requirement).group() for requirement in requirements}


DECLARED = names(PROJECT["project"]["dependencies"])
EXTRAS = {  # what an extra brings, and a room does without; anywidget brings traitlets
    "hessian": {"flint", "ival"},
    "experiments": {"anywidget", "traitlets"},
}
TESTED_WITH = names(PROJECT["project"]["optional-dependencies"]["test"])
DOCUMENTED_WITH = names(PROJECT["project"]["optional-dependencies"]["docs"]) - {"gdlab"}  # which asks for clients
CLIENTS = names(PROJECT["project"]["optional-dependencies"]["clients"])


def test_pip_and_uv_install_the_same_test_tools():
    assert PROJECT["dependency-groups"]["test"] == PROJECT["project"]["optional-dependencies"]["test"]
    assert PROJECT["tool"]["uv"]["default-groups"] == ["test"]


def imported(folder: Path) -> set[str]:
    """The libraries, outside the standard one, that the files of a folder import when they run."""
    found = set()
    for file in folder.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        tree.body = [node for node in tree.body if not ast.unparse(node).startswith("if TYPE_CHECKING:")]
        for node in ast.walk(tree):
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
    assert explained == DECLARED | TESTED_WITH | DOCUMENTED_WITH | CLIENTS | {"jax[cuda13]"}


def test_every_dependency_is_pinned_with_its_hashes():
    pinned = re.findall(
        r"^([\w-]+)==\S+.*?\\$(?=\n    --hash=sha256:)", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )
    assert set(pinned) >= DECLARED | TESTED_WITH


def test_the_command_line_is_installed_under_a_name_that_nobody_else_has():
    assert list(INSTALLED.values()) == ["gdlab", "hessian", "gdlab_experiments"]
    assert PROJECT["project"]["scripts"] == {"gdlab": "gdlab_experiments.__main__:main"}
    absolute = re.compile(r"^\s*(from|import) experiments\b", re.MULTILINE)
    files = sorted((ROOT / "experiments").rglob("*.py"))
    assert [file.name for file in files if absolute.search(file.read_text(encoding="utf-8"))] == []


def test_what_is_installed_runs_in_a_folder_with_experiments_and_tests_of_its_own(tmp_path):
    site, mine = tmp_path / "site", tmp_path / "mine"
    site.mkdir()
    for room, name in INSTALLED.items():
        (site / name).symlink_to(ROOT / room, target_is_directory=True)
    for own in ("experiments", "tests"):
        (mine / own).mkdir(parents=True)
        (mine / own / "__init__.py").write_text("raise RuntimeError('the user has a package of this name')\n")
    env = {**os.environ, "PYTHONPATH": str(site)}
    env.pop("GDLAB_LAUNCHER", None)

    def run(*words):
        return subprocess.run([sys.executable, *words], cwd=mine, env=env, capture_output=True, text=True)

    code = "import sys; from gdlab_experiments.__main__ import main\n"
    code += "for argv in (['problems'], ['taylor', '--quick']): assert main(argv) == 0, argv\n"
    code += "import gdlab, hessian; print(gdlab.__version__)\n"
    code += "assert not {'experiments', 'tests'} & set(sys.modules)"
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    assert (mine / "runs" / "taylor" / "summary.json").exists()
    assert "usage: python -m gdlab_experiments COMMAND" in run("-m", "gdlab_experiments").stdout
