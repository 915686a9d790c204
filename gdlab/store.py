"""A store: the finished chunks of a sweep on disk, so that a killed one goes on where it stopped.

    store/sweep.json        what is swept: hashes of the program and of each axis, sizes, versions
    store/chunk-00007.npz   the results of one chunk of lanes, with checksums
    store/lock              held while a process writes here

A file is written beside its place, flushed to the disk, and renamed: it is there whole or not at all.  A chunk that
cannot be read back is computed again.  A store of another sweep is refused, with what differs.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SWEEP, LOCK = "sweep.json", "lock"


class StoreError(ValueError):
    """A store that cannot be used, in one sentence."""


class Store:
    """The chunks of one sweep in a folder, made when it is not there.

    Args:
        folder: where the chunks are.
        identity: what is swept, as JSON: a store whose identity differs is refused.

    Raises:
        StoreError: when the folder holds another sweep, or cannot be written.
    """

    def __init__(self, folder: str | os.PathLike, identity: Mapping[str, Any]):
        """Open the folder, and compare what it holds."""
        self.folder = Path(folder)
        path = self.folder / SWEEP
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if path.exists():
                check_same(self.folder, read_identity(self.folder), identity)
            else:
                write_whole(path, json.dumps(identity, indent=2, sort_keys=True).encode())
        except OSError as error:
            msg = f"store must be a folder that can be written; {self.folder}: {error.strerror}"
            raise StoreError(msg) from None

    def read(self, number: int) -> dict[str, np.ndarray] | None:
        """The arrays of a chunk, or None where it is missing or damaged."""
        return read_chunk(self.folder, number)

    def write(self, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the arrays of a chunk."""
        with _whole(chunk_path(self.folder, number)) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes the names for flags

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock, which the system gives back when the process dies.

        Raises:
            StoreError: when another process holds it.
        """
        import fcntl

        with open(self.folder / LOCK, "a", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                msg = f"store must not be in use; another process is writing to {self.folder}"
                raise StoreError(msg) from None
            yield


def chunk_path(folder: str | os.PathLike, number: int) -> Path:
    """Where a chunk lies."""
    return Path(folder) / f"chunk-{number:05d}.npz"


def read_chunk(folder: str | os.PathLike, number: int) -> dict[str, np.ndarray] | None:
    """The arrays of a chunk, every checksum verified, or None where it is missing or damaged."""
    try:
        with zipfile.ZipFile(chunk_path(folder, number)) as archive:
            if archive.testzip() is not None:
                return None
        with np.load(chunk_path(folder, number), allow_pickle=False) as chunk:
            return {name: chunk[name] for name in chunk.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def read_identity(folder: str | os.PathLike) -> dict[str, Any]:
    """What a store says it holds.

    Raises:
        StoreError: when there is no store in the folder, or what it says cannot be read.
    """
    try:
        return json.loads((Path(folder) / SWEEP).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        msg = f"store must be a folder that a sweep has written; {folder}: {error}"
        raise StoreError(msg) from None


def check_same(folder: str | os.PathLike, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse a store of another sweep.

    Raises:
        StoreError: naming each entry that differs, what the store holds and what was asked for.
    """
    wanted = json.loads(json.dumps(wanted))
    differing = [
        f"{name} is {held.get(name)!r} there and {wanted.get(name)!r} here"
        for name in sorted({*held, *wanted} - {"labels"})  # their axes differ as well, and say so in fewer words
        if held.get(name) != wanted.get(name)
    ]
    if differing:
        msg = f"store must be of this very sweep, or not exist; in {folder} {'; '.join(differing)}"
        raise StoreError(msg)


def digest(*parts: bytes) -> str:
    """A short hash of some bytes."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(len(part).to_bytes(8, "little"))
        hashed.update(part)
    return hashed.hexdigest()[:16]


def write_whole(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with _whole(path) as file:
        file.write(content)


@contextlib.contextmanager
def _whole(path):
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
