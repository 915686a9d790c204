"""Searches of a box that go on where a killed one stopped: how far one is, in a store."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator

import numpy as np

from gdlab.storage.store import Store, digest, opened
from hessian.proofs.kernels.boxes import Search
from hessian.proofs.program import Program, as_data

EVERY = 10.0  # seconds between two writings
SCHEMA = 1  # the version of the layout of a store
KIND = "search"  # of the one part of a store


class Pause:
    """How far one search is; without a store nothing is kept."""

    def __init__(self, store: Store | None):
        """Set the store; nothing is read or written."""
        self.store = store
        self.written = time.monotonic()

    def read(self) -> Search | None:
        """How far the search is; None where nothing is kept, or it is damaged, which is reported."""
        arrays = None if self.store is None else self.store.read(0, KIND)
        return None if arrays is None else Search(**arrays)

    def keep(self, so_far: Callable[[], Search]) -> None:
        """Write how far the search is, where the last writing is long ago."""
        if self.store is not None and time.monotonic() - self.written >= EVERY:
            self.write(so_far())

    def write(self, search: Search) -> None:
        """Write how far the search is."""
        if self.store is not None:
            self.store.write(0, search._asdict(), KIND)
            self.written = time.monotonic()


@contextlib.contextmanager
def paused(
    folder: str | os.PathLike[str] | None, program: Program, box: np.ndarray, smallest: float
) -> Iterator[Pause]:
    """The pause of the search of a program in a box, in the store of a folder; None for none.

    Raises:
        StoreError: for a store of another search, in use, or that cannot be written.
    """
    if folder is None:
        yield Pause(None)
        return
    identity = {
        "schema": SCHEMA,
        "kind": "prove_all",
        "program": digest(json.dumps(as_data(program), sort_keys=True).encode()),
        "box": box.tolist(),
        "smallest": smallest,
    }
    with opened(folder, identity) as store:
        yield Pause(store)
