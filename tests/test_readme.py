"""The README is true: its commands are the launcher's, its files exist, and its scripts run."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, flags=re.DOTALL)
SCRIPTS = [text for language, text in BLOCKS if language == "python"]


def test_the_first_block_is_the_two_commands():
    assert BLOCKS[0][1].splitlines() == ["python3 lab.py race", "python3 lab.py test"]


@pytest.mark.parametrize("number", range(len(SCRIPTS)))
def test_a_script_runs_as_printed(number, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(SCRIPTS[number], f"README.md script {number}", "exec"), {})
    assert capsys.readouterr().out.strip()


def test_there_is_a_script_for_each_kind_of_user():
    assert len(SCRIPTS) >= 3
    assert all(word in README for word in ("optimization experiments", "saddle points", "come from optax"))


def test_files_it_points_to_exist():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert len(links) >= 3
    assert all((ROOT / link).exists() for link in links)


def test_flags_it_names_are_flags():
    from dataclasses import fields

    from experiments.__main__ import COMMANDS

    known = {"help"} | {field.name for kind in COMMANDS.values() for field in fields(kind)}
    named = set(re.findall(r"(?<![\w-])--([a-z]+)", README))
    assert named
    assert named <= known
