"""The page that computes, in a real browser: its runs are JAX's, every control moves them, and nothing gets in."""

import json
import re
from urllib.parse import quote

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
from experiments.__main__ import main
from gdlab.problems import surfaces

pytestmark = pytest.mark.full

LOSS = """
def loss(theta):
    x, y = theta["x"], theta["y"]
    return (x**2 - 1) ** 2 + (y - x**2) ** 2
"""
OPTIMIZERS = "gd,adam,momentum,optax.lamb,optax.sgd"


@pytest.fixture(scope="module")
def raced(tmp_path_factory):
    """The page of a race of one's own loss, with a name that would be an element of the page."""
    folder = tmp_path_factory.mktemp("live")
    (folder / "<img src=x onerror=alert(1)>.py").write_text(LOSS)
    np.savez(folder / "here.npz", x=np.array(0.1), y=np.array(0.3))
    flags = ["--optimizers", OPTIMIZERS, "--lr", "0.01:0.05:3", "--starts", "2", "--steps", "300", "--page", "--json"]
    target = [f"{folder}/<img src=x onerror=alert(1)>.py:loss", "--params", f"{folder}/here.npz"]
    assert main(["race", *target, *flags, "--out", str(folder / "race")]) == 0
    return folder / "race" / "page.html"


@pytest.fixture
def page(opened, raced):
    """The page, opened from its file."""
    with opened(raced) as page:
        yield page


def settle(page):
    """Until the frame that a change asked for is drawn."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def put(page, **what):
    page.evaluate("what => gdlab.change(what, true)", what)
    settle(page)


def typed(page, text):
    page.fill("#typed", text)
    settle(page)
    return page.inner_text("#said")


def loss(theta):
    x, y = theta
    return (x**2 - 1) ** 2 + (y - x**2) ** 2


@pytest.mark.parametrize("start", [[0.4, -0.7], [-1.3, 0.2]])
def test_a_run_from_any_start_with_any_numbers_is_the_run_of_jax(page, start):
    put(page, start=start, steps=200)
    page.evaluate("() => { gdlab.state.values[1][1] = 0.9; gdlab.state.values[1][3] = 0.02; gdlab.change({}, true) }")
    settle(page)
    cards = page.evaluate("gdlab.data.optimizers")
    assert [one["name"] for one in cards[1]["hypers"]] == [name for name, *_ in gdlab.pieces.ranges(gdlab.adam(1.0))]
    rate = cards[0]["hypers"][0]["value"]
    lamb = optax.lamb(cards[3]["hypers"][-1]["value"])  # whose step is as long as each array of the parameters
    for i, optimizer in {0: gdlab.gd(rate), 1: gdlab.adam(0.02, 0.9, 0.9), 3: lamb}.items():
        begin = {"x": jnp.array(start[0]), "y": jnp.array(start[1])}
        ran = gdlab.minimize(lambda p: loss((p["x"], p["y"])), optimizer, begin, 200, record=("params",))
        path = np.stack([*ran.history["params"].values()], axis=1)
        seen = np.array(page.evaluate(f"Array.from(gdlab.runs()[{i}].x)")).reshape(-1, 2)
        np.testing.assert_allclose(seen[: len(path)], path, rtol=1e-9, atol=1e-9)


def test_a_step_is_made_of_its_pieces(page):
    put(page, steps=50)
    for i in range(3):
        eta, sigma, m, update = np.split(
            np.array(page.evaluate(f"Array.from(gdlab.runs()[{i}].piece)")).reshape(-1, 7), [1, 3, 5], axis=1
        )
        np.testing.assert_allclose(update, -eta / sigma * m, rtol=1e-12)


def test_the_start_is_dragged_and_rests_on_a_critical_point(page):
    box = page.locator("#map canvas").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 200)
    page.mouse.down()
    settle(page)
    one = page.evaluate("gdlab.state.start")
    page.mouse.move(box["x"] + 260, box["y"] + 240)
    settle(page)
    other = page.evaluate("gdlab.state.start")
    assert other[0] < one[0]
    assert other[1] < one[1]
    np.testing.assert_allclose(page.evaluate("Array.from(gdlab.runs()[0].x.slice(0, 2))"), other, atol=1e-12)
    saddle = next(p for p in page.evaluate("gdlab.drawn.points") if p["kind"] == "saddle")["at"]
    page.mouse.move(box["x"] + saddle[0] + 4, box["y"] + saddle[1] - 3, steps=3)
    page.mouse.up()
    settle(page)
    np.testing.assert_allclose(page.evaluate("gdlab.state.start"), [0, 0], atol=1e-9)
    assert "a saddle: the loss falls both ways" in page.inner_text("#point")
    assert np.ptp(page.evaluate("Array.from(gdlab.runs()[0].loss)")) < 1e-9
    page.click("#push")
    settle(page)
    for i in (0, 1):
        assert page.evaluate(f"gdlab.runs()[{i}].loss.at(-1)") < 0.05  # both leave it, for a minimum, whose loss is 0


def test_the_newcomers_loss_has_three_critical_points(page):
    assert typed(page, "x^4 - 2x^2 + y^2") == "3 critical points found in the window."
    points = sorted(page.evaluate("gdlab.points()"), key=lambda point: point["x"][0])
    assert [point["kind"] for point in points] == ["minimum", "saddle", "minimum"]
    np.testing.assert_allclose([point["x"] for point in points], [[-1, 0], [0, 0], [1, 0]], atol=1e-9)
    np.testing.assert_allclose(np.abs(points[1]["down"]), [[1, 0]], atol=1e-9)
    page.wait_for_function("gdlab.points().every((point) => point.proof && point.proof.held)")
    typed(page, "sin(x)*sin(y) + exp(-x^2)/9")
    page.wait_for_function("gdlab.points().every((point) => point.proof && point.proof.held)")
    typed(page, "")
    assert len(page.evaluate("gdlab.points()")) == len(page.evaluate("gdlab.data.points"))


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("-x^2 - y^2", ["maximum"]),
        ("x^4 + y^4", ["degenerate"]),
        ("x + y", []),
        ("sin(x)*sin(y)", ["maximum", "maximum", "minimum", "minimum", "saddle"]),
        ("x^3 - 3x*y^2", ["degenerate"]),
        ("exp(-x^2-y^2)", ["maximum"]),
        ("1000000*(x^2 - y^2)", ["saddle"]),
    ],
)
def test_kinds_of_a_typed_loss_are_never_claimed_where_the_hessian_does_not_tell(page, text, kinds):
    typed(page, text)
    assert sorted(point["kind"] for point in page.evaluate("gdlab.points()")) == kinds


EXPRESSIONS = {
    "x^4 - 2x^2 + y^2": lambda x, y: x**4 - 2 * x**2 + y**2,
    "-x^2": lambda x, y: -(x**2) + 0 * y,
    "2^-x * y": lambda x, y: 2.0**-x * y,
    "(x - 1)(y + 2)/(1 + x^2)": lambda x, y: (x - 1) * (y + 2) / (1 + x**2),
    "sin(3x)cos(y) + tanh(x*y) - atan(y)": lambda x, y: jnp.sin(3 * x) * jnp.cos(y) + jnp.tanh(x * y) - jnp.arctan(y),
    "exp(-x^2-y^2) + 0.1 sqrt(x^2+y^2+1)": lambda x, y: jnp.exp(-(x**2) - y**2) + 0.1 * jnp.sqrt(x**2 + y**2 + 1),
    "log(1+x**2)^2 / 2 ^ 2": lambda x, y: jnp.log(1 + x**2) ** 2 / 4 + 0 * y,
    "(x^2+1)^y": lambda x, y: (x**2 + 1) ** y,
    "x^2^3/pi - e*y": lambda x, y: x**8 / jnp.pi - jnp.e * y,
    "(1-x)^2 + 100 (y - x^2)^2": lambda x, y: (1 - x) ** 2 + 100 * (y - x**2) ** 2,
    "cosh(x) sinh(y) - tan(x/4) + abs(y+9)": lambda x, y: jnp.cosh(x) * jnp.sinh(y) - jnp.tan(x / 4) + jnp.abs(y + 9),
}  # fmt: skip


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_value_gradient_and_hessian_of_a_typed_loss_are_those_of_jax(page, text):
    def of(p):
        return EXPRESSIONS[text](*p)

    rows = np.random.default_rng(0).uniform(-2, 2, (100, 2))
    typed(page, text)
    seen = page.evaluate(
        "rows => rows.map(x => { const p = gdlab.look(x); return [p.value, ...p.g, ...p.hessian] })", rows.tolist()
    )
    expected = jax.vmap(
        lambda p: jnp.concatenate([of(p)[None], jax.grad(of)(p), jax.hessian(of)(p)[jnp.triu_indices(2)]])
    )(rows)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(seen, expected, rtol=1e-12, atol=1e-13 * scale)


@pytest.mark.parametrize(
    "text",
    [
        "alert(1)", "constructor", "__proto__", "x.constructor", "window", "fetch('//x')", "x;alert(1)", "x)", "((x)",
        "<img src=x onerror=alert(1)>", "toString(x)", "hasOwnProperty(x)", "sin", "sin x", "${1}", "`x`", "x=1", "xy",
        "(" * 300, "-" * 300 + "x", "x" * 500, "..", "π", "🙂", "\u202ex", "1e999x", "e" * 300, "x +", "x^", "x^(",
    ],
)  # fmt: skip
def test_hostile_and_broken_expressions_are_one_sentence_and_do_nothing(page, text):
    before = page.evaluate("JSON.stringify(gdlab.state)")
    said = typed(page, text)
    assert re.fullmatch(r"[^\n]+\.", said)
    said.encode()  # no half of a letter
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("JSON.stringify(gdlab.state)") == before


def test_a_constant_of_a_typed_loss_is_a_slider(page):
    typed(page, "a x^2 + b*y^2")
    assert page.evaluate("gdlab.state.constants") == [1, 1]
    assert [point["kind"] for point in page.evaluate("gdlab.points()")] == ["minimum"]
    page.locator("#constants input").first.evaluate("one => { one.value = 0; one.dispatchEvent(new Event('input')) }")
    settle(page)
    assert page.evaluate("gdlab.state.constants") != [1, 1]
    assert [point["kind"] for point in page.evaluate("gdlab.points()")] == ["saddle"]


def test_the_address_holds_what_was_chosen_and_nothing_else_gets_in_by_it(page, raced):
    put(page, start=[0.5, 0.25], steps=77, row=20)
    page.locator("#hypers input").first.press("ArrowRight")
    settle(page)
    page.wait_for_timeout(400)
    chosen = page.evaluate("JSON.stringify(gdlab.state)")
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    assert page.evaluate("JSON.stringify(gdlab.state)") == chosen
    hostile = {
        "start": ["<b>", None],
        "steps": 1e99,
        "focus": -1,
        "on": "x",
        "values": [[{}]],
        "text": "<img onerror=alert(1)>",
    }
    for told in (json.dumps(hostile), "null", "[]", "{", '{"__proto__": {"x": 1}, "steps": "9"}', "%"):
        page.goto("about:blank")
        page.goto(f"file://{raced}#{quote(told) if told != '%' else told}")
        settle(page)
        assert np.isfinite(page.evaluate("gdlab.state.start")).all()
        assert 1 <= page.evaluate("gdlab.state.steps") <= 5000


def test_keys_move_the_start_and_the_step(page):
    page.locator("#map canvas").focus()
    before = page.evaluate("gdlab.state")
    for key in ("ArrowRight", "Shift+ArrowUp"):
        page.keyboard.press(key)
    settle(page)
    after = page.evaluate("gdlab.state")
    assert after["start"][0] > before["start"][0]
    assert after["start"][1] > before["start"][1]
    page.keyboard.press("c")
    settle(page)
    assert page.evaluate("gdlab.state.start") in [point["x"] for point in page.evaluate("gdlab.points()")]
    page.locator("#loss").click()
    page.locator("#push").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("2")
    settle(page)
    assert page.evaluate("gdlab.state.on")[1] is False
    for control in page.locator("input, select, button, canvas").all():
        assert control.evaluate("one => one.labels?.length || one.ariaLabel || one.textContent")


def clock(page):
    """A clock of the seconds that the page's main thread has worked, whatever else the machine does."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def seconds():
        told = session.send("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in told if one["name"] == "TaskDuration")

    return seconds


def test_it_is_small_quick_offline_and_fits_a_phone(browser, raced):
    text = raced.read_text(encoding="utf-8")
    assert len(text.encode()) < 150_000
    text = text.replace('xmlns="http://www.w3.org/2000/svg"', "")  # a name, of which nothing is loaded
    assert not re.search(r"(?:src|href)\s*=\s*[\"']|https?:|@import|fetch\(|eval\(|new Function|innerHTML", text)
    assert "<img" not in text
    for scheme in ("light", "dark"):
        page = browser.new_context(
            viewport={"width": 390, "height": 844}, color_scheme=scheme, reduced_motion="reduce"
        ).new_page()
        page.goto(f"file://{raced}")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        page.click("#play")
        settle(page)
        assert page.evaluate("gdlab.state.row == gdlab.state.steps")  # nothing moves by itself
        put(page, steps=2000)
        now, frames = clock(page), []
        for k in range(9):
            before = now()
            put(page, start=[0.1 * k, 0.5])
            frames.append(now() - before)
        assert 0 < np.median(frames) < 0.05
        page.reload()  # from which it counts anew
        settle(page)
        assert 0 < now() < 0.3  # until the first frame is drawn
        page.context.close()


def test_of_more_parameters_than_two_the_plane_is_drawn_and_all_are_moved(browser, tmp_path):
    flags = ["--optimizers", "gd,adam", "--lr", "0.01:0.05:2", "--starts", "2", "--steps", "60", "--page", "--json"]
    assert main(["race", "rosenbrock_3d", *flags, "--out", str(tmp_path / "race")]) == 0
    page = browser.new_page()
    page.goto(f"file://{tmp_path}/race/page.html")
    assert page.evaluate("gdlab.data.size") == 3
    assert page.locator("#typed").count() == 0
    theta = np.array(
        page.evaluate(
            "(() => { const y = new Float64Array(3); gdlab.f.embed([0.3, -0.2], y); return Array.from(y) })()"
        )
    )
    put(page, start=[0.3, -0.2], steps=60)
    rate = page.evaluate("gdlab.state.values[1]")[-1]
    ran = gdlab.minimize(surfaces["rosenbrock_3d"].loss, gdlab.adam(rate), jnp.asarray(theta), 60, record=("loss",))
    np.testing.assert_allclose(
        page.evaluate("Array.from(gdlab.runs()[1].loss.slice(0, 60))"), ran.history["loss"], rtol=1e-8
    )
    page.close()
