"""Kernels: what is compiled as one function of the machine, and that it computes the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
from gdlab.sweeps import batching, plan, workers
from gdlab.sweeps.fusion import as_kernel, fits_kernel


def looped(body):
    return lambda x: jax.lax.fori_loop(0, 9, lambda _, x: body(x), x)


@pytest.mark.parametrize(
    ("fn", "fits"),
    [
        (looped(jnp.sin), True),
        (looped(lambda x: jnp.array([[0.6, 0.8], [-0.8, 0.6]]) @ x), True),
        (lambda x: jnp.sin(x), False),  # no loop
        (looped(lambda x: jnp.sort(x)), False),
        (looped(lambda x: jnp.linalg.solve(jnp.eye(2), x)), False),
        (looped(lambda x: x + jnp.ones((5000, 2)).sum(0)), False),  # large
        (looped(lambda x: (jnp.ones((2, 9)) @ jnp.ones((9, 2))) @ x), False),
    ],
)
def test_small_simple_loops_are_kernels(fn, fits):
    assert fits_kernel(jax.make_jaxpr(fn)(jnp.ones(2)).jaxpr) == fits


@pytest.mark.full
@pytest.mark.parametrize("make", [gdlab.adam, gdlab.radam, gdlab.swats])
def test_a_kernel_computes_what_the_program_does(make):
    from gdlab.problems import surface

    beale = surface("beale")

    def run(rate):
        return gdlab.minimize(beale.loss, make(rate), jnp.array(beale.starts[0]), 40, every=7)

    rates = jnp.geomspace(1e-3, 1e-1, 5)
    assert fits_kernel(jax.make_jaxpr(jax.vmap(run))(rates).jaxpr)
    kernel = jax.jit(as_kernel(jax.vmap(run)), compiler_options=batching.KERNEL_OPTIONS)
    assert "xla_cpu_small_call" in kernel.lower(rates).compile().as_text()
    for ours, other in zip(jax.tree.leaves(kernel(rates)), jax.tree.leaves(jax.vmap(run)(rates)), strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-9, atol=1e-12)


def test_what_no_kernel_can_do_is_done_without_one(monkeypatch):
    monkeypatch.setattr(batching, "fits_kernel", lambda jaxpr: True)
    found = gdlab.sweep(lambda x: jax.lax.fori_loop(0, 3, lambda _, x: jnp.sort(x)[::-1] + x, x), x=jnp.eye(3))
    np.testing.assert_array_equal(found["value"][0], [8.0, 0.0, 0.0])


@pytest.mark.parametrize("lanes", [1, 3])
def test_arguments_that_nothing_uses_once_the_program_is_simplified_abort_nothing(lanes):
    def run(rate, unused):
        return gdlab.minimize(lambda x: x * x + 0 * unused, gdlab.gd(rate), 4.0, 3).params

    found = gdlab.sweep(run, rate=jnp.full(lanes, 0.25), unused=jnp.arange(2))
    np.testing.assert_array_equal(found["value"], 0.5)


@pytest.mark.full
def test_threads_of_several_cores_change_nothing(monkeypatch):
    def run(rate):
        return gdlab.minimize(lambda x: jnp.sum(x**4), gdlab.adam(rate), jnp.ones(2), 20).history["loss"]

    rates, found = jnp.geomspace(1e-3, 1e-1, 100), []
    for cores in (1, 3):
        monkeypatch.setattr(workers, "_cores", lambda cores=cores: cores)
        plan._planned.cache_clear()
        found.append(gdlab.sweep(run, rate=rates, block=16))
    assert found[0].equals(found[1])


def test_a_kernel_holds_arrays_and_products_up_to_its_limits():
    for size, fits in ((4096, True), (4097, False)):
        assert fits_kernel(jax.make_jaxpr(looped(jnp.sin))(jnp.ones(size)).jaxpr) == fits
    for (rows, inner, columns), fits in (
        ((2, 4, 2), True),
        ((1, 17, 1), False),
        ((1, 16, 1), True),
        ((3, 6, 1), False),
    ):
        left, right = jnp.ones((rows, inner)), jnp.ones((inner, columns))
        program = jax.make_jaxpr(lambda a, b: looped(jnp.sin)((a @ b).sum()))(left, right)
        assert fits_kernel(program.jaxpr) == fits
    outside = jax.make_jaxpr(lambda x: looped(jnp.sin)(jnp.concatenate([x, x]).sum()))(jnp.ones(4000))
    assert fits_kernel(outside.jaxpr)  # what is large stands in no loop


def test_a_sweep_of_small_loops_is_made_as_a_kernel_and_of_others_is_not(monkeypatch):
    made, plain = [], batching.as_kernel
    monkeypatch.setattr(batching, "as_kernel", lambda fn: lambda *args: made.append(fn) or plain(fn)(*args))
    for body, lanes, kernels in ((jnp.sin, 16, 1), (jnp.sin, 1, 1), (jnp.sort, 16, 0)):
        made.clear()
        gdlab.sweep(lambda x, body=body: looped(body)(x), x=jnp.eye(lanes))
        assert len(made) == kernels
