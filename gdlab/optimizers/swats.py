"""SWATS: Adam until its steps look like those of SGD with a steady rate, then SGD with that rate and momentum (S87).

    p      = -eta / sigma * m                                  Adam's step
    gamma  = p.p / (-p.g)                                      the rate of the SGD step whose shadow on p is p itself
    lambda <- b2 lambda + (1 - b2) gamma;   estimate = lambda / (1 - b2^k)
    switch at the first k >= 2 where abs(estimate - gamma) < tolerance and estimate > 0;   Lambda = estimate
    then   v <- b1 v + g;   theta <- theta - (1 - b1) Lambda v

[1] Keskar & Socher, Improving generalization performance by switching from Adam to SGD, 2017, algorithm 1.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.arguments import choice, hyperparameter
from gdlab.base import Optimizer, Step, optimizer_from, rate_dtype
from gdlab.numerics import (
    Params,
    debiased,
    decaying,
    decaying_weight,
    like,
    likes,
    nearest_whole,
    positive_root,
    safe_ratio,
    shared,
    square,
    wide,
    zeros_wide,
    zeros_wide_real,
)
from gdlab.schedules.base import Rate, as_schedule


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
    """
    scopes = {"global": (_init_global, _step_global), "leaf": (_init_leaf, _step_leaf)}
    init, step = choice("scope", scope, scopes)
    hypers: tuple = hyperparameter("b1", b1, 0, 1, open=True), hyperparameter("b2", b2, 0, 1, open=True)
    hypers = *hypers, hyperparameter("eps", eps, 0), hyperparameter("tolerance", tolerance, 0)
    hypers = *hypers, hyperparameter("min_steps", min_steps, 2), as_schedule(after, name="after")
    extras = {"global": _extras_global, "leaf": _extras_leaf}[scope]
    return optimizer_from(Partial(init), Partial(step, as_schedule(learning_rate), *hypers), extras)


def _init_global(params):
    return _init(params, rate_dtype(params))


def _init_leaf(params):
    return _init(params, jax.tree.map(lambda leaf: rate_dtype(params), params))


def _init(params, groups):
    estimate = jax.tree.map(lambda dtype: jnp.zeros([], dtype), groups)
    never = jax.tree.map(lambda zero: zero != 0, estimate)
    at = jax.tree.map(lambda never: never.astype(jnp.int32), never)
    mu, nu = jax.tree.map(zeros_wide, params), jax.tree.map(zeros_wide_real, params)
    return SwatsState(jnp.zeros([], jnp.int32), mu, nu, estimate, estimate, never, at)


def _step_global(schedule, b1, b2, eps, tolerance, min_steps, after, grads, state, params=None, **extra):
    hypers = schedule, b1, b2, eps, tolerance, min_steps, after
    return _step(_one_group, *hypers, grads, state, params, **extra)


def _step_leaf(schedule, b1, b2, eps, tolerance, min_steps, after, grads, state, params=None, **extra):
    hypers = schedule, b1, b2, eps, tolerance, min_steps, after
    return _step(_group_per_leaf, *hypers, grads, state, params, **extra)


def _one_group(tree):
    """How numbers per leaf become one per group, and back; and the rate in which all moves are measured."""
    return (
        lambda parts: sum(jax.tree.leaves(parts)),
        lambda group: jax.tree.map(lambda _: group, tree),
        lambda eta, switched, rate: jnp.where(switched, rate, eta),
    )


def _group_per_leaf(tree):
    """The same where each leaf is a group, which makes one rate for all impossible: it goes into sigma."""
    del tree
    return lambda parts: parts, lambda groups: groups, lambda eta, switched, rate: eta


def _step(groups, schedule, b1, b2, eps, tolerance, min_steps, after, grads, state, params=None, **extra):
    del params, extra
    gather, spread, pace = groups(grads)
    g, k = jax.tree.map(wide, grads), state.count + 1
    eta = jnp.asarray(schedule(state.count)).astype(rate_dtype(grads))

    adam, mu, nu = _adam(b1, b2, eps, eta, g, state)
    p = adam.update
    pp, pg = gather(jax.tree.map(_dot(eta), p, p)), gather(jax.tree.map(_dot(eta), p, g))
    estimate, found, decided = _decide(b2, tolerance, min_steps, k, pp, pg, state)

    keep = likes(b1)
    v = jax.tree.map(lambda v, g: keep(v) * v + g, state.mu, g)
    factor = jax.tree.map(lambda at: like(after(jnp.maximum(state.count - at, 0)), eta), state.switch_step)
    rate = jax.tree.map(lambda big, factor: (1 - like(b1, eta)) * big * factor, state.rate, factor)
    eta = pace(jnp.where(eta == 0, 1, eta), state.switched, rate)
    switched, rate = spread(state.switched), spread(rate)
    sigma = jax.tree.map(lambda s, r, a: jnp.where(s, like(safe_ratio(eta, r, 1), a), a), switched, rate, adam.sigma)
    m = jax.tree.map(lambda s, r, v, a: jnp.where(s, jnp.where(r == 0, 0, v), a), switched, rate, v, adam.m)

    # v starts from zero at the step after the decision.
    carried = jax.tree.map(lambda s, d, v, mu: jnp.where(s, v, jnp.where(d, 0, mu)), switched, spread(decided), v, mu)
    new = SwatsState(
        count=k,
        mu=carried,
        nu=nu,
        estimate=estimate,
        rate=jax.tree.map(lambda d, found, old: jnp.where(d, found, old), decided, found, state.rate),
        switched=jax.tree.map(jnp.logical_or, decided, state.switched),
        switch_step=jax.tree.map(lambda d, old: jnp.where(d, k, old), decided, state.switch_step),
    )
    return Step(state.count, eta, sigma, m), new


def _adam(b1, b2, eps, eta, g, state):
    """Adam's step with eps under the correction of the bias, and its averages."""
    mu, nu = decaying(state.mu, g, b1), decaying(state.nu, jax.tree.map(square, g), b2)
    correction = shared(lambda dtype: jnp.sqrt(decaying_weight(jnp.asarray(b2).astype(dtype), state.count + 1)))
    eps = likes(eps)
    sigma = jax.tree.map(lambda nu: (positive_root(nu) + eps(nu)) / correction(nu), nu)
    m = debiased(mu, b1, state.count + 1)
    m = jax.tree.map(lambda m: jnp.where(eta == 0, 0, m), m)
    return Step(state.count, eta, sigma, m), mu, nu


def _decide(b2, tolerance, min_steps, k, pp, pg, state):
    """The average of gamma, its estimate, and whether it is steady enough to be SGD's rate."""

    def average(pp, pg, old, switched):
        gamma = safe_ratio(pp, -pg, 0)
        return jnp.where((pg == 0) | switched, old, like(b2, pp) * old + (1 - like(b2, pp)) * gamma)

    def corrected(average):
        return average / decaying_weight(like(b2, average), k)

    def steady(found, pp, pg, switched):
        close = jnp.abs(found - safe_ratio(pp, -pg, 0)) < like(tolerance, found)
        return close & (found > 0) & (pg != 0) & (k >= nearest_whole(min_steps)) & ~switched

    estimate = jax.tree.map(average, pp, pg, state.estimate, state.switched)
    found = jax.tree.map(corrected, estimate)
    return estimate, found, jax.tree.map(steady, found, pp, pg, state.switched)


def _dot(eta):
    return lambda a, b: jnp.sum(jnp.real(a.conj() * b)).astype(eta.dtype)


def _extras_global(*args, **extra):
    return _read(_step_global(*args, **extra)[1], args[2])


def _extras_leaf(*args, **extra):
    return _read(_step_leaf(*args, **extra)[1], args[2])


def _read(state, b2):
    def corrected(average):
        return average / decaying_weight(like(b2, average), state.count)

    # After the switch the estimate rests; it is what it was then.
    estimate = jax.tree.map(
        lambda s, rate, average: jnp.where(s, rate, corrected(average)), state.switched, state.rate, state.estimate
    )
    return {"switched": state.switched, "estimate": estimate, "rate": state.rate, "switch_step": state.switch_step}
