"""Lanes: how many at once, over cores and devices, and that none of it changes a result."""

import os
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
from gdlab.sweeps import batching


def test_processes_devices_and_cores_share_whole_blocks_of_one_program(monkeypatch):
    shares = []

    def able(arguments):
        def compute(constants, part, leaves, turns):
            shares.append((part.tolist(), int(turns)))
            return [part + constants + leaves]

        return dict.fromkeys(arguments, compute)

    monkeypatch.setattr(batching, "_cores", lambda: 3)
    parts = batching._shared(able, 10, 2, ([None], 1, 0))(100, 0, 1000)
    assert sorted(shares) == [([0, 1, 2, 3], 2), ([4, 5, 6, 7], 2), ([8, 9, 9, 9], 2)]
    np.testing.assert_array_equal(batching.gathered(parts, 10, [0])[0], np.arange(1100, 1110))
    for process, mine in ((0, [[0, 1], [2, 3], [4, 5]]), (1, [[6, 7], [8, 9], [9, 9]])):
        shares.clear()
        batching._shared(able, 10, 2, ([None], 2, process))(100, 0, 1000)
        assert sorted(shares) == [(share, 1) for share in mine]
    shares.clear()
    batching._shared(able, 6, 2, (jax.devices(), 1, 0))(100, 0, 1000)  # as many workers as devices
    assert shares == [([0, 1, 2, 3, 4, 5], 3)]


def test_a_block_does_not_depend_on_the_number_of_devices(monkeypatch):
    mesh = types.SimpleNamespace(size=4)
    assert [batching.lanes_to_cut(10, block, where) for block in (None, 2) for where in (None, mesh)] == [10] * 4
    monkeypatch.setattr(
        jax, "default_backend", lambda: "gpu"
    )  # a block is the share of a device, unless it was asked for
    assert [batching.lanes_to_cut(10, block, where) for block in (None, 2) for where in (None, mesh)] == [
        10,
        3,
        10,
        10,
    ]


def test_a_mesh_without_a_device_of_this_process_is_named():
    devices = [types.SimpleNamespace(process_index=index) for index in (1, 1, 2)]
    with pytest.raises(ValueError, match=r"^mesh must have a device of every process; got none of process 0"):
        batching._place(types.SimpleNamespace(devices=np.array(devices)))
    devices[0].process_index = 0
    assert batching._place(types.SimpleNamespace(devices=np.array(devices))) == ([devices[0]], 3, 0)


def test_the_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 4, 6} if pid == 0 else set(), raising=False)
    assert batching._cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    for counted, cores in ((5, 5), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda counted=counted: counted)
        assert batching._cores() == cores


def test_results_of_parts_are_joined_and_cut_to_what_was_asked():
    parts = [[np.arange(3), np.zeros((3, 2))], [np.arange(3, 6), np.ones((3, 2))]]
    numbers, rows = batching.gathered(parts, 5, [0, 0])
    assert numbers.tolist() == [0, 1, 2, 3, 4]
    assert rows[:, 1].tolist() == [0, 0, 0, 1, 1]
    (second,) = batching.gathered([[np.zeros((2, 3))], [np.ones((2, 3))]], 5, [1])
    assert second[:, 1].tolist() == [0, 0, 0, 1, 1]


def test_a_mesh_of_one_device_and_points_that_cannot_be_hashed_change_nothing():
    class Shifted:
        __hash__ = None

        def __call__(self, a):
            return jax.lax.fori_loop(0, 3, lambda _, x: x + a, jnp.zeros((2, 3)))

    assert batching.all_devices() is None
    mesh = jax.make_mesh((1,), (batching.AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
    for how in ({}, {"mesh": mesh}, {"mesh": mesh, "block": 2}):
        found = gdlab.sweep(Shifted(), a=jnp.arange(5.0), **how)
        np.testing.assert_array_equal(found["value"], 3 * np.arange(5.0)[:, None, None] * np.ones((2, 3)))


def test_all_devices_take_part_unless_a_mesh_says_which(monkeypatch):
    asked = []
    monkeypatch.setattr("gdlab.sweeps.sweep.all_devices", lambda: asked.append("all"))
    gdlab.sweep(lambda a: a, a=jnp.arange(2.0))
    assert asked == ["all"]
    mesh = jax.make_mesh((1,), (batching.AXIS,), axis_types=(jax.sharding.AxisType.Auto,))
    gdlab.sweep(lambda a: a, a=jnp.arange(2.0), mesh=mesh)
    assert asked == ["all"]


def test_what_is_wrong_with_a_function_is_not_hidden():
    def wrong(a):
        return a + "word"

    with pytest.raises(TypeError, match="unsupported operand"):
        gdlab.sweep(wrong, a=jnp.arange(2.0))


class Program:
    """What `jax.jit` gives, to be lowered and compiled; some compilers cannot."""

    def __init__(self, result=None):
        self.result, self.compiled = result, 0

    def lower(self, *arguments):
        return self

    def compile(self):
        self.compiled += 1
        if self.result is None:
            raise jax.errors.JaxRuntimeError("cannot")
        return lambda *arguments: (self.result, *arguments)


def test_the_first_program_that_can_be_compiled_is_compiled_once_for_each_device():
    broken, good, other = Program(), Program(1), Program(2)
    able = batching._first_able([broken, good, other])
    assert [able({None: (5,)})[None](5), able({None: (6,)})[None](6)] == [(1, 5), (1, 6)]
    assert (broken.compiled, good.compiled, other.compiled) == (1, 1, 0)
    assert set(able({"one": (5,), None: (5,), "two": (5,)})) == {None, "one", "two"}
    assert (broken.compiled, good.compiled, other.compiled) == (1, 3, 0)
    with pytest.raises(jax.errors.JaxRuntimeError, match="cannot"):
        batching._first_able([Program(), Program()])({None: (5,)})
