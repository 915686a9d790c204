"""What JAX itself works out of whole numbers, and sums, differences and products that need no rounding."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian.proofs.equations import EXACT, exact, is_logaddexp, narrows, worked_out
from hessian.proofs.tape import Uncovered

pytestmark = pytest.mark.full


def equation(fn, *args):
    """The only operation of a function."""
    (one,) = jax.make_jaxpr(fn)(*args).eqns
    return one


@pytest.mark.parametrize("name", EXACT)
def test_numbers_are_added_and_multiplied_where_the_result_is_exact(name):
    draw = np.random.default_rng(3)
    seen = {True: 0, False: 0}
    for _ in range(200):
        a, b = (np.round(draw.normal(size=2) * 2.0**20) * 2.0 ** draw.choice([-60, -20, 0, 12]) for _ in range(2))
        wanted = [EXACT[name](Fraction(x), Fraction(y)) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
        known = all(Fraction(float(one)) == one for one in wanted)
        found = exact(name, a, b)
        assert (found is not None) == known
        assert not known or [Fraction(one) for one in found.tolist()] == wanted
        seen[known] += 1
    assert name == "mul" or min(seen.values()) > 20


def test_only_a_few_finite_numbers_are_worked_out_one_by_one():
    one, inf = np.ones(1), np.array([np.inf])
    assert exact("add", np.arange(16.0), one).tolist() == list(range(1, 17))
    assert exact("sub", one, np.arange(16.0)).tolist() == [1.0 - i for i in range(16)]
    assert exact("mul", np.full((2, 1), 3.0), np.arange(4.0)).tolist() == [[0, 3, 6, 9]] * 2
    assert exact("add", np.int32(2), np.float32(0.5)).item() == 2.5
    for refused in (
        ("add", np.arange(17.0), one), ("add", one, np.arange(17.0)), ("div", one, one), ("add", inf, one),
        ("mul", one, inf), ("add", np.array([np.nan]), one), ("mul", np.array([1e200]), np.array([1e200])),
        ("add", np.array([1e308]), np.array([1.7e308])), ("add", np.array([0.1]), np.array([0.2])),
    ):  # fmt: skip
        assert exact(*refused) is None


def test_whole_numbers_beyond_32_bits_are_refused_where_64_are_off():
    twice = equation(lambda a: a + a, jnp.int64(0))
    unsigned = equation(lambda a: a + a, jnp.uint64(0))
    for narrow, given, eqn, fine in (
        (True, 2**30 - 1, twice, True), (True, 2**30, twice, False), (False, 2**30, twice, True),
        (True, -(2**30), twice, True), (True, -(2**30) - 1, twice, False),
        (True, 2**31 - 1, unsigned, True), (True, 2**31, unsigned, False), (False, 2**31, unsigned, True),
    ):  # fmt: skip
        value = [np.asarray(given, eqn.invars[0].aval.dtype)] * 2
        if fine:
            assert worked_out(eqn, value, narrow)[0] == 2 * given
        else:
            with pytest.raises(Uncovered, match="add goes beyond 32 bits"):
                worked_out(eqn, value, narrow)
    assert worked_out(equation(lambda a: a + a, 1.0), [np.ones(())] * 2, True) is None  # a rule adds numbers


@pytest.mark.parametrize(("dtype", "most"), [("bfloat16", 2**7), ("float16", 2**10)])
def test_counts_as_numbers_are_as_many_as_their_digits_tell_apart(dtype, most):
    for count, fine in ((most, True), (most + 1, False)):
        eqn = equation(lambda: jax.lax.iota(dtype, count))  # noqa: B023
        if fine:
            assert worked_out(eqn, [], False)[0].astype(float).tolist() == list(range(count))
        else:
            with pytest.raises(Uncovered, match=f"iota rounds to {dtype}"):
                worked_out(eqn, [], False)


def test_a_whole_number_becomes_a_number_where_that_rounds_nothing():
    eqn = equation(lambda a: a.astype(jnp.float32), jnp.int64(0))
    assert worked_out(eqn, [np.array([2**24, 3])], False)[0].tolist() == [2**24, 3]
    with pytest.raises(Uncovered, match="convert_element_type rounds to float32"):
        worked_out(eqn, [np.array([2**24 + 1])], False)


def test_random_draws_are_refused_where_64_bits_are_off():
    eqn = equation(lambda key: jax.random.bits(key, (2,)), jax.random.key(0))
    assert eqn.primitive.name == "random_bits"
    with pytest.raises(Uncovered, match="random draws are others in 64 bits"):
        worked_out(eqn, [jax.random.key(0)], True)
    assert worked_out(eqn, [jax.random.key(0)], False)[0].shape == (2,)


def test_an_operation_narrows_where_it_rounds_to_fewer_digits():
    for given, to, narrow in (
        ("float64", "float32", True), ("float32", "float64", False), ("float32", "bfloat16", True),
        ("float16", "bfloat16", True), ("bfloat16", "float16", False), ("float32", "int32", False),
        ("int64", "float32", False),
    ):  # fmt: skip
        assert narrows(equation(lambda x: jax.lax.convert_element_type(x, to), jnp.zeros((), given))) == narrow  # noqa: B023


def test_a_log_of_two_exponentials_is_known_by_its_program():
    inner = jax.make_jaxpr(jnp.logaddexp)(1.0, 2.0).eqns[0].params["call_jaxpr"]
    assert is_logaddexp(inner)
    assert not is_logaddexp(jax.make_jaxpr(lambda a, b: a + b)(1.0, 2.0))
    assert not is_logaddexp(jax.make_jaxpr(lambda a: a)(1.0))
    assert not is_logaddexp(jax.make_jaxpr(lambda a, b: a + b)(1, 2.0))
