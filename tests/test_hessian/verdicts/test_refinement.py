"""Newton's method at the end of a search: each step shortens the next, along soft directions as along stiff ones."""

import jax.numpy as jnp
import numpy as np
import pytest

from hessian.steps.eigenbasis import Eigenbasis
from hessian.verdicts.refinement import Refining, refine


def test_newtons_step_is_taken_as_far_as_it_shortens_the_next_one():
    theta = jnp.array([3.0, 4.0])  # the reach is 1 + 5, a tenth of it the longest step, and 6e-5 a short one
    for values, slope, fall, share, want in (
        ((1.0, 2.0), (0.059, 0.0), 0.5, 1, ((2.941, 4), 1, True, False)),
        ((1.0, 2.0), (2.4, 0.0), 0.5, 1, ((2.4, 4), 1, True, False)),  # a quarter of it
        ((1.0, 2.0), (0.059, 0.0), 0.8, 1, ((3, 4), 1 / 4, True, False)),
        ((1.0, 2.0), (0.059, 0.0), 0.8, 1 / 4, ((2.98525, 4), 1, True, False)),
        ((1.0, 2.0), (0.059, 0.0), 1.0, 9e-5, ((3, 4), 9e-5 / 4, False, False)),
        ((1.0, 2.0), (0.059, 0.0), 1.0, 1e-4, ((3, 4), 1e-4 / 4, True, False)),
        ((1.0, 2.0), (0.0625, 0.0), 0.75, 1, ((3, 4), 1 / 4, True, False)),  # no less than three quarters of the step
        ((1.0, 2.0), (1e-5 * 6, 0.0), 1.0, 1, ((3, 4), 1 / 4, False, True)),
        ((1.0, 2.0), (5e-5, 0.0), 1.0, 1, ((3, 4), 1 / 4, False, True)),
        ((1.0, 2.0), (5e-5, 0.0), 0.5, 1, ((2.99995, 4), 1, True, True)),
        ((1e-15, 2.0), (0.01, 0.02), 0.5, 1, ((3, 3.99), 1, True, False)),  # rounding tells no step
        ((1e-12, 2.0), (1e-14, 0.02), 0.5, 1, ((2.99, 3.99), 1, True, False)),
    ):
        found = Eigenbasis(jnp.asarray(values), jnp.eye(2), jnp.asarray(slope), jnp.int32(0))
        state = Refining(True, jnp.int32(9), theta, found.projections, jnp.asarray(share), False)
        after = refine(found, lambda _, f=found, by=fall: by * f.projections, state, jnp.asarray(6.0), 0.1)
        np.testing.assert_allclose(after.theta, want[0], rtol=1e-9)
        assert (float(after.share), bool(after.going), bool(after.short)) == pytest.approx(want[1:])
        moved = want[0] != (3, 4)
        np.testing.assert_allclose(after.gradient, np.multiply(slope, fall if moved else 1))
        assert after.left == 8
    for left, going in ((2, True), (1, False)):
        assert (
            bool(
                refine(found, lambda _: 0.5 * found.projections, state._replace(left=left), jnp.asarray(6.0), 0.1).going
            )
            == going
        )
