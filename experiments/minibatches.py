"""What do a few examples tell of the gradient, and what is their noise good for? (S39-S47, S49)

The gradient of a batch is the gradient of all on average, and off by

    E |g_B - g|^2  =  (tr C / B) (N - B) / (N - 1)

for batches without repetition out of N examples with covariance C.  "With 20 examples, 20 times faster": full-batch
descent needs 20 to 23 epochs for what one epoch of single examples does, 20 (and a little) as eta -> 0.  The printed 22
is the median here at the rate .05, at .01 it is 21: it depends on the examples drawn.

"Noisy gradients help to leave saddles" is true of noise added to every coordinate.  It is false of label noise on
(y - w1 w2)^2: every example keeps the line w1 = -w2 invariant, which leads into the saddle, and so do mini-batches
and momentum.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
from experiments.settings import Minibatches
from experiments.verdict import Check, at_most, conclude, is_true
from gdlab.problems import digits, network, network_loss

QUESTION = "What do a few examples tell of the gradient, and what is their noise good for? (S39-S47, S49)"
EXAMPLES = 1000
SIZES = (1, 10, 100, 500, 1000)
BATCHES = 4000
POINTS = 20
RATES = {0.001: 21, 0.01: 22, 0.05: 22}
X = jax.random.normal(jax.random.key(1), (POINTS,))  # for S40: y = x, so that the optimum is (b, w) = (0, 1)
FROM = jnp.array([0.5, 1.5])


def main(settings: Minibatches) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "minibatches", QUESTION, measure)


def measure():
    """The checks and the figure."""
    noise, epochs, saddle = noise_law(), epochs_needed(), leaving()
    seconds = timing()
    checks = [*sums(), *orders(), *noise[0], *epochs[0], *zigzag(), *saddle[0], *two_losses(), *seconds[0]]
    return checks, draw(noise[1], epochs[1], saddle[1], seconds[1])


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
    return (
        at_most(
            "S39", "sum of all g^n - g, relative", jnp.linalg.norm(each.sum(0) - whole) / jnp.linalg.norm(whole), 1e-12
        ),
        at_most("S39", "mean of N g^n - g, relative", jnp.linalg.norm((EXAMPLES * each).mean(0) / whole - 1), 1e-12),
        at_most(
            "S43", "theta frozen: on-line in reverse - off-line", jnp.linalg.norm(each[::-1].sum(0) / whole - 1), 1e-12
        ),
        is_true(
            "S43",
            "theta moving: the reverse order ends elsewhere",
            jnp.linalg.norm(once(forward) - once(forward[::-1])) > 1e-3,
        ),
    )


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
    )


def noise_law():
    """The mean square error of a batch's gradient (S45)."""
    x, y = line(jax.random.key(0))
    each = per_example(jnp.array([-1.0, 0.5]), x, y)
    whole = each.mean(0)
    trace = float(jnp.sum(jnp.mean((each - whole) ** 2, 0)))

    def errors(key):  # of the first B examples in a random order, for every B
        means = jnp.cumsum(jax.random.permutation(key, each), 0)[jnp.array(SIZES) - 1] / jnp.array(SIZES)[:, None]
        return jnp.sum((means - whole) ** 2, 1)

    measured = np.asarray(jax.lax.map(errors, jax.random.split(jax.random.key(2), BATCHES), batch_size=100))
    checks, points = [], []
    for size, values in zip(SIZES, measured.T, strict=True):
        law = trace / size * (EXAMPLES - size) / (EXAMPLES - 1)
        tolerance = max(4 * values.std() / BATCHES**0.5, 1e-24)
        checks.append(Check("S45", f"B = {size}: E|g_B - g|^2", values.mean(), law, tolerance))
        points.append((size, values.mean(), law))
    return checks, points


def epochs_needed():
    """How many epochs of full-batch descent reach the loss that one epoch of single examples does (S40)."""
    y, everything = X, (X, X)
    orders = jax.vmap(lambda key: jax.random.permutation(key, POINTS))(jax.random.split(jax.random.key(0), 200))

    def needed(rate, order):
        single = gdlab.minimize(squared, gdlab.sgd(rate), FROM, POINTS, batches=(X[order], y[order])).params
        full = gdlab.minimize(squared, gdlab.gd(rate), FROM, 40, args=(everything,)).history["loss"]
        return jnp.argmax(full <= squared(single, everything))

    rates = (1e-5, *RATES)
    every_order = jax.vmap(needed, (None, 0))
    counts = dict(zip(rates, np.asarray(jax.vmap(every_order, (0, None))(jnp.array(rates), orders)), strict=True))
    wide = 10 * jax.random.uniform(jax.random.key(4), (POINTS,))  # examples as on the slide
    one = FROM - 0.009 * jax.grad(squared)(FROM, (wide, wide))
    twenty = gdlab.minimize(squared, gdlab.sgd(0.009), FROM, POINTS, batches=(wide, wide)).params
    checks = [
        *(
            Check("S40", f"rate {rate}: epochs, median of 200 orders", np.median(counts[rate]), n, 1.0)
            for rate, n in RATES.items()
        ),
        Check("S40", "rate 1e-5: epochs", np.median(counts[1e-5]), 20.5, 0.5),
        *(
            Check("S40", f"slide, one full step: {n}", one[i], v, 0.05)
            for i, (n, v) in enumerate((("b", 0.44), ("w", 1.14)))
        ),
        *(
            Check("S40", f"slide, 20 single steps: {n}", twenty[i], v, 0.05)
            for i, (n, v) in enumerate((("b", 0.38), ("w", 0.93)))
        ),
    ]
    return checks, counts


def zigzag():
    """Steps of single examples turn, those of all examples do not (S42)."""
    x, y = line(jax.random.key(0))

    def turns(size, rate, steps):
        stream = gdlab.minibatches((x, y), size, key=jax.random.key(1))
        run = gdlab.minimize(
            squared, gdlab.sgd(rate), jnp.array([-3.0, -3.0]), steps, batches=stream, record=("update",)
        )
        u = run.history["update"]
        u /= jnp.linalg.norm(u, axis=1, keepdims=True)
        return float(jnp.mean(jnp.sum(u[1:] * u[:-1], axis=1)))

    alone, together = turns(1, 0.02, 100), turns(EXAMPLES, 0.02, 100)
    return (
        is_true("S42", "all examples: mean cosine of a step and the next above .99", together > 0.99),
        is_true("S42", "single examples: below .8", alone < 0.8),
    )


def leaving():
    """Who leaves the saddle of (y - w1 w2)^2 from (.5, -.5): label noise or added noise (S49)."""
    start = jnp.array([0.5, -0.5])
    labels = 1 + jax.random.normal(jax.random.key(0), (2000, 4))

    def labelled(w, y):
        return jnp.mean((y - w[0] * w[1]) ** 2)

    def noisy(w, key):
        return (1 - w[0] * w[1]) ** 2 + 1e-3 * jax.random.normal(key, (2,)) @ w

    def run(loss, optimizer, **how):
        return gdlab.minimize(loss, optimizer, start, 2000, record=("params",), **how).history["params"]

    paths = {
        "SGD, noisy labels": run(labelled, gdlab.sgd(0.02), batches=labels[:, :1]),
        "batches of 4": run(labelled, gdlab.sgd(0.02), batches=labels),
        "momentum .9, noisy labels": run(labelled, gdlab.momentum(0.002, 0.9), batches=labels[:, :1]),
        "noise 1e-3 on the gradient": run(lambda w, key: noisy(w, key), gdlab.sgd(0.1), key=jax.random.key(1)),
    }
    *stay, leave = paths.items()
    return (
        *(at_most("S49", f"{name}: |w1 + w2|", jnp.abs(path.sum(1)).max(), 0.0) for name, path in stay),
        *(
            at_most("S49", f"{name}: distance to the saddle at the end", jnp.linalg.norm(path[-1]), 1e-2)
            for name, path in stay
        ),
        at_most("S49", f"{leave[0]}: 1 - w1 w2 at the end", 1 - leave[1][-1].prod(), 0.05),
    ), paths


def two_losses():
    """Stuck on L1, L2 still moves: the mean of two losses whose stationary points differ (S49)."""
    hills = (lambda x: x**4 - 2 * x**2 + 0.3 * x, lambda x: (x + 1) ** 2)
    at = 0.960  # near the local minimum of the first
    stuck = gdlab.minimize(hills[0], gdlab.gd(0.05), at, 2000).params
    pairs = jnp.arange(2000) % 2
    both = lambda x, which: jnp.where(which == 0, hills[0](x), hills[1](x))  # noqa: E731
    moved = gdlab.minimize(both, gdlab.sgd(0.05), at, 2000, batches=pairs).params
    return (
        is_true("S49", "gd on L1 alone stays in its local minimum", stuck > 0.9),
        is_true("S49", "L1 and L2 in turn: it gets out, to the other side", moved < -0.9),
    )


def timing():
    """Seconds per update and per epoch for the digits network on this machine (S46, S47): orders of magnitude only."""
    data = tuple(values[:1400] for values in digits())
    layers = network(jax.random.key(0), (64, 64, 10))
    per_update: dict[int, float] = {}
    for size in (1, 100, 1400):
        stream, steps = gdlab.minibatches(data, size, key=jax.random.key(0)), 200 if size < 1400 else 20

        def run(stream=stream, steps=steps):
            return jax.block_until_ready(
                gdlab.minimize(network_loss, gdlab.sgd(0.1), layers, steps, batches=stream).params
            )

        run()
        spent = []
        for _ in range(3):
            started = time.perf_counter()
            run()
            spent.append((time.perf_counter() - started) / steps)
        per_update[size] = min(spent)
    epoch = {size: seconds * 1400 / size for size, seconds in per_update.items()}
    return (
        is_true(
            "S46", "an update on 100 examples takes less than 50 times one on 1", per_update[100] < 50 * per_update[1]
        ),
        is_true("S47", "an epoch of B = 1 takes longer than one of B = 100", epoch[1] > epoch[100]),
    ), (per_update, epoch)


def draw(noise, epochs, paths, seconds):
    """The noise law, the epochs needed, who leaves the saddle, and the time per update."""
    from experiments import figures
    from experiments.figures import plt

    figure, ((law, needed), (saddle, clock)) = plt.subplots(2, 2, figsize=(10, 7.6))
    sizes, measured, _ = zip(*noise, strict=True)
    b = np.geomspace(1, EXAMPLES - 0.5, 300)
    law.plot(
        b,
        noise[0][2] / b * (EXAMPLES - b) / (EXAMPLES - 1),
        "-",
        color=figures.PALETTE[0],
        label="(tr C / B) (N - B) / (N - 1)",
    )
    law.plot(sizes[:-1], measured[:-1], "o", color=figures.PALETTE[3], label="4000 batches (at B = N: none)")
    law.set(
        xscale="log",
        yscale="log",
        xlabel="batch size B of N = 1000",
        ylabel="mean of $|g_B - g|^2$",
        title="the noise of a batch",
    )
    for i, ((rate, counts), colour) in enumerate(zip(epochs.items(), figures.PALETTE, strict=False)):
        values, many = np.unique(counts, return_counts=True)
        needed.bar(values + 0.2 * (i - 1.5), many / len(counts), 0.2, color=colour, label=f"rate {rate:g}")
    needed.set_xticks(range(19, 25))
    needed.set(
        xlabel="epochs of full-batch descent for one of single examples",
        ylabel="share of 200 orders",
        title="20 examples: 20 times faster?",
    )
    figures.contours(saddle, lambda w: (1 - w[0] * w[1]) ** 2, ((-1.5, 1.5), (-1.5, 1.5)))
    for i, ((name, path), colour) in enumerate(zip(paths.items(), figures.PALETTE, strict=False)):
        saddle.plot(*np.asarray(path).T, color=colour, linewidth=7 - 2 * i, label=name)
    figures.critical_points(saddle, [((0.0, 0.0), "saddle")])
    saddle.set(xlabel="$w_1$", ylabel="$w_2$", title="from (.5, -.5): who leaves the saddle")
    for values, label, colour in zip(seconds, ("one update", "one epoch of 1400"), figures.PALETTE, strict=False):
        clock.plot(list(values), list(values.values()), "o-", color=colour, label=label)
    clock.set(
        xscale="log", yscale="log", xlabel="batch size", ylabel="seconds", title="a network on digits, on this machine"
    )
    for axes in (law, needed, saddle, clock):
        axes.legend(fontsize=7)
    return figure
