"""Values and gradients of a loss: the one place where a run differentiates.

    gradient = conj(jax.grad(loss))          jax's gradient is the conjugate of the direction of steepest ascent

For real parameters the two are equal.  For complex ones, theta = x + i y, the gradient is dL/dx + i dL/dy, so that
`theta - eta g` goes down, as the same step on x and y would.

| function | what it returns |
|---|---|
| `value_and_gradient` | the loss and its gradient |
| `scalar`, `traced` | the function, checked to return one real number; to be traceable |
| `number` | what it returned, if it is one |
| `conjugate` | the gradient for what jax.grad returns, and back |
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gdlab.ground.checks import miscalled
from gdlab.ground.convolutions import canonical
from gdlab.ground.leaves import shown
from gdlab.numerics import Params


def value_and_gradient(loss: Callable[[Params], Any], params: Params, has_aux: bool = False) -> tuple[Any, Params]:
    """The loss and the direction of its steepest ascent; with `has_aux`, of a loss that returns (value, aux), both.

    >>> _, g = value_and_gradient(lambda z: jnp.abs(z - (1 + 3j)) ** 2, jnp.array(0j))
    >>> complex(g)
    (-2-6j)
    """
    value, slope = canonical(jax.value_and_grad(loss if has_aux else scalar(loss), has_aux=has_aux))(params)
    return value, conjugate(slope)


def conjugate(tree: Params) -> Params:
    """The complex conjugate of each leaf; a real leaf is itself."""
    return jax.tree.map(lambda leaf: jnp.conj(leaf) if jnp.iscomplexobj(leaf) else leaf, tree)


def scalar(loss: Callable[..., Any], name: str = "loss") -> Callable[..., jax.Array]:
    """The function, which errors call by its name, checked once it is traced.

    Raises ValueError where it returns anything but one real floating number, TypeError where it cannot be traced.
    """
    return lambda *args: number(traced(loss, name)(*args), name)


def traced(loss: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The function; TypeError where it cannot be traced."""

    def called(*args, **keyed):
        try:
            return loss(*args, **keyed)
        except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
            msg = f"{name} must be made of functions of JAX; got one that asks for the value of an array, as float(x), "
            msg += "x.item(), np.asarray(x) and `if x > 0` do"
            raise TypeError(msg) from error
        except TypeError as error:
            if (takes := miscalled(loss, *args, **keyed)) is None:
                raise
            given = ", ".join([f"{len(args)} argument{'s'[: len(args) != 1]}", *(f"{word}=" for word in keyed)])
            msg = f"{name} must take {given}: params first, each of args, and a batch as one; got {name}{takes}"
            if "key" in takes.parameters and "key" not in keyed:
                msg += ": a run with key=jax.random.key(0) gives it a fresh one each step"
            raise TypeError(msg) from error

    return called


def number(value: Any, name: str) -> jax.Array:
    """What the function of this name returned; ValueError where that is anything but one real floating number."""
    array = isinstance(value, jax.Array) or hasattr(value, "__array__") or isinstance(value, bool | int | float)
    if array and jnp.shape(value) == () and jnp.issubdtype(jnp.result_type(value), jnp.floating):
        return jnp.asarray(value)
    if array:
        got = f"an array of shape {jnp.shape(value)} and dtype {jnp.result_type(value)}"
    elif value is None:
        got = "None; end it with `return`"
    elif isinstance(value, tuple | list | dict):
        got = f"a {type(value).__name__} of {len(value)}; return the number, or the pair (number, aux)"
    else:
        got = shown(value)
    msg = f"{name} must return a scalar, which is real and floating; got {got}"
    raise ValueError(msg)
