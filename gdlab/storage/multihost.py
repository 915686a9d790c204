"""Several processes of one program (`jax.distributed.initialize()`): the first reads and writes, all get the result.

Only the first process needs access to the folder; an error on it is raised on every process, with the same words.
"""

import contextlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np

from gdlab.storage.store import Store, StoreError, opened, pack, unpacked

FAILED, NOTHING, ARRAYS = b"!", b"0", b"1"


class SharedStore:
    """A store that the first process holds, and that all processes read and write together."""

    def __init__(self, store: Store | None):
        """Wrap the store of the first process; None on the others."""
        self._store = store

    def read(self, number: int) -> dict[str, np.ndarray] | None:
        """The arrays of a chunk, the same on every process."""
        return on_first_process(lambda: self._store and self._store.read(number))

    def write(self, number: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Keep the arrays of a chunk."""
        if self._store is None:
            on_first_process(lambda: None)
        else:
            on_first_process(partial(self._store.write, number, arrays))


@contextlib.contextmanager
def shared_store(folder: str | os.PathLike, identity: Mapping[str, Any]) -> Iterator[SharedStore]:
    """The store in a folder, opened by the first process.

    Raises:
        StoreError: on every process, as `gdlab.storage.store.opened` does.
    """
    with contextlib.ExitStack() as stack:
        held: list[Store] = []
        on_first_process(lambda: held.append(stack.enter_context(opened(folder, identity))))
        yield SharedStore(held[0] if held else None)


def on_first_process(act: Callable[[], Any]) -> Any:
    """The result of `act()` on the first process, arrays by name or None, on all of them; so is its StoreError."""
    if jax.process_count() == 1:
        return act()
    said = b""
    if jax.process_index() == 0:
        try:
            arrays, file = act(), io.BytesIO()
            if arrays is not None:
                pack(file, arrays)
            said = NOTHING if arrays is None else ARRAYS + file.getvalue()
        except StoreError as error:
            said = FAILED + str(error).encode()
    said = _broadcast(said)
    if said[:1] == FAILED:
        raise StoreError(said[1:].decode())
    return None if said == NOTHING else unpacked(said[1:])


def _broadcast(said):
    from jax.experimental.multihost_utils import broadcast_one_to_all

    with together():
        size = int(broadcast_one_to_all(np.uint32(len(said))))
        return np.asarray(broadcast_one_to_all(np.frombuffer(said.ljust(size, b"\0"), np.uint8))).tobytes()


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Turn the error of a lost peer process into one sentence.

    Raises:
        RuntimeError: instead of the error of the exchange.
    """
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if jax.process_count() == 1:
            raise
        msg = "another process of this program has ended, so that this one cannot go on; what a store holds stays, and "
        msg += f"the same call goes on from it ({str(error).splitlines()[0]})"
        raise RuntimeError(msg) from None
