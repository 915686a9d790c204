"""The compiled part of a long run: where its lanes begin, and a chunk of their steps.

| name | what it is |
|---|---|
| `Given` | the arguments of the compiled program |
| `begin` | the carry before the first step |
| `rows_of` | the shapes of what a chunk records |
| `advance` | the carry after a chunk, and what was recorded |
| `missing` | what stands in a row that was not recorded |
"""

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gdlab.runs.data import Minibatches
from gdlab.runs.loop import Data, loop_of
from gdlab.runs.objective import Start


class Given(NamedTuple):
    """The arguments of the compiled program, named as those of `long_run`."""

    optimizer: Any
    params: Any  # the trained part, and the arrays that are carried
    model_state: Any
    args: tuple
    batches: Minibatches | None
    key: Any
    held_out: Any
    bounds: tuple | None


def _loop(work, given, limits, fed, first=None):
    """The loop of one lane, whose batches, where they are fed, are those from the `first` step on."""
    data = Data(given.args, given.batches if fed is None else fed, given.key, given.held_out, given.bounds)
    return loop_of(work[0], given.optimizer, data, limits, first)


def _start(given):
    """What one lane starts from."""
    params, rest = given.params
    return Start(params, (rest, given.model_state))


def _block(work, given, limits, fed, first, carry, length):
    """The next carry of one lane, and its row; where the lane has ended, the same carry and a row of NaN (or 0)."""
    new, row = _loop(work, given, limits, fed, first).block(carry, length)
    if not limits:
        return new, row
    going = carry.watch.reason == 0
    row = jax.tree.map(lambda leaf: jnp.where(going, leaf, missing(leaf.dtype)), row)
    return jax.tree.map(partial(jnp.where, going), new, carry), row


def _axes(lanes, given):
    """The axis of lanes of each argument, for vmap."""

    def axes(name, tree):
        if name not in lanes:
            return None
        if isinstance(tree, Minibatches):
            return dataclasses.replace(tree, data=None, key=0)  # type: ignore[arg-type]  # a tree of axes
        return jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, tree)

    return Given(*(axes(name, tree) for name, tree in given._asdict().items()))


def _over_lanes(lanes, fn, given, fed, *carried):
    """`fn(given, fed, *carried)` for every lane."""
    if not lanes:
        return fn(given, fed, *carried)
    axes = _axes(lanes, given), 0 if "batches" in lanes else None, *(0 for _ in carried)
    return jax.vmap(fn, in_axes=axes)(given, fed, *carried)


@partial(jax.jit, static_argnums=0)
def begin(work, given, limits, fed):
    return _over_lanes(work[1], lambda given, fed: _loop(work, given, limits, fed).init(_start(given)), given, fed)


def rows_of(work, count, given, limits, fed):
    """The buffer of a chunk, traced for its shapes."""

    def row(given, fed):
        return _block(work, given, limits, fed, 0, _loop(work, given, limits, fed).init(_start(given)), 1)[1]

    return jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), _over_lanes(work[1], row, given, fed))


@partial(jax.jit, static_argnums=0, donate_argnums=(3, 4))
def advance(work, given, limits, carry, buffer, fed, done, until):
    """The steps from `done` to `until`, each recorded row of all lanes written in its place."""
    plan, lanes = work

    def row(i, ahead):
        carry, buffer = ahead
        length = jnp.minimum(plan.every, until - done - i * plan.every)
        block = lambda given, fed, carry: _block(work, given, limits, fed, done, carry, length)  # noqa: E731
        carry, row = _over_lanes(lanes, block, given, fed, carry)
        write = partial(jax.lax.dynamic_update_index_in_dim, index=i, axis=0)
        return carry, jax.tree.map(write, buffer, row)

    return jax.lax.fori_loop(0, -((done - until) // plan.every), row, (carry, buffer))


def missing(dtype):
    return jnp.asarray(jnp.nan if jnp.issubdtype(dtype, jnp.inexact) else 0, dtype)
