"""Gradient descent with random perturbations, to compare with (Jin et al. 2017)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.ground.checks import key_or_default, number


class PerturbedState(NamedTuple):
    """What the next step needs."""

    count: jax.Array  # type: ignore[assignment]  # steps taken
    last: jax.Array  # the step of the last perturbation
    key: jax.Array


def perturbed_gd(
    rate: ArrayLike,
    *,
    radius: ArrayLike,
    threshold: ArrayLike,
    wait: ArrayLike = 10,
    key: jax.Array | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent with a perturbation, uniform in a ball, where the gradient is small (Jin et al. 2017; S49, S99).

    theta <- theta - rate g,  and + xi, |xi| <= radius, where |g| <= threshold and none was added for `wait` steps.

    Args:
        rate: of gradient descent, > 0.
        radius: of the ball, >= 0.
        threshold: of the gradient's norm, >= 0; infinite for noise at every `wait`-th step.
        wait: steps between two perturbations, >= 1.
        key: of the noise, `jax.random.key(0)` by default.

    >>> step = perturbed_gd(0.1, radius=0.5, threshold=1e-3)
    >>> updates, _ = step.update(jnp.zeros(3), step.init(jnp.zeros(3)))
    >>> 0 < float(jnp.linalg.norm(updates)) <= 0.5
    True
    """
    rate, radius, key = number("rate", rate), number("radius", radius, "[0, inf)"), key_or_default(key)
    threshold, wait = number("threshold", threshold, "[0, inf]"), number("wait", wait, "[1, inf)")
    return optax.GradientTransformationExtraArgs(
        Partial(_init, key, wait), Partial(_update, rate, radius, threshold, wait)
    )


def _init(key, wait, params):
    del params
    count = jnp.zeros([], jnp.int32)
    return PerturbedState(count, count - jnp.asarray(wait, jnp.int32), key)


def _update(rate, radius, threshold, wait, grads, state, params=None, **extra):
    del params, extra
    narrow, unravel = ravel_pytree(grads)
    g = narrow.astype(narrow.dtype if narrow.dtype.itemsize >= 4 else jnp.float32)
    key, direction, share = jax.random.split(state.key, 3)
    xi = jax.random.normal(direction, g.shape, g.dtype)
    sides = max(g.size * (2 if jnp.iscomplexobj(g) else 1), 1)
    length = radius * jax.random.uniform(share, (), xi.real.dtype) ** (1 / sides)
    xi = xi * length / jnp.linalg.norm(xi)
    add = (jnp.linalg.norm(g) <= threshold) & (state.count - state.last >= wait)
    updates = unravel((-rate * g + jnp.where(add, xi, 0)).astype(narrow.dtype))
    return updates, PerturbedState(state.count + 1, jnp.where(add, state.count, state.last), key)
