"""Datasets of sweeps: every one goes to a file and back, and what could not is refused before anything is computed."""

import datetime
import enum
import io
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import gdlab
from gdlab.sweeps import template


def there_and_back(dataset):
    with xarray.open_dataset(io.BytesIO(bytes(dataset.to_netcdf(engine="h5netcdf"))), engine="h5netcdf") as read:
        return read.load()


class Word(str, enum.Enum):  # noqa: UP042 - the kind of enumeration whose `str` is not its text
    long = "one"
    short = "two"


A = {"a": jnp.arange(3.0)}
RESULTS = {
    "bfloat16": lambda a: a.astype(jnp.bfloat16),
    "float16": lambda a: a.astype(jnp.float16),
    "float8": lambda a: a.astype(jnp.float8_e5m2),
    "complex": lambda a: a * (1 + 2j),
    "truths": lambda a: a > 1,
    "whole numbers": lambda a: {"u": a.astype(jnp.uint8), "i": a.astype(jnp.int16), "small": a.astype(jnp.int4)},
    "no rows": lambda a: {"none": jnp.zeros((0, 2)) + a, "one": a},
    "a number of Python": lambda a: 3,
    "odd names": lambda a: {"é b": a, "x:0": a, "1": {2: a}, "a": a, "NAME": a},
    "flags": lambda a: {"alive": a, "died": a, "done": a},
}


@pytest.mark.parametrize("name", RESULTS)
def test_every_dataset_goes_to_a_file_and_back(name):
    swept = gdlab.sweep(RESULTS[name], **A)
    assert there_and_back(swept).identical(swept)
    for a in range(3):  # as a loop computes it
        for path, leaf in jax.tree_util.tree_leaves_with_path(RESULTS[name](jnp.float64(a))):
            found = ".".join(str(key.key) for key in path) or "value"
            wanted = np.asarray(leaf)
            shown = swept[f"result.{found}" if f"result.{found}" in swept else found]
            np.testing.assert_array_equal(shown[a], wanted.astype(float) if wanted.dtype.kind == "V" else wanted)


AXES = {
    "a list of numbers": ([1e-3, 1e-2], [1e-3, 1e-2]),
    "a list of whole numbers": ((1, 2, 3), [1, 2, 3]),
    "a list of both": ([1, 0.5], [1, 0.5]),
    "numbers of NumPy and JAX": ([np.float64(1), jnp.asarray(2.0)], [1, 2]),
    "points": ([[0.0, 1.0], [2.0, 3.0]], [0, 1]),
    "truths": ([True, False], [True, False]),
    "bfloat16": (jnp.arange(2, dtype=jnp.bfloat16), [0, 1]),
    "complex": (jnp.array([1j, 2.0]), [1j, 2]),
    "keys": (gdlab.seeds(2), [0, 1]),
    "raw keys": (jax.random.split(jax.random.PRNGKey(0), 3), [0, 1, 2]),
    "names of NumPy": (np.array(["u", "vw"]), ["u", "vw"]),
    "names of an enumeration": ({Word.long: 1, Word.short: 2}, ["one", "two"]),
    "names that are numbers": ({1: 0.5, 2: 0.25}, [1, 2]),
    "names that are numbers of NumPy": ({np.int64(3): 0.5, np.int64(4): 0.25}, [3, 4]),
}


@pytest.mark.parametrize("name", AXES)
def test_every_axis_has_labels_that_a_file_and_a_store_can_hold(name, tmp_path):
    values, labels = AXES[name]
    swept = gdlab.sweep(lambda x: jnp.float32(1), store=tmp_path / "s", x=values)
    np.testing.assert_array_equal(swept["x"], labels)
    assert there_and_back(swept).identical(swept)
    assert gdlab.merge(tmp_path / "s").equals(swept)


def test_a_list_of_numbers_is_an_axis_and_parts_of_one_name_are_told_apart():
    swept = gdlab.sweep(lambda a, b: a + b, a=[0.5, 2], b=(10, 20))
    np.testing.assert_array_equal(swept["value"], [[10.5, 20.5], [12, 22]])
    zipped = gdlab.sweep(lambda p, q: p["x"] - q["x"], p={"x": jnp.arange(2.0)}, q={"x": jnp.arange(5.0, 8.0)})
    assert zipped["p.x"].values.tolist() == [0, 1]
    assert zipped["q.x"].values.tolist() == [5, 6, 7]


def test_attributes_are_numbers_and_texts_in_every_dataset(tmp_path):
    given = {
        "f": np.float32(0.5), "i": np.int64(3), "true": True, "not": np.bool_(False), "day": datetime.date(2024, 2, 29),
        "at": np.datetime64("2024-02-29"), "path": pathlib.Path("x/y"), "list": [1, 2.5], "texts": ("a", "b"),
        "array": np.arange(3), "ones": jnp.ones(2), "half": jnp.bfloat16(2), "none": [], "empty": "", "text": "é",
    }  # fmt: skip
    plain = {
        "f": 0.5, "i": 3, "true": 1, "not": 0, "day": "2024-02-29", "at": "2024-02-29", "path": "x/y", "list": [1, 2.5],
        "texts": ["a", "b"], "array": [0, 1, 2], "ones": [1.0, 1.0], "half": 2.0, "none": [], "empty": "", "text": "é",
    }  # fmt: skip
    alone = gdlab.sweep(lambda a: a, attrs=given, **A)
    kept = gdlab.sweep(lambda a: a, attrs=given, store=tmp_path / "s", **A)
    for found in (alone, kept, gdlab.merge(tmp_path / "s")):
        assert {name: found.attrs[name] for name in plain} == plain
        assert there_and_back(found).identical(found)


class Color(enum.Enum):
    red = 1


def fine(**values):
    return {"x": jnp.zeros(3), "y": jnp.zeros((4, 2))}


# What is refused: the function, how it is swept, and what the one sentence says.
REFUSED = {
    "dims of unequal lengths": (fine, {"dims": {"x": ("i",), "y": ("i",)}}, r"'i' has 3 elsewhere and 4 in y"),
    "too many dims": (fine, {"dims": {"x": ("i", "j")}}, r"dims must name at most .* x has shape \(3,\)"),
    "dims of nothing": (fine, {"dims": {"z": ("i",)}}, r"dims must name results, here x, y; got 'z'"),
    "a dim twice": (fine, {"dims": {"y": ("i", "i")}}, r"dims must differ"),
    "a dim like an axis": (fine, {"dims": {"x": ("a",)}}, r"dims must differ from the axes .* those of x are a"),
    "a dim unlike its length elsewhere": (fine, {"dims": {"x": ("y_0",)}}, r"'y_0' has 3 elsewhere and 4 in y"),
    "a dim with a slash": (fine, {"dims": {"x": "i/j"}}, r"dims must have names .* got 'i/j'"),
    "a dim that is a number": (fine, {"dims": {"x": 3}}, r"dims must be names of axes, .* got 3 for 'x'"),
    "a shard that is a number": (fine, {"shard": 3}, r"shard must be \(i, n\) with 0 <= i < n"),
    "dims that are none": (fine, {"dims": ["x"]}, r"dims must be a mapping .* got \['x'\]"),
    "an axis called alive": (fine, {"alive": jnp.arange(2.0)}, r"axes must not be called alive, died, done"),
    "a part called died": (fine, {"p": {"died": jnp.arange(2.0)}}, r"axes must not be called alive, died, done"),
    "an axis with a slash": (fine, {"b/c": [1, 2]}, r"axes must have names .* got 'b/c'"),
    "an axis without a name": (fine, {"": [1, 2]}, r"axes must have names .* got ''"),
    "a result like one with a slash": (lambda a: {"x/y": a, "x.y": a}, {}, r"fn must return leaves .* got 'x.y' twice"),
    "a result with a null": (lambda a: {"x\0": a}, {}, r"fn's results must have names"),
    "results of one name": (lambda a: {"x.y": a, "x": {"y": a}}, {}, r"fn must return leaves .* got 'x.y' twice"),
    "a result like another's new name": (lambda a: {"result.a": a, "a": a}, {}, r"called 'result.a', got that twice"),
    "a key": (lambda a: jax.random.key(0), {}, r"fn must return .* of a PRNG key jax.random.key_data\(key\)"),
    "a text": (lambda a: {"x": a, "name": "adam"}, {}, r"fn must return a pytree of arrays .* got 'adam'"),
    "texts": (lambda a: np.array(["x"]), {}, r"fn must return a pytree of arrays"),
    "nothing": (lambda a: None, {}, r"fn must return a pytree of arrays of numbers, at least one; got None"),
    "no leaf": (lambda a: {}, {}, r"fn must return a pytree of arrays of numbers, at least one; got \{\}"),
    "no function": (3, {}, r"fn must be a function"),
    "shapes of cases": (lambda n: jnp.zeros(n), {"n": {"x": 1, "y": 3}}, r"same shapes .* has \(1,\) and \(3,\)"),
    "an attribute of ours": (fine, {"attrs": {"config": 1}}, r"attrs must have names .* got 'config'"),
    "an attribute of HDF5": (fine, {"attrs": {"CLASS": 1}}, r"attrs must have names .* got 'CLASS'"),
    "an attribute without a name": (fine, {"attrs": {3: 1}}, r"attrs must have names .* got 3"),
    "None as attribute": (fine, {"attrs": {"n": None}}, r"attrs must be numbers, texts, .* got None for 'n'"),
    "an object": (fine, {"attrs": {"n": {"k": 1}}}, r"attrs must be .* got \{'k': 1\} for 'n'"),
    "a complex attribute": (fine, {"attrs": {"n": 1j}}, r"attrs must be .* got 1j for 'n'"),
    "a large number": (fine, {"attrs": {"n": 2**70}}, r"attrs must be"),
    "a list of two kinds": (fine, {"attrs": {"n": [1, "a"]}}, r"attrs must be .* got \[1, 'a'\] for 'n'"),
    "a list of lists": (fine, {"attrs": {"n": [[1], [2]]}}, r"attrs must be"),
    "a text with a null": (fine, {"attrs": {"n": "a\0b"}}, r"attrs must be"),
    "attributes that are none": (fine, {"attrs": [1]}, r"attrs must be a mapping .* got \[1\]"),
    "names of two kinds": (fine, {"n": {1: 2, "b": 3}}, r"axis 'n' must have labels .* got \[1, 'b'\]"),
    "names that are none": (fine, {"n": {Color.red: 2, None: 3}}, r"axis 'n' must have labels"),
    "names that are pairs": (fine, {"n": {(1, 2): 2}}, r"axis 'n' must have labels"),
    "a name twice": (fine, {"n": ["x", "x"]}, r"axis 'n' must have labels that differ .* got 'x'"),
    "a name with a null": (fine, {"n": ["x\0", "y"]}, r"axis 'n' must have labels"),
    "an axis that is one number": (fine, {"n": 0.1}, r"axis 'n' must be an array or a list of numbers, .* got 0.1"),
    "an axis of unequal lists": (fine, {"n": [[1, 2], [3]]}, r"axis 'n' must be .* got \[\[1, 2\], \[3\]\]"),
    "an axis of optimizers": (fine, {"n": [gdlab.gd(0.1), gdlab.adam(0.1)]}, r"axis 'n' must be .* names, as in"),
    "an axis of functions": (fine, {"n": [gdlab.gd, gdlab.adam]}, r"axis 'n' must be .* names, as in"),
    "an axis that is drawn": (fine, {"n": (x for x in range(3))}, r"axis 'n' must be .* got <generator"),
    "an axis of words and numbers": (fine, {"n": ["x", 1]}, r"axis 'n' must be .* got \['x', 1\]"),
    "one key": (fine, {"n": jax.random.key(0)}, r"axis 'n' must be"),
    "one raw key": (fine, {"n": jax.random.PRNGKey(7)}, r"axis 'n' must be PRNG keys, such as gdlab.seeds\(10\)"),
    "no value": (fine, {"n": []}, r"axis 'n' must have at least one value; got none"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_become_no_dataset_is_refused_before_anything_is_computed(name, tmp_path):
    fn, how, said = REFUSED[name]
    axes = {} if how.keys() - {"dims", "attrs", "shard"} else A
    done = []
    with pytest.raises((ValueError, TypeError), match=said) as refused:
        gdlab.sweep(fn, store=tmp_path / "s", progress=lambda *seen: done.append(seen), **{**axes, **how})
    assert "\n" not in str(refused.value)
    assert done == []
    assert not (tmp_path / "s").exists()


def test_a_lane_dies_in_no_row_where_there_are_none():
    swept = gdlab.sweep(lambda a: {"x": jnp.zeros(0), "y": 1 / a}, dims={"x": "step"}, **A)
    assert swept["died"].values.tolist() == [0, -1, -1]


def test_datasets_of_the_same_labels_share_nothing_that_can_be_written_to():
    def doubled(a):
        return 2 * a

    one = gdlab.sweep(doubled, a=np.array([1.0, 2.0]), attrs={"note": "first"})
    two = gdlab.sweep(doubled, a=np.array([1.0, 2.0]))
    other = gdlab.sweep(doubled, a=np.array([1.0, 3.0]))
    one["a"].attrs["units"] = "m"
    one["extra"] = one["a"]
    with pytest.raises(ValueError, match="read-only"):
        one["a"].values[0] = 9.0
    assert two["value"].values.tolist() == [2.0, 4.0] and other["value"].values.tolist() == [2.0, 6.0]
    assert (two["a"].attrs, "extra" in two, "note" in two.attrs) == ({}, False, False)
    assert two["a"].values.tolist() == [1.0, 2.0] and other["a"].values.tolist() == [1.0, 3.0]
    assert two.equals(xarray.Dataset({name: two[name].variable for name in two}, {"a": [1.0, 2.0]}))


def test_a_dataset_without_the_checks_of_xarray_is_the_one_with_them(monkeypatch):
    axes = {"a": np.array([1.0, 2.0]), "kind": ["x", "y"], "point": {"p": jnp.arange(3.0), "q": np.arange(3)}}
    swift = [gdlab.sweep(lambda a, kind, point: {"s": a, "v": point["p"] * jnp.ones(2)}, **axes) for _ in range(2)]
    variables = {name: (swift[0][name].dims, swift[0][name].values) for name in swift[0].data_vars}
    checked = xarray.Dataset(variables, {name: swift[0][name].variable for name in swift[0].coords}, swift[0].attrs)
    assert swift[0].identical(checked) and list(swift[0].variables) == list(checked.variables)
    assert swift[0].sel(kind="y", a=2.0).identical(checked.sel(kind="y", a=2.0))
    template._template.cache_clear()
    monkeypatch.setattr(template, "_built", None)  # which fails, as in a version whose insides are others
    assert not template._template((("s", ("a",), (2,)),), ()).swift
    copied = gdlab.sweep(lambda a, kind, point: {"s": a, "v": point["p"] * jnp.ones(2)}, **axes)
    assert copied.equals(swift[1])
    template._template.cache_clear()


def test_an_axis_is_what_it_was_when_it_was_swept():
    rates = np.array([1.0, 2.0])
    swept = gdlab.sweep(lambda a: a, a=rates)
    rates[0] = 9.0
    assert swept["a"].values.tolist() == swept["value"].values.tolist() == [1.0, 2.0]


def test_numbers_whose_sum_overflows_are_alive_and_those_that_cancel_to_none_are_not():
    large = np.array([3e38, 3e38, -3e38, 1.0], np.float32)
    assert gdlab.sweep(lambda a: a, a=large)["alive"].values.all()
    ends = gdlab.sweep(lambda a: jnp.stack([a, -a]), a=np.array([1.0, np.inf]), dims={"value": "step"})
    assert ends["alive"].values.tolist() == [True, False] and ends["died"].values.tolist() == [-1, 0]


def run_of(a, steps=4, **options):
    return gdlab.minimize(lambda x: x * x, gdlab.gd(0.25), a, steps, every=2, **options)


def test_the_history_of_a_run_is_along_its_steps(tmp_path):
    first = run_of(1.0, steps=3)
    swept = gdlab.sweep(run_of, **A)
    assert swept["history.loss"].dims == ("a", "step")
    np.testing.assert_array_equal(swept["history.loss"].sel(a=2, step=2), 4 * 0.5**4)
    assert swept["died"].values.tolist() == [-1, -1, -1]
    going = gdlab.sweep(lambda a: {"run": run_of(a, state=first), "b": a}, **A, store=tmp_path / "store")
    assert going["run.history.loss"].dims == ("a", "step")
    assert going["step"].values.tolist() == [4, 6]  # 3 steps came before
    merged = gdlab.merge(tmp_path / "store")
    assert merged["step"].values.tolist() == [4, 6] and there_and_back(merged).identical(merged)


def test_runs_that_go_on_from_different_steps_have_no_common_coordinate():
    starts = {"one": run_of(1.0, steps=1), "three": run_of(1.0, steps=3)}
    swept = gdlab.sweep(lambda start: run_of(1.0, state=start), start=starts)
    assert swept["history.loss"].dims == ("start", "step") and "step" not in swept.coords
    both = gdlab.sweep(lambda a: {"new": run_of(a), "old": run_of(a, state=starts["three"])}, **A)
    assert both["old.history.loss"].dims == ("a", "step") and "step" not in both.coords


def test_the_axis_of_a_history_keeps_its_own_name_where_step_is_another():
    assert gdlab.sweep(run_of, **A, dims={"history.loss": ("t",)})["history.loss"].dims == ("a", "t")
    assert gdlab.sweep(lambda step: run_of(step), step=A["a"])["history.loss"].dims == ("step", "history.loss_0")
    of_two = gdlab.sweep(lambda a: {"long": run_of(a), "short": run_of(a, steps=2)}, **A)
    assert of_two["long.history.loss"].dims == ("a", "long.history.loss_0")
