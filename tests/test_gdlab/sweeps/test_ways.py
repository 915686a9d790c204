"""Ways: which one a program takes, that all compute the same, and that one which was measured is kept."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
from gdlab.sweeps import plan, ways
from gdlab.sweeps.ways import Task, Way

pytestmark = pytest.mark.full

SMALL = Task("a program", small=True, carried=32, results=8, operations=1e7, lanes=4096)
LARGE = SMALL._replace(small=False, carried=2**16)


def test_as_many_lanes_as_fit_in_half_a_mebibyte_a_power_of_two_and_at_least_four():
    for carried, asked, fitting in (
        (1, 2**19, 2**19),
        (1024, 512, 512),
        (1024, 513, 512),
        (1025, 512, 256),
        (768, 1000, 512),
        (2**16, 100, 8),
        (2**17, 100, 4),
        (2**30, 100, 4),
        (2**30, 3, 3),
    ):
        assert ways.fitting_block(carried, asked) == fitting


def test_the_largest_loop_is_measured_wherever_it_stands():
    def program(x):
        def body(_, carry):
            inner = jax.lax.fori_loop(0, 2, lambda _, y: y + 1, jnp.concatenate([carry, carry]))
            return inner[:3]

        small = jax.lax.while_loop(lambda y: y[0] < 0, lambda y: y + 1, x[:1])
        return jax.lax.fori_loop(0, 3, body, x), small

    counters = 3 * 4  # an upper end, a counter and a count of turns, each an int32, may be carried as well
    measured = ways.carried_bytes(jax.make_jaxpr(program)(jnp.zeros(3)).jaxpr)
    assert 6 * 8 <= measured <= 6 * 8 + counters
    assert ways.carried_bytes(jax.make_jaxpr(jnp.sin)(jnp.zeros(3)).jaxpr) == 1


def test_a_chunk_beside_an_accelerator_is_as_large_as_its_memory_allows(monkeypatch):
    assert [ways.usual_chunk(width) for width in (1, 2**12, 2**30)] == [2**16] * 3
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert [ways.usual_chunk(width) for width in (1, 2**12, 2**30)] == [2**20, 2**18, 2**16]


def test_lanes_of_vectors_fill_them():
    assert [ways.kernel_block(SMALL, count) for count in (40, 64, 100, 700, 4096)] == [64, 64, 128, 384, 512]
    assert ways.kernel_block(SMALL._replace(carried=2**20), 4096) == ways.VECTOR
    uneven = SMALL._replace(results=65_281)  # of which 2^23 bytes hold 128 lanes and a half
    assert [ways.kernel_block(uneven, count) for count in (384, 385)] == [128, 128]
    long = SMALL._replace(results=2**16)  # of 128 lanes as much as is computed at once
    assert [ways.kernel_block(long, count) for count in (64, 128, 4096)] == [64, 128, 128]


@pytest.mark.parametrize(
    ("task", "asked", "way"),
    [
        (SMALL, (), ("vectors", 512)),
        (SMALL._replace(lanes=32), (), ("kernel", 32)),
        (SMALL._replace(lanes=33), (), ("vectors", 64)),
        (SMALL, (16,), ("kernel", 16)),
        (SMALL, (100,), ("vectors", 100)),
        (SMALL, (100, "vmap"), ("vmap", 100)),
        (SMALL, (None, "kernel"), ("kernel", 4096)),
        (LARGE, (), ("vmap", 8)),
        (LARGE, (10_000,), ("vmap", 4096)),
    ],
)
def test_the_way_by_rule_keeps_to_what_is_asked_for(task, asked, way):
    assert ways.by_rule(task, *asked) == Way(*way)


def test_no_kernel_is_made_of_a_program_that_none_can_hold():
    with pytest.raises(ValueError, match=r"^way must be 'vmap' for a program that is no loop"):
        ways.by_rule(LARGE, None, "vectors")


def test_the_way_by_rule_is_measured_first_beside_blocks_of_no_more_lanes_than_there_are():
    assert ways.candidates(LARGE) == [Way("vmap", block) for block in (8, 1, 4, 16, 64)]
    assert ways.candidates(LARGE._replace(lanes=16)) == [Way("vmap", block) for block in (8, 1, 4, 16)]
    assert ways.candidates(LARGE._replace(lanes=15)) == [Way("vmap", block) for block in (8, 1, 4)]
    assert ways.candidates(SMALL._replace(lanes=128)) == [Way("vectors", 128), Way("kernel", 32)]
    vectors = [Way("vectors", block) for block in (128, 256, 1024)]
    assert ways.candidates(SMALL) == [Way("vectors", 512), Way("kernel", 32), *vectors]


def run(rate):
    return gdlab.minimize(lambda x: jnp.sum(jnp.cos(x) + x**4), gdlab.adam(rate), jnp.ones(2), 50).history["loss"]


def test_every_way_computes_the_same_and_is_said(tmp_path):
    rates = jnp.geomspace(1e-3, 1e-1, 70)
    found = [gdlab.sweep(run, rate=rates, way=name) for name in ways.NAMES]
    assert [one.attrs["way"] for one in found] == list(ways.NAMES)
    for one in found[1:]:
        np.testing.assert_allclose(one["value"], found[0]["value"], rtol=1e-12)
    with pytest.raises(ValueError, match=r"^way must be 'vmap', 'kernel' or 'vectors'; got 'best'"):
        gdlab.sweep(run, rate=rates, way="best")


def test_the_fastest_candidate_is_measured_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("GDLAB_CACHE", str(tmp_path))
    asked = []

    def seconds(way):
        asked.append(way)
        return 1 + abs(way.block - 128)

    for _ in range(2):
        assert ways.chosen_way(SMALL, seconds) == Way("vectors", 128)
    assert asked == ways.candidates(SMALL)
    [kept] = tmp_path.rglob("*.json")
    assert json.loads(kept.read_text()) == ["vectors", 128]
    for broken in ("", "[3]", "3", '["vectors", "many"]'):
        kept.write_text(broken)
        assert ways.chosen_way(SMALL, seconds) == Way("vectors", 128)


def test_another_way_is_taken_only_where_it_is_clearly_faster(tmp_path, monkeypatch):
    monkeypatch.setenv("GDLAB_CACHE", str(tmp_path))
    usual, other = ways.by_rule(SMALL), Way("vectors", 128)
    for number, (seconds, chosen) in enumerate(((0.96, usual), (0.94, other))):
        task = SMALL._replace(program=str(number))
        assert ways.chosen_way(task, lambda way, s=seconds: s if way == other else 1.0) == chosen


def test_what_is_short_or_has_no_cache_goes_by_the_rule(tmp_path, monkeypatch):
    monkeypatch.setenv("GDLAB_CACHE", "off")
    assert ways.chosen_way(SMALL, None) == ways.by_rule(SMALL)
    monkeypatch.setenv("GDLAB_CACHE", str(tmp_path))
    short = SMALL._replace(operations=10.0)
    assert ways.chosen_way(short, None) == ways.by_rule(short)


@pytest.mark.parametrize(("lanes", "measured"), [(16, False), (4096, True)])
def test_a_way_is_measured_where_that_takes_less_than_the_sweep(lanes, measured, tmp_path, monkeypatch):
    monkeypatch.setenv("GDLAB_CACHE", str(tmp_path))
    task, asked = ways.Task("networks", False, 345892, 9640, 7e8, lanes), []
    ways.chosen_way(task, lambda way: asked.append(way) or 1.0)
    assert asked == (ways.candidates(task) if measured else [])
    assert 2 * sum(way.block for way in asked) <= lanes


def test_a_sweep_measures_where_it_is_worth_it_and_a_store_keeps_the_way_of_its_first_chunk(tmp_path, monkeypatch):
    monkeypatch.setenv("GDLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ways, "WORTH_TIMING", 1.0)
    monkeypatch.setattr(ways, "candidates", lambda task: [Way("vmap", 3), Way("kernel", 4)])
    timed = iter((2.0, 1.0))
    monkeypatch.setattr(plan, "seconds_of", lambda made, leaves, way: next(timed))
    rates, how = jnp.geomspace(1e-3, 1e-1, 70), {"chunk": 10, "store": tmp_path / "store"}
    plan._planned.cache_clear()
    first = gdlab.sweep(run, rate=rates, **how)
    assert (first.attrs["way"], first.attrs["block"]) == ("kernel", 4)
    [kept] = (tmp_path / "cache").rglob("*.json")
    kept.write_text('["vmap", 3]')
    plan._planned.cache_clear()
    assert gdlab.sweep(run, rate=rates, chunk=10).attrs["way"] == "vmap"
    again = gdlab.sweep(run, rate=rates, **how)
    assert (again.attrs["way"], again.attrs["block"]) == ("kernel", 4)
    assert again["value"].equals(first["value"])
    with pytest.raises(ValueError, match=r"way is 'kernel' there and 'vectors' here"):
        gdlab.sweep(run, rate=rates, way="vectors", block=4, **how)
    plan._planned.cache_clear()


def test_operations_are_those_of_all_turns():
    def program(x):
        y = jax.lax.scan(lambda c, _: (c @ jnp.ones((3, 3)) + 1, None), x, None, 5)[0]
        return jax.lax.while_loop(lambda c: c[0] < 0, lambda c: c + 1, y)

    counted = ways.operations(jax.make_jaxpr(program)(jnp.zeros(3)).jaxpr)
    least = 5 * (9 + 3) + (3 + 3) * ways.TURNS  # a product and a sum; an element, a comparison and a sum
    assert least <= counted <= 1.1 * least


def test_a_measurement_is_the_shortest_of_a_few_runs_behind_the_first(monkeypatch):
    clock, taken = iter(range(1000)), []
    monkeypatch.setattr(ways.time, "process_time", lambda: 0.01 * next(clock))
    assert ways.timed(lambda: taken.append(1)) == pytest.approx(0.01)
    assert len(taken) == 6
    monkeypatch.setattr(ways, "LONGEST", 0.015)
    assert ways.timed(lambda: taken.append(1)) == pytest.approx(0.01)
    assert len(taken) == 6 + 3
