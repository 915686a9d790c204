"""What do shuffling, dropout and noise on the gradient do? (S99; S49)

The lectures' list of ways to explore more, on handwritten digits.

- Shuffling: one pass in the order of the classes ends with a network that reads little but the last class; the same
  pass in random order reads most.
- Dropout: h <- h z / (1 - p), with z drawn anew for each unit and example, leaves the mean of the logits as it is and
  gives them the variance p / (1 - p) sum h^2 w^2.  On 300 digits of which every third has a wrong label it is slower to
  memorise wrong labels and reads more unseen digits meanwhile; but it only delays: the lead melts as the updates go on.
- Noise on the gradient, g + N(0, eta / (1 + t)^gamma) (Neelakantan et al. 2015): ours, a chain of optax's, is
  `optax.noisy_sgd`; its variance is as stated; and it leaves the saddle at 0 of (1 - w1 w2)^2 and of a
  network whose weights all start at 0, which plain descent leaves at 0 but for the last biases.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdlab
from gdlab.problems import digits, network, network_accuracy, network_logits, network_loss, surface

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true
from ..reporting.standard_errors import error_of_mean, error_of_share, error_of_variance, least_lead
from ..workloads.plain_network import accuracy, descended, outputs

QUESTION = "What do shuffling, dropout and noise on the gradient do? (S99)"
SIZES = (64, 32, 10)
LEARNT, BATCH = 1200, 10
WRONG, DROPPED = 1 / 3, 0.5
STARTS = 8  # of the runs without and with dropout
ETA, GAMMA = 0.01, 0.55  # of the noise, as in optax
KEYS = 100  # of the noise that leaves the saddle


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "exploration", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure; a quick one leaves the training with dropout out."""
    passes, saddles, dropouts = one_pass(), from_zero(), None if quick else dropped()
    draws = 5000 if quick else 20_000
    checks = [*shuffled(passes), *law_of_dropout(draws), *every_third(), *noise(draws), *left(saddles)]
    return checks if quick else [*checks, *remembered(dropouts)], lambda: draw(passes, dropouts, saddles)


def divided():
    """1200 digits to learn, and the others."""
    images, labels = digits()
    order = np.random.default_rng(0).permutation(len(labels))
    return tuple((images[part], labels[part]) for part in (order[:LEARNT], order[LEARNT:]))


def one_pass():
    """The accuracy on other digits along one pass over the digits, sorted by class and shuffled."""
    (images, labels), test = divided()
    orders = {"sorted by class": np.argsort(np.asarray(labels), kind="stable"), "shuffled": np.arange(LEARNT)}
    start = network(jax.random.key(0), SIZES)

    def learnt(order):
        batches = jax.tree.map(lambda leaf: leaf[order].reshape(-1, BATCH, *leaf.shape[1:]), (images, labels))
        each = {"params": lambda moment: moment.params}
        run = gdlab.minimize(network_loss, gdlab.sgd(0.2), start, LEARNT // BATCH, batches=batches, record=each)
        reads = jax.lax.map(lambda params: network_accuracy(params, test), run.history["params"])
        said = jnp.argmax(network_logits(run.params, test[0]), axis=1)
        fed = zip(*(np.asarray(leaf) for leaf in batches), strict=True)
        weights, _ = descended(start, fed, 0.2)
        due = outputs(test[0], *weights)[1].argmax(1) >= 8
        return {
            "accuracy": np.append(reads, network_accuracy(run.params, test)),
            "nines": (np.asarray(said) >= 8).mean(),
            "by NumPy": (accuracy(weights, *test), due.mean()),
        }

    return {name: learnt(order) for name, order in orders.items()}


def shuffled(passes):
    """Who reads what after the pass."""
    by_class, mixed = passes["sorted by class"], passes["shuffled"]
    last = np.asarray(divided()[1][1]) >= 8  # the classes that came last
    return (
        *(
            exactly("S99", f"{name}: {what} after one pass, against NumPy", found, due)
            for name, run in passes.items()
            for what, found, due in zip(
                ("accuracy", "share read as 8 or 9"), (run["accuracy"][-1], run["nines"]), run["by NumPy"], strict=True
            )
        ),
        # Most, and little but, are more than half.
        is_true("S99", "shuffled: reads most of the digits after one pass", mixed["accuracy"][-1] > 0.5),
        at_most("S99", "sorted by class: no more than the last two classes", by_class["accuracy"][-1], last.mean()),
        is_true("S99", "sorted by class: more than half are read as 8 or 9", by_class["nines"] > 0.5),
    )


def with_dropout(params, inputs, key, share):
    """The logits, each hidden unit left out with a probability, the others made larger."""
    hidden, last = params
    h = jnp.tanh(inputs @ hidden["w"] + hidden["b"])
    kept = jax.random.bernoulli(key, 1 - share, h.shape)
    return h * kept / (1 - share) @ last["w"] + last["b"]


def law_of_dropout(count):
    """Many draws on two copies of one image: what the logits are on average, and that units are left out one by one.

    The terms h_j z_j w_jk / (1 - p) of a logit are independent: their variances p / (1 - p) (h_j w_jk)^2 add up.
    """
    inputs, share = jnp.repeat(digits()[0][:1], 2, axis=0), 0.3
    params = [{"w": layer["w"], "b": layer["w"][0]} for layer in network(jax.random.key(0), SIZES)]  # no bias is 0
    keys = jax.random.split(jax.random.key(1), count)
    draws = np.asarray(jax.jit(jax.vmap(lambda key: with_dropout(params, inputs, key, share)))(keys))
    w, b, u, c = (np.asarray(layer[name]) for layer in params for name in "wb")
    h = np.tanh(np.asarray(inputs[0]) @ w + b)
    off = draws - (h @ u + c)
    variance = share / (1 - share) * h**2 @ u**2
    found = {
        "mean of the logits is what it is without": (draws, h @ u + c),
        "variance is p / (1 - p) sum h^2 w^2, covariance of two copies of one image 0": (
            np.einsum("nik,njk->nkij", off, off),
            variance[:, None, None] * np.eye(2),
        ),
    }
    for name, (values, due) in found.items():
        within = np.abs(values.mean(0) - due) <= error_of_mean(values, axis=0)
        yield is_true("S99", f"dropout, {count // 1000} 000 draws: {name}, within four standard errors", within.all())


def mislabeled():
    """The true labels of 300 digits, those to learn from, and which of these are drawn from the nine wrong ones."""
    rng, truth = np.random.default_rng(1), divided()[0][1][:300]
    wrong = jnp.asarray(rng.uniform(size=300) < WRONG)
    return truth, jnp.where(wrong, (rng.integers(1, 10, 300) + truth) % 10, truth), wrong


def every_third():
    """A third of the labels are wrong, and these are the ones whose memory is counted."""
    truth, labels, wrong = map(np.asarray, mislabeled())
    share = (labels != truth).mean()
    return (
        Check(
            "S99",
            "share of the 300 labels that are wrong, four standard errors",
            share,
            1 / 3,
            error_of_share(1 / 3, 300),
        ),
        exactly(
            "S99", "labels counted as wrong that are right, or the other way", (wrong != (labels != truth)).sum(), 0
        ),
    )


def dropped():
    """Accuracies without and with dropout on digits of which every third has a wrong label, from each of the starts."""
    (images, _), test = divided()
    images, (_, labels, wrong) = images[:300], mislabeled()

    def loss(params, share, *, key):
        logits = with_dropout(params, images, key, share)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))

    def learnt(share, seed):
        start = network(jax.random.key(seed), (64, 64, 10))
        run = gdlab.minimize(
            loss, gdlab.adam(3e-3), start, 600, args=(share,), key=jax.random.key(seed), record=("params",), every=20
        )
        params = run.history["params"]
        memory = jax.vmap(
            lambda p: jnp.sum(wrong * (jnp.argmax(network_logits(p, images), 1) == labels)) / jnp.sum(wrong)
        )
        return {"unseen": jax.vmap(lambda p: network_accuracy(p, test))(params), "memorised": memory(params)}

    return gdlab.sweep(learnt, share=jnp.array([0.0, DROPPED]), seed=jnp.arange(STARTS))


def flat(_):
    """A loss without slope."""
    return jnp.zeros(())


def noise(count):
    """Ours is optax's noisy_sgd, with the variance eta / (1 + t)^gamma."""
    key, zeros = jax.random.key(3), jnp.zeros(count)
    ours = gdlab.chain(optax.add_noise(ETA, GAMMA, key), gdlab.sgd(0.5), optax.scale(2.0))  # parts on either side
    paths = [
        np.asarray(gdlab.minimize(flat, o, zeros, 100, record=("params",), every=1).history["params"])
        for o in (ours, optax.noisy_sgd(1.0, ETA, GAMMA, key))
    ]
    drawn, t = np.diff(paths[0], axis=0), np.arange(99)
    shape = drawn.var(1) / ETA * (1 + t) ** GAMMA
    return (
        at_most("S99", "our chain - optax.noisy_sgd, 100 steps", farthest(*paths), 1e-12),
        at_most(
            "S99", "variance of the noise over eta/(1 + t)^gamma - 1", farthest(shape, 1), error_of_variance(count)
        ),
    )


def from_zero():
    """The losses of descent without and with noise, from the saddle of (1 - w1 w2)^2 and from a network of zeros."""
    data = jax.tree.map(lambda leaf: leaf[:300], divided()[0])
    losses = {"saddle": lambda w: surface("linear_net").loss(w), "network": lambda p: network_loss(p, data)}
    starts = {"saddle": jnp.zeros(2), "network": jax.tree.map(jnp.zeros_like, network(jax.random.key(0), SIZES))}
    optimizers = {"plain": gdlab.sgd(0.1), "noise": noisy(jax.random.key(4))}
    return {
        (place, name): np.asarray(gdlab.minimize(losses[place], optimizer, starts[place], 1000).history["loss"])
        for place in losses
        for name, optimizer in optimizers.items()
    }


def noisy(key):
    """Descent at the rate .1 on gradients with noise."""
    return gdlab.chain(optax.add_noise(ETA, GAMMA, key), gdlab.sgd(0.1))


def over_its_floor():
    """The loss of (1 - w1 w2)^2 with noise over that of its floor, a mean of updates 200 to 1000 for each key."""

    def losses(key):
        return gdlab.minimize(lambda w: surface("linear_net").loss(w), noisy(key), jnp.zeros(2), 1000).history["loss"]

    found = np.asarray(jax.jit(jax.vmap(losses))(jax.random.split(jax.random.key(5), KEYS)))
    # Across the valley the curvature is a = 4 at (1, 1): a / 2 times the variance eta s^2 / (a (2 - a eta)).
    # Along the valley the noise has a deviation of .07, by which a is 1 % larger, and in an update s^2 falls by .3 % at
    # most: both change the loss by less than 1 %.
    floor = 0.1 * ETA / np.arange(201, 1001) ** GAMMA / (2 * (2 - 4 * 0.1))
    return (found[:, 200:] / floor).mean(1)


def by_loop(losses):
    """The same losses from the saddle with noise, by a loop in NumPy on the noise that a flat loss shows."""
    still = gdlab.minimize(flat, noisy(jax.random.key(4)), jnp.zeros(2), 1000, record=("update",))
    w, due = np.zeros(2), []
    for drawn in np.asarray(still.history["update"]):
        due.append((1 - w[0] * w[1]) ** 2)
        w = drawn + w + 0.2 * (1 - w[0] * w[1]) * w[::-1]
    off = farthest(losses, due)
    return at_most("S49", "(1 - w1 w2)^2 from 0 with noise: 1000 losses off a NumPy loop", off, 1e-9)


def left(saddles):
    """Who leaves."""
    stays, goes = saddles["saddle", "plain"], saddles["saddle", "noise"]
    ratios = over_its_floor()
    name = f"(1 - w1 w2)^2 from 0: loss with noise, over that of its floor, mean of {KEYS} keys"
    return (
        exactly("S49", "(1 - w1 w2)^2 from 0: loss without noise", stays[-1], 1.0),
        by_loop(goes),
        Check("S49", name, ratios.mean(), 1.0, error_of_mean(ratios)),
        *of_zeros(saddles["network", "plain"], saddles["network", "noise"]),
    )


def of_zeros(plain, noisy):
    """Without noise a network of zeros learns its last biases alone, that is the shares of the classes."""
    shares = np.bincount(np.asarray(divided()[0][1])[:300], minlength=10) / 300
    biases, due = np.zeros(10), []
    for _ in plain:
        odds = np.exp(biases) / np.exp(biases).sum()
        due.append(-shares @ np.log(odds))
        biases = biases - 0.1 * (odds - shares)
    entropy = -shares @ np.log(shares)  # the lowest loss that biases have
    return (
        at_most(
            "S99", "a network of zeros: 1000 losses off those of biases alone, by NumPy", farthest(plain, due), 1e-9
        ),
        is_true("S99", "with noise it ends lower than any biases do", noisy[-1] < entropy),
    )


def remembered(results):
    """Dropout memorises less and reads more, for a time: means over the starts, by Student's t for 99 of 100."""
    plain, dropped_out = results.sel(share=0.0), results.sel(share=DROPPED)
    lead = (dropped_out["unseen"] - plain["unseen"]).transpose("seed", ...).values[:, [10, -1]]  # after 200, at the end
    memorised = (ran["memorised"].transpose("seed", ...).values[:, -1] for ran in (plain, dropped_out))

    return (
        is_true("S99", "with dropout fewer wrong labels are memorised after 580 updates", least_lead(*memorised) > 0),
        is_true("S99", "after 200 updates dropout reads more unseen digits", least_lead(lead[:, 0]) > 0),
        is_true("S99", "after 580 its lead is smaller", least_lead(*lead.T) > 0),
    )


def draw(passes, dropouts, saddles):
    """One pass, dropout where it was tried, and the way out of zero."""
    from ..reporting import figures
    from ..reporting.figures import plt

    panels = 2 if dropouts is None else 3
    figure, (left, *middle, right) = plt.subplots(1, panels, figsize=(4.3 * panels, 4))
    seen = np.arange(LEARNT // BATCH + 1) * BATCH
    for (name, run), colour in zip(passes.items(), figures.PALETTE, strict=False):
        left.plot(seen, run["accuracy"], color=colour, label=name)
    left.set(xlabel="digits seen, each once", ylabel="accuracy on other digits", title="shuffling")
    t = np.arange(0, 600, 20)
    for axes in middle:
        for share, colour in zip(dropouts["share"].values, figures.PALETTE, strict=False):
            of, name = dropouts.sel(share=share), f"dropout {share:g}"
            figures.band(t, of["unseen"].values.T, label=f"{name}: unseen digits read", color=colour, ax=axes)
            axes.plot(t, of["memorised"].median("seed"), "--", color=colour, label=f"{name}: wrong labels memorised")
        axes.set(xlabel="updates", ylabel="share", title="300 digits, every third label wrong")
    for i, ((place, name), losses) in enumerate(saddles.items()):
        title = {"saddle": "$(1 - w_1 w_2)^2$", "network": "a network"}[place]
        right.plot(losses, color=figures.PALETTE[i], label=f"{title}, {name}")
    right.set(xscale="symlog", xlabel="updates", ylabel="loss", title="from 0: without and with noise")
    for axes in (left, *middle, right):
        axes.legend(fontsize=7)
    return figure
