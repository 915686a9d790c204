"""Strings come to rest over the saddle, evenly, and are climbed from their highest images."""

import jax.numpy as jnp
import numpy as np
import pytest

from hessian.landscapes.strings import IMAGES, nearest, strung, tops, unjoined

pytestmark = pytest.mark.full


def valley(w):
    """Minima at (-1, 0) and (1, 0), which a valley joins over the saddle at (0, 1), of loss 1."""
    return (w[0] ** 2 - 1) ** 2 + 4 * (w[1] - 1 + w[0] ** 2) ** 2


def test_a_string_comes_to_rest_over_the_saddle_with_its_images_at_equal_distances():
    one, other = jnp.array([-1.0, 0.0]), jnp.array([1.0, 0.0])
    line, losses = map(np.asarray, strung(valley, one, (), one, other, jnp.array(0.02), jnp.array(0.1)))
    assert line.shape == (IMAGES, 2)
    np.testing.assert_array_equal(line[[0, -1]], [one, other])
    np.testing.assert_allclose(line[IMAGES // 2], [0, 1], atol=0.02)
    np.testing.assert_allclose(losses, [valley(w) for w in line])
    assert losses.argmax() == IMAGES // 2
    steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.02)
    np.testing.assert_allclose(line * [-1, 1], line[::-1], atol=1e-6)  # as symmetric as the valley
    ((top, way),) = tops(line, losses)
    np.testing.assert_allclose(top, line[IMAGES // 2])
    np.testing.assert_allclose(way, [1, 0], atol=0.02)
    slope = jnp.array([0.5, 0.25])  # an end that is no minimum stays, too
    np.testing.assert_array_equal(strung(valley, one, (), one, slope, jnp.array(0.02), jnp.array(0.1))[0][-1], slope)
    still = strung(valley, one, (), one, other, jnp.array(1e3), jnp.array(0.0))[0]  # no image may slide at all
    np.testing.assert_allclose(still, np.stack([np.linspace(-1, 1, IMAGES), np.zeros(IMAGES)], 1), atol=1e-12)


def test_the_three_highest_tops_are_climbed_along_the_line_through_their_neighbors():
    line = np.array([[0.0, 0], [1, 0], [2, 2], [3, 2], [4, 4], [5, 5], [6, 9], [7, 7], [9, 8], [9, 9]])
    losses = np.array([9.0, 3, 1, 5, 5, 2, 4, 1, 4.5, 1])  # an end is no top; of two equal ones the last is
    found = tops(line, losses)
    assert [place.tolist() for place, _ in found] == [[4, 4], [9, 8], [6, 9]]  # and not the lowest, at [1, 0]
    for (_, way), chord in zip(found, ([2, 3], [2, 2], [2, 2]), strict=True):
        np.testing.assert_allclose(way, np.array(chord) / np.hypot(*chord))
    assert tops(line[:3], np.array([0.0, 1.0, 2.0])) == []
    assert tops(line[:3], np.array([2.0, 1.0, 0.0])) == []


def test_each_part_but_the_largest_is_tried_from_its_lowest_minimum_to_those_of_nearest_loss():
    losses = [5.0, 1.0, 4.0, 0.0, 6.0, 2.5, 2.9]
    joins = [(0, 1), (1, 2), (3, 3), (4, 5), (-1, 3), (3, -1)]  # parts 0 1 2, 3, 4 5 and 6
    assert unjoined(losses, joins, set()) == [(3, [1, 2, 0]), (5, [1, 2, 0]), (6, [2, 1, 0])]
    assert unjoined(losses, joins, {(3, 1), (6, 2), (6, 1), (6, 0)}) == [(3, [2, 0]), (5, [1, 2, 0])]
    assert unjoined(losses, [(i, i + 1) for i in range(6)], set()) == []
    assert unjoined([], [], set()) == []
    many = unjoined([0.0, *np.arange(1.0, 41)], [(i, i + 1) for i in range(1, 40)], set())
    assert many == [(0, list(range(1, 33)))]


def test_the_nearest_of_points_is_that_of_least_distance():
    rows = np.array([[3.0, 4.0], [-1.0, 1.0], [1.0, -2.0]])
    place, there = nearest(None, None, rows, np.zeros(2))
    assert (place, there.tolist()) == (1, [-1.0, 1.0])
