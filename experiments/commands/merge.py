"""Merge the stores that independent jobs wrote, one for each share of a sweep."""

import gdlab

from ..cli.settings import InputError, Merge
from ..reporting.swept import publish_sweep


def main(settings: Merge) -> int:
    """Merge, write the folder, print the table; the exit status."""

    def merged():
        dataset = gdlab.merge(*settings.stores)
        if "optimizer" not in dataset.dims or "problem" not in dataset.attrs:
            raise InputError(f"stores must be of `sweep`; {settings.stores[0]} is of another program")
        return dataset

    return publish_sweep(settings, "merge", merged)
