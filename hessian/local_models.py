"""Local models of a function: its Taylor polynomial, and the minimizer of that on a small sphere (S54, S66-S72).

    T_k(x)  =  sum_{j <= k}  D^j f(x0)[x - x0, ..., x - x0] / j!

The j-th term is the j-th derivative of t -> f(x0 + t (x - x0)) at 0, over j!, so the same
code serves one variable and many.  On the sphere |delta| = d the linear model is least at -d g / |g|: gradient descent
(S70).  The quadratic model is least at delta = -(H + mu I)^-1 g for the mu >= -lambda_1 that puts it on the sphere
(More & Sorensen 1983).

| function | what it returns |
|---|---|
| `taylor` | the polynomial of a given order, as a function |
| `quadratic_model` | f + g.delta + delta.H delta / 2, as a function of delta |
| `trust_region_step` | its minimizer on the sphere of a radius, or in the ball |
| `newton_step_length` | the best step in one variable, |f'| / |f''| (S25) |
"""

from collections.abc import Callable
from math import factorial
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from gdlab.ground.checks import choice, number, switch, whole
from hessian.arguments import alike
from hessian.numerics import divisor, length, unit
from hessian.precision import Tree, working
from hessian.product import Loss, Params, forward_passes, gradient, hvp, matrix
from hessian.spectra.eigh import eigh
from hessian.steps.trust_region import on_sphere


def taylor(f: Loss, x0: Params, *args: Any, order: int = 2) -> Callable[[Params], jax.Array]:
    """The Taylor polynomial of f about x0, a function of x (S66-S69).

    Args:
        f: `f(x, *args) -> scalar`, differentiable `order` times.
        x0: a number, or a pytree of floating arrays.
        *args: further arguments of f.
        order: the degree, >= 0; its cost grows about twofold with each.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError where order is below 0.

    >>> model = taylor(jnp.exp, 0.0, order=3)
    >>> round(float(model(1.0)), 6)  # 1 + 1 + 1/2 + 1/6
    2.666667
    """
    order = whole("order", order, 0)
    f, x0, args, _ = working(f, x0, *args, names=("f", "x0"))

    def polynomial(x: Params) -> jax.Array:
        delta = jax.tree.map(jnp.subtract, alike("x", x, x0), x0)
        path = lambda t: f(jax.tree.map(lambda b, d: b + t.astype(b.dtype) * d, x0, delta), *args)  # noqa: E731
        start = jnp.zeros((), ravel_pytree(x0)[0].dtype)
        derivative = _forward if forward_passes(path, start) else jax.grad
        total = path(start)
        for j in range(1, order + 1):
            path = derivative(path)
            total = total + path(start) / factorial(j)
        return total

    return polynomial


def _forward(path: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    return lambda t: jax.jvp(path, (t,), (jnp.ones_like(t),))[1]


def quadratic_model(loss: Loss, params: Params, *args: Any) -> Callable[[Params], jax.Array]:
    """L(theta) + g.delta + delta.H delta / 2 as a function of delta, a pytree like params (S54).

    Its error falls with the third power of |delta|.

    >>> model = quadratic_model(lambda w: (1 - w[0] * w[1]) ** 2, jnp.zeros(2))
    >>> float(model(jnp.array([0.5, 0.5])))  # 1 - 2 * 0.25
    0.5
    """
    loss, params, args, _ = working(loss, params, *args)
    value, product = loss(params, *args), hvp(loss, params, *args)
    g = ravel_pytree(gradient(loss, params, *args))[0]

    def model(delta: Params) -> jax.Array:
        delta = alike("delta", delta, params)
        d, image = ravel_pytree(delta)[0], ravel_pytree(product(delta))[0]
        return value + g @ d + d @ image / 2

    return model


def trust_region_step(
    loss: Loss, params: Tree, *args: Any, radius: ArrayLike, order: int = 1, inside: bool = False
) -> Tree:
    """The delta that minimizes the Taylor model on the sphere |delta| = radius, or in the ball (S70).

    Args:
        loss: `loss(params, *args) -> scalar`.
        params: pytree of n real floating values.
        *args: further arguments of the loss.
        radius: of the sphere, > 0.
        order: 1 for the linear model, whose minimizer is -radius g / |g|; 2 for the quadratic one.
        inside: minimize in the ball |delta| <= radius; order 1 has its minimizer on the sphere all the same.

    Returns:
        A pytree like params; zeros where order is 1 and the gradient is zero.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError for another order.

    >>> delta = trust_region_step(lambda w: 3 * w[0] + 4 * w[1], jnp.zeros(2), radius=5.0)
    >>> [round(float(x), 6) for x in delta]
    [-3.0, -4.0]
    """
    choice("order", order, (1, 2))
    switch("inside", inside)
    loss, params, args, stored = working(loss, params, *args)
    radius = number("radius", radius)
    unravel = ravel_pytree(params)[1]
    g = ravel_pytree(gradient(loss, params, *args))[0]
    radius = jnp.asarray(radius, g.dtype)
    if order == 1:
        return stored(unravel(-radius * unit(g)))
    eigenvalues, basis = eigh(matrix(loss, params, *args))
    projections = g @ basis
    p = on_sphere(eigenvalues, projections, radius)
    if inside:
        newton = -projections / divisor(eigenvalues)
        p = jnp.where((eigenvalues[0] > 0) & (length(newton) <= radius), newton, p)
    return stored(unravel(basis @ p))


def newton_step_length(loss: Loss, params: Params, *args: Any) -> jax.Array:
    """The step length |f'| / |f''| along the gradient: exact for a parabola (S25-S28).

    In many variables along u = -g / |g|: |g| / |u.H u|.  Infinite where there is no curvature, 0 where no gradient.

    >>> float(newton_step_length(lambda x: 2 * x**2 + 3 * x, 1.0))  # |4x + 3| / 4, to the minimum at -3/4
    1.75
    """
    loss, params, args, _ = working(loss, params, *args)
    g, unravel = ravel_pytree(gradient(loss, params, *args))
    u = unit(g)
    curvature = jnp.abs(u @ ravel_pytree(hvp(loss, params, *args)(unravel(u)))[0])
    flat = curvature == 0
    return jnp.where(length(g) > 0, jnp.where(flat, jnp.inf, length(g) / jnp.where(flat, 1, curvature)), 0)
