"""Are local minima rare in many dimensions? (S59, S60)

For a random symmetric matrix (GOE) all eigenvalues are positive with probability 1/2, (2 - sqrt 2)/4, (pi - 2 sqrt
2)/(4 pi) for n = 1, 2, 3 and about exp(-n^2 log 3 / 4) later: in many dimensions a random critical point is a saddle.
The exact probability is a ratio of Pfaffians of double integrals (de Bruijn 1955), .002457, 1.401e-4 and 4.62e-6 for
n = 4, 5, 6.  The lecture notes' .0026, 1e-4 and 2.5e-6 are draws.  One hit in 400 000 is 2.5e-6, where 1.85 are due: so
few happen in 45 of 100 draws, and that number is not judged.
A Hessian is no such matrix.  In the lecture's figure the "minimum ratio", the share of positive eigenvalues where a
network's gradient vanished, reaches .5 to .6 and "never a real local minimum" was seen.  The network of that homework
(1-128-1, ReLU, sin(5 pi x)/(5 pi x)) shows what the ratio counts.  Some 150 of its 385 eigenvalues are rounding, zero
to 1e-12 of the largest, and counted by its sign: of ten such nine and more are three for each unit that no example
turns on, and one for each unit but the first that the same examples turn on.  Most others are small but not zero, and
which of them count as zero is the tolerance's choice: (+, 0, -) must be reported with it.  Nor do the negative ones say
saddle: |g| is about as large as the lowest of them (a table), too far from a critical point for a verdict.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import gamma

import gdlab
import hessian
from gdlab.problems import network, network_logits

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true, printed
from ..reporting.run_folder import Table
from ..reporting.standard_errors import error_of_share

QUESTION = "Are local minima rare in many dimensions? (S59, S60)"
SIZES = (1, 2, 3, 4, 5)
DRAWS = 400_000
EXACT = {1: 0.5, 2: (2 - 2**0.5) / 4, 3: (np.pi - 2 * 2**0.5) / (4 * np.pi)}
PRINTED = {2: ".146447", 3: ".024921"}
RATIOS = {4: ".002457", 5: "1.401e-4", 6: "4.62e-6"}
DRAWN = {4: 0.0026, 5: 1e-4}  # printed, as shares of draws
SEEDS = 4
TRAINING, POLISHING = 6000, 4000  # updates of Adam, then at a falling rate
TOLERANCE = 1e-6  # of the largest eigenvalue
INTERVAL = (-1.0, 1.0)
X = jnp.linspace(*INTERVAL, 128)[:, None]
Y = jnp.sinc(5 * X)


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "random_matrices", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks, the figure, and a table of what is shown but not judged."""
    draws, seeds = (100_000, 2) if quick else (DRAWS, SEEDS)
    shares, trained = {n: share(n, draws) for n in SIZES}, train(seeds)
    return [*rare(shares, draws), *ratios(trained)], lambda: draw(shares, draws, trained), networks(trained)


def share(n, draws):
    """The share of `draws` matrices of the GOE, times 2, whose eigenvalues are all positive."""
    a = jax.random.normal(jax.random.key(n), (draws, n, n))
    return float(jnp.mean(no_negative(a + a.swapaxes(1, 2))))


def no_negative(h):
    """Whether all eigenvalues of each matrix are positive, by elimination: as many are as pivots are."""
    positive = jnp.ones(len(h), bool)
    for _ in range(h.shape[1]):
        pivot, column = h[:, 0, 0], h[:, 1:, 0]
        positive &= pivot > 0
        h = h[:, 1:, 1:] - column[:, :, None] * column[:, None, :] / pivot[:, None, None]
    return positive


def rare(shares, draws):
    """The shares against the exact probabilities, four standard errors."""
    checks = [printed("S59", f"n = {n}: exact probability", EXACT[n], digits) for n, digits in PRINTED.items()]
    known = no_negative(jnp.array([[[2.0, 1.0], [1.0, 2.0]], [[1.0, 2.0], [2.0, 1.0]], [[-2.0, 1.0], [1.0, -2.0]]]))
    name = "eigenvalues 1 and 3, -1 and 3, -1 and -3: which has no negative one"
    checks.append(is_true("S59", name, known.tolist() == [True, False, False]))
    for n, p in EXACT.items():  # what is left, here and below, is the rounding of integrals that cancel
        checks.append(
            at_most("S59", f"n = {n}: ratio of Pfaffians - exact probability", abs(all_positive(n) - p), 1e-9)
        )
    for n in (*SIZES, 6):  # Mehta's integral over all orders of n numbers, of which this is one
        whole = (2 * np.pi) ** (n / 2) * np.prod(gamma(1 + np.arange(1, n + 1) / 2) / gamma(1.5)) / gamma(n + 1)
        ratio = abs(pfaffian(ordered(-12.0, 12.0, n))) / whole
        checks.append(Check("S59", f"n = {n}: Pfaffian over the line, over Mehta's integral", ratio, 1.0, 1e-9))
    checks += [printed("S59", f"n = {n}: that ratio", all_positive(n), digits) for n, digits in RATIOS.items()]
    for n, measured in shares.items():
        p, name = all_positive(n), f"n = {n}: share of {draws} all of whose eigenvalues are positive"
        if error_of_share(p, draws) < p:  # else so few draws do not tell it from 0
            checks.append(Check("S59", name, measured, p, error_of_share(p, draws)))
    for n, seen in DRAWN.items():
        p = all_positive(n)
        checks.append(Check("S59", f"n = {n}: as printed, against {p:.4g}", seen, p, error_of_share(p, DRAWS)))
    return [*checks, is_true("S59", "ever rarer", (np.diff([shares[n] for n in SIZES]) < 0).all())]


def all_positive(n):
    """The probability that all n eigenvalues of the GOE are positive: a Pfaffian over the half line, over the line."""
    return pfaffian(ordered(0.0, 12.0, n)) / pfaffian(ordered(-12.0, 12.0, n))


def ordered(low, high, n):
    """Integrals of (x^i y^j - x^j y^i) exp(-(x^2 + y^2)/2) over low < x < y < high, with a border for odd n."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    y = (high - low) / 2 * nodes[:, None] + (high + low) / 2
    x = (y - low) / 2 * nodes + (y + low) / 2
    inner = np.sum(
        (x[:, :, None] ** np.arange(n)) * ((y - low) / 2 * weights * np.exp(-(x**2) / 2))[:, :, None], axis=1
    )
    outer = y ** np.arange(n) * ((high - low) / 2 * weights[:, None] * np.exp(-(y**2) / 2))
    a = inner.T @ outer
    a = a - a.T
    if n % 2:
        a = np.pad(a, (0, 1))
        a[:n, n] = outer.sum(0)
    return a


def pfaffian(a):
    """By the first row, from what is above the diagonal; the matrices are small."""
    if len(a) == 0:
        return 1.0
    minors = (np.delete(np.delete(a, [0, j], 0), [0, j], 1) for j in range(1, len(a)))
    return sum((-1) ** i * a[0, i + 1] * pfaffian(minor) for i, minor in enumerate(minors))


def mse(params):
    """The mean squared error of the homework's network."""
    return jnp.mean((network_logits(params, X, jax.nn.relu) - Y) ** 2)


def train(seeds):
    """Loss, |g|, Hessian eigenvalues and parameters of the trained networks."""

    def one(key):
        start = network(key, (1, 128, 1))
        # ReLU kinks spread over the interval, as where biases are drawn as well.
        start[0]["b"] = jax.random.uniform(jax.random.fold_in(key, 1), (128,), float, *INTERVAL)
        rate = gdlab.schedules.Join([0.01, gdlab.schedules.Cosine(0.01, 1e-7, POLISHING)], [TRAINING])
        run = gdlab.minimize(mse, gdlab.adam(rate), start, TRAINING + POLISHING, every=POLISHING)
        gradient = jax.grad(mse)(run.params)
        norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient)))
        return mse(run.params), norm, hessian.spectrum(mse, run.params).eigenvalues, run.params

    keys = jax.random.split(jax.random.key(0), SEEDS)[:seeds]
    *found, params = jax.lax.map(one, keys)
    return (*map(np.asarray, found), jax.tree.map(np.asarray, params))


def written_out(layers):
    """The loss, |g| and the eigenvalues of the Hessian of the homework's network, by its formulas.

    With the outputs f = c + sum a_j relu(z_j), z_j = w_j x + b_j, and the residuals r it is
    2 (J.J + sum r f'') / N, where f'' is x for (a_j, w_j) and 1 for (a_j, b_j), both where z_j > 0.
    """
    (w, b), (a, c) = ((layer["w"].ravel(), layer["b"]) for layer in layers)
    x, y = np.asarray(X), np.asarray(Y)[:, 0]
    z = x * w + b
    on = (z > 0).astype(float)
    j = np.hstack([a * x * on, a * on, np.maximum(z, 0), np.ones_like(x)])
    r = np.maximum(z, 0) @ a + c[0] - y
    h, n = j.T @ j, len(w)
    for block, bends in ((0, r @ (x * on)), (n, r @ on)):
        rows = np.arange(n)
        h[block + rows, 2 * n + rows] += bends
        h[2 * n + rows, block + rows] += bends
    return r @ r / len(x), np.linalg.norm(2 * j.T @ r / len(x)), np.linalg.eigvalsh(2 * h / len(x))


def ratios(trained):
    """The raw minimum ratio, and (+, 0, -) with a tolerance (S60)."""
    losses, norms, eigenvalues, params = trained
    x = np.linspace(-1, 1, 128)  # none is 0
    off = farthest(Y[:, 0], np.sin(5 * np.pi * x) / (5 * np.pi * x))
    yield at_most("S60", "the target less sin(5 pi x) / (5 pi x)", off, 1e-12)
    for i in range(len(norms)):
        # Rounding: residuals and slopes are sums that cancel, and eigenvalues are off by roundings of the largest.
        loss, norm, values = written_out(jax.tree.map(lambda leaf, i=i: leaf[i], params))
        yield Check("S60", f"seed {i}: loss over that by the formulas", losses[i] / loss, 1.0, 1e-9)
        yield Check("S60", f"seed {i}: |g| over that by the formulas", norms[i] / norm, 1.0, 1e-9)
        off = farthest(relative(eigenvalues)[i], values / values.max())
        yield at_most("S60", f"seed {i}: 385 eigenvalues - those by the formulas, over the largest", off, 1e-13)
        (_, zeros, _), told = counts(eigenvalues, 1e-12)[:, i], idle(jax.tree.map(lambda leaf, i=i: leaf[i], params))
        yield is_true("S60", f"seed {i}: those that units make zero are, to 1e-12", told <= zeros)
        yield Check("S60", f"seed {i}: share of the zeros that are made so, nine of ten and more", told / zeros, 1, 0.1)
    made = [{"w": np.array([[1.0, 1.0, 1.0, 1.0, 1.0, 1.0]]), "b": np.array([5.0, 6.0, 7.0, -5.0, -6.0, 0.0])}]
    yield exactly("S60", "three units that all turn on, two that none does, and one: zeros", idle(made), 8)
    yield from counted(norms, eigenvalues)


def idle(layers):
    """How many eigenvalues are zero because of units that no example turns on, or that the same examples turn on.

    The output is linear in the kinks: of k units with one set of examples, a move of (w_j, b_j) across the slopes of
    the residuals over that set bends nothing alone, and k - 1 sums of such moves leave the output as it is.
    """
    w, b = (np.ravel(layers[0][name]) for name in "wb")
    on, units = np.unique(np.asarray(X) * w + b > 0, axis=1, return_counts=True)
    return np.where(on.any(0), units - 1, 3 * units).sum()


def relative(eigenvalues):
    """Eigenvalues over the largest of their network."""
    return eigenvalues / eigenvalues.max(axis=1, keepdims=True)


def counts(eigenvalues, tolerance=TOLERANCE):
    """How many eigenvalues of each network are positive, zero and negative, by a tolerance of the largest."""
    values = relative(eigenvalues)
    return np.stack([part.sum(1) for part in (values > tolerance, np.abs(values) <= tolerance, values < -tolerance)])


def counted(norms, eigenvalues):
    """What the ratio says, and what is zero to a tolerance."""
    raw = (eigenvalues > 0).mean(1)
    (plus, zero, minus), (up, exact, _) = counts(eigenvalues), counts(eigenvalues, 1e-12)
    known = np.array([[2, 2e-3, 4e-6, 1e-6, 2e-13, 0, -6e-7, -8e-6]])
    values = relative(eigenvalues)
    not_zero = [sizes[sizes > 1e-12] for sizes in np.abs(values)]
    not_positive = [np.abs(row[row <= 0]) for row in values]
    return (
        at_most(
            "S60",
            "(+, 0, -) of eight eigenvalues that were made up, by 1e-6",
            farthest(counts(known).T, (3, 4, 1)),
            0.0,
        ),
        at_most("S60", "and by 1e-12", farthest(counts(known, 1e-12).T, (4, 2, 2)), 0.0),
        is_true("S60", "|g| < 1e-3, as the homework asks, for all seeds", (norms < 1e-3).all()),
        exactly(
            "S60",
            f"of {len(norms)}, called a local minimum: |g| < 1e-3, ratio > .5",
            ((norms < 1e-3) & (raw > 0.5)).sum(),
            len(norms),
        ),
        is_true("S60", "by their signs with a tolerance all have zeros: degenerate at best", (zero > 0).all()),
        *(  # printed: .54 to .60, zeros counted by the sign of their rounding, which is a coin's
            Check("S60", f"seed {i}: minimum ratio, half of the zeros counted", r, 0.57, 0.03)
            for i, r in enumerate((up + exact / 2) / eigenvalues.shape[1])
        ),
        *(
            is_true("S60", f"seed {i}: counted by 1e-12 of the largest, fewer than half are zero", size > 1e-12)
            for i, size in enumerate(np.median(np.abs(values), 1))
        ),
        is_true(
            "S60",
            "of the others most are by 1e-6: the tolerance's choice",
            all(np.median(sizes) <= TOLERANCE for sizes in not_zero),
        ),
        is_true("S60", "and of those left more bend up than down", (minus < plus).all()),
        is_true(
            "S60",
            "most of what the raw ratio calls negative is zero by that tolerance",
            all(np.median(sizes) <= TOLERANCE for sizes in not_positive),
        ),
    )


def networks(trained):
    """What each network's (+, 0, -) is by two tolerances, beside its loss, |g| and lowest eigenvalue."""
    losses, norms, eigenvalues, _ = trained
    by = [counts(eigenvalues, tolerance).T for tolerance in (1e-12, 1e-6)]
    counted_by = zip(*(["/".join(map(str, each)) for each in of] for of in by), strict=True)
    ends = zip(losses, norms, eigenvalues.min(axis=1), strict=True)
    rows = [
        [f"{i}", *(f"{x:.3g}" for x in end), *each] for i, (end, each) in enumerate(zip(ends, counted_by, strict=True))
    ]
    columns = ("seed", "loss", "|g|", "lowest eigenvalue", "+/0/- by 1e-12 of the largest", "by 1e-6")
    known = f"a loss of {np.mean(Y**2):.3g} knows no x; printed by 1e-6: 47 to 87 % zeros, 0 to 23 % negative ones"
    return Table(f"Trained networks ({known}): shown, not judged", columns, rows)


def draw(shares, draws, trained):
    """The probability of a minimum, and the eigenvalues of the networks."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, (left, right, last) = plt.subplots(1, 3, figsize=(14, 4.2))
    left.plot(
        list(shares), [max(p, 1e-7) for p in shares.values()], "o-", color=figures.PALETTE[0], label=f"{draws} draws"
    )
    exact = {n: all_positive(n) for n in (*SIZES, 6)}
    left.plot(list(exact), list(exact.values()), "x", color=figures.PALETTE[3], markersize=10, label="exact")
    left.set(yscale="log", xticks=(*SIZES, 6), xlabel="dimension n", ylabel="share without a negative eigenvalue")
    left.set_title("random symmetric matrices (GOE)")
    for i, (values, colour) in enumerate(zip(trained[2], figures.PALETTE, strict=False)):
        right.plot(np.arange(values.size), values, ".", color=colour, markersize=3, label=f"network {i}")
    right.set_yscale("symlog", linthresh=1e-8)
    right.axhspan(-TOLERANCE * trained[2].max(), TOLERANCE * trained[2].max(), color="0.9", zorder=0)
    right.set(
        xlabel="place in the spectrum", ylabel="eigenvalue", title="trained networks; grey: zero to the tolerance"
    )
    losses, _, eigenvalues, _ = trained
    for threshold, mark, label in ((0.0, "o", "counted by sign"), (TOLERANCE, "s", "above the tolerance")):
        above = (eigenvalues > threshold * eigenvalues.max(axis=1, keepdims=True)).mean(axis=1)
        last.plot(above, losses, mark, color=figures.PALETTE[0], mfc="none" if threshold else None, label=label)
    last.axvline(0.5, linestyle=":", color="0.5")
    last.set(
        xlim=(0, 1), yscale="log", xlabel="share of positive eigenvalues", ylabel="loss", title="the minimum ratio"
    )
    for axes in (left, right, last):
        axes.legend(fontsize=7)
    return figure
