"""A run: one optimizer on one loss, a single jitted loop, with a labelled history.

    for t in range(steps):   value, g = value_and_grad(loss)(theta);   theta <- theta + update(g)

Any optax-compatible optimizer runs, ours or not.  Parameters, data, keys and the hyperparameters of a gdlab optimizer
are arguments of the compiled loop: one trace serves all their values.  An optimizer of another library is compiled in.
What is recorded is paid for at the recorded steps only.

A run of a fixed length is a scan, differentiable in both directions.  One that may stop early is a while loop over
scans of `every` steps; it can be vmapped, but differentiated forward only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from gdlab.arguments import floating, function, hyperparameter, prng_key, shown, whole
from gdlab.numerics import norm
from gdlab.runs.data import Minibatches, fitting
from gdlab.runs.gradients import conjugate, value_and_gradient
from gdlab.base import Optimizer, Params, Step

Recorder = Callable[["Moment"], Any]

COUNTABLE = 2**31 - 1  # steps: counts are int32
REASONS = ("running", "steps", "small gradient", "plateau", "not finite")


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Run:
    """Where a run ended, how it got there and why it ended; unpacks into the first three."""

    params: Params  # after the last step
    state: Any  # the optimizer's, after the last step
    history: dict[str, Any]  # what was recorded: name -> array of shape (ceil(steps / every), ...)
    steps: jax.Array  # how many steps were taken: int32
    reason: jax.Array  # why it ended, a place in `REASONS`: int32

    def __iter__(self) -> Iterator[Any]:
        return iter((self.params, self.state, self.history))

    @property
    def why(self) -> str:
        """Why the run ended: "steps", "small gradient", "plateau" or "not finite".

        A small gradient is no minimum, nor is a plateau (S62): the Hessian tells which critical point it is.
        """
        return REASONS[int(self.reason)]


@dataclass(frozen=True)
class Moment:
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
    def told(self) -> dict[str, Any]:
        """What an update is told beside the gradient, by name; its `grad` is what jax.grad returns."""
        # optax's line searches multiply it with the update without conjugating: theirs is jax's own convention.
        return {"value": self.loss, "grad": conjugate(self.grads), "value_fn": self.value_fn}

    def _read(self, what):
        if not isinstance(self.optimizer, Optimizer):
            msg = "record must not name eta, sigma, m, update or extras but for an optimizer of gdlab, whose steps can "
            msg += f"be read; got {type(self.optimizer).__name__}"
            raise TypeError(msg)
        return getattr(self.optimizer, what)(self.grads, self.state, self.params, **self.told)


def gradient_norm(moment: Moment) -> jax.Array:
    """The Euclidean norm of the gradient."""
    return norm(moment.grads)


RECORDERS: dict[str, Recorder] = {
    "loss": lambda moment: moment.loss,
    "gradient_norm": gradient_norm,
    "params": lambda moment: moment.params,
    "eta": lambda moment: moment.step.eta,
    "sigma": lambda moment: moment.step.sigma,
    "m": lambda moment: moment.step.m,
    "update": lambda moment: moment.step.update,
    "extras": lambda moment: moment.extras,
}


def minimize(
    loss: Callable[..., jax.Array],
    optimizer: optax.GradientTransformation,
    params: Params,
    steps: int,
    *,
    args: Sequence[Any] = (),
    batches: Minibatches | Any = None,
    key: jax.Array | None = None,
    record: Sequence[str] | Mapping[str, Recorder] = ("loss",),
    every: int = 1,
    tolerance: ArrayLike | None = None,
    patience: ArrayLike | None = None,
) -> Run:
    """Run an optimizer on a loss for a number of steps (S3, S4).

    Args:
        loss: `loss(params, *args) -> scalar`; with `batches`, `loss(params, batch, *args)`; with `key`, it also takes
            a fresh `key=` each step.
        optimizer: any `optax.GradientTransformation`; `value=`, `grad=` and `value_fn=` are passed to those that
            take extra arguments.
        params: the start, any pytree of floating arrays; complex ones move as their real and imaginary parts would.
        steps: how many steps, at least 1.
        args: further arguments of the loss, the same at each step, such as data.
        batches: `gdlab.minibatches(...)`, or a pytree of arrays whose leading axis is the step, one batch for each.
        key: a PRNG key for a loss that draws random numbers; step t gets `fold_in(key, t)`.
        record: names among "loss", "gradient_norm", "params", "eta", "sigma", "m", "update", "extras", or a mapping
            from names to functions of a `Moment`, such as the curvature of `moment.value_fn` at `moment.params`.
        every: record before step 0, every, 2 every, ...; at least 1.
        tolerance: stop once the norm of the gradient is at most this, >= 0.
        patience: stop once the loss has not fallen below its lowest for so many steps, >= 1.

    Returns:
        `Run(params, state, history)`, which also has `steps` taken and `why` it ended; `history[name]` has shape
        (ceil(steps / every), ...).  With a tolerance or a patience the run also ends at a loss that is not finite, and
        the rows after its end are NaN, or 0 where they are whole numbers.

    Raises:
        TypeError: for parameters that are not floating arrays.
        ValueError: for steps or every below 1, an unknown name in `record`, a loss that is not scalar, or batches that
            are no arrays or not one a step.

    >>> import gdlab
    >>> run = minimize(lambda x: x * x, gdlab.gd(0.25), 4.0, steps=3)
    >>> float(run.params), run.history["loss"].tolist()
    (0.5, [16.0, 4.0, 1.0])
    """
    steps, every = whole("steps", steps, 1, COUNTABLE), whole("every", every)
    function("loss", loss, "loss(params, ...) -> scalar")
    recorders = tuple(recorders_of(record).items())
    traced, static = traced_or_static(optimizer)
    params = floating("params", params)
    data = data_of(args, batches, key, steps)
    limits = limits_of(tolerance, patience)
    if limits is None:
        return _run(loss, static, recorders, steps, every, traced, params, data)
    return _watched_run(loss, static, recorders, steps, every, traced, params, data, limits)


def recorders_of(record: Sequence[str] | Mapping[str, Recorder]) -> dict[str, Recorder]:
    """The recorders by name; ValueError for an unknown name."""
    if isinstance(record, Mapping):
        return {name: function("record", recorder, "of a gdlab.runs.minimize.Moment") for name, recorder in record.items()}
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
    """The optimizer as an argument of what is compiled, or, of another library, as a part of it: (traced, static)."""
    transformation(optimizer)
    numeric = not any(_foreign(leaf) for leaf in jax.tree.leaves(optimizer))
    return (optimizer, None) if numeric else (None, optimizer)


def _foreign(leaf):
    """Whether a leaf of an optimizer is no hyperparameter but a part of another library's closure."""
    return not isinstance(leaf, jax.Array | np.ndarray | np.number | float | int)


def data_of(
    args: Sequence[Any], batches: Any, key: jax.Array | None, steps: int, lanes: Sequence[str] = ()
) -> tuple[tuple, Any, jax.Array | None]:
    """What `walker` takes as its data, for so many steps; `lanes` names what has a leading axis of runs."""
    if not isinstance(args, Sequence) or isinstance(args, str):
        msg = f"args must be a tuple of further arguments of the loss; got {shown(args)}"
        raise TypeError(msg)
    if key is not None:
        prng_key("key", key, int("key" in lanes))
    return tuple(args), fitting(batches, steps, lanes="batches" in lanes), key


def transformation(optimizer: Any) -> None:
    """Raise TypeError for what has not both `init` and `update`."""
    if not (callable(getattr(optimizer, "init", None)) and callable(getattr(optimizer, "update", None))):
        msg = f"optimizer must be optax-compatible, such as gdlab.adam(1e-3); got {shown(optimizer)}"
        raise TypeError(msg)


class Walk(NamedTuple):
    """Where a run stands."""

    count: jax.Array  # type: ignore[assignment]  # steps taken: int32 scalar
    params: Params
    state: Any  # the optimizer's
    stream: Any  # that of the batches, where they are a stream


class Walker(NamedTuple):
    """The three parts of every step of every run."""

    start: Callable[[Params], Walk]
    look: Callable[[Walk, Any], tuple[Moment, Walk]]  # at the gradient, given the batch where batches are arrays
    move: Callable[[Walk, Moment], Walk]


def walker(loss: Callable, optimizer: optax.GradientTransformation, data: tuple) -> Walker:
    """How to run an optimizer on a loss with data = (args, batches, key)."""
    args, batches, key = data
    extended = optax.with_extra_args_support(optimizer)
    streamed = isinstance(batches, Minibatches)

    def start(params):
        return Walk(jnp.zeros([], jnp.int32), params, optimizer.init(params), batches.init() if streamed else None)

    def look(walk, batch):
        if streamed:
            batch, stream = batches.next(walk.stream)
            walk = walk._replace(stream=stream)
        batch = () if batches is None else (batch,)
        keyed = {} if key is None else {"key": jax.random.fold_in(key, walk.count)}

        def value_fn(params):
            return loss(params, *batch, *args, **keyed)

        value, grads = value_and_gradient(value_fn, walk.params)
        return Moment(walk.count, walk.params, value, grads, walk.state, value_fn, optimizer), walk

    def move(walk, moment):
        updates, state = extended.update(moment.grads, walk.state, walk.params, **moment.told)
        return walk._replace(count=walk.count + 1, params=optax.apply_updates(walk.params, updates), state=state)

    return Walker(start, look, move)


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _run(loss, static, recorders, steps, every, optimizer, params, data):
    start, look, move = walker(loss, optimizer if static is None else static, data)

    def step(walk, batch, recorders=()):
        moment, walk = look(walk, batch)
        return move(walk, moment), {name: recorder(moment) for name, recorder in recorders}

    def block(walk, batches, length):
        """One recorded step, and those behind it that are not."""
        first, rest = _cut(batches, 0), _cut(batches, slice(1, None))
        walk, recorded = step(walk, first, recorders)
        return jax.lax.scan(step, walk, rest, length=length - 1)[0], recorded

    scanned = None if isinstance(data[1], Minibatches) else data[1]
    if every == 1:
        end, history = jax.lax.scan(lambda walk, batch: step(walk, batch, recorders), start(params), scanned, steps)
    else:
        blocks, tail = divmod(steps, every)
        whole = jax.tree.map(lambda leaf: leaf[: blocks * every].reshape(blocks, every, *leaf.shape[1:]), scanned)
        end, history = jax.lax.scan(lambda walk, batches: block(walk, batches, every), start(params), whole, blocks)
        if tail:
            end, recorded = block(end, _cut(scanned, slice(blocks * every, steps)), tail)
            history = jax.tree.map(lambda rows, row: jnp.concatenate([rows, row[None]]), history, recorded)
    reason = jnp.where(all_finite(end.params), REASONS.index("steps"), REASONS.index("not finite")).astype(jnp.int32)
    return Run(end.params, end.state, history, end.count, reason)


def all_finite(params: Params) -> jax.Array:
    """Whether every number of a pytree is finite: bool scalar."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(params)] or [True]))


class Watch(NamedTuple):
    """What decides about an early end."""

    best: jax.Array  # the lowest loss so far
    waited: jax.Array  # steps since it was seen: int32 scalar
    reason: jax.Array  # a place in `REASONS`, 0 while running: int32 scalar


def watching(walker: Walker, batches: Any, steps: int, limits: tuple) -> Callable:
    """The step of a run that may stop early: (walk, watch), recorders -> (walk, watch), what was recorded."""
    tolerance, patience = limits

    def judge(watch, moment):
        better = moment.loss < watch.best
        waited = jnp.where(better, 0, watch.waited + 1)
        reasons = {
            "steps": moment.count >= steps,
            "plateau": waited >= patience,
            "small gradient": gradient_norm(moment) <= tolerance,
            "not finite": ~jnp.isfinite(moment.loss),
        }
        reason = watch.reason
        for name, holds in reasons.items():
            reason = jnp.where(holds, REASONS.index(name), reason).astype(jnp.int32)
        return Watch(jnp.where(better, moment.loss, watch.best), waited, reason)

    def step(ahead, recorders=()):
        walk, watch = ahead
        moment, fed = walker.look(walk, batch_at(batches, walk.count))
        watch = judge(watch, moment)
        walk = jax.lax.cond(watch.reason == 0, lambda: walker.move(fed, moment), lambda: walk)
        return (walk, watch), {name: recorder(moment) for name, recorder in recorders}

    return step


def batch_at(batches: Any, count: jax.Array) -> Any:
    """The batch of a step, of batches that are arrays; the last one where there are no more."""
    return jax.tree.map(lambda leaf: leaf[jnp.minimum(count, len(leaf) - 1)], batches)


def watched_start(walker: Walker, params: Params, batches: Any) -> tuple[Walk, Watch]:
    """Where a run that may stop early stands before its first step."""
    walk, none = walker.start(params), jnp.zeros([], jnp.int32)
    loss = jax.eval_shape(lambda walk: walker.look(walk, batch_at(batches, walk.count))[0].loss, walk)
    return walk, Watch(jnp.full([], jnp.inf, loss.dtype), none, none)


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _watched_run(loss, static, recorders, steps, every, optimizer, params, data, limits):
    parts = walker(loss, optimizer if static is None else static, data)
    batches = None if isinstance(data[1], Minibatches) else data[1]
    step = watching(parts, batches, steps, limits)

    def running(ahead):
        return ahead[1].reason == 0

    def block(carry):
        """One recorded step, and those behind it that are not."""
        ahead, row, history = carry
        ahead, recorded = step(ahead, recorders)
        history = jax.tree.map(lambda rows, new: rows.at[row].set(new), history, recorded)
        rest = lambda _, ahead: jax.lax.cond(running(ahead), lambda: step(ahead)[0], lambda: ahead)  # noqa: E731
        return jax.lax.fori_loop(1, every, rest, ahead), row + 1, history

    none, rows = jnp.zeros([], jnp.int32), -(-steps // every)
    ahead = watched_start(parts, params, batches)
    recorded = jax.eval_shape(lambda ahead: step(ahead, recorders)[1], ahead)
    carry = (ahead, none, jax.tree.map(lambda row: _empty(row, rows), recorded))
    carry = jax.lax.while_loop(lambda carry: running(carry[0]) & (carry[1] < rows), block, carry)
    (end, watch), _, history = carry
    reason = jnp.where(watch.reason == 0, REASONS.index("steps"), watch.reason).astype(jnp.int32)
    return Run(end.params, end.state, history, end.count, reason)


def _cut(batches, where):
    return jax.tree.map(lambda leaf: leaf[where], batches)


def _empty(row, rows):
    """A history in which nothing is recorded yet."""
    fill = jnp.nan if jnp.issubdtype(row.dtype, jnp.inexact) else 0
    return jnp.full((rows, *row.shape), fill, row.dtype)
