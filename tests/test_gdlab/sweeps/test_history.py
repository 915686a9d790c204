"""Histories among results: the steps of their rows, their labels, and the last value of runs that ended early."""

import types

import numpy as np
import pytest
import xarray

from gdlab.sweeps.history import REASONS, dataset_of, rows_of, settled, steps_of

ROWS = {"every": 2, "begun": ["begun"], "rows": 3, "dims": {}}


@pytest.mark.parametrize(
    ("change", "chunks", "steps"),
    [
        ({}, [{"begun:0": [0, 0]}], [0, 2, 4]),
        ({}, [{"begun:0": [3, 3]}], [4, 6, 8]),  # the first step that is a multiple of two from there on
        ({}, [{"begun:0": [4]}, {"begun:1": [4], "loss:0": [7]}], [4, 6, 8]),
        ({"every": 1, "rows": 2}, [{"begun:0": 3}], [3, 4]),
        ({}, [{"begun:0": [3, 4]}], None),
        ({}, [{"begun:0": [3]}, {"begun:0": [4]}], None),
        ({"begun": [""]}, [{"begun:0": [3]}], [0, 2, 4]),  # a run that is no result of its own
        ({"begun": ["", "begun"]}, [{"begun:0": [3]}], None),
        ({"begun": ["", "begun"]}, [{"begun:0": [0]}], [0, 2, 4]),
        ({"every": None}, [{"begun:0": [0]}], None),
        ({}, [], [0, 2, 4]),
    ],
)
def test_rows_are_the_steps_from_where_all_runs_begin(change, chunks, steps):
    arrays = [{name: np.array(values) for name, values in chunk.items()} for chunk in chunks]
    found = steps_of({**ROWS, **change}, arrays)
    assert {name: values.tolist() for name, values in found.items()} == ({} if steps is None else {"step": steps})


def run(rows, every=1, begun=None, **more):
    history = {"loss": np.zeros(rows), **{name: np.zeros((rows, *shape)) for name, shape in more.items()}}
    return types.SimpleNamespace(params=0.0, history=history, every=every, begun=begun)


NONE = {"dims": {}, "every": None, "begun": [], "rows": 0}


def test_rows_of_runs_are_named_where_all_runs_have_as_many():
    one = rows_of([run(3, 2, w=(4,))], [])
    assert (one["every"], one["rows"], one["begun"]) == (2, 3, [""])
    assert sorted(one["dims"]) == ["history.loss", "history.w"] and set(map(tuple, one["dims"].values())) == {("step",)}
    assert rows_of([run(3), run(4)], []) == NONE
    assert rows_of([run(3)], ["step"]) == NONE
    assert rows_of([np.zeros(3)], []) == NONE
    assert rows_of([run(3, begun=np.zeros(2))], []) == NONE  # many runs side by side
    mixed = rows_of([{"a": run(3, 1, np.zeros(())), "b": run(3, 2)}], [])
    assert (mixed["every"], mixed["rows"], mixed["begun"]) == (None, 3, ["", "a.begun"])


def test_a_recorded_array_has_a_dim_for_each_of_its_axes_behind_those_of_the_runs():
    history = {"loss": np.zeros((2, 3)), "w": {"a": np.ones((2, 3, 4, 5))}}
    found = dataset_of(history, ("run", "step"), np.array([0, 2, 4]), {"note": 1})
    assert found["loss"].dims == ("run", "step") and found["w.a"].dims == ("run", "step", "w.a_0", "w.a_1")
    assert found["w.a"].shape == (2, 3, 4, 5) and found["step"].values.tolist() == [0, 2, 4]
    assert found.attrs == {"note": 1}


NAN = np.nan
CURVES = np.array([[4.0, 2.0, NAN, NAN], [4.0, 3.0, NAN, 1.0], [9.0, 8.0, NAN, NAN], [NAN, 5.0, NAN, NAN]])


def test_only_runs_that_ended_at_a_finite_loss_keep_their_last_value():
    kept = [[4, 2, 2, 2], [4, 3, 3, 1], [9, 8, 8, 8], [NAN, 5, 5, 5]]
    for reason, is_kept in zip(REASONS, (False, False, True, True, False), strict=True):
        data = xarray.Dataset({
            "history.loss": (("run", "step"), CURVES), "reason": ("run", np.full(4, REASONS.index(reason))),
        })  # fmt: skip
        np.testing.assert_array_equal(settled(data, "history.loss", "step"), kept if is_kept else CURVES)
    one, many = CURVES[1], np.stack([CURVES[:2], CURVES[2:]])
    for curves, dims, expected in ((one, (), kept[1]), (many, ("a", "b"), [kept[:2], kept[2:]])):
        reasons = (dims, np.full(curves.shape[:-1], 2))
        alone = xarray.Dataset({"history.loss": ((*dims, "step"), curves), "reason": reasons})
        np.testing.assert_array_equal(settled(alone, "history.loss", "step"), expected)
    data["reason"] = ("run", [2, 0, 4, 3])
    found = settled(data.transpose("step", "run"), "history.loss", "step")
    np.testing.assert_array_equal(found.transpose("run", "step"), [kept[0], CURVES[1], CURVES[2], kept[3]])


def test_what_is_no_history_of_a_run_stays_as_it_is():
    reason = ("run", np.full(4, 2))
    for names, name, step in (
        ({"loss": (("run", "step"), CURVES), "reason": reason}, "loss", "step"),
        ({"history.loss": (("run", "step"), CURVES)}, "history.loss", "step"),
        ({"a.history.loss": (("run", "step"), CURVES), "reason": reason}, "a.history.loss", "step"),
        ({"history.loss": (("run", "step"), CURVES), "reason": reason}, "history.loss", "time"),
    ):
        data = xarray.Dataset(names)
        assert settled(data, name, step).identical(data[name])
    whole = xarray.Dataset({"a.history.loss": (("run", "step"), CURVES), "a.reason": reason})
    assert not settled(whole, "a.history.loss", "step")[0].isnull().any()
