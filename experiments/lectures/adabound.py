"""Does AdaBound begin as Adam and end as descent with momentum? (S91; section 3.5)

    eta / sigma  ->  clip(eta / sigma, lower, upper),   lower = f (1 - 1 / (c t + 1)),   upper = f (1 + 1 / (c t))

with the final rate f = .1 and c = .001.  It is Adam to the bit until the first rate meets a bound: at rate .001 and
gradients of size 1 that is step 11 already, and gradients of size 100 are clipped from the first step on.  All rates
end within f / (c t) of f.  So where Adam is led astray by rare large gradients (section 3.4), AdaBound comes back.
AMSBound, with the peak of sigma, takes the small rate of a burst of gradients until the lower bound lifts it; AdaBound
forgets the burst.
"""

import jax
import jax.numpy as jnp
import numpy as np

import gdlab

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true, printed

QUESTION = "Does AdaBound begin as Adam and end as descent with momentum? (S91; section 3.5)"
RATE, FINAL, CLOSING = 1e-3, 0.1, 1e-3
BOUNDS = {1: ("9.99e-5", "100.1"), 100: (".00909", "1.1"), 1000: (".05", ".2"), 10_000: (".0909", ".11")}
LATE = {1_000_000: (".0999", ".1001")}
SCALES = np.array([1e-4, 1e-2, 1.0, 100.0])  # of the gradients
SLOWLY = 1e-5  # bounds so far apart that sigma decides
STEPS, RARE = 100_000, 30_000
OPTIMIZERS = {"Adam": gdlab.adam(RATE), "AdaBound": gdlab.adabound(RATE), "AMSBound": gdlab.amsbound(RATE)}


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "adabound", QUESTION, measure)


def measure():
    """The checks and the figure."""
    rates, astray = {name: rates_of(optimizer) for name, optimizer in OPTIMIZERS.items()}, rare_gradients()
    return [*bounds(), *early(rates), *late(rates), *burst(), *returns(astray)], lambda: draw(rates, astray)


def funnel(t, final=FINAL, closing=CLOSING):
    """Both bounds at step t, counted from 1."""
    return final * (1 - 1 / (closing * t + 1)), final * (1 + 1 / (closing * t))


def bounds():
    """The bounds as printed, from the optimizer's own extras."""
    optimizer = OPTIMIZERS["AdaBound"]
    state = optimizer.init(1.0)
    checks = []
    for t, digits in (BOUNDS | LATE).items():
        extras = optimizer.extras(jnp.array(1.0), state._replace(count=jnp.int32(t - 1)))
        checks += [
            printed("S91", f"{side} bound at step {t}", extras[side], d)
            for side, d in zip(("lower", "upper"), digits, strict=True)
        ]
        lower, upper = funnel(t)
        off = np.maximum(abs(extras["lower"] / lower - 1), abs(extras["upper"] / upper - 1))
        checks.append(at_most("S91", f"both at step {t} over the formula's, less 1", off, 1e-9))
    return checks


def rates_of(optimizer):
    """eta / sigma at every step for signs of four sizes, and the parameters: shapes (steps, 4)."""
    grads = jnp.asarray(SCALES) * jax.random.rademacher(jax.random.key(0), (STEPS, 4), float)
    kept = {
        "rate": lambda m: m.step.eta / m.step.sigma,
        "params": lambda m: m.params,
        "update": lambda m: m.step.update,
        "m": lambda m: m.step.m,
        "clipped": lambda m: m.extras.get("clipped", 0.0),
    }
    history = gdlab.minimize(jnp.vdot, optimizer, jnp.zeros(4), STEPS, batches=grads, record=kept).history
    return {name: np.asarray(values) for name, values in history.items()}


def early(rates):
    """Adam to the bit before the first clip: the rate is eta / |g| until a bound passes it."""
    apart = rates["AdaBound"]["params"] != rates["Adam"]["params"]
    first = np.where(apart.any(axis=0), apart.argmax(axis=0), STEPS)  # the steps that were the same
    lower, upper = funnel(np.arange(1, STEPS + 1))
    outside = [(RATE / scale < lower) | (RATE / scale > upper) for scale in SCALES]
    yield at_most(
        "S91",
        "share that is clipped - its formula",
        np.abs(rates["AdaBound"]["clipped"] - np.mean(outside, axis=0)).max(),
        0.0,
    )
    for scale, same, clipped in zip(SCALES, first, outside, strict=True):
        expected = float(np.argmax(clipped) if clipped.any() else STEPS)
        yield exactly(
            "3.5",
            f"gradients of {scale:g}: steps that are Adam's to the bit",
            same - 1 if same < STEPS else same,
            expected,
        )


def late(rates):
    """Every rate is Adam's, eta / (|g| + eps), clipped by the bounds, and so ends within f / (c t) of f."""
    found, stood = rates["AdaBound"], gdlab.adabound(0.0)
    due = np.clip(RATE / (SCALES + 1e-8), *funnel(np.arange(1, STEPS + 1)[:, None]))
    at_rest, _ = stood.update(jnp.ones(4), stood.init(jnp.zeros(4)))
    return (
        at_most(
            "3.5", "all steps and sizes: rate over the clipped one, less 1", farthest(found["rate"] / due, 1), 1e-9
        ),
        at_most(
            "3.5",
            "step + that rate m, over f |g|",
            farthest(found["update"] / SCALES, -due * found["m"] / SCALES) / FINAL,
            1e-9,
        ),
        at_most(
            "3.5",
            "last 1000 steps: rate over f, less 1",
            farthest(found["rate"][-1000:] / FINAL, 1),
            1 / (CLOSING * (STEPS - 1000)),
        ),
        at_most(  # of gradients of one size no peak is above the mean
            "S91",
            "AMSBound's places less AdaBound's, over f |g|",
            farthest(rates["AMSBound"]["params"] / SCALES, found["params"] / SCALES) / FINAL,
            1e-9,
        ),
        at_most("3.5", "rate 0 is no step, by our convention, whatever the bounds", jnp.abs(at_rest).max(), 0.0),
    )


def burst():
    """Ten gradients 100 times as large after 200 of one size: who forgets them, against both rules in NumPy."""
    g = np.full(5000, 1e-3)
    g[200:210] *= 100
    t, v, squares = np.arange(1, 5001), 0.0, []
    for square in g**2:
        v = 0.999 * v + 0.001 * square
        squares.append(v)
    sigma = np.sqrt(np.array(squares) / (1 - 0.999**t))
    lower, _ = funnel(t, 0.01, SLOWLY)
    rules, found = {"AdaBound": sigma, "AMSBound": np.maximum.accumulate(sigma)}, {}
    for name, scale in rules.items():
        make = {"AdaBound": gdlab.adabound, "AMSBound": gdlab.amsbound}[name]
        optimizer = make(1e-5, eps=0.0, final_rate=0.01, gamma=SLOWLY)
        run = gdlab.minimize(jnp.multiply, optimizer, 0.0, 5000, batches=jnp.asarray(g), record=("eta", "sigma"))
        found[name] = np.asarray(run.history["eta"] / run.history["sigma"])
        due = np.maximum(1e-5 / scale, lower)  # far below the upper bound
        off = farthest(found[name] / due, 1)
        yield at_most("S91", f"{name} through a burst: rate over the formula's - 1", off, 1e-9)
    apart = found["AdaBound"] / found["AMSBound"]
    yield at_most("S91", "before it both have one rate: farthest ratio, less 1", farthest(apart[:200], 1), 1e-12)
    ended = found["AdaBound"][-1]
    # Of the ten squares, 1e4 - 1 above the others' 1, all but .999^4790 is forgotten; the peak is not.
    left = 1 + (1e4 - 1) * (1 - 0.999**10) * 0.999**4790 / (1 - 0.999**5000)
    yield Check(
        "S91",
        "at the end AdaBound has forgotten: its rate over eta / |g|",
        ended / 1e-2,
        left**-0.5,
        1e-9,
    )
    yield is_true(
        "S91",
        "which is nearer to that before the burst than to AMSBound's, in logarithms",
        np.ptp(np.log([1e-2, ended])) < np.ptp(np.log([ended, found["AMSBound"][-1]])),
    )
    yield exactly("S91", "where AMSBound is lifted by the lower bound", found["AMSBound"][-1], float(lower[-1]))


def rare_gradients():
    """x in [-1, 1] on slopes of 4, -1, -1, 4, ...: the mean slope is 2 / 3, the best x is -1 (section 3.4)."""
    slopes = jnp.where(jnp.arange(RARE) % 3 == 0, 4.0, -1.0)

    def path(optimizer):
        def step(carry, g):
            x, state = carry
            update, state = optimizer.update(g, state, x)
            return (jnp.clip(x + update, -1, 1), state), x

        return jax.lax.scan(step, (jnp.array(1.0), optimizer.init(jnp.array(1.0))), slopes)[1]

    led = {"Adam": gdlab.adam(RATE, 0.0, 1 / 17), "AdaBound": gdlab.adabound(RATE, 0.0, 1 / 17, final_rate=0.01)}
    return {name: np.asarray(path(optimizer)) for name, optimizer in led.items()}


def looped(name):
    """The same path without arrays: b1 = 0, b2 = 1 / 17, AdaBound with bounds about .01."""
    x, v, path = 1.0, 0.0, []
    for t in range(1, RARE + 1):
        path.append(x)
        g = 4.0 if t % 3 == 1 else -1.0
        v = v / 17 + 16 / 17 * g * g
        rate = RATE / ((v / (1 - (1 / 17) ** t)) ** 0.5 + 1e-8)
        if name == "AdaBound":
            lower, upper = funnel(t, final=0.01)
            rate = min(max(rate, lower), upper)
        x = min(max(x - rate * g, -1.0), 1.0)
    return np.array(path)


def returns(astray):
    """Where each stands in the last third of its steps."""
    means = {name: path[-RARE // 3 :].mean() for name, path in astray.items()}
    return (
        *(
            at_most("3.5", f"{name}: off a Python loop", np.abs(path - looped(name)).max(), 1e-9)
            for name, path in astray.items()
        ),
        # At an end: within a few of the longest steps, 4 times a rate of .001, or of AdaBound's .01.
        is_true("3.5", "rare large gradients: Adam stands at the worst end", means["Adam"] > 0.99),
        is_true("3.5", "AdaBound comes back to the best", means["AdaBound"] < -0.95),
    )


def draw(rates, astray):
    """The funnel of rates, and who is led astray."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    t = np.unique(np.geomspace(1, STEPS, 400).astype(int))
    left.fill_between(t, *funnel(t), color="0.9", label="between the bounds")
    for i, scale in enumerate(SCALES):
        left.plot(
            t, rates["AdaBound"]["rate"][t - 1, i], color=figures.PALETTE[i], label=f"AdaBound, gradients of {scale:g}"
        )
        left.plot(t, rates["Adam"]["rate"][t - 1, i], ":", color=figures.PALETTE[i])
    left.set(xscale="log", yscale="log", xlabel="step", ylabel="$\\eta / \\sigma$", title="dotted: Adam's rates")
    for (name, path), colour in zip(astray.items(), figures.PALETTE, strict=False):
        right.plot(np.arange(1, RARE + 1), path, color=colour, linewidth=0.8, label=name)
    right.set(
        xscale="log", xlabel="step", ylabel="x", title="slopes 4, -1, -1, 4, ...: the best x is -1", ylim=(-1.1, 1.1)
    )
    left.legend(fontsize=7, loc="upper right")
    right.legend(fontsize=7)
    return figure
