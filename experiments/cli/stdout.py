"""Standard output as a pipe or a full disk leaves it."""

import os
import sys
from collections.abc import Callable
from typing import Any


class Output:
    """Standard output that may be closed or full: the work goes on, and its results are written all the same."""

    def __init__(self, stream: Any):
        """Write to the stream while it takes anything."""
        self.stream = stream
        self.failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        """What else a stream has."""
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write, or let go what the stream does not take."""
        self._try(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush what the stream takes."""
        self._try(self.stream.flush)

    def _try(self, act: Callable[[], Any]) -> None:
        if self.failure is None:
            try:
                act()
            except OSError as error:
                self.failure = error

    def closed_with(self, status: int) -> int:
        """The exit status: 2 where the output was lost, but not where its reader had seen enough, as `head` has."""
        self.flush()
        if self.failure is None:
            return status
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())  # else Python fails at its exit
        if isinstance(self.failure, BrokenPipeError):
            return status
        print(f"error: stdout must be writable; {self.failure.strerror}", file=sys.stderr)
        return 2
