"""Join the stores of all shards of one sweep, computed by independent jobs."""

import time

import gdlab
from experiments.runs import new_folder
from experiments.settings import InputError, Merge
from experiments.swept import said_plainly, write


def main(settings: Merge) -> int:
    """Merge, print the table, write the folder; the exit status."""
    started = time.time()
    with said_plainly(), new_folder(settings.out) as folder:
        dataset = gdlab.merge(*settings.stores)
        if "optimizer" not in dataset.dims or "problem" not in dataset.attrs:
            raise InputError(f"stores must be of `sweep`; {settings.stores[0]} is of another program")
        write(folder, "merge", dataset, settings, started, settings.out)
    return 0
