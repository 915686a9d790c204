"""Easy first, trained before, on one scale: what do curriculum, fine-tuning and normalisation do? (S100; S17, S32)

The lectures name them as help for the optimizer, with no numbers; here are some, on handwritten digits.

- Curriculum (Bengio et al. 2009): one pass over 1200 digits, which are hard where a linear model gives their label
  little probability.  It does not help here: easy first and hard first both end behind the random order, because
  digits of a kind come together in both.
- Fine-tuning, 50 digits to learn from: where they are the known ones shifted by a pixel, a network that has read those
  before is ahead for the first 20 updates, and level from then on.  Where they are turned by 90 degrees it begins with
  a larger loss than one that starts anew, sure of the wrong answers, and ends no better.
- Normalisation: hidden units with mean 0 and variance 1 over the batch (Ioffe & Szegedy 2015) or over the units
  (Ba et al. 2016) in a network of eight layers.  Both learn at rates ten times lower than the plain one; over the batch
  it also ends lower at its best rate, and does not mind in what units the pixels come.
"""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdlab
from gdlab.problems import digits, network, network_accuracy, network_loss

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, farthest, is_true
from ..reporting.standard_errors import EVEN, error_of_share
from ..workloads.plain_network import accuracy, descended

QUESTION = "What do curriculum, fine-tuning and normalisation do? (S100)"
SIZES, LEARNT, BATCH = (64, 32, 10), 1200, 10
DEEP = (64, *[16] * 7, 10)
RATES = np.logspace(-3, 1, 9)
UNITS = (1.0, 16.0)
SEEDS = 5


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "curriculum", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure; a quick one leaves the curricula out."""
    lessons, tuned = None if quick else curricula(), fine_tuned()
    deep = normalised(RATES[::2] if quick else RATES)
    checks = [*written_out(tuned), *faster(tuned.median("seed")), *standardised(), *plain_by_loop(deep), *deeper(deep)]
    return checks if quick else [*easy_first(lessons), *checks], lambda: draw(lessons, tuned.median("seed"), deep)


def divided():
    """1200 digits to learn, and the others."""
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(labels))
    return tuple((images[part], labels[part]) for part in (order[:LEARNT], order[LEARNT:]))


def curricula():
    """The accuracy on other digits along one pass: easy first, in random order, hard first; SEEDS starts each."""
    (images, labels), test = divided()
    linear = network(jax.random.key(9), (64, 10))
    teacher = gdlab.minimize(network_loss, gdlab.momentum(0.2), linear, 100, args=((images, labels),)).params
    losses = jax.vmap(lambda image, label: network_loss(teacher, (image[None], label[None])))(images, labels)
    easy = np.argsort(np.asarray(losses))
    orders = {"easy first": easy, "random": np.arange(LEARNT), "hard first": easy[::-1]}

    def learnt(order, seed):
        batches = jax.tree.map(lambda leaf: leaf[orders[order]].reshape(-1, BATCH, *leaf.shape[1:]), (images, labels))
        each, start = {"params": lambda moment: moment.params}, network(jax.random.key(seed), SIZES)
        run = gdlab.minimize(
            network_loss, gdlab.sgd(0.2), start, LEARNT // BATCH, batches=batches, record=each, every=4
        )
        return jax.vmap(lambda params: network_accuracy(params, test))(run.history["params"])

    return gdlab.sweep(learnt, order=list(orders), seed=np.arange(SEEDS))


def fine_tuned():
    """What is read while 50 changed digits are learnt, after upright ones and anew; and the losses: 3 starts each."""
    (images, labels), (others, truth) = divided()
    kinds = {"shifted": lambda x: jnp.roll(x, 1, axis=2), "turned": lambda x: jnp.rot90(x, axes=(1, 2))}

    def learnt(kind, before, seed):
        change = lambda x: kinds[kind](x.reshape(-1, 8, 8)).reshape(-1, 64)  # noqa: E731
        start = network(jax.random.key(seed), SIZES)
        if before == "fine-tuned":
            start = gdlab.minimize(network_loss, gdlab.momentum(0.1), start, 200, args=((images, labels),)).params
        few = (change(images[:50]), labels[:50])
        run = gdlab.minimize(
            network_loss, gdlab.momentum(0.1), start, 100, args=(few,), record=("loss", "params"), every=2
        )
        reads = jax.vmap(lambda params: network_accuracy(params, (change(others), truth)))(run.history["params"])
        return {"reads": reads, "loss": run.history["loss"]}

    swept = gdlab.sweep(learnt, kind=list(kinds), before=["anew", "fine-tuned"], seed=np.arange(3))
    return swept[["reads", "loss"]]


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
        weights, due = descended(ready if before == "fine-tuned" else start, [few] * 98, 0.1, 0.9)
        found = tuned.sel(kind=kind, before=before, seed=0)
        off = farthest(found["loss"].values[:-1] / due[::2], 1)
        yield at_most("S100", f"{kind} digits, {before}: 98 losses over NumPy's - 1", off, 1e-9)  # rounding, grown
        read = accuracy(weights, kinds[kind](others).reshape(-1, 64), truth)
        last = found["reads"].values[-1]  # a rounding may tell a digit, no more
        yield Check(
            "S100", f"{kind} digits, {before}: share read after 98, less NumPy's", last, read, 1.01 / len(truth)
        )


def layered(params, inputs, norm):
    """The logits of a network each of whose layers is normalised before tanh, or not."""
    *hidden, last = params
    for layer in hidden:
        inputs = jnp.tanh(norm(inputs @ layer["w"] + layer["b"]))
    return inputs @ last["w"] + last["b"]


def standard(axis):
    """Mean 0 and variance 1 along an axis: 0 is the batch, 1 the units of a layer."""
    return lambda z: (z - z.mean(axis, keepdims=True)) / jnp.sqrt(z.var(axis, keepdims=True) + 1e-5)


def standardised():
    """Mean 0 and variance v / (v + 1e-5), along the axis of the name."""
    z = np.random.default_rng(0).normal(1.0, 0.01, size=(20, 7))
    for axis, name in enumerate(("batch", "layer")):
        found, v = np.asarray(standard(axis)(jnp.asarray(z))), z.var(axis)
        off = farthest(found.mean(axis), 0) + farthest(found.var(axis), v / (v + 1e-5))
        yield at_most("S100", f"{name}: mean, and variance - v / (v + 1e-5)", off, 1e-10)  # rounding over the deviation


def normalised(rates):
    """The loss of a deep network after 200 updates, by norm, rate and the unit of the pixels."""
    images, labels = jax.tree.map(lambda leaf: leaf[:200], divided()[0])
    norms = {"none": lambda z: z, "batch": standard(0), "layer": standard(1)}
    start = network(jax.random.key(0), DEEP)

    def learnt(norm, rate, unit):
        def loss(params):
            return optax.softmax_cross_entropy_with_integer_labels(layered(params, unit * images, norm), labels).mean()

        return {"loss": loss(gdlab.minimize(loss, gdlab.sgd(rate), start, 200).params)}

    return gdlab.sweep(learnt, norm=norms, rate=rates, unit=np.array(UNITS))


def easy_first(lessons):
    """What is read after one pass, the mean of the starts."""
    reads = lessons["value"].isel(value_0=-1).mean("seed")
    random = float(reads.sel(order="random"))
    return [
        is_true(
            "S100", f"{order}: reads less after one pass than the random order", float(reads.sel(order=order)) < random
        )
        for order in ("easy first", "hard first")
    ]


def faster(tuned):
    """Fine-tuning on digits that are near and on digits that are far."""
    lead = tuned["reads"].sel(before="fine-tuned") - tuned["reads"].sel(before="anew")
    near, far = (lead.sel(kind=kind).values for kind in ("shifted", "turned"))
    first = tuned["loss"].isel(loss_0=0).sel(kind="turned")
    error = error_of_share(EVEN, len(divided()[1][1]), sigmas=2)  # of so many digits, at the most
    return (
        is_true("S100", "shifted digits: fine-tuned is ahead for the first 10 updates", (near[:5] > error).all()),
        at_most("S100", "shifted digits: lead after 100, within two standard errors", abs(near[-1]), error),
        is_true(
            "S100",
            "turned digits: it begins with a larger loss than anew, and than the log 10 of knowing nothing",
            first[1] > max(first[0], np.log(10)),
        ),
        is_true("S100", "turned digits: it ends no better by two standard errors", far[-1] < error),
    )


def plain_by_loop(deep):
    """The plain deep network's loss after 200 updates, in either unit of the pixels, by a network in NumPy."""
    images, labels = (np.asarray(leaf)[:200] for leaf in divided()[0])
    rate = float(deep["rate"].sel(rate=0.01, method="nearest"))  # at larger ones rounding grows
    for unit in UNITS:
        fed = [(unit * images, labels)] * 201
        due = descended(network(jax.random.key(0), DEEP), fed, rate)[1][-1]
        found = float(deep["loss"].sel(norm="none", unit=unit, rate=rate))
        yield Check("S100", f"no norm, rate .01, pixels times {unit:g}: loss over NumPy's", found / due, 1.0, 1e-9)


def deeper(deep):
    """Who learns at which rate, and whether units matter."""
    loss = deep["loss"]
    lowest = {norm: float(loss.sel(norm=norm, unit=1.0).min()) for norm in loss["norm"].values}
    small = loss.sel(rate=slice(0, 0.2), unit=1.0)
    slow = loss.sel(rate=slice(0, 0.5))
    units = abs(slow.sel(unit=UNITS[1]) / slow.sel(unit=UNITS[0]) - 1).max("rate")
    faster_at = {norm: small.sel(norm=norm) < small.sel(norm="none") for norm in ("batch", "layer")}
    return (
        is_true("S100", "batch: lower than the plain network, each at its best rate", lowest["batch"] < lowest["none"]),
        *(
            is_true("S100", f"{norm}: has learnt more than the plain network at every rate up to .1", lower.all())
            for norm, lower in faster_at.items()
        ),
        at_most(
            "S32", "batch: pixels from 0 to 16 change the loss by, relative", float(units.sel(norm="batch")), 1e-3
        ),  # the 1e-5 beside a variance of .01 or more: without it they would change nothing
        is_true(
            "S32",
            "they change the plain network's by more than that bound",
            float(units.sel(norm="none")) > 1e-3,
        ),
    )


def draw(lessons, tuned, deep):
    """The pass, the fine-tuning, the rates."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4))
    left.axison = lessons is not None
    if lessons is not None:
        seen = np.arange(0, LEARNT, 4 * BATCH)
        for order, colour in zip(lessons["order"].values, figures.PALETTE, strict=False):
            figures.band(seen, lessons["value"].sel(order=order).values.T, label=str(order), color=colour, ax=left)
        left.legend(fontsize=7)
    left.set(xlabel="digits seen, each once", ylabel="accuracy on other digits", title="curriculum")
    for kind, dash in zip(tuned["kind"].values, ("-", "--"), strict=True):
        for before, colour in zip(tuned["before"].values, figures.PALETTE, strict=False):
            reads = tuned["reads"].sel(kind=kind, before=before)
            middle.plot(np.arange(0, 100, 2), reads, dash, color=colour, label=f"{kind}, {before}")
    middle.set(xlabel="updates on 50 digits", ylabel="accuracy on other digits", title="fine-tuning")
    for norm, colour in zip(deep["norm"].values, figures.PALETTE, strict=False):
        for unit, dash in zip(UNITS, ("-", "--"), strict=True):
            losses = deep["loss"].sel(norm=norm, unit=unit)
            right.plot(deep["rate"], losses, dash, color=colour, marker=".", label=f"{norm}, pixels to {unit:g}")
    right.set(xscale="log", yscale="log", xlabel="rate", ylabel="loss after 200 updates", title="eight layers, by norm")
    for axes in (middle, right):
        axes.legend(fontsize=7)
    return figure
