"""Schedules: values to one unit in the last place, all parameters at once under vmap."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gdlab import schedules

COUNTS = np.arange(0, 60)


def clip(t, steps):
    return np.clip(t / steps, 0, 1)


def half_cosine(x):
    return (1 + np.cos(np.pi * x)) / 2


def warmup(t, rate, width):
    return np.where(t < width, rate * (t + 1) / width, rate)


def one_cycle(t, peak, steps, rise, fall, start_ratio, end_ratio):
    low = peak / start_ratio
    corners = [np.zeros_like(rise), rise * steps, fall * steps, steps]
    return np.interp(t, corners, [low, peak, low, low / end_ratio])


def one_cycle_cosine(t, peak, steps, rise, start_ratio, end_ratio):
    low, top = peak / start_ratio, rise * steps
    up = peak + (low - peak) * half_cosine(clip(t, top))
    return np.where(t < top, up, low / end_ratio + (peak - low / end_ratio) * half_cosine(clip(t - top, steps - top)))


def cyclic(t, low, high, half):
    return low + (high - low) * (1 - np.abs(np.mod(t, 2 * half) / half - 1))


def cyclic_halving(t, low, high, half):
    return low + (cyclic(t, low, high, half) - low) / 2 ** np.floor(t / (2 * half))


def cyclic_decaying(t, low, high, half, factor):
    return low + (cyclic(t, low, high, half) - low) * factor**t


def sgdr(t, high, low, period, growth):
    rates = []
    for count in t:
        length = period
        while count >= length:
            count, length = count - length, length * growth
        rates.append(low + (high - low) * half_cosine(count / length))
    return np.array(rates)


def wsd(t, peak, width, stable, decay, end):
    falling = peak + (end - peak) * clip(np.maximum(t - width - stable, 0), decay)
    return np.where(t < width, peak * (t + 1) / width, np.where(t < width + stable, peak, falling))


S = schedules


def spaced(make):
    """The schedule with `every` as its third argument."""
    return lambda rate, change, every: make(rate, change, every=every)


# name -> (constructor, values for its parameters, the same in NumPy: (t, *parameters))
def one_minus_root(t, steps):
    return 1 - np.sqrt(clip(np.maximum(t, 0), steps))


def infinite(t, peak, constant, end, width, cooldown, stop, decay):
    cosine = constant + (peak - constant) * (1 + np.cos(np.pi * clip(t - width, cooldown))) / 2
    rate = np.where(t < width, peak * (t + 1) / width, np.where(t < width + cooldown, cosine, constant))
    return np.where(t < stop, rate, constant * (end / constant) ** clip(t - stop, decay))


SCHEDULES = {
    "constant": (S.Constant, [0.3], lambda t, rate: rate + 0 * t),
    "inverse_sqrt": (S.InverseSqrt, [0.3], lambda t, rate: rate / np.sqrt(t + 1)),
    "inverse_time": (spaced(S.InverseTime), [0.3, 0.7, 3.0], lambda t, rate, d, n: rate / (1 + d * t / n)),
    "step_decay": (spaced(S.StepDecay), [0.3, 0.4, 7.0], lambda t, rate, f, n: rate * f ** np.floor(t / n)),
    "exponential": (spaced(S.Exponential), [0.3, 0.4, 7.0], lambda t, rate, f, n: rate * f ** (t / n)),
    "piecewise": (
        lambda a, b, c, k, n: S.Piecewise(jnp.stack([a, b, c]), jnp.stack([k, n])),
        [0.3, 0.1, 0.7, 5.0, 20.0],
        lambda t, a, b, c, k, n: np.where(t < k, a, np.where(t < n, b, c)),
    ),
    "linear": (S.Linear, [0.3, 0.1, 17.0], lambda t, a, b, n: a + (b - a) * clip(t, n)),
    "polynomial": (S.Polynomial, [0.3, 0.1, 17.0, 2.5], lambda t, a, b, n, p: (a - b) * (1 - clip(t, n)) ** p + b),
    "cosine": (S.Cosine, [0.3, 0.1, 17.0], lambda t, a, b, n: b + (a - b) * half_cosine(clip(t, n))),
    "warmup": (S.Warmup, [0.3, 13.0], warmup),
    "warmup to another": (
        lambda rate, width: S.Warmup(S.InverseSqrt(rate), width),
        [0.3, 7.0],
        lambda t, rate, w: np.where(t < w, rate * (t + 1) / w, rate / np.sqrt(np.maximum(t - w, 0) + 1)),
    ),
    "join": (
        lambda a, b, n, k: S.Join([a, S.Linear(b, 0.0, n), S.InverseSqrt(b)], jnp.stack([k, 2 * k])),
        [0.3, 0.7, 9.0, 15.0],
        lambda t, a, b, n, k: np.where(
            t < k, a, np.where(t < 2 * k, b - b * clip(t - k, n), b / np.sqrt(np.maximum(t - 2 * k, 0) + 1))
        ),
    ),
    "one_cycle": (
        lambda p, n, r, f, a, b: S.OneCycle(p, n, rise=r, fall=f, start_ratio=a, end_ratio=b),
        [0.3, 40.0, 0.25, 0.4, 10.0, 100.0],
        one_cycle,
    ),
    "one_cycle_cosine": (
        lambda p, n, r, a, b: S.OneCycleCosine(p, n, rise=r, start_ratio=a, end_ratio=b),
        [0.3, 40.0, 0.3, 10.0, 100.0],
        one_cycle_cosine,
    ),
    "cyclic": (S.Cyclic, [0.1, 0.5, 7.0], cyclic),
    "cyclic, triangular2": (lambda *v: S.Cyclic(*v, "triangular2"), [0.1, 0.5, 7.0], cyclic_halving),
    "cyclic, exp_range": (
        lambda a, b, n, f: S.Cyclic(a, b, n, "exp_range", factor=f),
        [0.1, 0.5, 7.0, 0.45],
        cyclic_decaying,
    ),
    "sgdr": (S.Sgdr, [0.5, 0.1, 5.0, 1.0], sgdr),
    "sgdr, growing": (S.Sgdr, [0.5, 0.1, 5.0, 2.0], sgdr),
    "noam": (
        S.Noam,
        [64.0, 13.0, 2.0],
        lambda t, d, w, f: f / np.sqrt(d) * np.minimum(1 / np.sqrt(t + 1), (t + 1) / w**1.5),
    ),
    "wsd": (S.Wsd, [0.3, 5.0, 9.0, 11.0, 0.1], wsd),
    "wsd, 1-sqrt": (
        lambda *values: S.Wsd(*values, shape="1-sqrt"),
        [0.3, 5.0, 9.0, 11.0, 0.1],
        lambda t, p, w, s, d, e: np.where(t < w + s, wsd(t, p, w, s, d, e), e + (p - e) * one_minus_root(t - w - s, d)),
    ),
    "wsd, cosine": (
        lambda *values: S.Wsd(*values, shape="cosine"),
        [0.3, 5.0, 9.0, 11.0, 0.1],
        lambda t, p, w, s, d, e: np.where(
            t < w + s, wsd(t, p, w, s, d, e), e + (p - e) * (1 + np.cos(np.pi * clip(t - w - s, d))) / 2
        ),
    ),
    "linear to zero": (
        lambda rate, steps, width: S.Warmup(S.Linear(rate, 0.0, steps), width),
        [0.3, 40.0, 5.0],
        lambda t, r, n, w: np.where(t < w, r * (t + 1) / w, r * (1 - clip(t - w, n))),
    ),
    "infinite": (
        lambda p, c, e, w, d, stop, n: S.Infinite(p, c, e, w, d, stop=stop, decay=n),
        [0.3, 0.1, 0.02, 4.0, 20.0, 30.0, 10.0],
        infinite,
    ),
    "lr_range_test": (S.LrRangeTest, [0.01, 3.0, 40.0], lambda t, a, b, n: a * (b / a) ** clip(t, n - 1)),
    "in_proportion": (
        lambda r, a, n: S.InProportion(r, S.Linear(a, 0.1, n)),
        [0.2, 0.4, 30.0],
        lambda t, r, a, n: r * ((a + (0.1 - a) * clip(t, n)) / a),
    ),
}
every_schedule = pytest.mark.parametrize(("make", "values", "formula"), SCHEDULES.values(), ids=SCHEDULES)


@every_schedule
def test_values_are_those_of_float64_to_one_unit_in_the_last_place(make, values, formula):
    """Of the highest rate: near its zeros a cosine loses relative accuracy in NumPy too."""
    # One count at a time, as in a run: XLA divides a whole array by one number through its reciprocal.
    actual = jax.lax.map(make(*map(jnp.asarray, values)), jnp.asarray(COUNTS, jnp.int32))
    expected = formula(COUNTS.astype(float), *values)
    assert actual.dtype == jnp.float64
    np.testing.assert_array_less(np.abs(np.asarray(actual) - expected), 1.001 * np.spacing(np.max(expected)))


@every_schedule
def test_all_parameters_vary_at_once_under_vmap(make, values, formula):
    factors = (1.0, 1.25, 1.5)
    lanes = [jnp.asarray([value if value == 1 else c * value for c in factors]) for value in values]
    together = jax.vmap(lambda *values: jax.vmap(make(*values))(jnp.asarray(COUNTS)))(*lanes)
    for lane, row in enumerate(together):
        expected = formula(COUNTS.astype(float), *(float(v[lane]) for v in lanes))
        np.testing.assert_allclose(row, expected, rtol=1e-13, atol=1e-15)


@every_schedule
def test_all_parameters_have_finite_derivatives(make, values, formula):
    del formula

    def total(values):
        return jnp.sum(jax.vmap(make(*values))(jnp.asarray(COUNTS)))

    assert all(jnp.isfinite(slope) for slope in jax.grad(total)([jnp.asarray(float(value)) for value in values]))


def test_warmup_starts_above_zero_and_width_zero_is_none():
    assert float(schedules.Warmup(1.0, 10)(0)) == 0.1
    for t in (0, 1, 7):
        assert float(schedules.Warmup(schedules.InverseSqrt(2.0), 0)(t)) == float(schedules.InverseSqrt(2.0)(t))


def test_sgdr_restarts_exactly_at_the_ends_of_its_periods():
    for growth, restarts in ((1.0, range(3, 3000, 3)), (2.0, [3 * (2**n - 1) for n in range(1, 15)])):
        schedule = jax.jit(schedules.Sgdr(1.0, 0.0, 3.0, growth))
        assert all(float(schedule(t)) == 1 for t in restarts)
        assert all(float(schedule(t - 1)) < 1 for t in restarts)


def test_sgdr_restarts_at_every_whole_count_that_ends_a_period_whatever_rounding_says():
    cases = []
    for period in (3, 10, 20, 50, 100):
        for growth in ("1.05", "1.1", "1.2", "1.3", "1.5", "3"):
            begin, length = Fraction(0), Fraction(period)
            while begin < 3000:
                begin, length = begin + length, length * Fraction(growth)
                cases += [(period, float(growth), int(begin))] if begin.denominator == 1 else []
    rates = jax.jit(jax.vmap(lambda period, growth, t: schedules.Sgdr(1.0, 0.0, period, growth)(t)))
    periods, growths, counts = map(jnp.array, zip(*cases, strict=True))
    assert len(cases) > 70
    np.testing.assert_array_equal(rates(periods * 1.0, growths, counts), 1)
    assert (rates(periods * 1.0, growths, counts - 1) < 0.5).all()


def test_no_boundary_is_one_rate_for_ever():
    assert float(schedules.Piecewise([0.1], [])(7)) == 0.1


def test_a_factor_of_zero_leaves_the_first_rate_alone():
    for schedule in (schedules.StepDecay(0.3, 0.0, every=1), schedules.Exponential(0.3, 0.0)):
        assert [float(schedule(t)) for t in (0, 1, 2)] == [0.3, 0, 0]


def test_wrong_parameters_are_named():
    for make, sentence in (
        (lambda: schedules.StepDecay(0.1, -1.0, every=5), r"factor must lie in \[0, inf\); got -1"),
        (lambda: schedules.Cosine(0.1, 0.0, 0), r"steps must lie in \(0, inf\); got 0"),
        (lambda: schedules.Piecewise([0.1], [5]), "rates must be one more than boundaries"),
        (lambda: schedules.Join([0.1], [5]), "schedules must be one more than boundaries; got 1 schedules and 1"),
        (lambda: schedules.ReduceOnPlateau(0.1, patience=0), r"patience must lie in \[1, inf\); got 0"),
        (lambda: schedules.ReduceOnPlateau(0.1, window=0), r"window must lie in \[1, inf\); got 0"),
        (lambda: schedules.ReduceOnPlateau(0.1, min_factor=2), r"min_factor must lie in \[0, 1\]; got 2"),
        (lambda: schedules.Cyclic(0.1, 0.2, 5, "square"), "mode must be 'triangular', 'triangular2' or 'exp_range'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            make()
    with pytest.raises(TypeError, match="rate must here be a number or a schedule"):
        schedules.InverseSqrt(schedules.PolyakStep())


def test_reduce_on_plateau_waits_rests_and_stops_at_its_least():
    driven = schedules.ReduceOnPlateau(1.0, factor=0.5, patience=2, cooldown=3, min_factor=0.25)
    state, rates = driven.init(), []
    for _ in range(16):
        rate, state = driven.follow(None, state, 0, 1.0)
        rates.append(float(rate))
    # The first loss is the best; two more without a better one; three at rest; two more, and no lower than .25.
    assert rates == [1.0, 1.0] + [0.5] * 5 + [0.25] * 9


def test_reduce_on_plateau_waits_as_long_each_time():
    driven = schedules.ReduceOnPlateau(1.0, factor=0.5, patience=2)
    state, rates = driven.init(), []
    for _ in range(6):
        rate, state = driven.follow(None, state, 0, 1.0)
        rates.append(float(rate))
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def plateau(losses, factor, patience, rtol, atol, cooldown, window, min_factor):
    """The rule in words, one loss after another."""
    share, best, waited, resting, rates = 1.0, np.inf, 0, 0, []
    for t, _ in enumerate(losses, start=1):
        if t % window == 0:
            mean = np.mean(losses[t - window : t])
            better = mean < best * (1 - rtol) - atol if np.isfinite(best) else True
            best = mean if better else best
            waited = 0 if better or resting else waited + 1
            if waited >= patience:
                share, waited, resting = max(share * factor, min_factor), 0, cooldown
            else:
                resting = max(resting - 1, 0)
        rates.append(share / np.sqrt(t))
    return rates


PLATEAUS = {
    "by share": {"rtol": 0.1, "patience": 2},
    "by amount": {"rtol": 0.0, "atol": 0.3, "patience": 3, "factor": 0.7},
    "by both, with rest": {"rtol": 0.05, "atol": 0.05, "cooldown": 2, "patience": 1, "factor": 0.5},
    "of means, to a least": {"window": 3, "patience": 2, "factor": 0.6, "min_factor": 0.2},
    "by nothing said": {},
}


@pytest.mark.parametrize("how", PLATEAUS.values(), ids=PLATEAUS)
def test_reduce_on_plateau_is_its_rule_in_words(how):
    draws = np.random.default_rng(4)
    losses = 3 / np.arange(1, 81) ** 0.3 + 0.2 * draws.normal(size=80)
    driven = schedules.ReduceOnPlateau(schedules.InverseSqrt(1.0), **how)

    def body(carry, loss):
        t, state = carry
        rate, state = driven.follow(None, state, t, loss)
        return (t + 1, state), rate

    rates = jax.lax.scan(body, (jnp.int32(0), driven.init()), jnp.asarray(losses))[1]
    said = {
        "factor": 0.1,
        "patience": 10,
        "rtol": 1e-4,
        "atol": 0.0,
        "cooldown": 0,
        "window": 1,
        "min_factor": 0.0,
        **how,
    }
    expected = plateau(losses, **said)
    np.testing.assert_allclose(rates, expected, rtol=1e-14)
    assert len({round(rate * np.sqrt(t), 9) for t, rate in enumerate(expected, start=1)}) > 2


def test_polyaks_step_is_the_gap_over_the_squared_norm_within_its_bounds():
    grads = {"a": jnp.array([3.0, 0.0]), "b": jnp.array(4.0)}
    for loss, how, expected in (
        (10.0, {}, 0.4),
        (30.0, {}, 1.0),
        (30.0, {"max_rate": 2.0}, 1.2),
        (10.0, {"lowest": 5.0}, 0.2),
        (10.0, {"lowest": -15.0, "scaling": 0.5}, 0.5),
        (10.0, {"eps": 15.0}, 0.25),
        (10.0, {"scaling": schedules.InverseSqrt(2.0)}, 0.4),
        (-1.0, {}, 0.0),
    ):
        rate, _ = schedules.PolyakStep(**how).follow(grads, (), 3, loss)
        assert float(rate) == pytest.approx(expected, rel=1e-15)
    still = jax.tree.map(jnp.zeros_like, grads)
    assert float(schedules.PolyakStep().follow(still, (), 0, 1.0)[0]) == 0


def test_one_rate_is_a_schedule_by_the_name_that_is_asked_for():
    assert float(schedules.Constant(0.3)(5)) == 0.3
    assert float(schedules.as_schedule(lambda t: 1 / t)(4)) == 0.25
    one = schedules.InverseSqrt(1.0)
    assert schedules.as_schedule(one) is one
    with pytest.raises(ValueError, match=r"^speed must lie in \[0, inf\); got -1"):
        schedules.as_schedule(-1, name="speed")


def test_rise_comes_before_fall():
    with pytest.raises(ValueError, match=r"^fall must be above rise = 0.4; got 0.4"):
        schedules.OneCycle(1.0, 10, rise=0.4, fall=0.4)
    assert float(schedules.OneCycle(1.0, 10, rise=0.4, fall=0.5)(4)) == 1


def test_powers_of_zero_are_zero_and_have_no_slope():
    powers = [float(schedules.Exponential(1.0, 0.0)(t)) for t in (0, 1)]
    assert powers == [1, 0]
    assert float(jax.grad(lambda factor: schedules.Exponential(1.0, factor)(2))(0.0)) == 0
    assert float(schedules.Polynomial(1.0, 0.25, 4, 0.0)(4)) == 1
    assert float(schedules.Polynomial(1.0, 0.25, 4, 0.5)(9)) == 0.25


@pytest.mark.parametrize("shift", [0.0, -3.0, -1e4])
def test_plateau_reduces_on_a_negative_loss(shift):
    """What counts as a fall is a share of the size of the best loss, whatever its sign."""
    reduce = schedules.ReduceOnPlateau(1.0, factor=0.5, patience=2, rtol=0.1)
    losses = shift + np.array([-1.0, -1.0, -1.0, -1.0, -1.0]) - abs(shift - 1) * np.array([0, 0.05, 0.09, 0.09, 0.2])
    state, rates = reduce.init(), []
    for loss in losses:
        rate, state = reduce.follow(None, state, 0, loss)
        rates.append(float(rate))
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.5]
    np.testing.assert_allclose(state.best, losses[-1])  # a fifth lower is lower


def test_plateau_of_losses_of_both_signs():
    for losses, rates in (
        ([1.0, 0.0, -1.0, -1.0, -1.0], [1, 1, 1, 1, 0.1]),
        ([0.0, 0.0, 0.0], [1, 1, 0.1]),
        ([-jnp.inf, -1.0, -1.0], [1, 1, 0.1]),
        ([jnp.nan, jnp.nan, 3.0], [1, 0.1, 0.1]),
    ):
        reduce = schedules.ReduceOnPlateau(1.0, patience=2)
        state, told = reduce.init(), []
        for loss in losses:
            rate, state = reduce.follow(None, state, 0, loss)
            told.append(float(rate))
        np.testing.assert_allclose(told, rates)


@pytest.mark.parametrize("size", [1e-30, 1e-22, 1.0, 1e22, 1e30])
def test_polyaks_rate_knows_gradients_whose_squares_do_not_exist(size):
    """Of loss = size, g = size (3, 4): eta = 1 / (25 size)."""
    most = 1e34
    rate, _ = schedules.PolyakStep(most).follow(size * jnp.array([3.0, 4.0], "float32"), (), 0, jnp.float32(size))
    np.testing.assert_allclose(rate, 1 / (25 * size), rtol=1e-5)
    with_eps, _ = schedules.PolyakStep(eps=1e-8).follow(jnp.full(2, 1e-25, "float32"), (), 0, jnp.float32(1e-9))
    np.testing.assert_allclose(with_eps, 0.1, rtol=1e-5)
