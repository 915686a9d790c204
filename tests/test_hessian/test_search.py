"""Every known critical point is found from random starts, each once, with its index; traps are not listed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian
from gdlab.problems import linear_autoencoder, linear_autoencoder_points, styblinski_tang, surface

COUNTS = {"six_hump_camel": (200, 15), "mueller_brown": (300, 5)}


@pytest.mark.parametrize(("name", "count"), COUNTS.items(), ids=COUNTS)
def test_every_known_point_is_found_once_with_its_index(name, count):
    entry, (starts, known) = surface(name), count
    low, high = np.array(entry.box).T
    found = hessian.find_critical_points(
        entry.loss, np.random.default_rng(0).uniform(low, high, size=(starts, entry.dim))
    )
    assert len(found.loss) == known
    distances = np.linalg.norm(
        np.asarray(found.params) - np.array([p.x for p in entry.critical_points])[:, None], axis=2
    )
    np.testing.assert_array_less(distances.min(axis=1), 1e-8)
    np.testing.assert_array_equal(found.index[distances.argmin(axis=1)], [p.index for p in entry.critical_points])
    assert found.euler_characteristic == 1
    assert found.found.sum() == np.sum(found.ended == 0)
    assert len(str(found).splitlines()) == known + 2


def test_three_to_the_power_of_the_dimension():
    starts = np.random.default_rng(0).uniform(-5, 5, size=(1000, 4))
    found = hessian.find_critical_points(styblinski_tang, starts)
    assert len(found.loss) == 81
    assert np.bincount(found.index).tolist() == [16, 32, 24, 8, 1]
    assert found.euler_characteristic == 1


def test_the_families_of_the_autoencoder():
    starts = 0.5 * np.random.default_rng(1).normal(size=(60, 24))
    found = hessian.find_critical_points(linear_autoencoder, starts)
    known = {(round(p.value, 6), p.index) for p in linear_autoencoder_points()}
    seen = set(zip(found.loss.round(6).tolist(), found.index.tolist(), strict=True))
    assert seen <= known
    assert len(seen) == found.families >= 10
    assert found.euler_characteristic is None


@pytest.mark.parametrize(("method", "index", "count"), [("eigenvector_following", 2, 1), ("gentlest_ascent", 1, 4)])
def test_saddles_of_a_given_index(method, index, count):
    entry = surface("styblinski_tang_2d")
    starts = np.random.default_rng(2).uniform(-3, 3, size=(40, 2))
    found = hessian.find_critical_points(entry.loss, starts, method=method, index=index)
    assert set(found.index.tolist()) == {index}
    assert len(found.loss) == count


def test_newton_mr_finds_them_too():
    starts = np.random.default_rng(0).uniform(-5, 5, size=(150, 2))
    assert len(hessian.find_critical_points(surface("himmelblau").loss, starts, method="newton_mr").loss) == 9


def test_where_the_gradient_is_flat_or_not_finite_nothing_is_critical():
    starts = jnp.array([[0.5, 0.3], [jnp.nan, 0.3]])
    found = hessian.find_critical_points(lambda x: x[0] ** 3 / 3 + x[0] + x[1] ** 2, starts)
    assert len(found.loss) == 0  # g = 1 + x^2 is never 0, but H g = 0 at 0
    flat, unknown = (hessian.search.REASONS[reason] for reason in found.ended)
    assert flat.startswith("gradient flat")
    assert unknown == "not finite"
    assert found.reached.tolist() == [-1, -1]


def test_trees_and_data_go_through():
    def loss(params, target):
        return (params["a"] * params["b"] - target) ** 2 + 0.1 * (params["a"] ** 2 + params["b"] ** 2)

    starts = {"a": jnp.linspace(-2, 2, 9), "b": jnp.linspace(-1, 2, 9)}
    found = hessian.find_critical_points(loss, starts, 1.0)
    assert found.kind.tolist() == ["minimum", "minimum", "saddle"]
    np.testing.assert_allclose(jnp.sort(found.params["a"]), [-np.sqrt(0.9), 0, np.sqrt(0.9)], atol=1e-9)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"method must be 'levenberg_marquardt', .*; got 'newton'"):
        hessian.find_critical_points(jnp.sum, jnp.zeros((2, 2)), method="newton")
    with pytest.raises(ValueError, match="index must be a whole number, from 0 to 2; got 3"):
        hessian.find_critical_points(jnp.sum, jnp.zeros((2, 2)), index=3)


def test_a_saddle_joins_the_minima_on_both_sides():
    entry = surface("mueller_brown")
    minima = np.array([p.x for p in entry.critical_points if p.index == 0])
    saddles = jnp.array([p.x for p in entry.critical_points if p.index == 1])
    ends = jax.vmap(lambda x: hessian.connect(entry.loss, x))(saddles).arrival
    assert ends.arrived.all()
    distances = np.linalg.norm(np.asarray(ends.params)[:, :, None] - minima, axis=-1)
    np.testing.assert_array_less(distances.min(axis=-1), 1e-6)
    joined = [set(pair) for pair in distances.argmin(axis=-1).tolist()]
    assert joined == [{1, 2}, {0, 2}]  # the lowest and the highest minimum meet only through the third
