"""Every claim of the lectures by its number: the table of README.md, and where a page of runs shows each."""

import html
import re
from collections.abc import Sequence
from pathlib import Path

from experiments.pages import Run, marked

HERE = Path(__file__).parent
NAVIGATION = (
    '<nav><a href="#runs">Runs</a><a href="#claims">Claims</a>'
    + "".join(f'<a href="#claim-S{n}">S{n}</a>' for n in range(1, 102, 20))
    + '<a href="#claim-2.1">Papers</a></nav>'
)


def claims() -> list[tuple[str, str, list[str], str]]:
    """The number of each claim, what it says, the experiments that show it, and what else is said of that.

    >>> claims()[51]
    ('S52', '(1 - w1 w2)^2', ['saddle'], '')
    """
    rows = re.findall(r"^\| (S\d+|\d\.\d+) \| (.+) \| (.+) \|$", (HERE / "README.md").read_text("utf-8"), re.MULTILINE)
    link = re.compile(r"\[(\w+)\]\(\./\w+\.py\)")
    return [(number, says, link.findall(shown), link.sub("", shown).strip(", ")) for number, says, shown in rows]


def overview(runs: Sequence[Run]) -> str:
    """The table of runs, and that of claims where any of the runs shows one."""
    checked = [run for run in runs if "checks" in run.summary]
    said = ""
    if checked:
        rows = [check for run in checked for check in run.summary["checks"]]
        passed = sum(check["passed"] for check in rows)
        said = f"<p>Checks passed: {passed} of {len(rows)}; experiments: {len(checked)}.</p>"
    listed = "".join(
        f'<tr><td><a href="#{html.escape(run.name, quote=True)}">{html.escape(run.name)}</a></td>'
        f"<td>{html.escape(run.section['title'])}</td><td>{verdict(run)}</td>"
        f"<td>{run.meta['wall_seconds']:.1f} s</td></tr>"
        for run in runs
    )
    table = f'<div class="wide" id="runs"><table>{listed}</table></div>'
    return said + table + (by_number(checked) if checked else "")


def verdict(run: Run) -> str:
    """Whether all checks of a run passed; nothing where it has none."""
    return marked("passed" if run.summary["passed"] else "FAILED") if "checks" in run.summary else ""


def by_number(runs: Sequence[Run]) -> str:
    """The table of claims that these runs show: number, what it says, and links to its checks."""
    of_command = {run.command: run for run in runs}
    rows = []
    for number, says, names, instead in claims():
        shown = [link(of_command[name], number) for name in names if name in of_command]
        if names and not shown:
            continue  # it is all elsewhere
        missing = [html.escape(name) for name in names if name not in of_command]
        where = ", ".join([*shown, *(f'<span class="soft">{name}, not here</span>' for name in missing)])
        rows.append(
            f'<tr id="claim-{number}"><td>{number}</td><td>{html.escape(says)}</td><td>{where}'
            f'{f"""<span class="soft">{html.escape(instead)}</span>""" if instead else ""}</td></tr>'
        )
    return (
        '<section id="claims"><h2>Every claim by its number</h2><div class="wide"><table>'
        f"<tr><th>item</th><th>what it says</th><th>shown by</th></tr>{''.join(rows)}</table></div></section>"
    )


def link(run: Run, number: str) -> str:
    """A link to the first check of an item in a run, with the number of those that passed; or to the run."""
    checks = [check for check in run.summary["checks"] if re.fullmatch(rf"{re.escape(number)}[a-z]?", check["item"])]
    name = html.escape(run.name, quote=True)
    if not checks:
        return f'<a href="#{name}">{name}</a>'
    passed = sum(check["passed"] for check in checks)
    failed = "" if passed == len(checks) else f" {marked('FAILED')}"
    return f'<a href="#{name}-{number}">{name}</a> {passed} of {len(checks)}{failed}'
