"""The same paths as optax, by the calls that reproduce each rule."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.contrib import reduce_on_plateau

import gdlab

ETA, LAM, ALPHA, B1, B2, EPS = 0.02, 0.8, 0.9, 0.9, 0.99, 1e-8
inject = optax.inject_hyperparams
by_rate = optax.scale_by_learning_rate
inverse_sqrt = gdlab.schedules.inverse_sqrt(ETA)
directions, scales = gdlab.directions, gdlab.scales


def decayed(t):
    return ETA / jnp.sqrt(t + 1.0)


def bc(decay, t):
    return 1 - decay ** (t + 1.0)


# the rule: (ours, optax's)
OPTAX = {
    "gd": (gdlab.gd(ETA), optax.sgd(ETA)),
    "gd, decayed": (gdlab.gd(inverse_sqrt), optax.sgd(decayed)),
    "gd by optax's schedule": (gdlab.gd(decayed), optax.sgd(decayed)),
    "momentum": (gdlab.momentum(ETA, LAM), optax.sgd(ETA, LAM)),
    "momentum, decayed": (gdlab.momentum(inverse_sqrt, LAM), optax.chain(by_rate(decayed), optax.trace(LAM))),
    "nesterov": (gdlab.nesterov(ETA, LAM), optax.sgd(ETA, LAM, nesterov=True)),
    "nesterov, decayed": (
        gdlab.nesterov(inverse_sqrt, LAM),
        optax.chain(by_rate(decayed), optax.trace(LAM, nesterov=True)),
    ),
    "adagrad": (gdlab.adagrad(ETA), optax.adagrad(ETA, initial_accumulator_value=0.0, eps=0.0)),
    "rmsprop": (
        gdlab.rmsprop(ETA, ALPHA),
        inject(optax.rmsprop)(ETA, decay=lambda t: jnp.where(t == 0, 0.0, ALPHA), eps=0.0),
    ),
    "adam": (gdlab.adam(ETA, B1, B2, EPS), optax.adam(ETA, B1, B2, EPS)),
    "momentum, decayed, rate outside": (gdlab.momentum(inverse_sqrt, LAM, source="optax"), optax.sgd(decayed, LAM)),
    "nesterov, decayed, rate outside": (
        gdlab.nesterov(inverse_sqrt, LAM, source="optax"),
        optax.sgd(decayed, LAM, nesterov=True),
    ),
    "adagrad's sum": (
        gdlab.adagrad(ETA, source="paper"),
        optax.adagrad(ETA, initial_accumulator_value=0.0, eps=0.0),
    ),
    "adagrad as in optax": (gdlab.adagrad(ETA, eps=1e-7, source="optax"), optax.adagrad(ETA)),
    "root mean square, constant rate": (
        gdlab.descent(directions.gradient(), scales.root_mean_square(), ETA),
        optax.chain(optax.scale_by_rss(0.0, 0.0), by_rate(lambda t: ETA * jnp.sqrt(t + 1.0))),
    ),
    "rmsprop as in optax": (gdlab.rmsprop(ETA, ALPHA, 1e-8, source="optax"), optax.rmsprop(ETA, ALPHA)),
    "rmsprop as in optax, momentum": (
        gdlab.rmsprop(inverse_sqrt, ALPHA, 1e-8, momentum=LAM, source="optax"),
        optax.rmsprop(decayed, ALPHA, momentum=LAM),
    ),
    "rmsprop as in optax, centred": (
        gdlab.rmsprop(ETA, ALPHA, 1e-8, centred=True, source="optax"),
        optax.rmsprop(ETA, ALPHA, centered=True),
    ),
    "rmsprop, then momentum": (
        gdlab.rolling(gdlab.rmsprop(inverse_sqrt, ALPHA), LAM),
        inject(optax.rmsprop)(decayed, decay=lambda t: jnp.where(t == 0, 0.0, ALPHA), eps=0.0, momentum=LAM),
    ),
    "general form": (
        gdlab.descent(directions.average(LAM), scales.debiased_root_mean_square(ALPHA), inverse_sqrt),
        optax.adam(decayed, LAM, ALPHA, 0.0),
    ),
    "adagrad's sigma, momentum's m": (
        gdlab.descent(directions.running_average(LAM), scales.root_mean_square(), inverse_sqrt),
        inject(optax.adam)(
            lambda t: ETA / jnp.sqrt(t + 1.0) * bc(LAM, t) / jnp.sqrt(1 - (t / (t + 1.0)) ** (t + 1.0)),
            b1=LAM,
            b2=lambda t: t / (t + 1.0),
            eps=0.0,
        ),
    ),
    "adam, eps in the root": (
        gdlab.descent(directions.average(B1), scales.debiased_root_mean_square(B2, eps_root=1e-3), ETA),
        optax.adam(ETA, B1, B2, eps=0.0, eps_root=1e-3),
    ),
    "adam as in keras": (
        gdlab.adam(ETA, B1, B2, 1e-3, source="keras"),
        inject(optax.adam)(ETA, B1, B2, eps=lambda t: 1e-3 / jnp.sqrt(bc(B2, t))),
    ),
    "adam, not debiased": (
        gdlab.descent(directions.running_average(B1), scales.running_root_mean_square(B2, 1e-3, start=0.0), ETA),
        inject(optax.adam)(
            lambda t: ETA * bc(B1, t) / jnp.sqrt(bc(B2, t)), B1, B2, eps=lambda t: 1e-3 / jnp.sqrt(bc(B2, t))
        ),
    ),
    "amsgrad": (
        gdlab.amsgrad(ETA, B1, B2, EPS),
        optax.amsgrad(ETA, B1, B2, EPS, bias_correction_mu=False, bias_correction_nu=False),
    ),
    "amsgrad as in torch": (
        gdlab.amsgrad(ETA, B1, B2, 1e-3, source="torch"),
        inject(optax.amsgrad, static_args=("bias_correction_mu", "bias_correction_nu"))(
            lambda t: ETA * jnp.sqrt(bc(B2, t)) / bc(B1, t),
            B1,
            B2,
            eps=lambda t: 1e-3 * jnp.sqrt(bc(B2, t)),
            bias_correction_mu=False,
            bias_correction_nu=False,
        ),
    ),
    "amsgrad as in optax": (gdlab.amsgrad(ETA, B1, B2, EPS, source="optax"), optax.amsgrad(ETA, B1, B2, EPS)),
    "nadam": (gdlab.nadam(ETA, B1, B2, EPS), optax.nadam(ETA, B1, B2, EPS)),
    "radam": (gdlab.radam(ETA, B1, B2, EPS), optax.radam(ETA, B1, B2, EPS, threshold=np.nextafter(4.0, 5.0))),
    "radam as in optax": (gdlab.radam(ETA, B1, B2, EPS, threshold=5.0), optax.radam(ETA, B1, B2, EPS)),
    "adamax": (gdlab.adamax(ETA, B1, B2, EPS), optax.adamax(ETA, B1, B2, EPS)),
    "adabelief": (gdlab.adabelief(ETA, B1, B2, EPS, EPS), optax.adabelief(ETA, B1, B2, EPS, EPS)),
    "adamw": (gdlab.adamw(ETA, B1, B2, EPS, weight_decay=0.1), optax.adamw(ETA, B1, B2, EPS, weight_decay=0.1)),
    "adamw, decoupled in truth": (
        gdlab.adamw(inverse_sqrt, B1, B2, EPS, weight_decay=0.01, source="paper"),
        optax.chain(optax.scale_by_adam(B1, B2, EPS), by_rate(decayed), optax.add_decayed_weights(-0.01)),
    ),
    "sgdw": (
        gdlab.sgdw(ETA, LAM, weight_decay=0.1),
        optax.chain(by_rate(ETA), optax.trace(LAM), optax.add_decayed_weights(-ETA * 0.1)),
    ),
    "lion": (gdlab.lion(ETA, B1, B2), optax.lion(ETA, B1, B2, weight_decay=0.0)),
    "signum": (gdlab.signum(ETA, B1), optax.signum(ETA, B1)),
    "sign_gd": (gdlab.sign_gd(ETA), optax.sign_sgd(ETA)),
    "normalized_gd": (gdlab.normalized_gd(ETA, 1e-6), optax.chain(optax.normalize_by_update_norm(), by_rate(ETA))),
    "chain": (
        gdlab.chain(optax.clip(0.5), gdlab.adam(ETA, B1, B2, EPS), optax.scale(0.7)),
        optax.chain(optax.clip(0.5), optax.adam(ETA, B1, B2, EPS), optax.scale(0.7)),
    ),
    "polyak": (gdlab.polyak(2.0, lowest=-1.0), optax.polyak_sgd(2.0, f_min=-1.0)),
    "reduce_on_plateau": (
        gdlab.gd(
            gdlab.schedules.reduce_on_plateau(
                ETA, factor=0.5, patience=3, rtol=0.0, atol=0.1, cooldown=2, window=4, least=1e-3
            )
        ),
        optax.chain(
            optax.sgd(ETA), reduce_on_plateau(0.5, 3, 0.0, 0.1, cooldown=2, accumulation_size=4, min_scale=1e-3)
        ),
    ),
}


def path(optimizer, steps=200):
    """The parameters after each step, for gradients that span five decades."""
    draws = np.random.default_rng(1).normal(size=(steps, 5)) * np.array([1e-3, 1e-1, 1.0, 10.0, 100.0])

    values = 10 / jnp.sqrt(jnp.arange(steps) + 1.0) - 0.5
    optimizer = optax.with_extra_args_support(optimizer)

    def body(carry, inputs):
        params, state = carry
        updates, state = optimizer.update(inputs[0], state, params, value=inputs[1])
        return (params + updates, state), params + updates

    params = jnp.full(5, 0.5)
    return jax.jit(lambda: jax.lax.scan(body, (params, optimizer.init(params)), (jnp.asarray(draws), values))[1])()


@pytest.mark.parametrize(("ours", "theirs"), OPTAX.values(), ids=OPTAX)
def test_equals_optax(ours, theirs):
    np.testing.assert_allclose(path(ours), path(theirs), rtol=1e-9, atol=1e-9)


def test_hyperparameters_can_be_injected():
    params, grads = jnp.array([1.0, -2.0]), jnp.array([0.1, 10.0])
    injected = inject(gdlab.adam)(learning_rate=decayed, b1=0.8)
    state = injected.init(params)
    for t in range(3):
        updates, state = injected.update(grads, state, params)
        assert float(state.hyperparams["learning_rate"]) == pytest.approx(float(decayed(t)))
    plain = gdlab.adam(decayed, b1=0.8)
    plain_state = plain.init(params)
    for _ in range(3):
        expected, plain_state = plain.update(grads, plain_state, params)
    np.testing.assert_allclose(updates, expected, rtol=1e-12)


def test_lookahead_equals_optax_which_needs_pairs_of_parameters():
    ours, theirs = gdlab.lookahead(gdlab.adam(ETA), 3, 0.4), optax.lookahead(optax.adam(ETA), 3, 0.4)
    params = jnp.array([0.5, -1.0])
    pair, state = optax.LookaheadParams.init_synced(params), ours.init(params)
    state_of_pair = theirs.init(pair)
    for g in np.random.default_rng(3).normal(size=(20, 2)):
        updates, state = ours.update(jnp.asarray(g), state, params)
        params = params + updates
        updates, state_of_pair = theirs.update(jnp.asarray(g), state_of_pair, pair)
        pair = optax.apply_updates(pair, updates)
        np.testing.assert_allclose(params, pair.fast, rtol=1e-12)
        np.testing.assert_allclose(state.slow, pair.slow, rtol=1e-12)


def test_yogi_equals_optax_once_its_first_moment_starts_at_zero():
    ours, theirs = gdlab.yogi(ETA), optax.yogi(ETA)
    state, state_of_theirs = ours.init(jnp.zeros(3)), theirs.init(jnp.zeros(3))
    state_of_theirs = optax.tree.set(state_of_theirs, mu=jnp.zeros(3))
    for g in np.random.default_rng(3).normal(size=(50, 3)):
        updates, state = ours.update(jnp.asarray(g), state)
        expected, state_of_theirs = theirs.update(jnp.asarray(g), state_of_theirs)
        np.testing.assert_allclose(updates, expected, rtol=1e-9)
