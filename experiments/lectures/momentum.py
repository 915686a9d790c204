"""What does momentum carry a run past, and how much faster does it arrive? (S73-S76, S96; section 3.10)

The movement is the previous movement less eta g, which is a sum of all gradients with weights eta lambda^k.  For a
constant gradient the step grows to eta / (1 - lambda).  On hills with many minima a ball with more inertia comes to
rest in a later one; on the Pokemon valley the distance to go shrinks 1 / (1 - lambda) times faster.  Nesterov's two
forms, the gradient at the looked-ahead point and the looked-ahead parameters themselves, are one rule.
"""

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
from gdlab.problems import POKEMON_CURVATURES, POKEMON_OPTIMUM, POKEMON_START, pokemon, pokemon_loss, surface

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true, printed

QUESTION = "What does momentum carry a run past, and how much faster does it arrive? (S73-S76, S96)"
HILLS = surface("hills").loss
INERTIAS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95)
ON_POKEMON = (0.0, 0.9, 0.99, 0.999)
POKEMON_RATE, POKEMON_STEPS = 1e-7, 100_000
AMONG_HUMPS = (-1.5, 0.8)
CHAIN = 200  # links of Nesterov's worst function
GAPS = {10: (".1199", ".0829"), 100: (".0373", ".00790"), 400: (".0174", "1.87e-4"), 2000: (".00643", "1.77e-6")}


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "momentum", QUESTION, measure)


def measure():
    """The checks and the figure."""
    hills, pokemons, gaps = over_hills(), on_pokemon(), chain()
    checks = [*forms(), *nesterov_forms(), *passed(hills), *faster(pokemons), *worst(gaps)]
    return checks, lambda: draw(hills, pokemons, gaps)


def forms():
    """Movement by movement, and as a sum of all gradients (S73, S74)."""
    grads = jax.random.normal(jax.random.key(0), (200, 3))
    run = gdlab.minimize(jnp.vdot, gdlab.momentum(0.1, 0.9), jnp.zeros(3), 200, batches=grads, record=("update",))
    g, moves = np.asarray(grads), np.asarray(run.history["update"])
    weights = np.tril(0.9 ** (np.arange(200)[:, None] - np.arange(200)).clip(0))
    steady = gdlab.minimize(
        jnp.vdot, gdlab.momentum(0.1, 0.9), jnp.zeros(1), 1000, batches=jnp.ones((1000, 1)), record=("update",)
    )
    ball = surface("linear_net").loss
    thrown = gdlab.momentum(0.1, 0.9)
    _, state = thrown.update(jnp.array([1.0, 0.0]), thrown.init(jnp.zeros(2)))
    rolled, _ = thrown.update(jax.grad(ball)(jnp.zeros(2)), state)
    return (
        at_most("S73", "m1 + eta g0", np.abs(moves[0] + 0.1 * g[0]).max(), 1e-16),
        at_most("S73", "m2 - lambda m1 + eta g1", np.abs(moves[1] - 0.9 * moves[0] + 0.1 * g[1]).max(), 1e-16),
        at_most("S74", "200 movements - sums of all gradients", np.abs(moves + 0.1 * weights @ g).max(), 1e-15),
        exactly("S74", "constant g: step over eta after 1000", -steady.history["update"][-1, 0] / 0.1, 10.0),
        exactly("S75", "where g = 0 it keeps moving: lambda times as far", rolled[0], -0.09),
    )


def nesterov_forms():
    """theta <- theta - v with v = lambda v + eta grad(theta - lambda v), and ours in theta - lambda v (S96)."""
    loss, start = surface("six_hump_camel").loss, jnp.array(AMONG_HUMPS)

    def grad(at):  # of (4 - 2.1 x^2 + x^4 / 3) x^2 + x y + (4 y^2 - 4) y^2, by hand
        x, y = at
        return jnp.stack([8 * x - 8.4 * x**3 + 2 * x**5 + y, x - 8 * y + 16 * y**3])

    run = gdlab.minimize(loss, gdlab.nesterov(0.02, 0.9), start, 200, record=("params",))

    def step(carry, _):
        theta, v = carry
        v = 0.9 * v + 0.02 * grad(theta - 0.9 * v)
        theta = theta - v
        return (theta, v), theta - 0.9 * v

    _, looked = jax.lax.scan(step, (start, jnp.zeros(2)), None, 199)
    return (
        at_most(
            "S96",
            "200 steps: form with the looked-ahead gradient - ours",
            jnp.abs(run.history["params"][1:] - looked).max(),
            1e-12,
        ),
    )


def over_hills():
    """The paths over the hills from -3, by inertia."""
    start = jnp.array([-3.0])

    def path(inertia):
        return gdlab.minimize(HILLS, gdlab.momentum(0.05, inertia), start, 3000, record=("params",)).history["params"]

    return np.asarray(jax.vmap(path)(jnp.array(INERTIAS)))[:, :, 0]


def passed(paths):
    """Where they come to rest (S75, S76), against a loop in plain Python and the minima from the derivative's roots."""
    x = np.linspace(-10, 20, 300_001)
    slope = -0.9 * np.sin(1.5 * x) + 0.1 * (x - 6)
    minima = x[:-1][(slope[:-1] < 0) & (slope[1:] >= 0)]
    ends = paths[:, -1]
    rests = [minima[np.argmin(np.abs(minima - end))] for end in ends]
    checks = [
        Check("S75", f"lambda = {inertia}: final x, against a Python loop", end, looped(inertia), 1e-9)  # rounding
        for inertia, end in zip(INERTIAS, ends, strict=True)
    ]
    return (
        *checks,
        at_most("S75", "farthest from a root of the derivative", np.abs(ends - rests).max(), 1e-4),  # between two x
        is_true("S76", "more inertia comes to rest no earlier", (np.diff(ends) > -1e-6).all()),
        exactly(
            "S75",
            "two minima are passed on the way up in lambda: different ones reached",
            len({round(float(end), 3) for end in ends}),
            3,
        ),
        is_true("S75", "lambda = .95 stands lower than lambda = 0", HILLS(ends[-1:]) < HILLS(ends[:1])),
    )


def looped(inertia):
    """The same run without arrays."""
    import math

    x, v = -3.0, 0.0
    for _ in range(3000):
        v = inertia * v - 0.05 * (-0.9 * math.sin(1.5 * x) + 0.1 * (x - 6))
        x += v
    return x


def on_pokemon():
    """b along the Pokemon valley, by inertia, every 100 updates."""
    start = jnp.array(POKEMON_START)

    def run(inertia):
        ran = gdlab.minimize(
            pokemon_loss,
            gdlab.momentum(POKEMON_RATE, inertia),
            start,
            POKEMON_STEPS,
            args=(pokemon(),),
            record=("params",),
            every=100,
        )
        return jnp.concatenate([ran.history["params"], ran.params[None]])

    return np.asarray(jax.vmap(run)(jnp.array(ON_POKEMON)))


def faster(paths):
    """The distance shrinks by exp(-eta lambda_min t / (1 - lambda)) (S75)."""
    far = np.linalg.norm(paths - np.array(POKEMON_OPTIMUM), axis=2)
    checks = []
    for inertia, run in zip(ON_POKEMON[:3], far, strict=False):
        rate = np.log(run[500] / run[1000]) / 50_000
        pull = POKEMON_RATE * POKEMON_CURVATURES[0]
        # by a root of r^2 - (1 + lambda - eta l) r + lambda, whose logarithm is nearly -eta l / (1 - lambda)
        law = -np.log(np.roots([1, -(1 + inertia - pull), inertia]).max())
        name = f"Pokemon, lambda = {inertia}: rate of approach over "
        checks += [
            Check("S75", f"{name}that of the recursion", rate / law, 1.0, 1e-6),  # rounding of nearly equal distances
            Check("S75", f"{name}eta l / (1 - lambda)", rate / pull * (1 - inertia), 1.0, 0.01),  # .0056 at .99
        ]
    printed_b = printed("S75", "Pokemon, lambda = 0: b at the end", paths[0, -1, 0], "-123.6922")
    # .999^(t / 2) leaves 1e-20; a rounding of the gradient, 1e-9 at most, over the curvature of 5.57 leaves more.
    arrived = at_most("S75", "Pokemon, lambda = .999: distance at the end", far[3, -1], 1e-9)
    return (*checks, printed_b, arrived, is_true("S76", "more inertia ends nearer", (np.diff(far[:, -1]) < 0).all()))


def chain():
    """f(x) - f* of gradient descent and Nesterov's method on the worst function of smooth convex ones."""
    a = 2 * jnp.eye(CHAIN) - jnp.eye(CHAIN, k=1) - jnp.eye(CHAIN, k=-1)
    first = jnp.eye(CHAIN)[0]
    best = jnp.linalg.solve(a, first)
    loss = lambda x: x @ a @ x / 2 - first @ x  # noqa: E731

    def step(carry, _):
        x, y, t = carry
        new = y - jax.grad(loss)(y) / 4
        later = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        return (new, new + (t - 1) / later * (new - x), later), loss(x) - loss(best)

    zero = jnp.zeros(CHAIN)
    _, accelerated = jax.lax.scan(step, (zero, zero, 1.0), None, 2001)
    plain = gdlab.minimize(loss, gdlab.gd(0.25), zero, 2001).history["loss"] - loss(best)
    return np.asarray(plain), np.asarray(accelerated), float(best @ best)


def worst(gaps):
    """The gaps as printed, below the bounds 2 L |x*|^2 / (k + 4) and 2 L |x*|^2 / (k + 1)^2."""
    plain, accelerated, square = gaps
    known = CHAIN * (2 * CHAIN + 1) / (6 * (CHAIN + 1))
    allowed, later = bounds(np.arange(2001))
    return (
        Check("3.10", "|x*|^2 over n (2 n + 1) / (6 (n + 1)), the sum of squares", square / known, 1.0, 1e-9),
        *(printed("3.10", f"gradient descent: gap after {n}", plain[n], digits[0]) for n, digits in GAPS.items()),
        *(printed("3.10", f"Nesterov: gap after {n}", accelerated[n], digits[1]) for n, digits in GAPS.items()),
        at_most("3.10", "after 4, over |x*|^2: both bounds - 1 and .32", farthest(bounds(4), (1.0, 0.32)), 1e-15),
        is_true("3.10", "gradient descent stays below its bound", (plain / square <= allowed).all()),
        is_true("3.10", "Nesterov stays below its bound", (accelerated / square <= later).all()),
    )


def bounds(k):
    """Those of gradient descent and of Nesterov's method after k updates, over |x*|^2, where L = 4."""
    return 8 / (k + 4), 8 / (k + 1) ** 2


def draw(hills, pokemons, gaps):
    """The hills with the final places, the Pokemon distances, the worst function."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, ((arrows, left), (middle, right)) = plt.subplots(2, 2, figsize=(11, 8))
    draw_movements(arrows)
    x = np.linspace(-4, 12, 400)
    left.plot(x, jax.vmap(HILLS)(jnp.asarray(x)[:, None]), color="0.5")
    left.plot(-3, HILLS(jnp.array([-3.0])), "s", color="black", label="start")
    for i, (inertia, path, mark) in enumerate(zip(INERTIAS, hills, "oD^vPX", strict=True)):
        below = sum(abs(other[-1] - path[-1]) < 0.3 for other in hills[:i])  # marks at the same place
        height = float(HILLS(jnp.array([path[-1]]))) + 0.28 * below
        left.plot(path[-1], height, mark, color=figures.PALETTE[i], label=f"$\\lambda$ = {inertia}")
    left.set(xlabel="x", ylabel="loss", title="where balls come to rest (marks stacked)")
    t = np.arange(0, POKEMON_STEPS + 1, 100)
    for inertia, path, colour in zip(ON_POKEMON, pokemons, figures.PALETTE, strict=False):
        middle.plot(
            t, np.linalg.norm(path - np.array(POKEMON_OPTIMUM), axis=1), color=colour, label=f"$\\lambda$ = {inertia}"
        )
    middle.set(
        yscale="log", ylim=(1e-8, 200), xlabel="updates", ylabel="distance to the optimum", title="Pokemon, rate 1e-7"
    )
    for values, name, colour in zip(gaps[:2], ("gradient descent", "Nesterov"), figures.PALETTE, strict=False):
        right.plot(np.arange(1, 2002), values, color=colour, label=name)
    right.set(
        xscale="log", yscale="log", xlabel="steps + 1", ylabel="$f - f^*$", title="a chain of 200: the worst function"
    )
    for axes in (arrows, left, middle, right):
        axes.legend(fontsize=7)
    return figure


def draw_movements(panel, rate=0.05, inertia=0.7, many=6):
    """The first movements on a bowl: each is lambda times the last step and minus eta times the gradient."""
    from ..reporting import figures

    bowl, start = surface("ill_conditioned_bowl").loss, jnp.array([-3.6, 1.2])
    run = gdlab.minimize(bowl, gdlab.momentum(rate, inertia), start, many, record=("params", "update"))
    places, moves = (np.asarray(run.history[name]) for name in ("params", "update"))
    figures.contours(bowl, ((-4.0, 0.5), (-1.5, 1.5)), ax=panel)
    last = np.zeros(2)
    kinds = {
        "$\\lambda$ x last step": ("#E69F00", "--"),
        "$-\\eta$ x gradient": ("#D55E00", "-"),
        "movement, their sum": ("#0072B2", "-"),
    }
    for at, move in zip(places, moves, strict=True):
        kept = inertia * last
        ends = ((at, at + kept), (at + kept, at + move), (at, at + move))
        for (begin, end), (colour, dash) in zip(ends, kinds.values(), strict=True):
            how = {"arrowstyle": "->", "color": colour, "linestyle": dash, "linewidth": 1.6, "shrinkA": 0, "shrinkB": 0}
            panel.annotate("", end, begin, arrowprops=how)
        last = move
    panel.plot(*np.vstack([places, run.params]).T, "o", color="black", markersize=4)
    for label, (colour, dash) in kinds.items():
        panel.plot([], [], dash, color=colour, linewidth=1.6, label=label)
    panel.set(xlabel="$w_1$", ylabel="$w_2$", title="last step + gradient = movement ($\\lambda$ = .7)")
