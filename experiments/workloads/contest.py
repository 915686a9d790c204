"""A contest: every optimizer on every task, its rate tuned by some runs and judged by others.

    unit  =  a task and an optimizer:   tuning runs, one for each rate, all with one seed   ->  the lowest score's rate
                                        judging runs, at that rate, each with a new seed    ->  the scores that count

A seed decides the start, the split of the data and their order, the same for all optimizers; the tuning runs are scored
on other data than the judging runs.  A unit is computed by one compiled program and kept in a store as a whole, so that
a killed contest goes on with the next one, and shards share the units.

With `match_rms` a rate is the root mean square of the updates that it makes: each optimizer's rates are divided by the
root mean square of its first updates at rate 1, with the parameters held at the start.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np
import optax
import xarray
from jax.flatten_util import ravel_pytree

import gdlab
from gdlab.progress import bar
from gdlab.storage.store import Store, StoreError, check_same, digest, opened, read_identity

from ..cli.settings import InputError, learning_rates
from ..workloads.optimizers import named_optimizers
from ..workloads.tasks import TASKS, Task

ROWS = 25  # recorded losses of a run
MATCHED = "1e-5:1e-1"  # the range of root mean squares of updates
FIRST, SMALL = 10, 1e-3  # updates that are measured, and their rate
CONTEST = 1  # the version of what a store of a contest holds

Made = Callable[[Any], Any]
Arrays = dict[str, np.ndarray]


def contest(
    optimizers: Sequence[str],
    tasks: Sequence[str] = tuple(TASKS),
    *,
    tuning: int = 8,
    seeds: int = 5,
    seed: int = 0,
    lr: str | None = None,
    steps: int | None = None,
    match_rms: bool = False,
    store: Path | None = None,
    shard: tuple[int, int] = (0, 1),
    progress: Any = False,
) -> xarray.Dataset:
    """Run a contest; the labelled scores, with dims (optimizer, task, trial) and (optimizer, task, run).

    Args:
        optimizers: names of gdlab, optax or optax.contrib, or FILE.py:make_optimizer, as `named_optimizers` takes them.
        tasks: names of `TASKS`.
        tuning: how many rates are tried.
        seeds: how many runs judge the best of them.
        seed: of all runs.
        lr: `lo:hi`, the range of rates, by default what fits each task.
        steps: of each run, by default what each task needs.
        match_rms: take a rate as the root mean square of the updates.
        store: a folder that keeps each finished unit; the same contest goes on from it.
        shard: (i, n): only every n-th unit, from the i-th on, into the store; `merged` joins the stores.
        progress: True for a bar, or a function of (done, total) units.

    Raises:
        InputError: for a name of no optimizer or task, or a range that is none.
        StoreError: for a store of something else, in use, or that cannot be written.
    """
    for name in tasks:
        if name not in TASKS:
            raise InputError(f"tasks must be among {', '.join(TASKS)}; got {name!r}")
    made = named_optimizers(optimizers)
    said = {
        "contest": CONTEST, "optimizers": list(made), "tasks": list(tasks), "tuning": tuning, "seeds": seeds,
        "seed": seed, "lr": lr or "", "steps": steps or 0, "match_rms": int(match_rms),
    }  # fmt: skip
    units = [(task, name) for task in tasks for name in made]
    for task in tasks:
        rates_of(TASKS[task], said)
    identity = {**said, "files": _files(made), "shard": list(shard), "versions": _versions()}
    held = contextlib.nullcontext() if store is None else opened(store, identity)
    done: dict[int, Arrays] = {}
    with bar(progress, "contest", len(units)) as advance, held as stored:
        for number in range(len(units))[shard[0] :: shard[1]]:
            arrays = stored.read(number) if stored else None
            if arrays is None:
                task, name = units[number]
                arrays = computed(TASKS[task], made[name], said)
                if stored:
                    stored.write(number, arrays)
            done[number] = arrays
            advance(number + 1, " on ".join(reversed(units[number])))
    return labelled(done, said)


def merged(stores: Sequence[Path]) -> xarray.Dataset:
    """The dataset of a contest whose shards were computed into these stores.

    Raises:
        StoreError: for stores of different contests, and where a unit is missing.
    """
    parts = [Store(folder, read_identity(folder)) for folder in stores]
    said = dict(parts[0].identity)
    for part in parts:
        check_same(part.folder, {**part.identity, "shard": None}, {**said, "shard": None})
    done: dict[int, Arrays] = {}
    for number in range(len(said["tasks"]) * len(said["optimizers"])):
        found = [arrays for part in parts if (arrays := part.read(number)) is not None]
        if not found:
            msg = f"stores must hold every unit of the contest; unit {number} is in none of the {len(parts)}"
            raise StoreError(msg)
        done[number] = found[0]
    return labelled(done, {name: said[name] for name in said if name not in ("shard", "files", "versions")})


def is_contest(folder: Path) -> bool:
    """Whether a store is of a contest."""
    return "contest" in read_identity(folder)


def rates_of(task: Task, said: Mapping[str, Any]) -> np.ndarray:
    """The rates that are tried on a task."""
    given = said["lr"] or (MATCHED if said["match_rms"] else task.lr.rpartition(":")[0])
    low, high, count = learning_rates(f"{given}:{said['tuning']}")
    return np.geomspace(low, high, count)


def computed(task: Task, make: Made, said: Mapping[str, Any]) -> Arrays:
    """The arrays of a unit: rates and scores of the tuning runs; scores, losses and ends of the judging runs."""
    rates, key = rates_of(task, said), jax.random.key(said["seed"])
    if said["match_rms"]:
        rates = rates / float(jax.jit(lambda key: size_of_updates(task, make, key))(_key(key, 0)))
    lanes = jax.jit(jax.vmap(lambda rate, key: one_run(task, make, said["steps"] or task.steps, rate, key)))
    tried = jax.device_get(lanes(jnp.asarray(rates), jnp.stack([_key(key, 0)] * len(rates))))
    best = int(np.argmin(np.where(np.isfinite(tried["tuned"]), tried["tuned"], np.inf)))
    keys = [_key(key, 1 + number) for number in range(said["seeds"])]
    judged: list[Arrays] = []
    for first in range(0, len(keys), len(rates)):  # in lanes of the same program, the last key again where they end
        part = keys[first : first + len(rates)]
        filled = jnp.stack([*part, *[part[-1]] * (len(rates) - len(part))])
        ran = jax.device_get(lanes(jnp.full(len(rates), rates[best]), filled))
        judged.append({name: values[: len(part)] for name, values in ran.items()})
    whole = {name: np.concatenate([part[name] for part in judged]) for name in judged[0]}
    return {
        "rate": np.asarray(rates, float),
        "tuning_score": np.asarray(tried["tuned"], float),
        "score": np.asarray(whole["judged"], float),
        "loss": np.asarray(whole["loss"], float),
        **({"end": np.asarray(whole["end"])} if task.surface is not None else {}),
    }


def one_run(task: Task, make: Made, steps: int, rate: Any, key: jax.Array) -> dict[str, jax.Array]:
    """Both scores of a run, its losses, and where it ended."""
    drawn, optimizer = task.draw(jax.random.fold_in(key, 0)), make(rate)
    run = gdlab.minimize(
        drawn.loss, optimizer, drawn.params, steps, key=jax.random.fold_in(key, 1), every=_every(steps)
    )
    params = averaged(optimizer, run)
    tuned, judged = drawn.scores(params)
    return {"tuned": tuned, "judged": judged, "loss": run.history["loss"], "end": ravel_pytree(params)[0]}


def averaged(optimizer: Any, run: Any) -> Any:
    """The parameters to evaluate: those of the run, or the average that a schedule-free optimizer is read by."""
    with contextlib.suppress(TypeError):
        return gdlab.schedule_free_average(optimizer, run.state, run.params)
    return run.params


def size_of_updates(task: Task, make: Made, key: jax.Array) -> jax.Array:
    """The median root mean square of the first updates over their rate, at the start itself."""
    drawn = task.draw(jax.random.fold_in(key, 0))
    optimizer, theta = optax.with_extra_args_support(make(SMALL)), drawn.params

    def step(state, t):
        def value_fn(params):
            return drawn.loss(params, key=jax.random.fold_in(key, t))

        value, grads = jax.value_and_grad(value_fn)(theta)
        update, state = optimizer.update(grads, state, theta, value=value, grad=grads, value_fn=value_fn)
        return state, jnp.sqrt(jnp.mean(ravel_pytree(update)[0].astype(float) ** 2))

    return jnp.median(jax.lax.scan(step, optimizer.init(theta), jnp.arange(FIRST))[1]) / SMALL


def labelled(done: Mapping[int, Arrays], said: Mapping[str, Any]) -> xarray.Dataset:
    """The dataset of what is done; NaN, and not `done`, where a unit is not."""
    shape = (len(said["tasks"]), len(said["optimizers"]))
    dims = ("task", "optimizer")
    sizes = {"rate": said["tuning"], "tuning_score": said["tuning"], "score": said["seeds"]}
    names = {"rate": "trial", "tuning_score": "trial", "score": "run"}
    variables: dict[str, Any] = {
        name: ((*dims, names[name]), np.full((*shape, size), np.nan)) for name, size in sizes.items()
    }
    variables["done"] = (dims, np.zeros(shape, bool))
    for number, arrays in done.items():
        place = np.unravel_index(number, shape)
        variables["done"][1][place] = True
        for name in sizes:
            variables[name][1][place] = arrays[name]
    for kind, along in (("loss", "row"), ("end", "coordinate")):
        for i, task in enumerate(said["tasks"]):
            of_task = {number % shape[1]: arrays[kind] for number, arrays in done.items()
                       if number // shape[1] == i and kind in arrays}  # fmt: skip
            if of_task:
                empty = np.full((shape[1], *next(iter(of_task.values())).shape), np.nan)
                for row, values in of_task.items():
                    empty[row] = values
                variables[f"{kind} of {task}"] = (("optimizer", "run", f"{along} of {task}"), empty)
    coordinates: dict[str, Any] = {"task": list(said["tasks"]), "optimizer": list(said["optimizers"])}
    for task in said["tasks"]:
        if f"loss of {task}" in variables:
            rows = variables[f"loss of {task}"][1].shape[-1]
            coordinates[f"row of {task}"] = _every(said["steps"] or TASKS[task].steps) * np.arange(rows)
    dataset = xarray.Dataset(variables, coordinates, said)
    return dataset.transpose("optimizer", "task", ...)


def _every(steps):
    """How many steps apart the recorded losses are."""
    return -(-steps // ROWS)


def _key(key, number):
    return jax.random.fold_in(key, number)


def _files(made):
    """A digest of the files that optimizers are made by."""
    paths = sorted({name.rpartition(":")[0] for name in made if ".py:" in name})
    return digest(*(Path(path).read_bytes() for path in paths)) if paths else ""


def _versions():
    found = {"jax": jax.__version__, "jaxlib": jaxlib.__version__, "optax": optax.__version__}
    return {**found, "x64": bool(jax.config.read("jax_enable_x64"))}
