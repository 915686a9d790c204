"""Every item of the lectures has a row in experiments/README.md, and the files named there say that they show it."""

import ast
import re
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
ITEMS = range(1, 102)  # S1 ... S101
WITHOUT_FILE = ("not yet shown", "history", "notation", "a heading, answered by ")


def rows():
    """The cells of each row of the table of items, by number."""
    lines = (EXPERIMENTS / "README.md").read_text(encoding="utf-8").splitlines()
    found = [re.fullmatch(r"\| S(\d+) \| (.+) \| (.+) \|", line) for line in lines]
    return [(int(row[1]), row[2], row[3]) for row in found if row]


def items_of(text):
    """The numbers that a text names: S12, S30b, and all of S3-S11.

    >>> sorted(items_of("(S3-S5, S30b)"))
    [3, 4, 5, 30]
    """
    named = re.findall(r"\bS(\d+)[a-z]?(?:-S(\d+))?", text)
    return {n for first, last in named for n in range(int(first), int(last or first) + 1)}


def test_every_item_has_one_row_in_order():
    assert [number for number, _, _ in rows()] == list(ITEMS)


@pytest.mark.parametrize(("number", "shown"), [(number, shown) for number, _, shown in rows()])
def test_the_files_of_an_item_exist_and_name_it(number, shown):
    files = re.findall(r"\[(\w+)\]\(\./(\w+)\.py\)", shown)
    assert files or shown.startswith(WITHOUT_FILE), shown
    for name, path in files:
        assert name == path
        docstring = ast.get_docstring(ast.parse((EXPERIMENTS / f"{path}.py").read_text(encoding="utf-8"))) or ""
        assert number in items_of(docstring), f"{path}.py does not say that it shows S{number}"


def test_ranges_are_read_whole():
    assert items_of("(S3-S5, S30b; section 3.10)") == {3, 4, 5, 30}
