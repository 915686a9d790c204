"""What does this device do, and how near to its limits? Laws, verdicts and speed on whatever JAX finds.

python3 lab.py accelerator                          all pieces, into runs/accelerator
python3 lab.py accelerator --minutes 8              ends in time, and the same command goes on where it stopped
python3 lab.py accelerator --quick                  a dry run, also of two CPU cores

A piece takes minutes at most, and is written whole as it ends: `laws.json` and the others, then `accelerator.json` and
the table in `accelerator.md`.  Laws and verdicts are judged; speeds stand beside optax and what the device allows.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jaxlib
import optax

import gdlab
from gdlab.ground.files import atomic_write
from gdlab.problems import surfaces
from gdlab.storage.store import StoreError, opened

from ..cli.console import bar, print_table
from ..cli.settings import Accelerator, InputError, in_one_line
from ..reporting.run_folder import dump
from ..workloads import device_accuracy, device_speed
from ..workloads.measured import COLUMNS, Row, cells

LANES = (1, 1_000, 100_000, 1_000_000)
FEW_SURFACES = ("linear_net", "six_hump_camel", "monkey_saddle")
LARGEST = 30  # critical points of a surface

Piece = Callable[[device_speed.Rates], list[Row]]


def pieces(quick: bool) -> dict[str, Piece]:
    """What is measured, piece by piece, from the rates of the first one; a quick one is for a small machine."""
    rounds, numbers, square = (3, 2**24, 1024) if quick else (7, 2**28, 4096)
    names = device_accuracy.FEW if quick else tuple(device_accuracy.SMOOTH)
    small = (name for name, one in surfaces.items() if len(one.critical_points) <= LARGEST)
    steps = {lanes: 1000 if lanes <= 1000 else 100 if quick else 1000 for lanes in LANES}
    return {
        "limits": lambda _: device_speed.limits(rounds, numbers, square),
        "laws": lambda _: device_accuracy.laws(names),
        "verdicts": lambda _: device_accuracy.verdicts(FEW_SURFACES if quick else tuple(small)),
        **{f"sweeps_{lanes}": _in_float32(device_speed.sweeps, rounds, lanes, steps[lanes]) for lanes in LANES},
        **{f"leaf_{size}": _in_float32(device_speed.leaves, rounds, size) for size in _leaves(quick)},
        "lanczos_563722": _in_float32(device_speed.lanczos, rounds, 512, 64 if quick else 1024, 20),
        "lanczos_10009844": _in_float32(device_speed.lanczos, rounds, 2218, 16 if quick else 1024, 10 if quick else 20),
    }


def _leaves(quick):
    return (10_000_000,) if quick else (10_000_000, 100_000_000)


def versions() -> dict[str, str]:
    """What a measurement depends on beside the device."""
    return {
        "gdlab": gdlab.__version__,
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "optax": optax.__version__,
    }


def _in_float32(measure: Callable[..., list[Row]], *how: Any) -> Piece:
    def piece(rates):
        with jax.enable_x64(False):
            return measure(rates, *how)

    return piece


def main(settings: Accelerator) -> int:
    """Measure what the folder does not hold yet, print the table; 1 where a verdict failed or a piece is missing."""
    known = pieces(settings.quick)
    asked = [name for text in settings.pieces for name in text.split(",") if name] or list(known)
    if unknown := [name for name in asked if name not in known]:
        raise InputError(f"pieces must be among {', '.join(known)}; got {unknown[0]!r}")
    if settings.minutes is not None and not settings.minutes > 0:
        raise InputError(f"minutes must be above 0; got {settings.minutes}")
    device = jax.devices()[0]
    about = {"kind": "accelerator", "device": device.device_kind, "platform": device.platform, "quick": settings.quick}
    try:
        with opened(settings.store, {**about, **versions()}) as store:
            rows, missing = _measured(store.folder, known, ["limits", *asked], settings)
            _write(store.folder, about, rows)
    except StoreError as error:
        raise InputError(str(error)) from None
    title = f"{device.device_kind} ({device.platform}), {jax.device_count()} at hand; written: {settings.store}"
    if settings.json:
        print(dump({**about, "rows": _plain(rows), "missing": missing}))
    else:
        print_table(title, ["piece", *COLUMNS], _table(rows))
    for name, why in missing.items():
        print(f"note: {name} is missing: {why}; the same command goes on", file=sys.stderr)
    return 1 if missing or any(row.passed is False for each in rows.values() for row in each) else 0


def _measured(folder, known, asked, settings):
    """The rows of each piece by its name, from the folder or measured now; and why those are missing that are."""
    began, rows, missing = time.monotonic(), {}, {}
    names = [name for name in known if name in asked]
    with bar(settings.progress, names) as advance:
        for name in names:
            held = _read(folder / f"{name}.json")
            if held is not None:
                rows[name] = held
            elif settings.minutes is not None and time.monotonic() - began > 60 * settings.minutes:
                missing[name] = f"{settings.minutes:g} minutes are over"
            elif "limits" in missing:
                missing[name] = "it needs the limits"
            else:
                try:
                    rows[name] = _kept(folder / f"{name}.json", known[name], rows.get("limits"))
                except (RuntimeError, MemoryError) as error:  # of the device: the other pieces go on
                    missing[name] = in_one_line(f"{type(error).__name__}: {error}")
                jax.clear_caches()  # and with them memory of the device
            advance()
    return rows, missing


def _kept(path, measure, limits):
    """The rows of a piece, measured now and written."""
    began = time.monotonic()
    rows = measure(device_speed.rates_of(limits) if limits else {})
    with atomic_write(path) as file:
        said = {"seconds": time.monotonic() - began, "rows": [row._asdict() for row in rows]}
        file.write(dump(said, indent=2).encode())
    return rows


def _read(path):
    """The rows of a piece that is there and whole."""
    try:
        return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _plain(rows):
    return {name: [row._asdict() for row in each] for name, each in rows.items()}


def _write(folder, about, rows):
    """The JSON and the table of all pieces that are there."""
    lines = [f"# {about['device']} ({about['platform']}){', a dry run' * about['quick']}", ""]
    lines += [f"Measured with {', '.join(f'{name} {value}' for name, value in versions().items())}.", ""]
    table = [["piece", *COLUMNS], ["---"] * (len(COLUMNS) + 1), *_table(rows)]
    texts = {
        "accelerator.json": dump({**about, "versions": versions(), "rows": _plain(rows)}, indent=2),
        "accelerator.md": "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in table)]),
    }
    for name, text in texts.items():
        with atomic_write(folder / name) as file:
            file.write((text + "\n").encode())


def _table(rows):
    return [[name, *cells(row)] for name, each in rows.items() for row in each]
