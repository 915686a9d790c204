"""Whether a step is taken: by the loss where its decrease can be seen, else by the gradient; and the smallest length.

    seen      loss(theta + p) < loss  and  decrease / predicted > 1e-4
    hidden    predicted <= 10 eps |loss|,  loss(theta + p) <= loss  and  |grad(theta + p)| < 0.9 |grad|

Near a critical point the decrease falls below the rounding of the loss while the gradient is still far from zero: there
the loss says nothing, and the gradient decides.  Along negative curvature the gradient grows, so such a step is never
judged by it; it starts at the length whose decrease is seen.

| function | what it returns |
|---|---|
| `accepted` | whether a step is taken, and the share of the predicted decrease that it brought |
| `is_hidden` | whether a decrease is below the rounding of the loss |
| `gradient_fell` | whether the gradient is clearly smaller after a step |
| `loss_rounding` | the decrease below which the loss shows nothing |
| `smallest_visible_step` | the length at which negative curvature lowers the loss visibly |
| `descent_sign` | the sign that lowers the loss along a direction, and whether the gradient tells it |
"""

import jax
import jax.numpy as jnp

from hessian.limits import LOSS_ROUNDING, VISIBLE_DECREASE
from hessian.numerics import divisor

SUFFICIENT = 1e-4  # the share of the predicted decrease that a step must bring
SHRUNK = 0.9  # the share of the gradient that may be left where the loss shows nothing
SIGN_KNOWN = 1e-3  # the part of |curvature| * length above which a slope tells the sign


def accepted(
    value: jax.Array, reached: jax.Array, predicted: jax.Array, descends: jax.Array, fell: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Whether a step is taken, and the share of the predicted decrease that was seen in the loss, or 0.

    Args:
        value: the loss before the step.
        reached: the loss after it.
        predicted: the decrease that the quadratic model predicts.
        descends: whether that is positive; for a short step it may have vanished by underflow.
        fell: whether the gradient fell, as `gradient_fell` says; read only where the decrease is hidden.

    >>> [float(x) for x in accepted(jnp.array(1.0), jnp.array(0.5), jnp.array(1.0), jnp.array(True), jnp.array(False))]
    [1.0, 0.5]
    """
    ratio = (value - reached) / divisor(predicted)
    seen = (reached < value) & (ratio > SUFFICIENT)
    good = descends & (seen | (is_hidden(value, reached, predicted) & fell))
    return good, jnp.where(seen, ratio, 0)


def is_hidden(value: jax.Array, reached: jax.Array, predicted: jax.Array) -> jax.Array:
    """Whether the predicted decrease is below the rounding of the loss, which did not rise."""
    return (predicted <= loss_rounding(value)) & (reached <= value)


def gradient_fell(before: jax.Array, after: jax.Array) -> jax.Array:
    """Whether the norm of the gradient after a step is clearly below that before it."""
    return after < SHRUNK * before


def loss_rounding(value: jax.Array) -> jax.Array:
    """The decrease below which the loss shows nothing: 10 eps |loss|."""
    return LOSS_ROUNDING * jnp.finfo(value.dtype).eps * jnp.abs(value)


def smallest_visible_step(value: jax.Array, curvature: jax.Array) -> jax.Array:
    """The length t at which t^2 |curvature| / 2 = 64 eps |loss|; where the curvature is 0, as if it were 1.

    >>> bool(smallest_visible_step(jnp.array(0.0), jnp.array(-2.0)) == 0)
    True
    """
    doubled = 2 * VISIBLE_DECREASE * jnp.finfo(value.dtype).eps * jnp.abs(value)
    return jnp.sqrt(doubled / divisor(jnp.abs(curvature)))


def descent_sign(
    directional_derivative: jax.Array, curvature: jax.Array, length: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """-1 where the loss rises along a direction, else 1; and whether its slope matters at all at this length.

    It does not on a saddle or its stable manifold: there both signs go down, and the loss must choose.

    >>> [float(x) for x in descent_sign(jnp.array(0.5), jnp.array(-2.0), jnp.array(1.0))]
    [-1.0, 1.0]
    """
    sign = jnp.where(directional_derivative > 0, -1.0, 1.0).astype(directional_derivative.dtype)
    return sign, jnp.abs(directional_derivative) > SIGN_KNOWN * jnp.abs(curvature) * length
