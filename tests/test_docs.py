"""The guides are true: every block of them is executed, and the site that is built from them has no dead link."""

import importlib.util
import inspect
import re
import shlex
import sys
from pathlib import Path

import pytest

from experiments.__main__ import main

DOCS = Path(__file__).parents[1] / "docs"
SPEC = importlib.util.spec_from_file_location("build", DOCS / "build.py")
build = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(build)


def test_every_guide_is_in_the_contents():
    assert {f"{name}.md" for name in build.GUIDES} == {path.name for path in DOCS.glob("*.md")}


@pytest.mark.parametrize("name", build.GUIDES)
def test_a_guide_runs_as_printed(name, tmp_path, monkeypatch, capsys):
    """Python that opens with the name of a file is that file; other Python and all commands are run, in their order."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    modules, names = set(sys.modules), {}
    for language, text in re.findall(r"```(\w*)\n(.*?)```", (DOCS / f"{name}.md").read_text("utf-8"), re.DOTALL):
        file = re.match(r"# (\w+\.py)\n", text)
        if language == "sh":
            for line in text.splitlines():
                python, launcher, *words = shlex.split(line)
                assert (python, launcher) == ("python3", "lab.py")
                assert main(words) == 0, line
        elif file:
            Path(file[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile(text, f"{name}.md", "exec"), names)
            assert capsys.readouterr().out.strip(), f"{name}.md has a block that shows nothing"
        else:
            assert language == "text"
    for module in set(sys.modules) - modules:
        if str(getattr(sys.modules[module], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[module]
    assert names.get("status", 0) == 0


def test_the_site_has_no_dead_link(tmp_path):
    build.build(tmp_path / "site")
    ours = sorted((tmp_path / "site").glob("*.html"))
    assert len(ours) == len(build.GUIDES) + 2
    links = {(page, link) for page in ours for link in re.findall(r"href=\"([^\"#]+)\"", page.read_text("utf-8"))}
    assert all((page.parent / link).is_file() for page, link in links)
    assert (tmp_path / "site" / "api" / "gdlab" / "equation.html").is_file()


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
