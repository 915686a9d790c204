"""Merge the stores that independent jobs wrote, one for each share of a sweep or a contest."""

import gdlab

from ..cli.settings import InputError, Merge
from ..reporting.contest_report import publish_contest
from ..reporting.swept import publish_sweep, warnings_as_lines
from ..workloads.contest import is_contest
from ..workloads.contest import merged as merged_contest


def main(settings: Merge) -> int:
    """Merge, write the folder, print the table; the exit status."""
    with warnings_as_lines():
        of_contest = bool(settings.stores) and is_contest(settings.stores[0])
    if of_contest:
        return publish_contest(settings, "merge", lambda: merged_contest(settings.stores))

    def merged():
        dataset = gdlab.merge(*settings.stores)
        if "optimizer" not in dataset.dims or "problem" not in dataset.attrs:
            raise InputError(f"stores must be of `sweep`; {settings.stores[0]} is of another program")
        return dataset

    return publish_sweep(settings, "merge", merged)
