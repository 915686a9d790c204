"""Points that may be moved, turned, mirrored and exchanged: what is congruent is found, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian import symmetry
from hessian.symmetry.alignment import same_orbit
from hessian.symmetry.declared import declare, refuse_wrong

RNG = np.random.default_rng(5)
SHAPES = {
    "five in space": RNG.normal(size=(5, 3)),
    "an octahedron": np.concatenate([np.eye(3), -np.eye(3)]),
    "four in a plane of space": np.column_stack([RNG.normal(size=(4, 2)), np.zeros(4)]),
    "three on a line of space": np.outer([-1.0, 0.3, 0.9], [1.0, 2.0, -1.0]),
    "four in the plane": RNG.normal(size=(4, 2)),
    "one": np.ones((1, 3)),
}


def turned(x, sign, rng):
    q, r = np.linalg.qr(rng.normal(size=(x.shape[1], x.shape[1])))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= sign * np.sign(np.linalg.det(q))
    return (x @ q.T + rng.normal(size=x.shape[1]))[rng.permutation(len(x))]


def alike(symmetries, x, y, within=1e-6):
    symmetries = declare(symmetries, jnp.asarray(x))
    return same_orbit(symmetries, jnp.asarray(x), x.ravel()[None], y.ravel(), within).tolist() == [True]


@pytest.mark.parametrize("name", SHAPES)
def test_moved_turned_mirrored_and_exchanged_points_are_one_orbit_and_others_are_not(name):
    x, d = SHAPES[name], SHAPES[name].shape[1]
    for seed, sign in ((0, 1), (1, -1), (2, 1), (3, -1)):
        y = turned(x, sign, np.random.default_rng(seed))
        assert alike(symmetry.atoms(d), y, x)
        if len(x) > 1:
            assert not alike(symmetry.atoms(d), y + 1e-4 * RNG.normal(size=y.shape), x)


def test_a_hand_is_no_mirror_image_of_itself_by_turning():
    x = SHAPES["five in space"]
    mirrored = turned(x, -1, np.random.default_rng(4))
    assert not alike([symmetry.euclidean(3), symmetry.identical(3)], mirrored, x)
    assert alike([symmetry.euclidean(3), symmetry.identical(3), symmetry.reflections(3)], mirrored, x)


def test_atoms_of_two_kinds_do_not_change_places():
    x = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    swapped = x[[1, 0, 2]]
    assert alike(symmetry.atoms(2), swapped, x)
    assert alike(symmetry.atoms(2, ["A", "A", "B"]), swapped, x)
    assert not alike(symmetry.atoms(2, ["A", "B", "A"]), swapped, x)


def test_without_rotations_only_the_places_change():
    x = SHAPES["four in the plane"]
    assert alike(symmetry.identical(2), x[[2, 0, 3, 1]], x)
    assert not alike(symmetry.identical(2), turned(x, 1, RNG), x)


def test_a_mirror_alone_turns_the_first_coordinate_and_no_other():
    x = SHAPES["four in the plane"]
    assert alike(symmetry.reflections(2), x * [-1, 1], x)
    assert not alike(symmetry.reflections(2), x * [1, -1], x)
    declared = declare(symmetry.reflections(2), jnp.asarray(x))
    assert refuse_wrong(lambda x: jnp.sum(x[:, 0] ** 2 + x[:, 1] ** 3), jnp.asarray(x), (), declared)
    with pytest.raises(ValueError, match="discrete symmetry 0 changes it"):
        refuse_wrong(lambda x: jnp.sum(x[:, 0] ** 3 + x[:, 1] ** 2), jnp.asarray(x), (), declared)


def test_an_exchange_that_changes_the_loss_is_refused():
    def two_kinds(x):
        return jnp.sum(x[0] ** 2) + 2 * jnp.sum(x[1] ** 2)

    x = jnp.ones((2, 2))
    with pytest.raises(ValueError, match="discrete symmetry 0 changes it"):
        refuse_wrong(two_kinds, x, (), declare(symmetry.identical(2), x))
    assert refuse_wrong(two_kinds, x, (), declare(symmetry.reflections(2), x))


def test_points_that_are_none_are_refused():
    with pytest.raises(ValueError, match="points of d = 3 coordinates"):
        declare(symmetry.identical(3), jnp.ones(4))
    with pytest.raises(ValueError, match="one kind for each of the 2 points"):
        declare(symmetry.identical(2, ["AAB"]), jnp.ones(4)).discrete[0].image(jnp.ones(4), jax.random.key(0))
    with pytest.raises(TypeError, match="kinds must be a sequence"):
        symmetry.identical(2, "AAB")
