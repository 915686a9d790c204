"""`report` and `verify`: a page holds all of a folder, escaped and by number, and says so when a number has changed."""

import html
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

from experiments.__main__ import main
from experiments.cli.settings import LAUNCHER, Experiment, module_of
from experiments.reporting.checks import conclude, is_true, printed
from experiments.reporting.claims import claims
from experiments.reporting.figures import plt

pytestmark = pytest.mark.full

TABLE = {"caption": "", "columns": ["rate", "loss"], "rows": [["0.1", "3.5"], ["0.1", "2.5"]]}
MEASURED = {"saddle": 0.98011, "taylor": 1.0}


def stand_in(name):
    """What takes the place of an experiment: the same name, one check that holds and one that does not."""

    def measure():
        checks = [printed("S57", "loss <script>", MEASURED[name], ".9801"), is_true("S54", "it is", name == "taylor")]
        return checks, lambda: plt.figure(figsize=(1, 1))

    return SimpleNamespace(main=lambda settings: conclude(settings, name, f"What is <b>{name}</b>?", measure))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv(LAUNCHER, raising=False)  # the page repeats the command as it was called
    for name in MEASURED:
        monkeypatch.setitem(sys.modules, module_of(name), stand_in(name))
        stand_in(name).main(Experiment(out=tmp_path / "runs" / name, quick=True, json=True))
    return tmp_path / "runs"


def page_of(folder):
    import experiments.commands.report

    assert experiments.commands.report.main(SimpleNamespace(folder=folder, out=None)) == 0
    return (folder / "report.html").read_text(encoding="utf-8")


def test_a_page_holds_every_run_escaped_and_needs_nothing_else(folder, capsys):
    page = page_of(folder)
    assert "written" in capsys.readouterr().out
    assert page.count("<section id=") == 3  # the claims and two runs
    assert "What is &lt;b&gt;saddle&lt;/b&gt;?" in page
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=[\"'](?!data:|#)", page)
    assert page.count('src="data:image/') == 2
    assert "<code>python -m experiments saddle --quick" in page
    assert "Checks passed: 2 of 4" in page


class Places(HTMLParser):
    """The ids of a page, and where its links lead."""

    def __init__(self, page):
        super().__init__()
        self.ids, self.links = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name == "href"]


def dead_links(page):
    """The links of a page that lead nowhere, or to one of two places."""
    places = Places(page)
    return [link for link in places.links if link[0] != "#" or places.ids.count(link[1:]) != 1]


FOLDERS = {  # of runs, by name: some are also names of places on the page, some need escaping, some clash
    "one run that checks nothing": {"race": "race"},
    "one experiment": {"saddle": "saddle"},
    "one experiment twice, and another": {"first": "saddle", "second": "saddle", "taylor": "taylor"},
    "names of the page's own places": {"runs": "race", "claims": "saddle", "claim-S57": "taylor", "held": "race"},
    "the name of another's check": {"saddle": "saddle", "saddle-S57": "taylor", "S57": "race"},
    "odd names": {"a b": "saddle", "a_b": "race", "50%": "taylor", '"><i>': "race", "é#x": "race"},
}


@pytest.mark.parametrize("folders", FOLDERS.values(), ids=FOLDERS)
def test_every_link_of_a_page_leads_somewhere_whatever_runs_are_there(folders, folder, tmp_path):
    for name, command in folders.items():
        shutil.copytree(folder / ("saddle" if command == "race" else command), tmp_path / "all" / name)
        if command == "race":
            for file, text in {
                "report": {"command": "race", "title": "race", "words": [], "tables": [TABLE]},
                "summary": {"problem": "himmelblau"},
            }.items():
                (tmp_path / "all" / name / f"{file}.json").write_text(json.dumps(text))
    shutil.copytree(tmp_path / "all" / next(iter(folders)), tmp_path / "all", dirs_exist_ok=True)
    page = page_of(tmp_path / "all")
    assert dead_links(page) == []
    assert len(Places(page).ids) == len(set(Places(page).ids))
    assert page.count("<section id=") == len(folders) + 1 + any(command != "race" for command in folders.values())


def test_a_claim_leads_to_its_checks(folder):
    page = page_of(folder)
    assert dead_links(page) == []
    (row,) = re.findall(r"<tr id=\"claim-S57\">.*?</tr>", page)
    assert "the way out" in row
    assert 'href="#check-saddle-S57"' in row
    assert re.search(
        r"<tr id=\"check-saddle-S57\"><td>S57</td><td><span class=\"passed\">passed</span></td><td>loss", page
    )


def test_verify_runs_again_and_tells_what_has_changed(folder, capsys, monkeypatch):
    page_of(folder)
    assert main(["verify", str(folder / "report.html"), "--json"]) == 0
    monkeypatch.setitem(MEASURED, "saddle", 0.98012)  # another number, the same verdict
    assert main(["verify", str(folder / "report.html")]) == 0
    assert "the same" in capsys.readouterr().out
    monkeypatch.setitem(MEASURED, "saddle", 0.5)
    assert main(["verify", str(folder / "report.html"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["runs"]
    assert found["taylor"]["differs"] == []
    assert found["saddle"]["differs"] == ["checks/S57 loss <script>/passed: True was, False is"]


def test_all_claims_are_read():
    numbers = [number for number, *_ in claims()]
    assert numbers[:101] == [f"S{n}" for n in range(1, 102)]
    assert numbers[101:103] == ["2.1", "2.2"]


@pytest.mark.parametrize(
    "meta", ["{}", "[]", '{"versions": {}, "command": "race", "started": "now", "wall_seconds": "1"}']
)
def test_a_run_that_lacks_what_a_page_shows_is_refused_in_one_sentence(meta, tmp_path, capsys):
    texts = {"report": '{"command": "race", "title": "t", "words": [], "tables": []}', "meta": meta}
    for name in ("report", "summary", "config", "meta"):
        (tmp_path / f"{name}.json").write_text(texts.get(name, "{}"))
    assert main(["report", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert len(shown.splitlines()) == 1
    assert "meta.json" in shown


@pytest.mark.parametrize("argv", [["report", "."], ["report", "nowhere"], ["verify", "nowhere.html"], ["verify", "a"]])
def test_what_is_no_run_is_refused(argv, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text(html.escape("<pre>"))
    assert main(argv) == 2
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 1
    assert argv[1] in shown.err
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
