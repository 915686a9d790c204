"""Pages of finished runs: one HTML file each, that needs no network, with its figures inside.

A run's folder  ->  its section: words, figure, tables, and the command that repeats it;  sections  ->  a page.
Every text on a page is escaped: names and paths come from the user.  What a page shows it also holds as JSON, in a
hidden element, so that `verify` can run it all again.
"""

import base64
import html
import itertools
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..cli.settings import InputError, command, regular_file
from ..reporting.run_folder import DPI, dump

CHECKED = "lecture"  # the first column of a table of checks
LAID_OUT = re.compile(r"^(?:    |\||  \S)", re.MULTILINE)  # text whose lines are its form
NEXT = re.compile(r"\n- ")  # between the items of a list
HELD = '<pre id="held" hidden>'
# What a page shows of the files of a run, by file.
NEEDED: dict[str, dict[str, type | tuple[type, ...]]] = {
    "report": {"command": str, "title": str, "words": list, "tables": list},
    "summary": {},
    "config": {},
    "meta": {"versions": dict, "command": str, "started": str, "wall_seconds": (int, float), "device": str},
}
STYLE = """
:root{color-scheme:light;--ink:#1c2530;--soft:#5b6673;--line:#d9dee5;--back:#f6f7f9;--good:#00734f;--bad:#b4430a}
:root{--paper:#fff;--link:#0a5c96;--mark:#fff3c4}
@media(prefers-color-scheme:dark){
:root{color-scheme:dark;--ink:#e6eaef;--soft:#a9b4c0;--line:#36414c;--back:#1d242b;--good:#4fd1a1}
:root{--paper:#12171c;--link:#7cc0f0;--mark:#4a3f12}figure img{filter:brightness(.85)}}
*{box-sizing:border-box}html{scroll-padding-top:3.2em}
body{font:16px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
body{max-width:66em;margin:0 auto;padding:0 1.1em 4em}
h1{font-size:1.7em;line-height:1.2;margin:1.2em 0 .4em}h2{font-size:1.25em;line-height:1.3;margin:0 0 .5em}
section{border-top:1px solid var(--line);margin-top:2.2em;padding-top:1.4em}h1+section{border:0;margin:0;padding:0}
nav{position:sticky;top:0;background:var(--paper);border-bottom:1px solid var(--line);padding:.55em 0;z-index:1}
nav{overflow-x:auto;white-space:nowrap}
nav a{margin-right:1.1em}a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
.wide{overflow-x:auto;margin:1em 0}table{border-collapse:collapse;font-size:.88em;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding:.3em 0}
td,th{border-bottom:1px solid var(--line);padding:.28em .9em .28em 0;text-align:left;vertical-align:top}
th{color:var(--soft);font-weight:600;white-space:nowrap}tr:target{background:var(--mark)}
figure{margin:1em 0;overflow-x:auto}
figure img{display:block;max-width:max(100%,min(.8*var(--wide),60em));border:1px solid var(--line)}
code,pre{font:.88em/1.5 ui-monospace,monospace;background:var(--back);border-radius:4px}
code{padding:.1em .35em;overflow-wrap:anywhere}pre{padding:.7em .9em;overflow-x:auto}
.passed{color:var(--good)}.FAILED{color:#fff;background:var(--bad);padding:0 .35em;border-radius:3px}
td:nth-child(n+4){white-space:nowrap}
@media(min-width:60em){td:last-child{white-space:normal;min-width:9em}}
@media(max-width:40em){table{font-size:.8em}h1{font-size:1.45em}h2{font-size:1.1em}}
.soft{color:var(--soft);font-size:.88em}
"""


class Run(NamedTuple):
    """A finished folder, read."""

    name: str  # of the folder
    command: str
    section: dict[str, Any]  # title, words and tables, each of a caption, columns and rows
    summary: dict[str, Any]
    config: dict[str, Any]
    meta: dict[str, Any]
    picture: str  # as a data URL; empty where there is none


def read(folder: Path) -> Run:
    """The run in a finished folder.

    Raises:
        InputError: where a file of it cannot be read.
    """
    try:
        section, summary, config, meta = (_file(folder / f"{name}.json", needed) for name, needed in NEEDED.items())
        return Run(
            name=folder.name,
            command=section["command"],
            section=section,
            summary=summary,
            config=config,
            meta=meta,
            picture=picture(folder, section["command"]),
        )
    except (OSError, ValueError) as error:
        raise InputError(f"folder must hold whole runs; {folder}: {error}") from None


def _file(path, needed):
    """What is in a file of a run; ValueError where something that a page needs is not there."""
    held = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(held, dict):
        raise ValueError(f"{path.name} holds no object")
    if wrong := [name for name, kind in needed.items() if not isinstance(held.get(name), kind)]:
        raise ValueError(f"{path.name} has no {', '.join(wrong)} that a page can show")
    return held


def picture(folder: Path, name: str) -> str:
    """The figure of a folder as a data URL: SVG or PNG, whichever is smaller."""
    files = [file for kind in ("svg", "png") if (file := folder / f"{name}.{kind}").is_file()]
    if not files:
        return ""
    smaller = min(files, key=lambda file: file.stat().st_size)
    kind = {".svg": "svg+xml", ".png": "png"}[smaller.suffix]
    return f"data:image/{kind};base64,{base64.b64encode(smaller.read_bytes()).decode()}"


def inches(picture: str) -> float:
    """How wide a figure is as it was drawn, of its data URL; a page shows it no smaller than its words can be read.

    >>> inches("data:image/svg+xml;base64," + base64.b64encode(b'<svg width="504pt">').decode())
    7.0
    """
    kind, _, data = picture.partition(";base64,")
    head = base64.b64decode(data[:2000])
    if kind.endswith("png"):
        return int.from_bytes(head[16:20], "big") / DPI
    found = re.search(rb'width="([\d.]+)pt"', head)
    return float(found[1]) / 72 if found else 0.0


def page(title: str, runs: Sequence[Run], before: str = "", nav: str = "") -> str:
    """A page of runs, one section each; `before` stands above them."""
    held = [{"name": r.name, "command": r.command, "config": r.config, "summary": r.summary} for r in runs]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>"
        f"{nav}<h1>{html.escape(title)}</h1>{before}{''.join(section(run, title) for run in runs)}"
        f"{HELD}{html.escape(dump(held))}</pre></body></html>\n"
    )


def held(path: Path) -> list[dict[str, Any]]:
    """The runs that a page holds.

    Raises:
        InputError: where the file is no such page.
    """
    try:
        text = regular_file(path).read_text(encoding="utf-8")
        return json.loads(html.unescape(text.partition(HELD)[2].partition("</pre>")[0]))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"file must be a page that `report` wrote; got {path}: {error}") from None


def section(run: Run, title: str = "") -> str:
    """The section of a run; its title is left out where the page has the same."""
    escape, name = html.escape, anchor("run", run.name)
    heading = escape(run.section["title"])
    look = f'style="--wide:{inches(run.picture):g}in" src="{run.picture}"'
    image = f'<figure><img alt="{heading}" {look}></figure>' if run.picture else ""
    versions = ", ".join(f"{escape(k)} {escape(str(v))}" for k, v in run.meta["versions"].items())
    return (
        f'<section id="{name}">'
        + ("" if run.section["title"] == title else f"<h2>{heading}</h2>")
        + f"{prose(run.section['words'])}{image}{''.join(table(run.name, **t) for t in run.section['tables'])}"
        + f"<p>Again: <code>{escape(command())} {escape(run.meta['command'])}</code></p>"
        + f'<p class="soft">{escape(run.meta["started"])}, {run.meta["wall_seconds"]:.1f} s on '
        + f"{escape(run.meta['device'])}; {versions}</p></section>"
    )


def anchor(*parts: str) -> str:
    """The id of a place on a page, as it stands in an attribute.

    The first part says what it is of, so that the name of a folder is never that of another place.

    >>> anchor("check", "a b", "S57")
    'check-a_b-S57'
    """
    return html.escape("-".join(re.sub(r"\s", "_", part) for part in parts), quote=True)


def told_apart(runs: Sequence[Run]) -> list[Run]:
    """The runs, with a number behind a name that another one has already, as a folder and one within it may.

    >>> [run.name for run in told_apart([Run(name, "", {}, {}, {}, {}, "") for name in ("a", "a", "a b", "a_b")])]
    ['a', 'a-2', 'a b', 'a_b-2']
    """
    taken: set[str] = set()
    found = []
    for run in runs:
        names = itertools.chain([run.name], (f"{run.name}-{n}" for n in itertools.count(2)))
        name = next(name for name in names if anchor(name) not in taken)
        taken.add(anchor(name))
        found.append(run._replace(name=name))
    return found


def prose(paragraphs: Iterable[str]) -> str:
    r"""Paragraphs and lists; those that are laid out by lines keep their lines.

    >>> prose(["a < b", "- one,\n  longer\n- two", "    m = g"])
    '<p>a &lt; b</p><ul><li>one,\n  longer</li><li>two</li></ul><pre>    m = g</pre>'
    """
    return "".join(map(_paragraph, paragraphs))


def _paragraph(text):
    text = html.escape(text)
    if text.startswith("- "):
        return f"<ul><li>{NEXT.sub('</li><li>', text[2:])}</li></ul>"
    return f"<pre>{text}</pre>" if LAID_OUT.search(text) else f"<p>{text}</p>"


def table(name: str, caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; in one of checks the first row of each item, such as S57, can be linked to as check-name-S57."""
    items = [item_of(cells[0]) if columns[0] == CHECKED else "" for cells in rows]

    def row(i, cells):
        place = f' id="{anchor("check", name, items[i])}"' if items[i] and items[i] not in items[:i] else ""
        return f"<tr{place}>{''.join(f'<td>{marked(cell)}</td>' for cell in cells)}</tr>"

    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    said = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{said}<tr>{head}</tr>{"".join(map(row, range(len(rows)), rows))}</table></div>'


def item_of(text: str) -> str:
    """The item that a check is of: S30 for S30b; nothing where it is of none."""
    found = re.match(r"S\d+|\d\.\d+", text)
    return found[0] if found else ""


def marked(cell: str) -> str:
    """The text of a cell; a verdict in its colour."""
    text = html.escape(str(cell))
    return f'<span class="{text}">{text}</span>' if text in ("passed", "FAILED") else text
