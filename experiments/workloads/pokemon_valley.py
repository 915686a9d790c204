"""The valley of the Pokemon regression: its gradient, the paths of optimizers in it, and what is read off a path.

The gradient is that of the normal equations, H theta - c, from which the lectures' digits were made.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
from gdlab import directions, scales
from gdlab.problems import POKEMON_OPTIMUM, POKEMON_START, pokemon

UPDATES = 100_000
START = jnp.array(POKEMON_START)
OPTIMUM = np.array(POKEMON_OPTIMUM)
BURST = 1.0  # how far w leaves the valley in an explosion


def rms(rate: Any) -> gdlab.Optimizer:
    """The root mean square of all gradients as sigma, with a rate that need not fall."""
    return gdlab.descent(directions.Gradient(), scales.RootMeanSquare(), rate)


def normal_equations() -> tuple[jax.Array, jax.Array]:
    """H and c of the gradient H theta - c."""
    x, y = pokemon()
    features = jnp.stack([jnp.ones_like(x), x])
    return 2 * features @ features.T, 2 * features @ y


def normal_gradient(theta: jax.Array) -> jax.Array:
    """H theta - c, entry by entry from left to right, as the printed digits were made."""
    (first, second), c = normal_equations()
    rows = (first[0] * theta[0] + first[1] * theta[1] - c[0], second[0] * theta[0] + second[1] * theta[1] - c[1])
    return jnp.stack(rows)


def walk(
    optimizer: gdlab.Optimizer,
    start: jax.Array,
    gradient: Callable[[jax.Array], jax.Array] = normal_gradient,
    updates: int = UPDATES,
    kicks: jax.Array | None = None,
) -> jax.Array:
    """The path of an optimizer from a start, shape (updates + 1, 2); `kicks`, shape (updates, 2), are added to it."""

    def step(carry, kick):
        theta, state = carry
        update, state = optimizer.update(gradient(theta), state, theta)
        return (theta + update + (0 if kick is None else kick), state), theta

    (theta, _), path = jax.lax.scan(step, (start, optimizer.init(start)), kicks, updates)
    return jnp.concatenate([path, theta[None]])


def descend(
    optimizer: gdlab.Optimizer, gradient: Callable[[jax.Array], jax.Array] = normal_gradient, updates: int = UPDATES
) -> np.ndarray:
    """The path from the lectures' start, shape (updates + 1, 2)."""
    return np.asarray(jax.jit(lambda start: walk(optimizer, start, gradient, updates))(START))


def roundings(optimizer: gdlab.Optimizer, many: int = 32) -> np.ndarray:
    """The same path from starts that differ by roundings, shape (many, updates + 1, 2).

    Where a run is chaos, as one that explodes, they are draws of what another processor would make of it.
    """
    starts = START * (1 + np.finfo(float).eps * jnp.arange(many)[:, None])
    return np.asarray(jax.jit(jax.vmap(lambda start: walk(optimizer, start)))(starts))


def kicked(optimizer: gdlab.Optimizer, kicks: np.ndarray) -> np.ndarray:
    """The path from the lectures' start where theta is kicked as well, by far more than rounding."""
    run = jax.jit(lambda kicks: walk(optimizer, START, updates=len(kicks), kicks=kicks))
    return np.asarray(run(jnp.asarray(kicks)))


def multiplied(a: float, b: float, c: float) -> float:
    """a b + c, each rounded."""
    return a * b + c


def fused(a: float, b: float, c: float) -> float:
    """a b + c, rounded once, as processors with that instruction do it; a is a whole number below 2^26.

    Veltkamp's halves of b make the products exact, and Knuth's sum says what it rounds away.

    >>> fused(3.0, 1 / 3, -1.0), multiplied(3.0, 1 / 3, -1.0)
    (-5.551115123125783e-17, 0.0)
    """
    product, split = a * b, (2.0**27 + 1) * b
    high = split - (split - b)
    total = product + c
    rest = total - product
    lost = (product - (total - rest)) + (c - rest)
    return total + (lost + ((a * high - product) + a * (b - high)))


def in_plain_python(
    move: Callable[[float, int, list[float]], float],
    kicks: np.ndarray | None = None,
    add: Callable[[float, float, float], float] = multiplied,
) -> np.ndarray:
    """The path of a rule by a loop over Python's floats, which round alike on every processor.

    Args:
        move: of a gradient, the number of the update and a list of two sums of its own; what is taken off a parameter.
        kicks: what is added to the parameters, shape (updates, 2).
        add: a b + c for the gradient.
    """
    x, y = (np.asarray(values).tolist() for values in pokemon())
    h, between, k = 2.0 * len(x), 2 * sum(x), 2 * sum(a * a for a in x)
    first, second = 2 * sum(y), 2 * sum(a * b for a, b in zip(x, y, strict=True))
    (b, w), of_b, of_w = np.asarray(START).tolist(), [0.0, 0.0], [0.0, 0.0]
    path = [(b, w)]
    for t, (left, right) in enumerate((np.zeros((UPDATES, 2)) if kicks is None else kicks).tolist()):
        g, slope = add(h, b, between * w) - first, add(between, b, k * w) - second
        b, w = b - move(g, t, of_b) + left, w - move(slope, t, of_w) + right
        path.append((b, w))
    return np.array(path)


def mean_square(rate: Callable[[int], float]) -> Callable[[float, int, list[float]], float]:
    """The rule of `rms` for `in_plain_python`."""

    def move(g: float, t: int, sums: list[float]) -> float:
        sums[0] += g * g
        return rate(t) / math.sqrt(sums[0] / (t + 1)) * g

    return move


def distance(theta: Any) -> float:
    """How far theta is from the optimum."""
    return float(np.linalg.norm(np.asarray(theta) - OPTIMUM))


def off_valley(path: np.ndarray) -> np.ndarray:
    """abs(w - the best w for this b) along a path: the height above the valley's floor."""
    x, y = (np.asarray(values) for values in pokemon())
    return np.abs(path[:, 1] - (x @ y - path[:, 0] * x.sum()) / (x @ x))


def bursts(path: np.ndarray) -> np.ndarray:
    """The updates that throw w out of the valley again, after it first arrived there and stayed for 50 updates."""
    out = off_valley(path) > BURST
    seen, before = np.append(0, np.cumsum(out)), np.arange(len(out) - 1)
    quiet = seen[before + 1] == seen[np.maximum(before - 50, 0)]
    return np.flatnonzero(out[1:] & quiet)
