"""Newton's method by conjugate gradients, matrix-free, which uses the negative curvature that it encounters.

    (H + 2 damping) d = -g   by conjugate gradients, until  |r| <= accuracy |g|  or  v.(H + 2 damping) v < damping |v|^2

A direction v of negative curvature that they encounter is taken instead, with the sign that goes down and the length
|v.Hv| / |v|^2.  A Lanczos run from a random start looks for one as well, because on the stable manifold of a
saddle the Krylov space of the gradient contains none.  The step is then halved until the loss falls by
weight / 6 |step|^3 (Royer, O'Neill & Wright 2020, arXiv:1803.02924).
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.ground.checks import key_or_default, number, whole
from hessian.numerics import curvature_rounding, divisor, length, length_scale, unit
from hessian.product import flat_product
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
    num_matvecs: int = 100,
    key: jax.Array | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Newton-CG with capped conjugate gradients, as an optax transformation (Royer, O'Neill & Wright 2020; S58).

    Args:
        damping: curvature above -damping counts as none, > 0; by default the square root of the gradient's norm,
            at most 1e-4 and at least eps^(1/2), in units of the largest curvature seen.
        accuracy: of the linear system, relative, 0 < accuracy < 1.
        weight: a step must lower the loss by weight / 6 |step|^3, > 0.
        num_matvecs: products with the Hessian, at most, for the system and again for the random start, >= 2.
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
    num_matvecs, key = whole("num_matvecs", num_matvecs, 2), key_or_default(key)
    accuracy, weight = number("accuracy", accuracy, "(0, 1)"), number("weight", weight)
    if damping is not None:
        number("damping", damping)
    return optax.GradientTransformationExtraArgs(
        Partial(_init, key), Partial(_update, _Budget(num_matvecs), damping, accuracy, weight)
    )


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Budget:
    """A number that is no leaf."""

    num_matvecs: int


def _init(key, params):
    del params
    return NewtonCGState(key)


def _update(budget, damping, accuracy, weight, grads, state, params=None, *, value=None, value_fn=None, **extra):
    del extra
    loss, theta, value, gradient = flattened(grads, params, value, value_fn)
    key, fresh = jax.random.split(state.key)
    accuracy, weight = jnp.asarray(accuracy, theta.dtype), jnp.asarray(weight, theta.dtype)
    d, is_curvature = _direction(loss, theta, gradient, damping, accuracy, budget.num_matvecs, fresh)
    reached_at = _backtracked(loss, theta, value, gradient, d, is_curvature, weight)
    return loss.updates(reached_at - theta), NewtonCGState(key)


def _direction(loss, theta, gradient, damping, accuracy, num_matvecs, key):
    """The Newton-CG direction or one of negative curvature, whichever promises more, and whether it is the latter."""
    curvature, lowest, spectral_norm, _ = lowest_direction(loss, theta, (), key, num_matvecs)
    norm, scale = length(gradient), divisor(spectral_norm)
    if damping is None:
        eps = jnp.finfo(theta.dtype).eps
        damping = scale * jnp.clip(jnp.sqrt(norm / scale), eps ** (1 / 2), 1e-4)
    damping = jnp.asarray(damping, theta.dtype)
    limit = min(num_matvecs, 2 * theta.size)
    d, negative = capped(flat_product(loss, theta), gradient, damping, accuracy, limit)
    # Predicted decrease is about |lambda|^3 along the negative-curvature direction and |g|^2 / |H| along the Newton-CG
    # direction; the larger is tried first.
    is_negative = curvature < -curvature_rounding(spectral_norm)
    pays_more = is_negative & (jnp.abs(curvature) ** 1.5 > norm / jnp.sqrt(scale)) & ~negative
    return jnp.where(pays_more, lowest, d), negative | pays_more


def _backtracked(loss, theta, value, gradient, d, is_curvature, weight):
    """The first point along d, halving the step, at which the loss falls enough; theta where there is none."""
    norm, size, u = length(gradient), length(d), unit(d)
    curvature = jnp.abs(u @ flat_product(loss, theta)(u))
    balanced = jnp.maximum(jnp.minimum(curvature, length_scale(theta)), smallest_visible_step(value, curvature))
    first = jnp.where(is_curvature, balanced, size)
    downhill, sign_known = descent_sign(gradient @ u, curvature, first)
    sides = jnp.where(is_curvature & ~sign_known, jnp.array([1.0, -1.0], theta.dtype), downhill)

    def try_step(search):
        _, count, step, best = search
        points = theta + step * sides[:, None] * u
        values = jax.vmap(loss.landed)(points)
        values = jnp.where(jnp.isfinite(values), values, jnp.inf)
        side = jnp.argmin(values)
        enough = values[side] < value - jnp.where(is_curvature, curvature * step**2 / 8, weight * step**3 / 6)
        # What the loss cannot show is judged by the gradient, for a Newton step of full length.
        by_gradient = (count == 0) & ~is_curvature & (values[side] <= value)
        by_gradient &= gradient_fell(norm, length(jax.grad(loss.landed)(points[side])))
        good = enough | by_gradient
        return ~good & (count + 1 < HALVINGS), count + 1, step / 2, jnp.where(good, points[side], best)

    search = (size > 0, jnp.int32(0), first, theta)
    return jax.lax.while_loop(lambda search: search[0], try_step, search)[3]


def capped(product, gradient, damping, accuracy, limit):
    """The solution d of (H + 2 damping) d = -g, or one of curvature below -damping; and whether it is the latter."""
    norm = length(gradient)

    def step(solve):
        image = product(solve.p) + 2 * damping * solve.p
        curvature, square = solve.p @ image, solve.p @ solve.p
        negative = curvature < damping * square
        alpha = (solve.r @ solve.r) / divisor(curvature)
        d, r = solve.d + alpha * solve.p, solve.r + alpha * image
        beta = (r @ r) / divisor(solve.r @ solve.r)
        count = solve.count + 1
        solving = ~negative & (length(r) > accuracy) & (count < limit)
        return _Solve(
            solving=solving,
            count=count,
            d=jnp.where(negative, solve.p, d),
            r=r,
            p=-r + beta * solve.p,
            negative=negative,
        )

    zero = jnp.zeros_like(gradient)
    g = unit(gradient)
    start = _Solve(solving=norm > 0, count=jnp.int32(0), d=zero, r=g, p=-g, negative=jnp.bool_(False))
    solved = jax.lax.while_loop(lambda solve: solve.solving, step, start)
    return norm * solved.d, solved.negative
