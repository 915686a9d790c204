"""Orbits are listed once: circles, clusters, permuted units; what lies on two orbits stays two."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian
from hessian import symmetry
from hessian.symmetry.alignment import aligned
from hessian.symmetry.declared import declare

pytestmark = pytest.mark.full
RNG = np.random.default_rng(0)


def hat(w):
    return (w @ w - 1) ** 2


def two_hats(w):
    return (w @ w - 1) ** 2 * (w @ w - 4) ** 2


def test_a_circle_is_one_point_and_two_circles_of_equal_loss_are_two():
    starts = jnp.asarray(RNG.normal(size=(100, 2)))
    found = hessian.find_critical_points(hat, starts, symmetries=symmetry.rotations(2))
    np.testing.assert_array_equal(found.kind, ["minimum", "maximum"])
    np.testing.assert_array_equal(found.flat, [1, 0])
    np.testing.assert_array_equal(found.nullity, [1, 0])
    np.testing.assert_allclose(np.linalg.norm(found.params, axis=1), [1, 0], atol=1e-7)
    assert found.found.sum() == np.sum(found.reached >= 0)
    np.testing.assert_array_equal(found.found, np.bincount(found.reached[found.reached >= 0]))
    alone = hessian.find_critical_points(hat, starts)
    assert len(alone.loss) > 50  # copies along the circle
    np.testing.assert_array_equal(alone.ended, found.ended)

    found = hessian.find_critical_points(two_hats, 2 * starts, symmetries=symmetry.rotations(2))
    assert sorted(found.kind) == ["maximum", "maximum", "minimum", "minimum"]
    radii = np.sort(np.linalg.norm(found.params, axis=1))
    np.testing.assert_allclose(radii, [0, 1, np.sqrt(2.5), 2], atol=1e-6)


def test_points_are_aligned_whatever_moved_them():
    points = RNG.normal(size=(6, 3))
    rows = []
    for _ in range(6):
        turn = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
        turn *= np.linalg.det(turn)
        rows.append((points @ turn + RNG.normal(size=3)).ravel())
    mirrored = points * [1, 1, -1]
    like, goal = jnp.zeros((6, 3)), points.ravel()
    moved = aligned(declare(symmetry.euclidean(3), like), like, np.stack([*rows, mirrored.ravel()]), goal)
    np.testing.assert_allclose(moved[:-1], np.tile(goal, (6, 1)), atol=1e-7)
    assert np.linalg.norm(moved[-1] - goal) > 0.1  # no rotation makes a left hand a right one


def test_units_that_changed_places_and_signs_are_one_point():
    x, y = jnp.asarray(RNG.normal(size=(12, 2))), jnp.asarray(RNG.normal(size=(12, 1)))

    def loss(net):
        return jnp.mean((jnp.tanh(x @ net["w1"]) @ net["w2"] - y) ** 2) + 0.01 * sum(
            jnp.sum(leaf**2) for leaf in net.values()
        )

    units = [symmetry.permutations("w1", "w2"), symmetry.signs("w1", "w2")]
    net = {"w1": jnp.asarray(RNG.normal(size=(2, 3))), "w2": jnp.asarray(RNG.normal(size=(3, 1)))}
    end = hessian.find_minimum(loss, net).params
    copies = [end]
    for seed in range(5):
        copy = copies[-1]
        for one, key in zip(units, jax.random.split(jax.random.key(seed)), strict=True):
            copy = one.image(copy, key)
        copies.append(copy)
    starts = jax.tree.map(lambda *leaves: jnp.stack(leaves), *copies)
    assert len(hessian.find_critical_points(loss, starts).loss) > 1
    found = hessian.find_critical_points(loss, starts, symmetries=units)
    assert len(found.loss) == 1
    assert found.found[0] == 6


def test_what_is_missing_is_estimated_from_what_was_found_once_and_twice():
    found = hessian.find_critical_points(hat, jnp.array([[1.0, 0], [0, 0.9], [-0.9, 0.1], [0, 0], [0.1, 1.1]]))
    found = found._replace(found=np.array([1, 1, 2, 4]), reached=np.array([2, 3, 0, 3, 1, 3, 2, 3, -1]))
    found = found._replace(loss=np.zeros(4))
    assert found.missing_mass == 2 / 8
    assert found.unseen == 2 * 1 / (2 * (1 + 1))
    assert found.starts_since_new == 9 - 1 - 4
    nothing = found._replace(found=np.zeros(0, int), reached=np.full(3, -1), loss=np.zeros(0))
    assert np.isnan(nothing.missing_mass)
    assert (nothing.unseen, nothing.starts_since_new) == (0, 3)
