"""The gallery in a real browser: basins, models, proofs and comparisons are what another way of knowing says."""

from fractions import Fraction
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
import hessian
from experiments.__main__ import main
from experiments.cli.settings import Classify, InputError, Race
from experiments.commands import race
from experiments.playground.gallery import gallery
from experiments.playground.plane import through
from experiments.workloads.optimizers import named_optimizers
from gdlab.problems import surfaces
from hessian.proofs.lowering import lowered
from hessian.proofs.program import as_data

pytestmark = pytest.mark.full

NAMES = ("six_hump_camel", "rosenbrock_3d", "styblinski_tang_1d")
SMALL = partial(Race, optimizers=("gd", "adam"), lr="0.01:0.1:2", starts=2, steps=40)
SETTLE = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The file of a small gallery."""
    file = tmp_path_factory.mktemp("gallery") / "index.html"
    file.write_text(gallery(named_optimizers(("gd", "adam")), NAMES), encoding="utf-8")
    return file


@pytest.fixture
def page(opened, made):
    """The gallery, whose proofs are checked."""
    with opened(made) as page:
        page.wait_for_function("gdlab.points().every(point => point.record === null || point.proof)")
        yield page


def put(page, **what):
    page.evaluate("what => gdlab.change(what, true)", what)
    page.evaluate(SETTLE)


def test_every_surface_runs_at_rates_that_the_page_tuned(page):
    for k, name in enumerate(NAMES):
        page.select_option("#surface", str(k))
        page.evaluate(SETTLE)
        assert page.inner_text("#surface option:checked") == name
        losses = page.evaluate("gdlab.runs().map(run => [run.loss[0], run.loss[run.last]])")
        assert all(np.isfinite(pair).all() and pair[1] <= pair[0] for pair in losses)
        theta = surfaces[name].starts[0]
        rate = page.evaluate("gdlab.state.values[0][0]")
        ran = gdlab.minimize(surfaces[name].loss, gdlab.gd(rate), jnp.array(theta), 40, record=("loss",))
        if surfaces[name].dim <= 2:  # else the start is the nearest point of the plane
            seen = page.evaluate("Array.from(gdlab.runs()[0].loss.slice(0, 40))")
            np.testing.assert_allclose(seen, ran.history["loss"], rtol=1e-8, atol=1e-12)


def test_a_point_belongs_to_the_basin_of_the_minimum_where_its_run_ends(page):
    put(page, focus=0, steps=600, basins=True)
    page.wait_for_function("gdlab.drawn.basins && gdlab.drawn.basins.share === 1", timeout=60_000)
    shown, box = page.evaluate("[gdlab.drawn.basins, gdlab.data.box]")
    labels, rate = np.reshape(shown["labels"], (96, 96)), page.evaluate("gdlab.state.values[0][0]")
    (x0, x1), (y0, y1) = box
    rows, columns = np.random.default_rng(0).integers(0, 96, (2, 40))
    starts = np.stack([x0 + (x1 - x0) * (columns + 0.5) / 96, y1 - (y1 - y0) * (rows + 0.5) / 96], axis=1)
    end = jax.jit(jax.vmap(lambda x: gdlab.minimize(surfaces["six_hump_camel"].loss, gdlab.gd(rate), x, 600).params))
    ends, reached = np.asarray(end(jnp.asarray(starts))), labels[rows, columns]
    for at, k in zip(ends, reached, strict=True):
        if k >= 0:
            np.testing.assert_allclose(at, shown["ends"][k], atol=0.02 * (x1 - x0))
        elif k == -1:
            assert not np.isfinite(at).all()
    assert np.mean(reached >= 0) > 0.8
    assert "end at" in page.inner_text("#shares")


def test_basins_are_told_apart_by_a_border_too(page):
    """Where two of at least two places meet, the nearer one's first place is black; no other place is."""
    put(page, focus=0, steps=600, basins=True)
    page.wait_for_function("gdlab.drawn.basins && gdlab.drawn.basins.share === 1", timeout=60_000)
    labels = np.reshape(page.evaluate("gdlab.drawn.basins.labels"), (96, 96))
    seen = page.evaluate("[...basins.image.getContext('2d').getImageData(0, 0, 96, 96).data]")
    black = np.reshape(seen, (96, 96, 4))[..., :3].sum(axis=-1) == 0

    def borders(k):
        pairs = (k[:, 1:-2] == k[:, :-3]) & (k[:, 2:-1] == k[:, 3:])
        return np.pad(pairs & (k[:, 1:-2] != k[:, 2:-1]), ((0, 0), (2, 1)))

    expected = borders(labels) | borders(labels.T).T
    assert expected.sum() > 96
    np.testing.assert_array_equal(black[2:-1, 2:-1], expected[2:-1, 2:-1])


def test_the_models_on_a_circle_are_those_of_the_loss(page):
    loss, d, x = surfaces["six_hump_camel"].loss, 0.3, np.array([0.4, -0.5])
    m = page.evaluate("([x, d]) => { const m = gdlab.modelsAt(x, d); delete m.model; return m }", [x.tolist(), d])
    g, h = np.asarray(jax.grad(loss)(x)), np.asarray(jax.hessian(loss)(x))
    np.testing.assert_allclose(m["down"], -d * g / np.linalg.norm(g), rtol=1e-9)
    np.testing.assert_allclose(m["newton"], -np.linalg.solve(h, g), rtol=1e-9)
    angles = np.linspace(0, 2 * np.pi, 20_001)
    ring = x + d * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    lowest = ring[np.argmin(jax.vmap(loss)(jnp.asarray(ring)))]
    np.testing.assert_allclose(m["lowest"], lowest, atol=2e-4)
    disc = (ring - x)[None] * np.linspace(0, 1, 101)[:, None, None]
    values = disc @ g + np.einsum("...i,ij,...j", disc, h, disc) / 2
    assert -m["predicted"] <= values.min() + 1e-12
    assert -m["predicted"] == pytest.approx(values.min(), abs=1e-5)
    at_saddle = page.evaluate("gdlab.modelsAt([0, 0], 0.1).step")  # the hard case: the gradient is 0
    assert np.linalg.norm(at_saddle) == pytest.approx(0.1)


def test_two_settings_stand_side_by_side(page):
    page.click("#keep")
    before = page.evaluate("Array.from(gdlab.runs()[1].loss)")
    put(page, start=[0.3, 0.9])
    page.locator("#hypers input").first.press("ArrowRight")
    page.evaluate(SETTLE)
    assert "schedule.rate" in page.inner_text("#keptwords")
    kept = page.evaluate("gdlab.state.kept.start")
    assert kept != page.evaluate("gdlab.state.start")
    page.click("#keep")
    put(page, start=kept)
    assert page.evaluate("Array.from(gdlab.runs()[1].loss)") == before
    assert page.is_hidden("#kept")


def test_a_picture_is_saved_as_sound_svg(page):
    put(page, models=True)
    for text in page.evaluate("gdlab.asSVG()"):
        sound = "text => new DOMParser().parseFromString(text, 'image/svg+xml').querySelector('parsererror') === null"
        assert page.evaluate(sound, text)
        assert text.count("<path") > 10


def test_proofs_are_checked_and_what_is_wrong_with_one_is_seen(page):
    points = page.evaluate("gdlab.points()")
    assert all(point["proof"]["held"] and "checked here" in point["proof"]["said"] for point in points)
    assert page.locator("#points tr").count() == len(points)
    good = page.evaluate("({ program: gdlab.data.program, ...gdlab.data.proofs.at(-1) })")
    held = "record => gdlab.checkedHere(record)"
    assert page.evaluate(held, good)["held"]
    hex_ = float.hex
    radius = [float.fromhex(one) for one in good["radius"]]
    wrong = [
        {"index": 1 - good["index"]},
        {"radius": [hex_(1e3 * one) for one in radius]},
        {"radius": [hex_(1e-30) for _ in radius]},
        {"center": [[str(int(m) + 2**50), e] for m, e in good["center"]]},
        {"program": [*good["program"], ["erf", [len(good["program"]) - 1], 1, []]]},
        {"radius": ["alert(1)", "0x1p+0"]},
        {"center": None},
    ]
    for change in wrong:
        found = page.evaluate(held, {**good, **change})
        assert not found["held"]
        assert found["said"].startswith("not checked here: ")


def test_a_jet_of_intervals_holds_the_exact_one(page):
    """Exact rational arithmetic: value and first derivatives of a rational function at points that are doubles."""

    def loss(x):
        return (x[0] ** 3 - 0.1 * x[1]) / (3 + x[1] ** 2) - x[0] * x[1] / 7 + (x[0] - x[1]) ** 4

    program = as_data(lowered(loss, jnp.zeros(2))[0])
    for a, b in np.random.default_rng(3).uniform(-2, 2, (20, 2)).tolist():
        found = page.evaluate("([program, x]) => jetOf(program, x.map(I.of))", [program, [a, b]])
        x, y = Fraction(a), Fraction(b)
        exact = (x**3 - Fraction(0.1) * y) / (3 + y**2) - x * y / 7 + (x - y) ** 4
        slope = 3 * x**2 / (3 + y**2) - y / 7 + 4 * (x - y) ** 3
        bend = 6 * x / (3 + y**2) + 12 * (x - y) ** 2
        for (low, high), number in ((found["v"], exact), (found["g"][0], slope), (found["h"][0][0], bend)):
            assert Fraction(low) <= number <= Fraction(high)
            assert high - low < 1e-12


def test_elementary_functions_of_intervals_hold_the_true_values(page):
    """Ball arithmetic of 200 bits, at ends of the ranges, near zeros and turning points, and at random."""
    flint = pytest.importorskip("flint")
    flint.ctx.prec = 200
    hard = [0.0, 5e-324, 1e-310, 1e-16, 0.3, 0.5, 1.0, np.nextafter(1, 2), 20.0, 355.0, 709.78, 710.0, -745.2, 1e300]
    rng = np.random.default_rng(5)
    near = np.concatenate([np.arange(-60, 61) * np.pi / 2, np.arange(-60, 61) * np.log(2) / 2])
    thin = np.concatenate(
        [hard, near, rng.normal(0, 3, 200), 10 ** rng.uniform(-300, 300, 200), rng.uniform(-5e5, 5e5, 50)]
    )
    low = rng.choice(thin[np.abs(thin) < 1e6], 300)
    boxes = np.concatenate([np.stack([thin, thin], 1), np.stack([low, low + 10 ** rng.uniform(-9, 1, 300)], 1)])
    for name in ("exp", "expm1", "log", "log1p", "sin", "cos", "atan", "tanh", "sinh", "cosh", "logistic"):
        true = getattr(flint.arb, name, lambda x: 1 / (1 + (-x).exp()))
        least = {"log": 0.0, "log1p": -1.0}.get(name, -np.inf)
        given = boxes[(boxes[:, 0] > least) & (np.abs(boxes).max(axis=1) < {"sinh": 709.0}.get(name, np.inf))]
        found = page.evaluate(
            "([name, boxes]) => boxes.map(I[name]).map((one) => one.map(String))", [name, given.tolist()]
        )
        for (low, high), ends in zip(given.tolist(), found, strict=True):
            under, over = (float(one.replace("Infinity", "inf")) for one in ends)
            for x in np.linspace(low, high, 1 if low == high else 5):
                value = true(flint.arb(x))
                assert not (value < under or (over < np.inf and value > over)), (name, low, high)
            if low == high and 1e-300 < abs(under) < 1e300 and abs(low) < 40:
                assert over - under <= 2e-14 * max(abs(under), 0.1)


def test_what_stands_on_the_page_can_be_read_and_reached(page):
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.evaluate(SETTLE)
        colours = page.evaluate("""() => {
            const solid = (one) => { for (; one; one = one.parentElement) {
                const seen = getComputedStyle(one).backgroundColor;
                if (!/, 0\\)$/.test(seen) && seen !== "transparent") return seen;
            } return "rgb(255, 255, 255)" };
            return [...document.querySelectorAll("p, td, th, dt, dd, h1, h2, button, label, output, footer, caption")]
                .filter((one) => one.checkVisibility() && one.textContent.trim() && !one.disabled)
                .map((one) => [one.textContent.trim().slice(0, 30), getComputedStyle(one).color, solid(one)]);
        }""")
        for words, ink, paper in colours:
            assert contrast(ink, paper) >= 4.5, (scheme, words, ink, paper)
    reached = set()
    page.evaluate("document.activeElement.blur()")
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.parentElement.id"))
    assert {"map", "surface", "optimizers", "typed", "row", "steps", "play", "push", "tune", "keep", "save"} <= reached
    headings = page.evaluate("[...document.querySelectorAll('h1, h2')].map((one) => +one.tagName[1])")
    assert headings[0] == 1
    assert all(b - a <= 1 for a, b in pairwise(headings))
    assert page.evaluate("[...document.querySelectorAll('table')].every((one) => one.caption.textContent)")
    assert page.evaluate("document.documentElement.lang") == "en"


def contrast(ink, paper):
    """The ratio of luminances of two colours, as WCAG defines it."""

    def luminance(text):
        parts = [float(one) / 255 for one in text[text.index("(") + 1 : -1].split(",")[:3]]
        linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(ink), luminance(paper)))
    return (high + 0.05) / (low + 0.05)


LOSSES = """
import jax, jax.numpy as jnp

def wells(theta):
    return jnp.sum((theta**2 - 1) ** 2) + 0.1 * theta[2]

def refused(theta):
    return jnp.sum(theta**2) + jax.lax.lgamma(1.0 + 0.0 * theta[0])
"""


def test_what_the_emitter_refuses_is_replayed_for_a_command_on_a_target(opened, monkeypatch, tmp_path):
    monkeypatch.setattr(race, "Race", SMALL)
    (tmp_path / "losses.py").write_text(LOSSES)
    np.savez(tmp_path / "here.npz", params=np.array([0.9, 0.8]))
    target = [f"{tmp_path}/losses.py:refused", "--params", f"{tmp_path}/here.npz"]
    assert main(["classify", *target, "--page", "--json", "--out", str(tmp_path / "out")]) == 0
    with opened(tmp_path / "out" / "page.html") as page:
        assert page.evaluate("gdlab.data.rates.length") == 2
        assert "was not classified" in page.evaluate("gdlab.data.ends[0][0][0]")


def test_three_points_span_the_plane_and_their_proofs_are_checked(opened, monkeypatch, tmp_path):
    monkeypatch.setattr(race, "Race", SMALL)
    (tmp_path / "losses.py").write_text(LOSSES)
    np.savez(tmp_path / "here.npz", params=np.array([0.9, 0.8, -1.1]))

    def wells(theta):
        return jnp.sum((theta**2 - 1) ** 2) + 0.1 * theta[2]

    near = [(1.0, 1.0, -1.0), (-1.0, 1.0, -1.0), (1.0, -1.0, -1.0), (0.0, 1.0, 1.0)]
    proofs = [hessian.prove(wells, jnp.array(x)) for x in near]
    known = [(tuple(proof.center.tolist()), proof.kind) for proof in proofs]
    settings = Classify(f"{tmp_path}/losses.py:wells", params=tmp_path / "here.npz")
    (tmp_path / "page.html").write_text(race.play(settings, "Wells", known, proofs), encoding="utf-8")
    with opened(tmp_path / "page.html") as page:
        page.wait_for_function("gdlab.points().every((point) => point.proof)")
        points = page.evaluate("gdlab.points()")
        assert "three points" in page.inner_text("#about")
        assert [point["off"] < 1e-9 for point in points] == [True, True, True, False]
        assert all(point["proof"]["held"] for point in points)
        assert page.locator("#points button:disabled").count() == 1  # no start is off the plane
        loss = float(wells(jnp.asarray(proofs[3].center)))  # its own, not that below it on the plane
        assert page.inner_text("#points tr:nth-child(4) td:nth-child(3)") == f"{loss:.4g}"


@pytest.mark.parametrize(("rows", "words"), [([[0, 0, 0], [1, 1, 1], [2, 2, 2]], "line"), ([[0, 0, 0]] * 3, "line")])
def test_three_points_on_a_line_are_refused(rows, words):
    with pytest.raises(InputError, match=words):
        through(rows)


def test_a_widget_is_told_and_tells_its_state(browser):
    from experiments.playground.widget import Playground, playground

    made = playground(lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2, "gd", box=((-2, 2), (-1, 1)))
    assert isinstance(made, Playground)
    page = browser.new_page()
    page.evaluate(
        """async ([esm, html]) => {
            const { default: widget } = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
            const kept = { _page: html, height: 900, state: { start: [0.0, 0.1] } }, heard = [];
            window.model = {
                get: (name) => kept[name],
                set: (name, value) => { kept[name] = value; },
                save_changes() {},
                on: (_, then) => heard.push(then),
                off() {},
                change(state) { kept.state = state; heard.forEach((one) => one()); },
            };
            widget.render({ model: window.model, el: document.body });
        }""",
        [str(Playground._esm), made._page],
    )
    page.wait_for_function("model.get('state').steps && model.get('state').start[1] === 0.1")  # as it was told
    page.evaluate("model.change({ start: [0.5, 0.25], basins: true })")
    page.wait_for_function("model.get('state').values && model.get('state').start[0] === 0.5")
    frame = page.frames[1]
    frame.wait_for_function("gdlab.drawn.basins && gdlab.drawn.basins.share === 1")  # the worker runs there, too
    assert frame.evaluate("gdlab.points().map((point) => point.kind).sort()") == ["minimum", "minimum", "saddle"]
    page.close()


@pytest.mark.parametrize("box", [((1, 0), (0, 1)), ((0, 1),), ((0, np.inf), (0, 1)), "x"])
def test_a_widget_refuses_a_window_that_is_none(box):
    from experiments.playground.widget import playground

    with pytest.raises(ValueError, match=r"box|convert"):
        playground(lambda x: x[0] * x[1], "gd", box=box)
