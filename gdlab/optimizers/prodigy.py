"""Prodigy: Adam with a rate that grows to the distance from the start, as far as gradients let it be seen.

    m   <-  b1 m + (1 - b1) d g;         nu <- b2 nu + (1 - b2) d^2 g^2
    r   <-  b3 r + d / d_0 delta g.(theta_0 - theta),   delta = d eta sqrt(1 - b2^t) / (1 - b1^t)
    s   <-  b3 s + d / d_0 delta g
    d   <-  max(d, coefficient r / sum abs(s))
    theta <- theta - delta m / (sqrt(nu) + d eps)            with the delta before and the d after

[1] Mishchenko & Defazio, Prodigy: an expeditiously adaptive parameter-free learner, 2023; bias correction as in optax.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gdlab.base import rate_dtype
from gdlab.equation import Optimizer, Rule, Step
from gdlab.numerics import (
    Params,
    bias_weight,
    each,
    ema,
    like,
    positive_root,
    safe_ratio,
    square,
    wide,
    zeros_wide,
    zeros_wide_real,
)
from gdlab.optimizers.wrappers import copied, given
from gdlab.pieces import NONNEGATIVE, POSITIVE, SHARE, Number, checked, number, piece
from gdlab.schedules.base import Rate, as_rate, rate_at


class ProdigyState(NamedTuple):
    """What the next step needs."""

    count: jax.Array  # type: ignore[assignment]  # steps made so far: int32 scalar
    mu: Params  # average of d g, like params
    nu: Params  # average of d^2 g^2: real, like params
    total: Params  # s, like params
    start: Params  # theta_0, like params
    distance: jax.Array  # d: scalar
    numerator: jax.Array  # r: scalar


def prodigy(
    learning_rate: Rate = 1.0,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-8,
    *,
    start: ArrayLike = 1e-6,
    coefficient: ArrayLike = 1.0,
) -> Optimizer:
    """Adam whose rate is learning_rate times the estimate d of the distance to a minimum (Mishchenko & Defazio 2023).

    For decay see `with_weight_decay`.  Extras: `distance`, d after the step.

    Args:
        learning_rate: the factor of d, 1 or a schedule of a shape such as a cosine.
        b1, b2: decays in [0, 1); that of r and s is sqrt(b2).
        eps: >= 0.
        start: the first estimate d_0, > 0.
        coefficient: of the estimate, > 0.

    >>> optimizer = prodigy(start=0.01)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0), 1.0)[0]), 6)
    -0.01
    """
    return Optimizer(Prodigy(learning_rate, b1, b2, eps, start=start, coefficient=coefficient))


@piece
class Prodigy(Rule):
    """The rule of `prodigy`."""

    learning_rate: Rate = checked(as_rate, default=1.0)
    b1: Number = number(SHARE, default=0.9)
    b2: Number = number(SHARE, default=0.999)
    eps: Number = number(NONNEGATIVE, default=1e-8)
    start: Number = number(POSITIVE, default=1e-6)
    coefficient: Number = number(POSITIVE, default=1.0)

    def init(self, params):
        mu, nu = jax.tree.map(zeros_wide, params), jax.tree.map(zeros_wide_real, params)
        dtype = rate_dtype(params)
        zero, first = jnp.zeros([], dtype), jnp.asarray(self.start).astype(dtype)
        return ProdigyState(
            count=jnp.zeros([], jnp.int32),
            mu=mu,
            nu=nu,
            total=mu,
            start=jax.tree.map(copied, params),
            distance=first,
            numerator=zero,
        )

    def step(self, grads, state, params=None, **extra):
        d, first = state.distance, like(self.start, state.distance)
        b3 = positive_root(like(self.b2, d))
        weights = [bias_weight(b, state.count + 1)(d.dtype) for b in (self.b1, self.b2)]
        delta = d * like(rate_at(self.learning_rate, state.count), d) * jnp.sqrt(weights[1]) / weights[0]

        scaled = each(lambda g, d: d * g, jax.tree.map(wide, grads), d=d)
        mu = ema(state.mu, scaled, self.b1)
        nu = ema(state.nu, jax.tree.map(square, scaled), self.b2)
        total = each(lambda s, dg, b3, delta: b3 * s + delta * dg, state.total, scaled, b3=b3, delta=delta / first)
        numerator = b3 * state.numerator + d / first * delta * self._way(grads, state.start, given(params), d)
        size = sum((jnp.sum(jnp.abs(s)).astype(d.dtype) for s in jax.tree.leaves(total)), jnp.zeros_like(d))
        after = jnp.maximum(d, like(self.coefficient, d) * safe_ratio(numerator, size, 0))

        sigma = each(lambda nu, floor: positive_root(nu) + floor, nu, floor=after * like(self.eps, d))
        state_after = ProdigyState(
            count=state.count + 1, mu=mu, nu=nu, total=total, start=state.start, distance=after, numerator=numerator
        )
        return Step(state.count, delta, sigma, mu), state_after

    def _way(self, grads, start, params, d):
        """The scalar product of the gradient with the way back to the start."""

        def leaf(start, theta, g):
            way = start - wide(theta).astype(start.dtype)
            return jnp.sum(jnp.real(wide(g).astype(start.dtype).conj() * way)).astype(d.dtype)

        return sum(jax.tree.leaves(jax.tree.map(leaf, start, params, grads)), jnp.zeros_like(d))

    def extras(self, grads, state, params=None, **extra):
        return {"distance": self.step(grads, state, params, **extra)[1].distance}
