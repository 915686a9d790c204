"""Searches in blocks, each computed once: from a store where it is there, else compiled, on every core and device.

A block is a fixed number of starts.  What is searched next depends on nothing but the ends of the blocks before, so a
run that was killed takes the same path through its store and ends the same.  Blocks go to the devices in turn, and an
end does not depend on the device that found it, where these are alike.

| name | what it is |
|---|---|
| `Job` | where a search begins, and how it moves |
| `Rounds` | runs jobs |
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gdlab.storage.fingerprint import array_bytes, fingerprint
from gdlab.storage.store import Store, StoreError, digest, opened
from hessian.landscapes.catalogue import Ends, as_ends
from hessian.landscapes.seek import Plan, seek_all
from hessian.symmetry.declared import Symmetries

SCHEMA = 1  # the version of the layout of a store


class Job(NamedTuple):
    """One search."""

    start: np.ndarray  # (n,)
    mode: int  # `FLOW`, `DOWN`, or the index to climb to
    toward: np.ndarray | None = None  # (n,), the direction to climb at first
    free: bool = False  # whether it also moves along the orbit


class Rounds:
    """Runs jobs in blocks."""

    def __init__(
        self,
        loss: Any,
        plan: Plan,
        like: Any,
        args: tuple,
        *,
        radius: Any,
        unit: float,
        room: float,
        block: int,
    ):
        """Set what all blocks share; arguments as of `seek_all`, with the jobs of a block."""
        self.loss, self.plan, self.like, self.args = loss, plan, like, args
        self.radius, self.unit, self.room, self.block = radius, unit, room, block
        self.store: Store | None = None
        theta = ravel_pytree(like)[0]
        self.size, self.dtype = theta.size, theta.dtype
        self.count = 0
        # That of this thread, which the others do not see; mypy does not know the names of options.
        chosen = jax.config.jax_default_device  # type: ignore[attr-defined]
        self.devices = jax.local_devices() if chosen is None else [chosen]

    @contextlib.contextmanager
    def kept(self, folder: str | os.PathLike[str] | None) -> Iterator[None]:
        """Read and write the blocks in a store; None for none."""
        with contextlib.nullcontext() if folder is None else opened(folder, self._program()) as self.store:
            yield

    def stride(self, theta: np.ndarray) -> float:
        """The length scale of a step from a point."""
        return min(self.unit + float(np.linalg.norm(theta)), self.room)

    def run(self, jobs: Sequence[Job]) -> list[Ends]:
        """The end of each job."""
        parts = [jobs[first : first + self.block] for first in range(0, len(jobs), self.block)]
        numbers = range(self.count, self.count + len(parts))
        self.count += len(parts)
        if self.store is None and len(parts) < 2:
            found = [self._part(*each) for each in zip(numbers, parts, strict=True)]
        else:
            with ThreadPoolExecutor(max(os.cpu_count() or 1, len(self.devices))) as pool:
                found = list(pool.map(self._part, numbers, parts))
        return [ends.row(i) for ends, part in zip(found, parts, strict=True) for i in range(len(part))]

    def _part(self, number, jobs):
        name = np.frombuffer(self._identity(jobs), np.uint8)
        kept = None if self.store is None else self.store.read(number)
        if kept is not None:
            if not np.array_equal(kept.pop("identity", np.zeros(0)), name):
                msg = f"store must be of this very search, or empty; its part {number} is of other starts"
                raise StoreError(msg)
            return Ends(**kept)
        with jax.default_device(self.devices[number % len(self.devices)]):
            ends = self._searched(jobs)
        if self.store is not None:
            self.store.write(number, {"identity": name, **ends._asdict()})
        return ends

    def _searched(self, jobs):
        # A block that is not full repeats its first job, which costs time, and no second compilation.
        every = [*jobs, *[jobs[0]] * (self.block - len(jobs))]
        starts = np.stack([job.start for job in every])
        towards = np.stack([np.zeros_like(job.start) if job.toward is None else job.toward for job in every])
        modes = np.array([job.mode for job in every], np.int32)
        free = np.array([job.free for job in every])
        found, vectors = seek_all(
            self.loss, self.plan, self.like, self.args, starts, towards, modes, free, self.radius,
            jnp.asarray(self.unit, starts.dtype), jnp.asarray(self.room, starts.dtype),
        )  # fmt: skip
        return as_ends(found, vectors)

    def _program(self):
        """What every block computes, as JSON: hashes of loss and symmetries and of their arguments, and sizes."""
        declared = self.plan.symmetries or Symmetries()

        def program(params, args, key):
            return (
                self.loss(params, *args),
                declared.fields(params),
                [one.image(params, key) for one in declared.discrete],
            )

        traced = jax.make_jaxpr(program)(self.like, self.args, jax.random.key(0))
        return {
            "schema": SCHEMA,
            "kind": "landscape",
            "program": digest(fingerprint(traced)),
            "arguments": digest(*map(array_bytes, jax.tree.leaves(self.args))),
            "parameters": f"{self.size} of {self.dtype}",
            "steps": self.plan.steps,
            "radius": float(self.radius),
            "batch": self.block,
        }

    def _identity(self, jobs):
        hashed = hashlib.sha256(repr((self.unit, self.room)).encode())
        for job in jobs:
            hashed.update(job.start.tobytes() + bytes([job.mode % 256, job.free]))
            hashed.update(b"" if job.toward is None else job.toward.tobytes())
        return hashed.digest()[:16]
