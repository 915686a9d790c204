"""Do large batches end in sharp minima, and is that why they generalise worse? (S51; section 3.12)

Between training and test a minimum moves; over a shift d the loss of a parabola of curvature c rises by c d^2 / 2, a
hundred times more in a minimum a hundred times sharper.  Networks that learn 600 digits by heart, a fifth of the labels
wrong, do as Keskar et al. say: all at once end far sharper than batches of 8 at the same rate, and the order of six
ways to train is as printed.  But the control does too: batches of 8 at a tenth of the rate are sharper than those at
the full rate, by more than half of what all at once are.  The rate over the batch size is nearer to what decides than
the batch size, though no law: batches of 60 at .1 and of 8 at .01 have nearly the same ratio, and differ.  Accuracy on
unseen digits follows.  A small network on clean digits, at the same loss, ends flatter in batches of 10 than all at
once (printed from two starts: no effect), and reads unseen digits no better.

Nor is sharpness a property of the function: an eighth of the weights below a rectifier and eight times those above
leave every output as it was, and give another sharpness (Dinh et al. 2017).
"""

from functools import partial
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
import hessian
from gdlab.problems import network_accuracy, network_loss

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true
from ..reporting.standard_errors import least_lead, most_apart, student_99
from ..workloads.digits import FLOAT, examples, start

QUESTION = "Do large batches end in sharp minima, and is that why they generalise worse? (S51; section 3.12)"
loss = partial(network_loss, activation=jax.nn.relu)
accuracy = partial(network_accuracy, activation=jax.nn.relu)
CURVATURES, OFF_THE_AXES = (1.0, 100.0), (2.0, -0.5)
COUNT, LAYERS, WRONG = 600, (64, 128, 128, 128, 10), 0.2
RUNS = {  # (optimizer, rate, batch size) -> epochs until the loss is about 1e-3, and the printed range of sharpness
    ("SGD", 0.1, 8): (110, (0.24, 0.31)),
    ("SGD", 0.1, 60): (600, (4.8, 5.6)),
    ("SGD", 0.1, 600): (3000, (16.2, 18.2)),
    ("SGD", 0.01, 8): (900, (15.3, 21.2)),
    ("Adam", 1e-3, 8): (110, (0.94, 2.55)),
    ("Adam", 1e-3, 600): (700, (22.4, 26.0)),
}
# On a third of the digits, in a smaller network: ten times the rate for nearly a tenth as long, to losses much alike.
QUICK = {("SGD", 0.1, 8): 80, ("SGD", 0.01, 8): 640}


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "flat_minima", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure."""
    epochs = QUICK if quick else {run: many for run, (many, _) in RUNS.items()}
    size = (200, (64, 32, 32, 10), 3) if quick else (COUNT, LAYERS, 2)
    found = {run: learnt_by_heart(*run, many, *size) for run, many in epochs.items()}
    # Over the small networks of a quick run Keskar's measure scatters as far as it differs.
    measured = {"curvature": "lambda_max"} if quick else {"curvature": "lambda_max", "sharpness": "sharpness"}
    checks = [*shifted(), *by_hand(), *rescaled(*size[:2]), *fast_and_slow(found, measured)]
    if not quick:
        checks += [*as_printed(found), *full_batch(found), *clean(found)]
    return checks, lambda: draw(found)


def shifted():
    """The rise over a shift of .3, from the curvature of c (1 - cos x) at its minimum (S51)."""
    for curvature, rise in ((1.0, 0.045), (100.0, 4.5)):
        model = hessian.quadratic_model(lambda x, c=curvature: c * (1 - jnp.cos(x[0])), jnp.zeros(1))
        yield exactly("S51", f"curvature {curvature:g}: rise over a shift of .3", model(jnp.array([0.3])), rise)
        yield exactly("S51", "and of a parabola that is shifted", parabola(1.0, curvature, 1.3), rise)


def by_hand():
    """Keskar's sharpness where the highest corner of the box is known: 100 rise / (1 + L), away from 0, L not 0."""
    curvatures, at = np.array(CURVATURES), np.array(OFF_THE_AXES)
    bowl = lambda w: curvatures @ w**2 / 2  # noqa: E731
    there = at + 1e-3 * (np.abs(at) + 1) * np.sign(at)
    rise = curvatures @ (there**2 - at**2) / 2
    found = hessian.sharpness(bowl, jnp.asarray(at), measure="keskar").value
    highest, due = hessian.sharpness(bowl, jnp.asarray(at)).value, 100 * rise / (1 + bowl(at))
    return (
        Check("3.12", "a bowl: Keskar's sharpness, from its corner", float(found), due, 1e-9),
        Check("3.12", "and the rise at the corner uphill", corner(bowl, jnp.asarray(at)), due, 1e-9),
        Check("S51", "and lambda_max, its larger curvature", float(highest), 100.0, 1e-9),
    )


def learnt_by_heart(name, rate, size, epochs, count, layers, seeds):
    """What each seed's network is like after its epochs: accuracy on digits learnt and unseen, both sharpnesses."""
    optimizer = {"SGD": gdlab.sgd, "Adam": gdlab.adam}[name](FLOAT(rate))
    rows = []
    for key in jax.random.split(jax.random.key(0), seeds):
        end, learnt, known, right = train(key, optimizer, size, epochs, count, layers)
        left = float(loss(end, learnt))
        rows.append({"loss": left, "learnt": float(known), "unseen": float(right), **measures(end, learnt)})
    return {what: np.array([row[what] for row in rows]) for what in rows[0]}


@partial(jax.jit, static_argnums=(2, 3, 4, 5))
def train(key, optimizer, size, epochs, count, layers):
    """A network, what it learnt from, its accuracy there and on unseen digits."""
    split, init, order = jax.random.split(key, 3)
    learnt, unseen = examples(split, count, wrong=WRONG)
    stream, steps = gdlab.minibatches(learnt, size, key=order), epochs * count // size
    ran = gdlab.minimize(loss, optimizer, start(init, layers), steps, batches=stream, record=(), every=steps)
    return ran.params, learnt, accuracy(ran.params, learnt), accuracy(ran.params, unseen)


def measures(layers, learnt):
    """Both sharpnesses."""
    keskar = hessian.sharpness(loss, layers, learnt, measure="keskar")
    return {"sharpness": float(keskar.value), "curvature": float(hessian.sharpness(loss, layers, learnt).value)}


def rescaled(count, sizes):
    """An eighth of the weights below a rectifier, eight times those above: the same function (Dinh et al. 2017)."""
    learnt, unseen = examples(jax.random.key(0), count)
    layers = start(jax.random.key(1), sizes)
    below, above, *rest = layers
    moved = [jax.tree.map(lambda leaf: leaf / 8, below), {**above, "w": 8 * above["w"]}, *rest]
    was, now = measures(layers, learnt), measures(moved, learnt)
    error = sum(float(hessian.sharpness(loss, at, learnt).error) for at in (layers, moved))
    more, highest = np.diff([was["curvature"], now["curvature"]])[0], corner(loss, moved, learnt)
    return (
        at_most(
            "S51",
            "weights / 8 and weights * 8: loss - loss before",
            farthest(loss(moved, unseen), loss(layers, unseen)),
            0.0,
        ),
        is_true("S51", "lambda_max is larger then, beyond both residuals", more > error),
        is_true("S51", "one corner of its box rises more than Keskar found before", highest > was["sharpness"]),
        is_true("S51", "and he finds no less than that corner", now["sharpness"] >= highest),
    )


def corner(loss, at, *args, epsilon=1e-3):
    """Keskar's measure at one corner of the box, the one uphill: a lower bound."""
    low, slope = jax.value_and_grad(loss)(at, *args)
    there = jax.tree.map(lambda w, g: w + epsilon * (jnp.abs(w) + 1) * jnp.sign(g), at, slope)
    return float(100 * (loss(there, *args) - low) / (1 + low))


def fast_and_slow(found, measured):
    """The control: the same small batches at a tenth of the rate, to a loss that differs by less than the curvature."""
    fast, slow = found["SGD", 0.1, 8], found["SGD", 0.01, 8]
    more = {what: float(mean(slow, what) - mean(fast, what)) for what in ("loss", *measured)}
    made = {
        name: {"sharpness": np.array(of)} for name, of in (("a", (1.0, 1, 4)), ("b", (1.0, 4, 16)), ("c", (1.0, 1, 1)))
    }
    # Of log2 the variances are 4/3, 4 and 0, in the mean 16/9; of a mean of three a third of it, of a difference twice.
    due = student_99(3 * 2) * (2 * 16 / 9 / 3) ** 0.5
    yield Check("3.12", "three runs of three seeds: what chance may do", reach(made, "sharpness"), due, 1e-9)
    yield exactly(
        "3.12", "two seeds, 2 and 32: the mean of log2", mean({"sharpness": np.array([2.0, 32.0])}, "sharpness"), 3.0
    )
    name = "tenth of the rate: log2 of the losses' ratio, within that of lambda_max"
    yield Check("3.12", name, more["loss"], 0.0, more["curvature"])
    for what, name in measured.items():
        yield is_true("3.12", f"its {name} is larger, to 99 % of Student's t", more[what] > reach(found, what))


def mean(run, what):
    """The mean over seeds of log2."""
    return np.log2(run[what]).mean()


def reach(found, what, of=np.log2):
    """How far the means of two runs lie apart by chance: Student's t for 99 of 100, of the scatter within all runs."""
    values = np.array([of(run[what]) for run in found.values()])
    runs, seeds = values.shape
    return student_99(runs * (seeds - 1)) * (values.var(axis=1, ddof=1).mean() * 2 / seeds) ** 0.5


def as_printed(found):
    """The order of those whose printed ranges do not meet; the distances depend on where the runs were stopped."""
    sharp = {run: mean(found[run], "sharpness") for run in RUNS}
    printed = [(run, other) for run, other in permutations(RUNS, 2) if RUNS[run][1][1] < RUNS[other][1][0]]
    known = min(run["learnt"].min() for run in found.values())
    return (
        exactly(
            "3.12",
            f"of {len(printed)} pairs of ways to train whose printed ranges do not meet: not in that order",
            sum(sharp[run] >= sharp[other] for run, other in printed),
            0.0,
        ),
        exactly("3.12", "every run has learnt its labels by heart: accuracy on them", known, 1.0),
    )


def full_batch(found):
    """All examples at once, against small batches and against the control."""
    small, middle, whole, slow = (found["SGD", *rest] for rest in ((0.1, 8), (0.1, 60), (0.1, 600), (0.01, 8)))
    few, all_at_once, chance = found["Adam", 1e-3, 8], found["Adam", 1e-3, 600], reach(found, "sharpness")

    def sharper(run, other):
        """By how much more than chance, and more than its loss is larger: log2."""
        return (
            mean(run, "sharpness") - mean(other, "sharpness") - max(mean(run, "loss") - mean(other, "loss"), 0) - chance
        )

    def behind(run):
        """By how many more than chance fewer unseen digits are read than by batches of 8, as a share."""
        return small["unseen"].mean() - run["unseen"].mean() - reach(found, "unseen", of=np.asarray)

    return (
        is_true(
            "3.12", "all at once: sharper than 8 at the same rate, beyond chance and loss", sharper(whole, small) > 0
        ),
        is_true("3.12", "Adam, all at once: sharper than 8, likewise", sharper(all_at_once, few) > 0),
        is_true("3.12", "nearly the same rate over size, 8 at .01: sharper than 60 at .1", sharper(slow, middle) > 0),
        is_true(  # else the size would decide after all; that it is sharper still, as here, would be another claim
            "3.12",
            "the control is sharper than the middle of 8 and all at once, beyond chance",
            mean(slow, "sharpness") - (mean(small, "sharpness") + mean(whole, "sharpness")) / 2 > chance,
        ),
        is_true("3.12", "8 read more unseen digits than all at once, beyond chance", behind(whole) > 0),
        is_true("3.12", "and than the control", behind(slow) > 0),
    )


def clean(found):
    """1400 clean digits and a small network with tanh, six seeds: batches of 10 and all at once, at one loss."""
    rows = [one_clean(seed) for seed in range(6)]
    curvature, right, left = (np.array([row[what] for row in rows]) for what in range(3))
    tens, all_at_once = np.log2(curvature).T
    gain = found["SGD", 0.1, 8]["unseen"].mean() - found["SGD", 0.1, 600]["unseen"].mean()
    return (
        is_true(
            "3.12",
            "clean digits, the same loss: batches of 10 end flatter than all at once, to 99 % of Student's t",
            least_lead(all_at_once, tens) > 0,
        ),
        at_most(
            "3.12",
            "where log2 of the losses' ratio is, and what chance may add: half of that of the curvatures",
            most_apart(*np.log2(left).T),
            (all_at_once - tens).mean() / 2,
        ),
        at_most(
            "3.12",
            "and their accuracies on unseen digits apart by, and what chance may add: half of what it is on noisy ones",
            most_apart(*right.T),
            gain / 2,
        ),
    )


def one_clean(seed):
    """Curvature, accuracy on unseen digits and loss for batches of 10, and for all at once: where both have been."""
    learnt, unseen = examples(jax.random.key(seed), 1400)
    layers, paths = start(jax.random.key(10 + seed), (64, 64, 10)), []
    for size in (10, 1400):
        stream = gdlab.minibatches(learnt, size, key=jax.random.key(2))
        path = gdlab.minimize(
            network_loss, gdlab.sgd(FLOAT(0.1)), layers, 4000, batches=stream, record=("params",), every=100
        ).history["params"]
        paths.append((path, jax.lax.map(lambda w: network_loss(w, learnt), path)))
    level = max(float(losses[-1]) for _, losses in paths)
    found = []
    for path, losses in paths:
        there = jnp.argmin(jnp.abs(losses - level))
        at = jax.tree.map(lambda leaf, there=there: leaf[there], path)
        curvature = hessian.sharpness(network_loss, at, learnt).value
        found.append((curvature, network_accuracy(at, unseen), losses[there]))
    return [[float(value) for value in pair] for pair in zip(*found, strict=True)]


def draw(found):
    """Sharpness and accuracy of every run against the rate over the batch size."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, (shift, left, right) = plt.subplots(1, 3, figsize=(14, 4.4))
    shifted_minima(shift)
    marks = {8: "o", 60: "s", 600: "D"}
    runs = {how: colour for how, colour in zip(RUNS, figures.PALETTE, strict=False) if how in found}
    for i, ((name, rate, size), colour) in enumerate(runs.items()):
        run, hollow = found[name, rate, size], "none" if name == "Adam" else colour
        left.bar(i, run["sharpness"].mean(), 0.7, color=colour, alpha=0.45, edgecolor="black", linewidth=0.6)
        left.plot(np.full(len(run["sharpness"]), i), run["sharpness"], marks[size], color=colour, mfc=hollow)
        if len(found) == len(RUNS):
            left.plot([i + 0.25] * 2, RUNS[name, rate, size][1], "-", color="black", linewidth=3)
        right.plot(run["sharpness"], run["unseen"], marks[size], color=colour, mfc="none" if name == "Adam" else colour)
    left.set_xticks(range(len(runs)), [f"{name} {rate:g}\nB = {size}" for name, rate, size in runs])
    left.set(yscale="log", ylim=(0.1, 60), ylabel="Keskar's sharpness, $\\epsilon$ = .001")
    left.set_title("bars: mean; marks: seeds" + ("; black: as printed" if len(found) == len(RUNS) else ""))
    right.set(
        xscale="log",
        xlim=(0.1, 60),
        xlabel="Keskar's sharpness",
        ylabel="accuracy on unseen digits",
        title="a fifth of the labels wrong, learnt by heart",
    )
    shift.legend(fontsize=7)
    return figure


def parabola(x, curvature, lowest):
    """A parabola of this curvature, 0 where it is lowest."""
    return curvature * (x - lowest) ** 2 / 2


def shifted_minima(panel):
    """A flat and a sharp minimum of the training loss, and the same of the test, moved: the lecture's sketch (S51)."""
    looks = (1.0, (1.0, 1.3), (0.05, 1.95), "#0072B2"), (100.0, (3.0, 3.3), (2.5, 3.7), "#D55E00")
    for curvature, minima, ends, colour in looks:
        x, rise = np.linspace(*ends, 200), parabola(minima[0], curvature, minima[1])
        for lowest, dash in zip(minima, ("-", "--"), strict=True):
            panel.plot(x, parabola(x, curvature, lowest), dash, color=colour)
        panel.vlines(minima[0], 0, rise, linestyle=":", color="black", linewidth=1.2)
        label = f"curvature {curvature:g}: the test's loss rises by {rise:g}"
        panel.plot(minima[0], rise, "o", color=colour, label=label)
    panel.plot([], [], "-", color="0.3", label="training")
    panel.plot([], [], "--", color="0.3", label="test, moved by .3")
    panel.set(ylim=(-0.3, 7.5), xlabel="parameter", ylabel="loss", title="a flat minimum forgives the offset")
