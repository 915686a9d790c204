"""A figure, a page, words never cost results; and no number that a diverging run leaves behind costs a figure."""

import io
import json
import re

import numpy as np
import pytest
import xarray
from matplotlib.figure import Figure

from experiments.__main__ import main
from experiments.cli.console import print_table
from experiments.cli.settings import Experiment, Race
from experiments.commands.race import summarize
from experiments.playground import plane
from experiments.reporting import figures
from experiments.reporting.checks import conclude, is_true
from experiments.reporting.endpoints import unclassified
from experiments.reporting.figures import plt
from experiments.reporting.legends import covers
from experiments.reporting.run_folder import Extras, write_arrays, write_figure
from experiments.workloads.workload import load
from gdlab.problems import surfaces

pytestmark = pytest.mark.full

RECORD = {"results.nc", "summary.json", "config.json", "meta.json", "report.json"}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def fails(*_, **__):
    raise OverflowError("cannot convert\nfloat infinity to integer")


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_runs_that_all_diverge_are_drawn(tmp_path, capsys):
    flags = ["--optimizers", "gd,optax.sgd", "--lr", "10:1e8:3", "--starts", "2", "--steps", "50", "--page", "--json"]
    assert main(["race", "himmelblau", *flags, "--out", "r"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert json.loads(shown.out)["optimizers"]["gd"]["diverged_share"] == 1
    assert names(tmp_path / "r") == RECORD | {"race.png", "race.svg", "page.html"}
    assert main(["sweep", "himmelblau", *flags[:-2], "--json", "--out", "s"]) == 0
    assert capsys.readouterr().err == ""
    assert names(tmp_path / "s") == RECORD | {"sweep.png", "sweep.svg"}


def test_a_race_keeps_its_results_where_all_that_shows_them_fails(tmp_path, capsys, monkeypatch):
    flags = ["--optimizers", "gd", "--lr", "0.01:0.1:2", "--starts", "2", "--steps", "20", "--page"]
    assert main(["race", "linear_net", *flags, "--out", "whole"]) == 0
    capsys.readouterr()
    for place in (
        *(f"commands.race.{part}" for part in ("classified", "ways_out", "summary_text", "draw")),
        "playground.page.page",
    ):
        monkeypatch.setattr(f"experiments.{place}", fails)
    assert main(["race", "linear_net", *flags, "--out", "bare"]) == 1
    shown = capsys.readouterr()
    said = shown.err.splitlines()
    parts = ("the kinds of the stops", "the ways out of the saddles", "the table", "the figure", "page.html")
    assert len(said) == len(parts)
    for line, part in zip(said, parts, strict=True):
        assert line.startswith(f"error: {part} could not be made")
        assert line.endswith(r"OverflowError: cannot convert\nfloat infinity to integer")
    assert shown.out == "written: bare/results.nc, summary.json\n"
    assert names(tmp_path / "bare") == RECORD
    whole, bare = (xarray.load_dataset(f"{name}/results.nc", engine="h5netcdf") for name in ("whole", "bare"))
    assert set(whole) == set(bare)
    for name in ("loss", "end", "path"):
        np.testing.assert_array_equal(whole[name], bare[name])
    assert (bare["kind"] == -1).all()  # not seen


def test_a_sweep_and_a_verdict_keep_theirs_and_half_a_figure_is_none(tmp_path, capsys, monkeypatch):
    save = Figure.savefig

    def half(self, path, **how):
        save(self, path, **how)
        if path.suffix == ".svg":
            fails()

    monkeypatch.setattr(Figure, "savefig", half)
    assert main(["sweep", "himmelblau", "--optimizers", "gd", "--lr=1:2:2", "--starts=1", "--steps=5", "--json"]) == 1
    assert "OverflowError" in capsys.readouterr().err
    assert names(tmp_path / "runs" / "sweep") == RECORD | {"sweep.png"}
    assert main(["classify", "himmelblau", "--json"]) == 1
    assert names(tmp_path / "runs" / "classify") == (RECORD | {"classify.png", "report.html"}) - {"results.nc"}

    def verdict(draw):
        return conclude(Experiment(), "stand_in", "?", lambda: ([is_true("S1", "it is", True)], draw))

    assert verdict(fails) == 1
    assert json.loads((tmp_path / "runs" / "stand_in" / "summary.json").read_text())["passed"]
    assert names(tmp_path / "runs" / "stand_in") == RECORD - {"results.nc"}
    assert plt.get_fignums() == []


def test_a_legend_hides_no_line_no_mark_and_no_bar(tmp_path):
    """One that lies on something goes where nothing is, or below; one that lies free, or on contours, stays."""
    x = np.linspace(0, 1, 200)
    draw = {
        "a line": lambda axes: axes.plot(x, x, label="a"),
        "marks": lambda axes: axes.scatter(x, x, label="a"),
        "a bar": lambda axes: axes.bar(1, 1, label="a"),
        "free": lambda axes: axes.plot(x, 1 - x, label="a"),
        "everywhere": lambda axes: [axes.plot(x, (x + k / 9) % 1, label=f"line {k}") for k in range(9)],
        "contours": lambda axes: axes.contour(np.add.outer(x, x)) and axes.axhline(150, label="a"),
    }
    figure, grid = plt.subplots(2, 3, figsize=(9, 5))
    for axes, add in zip(grid.flat, draw.values(), strict=True):
        add(axes)
        axes.legend(loc="upper right", fontsize=7)
    figure.draw_without_rendering()
    hiding = [name for name, axes in zip(draw, grid.flat, strict=True) if covers(axes)]
    write_figure(tmp_path, "some", figure)
    assert hiding == ["a line", "marks", "a bar", "everywhere"]
    assert not any(map(covers, grid.flat))
    boxes = {name: axes.get_legend().get_window_extent() for name, axes in zip(draw, grid.flat, strict=True)}
    outside = [name for name, axes in zip(draw, grid.flat, strict=True) if boxes[name].y1 < axes.bbox.y0]
    assert outside == ["a bar", "everywhere"]
    assert all(box.y0 >= 0 for box in boxes.values())
    plt.close(figure)


def test_a_figure_finds_the_places_of_its_axes_once_and_is_drawn_once_for_each_file(tmp_path, monkeypatch):
    ours, theirs = (plt.figure(layout="constrained") for _ in range(2))
    for figure in (ours, theirs):
        figure.subplots(1, 2)[0].set_ylabel("loss")
    theirs.savefig(tmp_path / "theirs.png", dpi=150)
    draw, drawn = Figure.draw, []
    monkeypatch.setattr(Figure, "draw", lambda self, renderer: (drawn.append(renderer), draw(self, renderer)))
    write_figure(tmp_path, "ours", ours)
    assert len(drawn) == 2
    assert (tmp_path / "ours.svg").is_file()
    np.testing.assert_array_equal(*(plt.imread(tmp_path / f"{name}.png") for name in ("ours", "theirs")))
    for figure in (ours, theirs):
        plt.close(figure)


def test_an_interrupt_is_no_failure_of_a_part(tmp_path):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Extras(tmp_path).made("the figure", interrupt, None)


def test_names_of_the_users_are_text_and_no_markup_formula_or_argument(tmp_path, capsys):
    print_table("[/red]x.py:f", ["[bold]a", ":smile:"], [["[b]1", "2"]])
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("[/red]x.py:f", "[bold]a", ":smile:", "[b]1"))
    figure = plt.figure(figsize=(1, 1))
    figure.suptitle(figures.plain("a$b^$.py:f"))
    figure.savefig(io.BytesIO(), format="png")
    plt.close(figure)
    arrays = {"file": np.arange(3.0), "allow_pickle": np.array(2.0), "a/b": np.ones((2, 2), np.float32)}
    write_arrays(tmp_path / "arrays.npz", arrays)
    with np.load(tmp_path / "arrays.npz", allow_pickle=False) as kept:
        assert set(kept) == set(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(kept[name], array, strict=True)


@pytest.mark.parametrize("narrow", [60, 80, 110])
def test_no_word_and_no_number_of_a_table_is_broken_where_the_terminal_has_room(monkeypatch, capsys, narrow):
    """The table of `map`: the longest words of its columns and the gaps take 79 places, and 98 with a frame."""
    columns = ["point", "kind", "index", "loss", "lowest", "highest", "found", "theta", "joins"]
    saddle = ["4", "saddle", "1", "13.31192627", "-14.135", "97.548", "43", "(3.3851542, 0.07385188)", "0 - 1"]
    rows = [["3", "minimum", "0", "7.888609052e-31", "70.714", "133.79", "29", "(-3.7793103, -3.283186)", ""], saddle]
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": str(narrow)}.items():
        monkeypatch.setenv(name, value)
    print_table("The title", columns, rows)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    whole = all(word in shown for row in [columns, *rows] for cell in row for word in cell.split())
    assert whole == (narrow >= 80)
    assert ("┃" in shown) == (narrow != 80)
    assert max(map(len, shown.splitlines())) <= narrow


def test_diverged_runs_count_as_infinite_in_the_median_of_a_race():
    dims = ("optimizer", "lr", "start")
    dataset = xarray.Dataset(
        {
            "loss": ((*dims, "step"), [[[[9.0, 1.0], [9.0, np.nan], [9.0, 3.0]]]]),
            "gradient_norm": (dims, np.ones((1, 1, 3))),
        },
        {"optimizer": ["gd"], "lr": [0.1]},
    )
    workload = load(Race(surface="linear_net", starts=3))
    row = summarize(unclassified(dataset), [], workload)["optimizers"]["gd"]
    assert (row["median_loss"], row["diverged_share"]) == (3.0, pytest.approx(1 / 3))
    assert row["kinds"] == {"not seen": 2, "diverged": 1}


VALUES = {
    "nothing finite": [np.nan, np.inf, -np.inf],
    "all equal": [3.0, 3.0, 3.0],
    "all zero": [0.0, 0.0, 0.0],
    "the largest": [1.7e308, 1e300, -1.7e308],
    "the smallest": [5e-324, 1e-310, 1e-300],
    "far apart": [1e-300, 1.0, 1e300],
    "below zero": [-1.0, -1e200, -1e-200],
    "one alone": [2.0, np.nan, np.inf],
}


@pytest.mark.parametrize("rates", [[1e-3, 1e-2, 1e-1], [0.5, 0.5, 0.5], [5e-324, 1.0, 1.7e308]], ids=str)
def test_whatever_diverging_runs_leave_is_drawn_between_finite_limits(rates):
    figure, parts = plt.subplots(2, len(VALUES) // 2, figsize=(6, 3))
    for axes, values in zip(parts.ravel(), VALUES.values(), strict=True):
        losses = np.array([values]).T.repeat(3, axis=1)
        figures.band(rates, losses, label="gd", color="black", ax=axes)
        figures.log_axis("x", rates, ax=axes)
        figures.log_axis("y", losses, ax=axes)
        figures.legend(ax=axes)
        low, high = axes.get_ylim()
        assert 0 < low < high < np.inf
        shown = [value for value in values if 1e-150 < value < 1e150]
        assert all(low < value < high for value in shown)
        assert [text.get_text() for text in axes.texts] == ([] if shown else ["nothing to draw: all diverged"])
    figure.savefig(io.BytesIO(), format="png")
    plt.close(figure)


@pytest.mark.parametrize("loss", [lambda x: x[0] * np.nan, lambda x: x[0] * 0 + 3, lambda x: 1e300 * x[0] ** 3])
def test_contours_of_any_loss_are_drawn(loss):
    figure, axes = plt.subplots()
    figures.contours(loss, [(-2, 2), (-1, 1)], ax=axes)
    figures.way_out(np.zeros(2), np.full(2, np.nan), np.zeros(2), np.full(2, 1e308), ax=axes)
    figures.way_out(np.zeros(2), np.ones(2), np.full(2, np.inf), np.full(2, 1e308), ax=axes)
    figure.savefig(io.BytesIO(), format="png")
    assert axes.get_xlim() == (-2, 2)
    plt.close(figure)


STEPS = np.arange(0, 101, 10)
COURSES = {  # what a run's loss does over the steps, and the lowest of these runs
    "settling": ([np.exp(-STEPS / 10)], np.exp(-10)),
    "falling for ever, beside one that settles": ([-np.exp(2.0 * STEPS), np.exp(-STEPS / 10)], np.exp(-10)),
    "leaving the numbers, beside one that settles": ([[1, -1e9, *[-np.inf] * 9], 2 - STEPS / 100], 1.0),
    "a deep minimum that is reached": ([1e-3 - 1e6 * (1 - np.exp(-STEPS / 10))], 1e-3 - 1e6 * (1 - np.exp(-10))),
    "still on the way down from a saddle": ([1 - 1e-6 * np.exp(STEPS / 8), np.full(11, 1.0)], 1 - 1e-6 * np.exp(12.5)),
    "all rising": ([np.exp(STEPS), 3 * np.exp(STEPS)], 1.0),
    "nothing": ([np.full(11, np.nan)], 0.0),
}


@pytest.mark.parametrize("name", COURSES)
def test_charts_begin_at_the_lowest_loss_of_the_runs_that_have_a_bottom(name):
    losses, lowest = COURSES[name]
    assert figures.lowest(np.array(losses, float), STEPS) == pytest.approx(lowest, rel=1e-12)


def test_where_all_runs_fall_for_ever_the_chart_shows_where_they_start():
    falling = np.array([1 - np.exp(2.0 * STEPS), 3 - np.exp(2.0 * STEPS)])
    assert falling[:, 0].min() > figures.lowest(falling, STEPS) > -100


@pytest.mark.parametrize("name", surfaces)
def test_a_start_is_named_by_the_kind_of_the_point_it_is_beside(name):
    workload = load(Race(surface=name, starts=4))
    for start, said in zip(np.asarray(workload.starts), workload.seen_as, strict=True):
        if said.startswith(("on the ", "1e-6 beside the ")):
            near = [kind for x, kind in workload.points if np.linalg.norm(start - x) < 1.1e-6]
            assert near == [{"saddle": "saddle", "degenerate point": "degenerate"}[said.partition("the ")[2]]]
    if "saddle" in (kind for _, kind in workload.points):
        assert workload.seen_as[0] == "on the saddle"


def test_a_plane_ignores_what_is_far_outside_of_the_others_paths():
    near, far = np.array([[1.0, 2.0, 0.5]]), np.array([[1e200, -1e200, 0.0]])
    steps = np.linspace(1, 0, 40)[:, None]
    assert plane.within(np.concatenate([steps * near, far]), near[0]).tolist() == [True] * 40 + [False]
    assert plane.within(np.array([[np.nan] * 3, near[0], np.inf * near[0]]), near[0]).tolist() == [False, True, False]
