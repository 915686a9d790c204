"""The fields of declared symmetries: closed forms, and finite transformations that leave losses as they are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.linalg import expm

from hessian import symmetry
from hessian.symmetry.declared import declare, refuse_wrong
from hessian.symmetry.generators import Affine
from hessian.symmetry.slices import orbit_at

pytestmark = pytest.mark.full

RNG = np.random.default_rng(0)
NET = {"w1": jnp.asarray(RNG.normal(size=(4, 3))), "b1": jnp.asarray(RNG.normal(size=3)), "w2": jnp.ones((3, 2))}
X, Y = jnp.asarray(RNG.normal(size=(8, 4))), jnp.asarray(RNG.normal(size=(8, 2)))


def of(activation):
    return lambda net: jnp.mean((activation(X @ net["w1"] + net["b1"]) @ net["w2"] - Y) ** 2)


def deep_linear(net):
    return jnp.mean((X @ net["w1"] @ net["w2"] - Y) ** 2)


def penalized(net):
    return deep_linear(net) + jnp.sum(net["w1"] ** 2) + jnp.sum(net["w2"] ** 2)


def springs(x):
    i, j = np.triu_indices(len(x), 1)
    return jnp.sum((jnp.sum((x[i] - x[j]) ** 2, axis=1) - 1) ** 2)


POINTS = jnp.asarray(RNG.normal(size=(5, 3)))
RELU_UNITS = (("w1", "b1"), "w2")
HOLD = {  # loss, params, symmetries, how many directions
    "points in space": (springs, POINTS, symmetry.euclidean(3), 6),
    "points on a line": (springs, POINTS.at[:, 1:].set(0.0), symmetry.euclidean(3), 5),
    "points of a tilted line": (springs, POINTS[:, :1] * jnp.array([1.0, 2, 3]) + 7, symmetry.euclidean(3), 5),
    "one point": (springs, POINTS[:1], symmetry.euclidean(3), 3),
    "a plane": (springs, POINTS[:, :2], symmetry.euclidean(2), 3),
    "far from the origin": (springs, POINTS + 100, symmetry.euclidean(3), 6),
    "declared twice": (springs, POINTS, [symmetry.euclidean(3), symmetry.rotations(3)], 6),
    "raveled": (lambda x: springs(x.reshape(-1, 3)), POINTS.ravel(), symmetry.euclidean(3), 6),
    "in two leaves": (
        lambda p: springs(jnp.concatenate([p["a"], p["b"]])),
        {"a": POINTS[:2], "b": POINTS[2:]},
        symmetry.euclidean(3),
        6,
    ),
    "in one of two leaves": (
        lambda p: p["scale"] * springs(p["x"]),
        {"x": POINTS, "scale": jnp.array(2.0)},
        symmetry.euclidean(3, "x"),
        6,
    ),
    "two weights": (lambda w: (1 - w[0] * w[1]) ** 2, jnp.ones(2), symmetry.rescale(0, 1), 1),
    "two weights at zero": (lambda w: (1 - w[0] * w[1]) ** 2, jnp.zeros(2), symmetry.rescale(0, 1), 0),
    "relu": (of(jax.nn.relu), NET, symmetry.rescale(*RELU_UNITS), 3),
    "rotated units": (penalized, {"w1": NET["w1"], "w2": NET["w2"]}, symmetry.rotate("w1", "w2"), 3),
    "linear": (deep_linear, {"w1": NET["w1"], "w2": NET["w2"]}, symmetry.linear("w1", "w2"), 9),
    "a field of the user's": (lambda w: jnp.cos(w[0] - 2 * w[1]), jnp.ones(2), lambda w: jnp.array([2.0, 1.0]), 1),
    "a circle": (lambda w: (w @ w - 1) ** 2, jnp.array([1.0, 0.0]), symmetry.rotations(2), 1),
    "its center": (lambda w: (w @ w - 1) ** 2, jnp.zeros(2), symmetry.rotations(2), 0),
    "permuted and of either sign": (
        lambda net: jnp.mean((jnp.tanh(X @ net["w1"]) @ net["w2"] - Y) ** 2),
        {"w1": NET["w1"], "w2": NET["w2"]},
        [symmetry.permutations("w1", "w2"), symmetry.signs("w1", "w2")],
        0,
    ),
}


@pytest.mark.parametrize("case", HOLD, ids=HOLD)
def test_what_holds_passes_and_the_point_decides_how_many_directions_it_makes_flat(case):
    loss, params, symmetries, directions = HOLD[case]
    found = declare(symmetries, params)
    assert bool(refuse_wrong(loss, params, (), found))
    orbit = orbit_at(found, params)
    assert int(orbit.dimension) == directions
    gram = orbit.flat @ orbit.flat.T
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-12)
    np.testing.assert_allclose(sorted(np.diag(gram))[-directions:] if directions else [1.0], 1, atol=1e-12)


WRONG = {  # loss, params, symmetries, the words
    "one size": (of(jnp.tanh), NET, symmetry.rescale(*RELU_UNITS), "generator 0 .* of |xi|"),
    "a bias forgotten": (of(jax.nn.relu), NET, symmetry.rescale("w1", "w2"), "generator"),
    "an unequal penalty": (penalized, {"w1": NET["w1"], "w2": NET["w2"]}, symmetry.linear("w1", "w2"), "generator"),
    "a weak field": (lambda x: springs(x) + 1e-9 * jnp.sum(x[:, 0]), POINTS, symmetry.translations(3), "generator 0"),
    "the wrong dimension": (springs, POINTS.reshape(-1)[:12].reshape(4, 3), symmetry.rotations(2), "generator"),
    "signs of relu": (of(jax.nn.relu), NET, symmetry.signs(*RELU_UNITS), "discrete symmetry 0 changes it"),
    "units that differ": (
        lambda net: of(jnp.tanh)(net) + net["w1"][0, 0] ** 2,
        NET,
        symmetry.permutations(*RELU_UNITS),
        "discrete symmetry 0",
    ),
    "nowhere finite": (lambda w: jnp.sum(jnp.sqrt(-(w**2))), jnp.ones(2), symmetry.rotations(2), "not finite"),
}


@pytest.mark.parametrize("case", WRONG, ids=WRONG)
def test_what_does_not_hold_is_refused_with_the_violation(case):
    loss, params, symmetries, words = WRONG[case]
    with pytest.raises(ValueError, match=f"^symmetries must .*{words}"):
        refuse_wrong(loss, params, (), declare(symmetries, params))


MISTAKEN = {
    "no symmetry": (POINTS, "euclidean", TypeError, "symmetries must be one or several of hessian.symmetry"),
    "a class": (POINTS, int, TypeError, "symmetries must be one or several"),
    "another leaf": (NET, symmetry.rescale("w3", "w2"), ValueError, "'b1', 'w1', 'w2'; got 'w3'"),
    "no leaves": (POINTS, symmetry.rescale("w3", "w2"), ValueError, "params is one array; got 'w3'"),
    "an entry beyond": (jnp.ones(2), symmetry.rescale(0, 2), ValueError, "from 0 to 1; got 2"),
    "units of other number": (NET, symmetry.rescale("w2", "w1"), ValueError, r"\[2, 4\]"),
    "no whole points": (jnp.ones(7), symmetry.translations(3), ValueError, "d = 3 coordinates; got 7 values in params"),
    "a field of another shape": (POINTS, lambda x: x[0], ValueError, "symmetries must be like params"),
    "raveled, of another size": (
        jnp.ones(3),
        symmetry.raveled(NET, symmetry.rescale("w1", "w2")),
        ValueError,
        "got 21",
    ),
}


@pytest.mark.parametrize("case", MISTAKEN, ids=MISTAKEN)
def test_a_declaration_that_does_not_fit_says_why(case):
    params, symmetries, error, words = MISTAKEN[case]
    with pytest.raises(error, match=words):
        declare(symmetries, params)


@pytest.mark.parametrize(("name", "value"), [("d", 0), ("d", 2.0), ("part", 1.5), ("a", None), ("b", ())])
def test_the_makers_say_what_they_take(name, value):
    make = {"d": symmetry.translations, "part": lambda p: symmetry.euclidean(3, p)}.get(name)
    make = make or {"a": lambda p: symmetry.linear(p, "w"), "b": lambda p: symmetry.signs("w", p)}[name]
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be"):
        make(value)


def test_a_field_is_the_derivative_of_the_finite_transformation():
    net = {"w1": NET["w1"], "w2": NET["w2"]}
    for moves in (symmetry.rescale("w1", "w2"), symmetry.rotate("w1", "w2"), symmetry.linear("w1", "w2")):
        for element in moves.basis(net):

            def moved(t, element=element):
                return {"w1": net["w1"] @ expm(t * element), "w2": expm(-t * element) @ net["w2"]}

            along = jax.jvp(moved, (0.0,), (1.0,))[1]
            for name, tangent in moves.field(net, jnp.asarray(element)).items():
                np.testing.assert_allclose(tangent, along[name], atol=1e-12)


def test_raveled_moves_one_array_as_the_tree():
    net = {"w1": NET["w1"], "w2": NET["w2"]}
    theta, unravel = jax.flatten_util.ravel_pytree(net)
    moves = symmetry.raveled(net, symmetry.linear("w1", "w2"))
    np.testing.assert_allclose(moves.fields(theta), symmetry.linear("w1", "w2").fields(net))
    assert bool(refuse_wrong(lambda x: deep_linear(unravel(x)), theta, (), declare(moves, theta)))


def test_the_nearest_copy_undoes_what_was_permuted_and_turned():
    net = {"w1": NET["w1"], "w2": jnp.asarray(RNG.normal(size=(3, 2)))}
    units, sides = symmetry.permutations("w1", "w2"), symmetry.signs("w1", "w2")
    for seed in range(3):
        for moves in (units, sides):
            back = moves.nearest(moves.image(net, jax.random.key(seed)), net)
            for name, leaf in net.items():
                np.testing.assert_allclose(back[name], leaf)


def test_detection_suggests_what_a_loss_has_and_nothing_else():
    for loss, params, count in (
        (lambda w: (1 - w[0] * w[1]) ** 2, jnp.ones(2), 1),
        (lambda x: springs(x) + jnp.sum((x[0] - x[1]) ** 2) ** 3, POINTS[:3, :2], 3),
        (lambda w: jnp.cos(w[0] - 2 * w[1]), jnp.ones(3), 2),
        (lambda w: 1e-6 * (1 - w[0] * w[1]) ** 2, jnp.ones(2), 1),
        (lambda w: w[0] ** 4 + 2 * w[1] ** 2 + w[0] * w[1], jnp.ones(2), 0),
    ):
        found = symmetry.detect(loss, params)
        assert len(found) == count
        assert str(found).startswith(f"{count} generators")
        if count:
            assert bool(refuse_wrong(loss, params, (), declare(found, params)))
    with pytest.raises(ValueError, match=r"at most 40 values.*got 41"):
        symmetry.detect(lambda w: w @ w, jnp.ones(41))
    with pytest.raises(ValueError, match="loss must have a gradient, finite and not zero"):
        symmetry.detect(lambda w: 0 * jnp.sum(w), jnp.ones(2))


def test_a_field_is_called_by_its_largest_part_to_a_millionth():
    turn = np.array([[0.0, 2.0], [-2.0, 0.0]])
    for matrix, shift, kind in (
        (turn, (5.0, 0.0), "a rotation"),
        (turn + np.diag([0.99e-6, 0]), (0.0, 0.0), "a rotation"),  # m + m' has twice of it, of a largest entry of 2
        (turn + np.diag([1.01e-6, 0]), (0.0, 0.0), "a linear map"),
        (4.9e-7 * turn, (0.0, 1.0), "a shift"),
        (5.1e-7 * turn, (0.0, 1.0), "a rotation"),
        (np.eye(2), (0.0, -3.0), "a linear map"),
    ):
        found = Affine(matrix[None], np.array([shift]))
        assert str(found).splitlines() == ["1 generators x -> A x + b, suggested and not proved", f"  {kind}"]
