"""Newton's method by conjugate gradients that use the negative curvature they meet, without a matrix.

    (H + 2 damping) d = -g   by conjugate gradients, until  |r| <= accuracy |g|  or  v.(H + 2 damping) v < damping |v|^2

Where a direction v of negative curvature turns up it is taken instead, with the sign that goes down and the length
|v.Hv| / |v|^3 |v|; where the gradient is small a Lanczos run from a random start looks for one, since the Krylov space
of the gradient holds none on a stable manifold.  The step is then halved until the loss falls by weight / 6 |step|^3
(Royer, O'Neill & Wright 2020, arXiv:1803.02924).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial
from jax.typing import ArrayLike

from hessian.arguments import number, prng_key, whole
from hessian.numerics import divisor
from hessian.product import flat_product
from hessian.spectra.lanczos import length, unit
from hessian.spectra.spectrum import rounding
from hessian.steps.acceptance import descent_sign, gradient_fell, smallest_visible_step
from hessian.steps.eigenbasis import lowest_direction
from hessian.steps.second_order import flattened

HALVINGS = 50


class NewtonCGState(NamedTuple):
    """What the next step needs."""

    key: jax.Array  # of the random starts


class _Solve(NamedTuple):
    """The state of conjugate gradients; its loop reads only `solving`."""

    solving: jax.Array  # bool
    count: jax.Array  # type: ignore[assignment]
    d: jax.Array  # the solution so far
    r: jax.Array  # the residual
    p: jax.Array  # the direction that comes next
    negative: jax.Array  # bool: d is a direction of curvature below the damping


def newton_cg(
    *,
    damping: ArrayLike | None = None,
    accuracy: ArrayLike = 1e-3,
    weight: ArrayLike = 1e-3,
    products: int = 100,
    key: jax.Array | None = None,
) -> Any:
    """Newton-CG with capped conjugate gradients, as an optax transformation (Royer, O'Neill & Wright 2020; S58).

    Args:
        damping: curvature above minus this counts as none, > 0; by default the square root of the gradient's norm,
            at most 1e-4 and at least eps^(1/2), in units of the largest curvature seen.
        accuracy: of the linear system, relative, 0 < accuracy < 1.
        weight: of the decrease that a step must bring, > 0.
        products: with the Hessian, at most, for a system and again for a look at the curvature, >= 2.
        key: of the random starts, `jax.random.key(0)` by default.

    Returns:
        An `optax.GradientTransformationExtraArgs` whose update needs `value_fn=`; it never raises the loss.

    Raises:
        ValueError: for products below 2; in `update`, without params or value_fn.

    >>> step = newton_cg()
    >>> def loss(w):
    ...     return (1 - w[0] * w[1]) ** 2
    >>> w = jnp.zeros(2)  # exactly on the saddle: the gradient says nothing
    >>> update, _ = step.update(jax.grad(loss)(w), step.init(w), w, value_fn=loss)
    >>> bool(loss(w + update) < loss(w))
    True
    """
    products, key = whole("products", products, 2), prng_key(key)
    accuracy, weight = number("accuracy", accuracy, "(0, 1)"), number("weight", weight)
    if damping is not None:
        number("damping", damping)
    return optax.GradientTransformationExtraArgs(
        Partial(_init, key), Partial(_update, _Budget(products), damping, accuracy, weight)
    )


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Budget:
    """A number that is no leaf."""

    products: int


def _init(key, params):
    del params
    return NewtonCGState(key)


def _update(budget, damping, accuracy, weight, grads, state, params=None, *, value=None, value_fn=None, **extra):
    del extra
    loss, theta, value, gradient = flattened(grads, params, value, value_fn)
    product = flat_product(loss, theta)
    key, fresh = jax.random.split(state.key)
    limit = min(budget.products, 2 * theta.size)

    curvature, lowest, size, _ = lowest_direction(loss, theta, (), fresh, budget.products)
    eps = jnp.finfo(theta.dtype).eps
    accuracy, weight = jnp.asarray(accuracy, theta.dtype), jnp.asarray(weight, theta.dtype)
    norm = length(gradient)
    scale = divisor(size)
    if damping is None:
        damping = scale * jnp.clip(jnp.sqrt(norm / scale), eps ** (1 / 2), 1e-4)
    damping = jnp.asarray(damping, theta.dtype)
    d, negative = capped(product, gradient, damping, accuracy, limit)
    # Curvature that the random start found pays |lambda|^3, the system |g|^2 / |H|: the better of both is tried first.
    deep = curvature < -rounding(size)
    random = deep & (jnp.abs(curvature) ** 1.5 > norm / jnp.sqrt(scale)) & ~negative
    d = jnp.where(random, lowest, d)
    along_curvature = negative | random

    size, u = length(d), unit(d)
    bend = jnp.abs(u @ product(u))
    visible = smallest_visible_step(value, bend)
    first = jnp.where(along_curvature, jnp.maximum(jnp.minimum(bend, 1 + length(theta)), visible), size)
    downhill, told = descent_sign(gradient @ u, bend, first)
    sides = jnp.where(along_curvature & ~told, jnp.array([1.0, -1.0], theta.dtype), downhill)

    def look(search):
        _, count, reach, best, reached = search
        points = theta + reach * sides[:, None] * u
        values = jax.vmap(loss.landed)(points)
        values = jnp.where(jnp.isfinite(values), values, jnp.inf)
        side = jnp.argmin(values)
        enough = values[side] < value - jnp.where(along_curvature, bend * reach**2 / 8, weight * reach**3 / 6)
        # What the loss cannot show is judged by the gradient, for a Newton step of full length.
        calmer = (count == 0) & ~along_curvature & (values[side] <= value)
        calmer &= gradient_fell(norm, length(jax.grad(loss.landed)(points[side])))
        good = enough | calmer
        return (
            ~good & (count + 1 < HALVINGS),
            count + 1,
            reach / 2,
            jnp.where(good, points[side], best),
            jnp.where(good, values[side], reached),
        )

    search = (size > 0, jnp.int32(0), first, theta, value)
    _, _, _, reached_at, _ = jax.lax.while_loop(lambda search: search[0], look, search)
    return loss.updates(reached_at - theta), NewtonCGState(key)


def capped(product, gradient, damping, accuracy, limit):
    """The solution of (H + 2 damping) d = -g, or a direction whose curvature is below -damping, and which it is."""
    norm = length(gradient)

    def step(solve):
        image = product(solve.p) + 2 * damping * solve.p
        bend, square = solve.p @ image, solve.p @ solve.p
        negative = bend < damping * square
        alpha = (solve.r @ solve.r) / divisor(bend)
        d, r = solve.d + alpha * solve.p, solve.r + alpha * image
        beta = (r @ r) / divisor(solve.r @ solve.r)
        count = solve.count + 1
        solving = ~negative & (length(r) > accuracy) & (count < limit)
        return _Solve(
            solving,
            count,
            jnp.where(negative, solve.p, d),
            r,
            -r + beta * solve.p,
            negative,
        )

    zero = jnp.zeros_like(gradient)
    g = unit(gradient)
    start = _Solve(norm > 0, jnp.int32(0), zero, g, -g, jnp.bool_(False))
    solved = jax.lax.while_loop(lambda solve: solve.solving, step, start)
    return norm * solved.d, solved.negative
