"""A store: the finished chunks of a sweep or a long run on disk, so that a killed run resumes where it stopped.

    store/store.json        what is computed: hashes of the program and of its arguments, sizes, versions
    store/chunk-00007.npz   arrays of one part, with checksums, and the hash of the store they belong to
    store/lock              held while a process writes here; the system gives it back when that process dies

A file is written under a temporary name, flushed to disk and renamed: it is complete or absent.  A part that is
damaged, or comes from elsewhere, is reported and computed again.  A store of something else is refused, with what
differs.  Where the disk is full or may not be written the work stops with one sentence, and what is there stays.
"""

import contextlib
import hashlib
import io
import json
import os
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from gdlab.ground.files import PARTIAL, atomic_write, try_lock

IDENTITY, LOCK, META = "store.json", "lock", "meta.json"
NOTES = ("labels", "description", "config", "argv", "attrs")  # entries of an identity that are for readers only
GROWING = ("shard", "steps", "batches")  # those that the parts of stores may differ in, which one run goes on from

Arrays = Mapping[str, np.ndarray]


class StoreError(ValueError):
    """A store that cannot be used, in one sentence."""


class Store:
    """The parts in a folder that `opened` holds."""

    def __init__(self, folder: str | os.PathLike, identity: Mapping[str, Any]):
        """Set the folder and the identity; nothing is read or written."""
        self.folder = Path(folder)
        self.identity = identity

    def path(self, number: int, kind: str = "chunk") -> Path:
        """Where a part lies."""
        return self.folder / f"{kind}-{number:05d}.npz"

    def numbers(self, kind: str = "chunk") -> list[int]:
        """The numbers of the parts that are there, ascending."""
        places = (path.stem.removeprefix(f"{kind}-") for path in self.folder.glob(f"{kind}-*.npz"))
        return sorted(int(place) for place in places if place.isdecimal())  # a copy of a part is none

    def read(self, number: int, kind: str = "chunk") -> dict[str, np.ndarray] | None:
        """The arrays of a part, every checksum verified; None where it is missing, or damaged, which is reported."""
        path = self.path(number, kind)
        try:
            return unpacked(path.read_bytes(), self._named(path))
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever is wrong with the bytes
            warnings.warn(f"{path} is damaged and not used: {error}", stacklevel=2)
            return None

    def write(self, number: int, arrays: Arrays, kind: str = "chunk") -> None:
        """Keep the arrays of a part.

        Raises:
            StoreError: when they cannot be written; no part that is there is touched.
        """
        path = self.path(number, kind)
        try:
            with atomic_write(path) as file:
                pack(file, arrays, self._named(path))
        except OSError as error:
            msg = f"store must have room and be writable; {path} could not be written: {error.strerror or error}; "
            msg += "what was written before stays, and the same call goes on from it"
            raise StoreError(msg) from None

    def discard(self, number: int, kind: str) -> None:
        """Remove a part that is no longer needed."""
        with contextlib.suppress(OSError):
            self.path(number, kind).unlink()

    def _named(self, path):
        shared = {name: value for name, value in self.identity.items() if name not in (*NOTES, *GROWING)}
        return f"{path.stem} of {digest(json.dumps(shared, sort_keys=True).encode())}"


@contextlib.contextmanager
def opened(folder: str | os.PathLike, identity: Mapping[str, Any]) -> Iterator[Store]:
    """The store in a folder, made when it is not there, and locked against other processes.

    Args:
        folder: where the parts are.
        identity: what is computed, as JSON: a store whose identity differs is refused.

    Raises:
        StoreError: when the folder holds something else, is in use, or cannot be written.
    """
    store = Store(folder, json.loads(json.dumps(identity)))
    path = store.folder / IDENTITY
    with contextlib.ExitStack() as stack:
        try:
            store.folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_locked(store.folder))
            for left in store.folder.glob(f".*{PARTIAL}"):  # by a process that was killed as it wrote
                left.unlink()
            if path.exists():
                check_same(folder, read_identity(folder), store.identity)
            else:
                _identify(store)
        except OSError as error:
            msg = f"store must be a folder that can be written; {folder}: {error.strerror or error}"
            raise StoreError(msg) from None
        yield store


def renewed(store: Store, identity: Mapping[str, Any]) -> Store:
    """The store that `opened` holds, with what has grown since in its identity."""
    store = Store(store.folder, json.loads(json.dumps(identity)))
    _identify(store)
    return store


def _identify(store):
    with atomic_write(store.folder / IDENTITY) as file:
        file.write(json.dumps(store.identity, indent=2, sort_keys=True).encode())


@contextlib.contextmanager
def _locked(folder):
    with open(folder / LOCK, "a+", encoding="utf-8") as file:
        if not try_lock(file.fileno()):
            file.seek(0)
            msg = f"store must not be in use; {file.read() or 'another process'} is writing to {folder}"
            raise StoreError(msg)
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def read_identity(folder: str | os.PathLike) -> dict[str, Any]:
    """What a store says it holds.

    Raises:
        StoreError: when there is no store in the folder, or what it says cannot be read.
    """
    try:
        return dict(json.loads((Path(folder) / IDENTITY).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        msg = f"store must be a folder that a sweep or a long run has written; {folder}: {error}"
        raise StoreError(msg) from None


def check_same(folder: str | os.PathLike, held: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse a store of something else.

    Raises:
        StoreError: naming each entry that differs, what the store holds and what was asked for.
    """
    differing = [
        f"{name} is {held.get(name)!r} there and {wanted.get(name)!r} here"
        for name in sorted({*held, *wanted} - {*NOTES})
        if held.get(name) != wanted.get(name)
    ]
    if differing:
        msg = f"store must be of this very computation, or not exist; in {folder} {'; '.join(differing)}"
        raise StoreError(msg)


def digest(*parts: bytes) -> str:
    """A short hash of some bytes."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(len(part).to_bytes(8, "little"))
        hashed.update(part)
    return hashed.hexdigest()[:16]


def pack(file: Any, arrays: Arrays, name: str = "") -> None:
    """Write arrays as an .npz file with a name inside; the bytes do not depend on the time."""
    dtypes = {key: str(array.dtype) for key, array in arrays.items()}  # .npy knows no bfloat16
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(META), json.dumps({"name": name, "dtypes": dtypes}))
        for key, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{key}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def unpacked(content: bytes, name: str = "") -> dict[str, np.ndarray]:
    """The arrays of such a file; raises where a checksum or the name does not match."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        meta = json.loads(archive.read(META))
        if meta["name"] != name:
            msg = f"it is {meta['name']}, not {name}"
            raise ValueError(msg)
        members = {key: io.BytesIO(archive.read(f"{key}.npy")) for key in meta["dtypes"]}
    arrays = {key: np.lib.format.read_array(member, allow_pickle=False) for key, member in members.items()}
    return {key: array.view(jnp.dtype(meta["dtypes"][key])) for key, array in arrays.items()}
