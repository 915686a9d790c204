"""Does it come out again? Every run that a page holds is run again from its settings, and each number compared.

A number is the same when it agrees to 1e-6; a measured number of a check may differ when its verdict is the same.
"""

import contextlib
import importlib
import io
import json
import math
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from ..cli.console import bar, print_table
from ..cli.settings import COMMANDS, InputError, Verify, from_values, module_of
from ..reporting import pages
from ..reporting.run_folder import dump

CLOSE, TINY = 1e-6, 1e-9  # relative, and absolute near 0


def main(settings: Verify) -> int:
    """Run it all again, print what differs; 0 where nothing does, else 1."""
    held = pages.held(settings.file)
    found = {}
    with bar(settings.progress, [run["name"] for run in held]) as advance:
        for run in held:
            found[run["name"]] = compared(run, settings.file)
            advance()
    passed = not any(row["differs"] for row in found.values())
    if settings.json:
        print(dump({"passed": passed, "runs": found}))
        return 0 if passed else 1
    rows = [
        [name, str(row["same"]), str(row["near"]), "; ".join(row["differs"]) or "the same"]
        for name, row in found.items()
    ]
    print_table("Run again", ["run", "numbers the same", "others with the same verdict", "what differs"], rows)
    return 0 if passed else 1


def compared(run: dict[str, Any], page: Path) -> dict[str, Any]:
    """How a run that is repeated compares: how many leaves are the same, how many near, and which differ."""
    try:
        again = repeated(run["command"], run["config"], page)
    except InputError as error:
        return {"same": 0, "near": 0, "differs": [str(error)]}
    row: dict[str, Any] = {"same": 0, "near": 0, "differs": []}
    before, after = dict(leaves(run["summary"])), dict(leaves(again))
    for name in sorted(before.keys() | after.keys()):
        one, other = before.get(name), after.get(name)
        if same(one, other):
            row["same"] += 1
        elif name.endswith("/measured") and name in before.keys() & after.keys():
            row["near"] += 1  # whether it passed is a leaf of its own
        else:
            row["differs"].append(f"{name}: {one} was, {other} is")
    return row


def repeated(command: str, config: dict[str, Any], page: Path) -> dict[str, Any]:
    """The summary of the same settings, run again in a folder that vanishes."""
    if command not in COMMANDS:
        raise InputError(f"file must hold runs of known commands; got {command!r} in {page}")
    settings = from_values(COMMANDS[command], config, page)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        out = Path(folder) / command
        quiet = {"progress": False} if hasattr(settings, "progress") else {}
        importlib.import_module(module_of(command)).main(replace(settings, out=out, **quiet))
        jax.clear_caches()
        return json.loads((out / "summary.json").read_text(encoding="utf-8"))


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a JSON value by their path; a check goes by its item and name."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{name}/{key}" if name else key)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            is_check = isinstance(item, dict) and "item" in item
            yield from leaves(item, f"{name}/{item['item']} {item['name']}" if is_check else f"{name}/{i}")
    else:
        yield name, value


def same(one: Any, other: Any) -> bool:
    """Whether two leaves are the same, numbers to rounding."""
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=CLOSE, abs_tol=TINY)
    return one == other
