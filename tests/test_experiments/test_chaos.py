"""The lecture whose printed numbers are chaos of the last bit: it comes out where it is compiled as it is for users.

S82's weights are thrown down by explosions.  With other roundings the first comes one update sooner, and the weights
at the end differ in the third digit, where four are printed.
"""

import pytest

pytestmark = pytest.mark.full


def test_every_check_of_the_explosions_passes(comes_out):
    comes_out("pokemon")
