"""At which rate and momentum does descent converge, and does the Hessian say so beforehand? (S6, S7, S15, S63, S76)

A map of 2 x 120 x 100 runs: heavy ball and Nesterov on the bowl with curvatures 1 and 10, at 120 rates and 100 values
of the momentum, coloured by the loss after 100 steps.  On top stands the edge of stability, from the highest eigenvalue
lambda alone:

    gradient descent  2 / lambda
    heavy ball        2 (1 + beta) / lambda
    Nesterov          2 (1 + beta) / (lambda (1 + 2 beta))

and the best pair that Polyak (1964) derives from both ends of the spectrum.  The verdict compares every cell of the
map, after 3000 steps, with the edge.
"""

import jax.numpy as jnp
import numpy as np

import gdlab
import hessian
from experiments.settings import Atlas
from experiments.verdict import at_most, conclude, exactly, is_true
from gdlab.problems import surface

QUESTION = (
    "Where in the plane of rate and momentum does descent converge, and does the Hessian say so? (S6, S7, S63, S76)"
)
BOWL = surface("ill_conditioned_bowl")
START = jnp.array(BOWL.starts[0])
RATES = jnp.geomspace(0.01, 1.0, 120)
MOMENTA = jnp.linspace(0.0, 0.99, 100)
STEPS = 3000  # enough for a run 1 % beyond the edge to show it
EARLY = 100  # the map is coloured by the loss after so many, while fast and slow runs still differ
NEAR = 0.01  # cells whose rate lies this close to the edge, relatively, are left out of the comparison
EDGES = {
    "momentum": lambda beta, high: 2 * (1 + beta) / high,
    "nesterov": lambda beta, high: 2 * (1 + beta) / (high * (1 + 2 * beta)),
}


def main(settings: Atlas) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "atlas", QUESTION, measure)


def measure():
    """The checks and the figure."""
    low, high = (float(value) for value in hessian.spectrum(BOWL.loss, jnp.zeros(2)).eigenvalues)

    def run(optimizer, lr, momentum):
        ran = gdlab.minimize(BOWL.loss, optimizer(lr, momentum), START, STEPS, every=EARLY)
        return {"loss": BOWL.loss(ran.params), "early": ran.history["loss"][1]}

    optimizers = {"momentum": gdlab.momentum, "nesterov": gdlab.nesterov}
    map_ = gdlab.sweep(run, optimizer=optimizers, lr=RATES, momentum=MOMENTA)
    begin = float(BOWL.loss(START))
    ended_lower = map_["loss"] < begin  # false for inf and NaN as well
    wrong = {}
    for name, edge in EDGES.items():
        stable_until = edge(map_["momentum"], high)
        clear = abs(map_["lr"] / stable_until - 1) > NEAR
        wrong[name] = int((clear & (ended_lower.sel(optimizer=name) != (map_["lr"] < stable_until))).sum())
    still = map_["loss"].sel(optimizer="momentum", momentum=0.0)
    largest = float(map_["lr"].where(still < begin).max())
    next_rate = float(RATES[int(np.searchsorted(RATES, largest * 1.0001))])
    ratio = (np.sqrt(high) - np.sqrt(low)) / (np.sqrt(high) + np.sqrt(low))
    best = gdlab.momentum(4 / (np.sqrt(high) + np.sqrt(low)) ** 2, ratio**2)
    path = gdlab.minimize(BOWL.loss, best, START, 60)
    checks = [
        exactly("S63", "lowest curvature", low, 1.0),
        exactly("S63", "highest curvature", high, 10.0),
        *(at_most("S76", f"{name}: cells on the wrong side of the edge", count, 0) for name, count in wrong.items()),
        is_true("S7", "gd: 2/lambda lies between the last stable rate and the next", largest < 2 / high < next_rate),
        is_true(
            "S76",
            "with momentum .9 heavy ball bears a rate of 1.8 x gd's",
            bool(
                ended_lower.sel(optimizer="momentum").sel(momentum=0.9, method="nearest").sel(lr=0.36, method="nearest")
            ),
        ),
        at_most("S76", "Polyak's pair: loss after 60 steps", BOWL.loss(path.params), 1e-20),
    ]
    return checks, draw(map_, high)


def draw(map_, high):
    """The two maps with their edges."""
    from experiments.figures import plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), sharey=True)
    for panel, (name, edge) in zip(axes, EDGES.items(), strict=True):
        loss = map_["early"].sel(optimizer=name).transpose("momentum", "lr").values
        shown = np.log10(np.clip(np.where(np.isfinite(loss), loss, 1e10), 1e-30, 1e10))
        drawn = panel.pcolormesh(RATES, MOMENTA, shown, cmap="cividis", vmin=-30, vmax=10, rasterized=True)
        panel.plot(edge(MOMENTA, high), MOMENTA, "-", color="white", linewidth=3)
        panel.plot(edge(MOMENTA, high), MOMENTA, "--", color="#D55E00", linewidth=1.6, label="edge from the Hessian")
        panel.set(xscale="log", xlabel="learning rate", title=f"{name}: {EARLY} steps", xlim=(RATES[0], RATES[-1]))
        panel.legend(loc="lower left", fontsize=8)
    axes[0].set_ylabel("momentum")
    figure.colorbar(drawn, ax=axes, label="log10 of the loss (10: diverged)")
    return figure
