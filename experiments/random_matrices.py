"""Are local minima rare in many dimensions? (S59, S60)

For a random symmetric matrix (GOE) all eigenvalues are positive with probability 1/2, (2 - sqrt 2)/4, (pi - 2 sqrt
2)/(4 pi) for n = 1, 2, 3 and about exp(-n^2 log 3 / 4) later: in many dimensions a random critical point is a saddle.
A Hessian is no such matrix.  In the lecture's figure the "minimum ratio", the share of positive eigenvalues where a
network's gradient vanished, reaches .5 to .6 and "never a real local minimum" was seen.  The network of that homework
(1-128-1, ReLU, sin(5 pi x)/(5 pi x)) shows what the ratio counts: most of its eigenvalues are zero, and each is
counted by the sign of its rounding.  With a tolerance there are hardly any negative ones left: (+, 0, -) must be
reported.
"""

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
import hessian
from experiments.settings import RandomMatrices
from experiments.verdict import Check, at_most, conclude, is_true, printed
from gdlab.problems import network, network_logits

QUESTION = "Are local minima rare in many dimensions? (S59, S60)"
SIZES = (1, 2, 3, 4, 5)
DRAWS = 400_000
EXACT = {1: 0.5, 2: (2 - 2**0.5) / 4, 3: (np.pi - 2 * 2**0.5) / (4 * np.pi)}
PRINTED = {2: ".146447", 3: ".024921"}
RARE = {4: 0.0024, 5: 1e-4}  # seen in 4 000 000 draws; printed: .0026
SEEDS = 4
TRAINING, POLISHING = 6000, 4000  # updates of Adam, then at a falling rate
TOLERANCE = 1e-6  # of the largest eigenvalue
X = jnp.linspace(-1.0, 1.0, 128)[:, None]
Y = jnp.sinc(5 * X)


def main(settings: RandomMatrices) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "random_matrices", QUESTION, measure)


def measure():
    """The checks and the figure."""
    shares, trained = {n: share(n) for n in SIZES}, train()
    return [*rare(shares), *ratios(trained)], draw(shares, trained)


def share(n):
    """How many of DRAWS matrices of the GOE have only positive eigenvalues."""
    a = jax.random.normal(jax.random.key(n), (DRAWS, n, n))
    h, positive = (a + a.swapaxes(1, 2)) / 2, jnp.ones(DRAWS, bool)
    for _ in range(n):  # by elimination: as many eigenvalues are positive as pivots are
        pivot, column = h[:, 0, 0], h[:, 1:, 0]
        positive &= pivot > 0
        h = h[:, 1:, 1:] - column[:, :, None] * column[:, None, :] / pivot[:, None, None]
    return float(jnp.mean(positive))


def rare(shares):
    """The shares against the exact probabilities, four standard errors."""
    checks = [printed("S59", f"n = {n}: exact probability", EXACT[n], digits) for n, digits in PRINTED.items()]
    for n, p in (EXACT | RARE).items():
        error = 4 * np.sqrt(p / DRAWS) + (0.00005 if n in RARE else 0)
        checks.append(Check("S59", f"n = {n}: share of {DRAWS} with all eigenvalues positive", shares[n], p, error))
    return [*checks, is_true("S59", "ever rarer", (np.diff([shares[n] for n in SIZES]) < 0).all())]


def mse(params):
    """The mean squared error of the homework's network."""
    return jnp.mean((network_logits(params, X, jax.nn.relu) - Y) ** 2)


def train():
    """Loss, |g|^2 and Hessian eigenvalues of the trained networks."""

    def one(key):
        start = network(key, (1, 128, 1))
        # ReLU kinks spread over the interval, as where biases are drawn as well.
        start[0]["b"] = jax.random.uniform(jax.random.fold_in(key, 1), (128,), minval=-1.0, maxval=1.0)
        rate = gdlab.schedules.join([0.01, gdlab.schedules.cosine(0.01, 1e-7, POLISHING)], [TRAINING])
        run = gdlab.minimize(mse, gdlab.adam(rate), start, TRAINING + POLISHING, every=POLISHING)
        gradient = jax.grad(mse)(run.params)
        norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient)))
        return mse(run.params), norm, hessian.spectrum(mse, run.params).eigenvalues

    keys = jax.random.split(jax.random.key(0), SEEDS)
    return tuple(np.asarray(values) for values in jax.lax.map(one, keys))


def ratios(trained):
    """The raw minimum ratio, and (+, 0, -) with a tolerance (S60)."""
    losses, norms, eigenvalues = trained
    raw = (eigenvalues > 0).mean(axis=1)
    tau = TOLERANCE * eigenvalues.max(axis=1, keepdims=True)
    plus, minus = (eigenvalues > tau).mean(axis=1), (eigenvalues < -tau).mean(axis=1)
    zero = 1 - plus - minus
    return (
        is_true("S60", "|g| < 1e-3 for all seeds", (norms < 1e-3).all()),
        is_true("S60", "and the loss is below 1e-2", (losses < 1e-2).all()),
        *(Check("S60", f"seed {i}: minimum ratio, zeros counted by sign", r, 0.57, 0.05) for i, r in enumerate(raw)),
        is_true("S60", "more than 47 % of the eigenvalues are zero, for all seeds", (zero > 0.47).all()),
        at_most("S60", "largest share of negative ones", minus.max(), 0.23),
        is_true("S60", "most of what the raw ratio calls negative is zero", ((1 - raw) > 2 * minus).all()),
    )


def draw(shares, trained):
    """The probability of a minimum, and the eigenvalues of the networks."""
    from experiments import figures
    from experiments.figures import plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    left.plot(
        list(shares), [max(p, 1e-7) for p in shares.values()], "o-", color=figures.PALETTE[0], label=f"{DRAWS} draws"
    )
    left.plot(list(EXACT), list(EXACT.values()), "x", color=figures.PALETTE[3], markersize=10, label="exact")
    left.set(yscale="log", xticks=SIZES, xlabel="dimension n", ylabel="share without a negative eigenvalue")
    left.set_title("random symmetric matrices (GOE)")
    for i, (values, colour) in enumerate(zip(trained[2], figures.PALETTE, strict=False)):
        right.plot(np.arange(values.size), values, ".", color=colour, markersize=3, label=f"network {i}")
    right.set_yscale("symlog", linthresh=1e-8)
    right.axhspan(-TOLERANCE * trained[2].max(), TOLERANCE * trained[2].max(), color="0.9", zorder=0)
    right.set(
        xlabel="place in the spectrum", ylabel="eigenvalue", title="trained networks; grey: zero to the tolerance"
    )
    for axes in (left, right):
        axes.legend(fontsize=7)
    return figure
