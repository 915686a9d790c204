"""Whether points lie on one orbit: each is moved along the symmetries as near to another point as they allow.

    x  <-  x moved along sum_i t_i xi_i,        t = argmin |y - x - sum_i t_i xi_i(x)|

as long as |y - x| falls, from x itself and from other points of its orbit; a discrete symmetry takes the nearest copy.
Where it ends beside y both points lie on one orbit; where it does not they need not lie on two.

| function | what it returns |
|---|---|
| `aligned` | many points, each moved as near to one point as the symmetries allow |
| `same_orbit` | which of many points end beside it |
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from hessian.compiled import compiled
from hessian.numerics import divided, divisor
from hessian.precision import Params
from hessian.spectra.eigh import eigh
from hessian.symmetry.congruence import group_of_points
from hessian.symmetry.declared import Symmetries

TRIES = 4  # points of the orbit from which it begins
STEPS = 60  # of each
TURN = 0.25  # the longest step, in units of |x|
RUNGS = 16  # of the Runge-Kutta integration of a step, whose error leads off the orbit
ROUNDS = 3  # of discrete and continuous symmetries in turn


def aligned(symmetries: Symmetries, like: Params, rows: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """The points, shape (k, n), moved as near to `goal`, shape (n,), as the symmetries allow; raveled like `like`."""
    unravel = ravel_pytree(like)[1]
    for _ in range(ROUNDS if symmetries.discrete and symmetries.continuous else 1):
        for one in symmetries.discrete:
            there = unravel(jnp.asarray(goal))
            copies = [one.nearest(unravel(jnp.asarray(row)), there) for row in rows]
            rows = np.stack([np.asarray(ravel_pytree(copy)[0]) for copy in copies])
        if symmetries.continuous:
            count = 2 ** int(np.ceil(np.log2(len(rows))))  # few sizes, so that few programs are compiled
            padded = jnp.asarray(np.resize(rows, (count, rows.shape[1])))
            rows = np.asarray(_moved(symmetries, like, padded, jnp.asarray(goal)))[: len(rows)]
    return rows


@compiled(static_argnums=0)
def _moved(symmetries, like, rows, goal):
    unravel = ravel_pytree(like)[1]

    def fields(x):
        return symmetries.fields(unravel(x))

    def along(x, t):
        """The end of the flow of sum t_i xi_i from x after unit time."""

        def rung(_, x):
            h = 1 / RUNGS
            a = t @ fields(x)
            b = t @ fields(x + h / 2 * a)
            c = t @ fields(x + h / 2 * b)
            d = t @ fields(x + h * c)
            return x + h / 6 * (a + 2 * b + 2 * c + d)

        return jax.lax.fori_loop(0, RUNGS, rung, x)

    def step(_, state):
        x, share = state
        here = fields(x)
        values, vectors = eigh(here @ here.T)
        kept = values > 1e-10 * values[-1]
        t = vectors @ divided(vectors.T @ (here @ (goal - x)), values, kept)
        size = jnp.linalg.norm(t @ here)
        longest = TURN * jnp.linalg.norm(x)
        t = share * t * jnp.minimum(1, longest / divisor(size))
        there = along(x, t)
        nearer = jnp.linalg.norm(goal - there) < jnp.linalg.norm(goal - x)
        return jnp.where(nearer, there, x), jnp.where(nearer, jnp.minimum(1, 2 * share), share / 4)

    def best(x, key):
        sizes = jnp.linalg.norm(fields(x), axis=1)
        scale = jnp.linalg.norm(x) / divisor(sizes)
        kicks = jax.random.normal(key, (TRIES, len(sizes)), x.dtype).at[0].set(0) * scale
        starts = jax.lax.map(partial(along, x), kicks)
        one = jnp.ones((), x.dtype)
        ends = jax.lax.map(lambda begin: jax.lax.fori_loop(0, STEPS, step, (begin, one))[0], starts)
        return ends[jnp.nanargmin(jnp.linalg.norm(ends - goal, axis=1))]

    keys = jax.random.split(jax.random.key(0), len(rows))
    return jax.lax.map(lambda each: best(*each), (rows, keys))


def same_orbit(symmetries: Symmetries, like: Params, rows: np.ndarray, goal: np.ndarray, within: Any) -> np.ndarray:
    """Which of the points lie on the orbit of `goal`: beside it once aligned, `within` each coordinate, shape (n,)."""
    if not len(rows):
        return np.zeros(0, bool)
    points = group_of_points(symmetries)
    if points is not None:
        # Places that change together with a rotation are found by congruence, not step by step.
        near = float(np.min(within))
        return np.array([points.distance(row, goal, near) <= near for row in rows])
    return np.linalg.norm((aligned(symmetries, like, rows, goal) - goal) / within, axis=1) <= 1
