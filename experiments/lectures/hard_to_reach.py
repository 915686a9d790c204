"""Does training that is stuck, or done, stand at a critical point? (S63, S64)

Rarely.  Where a fifth of the labels are wrong and the rate is .5, a network on 600 digits goes nowhere: its loss stays
near 1 for thousands of updates, and the gradient over all examples has a norm of about .5 throughout.  It is stuck as
a ball between the walls of a valley.  And ordinary training on clean digits, by SGD, momentum or Adam, brings the loss
down to a twentieth and less while the gradient's norm still is many times the 1e-3 that a search for critical points
asks for, and goes up nearly as often as down (Goodfellow et al. 2016).  To get there takes another method: from where
Adam ends, descent on all examples at once does, after many more updates.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdlab
from gdlab.problems import network_loss

from ..cli.settings import Experiment
from ..reporting.checks import Check, conclude, exactly, is_true
from ..workloads.digits import FLOAT, examples, start

QUESTION = "Does training that is stuck, or done, stand at a critical point? (S63, S64)"
COUNT, SMALL = 600, 1e-3  # digits, and the norm of a gradient that a critical point must not exceed
ORDINARY = {
    "SGD, rate .1": gdlab.sgd(FLOAT(0.1)),
    "momentum .9, rate .05": gdlab.momentum(FLOAT(0.05), FLOAT(0.9)),
    "Adam, rate .003": gdlab.adam(FLOAT(0.003)),
}
LAYERS, STUCK_LAYERS = (64, 32, 10), (64, 128, 128, 128, 10)
rectified = partial(network_loss, activation=jax.nn.relu)


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "hard_to_reach", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure."""
    steps, stuck_steps = 1000, 1000 if quick else 5000
    learnt, wrong = (examples(jax.random.key(0), COUNT, wrong=share)[0] for share in (0.0, 0.2))
    first = start(jax.random.key(1), LAYERS)
    ordinary = {"Adam, rate .003": ORDINARY["Adam, rate .003"]} if quick else ORDINARY
    runs = {name: watched(network_loss, optimizer, first, 20, learnt, steps) for name, optimizer in ordinary.items()}
    stuck = watched(rectified, gdlab.sgd(FLOAT(0.5)), start(jax.random.key(1), STUCK_LAYERS), 8, wrong, stuck_steps)
    checks = [*oscillating(stuck), by_differences("stuck", rectified, stuck, wrong)]
    checks += [by_differences(name, network_loss, run, learnt) for name, run in runs.items()]
    return [*checks, *done(runs), *another_way(runs, learnt)], lambda: draw(stuck, runs)


def watched(loss, optimizer, layers, size, learnt, steps):
    """Loss and gradient norm over all examples at 100 moments of a run on batches, and the parameters at its end."""

    def look(moment):
        value, grads = jax.value_and_grad(loss)(moment.params, learnt)
        return jnp.stack([value, optax.tree.norm(grads)])

    stream = gdlab.minibatches(learnt, size, key=jax.random.key(2))
    ran = gdlab.minimize(loss, optimizer, layers, steps, batches=stream, record={"all": look}, every=steps // 100)
    return np.arange(0, steps, steps // 100), *np.asarray(ran.history["all"]).T, ran.params


def differenced(loss, layers, learnt, h=1e-6):
    """The gradient's norm in double precision over that by central differences of the loss along it."""
    wide = lambda tree: jax.tree.map(lambda leaf: leaf.astype(float), tree)  # noqa: E731
    layers, learnt = wide(layers), (learnt[0].astype(float), learnt[1])
    at = jax.jit(loss)
    grads = jax.jit(jax.grad(loss))(layers, learnt)
    norm = optax.tree.norm(grads)
    ahead, behind = (jax.tree.map(lambda p, g, s=s: p + s * h * g / norm, layers, grads) for s in (1, -1))
    return norm, (at(ahead, learnt) - at(behind, learnt)) / (2 * h)


def by_differences(name, loss, run, learnt):
    """The norm at the end of a run, by another way; near a kink of a rectifier it may be off by some thousandths."""
    norm, difference = differenced(loss, run[-1], learnt)
    return Check("S63", f"{name}: |g| at the end over differences of the loss", norm / difference, 1.0, 0.01)


def oscillating(stuck):
    """Stuck without a small gradient, over the second half of the run (S63)."""
    _, loss, norm, _ = stuck
    loss, norm = loss[50:], norm[50:]
    return (
        is_true(
            "S63", "wrong labels, rate .5: the loss stays above .5, where it can be learnt by heart", loss.min() > 0.5
        ),
        # The printed range itself: the run is one of many, whose seeds are not printed.
        Check("S63", "median of the gradient's norm, printed as .3 to .8", np.median(norm), 0.55, 0.25),
        is_true("S63", "the smallest norm is a hundred times .001", norm.min() > 100 * SMALL),
    )


def done(runs):
    """Ordinary training ends far from where the gradient vanishes (S64)."""
    checks = []
    for name, (_, loss, norm, _) in runs.items():
        lower, smaller = loss[0] / loss[-10:].mean(), norm[0] / norm[-10:].mean()
        checks += [
            is_true("S64", f"{name}: the loss falls to less than a twentieth", lower > 20),
            is_true("S64", f"{name}: its gradient falls less than the loss", smaller < lower),
            is_true("S64", f"{name}: the gradient's norm is five times .001 at least", norm.min() > 5 * SMALL),
            is_true(
                "S64", f"{name}: it rises in a third of the intervals at least", (np.diff(norm) > 0).mean() > 1 / 3
            ),
        ]
    return checks


def another_way(runs, learnt):
    """Descent on all examples, from where Adam ended, with a rate below 2 over the curvature: it gets there."""
    *_, end = runs["Adam, rate .003"]
    ran = gdlab.minimize(
        network_loss,
        gdlab.gd(FLOAT(0.1)),
        end,
        30_000,
        args=(learnt,),
        record=("gradient_norm",),
        every=100,
        tolerance=SMALL,
    )
    return (
        exactly("S64", "descent on all examples from there stops at a small gradient", ran.reason, 2),
        is_true("S64", "after hundreds of updates more", ran.steps > 300),
    )


def draw(stuck, runs):
    """Loss and gradient norm, of the run that is stuck and of ordinary ones."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 6), sharex="col")
    t, loss, norm, _ = stuck
    axes[0, 0].plot(t, loss, color=figures.PALETTE[3])
    axes[1, 0].plot(t, norm, color=figures.PALETTE[3])
    for (name, (t, loss, norm, _)), colour in zip(runs.items(), figures.PALETTE, strict=False):
        axes[0, 1].plot(t, loss, color=colour, label=name)
        axes[1, 1].plot(t, norm, color=colour, label=name)
    axes[0, 0].set(
        yscale="log", ylim=(0.01, 5), ylabel="loss on all examples", title="stuck: a fifth of the labels wrong, rate .5"
    )
    axes[0, 1].set(yscale="log", ylim=(0.001, 5), title="done: clean digits, batches of 20")
    for panel in axes[1]:
        panel.axhline(SMALL, linestyle=":", color="black", label="a critical point, at most")
        panel.set(yscale="log", ylim=(5e-4, 5), xlabel="updates")
        panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(0, 0.35))
    axes[1, 0].set_ylabel("norm of the gradient of all")
    return figure
