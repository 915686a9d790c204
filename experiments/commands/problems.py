"""What there is to race on: every surface with its formula, source and critical points."""

from collections import Counter
from typing import Any

from gdlab.problems import surfaces

from ..cli.console import print_table
from ..cli.settings import Problems
from ..reporting.run_folder import dump


def main(settings: Problems) -> int:
    """Print the list; the exit status."""
    listed: dict[str, dict[str, Any]] = {
        name: {
            "formula": surface.formula,
            "dimension": surface.dim,
            "critical_points": dict(Counter(point.kind for point in surface.critical_points)),
            "complete": surface.complete,
            "source": surface.source,
        }
        for name, surface in sorted(surfaces.items())
    }
    if settings.json:
        print(dump(listed))
        return 0
    rows = [
        [
            name,
            str(entry["dimension"]),
            ", ".join(f"{count} {kind}" for kind, count in entry["critical_points"].items()),
            "all" if entry["complete"] else "samples",
            entry["formula"],
        ]
        for name, entry in listed.items()
    ]
    print_table("Surfaces", ["name", "n", "critical points", "of them", "formula"], rows)
    print("Further problems: --problem pokemon, --problem digits.")
    return 0
