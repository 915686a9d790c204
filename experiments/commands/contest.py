"""Which optimizer should be taken where, and how sure is that?

python3 lab.py contest --optimizers adam,muon,optax.lamb --store store          goes on after a kill
python3 lab.py contest --store store/1 --shard 1/2                              one of two independent jobs
python3 lab.py merge store/1 store/2                                            what the whole contest would write
"""

import xarray

from ..cli.settings import Contest, InputError, at_least_one
from ..reporting.contest_report import publish_contest
from ..reporting.swept import publish_or_keep, share_of
from ..workloads.contest import contest
from ..workloads.tasks import TASKS


def main(settings: Contest) -> int:
    """Run the contest, print the tables, write the folder, or only the store of a share; the exit status."""
    shard = share_of(settings, "contest")
    for name in ("tuning", "seeds", "steps"):
        if getattr(settings, name) is not None:
            at_least_one(name, getattr(settings, name))
    if settings.seeds < 2:
        raise InputError(f"seeds must be at least 2, to tell a difference from chance; got {settings.seeds}")

    def make():
        return held(settings, shard)

    def units(dataset):
        return int(dataset["done"].sum())

    return publish_or_keep(settings, lambda: publish_contest(settings, "contest", make), make, "units", units)


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
