"""Data: standardized features, and examples in batches.

    standardize:  x <- (x - mean) / deviation, column by column                          (S34, S35, S38)
    minibatches:  every example exactly once an epoch, reshuffled each epoch  (S44, S45)

Both are pure functions and ignore the labels.  `fitting` checks the batches of every run.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gdlab.arguments import any_array, real_array
from gdlab.ground.checks import prng_key, whole
from gdlab.ground.leaves import shown
from gdlab.ground.results import result
from gdlab.numerics import Tree, power_of_two, widest


class Scaling(NamedTuple):
    """The map between raw and standardized features; both directions take arrays of shape (..., features)."""

    mean: jax.Array  # of each column
    deviation: jax.Array  # of each column, 1 where the column is constant

    def apply(self, x: ArrayLike) -> jax.Array:
        """(x - mean) / deviation."""
        part = self._part()
        return (jnp.asarray(x) * part - self.mean * part) / (self.deviation * part)

    def invert(self, z: ArrayLike) -> jax.Array:
        """Mean + deviation * z, the raw features again."""
        part = self._part()
        return (self.mean * part + self.deviation * part * jnp.asarray(z)) / part

    def _part(self):
        """1/4 where features are large, else 1: the difference of two of them may overflow though neither does."""
        return jnp.where(self.deviation > 1, 0.25, 1).astype(self.deviation.dtype)


def standardize(x: ArrayLike) -> tuple[jax.Array, Scaling]:
    """The features with mean 0 and variance 1 in every column, and the scaling that made them so (S34).

    The variance is the mean square deviation (ddof = 0).  A column that is constant to rounding becomes 0.

    Args:
        x: examples in rows, shape (examples, ...), at least one; integers are taken as floats.

    Raises:
        ValueError: when x has no rows.

    >>> z, scaling = standardize([[1.0, 7.0], [3.0, 7.0]])
    >>> z.tolist(), scaling.invert(z).tolist()
    ([[-1.0, 0.0], [1.0, 0.0]], [[1.0, 7.0], [3.0, 7.0]])
    """
    x = real_array("x", x)
    if x.ndim == 0 or x.shape[0] == 0:
        msg = f"x must have at least one row of features, shape (examples, ...); got shape {x.shape}"
        raise ValueError(msg)
    x = x.astype(widest(x.dtype))
    unit = power_of_two(jnp.max(jnp.abs(x), axis=0))  # of each column, so that sums and squares do not overflow
    small = x / unit
    mean = jnp.mean(small, axis=0)
    mean = mean + jnp.mean(small - mean, axis=0)  # the second pass removes the rounding of the first
    deviation = jnp.sqrt(jnp.mean((small - mean) ** 2, axis=0))
    rounding = 8 * jnp.finfo(x.dtype).eps * jnp.max(jnp.abs(small), axis=0)
    constant = deviation <= rounding
    scaling = Scaling(mean * unit, jnp.where(constant, 1, deviation * unit))
    return jnp.where(constant, 0, (small - mean) / jnp.where(constant, 1, deviation)), scaling


@result
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Minibatches(Generic[Tree]):
    """A stream of batches for `gdlab.minimize`: `init()` gives its state, `next(state)` a batch and the next state.

    A pytree of the data and the key; the batch size is static.  Made by `minibatches`.
    """

    data: Tree  # pytree of arrays with a leading axis of examples
    key: jax.Array  # the orders of all epochs follow from it
    size: int = field(metadata={"static": True})  # examples per batch

    @property
    def examples(self) -> int:
        """The number of examples of an epoch."""
        return jax.tree.leaves(self.data)[0].shape[0]

    def _words(self) -> str:
        return f"{self.examples:,} examples, {self.size} a batch"

    def init(self) -> "StreamState":
        """The state before the first batch: the orders of the first two epochs."""
        zero = jnp.zeros([], jnp.int32)
        return StreamState(zero, zero, self._order(zero), self._order(zero + 1))

    def next(self, state: "StreamState") -> tuple[Tree, "StreamState"]:
        """The next batch, and the state after it."""
        order = jnp.concatenate([state.order, state.order_after])
        index = jax.lax.dynamic_slice_in_dim(order, state.offset, self.size)
        batch = jax.tree.map(lambda leaf: leaf[index], self.data)
        offset = state.offset + self.size

        def turn(state):
            epoch = state.epoch + 1
            return StreamState(epoch, offset - self.examples, state.order_after, self._order(epoch + 1))

        # The predicate depends on the count of steps alone, so that under vmap it stays one branch for all lanes.
        ended = offset >= self.examples
        return batch, jax.lax.cond(ended, turn, lambda state: state._replace(offset=offset), state)

    def _order(self, epoch):
        return jax.random.permutation(jax.random.fold_in(self.key, epoch), self.examples)


class StreamState(NamedTuple):
    """Where the stream stands."""

    epoch: jax.Array  # which epoch the front of the stream is in: int32 scalar
    offset: jax.Array  # examples of that epoch already used: int32 scalar
    order: jax.Array  # this epoch's order of the examples, shape (examples,)
    order_after: jax.Array  # the next epoch's order


def minibatches(data: Tree, size: int, *, key: jax.Array) -> Minibatches[Tree]:
    """Batches of a fixed size in which each example comes exactly once an epoch, reshuffled each epoch (S44).

    The stream is the epochs one after another, cut into batches: where the size does not divide the number of
    examples, a batch takes its last examples from the next epoch.  Pure in its key: the same key gives the same
    batches, and a key per lane of a vmap gives each lane its own order.

    Args:
        data: pytree of arrays with a common leading axis of examples.
        size: examples per batch, 1 <= size <= examples.
        key: a PRNG key.

    Raises:
        ValueError: for no data, unequal leading axes or a size out of range.

    >>> stream = minibatches(jnp.arange(4), 2, key=jax.random.key(0))
    >>> first, state = stream.next(stream.init())
    >>> second, state = stream.next(state)
    >>> sorted([*first.tolist(), *second.tolist()]), int(state.epoch)
    ([0, 1, 2, 3], 1)
    """
    data = jax.tree.map(lambda leaf: any_array("data", leaf), data)
    lengths = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(data)}
    if len(lengths) != 1 or lengths == {0}:
        got = sorted(lengths)
        msg = f"data must hold arrays with one common, non-empty leading axis of examples; got lengths {got}"
        raise ValueError(msg)
    examples = lengths.pop()
    return Minibatches(data, prng_key("key", key), whole("size", size, 1, examples))


def fitting(batches: Any, steps: int, *, lanes: bool = False) -> Any:
    """The batches of a run of `steps` steps: None, a stream, or a pytree of arrays with one batch per step.

    Args:
        batches: what the run was given.
        steps: how many steps it has.
        lanes: whether an axis of lanes comes before that of the steps.

    Raises:
        ValueError: for a list, an iterator or a loader, whatever else is no pytree of arrays, and for arrays that hold
            more or fewer batches than there are steps.
    """
    if batches is None or isinstance(batches, Minibatches):
        return batches
    leaves = [] if isinstance(batches, list | Iterator) else jax.tree.leaves(batches)
    sound = leaves and all(hasattr(leaf, "__array__") for leaf in leaves)
    lengths = {jnp.shape(leaf)[lanes] if jnp.ndim(leaf) > lanes else 1 for leaf in leaves} if sound else set()
    if lengths != {steps} or any(jnp.ndim(leaf) <= lanes for leaf in leaves):
        msg = "batches must be gdlab.minibatches(data, size, key=key) of whole data, or arrays with one batch a step, "
        msg += f"here {steps}, along their {'second' if lanes else 'leading'} axis; got "
        msg += f"arrays with {' and '.join(map(str, sorted(lengths)))}" if sound else shown(batches)
        if isinstance(batches, Iterable) and not sound and not isinstance(batches, str | dict):
            first = f"*itertools.islice(itertools.cycle(batches), {steps})"
            msg += f", whose batches jax.tree.map(lambda *leaves: np.stack(leaves), {first}) would stack, and which "
            msg += "gdlab.long_run takes as they are"
        raise ValueError(msg)
    return jax.tree.map(lambda leaf: any_array("batches", leaf), batches)
