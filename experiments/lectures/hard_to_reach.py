"""Does training that is stuck, or done, stand at a critical point? (S63, S64)

Rarely.  Where a fifth of the labels are wrong and the rate is .5, a network on 600 digits learns slowly and in jumps.
From update 500 to 1000, by when ordinary training is done, its loss still is above .87, that of one who knows the right
labels and none of the wrong.  Of 5000 updates the second half is near it, which is shown, not judged.  But the gradient
over all examples has a norm of about .5 throughout: what slows training is no critical point.  Rounding grows at that
rate, so that only the first updates are those of another program: what is judged later is a mean or a median over eight
starts, and the quarters of one stand in a table.
And ordinary training on clean digits, by SGD, momentum or Adam, brings the loss below .1 while the gradient's norm
still is many times the 1e-3 that a search for critical points asks for, and goes up as often as down (Goodfellow et al.
2016).  To get there takes another method: from where Adam ends, descent on all examples at once does, after many more
updates.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import entr

import gdlab
from gdlab.problems import network_loss

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true
from ..reporting.run_folder import Table
from ..reporting.standard_errors import error_of_share, least_lead
from ..workloads.digits import FLOAT, batches, examples, start
from ..workloads.plain_network import descended, gradients, outputs

QUESTION = "Does training that is stuck, or done, stand at a critical point? (S63, S64)"
COUNT, WRONG = 600, 0.2  # digits, and the share of labels that are drawn anew
SMALL = 1e-3  # the norm of a gradient that a critical point must not exceed
DONE = -np.log(0.9)  # the loss where the right labels are given a probability of .9, in the geometric mean
ORDINARY = {
    "SGD, rate .1": gdlab.sgd(FLOAT(0.1)),
    "momentum .9, rate .05": gdlab.momentum(FLOAT(0.05), FLOAT(0.9)),
    "Adam, rate .003": gdlab.adam(FLOAT(0.003)),
}
STUCK_RATE, STUCK_SIZE = 0.5, 8
STARTS = 8  # of the stuck run
EARLY = 20  # updates of the stuck run before its rounding grows
LAYERS, STUCK_LAYERS = (64, 32, 10), (64, 128, 128, 128, 10)
rectified = partial(network_loss, activation=jax.nn.relu)


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "hard_to_reach", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks, the figure, and a table of what is shown but not judged."""
    steps, stuck_steps = 1000, 1000 if quick else 5000
    learnt, wrong = (examples(jax.random.key(0), COUNT, wrong=share)[0] for share in (0.0, WRONG))
    first = start(jax.random.key(1), LAYERS)
    ordinary = {"Adam, rate .003": ORDINARY["Adam, rate .003"]} if quick else ORDINARY
    runs = {name: watched(network_loss, optimizer, first, 20, learnt, steps) for name, optimizer in ordinary.items()}
    from_here = start(jax.random.key(1), STUCK_LAYERS)
    stuck = from_several_starts(wrong, stuck_steps)
    norm, _ = differenced(network_loss, first, learnt)
    adam = runs["Adam, rate .003"]
    checks = [  # in single precision, whose rounding of 6e-8 adds up over 600 digits
        at_most("S64", "|g| at the start over that in double precision, less 1", abs(adam[2][0] / norm - 1), 1e-5)
    ]
    share = np.mean(np.asarray(wrong[1] != learnt[1]))
    checks += [*mislabeled(share), *looped(from_here, wrong), *oscillating(stuck, entropy_of_labels(share))]
    checks += [by_differences(f"{name}, at the end", network_loss, run[-1], learnt) for name, run in runs.items()]
    return (
        [*checks, *done(runs), *another_way(adam[-1], learnt, steps)],
        lambda: draw(stuck, runs),
        quarters(stuck, share),
    )


def watched(loss, optimizer, layers, size, learnt, steps):
    """Loss and gradient norm over all examples at 100 moments of a run on batches, and the parameters at its end."""
    every = steps // 100
    seen, params = looked(loss, optimizer, layers, size, learnt, steps, every, jax.random.key(2))
    return np.arange(0, steps, every), *np.asarray(seen).T, params


def from_several_starts(learnt, steps):
    """Losses and gradient norms at 40 moments of the stuck run, (starts, 40) each, those that stay finite first.

    At that rate a start may diverge; which of them do depends on rounding.
    """
    every = steps // 40

    def seen(seeds):
        init, order = map(jax.random.key, seeds)
        layers, sgd = start(init, STUCK_LAYERS), gdlab.sgd(FLOAT(STUCK_RATE))
        return looked(rectified, sgd, layers, STUCK_SIZE, learnt, steps, every, order)[0]

    seeds = jnp.arange(1, 17).reshape(STARTS, 2)
    loss, norm = np.moveaxis(np.asarray(jax.jit(jax.vmap(seen))(seeds)), -1, 0)
    finite_first = np.argsort(~np.isfinite(loss).all(1), kind="stable")
    return np.arange(0, steps, every), loss[finite_first], norm[finite_first]


def looked(loss, optimizer, layers, size, learnt, steps, every, key):
    """Loss and norm at these moments, an array of shape (moments, 2), and the parameters, by the key of the batches."""

    def look(moment):
        value, grads = jax.value_and_grad(loss)(moment.params, learnt)
        return jnp.stack([value, optax.tree.norm(grads)])

    stream = gdlab.minibatches(learnt, size, key=key)
    ran = gdlab.minimize(loss, optimizer, layers, steps, batches=stream, record={"all": look}, every=every)
    return ran.history["all"], ran.params


def wide(tree):
    """The same in double precision."""
    return jax.tree.map(lambda leaf: leaf.astype(float), tree)


def differenced(loss, layers, learnt, h=1e-6):
    """The gradient's norm in double precision over that by central differences of the loss along it."""
    layers, learnt = wide(layers), (learnt[0].astype(float), learnt[1])
    at = jax.jit(loss)
    grads = jax.jit(jax.grad(loss))(layers, learnt)
    norm = optax.tree.norm(grads)
    ahead, behind = (jax.tree.map(lambda p, g, s=s: p + s * h * g / norm, layers, grads) for s in (1, -1))
    return norm, (at(ahead, learnt) - at(behind, learnt)) / (2 * h)


def by_differences(name, loss, layers, learnt):
    """The norm at a place, by another way; a rounding of the loss is 1e-16 / (h |g|) = 1e-8 of it at most."""
    norm, difference = differenced(loss, layers, learnt)
    return Check("S63", f"{name}: |g| over differences of the loss", norm / difference, 1.0, 1e-6)


def looped(layers, learnt):
    """The first updates of the stuck run, in double precision, against a loop in NumPy (S63)."""
    layers, learnt = wide(layers), (learnt[0].astype(float), learnt[1])
    key = jax.random.key(2)
    seen, there = looked(rectified, gdlab.sgd(STUCK_RATE), layers, STUCK_SIZE, learnt, EARLY, 1, key)
    fed = [*zip(*map(np.asarray, batches(learnt, STUCK_SIZE, EARLY, key)), strict=True)]
    places = [descended(layers, fed[:t], STUCK_RATE, rectified=True)[0] for t in range(EARLY)]
    (loss, norm), due = seen.T, np.array([loss_and_norm(weights, learnt, rectified=True) for weights in places])
    yield at_most("S63", f"{EARLY} updates: losses over a NumPy loop's, less 1", farthest(loss / due[:, 0], 1), 1e-9)
    yield at_most("S63", "the same: norms of the gradient", farthest(norm / due[:, 1], 1), 1e-9)
    # ReLU units have kinks, which differences may straddle: at a place where every compiler arrives, none does.
    yield by_differences(f"stuck, after {EARLY} updates", rectified, there, learnt)


def loss_and_norm(weights, learnt, rectified=False):
    """The loss over all examples and its gradient's norm, in NumPy."""
    (images, labels), rows = map(np.asarray, learnt), np.arange(COUNT)
    units, back = outputs(images, *weights, rectified=rectified)
    value = -np.log(back[rows, labels]).mean()
    back[rows, labels] -= 1
    slopes = gradients(weights, units, back / COUNT, rectified=rectified)
    return value, np.sqrt(sum((g**2).sum() for g in slopes))


def entropy_of_labels(share):
    """The loss of one who knows the right labels and none of the wrong, where such a share is wrong.

    Who knows no more than the right labels gives them the probability p that they are given, and each of nine others
    (1 - p) / 9: the entropy of the labels.
    """
    p = 1 - share
    return -p * np.log(p) - (1 - p) * np.log((1 - p) / 9)


def mislabeled(share):
    """How many labels are wrong, and what one loses who knows the right ones (S63)."""
    by_scipy = float(entr([1 - share, *[share / 9] * 9]).sum())
    name, due = "share of wrong labels: a fifth drawn anew, a tenth of these right; four standard errors", 0.18
    return (
        Check("S63", name, share, due, error_of_share(due, COUNT)),
        exactly("S63", "the entropy of the labels, by scipy", entropy_of_labels(share), by_scipy),
    )


def oscillating(stuck, entropy):
    """Slow without a small gradient (S63)."""
    t, finite = stuck[0], np.isfinite(stuck[1]).all(1)
    loss, norm = (values[finite] for values in stuck[1:])
    then = loss[:, (t >= 500) & (t < 1000)].mean(1)
    return (
        is_true("S63", f"more than half of the {STARTS} starts stay finite", finite.mean() > 0.5),
        is_true(
            "S63",
            "updates 500 to 1000: loss above the entropy of the labels, over starts by Student's t for 99 of 100",
            least_lead(then, entropy) > 0,
        ),
        # Printed are norms of .3 to .8, one digit each.
        Check("S63", "|g|, median of the runs", np.median(norm), 0.55, 0.3),
        exactly("S63", "moments at which |g| is that of a critical point, .001", (~(norm >= SMALL)).sum(), 0),
    )


def quarters(stuck, share):
    """What loss and gradient are in each quarter of the first run."""
    t, (loss, *_), (norm, *_) = stuck
    rows = []
    for at, of_loss, of_norm in zip(*(np.split(values, 4) for values in (t, loss, norm)), strict=True):
        span = (np.mean(of_loss), np.median(of_norm), of_norm.min(), of_norm.max())
        rows.append([f"from {at[0]}", *(f"{value:.3g}" for value in span)])
    rows.append(["right labels known, none of the wrong", f"{entropy_of_labels(share):.3g}", "", "", ""])
    title = "A fifth of the labels wrong, rate .5 (printed: losses of 1.1 to 1.8, |g| of .3 to .8): shown, not judged"
    return Table(title, ("updates", "mean loss", "median |g|", "least", "largest"), rows)


def fall(values):
    """How many times the first is the mean of the last ten."""
    return values[0] / values[-10:].mean()


def done(runs):
    """Ordinary training ends far from where the gradient vanishes (S64)."""
    checks = [
        exactly("S64", "100, then 7 to 20: falls to the mean of the last ten by", fall(np.r_[100, 7:21]), 100 / 15.5)
    ]
    for name, (_, loss, norm, _) in runs.items():
        lower, smaller = fall(loss), fall(norm)
        ups = np.diff(norm) > 0
        checks += [
            is_true("S64", f"{name}: done, right labels have a probability of .9", loss[-10:].mean() < DONE),
            is_true("S64", f"{name}: its gradient falls less than the loss", smaller < lower),
            is_true("S64", f"{name}: the gradient's norm is above .001", norm.min() > SMALL),
            Check(  # of a coin
                "S64",
                f"{name}: share of intervals in which it rises, three standard errors",
                ups.mean(),
                0.5,
                1.5 / len(ups) ** 0.5,
            ),
        ]
    return checks


def another_way(end, learnt, steps):
    """Descent on all examples, from where Adam ended: it gets there."""
    ran = gdlab.minimize(
        network_loss,
        gdlab.gd(FLOAT(0.1)),
        end,
        30_000,
        args=(learnt,),
        record=("gradient_norm",),
        every=100,
        tolerance=0.99 * SMALL,  # 1 % below, as single precision rounds
    )
    weights, _ = descended(ran.params, (), 0.0)
    return (
        exactly("S64", "descent on all examples from there stops at a small gradient", ran.reason, 2),
        at_most("S64", "|g| where it stops, by NumPy in double precision", loss_and_norm(weights, learnt)[1], SMALL),
        is_true("S64", "after more updates than the training took", ran.steps > steps),
    )


def draw(stuck, runs):
    """Loss and gradient norm, of the run that is stuck and of ordinary ones."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 6), sharex="col")
    t, (loss, *_), (norm, *_) = stuck
    axes[0, 0].plot(t, loss, color=figures.PALETTE[3])
    axes[1, 0].plot(t, norm, color=figures.PALETTE[3])
    for (name, (t, loss, norm, _)), colour in zip(runs.items(), figures.PALETTE, strict=False):
        axes[0, 1].plot(t, loss, color=colour, label=name)
        axes[1, 1].plot(t, norm, color=colour, label=name)
    axes[0, 0].set(
        yscale="log", ylim=(0.01, 5), ylabel="loss on all examples", title="slow: a fifth of the labels wrong, rate .5"
    )
    axes[0, 1].set(yscale="log", ylim=(0.001, 5), title="done: clean digits, batches of 20")
    for panel in axes[1]:
        panel.axhline(SMALL, linestyle=":", color="black", label="a critical point, at most")
        panel.set(yscale="log", ylim=(5e-4, 5), xlabel="updates")
        panel.legend(fontsize=7, loc="center left", bbox_to_anchor=(0, 0.35))
    axes[1, 0].set_ylabel("norm of the gradient of all")
    return figure
