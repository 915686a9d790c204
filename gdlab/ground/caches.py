"""The user's cache: what is kept there may be deleted at any time, and is made again.

    GDLAB_CACHE=off       nothing is kept            GDLAB_CACHE=FOLDER    it is kept there

The folder is gdlab/ in $XDG_CACHE_HOME or ~/.cache on Linux, ~/Library/Caches on macOS, %LOCALAPPDATA% on Windows, and
in it one for each kind of thing, with one for each kind of processor, as what is compiled for one may not run on
another.

| name | what it is |
|---|---|
| `cache_folder` | the folder of a kind of thing for this processor |
| `is_off` | whether nothing is to be kept |
| `user_cache`, `processor` | where caches of this user are; a name for the kind of processor |
"""

import functools
import hashlib
import os
import platform
import sys
from pathlib import Path


def cache_folder(kind: str) -> Path | None:
    """The folder where things of a kind are kept for this processor, made when it is not there; None for none."""
    if is_off():
        return None
    asked = os.environ.get("GDLAB_CACHE", "")
    try:
        folder = (Path(asked).expanduser() if asked else user_cache() / "gdlab") / kind / processor()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a read-only or missing home
        return None
    return folder


def is_off() -> bool:
    """Whether nothing is to be kept."""
    return os.environ.get("GDLAB_CACHE", "").lower() in ("off", "0", "no", "false")


def user_cache() -> Path:
    """The folder for caches of this user."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@functools.cache
def processor() -> str:
    """A name for this kind of processor: the same for those with the same instructions."""
    said = platform.machine() + platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        said += "".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    except OSError:
        pass
    return hashlib.sha256(said.encode()).hexdigest()[:12]
