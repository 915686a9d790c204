"""A run: one optimizer on one loss, one compiled loop, with a named history.

    for t in range(steps):   value, g = value_and_grad(loss)(theta);   theta <- theta + update(g)

Any optax-compatible optimizer works.  Parameters, data, keys and the hyperparameters of a gdlab optimizer
are arguments of the compiled loop: one trace serves all their values.  An optimizer of another library is compiled in.
Recorders cost time at the recorded steps only.

Within a transformation (`jit`, `vmap`, `grad`) a run of fixed length is a scan: differentiable in forward and reverse
mode.  Outside of them it is a loop whose number of turns is an argument, so that a run in pieces, even of one step, is
compiled to the same steps as one run, and equals it to the bit.  A run that may stop early is a while loop over blocks
of `every` steps: it can be vmapped, but differentiated in forward mode only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from gdlab.ground.boxes import sides
from gdlab.ground.checks import one_of, switch, whole
from gdlab.ground.compilers import is_alone
from gdlab.ground.results import digits, result, sizes
from gdlab.numerics import Tree
from gdlab.runs.data import Minibatches
from gdlab.runs.effort import fitting
from gdlab.runs.given import countable, data_of, limits_of, traced_or_static, transformation, validation_of
from gdlab.runs.identity import kept_by
from gdlab.runs.loop import (
    Best,
    Carry,
    Plan,
    Recorder,
    Watch,
    all_finite,
    loop_of,
    reads_steps,
    recorders_of,
)
from gdlab.runs.objective import begun
from gdlab.runs.resumed import alike, carry_of, resumable
from gdlab.runs.typed import ArrayTree, History, Loss, ModelState, Unpacked
from gdlab.sweeps.history import REASONS, dataset_of

if TYPE_CHECKING:
    import xarray


class Rest(NamedTuple):
    """What else a run needs to go on."""

    stream: Any = None  # of the batches
    watch: Watch | None = None
    best: Best | None = None  # its params as the loss takes them
    recorders: Mapping[str, Any] | None = None  # the states of those that have one


NOTHING_ELSE = Rest()


@result
@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Run(Unpacked[Tree, ModelState]):
    """Where a run ended, how it got there and why it ended; unpacks into the first three."""

    params: Tree  # after the last step
    state: ArrayTree  # the optimizer's, after the last step
    history: "History[Tree]"  # what was recorded: name -> array of shape (ceil(steps / every), ...)
    steps: jax.Array  # how many steps were taken: int32
    reason: jax.Array  # why it ended, a place in `REASONS`: int32
    model_state: ModelState = None  # type: ignore[assignment]  # that of the model after the last step, where the loss takes one
    rest: Rest = NOTHING_ELSE  # what else `minimize(..., state=run)` goes on from
    begun: jax.Array | int = 0  # how many steps were taken before it, by the run that it went on from: int32
    every: int = field(default=1, metadata={"static": True})  # how many steps apart the rows of its history are
    ends: jax.Array | None = None  # the first and the last loss, where a store holds the history

    def __iter__(self) -> Iterator[Any]:
        return iter((self.params, self.state, self.history))

    @property
    def why(self) -> str:
        """Why the run ended: "steps", "small gradient", "plateau" or "not finite"; of many runs an array of them.

        A small gradient is no minimum, nor is a plateau (S62): the Hessian tells which critical point it is.
        """
        words: Any = np.array(REASONS)[np.asarray(self.reason)]
        return words if np.ndim(words) else str(words)

    @property
    def step(self) -> jax.Array:
        """The steps taken before each row of the history, shape (rows,); of runs side by side those of the first."""
        first = -(-jnp.ravel(jnp.asarray(self.begun))[0] // self.every) * self.every
        return first + self.every * jnp.arange(self._rows)

    @property
    def _rows(self) -> int:
        """The rows of the history: its first axis, or the one behind that of a `vmap`."""
        leaves = jax.tree.leaves(self.history)
        return jnp.shape(leaves[0])[jnp.ndim(self.begun)] if leaves else 0

    def to_dataset(self) -> "xarray.Dataset":
        """The history as an `xarray.Dataset` over step, which has a coordinate, and run where there are many.

        Runs along several axes, as of a `vmap` within another, have "run_0", "run_1" and so on in place of "run".

        A pytree that was recorded is a variable for each of its arrays, named by its path, such as "params.w".  Needs
        xarray.
        """
        count, outer = jnp.ndim(self.steps), jnp.ndim(self.begun)
        runs = ["run"] if count == 1 else [f"run_{i}" for i in range(count)]
        lead = (*runs[:outer], "step", *runs[outer:])
        about = {"steps": np.ravel(self.steps).tolist(), "why": [REASONS[int(code)] for code in np.ravel(self.reason)]}
        return dataset_of(self.history, lead, np.asarray(self.step), about)

    def _words(self) -> str:
        many = f"{jnp.size(self.steps)} runs of " if jnp.ndim(self.steps) else ""
        ends = ", ".join(sorted({REASONS[int(code)] for code in np.ravel(self.reason)}))
        words = f"{many}{sizes(self.params, jnp.ndim(self.steps))}, {digits(self.steps)} steps, ended by {ends}"
        losses = np.asarray(self.history.get("loss", np.zeros((0, 0)) if self.ends is None else self.ends))
        rows = np.moveaxis(losses, jnp.ndim(self.begun), 0)
        known = len(rows) and not np.isnan(rows).all()
        return f"{words}, loss {digits(rows[0])} -> {digits(last_known(rows))}" if known else words

    @property
    def best(self) -> Tree:
        """The params at the lowest loss that was recorded, of held-out data where a validation was given.

        Raises AttributeError where they were not kept: they are with `validation`, `keep_best=True`, and where "loss"
        and "params" are recorded.
        """
        if self.rest.best is not None:
            return self.rest.best.params
        if {"loss", "params"} <= set(self.history):
            losses, axis = self.history["loss"], jnp.ndim(self.begun)  # of the rows: behind the axes of a `vmap`
            lowest = jnp.argmin(jnp.where(jnp.isnan(losses), jnp.inf, losses), axis=axis, keepdims=True)

            def row(rows):
                places = lowest.reshape(*lowest.shape, *[1] * (rows.ndim - lowest.ndim))
                return jnp.take_along_axis(rows, places, axis).squeeze(axis)

            return jax.tree.map(row, self.history["params"])
        msg = "best is kept with keep_best=True or a validation, or where both loss and params are recorded"
        raise AttributeError(msg)


def last_known(rows: np.ndarray) -> np.ndarray:
    """The last of some rows, of each run the last that is no NaN.

    >>> last_known(np.array([[3.0, 2.0], [1.0, np.nan]])).tolist()
    [1.0, 2.0]
    """
    last = len(rows) - 1 - np.argmax(~np.isnan(rows[::-1]), axis=0)
    return np.asarray(np.take_along_axis(rows, last[None], axis=0)[0])


def minimize(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    params: Tree,
    steps: int,
    *,
    args: Sequence[Any] = (),
    batches: Minibatches | Any = None,
    key: jax.Array | None = None,
    record: Sequence[str] | Mapping[str, Recorder[Tree]] = ("loss",),
    every: int = 1,
    tolerance: ArrayLike | None = None,
    patience: ArrayLike | None = None,
    min_delta: ArrayLike = 0.0,
    validation: Callable[..., jax.Array] | Any = None,
    keep_best: bool = False,
    trainable: Any = None,
    bounds: Any = None,
    model_state: ModelState | None = None,
    state: Run[Tree, ModelState] | None = None,
) -> Run[Tree, ModelState]:
    """Run an optimizer on a loss for a number of steps (S3, S4).

    Args:
        loss: `loss(params, *args) -> scalar`; with `batches`, `loss(params, batch, *args)`; with `key`, it also takes
            a fresh `key=` each step; with `model_state` it takes that behind the params.  It may return (scalar, aux).
        optimizer: any `optax.GradientTransformation`; those that take extra arguments get what they take of `value=`,
            `grad=`, `value_fn=`, `obj_fn=` and `grad_fn=`.
        params: the start, any pytree with floating arrays: a module as it is.  Other leaves are carried untouched;
            variables of a module that change as the loss is computed are carried on.  Complex arrays move as their real
            and imaginary parts would.
        steps: how many steps, at least 1.
        args: further arguments of the loss, the same at each step, such as data.
        batches: `gdlab.minibatches(...)`, or a pytree of arrays whose leading axis is the step, one batch for each.
        key: a PRNG key for a loss that draws random numbers; step t gets `fold_in(key, t)`.
        record: names among "loss", "gradient_norm", "params", "eta", "sigma", "m", "update", "extras", "aux", or a
            mapping from names to functions of a `Snapshot`, such as the curvature of `snapshot.value_fn` at
            `snapshot.params`.  A recorder with a method `init(params)` has a state: it is called with the snapshot and
            that, and returns what is recorded and the next state.
        every: record before step 0, every, 2 every, ...; at least 1.
        tolerance: stop once the norm of the gradient is at most this, >= 0.
        patience: stop once the loss has not fallen below its lowest for so many steps, >= 1; the loss of held-out data
            with a validation, which is computed where a step is recorded.
        min_delta: what a fall is: by more than this, >= 0; with a patience.
        validation: recorded under this name, a function `validation(params)` (and `model_state`), or held-out data that
            take the place of the batch in the loss, or, without batches, the tuple in the place of args.
        keep_best: whether `Run.best` is kept, the params at the lowest loss recorded; with a validation it always is.
        trainable: which floating arrays are trained: a pytree of bools like params, or a prefix, or a function of a
            path such as "['layer']['bias']"; by default all of them.
        bounds: a pair (lower, upper), each a number, None or a pytree like params, in which None is no bound: after
            each step, and before the first, every trained number is put where it is nearest in between.
        model_state: a pytree of arrays, such as the statistics of a BatchNorm, that the loss takes and returns:
            `loss(params, model_state, ...) -> (scalar, model_state)` or `(scalar, (model_state, aux))`.
        state: a run to go on from, in place of a start at `params`: `steps` more, which equal one run to the bit.
            One that ended early stays ended.  `batches` that are arrays hold those of the further steps; those of
            another key come with the epoch after the next.

    Returns:
        `Run(params, state, history)`, which also has `steps` taken, `why` it ended, `best` and `model_state`;
        `history[name]` has shape (ceil(steps / every), ...).  With a tolerance or a patience the run also ends at a
        loss that is not finite, and the rows after its end are NaN, or 0 where they are whole numbers.

    Raises:
        TypeError: for parameters without a floating array.
        ValueError: for steps or every below 1, more than 2^31 - 1 steps in all, an unknown name in `record`, a loss
            that is not scalar, batches that are no arrays or not one a step, or a state of a run with other arrays.

    >>> import gdlab
    >>> run = minimize(lambda x: x * x, gdlab.gd(0.25), 4.0, steps=3)
    >>> float(run.params), run.history["loss"].tolist()
    (0.5, [16.0, 4.0, 1.0])
    """
    steps, every = countable(steps), whole("every", every)
    recorders = tuple(recorders_of(record).items())
    transformation(optimizer)
    held, limits = data_of(args, batches, key, steps), limits_of(tolerance, patience, min_delta)
    how, held_out = validation_of(validation, held.args, held.batches)
    if state is not None:
        rest = one_of("state", state, Run, "a Run that minimize has returned").rest
        lowest = (rest.best if keep_best or how else None) or (rest.watch if patience is not None else None)
        resumable(state, params, model_state, bool(how) if lowest else None)
        params, model_state = state.params, state.model_state
        countable(steps, state.steps)
    objective, start = begun(loss, params, trainable, model_state)
    # Inside a transformation the program is part of another one, and numbers may be differentiated.
    alone = is_alone() and not reads_steps(recorders)
    traced, static = traced_or_static(optimizer, start.params if alone else None, state and state.state)
    plan = Plan(
        objective, static, recorders, every, validation=how, keeps_best=switch("keep_best", keep_best) or bool(how)
    )
    before = None if state is None else carry_of(state, start, trainable)
    held = held._replace(held_out=held_out, bounds=sides(bounds, start.params))
    given = traced, start, held, limits, before
    carry, history, reason = _driven(plan, steps, given)
    done = jax.device_put(np.int32(0)) if before is None else before.at.count
    return finished(objective, carry, history, reason, every, done)


def finished(
    objective: Any, carry: Carry, history: History, reason: jax.Array, every: int, done: jax.Array
) -> Run[Any, Any]:
    """The run that ended there."""
    at, watch, best, recorders = carry
    if best is not None:
        best = best._replace(params=objective.whole(best.params, best.carried))
    params = objective.whole(at.params, at.carried)
    rest = Rest(at.stream, watch, best, recorders)
    return Run(
        params=params,
        state=at.state,
        history=history,
        steps=at.count,
        reason=reason,
        model_state=at.carried[1],
        rest=rest,
        begun=done,
        every=every,
    )


def _driven(plan, steps, given):
    """The carry after so many steps, their history, and the reason why they ended."""
    *_, limits, before = given
    done = 0 if before is None or plan.every == 1 else int(before.at.count)
    rows = -(-(done + steps) // plan.every) - -(-done // plan.every)
    if limits is not None or is_alone():
        return _run(plan, rows, given, np.int32(steps))
    return _scanned(plan, min(-done % plan.every, steps), steps, given)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _scanned(plan, lead, steps, given):
    """A run that can be differentiated; `lead` steps come before the first that is recorded."""
    loop, carry, _ = _begun(plan, given, once=False)
    every = plan.every
    if lead:
        carry = jax.lax.scan(lambda carry, _: (loop.step(carry)[0], None), carry, length=lead)[0]
    blocks, tail = divmod(steps - lead, every)
    carry, history = jax.lax.scan(lambda carry, _: loop.block(carry, every), carry, length=blocks)
    if tail:
        carry, row = loop.block(carry, tail)
        history = jax.tree.map(lambda rows, row: jnp.concatenate([rows, row[None]]), history, row)
    return carry, history, _reason(carry)


def _first_step(plan, *given):
    """The first step of a run, recorded."""
    loop, carry, _ = _begun(plan, (*given, None))
    return loop.step(carry, recorded=True)


def _sample(plan, _, given, __):
    """The part of a run that all its pieces have, whatever their length and wherever they begin."""
    return _first_step, (plan,), given[:-1]


@partial(fitting, statics=2, sample=_sample, kept_by=kept_by)
def _run(plan, rows, given, steps):
    """A run of whatever length that has so many rows of history, or that ends at the first reason to stop."""
    loop, carry, first = _begun(plan, given)
    carry, begin = _led(loop, carry, first, steps, given)
    until, every = first + steps, plan.every

    def going(ahead):
        carry, _ = ahead
        short = carry.at.count < until
        return short if carry.watch is None else short & (carry.watch.reason == 0)

    def block(ahead):
        carry, history = ahead
        count = carry.at.count
        carry, row = loop.block(carry, jnp.minimum(every, until - count) if every > 1 else 1)
        place = jax.lax.div(count - begin, np.int32(every))
        return carry, jax.tree.map(partial(_written, place), history, row)

    carry, history = jax.lax.while_loop(going, block, (carry, _empty(loop, carry, rows)))
    return carry, _cut(history, rows), _reason(carry)


def _begun(plan, given, once=True):
    """The loop of a run, where it begins, and the number of its first step."""
    traced, start, data, limits, before = given
    first = None if before is None else before.at.count
    loop = loop_of(plan, traced, data, limits, first, once=once)
    carry = loop.init(start) if before is None else loop.completed(alike(before, loop, start))
    return loop, carry, 0 if first is None else first


def _led(loop, carry, first, steps, given):
    """The carry at the first step to record, and the number of that step."""
    carry = _hidden(carry)
    if given[-1] is None or loop.plan.every == 1:
        return carry, first
    lead = jnp.minimum(-first % loop.plan.every, steps)
    return loop.unrecorded(carry, 0, lead), first + lead


def _hidden(carry):
    """The carry of which the compiler does not see that states begin as zeros: a run that goes on begins with others.

    Counts are seen: behind a barrier the compiler takes as long to find that they go in step as for all else.
    """
    leaves, structure = jax.tree.flatten(carry)
    numbers = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)]
    for i, leaf in zip(numbers, jax.lax.optimization_barrier([leaves[i] for i in numbers]), strict=True):
        leaves[i] = leaf
    return jax.tree.unflatten(structure, leaves)


def _reason(carry):
    """Why a run ended."""
    if carry.watch is None:
        sound = all_finite(carry.at.params)
        return jnp.where(sound, *(np.int32(REASONS.index(why)) for why in ("steps", "not finite")))
    reason = carry.watch.reason
    return jnp.where(reason == 0, REASONS.index("steps"), reason).astype(jnp.int32)


def _written(i, rows, row):
    """The rows with one more, at i >= 0."""
    return jax.lax.dynamic_update_index_in_dim(rows, jnp.asarray(row, rows.dtype), i, 0, allow_negative_indices=False)


def _cut(history, rows):
    """The rows of a history, which may be none though one was made room for."""
    return history if rows else jax.tree.map(lambda leaf: leaf[:0], history)


def _empty(loop, carry, rows):
    """An empty history: NaN, or 0 where it holds whole numbers."""

    def empty(row):
        fill = jnp.nan if jnp.issubdtype(row.dtype, jnp.inexact) else 0
        return jnp.full((max(rows, 1), *row.shape), fill, row.dtype)

    return jax.tree.map(empty, jax.eval_shape(lambda carry: loop.step(carry, True)[1], carry))
