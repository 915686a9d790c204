"""Checks of arguments that both packages make, all with one form of sentence.

    <name> must be <what is allowed>; got <what came>

| name | what it returns |
|---|---|
| `Range` | an interval, with or without its ends |
| `number` | a real number in a range, or an array of them |
| `whole` | a whole number within bounds |
| `choice`, `switch` | what a word selects; True or False |
| `prng_key`, `key_or_default` | a PRNG key; that of seed 0 for None |
| `function`, `one_of` | a function; an instance of a class |
| `returned` | a pytree that a function of the user returned, of arrays and numbers |
| `miscalled` | what a function takes, where it is given something else |
| `alike` | nothing; raises for a pytree unlike params |
| `within_bits` | nothing; raises for whole numbers that would wrap around |

The values of arrays and tracers are data and are not checked but for this; their dtypes and shapes are.
"""

import inspect
import math
import numbers
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gdlab.ground.leaves import is_array, shown


class Range(NamedTuple):
    """The real numbers from `low` to `high`; an infinite end is inside only where `infinite`."""

    low: float = 0.0
    high: float = math.inf
    open: bool = False  # whether `high` itself is outside
    above: bool = False  # whether `low` itself is outside
    infinite: bool = False

    @classmethod
    def of(cls, interval: str) -> "Range":
        """The range that an interval such as "(0, 1]" says.

        >>> 1.0 in Range.of("(0, 1]"), 0.0 in Range.of("(0, 1]"), str(Range.of("[0, inf)"))
        (True, False, '[0, inf)')
        """
        low, high = map(float, interval[1:-1].split(","))
        open_, above = interval[-1] == ")", interval[0] == "("
        infinite = (not open_ and high == math.inf) or (not above and low == -math.inf)
        return cls(low, high, open=open_, above=above, infinite=infinite)

    def __contains__(self, value: object) -> bool:
        low, high, open_, above, infinite = self
        inside = low <= value <= high and (infinite or not math.isinf(value))  # type: ignore[operator, arg-type]
        return inside and not (open_ and value == high) and not (above and value == low)

    def __str__(self) -> str:
        without = not self.infinite
        left = "(" if self.above or (without and self.low == -math.inf) else "["
        right = ")" if self.open or (without and self.high == math.inf) else "]"
        return f"{left}{self.low:g}, {self.high:g}{right}"


def number(name: str, value: ArrayLike, allowed: Range | str = "(0, inf)") -> ArrayLike:
    """The value, if it is a real number in the range or an array of them; an interval may be written out.

    Raises TypeError for what is no number, ValueError for a number outside.

    >>> number("radius", 0.5), number("confidence", 0.99, "(0, 1)")
    (0.5, 0.99)
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        within = Range.of(allowed) if isinstance(allowed, str) else allowed
        if float(value) not in within:
            msg = f"{name} must lie in {within}; got {float(value):g}"
            raise ValueError(msg)
        return value
    array = value if isinstance(value, jax.Array) or not hasattr(value, "__array__") else np.asarray(value)
    if not is_real(array):
        msg = f"{name} must be a real number or an array of them; got {shown(value)}"
        raise TypeError(msg)
    return array


def is_real(array: Any) -> bool:
    """Whether the value is an array of real numbers."""
    kinds = jnp.floating, jnp.integer
    return isinstance(array, jax.Array | np.ndarray) and any(jnp.issubdtype(array.dtype, kind) for kind in kinds)


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """The value as an int; ValueError for what is no whole number from `least` to `most`."""
    integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not integer or not least <= value <= (value if most is None else most):
        allowed = f"at least {least}" if most is None else f"from {least} to {most}"
        msg = f"{name} must be a whole number, {allowed}; got {shown(value)}"
        raise ValueError(msg)
    return int(value)


def choice(name: str, value: Any, choices: Collection[Any]) -> Any:
    """The value, if it is one of the choices; of a mapping what it selects.  ValueError for another."""
    for one in choices:
        same = type(value) is type(one) or (isinstance(value, str) and isinstance(one, str))
        if same and value == one:
            return choices[one] if isinstance(choices, Mapping) else value
    *others, last = map(repr, choices)
    allowed = f"{', '.join(others)} or {last}" if others else last
    msg = f"{name} must be {allowed}; got {shown(value)}"
    raise ValueError(msg)


def switch(name: str, value: Any) -> bool:
    """The value, if it is True or False."""
    return one_of(name, value, bool, "True or False")


def prng_key(name: str, value: Any, axes: int = 0) -> jax.Array:
    """The value, if it is one PRNG key of either kind, or an array of keys with `axes` axes."""
    array = isinstance(value, jax.Array | np.ndarray)
    new = array and jnp.issubdtype(value.dtype, jax.dtypes.prng_key) and value.ndim == axes
    shape = jax.random.key_data(jax.random.key(0)).shape
    old = array and value.dtype == jnp.uint32 and value.ndim == axes + 1 and value.shape[axes:] == shape
    if not (new or old):
        many = f"PRNG keys with {axes} axis, such as jax.random.split(jax.random.key(0), 3)"
        what = many if axes else "a PRNG key, such as jax.random.key(0)"
        msg = f"{name} must be {what}; got {shown(value)}"
        raise TypeError(msg)
    return value


def key_or_default(value: jax.Array | None) -> jax.Array:
    """The value of the argument `key`, if it is one PRNG key; that of seed 0 for None."""
    return jax.random.key(0) if value is None else prng_key("key", value)


def function(name: str, value: Any, example: str = "") -> Callable[..., Any]:
    """The value, if it can be called."""
    if not callable(value):
        msg = f"{name} must be a function{example and f', {example}'}; got {shown(value)}"
        raise TypeError(msg)
    return value


def miscalled(function: Callable[..., Any], *args: Any, **keyed: Any) -> inspect.Signature | None:
    """What a function takes, where that is not what it is given; None where it is, or where nobody knows.

    >>> print(miscalled(lambda params, key: 0, 1), miscalled(lambda params, key: 0, 1, key=2))
    (params, key) None
    """
    try:
        takes = inspect.signature(function)
    except (TypeError, ValueError):  # one without a signature
        return None
    try:
        takes.bind(*args, **keyed)
    except TypeError:
        return takes
    return None


def returned(name: str, value: Any) -> Any:
    """The value that the function of this name returned, if all its leaves are arrays of numbers, or numbers."""
    for leaf in jax.tree.leaves(value):
        if not is_array(leaf) and not isinstance(leaf, bool | int | float | complex):
            msg = f"{name} must return a pytree of arrays of numbers; got {shown(leaf)}"
            raise TypeError(msg)
    return value


def one_of(name: str, value: Any, kind: type, example: str) -> Any:
    """The value, if it is an instance of the class."""
    if not isinstance(value, kind):
        msg = f"{name} must be {example}; got {shown(value)}"
        raise TypeError(msg)
    return value


def alike(name: str, tree: Any, params: Any) -> None:
    """Raise ValueError where the structure or a shape of the pytree differs from those of params."""
    got, wanted = ((jax.tree.structure(one), list(map(jnp.shape, jax.tree.leaves(one)))) for one in (tree, params))
    if got != wanted:
        msg = f"{name} must be like params, {wanted[0]} with shapes {wanted[1]}; got {got[0]} with shapes {got[1]}"
        raise ValueError(msg)


def within_bits(name: str, value: Any) -> None:
    """Raise ValueError for whole numbers of NumPy beyond the 32 bits that JAX keeps of them while x64 is off."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "iu" and value.size:
        kept = np.iinfo(jax.dtypes.canonicalize_dtype(value.dtype))
        if value.dtype.itemsize > kept.bits // 8 and (value.max() > kept.max or value.min() < kept.min):
            far = max(abs(int(value.max())), abs(int(value.min())))
            msg = f"{name} must hold whole numbers of {kept.bits} bits while jax_enable_x64 is off; "
            msg += f"got one of size {far}"
            raise ValueError(msg)
