"""Compiled programs that are kept: a later process loads one without tracing it, where all that determines it is equal.

    name   =  hash of     the words of what is static and of the loss, the shapes of the arguments,
                          the source of gdlab and hessian, the versions of JAX and what it stands on,
                          its settings, and the kind of processor
    file   =  what XLA compiled, the structure of what it returns, and whether it calls LAPACK

JAX's own cache finds what was compiled by the program, which has to be traced and written down first: of a small loss
that takes longer than all else.  Programs are kept in the folder of that cache, where it is turned on and has no limit,
from as many seconds of compilation on, on a CPU, for arguments on its first device.  What has no words
(`gdlab.ground.words`) is not kept, nor what calls libraries other than LAPACK, which JAX makes ready where it traces
such a call, and which is made ready here before a program that calls it is loaded; a file that cannot be read is made
again.  Once the programs take more than 1 GiB, those that have not been loaded for longest are removed.  Whoever may
write into that folder can make this user's programs do anything, as with JAX's own cache.  Where a program changes
modules of these packages while it runs, as tests do, GDLAB_CACHE=off must be set: their source says nothing of that.

| name | what it is |
|---|---|
| `Keeper` | the programs of one function, in this process and on disk |
| `is_keeping` | whether programs are kept now |
| `renamed` | a function by another name |
"""

import contextlib
import functools
import hashlib
import os
import pickle
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import optax

from gdlab.ground.caches import is_off, processor
from gdlab.ground.files import atomic_write
from gdlab.ground.words import Unsaid, words_of

MOST = 256  # programs of a function in one process
ROOM = 2**30  # bytes of all files in the folder, those of other processors included
PACKAGES = ("gdlab", "hessian")
CHECKS = ("jax_debug_nans", "jax_debug_infs", "jax_disable_jit", "jax_check_tracer_leaks", "jax_default_device")


def renamed(fn: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The same function by another name."""

    @functools.wraps(fn)
    def called(*args, **keyed):
        return fn(*args, **keyed)

    called.__name__ = name
    return called


def is_keeping() -> bool:
    """Whether programs are kept now: JAX's cache is turned on, and nothing looks into the programs."""
    config: Any = jax.config  # whose options its type does not name
    folder = config.jax_compilation_cache_dir if config.jax_enable_compilation_cache else None
    if folder is None or "://" in folder or config.jax_compilation_cache_max_size != -1 or is_off():
        return False
    return jax.default_backend() == "cpu" and not any(getattr(config, name) for name in CHECKS)


class Keeper:
    """The programs of one function, by its static arguments and the shapes of the others."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.programs: dict[Any, Callable[..., Any] | None] = {}

    def program(
        self, static: tuple, given: tuple, words: Callable[[], Any], traced: Callable[[str], jax.stages.Traced]
    ) -> Callable[..., Any] | None:
        """What is called with `given`, the arguments that are not static; None where it cannot be kept.

        Args:
            static: the static arguments, by which it is found in this process.
            given: the others, in their order.
            words: makes what says, in words, what the static arguments and the loss are.
            traced: traces the function under `jax.jit`, by the name that it is given, where no process has before.
        """
        leaves, structure = jax.tree.flatten(given)
        shape = structure, tuple(map(jax.typeof, leaves))
        place = static, shape, tuple(jax.config.values.values())
        if place not in self.programs:
            if len(self.programs) >= MOST:
                del self.programs[next(iter(self.programs))]
            self.programs[place] = self._found(leaves, shape, words, traced)
        return self.programs[place]

    def _found(self, leaves, shape, words, traced):
        """The program from disk, or compiled and kept."""
        if not all(map(_is_on_first_device, leaves)):
            return None
        try:
            said = words_of([self.name, *shape, words(), _surroundings()])
        except Unsaid:
            return None
        folder = Path(jax.config.values["jax_compilation_cache_dir"]).expanduser() / "gdlab" / processor()
        file = folder / hashlib.sha256(said.encode()).hexdigest()
        # With a name of its own it is in JAX's cache only where it has been kept before.
        return _loaded(file, shape[0]) or _made(file, traced(f"{self.name.rpartition('.')[2]}_{file.name[:16]}"))


def _is_on_first_device(leaf):
    return not isinstance(leaf, jax.Array) or leaf.devices() == {jax.devices()[0]}


def _surroundings():
    """What else a program depends on."""
    versions = jax.__version__, jaxlib.__version__, np.__version__, optax.__version__, sys.version
    settings = {name: repr(value) for name, value in jax.config.values.items()}
    return versions, _source(), settings, os.environ.get("XLA_FLAGS"), jax.device_count(), processor()


@functools.cache
def _source():
    """The source of these packages, hashed."""
    sums = hashlib.sha256()
    here = Path(__file__).parents[2]
    for file in sorted(file for package in PACKAGES for file in (here / package).rglob("*.py")):
        sums.update(str(file.relative_to(here)).encode() + file.read_bytes())
    return sums.hexdigest()


def _loaded(file, structure):
    """The program of a file, None where there is none that can be read."""
    if not file.exists():
        return None
    from jax.experimental.serialize_executable import deserialize_and_load  # takes time to import

    try:
        kept, returned, calls_lapack = pickle.loads(file.read_bytes())
        if calls_lapack:
            _make_lapack_ready()
        whole = jax.tree.structure((jax.tree.unflatten(structure, range(structure.num_leaves)), {}))
        program = deserialize_and_load(kept, whole, jax.tree.structure(returned), execution_devices=jax.devices()[:1])
    except Exception:  # a file that was cut off, or one of another library, may raise anything
        return None
    with contextlib.suppress(OSError):  # in a folder that may only be read
        os.utime(file)  # so that it is the last that is removed
    return program


@functools.cache
def _make_lapack_ready():
    """Where LAPACK is in this process is found out as a call of it is traced, for all calls: without, they crash."""
    jax.jit(jnp.linalg.eigvalsh).lower(jax.ShapeDtypeStruct((2, 2), jnp.float32))


@functools.cache
def _hits_of_jax():
    """How many programs JAX has found in its cache, from the first time on that this is asked."""
    count = [0]

    def heard(event, **_):
        count[0] += event == "/jax/compilation_cache/cache_hits"

    jax.monitoring.register_event_listener(heard)
    return count


def _made(file, traced):
    """The program, compiled, and kept where that took long enough."""
    lowered, began, hits = traced.lower(), time.perf_counter(), _hits_of_jax()[0]
    program = lowered.compile()
    quick = time.perf_counter() - began < jax.config.values["jax_persistent_cache_min_compile_time_secs"]
    # XLA cannot write down a program that it has read from JAX's cache: parts of it would be missing.
    if quick or _hits_of_jax()[0] > hits:
        return program
    foreign = set(re.findall(r"custom_call @(\w+)", lowered.as_text()))
    lapack = {name for name in foreign if name.startswith("lapack_")}
    if foreign - lapack:
        return program
    from jax.experimental.serialize_executable import serialize

    try:
        kept, _, returned = serialize(program)
        whole = pickle.dumps((kept, jax.tree.unflatten(returned, range(returned.num_leaves)), bool(lapack)))
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as part:
            part.write(whole)
        _make_room(file.parents[1])
    except Exception:  # a full disk, or what cannot be pickled: it is not kept
        pass
    return program


def _make_room(folder):
    """Remove the files that have not been loaded for longest, until the others have room."""
    files = [(file.stat(), file) for file in folder.rglob("*") if file.is_file()]
    room = ROOM
    for about, file in sorted(files, key=lambda one: one[0].st_mtime, reverse=True):
        room -= about.st_size
        if room < 0:
            file.unlink(missing_ok=True)
