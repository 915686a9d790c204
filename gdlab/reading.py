"""Reading eta, sigma and m out of the states of optax's own optimizers.

    theta  <-  theta  -  eta_t / sigma_t * m_t

optax keeps averages in its states and hyperparameters in closures, so that those which are not in the state (all but
under `optax.inject_hyperparams`) must be told again.  Our own optimizers need none of this: they have `.step`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from gdlab.pieces import Params, Step
from gdlab.rates import Rate, as_schedule


def inspect(
    state: Any,
    grads: Params | None = None,
    *,
    learning_rate: Rate | None = None,
    b1: ArrayLike = 0.9,
    b2: ArrayLike = 0.999,
    eps: ArrayLike | None = None,
    eps_root: ArrayLike = 0.0,
) -> Step:
    """The step that led to a state of `optax.adam`, `amsgrad`, `rmsprop`, `adagrad` or `sgd` with momentum.

    Args:
        state: after that step, alone or within `chain` and `inject_hyperparams`.
        grads: its gradients; adagrad and rmsprop without momentum do not keep them.
        learning_rate: a rate or a schedule, unless injected.
        b1, b2, eps, eps_root: those of the optimizer, unless injected; the default of eps is that of optax, which is
            under the root for rmsprop and adagrad.

    Returns:
        A `Step`, whose `update` is the one that was made; its count is -1 where the state keeps none.

    Raises:
        ValueError: for a state of another kind, or where the rate or the gradients are lacking.

    >>> optimizer = optax.sgd(0.5, momentum=0.9)
    >>> _, state = optimizer.update(jnp.array(2.0), optimizer.init(jnp.array(0.0)))
    >>> step = inspect(state, learning_rate=0.5)
    >>> float(step.m), float(step.update)
    (2.0, -1.0)
    """
    parts = list(_parts(state))
    hypers = {"learning_rate": learning_rate, "b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
    for part in parts:
        hypers |= getattr(part, "hyperparams", {})
    if hypers["learning_rate"] is None:
        msg = "learning_rate must be given: optax keeps it in the state only under inject_hyperparams; got None"
        raise ValueError(msg)
    counts = [part.count for part in parts if "count" in part._fields]
    count = jnp.asarray(counts[0] - 1 if counts else -1)
    eta = jnp.asarray(as_schedule(hypers["learning_rate"])(jnp.maximum(count, 0)))
    found = {type(part): part for part in parts}
    sigma, m = _sigma_and_m(found, grads, eta, hypers)
    return Step(count, eta, sigma, m)


def _parts(state):
    """All states within a state, from the outside in."""
    if hasattr(state, "_fields"):
        yield state
    if isinstance(state, tuple):
        for part in state:
            yield from _parts(part)


def _sigma_and_m(found, grads, eta, hypers):
    trace = found[optax.TraceState].trace if optax.TraceState in found else None
    eps = hypers["eps"]
    if optax.ScaleByAdamState in found or optax.ScaleByAmsgradState in found:
        part = found.get(optax.ScaleByAdamState) or found[optax.ScaleByAmsgradState]
        eps = 1e-8 if eps is None else eps
        nu = part.nu_max if hasattr(part, "nu_max") else _unbiased(part.nu, hypers["b2"], part.count)
        sigma = jax.tree.map(lambda nu: jnp.sqrt(nu + hypers["eps_root"]) + eps, nu)
        return sigma, _unbiased(part.mu, hypers["b1"], part.count)
    if optax.ScaleByRmsState in found:
        eps = 1e-8 if eps is None else eps
        sigma = jax.tree.map(lambda nu: jnp.sqrt(nu + eps), found[optax.ScaleByRmsState].nu)
        # Its momentum is one of moves, with the rate inside.
        m = _given(grads) if trace is None else jax.tree.map(lambda v, sigma: -v * sigma / eta, trace, sigma)
        return sigma, m
    if optax.ScaleByRssState in found:
        eps = 1e-7 if eps is None else eps
        total, g = found[optax.ScaleByRssState].sum_of_squares, _given(grads)
        still = jax.tree.map(lambda total: total == 0, total)
        sigma = jax.tree.map(lambda still, total: jnp.where(still, 1, jnp.sqrt(total + eps)), still, total)
        return sigma, jax.tree.map(lambda still, g: jnp.where(still, 0, g), still, g)
    if trace is not None:
        return jax.tree.map(lambda v: jnp.ones_like(v.real), trace), trace
    msg = "state must be one of optax's adam, amsgrad, rmsprop, adagrad or sgd with momentum; got "
    msg += ", ".join(sorted(kind.__name__ for kind in found)) or repr(found)
    raise ValueError(msg)


def _unbiased(average, decay, count):
    return jax.tree.map(lambda average: average / (1 - jnp.asarray(decay, average.dtype) ** count), average)


def _given(grads):
    if grads is None:
        msg = "grads must be given: the state of this optimizer does not keep them; got None"
        raise ValueError(msg)
    return grads
