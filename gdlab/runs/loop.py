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
| `Plan`, `Data` | the static and the traced part of what is run |
| `Stepper`, `stepper` | the parts of a step: init, evaluate, apply, validate |
| `Snapshot` | what can be recorded of a step, before it is taken |
| `RECORDERS` | what can be recorded by name |
| `Loop`, `Carry` | the step and the block; what a step hands to the next one |
| `recorders_of`, `reads_steps` | the recorders by name, checked; whether one may read the step |
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial, reduce
from typing import Any, Generic, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from gdlab.equation import Step
from gdlab.ground.checks import function, returned
from gdlab.ground.leaves import shown
from gdlab.numerics import Params, Tree, norm
from gdlab.optimizers.inspect import inspect
from gdlab.runs.data import Minibatches
from gdlab.runs.foreign import Program, taken
from gdlab.runs.gradients import conjugate, number, traced, value_and_gradient
from gdlab.runs.objective import Objective, Start
from gdlab.runs.typed import ArrayTree, RecorderWithState
from gdlab.sweeps.history import REASONS


@dataclass(frozen=True)
class Snapshot(Generic[Tree]):
    """What can be recorded of one step, before it is taken."""

    count: jax.Array  # steps taken before this one
    params: Tree  # the trained part of `model`
    loss: jax.Array
    grads: Tree  # the direction of steepest ascent, also for complex parameters
    state: ArrayTree  # the optimizer's
    value_fn: Callable[[Tree], jax.Array]  # the loss as a function of the parameters, on the data of this step
    optimizer: optax.GradientTransformation
    objective: Objective
    carried: tuple  # before this step
    aux: Any = None  # what the loss returned beside its value

    @property
    def model(self) -> Tree:
        """The model as the loss takes it: the params, where all of them are trained."""
        return self.objective.whole(self.params, self.carried)

    @property
    def model_state(self) -> Any:
        """The state of the model, where the loss takes one."""
        return self.carried[1]

    @cached_property
    def step(self) -> Step[Tree]:
        """What the optimizer makes of the gradient; of one of optax as `gdlab.inspect` reads it."""
        return self._read("step")[0]

    @cached_property
    def extras(self) -> dict[str, jax.Array]:
        """What else an optimizer of gdlab knows of the step, by name."""
        return self._read("extras")

    @property
    def extra_arguments(self) -> dict[str, Any]:
        """The extra arguments of an update, by name; its `grad` is what jax.grad returns."""
        # optax's line searches multiply it with the update without conjugating: theirs is jax's own convention.
        slope = jax.grad(self.value_fn)
        functions = {"value_fn": self.value_fn, "obj_fn": self.value_fn, "grad_fn": lambda params, *_: slope(params)}
        return {"value": self.loss, "grad": conjugate(self.grads), **functions}

    def _read(self, what):
        read = getattr(inspect(self.optimizer), what)
        return read(self.grads, self.state, self.params, **taken(self.optimizer.update, self.extra_arguments))


Recorder: TypeAlias = Callable[[Snapshot[Tree]], Any] | RecorderWithState


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
    "aux": lambda snapshot: _aux(snapshot.aux),
}


BLIND = [RECORDERS[name] for name in ("loss", "gradient_norm", "params", "aux")]  # these do not look at the step


def reads_steps(recorders: Sequence[tuple[str, Recorder]]) -> bool:
    """Whether a recorder may read the step, for which the optimizer must be what its author made."""
    return any(recorder not in BLIND for _, recorder in recorders)


def _aux(aux):
    if aux is None:
        msg = "record must not name aux but for a loss that returns (value, aux); this one returns its value alone"
        raise ValueError(msg)
    return aux


class LoopState(NamedTuple):
    """Where a run stands."""

    count: jax.Array  # type: ignore[assignment]  # steps taken: int32 scalar
    params: Params  # the trained part
    state: Any  # the optimizer's
    stream: Any  # that of the batches, where they are a stream
    carried: tuple = ((), None)  # arrays of the model that are not trained, and its state


class Watch(NamedTuple):
    """What decides about an early end."""

    best: jax.Array  # the lowest loss so far
    waited: jax.Array  # steps since it was seen: int32 scalar
    reason: jax.Array  # a place in `REASONS`, 0 while running: int32 scalar


class Best(NamedTuple):
    """The model at the lowest loss that was recorded, of held-out data where there are any."""

    loss: jax.Array
    params: Params
    carried: tuple


class Carry(NamedTuple):
    """What a step hands to the next one."""

    at: LoopState
    watch: Watch | None = None  # in a run that may stop early
    best: Best | None = None  # in a run that keeps its best
    recorders: Mapping[str, Any] | None = None  # the states of recorders that have one, by name


class Data(NamedTuple):
    """What the loss is computed on."""

    args: tuple = ()
    batches: Any = None
    key: Any = None
    held_out: Any = None  # what takes the place of the batch, or of args, in a validation
    bounds: tuple | None = None  # (lower, upper), pytrees like the trained part


class Plan(NamedTuple):
    """What is compiled in: the static part of a run."""

    objective: Objective
    static: Any = None  # an optimizer of another library, or its program
    recorders: tuple[tuple[str, Recorder], ...] = ()
    every: int = 1
    validation: Callable | bool = False  # of the model, or True for the loss on held-out data
    keeps_best: bool = False


class Stepper(NamedTuple):
    """The parts of every step of every run."""

    init: Callable[[Start], LoopState]
    evaluate: Callable[[LoopState, Any], tuple[Snapshot, LoopState]]  # given the batch, where batches are arrays
    apply: Callable[[LoopState, Snapshot], LoopState]
    validate: Callable[[Snapshot, Callable | bool], jax.Array]


def stepper(objective: Objective, optimizer: optax.GradientTransformation, data: Data) -> Stepper:
    """How to run an optimizer on a loss."""
    args, batches, key, held_out, bounds = data
    streamed = isinstance(batches, Minibatches)

    def keyed(count):
        return {} if key is None else {"key": jax.random.fold_in(key, count)}

    def projected(params):
        return params if bounds is None else jax.tree.map(jnp.clip, params, *bounds)

    def init(start):
        zero, stream = jnp.zeros([], jnp.int32), batches.init() if streamed else None
        params = projected(start.params)
        return LoopState(zero, params, optimizer.init(params), stream, start.carried)

    def evaluate(at, batch):
        if streamed:
            batch, stream = batches.next(at.stream)
            at = at._replace(stream=stream)
        given = (*(() if batches is None else (batch,)), *args)

        def both(params):
            return objective(params, at.carried, *given, **keyed(at.count))

        (value, (carried, aux)), grads = value_and_gradient(both, at.params, has_aux=True)
        value_fn = lambda params: both(params)[0]  # noqa: E731
        read = optimizer, objective, at.carried, aux
        return Snapshot(at.count, at.params, value, grads, at.state, value_fn, *read), at._replace(carried=carried)

    def apply(at, snapshot):
        extras = taken(optimizer.update, snapshot.extra_arguments)
        updates, state = optimizer.update(snapshot.grads, at.state, at.params, **extras)
        return at._replace(count=at.count + 1, params=projected(optax.apply_updates(at.params, updates)), state=state)

    def validate(snapshot, how):
        if how is True:
            given = held_out if batches is None else (held_out, *args)
            return objective(snapshot.params, snapshot.carried, *given, **keyed(snapshot.count))[0]
        given = (snapshot.model, snapshot.model_state) if objective.stateful else (snapshot.model,)
        return number(traced(how, "validation")(*given), "validation")

    return Stepper(init, evaluate, apply, validate)


class Loop(NamedTuple):
    """The steps of a run."""

    plan: Plan
    stepper: Stepper
    batches: Any  # arrays with one batch a step, or None
    first: Any = None  # the step of the first of these batches; None for 0
    limits: tuple | None = None  # tolerance, patience and least fall, in a run that may stop early
    given: tuple | None = None  # the optimizer and the data, where all that take a step share one trace of it

    def init(self, start: Start) -> Carry:
        """The carry before the first step."""
        return self.completed(Carry(self.stepper.init(start)))

    def completed(self, carry: Carry) -> Carry:
        """The carry with what this run watches and keeps."""
        at, watch, best, begun = carry
        watched, kept = self.limits is not None, self.plan.keeps_best
        if (watched and watch is None) or (kept and best is None):
            loss = jax.eval_shape(lambda at: self.evaluate(at)[0].loss, at)
            highest, none = jnp.full([], jnp.inf, loss.dtype), jnp.zeros([], jnp.int32)
            watch = Watch(highest, none, none) if watch is None else watch
            best = Best(highest, at.params, at.carried) if best is None else best
        recorders = {name: one.init(at.params) for name, one in self.plan.recorders if hasattr(one, "init")}
        for name, state in (begun or {}).items():  # of the run that goes on here, where it was of the same kind
            if name in recorders and jax.tree.map(jnp.shape, state) == jax.tree.map(jnp.shape, recorders[name]):
                recorders[name] = state
        return Carry(at, watch if watched else None, best if kept else None, recorders or None)

    def evaluate(self, at: LoopState) -> tuple[Snapshot, LoopState]:
        """The snapshot of the next step, on its batch: the last one where there are no more."""
        count = at.count if self.first is None else at.count - self.first
        batch = jax.tree.map(lambda leaf: leaf[jnp.minimum(count, len(leaf) - 1)], self.batches)
        return self.stepper.evaluate(at, batch)

    def step(self, carry: Carry, recorded: bool = False) -> tuple[Carry, dict[str, Any]]:
        """One step: the next carry, and what was recorded."""
        if self.given is not None:
            return _traced_once(self.plan, recorded, self.given, self.limits, self.first, carry)
        before, watch, best, states = carry
        snapshot, at = self.evaluate(before)
        row, states = self.record(snapshot, states) if recorded else ({}, states)
        value = snapshot.loss
        if self.plan.validation and recorded:
            value = row["validation"] = self.stepper.validate(snapshot, self.plan.validation).astype(value.dtype)
        elif self.plan.validation:
            value = jnp.full_like(value, jnp.inf)
        if best is not None and recorded:
            here = Best(value, before.params, before.carried)
            lower = value < best.loss
            best = jax.tree.map(lambda new, old: jnp.where(lower, new, old), here, best)
        if self.limits is None:
            after = self.stepper.apply(at, snapshot)
        else:
            watch = _judged(watch, snapshot, value, self.limits)
            after = jax.lax.cond(watch.reason == 0, lambda: self.stepper.apply(at, snapshot), lambda: before)
        return Carry(after, watch, best, states), row

    def record(self, snapshot: Snapshot, states: Mapping[str, Any] | None) -> tuple[dict[str, Any], Any]:
        """What is recorded of a step, and the states of the recorders behind it."""
        row, after = {}, {}
        for name, recorder in self.plan.objective.explained(self.plan.recorders):
            if states and name in states:
                value, after[name] = recorder(snapshot, states[name])
            else:
                value = recorder(snapshot)
            row[name] = returned(f"record[{name!r}]", value)
        return row, after or None

    def block(self, carry: Carry, length: ArrayLike) -> tuple[Carry, dict[str, Any]]:
        """One recorded step, and the `length` - 1 behind it that are not: the next carry, and what was recorded."""
        carry, row = self.step(carry, True)
        if self.plan.every == 1:  # a loop without iterations would still cost a check at every step
            return carry, row
        return self.unrecorded(carry, 1, length), row

    def unrecorded(self, carry: Carry, begin: int, end: ArrayLike) -> Carry:
        """The carry after the steps from `begin` to `end`, none of them recorded."""

        def rest(_, carry):
            if self.limits is None:
                return self.step(carry)[0]
            return jax.lax.cond(carry.watch.reason == 0, lambda: self.step(carry)[0], lambda: carry)

        return jax.lax.fori_loop(begin, end, rest, carry)


@partial(jax.jit, static_argnums=(0, 1), inline=True)
def _traced_once(plan, recorded, given, limits, first, carry):
    """A step, as equations of the program that it is part of: tracing it takes longer than compiling them."""
    optimizer, data = given
    return loop_of(plan, optimizer, data, limits, first).step(carry, recorded)


def _judged(watch, snapshot, value, limits):
    """The watch after the loss and the gradient of a step are known."""
    tolerance, patience, least_fall = limits
    better = value < watch.best - least_fall
    waited = jnp.where(better, 0, watch.waited + 1)
    reasons = {
        "plateau": waited >= patience,
        "small gradient": gradient_norm(snapshot) <= tolerance,
        "not finite": ~jnp.isfinite(snapshot.loss),
    }
    reason = watch.reason
    for name, holds in reasons.items():
        reason = jnp.where(holds, REASONS.index(name), reason).astype(jnp.int32)
    return Watch(jnp.where(better, value, watch.best), waited, reason)


def loop_of(
    plan: Plan, optimizer: Any, data: Data, limits: tuple | None = None, first: Any = None, *, once: bool = False
) -> Loop:
    """The loop of a run; `once`, where its step is traced once, whatever takes it."""
    given = (optimizer, data) if once else None
    batches = None if isinstance(data.batches, Minibatches) else data.batches
    static = plan.static
    if static is not None:
        optimizer = static.of(optimizer) if isinstance(static, Program) else static
    steps = stepper(plan.objective, optimizer, data)
    return Loop(plan=plan, stepper=steps, batches=batches, first=first, limits=limits, given=given)


def all_finite(params: Params) -> jax.Array:
    """Whether every number of a pytree is finite: bool scalar."""
    return reduce(jnp.logical_and, [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)] or [jnp.bool_(True)])


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
