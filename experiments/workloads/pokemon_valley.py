"""The valley of the Pokemon regression: its gradient, the paths of optimizers in it, and what is read off a path.

The gradient is that of the normal equations, H theta - c, from which the lectures' digits were made.
"""

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
) -> jax.Array:
    """The path of an optimizer from a start, shape (updates + 1, 2)."""

    def step(carry, _):
        theta, state = carry
        update, state = optimizer.update(gradient(theta), state, theta)
        return (theta + update, state), theta

    (theta, _), path = jax.lax.scan(step, (start, optimizer.init(start)), None, updates)
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
