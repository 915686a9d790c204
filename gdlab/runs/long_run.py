"""A long run: `minimize` in chunks that the host drives, so that it can be watched, stopped and resumed.

    for each chunk of steps:   carry, rows  <-  compiled(carry)        history[chunk], state[chunk]  ->  store

One run, or many side by side: `batched` names the arguments that have a leading axis of runs.  Each chunk
writes its rows, one for all lanes, into a buffer that the next chunk reuses; the carry is donated as well.  With a
store, memory does not grow with the number of steps, and a killed run resumes from its last complete chunk, bit for
bit.

| function | what it returns |
|---|---|
| `long_run` | where the runs ended, and without a store what they recorded |
| `read_history` | what a store holds so far, also while a run is writing to it |
"""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from gdlab.arguments import floating, function, whole
from gdlab.base import Params
from gdlab.progress import Report, bar
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
from gdlab.runs.minimize import COUNTABLE, Run
from gdlab.storage.fingerprint import array_bytes, fingerprint
from gdlab.storage.store import Store, StoreError, digest, opened, read_identity
from gdlab.sweeps.axes import path_name

SCHEMA = 1  # the version of the layout of a store
BATCHED = ("optimizer", "params", "args", "batches", "key")


def long_run(
    loss: Callable[..., jax.Array],
    optimizer: optax.GradientTransformation,
    params: Params,
    steps: int,
    *,
    chunk: int | None = None,
    batched: Sequence[str] = (),
    args: Sequence[Any] = (),
    batches: Minibatches | Any = None,
    key: jax.Array | None = None,
    record: Sequence[str] | Mapping[str, Recorder] = ("loss",),
    every: int = 1,
    tolerance: ArrayLike | None = None,
    patience: ArrayLike | None = None,
    store: str | os.PathLike | None = None,
    progress: bool | Report = False,
) -> Run:
    """Run an optimizer as `gdlab.minimize` does, chunk by chunk.

    Args:
        loss, optimizer, params, steps, args, batches, key, record, every, tolerance, patience: as for `minimize`.
        chunk: how many steps are taken between two looks of the host, a multiple of `every`; by default a hundredth.
        batched: which of "optimizer", "params", "args", "batches", "key" have a leading axis of runs in every array
            that has an axis at all; of mini-batches only the key has one, the data are shared.
        store: a folder that keeps each finished chunk.  The same run goes on from it; another one is refused.
        progress: True for a bar on stderr with the median loss, the share of runs alive and the time left (silent when
            that is no terminal), or a function of (done, total) steps.

    Returns:
        A `Run` as from `minimize`; with `batched`, `params`, `state`, `steps` and `reason` have a leading axis of runs,
        and `history[name]` has shape (rows, runs, ...).  The run ends with the chunk in which the last lane ends, by
        tolerance, patience or a number that is not finite; later rows are NaN, or 0 where they are whole numbers.  With
        a store `history` is empty, and `read_history` reads it.

    Raises:
        TypeError: for parameters that are not floating arrays, or what is no optimizer.
        ValueError: for steps, every or chunk out of range, an unknown name in `record` or `batched`.
        StoreError: for a store of another run, in use, or that cannot be written (a ValueError).

    >>> import gdlab
    >>> rates = jnp.array([0.25, 0.5])
    >>> run = long_run(lambda x: x * x, gdlab.gd(rates), 4.0, 3, batched=["optimizer"])
    >>> run.params.tolist(), run.history["loss"].tolist()
    ([0.5, 0.0], [[16.0, 16.0], [4.0, 0.0], [1.0, 0.0]])
    """
    steps, every = whole("steps", steps), whole("every", every)
    chunk = -(-steps // (100 * every)) * every if chunk is None else whole("chunk", chunk, every)
    if chunk % every:
        msg = f"chunk must be a multiple of every, {every}; got {chunk}"
        raise ValueError(msg)
    batched = (batched,) if isinstance(batched, str) else tuple(batched)
    if not set(batched) <= set(BATCHED):
        msg = f"batched must name some of {', '.join(BATCHED)}; got {batched!r}"
        raise ValueError(msg)
    function("loss", loss, "loss(params, ...) -> scalar")
    traced, static = traced_or_static(optimizer)
    limits = limits_of(tolerance, patience)
    args, batches, key = data_of(args, batches, key, steps, batched)
    given = jax.tree.map(_array, (traced, floating("params", params), args, batches, key))
    work = (loss, static, tuple(recorders_of(record).items()), every, batched)
    rows = jax.eval_shape(partial(_rows, work, chunk // every), given, limits)
    begin = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), _begin(work, given, limits))  # it will be donated
    long = _LongRun(work, given, limits, steps, chunk, rows)
    held = contextlib.nullcontext() if store is None else opened(store, long.identity(begin))
    with held as kept, bar(progress, "run", steps) as advance:
        return long.drive(begin, kept, advance)


def read_history(folder: str | os.PathLike) -> dict[str, np.ndarray]:
    """The history that a long run has written to its store so far.

    Returns:
        By name, arrays of shape (rows, ...) or (rows, runs, ...), where rows are `every` steps apart, and "step", the
        steps taken before each row; a part of a pytree is named by its path, joined by dots.

    Raises:
        StoreError: for a folder that no long run has written, or a damaged chunk (a ValueError).
    """
    store = Store(folder, read_identity(folder))
    if store.identity.get("kind") != "long run":
        msg = f"store must be of a long run; {folder} is not"
        raise StoreError(msg)
    parts: list[dict[str, np.ndarray]] = []
    for number in store.numbers():
        arrays = store.read(number)
        if arrays is None or number != len(parts):
            msg = f"store must hold every chunk up to its last; in {folder} chunk {len(parts)} is missing or damaged"
            raise StoreError(msg)
        parts.append(arrays)
    history = {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}
    rows = len(next(iter(history.values()), ()))
    return {"step": np.arange(rows) * store.identity["every"], **history}


class _LongRun:
    """The host's side of a long run: compiled chunks, and what happens between them."""

    def __init__(self, work, given, limits, steps, chunk, rows):
        self.work, self.given, self.limits, self.steps, self.chunk, self.rows = work, given, limits, steps, chunk, rows
        self.every = work[3]

    def drive(self, carry, kept, advance):
        """Run all chunks that are not in the store yet, and return the run."""
        number, carry = self._taken_up(carry, kept)
        buffer = jax.tree.map(lambda row: jnp.zeros(row.shape, row.dtype), self.rows)
        total = -(-self.steps // self.every)
        history = None if kept else jax.tree.map(lambda row: _unwritten(total, row), self.rows)
        reason = self._reason(carry)
        while (done := min(number * self.chunk, self.steps)) < self.steps and (number == 0 or not reason.all()):
            until = min(done + self.chunk, self.steps)
            carry, buffer = _advance(self.work, self.given, self.limits, carry, buffer, done, until)
            first, count = done // self.every, -(-(until - done) // self.every)
            recorded = jax.tree.map(lambda rows, count=count: np.array(rows[:count]), buffer)
            if kept:
                self._keep(kept, number, recorded, carry)
            else:
                for whole_history, rows in zip(jax.tree.leaves(history), jax.tree.leaves(recorded), strict=True):
                    whole_history[first : first + count] = rows
            number, reason = number + 1, self._reason(carry)
            advance(until, _words(recorded, reason))
        (end, _), reason = carry, jnp.where(reason == 0, REASONS.index("steps"), reason).astype(jnp.int32)
        return Run(end.params, end.state, jax.tree.map(jnp.asarray, history or {}), end.count, reason)

    def identity(self, carry):
        """The identity of this run, as JSON: hashes of its program and arguments, and its sizes."""
        buffer = jax.tree.map(lambda row: jnp.zeros(row.shape, row.dtype), self.rows)
        ends = self.chunk, self.chunk  # any whole numbers
        traced = _advance.trace(self.work, self.given, self.limits, carry, buffer, *ends)
        _, _, recorders, every, batched = self.work
        return {
            "schema": SCHEMA,
            "kind": "long run",
            "program": digest(fingerprint(traced.jaxpr)),
            "arguments": digest(*map(array_bytes, jax.tree.leaves((self.given, self.limits)))),
            "steps": self.steps,
            "chunk": self.chunk,
            "every": every,
            "batched": list(batched),
            "record": [name for name, _ in recorders],
            "versions": {"jax": jax.__version__, "device": jax.devices()[0].device_kind},
            "argv": " ".join(sys.argv),
        }

    def _reason(self, carry):
        """Why each lane ended, 0 where it has not."""
        state, watch = carry
        return np.asarray(watch.reason if self.limits else _lost(self.work[4], state.params))

    def _taken_up(self, carry, kept):
        """The number of the first chunk to compute, and where it begins."""
        if kept is None:
            return 0, carry
        sound = 0
        while sound in kept.numbers() and kept.read(sound) is not None:
            sound += 1
        for number in reversed([number for number in kept.numbers("state") if number < sound]):
            arrays = kept.read(number, "state")
            if arrays is not None:
                leaves, tree = jax.tree.flatten(carry)
                return number + 1, jax.tree.unflatten(
                    tree, [_like(leaf, arrays[str(i)]) for i, leaf in enumerate(leaves)]
                )
        return 0, carry

    def _keep(self, kept, number, recorded, carry):
        kept.write(number, {path_name(path): rows for path, rows in jax.tree_util.tree_leaves_with_path(recorded)})
        kept.write(number, {str(i): _numbers(leaf) for i, leaf in enumerate(jax.tree.leaves(carry))}, "state")
        kept.discard(number - 2, "state")  # two are kept: the last one might be damaged


def _loop(work, given, limits):
    """The loop of one lane."""
    loss, static, recorders, every, _ = work
    optimizer, _, *data = given
    limits = limits and (COUNTABLE, *limits)
    return loop_of(loss, optimizer if static is None else static, tuple(data), recorders, every, limits)


def _block(work, given, limits, carry, length):
    """The next carry of one lane, and its row; where the lane has ended, the same carry and a row of NaN (or 0)."""
    new, row = _loop(work, given, limits).block(carry, length)
    if not limits:
        return new, row
    going = carry[1].reason == 0
    row = jax.tree.map(lambda leaf: jnp.where(going, leaf, _missing(leaf.dtype)), row)
    return jax.tree.map(partial(jnp.where, going), new, carry), row


def _axes(lanes, given):
    """The axis of lanes of each argument, for vmap."""

    def axes(name, tree):
        if name not in lanes:
            return None
        if isinstance(tree, Minibatches):
            return dataclasses.replace(tree, data=None, key=0)  # type: ignore[arg-type]  # a tree of axes
        return jax.tree.map(lambda leaf: 0 if jnp.ndim(leaf) else None, tree)

    return tuple(axes(name, tree) for name, tree in zip(BATCHED, given, strict=True))


def _over_lanes(lanes, fn, given, *carried):
    """`fn(given, *carried)` for every lane."""
    if not lanes:
        return fn(given, *carried)
    return jax.vmap(fn, in_axes=(_axes(lanes, given), *(0 for _ in carried)))(given, *carried)


@partial(jax.jit, static_argnums=0)
def _begin(work, given, limits):
    return _over_lanes(work[4], lambda given: _loop(work, given, limits).init(given[1]), given)


def _rows(work, count, given, limits):
    """The buffer of a chunk, traced for its shapes."""

    def row(given):
        return _block(work, given, limits, _loop(work, given, limits).init(given[1]), 1)[1]

    return jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), _over_lanes(work[4], row, given))


@partial(jax.jit, static_argnums=0, donate_argnums=(3, 4))
def _advance(work, given, limits, carry, buffer, done, until):
    """The steps from `done` to `until`, each recorded row of all lanes written in its place."""
    every = work[3]

    def row(i, ahead):
        carry, buffer = ahead
        length = jnp.minimum(every, until - done - i * every)
        carry, row = _over_lanes(work[4], lambda given, carry: _block(work, given, limits, carry, length), given, carry)
        write = partial(jax.lax.dynamic_update_index_in_dim, index=i, axis=0)
        return carry, jax.tree.map(write, buffer, row)

    return jax.lax.fori_loop(0, -((done - until) // every), row, (carry, buffer))


@partial(jax.jit, static_argnums=0)
def _lost(lanes, params):
    """The reason "not finite" where parameters are not, else 0."""

    def lost(params):
        return jnp.where(all_finite(params), 0, REASONS.index("not finite"))

    return jax.vmap(lost)(params) if lanes else lost(params)


def _words(recorded, reason):
    alive = f"alive {np.mean(reason != REASONS.index('not finite')):.0%}"
    losses = recorded.get("loss", np.zeros(0))[-1:]
    losses = losses[np.isfinite(losses)]
    return f"median loss {np.median(losses):.3g}, {alive}" if losses.size else alive


def _array(leaf):
    return leaf if isinstance(leaf, jax.Array | np.ndarray) else jnp.asarray(leaf)


def _missing(dtype):
    return jnp.asarray(jnp.nan if jnp.issubdtype(dtype, jnp.inexact) else 0, dtype)


def _unwritten(rows, chunk):
    return np.full((rows, *chunk.shape[1:]), _missing(chunk.dtype), chunk.dtype)


def _numbers(leaf):
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def _like(leaf, numbers):
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.array(numbers), impl=jax.random.key_impl(leaf))
    return jnp.array(numbers, leaf.dtype)
