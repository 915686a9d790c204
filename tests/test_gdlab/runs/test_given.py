"""What a run is given, checked: how many steps 32 bits count, what ends it early, and rows that were not recorded."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdlab.runs.chunks import missing
from gdlab.runs.feed import Slices
from gdlab.runs.given import countable, data_of, limits_of, traced_or_static

MOST = 2147483647  # the largest int32


def test_steps_are_as_many_as_32_bits_count_with_those_taken_before():
    assert [countable(1), countable(MOST), countable(5, MOST - 5)] == [1, MOST, 5]
    assert countable(2, np.array([0, MOST - 2])) == 2
    assert jax.jit(lambda taken: countable(MOST, taken))(3) == MOST  # which is not known
    for steps in (0, MOST + 1):
        with pytest.raises(ValueError, match=f"steps must be a whole number, from 1 to {MOST}; got {steps}"):
            countable(steps)
    for taken in (MOST - 4, np.array([MOST - 4, 0])):
        with pytest.raises(ValueError, match=f"steps must be at most 4, as {MOST - 4} were taken before; got 5"):
            countable(5, taken)


def test_a_run_ends_early_by_a_tolerance_or_a_patience_and_what_is_not_given_never_ends_it():
    assert limits_of(None, None) is None and limits_of(None, None, 0.0) is None
    assert limits_of(0.25, None) == (0.25, np.inf, 0.0)
    assert limits_of(None, 3) == (-1.0, 3, 0.0)  # no norm is as low
    assert limits_of(0.0, 1, 0.5) == (0.0, 1, 0.5)
    for how, said in (
        ((0.1, None, 0.5), "min_delta must come with a patience"),
        ((None, None, 0.5), "min_delta must come with a patience"),
        ((None, 0), r"patience must lie in \[1, inf\); got 0"),
        ((-0.1, None), r"tolerance must lie in \[0, inf\); got -0.1"),
        ((None, 1, -0.5), r"min_delta must lie in \[0, inf\); got -0.5"),
        ((jnp.ones(2), None), "tolerance must be one number"),
        ((None, jnp.ones(2)), "patience must be one number"),
        ((None, 1, jnp.ones(2)), "min_delta must be one number"),
    ):
        with pytest.raises(ValueError, match=said):
            limits_of(*how)


@pytest.mark.parametrize("axis", [0, 1])
def test_slices_of_arrays_are_filled_up_by_the_last_batch_of_the_chunk_or_of_all(axis):
    rows = np.arange(7.0) if axis == 0 else np.arange(7.0) + np.array([[0.0], [10.0]])
    feed = Slices({"x": jnp.asarray(rows)}, axis)
    for done, until, length, places in (
        (0, 3, 3, [0, 1, 2]),
        (4, 7, 3, [4, 5, 6]),
        (5, 7, 4, [5, 6, 6, 6]),
        (2, 4, 4, [2, 3, 3, 3]),  # though there are more
        (6, 7, 1, [6]),
        (3, 7, 6, [3, 4, 5, 6, 6, 6]),
    ):
        np.testing.assert_array_equal(feed.between(done, until, length)()["x"], rows.take(places, axis))
    np.testing.assert_array_equal(feed.like(2)["x"], rows.take([0, 1], axis))
    np.testing.assert_array_equal(feed.like(9)["x"], rows.take([*range(7), 6, 6], axis))


def test_a_row_that_was_not_recorded_is_no_number_or_zero():
    for dtype in ("float32", "float64", "complex64"):
        assert missing(np.dtype(dtype)).dtype == dtype and np.isnan(missing(np.dtype(dtype)))
    for dtype in ("int32", "bool", "uint8"):
        assert missing(np.dtype(dtype)).dtype == dtype and missing(np.dtype(dtype)) == 0


def test_only_an_optimizer_whose_leaves_are_numbers_is_traced():
    class Numbers(dict):
        init = update = lambda *_: None

    jax.tree_util.register_pytree_node(
        Numbers,
        lambda one: (list(one.values()), tuple(one)),
        lambda names, values: Numbers(zip(names, values, strict=True)),
    )
    for number in (1.0, 2, np.float32(3), jnp.ones(2), np.ones(2)):
        one = Numbers(rate=number)
        assert traced_or_static(one) == (one, None)
    one = Numbers(rate=1.0, rule=len)
    assert traced_or_static(one) == (None, one)


def test_arguments_of_a_loss_are_arrays_by_their_names():
    data = data_of((1.0, {"x": np.ones(2)}), None, None, 3)
    assert data.args[0] == 1.0 and data.args[1]["x"].shape == (2,) and data.batches is None
    for args, said in (("ab", "args must be a tuple"), ((1.0, {"x": len}), r"args\[1\]\['x'\] must be an array")):
        with pytest.raises(TypeError, match=said):
            data_of(args, None, None, 3)
