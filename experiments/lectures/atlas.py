"""Where does descent converge, and does the Hessian say so beforehand? (S6, S7, S15, S63, S76)

Three maps, each coloured by the loss after 100 steps, with the edges that follow without a run.

Rate and momentum, on the bowl with curvatures 1 and 10; rate and curvature h, for six optimizers on h theta^2 / 2.
With lambda the highest eigenvalue of the Hessian a run is stable up to the rate

    gradient descent  2 / lambda
    heavy ball        2 (1 + beta) / lambda
    Nesterov          2 (1 + beta) / (lambda (1 + 2 beta))
    RMSProp           2 sigma / lambda
    Adam              2 (1 + beta) / (1 - beta) sigma / lambda
    AdamW             2 (1 + beta) / ((1 - beta) lambda / sigma + (1 + beta) w)

The last three hold while sigma stands still: the runs begin at 1e-60, so that all gradients are far below eps = 2 and
sigma = eps.  Adam's debiased averages let the first steps grow 1e16-fold even below its edge, so that a run counts as
gone where its loss was ever 1e44 times that of its start; beyond the edge Adam does come back, once sigma has grown.

Rate and start, on the double well (theta^2 - 1)^2 / 4: gradient descent settles up to 2 / lambda = 1, whatever the
start, as long as that is within sqrt(1 + 2 / eta): from there it jumps to the mirror image for ever, from beyond it
leaves for infinity.  The verdict compares every cell of each map, after 3000 steps, with the edges, and Polyak's best
pair of rate and momentum with what it derives from both ends of the spectrum (Polyak 1964).
"""

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

import gdlab
import hessian
from gdlab.problems import surface

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true

QUESTION = "Where does descent converge, and does the Hessian say so beforehand? (S6, S7, S15, S63, S76)"
BOWL = surface("ill_conditioned_bowl")
START = jnp.array(BOWL.starts[0])
RATES = jnp.geomspace(0.01, 1.0, 120)
MOMENTA = jnp.linspace(0.0, 0.99, 100)
CURVATURES = jnp.geomspace(0.1, 100.0, 80)
WIDE_RATES = jnp.geomspace(1e-3, 1e3, 90)
WELL_RATES = jnp.linspace(0.02, 1.5, 150)
STARTS = jnp.linspace(-6.0, 6.0, 121) + 1e-3  # none on a critical point
STEPS = 3000  # enough for a run 1 % beyond the edge to show it
EARLY = 100  # the maps are coloured by the loss after so many, while fast and slow runs still differ
NEAR = 0.01  # cells whose rate lies this close to an edge, relatively, are left out of the comparison
B, DECAY, EPS = 0.9, 0.1, 2.0
TINY, GONE = 1e-60, 1e44  # where the runs on parabolas begin; the rise of the loss by which they have left
MOVERS = {
    "momentum": (gdlab.momentum, lambda beta, high: 2 * (1 + beta) / high),
    "nesterov": (gdlab.nesterov, lambda beta, high: 2 * (1 + beta) / (high * (1 + 2 * beta))),
}
BEARERS = {
    "gd": (gdlab.gd, lambda high: 2 / high),
    "momentum .9": (lambda rate: gdlab.momentum(rate, B), lambda high: 2 * (1 + B) / high),
    "nesterov .9": (lambda rate: gdlab.nesterov(rate, B), lambda high: 2 * (1 + B) / (high * (1 + 2 * B))),
    "rmsprop, eps 2": (lambda rate: gdlab.rmsprop(rate, B, EPS, source="torch"), lambda high: 2 * EPS / high),
    "adam, eps 2": (lambda rate: gdlab.adam(rate, B, eps=EPS), lambda high: 2 * (1 + B) * EPS / ((1 - B) * high)),
    "adamw, eps 2, decay .1": (
        lambda rate: gdlab.adamw(rate, B, eps=EPS, weight_decay=DECAY),
        lambda high: 2 * (1 + B) / ((1 - B) * high / EPS + (1 + B) * DECAY),
    ),
}


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "atlas", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure."""
    low, high = (float(value) for value in hessian.spectrum(BOWL.loss, jnp.zeros(2)).eigenvalues)
    thin = 4 if quick else 1  # every fourth value of each axis
    moved, borne, settled = by_momentum(thin), by_curvature(thin), by_start(thin)
    bottom = float(hessian.spectrum(well, jnp.ones(1)).eigenvalues[0])
    checks = [
        exactly("S63", "lowest curvature of the bowl", low, 1.0),
        exactly("S63", "highest curvature of the bowl", high, 10.0),
        exactly("S63", "curvature of both wells", bottom, 2.0),
        *(check for name in MOVERS for check in by_edge_of_momentum(moved, name, high)),
        *(check for name in BEARERS for check in by_edge_of_curvature(borne, name)),
        *by_polynomial(),
        *after_100(borne),
        *wrong_starts(settled, bottom),
        *at_the_edge(moved, low, high),
    ]
    return checks, lambda: draw(moved, borne, settled, high, bottom)


def well(theta):
    """Two minima at -1 and 1, a maximum between them."""
    return jnp.sum((theta**2 - 1) ** 2) / 4


def after(loss, optimizer, start, *args):
    """The loss after 3000 steps, after 100 and at its highest, and the gradient at the end."""
    ran = gdlab.minimize(loss, optimizer, start, STEPS, args=args, every=10)
    value, gradient = jax.value_and_grad(loss)(ran.params, *args)
    losses = ran.history["loss"]
    return {"loss": value, "early": losses[EARLY // 10], "highest": losses.max(), "gradient": jnp.linalg.norm(gradient)}


def by_momentum(thin):
    """2 x 120 x 100 runs on the bowl, or every `thin`-th of each axis."""
    return gdlab.sweep(
        lambda optimizer, lr, momentum: after(BOWL.loss, optimizer(lr, momentum), START),
        optimizer={name: optimizer for name, (optimizer, _) in MOVERS.items()},
        lr=RATES[::thin],
        momentum=MOMENTA[::thin],
    )


def by_curvature(thin):
    """6 x 90 x 80 runs on parabolas, begun at 1e-60, and the eigenvalue of each."""

    def parabola(theta, curvature):
        return curvature * jnp.sum(theta**2) / 2

    def run(optimizer, lr, curvature):
        start = jnp.full(1, TINY)
        edge = hessian.spectrum(parabola, start, curvature).eigenvalues[-1]
        return {**after(parabola, optimizer(lr), start, curvature), "high": edge, "begin": parabola(start, curvature)}

    optimizers = {name: optimizer for name, (optimizer, _) in BEARERS.items()}
    return gdlab.sweep(run, optimizer=optimizers, lr=WIDE_RATES[::thin], curvature=CURVATURES[::thin])


def by_start(thin):
    """150 x 121 runs of gradient descent in the double well."""
    run = lambda lr, start: after(well, gdlab.gd(lr), start[None])  # noqa: E731
    return gdlab.sweep(run, lr=WELL_RATES[::thin], start=STARTS[::thin])


def by_edge(item, name, stayed, edge):
    """Runs stay below the edge and leave above it; rates are 4 % apart and more, so that a band of 2 % has one."""
    near = xr.apply_ufunc(np.isclose, stayed["lr"], edge, kwargs={"rtol": NEAR, "atol": 0})
    wrong = ~near & (stayed != (stayed["lr"] < edge))
    yield at_most(item, f"{name}: cells on the wrong side", wrong.sum(), 0)
    yield at_most(item, f"{name}: cells of a row too near to the edge to tell", near.sum("lr").max(), 1)


def by_edge_of_momentum(map_, name, high):
    """The runs at each rate and momentum, against the edge."""
    fell = map_["loss"].sel(optimizer=name) < float(BOWL.loss(START))  # false for inf and NaN as well
    return by_edge("S76", f"rate and momentum, {name}", fell, MOVERS[name][1](map_["momentum"], high))


def by_edge_of_curvature(map_, name):
    """The runs at each rate and curvature, against the edge."""
    here = map_.sel(optimizer=name)
    stayed = here["highest"] < GONE * here["begin"]  # false for inf and NaN as well
    return by_edge("S15", f"rate and curvature, {name}", stayed, BEARERS[name][1](here["high"]))


def by_polynomial():
    """Each edge is where -1 is a root of the polynomial of the recursion of theta, long after the start."""
    polynomials = {  # of the rate, the curvature, the inertia and the decay
        "gd": lambda r, h, b, w: (1, r * h - 1),
        "momentum": lambda r, h, b, w: (1, r * h - 1 - b, b),
        "nesterov": lambda r, h, b, w: (1, (1 + b) * (r * h - 1), b * (1 - r * h)),
        "rmsprop": lambda r, h, b, w: (1, r * h / EPS - 1),
        "adam": lambda r, h, b, w: (1, (1 - b) * r * h / EPS - 1 - b, b),
        "adamw": lambda r, h, b, w: (1, r * w - 1 - b + (1 - b) * r * h / EPS, b * (1 - r * w)),
    }
    edges: list[tuple] = [
        (name, (lambda h, b, edge=edge: edge(b, h)), (0.0, 0.3, B)) for name, (_, edge) in MOVERS.items()
    ]
    edges += [(name, (lambda h, b, edge=edge: edge(h)), (B,)) for name, (_, edge) in BEARERS.items()]
    for name, edge, inertias in edges:
        of = polynomials[name.split(" ")[0].rstrip(",")]
        at = [np.polyval(of(edge(h, b), h, b, DECAY), -1) for h in (0.3, 1.0, 20.0) for b in inertias]
        yield at_most("S76", f"{name}: the polynomial of its recursion at -1, on its edge", np.abs(at).max(), 1e-12)


def after_100(map_):
    """The losses that colour the map of gradient descent, over those of the start: (1 - eta h)^200."""
    gd = map_.sel(optimizer="gd")
    decades = 2 * EARLY * np.log10(np.abs(1 - gd["lr"] * gd["curvature"]))
    seen = np.abs(decades) < 100  # and none is rounded off
    off = np.abs(gd["early"] / gd["begin"] / 10 ** decades.where(seen, 0.0) - 1).where(seen, 0.0)
    yield at_most(
        "S15", "gd: losses after 100 steps over those of the start and (1 - eta h)^200, less 1", farthest(off, 0), 1e-9
    )
    yield at_most(
        "S15",
        "and those of the start, h 1e-120 / 2, relative",
        farthest(2e120 * gd["begin"] / gd["curvature"], 1),
        1e-12,
    )


def wrong_starts(map_, bottom):
    """Cells of rate and start where the run and the two edges disagree."""
    within, slow = abs(map_["start"]) < np.sqrt(1 + 2 / map_["lr"]), map_["lr"] < 2 / bottom
    settled = map_["gradient"] < 1e-6
    return (
        # Of numbers up to 6, to rounding.
        Check("S63", "starts lie evenly about .001: their mean", float(map_["start"].mean()), 1e-3, 1e-12),
        at_most("S63", "rate and start: runs from beyond the mirror that stay", (~within & map_["alive"]).sum(), 0),
        at_most("S63", "rate and start: runs from within it that do not settle", (within & slow & ~settled).sum(), 0),
        at_most("S63", "rate and start: runs that settle at too high a rate", (~slow & settled).sum(), 0),
    )


def at_the_edge(map_, low, high):
    """What the edge means for one rate, and Polyak's best pair."""
    begin = float(BOWL.loss(START))
    still = map_["loss"].sel(optimizer="momentum", momentum=0.0) < begin
    beside = 2 / high * np.array([0.99, 1.01])  # of gradient descent's edge, a little below and above
    falls = [
        [after(BOWL.loss, gdlab.momentum(rate, b), START)["loss"] < begin for rate in (1 + b) * beside]
        for b in (0.0, 0.9)
    ]
    steep = lambda x: 3 * BOWL.loss(x)  # noqa: E731  # no curvature of 1, which would hide a power of it
    bends = 3 * np.array([low, high])
    ratio = np.subtract(*np.sqrt(bends[::-1])) / np.sqrt(bends).sum()
    path = gdlab.minimize(steep, gdlab.momentum(4 / np.sqrt(bends).sum() ** 2, ratio**2), START, 60)
    plain = float(steep(gdlab.minimize(steep, gdlab.gd(2 / bends.sum()), START, 60).params))
    due = np.array([3.0, 30.0]) @ (np.asarray(START) * (1 - np.array([3.0, 30.0]) * 2 / 33) ** 60) ** 2 / 2
    x, v = np.asarray(START), 0.0
    for _ in range(60):  # by the ratio of the curvatures, 10
        v = ((10**0.5 - 1) / (10**0.5 + 1)) ** 2 * v - 4 / (3 * (10**0.5 + 1) ** 2) * np.array([3.0, 30.0]) * x
        x = x + v
    return (
        exactly(
            "S6", "gd: rates of the map on the wrong side of 2/lambda", (still != (still["lr"] < 2 / high)).sum(), 0
        ),
        is_true("S6", "gd, 1 % below 2/lambda: the loss falls; 1 % above: not", falls[0] == [True, False]),
        is_true("S76", "heavy ball, momentum .9: the same of 1.9 x that rate", falls[1] == [True, False]),
        Check(
            "S76",
            "Polyak's pair: loss after 60 steps, over a NumPy loop's",
            steep(path.params) / (np.array([3.0, 30.0]) @ x**2 / 2),
            1.0,
            1e-9,  # rounding
        ),
        Check(
            "S76", "descent at its best rate: loss after 60 steps, over the closed form", plain / float(due), 1.0, 1e-9
        ),
        is_true("S76", "which is above what Polyak's pair leaves", steep(path.params) < plain),
    )


def draw(moved, borne, settled, high, bottom):
    """The maps with their edges."""
    from ..reporting.figures import plt

    figure, axes = plt.subplots(3, 3, figsize=(11.5, 10.5))
    for panel, (name, (_, moved_edge)) in zip(axes[0], MOVERS.items(), strict=False):
        shade(panel, moved["early"].sel(optimizer=name), "lr", "momentum", -20)
        line(panel, moved_edge(MOMENTA, high), MOMENTA)
        panel.set(xscale="log", xlabel="learning rate", ylabel="momentum", title=f"{name}, curvatures 1 and 10")
    panel = axes[0, 2]
    shade(panel, settled["early"], "start", "lr", -20)
    mirror = np.sqrt(1 + 2 / WELL_RATES)
    for side in (-mirror, mirror):
        line(panel, side, WELL_RATES)
    line(panel, STARTS, np.full(STARTS.shape, 2 / bottom), ":")
    panel.set(
        xlabel="start", ylabel="learning rate", title="gd in a double well: mirror and 2/$\\lambda$", xlim=(-6, 6)
    )
    for panel, (name, (_, edge)) in zip(axes[1:].flat, BEARERS.items(), strict=True):
        early = borne["early"].sel(optimizer=name)
        shown = early / borne["begin"].sel(optimizer=name)
        drawn = shade(panel, shown, "lr", "curvature", -20)
        line(panel, edge(borne["high"].sel(optimizer=name).isel(lr=0).values), borne["curvature"])
        panel.set(xscale="log", yscale="log", xlabel="learning rate", ylabel="curvature", title=name)
        panel.set(xlim=(WIDE_RATES[0], WIDE_RATES[-1]))
    said = "log10 of the loss after 100 steps; in the lower six over that of the start"
    figure.colorbar(drawn, ax=axes, label=said, shrink=0.5, aspect=40, pad=0.02)
    return figure


def shade(panel, values, along_x, along_y, lowest):
    """Colour a map by the logarithm of its values; what diverged is the brightest."""
    x, y, values = values[along_x], values[along_y], values.transpose(along_y, along_x).values
    shown = np.log10(np.clip(np.where(np.isfinite(values), values, 1e10), 10.0**lowest, 1e10))
    return panel.pcolormesh(x, y, shown, cmap="cividis", vmin=lowest, vmax=10, rasterized=True)


def line(panel, x, y, dashes="--"):
    """An edge, drawn so that it shows on every colour."""
    panel.plot(x, y, "-", color="white", linewidth=3)
    panel.plot(x, y, dashes, color="#D55E00", linewidth=1.6)
