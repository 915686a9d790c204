"""Landscapes that are known: every minimum, every saddle and what it joins, none twice and none invented."""

import inspect
import os
import subprocess
import sys
import types
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian
from gdlab.problems import lennard_jones, lennard_jones_starts, six_hump_camel, spin_glass
from gdlab.storage.store import Store, StoreError, opened
from hessian import symmetry
from hessian.landscapes.catalogue import Catalogue, Ends
from hessian.landscapes.landscape import KICK, LIFT, _room, _Search, _word
from hessian.landscapes.rounds import Rounds
from hessian.landscapes.seek import FLOW
from hessian.verdicts.classify import Kind

pytestmark = pytest.mark.full

CAMEL = jnp.asarray(np.random.default_rng(0).uniform([-3, -2], [3, 2], size=(128, 2)))

# Wales group, Cambridge Cluster Database, and Forman & Cameron 2017: the minima and the lowest saddles.
LJ7 = [-16.505384, -15.935043, -15.593211, -15.533060]
LJ7_SADDLES = [-15.44473, -15.31986, -15.28342, -15.09785, -15.03338, -15.02644]


def test_the_camel_has_its_fifteen_points_and_euler_characteristic_one(monkeypatch):
    jobs, run = [], Rounds.run
    monkeypatch.setattr(Rounds, "run", lambda rounds, some: jobs.extend(some) or run(rounds, some))
    found = hessian.landscape(six_hump_camel, CAMEL, highest=2)
    assert (len(found.minima), len(found.saddles), len(found.others)) == (6, 7, 2)
    assert found.euler_characteristic == 1
    assert (found.joins >= 0).all()
    path = found.path(0, 1)  # the two global minima, over the saddle at 0
    assert path.barrier == pytest.approx(0, abs=1e-9) and len(path.saddles) == 1
    assert sum(job.toward is None and job.mode in (0, 1, 2) and not job.free for job in jobs[: 3 * 16]) == 3 * 16
    _each_point_was_followed(found, jobs[48:])


def _each_point_was_followed(found, jobs):
    """To both sides: up from minima, down from saddles and up beside them, up from the rest."""
    first, bends = CAMEL[:16], jax.jit(jax.hessian(six_hump_camel))
    room = 2 * np.sqrt(np.mean(np.sum((first - first.mean(axis=0)) ** 2, axis=1)))
    for points, plans in (
        (found.minima, [(0, LIFT, 1), (1, LIFT, 1)]),
        (found.saddles, [(0, KICK, FLOW), (1, LIFT, 2)]),
        (found.others, [(0, LIFT, 1), (1, LIFT, 1)]),
    ):
        for theta in np.asarray(points.params):
            vectors = np.linalg.eigh(bends(theta))[1].T
            scale = min(1 + np.linalg.norm(theta), room)
            for row, reach, mode in plans:
                for side in (1, -1):
                    way = side * vectors[row]
                    near = [j for j in jobs if np.allclose(j.start, theta + reach * scale * way, atol=1e-7, rtol=0)]
                    assert mode in [job.mode for job in near]
                    if points is found.minima:
                        assert any(job.toward is not None and job.toward @ way > 0.999999 for job in near)


def test_a_step_is_no_longer_than_twice_the_spread_of_the_finite_starts_of_the_first_sixteen():
    starts = np.array([[0.0, 0.0], [np.nan, 1.0], [6.0, 0.0], [0.0, np.inf], [0.0, 8.0], [6.0, 8.0]])
    assert _room(starts) == 2 * 5.0  # each corner of the rectangle is 5 from its middle
    assert _room(np.concatenate([np.tile(starts[[0, 2, 4, 5]], (4, 1)), [[1e9, 1e9]]])) == 2 * 5.0
    assert _room(np.ones((3, 2))) == _room(np.full((3, 2), np.nan)) == np.inf


def test_how_a_way_down_ended_is_said_by_the_verdict_and_by_what_is_no_number():
    def word(code, converged=True, unexplained=0, loss=1.0, slope=0.0):
        row = np.zeros(2)
        return _word(Ends(row, loss, row, row[None], row, converged, code, 0, unexplained, 0, slope))

    assert [word(code) for code in (Kind.MINIMUM, Kind.MAXIMUM, Kind.SADDLE)] == ["minimum", "maximum", "saddle"]
    assert word(Kind.MINIMUM, loss=np.inf) == word(Kind.NOT_CRITICAL, slope=np.nan) == "not finite"
    assert word(Kind.MINIMUM, unexplained=1) == word(Kind.DEGENERATE) == "degenerate"
    assert word(Kind.MINIMUM, converged=False) == word(Kind.NOT_CRITICAL) == word(Kind.UNDETERMINED) == "not converged"


def test_a_landscape_far_from_zero_is_the_same():
    far = jnp.array([2000.0, -1000.0])
    found = hessian.landscape(lambda w: six_hump_camel(w - far), CAMEL[:64] + far, highest=2)
    assert (len(found.minima), len(found.saddles), len(found.others)) == (6, 7, 2)
    assert found.euler_characteristic == 1 and (found.joins >= 0).all()


def test_a_run_that_was_cut_off_ends_the_same(tmp_path):
    cut = tmp_path / "cut"
    whole = hessian.landscape(six_hump_camel, CAMEL[:48], store=tmp_path / "whole")
    hessian.landscape(six_hump_camel, CAMEL[:32], store=str(cut))
    parts = sorted(part.name for part in cut.glob("chunk-*"))
    (cut / parts[-1]).unlink()
    again = hessian.landscape(six_hump_camel, CAMEL[:48], store=cut)
    np.testing.assert_array_equal(whole.minima.params, again.minima.params)
    np.testing.assert_array_equal(whole.joins, again.joins)
    assert whole.ended == again.ended
    with pytest.raises(StoreError, match="this very search, or empty; its part 0 is of other starts"):
        hessian.landscape(six_hump_camel, CAMEL[64:], store=cut)
    with pytest.raises(StoreError, match=r"very computation, .* program is '\w+' there and '\w+' here$"):
        hessian.landscape(lambda w: six_hump_camel(w) + 1, CAMEL[:48], store=cut)
    with pytest.raises(StoreError, match=r"batch is 16 there and 8 here; radius is 0\.05\d* there and 0\.1\d* here"):
        hessian.landscape(six_hump_camel, CAMEL[:48], batch=8, radius=0.1, store=cut)
    with opened(tmp_path / "held", {}), pytest.raises(StoreError, match="store must not be in use"):
        hessian.landscape(six_hump_camel, CAMEL[:48], store=tmp_path / "held")


def test_seven_atoms_have_four_minima_and_twelve_saddles():
    found = hessian.landscape(lennard_jones, lennard_jones_starts(7, 400), symmetries=symmetry.atoms(3))
    np.testing.assert_allclose(found.minima.loss, LJ7, atol=1e-6)
    assert len(found.saddles) == 12 and (found.joins >= 0).all()
    np.testing.assert_allclose(found.saddles.loss[:6], LJ7_SADDLES, atol=1e-5)
    assert set(found.minima.flat) == set(found.saddles.flat) == {6}
    # 2 N! / h with the orders h = 20, 6, 6 and 2 of their point groups D5h, C3v, C3v and C2.
    assert sorted(found.minima.multiplicity) == [504, 1680, 1680, 5040] and found.minima.multiplicity[0] == 504


def test_a_saddle_at_the_center_of_the_orbits_is_reached_though_every_step_across_them_passes_it_by():
    starts = jnp.asarray(np.random.default_rng(0).normal(size=(16, 2)))
    found = hessian.landscape(lambda w: (1 - w[0] * w[1]) ** 2, starts, symmetries=symmetry.rescale(0, 1), highest=2)
    assert found.minima.flat.tolist() == [1, 1]  # both branches of the hyperbola
    np.testing.assert_allclose(found.saddles.params, [[0, 0]], atol=1e-9)
    assert found.joins.tolist() == [[0, 1]] and found.saddles.flat.tolist() == [0]


def test_three_frustrated_spins_have_the_six_points_of_a_torus():
    def energy(theta):
        return spin_glass(theta, -jnp.ones((3, 3)))

    starts = jnp.asarray(np.random.default_rng(0).uniform(0, 2 * np.pi, (24, 2)))
    found = hessian.landscape(energy, starts, symmetries=symmetry.periodic(2 * np.pi), highest=2)
    np.testing.assert_allclose(found.minima.loss, [-1.5, -1.5])  # turned by 120 degrees, to the left or to the right
    np.testing.assert_allclose(found.saddles.loss, [-1, -1, -1])
    np.testing.assert_allclose(found.others.loss, [3])
    assert found.euler_characteristic == 0
    assert found.joins.tolist() == [[0, 1]] * 3


def test_minima_that_no_saddle_joins_are_joined_along_a_string():
    at_rest = jnp.asarray([[0.08984201310031806, -0.7126564030207396], [-1.703606714969981, 0.7960835686726251]])
    alone = hessian.landscape(six_hump_camel, at_rest, modes=0, strings=0)
    assert len(alone.minima) == 2 and not len(alone.saddles)
    found = hessian.landscape(six_hump_camel, at_rest, modes=0)
    ends = [int(jnp.argmin(jnp.linalg.norm(found.minima.params - one, axis=1))) for one in at_rest]
    assert found.path(*ends) is not None
    known = [-8.06225774829855, -7.902619119987387, -5.545775017246524, -6.177182126967409]  # Newton's, with 60 digits
    for value in found.saddles.eigenvalues[:, 0]:
        assert np.abs(np.array(known) - value).min() < 1e-6


# ------------------------------------------------------------------- what follows from what, with searches made by hand


def point(theta, index=0, loss=0.0, *, code=None, converged=True, vectors=((1.0, 0.0), (0.0, 1.0))):
    """The end of a search, at a point that is accepted unless `converged` says no."""
    code = (Kind.MINIMUM, Kind.SADDLE, Kind.MAXIMUM)[index] if code is None else code
    theta, none = np.array(theta, float), np.zeros(2)
    return Ends(
        theta, np.array(loss), none, np.array(vectors), none, np.bool_(converged), np.array(code), np.array(index),
        np.array(0), np.array(0), np.array(0.0),
    )  # fmt: skip


LOST = point([9.0, 9.0], converged=False)


class Scripted:
    """Rounds whose searches end as they are told, whatever the jobs are; a step has the length scale 2."""

    def __init__(self, *ends, modes=3):
        self.ends, self.jobs, self.plan = deque(ends), [], types.SimpleNamespace(modes=modes, symmetries=None)
        self.size, self.dtype, self.like = 2, float, np.zeros(2)

    def stride(self, theta):
        return 2.0

    def run(self, jobs):
        self.jobs.append(jobs)
        return [self.ends.popleft() if self.ends else LOST for _ in jobs]


def searching(*ends, highest=1, stretched=False, most=None, progress=None, modes=3):
    rounds = Scripted(*ends, modes=modes)
    return _Search(rounds, Catalogue(None, np.zeros(2), 1.0), highest, stretched, most=most, progress=progress), rounds


def ways(jobs):
    return [(job.start.tolist(), job.mode, None if job.toward is None else job.toward.tolist()) for job in jobs]


def test_from_a_minimum_searches_climb_both_sides_of_each_direction_that_is_one():
    search, _ = searching()
    rows = ((0.6, 0.8), (0.0, 0.0), (0.0, 1.0), (1.0, 0.0))
    assert ways(search._jobs(point([1.0, 2.0], vectors=rows))) == [
        ([1.06, 2.08], 1, [0.6, 0.8]), ([0.94, 1.92], 1, [-0.6, -0.8]),  # a twentieth of the length scale away
        ([1.0, 2.1], 1, [0, 1]), ([1.0, 1.9], 1, [0, -1]),
    ]  # fmt: skip
    search.most = 0
    assert search._jobs(point([1.0, 2.0])) == []


def test_from_a_saddle_searches_flow_down_both_sides_and_climb_beside_it_to_index_two():
    search, _ = searching()
    rows = ((1.0, 0.0), (0.0, 0.0), (0.0, 1.0), (0.6, 0.8))
    down = [([1.002, 2.0], FLOW, None), ([0.998, 2.0], FLOW, None)]
    assert ways(search._jobs(point([1.0, 2.0], 1, vectors=rows))) == [
        *down,
        ([1.0, 2.1], 2, None),
        ([1.0, 1.9], 2, None),
    ]
    search.most = 0
    assert ways(search._jobs(point([1.0, 2.0], 1, vectors=rows))) == down


def test_from_a_point_of_index_two_searches_go_down_along_its_two_lowest_directions_to_saddles():
    search, _ = searching()
    rows = ((1.0, 0.0), (0.0, 1.0), (0.6, 0.8))
    sides = [([1.1, 2.0], 1, None), ([0.9, 2.0], 1, None), ([1.0, 2.1], 1, None), ([1.0, 1.9], 1, None)]
    assert ways(search._jobs(point([1.0, 2.0], 2, vectors=rows))) == sides
    search.most = 0
    assert search._jobs(point([1.0, 2.0], 2, vectors=rows)) == []


def test_starts_go_down_and_up_to_each_index_and_freely_where_orbits_stretch():
    starts = np.array([[1.0, 0.0], [2.0, 0.0]])
    for highest, stretched in ((1, False), (2, False), (2, True)):
        search, rounds = searching(highest=highest, stretched=stretched)
        search.begin(starts, 0)
        free = [(1, True), (1, True), (2, True), (2, True)] if stretched else []
        plan = [(aim, False) for aim in range(highest + 1) for _ in starts] + free
        assert [(job.mode, job.free) for job in rounds.jobs[0]] == plan
        assert [job.start[0] for job in rounds.jobs[0]] == [1.0, 2.0] * (len(plan) // 2)
        assert (search.used, search.last, search.searches) == (2, -1, len(plan))


def test_what_was_drawn_and_how_it_ended_are_those_of_the_ways_down_alone():
    low, high = point([0.0, 0.0]), point([5.0, 0.0], loss=1.0)
    ends = [high, low, low, LOST, point([2.0, 0.0], 1, 3.0), LOST, high, low]  # four ways down, and four up
    said = []
    search, rounds = searching(*ends, progress=lambda *words: said.append(words))
    search.begin(np.zeros((4, 2)), 8)
    assert dict(search.drawn) == {0: 1, 1: 2, -1: 1} and dict(search.ended) == {"minimum": 3, "not converged": 1}
    assert search.used == 12 and search.indices == {0: 2, 1: 1}
    assert said == [(0, "0 minima, 0 saddles"), (12, "2 minima, 1 saddles")]
    assert search.searches == 8 + 4 + 4 + 2 + 2  # two minima and a saddle are followed
    assert [len(jobs) for jobs in rounds.jobs] == [8, 12]
    assert search.last == 9  # start 8 found the first minimum, 9 the second, and 8 again the saddle
    assert search.catalogue.found == [2, 3, 1]


def test_a_start_that_leads_to_what_is_followed_to_something_new_is_the_last_of_its_round():
    search, _ = searching(point([0.0, 0.0]), LOST, LOST, LOST, point([2.0, 0.0], 1, 3.0))
    search.begin(np.zeros((2, 2)), 4)
    assert (search.used, search.last) == (6, 5)
    table = search.result(lambda x: x, lambda x: x)
    assert (table.starts, table.starts_since_new) == (6, 0)
    search.begin(np.zeros((3, 2)), 6)
    table = search.result(lambda x: x, lambda x: x)
    assert (search.last, table.starts, table.starts_since_new) == (5, 9, 3)


def test_new_points_are_followed_thirty_two_at_a_time():
    minima = [point([10.0 * i, 0.0]) for i in range(70)]
    search, rounds = searching(*minima)
    search.begin(np.zeros((70, 2)), 0)
    assert [len(jobs) for jobs in rounds.jobs] == [140, 32 * 4, 32 * 4, 6 * 4]


def test_a_saddle_joins_the_minima_at_which_its_two_ways_down_end():
    one, other, saddle = point([0.0, 0.0], loss=2.0), point([4.0, 0.0], loss=1.0), point([2.0, 0.0], 1, 5.0)
    half, top = point([8.0, 0.0], 1, 4.0), point([2.0, 2.0], 2, 9.0)
    starts = [one, other, saddle, half, top, LOST]
    first = [LOST] * 8 + [one, other, LOST, LOST] + [other, top]  # both sides of minima, of `saddle` and of `half`
    search, _ = searching(*starts, *first)
    search.begin(np.zeros((3, 2)), 0)
    found = search.result(lambda x: x, lambda x: x)
    assert found.minima.loss.tolist() == [1, 2] and found.saddles.loss.tolist() == [4, 5]
    assert found.joins.tolist() == [[-1, 0], [0, 1]]
    assert (found.others.loss.tolist(), found.others.index.tolist()) == ([9], [2])
    assert (found.minima.found.tolist(), found.others.found.tolist()) == ([3, 2], [2])
    assert found.drawn.tolist() == [1, 1]


def test_points_of_one_loss_keep_the_order_in_which_they_were_found():
    search, _ = searching(point([3.0, 0.0]), point([1.0, 0.0]), point([2.0, 0.0], loss=-1.0))
    search.begin(np.zeros((3, 2)), 0)
    found = search.result(lambda x: x, lambda x: x)
    assert found.minima.params[:, 0].tolist() == [2, 3, 1] and found.joins.shape == (0, 2)


def test_ends_that_are_degenerate_are_counted_and_others_that_are_no_points_are_not():
    flat = point([1.0, 0.0], code=Kind.DEGENERATE)
    search, _ = searching(flat, LOST, flat, point([2.0, 0.0], loss=np.nan))
    search.begin(np.zeros((2, 2)), 0)
    assert search.degenerate == 2 and dict(search.ended) == {"degenerate": 1, "not converged": 1}


def test_there_are_as_many_searches_as_are_wanted_and_then_only_ways_down():
    for most, spent in ((3, True), (4, True), (5, False)):
        search, rounds = searching(point([0.0, 0.0]), LOST, point([2.0, 0.0], 1, 3.0), most=most)
        search.begin(np.zeros((2, 2)), 0)
        assert [job.mode for job in rounds.jobs[1]] == ([FLOW] * 2 if spent else [1] * 4 + [FLOW] * 2 + [2] * 2)


def test_strings_are_drawn_for_so_many_pairs_and_each_once(monkeypatch):
    minima = [point([3.0 * i, 0.0], loss=float(i)) for i in range(4)]
    drawn = []
    monkeypatch.setattr(_Search, "_along", lambda self, at, there: drawn.append((at.theta[0], there[0])) or [])
    for most in (0, 1, 4, 5, 99):
        search, _ = searching(*minima, modes=0)
        search.begin(np.zeros((4, 2)), 0)
        drawn.clear()
        search.join(most)
        # Each minimum is a part of its own; the first of the largest ones is joined with each of the others.
        assert drawn == [(3, 0), (6, 0), (9, 0)][:most]
    search.most = 0
    search.join(9)
    assert len(drawn) == 3


def test_a_string_is_measured_by_its_curvature_and_the_length_scale(monkeypatch):
    asked = []

    def strung(loss, like, args, one, other, rate, longest):
        asked.append([np.asarray(each).tolist() for each in (one, other, rate, longest)])
        return np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]]), np.array([0.0, 2.0, 1.0])

    monkeypatch.setattr("hessian.landscapes.landscape.strung", strung)
    search, rounds = searching()
    rounds.loss = rounds.args = None
    curved = point([0.0, 0.0])._replace(eigenvalues=np.array([0.5, 4.0]))
    assert ways(search._along(curved, np.array([2.0, 0.0]))) == [([1, 1], 1, [1, 0])]
    assert asked == [[[0, 0], [2, 0], 1 / 8, 0.1]]


@pytest.mark.parametrize(("patience", "starts"), [(1, 4), (2, 4), (3, 6), (4, 6), (None, 9)])
def test_a_search_ends_after_so_many_starts_in_a_row_that_led_to_nothing_new(patience, starts, monkeypatch):
    class Barren(_Search):
        def begin(self, starts, first):
            self.used, self.last = first + len(starts), 1  # the second start is the last that led to something new

    monkeypatch.setattr("hessian.landscapes.landscape._Search", Barren)
    found = hessian.landscape(lambda w: w @ w, jnp.ones((9, 2)), patience=patience, batch=2, strings=0)
    assert (found.starts, found.starts_since_new) == (starts, starts - 2)


def test_the_length_scale_of_small_starts_is_their_largest_number(monkeypatch):
    units = []

    class Barren(_Search):
        def begin(self, starts, first):
            units.append((self.rounds.unit, self.catalogue.unit))

    monkeypatch.setattr("hessian.landscapes.landscape._Search", Barren)
    for size, unit in ((0.25, 0.25), (1.0, 1.0), (3.0, 1.0), (0.0, 1.0), (np.nan, 1.0)):
        hessian.landscape(lambda w: w @ w, jnp.array([[0.0, size / 2], [-size, 0.0]]), strings=0)
        assert units.pop() == (unit, unit)


class Killed(Exception):
    """What ends a process in the midst of its work."""


def test_a_run_that_dies_again_and_again_ends_the_same(tmp_path, monkeypatch):
    whole = hessian.landscape(six_hump_camel, CAMEL[:48])
    write, left, deaths = Store.write, [], 0

    def dying(store, *part):
        if not left:
            raise Killed
        left.pop()
        write(store, *part)

    monkeypatch.setattr(Store, "write", dying)
    while True:
        left[:] = range(3)  # parts that it writes before it dies
        try:
            again = hessian.landscape(six_hump_camel, CAMEL[:48], store=tmp_path)
            break
        except Killed:
            deaths += 1
    assert deaths >= 3
    jax.tree.map(np.testing.assert_array_equal, whole[:6], again[:6])
    assert whole[6:] == again[6:]


ON_TWO_DEVICES = """
import jax, numpy as np
import hessian
from gdlab.problems import six_hump_camel
from hessian.landscapes import rounds

used, seek = set(), rounds.seek_all
def seen(*args):
    found = seek(*args)
    used.update(found[0].theta.devices())
    return found
rounds.seek_all = seen
starts = np.random.default_rng(0).uniform([-3, -2], [3, 2], size=(32, 2))
shared = hessian.landscape(six_hump_camel, starts, strings=0)
assert used == set(jax.devices()) and len(used) == 2, used
used.clear()
with jax.default_device(jax.devices()[1]):
    alone = hessian.landscape(six_hump_camel, starts, strings=0)
assert used == {jax.devices()[1]}, used
jax.tree.map(np.testing.assert_array_equal, shared, alone)
print(len(shared.minima), len(shared.saddles))
"""


def test_two_devices_find_what_one_finds_to_the_last_bit():
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    environment["JAX_ENABLE_X64"] = "1"
    call = [sys.executable, "-c", ON_TWO_DEVICES]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == "6 7\n", done.stderr


def test_patience_ends_a_search_that_finds_nothing_new():
    found = hessian.landscape(six_hump_camel, CAMEL, patience=24)
    assert found.starts < 128 and found.starts_since_new >= 24


def test_what_no_one_gives_is_a_small_search_for_saddles_of_index_one():
    said = {name: one.default for name, one in inspect.signature(hessian.landscape).parameters.items()}
    numbers = {name: value for name, value in said.items() if type(value) in (int, float)}
    assert numbers == {"highest": 1, "modes": 6, "steps": 200, "radius": 0.05, "strings": 16, "batch": 16}
    assert said["patience"] is said["searches"] is said["store"] is None


REFUSED = {
    "highest": ({"highest": 3}, "highest must be a whole number, from 1 to 2; got 3"),
    "modes": ({"modes": -1}, "modes must be a whole number, at least 0"),
    "patience": ({"patience": 0}, "patience must be a whole number, at least 1"),
    "searches": ({"searches": 0}, "searches must be a whole number, at least 1"),
    "strings": ({"strings": -1}, "strings must be a whole number, at least 0"),
    "batch": ({"batch": 0}, "batch must be a whole number"),
    "radius": ({"radius": 0.0}, "radius must lie in"),
    "store": ({"store": __file__}, "store must be a folder that can be written"),
    "symmetries": ({"symmetries": symmetry.rotations(2)}, "symmetries must leave the loss as it is"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_allowed_is_refused_in_one_sentence(case):
    arguments, sentence = REFUSED[case]
    with pytest.raises((TypeError, ValueError), match=sentence):
        hessian.landscape(six_hump_camel, CAMEL, **arguments)
