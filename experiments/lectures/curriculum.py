"""Easy first, trained before, on one scale: what do curriculum, fine-tuning and normalisation do? (S100; S17, S32)

The lectures name them as help for the optimizer, with no numbers; here are some, on handwritten digits.

- Curriculum (Bengio et al. 2009): one pass over 1200 digits, which are hard where a linear model gives their label
  little probability.  It does not help here: easy first and hard first both end behind the random order.
- Fine-tuning, 50 digits to learn from: where they are the known ones shifted by a pixel, a network that has read those
  before is ahead for the first 10 updates, and level after 100.  Where they are turned by 90 degrees it begins with
  a larger loss than one that starts anew, sure of the wrong answers, and ends behind it.
- Normalisation: hidden units with mean 0 and variance 1 over the batch (Ioffe & Szegedy 2015) or over the units
  (Ba et al. 2016) in a network of eight layers.  Both have learnt more than the plain one at every rate up to .1;
  over the batch it also ends lower at its best rate, and does not mind in what units the pixels come, if its epsilon is
  in them, too.
"""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdlab
from gdlab.problems import digits, network, network_accuracy, network_logits, network_loss

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, farthest, is_true
from ..reporting.standard_errors import at_the_others_best, least_lead, most_apart
from ..workloads.plain_network import accuracy, descended, outputs

QUESTION = "What do curriculum, fine-tuning and normalisation do? (S100)"
SIZES, LEARNT, BATCH = (64, 32, 10), 1200, 10
DEEP = (64, *[16] * 7, 10)
RATES = np.logspace(-3, 1, 9)
UNITS = (1.0, 16.0)  # of the pixels; a power of two, which rounds nothing
EPS = 1e-5  # beside a variance
SEEDS = 32  # of the curricula
TUNED = 6  # starts of the fine-tuned network
STARTS = 6  # of the deep network; one in a quick run


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "curriculum", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure; a quick one leaves out the curricula, and which norm is better, for want of starts."""
    lessons, tuned = None if quick else curricula(), fine_tuned()
    deep = normalised(RATES[::2], 1) if quick else normalised(RATES, STARTS)
    checks = [
        *by_losses(),
        *written_out(tuned),
        *faster(tuned),
        *standardised(),
        *plain_by_loop(deep),
        *in_other_units(deep),
    ]
    judged = checks if quick else [*easy_first(lessons), *checks, *deeper(deep)]
    return judged, lambda: draw(lessons, tuned.median("seed"), deep)


def divided():
    """1200 digits to learn, and the others."""
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(labels))
    return tuple((images[part], labels[part]) for part in (order[:LEARNT], order[LEARNT:]))


def ordered():
    """The digits by the losses of a linear model: the easiest first, the hardest first; none for a random order."""
    images, labels = divided()[0]
    teacher = gdlab.minimize(network_loss, gdlab.momentum(0.2), linear(), 100, args=((images, labels),)).params
    losses = jax.vmap(lambda image, label: network_loss(teacher, (image[None], label[None])))(images, labels)
    easy = np.argsort(np.asarray(losses))
    return {"easy first": easy, "random": None, "hard first": easy[::-1]}


def linear():
    """The linear model before it is trained."""
    return network(jax.random.key(9), (64, 10))


def by_losses():
    """Along both orders, the losses of a linear model in NumPy."""
    images, labels = (np.asarray(leaf) for leaf in divided()[0])
    weights, _ = descended(linear(), [(images, labels)] * 100, 0.2, 0.9)
    losses = -np.log(outputs(images, *weights)[1][np.arange(len(labels)), labels])
    orders = ordered()
    for order, rising in (("easy first", orders["easy first"]), ("hard first", orders["hard first"][::-1])):
        off = farthest(losses[rising], np.sort(losses))
        yield at_most("S100", f"{order}: a linear model's losses along it, off those in order", off, 1e-9)


def curricula():
    """The accuracy on other digits along one pass: easy first, in a random order of each seed, hard first."""
    (images, labels), test = divided()
    orders = ordered()

    def learnt(order, seed):
        shuffled = jax.random.permutation(jax.random.key(seed + 100), LEARNT)
        at = shuffled if orders[order] is None else orders[order]
        batches = jax.tree.map(lambda leaf: leaf[at].reshape(-1, BATCH, *leaf.shape[1:]), (images, labels))
        each, start = {"params": lambda moment: moment.params}, network(jax.random.key(seed), SIZES)
        run = gdlab.minimize(
            network_loss, gdlab.sgd(0.2), start, LEARNT // BATCH, batches=batches, record=each, every=4
        )
        kept = jax.tree.map(lambda along, end: jnp.append(along, end[None], 0), run.history["params"], run.params)
        return jax.vmap(lambda params: network_accuracy(params, test))(kept)

    return gdlab.sweep(learnt, order=list(orders), seed=np.arange(SEEDS))


def fine_tuned():
    """Which digits are read while 50 changed ones are learnt, after upright ones and anew; and the losses."""
    (images, labels), (others, truth) = divided()
    kinds = {"shifted": lambda x: jnp.roll(x, 1, axis=2), "turned": lambda x: jnp.rot90(x, axes=(1, 2))}

    def learnt(kind, before, seed):
        change = lambda x: kinds[kind](x.reshape(-1, 8, 8)).reshape(-1, 64)  # noqa: E731
        start = network(jax.random.key(seed), SIZES)
        if before == "fine-tuned":
            start = gdlab.minimize(network_loss, gdlab.momentum(0.1), start, 200, args=((images, labels),)).params
        few = (change(images[:50]), labels[:50])
        run = gdlab.minimize(
            network_loss, gdlab.momentum(0.1), start, 101, args=(few,), record=("loss", "params"), every=2
        )
        said = jax.vmap(lambda params: network_logits(params, change(others)).argmax(1))(run.history["params"])
        return {"right": said == truth, "loss": run.history["loss"]}

    swept = gdlab.sweep(learnt, kind=list(kinds), before=["anew", "fine-tuned"], seed=np.arange(TUNED))
    swept = swept[["right", "loss"]].rename(right_0="time", right_1="digit")
    return swept.assign(reads=swept["right"].mean("digit"))


def written_out(tuned):
    """Losses and readings of the first seed on changed digits, anew and fine-tuned, by a network in NumPy."""
    (images, labels), (others, truth) = (tuple(np.asarray(leaf) for leaf in part) for part in divided())
    kinds = {
        "turned": lambda x: np.rot90(x.reshape(-1, 8, 8), axes=(1, 2)).reshape(-1, 64),
        "shifted": lambda x: np.concatenate([x.reshape(-1, 8, 8)[:, :, 7:], x.reshape(-1, 8, 8)[:, :, :7]], 2),
    }
    start = network(jax.random.key(0), SIZES)
    (w1, b1, w2, b2), _ = descended(start, [(images, labels)] * 200, 0.1, 0.9)
    ready = [{"w": w1, "b": b1}, {"w": w2, "b": b2}]
    for kind, before in product(kinds, ("anew", "fine-tuned")):
        few = kinds[kind](images[:50]).reshape(-1, 64), labels[:50]
        weights, due = descended(ready if before == "fine-tuned" else start, [few] * 100, 0.1, 0.9)
        found = tuned.sel(kind=kind, before=before, seed=0)
        off = farthest(found["loss"].values[:-1] / due[::2], 1)
        yield at_most("S100", f"{kind} digits, {before}: 100 losses over NumPy's - 1", off, 1e-9)  # rounding, grown
        read = accuracy(weights, kinds[kind](others).reshape(-1, 64), truth)
        last = found["reads"].values[-1]  # a rounding may tell a digit, no more
        yield Check(
            "S100", f"{kind} digits, {before}: share read after 100, less NumPy's", last, read, 1.01 / len(truth)
        )


def layered(params, inputs, norm, unit=1.0):
    """The logits of a network each of whose layers is normalised before tanh, or not; the first in units of inputs."""
    *hidden, last = params
    for eps, layer in zip((EPS * unit**2, *[EPS] * len(hidden[1:])), hidden, strict=True):
        inputs = jnp.tanh(norm(inputs @ layer["w"] + layer["b"], eps))
    return inputs @ last["w"] + last["b"]


def standard(axis):
    """Mean 0 and variance 1 along an axis: 0 is the batch, 1 the units of a layer."""
    return lambda z, eps: (z - z.mean(axis, keepdims=True)) / jnp.sqrt(z.var(axis, keepdims=True) + eps)


NORMS = {"none": lambda z, eps: z, "batch": standard(0), "layer": standard(1)}


def standardised():
    """Mean 0 and variance v / (v + 1e-5), along the axis of the name; and the logits that come of it, by a loop."""
    z = np.random.default_rng(0).normal(1.0, 0.01, size=(20, 7))
    for axis, name in enumerate(("batch", "layer")):
        found, v = np.asarray(NORMS[name](jnp.asarray(z), EPS)), z.var(axis)
        # rounding over the deviation
        yield at_most("S100", f"{name}: mean", farthest(found.mean(axis), 0), 1e-10)
        yield at_most("S100", f"{name}: variance - v / (v + 1e-5)", farthest(found.var(axis), v / (v + 1e-5)), 1e-10)
        params, images = network(jax.random.key(0), DEEP), np.asarray(divided()[0][0])[:20]
        *hidden, last = jax.tree.map(np.asarray, params)
        for unit in UNITS:
            x = unit * images
            for i, layer in enumerate(hidden):
                z = x @ layer["w"] + layer["b"]
                eps = 1e-5 * unit**2 if i == 0 else 1e-5
                parts = z.T if axis == 0 else z
                parts = np.stack([(part - part.mean()) / np.sqrt(part.var() + eps) for part in parts])
                x = np.tanh(parts.T if axis == 0 else parts)
            due = x @ last["w"] + last["b"]
            off = farthest(layered(params, unit * images, NORMS[name], unit), due)
            yield at_most("S100", f"{name}, pixels times {unit:g}: logits of eight layers - a loop's", off, 1e-9)


def normalised(rates, starts):
    """The loss of a deep network after 200 updates, by norm, rate, the unit of the pixels, and start."""
    images, labels = jax.tree.map(lambda leaf: leaf[:200], divided()[0])

    def learnt(norm, rate, unit, seed):
        def loss(params):
            said = layered(params, unit * images, norm, unit)
            return optax.softmax_cross_entropy_with_integer_labels(said, labels).mean()

        start = network(jax.random.key(seed), DEEP)
        return {"loss": loss(gdlab.minimize(loss, gdlab.sgd(rate), start, 200).params)}

    return gdlab.sweep(learnt, norm=NORMS, rate=rates, unit=np.array(UNITS), seed=np.arange(starts))


def easy_first(lessons):
    """What is read after one pass, beside what the same start reads in its random order."""
    reads = lessons["value"].isel(value_0=-1)
    return [
        is_true(
            "S100",
            f"{order}: reads less after one pass than the random order, mean of {SEEDS} starts, beyond chance",
            least_lead(reads.sel(order="random"), reads.sel(order=order)) > 0,
        )
        for order in ("easy first", "hard first")
    ]


def faster(tuned):
    """Fine-tuning on digits that are near and on digits that are far: the mean of all starts, by Student's t."""
    reads = tuned["reads"].transpose("kind", "time", "seed", "before")
    lead = reads.sel(before="fine-tuned") - reads.sel(before="anew")  # of each start
    near, far = (lead.sel(kind=kind).values for kind in ("shifted", "turned"))
    first = tuned["loss"].isel(loss_0=0).sel(kind="turned").transpose("before", "seed").values
    return (
        is_true(
            "S100",
            "shifted digits: fine-tuned is ahead for the first 10 updates, beyond chance",
            (least_lead(near[:5]) > 0).all(),
        ),
        at_most(
            "S100",
            "shifted digits: lead after 100, and what chance may add: half of the lead of the first 10 updates",
            most_apart(near[-1]),
            near[:5].mean() / 2,
        ),
        is_true(
            "S100",
            "turned digits: it begins with a larger loss than anew, and than the log 10 of knowing nothing",
            least_lead(first[1], np.maximum(first[0], np.log(10))) > 0,
        ),
        is_true(
            "S100",
            "turned digits: it reads less after 100 than anew, beyond chance",
            least_lead(0.0, far[-1]) > 0,
        ),
    )


def plain_by_loop(deep):
    """The plain deep network's loss after 200 updates, in either unit of the pixels, by a network in NumPy."""
    images, labels = (np.asarray(leaf)[:200] for leaf in divided()[0])
    rate = float(deep["rate"].sel(rate=0.01, method="nearest"))  # at larger ones rounding grows
    for unit in UNITS:
        fed = [(unit * images, labels)] * 201
        due = descended(network(jax.random.key(0), DEEP), fed, rate)[1][-1]
        found = float(deep["loss"].sel(norm="none", unit=unit, rate=rate, seed=0))
        yield Check("S100", f"no norm, rate .01, pixels times {unit:g}: loss over NumPy's", found / due, 1.0, 1e-9)


def in_other_units(deep):
    """What the batch normalises is the same in any unit of the pixels, where epsilon is in them, too (S32)."""
    slow = deep["loss"].sel(norm="batch").sel(rate=slice(0, 0.2))  # at larger ones rounding grows
    off = farthest(slow.sel(unit=UNITS[1]) / slow.sel(unit=UNITS[0]), 1)
    yield at_most("S32", "batch, rates up to .1: pixels from 0 to 16 change the loss by, relative", off, 1e-9)


def deeper(deep):
    """Who learns at which rate: the logarithms of the losses, of all starts."""
    loss = np.log(deep["loss"].sel(unit=1.0)).transpose("rate", "norm", "seed")
    losses = {norm: loss.sel(norm=norm).values for norm in ("none", "batch", "layer")}
    slow = loss["rate"].values < 0.2
    return (
        is_true(
            "S100",
            f"batch: lower than the plain network, each at its best rate, mean of {STARTS} starts, beyond chance",
            least_lead(*map(at_the_others_best, (losses["none"], losses["batch"]))) > 0,
        ),
        *(
            is_true(
                "S100",
                f"{norm}: has learnt more than the plain network at every rate up to .1, likewise",
                (least_lead(losses["none"][slow], losses[norm][slow]) > 0).all(),
            )
            for norm in ("batch", "layer")
        ),
    )


def draw(lessons, tuned, deep):
    """The pass where there was one, the fine-tuning, the rates."""
    from ..reporting import figures
    from ..reporting.figures import plt

    panels = 2 if lessons is None else 3
    figure, (*left, middle, right) = plt.subplots(1, panels, figsize=(4.3 * panels, 4))
    for axes in left:
        seen = np.arange(0, LEARNT + 1, 4 * BATCH)
        for order, colour in zip(lessons["order"].values, figures.PALETTE, strict=False):
            figures.band(seen, lessons["value"].sel(order=order).values.T, label=str(order), color=colour, ax=axes)
        axes.legend(fontsize=7)
        axes.set(xlabel="digits seen, each once", ylabel="accuracy on other digits", title="curriculum")
    for kind, dash in zip(tuned["kind"].values, ("-", "--"), strict=True):
        for before, colour in zip(tuned["before"].values, figures.PALETTE, strict=False):
            reads = tuned["reads"].sel(kind=kind, before=before)
            middle.plot(np.arange(0, 101, 2), reads, dash, color=colour, label=f"{kind}, {before}")
    middle.set(xlabel="updates on 50 digits", ylabel="accuracy on other digits", title="fine-tuning")
    for norm, colour in zip(deep["norm"].values, figures.PALETTE, strict=False):
        for unit, dash in zip(UNITS, ("-", "--"), strict=True):
            losses = deep["loss"].sel(norm=norm, unit=unit).median("seed")
            right.plot(deep["rate"], losses, dash, color=colour, marker=".", label=f"{norm}, pixels to {unit:g}")
    right.set(xscale="log", yscale="log", xlabel="rate", ylabel="loss after 200 updates", title="eight layers, by norm")
    for axes in (middle, right):
        axes.legend(fontsize=7)
    return figure
