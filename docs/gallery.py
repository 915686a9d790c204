"""The pages of the experiments, made of the folders that `experiments run all` writes: nothing is pasted.

A page is a question, its figure, what the experiment says of itself, the table of its checks, its code, and how long it
takes.  They are found by topic, as thumbnails, and by the number of a claim of the lectures.
"""

import ast
import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageOps

from experiments.cli.settings import file_of
from experiments.commands.experiments import described
from experiments.reporting.claims import claims

# The topics of the lectures: the first claim of each.
TOPICS = {
    1: "Gradient descent and learning rates",
    12: "Schedules and adaptive rates",
    32: "Feature scaling",
    39: "Batches and noise",
    52: "Critical points and saddles",
    66: "Taylor polynomials",
    73: "Momentum, RMSProp, Adam",
    86: "Beyond Adam",
}
PAPERS, OTHER = "Papers", "Speed"  # topics without a claim of the lectures
THUMBNAIL = (560, 360)  # pixels


def pages(runs: Path, pictures: Path) -> dict[str, str]:
    """The Markdown of each page by its path; figures and thumbnails go to a folder.

    Args:
        runs: a folder with finished runs; the page of an experiment without one has no figure and no verdict.
        pictures: the folder `gallery` of the sources, which exists.
    """
    rows = described()
    for name in filter(lambda name: (runs / name).exists(), rows):
        shutil.copy(runs / name / f"{name}.png", pictures / f"{name}.png")
        with Image.open(pictures / f"{name}.png") as image:
            thumbnail(image.convert("RGB")).save(pictures / f"{name}-small.png")
    written = {f"gallery/{name}.md": page(name, row, runs / name) for name, row in rows.items()}
    return {"gallery/index.md": index(rows, pictures), "gallery/claims.md": by_claim(), **written}


def thumbnail(image: Image.Image) -> Image.Image:
    """A figure in the middle of a small white frame."""
    return ImageOps.pad(image, THUMBNAIL, Image.Resampling.LANCZOS, color="white")


def topic(items: str) -> str:
    """The topic of an experiment: that of its first claim.

    >>> topic("S57, S58"), topic("section 3.9"), topic("")
    ('Critical points and saddles', 'Papers', 'Speed')
    """
    number = re.search(r"S(\d+)", items)
    if number is None:
        return PAPERS if items else OTHER
    return TOPICS[max(first for first in TOPICS if first <= int(number[1]))]


def index(rows: dict[str, dict], pictures: Path) -> str:
    """The thumbnails, by topic."""
    lines = [
        "# Gallery",
        "",
        f"{len(rows)} questions, each answered by one file with a figure, a table and a verdict.  Each page is made of "
        "what its command writes.  [Every claim of the lectures by its number](claims.md).",
        "",
    ]
    for title in (*TOPICS.values(), PAPERS, OTHER):
        inside = {name: row for name, row in rows.items() if topic(row["items"]) == title}
        if inside:
            lines += [f"## {title}", "", "::::{grid} 1 2 3 3", ":gutter: 2", ""]
            for name, row in inside.items():
                card = [f":::{{grid-item-card}} {name}", f":link: {name}", ":link-type: doc"]
                if (pictures / f"{name}-small.png").exists():
                    card += [f":img-top: {name}-small.png", f":img-alt: the figure of {name}"]
                lines += [*card, "", row["question"]]
                lines += ["```{card-footer}", row["items"] or "benchmark", "```", ":::"]
            lines += ["::::", ""]
    contents = ["claims", *(f"{name} <{name}>" for name in rows)]
    return "\n".join([*lines, "```{toctree}", ":hidden:", "", *contents, "```", ""])


def by_claim() -> str:
    """The table of claims, each with links to the experiments that show it."""
    lines = ["# The claims of the lectures", "", "| item | what it says | shown by |", "|---|---|---|"]
    for number, says, names, instead in claims():
        links = ", ".join([*(f"[{name}]({name}.md)" for name in names), *([instead] if instead else [])])
        lines.append(f"| {number} | {says.replace('*', chr(92) + '*')} | {links} |")
    return "\n".join(lines) + "\n"


def page(name: str, row: dict, folder: Path) -> str:
    """The page of one experiment."""
    source = file_of(name).read_text(encoding="utf-8")
    lines = [f"# {row['question']}", "", f"`{name}`" + (f", {row['items']}" if row["items"] else ""), ""]
    lines += outcome(name, row, folder) if folder.exists() else []
    lines += [
        f":::{{dropdown}} The code, {len(source.splitlines())} lines",
        f"```python\n{body(source)}\n```",
        ":::",
        "",
    ]
    return "\n".join(lines)


def outcome(name: str, row: dict, folder: Path) -> list[str]:
    """What a run shows: its figure, its words, the claims, the tables, and how long it takes."""
    report, meta = (json.loads((folder / f"{file}.json").read_text(encoding="utf-8")) for file in ("report", "meta"))
    figure = ["```{image} " + f"{name}.png", f":alt: {row['question']}", f":target: ../_images/{name}.png", "```"]
    lines = [*figure, "", *map(paragraph, report["words"])]  # the figure leads to itself, in full size
    shown = [f"{number} {plain(says)}" for number, says, names, _ in claims() if name in names]
    lines += [f"[Claims](claims.md) that it shows: {'; '.join(shown)}.", ""] if shown else []
    for table in report["tables"]:
        caption = f"**{table['caption']}**" if table["caption"] else ""
        lines += [caption, "", *drawn(table["columns"], table["rows"]), ""]
    cost = ", ".join(f"{row[size]:.0f} s {words}" for size, words in SIZES.items() if row[size])
    took = f"Again: `python3 lab.py {meta['command']}`.  What is shown took {meta['wall_seconds']:.1f} s on "
    return [*lines, took + meta["device"] + (f"; one core takes {cost}." if cost else "."), ""]


SIZES = {"full": "in full", "quick": "with `--quick`"}


def body(source: str) -> str:
    """A file without its docstring, which the page says already."""
    first = ast.parse(source).body[0]
    return "\n".join(source.splitlines()[first.end_lineno :]).strip()


def paragraph(text: str) -> str:
    """A paragraph of a docstring; one that is laid out by lines keeps its lines."""
    laid_out = re.search(r"^(?:    |  \S)", text, re.MULTILINE)
    return f"```text\n{text}\n```\n" if laid_out else f"{text}\n"


def drawn(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A table in Markdown, of a class of its own, in which no number is broken."""
    head, *cells = ([plain(str(cell)) for cell in line] for line in (columns, *rows))
    lines = [head, ["---"] * len(head), *cells]
    return [":::{table}", ":class: numbers", "", *(f"| {' | '.join(line)} |" for line in lines), ":::"]


def plain(text: str) -> str:
    r"""A text that Markdown shows as it is, in a table.

    >>> print(plain("a*b | <c>"))
    a\*b \| \<c>
    """
    return re.sub(r"([\\*_`|<\[$~])", r"\\\1", text)
