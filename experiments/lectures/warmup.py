"""What does a gentle start gain? (S17, S93; sections 3.7, 3.8)

For momentum on half of 600 digits at a time warm-up raises the largest rate that is stable, a little.  Of 48 starts,
each with its own order of the batches, 37 fail at the rate .4 (end above a loss of .5), 15 with 60 steps of warm-up; at
.5 44 and 37, too few to tell.  20 steps spare as many starts as they harm; that a short warm-up harms (printed 6 to 10
of 12 at .4) does not come out.  Plain descent gains nothing, 10 of 12 or more fail from the rate 1 on, and at the rates
1 and 1.5 that linear scaling asks for all runs with momentum fail, however they start.

Does Adam need warm-up?  At .05, where it is too fast, 50 steps do not help it: 34 of 48 starts end higher (printed are
.126 without and .054 with it); whether RAdam is surer than Adam there is undecided, as two processors say otherwise.
At .1 Adam fails in 39 of 48 starts, with warm-up in 43, RAdam in 4.  Of its relatives Nadam fails in 41, where 1 of 6
is printed; AMSGrad (debiased, as in optax) in 30, and printed are 2 of 6, too few to tell the two apart.  At the rate
.001 RAdam is slower than Adam from every start.

Who fails, or ends lower, is compared start by start: of those on which two ways differ a coin would give each half.
At these rates rounding grows, so that another processor moves every count by a few.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
from gdlab import schedules
from gdlab.problems import network_loss

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true
from ..reporting.standard_errors import error_of_share
from ..workloads.digits import FLOAT, examples, starts

QUESTION = "What does a gentle start gain? (S17, S93; sections 3.7, 3.8)"
loss = partial(network_loss, activation=jax.nn.relu)
COUNT, LAYERS, UPDATES, FAILED = 600, (64, 128, 128, 128, 10), 200, 0.5
EARLY = 20  # updates of the quick size with momentum: before the runs are chaos, of which 8 ends tell nothing
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
STARTS = 48  # each with its own order of the batches


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "warmup", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure."""
    learnt, _ = examples(jax.random.key(0), COUNT)
    keys = jax.random.split(jax.random.key(1), STARTS)
    lanes = (starts(gdlab.seeds(STARTS), LAYERS), keys)
    rates, widths = ((0.4,), (0, 60)) if quick else (tuple(PRINTED), WARM)
    names = tuple(ADAPTIVE)[: 3 if quick else None]
    updates = EARLY if quick else UPDATES
    fast = RATES[::2] if quick else RATES

    def swept(size, make, count, updates=UPDATES, **axes):
        some = jax.tree.map(lambda leaf: leaf[:count], lanes)
        return gdlab.sweep(trainer(learnt, size, make, updates), **axes, start=some)["value"].to_numpy()

    def large(make, rates, widths, count):
        axes = {"rate": jnp.array(rates, FLOAT), "width": jnp.array(widths, FLOAT)}
        return swept(300, lambda rate, width: make(schedules.Warmup(rate, width)), count, updates, **axes)

    ends = large(gdlab.momentum, rates, widths, 8 if quick else STARTS)
    axes = {"optimizer": {name: ADAPTIVE[name] for name in names}, "rate": jnp.array(fast, FLOAT)}
    adaptive = dict(
        zip(names, swept(60, lambda optimizer, rate: optimizer(rate), 12 if quick else STARTS, **axes), strict=True)
    )
    checks = [*compared(), *gentle(learnt, jax.tree.map(lambda leaf: leaf[0], lanes)), *raised(rates, widths, ends)]
    checks += rectified(adaptive)
    if not quick:
        checks += useless(large(gdlab.sgd, PLAIN, (0, 60), 12), large(gdlab.momentum, SCALED, (0, 60), 12))
    return checks, lambda: draw(rates, widths, ends, adaptive, fast, updates)


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
    off = np.abs(moved - np.array(due)).max(axis=(1, 2)) / np.abs(due).max(axis=(1, 2))
    yield at_most("3.8", "80 steps of momentum with warm-up, off a NumPy loop, relative", off.max(), 1e-5)  # in float32


def failed(losses):
    """Which runs ended above .5, or nowhere."""
    return ~(losses < FAILED)


def counted(item, name, runs, printed, of):
    """The share of runs that failed against a printed count: 2.6 standard deviations of the difference.

    The printed counts are of 12 or 6 starts, so that this is wide; what is sharp is the loop above and `raised`.
    """
    n = runs.size
    pooled = (runs.sum() + printed) / (n + of)
    error = error_of_share(pooled, n, of, sigmas=2.6)
    return Check(item, f"{name}: share of {n} that failed, printed {printed} of {of}", runs.mean(), printed / of, error)


def coin(one, other):
    """Of the starts on which two ways differ, those for one less those for the other, and two deviations of a coin."""
    only, instead = (one & ~other).sum(), (other & ~one).sum()
    return float(only) - float(instead), 2 * float(only + instead) ** 0.5


def oftener(item, name, one, other):
    """The check that one of two things happens from more starts than a coin would give it."""
    more, error = coin(one, other)
    return is_true(item, f"{name}, beyond a coin", more > error)


def alike(item, name, one, other):
    """The check that neither does."""
    more, error = coin(one, other)
    return Check(item, f"{name}, within a coin's", more, 0.0, error)


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
    due = 2 * 5**0.5  # of five that differ, three one way: one more, by two deviations of a coin
    yield at_most("3.8", "three less two, and a coin's", farthest(coin(less, more), (1.0, due)), 1e-12)


def raised(rates, widths, ends):
    """Failures with momentum, by rate and warm-up (S17)."""
    runs = failed(ends)
    without, warm = runs[:, 0], runs[:, -1]
    if len(rates) == 1:
        less = lower(ends[0, -1], ends[0, 0]), lower(ends[0, 0], ends[0, -1])
        yield oftener("S17", f"rate .4: with 60 steps of warm-up the loss is lower after {EARLY}", *less)
        return
    for rate, of_rate in zip(rates, runs, strict=True):
        for width, row, printed in zip(widths, of_rate, PRINTED[rate], strict=True):
            yield counted("3.8", f"momentum, rate {rate}, warm-up {width}", row, printed, 12)
    for rate, before, after in zip(rates, without, warm, strict=True):
        if rate in (0.3, 0.4):
            yield oftener("S17", f"rate {rate}: starts spared by 60 steps less those harmed", before, after)
        if rate == 0.7:
            yield alike("S17", "rate .7: starts spared by 60 steps less those harmed", before, after)
    yield alike("3.8", "20 steps, all rates: starts spared less those harmed", without, runs[:, 1])


def useless(plain, scaled):
    """Where warm-up is no help: without momentum, and at the rates of linear scaling."""
    slow, *fast = failed(plain)
    for rate, of_rate in zip(PLAIN[1:], fast, strict=True):
        for width, row in zip((0, 60), of_rate, strict=True):
            yield counted("3.8", f"plain descent, rate {rate:g}, warm-up {width}", row, 11, 12)
    for width, row, ordinary in zip((0, 60), fast[0], slow, strict=True):
        yield oftener("3.8", f"plain descent, warm-up {width}: more fail at the rate 1 than at .5", row, ordinary)
    far = failed(scaled).mean(axis=-1)
    yield exactly("3.8", "linear scaling, rates 1 and 1.5, with and without warm-up: share that fails", far.min(), 1.0)


def rectified(adaptive):
    """Adam, what eases its start, and its relatives (S93)."""
    runs = {name: failed(rows) for name, rows in adaptive.items()}

    def below(item, name, one, other, rate):
        losses = adaptive[one][rate], adaptive[other][rate]
        return oftener(item, name, lower(*losses), lower(*losses[::-1]))

    yield counted("3.7", "RAdam, rate .1", runs["RAdam"][-1], FAILURES["RAdam"], 6)
    yield below("3.7", "rate .1: RAdam ends lower than Adam", "RAdam", "Adam", -1)
    yield below("3.7", "rate .1: and than Adam with warm-up", "RAdam", "Adam, warm-up", -1)
    yield below("3.7", "rate .001: Adam ends lower than RAdam", "Adam", "RAdam", 0)
    early = sum(runs[name][0].sum() for name in FAILURES if name in runs)
    yield exactly("S93", "rate .001: failures of all", early, 0)
    if len(runs) < len(ADAPTIVE):
        return
    yield below("S93", "not as printed: rate .05: Adam ends lower than with warm-up", "Adam", "Adam, warm-up", 1)
    for name in ("Adam", "Adam, warm-up"):
        yield counted("3.7", f"{name}, rate .1", runs[name][-1], FAILURES[name], 6)
        yield oftener("3.7", f"{name}, rate .1: more starts fail than do not", runs[name][-1], ~runs[name][-1])
    yield counted("3.7", "AMSGrad, rate .1", runs["AMSGrad"][-1], FAILURES["AMSGrad"], 6)
    yield below("3.7", "rate .1: AMSGrad ends lower than Adam", "AMSGrad", "Adam", -1)
    yield alike("3.7", "rate .1: Nadam fails less Adam fails", runs["Nadam"][-1], runs["Adam"][-1])
    off = counted("3.7", "Nadam, rate .1", runs["Nadam"][-1], FAILURES["Nadam"], 6)
    yield is_true("3.7", "not as printed: Nadam fails in more than 1 of 6, by 2.6 deviations", not off.passed)


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
