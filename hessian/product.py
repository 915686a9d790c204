"""Products with the Hessian, without the Hessian.

    H v = d/dt grad L(theta + t v) at t = 0          forward over reverse: about two gradients (S56, S58)

Everything in this package takes `loss(params, *args) -> scalar` and any pytree of floating arrays; parameters and data
are arguments of what is compiled, never constants in it.  Matrix products inside run at the highest precision: the
tf32 or bfloat16 default of some devices is coarser than the eigenvalues one looks for.

| function | what it returns |
|---|---|
| `hvp` | v -> H v, a pytree like the parameters |
| `gradient` | the gradient |
| `matrix` | the dense, symmetric H over the raveled parameters |
| `check` | nothing; raises for parameters that are no floating arrays and losses that are no scalars |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

Params = Any  # any pytree of floating arrays
Loss = Callable[..., jax.Array]  # loss(params, *args) -> scalar


@dataclass(frozen=True)
class _Product:
    """H v as a function of arrays only; equal for equal losses, so that it is traced once."""

    loss: Loss

    def __call__(self, params, args, vector):
        with jax.default_matmul_precision("highest"):
            tangents = jax.tree.map(lambda v, p: jnp.asarray(v, p.dtype), vector, params)
            return jax.jvp(lambda p: jax.grad(self.loss)(p, *args), (params,), (tangents,))[1]


def hvp(loss: Loss, params: Params, *args: Any) -> Callable[[Params], Params]:
    """The map v -> H v for the Hessian H of the loss at params (S56, S58; Pearlmutter 1994).

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        params: pytree of floating arrays.
        *args: further arguments of the loss, such as data.

    Returns:
        A function from pytrees like params to pytrees like params; itself a pytree of params and args.

    Raises:
        TypeError: when a leaf of params is not a real floating array.
        ValueError: when the loss is not a scalar.

    >>> hv = hvp(lambda w: (1 - w[0] * w[1]) ** 2, jnp.zeros(2))
    >>> hv(jnp.array([1.0, 3.0])).tolist()
    [-6.0, -2.0]
    """
    params = check(loss, params, *args)
    return Partial(_Product(loss), params, args)


def gradient(loss: Loss, params: Params, *args: Any) -> Params:
    """The gradient of the loss, a pytree like params (S2)."""
    with jax.default_matmul_precision("highest"):
        return jax.grad(loss)(params, *args)


def matrix(loss: Loss, params: Params, *args: Any, chunk: int = 64) -> jax.Array:
    """The Hessian over the raveled parameters, shape (n, n), symmetric to the bit (S56).

    Made of products with the unit vectors, `chunk` at a time, so that memory beyond the matrix itself stays bounded.
    """
    flat, unravel = ravel_pytree(check(loss, params, *args))

    def column(unit):
        return ravel_pytree(_Product(loss)(unravel(flat), args, unravel(unit)))[0]

    columns = jax.lax.map(column, jnp.eye(flat.size, dtype=flat.dtype), batch_size=min(chunk, max(flat.size, 1)))
    return (columns + columns.T) / 2


def check(loss: Loss, params: Params, *args: Any) -> Params:
    """The parameters as arrays, after a look at the arguments that costs no computation."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        msg = "params must hold at least one floating array; got an empty pytree"
        raise TypeError(msg)
    for path, leaf in leaves:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            where = f"params{jax.tree_util.keystr(path)}"
            msg = f"params must be a pytree of real floating arrays; got {jnp.result_type(leaf)} at {where}"
            raise TypeError(msg)
    params = jax.tree.map(jnp.asarray, params)
    value = jax.eval_shape(loss, params, *args)
    if getattr(value, "shape", None) != ():
        got = f"shape {value.shape}" if hasattr(value, "shape") else f"a {type(value).__name__}"
        msg = f"loss must return a scalar; got {got}"
        raise ValueError(msg)
    return params
