"""Adam or SGD with momentum: which, and when? (S86, S101)

The lecture's last table says: SGDM is slow, converges better, is stable, has the smaller generalisation gap; Adam is
fast, possibly does not converge, is unstable, has the larger gap.  A network on 600 digits, 64-128-128-128-10, until
the loss on all of them is below .001, and the problems of the tuned benchmark, each optimizer at its best rate, say:

- Fast: all 600 in a batch, Adam (.001) is there within 400 updates, and SGD (.1) takes more than twice as many as Adam.
  But it is the momentum that is missing there: SGDM (.1, lambda = .9) takes as many as Adam, to a factor of two.  In
  batches of 8 it is gone: there both take as many epochs as Adam, to a factor of two.  How many, and how many SGDM
  takes at first, is shown beside, not judged, as the start decides.
- Gap: a table shows the accuracy on 1197 other digits, start by start; the lecture gives no number to judge it by.
- Convergence: on the example of Reddi et al. Adam ends at the wrong end of [-1, 1], SGDM at the right one.
- Stable: the other way round.  Adam's steps are no longer than a few eta, so that no rate leaves the finite numbers;
  SGDM does at most rates on the crescent.
- Which, when: Adam on the network.  On rare features they are alike, and elsewhere a table shows what is left.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
from gdlab.problems import digits, network, network_accuracy, network_loss

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true
from ..reporting.run_folder import Table
from ..reporting.standard_errors import (
    at_the_others_best,
    error_of_share,
    error_of_variance,
    least_lead,
    most_apart,
    off_the_odds,
)
from ..workloads.plain_network import adaptive, gradients, named, outputs, walked
from ..workloads.tuned_benchmark import PROBLEMS, RATES, best, draws, medians, tuned_benchmark

QUESTION = "Adam or SGD with momentum: which, and when? (S86, S101)"
SIZES, EXAMPLES, ENOUGH = (64, 128, 128, 128, 10), 600, 1e-3
STARTS, EPOCHS = 4, 45
SEEDS = 8  # of the tuned benchmark
INERTIA = 0.9
# all examples in a batch: the optimizer and how many updates; in batches of 8: the optimizer
FULL = {"adam": (gdlab.adam(1e-3), 400), "sgdm": (gdlab.momentum(0.1, INERTIA), 400), "sgd": (gdlab.gd(0.1), 4500)}
SMALL = {"adam": gdlab.adam(1e-3), "sgdm": gdlab.momentum(0.01), "sgd": gdlab.gd(0.1)}
RIVALS = {"adam": lambda rate: gdlab.adam(rate, 0.9, 0.99), "sgdm": gdlab.momentum}
SLOPE, TURNS = 4.0, 30_000  # of Reddi's example

loss = partial(network_loss, activation=jax.nn.relu)


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "adam_or_sgdm", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks, the figure, a table; a quick one trains one start, on all examples at once, for 400 updates."""
    results = tuned_benchmark(RIVALS, seeds=SEEDS)
    checks = [*wrong_end(), *looped(results), *as_described(), *stable(results), *which(results)]
    train, test = split()
    if quick:
        full = {name: [trained(optimizer, 400, 0, train, test)] for name, (optimizer, _) in FULL.items()}
        return (
            [*ahead(full), *rectified(full, train), *checks],
            lambda: draw(full, results),
            counted({EXAMPLES: full}),
            early(full),
            remaining(results),
        )
    full = {name: [trained(*how, seed, train, test) for seed in range(STARTS)] for name, how in FULL.items()}
    small = {name: [in_batches(how, seed, train, test) for seed in range(STARTS)] for name, how in SMALL.items()}
    return (
        [*fast(full, small), *rectified(full, train), *checks],
        lambda: draw(full, results),
        counted({EXAMPLES: full, 8: small}),
        early(full),
        remaining(results),
    )


def split():
    """600 digits to learn and the others, in single precision."""
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(labels))
    images = images.astype(jnp.float32)
    return tuple((images[part], labels[part]) for part in (order[:EXAMPLES], order[EXAMPLES:]))


def started(seed):
    """The network in single precision."""
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), network(jax.random.key(seed), SIZES))


def trained(optimizer, updates, seed, train, test):
    """The losses of a run on all examples at once, and its accuracy on the others."""
    run = gdlab.minimize(loss, optimizer, started(seed), updates, args=(train,))
    return np.asarray(run.history["loss"]), accuracy(run, test)


def in_batches(optimizer, seed, train, test):
    """The loss on all examples after each epoch of batches of 8, and the accuracy on the others."""
    batches = gdlab.minibatches(train, 8, key=jax.random.key(seed))
    each = {"params": lambda moment: moment.params}
    run = gdlab.minimize(loss, optimizer, started(seed), EPOCHS * 75, batches=batches, record=each, every=75)
    return np.asarray(jax.lax.map(lambda params: loss(params, train), run.history["params"])), accuracy(run, test)


def accuracy(run, test):
    """The share of other digits that are read."""
    return float(network_accuracy(run.params, test, activation=jax.nn.relu))


def passes(losses, level):
    """How many updates, or epochs, it takes until the loss is below a level; infinite where it never is."""
    return float(np.argmax(losses < level)) if losses.min() < level else np.inf


def until(runs):
    """The median over starts of how many updates, or epochs, it takes until the loss is small enough."""
    return float(np.median([passes(losses, ENOUGH) for losses, _ in runs]))


def fast(full, small):
    """How many updates with all examples, how many epochs in batches of 8, in ratios of each start (S86)."""
    slower, *others = (
        np.log([passes(one, ENOUGH) / passes(other, ENOUGH) for (one, _), (other, _) in zip(of, by, strict=True)])
        for of, by in (
            (full["sgd"], full["adam"]),
            (full["sgdm"], full["adam"]),
            (small["sgd"], small["adam"]),
            (small["sgdm"], small["adam"]),
        )
    )
    twice = np.log(2)
    alike = ("B = 600, SGDM: updates", "B = 8, SGD: epochs", "B = 8, SGDM: epochs")
    return (
        *ahead(full),
        is_true(
            "S86",
            f"B = 600: Adam takes less than half of SGD's updates, {STARTS} starts, beyond chance",
            least_lead(slower) > twice,
        ),
        # As many to a factor of two, chance included.
        *(
            at_most("S86", f"{name} over Adam's, log", most_apart(each), twice)
            for name, each in zip(alike, others, strict=True)
        ),
    )


def ahead(full):
    """Who is ahead with all examples in a batch (S86)."""
    slow, adam = ([losses[:400].min() for losses, _ in full[name]] for name in ("sgd", "adam"))
    return (
        is_true("S86", "B = 600, Adam: within 400 updates", np.max(adam) < ENOUGH),
        is_true("S86", "B = 600, SGD: not within 400 updates", np.min(slow) > ENOUGH),
    )


def early(full):
    """How soon SGDM has the loss that SGD has after 399 updates: its steps are eta / (1 - lambda) in the end (S74)."""
    pairs = zip(full["sgdm"], full["sgd"], strict=True)
    found = [f"{passes(quicker, slow[399]):g}" for (quicker, _), (slow, _) in pairs]
    title = "All 600 in a batch: updates of SGDM until the loss that SGD has after 399, by start, not judged"
    return Table(title, ("1 - lambda of them", "here"), [[f"{399 * (1 - INERTIA):.1f}", ", ".join(found)]])


def counted(by_size):
    """How long each takes, beside Adam, and its accuracy on other digits, start by start."""
    rows = []
    for size, runs in by_size.items():
        for name, of in runs.items():
            long, read = until(of), ", ".join(f"{100 * share:.1f}" for _, share in of)
            rows.append([f"{size}", name, f"{long:g}", f"{long / until(runs['adam']):.3g}", read])
    title = (
        "Updates, or epochs in batches of 8, until the loss on all 600 is .001 "
        "(SGD printed as 2930 to 2960, Adam as 260 to 290): not judged"
    )
    return Table(title, ("batch", "optimizer", "until .001", "over Adam's", "other digits read, in %"), rows)


def wrong_end():
    """Slopes C, -1, -1, ... on [-1, 1], beta1 = 0, beta2 = 1/(1 + C^2), eta = .1/sqrt t (section 3.4); optimum -1."""
    fading = gdlab.schedules.InverseSqrt(0.1)
    slopes = jnp.tile(jnp.array([SLOPE, -1.0, -1.0]), TURNS // 3)

    def walk(optimizer):
        def step(carry, slope):
            x, state = carry
            update, state = optimizer.update(slope, state, x)
            x = jnp.clip(x + update, -1.0, 1.0)
            return (x, state), x

        return np.asarray(jax.lax.scan(step, (jnp.array(1.0), optimizer.init(jnp.array(1.0))), slopes)[1])

    adam = gdlab.descent(
        gdlab.directions.Gradient(), gdlab.scales.RunningRootMeanSquare(1 / (1 + SLOPE**2), start=0.0), fading
    )
    adams, sgdms = walk(adam), walk(gdlab.momentum(fading))
    x, v, off = 1.0, 0.0, 0.0
    for t, found in enumerate(adams[:300].tolist()):
        g = -1.0 if t % 3 else 4.0
        v = v / 17 + 16 / 17 * g * g
        x = min(max(x - 0.1 / (t + 1) ** 0.5 * g / v**0.5, -1.0), 1.0)
        off = np.maximum(off, abs(found - x))
    return (
        at_most("S101", "Reddi's example, Adam: 300 steps off a Python loop", off, 1e-12),
        exactly("S101", "Reddi's example: where Adam ends, the wrong end", adams[-1], 1.0),
        # Its velocity, the mean of slopes over ten steps and more, keeps the sign of their mean, 2 / 3.
        exactly("S101", "the same: where SGDM ends, the right end", sgdms[-1], -1.0),
    )


def looped(results):
    """What both leave on the first seed's problems at a rate that all bear, against loops in NumPy (S101)."""
    rate, problems = 1e-3, by_hand()
    for name, move in (("SGDM", inert(rate)), ("Adam", adaptive(lambda t: rate, 0.99))):
        for problem, (begun, slopes, left) in problems.items():
            weights = walked(begun, slopes, move, 300)[-1]
            loss = results[problem].sel(optimizer=name.lower()).sel(rate=rate, method="nearest").isel(seed=0)
            what = f"{name}, rate {rate:g}, {problem}: loss over a NumPy loop's"
            yield Check("S101", what, float(loss) / left(weights), 1.0, 1e-9)  # rounding


def rectified(full, train):
    """The first 8 losses of the first start, all examples in a batch, by a network of ReLUs in NumPy (S86).

    What they differ by is the rounding of single precision, 2^-24 at each update; the deviation of 8 independent ones
    is 8^(1/2) times that, here four times.
    """
    images, labels = map(np.asarray, train)
    rows, losses = np.arange(len(labels)), []

    def slopes(weights, _):
        units, back = outputs(images, *weights, rectified=True)
        losses.append(-np.log(back[rows, labels]).mean())
        back[rows, labels] -= 1
        return gradients(weights, units, back / len(labels), rectified=True)

    moves = {"adam": adaptive(lambda t: 1e-3, 0.999), "sgdm": inert(0.1), "sgd": inert(0.1, 0.0)}
    for name, move in moves.items():
        walked(named(started(0)), slopes, move, 8)
        apart = farthest(full[name][0][0][:8] / losses[-8:], 1.0)
        yield at_most("S86", f"B = 600, {name}: 8 losses over NumPy's - 1", apart, 4 * 2**-24 * 8**0.5)


def inert(rate, kept=0.9):
    """The move of SGDM for `walked`."""
    return lambda t, g, v: (kept * v + g, rate * (kept * v + g))


def by_hand():
    """The first seed's problems: the weights at the start, their gradients at step t, the loss that is scored."""
    start, fed, (turn, (others, truth)) = draws(0)
    c = np.logspace(-3, 0, 10)
    odds = lambda z: 1 / (1 + np.exp(-z))  # noqa: E731
    slopes = {
        "bowl": lambda w, t: c * w,
        "turned bowl": lambda w, t: turn.T @ (c * (turn @ w)),
        "crescent": lambda w, t: along_the_crescent(w),
        "noisy bowl": lambda w, t: w + fed["noise"][t],
        "rare features": lambda w, t: (odds(fed["rare"][0][t] @ w) - fed["rare"][1][t]) @ fed["rare"][0][t] / 8,
    }
    left = {
        "bowl": lambda w: c @ w**2 / 2,
        "turned bowl": lambda w: c @ (turn @ w) ** 2 / 2,
        "crescent": lambda w: (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2,
        "noisy bowl": lambda w: w @ w / 2,
        "rare features": lambda w: np.mean(np.log1p(np.exp(others @ w)) - truth * (others @ w)),
    }
    alone = {
        problem: ([start[problem]], lambda w, t, of=of: [of(w[0], t)], lambda w, of=left[problem]: of(w[0]))
        for problem, of in slopes.items()
    }
    return {**alone, "network": network_by_hand(start["network"], fed["chosen"])}


def network_by_hand(layers, chosen):
    """The same of the network: 500 digits of 4 x 4 pixels, of which a step takes those that were chosen."""
    images, labels = (np.asarray(leaf)[:500] for leaf in digits())
    pixels = images.reshape(-1, 8, 8)
    pooled = np.mean([pixels[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=0).reshape(-1, 16)
    pooled = pooled - pooled.mean(0)

    def slopes(weights, t):
        units, back = outputs(pooled[chosen[t]], *weights)
        back[np.arange(len(back)), labels[chosen[t]]] -= 1
        return gradients(weights, units, back / len(back))

    def left(weights):
        return -np.log(outputs(pooled, *weights)[1][np.arange(500), labels]).mean()

    return named(layers), slopes, left


def along_the_crescent(w):
    """The gradient of (1 - x)^2 + 100 (y - x^2)^2, by hand."""
    x, y = w
    return np.array([2 * (x - 1) - 400 * x * (y - x**2), 200 * (y - x**2)])


def as_described():
    """The draws of the benchmark: noise of deviation .1, feature i in one of i, labels of the logistic model (S101)."""
    noise, shares, labels, logits, shifts = [], [], [], [], []
    for seed in range(SEEDS):
        start, fed, (turn, others) = draws(seed)
        rng = np.random.default_rng(seed)
        begun, weights = rng.normal(size=10), 2 * rng.normal(size=30)
        x, y = (np.concatenate([a.reshape(-1, *b.shape[1:]), b]) for a, b in zip(fed["rare"], others, strict=True))
        labels.append(y)
        logits.append(x @ weights)
        noise.append(fed["noise"])
        shares.append(x.mean(0))
        shifts.append([farthest(start["bowl"], begun), farthest(turn @ turn.T, np.eye(10))])
    due, many = 1 / np.arange(1, 31), SEEDS * len(x)
    square = np.square(noise)
    return (
        at_most("S101", "starts - normal numbers, and the turn times its transpose - 1", np.max(shifts), 1e-14),
        Check("S101", "noise: mean square over .01", square.mean() / 0.01, 1.0, error_of_variance(square.size)),
        at_most(
            "S101",
            "features: share of examples less 1 / i, beyond four standard errors",
            (np.abs(np.mean(shares, axis=0) - due) - [error_of_share(p, many) for p in due]).max(),
            0.0,
        ),
        at_most(
            "S101",
            "labels less their odds, along the logits, in standard errors",
            off_the_odds(np.concatenate(labels), np.concatenate(logits)),
            4.0,
        ),
    )


def stable(results):
    """At how many rates a run stays finite."""
    finite = np.isfinite(medians(results)).sum("rate")
    rates = results.sizes["rate"]
    crescent = finite.sel(problem="crescent")
    due = finite_by_loop(results.sizes["seed"])
    return (
        exactly("S101", "Adam: rates on the crescent that stay finite, of 13", crescent.sel(optimizer="adam"), rates),
        exactly("S101", "SGDM: rates that stay finite there, by a NumPy loop", crescent.sel(optimizer="sgdm"), due),
        is_true("S101", "which is not most of the 13", due < 7),
        exactly(
            "S101", "Adam: problems where every rate stays finite", (finite.sel(optimizer="adam") == rates).sum(), 6
        ),
    )


def finite_by_loop(seeds):
    """At how many rates more than half of SGDM's runs on the crescent stay finite, by one loop in NumPy for all."""
    starts = np.transpose([draws(seed)[0]["crescent"] for seed in range(seeds)])
    w = np.repeat(starts[:, None], len(RATES), axis=1)
    v = np.zeros_like(w)
    with np.errstate(all="ignore"):
        for _ in range(300):
            v = 0.9 * v - RATES[:, None] * along_the_crescent(w)
            w = w + v
    return int((np.median(np.isfinite(w).all(axis=0), axis=1) == 1).sum())


def which(results):
    """Who is ahead, each at the rate that the other seeds choose: Student's t for 99 of 100 means of so many seeds.

    "Alike" is less apart, chance included, than half of what they are on the network.
    """
    network, rare = (at_their_best(results[problem]) for problem in ("network", "rare features"))
    least = least_lead(*network)
    return (
        is_true("S101", f"Adam is ahead on the network, mean of {SEEDS} seeds, beyond chance", least > 0),
        at_most(
            "S101",
            "rare features: decades between them, and chance, at most half of those on the network",
            most_apart(*rare),
            least / 2,
        ),
    )


def at_their_best(losses):
    """The powers of ten of SGDM's loss and of Adam's, of each seed."""
    left = losses.transpose("optimizer", "rate", "seed").sel(optimizer=["sgdm", "adam"])
    return at_the_others_best(np.log10(left.where(np.isfinite(left), np.inf).values))


def remaining(results):
    """What is left of each problem, each at its best rate."""
    losses = best(results)
    rows = [
        [problem, *(f"{float(losses.sel(problem=problem, optimizer=name)):.3g}" for name in RIVALS)]
        for problem in PROBLEMS
    ]
    return Table(
        f"What is left, each at its best rate, median of {SEEDS} seeds: not judged", ("problem", *RIVALS), rows
    )


def draw(full, results):
    """The losses on the digits, and those of the tuned benchmark by rate."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, grid = plt.subplots(2, 4, figsize=(13, 6))
    first, *panels = grid.flat
    colours = figures.colors(["adam", "sgdm", "sgd"])
    for name, runs in full.items():
        for i, (losses, _) in enumerate(runs):
            first.plot(np.arange(len(losses)) + 1, losses, color=colours[name], label=None if i else name)
    first.axhline(ENOUGH, color="0.5", linestyle="--", linewidth=1)
    first.set(
        xscale="log", yscale="log", ylim=(3e-4, 3), xlabel="updates", ylabel="loss", title="600 digits in a batch"
    )
    first.axison = bool(full)
    if full:
        first.legend(fontsize=7)
    losses = medians(results)
    for panel, problem in zip(panels, PROBLEMS, strict=False):
        for name in RIVALS:
            values = losses.sel(problem=problem, optimizer=name)
            panel.plot(
                losses["rate"],
                values.where(np.isfinite(values)).clip(1e-16, 1e6),
                ".-",
                color=colours[name],
                label=name,
            )
        panel.set(xscale="log", yscale="log", xlabel="rate", ylabel="loss at the end", title=problem)
    panels[0].legend(fontsize=7, title="a line ends where runs diverge", title_fontsize=7)
    panels[-1].set_axis_off()
    return figure
