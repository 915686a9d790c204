"""The documentation as a site: guides with what their blocks print, a gallery of the experiments, every public name.

    python3 lab.py docs                     writes site/; open site/index.html, which needs no network and no server
    python3 lab.py docs --out FOLDER        writes another folder
    python3 lab.py docs --runs FOLDER       takes the experiments from a folder of `experiments run all`
    python3 lab.py docs --check             executes and writes nothing: are all pages sound, and all their links?

Experiments that are not in the folder yet are run first, in their quick size.  What a guide prints is kept in
build/docs until the guide or the code changes.  A warning of Sphinx, a link that leads nowhere and a request to another
machine are errors.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WORK = ROOT / "build" / "docs"
ROOMS = ("gdlab", "hessian", "experiments")
TABLE = re.compile("[\u2500-\u257f]|^\\S.* {3,}\\S", re.MULTILINE)  # lines that must not be wrapped
sys.path[:0] = [str(HERE), str(ROOT)]

import blocks  # noqa: E402  # beside this file
import links  # noqa: E402


def main(words: Sequence[str]) -> int:
    """Build the site; 0 where nothing is wrong with it, else 1."""
    parser = argparse.ArgumentParser(prog="lab.py docs", description="Build the documentation as a site.")
    parser.add_argument("--out", type=Path, default=Path("site"), help="the folder to write; an old site is replaced")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "quick", help="a folder of `experiments run all`")
    parser.add_argument("--check", action="store_true", help="look for warnings and dead links only; execute nothing")
    asked = parser.parse_args(words)
    if asked.check:
        return check()
    if asked.out.exists() and not (asked.out / ".buildinfo").exists():
        parser.error(f"--out must be a new folder, or one that this command wrote; got {asked.out}")
    failed = run(["-m", "experiments", "all", "--quick", "--out", str(asked.runs)], stdout=subprocess.DEVNULL)
    if failed.returncode:
        print(f"an experiment fails: see {asked.runs}", file=sys.stderr)
        return 1
    sources = WORK / "sources"
    write_sources(sources, asked.runs, executed)
    made = WORK / "site"
    if not sound(sources, made):
        return 1
    shutil.rmtree(asked.out, ignore_errors=True)
    shutil.copytree(made, asked.out)
    print(f"written: {asked.out}, {len(list(asked.out.rglob('*.html')))} pages; open {asked.out / 'index.html'}")
    return 0


def check() -> int:
    """The pages without what their blocks print and without runs: 1 for a warning or a dead link, else 0."""
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder) / "sources"
        write_sources(sources, Path(folder) / "no runs", lambda guide, sources: guide.read_text("utf-8"))
        return 0 if sound(sources, Path(folder) / "site") else 1


def run(words: Sequence[str], **options) -> subprocess.CompletedProcess:
    """Run Python on the CPU, in double precision as the command line does, with this copy of the project."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    settings = {"PYTHONPATH": path, "JAX_ENABLE_X64": "1", "MPLBACKEND": "Agg", "COLUMNS": "110"}
    return subprocess.run([sys.executable, *words], env={"JAX_PLATFORMS": "cpu", **os.environ, **settings}, **options)


def write_sources(sources: Path, runs: Path, text_of: Callable[[Path, Path], str]) -> None:
    """Write all pages as Markdown into a new folder; the text of a guide is `text_of(guide, sources)`."""
    import api
    import gallery

    shutil.rmtree(sources, ignore_errors=True)
    for folder in ("api", "gallery"):
        (sources / folder).mkdir(parents=True)
    for file in [HERE / "race.png", ROOT / "CITATION.cff"]:
        if file.exists():
            shutil.copy(file, sources)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        written = dict(pool.map(lambda guide: (guide.name, text_of(guide, sources)), guides()))
    for path, text in {**written, **api.pages(), **gallery.pages(runs, sources / "gallery")}.items():
        (sources / path).write_text(text, encoding="utf-8")


def guides() -> list[Path]:
    """The guides."""
    return sorted(HERE.glob("*.md"))


def executed(guide: Path, sources: Path) -> str:
    """A guide with what each block prints and draws under it; kept while neither the guide nor the code changes."""
    kept = WORK / "executed" / guide.stem / key(guide)
    if not (kept / "blocks.json").exists():
        shutil.rmtree(kept.parent, ignore_errors=True)
        kept.mkdir(parents=True)
        done = run([str(HERE / "blocks.py"), str(guide), str(kept)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{guide.name} does not run:\n{done.stderr}")
    found = iter(json.loads((kept / "blocks.json").read_text(encoding="utf-8")))
    pictures = sources / "figures" / guide.stem
    pictures.mkdir(parents=True)
    return blocks.BLOCK.sub(lambda block: shown(block[0], next(found), kept, pictures), guide.read_text("utf-8"))


def key(guide: Path) -> str:
    """What the output of a guide depends on, as a hash."""
    files = [guide, HERE / "blocks.py", *sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()[:16]


def shown(text: str, block: dict, kept: Path, pictures: Path) -> str:
    """A block, what it prints, and its figures."""
    said = [text]
    if block["shows"].strip():
        kind = "output" if TABLE.search(block["shows"]) else "output words"
        said += ["", "````{code-block} text", f":class: {kind}", block["shows"].rstrip(), "````"]
    for figure in block["figures"]:
        name = re.sub(r"[/\\]", "-", figure)
        shutil.copy(kept / figure, pictures / name)
        said += ["", f"![What the block above draws](figures/{pictures.name}/{name})"]
    return "\n".join(said)


def sound(sources: Path, made: Path) -> bool:
    """Let Sphinx make the site of pages in a new folder, and check its links; whether nothing is wrong with it."""
    shutil.rmtree(made, ignore_errors=True)
    words = ["-b", "html", "-q", "-W", "--keep-going", "-j", "auto", "-E", "-c", str(HERE)]
    words += ["-d", str(made.with_name("doctrees"))]
    failed = run(["-m", "sphinx", *words, str(sources), str(made)]).returncode
    failed = failed or run(["-m", "experiments", "playground", "--out", str(made / "playground/index.html")]).returncode
    wrong = list(links.complaints(made))
    for complaint in wrong:
        print(complaint, file=sys.stderr)
    return not (failed or wrong)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
