"""What a person sees in the terminal: tables on stdout, bars on stderr where that is a terminal."""

import contextlib
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.progress import Progress
from rich.table import Table


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; as wide as it needs where stdout is no terminal.  Names are text, also those with brackets."""
    console = Console(markup=False, emoji=False)
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    if not console.is_terminal:
        console = Console(markup=False, emoji=False, width=200)
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
