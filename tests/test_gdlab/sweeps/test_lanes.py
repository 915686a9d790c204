"""Lanes along the last axis: every program computes what `jax.vmap` computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
from gdlab.sweeps.lanes import CALLS, ELEMENTWISE, RULES, UNCHANGED, Value, along_last

pytestmark = pytest.mark.full

MATRIX = np.array([[1.0, 2.0], [3.0, 4.0]])


def run(x, **options):
    loss = lambda w: w @ MATRIX @ w + jnp.tanh(w).sum()  # noqa: E731
    return gdlab.minimize(loss, gdlab.adam(0.01 * x[0] ** 2), x[:2], 7, **options).history["loss"]


def by_lane(x):
    return jax.lax.while_loop(lambda c: c[0] < 9 * jnp.abs(x[0]), lambda c: (c[0] + 1, 1.1 * c[1]), (0.0, x))


def drawn(x):
    key = jax.random.fold_in(jax.random.key(0), jnp.abs(10 * x[0]).astype(jnp.uint32))
    return x + jax.random.normal(key, (3,))


PROGRAMS = {
    "a run": run,
    "a run that ends early": lambda x: run(x, tolerance=3.0, every=2),
    "a loop that ends by lane": by_lane,
    "a loop over a count": lambda x: jax.lax.fori_loop(0, 4, lambda i, c: jnp.where(i % 2 == 0, c * x, c + i), x),
    "rows": lambda x: jax.lax.scan(lambda c, a: (c + a * x, (c[0], a)), jnp.zeros(3), jnp.arange(4.0)),
    "rows of each lane": lambda x: jax.lax.scan(lambda c, a: (c + a, c * x), 0.0, x, reverse=True),
    "a choice by lane": lambda x: jax.lax.cond(x[0] > 0, lambda y: 2 * y, lambda y: y + 1, x),
    "a choice for all": lambda x: jax.lax.fori_loop(
        0, 3, lambda i, c: jax.lax.switch(i, [jnp.sin, lambda y: y + x, jnp.negative], c), x
    ),
    "products": lambda x: (jnp.outer(x, x) @ jnp.ones((3, 2)), jnp.einsum("ij,kj->ik", MATRIX, jnp.outer(x, x[:2]))),
    "shapes": lambda x: (x[::-1], x.reshape(3, 1).T, jnp.pad(x, 1, constant_values=2.0), jnp.stack([x, 2 * x]), x[1:]),
    "padded by its own": lambda x: jnp.pad(x, 1, constant_values=x[0]),
    "places": lambda x: (x.at[1].set(2.0), x[jnp.array([2, 0])], jnp.argmax(x), jnp.sort(x), jnp.cumsum(x)),
    "bounds": lambda x: (jnp.clip(x, x[0], 1.0), jnp.where(x[0] > 0, x, 3.0), jnp.maximum(x, 0), jax.nn.softplus(x)),
    "a slope of a number": lambda x: jax.lax.fori_loop(
        0, 3, lambda i, w: w - 0.1 * x[0] * jax.grad(lambda w: w**2 + 3.0 * w)(w), 1.0
    ),
    "keys": drawn,
    "shared by all": lambda x: (jnp.arange(3.0) + 1, x[0]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_at_lanes_along_the_last_axis_is_the_one_of_vmap(name):
    points = np.random.default_rng(0).normal(size=(5, 3))
    program = jax.make_jaxpr(PROGRAMS[name])(points[0])
    found = along_last(program, [Value(points.T, True)], 5)
    for mine, theirs in zip(found, jax.tree.leaves(jax.vmap(PROGRAMS[name])(jnp.asarray(points))), strict=True):
        assert (mine.dtype, mine.shape[-1]) == (theirs.dtype, 5)
        np.testing.assert_allclose(np.moveaxis(np.asarray(mine), -1, 0), theirs, rtol=1e-5, atol=1e-6)


def test_no_operation_has_two_rules():
    assert not (ELEMENTWISE & UNCHANGED or set(RULES) & set(CALLS))
