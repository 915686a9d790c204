"""What does a gentle start gain? (S17, S93; sections 3.7, 3.8)

For momentum on half of 600 digits at a time warm-up raises the largest rate that is stable, a little: with 60 steps
starts fail (end above a loss of .5) at fewer rates.  That 20 steps harm at .4, as is printed, does not come out.  Plain
descent gains next to nothing: at the rates 2 and 4 at least 11 of 12 starts fail either way, at the rate 1 eleven fail
without and ten with it, where 11 or 12 are printed.  At the rates 1 and 1.5 that linear scaling asks for all runs with
momentum fail, however they start.

Does Adam need warm-up?  At the rate .1 RAdam ends lower than Adam and than Adam with 50 steps of warm-up, both of which
fail mostly; at .001 it is slower than Adam.  Nadam fails about as often as Adam, where 1 of 6 is printed.

Who ends lower is compared start by start, each with its own order of the batches: a coin's chance of as many must be
below 1 in 200.  At these rates rounding grows, so that another processor moves every count by a few: printed counts,
what chance may decide, and what does not come out, stand in tables beside ours.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
from gdlab import schedules
from gdlab.problems import network_loss

from ..cli.settings import Experiment
from ..reporting.checks import at_most, conclude, exactly, farthest, is_true
from ..reporting.run_folder import Table
from ..workloads.digits import FLOAT, examples, starts

QUESTION = "What does a gentle start gain? (S17, S93; sections 3.7, 3.8)"
loss = partial(network_loss, activation=jax.nn.relu)
COUNT, LAYERS, UPDATES, FAILED = 600, (64, 128, 128, 128, 10), 200, 0.5
# The quick size: the rate of .4 and the longer warm-up, as is printed to help, after as many updates as the shorter one
# lasts: runs are chaos later, of which 8 ends tell nothing.  The starts are no others', so that none was looked at.
EARLY, FRESH = 20, 1917
PRINTED = {  # failures of 12 starts with momentum, after warm-ups of 0, 20 and 60 steps
    0.3: (2, 1, 0),
    0.4: (6, 10, 2),
    0.5: (12, 10, 5),
    0.7: (12, 12, 11),
}
PLAIN = (0.5, 1.0, 2.0, 4.0)  # rates of descent without momentum; 11 or 12 of 12 are printed to fail from 1 on
SCALED = (1.0, 1.5)  # rates with momentum that linear scaling asks for; all are printed to diverge
WARM = (0, 20, 60)
ADAPTIVE = {
    "Adam": gdlab.adam,
    "Adam, warm-up": lambda rate: gdlab.adam(schedules.Warmup(rate, 50)),
    "RAdam": gdlab.radam,
    "AMSGrad": lambda rate: gdlab.amsgrad(rate, source="optax"),
    "Nadam": gdlab.nadam,
}
RATES = (0.001, 0.05, 0.1)
FAILURES = {"Adam": 6, "Adam, warm-up": 5, "RAdam": 0, "AMSGrad": 2, "Nadam": 1}  # printed, of 6 starts at .1
MEDIANS = {  # printed, of 6 starts
    ("Adam", 0.05): 0.126,
    ("Adam, warm-up", 0.05): 0.054,
    ("RAdam", 0.05): 0.017,
    ("Adam", 0.001): 0.017,
    ("RAdam", 0.001): 0.29,
}
STARTS = 48  # each with its own order of the batches


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "warmup", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks, the figure, and tables of what is shown but not judged."""
    learnt, _ = examples(jax.random.key(0), COUNT)
    lanes = drawn(STARTS)
    begun = drawn(8, FRESH) if quick else lanes
    rates, widths = ((0.4,), (0, 60)) if quick else (tuple(PRINTED), WARM)
    names = tuple(ADAPTIVE)[: 3 if quick else None]
    updates = EARLY if quick else UPDATES
    fast = RATES[::2] if quick else RATES

    def swept(size, make, lanes, count, updates=UPDATES, **axes):
        some = jax.tree.map(lambda leaf: leaf[:count], lanes)
        return gdlab.sweep(trainer(learnt, size, make, updates), **axes, start=some)["value"].to_numpy()

    def large(make, rates, widths, count):
        axes = {"rate": jnp.array(rates, FLOAT), "width": jnp.array(widths, FLOAT)}
        return swept(300, lambda rate, width: make(schedules.Warmup(rate, width)), begun, count, updates, **axes)

    ends = large(gdlab.momentum, rates, widths, 8 if quick else STARTS)
    axes = {"optimizer": {name: ADAPTIVE[name] for name in names}, "rate": jnp.array(fast, FLOAT)}
    many = swept(60, lambda optimizer, rate: optimizer(rate), lanes, 12 if quick else STARTS, **axes)
    adaptive = dict(zip(names, many, strict=True))
    checks = [*compared(), *lawful(), *gentle(learnt, jax.tree.map(lambda leaf: leaf[0], lanes))]
    tables = [by_optimizer(adaptive, fast)]
    if quick:
        checks += early(ends)
    else:
        checks += [raised(ends)]
        checks += useless(large(gdlab.sgd, PLAIN, (0, 60), 12), large(gdlab.momentum, SCALED, (0, 60), 12))
        tables += [by_width(ends)]
    return [*checks, *rectified(adaptive)], lambda: draw(rates, widths, ends, adaptive, fast, updates), *tables


def drawn(count, seed=0):
    """So many starts, each with the key of its own order of the batches."""
    return starts(gdlab.seeds(count, seed), LAYERS), jax.random.split(jax.random.key(seed + 1), count)


def trainer(learnt, size, make, updates):
    """A function of a start, and of what `make` takes: the loss on all 600 after updates, NaN where it diverged."""

    def train(start, **what):
        layers, order = start
        fed = gdlab.minibatches(learnt, size, key=order)
        ran = gdlab.minimize(loss, make(**what), layers, updates, batches=fed, record=(), every=updates)
        return loss(ran.params, learnt)

    return train


def gentle(learnt, lane):
    """The first 80 movements of a run with 60 steps of warm-up: v <- .9 v + eta_t g with eta_t = .4 min(t/60, 1)."""
    layers, order = lane
    kept = {"moved": lambda m: m.step.update[0]["w"], "grads": lambda m: m.grads[0]["w"]}
    fed = gdlab.minibatches(learnt, 300, key=order)
    warm = gdlab.momentum(schedules.Warmup(FLOAT(0.4), FLOAT(60)), FLOAT(0.9))
    run = gdlab.minimize(loss, warm, layers, 80, batches=fed, record=kept).history
    grads, moved = (np.asarray(run[name], float) for name in ("grads", "moved"))
    v, due = 0.0, []
    for t, g in enumerate(grads):
        v = 0.9 * v + 0.4 * min((t + 1) / 60, 1) * g
        due.append(-v)
    size = np.abs(due).max(axis=(1, 2), keepdims=True)
    off = farthest(moved / size, due / size)
    yield at_most("3.8", "80 steps of momentum with warm-up, off a NumPy loop, relative", off, 1e-5)  # in float32


def failed(losses):
    """Which runs ended above .5, or nowhere."""
    return ~(losses < FAILED)


def shares(failures, runs):
    """Between which shares of failures the true one lies, at 99 of 100 (Clopper and Pearson)."""
    from scipy.stats import beta

    low = beta(failures, runs - failures + 1).ppf(0.005) if failures else 0.0
    return low, beta(failures + 1, runs - failures).ppf(0.995) if failures < runs else 1.0


def coin(one, other):
    """A coin's chance of as many, or more, of the starts on which two ways differ for the one."""
    from scipy.stats import binom

    only, instead = (one & ~other).sum(), (other & ~one).sum()
    return float(binom.sf(only - 1, only + instead, 0.5))


def oftener(item, name, one, other):
    """The check that one of two things happens from more starts than a coin would give it: 1 in 200."""
    name = f"{name} ({(one & ~other).sum()} to {(other & ~one).sum()}): a coin's chance"
    return at_most(item, name, coin(one, other), 0.005)


def lower(losses, others):
    """From which starts the loss is lower; where a run diverged it is the highest."""
    return np.nan_to_num(losses, nan=np.inf) < np.nan_to_num(others, nan=np.inf)


def compared():
    """How starts are compared, on five whose ends are known: the third and the fifth differ, one way each way."""
    losses, others = np.array([0.1, np.nan, 0.4, 0.6, 0.2]), np.array([0.6, 0.5, np.inf, 0.5, 0.3])
    less, more = lower(losses, others), lower(others, losses)
    yield exactly("3.8", "of five starts: lower from the first, the third and the fifth", less @ [1, 2, 4, 8, 16], 21)
    yield exactly("3.8", "higher from the second and the fourth", more @ [1, 2, 4, 8, 16], 10)
    yield exactly("3.8", "failed: the second and the fourth", failed(losses) @ [1, 2, 4, 8, 16], 10)
    yield exactly("3.8", "three to two: a coin's chance", coin(less, more), 16 / 32)
    yield exactly("3.8", "two to three", coin(more, less), 26 / 32)


def lawful():
    """The law of shares, where it can be worked out by hand: no failure of n, 1 - .005^(1/n) at most."""
    from scipy.stats import binom

    one = 0.005 ** (1 / 48)
    yield at_most("3.8", "no failure of 48: shares", farthest(shares(0, 48), (0, 1 - one)), 1e-12)
    yield at_most("3.8", "48 failures of 48", farthest(shares(48, 48), (one, 1)), 1e-12)
    (low, high), (less, more) = shares(17, 48), shares(31, 48)
    yield at_most("3.8", "17 failures, and 17 that do not fail: from 1", farthest((low + more, high + less), 1), 1e-12)
    tails = binom.sf(16, 48, low), binom.cdf(17, 48, high)
    yield at_most("3.8", "at either share: the chance of 17 and beyond, less .005", farthest(tails, 0.005), 1e-12)


def early(ends):
    """At the quick size: the loss before the runs are chaos (S17)."""
    ordinary, warm = ends[0]
    name = f"rate .4: with 60 steps of warm-up the loss is lower after {EARLY}"
    yield oftener("S17", name, lower(warm, ordinary), lower(ordinary, warm))


def raised(ends):
    """From how many starts warm-up raises the largest rate that momentum bears (S17)."""
    without, _, warm = failed(ends).sum(axis=0)  # at how many rates each start fails
    return oftener("S17", "starts that fail at fewer rates with 60 steps than without", warm < without, without < warm)


def useless(plain, scaled):
    """Where warm-up is no help: without momentum, and at the rates of linear scaling."""
    slow, *fast = failed(plain)
    for rate, of_rate in zip(PLAIN[2:], fast[1:], strict=True):
        for width, row in zip((0, 60), of_rate, strict=True):
            name = f"plain descent, rate {rate:g}, warm-up {width}: 11 or 12 of 12 fail"
            yield is_true("3.8", name, row.sum() >= 11)
    for width, row, ordinary in zip((0, 60), fast[0], slow, strict=True):
        yield oftener("3.8", f"plain descent, warm-up {width}: more fail at the rate 1 than at .5", row, ordinary)
    far = failed(scaled).mean(axis=-1)
    yield exactly("3.8", "linear scaling, rates 1 and 1.5, with and without warm-up: share that fails", far.min(), 1.0)


def rectified(adaptive):
    """RAdam against Adam with and without warm-up, and the counts at .1 (S93)."""

    def below(item, name, one, other, rate):
        losses = adaptive[one][rate], adaptive[other][rate]
        return oftener(item, name, lower(*losses), lower(*losses[::-1]))

    yield below("S93", "rate .1: RAdam ends lower than Adam with warm-up", "RAdam", "Adam, warm-up", -1)
    yield below("3.7", "rate .001: Adam ends lower than RAdam", "Adam", "RAdam", 0)
    runs = {name: failed(by_rate[-1]) for name, by_rate in adaptive.items()}
    if runs["Adam"].size == STARTS:  # the starts of a quick run are too few where another processor moves the counts
        yield below("S93", "rate .1: RAdam ends lower than Adam", "RAdam", "Adam", -1)
        least, most = ({name: shares(int(of.sum()), of.size)[i] for name, of in runs.items()} for i in (0, 1))
        for name in ("Adam", "Adam, warm-up"):
            yield is_true("3.7", f"{name}, rate .1: fails mostly, to 99 of 100", least[name] > 0.5)
        yield is_true("3.7", "RAdam, rate .1: does not, likewise", most["RAdam"] < 0.5)


def spanned(losses):
    """Failures, and between which shares of all they lie."""
    runs = failed(losses)
    return f"{runs.sum()} of {runs.size}", "{:.2g} to {:.2g}".format(*shares(int(runs.sum()), runs.size))


SHOWN = "shown, not judged; shares at 99 of 100"


def by_optimizer(adaptive, rates):
    """Failures and medians of each optimizer, beside those that were printed of 6 starts."""
    rows = []
    for name, by_rate in adaptive.items():
        for rate, losses in zip(rates, by_rate, strict=True):
            middle = np.median(np.nan_to_num(losses, nan=np.inf))
            seen = f"{FAILURES[name]} of 6 failed" if rate == RATES[-1] else f"{MEDIANS.get((name, rate), '')}"
            rows.append([name, f"{rate:g}", *spanned(losses), f"{middle:.2g}", seen])
    columns = ("optimizer", "rate", "failed", "share of all", "median loss", "printed")
    return Table(f"Adam and its relatives: {SHOWN}", columns, rows)


def by_width(ends):
    """Failures with momentum by rate and warm-up, beside those that were printed of 12 starts."""
    rows = [
        [f"{rate:g}", f"{width}", *spanned(losses), f"{printed} of 12"]
        for (rate, seen), of_rate in zip(PRINTED.items(), ends, strict=True)
        for width, losses, printed in zip(WARM, of_rate, seen, strict=True)
    ]
    return Table(f"Momentum: {SHOWN}", ("rate", "warm-up", "failed", "share of all", "printed"), rows)


def draw(rates, widths, ends, adaptive, fast, updates):
    """Final losses of every start, by rate and warm-up, and by optimizer."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    panels = (
        (
            left,
            {f"warm-up {width}": ends[:, i] for i, width in enumerate(widths)},
            rates,
            f"momentum .9, batches of 300, {updates} updates",
        ),
        (right, adaptive, fast, f"batches of 60, {UPDATES} updates"),
    )
    for panel, groups, places, title in panels:
        for i, (name, rows) in enumerate(groups.items()):
            x = np.arange(len(places))[:, None] + 0.14 * (i - (len(groups) - 1) / 2) + np.zeros(rows.shape[1])
            shown = np.where(np.isfinite(rows), np.minimum(rows, 9), 9)
            panel.plot(x.ravel(), shown.ravel(), "o", markersize=4, mfc="none", color=figures.PALETTE[i], label=name)
        panel.axhline(FAILED, linestyle=":", color="black", linewidth=0.8)
        panel.set_xticks(range(len(places)), [f"{rate:g}" for rate in places])
        panel.set(yscale="log", ylim=(1e-5, 90), xlabel="learning rate", title=title)
        panel.legend(fontsize=7, loc="upper left", ncols=3)
    left.set_ylabel("loss at the end, one circle per start; dotted: failed")
    return figure
