"""A lower point beside a degenerate one: found at the places that are looked at, and only where it is certain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hessian.saddles.flat_directions import probe_flat_directions


@jax.jit
def beside(theta, constant, slope, bend, turn, fall, curved, rise):
    """A valley bend (x - curved y^2)^2 / 2 with the floor constant + slope y - turn y^2 / 2 - fall y^4 + rise y^6."""

    def loss(w):
        x, y = w[0], w[1] - 3
        return constant + slope * y - turn * y**2 / 2 - fall * y**4 + rise * y**6 + bend * (x - curved * y**2) ** 2 / 2

    return *probe_flat_directions(loss, theta, loss(theta), jax.random.key(0)), loss(theta)


def look(*, constant=0.0, slope=0.0, bend=1.0, turn=0.0, fall=0.0, curved=0.0, rise=0.0):
    return beside(jnp.array([0.0, 3.0]), constant, slope, bend, turn, fall, curved, rise)


FALLS = {
    "along the floor": {"fall": 1.0},
    "along a curved floor": {"fall": 1.0, "curved": 0.5},
    "more than the gradient explains": {"slope": 1e-6, "fall": 1.6e-5},
    "more than the rounding of the curvature": {"bend": 1e9, "fall": 1.5e-4},
    "more than the rounding of the loss": {"constant": 1e9, "fall": 1.12e-3},
    "curvature that is almost none": {"turn": 1.1e-4},
}
STAYS = {
    "rising": {"fall": -1.0},
    "a slope": {"slope": 1e-3},
    "less than the gradient explains": {"slope": 1e-6, "fall": 1.5e-5},
    "less than the rounding of the curvature": {"bend": 1e9, "fall": 1.3e-4},
    "less than the rounding of the loss": {"constant": 1e9, "fall": 1.1e-3},
    "curvature that second order knows": {"turn": 1.3e-4},
}


@pytest.mark.full
@pytest.mark.parametrize("case", FALLS, ids=FALLS)
def test_the_lowest_of_the_places_is_a_tenth_of_the_size_away(case):
    found, value, before = look(**FALLS[case])
    np.testing.assert_allclose(abs(found[1] - 3), 0.4, rtol=1e-9)  # a tenth of 1 + |theta|
    np.testing.assert_allclose(found[0], FALLS[case].get("curved", 0.0) * 0.16, atol=1e-9)
    assert value < before


@pytest.mark.parametrize("case", STAYS, ids=STAYS)
def test_what_is_not_certainly_lower_is_left_alone(case):
    found, value, before = look(**STAYS[case])
    np.testing.assert_array_equal(found, [0, 3])
    assert value == before


def test_a_narrow_dip_is_found_by_the_shorter_length():
    found, value, _ = look(fall=1.0, rise=100.0)
    np.testing.assert_allclose(jnp.abs(found - jnp.array([0, 3.0])), [0, 0.04], atol=1e-12)
    np.testing.assert_allclose(value, 100 * 0.04**6 - 0.04**4, rtol=1e-9)
