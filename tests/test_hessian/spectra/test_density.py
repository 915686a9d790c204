"""Densities, ratios, traces, diagonals and sharpness against matrices whose spectra are known."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian
from hessian.spectra.density import Density
from hessian.spectra.density import _mean as mean_of_probes
from hessian.spectra.trace import _mean, _samples

pytestmark = pytest.mark.full


def quadratic(w, a):
    return w @ (a @ w) / 2


@pytest.fixture(scope="module")
def case():
    """400 eigenvalues, a bulk and three outliers, and their matrix."""
    rng = np.random.default_rng(2)
    true = np.sort(np.r_[rng.normal(0, 0.1, 397), 3.0, 4.0, 5.0])
    basis = np.linalg.qr(rng.normal(size=(400, 400)))[0]
    a = (basis * true) @ basis.T
    return true, jnp.asarray((a + a.T) / 2)


def test_the_density_integrates_to_one_and_agrees_with_the_counts(case):
    true, a = case
    found = hessian.density(quadratic, jnp.zeros(400), a, probes=8, steps=60)
    np.testing.assert_allclose(jnp.sum(found.weights, axis=1), 1, rtol=1e-12)
    assert int(found.num_matvecs) == 480
    x = jnp.linspace(-2, 7, 20001)
    height, _ = found.pdf(x, 0.05)
    np.testing.assert_allclose(jnp.trapezoid(height, x), 1, rtol=1e-6)
    for at in (-0.15, 0.0, 0.1, 3.5):
        fraction, error = found.cdf(at)
        assert abs(fraction - np.mean(true <= at)) <= 4 * error
    mean, error = found.mean()
    assert abs(mean - true.mean()) <= 4 * error
    # the area between the cumulative curves is no more than their standard errors, which three outliers make, allow
    grid = np.linspace(-1, 6, 4001)
    curve, error = found.cdf(grid)
    distance = np.trapezoid(np.abs(curve - np.searchsorted(true, grid) / 400), grid)
    assert distance < 2 * np.trapezoid(error, grid)


@pytest.mark.parametrize("spectrum", ["one scale", "many scales", "clusters"])
def test_the_error_of_a_fraction_holds_what_few_nodes_cannot_place(spectrum):
    # By the scatter of the probes alone a tenth to a third of these fractions were off by more than three errors.
    rng = np.random.default_rng(11)
    bulk = rng.normal(size=300)
    true = {"one scale": bulk, "many scales": np.exp(2 * bulk), "clusters": rng.choice([0, 0.1, 1], 300) + bulk / 1000}
    values = true[spectrum]
    basis = np.linalg.qr(rng.normal(size=(300, 300)))[0]
    a = jnp.asarray((basis * values) @ basis.T)
    found = [hessian.density(quadratic, jnp.zeros(300), a, steps=30, key=jax.random.key(seed)) for seed in range(10)]
    off = []
    for at in np.quantile(values, [0.03, 0.1, 0.35, 0.6, 0.9]):
        fractions, errors = np.array([one.cdf(at + 1e-9) for one in found]).T
        off.extend(np.abs(fractions - np.mean(values <= at + 1e-9)) / errors)
    assert np.mean(np.array(off) > 3) <= 0.06  # 3 of 50, where 3 in 1,000 are expected of normal errors
    assert np.median(errors) < 0.1


def test_a_converged_node_places_its_weight_and_another_half_of_it_within_its_cell():
    nodes, weights = jnp.array([[0.0, 1.0, 3.0]]), jnp.array([[0.5, 0.25, 0.25]])
    sure = Density(nodes, weights, jnp.zeros((1, 3)), jnp.int32(3))
    np.testing.assert_array_equal(sure.cdf(jnp.array([0.2, 1.0, 2.5])), [[0.5, 0.75, 0.75], [0, 0, 0]])
    unsure = Density(nodes, weights, jnp.array([[0.3, 9.0, 9.0]]), jnp.int32(3))
    # the cells: [-.3, .3], [.5, 2] and [2, 12]
    fractions, errors = unsure.cdf(jnp.array([0.2, 0.4, 1.9, 2.1, 11.0, 13.0]))
    np.testing.assert_array_equal(fractions, [0.5, 0.5, 0.75, 0.75, 1, 1])
    np.testing.assert_array_equal(errors, [0.25, 0, 0.125, 0.125, 0.125, 0])


def test_the_minimum_ratio_counts_signs_beyond_the_band():
    ratio = hessian.minimum_ratio(lambda w: jnp.sum(jnp.array([1.0, 2, -1, 0]) * w**2), jnp.zeros(4))
    counts = [float(x) for x in (ratio.low, ratio.high, ratio.positive, ratio.zero, ratio.negative, ratio.error)]
    assert counts == [0.5, 0.75, 0.5, 0.25, 0.25, 0]


def test_the_minimum_ratio_without_the_matrix_holds_the_true_one():
    a = jnp.asarray(np.r_[np.linspace(0.5, 2, 900), np.zeros(300), -np.linspace(0.5, 1, 300)])
    ratio = hessian.minimum_ratio(lambda w, a: jnp.sum(a * w**2) / 2, jnp.zeros(1500), a)
    slack = 4 * ratio.error + 0.02
    assert ratio.low - slack <= 0.6 <= ratio.high + slack
    assert ratio.low <= ratio.high
    np.testing.assert_allclose(ratio.positive + ratio.zero + ratio.negative, 1, rtol=1e-12)


@pytest.mark.parametrize("method", ["hutchinson", "hutch++"])
def test_traces_and_diagonals_scatter_by_their_standard_error(case, method):
    true, a = case
    keys = jax.random.split(jax.random.key(0), 60)
    found = jax.vmap(lambda key: hessian.trace(quadratic, jnp.zeros(400), a, method=method, num_matvecs=60, key=key))(
        keys
    )
    off = (found.value - true.sum()) / found.error
    assert abs(np.mean(off)) < 0.5
    assert 0.6 < np.std(off) < 1.6
    entries = hessian.diagonal(quadratic, jnp.zeros(400), a, method=method, num_matvecs=60)
    assert 0.6 < np.std((entries.value - np.diag(a)) / entries.error) < 1.6


def test_hutch_plus_plus_is_exact_for_a_low_rank_and_better_with_outliers(case):
    _, a = case
    errors = [hessian.trace(quadratic, jnp.zeros(400), a, method=m).error for m in ("hutchinson", "hutch++")]
    assert errors[1] < errors[0] / 2
    u = jax.random.normal(jax.random.key(1), (50, 4))
    found = hessian.trace(
        quadratic, jnp.zeros(50), u @ u.T, num_matvecs=12
    )  # a third of them for each of four eigenvalues
    np.testing.assert_allclose(found.value, jnp.sum(u**2), rtol=1e-10)
    assert found.error < 1e-10


def test_sharpness_names_its_measure(case):
    true, a = case
    found = hessian.sharpness(quadratic, jnp.zeros(400), a)
    assert found.measure == "eigenvalue"
    np.testing.assert_allclose(found.value, true[-1], rtol=1e-10)
    keskar = hessian.sharpness(lambda w: jnp.sum(jnp.array([1.0, 9]) * w**2), jnp.ones(2), measure="keskar")
    assert keskar.measure == "keskar"
    # the corner (1 + 0.002, 1 + 0.002) of the box |y_i| <= 1e-3 (1 + 1)
    np.testing.assert_allclose(keskar.value, 100 * (10 * 1.002**2 - 10) / 11, rtol=1e-12)
    with pytest.raises(ValueError, match="measure must be 'eigenvalue' or 'keskar'; got 'sam'"):
        hessian.sharpness(quadratic, jnp.zeros(400), a, measure="sam")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda a: hessian.density(quadratic, jnp.zeros(400), a, probes=0),
            "probes must be a whole number, at least 1; got 0",
        ),
        (
            lambda a: hessian.density(quadratic, jnp.zeros(400), a, steps=0),
            "steps must be a whole number, at least 1; got 0",
        ),
        (
            lambda a: hessian.trace(quadratic, jnp.zeros(400), a, num_matvecs=5),
            "num_matvecs must be a whole number, at least 6; got 5",
        ),
        (lambda a: hessian.diagonal(quadratic, jnp.zeros(400), a, method="x"), "method must be 'hutchinson' or"),
    ],
    ids=["probes", "steps", "num_matvecs", "method"],
)
def test_arguments_out_of_range_are_named(case, call, words):
    with pytest.raises(ValueError, match=words):
        call(case[1])


def test_a_density_is_a_sum_of_bumps_with_the_standard_error_over_its_probes():
    nodes, weights = np.array([[0.0, 1.0], [0.5, 2.0]]), np.array([[0.25, 0.75], [0.5, 0.5]])
    found = Density(jnp.asarray(nodes), jnp.asarray(weights), jnp.zeros((2, 2)), jnp.int32(4))
    x, width = np.array([0.0, 0.5, 3.0]), 0.3
    bumps = np.exp(-((x[:, None, None] - nodes) ** 2) / (2 * width**2)) / np.sqrt(2 * np.pi * width**2)
    probes = np.sum(weights * bumps, axis=-1)
    for got, want in (
        (found.pdf(x, width), probes),
        (found.cdf(x), np.array([[0.25, 0.0], [0.25, 0.5], [1.0, 1.0]])),
        (found.mean(), np.array([0.75, 1.25])),
    ):
        np.testing.assert_allclose(got[0], want.mean(axis=-1), rtol=1e-12)
        np.testing.assert_allclose(got[1], want.std(axis=-1, ddof=1) / np.sqrt(2), rtol=1e-12)
    assert found.pdf(0.3, 0.1)[0].shape == ()


def test_the_error_of_one_probe_alone_is_zero_and_of_more_the_usual_one():
    np.testing.assert_array_equal(mean_of_probes(jnp.array([[3.0], [4.0]])), [[3, 4], [0, 0]])
    samples = np.random.default_rng(0).normal(size=(7, 3))
    np.testing.assert_allclose(
        _mean(jnp.asarray(samples)), [samples.mean(axis=0), samples.std(axis=0, ddof=1) / np.sqrt(7)]
    )
    np.testing.assert_allclose(mean_of_probes(jnp.asarray(samples.T)), _mean(jnp.asarray(samples)))


def test_a_node_near_zero_has_no_certain_sign_where_its_cell_touches_the_band(monkeypatch):
    nodes = np.array([[-3.0, -1.0, 0.5, 1.0, 2.0], [-3.0, -0.2, 0.1, 4.0, 5.0]])
    weights = np.array([[0.1, 0.2, 0.3, 0.15, 0.25], [0.2, 0.2, 0.2, 0.2, 0.2]])
    made = Density(jnp.asarray(nodes), jnp.asarray(weights), jnp.zeros((2, 5)), jnp.int32(0))
    monkeypatch.setattr(sys.modules["hessian.spectra.density"], "density", lambda *args, **kwargs: made)
    # cells reach half way to the neighbours: of the first probe [-4/2, -1/4], [-1/4, 3/4], [3/4, 3/2], [3/2, 2]
    for tau, above, below in (
        (1e-3, (0.4, 0.4), (0.3, 0.4)),
        (0.24, (0.4, 0.4), (0.3, 0.2)),
        (0.26, (0.4, 0.4), (0.1, 0.2)),
        (0.75, (0.25, 0.4), (0.1, 0.2)),
        (1.7, (0.0, 0.4), (0.1, 0.0)),
    ):
        found = hessian.minimum_ratio(lambda w: w @ w, jnp.zeros(1025), curvature_tol=tau)
        np.testing.assert_allclose(found.positive, np.mean(above), atol=1e-12)
        np.testing.assert_allclose(found.negative, np.mean(below), atol=1e-12)
        np.testing.assert_allclose([found.low, found.high], [found.positive, 1 - found.negative])
        np.testing.assert_allclose(found.zero, 1 - found.positive - found.negative, atol=1e-12)
        worst = max(np.std(side, ddof=1) / np.sqrt(2) for side in (above, below))
        np.testing.assert_allclose(found.error, worst, atol=1e-12)


def test_a_band_of_ours_counts_what_lies_beyond_it():
    bends = jnp.array([1.0, 2.0, -1.0, 0.0])
    for tau, positive, negative in ((0.9, 0.5, 0.25), (1.0, 0.25, 0.0), (2.0, 0.0, 0.0)):
        ratio = hessian.minimum_ratio(lambda w: bends @ w**2 / 2, jnp.zeros(4), curvature_tol=tau)
        assert (float(ratio.positive), float(ratio.negative)) == (positive, negative)


def test_the_corner_of_keskars_box_is_found_from_inside_and_never_below_where_it_stands():
    slopes = jnp.array([3.0, -1.0])
    found = hessian.sharpness(lambda w: slopes @ w, jnp.array([1.0, -3.0]), measure="keskar", epsilon=0.1, steps=1)
    np.testing.assert_allclose(found.direction, [0.2, -0.4], rtol=1e-12)  # 0.1 (|theta_i| + 1) along the signs
    np.testing.assert_allclose(found.value, 100 * (0.6 + 0.4) / (1 + 6), rtol=1e-12)
    top = hessian.sharpness(lambda w: 1 - w @ w, jnp.zeros(2), measure="keskar", epsilon=0.1)
    np.testing.assert_allclose(top.value, 0, atol=1e-12)  # a maximum is not sharp
    assert (int(found.code), float(found.error)) == (1, np.inf)


@pytest.mark.parametrize(("measure", "expected"), [("eigenvalue", 3.0), ("keskar", 100 * 1.5 * 0.1**2)])
def test_sharpness_of_what_is_trained(measure, expected):
    def bowl(params):
        return 5 * params["a"] @ params["a"] + 1.5 * params["b"] ** 2

    zeros = {"a": jnp.zeros(2), "b": jnp.array(0.0)}
    found = hessian.sharpness(bowl, zeros, measure=measure, epsilon=0.1, trainable=lambda path: "b" in path)
    np.testing.assert_allclose(found.value, expected, rtol=1e-12)
    assert found.direction["a"] is None


def test_a_third_of_the_products_finds_a_space_in_which_trace_and_diagonal_are_exact():
    root = np.random.default_rng(4).normal(size=(2, 5))
    a = root.T @ root  # of rank two
    found = _samples(quadratic, jnp.zeros(5), (jnp.asarray(a),), jax.random.key(0), "hutch++", 11)
    total, samples, diagonal = found
    np.testing.assert_allclose(total, np.trace(a), rtol=1e-12)
    np.testing.assert_allclose(diagonal, np.diag(a), rtol=1e-10)
    assert samples.shape == (11 - 2 * 3, 5)
    np.testing.assert_allclose(samples, 0, atol=1e-12)


def test_the_ascent_in_the_box_goes_to_corners_at_first_and_then_less_and_less():
    # of nine steps in [-1, 1] five lead to a corner, the others two thirds, a half, two fifths and a third of the way:
    # 1, -1/3, 1/3, -1/5, 1/5, or -1, 1/3, -1/3, 1/5, 7/15, of which 1/5 is the nearest to the top at 0.22
    found = hessian.sharpness(
        lambda w: 5 - (w[0] - 1.22) ** 2, jnp.ones(1), measure="keskar", epsilon=0.5, starts=1, steps=9
    )
    np.testing.assert_allclose(found.direction, [0.2], rtol=1e-12)
    np.testing.assert_allclose(found.value, 100 * (0.22**2 - 0.02**2) / (6 - 0.22**2), rtol=1e-12)
