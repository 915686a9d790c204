"""The documentation as a site: the guides of this folder, the experiments, and every public name from its docstring.

    python docs/build.py site

Every guide is executed by the tests.
"""

import html
import pkgutil
import sys
import warnings
from pathlib import Path

import pdoc

from experiments.commands import experiments
from experiments.reporting import pages

HERE = Path(__file__).parent
GUIDES = (
    "first_steps",
    "your_own_loss",
    "compare_with_optax",
    "read_a_saddle",
    "sweep_a_cluster",
    "add_an_optimizer",
    "add_an_experiment",
    "add_a_verdict",
    "design",
    "promises",
)
ROOMS = ("gdlab", "hessian")
API = [(f"api/{room}", room) for room in ROOMS]
STYLE = """
body{max-width:52em}pre{border-left:3px solid var(--line)}pre code{padding:0;background:none;overflow-wrap:normal}
nav{white-space:normal}nav a{display:inline-block}
"""


def build(out: Path) -> None:
    """Write the site into a new folder."""
    out.mkdir(parents=True)
    pdoc.render.configure(docformat="google", show_source=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # names imported for type checkers only
        pdoc.pdoc(*(name for room in ROOMS for name in modules(room)), output_directory=out / "api")
    for name in GUIDES:
        (out / f"{name}.html").write_text(framed(title(name), guide(name)), encoding="utf-8")
    (out / "experiments.html").write_text(framed("Experiments", listed()), encoding="utf-8")
    contents = "".join(f'<li><a href="{name}.html">{title(name)}</a></li>' for name in GUIDES)
    readme = html.escape("theta  <-  theta  -  eta_t / sigma_t * m_t")
    (out / "index.html").write_text(framed("gdlab", f"<h1>gdlab</h1><pre>{readme}</pre><ul>{contents}</ul>"), "utf-8")


def modules(room: str) -> list[str]:
    """A package and all modules in it, by their dotted names."""
    package = __import__(room)
    return [room, *(found.name for found in pkgutil.walk_packages(package.__path__, f"{room}."))]


def title(name: str) -> str:
    """The heading of a guide."""
    return (HERE / f"{name}.md").read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def guide(name: str) -> str:
    """A guide as HTML."""
    return pdoc.render_helpers.to_html((HERE / f"{name}.md").read_text(encoding="utf-8"))


def listed() -> str:
    """The table of experiments."""
    rows = [[name, row["question"], row["items"]] for name, row in experiments.described().items()]
    words = "<h1>Experiments</h1><p><code>python3 lab.py experiments run NAME</code> answers one of them.</p>"
    return words + pages.table("experiments", "", ["experiment", "question", "items"], rows)


def framed(name: str, body: str) -> str:
    """A page of the site."""
    links = [("index", "Home"), *((guide, title(guide)) for guide in GUIDES), ("experiments", "Experiments")]
    nav = "".join(f'<a href="{file}.html">{text}</a>' for file, text in [*links, *API])
    colours = (Path(pdoc.__file__).parent / "templates" / "syntax-highlighting.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(name)}</title><style>{pages.STYLE}{STYLE}{colours}</style></head>"
        f"<body><nav>{nav}</nav>{body}</body></html>\n"
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/build.py FOLDER")
    build(Path(sys.argv[1]))
