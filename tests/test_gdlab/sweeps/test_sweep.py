"""Sweeps: equal to a loop, whatever the chunk, block, devices, processes, shards or interruptions."""

import importlib
import json
import os
import resource
import socket
import subprocess
import sys
import time
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import gdlab
from gdlab.storage.store import StoreError, opened
from gdlab.sweeps.ways import Way, carried_bytes

pytestmark = pytest.mark.full

ROOT = str(Path(__file__).parents[2])
TARGET = jnp.array([1.0, -2.0])


def quartic(theta):
    return jnp.sum((theta - TARGET) ** 4)


def run(lr, optimizer, start):
    ran = gdlab.minimize(quartic, optimizer(lr), start, 30)
    return {"loss": ran.history["loss"], "end": ran.params}


AXES = {
    "lr": jnp.geomspace(1e-3, 1.0, 7),
    "optimizer": {"gd": gdlab.gd, "adam": gdlab.adam},
    "start": jnp.array([[0.0, 0.0], [3.0, 1.0], [-9.0, 9.0]]),
}
DIMS = {"loss": ("step",)}


@pytest.fixture(scope="module")
def whole():
    return gdlab.sweep(run, chunk=4, dims=DIMS, **AXES)


def test_a_sweep_is_a_loop(whole):
    assert dict(whole.sizes) == {"lr": 7, "optimizer": 2, "start": 3, "step": 30, "end_0": 2}
    for i, lr in enumerate(AXES["lr"]):
        for j, optimizer in enumerate(AXES["optimizer"].values()):
            for k, start in enumerate(AXES["start"]):
                alone = run(lr, optimizer, start)
                np.testing.assert_allclose(whole["loss"][i, j, k], alone["loss"], rtol=1e-9)
                np.testing.assert_allclose(whole["end"][i, j, k], alone["end"], rtol=1e-9)


@pytest.mark.parametrize("how", [{"block": 2}, {"chunk": 5, "block": 3}, {"chunk": 1000}])
def test_chunks_and_blocks_change_nothing_but_rounding(how, whole):
    swept = gdlab.sweep(run, **how, **AXES)
    for name in ("loss", "end"):
        np.testing.assert_allclose(swept[name], whole[name], rtol=1e-12)


def test_axes_keep_their_names_in_any_order():
    swept = gdlab.sweep(lambda lr, b: 10 * lr + b, lr=jnp.arange(2.0), b=jnp.arange(3.0))
    np.testing.assert_array_equal(swept["value"], [[0, 1, 2], [10, 11, 12]])


def test_divergence_is_data(whole):
    assert not whole["alive"].sel(optimizer="gd", start=2, lr=1.0).item()
    assert whole["alive"].sel(optimizer="adam").all().item()
    finite = np.isfinite(whole["loss"])
    np.testing.assert_array_equal(whole["alive"], finite.all("step") & np.isfinite(whole["end"]).all("end_0"))
    died, dead = whole["died"].values, ~whole["alive"].values
    assert (died[~dead] == -1).all()
    np.testing.assert_array_equal(died[dead], finite.values.sum(-1)[dead])  # what is lost stays lost


def test_results_say_where_they_come_from(whole):
    said = json.loads(whole.attrs["config"])
    assert said["axes"] == {"lr": "7 values", "optimizer": ["gd", "adam"], "start": "3 values"}
    assert {"gdlab_schema", "jax", "jaxlib", "python", "device", "argv"} <= set(whole.attrs)
    assert whole.attrs["dtype"] == "float64"


def test_a_clock_that_jumps_back_does_not_matter(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)  # 1970, a year that zip files do not know
    clock = types.SimpleNamespace(monotonic=iter([30.0, 100.0]).__next__)
    monkeypatch.setattr(importlib.import_module("gdlab.sweeps.sweep"), "time", clock)
    swept = gdlab.sweep(lambda a: a, store=tmp_path / "s", a=jnp.arange(2.0))
    assert swept.attrs["wall_seconds"] == 70


def test_the_same_sweep_is_traced_once():
    traces = []

    def counted(a):
        traces.append(a)
        return 2 * a

    for _ in range(3):
        gdlab.sweep(counted, a=jnp.arange(4.0))
    assert len(traces) == 1


def test_numbers_that_are_equal_are_told_apart_by_their_type_and_sign():
    product, quotient = lambda a, number: a * number, lambda a, number: a / number
    for number, kind in ((1, "int"), (1.0, "float"), (True, "int")):
        swept = gdlab.sweep(product, a=jnp.arange(2), number={"one": number})
        assert swept["value"].dtype.name.startswith(kind)
    for number in (0.0, -0.0):
        swept = gdlab.sweep(quotient, a=jnp.ones(1), number={"none": {"inside": number}["inside"]})
        assert swept["value"].item() == np.copysign(np.inf, number)


def test_arrays_that_the_function_closes_over_are_arguments_of_the_program():
    from gdlab.sweeps.batching import prepare, traced
    from gdlab.sweeps.workers import gathered

    data = jnp.arange(1000.0)
    made = traced(lambda lane, values: values["a"][lane] * data.sum(), {"a": jnp.arange(4.0)}, 4)
    prepared = prepare(made, 4, Way("vmap", 4), None)
    assert any(constant is data or getattr(constant, "size", 0) == 1000 for constant in prepared.constants)
    others = [2 * constant for constant in prepared.constants]  # what is compiled computes with those it is given
    (doubled,) = gathered(prepared.compute(others, 0, [jnp.arange(4.0)]), 4, prepared.axes)
    np.testing.assert_allclose(doubled, 2 * np.arange(4.0) * data.sum())


def test_the_carry_of_loops_is_measured():
    def loop(x):
        return jax.lax.scan(lambda c, _: (c * 2, None), jnp.zeros((10, 3)) + x, None, 5)[0].sum()

    assert carried_bytes(jax.make_jaxpr(loop)(1.0).jaxpr) == 10 * 3 * 8


def test_large_lanes_come_in_blocks_on_a_cpu():
    def long(a):
        return jax.lax.fori_loop(0, 3, lambda _, x: x + 1, jnp.full(125_000, a)).sum()

    assert gdlab.sweep(long, a=jnp.arange(64.0)).attrs["block"] == 4
    assert gdlab.sweep(lambda a: a + 1, a=jnp.arange(64.0)).attrs["block"] == 64


def test_a_store_is_continued_bit_for_bit(tmp_path, whole):
    store = tmp_path / "s"
    first = gdlab.sweep(run, chunk=4, store=store, dims=DIMS, **AXES)
    other = {**AXES, "lr": jnp.geomspace(1e-3, 2.0, 7)}
    gdlab.sweep(run, chunk=4, store=tmp_path / "other", dims=DIMS, **other)
    chunks = [store / f"chunk-0000{i}.npz" for i in range(6)]
    chunks[0].unlink()
    chunks[1].write_bytes(chunks[1].read_bytes()[:-200])
    flipped = bytearray(chunks[2].read_bytes())
    flipped[-500] ^= 1
    chunks[2].write_bytes(bytes(flipped))
    chunks[3].write_bytes((tmp_path / "other" / chunks[3].name).read_bytes())
    chunks[4].write_bytes(chunks[5].read_bytes())
    (store / ".chunk-00000.npz-abc.partial").write_bytes(b"left by a kill")
    kept = chunks[5].stat().st_mtime_ns
    with pytest.warns(UserWarning, match="is damaged and not used") as said:
        again = gdlab.sweep(run, chunk=4, store=store, dims=DIMS, **AXES)
    assert [str(warning.message).split("/")[-1][:11] for warning in said] == [f"chunk-0000{i}" for i in (1, 2, 3, 4)]
    assert first.equals(whole)
    assert again.equals(whole)
    assert chunks[5].stat().st_mtime_ns == kept
    assert not list(store.glob(".*"))


DIFFERENT = {
    "other values": ({"lr": jnp.geomspace(1e-3, 2.0, 7)}, {}, "axis lr"),
    "other names": ({"optimizer": {"gd": gdlab.gd}}, {}, "axis optimizer"),
    "another chunk": ({}, {"chunk": 8}, "chunk is 4 there and 8 here"),
    "another function": ({}, {"fn": lambda lr, optimizer, start: lr}, "program"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_store_of_another_sweep_is_refused_with_the_difference(name, tmp_path):
    gdlab.sweep(run, chunk=4, store=tmp_path / "s", shard=(5, 6), **AXES)
    axes, how, said = DIFFERENT[name]
    how = {"fn": run, "chunk": 4, **how}
    with pytest.raises(StoreError, match=said):
        gdlab.sweep(how.pop("fn"), store=tmp_path / "s", shard=(5, 6), **how, **{**AXES, **axes})


def test_a_store_of_the_same_program_on_other_data_is_refused(tmp_path):
    def over(data):
        fit = jax.jit(lambda a: a * data)  # a program within the program closes over the data
        return lambda a: fit(a).sum()

    gdlab.sweep(over(jnp.arange(3.0)), store=tmp_path / "s", a=jnp.arange(4.0))
    with pytest.raises(StoreError, match="program"):
        gdlab.sweep(over(jnp.ones(3)), store=tmp_path / "s", a=jnp.arange(4.0))


def test_shards_merge_to_the_whole(tmp_path, whole):
    folders = [tmp_path / f"shard-{i}" for i in range(3)]
    for i, folder in enumerate(folders):
        part = gdlab.sweep(run, chunk=4, dims=DIMS, store=folder, shard=(i, 3), **AXES)
        assert 0 < part["done"].sum() < part["done"].size
    assert gdlab.merge(*folders).equals(whole)
    with pytest.raises(StoreError, match="chunk 1 is missing"):
        gdlab.merge(folders[0], folders[2])
    with pytest.raises(StoreError, match="must not overlap; chunk 2 is in both"):
        gdlab.merge(*folders, folders[2])
    gdlab.sweep(run, chunk=4, dims=DIMS, store=tmp_path / "other", shard=(5, 6), **{**AXES, "lr": jnp.ones(7)})
    with pytest.raises(StoreError, match="axis lr"):
        gdlab.merge(*folders, tmp_path / "other")
    with pytest.raises(StoreError, match="must be a folder that a sweep"):
        gdlab.merge(tmp_path)


@pytest.mark.parametrize("how", [{"chunk": 0}, {"block": 0}, {"shard": (2, 2)}, {"shard": (0, 2)}])
def test_bad_arguments_are_one_sentence(how):
    with pytest.raises(ValueError, match=f"{next(iter(how))} must be"):
        gdlab.sweep(run, **how, **AXES)


def test_results_that_differ_in_structure_are_refused():
    with pytest.raises(ValueError, match="same pytree"):
        gdlab.sweep(lambda name, a: {name: a}, name=["x", "y"], a=jnp.arange(2.0))


def test_progress_reports_lanes():
    seen = []
    gdlab.sweep(run, chunk=8, progress=lambda done, total: seen.append((done, total)), **AXES)
    assert seen == [(8, 21), (16, 21), (21, 21)]


def test_half_precision_survives_a_store(tmp_path):
    for _ in range(2):
        swept = gdlab.sweep(lambda a: (a / 3).astype(jnp.bfloat16), store=tmp_path / "s", a=jnp.arange(3.0))
        assert swept["value"].dtype == np.float32  # a NetCDF file knows no bfloat16
        np.testing.assert_array_equal(swept["value"], (jnp.arange(3.0) / 3).astype(jnp.bfloat16).astype(np.float32))
    with np.load(tmp_path / "s" / "chunk-00000.npz") as kept:
        assert kept["value:0"].dtype.itemsize == 2


def test_a_second_process_in_the_same_store_is_turned_away(tmp_path):
    with opened(tmp_path, {"a": 1}), pytest.raises(StoreError, match=f"in use; process {os.getpid()}"):
        opened(tmp_path, {"a": 1}).__enter__()
    with opened(tmp_path, {"a": 1}):  # the lock of a process that has ended is no lock
        pass


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can be written"):
        gdlab.sweep(run, store=tmp_path / "file" / "s", **AXES)


def test_a_full_disk_stops_with_one_sentence_and_loses_nothing(tmp_path):
    def wide(a):
        return jnp.full(10_000, a)

    store, limits = tmp_path / "s", resource.getrlimit(resource.RLIMIT_FSIZE)
    gdlab.sweep(wide, chunk=1, store=store, shard=(0, 2), a=jnp.arange(4.0))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # the system's own refusal to write more
        with pytest.raises(StoreError, match=r"chunk-00001.npz could not be written: .*same call goes on") as stop:
            gdlab.sweep(wide, chunk=1, store=tmp_path / "t", shard=(1, 2), a=jnp.arange(4.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(stop.value)
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["lock", "store.json"]
    gdlab.sweep(wide, chunk=1, store=tmp_path / "t", shard=(1, 2), a=jnp.arange(4.0))
    assert gdlab.merge(store, tmp_path / "t").sizes["a"] == 4


def test_a_dataset_says_all_that_was_asked_and_a_merged_one_the_same(tmp_path):
    def fn(a, name):
        return {"x": jnp.stack([a, a]), "n": jnp.int32(3), "name": a}

    axes = {"a": jnp.arange(5.0), "name": {"one": 1, "two": 2}}
    how = {"chunk": 2, "block": 1, "attrs": {"why": "for a test", "sizes": 3}, "dims": {"x": ("side",)}}
    alone = gdlab.sweep(fn, **how, **axes)
    parts = [gdlab.sweep(fn, store=tmp_path / str(i), shard=(i, 2), **how, **axes) for i in range(2)]
    merged = gdlab.merge(tmp_path / "0", tmp_path / "1")
    config = {"axes": {"a": "5 values", "name": ["one", "two"]}, "chunk": 2, "block": 1, "shard": [0, 1]}
    for found in (alone, merged):
        assert dict(found.sizes) == {"a": 5, "name": 2, "side": 2}
        assert set(found.variables) == {"a", "name", "x", "n", "result.name", "alive"}
        assert json.loads(found.attrs["config"]) == config
        assert {found.attrs["why"], found.attrs["sizes"], found.attrs["block"]} == {"for a test", 3, 1}
        assert found.attrs["python"] == sys.version.split()[0]
        assert found.attrs["gdlab_schema"] == 5
        assert found.attrs["argv"] == " ".join(sys.argv)
        assert found["a"].dtype == float
        assert found["alive"].all()
    assert alone.attrs["wall_seconds"] >= 0
    assert merged.equals(alone)
    assert json.loads(parts[1].attrs["config"]) == {**config, "shard": [1, 2]}
    assert len(json.loads((tmp_path / "0" / "store.json").read_text())["program"]) == 16
    here = [True, True, False, False, True]
    assert parts[0]["done"].values[:, 0].tolist() == parts[0]["alive"].values[:, 1].tolist() == here
    assert np.isnan(parts[0]["x"][2:4]).all()
    assert parts[0]["n"].values[:, 0].tolist() == [3, 3, 0, 0, 3]
    with pytest.raises(ValueError, match=r"^merge needs at least one store; got none"):
        gdlab.merge()
    (tmp_path / "1" / "chunk-00001.npz").write_bytes(b"")
    with pytest.raises(StoreError, match=r"chunk 1 is damaged in .*/1"), pytest.warns(UserWarning, match="damaged"):
        gdlab.merge(tmp_path / "0", tmp_path / "1")
    for identity in ({"schema": 5}, {"schema": 2, "lanes": 4}):
        (tmp_path / "0" / "store.json").write_text(json.dumps(identity))
        with pytest.raises(StoreError, match=f"^stores must be of sweeps, of schema 5; {tmp_path / '0'} is not"):
            gdlab.merge(tmp_path / "0")


def test_the_row_of_death_is_the_first_of_any_result_with_steps():
    def fn(at):
        row = jnp.arange(6)
        early = jnp.where(row >= at, jnp.nan, 0.0)
        late = jnp.where((row >= 4) & (at < 9), jnp.inf, 0.0)
        return {"early": early, "late": jnp.stack([jnp.zeros(6), late], 1), "whole": row}

    found = gdlab.sweep(fn, at=jnp.array([0, 2, 5, 9]), dims={"early": ("step",), "late": ("step", "side")})
    assert found["died"].values.tolist() == [0, 2, 4, -1]
    assert found["alive"].values.tolist() == [False, False, False, True]
    plain = gdlab.sweep(fn, at=jnp.array([0, 9]))
    assert "died" not in plain
    assert plain["alive"].values.tolist() == [False, True]


def test_a_shard_is_one_of_so_many():
    for shard in ((-1, 2), (2, 2), (0, 2), (0, 0)):
        said = r"^shard must be \(i, n\) with 0 <= i < n, and needs a store where n > 1; got \(.*\) and store None"
        with pytest.raises(ValueError, match=said):
            gdlab.sweep(lambda a: a, shard=shard, a=jnp.arange(3.0))


def test_results_that_cannot_fit_in_memory_are_refused_after_one_chunk(monkeypatch):
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 1024, "SC_PHYS_PAGES": 3}.get)
    seen = []
    for numbers in (12, 13):  # of 8 bytes; 16 lanes of them in their chunks, and again in the dataset
        how = {"chunk": 4, "progress": lambda done, _: seen.append(done), "a": jnp.arange(16.0)}
        if numbers == 12:
            gdlab.sweep(lambda a: a * jnp.ones(12), **how)
            assert seen == [4, 8, 12, 16]
        else:
            with pytest.raises(MemoryError, match="results must fit in memory"):
                gdlab.sweep(lambda a: a * jnp.ones(13), **how)
            assert seen == [4, 8, 12, 16]
    gdlab.sweep(lambda a: a * jnp.ones(13), a=jnp.arange(16.0))  # one chunk, which is there already


def test_a_chunk_is_at_most_65536_lanes_and_never_more_than_there_are():
    for asked, lanes, seen in ((None, 5, [5]), (2, 5, [2, 4, 5]), (9, 5, [5]), (None, 2**16 + 1, [2**16, 2**16 + 1])):
        told = []
        axis = jnp.zeros(lanes, "float32")
        gdlab.sweep(lambda a: a, chunk=asked, progress=lambda done, total, told=told: told.append(done), a=axis)
        assert told == seen


# ------------------------------------------------------------------------------------- in processes of their own

JOBS = """
import os, random, signal, sys, time
import jax, jax.numpy as jnp, numpy as np, gdlab

def noisy(lr, seed):
    def step(c, _):
        return c - lr * jnp.sin(3 * c) + 1e-3 * jax.random.normal(seed), None
    return jax.lax.scan(step, jnp.ones(3), None, 200)[0]

def swept(store, progress=False):
    axes = {"lr": jnp.linspace(0.01, 1.0, 20), "seed": gdlab.seeds(16)}
    return gdlab.sweep(noisy, chunk=4, block=1, store=store, progress=progress, **axes)["value"].values

def ran(store, progress=False):
    how = {"batched": "optimizer", "chunk": 10, "every": 5, "store": store, "progress": progress}
    start, rates = jnp.array([-1.2, 1.0]), jnp.geomspace(1e-4, 1.0, 8)
    run = gdlab.long_run(gdlab.problems.rosenbrock, gdlab.adam(rates), start, 800, **how)
    history = gdlab.read_history(store)["loss"] if store else run.history["loss"]
    return np.concatenate([np.asarray(run.params), np.asarray(history).T], axis=1)
"""
KILLS = """
rng, killed, folder = random.Random(0), 0, sys.argv[1]

def life(work, store):
    pid = os.fork()  # jax has been imported, but not used yet
    if pid == 0:
        np.save(f"{store}.npy", work(store, progress=lambda done, total: time.sleep(0.02)))
        os._exit(0)
    return pid

for work in (swept, ran):
    store, kills = f"{folder}/{work.__name__}", 0
    count = lambda: len(os.listdir(store)) if os.path.isdir(store) else 0
    while kills < 10:
        pid, before = life(work, store), max(count(), 3)
        while count() <= before and os.waitpid(pid, os.WNOHANG)[0] == 0:
            time.sleep(0.001)
        time.sleep(0.1 * rng.random())
        os.kill(pid, signal.SIGINT if kills == 4 else signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        assert status != 0, "it ended before it was killed"
        kills += 1
    assert os.waitpid(life(work, store), 0)[1] == 0
"""
TOGETHER = """
port, number, store, out = sys.argv[1:]
assert "xarray" not in sys.modules, "it is loaded when there is something to label"
jax.distributed.initialize(f"localhost:{port}", 2, int(number), heartbeat_timeout_seconds=10)
np.save(out, swept(store))
np.save(out, swept(store))  # all of it from the store
def leave(done, total):
    if number == "1" and done > 100:
        os.kill(os.getpid(), signal.SIGKILL)
swept(None, progress=leave)
"""


def script(text, *args, **env):
    environment = {**os.environ, "PYTHONPATH": ROOT, "JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "1", **env}
    argv = [sys.executable, "-W", "ignore", "-c", JOBS + text, *map(str, args)]
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture(scope="module")
def jobs():
    made = {}
    exec(JOBS, made)
    return made


def test_what_is_killed_at_random_moments_goes_on_and_ends_bit_identical(tmp_path, jobs):
    process = script(KILLS, tmp_path, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "cache"))
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    for name in ("swept", "ran"):
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), jobs[name](None))
        assert not list((tmp_path / name).glob(".*"))


def test_processes_and_devices_change_nothing_and_none_outlives_the_other(tmp_path, jobs):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    two = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    both = [script(TOGETHER, port, i, tmp_path / "store", tmp_path / f"{i}.npy", **two) for i in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    alone = jobs["swept"](None)
    for i in range(2):
        assert (tmp_path / f"{i}.npy").exists(), said[i]
        np.testing.assert_array_equal(np.load(tmp_path / f"{i}.npy"), alone)
    assert both[1].returncode == -9
    assert both[0].returncode != 0
    assert "another process of this program has ended" in said[0]


def test_datasets_go_to_a_file_and_back(tmp_path, whole):
    whole.to_netcdf(tmp_path / "whole.nc", engine="h5netcdf")
    with xarray.open_dataset(tmp_path / "whole.nc", engine="h5netcdf") as read:
        assert read.identical(whole)


def test_results_that_are_called_like_an_axis_are_kept_apart():
    found = gdlab.sweep(lambda x: {"a": 2 * x["a"]}, x={"a": jnp.arange(2.0)})
    np.testing.assert_array_equal(found["a"], [0, 1])
    np.testing.assert_array_equal(found["result.a"], [0, 2])
