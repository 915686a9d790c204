"""What do the empty cells of the grid do? (S30, S81, S83, S101)

Every optimizer is a cell: a sigma, which says how big gradients have been, and an m, which says where to go.  Most
cells have no name.  Here each runs at its own best rate on the problems of the tuned benchmark; what is compared is by
how many decades its loss is behind that of the best cell.  What came out:

- With each sigma but the window, named or not, the heavy ball is ahead of the gradient alone, on the mean of all
  problems, by Student's t over eight seeds; with the window the seeds do not say.
- The average under sigma = 1, not debiased, is no other optimizer: it is the heavy ball at the rate (1 - b) eta, to
  rounding.  Debiased, as here, it takes longer steps at first.
- One row cannot be filled: a window, with an m that remembers longer.  Where the last K gradients were all 0, as those
  of rare features are, sigma is 0 and m is not, and the step is as long as the numbers allow.
- Adagrad's sigma with Nesterov's m has the lowest loss of all on the network for most seeds, too few to judge.
- Whether an empty cell is ahead of its named neighbours, those of its row and column, and on no problem behind changes
  with the seeds, and so do the first places in the mean: peak with heavy ball, momentum and Adam take turns.
"""

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
from gdlab import directions, scales
from gdlab.problems import surface

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true
from ..reporting.run_folder import Table
from ..reporting.standard_errors import error_of_few, least_lead
from ..workloads.tuned_benchmark import PROBLEMS, best, best_of_each, tuned_benchmark

QUESTION = "What do the empty cells of the grid do? (S83, S101)"
B1, B2 = 0.9, 0.99
SIGMAS = {
    "1": scales.Unit(),
    "of all": scales.RootMeanSquare(),
    "running": scales.BiasCorrectedRootMeanSquare(B2),
    "window": scales.WindowedRootMeanSquare(10),
    "peak": scales.RunningMax(scales.BiasCorrectedRootMeanSquare(B2)),
    "maximum": scales.Adamax(B2),
}
DIRECTIONS = {
    "gradient": directions.Gradient(),
    "heavy ball": directions.HeavyBall(B1),
    "Nesterov": directions.Nesterov(B1),
    "average": directions.BiasCorrectedEma(B1),
    "Nesterov average": directions.NesterovEma(B1),
}
NAMES = {
    ("1", "gradient"): "gd",
    ("1", "heavy ball"): "momentum",
    ("1", "Nesterov"): "nesterov",
    ("of all", "gradient"): "adagrad",
    ("running", "gradient"): "rmsprop, debiased",
    ("running", "heavy ball"): "rmsprop + momentum, debiased",
    ("running", "average"): "adam",
    ("running", "Nesterov average"): "nadam",
    ("window", "gradient"): "windowed",
    ("peak", "average"): "amsgrad",
    ("maximum", "average"): "adamax",
}
SEEDS = 8
ARRIVED, FAR = 1e-6, 3.0  # losses below are all the same: there; three decades behind are as far as any


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "grid", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure."""
    sigmas, directions = (("1", "of all", "window"), list(DIRECTIONS)[:3]) if quick else (SIGMAS, DIRECTIONS)
    cells = [(sigma, m) for sigma in sigmas for m in directions]
    results = tuned_benchmark({f"{sigma}, {m}": cell(sigma, m) for sigma, m in cells}, seeds=SEEDS)
    table, *tables = (
        dict(zip(cells, behind(losses).T, strict=True))
        for losses in (best(results).values, *best_of_each(results).values)
    )
    checks = [same_cells(), by_decades(), *divided_by_nothing(), *counted(cells), *planted(), *verdict(tables)]
    return [*checks, *same_as_named()], lambda: draw(table), undecided(tables)


def cell(sigma, m):
    """The optimizer of a cell, as a function of its rate; Adagrad's sigma goes with eta / sqrt(t + 1)."""

    def make(rate):
        schedule = gdlab.schedules.InverseSqrt(rate) if sigma == "of all" else rate
        return gdlab.descent(DIRECTIONS[m], SIGMAS[sigma], schedule)

    return make


def behind(losses):
    """By how many decades each is behind the best of its row; below ARRIVED all are alike, beyond FAR as well."""
    reached = np.maximum(losses, ARRIVED)
    return np.minimum(np.log10(reached / reached.min(1, keepdims=True)), FAR)


def by_decades():
    """`behind` on losses that are powers of ten, and where a run left the finite numbers."""
    losses = np.array([[1e-9, 1e-5, 1e-4, 1e-3, 1.0, np.inf], [1e-2, 1e-1, 1e-2, 10.0, 1e9, 1.0]])
    off = farthest(behind(losses), [[0, 1, 2, 3, 3, 3], [0, 1, 0, 3, 3, 2]])
    return at_most("S101", "decades behind the best, of losses that are powers of ten", off, 1e-12)


def same_cells():
    """The running average under sigma = 1 at the rate eta, against the heavy ball at (1 - b) eta (S83)."""
    valley = surface("rosenbrock_2d")
    loss, start = valley.loss, jnp.array(valley.starts[0])
    averaged = gdlab.descent(directions.Ema(B1), SIGMAS["1"], 1e-2)
    ends = [gdlab.minimize(loss, o, start, 1000).params for o in (averaged, gdlab.momentum(1e-2 * (1 - B1), B1))]
    return at_most(
        "S83",
        "sigma 1: average, not debiased, at eta - heavy ball at (1 - b) eta",
        jnp.abs(ends[0] - ends[1]).max(),
        1e-12,
    )


def by_hand(name, grads):
    """Where an optimizer ends that starts at 0 with the rate .1, in NumPy."""
    x = ball = mean = square = peak = most = np.zeros(grads.shape[1])
    for i, g in enumerate(grads):
        t = i + 1
        ball, mean, square = B1 * ball + g, B1 * mean + (1 - B1) * g, B2 * square + (1 - B2) * g**2
        running, most = np.sqrt(square / (1 - B2**t)), np.maximum(B2 * most, np.abs(g))
        peak, average = np.maximum(peak, running), mean / (1 - B1**t)
        step = {
            "gd": g,
            "momentum": ball,
            "nesterov": g + B1 * ball,
            "adagrad": g / np.sqrt((grads[:t] ** 2).sum(0)),
            "average": average,
            "adam": average / running,
            "nadam": (B1 * mean / (1 - B1 ** (t + 1)) + (1 - B1) * g / (1 - B1**t)) / running,
            "windowed": g / np.sqrt((grads[max(t - 10, 0) : t] ** 2).mean(0)),
            "amsgrad": average / peak,
            "adamax": average / most,
        }[name]
        x = x - 0.1 * step
    return x


def same_as_named():
    """The cells and the optimizers of their names beside NumPy, on 60 random gradients (S83)."""
    grads = jax.random.normal(jax.random.key(0), (60, 4))
    named = {
        "gd": gdlab.gd(0.1),
        "momentum": gdlab.momentum(0.1, B1),
        "nesterov": gdlab.nesterov(0.1, B1),
        "adagrad": gdlab.adagrad(0.1),
        "average": gdlab.descent(directions.BiasCorrectedEma(B1), scales.Unit(), 0.1),
        "adam": gdlab.adam(0.1, B1, B2, 0.0),
        "nadam": gdlab.nadam(0.1, B1, B2, 0.0),
        "windowed": cell("window", "gradient")(0.1),
        "amsgrad": gdlab.amsgrad(0.1, B1, B2, 0.0, source="optax"),
        "adamax": gdlab.adamax(0.1, B1, B2, 0.0),
    }
    for where, name in ({("1", "average"): "average"} | NAMES).items():
        if name in named:
            due = by_hand(name, np.asarray(grads))
            ends = [
                gdlab.minimize(jnp.vdot, optimizer, jnp.zeros(4), 60, batches=grads, record=()).params
                for optimizer in (cell(*where)(0.1), named[name])
            ]
            off = np.max([farthest(end, due) for end in ends])
            yield at_most("S83", f"sigma {where[0]}, m {where[1]}, and {name}: off NumPy", off, 1e-9)


def divided_by_nothing():
    """The step for a feature that was seen once, 11 gradients ago: by the window of 10, and by the running average."""
    grads = jnp.eye(12, 1)  # one, then zeros
    steps = [
        gdlab.minimize(
            jnp.vdot, cell(sigma, "average")(1.0), jnp.zeros(1), 12, batches=grads, record=("update",)
        ).history["update"][-1, 0]
        for sigma in ("window", "running")
    ]
    due = 0.1 * B1**11 / (1 - B1**12) / (0.01 * B2**11 / (1 - B2**12)) ** 0.5
    return (
        is_true("S30", "window and average, 11 gradients after the only one: step above 1e100", abs(steps[0]) > 1e100),
        Check("S81", "the same under the running average: step over eta", float(-steps[1]), due, 1e-12),
    )


def neighbours(table, cell):
    """The named cells of the same row or column."""
    return [
        other for other in table if other in NAMES and other != cell and (other[0] == cell[0] or other[1] == cell[1])
    ]


def gained(tables, sigma):
    """By how many decades the heavy ball is ahead of the gradient under a sigma, mean of problems, for each seed."""
    return np.array([(table[sigma, "gradient"] - table[sigma, "heavy ball"]).mean() for table in tables])


def led(tables):
    """By how many decades Adagrad's sigma with Nesterov's m is ahead of the best named cell on the network, by seed."""
    network = PROBLEMS.index("network")
    return np.array(
        [
            min(decades[network] for cell, decades in table.items() if cell in NAMES)
            - table["of all", "Nesterov"][network]
            for table in tables
        ]
    )


def planted():
    """`gained` and `led` of two tables that are known: a cell's decades are the same on every problem."""
    cells = ("1", "gradient"), ("1", "heavy ball"), ("of all", "Nesterov")
    tables = [
        {cell: np.full(len(PROBLEMS), far) for cell, far in zip(cells, decades, strict=True)}
        for decades in ((3.0, 1.0, 0.25), (1.0, 1.5, 2.0))
    ]
    for item, name, found, due in (
        ("S83", "heavy ball ahead of the gradient", gained(tables, "1"), [2.0, -0.5]),
        ("S101", "Adagrad's sigma with Nesterov's m ahead of the named", led(tables), [0.75, -1.0]),
    ):
        yield at_most(item, f"{name}: decades in planted tables", farthest(found, due), 1e-12)


def verdict(tables):
    """Who is behind whom, by decades, for each seed: on the mean of all problems and on each."""
    rare = PROBLEMS.index("rare features")
    return (
        *(
            is_true(
                "S83",
                f"sigma {sigma}: heavy ball ahead of the gradient, beyond Student's t for 99 of 100",
                least_lead(gained(tables, sigma)) > 0,
            )
            for sigma in dict.fromkeys(sigma for sigma, _ in tables[0])
            if sigma != "window"
        ),
        exactly(
            "S30",
            "a window with momentum on rare features, every seed: as far behind as any, decades",
            min(rare_of(table, rare) for table in tables),
            FAR,
        ),
        is_true(
            "S30",
            "a window with the gradient on rare features, every seed: not as far behind",
            np.max([table["window", "gradient"][rare] for table in tables]) < FAR,
        ),
    )


def undecided(tables):
    """What the seeds do not say: means over them, with Student's t for 99 of 100."""
    rows = {
        "a window: heavy ball ahead of the gradient, mean of problems": gained(tables, "window"),
        "Adagrad's sigma, Nesterov's m: ahead of the best named cell on the network": led(tables),
        "empty cells ahead of their named neighbours, on no problem behind, count": np.array(
            list(map(all_ahead, tables))
        ),
    }
    shown = [[name, f"{values.mean():.3f}", f"{error_of_few(values):.3f}"] for name, values in rows.items()]
    return Table(f"Decades over {len(tables)} seeds, not judged", ("what", "mean", "beyond chance"), shown)


def rare_of(table, rare):
    """How far behind the windows with an m that remembers are on rare features, the nearest of them."""
    return min(decades[rare] for (sigma, m), decades in table.items() if sigma == "window" and m != "gradient")


def all_ahead(table):
    """How many empty cells are less far behind than their named neighbours: as near at most on every problem."""
    empty = [cell for cell in table if cell not in NAMES]
    nearest = {cell: np.min([table[other] for other in neighbours(table, cell)], axis=0) for cell in empty}
    return sum((table[cell] <= nearest[cell]).all() and (table[cell] < nearest[cell]).any() for cell in empty)


def counted(cells):
    """`all_ahead` on a table in which one empty cell is ahead everywhere, and one on all problems but the last."""
    first, second = [cell for cell in cells if cell not in NAMES][:2]
    table = {cell: np.full(len(PROBLEMS), 2.0) for cell in cells}
    table[first] = np.full(len(PROBLEMS), 1.0)
    table[second] = np.array([1.0] * (len(PROBLEMS) - 1) + [3.0])
    for decades in table.values():
        decades[0] = 0.0  # where all have arrived none can be ahead
    yield exactly("S101", "of two planted cells, one ahead on all problems but one: counted", all_ahead(table), 1)


def draw(table):
    """A map of cells for each problem, and their mean."""
    from ..reporting.figures import plt

    rows, columns = (list(dict.fromkeys(names)) for names in zip(*table, strict=True))
    figure, panels = plt.subplots(1, len(PROBLEMS) + 1, figsize=(16, 3.6), sharey=True)
    for i, (panel, title) in enumerate(zip(panels, (*PROBLEMS, "mean of all"), strict=True)):
        of = {cell: decades.mean() if i == len(PROBLEMS) else decades[i] for cell, decades in table.items()}
        drawn = panel.imshow(
            [[of[r, c] for c in columns] for r in rows], cmap="cividis_r", vmin=0, vmax=FAR, aspect="auto"
        )
        for (r, c), value in of.items():
            colour, weight = ("white" if value > FAR / 2 else "black"), ("bold" if (r, c) in NAMES else "normal")
            place = (columns.index(c), rows.index(r))
            panel.text(*place, f"{value:.1f}", ha="center", va="center", fontsize=7, color=colour, fontweight=weight)
        panel.set_xticks(range(len(columns)), columns, rotation=60, ha="right")
        panel.set_title(title)
    panels[0].set_yticks(range(len(rows)), rows)
    panels[0].set_ylabel("sigma (bold: the cell has a name)")
    figure.colorbar(drawn, ax=panels, label="decades behind the best cell", pad=0.01)
    return figure
