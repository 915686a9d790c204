"""Ways: how the lanes of a sweep are computed, and which way a program takes.

| way | the program | which it suits |
|---|---|---|
| `vmap` | operations of XLA, lanes where `jax.vmap` puts them | large arrays, and every device but a CPU |
| `kernel` | one kernel, lanes where `jax.vmap` puts them | small loops, few lanes |
| `vectors` | one kernel, lanes along the last axis | small loops, many lanes |

In a kernel sin, cos and tanh are in vector form.
All ways compute the same, to the last bits: so a store keeps to the way of its first chunk.  By the rule a way follows
from the program alone.  Where the work is worth it and the user has a cache, the candidates are timed, once for each
program and kind of processor, and the fastest is remembered there.

| name | what it is |
|---|---|
| `Way`, `Task` | a way with its block of lanes; what a choice depends on |
| `by_rule`, `candidates` | the way that the program suggests; those that are worth a measurement |
| `chosen_way` | the way that is known from an earlier measurement, or is measured now, or by the rule |
| `usual_chunk` | how many lanes one call of the program computes |
| `carried_bytes`, `operations` | how large a program's loops are, and how long it takes |
"""

import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from gdlab.ground.caches import cache_folder
from gdlab.ground.files import atomic_write
from gdlab.ground.jaxprs import jaxprs_in_params
from gdlab.storage.store import digest

NAMES = ("vmap", "kernel", "vectors")
# Bytes that the loops of one block may carry on a CPU.  Adam on 2048 networks of 2410 weights, 29 kB each, measured in
# processor time: 8 lanes at once 12.0 us a lane and step, 16 13.3, 64 15.9, 512 17.1.
CACHE = 2**19
# The same for one kernel, and its bounds in lanes.  Momentum and Adam on surfaces, measured on AMD EPYC: 512 lanes at
# once .35 and 1.44 ns a lane and step, 256 .39 and 1.55, 128 .46 and 1.72, 64 .65 and 2.09; 32 as `vectors` 1.28 and
# 3.87, as `kernel` .97 and 3.90; 16 2.25 and 7.63, as `kernel` 1.81 and 5.15.
KERNEL_CACHE = 2**14
LARGEST_BLOCK, VECTOR, FEW = 512, 64, 32
# Bytes of results of a block of `vectors`.  20,000 losses of 4,096 runs of momentum, measured: 128 lanes at once 270 ms
# of processor time, 256 398, 512 479.
RESULTS = 2**23
# What is measured, by whether a kernel holds the program.
BLOCKS: dict[bool, dict[str, tuple[int, ...]]] = {
    True: {"kernel": (32,), "vectors": (128, 256, 512, 1024)},
    False: {"vmap": (1, 4, 8, 16, 64)},
}
SMALLER_CHUNK, LARGER_CHUNK, CHUNK_BYTES = 2**16, 2**20, 2**30
WORTH_TIMING = 1e9  # operations on numbers in a sweep: tens of milliseconds; to compile a candidate takes half a second
SHORT = 1e10  # operations on numbers, some tenths of a second: a longer measurement takes no longer than the sweep
GAIN = 0.95  # of the time by the rule, below which another way is taken: a busy machine does not measure more finely
TURNS = 1000
LONGEST = 0.2  # seconds in which one candidate is timed again


class Way(NamedTuple):
    """How lanes are computed."""

    name: str  # one of `NAMES`
    block: int  # lanes at once


class Task(NamedTuple):
    """What the choice of a way depends on."""

    program: str  # a hash of what is computed
    small: bool  # whether it is a loop that one kernel can hold
    carried: int  # bytes of its loops, a lane
    results: int  # bytes of them, a lane
    operations: float  # on numbers, a lane
    lanes: int


def by_rule(task: Task, block: int | None = None, name: str | None = None) -> Way:
    """The way that the program suggests; a block and a name that are asked for are kept to.

    Raises:
        ValueError: for a kernel of a program that none can hold.
    """
    if name not in (None, "vmap") and not task.small:
        msg = f"way must be 'vmap' for a program that is no loop over few numbers on a CPU; got {name!r}"
        raise ValueError(msg)
    lanes = min(task.lanes, block or task.lanes)
    name = name or ("vmap" if not task.small else "kernel" if lanes <= FEW else "vectors")
    if block or name == "kernel":
        return Way(name, lanes)
    return Way(name, kernel_block(task, lanes) if name == "vectors" else fitting_block(task.carried, lanes))


def candidates(task: Task) -> list[Way]:
    """The ways that are worth a measurement, the one by the rule first."""
    usual, blocks = by_rule(task), BLOCKS[task.small]
    others = [Way(name, block) for name in blocks for block in blocks[name] if block <= task.lanes]
    return [usual, *(way for way in others if way != usual)]


def chosen_way(task: Task, seconds: Callable[[Way], float]) -> Way:
    """The fastest way, from the user's cache or measured: `seconds(way)` are those of a lane.

    The rule says it where there is no cache, where other processes share the work, where there is little of it, and
    where a measurement would take as long as the sweep.
    """
    folder = cache_folder("ways")
    if folder is None or not _is_worth_timing(task) or jax.default_backend() != "cpu" or jax.process_count() > 1:
        return by_rule(task)
    path = folder / f"{digest(repr(task).encode(), jax.__version__.encode())}.json"
    try:
        name, block = json.loads(path.read_text(encoding="utf-8"))
        return Way(str(name), int(block))
    except (OSError, ValueError, TypeError):
        fastest = _fastest({way: seconds(way) for way in candidates(task)})
    try:
        with atomic_write(path) as file:
            file.write(json.dumps(fastest).encode())
    except OSError:  # a full disk: it is measured again, another time
        pass
    return fastest


def _is_worth_timing(task):
    """Whether the work is worth a measurement, in which each candidate computes its block at least twice."""
    work = task.operations * task.lanes
    measurement = 2 * task.operations * sum(way.block for way in candidates(task))
    return work >= WORTH_TIMING and measurement <= max(work, SHORT)


def _fastest(seconds):
    """The way that takes least, if that is enough less than the first one takes."""
    usual, best = next(iter(seconds)), min(seconds, key=lambda way: seconds[way])
    return best if seconds[best] < GAIN * seconds[usual] else usual


def timed(run: Callable[[], Any]) -> float:
    """The shortest of a few runs, in seconds of processor time, which other programs disturb least."""
    run()  # compiles
    taken: list[float] = []
    while len(taken) < 5 and sum(taken) < LONGEST:
        begun = time.process_time()
        run()
        taken.append(time.process_time() - begun)
    return min(taken)


def usual_chunk(width: int) -> int:
    """How many lanes of so many bytes are computed between two looks of the host.

    On an H100 a step of momentum takes 13 us for 10^5 lanes and 29 us for 10^6, which in chunks of 65,536 take eight
    times as long.
    """
    if jax.default_backend() == "cpu":
        return SMALLER_CHUNK
    return min(max(CHUNK_BYTES // width, SMALLER_CHUNK), LARGER_CHUNK)


def kernel_block(task: Task, lanes: int) -> int:
    """How many of these lanes `vectors` takes at once: what fits in the caches, in whole vectors, evenly spread."""
    fitting = min(KERNEL_CACHE // task.carried, RESULTS // max(task.results, 1))
    most = min(LARGEST_BLOCK, max(fitting, VECTOR))
    even = -(-lanes // -(-lanes // most))
    return -(-even // VECTOR) * VECTOR


def fitting_block(carried: int, lanes: int) -> int:
    """How many lanes fit in the cache: all on an accelerator, on a CPU a power of two by what the loops carry."""
    if jax.default_backend() != "cpu" or carried * lanes <= CACHE:
        return lanes
    return min(lanes, max(4, 2 ** (CACHE // carried).bit_length() // 2))


def carried_bytes(jaxpr: Any) -> int:
    """The bytes of the largest loop state of a program, nested loops included; at least 1."""
    largest = 1
    for equation in jaxpr.eqns:
        for inner in jaxprs_in_params(equation.params):
            inner = getattr(inner, "jaxpr", inner)
            if equation.primitive.name in ("scan", "while"):
                shaped: list[Any] = [v.aval for v in inner.outvars if hasattr(v.aval, "size")]
                largest = max(largest, sum(aval.size * aval.dtype.itemsize for aval in shaped))
            largest = max(largest, carried_bytes(inner))
    return largest


def operations(jaxpr: Any) -> float:
    """About how many operations on numbers a program makes, a loop whose turns are not known `TURNS` turns."""
    total = 0.0
    for equation in jaxpr.eqns:
        inner = [getattr(one, "jaxpr", one) for one in jaxprs_in_params(equation.params)]
        turns = equation.params["length"] if equation.primitive.name == "scan" else 1
        turns = TURNS if equation.primitive.name == "while" else turns
        sizes = sum(getattr(v.aval, "size", 1) for v in equation.outvars)
        if equation.primitive.name == "dot_general":
            (summed, _), _ = equation.params["dimension_numbers"]
            for axis in summed:
                sizes *= equation.invars[0].aval.shape[axis]
        total += turns * sum(map(operations, inner)) if inner else sizes
    return total
