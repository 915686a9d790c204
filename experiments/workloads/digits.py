"""What the experiments on handwritten digits share: images in a random order, to learn from and to be tested on.

Networks are trained in single precision: their outcomes are spread over seeds by far more than its rounding.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gdlab import minibatches
from gdlab.problems import digits, network
from gdlab.problems.digits import Layers

Examples = tuple[jax.Array, jax.Array]  # images (n, 64) and labels (n,)
FLOAT = jnp.float32


def examples(key: jax.Array, count: int, *, wrong: float = 0.0) -> tuple[Examples, Examples]:
    """Examples to learn from, drawn at random, and all others to test on.

    Args:
        key: of the order, and of the wrong labels.
        count: how many to learn from, of 1797.
        wrong: the share of labels to learn from that are drawn anew, in [0, 1]; those of the test stay right.

    >>> (images, labels), (unseen, _) = examples(jax.random.key(0), 1400)
    >>> images.shape, labels.shape, unseen.shape
    ((1400, 64), (1400,), (397, 64))
    """
    images, labels = digits()
    order = jax.random.permutation(key, len(labels))
    images, labels = images.astype(FLOAT)[order], labels[order]
    which, what = jax.random.split(jax.random.fold_in(key, 1))
    drawn = jax.random.randint(what, (count,), 0, 10, labels.dtype)
    learnt = jnp.where(jax.random.uniform(which, (count,)) < wrong, drawn, labels[:count])
    return (images[:count], learnt), (images[count:], labels[count:])


def start(key: jax.Array, sizes: Sequence[int]) -> Layers:
    """Random parameters of a network, in single precision."""
    return jax.tree.map(lambda leaf: leaf.astype(FLOAT), network(key, sizes))


def starts(keys: jax.Array, sizes: Sequence[int]) -> Layers:
    """A network for each key, stacked: an axis of starts for `gdlab.sweep`."""
    return jax.jit(jax.vmap(lambda key: start(key, sizes)))(keys)


def batches(data: Any, size: int, count: int, key: jax.Array) -> Any:
    """`count` batches, stacked, for runs that share one order of the data."""
    stream = minibatches(data, size, key=key)
    return jax.lax.scan(lambda state, _: stream.next(state)[::-1], stream.init(), length=count)[1]
