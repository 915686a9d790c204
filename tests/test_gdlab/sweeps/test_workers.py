"""Workers: processes, devices and cores share whole blocks of one program, and each result is at its lane."""

import os
import types

import jax
import numpy as np
import pytest

from gdlab.sweeps import workers
from gdlab.sweeps.workers import Work


class Adding:
    """A program of two leaves, with lanes along the first and the second axis; it keeps what it was called with."""

    def __init__(self):
        self.shares = []

    def able(self, arguments):
        return dict.fromkeys(arguments, self)

    def __call__(self, constants, part, leaves, turns):
        self.shares.append((np.asarray(part).tolist(), int(turns)))
        found = np.asarray(part) + constants + leaves
        return [found, np.stack([found, -found])]


def adding(lanes, block=2, once=True, operations=np.inf):
    numbers = [jax.core.ShapedArray(shape, np.dtype("int32")) for shape in ((), (2,))]
    return Work(lanes=lanes, block=block, once=once, operations=operations, avals=numbers, axes=[0, 1])


def test_processes_devices_and_cores_share_whole_blocks_of_one_program(monkeypatch):
    monkeypatch.setattr(workers, "_cores", lambda: 3)
    program = Adding()
    found = workers.shared(program.able, adding(10), ([None], 1, 0))(100, 0, 1000)
    assert sorted(program.shares) == [([0, 1, 2, 3], 2), ([4, 5, 6, 7], 2), ([8, 9, 9, 9], 2)]
    np.testing.assert_array_equal(workers.gathered(found, 10, [0, 1])[0], np.arange(1100, 1110))
    program = Adding()
    workers.shared(program.able, adding(6), (jax.devices(), 1, 0))(100, 0, 1000)  # as many workers as devices
    assert program.shares == [([0, 1, 2, 3, 4, 5], 3)]


def test_only_as_many_cores_take_part_as_have_ten_million_operations_each(monkeypatch):
    monkeypatch.setattr(workers, "_cores", lambda: 4)
    for operations, turns in ((1e3, [5]), (2e6, [5]), (4e6, [3, 3]), (6e6, [2, 2, 2]), (1e9, [2, 2, 2])):  # of 5 blocks
        program = Adding()
        workers.shared(program.able, adding(10, operations=operations), ([None], 1, 0))(100, 0, 1000)
        assert [count for _, count in program.shares] == turns


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("cores", [1, 2, 4])
@pytest.mark.parametrize("lanes", [1, 7, 10, 17])
def test_each_result_is_at_its_lane_whoever_computed_it(monkeypatch, lanes, cores, processes, once):
    monkeypatch.setattr(workers, "_cores", lambda: cores)
    parts = [
        workers.shared(Adding().able, adding(lanes, 2, once), ([None], processes, process))(100, 4, 1000)
        for process in range(processes)
    ]
    numbers, rows = ([np.asarray(part[i]) for part in parts] for i in (0, 1))
    assert len({part.shape for part in numbers}) == 1  # what is gathered from processes is of one shape
    expected = 1104 + np.arange(lanes)
    np.testing.assert_array_equal(np.concatenate(numbers)[:lanes], expected)
    np.testing.assert_array_equal(np.concatenate(rows, 1)[:, :lanes], [expected, -expected])


def test_long_results_are_computed_block_by_block(monkeypatch):
    monkeypatch.setattr(workers, "_cores", lambda: 2)
    program = Adding()
    workers.shared(program.able, adding(10, once=False), ([None], 1, 0))(100, 0, 1000)
    assert sorted(program.shares) == [([lane, lane + 1], 1) for lane in range(0, 10, 2)]


def test_results_have_a_leading_axis_of_lanes_and_are_cut_to_what_was_asked():
    rows, columns = workers.gathered([np.arange(12).reshape(6, 2), np.arange(12).reshape(2, 6)], 5, [0, 1])
    np.testing.assert_array_equal(rows, np.arange(10).reshape(5, 2))
    np.testing.assert_array_equal(columns, np.arange(12).reshape(2, 6).T[:5])


def test_a_mesh_without_a_device_of_this_process_is_named():
    devices = [types.SimpleNamespace(process_index=index) for index in (1, 1, 2)]
    with pytest.raises(ValueError, match=r"^mesh must have a device of every process; got none of process 0"):
        workers.place_of(types.SimpleNamespace(devices=np.array(devices)))
    devices[0].process_index = 0
    with pytest.raises(ValueError, match=r"as many devices of one process as of another; got \{0: 1, 1: 1, 2: 2\}"):
        workers.place_of(types.SimpleNamespace(devices=np.array([*devices, devices[-1]])))
    assert workers.place_of(types.SimpleNamespace(devices=np.array(devices))) == ([devices[0]], 3, 0)


def test_the_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 4, 6} if pid == 0 else set(), raising=False)
    assert workers._cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    for counted, cores in ((5, 5), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda counted=counted: counted)
        assert workers._cores() == cores
