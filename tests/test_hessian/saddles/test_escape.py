"""The way out: down from every saddle, never up, and a reason where there is none."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian
from gdlab.problems import styblinski_tang
from hessian.saddles import escape
from hessian.saddles.escape import line_search_along

EPS = np.finfo(float).eps


def valley(w, constant, slope, bend, turn, quartic, side=0.0, hole=0.0):
    """Along the first axis constant + slope x - bend x^2 / 2 + turn x^3 / 6 + quartic x^4 / 24; a parabola across.

    Within the hole about the origin, but for the origin itself, it is lower by 1.
    """
    x = w[0]
    value = constant + slope * x - bend * x**2 / 2 + turn * x**3 / 6 + quartic * x**4 / 24 + (w[1] - side) ** 2 / 2
    return value - jnp.where((x != 0) & (jnp.abs(x) <= hole), 1, 0)


def by_the_book(constant, slope, bend, turn, quartic, scale=1.0):
    """The step from x = 0: the length where curvature and its change balance, halved, then doubled."""

    def loss(x):
        return constant + slope * x - bend * x**2 / 2 + turn * x**3 / 6 + quartic * x**4 / 24

    h = EPS**0.25 * scale
    change = (abs(turn) * h + quartic * h**2 / 2) / h
    length = bend / change if change * scale > bend else scale
    length = min(max(length, np.sqrt(128 * EPS * abs(constant) / bend)), 100 * scale)
    sign = -np.sign(slope) if abs(slope) > 1e-3 * bend * length else (1 if loss(length) <= loss(-length) else -1)
    while not loss(sign * length) <= constant - bend * length**2 / 8:
        length /= 2
    while 2 * length <= 100 * scale and loss(sign * 2 * length) < loss(sign * length):
        length *= 2
    return sign * length


STEPS = {
    "no change of curvature": (1.0, 0.0, 2.0, 0.0, 0.0),
    "an even change": (1.0, 0.0, 2.0, 0.0, 24.0),
    "a wide valley": (1.0, 0.0, 2.0, 0.0, 1e-3),
    "a narrow one": (1.0, 0.0, 2.0, 0.0, 1e6),
    "a change to the left": (1.0, 0.0, 1.0, 5.0, 3.0),
    "a change to the right": (1.0, 0.0, 1.0, -5.0, 3.0),
    "a steep change": (0.0, 0.0, 1.0, 1e4, 1e8),
    "a slope against it": (1.0, 2e-3, 1.0, -0.5, 1.0),
    "a slope too small to tell": (1.0, 5e-4, 1.0, -0.5, 1.0),
    "a slope": (1.0, -0.5, 1.0, 0.0, 24.0),
    "a high plateau": (1e12, 0.0, 1e-3, 0.0, 1e-9),
    "a plateau so high that no length would show it": (1e12, 0.0, 1e-7, 0.0, 0.0),
    "to the longest, exactly": (625 / 128 / EPS, 0.0, 1.0, 0.0, 0.0),  # 25, 50, 100
    "a little change": (1.0, 0.0, 1.0, 0.9, 0.7),
    "an eighth, just": (0.0, 0.0, 1.0, 0.0, 8.9),
    "an eighth, exactly": (0.0, 0.0, 1.0, 0.0, 9.0),
    "an eighth, just not": (0.0, 0.0, 1.0, 0.0, 9.1),
}


@jax.jit
def way_in_valley(shape, curvature_tol, size, side=0.0, hole=0.0, curvature=None):
    theta, u, curvature = jnp.stack([0.0, side]), jnp.array([1.0, 0.0]), -shape[2] if curvature is None else curvature
    return line_search_along(valley, theta, (*shape, side, hole), curvature_tol, u, curvature, size)


@pytest.mark.parametrize("side", [0.0, 5.0])
@pytest.mark.parametrize("case", STEPS, ids=STEPS)
def test_the_length_is_halved_to_an_eighth_of_the_promise_and_doubled_while_the_loss_falls(case, side):
    shape = STEPS[case]
    way = way_in_valley(tuple(map(jnp.asarray, shape)), 1e-9, 1.0, side)
    want = by_the_book(*shape, scale=1 + side)
    np.testing.assert_allclose(way.params, [want, side], rtol=1e-6)
    np.testing.assert_allclose(way.step, abs(want), rtol=1e-6)
    np.testing.assert_allclose(way.direction, [np.sign(want), 0])
    np.testing.assert_allclose(way.loss_after, valley(np.array([want, side]), *shape, side), rtol=1e-6)


def test_sixty_lengths_are_tried_whether_they_halve_or_double():
    flat = tuple(map(jnp.asarray, (0.0, 0.0, 0.0, 0.0, 0.0)))  # but for a hole; the first length is eps^(1/4) = 2^-13
    for hole, step in ((2.0**-72, 2.0**-72), (0.99 * 2.0**-72, 0.0), (1.0, 2.0**-13)):  # and on an even floor it stays
        way = way_in_valley(flat, 0.0, 1.0, 0.0, hole, -2.0)
        assert way.step == step
        assert way.loss_after == -(step > 0)
    down = tuple(map(jnp.asarray, (0.0, 0.0, 1.0, 0.0, 0.0)))
    small = 1e-25  # is said of the curvature, which is -1 at a distance of h
    way = way_in_valley(down, 0.0, 1.0, 0.0, 0.0, -small)
    np.testing.assert_allclose(way.step, small * EPS**0.25 * 2.0**59, rtol=1e-9)


@pytest.mark.parametrize(("limit", "krylov"), [(3, 0), (2, 1)])
def test_all_eigenvalues_are_taken_up_to_a_number_of_parameters(monkeypatch, limit, krylov):
    calls, lowest_direction = [], escape.lowest_direction
    monkeypatch.setattr(escape, "DENSE_SPECTRUM", limit)
    monkeypatch.setattr(escape, "lowest_direction", lambda *args: calls.append(args) or lowest_direction(*args))
    jax.eval_shape(lambda w: hessian.escape(lambda w: w @ w, w), jnp.zeros(3))
    assert len(calls) == krylov


def test_only_curvature_beyond_the_band_is_a_way_out():
    shape = tuple(map(jnp.asarray, STEPS["an even change"]))
    for tolerance, reason in ((1.9, "stepped along"), (2.0, "no negative curvature"), (2.1, "no negative curvature")):
        assert way_in_valley(shape, tolerance, 9.0).reason.startswith(reason)
    for size, reason in ((2 / EPS / 51, "stepped along"), (2 / EPS / 49, "no negative curvature")):
        assert way_in_valley(shape, None, size).reason.startswith(reason)


def test_fewer_than_five_products_are_refused():
    with pytest.raises(ValueError, match="num_matvecs must be a whole number, at least 5; got 4"):
        hessian.escape(jnp.sum, jnp.zeros(2), num_matvecs=4)
    jax.eval_shape(lambda w: hessian.escape(lambda w: w @ w, w, num_matvecs=5), jnp.zeros(2))


LOSSES = {
    "lecture": lambda w, a, b: (1 - w[0] * w[1]) ** 2,
    "himmelblau": lambda w, a, b: (w[0] ** 2 + w[1] - 11) ** 2 + (w[0] + w[1] ** 2 - 7) ** 2,
    "quartic": lambda w, a, b: w[0] ** 2 - a * w[1] ** 2 + b * w[1] ** 4,
    "far away": lambda w, a, b: (w[0] - 100) ** 2 - (w[1] - 100) ** 2 + (w[1] - 100) ** 4 + 1,
    "wild": lambda w, a, b: jnp.sin(3 * w[0]) * jnp.cos(2 * w[1]) + 0.1 * jnp.sum(w**4),
    "bowl": lambda w, a, b: jnp.sum(w**2),
    "logarithm": lambda w, a, b: jnp.sum(jnp.log(w)),
    # 1e12 hides a valley 2e-6 deep
    "hidden": lambda w, a, b: 1e12 + 1e-6 * jnp.cos(1e-6 * w[1]) + 0 * w[0],
}


def any_of(w, which, a, b):
    return jax.lax.switch(which, LOSSES.values(), w, a, b)


@jax.jit
def compiled(w, which, a, b):
    return hessian.escape(any_of, w, which, a, b)


def way_from(name, w, a=1.0, b=1.0):
    """One way out, compiled once for all losses; a and b are read by the quartic only."""
    w = jnp.asarray(w)
    return compiled(w, list(LOSSES).index(name), jnp.asarray(a, w.dtype), jnp.asarray(b, w.dtype))


SADDLES = {
    "lecture": ((0, 0), (1, -1)),
    "himmelblau": ((3.385154183607021, 0.07385187983774928), (0.5, -0.1)),
    "quartic": ((0, 0), (1, 0)),
    "far away": ((100, 100), (1, 0)),
}


@pytest.mark.full
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", SADDLES)
def test_leaves_from_on_the_saddle_and_beside_it(name, dtype):
    saddle, beside = (jnp.array(x, dtype) for x in SADDLES[name])
    for offset in (0, 1e-8, 1e-3):
        start = saddle + offset * beside
        check_left(way_from(name, start), start, saddle)


def check_left(way, start, saddle):
    assert way.reason == "stepped along negative curvature"
    assert way.loss_after < way.loss_before
    assert way.params.dtype == start.dtype
    np.testing.assert_allclose(jnp.linalg.norm(way.direction), 1, rtol=1e-6)
    np.testing.assert_allclose(way.params, start + way.step * way.direction, rtol=1e-6, atol=1e-6)
    assert jnp.linalg.norm(way.params - saddle) > 0.05


@pytest.mark.full
def test_leaves_in_six_dimensions():
    saddle = jnp.full(6, 0.15673125)
    way = hessian.escape(styblinski_tang, saddle)
    check_left(way, saddle, saddle)


def test_leaves_from_the_stable_manifold_where_gradient_descent_walks_in():
    way = way_from("lecture", [0.5, -0.5])
    assert way.loss_after < 1 < way.loss_before
    assert abs(way.direction[0] - way.direction[1]) < 1e-12


def test_the_sign_follows_the_gradient_where_it_says_something():
    for side in (1.0, -1.0):
        way = way_from("lecture", [side * 0.1, side * 0.1])
        assert side * way.direction[0] > 0


def test_falls_at_least_half_as_far_as_the_direction_allows():
    for curvature in (1e-6, 1.0, 1e6):
        for quartic in (1e-3, 1.0, 1e3):
            best = min(
                50.0, (curvature / quartic / 2) ** 0.5
            )  # doubling stops at 100, and may stop short of it by half
            lowest = quartic * best**4 - curvature * best**2
            assert way_from("quartic", [0.0, 0.0], curvature, quartic).loss_after <= lowest / 2


def test_no_way_out_is_said_with_its_reason():
    reasons = {
        "no negative curvature beyond the zero band": ("bowl", [1.0, 1.0]),
        "the loss, gradient or Hessian is not finite": ("logarithm", [0.0, 0.0]),
        "negative curvature, but no step along it lowers the loss visibly": ("hidden", [0.0, 0.0]),
    }
    for reason, (name, start) in reasons.items():
        way = way_from(name, start)
        assert way.reason == reason
        assert way.step == 0
        np.testing.assert_array_equal(way.params, start)
        np.testing.assert_array_equal(way.loss_after, way.loss_before)


def test_an_unbounded_surface_ends_at_the_longest_step():
    for start, longest in (([0.0, 0.0], 100), ([0.0, 9.0], 1000)):  # 100 (1 + |theta|), less than halved by doubling
        way = way_from("quartic", start, 1.0, 0.0)
        assert way.reason == "stepped along negative curvature"
        assert longest / 2 < way.step <= longest
        assert jnp.isfinite(way.loss_after)


@pytest.mark.full
def test_never_to_a_higher_loss_wherever_it_starts():
    wild = functools.partial(LOSSES["wild"], a=1.0, b=1.0)
    starts = 2 * jax.random.normal(jax.random.key(1), (500, 2))
    ways = jax.jit(jax.vmap(lambda w: hessian.escape(wild, w)))(starts)
    assert (ways.loss_after <= ways.loss_before).all()
    assert set(ways.reason) <= {"stepped along negative curvature", "no negative curvature beyond the zero band"}
    curved = np.linalg.eigvalsh(jax.vmap(jax.hessian(wild))(starts))[:, 0] < 0
    np.testing.assert_array_equal(np.asarray(ways.reason) == "stepped along negative curvature", curved)
    np.testing.assert_allclose(ways.loss_after, jax.vmap(wild)(ways.params), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ways.params[7], way_from("wild", starts[7]).params, rtol=1e-9)
