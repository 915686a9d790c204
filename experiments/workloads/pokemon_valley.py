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


def descend(
    optimizer: gdlab.Optimizer, gradient: Callable[[jax.Array], jax.Array] = normal_gradient, updates: int = UPDATES
) -> np.ndarray:
    """The path of an optimizer, shape (updates + 1, 2)."""

    def step(carry, _):
        theta, state = carry
        update, state = optimizer.update(gradient(theta), state, theta)
        return (theta + update, state), theta

    (theta, _), path = jax.jit(lambda: jax.lax.scan(step, (START, optimizer.init(START)), None, updates))()
    return np.concatenate([path, theta[None]])


def distance(theta: Any) -> float:
    """How far theta is from the optimum."""
    return float(np.linalg.norm(np.asarray(theta) - OPTIMUM))


def off_valley(path: np.ndarray) -> np.ndarray:
    """abs(w - the best w for this b) along a path: the height above the valley's floor."""
    x, y = (np.asarray(values) for values in pokemon())
    return np.abs(path[:, 1] - (x @ y - path[:, 0] * x.sum()) / (x @ x))


def bursts(path: np.ndarray) -> np.ndarray:
    """The updates that throw w out of the valley again, after it first arrived there."""
    out = off_valley(path) > BURST
    out[: np.argmin(out)] = False
    return np.flatnonzero(
        out[1:] & ~out[:-1] & ~np.array([out[max(i - 50, 0) : i + 1].any() for i in range(len(out) - 1)])
    )
