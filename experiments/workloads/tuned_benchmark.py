"""A benchmark of tuned optimizers: each at its best rate on a handful of problems, all in one run.

The loss is the sum of the losses of all problems, each on parameters of its own, so that an optimizer that works
parameter by parameter runs on all of them at once; each problem then has its own best rate.

| problem | what it is | what is scored after STEPS steps |
|---|---|---|
| `bowl` | ten curvatures from .001 to 1, along the axes | the loss |
| `turned bowl` | the same curvatures in a random direction each | the loss |
| `crescent` | Rosenbrock's valley, from beside (-1.2, 1) | the loss |
| `noisy bowl` | curvatures 1, gradients with noise of deviation .1 | the loss without noise |
| `rare features` | logistic, feature i present with probability 1 / i, 8 fresh ones a step | the loss on 500 others |
| `network` | 16-8-10 on 500 digits of 4 x 4 pixels, batches of 16 | the loss on the 500 |
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

import gdlab
from gdlab.problems import digits, network, network_loss, rosenbrock

PROBLEMS = ("bowl", "turned bowl", "crescent", "noisy bowl", "rare features", "network")
STEPS, SEEDS = 300, 3
RATES = np.logspace(-4, 2, 13)
CURVATURES = np.logspace(-3, 0, 10)
FEATURES, NOISE = 30, 0.1
EXAMPLES = 500


def tuned_benchmark(optimizers: Mapping[str, Callable[[Any], gdlab.Optimizer]], *, seeds: int = SEEDS) -> Any:
    """What is left after STEPS steps: an xarray.Dataset of a loss by problem, with dims (optimizer, rate, seed).

    Args:
        optimizers: functions of the rate, by name.
        seeds: how many draws of starts and batches.
    """
    images, labels = digits()
    pooled = images[:EXAMPLES].reshape(-1, 4, 2, 4, 2).mean((2, 4)).reshape(-1, 16)
    data = (pooled - pooled.mean(0), labels[:EXAMPLES])
    drawn = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(draws, range(seeds)))
    unravel = Partial(ravel_pytree(jax.tree.map(lambda leaf: leaf[0], drawn[0]))[1])

    def run(optimizer, rate, seed):
        start, batches, fixed = seed
        theta = ravel_pytree(start)[0]  # one array of all parameters, which compiles in half the time
        end = gdlab.minimize(
            total, optimizer(rate), theta, STEPS, args=(fixed, data, unravel), batches=batches, record=()
        )
        return scores(unravel(end.params), fixed, data)

    return gdlab.sweep(run, optimizer=optimizers, rate=RATES, seed=drawn)


def best(results: Any) -> Any:
    """The median over seeds at the best rate, infinite where no rate is finite: dims (problem, optimizer)."""
    return medians(results).min("rate")


def best_of_each(results: Any) -> Any:
    """The loss at the best rate of each seed, infinite where no rate is finite: dims (seed, problem, optimizer)."""
    losses = results[list(PROBLEMS)].to_dataarray("problem")
    return losses.where(np.isfinite(losses), np.inf).min("rate").transpose("seed", "problem", "optimizer")


def medians(results: Any) -> Any:
    """The median over seeds, infinite where a run left the finite numbers: dims (problem, optimizer, rate)."""
    losses = results[list(PROBLEMS)].to_dataarray("problem")
    return losses.where(np.isfinite(losses), np.inf).median("seed")


def draws(seed):
    """The start of every problem, the batches of every step, and what stays the same: a rotation, unseen examples."""
    rng = np.random.default_rng(seed)
    begin = rng.normal(size=10)
    weights = 2 * rng.normal(size=FEATURES)

    def labelled(*shape):
        x = (rng.uniform(size=(*shape, FEATURES)) < 1 / np.arange(1, FEATURES + 1)).astype(float)
        return x, (rng.uniform(size=shape) < 1 / (1 + np.exp(-x @ weights))).astype(float)

    start = {
        "bowl": begin,
        "turned bowl": begin,
        "crescent": np.array([-1.2, 1.0]) + 0.1 * rng.normal(size=2),
        "noisy bowl": begin,
        "rare features": np.zeros(FEATURES),
        "network": network(jax.random.key(seed), (16, 8, 10)),
    }
    batches = {
        "noise": NOISE * rng.normal(size=(STEPS, 10)),
        "rare": labelled(STEPS, 8),
        "chosen": rng.integers(0, EXAMPLES, (STEPS, 16)),
    }
    return start, batches, (np.linalg.qr(rng.normal(size=(10, 10)))[0], labelled(EXAMPLES))


def bowl(theta, curvatures=CURVATURES):
    """Half the sum of curvature times square."""
    return jnp.sum(curvatures * theta**2) / 2


def logistic(weights, examples):
    """The mean negative log-likelihood."""
    x, y = examples
    z = x @ weights
    return jnp.mean(jnp.logaddexp(0, z) - y * z)


def total(theta, batch, fixed, data, unravel):
    """The sum of all losses, on the batches of one step."""
    params = unravel(theta)
    exact = scores(params, fixed, data)
    images, labels = data
    chosen = batch["chosen"]
    return (
        exact["bowl"]
        + exact["turned bowl"]
        + exact["crescent"]
        + exact["noisy bowl"]
        + batch["noise"] @ params["noisy bowl"]
        + logistic(params["rare features"], batch["rare"])
        + network_loss(params["network"], (images[chosen], labels[chosen]))
    )


def scores(params, fixed, data):
    """The loss of each problem, without noise."""
    turn, others = fixed
    return {
        "bowl": bowl(params["bowl"]),
        "turned bowl": bowl(turn @ params["turned bowl"]),
        "crescent": rosenbrock(params["crescent"]),
        "noisy bowl": bowl(params["noisy bowl"], 1.0),
        "rare features": logistic(params["rare features"], others),
        "network": network_loss(params["network"], data),
    }
