"""Verdicts: the lectures' points, the hard ones, and the laws that every verdict obeys."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian
from hessian.bounds import Box, Face, OnFace
from hessian.spectra.bounds import num_matvecs_for
from hessian.spectra.spectrum import Inertia
from hessian.verdicts.classify import _verdict, _within
from hessian.verdicts.evidence import Eigenpair, Evidence

pytestmark = pytest.mark.full
module = sys.modules["hessian.verdicts.classify"]


def lecture(w):
    return (1 - w[0] * w[1]) ** 2


def monkey(w):
    return w[0] ** 3 - 3 * w[0] * w[1] ** 2


def himmelblau(w):
    return (w[0] ** 2 + w[1] - 11) ** 2 + (w[0] + w[1] ** 2 - 7) ** 2


POINTS = {  # loss, point, kind, index, inertia
    "saddle of the lecture": (lecture, (0, 0), "saddle", 1, (1, 0, 1)),
    "valley of the lecture": (lecture, (1, 1), "degenerate", 0, (1, 1, 0)),
    "valley, another place": (lecture, (2, 0.5), "degenerate", 0, (1, 1, 0)),
    "valley, a run stopped near it": (lecture, (1 + 1e-9, 1 - 2e-9), "degenerate", 0, (1, 1, 0)),
    "monkey saddle": (monkey, (0, 0), "degenerate", 0, (0, 2, 0)),
    "monkey saddle, beside it": (monkey, (1e-12, -1e-12), "degenerate", 0, (0, 2, 0)),
    "minimum": (himmelblau, (3, 2), "minimum", 0, (2, 0, 0)),
    "maximum": (himmelblau, (-0.2708445906673476, -0.9230385564799815), "maximum", 2, (0, 0, 2)),
    "saddle": (himmelblau, (3.385154183607021, 0.07385187983774928), "saddle", 1, (1, 0, 1)),
    "trough": (lambda w: w[0] ** 2 + w[1] ** 4, (0, 0), "degenerate", 0, (1, 1, 0)),
    "ridge": (lambda w: -(w[0] ** 2) + w[1] ** 4, (0, 0), "degenerate", 1, (0, 1, 1)),
    "flat": (lambda w: 0 * jnp.sum(w), (1, 2), "degenerate", 0, (0, 2, 0)),
    "one dimension, minimum": (lambda w: jnp.sum(w**2), (0,), "minimum", 0, (1, 0, 0)),
    "one dimension, degenerate": (lambda w: jnp.sum(w**3), (0,), "degenerate", 0, (0, 1, 0)),
}


@pytest.mark.parametrize(("loss", "point", "kind", "index", "inertia"), POINTS.values(), ids=POINTS)
def test_kind_index_and_inertia_whatever_the_scale_of_the_loss(loss, point, kind, index, inertia):
    def scaled(w, scale):
        return scale * loss(w)

    for scale in (1e-8, 1.0, 1e8):
        found = hessian.classify(scaled, jnp.array(point, float), scale)
        assert (found.kind, int(found.index), tuple(map(int, found.inertia))) == (kind, index, inertia)
        assert found.certificate.startswith(kind)
        assert found.confidence == 1


@pytest.mark.parametrize(
    ("loss", "point"),
    [
        (lecture, (0.5, 0.5)),
        (himmelblau, (0, 0)),
        (lambda w: jnp.sum(w), (0, 0)),
        (lambda w: jnp.sum(w**2), (1, 0)),
        (lambda w: jnp.sum(-(w**2)), (1, 0)),
        (monkey, (0.1, 0)),
    ],
)
def test_a_large_gradient_is_not_critical_whatever_the_hessian(loss, point):
    found = hessian.classify(loss, jnp.array(point, float))
    assert found.kind == "not critical"
    assert found.gradient_norm > found.gradient_tol
    np.testing.assert_allclose(found.lowest.value, np.linalg.eigvalsh(jax.hessian(loss)(jnp.array(point, float)))[0])


def test_the_lowest_eigenpair_is_the_direction_the_lecture_takes():
    found = hessian.classify(lecture, jnp.zeros(2))
    np.testing.assert_allclose(found.lowest.value, -2)
    np.testing.assert_allclose(found.highest.value, 2)
    np.testing.assert_allclose(abs(found.lowest.vector), np.sqrt([0.5, 0.5]))
    for step, projections, across in ((0.01, 0.9998, 1.0002), (0.1, 0.9801, 1.0201), (0.5, 0.5625, 1.5625)):
        np.testing.assert_allclose(lecture(step * jnp.array([1.0, 1])), projections, atol=5e-5)
        np.testing.assert_allclose(lecture(step * jnp.array([1.0, -1])), across, atol=5e-5)
        curved = 1 + step**2 * found.lowest.value  # |(1, 1)|^2 = 2, so L + 2 lambda step^2 / 2
        np.testing.assert_allclose(lecture(step * jnp.array([1.0, 1])), curved, atol=step**4 + 1e-15)


@pytest.mark.parametrize(
    "loss",
    [
        lambda w: jnp.nan * jnp.sum(w**2),
        lambda w: jnp.sum(jnp.log(w)),
        lambda w: jnp.sum(jnp.sqrt(w)),
        lambda w: jnp.inf * jnp.sum(w**2),
    ],
    ids=["nan", "log", "sqrt", "inf"],
)
def test_what_is_not_finite_is_undetermined_and_no_exception_inside_jit(loss):
    found = jax.jit(lambda w: hessian.classify(loss, w))(jnp.zeros(2))
    assert (found.kind, found.confidence) == ("undetermined", 0)
    assert "not finite" in found.certificate


def test_many_points_at_once_are_each_what_they_are_alone():
    points = jax.random.normal(jax.random.key(0), (20, 2)).at[0].set(0).at[1].set(1)
    many = jax.jit(jax.vmap(lambda w: hessian.classify(lecture, w)))(points)
    alone = [hessian.classify(lecture, w) for w in points]
    assert list(many.kind) == [one.kind for one in alone]
    np.testing.assert_allclose(many.lowest.value, [one.lowest.value for one in alone], atol=1e-13)
    np.testing.assert_array_equal(np.array(many.inertia).T, [one.inertia for one in alone])


@pytest.mark.parametrize(
    "name", ["saddle of the lecture", "valley of the lecture", "monkey saddle", "minimum", "ridge"]
)
def test_single_precision_gives_the_same_verdict(name):
    loss, point, kind, index, inertia = POINTS[name]
    found = hessian.classify(loss, jnp.array(point, jnp.float32))
    assert found.lowest.value.dtype == jnp.float32
    assert (found.kind, int(found.index), tuple(map(int, found.inertia))) == (kind, index, inertia)


def test_one_trace_serves_all_points():
    traces = []

    @jax.jit
    def code(w):
        traces.append(None)
        return hessian.classify(lecture, w).code

    kinds = [hessian.Kind.words_of(code(jnp.array(w, float))) for w in ((0, 0), (1, 1), (3, 1))]
    assert kinds == ["saddle", "degenerate", "not critical"]
    assert len(traces) == 1


def test_tolerances_are_the_callers_to_set():
    def loss(w):
        return w[0] ** 2 - 1e-6 * w[1] ** 2

    assert hessian.classify(loss, jnp.zeros(2)).kind == "saddle"
    assert hessian.classify(loss, jnp.zeros(2), curvature_tol=1e-5).kind == "degenerate"
    assert hessian.classify(loss, jnp.array([0.1, 0]), gradient_tol=0.1).kind == "not critical"
    assert hessian.classify(loss, jnp.array([0.1, 0]), gradient_tol=0.3).kind == "saddle"


N = 10


def evidence(lowest, highest, *, gradient=0.0, complete=False, finite=True, positive=0, negative=0):
    """Ends as (value, low, high)."""
    low, high = (
        Eigenpair(jnp.asarray(v), jnp.zeros(N), jnp.asarray(a), jnp.asarray(b)) for v, a, b in (lowest, highest)
    )
    numbers = (jnp.asarray(x) for x in (gradient, 1.0, 0.1))
    yes = jnp.bool_(True)
    known = (positive, negative, jnp.bool_(complete), yes, ~yes, jnp.asarray(0.0), yes)
    return Evidence(*numbers, low, high, *known, 0.0, 0.0, jnp.zeros(N), 17, jnp.bool_(finite))


SADDLE = {"lowest": (-2.0, -3.0, -1.0), "highest": (4.0, 3.0, 5.0)}
MINIMUM = {"lowest": (2.0, 1.0, 3.0), "highest": (4.0, 3.0, 5.0)}
MAXIMUM = {"lowest": (-4.0, -5.0, -3.0), "highest": (-2.0, -3.0, -1.0)}
OPEN = {"lowest": (0.5, -1.0, 1.0), "highest": (4.0, 3.0, 5.0)}
ZERO = {"lowest": (0.0, -0.1, 0.1), "highest": (4.0, 3.9, 4.1)}
VERDICTS = {
    "saddle": (
        SADDLE,
        "saddle",
        1,
        "|g| = 0 <= 1, Newton's step 0, the lowest eigenvalue is at most -1 and the highest at least 3, index 0 to 10",
    ),
    "at the edge of a saddle, below": (
        {**SADDLE, "lowest": (-2.0, -3.0, 0.0)},
        "undetermined",
        0,
        "|g| = 0 <= 1, Newton's step 0"
        "; after 17 products the lowest eigenvalue lies in [-3, 0] and the highest in [3, 5];"
        " 9 products would settle it",
    ),
    "at the edge of a saddle, above": (
        {**SADDLE, "highest": (4.0, 0.0, 5.0)},
        "undetermined",
        0,
        "|g| = 0 <= 1, Newton's step 0"
        "; after 17 products the lowest eigenvalue lies in [-3, -1] and the highest in [0, 5];"
        " 9 products would settle it",
    ),
    "minimum": (
        MINIMUM,
        "minimum",
        0.9,
        "|g| = 0 <= 1, Newton's step 0, and the lowest eigenvalue is at least 1 with probability 0.9",
    ),
    "minimum, all eigenvalues seen": (
        {**MINIMUM, "complete": True},
        "minimum",
        1,
        "|g| = 0 <= 1, Newton's step 0, and the lowest eigenvalue is at least 1",
    ),
    "maximum": (
        MAXIMUM,
        "maximum",
        0.9,
        "|g| = 0 <= 1, Newton's step 0, and the highest eigenvalue is at most -1 with probability 0.9",
    ),
    "at the edge of a maximum": (
        {**MAXIMUM, "highest": (-2.0, -3.0, 0.0)},
        "undetermined",
        0,
        "|g| = 0 <= 1, Newton's step 0"
        "; after 17 products the lowest eigenvalue lies in [-5, -3] and the highest in [-3, 0];"
        " 9 products would settle it",
    ),
    "gradient at its tolerance": (
        {**SADDLE, "gradient": 1.0},
        "saddle",
        1,
        "|g| = 1 <= 1, Newton's step 0, the lowest eigenvalue is at most -1 and the highest at least 3, index 0 to 10",
    ),
    "gradient beyond it": ({**MINIMUM, "gradient": 1.5}, "not critical", 1, "|g| = 1.5 > 1, Newton's step 0"),
    "zero": (
        {**ZERO, "complete": True, "positive": 8},
        "degenerate",
        1,
        "|g| = 0 <= 1, Newton's step 0, and of 10 eigenvalues 2 with no certain sign beyond 0.1, none opposite",
    ),
    "not seen": (
        ZERO,
        "undetermined",
        0,
        "|g| = 0 <= 1, Newton's step 0"
        "; after 17 products the lowest eigenvalue lies in [-0.1, 0.1] and the highest in [3.9, 4.1];"
        " 10 products would settle it",
    ),
    "at the edge of a minimum": (
        {**OPEN, "lowest": (0.5, 0.0, 1.0)},
        "undetermined",
        0,
        "|g| = 0 <= 1, Newton's step 0"
        "; after 17 products the lowest eigenvalue lies in [0, 1] and the highest in [3, 5];"
        " 10 products would settle it",
    ),
    "not finite": (
        {**SADDLE, "gradient": np.nan, "finite": False},
        "undetermined",
        0,
        "the gradient or the Hessian is not finite",
    ),
    "a bound not finite": (
        {**SADDLE, "lowest": (-2.0, -np.inf, -1.0), "finite": False},
        "undetermined",
        0,
        "the gradient or the Hessian is not finite",
    ),
}


@pytest.mark.parametrize("case", VERDICTS, ids=VERDICTS)
def test_each_kind_has_its_confidence_and_its_sentence(case):
    given, kind, confidence, sentence = VERDICTS[case]
    found = _verdict(evidence(**given), N, 0.9)
    assert (found.kind, float(found.confidence)) == (kind, pytest.approx(confidence))
    assert found.certificate == f"{kind}: {sentence}"
    positive, zero, negative = (int(count) for count in found.inertia)
    assert (positive, zero, negative) == (given.get("positive", 0), N - given.get("positive", 0), 0)
    assert found.index_bounds == (0, zero)


def test_what_would_settle_it_depends_on_the_end_next_to_zero():
    needed = {
        "the lowest": ({"lowest": (0.5, -1.0, 1.0), "highest": (4.0, 3.0, 5.0)}, 0.5 / 8),
        "the highest": ({"lowest": (-4.0, -5.0, -3.0), "highest": (-0.5, -1.0, 1.0)}, 0.5 / 8),
        "at the band": ({"lowest": (0.1, -1.0, 1.0), "highest": (4.0, 3.0, 5.0)}, 0.0),
        "zero": ({"lowest": (0.0, -1.0, 1.0), "highest": (0.0, -1.0, 1.0)}, 0.0),
    }
    for given, resolution in needed.values():
        found = _verdict(evidence(**given), 1_000_000, 0.9)
        assert found.num_matvecs_needed == num_matvecs_for(jnp.asarray(resolution), 1_000_000, 0.9)
    for settled in (SADDLE, {**OPEN, "finite": False}, {**OPEN, "gradient": 2.0}):
        assert _verdict(evidence(**settled), 1_000_000, 0.9).num_matvecs_needed == 0


FACE = OnFace(jnp.ones(N), jnp.full(N, 2.0), jnp.zeros(N), jnp.int32(N), jnp.bool_(True))
SAID = {  # what differs from a saddle of index 2, and a part of the sentence
    "index": ({}, "at least 3, index 2 to 9"),
    "nothing open": ({"inertia": Inertia(8, 0, 2)}, "at least 3, index 2"),
    "flat by symmetry": ({"flat": 7}, "index 2; modulo 7 directions flat by symmetry"),
    "one of them": ({"flat": 1}, "index 2 to 8; modulo 1 direction flat by symmetry"),
    "frozen": ({"frozen": 1234}, "index 2 to 9; of the free part, with 1,234 parameters frozen"),
    "one of these": ({"frozen": 1}, "index 2 to 9; of the free part, with 1 parameter frozen"),
    "within bounds": ({"face": FACE}, "index 2 to 9; within bounds, 10 active with multipliers of 2 or more"),
    "a bound, and a maximum of the face": (
        {"face": FACE, "highest": Eigenpair(-2.0, None, -3.0, -1.0)},
        "Newton's step 0, and the highest eigenvalue is at most -1, index 2 to 9; within bounds",
    ),
    "no bound": ({"face": FACE._replace(active=0), "highest": Eigenpair(-2.0, None, -3.0, -1.0)}, "at least -3, index"),
    "every number held": (
        {"face": FACE, "code": np.int32(hessian.Kind.MINIMUM), "inertia": Inertia(0, 3, 0), "flat": 3},
        "Newton's step 0, and every number is held by a bound; modulo 3",
    ),
    "one is free": (
        {"face": FACE, "code": np.int32(hessian.Kind.MINIMUM), "inertia": Inertia(1, 3, 0), "flat": 3},
        "Newton's step 0, and the lowest eigenvalue is at least -3; modulo 3",
    ),
    "of no symmetry": ({"symmetric": False, "code": 0}, "undetermined: a declared symmetry does not hold"),
    "a multiplier of zero": (
        {"face": FACE._replace(strict=False), "code": 0},
        "Newton's step 0; whether a bound is active is open: a multiplier is zero to rounding; within",
    ),
    "a kink": ({"kink": True, "code": 0}, "Newton's step 0; gradient or Hessian jump here, so it is not twice"),
    "unknown": (
        {"settled": False, "code": 0},
        "Newton's step 0, which is not known after 17 products with the Hessian",
    ),
    "on the way": ({"change": 0.051, "code": 0}, "Newton's step 0; along it curvature changes by 0.051 of itself"),
    "no more than allowed": ({"change": 0.05, "code": 0}, "Newton's step 0; after 17 products the lowest"),
}


@pytest.mark.parametrize("case", SAID)
def test_a_sentence_says_what_counts(case):
    given, said = SAID[case]
    point = _verdict(evidence(**SADDLE, positive=1, negative=2), N, 0.9)._replace(**given)
    assert said in point.certificate + "|"
    if case in ("nothing open", "flat by symmetry"):
        assert " to " not in point.certificate.split("index")[1]


@pytest.mark.parametrize(
    ("given", "strict", "upper", "kind", "confidence"),
    [
        (MAXIMUM, True, 2.0, "saddle", 0.9),  # the loss rises into the box
        (MAXIMUM, True, 1.0, "maximum", 0.9),  # but where there is no way into it
        (MINIMUM, True, 2.0, "minimum", 0.9),
        (MINIMUM, False, 2.0, "undetermined", 0),
        ({**MINIMUM, "gradient": 1.5}, False, 2.0, "not critical", 1),  # whatever its multipliers
        (OPEN, True, 2.0, "undetermined", 0),
    ],
)
def test_a_verdict_on_a_face_is_one_within_the_box_where_its_multipliers_are_certain(
    given, strict, upper, kind, confidence
):
    ones = jnp.ones(N)
    face = Face(ones, ones.at[3:].set(0), 0 * ones, Box(ones, upper * ones))
    found = _within(_verdict(evidence(**given), N, 0.9, 3), face, FACE._replace(strict=jnp.bool_(strict)))
    assert (found.kind, float(found.confidence)) == (kind, pytest.approx(confidence))
    assert tuple(map(int, found.inertia)) == (0, N - 3, 0)  # without the numbers that are held
    assert found.flat == 0
    assert bool(found.face.strict) == (strict or kind == "not critical")


def test_a_matrix_is_taken_up_to_so_many_parameters_and_a_basis_within_products_and_memory(monkeypatch):
    class Asked(Exception):
        pass

    def judged(loss, stored, krylov, *rest):
        raise Asked(krylov)

    monkeypatch.setattr(module, "_judged", judged)
    monkeypatch.setattr(module, "_errors", lambda *_: None)
    for n, given, krylov in (
        (1024, {}, None),
        (1025, {}, (200, 182)),
        (1025, {"method": "dense"}, None),
        (1024, {"method": "lanczos", "num_matvecs": 60}, (60, 42)),
        (1025, {"memory": 10 * 1025 * 8}, (200, 10)),
        (30, {"method": "lanczos"}, (200, 30)),
    ):
        with pytest.raises(Asked) as asked:
            hessian.classify(lambda w: w @ w, jnp.zeros(n), **given)
        assert asked.value.args == (krylov,)
    with pytest.raises(ValueError, match=r"takes 0\.0 GiB where memory allows 0\.0"):
        hessian.classify(lambda w: w @ w, jnp.zeros(100), memory=8 * 100**2 * 8 - 1)


def test_small_hessians_are_looked_at_whole_unless_products_are_asked_for():
    def saddle(w):
        return w[0] ** 2 - w[1] ** 2

    auto, dense, lanczos = (
        hessian.classify(saddle, jnp.zeros(2), method=m).num_matvecs for m in ("auto", "dense", "lanczos")
    )
    assert auto == dense != lanczos


@pytest.mark.parametrize(("turn", "kind"), [(1e-4, "undetermined"), (0.0, "not critical")])
@pytest.mark.parametrize("method", ["dense", "lanczos"])
def test_a_soft_slope_whose_decrease_is_none_counts_only_where_its_sign_is_certain(turn, kind, method):
    def loss(w):
        x, y = w
        return x**2 / 2 + 1e-9 * y**2 / 2 + turn * y**3 / 6 + 2e-14 * y

    assert hessian.classify(loss, jnp.array([1e-9, 0.0]), method=method).kind == kind


def test_a_program_of_single_precision_leaves_that_of_double_precision_alone():
    def trough(w):
        return jnp.sum(w**4) + w[0] ** 2

    for wide in (False, True, False):
        with jax.enable_x64(wide):
            assert hessian.classify(trough, jnp.zeros(3 + wide)).kind == "degenerate"


def test_a_hessian_that_the_compiler_gets_wrong_leads_to_no_wrong_verdict():
    """XLA makes a sum over windows of one padded entry that entry everywhere: jit(hessian) is not symmetric here."""

    def loss(w, bend, along):
        return bend * jnp.cumsum(w)[1] ** 2 + along * w @ w

    for bend, along, kind in ((1, 1, "minimum"), (-1, 1, "saddle"), (1, -1, "saddle"), (-1, -1, "maximum")):
        found = hessian.classify(loss, jnp.zeros(3), jnp.array(bend, float), jnp.array(along, float))
        assert found.kind in (kind, "undetermined")
