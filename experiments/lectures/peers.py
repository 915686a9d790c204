"""Do our optimizers make the steps of optax's? (S3, S19, S73, S77, S81, S90, S94-S98, S101)

Every optimizer of the grid that optax has too is run beside it for 1000 steps, twice: on gradients that span five
decades, the same for both, and down the crescent of Rosenbrock, each on its own gradients.  What is compared is
the largest distance between the two paths, over the largest distance that optax's went.

Two columns: ours by the name of the source, which must agree to rounding, and ours as the lectures have it, which is
another rule where sources differ: sigma_0 = |g_0| and not 0 (rmsprop), no .1 in the sum (adagrad), nothing debiased
(amsgrad), steps that adapt from rho > 4 and not 5 (radam).  The loudest difference is that of RMSProp's start, which
makes optax's first step 1 / sqrt(1 - a) times as long, 3.16 at a = .9.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdlab
from experiments.cli.settings import Experiment
from experiments.reporting.checks import at_most, conclude, exactly, is_true
from gdlab.problems import rosenbrock

QUESTION = "Do our optimizers make the steps of optax's? (S3, S19, S73, S77, S81, S90, S94-S98, S101)"
RATE, STEPS, SAME = 1e-3, 1000, 1e-9
DECADES = 10.0 ** np.arange(-3, 2)
# optax's optimizer, ours of that source, ours as the lectures have it (None: the same)
PEERS = {
    "sgd": (optax.sgd(RATE), gdlab.gd(RATE), None),
    "momentum": (optax.sgd(RATE, 0.9), gdlab.momentum(RATE), None),
    "nesterov": (optax.sgd(RATE, 0.9, nesterov=True), gdlab.nesterov(RATE), None),
    "adagrad": (optax.adagrad(RATE), gdlab.adagrad(RATE, eps=1e-7, source="optax"), gdlab.adagrad(RATE)),
    "rmsprop": (optax.rmsprop(RATE), gdlab.rmsprop(RATE, eps=1e-8, source="optax"), gdlab.rmsprop(RATE)),
    "rmsprop + momentum": (
        optax.rmsprop(RATE, momentum=0.9),
        gdlab.rmsprop(RATE, eps=1e-8, momentum=0.9, source="optax"),
        gdlab.rmsprop(RATE, momentum=0.9),
    ),
    "adam": (optax.adam(RATE), gdlab.adam(RATE), None),
    "adamw": (optax.adamw(RATE, weight_decay=1e-2), gdlab.adamw(RATE), None),
    "amsgrad": (optax.amsgrad(RATE), gdlab.amsgrad(RATE, source="optax"), gdlab.amsgrad(RATE)),
    "radam": (optax.radam(RATE), gdlab.radam(RATE, threshold=5.0), gdlab.radam(RATE)),
    "nadam": (optax.nadam(RATE), gdlab.nadam(RATE), None),
    "adamax": (optax.adamax(RATE), gdlab.adamax(RATE), None),
    "adabelief": (optax.adabelief(RATE), gdlab.adabelief(RATE), None),
    "lion": (optax.lion(RATE, weight_decay=0.0), gdlab.lion(RATE), None),
    "signum": (optax.signum(RATE), gdlab.signum(RATE), None),
    "sign_gd": (optax.sign_sgd(RATE), gdlab.sign_gd(RATE), None),
}


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "peers", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure."""
    table = {}
    for name, (theirs, *sources) in list(PEERS.items())[:: 2 if quick else 1]:
        first = path(theirs)
        table[name] = [ours and apart(first, path(ours)) for ours in sources]
    return verdict(table), lambda: draw(table)


def two_losses(params, grads):
    """A linear loss, whose gradient is the given one, and the crescent."""
    return jnp.vdot(params["given"], grads) + rosenbrock(params["crescent"])


def path(optimizer):
    """The parameters before each step."""
    grads = jnp.asarray(np.random.default_rng(1).normal(size=(STEPS, 5)) * DECADES)
    start = {"given": jnp.full(5, 0.5), "crescent": jnp.array([-1.2, 1.0])}
    run = gdlab.minimize(two_losses, optimizer, start, STEPS, batches=grads, record=("params",))
    return jax.tree.map(np.asarray, run.history["params"])


def apart(theirs, ours):
    """The largest distance of two paths over how far the first went, for each of the two losses."""
    return [
        np.linalg.norm(theirs[loss] - ours[loss], axis=1).max()
        / np.linalg.norm(theirs[loss] - theirs[loss][0], axis=1).max()
        for loss in ("given", "crescent")
    ]


def first_steps():
    """How long the first step of RMSProp is, over eta: optax's and the lectures'."""
    g = jnp.array(0.3)
    moved = [o.update(g, o.init(jnp.zeros([])))[0] for o in (optax.rmsprop(RATE, eps=0.0), gdlab.rmsprop(RATE))]
    return [-float(step) / RATE for step in moved]


def verdict(table):
    """All pairs agree to rounding by source; the lectures' own differ where they say something else."""
    theirs, ours = first_steps()
    lectures = {name: own for name, (_, own) in table.items() if own}
    return (
        *(
            at_most("S101", f"{name}: paths apart, over their length", max(same), SAME)
            for name, (same, _) in table.items()
        ),
        *(
            is_true("S101", f"{name}: the lectures' own is another rule", max(own) > 1e-6)
            for name, own in lectures.items()
        ),
        exactly("S77", "rmsprop: first step over eta, the lectures'", ours, 1.0),
        exactly("S77", "rmsprop: first step over eta, optax's: 1/sqrt(1 - a)", theirs, 0.1**-0.5),
    )


def draw(table):
    """A dot for each pair."""
    from experiments.reporting import figures
    from experiments.reporting.figures import plt

    figure, axes = plt.subplots(figsize=(8, 5))
    kinds = (("of the same source", "o"), ("as the lectures have it", "D"))
    for column, (kind, mark) in enumerate(kinds):
        for problem, place in (("given gradients", 0), ("down the crescent", 1)):
            rows = [(i, row[column][place]) for i, row in enumerate(table.values()) if row[column]]
            y, x = np.array(rows).T
            label = f"{kind}, {problem}"
            colour = figures.PALETTE[2 * column + place]
            axes.plot(np.maximum(x, 1e-18), y + 0.24 * place - 0.12, mark, color=colour, markersize=5, label=label)
    axes.axvline(SAME, color="0.5", linestyle="--", linewidth=1, label="what passes")
    axes.set(
        xscale="log", xlim=(5e-19, 20), xlabel=f"largest distance in {STEPS} steps, over the distance gone (0: 1e-18)"
    )
    axes.set_yticks(range(len(table)), list(table))
    axes.invert_yaxis()
    axes.grid(axis="y", linewidth=0.3)
    axes.set_title("ours beside optax's")
    axes.legend(fontsize=7, loc="lower right")
    return figure
