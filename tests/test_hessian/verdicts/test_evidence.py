"""What evidence says where it is hard: beside degenerate points, on slopes, within rounding, at kinks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian
from hessian.verdicts import evidence
from hessian.verdicts.drift import MAX_DRIFT, Drift

pytestmark = pytest.mark.full

EPS = np.finfo(float).eps
CLAIMS = ("minimum", "maximum", "saddle")
LENGTH = 1e-9


def turning(w):
    """A cubic without any critical point, whose Hessian turns within 1e-9."""
    x, y = w / LENGTH
    return LENGTH**2 * (
        0.0710 * x**3 - 0.0834 * x**2 * y - 0.1668 * x**2 + 0.1382 * x * y**2 - 0.3295 * x * y + 0.3457 * x
        - 0.0295 * y**3 - 0.5467 * y**2 + 0.7768 * y
    )  # fmt: skip


def power(q):
    return lambda w: w[1] ** 2 + jnp.sign(w[0]) * jnp.abs(w[0]) ** q


BESIDE = {
    "y^2 + x^3, right": (lambda w: w[1] ** 2 + w[0] ** 3, (1e-10, 1e-9)),
    "y^2 + x^3, left": (lambda w: w[1] ** 2 + w[0] ** 3, (-1e-10, 1e-9)),
    "-y^2 + x^3": (lambda w: -(w[1] ** 2) + w[0] ** 3, (-1e-10, 1e-9)),
    "y^2 - x^4": (lambda w: w[1] ** 2 - w[0] ** 4, (1e-5, 1e-8)),
    "y^2 - x^6": (lambda w: w[1] ** 2 - w[0] ** 6, (2e-3, 0)),
    "monkey saddle": (lambda w: w[0] ** 3 - 3 * w[0] * w[1] ** 2, (3e-9, -1e-9)),
    "elliptic umbilic, turned": (lambda w: (w[0] + w[1]) ** 2 * w[1] + w[1] ** 3, (1e-9, 2e-9)),
    "Peano's valleys": (lambda w: (w[1] - w[0] ** 2) * (w[1] - 2 * w[0] ** 2), (1e-6, 1e-9)),
    "a cubic without a critical point": (turning, (0, 0)),
    "a slope on which curvature is 1e10": (lambda w: 5e9 * w[1] ** 2 + jnp.sin(w[0]), (0, 0)),
    "a soft direction": (lambda w: 1e-9 * w[0] ** 2 + w[1] ** 2, (1, 0)),
    "power 2.2": (power(2.2), (1e-8, 0)),
    "power 2.05": (power(2.05), (1e-12, 0)),
    "power 1.7": (power(1.7), (1e-12, 0)),
    "softmax sums to one": (lambda w: jnp.sum(jax.nn.softmax(w)), (0.7, -1.3, 2)),
    "log of exp": (lambda w: jnp.sum(jnp.log(jnp.exp(w)) - w), (0.7,)),
    "sine and cosine": (lambda w: jnp.sum(jnp.sin(w) ** 2 + jnp.cos(w) ** 2), (0.7, 3)),
    "a relu with its kink there": (lambda w: jnp.sum(w**2 - 3 * jax.nn.relu(w)), (0, 0)),
    "a relu with its kink near": (lambda w: jnp.sum(w**2 - 3 * jax.nn.relu(w)), (-1e-12,)),
    "a network of one relu, with decay": (
        lambda p: (
            0.5 * jnp.mean((p[1] * jax.nn.relu(p[0] * jnp.linspace(-1, 1, 11)) - jnp.linspace(-2, 2, 11)) ** 2)
            + 0.005 * jnp.sum(p**2)
        ),
        (0, 0),
    ),
    "x |x|": (lambda w: jnp.sum(w * jnp.abs(w)), (0, 0)),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("case", BESIDE, ids=BESIDE)
def test_no_kind_is_claimed_where_there_is_none(case, dtype):
    loss, point = BESIDE[case]
    found = hessian.classify(loss, jnp.array(point, dtype))
    assert found.kind not in CLAIMS
    assert ("in float32" in found.certificate) == (dtype == jnp.float32)


@pytest.mark.parametrize("name", ["a relu with its kink there", "a network of one relu, with decay", "x |x|"])
def test_a_kink_is_undetermined_and_says_so(name):
    loss, point = BESIDE[name]
    found = hessian.classify(loss, jnp.array(point, float))
    assert found.kind == "undetermined"
    assert "not twice differentiable" in found.certificate


CHANGES = {  # power, change of curvature at the far end of the box: twice Newton's step and the next
    3: 2 * (1 / 2 + 1 / 8),
    4: (1 + 2 * (1 / 3 + 8 / 81)) ** 2 - 1,
}


@pytest.mark.parametrize("k", CHANGES)
def test_near_a_power_the_relative_change_does_not_fall_with_the_distance(k):
    for x in (1e-3, 1e-6, 1e-9):
        found = hessian.classify(lambda w: jnp.sum(w**k), jnp.array([x]), gradient_tol=1.0, curvature_tol=0.0)
        np.testing.assert_allclose(found.change, CHANGES[k], rtol=1e-6)
        assert found.kind == "degenerate"


def bowl(w, a, t):
    return jnp.sum(a * w**2 / 2 + t * w**3 / 6)


def test_on_a_quadratic_newtons_step_is_the_way_to_the_point_and_bounds_are_rounding():
    a, w = np.array([2.0, -1.0, 0.5, 3.0]), np.array([1e-7, 2e-7, -1.5e-7, 0.5e-7])
    found = evidence.dense(bowl, jnp.asarray(w), (jnp.asarray(a), jnp.zeros(4)), None, None)
    np.testing.assert_allclose(found.distance, np.linalg.norm(w), rtol=1e-12)
    np.testing.assert_allclose(found.decrement, np.sqrt(abs(np.sum(a * w**2))), rtol=1e-12)
    np.testing.assert_allclose(found.curvature_tol, 50 * EPS * 3)
    np.testing.assert_allclose([found.lowest.low, found.lowest.high], -1 + np.array([-1, 1]) * 150 * EPS, rtol=1e-13)
    assert (found.positive, found.negative) == (3, 1)
    rounding = 2 * (8 // 4 + 1)  # samples, of both signs
    assert found.num_matvecs == rounding + 4 * 4 + 4  # four Hessians, and eight gradients on the way
    far = evidence.dense(bowl, jnp.asarray(1e7 * w), (jnp.asarray(a), jnp.zeros(4)), None, None)
    np.testing.assert_allclose(far.distance, 1e7 * np.linalg.norm(w), rtol=1e-12)
    assert far.gradient_norm > far.gradient_tol
    assert far.num_matvecs == rounding + 4


def sloped(w, a, b):
    return jnp.sum(a * w**2) / 2 + b @ w


@pytest.fixture
def known(monkeypatch):
    """The dense evidence at 0 of a bowl a with slope b, where rounding and the change of curvature are given."""

    def seen(a, b, *, change=None, errors=0.0, products=0.0, gradient_tol=None, curvature_tol=None):
        a, b = jnp.asarray(a, float), jnp.asarray(b, float)

        def spread(loss, params, args, draws):
            shape = (draws, len(a))
            sides = np.where(np.arange(draws) % 2, 1.0, -1.0)[:, None]  # errors of either sign
            return jnp.asarray(sides * errors * np.ones(shape)), jnp.asarray(sides * products * np.ones(shape))

        def drift(frame, *_):
            changes = jnp.full(len(a), frame.entry_error) if change is None else jnp.asarray(change, float)
            return Drift(changes, jnp.bool_(False), jnp.bool_(True))

        monkeypatch.setattr(evidence, "spread", spread)
        monkeypatch.setattr(evidence, "drift", drift)
        return evidence.dense.__wrapped__(sloped, jnp.zeros(len(a)), (a, b), gradient_tol, curvature_tol)

    return seen


def test_the_rounding_of_a_hessians_entry_is_four_times_its_share_of_a_row_and_of_the_norm(known):
    # samples of products (p, p, p) have the length sqrt(3) p, of which each entry has its share p
    found = known([2.0, -4.0, 1.0], [0, 0, 0], products=1e-3)
    np.testing.assert_allclose(found.change, 4 * (1e-3 + EPS * 4), rtol=1e-12)
    np.testing.assert_allclose(known([2.0, -4.0, 1.0], [0, 0, 0]).change, 16 * EPS, rtol=1e-12)
    np.testing.assert_allclose(found.curvature_tol, 10 * np.sqrt(3) * 1e-3, rtol=1e-12)
    assert found.num_matvecs == 3 + 2 * 4 + 3 * 3 + 4  # rounding: eight samples over three rows, and one more


def test_a_sign_is_certain_up_to_the_largest_change_and_its_bound_moves_by_that(known):
    change = [MAX_DRIFT, 1.01 * MAX_DRIFT, 0.02]  # of -8, -1 and 4
    found = known([4.0, -8.0, -1.0], [0] * 3, change=change, curvature_tol=0.125)
    assert (int(found.negative), int(found.positive)) == (1, 1)
    np.testing.assert_allclose([found.lowest.low, found.lowest.high], [-8.125 - 8 / 20, -8 + 0.125 + 8 / 20])
    np.testing.assert_allclose([found.highest.low, found.highest.high], [4 - 0.125 - 0.08, 4.125 + 0.08])
    np.testing.assert_allclose(found.change, 1.01 * MAX_DRIFT)
    turned = known([2.0, -8.0], [0, 0], change=[0.3, 0.3], curvature_tol=0.125)  # by all of itself
    np.testing.assert_allclose([turned.lowest.low, turned.lowest.high], [-16.125, 0.125])
    hidden = known([0.125, -0.125], [0, 0], change=[0.0, 0.0], curvature_tol=0.125)
    np.testing.assert_allclose([hidden.lowest.low, hidden.lowest.high], [-0.25, 0])
    assert (int(hidden.negative), int(hidden.positive)) == (0, 0)


def test_the_tolerance_of_the_gradient_is_that_along_its_own_direction(known):
    # of curvature 1e-4 a slope is near to 1e-6 of that, or, with no certain sign, promises a decrease of eps |H|
    a, b = [1.0, 1e-4], np.array([0.0, 1e-11])
    strict, loose = 1e-10, np.sqrt(EPS * 1e-4)
    for change, tolerance in (([MAX_DRIFT] * 2, strict), ([1.01 * MAX_DRIFT] * 2, loose)):
        np.testing.assert_allclose(known(a, b, change=change).gradient_tol, tolerance, rtol=1e-9)
    # along both, the direction that comes closest to its own decides
    both = known(a, np.array([2e-7, 1e-11]), change=[0.0, 0.0])
    np.testing.assert_allclose(both.gradient_tol, np.hypot(2e-7, 1e-11) / 0.2, rtol=1e-9)
    np.testing.assert_allclose(known(a, 0 * b, change=[0.0, 0.0]).gradient_tol, 1e-6, rtol=1e-9)
    np.testing.assert_allclose(known(a, b, change=[0.0, 0.0], errors=1e-5).gradient_tol, 1e-4, rtol=1e-9)
    assert known(a, b, change=[0.0, 0.0], gradient_tol=0.5).gradient_tol == 0.5


def test_a_slope_without_curvature_and_without_rounding_is_none_of_a_critical_point(known):
    found = known([0.0, 0.0], [1.0, 1e-9], errors=np.array([0.5, 0.0]), change=[0.0, 0.0])
    assert found.gradient_tol == 0  # however well the other is explained by rounding


def test_the_way_to_a_point_is_looked_at_where_the_gradient_is_at_its_tolerance(known):
    here, on_the_way = 2 + 2 * 5, 3 * 2 + 4
    for slope, given, looked in (
        ([0.25, 0.0], {"gradient_tol": 0.25}, True),
        ([0.25, 0.0], {"gradient_tol": 0.2499}, False),
        ([2.5, 1.0], {"errors": 0.25}, True),  # ten times its rounding
        ([2.5, 1.0], {"errors": 0.2499}, False),
    ):
        found = known([3.0, -4.0], slope, change=[0.0, 0.0], **given)
        assert found.num_matvecs == here + looked * on_the_way
    assert not known([3.0, -4.0], [0, 0], products=np.nan).finite
    assert known([3.0, -4.0], [0, 0]).finite


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_a_point_is_near_or_not_whatever_the_units_of_the_loss(size):
    a, t = size * jnp.array([1.0, -1e-6, 1e-3]), size * jnp.array([0.1, 1e-8, 1e-4])
    kinds = [hessian.classify(bowl, x * jnp.array([1.0, 1, 1]), a, t).kind for x in (1e-9, 1e-3)]
    assert kinds == ["saddle", "not critical"]


def test_the_index_of_a_saddle_comes_with_its_bounds():
    found = hessian.classify(lambda w: w[0] ** 2 - w[1] ** 2 + w[2] ** 3, jnp.zeros(3))
    assert found.kind == "saddle"
    assert tuple(map(int, found.index_bounds)) == (1, 2)
    assert found.certificate.endswith("index 1 to 2")


# ------------------------------------------------------------------------------------------ without the matrix

N = 1500
BULK = jnp.asarray(np.r_[0, 0, np.linspace(1, 2, N - 2)])


def hidden(x, lam, turn, at):
    """A soft direction v along which one curvature out of N changes its sign."""
    v, u = x[0] - at, x[1]
    return 0.5e-6 * v**2 + 0.5 * (lam + turn * v) * u**2 + 0.5 * jnp.sum(BULK * x**2)


@pytest.mark.parametrize(("lam", "turn"), [(0.2, -1.0), (-0.1, 1.0)])
def test_a_curvature_that_turns_on_a_long_way_is_no_verdict(lam, turn):
    x = jnp.zeros(N).at[0].set(30.3)
    for seed in range(3):
        assert hessian.classify(hidden, x, lam, turn, 30.0, key=jax.random.key(seed)).kind not in CLAIMS


@pytest.mark.parametrize(("lam", "kind"), [(0.2, "minimum"), (-0.1, "saddle")])
def test_beside_the_point_itself_there_is_one(lam, kind):
    x = jnp.zeros(N).at[0].set(30 + 1e-7)
    assert hessian.classify(hidden, x, lam, -1.0, 30.0).kind in (kind, "undetermined")
    found = hessian.classify(bowl, 1e-9 * jnp.ones(N), BULK + lam, jnp.ones(N))
    assert found.kind == kind
    np.testing.assert_allclose(found.distance, np.sqrt(N) * 1e-9, rtol=1e-3)


@pytest.mark.parametrize(("stiffest", "products"), [(3, 60), (10, 100)])
def test_the_distance_bounds_what_a_newton_step_that_was_cut_off_left_of_the_way(stiffest, products):
    a, w = jnp.linspace(1, stiffest, N), jnp.full(N, 1e-2)
    found = hessian.classify(bowl, w, a, jnp.zeros(N), method="lanczos", num_matvecs=products)
    assert found.lowest.low > 0  # so that the bound is known
    assert jnp.linalg.norm(w) < found.distance < 1.001 * jnp.linalg.norm(w)


def test_bounds_of_as_many_products_are_the_wider_the_surer_they_are():
    a, zero = jnp.linspace(0, 1, N), jnp.zeros(N)  # the lowest has no sign, so that all products are taken
    bold, usual, careful = (
        hessian.classify(bowl, zero, a, zero, method="lanczos", num_matvecs=60, confidence=confidence)
        for confidence in (0.5, 0.99, 1 - 1e-9)
    )
    assert bold.num_matvecs == usual.num_matvecs == careful.num_matvecs
    assert bold.lowest.low > usual.lowest.low > careful.lowest.low
    assert bold.highest.high < usual.highest.high < careful.highest.high


LARGE = {
    "a slope beside curvature of 1e8": (lambda w: 1e8 * jnp.sum(w[1:] ** 2) + jnp.sin(w[0]), 0.0),
    "a cubic direction": (lambda w: jnp.sum(w[1:] ** 2) + w[0] ** 3, 1e-7),
    "relus with their kinks there": (lambda w: jnp.sum(w**2 - jax.nn.relu(w)), 0.0),
}


@pytest.mark.parametrize("case", LARGE, ids=LARGE)
def test_no_kind_is_claimed_without_the_matrix_either(case):
    loss, at = LARGE[case]
    assert hessian.classify(loss, jnp.full(1200, at), method="lanczos").kind not in CLAIMS
