"""What is Nadam, and is it faster than Adam? (S97; section 3.10)

    m = b1 mu_(t+1) / (1 - b1^(t+2)) + (1 - b1) g_t / (1 - b1^(t+1)),    mu_(t+1) = b1 mu_t + (1 - b1) g_t

Nesterov's looking ahead within Adam: the average is already decayed for the step to come, the gradient is not.  Three
conventions go by the name.  The lectures and optax keep b1; Dozat's, in torch and keras, lets it grow, as
b1 (1 - .96^(t psi) / 2), with psi = .004 in torch and 1 in keras.  The first step tells them apart: b1 / (1 + b1) + 1
times eta with a constant b1 (1.47 at .9, not Adam's eta).

Under sigma = 1 and long after the start it is Nesterov's momentum at the rate (1 - b1) eta, and so it bears
1 / (1 + 2 b1) of the rate that Adam bears, .357 at .9.  Who ends lower on the problems of the tuned benchmark, each at
its best rate, is shown in a table: three seeds are too few to judge it by.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdlab
from gdlab.problems import surface

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest
from ..reporting.run_folder import Table
from ..workloads.drawn import of_uneven_sizes
from ..workloads.tuned_benchmark import CURVATURES, PROBLEMS, best, draws, medians, tuned_benchmark

QUESTION = "What is Nadam, and is it faster than Adam? (S97)"
B1, B2, RATE = 0.9, 0.99, 0.01
PSI = {"torch": 0.004, "keras": 1.0}
STEPS = 300
START = (0.5, 1.0)
CONTESTANTS = {"adam": lambda rate: gdlab.adam(rate, B1, B2), "nadam": lambda rate: gdlab.nadam(rate, B1, B2)}


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "nadam", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure; in full a table of what is shown but not judged."""
    moves, results = paths(), None if quick else tuned_benchmark(CONTESTANTS)
    steady = {name: steps[:, 3] for name, steps in moves.items()}
    checks = [*formulas(moves), *first_steps(steady), *limits()]
    if quick:
        return checks, lambda: draw(steady, results)
    return [*checks, *on_a_bowl(results)], lambda: draw(steady, results), compared(results)


def gradients():
    """Three gradients of all sizes from a hundredth to a hundred, and one that stays the same: shape (STEPS, 4)."""
    drawn = of_uneven_sizes(jax.random.key(0), (STEPS, 3), 2.0)
    return jnp.concatenate([drawn, jnp.ones((STEPS, 1))], axis=1)


def paths():
    """The movements of Adam and of the three conventions, over eta."""
    optimizers = {"adam": gdlab.adam(RATE, B1, B2, eps=0.0)}
    optimizers |= {source: gdlab.nadam(RATE, B1, B2, eps=0.0, source=source) for source in ("lecture", *PSI)}
    return {name: moved_by(optimizer) for name, optimizer in optimizers.items()}


def moved_by(optimizer):
    """The movements of an optimizer of rate RATE, over that: shape (STEPS, 4)."""
    run = gdlab.minimize(jnp.vdot, optimizer, jnp.zeros(4), STEPS, batches=gradients(), record=("update",))
    return -np.asarray(run.history["update"]) / RATE


def formulas(moves):
    """The three conventions against loops in NumPy, and optax's."""
    theirs = optax.nadam(RATE, B1, B2, eps=0.0)
    _, moved = jax.lax.scan(lambda state, g: theirs.update(g, state)[::-1], theirs.init(jnp.zeros(4)), gradients())
    return (
        at_most("S97", "adam: steps over eta - NumPy", farthest(moves["adam"], adam_by_loop()), 1e-12),
        at_most("S97", "constant b1: steps over eta - NumPy", np.abs(moves["lecture"] - looped()).max(), 1e-12),
        at_most(
            "S97", "and with eps = .1", farthest(moved_by(gdlab.nadam(RATE, B1, B2, eps=0.1)), looped(eps=0.1)), 1e-12
        ),
        at_most("S97", "constant b1: steps over eta - optax's", np.abs(moves["lecture"] + moved / RATE).max(), 1e-12),
        *(
            at_most(
                "S97",
                f"{source}, psi = {psi}: steps over eta - NumPy",
                np.abs(moves[source] - looped(psi)).max(),
                1e-12,
            )
            for source, psi in PSI.items()
        ),
    )


def adam_by_loop():
    """Adam's steps over eta, step by step."""
    m, v, steps = np.zeros(4), np.zeros(4), []
    for t, g in enumerate(np.asarray(gradients()), 1):
        m, v = B1 * m + (1 - B1) * g, B2 * v + (1 - B2) * g * g
        steps.append(m / (1 - B1**t) / np.sqrt(v / (1 - B2**t)))
    return np.array(steps)


def looped(psi=None, eps=0.0):
    """The same of Nadam; b1 grows with psi where it is given."""
    move = stepper(psi, eps)
    return np.array([move(g) for g in np.asarray(gradients())])


def stepper(psi=None, eps=0.0):
    """A function of the gradient that returns the next step over eta, and remembers."""

    def decay(t):
        return B1 if psi is None else B1 * (1 - 0.5 * 0.96 ** (t * psi))

    t, mu, nu, product = 0, 0.0, 0.0, 1.0

    def move(g):
        nonlocal t, mu, nu, product
        t, mu, nu = t + 1, B1 * mu + (1 - B1) * g, B2 * nu + (1 - B2) * g * g
        now, ahead = decay(t), decay(t + 1)
        product *= now
        m = ahead * mu / (1 - product * ahead) + (1 - now) * g / (1 - product)
        return m / (np.sqrt(nu / (1 - B2**t)) + eps)

    return move


def first_steps(steady):
    """The first step is not eta (S22), but becomes it."""
    return (
        exactly("S97", "adam: first step over eta", steady["adam"][0], 1.0),
        exactly("3.10", "nadam: first step over eta, 1 + b1/(1 + b1)", steady["lecture"][0], 1 + B1 / (1 + B1)),
        *(  # where b1 still grows, it is ahead by the last growth, which is 7e-5 for torch
            exactly("S97", f"{name}: step over eta after {STEPS}, 1 + growth of b1", s[-1], 1 + growth(PSI.get(name)))
            for name, s in steady.items()
        ),
    )


def growth(psi):
    """By how much b1 is larger after the last step; psi is None where it is constant."""
    return 0.0 if psi is None else B1 * 0.5 * (0.96 ** (STEPS * psi) - 0.96 ** ((STEPS + 1) * psi))


def limits():
    """Under sigma = 1 it is Nesterov's momentum; and what a valley bears of Adam's rate."""
    loss, start = surface("rosenbrock_2d").loss, jnp.array(START)
    late = gdlab.directions.NesterovEma(B1)
    plain = gdlab.descent(late, gdlab.scales.Unit(), 1e-2)
    state = plain.init(start)
    late_state = state._replace(count=jnp.full_like(state.count, 10_000))  # nothing left to debias
    ball = gdlab.nesterov(1e-2 * (1 - B1), B1)

    def walk(optimizer, state):
        def step(carry, _):
            theta, state = carry
            updates, state = optimizer.update(jax.grad(loss)(theta), state)
            return (optax.apply_updates(theta, updates), state), theta

        return jax.lax.scan(step, (start, state), None, STEPS)[1]

    apart = farthest(walk(plain, late_state), walk(ball, ball.init(start)))
    bears = {
        name: borne(direction) for name, direction in (("adam", gdlab.directions.BiasCorrectedEma(B1)), ("nadam", late))
    }
    return (
        at_most("S97", f"sigma 1, late: {STEPS} steps - Nesterov's at (1 - b1) eta", apart, 1e-12),
        *(  # halving 20 times leaves 1e-4 of a rate
            Check("S97", f"{name}, sigma 1: largest stable rate less {due:.4g}", bears[name] - due, 0.0, 1e-4)
            for name, due in (("adam", 2 * (1 + B1) / (1 - B1)), ("nadam", 2 * (1 + B1) / (1 - B1) / (1 + 2 * B1)))
        ),
    )


def borne(direction):
    """The largest rate at which curvature 1 under sigma = 1 still shrinks, by bisection; late, when all is debiased."""

    def shrinks(rate):
        moved = gdlab.descent(direction, gdlab.scales.Unit(), rate)
        run = gdlab.minimize(lambda x: x * x / 2, moved, jnp.ones([]), 4000, record=("params",), every=2000)
        return (jnp.abs(run.params) < jnp.abs(run.history["params"][-1])) | (run.params == 0)

    low, high = 1.0, 100.0
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if shrinks(middle) else (low, middle)
    return low


def on_a_bowl(results):
    """What Nadam leaves on the first seed's bowl, at a rate where rounding does not grow, against NumPy."""
    rate, w, move = 1e-2, np.array(draws(0)[0]["bowl"]), stepper(eps=1e-8)
    for _ in range(300):
        w = w - rate * move(CURVATURES * w)
    found = results["bowl"].sel(optimizer="nadam").sel(rate=rate, method="nearest").isel(seed=0)
    return (
        Check("S97", "bowl, rate .01: loss over a NumPy loop's", float(found) / (CURVATURES @ w**2 / 2), 1.0, 1e-9),
    )


def compared(results):
    """Each at its best rate on each problem of the tuned benchmark."""
    losses = best(results)
    rows = [
        [problem, *(f"{float(losses.sel(problem=problem, optimizer=name)):.3g}" for name in CONTESTANTS)]
        for problem in PROBLEMS
    ]
    return Table("What is left, each at its best rate, median of 3 seeds: not judged", ("problem", *CONTESTANTS), rows)


def draw(steady, results):
    """The steps for a constant gradient, and the losses by rate."""
    from ..reporting import figures
    from ..reporting.figures import plt

    kinds = () if results is None else PROBLEMS
    rows, columns = (2, 4) if kinds else (1, 1)
    figure, grid = plt.subplots(rows, columns, figsize=(3.25 * columns, 3.2 * rows), squeeze=False)
    first, *panels = grid.flat
    labels = {"adam": "Adam", "lecture": "Nadam, constant b1", "torch": "torch: slow", "keras": "keras: fast"}
    for (name, steps), colour in zip(steady.items(), figures.PALETTE, strict=False):
        first.plot(np.arange(1, STEPS + 1), steps, color=colour, label=labels[name])
    first.set(xscale="log", xlabel="steps", ylabel="step / eta", title="a constant gradient")
    first.legend(fontsize=7)
    for panel in panels[len(kinds) :]:
        panel.set_axis_off()
    if results is None:
        return figure
    losses = medians(results)
    for panel, problem in zip(panels, PROBLEMS, strict=False):
        for name, colour in zip(CONTESTANTS, figures.PALETTE, strict=False):
            values = losses.sel(problem=problem, optimizer=name)
            panel.plot(losses["rate"], values.clip(1e-16, 1e4), color=colour, marker=".", label=name)
        panel.set(xscale="log", yscale="log", xlabel="rate", title=problem)
    panels[0].set_ylabel("loss at the end, median")
    panels[0].legend(fontsize=7)
    return figure
