"""Hyperparameters found by gradient descent through the run."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab
from gdlab.runs.loop import Data
from gdlab.runs.objective import begun
from gdlab.runs.tune import OUTCOMES, _bound, _freed, _told, _unrolled

pytestmark = pytest.mark.full


def bowl(x):
    return 0.5 * jnp.sum(jnp.array([1.0, 10.0]) * x**2)


START = jnp.array([3.0, 1.0])


def test_the_names_are_those_of_the_leaves():
    optimizer = gdlab.chain(optax.clip(1.0), gdlab.amsgrad(gdlab.schedules.Warmup(0.1, 5), 0.8, 0.9, 1e-3))
    named = gdlab.hyperparameters(optimizer)
    assert list(named.values()) == jax.tree.leaves(optimizer)
    inner = ("direction.decay", "scale.scale.decay", "scale.scale.eps", "scale.scale.start", "schedule.rate")
    assert {*(f"optimizer.{name}" for name in inner), "optimizer.schedule.width"} == set(named)
    for make in (gdlab.swats, gdlab.adabound, gdlab.lookahead, gdlab.adamw):
        optimizer = make(gdlab.gd(0.1)) if make is gdlab.lookahead else make(0.1)
        assert list(gdlab.hyperparameters(optimizer).values()) == jax.tree.leaves(optimizer)


def test_the_rate_of_descent_on_a_bowl_becomes_the_best_one():
    """Of a single rate for curvatures 1 and 10 after many steps: 2 / (1 + 10), from far below and from near above."""
    for rate in (0.01, 0.19):
        tuned = gdlab.tune(bowl, gdlab.gd(rate), START, 100, rounds=150, rate=0.05)
        np.testing.assert_allclose(gdlab.hyperparameters(tuned.optimizer)["schedule.rate"], 2 / 11, rtol=0.02)


def test_tuning_helps_every_kind_of_optimizer_and_never_harms():
    for optimizer in (gdlab.rmsprop(gdlab.schedules.Cosine(0.02, 0.0, 30)), gdlab.adabound(0.01)):
        before = bowl(gdlab.minimize(bowl, optimizer, START, 30).params)
        tuned = gdlab.tune(bowl, optimizer, START, 30, rounds=25)
        after = bowl(gdlab.minimize(bowl, tuned.optimizer, START, 30).params)
        assert after < 0.5 * before
        np.testing.assert_allclose(after, tuned.score, rtol=1e-9)
        np.testing.assert_allclose(tuned.history["score"][0], before, rtol=1e-12)


def test_decays_stay_between_0_and_1_rates_positive_and_the_others_where_they_were():
    tuned = gdlab.tune(bowl, gdlab.adam(0.5, 0.9, 0.99, 1e-8), START, 10, rounds=30, rate=1.0)
    for name in ("direction.decay", "scale.decay"):
        assert np.all((tuned.history[name] > 0) & (tuned.history[name] < 1))
    assert np.all(tuned.history["schedule.rate"] > 0)
    zero = gdlab.tune(bowl, gdlab.adam(0.5, eps=0.0), START, 10, rounds=5)
    assert np.all(zero.history["scale.eps"] == 0)
    only = gdlab.tune(bowl, gdlab.adam(0.5), START, 10, rounds=5, only=["schedule.rate"])
    assert np.all(only.history["direction.decay"] == 0.9)
    assert np.ptp(only.history["schedule.rate"]) > 0


def test_a_run_that_explodes_is_led_back():
    tuned = gdlab.tune(bowl, gdlab.gd(0.15), START, 400, rounds=20, rate=3.0)
    scores = tuned.history["score"]
    assert not np.all(np.isfinite(scores))
    assert tuned.score <= scores[0]
    assert np.isfinite(scores[-1])


def test_the_gradient_through_segments_is_that_of_the_plain_run():
    def plain(optimizer):
        return bowl(gdlab.minimize(bowl, optimizer, START, 23).params)

    def in_segments(optimizer):
        objective, start = begun(bowl, START, None, None)
        return _unrolled(objective, optimizer, start, Data(), 23)[0]

    optimizer = gdlab.adam(0.1, 0.8, 0.9, 1e-3)
    ones, others = jax.grad(plain)(optimizer), jax.grad(in_segments)(optimizer)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), ones, others)


def test_tuning_sees_batches_keys_and_a_validation_loss():
    stream = gdlab.minibatches(jnp.arange(8.0), 2, key=jax.random.key(0))

    def noisy(x, batch, *, key):
        return jnp.mean((x - batch) ** 2) + 0 * jax.random.normal(key)

    tuned = gdlab.tune(
        noisy,
        gdlab.gd(0.3),
        jnp.array(0.0),
        40,
        batches=stream,
        key=jax.random.key(1),
        validation=lambda x: (x - 3.5) ** 2,
        rounds=30,
    )
    assert tuned.score < 0.1 * tuned.history["score"][0]


def test_hyperparameters_descend_by_adam_along_a_cosine_and_go_back_half_the_way_from_where_nothing_is_finite():
    """Of one step of descent on x^2 the loss is x^2 (1 - 2 r)^2: the relative slope in log r is -4 r / (1 - 2 r)."""
    beyond = lambda x: jnp.where(x < 0, jnp.nan, x * x)  # noqa: E731  # of a rate above 1/2
    for validation, first, rate in ((None, 0.01, 0.3), (beyond, 0.3, 1.0)):
        tuned = gdlab.tune(lambda x: x * x, gdlab.gd(first), 3.0, 1, validation=validation, rounds=6, rate=rate)
        outer = optax.adam(optax.cosine_decay_schedule(rate, 6), 0.8, 0.9, eps=0.0)
        at, state, best, path = np.log(first), outer.init(0.0), (np.inf, 0.0), []
        for _ in range(6):
            r = np.exp(at)
            path.append((r, 9 * (1 - 2 * r) ** 2 if validation is None or r <= 0.5 else np.nan))
            best = min(best, (path[-1][1], at)) if np.isfinite(path[-1][1]) else best
            if np.isnan(path[-1][1]):
                at = (at + best[1]) / 2
                continue
            update, state = outer.update(-4 * r / (1 - 2 * r) * 2, state)
            at = at + float(update)
        rates, scores = np.transpose(path)
        assert np.isnan(scores).any() == (validation is not None)
        np.testing.assert_allclose(tuned.history["schedule.rate"], rates, rtol=1e-9)
        np.testing.assert_allclose(tuned.history["score"], scores, rtol=1e-9)
        np.testing.assert_allclose(tuned.score, best[0], rtol=1e-9)
        np.testing.assert_allclose(gdlab.hyperparameters(tuned.optimizer)["schedule.rate"], np.exp(best[1]), rtol=1e-9)


def test_a_round_is_a_tenth_of_a_rate_unless_it_is_said_and_there_are_fifty():
    history = gdlab.tune(lambda x: x * x, gdlab.gd(0.01), 3.0, 1).history["schedule.rate"]
    assert history.shape == (50,)
    np.testing.assert_allclose(history[1] / history[0], np.exp(0.1), rtol=1e-9)


def test_wrong_input_is_named():
    with pytest.raises(TypeError, match="optimizer must be one of gdlab, whose hyperparameters are leaves; got"):
        gdlab.tune(bowl, optax.sgd(0.1), START, 5)
    with pytest.raises(ValueError, match=r"only must name some of schedule\.rate; got 'rate'"):
        gdlab.tune(bowl, gdlab.gd(0.1), START, 5, only=["rate"])
    with pytest.raises(ValueError, match="rounds must be a whole number, at least 1; got 0"):
        gdlab.tune(bowl, gdlab.gd(0.1), START, 5, rounds=0)


def test_the_range_test_finds_the_edge_of_stability():
    """Descent on a curvature of 10 leaves above 2 / 10."""
    test = gdlab.lr_range_test(lambda x: 5 * x**2, gdlab.gd, 3.0, 300, low=1e-3, high=10.0)
    assert float(test.steepest) < float(test.highest)
    np.testing.assert_allclose(test.highest, 0.2, rtol=0.05)
    np.testing.assert_allclose([test.rates[0], test.rates[-1]], [1e-3, 10.0], rtol=1e-12)
    with pytest.raises(ValueError, match="steps must be a whole number, at least 3; got 2"):
        gdlab.lr_range_test(bowl, gdlab.gd, START, 2)


def test_a_hyperparameter_is_free_where_it_may_move_and_comes_back():
    for leaf, moves, share, free in (
        (0.9, True, True, np.log(9)),
        (0.5, True, True, 0),
        (0.3, True, False, np.log(0.3)),
        (7.0, True, False, np.log(7)),
        (0.9, False, True, 0),
        (0.0, True, False, 0),
        (1.0, True, True, 0),
        (0.0, True, True, 0),
    ):
        x = _freed(jnp.asarray(leaf), moves, share)
        np.testing.assert_allclose(x, free, atol=1e-15)
        np.testing.assert_allclose(_bound(jnp.asarray(leaf), x, moves, share), leaf, rtol=1e-14)
    fixed = [
        _bound(jnp.asarray(leaf), 1.0, *kind)
        for leaf, kind in ((0.9, (False, True)), (0.0, (True, False)), (1.0, (True, True)))
    ]
    assert [float(leaf) for leaf in fixed] == [0.9, 0.0, 1.0]
    np.testing.assert_allclose(_bound(jnp.asarray(0.9), 0.0, True, True), 0.5)
    np.testing.assert_allclose(_bound(jnp.asarray(2.0), 0.0, True, False), 1.0)


def test_the_range_test_names_where_the_loss_falls_fastest_and_the_last_rate_before_its_lowest():
    def told(x, loss):
        return loss + 0 * x

    for losses, steepest, highest in (
        ([5.0, 4.9, 3.0, 2.0, 2.5, 9.0], 1, 2),
        ([5.0, 3.0, 2.0, 1.9, np.nan, np.nan], 0, 2),
        ([5.0, 4.0, 3.5, 3.0, np.inf, np.nan], 0, 2),
        ([5.0, 4.5, 3.0, 1.0, 4.0, 1.5], 2, 2),
        ([5.0, 4.0, np.inf, 3.5, 1.0, 9.0], 3, 3),
        ([5.0, np.inf, np.nan, 4.0, 1.0, 9.0], 3, 3),
    ):
        test = gdlab.lr_range_test(told, gdlab.gd, 1.0, 6, low=1.0, high=32.0, batches=jnp.array(losses))
        np.testing.assert_allclose(test.rates, [1, 2, 4, 8, 16, 32], rtol=1e-14)
        np.testing.assert_array_equal(test.losses, losses)
        np.testing.assert_allclose([test.steepest, test.highest], [2.0**steepest, 2.0**highest], rtol=1e-14)
        assert test.why == "found"
    said = gdlab.lr_range_test(told, gdlab.gd, 1.0, batches=jnp.arange(100.0))
    np.testing.assert_allclose([said.rates.size, said.rates[0], said.rates[-1]], [100, 1e-6, 10], rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_range_test_names_no_rate_where_there_is_none(dtype):
    none = np.nan
    for losses, steepest, highest, why in (
        ([1.0, 4.0, 2.0, 3.0, 5.0, 6.0], none, none, "no fall"),
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], none, none, "no fall"),
        ([-1.0, -1.0, -1.0, -1.0, -1.0, -1.0], none, none, "no fall"),
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0], none, none, "no fall"),
        ([1.0, np.nan, np.nan, np.nan, np.nan, np.nan], none, none, "no fall"),
        ([3e3, 3e3 * (1 - 3 * np.finfo(dtype).eps), 3e3, 3e3, 4e3, 5e3], none, none, "no fall"),  # rounding
        ([np.nan] * 6, none, none, "not finite"),
        ([np.inf, 3.0, 2.0, 4.0, 5.0, 6.0], none, none, "not finite"),
        ([6.0, 5.0, 3.0, 2.5, 2.0, 1.9], 2.0, none, "falling to the end"),
        ([-1.0, -1.5, -2.0, -3.0, -2.0, -1.0], 4.0, 4.0, "found"),
    ):
        start, rows = jnp.asarray(1.0, dtype), jnp.asarray(losses, dtype)
        test = gdlab.lr_range_test(lambda x, loss: loss + 0 * x, gdlab.gd, start, 6, low=1.0, high=32.0, batches=rows)
        np.testing.assert_allclose([test.steepest, test.highest], [steepest, highest], rtol=1e-6)
        assert test.why == why, losses


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_fall_is_seen_above_a_hundred_roundings_of_the_first_loss(dtype):
    eps = float(np.finfo(dtype).eps)
    for first, roundings, outcome in (
        (1.0, 99, "no fall"),
        (1.0, 101, "found"),
        (-1.0, 99, "no fall"),
        (-1.0, 101, "found"),
    ):
        lowest = first - roundings * eps if first > 0 else first * (1 + roundings * eps)
        losses = jnp.array([first, lowest, first, first], dtype)
        steepest, highest, reason = _told(jnp.array([1.0, 2.0, 4.0, 8.0], dtype), losses)
        assert OUTCOMES[int(reason)] == outcome
        expected = [1, 1] if outcome == "found" else [np.nan, np.nan]  # the step at that rate led down
        np.testing.assert_array_equal([steepest, highest], expected)


def test_what_tuning_cannot_be_given_is_named():
    for how, kind, said in (
        ({"loss": 3}, TypeError, r"loss must be a function, loss\(params, ...\) -> scalar; got 3"),
        ({"steps": 0}, ValueError, "steps must be a whole number, at least 1; got 0"),
        ({"rate": -1}, ValueError, r"rate must lie in \[0, inf\); got -1"),
        ({"validation": 3}, TypeError, r"validation must be a function, validation\(params\) -> scalar; got 3"),
        ({"only": "rate"}, ValueError, r"only must name some of schedule\.rate; got 'rate'"),
        ({"only": 3}, ValueError, r"only must name some of schedule\.rate; got 3"),
    ):
        with pytest.raises(kind, match=said):
            gdlab.tune(**{"loss": bowl, "optimizer": gdlab.gd(0.1), "params": START, "steps": 5, **how})
    for validation, got in ((lambda x: (bowl(x), 1, 2), "a tuple of 3; return"), (lambda x: None, "None; end it")):
        with pytest.raises(ValueError, match=f"validation must return a scalar, which is real and floating; got {got}"):
            gdlab.tune(bowl, gdlab.gd(0.1), START, 1, validation=validation)
    for how, said in (
        ({"low": 0.0}, r"low must lie in \(0, inf\)"),
        ({"low": 1.0, "high": 1.0}, r"high must lie in \(1, inf\)"),
        ({"every": 2}, "options must be 'args', 'batches', 'key', 'trainable' or 'model_state'; got 'every'"),
    ):
        with pytest.raises(ValueError, match=said):
            gdlab.lr_range_test(bowl, gdlab.gd, START, 5, **how)
    with pytest.raises(
        TypeError, match=r"make must be a function, an optimizer of a schedule, such as gdlab.sgd; got 3"
    ):
        gdlab.lr_range_test(bowl, 3, START, 5)


def test_what_is_called_alike_is_told_apart_and_one_name_may_be_said_alone():
    twofold = gdlab.scales.BiasCorrected(gdlab.scales.Centered(0.9), 0.9)
    twice = gdlab.descent(gdlab.directions.BiasCorrectedEma(0.8), twofold, 0.1)
    names = list(gdlab.hyperparameters(twice))
    scale = ["scale.scale.decay", "scale.scale.eps", "scale.decay", "scale.eps"]
    assert names == ["direction.decay", *scale, "schedule.rate"]
    tuned = gdlab.tune(bowl, gdlab.gd(0.1), START, 2, rounds=1, only="schedule.rate")
    assert tuned.history["score"].shape == (1,)
    np.testing.assert_allclose(tuned.score, bowl(gdlab.minimize(bowl, gdlab.gd(0.1), START, 2).params), rtol=1e-14)


def test_nothing_moves_where_the_loss_is_zero_nor_where_its_gradient_is_not_finite():
    """At the best rate the loss is 0, and so is its root, which has no slope there."""
    for validation in (None, lambda x: jnp.sqrt(x * x)):
        tuned = gdlab.tune(lambda x: x * x, gdlab.gd(0.5), 1.0, 1, validation=validation, rounds=3)
        assert tuned.history["schedule.rate"].tolist() == [0.5] * 3
        assert float(tuned.score) == 0
