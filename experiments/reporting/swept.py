"""What a sweep found: its dataset, a table of the best learning rates, and a figure.

For each optimizer: the rate with the lowest median of final losses over the starts, and the share of runs that
diverged; runs that did stay in the dataset, with the row in which they died.
"""

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xarray

from gdlab.storage.store import StoreError

from ..cli.settings import InputError, in_one_line, share
from ..reporting.run_folder import Findings, Table, dump, publish, write_dataset

COLUMNS = ("optimizer", "best lr", "median loss", "quartiles", "diverged")


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Report a store that cannot be used as bad input, and each warning of a store as one line on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_: print("note:", in_one_line(str(message)), file=sys.stderr)
        try:
            yield
        except StoreError as error:
            raise InputError(str(error)) from None


def publish_sweep(settings: Any, name: str, make: Callable[[], xarray.Dataset]) -> int:
    """Make the dataset of a sweep, write its folder, and print its table; the exit status."""
    with warnings_as_lines():
        return publish(settings, name, lambda _: findings(make()))


def share_of(settings: Any, name: str) -> tuple[int, int]:
    """The share (i, n) of the work that is asked for, by default all of it.

    Raises:
        InputError: for a share without a store, or a store within the folder to write.
    """
    shard = (0, 1) if settings.shard is None else share(settings.shard)
    if settings.shard is not None and settings.store is None:
        raise InputError(f"store must name a folder for the share {settings.shard}; got none")
    if settings.store is not None and settings.out.resolve() in (store := settings.store.resolve(), *store.parents):
        raise InputError(f"store must be no folder in out, which a finished {name} takes; got {settings.store}")
    return shard


def publish_or_keep(
    settings: Any, publish: Callable[[], int], make: Callable[[], xarray.Dataset], unit: str, count: Callable[..., int]
) -> int:
    """Publish the whole, or make the share that is asked for, which its store keeps, and say how much it is."""
    try:
        if settings.shard is None:
            return publish()
        with warnings_as_lines():
            made = count(make())
    except KeyboardInterrupt:
        if settings.store is None:
            raise
        raise KeyboardInterrupt(f"the same command goes on from what is in {settings.store}") from None
    if settings.json:
        print(dump({"shard": settings.shard, unit: made, "store": str(settings.store)}))
    else:
        print(f"share {settings.shard}: {made} {unit}; written: {settings.store}; `merge` joins the shares")
    return 0


def findings(dataset: xarray.Dataset) -> Findings:
    """The table of the best rates, and the figure, of the dataset of a sweep."""
    problem, steps, every = (dataset.attrs[name] for name in ("problem", "steps", "every"))
    dataset = dataset.assign_coords(step=[*range(0, steps, every), steps])
    rows = [_row(dataset.sel(optimizer=optimizer)) for optimizer in dataset["optimizer"].values]
    shown = [
        [
            row["optimizer"],
            f"{row['best_lr']:.3g}",
            f"{row['median_loss']:.6g}",
            " to ".join(f"{value:.4g}" for value in row["quartiles"]),
            f"{row['diverged']:.0%}",
        ]
        for row in rows
    ]
    title = f"Sweep on {problem}: {dataset['alive'].size} runs, {steps} steps"
    return Findings(
        title=title,
        summary={"problem": problem, "runs": int(dataset["alive"].size), "optimizers": rows},
        tables=[Table(title, COLUMNS, shown)],
        draw=lambda: _draw(dataset, title),
        save=lambda folder: write_dataset(folder / "results.nc", dataset),
    )


def _final(dataset):
    """The loss at the end, NaN where a run diverged, with dims (lr, start)."""
    return dataset["loss"].isel(step=-1).where(dataset["alive"])


def _row(dataset):
    final = _final(dataset)
    low, middle, high = np.nanquantile(final.fillna(np.inf), (0.25, 0.5, 0.75), axis=-1, method="nearest")
    best = int(np.argmin(middle))
    return {
        "optimizer": str(dataset["optimizer"].values),
        "best_lr": float(dataset["lr"][best]),
        "median_loss": float(middle[best]),
        "quartiles": [float(low[best]), float(high[best])],
        "diverged": float(1 - dataset["alive"].mean()),
    }


def _draw(dataset, title):
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    names = [str(name) for name in dataset["optimizer"].values]
    above = figures.above(_final(dataset), figures.lowest(dataset["loss"], dataset["step"]))
    for i, (name, colour) in enumerate(figures.colors(names).items()):
        here = dataset.sel(optimizer=name)
        figures.band(here["lr"], above[i], label=name, color=colour, ax=axes[0])
        axes[1].plot(figures.drawable(here["lr"]), 1 - here["alive"].mean("start"), color=colour, label=name)
    axes[0].set(xlabel="learning rate", ylabel="final loss above the lowest", title=figures.plain(title))
    axes[1].set(xlabel="learning rate", ylabel="share of runs that diverged", ylim=(-0.03, 1.03))
    figures.log_axis("y", above, ax=axes[0])
    for part in axes:
        figures.log_axis("x", dataset["lr"], ax=part)
    figures.legend(fontsize=7, ax=axes[0])
    return figure
