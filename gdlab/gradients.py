"""Values and gradients of a loss, taken in one place: whatever runs an optimizer asks here.

    gradient = conj(jax.grad(loss))          jax's gradient is the conjugate of the direction of steepest ascent

For real parameters the two are equal.  For complex ones, theta = x + i y, the gradient is dL/dx + i dL/dy, so that
`theta - eta g` goes down, as the same step on x and y would.

| function | what it returns |
|---|---|
| `value_and_gradient` | the loss and its gradient |
| `scalar` | the function, checked to return one real number |
| `conjugate` | what jax.grad returns for a gradient, and the gradient for what it returns |
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gdlab.arguments import shown
from gdlab.averages import Params


def value_and_gradient(
    loss: Callable[[Params], jax.Array], params: Params, *, name: str = "loss"
) -> tuple[jax.Array, Params]:
    """The loss, which errors call by its name, and the direction of its steepest ascent.

    >>> _, g = value_and_gradient(lambda z: jnp.abs(z - (1 + 3j)) ** 2, jnp.array(0j))
    >>> complex(g)
    (-2-6j)
    """
    value, slope = jax.value_and_grad(scalar(loss, name))(params)
    return value, conjugate(slope)


def conjugate(tree: Params) -> Params:
    """The complex conjugate of each leaf; a real leaf is itself."""
    return jax.tree.map(lambda leaf: jnp.conj(leaf) if jnp.iscomplexobj(leaf) else leaf, tree)


def scalar(loss: Callable[[Params], Any], name: str = "loss") -> Callable[[Params], jax.Array]:
    """The function; ValueError, once it is traced, where it returns anything but one real floating number."""

    def checked(params):
        value = loss(params)
        array = isinstance(value, jax.Array) or hasattr(value, "__array__") or isinstance(value, bool | int | float)
        if array and jnp.shape(value) == () and jnp.issubdtype(jnp.result_type(value), jnp.floating):
            return value
        if array:
            got = f"an array of shape {jnp.shape(value)} and dtype {jnp.result_type(value)}"
        elif value is None:
            got = "None; end it with `return`"
        elif isinstance(value, tuple | list | dict):
            got = f"a {type(value).__name__} of {len(value)}; return the loss alone, and record what else is wanted"
        else:
            got = shown(value)
        msg = f"{name} must return a scalar, which is real and floating; got {got}"
        raise ValueError(msg)

    return checked
