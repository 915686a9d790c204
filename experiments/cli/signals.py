"""Signals that stop a command, as one KeyboardInterrupt that always arrives."""

import _thread
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

AGAIN = 0.05  # seconds


def leave(*_: Any) -> None:
    """Stop a worker, which has nothing to say about it."""
    raise SystemExit(130)


def listen(stop: Callable[..., Any] = signal.default_int_handler) -> None:
    """Let SIGTERM and SIGHUP stop a command as Ctrl-C does, and let no interrupt get lost.

    An interrupt that comes while Python collects garbage is raised in a callback of JAX, where an exception is printed
    and forgotten; here it comes again a moment later instead.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # signals belong to whoever started this thread
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, stop)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _again


def _again(forgotten: Any) -> None:
    if forgotten.exc_type in (KeyboardInterrupt, SystemExit):
        again = threading.Timer(AGAIN, _thread.interrupt_main)
        again.daemon = True  # a command that has ended needs no stop
        again.start()
    else:
        sys.__unraisablehook__(forgotten)
