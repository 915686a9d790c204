"""A run: one optimizer on one loss, a single jitted scan, with a labelled history.

    for t in range(steps):   value, g = value_and_grad(loss)(theta);   theta <- theta + update(g)

Any optax-compatible optimizer runs, ours or not.  Parameters, data, keys and the hyperparameters of a gdlab optimizer
are arguments of the compiled loop: one trace serves all their values.  An optimizer of another library is compiled in.
What is recorded is paid for at the recorded steps only.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gdlab.data import Minibatches
from gdlab.pieces import Optimizer, Params, Step

Recorder = Callable[["Moment"], Any]


class Run(NamedTuple):
    """Where a run ended and how it got there."""

    params: Params  # after the last step
    state: Any  # the optimizer's, after the last step
    history: dict[str, Any]  # what was recorded: name -> array of shape (ceil(steps / every), ...)


class Moment(NamedTuple):
    """What can be recorded of one step, before it is taken."""

    count: jax.Array  # type: ignore[assignment]  # steps taken before this one
    params: Params
    loss: jax.Array
    grads: Params
    step: Step | None  # what a gdlab optimizer makes of the gradient; None for others


def gradient_norm(moment: Moment) -> jax.Array:
    """The Euclidean norm of the gradient."""
    return optax.tree.norm(moment.grads)


def _of_step(name):
    def record(moment):
        if moment.step is None:
            msg = f"record={name!r} needs an optimizer of gdlab, whose steps can be read; got another library's"
            raise TypeError(msg)
        return getattr(moment.step, name)

    return record


RECORDERS: dict[str, Recorder] = {
    "loss": lambda moment: moment.loss,
    "gradient_norm": gradient_norm,
    "params": lambda moment: moment.params,
    **{name: _of_step(name) for name in ("eta", "sigma", "m", "update")},
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
) -> Run:
    """Run an optimizer on a loss for a number of steps (S3, S4).

    Args:
        loss: `loss(params, *args) -> scalar`; with `batches`, `loss(params, batch, *args)`; with `key`, it also takes
            a fresh `key=` each step.
        optimizer: any `optax.GradientTransformation`; `value=`, `grad=` and `value_fn=` are passed to those that
            take extra arguments.
        params: the start, any pytree of floating arrays.
        steps: how many steps, at least 1.
        args: further arguments of the loss, the same at each step, such as data.
        batches: `gdlab.minibatches(...)`, or a pytree of arrays whose leading axis is the step.
        key: a PRNG key for a loss that draws random numbers; step t gets `fold_in(key, t)`.
        record: names among "loss", "gradient_norm", "params", "eta", "sigma", "m", "update", or a mapping from names
            to functions of a `Moment`.
        every: record before step 0, every, 2 every, ...; at least 1.

    Returns:
        `Run(params, state, history)`; `history[name]` has shape (ceil(steps / every), ...).

    Raises:
        TypeError: for parameters that are not floating arrays.
        ValueError: for steps or every below 1, an unknown name in `record`, a loss that is not scalar.

    >>> import gdlab
    >>> run = minimize(lambda x: x * x, gdlab.gd(0.25), 4.0, steps=3)
    >>> float(run.params), run.history["loss"].tolist()
    (0.5, [16.0, 4.0, 1.0])
    """
    for name, value in (("steps", steps), ("every", every)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            msg = f"{name} must be a whole number, at least 1; got {value!r}"
            raise ValueError(msg)
    recorders = tuple(_recorders(record).items())
    numeric = not any(_foreign(leaf) for leaf in jax.tree.leaves(optimizer))
    traced, static = (optimizer, None) if numeric else (None, optimizer)
    params = jax.tree.map(_floating, params)
    data = (tuple(args), batches, key)
    return _run(loss, static, recorders, steps, every, traced, params, data)


def _recorders(record):
    if isinstance(record, Mapping):
        return dict(record)
    names = (record,) if isinstance(record, str) else tuple(record)
    for name in names:
        if name not in RECORDERS:
            msg = f"record must name some of {', '.join(RECORDERS)}, or map names to functions; got {name!r}"
            raise ValueError(msg)
    return {name: RECORDERS[name] for name in names}


def _foreign(leaf):
    """Whether a leaf of an optimizer is no hyperparameter but a part of another library's closure."""
    return not isinstance(leaf, jax.Array | np.ndarray | np.number | float | int)


def _floating(leaf):
    array = jnp.asarray(leaf)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        msg = f"params must be a pytree of floating arrays; got a leaf of dtype {array.dtype}"
        raise TypeError(msg)
    return array


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _run(loss, static, recorders, steps, every, optimizer, params, data):
    args, batches, key = data
    optimizer = optimizer if static is None else static
    extended = optax.with_extra_args_support(optimizer)
    streamed = isinstance(batches, Minibatches)

    def value_fn_at(count, batch):
        batch = () if batches is None else (batch,)
        keyed = {} if key is None else {"key": jax.random.fold_in(key, count)}
        return lambda params: loss(params, *batch, *args, **keyed)

    def take_step(carry, batch, recorders=()):
        count, params, state, stream = carry
        if streamed:
            batch, stream = batches.next(stream)
        value_fn = value_fn_at(count, batch)
        value, grads = jax.value_and_grad(_scalar(value_fn))(params)
        recorded = {}
        if recorders:
            step = optimizer.step(grads, state, params)[0] if isinstance(optimizer, Optimizer) else None
            moment = Moment(count, params, value, grads, step)
            recorded = {name: recorder(moment) for name, recorder in recorders}
        updates, state = extended.update(grads, state, params, value=value, grad=grads, value_fn=value_fn)
        params = optax.apply_updates(params, updates)
        return (count + 1, params, state, stream), recorded

    def block(carry, batches, length):
        """One recorded step, and those behind it that are not."""
        first = jax.tree.map(lambda leaf: leaf[0], batches)
        rest = jax.tree.map(lambda leaf: leaf[1:], batches)
        carry, recorded = take_step(carry, first, recorders)
        carry, _ = jax.lax.scan(take_step, carry, rest, length=length - 1)
        return carry, recorded

    stream = batches.init() if streamed else None
    carry = (jnp.zeros([], jnp.int32), params, optimizer.init(params), stream)
    scanned = None if streamed else batches
    if every == 1:
        carry, history = jax.lax.scan(lambda carry, batch: take_step(carry, batch, recorders), carry, scanned, steps)
    else:
        blocks, tail = divmod(steps, every)
        whole = jax.tree.map(lambda leaf: leaf[: blocks * every].reshape(blocks, every, *leaf.shape[1:]), scanned)
        carry, history = jax.lax.scan(lambda carry, batches: block(carry, batches, every), carry, whole, blocks)
        if tail:
            last = jax.tree.map(lambda leaf: leaf[blocks * every : steps], scanned)
            carry, recorded = block(carry, last, tail)
            history = jax.tree.map(lambda rows, row: jnp.concatenate([rows, row[None]]), history, recorded)
    return Run(carry[1], carry[2], history)


def _scalar(value_fn):
    def checked(params):
        value = value_fn(params)
        if jnp.shape(value) != ():
            msg = f"loss must return a scalar; got an array of shape {jnp.shape(value)}"
            raise ValueError(msg)
        return value

    return checked
