"""Clusters of atoms that attract and repel in pairs, and where to begin with them.

    V(X)  =  4 sum_{i<j} (1 / r_ij^12 - 1 / r_ij^6),        r_ij = |x_i - x_j|                 (Lennard-Jones 1924)

in units of the well's depth and of the distance at which two atoms neither attract nor repel.  No move of the whole
cluster changes it: a critical point lies on an orbit of translations, rotations and reflections, and atoms may change
places.  Modulo these, seven atoms have 4 minima, eight have 8, thirteen about 1,500 (Hoare & McInnes 1983; Wales 2003).

| name | what it is |
|---|---|
| `lennard_jones` | the energy |
| `lennard_jones_starts` | random places of atoms in a ball |
"""

import jax
import jax.numpy as jnp
import numpy as np

from gdlab.arguments import real_array
from gdlab.ground.checks import prng_key, whole

ROOM = 0.9  # radius of the ball, in units of the cube root of the number of atoms: about twice a cluster's volume


def lennard_jones(theta: jax.Array) -> jax.Array:
    """The energy of atoms at the rows of theta, shape (atoms, d); an array of one axis holds atoms in space, d = 3.

    Two atoms at the distance 2^(1/6) have energy -1.

    >>> round(float(lennard_jones(jnp.array([[0.0, 0.0, 0.0], [2 ** (1 / 6), 0.0, 0.0]]))), 6)
    -1.0
    """
    theta = real_array("theta", theta)
    if theta.ndim not in (1, 2) or (theta.ndim == 1 and theta.size % 3) or theta.size == 0:
        msg = f"theta must be an array of shape (atoms, d), or (3 atoms,), got shape {theta.shape}"
        raise ValueError(msg)
    x = theta.astype(jnp.result_type(theta, jnp.float32)).reshape(-1, 3 if theta.ndim == 1 else theta.shape[1])
    i, j = np.triu_indices(len(x), 1)
    sixth = 1 / jnp.sum((x[i] - x[j]) ** 2, axis=1) ** 3
    return 4 * jnp.sum(sixth**2 - sixth)


def lennard_jones_starts(atoms: int, count: int, *, dim: int = 3, key: jax.Array | None = None) -> jax.Array:
    """Atoms at random places in a ball of about twice their volume, shape (count, atoms, dim).

    >>> lennard_jones_starts(7, 5).shape
    (5, 7, 3)
    """
    atoms, count, dim = whole("atoms", atoms, 2), whole("count", count), whole("dim", dim)
    key = jax.random.key(0) if key is None else prng_key("key", key)
    return jax.random.ball(key, dim, shape=(count, atoms)) * (ROOM * atoms ** (1 / dim))
