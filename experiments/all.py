"""Does everything come out? All experiments one after the other, each in its own folder, and a table of verdicts.

A folder that is there already is finished, and kept: after a stop the same command goes on.
"""

import contextlib
import importlib
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax

from experiments.runs import dump, write_json
from experiments.settings import All, InputError, experiments
from experiments.show import bar, print_table


def main(settings: All) -> int:
    """Run what is not there yet, print the table; 0 where every check of every experiment passed, else 1."""
    out = settings.out or Path("runs") / ("quick" if settings.quick else "all")
    kinds = experiments()
    refuse_another_size(out, settings.quick)
    verdicts = {}
    with bar(settings.progress, list(kinds)) as advance:
        for name, kind in kinds.items():
            try:
                asked = replace(kind(), quick=settings.quick, pgf=settings.pgf, progress=False)
                verdicts[name] = verdict(out / name, asked)
            except KeyboardInterrupt:
                print(f"interrupted: {len(verdicts)} are in {out}; the same command goes on", file=sys.stderr)
                return 130
            advance()
    summary = {"passed": all(row["passed"] for row in verdicts.values()), "experiments": verdicts}
    write_json(out / "summary.json", summary)
    if settings.json:
        print(dump({**summary, "out": str(out)}))
    else:
        show(verdicts, out)
    return 0 if summary["passed"] else 1


def refuse_another_size(out: Path, quick: bool) -> None:
    """Raise where a folder holds experiments of the other size."""
    for config in sorted(out.glob("*/config.json")):
        if json.loads(config.read_text(encoding="utf-8")).get("quick") is not quick:
            raise InputError(f"out must be a new folder, or one of the same size, quick or not; got {out}")


def verdict(out: Path, settings: Any) -> dict[str, Any]:
    """The verdict of the experiment in a folder, which is run first where the folder is not there."""
    if not out.exists():
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                importlib.import_module(f"experiments.{out.name}").main(replace(settings, out=out))
        except InputError:
            raise
        except Exception as error:  # one that breaks does not stop the others
            return {"passed": False, "checks": 0, "failed": [f"{type(error).__name__}: {error}"], "seconds": None}
        jax.clear_caches()
    summary, meta = (json.loads((out / f"{name}.json").read_text(encoding="utf-8")) for name in ("summary", "meta"))
    return {
        "passed": summary["passed"],
        "checks": len(summary["checks"]),
        "failed": [f"{check['item']} {check['name']}" for check in summary["checks"] if not check["passed"]],
        "seconds": meta["wall_seconds"],
    }


def show(verdicts: dict[str, dict[str, Any]], out: Path) -> None:
    """Print the table of verdicts."""
    rows = [
        [
            name,
            f"{row['checks'] - len(row['failed'])} of {row['checks']}" if row["checks"] else "",
            "passed" if row["passed"] else "FAILED: " + "; ".join(row["failed"]),
            f"{row['seconds']:.1f}" if row["seconds"] else "",
        ]
        for name, row in verdicts.items()
    ]
    print_table("All experiments", ["experiment", "checks passed", "verdict", "seconds"], rows)
    passed, seconds = sum(row["passed"] for row in verdicts.values()), sum(r["seconds"] or 0 for r in verdicts.values())
    print(f"{passed} of {len(verdicts)} experiments passed in {seconds:.0f} s; written: {out}")
