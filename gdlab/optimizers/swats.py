"""SWATS: Adam until its steps look like those of SGD with a steady rate, then SGD with that rate and momentum (S87).

    p      = -eta / sigma * m                Adam's step
    gamma  = p.p / (-p.g)                    the SGD learning rate whose step, projected onto p, equals p
    lambda <- b2 lambda + (1 - b2) gamma;   estimate = lambda / (1 - b2^k)
    switch at the first k >= 2 where abs(estimate - gamma) < tolerance and estimate > 0;   Lambda = estimate
    then   v <- b1 v + g;   theta <- theta - (1 - b1) Lambda v

[1] Keskar & Socher, Improving generalization performance by switching from Adam to SGD, 2017, algorithm 1.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gdlab.base import rate_dtype
from gdlab.equation import Optimizer, Rule, Step
from gdlab.ground.checks import choice
from gdlab.numerics import (
    Params,
    bias_corrected,
    bias_weight,
    each,
    ema,
    ema_weight,
    like,
    nearest_whole,
    one_where,
    positive_root,
    safe_ratio,
    square,
    wide,
    zeros_wide,
    zeros_wide_real,
)
from gdlab.pieces import NONNEGATIVE, SHARE, Number, Range, checked, number, piece, static
from gdlab.schedules.base import Rate, as_rate, rate_at


class SwatsState(NamedTuple):
    """What the next step needs; the last four are scalars, or trees of one scalar per leaf of params."""

    count: jax.Array  # type: ignore[assignment]  # steps made so far: int32 scalar
    mu: Params  # average of gradients in Adam's phase, v in SGD's: like params
    nu: Params  # average of squared gradients: real, like params
    estimate: Any  # lambda, average of gamma from zero
    rate: Any  # Lambda, 0 before the switch
    switched: Any  # whether SGD has taken over: bool
    switch_step: Any  # the step, from 1, at which it was decided; 0 before: int32


def swats(
    learning_rate: Rate,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike = 1e-9,
    *,
    tolerance: ArrayLike = 1e-9,
    min_steps: ArrayLike = 2,
    scope: str = "global",
    after: Rate = 1.0,
) -> Optimizer:
    """Adam, then SGD with momentum at a rate that Adam has found (S87; Keskar & Socher 2017).

    The paper's tolerance 1e-9 hardly ever switches; a loose one switches at step 2.  Extras: `switched`, `estimate`
    (lambda / (1 - b2^k)), `rate` (Lambda) and `switch_step`, as they are after the step.

    Args:
        learning_rate: of Adam's phase, a rate or a schedule.
        b1: of both momenta, in [0, 1).
        b2: of the averages of squares and of gamma, in [0, 1).
        eps: added to Adam's root before the correction of the bias, as in the paper, >= 0.
        tolerance: how close estimate and gamma must come, >= 0.
        min_steps: the first step, from 1, that may switch, >= 2 (at step 1 they are equal).
        scope: "global" for one switch, "leaf" for one per leaf of params.
        after: a factor of Lambda or a schedule of factors, counted from the switch; for "global" only.

    >>> optimizer = swats(0.1)  # in Adam's phase
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0))[0]), 6)
    -0.1
    """
    rule = Swats(learning_rate, b1, b2, eps, tolerance=tolerance, min_steps=min_steps, scope=scope, after=after)
    return Optimizer(rule)


def _scope(name, value):
    choice(name, value, {"global": 0, "leaf": 1})
    return value


@piece
class Swats(Rule):
    """The rule of `swats`."""

    learning_rate: Rate = checked(as_rate)
    b1: Number = number(SHARE, default=0.9)
    b2: Number = number(SHARE, default=0.999)
    eps: Number = number(NONNEGATIVE, default=1e-9)
    tolerance: Number = number(NONNEGATIVE, default=1e-9)
    min_steps: Number = number(Range(2), default=2)
    scope: str = static(_scope, default="global")
    after: Rate = checked(as_rate, default=1.0)

    def init(self, params):
        dtype = rate_dtype(params)
        groups = dtype if self.scope == "global" else jax.tree.map(lambda leaf: dtype, params)
        estimate = jax.tree.map(lambda dtype: jnp.zeros([], dtype), groups)
        never = jax.tree.map(lambda zero: zero != 0, estimate)
        at = jax.tree.map(lambda never: never.astype(jnp.int32), never)
        mu, nu = jax.tree.map(zeros_wide, params), jax.tree.map(zeros_wide_real, params)
        return SwatsState(
            count=jnp.zeros([], jnp.int32),
            mu=mu,
            nu=nu,
            estimate=estimate,
            rate=estimate,
            switched=never,
            switch_step=at,
        )

    def step(self, grads, state, params=None, **extra):
        gather, spread, pace = (_one_group if self.scope == "global" else _group_per_leaf)(grads)
        g, k = jax.tree.map(wide, grads), state.count + 1
        eta = rate_at(self.learning_rate, state.count).astype(rate_dtype(grads))

        adam, mu, nu = self._adam(g, eta, state)
        p = adam.update
        pp, pg = gather(jax.tree.map(_dot(eta), p, p)), gather(jax.tree.map(_dot(eta), p, g))
        estimate, found, decided = self._decide(pp, pg, k, state)

        v = each(lambda v, g, b1: b1 * v + g, state.mu, g, b1=self.b1)
        rate = self._sgd_rate(eta, state)
        eta = pace(one_where(eta == 0, eta), state.switched, rate)
        switched, rate = spread(state.switched), spread(rate)
        sigma = jax.tree.map(_sgd_sigma(eta), switched, rate, adam.sigma)
        m = jax.tree.map(lambda s, r, v, a: jnp.where(s, jnp.where(r == 0, 0, v), a), switched, rate, v, adam.m)

        def carried(s, d, v, mu):  # v starts from zero at the step after the decision
            return jnp.where(s, v, jnp.where(d, 0, mu))

        after = SwatsState(
            count=k,
            mu=jax.tree.map(carried, switched, spread(decided), v, mu),
            nu=nu,
            estimate=estimate,
            rate=jax.tree.map(jnp.where, decided, found, state.rate),
            switched=jax.tree.map(jnp.logical_or, decided, state.switched),
            switch_step=jax.tree.map(lambda d, old: jnp.where(d, k, old), decided, state.switch_step),
        )
        return Step(state.count, eta, sigma, m), after

    def _adam(self, g, eta, state):
        """Adam's step with eps added before the bias correction, and its averages."""
        mu, nu = ema(state.mu, g, self.b1), ema(state.nu, jax.tree.map(square, g), self.b2)

        def root_weight(dtype):
            return jnp.sqrt(bias_weight(self.b2, state.count + 1)(dtype))

        sigma = each(lambda nu, eps, w: (positive_root(nu) + eps) / w, nu, eps=self.eps, w=root_weight)
        m = bias_corrected(mu, self.b1, state.count + 1)
        m = jax.tree.map(lambda m: jnp.where(eta == 0, 0, m), m)
        return Step(state.count, eta, sigma, m), mu, nu

    def _decide(self, pp, pg, k, state):
        """The average of gamma, its estimate, and whether it is steady enough to be SGD's rate."""

        def average(pp, pg, old, switched):
            gamma = safe_ratio(pp, -pg, 0)
            b2 = like(self.b2, pp)
            return jnp.where((pg == 0) | switched, old, b2 * old + (1 - b2) * gamma)

        def steady(found, pp, pg, switched):
            close = jnp.abs(found - safe_ratio(pp, -pg, 0)) < like(self.tolerance, found)
            return close & (found > 0) & (pg != 0) & (k >= nearest_whole(self.min_steps)) & ~switched

        estimate = jax.tree.map(average, pp, pg, state.estimate, state.switched)
        found = self._corrected(estimate, k)
        return estimate, found, jax.tree.map(steady, found, pp, pg, state.switched)

    def _corrected(self, estimate, k):
        return each(lambda average, b2: average / ema_weight(b2, k), estimate, b2=self.b2)

    def _sgd_rate(self, eta, state):
        """(1 - b1) Lambda, times the factor of the steps since the switch."""

        def rate(found, at):
            factor = like(rate_at(self.after, jnp.maximum(state.count - at, 0)), eta)
            return (1 - like(self.b1, eta)) * found * factor

        return jax.tree.map(rate, state.rate, state.switch_step)

    def extras(self, grads, state, params=None, **extra):
        _, state = self.step(grads, state, params, **extra)
        # After the switch the estimate rests; it is what it was then.
        corrected = self._corrected(state.estimate, state.count)
        estimate = jax.tree.map(jnp.where, state.switched, state.rate, corrected)
        return {"switched": state.switched, "estimate": estimate, "rate": state.rate, "switch_step": state.switch_step}


def _one_group(tree):
    """How numbers per leaf become one per group, and back; and the rate in which all moves are measured."""
    return (
        lambda parts: sum(jax.tree.leaves(parts), jnp.zeros([], rate_dtype(tree))),
        lambda group: jax.tree.map(lambda _: group, tree),
        lambda eta, switched, rate: jnp.where(switched, rate, eta),
    )


def _group_per_leaf(tree):
    """The same where each leaf is a group, which makes one rate for all impossible: it goes into sigma."""
    return lambda parts: parts, lambda groups: groups, lambda eta, switched, rate: eta


def _sgd_sigma(eta):
    """Adam's sigma before the switch; after it the sigma for which eta / sigma is SGD's rate."""
    return lambda switched, rate, adams: jnp.where(switched, like(safe_ratio(eta, rate, 1), adams), adams)


def _dot(eta):
    return lambda a, b: jnp.sum(jnp.real(a.conj() * b)).astype(eta.dtype)
