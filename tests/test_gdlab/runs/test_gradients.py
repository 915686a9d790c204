"""Gradients: of real parameters jax's own, of complex ones the direction of ascent."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
from gdlab.runs.gradients import value_and_gradient

AIM = np.array([1 + 3j, -2 + 0.5j])
BENDS = np.array([1.0, 0.3])
Z0 = jnp.zeros(2, complex)


def bowl(z):
    return jnp.sum(BENDS * jnp.abs(z - AIM) ** 2)


def bowl_of_parts(parts):
    return jnp.sum(BENDS * ((parts[0] - AIM.real) ** 2 + (parts[1] - AIM.imag) ** 2))


def waves(z):
    return jnp.sin(z[0].real) * jnp.cos(z[1].imag) + jnp.abs(z[0] * z[1]) ** 2 + (z[0] ** 2 * 1j).real


@pytest.mark.full
def test_the_gradient_is_that_of_both_parts():
    z = jnp.array([0.3 - 0.7j, 1.1 + 0.2j])
    value, gradient = value_and_gradient(waves, z)
    x, y = jax.grad(lambda x, y: waves(x + 1j * y), (0, 1))(z.real, z.imag)
    np.testing.assert_allclose(gradient, x + 1j * y, rtol=1e-14)
    np.testing.assert_allclose(value, waves(z), rtol=1e-14)


def test_the_gradient_of_real_leaves_is_that_of_jax():
    params = {"real": jnp.array([1.0, 2.0], "float32"), "complex": jnp.array(1 + 1j)}
    _, gradient = value_and_gradient(lambda p: jnp.sum(p["real"] ** 3) + jnp.abs(p["complex"]) ** 2, params)
    assert gradient["real"].tolist() == [3, 12]
    assert gradient["real"].dtype == "float32"
    np.testing.assert_allclose(gradient["complex"], 2 + 2j)


ISOTROPIC = {  # m and sigma turn with the plane of a complex number, and have one size for all of them or none
    "gd": gdlab.gd(0.1),
    "momentum": gdlab.momentum(0.05),
    "nesterov": gdlab.nesterov(0.05),
    "normalized_gd": gdlab.normalized_gd(0.05),
    "polyak": gdlab.polyak(),
    "sgdw": gdlab.sgdw(0.05),
    "lookahead": gdlab.lookahead(gdlab.momentum(0.05)),
    "clipped": gdlab.chain(optax.clip_by_global_norm(0.5), gdlab.gd(0.1)),
    "plateau": gdlab.gd(gdlab.schedules.ReduceOnPlateau(0.9, patience=2, rtol=0.5)),
}


@pytest.mark.parametrize("optimizer", ISOTROPIC.values(), ids=ISOTROPIC)
def test_complex_parameters_move_as_their_two_parts_do(optimizer):
    run = gdlab.minimize(bowl, optimizer, Z0, 40, record=("loss", "gradient_norm"))
    parts = gdlab.minimize(bowl_of_parts, optimizer, jnp.zeros((2, 2)), 40, record=("loss", "gradient_norm"))
    np.testing.assert_allclose(run.params, parts.params[0] + 1j * parts.params[1], rtol=1e-10)
    for name in ("loss", "gradient_norm"):
        np.testing.assert_allclose(run.history[name], parts.history[name], rtol=1e-10, atol=1e-14)
    assert run.history["loss"][-1] < run.history["loss"][0] / 2


PEERS = {  # their sigma is of abs(g)^2, one for both parts
    "adam": (gdlab.adam(0.05), optax.adam(0.05)),
    "amsgrad": (gdlab.amsgrad(0.05, source="optax"), optax.amsgrad(0.05)),
    "adamax": (gdlab.adamax(0.05), optax.adamax(0.05)),
    "adabelief": (gdlab.adabelief(0.05), optax.adabelief(0.05)),
    "nadam": (gdlab.nadam(0.05), optax.nadam(0.05)),
    "adamw": (gdlab.adamw(0.05, weight_decay=0.1), optax.adamw(0.05, weight_decay=0.1)),
    "adagrad": (gdlab.adagrad(0.5, eps=1e-7, source="optax"), optax.adagrad(0.5)),
    "rmsprop": (gdlab.rmsprop(0.05, eps=1e-8, source="optax"), optax.rmsprop(0.05)),
    "centred": (
        gdlab.rmsprop(0.05, eps=1e-2, source="optax", centered=True),
        optax.rmsprop(0.05, eps=1e-2, centered=True),
    ),
    "lion": (gdlab.lion(0.05), optax.lion(0.05, weight_decay=0.0)),
    "sign": (gdlab.sign_gd(0.05), optax.sign_sgd(0.05)),
}


@pytest.mark.parametrize(("ours", "theirs"), PEERS.values(), ids=PEERS)
def test_steps_on_complex_parameters_are_those_of_optax(ours, theirs):
    @jax.jit
    def path(start):
        def step(carry, _):
            z, state, w, other = carry
            g, h = (jnp.conj(jax.grad(bowl)(at)) for at in (z, w))
            u, state = ours.update(g, state, z)
            v, other = theirs.update(h, other, w)
            return (z + u, state, w + v, other), (z, w)

        return jax.lax.scan(step, (start, ours.init(start), start, theirs.init(start)), None, 30)[1]

    z, w = path(Z0)
    np.testing.assert_allclose(z, w, rtol=1e-9, atol=1e-12)


@pytest.mark.full
def test_whatever_runs_goes_down_on_complex_parameters():
    np.testing.assert_allclose(gdlab.minimize(bowl, gdlab.gd(0.2), Z0, 300).params, AIM, rtol=1e-9)
    np.testing.assert_allclose(gdlab.minimize(bowl, optax.adam(0.1), Z0, 600).params, AIM, rtol=1e-5)
    np.testing.assert_allclose(gdlab.long_run(bowl, gdlab.gd(0.2), Z0, 300, chunk=100).params, AIM, rtol=1e-9)
    small = gdlab.minimize(bowl, gdlab.gd(0.2), Z0, 300, tolerance=1e-3)
    assert small.why == "small gradient"
    one = gdlab.tune(lambda z: jnp.abs(z - 2j) ** 2, gdlab.gd(0.1), 0j, 1, rounds=100)
    np.testing.assert_allclose(gdlab.hyperparameters(one.optimizer)["schedule.rate"], 0.5, rtol=1e-2)
    test = gdlab.lr_range_test(bowl, gdlab.gd, Z0, low=1e-3, high=100.0)
    assert test.why == "found"
    assert 0.5 < test.highest < 4  # about 1, beyond which a step along the steeper bend raises the loss


@pytest.mark.full
@pytest.mark.parametrize(
    "optimizer",
    [optax.lbfgs(), optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(20))],
    ids=["lbfgs", "backtracking"],
)
def test_line_searches_of_optax_find_their_way_on_complex_parameters(optimizer):
    run = gdlab.minimize(bowl, optimizer, Z0, 60)
    np.testing.assert_allclose(run.params, AIM, rtol=1e-6)
