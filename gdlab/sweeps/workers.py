"""Workers: the devices, or cores of a CPU, that share the blocks of a chunk, and what they found in one array.

    results[lanes of a piece]  =  program(piece)      for each piece of the share of a worker

A worker computes its share in one call, or, where results are long, block by block, and copies each into its place
while it is in the cache: in one call a history is written four times, and into fresh memory, which the system clears.

| function | what it does |
|---|---|
| `shared` | a program of blocks, computed by all workers of this process |
| `gathered` | the results of all processes, with a leading axis of lanes |
| `place_of` | the workers of this process, and its place among the others |
"""

import concurrent.futures
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from gdlab.storage.multihost import together

WORTH_A_THREAD = 1e7  # operations on numbers: about .1 ms, twice as long as it takes to wake another thread


class Work(NamedTuple):
    """A chunk of lanes, in blocks."""

    lanes: int
    block: int
    once: bool  # whether one call computes all blocks of a worker
    operations: float  # on numbers, in a block
    avals: Sequence[Any]  # shapes and dtypes of the results of a lane
    axes: list[int]  # the axis of lanes in the results


class _Piece(NamedTuple):
    """What one call of the program computes."""

    begin: int  # its first lane, of those of this process
    lanes: Any  # on the device
    turns: Any
    asked: int  # how many of its lanes are


def shared(
    able: Callable[[dict[Any, tuple]], dict[Any, Callable[..., list[Any]]]],
    work: Work,
    place: tuple[list[Any], int, int],
) -> Callable[[list[Any], int, list[Any]], list[Any]]:
    """`compute(constants, first lane, leaves)`: the results of the lanes of this process, along their axes.

    The chunk is cut into equal shares of whole blocks, for each device, or each core of a CPU: calls of one program at
    a time.  Where a block takes few operations on numbers, fewer cores than there are share them.
    """
    devices, processes, process = place
    block, count = work.block, -(-work.lanes // work.block)
    each = -(-count // processes)  # blocks of a process
    cores = min(_cores(), max(1, count * work.operations / WORTH_A_THREAD))
    turns = -(-each // int(min(each, cores if devices == [None] else len(devices))))
    workers = -(-each // turns)
    once, places = turns if work.once else 1, (devices * workers)[:workers]
    lanes_here = work.lanes if processes == 1 else turns * workers * block

    def pieces(worker, lanes):
        for begin in range(worker * turns * block, min((worker + 1) * turns * block, lanes_here), once * block):
            held, times = jax.device_put((lanes[begin:][: once * block], np.int32(once)), places[worker])
            yield _Piece(begin, held, times, min(once * block, lanes_here - begin))

    @functools.lru_cache(maxsize=1)  # most sweeps have one chunk
    def shares(first):
        lanes = np.arange(processes * workers * turns * block, dtype=np.int32)
        mine = (first + np.minimum(lanes, work.lanes - 1)).reshape(processes, -1)[process]
        return [[*pieces(worker, mine)] for worker in range(workers)]

    def compute(constants, first, leaves):
        held = {None: (constants, leaves)}
        held |= {device: jax.device_put((constants, leaves), device) for device in {*places} - {None}}
        calls = [
            [(held[place][0], piece.lanes, held[place][1], piece.turns) for piece in share]
            for place, share in zip(places, shares(first), strict=True)
        ]
        compiled = able({place: share[0] for place, share in zip(places, calls, strict=True)})
        if workers == 1 and once == turns:
            return compiled[places[0]](*calls[0][0])
        results = [_empty(aval, axis, lanes_here) for aval, axis in zip(work.avals, work.axes, strict=True)]

        def act(worker):
            for call, piece in zip(calls[worker], shares(first)[worker], strict=True):
                found = compiled[places[worker]](*call)
                for whole, part, axis in zip(results, found, work.axes, strict=True):
                    _lanes(whole, axis, piece.begin, piece.asked)[...] = _lanes(np.asarray(part), axis, 0, piece.asked)

        others = [_threads(workers).submit(act, worker) for worker in range(1, workers)]
        act(0)  # a program does not hold Python's lock
        for other in others:
            other.result()
        return results

    return compute


def _empty(aval, axis, lanes):
    return np.empty((*aval.shape[:axis], lanes, *aval.shape[axis:]), aval.dtype)


def _lanes(array, axis, begin, count):
    return array[(*[slice(None)] * axis, slice(begin, begin + count))]


@functools.cache
def _threads(workers):
    """Threads that wait for work: to start some anew would cost every sweep."""
    return concurrent.futures.ThreadPoolExecutor(workers)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)  # whose threads are not there


def place_of(mesh: jax.sharding.Mesh | None) -> tuple[list[Any], int, int]:
    """The devices of this process, how many processes share the lanes, and which of them this one is.

    Raises:
        ValueError: for a mesh without a device of this process, or with more of one than of another.
    """
    if mesh is None:
        return [None], 1, 0
    here, owners = jax.process_index(), [device.process_index for device in mesh.devices.flat]
    counts = {process: owners.count(process) for process in sorted(owners)}
    if here not in counts:
        msg = f"mesh must have a device of every process; got none of process {here}"
        raise ValueError(msg)
    if len(set(counts.values())) > 1:
        msg = f"mesh must have as many devices of one process as of another; got {counts}, by process"
        raise ValueError(msg)
    return [one for one in mesh.devices.flat if one.process_index == here], len(counts), [*counts].index(here)


def _cores():
    """The cores of a CPU that this process may use; 1 where lanes are computed by something else."""
    if jax.default_backend() != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gathered(results: list[Any], lanes: int, axes: list[int]) -> list[np.ndarray]:
    """The results of the requested lanes, gathered on this host from all processes, with a leading axis of lanes.

    They stay as they lie in memory, a history step by step: to turn it around takes longer than to compute it.
    """
    led = [_led_by(leaf, axis) for leaf, axis in zip(results, axes, strict=True)]
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        with together():
            led = multihost_utils.process_allgather(led, tiled=True)
    return [leaf[:lanes] for leaf in led]


def _led_by(leaf, axis):
    array = np.asarray(leaf)
    return array.swapaxes(0, axis) if axis < 2 else np.moveaxis(array, axis, 0)
