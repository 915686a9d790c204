"""Handwritten digits, and a small network that reads them: real data for the lectures on batches and curvature.

    h_0 = image,    h_i = activation(h_{i-1} W_i + b_i),    logits = h_{d-1} W_d + b_d
    loss = mean over the batch of  log sum_c exp(logits_c) - logits_label

| name | what it is |
|---|---|
| `digits()` | 1797 images of 8 x 8 pixels, and their labels (S45-S51, S99) |
| `network(key, sizes)` | random parameters of a fully connected network |
| `network_logits`, `network_loss`, `network_accuracy` | what it says, how wrong it is, how often it is right |

The data are the test set of the Optical Recognition of Handwritten Digits (E. Alpaydin and C. Kaynak 1998, UCI
Machine Learning Repository, https://doi.org/10.24432/C50P49), licensed CC BY 4.0, in the form distributed by
scikit-learn (BSD 3-Clause).  Changed here: the pixels, integers from 0 to 16, are stored in one byte each and divided
by 16 on loading.
"""

import functools
import itertools
from collections.abc import Callable, Sequence
from importlib import resources
from numbers import Integral

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gdlab.ground.checks import prng_key
from gdlab.ground.leaves import shown

Layers = list[dict[str, jax.Array]]
Activation = Callable[[jax.Array], jax.Array]


@functools.cache
def _stored():
    with (resources.files(__package__) / "digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as data:
        return data["images"], data["labels"]


def digits() -> tuple[jax.Array, jax.Array]:
    """The images, floats in [0, 1] of shape (1797, 64), row by row, and the labels 0-9, int32 of shape (1797,).

    >>> images, labels = digits()
    >>> images.shape, labels[:5].tolist(), (16 * images[0, :8]).tolist()  # the upper edge of a zero
    ((1797, 64), [0, 1, 2, 3, 4], [0.0, 0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0])
    """
    images, labels = _stored()
    return jnp.asarray(images, dtype=float) / 16, jnp.asarray(labels, dtype=jnp.int32)


def network(key: jax.Array, sizes: Sequence[int]) -> Layers:
    """Parameters of a fully connected network: one `{"w": (inputs, outputs), "b": (outputs,)}` for each layer.

    Weights are drawn with variance 1 / inputs (LeCun normal), biases are zero.

    Args:
        key: from `jax.random.key`.
        sizes: units of the input, of each hidden layer, of the output, such as (64, 32, 10).

    Raises:
        ValueError: for fewer than two sizes, or a size below 1.

    >>> layers = network(jax.random.key(0), (64, 32, 10))
    >>> [layer["w"].shape for layer in layers]
    [(64, 32), (32, 10)]
    """
    listed = isinstance(sizes, Sequence) and all(isinstance(n, Integral) and not isinstance(n, bool) for n in sizes)
    if not listed or len(sizes) < 2 or min(sizes) < 1:
        msg = f"sizes must be at least two positive integers, such as (64, 32, 10); got {shown(sizes)}"
        raise ValueError(msg)
    prng_key("key", key)
    draw = jax.nn.initializers.lecun_normal()
    shapes = list(itertools.pairwise(sizes))
    keys = jax.random.split(key, len(shapes))
    return [
        {"w": draw(k, shape, float), "b": jnp.zeros(shape[1], dtype=float)}
        for k, shape in zip(keys, shapes, strict=True)
    ]


def network_logits(params: Layers, images: jax.Array, activation: Activation = jnp.tanh) -> jax.Array:
    """The unnormalized log-probabilities of each class, shape (..., classes), for images of shape (..., pixels).

    >>> layer = {"w": jnp.array([[1.0, 2.0]]), "b": jnp.array([0.0, 3.0])}
    >>> network_logits([layer], jnp.array([2.0])).tolist()  # one layer has no activation
    [2.0, 7.0]
    """
    *hidden, last = params
    for layer in hidden:
        images = activation(images @ layer["w"] + layer["b"])
    return images @ last["w"] + last["b"]


def network_loss(params: Layers, batch: tuple[jax.Array, jax.Array], *, activation: Activation = jnp.tanh) -> jax.Array:
    """The mean cross-entropy between softmax(logits) and the labels (S48, S60, S63).

    Args:
        params: from `network`.
        batch: (images, labels), of shapes (examples, pixels) and (examples,), labels being integers.
        activation: of the hidden layers; keep it smooth where curvature matters.

    >>> layer = {"w": jnp.zeros((1, 10)), "b": jnp.zeros(10)}
    >>> round(float(network_loss([layer], (jnp.ones((1, 1)), jnp.array([3])))), 4)  # log 10
    2.3026
    """
    images, labels = batch
    logits = network_logits(params, images, activation)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def network_accuracy(
    params: Layers, batch: tuple[jax.Array, jax.Array], *, activation: Activation = jnp.tanh
) -> jax.Array:
    """The share of the batch whose largest logit is at the label, between 0 and 1 (S48, S86).

    >>> layer = {"w": jnp.array([[1.0, -1.0]]), "b": jnp.zeros(2)}
    >>> float(network_accuracy([layer], (jnp.array([[1.0], [-1.0]]), jnp.array([0, 0]))))
    0.5
    """
    images, labels = batch
    return jnp.mean(jnp.argmax(network_logits(params, images, activation), axis=-1) == labels, dtype=float)
