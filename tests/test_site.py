"""The sources of the site are sound: no public name is missing, and every experiment has a page."""

import importlib.util
import inspect
import json
import re
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

import gdlab
import hessian

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


@pytest.fixture
def load(monkeypatch):
    """A module of the folder `docs`, by its name; none of them stays imported."""
    monkeypatch.syspath_prepend(DOCS)

    def loaded(name):
        spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return loaded


def test_every_guide_is_in_the_contents():
    listed = re.findall(r"```\{toctree\}\n(.*?)```", (DOCS / "index.md").read_text("utf-8"), re.DOTALL)
    entries = [line for block in listed for line in block.splitlines() if line and not line.startswith(":")]
    guides = {path.stem for path in DOCS.glob("*.md")} - {"index"}
    assert sorted(entries) == sorted(guides | {"gallery/index", "api/index"})


def test_the_start_page_leads_to_what_a_newcomer_looks_for():
    """Each is what a card of the start page opens."""
    index = (DOCS / "index.md").read_text("utf-8")
    cards = re.findall(r"^:link: (\S+)$", index, re.MULTILINE)
    shown = {
        "first_steps": "lab.py race",
        "your_own_loss": "lab.py classify",
        "compare_with_optax": "optax.adam",
        "read_a_saddle": "prove(",
        "add_an_optimizer": "four places",
    }
    assert set(cards) == {*shown, "gallery/saddle"}
    assert [card for card, words in shown.items() if words not in (DOCS / f"{card}.md").read_text("utf-8")] == []


def test_every_public_name_has_one_entry_with_its_docstring(load):
    """The names are read off the packages here once more: what they offer and what `dir` shows of it."""
    text = "\n".join(load("api").pages().values())
    entries = re.findall(r"^:{6}\{py:\w+\} ([\w.]+).*\n(?::module: (\S+))?", text, re.MULTILINE)
    found = sorted(f"{module}.{name}" if module else name for name, module in entries)
    offered = {f"{room.__name__}.{name}" for room in (gdlab, hessian) for name in room.__all__}
    modules = [getattr(room, name) for room in (gdlab, hessian) for name in room.__all__]
    modules = [module for module in modules if inspect.ismodule(module)]
    inner = {f"{module.__name__}.{name}" for module in modules for name in module.__all__}
    assert found == sorted((offered | inner) - {module.__name__ for module in modules})
    for name in ("gdlab.adam", "hessian.classify", "gdlab.scales.Yogi"):
        value = gdlab.scales.Yogi if "Yogi" in name else getattr(sys.modules[name.split(".")[0]], name.split(".")[1])
        assert value.__doc__.split("\n")[0].split("`")[0] in text


def test_every_public_name_has_an_example_or_is_at_work_in_one(load):
    """A function has its own; a result, a piece or an outcome is seen where a function returns or takes it."""
    api = load("api")
    bare = {name: value for name, value in api.public().items() if callable(value) and not api.has_example(value)}
    assert [name for name, value in bare.items() if not inspect.isclass(value)] == []
    assert [name for name in bare if not api.seen_in(name)] == []
    assert "hessian.classify" in api.seen_in("hessian.Kind")
    assert "{py:obj}`minimize <gdlab.minimize>`" in api.elsewhere("gdlab.Run", gdlab.Run)
    assert api.elsewhere("gdlab.minimize", gdlab.minimize) == ""


@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda path: path.stem)
def test_a_guide_names_what_exists(path):
    """`gdlab.x.y` and `hessian.x.y`, in code and in tables of calls, wherever they stand for themselves."""
    text = re.sub(r"```text\n.*?```", "", path.read_text("utf-8"), flags=re.DOTALL)
    for name in set(re.findall(r"(?<![\w/.\"])((?:gdlab|hessian)(?:\.[A-Za-z_]\w*)+)(?!\.py)\b", text)):
        found = sys.modules[name.split(".")[0]]
        for part in name.split(".")[1:]:
            if not hasattr(found, part):
                importlib.import_module(f"{found.__name__}.{part}")
            found = getattr(found, part)


OPERATIONS = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "^": np.power, "cos": np.cos}


def value(tree, names):
    """What a tree stands for, where the names have values."""
    kind, *parts = tree
    if kind in ("number", "name"):
        return float(parts[0]) if kind == "number" else names[parts[0]]
    inside = [value(part, names) for part in parts]
    return {"()": lambda x: x, "negative": np.negative, **OPERATIONS}[kind](*inside)


@pytest.mark.parametrize("at", [(0.7, -1.3, 0.4), (2.0, 0.25, -0.6)])
def test_the_formula_of_a_surface_is_read_as_the_surface_itself(load, at):
    formulas, read = load("formulas"), 0
    for name in gdlab.problems.__all__:
        function = getattr(gdlab.problems, name)
        found = formulas.opening(function.__doc__ or "", ["decay"]) if callable(function) else []
        if found and "x_" not in str(found):  # of coordinates with names
            x, y, _ = at
            names = {"x": x, "y": y, "w_1": x, "w_2": y, "w_3": at[2], "decay": 0.1, "s": x + y, "t": 2 * x - 3 * y}
            size = 3 if "w_3" in str(found) else 1 if "y" not in str(found) and "w_" not in str(found) else 2
            theta = np.array(at[:size])
            expected = function(theta, 0.1) if name == "linear_net_ridge" else function(theta)
            np.testing.assert_allclose(value(found[0], names), expected, rtol=1e-6)
            read += 1
    assert read >= 18


def test_a_formula_is_set_as_it_reads_and_prose_is_no_formula(load):
    formulas = load("formulas")

    def set_as(doc, *arguments):
        return [formulas.tex(tree) for tree in formulas.opening(doc, arguments)]

    assert set_as("v <- decay v + eta g, m = v / eta: what was.", "decay") == [
        r"v \leftarrow \mathrm{decay} \, v + \eta \, g",
        r"m = \frac{v}{\eta}",
    ]
    assert set_as("theta <- theta - eta / sigma * m (S3).") == [r"\theta \leftarrow \theta - \frac{\eta}{\sigma} \, m"]
    assert set_as("Descent with eta = a^(t+1) / 2; needs it.") == [r"\eta = \frac{{a}^{t + 1}}{2}"]
    assert set_as("f = |g.x| / sum_i c_i, and H(x)'s.") == [r"f = \frac{|g \cdot x|}{\sum_{i} c_{i}}"]
    for prose in (
        "A loss with a name.",
        "sigma = that of the other.",
        "v <- decay v: unknown.",
        "m = (g",
        "What it is.",
    ):
        assert set_as(prose) == []


def test_a_block_is_a_table_whose_formulas_are_set_and_code_is_left(load):
    block = load("formulas").block
    lines = [
        "newton    p_i = -a_i / lambda_i,   q = H^(-1/2) x     until x_1 settles",
        "other     x <- f(rate)     1e-6 b",
    ]
    assert block(lines, ["rate"]) == [
        ["newton", r"$p_{i} = -\frac{a_{i}}{\lambda_{i}}$, $q = {H}^{-\frac{1}{2}} \, x$", "until $x_{1}$ settles"],
        ["other", r"$x \leftarrow f\left(\mathrm{rate}\right)$", "1e-6 b"],
    ]
    assert block(["x = 1    |H| <= what [rounds]"]) == [["$x = 1$", "`|H| <= what [rounds]`"]]
    for plain in (["loss -> program"], ["class Kind:", "    A = 1"], ["short    a saddle"]):
        assert block(plain) == []


@pytest.mark.parametrize("scheme", ["pygments_style", "pygments_dark_style"])
def test_every_word_of_code_can_be_read(load, scheme):
    """Its contrast with its paper is at least 4.5, as WCAG asks; errors, which no page shows, have their own paper."""
    pytest.importorskip("a11y_pygments")
    style = pytest.importorskip("pygments.styles").get_style_by_name(getattr(load("conf"), scheme))

    def luminance(color):
        parts = np.array([int(color[i : i + 2], 16) for i in (0, 2, 4)]) / 255
        return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    for token, look in style:
        if look["color"] and not str(token).endswith(("Error", "Whitespace")):
            pair = luminance(look["color"]), luminance(look["bgcolor"] or style.background_color.strip("#"))
            assert (max(pair) + 0.05) / (min(pair) + 0.05) >= 4.5, token


def test_an_entry_shows_arguments_shapes_errors_and_an_example(load):
    pages = load("api").pages()
    density = pages["api/hessian.spectra.md"].partition("{py:function} density")[2].partition("\n::::::\n")[0]
    assert "- `probes`: random vectors, >= 1" in density
    assert "**Raises**" in density
    assert "```pycon\n>>> found = density(" in density
    assert "| `nodes` | `jax.Array` | shape (probes, steps) |" in pages["api/hessian.spectra.md"]


def run_folder(folder, name):
    """A finished run, as small as it can be."""
    folder.mkdir(parents=True)
    matplotlib.image.imsave(folder / f"{name}.png", np.zeros((32, 64, 3)))
    table = {"caption": "1 of 1 checks passed", "columns": ["lecture", "|g|"], "rows": [["S1", "|x| < 2 * y_1"]]}
    report = {"title": "Why?", "command": name, "words": ["Because.", "    a = b"], "tables": [table]}
    meta = {"command": f"{name} --quick", "wall_seconds": 1.25, "device": "cpu"}
    (folder / "report.json").write_text(json.dumps(report), "utf-8")
    (folder / "meta.json").write_text(json.dumps(meta), "utf-8")


def test_every_experiment_has_a_page_made_of_its_run(load, tmp_path):
    from experiments.cli.settings import experiments

    gallery = load("gallery")
    for name in experiments():
        run_folder(tmp_path / "runs" / name, name)
    (tmp_path / "gallery").mkdir()
    pages = gallery.pages(tmp_path / "runs", tmp_path / "gallery")
    assert {f"gallery/{name}.md" for name in experiments()} == set(pages) - {"gallery/index.md", "gallery/claims.md"}
    assert all(pages["gallery/index.md"].count(f":link: {name}\n") == 1 for name in experiments())
    page = pages["gallery/saddle.md"]
    rows = (r"| lecture | \|g\| |", r"| S1 | \|x\| \< 2 \* y\_1 |")
    for part in (":target: ../_images/saddle.png", "Because.", "```text\n    a = b\n```", *rows, "took 1.2 s on cpu"):
        assert part in page
    assert "QUESTION = " in page.partition(":::{dropdown}")[2]
    bare = gallery.pages(tmp_path / "no runs", tmp_path)
    assert set(bare) == set(pages)
    assert "{image}" not in bare["gallery/saddle.md"]
    assert "QUESTION = " in bare["gallery/saddle.md"].partition(":::{dropdown}")[2]
    assert "img-top" not in bare["gallery/index.md"]
    assert "[saddle](saddle.md)" in re.search(r"^\| S57 \|.*$", pages["gallery/claims.md"], re.MULTILINE)[0]


def test_a_dead_link_and_a_request_to_another_machine_are_found(load, tmp_path):
    links = load("links")
    (tmp_path / "a.html").write_text('<a href="b.html#here">b</a><a href="https://elsewhere">e</a><p id="x">', "utf-8")
    (tmp_path / "b.html").write_text('<a href="a.html#x">a</a><p id="here"><a href="#here">', "utf-8")
    assert list(links.complaints(tmp_path)) == []
    wrong = {
        '<a href="c.html">': "which is not there",
        '<a href="b.html#there">': "a place that its page does not have",
        '<script src="https://elsewhere/x.js">': "from another machine",
        '<link rel="stylesheet" href="//elsewhere/x.css">': "from another machine",
        '<img src="missing.png">': "which is not there",
    }
    for tag, sentence in wrong.items():
        (tmp_path / "wrong.html").write_text(tag, "utf-8")
        (complaint,) = links.complaints(tmp_path)
        assert sentence in complaint
    (tmp_path / "wrong.html").unlink()
    (tmp_path / "wrong.css").write_text("@import url(https://elsewhere/x.css)", "utf-8")
    assert any("from another machine" in complaint for complaint in links.complaints(tmp_path))


@pytest.mark.parametrize(
    "text", ["```ruby\nputs 1\n```\n", "```sh\npython3 lab.py nothing\n```\n", "```python\n1/0\n```\n"]
)
def test_a_block_that_cannot_run_is_an_error(load, tmp_path, text):
    (tmp_path / "guide.md").write_text(text, "utf-8")
    with pytest.raises((RuntimeError, ZeroDivisionError)):
        load("blocks").execute(tmp_path / "guide.md", tmp_path)


def test_a_block_shows_what_it_prints_and_draws(load, tmp_path):
    program = "from mine import X\nimport matplotlib.pyplot as plt\nplt.plot([X])\nprint(X)"
    texts = ("python\n# mine.py\nX = 3", f"python\n{program}", "text\nno code")
    (tmp_path / "guide.md").write_text("".join(f"```{text}\n```\n" for text in texts), "utf-8")
    file, program, words = load("blocks").execute(tmp_path / "guide.md", tmp_path)
    assert (file.shows, program.shows, words.shows) == ("", "3\n", "")
    assert [*file.figures, *program.figures, *words.figures] == ["figure-1.png"]
    assert (tmp_path / "figure-1.png").is_file()
    assert "mine" not in sys.modules
