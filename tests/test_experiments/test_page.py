"""The page that replays, in a real browser: what it draws is what the race computed, and every control moves it."""

import json
import re

import numpy as np
import pytest
import xarray

from experiments.__main__ import main
from experiments.playground import page as of_page
from experiments.playground import replay, template

pytestmark = pytest.mark.full

LOSS = """
import jax

def loss(theta):
    x, y = theta["x"], theta["y"]
    none = jax.lax.lgamma(1.0 + 0.0 * x)  # what no page computes
    return (x**2 - 1) ** 2 + (y - x**2) ** 2 + none
"""


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """The folder of a race of one's own loss, an optimizer of ours against one of optax, and its dataset."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "<b>my_loss.py").write_text(LOSS)
    np.savez(folder / "here.npz", x=np.array(0.1), y=np.array(0.3))
    flags = [
        "--optimizers",
        "adam,optax.sgd",
        "--lr",
        "0.01:0.1:3",
        "--starts",
        "2",
        "--steps",
        "60",
        "--page",
        "--json",
    ]
    target = [f"{folder}/<b>my_loss.py:loss", "--params", f"{folder}/here.npz"]
    assert main(["race", *target, *flags, "--out", str(folder / "race")]) == 0
    return folder / "race", xarray.open_dataset(folder / "race" / "results.nc", engine="h5netcdf")


@pytest.fixture
def page(opened, raced):
    """The page, opened from its file."""
    with opened(raced[0] / "page.html") as page:
        yield page


def state(page):
    """What the user chose, once the frame that a key or a click asked for is drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(done))")
    return page.evaluate("gdlab.state")


def expected(dataset, page, name):
    """Where the path of an optimizer must be on the picture, from the dataset of the race and the page's window."""
    seen = state(page)
    data = page.evaluate("gdlab.data")
    rate = data["best"][data["optimizers"].index(name)] if seen["best"] else seen["rate"]
    path = dataset["path"].sel(optimizer=name).values[rate, seen["start"]][data["steps"][: seen["row"] + 1]]
    canvas = page.locator("#map canvas")
    width, height = canvas.evaluate("c => c.clientWidth") - 56, canvas.evaluate("c => c.clientHeight") - 42
    low, high = np.array(data["box"]).T
    x, y = ((path - low) / (high - low)).T
    return np.stack([46 + x * width, 10 + (1 - y) * height], axis=1)


def drawn(page, name):
    state(page)
    return np.array(page.evaluate("name => gdlab.drawn.paths[name]", name))


def test_what_is_drawn_is_what_was_computed_at_every_rate_start_and_step(page, raced):
    _, dataset = raced
    for keys in ([], ["ArrowRight"] * 9, ["ArrowUp"], ["s"], ["ArrowDown"] * 2):
        for key in keys:
            page.keyboard.press(key)
        for name in ("adam", "optax.sgd"):
            np.testing.assert_allclose(drawn(page, name), expected(dataset, page, name), atol=1e-2)
    print(f"redrawn in {page.evaluate('gdlab.drawn.milliseconds'):.1f} ms")


def test_the_losses_are_those_of_the_race(page, raced):
    _, dataset = raced
    shown, lowest, steps = page.evaluate("[Array.from(gdlab.losses), gdlab.data.lowest, gdlab.data.steps]")
    losses = dataset["loss"].values[..., steps]
    assert lowest == losses.min()
    np.testing.assert_allclose(np.reshape(shown, losses.shape), losses, rtol=1e-12)


def refuse(*_):
    raise of_page.live.Refused


@pytest.fixture(scope="module")
def unbounded(tmp_path_factory):
    """The folder of a race on a surface without a lowest point, and its dataset."""
    folder = tmp_path_factory.mktemp("unbounded") / "race"
    flags = ["--optimizers", "gd,adam", "--lr", "1e-3:1:3", "--starts", "6", "--steps", "90", "--page", "--json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(of_page, "computing", refuse)
        assert main(["race", "monkey_saddle", *flags, "--out", str(folder)]) == 0
    return folder, xarray.open_dataset(folder / "results.nc", engine="h5netcdf")


def test_a_loss_is_read_to_its_last_digit_whatever_others_fall_to(browser, unbounded):
    folder, dataset = unbounded
    page = browser.new_page(viewport={"width": 1250, "height": 900})
    page.goto(f"file://{folder}/page.html")
    assert dataset["loss"].min() < -1e5  # some runs fall without end
    page.evaluate("Object.assign(gdlab.state, { best: false, rate: 0, row: 0 }); gdlab.draw()")
    loss = float(dataset["loss"].sel(optimizer="gd").values[0, 1, 0])  # 1e-6 beside the degenerate point
    assert abs(loss) < 1e-17
    assert float(re.search(r"loss\s+(\S+)", page.inner_text("#step"))[1]) == pytest.approx(loss, rel=5e-3)
    assert "1e-6 beside the degenerate point" in page.inner_text("#start")
    page.close()


def test_a_chart_without_a_lowest_loss_shows_where_the_runs_come_from(browser, unbounded):
    folder, dataset = unbounded
    page = browser.new_page(viewport={"width": 1250, "height": 900})
    page.goto(f"file://{folder}/page.html")
    starts = dataset["loss"].values[..., 0]
    assert -100 * np.ptp(starts) < page.evaluate("gdlab.data.lowest") < starts.min()
    height = page.locator("#loss canvas").evaluate("c => c.clientHeight")
    for best in ("true", "false"):
        page.evaluate(f"Object.assign(gdlab.state, {{ best: {best}, rate: 2 }}); gdlab.draw()")
        heights = np.array([y for _, y in page.evaluate("gdlab.drawn.losses.adam")], float)
        assert heights[0] < 0.6 * height < 0.85 * height < heights[-1]  # from the upper half down to the foot
    page.close()


def test_a_step_is_made_of_its_pieces_and_of_optax_none_are_shown(page):
    pieces = page.evaluate("Object.fromEntries(Object.entries(gdlab.runs).map(([k, v]) => [k, Array.from(v)]))")
    eta, m, sigma, update = (np.array(pieces[name], float) for name in ("eta", "m", "sigma", "update"))
    half = len(eta) // 2
    m, sigma, update = (value.reshape(-1, 2) for value in (m, sigma, update))
    np.testing.assert_allclose(update[:half], -(eta[:half, None] / sigma[:half] * m[:half]), rtol=1e-5)
    assert np.isnan(eta[half:]).all()
    page.keyboard.press("2")
    page.keyboard.press("2")
    assert "can be read" in page.inner_text("#step")


def test_sliders_buttons_and_touch_move_it(page):
    before = state(page)
    page.locator("#row").press("ArrowRight")
    assert state(page)["row"] == before["row"] + 1
    page.locator("#rate").press("ArrowLeft")
    assert (state(page)["best"], state(page)["rate"]) == (False, max(before["rate"] - 1, 0))
    page.locator("#optimizers button").nth(1).click()
    page.locator("#optimizers button").nth(1).click()
    assert state(page)["on"] == [True, False]
    assert "optax.sgd" not in page.evaluate("gdlab.drawn.paths")
    box = page.locator("#loss canvas").bounding_box()
    page.touchscreen.tap(box["x"] + 60, box["y"] + box["height"] / 2)
    assert state(page)["row"] < 3
    page.locator("#play").click()
    page.wait_for_function("gdlab.state.row > 3")


def test_the_marker_has_the_colour_of_its_optimizer(page):
    colour = page.evaluate("gdlab.data.colours[0]")
    seen = page.evaluate("""() => {
        const [x, y] = gdlab.drawn.paths.adam.at(-1), canvas = document.querySelector("#map canvas");
        return Array.from(canvas.getContext("2d").getImageData(x * devicePixelRatio, y * devicePixelRatio, 1, 1).data);
    }""")
    assert "#" + bytes(seen[:3]).hex().upper() == colour.upper()


def test_critical_points_have_their_kind_and_ways_down(page):
    points = page.evaluate("gdlab.data.points")
    saddle = next(point for point in points if point["kind"] == "saddle")
    np.testing.assert_allclose(saddle["x"], [0, 0], atol=1e-9)
    np.testing.assert_allclose(np.abs(saddle["down"]), [[1, 0]], atol=1e-9)
    assert sorted(round(point["x"][0]) for point in points if point["kind"] == "minimum") == [-1, 1]
    assert len(page.evaluate("gdlab.drawn.points")) == len(points)


def test_it_fits_a_phone_and_needs_no_network(browser, raced):
    text = (raced[0] / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=|https?:|@import|fetch\(", text)
    assert "<b>my_loss" not in text
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(f"file://{raced[0]}/page.html")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.close()


def test_the_largest_page_stays_below_a_megabyte():
    fixed = sum(
        (template.HERE / name).stat().st_size for name in ("frame.html", "page.html", "page.css", "draw.js", "page.js")
    )
    bytes_of_numbers = replay.BUDGET * (8 + 9 * 4) + replay.SIDE**2 * 4
    assert fixed + bytes_of_numbers * 4 / 3 + len(json.dumps(list(range(10_000)))) < 1e6
