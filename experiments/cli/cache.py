"""What commands compile is kept in the user's cache (`gdlab.ground.caches`), so that the next one does not wait.

A JAX_COMPILATION_CACHE_DIR that is set already is left alone.
"""

import os
import warnings

SETTINGS = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


def keep_compiled() -> None:
    """Tell JAX, and what this command starts, where to keep what is compiled."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from gdlab.ground.caches import cache_folder  # which imports jax, with these settings

    folder = cache_folder("compiled")
    if folder is None:  # then every command compiles
        return
    import jax

    jax.config.update("jax_compilation_cache_dir", str(folder))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # An entry that a killed command left half-written, or a full disk: it is compiled again then.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")
