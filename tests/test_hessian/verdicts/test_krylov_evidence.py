"""The rules of evidence from products: each on made numbers, and the three Krylov spaces on a Hessian that moves."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian.roundoff import UNIFORM
from hessian.verdicts import krylov_evidence
from hessian.verdicts.drift import MAX_DRIFT
from hessian.verdicts.krylov_evidence import _changes, _ends, _nearness, _spaces

EPS = np.finfo(float).eps


def test_ends_are_as_wide_as_the_change_makes_them_and_count_the_signs_that_it_cannot_turn():
    # five Ritz values of seven rows; a sign that is certain moves by tau and its change, another by all of itself
    values = jnp.array([-4.0, -0.3125, -0.25, 0.4375, 8.0, 99.0, 99.0])
    found = SimpleNamespace(values=values, count=jnp.int32(5))
    spaces = SimpleNamespace(low=jnp.asarray(-5.0), high=jnp.asarray(10.0))
    open_low, open_high = (4.25, 0), (8.25, 0)
    for tau, change, kink, low, high in (
        (0.25, (1 / 64, 1 / 64), False, (0.3125, 1), (0.375, 2)),  # -0.3125 lies at the edge of 0.25 + 4 / 64
        (0.25, (1 / 64, 3 / 128), False, (0.3125, 1), (0.4375, 1)),
        (0.25, (1 / 128, 1 / 32), False, (0.28125, 2), (0.5, 1)),
        (0.25, (MAX_DRIFT, 0.0), False, (0.25 + 4 * MAX_DRIFT, 1), (0.25, 2)),
        (0.25, (MAX_DRIFT * 1.001, MAX_DRIFT), False, open_low, (0.25 + 8 * MAX_DRIFT, 1)),
        (0.25, (0.0, MAX_DRIFT * 1.001), False, (0.25, 2), open_high),
        (0.25, (0.0, 0.0), True, open_low, open_high),
        (4.0, (0.0, 0.0), False, (8.0, 0), (4.0, 1)),  # the lowest lies at the edge of the band
    ):
        seen = SimpleNamespace(change=jnp.array(change), ends=jnp.eye(2), kink=jnp.bool_(kink))
        lowest, highest, positive, negative = _ends(found, spaces, seen, jnp.asarray(tau), lambda x: x)
        np.testing.assert_allclose([lowest.value, lowest.low, lowest.high], [-4, -5 - low[0], -4 + low[0]], rtol=1e-15)
        np.testing.assert_allclose(
            [highest.value, highest.low, highest.high], [8, 8 - high[0], 10 + high[0]], rtol=1e-15
        )
        assert (int(negative), int(positive)) == (low[1], high[1])
        np.testing.assert_array_equal([lowest.vector, highest.vector], np.eye(2))


NEAR = 6e-6  # at a point of length 5
NEARNESS = {
    # what differs from a step of 3e-6 in positive curvature of at least 2; distance, tolerance over the norm, settled
    "a step of half the length": ({}, 3e-6, 2, True),
    "at rest": ({"excess": (0.0, 0.0)}, 3e-6, 1, True),
    "what is left, over the softest curvature": ({"left": 3e-6}, 4.5e-6, 2, True),
    "more of it than of the step": ({"left": 9e-6}, 7.5e-6, 4 / 3, True),
    "too much of it": ({"left": 15e-6}, 10.5e-6, 1, False),
    "a slope at its tolerance": ({"excess": (1.0, 0.0)}, 3e-6, 1, True),
    "a slope beyond it": ({"excess": (1.5, 0.0)}, 3e-6, 1 / 1.5, False),
    "an uncertain slope, where signs are known": ({"excess": (0.5, 4.0)}, 3e-6, 2, True),
    "the same where they are not": ({"excess": (0.5, 4.0), "low": -1.0, "left": 0.0}, 3e-6, 1 / 4, True),
    "no curvature at the lowest": ({"low": 0.0, "left": 2e-6}, 3e-6, 2, False),
    "and at its tolerance": ({"excess": (0.5, 1.0), "low": -1.0, "left": 0.0}, 3e-6, 2, True),
    "negative curvature": ({"low": -9.0, "high": -4.0, "left": 4e-6}, 4e-6, 2, True),
    "both signs, a ten-thousandth left": ({"low": -1.0, "left": 1e-6}, 3e-6, 2, True),
    "both signs, and more": ({"low": -1.0, "left": 1.001e-6}, 3e-6, 2, False),
    "both signs, the same from a whole space": ({"low": -1.0, "left": 1.001e-6, "exhausted": True}, 3e-6, 1 / 2, False),
    "a whole space that leaves nothing": ({"low": -1.0, "left": 1e-6, "exhausted": True}, 3e-6, 2, True),
    "more left, of rounding": ({"low": -1.0, "left": 2e-5, "error": 2e-5}, 3e-6, 2, True),
    "more left, and no decrease": ({"low": -1.0, "left": 3.3e-5, "norm_of_h": 1e12, "value": 9e11}, 3e-6, 2, True),
    "and some": ({"low": -1.0, "left": 3.4e-5, "norm_of_h": 1e12, "value": 9e11}, 3e-6, 2, False),
    "the slope half as large there": ({"there": 5e-3}, 3e-6, 2, True),
    "and not as small": ({"there": 5.01e-3}, 3e-6, 2, False),
    "and rounding there": ({"there": 6e-3, "error": 6e-3}, 3e-6, 2, True),
    "a gradient of rounding": ({"there": 1.0, "error": 1e-2, "excess": (3.0, 3.0)}, 3e-6, 1, True),
    "a gradient beyond it": ({"there": 5e-3, "error": 0.99e-2}, 3e-6, 2, True),
}


@pytest.mark.parametrize("case", NEARNESS)
def test_a_point_is_near_by_newtons_step_and_what_that_leaves(case):
    given, distance, tolerance, settled = NEARNESS[case]
    theta = jnp.array([3.0, 0.0, -4.0])
    g = jnp.array([0.0, 6e-3, 8e-3])
    spaces = SimpleNamespace(
        step=jnp.array([0.0, 3e-6, 0.0]),
        excess=jnp.array(given.get("excess", (0.5, 0.5))),
        exhausted=jnp.bool_(given.get("exhausted", False)),
        spectral_norm=jnp.asarray(given.get("norm_of_h", 9.0)),
    )
    seen = SimpleNamespace(left=jnp.asarray(given.get("left", 0.0)), there=jnp.asarray(given.get("there", 0.0)))
    lowest = SimpleNamespace(low=jnp.asarray(given.get("low", 2.0)))
    highest = SimpleNamespace(high=jnp.asarray(given.get("high", 9.0)))
    value, error = jnp.asarray(given.get("value", 7.0)), jnp.asarray(given.get("error", 1e-9))
    found = _nearness(value, theta, g, spaces, seen, lowest, highest, error)
    np.testing.assert_allclose(found.distance, distance, rtol=1e-12)
    np.testing.assert_allclose(found.gradient_tol, 1e-2 * tolerance, rtol=1e-9)
    assert bool(found.settled) == settled


THETA, SLOPE, CURVATURE = np.array([3.0, 0.0, -4.0]), np.array([4e-3, 1e-3, 6e-3]), np.array([-8.0, 1.0, 2.0])
STEP, ERROR, LARGEST = np.array([1e-3, 7e-3, 9e-3]), 1e-12, 64.0
ASIDE = 16 * EPS * 5 * np.sqrt(3) * UNIFORM[:3] / np.linalg.norm(UNIFORM[:3])


@jax.jit
@jax.vmap
def changed(place, bend, jump, tau):
    """The change where curvature is bent, and the gradient jumps, at one place alone."""

    def both(x, vector):
        here = jnp.all(jnp.abs(x - THETA - place) <= 3e-15)
        slope = SLOPE + CURVATURE * (x - THETA) + jnp.where(here, jump, 0)
        return slope, CURVATURE * vector + jnp.where(here, bend, 0) * vector

    # a basis of four rows, the last of which is not in use
    found = SimpleNamespace(
        values=jnp.array([*CURVATURE, 99.0])[jnp.array([0, 1, 2, 3])], vectors=jnp.eye(4), count=jnp.int32(3)
    )
    basis = jnp.eye(4, 3)
    spaces = SimpleNamespace(
        step=jnp.asarray(STEP), spectral_norm=jnp.asarray(LARGEST), krylov=SimpleNamespace(basis=basis)
    )
    return _changes(both, jnp.asarray(THETA), jnp.asarray(SLOPE), spaces, found, lambda size: tau * size, ERROR)


def visited(curved):
    """Where curvature is looked at: both ends know Newton's step along them, and what rounding hides of it."""
    known = np.where(curved, -SLOPE / CURVATURE, 0)
    hidden = np.where(curved, 3 * ERROR / np.sqrt(3) / np.abs(CURVATURE), 0)
    p, corner = np.array([known[0], STEP[1], known[2]]), 2 * (np.abs(known) + hidden) * [1, 0, 1]
    return [ASIDE, -ASIDE, p / 2, p, 2 * p, corner, -corner]


def test_curvature_is_looked_at_in_seven_places_on_the_way_and_beside_it():
    places, bends, jumps, bands = [], [], [], []
    for tau in (0.03, 1 / 32):  # of 64: the curvature 2 along one end is seen, or is not
        curved = np.abs(CURVATURE) > tau * LARGEST
        for place in [*visited(curved), np.full(3, 0.5)]:
            places.append(place)
            bends.append(0.25)
            bands.append(tau)
            jumps.append(np.zeros(3))
    found = changed(*(jnp.asarray(x) for x in (places, bends, jumps, bands)))
    want = np.tile([1.0] * 7 + [0.0], 2)[:, None] * (0.25 - 4 * EPS * LARGEST) / np.array([8, 2])
    np.testing.assert_allclose(found.change, want, rtol=1e-12)
    assert not found.kink.any()
    np.testing.assert_allclose(found.left, np.linalg.norm(CURVATURE * STEP + SLOPE), rtol=1e-12)
    np.testing.assert_allclose(found.there, np.linalg.norm(CURVATURE * STEP + SLOPE), rtol=1e-9)
    np.testing.assert_array_equal(found.ends, np.tile(np.eye(3)[[0, 2]], (16, 1, 1)))


def test_a_change_of_rounding_is_none_and_one_that_is_not_finite_is_infinite():
    p = visited(np.ones(3, bool))[3]
    bends = np.array([4, 8, np.nan, np.inf]) * EPS * LARGEST
    found = changed(jnp.tile(p, (4, 1)), jnp.asarray(bends), jnp.zeros((4, 3)), jnp.zeros(4))
    want = 4 * EPS * LARGEST / np.array([8, 2])
    np.testing.assert_allclose(found.change, [[0, 0], want, [np.inf] * 2, [np.inf] * 2], rtol=1e-12)


def test_a_kink_is_a_jump_of_the_gradient_beside_the_point_beyond_curvature_and_rounding():
    moved = np.linalg.norm(THETA + ASIDE - THETA)
    edge = LARGEST * moved + ERROR
    places = [ASIDE, ASIDE, -ASIDE, -ASIDE, *visited(np.ones(3, bool))[2:]]
    sizes = np.array([0.99, 1.01, 0.99, 1.01] + [9.0] * 5) * edge
    jumps = sizes[:, None] * np.eye(3)[0]
    found = changed(jnp.asarray(places), jnp.zeros(9), jnp.asarray(jumps), jnp.zeros(9))
    np.testing.assert_array_equal(found.kink, [False, True, False, True] + [False] * 5)


ROWS = 12
UP = np.arange(1.0, 13)
SPACES = {  # Hessian at theta and at theta + p, limit, tau, slope; products, ends, |H| from below
    "a minimum, wider there": (UP, [0.5, *UP[1:11], 13], 36, 0.6, 1, 36, (0.5, 13), 13),
    "a minimum, narrower there": (UP, [1.1, *UP[1:11], 11.5], 36, 0.6, 1, 36, (1, 12), 12),
    "a maximum": (-UP, [-13, *-UP[1:11], -0.5], 36, 0.6, 1, 36, (-13, -0.5), 13),
    "no sign": ([0, *UP[1:]], [-9, *UP[1:]], 36, 0.6, 1, 24, (0, 12), 12),
    "no sign beyond twice the band": ([-1, *UP[1:]], [-9, *UP[1:]], 36, 0.6, 1, 24, (-1, 12), 12),
    "a critical point": (UP, 9 * UP, 36, 0.6, 0, 12, (1, 12), 12),
    "more products than are needed": (UP, [1.1, *UP[1:11], 11.5], 99, 0.6, 1, 36, (1, 12), 12),
}


@jax.jit
@jax.vmap
def grown(here, there, limit, tau, g, goal):
    theta = jnp.ones(ROWS)

    def product(x, vector):
        return jnp.where(jnp.all(x == theta), here, there) * vector

    def excess(slopes, values, seen):
        return jnp.stack([jnp.sum(jnp.where(seen, slopes**2, 0)), jnp.sum(jnp.where(seen, values, 0))])

    key = jax.random.key(0)
    return _spaces(product, theta, g, key, ROWS, limit, lambda size: tau + 0 * size, excess, 1e-6, goal, None)


def test_a_third_of_the_products_goes_to_newtons_step_and_the_rest_to_two_bounds_on_each_end():
    slope = np.linspace(1, 2, ROWS)
    here, there, limits, bands, slopes, counts, bounds, norms = map(np.array, zip(*SPACES.values(), strict=True))
    gradients = slopes[:, None] * slope
    found = grown(here, there, limits, bands, gradients, np.zeros(len(here)))
    np.testing.assert_array_equal(found.num_matvecs, counts)
    np.testing.assert_allclose(np.transpose([found.low, found.high]), bounds, atol=1e-12)
    np.testing.assert_allclose(found.spectral_norm, norms, rtol=1e-12)
    seen = np.abs(here) > bands[:, None]
    newton = np.where(seen, -gradients / np.where(seen, here, 1), 0)
    np.testing.assert_allclose(found.step, newton, atol=1e-11)
    asked = slopes[:, None] * np.stack([(seen * slope**2).sum(axis=1), (seen * here).sum(axis=1)], axis=1)
    np.testing.assert_allclose(found.excess, asked, rtol=1e-9, atol=1e-12)
    assert found.exhausted.all()


def test_few_products_are_shared_between_the_step_and_the_ends():
    flat = np.array([0, *UP[1:]])  # so that no sign is ever known
    limits = np.array([15, 17, 24, 30, 11, 7, 3])
    slopes = np.array([1, 1, 1, 1, 0, 0, 1])
    of_step, of_ends = [5, 5, 8, 10, 0, 0, 1], [5, 6, 8, 10, 11, 7, 1]
    gradients = slopes[:, None] * np.linspace(1.0, 2, ROWS)
    found = grown(np.tile(flat, (7, 1)), np.tile(flat, (7, 1)), limits, np.full(7, 0.6), gradients, np.zeros(7))
    np.testing.assert_array_equal(found.krylov.num_matvecs, of_ends)
    np.testing.assert_array_equal(found.num_matvecs, np.add(of_step, of_ends))
    np.testing.assert_array_equal(found.exhausted, slopes == 0)


def quadratic(x, a):
    return jnp.sum(a * x**2) / 2


@jax.jit
def evidence(x, a, error):
    """Of 36 products for the spaces, where the zero band is 0.6."""
    key = jax.random.key(0)
    return krylov_evidence.matrix_free(quadratic, x, (a,), (error, 0.0), None, 0.6, key, 0.99, 36 + 18, ROWS)


def test_a_quadratic_in_a_whole_space_has_its_signs_its_distance_and_its_tolerance():
    near, far = 1e-7 * np.linspace(1, 2, ROWS), 1e-2 * np.eye(ROWS)[0]
    curvatures = np.array([UP, -UP, [-1, *UP[1:]], UP, UP])
    points, errors = np.array([near, near, near, far, far]), np.array([1e-9, 1e-9, 1e-9, 9e-3, 1.1e-2])
    each = [evidence(*map(jnp.asarray, given)) for given in zip(points, curvatures, errors, strict=True)]
    found = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    np.testing.assert_array_equal(found.positive, [12, 0, 11, 12, 12])
    np.testing.assert_array_equal(found.negative, [0, 12, 1, 0, 0])
    np.testing.assert_array_equal(found.num_matvecs[:3], [18 + 36, 18 + 36, 18 + 24])
    # the last gradient is rounding: of no step all is left, over a curvature of 1 - 0.6 at least
    np.testing.assert_allclose(found.distance, [*np.linalg.norm(points, axis=1)[:4], 0.025], rtol=1e-9)
    decrements = np.sqrt(np.abs(np.sum(curvatures * points**2, axis=1))) * [1, 1, 1, 1, 0]
    np.testing.assert_allclose(found.decrement, decrements, rtol=1e-9)
    np.testing.assert_allclose(found.curvature_tol, 0.6)
    # near: the slopes are a tenth to a fifth of what is allowed along each eigenvector; far: rounding, of one in twelve
    norms = np.linalg.norm(curvatures * points, axis=1)
    want = [*norms[:3] * 5, 9e-3 / np.sqrt(ROWS), 1.1e-2]
    np.testing.assert_allclose(found.gradient_tol, want, rtol=1e-5)
    assert found.complete.all()
    assert found.finite.all()
    assert found.flat.all()
    np.testing.assert_array_equal(found.settled, [True, True, True, False, True])


def test_where_all_curvature_has_one_sign_every_eigenvalue_has_it_seen_or_not():
    nearly, x = 1.5 + UP / 1000, np.zeros(ROWS)
    for curvature, positive, negative, complete in (
        (nearly, 12, 0, False),
        (-nearly, 0, 12, False),
        ([*UP[1:], 0.5], 11, 0, True),  # one lies within the band of 0.6
        ([*-UP[1:], -0.5], 0, 11, True),
    ):
        found = evidence(*(jnp.asarray(each, float) for each in (x, curvature, 1e-9)))
        assert (int(found.positive), int(found.negative), bool(found.complete)) == (positive, negative, complete)


def test_a_thousand_verdicts_and_both_starts_of_each_share_the_doubt(monkeypatch):
    class Asked(Exception):
        pass

    def spaces(product, theta, g, key, rows, limit, zero, excess, doubt, *rest):
        raise Asked(limit, doubt, zero(jnp.asarray(2.0)))

    monkeypatch.setattr(krylov_evidence, "_spaces", spaces)
    with pytest.raises(Asked) as asked:
        krylov_evidence.matrix_free.__wrapped__(
            quadratic, jnp.ones(2), (jnp.ones(2),), (0.0, 33 * EPS), None, None, jax.random.key(0), 0.75, 50, 2
        )
    assert asked.value.args == (50 - 18, pytest.approx(0.25 / 2000), 330 * EPS)


def test_the_rounding_of_a_gradient_is_ten_times_a_sample_of_it(monkeypatch):
    monkeypatch.setattr(krylov_evidence, "spread", lambda *given: (np.array([[3.0, 4.0]]), np.array([[6.0, 8.0]])))
    assert krylov_evidence.rounding_of(quadratic, jnp.ones(2), ()) == (50, 10)
