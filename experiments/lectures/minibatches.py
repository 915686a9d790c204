"""What do a few examples tell of the gradient, and what do they cost? (S39, S41-S47)

The gradient of a batch is the gradient of all on average, and off by

    E |g_B - g|^2  =  (tr C / B) (N - B) / (N - 1)

for batches without repetition out of N examples with covariance C.  An epoch takes each example once, in an order drawn
anew.  Steps of single examples zig-zag, those of all do not; how long they take depends on the machine.  Where each
update is dispatched, one on 100 examples takes a few times as long as one on 1, which is shown, not judged.
"""

import time
from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
from gdlab.problems import digits, network, network_loss

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true
from ..reporting.run_folder import Table
from ..reporting.standard_errors import error_of_mean, error_of_ratio, error_of_share, error_of_variance, least_lead

QUESTION = "What do a few examples tell of the gradient, and what do they cost? (S39, S41-S47)"
EXAMPLES = 1000
SIZES = (1, 10, 100, 500, 1000)
BATCHES = 4000
FAR = (2.5, 0.5)  # from the path
ORDERS = 16  # of the examples, in which batches are taken
SHUFFLED, KEYS = 12, 1000  # examples whose orders are counted, and how many streams


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "minibatches", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure."""
    noise, paths, seconds = (
        noise_law(1000 if quick else BATCHES),
        {size: paths_of(size) for size in (1, 10, 100, EXAMPLES)},
        timing(),
    )
    first = {size: of_orders[0] for size, of_orders in paths.items()}
    checks = [*sums(), *orders(), *noise[0], *zigzag(paths), *fog(first[EXAMPLES]), *seconds[0]]
    return checks, lambda: draw(noise[1], first, seconds[1]), clocked(*seconds[1])


def squared(theta, example):
    """(y - b - w x)^2 of one example, or the mean over several."""
    x, y = example
    return jnp.mean((y - theta[0] - theta[1] * x) ** 2)


def per_example(theta, x, y):
    """The gradient of each example, shape (N, 2)."""
    return jax.vmap(jax.grad(squared), (None, 0))(theta, (x, y))


def line(key):
    """Examples of a noisy line."""
    x, e = jax.random.normal(key, (2, EXAMPLES))
    return x, 1 + 2 * x + 3 * e


def sums():
    """Gradients of single examples add up to the gradient of all (S39, S43); when theta moves, the order matters."""
    x, y = line(jax.random.key(0))
    theta = jnp.array([-1.0, 0.5])
    each = per_example(theta, x, y)
    whole = jax.grad(lambda theta: jnp.sum((y - theta[0] - theta[1] * x) ** 2))(theta)

    def once(order):
        return gdlab.minimize(squared, gdlab.sgd(0.01), theta, EXAMPLES, batches=(x[order], y[order])).params

    forward = jnp.arange(EXAMPLES)
    fitted, left = np.linalg.lstsq(np.stack([np.ones(EXAMPLES), x], 1), np.asarray(y), rcond=None)[:2]
    return (
        *(
            Check("S39", f"the line through the examples: {name}, 4 standard errors", value, due, 4 * 3 / EXAMPLES**0.5)
            for name, value, due in zip(("offset", "slope"), fitted, (1.0, 2.0), strict=True)
        ),
        Check(  # of a variance of normal numbers, relative
            "S39", "its noise: variance over 9", left[0] / EXAMPLES / 9, 1.0, error_of_variance(EXAMPLES)
        ),
        at_most("S39", "sum of all g^n over g, less 1", farthest(each.sum(0) / whole, 1), 1e-12),
        at_most("S39", "mean of N g^n, likewise", farthest((EXAMPLES * each).mean(0) / whole, 1), 1e-12),
        at_most(
            "S43",
            "theta frozen: on-line in reverse over off-line - 1",
            farthest(each[::-1].sum(0) / whole, 1),
            1e-12,
        ),
        *(
            at_most(
                "S43",
                f"theta moving, {name}: off a NumPy loop",
                farthest(once(order), walked(x, y, order)),
                1e-12,
            )
            for name, order in (("in order", forward), ("in reverse", forward[::-1]))
        ),
        is_true(
            "S43",
            "they end apart, by more than rounding",
            farthest(once(forward), once(forward[::-1])) > 1e-9,
        ),
    )


def walked(x, y, order):
    """Where single examples lead from (-1, .5) at the rate .01, by a loop in plain Python."""
    b, w = -1.0, 0.5
    for n in np.asarray(order).tolist():
        e = b + w * float(x[n]) - float(y[n])
        b, w = b - 0.01 * 2 * e, w - 0.01 * 2 * e * float(x[n])
    return np.array([b, w])


def orders():
    """Each example once an epoch, in an order drawn anew (S44)."""
    stream = gdlab.minibatches(jnp.arange(60), 20, key=jax.random.key(0))
    _, seen = jax.lax.scan(lambda state, _: stream.next(state)[::-1], stream.init(), None, 6)
    first, second = seen[:3].reshape(-1), seen[3:].reshape(-1)
    return (
        is_true(
            "S44",
            "each example once in either epoch",
            (jnp.sort(first) == jnp.sort(second)).all() & (jnp.sort(first) == jnp.arange(60)).all(),
        ),
        is_true("S44", "in another order", (first != second).any()),
        *shuffled(),
    )


def shuffled():
    """Every order is equally likely: what stands first, what follows, and how the next epoch begins (S44)."""

    def two_epochs(key):
        stream = gdlab.minibatches(jnp.arange(SHUFFLED), SHUFFLED // 3, key=key)
        return jax.lax.scan(lambda state, _: stream.next(state)[::-1], stream.init(), None, 6)[1].reshape(2, -1)

    drawn = np.asarray(jax.jit(jax.vmap(two_epochs))(jax.random.split(jax.random.key(5), KEYS)))
    first, second = drawn[:, 0], drawn[:, 1]
    followed = np.c_[first, np.zeros(KEYS, int)]  # 0 where example 0 is the last: as likely as any of the others
    counted = {
        "which example is the first": first[:, 0],
        "which example follows example 0": followed[np.arange(KEYS), first.argmin(1) + 1],
        "the first of the next epoch less this one, modulo 12": (second[:, 0] - first[:, 0]) % SHUFFLED,
    }
    for name, found in counted.items():
        off = farthest(np.bincount(found, minlength=SHUFFLED) / KEYS, 1 / SHUFFLED)
        yield at_most("S44", f"{name}: shares off 1/12, four standard errors", off, error_of_share(1 / SHUFFLED, KEYS))


def noise_law(batches):
    """The mean square error of a batch's gradient (S45), of examples in the order of x, where neighbors are alike."""
    x, y = line(jax.random.key(0))
    x, y = x[jnp.argsort(x)], y[jnp.argsort(x)]
    each = per_example(jnp.array([-1.0, 0.5]), x, y)
    whole = each.mean(0)
    trace = float(jnp.sum(jnp.mean((each - whole) ** 2, 0)))

    def errors(key):  # of the first batch of a stream, for every B
        streams = [gdlab.minibatches(each, size, key=key) for size in SIZES]
        return jnp.stack([jnp.sum((stream.next(stream.init())[0].mean(0) - whole) ** 2) for stream in streams])

    measured = np.asarray(jax.lax.map(errors, jax.random.split(jax.random.key(2), batches), batch_size=100))
    a, t = np.asarray(x, float), np.asarray(y, float)
    slope = 2 * (-1 + a / 2 - t)
    ratio = float(trace / (np.var(slope) + np.var(slope * a)))
    checks, points = [Check("S45", "variance of a gradient at (-1, .5), over NumPy's", ratio, 1.0, 1e-9)], []
    for size, values in zip(SIZES, measured.T, strict=True):
        law = of_batches(trace, size, EXAMPLES)
        tolerance = max(error_of_mean(values), 1e-24)  # 0 where all are taken
        checks.append(Check("S45", f"B = {size}: E|g_B - g|^2", values.mean(), law, tolerance))
        points.append((size, values.mean(), law))
    few = np.asarray(each)[:12]
    means = np.array([few[list(batch)].mean(0) for batch in combinations(range(12), 5)])
    spread, of_few = (((part - few.mean(0)) ** 2).sum(1).mean() for part in (means, few))
    name = "every batch of 5 out of 12: E|g_B - g|^2 over its law"
    checks.append(Check("S45", name, spread / of_batches(of_few, 5, 12), 1.0, 1e-12))
    (_, one, law), (_, ten, law_of_ten) = points[:2]
    name, error = "the error of one example over that of a batch of 10", error_of_ratio(*measured.T[:2])
    checks.append(Check("S41", name, one / ten, law / law_of_ten, error))
    return checks, points


def of_batches(trace, size, examples):
    """The mean square error of a batch without repetition, by the trace of the covariance of single gradients."""
    return trace / size * (examples - size) / (examples - 1)


def paths_of(size):
    """The parameters along 100 steps on batches of a size, from 16 orders of the examples: shape (16, 100, 2)."""
    examples, start = line(jax.random.key(0)), jnp.array([-3.0, -3.0])

    def path(key):
        stream = gdlab.minibatches(examples, size, key=key)
        return gdlab.minimize(squared, gdlab.sgd(0.02), start, 100, batches=stream, record=("params",)).history[
            "params"
        ]

    return np.asarray(jax.jit(jax.vmap(path))(jax.random.split(jax.random.key(1), ORDERS)))


def zigzag(paths):
    """Steps of single examples turn, those of all examples do not (S41, S42)."""
    turns = np.cumsum([[0, 0], [3, 0], [0.5, 0.75**0.5], [1, 3**0.5], [-(3**0.5), 1]], axis=0)  # by 60, 0, 90 degrees
    ends = paths[1][:, -1]
    straight_ones = np.array([[straight(path) for path in of_orders] for of_orders in paths.values()])
    return (
        Check("S42", "a path that turns by 60, 0 and 90 degrees: mean cosine", straight(turns), 0.5, 1e-12),
        is_true(
            "S42",
            f"the larger the batch, the straighter, mean of {ORDERS} orders, by four standard errors",
            (least_lead(straight_ones[1:], straight_ones[:-1], error_of_mean) > 0).all(),
        ),
        exactly("S42", "(0, 0), (3, 4) and (3, 9.5): the least distance", nearest([(0, 0), (3, 4), (3, 9.5)]), 5.0),
        is_true(
            "S42",
            f"batches of 1: each two of the {ORDERS} orders end apart, by more than rounding",
            nearest(ends) > 1e-9,
        ),
        at_most(
            "S42", "all examples: the path off that of the normal equations", off_the_law(paths[EXAMPLES][0]), 1e-12
        ),
        is_true(
            "S42",
            "single examples turn by a right angle or more at times, in every order",
            max(map(sharpest, paths[1])) < 0,
        ),
        is_true("S42", "all examples never do", min(map(sharpest, paths[EXAMPLES])) > 0),
    )


def nearest(places):
    """The least distance of two of the places."""
    return min(np.linalg.norm(np.subtract(one, other)) for one, other in combinations(places, 2))


def straight(path):
    """The mean cosine of a step and the next."""
    steps = np.diff(path, axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    return np.mean(np.sum(steps[1:] * steps[:-1], axis=1))


def sharpest(path):
    """The lowest cosine of a step and the next, times their lengths."""
    steps = np.diff(path, axis=0)
    return np.sum(steps[1:] * steps[:-1], axis=1).min()


def off_the_law(path):
    """How far the path of all examples is from (1 - rate H)^t (theta_0 - theta*) + theta*, in NumPy."""
    x, y = map(np.asarray, line(jax.random.key(0)))
    features = np.stack([np.ones_like(x), x])
    h, c = 2 * features @ features.T / EXAMPLES, 2 * features @ y / EXAMPLES
    best = np.linalg.solve(h, c)
    values, basis = np.linalg.eigh(h)
    t = np.arange(len(path))[:, None]
    return np.abs(path - best - (1 - 0.02 * values) ** t * (basis.T @ (np.array([-3.0, -3.0]) - best)) @ basis.T).max()


def near(theta, path, reach):
    """Whether a place lies within reach of a path."""
    return jnp.sum((path - theta) ** 2, axis=1).min() < reach**2


def fog(path, reach=0.05):
    """Descent knows its surroundings only: where the rest of the surface is another one the path is the same (S42)."""
    examples, seen = line(jax.random.key(0)), jnp.asarray(path)

    def elsewhere(theta, examples):
        return jnp.where(near(theta, seen, reach), squared(theta, examples), -1e3 * jnp.sum(theta))

    def walk(loss):
        run = gdlab.minimize(loss, gdlab.gd(0.02), jnp.array([-3.0, -3.0]), 100, args=(examples,), record=("params",))
        return run.history["params"]

    far = jnp.array(FAR)
    apart = farthest(walk(squared), walk(elsewhere))
    along = seen[51] - seen[50]
    place = seen[50] + reach * jnp.array([[0.5], [1.5]]) * along[::-1] * jnp.array([-1, 1]) / jnp.linalg.norm(along)
    return (
        exactly("S42", "two surfaces that agree near the path only: paths apart by", apart, 0.0),
        is_true(
            "S42", "they agree half of .05 beside it", squared(place[0], examples) == elsewhere(place[0], examples)
        ),
        is_true("S42", "not three times as far", jnp.isclose(elsewhere(place[1], examples), -1e3 * place[1].sum())),
        is_true(
            "S42", "and far away one is above 0, the other below", squared(far, examples) > 0 > elsewhere(far, examples)
        ),
    )


def timing():
    """Seconds per dispatched update and per epoch for the digits network on this machine (S46, S47): ordinal only."""
    data = tuple(jnp.asarray(values[:1400]) for values in digits())
    layers, optimizer = network(jax.random.key(0), (64, 64, 10)), gdlab.sgd(0.1)

    @jax.jit
    def step(layers, state, batch):
        updates, state = optimizer.update(jax.grad(network_loss)(layers, batch), state, layers)
        return jax.tree.map(jnp.add, layers, updates), state

    batches = {size: tuple(values[:size] for values in data) for size in (1, 5, 20, 100, 400, 1400)}
    per_update = least_of_five(step, (layers, optimizer.init(layers)), batches, time.perf_counter)
    epoch = per_epoch(per_update)
    return (
        *by_a_known_clock(),
        # Of times on a machine that does other things no more than the order is judged.
        is_true("S46", "an update on 1400 takes longer than one on 100", per_update[1400] > per_update[100]),
        is_true("S47", "an epoch of B = 1 takes longer than one of B = 100", epoch[1] > epoch[100]),
    ), (per_update, epoch)


def least_of_five(step, start, batches, clock):
    """Seconds per update on each batch: the least of five means of 40, in turns, of which the first compiles."""
    least = dict.fromkeys(batches, np.inf)
    for _ in range(5):
        for size, batch in batches.items():
            made, started = start, clock()
            for _ in range(40):
                made = step(*made, batch)
            jax.block_until_ready(made)
            least[size] = min(least[size], (clock() - started) / 40)
    return least


def per_epoch(per_update):
    """Seconds that an epoch of the 1400 examples takes, by batch size."""
    return {size: seconds * 1400 / size for size, seconds in per_update.items()}


def by_a_known_clock():
    """The seconds of updates that take twice the size of their batch, but two rounds of them three seconds longer."""
    seconds, rounds = [0.0], iter(range(5))

    def step(made, size):
        longer = 3.0 if size == 1 and made == 0 and next(rounds) in (0, 3) else 0.0
        seconds[0] += 2.0 * size + longer
        return (made + 1,)

    found = least_of_five(step, (0,), {1: 1, 7: 7}, lambda: seconds[0])
    epoch = per_epoch(found)
    return (
        exactly("S46", "by a clock that is known: seconds per update on 1 and 7", found[1] + 100 * found[7], 1402.0),
        exactly("S47", "the same: seconds of 1400 updates on 1", epoch[1], 1400 * 2.0),
        exactly("S47", "the same: seconds of 200 updates on 7", epoch[7], 200 * 14.0),
    )


def clocked(per_update, epoch):
    """The times, each over that of single examples: all at once an update would take 1, one after another B."""
    rows = [[f"{b}", f"{per_update[b] / per_update[1]:.3g}", f"{epoch[b] / epoch[1]:.2g}"] for b in per_update]
    return Table("Times on this machine over those of B = 1: not judged", ("B", "an update", "an epoch"), rows)


def draw(noise, paths, seconds):
    """The noise law, the two paths, and the time per update."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, ((law, plane), (seen, clock)) = plt.subplots(2, 2, figsize=(11, 8.4))
    in_the_fog(seen, paths)
    sizes, measured, _ = zip(*noise, strict=True)
    b = np.geomspace(1, EXAMPLES - 0.5, 300)
    expected = noise[0][2] / b * (EXAMPLES - b) / (EXAMPLES - 1)
    law.plot(b, expected, "-", color=figures.PALETTE[0], label="(tr C / B) (N - B) / (N - 1)")
    law.plot(sizes[:-1], measured[:-1], "o", color=figures.PALETTE[3], label="drawn (at B = N: none)")
    law.set(xscale="log", yscale="log", title="the noise of a batch")
    law.set(xlabel="batch size B of N = 1000", ylabel="mean of $|g_B - g|^2$")
    examples = line(jax.random.key(0))
    figures.contours(lambda theta: squared(theta, examples), ((-4, 4), (-4, 5)), ax=plane)
    shades = ("#D55E00", "#000000", "#56B4E9", "#0072B2")
    for (size, path), colour, width in zip(paths.items(), shades, (0.7, 1.0, 1.4, 2.2), strict=True):
        plane.plot(
            *path.T, ".-", color=colour, linewidth=width, markersize=3, label=f"batches of {size}", zorder=4 - width
        )
    plane.set(xlabel="$b$", ylabel="$w$", title="100 steps at rate .02")
    for values, label, colour in zip(seconds, ("one update", "one epoch of 1400"), figures.PALETTE, strict=False):
        clock.plot(list(values), list(values.values()), "o-", color=colour, label=label)
    clock.set(xscale="log", yscale="log", xlabel="batch size", ylabel="seconds")
    clock.set_title("a network on digits, on this machine")
    for axes in (law, plane, seen, clock):
        axes.legend(fontsize=7)
    return figure


def in_the_fog(panel, paths):
    """The surface as far as two walkers see it: the lecture's demonstration, as in a game's fog (S42)."""
    from ..reporting import figures

    examples, both = line(jax.random.key(0)), jnp.asarray(np.vstack([paths[1], paths[EXAMPLES]]))

    def visible(theta):
        return jnp.where(near(theta, both, 0.5), squared(theta, examples), jnp.nan)

    panel.set_facecolor("0.35")
    figures.contours(visible, ((-4, 4), (-4, 5)), ax=panel)
    for size, colour in ((1, "#D55E00"), (EXAMPLES, "#0072B2")):
        panel.plot(*paths[size].T, ".-", color=colour, linewidth=1, markersize=3, label=f"batches of {size}")
    panel.set(xlabel="$b$", ylabel="$w$", title="what the walkers have seen; the rest lies in the fog")
