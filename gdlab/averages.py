"""Averages of gradients, and the arithmetic near zero that they need.

    decaying:   a <- b a + (1 - b) x          weight of what it has seen after t values: 1 - b^t
    plain:      a  = (x_0 + ... + x_t) / (t + 1)

Directions average gradients, scales average their squares; both divide by the weight.  Everything here works on one
leaf (one array); directions and scales map it over trees.

Near zero the pattern is always the same: test, make safe, compute, select.  A `jnp.where` around the unsafe
expression alone would give the right value and a NaN gradient, since both branches are differentiated.

| function | what it returns |
|---|---|
| `like` | a hyperparameter in the real dtype of an array |
| `wide` | an array in at least float32 |
| `zeros_wide`, `zeros_wide_real` | zeros to accumulate an array or its squared size in |
| `square` | abs(g)^2, real also for complex g |
| `safe_root` | sqrt(x) with derivative 0 at 0 |
| `decaying` | one step of the decaying average |
| `decaying_weight` | 1 - b^t, exact to rounding for every b in [0, 1) |
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def like(number: ArrayLike, array: jax.Array) -> jax.Array:
    """The number in the real dtype of the array, so that no hyperparameter changes a dtype."""
    return jnp.asarray(number).astype(jnp.finfo(array.dtype).dtype)


def wide(array: ArrayLike) -> jax.Array:
    """The array in at least float32: a bfloat16 second moment stalls at half of its value."""
    return jnp.asarray(array, dtype=_wide_dtype(array))


def zeros_wide(leaf: ArrayLike) -> jax.Array:
    """Zeros shaped like the leaf (an array, number or `jax.ShapeDtypeStruct`), at least float32."""
    return jnp.zeros_like(leaf, dtype=_wide_dtype(leaf))


def zeros_wide_real(leaf: ArrayLike) -> jax.Array:
    """Zeros to accumulate squared sizes of the leaf in: real, at least float32."""
    return jnp.zeros_like(leaf, dtype=jnp.finfo(_wide_dtype(leaf)).dtype)


def _wide_dtype(leaf):
    return jnp.promote_types(jnp.result_type(leaf), jnp.float32)


def square(g: jax.Array) -> jax.Array:
    """abs(g)^2, real also for complex g."""
    return (g * g.conj()).real if jnp.iscomplexobj(g) else g * g


def safe_root(x: jax.Array) -> jax.Array:
    """sqrt(x), with derivative 0 instead of infinity at x = 0."""
    zero = x == 0
    return jnp.where(zero, 0, jnp.sqrt(jnp.where(zero, 1, x)))


def decaying(average: jax.Array, value: jax.Array, decay: ArrayLike) -> jax.Array:
    """One step of the decaying average, `b a + (1 - b) x`, in the dtype of the average."""
    b = like(decay, average)
    return b * average + (1 - b) * value.astype(average.dtype)


def decaying_weight(decay: ArrayLike, count: ArrayLike) -> jax.Array:
    """1 - b^t, the weight of t values in a decaying average that started at zero.

    Written as `-expm1(t log b)`: the plain `1 - b**t` cancels, and in float32 is 16 % off at b = .9999999, t = 1.

    >>> float(decaying_weight(0.5, 2))
    0.75
    """
    b = jnp.asarray(decay, dtype=jnp.promote_types(jnp.result_type(decay), jnp.float32))
    zero = b == 0
    return jnp.where(zero, 1, -jnp.expm1(like(count, b) * jnp.log(jnp.where(zero, 1, b))))
