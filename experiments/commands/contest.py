"""Which optimizer should be taken where, and how sure is that?

python3 lab.py contest --optimizers adam,muon,optax.lamb --store store          goes on after a kill
python3 lab.py contest --store store/1 --shard 1/2                              one of two independent jobs
python3 lab.py merge store/1 store/2                                            what the whole contest would write
"""

import xarray

from ..cli.settings import Contest, InputError, at_least_one, share
from ..reporting.contest_report import publish_contest
from ..reporting.run_folder import dump
from ..reporting.swept import warnings_as_lines
from ..workloads.contest import contest
from ..workloads.tasks import TASKS


def main(settings: Contest) -> int:
    """Run the contest, print the tables, write the folder, or only the store of a share; the exit status."""
    shard = (0, 1) if settings.shard is None else share(settings.shard)
    if settings.shard is not None and settings.store is None:
        raise InputError(f"store must name a folder for the share {settings.shard}; got none")
    if settings.store is not None and settings.out.resolve() in (store := settings.store.resolve(), *store.parents):
        raise InputError(f"store must be no folder in out, which a finished contest takes; got {settings.store}")
    for name in ("tuning", "seeds", "steps"):
        if getattr(settings, name) is not None:
            at_least_one(name, getattr(settings, name))
    if settings.seeds < 2:
        raise InputError(f"seeds must be at least 2, to tell a difference from chance; got {settings.seeds}")
    try:
        if settings.shard is None:
            return publish_contest(settings, "contest", lambda: held(settings, shard))
        with warnings_as_lines():
            dataset = held(settings, shard)
    except KeyboardInterrupt:
        if settings.store is None:
            raise
        raise KeyboardInterrupt(f"the same command goes on from what is in {settings.store}") from None
    units = int(dataset["done"].sum())
    if settings.json:
        print(dump({"shard": settings.shard, "units": units, "store": str(settings.store)}))
    else:
        print(f"share {settings.shard}: {units} units; written: {settings.store}; `merge` joins the shares")
    return 0


def held(settings: Contest, shard: tuple[int, int]) -> xarray.Dataset:
    """The dataset of a share of the contest."""
    tasks = [name for text in settings.tasks for name in text.split(",") if name]
    return contest(
        settings.optimizers,
        tasks or tuple(TASKS),
        tuning=settings.tuning,
        seeds=settings.seeds,
        seed=settings.seed,
        lr=settings.lr,
        steps=settings.steps,
        match_rms=settings.match_rms,
        store=settings.store,
        shard=shard,
        progress=settings.progress,
    )
