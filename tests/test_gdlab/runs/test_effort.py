"""The compiler makes little effort for many operations on few numbers, and the program computes the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
import hessian
from gdlab.runs import effort

pytestmark = pytest.mark.skipif(jax.default_backend() != "cpu", reason="the options are those of the CPU's compiler")


def repeated(times, x):
    for _ in range(times):
        x = jnp.sin(x) + x**2 / 3
    return x


@pytest.mark.parametrize(
    ("times", "size", "chosen"),
    [(1, 3, "usual"), (4, 3, "quick"), (4, effort.FEW, "quick"), (4, effort.FEW + 1, "usual")],
    ids=["few operations", "many", "on as many numbers as may be", "on more"],
)
def test_little_effort_is_for_many_operations_on_few_numbers(times, size, chosen, monkeypatch):
    monkeypatch.setattr(effort, "MANY", 9)
    sample, kept_by = lambda times, x: (repeated, (times,), (x,)), lambda times, x: object()
    fn, x = effort.fitting(repeated, 1, sample, kept_by), jnp.linspace(0, 1, size)
    np.testing.assert_allclose(fn(times, x), repeated(times, x), rtol=1e-13)
    usual, quick = fn.programs
    assert fn.program_for(times, x) is {"usual": usual, "quick": quick()}[chosen]


def test_a_run_of_an_intricate_optimizer_that_may_stop_early_is_part_of_a_program():
    start = jnp.array([0.5, 1.0])

    def end(start):
        loss = lambda w: (1 - w[0] * w[1]) ** 2 + 0.1 * w[0] ** 2  # noqa: E731
        return gdlab.minimize(loss, hessian.newton_cg(), start, 20, tolerance=1e-9).params

    np.testing.assert_allclose(jax.jit(jax.vmap(end))(start[None])[0], end(start), rtol=1e-6)
