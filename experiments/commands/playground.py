"""Every surface on one page to play with, for any static host."""

from ..cli.settings import Playground
from ..playground.gallery import gallery
from ..reporting.run_folder import write_new
from ..workloads.optimizers import named_optimizers


def main(settings: Playground) -> int:
    """Write the page; the exit status."""
    text = gallery(named_optimizers(settings.optimizers))
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    write_new(settings.out, text)
    print(f"written: {settings.out}, {len(text.encode()) / 1e3:.0f} kB")
    return 0
