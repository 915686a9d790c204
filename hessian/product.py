"""Products with the Hessian, without the Hessian.

    H v = d/dt grad L(theta + t v) at t = 0          forward over reverse: about two gradients (S56, S58)
        = grad of <grad L, v>                        reverse over reverse, where a custom_vjp forbids the first

Everything in this package takes `loss(params, *args) -> scalar` and any pytree of floating arrays; parameters and data
are arguments of what is compiled, never constants in it.  Matrix products inside run at the highest precision: the
tf32 or bfloat16 default of some devices is coarser than the eigenvalues one looks for.  Other matrices (Gauss-Newton,
Fisher, a layer's block, the preconditioned Hessian) are the Hessians of other losses: see `hessian.transforms`.

| function | what it returns |
|---|---|
| `hvp` | v -> H v, a pytree like the parameters |
| `gradient` | the gradient |
| `gradient_and_product` | the gradient and H v, of one pass |
| `matrix` | the dense, symmetric H over the raveled parameters |
| `flat_product` | the same map on vectors of shape (n,) |
| `slope_of` | the gradient as a function |
| `second_order` | the programs of all these |
| `forward_passes` | whether a function can be differentiated in forward mode |
| `pushed` | a function at a point, and its Jacobian times a vector |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from gdlab.ground.convolutions import canonical
from gdlab.ground.jaxprs import jaxprs_in_params
from hessian.arguments import alike
from hessian.precision import Loss, Params, Storage, Tree, check, floating, once, working


@dataclass(frozen=True)
class _Product:
    """H v as a function of arrays only; equal for equal losses, so that it is traced once."""

    loss: Loss
    stored: Storage | None = None  # of the products, where they are to come like params

    def __call__(self, params, args, vector):
        image = self.image(params, args, alike("vector", vector, params))
        return image if self.stored is None else self.stored(image)

    def image(self, params, args, tangents):
        return gradient_and_product(self.loss, params, args, tangents)[1]


def hvp(loss: Loss, params: Tree, *args: Any) -> Callable[[Tree], Tree]:
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
    loss, params, args, stored = working(loss, params, *args)
    return Partial(_Product(loss, stored), params, args)


def forward_passes(function: Callable[..., Any], *args: Any) -> bool:
    """Whether forward mode passes through a function: not through a custom_vjp in it."""
    return not _calls(jax.make_jaxpr(function)(*args).jaxpr, "custom_vjp_call")


def _calls(jaxpr, prefix):
    """Whether a program has an operation whose name begins so, within its loops and branches as well."""
    within = (getattr(one, "jaxpr", one) for equation in jaxpr.eqns for one in jaxprs_in_params(equation.params))
    here = any(equation.primitive.name.startswith(prefix) for equation in jaxpr.eqns)
    return here or any(_calls(one, prefix) for one in within)


def pushed(function: Callable[[Params], Any], params: Params, vector: Params) -> tuple[Any, Any]:
    """The value of a function at params, and its Jacobian there times the vector.

    Where forward mode does not pass, reverse mode does it twice: u -> J^T u is linear, and its own transpose is J.
    """
    if forward_passes(function, params):
        return jax.jvp(function, (params,), (vector,))
    value, pull = jax.vjp(function, params)
    return value, jax.vjp(pull, jax.tree.map(jnp.zeros_like, value))[1]((vector,))[0]


def gradient(loss: Loss, params: Params, *args: Any) -> Params:
    """The gradient of the loss, a pytree like params (S2)."""
    with jax.default_matmul_precision("highest"):
        return canonical(lambda p: slope_of(loss)(p, *args))(params)


def gradient_and_product(loss: Loss, params: Params, args: tuple, vector: Params) -> tuple[Params, Params]:
    """The gradient and H v, both like params: the gradient is what H v is the derivative of."""
    with jax.default_matmul_precision("highest"):
        return canonical(lambda p, v: once(_slope_and_product, loss)(p, v, *args))(params, vector)


def slope_of(loss: Loss) -> Callable[..., Params]:
    """The gradient as a function of params and args."""
    return once(_slope, loss)


def _slope(loss, params, *args):
    return jax.grad(loss)(params, *args)


def _slope_and_product(loss, params, vector, *args):
    def gradient_at(p):
        return slope_of(loss)(p, *args)

    # Forward mode passes through the gradient of a custom_vjp unless that itself holds another one.
    if forward_passes(gradient_at, params):
        return jax.jvp(gradient_at, (params,), (vector,))
    slope, pull = jax.vjp(gradient_at, params)
    return slope, pull(vector)[0]


def second_order(loss: Loss, params: Params, args: tuple) -> tuple[Any, Any]:
    """The programs of the loss, and of its gradient with a product: what determines a program that reads no more."""
    both = jax.make_jaxpr(lambda p, v, args: gradient_and_product(loss, p, args, v))
    return jax.make_jaxpr(loss)(params, *args), both(params, params, args)


def flat_product(loss: Loss, params: Params, *args: Any) -> Callable[[jax.Array], jax.Array]:
    """The map v -> H v on raveled vectors of shape (n,)."""
    floating(params, "params")
    unravel = ravel_pytree(params)[1]
    product = Partial(_Product(loss), params, args)
    return lambda vector: ravel_pytree(product(unravel(vector)))[0]


def matrix(loss: Loss, params: Params, *args: Any, chunk: int = 64) -> jax.Array:
    """The Hessian over the raveled parameters, shape (n, n), symmetric to the bit (S56).

    Made of products with the unit vectors, at most `chunk` at a time: beside the matrix and its transpose, memory holds
    what `chunk` products need.
    """
    params = check(loss, params, *args)
    n = sum(leaf.size for leaf in jax.tree.leaves(params))
    return once(_matrix, loss, None if n <= chunk else chunk)(params, *args)


def _matrix(loss, chunk, params, *args):
    """The matrix in products, so many at a time; None for all at once."""
    theta = ravel_pytree(params)[0]
    product, rows = flat_product(loss, params, *args), jnp.arange(theta.size)

    def column(i):
        return product((rows == i).astype(theta.dtype))

    if chunk is None:
        columns = jax.vmap(column)(rows)
    else:
        # Equal parts, of which the last may reach beyond the end: a remainder would be a second program of the product.
        parts = -(-theta.size // chunk)
        size = -(-theta.size // parts)
        columns = jax.lax.map(jax.vmap(column), jnp.arange(parts * size).reshape(parts, size))
        columns = columns.reshape(parts * size, theta.size)[: theta.size]
    return (columns + columns.T) / 2
