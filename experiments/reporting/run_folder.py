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
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from gdlab.ground.files import PARTIAL, atomic_write, partial_beside, try_lock

from ..cli.console import print_table
from ..cli.settings import InputError, as_json, command_line, in_one_line

T = TypeVar("T")
DPI = 150  # of a PNG
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
    with writable("folder", out):
        missing = [parent for parent in out.parents if not parent.exists()]
        if out.exists() or out.is_symlink():
            allowed = f"out must be a folder that does not exist yet, such as {_free(out)}"
            raise InputError(f"{allowed}; {out} is there already")
        out.parent.mkdir(parents=True, exist_ok=True)
        _clear(out)
        made = partial_beside(out)
        made.mkdir()
    try:
        with writable("folder", out), held(made):
            yield made
            made.rename(out)
    finally:
        shutil.rmtree(made, ignore_errors=True)
        for parent in missing:  # from the inside out, those that hold nothing
            with contextlib.suppress(OSError):
                parent.rmdir()


@contextlib.contextmanager
def writable(name: str, out: Path) -> Iterator[None]:
    """Turn what the system says of a folder or file that cannot be written into the one sentence for it.

    Raises:
        InputError: where an OSError came.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"out must be a {name} that can be written; {out}: {error.strerror}") from error


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes; the system gives it back when this one dies.

    The lock is on the folder itself, not on a file in it: a finished run folder holds what its command wrote, and
    nothing else.

    Raises:
        InputError: when another process holds it.
    """
    if sys.platform == "win32":
        yield  # a folder cannot be held there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        if not try_lock(handle):
            raise InputError(f"out must not be in use; another process is writing into {folder}")
        yield
    finally:
        os.close(handle)


def _clear(out):
    """Remove the folders of processes that were killed while they wrote: nobody holds them any more."""
    for left in out.parent.glob(f".{glob.escape(out.name)}-*{PARTIAL}"):
        with contextlib.suppress(OSError, InputError), held(left):
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
    with writable("file", path), atomic_write(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """The value as indented JSON; a number that is not finite becomes null, as JSON has no name for it."""
    path.write_text(dump(value, indent=2) + "\n", encoding="utf-8")


def dump(value: Any, indent: int | None = None, separators: tuple[str, str] | None = None) -> str:
    """The value as JSON text that every reader takes."""
    return json.dumps(_finite(value), indent=indent, separators=separators, allow_nan=False)


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
        """The seconds since then."""
        return time.monotonic() - self.clock


def now() -> Moment:
    """The date and the clock, now."""
    return Moment(datetime.now(UTC), time.monotonic())


class Table(NamedTuple):
    """A table of texts."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Findings(NamedTuple):
    """What a command found, and how it is shown."""

    title: str
    summary: dict[str, Any]  # the numbers, for summary.json and --json
    tables: Sequence[Table]
    draw: Callable[[], Any]  # makes the figure
    words: Sequence[str] = ()  # paragraphs, for a page of runs
    caption: str = ""  # above the figure
    save: Callable[[Path], None] = lambda folder: None  # writes further results into the folder
    pages: Sequence[tuple[str, Callable[[Path], str]]] = ()  # files of text that show the results, made from the folder
    above: Sequence[str] = ()  # lines to print above the tables
    printed: Sequence[Table] | None = None  # the tables to print, where they are not those of the folder
    below: str = ""  # printed below the tables, in front of the names of the files
    passed: bool = True  # whether the exit status may be 0


def publish(settings: Any, command: str, find: Callable[["Extras"], Findings]) -> int:
    """Write the folder of a run, whole or not at all, and print what it found: every command with a folder ends here.

    Args:
        settings: of the command; `out` is its folder, runs/COMMAND by default.
        command: its name, which names the figure too.
        find: makes the findings.  What it may fail at without loss it makes by the `Extras` that it is given.

    Returns:
        The exit status: 0 where everything is there and what was checked holds, else 1.

    Raises:
        InputError: when the folder exists already, is in use, or cannot be written.
    """
    started, out = now(), settings.out or Path("runs") / command
    with new_folder(out) as folder:
        extras = Extras(folder)
        found = find(extras)
        found.save(folder)
        write_record(folder, command, settings, started, found)
        extras.figure(command, found.draw, title=found.caption, pgf=settings.pgf)
        for name, make in found.pages:
            extras.text(name, partial(make, folder))
    if settings.json:
        print(dump({**found.summary, "out": str(out)}))
    else:
        show(found, f"written: {out}/{', '.join(name for name in _listed(command, found) if (out / name).is_file())}")
    return extras.status if found.passed else 1


def show(found: Findings, files: str) -> None:
    """Print findings: lines, tables, and last the sentence that names the files."""
    for line in found.above:
        print(line)
    for table in found.tables if found.printed is None else found.printed:
        print_table(*table)
    print(f"{found.below}{files}")


def _listed(command, found):
    """The files that the last line names, where they are there; the most telling first."""
    pages = [name for name, _ in found.pages]
    return ["results.nc", "proof.json", *pages, f"{command}.png", f"{command}.svg", "summary.json"]


def write_record(folder: Path, command: str, settings: Any, started: Moment, found: Findings) -> None:
    """Write what every run writes: the numbers, the settings, where they come from, and what a page shows of them."""
    write_json(folder / "summary.json", found.summary)
    write_json(folder / "config.json", as_json(settings))
    write_json(folder / "meta.json", provenance(command_line(command, settings), getattr(settings, "seed", 0), started))
    tables = [table._asdict() for table in found.tables]
    shown = {"command": command, "title": found.title, "words": found.words, "tables": tables}
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
    """The parts that only show the results: figure, page, words. One that fails is reported, and the results stay."""

    def __init__(self, folder: Path):
        """For the folder of a run; no part has failed yet."""
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

        from .figures import told_apart

        others = pyplot.get_fignums()

        def write():
            figure = draw()
            if title:
                figure.suptitle(title, fontsize="medium", wrap=True)
            write_figure(self.folder, name, told_apart(figure), pgf=pgf)

        self.made("the figure", write, None)
        for number in set(pyplot.get_fignums()) - set(others):
            pyplot.close(number)

    def text(self, name: str, make: Callable[[], str]) -> None:
        """A file of text, such as a page."""
        self.made(name, lambda: (self.folder / name).write_text(make(), encoding="utf-8"), 0)


def write_figure(folder: Path, name: str, figure: Any, *, pgf: bool = False) -> None:
    """The figure as PNG and SVG, and as PGF when asked for; each of them whole or not at all."""
    with placed(figure, dpi=DPI):
        for kind in ("png", "svg", "pgf")[: 2 + pgf]:
            path = folder / f"{name}.{kind}"
            try:
                figure.savefig(path, dpi=DPI)
            except BaseException:
                path.unlink(missing_ok=True)
                raise


@contextlib.contextmanager
def placed(figure: Any, dpi: int) -> Iterator[None]:
    """A figure whose axes have found their places: with a layout engine each file would be drawn twice."""
    from matplotlib import rc_context

    from .legends import uncovered

    figure.set_dpi(dpi)
    engine = figure.get_layout_engine()
    if engine and figure.axes:
        engine.execute(figure)
        if uncovered(figure):
            engine.execute(figure)
    with rc_context({"figure.constrained_layout.use": False, "figure.autolayout": False}):
        figure.set_layout_engine(None)
        yield
