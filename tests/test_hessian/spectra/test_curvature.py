"""The ends of the spectrum, from nothing and from what they were, against the spectra that were planted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gdlab
import hessian
from hessian.spectra import lanczos
from hessian.spectra.curvature import _off

pytestmark = pytest.mark.full

N = 40
RNG = np.random.default_rng(0)
MIRROR = RNG.normal(size=N) / np.sqrt(N)
SPECTRUM = np.concatenate([np.linspace(-0.8, -0.2, 7), RNG.uniform(0, 1, N - 9), [4.0, 9.0]])


def rotated(w):
    """The coordinates along the eigenvectors: none of them is an axis."""
    return w - 2 * MIRROR * (MIRROR @ w) / (MIRROR @ MIRROR)


def loss(w):
    """Of curvature d_i cos(z_i) along the i-th direction, so that the lowest and the highest change along a run."""
    return jnp.sum(SPECTRUM * (1 - jnp.cos(rotated(w))))


def truth(w):
    values = SPECTRUM * np.cos(rotated(w))
    return values.min(), values.max()


def test_the_ends_are_found_from_nothing_and_their_bounds_hold():
    found = hessian.curvature(loss, jnp.zeros(N), num_matvecs=30)
    lowest, highest = truth(np.zeros(N))
    np.testing.assert_allclose([found.lowest, found.highest], [lowest, highest], rtol=1e-3)
    assert found.low <= lowest <= found.lowest + 1e-12
    assert found.highest - 1e-12 <= highest <= found.high
    assert int(found.num_matvecs) == 30
    np.testing.assert_allclose(jnp.linalg.norm(found.vectors, axis=1), 1)
    assert str(found).startswith("Curvature: -0.8 >= ")


def test_from_those_before_few_products_are_enough():
    there = jnp.full(N, 0.02)
    before = hessian.curvature(loss, jnp.zeros(N), num_matvecs=30)
    warm, cold = (
        hessian.curvature(loss, there, before=start, num_matvecs=8, key=jax.random.key(1)) for start in (before, None)
    )
    errors = [float(found.lowest) - truth(there)[0] for found in (warm, cold)]
    assert 0 <= errors[0] < 1e-3 < errors[1]


@pytest.mark.parametrize("where", ["those of the point", "those of elsewhere", "an interior one"])
def test_the_bounds_hold_at_their_confidence_whatever_the_start_leans_towards(where):
    """At 90 %, where one start in ten may miss an end: 200 starts, each of the bounds for both ends."""
    here, rows = jnp.zeros(N), jnp.eye(N)
    found = hessian.curvature(loss, here, num_matvecs=30)
    inner = jnp.stack([rotated(rows[12]), rotated(rows[13])])  # eigenvectors, neither of them at an end
    vectors = {"those of the point": found.vectors, "those of elsewhere": rows[:2], "an interior one": inner}[where]
    lowest, highest = truth(np.zeros(N))

    def holds(key):
        again = hessian.curvature(
            loss, here, before=found._replace(vectors=vectors), num_matvecs=6, confidence=0.9, key=key
        )
        return (again.low <= lowest) & (highest <= again.high)

    held = jax.jit(jax.vmap(holds))(jax.random.split(jax.random.key(0), 200))
    assert jnp.sum(held) >= 180


def test_with_a_tolerance_the_products_are_as_many_as_the_ends_need():
    before, there = hessian.curvature(loss, jnp.zeros(N), num_matvecs=30), jnp.full(N, 0.05)
    warm, cold = (hessian.curvature(loss, there, before=start, tol=1e-4) for start in (before, None))
    assert warm.num_matvecs < cold.num_matvecs < N
    for found in (warm, cold):
        np.testing.assert_allclose([found.lowest, found.highest], truth(there), rtol=1e-4)
    assert hessian.curvature(loss, there, num_matvecs=8, tol=1e-9).num_matvecs == 8


def test_an_end_is_off_by_its_squared_residual_over_the_gap_beside_it_and_by_its_residual_at_most():
    values, eye = jnp.array([-2.0, -1.5, 1.0, 3.0, 99.0]), jnp.eye(5)  # the last is in use no more
    for lowest, highest, want in ((0.1, 0.5, (0.02, 0.125)), (0.4, 1.9, (0.32, 1.805)), (0.6, 3.0, (0.6, 3.0))):
        residuals = jnp.array([lowest, 7.0, 7.0, highest, 7.0])
        found = lanczos.Ritz(values, eye, residuals, jnp.int32(4), jnp.asarray(3.0))
        np.testing.assert_allclose(_off(found), want, rtol=1e-12)


def test_the_products_are_seventy_from_nothing_and_twenty_from_those_before_without_a_tolerance():
    bowl, start = lambda w: jnp.sum(jnp.linspace(1.0, 2.0, 90) * w**2), jnp.zeros(90)
    found = hessian.curvature(bowl, start)
    assert found.num_matvecs == 70
    assert hessian.curvature(bowl, start, before=found).num_matvecs == 20
    assert hessian.curvature(bowl, start, before=found, tol=1e-300).num_matvecs == 70


def test_what_is_handed_over_from_elsewhere_costs_accuracy_and_never_truth():
    found = hessian.curvature(loss, jnp.zeros(N), num_matvecs=30)
    vectors = jnp.stack([jnp.ones(N), jnp.arange(N) - 1.0])
    found = hessian.curvature(loss, jnp.zeros(N), before=found._replace(vectors=vectors), num_matvecs=10)
    lowest, highest = truth(np.zeros(N))
    assert found.low <= lowest <= found.lowest + 1e-12
    assert found.highest - 1e-12 <= highest <= found.high


@pytest.mark.parametrize("n", [1, 3])
def test_small_spectra_are_exhausted(n):
    values = np.arange(1.0, n + 1)
    bowl = lambda w: jnp.sum(values * w**2) / 2  # noqa: E731
    found = hessian.curvature(bowl, jnp.ones(n))
    again = hessian.curvature(bowl, jnp.ones(n), before=found)
    for each in (found, again):
        np.testing.assert_allclose([each.lowest, each.highest, each.low, each.high], [1, n, 1, n], rtol=1e-12)


def test_a_recorder_follows_both_ends_along_a_run_and_goes_on_where_the_run_does():
    start = jnp.asarray(RNG.normal(size=N)) / 4
    recorders = {
        "curvature": hessian.curvature_recorder(num_matvecs=12, first=30),
        "params": lambda snapshot: snapshot.params,
    }
    run = gdlab.minimize(loss, gdlab.gd(0.05), start, 24, record=recorders, every=4)
    rows, walked = run.history["curvature"], np.asarray(run.history["params"])
    ends = np.array([truth(w) for w in walked])
    np.testing.assert_allclose(rows["highest"], ends[:, 1], rtol=1e-3)
    np.testing.assert_allclose(rows["lowest"], ends[:, 0], rtol=1e-3)
    assert np.all((rows["low"] <= ends[:, 0]) & (ends[:, 1] <= rows["high"]))
    assert rows["num_matvecs"].tolist() == [30] + 5 * [12]

    half = gdlab.minimize(loss, gdlab.gd(0.05), start, 12, record=recorders, every=4)
    rest = gdlab.minimize(loss, gdlab.gd(0.05), start, 12, record=recorders, every=4, state=half)
    assert rest.history["curvature"]["num_matvecs"].tolist() == 3 * [12]
    np.testing.assert_allclose(rest.history["curvature"]["lowest"], rows["lowest"][3:], rtol=1e-12)


def test_recorders_look_at_the_block_that_they_are_given():
    def two_layers(layers):
        return loss(layers["first"]) + 3 * loss(layers["second"]) + layers["first"] @ layers["second"]

    layers = {"first": jnp.full(N, 0.1), "second": jnp.full(N, -0.2)}
    blocks = {"first": {"first": True, "second": False}, "second": lambda path: "second" in path}
    recorders = {name: hessian.curvature_recorder(num_matvecs=30, trainable=block) for name, block in blocks.items()}
    recorders |= {
        f"density of {name}": hessian.density_recorder(probes=50, steps=N, trainable=block)
        for name, block in blocks.items()
    }
    run = gdlab.minimize(two_layers, gdlab.gd(0.01), layers, 3, record={**recorders, "at": lambda now: now.params})
    for name, factor in (("first", 1), ("second", 3)):
        walked = np.asarray(run.history["at"][name])
        ends = factor * np.array([truth(w) for w in walked])
        rows, found = run.history[name], run.history[f"density of {name}"]
        np.testing.assert_allclose(np.stack([rows["lowest"], rows["highest"]], axis=1), ends, rtol=1e-5)
        mean, error = found.mean()
        exact = np.array([np.mean(factor * SPECTRUM * np.cos(rotated(w))) for w in walked])
        assert mean.shape == (3,)
        assert np.all(np.abs(mean - exact) < 5 * error)


def test_what_is_wrong_is_said():
    found = hessian.curvature(loss, jnp.zeros(N), num_matvecs=30)
    with pytest.raises(ValueError, match=r"before must be of parameters of 3 values; got 40"):
        hessian.curvature(lambda w: w @ w, jnp.zeros(3), before=found)
    with pytest.raises(TypeError, match=r"before must be a Curvature, as hessian.curvature returns it; got "):
        hessian.curvature(loss, jnp.zeros(N), before=3)
    for wrong in (0.0, -1.0):
        with pytest.raises(ValueError, match="tol must lie in"):
            hessian.curvature_recorder(tol=wrong)
    with pytest.raises(ValueError, match="num_matvecs"):
        hessian.curvature_recorder(num_matvecs=5)
