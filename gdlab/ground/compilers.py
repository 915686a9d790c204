"""What a compiler is told where a user waits for it, and not for what it makes: as far as this compiler knows it.

On a CPU XLA makes one kernel after the other by way of MLIR, or in a third of the time without (QUICK); improving the
kernels takes half of what is left, and gains nothing where they take microseconds (LIGHT).  To simplify a loop it
counts the turns again and again, a third of the compilation of a search (LOOPS_AS_THEY_ARE).

| name | what it is |
|---|---|
| `QUICK`, `LIGHT` | options of a compilation on a CPU: without fusion emitters; and without improving the kernels |
| `LOOPS_AS_THEY_ARE` | and without moving what does not change out of loops |
| `ONCE` | all of these but the last: programs that run once, beside other processes |
| `compiled_with` | `jax.jit` with such options, on a CPU |
| `known` | the options that this compiler has |
| `is_alone` | whether a program that is called here is no part of another one |
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

from gdlab.ground.jaxprs import get_opaque_trace_state

QUICK = {"xla_cpu_use_fusion_emitters": False}
LOOPS_AS_THEY_ARE = {"xla_disable_hlo_passes": "while-loop-invariant-code-motion,simplify-while-loops"}
# And with one thread, where other processes have the other cores.
ONCE = {**QUICK, **LOOPS_AS_THEY_ARE, "xla_cpu_parallel_codegen_split_count": 1}
LIGHT = {**ONCE, "xla_backend_optimization_level": 0}

with ThreadPoolExecutor(1) as a_thread:  # in which no transformation is under way, whatever imports this module
    OUTSIDE = a_thread.submit(get_opaque_trace_state).result()


def is_alone() -> bool:
    """Whether a program that is called here is no part of another one: no transformation is under way."""
    return get_opaque_trace_state() == OUTSIDE


def compiled_with(options: dict[str, Any], fn: Callable[..., Any], **static: Any) -> Any:
    """`jax.jit` with its static arguments, and on a CPU with those of the options that the compiler has."""
    return jax.jit(fn, compiler_options=known(options) if jax.default_backend() == "cpu" else None, **static)


def known(options: dict[str, Any]) -> dict[str, Any]:
    """The options that this compiler has."""
    return {name: value for name, value in options.items() if _is_known(name, value)}


@functools.cache
def _is_known(name, value):
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
