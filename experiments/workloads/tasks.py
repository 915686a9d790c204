"""The tasks of a contest: small, shaped like the real thing, their data from packages or made here.

| task | what it is | scored by |
|---|---|---|
| `quadratic` | 30 curvatures from .001 to 1 in random directions | the loss |
| `noisy_quadratic` | the same, gradients with noise of deviation .1 | the loss without noise |
| `valley` | Rosenbrock's, from beside (-1.2, 1) | the loss, and the kind of point where a run stops |
| `saddle` | (1 - w1 w2)^2 from .001 beside its strict saddle | the same |
| `logistic` | odd or even, of raw pixels of digits | loss on unseen digits |
| `softmax` | which digit, of raw pixels | the same |
| `network` | 64-32-32-10, tanh | the same |
| `convolutions` | 3 x 3 x 8, 3 x 3 x 16 in strides of 2, then linear | the same |
| `autoencoder` | 64-32-8-32-64, tanh, on digits | squared error on unseen digits |
| `transformer` | 2 layers, 2 heads, width 32, on characters of a grammar | loss on an unseen text |
| `memory` | tanh units that must recall the first of 30 symbols | loss on fresh sequences |
| `linear_chain` | five 10 x 10 matrices whose product is a rotation | the loss |
| `factors` | a 30 x 30 matrix of rank 3, half of it seen | squared error on the other half |
| `physics` | a network that solves -u'' = f on [0, 1] | squared error of u |

A network is single precision: its outcomes spread over seeds by far more than its rounding.  Random are the start, the
batches of each step, drawn with replacement, and the split of the digits; the grammar and its texts are fixed.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gdlab.problems import digits, network, network_logits, network_loss, rosenbrock, surface

FLOAT = jnp.float32
CURVATURES = np.logspace(-3, 0, 30)
BATCH = 32
SYMBOLS = "()[]{}abcde ."  # of the grammar
CONTEXT, WIDTH, HEADS = 24, 32, 2  # of the transformer
LENGTH, UNITS, CUES = 30, 32, 4  # of the memory: steps, units, and first symbols to tell apart
RANK, SIDE = 3, 30  # of the factors

Scores = tuple[jax.Array, jax.Array]


class Drawn(NamedTuple):
    """A task with all that its seed decides."""

    params: Any  # the start
    loss: Callable[..., jax.Array]  # loss(params, key=): one draw of the batch for each key
    scores: Callable[[Any], Scores]  # of params: to tune by, and to judge by


class Task(NamedTuple):
    """What optimizers are compared on."""

    draw: Callable[[jax.Array], Drawn]
    steps: int
    lr: str = "1e-4:3:8"  # the range of rates
    surface: Any = None  # where it is one: what is known about it


def both(score: jax.Array) -> Scores:
    """The score of a task without data: what is tuned by is what is judged by."""
    return score, score


# ---------------------------------------------------------------------------------------------------------- surfaces


def quadratic(key: jax.Array, noise: float = 0.0) -> Drawn:
    """Half the sum of curvature times square, in random directions."""
    turn = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(30, 30)))[0])

    def exact(x):
        return jnp.sum(jnp.asarray(CURVATURES) * (turn @ x) ** 2) / 2

    def loss(x, key):
        return exact(x) + noise * (jax.random.normal(key, (30,), float) @ x)

    return Drawn(jax.random.normal(key, (30,), float), loss, lambda x: both(exact(x)))


def of_surface(loss: Callable[..., jax.Array], at: tuple[float, ...], deviation: float, key: jax.Array) -> Drawn:
    """A surface from a random point beside a given one."""
    start = jnp.array(at) + deviation * jax.random.normal(key, (len(at),), float)
    return Drawn(start, lambda x, key: loss(x), lambda x: both(loss(x)))


# ------------------------------------------------------------------------------------------------------------ digits


def of_digits(key: jax.Array, start: Any, loss: Callable[..., jax.Array]) -> Drawn:
    """A loss(params, (images, labels)) on batches of 1000 digits, tuned by 397 others and judged by the last 400."""
    images, labels = digits()
    order = jax.random.permutation(key, len(labels))
    images, labels = images.astype(FLOAT)[order], labels[order]

    def batch_loss(params, key):
        rows = jax.random.randint(key, (BATCH,), 0, 1000)
        return loss(params, (images[rows], labels[rows]))

    def scores(params):
        first, second = (loss(params, (images[part], labels[part])) for part in (slice(1000, 1397), slice(1397, None)))
        return first, second

    return Drawn(start, batch_loss, scores)


def layers(key: jax.Array, *sizes: int) -> Any:
    """A fully connected network in single precision."""
    return jax.tree.map(lambda leaf: leaf.astype(FLOAT), network(key, sizes))


def odd_or_even(params: Any, batch: Any) -> jax.Array:
    """Logistic regression."""
    images, labels = batch
    z = images @ params["w"] + params["b"]
    return jnp.mean(jax.nn.softplus(z) - z * (labels % 2).astype(FLOAT))


def logistic(key: jax.Array) -> Drawn:
    """From zero weights."""
    return of_digits(key, {"w": jnp.zeros(64, FLOAT), "b": jnp.zeros((), FLOAT)}, odd_or_even)


def classifier(key: jax.Array, *hidden: int) -> Drawn:
    """A network that tells digits apart."""
    return of_digits(key, layers(jax.random.fold_in(key, 1), 64, *hidden, 10), network_loss)


def patches(images: jax.Array, stride: int) -> jax.Array:
    """All windows of 3 x 3 pixels, shape (images, rows, columns, 3, 3, channels)."""
    places = np.arange(0, images.shape[1] - 2, stride)[:, None] + np.arange(3)
    return images[:, places][:, :, :, places].swapaxes(2, 3)


def convolved(params: Any, batch: Any) -> jax.Array:
    """The loss of a small convolutional network."""
    images, labels = batch
    seen = images.reshape(-1, 8, 8, 1)
    for layer, stride in ((params["first"], 1), (params["second"], 2)):
        seen = jax.nn.relu(jnp.einsum("nxyijc,ijcd->nxyd", patches(seen, stride), layer["w"]) + layer["b"])
    logits = seen.reshape(len(labels), -1) @ params["last"]["w"] + params["last"]["b"]
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def convolutions(key: jax.Array) -> Drawn:
    """Kernels as (height, width, in, out)."""
    keys = jax.random.split(jax.random.fold_in(key, 1), 3)

    def drawn(key, *shape):
        deviation = math.sqrt(2 / math.prod(shape[:-1]))
        return {"w": deviation * jax.random.normal(key, shape, FLOAT), "b": jnp.zeros(shape[-1], FLOAT)}

    shapes = {"first": (3, 3, 1, 8), "second": (3, 3, 8, 16), "last": (64, 10)}
    start = {name: drawn(k, *shape) for k, (name, shape) in zip(keys, shapes.items(), strict=True)}
    return of_digits(key, start, convolved)


def rebuilt(params: Any, batch: Any) -> jax.Array:
    """The squared error of an autoencoder."""
    images, _ = batch
    return jnp.mean((network_logits(params, images) - images) ** 2)


def autoencoder(key: jax.Array) -> Drawn:
    """Through eight units."""
    return of_digits(key, layers(jax.random.fold_in(key, 1), 64, 32, 8, 32, 64), rebuilt)


# --------------------------------------------------------------------------------------------------------- sequences


@functools.cache
def text(seed: int, length: int) -> np.ndarray:
    """Characters of a grammar, as numbers: sentences of words and of nested brackets, closed in their order.

    S -> word | word S | ( S ) | [ S ] | { S };  a word is one letter again and again, 1 to 4 times.

    >>> "".join(SYMBOLS[i] for i in text(0, 20))
    '{ b a}.{ ( [ ( eee)]'
    """
    rng = np.random.default_rng(seed)
    written: list[str] = []
    while sum(map(len, written)) < length:
        written.append(_sentence(rng, 4) + ".")
    return np.array([SYMBOLS.index(symbol) for symbol in "".join(written)[:length]])


def _sentence(rng, depth):
    kind = rng.integers(0, 5) if depth else 0
    word = str(rng.choice(list("abcde"))) * int(rng.integers(1, 5))
    if kind >= 2:
        opening, closing = ("()", "[]", "{}")[kind - 2]
        return f"{opening} {_sentence(rng, depth - 1)}{closing}"
    return word if kind == 0 else f"{word} {_sentence(rng, depth - 1)}"


def attend(params: Any, h: jax.Array) -> jax.Array:
    """Causal attention with HEADS heads, of normalized inputs."""
    q, k, v = (
        (unit(h) @ params[name]).reshape(*h.shape[:-1], HEADS, WIDTH // HEADS) for name in ("query", "key", "value")
    )
    scores = jnp.einsum("nihd,njhd->nhij", q, k) / math.sqrt(WIDTH / HEADS)
    earlier = np.tril(np.ones((h.shape[1], h.shape[1]), bool))
    weights = jax.nn.softmax(jnp.where(earlier, scores, -1e9), axis=-1)
    return jnp.einsum("nhij,njhd->nihd", weights, v).reshape(h.shape) @ params["out"]


def unit(h: jax.Array) -> jax.Array:
    """The vectors over their root mean square."""
    return h * jax.lax.rsqrt(jnp.mean(h**2, axis=-1, keepdims=True) + 1e-6)


def next_character(params: Any, windows: jax.Array) -> jax.Array:
    """The mean cross-entropy of each next character in windows of CONTEXT + 1."""
    h = params["embed"][windows[:, :-1]] + params["place"]
    for block in params["blocks"]:
        h = h + attend(block, h)
        h = h + jax.nn.gelu(unit(h) @ block["up"]) @ block["down"]
    logits = unit(h) @ params["read"]
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, windows[:, 1:]))


def transformer(key: jax.Array) -> Drawn:
    """Random weights of variance 1 / inputs; the two texts to score on are other draws of the grammar."""
    words, first, second = (jnp.asarray(text(seed, n), jnp.int32) for seed, n in ((1, 20_000), (2, 2500), (3, 2500)))
    keys = iter(jax.random.split(key, 20))

    def drawn(*shape):
        return jax.random.normal(next(keys), shape, FLOAT) / math.sqrt(shape[0])

    blocks = [
        {**{name: drawn(WIDTH, WIDTH) for name in ("query", "key", "value", "out")},
         "up": drawn(WIDTH, 4 * WIDTH), "down": drawn(4 * WIDTH, WIDTH)} for _ in range(2)
    ]  # fmt: skip
    start = {"embed": drawn(len(SYMBOLS), WIDTH), "place": 0.1 * drawn(CONTEXT, WIDTH), "blocks": blocks}
    start["read"] = drawn(WIDTH, len(SYMBOLS))

    def windows(source, starts):
        return source[starts[:, None] + np.arange(CONTEXT + 1)]

    def loss(params, key):
        return next_character(params, windows(words, jax.random.randint(key, (16,), 0, len(words) - CONTEXT - 1)))

    def scores(params):
        at = np.arange(0, 2400, CONTEXT)
        return next_character(params, windows(first, at)), next_character(params, windows(second, at))

    return Drawn(start, loss, scores)


def recalled(params: Any, batch: Any) -> jax.Array:
    """The cross-entropy of the first symbol, told from the units after the last."""
    inputs, cue = batch

    def step(h, x):
        return jnp.tanh(h @ params["again"] + x @ params["in"] + params["b"]), None

    h, _ = jax.lax.scan(step, jnp.zeros((len(cue), UNITS), FLOAT), inputs)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(h @ params["read"], cue))


def memory(key: jax.Array) -> Drawn:
    """Sequences of a cue and of noise; the recurrent matrix starts orthogonal."""
    first, second, third = jax.random.split(key, 3)
    start = {
        "again": jax.random.orthogonal(first, UNITS).astype(FLOAT),
        "in": jax.random.normal(second, (CUES, UNITS), FLOAT) / 2,
        "b": jnp.zeros(UNITS, FLOAT),
        "read": jax.random.normal(third, (UNITS, CUES), FLOAT) / math.sqrt(UNITS),
    }

    def batch(key, size):
        cue = jax.random.randint(key, (size,), 0, CUES)
        noise = 0.3 * jax.random.normal(jax.random.fold_in(key, 1), (LENGTH, size, CUES), FLOAT)
        return noise.at[0].set(jax.nn.one_hot(cue, CUES, dtype=FLOAT)), cue

    def scores(params):
        return recalled(params, batch(jax.random.key(1), 200)), recalled(params, batch(jax.random.key(2), 200))

    return Drawn(start, lambda params, key: recalled(params, batch(key, BATCH)), scores)


# ---------------------------------------------------------------------------------------------------------- matrices


def linear_chain(key: jax.Array) -> Drawn:
    """Five matrices from near the identity's half."""
    goal = jnp.asarray(np.linalg.qr(np.random.default_rng(1).normal(size=(10, 10)))[0], FLOAT)
    start = [0.6 * jax.random.orthogonal(k, 10).astype(FLOAT) for k in jax.random.split(key, 5)]

    def loss(params, key=None):
        return jnp.sum((functools.reduce(jnp.matmul, params) - goal) ** 2) / 2

    return Drawn(start, loss, lambda params: both(loss(params)))


def factors(key: jax.Array) -> Drawn:
    """From factors of deviation .1; a quarter of the entries tunes, a quarter judges."""
    rng = np.random.default_rng(2)
    whole = jnp.asarray(rng.normal(size=(SIDE, RANK)) @ rng.normal(size=(RANK, SIDE)) / math.sqrt(RANK), FLOAT)
    shares = rng.permutation(SIDE * SIDE).reshape(SIDE, SIDE) / (SIDE * SIDE)
    start = [0.1 * jax.random.normal(k, (SIDE, RANK), FLOAT) for k in jax.random.split(key)]

    def error(params, low, high):
        chosen = ((shares >= low) & (shares < high)).astype(np.float32)
        return jnp.sum(chosen * (params[0] @ params[1].T - whole) ** 2) / chosen.sum()

    return Drawn(
        start,
        lambda params, key: error(params, 0, 0.5),
        lambda params: (error(params, 0.5, 0.75), error(params, 0.75, 1)),
    )


def physics(key: jax.Array) -> Drawn:
    """-u'' = pi^2 sin(pi x) + 4 pi^2 sin(2 pi x), u(0) = u(1) = 0, at 32 random points a step."""

    def u(params, x):
        return network_logits(params, jnp.reshape(x, (1,)))[0]

    def residual(params, x):
        bent = jax.grad(jax.grad(lambda x: u(params, x)))(x)
        return bent + math.pi**2 * (jnp.sin(math.pi * x) + 4 * jnp.sin(2 * math.pi * x))

    def loss(params, key):
        x = jax.random.uniform(key, (BATCH,), FLOAT)
        ends = jnp.stack([u(params, jnp.asarray(end, FLOAT)) for end in (0.0, 1.0)])
        return jnp.mean(jax.vmap(lambda x: residual(params, x))(x) ** 2) / 100 + 10 * jnp.sum(ends**2)

    def score(params):
        x = jnp.linspace(0, 1, 101, dtype=FLOAT)
        exact = jnp.sin(math.pi * x) + jnp.sin(2 * math.pi * x)
        return jnp.mean((jax.vmap(lambda x: u(params, x))(x) - exact) ** 2)

    return Drawn(layers(key, 1, 16, 16, 1), loss, lambda params: both(score(params)))


TASKS: dict[str, Task] = {
    "quadratic": Task(quadratic, 500, "1e-3:30:8"),
    "noisy_quadratic": Task(functools.partial(quadratic, noise=0.1), 500),
    "valley": Task(functools.partial(of_surface, rosenbrock, (-1.2, 1.0), 0.1), 1000, surface=surface("rosenbrock_2d")),
    "saddle": Task(
        functools.partial(of_surface, surface("linear_net").loss, (0.0, 0.0), 1e-3), 200, surface=surface("linear_net")
    ),
    "logistic": Task(logistic, 300, "1e-3:30:8"),
    "softmax": Task(functools.partial(classifier), 300, "1e-3:30:8"),
    "network": Task(lambda key: classifier(key, 32, 32), 300),
    "convolutions": Task(convolutions, 200),
    "autoencoder": Task(autoencoder, 300, "1e-4:30:8"),
    "transformer": Task(transformer, 250),
    "memory": Task(memory, 250),
    "linear_chain": Task(linear_chain, 300),
    "factors": Task(factors, 300, "1e-3:30:8"),
    "physics": Task(physics, 400, "1e-5:1:8"),
}
