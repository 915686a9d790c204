"""The page of a landscape, in a real browser: what it draws is what was found, and every control moves it."""

import itertools
import re

import jax.numpy as jnp
import numpy as np
import pytest

import hessian
from experiments.playground import landscape
from hessian.landscapes.graph import Landscape, Points

pytestmark = pytest.mark.full

ATOMS = np.random.default_rng(0).normal(size=(6, 4, 3))  # of 3 minima and 3 saddles
WEIGHTS = jnp.arange(12.0) - 4.5  # the lowest is that of the first number


def loss(x):
    return jnp.sum(WEIGHTS * x.ravel() ** 2)


def points(params, losses, index):
    k = len(losses)
    eigenvalues = np.tile(np.arange(12.0) - (0.5 if index else -1.0), (k, 1))
    zeros = np.zeros(k, int)
    return Points(params, np.array(losses), np.full(k, index), zeros, eigenvalues, zeros * 0.0, zeros + 1, zeros + 24.0)


FOUND = Landscape(
    minima=points(ATOMS[:3], [-3.0, -2.0, -1.5], 0),
    saddles=points(ATOMS[3:], [-1.0, -0.5, 0.0], 1),
    others=points(ATOMS[:0], [], 2),
    joins=np.array([[0, 1], [1, 2], [-1, 2]]),
    drawn=np.ones(3, int),
    starts=9,
    starts_since_new=3,
    ended={"minimum": 9},
    degenerate=0,
    highest=1,
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A page, whose title and words are hostile."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    title, words = "<b>{data}</b>", ["<script>alert(1)</script>", "{script}"]
    path.write_text(landscape.page(title, words, FOUND, loss, hessian.symmetry.atoms(3)), encoding="utf-8")
    return path


@pytest.fixture
def page(opened, file):
    with opened(file) as page:
        page.wait_for_function("gdlab.drawn.atoms.length > 0")
        yield page


def atoms(page):
    """Where the atoms are drawn, with their depth in the same unit; the unit is that of the first distance."""
    seen = page.evaluate("gdlab.drawn.atoms.map(({ at, depth }) => [...at, depth])")
    return np.array(seen)


def distances(x):
    return np.array([np.linalg.norm(a - b) for a, b in itertools.combinations(x, 2)])


def test_points_lie_at_the_height_of_their_loss_and_minima_where_the_tree_ends(page):
    page.keyboard.press("g")
    drawn = page.evaluate("gdlab.drawn.points.map(({ at, shown }) => [...at, shown])")
    assert all(shown for *_, shown in drawn)
    x, y = np.array(drawn, float)[:, :2].T
    heights = np.concatenate([FOUND.minima.loss, FOUND.saddles.loss])
    np.testing.assert_allclose((y - y[0]) / (y[-1] - y[0]), (heights - heights[0]) / np.ptp(heights), atol=1e-9)
    assert np.argsort(x[:3]).tolist() == np.argsort(FOUND.disconnectivity().places()).tolist()
    assert x[3] == pytest.approx((x[0] + x[1]) / 2)


def test_keys_climb_from_a_minimum_to_its_lowest_saddle_and_down_to_the_other_one(page):
    for key, there in [("ArrowUp", 3), ("ArrowDown", 1), ("ArrowUp", 3), ("ArrowRight", 4), ("ArrowDown", 2)]:
        page.keyboard.press(key)
        assert page.evaluate("gdlab.state.picked") == there, key
    page.get_by_role("button", name="saddle 2").click()
    assert "minimum 2" in page.inner_text("#point")
    assert "none that is known" in page.inner_text("#point")
    box = page.locator("#map canvas").bounding_box()
    x, y = page.evaluate("gdlab.drawn.points[1].at")
    page.mouse.click(box["x"] + x, box["y"] + y)
    assert page.inner_text("#point h2") == "Minimum 1"
    assert page.locator("#points tr").count() == 6


def test_atoms_are_drawn_as_they_lie_however_they_are_turned(page):
    expected = distances(ATOMS[0])
    page.locator("#loss canvas").focus()
    seen = []
    for key in ("", "ArrowLeft", "ArrowUp"):
        if key:
            page.keyboard.press(key)
        seen.append(atoms(page))
        scale = page.evaluate("gdlab.drawn.scale")
        here = distances(seen[-1] / [scale, scale, 1])
        np.testing.assert_allclose(here, expected, rtol=1e-5)
    assert np.abs(np.diff(seen, axis=0)).max(axis=(1, 2)).min() > 1
    bonds = page.evaluate("gdlab.drawn.bonds")
    pairs = list(itertools.combinations(range(4), 2))
    near = [list(pair) for pair, far in zip(pairs, expected, strict=True) if far <= 1.25 * expected.min()]
    assert sorted(bonds) == near


def test_a_saddle_is_pushed_along_its_eigenvector_of_the_lowest_eigenvalue(page):
    ways = page.evaluate("Array.from(gdlab.ways)")
    np.testing.assert_allclose(np.abs(np.reshape(ways, (3, 12))), np.eye(12)[[0, 0, 0]], atol=1e-7)
    page.keyboard.press("ArrowUp")
    page.locator("#push").press("End")
    pushed, scale = atoms(page), page.evaluate("gdlab.drawn.scale")
    there = distances(pushed / [scale, scale, 1])
    assert np.argwhere(np.abs(there - distances(ATOMS[3])) > 1e-5).ravel().tolist() == [0, 1, 2]  # of the first atom


def test_it_fits_a_phone_and_needs_no_network(browser, file):
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=|https?:|@import|fetch\(|<script>alert|<b>", text)
    page = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page.goto(f"file://{file}")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.close()


def test_a_page_of_many_points_has_the_lowest_and_says_so(monkeypatch):
    monkeypatch.setattr(landscape, "MOST", 2)
    text = landscape.page("many", [], FOUND, loss, None)
    assert "Shown are the lowest 2 minima and 1 saddles between them." in text
