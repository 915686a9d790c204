"""When does SWATS switch from Adam to descent, and is that a gain? (S87; section 3.6)

Adam's step p is the shadow on itself of a step of descent, -gamma g with gamma = p.p / (-p.g).  The average of gamma,
debiased, is Lambda; SWATS switches to momentum at the rate Lambda at the first step k > 1 where |Lambda - gamma| is
below a tolerance (at k = 1 they are equal by definition, hence the guard) and Lambda is above 0, as a rate must be.

Logistic regression on 569 tumours (S87's numbers are of these data), from zero: gamma grows along Adam's way until it
has arrived.  With all examples the paper's tolerance 1e-9 never switches, nor does 1e-5; 1e-4 switches at once, to a
rate that is too small for the rest of the way, and ends worse than Adam.  With batches of 32 chance decides: the noise
of gamma meets its average early, and the runs end worse than Adam as well, in the mean of eight orders of the examples.
The tolerance must be chosen, and the paper's gain is not seen here.

The data are the Breast Cancer Wisconsin (Diagnostic) data (W. Wolberg, O. Mangasarian, N. Street and W. Street 1993,
UCI Machine Learning Repository, https://doi.org/10.24432/C5DW2B), licensed CC BY 4.0, in the form distributed by
scikit-learn (BSD 3-Clause).  Changed here: decimal fractions are stored as integers with their number of decimals.
"""

from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
from gdlab.optimizers.swats import SwatsState

from ..cli.settings import Experiment
from ..reporting.checks import at_most, conclude, exactly, farthest, is_true, printed
from ..reporting.run_folder import Table
from ..reporting.standard_errors import least_lead

QUESTION = "When does SWATS switch from Adam to descent, and is that a gain? (S87; section 3.6)"
DATA = Path(__file__).with_name("breast_cancer.npz")
RATE, PENALTY, STEPS, EPS = 1e-3, 1e-3, 20_000, 1e-9
TOLERANCES = (1e-9, 1e-5, 1e-4, 1e-3)
EVERY = 20  # steps between the estimates that are kept
ORDERS = 8  # of the examples, of batches of 32; the first one is followed step by step


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "switching", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure."""
    examples = tumours()
    steps = 2000 if quick else STEPS
    some = in_orders(examples, steps)
    runs = {
        "all examples": switched(examples, steps, args=(examples,)),
        "batches of 32": {name: values[0] for name, values in some.items()},
    }
    checks = [
        *projection(examples),
        growing(examples),
        *at_rest(examples),
        in_two_leaves(examples),
        *above_zero(),
        *from_rest(examples),
        *switches(runs, lowest(examples), estimated(examples)),
        *above_adam(some["loss"]),
    ]
    if not quick:
        end = runs["all examples"]["loss"][TOLERANCES.index(1e-4)]
        checks.append(printed("S87", "all examples, tolerance 1e-4: the loss after 20 000 steps", end, ".0673"))
    return checks, lambda: draw(runs), of_one_order(runs)


def of_one_order(runs):
    """Where batches of 32 switch here, beside what is printed of another order of the examples."""
    rows = zip(TOLERANCES[1:], ("25", "12", "2"), runs["batches of 32"]["step"][1:], strict=False)
    shown = [[f"{tolerance:g}", printed, f"{step}"] for tolerance, printed, step in rows]
    return Table(
        "Batches of 32, one order each: step of the switch, not judged", ("tolerance", "printed", "here"), shown
    )


def tumours():
    """Standardised measurements, shape (569, 30), and labels: 1 benign, -1 malignant."""
    with np.load(DATA, allow_pickle=False) as stored:
        measurements = stored["measurements"] / 10.0 ** stored["decimals"]
        labels = np.where(stored["benign"], 1.0, -1.0)
    return gdlab.standardize(measurements)[0], jnp.asarray(labels)


def loss(w, examples):
    """The mean of -log P(label), and the L2 penalty; the last weight is the bias."""
    x, label = examples
    return jnp.mean(jnp.logaddexp(0, -label * (x @ w[:-1] + w[-1]))) + PENALTY * w @ w / 2


def lowest(examples):
    """The lowest loss, by Newton's method."""
    step = jax.jit(lambda w: jnp.linalg.solve(jax.hessian(loss)(w, examples), jax.grad(loss)(w, examples)))
    w = jnp.zeros(31)
    for _ in range(20):
        w -= step(w)
    return float(loss(w, examples))


def in_orders(examples, steps):
    """The runs with batches of 32, in several orders of the examples: their axis comes first."""
    runs = jax.vmap(lambda seed: switched(examples, steps, batches=batches(examples, seed)))
    return jax.tree.map(np.asarray, jax.jit(runs)(jnp.arange(ORDERS)))


def batches(examples, seed):
    """Batches of 32, reshuffled each epoch."""
    return gdlab.minibatches(examples, 32, key=jax.random.key(seed))


def switched(examples, steps, **how):
    """For every tolerance, and for Adam (tolerance 0): estimates, the step and rate of the switch, the final loss."""

    def run(tolerance):
        kept = {"estimate": lambda m: m.extras["estimate"]}
        optimizer = gdlab.swats(RATE, tolerance=tolerance)
        ran = gdlab.minimize(loss, optimizer, jnp.zeros(31), steps, record=kept, every=EVERY, **how)
        state = cast(SwatsState, ran.state)
        return {
            "estimate": ran.history["estimate"],
            "step": state.switch_step,
            "rate": state.rate,
            "loss": loss(ran.params, examples),
        }

    return jax.jit(jax.vmap(run))(jnp.array((*TOLERANCES, 0.0)))


def projection(examples):
    """The shadow of -gamma g on p is p; Lambda_1 is gamma_1."""
    kept = {"grads": lambda m: m.grads, "p": lambda m: m.step.update, "estimate": lambda m: m.extras["estimate"]}
    ran = gdlab.minimize(loss, gdlab.swats(RATE, tolerance=0.0), jnp.zeros(31), 20, args=(examples,), record=kept)
    g, p = (np.asarray(ran.history[name]) for name in ("grads", "p"))
    gamma = (p * p).sum(axis=1) / -(p * g).sum(axis=1)
    t = np.arange(20)
    weights = np.tril(0.999 ** (t[:, None] - t).clip(0))
    means = weights @ gamma / weights.sum(1)
    shadow = (-gamma[:, None] * g * p).sum(axis=1, keepdims=True) / (p * p).sum(axis=1, keepdims=True) * p
    return (
        at_most("S87", "20 steps: p over Adam's by a NumPy loop, less 1", np.abs(p / adam_steps(g) - 1).max(), 1e-11),
        at_most("S87", "20 steps: shadow of -gamma g on p, less p", np.abs(shadow - p).max(), 1e-15),
        exactly("S87", "Lambda after the first step over gamma", ran.history["estimate"][0] / gamma[0], 1.0),
        at_most(
            "S87",
            "20 Lambdas over weighted means of all gamma, less 1",
            np.abs(ran.history["estimate"] / means - 1).max(),
            1e-12,
        ),
    )


def growing(examples, steps=2000):
    """The shadow's rate along Adam's way, until it has arrived."""
    kept = {"grads": lambda m: m.grads}
    ran = gdlab.minimize(loss, gdlab.swats(RATE, tolerance=0.0), jnp.zeros(31), steps, args=(examples,), record=kept)
    gamma = shadow_rates(np.asarray(ran.history["grads"]))
    return is_true("S87", f"gamma grows along Adam's way, for {steps} steps", (np.diff(gamma) > 0).all())


def shadow_rates(grads):
    """The gamma of each of Adam's steps on these gradients, by NumPy."""
    p = adam_steps(grads)
    return (p * p).sum(axis=1) / -(p * grads).sum(axis=1)


def at_rest(examples):
    """While its rate is 0 it stands still and learns no gamma; before and after its steps are Adam's."""
    kept = {"grads": lambda m: m.grads, "p": lambda m: m.step.update, "estimate": lambda m: m.extras["estimate"]}
    rates = gdlab.schedules.Piecewise([0.0, RATE, 0.0, RATE], [3, 6, 9])
    optimizer = gdlab.swats(rates, tolerance=0.0)
    ran = gdlab.minimize(loss, optimizer, jnp.zeros(31), 12, args=(examples,), record=kept)
    g, p, told = (np.asarray(ran.history[name]) for name in ("grads", "p", "estimate"))
    moves, average, due = np.arange(12) // 3 % 2 == 1, 0.0, []
    for t, (slope, step) in enumerate(zip(g, p, strict=True), 1):
        if moves[t - 1]:
            average = 0.999 * average - 0.001 * (step @ step) / (step @ slope)
        due.append(average / (1 - 0.999**t))
    return (
        at_most("S87", "rate 0 for three steps, twice: the longest of them", np.abs(p[~moves]).max(), 0.0),
        at_most(
            "S87", "the others over Adam's by a NumPy loop, less 1", farthest((p / adam_steps(g))[moves], 1), 1e-11
        ),
        at_most("S87", "12 Lambdas by a loop, over the largest", farthest(told, due) / max(due), 1e-12),
    )


def above_zero():
    """Where gradients turn against Adam's steps gamma is negative, and there is no switch while Lambda is, too."""
    g = np.array([10.0, -0.1, -0.1, -0.1, 1e-4, 1e-4])[:, None]
    weights = np.tril(0.999 ** (np.arange(6)[:, None] - np.arange(6)).clip(0))
    means = weights @ shadow_rates(g)
    optimizer = gdlab.swats(RATE, tolerance=1e9)
    ran = gdlab.minimize(jnp.vdot, optimizer, jnp.zeros(1), 6, batches=jnp.asarray(g), record=())
    first = int(np.argmax(means[1:] > 0)) + 2
    return (
        is_true("S87", "a large gradient, then three of the other sign: Lambda is negative", (means[1:4] < 0).all()),
        exactly(
            "S87",
            "any tolerance: the switch comes with the first Lambda above 0",
            cast(SwatsState, ran.state).switch_step,
            first,
        ),
    )


def in_two_leaves(examples):
    """The same 20 estimates where the bias is a leaf of its own: sums over all weights, whatever their leaves."""
    optimizer, kept = gdlab.swats(RATE, tolerance=0.0), {"estimate": lambda m: m.extras["estimate"]}

    def estimates(loss, start):
        return gdlab.minimize(loss, optimizer, start, 20, args=(examples,), record=kept).history["estimate"]

    parts = lambda w, examples: loss(jnp.append(w["w"], w["b"]), examples)  # noqa: E731
    whole, split = estimates(loss, jnp.zeros(31)), estimates(parts, {"w": jnp.zeros(30), "b": jnp.zeros(1)})
    off = farthest(jax.tree.leaves(split)[0], whole) / float(whole.min())  # rounding: sums in another order
    return at_most("S87", "20 Lambdas with the bias in a leaf of its own - those before, relative", off, 1e-9)


def adam_steps(grads):
    """The steps of the paper's Adam on these gradients, whose eps stands beside the root before it is debiased."""
    m, v, steps = 0.0, 0.0, []
    for t, g in enumerate(grads, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        debias = (1 - 0.999**t) ** 0.5 / (1 - 0.9**t)
        steps.append(-RATE * debias * m / (np.sqrt(v) + EPS))
    return np.array(steps)


def from_rest(examples):
    """After the switch v <- b1 v + g from rest, not from Adam's average; w <- w - (1 - b1) Lambda v / (1 + .3 j)."""
    kept = {"grads": lambda m: m.grads, "update": lambda m: m.step.update}
    optimizer = gdlab.swats(RATE, tolerance=1e-4, after=gdlab.schedules.InverseTime(1.0, 0.3))
    ran = gdlab.minimize(loss, optimizer, jnp.zeros(31), 12, args=(examples,), record=kept)
    state = cast(SwatsState, ran.state)
    grads, moves = (np.asarray(ran.history[name])[int(state.switch_step) :] for name in ("grads", "update"))
    since = np.arange(len(grads))
    v = np.tril(0.9 ** (since[:, None] - since).clip(0)) @ grads
    off = farthest(moves, -(1 - 0.9) * float(state.rate) / (1 + 0.3 * since[:, None]) * v)
    return (
        exactly("S87", "steps after the switch at 2", len(grads), 10),
        at_most(
            "S87", "those steps + (1 - b1) Lambda v / (1 + .3 j), over the longest", off / np.abs(moves).max(), 1e-12
        ),  # rounding
    )


def estimated(examples, steps=200):
    """Lambda - gamma along Adam's way with batches of 32, by NumPy from its gradients."""
    kept = {"grads": lambda m: m.grads}
    optimizer, order = gdlab.swats(RATE, tolerance=0.0), batches(examples, 0)
    ran = gdlab.minimize(loss, optimizer, jnp.zeros(31), steps, record=kept, batches=order)
    gamma = shadow_rates(np.asarray(ran.history["grads"]))
    t = np.arange(steps)
    weights = np.tril(0.999 ** (t[:, None] - t).clip(0))
    return weights @ gamma / weights.sum(1) - gamma, weights @ gamma > 0


def first_switch(estimates, tolerance):
    """The first step after the first at which Lambda is positive and less than a tolerance from gamma; 0 for never."""
    apart, positive = estimates
    meets = ((np.abs(apart) < tolerance) & positive)[1:]
    return 2 + int(np.argmax(meets)) if meets.any() else 0


def switches(runs, optimum, estimates):
    """When each tolerance switches in the first order, and where it ends with all examples."""
    steps, rates, ends = ({name: run[what] for name, run in runs.items()} for what in ("step", "rate", "loss"))
    whole, some = "all examples", "batches of 32"
    return (
        printed("3.6", "the lowest loss", optimum, ".05982947"),
        *(
            exactly("3.6", f"all examples, tolerance {t:g}: step of the switch (0: never)", n, due)
            for t, n, due in zip(TOLERANCES, steps[whole], (0, 0, 2, 2), strict=False)
        ),
        printed("3.6", "tolerance 1e-4: its Lambda", rates[whole][2], ".00449"),
        is_true("S87", "and it ends above Adam", ends[whole][2] > ends[whole][-1]),
        exactly("3.6", "batches of 32, tolerance 1e-9: step of the switch (0: never)", steps[some][0], 0),
        *(
            exactly(
                "3.6", f"batches of 32, tolerance {t:g}: step of the switch, by NumPy", n, first_switch(estimates, t)
            )
            for t, n in zip(TOLERANCES[1:], steps[some][1:], strict=False)
        ),
    )


def above_adam(ends):
    """With batches of 32 the runs that switch end above Adam on the same batches, in the mean of orders."""
    for i, tolerance in list(enumerate(TOLERANCES))[1:]:
        name = f"batches of 32, tolerance {tolerance:g}: ends above Adam in the mean of {ORDERS} orders, beyond chance"
        yield is_true("S87", name, least_lead(*np.log(ends[:, [i, -1]]).T) > 0)


def draw(runs):
    """The estimates along the way, and where each tolerance ends."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, axes = plt.subplots(1, 3, figsize=(13, 4))
    names = [f"tolerance {tolerance:g}" for tolerance in TOLERANCES] + ["never: Adam"]
    for panel, (title, run) in zip(axes, runs.items(), strict=False):
        for i, name in enumerate(names):
            path = run["estimate"][i]
            panel.plot(EVERY * np.arange(len(path)) + 1, path, color=figures.PALETTE[i], linewidth=5 - i, label=name)
        panel.set(
            xscale="log",
            yscale="log",
            ylim=(1e-3, None),
            xlabel="step",
            ylabel="$\\Lambda$: the rate that descent would need",
            title=title,
        )
        panel.legend(fontsize=7)
    for (title, run), mark in zip(runs.items(), "os", strict=True):
        axes[2].plot(
            range(len(names)), run["loss"], mark, color="black", mfc="none" if mark == "s" else "black", label=title
        )
    axes[2].set_xticks(range(len(names)), [f"{t:g}" for t in TOLERANCES] + ["never"])
    axes[2].set(
        xlabel="tolerance of the switch",
        ylabel="loss on all examples at the end",
        ylim=(0.05, None),
        title="where it ends",
    )
    axes[2].legend(fontsize=7)
    return figure
