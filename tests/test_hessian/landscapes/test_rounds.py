"""Blocks of searches: which jobs go where, in order, and what tells one block from another."""

import contextlib
import types

import jax
import numpy as np
import pytest

from gdlab.storage.store import StoreError
from hessian.landscapes import rounds
from hessian.landscapes.catalogue import Ends
from hessian.landscapes.rounds import Job, Rounds
from hessian.landscapes.seek import DOWN, FLOW, Plan

pytestmark = pytest.mark.full


def bowl(x):
    return x @ x


def made(monkeypatch, *, block=3, unit=0.5, room=2.0):
    """Rounds whose searches end where they begin, and the blocks that were searched."""
    searched = []

    def seek_all(loss, plan, like, args, starts, towards, modes, free, radius, unit, room):
        searched.append((starts, towards, modes, free, float(unit), float(room)))
        return starts, None

    def as_ends(starts, _):
        k = len(starts)
        none = np.zeros(k)
        return Ends(starts, none, starts, starts, starts, none > 0, none, none, none, none, none)

    monkeypatch.setattr(rounds, "seek_all", seek_all)
    monkeypatch.setattr(rounds, "as_ends", as_ends)
    one = Rounds(bowl, Plan(9, None, 1, 1), np.zeros(2), (), radius=0.1, unit=unit, room=room, block=block)
    return one, searched


def jobs_at(*values):
    return [Job(np.array([value, 0.0]), DOWN) for value in values]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7])
def test_jobs_are_cut_into_full_blocks_and_their_ends_come_in_order(count, monkeypatch):
    one, searched = made(monkeypatch)
    ends = one.run(jobs_at(*range(10, 10 + count)))
    assert [end.theta[0] for end in ends] == list(range(10, 10 + count))
    assert one.count == -(-count // 3)
    rows = sorted(starts[:, 0].tolist() for starts, *_ in searched)
    expected = {0: [], 1: [[10] * 3], 3: [[10, 11, 12]], 4: [[10, 11, 12], [13] * 3]}
    expected[7] = [[10, 11, 12], [13, 14, 15], [16] * 3]
    assert rows == expected[count]


def test_a_block_holds_what_its_jobs_say(monkeypatch):
    one, searched = made(monkeypatch)
    way = np.array([0.6, 0.8])
    one.run([Job(np.ones(2), 2), Job(np.zeros(2), 1, way), Job(np.ones(2), FLOW, free=True)])
    ((_, towards, modes, free, unit, room),) = searched
    assert towards.tolist() == [[0, 0], [0.6, 0.8], [0, 0]]
    assert (modes.tolist(), modes.dtype, free.tolist()) == ([2, 1, -1], np.int32, [False, False, True])
    assert (unit, room) == (0.5, 2.0)


def test_a_step_is_measured_by_the_unit_and_the_distance_from_zero_up_to_the_room(monkeypatch):
    one, _ = made(monkeypatch)
    assert [one.stride(np.array(x)) for x in ([0.0, 0.0], [0.6, -0.8], [0.0, 1.5], [3.0, 4.0])] == [0.5, 1.5, 2.0, 2.0]


def test_what_a_store_has_is_not_searched_again_and_blocks_of_other_jobs_are_refused(monkeypatch, tmp_path):
    one, searched = made(monkeypatch)
    with one.kept(tmp_path):
        one.run(jobs_at(1, 2, 3, 4))
    assert len(searched) == 2
    again, searched = made(monkeypatch)
    with again.kept(tmp_path):
        assert [end.theta[0] for end in again.run(jobs_at(1, 2, 3))] == [1, 2, 3]
        assert [end.theta[0] for end in again.run(jobs_at(4))] == [4]
        assert not searched
        again.run(jobs_at(5))
    assert len(searched) == 1
    other, _ = made(monkeypatch)
    with other.kept(tmp_path), pytest.raises(StoreError, match="its part 0 is of other starts"):
        other.run(jobs_at(1, 2, 4))


def test_blocks_are_told_apart_by_all_that_their_ends_depend_on():
    job, way = Job(np.array([1.0, 2.0]), DOWN), np.array([0.0, 1.0])
    blocks = [
        [job], [job, job], [job._replace(mode=1)], [job._replace(mode=FLOW)], [job._replace(free=True)],
        [job._replace(toward=way)], [job._replace(start=way)], [job._replace(toward=-way)],
    ]  # fmt: skip
    scales = types.SimpleNamespace(unit=1.0, room=2.0)
    names = [Rounds._identity(scales, block) for block in blocks]
    names += [Rounds._identity(types.SimpleNamespace(unit=u, room=r), [job]) for u, r in ((1.0, 3.0), (2.0, 2.0))]
    assert len(set(names)) == len(names) and {len(name) for name in names} == {16}
    assert Rounds._identity(scales, [job._replace(start=job.start.copy())]) == names[0]


def test_blocks_go_to_the_devices_in_turn(monkeypatch):
    one, _ = made(monkeypatch)
    assert one.devices == jax.local_devices()
    used = []
    monkeypatch.setattr(jax, "default_device", lambda device: used.append(device) or contextlib.nullcontext())
    one.devices = ["a", "b"]
    for number in range(5):
        one._part(number, jobs_at(1, 2, 3))
    assert used == ["a", "b", "a", "b", "a"]
