"""How far rounding moves a gradient, measured: what no formula in |H| and |theta| knows is the size of what was summed.

    r_i  =  max over shifts d, |d| ~ eps^(2/3) reach,    |u_i.(g(theta + d) - g(theta)) - lambda_i u_i.d|

Over so short a way g changes by H d and by rounding alone: the next term, |d|^2, is far below eps.  Yet it is so long
that rounding changes, too, where terms a thousand times as large cancel.  Newton's step along u_i is known to about
r_i / |lambda_i|.

| function | what it returns |
|---|---|
| `gradient_noise` | r, one number for each mode |
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from hessian.modes import Modes

SHIFTS = 4


def gradient_noise(
    slope: Callable[[jax.Array], jax.Array],
    theta: jax.Array,
    gradient: jax.Array,
    found: Modes,
    reach: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """The rounding of the gradient along each mode, shape (k,), where `reach` is the length of what is not small.

    It takes `SHIFTS` gradients.
    """
    length = jnp.finfo(theta.dtype).eps ** (2 / 3) * reach
    points = theta + length * jax.random.normal(key, (SHIFTS, theta.size), theta.dtype)
    changes = jax.vmap(slope)(points) - gradient
    with jax.default_matmul_precision("highest"):
        rounding = changes @ found.vectors.T - found.values * ((points - theta) @ found.vectors.T)
    return jnp.max(jnp.abs(rounding), axis=0)
