"""The mean loss over data that are fetched batch by batch as the program runs: the memory of one batch.

    L(theta)  =  sum_b n_b L_b(theta) / sum_b n_b,      n_b the examples of batch b

Each value, gradient or product with the Hessian fetches every batch once in each direction.  What can only be iterated
is written to a temporary folder in one pass, so that shuffled loaders give one loss, too.

| function | what it returns |
|---|---|
| `streamed` | the mean loss over the batches |
"""

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gdlab.ground.checks import function, within_bits
from gdlab.ground.leaves import shown
from hessian.models import free_part
from hessian.precision import Loss, first, scalar, working_dtype


class _Batches:
    """Batches by their number, each a list of arrays of NumPy."""

    def __init__(self, batches: Any):
        self.structure: Any = None
        self.kinds: list[list[jax.ShapeDtypeStruct]] = []  # of the leaves of each batch
        self.kept = None if isinstance(batches, Sequence) else Path(tempfile.mkdtemp(prefix="gdlab-batches-"))
        if self.kept is not None:
            weakref.finalize(self, shutil.rmtree, self.kept, ignore_errors=True)
        self.batches = batches
        for batch in batches:
            structure, leaves = jax.tree.structure(batch), self._leaves(batch)
            if self.structure is not None and structure != self.structure:
                msg = f"batches must all be pytrees of one structure, {self.structure}; got {structure}"
                raise ValueError(msg)
            if self.kept is not None:
                for j, leaf in enumerate(leaves):
                    np.save(self._file(len(self.kinds), j), leaf)
            self.structure = structure
            self.kinds.append([jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves])
        if not self.kinds:
            msg = f"batches must yield at least one batch; got none from {shown(batches)}"
            raise ValueError(msg)

    def fetch(self, number: Any) -> list[np.ndarray]:
        """The batch of this number."""
        if self.kept is None:
            return self._leaves(self.batches[int(number)])
        kinds = enumerate(self.kinds[int(number)])
        return [np.load(self._file(int(number), j)).view(kind.dtype) for j, kind in kinds]  # .npy knows no bfloat16

    def sizes(self) -> np.ndarray:
        """The examples of each batch, by the first axis of its arrays; ValueError where these differ."""
        sizes = []
        for kinds in self.kinds:
            lengths = {kind.shape[0] if kind.shape else 0 for kind in kinds}
            if len(lengths) != 1 or 0 in lengths:
                got = [kind.shape for kind in kinds]
                msg = f"batches must be arrays of one number of examples each, at least one; got shapes {got}"
                raise ValueError(msg)
            sizes.append(lengths.pop())
        return np.array(sizes)

    def _file(self, number, leaf):
        assert self.kept is not None  # of batches that are no sequence
        return self.kept / f"{number}.{leaf}.npy"

    def _leaves(self, batch):
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(batch)]
        wrong = [leaf for leaf in leaves if leaf.dtype.kind in "USOMm"]
        if wrong or not leaves:
            msg = f"batches must yield pytrees of arrays of numbers; got {shown(wrong[0] if wrong else batch)}"
            raise TypeError(msg)
        for leaf in leaves:
            within_bits("batches", leaf)
        return [np.asarray(leaf, jax.dtypes.canonicalize_dtype(leaf.dtype)) for leaf in leaves]


@dataclass(frozen=True)
class Streamed:
    """The mean of a loss over batches: `Streamed(...)(params, *args)`; equal for equal losses and the same batches."""

    loss: Loss
    batches: _Batches

    def __call__(self, params: Any, *args: Any) -> jax.Array:
        """The mean loss."""
        free, whole = free_part(params)
        sizes, kinds = self.batches.sizes(), self.batches.kinds

        def weighted(free, number, size, like):
            leaves = jax.pure_callback(self.batches.fetch, like, number, vmap_method="sequential")
            batch = jax.tree.unflatten(self.batches.structure, leaves)
            value = first(self.loss(whole(free), batch, *args))
            return size * value.astype(working_dtype(scalar("loss", value)))

        weighted = jax.checkpoint(weighted, static_argnums=(2, 3))
        total: Any = 0.0
        numbers = np.arange(len(sizes))
        for like in dict.fromkeys(tuple(kind) for kind in kinds):  # of which there are mostly two
            alike = [number for number in numbers if tuple(kinds[number]) == like]
            size = int(sizes[alike[0]])

            def add(total, number, like=like, size=size):
                return total + weighted(free, number, size, like), None

            zero = jnp.zeros_like(jax.eval_shape(lambda size=size, like=like: weighted(free, 0, size, like)))
            total = total + jax.lax.scan(add, zero, jnp.asarray(alike, jnp.int32))[0]
        return total / int(sizes.sum())


def streamed(loss: Loss, batches: Any) -> Streamed:
    """The mean loss over batches that are fetched as the program runs, each weighted by its examples.

    Args:
        loss: `loss(params, batch, *args) -> scalar`, a mean over the examples along the first axes of the batch.
        batches: a sequence of pytrees of arrays, or what yields them: a loader, a generator, a function that returns
            one of these.  What is no sequence is iterated once.

    Returns:
        `loss(params, *args) -> scalar`.

    Raises:
        TypeError, ValueError: for what yields no batches, or batches unlike each other.

    >>> mean = streamed(lambda w, x: jnp.mean(w * x), [jnp.array([1.0, 2.0]), jnp.array([6.0])])
    >>> float(mean(1.0)), float(jax.grad(mean)(1.0))
    (3.0, 3.0)
    """
    function("loss", loss)
    batches = batches() if callable(batches) and not hasattr(batches, "__iter__") else batches
    if isinstance(batches, str | dict) or not (isinstance(batches, Iterator) or hasattr(batches, "__iter__")):
        msg = f"batches must yield pytrees of arrays, as a list, a loader or a generator does; got {shown(batches)}"
        raise TypeError(msg)
    held = _Batches(batches)
    held.sizes()
    return Streamed(loss, held)
