"""What commands compile is kept in the user's cache, so that the next one does not wait for the compiler.

    GDLAB_CACHE=off       nothing is kept            GDLAB_CACHE=FOLDER    it is kept there

The folder is $XDG_CACHE_HOME or ~/.cache on Linux, ~/Library/Caches on macOS, %LOCALAPPDATA% on Windows, and in it
gdlab/compiled/ one for each kind of processor, as what is compiled for one may not run on another.  It may be deleted
at any time.  A JAX_COMPILATION_CACHE_DIR that is set already is left alone.
"""

import hashlib
import os
import platform
import sys
import warnings
from pathlib import Path


def keep_compiled() -> None:
    """Tell JAX, which is not imported yet, where to keep what it compiles."""
    asked = os.environ.get("GDLAB_CACHE", "")
    if asked.lower() in ("off", "0", "no", "false") or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = Path(asked) if asked else user_cache() / "gdlab" / "compiled"
    try:
        folder = folder.expanduser() / processor()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a read-only or missing home: then every command compiles
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    # An entry that a killed command left half-written, or a full disk: it is compiled again then.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache entry")


def user_cache() -> Path:
    """The folder for caches of this user."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def processor() -> str:
    """A name for this kind of processor: the same for those with the same instructions."""
    said = platform.machine() + platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        said += "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    except OSError:
        pass
    return hashlib.sha256(said.encode()).hexdigest()[:12]
