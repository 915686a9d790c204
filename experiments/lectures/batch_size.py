"""Is a small batch better, and which size is best? (S48, S50; section 2.2)

On handwritten digits it is, after equally many epochs: with the rate .1 and 20 epochs a run on single examples reads
all 1400 digits that it learnt from, a run on all 1400 at once two thirds of them.  As those were learnt from, this is
no overfitting.  It is the number of updates: after as many, all examples at once do as well as 350, 100 or 10, to
half a percent.  Nor is one size best: each has its own rate, larger for larger batches, and with that one they differ
by less on unseen digits.  A batch size is a hyperparameter, and never one without the rate.

The slides' accuracies on MNIST and CIFAR-10, drawn beside, were read off to half a percent; their times on a V100
follow one line, a + b B per update, from which single examples make long epochs.  Neither is measured here, and no
check is made of them; `minibatches` times updates on this machine.
"""

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
from gdlab.problems import network_accuracy, network_loss

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, is_true
from ..reporting.run_folder import Table
from ..reporting.standard_errors import at_the_others_best, error_of_draw, least_lead, most_apart
from ..workloads.digits import FLOAT, batches, examples, start
from ..workloads.plain_network import accuracy, descended

QUESTION = "Is a small batch better, and which size is best? (S48, S50; section 2.2)"
EXAMPLES, UNSEEN, LAYERS, EPOCHS = 1400, 397, (64, 64, 10), 20
RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
LECTURE = 0.1  # the rate of the printed accuracies
PRINTED = {1: (1.000, 0.990), 10: (0.996, 0.981), 100: (0.950, 0.956), 350: (0.896, 0.899), 1400: (0.661, 0.669)}
LONG, LONG_PRINTED = 4000, (0.998, 0.982)  # updates on all examples
ON_SLIDE = {1: 363.0, 10: 44.0, 100: 15.0, 1000: 9.0, 10_000: 9.0, 60_000: 9.4}  # seconds per epoch of MNIST, read off
SLIDE_SIZES = (1, 10, 100, 1000, 10_000, 60_000)
SLIDES = {  # accuracies on examples learnt from, read off; a batch of 60 000 is drawn where all examples stand here
    "MNIST": (0.983, 0.991, 0.992, 0.986, 0.955, 0.838),
    "CIFAR-10": (0.58, 0.56, 0.44, 0.43, 0.40, 0.30),
}


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "batch_size", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure."""
    sizes, rates = ([10, 1400], [0.1, 1.0]) if quick else (list(PRINTED), list(RATES))
    seeds, long = (6, 20) if quick else (8, LONG)  # a quick one only compares its first updates
    lanes = jax.jit(jax.vmap(lane))(jax.random.split(jax.random.key(0), seeds))
    runs = {size: accuracies(size, rates, lanes, EPOCHS * EXAMPLES // size, EXAMPLES // size) for size in sizes}
    control = accuracies(EXAMPLES, (LECTURE,), lanes, long, 20)[0]
    at = rates.index(LECTURE)
    checks = [*written_out(runs, at, lanes), *each_once(lanes), *smaller_is_better(runs, at)]
    checks += [*same_start(runs, at, control), *updates_decide(runs, at, control), *own_rates(runs, rates)]
    if not quick:
        checks += printed_accuracies(runs, at, control)
    return [*checks, *as_on_the_slides(runs, at)], lambda: draw(runs, rates, control), summary(), keskar()


def lane(key):
    """What belongs to a seed: examples to learn from and others, the start, a key for the order."""
    split, init, order = jax.random.split(key, 3)
    return (*examples(split, EXAMPLES), start(init, LAYERS), order)


def accuracies(size, rates, lanes, updates, every):
    """On the examples learnt from and on the others, after every, 2 every, ... updates: (rates, seeds, times, 2)."""

    def run(rate, lane):
        learnt, unseen, layers, order = lane
        stream = gdlab.minibatches(learnt, size, key=order)
        ran = gdlab.minimize(
            network_loss, gdlab.sgd(rate), layers, updates, batches=stream, record=("params",), every=every
        )
        after = jax.tree.map(
            lambda path, end: jnp.concatenate([path[1:], end[None]]), ran.history["params"], ran.params
        )
        return jax.lax.map(lambda w: jnp.stack([network_accuracy(w, learnt), network_accuracy(w, unseen)]), after)

    every_seed = jax.vmap(run, (None, 0))
    return np.asarray(jax.jit(jax.vmap(every_seed, (0, None)))(jnp.array(rates, FLOAT), lanes))


def written_out(runs, at, lanes):
    """The first seed's run on all examples, and a first epoch in batches of 10, by a network in NumPy (S48).

    It is in double precision, so that the readings may differ by a single example.
    """
    learnt, unseen, layers, order = jax.tree.map(lambda leaf: leaf[0], lanes)
    for size, updates in ((EXAMPLES, EPOCHS), (10, EXAMPLES // 10)):
        fed = jax.tree.map(np.asarray, batches(learnt, size, updates, order))
        weights, _ = descended(layers, zip(*fed, strict=True), LECTURE)
        after = 0 if size == 10 else -1
        for i, (name, (images, labels)) in enumerate((("learnt", learnt), ("unseen", unseen))):
            right = accuracy(weights, images, labels)
            found = runs[size][at, 0, after, i]
            what = f"B = {size}, {updates} updates: {name}, first seed, against NumPy"
            yield Check("S48", what, found, right, 1.01 / len(labels))


def each_once(lanes):
    """What the first seed is fed: every epoch is a new order of the digits learnt, each with its label (S44, S48)."""
    learnt, _, _, order = jax.tree.map(lambda leaf: leaf[0], lanes)

    def listed(images, labels):
        return [image.tobytes() + label.tobytes() for image, label in zip(images, labels, strict=True)]

    due = sorted(listed(*map(np.asarray, learnt)))
    for size, epochs in ((EXAMPLES, EPOCHS), (10, 2)):
        images, labels = map(np.asarray, batches(learnt, size, epochs * EXAMPLES // size, order))
        fed = listed(images.reshape(-1, images.shape[-1]), labels.reshape(-1))
        orders = [fed[i : i + EXAMPLES] for i in range(0, len(fed), EXAMPLES)]
        once, apart = sum(sorted(one) == due for one in orders), len(set(map(tuple, orders)))
        yield exactly("S48", f"B = {size}: epochs that hold every digit once, of {epochs}", once, epochs)
        yield exactly("S48", f"B = {size}: different orders, of {epochs}", apart, epochs)


def same_start(runs, at, control):
    """All examples at once, 20 updates in either run: no more than the rounding of a sum in another order."""
    apart = np.abs(control[:, 0] - runs[EXAMPLES][at, :, -1]).max()
    yield at_most("S48", f"B = {EXAMPLES}: accuracies after {EPOCHS} updates, in either run", apart, 1.01 / UNSEEN)


def smaller_is_better(runs, at):
    """The order of the sizes after equally many epochs, by the differences of each seed (S48).

    Seeds share digits, and so do sizes: only what one seed differs by from size to size is drawn anew with each.
    """
    ends = np.array([run[at, :, -1] for run in runs.values()])  # (sizes, seeds, on)
    for i, on in SHOWN:
        name = f"20 epochs: the smaller the batch, the better {on}, mean of {ends.shape[1]} seeds, beyond chance"
        yield is_true("S48", name, (least_lead(ends[:-1, :, i], ends[1:, :, i]) > 0).all())


def printed_accuracies(runs, at, control):
    """The printed ones are means of three other draws: Student's t for 99 of 100 differences of such means (S48)."""

    def met(name, values, digits):
        return Check("S48", name, values.mean(), digits, 5e-4 + error_of_draw(values, of=3))

    rows = [(f"B = {size}, 20 epochs", run[at, :, -1], PRINTED[size]) for size, run in runs.items()]
    if control.shape[1] * 20 == LONG:
        rows.append((f"B = {EXAMPLES}, {LONG} updates", control[:, -1], LONG_PRINTED))
    return [met(f"{name}: {on}", values[:, i], digits[i]) for name, values, digits in rows for i, on in SHOWN]


SHOWN = ((0, "learnt"), (1, "unseen"))


def updates_decide(runs, at, control):
    """All examples at once, after as many updates as a batch had (S48)."""
    checks = []
    for size, run in runs.items():
        updates = EPOCHS * EXAMPLES // size
        if size < EXAMPLES and updates <= 20 * control.shape[1]:
            apart = np.abs(control[:, updates // 20 - 1, 0] - run[at, :, -1, 0])
            name = f"B = {EXAMPLES} after {updates} updates: apart from B = {size} on learnt, and chance"
            # half a unit of an accuracy's second digit, where equally many epochs are .2 to .3 apart
            checks.append(at_most("S48", name, most_apart(apart), 0.005))
    return checks


def own_rates(runs, rates):
    """The best rate of each size, and what it reaches of the unseen digits, in differences of each seed (S50)."""
    sizes, at = sorted(runs), rates.index(LECTURE)
    unseen = np.array([runs[size][:, :, -1, 1] for size in sizes])  # (sizes, rates, seeds)
    (small, large), own = unseen[[0, -1]], -at_the_others_best(-unseen[[0, -1]])
    best = np.median(unseen, axis=2).argmax(axis=1)
    of_large, of_small = small[best[-1]], large[best[0]]
    slopes = rise(np.log(sizes), best_rates(rates, unseen))
    worse = [is_true("S50", "the best rate of the largest is worse for the smallest", least_lead(own[0], of_large) > 0)]
    worse *= sizes[0] == 1  # batches of 10 bear a rate of 1, for a few seeds too well to tell
    made = ((1.0, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]), (0.5, [[1, 1, 0], [0, 1, 0], [0, 1, 1]]))
    laws = {due: rise(np.log([1, 10, 100]), best_rates([0.1, 1.0, 10.0], np.array(of)[..., None])) for due, of in made}
    return (
        exactly("S50", "made sizes 1, 10, 100 that learn best at .1, 1, 10: slope", laws[1.0][0], 1.0),
        exactly("S50", "at .1 and 1 alike, 1, 1 and 10 alike: slope", laws[0.5][0], 0.5),
        is_true(
            "S50",
            f"log of the best rate on log of the size: slope, mean of {slopes.size} seeds, is positive beyond chance",
            least_lead(slopes) > 1e-12,  # beyond rounding, too
        ),
        *worse,
        is_true("S50", "and that of the smallest for the largest", least_lead(own[1], of_small) > 0),
        is_true(
            "S50",
            f"each at its best, they differ by less than at the rate {LECTURE}",
            least_lead(np.ptp(unseen[[0, -1], at], axis=0), np.ptp(own, axis=0)) > 0,
        ),
    )


def best_rates(rates, unseen):
    """The log of the best rate by size and seed; of rates that read equally many digits the mean."""
    is_best = unseen == unseen.max(axis=1, keepdims=True)
    return (is_best * np.log(rates)[:, None]).sum(axis=1) / is_best.sum(axis=1)


def rise(x, values):
    """The slope of the least squares line through the values of each seed."""
    x = x - x.mean()
    return x @ values / (x @ x)


def as_on_the_slides(runs, at):
    """Of the slides' curves the shape: a set taken whole is learnt worst, which is no overfitting (section 2.2).

    Of what it reads less of the unseen digits than the best size, overfitting would make it read all of those learnt:
    less than half is between learnt and unseen, by as much as chance may hide.
    """
    ends = np.array([run[at, :, -1] for run in runs.values()])  # (sizes, seeds, on)
    known, whole = ends[:-1, :, 0], ends[-1, :, 0]
    learnt, unseen = ends[-1].T
    lack = ends[ends[:, :, 1].mean(axis=1).argmax(), :, 1] - unseen
    size = f"B = {max(runs)}"
    return (
        is_true(
            "2.2", f"{size} is learnt worst of all, by each seed's differences", (least_lead(known, whole) > 0).all()
        ),
        at_most(
            "2.2",
            f"{size}: learnt less unseen, and chance: half of what it lacks of the best on unseen",
            most_apart(learnt, unseen),
            lack.mean() / 2,
        ),
        *(
            Check("2.2", f"the slide's clock, a + b B: B = {b}", epoch(b), ON_SLIDE[b], 1e-9)
            for b in (1, max(ON_SLIDE))
        ),
    )


def summary():
    """The lecture's table of small and large batches, and where each row is checked."""
    return Table(
        "Small and large batches, as the lecture sums them up",
        ("what", "small", "large", "checked in"),
        [
            ["speed of one update, not parallel", "faster", "slower", "minibatches, S46: 1400 against 100"],
            ["speed of one update, parallel", "same", "same, if not too large", "shown in minibatches: 100 against 1"],
            ["time of an epoch", "slower", "faster", "minibatches, S47"],
            ["gradient", "noisy", "stable", "minibatches, S45"],
            ["optimization", "better", "worse", "S48 at one rate for all; S50: hardly, each at its own"],
            ["generalization", "better", "worse", "S48; flat_minima, 3.12: the rate over the size decides"],
        ],
    )


def keskar():
    """The table of the slide, as printed: not re-run."""
    return Table(
        "Keskar et al., batches of 256 | a tenth of the data, accuracy in % (printed, not re-run)",
        ("network", "data", "train", "test"),
        [
            ["F1, fully connected", "MNIST", "99.66 | 99.92", "98.03 | 97.81"],
            ["F2, fully connected", "TIMIT", "99.99 | 98.35", "64.02 | 59.45"],
            ["C1, shallow convolutional", "CIFAR-10", "99.89 | 99.66", "80.04 | 77.26"],
            ["C2, deep convolutional", "CIFAR-10", "99.99 | 99.99", "89.24 | 87.26"],
            ["C3, shallow convolutional", "CIFAR-100", "99.56 | 99.88", "49.58 | 46.45"],
            ["C4, deep convolutional", "CIFAR-100", "99.10 | 99.57", "63.08 | 57.81"],
        ],
    )


def epoch(size):
    """Seconds per epoch where an update takes a + b B, through the slide's first and last times."""
    whole = max(ON_SLIDE)
    each = (ON_SLIDE[whole] - ON_SLIDE[1] / whole) / (whole - 1)  # b
    return (ON_SLIDE[1] / whole - each + each * size) * whole / size


def draw(runs, rates, control):
    """Accuracy against the size, against updates, against the rate; the slide's clock."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, ((by_size, by_update), (by_rate, time)) = plt.subplots(2, 2, figsize=(10, 7.6))
    at, shades = rates.index(LECTURE), dict(zip(runs, figures.PALETTE, strict=False))
    draw_accuracies({size: run[at] for size, run in runs.items()}, control, by_size)
    draw_clock(time)
    for size, run in runs.items():
        updates = np.arange(1, run.shape[2] + 1) * (EXAMPLES // size)
        by_update.plot(updates, 1 - run[at, :, :, 0].mean(axis=0), color=shades[size], label=f"B = {size}")
        figures.band(rates, run[:, :, -1, 1], label=f"B = {size}", color=shades[size], ax=by_rate)
    updates = 20 * np.arange(1, control.shape[1] + 1)
    by_update.plot(
        updates, 1 - control[:, :, 0].mean(axis=0), ":", color=shades[EXAMPLES], label=f"B = {EXAMPLES}, longer"
    )
    by_update.set(xscale="log", yscale="log", ylim=(5e-4, 1), xlabel="updates", ylabel="share misread, of those learnt")
    by_update.set_title("it is the number of updates")
    by_rate.set(
        xscale="log",
        xlabel="learning rate",
        ylabel="accuracy on unseen digits",
        title=f"{EPOCHS} epochs: each size has its own rate",
    )
    for axes in (by_size, by_update, by_rate, time):
        axes.legend(fontsize=7)
    return figure


def draw_accuracies(runs, control, ax):
    """Accuracy against the size: here, as printed, and on the slides."""
    from ..reporting import figures

    sizes = np.array(list(runs))
    for i, name in SHOWN:
        figures.band(
            sizes / EXAMPLES,
            np.stack([run[:, -1, i] for run in runs.values()]),
            label=f"here, {name}",
            color=figures.PALETTE[i],
            ax=ax,
        )
        ends = [run[:, -1, i].mean() for run in runs.values()]
        ax.plot(sizes / EXAMPLES, ends, "os"[i], color=figures.PALETTE[i], markersize=4)
        ax.plot(
            np.array(list(PRINTED)) / EXAMPLES,
            [pair[i] for pair in PRINTED.values()],
            "os"[i],
            color=figures.PALETTE[i],
            label=f"printed, {name}",
            mfc="none",
        )
    for (name, pairs), colour, dash in zip(SLIDES.items(), figures.PALETTE[4:], (":", "-."), strict=False):
        share = np.array(SLIDE_SIZES) / SLIDE_SIZES[-1]
        ax.plot(share, pairs, dash, color=colour, label=f"slide, {name}, learnt (N = 60 000)")
    ax.plot(
        1.0,
        control[:, -1, 0].mean(),
        "*",
        color=figures.PALETTE[3],
        markersize=10,
        label=f"{20 * control.shape[1]} updates on all",
    )
    ax.set(xscale="log", xlabel=f"batch size over N (here N = {EXAMPLES})", ylabel="accuracy")
    ax.set_title(f"rate {LECTURE}, {EPOCHS} epochs")


def draw_clock(ax):
    """Seconds per epoch against the size, on the slide and by its law."""
    from ..reporting import figures

    b = np.geomspace(1, max(ON_SLIDE), 200)
    whole = max(ON_SLIDE)
    ax.plot(b / whole, epoch(b), color=figures.PALETTE[0], label="(a + b B) N / B")
    ax.plot(
        np.array(list(ON_SLIDE)) / whole,
        list(ON_SLIDE.values()),
        "o",
        color=figures.PALETTE[3],
        label="read off the slide",
    )
    ax.set(
        xscale="log",
        yscale="log",
        xlabel="batch size over N = 60 000",
        ylabel="seconds per epoch",
        title="MNIST on a V100, the slide's times",
    )
