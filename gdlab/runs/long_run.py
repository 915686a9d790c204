"""A long run: `minimize` in chunks that the host drives, so that it can be watched, stopped and resumed.

    for each chunk of steps:   carry, rows  <-  compiled(carry)        history[chunk], state[chunk]  ->  store

One run, or many side by side: `batched` names the arguments that have a leading axis of runs.  Each chunk
writes its rows, one for all lanes, into a buffer that the next chunk reuses; the carry is donated as well.  With a
store, memory does not grow with the number of steps, and a killed run resumes from its last complete chunk, bit for
bit; asked for more steps, it goes on from there.

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

from gdlab.ground.boxes import sides
from gdlab.ground.checks import whole
from gdlab.numerics import Tree
from gdlab.progress import Report, bar
from gdlab.runs.chunks import Given, advance, begin, missing, rows_of
from gdlab.runs.data import Minibatches
from gdlab.runs.feed import Slices, stepped, yields
from gdlab.runs.given import countable, data_of, limits_of, traced_or_static, transformation, validation_of
from gdlab.runs.loop import (
    Plan,
    Recorder,
    all_finite,
    reads_steps,
    recorders_of,
)
from gdlab.runs.minimize import Run, finished, last_known
from gdlab.runs.objective import begun
from gdlab.runs.typed import Loss, ModelState
from gdlab.storage.fingerprint import array_bytes, fingerprint
from gdlab.storage.store import Store, StoreError, digest, opened, read_identity, renewed
from gdlab.sweeps.axes import path_name
from gdlab.sweeps.history import REASONS

SCHEMA = 2  # the version of the layout of a store
BATCHED = ("optimizer", "params", "model_state", "args", "batches", "key")


def long_run(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    params: Tree,
    steps: int,
    *,
    chunk: int | None = None,
    batched: Sequence[str] = (),
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
    store: str | os.PathLike | None = None,
    progress: bool | Report = False,
) -> Run[Tree, ModelState]:
    """Run an optimizer as `gdlab.minimize` does, chunk by chunk.

    Args:
        loss, optimizer, params, steps, args, key, record, every, tolerance, patience, min_delta, validation, keep_best,
            trainable, bounds, model_state: as for `minimize`.
        batches: as for `minimize`, or anything that yields pytrees of arrays, one batch a step: a list, a generator, a
            loader.  One that can be iterated again begins anew when it ends.  The host fetches the batches of a chunk
            while the device computes the one before.
        chunk: how many steps are taken between two looks of the host, a multiple of `every`; by default that of the
            store, or a hundredth.
        batched: which of "optimizer", "params", "model_state", "args", "batches", "key" have a leading axis of runs in
            every array that has an axis at all; of mini-batches only the key has one, the data are shared.
        store: a folder that keeps each finished chunk.  The same run goes on from it, also with more steps, as one run
            would to the bit; another one is refused.  What an iterable yields is not compared.
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
    steps, every = countable(steps), whole("every", every)
    chunk_given = chunk
    chunk = -(-steps // (100 * every)) * every if chunk is None else whole("chunk", chunk, every)
    if chunk % every:
        msg = f"chunk must be a multiple of every, {every}; got {chunk}"
        raise ValueError(msg)
    batched = (batched,) if isinstance(batched, str) else tuple(batched)
    if not set(batched) <= set(BATCHED):
        msg = f"batched must name some of {', '.join(BATCHED)}; got {batched!r}"
        raise ValueError(msg)
    transformation(optimizer)
    limits = limits_of(tolerance, patience, min_delta)
    held = data_of(args, None if yields(batches) else batches, key, steps, batched)
    feed = stepped(batches, steps, "batches" in batched)
    if "batches" in batched and yields(batches):
        msg = "batched must not name batches that are yielded: every run gets the same ones"
        raise ValueError(msg)
    how, held_out = validation_of(validation, held.args, batches)
    objective, start = begun(loss, params, trainable, model_state)
    recorders = tuple(recorders_of(record).items())
    traced, static = traced_or_static(optimizer, None if batched or reads_steps(recorders) else start.params)
    stream = None if feed else held.batches
    first = _of_one(start.params) if "params" in batched else start.params
    begins = start.params, start.carried[0]
    given = Given(
        optimizer=traced, params=begins, model_state=start.carried[1], args=held.args, batches=stream, key=key,
        held_out=held_out, bounds=sides(bounds, first),
    )  # fmt: skip
    plan = Plan(objective, static, recorders, every, validation=how, keeps_best=keep_best or bool(how))
    if store is not None and chunk_given is None:
        chunk = _held_chunk(store, chunk, every)
    long = _LongRun((plan, batched), jax.tree.map(_array, given), feed, limits, steps=steps, chunk=chunk)
    with contextlib.nullcontext() if store is None else long.opened(store) as kept, bar(progress, "run", steps) as told:
        return long.drive(kept, told)


def _held_chunk(store: str | os.PathLike, chunk: int, every: int) -> int:
    """The chunk of the store that is there, of a run that records as often; else the given one."""
    if not os.path.exists(store):
        return chunk
    with contextlib.suppress(StoreError):
        held = read_identity(store)
        if held.get("every") == every and isinstance(held.get("chunk"), int):
            return held["chunk"]
    return chunk


def read_history(folder: str | os.PathLike) -> dict[str, np.ndarray]:
    """The history that a long run has written to its store so far.

    Returns:
        By name, arrays of shape (rows, ...) or (rows, runs, ...), where rows are `every` steps apart, and "step", the
        steps taken before each row; a part of a pytree is named by its path, joined by dots.

    Raises:
        StoreError: for a folder that no long run has written, or a damaged chunk (a ValueError).

    >>> import gdlab, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = long_run(lambda x: x * x, gdlab.gd(0.25), 4.0, 3, store=folder)
    ...     print(read_history(folder)["loss"])
    [16.  4.  1.]
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

    def __init__(self, work, given, feed, limits, steps, chunk):
        self.work, self.given, self.feed, self.limits, self.steps, self.chunk = work, given, feed, limits, steps, chunk
        self.plan, self.lanes = work
        self.fed = feed and feed.like(chunk)
        self.rows = jax.eval_shape(partial(rows_of, work, chunk // self.plan.every), given, limits, self.fed)
        carry = begin(work, given, limits, self.fed)
        self.begin = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), carry)  # it will be donated

    @contextlib.contextmanager
    def opened(self, folder):
        """The store in a folder; one of fewer steps is made one of these."""
        there = self.steps
        with contextlib.suppress(StoreError):
            there = read_identity(folder).get("steps", there) if os.path.isdir(folder) else there
        shorter = isinstance(there, int) and 0 < there < self.steps
        with opened(folder, self.identity(there if shorter else self.steps)) as kept:
            if shorter:
                if there % self.chunk:  # its last chunk is not a whole one
                    for kind in ("state", "chunk"):
                        kept.discard(there // self.chunk, kind)
                kept = renewed(kept, self.identity(self.steps))
            yield kept

    def drive(self, kept, told):
        """Run all chunks that are not in the store yet, and return the run."""
        every = self.plan.every
        number, carry = self._taken_up(self.begin, kept)
        buffer = jax.tree.map(lambda row: jnp.zeros(row.shape, row.dtype), self.rows)
        total = -(-self.steps // every)
        history = None if kept else jax.tree.map(lambda row: _unwritten(total, row), self.rows)
        reason, batches = self._reason(carry), self._fetched(number)
        while (done := min(number * self.chunk, self.steps)) < self.steps and (number == 0 or not reason.all()):
            until = min(done + self.chunk, self.steps)
            carry, buffer = advance(self.work, self.given, self.limits, carry, buffer, batches(), done, until)
            batches = self._fetched(number + 1)  # as the device computes
            first, count = done // every, -(-(until - done) // every)
            recorded = jax.tree.map(lambda rows, count=count: np.array(rows[:count]), buffer)
            if kept:
                self._keep(kept, number, recorded, carry)
            else:
                for whole_history, rows in zip(jax.tree.leaves(history), jax.tree.leaves(recorded), strict=True):
                    whole_history[first : first + count] = rows
            number, reason = number + 1, self._reason(carry)
            told(until, _words(recorded, reason))
        reason = jnp.where(reason == 0, REASONS.index("steps"), reason).astype(jnp.int32)
        history = jax.tree.map(jnp.asarray, history or {})
        run = finished(self.plan.objective, carry, history, reason, every, jnp.int32(0))
        return dataclasses.replace(run, ends=_ends(kept, number)) if kept else run

    def identity(self, steps):
        """The identity of a run of so many steps, as JSON: hashes of its program and arguments, and its sizes."""
        buffer = jax.tree.map(lambda row: jnp.zeros(row.shape, row.dtype), self.rows)
        ends = self.chunk, self.chunk  # any whole numbers
        traced = advance.trace(self.work, self.given, self.limits, self.begin, buffer, self.fed, *ends)
        arrays = self.feed.between(0, steps, steps)() if isinstance(self.feed, Slices) else None
        return {
            "schema": SCHEMA,
            "kind": "long run",
            "program": digest(fingerprint(traced.jaxpr)),
            "arguments": digest(*map(array_bytes, jax.tree.leaves((self.given, self.limits)))),
            "batches": digest(*map(array_bytes, jax.tree.leaves(arrays))),
            "steps": steps,
            "chunk": self.chunk,
            "every": self.plan.every,
            "batched": list(self.lanes),
            "record": [name for name, _ in self.plan.recorders],
            "versions": {"jax": jax.__version__, "device": jax.devices()[0].device_kind},
            "argv": " ".join(sys.argv),
        }

    def _fetched(self, number):
        """What returns the batches of a chunk, None where there are no more or the program draws them itself."""
        done = number * self.chunk
        if self.feed is None or done >= self.steps:
            return lambda: None
        return self.feed.between(done, min(done + self.chunk, self.steps), self.chunk)

    def _reason(self, carry):
        """Why each lane ended, 0 where it has not."""
        return np.asarray(carry.watch.reason if self.limits else _lost(self.lanes, carry.at.params))

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


def _ends(kept, number):
    """The first and the last loss of each run that a store of so many chunks holds, None where it holds none."""
    first, *_ = (kept.read(0) or {}).get("loss", [None])
    if first is None or not jnp.issubdtype(first.dtype, jnp.inexact):  # of a recorder of that name
        return None
    last = np.full_like(first, np.nan)
    for i in reversed(range(number)):
        last = last_known(np.stack([last_known(kept.read(i)["loss"]), last]))
        if not np.isnan(last).any():
            break
    return jnp.stack([first, last])


@partial(jax.jit, static_argnums=0)
def _lost(lanes, params):
    """The reason "not finite" where parameters are not, else 0."""

    def lost(params):
        return jnp.where(all_finite(params), 0, REASONS.index("not finite"))

    return jax.vmap(lost)(params) if lanes else lost(params)


def _of_one(params):
    """The params of the first lane."""
    return jax.tree.map(lambda leaf: leaf[0] if jnp.ndim(leaf) else leaf, params)


def _words(recorded, reason):
    alive = f"alive {np.mean(reason != REASONS.index('not finite')):.0%}"
    losses = recorded.get("loss", np.zeros(0))[-1:]
    losses = losses[np.isfinite(losses)]
    return f"median loss {np.median(losses):.3g}, {alive}" if losses.size else alive


def _array(leaf):
    return leaf if isinstance(leaf, jax.Array | np.ndarray) else jnp.asarray(leaf)


def _unwritten(rows, chunk):
    return np.full((rows, *chunk.shape[1:]), missing(chunk.dtype), chunk.dtype)


def _numbers(leaf):
    is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def _like(leaf, numbers):
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.array(numbers), impl=jax.random.key_impl(leaf))
    return jnp.array(numbers, leaf.dtype)
