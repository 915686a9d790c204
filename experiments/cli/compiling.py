"""A quick run waits for the compiler longer than for its programs: what only makes programs faster is left out there.

| name | what it is |
|---|---|
| `compiled_quickly` | a block in which JAX leaves out most optimizations, for every program of the process |
| `quick_flags` | XLA's flags for processes that do the same, as far as this compiler knows them |
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from gdlab.ground.compilers import ONCE


@contextlib.contextmanager
def compiled_quickly(quick: bool = True) -> Iterator[None]:
    """A block in which JAX leaves out most optimizations, where the run is a quick one."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", before or quick)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


def quick_flags(options: dict[str, object] = ONCE) -> str:
    """The value of XLA_FLAGS with these options, as far as this compiler knows them, behind those of the user."""
    # Asked in a process of its own: no GPU is taken here, and XLA ends a process that names a flag it does not know.
    asked = f"from gdlab.ground.compilers import known; print(*(f'--{{k}}={{v}}' for k, v in known({options}).items()))"
    variables = {**os.environ, "JAX_PLATFORMS": "cpu"}
    said = subprocess.run([sys.executable, "-c", asked], env=variables, capture_output=True, text=True, check=False)
    return " ".join([os.environ.get("XLA_FLAGS", ""), *said.stdout.split()]).strip()
