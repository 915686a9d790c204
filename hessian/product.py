"""Products with the Hessian, without the Hessian.

    H v = d/dt grad L(theta + t v) at t = 0          forward over reverse: about two gradients (S56, S58)
        = grad of <grad L, v>                        reverse over reverse, where a custom_vjp forbids the first

Everything in this package takes `loss(params, *args) -> scalar` and any pytree of floating arrays; parameters and data
are arguments of what is compiled, never constants in it.  Matrix products inside run at the highest precision: the
tf32 or bfloat16 default of some devices is coarser than the eigenvalues one looks for.  Other matrices (Gauss-Newton,
Fisher, a layer's block, the preconditioned Hessian) are the Hessians of other losses: see `hessian.losses`.

| function | what it returns |
|---|---|
| `hvp` | v -> H v, a pytree like the parameters |
| `gradient` | the gradient |
| `matrix` | the dense, symmetric H over the raveled parameters |
| `flat_product` | the same map on vectors of shape (n,) |
| `check` | the parameters as arrays; raises for other than floating arrays, and for a loss that is no scalar |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from hessian.arguments import alike, function, shown

Params = Any  # any pytree of floating arrays
Loss = Callable[..., jax.Array]  # loss(params, *args) -> scalar


@dataclass(frozen=True)
class _Product:
    """H v as a function of arrays only; equal for equal losses, so that it is traced once."""

    loss: Loss

    def __call__(self, params, args, vector):
        tangents = alike("vector", vector, params)

        def slope(p):
            return jax.grad(self.loss)(p, *args)

        with jax.default_matmul_precision("highest"):
            # Forward mode passes through the gradient of a custom_vjp unless that itself holds another one.
            if "custom_vjp_call" in str(jax.make_jaxpr(slope)(params)):
                return jax.vjp(slope, params)[1](tangents)[0]
            return jax.jvp(slope, (params,), (tangents,))[1]


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


def flat_product(loss: Loss, params: Params, *args: Any) -> Callable[[jax.Array], jax.Array]:
    """The map v -> H v on raveled vectors of shape (n,)."""
    _real("params", params)
    unravel = ravel_pytree(params)[1]
    product = Partial(_Product(loss), params, args)
    return lambda vector: ravel_pytree(product(unravel(vector)))[0]


def matrix(loss: Loss, params: Params, *args: Any, chunk: int = 64) -> jax.Array:
    """The Hessian over the raveled parameters, shape (n, n), symmetric to the bit (S56).

    Made of products with the unit vectors, `chunk` at a time: beside the matrix and its transpose, memory holds what
    `chunk` products need.
    """
    params = check(loss, params, *args)
    theta = ravel_pytree(params)[0]
    product, rows = flat_product(loss, params, *args), jnp.arange(theta.size)

    def column(i):
        return product((rows == i).astype(theta.dtype))

    whole = theta.size <= chunk
    columns = jax.vmap(column)(rows) if whole else jax.lax.map(column, rows, batch_size=chunk)
    return (columns + columns.T) / 2


def check(loss: Loss, params: Params, *args: Any, names: tuple[str, str] = ("loss", "params")) -> Params:
    """The parameters as arrays, after a look at the arguments, called by these names, that costs no computation."""
    of_loss, of_params = names
    function(of_loss, loss)
    if not jax.tree.leaves(params):
        msg = f"{of_params} must hold at least one floating array; got an empty pytree"
        raise TypeError(msg)
    _real(of_params, params)
    params = jax.tree.map(jnp.asarray, params)
    if sum(leaf.size for leaf in jax.tree.leaves(params)) == 0:
        msg = f"{of_params} must hold at least one value; got arrays of size 0"
        raise TypeError(msg)
    value = jax.eval_shape(loss, params, *args)
    if getattr(value, "shape", None) != ():
        got = f"shape {value.shape}" if hasattr(value, "shape") else f"a {type(value).__name__}"
        msg = f"{of_loss} must return a scalar; got {got}"
        raise ValueError(msg)
    return params


def _real(name: str, params: Params) -> None:
    """Raise TypeError for a leaf that is not real and floating: of a complex number there is no Hessian here."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        try:
            kind = jnp.result_type(leaf)
        except TypeError:
            kind = None
        if kind is None or isinstance(leaf, str) or not jnp.issubdtype(kind, jnp.floating):
            where = f"{name}{jax.tree_util.keystr(path)}"
            msg = f"{name} must be a pytree of real floating arrays; got {kind or shown(leaf)} at {where}"
            raise TypeError(msg)
