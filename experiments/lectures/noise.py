"""What is the noise of single examples good for? (S40, S49, S65)

"With 20 examples, 20 times faster": full-batch descent needs about as many epochs for what one epoch of single
examples does.  The median over 300 data sets is 21 at the rates 1e-5, .001 and .01, and 22 at .05; 22 is printed for
.01, too, of one data set.  The slide's two points are met by examples that were chosen for that: they are shown in a
table, not judged.

"Noisy gradients help to leave saddles" is true of noise added to every coordinate.  It is false of label noise on
(y - w1 w2)^2: every example keeps the line w1 = -w2 invariant, which leads into the saddle, and so do mini-batches
and momentum.  A minimum that only the mean of two losses has is left where their order is drawn, though not where they
take turns.

A network of two inputs has a saddle that noise of batches does leave.  From 1e-8 beside the line that leads into it
momentum, batches of 4, both, and a step along the negative eigenvector first, take fewer updates than all examples
together.  Other draws of the batches help as well.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gdlab

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true
from ..reporting.run_folder import Table
from ..reporting.standard_errors import error_of_mean, error_of_variance, independent, least_lead

QUESTION = "What is the noise of single examples good for? (S40, S49, S65)"
POINTS = 20
RATES = {1e-5: 21, 0.001: 21, 0.01: 21, 0.05: 22}
DATA_SETS = 300
STEPPED = "a step of 1/2 along u first"
DRAWS = 16  # of the batches with which a saddle is left
FROM = jnp.array([0.5, 1.5])


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "noise", QUESTION, measure)


def measure():
    """The checks, the figure, and a table of what is shown but not judged."""
    epochs, saddle, losses, out = epochs_needed(), leaving(), two_losses(), out_of_a_saddle()
    shown = (epochs[1:], saddle[1], losses[1], out[1])
    return [*epochs[0], *saddle[0], *losses[0], *out[0]], lambda: draw(*shown), slide(epochs[2])


def squared(theta, example):
    """(y - b - w x)^2 of one example, or the mean over several."""
    x, y = example
    return jnp.mean((y - theta[0] - theta[1] * x) ** 2)


def epochs_needed():
    """How many epochs of full-batch descent reach the loss that one epoch of single examples does (S40)."""
    drawn = jax.random.normal(jax.random.key(1), (DATA_SETS, POINTS))  # in the order in which they are taken

    def needed(rate, x):
        everything = (x, x)  # y = x, so that the optimum is (b, w) = (0, 1)
        single = gdlab.minimize(squared, gdlab.sgd(rate), FROM, POINTS, batches=everything).params
        full = gdlab.minimize(squared, gdlab.gd(rate), FROM, 40, args=(everything,)).history["loss"]
        left = squared(single, everything)
        after = jnp.argmax(full <= left)
        last, here = jnp.log(full[after - 1]), jnp.log(full[after])
        return after, after - (jnp.log(left) - here) / (last - here)

    every_set = jax.vmap(needed, (None, 0))
    found, crossed = map(np.asarray, jax.vmap(every_set, (0, None))(jnp.array([*RATES]), drawn))
    counts, slowest = dict(zip(RATES, found, strict=True)), min(RATES)
    wide = jax.random.uniform(jax.random.key(4), (POINTS,), maxval=10.0)  # examples as on the slide
    one = gdlab.minimize(squared, gdlab.gd(0.009), FROM, 1, args=((wide, wide),)).params
    ran = gdlab.minimize(squared, gdlab.sgd(0.009), FROM, POINTS, batches=(wide, wide), record=("params",))
    twenty = ran.params
    apart = sum(
        (counts[rate] != due).sum() for rate, due in zip(RATES, counted_by_loop(np.asarray(drawn)), strict=True)
    )
    checks = [
        at_most("S40", f"counts of epochs that are not those of a NumPy loop, of {4 * DATA_SETS}", apart, 0),
        *(
            Check("S40", f"rate {rate:g}: epochs, median of {DATA_SETS} data sets", np.median(counts[rate]), n, 0.5)
            for rate, n in RATES.items()  # medians of whole numbers
        ),
        Check(  # the two differ by the squares of steps, some 20 eta of the 20
            "S40",
            f"rate {slowest:g}, between two epochs by the log of the loss: median, {POINTS} as eta goes to 0",
            np.median(crossed[[*RATES].index(slowest)]),
            POINTS,
            100 * slowest,
        ),
    ]
    return checks, counts, (wide, np.stack([FROM, one]), np.vstack([ran.history["params"], twenty]))


def slide(paths):
    """The slide's two points, which were read off, and those of examples that were chosen for them (S40)."""
    _, full, single = paths
    rows = [
        ["one full step", "(0.44, 1.14)", "({:.3f}, {:.3f})".format(*full[-1])],
        ["20 single steps", "(0.38, 0.93)", "({:.3f}, {:.3f})".format(*single[-1])],
    ]
    return Table("The slide's epoch from (.5, 1.5): not judged", ("what", "slide: b, w", "here: b, w"), rows)


def counted_by_loop(x):
    """The same counts of epochs by loops in NumPy, over all data sets at once."""

    def gradient(b, w, x):
        e = b + w * x - x
        return 2 * e, 2 * e * x

    def mean_loss(b, w):
        return ((b[:, None] + w[:, None] * x - x) ** 2).mean(1)

    for rate in RATES:
        b, w = np.full(len(x), 0.5), np.full(len(x), 1.5)
        for seen in x.T:
            db, dw = gradient(b, w, seen)
            b, w = b - rate * db, w - rate * dw
        level, b, w, losses = mean_loss(b, w), np.full(len(x), 0.5), np.full(len(x), 1.5), []
        for _ in range(40):
            losses.append(mean_loss(b, w))
            db, dw = gradient(b[:, None], w[:, None], x)
            b, w = b - rate * db.mean(1), w - rate * dw.mean(1)
        yield (np.array(losses) <= level).argmax(0)


def leaving():
    """Who leaves the saddle of (y - w1 w2)^2 from (.5, -.5): label noise or added noise (S49)."""
    start = jnp.array([0.5, -0.5])
    labels = jax.random.normal(jax.random.key(0), (2000, 4)) + 1

    def labelled(w, y):
        return jnp.mean((y - w[0] * w[1]) ** 2)

    def noisy(w, key):
        return 1e-3 * jax.random.normal(key, (2,)) @ w + (1 - w[0] * w[1]) ** 2

    def run(loss, optimizer, **how):
        return gdlab.minimize(loss, optimizer, start, 2000, record=("params",), **how).history["params"]

    paths = {
        "SGD, noisy labels": run(labelled, gdlab.sgd(0.02), batches=labels[:, :1]),
        "batches of 4": run(labelled, gdlab.sgd(0.02), batches=labels),
        "momentum .9, noisy labels": run(labelled, gdlab.momentum(0.002, 0.9), batches=labels[:, :1]),
    }
    stay, leaves = list(paths.items()), "noise 1e-3 on the gradient"
    many = jax.jit(jax.vmap(lambda key: run(noisy, gdlab.sgd(0.1), key=key)))(jax.random.split(jax.random.key(1), 64))
    paths[leaves] = many[0]
    # Across the valley at (1, 1) the curvature is 4: the variance of the distance is eta s^2 / (4 (2 - 4 eta)), and
    # 1 - w1 w2 is 2^(1/2) times the distance, of which 1 - 4 eta is kept from one update to the next.
    floor, kept = 2 * 0.1 * 1e-3**2 / (4 * (2 - 4 * 0.1)), 0.6
    left = (1 - many[:, -1000:].prod(-1)) ** 2
    return (
        *(at_most("S49", f"{name}: |w1 + w2|", jnp.abs(path.sum(1)).max(), 0.0) for name, path in stay),
        *(
            Check("S49", f"{name}: its distance to the saddle at the end, over a Python loop's", ends / due, 1.0, 1e-9)
            for (name, path), due in zip(stay, on_the_line(np.asarray(labels)), strict=True)
            for ends in [float(jnp.linalg.norm(path[-1]))]
        ),
        Check("S49", "mean of the labels, four standard errors", float(labels.mean()), 1.0, error_of_mean(labels)),
        is_true(
            "S49", "all of them are there, to rounding", np.max([np.linalg.norm(path[-1]) for _, path in stay]) < 1e-15
        ),
        Check(
            "S49",
            f"{leaves}: mean of (1 - w1 w2)^2 in the last 1000 updates, over that of the valley",
            float(left.mean()) / floor,
            1.0,
            error_of_variance(independent(left.size, kept)),
        ),
        Check(  # of a variance of normal numbers, relative
            "S49", f"{leaves}: its variance", added(many), 1e-6, 1e-6 * error_of_variance(2 * 1999 * 64)
        ),
    ), paths


def added(paths):
    """The mean square of what was added to the gradient of (1 - w1 w2)^2 along paths of rate .1."""
    at, moved = np.asarray(paths)[:, :-1], np.diff(paths, axis=1)
    slope = -2 * (1 - at.prod(-1, keepdims=True)) * at[..., ::-1]
    return np.mean((moved / -0.1 - slope) ** 2)


def on_the_line(labels):
    """How far s (1, -1) is from the saddle after 2000 steps on noisy labels, by Python: ds/dt is -2 s (y + s^2)."""
    for y, rate, inertia in ((labels[:, 0], 0.02, 0.0), (labels.mean(1), 0.02, 0.0), (labels[:, 0], 0.002, 0.9)):
        s, v = 0.5, 0.0
        for label in y[:-1].tolist():  # the last record is before the last step
            v = inertia * v - rate * 2 * s * (label + s * s)
            s += v
        yield abs(s) * 2**0.5


def two_losses():
    """Stuck on their mean, L2 still moves: the higher minimum of the mean of two losses is one of neither (S49)."""
    shifts = np.array([4.0, -4.0, 0.0])  # of L1, of L2, of their mean
    loss = lambda x, shift: x**4 - 2 * x**2 + (0.3 + shift) * x  # noqa: E731
    turns = np.tile(shifts[:2], 1000)
    drawn = np.random.default_rng(2).permuted(np.tile(turns, (20, 1)), axis=1)

    @jax.jit
    @jax.vmap
    def path(shifts):
        return gdlab.minimize(loss, gdlab.sgd(0.05), 0.96, 2000, batches=shifts, record=("params",)).history["params"]

    *by_chance, turned, both = np.asarray(path(np.concatenate([drawn, turns[None], np.zeros((1, 2000))])))
    minima = np.sort(np.roots([4, 0, -4, 0.3]))
    gets_there = [bool((seen < minima[0]).any()) for seen in by_chance]
    beyond = (np.array(by_chance) < 0).mean(1)  # of each run
    return (
        Check("S49", "both losses at once: stays in the higher minimum", both[-1], minima[2], 1e-9),
        Check("S49", "slope of L2 there", jax.grad(loss)(minima[2], -4.0), -4.0, 1e-9),
        exactly("S49", "one at a time, order drawn: of 20 runs get to the lower minimum", sum(gets_there), 20),
        is_true(
            "S49",
            "and are on its side more than half of the time, by four standard errors",
            least_lead(beyond, 0.5, error_of_mean) > 0,
        ),
        is_true("S49", "L1 and L2 by turns, which is no noise: stays above 0", turned.min() > 0),
    ), (loss, shifts, minima[2], by_chance[0])


def out_of_a_saddle():
    """Updates until a network v (w1 x1 + w2 x2) of y = x1 has left its saddle at 0, by what helps (S65).

    The start is 1e-8 beside the line w1 = -v, w2 = 0, which leads all examples together into the saddle.  What helps
    takes fewer updates than descent: batches, however they are drawn.
    """
    drawn = np.random.default_rng(3)
    raw = drawn.normal(size=(200, 2))
    x = jnp.asarray(raw @ np.linalg.inv(np.linalg.cholesky(raw.T @ raw / 200)).T)  # uncorrelated, of mean square 1
    start = np.array([-0.49999999, 0.0, 0.50000001])

    def error(theta, some):
        x1, x2 = x[some].T
        return jnp.mean((x1 - theta[2] * (theta[0] * x1 + theta[1] * x2)) ** 2)

    everything, never = np.arange(200), 1000

    @jax.jit
    @jax.vmap
    def updates(theta, inertia, batches):
        record = {"left": lambda made: error(made.params, everything) < 0.5}
        optimizer = gdlab.momentum(0.02, inertia)
        left = gdlab.minimize(error, optimizer, theta, never, batches=batches, record=record).history["left"]
        return jnp.where(left.any(), jnp.argmax(left), never)

    values, vectors = np.linalg.eigh(jax.jit(jax.hessian(error))(start, everything))
    u = vectors[:, 0] * np.sign(vectors[0, 0])
    whole = np.tile(everything, (never, 1))
    # Fours, repeated until they are as many as all examples, so that all runs share a program.
    fours, *others = np.repeat(drawn.integers(200, size=(DRAWS, never, 4)), 50, axis=2)
    runs = {
        "momentum .9": (start, 0.9, whole),
        "batches of 4": (start, 0.0, fours),
        "both": (start, 0.9, fours),
        STEPPED: (start + u / 2, 0.0, whole),
    }
    nearer = np.array([-0.4999999999, 0.0, 0.5000000001])
    more_draws = [(start, inertia, batches) for inertia in (0.0, 0.9) for batches in others]
    lanes = [(start, 0.0, whole), *runs.values(), (nearer, 0.0, whole), (nearer, 0.9, whole), *more_draws]
    plain, *many = np.asarray(updates(*map(np.stack, zip(*lanes, strict=True)))).tolist()
    helped, (later, later_by_inertia), drawn_anew = many[:4], many[4:6], np.reshape(many[6:], (2, -1))
    counts = dict(zip(("descent", *runs), (plain, *helped), strict=True))
    by_draw = {name: [counts[name], *more] for name, more in zip(("batches of 4", "both"), drawn_anew, strict=True)}
    looped = updates_by_loop(np.asarray(x), {"descent": (start, 0.0, whole), **runs})
    more, more_by_inertia = (np.log(100) / np.log(growth(0.02, inertia)) for inertia in (0.0, 0.9))
    return (
        # By hand: (1 - v w1)^2 + v^2 w2^2 has (1 - 6) / 2 along (1, 0, 1) from (-.5, 0, .5); the start is 1e-8 off.
        Check("S65", "the curvature along u at the start", values[0], -2.5, 1e-7),
        at_most("S65", "u off (1, 0, 1) / 2^(1/2)", farthest(u, np.array([1, 0, 1]) / 2**0.5), 1e-7),
        # From there half of (1, 0, 1) / 2^(1/2) is .3535533906 in two coordinates.
        at_most("S65", f"{STEPPED}: off the place", farthest(runs[STEPPED][0], (-0.1464466094, 0, 0.8535533906)), 1e-7),
        *(exactly("S65", f"{name}: updates, by a NumPy loop", many, looped[name]) for name, many in counts.items()),
        # Updates are whole numbers.
        Check("S65", "from a hundredth as far beside it descent takes more by its growth", later - plain, more, 1.0),
        Check("S65", "momentum .9: likewise, by its own", later_by_inertia - helped[0], more_by_inertia, 1.0),
        *(
            is_true("S65", f"{name}: fewer updates than descent, both counted exactly", counts[name] < plain)
            for name in runs
            if name not in by_draw
        ),
        *(
            is_true(
                "S65",
                f"{name}: fewer updates than descent, mean of {DRAWS} draws, by four standard errors",
                least_lead(plain, many, error_of_mean) > 0,
            )
            for name, many in by_draw.items()
        ),
    ), counts


def growth(rate, inertia):
    """By how much an update moves away from the saddle: the root of its recursion along u, of curvature -2."""
    return np.roots([1, -(1 + inertia + 2 * rate), inertia]).max()


def updates_by_loop(x, runs):
    """The same counts by a loop in NumPy, from starts, inertias and batches."""
    counts = {}
    for name, (theta, inertia, batches) in runs.items():
        v, counts[name] = 0.0, len(batches)
        for t, some in enumerate(batches):
            e = x[some, 0] - theta[2] * (x[some] @ theta[:2])
            slope = np.append(-2 * theta[2] * e @ x[some], -2 * e @ (x[some] @ theta[:2])) / len(some)
            v = inertia * v - 0.02 * slope
            theta = theta + v
            if np.mean((x[:, 0] - theta[2] * (x @ theta[:2])) ** 2) < 0.5:
                counts[name] = t + 1
                break
    return counts


def draw(epochs, paths, losses, out):
    """The epochs needed, the slide, two losses and their mean; who leaves the saddles."""
    from ..reporting import figures
    from ..reporting.figures import plt

    layout: list[Any] = [["needed", "plane", "stuck"], ["saddle", "bars", "bars"]]
    figure, panels = plt.subplot_mosaic(layout, figsize=(14, 8))
    needed, plane, stuck, saddle, bars = panels.values()
    counted, slide = epochs
    as_on_the_slide(plane, *slide)
    on_two_losses(stuck, *losses)
    looks = zip(counted.items(), figures.PALETTE, figures.HATCHES, strict=False)
    for i, ((rate, counts), colour, hatch) in enumerate(looks):
        values, many = np.unique(counts, return_counts=True)
        needed.bar(values + 0.2 * (i - 1.5), many / len(counts), 0.2, color=colour, hatch=hatch, label=f"rate {rate:g}")
    needed.set_xticks(range(17, 28))
    needed.set(
        xlim=(16.5, 27.5),
        xlabel="epochs of full-batch descent for one of single examples",
        ylabel=f"share of {DATA_SETS} data sets",
        title="20 examples: 20 times faster?",
    )
    figures.contours(lambda w: (1 - w[0] * w[1]) ** 2, ((-1.5, 1.5), (-1.5, 1.5)), ax=saddle)
    for i, ((name, path), colour) in enumerate(zip(paths.items(), figures.PALETTE, strict=False)):
        saddle.plot(*np.asarray(path).T, color=colour, linewidth=7 - 2 * i, label=name)
    figures.critical_points([((0.0, 0.0), "saddle")], ax=saddle)
    saddle.set(xlabel="$w_1$", ylabel="$w_2$", title="from (.5, -.5): who leaves the saddle")
    bars.barh(list(out), list(out.values()), color=figures.PALETTE[0])
    for i, many in enumerate(out.values()):
        bars.text(many, i, f" {many}", va="center")
    bars.invert_yaxis()
    bars.set(
        xlim=(0, 1.1 * max(out.values())),
        xlabel="updates until the saddle is left",
        title="a saddle that noise of batches leaves (S65)",
    )
    for axes in (needed, plane, stuck, saddle):
        axes.legend(fontsize=7)
    return figure


def as_on_the_slide(plane, x, full, single):
    """One step on all examples, and the 20 steps on one each, from the same start: the slide's figure (S40)."""
    from ..reporting import figures

    figures.contours(lambda theta: squared(theta, (x, x)), ((-0.1, 0.7), (0.7, 1.6)), ax=plane)
    plane.plot(
        *full.T, "s-", color=figures.PALETTE[0], markersize=6, linewidth=2.5, label="all 20 examples: one update"
    )
    plane.plot(
        *single.T, "o-", color=figures.PALETTE[3], markersize=3, linewidth=1.2, label="one example each: 20 updates"
    )
    plane.plot(0, 1, "x", color="black", markersize=9, markeredgewidth=2, label="the best line")
    plane.set(xlabel="$b$", ylabel="$w$", title="one epoch: seen all, or seen only one")


def on_two_losses(panel, loss, shifts, place, path):
    """L1, L2 and their mean, the place where the mean is stuck, and where a run of single losses goes (S49)."""
    from ..reporting import figures

    x = np.linspace(path.min(), path.max(), 200)
    for name, shift, colour, dash in zip(
        ("L1", "L2", "their mean"), shifts, ("#56B4E9", "#E69F00", "black"), ("--", "-.", "-"), strict=True
    ):
        panel.plot(x, loss(x, shift), dash, color=colour, label=name)
        panel.plot(place, loss(place, shift), "o", color=colour, markersize=7)
    shown = np.asarray(path)[:400:8]
    panel.plot(
        shown,
        np.full(len(shown), 0.04),
        "|",
        transform=panel.get_xaxis_transform(),
        color=figures.PALETTE[3],
        markersize=9,
        label="x, order drawn, 400 updates",
    )
    panel.set(xlabel="x", ylabel="loss", title="stuck on the mean, L1 and L2 still move")
