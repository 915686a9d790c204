"""What is read out of optax's optimizers is what optax does, or they are named."""

import inspect
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
from gdlab.operators import applied, by_leaf

pytestmark = pytest.mark.full

GRADS = np.random.default_rng(5).normal(size=(6, 4)) * np.array([1e-3, 1.0, 10.0, 0.0])
PARAMS = {"w": jnp.array([0.5, -2.0, 1.0, 3.0])}


def schedule(t):
    return 0.1 / jnp.sqrt(t + 1.0)


CASES = {
    "adam": optax.adam(0.1, 0.8, 0.9, 1e-3),
    "adam by a schedule": optax.adam(schedule),
    "nadam": optax.nadam(schedule, eps_root=1e-4),
    "adamw": optax.adamw(0.1, weight_decay=0.3, mask={"w": True}),
    "nadamw": optax.nadamw(0.1, weight_decay=0.3),
    "amsgrad": optax.amsgrad(0.1),
    "adamax": optax.adamax(0.1),
    "adamaxw": optax.adamaxw(0.1, weight_decay=0.3),
    "adabelief": optax.adabelief(0.1),
    "adan": optax.adan(0.1, weight_decay=0.3),
    "yogi": optax.yogi(0.1),
    "radam": optax.radam(0.1, b2=0.9),
    "injected": optax.inject_hyperparams(optax.adam)(schedule, b1=0.7, eps_root=1e-4),
    "injected yogi": optax.inject_hyperparams(optax.yogi)(0.1),
    "rmsprop": optax.rmsprop(0.1),
    "rmsprop with momentum": optax.rmsprop(0.1, eps=1e-4, momentum=0.8, nesterov=True),
    "rmsprop, centred and debiased": optax.rmsprop(0.1, eps=1e-2, centered=True, bias_correction=True),
    "rmsprop with eps outside": optax.rmsprop(0.1, eps_in_sqrt=False),
    "adagrad": optax.adagrad(0.1),
    "adagrad from zero": optax.adagrad(0.1, 0.0, 0.0),
    "sgd": optax.sgd(0.1),
    "momentum": optax.sgd(schedule, 0.8),
    "lion": optax.lion(0.1),
    "signum": optax.signum(0.1),
    "clipped": optax.chain(optax.clip(0.5), optax.zero_nans(), optax.adam(0.1), optax.scale(0.5)),
    "still": optax.rmsprop(lambda t: 0.1 * (t < 3), momentum=0.8),
}


@pytest.mark.parametrize("optimizer", CASES.values(), ids=CASES)
def test_the_step_that_is_read_is_the_update_that_was_made(optimizer):
    state = optimizer.init(PARAMS)
    for t, g in enumerate(GRADS):
        step, read = gdlab.inspect(optimizer).step({"w": jnp.asarray(g)}, state, PARAMS)
        updates, state = optimizer.update({"w": jnp.asarray(g)}, state, PARAMS)
        np.testing.assert_allclose(step.update["w"], updates["w"], rtol=1e-12, atol=1e-300)
        by_hand = -step.eta / step.sigma["w"] * step.m["w"]
        np.testing.assert_allclose(by_hand, updates["w"], rtol=1e-12, atol=1e-300)
        assert int(step.count) in (t, -1)
        assert jnp.all(step.sigma["w"] > 0)
        jax.tree.map(np.testing.assert_array_equal, read, state)


SHAPED = {"m": jnp.ones((3, 2)) * 0.5, "v": jnp.array([0.5, -2.0]), "r": jnp.ones((2, 3, 4)), "s": jnp.array(0.3)}


def labels(params):
    return jax.tree.map(lambda leaf: "matrix" if leaf.ndim == 2 else "rest", params)


# The ratios of their steps are read on leaves of every rank; those behind the first line are made of others.
SHAPED_CASES = {
    "lamb": optax.lamb(0.1, weight_decay=0.1),
    "lars": optax.lars(0.1, 0.1),
    "fromage": optax.fromage(0.1),
    "adafactor": optax.adafactor(0.1, 3, momentum=0.8),
    "adafactor, no rate": optax.adafactor(weight_decay_rate=0.1),
    "novograd": optax.novograd(0.1),
    "adadelta": optax.adadelta(0.1),
    "optimistic": optax.optimistic_gradient_descent(0.1),
    "polyak": optax.polyak_sgd(2.0),
    "noisy": optax.noisy_sgd(0.1, key=jax.random.key(1)),
    "muon": optax.contrib.muon(schedule, weight_decay=0.1),
    "muon, two rates": optax.contrib.muon(0.1, "dion", nesterov=False, adam_learning_rate=0.3, consistent_rms=0.2),
    "ademamix": optax.contrib.ademamix(0.1),
    "simplified ademamix": optax.contrib.simplified_ademamix(0.1),
    "adopt": optax.contrib.adopt(0.1),
    "acprop": optax.contrib.acprop(0.1),
    "partition": optax.partition({"matrix": optax.adam(0.1), "rest": optax.sgd(schedule, 0.8)}, labels),
    "frozen": optax.partition({"matrix": optax.adam(0.1), "rest": optax.set_to_zero()}, labels),
    "clipped, in parts": optax.chain(
        optax.clip(0.5),
        optax.partition({"matrix": optax.lamb(0.1), "rest": optax.lion(0.01)}, labels),
        optax.scale(0.5),
    ),
    "masked": optax.masked(optax.adam(0.1), lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)),
    "many steps": optax.MultiSteps(optax.adam(0.1), 2),
    "guarded": optax.apply_if_finite(optax.adamw(0.1), 3),
    "ours in theirs": optax.chain(optax.clip(1.0), gdlab.shampoo(0.1), optax.scale(0.5)),
}


@pytest.mark.parametrize("optimizer", SHAPED_CASES.values(), ids=SHAPED_CASES)
def test_steps_of_every_rank_and_of_optimizers_around_others_are_read(optimizer):
    ours, rng, params = gdlab.inspect(optimizer), np.random.default_rng(3), SHAPED
    theirs = optax.with_extra_args_support(optimizer)
    state = theirs.init(params)
    for _ in range(5):
        g = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), params)
        step, read = ours.step(g, state, params, value=jnp.array(1.0))
        done, _ = ours.update(g, state, params, value=jnp.array(1.0))
        updates, state = theirs.update(g, state, params, value=jnp.array(1.0))
        assert all(map(jnp.array_equal, *map(jax.tree.leaves, (read, state))))
        jax.tree.map(np.testing.assert_array_equal, done, updates)
        made = by_leaf(applied, step.sigma, updates)
        for a, b, m, image in zip(*map(jax.tree.leaves, (step.update, updates, step.m, made)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-14)
            np.testing.assert_allclose(image, -step.eta * m, rtol=0, atol=1e-10 * max(1e-6, jnp.max(jnp.abs(m))))
        params = optax.apply_updates(params, updates)


def test_muon_is_read_as_ours_is_made():
    theirs, ours = gdlab.inspect(optax.contrib.muon(0.1)), gdlab.muon(0.1, matrices="rank two")
    state, our_state = theirs.init(SHAPED), ours.init(SHAPED)
    step, _ = theirs.step(SHAPED, state, SHAPED)
    our_step, _ = ours.step(SHAPED, our_state, SHAPED)
    np.testing.assert_allclose(step.sigma["m"].eigenvalues(), our_step.sigma["m"].eigenvalues(), rtol=1e-10)
    np.testing.assert_allclose(step.sigma["v"], our_step.sigma["v"], rtol=1e-12)
    np.testing.assert_allclose(step.m["v"], our_step.m["v"], rtol=1e-12)


def test_what_is_read_can_be_recorded():
    def bowl(p):
        return jnp.sum(p["w"] ** 2)

    read = gdlab.minimize(bowl, gdlab.inspect(optax.adam(0.1)), PARAMS, 5, record=("sigma", "m", "eta", "update"))
    ours = gdlab.minimize(bowl, gdlab.adam(0.1), PARAMS, 5, record=("sigma", "m", "eta", "update"))
    for a, b in zip(jax.tree.leaves(read.history), jax.tree.leaves(ours.history), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


OURS = {
    "adam": (optax.adam(0.1), gdlab.adam(0.1)),
    "nadam": (optax.nadam(0.1), gdlab.nadam(0.1)),
    "radam": (optax.radam(0.1, b2=0.9), gdlab.radam(0.1, b2=0.9, threshold=5.0)),
    "adamw": (optax.adamw(0.1, weight_decay=0.3), gdlab.adamw(0.1, weight_decay=0.3)),
    "adamax": (optax.adamax(0.1), gdlab.adamax(0.1)),
    "adabelief": (optax.adabelief(0.1), gdlab.adabelief(0.1)),
    "amsgrad": (optax.amsgrad(0.1), gdlab.amsgrad(0.1, source="optax")),
    "adagrad": (optax.adagrad(0.1), gdlab.adagrad(0.1, eps=1e-7, source="optax")),
    "rmsprop": (optax.rmsprop(0.1), gdlab.rmsprop(0.1, eps=1e-8, source="optax")),
    "lion": (optax.lion(0.1, weight_decay=0.0), gdlab.lion(0.1)),
}


@pytest.mark.parametrize(("theirs", "ours"), OURS.values(), ids=OURS)
def test_the_pieces_that_are_read_are_those_of_our_optimizer(theirs, ours):
    params = PARAMS["w"][:3]
    state, our_state = theirs.init(params), ours.init(params)
    for g in jnp.asarray(GRADS[:, :3]):
        read, state = gdlab.inspect(theirs).step(g, state, params)
        step, our_state = ours.step(g, our_state, params)
        assert int(read.count) in (step.count, -1)
        for name in ("eta", "sigma", "m"):
            np.testing.assert_allclose(getattr(read, name), getattr(step, name), rtol=1e-9, atol=1e-12)


eps = {"eps": 0.1, "eps_root": 0.2}
WITHOUT_MEMORY = {
    "adam": optax.adam(0.1, 0.0, 0.9, **eps),
    "nadam": optax.nadam(0.1, 0.0, 0.9, **eps),
    "amsgrad": optax.amsgrad(0.1, 0.0, 0.9, **eps),
    "adamax": optax.adamax(0.1, 0.0, 0.9, 0.1),
    "adabelief": optax.adabelief(0.1, 0.0, 0.9, **eps),
    "yogi": optax.yogi(0.1, 0.0, 0.9, 0.1),
    "radam": optax.radam(0.1, 0.0, 0.8, threshold=4.5, **eps),
    "rmsprop": optax.rmsprop(0.1, 0.8, 0.1),
    "rmsprop with eps outside": optax.rmsprop(0.1, 0.8, 0.1, eps_in_sqrt=False),
    "rmsprop, centred": optax.rmsprop(0.1, 0.8, 0.1, centered=True),
    "rmsprop, debiased": optax.rmsprop(0.1, 0.8, 0.1, centered=True, bias_correction=True),
    "adagrad": optax.adagrad(0.1, 0.3, 0.1),
    "adagrad from zero": optax.adagrad(0.1, 0.0, 0.1),
    "novograd": optax.novograd(0.1, 0.0, 0.5, **eps),
    "adadelta": optax.adadelta(0.1, 0.8, 0.1),
    "adafactor": optax.chain(optax.scale_by_factored_rms(True, 0.8, 0, 2, 0.1), optax.scale(-0.1)),
    "adafactor, not factored": optax.chain(optax.scale_by_factored_rms(False, 0.8, 0, 2, 0.1), optax.scale(-0.1)),
    "adopt": optax.contrib.adopt(0.1, 0.0, 0.9, 0.7, use_clipping=False),
    "acprop": optax.contrib.acprop(0.1, 0.0, 0.9, **eps),
    "ademamix": optax.contrib.ademamix(0.1, 0.0, 0.9, alpha=0.0, **eps),
    "simplified ademamix": optax.contrib.simplified_ademamix(0.1, 0.0, 0.9, 0.0, **eps),
    "polyak": optax.polyak_sgd(2.0, 0.7, 0.1, 0.01),
    "muon": optax.contrib.muon(0.1, beta=0.0, adam_b1=0.0, eps=0.1),
    "muon without nesterov": optax.contrib.muon(0.1, beta=0.0, nesterov=False, adam_b1=0.0, eps=0.1),
}


@pytest.mark.parametrize("name", WITHOUT_MEMORY)
def test_without_memory_m_is_the_gradient_whatever_its_size_has_been(name):
    """So that sigma is all that there is between the gradient and the update; the first of adopt makes no step."""
    read, rng = gdlab.inspect(WITHOUT_MEMORY[name]), np.random.default_rng(11)
    state = read.init(SHAPED)
    for size in (1.0, 0.01, 3.0, 0.3, 0.5):
        g = jax.tree.map(lambda leaf, size=size: jnp.asarray(size * rng.normal(size=leaf.shape)), SHAPED)
        step, state = read.step(g, state, SHAPED, value=jnp.array(1.0))
        makes_none = name == "adopt" and size == 1
        for m, slope in zip(jax.tree.leaves(step.m), jax.tree.leaves(g), strict=True):
            np.testing.assert_allclose(m, 0 if makes_none else slope, rtol=1e-9, atol=1e-12)


TOLD = {"value": jnp.array(1.0), "grad": PARAMS, "value_fn": lambda p: jnp.sum(p["w"] ** 2)}


def all_of_optax(g):
    """Every transformation of optax that can be made of nothing or of a rate, its state, and the update it makes."""
    for module in (optax, optax.contrib):
        for name, make in inspect.getmembers(module, lambda member: callable(member) and not inspect.isclass(member)):
            for hypers in ((), (0.1,)):
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        made = make(*hypers)
                        state = made.init(PARAMS)
                        updates, _ = optax.with_extra_args_support(made).update(g, state, PARAMS, **TOLD)
                except Exception:  # what optax itself refuses
                    continue
                yield name, made, state, updates


def test_every_transformation_of_optax_is_read_right_or_named():
    g, read, named = {"w": jnp.asarray(GRADS[0])}, set(), set()
    for name, optimizer, state, updates in all_of_optax(g):
        try:
            step, _ = gdlab.inspect(optimizer).step(g, state, PARAMS, **TOLD)
        except ValueError as error:
            assert str(error).startswith("optimizer must be made of a learning rate")
            named.add(name)
            continue
        np.testing.assert_allclose(step.update["w"], updates["w"], rtol=1e-12, atol=1e-300, err_msg=name)
        read.add(name)
    assert {"adam", "nadam", "radam", "yogi", "adamw", "sgd", "lion", "adagrad", "adamax", "adan"} <= read
    assert {"lamb", "lars", "adafactor", "novograd", "polyak_sgd", "muon", "adadelta", "fromage", "ademamix"} <= read
    assert {"lbfgs", "sm3", "rprop", "schedule_free_sgd", "prodigy"} <= named


REFUSED = {
    "lbfgs": (optax.lbfgs(0.1, linesearch=None), "scale_by_lbfgs"),
    "rprop": (optax.rprop(0.1), "scale_by_rprop"),
    "no rate": (optax.scale_by_adam(), "no rate"),
    "two": (optax.chain(optax.adam(0.1), optax.adam(0.1)), "scale_by_adam"),
    "sigma behind the rate": (optax.chain(optax.scale(-0.1), optax.scale_by_yogi()), "scale_by_yogi behind the rate"),
    "a sign behind the rate": (optax.chain(optax.sgd(0.1), optax.scale_by_sign()), "scale_by_sign behind the rate"),
    "in part": (optax.masked(optax.rprop(0.1), {"w": True}), "scale_by_rprop"),
}


@pytest.mark.parametrize(("optimizer", "name"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_is_named(optimizer, name):
    with pytest.raises(ValueError, match="optimizer must be made of a learning rate, at most one of") as caught:
        gdlab.inspect(optimizer).step(PARAMS, optimizer.init(PARAMS), PARAMS)
    assert str(caught.value).endswith(f"; got {name}")


@pytest.mark.parametrize(
    ("how", "got"),
    [({"preconditioning": "aol"}, "'aol', adaptive False"), ({"adaptive": True}, "'frobenius', adaptive True")],
)
def test_a_muon_that_is_no_polynomial_of_its_size_is_named(how, got):
    optimizer = optax.contrib.muon(0.1, **how)
    said = f"must have preconditioning 'frobenius' and not be adaptive where it is muon; got preconditioning {got}$"
    with pytest.raises(ValueError, match=said):
        gdlab.inspect(optimizer).step(SHAPED, optimizer.init(SHAPED), SHAPED)


def test_where_adagrad_has_seen_nothing_sigma_is_one():
    optimizer = optax.adagrad(0.1, 0.0, 0.1)
    step, _ = gdlab.inspect(optimizer).step(jnp.array([3.0, 0.0]), optimizer.init(jnp.zeros(2)), jnp.zeros(2))
    np.testing.assert_allclose(step.sigma, [9.1**0.5, 1])


def test_a_state_is_no_optimizer_and_ours_are_read_as_well():
    with pytest.raises(TypeError, match="since a state does not tell which it is of; got"):
        gdlab.inspect(optax.adam(0.1).init(PARAMS))
    ours = gdlab.adam(0.1)
    assert gdlab.inspect(ours).step(PARAMS, ours.init(PARAMS))[0].count == 0


def test_reading_goes_through_jit():
    optimizer = optax.nadam(schedule)
    state = optimizer.init(PARAMS)
    step, _ = jax.jit(lambda g, state: gdlab.inspect(optimizer).step(g, state))(PARAMS, state)
    np.testing.assert_allclose(step.update["w"], optimizer.update(PARAMS, state)[0]["w"], rtol=1e-12)
