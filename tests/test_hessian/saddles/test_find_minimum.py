"""No strict saddle holds us: from on it, from beside it, from its stable manifold, in both precisions."""

import functools
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
import hessian
from gdlab.problems import rosenbrock, surface
from hessian.saddles import find_minimum
from hessian.saddles.find_minimum import MinimumOutcome
from hessian.saddles.rounds import run_rounds
from hessian.spectra.spectrum import Inertia
from hessian.steps.second_order import Flat
from hessian.steps.sr1_trust_region import Walk
from hessian.verdicts.classify import Kind

pytestmark = pytest.mark.full

EPS = np.finfo(float).eps
SIGNS = {
    "value": 1.0, "floor": -9.0, "left": 5, "steps": 5, "theta": 0.0, "moved": True, "gradient": 1e-3, "tilt": 0.0,
    "jump": 0.0, "ring": 0.0, "gradient_tol": None, "code": Kind.MINIMUM, "negative": 0, "lowest": 1.0,
}  # fmt: skip


@jax.jit
def reason(signs):
    """The reason for an end with this walk and this verdict on it."""
    of, key = SimpleNamespace(**signs), jax.random.key(0)
    theta = jnp.stack([of.theta, 0.0])
    walk = SimpleNamespace(value=of.value, left=of.left, steps=of.steps, moved=of.moved, key=key, theta=theta)
    point = SimpleNamespace(
        inertia=of, negative=of.negative, code=of.code, gradient_norm=of.gradient, gradient_tol=2e-3,
        lowest=SimpleNamespace(value=of.lowest),
    )  # fmt: skip

    def loss(w):
        on_ring = jnp.abs(jnp.linalg.norm(w - theta) - of.ring) < 1e-12
        return of.value + of.tilt * (w[0] - of.theta) + jnp.where((of.ring == 0) | on_ring, of.jump, 0)

    return find_minimum._code(loss, walk, point, of.floor, of.gradient_tol)


def test_every_reason_has_its_signs_in_their_order():
    plateau = {"gradient": 0.0, "code": Kind.DEGENERATE}
    budget = {"left": 0, "gradient": 3e-3, "code": Kind.NOT_CRITICAL}
    for expected, signs in (
        (MinimumOutcome.MINIMUM, {}),
        (MinimumOutcome.NOT_FINITE, {"value": jnp.nan}),
        (MinimumOutcome.NOT_FINITE, {"gradient": jnp.inf}),
        (MinimumOutcome.NOT_FINITE, {"lowest": jnp.nan}),
        (MinimumOutcome.UNBOUNDED, {"value": -9.1}),
        (MinimumOutcome.MINIMUM, {"value": -9.0}),
        (MinimumOutcome.BUDGET, budget),
        (MinimumOutcome.BUDGET, {**budget, "code": Kind.MINIMUM}),
        (MinimumOutcome.NO_STEP, {**budget, "left": 1, "moved": False}),
        (MinimumOutcome.NO_STEP, {**budget, "steps": 0, "moved": False}),
        (MinimumOutcome.BUDGET, {**budget, "steps": 0}),
        (MinimumOutcome.MINIMUM, {"left": 0, "gradient": 2e-3}),
        (MinimumOutcome.BUDGET, {"left": 0, "gradient": 2e-3, "theta": 1.0}),  # a small gradient beside a large theta
        (MinimumOutcome.BUDGET, {"left": 0, "gradient": 1.1e-3, "theta": 1.0}),
        (MinimumOutcome.MINIMUM, {"left": 0, "gradient": 0.9e-3, "theta": 1.0}),
        (MinimumOutcome.MINIMUM, {"left": 0, "gradient": 2e-3, "theta": 1.0, "gradient_tol": 2e-3}),
        (MinimumOutcome.BUDGET, {"left": 0, "gradient": 2.1e-3, "theta": 1.0, "gradient_tol": 2e-3}),
        (MinimumOutcome.PINNED, {**budget, "negative": 1, "code": Kind.SADDLE}),
        (MinimumOutcome.PLATEAU, plateau),
        (MinimumOutcome.DEGENERATE, {**plateau, "gradient": 1e-9}),
        (MinimumOutcome.DEGENERATE, {**plateau, "tilt": 1e-9}),
        (MinimumOutcome.PLATEAU, {**plateau, "tilt": 1e-15}),
        (MinimumOutcome.PLATEAU, {**plateau, "jump": 8 * EPS}),  # eight roundings of a loss of 1
        (MinimumOutcome.DEGENERATE, {**plateau, "jump": 9 * EPS}),
        (MinimumOutcome.PLATEAU, {**plateau, "value": -4.0, "jump": 32 * EPS}),
        (MinimumOutcome.DEGENERATE, {**plateau, "value": -4.0, "jump": 36 * EPS}),
        # places at a thousandth, a hundredth and a tenth of 1 + |theta|
        (MinimumOutcome.DEGENERATE, {**plateau, "theta": 1.0, "jump": 1.0, "ring": 0.002}),
        (MinimumOutcome.DEGENERATE, {**plateau, "theta": 1.0, "jump": 1.0, "ring": 0.02}),
        (MinimumOutcome.DEGENERATE, {**plateau, "theta": 1.0, "jump": 1.0, "ring": 0.2}),
        (MinimumOutcome.PLATEAU, {**plateau, "theta": 1.0, "jump": 1.0, "ring": 0.1}),
        (MinimumOutcome.PINNED, {**plateau, "negative": 1}),
        (MinimumOutcome.PINNED, {"code": Kind.SADDLE, "negative": 1}),
        (MinimumOutcome.UNDETERMINED, {**plateau, "code": Kind.UNDETERMINED}),
        (MinimumOutcome.UNDETERMINED, {"code": Kind.UNDETERMINED, "negative": 1}),
        (MinimumOutcome.NO_STEP, {"code": Kind.NOT_CRITICAL, "moved": False}),
        (MinimumOutcome.BUDGET, {"code": Kind.NOT_CRITICAL}),
    ):
        found = reason({name: None if sign is None else jnp.asarray(sign) for name, sign in {**SIGNS, **signs}.items()})
        assert found == expected, signs


def test_what_is_stored_in_few_digits_is_the_start_where_rounding_raised_it_above_that():
    flat, start = Flat(lambda w: w[0], lambda x: x), jnp.array([7.0])
    walk = SimpleNamespace(theta=jnp.array([0.625]), value=jnp.asarray(0.625))
    for rounds, before, end, value in (
        (False, 0.75, 0.625, 0.625),
        (True, 1.25, 1.0, 1.0),
        (True, 1.0, 1.0, 1.0),
        (True, 0.75, 7.0, 0.75),
    ):
        stored = SimpleNamespace(rounds=rounds, landed=jnp.round)
        assert find_minimum._at_rest(flat, stored, start, jnp.asarray(before), walk) == (end, value)


PASS = {"convex": True, "moved": True, "left": 9, "code": Kind.MINIMUM, "negative": 0, "passes": 0, "share": 1.0}


def passed(monkeypatch, lower=False, size=2, **signs):
    """The state after one pass whose steps change nothing, with this verdict on it; a probe counts as an escape."""
    of, none = SimpleNamespace(**{**PASS, **signs}), jnp.int32(0)
    monkeypatch.setattr(find_minimum, "sr1_trust_region", lambda goal, walk: walk)
    monkeypatch.setattr(
        find_minimum, "_probed", lambda flat, walk: (walk._replace(escapes=walk.escapes + 1), jnp.bool_(lower))
    )
    walk = find_minimum._begun(jnp.zeros(size), jnp.zeros(()), jnp.asarray(7.0), of.left, jax.random.key(0))
    walk = walk._replace(convex=jnp.bool_(of.convex), moved=jnp.bool_(of.moved), num_matvecs=jnp.int32(30))
    point = SimpleNamespace(code=jnp.asarray(of.code), inertia=SimpleNamespace(negative=of.negative), num_matvecs=12)
    search = SimpleNamespace(
        region=jnp.asarray(0.5), box=None, verdict=lambda theta, key: point, flat=None, floor=None, gradient_tol=None,
        curvature_tol=None,
    )  # fmt: skip
    return find_minimum._passed(search, (walk, None, none + of.passes, jnp.asarray(of.share)))


def test_a_search_goes_on_where_the_verdict_asks_for_it_and_no_longer_than_twenty_passes(monkeypatch):
    more = {"code": Kind.SADDLE, "negative": 1}
    for signs, going, probes, nearer in (
        ({}, False, 0, False),
        (more, True, 0, False),
        ({**more, "convex": False}, False, 0, False),
        ({**more, "moved": False}, False, 0, False),
        ({**more, "left": 1}, True, 0, False),
        ({**more, "left": 0}, False, 0, False),
        ({**more, "passes": 18}, True, 0, False),
        ({**more, "passes": 19}, False, 0, False),
        ({"code": Kind.NOT_CRITICAL}, True, 0, True),
        ({"code": Kind.NOT_CRITICAL, "convex": False}, False, 0, True),
        ({"code": Kind.UNDETERMINED}, True, 0, True),
        ({"code": Kind.UNDETERMINED, "convex": False}, True, 0, True),
        ({"code": Kind.UNDETERMINED, "moved": False}, False, 0, False),
        ({"code": Kind.DEGENERATE}, False, 1, False),
        ({"code": Kind.DEGENERATE, "lower": True}, True, 1, False),
        ({"code": Kind.DEGENERATE, "lower": True, "convex": False, "moved": False}, True, 1, False),
        ({"code": Kind.DEGENERATE, "negative": 1}, True, 0, False),
    ):
        walk, _, passes, share = passed(monkeypatch, **signs)
        assert (bool(walk.walking), int(walk.escapes)) == (going, probes), signs
        assert (int(passes), float(share)) == (signs.get("passes", 0) + 1, 1 / 8 if nearer else 1.0), signs
        assert (float(walk.region), int(walk.num_matvecs)) == (0.5, 30 + 12)


def test_where_no_sign_is_certain_an_eighth_of_the_tolerance_is_asked_for_thrice(monkeypatch):
    share, shares = 1.0, []
    for _ in range(5):
        walk, _, _, share = passed(monkeypatch, code=Kind.UNDETERMINED, share=share)
        shares.append(float(share))
        if not walk.walking:
            break
    assert shares == [1 / 8, 1 / 64, 1 / 512, 1 / 512]


def test_a_probe_is_counted_and_followed_where_it_finds_a_lower_point_and_steps_are_left(monkeypatch):
    there = jnp.array([3.0, 4.0])
    for value, left, lower in ((0.5, 1, True), (0.5, 0, False), (1.0, 1, False)):
        monkeypatch.setattr(find_minimum, "probe_flat_directions", lambda *given: (there, jnp.asarray(value)))  # noqa: B023
        walk = find_minimum._begun(jnp.zeros(2), jnp.ones(()), jnp.asarray(1.0), left, jax.random.key(0))
        walk, found = find_minimum._probed(None, walk)
        assert (bool(found), float(walk.value), int(walk.escapes)) == (lower, value if lower else 1.0, lower)
        np.testing.assert_array_equal(walk.theta, there if lower else 0 * there)
        # one gradient here and one at each of 32 places, where the loss is taken twice; a Hessian of two products
        assert (walk.gradients, walk.num_matvecs, walk.evaluations) == (33, 2, 64)


class Asking(NamedTuple):
    """A verdict that always asks for more."""

    code: jax.Array
    inertia: Inertia
    num_matvecs: jax.Array


def test_a_verdict_that_never_rests_is_asked_twenty_times(monkeypatch):
    monkeypatch.setattr(find_minimum, "sr1_trust_region", lambda goal, walk: walk._replace(convex=jnp.bool_(True)))
    saddle = Asking(jnp.int32(Kind.SADDLE), Inertia(*map(jnp.int32, (1, 0, 1))), jnp.int32(12))
    search = SimpleNamespace(
        region=jnp.asarray(0.5), box=None, verdict=lambda theta, key: saddle, flat=None, floor=None, gradient_tol=None,
        curvature_tol=None,
    )  # fmt: skip
    monkeypatch.setattr(find_minimum, "_probed", lambda flat, walk: (walk, jnp.bool_(False)))
    walk = find_minimum._begun(jnp.zeros(2), jnp.zeros(()), search.region, 9, jax.random.key(0))
    walk, point = find_minimum._settled(search, walk)
    assert walk.num_matvecs == 20 * 12
    assert point.code == Kind.SADDLE


def test_flat_directions_are_probed_up_to_512_parameters(monkeypatch):
    for size, probes in ((512, 1), (513, 0)):
        assert passed(monkeypatch, code=Kind.DEGENERATE, size=size)[0].escapes == probes


def ridge(w, bends, quartic):
    return bends @ w**2 / 2 + quartic @ w**4


@jax.jit
def two_rounds(theta, bends, quartic, rate, floor):
    """At most two rounds of three steps of gradient descent, each with a look at the curvature."""
    none, value = jnp.int32(0), ridge(theta, bends, quartic)
    walk = Walk(
        jnp.bool_(True), theta, value, 0 * theta, jnp.asarray(1.0), jnp.bool_(True), jnp.bool_(False), none, none,
        none, none, none, none, jax.random.key(0),
    )  # fmt: skip
    flat = Flat(ridge, lambda x: x, (bends, quartic))
    return run_rounds(flat, optax.sgd(rate), walk, floor, None, rounds=2, steps=3, reset=True)


BOWL, SADDLE, NONE = (1.0, 1.0), (-1.0, 1.0), (0.0, 0.0)
ROUNDS = {  # start, curvature, quartic, rate, floor; then how often each start is halved, rounds and escapes
    "both": ((4.0, -2.0), BOWL, NONE, 0.5, -9.0, 2.0**-6, 2, 0),
    "diverges": ((4.0, -2.0), BOWL, NONE, 3.0, -9.0, 1.0, 1, 0),
    "the first already arrives": ((4.0, -2.0), BOWL, NONE, 1.0, -9.0, 0.0, 2, 0),
    "below the floor": ((4.0, -2.0), BOWL, NONE, 0.5, 1.0, 2.0**-3, 1, 0),
    "at the floor": ((4.0, -2.0), BOWL, NONE, 0.5, 10 * 2.0**-6, 2.0**-6, 2, 0),
}


@pytest.mark.parametrize("case", ROUNDS, ids=ROUNDS)
def test_rounds_end_when_nothing_is_gained_or_too_much(case):
    start, bends, quartic, rate, floor, share, rounds, escapes = ROUNDS[case]
    found = two_rounds(*(jnp.asarray(x) for x in (start, bends, quartic, rate, floor)))
    np.testing.assert_allclose(found.theta, share * np.array(start), atol=1e-300)
    np.testing.assert_allclose(found.value, ridge(found.theta, np.array(bends), np.array(quartic)))
    assert (found.steps, found.gradients, found.num_matvecs) == (3 * rounds, (3 + 1) * rounds, 3 * rounds)
    assert (found.left, found.escapes) == (2 - rounds, escapes)


def test_a_round_that_brings_nothing_is_followed_by_the_way_out_where_that_brings_more():
    on_saddle = two_rounds(*(jnp.asarray(x) for x in (NONE, SADDLE, (0.25, 0.0), 0.1, -9.0)))
    assert on_saddle.escapes == 1
    np.testing.assert_allclose(jnp.abs(on_saddle.theta), [1, 0], atol=0.1)
    steep = two_rounds(*(jnp.asarray(x) for x in ((0.0, 9.0), SADDLE, (0.25, 0.0), 0.5, -9.0)))
    assert steep.escapes == 0  # the steps bring 40, and then 0.6 where the way out brings a quarter
    np.testing.assert_allclose(steep.theta, [0, 9 / 64])


def ever_further():
    """An optimizer that moves the first number by 1, then 2, then 3, against the sign of its gradient."""

    def update(grads, count, params=None):
        return (count + 1) * jnp.array([-1.0, 0.0]) * jnp.sign(grads), count + 1

    return optax.GradientTransformation(lambda params: jnp.zeros(()), update)


@jax.jit
def two_rounds_ever_further(constant, slope, target, bend, reset):
    """At most two rounds of three steps from the origin, beside negative curvature that brings bend / 4."""

    def wedge(w):
        return constant + slope * jnp.abs(w[0] - target) + bend * (w[1] ** 4 / 4 - w[1] ** 2 / 2)

    walk = find_minimum._begun(jnp.zeros(2), wedge(jnp.zeros(2)), None, 0, jax.random.key(0))
    return run_rounds(Flat(wedge, lambda x: x), ever_further(), walk, -1e9, None, rounds=2, steps=3, reset=reset)


def test_an_optimizer_starts_afresh_after_a_round_without_progress_and_by_choice_after_an_escape():
    for slope, target, bend, reset, end, escapes in (
        (1.0, 99.0, 0.0, True, 21, 0),  # 1 + 2 + 3 + 4 + 5 + 6
        (1.0, 4.4, 0.0, False, 4, 0),  # 1, 3, 6, of which 3 is the lowest; then afresh: 4, 6, 3
        (1.0, 4.5, 0.0, False, 4, 0),  # and likewise where 6 is no lower than 3
        (0.01, 99.0, 1.0, True, 12, 1),
        (0.01, 99.0, 1.0, False, 21, 1),
        (0.05, 99.0, 1.0, True, 21, 0),  # six steps of 1/20 bring more than the way out
    ):
        given = jnp.array([0.0, slope, target, bend])
        found = two_rounds_ever_further(*given, jnp.bool_(reset))
        np.testing.assert_allclose(found.theta[0], end, rtol=1e-12)
        assert found.escapes == escapes


def test_rounds_end_where_one_brings_no_more_than_ten_roundings_of_the_loss():
    for slope, rounds in ((1.5, 1), (2.0, 2)):  # of six steps, each of which brings so many roundings
        given = jnp.array([-1.0 - 99 * slope * EPS, slope * EPS, 99.0, 0.0])
        assert two_rounds_ever_further(*given, jnp.bool_(True)).steps == 3 * rounds


DEGREE = 6


def plane(x, powers, wall=jnp.inf, slope=0.0):
    """sum powers[i, j] x_0^i x_1^j, NaN behind a wall, plus the lectures' plateau: many surfaces that compile once."""
    rows = [jnp.ones_like(x)]
    for _ in range(DEGREE):
        rows.append(rows[-1] * x)
    columns = jnp.stack(rows)
    value = columns[:, 0] @ powers.astype(x.dtype) @ columns[:, 1] + slope * surface("plateau").loss(x[:1])
    return jnp.where(x[0] > wall, jnp.nan, value).astype(x.dtype)


@functools.cache
def powers(loss):
    """The coefficients of a polynomial in two variables; a name is that of a surface."""
    loss = surface(loss).loss if isinstance(loss, str) else loss
    points = np.random.default_rng(0).uniform(-1, 1, size=(200, 2))
    table = np.polynomial.polynomial.polyvander2d(*points.T, (DEGREE, DEGREE))
    found, *_ = np.linalg.lstsq(table, jax.vmap(loss)(jnp.asarray(points)))
    return jnp.array(np.where(np.abs(found) > 1e-11, found, 0)).reshape(DEGREE + 1, DEGREE + 1)


def terms(**named):
    """Coefficients one by one: terms(xx=1.0, xy=3.0) is x_0^2 + 3 x_0 x_1, and `_` the constant."""
    table = np.zeros((DEGREE + 1, DEGREE + 1))
    for name, value in named.items():
        table[name.count("x"), name.count("y")] = value
    return jnp.array(table)


def starts_at_saddles(name):
    """On each strict saddle, 1e-8 beside it, and 1e-2 along its positive eigenvectors."""
    entry, rng = surface(name), np.random.default_rng(0)
    found = []
    hessian_at = jax.jit(jax.hessian(entry.loss))
    for point in entry.critical_points:
        if point.index:
            x = np.array(point.x)
            values, vectors = np.linalg.eigh(hessian_at(jnp.array(x)))
            beside = rng.normal(size=x.size)
            positive = vectors[:, values > 1e-9 * np.abs(values).max()]
            projections = rng.normal(size=positive.shape[1])
            found += [x, x + 1e-8 * beside / np.linalg.norm(beside)]
            if projections.size:
                found.append(x + 1e-2 * positive @ projections / np.linalg.norm(projections))
    return np.array(found)


def check_left(loss, ends, *args):
    """All arrived, lower, and at no negative curvature."""
    assert ends.converged.all(), ends.reason
    assert (ends.loss < ends.loss_before).all()
    hessians = np.asarray(jax.vmap(jax.hessian(loss))(ends.params.astype(float), *args))
    lowest, highest = np.linalg.eigvalsh(hessians)[:, [0, -1]].T
    # A run stops within about sqrt(eps) of the point, where a flat valley may curve downwards by as much.
    assert (lowest >= -10 * jnp.sqrt(jnp.finfo(ends.params.dtype).eps) * highest).all()


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32])
def test_every_strict_saddle_is_left_for_a_second_order_point(dtype):
    names = ("linear_net", "himmelblau", "six_hump_camel")
    groups = [starts_at_saddles(name) for name in names]
    starts = jnp.array(np.concatenate(groups), dtype)
    tables = jnp.repeat(jnp.stack([powers(name) for name in names]), np.array([len(x) for x in groups]), axis=0)
    if dtype == jnp.float32:
        ends = jax.vmap(lambda x, table: hessian.find_minimum(plane, x, table))(starts, tables)
    else:
        each = [on_plane(x, table) for x, table in zip(starts, tables, strict=True)]
        ends = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    check_left(plane, ends, tables)


def test_every_family_of_saddles_of_the_autoencoder_is_left():
    """Beside them too: there a first look at the end, in float32, leaves 8 of these 1,323 undetermined."""
    loss, saddles = surface("linear_autoencoder_6_2_6").loss, starts_at_saddles("linear_autoencoder_6_2_6")
    rng = np.random.default_rng(5)
    beside = [saddles + 10 ** rng.uniform(-9, -1.5) * rng.normal(size=saddles.shape) for _ in range(20)]
    starts = jnp.array(np.concatenate([saddles, *beside]), jnp.float32)
    # A batch takes as long as the longest search in it.
    check_left(loss, jax.lax.map(lambda x: hessian.find_minimum(loss, x), starts, batch_size=len(saddles)))


def on_plane(start, table, budget=500, wall=jnp.inf, slope=0.0):
    return hessian.find_minimum(plane, start, table, jnp.asarray(wall), jnp.asarray(slope), finish=budget)


# The surface, the start, and what the reason begins with.
ENDS = {
    "a degenerate minimum": (powers("quartic_min"), (0.0, 0.0), "a degenerate second-order point"),
    "a monkey saddle": (powers("monkey_saddle"), (0.0, 0.0), "unbounded"),
    "a saddle that falls along curves only": (powers("peano"), (0.0, 0.0), "unbounded"),
    "a fold": (powers("cubic_fold"), (0.0, 0.0), "unbounded"),
    "a degenerate saddle above a valley": (
        powers(lambda x: (1 - x[0] ** 2 * x[1]) ** 2 + 0.1 * jnp.sum(x**4)),
        (0.0, 0.0),
        "a minimum",
    ),
    "a plateau": (terms(), (60.0, 0.0), "a plateau"),
    "an unbounded surface": (powers("classical_saddle"), (0.0, 0.0), "unbounded"),
    "NaN at the start": (terms(xx=1.0), (jnp.nan, 1.0), "not finite"),
    "negative curvature below rounding": (terms(_=1e12, xx=1e-12, yy=-5e-19, yyyy=4e-32), (0.0, 0.0), "negative curv"),
}


@pytest.mark.parametrize("name", ENDS)
def test_each_end_has_its_reason_and_the_best_point(name):
    table, start, reason = ENDS[name]
    check_end(on_plane(jnp.array(start), table), reason)


def check_end(end, reason):
    assert end.reason.startswith(reason), end.certificate
    assert bool(end.converged) == (reason.startswith("a ") and reason != "a plateau")
    assert not end.loss > end.loss_before


def test_walls_slopes_and_budgets_have_theirs_too():
    origin, valley = jnp.zeros(2), powers(rosenbrock)
    check_end(on_plane(jnp.array([-1.2, 1.0]), valley, budget=3), "the budget is spent")
    check_end(on_plane(origin, powers("linear_net"), budget=0), "negative curvature is left")
    check_end(on_plane(origin, powers("monkey_saddle"), budget=0), "a degenerate second-order")
    parabola = terms(_=9.0, x=-6.0, xx=1.0, yy=1.0)
    check_end(on_plane(jnp.array([0.0, 1.0]), parabola, wall=2.5), "no step lowers the loss visibly")
    check_end(on_plane(jnp.array([6.0, 0.0]), terms(yy=1.0), slope=1.0), "a minimum")  # |g| = 9e-8 at the start


def test_degenerate_saddles_are_left_where_something_lower_is_near_and_only_there():
    ends = {name: on_plane(jnp.zeros(2), ENDS[name][0]) for name in list(ENDS)[:5]}
    assert ends["a degenerate saddle above a valley"].loss < 0.3
    assert ends["a degenerate minimum"].escapes == 0


def test_a_valley_of_ten_dimensions_costs_less_than_fourteen_dense_newton_steps():
    end = hessian.find_minimum(rosenbrock, jnp.array([-1.2, 1.0] * 5))
    assert end.converged
    assert end.gradients + 2 * end.num_matvecs < 14 * (1 + 2 * 10)


def tree_loss(params, x, y):
    return jnp.mean((params["out"] @ (params["in"] @ x) - y) ** 2)


def with_gd(scale, rate, finish):
    params = {"in": scale * jnp.eye(2, 3), "out": scale * jnp.eye(3, 2)}
    target = jnp.diag(jnp.array([3.0, 2, 1]))
    return hessian.find_minimum(
        tree_loss, params, jnp.eye(3), target, optimizer=gdlab.gd(rate), rounds=20, finish=finish
    )


def test_an_optimizer_leaves_the_saddle_on_a_tree_with_data_and_ends_with_a_certificate():
    for scale in (0.0, 1e-8):
        end = with_gd(scale, 0.1, 1000)
        assert end.converged
        assert end.escapes > 0
        np.testing.assert_allclose(end.loss, 1 / 9, rtol=1e-9)  # the smallest singular value is missed


def test_an_optimizer_that_diverges_ends_at_the_lowest_point_it_met():
    end = with_gd(1.0, 100.0, 0)
    assert end.reason.startswith("the budget is spent")
    assert end.loss <= end.loss_before


def test_more_parameters_than_a_matrix_is_made_of():
    def loss(x):
        return jnp.sum(jnp.arange(1, x.size + 1) * (x**2 - 1) ** 2) / x.size

    end = hessian.find_minimum(loss, jnp.zeros(600), finish=60)
    assert end.loss < 1e-3 * end.loss_before


def test_every_gradient_product_and_loss_is_counted():
    bowl, saddle = terms(xx=0.5, yy=0.5), powers("linear_net")
    counts = ("steps", "gradients", "num_matvecs", "evaluations", "escapes")
    for table, start, budget, want in (
        # a gradient at the start, one for each step, one for the verdict; 2 products for each look, 12 for a verdict,
        # of which 10 are its samples of rounding, and 10 more where the point is critical
        (bowl, (0.3, 0.4), 500, (1, 3, 24, 0, 0)),
        (bowl, (7.0, 0.0), 2, (2, 4, 14, 0, 0)),
        (bowl, (7.0, 0.0), 0, (0, 2, 12, 0, 0)),
        (saddle, (0.0, 0.0), 0, (0, 2, 22, 0, 0)),
        # where second order tells nothing, 32 places and 32 beside them are tried
        (powers("quartic_min"), (0.0, 0.0), 500, (0, 3 + 32, 26, 64, 0)),
        (powers("monkey_saddle"), (0.0, 0.0), 0, (0, 3 + 32, 24, 64, 0)),
    ):
        end = on_plane(jnp.array(start), table, budget=budget)
        assert tuple(int(getattr(end, name)) for name in counts) == want, end


def test_unbounded_is_what_falls_by_the_twelfth_power_of_ten_below_the_size_of_the_start():
    for constant, floor in ((0.0, -1e12), (-0.5, -1e12), (-1e3, -1e15), (1e3, -1e15)):
        end = on_plane(jnp.zeros(2), terms(_=constant, xx=-1.1, yy=1.0))
        assert end.reason.startswith("unbounded")
        # with the radius a step doubles: 1, 3, 7, 15, ...
        losses = constant - 1.1 * (2.0 ** np.arange(1, 40) - 1) ** 2
        np.testing.assert_allclose(end.loss, losses[losses < floor][0], rtol=1e-9)
        assert end.loss > 1.25 * floor


def test_rounds_of_an_optimizer_are_counted_too():
    end = with_gd(1.0, 100.0, 0)  # diverges within its first round
    assert (end.steps, end.gradients, end.escapes) == (50, 50 + 1 + 2, 0)
    assert end.num_matvecs == (5 + 1) + (12 + 4)  # of the look at the curvature, and of the verdict


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="rounds must be a whole number, at least 0; got -1"):
        hessian.find_minimum(jnp.sum, jnp.zeros(2), rounds=-1)
    with pytest.raises(ValueError, match="finish must be a whole number, at least 0; got -1"):
        hessian.find_minimum(jnp.sum, jnp.zeros(2), finish=-1)
    jax.eval_shape(
        lambda w: hessian.find_minimum(jnp.sum, w, optimizer=optax.sgd(0.1), rounds=0, steps=1, finish=0), jnp.zeros(2)
    )
    with pytest.raises(ValueError, match=r"steps must be a whole number, at least 1; got 0\.5"):
        hessian.find_minimum(jnp.sum, jnp.zeros(2), steps=0.5)
