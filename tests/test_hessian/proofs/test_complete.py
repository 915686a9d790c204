"""`prove_all` lists all critical points in a box and no other, or says where it does not know; Arb replays the list."""

import json
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian import prove_all

pytestmark = pytest.mark.full

pytest.importorskip("flint")
pytest.importorskip("ival")

from gdlab.problems import surfaces  # noqa: E402
from hessian.proofs.replay import read, replayed  # noqa: E402


def styblinski_tang(w):
    return jnp.sum(w**4 - 16 * w**2 + 5 * w) / 2


def rastrigin(w):
    return 10 * w.size + jnp.sum(w**2 - 10 * jnp.cos(2 * jnp.pi * w))


def rosenbrock(w):
    return jnp.sum(100 * (w[1:] - w[:-1] ** 2) ** 2 + (1 - w[:-1]) ** 2)


def himmelblau(w):
    return (w[0] ** 2 + w[1] - 11) ** 2 + (w[0] + w[1] ** 2 - 7) ** 2


def camel(w):
    x, y = w
    return (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (-4 + 4 * y**2) * y**2


def goldstein_price(w):
    x, y = w
    first = 1 + (x + y + 1) ** 2 * (19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2)
    return first * (30 + (2 * x - 3 * y) ** 2 * (18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2))


def mueller_brown(w):
    x, y = w
    rows = ((-200, -1, 0, -10, 1, 0), (-100, -1, 0, -10, 0, 0.5), (-170, -6.5, 11, -6.5, -0.5, 1.5))
    terms = [(*row,) for row in rows] + [(15, 0.7, 0.6, 0.7, -1, 1)]
    return sum(h * jnp.exp(a * (x - p) ** 2 + b * (x - p) * (y - q) + c * (y - q) ** 2) for h, a, b, c, p, q in terms)


def beale(w):
    x, y = w
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


LISTS = {  # published counts, by index
    "Himmelblau": (himmelblau, [(-6, 6)] * 2, [4, 4, 1]),
    "six-hump camel": (camel, [(-3, 3), (-2, 2)], [6, 7, 2]),
    "Mueller-Brown": (mueller_brown, [(-1.5, 1.2), (-0.2, 2)], [3, 2, 0]),
    "Mueller-Brown, wide": (mueller_brown, [(-5, 5)] * 2, [3, 2, 0]),
    "Goldstein-Price": (goldstein_price, [(-2, 2)] * 2, [4, 4, 1]),
    "Styblinski-Tang 2": (styblinski_tang, [(-5, 5)] * 2, [4, 4, 1]),
    "Styblinski-Tang 3": (styblinski_tang, [(-5, 5)] * 3, [8, 12, 6, 1]),
    "Styblinski-Tang 4": (styblinski_tang, [(-5, 5)] * 4, [16, 32, 24, 8, 1]),
    "Rastrigin": (rastrigin, [(-5, 6)] * 2, [144, 264, 121]),
    "Rosenbrock 3": (rosenbrock, [(-2, 2.1)] * 3, [1, 0, 0, 0]),
    "Rosenbrock 4": (rosenbrock, [(-2, 2.1)] * 4, [2, 1, 0, 0, 0]),
    "Beale": (beale, [(-4.5, 4.5)] * 2, [1, 2, 0]),
}


@pytest.mark.parametrize("name", LISTS)
def test_the_published_lists_are_complete_with_every_index(name):
    loss, box, counts = LISTS[name]
    found = prove_all(loss, box)
    assert found.complete
    assert [Counter(point.index for point in found.points)[k] for k in range(len(box) + 1)] == counts
    assert found.statement.startswith(f"proved: the box holds {sum(counts)} critical point")


DEGENERATE = {
    "cusp": lambda w: w[0] ** 3 + w[1] ** 2,
    "quartic": lambda w: w[0] ** 4 + w[1] ** 2,
    "quartic saddle": lambda w: w[1] ** 2 - w[0] ** 4,
    "monkey saddle": lambda w: w[0] ** 3 - 3 * w[0] * w[1] ** 2,
    "a valley": lambda w: (1 - w[0] * w[1]) ** 2 + 0.0 * w[0],
    "a constant": lambda w: 0.0 * w[0] + 1.0,
    "a kink": lambda w: jnp.sum(jax.nn.relu(w)) + jnp.sum((w - 0.5) ** 2),
    "a power of 2.5": lambda w: jnp.sum(jnp.abs(w) ** 2.5),
    "outside of the domain": lambda w: w[0] - jnp.log(w[0]) + w[1] ** 2,
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_what_is_not_known_is_left_as_boxes_and_never_called_complete(name):
    found = prove_all(DEGENERATE[name], [(-1.0, 1.1), (-1.0, 1.2)], max_boxes=3000)
    assert not found.complete
    assert found.statement.startswith("not complete")
    assert len(found.undecided)
    assert found.reason
    with pytest.raises(ValueError, match="complete list"):
        found.save("nowhere.json")


@pytest.mark.parametrize(
    ("box", "points", "on_edge"),
    [
        ([(0, 1), (-1, 1)], 1, 0),
        ([(0, 1), (0, 1)], 1, 0),
        ([(1e-9, 1), (-1, 1)], 0, 0),
        ([(-1, -1e-300), (-1, 1)], 0, 0),
        ([(-1, 1), (0.1, 1)], 1, 1),
        ([(0.0, 1), (-1, 0.1)], 1, 1),
        ([(2, 3), (4, 5)], 0, 0),
    ],
)
def test_a_point_on_the_edge_is_listed_and_said_and_one_outside_is_not(box, points, on_edge):
    found = prove_all(lambda w: w[0] ** 2 + jnp.cosh(w[1] - 0.1), box)
    assert (found.complete, len(found.points), found.on_edge.sum()) == (True, points, on_edge)
    assert ("edge" in found.statement) == bool(on_edge)


def test_random_quartics_have_the_points_that_newton_finds_from_thousands_of_starts():
    def loss(w, c):
        x, y = w
        return c @ jnp.stack([x, y, x * x, x * y, y * y, x**3, x * x * y, x * y * y, y**3, x**4, y**4])

    gradients = jax.jit(jax.vmap(jax.grad(loss), (0, None)))
    newton = jax.jit(
        jax.vmap(lambda w, c: w - jnp.linalg.solve(jax.hessian(loss)(w, c), jax.grad(loss)(w, c)), (0, None))
    )
    draw = np.random.default_rng(6)
    for _ in range(12):
        c = draw.normal(size=11)
        c[-2:] = np.abs(c[-2:]) + 0.2
        found = prove_all(loss, [(-3, 3), (-3, 3)], jnp.asarray(c))
        ends = jnp.asarray(draw.uniform(-3, 3, (2000, 2)))
        for _ in range(50):
            ends = newton(ends, c)
        ends, slopes = np.asarray(ends), np.linalg.norm(np.asarray(gradients(ends, c)), axis=1)
        ends = ends[(slopes < 1e-8) & (np.abs(ends) < 3).all(axis=1)]
        centers = np.array([point.center for point in found.points]).reshape(-1, 2)
        far = np.linalg.norm(ends[:, None] - centers, axis=2)
        assert found.complete
        assert (far.min(axis=1) < 1e-6).all()
        assert (far.min(axis=0) < 1e-6).all()


def test_scales_and_conditions_change_nothing():
    for scale in (1e-12, 1.0, 1e12):
        found = prove_all(lambda w, s: s * ((w[0] ** 2 - 1) ** 2 + w[1] ** 2), [(-2, 2.1), (-1, 1.5)], scale)
        assert sorted(point.index for point in found.points) == [0, 0, 1]
    found = prove_all(lambda w: 1e8 * (w[0] - w[1] - 0.3) ** 2 + (w[0] + w[1]) ** 2, [(-1, 1)] * 2)
    assert [point.index for point in found.points] == [0]
    found = prove_all(lambda w: w[0] ** 3 / 3 - 1e-12 * w[0] + w[1] ** 2, [(-1, 1.1)] * 2)  # two points 2e-6 apart
    assert sorted(point.index for point in found.points) == [0, 1]


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    path = tmp_path_factory.mktemp("list") / "list.json"
    prove_all(himmelblau, [(-6, 6)] * 2).save(path)
    return path


def test_a_record_is_replayed_by_arb_from_the_file_alone(record):
    replay = replayed(read(record))
    assert replay.passed
    assert "Arb" in replay.by
    assert replay.said == prove_all(himmelblau, [(-6, 6)] * 2).statement


def drop(data):
    del data["points"][3], data["on_edge"][3]


def twice(data):
    data["points"].append(data["points"][0])
    data["on_edge"].append(False)


def constant_of(data):
    return next(operation for operation in data["program"] if operation[0] == "constant")[3]


FALSE = {
    "a point less": drop,
    "a point twice": twice,
    "another index": lambda data: data["points"][0].update(index=1 - min(data["points"][0]["index"], 1)),
    "a point elsewhere": lambda data: data["points"][0].update(center=[["1", 0], ["1", 0]]),
    "a larger box": lambda data: data.update(box=[[(-60.0).hex(), (60.0).hex()]] * 2) or drop(data),
    "a smaller box": lambda data: data.update(box=[[(0.0).hex(), (6.0).hex()]] * 2),
    "another constant": lambda data: next(one for one in data["program"] if one[0] == "constant")[3].__setitem__(
        0, (9.5).hex()
    ),
}


@pytest.mark.parametrize("name", FALSE)
def test_what_makes_the_statement_false_is_refused_by_arithmetic(record, tmp_path, name):
    data = json.loads(record.read_text())
    FALSE[name](data)
    path = tmp_path / "false.json"
    path.write_text(json.dumps(data))
    try:
        proof = read(path)
    except ValueError as error:  # the words are made right again
        said = str(error).partition("must say what its numbers say, ")[2]
        assert said
        path.write_text(json.dumps({**data, "statement": said.strip("'")}))
        proof = read(path)
    assert not replayed(proof).passed


@pytest.mark.parametrize("cover", ["", "a.", "z..", "a...", "a.." * 2, "\u00e9.."])
def test_a_cover_that_covers_nothing_is_refused(record, tmp_path, cover):
    path = tmp_path / "cover.json"
    path.write_text(json.dumps({**json.loads(record.read_text()), "cover": cover}))
    assert not replayed(read(path)).passed


@pytest.mark.parametrize("box", [None, 3, [1, 2], [(0, 1, 2)], [(1, 0)], [(0, np.inf)], [(0, np.nan)], [], "box"])
def test_what_is_no_box_gets_one_sentence(box):
    with pytest.raises(ValueError, match="box must"):
        prove_all(lambda w: jnp.sum(w**2), box)


def test_the_lectures_surfaces_have_the_points_that_their_catalogue_declares():
    for name in ("six_hump_camel", "himmelblau", "mueller_brown"):
        surface = surfaces[name]
        found = prove_all(surface.loss, surface.box)
        centers = np.array([point.center for point in found.points])
        inside = [
            p for p in surface.critical_points if all(a < x < b for x, (a, b) in zip(p.x, surface.box, strict=True))
        ]
        assert found.complete
        assert len(found.points) == len(inside)
        assert all(np.abs(centers - np.array(p.x)).max(axis=1).min() < 1e-6 for p in inside)


def test_a_search_that_is_cut_goes_on_and_ends_as_one_that_is_not(tmp_path, monkeypatch):
    from hessian.proofs import pauses
    from hessian.proofs.kernels import boxes

    monkeypatch.setattr(pauses, "EVERY", 0.0)
    monkeypatch.setattr(boxes, "ENTRIES", 1)  # the smallest batches
    rastrigin, box = (lambda w: jnp.sum(w**2 - 10 * jnp.cos(2 * jnp.pi * w))), [(-2.1, 2.2)] * 2
    whole, store = prove_all(rastrigin, box), tmp_path / "search"

    def killed(examined, known):
        if examined > 300:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prove_all(rastrigin, box, progress=killed, store=store)
    budgeted = prove_all(rastrigin, box, max_boxes=500, store=store)
    assert not budgeted.complete
    found = prove_all(rastrigin, box, store=store)
    assert found.complete
    assert (found.cover, found.boxes) == (whole.cover, whole.boxes)
    assert [point.ball for point in found.points] == [point.ball for point in whole.points]
    assert sorted(file.name for file in store.iterdir()) == ["lock", "search-00000.npz", "store.json"]

    with pytest.raises(ValueError, match=r"box is \[\[-2.1, 2.2\], .* there and \[\[-2.1, 2.3\], .* here"):
        prove_all(rastrigin, [(-2.1, 2.3)] * 2, store=store)
    with pytest.raises(ValueError, match="program is"):
        prove_all(lambda w: 2 * rastrigin(w), box, store=store)
    part = store / "search-00000.npz"
    part.write_bytes(part.read_bytes()[:100])
    with pytest.warns(UserWarning, match="search-00000.npz is damaged and not used"):
        assert prove_all(rastrigin, box, max_boxes=100, store=store).boxes < 300
