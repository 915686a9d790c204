"""`report` and `verify`: a page holds all of a folder, escaped and by number, and says so when a number has changed."""

import html
import json
import re
import sys
from types import SimpleNamespace

import pytest

from experiments.__main__ import main
from experiments.claims import claims
from experiments.figures import plt
from experiments.settings import Experiment
from experiments.verdict import conclude, is_true, printed

MEASURED = {"saddle": 0.98011, "taylor": 1.0}


def stand_in(name):
    """What takes the place of an experiment: the same name, one check that holds and one that does not."""

    def measure():
        checks = [printed("S57", "loss <script>", MEASURED[name], ".9801"), is_true("S54", "it is", name == "taylor")]
        return checks, plt.figure(figsize=(1, 1))

    return SimpleNamespace(main=lambda settings: conclude(settings, name, f"What is <b>{name}</b>?", measure))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in MEASURED:
        monkeypatch.setitem(sys.modules, f"experiments.{name}", stand_in(name))
        stand_in(name).main(Experiment(out=tmp_path / "runs" / name, quick=True, json=True))
    return tmp_path / "runs"


def page_of(folder):
    import experiments.report

    assert experiments.report.main(SimpleNamespace(folder=folder, out=None)) == 0
    return (folder / "report.html").read_text(encoding="utf-8")


def test_a_page_holds_every_run_escaped_and_needs_nothing_else(folder, capsys):
    page = page_of(folder)
    assert "written" in capsys.readouterr().out
    assert page.count("<section id=") == 3  # the claims and two runs
    assert "What is &lt;b&gt;saddle&lt;/b&gt;?" in page
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=[\"'](?!data:|#)", page)
    assert page.count('src="data:image/') == 2
    assert "python3 lab.py saddle --quick" in page
    assert "Checks passed: 2 of 4" in page


def test_every_link_leads_somewhere_and_a_claim_to_its_checks(folder):
    page = page_of(folder)
    ids = re.findall(r" id=\"([^\"]+)\"", page)
    assert len(ids) == len(set(ids))
    links = set(re.findall(r"href=\"#([^\"]+)\"", page))
    assert {link for link in links if not link.startswith("claim-")} <= set(ids)
    (row,) = re.findall(r"<tr id=\"claim-S57\">.*?</tr>", page)
    assert "the way out" in row
    assert 'href="#saddle-S57"' in row
    assert re.search(r"<tr id=\"saddle-S57\"><td>S57</td><td><span class=\"passed\">passed</span></td><td>loss", page)


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


@pytest.mark.parametrize("argv", [["report", "."], ["report", "nowhere"], ["verify", "nowhere.html"], ["verify", "a"]])
def test_what_is_no_run_is_refused(argv, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text(html.escape("<pre>"))
    assert main(argv) == 2
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 1
    assert argv[1] in shown.err
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
