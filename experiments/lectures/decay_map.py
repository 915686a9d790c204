"""Can the decay of weights be tuned apart from the rate? (S98; section 3.11)

The loss on unseen digits of a network that learnt 200 digits, a fifth of the labels drawn anew, over a grid of rates
and decays.  How the best decay moves with the rate, both on logarithmic scales, is one number: 0 where the two can be
tuned apart.  The lectures expect that of AdamW, and a diagonal of L2.

On digits it is not so.  Where training gets to the end, the best L2 penalty hardly moves, for momentum and for Adam: it
is a property of the loss.  AdamW depends on its form.  Where weights shrink by eta w each step (torch, optax) the best
w hardly moves; where they shrink by w itself, as in the paper, it grows in proportion to the rate.  At its best L2 does
as well with momentum as with Adam.  AdamW's ends are shown beside, not judged: the digits tell one of its forms from L2
with Adam only at the full size, the other not at all.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdlab
from gdlab.problems import network_loss

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true
from ..reporting.run_folder import Table
from ..reporting.standard_errors import error_of_mean, least_lead, most_apart
from ..workloads.digits import FLOAT, batches, examples, starts
from ..workloads.plain_network import descended

QUESTION = "Can the decay of weights be tuned apart from the rate? (S98; section 3.11)"
COUNT, LAYERS, BATCH, UPDATES, WRONG = 200, (64, 32, 10), 20, 1000, 0.2
WEIGHTS = (1.0, -2.0, 3.0)  # from which two rules walk one path
RULES = {  # name -> optimizer of a rate and a decay, how much of the decay is a penalty, the lowest rate and decay
    "momentum, L2": (lambda rate, decay: gdlab.momentum(rate), 1.0, 2e-2, 1e-3),
    "Adam, L2": (lambda rate, decay: gdlab.adam(rate), 1.0, 4e-3, 1e-3),
    "AdamW, by eta w": (lambda rate, decay: gdlab.adamw(rate, weight_decay=decay), 0.0, 4e-3, 1e-2),
    "AdamW, by w": (lambda rate, decay: gdlab.adamw(rate, weight_decay=decay, source="paper"), 0.0, 4e-3, 1e-4),
}


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "decay_map", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks, the figure, and a table of what is shown but not judged."""
    learnt, unseen = examples(jax.random.key(0), COUNT, wrong=WRONG)
    fed = batches(learnt, BATCH, UPDATES, jax.random.key(1))
    layers = starts(gdlab.seeds(1 if quick else 3), LAYERS)
    wanted, size = (("Adam, L2", "AdamW, by w"), (3, 5)) if quick else (tuple(RULES), (5, 9))
    maps = {}
    for name in wanted:
        make, share, rate, decay = RULES[name]

        def run(rate, decay, layers, make=make, share=share):
            ran = gdlab.minimize(
                penalised,
                make(rate, decay),
                layers,
                UPDATES,
                batches=fed,
                args=(share * decay,),
                record=(),
                every=UPDATES,
            )
            return each(ran.params, unseen)

        rates, decays = np.geomspace(rate, 5 * rate, size[0]), np.geomspace(decay, 1000 * decay, size[1])
        grid = gdlab.sweep(run, rate=jnp.array(rates, FLOAT), decay=jnp.array(decays, FLOAT), layers=layers)["value"]
        maps[name] = rates, decays, grid.mean("layers", skipna=False).to_numpy()  # (rates, decays, unseen)
    first = jax.tree.map(lambda leaf: leaf[0], layers)
    losses = {name: (rates, decays, one_by_one.mean(-1)) for name, (rates, decays, one_by_one) in maps.items()}
    found = [*lowest_point(), *checks(maps), *reached(maps), *same_path(), *shrunk(first, fed)]
    return found, lambda: draw(losses), ends(maps)


def each(layers, unseen):
    """The loss on each of the unseen digits."""
    return jax.vmap(lambda image, label: network_loss(layers, (image[None], label[None])))(*unseen)


def penalised(layers, batch, penalty):
    """The loss on a batch, and the L2 penalty."""
    return network_loss(layers, batch) + penalty / 2 * optax.tree.norm(layers, squared=True)


def shrunk(layers, fed):
    """20 steps of descent on the penalised loss, against a network in NumPy that adds the decayed weights to g."""
    rate, decay = 0.1, 0.3
    few = jax.tree.map(lambda leaf: leaf[:20], fed)
    ran = gdlab.minimize(
        penalised, gdlab.sgd(FLOAT(rate)), layers, 20, batches=few, args=(FLOAT(decay),), record=("loss",)
    )
    ends, losses = descended(layers, zip(*map(np.asarray, few), strict=True), rate, penalty=decay)
    squared = lambda weights: sum((np.asarray(w, float) ** 2).sum() for w in jax.tree.leaves(weights))  # noqa: E731
    first = losses[0] + decay / 2 * squared(layers)
    return (  # in single precision
        Check("S98", "L2: the first loss with its penalty, over NumPy's", ran.history["loss"][0] / first, 1.0, 1e-5),
        Check("S98", "L2: |w|^2 after 20 steps, over NumPy's", squared(ran.params) / squared(ends), 1.0, 1e-4),
    )


def same_path():
    """Shrinking by w = eta w' is shrinking by eta w': the same path, which is why the best w follows the rate."""

    def path(decay, source):
        optimizer = gdlab.adamw(0.1, weight_decay=decay, source=source)
        loss = lambda w: jnp.sum(jnp.cosh(w))  # noqa: E731
        return gdlab.minimize(loss, optimizer, jnp.array(WEIGHTS), 100, record=("params",)).history["params"]

    by_rate, by_itself, loop = path(0.3, "torch"), path(0.03, "paper"), adamw_by_loop(0.03)
    return (
        at_most("S98", "by eta w and by w = eta w': 100 steps differ by", farthest(by_rate, by_itself), 1e-13),
        at_most("S98", "and from those of a NumPy loop", farthest(by_rate, loop), 1e-9),
    )


def adamw_by_loop(shrink):
    """AdamW at the rate .1 on the sum of cosh w, where a step shrinks w to 1 - shrink, by a loop in NumPy."""
    w, m, v, places = np.array(WEIGHTS), np.zeros(3), np.zeros(3), []
    for t in range(1, 101):
        places.append(w)
        g = np.sinh(w)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = (1 - shrink) * w - 0.1 * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return np.array(places)


def best(decays, losses):
    """The best decay of each rate: the lowest point of a parabola through the lowest loss and its neighbours."""
    at = losses.argmin(axis=1).clip(1, len(decays) - 2)
    rows = np.arange(len(losses))
    before, here, after = (losses[rows, at + i] for i in (-1, 0, 1))
    offset = ((before - after) / (2 * (before - 2 * here + after))).clip(-1, 1)
    return decays[at] * (decays[1] / decays[0]) ** offset


def lowest_point():
    """What `best` reads off losses that are parabolas in the logarithm of the decay (3.11)."""
    decays, lowest = np.geomspace(1e-4, 1e-1, 7), np.array([3e-4, 2e-3, 2.5e-2])
    parabolas = np.log(decays / lowest[:, None]) ** 2
    beyond = np.log(decays / (decays[[0, -1]] * (0.01, 100))[:, None]) ** 2
    return (
        at_most(
            "3.11",
            "of those that are lowest beyond an end: best decay over that end, less 1",
            farthest(best(decays, beyond) / decays[[0, -1]], 1),
            1e-12,
        ),
        at_most(
            "3.11",
            "of parabolas: best decay over the lowest point, less 1",
            abs(best(decays, parabolas) / lowest - 1).max(),
            1e-9,
        ),
    )


def checks(maps):
    """How the best decay moves with the rate: a slope nearer to what is due, 0 or 1, than to the other."""
    spread = without_tenths(np.mean, np.arange(10.0))  # of ten numbers leaving out one at a time: sd / n^(1/2)
    due = 2.6 * (82.5 / 9 / 10) ** 0.5
    yield exactly("3.11", "0, 1, ... 9: 2.6 standard errors of the mean, by tenths", spread, due)
    for name, (rates, decays, losses) in maps.items():

        def slope(one_by_one, rates=rates, decays=decays):
            return np.polyfit(np.log(rates), np.log(best(decays, one_by_one.mean(-1))), 1)[0]

        found, due = slope(losses), float(name == "AdamW, by w")
        error = without_tenths(slope, losses)
        yield Check("3.11", f"{name}: slope of the best decay", found, due, 0.5)
        said = f"{name}: apart from a half by more than {error:.2f}, 2.6 standard errors"
        yield is_true("3.11", said, np.ptp([found, 0.5]) > error)


def without_tenths(of, losses):
    """2.6 standard errors of a number that is made of all digits, by leaving out a tenth of them at a time."""
    parts = np.arange(losses.shape[-1]) % 10
    left = np.array([of(losses[..., parts != part]) for part in range(10)])
    return 2.6 * np.sqrt(9 / 10 * ((left - left.mean()) ** 2).sum())


def reached(maps):
    """The losses on unseen digits, one by one: what two ways differ by, and 2.6 standard errors of that.

    By chance 99 of 100 such differences are smaller.  What decay gains is told at one rate; beside it two rules do as
    well where they differ by less than half of that.
    """
    grids = {name: losses for name, (_, _, losses) in maps.items()}
    lowest = {name: by_other_half(losses, at_best) for name, losses in grids.items()}
    gains = {}
    for name, losses in grids.items():
        undecayed, decayed = (by_other_half(losses, which) for which in (hardly, with_decay))
        gains[name] = least_lead(undecayed, decayed, of_digits)
        said = f"{name}: at the rate where it is missed most, decay helps by 2.6 standard errors"
        yield is_true("S98", said, gains[name] > 0)
    if "momentum, L2" in lowest:
        name = "lowest losses with L2, momentum off Adam, and 2.6 standard errors: half of what decay gains Adam"
        off = most_apart(lowest["momentum, L2"], lowest["Adam, L2"], of_digits)
        yield at_most("3.11", name, off, gains["Adam, L2"] / 2)


def of_digits(differences, axis=None):
    """What the mean of differences digit by digit is off by at most in 99 of 100 draws: 2.6 standard errors."""
    return error_of_mean(differences, axis, sigmas=2.6)


def ends(maps):
    """The lowest losses, and how far they are above that of L2 with Adam."""
    lowest = {name: by_other_half(losses, at_best) for name, (_, _, losses) in maps.items()}
    above = {name: losses - lowest["Adam, L2"] for name, losses in lowest.items()}
    rows = [
        [name, f"{losses.mean():.4f}", f"{above[name].mean():.4f} +- {of_digits(above[name]):.4f}"]
        for name, losses in lowest.items()
    ]
    title = "Unseen digits, each rule at the rate and decay that the other half of them chooses: not judged"
    return Table(title, ("rule", "loss", "less that of Adam, L2, 2.6 standard errors"), rows)


def by_other_half(losses, choose):
    """The losses, one by one, where the mean of the other half of the digits chooses the rate and the decay.

    No digit judges its own choice, so that none is the best because it was chosen.
    """
    halves = losses[..., ::2], losses[..., 1::2]
    return np.concatenate([judged[choose(other.mean(-1))] for judged, other in (halves, halves[::-1])])


def at_best(losses):
    """The rate and the decay with the lowest loss."""
    return np.unravel_index(losses.argmin(), losses.shape)


def hardly(losses):
    """The rate with the highest loss at the least decay, and that decay."""
    return losses[:, 0].argmax(), 0


def with_decay(losses):
    """The same rate, and its best decay."""
    rate, _ = hardly(losses)
    return rate, losses[rate].argmin()


def draw(maps):
    """The maps, with the best decay of each rate."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, axes = plt.subplots(1, len(maps), figsize=(3.3 * len(maps), 3.6))
    top = max(losses.min() for _, _, losses in maps.values())
    for panel, (name, (rates, decays, losses)) in zip(axes, maps.items(), strict=True):
        shown = panel.pcolormesh(
            rates, decays, losses.T, cmap="viridis_r", vmin=top - 0.05, vmax=1.2, shading="nearest"
        )
        panel.plot(
            rates, best(decays, losses), "o-", color=figures.PALETTE[3], markeredgecolor="white", label="best decay"
        )
        panel.set(xscale="log", yscale="log", xlabel="learning rate", title=name)
        panel.set_xticks(rates[[0, -1]], [f"{rate:g}" for rate in rates[[0, -1]]])
        panel.minorticks_off()
    axes[0].set_ylabel("penalty, or decay w")
    axes[0].legend(fontsize=7)
    figure.colorbar(shown, ax=axes, label="loss on unseen digits", extend="max")
    return figure
