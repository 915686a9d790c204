"""How many copies a point has: against the orders of known point groups, and against copies that are listed."""

import itertools
from math import factorial

import numpy as np
import pytest

from hessian import symmetry
from hessian.symmetry.declared import declare
from hessian.symmetry.multiplicity import multiplicity

CUBE = np.array(list(itertools.product([-1.0, 1.0], repeat=3)))
TETRAHEDRON = CUBE[CUBE.prod(axis=1) > 0]
SQUARE = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
TRIANGLE = np.array([[np.cos(t), np.sin(t)] for t in np.arange(3) * 2 * np.pi / 3])
LINE = np.array([[-1.0, 0, 0], [0, 0, 0], [1.0, 0, 0]])
GOLD = (1 + 5**0.5) / 2
ICOSAHEDRON = np.array([np.roll([0, a, b * GOLD], k) for k in range(3) for a in (-1, 1) for b in (-1, 1)])
ANY = np.random.default_rng(0).normal(size=(5, 3))


def flat(x):
    return np.pad(x, ((0, 0), (0, 1)))


# 2 N! over the order of the point group; of what lies in a plane each permutation comes with the mirror and without.
ATOMS = {
    "no symmetry": (ANY, None, 2 * factorial(5)),
    "tetrahedron": (TETRAHEDRON, None, 2),
    "cube": (CUBE, None, 2 * factorial(8) // 48),
    "icosahedron with its center": (np.pad(ICOSAHEDRON, ((0, 1), (0, 0))), None, 2 * factorial(13) // 120),
    "square in space": (flat(SQUARE), None, 3),
    "square in the plane": (SQUARE, None, 6),
    "triangle in space": (flat(TRIANGLE), None, 1),
    "line": (LINE, None, 3),
    "line of two kinds": (LINE, "ABA", 1),
    "all kinds differ": (ANY, "ABCDE", 2),
    "methane": (np.pad(TETRAHEDRON, ((0, 1), (0, 0))), "HHHHC", 2),
    "two at one place": (np.vstack([ANY, ANY[:1]]), None, factorial(6)),
    "one atom": (ANY[:1], None, 1),
}


@pytest.mark.parametrize("name", ATOMS)
def test_copies_of_atoms_are_counted_by_the_point_group(name):
    x, kinds, expected = ATOMS[name]
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(x.shape[1],) * 2))[0]
    x = x @ rotation + 3.0
    declared = declare(symmetry.atoms(x.shape[1], None if kinds is None else list(kinds)), x)
    assert multiplicity(declared, x, x.ravel(), 1e-9) == expected


COLUMNS = {
    "different": [[1, 2], [3, 1], [0, 4]],
    "two the same": [[1, 2], [1, 2], [0, 4]],
    "two the same but for their sign": [[1, 2], [-1, -2], [0, 4]],
    "one without effect": [[1, 2], [0, 0], [0, 4]],
    "two without effect": [[1, 2], [0, 0], [0, 0]],
}
OF_UNITS = {
    "permutations": [symmetry.permutations("a", "b")],
    "signs": [symmetry.signs("a", "b")],
    "both": [symmetry.permutations("a", "b"), symmetry.signs("a", "b")],
}


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("group", OF_UNITS)
def test_copies_of_hidden_units_are_as_many_as_can_be_listed(group, name):
    columns = np.array(COLUMNS[name], float)
    orders = itertools.permutations(range(3)) if group != "signs" else [(0, 1, 2)]
    sides = list(itertools.product([1, -1], repeat=3)) if group != "permutations" else [(1, 1, 1)]
    listed = {
        tuple((columns[list(order)] * np.array(side)[:, None] + 0.0).ravel()) for order in orders for side in sides
    }
    params = {"a": columns[:, :1].T, "b": columns[:, 1:]}
    theta = np.concatenate([params["a"].ravel(), params["b"].ravel()])
    assert multiplicity(declare(OF_UNITS[group], params), params, theta, 1e-9) == len(listed)


def test_copies_are_not_counted_where_two_layers_share_a_weight_or_units_are_rescaled():
    params = {"a": np.ones((1, 2)), "b": np.ones((2, 2)), "c": np.ones((2, 1))}
    both = [symmetry.permutations("a", "b"), symmetry.permutations("b", "c")]
    assert multiplicity(declare(both, params), params, np.ones(8), 1e-9) is None
    rescaled = [symmetry.permutations("a", "b"), symmetry.rescale("a", "b")]
    assert multiplicity(declare(rescaled, params), params, np.ones(8), 1e-9) is None
    assert multiplicity(declare(symmetry.rescale("a", "b"), params), params, np.ones(8), 1e-9) == 1
