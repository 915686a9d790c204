"""Sweeps: equal to a loop, whatever the chunk, block, devices, shards or interruptions."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

import gdlab
from gdlab.lanes import carried_bytes
from gdlab.store import StoreError

ROOT = str(Path(__file__).parents[2])
TARGET = jnp.array([1.0, -2.0])


def run(lr, optimizer, start):
    ran = gdlab.minimize(lambda theta: jnp.sum((theta - TARGET) ** 4), optimizer(lr), start, 30)
    return {"loss": ran.history["loss"], "end": ran.params}


AXES = {
    "lr": jnp.geomspace(1e-3, 1.0, 7),
    "optimizer": {"gd": gdlab.gd, "adam": gdlab.adam},
    "start": jnp.array([[0.0, 0.0], [3.0, 1.0], [-9.0, 9.0]]),
}
DIMS = {"loss": ("step",)}


def test_a_sweep_is_a_loop():
    swept = gdlab.sweep(run, dims=DIMS, **AXES)
    assert dict(swept.sizes) == {"lr": 7, "optimizer": 2, "start": 3, "step": 30, "end_0": 2}
    for i, lr in enumerate(AXES["lr"]):
        for j, optimizer in enumerate(AXES["optimizer"].values()):
            for k, start in enumerate(AXES["start"]):
                alone = run(lr, optimizer, start)
                np.testing.assert_allclose(swept["loss"][i, j, k], alone["loss"], rtol=1e-9)
                np.testing.assert_allclose(swept["end"][i, j, k], alone["end"], rtol=1e-9)


@pytest.mark.parametrize("how", [{"chunk": 4}, {"block": 2}, {"chunk": 5, "block": 3}, {"chunk": 1000}])
def test_chunks_and_blocks_change_nothing_but_rounding(how):
    swept, whole = gdlab.sweep(run, **how, **AXES), gdlab.sweep(run, **AXES)
    for name in whole:
        np.testing.assert_allclose(swept[name], whole[name], rtol=1e-12)


def test_axes_keep_their_names_in_any_order():
    swept = gdlab.sweep(lambda lr, b: 10 * lr + b, lr=jnp.arange(2.0), b=jnp.arange(3.0))
    np.testing.assert_array_equal(swept["value"], [[0, 1, 2], [10, 11, 12]])


def test_divergence_is_data():
    swept = gdlab.sweep(run, **AXES)
    assert not swept["alive"].sel(optimizer="gd", start=2, lr=1.0).item()
    assert swept["alive"].sel(optimizer="adam").all().item()
    np.testing.assert_array_equal(swept["alive"], np.isfinite(swept["loss"]).all("loss_0"))


def test_the_same_sweep_is_traced_once():
    traces = []

    def counted(a):
        traces.append(a)
        return 2 * a

    for _ in range(3):
        gdlab.sweep(counted, a=jnp.arange(4.0))
    assert len(traces) == 1


def test_arrays_that_the_function_closes_over_are_arguments_of_the_program():
    from gdlab.lanes import prepare

    data = jnp.arange(1000.0)
    prepared = prepare(lambda lane, values: values["a"][lane] * data.sum(), {"a": jnp.arange(4.0)}, 4, None, None)
    assert any(constant is data or getattr(constant, "size", 0) == 1000 for constant in prepared.constants)
    text = prepared.compute.lower(prepared.constants, jnp.arange(4, dtype=jnp.int32), [jnp.arange(4.0)]).as_text()
    assert "1000xf64" in text.split("func.func public @main")[1].split("->")[0]


def test_the_carry_of_loops_is_measured():
    def loop(x):
        return jax.lax.scan(lambda c, _: (c * 2, None), jnp.zeros((10, 3)) + x, None, 5)[0].sum()

    assert carried_bytes(jax.make_jaxpr(loop)(1.0).jaxpr) == 10 * 3 * 8


def test_large_lanes_come_in_blocks_on_a_cpu():
    def long(a):
        return jax.lax.fori_loop(0, 3, lambda _, x: x + 1, jnp.full(125_000, a)).sum()

    assert gdlab.sweep(long, a=jnp.arange(64.0)).attrs["block"] == 4
    assert gdlab.sweep(lambda a: a + 1, a=jnp.arange(64.0)).attrs["block"] == 64


def test_a_store_is_continued_bit_for_bit(tmp_path):
    whole = gdlab.sweep(run, chunk=4, **AXES)
    first = gdlab.sweep(run, chunk=4, store=tmp_path / "s", **AXES)
    (tmp_path / "s" / "chunk-00001.npz").unlink()
    damaged = tmp_path / "s" / "chunk-00002.npz"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    flipped = tmp_path / "s" / "chunk-00003.npz"
    content = bytearray(flipped.read_bytes())
    content[len(content) // 3] ^= 1
    flipped.write_bytes(bytes(content))
    again = gdlab.sweep(run, chunk=4, store=tmp_path / "s", **AXES)
    assert first.equals(whole)
    assert again.equals(whole)


def test_finished_chunks_are_not_computed_again(tmp_path):
    gdlab.sweep(run, chunk=4, store=tmp_path / "s", **AXES)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("chunk-*")}
    gdlab.sweep(run, chunk=4, store=tmp_path / "s", **AXES)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "s").glob("chunk-*")} == written


DIFFERENT = {
    "other values": ({"lr": jnp.geomspace(1e-3, 2.0, 7)}, {}, "axis lr"),
    "other names": ({"optimizer": {"gd": gdlab.gd}}, {}, "axis optimizer"),
    "another chunk": ({}, {"chunk": 8}, "chunk is 4 there and 8 here"),
    "another function": ({}, {"fn": lambda lr, optimizer, start: lr}, "program"),
}


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_store_of_another_sweep_is_refused_with_the_difference(name, tmp_path):
    gdlab.sweep(run, chunk=4, store=tmp_path / "s", **AXES)
    axes, how, said = DIFFERENT[name]
    how = {"fn": run, "chunk": 4, **how}
    with pytest.raises(StoreError, match=said):
        gdlab.sweep(how.pop("fn"), store=tmp_path / "s", **how, **{**AXES, **axes})


def test_shards_merge_to_the_whole(tmp_path):
    whole = gdlab.sweep(run, chunk=4, dims=DIMS, **AXES)
    folders = [tmp_path / f"shard-{i}" for i in range(3)]
    for i, folder in enumerate(folders):
        part = gdlab.sweep(run, chunk=4, dims=DIMS, store=folder, shard=(i, 3), **AXES)
        assert 0 < part["done"].sum() < part["done"].size
    merged = gdlab.merge(*folders)
    assert merged.equals(whole)
    with pytest.raises(StoreError, match="chunk 1 is missing"):
        gdlab.merge(folders[0], folders[2])
    gdlab.sweep(run, chunk=4, store=tmp_path / "other", **{**AXES, "lr": jnp.ones(7)})
    with pytest.raises(StoreError, match="axis lr"):
        gdlab.merge(*folders, tmp_path / "other")
    with pytest.raises(StoreError, match="must be a folder that a sweep has written"):
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


def test_a_second_process_in_the_same_store_is_turned_away(tmp_path):
    from gdlab.store import Store

    store = Store(tmp_path, {"a": 1})
    with store.locked(), pytest.raises(StoreError, match="in use"), Store(tmp_path, {"a": 1}).locked():
        pass


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can be written"):
        gdlab.sweep(run, store=tmp_path / "file" / "s", **AXES)


SCRIPT = """
import sys, time
import jax, jax.numpy as jnp, gdlab
def run(lr, seed):
    def step(c, _):
        return c - lr * jnp.sin(3 * c) + 1e-3 * jax.random.normal(seed), None
    return jax.lax.scan(step, jnp.ones(3), None, 2000)[0]
slow = float(sys.argv[2])
result = gdlab.sweep(run, chunk=16, store=sys.argv[1] or None, progress=lambda done, total: time.sleep(slow),
                     lr=jnp.linspace(.01, 1., 20), seed=gdlab.seeds(16))
if len(sys.argv) > 3:
    result.drop_attrs().to_netcdf(sys.argv[3], engine="h5netcdf")
"""


def script(*args, **env):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *map(str, args)],
        env={**os.environ, "PYTHONPATH": ROOT, "JAX_PLATFORMS": "cpu", **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finished(process):
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return out


def test_a_killed_sweep_goes_on_and_ends_bit_identical(tmp_path):
    finished(script("", 0, tmp_path / "whole.nc"))
    store = tmp_path / "store"
    kills = 0
    for chunks in (2, 7, 13):
        process = script(store, 0.2)
        while process.poll() is None and len(list(store.glob("chunk-*"))) < chunks:
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
        process.stdout.close()
    assert kills == 3
    finished(script(store, 0, tmp_path / "resumed.nc"))
    whole, resumed = (xarray.open_dataset(tmp_path / f"{n}.nc", engine="h5netcdf") for n in ("whole", "resumed"))
    assert whole.identical(resumed)


def test_two_devices_give_the_same_numbers_as_one(tmp_path):
    finished(script("", 0, tmp_path / "one.nc"))
    finished(script("", 0, tmp_path / "two.nc", XLA_FLAGS="--xla_force_host_platform_device_count=2"))
    one, two = (xarray.open_dataset(tmp_path / f"{n}.nc", engine="h5netcdf") for n in ("one", "two"))
    assert one.identical(two)


def test_two_processes_give_the_same_numbers_as_one(tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    joined = "import jax; jax.distributed.initialize('localhost:%d', 2, %d)\n"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", joined % (port, i) + SCRIPT, "", "0", str(tmp_path / f"{i}.nc")],
            env={**os.environ, "PYTHONPATH": ROOT, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for i in range(2)
    ]
    for process in both:
        finished(process)
    finished(script("", 0, tmp_path / "alone.nc"))
    alone, *each = (xarray.open_dataset(tmp_path / f"{n}.nc", engine="h5netcdf") for n in ("alone", 0, 1))
    assert all(alone.identical(one) for one in each)
