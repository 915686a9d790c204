"""Does dividing by the size of the gradient lose its mean? (section 3.2)

Nine gradients of .1 and then one of -.9 have the mean 0, and descent goes nowhere.  Their signs do not: nine steps one
way and one back, so that sign descent (rprop without its memory) drifts by 8 eta in ten steps.  RMSProp stands between
the two: sigma grows at the large gradient and shrinks again behind it,

    sum over a period of  g_i / sigma_i,   sigma_i^2 = (1 - a) sum_j a^j g_{i-j}^2,

which tends to the sign's 8 for a -> 0 and to nothing as a -> 1, where sigma is the same at all ten.  Adam averages the
numerator too and drifts less than RMSProp with the same a does.  As in Adam's counterexamples (section 3.4) the
mean is zero, the mean of the adaptive step is not.
"""

import jax
import jax.numpy as jnp
import numpy as np

import gdlab

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true

QUESTION = "Does dividing by the size of the gradient lose its mean? (section 3.2)"
PERIOD = np.array([0.1] * 9 + [-0.9])
STEPS, RATE = 10_000, 1e-3
DECAYS = np.array([0.0, 0.5, 0.9, 0.99, 0.999, 0.9999])


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "signs", QUESTION, measure)


def measure():
    """The checks and the figure."""
    adaptive = {"RMSProp": jax.vmap(lambda a: path(gdlab.rmsprop(RATE, a)))(DECAYS)}
    adaptive["Adam"] = jax.vmap(lambda b2: path(gdlab.adam(RATE, 0.9, b2, 0.0)))(DECAYS)
    plain = {"SGD": path(gdlab.sgd(RATE)), "sign": path(gdlab.sign_gd(RATE))}
    rules = {name: np.asarray(paths) for name, paths in (adaptive | plain).items()}
    drifts = {name: (paths[..., -1] - paths[..., -1001]) / (100 * RATE) for name, paths in rules.items()}  # per period
    return checks(rules, drifts), lambda: draw(rules, drifts)


def path(optimizer):
    """theta before each step and at the end: the loss is linear, so that its gradient is the batch."""
    grads = jnp.tile(jnp.asarray(PERIOD), STEPS // 10)
    run = gdlab.minimize(jnp.multiply, optimizer, 0.0, STEPS, batches=grads, record=("params",))
    return jnp.append(run.history["params"], run.params)


def repeated(decay, values):
    """The running average of values that come back every ten steps: its own ten, by the geometric sum over periods."""
    back = decay ** np.arange(10) * (1 - decay) / (1 - decay**10)
    return np.array([sum(back * values[(i - np.arange(10)) % 10]) for i in range(10)])


def settled(decay, b1=0.0):
    """The drift in one period over the rate, once m and sigma repeat themselves: RMSProp's, or Adam's with b1 = .9."""
    return -(repeated(b1, PERIOD) / np.sqrt(repeated(decay, PERIOD**2))).sum()


def adam_by_loop():
    """Adam's theta after each step, over the rate, by a loop in NumPy over all decays."""
    m, v, theta, kept = 0.0, np.zeros(len(DECAYS)), np.zeros(len(DECAYS)), []
    for t, g in enumerate(np.tile(PERIOD, STEPS // 10), 1):
        m, v = 0.9 * m + 0.1 * g, DECAYS * v + (1 - DECAYS) * g * g
        theta = theta - m / (1 - 0.9**t) / np.sqrt(v / (1 - DECAYS**t))
        kept.append(theta)
    return np.stack(kept, 1)


def rmsprop_by_loop():
    """RMSProp's, whose average begins at the first square."""
    v, theta, kept = PERIOD[0] ** 2, np.zeros(len(DECAYS)), []
    for g in np.tile(PERIOD, STEPS // 10):
        v = DECAYS * v + (1 - DECAYS) * g * g
        theta = theta - g / np.sqrt(v)
        kept.append(theta)
    return np.stack(kept, 1)


def checks(rules, drifts):
    """The drifts in ten steps over the rate, each against its law; of the start a^9000 is left."""
    rms, adam = drifts["RMSProp"], drifts["Adam"]
    return [
        at_most("3.2", "SGD: distance from the start after 10 000 steps", abs(rules["SGD"][-1]), 1e-12),
        exactly("3.2", "sign: theta after 10 000 steps", rules["sign"][-1], -8.0),
        *(
            Check(
                "3.2",
                f"{name}, {letter} = {a:g}: drift in ten steps over the rate",
                drift,
                settled(a, b1),
                1e-9 + 2 * a**9000 * abs(settled(a, b1)),
            )
            for name, letter, found, b1 in (("RMSProp", "a", rms, 0.0), ("Adam", "b2", adam, 0.9))
            for a, drift in zip(DECAYS[:5], found, strict=False)
        ),
        *(
            at_most(
                "3.2",
                f"{name}: theta after each of {STEPS} steps - a NumPy loop's",
                farthest(rules[name][:, 1:], RATE * loop),
                1e-9,
            )
            for name, loop in (("RMSProp", rmsprop_by_loop()), ("Adam", adam_by_loop()))
        ),  # rounding
        is_true("3.2", "RMSProp drifts less and less as a -> 1", (np.diff(np.abs(rms)) < 0).all()),
        is_true(
            "3.2", "Adam drifts less than RMSProp with the same a, from .5 on", (np.abs(adam) < np.abs(rms))[1:].all()
        ),
        *any_size(),
    ]


def any_size():
    """A sign knows no size: steps on gradients near both ends of what a number holds, and below."""

    def step(optimizer, gradient):
        return optimizer.update(gradient, optimizer.init(gradient))[0]

    direction = jnp.array([0.6, 0.8])
    for size, rate in ((1.2e308, 1e-12), (1e-307, 1e12)):
        moved = step(gdlab.normalized_gd(rate), size * direction)
        name = f"normalized, |g| = {size:g}, rate {rate:g}: step over the rate"
        yield at_most("3.2", f"{name}, off -g / |g|", farthest(moved / rate, -direction), 1e-12)
    for size in (1e150, 1e-150):
        yield exactly(
            "3.2", f"RMSProp, a = 0, g = {size:g}: step", step(gdlab.rmsprop(1.0, 0.0), jnp.array(size)), -1.0
        )
    # A square below the smallest that counts, 2^-1012, is divided by its root.
    lesser = step(gdlab.rmsprop(1.0, 0.0), jnp.array(1e-160))
    yield exactly(
        "3.2", "RMSProp, a = 0, g = 1e-160, whose square is lost: step over 2^506 g", lesser / 2.0**506, -1e-160
    )
    still = step(gdlab.normalized_gd(1.0), jnp.zeros(2))
    yield exactly("3.2", "normalized, where g = 0: the largest part of its step", abs(still).max(), 0.0)


def draw(rules, drifts):
    """The paths, and the drift against the decay."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    t, looked = np.arange(STEPS + 1), [DECAYS.tolist().index(a) for a in (0.9, 0.99, 0.999)]
    for name, colour, width in (("SGD", "0.7", 6), ("sign", figures.PALETTE[3], 1.5)):
        left.plot(
            t, rules[name], color=colour, linewidth=width, solid_joinstyle="bevel", solid_capstyle="butt", label=name
        )
    for i, shade in zip(looked, (figures.PALETTE[0], figures.PALETTE[5], figures.PALETTE[2]), strict=True):
        left.plot(t, rules["RMSProp"][i], color=shade, label=f"RMSProp, a = {DECAYS[i]:g}")
        left.plot(t, rules["Adam"][i], "--", color=shade, label=f"Adam, $b_2$ = {DECAYS[i]:g}")
    left.set(xlabel="steps", ylabel="$\\theta$", title="gradients .1 nine times, then -.9; rate .001")
    a = 1 - np.geomspace(1, 1e-4, 60)
    right.plot(1 - a, [-settled(x) for x in a], color=figures.PALETTE[0], label="RMSProp, once settled")
    for name, colour in (("RMSProp", figures.PALETTE[0]), ("Adam", figures.PALETTE[1])):
        right.plot(1 - DECAYS, np.abs(drifts[name]), "o", color=colour, label=f"{name}, last 1000 steps")
    right.axhline(8, color=figures.PALETTE[3], linestyle=":", label="sign")
    right.set(
        xscale="log",
        yscale="log",
        xlabel="1 - a, 1 - $b_2$",
        ylabel="drift in ten steps / rate",
        title="the mean of g is 0",
    )
    right.invert_xaxis()
    for axes in (left, right):
        axes.legend(fontsize=7)
    return figure
