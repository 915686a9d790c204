"""A spin glass: spins in a plane, with couplings of both signs that not all of them can satisfy at once.

    V(theta)  =  - sum_{i<j} J_ij cos(theta_i - theta_j),       theta_0 = 0       (Kirkpatrick & Sherrington 1978)

A turn of all spins changes nothing, so the first one is held and n - 1 angles are free; each has the period 2 pi.
Every one of the 2^(n-1) points with angles 0 and pi is critical: there each term is stationary.

| name | what it is |
|---|---|
| `spin_glass` | the energy |
| `spin_glass_couplings` | random couplings of both signs |
"""

import jax
import jax.numpy as jnp

from gdlab.arguments import real_array
from gdlab.ground.checks import prng_key, whole


def spin_glass(theta: jax.Array, couplings: jax.Array) -> jax.Array:
    """The energy of n spins at the angles 0 and theta, shape (n - 1,); `couplings` is symmetric, shape (n, n).

    Two of three spins that repel each other point along one axis, the third against it:

    >>> round(float(spin_glass(jnp.array([0.0, jnp.pi]), -jnp.ones((3, 3)))), 6)
    -1.0
    """
    theta, couplings = real_array("theta", theta), real_array("couplings", couplings)
    if theta.ndim != 1 or theta.size == 0:
        msg = f"theta must be a 1-D array of at least one angle, got shape {theta.shape}"
        raise ValueError(msg)
    n = theta.size + 1
    if couplings.shape != (n, n):
        msg = f"couplings must have shape ({n}, {n}), one more than there are angles, got shape {couplings.shape}"
        raise ValueError(msg)
    dtype = jnp.result_type(theta, jnp.float32)
    angles = jnp.concatenate([jnp.zeros(1, dtype), theta.astype(dtype)])
    return -jnp.sum(jnp.triu(couplings.astype(dtype), 1) * jnp.cos(angles[:, None] - angles))


def spin_glass_couplings(spins: int, *, key: jax.Array | None = None) -> jax.Array:
    """Normal couplings of variance 1 / spins between all spins, shape (spins, spins), symmetric, zero on the diagonal.

    >>> couplings = spin_glass_couplings(4)
    >>> couplings.shape, bool((couplings == couplings.T).all())
    ((4, 4), True)
    """
    spins = whole("spins", spins, 2)
    key = jax.random.key(0) if key is None else prng_key("key", key)
    upper = jnp.triu(jax.random.normal(key, (spins, spins)) / spins**0.5, 1)
    return upper + upper.T
