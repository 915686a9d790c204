"""Files that other processes see: whole or not at all, and held by one process at a time.

| name | what it is |
|---|---|
| `atomic_write` | a file that appears complete, or not at all |
| `PARTIAL` | how the name of one ends that is not complete |
| `partial_beside` | a new name for one, beside where it will be |
| `try_lock` | whether this process holds a file or folder from now on |
"""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PARTIAL = ".partial"


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Any]:
    """A file to write that appears complete, on success, or not at all; who may read it the umask says."""
    name = partial_beside(path)
    try:
        with open(name, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # so that the rename survives a power failure
    finally:
        os.close(folder)


def partial_beside(path: Path) -> Path:
    """A name that nothing has, for what is to become the file or folder at this path once it is complete."""
    return path.parent / f".{path.name}-{uuid.uuid4().hex[:8]}{PARTIAL}"


def try_lock(descriptor: int) -> bool:
    """Whether this process holds an open file or folder from now on, until it closes it or dies; False if another does.

    Where the system has no such locks, as on Windows, nobody is kept out.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
