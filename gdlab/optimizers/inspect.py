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
| those in `WHOLE`, and our optimizers | all three: an optimizer around others, whose steps are read |
"""

import inspect as introspection
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from optax import MaskedNode

from gdlab.equation import Optimizer, Rule, Step
from gdlab.ground.leaves import shown
from gdlab.numerics import Params, like, one_where
from gdlab.operators import applied, by_leaf, is_operator
from gdlab.optimizers.optax_sigmas import SIGMAS, Part
from gdlab.pieces import piece, static

RATES = ("scale", "scale_by_schedule", "scale_by_polyak")
TOTAL = ("scale_by_sign", "scale_by_lion")  # what comes before them has no size behind them
ASIDE = (
    *("identity", "trace", "ema", "clip", "clip_by_global_norm", "clip_by_block_rms", "adaptive_grad_clip"),
    *("centralize", "zero_nans", "add_noise", "add_decayed_weights", "keep_params_nonnegative", "set_to_zero"),
    *("scale_by_trust_ratio", "scale_by_param_block_rms", "scale_by_param_block_norm", "scale_by_shape"),
    *("scale_by_optimistic_gradient", "normalize_by_update_norm", "normalize", *TOTAL),
)


def inspect(optimizer: Any) -> Optimizer:
    """One of optax's optimizers as one whose steps can be read, as ours can: with `.step`, and in `record=`.

    Of acprop, adabelief, adadelta, adafactor, adagrad, adam, adamax, adamw, adan, ademamix, adopt, amsgrad, fromage,
    lamb, lars, lion, muon, nadam, noisy_sgd, novograd, optimistic_gradient_descent, polyak_sgd, radam, rmsprop, sgd,
    sign_sgd, signum and yogi; alone, in a `chain` with clipping, weight decay and the like, under
    `inject_hyperparams`, `masked`, `partition`, `apply_if_finite` and `MultiSteps`.

    Its updates are those of the optimizer itself; its steps have a `Step.update` equal to these to rounding, and the
    count -1 where the state keeps none.  A step raises ValueError for an optimizer with a part that has no known eta
    or sigma, which it names.

    Args:
        optimizer: the optimizer, not its state.

    Raises:
        TypeError: for what is no optimizer.

    >>> import optax
    >>> optimizer = inspect(optax.sgd(0.5, momentum=0.9))
    >>> step, _ = optimizer.step(jnp.array(2.0), optimizer.init(jnp.array(0.0)))
    >>> float(step.m), float(step.update)
    (2.0, -1.0)
    """
    return optimizer if isinstance(optimizer, Optimizer) else Optimizer(Read(optimizer))


def _of_optax(name, optimizer):
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        msg = "optimizer must be one of optax, such as optax.adam(1e-3), since a state does not tell which it is of; "
        raise TypeError(msg + f"got {shown(optimizer)}")
    return optimizer


@piece
class Read(Rule):
    """The rule of `inspect`."""

    optimizer: Any = static(_of_optax)

    def init(self, params):
        return self.optimizer.init(params)

    def step(self, grads, state, params=None, **extra):
        return _read(self.optimizer.update, grads, state, params, extra)

    def update(self, grads, state, params=None, **extra):
        return _called(self.optimizer.update, grads, state, params, extra)


def _read(update, values, state, params, extra, needs_rate=True):
    """The step that an update makes, and the state after it."""
    parts, state = _made(update, values, state, params, extra)
    first = _first_rate(parts, needs_rate)
    whole = next((part for part in parts if part.step is not None), None)
    rates = [_factor(part, extra) for part in parts if part.name in RATES]
    if whole is not None:
        eta = whole.step.eta * jnp.prod(jnp.stack([jnp.ones([]), *(jnp.asarray(rate, float) for rate in rates)]))
        return whole.step._replace(eta=like(eta, whole.step.eta)).moving(parts[-1].given), state

    counts = [part.before.count for part in parts if "count" in getattr(part.before, "_fields", ())]
    eta = -jnp.prod(jnp.stack([jnp.asarray(rate, float) for rate in rates or [-1.0]]))
    measured = [part for part in parts if part.name in SIGMAS]
    aimed = parts[first].taken if first < len(parts) else parts[-1].given
    sigma = SIGMAS[measured[0].name](measured[0]) if measured else jax.tree.map(lambda u: jnp.ones_like(u.real), aimed)
    count = jnp.asarray(counts[0] if counts else -1)
    step = Step(count, eta, sigma, aimed)
    plain = not any(map(is_operator, jax.tree.leaves(sigma, is_leaf=is_operator)))
    if rates and plain and all(part.name in (*RATES, "identity") for part in parts[first:]):
        return step._replace(m=by_leaf(applied, sigma, aimed)), state
    return step.moving(parts[-1].given), state  # what comes after the rate may move where the rate is 0


def _called(update, values, state, params, extra):
    """What an update returns; it is given the extra arguments if it takes any."""
    takes_more = any(p.kind is p.VAR_KEYWORD for p in introspection.signature(update).parameters.values())
    return update(values, state, params, **(extra if takes_more else {}))


def _made(update: Callable, values: Params, state: Any, params: Any, extra: Mapping) -> tuple[list[Part], Any]:
    """The parts of a transformation, run one after another, and its state after them."""
    name, hypers = _named(update)
    if name == "chain":
        parts: list[Part] = []
        states: list[Any] = []
        for inner, before in zip(hypers["update_fns"], state, strict=True):
            more, after = _made(inner, values, before, params, extra)
            parts, states, values = parts + more, [*states, after], more[-1].given if more else values
        return parts, tuple(states)
    if name in ("inject_hyperparams", "inject_stateful_hyperparams"):
        _, after = update(values, state, params, **extra)
        inner = hypers["inner_factory"](**hypers["other_hps"], **after.hyperparams)
        return _made(inner.update, values, state.inner_state, params, extra)[0], after
    given, after = _called(update, values, state, params, extra)
    step = WHOLE[name](update, hypers, values, state, params, extra) if name in WHOLE else None
    return [Part(name=name, hypers=hypers, before=state, after=after, taken=values, given=given, step=step)], after


def _named(update):
    """The function of optax that made an update, and the values in its closure."""
    closure = introspection.getclosurevars(update).nonlocals if introspection.isfunction(update) else {}
    owner = getattr(update, "__self__", None)
    if isinstance(owner, Rule):
        return "a gdlab optimizer", {}
    if isinstance(owner, optax.MultiSteps):
        return "MultiSteps", {"owner": owner}
    name = getattr(update, "__qualname__", str(update))
    name = name.split(".")[0]
    if name == "with_extra_args_support":
        return _named(closure["tx"].update)
    if name == "masked":  # A part for some of the leaves is as good as one for all, if it is neither eta nor sigma.
        inner, _ = _named(closure["inner"].update)
        return (inner if inner in ASIDE else name), closure
    return name, closure


def _first_rate(parts, needs_rate):
    """The place of the learning rate; ValueError where the parts are not eta, sigma and what changes m."""
    names = [part.name for part in parts]
    first = next((i for i, name in enumerate(names) if name in (*RATES, *WHOLE)), len(names))
    strange = [name for name in names if name not in (*RATES, *ASIDE, *SIGMAS, *WHOLE)]
    strange += [name for name in names if name in SIGMAS or name in WHOLE][1:]
    strange += [f"{name} behind the rate" for name in names[first:] if name in SIGMAS or name in TOTAL]
    if strange or (first == len(names) and needs_rate):
        msg = f"optimizer must be made of a learning rate, at most one of {', '.join(SIGMAS)} before it, "
        msg += f"and any of {', '.join(ASIDE)}; got {strange[0] if strange else 'no rate'}"
        raise ValueError(msg)
    return first


def _factor(part, extra):
    if part.name == "scale":
        return part.hypers["step_size"]
    if part.name == "scale_by_polyak":  # one factor for all leaves, which what it was given and what it made have
        taken, given = (sum(map(_dot, *map(jax.tree.leaves, pair))) for pair in _pairs(part))
        return jnp.where(taken == 0, 0, given / one_where(taken == 0, taken))
    return part.hypers["step_size_fn"](part.before.count)


def _pairs(part):
    return (part.taken, part.taken), (part.taken, part.given)


def _dot(a, b):
    return jnp.sum(jnp.real(a.conj() * b))


# ------------------------------------------------------------------------------- optimizers around others


def _ours(update, hypers, values, state, params, extra):
    return update.__self__.step(values, state, params, **extra)[0]


def _guarded(update, hypers, values, state, params, extra):
    return _read(hypers["inner"].update, values, state.inner_state, params, extra)[0]


def _accumulated(update, hypers, values, state, params, extra):
    """The step of the mean of the gradients so far, which is made at the last of them."""
    owner = hypers["owner"]
    mean = jax.tree.map(lambda g, sum: owner._acc_update(g, sum, n_acc=state.mini_step), values, state.acc_grads)
    mean = jax.tree.map(lambda mean, g: mean.astype(g.dtype), mean, values)
    return _read(owner._opt.update, mean, state.inner_opt_state, params, extra)[0]


def _masked(update, hypers, values, state, params, extra):
    mask = hypers["mask"](values) if callable(hypers["mask"]) else hypers["mask"]
    step = _some(hypers["inner"].update, mask, values, state.inner_state, params, extra)
    rest = _hidden(jax.tree.map(lambda shown: not shown, mask), values)
    plain = Step(step.count, jnp.ones_like(step.eta), jax.tree.map(lambda g: jnp.ones_like(g.real), rest), rest)
    return _joined([step, plain])


def _partitioned(update, hypers, values, state, params, extra):
    labels = hypers["param_labels"]
    labels = labels(values) if callable(labels) else labels
    steps = []
    for group, inner in hypers["transforms"].items():
        mask = jax.tree.map(lambda label, group=group: label == group, labels)
        if any(jax.tree.leaves(mask)):
            before = state.inner_states[group].inner_state
            steps.append(_some(inner.update, mask, values, before, params, extra))
    return _joined(steps)


def _some(update, mask, values, state, params, extra):
    """The step of the leaves that a mask, which may be that of whole branches, shows."""
    params = None if params is None else _hidden(mask, params)
    return _read(update, _hidden(mask, values), state, params, extra, needs_rate=False)[0]


def _hidden(mask, tree):
    return jax.tree.map(lambda shown, part: part if shown else jax.tree.map(lambda _: MaskedNode(), part), mask, tree)


def _joined(steps):
    """One step of several, each for other leaves: the rate is that of the first, the others' ratios to it go into m."""
    first = steps[0]
    eta = one_where(first.eta == 0, first.eta)
    ms = [jax.tree.map(lambda m, step=step: m * like(step.eta / eta, m), step.m) for step in steps]

    def leaf(one):
        return isinstance(one, MaskedNode) or is_operator(one)

    def join(*trees):
        return jax.tree.map(lambda *some: next(x for x in some if not isinstance(x, MaskedNode)), *trees, is_leaf=leaf)

    return Step(first.count, eta, join(*(step.sigma for step in steps)), join(*ms))


WHOLE: dict[str, Callable[..., Step]] = {
    "a gdlab optimizer": _ours,
    "MultiSteps": _accumulated,
    "apply_if_finite": _guarded,
    "masked": _masked,
    "partition": _partitioned,
}
