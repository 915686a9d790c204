"""Does the lectures' convex error surface behave as on the slides? (section 2.1; S1-S3, S15-S22, S35, S55, S63-S82)

Ten Pokemon, a line y = b + w x, the sum of squared errors, a start at (-120, -4): almost every missing figure of the
lectures is this surface.  Every row of their table is re-run here, 100 000 updates each, and compared digit by digit.

What is sought is the argmin over theta; note 000 writes it over lambda.

With the root mean square of all gradients and a constant rate, descent explodes and recovers again and again.  *When*
is rounding: between two explosions the swings across the valley die down to the last digit, from which they grow
anew.  The printed digits are those of the gradient H theta - c of the normal equations with one product of each sum
fused into it: a loop over Python's floats that does so gives all of them, on any processor.  Without fusing it explodes
within 1 % of the same updates.  So our own runs are not judged by them, but shown beside them; they are judged where
theta is kicked at every update, by 1e-4, beside which rounding is nothing: there every explosion comes at the update
that the loop says.  Adam never comes to rest either.  Where it stands after exactly 100 000 updates is rounding, and
what is printed of it (.0455, 3e-8, 2e-7, 5e-11 for the rates 1 to .001) is history; it stays nearer to the optimum than
RMSProp's cycle of two, .7 of the rate away, and kicked by 1e-3 it goes where the loop does.

The 2021 slide's panel at the rate 1e-2, a zig-zag between b = -120 and -134, is not reproducible: there the sum loss
overflows at update 72, the mean loss at 93, as the law of the swings says.  A zig-zag that lasts needs the rate
2 / highest curvature (S63).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
import hessian
from gdlab.problems import POKEMON_BOX, POKEMON_CURVATURES, POKEMON_RATE_BOUND, pokemon, pokemon_loss

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_proved, is_true, printed
from ..reporting.run_folder import Table
from ..reporting.standard_errors import error_of_draw
from ..workloads.pokemon_valley import (
    OPTIMUM,
    START,
    UPDATES,
    bursts,
    descend,
    distance,
    fused,
    in_plain_python,
    kicked,
    mean_square,
    normal_equations,
    normal_gradient,
    off_valley,
    rms,
    roundings,
    walk,
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
    checks = [*surface(), *vanilla(paths), *adagrad(paths), *explosions(paths), *rmsprop(paths), *adam(paths)]
    return [*checks, *shortcuts(), *oscillation()], lambda: draw(paths), of_rounding(paths)


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
        "rms 1/sqrt(t+1)": rms(lambda t: 1 / jnp.sqrt(t + 1.0)),
        **{f"rmsprop {decay:g}": gdlab.rmsprop(1.0, decay) for decay in (0.9, 0.99, 0.999)},
        "rmsprop .01": gdlab.rmsprop(0.01),
        **{f"adam {rate:g}": gdlab.adam(rate) for rate in (1.0, 0.1, 0.01, 0.001)},
    }


def of_rounding(paths: Paths) -> Table:
    """Our own runs beside what is printed, where that is rounding."""
    thrown = {rate: bursts(paths[f"rms {rate:g}"]) for rate in (1.0, 0.5)}
    rows = [["rms 1: explosions at", "718 1196 1751 2374 3060 3802", " ".join(map(str, thrown[1.0][:6]))]]
    for rate, counted in ((1.0, "63"), (0.5, "43")):
        rows.append([f"rms {rate:g}: times out of the valley", counted, f"{len(thrown[rate]) + 1}"])
    for rate, far in ((1.0, ".0455"), (0.1, "3e-8"), (0.01, "2e-7"), (0.001, "5e-11")):
        rows.append([f"adam {rate:g}: distance at the end", far, f"{distance(paths[f'adam {rate:g}'][-1]):.2g}"])
    return Table("Rounding, shown but not judged", ("what", "printed", "here"), rows)


def both(name: str, theta: Any, digits: tuple[str, str], item: str = "2.1") -> list[Check]:
    """Checks of b and w against their printed digits."""
    return [printed(item, f"{name}: {letter}", value, d) for letter, value, d in zip("bw", theta, digits, strict=True)]


def surface() -> list[Check]:
    """The surface itself: optimum, loss, curvatures, contours."""
    data = pokemon()
    eigenvalues = hessian.spectrum(pokemon_loss, START, data).eigenvalues
    known = np.linalg.eigvalsh(normal_equations()[0])
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
            for i, (formula, value) in enumerate(zip(POKEMON_CURVATURES, known, strict=True))
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
        exactly("2.1", "and by the law of its swings", overflows(1e-5), 248),
    ]


def overflows(rate: float) -> int:
    """The update whose gradient is beyond the largest float: the swings grow by abs(1 - rate * curvature)."""
    with np.errstate(over="ignore", invalid="ignore"):
        gradients = np.asarray(normal_equations()[0]) @ swings(rate, np.arange(300))
    return int(np.argmin(np.isfinite(gradients).all(0)))


def swings(rate: float, updates: Any) -> np.ndarray:
    """The places less the optimum after so many updates of descent, by the recursion of a square: (2, updates)."""
    h, _ = map(np.asarray, normal_equations())
    values, basis = np.linalg.eigh(h)
    return basis @ ((1 - rate * values[:, None]) ** updates * (basis.T @ (np.asarray(START) - OPTIMUM))[:, None])


def adagrad(paths: Paths) -> list[Check]:
    """Adagrad, and the typo that is fatal."""
    path, fading = paths["adagrad"], paths["rms 1/sqrt(t+1)"]
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
        *both("rms with rate 1/sqrt(t+1)", fading[-1], ("-188.3668", "2.66926"), "S16"),  # Adagrad's digits
        printed(
            "S16", "rms with rate 1/sqrt(t+1): off the valley after 2000", off_valley(fading)[2000:].max(), "2.1e-4"
        ),
        *both("rms with rate 1/(t+1)", paths["rms 1/(t+1)"][-1], ("-114.558", "2.4569"), "S21"),
        printed("S21", "rms with rate 1/(t+1): distance", distance(paths["rms 1/(t+1)"][-1]), "73.9"),
    ]


def explosions(paths: Paths) -> list[Check]:
    """Explosion and recovery: the root mean square of all gradients, without decay."""
    slowly = [off_valley(path)[2000:].max() for path in roundings(rms(lambda t: jnp.exp(-t / 1e4)))]
    return [
        told_apart(),
        *exploded(),
        *in_both(),
        at_most("S82", "rms .1: explosions", len(bursts(paths["rms 0.1"])), 0),
        at_most("S82", "rms .1: distance", distance(paths["rms 0.1"][-1]), 1e-8),  # as printed
        at_most("S82", "rms .01: explosions", len(bursts(paths["rms 0.01"])), 0),
        printed("S82", "rms .01: b", paths["rms 0.01"][-1, 0], "-180.4"),
        printed("S16", "rms exp(-t/1e3): distance", distance(paths["rms exp(-t/1e3)"][-1]), "4.74"),
        at_most("S16", "rms exp(-t/1e3): explosions", len(bursts(paths["rms exp(-t/1e3)"])), 0),
        printed("S16", "rms 1/(1+t/100): distance", distance(paths["rms 1/(1+t/100)"][-1]), ".261"),
        at_most("S16", "rms 1/(1+t/100): explosions", len(bursts(paths["rms 1/(1+t/100)"])), 0),
        Check(  # printed is one rounding more, to half its last digit: 99 of 100 lie within Student's t
            "S16",
            "rms exp(-t/1e4): farthest off the valley, as printed: of 32 roundings",
            float(np.mean(slowly)),
            2.40,
            0.005 + float(error_of_draw(slowly)),
        ),
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


def exploded() -> Iterator[Check]:
    """The printed explosions, digit by digit, by the loop whose products are fused; and without, to 1 %."""
    starts, stands = (718, 1196, 1751, 2374, 3060, 3802), ("-168.6", "-182.4", "-185.2", "-189.0", "-189.4")
    dips = ("-1.44", "-1.06", "-.82", "-.63", "-.49", "-.40")
    path = in_plain_python(mean_square(lambda _: 1.0), add=fused)
    thrown = bursts(path)
    rounded = bursts(in_plain_python(mean_square(lambda _: 1.0), np.zeros((5000, 2))))
    half = bursts(in_plain_python(mean_square(lambda _: 0.5), add=fused))
    yield exactly("S82", "rms 1, products fused: times out of the valley, with the start's", len(thrown) + 1, 63)
    yield exactly("S82", "rms .5, products fused: times out of the valley, with the start's", len(half) + 1, 43)
    for i, at in enumerate(starts):
        yield exactly("S82", f"rms 1, products fused: explosion {i + 1} at update", thrown[i], at)
        # What a factor of two in the first swing makes: kicks by 1e-8 and 1e-10 explode 4 % of the updates apart.
        yield Check("S82", f"rms 1, without: explosion {i + 1}, to 1 %", float(rounded[i]), at, 0.01 * at)
    for i, b in enumerate(stands):
        yield printed("S82", f"rms 1, products fused: b at explosion {i + 1}", path[thrown[i] + 1, 0], b)
    for i, w in enumerate(dips):
        lowest = path[thrown[i] : thrown[i + 1], 1].min()
        yield printed("S82", f"rms 1, products fused: w thrown down to, {i + 1}", lowest, w)
    yield from both("rms 1, products fused", path[-1], ("-188.34", "2.76"), "S82")


def in_both() -> Iterator[Check]:
    """Our runs and the loops where theta is kicked at every update: a rounding of b is 1e-10 of a kick by 1e-4."""
    kicks = np.random.default_rng(0).normal(scale=1e-4, size=(UPDATES, 2))
    ours, loop = kicked(rms(1.0), kicks), in_plain_python(mean_square(lambda _: 1.0), kicks)
    yield at_most("S82", "rms 1, kicked: every place - a plain loop's", farthest(ours, loop), 1e-9)
    thrown = bursts(loop)
    same = len(thrown) > 0 and np.array_equal(bursts(ours), thrown)
    yield is_true("S82", "rms 1, kicked: out of the valley, at the same updates", same)
    few = kicks[:2000]
    for decay in (0.9, 0.999):
        off = farthest(kicked(gdlab.rmsprop(1.0, decay), few), in_plain_python(rmsprop_move(decay), few))
        yield at_most("S77", f"rmsprop {decay:g}, kicked: every place - a plain loop's", off, 1e-9)
    rates, moved = np.array([1.0, 0.1, 0.01, 0.001]), np.random.default_rng(1).normal(scale=0.01, size=(20_000, 2))
    adams = jax.jit(jax.vmap(lambda rate: walk(gdlab.adam(rate), START, updates=len(moved), kicks=rate * moved)))
    for rate, path in zip(rates, np.asarray(adams(rates)), strict=True):
        off = farthest(path, in_plain_python(adam_move(float(rate)), rate * moved))
        yield at_most("S81", f"adam {rate:g}, kicked: every place - a plain loop's", off, 1e-9)


def rmsprop_move(decay: float) -> Callable[[float, int, list[float]], float]:
    """RMSProp's step at the rate 1: its average begins at the first square."""

    def move(g: float, t: int, means: list[float]) -> float:
        means[1] = decay * means[1] + (1 - decay) * g * g if t else g * g
        return g / math.sqrt(means[1])

    return move


def adam_move(rate: float) -> Callable[[float, int, list[float]], float]:
    """Adam's step at a rate."""

    def move(g: float, t: int, means: list[float]) -> float:
        means[:] = 0.9 * means[0] + 0.1 * g, 0.999 * means[1] + 0.001 * g * g
        return rate * means[0] / (1 - 0.9 ** (t + 1)) / (math.sqrt(means[1] / (1 - 0.999 ** (t + 1))) + 1e-8)

    return move


def rmsprop(paths: Paths) -> list[Check]:
    """RMSProp ends in a cycle of two, half the rate beside the optimum."""
    pairs = {decay: sorted(map(tuple, paths[f"rmsprop {decay:g}"][-2:])) for decay in (0.9, 0.99, 0.999)}
    cycles = {decay: farthest(pair, cycle(1.0)) for decay, pair in pairs.items()}
    return [
        *(
            both(f"rmsprop {decay:g}", pair[0], ("-188.93319666", "2.16945497"), "S77")[i]
            for decay, pair in pairs.items()
            for i in (0, 1)
        ),
        # Half of the last printed digit, as above.
        *(at_most("S77", f"rmsprop {decay:g}: off the 2-cycle", error, 5e-9) for decay, error in cycles.items()),
        printed("S77", "rmsprop, rate .01: distance", distance(paths["rmsprop .01"][-1]), ".00707"),
        printed("S77", "and that of the cycle", distance(cycle(0.01)[0]), ".00707"),
    ]


def cycle(rate: float) -> np.ndarray:
    """The two places, half the rate beside the optimum."""
    return np.array([OPTIMUM - rate / 2, OPTIMUM + rate / 2])


def adam(paths: Paths) -> list[Check]:
    """Adam near the optimum is never at rest, but nearer than RMSProp's cycle; digits where it is still on the way."""
    ends = {rate: paths[f"adam {rate:g}"][-LATE:] for rate in (1.0, 0.1, 0.01, 0.001)}
    return [
        *(
            is_true(
                "S81",
                f"adam {rate:g}: in the last {LATE} nearer than RMSProp's cycle, rate / 2^(1/2)",
                np.max(list(map(distance, end))) < distance(cycle(rate)[0]),
            )
            for rate, end in ends.items()
        ),
        printed("S81", "adam .01: b after 10 000", paths["adam 0.01"][10_000, 0], "-146.4"),
        printed("S81", "adam .001: b after 10 000", paths["adam 0.001"][10_000, 0], "-113.9"),
    ]


def shortcuts() -> list[Check]:
    """One Newton step, and one gradient step on standardised features."""
    newton = gdlab.minimize(pokemon_loss, hessian.newton(), START, 1, args=(pokemon(),)).params
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
    apart = farthest(path[998] - OPTIMUM, swings(float(rate), 998)[:, 0])
    loss = [pokemon_loss(jnp.array(path[t]), pokemon()) for t in (0, 999)]
    norm = [np.linalg.norm(normal_gradient(path[t])) for t in (0, 999)]
    wild = {rate: np.isfinite(descend(gdlab.gd(rate), updates=200)).all(1) for rate in (1e-2, 1e-3)}
    return [
        # The swings grow by |1 - rate lambda| at each update, until the gradient of the sum is beyond 1.8e308; that of
        # the mean would be one update later, were it divided by 10 before it is summed.
        *(
            exactly("2.1", f"rate {rate:g}, {said}: the update {what}", found, update)
            for rate, said, update in ((1e-2, "sum loss", 72), (1e-3, "as 1e-2 with the mean", 93))
            for what, found in (
                ("that overflows", np.argmin(wild[rate]) - 1),
                ("by the law of its swings", overflows(rate)),
            )
        ),
        printed("S63", "rate 2/lambda: loss at update 0", loss[0], "36708190.0"),
        printed("S63", "rate 2/lambda: loss at update 999", loss[1], "36708024.6"),
        *(
            printed("S63", f"rate 2/lambda: |g| at update {t}", value, "11306821.6")
            for t, value in zip((0, 999), norm, strict=True)
        ),
        printed("S63", "rate 2/lambda: w after 1, from -4", path[1, 1], "8.95"),
        # 998 roundings of b, 1.5e-14 each, make 1.5e-11.
        at_most("S63", "after 998: off (1 - rate H)^998 (theta_0 - theta*), steep factor -1", apart, 1e-10),
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
        panel.plot(*paths[name][-1], "s", color=figures.PALETTE[0], markersize=4, label="where the run ends")
        panel.plot(*OPTIMUM, "x", color=figures.PALETTE[1], markersize=9, markeredgewidth=2, label="the minimum")
        panel.set(title=title, xlabel="$b$", ylabel="$w$")
        panel.label_outer()
    axes[0, 0].legend(fontsize=7, loc="lower left")
    return figure
