"""Numerics: moving averages of gradients, and safe arithmetic near zero.

    ema:    a <- b a + (1 - b) x, from 0;    after t values its weights sum to 1 - b^t
    mean:   a  = (x_0 + ... + x_t) / (t + 1)

Directions average gradients, scales average their squares; both divide by the weight.  Unless said otherwise
they work on one leaf (one array); directions and scales map them over trees.

Near zero the pattern is always the same: test, make safe, compute, select.  A `jnp.where` around the unsafe
expression alone would give the right value and a NaN gradient, since both branches are differentiated.

| function | what it returns |
|---|---|
| `nearest_whole` | a hyperparameter that counts something |
| `like`, `likes`, `shared` | a hyperparameter in the real dtype of an array, or of each array of a tree |
| `widest`, `wide` | the widest of dtypes, at least float32; an array in it |
| `zeros_wide`, `zeros_wide_real` | zeros to accumulate an array or its squared size in |
| `square` | abs(g)^2, real also for complex g |
| `one_where` | x, made safe to divide by: 1 where a condition holds |
| `safe_root`, `positive_root` | sqrt(x) with derivative 0 at 0, and the same that is never 0 |
| `safe_ratio` | a / b, and a given value where b = 0 |
| `power_of_two`, `norm` | the unit of a number; the norm of a tree of any size |
| `each` | a function of one leaf over trees, with hyperparameters in the precision of each leaf |
| `ema`, `bias_corrected` | one step of the moving averages of a tree, and those divided by their weight |
| `ema_weight`, `bias_weight` | 1 - b^t, exact to rounding for every b in [0, 1); the same in a given dtype |
| `effective_length` | the effective number of values in a moving average, exact likewise |
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

Params = Any  # any pytree of arrays
Tree = TypeVar("Tree")  # the type of the params that are given, which those of a result have too


def nearest_whole(number: ArrayLike) -> jax.Array:
    """The number rounded, as an int32, to compare counts with."""
    return jnp.round(number).astype(jnp.int32)


def like(number: ArrayLike, array: jax.Array) -> jax.Array:
    """The number in the real dtype of the array, so that no hyperparameter changes a dtype."""
    return jnp.asarray(number).astype(jnp.finfo(array.dtype).dtype)


def shared(scalars: Callable[[jnp.dtype], Any]) -> Callable[[jax.Array], Any]:
    """A function from an array to `scalars(its real dtype)`, computed once for all arrays of that dtype."""
    known: dict[jnp.dtype, Any] = {}

    def of(array):
        dtype = jnp.finfo(array.dtype).dtype
        if dtype not in known:
            known[dtype] = scalars(dtype)
        return known[dtype]

    return of


def likes(number: ArrayLike) -> Callable[[jax.Array], jax.Array]:
    """A function from an array to the number in its real dtype, converted once for all arrays of that dtype."""
    return shared(jnp.asarray(number).astype)


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
    return widest(jnp.result_type(leaf))


def widest(*dtypes: jnp.dtype) -> jnp.dtype:
    """The dtype that holds all of these and float32, whatever promotion the user allows."""
    with jax.numpy_dtype_promotion("standard"):
        return jnp.result_type(jnp.float32, *dtypes)


def square(g: jax.Array) -> jax.Array:
    """abs(g)^2, real also for complex g."""
    return (g * g.conj()).real if jnp.iscomplexobj(g) else g * g


def one_where(zero: jax.Array, x: jax.Array) -> jax.Array:
    """1 where that holds and x elsewhere, so that a quotient by it, its root and its logarithm are finite."""
    return jnp.where(zero, jnp.ones_like(x), x)


def safe_root(x: jax.Array) -> jax.Array:
    """sqrt(x), with derivative 0 instead of infinity at x = 0."""
    zero = x == 0
    return jnp.where(zero, 0, jnp.sqrt(one_where(zero, x)))


def least_square(dtype: jnp.dtype) -> float:
    """The smallest square that counts: near 1e-35 in float32, 1e-305 in float64."""
    return float(jnp.finfo(dtype).tiny) * 1024


def positive_root(x: jax.Array) -> jax.Array:
    """sqrt(x) for x >= 0, but never below the root of the smallest square that counts; there its derivative is 0.

    A quotient by it can be differentiated: even its inverse square is finite.
    """
    return jnp.sqrt(jnp.maximum(x, least_square(x.dtype)))


def safe_ratio(numerator: ArrayLike, denominator: jax.Array, otherwise: ArrayLike) -> jax.Array:
    """Numerator / denominator, and `otherwise` (without derivative) where the denominator is 0."""
    zero = denominator == 0
    return jnp.where(zero, otherwise, numerator / one_where(zero, denominator))


def power_of_two(size: jax.Array) -> jax.Array:
    """The power of two in (size / 2, size], without derivative; 1 for 0, a subnormal and what is not finite.

    Dividing by it is exact, so a computation in this unit differs in its range only.
    Near the largest numbers it is half of that, so that its inverse is not subnormal, which many devices flush to 0.
    """
    size, info = jax.lax.stop_gradient(size), jnp.finfo(size.dtype)
    sound = jnp.isfinite(size) & (size >= info.tiny)
    # From the bits of the exponent: a quotient could be merged with others by the compiler, and overflow.
    bits = jax.lax.bitcast_convert_type(one_where(~sound, size), f"uint{info.bits}")
    unit = jax.lax.bitcast_convert_type(bits >> info.nmant << info.nmant, size.dtype)
    return jnp.minimum(unit, jnp.asarray(1 / float(info.tiny), size.dtype))


def norm(tree: Params) -> jax.Array:
    """The Euclidean norm of all numbers of a tree, at least float32, with derivative 0 at 0.

    Numbers are divided by their largest power of two first: in float32 the square of 1e20 overflows, of 1e-23 vanishes.

    >>> float(norm([jnp.float32(3e30), jnp.float32(4e30)])) == float(jnp.float32(5e30))
    True
    """
    dtype = widest(*{jnp.result_type(leaf) for leaf in jax.tree.leaves(tree)})
    real = jnp.finfo(dtype).dtype
    leaves = [jnp.asarray(leaf, dtype if jnp.iscomplexobj(leaf) else real) for leaf in jax.tree.leaves(tree)]
    sizes = [jnp.zeros([], real), *(jnp.max(jnp.abs(leaf), initial=0) for leaf in leaves)]
    unit = power_of_two(jnp.max(jnp.stack(sizes)))
    return safe_root(sum((jnp.sum(square(leaf / unit)) for leaf in leaves), jnp.zeros_like(unit))) * unit


def each(fn: Callable[..., jax.Array], first: Params, *others: Params, **numbers: Any) -> Params:
    """`fn(leaf, ..., **numbers)` for the leaves of trees of one structure, all in the precision of the first tree's.

    This is the one place where a piece casts: hyperparameters, rates and the leaves of the other trees arrive in the
    real dtype of the first tree's leaf, so that an equation is written once, for one leaf, as in a textbook.  A number
    may also be a function of that dtype, such as `bias_weight`; it is called once for all leaves of a dtype.

    >>> each(lambda v, g, decay: decay * v + g, [jnp.float32(2)], [jnp.float64(1)], decay=0.5)[0].dtype
    dtype('float32')
    """
    scalars = {name: number if callable(number) else jnp.asarray(number).astype for name, number in numbers.items()}
    of = shared(lambda dtype: {name: scalar(dtype) for name, scalar in scalars.items()})

    def leaf(first, *others):
        return fn(first, *(_as_precise(other, first) for other in others), **of(first))

    return jax.tree.map(leaf, first, *others)


def _as_precise(array, first):
    """The array in the dtype of the first; a complex one beside real ones stays, and a real one stays real."""
    array = jnp.asarray(array)
    if jnp.iscomplexobj(array) == jnp.iscomplexobj(first):
        return array.astype(first.dtype)
    return array if jnp.iscomplexobj(array) else array.astype(jnp.finfo(first.dtype).dtype)


def ema(average: Params, values: Params, decay: ArrayLike) -> Params:
    """One step of the exponential moving average, `b a + (1 - b) x`, in the dtype of each average."""

    def both(dtype):
        b = jnp.asarray(decay).astype(dtype)
        return b, 1 - b

    def step(average, value, weights):
        b, rest = weights
        return b * average + rest * value.astype(average.dtype)

    return each(step, average, values, weights=both)


def ema_weight(decay: ArrayLike, count: ArrayLike) -> jax.Array:
    """1 - b^t, the sum of the weights of t values in a moving average that started at zero.

    Written as 2 y / (1 + y) with y = tanh(-t log(b) / 2): the plain `1 - b**t` cancels, and in float32 is 16 % off at
    b = .9999999, t = 1; `-expm1(t log b)` is as near, and takes twice as long.

    >>> round(float(ema_weight(0.5, 2)), 12)
    0.75
    """
    b = jnp.asarray(decay, dtype=widest(jnp.result_type(decay)))
    zero = b == 0
    y = jnp.tanh(like(count, b) * (jnp.log(one_where(zero, b)) / -2))
    return jnp.where(zero, 1, 2 * y / (1 + y))


def bias_weight(decay: ArrayLike, count: ArrayLike) -> Callable[[jnp.dtype], jax.Array]:
    """The weight 1 - b^t in a dtype, for `each`."""
    return lambda dtype: ema_weight(jnp.asarray(decay).astype(dtype), count)


def bias_corrected(average: Params, decay: ArrayLike, count: ArrayLike) -> Params:
    """Moving averages of t values from zero, divided by their weight 1 - b^t."""
    return each(lambda a, weight: a / weight, average, weight=bias_weight(decay, count))


def effective_length(decay: ArrayLike, count: ArrayLike) -> jax.Array:
    """rho_t = rho_inf - 2 t b^t / (1 - b^t) with rho_inf = 2 / (1 - b) - 1 (Liu et al. 2019), for b in (0, 1).

    With y = -log(b) / 2 it is coth(y) - t coth(t y) + t, where the two poles 1 / y cancel.  They are taken out
    beforehand, L(y) = coth(y) - 1 / y, and L(y) + t (1 - L(t y)) is exact in float32 too: rho_1 = 1 for every b.

    >>> round(float(effective_length(0.9, 2)), 6)
    1.947368
    """
    b = jnp.asarray(decay, dtype=widest(jnp.result_type(decay)))
    t, y = like(count, b), -jnp.log(b) / 2
    return 1 - _rest_of_langevin(y) + t * _rest_of_langevin(t * y)


def _rest_of_langevin(y):
    """1 - coth(y) + 1 / y, by a series below 1/2."""
    small = y < 0.5
    square = jnp.where(small, y, 0) ** 2
    series = jnp.polyval(jnp.asarray(_LANGEVIN, y.dtype), square) * y
    large = one_where(small, y)
    return jnp.where(small, 1 - series, 1 / large + 2 * jnp.exp(-2 * large) / jnp.expm1(-2 * large))


# The coefficients of y, y^3, ... in coth(y) - 1 / y, the highest first.
_LANGEVIN = [
    87734 / 38979295480125,
    -3617 / 162820783125,
    4 / 18243225,
    -1382 / 638512875,
    2 / 93555,
    -1 / 4725,
    2 / 945,
    -1 / 45,
    1 / 3,
]
