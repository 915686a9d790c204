"""A string between two minima: images that slide down, kept at equal distances (E, Ren & Vanden-Eijnden 2007).

    theta_i  <-  theta_i - eta grad L(theta_i),        then theta_0 .. theta_m evenly along the line through them

It comes to rest on a way over the lowest saddles.  Near each image that is higher than both beside it lies one, to
which a search climbs along the string.

| function | what it returns |
|---|---|
| `strung` | the images between two minima |
| `tops` | the images to climb from, each with the direction of the string |
| `unjoined` | pairs of minima that no chain of saddles joins |
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from hessian.numerics import divisor, length
from hessian.steps.second_order import Flat
from hessian.symmetry.alignment import aligned
from hessian.symmetry.declared import Symmetries

IMAGES = 17
SLIDES = 300
TOPS = 3  # of one string, the highest
NEAREST = 32  # minima whose losses are nearest, of which the nearest is chosen

Pair = tuple[int, int]


@partial(jax.jit, static_argnums=0)
def strung(
    loss: Any, like: Any, args: tuple, one: jax.Array, other: jax.Array, rate: jax.Array, longest: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The images, shape (k, n), and their losses, shape (k,).

    Args:
        loss: of params like `like` and `args`.
        like: params.
        args: further arguments of the loss.
        one: a minimum, shape (n,).
        other: another one.
        rate: eta.
        longest: how far an image slides at most.
    """
    flat = Flat(loss, ravel_pytree(like)[1], args)
    share = jnp.linspace(0, 1, IMAGES, dtype=one.dtype)

    def slide(_, line):
        slopes = jax.vmap(jax.grad(flat))(line)
        sizes = jax.vmap(length)(slopes)[:, None]
        moves = -slopes * jnp.minimum(rate, longest / divisor(sizes))
        inner = jnp.isfinite(moves).all(axis=1, keepdims=True) & ((share > 0) & (share < 1))[:, None]
        return _evenly(line + jnp.where(inner, moves, 0), share)

    line = jax.lax.fori_loop(0, SLIDES, slide, one + share[:, None] * (other - one))
    return line, jax.vmap(flat)(line)


def _evenly(line, share):
    """The same line, with its points at equal distances."""
    lengths = jax.vmap(length)(jnp.diff(line, axis=0))
    along = jnp.concatenate([jnp.zeros(1, line.dtype), jnp.cumsum(lengths)])
    between = jax.vmap(lambda column: jnp.interp(share * along[-1], along, column), in_axes=1, out_axes=1)
    return between(line).at[0].set(line[0]).at[-1].set(line[-1])


def tops(line: np.ndarray, losses: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The highest images that are higher than both beside them, with the unit direction of the string there.

    >>> [(place.tolist(), way.tolist()) for place, way in tops(np.array([[0.0], [1.0], [2.0]]), np.array([0, 5.0, 1]))]
    [([1.0], [1.0])]
    """
    inner = range(1, len(line) - 1)
    peaks = [i for i in inner if losses[i] >= losses[i - 1] and losses[i] > losses[i + 1]]
    chosen = sorted(peaks, key=lambda i: -losses[i])[:TOPS]
    ways = [line[i + 1] - line[i - 1] for i in chosen]
    return [(line[i], way / np.linalg.norm(way)) for i, way in zip(chosen, ways, strict=True)]


def unjoined(losses: Sequence[float], joins: Iterable[Sequence[int]], tried: set[Pair]) -> list[tuple[int, list[int]]]:
    """Of each part of the graph but the largest its lowest minimum, and minima of the largest, not tried with it.

    These are those of the nearest losses, the nearest first.

    >>> unjoined([0.0, 1.0, 2.0], [(0, 1), (1, 1)], {(2, 0)})
    [(2, [1])]
    """
    of = list(range(len(losses)))
    for i, j in joins:
        if i >= 0 and j >= 0 and of[i] != of[j]:
            old, new = of[j], of[i]
            of = [new if part == old else part for part in of]
    parts = {part: [i for i, other in enumerate(of) if other == part] for part in dict.fromkeys(of)}
    largest = max(parts.values(), key=len, default=[])
    found = []
    for part in parts.values():
        if part is not largest:
            low = min(part, key=lambda i: losses[i])
            rest = sorted((i for i in largest if (low, i) not in tried), key=lambda i: abs(losses[i] - losses[low]))
            found += [(low, rest[:NEAREST])] if rest else []
    return found


def nearest(symmetries: Symmetries | None, like: Any, rows: np.ndarray, goal: np.ndarray) -> tuple[int, np.ndarray]:
    """Which of the points lies nearest to `goal`, each moved there by the symmetries; and it, moved."""
    moved = rows if symmetries is None else aligned(symmetries, like, rows, goal)
    place = int(np.argmin(np.linalg.norm(moved - goal, axis=1)))
    return place, moved[place]
