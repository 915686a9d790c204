"""Rounding that is sampled, against the rounding that happens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian import roundoff
from hessian.roundoff import POOL, jittered, spread

pytestmark = pytest.mark.full

W = np.array([0.7, -1.3, 2.0])


def looping(w):
    """A scan, a while loop, a branch, a function with a derivative of its own, and one that is jitted."""
    end, steps = jax.lax.scan(lambda c, x: (jnp.tanh(c * w[0] + x), c), w[1], jnp.arange(4.0))
    _, grown = jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * w[2]), (0, end))
    branch = jax.lax.cond(w[0] > 0, lambda x: jnp.sin(x), lambda x: x, grown)
    return branch + jnp.sum(steps) + jax.jit(jnp.prod)(jax.nn.relu(w)) + jax.nn.logsumexp(w)


def test_without_errors_the_program_is_the_same():
    nothing, w = jnp.zeros(POOL), jnp.asarray(W)
    np.testing.assert_allclose(jax.jit(jittered(looping, w))(nothing, w), looping(w), rtol=1e-14)


def test_loops_read_what_is_fixed_what_is_carried_and_what_comes_in_turn_and_end_where_they_did():
    def loops(w):
        half, limit = w / 2, 3 * w[2]
        grown = jax.lax.while_loop(lambda s: s[0] < limit, lambda s: (s[0] + w[0], s[1] * half[1] + s[0]), (0.0, w[1]))
        end, seen = jax.lax.scan(
            lambda c, x: ((c[0] * w[0] + x[0], c[1] - half[2]), c[0] - x[1]), (w[1], w[2]), (w, half), reverse=True
        )
        return jnp.stack([*grown, *end, *seen])

    w = jnp.asarray(W)
    np.testing.assert_allclose(jax.jit(jittered(loops, w))(jnp.zeros(POOL), w), jax.jit(loops)(w), rtol=1e-14)


def test_errors_of_one_unit_move_a_result_by_a_few():
    w, pool = jnp.asarray(W), jnp.asarray(np.random.default_rng(0).uniform(-1, 1, POOL))
    moved = abs(jax.jit(jittered(looping, w))(pool, w) / looping(w) - 1)
    assert 0 < moved < 1e3 * np.finfo(float).eps


CONSTANT = {
    "softmax": lambda w: jnp.sum(jax.nn.softmax(w)),
    "log of exp": lambda w: jnp.sum(jnp.log(jnp.exp(w)) - w),
    "a square, expanded": lambda w: jnp.sum((w + 1) ** 2 - w**2 - 2 * w - 1),
    "tanh twice": lambda w: jnp.sum(jnp.tanh(w) - (jnp.exp(2 * w) - 1) / (jnp.exp(2 * w) + 1)),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", CONSTANT)
def test_where_everything_cancels_the_spread_covers_what_is_left(name, dtype):
    loss, w = CONSTANT[name], jnp.asarray(W, dtype)
    of_gradient, of_products = (np.sqrt(np.mean(np.sum(x**2, axis=1))) for x in spread(loss, w, (), 8))
    assert np.linalg.norm(jax.grad(loss)(w)) <= 10 * of_gradient
    assert np.linalg.norm(jax.hessian(loss)(w), 2) <= 10 * of_products
    assert of_products < 1e3 * jnp.finfo(dtype).eps


def test_the_spread_of_a_long_sum_covers_its_rounding():
    x = np.random.default_rng(0).normal(size=(100_000, 3)) + 1

    def loss(w, x):
        return jnp.mean((x @ w - 1) ** 2)

    rows = jnp.asarray(x, jnp.float32)
    computed = jax.jit(jax.hessian(loss))(jnp.ones(3, jnp.float32), rows)
    exact = 2 * np.asarray(rows, float).T @ np.asarray(rows, float) / len(x)
    happened = np.linalg.norm(computed - exact, 2)
    sampled = np.sqrt(np.mean(np.sum(spread(loss, jnp.ones(3, jnp.float32), (rows,), 8)[1] ** 2, axis=1)))
    assert happened <= 10 * sampled
    assert sampled <= 1e3 * np.finfo(np.float32).eps * np.linalg.norm(exact, 2)


def counted(w):
    """What is made of comparisons, counts and constants alone: whole numbers, as the program computes them."""
    mask = (jnp.stack([w, 2 * w]) > 0).astype(w.dtype)
    other = jnp.arange(3, dtype=w.dtype) - jnp.array([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]], w.dtype)
    both = (mask - other) @ mask.T + 3 * jnp.sum(mask**2) - jnp.where(w[0] > 0, mask[:, :2], -other[:, 1:])
    return jax.jit(lambda x: jnp.concatenate([x, -x[::-1]]))(both) * jnp.max(mask), mask * w, w / 4, -0.5 * w


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_whole_numbers_and_what_they_switch_on_and_off_do_not_round(dtype):
    w, pool = jnp.asarray(W, dtype), jnp.asarray(np.random.default_rng(0).uniform(-1, 1, POOL), dtype)
    moved, exact = jax.jit(jittered(counted, w))(pool, w), jax.jit(counted)(w)
    assert all(np.array_equal(a, b) for a, b in zip(moved, exact, strict=True))


@pytest.mark.parametrize(
    "inexact",
    [
        lambda w: 3 * w,  # by no power of two
        lambda w: jnp.sum((w > 0).astype(w.dtype)) * w,  # a count that is more than 1
        lambda w: jax.lax.fori_loop(0, 3, lambda _, x: x + 1 / w, jnp.zeros_like(w)),  # whole at the start alone
        lambda w: (w > 0).astype(w.dtype) / 3 + w * 0,
        lambda w: 3 * (w.astype(jnp.int32) + 20_000_000).astype(w.dtype),  # whole, of a size that is not known
        lambda w: jnp.arange(1.0, 4, dtype=w.dtype) ** 13 * 11 + w * 0,  # whole, and too large for float32
    ],
)
def test_other_numbers_do(inexact):
    w, pool = jnp.asarray(W, "float32"), jnp.asarray(np.random.default_rng(0).uniform(-1, 1, POOL), "float32")
    w = abs(w)
    moved, exact = jax.jit(jittered(inexact, w))(pool, w), jax.jit(inexact)(w)
    assert not np.array_equal(moved, exact)
    assert np.max(np.abs(moved - exact) / np.abs(exact)) < 20 * np.finfo("float32").eps


def test_a_mask_that_is_compared_with_nothing_stays_on_its_side():
    """The loss doubles where two equal masks differ, which they never do: a sample must not think that they may."""

    def loss(w):
        mask = (w > -5).astype(w.dtype)
        again = 2 * mask - 1
        return jnp.sum(jnp.where(again - mask > 0, 1e6, 1.0) * w**2)

    errors, _ = spread(loss, jnp.asarray(W), (), 8)
    assert np.max(np.abs(errors)) < 1e-14


EPS = np.finfo("float32").eps


def equation(function, *like):
    """The last operation of a function."""
    return jax.make_jaxpr(function)(*like).jaxpr.eqns[-1]


def test_numbers_are_whole_with_their_largest_size_unless_they_are_many_or_no_real_ones():
    for value, size in (
        (np.array([1.0, -3.0, 2.0]), 3),
        (np.array([1.0, 0.5]), None),
        (np.array([True, False]), 1),
        (np.array([-7, 2]), 7),
        (np.zeros(0), 0),
        (-4.0, 4),
        (np.array([1 + 1j]), None),
        (np.ones(POOL), 1),
        (np.ones(POOL + 1), None),
        (np.array([np.nan]), None),
    ):
        assert roundoff._size_of(value) == size


x, ints = np.ones((2, 3), "float32"), np.ones(3, "int32")
KEPT = {  # an operation, its inputs, the sizes of these, the size of what comes out
    "a sum": (lambda a, b: a + b, (x, x), (5, 7), 12),
    "a difference": (lambda a, b: a - b, (x, x), (5, 7), 12),
    "a product": (lambda a, b: a * b, (x, x), (5, 7), 35),
    "a power": (lambda a: jax.lax.integer_pow(a, 3), (x,), (5,), 125),
    "a negative power": (lambda a: jax.lax.integer_pow(a, -1), (x,), (5,), None),
    "a square": (jax.lax.square, (x,), (5,), 25),
    "counted": (lambda: jax.lax.broadcasted_iota("float32", (3, 9), 1), (), (), 9),
    "a sum of three": (lambda a: jax.lax.reduce_sum(a, (1,)), (x,), (5,), 15),
    "a sum of six": (lambda a: jax.lax.reduce_sum(a, (0, 1)), (x,), (5,), 30),
    "a product of matrices": (lambda a, b: jax.lax.dot(a, b), (x, x.T), (5, 7), 105),
    "the larger": (jax.lax.max, (x, x), (5, 7), 7),
    "a ratio": (jax.lax.div, (x, x), (5, 1), None),
    "of an unknown one": (lambda a, b: a + b, (x, x), (5, None), None),
    "as large as digits reach": (lambda a, b: a + b, (x, x), (2**23 - 1, 1), 2**23),
    "and larger": (lambda a, b: a + b, (x, x), (2**23, 1), None),
    "in double precision": (lambda a, b: a + b, (x.astype(float), x.astype(float)), (2**23, 1), 2**23 + 1),
    "a comparison": (lambda a, b: a > b, (x, x), (None, None), 1),
    "integers": (lambda a, b: a + b, (ints, ints), (5, 7), 12),
    "of a size that is not known": (lambda a, b: a + b, (ints, ints), (None, 7), 2.0**32),
    "that overflow": (lambda a, b: a * b, (ints, ints), (2**20, 2**20), 2.0**32),
    "without a sign": (lambda a, b: a - b, (ints.astype("uint8"),) * 2, (1, 2), 2.0**8),
    "complex ones": (lambda a, b: a + b, (x.astype("complex64"),) * 2, (1, 2), None),
}


@pytest.mark.parametrize("case", KEPT)
def test_whole_numbers_stay_whole_up_to_the_size_that_digits_reach(case):
    function, inputs, sizes, size = KEPT[case]
    one = equation(function, *inputs)
    assert roundoff._whole(one, inputs, list(sizes), one.outvars[0].aval) == size


def test_a_product_changes_no_digit_where_a_factor_is_a_power_of_two():
    many = np.ones(POOL + 1)
    for name, inputs, sizes, exact in (
        ("mul", (3.0, 5.0), (None, 1), True),
        ("mul", (3.0, 5.0), (2, None), False),
        ("mul", (0.25, 5.0), (None, None), True),
        ("mul", (5.0, -8.0), (None, None), True),
        ("mul", (np.array([0.0, 1.0, 2.0]), 3.0), (None, None), True),
        ("mul", (np.array([0.0, 3.0, 2.0]), 3.0), (None, None), False),
        ("div", (3.0, 4.0), (None, None), True),
        ("div", (4.0, 3.0), (1, None), False),
        ("div", (3.0, 5.0), (None, 1), False),
        ("mul", (many, 3.0), (None, None), False),
        ("mul", (many[1:], 3.0), (None, None), True),
        ("mul", (np.array([1j]), 3.0), (None, None), False),
    ):
        assert bool(roundoff._only_scales(name, inputs, sizes)) == exact, (name, inputs)


def test_a_conversion_rounds_where_digits_are_lost():
    for before, after, rounds in (
        ("float64", "float32", True),
        ("float32", "float64", False),
        ("float32", "float32", False),
        ("float32", "bfloat16", True),
        ("float16", "bfloat16", True),
        ("int32", "float32", False),
        ("float32", "int32", False),
    ):
        assert roundoff._narrows(jnp.ones(1, before), jnp.ones(1, after)) == rounds


def test_terms_are_those_that_are_added_up():
    a, b = np.ones((2, 3, 4), "float32"), np.ones((3, 4, 5), "float32")
    image, kernel = np.ones((1, 2, 8), "float32"), np.ones((3, 2, 5), "float32")
    for function, inputs, terms in (
        (lambda a: jax.lax.reduce_sum(a, (1,)), (a,), 3),
        (lambda a: jax.lax.reduce_sum(a, (0, 2)), (a,), 8),
        (lambda a, b: jnp.tensordot(a, b, 2), (a, b), 12),
        (lambda a, b: jax.lax.conv_general_dilated(a, b, (1,), "SAME"), (image, kernel), 30),
    ):
        one = equation(function, *inputs)
        one = one if one.primitive.name != "reshape" else jax.make_jaxpr(function)(*inputs).jaxpr.eqns[-2]
        assert roundoff._terms(one, inputs) == terms


@pytest.mark.parametrize("sign", [1, -1])
def test_a_sum_moves_by_its_own_rounding_and_by_that_of_its_terms(sign):
    pool, terms = jnp.full(POOL, sign, "float32"), np.resize(np.array([1, -1], "float32"), 16)
    of_terms = jittered(jnp.sum, terms)(pool, 3 * jnp.asarray(terms))  # 0, but for the root of 16 times 48
    np.testing.assert_allclose(of_terms, sign * EPS * 4 * 48, rtol=1e-5)
    signs = np.resize(np.array([1, 1, -1, -1], "float32"), 16)
    product = jittered(lambda a: a @ signs, terms)(pool, 3 * jnp.asarray(terms))
    np.testing.assert_allclose(product, sign * EPS * 4 * 48, rtol=1e-5)
    one = jittered(lambda a: jax.lax.reduce_sum(a.reshape(4, 1), (1,)), terms[:4])(pool, 1 / jnp.asarray(terms[:4]))
    np.testing.assert_allclose(one, terms[:4] * (1 + sign * EPS), rtol=1e-8)  # of one term nothing is added
    assert jittered(jnp.sum, np.ones(4, int))(pool, jnp.arange(4)) == 6
    assert jittered(lambda a: 3 * a, np.zeros(0, "float32"))(pool, jnp.zeros(0, "float32")).shape == (0,)


def test_an_operation_moves_by_the_error_that_is_known_of_it_and_an_unknown_one_by_one_unit():
    pool, at = jnp.full(POOL, 0.5), jnp.asarray(0.7)
    for function, units in ((jnp.sqrt, 1), (jnp.exp, 2), (jnp.tanh, 7), (jax.nn.sigmoid, 4), (jnp.log1p, 128)):
        moved = jittered(function, at)(pool, at) / function(at) - 1
        assert abs(moved / (0.5 * np.finfo(float).eps) - units) <= 2


def test_errors_are_read_from_different_places_and_from_the_start_again_beyond_the_last():
    pool = jnp.asarray(np.arange(POOL) / POOL)
    errors = roundoff._Errors(pool)
    first, second = errors.like(jnp.zeros(3)), errors.like(jnp.zeros((2, 2)))
    np.testing.assert_allclose(np.diff(first), 1 / POOL)
    assert set(np.asarray(first).tolist()).isdisjoint(np.asarray(second).ravel().tolist())
    assert second.shape == (2, 2)
    long = np.asarray(errors.like(jnp.zeros(2 * POOL + 5)))
    np.testing.assert_array_equal(np.sort(long[:POOL]), np.asarray(pool))  # all of them once, then again
    np.testing.assert_array_equal(long[POOL : 2 * POOL], long[:POOL])
    np.testing.assert_array_equal(long[2 * POOL :], long[:5])
    turns = [np.asarray(errors.of_turn(turn).pool) for turn in (0, 1, POOL)]
    np.testing.assert_array_equal(np.sort(turns[1]), np.asarray(pool))
    assert turns[0][0] != turns[1][0]
    np.testing.assert_array_equal(turns[2], turns[0])
    assert errors.like(jnp.zeros(2, "complex64")).dtype == jnp.float32
    np.testing.assert_allclose(roundoff._Errors(jnp.ones(POOL)).factor(jnp.ones(2), 3), 1 + 3 * np.finfo(float).eps)


def test_half_the_difference_of_errors_of_both_signs_is_free_of_what_comes_without_them():
    w = jnp.array([3.0, 4.0])
    slopes, images = jax.jit(lambda w: spread(lambda w: jnp.sum(w**3), w, (), 5))(w)
    assert slopes.shape == images.shape == (5, 2)
    # 3 w^2 and 6 w z for z of length 1, each of some operations that round by a unit
    assert (np.abs(slopes) <= 6 * np.finfo(float).eps * 3 * np.square(w)).all()
    assert (np.abs(images) <= 6 * np.finfo(float).eps * 24).all()
    assert (np.abs(slopes).max(axis=1) > 0).all()
    assert len({tuple(row) for row in np.asarray(slopes).tolist()}) == 5


def test_a_sample_is_half_of_what_errors_of_both_signs_are_apart(monkeypatch):
    monkeypatch.setattr(
        roundoff, "jittered", lambda *_: lambda pool, theta, z: (7 + 2 * pool[:3], 7 + 4 * pool[:3] + 0 * z)
    )
    slopes, images = spread(lambda w: w @ w, jnp.zeros(3), (), 2)
    first = roundoff.UNIFORM[:3]
    np.testing.assert_allclose(slopes[0], 2 * first, rtol=1e-12)
    np.testing.assert_allclose(images[0], 4 * first, rtol=1e-12)
    assert (np.abs(slopes[1] - slopes[0]) > 1e-3).any()  # the second reads another part of the pool
