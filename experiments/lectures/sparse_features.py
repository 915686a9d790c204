"""Does Adagrad learn rare features better? (section 3.1)

Logistic regression on 200 features, the i-th of which is there in one example of i; 4000 examples, each seen once;
every optimizer at its best of 11 rates.  A feature that is rarely seen has small sums of squares, so that Adagrad
still takes long steps where a common rate, and more so a falling one, has no more to give.

The printed losses are of one draw of weights and examples: .2796 for Adagrad, .2916 for Adam, .3009 for SGD, with
.2465 for the true weights.  What survives other draws is the loss above that of the true weights, and the order:
Adagrad is ahead on unseen examples, and Adam of SGD, beyond Student's t for 99 of 100.  One printed statement does not
survive: SGD at eta / sqrt(t + 1) is not far behind SGD once its grid of rates reaches 10.  That on-line Adam is .011
ahead of Adagrad is one draw; over draws they are level.

Along every run the regret against the true weights w stays below Duchi's bound,

    R  <=  (max_t |theta_t - w|^2_inf / (2 eta) + eta)  sum_i |g_{1:T,i}|_2.
"""

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
from gdlab import schedules

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, farthest, is_true
from ..reporting.run_folder import Table
from ..reporting.standard_errors import error_of_draw, error_of_share, error_of_variance, least_lead, off_the_odds

QUESTION = "Does Adagrad learn rare features better? (section 3.1)"
FEATURES, SEEN, UNSEEN = 200, 4000, 10_000
RATES = jnp.geomspace(1e-3, 100, 11)
OPTIMIZERS = {
    "Adagrad": gdlab.adagrad,
    "Adam": gdlab.adam,
    "SGD": gdlab.sgd,
    "SGD, $\\eta / \\sqrt{t + 1}$": lambda rate: gdlab.sgd(schedules.InverseSqrt(rate)),
}
TRUE = 0.2465  # the loss of the true weights in the printed draw
PRINTED = (0.2796, 0.2916, 0.3009, 0.3489)  # and of those that were learnt
BEHIND = 0.048  # of the last, behind the one before
ONLINE = (0.3815, 0.3706, 0.3872, 0.4067)


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "sparse_features", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure."""
    draws = 4 if quick else 16
    # A lane holds its examples, 22 MB; with 16 lanes at once the sweep fits a small machine.
    grid = gdlab.sweep(run, chunk=16, optimizer=OPTIMIZERS, lr=RATES, key=gdlab.seeds(draws))
    above = grid["above"].min("lr").to_numpy()
    checks = [*looped(grid), *orders(grid, above), *regrets()]
    if not quick:
        checks += ahead_of_others(above, grid["online"].min("lr").to_numpy())
    return checks, lambda: draw(grid, above), undecided(grid, above)


def example_of(key, weights):
    """One example: feature i is 1 in one of i, the label is right with the probability of the logistic model."""
    there, label = jax.random.split(key)
    x = (jax.random.uniform(there, (FEATURES,)) * (1 + jnp.arange(FEATURES)) < 1).astype(float)
    return x, (jax.random.uniform(label) < jax.nn.sigmoid(x @ weights)).astype(float)


def draws_of(key):
    """True weights, the examples of the stream, and others."""
    first, second, third = jax.random.split(key, 3)
    weights = 2 * jax.random.normal(first, (FEATURES,))
    stream = jax.vmap(example_of, (0, None))(jax.random.split(second, SEEN), weights)
    return weights, stream, jax.vmap(example_of, (0, None))(jax.random.split(third, UNSEEN), weights)


def loss(theta, example):
    """The mean of -log P(label)."""
    x, label = example
    return jnp.mean(jnp.logaddexp(0, x @ theta) - label * (x @ theta))


def run(optimizer, lr, key):
    """The loss on-line, on unseen examples, and there with the true weights; and what is above that."""
    weights, stream, unseen = draws_of(key)
    ran = gdlab.minimize(loss, optimizer(lr), jnp.zeros(FEATURES), SEEN, batches=stream)
    learnt, true = loss(ran.params, unseen), loss(weights, unseen)
    return {"online": ran.history["loss"].mean(), "unseen": learnt, "true": true, "above": learnt - true}


def looped(grid):
    """Both losses of the first draw, against loops in NumPy, at rates where rounding does not grow."""
    keys = gdlab.seeds(grid.sizes["key"])
    _, *parts = draws_of(keys[0])
    (x, y), (others, labels) = ([np.asarray(values) for values in part] for part in parts)
    all_weights = np.asarray(jax.jit(jax.vmap(lambda key: draws_of(key)[0]))(keys))
    yield from as_described(all_weights, np.concatenate([x, others]), np.concatenate([y, labels]))
    known = others @ all_weights[0]
    rules = {
        "Adagrad": lambda g, t, s: (g, s[1] + g * g, g / np.sqrt(np.where(s[1] + g * g > 0, s[1] + g * g, 1))),
        "Adam": adam_move,
        "SGD": lambda g, t, s: (g, g, g),
        "SGD, $\\eta / \\sqrt{t + 1}$": lambda g, t, s: (g, g, g / np.sqrt(t + 1)),
    }
    for name, rule in rules.items():
        rate = 0.01 if name == "Adam" else 1.0
        at = int(np.argmin(np.abs(np.asarray(RATES) - rate)))
        theta, online, state = np.zeros(FEATURES), 0.0, (np.zeros(FEATURES), np.zeros(FEATURES))
        for t, (row, label) in enumerate(zip(x, y, strict=True)):
            z = row @ theta
            online += (np.logaddexp(0, z) - label * z) / SEEN
            *state, move = rule((1 / (1 + np.exp(-z)) - label) * row, t, state)
            theta = theta - rate * move
        z = others @ theta
        unseen, true = (np.mean(np.logaddexp(0, logits) - labels * logits) for logits in (z, known))
        ends = {"online": online, "unseen": unseen, "true": true, "above": unseen - true}
        for what, value in ends.items():
            found = float(grid[what].sel(optimizer=name).isel(lr=at, key=0))
            yield Check(
                "3.1", f"{name}, rate {rate:g}, first draw: {what} loss over a NumPy loop's", found / value, 1.0, 1e-9
            )


def as_described(weights, x, y):
    """Weights of deviation 2, feature i in one example of i, labels of the logistic model: four standard errors.

    The weights are those of all draws, the examples those of the first.
    """
    due, z = 1 / np.arange(1, FEATURES + 1), x @ weights[0]
    beyond = np.abs(x.mean(0) - due) - [error_of_share(p, len(x)) for p in due]
    yield Check(
        "3.1", "true weights: mean square over 4", np.mean(weights**2) / 4, 1.0, error_of_variance(weights.size)
    )
    yield at_most("3.1", "features: share of examples less 1 / i, beyond that", beyond.max(), 0.0)
    yield at_most("3.1", "labels less their odds, along the logits, in standard errors", off_the_odds(y, z), 4.0)


def adam_move(g, t, state):
    """The averages and the step of Adam, debiased, at the rate 1."""
    m, v = 0.9 * state[0] + 0.1 * g, 0.999 * state[1] + 0.001 * g * g
    return m, v, m / (1 - 0.9 ** (t + 1)) / (np.sqrt(v / (1 - 0.999 ** (t + 1))) + 1e-8)


def undecided(grid, above):
    """What is printed of one draw and lies within the chance of one: it tells nothing."""
    unseen, online = above - above[0], grid["online"].min("lr").to_numpy()
    rows = [
        [what, f"{printed:.4f}", f"{less.mean():.4f}", f"{error_of_draw(less):.4f}"]
        for what, printed, less in (
            ("unseen: Adagrad less the true weights", PRINTED[0] - TRUE, above[0]),
            ("unseen: Adam less Adagrad", PRINTED[1] - PRINTED[0], unseen[1]),
            ("unseen: SGD less Adagrad", PRINTED[2] - PRINTED[0], unseen[2]),
            ("on-line: Adam less Adagrad", ONLINE[1] - ONLINE[0], online[1] - online[0]),
        )
    ]
    return Table("Differences of losses, not judged", ("of", "printed", "mean", "one draw more, within"), rows)


def orders(grid, above):
    """Who wins, over the draws."""
    adagrad, adam, sgd, falling = above
    best = RATES[grid["unseen"].mean("key").argmin("lr").to_numpy()]
    return (
        is_true("3.1", "none is ahead of itself", not ahead("", adagrad, adagrad).passed),
        *(ahead(f"unseen: Adagrad before {name}", adagrad, row) for name, row in (("Adam", adam), ("SGD", sgd))),
        Check("3.1", "Adagrad's best rate", float(best[0]), 1.0, 1e-9),
        is_true(
            "3.1",
            "not as printed: SGD at eta / sqrt(t + 1) less SGD is smaller than .048, beyond 99 of 100 draws",
            least_lead(BEHIND, np.diff([sgd, falling], axis=0)[0], error_of_draw) > 0,
        ),
    )


def ahead(name, first, second):
    """The check that the first losses are below the second, draw by draw, by Student's t for 99 of 100."""
    return is_true("3.1", f"{name}, beyond chance", least_lead(second, first) > 0)


def ahead_of_others(above, online):
    """What four draws are too few for."""
    adagrad, adam, sgd, falling = above
    yield ahead("unseen: Adam before SGD", adam, sgd)
    yield ahead("unseen: Adagrad before SGD at eta / sqrt(t + 1)", adagrad, falling)
    yield ahead("on-line: both adaptive ones before both others", online[:2].max(0), online[2:].min(0))


def regrets():
    """Duchi's bound, at every rate and every moment of one draw."""
    weights, stream, _ = draws_of(jax.random.key(0))

    def slack(rate):
        kept = {"loss": lambda m: m.loss, "params": lambda m: m.params, "grads": lambda m: m.grads}
        h = gdlab.minimize(loss, gdlab.adagrad(rate), jnp.zeros(FEATURES), SEEN, batches=stream, record=kept).history
        regret = jnp.cumsum(h["loss"] - jax.vmap(loss, (None, 0))(weights, stream))
        far = jax.lax.cummax(jnp.abs(h["params"] - weights).max(axis=1))
        return regret / ((far**2 / (2 * rate) + rate) * jnp.sqrt(jnp.cumsum(h["grads"] ** 2, axis=0)).sum(axis=1))

    share = np.asarray(jax.lax.map(jax.jit(slack), RATES))
    at = int(np.argmin(np.abs(np.asarray(RATES) - 1)))
    off = farthest(share[at], regret_by_loop(weights, stream, float(RATES[at])))
    return (
        at_most("3.1", "rate 1: regret over its bound at every moment, off a NumPy loop", off, 1e-9),  # rounding
        at_most("3.1", "the regret over its bound, at every moment and rate", share.max(), 1.0),
    )


def regret_by_loop(weights, stream, rate):
    """Adagrad's regret over Duchi's bound at every moment, by a loop in NumPy."""
    weights, rows, labels = (np.asarray(values) for values in (weights, *stream))
    theta, sums, regret, far, shares = np.zeros(FEATURES), np.zeros(FEATURES), 0.0, 0.0, []
    for x, label in zip(rows, labels, strict=True):
        z, known = x @ theta, x @ weights
        regret += np.logaddexp(0, z) - label * z - np.logaddexp(0, known) + label * known
        far = max(far, farthest(theta, weights))
        g = (1 / (1 + np.exp(-z)) - label) * x
        sums = sums + g * g
        shares.append(regret / ((far**2 / (2 * rate) + rate) * np.sqrt(sums).sum()))
        theta = theta - rate * g / np.sqrt(np.where(sums > 0, sums, 1))
    return np.array(shares)


def draw(grid, above):
    """Losses against the rate, and the best of each draw."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4))
    colour = figures.colors(list(OPTIMIZERS))
    for axes, what in ((left, "unseen"), (middle, "online")):
        for name in OPTIMIZERS:
            figures.band(
                RATES,
                (grid[what] - grid["true"]).sel(optimizer=name).transpose("lr", "key").to_numpy(),
                label=name,
                color=colour[name],
                ax=axes,
            )
        axes.set(
            xscale="log",
            yscale="log",
            ylim=(0.02, 3),
            xlabel="learning rate",
            ylabel="loss above that of the true weights",
        )
        axes.legend(fontsize=7)
    left.set_title("unseen examples")
    middle.set_title("on-line: each example before it is learnt")
    for i, (name, row, value) in enumerate(zip(OPTIMIZERS, above, PRINTED, strict=True)):
        right.plot(np.full(len(row), i), row, "o", color=colour[name], mfc="none")
        right.plot(i, value - TRUE, "_", color="black", markersize=22)
    right.plot([], [], color="black", linewidth=1, label="printed, of one draw")
    right.set_xticks(range(len(OPTIMIZERS)), ["Adagrad", "Adam", "SGD", "SGD, falling"])
    right.set(
        ylabel="loss above that of the true weights", title="each at its best rate: one circle per draw", ylim=(0, None)
    )
    right.legend(fontsize=7)
    return figure
