"""Axes: their product, their labels, and draws that depend on their seed alone."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
from gdlab.sweeps.axes import Grid, at


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
    "too many points": ({"a": jnp.zeros(2**16), "b": jnp.zeros(2**15)}, "2147483648"),
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


def test_labels_say_what_an_axis_holds():
    keys = gdlab.seeds(2)
    axes = {
        "run": {"lr": jnp.array([0.1, 0.2]), "start": jnp.ones((2, 3)), "seed": keys, "plain": jnp.arange(2)},
        "plain": jnp.array([3.0, 4.0]),
        "pair": (jnp.arange(2), jnp.arange(2)),
        "key": keys,
        "square": jnp.ones((2, 2)),
        "name": ("a", "b"),
        "host": {"x": np.arange(2)},
        "mixed": {"x": jnp.arange(2), "y": "word"},
    }
    grid = Grid(axes)
    labels = {
        name: value[1].tolist() if isinstance(value, tuple) else list(value) for name, value in grid.labels().items()
    }
    assert labels == {
        "run": [0, 1], "lr": [0.1, 0.2], "plain": [3, 4], "pair": [0, 1], "key": [0, 1], "square": [0, 1],
        "name": ["a", "b"], "host": [0, 1], "x": [0, 1], "mixed": ["x", "y"],
    }  # fmt: skip
    assert list(grid.named) == ["name", "mixed"]
    assert grid.labels()["lr"][0] == "run"


def test_an_axis_that_is_none_is_named():
    allowed = "an array or a list of numbers, arrays with one common leading axis, or names, as in {'adam': gdlab.adam}"
    for axis, said in (
        ("word", re.escape(f"axis 'a' must be {allowed}; got 'word'")),
        (["x", 1], re.escape(f"axis 'a' must be {allowed}; got ['x', 1]")),
        (None, re.escape(f"axis 'a' must be {allowed}; got None")),
        ([], "axis 'a' must have at least one value; got none"),
    ):
        with pytest.raises(ValueError, match=f"^{said}"):
            Grid({"a": axis})
    with pytest.raises(ValueError, match=r"^sweep needs at least one axis, given as a keyword argument; got none"):
        Grid({})


def test_a_draw_is_that_of_its_seed_and_reaches_its_bounds():
    unit = np.random.default_rng(7).random((100, 2))
    drawn = gdlab.draws(100, seed=7, a=(2.0, 5.0), b=(0.01, 100, "log"))
    np.testing.assert_allclose(drawn["a"], 2 + 3 * unit[:, 0], rtol=1e-14)
    np.testing.assert_allclose(np.log10(drawn["b"]), 4 * unit[:, 1] - 2, atol=1e-13)
    for how in ({"quasi": True}, {"quasi": False}):
        same = gdlab.draws(9, x=(0, 1), **how)["x"]
        assert same.tolist() == gdlab.draws(9, seed=0, x=(0, 1), **how)["x"].tolist()
        assert same.tolist() != gdlab.draws(9, seed=1, x=(0, 1), **how)["x"].tolist()
    assert gdlab.draws(9, x=(0, 1))["x"].tolist() == gdlab.draws(9, x=(0, 1), quasi=False)["x"].tolist()
    assert gdlab.draws(1, x=(1e-9, 1.0, "log"))["x"].shape == (1,)
    with pytest.raises(ValueError, match=r"^ranges must be at least one, such as"):
        gdlab.draws(3)


@pytest.mark.parametrize("bad", [(1.0, 1.0), (-1.0, 1.0, "log"), (0.0, 1.0, "log", 2), (0.0,), [np.nan, 1.0], 3, "ab"])
def test_what_is_no_range_is_named(bad):
    with pytest.raises(ValueError, match=r'^x must be \(low, high\) or \(low, high, "log"\) with low < high'):
        gdlab.draws(3, x=bad)


def test_seeds_may_be_negative():
    assert jax.random.key_data(gdlab.seeds(1, -(2**63))).shape[0] == 1
    assert (jax.random.key_data(gdlab.seeds(2)) == jax.random.key_data(gdlab.seeds(2, 0))).all()
    for bad in ({"count": 0}, {"count": 1, "seed": -(2**63) - 1}, {"count": 1, "seed": 0.5}):
        with pytest.raises(ValueError, match="must be a whole number"):
            gdlab.seeds(**bad)
