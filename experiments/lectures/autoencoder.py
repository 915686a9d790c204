"""Do critical points with a higher loss have more ways down? (S53, S60; section 3.13)

Dauphin et al. (2014) saw it in networks, with a search that others could not repeat.  The linear autoencoder has all
of its critical points in closed form (Baldi & Hornik 1989): one family for each set S of at most p eigenvectors that
the code keeps. With n = 6, p = 2 and variances 6, 4.5, 3, 2, 1, .5 there are 22, and

    loss = sum of the variances outside S,     index = how many pairs (i in S, j outside) have l_j > l_i   (|S| = p),

so that exactly one is a minimum, and loss and index go together: their rank correlation is .9816, and .9856 for the
full families, with the ranks of equal losses averaged.  The printed .984 and .989 lie within what equal losses give
that are put in one order or another, as rounding does: .976 to .985, and .975 to .993.  The Hessian is measured here,
not assumed, on random members of each family, and random descent ends in the one minimum.  On the classical and the
monkey saddle Newton's method is attracted, saddle-free Newton leaves.
"""

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
import hessian
from gdlab.problems import linear_autoencoder, linear_autoencoder_points, surface

from ..cli.settings import Experiment
from ..reporting.checks import at_most, conclude, exactly, farthest, is_proved, is_true, printed
from ..reporting.run_folder import Table

QUESTION = "Do critical points with a higher loss have more ways down? (S53, S60; section 3.13)"
VARIANCES = (6.0, 4.5, 3.0, 2.0, 1.0, 0.5)
CODE = 2
EXAMPLES = {(0, 1): (6.5, 0), (0, 2): (8.0, 1), (4, 5): (15.5, 8), (): (17.0, 12)}
ZERO = 1e-8  # an eigenvalue below this is zero


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "autoencoder", QUESTION, measure)


def measure():
    """The checks, the figure, and a table of what is shown but not judged."""
    points = members()
    ends = descend()
    checks = [*declared(), *families(points), *between(points), *proofs(points), *descent(ends), *newtons()]
    return checks, lambda: draw(points, ends), undecided(points)


def declared():
    """What is declared of a member of each family, in closed form, against its loss and its Hessian."""
    points = linear_autoencoder_points(VARIANCES, CODE)
    theta = jnp.array([point.x for point in points])
    losses = np.asarray(jax.jit(jax.vmap(linear_autoencoder))(theta))
    values = np.linalg.eigvalsh(jax.jit(jax.vmap(jax.hessian(linear_autoencoder)))(theta))
    told = np.array([point.eigenvalues for point in points])
    counts = np.array([(point.index, point.nullity) for point in points])
    seen = np.stack([(values < -ZERO).sum(1), (np.abs(values) <= ZERO).sum(1)], 1)
    return (
        at_most("3.13", "20 random places: loss over the mean square error on data, less 1", on_data(), 1e-12),
        at_most("S53", "declared losses - measured", np.abs(losses - [point.value for point in points]).max(), 1e-12),
        at_most("S53", "22 x 24 declared eigenvalues - measured", np.abs(values - told).max(), 1e-12),
        at_most("S53", "declared index and nullity that are not as measured", (counts != seen).sum(), 0),
        exactly(  # the minimum is one of a family, whose Hessian cannot tell
            "S53", "declared saddles, all but one", sum(point.kind == "saddle" for point in points), 21
        ),
    )


def on_data():
    """How far losses are from NumPy's mean of |x - W2 W1 x|^2 over six x whose covariance is diag(VARIANCES)."""
    places = np.random.default_rng(0).normal(size=(20, 2 * CODE * len(VARIANCES)))
    data = np.diag(np.sqrt(len(VARIANCES) * np.array(VARIANCES)))  # one x in each row
    due = []
    for place in places:
        decoder, encoder = place[: len(place) // 2].reshape(-1, CODE), place[len(place) // 2 :].reshape(CODE, -1)
        due.append(((data - data @ encoder.T @ decoder.T) ** 2).sum(1).mean())
    return farthest(np.asarray(jax.vmap(linear_autoencoder)(jnp.asarray(places))) / due, 1)


def members():
    """Of each family a member with a random basis of the code: what it keeps, loss, |g|, eigenvalues, parameters."""
    rows = []
    for number, point in enumerate(linear_autoencoder_points(VARIANCES, CODE)):
        decoder, encoder = jnp.split(jnp.array(point.x), 2)
        decoder, encoder = decoder.reshape(len(VARIANCES), CODE), encoder.reshape(CODE, len(VARIANCES))
        kept = tuple(int(i) for i in np.flatnonzero(np.abs(np.asarray(decoder)).sum(axis=1)))
        mix = jnp.eye(CODE) + 0.3 * jax.random.normal(jax.random.key(number), (CODE, CODE))
        if len(kept) < CODE:  # unused codes stay unused: rotate only
            mix = jnp.linalg.qr(mix)[0]
        theta = jnp.concatenate([(decoder @ mix).ravel(), (jnp.linalg.inv(mix) @ encoder).ravel()])
        rows.append((kept, theta))
    theta = jnp.stack([theta for _, theta in rows])
    loss = jax.vmap(linear_autoencoder)(theta)
    norms = jnp.linalg.norm(jax.vmap(jax.grad(linear_autoencoder))(theta), axis=1)
    eigenvalues = jax.vmap(lambda t: hessian.spectrum(linear_autoencoder, t).eigenvalues)(theta)
    return [kept for kept, _ in rows], np.asarray(loss), np.asarray(norms), np.asarray(eigenvalues), np.asarray(theta)


def families(points):
    """Loss, gradient, index and zero modes of every family against the closed forms."""
    kept, loss, norms, eigenvalues, _ = points
    index, zeros = (eigenvalues < -ZERO).sum(1), (np.abs(eigenvalues) <= ZERO).sum(1)
    outside = [[v for j, v in enumerate(VARIANCES) if j not in s] for s in kept]
    full = np.array([len(s) == CODE for s in kept])
    ways = np.array([sum(v > VARIANCES[i] for i in s for v in out) for s, out in zip(kept, outside, strict=True)])
    unused = np.array([(CODE - len(s)) * len(out) for s, out in zip(kept, outside, strict=True)])
    place = {s: i for i, s in enumerate(kept)}
    level = loss.round(9)  # equal losses are ties, whatever their rounding
    return (
        exactly("3.13", "families", len(kept), 22),
        at_most("S53", "largest |g|", norms.max(), 1e-13),
        at_most(
            "3.13", "loss - sum of the variances outside", np.abs(loss - [sum(out) for out in outside]).max(), 1e-12
        ),
        exactly("3.13", "full families whose index is the number of pairs", (index == ways)[full].sum(), 15),
        # A code that is not used adds a way down for each variance outside.
        exactly(
            "3.13",
            "others whose index is that, and one for each unused code and variance outside",
            (index == ways + unused)[~full].sum(),
            7,
        ),
        is_true("3.13", "zero modes of the full ones are p^2 = 4", (zeros[full] == CODE**2).all()),
        *(exactly("3.13", f"keeps {s}: loss", loss[place[s]], values[0]) for s, values in EXAMPLES.items()),
        *(exactly("3.13", f"keeps {s}: index", index[place[s]], values[1]) for s, values in EXAMPLES.items()),
        exactly("3.13", "families without a way down", (index == 0).sum(), 1),
        # Not printed: SciPy's of the closed forms.
        printed("3.13", "Spearman correlation, ranks averaged over ties", spearman(level, index), ".9816"),
        printed("3.13", "the same, full families", spearman(level[full], ways[full]), ".9856"),
        is_true("S60", "minimum ratio: 20 of 24 at the minimum", (eigenvalues[index == 0] > ZERO).sum() == 20),
    )


def proofs(points):
    """Of each family but the minimum: a way down, by Taylor models on a box around its member."""

    def down(theta):
        direction = jnp.linalg.eigh(jax.hessian(linear_autoencoder)(theta))[1][:, 0]
        return hessian.prove_saddle(linear_autoencoder, theta, direction, radius=1e-4)

    saddles = [theta for theta, values in zip(points[4], points[3], strict=True) if values[0] < -ZERO]
    return is_proved(
        "3.13",
        "proved: no minimum within .0001 of a member of the other 21",
        lambda: [down(jnp.asarray(theta)) for theta in saddles],
        lambda found: sum(one.proved for one in found) == len(found) == 21,
    )


def spearman(x, y):
    """Spearman's correlation: that of the ranks, averaged over ties."""
    twice = [(v[:, None] > v).sum(1) + (v[:, None] >= v).sum(1) for v in (x, y)]  # scipy.stats takes a second to import
    return np.corrcoef(twice)[0, 1]


def in_order(points):
    """The printed correlations, which took equal losses in some order, and what the orders give, from least to most."""
    kept, loss, _, eigenvalues, _ = points
    level, index, full = loss.round(9), (eigenvalues < -ZERO).sum(1), np.array([len(s) == CODE for s in kept])
    for name, told, some in (("all families", ".984", index >= 0), ("full families", ".989", full)):
        x, y = level[some], index[some]
        # Equal losses in the order of their indices, either way, are the ends.
        yield name, told, [spearman(x + sign * 1e-6 * y, y) for sign in (-1, 0, 1)]


def between(points):
    """The printed correlations lie between the ends."""
    for name, told, (least, _, most) in in_order(points):
        held = round(least, 3) <= float(told) <= round(most, 3)
        yield is_true(
            "3.13", f"{name}: printed {told} is between {least:.4f} and {most:.4f}, equal losses in order", held
        )


def undecided(points):
    """The same as a table."""
    rows = [[name, told, *(f"{value:.4f}" for value in found)] for name, told, found in in_order(points)]
    columns = ("of", "printed", "ties against the index", "averaged", "with it")
    return Table("Spearman correlation as equal losses are put in order", columns, rows)


def descend():
    """The loss of 20 random runs of gradient descent, every 20 updates."""

    def run(key):
        start = 0.3 * jax.random.normal(key, (2 * CODE * len(VARIANCES),))
        ran = gdlab.minimize(linear_autoencoder, gdlab.gd(0.02), start, 4000, every=20)
        return jnp.append(ran.history["loss"], linear_autoencoder(ran.params))

    return np.asarray(jax.vmap(run)(jax.random.split(jax.random.key(0), 20)))


def descent(losses):
    """All of them end in the one minimum."""
    return (
        at_most(
            "3.13",
            "20 random runs: largest distance of the final loss from 6.5",
            np.abs(losses[:, -1] - 6.5).max(),
            1e-9,
        ),
    )


def newtons():
    """Newton's method is attracted by saddles, saddle-free Newton leaves them (figure 2 of the paper)."""
    checks = []
    for name in ("classical_saddle", "monkey_saddle"):
        loss, start = surface(name).loss, jnp.array([0.3, 0.2])
        newton = np.asarray(gdlab.minimize(loss, hessian.newton(), start, 40).params)
        free = np.asarray(gdlab.minimize(loss, hessian.saddle_free_newton(0.5), start, 12).params)
        bends = {"classical_saddle": (-2.0, 10.0), "monkey_saddle": (-6 * 0.13**0.5, 6 * 0.13**0.5)}[name]  # by hand
        off = farthest(np.linalg.eigvalsh(jax.hessian(loss)(start)), bends)
        checks.append(at_most("3.13", f"{name}: curvatures at (.3, .2) - by hand", off, 1e-12))
        attracted, left = written_out(name)
        checks.append(
            at_most("3.13", f"{name}: Newton's end after 40 steps - by hand", np.abs(newton - attracted).max(), 1e-14)
        )
        checks.append(
            at_most(
                "3.13",
                f"{name}: saddle-free Newton's after 12, likewise, relative",
                np.abs(free / left - 1).max(),
                1e-9,
            )
        )
        checks.append(is_true("3.13", f"{name}: which is lower than the saddle", loss(free) < loss(np.zeros(2))))
    return checks


def written_out(name):
    """Where both end: 5 x^2 - y^2 is one step or factors of 1/2 and 3/2; x^3 - 3 x y^2 is the real part of z^3."""
    if name == "classical_saddle":
        return np.zeros(2), np.array([0.3 * 0.5**12, 0.2 * 1.5**12])
    z = 0.3 + 0.2j
    for _ in range(12):
        z -= z.conjugate() ** 2 / (4 * abs(z))  # half of the gradient 3 conj(z)^2 over the curvature 6 |z|
    return np.array([0.3, 0.2]) * 0.5**40, np.array([z.real, z.imag])


def draw(points, losses):
    """Index against loss, and the descent through plateaus."""
    from ..reporting import figures
    from ..reporting.figures import plt

    kept, loss, _, eigenvalues, _ = points
    index = (eigenvalues < -ZERO).sum(1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    for size, mark, colour in zip(range(CODE, -1, -1), ("o", "s", "D"), figures.PALETTE, strict=False):
        some = np.array([len(s) == size for s in kept])
        left.plot(index[some], loss[some], mark, color=colour, label=f"keeps {size} of 6 directions")
    left.set(xlabel="index: negative eigenvalues of 24", ylabel="loss", title="22 families of critical points")
    t = np.minimum(np.arange(losses.shape[1]) * 20, 4000)
    for run in losses:
        right.plot(t + 1, run - 6.5 + 1e-12, color=figures.PALETTE[0], linewidth=0.7, alpha=0.6)
    right.set(
        xscale="log",
        yscale="log",
        xlabel="updates + 1",
        ylabel="loss - 6.5",
        title="20 random runs of gradient descent",
    )
    left.legend(fontsize=7)
    return figure
