"""Recent optimizers and wrappers against optax, and against NumPy transcriptions of papers that optax does not have."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib

import gdlab

pytestmark = pytest.mark.full

STEPS = 200
SHAPES = {"matrix": (5, 3), "vector": (4,), "scalar": (), "stack": (2, 3, 5), "kernel": (2, 2, 3, 4)}
PARAMS = {name: jnp.asarray(np.random.default_rng(7).normal(size=shape)) for name, shape in SHAPES.items()}
by_rate = optax.scale_by_learning_rate


def gradient(t):
    rng = np.random.default_rng(100 + t)
    return {name: jnp.asarray(rng.normal(size=shape) * 10.0 ** rng.integers(-2, 2)) for name, shape in SHAPES.items()}


def assert_near(ours, theirs, tolerance=1e-12):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(np.max(np.abs(b)), 1e-300))


def slow_weight(t):
    return jnp.minimum((jnp.asarray(t, float) + 1) / 50, 4.0)


def power(t, exponent):
    """The decay of Adafactor in float64: optax's own is computed in float32 even where x64 is on."""
    return 1 - jnp.asarray(t + 1, float) ** -exponent


def adafactor(smallest):
    return optax.chain(
        optax.scale_by_factored_rms(True, 0.7, 0, smallest, 1e-3, power),
        optax.clip_by_block_rms(0.5),
        optax.scale(0.1),
        optax.scale_by_param_block_rms(),
        optax.scale(-1),
    )


free = contrib.schedule_free
PEERS = {
    "ademamix": (gdlab.ademamix(0.1, 0.8, 0.9, 0.95, 2.0, 1e-3), contrib.ademamix(0.1, 0.8, 0.9, 0.95, 2.0, 1e-3)),
    "ademamix by a schedule": (
        gdlab.ademamix(0.1, b3=0.95, alpha=slow_weight),
        contrib.ademamix(0.1, b3=0.95, alpha=slow_weight),
    ),
    "adan": (gdlab.adan(0.1), optax.adan(0.1)),
    "adan, decayed": (
        gdlab.with_weight_decay(gdlab.adan(0.1, 0.8, 0.7, 0.9, 1e-3), 0.2),
        optax.adan(0.1, 0.8, 0.7, 0.9, 1e-3, weight_decay=0.2),
    ),
    "adopt": (gdlab.adopt(0.1, 0.8, 0.9, 1e-3), contrib.adopt(0.1, 0.8, 0.9, 1e-3)),
    "lamb": (
        gdlab.lamb(0.01, 0.8, 0.9, 1e-3, weight_decay=0.1),
        optax.lamb(0.01, 0.8, 0.9, 1e-3, weight_decay=0.1),
    ),
    "lars": (
        gdlab.lars(0.1, 0.8, weight_decay=0.1, coefficient=0.5, eps=1e-3),
        optax.lars(0.1, 0.1, momentum=0.8, trust_coefficient=0.5, eps=1e-3),
    ),
    "adafactor": (gdlab.adafactor(0.1, 0.7, 1e-3, threshold=0.5, smallest=3), adafactor(3)),
    "adafactor, not factored": (gdlab.adafactor(0.1, 0.7, 1e-3, threshold=0.5), adafactor(128)),
    "prodigy": (gdlab.prodigy(1.0, start=1e-3), contrib.prodigy(1.0, estim_lr0=1e-3)),
    "prodigy, all": (
        gdlab.with_weight_decay(gdlab.prodigy(slow_weight, 0.8, 0.9, 1e-3, start=1e-2, coefficient=2.0), 0.1),
        contrib.prodigy(slow_weight, (0.8, 0.9), None, 1e-3, 1e-2, 2.0, 0.1),
    ),
    "schedule-free": (gdlab.schedule_free(gdlab.gd(0.1), 0.8), free(optax.sgd(0.1), 0.1, 0.8)),
    "schedule-free rmsprop": (
        gdlab.schedule_free(gdlab.adam(0.1, 0.0), 0.9, 1.5),
        free(optax.adam(0.1, 0.0), 0.1, 0.9, 1.5),
    ),
}


def walk(ours, theirs, steps=STEPS, **extra):
    """Both paths, each fed with the parameters of optax's, step by step."""
    params, our_state, state = PARAMS, ours.init(PARAMS), theirs.init(PARAMS)
    update, their_update = jax.jit(ours.update), jax.jit(theirs.update)
    for t in range(steps):
        updates, our_state = update(gradient(t), our_state, params, **extra)
        expected, state = their_update(gradient(t), state, params, **extra)
        yield updates, expected
        params = optax.apply_updates(params, expected)


@pytest.mark.parametrize(("ours", "theirs"), PEERS.values(), ids=PEERS)
def test_each_step_equals_optax(ours, theirs):
    for updates, expected in walk(ours, theirs):
        assert_near(updates, expected)


def test_adafactor_equals_optax_own_to_its_float32():
    for updates, expected in walk(gdlab.adafactor(0.1, smallest=3), optax.adafactor(0.1, 3), 20):
        assert_near(updates, expected, 1e-6)


def test_the_average_of_schedule_free_is_that_of_optax():
    ours, theirs = gdlab.schedule_free(gdlab.gd(0.1)), free(optax.sgd(0.1), 0.1)
    params, our_state, state = PARAMS, ours.init(PARAMS), theirs.init(PARAMS)
    for t in range(5):
        updates, our_state = ours.update(gradient(t), our_state, params)
        _, state = theirs.update(gradient(t), state, params)
        params = optax.apply_updates(params, updates)
    expected = contrib.schedule_free_eval_params(state, params)
    assert_near(gdlab.schedule_free_average(ours, our_state, params), expected)
    with pytest.raises(TypeError, match=r"optimizer must be made by gdlab.schedule_free; got"):
        gdlab.schedule_free_average(gdlab.gd(0.1), our_state, params)


def test_the_average_of_schedule_free_gradient_descent_is_the_mean_of_its_points():
    """With a constant rate all weights are equal: x_t = (z_1 + ... + z_t) / t, beside optax's way of computing it."""
    optimizer, y = gdlab.schedule_free(gdlab.gd(0.1), 0.7), jnp.array([2.0, -1.0])
    state, points = optimizer.init(y), []
    for _ in range(6):
        updates, state = optimizer.update(2 * y, state, y)
        y = y + updates
        points.append(state.z)
        mean = gdlab.schedule_free_average(optimizer, state, y)
        np.testing.assert_allclose(mean, np.mean(points, axis=0), rtol=1e-13)


def loss(p):
    return sum(jnp.sum((leaf - 1) ** 2 * (1 + leaf**2)) for leaf in jax.tree.leaves(p))


def test_sam_equals_optax():
    ascent = optax.chain(contrib.normalize(), optax.sgd(0.05))
    ours = gdlab.sam(gdlab.adam(0.01), 0.05)
    theirs = contrib.sam(optax.adam(0.01), ascent, opaque_mode=True)
    update, slopes = jax.jit(partial(ours.update, value_fn=loss)), jax.jit(jax.grad(loss))
    their_update = jax.jit(partial(theirs.update, grad_fn=lambda p, i: jax.grad(loss)(p)))
    params, our_state, state = PARAMS, ours.init(PARAMS), theirs.init(PARAMS)
    for _ in range(50):
        grads = slopes(params)
        updates, our_state = update(grads, our_state, params)
        expected, state = their_update(grads, state, params)
        assert_near(updates, expected)
        params = optax.apply_updates(params, expected)


def test_sam_runs_and_asks_for_the_loss():
    optimizer = gdlab.sam(gdlab.gd(0.1))
    run = gdlab.minimize(lambda w: jnp.sum(w**2), optimizer, jnp.array([1.0, 2.0]), 50)
    assert jnp.sum(run.params**2) < 1e-2
    with pytest.raises(ValueError, match="value_fn must be given"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)), jnp.ones(2))


def cautious_in_numpy(u, g):
    """Liang et al. 2024, algorithm 1: the mask, over its mean."""
    mask = (u * g > 0).astype(float)
    return u * mask / max(mask.mean(), 1e-3)


def test_cautious_is_the_masked_step_of_the_optimizer():
    plain, ours = optax.adam(0.1), gdlab.cautious(gdlab.adam(0.1))
    state, our_state = plain.init(PARAMS), ours.init(PARAMS)
    for t in range(30):
        g = gradient(t)
        expected, state = plain.update(g, state, PARAMS)
        updates, our_state = ours.update(g, our_state, PARAMS)
        masked = {name: -cautious_in_numpy(-np.asarray(expected[name]), np.asarray(g[name])) for name in SHAPES}
        assert_near(updates, masked)


def test_mars_is_the_optimizer_on_its_own_gradients():
    """Yuan et al. 2024, equation 8 with the gradient before for the one at the point before."""
    gamma, b1 = 0.1, 0.8
    plain, ours = optax.adam(0.1), gdlab.mars(gdlab.adam(0.1), gamma, b1)
    state, our_state, last = plain.init(PARAMS), ours.init(PARAMS), gradient(0)
    for t in range(30):
        g, c = gradient(t), {}
        for name in SHAPES:
            c[name] = g[name] + gamma * b1 / (1 - b1) * (g[name] - last[name])
            c[name] = c[name] / max(1.0, np.linalg.norm(c[name]))
        expected, state = plain.update(c, state, PARAMS)
        updates, our_state = ours.update(g, our_state, PARAMS)
        assert_near(updates, expected)
        assert our_state.count == t + 1
        last = g


def test_hyperball_keeps_the_norms_of_matrices_and_steps_by_a_relative_length():
    plain, ours = optax.adam(0.1), gdlab.hyperball(gdlab.adam(0.1))
    state, our_state, params = plain.init(PARAMS), ours.init(PARAMS), PARAMS
    norms = {name: np.linalg.norm(PARAMS[name]) for name in SHAPES}
    for t in range(30):
        moves, state = plain.update(gradient(t), state, params)
        updates, our_state = ours.update(gradient(t), our_state, params)
        for name, shape in SHAPES.items():
            expected = moves[name]
            if len(shape) >= 2:
                ahead = params[name] + 0.1 * norms[name] * moves[name] / np.linalg.norm(moves[name])
                expected = ahead * norms[name] / np.linalg.norm(ahead) - params[name]
            assert_near(updates[name], expected)
        params = optax.apply_updates(params, updates)
        for name in ("matrix", "stack", "kernel"):
            assert np.linalg.norm(params[name]) == pytest.approx(norms[name], rel=1e-13)


def test_prodigy_finds_the_distance_to_the_minimum():
    """On abs(x - 1) from 0 the estimate d never exceeds the distance 1, and comes within a factor of 3 of it."""
    run = gdlab.minimize(
        lambda x: jnp.abs(x - 1), gdlab.prodigy(), 0.0, 400, record={"d": lambda m: m.extras["distance"]}
    )
    distances = run.history["d"]
    assert jnp.all(jnp.diff(distances) >= 0)
    assert 1 / 3 < distances[-1] <= 1
