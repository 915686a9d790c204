"""Signals that stop a command, as one KeyboardInterrupt that always arrives."""

import _thread
import signal
import sys
import threading
from typing import Any

AGAIN = 0.05  # seconds


def listen() -> None:
    """Let SIGTERM and SIGHUP stop a command as Ctrl-C does, and let no interrupt get lost.

    An interrupt that comes while Python collects garbage is raised in a callback of JAX, where an exception is printed
    and forgotten; here it comes again a moment later instead.
    """
    if threading.current_thread() is not threading.main_thread():
        return  # signals belong to whoever started this thread
    for name in ("SIGTERM", "SIGHUP"):
        stop = getattr(signal, name, None)  # Windows has no SIGHUP
        if stop is not None and signal.getsignal(stop) == signal.SIG_DFL:
            signal.signal(stop, signal.default_int_handler)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _again


def _again(forgotten: Any) -> None:
    if forgotten.exc_type is KeyboardInterrupt:
        again = threading.Timer(AGAIN, _thread.interrupt_main)
        again.daemon = True  # a command that has ended needs no stop
        again.start()
    else:
        sys.__unraisablehook__(forgotten)
