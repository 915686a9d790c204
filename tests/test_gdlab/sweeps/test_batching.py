"""Lanes: how many at once, over cores and devices, and that none of it changes a result."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
from gdlab.sweeps import batching


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


def test_blocks_of_long_results_that_are_calls_of_their_own_change_nothing(monkeypatch):
    def swept(long):
        def run(rate):
            return gdlab.minimize(lambda x: x**2 / 2, gdlab.momentum(rate), 1.0, 20).history

        monkeypatch.setattr(batching, "LONG", long)
        return gdlab.sweep(run, rate=np.linspace(0.1, 1, 200), block=64)

    one, many = swept(2**40), swept(1)
    assert one.drop_attrs().identical(many.drop_attrs())
    assert not np.isnan(one["loss"]).any()


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
