"""Which questions are asked here? The list of experiments: what each asks, which items it shows, how long it takes."""

import json
import re

from ..cli import settings
from ..cli.settings import Experiments, command

SECONDS = settings.ROOM / "lectures" / "seconds.json"  # of a core, as `all` measures them


def main(settings: Experiments) -> int:
    """Print the list; the exit status."""
    listed = described()
    if settings.json:
        print(json.dumps(listed))
        return 0
    from ..cli.console import print_table

    columns = ["experiment", "question", "items", "seconds", "with --quick"]
    rows = [
        [name, row["question"], row["items"], *(f"{row[size]:.0f}" if row[size] else "" for size in ("full", "quick"))]
        for name, row in listed.items()
    ]
    run = f"{command()} experiments run"
    print_table(f"{run} NAME, {run} all; seconds of one core, as measured", columns, rows)
    return 0


def described() -> dict[str, dict]:
    """The question, the items and the measured seconds of each experiment, by name; no experiment is imported."""
    seconds = json.loads(SECONDS.read_text(encoding="utf-8"))
    return {
        name: {**split(settings.question(name)), **seconds.get(name, {"full": None, "quick": None})}
        for name in settings.experiments()
    }


def split(words: str) -> dict[str, str]:
    """The question, and the items in the brackets after it.

    >>> split("Why does the gradient point the way? (S54, S66-S72)")
    {'question': 'Why does the gradient point the way?', 'items': 'S54, S66-S72'}
    """
    items = re.search(r" \(([^()]*)\)$", words)
    return {"question": words[: items.start()] if items else words, "items": items[1] if items else ""}
