"""Verdicts modulo symmetry: kinds, flat and unexplained directions, by the matrix and without it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian
from gdlab.problems import linear_autoencoder, linear_autoencoder_points
from hessian import symmetry
from hessian.symmetry.declared import declare
from hessian.symmetry.slices import Slice, across, orbit_at

pytestmark = pytest.mark.full
SPACE = symmetry.euclidean(3)


def lecture(w):
    return (1 - w[0] * w[1]) ** 2


def hat(w):
    return (w @ w - 1) ** 2


def bent(x, stiffness=1.0):
    """Three atoms on springs; at rest on a line, where `stiffness` > 0 keeps them."""
    x = x.reshape(3, -1)
    lengths = jnp.linalg.norm(x[1:] - x[:-1], axis=1)
    return jnp.sum((lengths - 1) ** 2) + stiffness * jnp.sum((x[0] - 2 * x[1] + x[2]) ** 2)


def clusters(x):
    i, j = np.triu_indices(x.size // 3, 1)
    x = x.reshape(-1, 3)
    s = jnp.sum((x[i] - x[j]) ** 2, axis=1) ** -3
    return 4 * jnp.sum(s * s - s)


LINE = jnp.array([0.0, 0, 0, 1, 0, 0, 2, 0, 0])
TURN = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
TILTED = jnp.asarray((np.asarray(LINE).reshape(3, 3) @ TURN + [3.0, -1, 2]).ravel())
TRIANGLE = jnp.array([0, 0, 0, 1, 0, 0, 0.5, 3**0.5 / 2, 0]) * 2 ** (1 / 6)
ROW = jnp.array([0.0, 0, 0, 1.1203, 0, 0, 2.2406, 0, 0])  # near the saddle of three atoms on a line


CASES = {  # loss, point, symmetries, kind, index, flat, unexplained
    "valley of the lecture": (lecture, (1, 1), symmetry.rescale(0, 1), "minimum", 0, 1, 0),
    "valley, another place": (lecture, (-4, -0.25), symmetry.rescale(0, 1), "minimum", 0, 1, 0),
    "saddle of the lecture": (lecture, (0, 0), symmetry.rescale(0, 1), "saddle", 1, 0, 0),
    "on the slope": (lecture, (1, 2), symmetry.rescale(0, 1), "not critical", 0, 1, 0),
    "hat, its circle": (hat, (0.6, 0.8), symmetry.rotations(2), "minimum", 0, 1, 0),
    "hat, its center": (hat, (0, 0), symmetry.rotations(2), "maximum", 2, 0, 0),
    "hat, beside its circle": (hat, (0.6, 0.8 + 1e-9), symmetry.rotations(2), "minimum", 0, 1, 0),
    "a circle of maxima": (lambda w: -hat(w), (0.6, 0.8), symmetry.rotations(2), "maximum", 1, 1, 0),
    "a line of saddles": (
        lambda w: (w[0] - w[1]) ** 2 - w[2] ** 2,
        (1, 1, 0),
        lambda w: jnp.array([1.0, 1, 0]),
        "saddle",
        1,
        1,
        0,
    ),
    "a constant": (lambda w: 0 * jnp.sum(w), (1, 2), symmetry.translations(2), "minimum", 0, 2, 0),
    "three atoms on a line": (bent, LINE, SPACE, "minimum", 0, 5, 0),
    "on a tilted line": (bent, TILTED, SPACE, "minimum", 0, 5, 0),
    "bent without a force": (lambda x: bent(x, 0.0), TILTED, SPACE, "degenerate", 0, 5, 2),
    "in a plane": (bent, (0, 0, 1, 0, 2, 0), symmetry.euclidean(2), "minimum", 0, 3, 0),
    "half of it declared": (bent, TILTED, symmetry.translations(3), "degenerate", 0, 3, 2),
    "three atoms in a triangle": (clusters, TRIANGLE, SPACE, "minimum", 0, 6, 0),
    "an accident": (lambda w: hat(w[:2]) + w[2] ** 4, (0.6, 0.8, 0), lambda w: jnp.array([-w[1], w[0], 0]), *(
        "degenerate", 0, 1, 1)),
}  # fmt: skip


BOTH = [(case, "dense") for case in CASES] + [(case, "lanczos") for case in list(CASES)[::3]]


@pytest.mark.parametrize(("case", "method"), BOTH)
def test_kind_and_directions_modulo_symmetry(case, method):
    loss, point, symmetries, kind, index, flat, unexplained = CASES[case]
    found = hessian.classify(loss, jnp.asarray(point, float), symmetries=symmetries, method=method)
    if method == "lanczos" and kind == "degenerate":
        assert found.kind in ("degenerate", "undetermined")  # products need not see every zero
        return
    assert (found.kind, int(found.index), int(found.flat)) == (kind, index, flat)
    if method == "dense":
        assert int(found.unexplained) == unexplained
        assert int(found.nullity) == flat + unexplained
        assert f"modulo {flat} direction" in found.certificate or not flat
    critical = kind in ("minimum", "maximum", "saddle") and not int(found.unexplained)
    assert int(found.manifold_dimension) == (flat if critical else -1)
    rank = sum(map(int, found.inertia)) - int(found.nullity)
    np.testing.assert_equal(float(found.learning_coefficient), rank / 2 if kind == "minimum" else np.nan)


def test_the_volume_beside_a_minimum_shrinks_like_the_learning_coefficient_says():
    point = hessian.classify(hat, jnp.array([1.0, 0.0]), symmetries=symmetry.rotations(2))
    w = np.random.default_rng(0).uniform(-1.5, 1.5, (4_000_000, 2))
    values = np.asarray(jax.vmap(hat)(jnp.asarray(w)))
    small, large = (np.mean(values < e) for e in (1e-4, 1e-2))
    assert np.log(large / small) / np.log(100) == pytest.approx(float(point.learning_coefficient), abs=0.02)


def test_the_slice_has_the_spectrum_across_the_orbit_and_its_ends_are_those():
    rng = np.random.default_rng(1)
    for n, d in ((5, 0), (5, 1), (9, 6), (4, 4)):
        flat = np.linalg.qr(rng.normal(size=(n, n)))[0][:d]
        h = rng.normal(size=(n, n))
        p = np.eye(n) - flat.T @ flat
        orbit = orbit_at(declare(lambda x: x * 0, jnp.zeros(n)), jnp.zeros(n))
        orbit = orbit._replace(flat=jnp.asarray(flat), dimension=jnp.int32(d))
        matrix = p @ (h + h.T) @ p
        values, basis = across(jnp.asarray(matrix), orbit)
        np.testing.assert_allclose(basis @ np.diag(values) @ basis.T, matrix, atol=1e-12)
        np.testing.assert_array_equal(values[n - d :], 0)
        assert np.all(np.diff(values[: n - d]) >= 0)
        np.testing.assert_allclose(flat @ basis[:, : n - d], 0, atol=1e-12)


def test_a_wrong_symmetry_is_refused_and_inside_jit_it_makes_undetermined():
    wrong = symmetry.translations(2)
    for call in (hessian.classify, hessian.escape, hessian.find_minimum, hessian.connect):
        with pytest.raises(ValueError, match="symmetries must leave the loss as it is; along generator"):
            call(lecture, jnp.zeros(2), symmetries=wrong)
    found = jax.jit(lambda w: hessian.classify(lecture, w, symmetries=wrong))(jnp.ones(2))
    assert found.kind == "undetermined"
    assert found.confidence == 0
    assert "a declared symmetry does not hold" in found.certificate
    assert not jax.jit(lambda w: hessian.find_minimum(lecture, w, symmetries=wrong))(jnp.ones(2)).converged


def test_many_points_at_once_have_each_their_own_rank():
    points = jnp.stack([LINE, TILTED, jnp.roll(TRIANGLE, 3)])
    found = jax.jit(jax.vmap(lambda x: hessian.classify(bent, x, symmetries=SPACE)))(points)
    np.testing.assert_array_equal(found.flat, [5, 5, 6])
    np.testing.assert_array_equal(found.kind, ["minimum", "minimum", "not critical"])


def test_every_critical_set_of_the_autoencoder_has_its_exact_dimension():
    known = linear_autoencoder_points()
    layers = {"decoder": jnp.zeros((6, 2)), "encoder": jnp.zeros((2, 6))}
    units = symmetry.raveled(layers, symmetry.linear("decoder", "encoder"))
    points = jnp.array([point.x for point in known])
    found = jax.jit(jax.vmap(lambda x: hessian.classify(linear_autoencoder, x, symmetries=units)))(points)
    rank = np.array([np.linalg.matrix_rank(np.asarray(x[:12]).reshape(6, 2)) for x in points])
    np.testing.assert_array_equal(found.index, [point.index for point in known])
    np.testing.assert_array_equal(found.manifold_dimension, rank**2 + 2 * rank * (2 - rank))  # that of GL(2) x
    assert sorted(set(found.kind)) == ["minimum", "saddle"]


def test_escape_find_minimum_and_connect_go_across_orbits():
    row = hessian.find_critical_points(clusters, ROW[None], index=2, method="eigenvector_following").params[0]
    saddle = hessian.classify(clusters, row, symmetries=SPACE)
    assert (saddle.kind, int(saddle.index), int(saddle.flat), int(saddle.unexplained)) == ("saddle", 2, 5, 0)
    way = hessian.escape(clusters, row, symmetries=SPACE)
    np.testing.assert_allclose(orbit_at(declare(SPACE, row), row).flat @ way.direction, 0, atol=1e-9)
    assert way.loss_after < way.loss_before
    end = hessian.find_minimum(clusters, row, symmetries=SPACE)
    assert end.reason.startswith("a minimum")
    assert float(end.loss) == pytest.approx(-3, abs=1e-9)
    assert (int(end.point.flat), int(end.point.unexplained)) == (6, 0)
    plain = hessian.find_minimum(clusters, row)
    assert plain.reason.startswith("a degenerate")
    np.testing.assert_array_equal(plain.loss, end.loss)

    def two_hats(w):
        return (w @ w - 1) ** 2 * (w @ w - 4) ** 2

    ring = float(np.sqrt(2.5))
    ways = hessian.connect(two_hats, jnp.array([ring, 0.0]), symmetries=symmetry.rotations(2))
    np.testing.assert_allclose(sorted(np.linalg.norm(ways.ends.params, axis=1)), [1, 2], atol=1e-6)
    np.testing.assert_array_equal(ways.ends.point.kind, ["minimum", "minimum"])


def test_without_symmetries_nothing_changes_and_equal_declarations_are_traced_once():
    count = []

    def loss(w):
        count.append(1)
        return lecture(w)

    def same(a, b):
        jax.tree.map(np.testing.assert_array_equal, a, b)

    plain = hessian.classify(loss, jnp.ones(2))
    same(plain, hessian.classify(loss, jnp.ones(2), symmetries=None))
    hessian.classify(loss, jnp.ones(2), symmetries=symmetry.rescale(0, 1))
    traced = len(count)
    hessian.classify(loss, 2 * jnp.ones(2), symmetries=symmetry.rescale(0, 1))
    assert len(count) - traced <= 4  # looks at shapes, no new program
    assert declare([symmetry.rescale(0, 1)], jnp.ones(2)) == declare(symmetry.rescale(0, 1), jnp.ones(2))
    assert Slice(lecture) == Slice(lecture)
