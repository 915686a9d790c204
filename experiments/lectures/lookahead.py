"""What do slow weights gain, k steps forward and one back? (S95; section 3.9)

phi <- phi + alpha (theta_k - phi).  On a noisy quadratic A (x - c)^2 / 2 with c ~ N(0, s^2) plain SGD settles at the
variance

    V_SGD = g^2 A^2 s^2 / (1 - q^2),   q = 1 - g A,

and lookahead at alpha^2 (1 - q^2k) / (alpha^2 (1 - q^2k) + 2 alpha (1 - alpha) (1 - q^k)) of that: less, for all
settings. With alpha = 1 it is the inner optimizer itself; with k = 1 it is plain descent whose steps are alpha times
as long.

"Flatter minima" do not come out: where a small network has learnt 200 digits by heart, a fifth of the labels drawn
anew, the largest curvature is larger with lookahead than with SGD, after twice the updates as well.  Curvature falls
with the loss there, and for its loss it is the larger, too.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import gdlab
import hessian
from gdlab.problems import network_accuracy, network_loss, surface

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true, printed
from ..reporting.standard_errors import error_of_share, error_of_variance, least_lead
from ..workloads.digits import FLOAT, examples, start

QUESTION = "What do slow weights gain, k steps forward and one back? (S95; section 3.9)"
CURVATURE, NOISE = 2.0, 3.0
SETTINGS = {  # (rate, k, alpha) -> the variance as printed, for the same g A, over s^2
    (0.05, 5, 0.5): "0.0233144",
    (0.25, 5, 0.5): "0.113402",
    (0.05, 10, 0.8): "0.0383967",
    (0.5, 5, 0.5): "0.3333333",
}
LANES, STEPS = 20_000, 301  # the last after 300, which are whole rounds of 5 and of 10
WRONG = 0.2  # of the labels are drawn anew, of which a tenth is right by chance


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "lookahead", QUESTION, lambda: measure(settings.quick), heavy=True)


def measure(quick):
    """The checks and the figure."""
    clouds = {setting: cloud(*setting) for setting in SETTINGS}
    checks = [*variances(clouds), *invariants()]
    return checks if quick else [*checks, *not_flatter()], lambda: draw(clouds)


def plain(rate):
    """The variance at which SGD settles."""
    return (rate * CURVATURE * NOISE) ** 2 / (1 - (1 - rate * CURVATURE) ** 2)


def slow(rate, k, alpha):
    """The variance at which the slow weights settle."""
    q = 1 - rate * CURVATURE
    kept = alpha**2 * (1 - q ** (2 * k))
    return kept / (kept + 2 * alpha * (1 - alpha) * (1 - q**k)) * plain(rate)


def noisy(x, *, key):
    """A (x - c)^2 / 2 with a minimum c that is drawn anew."""
    return CURVATURE * (x - NOISE * jax.random.normal(key)) ** 2 / 2


def cloud(rate, k, alpha):
    """x of every lane before each step; the slow weights stand in it at multiples of k."""

    def run(key):
        optimizer = gdlab.lookahead(gdlab.sgd(rate), k, alpha)
        return gdlab.minimize(noisy, optimizer, 1.0, STEPS, key=key, record=("params",)).history["params"]

    return np.asarray(jax.jit(jax.vmap(run, out_axes=1))(jax.random.split(jax.random.key(0), LANES)))


def variances(clouds):
    """The slow weights' variance, drawn, against the closed form and its printed value."""
    checks = []
    for (rate, k, alpha), digits in SETTINGS.items():
        law = slow(rate, k, alpha)
        drawn = np.mean(clouds[rate, k, alpha][-1] ** 2)
        name = f"rate {rate}, k = {k}, alpha = {alpha}"
        checks += [
            printed("3.9", f"{name}: variance over s^2", law / NOISE**2, digits),
            Check("3.9", f"{name}: {LANES} runs", drawn, law, law * error_of_variance(LANES)),
        ]
    rates, ks, alphas = np.meshgrid(np.linspace(0.05, 1, 20) / CURVATURE, np.arange(1, 21), np.linspace(0.05, 0.95, 19))
    # A round multiplies phi by 1 - alpha + alpha q^k and adds alpha times the noise of k steps from a fixed place.
    kept, gained = 1 - alphas + alphas * (1 - rates * CURVATURE) ** ks, np.zeros_like(rates)
    for step in range(ks.max()):
        gained = gained + (step < ks) * (rates * CURVATURE * NOISE) ** 2 * (1 - rates * CURVATURE) ** (2 * step)
    settled = alphas**2 * gained / (1 - kept**2)
    key = jax.random.key(1)
    z = float(jax.random.normal(key))
    off = farthest(jax.value_and_grad(noisy)(1.0, key=key), ((1 - 3 * z) ** 2, 2 * (1 - 3 * z)))
    return (
        *checks,
        at_most("3.9", "loss and slope at 1 for a minimum drawn at 3 z - (1 - 3 z)^2 and 2 (1 - 3 z)", off, 1e-12),
        printed("3.9", "rate .05, k = 5, alpha = .5: ratio to SGD", slow(0.05, 5, 0.5) / plain(0.05), ".443"),
        at_most(
            "3.9",
            "at 7600 settings: variance over that of the recursion of rounds, less 1",
            farthest(slow(rates, ks, alphas) / settled, 1),
            1e-12,
        ),
        is_true("3.9", "which is less than SGD's", (settled < plain(rates)).all()),
    )


def invariants():
    """alpha = 1 is the inner optimizer; k = 1 shortens each step of plain descent to alpha of it."""
    loss, start = surface("rosenbrock_2d").loss, jnp.array([-1.2, 1.0])

    def path(optimizer):
        return gdlab.minimize(loss, optimizer, start, 200, record=("params",)).history["params"]

    whole = path(gdlab.lookahead(gdlab.adam(0.01), 5, 1.0)) - path(gdlab.adam(0.01))
    short = path(gdlab.lookahead(gdlab.gd(1e-3), 1, 0.5)) - path(gdlab.gd(5e-4))
    off = farthest(path(gdlab.lookahead(gdlab.gd(1e-3), 7, 0.3)), by_loop())
    return (
        at_most("S95", "alpha = 1 - Adam itself", jnp.abs(whole).max(), 1e-12),
        at_most("S95", "k = 1, alpha = .5 - descent at half the rate", jnp.abs(short).max(), 1e-12),
        at_most("S95", "k = 7, alpha = .3: 200 places off a NumPy loop", off, 1e-12),
    )


def by_loop():
    """Descent in Rosenbrock's valley at the rate .001 that every 7 steps goes back to .3 of its way, by NumPy."""
    slow, fast, places = np.array([-1.2, 1.0]), np.array([-1.2, 1.0]), []
    for t in range(1, 201):
        places.append(fast)
        x, y = fast
        fast = fast - 1e-3 * np.array([2 * (x - 1) - 400 * x * (y - x * x), 200 * (y - x * x)])
        if t % 7 == 0:
            slow = fast = slow + 0.3 * (fast - slow)
    return np.array(places)


def not_flatter():
    """The largest curvature where a network has learnt 200 digits by heart, with slow weights and without."""
    learnt, _ = examples(jax.random.key(0), 200, wrong=WRONG)
    inner = gdlab.sgd(FLOAT(0.2))

    def ended(optimizer, updates):
        def one(key):
            init, order = jax.random.split(key)
            fed = gdlab.minibatches(learnt, 10, key=order)
            layers = start(init, (64, 32, 10))
            ran = gdlab.minimize(network_loss, optimizer, layers, updates, batches=fed, record=(), every=updates)
            sharpness = hessian.sharpness(network_loss, ran.params, learnt).value
            level, right = network_loss(ran.params, learnt), network_accuracy(ran.params, learnt)
            return sharpness, level, right, by_products(ran.params, learnt)

        ends = jax.jit(lambda keys: jax.lax.map(one, keys))(jax.random.split(jax.random.key(0), 6))
        return jax.tree.map(np.asarray, ends)

    slow = gdlab.lookahead(inner, 5, 0.5)
    ends = ended(inner, 6000), ended(slow, 6000), ended(slow, 12_000)
    (usual, level, *_), (short, behind, *_), (long, same, *_) = ends
    found, known, rest = np.array([(sharp, *top) for sharp, _, _, top in ends]).transpose(1, 0, 2)

    def surely_larger(*of_and_than):
        """In the mean of logarithms, beyond chance."""
        return least_lead(*np.log(of_and_than)) > 0

    return (
        exactly(
            "S95",
            "18 networks: digits learnt by heart, the least share",
            min(right.min() for *_, right, _ in ends),
            1.0,
        ),
        drawn_anew(),
        at_most(  # an eigenvalue is within the residual, and single precision knows it to some 1e-4
            "S95",
            "largest curvatures over power iteration's, less 1, beyond the residual",
            (np.abs(found / known - 1) - rest).max(),
            1e-4,
        ),
        is_true(
            "S95", "not as told: after twice the updates it is no flatter, but sharper", surely_larger(long, usual)
        ),
        is_true("S95", "nor flatter for its loss, which is another", surely_larger(long / same, usual / level)),
        is_true("S95", "after as many updates it is sharper", surely_larger(short, usual)),
        is_true("S95", "being behind: its loss is the larger", surely_larger(behind, level)),
    )


def by_products(layers, learnt, products=300):
    """The largest curvature by power iteration on derivatives of the gradient along v, and the residual over it."""
    flat, unravel = ravel_pytree(layers)

    def bent(v):
        return jax.jvp(jax.grad(lambda x: network_loss(unravel(x), learnt)), (flat,), (v,))[1]

    def once(v, _):
        image = bent(v)
        return image / jnp.linalg.norm(image), None

    v = jax.random.normal(jax.random.key(1), flat.shape, flat.dtype)
    v, _ = jax.lax.scan(once, v / jnp.linalg.norm(v), None, products)
    value = v @ bent(v)
    return value, jnp.linalg.norm(bent(v) - value * v) / value


def drawn_anew():
    """The share of labels that are not those of the digits, of 50 draws of 200."""
    keys = jax.random.split(jax.random.key(2), 50)
    shares = [(examples(key, 200, wrong=WRONG)[0][1] != examples(key, 200)[0][1]).mean() for key in keys]
    due = 0.9 * WRONG
    return Check(
        "S95", "50 draws: share of labels that are wrong", float(np.mean(shares)), due, error_of_share(due, 50 * 200)
    )


def draw(clouds):
    """One setting over the steps, and the closed form over k."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    for (rate, k, alpha), colour in zip(SETTINGS, figures.PALETTE, strict=False):
        mean = np.mean(clouds[rate, k, alpha] ** 2, axis=1)
        left.plot(mean[: 20 * k + 1], color=colour, linewidth=0.9, label=f"rate {rate}, k = {k}, $\\alpha$ = {alpha}")
        rounds = np.arange(0, 20 * k + 1, k)
        left.plot(rounds, mean[rounds], "o", color=colour, markersize=3)
        left.axhline(slow(rate, k, alpha), linestyle=":", color=colour, linewidth=0.9)
    left.set(yscale="log", xlabel="step", ylabel="mean of $x^2$ over 20 000 runs")
    left.set_title("dots: slow weights; dotted: what must come out")
    periods = np.arange(1, 31)
    for alpha, colour in zip((0.2, 0.5, 0.8), figures.PALETTE, strict=False):
        ratio = slow(0.05, periods, alpha) / plain(0.05)
        right.plot(periods, ratio, "o-", color=colour, markersize=3, label=f"$\\alpha$ = {alpha}")
    right.set(xlabel="k", ylabel="variance over that of SGD", ylim=(0, 1), title="the gain at rate .05")
    for axes in (left, right):
        axes.legend(fontsize=7)
    return figure
