"""A run: one optimizer on one loss, one compiled loop, with a named history.

    for t in range(steps):   value, g = value_and_grad(loss)(theta);   theta <- theta + update(g)

Any optax-compatible optimizer works.  Parameters, data, keys and the hyperparameters of a gdlab optimizer
are arguments of the compiled loop: one trace serves all their values.  An optimizer of another library is compiled in.
Recorders cost time at the recorded steps only.

A run of fixed length is a scan: differentiable in forward and reverse mode.  A run that may stop early is a while
loop over blocks of `every` steps: it can be vmapped, but differentiated in forward mode only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from gdlab.arguments import floating, function, whole
from gdlab.base import Params
from gdlab.runs.data import Minibatches
from gdlab.runs.loop import (
    REASONS,
    Recorder,
    all_finite,
    data_of,
    limits_of,
    loop_of,
    recorders_of,
    traced_or_static,
)

COUNTABLE = 2**31 - 1  # steps: counts are int32


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
            from names to functions of a `Snapshot`, such as the curvature of `snapshot.value_fn` at `snapshot.params`.
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
    return _run_until(loss, static, recorders, steps, every, traced, params, data, limits)


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _run(loss, static, recorders, steps, every, optimizer, params, data):
    loop = loop_of(loss, optimizer if static is None else static, data, recorders, every)
    blocks, tail = divmod(steps, every)
    carry, history = jax.lax.scan(lambda carry, _: loop.block(carry, every), loop.init(params), length=blocks)
    if tail:
        carry, row = loop.block(carry, tail)
        history = jax.tree.map(lambda rows, row: jnp.concatenate([rows, row[None]]), history, row)
    end, _ = carry
    reason = jnp.where(all_finite(end.params), REASONS.index("steps"), REASONS.index("not finite")).astype(jnp.int32)
    return Run(end.params, end.state, history, end.count, reason)


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _run_until(loss, static, recorders, steps, every, optimizer, params, data, limits):
    """The run that ends at the first reason to stop."""
    loop = loop_of(loss, optimizer if static is None else static, data, recorders, every, (steps, *limits))
    rows = -(-steps // every)

    def block(ahead):
        carry, number, history = ahead
        carry, row = loop.block(carry, every)
        return carry, number + 1, jax.tree.map(lambda rows, new: rows.at[number].set(new), history, row)

    carry = loop.init(params)
    row = jax.eval_shape(lambda carry: loop.step(carry, recorders)[1], carry)
    ahead = carry, jnp.zeros([], jnp.int32), jax.tree.map(lambda row: _empty(row, rows), row)
    ahead = jax.lax.while_loop(lambda ahead: (ahead[0][1].reason == 0) & (ahead[1] < rows), block, ahead)
    (end, watch), _, history = ahead
    reason = jnp.where(watch.reason == 0, REASONS.index("steps"), watch.reason).astype(jnp.int32)
    return Run(end.params, end.state, history, end.count, reason)


def _empty(row, rows):
    """An empty history: NaN, or 0 where it holds whole numbers."""
    fill = jnp.nan if jnp.issubdtype(row.dtype, jnp.inexact) else 0
    return jnp.full((rows, *row.shape), fill, row.dtype)
