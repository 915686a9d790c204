"""Which rate suits which optimizer, over as many runs as there are machines for?

python3 lab.py sweep himmelblau --store store                    goes on after a kill
python3 lab.py sweep himmelblau --store store/1 --shard 1/4      one of four independent jobs
python3 lab.py merge store/1 store/2 store/3 store/4             what the whole sweep would have written
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import xarray

import gdlab

from ..cli.settings import Sweep, at_least_one
from ..reporting.swept import publish_or_keep, publish_sweep, share_of
from ..workloads.optimizers import named_optimizers
from ..workloads.workload import Workload, load, rates_of, spaced


def main(settings: Sweep) -> int:
    """Sweep, print the table, write the folder, or only the store of a share; the exit status."""
    shard = share_of(settings, "sweep")
    for name in ("steps", "starts", "every", "chunk"):
        if getattr(settings, name) is not None:
            at_least_one(name, getattr(settings, name))

    def make():
        return swept(settings, shard)

    def runs(dataset):
        return int(dataset["done"].sum()) if "done" in dataset else int(dataset["alive"].size)

    return publish_or_keep(settings, lambda: publish_sweep(settings, "sweep", make), make, "runs", runs)


def swept(settings: Sweep, shard: tuple[int, int]) -> xarray.Dataset:
    """The dataset of a share of the sweep: the loss along each run, with dims (optimizer, lr, start, step)."""
    workload = load(settings)
    optimizers = named_optimizers(settings.optimizers)
    low, high, count = rates_of(settings, workload)
    steps = settings.steps or workload.steps
    every = settings.every or -(-steps // 100)
    said = {"problem": workload.name, "steps": steps, "every": every, "seed": settings.seed}
    return gdlab.sweep(
        run_of(workload, settings.seed, steps, every),
        dims={"loss": ["step"]},
        chunk=settings.chunk,
        store=settings.store,
        shard=shard,
        progress=settings.progress,
        attrs=said,
        optimizer=optimizers,
        lr=spaced(low, high, count),
        start=(workload.starts, jnp.arange(len(workload.seen_as))),
    )


def run_of(workload: Workload, seed: int, steps: int, every: int) -> Callable[..., dict[str, jax.Array]]:
    """The function of one run: its loss at each recorded step and at the end."""

    def run(optimizer, lr, start):
        params, number = start
        key = jax.random.fold_in(jax.random.key(seed), number)
        batches = None if workload.batches is None else workload.batches(key)
        args = () if workload.batches else workload.args
        ran = gdlab.minimize(workload.loss, optimizer(lr), params, steps, args=args, batches=batches, every=every)
        return {"loss": jnp.append(ran.history["loss"], workload.loss(ran.params, *workload.args))}

    return run
