"""Why is Adam's first thousand steps' rate uncertain, and what does RAdam do about it? (S18, S93, S94; section 3.7)

With Gaussian gradients the adaptive rate psi = 1 / sigma has no variance at the first two steps, and later one that
falls only as sigma averages more gradients.  RAdam counts them, rho_t, and multiplies the rate by r_t, so that the
variance of r_t psi is nearly the same from some 20 steps on; while rho_t <= 4 the variance does not exist and it makes
steps of momentum.  The closed form of the variance is checked by drawing; its Taylor expansion, from which r_t comes,
is poor below rho = 20.
"""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import betaln, gamma, softmax

import gdlab

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true, printed
from ..reporting.run_folder import Table

QUESTION = "Why is the rate of Adam's first steps uncertain, and what does RAdam do about it? (S18, S93, S94)"
B2 = 0.999
COUNTS = {2: "1.9995", 3: "2.9987", 4: "3.9975", 5: "4.99600", 6: "5.99416"}  # rho_t, as printed
FACTORS = {5: ".01731", 6: ".02582", 10: ".049", 100: ".2153", 1000: ".6453", 5000: ".9829"}  # r_t
EXPANSIONS = {5: ".833", 6: ".375", 10: ".104", 20: ".0347", 50: ".01132", 100: ".005315"}  # of the variance
PRINTED = {5: ".246", 10: ".0766", 100: ".0052", 1000: "5.3e-4"}  # the variance of psi
LANES = 20_000
LOOKED = (2, 3, 5, 10, 20, 50, 100, 300, 1000)


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "radam", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks and the figure."""
    counts, factors = read(B2, 5000)
    runs = 1 if quick else 5
    spread = spreads(runs)
    checks = [
        *tables(counts, factors),
        *variances(),
        *flat(spread, runs * LANES, factors),
        *first_steps(),
    ]
    return checks, lambda: draw(counts, factors, spread), as_printed(spread), against_swats()


def against_swats():
    """The lecture's table of the two that switch (S94)."""
    return Table(
        "Two that switch, as the lecture sets them side by side",
        ("", "RAdam", "SWATS"),
        [
            ["begins as", "descent with momentum", "Adam"],
            ["goes on as", "Adam times r_t", "descent with momentum"],
            ["why", "the first sigmas are of too few gradients", "to converge, and to generalise"],
            ["when", "rho_t > 4: step 5 for b2 = .999", "its estimate of the rate settles"],
            ["checked in", "radam, S18", "switching, S87"],
        ],
    )


def read(b2, steps):
    """rho_t and r_t as the optimizer knows them, from t = 1."""
    run = gdlab.minimize(lambda x: x, gdlab.radam(1e-3, b2=b2), 0.0, steps, record=("extras",))
    return np.asarray(run.history["extras"]["rho"]), np.asarray(run.history["extras"]["r"])


def tables(counts, factors):
    """rho_t and r_t as printed, and by their formulas."""
    t, limit = np.arange(1, 5001), 2 / (1 - B2) - 1
    rho = limit - 2 * t * B2**t / (1 - B2**t)
    late = rho[4:]
    r = np.sqrt((late - 4) * (late - 2) * limit / ((limit - 4) * (limit - 2) * late))
    (few,), (small,) = (values[[4]] for values in read(0.9, 5))
    return (
        Check("S94", "rho_1, 1 by its formula, to the rounding of 1999 - 1998", counts[0], 1.0, 1e-9),
        *(printed("S94", f"rho_{n}", counts[n - 1], digits) for n, digits in COUNTS.items()),
        *(printed("S94", f"r_{n}", factors[n - 1], digits) for n, digits in FACTORS.items()),
        # Rounding as at rho_1: what r_t adds to it is smaller.
        at_most("S94", "rho_t - its formula, relative", np.abs(counts / rho - 1).max(), 1e-9),
        at_most("S94", "r_t - its formula", np.abs(factors[4:] - r).max(), 1e-9),
        exactly("S94", "the first t with rho_t > 4", 1 + int(np.argmax(counts > 4)), 5),
        exactly("S94", "the first t with rho_t > 5, where others begin", 1 + int(np.argmax(counts > 5)), 6),
        is_true("S94", "b2 = .9: rho_5 is above 4", few > 4),
        printed("S94", "b2 = .9: r_5", small, ".156"),
    )


def variance(rho):
    """The variance of the root of rho / chi^2_rho."""
    return rho / (rho - 2) - rho * 2 ** (2 * rho - 5) / np.pi * np.exp(2 * betaln((rho - 1) / 2, (rho - 1) / 2))


def expansion(rho):
    """What the variance is near for a large rho, and what r_t is made from."""
    return rho / (2 * (rho - 2) * (rho - 4))


def summed(rho):
    """The variance of psi = (rho / x)^(1/2) and the deviation of one square, by sums over the density of x = e^u.

    x is chi^2 with rho degrees of freedom.
    """
    u = np.linspace(-40, 8, 6001)  # beyond these ends the density is below 1e-16 for rho from 5 to 400
    weights = softmax(rho / 2 * u - np.exp(u) / 2)
    psi = np.sqrt(rho) * np.exp(-u / 2)
    squares = (psi - weights @ psi) ** 2
    spread = weights @ squares
    return spread, np.sqrt(weights @ (squares - spread) ** 2)


def variances():
    """The closed form against sums over the density, and its expansion rho / (2 (rho - 2) (rho - 4))."""
    checks = []
    for rho, digits in EXPANSIONS.items():
        ratio = summed(rho)[0] / float(variance(rho))
        checks.append(
            Check(
                "3.7", f"rho = {rho}: variance of psi, summed over its density, over the closed form", ratio, 1.0, 1e-9
            )
        )  # a difference of numbers near 1 leaves 1e-13
        checks.append(printed("3.7", f"rho = {rho}: its expansion", expansion(rho), digits))
    excess = {rho: expansion(rho) / summed(rho)[0] - 1 for rho in (*EXPANSIONS, 200, 400)}
    # In powers of 1/rho the expansion is 1/2, 3, ... and the variance 1/2, 15/8, ...: apart by 9/4 of the first term.
    # Of the two at 200 and 400 the next term cancels, and twice the one after it is left, 297/8 by 400^2; a tenth of
    # that is allowed for all others.
    limit = 2 * 400 * excess[400] - 200 * excess[200]
    return [
        *checks,
        is_true("3.7", "the expansion is too large at every rho, the less the larger", falling(excess.values())),
        Check("3.7", "its relative excess times rho, for rho without end", limit, 9 / 4, 1.1 * 2 * 297 / 8 / 400**2),
    ]


def falling(values):
    """Whether values are positive and fall."""
    values = np.array([*values])
    return (values > 0).all() and (np.diff(values) < 0).all()


def spreads(runs):
    """The variance of psi over Gaussian gradients at some steps."""

    def inverse(key):
        g = jax.random.normal(key, (LOOKED[-1], LANES))

        def step(nu, row):
            return (B2 * nu + (1 - B2) * row**2,) * 2

        _, nu = jax.lax.scan(step, jnp.zeros(LANES), g)
        t = jnp.array(LOOKED)
        return jnp.sqrt((1 - B2**t) / nu[t - 1].T).T

    psi = [jax.jit(inverse)(key) for key in jax.random.split(jax.random.key(0), runs)]
    return np.concatenate(psi, axis=1).var(axis=1)


def averaged(count):
    """The weights of so many squared gradients in their debiased average."""
    return (1 - B2) * B2 ** np.arange(count) / (1 - B2**count)


def integrated(weights):
    """The variance of psi = v^(-1/2) for v = sum w_j z_j^2, and the deviation of one square.

    Without drawing: the mean of v^(-s) is the integral of l^(s - 1) E e^(-l v) over l > 0 by Gamma(s), and E e^(-l v)
    is the product of (1 + 2 l w_j)^(-1/2); here with l = e^u.  That of psi^4 exists from 5 gradients on.
    """
    u = np.linspace(-80, 60, 4001)
    transform = np.exp(-sum(np.log1p(2 * np.exp(u) * w) for w in weights) / 2)
    powers = ((np.exp(k / 2 * u) * transform).sum() * (u[1] - u[0]) / gamma(k / 2) for k in (1, 2, 3, 4))
    mean, square, third, fourth = powers
    spread = square - mean**2
    return spread, np.sqrt(fourth - 4 * mean * third + 6 * mean**2 * square - 3 * mean**4 - spread**2)


def flat(spread, draws, factors):
    """Var(psi) falls by orders of magnitude, Var(r psi) hardly moves (S93)."""
    exact = {t: integrated(averaged(t)) for t in LOOKED if t >= 5}  # below, draws have no standard error
    drawn = dict(zip(LOOKED, spread, strict=True))
    return (
        at_most(
            "3.7",
            "psi of 10 gradients of one weight: variance and deviation, integrated over summed, less 1",
            farthest(np.divide(integrated(np.full(10, 0.1)), summed(10)), 1.0),
            1e-9,
        ),
        # Of n draws the mean square is about log n - .58, and the squared mean is pi: 6.2 of 20 000, more of more.
        is_true("S93", "Var psi at t = 2 is above 5 (its mean square does not exist)", drawn[2] > 5),
        *(
            Check(
                "3.7",
                f"Var psi at t = {t}, drawn over integrated: four standard errors, integrated as well",
                drawn[t] / due,
                1.0,
                4 * deviation / due / np.sqrt(draws),
            )
            for t, (due, deviation) in exact.items()
        ),
        printed("3.7", "Var psi at t = 100, integrated", exact[100][0], PRINTED[100]),
        *(  # printed: 2.2 to 2.4e-4
            Check("3.7", f"Var (r psi) at t = {t}, integrated", due * factors[t - 1] ** 2, 2.3e-4, 0.15e-4)
            for t, (due, _) in exact.items()
            if t >= 20
        ),
    )


def as_printed(spread):
    """The printed variances beside ours: they were drawn, how many times is not said."""
    drawn = dict(zip(LOOKED, spread, strict=True))
    rows = [[f"{t}", digits, f"{drawn[t]:.4g}", f"{integrated(averaged(t))[0]:.4g}"] for t, digits in PRINTED.items()]
    return Table("Var psi, of unlike draws: not judged but at 100", ("t", "printed", "drawn here", "integrated"), rows)


def first_steps():
    """RAdam's first four steps are those of momentum, from the fifth on they are Adam's times r."""
    grads = jax.random.normal(jax.random.key(3), (10, 3))

    def moves(optimizer):
        run = gdlab.minimize(jnp.vdot, optimizer, jnp.zeros(3), 10, batches=grads, record=("update",))
        return np.asarray(run.history["update"])

    ours, t = moves(gdlab.radam(0.1)), np.arange(1, 11)
    m, v = (  # the debiased averages, as sums over all gradients so far
        np.tril((1 - b) * b ** (t[:, None] - t).clip(0)) @ np.asarray(grads) ** power / (1 - b ** t[:, None])
        for b, power in ((0.9, 1), (B2, 2))
    )
    adams = -0.1 * m / (np.sqrt(v) + 1e-8)
    _, factors = read(B2, 10)
    return (
        at_most("S18", "steps 1-4 + eta m, debiased", np.abs(ours[:4] + 0.1 * m[:4]).max(), 1e-15),
        at_most("S18", "steps 5-10 - r times Adam's", np.abs(ours[4:] - factors[4:, None] * adams[4:]).max(), 1e-12),
    )


def draw(counts, factors, spread):
    """rho and r, the variances over the steps, the closed form beside its expansion."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4))
    t = np.arange(1, 5001)
    left.plot(t, counts, color=figures.PALETTE[0], label="$\\rho_t$: how many gradients sigma is worth")
    left.plot(t[4:], factors[4:], color=figures.PALETTE[3], label="$r_t$: what the rate is multiplied by")
    left.axhline(4, linestyle=":", color="black", linewidth=0.8)
    left.set(xscale="log", yscale="log", xlabel="step t", ylabel="$\\rho_t$, $r_t$", title="b2 = .999; dotted: 4")
    middle.plot(LOOKED, spread, "o-", color=figures.PALETTE[0], label="Var $\\psi_t$ (Adam)")
    late = np.array(LOOKED[2:])
    middle.plot(
        late, spread[2:] * factors[late - 1] ** 2, "s-", color=figures.PALETTE[3], label="Var $r_t \\psi_t$ (RAdam)"
    )
    middle.set(
        xscale="log", yscale="log", xlabel="step t", ylabel="variance over 100 000 runs", title="Gaussian gradients"
    )
    rho = np.geomspace(4.2, 100, 200)
    right.plot(rho, variance(rho), color=figures.PALETTE[0], label="closed form")
    right.plot(rho, expansion(rho), "--", color=figures.PALETTE[1], label="Taylor expansion")
    right.set(
        xscale="log", yscale="log", xlabel="$\\rho$", ylabel="Var $\\psi$", title="the variance and what r is made from"
    )
    for axes in (left, middle, right):
        axes.legend(fontsize=7)
    return figure
