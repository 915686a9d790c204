"""Products, spectra, verdicts and ways out: the same with and without jit, in the shapes of the parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian

pytestmark = pytest.mark.full

PARAMS = {"w": jnp.arange(6.0).reshape(2, 3) / 7, "b": (jnp.ones(3), jnp.float64(0.5))}


def loss(params):
    return jnp.sum(params["w"] ** 2) + jnp.sum((params["b"][0] * params["b"][1] - 1) ** 2)


def product(params):
    return hessian.hvp(loss, params)(params)


def escaped(params):
    return hessian.escape(loss, params).params


def eigenpairs(params):
    spectrum = hessian.spectrum(loss, params)
    return spectrum.eigenvalues, spectrum.eigenvectors


def verdict(params):
    point = hessian.classify(loss, params)
    return point.code, point.lowest.value


@pytest.mark.parametrize("fn", [product, escaped])
def test_what_is_like_the_parameters_has_their_shapes_and_dtypes_with_and_without_jit(fn):
    eager, jitted = fn(PARAMS), jax.jit(fn)(PARAMS)
    for found in (eager, jitted):
        assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), found) == jax.tree.map(
            lambda leaf: (leaf.shape, leaf.dtype), PARAMS
        )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12), eager, jitted)


def test_spectra_and_verdicts_agree_with_and_without_jit():
    for run in (lambda fn: fn, jax.jit):
        eigenvalues, eigenvectors = run(eigenpairs)(PARAMS)
        assert eigenvalues.shape == (10,)
        assert all(leaf.shape[0] == 10 for leaf in jax.tree.leaves(eigenvectors))
        code, lowest = run(verdict)(PARAMS)
        assert 0 <= int(code) < len(hessian.Kind)
        np.testing.assert_allclose(lowest, eigenvalues[0], rtol=1e-12)
