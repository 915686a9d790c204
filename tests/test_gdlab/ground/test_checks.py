"""What arguments may be: the values at the edge, those just beyond, and the sentence that is raised for them."""

import math
import re
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
import hessian
from gdlab.ground.checks import (
    Range,
    alike,
    choice,
    key_or_default,
    miscalled,
    number,
    prng_key,
    switch,
    whole,
    within_bits,
)
from gdlab.ground.leaves import shown

FAR = np.array([3, -(2**40) - 5])
TAKERS = {
    "an axis": lambda: gdlab.sweep(lambda a: a, a=FAR),
    "a part of an axis": lambda: gdlab.sweep(lambda a: a["x"], a={"x": FAR}),
    "an argument of a loss": lambda: gdlab.minimize(lambda x, n: x * n[0], gdlab.gd(0.1), 1.0, 1, args=(FAR,)),
    "a batch a step": lambda: gdlab.minimize(lambda x, n: x * n, gdlab.gd(0.1), 1.0, 2, batches=FAR),
    "data of batches": lambda: gdlab.minibatches(FAR, 1, key=jax.random.key(0)),
    "a batch that is yielded": lambda: gdlab.long_run(lambda x, n: x * n, gdlab.gd(0.1), 1.0, 2, batches=[*FAR]),
    "a batch that is streamed": lambda: hessian.streamed(lambda x, n: x * n.sum(), [FAR]),
}


@pytest.mark.parametrize("name", TAKERS)
def test_whole_numbers_that_would_wrap_around_are_refused(name):
    said = f"must hold whole numbers of 32 bits while jax_enable_x64 is off; got one of size {2**40 + 5}"
    with jax.enable_x64(False), pytest.raises(ValueError, match=said):
        TAKERS[name]()


ALLOWED = {
    "open interval": (number, 1e-300, "(0, 1)"),
    "closed ends": (number, 0, "[0, 1]"),
    "the other closed end": (number, 1.0, "(0, 1]"),
    "infinity, closed": (number, math.inf, "[0, inf]"),
    "below all, closed": (number, -math.inf, "[-inf, inf)"),
    "numpy's numbers": (number, np.float32(2), "(0, inf)"),
    "fractions": (number, Fraction(1, 2), "(0, 1)"),
    "at least": (whole, 3, 3),
    "at most": (whole, 5, 3, 5),
    "both": (whole, 4, 4, 4),
    "numpy's integers": (whole, np.int64(7)),
    "one of the words": (choice, "b", ("a", "b")),
    "one of the numbers": (choice, 2, (1, 2)),
    "eighty letters": (lambda _, text: shown(text)[1:-1], "x" * 78),
}


@pytest.mark.parametrize("case", ALLOWED, ids=ALLOWED)
def test_the_value_at_the_edge_is_allowed(case):
    function, value, *rest = ALLOWED[case]
    assert function("x", value, *rest) == value


REFUSED = {
    "low end, open": (number, (0.0, "(0, inf)"), ValueError, "x must lie in (0, inf); got 0"),
    "high end, open": (number, (1, "(0, 1)"), ValueError, "x must lie in (0, 1); got 1"),
    "below a closed end": (number, (-1e-9, "[0, 1)"), ValueError, "x must lie in [0, 1); got -1e-09"),
    "above a closed end": (number, (1.5, "[0, 1]"), ValueError, "x must lie in [0, 1]; got 1.5"),
    "nan": (number, (math.nan, "[-inf, inf]"), ValueError, "x must lie in [-inf, inf]; got nan"),
    "bool": (number, (True,), TypeError, "x must be a real number or an array of them; got True"),
    "word": (number, ("1",), TypeError, "x must be a real number or an array of them; got '1'"),
    "complex": (
        number,
        (np.ones(2, complex),),
        TypeError,
        "x must be a real number or an array of them; got an array of dtype complex128 and shape (2,)",
    ),
    "array of bools": (
        number,
        (jnp.ones((), bool),),
        TypeError,
        "x must be a real number or an array of them; got an array of dtype bool and shape ()",
    ),
    "too few": (whole, (0,), ValueError, "x must be a whole number, at least 1; got 0"),
    "below": (whole, (2, 3, 5), ValueError, "x must be a whole number, from 3 to 5; got 2"),
    "above": (whole, (6, 3, 5), ValueError, "x must be a whole number, from 3 to 5; got 6"),
    "half": (whole, (1.0,), ValueError, "x must be a whole number, at least 1; got 1.0"),
    "truth": (whole, (True,), ValueError, "x must be a whole number, at least 1; got True"),
    "another word": (choice, ("d", ("a", "b", "c")), ValueError, "x must be 'a', 'b' or 'c'; got 'd'"),
    "another type": (choice, (True, (1, 2)), ValueError, "x must be 1 or 2; got True"),
    "no switch": (switch, (1,), TypeError, "x must be True or False; got 1"),
    "a long word": (whole, ("y" * 79,), ValueError, "at least 1; got '" + "y" * 76 + "..."),
    "lines": (whole, ("a\n b",), ValueError, "at least 1; got 'a\\n b'"),
}


@pytest.mark.parametrize("case", REFUSED, ids=REFUSED)
def test_what_lies_beyond_is_refused_in_words(case):
    function, arguments, error, words = REFUSED[case]
    with pytest.raises(error, match=re.escape(words) + "$"):
        function("x", *arguments)


def test_keys_of_both_kinds_are_keys_and_nothing_else_is():
    assert key_or_default(None) == jax.random.key(0)
    for key in (jax.random.key(3), jax.random.PRNGKey(3)):
        assert key_or_default(key) is key
    for other in (0, "key", jax.random.split(jax.random.key(0)), jnp.zeros(2), jnp.zeros((2, 2), jnp.uint32)):
        with pytest.raises(TypeError, match=r"key must be a PRNG key, such as jax.random.key\(0\); got "):
            key_or_default(other)


def test_whole_numbers_are_kept_up_to_the_ends_of_their_bits():
    def refused(*values, dtype="int64"):
        try:
            within_bits("x", np.array(values, dtype))
        except ValueError:
            return True
        return False

    low, high = -(2**31), 2**31 - 1
    with jax.enable_x64(False):
        assert not refused(low, high) and not refused(dtype="int64") and not refused(2**32 - 1, dtype="uint64")
        assert refused(low - 1, 0) and refused(0, high + 1) and refused(2**32, dtype="uint64")
        assert not refused(2**31 - 1, dtype="int32") and not refused(2.0**40, dtype="float64")
        within_bits("x", 2**40)  # a number of Python is refused by JAX itself
        for far in (low - 7, high + 7):
            with pytest.raises(ValueError, match=f"got one of size {abs(far)}$"):
                within_bits("x", np.array([0, far]))
    assert not refused(2**40, -(2**40))


INSIDE = {  # by interval: what is inside, and what is not
    "[0, 1]": ([0, 1, 0.5], [-1e-9, 1 + 1e-9]),
    "(0, 1)": ([1e-9, 1 - 1e-9], [0, 1]),
    "[0, inf)": ([0, 1e300], [-1e-300, math.inf]),
    "(-inf, 3]": ([-1e300, 3], [-math.inf, 3.1]),
    "[-inf, 3)": ([-math.inf, 2.9], [3]),
    "(0, inf]": ([1, math.inf], [0]),
    "(-inf, inf)": ([0, -1e300], [math.inf, -math.inf]),
}


@pytest.mark.parametrize("interval", INSIDE)
def test_an_interval_holds_what_its_brackets_say_and_is_written_as_it_was(interval):
    inside, outside = INSIDE[interval]
    allowed = Range.of(interval)
    assert str(allowed) == interval
    assert all(one in allowed for one in inside) and not any(one in allowed for one in [*outside, math.nan])


def test_a_pytree_is_like_params_in_structure_and_shapes():
    params = {"a": jnp.ones((2, 3)), "b": 1.0}
    alike("x", {"a": np.zeros((2, 3)), "b": jnp.zeros(())}, params)
    for other in (
        {"a": jnp.ones((3, 2)), "b": 1.0},
        {"a": jnp.ones((2, 3))},
        {"a": jnp.ones((2, 3)), "b": jnp.ones(1)},
    ):
        with pytest.raises(ValueError, match="x must be like params"):
            alike("x", other, params)


def test_keys_side_by_side_have_their_axes_before_those_of_a_key():
    many, old = jax.random.split(jax.random.key(0), 3), jax.random.split(jax.random.PRNGKey(0), 3)
    for keys in (many, old):
        assert prng_key("key", keys, 1) is keys
        with pytest.raises(TypeError, match="key must be a PRNG key"):
            prng_key("key", keys)
    for other in (jax.random.key(0), jax.random.PRNGKey(0), many[None], old[None], jnp.zeros((3, 3), jnp.uint32)):
        with pytest.raises(TypeError, match="key must be PRNG keys with 1 axis"):
            prng_key("key", other, 1)


def test_what_a_function_takes_is_said_where_it_is_given_something_else():
    assert miscalled(lambda a, b=1: 0, 1) is None and miscalled(lambda *a: 0, 1, 2, 3) is None
    assert str(miscalled(lambda a, b=1: 0)) == "(a, b=1)"
    assert str(miscalled(lambda a: 0, 1, key=2)) == "(a)"
    assert miscalled(3) is None and miscalled(dict.fromkeys, 1, 2, 3, 4) is not None
