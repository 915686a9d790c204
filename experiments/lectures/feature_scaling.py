"""What does it help to bring features to the same range? (S32-S38)

The slide's data: y = b + w1 x1 + w2 x2 with x1 = 1, 2, ... and x2 = 100, 200, ...  The order of x2 and the targets
are not printed.  The order here was chosen so that the printed condition numbers come out, 1.211e7 and 1.24
standardised, and an error of 3063 after 300 000 iterations at the best rate: a random order has any from 8e6 to 1.7e7
and from 1 to 2.6.  So what is checked is the closed form, (1 + |r|) / (1 - |r|) for every order, and how much of the
error is left.  Standardised features need 5 iterations.

A standardised line has the Hessian 2 n I: on the Pokemon data one step of 1/20 is enough.  Note 004 calls the sum of
squared deviations a variance (1/n is missing) and the variance an MSE (which needs predictions): all three are shown.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
import hessian
from gdlab.problems import POKEMON_START, pokemon, pokemon_loss

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true, printed
from ..reporting.standard_errors import error_of_share

QUESTION = "What does it help to bring features to the same range? (S32-S38)"
FIRST = jnp.arange(1.0, 21.0)
SECOND = 100.0 * jnp.array((11, 16, 15, 14, 3, 12, 8, 17, 9, 10, 7, 2, 13, 1, 6, 19, 20, 5, 18, 4))
TARGET = jnp.array([5.0, 2.0, 0.03])  # b, w1, w2
UPDATES = 300_000
DRAWS = 200_000
MEAN, DEVIATION = 70.0, 9.0  # of the class


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "feature_scaling", QUESTION, measure)


def measure():
    """The checks and the figure."""
    raw = jnp.stack([FIRST, SECOND], 1)
    scaled, scaling = gdlab.standardize(raw)
    y = plane(TARGET, raw)
    runs = {name: descend(x, y) for name, x in (("raw", raw), ("standardised", scaled))}
    checks = [
        *conditions(runs),
        *convergence(runs, raw, y),
        *scalings(raw, scaled, scaling),
        *one_step(),
        *statistics(),
    ]
    return checks, lambda: draw(raw, scaled, y, runs)


def mse(theta, x, y):
    """The mean squared error of the plane theta = (b, w1, w2)."""
    return jnp.mean((plane(theta, x) - y) ** 2)


def plane(theta, x):
    """The predictions b + w1 x1 + w2 x2."""
    return theta[0] + x @ theta[1:]


def descend(x, y):
    """Gradient descent from 0 at its best rate 2 / (lowest + highest curvature), and the spectrum."""
    eigenvalues = hessian.spectrum(mse, jnp.zeros(3), x, y).eigenvalues
    rate = 2 / (eigenvalues[0] + eigenvalues[-1])
    run = gdlab.minimize(mse, gdlab.gd(rate), jnp.zeros(3), UPDATES, args=(x, y))
    return {"loss": np.asarray(run.history["loss"]), "end": run.params, "eigenvalues": eigenvalues, "rate": rate}


def conditions(runs):
    """The condition numbers, and why: each derivative is the size of its feature (S33)."""
    scaled = runs["standardised"]["eigenvalues"]
    correlation = float(jnp.corrcoef(FIRST, SECOND)[0, 1])
    return (
        *any_order(),
        Check(
            "S32",
            "and that is (1 + |r|) / (1 - |r|)",
            scaled[-1] / scaled[0],
            (1 - correlation) / (1 + correlation),
            1e-9,
        ),
        *effects("as they are", jnp.stack([FIRST, SECOND], 1)),
        *effects("standardised", gdlab.standardize(jnp.stack([FIRST, SECOND], 1))[0]),
    )


def effects(name, x):
    """How far predictions move with either weight, and how the loss bends: the Hessian's diagonal (S33)."""
    theta = jnp.array([1.0, 2.0, 3.0])
    moved = [float(jnp.sqrt(mse(e + theta, x, plane(theta, x)))) for e in jnp.eye(3)[1:]]
    h = [float(e @ hessian.hvp(mse, theta, x, FIRST)(e)) for e in jnp.eye(3)[1:]]
    first, second = (
        Check("S33", f"{name}: curvature of w{i + 1} over 2 (predictions' rms move)^2", c / (2 * m**2), 1.0, 1e-9)
        for i, (m, c) in enumerate(zip(moved, h, strict=True))
    )
    ratio = 1.0 if name == "standardised" else 100.0  # 100, 200, ... are a hundred times 1, 2, ...
    return first, second, Check("S33", f"{name}: move by w2 over that by w1", moved[1] / moved[0], ratio, 1e-9)


def any_order():
    """Condition numbers for 200 random orders of the second feature."""
    drawn, conditions, off = np.random.default_rng(0), [], []
    known = np.stack([np.ones(20), np.asarray(FIRST)], 1)

    def bound(x2):
        """Without x2 the lowest curvature is no lower, and x2's own is no higher than the highest (interlacing)."""
        return np.mean(x2**2) / np.linalg.eigvalsh(known.T @ known / 20)[0]

    beside = np.asarray(SECOND) - known @ np.linalg.lstsq(known, np.asarray(SECOND), rcond=None)[0]
    attained, least = np.linalg.cond(np.column_stack([known, beside])) ** 2, bound(np.asarray(SECOND))
    for _ in range(200):
        x = np.stack([np.asarray(FIRST), drawn.permutation(np.asarray(SECOND))], 1)
        z = np.asarray(gdlab.standardize(x)[0])
        r = abs(np.corrcoef(x.T)[0, 1])
        raw, scaled = (np.linalg.cond(np.column_stack([np.ones(20), part])) ** 2 for part in (x, z))
        conditions.append(raw)
        off.append(scaled * (1 - r) / (1 + r))
    return (
        is_true("S32", f"200 random orders: no condition number below {least:.3g}, by theory", min(conditions) > least),
        Check("S32", "which is attained by an x2 at right angles to the others", attained / bound(beside), 1.0, 1e-9),
        at_most("S32", "standardised, over (1 + |r|) / (1 - |r|), less 1", farthest(off, 1), 1e-9),
    )


def convergence(runs, raw, y):
    """How long descent takes at its best rate, against the closed form of its slowest direction."""
    loss, eigenvalues, rate = (runs["raw"][name] for name in ("loss", "eigenvalues", "rate"))
    values, basis = np.linalg.eigh(np.asarray(jax.hessian(mse)(jnp.zeros(3), raw, y)))
    left = (1 - float(rate) * values) ** UPDATES * (basis.T @ np.asarray(TARGET))
    closed = 0.5 * values @ left**2
    design = np.column_stack([np.ones(20), np.asarray(raw)])
    known, ends = np.linalg.eigvalsh(2 * design.T @ design / 20)[[0, -1]], np.asarray(eigenvalues)[[0, -1]]
    done = int(np.argmax(runs["standardised"]["loss"] < 1e-6))
    return (
        Check(  # the condition number, 1.2e7, times a rounding of 2e-16, is 3e-9
            "S32",
            "mean squared error after 300 000, against the closed form",
            mse(runs["raw"]["end"], raw, y),
            closed,
            1e-7 * closed,
        ),
        is_true("S32", "which is not converged: the error was never below 1e-6", loss.min() > 1e-6),
        # The same rounding of the lowest.
        at_most("S32", "raw: both ends of the spectrum over NumPy's, less 1", farthest(ends / known, 1), 3e-9),
        printed("S32", "raw: mean squared error after 300 000", mse(runs["raw"]["end"], raw, y), "3063"),
        printed("S32", "raw: condition number", ends[1] / ends[0], "1.211e7"),
        *to_the_centre(),
        exactly("S32", "standardised: iterations to an error below 1e-6", done, 5),
    )


def to_the_centre():
    """How far -g points beside the minimum, for the features as they are and with circles for contours (S32)."""
    features = {"raw": np.stack([FIRST, SECOND], 1)}
    whitened = features["raw"] - features["raw"].mean(0)
    features["circles"] = whitened @ np.linalg.inv(np.linalg.cholesky(whitened.T @ whitened / len(whitened))).T
    away = np.random.default_rng(0).normal(size=(100, 2))
    angles = {}
    for name, x in features.items():
        g = np.asarray(jax.vmap(jax.grad(lambda w, x=x: mse(jnp.array([0.0, *w]), x, 0.0)))(away))
        cosines = (g * away).sum(1) / np.linalg.norm(g, axis=1) / np.linalg.norm(away, axis=1)
        angles[name] = np.degrees(np.arccos(cosines.clip(-1, 1)))
    circles = features["circles"]
    return (
        at_most("S32", "circles: means of the features", np.abs(circles.mean(0)).max(), 1e-9),
        at_most("S32", "and mean products less 1 and 0", farthest(circles.T @ circles / 20, np.eye(2)), 1e-9),
        at_most(  # the cosine of 2e-8 radians, 1e-6 degrees, is 1 less a rounding
            "S32", "circles: degrees between -g and the way to the centre, of 100 places", angles["circles"].max(), 1e-5
        ),
        # Nearly all -g lie along w2, so that angles are even from 0 to 90, with 4.5 as the median's standard error.
        Check("S32", "raw: the median", float(np.median(angles["raw"])), 45.0, 3 * 4.5),
    )


def scalings(raw, scaled, scaling):
    """Mean 0, variance 1; constant columns; ddof; and what an outlier does to either map (S34, S38)."""
    constant, _ = gdlab.standardize(jnp.stack([FIRST, jnp.full(20, 0.1)], 1))
    outlier = FIRST.at[-1].set(1e4)
    known = np.array([*range(1, 20), 1e4])
    squeezed = {"min-max": (outlier - outlier.min()) / jnp.ptp(outlier), "z-score": gdlab.standardize(outlier)[0]}
    return (
        at_most("S34", "mean of a standardised column", jnp.abs(scaled.mean(0)).max(), 1e-12),
        *(exactly("S34", f"variance of column {i + 1}", scaled[:, i].var(), 1.0) for i in (0, 1)),
        *(exactly("S38", f"mean square of column {i + 1}", jnp.mean(scaled[:, i] ** 2), 1.0) for i in (0, 1)),
        exactly(
            "S34",
            "variance when divided by the deviation of ddof = 1",
            ((FIRST - FIRST.mean()) / FIRST.std(ddof=1)).var(),
            19 / 20,
        ),
        is_true("S34", "a constant column becomes 0, not NaN", (constant[:, 1] == 0).all()),
        # Roundings of numbers up to 2000.
        at_most("S34", "back and forth", farthest(scaling.invert(scaled), raw), 1e-11),
        at_most("S38", "min-max: its ends - 0 and 1", farthest(squeezed["min-max"][np.array([0, -1])], (0, 1)), 0.0),
        exactly("S38", "min-max with an outlier: range of the other 19", jnp.ptp(squeezed["min-max"][:-1]), 18 / 9999),
        exactly("S38", "z-score with an outlier: likewise", jnp.ptp(squeezed["z-score"][:-1]), 18 / float(known.std())),
    )


def one_step():
    """The Pokemon line on standardised features (S35)."""
    x, y = pokemon()
    z, scaling = gdlab.standardize(x)
    eigenvalues = hessian.spectrum(pokemon_loss, jnp.zeros(2), (z, y)).eigenvalues
    b, w = gdlab.minimize(pokemon_loss, gdlab.gd(1 / 20), jnp.array(POKEMON_START), 1, args=((z, y),)).params
    return (
        *(exactly("S35", f"Pokemon, standardised: curvature {i + 1}", eigenvalues[i], 20.0) for i in (0, 1)),
        printed("S35", "one step of 1/20: b", b - w * scaling.mean / scaling.deviation, "-188.433197"),
        printed("S35", "one step of 1/20: w", w / scaling.deviation, "2.669455"),
    )


def statistics():
    """The class with mean 70 and deviation 9, and three numbers that note 004 mixes up (S36, S37)."""
    marks = MEAN + DEVIATION * jax.random.normal(jax.random.key(0), (DRAWS,))
    x = jnp.array([1.0, 2.0, 3.0, 6.0])
    deviation = float(gdlab.standardize(x)[1].deviation)
    off = lambda prediction: jnp.mean((x - prediction) ** 2)  # noqa: E731
    best = gdlab.minimize(off, gdlab.gd(0.25), 0.0, 60)
    shares = {1: (61.0, 79.0, "0.682689"), 2: (52.0, 88.0, "0.954500")}
    checks = []
    for k, (low, high, digits) in shares.items():
        share = math.erf(k / math.sqrt(2))
        error = error_of_share(share, DRAWS, sigmas=3)
        drawn = float(jnp.mean((marks > low) & (marks < high)))
        checks += [
            printed("S37", f"share within {k} deviations", share, digits),
            Check("S37", f"share of {DRAWS} marks in ({low:g}, {high:g})", drawn, share, error),
        ]
    return (
        *checks,
        *(
            exactly("S36", f"1, 2, 3, 6: {name}", value, due)
            for name, value, due in (
                ("4 deviation^2 of gdlab.standardize, note 004's D", 4 * deviation**2, 14.0),
                ("deviation^2, the variance, note 004's MSE", deviation**2, 3.5),
                ("the best constant prediction, which descent finds", best.params, 3.0),
                ("its mean squared error, the variance too", off(best.params), 3.5),
                ("that of the prediction 2: variance + (mean - 2)^2", off(2.0), 4.5),
            )
        ),
    )


def draw(raw, scaled, y, runs):
    """The contours over w1, w2 at the best b, and the loss of both runs."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, axes = plt.subplot_mosaic([["scatter", "raw", "loss"], ["scaled", "circles", "loss"]], figsize=(13, 8))
    scattered(axes["scatter"], axes["scaled"], raw, scaled)
    for panel, (name, x) in zip((axes["raw"], axes["circles"]), (("raw", raw), ("standardised", scaled)), strict=False):
        best = np.linalg.lstsq(np.stack([np.ones(20), *np.asarray(x).T], 1), np.asarray(y), rcond=None)[0]
        width = 4.0 if name == "raw" else 30.0
        box = tuple((best[i] - width, best[i] + width) for i in (1, 2))
        loss = lambda w, x=x, b=best[0]: mse(jnp.array([b, *w]), x, y)  # noqa: E731
        figures.contours(loss, box, ax=panel)
        at = jnp.array([best[1] + 0.6 * width, best[2] + 0.5 * width])
        g = np.asarray(jax.grad(loss)(at))
        tip = np.asarray(at) - 0.4 * width * g / np.linalg.norm(g)
        panel.annotate(
            "", tuple(tip), tuple(np.asarray(at)), arrowprops={"arrowstyle": "->", "color": "#D55E00", "linewidth": 1.6}
        )
        panel.plot(*best[1:], "x", color="black", markersize=8)
        panel.set(title=f"{name}: the way of steepest descent", xlabel="$w_1$", ylabel="$w_2$", aspect="equal")
    for (name, run), colour in zip(runs.items(), figures.PALETTE, strict=False):
        shown = np.unique(np.geomspace(1, UPDATES, 400).astype(int)) - 1
        loss = np.maximum(run["loss"][shown], 1e-12)
        axes["loss"].plot(shown + 1, loss, color=colour, label=f"{name}, rate {float(run['rate']):.2g}")
    axes["loss"].set(
        xscale="log", yscale="log", xlabel="iterations + 1", ylabel="mean squared error", title="at the best rate"
    )
    axes["loss"].legend(fontsize=8)
    return figure


def scattered(before, after, raw, scaled):
    """The examples: x2 a hundred times as wide as x1, on axes of one unit; and both of deviation 1."""
    for panel, x, title in ((before, raw, "as they are, in one unit"), (after, scaled, "standardised")):
        panel.plot(*np.asarray(x).T, "o", color="#0072B2", markersize=5)
        panel.set(xlabel="$x_1$", ylabel="$x_2$", title=title)
    before.set(xlim=(-1000, 1000), ylim=(0, 2100), xticks=(-1000, 0, 1000), aspect="equal")
    after.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal")
