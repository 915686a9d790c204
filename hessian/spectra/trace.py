"""Trace and diagonal of the Hessian from products with random signs.

    E[z.H z] = tr H,   E[z * H z] = diag H          z of independent signs (Hutchinson 1989)

Both scatter by what is off the diagonal.  Where few eigenvalues carry most of it, it pays to take those exactly: with
an orthonormal Q of the range of H S, S random, tr H = tr Q^T H Q + tr (1 - Q Q^T) H, and only the second is sampled
(Hutch++: Meyer, Musco, Musco & Woodruff 2021); likewise diag H = diag (Q Q^T H) + diag ((1 - Q Q^T) H).

| function | what it returns |
|---|---|
| `trace` | an estimate of the trace with its standard error |
| `diagonal` | an estimate of each entry of the diagonal, like params |
"""

from typing import Any, Generic, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from gdlab.ground.checks import choice, key_or_default, whole
from gdlab.ground.results import digits, result
from hessian.compiled import compiled
from hessian.precision import Tree, working
from hessian.product import Loss, Params, flat_product

Method = Literal["hutchinson", "hutch++"]


@result
class Estimate(NamedTuple, Generic[Tree]):
    """A random estimate."""

    value: Tree  # a number, or a pytree like params
    error: Tree  # its standard error, alike
    num_matvecs: jax.Array  # with the Hessian, used

    def _words(self) -> str:
        if not jax.tree_util.all_leaves([self.value]):
            return f"of {len(jax.tree.leaves(self.value))} arrays, {digits(self.num_matvecs)} products"
        return f"{digits(self.value)} with standard error {digits(self.error)}, {digits(self.num_matvecs)} products"


def trace(
    loss: Loss,
    params: Params,
    *args: Any,
    method: Method = "hutch++",
    num_matvecs: int = 99,
    key: jax.Array | None = None,
) -> Estimate[jax.Array]:
    """The trace of the Hessian, its sum of eigenvalues, with a standard error.

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        params: pytree of n real floating values.
        *args: further arguments of the loss.
        method: "hutchinson", or "hutch++", which takes the largest eigenvalues exactly.
        num_matvecs: how many products with the Hessian it takes, >= 2, for "hutch++" >= 6.
        key: of the random signs, `jax.random.key(0)` by default.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError for another method or too few products.

    >>> found = trace(lambda w: w[0] ** 2 + 2 * w[1] ** 2, jnp.zeros(2), method="hutchinson")
    >>> round(float(found.value), 6), round(float(found.error), 6)  # a diagonal matrix has no scatter
    (6.0, 0.0)
    """
    loss, params, args, _, start = _checked(loss, params, args, method, num_matvecs, key)
    total, samples = _samples(loss, params, args, start, method, num_matvecs)[:2]
    value, error = _mean(total + jnp.sum(samples, axis=1))
    return Estimate(value, error, jnp.int32(num_matvecs))


def diagonal(
    loss: Loss,
    params: Tree,
    *args: Any,
    method: Method = "hutch++",
    num_matvecs: int = 99,
    key: jax.Array | None = None,
) -> Estimate[Tree]:
    """The diagonal of the Hessian, like params, with standard errors; arguments as `trace`.

    >>> found = diagonal(lambda w: w[0] ** 2 + 2 * w[1] ** 2, jnp.zeros(2), method="hutchinson")
    >>> found.value.tolist()
    [2.0, 4.0]
    """
    loss, params, args, stored, start = _checked(loss, params, args, method, num_matvecs, key)
    unravel = ravel_pytree(params)[1]
    _, samples, known = _samples(loss, params, args, start, method, num_matvecs)
    value, error = _mean(known[None] + samples)
    return Estimate(stored(unravel(value)), stored(unravel(error)), jnp.int32(num_matvecs))


@compiled(static_argnames=("loss", "method", "num_matvecs"))
def _samples(loss, params, args, key, method, num_matvecs):
    """The part of the trace taken exactly, samples z * R z of the rest R, and the diagonal of the exact part."""
    theta = ravel_pytree(params)[0]
    n, dtype = theta.size, theta.dtype
    product = flat_product(loss, params, *args)
    sketch, signs = jax.random.split(key)
    many = min(num_matvecs // 3, n) if method == "hutch++" else 0

    def times(rows):
        return jax.lax.map(product, rows)

    with jax.default_matmul_precision("highest"):
        q = jnp.zeros((0, n), dtype)
        if many:
            q = jnp.linalg.qr(times(jax.random.rademacher(sketch, (many, n), dtype)).T)[0].T
        image = times(q) if many else q
        z = jax.random.rademacher(signs, (num_matvecs - 2 * many, n), dtype)
        # The exact parts: of the trace tr Q^T H Q, of the diagonal diag Q (H Q)^T.
        known = jnp.sum(q * image, axis=0)
        rest = times(z)
        rest = rest - (rest @ q.T) @ q
        return jnp.sum(known), z * rest, known


def _checked(loss, params, args, method, num_matvecs, key):
    loss, params, args, stored = working(loss, params, *args)
    choice("method", method, ("hutchinson", "hutch++"))
    whole("num_matvecs", num_matvecs, 6 if method == "hutch++" else 2)
    return loss, params, args, stored, key_or_default(key)


def _mean(samples):
    """Mean and standard error over the first axis."""
    return jnp.mean(samples, axis=0), jnp.std(samples, axis=0, ddof=1) / jnp.sqrt(len(samples))
