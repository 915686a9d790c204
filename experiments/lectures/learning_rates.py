"""What does the learning rate do to the loss, and does descent always descend? (S2-S11, S61, S62)

Four rates on the bowl with curvatures l = 1 and L = 10: small, just right, large, very large.  The surface can be drawn
for two parameters only, the loss against the number of updates always.

"L(theta_0) > L(theta_1) > ..., is this statement correct?"  It is not: a quadratic never rises for eta L <= 2 and rises
almost always beyond; the loss of a double well rises dozens of times at rates of .9 and 1.  It holds for eta < 1 / L.
And a run may stop for other reasons than being done: at a local minimum, on a saddle, or on a plateau, where
|g| < 1e-6 says nothing.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import expi

import gdlab
from gdlab.problems import surface

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true, printed
from ..workloads.drawn import over_decades

QUESTION = "What does the learning rate do to the loss, and does descent always descend? (S2-S11, S61, S62)"
BOWL = surface("ill_conditioned_bowl").loss
LOW, HIGH = 1.0, 10.0
START = jnp.array([3.0, 1.0])
IN_A_VALLEY = (1.2, 1.0)
RATES = {"small": 0.02 / HIGH, "just right": 2 / (LOW + HIGH), "large": 1.98 / HIGH, "very large": 2.1 / HIGH}
LOSSES = {  # after 0, 5, 20, 100 updates, as printed
    "small": ("9.5", "8.50", "6.38", "3.10"),
    "just right": ("9.5", "1.28", "3.1e-3", "3.5e-17"),
    "large": ("9.5", "4.58", "2.23", "0.088"),
    "very large": ("9.5", "13.4", "226", "9.5e8"),
}
WELL = surface("tilted_double_well").loss
WELL_RATES = (0.1, 0.5, 0.9, 1.0)
ROUNDING = 1e-12  # a smaller rise of a loss near its minimum is none
UPDATES = 59  # the length of the runs whose rises are counted
PLATEAU = surface("plateau").loss
LONGEST = 120_000


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "learning_rates", QUESTION, measure)


def measure():
    """The checks and the figure."""
    paths = {name: descend(BOWL, START, rate, 100) for name, rate in RATES.items()}
    losses = {name: np.asarray(jax.vmap(BOWL)(path)) for name, path in paths.items()}
    many = in_many_dimensions()
    wells = {rate: descend(WELL, jnp.array([1.5]), rate, UPDATES) for rate in WELL_RATES}
    plateau = descend(PLATEAU, jnp.array([5.0]), 0.1, LONGEST)
    checks = [
        at_most("S2", "autodiff - central differences, relative", gradient_error(), 1e-6),  # as the lectures ask
        *(
            printed("S7", f"{name}: loss after {t}", losses[name][t], digits)
            for name, row in LOSSES.items()
            for t, digits in zip((0, 5, 20, 100), row, strict=True)
        ),
        *(
            at_most("S3", f"{name}: distance from (1 - eta l)^t theta_0", closed_form_error(paths[name], name), 1e-12)
            for name in RATES
        ),
        *shapes("S6", losses),
        *shapes("S8", many),
        *(
            at_most("S8", f"100 parameters, {name}: losses - sum of l (1 - eta l)^2t / 2, relative", off, 1e-12)
            for name, off in many_by_formula(many).items()
        ),
        at_most(
            "S8",
            "the bowl of three parameters: curvatures - (1, 10^(1/2), 10)",
            jnp.abs(jax.hessian(BOWL)(jnp.ones(3)) - jnp.diag(jnp.array([LOW, 10**0.5, HIGH]))).max(),
            1e-12,
        ),
        *contours(),
        *(
            exactly("S10", f"bowl, eta L = {r}: rises in {UPDATES} updates", rises(BOWL, START, r / HIGH), expected)
            for r, expected in ((1.0, 0), (1.98, 0), (2.0, 0), (2.1, 58))
        ),
        *in_the_well(wells),
        *quadratics(),
        *stuck(),
        *trap(plateau),
    ]
    return checks, lambda: draw(paths, losses, many, wells, plateau)


def descend(loss, start, rate, updates):
    """The path of gradient descent, shape (updates + 1, k)."""
    run = gdlab.minimize(loss, gdlab.gd(rate), start, updates, record=("params",))
    return jnp.concatenate([run.history["params"], run.params[None]])


def gradient_error(h=1e-6):
    """How far the gradient of Rosenbrock's valley is from central differences."""
    loss, at = surface("rosenbrock_2d").loss, jnp.array(IN_A_VALLEY)
    differences = jnp.array([(loss(at + h * e) - loss(at - h * e)) / (2 * h) for e in jnp.eye(2)])
    gradient = jax.grad(loss)(at)
    return farthest(differences / gradient, 1)


def closed_form_error(path, name):
    """How far a path is from theta_i = (1 - eta l_i)^t theta_i(0), relative to its largest entry."""
    factors = 1 - RATES[name] * np.array([LOW, HIGH])
    closed = np.array(START) * factors ** np.arange(101)[:, None]
    return farthest(path, closed) / np.abs(closed).max()


def in_many_dimensions():
    """The losses of the same four rates on a bowl of 100 parameters, of which only these curves can be drawn (S8)."""
    curvatures, start = jnp.linspace(LOW, HIGH, 100), jnp.ones(100)
    bowl = lambda x: jnp.sum(curvatures * x**2) / 2  # noqa: E731

    @jax.jit
    @jax.vmap
    def losses(rate):
        run = gdlab.minimize(bowl, gdlab.gd(rate), start, 100)
        return jnp.append(run.history["loss"], bowl(run.params))

    return dict(zip(RATES, np.asarray(losses(jnp.array(list(RATES.values())))), strict=True))


def many_by_formula(many):
    """How far the losses of 100 parameters are from their closed form, relative to the largest."""
    curvatures, t = np.linspace(LOW, HIGH, 100), np.arange(101)[:, None]
    closed = {name: (curvatures * (1 - rate * curvatures) ** (2 * t)).sum(1) / 2 for name, rate in RATES.items()}
    return {name: farthest(many[name], values) / values.max() for name, values in closed.items()}


def shapes(item, losses):
    """Small: falls slowly; just right: falls fast; large: falls slowly again; very large: blows up."""
    # What counts as slow, fast and wild has no number on the slides: two decades and more lie between; the start's loss
    # is 9.5, or 275 of 100 parameters.
    small, right, large, wild = losses.values()
    many = "100 parameters: " if item == "S8" else ""
    between = np.log10(min(small[20], large[20])) - np.log10(right[20])
    return (
        *(
            at_most(item, f"{many}{name}: rises of the loss", (np.diff(row) > ROUNDING).sum(), 0)
            for name, row in list(losses.items())[:3]
        ),
        is_true(item, f"{many}after 20 updates, just right is two decades below small and large", between > 2),
        is_true(item, f"{many}very large: a loss of a million and more at the end", wild[-1] > 1e6),
    )


def contours():
    """The gradient is normal to the contour (S5), which is not the way to the centre unless contours are circles."""
    phi = jnp.arange(101.0)  # radians, all around
    axes = jnp.sqrt(2 / jnp.array([LOW, HIGH]))  # of the contour of loss 1
    ellipse, tangents = (
        axes * jnp.stack(place, 1) for place in ((jnp.cos(phi), jnp.sin(phi)), (-jnp.sin(phi), jnp.cos(phi)))
    )
    along = jnp.sum(jax.vmap(jax.grad(BOWL))(ellipse) * tangents, 1)
    angles = [float(jnp.degrees(angle(jax.grad(loss)(START), START))) for loss in (BOWL, lambda x: jnp.sum(x**2))]
    expected = np.degrees(np.arctan(10 / 3) - np.arctan(1 / 3))
    return (
        at_most("S5", "the loss on its contour less 1", jnp.abs(jax.vmap(BOWL)(ellipse) - 1).max(), 1e-14),
        at_most("S5", "gradient . tangent of the contour", jnp.abs(along).max(), 1e-10),
        exactly("S5", "bowl: degrees between -g and the way to the minimum", angles[0], expected),
        at_most("S5", "circles: degrees between them", angles[1], 1e-12),
    )


def angle(u, v):
    """The angle between two vectors of the plane."""
    return jnp.arctan2(jnp.abs(u[0] * v[1] - u[1] * v[0]), u @ v)


def rise(losses):
    """How often the loss is higher after an update than before, by more than rounding."""
    return int((np.diff(losses) > ROUNDING).sum())


def rises(loss, start, rate):
    """How often the loss rises along a run."""
    return rise(jax.vmap(loss)(descend(loss, start, rate, UPDATES)))


def in_the_well(paths):
    """The losses and the rises on the double well, against loops (S10)."""
    for rate, path in paths.items():
        found, due = jax.vmap(WELL)(path), well_losses(rate, len(path))
        yield exactly("S10", f"double well, rate {rate}: rises", rise(found), rise(due))
        yield at_most(
            "S10", f"double well, rate {rate}: 20 losses off a Python loop", farthest(found[:20], due[:20]), 1e-9
        )
        if rate < 0.9:
            yield exactly("S10", f"double well, rate {rate}: no rise", rise(found), 0)
        else:
            yield is_true("S10", f"double well, rate {rate}: dozens of rises", rise(found) > 24)


def well_losses(rate, count):
    """The losses of so many places on the double well by a loop in plain Python."""
    x, losses = 1.5, []
    for _ in range(count):
        losses.append(x**4 / 4 - x**2 / 2 + 0.1 * x)
        x -= rate * (x**3 - x + 0.1)
    return losses


def quadratics():
    """No quadratic rises at rates below 1 / L, and each beyond 2 / L (S11)."""
    (slow, fast), (below, beyond) = largest_rises()
    return (
        is_true("S11", "1000 quadratics: rates times the largest second derivative below 1", (below < 1).all()),
        at_most("S11", "their largest rise", max(slow.max(), 0.0), 0.0),
        is_true("S11", "and at rates times that of 3 to 4", ((beyond > 3) & (beyond < 4)).all()),
        exactly("S11", "how many rise", (fast > 0).sum(), 1000),
    )


def largest_rises():
    """Of 1000 random quadratics the largest rises in 20 updates, and rates times largest second derivatives.

    Both at rates below 1 / L, and at 3 / L to 4 / L.
    """

    def one(key, least, most):
        keys = jax.random.split(key, 3)
        curvatures = over_decades(keys[0], (5,), 2.0)
        rate = jax.random.uniform(keys[1], minval=least, maxval=most) / curvatures.max()
        start = jax.random.normal(keys[2], (5,))
        loss = lambda x: 0.5 * jnp.sum(curvatures * x**2)  # noqa: E731
        run = gdlab.minimize(loss, gdlab.gd(rate), start, 20)
        return jnp.max(jnp.diff(run.history["loss"])), rate * jax.hessian(loss)(start).max()

    many = jax.vmap(jax.vmap(one, (0, None, None)), (None, 0, 0))
    keys = jax.random.split(jax.random.key(0), 1000)
    return map(np.asarray, many(keys, jnp.array([0.01, 3.0]), jnp.array([0.99, 4.0])))


def stuck():
    """Three places where descent stops or nearly does, with the norm of the gradient (S61)."""
    drawn = gdlab.minimize(WELL, gdlab.gd(0.1), jax.random.normal(jax.random.key(0), (1,)), 1000, tolerance=1e-9)
    local = gdlab.minimize(WELL, gdlab.gd(0.1), jnp.array([1.5]), 1000, tolerance=1e-9)
    on_saddle = gdlab.minimize(surface("linear_net").loss, gdlab.gd(0.1), jnp.array([0.5, -0.5]), 1000, tolerance=1e-9)
    flat = gdlab.minimize(PLATEAU, gdlab.gd(0.1), jnp.array([5.0]), 1000)
    low, _, high = np.sort(np.roots([1, 0, -1, 0.1]).real)  # of the double well's slope
    apart = (high**4 - low**4) / 4 - (high**2 - low**2) / 2 + 0.1 * (high - low)
    best = min(point.value for point in surface("tilted_double_well").critical_points)
    x = 5.0
    for _ in range(1000):
        x -= 0.1 * x * np.exp(-x * x / 2)
    return (
        is_true("S4", "local minimum: stopped early by its small gradient", local.why == "small gradient"),
        is_true("S4", "from a start drawn at random, too", drawn.why == "small gradient"),
        exactly("S4", "its trace: losses, less its updates", np.isfinite(drawn.history["loss"]).sum() - drawn.steps, 1),
        # Descent stops where |g| is 1e-9; the curvature is 1.7 there, 2 towards the saddle.
        Check("S61", "the first stands in the higher minimum, a root of the slope", float(local.params[0]), high, 1e-9),
        Check("S61", "its loss over that of the other, by the formula", float(WELL(local.params)) - best, apart, 1e-9),
        at_most("S61", "|g| there", jnp.abs(jax.grad(WELL)(local.params)).max(), 1e-9),
        at_most("S61", "saddle: |theta| where it stopped", jnp.linalg.norm(on_saddle.params), 1e-9),
        Check("S61", "plateau: where 1000 updates from 5 lead, against a Python loop", float(flat.params[0]), x, 1e-12),
        Check(
            "S61",
            "plateau: |g| there, x e^(-x^2 / 2)",
            -float(jax.grad(PLATEAU)(-flat.params)[0]),
            x * np.exp(-x * x / 2),
            1e-15,
        ),
        is_true("S61", "plateau: that is not a hundredth of the way", x > 4.95),
    )


def strictly(far):
    """The rule stops below its tolerance, not above, and looks at the Euclidean norm."""
    norm = 6 * np.exp(-18.0)
    for share, due in ((1.001, True), (0.999, False)):
        run = gdlab.minimize(PLATEAU, gdlab.gd(0.1), far, 1, tolerance=share * norm)
        yield is_true("S62", f"a tolerance of {share:g} |g|: {'stops' if due else 'goes on'}", (run.steps == 0) == due)
    run = gdlab.minimize(lambda x: jnp.sum(x**2) / 2, gdlab.gd(0.1), jnp.array([0.3, 0.4]), 9, tolerance=0.46)
    yield exactly("S62", "g = (.3, .4), a tolerance of .46: stops at |g| = .45, after", run.steps, 1)


def trap(path):
    """The rule "stop when |g| < 1e-6" on 1 - exp(-x^2 / 2) (S62)."""
    far = jnp.array([6.0])
    run = gdlab.minimize(PLATEAU, gdlab.gd(0.1), far, 100, tolerance=1e-6)
    below = np.asarray(jax.vmap(PLATEAU)(path)) < 0.5
    hill = lambda x: jnp.exp(-jnp.sum(x**2) / 2)  # noqa: E731  # as steep; 1 - expm1 is flat from 9 on
    farther = gdlab.minimize(hill, gdlab.gd(0.1), jnp.array([28.0]), 1, record=("gradient_norm",))
    return (
        printed("S62", "loss at x = 6", PLATEAU(far), ".99999998"),
        printed("S62", "|g| at x = 6", jnp.abs(jax.grad(PLATEAU)(far))[0], "9.1e-8"),
        is_true("S62", "from 6 it stops at once, for its small gradient", run.why == "small gradient"),
        Check(  # 2e-169, whose square is no number above 0; rounding of the exponent, times 392
            "S62",
            "|g| at x = 28 over x e^(-x^2 / 2)",
            float(farther.history["gradient_norm"][0]) / (28 * np.exp(-392.0)),
            1.0,
            1e-12,
        ),
        exactly("S62", "steps taken from 6", run.steps, 0),
        *strictly(far),
        exactly("S62", "from 5, rate .1: updates until the loss is below .5", np.argmax(below), 117_826),
    )


def draw(paths, losses, many, wells, plateau):
    """The paths on the surface, the loss of every run against its updates."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, ((surface_, curves), (well, flat)) = plt.subplots(2, 2, figsize=(10, 7.4))
    figures.contours(BOWL, ((-4.0, 4.0), (-2.0, 2.0)), ax=surface_)
    for (name, path), colour in zip(paths.items(), figures.PALETTE, strict=False):
        label = f"{name}: $\\eta L$ = {RATES[name] * HIGH:.3g}"
        surface_.plot(*np.asarray(path)[:30].T, ".-", color=colour, linewidth=0.8, markersize=3, label=label)
        curves.plot(losses[name], color=colour, label=label)
        curves.plot(many[name] / many[name][0] * losses[name][0], ":", color=colour, linewidth=1)
    surface_.set(title="the bowl with curvatures 1 and 10")
    curves.set(
        yscale="log",
        ylim=(1e-6, 1e4),
        xlabel="updates",
        ylabel="loss",
        title="the same runs (dotted: 100 parameters)",
    )
    for (rate, path), colour in zip(wells.items(), figures.PALETTE, strict=False):
        values = np.asarray(jax.vmap(WELL)(path))
        label = f"rate {rate}: {rise(values)} rises"
        well.plot(values, ".-", color=colour, linewidth=0.8, markersize=3, label=label)
    well.set(xlabel="updates", ylabel="loss", title="the double well $x^4/4 - x^2/2 + x/10$ from 1.5")
    shown = np.unique(np.geomspace(1, len(plateau), 400).astype(int))
    x = np.linspace(6.0, 0.3, 2000)  # by the flow dx/dt = -x exp(-x^2 / 2): it takes millions of updates
    t = (expi(x[0] ** 2 / 2) - expi(x**2 / 2)) / (2 * 0.1)
    runs = {5: (shown, np.asarray(plateau)[shown - 1, 0]), 6: (t + 1, x)}
    for (start, (updates, x)), colour in zip(runs.items(), (figures.PALETTE[0], figures.PALETTE[3]), strict=True):
        flat.plot(updates, 1 - np.exp(-(x**2) / 2), color=colour, label=f"from {start}: loss")
        flat.plot(updates, x * np.exp(-(x**2) / 2), "--", color=colour, label=f"from {start}: norm of the gradient")
    flat.plot(1, 6 * np.exp(-18), "*", color="black", markersize=11, label="from 6: the rule stops here")
    flat.axhline(1e-6, color="0.4", linewidth=1, linestyle=":", label="$10^{-6}$")
    title = "the plateau $1 - e^{-x^2/2}$, rate .1: small gradient, no success"
    flat.set(xscale="log", yscale="log", ylim=(1e-8, 3), xlabel="updates + 1", ylabel="loss, norm", title=title)
    for axes in (surface_, curves, well):
        axes.legend(fontsize=7)
    flat.legend(fontsize=7, loc="upper left", bbox_to_anchor=(0.02, 0.9))
    return figure
