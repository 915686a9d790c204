"""Searches of a box that go on where a killed one stopped: how far one is, in one file, whole or not at all."""

import contextlib
import hashlib
import io
import json
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hessian.proofs.kernels.boxes import Search
from hessian.proofs.program import Program, as_data

EVERY = 10.0  # seconds between two writings


class Pause:
    """The file of one search."""

    def __init__(self, path: str | os.PathLike[str], program: Program, box: np.ndarray, smallest: float):
        """Set what is searched; nothing is read or written."""
        self.path = Path(path)
        what = [as_data(program), [[end.hex() for end in side] for side in box.tolist()], smallest.hex()]
        self.of = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
        self.written = time.monotonic()

    def read(self) -> Search | None:
        """How far the search of this program in this box is; None where there is no file.

        Raises:
            ValueError: where the file is damaged, or of another search.
        """
        try:
            with np.load(io.BytesIO(self.path.read_bytes()), allow_pickle=False) as kept:
                arrays: dict[str, Any] = dict(kept)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, zipfile.BadZipFile):
            arrays = {}
        if str(arrays.pop("of", "")) != self.of or set(arrays) != set(Search._fields):
            msg = "store must be a file of this search, or not be there yet; "
            msg += f"{self.path} is damaged, or of another loss, box or smallest"
            raise ValueError(msg)
        return Search(**arrays)

    def keep(self, so_far: Callable[[], Search]) -> None:
        """Write how far the search is, where the last writing is long ago."""
        if time.monotonic() - self.written >= EVERY:
            self.write(so_far())

    def write(self, search: Search) -> None:
        """Write how far the search is."""
        half = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            with open(half, "wb") as file:
                np.savez(file, of=np.array(self.of), **search._asdict())
                file.flush()
                os.fsync(file.fileno())
            os.replace(half, self.path)
        finally:
            with contextlib.suppress(OSError):
                half.unlink()
        self.written = time.monotonic()
