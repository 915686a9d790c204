"""A progress bar on stderr for work done in chunks; silent where stderr is no terminal."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

Report = Callable[[int, int], Any]


def bar(
    progress: bool | Report, name: str, total: int
) -> contextlib.AbstractContextManager[Callable[[int, str], None]]:
    """A progress bar, the caller's own report, or nothing: a function of (done, words) to call after each chunk.

    Args:
        progress: True for a bar, which also shows the time left, False for none, or a function of (done, total).
        name: what stands before the bar.
        total: what `done` reaches.
    """
    if callable(progress):
        return contextlib.nullcontext(lambda done, _: progress(done, total))
    return _drawn(name, total) if progress else contextlib.nullcontext(lambda done, _: None)


@contextlib.contextmanager
def _drawn(name: str, total: int) -> Iterator[Callable[[int, str], None]]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as drawn:
        task = drawn.add_task(name, total=total)
        yield lambda done, words: drawn.update(task, completed=done, description=f"{name}, {words}")


def alive(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The rows, of arrays with a common leading axis, whose numbers are all finite."""
    inexact = [array for array in arrays.values() if jnp.issubdtype(array.dtype, jnp.inexact)]
    rows = [np.isfinite(array).all(axis=tuple(range(1, array.ndim))) for array in inexact]
    return np.logical_and.reduce(rows) if rows else np.ones(len(next(iter(arrays.values()))), bool)
