"""Compilation of this package's programs: hundreds of small operations, of which a user waits for the compiler alone.

On a CPU the compiler makes one kernel after the other by way of MLIR, or in a third of the time without; the second
costs nothing here, where the loss decides how long a run takes.  The option is given where this package calls the
compiler itself, on a CPU, to a compiler that knows it: never inside another program, and on no other platform.

| function | what it is |
|---|---|
| `compiled` | `jax.jit`, compiled quickly on a CPU |
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
from jax.extend.core import get_opaque_trace_state

QUICK = {"xla_cpu_use_fusion_emitters": False}
with ThreadPoolExecutor(1) as a_thread:  # in which no transformation is under way, whatever imports this module
    OUTSIDE = a_thread.submit(get_opaque_trace_state).result()


def compiled(**static: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator like `jax.jit`, with its static arguments."""

    def decorated(fn):
        plain = jax.jit(fn, **static)
        quick = jax.jit(fn, compiler_options=QUICK, **static)

        @functools.wraps(fn)
        def called(*args, **keyed):
            return (quick if options() else plain)(*args, **keyed)

        called.lower = plain.lower  # type: ignore[attr-defined]
        return called

    return decorated


def options() -> dict[str, Any]:
    """What a program is compiled with that is called here."""
    alone = get_opaque_trace_state() == OUTSIDE and jax.default_backend() == "cpu"
    return QUICK if alone and _is_known() else {}


@functools.cache
def _is_known():
    """Whether this compiler has the option."""
    try:
        jax.jit(lambda: 0, compiler_options=QUICK).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
