"""Every item of the lectures has a row in the README.md beside them, and a check in each of the files named there."""

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.full

EXPERIMENTS = Path(__file__).parents[2] / "experiments" / "lectures"
ITEMS = [f"S{n}" for n in range(1, 102)]
SECTIONS = [f"2.{n}" for n in range(1, 4)] + [f"3.{n}" for n in range(1, 15)]
WITHOUT_FILE = ("not yet shown", "history", "notation", "a heading, answered by ")
CHECKS = dict.fromkeys(("Check", "printed", "exactly", "at_most", "is_true"), 0)  # where each takes its item


def rows():
    """The cells of each row of both tables: number, what it says, the files."""
    lines = (EXPERIMENTS / "README.md").read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"\| (S\d+|\d\.\d+) \| (.+) \| (.+) \|", line) for line in lines]
    return [row.groups() for row in found if row]


def parsed(name):
    return ast.parse((EXPERIMENTS / f"{name}.py").read_text(encoding="utf-8"))


def items_of(text):
    """The numbers that a text names: S12, S30b, section 3.10, and all of S3-S11.

    >>> sorted(items_of("(S3-S5, S30b; section 3.10)"))
    ['3.10', 'S3', 'S30', 'S4', 'S5']
    """
    named = re.findall(r"\bS(\d+)[a-z]?(?:-S(\d+))?", text)
    numbers = {f"S{n}" for first, last in named for n in range(int(first), int(last or first) + 1)}
    return numbers | set(re.findall(r"\b\d\.\d+\b", text))


def checked(module):
    """The items that the checks of a module carry, those among them that a helper's argument `item` brings.

    >>> sorted(checked(ast.parse('exactly("S3", "S4", x, 1); at_most("S5" if y else "3.3a", "", x, 1)')))
    ['3.3', 'S3', 'S5']
    >>> sorted(checked(ast.parse('def both(x, item="2.1"): ...\\nboth(1, "S6"); both("S7"); other("S8")')))
    ['2.1', 'S6']
    """
    takers, given = dict(CHECKS), []
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and "item" in (names := [a.arg for a in node.args.args]):
            takers[node.name] = names.index("item")
            given += node.args.defaults
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in takers:
            given += node.args[takers[node.func.id] :][:1]
    texts = [part.value for value in given for part in ast.walk(value) if isinstance(part, ast.Constant)]
    found = [re.fullmatch(r"(S\d+|\d\.\d+)[a-z]?", str(text)) for text in texts]
    return {match[1] for match in found if match}


def test_every_item_has_one_row_in_order():
    assert [number for number, _, _ in rows()] == ITEMS + SECTIONS


@pytest.mark.parametrize(("number", "shown"), [(number, shown) for number, _, shown in rows()])
def test_the_files_of_an_item_name_it_and_check_it(number, shown):
    files = re.findall(r"\[(\w+)\]\(\./(\w+)\.py\)", shown)
    assert files or shown.startswith(WITHOUT_FILE), shown
    for name, path in files:
        assert name == path
        module = parsed(path)
        assert number in items_of(ast.get_docstring(module) or ""), f"{path}.py does not say that it shows {number}"
        assert number in checked(module), f"{path}.py has no check of {number}"


def test_every_check_of_an_item_stands_in_a_file_of_its_row():
    named = {number: re.findall(r"\(\./(\w+)\.py\)", shown) for number, _, shown in rows()}
    modules = [path.stem for path in EXPERIMENTS.glob("*.py")]
    assert not [(item, name) for name in modules for item in checked(parsed(name)) if name not in named[item]]


def test_ranges_are_read_whole():
    assert items_of("(S3-S5, S30b; section 3.10)") == {"S3", "S4", "S5", "S30", "3.10"}


def test_a_check_without_its_item_is_seen():
    assert checked(ast.parse('exactly("S1", "", 1, 1)\nis_true("3.3b", "", True)')) == {"S1", "3.3"}
    assert checked(ast.parse('print("S1"); exactly(name, "S2", 1, 1)')) == set()
