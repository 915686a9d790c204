"""Reading eta, sigma and m out of optax's own optimizers.

    theta  <-  theta  -  eta_t / sigma_t * m_t

A state alone does not identify its optimizer: Adam, Nadam, RAdam, Yogi and Adamax share one.  So the optimizer's own
update is run, transformation by transformation; the hyperparameters in optax's closures give eta and sigma, and m is
then solved from update = -eta / sigma * m.  A transformation that is not in the lists below is refused by its name.

| parts of optax | what they stand for |
|---|---|
| those in `SIGMAS`, such as `scale_by_adam` | sigma, which is 1 where there is none of them |
| those in `RATES` | eta |
| those in `ASIDE` | neither: they change m |
"""

import inspect as introspection
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gdlab.arguments import shown
from gdlab.base import Optimizer, Params, Rule, Step
from gdlab.numerics import likes

RATES = ("scale", "scale_by_schedule")
TOTAL = ("scale_by_sign", "scale_by_lion")  # what comes before them has no size behind them
ASIDE = (
    *("identity", "trace", "ema", "clip", "clip_by_global_norm", "clip_by_block_rms", "adaptive_grad_clip"),
    *("centralize", "zero_nans", "add_noise", "add_decayed_weights", "keep_params_nonnegative", *TOTAL),
)


def inspect(optimizer: Any, grads: Params, state: Any, params: Params | None = None, **extra: Any) -> tuple[Step, Any]:
    """The step that one of optax's optimizers makes of a gradient, and its state after it; ours have `.step`.

    Of adabelief, adagrad, adam, adamax, adamw, adan, amsgrad, lion, nadam, noisy_sgd, radam, rmsprop, sgd, sign_sgd,
    signum and yogi; alone, in a `chain` with clipping, weight decay and the like, or under `inject_hyperparams`.

    Args:
        optimizer: the optimizer, not its state.
        grads: the gradient.
        state: before the step.
        params: for those that need them, such as adamw.
        **extra: what else its update takes.

    Returns:
        A `Step`, whose `update` is the one that `optimizer.update` makes, and the state after it; the count is -1 where
        the state keeps none.

    Raises:
        TypeError: for what is no optimizer.
        ValueError: for an optimizer with a part that has no known eta or sigma; it is named.

    >>> import optax
    >>> optimizer = optax.sgd(0.5, momentum=0.9)
    >>> step, _ = inspect(optimizer, jnp.array(2.0), optimizer.init(jnp.array(0.0)))
    >>> float(step.m), float(step.update)
    (2.0, -1.0)
    """
    if isinstance(optimizer, Optimizer):
        return optimizer.step(grads, state, params, **extra)
    if not callable(getattr(optimizer, "update", None)):
        msg = "optimizer must be one of optax, such as optax.adam(1e-3), since a state does not tell which it is of; "
        raise TypeError(msg + f"got {shown(optimizer)}")
    parts, state = _made(optimizer.update, grads, state, params, extra)
    first = _first_rate(parts)
    counts = [part.before.count for part in parts if "count" in getattr(part.before, "_fields", ())]
    eta = -jnp.prod(jnp.stack([jnp.asarray(_factor(part), float) for part in parts if part.name in RATES]))
    measured = [part for part in parts if part.name in SIGMAS]
    aimed = parts[first].taken
    sigma = SIGMAS[measured[0].name](measured[0]) if measured else jax.tree.map(lambda u: jnp.ones_like(u.real), aimed)
    if all(part.name in (*RATES, "identity") for part in parts[first:]):
        m = jax.tree.map(jnp.multiply, sigma, aimed)
    else:  # Transformations after the rate may move the parameters where the rate is 0.
        eta = jnp.where(eta == 0, 1, eta)
        of = likes(-eta)
        m = jax.tree.map(lambda sigma, u: u * sigma / of(sigma), sigma, parts[-1].given)
    return Step(jnp.asarray(counts[0] if counts else -1), eta, sigma, m), state


class _Part(NamedTuple):
    """One transformation of a chain, and what it has done."""

    name: str  # of the function of optax that makes it
    hypers: Mapping[str, Any]
    before: Any  # its state
    after: Any
    taken: Params
    given: Params


def _made(update: Callable, values: Params, state: Any, params: Any, extra: Mapping) -> tuple[list[_Part], Any]:
    """The parts of a transformation, run one after another, and its state after them."""
    name, hypers = _named(update)
    if name == "chain":
        parts: list[_Part] = []
        states: list[Any] = []
        for inner, before in zip(hypers["update_fns"], state, strict=True):
            more, after = _made(inner, values, before, params, extra)
            parts, states, values = parts + more, [*states, after], more[-1].given if more else values
        return parts, tuple(states)
    if name in ("inject_hyperparams", "inject_stateful_hyperparams"):
        _, after = update(values, state, params, **extra)
        inner = hypers["inner_factory"](**hypers["other_hps"], **after.hyperparams)
        return _made(inner.update, values, state.inner_state, params, extra)[0], after
    takes_more = any(p.kind is p.VAR_KEYWORD for p in introspection.signature(update).parameters.values())
    given, after = update(values, state, params, **(extra if takes_more else {}))
    return [_Part(name, hypers, state, after, values, given)], after


def _named(update):
    """The function of optax that made an update, and the values in its closure."""
    closure = introspection.getclosurevars(update).nonlocals if introspection.isfunction(update) else {}
    if isinstance(getattr(update, "__self__", None), Rule):
        return "a gdlab optimizer", {}
    name = getattr(update, "__qualname__", str(update))
    name = name.split(".")[0]
    if name == "with_extra_args_support":
        return _named(closure["tx"].update)
    if name == "masked":  # A part for some of the leaves is as good as one for all, if it is neither eta nor sigma.
        inner, _ = _named(closure["inner"].update)
        return (inner if inner in ASIDE else f"masked({inner})"), closure
    return name, closure


def _first_rate(parts):
    """The place of the learning rate; ValueError where the parts are not eta, sigma and what changes m."""
    names = [part.name for part in parts]
    first = next((i for i, name in enumerate(names) if name in RATES), len(names))
    strange = [name for name in names if name not in (*RATES, *ASIDE, *SIGMAS)]
    strange += [name for name in names if name in SIGMAS][1:]
    strange += [f"{name} behind the rate" for name in names[first:] if name in SIGMAS or name in TOTAL]
    if strange or first == len(names):
        msg = f"optimizer must be made of a learning rate, at most one of {', '.join(SIGMAS)} before it, "
        msg += f"and any of {', '.join(ASIDE)}; got {strange[0] if strange else 'no rate'}"
        raise ValueError(msg)
    return first


def _factor(part):
    if part.name == "scale":
        return part.hypers["step_size"]
    return part.hypers["step_size_fn"](part.before.count)


# ------------------------------------------------------------------------------------------ sigma, part by part


def _unbiased(average, decay, count):
    return jax.tree.map(lambda average: average / (1 - jnp.asarray(decay, average.dtype) ** count), average)


def _rooted(nu, eps, eps_root=0.0):
    return jax.tree.map(lambda nu: jnp.sqrt(nu + eps_root) + eps, nu)


def _adam(part):
    nu = _unbiased(part.after.nu, part.hypers["b2"], part.after.count)
    # AdaBelief has its eps_root in nu already.
    return _rooted(nu, part.hypers["eps"], 0 if part.name == "scale_by_belief" else part.hypers["eps_root"])


def _amsgrad(part):
    return _rooted(part.after.nu_max, part.hypers["eps"], part.hypers["eps_root"])


def _adamax(part):
    return part.after.nu


def _adan(part):
    squares = _unbiased(part.after.n, part.hypers["b3"], part.after.t)
    return _rooted(squares, part.hypers["eps"], part.hypers["eps_root"])


def _radam(part):
    """Adam's sigma over r_t; 1 while there is no r_t."""
    decay, largest, t = part.hypers["b2"], part.hypers["ro_inf"], part.after.count
    length = largest - 2 * t * decay**t / (1 - decay**t)
    there = length >= part.hypers["threshold"]
    square = (length - 4) * (length - 2) * largest / ((largest - 4) * (largest - 2) * length)
    r = jnp.sqrt(jnp.where(there, square, 1))
    inner = introspection.getclosurevars(part.hypers["_radam_update"]).nonlocals
    sigma = _rooted(_unbiased(part.after.nu, decay, t), inner["eps"], inner["eps_root"])
    return jax.tree.map(lambda sigma: jnp.where(there, sigma / r.astype(sigma.dtype), 1), sigma)


def _rms(part):
    hypers, state = part.hypers, part.after
    nu, mu = state.nu, getattr(state, "mu", None)
    if hypers["bias_correction"]:
        nu, mu = (_unbiased(average, hypers["decay"], state.count) for average in (nu, mu))
    if mu is not None:
        nu = jax.tree.map(lambda nu, mu: nu - (mu * mu.conj()).real, nu, mu)
    return _rooted(nu, *((0, hypers["eps"]) if hypers["eps_in_sqrt"] else (hypers["eps"], 0)))


def _rss(part):
    """The root of the sum, and 1 where it is 0: optax makes no step there."""

    def root(total):
        return jnp.where(total > 0, jnp.sqrt(jnp.where(total > 0, total + part.hypers["eps"], 1)), 1)

    return jax.tree.map(root, part.after.sum_of_squares)


SIGMAS: dict[str, Callable[[_Part], Params]] = {
    "scale_by_adam": _adam,
    "scale_by_adamax": _adamax,
    "scale_by_adan": _adan,
    "scale_by_amsgrad": _amsgrad,
    "scale_by_belief": _adam,
    "scale_by_radam": _radam,
    "scale_by_rms": _rms,
    "scale_by_rss": _rss,
    "scale_by_stddev": _rms,
    "scale_by_yogi": _adam,
}
