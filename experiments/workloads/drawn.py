"""Numbers that are drawn for laws to hold of."""

import jax


def over_decades(key: jax.Array, shape: tuple[int, ...], decades: float) -> jax.Array:
    """Numbers whose logarithms are even, from 10^-decades to 10^decades.

    >>> import jax.numpy as jnp
    >>> drawn = over_decades(jax.random.key(0), (1000,), 2.0)
    >>> bool(0.01 <= drawn.min() < 0.011), bool(90 < drawn.max() <= 100), bool(abs(jnp.log10(drawn).mean()) < 0.15)
    (True, True, True)
    """
    return 10 ** jax.random.uniform(key, shape, minval=-decades, maxval=decades)


def of_uneven_sizes(key: jax.Array, shape: tuple[int, ...], decades: float) -> jax.Array:
    """Normal numbers, each times a number of its own from 10^-decades to 10^decades: gradients to try a rule on.

    >>> drawn = abs(of_uneven_sizes(jax.random.key(0), (1000,), 2.0))
    >>> bool(drawn.min() < 0.001), bool(drawn.max() > 100)
    (True, True)
    """
    first, second = jax.random.split(key)
    return jax.random.normal(first, shape) * over_decades(second, shape, decades)
