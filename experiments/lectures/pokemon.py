"""Does the lectures' convex error surface behave as on the slides? (section 2.1; S1-S3, S15-S22, S35, S55, S63-S82)

Ten Pokemon, a line y = b + w x, the sum of squared errors, a start at (-120, -4): almost every missing figure of the
lectures is this surface.  Every row of their table is re-run here, 100 000 updates each, and compared digit by digit.

What is sought is the argmin over theta; note 000 writes it over lambda.

The gradient is that of the normal equations, H theta - c, from which the printed digits were made.  It matters: with
the root mean square of all gradients and a constant rate, descent explodes and recovers again and again, and *when*
depends on rounding.  So what is printed of those runs is judged as one draw more of what 32 roundings of the start make
of them; the same run with the gradient summed over residuals is another.  Adam never comes to rest either: where it
stands after exactly 100 000 updates is rounding as well, so that its rows are checked by the median of the last 5000
distances: at every rate it is a hundred times below the .7 of the rate that RMSProp's cycle of two keeps.

The 2021 slide's panel at the rate 1e-2, a zig-zag between b = -120 and -134, is not reproducible: there the sum loss
overflows at update 72, the mean loss at 93.  A zig-zag that lasts needs the rate 2 / highest curvature (S63).
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
import hessian
from gdlab.problems import POKEMON_BOX, POKEMON_CURVATURES, POKEMON_RATE_BOUND, pokemon, pokemon_loss

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_proved, is_true, printed
from ..reporting.standard_errors import error_of_draw
from ..workloads.pokemon_valley import (
    OPTIMUM,
    START,
    bursts,
    descend,
    distance,
    normal_equations,
    normal_gradient,
    off_valley,
    rms,
    roundings,
)

QUESTION = "The convex error surface of the lectures: does every run end where the slides say? (section 2.1)"
LATE = 5000  # the updates of Adam whose distances are compared
Paths = dict[str, np.ndarray]


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "pokemon", QUESTION, measure)


def measure():
    """The checks and the figure."""
    paths = {name: descend(optimizer) for name, optimizer in runs().items()}
    residual = descend(rms(1.0), gradient=lambda theta: jax.grad(pokemon_loss)(theta, pokemon()))
    checks = [*surface(), *vanilla(paths), *adagrad(paths), *explosions(paths, residual), *rmsprop(paths), *adam(paths)]
    return [*checks, *shortcuts(), *oscillation()], lambda: draw(paths)


def runs() -> dict[str, gdlab.Optimizer]:
    """The rows of the table."""
    return {
        **{f"gd {rate:g}": gdlab.gd(rate) for rate in (1e-8, 1e-7, 1e-6, 1e-5)},
        "adagrad": gdlab.adagrad(1.0),
        **{f"rms {rate:g}": rms(rate) for rate in (1.0, 0.5, 0.1, 0.01)},
        "rms exp(-t/1e3)": rms(lambda t: jnp.exp(-t / 1e3)),
        "rms exp(-t/1e4)": rms(lambda t: jnp.exp(-t / 1e4)),
        "rms 1/(1+t/100)": rms(lambda t: 1 / (1 + t / 100)),
        "rms 1/(t+1)": rms(lambda t: 1 / (t + 1.0)),
        **{f"rmsprop {decay:g}": gdlab.rmsprop(1.0, decay) for decay in (0.9, 0.99, 0.999)},
        "rmsprop .01": gdlab.rmsprop(0.01),
        **{f"adam {rate:g}": gdlab.adam(rate) for rate in (1.0, 0.1, 0.01, 0.001)},
    }


def both(name: str, theta: Any, digits: tuple[str, str], item: str = "2.1") -> list[Check]:
    """Checks of b and w against their printed digits."""
    return [printed(item, f"{name}: {letter}", value, d) for letter, value, d in zip("bw", theta, digits, strict=True)]


def surface() -> list[Check]:
    """The surface itself: optimum, loss, curvatures, contours."""
    data = pokemon()
    eigenvalues = hessian.spectrum(pokemon_loss, START, data).eigenvalues
    point = hessian.classify(pokemon_loss, jnp.array(OPTIMUM), data)
    corners = {(-200, -5): "5192293.4", (-101, -5): "4818647.6", (-200, 4.9): "431925.128"}
    mean = {at: pokemon_loss(jnp.array(at, float), data) / 10 for at in corners}
    return [
        at_most("S2", "gradient at 100 places - 2 (sum e, sum e x), relative", by_hand(), 1e-12),  # as printed
        *both("optimum", OPTIMUM, ("-188.43319666", "2.66945497"), "S1"),
        printed("S1", "loss at the optimum", pokemon_loss(jnp.array(OPTIMUM), data), "101936.7299"),
        is_true("S55", "the optimum is a minimum", point.kind == "minimum"),
        *is_proved(
            "2.1",
            "proved: one critical point in [-300, -100] x [0, 5]",
            lambda: hessian.prove_all(pokemon_loss, [(-300, -100), (0, 5)], data),
            lambda found: found.complete and [one.index for one in found.points] == [0],
        ),
        printed("2.1", "lowest curvature", eigenvalues[0], "5.57347746"),
        printed("2.1", "highest curvature", eigenvalues[1], "1.74683043e6"),
        *(
            Check("2.1", f"curvature {i + 1}, by its formula over NumPy's", formula / value, 1.0, 1e-9)
            for i, (formula, value) in enumerate(zip(POKEMON_CURVATURES, eigenvalues, strict=True))
        ),  # rounding times the condition number
        printed("S15", "condition number", eigenvalues[1] / eigenvalues[0], "313418"),
        printed("S15", "2 / highest curvature", 2 / eigenvalues[1], "1.14493082e-6"),
        printed("S15", "and from its formula", POKEMON_RATE_BOUND, "1.14493082e-6"),
        *(printed("2.1", f"mean loss at {at}", mean[at], digits) for at, digits in corners.items()),
    ]


def by_hand() -> float:
    """How far the gradient is from the formula written out in NumPy, at random places."""
    places = np.random.default_rng(0).uniform(-200, 200, size=(100, 2))
    x, y = (np.asarray(values) for values in pokemon())
    e = places[:, :1] + places[:, 1:] * x - y
    written = 2 * np.stack([e.sum(1), e @ x], axis=1)
    found = jax.jit(jax.vmap(lambda theta: jax.grad(pokemon_loss)(theta, pokemon())))(places)
    return float((np.linalg.norm(found - written, axis=1) / np.linalg.norm(written, axis=1)).max())


def vanilla(paths: Paths) -> list[Check]:
    """Gradient descent at four rates."""
    slow, right, fast, wild = (paths[f"gd {rate:g}"] for rate in (1e-8, 1e-7, 1e-6, 1e-5))
    end = jnp.array(right[-1])
    first = ("-2.869", "-1.936", "-1.166", "-0.530")
    swings = ("7.31", "-1.14", "5.17", "0.46", "3.98")
    return [
        *both("gd 1e-8", slow[-1], ("-120.3619", "2.4738")),
        exactly("S3", "gd 1e-7: w after 0", right[0, 1], -4.0),
        *(printed("S3", f"gd 1e-7: w after {t}", right[t, 1], digits) for t, digits in enumerate(first, 1)),
        *both("gd 1e-7", right[-1], ("-123.6922", "2.4834")),
        printed("2.1", "gd 1e-7: loss", pokemon_loss(end, pokemon()), "113617.16"),
        printed("2.1", "gd 1e-7: |g|", np.linalg.norm(normal_gradient(end)), "360.8"),
        *(printed("2.1", f"gd 1e-6: w after {t}", fast[t, 1], digits) for t, digits in enumerate(swings, 1)),
        *both("gd 1e-6", fast[-1], ("-149.2291", "2.5568")),
        exactly("2.1", "gd 1e-5: the update that overflows", np.argmin(np.isfinite(wild).all(1)) - 1, 248),
    ]


def adagrad(paths: Paths) -> list[Check]:
    """Adagrad, and the typo that is fatal."""
    path = paths["adagrad"]
    after = {
        10: ("-115.9", ".098"),
        100: ("-114.03", "2.451"),
        1000: ("-118.99", "2.470"),
        10_000: ("-152.51", "2.566"),
    }
    return [
        *(exactly("S22", f"adagrad after 1: {n}", v, to) for n, v, to in zip("bw", path[1], (-119, -3), strict=True)),
        *(check for t, digits in after.items() for check in both(f"adagrad after {t}", path[t], digits)),
        *both("adagrad", path[-1], ("-188.3668", "2.66926")),
        printed("2.1", "adagrad: distance", distance(path[-1]), ".0664"),
        printed("S16", "rms with rate 1/sqrt(t+1): off the valley after 2000", off_valley(path)[2000:].max(), "2.1e-4"),
        *both("rms with rate 1/(t+1)", paths["rms 1/(t+1)"][-1], ("-114.558", "2.4569"), "S21"),
        printed("S21", "rms with rate 1/(t+1): distance", distance(paths["rms 1/(t+1)"][-1]), "73.9"),
    ]


def explosions(paths: Paths, residual: np.ndarray) -> list[Check]:
    """Explosion and recovery: the root mean square of all gradients, without decay."""
    drawn = roundings(rms(1.0))
    thrown = [bursts(path) for path in drawn]
    slowly = [off_valley(path)[2000:].max() for path in roundings(rms(lambda t: jnp.exp(-t / 1e4)))]
    return [
        told_apart(),
        *exploded(drawn, thrown),
        as_rounded("summed over residuals: first explosion at update", [t[0] for t in thrown], bursts(residual)[0]),
        # A plain loop in float64 gives 44.
        Check("S82", "rms .5: times out of the valley, with the start's", len(bursts(paths["rms 0.5"])) + 1, 43, 1),
        at_most("S82", "rms .1: explosions", len(bursts(paths["rms 0.1"])), 0),
        at_most("S82", "rms .1: distance", distance(paths["rms 0.1"][-1]), 1e-8),
        at_most("S82", "rms .01: explosions", len(bursts(paths["rms 0.01"])), 0),
        printed("S82", "rms .01: b", paths["rms 0.01"][-1, 0], "-180.4"),
        printed("S16", "rms exp(-t/1e3): distance", distance(paths["rms exp(-t/1e3)"][-1]), "4.74"),
        at_most("S16", "rms exp(-t/1e3): explosions", len(bursts(paths["rms exp(-t/1e3)"])), 0),
        printed("S16", "rms 1/(1+t/100): distance", distance(paths["rms 1/(1+t/100)"][-1]), ".261"),
        at_most("S16", "rms 1/(1+t/100): explosions", len(bursts(paths["rms 1/(1+t/100)"])), 0),
        as_rounded("rms exp(-t/1e4): farthest off the valley", slowly, 2.40, "S16", half=0.005),
        # Printed: 1e-11.  It is rounding: some 1e-10 of the gradient, over the lowest curvature of 5.6.
        at_most("S16", "rms exp(-t/1e4): distance", distance(paths["rms exp(-t/1e4)"][-1]), 1e-10),
    ]


def told_apart() -> Check:
    """`bursts` on a path along the valley that is 1.01 above it at known places, and .99 elsewhere.

    The first ten are the way there; 30, before it stayed for 50, and 155, 51 after the last, are no others.
    """
    height = np.full(400, 0.99)
    height[[*range(10), 30, *range(100, 105), 155, 207, 300]] = 1.01
    x, y = (np.asarray(values) for values in pokemon())
    b = np.linspace(-150, -180, 400)
    path = np.stack([b, np.linalg.lstsq(x[:, None], y[:, None] - b, rcond=None)[0][0] + height], 1)
    return is_true(
        "S82", "a path made by hand: the updates that throw it out", np.array_equal(bursts(path), [99, 206, 299])
    )


def as_rounded(name: str, drawn: Any, at: float, item: str = "S82", *, half: float = 0.5) -> Check:
    """The check that a printed number is one draw more of what roundings make of a run, to half its last digit."""
    return Check(item, name, float(np.mean(drawn)), at, half + float(error_of_draw(drawn)))


def exploded(drawn: np.ndarray, thrown: list[np.ndarray]) -> Iterator[Check]:
    """When the run at the rate 1 explodes, where it stands then and where it ends, over 32 roundings of its start."""
    starts, stands = (718, 1196, 1751, 2374, 3060, 3802), (-168.6, -182.4, -185.2, -189.0, -189.4)
    dips = (-1.44, -1.06, -0.82, -0.63, -0.49, -0.40)
    yield as_rounded("rms 1: times out of the valley, with the start's", [len(t) + 1 for t in thrown], 63)
    for i, at in enumerate(starts):
        yield as_rounded(f"rms 1: explosion {i + 1} at update", [t[i] for t in thrown], at)
    for i, b in enumerate(stands):
        stood = [path[t[i] + 1, 0] for path, t in zip(drawn, thrown, strict=True)]
        yield as_rounded(f"rms 1: b at explosion {i + 1}", stood, b, half=0.05)
    for i, w in enumerate(dips):
        lowest = [path[t[i] : t[i + 1], 1].min() for path, t in zip(drawn, thrown, strict=True)]
        yield as_rounded(f"rms 1: w thrown down to, {i + 1}", lowest, w, half=0.005)
    for name, ends, end in zip("bw", drawn[:, -1].T, (-188.34, 2.76), strict=True):
        yield as_rounded(f"rms 1: {name}", ends, end, half=0.005)


def rmsprop(paths: Paths) -> list[Check]:
    """RMSProp ends in a cycle of two, half the rate beside the optimum."""
    low, high = OPTIMUM - 0.5, OPTIMUM + 0.5
    pairs = {decay: sorted(map(tuple, paths[f"rmsprop {decay:g}"][-2:])) for decay in (0.9, 0.99, 0.999)}
    cycles = {decay: farthest(pair, [low, high]) for decay, pair in pairs.items()}
    return [
        *(
            both(f"rmsprop {decay:g}", pair[0], ("-188.93319666", "2.16945497"), "S77")[i]
            for decay, pair in pairs.items()
            for i in (0, 1)
        ),
        # Half of the last printed digit, as above.
        *(at_most("S77", f"rmsprop {decay:g}: off the 2-cycle", error, 5e-9) for decay, error in cycles.items()),
        printed("S77", "rmsprop, rate .01: distance", distance(paths["rmsprop .01"][-1]), ".00707"),
    ]


def adam(paths: Paths) -> list[Check]:
    """Adam near the optimum is never at rest: bounds for it, digits where it is still on the way."""
    ends = {rate: paths[f"adam {rate:g}"][-LATE:] for rate in (1.0, 0.1, 0.01, 0.001)}
    return [
        *(
            at_most(
                "S81",
                f"adam {rate:g}: median distance in the last {LATE}",
                np.median([*map(distance, end)]),
                min(1e-5, 0.007 * rate),  # a hundredth of RMSProp's .7 of the rate, or less
            )
            for rate, end in ends.items()
        ),
        at_most("S81", "adam 1: farthest in the last 5000, one step", max(map(distance, ends[1.0])), 1.0),
        printed("S81", "adam .01: b after 10 000", paths["adam 0.01"][10_000, 0], "-146.4"),
        printed("S81", "adam .001: b after 10 000", paths["adam 0.001"][10_000, 0], "-113.9"),
    ]


def shortcuts() -> list[Check]:
    """One Newton step, and one gradient step on standardised features."""
    h, c = normal_equations()
    newton = START - jnp.linalg.solve(h, h @ START - c)
    x, y = pokemon()
    z, scaling = gdlab.standardize(x)
    eigenvalues = hessian.spectrum(pokemon_loss, jnp.zeros(2), (z, y)).eigenvalues
    b, w = gdlab.minimize(pokemon_loss, gdlab.gd(1 / 20), START, 1, args=((z, y),)).params
    back = (b - w * scaling.mean / scaling.deviation, w / scaling.deviation)
    return [
        *both("one Newton step", newton, ("-188.43319666", "2.66945497"), "S72"),
        *(printed("S35", f"curvature {i + 1} when standardised", eigenvalues[i], "20.000000") for i in (0, 1)),
        *both("one step when standardised", back, ("-188.433197", "2.669455"), "S35"),
    ]


def oscillation() -> list[Check]:
    """Stuck with a large gradient: the rate 2 / highest curvature; the last update is the 1000th, number 999."""
    h, _ = normal_equations()
    rate = 2 / jnp.linalg.eigvalsh(h)[1]
    path = descend(gdlab.gd(rate), updates=1000)
    values, basis = np.linalg.eigh(np.asarray(h))
    left = basis @ ((1 - float(rate) * values) ** 998 * (basis.T @ (np.asarray(START) - OPTIMUM)))
    apart = farthest(path[998] - OPTIMUM, left)
    loss = [pokemon_loss(jnp.array(path[t]), pokemon()) for t in (0, 999)]
    norm = [np.linalg.norm(normal_gradient(path[t])) for t in (0, 999)]
    wild = {name: np.isfinite(descend(gdlab.gd(r), updates=200)).all(1) for name, r in (("sum", 1e-2), ("mean", 1e-3))}
    return [
        # The swings grow by |1 - rate lambda| at each update, until the gradient of the sum is beyond 1.8e308; that of
        # the mean would be one update later, were it divided by 10 before it is summed.
        *(
            exactly("2.1", f"rate 1e-2, {name} loss: the update that overflows", np.argmin(finite) - 1, update)
            for (name, finite), update in zip(wild.items(), (72, 93), strict=True)
        ),
        printed("S63", "rate 2/lambda: loss at update 0", loss[0], "36708190.0"),
        printed("S63", "rate 2/lambda: loss at update 999", loss[1], "36708024.6"),
        *(
            printed("S63", f"rate 2/lambda: |g| at update {t}", value, "11306821.6")
            for t, value in zip((0, 999), norm, strict=True)
        ),
        printed("S63", "rate 2/lambda: w after 1, from -4", path[1, 1], "8.95"),
        # 998 roundings of b, 1.5e-14 each, make 1.5e-11.
        at_most("S63", "after 998: off (1 - rate H)^998 (theta_0 - theta*), steep factor -1", apart, 1e-9),
    ]


def draw(paths):
    """Eight panels of contours and paths; the zig-zag is that of the slide's panel at the rate 1e-2."""
    from ..reporting import figures
    from ..reporting.figures import plt

    shown = {
        "gd 1e-07": "gradient descent, rate 1e-7",
        "gd 1e-06": "gradient descent, rate 1e-6",
        "gd 1e-05": "rate 1e-5: flies out",
        "zig-zag": "rate $2 / \\lambda_{max}$: every 2401st of 36 000",
        "adagrad": "Adagrad, rate 1",
        "rms 1": "root mean square, rate 1",
        "rmsprop 0.9": "RMSProp, rate 1",
        "adam 0.1": "Adam, rate .1",
    }
    rate = 2 / jnp.linalg.eigvalsh(normal_equations()[0])[1]
    paths = {**paths, "zig-zag": descend(gdlab.gd(rate), updates=36_000)[::2401]}  # an odd number: both sides are seen
    flown = figures.drawable(paths["gd 1e-05"])
    paths["gd 1e-05"] = flown[: int(np.argmax(~np.isfinite(flown).all(1)))]
    figure, axes = plt.subplots(2, 4, figsize=(14, 6.6), sharex=True, sharey=True)
    for panel, (name, title) in zip(axes.flat, shown.items(), strict=True):
        figures.contours(lambda theta: pokemon_loss(theta, pokemon()) / 10, POKEMON_BOX, levels=12, ax=panel)
        panel.plot(*paths[name].T, "-", color=figures.PALETTE[0], linewidth=0.8, rasterized=True)
        panel.plot(*paths[name][-1], "s", color=figures.PALETTE[0], markersize=4)
        panel.plot(*OPTIMUM, "x", color=figures.PALETTE[1], markersize=9, markeredgewidth=2)
        panel.set(title=title, xlabel="$b$", ylabel="$w$")
        panel.label_outer()
    return figure
