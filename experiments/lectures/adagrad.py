"""Why does Adagrad divide by the root of all squared gradients? (S19-S20, S22-S31, S80)

Two forms of one rule, sigma the root of the mean square and eta / sqrt(t + 1), or the root of the sum and eta.  The
first step is eta whatever the gradient; a step tells how surprising the gradient is; and since the best step on a
parabola is |first derivative| / second derivative, the past gradients must stand for the second derivative.

Note 004 would rather use "only the squares of gradients near this point": a window of the last K. On the Pokemon
surface, rate .01, 20 000 updates, the distance to the optimum was said to fall tenfold per decade of K. It does so
from K = 10 to 100, as a mean of eight starts; but K = 3 comes nearer than all others, so that it is no law. From K = 1,
which is sign descent, the start decides in which cycle a run stalls, and from K = 100 on runs explode and recover:
where they stand is chance, hence medians of the last 5000. These decades are shown beside, not judged. The window must
be summed anew at each step: a sum kept up by subtraction loses small squares behind 1e14, falls below zero, and its
root is NaN.
"""

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
import hessian
from gdlab import directions, scales
from gdlab.problems import POKEMON_BOX, POKEMON_OPTIMUM, POKEMON_START, pokemon, pokemon_loss

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true, printed
from ..reporting.run_folder import Table
from ..reporting.standard_errors import error_of_few, error_of_mean, error_of_root, error_of_share, least_lead
from ..workloads.drawn import of_uneven_sizes, over_decades

QUESTION = "Why does Adagrad divide by the root of all squared gradients? (S19-S31)"
SURPRISING = (0.001, 0.001, 0.003, 0.002, 0.1)
DISAPPOINTING = (10.8, 20.9, 31.7, 12.1, 0.1)
SIZES = jnp.array([1e-6, 1e-3, 1.0, 1e3, 1e6])
WINDOWS = (1, 3, 10, 100, 1000)
OTHERS = 7  # the starts of the windows beside the lecture's
LAST = 5000  # the updates whose median distance is compared
UPDATES, RATE = 20_000, 0.01
SAMPLES, RADIUS = 4000, 2.0
PAIRS = 10_000  # of parabolas, whose slopes are compared
POKEMON = tuple(np.asarray(values) for values in pokemon())


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "adagrad", QUESTION, measure)


def measure():
    """The checks, the figure, and a table of what is shown but not judged."""
    run = descend(gdlab.adagrad(1.0), UPDATES)
    windows = {k: from_starts(windowed(k)) for k in WINDOWS}
    laws = [*forms(), *first_steps(), *surprise(), *parabolas(), *crossed(), *second_derivative()]
    return (
        [*laws, *rates(run), *window(windows)],
        lambda: draw(run, {k: path[0] for k, path in windows.items()}),
        undecided(ends(windows)),
    )


def read(optimizer, grads, *names):
    """What the optimizer makes of a sequence of gradients: the loss is linear, so that its gradient is the batch."""
    run = gdlab.minimize(jnp.vdot, optimizer, jnp.zeros_like(grads[0]), len(grads), batches=grads, record=names)
    return [np.asarray(run.history[name]) for name in names]


def windowed(length):
    """The root mean square of the last `length` gradients as sigma, with a constant rate."""
    return gdlab.descent(directions.Gradient(), scales.WindowedRootMeanSquare(length), RATE)


def descend(optimizer, updates):
    """The params and sigma of each update on the Pokemon surface."""
    start = jnp.array(POKEMON_START)
    run = gdlab.minimize(pokemon_loss, optimizer, start, updates, args=(pokemon(),), record=("params", "sigma"))
    return {name: np.asarray(values) for name, values in run.history.items()}


def from_starts(optimizer):
    """The paths from the lecture's start and from others where its contours are drawn: shape (starts, updates, 2)."""
    low, high = np.transpose(POKEMON_BOX)
    others = np.random.default_rng(0).uniform(low, high, size=(OTHERS, 2))
    starts = jnp.array([POKEMON_START, *others])

    def path(start):
        run = gdlab.minimize(pokemon_loss, optimizer, start, UPDATES, args=(pokemon(),), record=("params",))
        return run.history["params"]

    return np.asarray(jax.jit(jax.vmap(path))(starts))


def forms():
    """Both forms make the same steps (S19, S20), as the formula written out in NumPy does (S31)."""
    grads = of_uneven_sizes(jax.random.key(0), (1000, 5), 1.0)
    (first, sigma), (second,) = (
        read(gdlab.adagrad(0.1), grads, "params", "sigma"),
        read(gdlab.adagrad(0.1, source="paper"), grads, "params"),
    )
    (third,) = read(gdlab.adagrad(0.1, eps=1e-7, source="optax"), grads, "params")
    g = np.asarray(grads)
    tenth = -np.cumsum(0.1 * g / np.sqrt(0.1 + 1e-7 + np.cumsum(g**2, 0)), 0)
    written_out = -np.cumsum(0.1 * g / np.sqrt(np.cumsum(g**2, 0)), 0)
    means = np.stack([np.sqrt((g[: t + 1] ** 2).mean(0)) for t in range(1000)])
    return (
        at_most("S20", "1000 random gradients: form 1 - form 2", np.abs(first - second).max(), 1e-12),
        at_most("S19", "form 1 - NumPy", np.abs(first[1:] - written_out[:-1]).max(), 1e-12),
        at_most("S20", "a sum that starts at .1, as optax's - NumPy", np.abs(third[1:] - tenth[:-1]).max(), 1e-12),
        at_most("S31", "sigma - sqrt((x1^2 + ... + xn^2) / n), relative", np.abs(sigma / means - 1).max(), 1e-13),
    )


def first_steps():
    """The first step is eta whatever the gradient (S22); a constant gradient makes steps eta / sqrt(t + 1) (S23)."""
    optimizers = {
        "root mean square": gdlab.descent(directions.Gradient(), scales.RootMeanSquare(), 0.3),
        "adagrad": gdlab.adagrad(0.3),
        "rmsprop": gdlab.rmsprop(0.3),
        "adam": gdlab.adam(0.3, eps=0.0),
    }
    grads = jnp.tile(SIZES, (100, 1))
    (steady,) = read(gdlab.adagrad(0.3), grads, "update")
    expected = -0.3 / np.sqrt(np.arange(100) + 1)[:, None]
    return (
        *(
            at_most(
                "S22", f"{name}: first step - eta", np.abs(read(optimizer, grads, "update")[0][0] + 0.3).max(), 1e-15
            )
            for name, optimizer in optimizers.items()
        ),
        at_most("S23", "constant g: step - eta/sqrt(t + 1), g = 1e-6 ... 1e6", np.abs(steady - expected).max(), 1e-14),
    )


def surprise():
    """The table of the lecture: the same g = .1 after small and after large gradients (S24)."""
    grads = jnp.array([SURPRISING, DISAPPOINTING]).T
    (sums,) = read(gdlab.adagrad(1.0, source="paper"), grads, "sigma")
    (means,) = read(gdlab.adagrad(1.0), grads, "sigma")
    large, small = 0.1 / sums[-1]
    return (
        printed("S24", "root of the sum, after small gradients", sums[-1, 0], "0.100075"),
        printed("S24", "root of the sum, after large ones", sums[-1, 1], "41.288739"),
        printed("S24", "g over it, after small gradients", large, "0.999251"),
        printed("S24", "g over it, after large ones", small, "0.002422"),
        printed("S24", "g over the root mean square, after small ones", 0.1 / means[-1, 0], "2.23439"),
        printed("S24", "g over the root mean square, after large ones", 0.1 / means[-1, 1], "0.0054157"),
        printed("S24", "ratio of the two steps", large / small, "412.6"),
    )


def parabolas():
    """The best step on a x^2 + b x + c is |x0 + b/2a| = |y'| / y'' (S25, S27)."""
    a, b, x0 = over_decades(jax.random.key(2), (3, 1000), 2.0)
    best = jax.vmap(lambda a, b, x: hessian.newton_step_length(lambda x: a * x**2 + b * x, x))(a, b, x0)
    newton = x0 - best  # the slope is positive
    ends = [hessian.newton_step_length(loss, jnp.array(2.0)) for loss in (lambda x: x, lambda x: (x - 2) ** 2)]
    return (
        exactly("S25", "on a line, which has no curvature: endless", ends[0], np.inf),
        exactly("S25", "at the minimum: 0", ends[1], 0.0),
        at_most(
            "S25", "1000 parabolas: |y'|/y'' - |x0 + b/2a|, relative", jnp.abs(best / (x0 + b / 2 / a) - 1).max(), 1e-12
        ),
        at_most("S27", "that step lands on -b/2a, relative", farthest(newton / x0, -b / 2 / a / x0), 1e-9),
    )


def crossed():
    """Do not cross parameters: of two, the one with the larger slope need not be the further one (S26).

    Where curvatures and distances are drawn from one law, the ratio of the curvatures outweighs that of the distances
    in half of the pairs, and in half of these it points the other way: slopes are wrong in a quarter.
    """
    drawn = over_decades(jax.random.key(5), (2, PAIRS, 2), 1.0)
    distances = np.asarray(drawn[1])
    bowl = lambda x, c: c * x**2 / 2  # noqa: E731  # x away from its minimum
    slopes = np.asarray(jax.vmap(jax.vmap(jax.grad(bowl)))(drawn[1], drawn[0]))
    steps = jax.vmap(jax.vmap(lambda x, c: hessian.newton_step_length(bowl, x, c)))(drawn[1], drawn[0])
    same = np.asarray(jax.vmap(jax.vmap(jax.grad(bowl), (0, None)))(drawn[1], drawn[0, :, 0]))
    further = distances[:, 1] > distances[:, 0]

    def wrong(sizes):
        return ((sizes[:, 1] > sizes[:, 0]) != further).mean()

    return (
        Check(
            "S26",
            f"share of {PAIRS} pairs whose slopes are in the wrong order",
            wrong(slopes),
            0.25,
            error_of_share(0.25, PAIRS),
        ),
        at_most(
            "S26", "slopes over curvature times distance, less 1", farthest(slopes / drawn[0] / distances, 1), 1e-12
        ),
        exactly("S26", "of one parameter, with one curvature: in the wrong order", wrong(same), 0.0),
        exactly("S26", "slopes over curvatures: in the wrong order", wrong(np.asarray(steps)), 0.0),
        at_most("S26", "which are the distances, less 1", farthest(steps / distances, 1), 1e-12),
    )


def second_derivative():
    """First derivatives sampled on the same interval tell the second: rms f' / f'' = R / sqrt 3 (S28).

    At the middles of n equal parts of the interval the mean of x^2 is R^2 (1 - 1 / n^2) / 3, without any chance.
    """
    curvatures = over_decades(jax.random.key(4), (50,), 3.0)
    bowls = lambda x: jnp.sum(curvatures * x**2) / 2  # noqa: E731
    hessian_diagonal = np.diag(jax.jit(jax.hessian(bowls))(jnp.zeros(50)))
    places = jax.random.uniform(jax.random.key(3), (SAMPLES, 50), minval=-RADIUS, maxval=RADIUS)  # each its own draws
    middles = RADIUS * (2 * np.arange(SAMPLES) + 1 - SAMPLES) / SAMPLES
    slopes = jax.jit(jax.vmap(jax.grad(bowls)))
    sigma, even = (
        read(gdlab.adagrad(1.0, source="paper"), slopes(at), "sigma")[0]
        for at in (places, jnp.tile(middles[:, None], (1, 50)))
    )
    expected = RADIUS / np.sqrt(3)
    law = np.asarray(curvatures) * expected * (SAMPLES - 1 / SAMPLES) ** 0.5  # of the root of the sum
    error = error_of_root(np.square(places[:, 0]))
    ratios = sigma[-1] / SAMPLES**0.5 / hessian_diagonal
    return (
        *(Check("S28", f"f'' = {hessian_diagonal[i]:.3g}: rms f' / f''", ratios[i], expected, error) for i in range(3)),
        at_most("S28", "50 curvatures: farthest ratio from R / sqrt 3", np.abs(ratios - expected).max(), error),
        Check("S28", "mean of the 50 ratios: as printed", ratios.mean(), 1.1547, 5e-5 + error_of_mean(ratios)),
        at_most("S28", "at the middles of 4000 parts: sigma over its law, less 1", farthest(even[-1] / law, 1), 1e-12),
        is_true("S28", "and in the order of diag(H)", (np.argsort(even[-1]) == np.argsort(hessian_diagonal)).all()),
    )


def rates(run):
    """On the Pokemon surface the steep parameter gets the small rate, and both rates change (S29, S30b)."""
    sigma = run["sigma"] * np.sqrt(np.arange(UPDATES) + 1)[:, None]  # the root of the sum
    loop = numpy_adagrad(UPDATES)
    ratio, due = (roots[:, 0] / roots[:, 1] for roots in (sigma, loop))  # of the rates, that of w over that of b
    errors = [-120 - 4 * int(x) - int(y) for x, y in zip(*POKEMON, strict=True)]  # at the start, whole numbers
    first = abs(sum(errors) / sum(e * int(x) for e, x in zip(errors, POKEMON[0], strict=True)))
    return (
        is_true("S29", "w, the steep one, has the larger sigma after every update", (sigma[:, 1] > sigma[:, 0]).all()),
        at_most(
            "S29",
            "both roots of the sum after every update, over those of a NumPy loop, less 1",
            np.abs(sigma / loop - 1).max(),
            1e-9,
        ),
        Check("S30b", "rate of w over that of b, first update: over that by hand", ratio[0] / first, 1.0, 1e-9),
        Check("S30b", f"the same after {UPDATES} updates: over a NumPy loop's", ratio[-1] / due[-1], 1.0, 1e-9),
        is_true("S30b", "which is more", ratio[-1] > ratio[0]),
        # Roots of some 1e7 grow by more than 1e-4 here, and round in units of some 1e-9.
        is_true("S80", "the root of the sum grows with every update", (np.diff(sigma, axis=0) > 0).all()),
    )


def numpy_adagrad(updates):
    """The roots of the sums after each update of Adagrad, rate 1, by a loop in NumPy."""
    theta, sums, roots = np.array(POKEMON_START), np.zeros(2), np.empty((updates, 2))
    for t in range(updates):
        g = pokemon_gradient(theta)
        sums = sums + g * g
        roots[t] = np.sqrt(sums)
        theta = theta - g / roots[t]
    return roots


def pokemon_gradient(theta):
    """The gradient on the Pokemon surface, written out."""
    x, y = POKEMON
    e = theta[0] + theta[1] * x - y
    return np.array([2 * e.sum(), 2 * e @ x])


def window(windows):
    """Windows of K on the Pokemon surface against a NumPy loop (S30)."""
    # Explosions let rounding grow, K = 1 and 3 have none.
    looped = {1: UPDATES, 3: UPDATES, 10: 100, 100: 200, 1000: 2000}
    off = {k: farthest(windows[k][0, :many], numpy_window(k, many)) for k, many in looped.items()}
    known = np.add(POKEMON_OPTIMUM, np.outer(np.arange(UPDATES), (0.6, 0.8)))
    steps = np.abs(np.diff(windows[1][0], axis=0))
    run = descend(windowed(100), UPDATES)
    subtracted = kept_up(run, 100)
    anew = run["sigma"] ** 2 * np.minimum(np.arange(UPDATES) + 1, 100)[:, None]
    return (
        *(at_most("S30", f"K = {k}: the first {looped[k]} updates, against NumPy", off[k], 1e-9) for k in sorted(off)),
        exactly("S30", "median distance of the last 5000 of 20 000 steps of 1 away", at_the_end(known), 17_499.5),
        at_most("S30", "K = 1: step - eta, sign descent", np.abs(steps - RATE).max(), 1e-12),
        *nearer(ends(windows)),
        at_most(  # a rounding of the largest for each addition
            "S30",
            "K = 100: a sum kept up by subtraction - that of the optimizer, over the largest",
            np.abs(subtracted - anew).max() / anew.max(),
            UPDATES * np.finfo(float).eps,
        ),
        is_true("S30", "which falls below zero", subtracted.min() < 0),
    )


def ends(windows):
    """The decimal logarithm of the median distance in the last updates, by K: an array of the starts."""
    return {k: np.log10([at_the_end(path) for path in paths]) for k, paths in windows.items()}


def tenfold_nearer(far, length):
    """Powers of ten by which ten times as long a window ends nearer, by start."""
    return far[length] - far[10 * length]


def nearer(far):
    """Powers of ten by which a longer window ends nearer, means of 8 starts, by Student's t for 99 of 100 (S30)."""
    tenfold = tenfold_nearer(far, 10)
    return (
        # "About ten" is nearer to ten than to none or to a hundred, chance included: half a power of ten.
        Check(
            "S30",
            f"powers of ten nearer from K = 10 to 100, mean of {len(tenfold)} starts",
            tenfold.mean(),
            1.0,
            0.5 - error_of_few(tenfold),
        ),
        # Ten times per decade would have K = 10 three times nearer than K = 3.
        is_true(
            "S30",
            "but that is no order: K = 3 is nearest, beyond chance",
            (least_lead([far[k] for k in far if k != 3], far[3]) > 0).all(),
        ),
    )


def undecided(far):
    """What the starts do not tell: powers of ten nearer from each K to ten times that, by start."""
    rows = []
    for k in (1, 10, 100):
        decades = tenfold_nearer(far, k)
        each = ", ".join(f"{value:.2f}" for value in decades)
        rows.append([f"{k} to {10 * k}", f"{decades.mean():.2f}", f"{error_of_few(decades):.2f}", each])
    title = "Powers of ten nearer by a longer window, the lecture's start first: K = 10 to 100 is judged, no other"
    return Table(title, ("K", "mean", "chance", "by start"), rows)


def kept_up(run, length):
    """The sum of the last squared gradients, each new square added and the one that leaves subtracted."""
    x, y = POKEMON
    e = run["params"] @ np.stack([np.ones_like(x), x]) - y
    squares = 4 * np.stack([e.sum(1), e @ x], 1) ** 2
    leaving = np.concatenate([np.zeros((length, 2)), squares[:-length]])
    return np.cumsum(squares - leaving, axis=0)


def at_the_end(path):
    """The median distance to the optimum in the last updates."""
    return np.median(distances(path[-LAST:]))


def distances(path):
    """How far the points of a path are from the optimum."""
    return np.linalg.norm(path - np.array(POKEMON_OPTIMUM), axis=1)


def numpy_window(length, updates=UPDATES):
    """The path of the same run by a loop in NumPy."""
    theta, squares, path = np.array(POKEMON_START), np.zeros((length, 2)), np.empty((updates, 2))
    for t in range(updates):
        path[t] = theta
        g = pokemon_gradient(theta)
        squares[t % length] = g * g
        theta = theta - RATE * g / np.sqrt(squares.sum(0) / min(t + 1, length))
    return path


def draw(run, windows):
    """The table of surprise, the rates on the Pokemon surface, the windows."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, ((left, middle), (right, sampled)) = plt.subplots(2, 2, figsize=(11, 7.6))
    places = np.sort(np.random.default_rng(0).uniform(-RADIUS, RADIUS, size=12))
    for curvature, far, colour in ((1.0, 3.0, figures.PALETTE[0]), (10.0, 0.5, figures.PALETTE[3])):
        label = f"f'' = {curvature:g}: 12 places, root mean square {curvature * np.sqrt(np.mean(places**2)):.3g}"
        sampled.plot(places, curvature * np.abs(places), "o", markersize=4, color=colour, label=label)
        sampled.plot(
            far,
            curvature * far,
            "*",
            markersize=11,
            color=colour,
            label=f"at the distance {far:g}: {curvature * far:g}",
        )
    sampled.set(
        ylim=(-1, 32),
        xlabel="place",
        ylabel="|f'|",
        title="the sharper parabola has the larger derivatives; do not cross them",
    )
    t = np.arange(1, 6)
    for grads, label, colour in (
        (SURPRISING, "small before", figures.PALETTE[0]),
        (DISAPPOINTING, "large before", figures.PALETTE[3]),
    ):
        left.plot(t, grads, "--", color=colour, marker="o", markersize=4, label=f"|g|, {label}")
        steps = np.abs(grads) / np.sqrt(np.cumsum(np.square(grads)))
        left.plot(t, steps, "-", color=colour, marker="s", markersize=4, label=f"step / eta, {label}")
    left.set(
        yscale="log", xticks=t, xlabel="update", ylabel="gradient, step", title="the same last gradient .1: surprise"
    )
    updates = np.arange(UPDATES) + 1
    for i, name in enumerate("bw"):
        rate = 1 / run["sigma"][:, i] / np.sqrt(updates)
        middle.plot(updates, rate, color=figures.PALETTE[i], label=f"rate of ${name}$")
    middle.set(
        xscale="log", yscale="log", xlabel="updates", ylabel="eta / sigma", title="Adagrad on the Pokemon surface"
    )
    shown = np.arange(0, UPDATES, 40)
    for (k, path), colour in zip(windows.items(), figures.PALETTE, strict=False):
        far = distances(path[shown])
        right.plot(shown + 1, far, color=colour, linewidth=0.9, label=f"window of {k}")
    right.set(
        yscale="log",
        xlabel="updates",
        ylabel="distance to the optimum",
        title="only the last K, rate .01",
    )
    right.set_xticks(range(0, UPDATES + 1, 5000))
    for axes in (left, middle, right, sampled):
        axes.legend(fontsize=7)
    return figure
