"""How far the true ends can be: against the distribution of a uniform vector, a root finder, and the theorem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from hessian.spectra import bounds, lanczos


@pytest.mark.parametrize("n", [2, 3, 10, 1000])
def test_the_least_share_of_a_uniform_vector_is_the_quantile_of_its_distribution(n):
    for delta in (1e-6, 1e-2):
        share = float(jnp.exp(bounds._log_least_share(n, jnp.asarray(delta))))
        # the square of a coordinate has the distribution Beta(1/2, (n - 1)/2)
        below = scipy.stats.beta(0.5, (n - 1) / 2).cdf(share**2)
        np.testing.assert_allclose(below, delta, rtol=1e-3)
        assert below <= delta * (1 + 1e-9)


def test_in_one_dimension_every_vector_is_the_eigenvector():
    assert bounds._log_least_share(1, jnp.asarray(0.1)) == 0


ROWS, N = 9, 40


def known(count, coupling):
    """What Lanczos leaves after `count` products in `count` of nine rows, made by NumPy."""
    rng = np.random.default_rng(count)
    small, values = np.zeros((ROWS, ROWS)), np.full(ROWS, 99.0)
    beside = rng.uniform(0.5, 2, count - 1)
    small[:count, :count] = np.diag(rng.normal(size=count)) + np.diag(beside, 1) + np.diag(beside, -1)
    values[:count] = np.linalg.eigvalsh(small[:count, :count])
    nothing, many = jnp.zeros((ROWS, N)), jnp.int32(count)
    key = jax.random.key(0)
    krylov = lanczos.Krylov(nothing, jnp.asarray(small), many, nothing[0], jnp.asarray(coupling), key, many)
    found = lanczos.Ritz(jnp.asarray(values), nothing, nothing[0], many, jnp.asarray(abs(values[:count]).max()))
    return krylov, found, values[:count], beside


ends = jax.jit(bounds.ends)


@pytest.mark.parametrize("count", [1, 6, ROWS])
def test_the_ends_are_where_the_polynomial_of_the_last_vector_reaches_its_bound(count):
    krylov, found, ritz, beside = known(count, 0.3)
    doubt = 0.05
    share = bounds._log_least_share(N, jnp.asarray(doubt / 2))  # half the doubt for each end
    target = np.sum(np.log([*beside, 0.3])) - share

    def below(x):
        return np.sum(np.log(np.abs(x - ritz))) - target

    lowest = scipy.optimize.brentq(below, ritz[0] - 1e3, ritz[0] - 1e-12, xtol=1e-13)
    highest = scipy.optimize.brentq(below, ritz[-1] + 1e-12, ritz[-1] + 1e3, xtol=1e-13)
    np.testing.assert_allclose(ends(krylov, found, doubt), [lowest, highest], rtol=1e-12)


def test_the_ends_of_an_invariant_space_are_its_ritz_values():
    krylov, found, ritz, _ = known(6, 0.0)
    np.testing.assert_array_equal(ends(krylov, found, 0.05), [ritz[0], ritz[-1]])


def test_the_products_that_a_resolution_takes_are_those_of_the_theorem():
    for resolution, n, confidence in ((1e-2, 10_000, 0.99), (1e-4, 10_000, 0.9), (0.5, 100, 0.5)):
        # Kuczynski & Wozniakowski (1992): 1.648 sqrt(n) exp(-(2 k - 1) sqrt(e)) <= doubt, for half the resolution in
        # units of the width of the spectrum, which is 2 |H| at most: e = resolution / 4
        theorem = 0.5 + np.log(1.648 * np.sqrt(n) / (1 - confidence)) / (2 * np.sqrt(resolution / 4))
        assert int(bounds.num_matvecs_for(jnp.asarray(resolution), n, confidence)) == np.ceil(theorem)
    for hopeless in (0.0, 1e-9):
        assert bounds.num_matvecs_for(jnp.asarray(hopeless), 77, 0.9) == 77
