"""Matrix-free eigenpairs, bounds and verdicts: against dense matrices whose spectra are known, over many starts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian
from hessian.numerics import length, unit
from hessian.spectra import bounds, lanczos

pytestmark = pytest.mark.full


def quadratic(w, a):
    return w @ (a @ w) / 2


def symmetric(eigenvalues, dtype=float):
    """A matrix with these eigenvalues in a random basis."""
    rng = np.random.default_rng(len(eigenvalues))
    basis = np.linalg.qr(rng.normal(size=(len(eigenvalues), len(eigenvalues))))[0]
    a = (basis * np.asarray(eigenvalues, float)) @ basis.T
    return jnp.asarray((a + a.T) / 2, dtype)


SPECTRA = {  # eigenvalues and the one kind, beside "undetermined", that may be answered
    "repeated, positive": ([5.0] * 10 + [1.0] * 50, "minimum"),
    "rank 8, no negative": ([1, 2, 3, 4, 5, 6, 7, 8] + [0] * 52, "degenerate"),
    "rank 8, one negative": ([1, 2, 3, 4, 5, 6, 7, -8] + [0] * 52, "saddle"),
    "zero": ([0.0] * 60, "degenerate"),
    "one small negative": ([-0.01, *np.linspace(0.1, 1, 59)], "saddle"),
    "many magnitudes": (np.logspace(-6, 0, 60), "minimum"),
    "negative, repeated": ([-2.0] * 58 + [-1.0] * 2, "maximum"),
    "one dimension": ([2.0], "minimum"),
    "two dimensions, repeated": ([-1.0, -1.0], "maximum"),
    "two dimensions, one zero": ([0.0, 1.0], "degenerate"),
}


@functools.cache
def verdicts(n, dtype):
    """The verdicts from a thousand random starts, compiled once for all matrices of a size."""

    def verdict(key, a):
        return hessian.classify(quadratic, jnp.zeros(n, dtype), a, method="lanczos", key=key, num_matvecs=40)

    keys = jax.random.split(jax.random.key(n), 1000)
    return functools.partial(jax.jit(jax.vmap(verdict, in_axes=(0, None))), keys)


# Very small matrices are compiled in one precision only.
CASES = [
    (name, dtype) for name in SPECTRA for dtype in ("float64", "float32") if len(SPECTRA[name][0]) > 2 or "64" in dtype
]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_of_a_thousand_random_starts_none_gives_a_false_verdict_or_bound(name, dtype):
    (eigenvalues, kind), dtype = SPECTRA[name], jnp.dtype(dtype)
    found = verdicts(len(eigenvalues), dtype)(symmetric(eigenvalues, dtype))
    assert set(found.kind) <= {kind, "undetermined"}
    true = np.sort(np.asarray(eigenvalues, float))
    slack = 20 * np.finfo(dtype).eps * abs(true).max()
    assert (found.lowest.high >= true[0] - slack).all()
    assert (found.highest.low <= true[-1] + slack).all()
    missed = (found.lowest.low > true[0] + slack) | (found.highest.high < true[-1] - slack)
    assert not missed.any()  # 1,000 verdicts hold together with probability .99
    assert (found.index <= np.sum(true < -slack)).all()
    assert (found.index_bounds[1] >= np.sum(true < slack) - np.sum(abs(true) <= slack)).all()
    undetermined = found.kind == "undetermined"
    assert (found.num_matvecs <= 40).all()
    assert (np.asarray(found.num_matvecs_needed)[undetermined] > 0).all()


def test_bounds_miss_no_more_often_than_they_say():
    true = np.r_[-1.0, np.linspace(-0.5, 1, 99)]
    a = symmetric(true)

    def both(key, a):
        krylov = lanczos.begin(key, 100, 12, a.dtype)
        krylov, found = lanczos.grow(lambda v: a @ v, krylov, 12, lambda *_: jnp.bool_(False))
        return [bounds.ends(krylov, found, doubt) for doubt in (0.5, 0.1)]

    found = jax.jit(jax.vmap(both, in_axes=(0, None)))(jax.random.split(jax.random.key(3), 1000), a)
    for (low, high), doubt in zip(found, (0.5, 0.1), strict=True):
        missed = np.mean((low > true[0]) | (high < true[-1]))
        assert 0 < missed <= doubt  # at so low a confidence some are missed, or the bounds would be too wide


def test_more_steps_than_dimensions_give_every_eigenvalue_with_its_copies():
    true = np.array([-3.0, -3.0, 0.0, 0.0, 0.0, 1.0, 2.0, 2.0])
    a = symmetric(true)
    krylov = lanczos.begin(jax.random.key(0), 8, 8, a.dtype)
    krylov, found = lanczos.grow(lambda v: a @ v, krylov, 50, lambda *_: jnp.bool_(False))
    assert int(krylov.num_matvecs) == 8
    np.testing.assert_allclose(found.values, true, atol=1e-13)
    np.testing.assert_allclose(krylov.basis @ krylov.basis.T, np.eye(8), atol=1e-13)


@pytest.fixture(scope="module")
def wide():
    """A spectrum with separated ends, and its matrix."""
    true = np.sort(np.r_[-3.0, -2.5, np.random.default_rng(0).uniform(-1, 1, 296), 2.0, 2.2])
    return true, symmetric(true)


@pytest.mark.parametrize(
    ("which", "rows"), [("lowest", 20), ("highest", 300), ("both", 20)], ids=["restarted", "whole basis", "both ends"]
)
def test_the_ends_of_the_spectrum_are_those_of_the_dense_matrix(wide, which, rows):
    true, a = wide

    def reached(tol):
        return hessian.extremal(
            quadratic, jnp.zeros(300), a, k=2, which=which, num_matvecs=300, memory=rows * 300 * 8,
            key=jax.random.key(1), tol=tol,
        )  # fmt: skip

    found, same, less = reached(None), reached(np.finfo(float).eps ** (2 / 3)), reached(1e-3)
    assert less.num_matvecs < found.num_matvecs == same.num_matvecs
    expected = {"lowest": true[:2], "highest": true[-2:], "both": true[[0, 1, -2, -1]]}[which]
    np.testing.assert_allclose(found.eigenvalues, expected, atol=1e-12)
    assert (found.residuals < 1e-8).all()
    errors = np.abs(np.asarray(found.eigenvectors) @ a - found.eigenvalues[:, None] * found.eigenvectors)
    assert (np.linalg.norm(errors, axis=1) < 1e-8).all()
    assert found.num_matvecs < 200


def test_extremal_goes_through_jit_vmap_and_grad(wide):
    true, a = wide
    grads = jax.jit(
        jax.vmap(jax.grad(lambda s, key: hessian.extremal(quadratic, jnp.zeros(300), s * a, key=key).eigenvalues[0]))
    )(jnp.array([1.0, 2.0]), jax.random.split(jax.random.key(0), 2))
    np.testing.assert_allclose(grads, true[0], rtol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"k": 0}, "k must be a whole number, from 1 to 8; got 0"),
        ({"k": 9}, "k must be a whole number, from 1 to 8"),
        ({"which": "SA"}, "which must be 'lowest', 'highest' or 'both'; got 'SA'"),
        ({"num_matvecs": 2}, "num_matvecs must be at least 3 for 1 eigenpairs; got 2"),
        ({"memory": 8.0}, "memory must be at least 384 bytes for a basis of 6 vectors; got 8"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_arguments_out_of_range_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        hessian.extremal(quadratic, jnp.zeros(8), jnp.eye(8), **arguments)


def test_a_dense_request_that_is_too_large_says_what_it_takes_and_what_to_call():
    words = r"563,722 values.* takes 18,941.3 GiB where memory allows 8.0; .*hessian.extremal"
    for function in (hessian.spectrum, lambda *args: hessian.classify(*args, method="dense")):
        with pytest.raises(ValueError, match=words):
            function(lambda w: w @ w, jnp.zeros(563722))


@pytest.mark.parametrize("arguments", [{"method": "power"}, {"method": "lanczos", "num_matvecs": 3}])
def test_a_verdict_names_what_is_wrong_with_its_arguments(arguments):
    with pytest.raises(ValueError, match=r"method must be|num_matvecs must be a whole number, at least 24; got 3"):
        hessian.classify(quadratic, jnp.zeros(8), jnp.eye(8), **arguments)


def test_not_a_number_is_undetermined_without_a_matrix_too():
    found = jax.jit(lambda w: hessian.classify(lambda w: jnp.sum(jnp.log(w)), w, method="lanczos"))(jnp.zeros(30))
    assert found.kind == "undetermined"
    assert "not finite" in found.certificate
    assert found.num_matvecs < 40


def test_a_run_that_stopped_beside_a_degenerate_valley_is_not_fooled_without_a_matrix():
    def valley(w):
        return jnp.sum((1 - w[:40] * w[40:]) ** 2)

    start = 1 + 1e-9 * jax.random.normal(jax.random.key(0), (80,))
    found = hessian.classify(valley, start, method="lanczos", num_matvecs=200)
    assert found.kind == "undetermined"
    assert "along it curvature changes by" in found.certificate
    assert hessian.classify(valley, start, method="dense").kind == "degenerate"


def test_above_the_dense_limit_saddles_are_found_and_left():
    n = 2000
    a = jnp.asarray(np.r_[-0.05, np.linspace(0.1, 10, n - 1)])

    def saddle(w, a):
        return jnp.sum(a * w**2) / 2 + jnp.sum(w**4)

    found = hessian.classify(saddle, jnp.zeros(n), a)
    assert found.kind == "saddle"
    assert found.certificate.startswith("saddle: |g| = 0")
    assert found.num_matvecs <= 60
    way = hessian.escape(saddle, jnp.zeros(n), a)
    assert way.reason == "stepped along negative curvature"
    assert way.loss_after < 0


def test_lengths_do_not_underflow_or_overflow():
    for size in (1e-200, 1.0, 1e200):
        np.testing.assert_allclose(length(size * jnp.array([3.0, -4.0])), 5 * size, rtol=1e-14)
        np.testing.assert_allclose(unit(size * jnp.array([3.0, -4.0])), [0.6, -0.8], rtol=1e-14)
    np.testing.assert_array_equal(unit(jnp.zeros(2)), [0, 0])


@jax.jit
def grown(a, limit, stop):
    """A basis of at most 39 rows after so many products, or as soon as it has so many rows at a look."""
    krylov = lanczos.begin(jax.random.key(2), 40, 39, a.dtype)
    return lanczos.grow(lambda v: a @ v, krylov, limit, lambda krylov, _: krylov.count >= stop)


def test_ritz_pairs_are_those_of_the_projection_with_their_residuals():
    a = symmetric(np.linspace(-1, 2, 40))
    krylov, found = grown(a, 6, 99)
    basis = np.asarray(krylov.basis)
    assert (krylov.count, krylov.num_matvecs) == (6, 6)
    np.testing.assert_array_equal(basis[6:], 0)
    basis = basis[:6]
    np.testing.assert_allclose(basis @ basis.T, np.eye(6), atol=1e-14)
    small = basis @ a @ basis.T
    np.testing.assert_allclose(krylov.matrix[:6, :6], small, atol=1e-14)
    np.testing.assert_allclose(found.values[:6], np.linalg.eigvalsh(small), atol=1e-14)
    assert (found.values[6:] > found.values[5]).all()
    vectors = np.asarray(found.vectors)[:6, :6].T @ basis
    misses = np.linalg.norm(vectors @ a - found.values[:6, None] * vectors, axis=1)
    np.testing.assert_allclose(found.residuals[:6], misses, atol=1e-13)
    np.testing.assert_allclose(found.spectral_norm, np.abs(found.values[:6]).max())
    rest = a @ basis[5] - basis.T @ (basis @ a @ basis[5])
    np.testing.assert_allclose(krylov.coupling * krylov.following, rest, atol=1e-13)


def test_the_norm_is_the_larger_of_both_ends_in_use():
    for values, norm in (((-3.0, 1.0, 9.0), 3), ((-1.0, 2.0, 9.0), 2), ((-3.0, -1.0, 9.0), 3)):
        krylov = lanczos.blank(jax.random.key(0), 5, 3, float)._replace(matrix=jnp.diag(jnp.array(values)), count=2)
        np.testing.assert_allclose(lanczos.ritz(krylov).spectral_norm, norm)


def test_looks_come_every_five_products_and_later_after_a_quarter_of_those_behind():
    a = jnp.diag(jnp.linspace(1.0, 2.0, 40))
    for stop, count in ((1, 5), (5, 5), (6, 10), (21, 25), (26, 31), (32, 38), (39, 39), (99, 39)):
        assert grown(a, 50, stop)[0].count == count
    for limit, count in ((0, 0), (3, 3), (8, 8), (29, 29)):
        assert grown(a, limit, 99)[0].num_matvecs == count


def test_a_remainder_of_rounding_ends_the_space_and_another_begins():
    a = jnp.diag(jnp.array([1.0] * 20 + [2.0] * 20))
    krylov, found = grown(a, 8, 99)
    couplings = np.diag(krylov.matrix, 1)
    np.testing.assert_array_equal(couplings[[1, 3, 5]], 0)  # each space has two dimensions
    assert (couplings[[0, 2, 4]] > 1e-3).all()
    np.testing.assert_allclose(krylov.basis[:8] @ krylov.basis[:8].T, np.eye(8), atol=1e-14)
    np.testing.assert_allclose(found.values[:8], [1] * 4 + [2] * 4, atol=1e-14)
