"""One page of all the runs that a folder holds."""

from ..cli.settings import InputError, OnFolder
from ..reporting import claims, pages
from ..reporting.run_folder import write_new


def main(settings: OnFolder) -> int:
    """Write the page of a folder; the exit status."""
    out = settings.out or settings.folder / "report.html"
    folders = [settings.folder, *sorted(path for path in settings.folder.glob("*") if not path.name.startswith("."))]
    runs = pages.told_apart([pages.read(folder) for folder in folders if (folder / "report.json").is_file()])
    if not runs:
        raise InputError(f"folder must hold finished runs, each with a report.json; got {settings.folder}")
    overview, navigation = claims.overview(runs)
    write_new(out, pages.page("What came out", runs, overview, navigation))
    print(f"written: {out}, runs: {len(runs)}, {out.stat().st_size / 1e6:.1f} MB")
    return 0
