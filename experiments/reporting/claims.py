"""Every claim of the lectures by its number: the table of README.md, and where a page of runs shows each."""

import html
import re
from collections.abc import Sequence
from pathlib import Path

from ..reporting.pages import Run, anchor, item_of, marked

TABLE = Path(__file__).parents[1] / "lectures" / "README.md"
GROUP = 20  # claims to a link of the navigation


def claims() -> list[tuple[str, str, list[str], str]]:
    """The number of each claim, what it says, the experiments that show it, and what else is said of that.

    >>> claims()[51]
    ('S52', '(1 - w1 w2)^2', ['saddle'], '')
    """
    rows = re.findall(r"^\| (S\d+|\d\.\d+) \| (.+) \| (.+) \|$", TABLE.read_text("utf-8"), re.MULTILINE)
    link = re.compile(r"\[(\w+)\]\(\./\w+\.py\)")
    return [(number, says, link.findall(shown), link.sub("", shown).strip(", ")) for number, says, shown in rows]


def overview(runs: Sequence[Run]) -> tuple[str, str]:
    """The table of runs, and that of claims where any of the runs shows one; and the navigation to what is there."""
    checked = [run for run in runs if "checks" in run.summary]
    said = ""
    if checked:
        rows = [check for run in checked for check in run.summary["checks"]]
        passed = sum(check["passed"] for check in rows)
        said = f"<p>Checks passed: {passed} of {len(rows)}; experiments: {len(checked)}.</p>"
    listed = "".join(
        f'<tr><td><a href="#{anchor("run", run.name)}">{html.escape(run.name)}</a></td>'
        f"<td>{html.escape(run.section['title'])}</td><td>{verdict(run)}</td>"
        f"<td>{run.meta['wall_seconds']:.1f} s</td></tr>"
        for run in runs
    )
    table = f'<div class="wide" id="runs"><table>{listed}</table></div>'
    shown = by_number(checked)
    return said + table + (section(shown) if shown else ""), navigation(list(shown))


def navigation(numbers: Sequence[str]) -> str:
    r"""Links to the runs, to the claims that are shown, and to the first of each group of them.

    >>> re.findall(r"#([\w.-]+)", navigation(["S3", "S7", "S57", "3.1"]))
    ['runs', 'claims', 'claim-S3', 'claim-S57', 'claim-3.1']
    """
    links = [("runs", "Runs")]
    if numbers:
        links.append(("claims", "Claims"))
    groups: dict[int, str] = {}
    for number in (number for number in numbers if number.startswith("S")):
        groups.setdefault((int(number[1:]) - 1) // GROUP, number)
    links += [(anchor("claim", number), number) for number in groups.values()]
    links += [(anchor("claim", number), "Papers") for number in numbers if not number.startswith("S")][:1]
    listed = "".join(f'<a href="#{place}">{words}</a>' for place, words in links)
    return f"<nav>{listed}</nav>"


def verdict(run: Run) -> str:
    """Whether all checks of a run passed; nothing where it has none."""
    return marked("passed" if run.summary["passed"] else "FAILED") if "checks" in run.summary else ""


def by_number(runs: Sequence[Run]) -> dict[str, str]:
    """The row of each claim that these runs show, by its number: what it says, and links to its checks."""
    of_command: dict[str, list[Run]] = {}
    for run in runs:
        of_command.setdefault(run.command, []).append(run)
    rows = {}
    for number, says, names, instead in claims():
        shown = [link(run, number) for name in names for run in of_command.get(name, [])]
        if not of_command or (names and not shown):
            continue  # it is all elsewhere
        missing = [html.escape(name) for name in names if name not in of_command]
        where = ", ".join([*shown, *(f'<span class="soft">{name}, not here</span>' for name in missing)])
        rows[number] = (
            f'<tr id="{anchor("claim", number)}"><td>{number}</td><td>{html.escape(says)}</td><td>{where}'
            f'{f"""<span class="soft">{html.escape(instead)}</span>""" if instead else ""}</td></tr>'
        )
    return rows


def section(rows: dict[str, str]) -> str:
    """The section with a row for each claim."""
    return (
        '<section id="claims"><h2>Every claim by its number</h2><div class="wide"><table>'
        f"<tr><th>item</th><th>what it says</th><th>shown by</th></tr>{''.join(rows.values())}</table></div></section>"
    )


def link(run: Run, number: str) -> str:
    """A link to the first check of an item in a run, with the number of those that passed; or to the run."""
    checks = [check for check in run.summary["checks"] if item_of(check["item"]) == number]
    name = html.escape(run.name)
    if not checks:
        return f'<a href="#{anchor("run", run.name)}">{name}</a>'
    passed = sum(check["passed"] for check in checks)
    failed = "" if passed == len(checks) else f" {marked('FAILED')}"
    return f'<a href="#{anchor("check", run.name, number)}">{name}</a> {passed} of {len(checks)}{failed}'
