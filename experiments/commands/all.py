"""Does everything come out? All experiments, some at once, each in its own folder, and a table of verdicts.

A folder that is there already is finished, and kept: after a stop the same command goes on.
"""

import contextlib
import importlib
import io
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import jax

from ..cli import signals
from ..cli.compiling import quick_flags
from ..cli.console import bar, print_table
from ..cli.settings import All, Experiment, InputError, at_least_one, experiments, module_of
from ..reporting.run_folder import dump, held, writable, write_json


def main(settings: All) -> int:
    """Run what is not there yet, print the table; 0 where every check of every experiment passed, else 1."""
    out = settings.out or Path("runs") / ("quick" if settings.quick else "all")
    at_least_one("jobs", settings.jobs)
    refuse_another_size(out, settings.quick)
    with writable("folder", out):
        out.mkdir(parents=True, exist_ok=True)
        with held(out):
            return run(settings, out)


def run(settings: All, out: Path) -> int:
    """Run what is not in the folder yet, and print the table; the exit status."""
    asked = {
        name: Experiment(quick=settings.quick, pgf=settings.pgf, progress=False, out=out / name)
        for name in experiments()
    }
    verdicts: dict[str, Any] = {}
    try:
        with bar(settings.progress, [f"{i} of {len(asked)}" for i in range(len(asked))]) as advance:
            for name, row in each(asked, settings.jobs):
                verdicts[name] = row
                advance()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"{len(verdicts)} are in {out}; the same command goes on") from None
    verdicts = {name: verdicts[name] for name in asked}
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


def each(asked: dict[str, Any], jobs: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """The verdict of each experiment by its name, as they come."""
    if jobs == 1:
        yield from ((name, verdict(settings)) for name, settings in asked.items())
        return
    flags = quick_flags() if any(settings.quick for settings in asked.values()) else None
    # Processes that are forked after JAX has started would hang.
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin_worker, (flags,))
    names = {pool.submit(_worked, settings): name for name, settings in asked.items()}
    try:
        for future in as_completed(names):
            try:
                yield names[future], future.result()
            except BrokenProcessPool as error:
                yield names[future], broken(error)
    except BaseException:
        for worker in multiprocessing.active_children():
            worker.terminate()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _begin_worker(flags):
    signals.listen(signals.leave)
    if flags is not None:
        os.environ["XLA_FLAGS"] = flags  # which XLA reads when its first program is compiled
    threading.Thread(target=_follow, args=(multiprocessing.parent_process(),), daemon=True).start()


def _follow(parent):
    """Stop this worker when the process that started it has died: nobody waits for its results."""
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _worked(settings):
    try:
        return verdict(settings)
    except SystemExit:  # what it has not finished is removed; the pool would go on to the next one
        os._exit(130)


def broken(error: Exception) -> dict[str, Any]:
    """The verdict of an experiment that did not end."""
    return {"passed": False, "checks": 0, "failed": [f"{type(error).__name__}: {error}"], "seconds": None}


def verdict(settings: Any) -> dict[str, Any]:
    """The verdict of the experiment in a folder, which is run first where the folder is not there."""
    out, began = settings.out, time.process_time()
    if not out.exists():
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                importlib.import_module(module_of(out.name)).main(settings)
        except InputError:
            raise
        except Exception as error:  # one that breaks does not stop the others
            return broken(error)
        jax.clear_caches()
    summary, meta = (json.loads((out / f"{name}.json").read_text(encoding="utf-8")) for name in ("summary", "meta"))
    return {
        "passed": summary["passed"],
        "checks": len(summary["checks"]),
        "failed": [f"{check['item']} {check['name']}" for check in summary["checks"] if not check["passed"]],
        "seconds": meta["wall_seconds"],
        "cpu_seconds": round(time.process_time() - began, 1),  # what it takes where nothing else runs
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
    print(f"{passed} of {len(verdicts)} experiments passed, {seconds:.0f} s in all workers; written: {out}")
