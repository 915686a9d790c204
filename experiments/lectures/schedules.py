"""What is gained by changing the rate as the run goes on? (S12-S14, S16, S17, S92; sections 2.3, 3.14)

Under gradient noise of variance s^2 a constant rate ends in a cloud around the minimum of a parabola with curvature a,

    E (x - x*)^2  ->  eta s^2 / (a (2 - eta a)),

however long it runs; rates that fall to zero reach the minimum.  Far from the target large, near it small: that is the
reason for decay.  The "1/t decay" of the lectures, eta / sqrt(t + 1), is in truth 1 / sqrt(t).  The true one,
eta / (1 + t), is good here, under noise; what is fatal on the error surface (S21, `pokemon`) is its combination with
the root mean square of all gradients, whose steps then add up to no more than eta log t.  Warm-up goes the other
way first; its shapes are exact here, its effect is another question, and RAdam (S18) has an experiment of its own.
"""

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
from gdlab import schedules

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true, printed
from ..reporting.standard_errors import error_of_mean, error_of_variance, independent

QUESTION = "What is gained by changing the rate as the run goes on? (S12-S14, S16, S17, S92)"
CURVATURE, NOISE = 2.0, 3.0
START, STEPS, LANES = 3.0, 2000, 4000
EARLY = 50  # steps whose mean squares are compared one by one
FLOORS = {0.1: ".0278", 0.5: ".2500"}  # of a constant rate, as printed, over the noise's variance
RUNS = {
    "constant .1": schedules.Constant(0.1),
    "constant .5": schedules.Constant(0.5),
    "step decay: halved every 200": schedules.StepDecay(0.5, 0.5, every=200),
    "$.5 / \\sqrt{t + 1}$": schedules.InverseSqrt(0.5),
    "$.5 / (1 + t)$": schedules.InverseTime(0.5, 1.0),
}
TRANSFORMER = schedules.Noam(512, 4000)
RESNET = schedules.Piecewise([0.01, 0.1], [400])


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "schedules", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure."""
    lanes = 1000 if quick else LANES
    clouds = {name: cloud(schedule, lanes) for name, schedule in RUNS.items()}
    checks = [*shapes(), *written_out(), *warm_ups(), *cycles(), *driven(clouds), *floors(clouds)]
    return checks, lambda: draw(clouds)


def noisy(x, *, key):
    """The parabola a x^2 / 2 whose gradient is disturbed by noise of variance NOISE^2."""
    return jnp.polyval(jnp.array([CURVATURE / 2, NOISE * jax.random.normal(key), 0.0]), x)


def cloud(schedule, lanes):
    """x - x* of every lane after each step, shape (STEPS, lanes)."""

    def run(key):
        return gdlab.minimize(noisy, gdlab.sgd(schedule), START, STEPS, key=key, record=("params",)).history["params"]

    return np.asarray(jax.jit(jax.vmap(run, out_axes=1))(jax.random.split(jax.random.key(0), lanes)))


def law(schedule):
    """E (x - x*)^2 after each step, from V <- (1 - eta a)^2 V + eta^2 s^2."""
    rates = np.asarray(jax.vmap(schedule)(jnp.arange(STEPS)))
    expected = [START**2]
    for rate in rates[:-1]:
        expected.append((1 - rate * CURVATURE) ** 2 * expected[-1] + (rate * NOISE) ** 2)
    return np.array(expected)


def shapes():
    """Step decay, and the lectures' decay."""
    steps = schedules.StepDecay(0.1, 0.5, every=30)
    fading = schedules.InverseSqrt(1.0)
    return (
        *(exactly("S12", f"halved every 30: rate at {t}", steps(t), 0.1 / 2 ** (t // 30)) for t in (0, 29, 30, 89, 90)),
        *(printed("S14", f"rate at {t} over rate at 0", fading(t), d) for t, d in ((1, ".70711"), (2, ".57735"))),
        exactly("S14", "rate at 3 over rate at 0", fading(3), 0.5),
        exactly("S14", "rate at 999 999 over rate at 0", fading(999_999), 1e-3),
    )


def written_out():
    """Every schedule of the count by its formula in NumPy, at settings none of which is 1 (S12-S17; 2.3)."""
    t = np.arange(60)
    ramp = lambda begin, steps: np.clip((t - begin) / steps, 0, 1)  # noqa: E731
    cosine = lambda share: (1 - np.cos(np.pi * share)) / 2  # noqa: E731
    at = jnp.arange(60)
    pairs = {
        "S13 1 / (1 + d t / e)": (schedules.InverseTime(0.3, 2.0, every=5.0), 0.3 / (1 + 0.4 * t)),
        "S12 f^floor(t / e)": (schedules.StepDecay(0.3, 0.7, every=9.0), 0.3 * 0.7 ** (t // 9)),
        "S12 f^(t / e)": (schedules.Exponential(0.3, 0.7, every=9.0), 0.3 * np.exp(t / 9 * np.log(0.7))),
        "S14 (t + 1)^(-1/2)": (schedules.InverseSqrt(0.3), 0.3 * (t + 1) ** -0.5),
        "2.3 pieces": (schedules.Piecewise([0.3, 0.2, 0.5], [7, 20]), np.where(t < 7, 0.3, np.where(t < 20, 0.2, 0.5))),
        "2.3 line": (schedules.Linear(0.3, 0.05, 40), 0.3 - 0.25 * ramp(0, 40)),
        "2.3 power": (schedules.Polynomial(0.3, 0.05, 40, 2.5), 0.05 + 0.25 * (1 - ramp(0, 40)) ** 2.5),
        "2.3 half cosine": (schedules.Cosine(0.3, 0.05, 40), 0.3 - 0.25 * cosine(ramp(0, 40))),
        "S17 warm-up": (schedules.Warmup(0.3, 8), 0.3 * np.minimum((t + 1) / 8, 1)),
        "S17 warm-up of no steps": (schedules.Warmup(0.3, 0), np.full(60, 0.3)),
        "S17 three, one after another": (
            schedules.Join([0.3, schedules.InverseSqrt(0.2), schedules.Linear(0.4, 0.1, 10)], [12, 30]),
            np.where(t < 12, 0.3, np.where(t < 30, 0.2 / np.sqrt(np.maximum(t - 11, 1)), 0.4 - 0.3 * ramp(30, 10))),
        ),
        "S17 Noam": (schedules.Noam(9.0, 4.0, 2.0), 2 / 3 * np.minimum((t + 1) ** -0.5, (t + 1) / 8)),
        "2.3 stable, then down": (
            schedules.Wsd(0.3, 8, 12, 25, 0.05),
            np.minimum(0.3 * np.minimum((t + 1) / 8, 1), 0.3 - 0.25 * ramp(20, 25)),
        ),
        "2.3 without end": (
            schedules.Infinite(0.3, 0.1, 0.02, 5, 15, stop=40, decay=10),
            np.where(t < 5, 0.3 * (t + 1) / 5, 0.3 - 0.2 * cosine(ramp(5, 15))) * 0.2 ** ramp(40, 10),
        ),
        "2.3 without end, left before its constant rate": (
            schedules.Infinite(0.3, 0.1, 0.02, 5, 15, stop=12, decay=10),
            np.where(t < 5, 0.3 * (t + 1) / 5, 0.3 - 0.2 * cosine(ramp(5, 15))[np.minimum(t, 12)])
            * 0.2 ** ramp(12, 10),
        ),
        "S16 in proportion": (
            schedules.InProportion(0.7, schedules.Linear(0.4, 0.1, 30)),
            0.7 * (1 - 0.75 * ramp(0, 30)),
        ),
        "S16 in proportion to one from 0": (
            schedules.InProportion(0.7, schedules.Linear(0.0, 0.1, 30)),
            np.full(60, 0.7),
        ),
    }
    pairs |= cycles_written_out(t, ramp, cosine)
    found = jax.jit(lambda: {name: jax.vmap(schedule)(at) for name, (schedule, _) in pairs.items()})()
    for name, (_, due) in pairs.items():
        item, what = name.split(" ", 1)
        yield at_most(item, f"{what}: 60 rates - NumPy's", np.abs(found[name] - due).max(), 1e-15)


def cycles_written_out(t, ramp, cosine):
    """Those with cycles, and the other ways down: by name, each with its formula in NumPy (3.14, S92)."""
    corner = 1 - np.abs(t % 14 / 7 - 1)  # up in 7 steps, down in 7
    straight = np.interp(t, (0, 12, 35, 50), (0.02, 0.5, 0.02, 0.02 / 1e4))
    bent = np.where(t < 12, 0.02 + 0.48 * cosine(t / 12), 2e-6 + (0.5 - 2e-6) * (1 - cosine(ramp(12, 38))))
    begun, long = np.where(t < 9, 0, np.where(t < 27, 9, 27)), np.where(t < 9, 9, np.where(t < 27, 18, 36))
    down = {"1-sqrt": ramp(20, 25) ** 0.5, "cosine": cosine(ramp(20, 25))}
    return {
        "3.14 triangular": (schedules.Cyclic(0.1, 0.5, 7), 0.1 + 0.4 * corner),
        "3.14 triangular2": (schedules.Cyclic(0.1, 0.5, 7, mode="triangular2"), 0.1 + 0.4 * corner / 2 ** (t // 14)),
        "3.14 exp_range": (
            schedules.Cyclic(0.1, 0.5, 7, mode="exp_range", factor=0.9),
            0.1 + 0.4 * corner * np.exp(t * np.log(0.9)),
        ),
        "3.14 SGDR": (schedules.Sgdr(0.5, 0.1, 9, growth=2), 0.5 - 0.4 * cosine((t - begun) / long)),
        "3.14 SGDR, all cycles alike": (schedules.Sgdr(0.5, 0.1, 9), 0.5 - 0.4 * cosine(t % 9 / 9)),
        "S92 one cycle": (schedules.OneCycle(0.5, 50, rise=0.24, fall=0.7), straight),
        "S92 one cycle in cosines": (schedules.OneCycleCosine(0.5, 50, rise=0.24), bent),
        "S92 range test": (schedules.LrRangeTest(1e-3, 0.5, 40), 1e-3 * 500 ** np.minimum(t / 39, 1)),
        **{
            f"2.3 stable, then down by {shape}": (
                schedules.Wsd(0.3, 8, 12, 25, 0.05, shape=shape),
                np.minimum(0.3 * np.minimum((t + 1) / 8, 1), 0.3 - 0.25 * made),
            )
            for shape, made in down.items()
        },
    }


def warm_ups():
    """The recipes of ResNet-110 and of the Transformer."""
    counts = jnp.arange(20_000)
    rates = jax.vmap(TRANSFORMER)(counts)
    ramp = schedules.Warmup(1.0, 4)
    return (
        *(exactly("S17", f"4 steps of warm-up: rate at {t}", ramp(t), min((t + 1) / 4, 1)) for t in (0, 1, 3, 9)),
        *(
            exactly("S17", f"ResNet-110: rate at {t}", RESNET(t), rate)
            for t, rate in ((0, 0.01), (399, 0.01), (400, 0.1))
        ),
        printed("2.3", "Transformer: highest rate", rates.max(), "6.98771e-4"),
        exactly("2.3", "Transformer: its update, from 1", jnp.argmax(rates) + 1, 4000),
        is_true(
            "S17",
            "it rises before and falls after",
            (jnp.diff(rates)[:3999] > 0).all() & (jnp.diff(rates)[3999:] < 0).all(),
        ),
    )


def restarts():
    """SGDR where its first 12 cycles begin and just before, for 120 first lengths and growths (3.14)."""
    periods, growths = (axis.ravel() for axis in np.meshgrid(np.arange(1, 41), (1, 2, 3)))
    lengths = periods[:, None] * growths[:, None] ** np.arange(12)
    begins = np.cumsum(lengths, axis=1) - lengths
    rates = jax.jit(jax.vmap(lambda period, growth, t: jax.vmap(schedules.Sgdr(1.0, 0.1, period, growth))(t)))
    first, last = (
        np.asarray(rates(periods.astype(float), growths.astype(float), t)) for t in (begins, begins + lengths - 1)
    )
    low = 0.1 + 0.9 * (1 + np.cos(np.pi * (1 - 1 / lengths))) / 2
    return (
        at_most("3.14", "SGDR: farthest from its highest rate where a cycle begins", farthest(first, 1.0), 1e-12),
        at_most("3.14", "SGDR: farthest from the cosine at the last step of a cycle", farthest(last, low), 1e-12),
    )


def cycles():
    """The corners of the policies with cycles (section 3.14)."""
    saw, halved = schedules.Cyclic(1.0, 3.0, 4), schedules.Cyclic(1.0, 3.0, 4, mode="triangular2")
    shrunk = schedules.Cyclic(1.0, 3.0, 4, mode="exp_range", factor=0.5)
    waves = schedules.Sgdr(1.0, 0.1, 10, growth=2)
    cycle = schedules.OneCycle(1.0, 100, rise=0.3, fall=0.9)
    test = schedules.LrRangeTest(1e-5, 1.0, 101)
    return (
        *(
            exactly("3.14", f"triangular policy at {t}", saw(t), rate)
            for t, rate in ((0, 1), (2, 2), (4, 3), (8, 1), (12, 3))
        ),
        *(
            exactly("3.14", f"triangular2 at {t}", halved(t), r)
            for t, r in ((2, 2), (4, 3), (8, 1), (12, 2), (20, 1.5))
        ),
        *(
            exactly("3.14", f"exp_range at {t}", shrunk(t), 1 + h * 0.5**t)
            for t, h in ((0, 0), (2, 1), (4, 2), (11, 1.5))
        ),
        *(
            exactly("3.14", f"SGDR at {t}", waves(t), rate)
            for t, rate in ((0, 1), (5, 0.55), (10, 1), (20, 0.55), (30, 1))
        ),
        *restarts(),
        *(
            exactly("S92", f"one cycle at {t}", cycle(t), rate)
            for t, rate in (
                (0, 1 / 25),
                (15, (1 / 25 + 1) / 2),
                (30, 1),
                (60, (1 + 1 / 25) / 2),
                (90, 1 / 25),
                (95, (1 / 25 + 1 / 25e4) / 2),
                (100, 1 / 25e4),
            )
        ),
        is_true("S92", "one cycle: up, then down to the end", cycle(0) < cycle(30) > cycle(60) > cycle(99)),
        *(exactly("S92", f"range test at {t}", test(t), 10 ** (t / 20 - 5)) for t in (0, 20, 100)),
    )


def disturbances(cloud, schedule):
    """The noise that each step of each lane must have had: z = ((1 - eta a) x - x') / (eta s)."""
    rates = np.asarray(jax.vmap(schedule)(jnp.arange(STEPS - 1)))[:, None]
    return ((1 - rates * CURVATURE) * cloud[:-1] - cloud[1:]) / (rates * NOISE)


def driven(clouds):
    """Every step of every lane is x' = (1 - eta a) x - eta s z with the same noise z, which is new at every step.

    From that the recursion of the mean squares follows at every step.
    """
    first, *others = RUNS
    z = disturbances(clouds[first], RUNS[first])
    error = error_of_mean(z)  # of its mean, and of its correlation with as many others
    yield Check("S13", "the noise of all steps: mean square", (z**2).mean(), 1.0, error_of_variance(z.size))
    yield at_most("S13", "its mean", abs(z.mean()), error)
    correlation = np.corrcoef(z[1:].ravel(), z[:-1].ravel())[0, 1]
    yield at_most("S13", "its correlation with that of the step before", abs(correlation), error)
    for name in others:  # a rounding of x of 1e-15 at most, over the least eta s, 7e-4
        apart = farthest(disturbances(clouds[name], RUNS[name]), z)
        yield at_most("S13", f"{name}: the noise of its steps - that of {first}", apart, 1e-9)


def floor(rate):
    """The mean square distance at which a constant rate ends."""
    return rate * NOISE**2 / (CURVATURE * (2 - rate * CURVATURE))


def floors(clouds):
    """Where each run ends, against the recursion; four standard errors."""
    squares = {name: cloud**2 for name, cloud in clouds.items()}
    checks = []
    for name, schedule in RUNS.items():
        spread = error_of_mean(squares[name][:EARLY], axis=1)  # the start is not forgotten yet
        off = np.abs(squares[name][:EARLY].mean(axis=1) - law(schedule)[:EARLY]) - spread
        checks.append(at_most("S13", f"{name}: the first {EARLY}, beyond four errors", off.max(), 1e-12))
    for rate, digits in FLOORS.items():
        due = floor(rate)
        late = squares[f"constant {rate:g}".replace("0.", ".")][STEPS // 2 :]
        checks.append(
            Check(
                "S13",
                f"constant {rate}: mean square distance, second half",
                late.mean(),
                due,
                due * error_of_variance(independent(late.size, 1 - rate * CURVATURE)),
            )
        )
        checks.append(printed("S13", f"floor of the rate {rate}, over s^2", due / NOISE**2, digits))
        checks.append(
            Check("S13", f"constant {rate}: the recursion ends there", law(schedules.Constant(rate))[-1], due, 1e-12)
        )
    lowest = min(map(floor, FLOORS))
    fading = {name: law(schedule)[-1] for name, schedule in RUNS.items() if not name.startswith("constant")}
    for name, due in fading.items():
        checks.append(
            Check(
                "S13",
                f"{name}: mean square at the end, over the recursion's",
                squares[name][-1].mean() / due,
                1.0,
                error_of_mean(squares[name][-1]) / due,
            )
        )
        checks.append(is_true("S13", f"{name}: which is below the lowest floor", due < lowest))
    # At eta a = 1 / (1 + t) what is left is the mean of all noise so far, over a.
    mean, name = NOISE**2 / (CURVATURE**2 * (STEPS - 1)), f".5 / (1 + t): the recursion after {STEPS - 1} steps"
    checks.append(Check("S16", f"{name}, as a mean of noise", fading["$.5 / (1 + t)$"], mean, 1e-12))
    return checks


def draw(clouds):
    """The distance to the minimum, and the rates."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    t = np.arange(STEPS) + 1
    for (name, schedule), colour in zip(RUNS.items(), figures.PALETTE, strict=False):
        left.plot(t, (clouds[name] ** 2).mean(1), color=colour, linewidth=0.9, label=name)
        left.plot(t, law(schedule), ":", color="black", linewidth=0.8)
    left.plot([], [], ":", color="black", linewidth=0.8, label="what must come out")
    left.set(xscale="log", yscale="log", xlabel="updates + 1", ylabel="mean of $(x - x^*)^2$ over all runs")
    left.set_title("the parabola $x^2$ with gradient noise of variance 9")
    counts = np.unique(np.geomspace(1, 20_000, 800).astype(int)) - 1
    shown = {
        "Transformer (width 512): warm-up, $1/\\sqrt{t}$": TRANSFORMER,
        "ResNet-110: .01, then .1": RESNET,
        "halved every 200": RUNS["step decay: halved every 200"],
        "$.5 / \\sqrt{t + 1}$": RUNS["$.5 / \\sqrt{t + 1}$"],
        "SGDR: cosines of 1000, 2000, ...": schedules.Sgdr(0.05, 1e-4, 1000, growth=2),
    }
    for (name, schedule), colour in zip(shown.items(), figures.PALETTE, strict=False):
        right.plot(counts + 1, jax.vmap(schedule)(jnp.asarray(counts)), color=colour, label=name)
    right.set(xscale="log", yscale="log", ylim=(1e-10, 1), xlabel="updates + 1", ylabel="learning rate", title="shapes")
    for axes in (left, right):
        axes.legend(fontsize=7, loc="lower left")
    return figure
