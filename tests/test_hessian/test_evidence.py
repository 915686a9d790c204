"""What evidence says, against its formulas by NumPy: where the Hessian is diagonal everything is one line per axis."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian import bounds, evidence, lanczos

EPS = np.finfo(float).eps


def cubic(w, bends, turns):
    """sum bends w^2 / 2 + turns w^3 / 6: the Hessian is the diagonal bends + turns w."""
    return jnp.sum(bends * w**2 / 2 + turns * w**3 / 6)


BENDS, TURNS = np.array([2.0, -1.0, 0.5, 3.0]), np.array([1.0, 2.0, -1.0, 0.0])
BESIDE = 1e-10 * np.array([1.0, 2.0, -1.5, 0.5])
FAR = np.array([0.3, 0.2, -0.1, 0.4])


def expected(w, bends, turns, gradient_tol=None, curvature_tol=None):
    """The same by the formulas of the module."""
    g, values = bends * w + turns * w**2 / 2, bends + turns * w
    norm, size, reach = np.linalg.norm(g), np.abs(values).max(), 1 + np.linalg.norm(w)
    allowed = np.sqrt(EPS) * size * reach if gradient_tol is None else gradient_tol
    band = 50 * EPS * size if curvature_tol is None else curvature_tol
    p = -np.where(np.abs(values) > band, g * values / (values**2 + (norm / reach) ** 2), 0)
    tau = band + (3 * np.abs(turns * p) if norm <= allowed else 0 * p)
    order = np.argsort(values)
    return {
        "gradient_norm": norm,
        "gradient_tol": allowed,
        "curvature_tol": band,
        "ends": values[order][[0, -1]],
        "tau": tau[order][[0, -1]],
        "positive": np.sum(values > tau),
        "negative": np.sum(-values > tau),
        "decrement": np.sqrt(abs(g @ p)),
        "distance": np.linalg.norm(p),
        "products": 8 if norm <= allowed else 4,
    }


CASES = {
    "beside the point": (BESIDE, {}),
    "beside, by a tolerance of ours": (FAR, {"gradient_tol": 10.0}),
    "not critical": (FAR, {}),
    "a wide band": (BESIDE, {"curvature_tol": 0.7}),
}


@pytest.mark.parametrize("case", CASES, ids=CASES)
def test_dense_evidence_is_that_of_the_formulas(case):
    w, tolerances = CASES[case]
    both = (tolerances.get(name) for name in ("gradient_tol", "curvature_tol"))
    found = evidence.dense(cubic, jnp.asarray(w), (jnp.asarray(BENDS), jnp.asarray(TURNS)), *both)
    want = expected(w, BENDS, TURNS, **tolerances)
    for name in ("gradient_norm", "gradient_tol", "curvature_tol", "decrement", "distance"):
        np.testing.assert_allclose(getattr(found, name), want[name], rtol=1e-9, err_msg=name)
    for name in ("positive", "negative", "products"):
        assert getattr(found, name) == want[name], name
    for end, value, tau in zip((found.lowest, found.highest), want["ends"], want["tau"], strict=True):
        np.testing.assert_allclose([end.value, end.low, end.high], [value, value - tau, value + tau], rtol=1e-12)
        np.testing.assert_allclose([end.high - end.value, end.value - end.low], tau, rtol=1e-5, atol=1e-15)
    assert found.complete
    assert found.finite


@jax.jit
def without_matrix(w, bends, turns, gradient_tol, curvature_tol):
    """Evidence from at most 24 products in 20 rows, and what the first look at five of them shows."""
    key, args = jax.random.key(1), (bends, turns)
    found = evidence.matrix_free(cubic, w, args, gradient_tol, curvature_tol, key, 0.9, 24, 20)
    krylov, ritz = lanczos.grow(
        lambda v: (bends + turns * w) * v, lanczos.begin(key, w.size, 20, w.dtype), 5, lambda *_: jnp.bool_(False)
    )
    return found, krylov, ritz, bounds.ends(krylov, ritz, (1 - 0.9) / 1000)


N = 30


@pytest.mark.parametrize("gradient_tol", [100.0, 1e-5], ids=["critical", "not critical"])
def test_evidence_without_the_matrix_is_that_of_the_formulas(gradient_tol):
    n, (w, bends, turns) = N, np.random.default_rng(5).normal(size=(3, N)) * np.array([[0.02], [1.0], [1.0]])
    found, krylov, ritz, (low, high) = without_matrix(*map(jnp.asarray, (w, bends, turns)), gradient_tol, 0.05)
    ritz = ritz._replace(values=ritz.values[:5], vectors=ritz.vectors[:5, :5], residuals=ritz.residuals[:5])
    krylov = krylov._replace(basis=krylov.basis[:5])
    critical = gradient_tol == 100

    basis, values = np.asarray(krylov.basis), np.asarray(ritz.values)
    rows = np.asarray(ritz.vectors).T @ basis
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    g, curvature = bends * w + turns * w**2 / 2, bends + turns * w
    np.testing.assert_allclose(ritz.residuals, np.linalg.norm(curvature * rows - values[:, None] * rows, axis=1))
    damping = np.linalg.norm(g) / (1 + np.linalg.norm(w))
    inside = (rows @ g * values / (values**2 + ritz.residuals**2 + damping**2)) @ rows
    rest = g - (basis @ g) @ basis
    image = curvature * rest
    p = -(inside + rest * (rest @ image) / (image @ image + damping**2 * (rest @ rest))) * critical

    along = np.abs(turns * p @ (rows[[0, -1]] ** 2).T)
    anywhere = max(np.sqrt(n) * np.linalg.norm(turns * p * basis[0]), *along)
    tau, far = 0.05 + 3 * along, 0.05 + 3 * anywhere
    assert anywhere > 1.1 * along.max() or not critical
    np.testing.assert_allclose(
        [found.lowest.value, found.lowest.low, found.lowest.high], [values[0], low - far, values[0] + tau[0]]
    )
    np.testing.assert_allclose(
        [found.highest.value, found.highest.low, found.highest.high], [values[-1], values[-1] - tau[1], high + far]
    )
    np.testing.assert_allclose(np.abs([found.lowest.vector, found.highest.vector]), np.abs(rows[[0, -1]]), rtol=1e-6)
    np.testing.assert_allclose(
        [found.gradient_norm, found.gradient_tol, found.curvature_tol, found.distance, found.decrement],
        [np.linalg.norm(g), gradient_tol, 0.05, np.linalg.norm(p), np.sqrt(abs(g @ p))],
    )
    assert (found.positive, found.negative) == (np.sum(values > tau[1]), np.sum(values < -tau[0]))
    assert found.products == (9 if critical else 5)
    assert not found.complete
    assert found.finite


@pytest.mark.parametrize("n", [1024, 1025])
def test_the_step_is_cut_where_flat_directions_are_many(n):
    theta, step = jnp.full(n, 2.0), jnp.full(n, 1.0)
    reach = np.sqrt(EPS) * (1 + 2 * np.sqrt(n))
    length = np.sqrt(n) if n == 1024 else reach
    np.testing.assert_allclose(jnp.linalg.norm(evidence._cut(step, theta)), length, rtol=1e-12)
    np.testing.assert_allclose(evidence._cut(step * 1e-12, theta), step * 1e-12, rtol=1e-12)
    assert (evidence._cut(0 * step, theta) == 0).all()


RANK_8 = np.r_[np.arange(1.0, 9), np.zeros(N - 8)]
SETTLED = {  # curvature, its band, how many signs are certain, and whether the first look settles it
    "opposite signs": (np.r_[-1.0, np.ones(N - 1)], 1e-9, (4, 1), True),
    "all positive": (np.ones(N), 1e-9, (N, 0), True),
    "all negative": (-np.ones(N), 1e-9, (0, N), True),
    "rank 8, positive": (RANK_8, 1e-12, (8, 0), False),
    "rank 8, negative": (-RANK_8, 1e-12, (0, 8), False),
    "within the band": (np.r_[-1.0, np.ones(N - 1)], 1.1, (0, 0), False),
}


@pytest.mark.parametrize("case", SETTLED, ids=SETTLED)
def test_it_ends_at_the_first_look_that_settles_it_or_with_the_last_product(case):
    bends, band, seen, first = SETTLED[case]
    none = jnp.zeros(N)
    found = without_matrix(none, jnp.asarray(bends), none, 1.0, band)[0]
    assert bool(found.settled) == first
    assert found.products == (5 + 4 if first else 24)
    assert (found.positive, found.negative) == seen
