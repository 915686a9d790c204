"""Box bounds: kinds, ways out and minima beside an enumeration of all faces in NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import hessian
from hessian import bounds as module
from hessian.bounds import Box, Face, OnFace, box, face_at

pytestmark = pytest.mark.full

N = 3


def loss(x, h, b):
    return x @ h @ x / 2 + b @ x


def faces(rng, convex):
    """The critical points of a random quadratic on each face of a random box, with the kind that each is."""
    a = rng.normal(size=(N, N))
    h = a @ a.T + 0.1 * np.eye(N) if convex else (a + a.T) / 2
    b, low, high = rng.normal(size=N), -rng.uniform(0.2, 1.5, N), rng.uniform(0.2, 1.5, N)
    for face in map(np.array, itertools.product((-1, 0, 1), repeat=N)):
        free, x = face == 0, np.where(face < 0, low, high)
        if free.any():
            x[free] = np.linalg.solve(h[np.ix_(free, free)], -(b[free] + h[np.ix_(free, ~free)] @ x[~free]))
        multipliers, values = (-face * (h @ x + b))[~free], np.linalg.eigvalsh(h[np.ix_(free, free)])
        inside = ((x > low + 1e-3) & (x < high - 1e-3))[free].all()
        if inside and (np.abs(multipliers) > 1e-2).all() and (np.abs(values) > 1e-2).all():
            down = int((values < 0).sum())
            critical = "minimum" if down == 0 else "maximum" if down == N else "saddle"
            yield h, b, low, high, x, critical if (multipliers > 0).all() else "not critical"


def degenerate(rng):
    """A minimum on a bound whose multiplier is zero."""
    a, low = rng.normal(size=(N, N)), -np.ones(N)
    h, x = a @ a.T + 0.5 * np.eye(N), np.array([-1.0, 0.1, 0.2])
    return h, -h @ x, low, -low, x, "undetermined"


@pytest.fixture(scope="module")
def cases():
    rng = np.random.default_rng(3)
    rows = [row for i in range(12) for row in faces(rng, i % 2)] + [degenerate(rng) for _ in range(8)]
    *arrays, kinds = zip(*rows, strict=True)
    return tuple(jnp.asarray(np.stack(part)) for part in arrays), np.array(kinds)


@pytest.fixture(scope="module")
def judge():
    return jax.jit(jax.vmap(lambda h, b, low, high, x: hessian.classify(loss, x, h, b, bounds=(low, high))))


@pytest.mark.parametrize("inside", [0.0, 1e-8], ids=["on the bounds", "beside them"])
def test_kinds_within_bounds_are_those_of_an_enumeration_of_faces(cases, judge, inside):
    (h, b, low, high, x), kinds = cases
    found = judge(h, b, low, high, jnp.clip(x, low + inside, high - inside))
    np.testing.assert_array_equal(found.kind, kinds)
    assert {"minimum", "saddle", "not critical", "undetermined"} <= set(kinds)
    np.testing.assert_array_equal(found.face.active > 0, jnp.any(found.face.side != 0, axis=1))


def test_a_search_within_bounds_ends_where_the_conditions_of_first_and_second_order_hold(cases):
    h, b, low, high, x = (part[::6] for part in cases[0])
    start = jnp.linspace(-2, 2, x.size).reshape(x.shape)
    search = jax.jit(jax.vmap(lambda h, b, low, high, x: hessian.find_minimum(loss, x, h, b, bounds=(low, high))))
    end = search(h, b, low, high, start)
    assert set(end.point.kind) <= {"minimum", "undetermined"}
    for matrix, shift, *ends, point, side in zip(h, b, low, high, end.params, end.point.face.side, strict=True):
        slope, free = matrix @ point + shift, np.asarray(side) == 0
        np.testing.assert_allclose(point, np.clip(point - slope, *ends), atol=1e-7)
        assert (np.linalg.eigvalsh(np.asarray(matrix)[np.ix_(free, free)]) > -1e-9).all()


def test_a_way_out_of_a_saddle_on_a_face_stays_in_the_box():
    def bent(w):
        return (1 - w[0] * w[1]) ** 2 + w[2]

    low, high = jnp.array([-0.5, -0.5, 0.0]), jnp.array([0.5, 0.25, 9.0])
    way = hessian.escape(bent, jnp.zeros(3), bounds=(low, high))
    assert way.loss_after < way.loss_before
    assert float(way.loss_after) == float(bent(way.params))
    assert bool(jnp.all((way.params >= low) & (way.params <= high)))
    assert float(way.params[2]) == 0


def test_the_way_down_leads_into_the_box_from_a_bound_that_holds_nothing():
    point = hessian.classify(lambda w: w[0] ** 2 - 2 * w[1], jnp.zeros(2), bounds=(jnp.array([-1.0, 0.0]), None))
    assert point.kind == "not critical"
    assert point.face.descent.tolist() == [0.0, 1.0]


WRONG = {
    "no pair": (3, "must be a pair"),
    "upside down": ((1.0, 0.0), "no lower bound above the upper one"),
    "other shapes": ((jnp.zeros(3), None), "pytrees like params"),
    "params outside": ((2.0, 3.0), "params must lie within bounds; got 2 of 2 numbers outside"),
}


@pytest.mark.parametrize("name", WRONG)
def test_bounds_that_are_none_are_named(name):
    bounds, said = WRONG[name]
    with pytest.raises(ValueError, match=said):
        hessian.classify(lambda w: w @ w, jnp.ones(2), bounds=bounds)


def test_what_would_leave_the_box_is_refused():
    with pytest.raises(ValueError, match=r"^optimizer must be None where bounds hold params"):
        hessian.find_minimum(lambda w: w @ w, jnp.ones(2), bounds=(0.0, 1.0), optimizer=optax.sgd(0.1))
    with pytest.raises(ValueError, match=r"^symmetries must be None where bounds hold params"):
        hessian.classify(lambda w: w @ w, jnp.ones(2), bounds=(0.0, 1.0), symmetries=hessian.symmetry.rescale(0, 1))


def test_proofs_speak_of_points_inside_of_bounds():
    pytest.importorskip("flint")

    def bowl(w):
        return (w[0] - 0.5) ** 2 + w[1] ** 2

    point = jnp.array([0.5, 0.0])
    assert hessian.prove(bowl, point, bounds=(-1.0, 1.0)).kind == "minimum"
    for low in (0.0, -1e-9, 0.25):
        assert "critical points inside of bounds" in hessian.prove(bowl, point, bounds=(low, 1.0)).reason


def test_a_bound_is_active_where_it_is_near_and_the_loss_does_not_certainly_fall_away_from_it(monkeypatch):
    monkeypatch.setattr(module, "spread", lambda loss, params, args, draws: (np.full((draws, n), -0.1), None))
    near, away = 1e-6, 9.0
    rows = [  # lower, upper, slope at 0, curvature; side.  Rounding of the slope is 1
        (0, away, 5, 0, 1),
        (0, away, -1, 0, 1),
        (0, away, -1.01, 0, 0),
        (-near, away, 5, 0, 1),
        (-1.001 * near, away, 5, 0, 0),
        (-away, 0, -5, 0, -1),
        (-away, 0, 1, 0, -1),
        (-away, 0, 1.01, 0, 0),
        (-away, near, -5, 0, -1),
        (-away, 1.001 * near, -5, 0, 0),
        (0, 0, 5, 0, 1),
        (0, 0, -5, 0, -1),
        (0, 0, 0.5, 0, 1),
        (0, 0, -0.5, 0, -1),
        (0, 0, 0, 0, -1),
        (-near, away, 2, 2.99e6, 1),  # on the bound the loss falls away from it, within rounding
        (-near, away, 2, 3.01e6, 0),  # and beyond: the point is inside
        (-away, near, -2, 2.99e6, -1),
        (-away, near, -2, 3.01e6, 0),
        (-away, away, 0, 0, 0),
    ]
    n = len(rows)
    lower, upper, slope, curvature, side = (jnp.asarray(column, float) for column in np.transpose(rows))

    def bowl(w):
        return slope @ w + jnp.sum(curvature * w**2) / 2

    face = face_at(bowl, jnp.zeros(n), (), Box(lower, upper))
    np.testing.assert_array_equal(face.side, side)
    np.testing.assert_array_equal(face.center, np.where(side > 0, lower, np.where(side < 0, upper, 0)))
    np.testing.assert_array_equal(face.noise, np.ones(n))


def test_a_bound_is_open_where_its_multiplier_may_vanish_on_the_way_or_a_free_number_meets_it():
    for side, (here, there), noise, (low, high), step, is_open in (
        (1, (2.0, 2.0), 1.0, (0, 9), 0, False),
        (1, (1.0, 2.0), 0.0, (0, 9), 0, True),  # no more than what it changes by
        (1, (3.0, 2.0), 1.0, (0, 9), 0, True),
        (1, (3.0, 2.0), 0.99, (0, 9), 0, False),
        (1, (-2.0, -2.0), 1.0, (0, 9), 0, True),
        (-1, (-2.0, -2.0), 1.0, (-9, 0), 0, False),
        (-1, (2.0, 2.0), 1.0, (-9, 0), 0, True),
        (1, (0.0, 0.0), 1.0, (0, 0), 0, False),  # a number that cannot move needs no multiplier
        (0, (0.0, 0.0), 1.0, (-1, 1), -1, False),
        (0, (0.0, 0.0), 1.0, (-1, 1), 1, False),
        (0, (0.0, 0.0), 1.0, (-1, 1), -1.01, True),
        (0, (0.0, 0.0), 1.0, (-1, 1), 1.01, True),
        (1, (2.0, 2.0), 1.0, (1, 9), 0, True),  # the center lies below
    ):
        numbers = (jnp.array([x], float) for x in (0, side, noise))
        face = Face(*numbers, Box(jnp.array([low], float), jnp.array([high], float)))
        slopes = jnp.array([here]), jnp.array([there])
        assert bool(face.vanishing(*slopes, jnp.array([step], float))) == is_open, (side, here, there, noise, step)


def test_a_face_says_its_least_multiplier_and_what_is_free_of_it():
    side, multipliers = (
        {"a": jnp.array([1.0, 0.0]), "b": jnp.array(-1.0)},
        {"a": jnp.array([3.0, 0]), "b": jnp.array(2.0)},
    )
    face = OnFace(side, multipliers, side, jnp.int32(2), jnp.bool_(True))
    assert face.words == "2 active with multipliers of 2 or more"
    assert face._replace(active=jnp.int32(0)).words == "none active"
    flat = Face(jnp.array([5.0, 6, 7]), jnp.array([1.0, 0, -1]), jnp.zeros(3), Box(jnp.zeros(3), jnp.ones(3)))
    assert flat.dimension == 2
    np.testing.assert_array_equal(flat.across(jnp.array([1.0, 2, 3])), [0, 2, 0])
    np.testing.assert_array_equal(flat.onto(jnp.array([1.0, 2, 3])), [5, 2, 7])
    np.testing.assert_array_equal(flat.projector, np.diag([1, 0, 1]))
    np.testing.assert_array_equal(flat.descent(jnp.array([9.0, 4, 9])), [0, -1, 0])


def test_a_point_on_a_bound_lies_in_the_box_and_those_outside_are_counted():
    at = jnp.array([0.0, 1.0, 0.5])
    assert box((0.0, 1.0), at).holds(at)
    with pytest.raises(ValueError, match="got 2 of 3 numbers outside"):
        box((0.1, 0.9), at)
    with pytest.raises(ValueError, match="got 1 of 3 numbers outside"):
        box((0.1, None), at)
    with pytest.raises(ValueError, match="got 1 of 3 numbers outside"):
        box((0.0, 0.9), at)
    with pytest.raises(ValueError, match="got 1 of 3 numbers outside"):
        box((0.1, 1.0), at)
    assert box((0.1, 0.9), at, inside=False).clip(at).tolist() == [0.1, 0.9, 0.5]
