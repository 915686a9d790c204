"""How far rounding moves a gradient, measured: what no formula in |H| and |theta| knows is the size of what was summed.

    r_i  =  max over shifts d of a few units in the last place   |u_i.(g(theta + d) - g(theta)) - lambda_i u_i.d|

Over so short a way g changes by H d and by rounding alone, whatever cancels inside the loss.  Newton's step along u_i
is known to about r_i / |lambda_i|.

| function | what it returns |
|---|---|
| `gradient_noise` | r, one number for each eigenvector |
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

SHIFTS = 4  # points, each a few units in the last place of every parameter away
FURTHEST = 3  # in those units


def gradient_noise(
    slope: Callable[[jax.Array], jax.Array],
    theta: jax.Array,
    gradient: jax.Array,
    values: jax.Array,
    vectors: jax.Array,
    key: jax.Array,
) -> jax.Array:
    """The rounding of the gradient along each row of `vectors`, eigenvectors of H for `values`; one gradient a shift.

    >>> values, vectors = jnp.array([1.0, 2.0]), jnp.eye(2)
    >>> gradient_noise(lambda x: values * x, jnp.ones(2), values, values, vectors, jax.random.key(0)).tolist()
    [0.0, 0.0]
    """
    ulps = jax.random.randint(key, (SHIFTS, theta.size), -FURTHEST, FURTHEST + 1)
    points = theta + ulps * jnp.finfo(theta.dtype).eps * theta
    changes = jax.vmap(slope)(points) - gradient
    with jax.default_matmul_precision("highest"):
        rounding = changes @ vectors.T - values * ((points - theta) @ vectors.T)
    return jnp.max(jnp.abs(rounding), axis=0)
