"""Each optimizer is its literal NumPy transcription, over 1000 random steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gdlab

STEPS = 1000
RATE = 0.03


def gradients(steps=STEPS, seed=0):
    """Random gradients of five coordinates whose sizes span five decades."""
    draws = np.random.default_rng(seed)
    return draws.normal(size=(steps, 5)) * np.array([1e-3, 1e-1, 1.0, 10.0, 100.0])


def path(optimizer, grads, start=0.5, **extra):
    """The parameters after each step."""

    @jax.jit
    def run(optimizer, grads):
        def body(carry, g):
            params, state = carry
            updates, state = optimizer.update(g, state, params, **extra)
            return (params + updates, state), params + updates

        params = jnp.full(grads.shape[1:], start)
        return jax.lax.scan(body, (params, optimizer.init(params)), grads)[1]

    return np.asarray(run(optimizer, jnp.asarray(grads)))


def assert_same_path(actual, expected):
    """To 1e-12 of how far each coordinate has gone at most."""
    reach = np.max(np.abs(expected - 0.5), axis=0)
    np.testing.assert_array_less(np.max(np.abs(actual - expected), axis=0), 1e-12 * np.maximum(reach, 1.0))


def walk(moves):
    """The path of a generator of moves, from 0.5."""

    def transcription(grads):
        theta, places = np.full(grads.shape[1:], 0.5), []
        for move in moves(grads):
            theta = theta + move
            places.append(theta)
        return np.array(places)

    return transcription


def gd(grads):
    for g in grads:
        yield -RATE * g


def gd_decayed(grads):
    for t, g in enumerate(grads):
        yield -RATE / np.sqrt(t + 1) * g


def momentum(grads, decay=0.9, rate=lambda t: RATE):
    m = 0
    for t, g in enumerate(grads):
        m = decay * m - rate(t) * g
        yield m


def momentum_decayed(grads):
    return momentum(grads, 0.9, lambda t: RATE / np.sqrt(t + 1))


def nesterov(grads, decay=0.9):
    m = 0
    for g in grads:
        m = decay * m - RATE * g
        yield decay * m - RATE * g


def adagrad(grads):
    total = 0
    for g in grads:
        total = total + g**2
        yield -RATE * g / np.sqrt(total)


def rmsprop(grads, decay=0.9):
    sigma = None
    for g in grads:
        sigma = np.abs(g) if sigma is None else np.sqrt(decay * sigma**2 + (1 - decay) * g**2)
        yield -RATE / sigma * g


def adam(grads, b1=0.9, b2=0.999, eps=1e-8):
    m = v = 0
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        yield -RATE * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)


def momentum_outside(grads, decay=0.9):
    v = 0
    for t, g in enumerate(grads):
        v = decay * v + g
        yield -RATE / np.sqrt(t + 1) * v


def nesterov_outside(grads, decay=0.9):
    v = 0
    for t, g in enumerate(grads):
        v = decay * v + g
        yield -RATE / np.sqrt(t + 1) * (g + decay * v)


def adagrad_from_a_tenth(grads, eps=1e-7):
    total = 0.1
    for g in grads:
        total = total + g**2
        yield -RATE * g / np.sqrt(total + eps)


def rmsprop_with_momentum(grads, decay=0.9, keep=0.8):
    """S83: both parts from the raw gradient."""
    nu, m = None, 0
    for g in grads:
        nu = g**2 if nu is None else decay * nu + (1 - decay) * g**2
        m = keep * m - RATE * g
        yield m / np.sqrt(nu)


def rmsprop_torch(grads, alpha=0.99, eps=1e-8, keep=0.8, centered=True):
    square = mean = buffer = 0
    for t, g in enumerate(grads):
        square = alpha * square + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        buffer = keep * buffer + g / (np.sqrt(square - centered * mean**2) + eps)
        yield -RATE / np.sqrt(t + 1) * buffer


def rmsprop_keras(grads, rho=0.9, eps=1e-7, keep=0.8):
    velocity = buffer = 0
    for g in grads:
        velocity = rho * velocity + (1 - rho) * g**2
        buffer = keep * buffer + RATE * g / np.sqrt(velocity + eps)
        yield -buffer


def windowed(grads, length=7):
    for t in range(len(grads)):
        yield -RATE * grads[t] / np.sqrt(np.mean(grads[max(0, t + 1 - length) : t + 1] ** 2, axis=0))


def adam_keras(grads, b1=0.9, b2=0.999, eps=1e-7):
    m = v = 0
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        yield -RATE * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)


def amsgrad(grads, b1=0.9, b2=0.999, eps=1e-8):
    m = v = peak = 0
    for g in grads:
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        peak = np.maximum(peak, v)
        yield -RATE * m / (np.sqrt(peak) + eps)


def amsgrad_torch(grads, b1=0.9, b2=0.999, eps=1e-8):
    m = v = peak = 0
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        peak = np.maximum(peak, v)
        yield -RATE / (1 - b1**t) * m / (np.sqrt(peak) / np.sqrt(1 - b2**t) + eps)


def amsgrad_optax(grads, b1=0.9, b2=0.999, eps=1e-8):
    m = v = peak = 0
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        peak = np.maximum(peak, v / (1 - b2**t))
        yield -RATE * m / (1 - b1**t) / (np.sqrt(peak) + eps)


def adabound(grads, b1=0.9, b2=0.999, eps=1e-8, amsbound=False):
    """The lecture's: Clip(eta / (sqrt(v hat) + eps)) m hat."""
    m = v = peak = 0
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        low, high = 0.1 - 0.1 / ((1 - b2) * t + 1), 0.1 + 0.1 / ((1 - b2) * t)
        peak = np.maximum(peak, v / (1 - b2**t))
        seen = peak if amsbound else v / (1 - b2**t)
        yield -np.clip(RATE / (np.sqrt(seen) + eps), low, high) * m / (1 - b1**t)


def adabound_paper(grads, b1=0.9, b2=0.999, amsbound=False):
    """Algorithm 2, and 3."""
    m = v = peak = 0
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        low, high = 0.1 - 0.1 / ((1 - b2) * t + 1), 0.1 + 0.1 / ((1 - b2) * t)
        peak = np.maximum(peak, v)
        yield -np.clip(RATE / np.sqrt(peak if amsbound else v), low, high) / np.sqrt(t) * m


def adabound_code(grads, b1=0.9, b2=0.999, eps=1e-8, final_lr=0.1, gamma=1e-3, amsbound=False):
    """The authors' adabound.py, with a learning rate that a scheduler lowers."""
    m = v = peak = 0
    for t, g in enumerate(grads, start=1):
        lr = RATE / np.sqrt(t)
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        peak = np.maximum(peak, v)
        denominator = np.sqrt(peak if amsbound else v) + eps
        final = final_lr * lr / RATE
        low, high = final * (1 - 1 / (gamma * t + 1)), final * (1 + 1 / (gamma * t))
        yield -np.clip(lr * np.sqrt(1 - b2**t) / (1 - b1**t) / denominator, low, high) * m


def amsbound(of):
    return lambda grads: of(grads, amsbound=True)


def radam(grads, b1=0.9, b2=0.999, eps=1e-8):
    m = v = 0
    b2_wide = np.longdouble(b2)  # rho cancels: in float64 it is good to 1e-11 only
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        rho_inf = 2 / (1 - b2_wide) - 1
        rho = rho_inf - 2 * t * b2_wide**t / (1 - b2_wide**t)
        if rho > 4:
            r = float(np.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)))
            yield -RATE * r * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        else:
            yield -RATE * m / (1 - b1**t)


def nadam(grads, b1=0.9, b2=0.999, eps=1e-8):
    m = v = 0
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
        yield -RATE * m_hat / (np.sqrt(v / (1 - b2**t)) + eps)


def nadam_warming(grads, b1=0.9, b2=0.999, eps=1e-8, psi=4e-3):
    m = v = 0
    product = 1
    for t, g in enumerate(grads, start=1):
        mu, mu_next = b1 * (1 - 0.5 * 0.96 ** (t * psi)), b1 * (1 - 0.5 * 0.96 ** ((t + 1) * psi))
        product = product * mu
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = mu_next * m / (1 - product * mu_next) + (1 - mu) * g / (1 - product)
        yield -RATE * m_hat / (np.sqrt(v / (1 - b2**t)) + eps)


def nadam_keras(grads):
    return nadam_warming(grads, psi=1.0)


def adamax(grads, b1=0.9, b2=0.999, eps=1e-8):
    m = u = 0
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g) + eps)
        yield -RATE / (1 - b1**t) * m / u


def adabelief(grads, b1=0.9, b2=0.999, eps=1e-8):
    m = s = 0
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * (g - m) ** 2 + eps
        yield -RATE * m / (1 - b1**t) / (np.sqrt(s / (1 - b2**t)) + eps)


def yogi(grads, b1=0.9, b2=0.999, eps=1e-3):
    m, v = 0, 1e-6
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        v = v - (1 - b2) * np.sign(v - g**2) * g**2
        yield -RATE * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)


def sign_gd(grads):
    for g in grads:
        yield -RATE * np.sign(g)


def signum(grads, decay=0.9):
    m = 0
    for g in grads:
        m = decay * m + (1 - decay) * g
        yield -RATE * np.sign(m)


def lion(grads, b1=0.9, b2=0.99):
    m = 0
    for g in grads:
        yield -RATE * np.sign(b1 * m + (1 - b1) * g)
        m = b2 * m + (1 - b2) * g


def normalized_gd(grads):
    for g in grads:
        yield -RATE * g / np.linalg.norm(g)


def adamw(grads, shrink=RATE * 0.1):
    theta = 0.5
    for move in adam(grads):
        yield move - shrink * theta
        theta = theta + move - shrink * theta


def adamw_outright(grads):
    return adamw(grads, 0.1)


def sgdw(grads):
    theta = 0.5
    for move in momentum(grads):
        yield move - RATE * 0.1 * theta
        theta = theta + move - RATE * 0.1 * theta


def lookahead(grads, k=5, alpha=0.5):
    slow = fast = np.full(grads.shape[1:], 0.5)
    for t, move in enumerate(adam(grads), start=1):
        old, fast = fast, fast + move
        if t % k == 0:
            slow = fast = slow + alpha * (fast - slow)
        yield fast - old


def swats(grads, b1=0.9, b2=0.999, eps=1e-9, tolerance=5e-4, first=2, after=lambda j: 1):
    """Algorithm 1."""
    m = a = lam = v = 0
    big = at = None
    for k, g in enumerate(grads, start=1):
        if big is not None:
            v = b1 * v + g
            yield -(1 - b1) * big * after(k - at - 1) * v
            continue
        m = b1 * m + (1 - b1) * g
        a = b2 * a + (1 - b2) * g**2
        p = -RATE * np.sqrt(1 - b2**k) / (1 - b1**k) * m / (np.sqrt(a) + eps)
        yield p
        if p @ g != 0:
            gamma = p @ p / -(p @ g)
            lam = b2 * lam + (1 - b2) * gamma
            if k >= first and abs(lam / (1 - b2**k) - gamma) < tolerance and lam > 0:
                big, at = lam / (1 - b2**k), k


S = gdlab.schedules
TRANSCRIPTIONS = {
    "gd": (gdlab.gd(RATE), gd),
    "gd, eta / sqrt(t + 1)": (gdlab.gd(S.InverseSqrt(RATE)), gd_decayed),
    "momentum": (gdlab.momentum(RATE), momentum),
    "momentum, eta / sqrt(t + 1)": (gdlab.momentum(S.InverseSqrt(RATE)), momentum_decayed),
    "momentum, torch": (gdlab.momentum(S.InverseSqrt(RATE), source="torch"), momentum_outside),
    "nesterov": (gdlab.nesterov(RATE), nesterov),
    "nesterov, torch": (gdlab.nesterov(S.InverseSqrt(RATE), source="torch"), nesterov_outside),
    "adagrad": (gdlab.adagrad(RATE), adagrad),
    "adagrad, paper": (gdlab.adagrad(RATE, source="paper"), adagrad),
    "adagrad, optax": (gdlab.adagrad(RATE, eps=1e-7, source="optax"), adagrad_from_a_tenth),
    "rmsprop": (gdlab.rmsprop(RATE), rmsprop),
    "rmsprop, momentum": (gdlab.rmsprop(RATE, momentum=0.8), rmsprop_with_momentum),
    "rmsprop, torch": (
        gdlab.rmsprop(S.InverseSqrt(RATE), 0.99, 1e-8, momentum=0.8, centered=True, source="torch"),
        rmsprop_torch,
    ),
    "rmsprop, keras": (gdlab.rmsprop(RATE, 0.9, 1e-7, momentum=0.8, source="keras"), rmsprop_keras),
    "windowed": (
        gdlab.descent(gdlab.directions.Gradient(), gdlab.scales.WindowedRootMeanSquare(7), RATE),
        windowed,
    ),
    "adam": (gdlab.adam(RATE), adam),
    "adam, keras": (gdlab.adam(RATE, eps=1e-7, source="keras"), adam_keras),
    "amsgrad": (gdlab.amsgrad(RATE), amsgrad),
    "amsgrad, torch": (gdlab.amsgrad(RATE, source="torch"), amsgrad_torch),
    "amsgrad, optax": (gdlab.amsgrad(RATE, source="optax"), amsgrad_optax),
    "adabound": (gdlab.adabound(RATE), adabound),
    "adabound, paper": (gdlab.adabound(RATE, source="paper"), adabound_paper),
    "adabound, code": (gdlab.adabound(S.InverseSqrt(RATE), source="code"), adabound_code),
    "amsbound": (gdlab.amsbound(RATE), amsbound(adabound)),
    "amsbound, paper": (gdlab.amsbound(RATE, source="paper"), amsbound(adabound_paper)),
    "amsbound, code": (gdlab.amsbound(S.InverseSqrt(RATE), source="code"), amsbound(adabound_code)),
    "radam": (gdlab.radam(RATE), radam),
    "nadam": (gdlab.nadam(RATE), nadam),
    "nadam, torch": (gdlab.nadam(RATE, source="torch"), nadam_warming),
    "nadam, keras": (gdlab.nadam(RATE, source="keras"), nadam_keras),
    "adamax": (gdlab.adamax(RATE), adamax),
    "adabelief": (gdlab.adabelief(RATE, eps=1e-8, eps_root=1e-8), adabelief),
    "yogi": (gdlab.yogi(RATE), yogi),
    "sign_gd": (gdlab.sign_gd(RATE), sign_gd),
    "signum": (gdlab.signum(RATE), signum),
    "lion": (gdlab.lion(RATE), lion),
    "normalized_gd": (gdlab.normalized_gd(RATE), normalized_gd),
    "adamw": (gdlab.adamw(RATE, weight_decay=0.1), adamw),
    "adamw, paper": (gdlab.adamw(RATE, weight_decay=0.1, source="paper"), adamw_outright),
    "sgdw": (gdlab.sgdw(RATE, weight_decay=0.1), sgdw),
    "lookahead": (gdlab.lookahead(gdlab.adam(RATE)), lookahead),
    "swats": (gdlab.swats(RATE, tolerance=5e-4), swats),
    "swats, late and slowing": (
        gdlab.swats(RATE, tolerance=5e-4, min_steps=300, after=S.InverseSqrt(1.0)),
        lambda grads: swats(grads, first=300, after=lambda j: 1 / np.sqrt(j + 1)),
    ),
    "swats, never": (gdlab.swats(RATE, tolerance=0.0), lambda grads: swats(grads, tolerance=0.0)),
}


@pytest.mark.parametrize(("optimizer", "moves"), TRANSCRIPTIONS.values(), ids=TRANSCRIPTIONS)
def test_equals_its_transcription_over_a_thousand_random_steps(optimizer, moves):
    grads = gradients()
    assert_same_path(path(optimizer, grads), walk(moves)(grads))


@pytest.mark.parametrize("make", [gdlab.adagrad, gdlab.rmsprop, lambda rate: gdlab.adam(rate, eps=0.0)])
def test_the_first_step_is_the_rate_whatever_the_gradient(make):
    """S22."""
    grads = gradients(1)
    np.testing.assert_allclose(path(make(0.25), grads)[0], 0.5 - 0.25 * np.sign(grads[0]), rtol=1e-14)


def test_adam_ignores_the_scale_of_the_loss():
    """LECTURE 3.3 a: a power of two changes no bit, any other factor rounding only."""
    optimizer, grads = gdlab.adam(RATE, eps=0.0), gradients(200)
    np.testing.assert_array_equal(path(optimizer, grads), path(optimizer, 1024 * grads))
    np.testing.assert_allclose(path(optimizer, grads), path(optimizer, 3.7 * grads), rtol=1e-12)


def test_a_surprising_gradient_gets_a_large_step_and_an_expected_one_a_small_step():
    """The contrast table of S24: the same last gradient .1 after small and after large ones."""
    small, large = np.array([0.001, 0.001, 0.003, 0.002, 0.1]), np.array([10.8, 20.9, 31.7, 12.1, 0.1])
    places = path(gdlab.adagrad(1.0), np.stack([small, large], axis=1))
    np.testing.assert_allclose(places[3] - places[4], [0.999251, 0.002422], atol=5e-7)


def test_adams_one_informative_gradient_moves_ten_root_ten_rates():
    """S89: b1 = 0, b2 = .999, gradients of 1 and a single 100000."""
    grads = np.ones((101_000, 1))
    grads[100_998] = 1e5
    places = path(gdlab.adam(1.0, b1=0.0, b2=0.999, eps=0.0), grads)[:, 0]
    np.testing.assert_allclose(places[100_997] - places[100_998], 10 * np.sqrt(10), rtol=1e-5)
    np.testing.assert_allclose(places[100_998] - places[100_999], 3.16386e-4, rtol=1e-5)


def test_swats_says_when_it_switched_and_to_what_rate():
    optimizer, grads = gdlab.swats(RATE, tolerance=5e-4), gradients()
    state = optimizer.init(jnp.zeros(5))
    step = jax.jit(lambda g, state: (optimizer.step(g, state), optimizer.extras(g, state)))
    read = []
    for g in grads[:400]:
        (made, state), extras = step(jnp.asarray(g), state)
        read.append((float(made.eta), bool(extras["switched"]), float(extras["estimate"]), float(extras["rate"])))
        if not extras["switched"]:
            np.testing.assert_allclose(extras["estimate"], state.estimate / (1 - 0.999 ** len(read)), rtol=1e-12)
    at = int(state.switch_step)
    assert 1 < at < 400
    assert [switched for _, switched, _, _ in read] == [False] * (at - 1) + [True] * (401 - at)
    rate = read[at - 1][3]
    assert rate == read[at - 1][2] > 0
    assert [eta for eta, *_ in read[:at]] == [RATE] * at
    np.testing.assert_allclose([eta for eta, *_ in read[at:]], 0.1 * rate, rtol=1e-14)


def test_what_is_not_said_is_what_the_papers_say():
    for made, numbers in (
        (gdlab.swats(0.1), [1e-9, 1e-9, 0.1, 0.9, 0.999, 1, 2]),
        (gdlab.polyak(), [0, 0, 1, 1]),
        (gdlab.directions.NesterovTrace(), [0.9]),
        (gdlab.directions.NadamScheduled(), [0.004, 0.9]),
    ):
        assert sorted(jax.tree.leaves(made)) == numbers


@pytest.mark.full
def test_swats_by_leaf_switches_each_leaf_as_if_it_were_alone():
    optimizer = gdlab.swats(RATE, tolerance=5e-4, scope="leaf")
    grads = [gradients(300, seed) * scale for seed, scale in ((0, 1.0), (1, 2.0))]
    state = optimizer.init([jnp.zeros(5), jnp.zeros(5)])
    update = jax.jit(optimizer.update)
    alone = gdlab.swats(RATE, tolerance=5e-4)
    states, update_alone = [alone.init(jnp.zeros(5)) for _ in grads], jax.jit(alone.update)
    for pair in zip(*map(jnp.asarray, grads), strict=True):
        updates, state = update(list(pair), state)
        for i, g in enumerate(pair):
            expected, states[i] = update_alone(g, states[i])
            np.testing.assert_allclose(updates[i], expected, rtol=1e-12)
    assert [int(at) for at in state.switch_step] == [int(state.switch_step) for state in states]
    assert state.switch_step[0] != state.switch_step[1]


@pytest.mark.full
def test_radams_extras_are_the_numbers_of_the_paper():
    """LECTURE 3.7; the first adapted step is the fifth in the paper and the sixth in torch and optax."""
    ours, theirs = gdlab.radam(1.0), gdlab.radam(1.0, threshold=5.0)
    state, extras, extras_of_code = ours.init(1.0), [], []
    for _ in range(100):
        extras.append(ours.extras(1.0, state))
        extras_of_code.append(theirs.extras(1.0, state))
        _, state = ours.update(1.0, state)
    rho, r = np.array([float(e["rho"]) for e in extras]), np.array([float(e["r"]) for e in extras])
    np.testing.assert_allclose(rho[:6], [1, 1.9995, 2.9987, 3.9975, 4.99600, 5.99416], atol=5e-5)
    np.testing.assert_allclose(r[[4, 5, 9, 99]], [0.01731, 0.02582, 0.049, 0.2153], atol=5e-5)
    assert [np.flatnonzero(r)[0], [bool(e["r"]) for e in extras_of_code].index(True)] == [4, 5]
    assert rho[0] == 1


def test_adabounds_extras_are_its_bounds_and_the_share_it_clips():
    """LECTURE 3.5."""
    optimizer = gdlab.adabound(1e-3)
    for t, low, high in ((1, 9.99e-5, 100.1), (100, 0.00909, 1.1), (1000, 0.05, 0.2), (10_000, 0.0909, 0.11)):
        state = optimizer.init(jnp.ones(2))._replace(count=jnp.int32(t - 1))
        extras = optimizer.extras(jnp.array([1.0, 1e-6]), state)
        np.testing.assert_allclose([extras["lower"], extras["upper"]], [low, high], rtol=1e-3)
        assert 0 <= extras["clipped"] <= 1
    # At t = 1 the rates are eta / abs(g): .001 lies between the bounds, 1000 does not.
    assert float(optimizer.extras(jnp.array([1.0, 1e-6]), optimizer.init(jnp.ones(2)))["clipped"]) == 0.5
    assert float(optimizer.extras(jnp.array(1e-6), optimizer.init(jnp.ones(())))["clipped"]) == 1


def test_adabound_is_adam_to_the_bit_before_it_clips_and_momentum_in_the_end():
    grads = gradients(20) / np.array([1e-3, 1e-1, 1.0, 10.0, 100.0])
    wide = gdlab.adabound(RATE, final_rate=0.1, gamma=1e-9)
    np.testing.assert_array_equal(path(wide, grads), path(gdlab.adam(RATE), grads))
    late = path(gdlab.adabound(RATE, final_rate=0.1, gamma=1e12), grads)
    m = 0
    for t, g in enumerate(grads, start=1):
        m = 0.9 * m + 0.1 * g
        np.testing.assert_allclose(late[t - 1] - (late[t - 2] if t > 1 else 0.5), -0.1 * m / (1 - 0.9**t), rtol=1e-9)


def test_what_is_lacking_or_unknown_is_named():
    for optimizer in (gdlab.adamw(0.1), gdlab.sgdw(0.1, source="paper"), gdlab.lookahead(gdlab.gd(0.1))):
        with pytest.raises(ValueError, match="params must be given, update"):
            optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))
    with pytest.raises(TypeError, match=r"value must be given, update\(grads, state, params, value=loss\)"):
        gdlab.polyak().update(jnp.ones(2), gdlab.polyak().init(jnp.ones(2)))
    with pytest.raises(
        ValueError, match="source must be 'lecture', 'paper', 'torch', 'keras' or 'optax'; got 'matlab'"
    ):
        gdlab.amsgrad(0.1, source="matlab")
    with pytest.raises(ValueError, match="parts must hold exactly one optimizer of gdlab; got 2"):
        gdlab.chain(gdlab.gd(0.1), gdlab.gd(0.1))
    with pytest.raises(ValueError, match="scope must be 'global' or 'leaf'; got 'group'"):
        gdlab.swats(0.1, scope="group")


def test_swats_learns_nothing_from_a_gradient_across_its_step():
    """Gradients 1, 0, 1: the second is orthogonal to every step, however loose the tolerance."""
    optimizer, estimates = gdlab.swats(0.1, tolerance=1e9), []
    state = optimizer.init(jnp.zeros(1))
    for g in (1.0, 0.0, 1.0):
        _, state = optimizer.update(jnp.full(1, g), state)
        estimates.append(float(state.estimate))
    assert estimates[0] == estimates[1] > 0
    assert int(state.switch_step) == 3
    still = gdlab.swats(lambda t: jnp.where(t < 2, 0.0, 0.1), tolerance=1e9)
    state = still.init(jnp.zeros(1))
    for moved in (False, False, True):
        updates, state = still.update(jnp.ones(1), state)
        assert bool(updates[0] != 0) == moved
    assert int(state.switch_step) == 3


@pytest.mark.full
def test_what_wraps_an_optimizer_passes_on_what_it_knows():
    inner, params, grads = gdlab.radam(0.1), jnp.ones(2), jnp.array([1.0, -2.0])
    wrapped = {
        "rolling": gdlab.momentum_on_updates(inner),
        "rolling outside": gdlab.trace_on_updates(inner),
        "decayed": gdlab.with_weight_decay(inner, 0.1),
        "decayed outright": gdlab.with_independent_weight_decay(inner, 0.1),
        "lookahead": gdlab.lookahead(inner),
        "chain": gdlab.chain(optax.trace(0.0), optax.scale(1.0), inner, optax.scale(2.0), optax.trace(0.0)),
    }
    for optimizer in wrapped.values():
        state, own = optimizer.init(params), inner.init(params)
        for _ in range(6):
            assert optimizer.extras(grads, state, params) == inner.extras(grads, own, params)
            _, state = optimizer.update(grads, state, params)
            _, own = inner.update(grads, own, params)


def test_a_chain_changes_gradients_before_and_moves_behind():
    parts = (
        optax.add_decayed_weights(0.5),
        optax.scale(3.0),
        gdlab.momentum(0.1, 0.5),
        optax.scale(2.0),
        optax.trace(0.5),
    )
    ours, theirs = gdlab.chain(*parts), optax.chain(*parts)
    params, state, state_of_theirs = jnp.array([1.0, -2.0]), ours.init(jnp.ones(2)), theirs.init(jnp.ones(2))
    for g in gradients(4)[:, :2]:
        updates, state = ours.update(jnp.asarray(g), state, params)
        expected, state_of_theirs = theirs.update(jnp.asarray(g), state_of_theirs, params)
        np.testing.assert_allclose(updates, expected, rtol=1e-14)
    with pytest.raises(TypeError, match=r"^parts must be optax transformations, such as optax.clip\(1.0\); got 3"):
        gdlab.chain(gdlab.gd(0.1), 3)


def test_weights_decay_and_slow_weights_pull_where_the_rate_is_zero():
    theta, g = jnp.array([2.0, -4.0]), jnp.ones(2)
    outright = gdlab.adamw(0.0, weight_decay=0.25, source="paper")
    np.testing.assert_allclose(outright.update(g, outright.init(theta), theta)[0], -theta / 4, rtol=1e-14)
    pulled = gdlab.lookahead(gdlab.gd(lambda t: jnp.where(t == 0, 1.0, 0.0)), period=2, slow_rate=0.25)
    state = pulled.init(theta)
    first, state = pulled.update(g, state, theta)
    second, state = pulled.update(g, state, theta + first)
    np.testing.assert_allclose(theta + first + second, theta - 0.25, rtol=1e-14)
    np.testing.assert_array_equal(state.slow, theta - 0.25)


def test_gradients_unlike_the_parameters_are_named():
    optimizer = gdlab.gd(0.1)
    with pytest.raises(ValueError, match=r"^grads must be like params, .*; got .*"):
        optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(3)), jnp.ones(3))


def test_chains_of_the_same_parts_share_a_trace():
    clip = optax.clip(1.0)
    one, other = (gdlab.chain(clip, gdlab.gd(rate)) for rate in (0.1, 0.2))
    assert jax.tree.structure(one) == jax.tree.structure(other)
    assert jax.tree.leaves(one) == [0.1]


def test_slow_weights_are_a_copy_that_may_be_donated_with_the_parameters():
    params = {"a": jnp.ones(3), "b": jnp.ones(2, "bfloat16")}
    slow = gdlab.lookahead(gdlab.gd(0.1)).init(params).slow
    assert slow["a"].unsafe_buffer_pointer() != params["a"].unsafe_buffer_pointer()
    assert (slow["a"].tolist(), slow["b"].tolist(), slow["b"].dtype) == ([1, 1, 1], [1, 1], "float32")
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
    assert gdlab.lookahead(gdlab.gd(0.1)).init(shapes).slow["a"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("dtype", "powers"), [("float32", (-37, -30, -25, 0, 20, 30, 38)), ("float64", (-300, 0, 300))]
)
def test_a_normalised_step_has_its_length_at_any_size_of_the_gradient(dtype, powers):
    update = jax.jit(lambda g, rate: gdlab.normalized_gd(rate).update(g, gdlab.normalized_gd(rate).init(g))[0])
    for power in powers:
        g = (np.array([0.6, -0.8]) * 10.0**power).astype(dtype)
        for rate in (0.1, 1.0):
            np.testing.assert_allclose(update(jnp.asarray(g), rate), [-0.6 * rate, 0.8 * rate], rtol=1e-6)
