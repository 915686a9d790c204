"""The loop of every run: evaluate, record, judge, apply.

    snapshot   <-  evaluate(theta)         the loss and its gradient, on the data of this step
    row        <-  record(snapshot)        at every `every`-th step
    reason     <-  judge(snapshot)         only in a run that may stop early
    theta      <-  apply(theta, snapshot)  what the optimizer makes of it

`Loop.step` is these four lines, and `Loop.block` is one recorded step and those behind it that are not.  The runs
differ in what repeats the blocks: `minimize` scans them, or loops while no reason to stop is found; `long_run` drives
chunks of them from the host; `tune` differentiates through segments of steps.

| name | what it is |
|---|---|
| `LoopState` | where a run stands |
| `Stepper`, `stepper` | the parts of a step: init, evaluate, apply |
| `Snapshot` | what can be recorded of a step, before it is taken |
| `RECORDERS`, `REASONS` | what can be recorded by name; why a run ends |
| `Loop`, `Watch` | the step and the block; what decides about an early end |
| `recorders_of`, `limits_of`, `data_of`, `traced_or_static` | the arguments of a run, checked |
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from gdlab.arguments import function, hyperparameter, prng_key, shown
from gdlab.base import Optimizer, Params, Step
from gdlab.numerics import norm
from gdlab.runs.data import Minibatches, fitting
from gdlab.runs.gradients import conjugate, value_and_gradient

Recorder = Callable[["Snapshot"], Any]

REASONS = ("running", "steps", "small gradient", "plateau", "not finite")


@dataclass(frozen=True)
class Snapshot:
    """What can be recorded of one step, before it is taken."""

    count: jax.Array  # steps taken before this one
    params: Params
    loss: jax.Array
    grads: Params  # the direction of steepest ascent, also for complex parameters
    state: Any  # the optimizer's
    value_fn: Callable[[Params], jax.Array]  # the loss as a function of the parameters, on the data of this step
    optimizer: optax.GradientTransformation

    @cached_property
    def step(self) -> Step:
        """What an optimizer of gdlab makes of the gradient."""
        return self._read("step")[0]

    @cached_property
    def extras(self) -> dict[str, jax.Array]:
        """What else an optimizer of gdlab knows of the step, by name."""
        return self._read("extras")

    @property
    def extra_arguments(self) -> dict[str, Any]:
        """The extra arguments of an update, by name; its `grad` is what jax.grad returns."""
        # optax's line searches multiply it with the update without conjugating: theirs is jax's own convention.
        return {"value": self.loss, "grad": conjugate(self.grads), "value_fn": self.value_fn}

    def _read(self, what):
        if not isinstance(self.optimizer, Optimizer):
            msg = "record must not name eta, sigma, m, update or extras but for an optimizer of gdlab, whose steps can "
            msg += f"be read; got {type(self.optimizer).__name__}"
            raise TypeError(msg)
        return getattr(self.optimizer, what)(self.grads, self.state, self.params, **self.extra_arguments)


def gradient_norm(snapshot: Snapshot) -> jax.Array:
    """The Euclidean norm of the gradient."""
    return norm(snapshot.grads)


RECORDERS: dict[str, Recorder] = {
    "loss": lambda snapshot: snapshot.loss,
    "gradient_norm": gradient_norm,
    "params": lambda snapshot: snapshot.params,
    "eta": lambda snapshot: snapshot.step.eta,
    "sigma": lambda snapshot: snapshot.step.sigma,
    "m": lambda snapshot: snapshot.step.m,
    "update": lambda snapshot: snapshot.step.update,
    "extras": lambda snapshot: snapshot.extras,
}


class LoopState(NamedTuple):
    """Where a run stands."""

    count: jax.Array  # type: ignore[assignment]  # steps taken: int32 scalar
    params: Params
    state: Any  # the optimizer's
    stream: Any  # that of the batches, where they are a stream


class Stepper(NamedTuple):
    """The parts of every step of every run."""

    init: Callable[[Params], LoopState]
    evaluate: Callable[[LoopState, Any], tuple[Snapshot, LoopState]]  # given the batch, where batches are arrays
    apply: Callable[[LoopState, Snapshot], LoopState]


def stepper(loss: Callable, optimizer: optax.GradientTransformation, data: tuple) -> Stepper:
    """How to run an optimizer on a loss with data = (args, batches, key)."""
    args, batches, key = data
    extended = optax.with_extra_args_support(optimizer)
    streamed = isinstance(batches, Minibatches)

    def init(params):
        zero, stream = jnp.zeros([], jnp.int32), batches.init() if streamed else None
        return LoopState(zero, params, optimizer.init(params), stream)

    def evaluate(at, batch):
        if streamed:
            batch, stream = batches.next(at.stream)
            at = at._replace(stream=stream)
        batch = () if batches is None else (batch,)
        keyed = {} if key is None else {"key": jax.random.fold_in(key, at.count)}

        def value_fn(params):
            return loss(params, *batch, *args, **keyed)

        value, grads = value_and_gradient(value_fn, at.params)
        return Snapshot(at.count, at.params, value, grads, at.state, value_fn, optimizer), at

    def apply(at, snapshot):
        updates, state = extended.update(snapshot.grads, at.state, at.params, **snapshot.extra_arguments)
        return at._replace(count=at.count + 1, params=optax.apply_updates(at.params, updates), state=state)

    return Stepper(init, evaluate, apply)


class Watch(NamedTuple):
    """What decides about an early end."""

    best: jax.Array  # the lowest loss so far
    waited: jax.Array  # steps since it was seen: int32 scalar
    reason: jax.Array  # a place in `REASONS`, 0 while running: int32 scalar


class Loop(NamedTuple):
    """The steps of a run; it carries (LoopState, Watch), the second None in a run that may not stop early."""

    stepper: Stepper
    batches: Any  # arrays with one batch a step, or None
    recorders: tuple[tuple[str, Recorder], ...] = ()
    every: int = 1
    limits: tuple | None = None  # of steps, tolerance and patience, in a run that may stop early

    def init(self, params: Params) -> tuple[LoopState, Any]:
        """The carry before the first step."""
        at = self.stepper.init(params)
        if self.limits is None:
            return at, None
        loss = jax.eval_shape(lambda at: self.evaluate(at)[0].loss, at)
        none = jnp.zeros([], jnp.int32)
        return at, Watch(jnp.full([], jnp.inf, loss.dtype), none, none)

    def evaluate(self, at: LoopState) -> tuple[Snapshot, LoopState]:
        """The snapshot of the next step, on its batch: the last one where there are no more."""
        batch = jax.tree.map(lambda leaf: leaf[jnp.minimum(at.count, len(leaf) - 1)], self.batches)
        return self.stepper.evaluate(at, batch)

    def step(self, carry: tuple, recorders: tuple = ()) -> tuple[tuple, dict[str, Any]]:
        """One step: the next carry, and what was recorded."""
        before, watch = carry
        snapshot, at = self.evaluate(before)
        if self.limits is None:
            after = self.stepper.apply(at, snapshot)
        else:
            watch = _judged(watch, snapshot, self.limits)
            after = jax.lax.cond(watch.reason == 0, lambda: self.stepper.apply(at, snapshot), lambda: before)
        return (after, watch), {name: recorder(snapshot) for name, recorder in recorders}

    def block(self, carry: tuple, length: ArrayLike) -> tuple[tuple, dict[str, Any]]:
        """One recorded step, and the `length` - 1 behind it that are not: the next carry, and what was recorded."""
        carry, row = self.step(carry, self.recorders)
        if self.every == 1:  # a loop without iterations would still cost a check at every step
            return carry, row

        def rest(_, carry):
            if self.limits is None:
                return self.step(carry)[0]
            return jax.lax.cond(carry[1].reason == 0, lambda: self.step(carry)[0], lambda: carry)

        return jax.lax.fori_loop(1, length, rest, carry), row


def _judged(watch, snapshot, limits):
    """The watch after the loss and the gradient of a step are known."""
    steps, tolerance, patience = limits
    better = snapshot.loss < watch.best
    waited = jnp.where(better, 0, watch.waited + 1)
    reasons = {
        "steps": snapshot.count >= steps,
        "plateau": waited >= patience,
        "small gradient": gradient_norm(snapshot) <= tolerance,
        "not finite": ~jnp.isfinite(snapshot.loss),
    }
    reason = watch.reason
    for name, holds in reasons.items():
        reason = jnp.where(holds, REASONS.index(name), reason).astype(jnp.int32)
    return Watch(jnp.where(better, snapshot.loss, watch.best), waited, reason)


def loop_of(
    loss: Callable,
    optimizer: optax.GradientTransformation,
    data: tuple,
    recorders: tuple = (),
    every: int = 1,
    limits: tuple | None = None,
) -> Loop:
    """The loop of a run on data = (args, batches, key)."""
    batches = None if isinstance(data[1], Minibatches) else data[1]
    return Loop(stepper(loss, optimizer, data), batches, recorders, every, limits)


def all_finite(params: Params) -> jax.Array:
    """Whether every number of a pytree is finite: bool scalar."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)] or [True]))


def recorders_of(record: Sequence[str] | Mapping[str, Recorder]) -> dict[str, Recorder]:
    """The recorders by name; ValueError for an unknown name."""
    if isinstance(record, Mapping):
        return {
            name: function("record", recorder, "of a gdlab.runs.loop.Snapshot") for name, recorder in record.items()
        }
    names = (record,) if not isinstance(record, Sequence) or isinstance(record, str) else tuple(record)
    for name in names:
        if not isinstance(name, str) or name not in RECORDERS:
            msg = f"record must name some of {', '.join(RECORDERS)}, or map names to functions; got {shown(name)}"
            raise ValueError(msg)
    return {name: RECORDERS[name] for name in names}


def limits_of(tolerance: ArrayLike | None, patience: ArrayLike | None) -> tuple | None:
    """The tolerance and the patience of a run that may stop early; None for one that may not."""
    if tolerance is None and patience is None:
        return None
    return (
        -1.0 if tolerance is None else hyperparameter("tolerance", tolerance, 0),
        jnp.inf if patience is None else hyperparameter("patience", patience, 1),
    )


def traced_or_static(optimizer: Any) -> tuple[Any, Any]:
    """(traced, static): the optimizer as an argument of the compiled program or, from another library, a part of it."""
    transformation(optimizer)
    numeric = not any(_foreign(leaf) for leaf in jax.tree.leaves(optimizer))
    return (optimizer, None) if numeric else (None, optimizer)


def _foreign(leaf):
    """Whether a leaf of an optimizer is not a number, but a function of another library."""
    return not isinstance(leaf, jax.Array | np.ndarray | np.number | float | int)


def data_of(
    args: Sequence[Any], batches: Any, key: jax.Array | None, steps: int, batched: Sequence[str] = ()
) -> tuple[tuple, Any, jax.Array | None]:
    """The data of `stepper`, checked for `steps` steps; `batched` names the arguments with a leading axis of runs."""
    if not isinstance(args, Sequence) or isinstance(args, str):
        msg = f"args must be a tuple of further arguments of the loss; got {shown(args)}"
        raise TypeError(msg)
    if key is not None:
        prng_key("key", key, int("key" in batched))
    return tuple(args), fitting(batches, steps, lanes="batches" in batched), key


def transformation(optimizer: Any) -> None:
    """Raise TypeError for what lacks `init` or `update`."""
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        msg = f"optimizer must be optax-compatible, such as gdlab.adam(1e-3); got {shown(optimizer)}"
        raise TypeError(msg)
