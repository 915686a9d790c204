"""Factors that cancel: what is left computes the same, and nothing else is changed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
from gdlab.sweeps.algebra import simplified


def moved(v, e, sign=1, *, zero=lambda v, e: e == 0, instead=1.0, times=lambda v, rate: rate):
    """What momentum makes of it: v + e v, by way of its quotient by a rate that is 1 in place of 0."""
    rate = jnp.where(zero(v, e), instead, e)
    factor = times(v, rate)
    return (factor if sign > 0 else -factor) * ((v + e * v) / rate)


PROGRAMS = {
    "a product with a divisor": (moved, 0),
    "with its negative": (lambda v, e: moved(v, e, -1), 0),
    "a number for all": (lambda v, e: moved(v, e.sum()), 0),
    "a divisor that may be 0": (lambda v, e: e * ((v + e * v) / e), 1),
    "a numerator without the divisor": (lambda v, e: (lambda d: d * (v / d))(jnp.where(e == 0, 1.0, e)), 1),
    "the negative of another number": (lambda v, e: moved(v, e, -1, times=lambda v, rate: v), 1),
    "a function of the divisor": (lambda v, e: moved(v, e, times=lambda v, rate: jnp.exp(rate)), 1),
    "a divisor that is one elsewhere than at 0": (lambda v, e: moved(v, e, zero=lambda v, e: e == 0.5), 1),
    "a divisor that is one where another is 0": (lambda v, e: moved(v, e, zero=lambda v, e: v == 0), 1),
    "a divisor that is one above 0": (lambda v, e: moved(v, e, zero=lambda v, e: e > 0), 1),
    "a divisor that stays 0": (lambda v, e: moved(v, e, instead=0.0), 1),
    "ones": (lambda v, e: v * jnp.ones(3) / jnp.ones(3), 0),
    "a choice between equal numbers": (lambda v, e: jnp.where(jnp.ones(3) < 1.0, v / e, v), 0),
    "a one that has been whole": (lambda v, e: v / jnp.ones(3).astype("int32").astype(float), 0),
    "a choice that is known": (lambda v, e: jnp.where(jnp.ones(3) > 2.0, v / e, v), 0),
    "in a loop": (lambda v, e: jax.lax.fori_loop(0, 3, lambda _, c: c + moved(v, e), v), 0),
    "in a branch": (lambda v, e: jax.lax.cond(e[0] > 0, lambda: moved(v, e), lambda: v), 0),
    "another divisor": (lambda v, e: v * (v / e), 1),
    "a sum": (lambda v, e: e + v / e, 1),
    "one of several numbers": (lambda v, e: e[0] * (v / e), 1),
    "a choice that is not known": (lambda v, e: jnp.where(v > 0, v / e, v), 1),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_cancels_goes_and_the_rest_stays(name):
    fn, quotients = PROGRAMS[name]
    v, e = np.array([1.0, -2.0, 3.0]), np.array([0.3, 0.7, 0.1])
    program = simplified(jax.make_jaxpr(fn)(v, e))
    assert used(program).count("div") == quotients
    found = jax.core.eval_jaxpr(program.jaxpr, program.consts, v, e)[0]
    np.testing.assert_allclose(found, fn(v, e), rtol=4e-16)


def test_numbers_that_a_dtype_holds_are_converted_and_others_are_left_to_the_program():
    def left(number, dtype):
        program = simplified(jax.make_jaxpr(lambda v: v * jnp.full(3, number).astype(dtype))(np.ones(3)))
        return used(program).count(f"new_dtype={np.dtype(dtype).name}")

    for number, dtype, count in (
        (1000.0, "int32", 0), (-(2.0**30), "int32", 0), (2.0**31 + 2, "int32", 1), (1000.5, "int32", 1),
        (0.5, "bool", 1), (1.0, "bool", 0), (127.0, "int8", 0), (128.0, "int8", 1), (0.1, "float32", 0),
    ):  # fmt: skip
        assert left(number, dtype) == count


def used(program):
    """The text of a program without what nothing uses."""
    return str(jax.interpreters.partial_eval.dce_jaxpr(program.jaxpr, [True] * len(program.jaxpr.outvars))[0])


ANY = np.array([0.0, -0.0, 1.0, -2.0, 7.0, 1e-30, np.inf, -np.inf, np.nan])
GUARDS = {
    "a product with a divisor": lambda x, e: e * (x / e),
    "a guarded rate": lambda x, e: jnp.where(e == 0, 1.0, e) * (x / jnp.where(e == 0, 1.0, e)),
    "momentum": moved,
    "a size that may be NaN": lambda x, e: jnp.where(jnp.maximum(jnp.sqrt(x), 1e-8) > 0, e, -1.0),
    "a size that may be infinite": lambda x, e: jnp.where(jnp.sqrt(x) > 1e200, -1.0, e),
    "a size above two bounds": lambda x, e: (lambda s: jnp.where((s > 1) & (s > 1e200), -1.0, e))(jnp.sqrt(x)),
    "a size below a bound": lambda x, e: jnp.where(jnp.sqrt(x) + 1e-8 < 1e200, -1.0, e),
    "whole numbers": lambda x, e: jax.lax.div(jnp.int32([7, -7]), jnp.int32([3, 3])) * jnp.int32([3, 3]),
    "a rate of whole numbers": lambda x, e: moved(jnp.arange(5), jnp.int32([3, 2, 4, 5, 7])).astype(jnp.int32),
    "a whole number out of range": lambda x, e: e * jnp.full(9, 300.0).astype(jnp.int8),
    "a number out of range": lambda x, e: e * jnp.full(9, 300.5).astype(jnp.int8) + jnp.full(9, 0.5).astype(bool),
}


@pytest.mark.parametrize("name", GUARDS)
def test_what_is_no_number_stays_none_and_whole_numbers_keep_their_remainders(name):
    for each in ANY:
        given = ANY, np.full(9, each)
        program = jax.make_jaxpr(GUARDS[name])(*given)
        programs = simplified(program), program
        found, wanted = (jax.core.eval_jaxpr(one.jaxpr, one.consts, *given)[0] for one in programs)
        if name == "momentum":  # of infinite rates one is infinite, the other NaN
            found, wanted = (jnp.where(jnp.isfinite(one), one, jnp.nan) for one in (found, wanted))
        np.testing.assert_allclose(found, wanted, rtol=1e-15)


@pytest.mark.parametrize("make", [gdlab.momentum, gdlab.nesterov, gdlab.adam, gdlab.rmsprop])
@pytest.mark.parametrize("rate", [0.01, 0.0])
def test_runs_are_those_of_the_program(make, rate):
    def run(rate):
        return gdlab.minimize(lambda x: jnp.sum(x**4) + x[0] * x[1], make(rate), jnp.array([1.0, -0.5]), 30)

    program = jax.make_jaxpr(run)(rate)
    found = jax.core.eval_jaxpr(simplified(program).jaxpr, simplified(program).consts, rate)
    for mine, theirs in zip(found, jax.tree.leaves(run(rate)), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-15)


def test_ranges_that_are_known_settle_a_comparison_and_others_do_not():
    def counted(fn):
        return str(simplified(jax.make_jaxpr(fn)(np.ones(3, "f4")))).count("= lt ")

    root = lambda x: jnp.sqrt(jnp.maximum(x, 1e-30)) + 1e-8  # noqa: E731
    for least, left in ((1e-9, 0), (1e-7, 1), (1e19, 1), (1e20, 1)):
        assert counted(lambda x, least=least: jnp.where(root(x) < least, 0.0, x)) == left

    higher = lambda x: jnp.sqrt(jnp.maximum(x, 1e-4)) + 1  # noqa: E731  # from 1.01 on
    for least, left in ((1.005, 0), (1.015, 1)):
        assert counted(lambda x, least=least: jnp.where(higher(x) < least, 0.0, x)) == left

    def turns(x):  # a number that a loop is handed
        return jax.lax.scan(lambda c, _: (jnp.where(jnp.sqrt(c) < -numbers[0], 0.0, c + 1), None), x, None, 3)[0]

    numbers = [1.0]
    assert counted(turns) == 0


def test_no_finite_number_is_above_the_upper_end_of_its_range():
    """In float32 the largest root is 1.84e19, and 1e19 more; where either is larger than the other, the larger one."""
    for size, bound, left in (
        (lambda x: jnp.sqrt(x) + 1e19, 2.8e19, 1),
        (lambda x: jnp.sqrt(x) + 1e19, 2.9e19, 0),
        (lambda x: jnp.maximum(jnp.sqrt(x), 1e19), 1.8e19, 1),
        (lambda x: jnp.maximum(jnp.sqrt(x), 1e19), 1.9e19, 0),
        (lambda x: jnp.maximum(jnp.sqrt(x), 2e19), 1.9e19, 1),
    ):
        for above in (lambda s, bound=bound: s > bound, lambda s, bound=bound: bound < s):

            def chosen(x, size=size, above=above):
                s = size(x)
                return jnp.where(jnp.isfinite(s) & above(s), 0.0, x)

            assert used(simplified(jax.make_jaxpr(chosen)(np.ones(3, "f4")))).count("is_finite") == left


def test_a_step_of_adam_takes_no_other_units():
    run = lambda rate: gdlab.minimize(lambda x: x * x, gdlab.adam(rate), 1.0, 3, record=()).params  # noqa: E731
    text = used(simplified(jax.make_jaxpr(run)(0.1)))
    assert "= gt " not in text
    assert "= lt " not in text


def test_a_run_of_momentum_has_no_quotient_left():
    run = lambda rate: gdlab.minimize(lambda x: x * x, gdlab.momentum(rate), 1.0, 3, record=()).params  # noqa: E731
    assert "div" in str(jax.make_jaxpr(run)(0.1))
    assert "div" not in used(simplified(jax.make_jaxpr(run)(0.1)))
