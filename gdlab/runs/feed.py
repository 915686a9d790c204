"""The batches of a long run, chunk by chunk: of arrays with one batch a step, or of anything that yields batches.

    arrays        a slice of each
    iterables     the next batches, stacked; one that can be iterated again begins anew when it ends, as a loader does

While the device computes a chunk the host fetches the batches of the next one.

| name | what it is |
|---|---|
| `yields` | whether batches come from an iterable |
| `Slices`, `Stacks` | the batches of a chunk, of arrays and of an iterable |
"""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gdlab.ground.checks import within_bits
from gdlab.ground.leaves import shown
from gdlab.runs.data import Minibatches


def yields(batches: Any) -> bool:
    """Whether batches are no arrays, but yield them: a list, a generator, a loader."""
    if batches is None or isinstance(batches, Minibatches | str | dict):
        return False
    if isinstance(batches, list | Iterator):
        return True
    leaves = jax.tree.leaves(batches)
    return isinstance(batches, Iterable) and not (leaves and all(hasattr(leaf, "__array__") for leaf in leaves))


class Slices:
    """The batches of arrays that hold one a step, along an axis."""

    def __init__(self, batches: Any, axis: int = 0):
        """Set the arrays."""
        self.batches, self.axis = batches, axis

    def like(self, length: int) -> Any:
        """Arrays like the batches of `length` steps."""
        return self._between(0, length, length)

    def between(self, done: int, until: int, length: int) -> Callable[[], Any]:
        """What returns the batches of these steps, filled up to `length` by the last one."""
        return lambda: self._between(done, until, length)

    def _between(self, done, until, length):
        rows = np.minimum(np.arange(done, done + length), until - 1)

        def cut(leaf):
            if until - done == length <= leaf.shape[self.axis] - done:
                return jax.lax.slice_in_dim(leaf, done, until, axis=self.axis) if self.axis else leaf[done:until]
            return leaf.take(np.minimum(rows, leaf.shape[self.axis] - 1), axis=self.axis)

        return jax.tree.map(cut, self.batches)


class Stacks:
    """The batches that an iterable yields, one a step."""

    def __init__(self, batches: Iterable[Any], steps: int):
        """Take the first batch, which all others must be like."""
        self.batches, self.steps, self.taken = batches, steps, 0
        self.again = not isinstance(batches, Iterator)
        self.ahead = iter(batches)
        self.first: Any = None
        self.first = self.waiting = self._next()
        self.taken = 0

    def like(self, length: int) -> Any:
        """Arrays like the batches of `length` steps."""
        return jax.tree.map(lambda leaf: np.broadcast_to(leaf, (length, *leaf.shape)), self.first)

    def between(self, done: int, until: int, length: int) -> Callable[[], Any]:
        """What returns the batches of these steps, or raises what kept the iterable from yielding them."""
        try:
            while self.taken < done:  # of a run that goes on: its store knows the steps, but not the batches
                self._pop()
            batches = [self._pop() for _ in range(until - done)]
        except Exception as error:  # of the user's iterable; what is computed of the steps before is kept first
            return _raising(error)
        stacked = jax.tree.map(lambda *leaves: np.stack([*leaves, *leaves[-1:] * (length - len(leaves))]), *batches)
        return lambda: stacked

    def _pop(self):
        batch, self.waiting = self.waiting, None
        batch = self._next() if batch is None else batch
        self.taken += 1
        return batch

    def _next(self):
        batch = next(self.ahead, self)
        if batch is self and self.again and self.taken:
            self.ahead = iter(self.batches)
            batch = next(self.ahead, self)
        if batch is self:
            msg = f"batches must yield one batch a step, here {self.steps}; they ended after {self.taken}"
            raise ValueError(msg)
        batch = jax.tree.map(self._array, batch)
        jax.tree.map(partial(within_bits, f"batch {self.taken} of batches"), batch)
        self._check(batch)
        return batch

    def _array(self, leaf):
        try:
            array = np.array(leaf)  # a copy: a loader may fill the same memory with its next batch
            if array.dtype.kind not in "USOMm":
                return array
        except Exception:  # another library may raise anything
            array = None
        msg = f"batches must yield pytrees of arrays of numbers; batch {self.taken} holds {shown(leaf)}"
        raise TypeError(msg)

    def _check(self, batch):
        kinds = [
            (str(jax.tree.structure(one)), [(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(one)])
            for one in (batch, batch if self.first is None else self.first)
        ]
        if kinds[0] != kinds[1]:
            texts = [", ".join(f"{dtype} of shape {shape}" for shape, dtype in arrays) for _, arrays in kinds]
            texts = texts if texts[0] != texts[1] else [structure for structure, _ in kinds]
            msg = f"batches must all be like the first one, {texts[1]}; batch {self.taken} is {texts[0]}"
            msg += ": a loader leaves out a smaller last one with drop_last=True"
            raise ValueError(msg)


def _raising(error):
    def raising():
        raise error

    return raising


def stepped(batches: Any, steps: int, lanes: bool) -> Slices | Stacks | None:
    """What feeds a long run: None where its batches are none, or a stream that the compiled program draws itself."""
    if batches is None or isinstance(batches, Minibatches):
        return None
    return Stacks(batches, steps) if yields(batches) else Slices(jax.tree.map(jnp.asarray, batches), int(lanes))
