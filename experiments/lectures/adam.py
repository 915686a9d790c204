"""What do a running average of squares and its correction do to the steps? (S77-S84, S89; section 3.3)

Errata of note 003 and its slide: the squares under sigma_t's root carry their own index i, not t, and RMSProp's step is
divided by sigma, not by sigma^2, which would make it longer for smaller gradients.

RMSProp's sigma brakes when gradients grow and forgets when they shrink, the sooner the smaller alpha; the mean of all
squares hardly does either.  Hence note 004's reason for RMSProp: a few large first gradients make Adagrad slow for
ever.  Adam is RMSProp with momentum and both averages debiased: its path does not depend on the
scale of the loss.  After zeros a lone gradient makes a step of eta (1 - b1) / sqrt(1 - b2), 3.16 eta, printed as the
longest; it is not: gradients that grow by b2 / b1 each time make one of 7.27 eta, the bound of Cauchy and Schwarz,

    eta (1 - b1) / sqrt((1 - b2) (1 - b1^2 / b2))

and 2.35 eta where b2 = .99, for which eta is printed; after few gradients the debiased bound is shorter.  Large steps
where it is flat, small ones where it is steep, are larger and smaller for their gradient: RMSProp's steps themselves
are shorter where it is flat, and Adam's from some starts only, which is shown beside, not judged.  Its trouble: after
1000 gradients of 1 an informative 100 000 moves it 10 sqrt 10 eta only, where the useless ones moved it 1000 eta.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdlab
from gdlab import directions, scales
from gdlab.problems import surface

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true, printed
from ..reporting.run_folder import Table
from ..reporting.standard_errors import error_of_few, error_of_mean, least_lead

QUESTION = "What do a running average of squares and its correction do to the steps? (S77-S84, S89; section 3.3)"
DECAYS = (0.5, 0.9, 0.99)
PROFILE = np.concatenate([np.full(50, 0.1), np.full(50, 5.0), np.full(200, 0.1)])
LOOKED = (50, 55, 99, 120, 200)
ETA = 0.01
VALLEY = surface("rosenbrock_2d").loss
START = (-1.2, 1.0)
PANEL = ((-2.0, 2.0), (-1.0, 3.0))  # of the crescent, as drawn
STARTED = 16  # runs, from places even on the panel; the first from beside the valley


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "adam", QUESTION, measure)


def measure():
    """The checks and the figure."""
    braking, hunting = brakes(), valley()
    steps, tables = flat_and_steep(hunting)
    checks = [
        *weights(),
        *braked(braking),
        *slow_for_ever(),
        *identities(),
        *signs(),
        *trouble(),
        *invariance(),
        *bounds(),
        *steps,
    ]
    return checks, lambda: draw(braking, hunting), *tables


def read(optimizer, grads, *names):
    """What the optimizer makes of a sequence of gradients: the loss is linear, so that its gradient is the batch."""
    grads = jnp.asarray(grads)
    run = gdlab.minimize(jnp.vdot, optimizer, jnp.zeros_like(grads[0]), len(grads), batches=grads, record=names)
    return [np.asarray(run.history[name]) for name in names]


def weights():
    """sigma_t^2 is a weighted mean of all g^2, the first with alpha^t (S77)."""
    g = np.asarray(jax.random.normal(jax.random.key(0), (50,)))
    (sigma,) = read(gdlab.rmsprop(ETA, 0.9), g, "sigma")
    t = np.arange(50)
    lower = np.tril(0.1 * 0.9 ** (t[:, None] - t).clip(0))
    lower[:, 0] = 0.9**t
    theirs = optax.rmsprop(ETA, eps=0.0)  # from sigma 0
    first, _ = theirs.update(jnp.array(0.3), theirs.init(jnp.zeros([])))
    return (
        at_most("S77", "sum of the weights - 1", np.abs(lower.sum(1) - 1).max(), 1e-14),
        at_most("S77", "sigma^2 - weighted mean of g^2", np.abs(sigma**2 - lower @ g**2).max(), 1e-14),
        exactly("S77", "sigma_0 / |g_0|", sigma[0] / abs(g[0]), 1.0),
        exactly("S77", "optax's, from sigma 0: first step over eta, 1 / sqrt(1 - alpha)", -first / ETA, 0.1**-0.5),
    )


def brakes():
    """sigma on |g| = .1 for 50 steps, 5 for 50, .1 for 200."""
    runs = {f"$\\alpha$ = {decay}": gdlab.rmsprop(ETA, decay) for decay in DECAYS}
    runs["mean of all squares"] = gdlab.descent(directions.Gradient(), scales.RootMeanSquare(), ETA)
    return {name: read(optimizer, PROFILE, "sigma")[0] for name, optimizer in runs.items()}


def closed_form(decay, t):
    """sigma after the profile's t-th gradient, a geometric sum on each of its three pieces."""
    first, risen = 0.01, 25 - (25 - 0.01) * decay ** (min(t, 99) - 49)
    if t < 50:
        return first**0.5
    return risen**0.5 if t < 100 else (0.01 + (risen - 0.01) * decay ** (t - 99)) ** 0.5


def braked(sigmas):
    """Small alpha brakes sooner and forgets sooner (S78); the sum of squares never shrinks (S80)."""
    checks = [
        exactly("S78", f"alpha = {decay}: sigma at step {t}", sigmas[f"$\\alpha$ = {decay}"][t], closed_form(decay, t))
        for decay in DECAYS
        for t in LOOKED
    ]
    plain = sigmas["mean of all squares"]
    sums = plain**2 * np.arange(1, 301)
    ordered = np.array([sigmas[f"$\\alpha$ = {decay}"] for decay in DECAYS] + [plain])
    mean = [((50 * 0.01 + min(t - 49, 50) * 25 + max(t - 99, 0) * 0.01) / (t + 1)) ** 0.5 for t in LOOKED]
    return (
        *checks,
        *(
            exactly("S78", f"mean of all: sigma at step {t}", plain[t], value)
            for t, value in zip(LOOKED, mean, strict=True)
        ),
        is_true("S78", "at step 55 the smaller alpha has the larger sigma", (np.diff(ordered[:3, 55]) < 0).all()),
        is_true("S78", "at step 200 it has the smaller one", (np.diff(ordered[:, 200]) > 0).all()),
        is_true("S80", "RMSProp's sigma shrinks again", np.diff(ordered[0]).min() < 0),
        at_most("S80", "Adagrad's 300 sums - NumPy's", farthest(sums, np.cumsum(PROFILE**2)), 1e-9),
        is_true("S80", "Adagrad's sum does not", (np.diff(sums) > 0).all()),
    )


def slow_for_ever():
    """Note 004's reason for RMSProp: a few large first gradients make Adagrad slow for ever (S80).

    After n gradients of size G and then t of size 1 Adagrad's step is eta / sqrt(n G^2 + t); RMSProp's sigma^2 is
    1 + (G^2 - 1) alpha^t, and is 1 again.
    """
    many, large, later = 5, 100.0, np.arange(1, 10_001)
    grads = np.concatenate([np.full(many, large), np.ones(len(later))])
    steps = {
        name: -read(optimizer, grads, "update")[0][many:]
        for name, optimizer in (("Adagrad", gdlab.adagrad(1.0)), ("RMSProp", gdlab.rmsprop(1.0, 0.9)))
    }
    sums, mean = many * large**2 + later, 1 + (large**2 - 1) * 0.9**later
    return (
        at_most(
            "S80",
            "5 gradients of 100, then of 1: Adagrad's step over its law, less 1",
            np.abs(steps["Adagrad"] * np.sqrt(sums) - 1).max(),
            1e-9,
        ),
        at_most("S80", "RMSProp's likewise", np.abs(steps["RMSProp"] * np.sqrt(mean) - 1).max(), 1e-9),
        exactly(
            "S80", "after 10 000 Adagrad's is 1 / sqrt 6 of what it is without", 100 * steps["Adagrad"][-1], 6**-0.5
        ),
        exactly("S80", "RMSProp's is eta, as without", steps["RMSProp"][-1], 1.0),
    )


def identities():
    """Adam is optax's; with b1 = 0 and nothing debiased it is RMSProp from zero (S81); parts make the whole (S83)."""
    grads = jax.random.normal(jax.random.key(1), (300, 4))

    def path(optimizer):
        return gdlab.minimize(jnp.vdot, optimizer, jnp.zeros(4), 300, batches=grads, record=("params",)).history[
            "params"
        ]

    plain = gdlab.descent(directions.Ema(0.0), scales.RunningRootMeanSquare(0.9, start=0.0), ETA)
    parts = gdlab.descent(directions.BiasCorrectedEma(0.9), scales.BiasCorrectedRootMeanSquare(0.999, 1e-8), ETA)
    pairs = {
        "adam - optax.adam": (gdlab.adam(ETA), optax.adam(ETA)),
        "b1 = 0, not debiased - RMSProp from zero": (plain, optax.rmsprop(ETA, 0.9, eps=0.0)),
        "heavy ball, unit, eta - optax.sgd": (
            gdlab.descent(directions.HeavyBall(0.9), scales.Unit(), ETA),
            optax.sgd(ETA, 0.9),
        ),
        "gradient, root of the sum, eta - optax.adagrad": (
            gdlab.descent(directions.Gradient(), scales.RootSumSquare(), ETA),
            optax.adagrad(ETA, 0.0, 0.0),
        ),
        "gradient, root of .1 and the sum, eta - optax.adagrad": (
            gdlab.adagrad(ETA, eps=1e-7, source="optax"),
            optax.adagrad(ETA),
        ),
        "average, debiased root mean square, eta - adam": (parts, gdlab.adam(ETA)),
    }
    return [
        at_most("S83" if ", eta" in name else "S81", name, jnp.abs(path(a) - path(b)).max(), 1e-11)
        for name, (a, b) in pairs.items()
    ]


def signs():
    """m knows directions, sigma sizes: they do not cancel (S83)."""
    m, sigma = read(gdlab.adam(ETA, eps=0.0), 3.0 * (-1.0) ** np.arange(1000), "m", "sigma")
    return (
        Check("S83", "g = 3, -3, 3 ...: |m| after 1000, (1 - b1) / (1 + b1) |g|", abs(m[-1]), 3 * 0.1 / 1.9, 1e-9),
        Check("S83", "sigma after 1000", sigma[-1], 3.0, 1e-9),
    )


def trouble():
    """Gradients of 1, then 100 000, then 1 (S89)."""
    grads = np.ones(101_001)
    grads[100_999] = 1e5
    (update,) = read(gdlab.adam(1.0, 0.0, 0.999, 0.0), grads, "update")
    moved, bound = -update, 1000**0.5
    return (
        Check("S89", "movement for g = 1, eta", moved[100_998], 1.0, 1e-9),
        printed("S89", "movement for g = 100 000, eta", moved[100_999], "31.62278"),
        # The 1e10 is averaged with a thousand ones, to 1e7 + .999 under the root: 10 sqrt 10 but for that.
        Check("S89", "10^5 / sqrt(10^7 + .999)", moved[100_999], 1e5 / (1e7 + 0.999) ** 0.5, 1e-9),
        printed("S89", "movement after that, eta", moved[101_000], "3.16386e-4"),
        exactly("S89", "the bound sqrt(1 / (1 - b2)), 10 sqrt 10", bound, 10 * 10**0.5),
        is_true("S89", "which is kept", (moved <= bound).all()),
    )


def invariance():
    """The loss times c leaves the path as it is (3.3a)."""

    def ran(factor):
        scaled = lambda x: factor * VALLEY(x)  # noqa: E731
        return gdlab.minimize(
            scaled, gdlab.adam(ETA, eps=0.0), jnp.array(START), 500, record=("params", "loss")
        ).history

    runs = [ran(factor) for factor in (1, 1024, 3.7)]
    once, many, odd = (run["params"] for run in runs)
    firsts, due = [run["loss"][0] for run in runs], (24.2, 24_780.8, 89.54)
    return (
        at_most("3.3a", "loss times 1024: paths differ by", farthest(many, once), 0.0),
        at_most("3.3a", "loss times 3.7: paths differ by", farthest(odd, once), 1e-9),
        at_most("3.3a", "losses at the start - 24.2 times 1, 1024, 3.7", farthest(firsts, due), 1e-9),
    )


def bounds():
    """A lone gradient after zeros makes the longest step; uncorrected, so is the first (3.3b)."""
    lone = np.zeros(20_001)
    lone[-1] = 1.0
    (update,) = read(gdlab.adam(1.0, eps=0.0), lone, "update")
    decays = (0.9, 0.99, 0.999, 0.9999)  # .316, 1, 3.162, 10 are printed
    checks = [printed("3.3b", "a lone gradient after 20 000 zeros, eta", -update[-1], "3.162")]
    for b2 in decays:
        raw = gdlab.descent(directions.Ema(0.9), scales.RunningRootMeanSquare(b2, start=0.0), 1.0)
        (first,) = read(raw, np.array([0.7]), "update")
        (corrected,) = read(gdlab.adam(1.0, 0.9, b2, 0.0), np.array([0.7]), "update")
        checks.append(exactly("3.3b", f"b2 = {b2}, not debiased: first step, eta", -first[0], 0.1 / (1 - b2) ** 0.5))
        checks.append(Check("3.3b", f"b2 = {b2}: first step, eta", -corrected[0], 1.0, 1e-10))
    wild = 10 ** jax.random.uniform(jax.random.key(2), (5000, 100), minval=-6.0, maxval=6.0)
    squares = np.log10(np.asarray(wild)) ** 2  # of numbers even from -6 to 6
    name = "mean square of the wild gradients' decades"
    checks.append(Check("3.3b", name, squares.mean(), 12.0, error_of_mean(squares)))
    for b2 in (0.999, 0.99, 0.9):
        optimizer, late = gdlab.adam(1.0, 0.9, b2, 0.0), 0.1 / ((1 - b2) * (1 - 0.81 / b2)) ** 0.5
        growing = (b2 / 0.9) ** np.arange(300)
        (most,), (tried,) = (np.abs(read(optimizer, grads, "update")) for grads in (growing, wild))
        checks += [
            at_most(
                "3.3b",
                f"not as printed: b2 = {b2}, gradients that grow by b2 / b1: 300 steps over the bound, less 1",
                farthest(most / longest(b2, 300), 1),
                1e-9,
            ),
            Check(
                "3.3b",
                f"b2 = {b2}, 500 000 wild gradients: largest of steps over the bound, that of the first",
                (tried / longest(b2, len(tried))[:, None]).max(),
                1.0,
                1e-9,
            ),
            # of the debiasing .999^20 000 is left
            Check(
                "3.3b",
                f"b2 = {b2}: the bound at step 20 000 over the late one",
                longest(b2, 20_000)[-1] / late,
                1,
                1e-8,
            ),
        ]
    return checks


def longest(b2, steps):
    """How long Adam's step may be at each count, by Cauchy and Schwarz: b1 = .9, eta = 1.

    (sum of b1^k g)^2 is at most the sum of (b1^2 / b2)^k times that of b2^k g^2, and as large where g falls with the
    age k as (b1 / b2)^k.
    """
    t = np.arange(1, steps + 1)
    geometric = lambda r: (1 - r**t) / (1 - r)  # noqa: E731
    return 0.1 / (1 - 0.9**t) * np.sqrt(geometric(0.81 / b2) * geometric(b2))


def valley():
    """Adagrad, RMSProp and Adam along Rosenbrock's crescent: paths and steps from each of the starts."""
    low, high = np.transpose(PANEL)
    starts = np.random.default_rng(0).uniform(low, high, size=(STARTED, 2))
    starts[0] = -1.5, 2.0
    runs = {"Adagrad, .3": gdlab.adagrad(0.3), "RMSProp, .01": gdlab.rmsprop(0.01), "Adam, .01": gdlab.adam(0.01)}
    kept = ("params", "sigma", "update")

    def histories(optimizer):
        return jax.vmap(lambda start: gdlab.minimize(VALLEY, optimizer, start, 3000, record=kept).history)

    return {name: jax.tree.map(np.asarray, histories(optimizer)(starts)) for name, optimizer in runs.items()}


def flat_and_steep(runs):
    """The same parameter, the same direction: its rate falls and rises again (S79), and is larger where flat (S84)."""
    sigmas, ends, looped = {}, {}, []
    for name, run in runs.items():
        sigma = run["sigma"]
        if name.startswith("Adagrad"):
            sigma = sigma * np.sqrt(np.arange(3000) + 1)[:, None]  # the root of the sum
        looped += along_by_loop(name, run["params"][0], sigma[0])
        sigmas[name] = sigma[:, :, 1]
        steep = np.abs(jax.jit(jax.vmap(jax.vmap(jax.grad(VALLEY))))(run["params"]))[:, 100:, 1]
        steps = np.abs(run["update"])[:, 100:, 1]
        # (starts, flat or steep, step or slope)
        ends[name] = np.array([at_the_ends(*pair, 500) for pair in zip(steps, np.asarray(steep), strict=True)])
    ratios = {name: parts[:, :, 0] / parts[:, :, 1] for name, parts in ends.items()}
    gains = {name: np.log(of[:, 0] / of[:, 1]) for name, of in ratios.items()}
    corners = np.unique(runs["Adagrad, .3"]["params"][:, 0] > (0, 1), axis=0)
    spread = exactly("S79", "starts: quarters of the panel, w1 beyond 0 or not, w2 beyond 1", len(corners), 4)
    return (spread, *looped, *hunted(sigmas), *per_gradient(ends, gains)), (
        effective(ends, ratios, gains),
        undecided(ends),
    )


def hunted(sigmas):
    """The rate of w2 rises and falls as its sigma falls and rises, where that is no sum (S79)."""
    falls, rises = {}, {}
    for name, of_starts in sigmas.items():
        rises[name], falls[name] = np.transpose([swing(sigma) for sigma in of_starts])
    return (
        at_most(
            "S79",
            "2, 1, 4, 8, 2: falls fourfold, rises eightfold",
            farthest(swing(np.array([2, 1, 4, 8, 2])), (4, 8)),
            0,
        ),
        *(
            is_true("S79", f"{name}: the rate of w2 rises, by a hundredth and more, from each start", (up > 1.01).all())
            for name, up in rises.items()
            if not name.startswith("Adagrad")
        ),
        is_true("S79", "RMSProp, .01: and falls, from each", (falls["RMSProp, .01"] > 1.01).all()),
        at_most(
            "S79",
            "Adagrad: eta over the root of the sum rises by the factor 1, from each start",
            farthest(rises["Adagrad, .3"], 1),
            1e-12,
        ),
    )


def per_gradient(ends, gains):
    """The step for its gradient is larger where it is flat, and the step itself is shorter (S84)."""
    shorter = own_steps(ends["RMSProp, .01"])
    adaptive = [name for name in ends if not name.startswith("Adagrad")]
    among = f"mean of {STARTED} starts, beyond chance"
    return (
        at_most(
            "S84",
            "steps 1 to 5 at the slopes 5, 2, 3, 1, 4: means of two at either end",
            farthest(at_the_ends(np.arange(1, 6), np.array([5, 2, 3, 1, 4]), 2), [(3.0, 1.5), (3.0, 4.5)]),
            0.0,
        ),
        *(
            is_true("S84", f"{name}: step per gradient, larger where it is flat: {among}", least_lead(gains[name]) > 0)
            for name in adaptive
        ),
        is_true("S84", f"RMSProp, .01: the step itself is shorter where it is flat: {among}", least_lead(shorter) > 0),
    )


def own_steps(parts):
    """The log of the steps where it is steep over those where it is flat, by start."""
    return np.log(parts[:, 1, 0] / parts[:, 0, 0])


def undecided(ends):
    """Whether the steps themselves are shorter where it is flat."""
    own = {name: own_steps(parts) for name, parts in ends.items()}
    rows = [
        [name, f"{of.mean():.2f}", f"{error_of_few(of):.2f}", f"{(of > 0).sum()} of {of.size}"]
        for name, of in own.items()
    ]
    title = "Log of the steps of w2, the steepest over the flattest 500, over starts: RMSProp's is judged, no other"
    return Table(title, ("optimizer", "mean", "chance", "starts where it is positive"), rows)


def effective(ends, ratios, gains):
    """The table of the steps, the slopes and their ratios, from the first start."""
    rows = []
    for name, parts in ends.items():
        shown = [(*part, ratio) for part, ratio in zip(parts[0], ratios[name][0], strict=True)]
        rows.append([name, *(f"{value:.2g}" for part in shown for value in part), f"{np.exp(gains[name][0]):.3g}"])
    columns = (
        "w2",
        "|step|, flat",
        "|g|, flat",
        "ratio",
        "|step|, steep",
        "|g|, steep",
        "ratio",
        "ratios, flat over steep",
    )
    return Table("Effective steps of w2, the 500 flattest and the 500 steepest of 2900", columns, rows)


def swing(values):
    """How many times a sequence falls at most, and rises."""
    return (np.maximum.accumulate(values) / values).max(), (values / np.minimum.accumulate(values)).max()


def at_the_ends(steps, slopes, many):
    """The mean step and the mean slope where it is flattest, and where it is steepest, of so many each."""
    order = np.argsort(slopes)
    return [(steps[part].mean(), slopes[part].mean()) for part in (order[:many], order[-many:])]


def along_by_loop(name, found, sigma):
    """The same run along the crescent by a loop in NumPy: places, and sigma, Adagrad's the root of the sum."""
    theta, m, v, rows = np.array([-1.5, 2.0]), np.zeros(2), np.zeros(2), []
    for t in range(1, 3001):
        x, y = theta
        g = np.array([2 * (x - 1) - 400 * x * (y - x * x), 200 * (y - x * x)])
        if name.startswith("Adagrad"):
            v = v + g * g
            scale, move = np.sqrt(v), 0.3 * g / np.sqrt(v)
        elif name.startswith("RMSProp"):
            v = g * g if t == 1 else 0.9 * v + 0.1 * g * g
            scale, move = np.sqrt(v), ETA * g / np.sqrt(v)
        else:
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            scale = np.sqrt(v / (1 - 0.999**t)) + 1e-8
            move = ETA * m / (1 - 0.9**t) / scale
        rows.append((theta, scale))
        theta = theta - move
    places, scales_ = map(np.array, zip(*rows, strict=True))
    many = 50 if name.startswith("RMSProp") else 3000  # which jumps to and fro: rounding grows tenfold every 5 steps
    apart, wider = farthest(found[:many], places[:many]), np.abs(sigma / scales_ - 1)[:many].max()
    yield at_most("S79", f"{name}: {many} places off a NumPy loop", apart, 1e-9)
    yield at_most("S79", f"{name}: their sigmas over the loop's, less 1", wider, 1e-9)


def draw(sigmas, hunting):
    """sigma while braking, the crescent, the rates along it."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4))
    left.plot(PROFILE, color="0.7", linewidth=4, label="|g|")
    for (name, sigma), colour in zip(sigmas.items(), figures.PALETTE, strict=False):
        left.plot(sigma, color=colour, linewidth=1.2, label=name)
    left.set(yscale="log", xlabel="step", ylabel="$\\sigma$", title="braking and forgetting")
    figures.contours(lambda x: jnp.log1p(VALLEY(x)), PANEL, ax=middle)
    for (name, run), colour in zip(hunting.items(), figures.PALETTE, strict=False):
        middle.plot(*run["params"][0].T, color=colour, linewidth=1.2, label=name)
        step = np.abs(run["update"][0, :, 1])
        right.plot(np.arange(1, 3001), np.maximum(step, 1e-8), color=colour, linewidth=0.7, label=name)
    middle.plot(1, 1, "x", color="black", markersize=8)
    middle.set(xlabel="$w_1$", ylabel="$w_2$", title="along the crescent")
    right.set(xscale="log", yscale="log", xlabel="step", ylabel="|step of $w_2$|", title="how far each step goes")
    for axes in (left, middle, right):
        axes.legend(fontsize=7)
    return figure
