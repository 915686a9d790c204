"""The blocks of a guide, executed in their order: what each one prints, and the figures that it draws.

Python that opens with the name of a file is that file; other Python is one program, block after block; lines of a shell
are commands of the launcher.  All of it happens in one folder, as for a reader who types it.

    python docs/blocks.py GUIDE FOLDER      writes FOLDER/blocks.json
"""

import contextlib
import importlib.util
import io
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"^```(\S*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHOWN = ("text", "{toctree}")  # languages of blocks that nobody runs
CLIENTS = ("equinox", "flax", "haiku")  # libraries of the extra `clients`, which not everyone has installed
FILE = re.compile(r"# (\w+\.py)\n")  # how a block opens that is a file


class Block(NamedTuple):
    """A block of a guide and what came of it."""

    language: str
    text: str
    shows: str  # what it prints
    figures: list[str]  # PNG files that it wrote, or that it left open in matplotlib


def execute(guide: Path, folder: Path) -> list[Block]:
    """Run all blocks of a guide in a folder.

    Raises:
        RuntimeError: where a command of the launcher fails; and whatever a block raises.
    """
    source = guide.read_text(encoding="utf-8")
    names: dict = {}
    with contextlib.chdir(folder), importable(folder):
        return [run(language, text, guide.name, names) for language, text in BLOCK.findall(source)]


def missing(guide: Path) -> list[str]:
    """The libraries of other people that a guide imports and that are not installed."""
    imported = re.findall(r"^(?:import|from) (\w+)", guide.read_text(encoding="utf-8"), re.MULTILINE)
    return [name for name in CLIENTS if name in imported and importlib.util.find_spec(name) is None]


def run(language: str, text: str, name: str, names: dict) -> Block:
    """Run one block in the current folder; `names` are those that the Python of the guide shares."""
    before, file = set(Path().rglob("*.png")), FILE.match(text)
    with contextlib.redirect_stdout(io.StringIO()) as said:
        if language == "sh":
            for line in text.splitlines():
                launch(line)
        elif file:
            Path(file[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            exec(compile(text, name, "exec"), names)
        elif language not in SHOWN:
            raise RuntimeError(f"{name}: a block must be python, sh or one of {', '.join(SHOWN)}; got {language!r}")
    drawn = [*drawn_figures(), *sorted(map(str, set(Path().rglob("*.png")) - before))]
    return Block(language, text, said.getvalue(), list(dict.fromkeys(drawn)))


def launch(line: str) -> None:
    """Run one command line of the launcher."""
    from experiments.__main__ import main

    python, launcher, *words = shlex.split(line)
    if (python, launcher) != ("python3", "lab.py") or main(words) != 0:
        raise RuntimeError(f"a command must be one of the launcher and succeed; got {line}")


def drawn_figures() -> list[str]:
    """Save and close the figures that are open in matplotlib; the names of their files."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    files = []
    for number in pyplot.get_fignums() if pyplot else []:
        files.append(f"figure-{len(list(Path().glob('figure-*.png'))) + 1}.png")
        pyplot.figure(number).savefig(files[-1], dpi=150, bbox_inches="tight")
        pyplot.close(number)
    return files


@contextlib.contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Let Python import from a folder; what was imported from it is forgotten afterwards."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", "")).startswith(str(folder)):
                del sys.modules[name]


if __name__ == "__main__":
    guide, folder = map(Path, sys.argv[1:])
    found = [block._asdict() for block in execute(guide.resolve(), folder.resolve())]
    (folder / "blocks.json").write_text(json.dumps(found), encoding="utf-8")
