"""The curvature of each block of a network: what one rate for all parameters has to suit.

    largest eigenvalue in size of the Hessian's diagonal block of each leaf, by power iteration, all leaves at once

Blocks of a transformer differ by orders of magnitude, those of convolutions by little (Zhang et al. 2024, "Why
Transformers need Adam"): a step that suits the steepest block hardly moves the flattest, unless sigma is of each.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import hessian
from gdlab.sweeps.axes import path_name

from .tasks import Task

STEPS = 40  # of the power iteration


def curvatures(task: Task, key: jax.Array) -> dict[str, float]:
    """By the name of the block, the largest eigenvalue in size at the start, of the loss on one batch."""
    drawn = task.draw(key)
    names = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(drawn.params)]
    found = jax.jit(lambda params: _largest(lambda p: drawn.loss(p, key=key), params, key))(drawn.params)
    return {name: float(value) for name, value in zip(names, np.asarray(found), strict=True)}


def _largest(loss: Any, params: Any, key: jax.Array) -> jax.Array:
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    begin = [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    chosen, product = jnp.eye(len(leaves)), hessian.hvp(loss, params)

    def products(vectors):
        """H_bb v_b for every block b: one product with a vector that is 0 elsewhere, for each."""

        def one(row):
            alone = [share.astype(v.dtype) * v for share, v in zip(row, vectors, strict=True)]
            made = jax.tree.leaves(product(jax.tree.unflatten(structure, alone)))
            return [share.astype(v.dtype) * v for share, v in zip(row, made, strict=True)]

        return [jnp.sum(rows, axis=0) for rows in jax.lax.map(one, chosen)]

    def step(_, vectors):
        return [v / jnp.maximum(jnp.linalg.norm(v), 1e-30) for v in products(vectors)]

    unit = jax.lax.fori_loop(0, STEPS, step, begin)
    return jnp.stack([jnp.sum(v * made).astype(float) for v, made in zip(unit, products(unit), strict=True)])
