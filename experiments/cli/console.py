"""What a person sees in the terminal: tables on stdout, bars on stderr where that is a terminal."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

BARE: dict[str, Any] = {"box": SIMPLE, "padding": 0, "show_edge": False}  # a table of the least width


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; as wide as it needs where stdout is no terminal.  Names are text, also those with brackets.

    No word and no number of it is broken, if need be without a frame, unless the terminal is narrower still.
    """
    console = Console(markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(markup=False, emoji=False, width=200)
    least = [max(map(cell_len, " ".join(texts).split()), default=0) for texts in zip(columns, *rows, strict=True)]
    framed, bare = (sum(least) + room for room in (3 * len(least) + 1, len(least) - 1))
    look = {} if framed <= console.width or bare > console.width else BARE
    table = Table(title=title, title_justify="left", **look)
    for column, width in zip(columns, least, strict=True):
        table.add_column(column, overflow="fold", min_width=width if bare <= console.width else None)
    for row in rows:
        table.add_row(*row)
    console.print(table)


@contextlib.contextmanager
def bar(drawn: bool, stages: Sequence[str]) -> Iterator[Callable[[], None]]:
    """A bar over named stages, and the function that ends one and begins the next."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (drawn and console.is_terminal)) as progress:
        task = progress.add_task(stages[0], total=len(stages))
        left = iter([*stages[1:], "done"])
        yield lambda: progress.update(task, advance=1, description=next(left))


@contextlib.contextmanager
def growing_bar(drawn: bool, name: str) -> Iterator[Callable[[int, int], None]]:
    """A bar over work whose amount grows while it is done, and the function that says how much is done and known of."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not (drawn and console.is_terminal)) as progress:
        task = progress.add_task(name, total=None)
        yield lambda done, known: progress.update(task, completed=done, total=known)
