"""One check of the curvature: where the loss itself is asked, what it must show, and what a check costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian.saddles.negative_curvature import NUM_MATVECS, _bends_down, negative_curvature_step

EPS = np.finfo(float).eps
U = np.array([0.6, 0.8])
THETA = np.array([3.0, -4.0])  # at a distance of 5


def asked(values, curvature, theta=THETA):
    """What is said of a loss of these values here, ahead and behind, and the places at which it was asked."""
    places, given = [], iter(values)

    def flat(w):
        places.append(np.asarray(w))
        return jnp.asarray(next(given), float)

    bends = _bends_down(flat, jnp.asarray(theta), jnp.asarray(U), jnp.asarray(curvature))
    return bool(bends), np.array(places)


@pytest.mark.parametrize(
    ("here", "curvature", "length"),
    [
        (0.0, -2.0, 6 * EPS**0.25),  # nowhere shorter
        (1e6, -0.01, np.sqrt(128 * EPS * 1e6 / 0.01)),  # 64 roundings of a loss of a million
        (1e13, -1e-3, 6.0),  # nowhere longer
    ],
)
def test_the_loss_is_asked_at_both_sides_where_a_parabola_would_show(here, curvature, length):
    _, places = asked((here, here, here), curvature)
    np.testing.assert_allclose(places, [THETA, THETA + length * U, THETA - length * U], rtol=1e-12)


def test_the_loss_bends_down_where_it_falls_to_both_sides_by_half_of_what_its_curvature_says():
    theta = np.zeros(2)
    length = EPS**0.25  # from a loss of 0 at the origin
    promised = 2.0 * length**2 / 4  # of both sides together, a quarter of which is curvature * length^2
    for ahead, behind, bends in (
        (-promised, -0.01 * promised, True),
        (-promised, 0.01 * promised, False),
        (-0.51 * promised, -0.51 * promised, True),
        (-0.49 * promised, -0.49 * promised, False),
        (9 * promised, -10.01 * promised, True),
        (9 * promised, -9.99 * promised, False),
    ):
        assert asked((0.0, ahead, behind), -2.0, theta)[0] == bends


def test_a_bend_of_32_roundings_of_the_largest_of_the_three_losses_is_none():
    for here, ahead, behind in ((1.0, 8.0, -6.0), (8.0, 8.0, 8.0), (-1.0, 6.0, -8.0)):
        noise = 32 * EPS * 8
        for share, bends in ((1.0, False), (33 / 32, True)):
            # the one that is smaller in size is lower by so much
            lower = (share * noise, 0.0) if abs(ahead) < abs(behind) else (0.0, share * noise)
            assert asked((here, ahead - lower[0], behind - lower[1]), -1e-20)[0] == bends


def cup(w, bends):
    return bends @ w**2 / 2 + jnp.sum(w**4)


@pytest.mark.full
def test_a_check_takes_forty_products_at_most_and_one_for_the_curvature():
    @jax.jit
    def check(bends):
        return negative_curvature_step(cup, jnp.zeros(60), (bends,), None, jax.random.key(0), NUM_MATVECS)

    bends = jnp.linspace(0.5, 2.0, 60)
    way, products = check(bends)
    assert way.reason == "no negative curvature beyond the zero band"
    assert products == 40 + 1
    way, products = check(bends.at[7].set(-3.0))
    u = way.direction
    np.testing.assert_allclose(way.curvature, u @ (bends.at[7].set(-3.0) * u), rtol=1e-12)
    assert products < 20
