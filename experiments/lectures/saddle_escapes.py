"""Who leaves a saddle, where does he arrive, and at what price? (S57, S58, S65)

Saddles of the literature's test problems, found by a search of critical points.  Every method starts exactly on each,
1e-8 beside it, 1e-2 away along positive eigenvectors only (its stable manifold), and where the problem's authors start.

It counts where a second-order point is reached, |g| <= 1e-6 max(1, |H|) and lambda_1 >= -1e-6 max(|H|, 1e-3), computed
afresh from the dense Hessian; and the price in gradients: the loss with its gradient 1, a product with the Hessian 2 (a
dense Hessian of n parameters 2 n), the loss alone 1/2.  Methods that take only the gradient cannot know a saddle from a
minimum; scipy's do not move at all where the gradient is below their tolerance, its second-order ones included.  A
trust region that starts with one look at the whole Hessian, and then learns its changes from gradients, leaves every
saddle, exactly on it as well.  How many starts near saddles each method leaves, and at what price, stands in a table:
ours pays less than trust-exact in sum and in the median, but not on every problem, and the problems are few.
"""

import warnings
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import gdlab
import hessian

from ..cli.settings import Experiment
from ..reporting.checks import at_most, conclude, exactly, farthest
from ..reporting.run_folder import Table
from ..workloads.cutest import PROBLEMS

QUESTION = "Who leaves a saddle, where does he arrive, and at what price? (S57, S58, S65)"
SADDLES = 3  # of each problem, at most
QUICK = ("humps",)
PLACES = ("on", "beside", "stable manifold", "official")
SCIPY = ("trust-exact", "trust-krylov", "trust-ncg", "Newton-CG", "BFGS", "L-BFGS-B", "CG")
GTOL = 1e-6  # of scipy's methods, in a norm of the gradient; Newton-CG has a tolerance of its own
NORMS = dict.fromkeys(SCIPY[:3], 2.0) | dict.fromkeys(SCIPY[4:], np.inf)
LONG, SHORT = 4000, 200  # steps of methods that see the gradient only, and of those that see curvature
OURS = "arrive"


class Row(NamedTuple):
    """What became of one start."""

    method: str
    place: str
    reached: bool  # a second-order point
    false: bool  # claimed, though not reached
    price: float
    small: bool = False  # whether the gradient at the start is below the method's tolerance
    stayed: bool = False
    slope: float = 0.0  # of the start, over max(1, |H|)


class Outcome(NamedTuple):
    """Where one run ended."""

    theta: np.ndarray
    price: float  # in gradients
    claimed: bool  # whether the method says that it arrived


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "saddle_escapes", QUESTION, lambda: measure(settings.quick))


def measure(quick):
    """The checks, the figure, and a table of what is shown but not judged."""
    names, humps = QUICK if quick else tuple(PROBLEMS), PROBLEMS["humps"]
    contests = {name: contest(name, quick) for name in names}
    rows = [row for of_problem in contests.values() for row in of_problem]
    without = [name for name, of_problem in contests.items() if not of_problem]
    about = [
        all_have_saddles(without),
        *judged(),
        *priced(),
        *billed(*humps),
        billed_to_ours(),
        *paired(),
        of_humps(),
        *placed(*humps),
    ]
    return [*about, *checks(rows), *halted(rows)], lambda: draw(rows), counts(rows, len(names) - len(without))


def all_have_saddles(without):
    """The contest is held on every problem but one: Box's has no saddle within what is tried."""
    return exactly("S57", "problems without a saddle, box_3d left out", len(set(without) - {"box_3d"}), 0)


def derivatives(loss):
    """The loss, its gradient and its Hessian, compiled."""
    return jax.jit(loss), jax.jit(jax.grad(loss)), jax.jit(jax.hessian(loss))


def contest(name, quick):
    """All methods from all starts of a problem."""
    loss, official = PROBLEMS[name]
    value, gradient, matrix = derivatives(loss)
    starts = places(loss, matrix, official, SADDLES)
    if len(starts) == 1:
        return []  # no saddle was found
    slopes = [np.linalg.norm(gradient(x)) / np.maximum(1, np.linalg.norm(matrix(x), 2)) for _, x in starts]
    methods = {OURS: arriving(loss), **stepping(loss, quick), **scipys(value, gradient, matrix)}
    rows = []
    for method, run in methods.items():
        for (place, start), slope in zip(starts, slopes, strict=True):
            end = run(start)
            good = second_order(gradient, matrix, end.theta)
            small = method in NORMS and bool(np.linalg.norm(gradient(start), NORMS[method]) < GTOL)
            row = Row(
                method=method,
                place=place,
                reached=good,
                false=end.claimed and not good,
                price=end.price,
                small=small,
                stayed=np.array_equal(end.theta, start),
                slope=float(slope),
            )
            rows.append(row)
    return rows


def places(loss, matrix, official, saddles):
    """The starts, with where each is."""
    rng, n = np.random.default_rng(0), official.size
    around = official + rng.normal(size=(15, n)) * (1 + np.abs(official))
    tried = np.concatenate([official[None], around, rng.uniform(-2, 2, size=(15, n))])
    found = hessian.find_critical_points(loss, jnp.asarray(tried), steps=100)
    starts = [("official", official)]
    for x in np.asarray(found.params)[found.kind == "saddle"][:saddles]:
        values, vectors = np.linalg.eigh(matrix(x))
        up = vectors[:, values > 1e-9 * np.abs(values).max()]
        beside, along = rng.normal(size=n), up @ rng.normal(size=up.shape[1])
        starts += [
            ("on", x),
            ("beside", x + 1e-8 * beside / np.linalg.norm(beside)),
            ("stable manifold", x + 1e-2 * along / np.linalg.norm(along)),
        ]
    return starts


def of_humps():
    """The quick size's problem at 100 places, where sin^2 sin^2 = (cos(a - b) - cos(a + b))^2 / 4, in NumPy."""
    places = np.random.default_rng(1).normal(size=(100, 2))
    (a, b), (loss, _) = 20 * places.T, PROBLEMS["humps"]
    due = (places**2).sum(1) / 20 + (np.cos(a - b) - np.cos(a + b)) ** 2 / 4
    return at_most("S57", "humps at 100 places - NumPy's", farthest(jax.vmap(loss)(places), due), 1e-12)


def placed(loss, official):
    """The starts at saddles: how many, how far from the first, and its last one along no negative eigenvector."""
    matrix = jax.jit(jax.hessian(loss))
    _, *beside_it = places(loss, matrix, official, SADDLES)
    yield exactly("S57", f"starts at {SADDLES} saddles", len(beside_it), 3 * SADDLES)
    (_, on), (_, beside), (_, along) = beside_it[:3]
    _, vectors = np.linalg.eigh(matrix(on))
    size = np.abs(on).max() * 1e-15  # a rounding of the places
    yield at_most("S57", "beside it: distance less 1e-8", abs(np.linalg.norm(beside - on) - 1e-8), 10 * size)
    yield at_most("S57", "on its stable manifold: distance less .01", abs(np.linalg.norm(along - on) - 0.01), 10 * size)
    yield at_most("S57", "and along the lowest eigenvector", abs(vectors[:, 0] @ (along - on)), 10 * size)


def second_order(gradient, matrix, theta):
    """Whether gradient and curvature are those of a second-order point."""
    g, h = np.asarray(gradient(theta)), np.asarray(matrix(theta))
    if not (np.isfinite(g).all() and np.isfinite(h).all()):
        return False
    values = np.linalg.eigvalsh(h)
    size = np.abs(values).max()
    return bool(np.linalg.norm(g) <= 1e-6 * max(1, size) and values[0] >= -1e-6 * max(size, 1e-3))


def judged():
    """The judge of ends, at points whose gradient and curvatures are given: on either side of each of its bounds."""
    cases = {  # |g|, the curvatures, and whether they are those of a second-order point
        "a minimum": (0.0, (1.0, 2.0), True),
        "a saddle": (0.0, (1.0, -1.0), False),
        "flat to rounding": (0.0, (1.0, -0.9e-6), True),
        "bent down a little": (0.0, (1.0, -1.1e-6), False),
        "a small Hessian, bent down a little": (0.0, (1e-2, -1.1e-8), False),
        "one so small that it is none": (0.0, (1e-4, -0.9e-9), True),
        "a slope as small as is allowed": (0.9e-6, (0.5, 1.0), True),
        "a larger slope": (1.1e-6, (0.5, 1.0), False),
        "a slope beside a large curvature": (0.9e-4, (1.0, 100.0), True),
        "a larger one": (1.1e-4, (1.0, 100.0), False),
        "no number": (np.nan, (1.0, 1.0), False),
    }
    for name, (slope, curvatures, due) in cases.items():
        said = second_order(lambda _, g=slope: np.array([g, 0.0]), lambda _, c=curvatures: np.diag(c), None)
        yield exactly("S57", f"{name}: counted as a second-order point", said, float(due))


def price(gradients, products, values):
    """In gradients: of gradients with their losses, of products with the Hessian, and of losses alone."""
    return gradients + 2 * products + values / 2


def priced():
    """Three of each: a gradient with its loss 1, a product with the Hessian 2, the loss alone 1/2."""
    for name, counts, due in (("gradient", (3, 0, 0), 3.0), ("product", (0, 3, 0), 6.0), ("loss", (0, 0, 3), 1.5)):
        yield exactly("S58", f"the price of 3: {name}", price(*counts), due)


def billed_to_ours():
    """The price of an end that tells of 3 gradients, 4 products and 10 losses."""
    end = SimpleNamespace(gradients=3, num_matvecs=4, evaluations=10)
    return exactly("S58", f"{OURS}: the price of 3 gradients, 4 products and 10 losses", price_of_end(end), 16.0)


def price_of_end(end):
    """The price of ours, by the counts that its end tells."""
    return price(end.gradients, end.num_matvecs, end.evaluations)


def paired():
    """Prices are compared where both arrive: here from the second start of three."""
    ends = {OURS: ((True, 1.0), (True, 2.0), (False, 3.0)), "CG": ((False, 4.0), (True, 5.0), (True, 6.0))}
    made = [Row(name, "on", good, not good, paid) for name in ends for good, paid in ends[name]]
    counted = [summary(made)[name]["on"] for name in ends]
    yield at_most(
        "S58", "of three starts both arrive from one, at 2 and at 5", farthest(prices(made, "CG"), (2, 5)), 0.0
    )
    yield at_most("S57", "of three ends two are reached and one is claimed falsely", farthest(counted, (3, 2, 1)), 0.0)


def arriving(loss):
    """The way down that ends with a certificate."""

    @jax.jit
    def ended(theta):
        end = hessian.find_minimum(loss, theta, finish=5000)  # the valley of biggs_exp6 takes some 2,000 steps
        return end.params, price_of_end(end), end.converged

    def run(theta):
        params, paid, arrived = ended(jnp.asarray(theta))
        return Outcome(np.asarray(params), float(paid), bool(arrived))

    return run


class Counted:
    """A function that counts its calls."""

    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, x):
        self.calls += 1
        return np.asarray(self.function(x))


def scipys(*functions):
    """The methods of scipy.optimize.minimize, told to go as far as they can within 1000 iterations."""
    return {method: lambda theta, method=method: by_scipy(method, theta, *functions)[0] for method in SCIPY}


def by_scipy(method, theta, *functions):
    """The outcome of a method of scipy, and scipy's own account; a Hessian is n products, a gradient has its loss."""
    from scipy.optimize import minimize

    value, gradient, matrix = map(Counted, functions)
    options = {"maxiter": 1000} | ({"gtol": GTOL} if method in NORMS else {})
    more = {"hess": matrix} if method.startswith("trust") or method == "Newton-CG" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        end = minimize(lambda x: float(value(x)), theta, jac=gradient, method=method, options=options, **more)
    paid = price(gradient.calls, theta.size * matrix.calls, value.calls - gradient.calls)
    return Outcome(end.x, paid, bool(end.success)), end


def billed(loss, official):
    """Prices, counted by us, against scipy's own counts; in those of two methods the first Hessian is left out."""
    functions = derivatives(loss)
    for method in SCIPY:
        if method not in ("trust-krylov", "trust-ncg"):
            outcome, said = by_scipy(method, official, *functions)
            due = said.njev + 2 * official.size * said.get("nhev", 0) + (said.nfev - said.njev) / 2
            yield exactly("S58", f"{method} on the humps: the price, by scipy's counts", outcome.price, due)


def stepping(loss, quick):
    """Optimizers for a fixed number of steps; their prices are not compared, as they do not know when to stop."""
    gd, adam = gdlab.gd(1e-3), optax.adam(1e-2)
    found = {
        "escaping(adam)": (hessian.with_saddle_escape(adam), LONG),
        "trust_region": (hessian.trust_region(), SHORT),
        "newton_cg": (hessian.newton_cg(), SHORT),
        "perturbed": (hessian.perturbed_gd(1e-3, radius=1e-2, threshold=1e-3), LONG),
        "optax.adam": (adam, LONG),
        "optax.lbfgs": (optax.lbfgs(linesearch=optax.scale_by_zoom_linesearch(20, tol=1e-12)), SHORT),
        "optax.noisy_sgd": (optax.noisy_sgd(1e-3, eta=1e-4, key=jax.random.key(0)), LONG),
        "gd": (gd, LONG),
    }

    def running(optimizer, steps):
        descend = jax.jit(lambda theta: gdlab.minimize(loss, optimizer, theta, steps, record=()).params)
        return lambda theta: Outcome(np.asarray(descend(jnp.asarray(theta))), float(steps), False)

    chosen = ("escaping(adam)", "optax.adam") if quick else found
    return {name: running(*found[name]) for name in chosen}


def summary(rows):
    """Of each method: how many starts at each place, how many second-order points, and false claims."""
    table: dict[str, dict[str, tuple[int, int, int]]] = {}
    for row in rows:
        many, reached, wrong = table.setdefault(row.method, {}).get(row.place, (0, 0, 0))
        table[row.method][row.place] = (many + 1, reached + row.reached, wrong + row.false)
    return table


def prices(rows, other):
    """Prices of ours and of another method at the starts from which both reach a second-order point."""
    ours, others = ([row for row in rows if row.method == method] for method in (OURS, other))
    pairs = [(a.price, b.price) for a, b in zip(ours, others, strict=True) if a.reached and b.reached]
    return np.array(pairs).reshape(-1, 2)


def checks(rows):
    """What ours reached."""
    ours = summary(rows)[OURS]
    return (
        *(
            exactly("S57", f"{OURS}, {place}: second-order points of {many}", good, many)
            for place, (many, good, _) in ours.items()
        ),
        exactly("S57", f"{OURS}: claims at other points", sum(false for _, _, false in ours.values()), 0),
        at_most(  # as of a second-order point
            "S57", "starts on a saddle: the largest |g| / max(1, |H|)", slope_on(rows), 1e-6
        ),
    )


def slope_on(rows):
    """The largest slope of the starts on saddles."""
    return np.max([row.slope for row in rows if row.place == "on"])


def halted(rows):
    """Where the gradient is below the tolerance of scipy's methods none moves (S65)."""
    for method in NORMS:
        stays = [row.stayed for row in rows if row.method == method and row.small]
        name = f"{method}: stays where |g| is below its tolerance"
        yield exactly("S65", f"{name}, of {len(stays)}", sum(stays), max(len(stays), 1))


def counts(rows, problems):
    """Second-order points that each method reached on so many problems, by where it started."""
    shown = []
    for method, found in summary(rows).items():
        each = [found.get(place, (0, 0, 0)) for place in PLACES]
        paid = prices(rows, method).T if method in SCIPY else np.zeros((2, 0))
        over = [f"{of(paid[1]) / of(paid[0]):.2g}" if paid.size else "" for of in (np.sum, np.median)]
        false = f"{sum(wrong for *_, wrong in each)}"
        shown.append([method, *(f"{good} of {many}" for many, good, _ in each), false, *over])
    title = f"Second-order points reached on {problems} problems, by start; the price over {OURS}'s where both arrive: "
    title += "shown, not judged"
    return Table(title, ("method", *PLACES, "false claims", "price, in sum", "in the median"), shown)


def draw(rows):
    """Reached points by place, and prices against trust-exact's."""
    from ..reporting import figures
    from ..reporting.figures import plt

    table = summary(rows)
    figure, (left, right) = plt.subplots(1, 2, figsize=(12, 4.6))
    order = list(table)[::-1]
    before = np.zeros(len(order))
    for place, colour, hatch in zip(PLACES, figures.PALETTE, figures.HATCHES, strict=False):
        many = np.array([table[method].get(place, (0, 0, 0))[1] for method in order])
        left.barh(order, many, left=before, color=colour, hatch=hatch, edgecolor="white", label=place)
        before += many
    left.axvline(sum(place[0] for place in table[OURS].values()), color="0.4", linestyle=":")
    left.set(xlabel="second-order points reached (dotted: all starts)", title="who leaves, by where he starts")
    left.legend(fontsize=7, loc="lower right")
    for other, colour, mark in zip(("trust-exact", "trust-ncg", "BFGS"), figures.PALETTE, "osD", strict=False):
        if other in table:
            paid = prices(rows, other)
            right.loglog(paid[:, 1], paid[:, 0], mark, color=colour, alpha=0.6, label=other)
    ends = np.array(right.get_xlim())
    right.loglog(ends, ends, color="0.4", linestyle=":")
    right.set(xlabel="price of another method, in gradients", ylabel=f"price of {OURS}", title="where both arrive")
    right.legend(fontsize=7)
    return figure
