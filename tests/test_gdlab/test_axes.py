"""Axes: their product, their labels, and draws that depend on their seed alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
from gdlab.axes import Grid, at


def test_lanes_run_through_the_product_with_the_last_axis_fastest():
    grid = Grid({"a": jnp.arange(3.0), "name": ["x", "y"], "b": jnp.array([[1.0, 2.0], [3.0, 4.0]])})
    assert grid.order == ["a", "name", "b"]
    assert (grid.lanes, grid.shape, grid.cases) == (6, (3, 2), [{"name": "x"}, {"name": "y"}])
    point = at(jnp.int32(3), grid.numeric, tuple(grid.numeric), grid.shape)
    assert float(point["a"]) == 1.0
    np.testing.assert_array_equal(point["b"], [3.0, 4.0])


def test_a_zipped_axis_moves_in_step_and_keeps_its_parts_as_coordinates():
    zipped = {"lr": jnp.array([0.1, 0.2]), "decay": jnp.array([0.5, 0.9])}
    result = gdlab.sweep(lambda run: run["lr"] + 10 * run["decay"], run=zipped)
    np.testing.assert_allclose(result["value"], [5.1, 9.2])
    np.testing.assert_array_equal(result["lr"], [0.1, 0.2])
    assert result["lr"].dims == ("run",)


def test_seeds_are_folded_from_the_number_of_the_run():
    keys = gdlab.seeds(5, seed=3)
    expected = jax.random.fold_in(jax.random.key(3), 4)
    np.testing.assert_array_equal(jax.random.key_data(keys[4]), jax.random.key_data(expected))


@pytest.mark.parametrize("quasi", [False, True])
def test_draws_stay_in_their_ranges_and_repeat(quasi):
    drawn = gdlab.draws(500, seed=1, quasi=quasi, lr=(1e-4, 1.0, "log"), b=(-1.0, 3.0))
    again = gdlab.draws(500, seed=1, quasi=quasi, lr=(1e-4, 1.0, "log"), b=(-1.0, 3.0))
    assert all((drawn[name] == again[name]).all() for name in drawn)
    assert ((drawn["lr"] >= 1e-4) & (drawn["lr"] <= 1)).all()
    assert ((drawn["b"] >= -1) & (drawn["b"] <= 3)).all()
    assert abs(np.log10(drawn["lr"]).mean() + 2) < 0.2  # the middle of the log range
    assert abs(drawn["b"].mean() - 1) < 0.3


def test_a_quasi_random_draw_fills_the_box_more_evenly():
    even = gdlab.draws(256, seed=0, quasi=True, x=(0.0, 1.0))["x"]
    gaps = np.diff(np.sort(np.asarray(even)))
    assert gaps.max() < 4 / 256


BAD = {
    "no axes": ({}, "at least one axis"),
    "an empty axis": ({"a": jnp.zeros(0)}, "'a' must have at least one value"),
    "a scalar": ({"a": jnp.float32(1)}, "axis 'a'"),
    "unequal parts": ({"a": {"x": jnp.zeros(2), "y": jnp.zeros(3)}}, "common leading axis"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_axes_are_one_sentence(name):
    axes, said = BAD[name]
    with pytest.raises(ValueError, match=said):
        Grid(axes)


@pytest.mark.parametrize("bad", [(1.0, 0.0), (0.0, 1.0, "log"), (0.0, 1.0, "linear"), ("a", 1.0), (0.0, np.inf)])
def test_bad_ranges_are_one_sentence(bad):
    with pytest.raises(ValueError, match="x must be"):
        gdlab.draws(3, x=bad)
