"""The folder of a finished run: written whole or not at all, and never over another one.

    config.json    the settings; `--config` reproduces the run from it
    meta.json      versions, device, the command that repeats it, seed, when and how long
    summary.json   the numbers that the table shows
    report.json    the words and tables, for a page of many runs
    results.nc     everything, labelled: an xarray.Dataset as NetCDF-4
    *.png, *.svg   figures

Files are made in a hidden folder beside the final one, which gets its name when all of them are there; what a killed
process has left there is removed by the next one.  Results are written first; what only shows them, as a figure does,
is one of the `Extras`: where it fails, that is one sentence and the exit status 1, and the results stay.
"""

import contextlib
import glob
import json
import os
import shutil
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from experiments.cli.settings import InputError, as_json, command_line, in_one_line
from gdlab.storage.store import PARTIAL, atomic_write

T = TypeVar("T")
PACKAGES = ("gdlab", "jax", "jaxlib", "optax", "numpy", "xarray", "h5netcdf", "matplotlib")


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder to write in, which becomes `out` when the block ends well and vanishes when it does not.

    Raises:
        InputError: when `out` exists already, or cannot be written.
    """
    out = Path(out)
    if "\0" in str(out):
        raise InputError(f"out must be the name of a folder, without null characters; got {str(out)!r}")
    try:
        missing = [parent for parent in out.parents if not parent.exists()]
        if out.exists() or out.is_symlink():
            allowed = f"out must be a folder that does not exist yet, such as {_free(out)}"
            raise InputError(f"{allowed}; {out} is there already")
        out.parent.mkdir(parents=True, exist_ok=True)
        _clear(out)
        made = Path(tempfile.mkdtemp(prefix=f".{out.name}-", suffix=PARTIAL, dir=out.parent))
    except OSError as error:
        raise InputError(f"out must be a folder that can be written; {out}: {error.strerror}") from None
    try:
        with held(made):
            yield made
            made.chmod(0o755)
            made.rename(out)
    except OSError as error:
        raise InputError(f"out must be a folder that can be written; {out}: {error.strerror}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
        for parent in missing:  # from the inside out, those that hold nothing
            with contextlib.suppress(OSError):
                parent.rmdir()


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes; the system gives it back when this one dies.

    Raises:
        BlockingIOError: when another process holds it.
    """
    if sys.platform == "win32":
        yield  # a folder cannot be held there
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _clear(out):
    """Remove the folders of processes that were killed while they wrote: nobody holds them any more."""
    for left in out.parent.glob(f".{glob.escape(out.name)}-*{PARTIAL}"):
        with contextlib.suppress(OSError), held(left):
            shutil.rmtree(left, ignore_errors=True)


def _free(out):
    out = out / "run" if out.name in ("", "..") else out
    return next(name for n in range(2, 10**6) if not (name := out.with_name(f"{out.name}-{n}")).exists())


def write_new(path: Path, text: str) -> None:
    """Write a whole new file, or nothing.

    Raises:
        InputError: when the file exists already, or cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise InputError(f"out must be a file that does not exist yet; {path} is there already")
    try:
        with atomic_write(path) as file:
            file.write(text.encode())
        path.chmod(0o644)
    except OSError as error:
        raise InputError(f"out must be a file that can be written; {path}: {error.strerror}") from None


def write_json(path: Path, value: Any) -> None:
    """The value as indented JSON; a number that is not finite becomes null, as JSON has no name for it."""
    path.write_text(dump(value, indent=2) + "\n", encoding="utf-8")


def dump(value: Any, indent: int | None = None) -> str:
    """The value as JSON text that every reader takes."""
    return json.dumps(_finite(value), indent=indent, allow_nan=False)


def _finite(value):
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()  # a NumPy or JAX scalar
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value


class Moment(NamedTuple):
    """When something began: a date for people, and a clock for durations, which setting the date does not change."""

    date: datetime
    clock: float

    @property
    def seconds(self) -> float:
        """Since then."""
        return time.monotonic() - self.clock


def now() -> Moment:
    """This moment."""
    return Moment(datetime.now(UTC), time.monotonic())


class Table(NamedTuple):
    """A table of texts."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def write_record(
    folder: Path,
    command: str,
    settings: Any,
    started: Moment,
    summary: dict[str, Any],
    title: str,
    words: Sequence[str],
    tables: Sequence[Table],
) -> None:
    """What every run writes: the numbers, the settings, where they come from, and what a page shows of them."""
    write_json(folder / "summary.json", summary)
    write_json(folder / "config.json", as_json(settings))
    write_json(folder / "meta.json", provenance(command_line(command, settings), getattr(settings, "seed", 0), started))
    shown = {"command": command, "title": title, "words": words, "tables": [table._asdict() for table in tables]}
    write_json(folder / "report.json", shown)


def provenance(command: str, seed: int, started: Moment) -> dict[str, Any]:
    """Where a result comes from: versions, device, the command that repeats it, seed, when and how long."""
    import jax

    return {
        "versions": {"python": sys.version.split()[0], **{name: _version(name) for name in PACKAGES}},
        "device": jax.devices()[0].device_kind,
        "devices": jax.device_count(),
        "x64": bool(jax.config.read("jax_enable_x64")),
        "command": command,
        "seed": seed,
        "started": started.date.isoformat(timespec="seconds"),
        "wall_seconds": round(started.seconds, 3),
    }


def _version(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"  # gdlab itself, when it is run from its folder


def write_dataset(path: Path, dataset: Any) -> None:
    """The dataset as one NetCDF-4 file, made in memory: HDF5 itself does not survive a full disk."""
    path.write_bytes(dataset.to_netcdf(engine="h5netcdf"))


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Arrays by name as one .npz file; unlike `np.savez` it takes every name, `file` too."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


class Extras:
    """What a run in this folder can do without: its figure, its page, its words; a part that fails costs no results."""

    def __init__(self, folder: Path):
        """None has failed yet."""
        self.folder = folder
        self.status = 0  # the exit status: 1 once a part has failed

    def made(self, part: str, make: Callable[[], T], instead: T) -> T:
        """What `make` returns; where it raises, one sentence on stderr that names the part, and `instead`."""
        try:
            return make()
        except Exception as error:  # whatever it is, the results matter more
            said = in_one_line(f"{type(error).__name__}: {error}")
            print(f"error: {part} could not be made, the results are there all the same; {said}", file=sys.stderr)
            self.status = 1
            return instead

    def figure(self, name: str, draw: Callable[[], Any], *, title: str = "", pgf: bool = False) -> None:
        """The figure as PNG and SVG, and as PGF when asked for, below its title; what was drawn is closed."""
        from matplotlib import pyplot

        others = pyplot.get_fignums()

        def write():
            figure = draw()
            if title:
                figure.suptitle(title, fontsize="medium", wrap=True)
            write_figure(self.folder, name, figure, pgf=pgf)

        self.made("the figure", write, None)
        for number in set(pyplot.get_fignums()) - set(others):
            pyplot.close(number)

    def text(self, name: str, make: Callable[[], str]) -> None:
        """A file of text, such as a page."""
        self.made(name, lambda: (self.folder / name).write_text(make(), encoding="utf-8"), 0)


def write_figure(folder: Path, name: str, figure: Any, *, pgf: bool = False) -> None:
    """The figure as PNG and SVG, and as PGF when asked for; each of them whole or not at all."""
    for kind in ("png", "svg", "pgf")[: 2 + pgf]:
        path = folder / f"{name}.{kind}"
        try:
            figure.savefig(path, dpi=150)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def written(out: Path, *names: str) -> str:
    """The sentence that says which of these files a finished folder holds."""
    return f"written: {out}/{', '.join(name for name in names if (out / name).is_file())}"
