"""Who stays on the saddle of (1 - w1 w2)^2, and which way leads out of it? (S52-S58)

The network y = w1 w2 x with x = 1 and target 1 has the loss L = (1 - w1 w2)^2: a saddle at the origin, a valley of
minima w1 w2 = 1.  The lectures read the way out off the Hessian: u = (1, 1)/sqrt 2 with eigenvalue -2.  Their rule
"all eigenvalues positive: minimum, otherwise saddle" fails on every minimum of this very example, which has an
eigenvalue 0: the verdict there must be "degenerate".
"""

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
import hessian
from gdlab.problems import surface

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_proved, is_true, printed

QUESTION = "The saddle of (1 - w1 w2)^2: who stays on it, and which way leads out? (S52-S58)"
LOSS = surface("linear_net").loss
ORIGIN = jnp.zeros(2)
RATE, STEPS = 0.1, 400
BESIDE = (0.3, 0.7)
LOWER = {0.01: ".9998", 0.1: ".9801", 0.5: ".5625"}  # the loss at eps (1, 1), as printed
HIGHER = {0.01: "1.0002", 0.1: "1.0201", 0.5: "1.5625"}  # the loss at eps (1, -1)
CASES = {"minimum": (1.0, 3.0), "maximum": (-1.0, -3.0), "saddle": (2.0, -2.0)}  # curvatures


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "saddle", QUESTION, measure)


def measure():
    """The checks and the figure."""
    point, way = hessian.classify(LOSS, ORIGIN), hessian.escape(LOSS, ORIGIN)
    spectrum = hessian.spectrum(LOSS, ORIGIN)
    along = {eps: float(LOSS(jnp.array([eps, eps]))) for eps in LOWER}
    across = {eps: float(LOSS(jnp.array([eps, -eps]))) for eps in HIGHER}
    starts = {
        "0": (0.0, 0.0),
        "1e-3 (1, 1)": (1e-3, 1e-3),
        "(.5, -.5)": (0.5, -0.5),
        "(.5, -.5) + 1e-8": (0.50000001, -0.5),
    }
    paths = {name: descend(start) for name, start in starts.items()}
    checks = [
        at_most("S52", "|g| at 0", point.gradient_norm, 0.0),
        *(exactly("S52", f"eigenvalue {i + 1} at 0", spectrum.eigenvalues[i], (-2.0, 2.0)[i]) for i in (0, 1)),
        at_most("S52", "u but for its sign: products of parts off 1/2", off_the_diagonal(point.lowest.vector), 1e-12),
        *valley((1.0, 1.0), (0.0, 4.0)),
        *valley((2.0, 0.5), (0.0, 8.5)),
        is_true("S53", "0 is a saddle of index 1", point.kind == "saddle" and int(point.index) == 1),
        *proofs(),
        *three_cases(),
        *beside(),
        # The gradient is quadratic along each axis, where central differences are exact: it is rounding over h.
        at_most("S56", "Hessian - finite differences", finite_difference_error(), 2e-10),
        *(exactly("S57", f"L along {eps}(1, 1)", along[eps], (1 - eps**2) ** 2) for eps in along),
        *(printed("S57", f"L along {eps}(1, 1)", along[eps], d) for eps, d in LOWER.items()),
        *(printed("S57", f"L along {eps}(1, -1)", across[eps], d) for eps, d in HIGHER.items()),
        # What the quadratic leaves out is eps^4, to the rounding of numbers near 1.
        Check("S54", "L(.01 (1, 1)) - (1 - 2 eps^2)", along[0.01] - (1 - 2 * 0.01**2), 0.01**4, 1e-15),
        at_most("S57", "gd from 0 moves", np.abs(paths["0"]).max(), 0.0),
        *(
            printed("S57", f"w{i + 1} after 50 steps from 1e-3 (1, 1)", paths["1e-3 (1, 1)"][50, i], ".9989")
            for i in (0, 1)
        ),
        # Along (1, -1) the loss is (1 + e^2)^2, of which a step leaves .8 - .2 e^2 of e, and no rounding turns it.
        at_most(
            "S57",
            "from (.5, -.5): |theta| after 400",
            np.linalg.norm(paths["(.5, -.5)"][-1]),
            0.5**0.5 * 0.8**STEPS,
        ),
        # Of the start's .5 across, .8^100 is left by the time that 1e-8 has grown by 1.2^100.
        at_most("S57", "with + 1e-8: distance to (1, 1)", np.linalg.norm(paths["(.5, -.5) + 1e-8"][-1] - 1), 1e-9),
        exactly("S57", "the escape: curvature along its direction", way.curvature, -2.0),
        at_most("S57", "its direction, likewise", off_the_diagonal(way.direction), 1e-12),
        at_most("S57", "where it leads, less step u", farthest(way.params, way.step * way.direction), 1e-15),
        exactly("S57", "loss before it", way.loss_before, 1.0),
        exactly("S57", "loss where it leads, (1 - w1 w2)^2", way.loss_after, float((1 - way.params.prod()) ** 2)),
        is_true("S57", "which is lower", way.loss_after < way.loss_before),
        at_most("S58", "products alone find u, likewise", off_the_diagonal(by_power_iteration(60)), 1e-12),
        Check(
            "S58", "four of them leave 1 / 5^4 of 7/13, the start's part across u", left_across(), 7 / 13 / 5**4, 1e-12
        ),
    ]
    return checks, lambda: draw(paths, way)


def descend(start):
    """The path of gradient descent, shape (STEPS + 1, 2)."""
    run = gdlab.minimize(LOSS, gdlab.gd(RATE), jnp.array(start), STEPS, record=("params",))
    return np.concatenate([run.history["params"], run.params[None]])


def valley(at, eigenvalues):
    """A minimum in the valley: one eigenvalue is 0, and the verdict must not be minimum or saddle."""
    point = hessian.classify(LOSS, jnp.array(at))
    degenerate = point.kind == "degenerate" and tuple(map(int, point.inertia)) == (1, 1, 0)
    return (
        exactly("S52", f"lower eigenvalue at {at}", point.lowest.value, eigenvalues[0]),
        exactly("S52", f"higher eigenvalue at {at}", point.highest.value, eigenvalues[1]),
        is_true("S53", f"{at} is degenerate, inertia (1, 1, 0)", degenerate),
    )


def off_the_diagonal(u):
    """How far the products of u's parts are from 1/2, those of (1, 1)/sqrt 2 and of its opposite."""
    return farthest(np.outer(u, u), 0.5)


def beside():
    """Where the gradient is not 0 there is no verdict but that: -2 (1 - w1 w2) (w2, w1) by hand (S53)."""
    point, (a, b) = hessian.classify(LOSS, jnp.array(BESIDE)), BESIDE
    return (
        is_true("S53", f"{BESIDE} is not critical", point.kind == "not critical"),
        exactly("S53", "for |g| is 2 |1 - w1 w2| |w|", point.gradient_norm, 2 * (1 - a * b) * (a * a + b * b) ** 0.5),
    )


def proofs():
    """The saddle by ball arithmetic; the valley, whose points are degenerate, is no such theorem."""
    return (
        *is_proved(
            "S53", "0 is proved a saddle of index 1", lambda: hessian.prove(LOSS, ORIGIN), lambda p: p.index == 1
        ),
        *is_proved(
            "S53",
            "and the only critical point in [-.5, .6] x [-.7, .5]",
            lambda: hessian.prove_all(LOSS, [(-0.5, 0.6), (-0.7, 0.5)]),
            lambda found: found.complete and [point.index for point in found.points] == [1],
        ),
        *is_proved(
            "S53", "(1, 1), degenerate, has no record", lambda: hessian.prove(LOSS, jnp.ones(2)), lambda p: not p.proved
        ),
    )


def three_cases():
    """v.Hv along 1000 directions, both axes among them, at a minimum, a maximum and a saddle, and the verdicts."""
    phi = np.pi / 1000 * np.arange(1000)
    directions = np.stack([np.cos(phi), np.sin(phi)], 1)

    def bowl(w, curvatures):
        return curvatures @ w**2 / 2

    @jax.jit
    def products(curvatures):
        return jax.vmap(hessian.hvp(bowl, ORIGIN, curvatures))(jnp.asarray(directions))

    u, v = directions[::2], directions[1::2]
    for kind, (a, b) in CASES.items():
        curvatures = jnp.array([a, b])
        hv = np.asarray(products(curvatures))
        quotients = (directions * hv).sum(1)
        low, high = sorted((a, b))
        off = farthest(quotients, a * directions[:, 0] ** 2 + b * directions[:, 1] ** 2)
        yield at_most("S55", f"{kind}: 1000 v.Hv less a v1^2 + b v2^2", off, 1e-14)
        yield is_true(
            "S53", f"curvatures {a:g}, {b:g}: {kind}", hessian.classify(bowl, ORIGIN, curvatures).kind == kind
        )
        yield exactly("S55", f"{kind}: the least v.Hv of 1000", quotients.min(), low)
        yield exactly("S55", f"{kind}: and the greatest", quotients.max(), high)
    hv = np.asarray(jax.vmap(hessian.hvp(LOSS, jnp.array(BESIDE)))(jnp.asarray(directions)))
    yield at_most("S56", "u.Hv - v.Hu at (.3, .7)", np.abs((u * hv[1::2]).sum(1) - (v * hv[::2]).sum(1)).max(), 1e-14)


def finite_difference_error(h=1e-5):
    """How far the Hessian at (.3, .7) is from central differences of the gradient."""
    at, gradient = jnp.array(BESIDE), jax.grad(LOSS)
    columns = jax.vmap(hessian.hvp(LOSS, at))(jnp.eye(2))
    differences = jnp.stack([(gradient(at + h * e) - gradient(at - h * e)) / (2 * h) for e in jnp.eye(2)])
    return farthest(columns, differences)


def left_across():
    """The part across u, over that along it, after four products with H - 3 I, whose eigenvalues are -5 and -1."""
    a, b = by_power_iteration(4)
    return float((a - b) / (a + b))


def by_power_iteration(products):
    """The v that `products` Hessian products find, by power iteration on H - 3 I."""
    hv = hessian.hvp(LOSS, ORIGIN)
    v = jnp.array([1.0, 0.3])
    for _ in range(products):
        v = hv(v) - 3 * v
        v /= jnp.linalg.norm(v)
    return v


def draw(paths, way):
    """The surface, the paths, and the loss along the two eigenvectors."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, (left, right, last) = plt.subplots(1, 3, figsize=(14, 4.4))
    figures.contours(LOSS, ((-2.0, 2.0), (-2.0, 2.0)), ax=left)
    w = np.linspace(0.5, 2, 99)
    for sign in (1, -1):
        left.plot(
            sign * w, sign / w, "-", color="#009E73", linewidth=1.2, label="valley of minima" if sign == 1 else None
        )
    for (name, path), colour, width in zip(paths.items(), figures.PALETTE, (7, 5, 3, 1), strict=False):
        left.plot(*path.T, ".-", color=colour, markersize=width + 2, linewidth=width, label=f"gd from {name}")
    figures.critical_points([((0.0, 0.0), "saddle")], ax=left)
    figures.way_out(np.zeros(2), np.asarray(way.direction), np.asarray(way.params), np.asarray(way.params), ax=left)
    left.set(xlabel="$w_1$", ylabel="$w_2$", title="gradient descent, rate .1, 400 steps")
    left.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
    eps = jnp.linspace(-0.6, 0.6, 121)
    for towards, label, colour, sign in (
        ((1.0, 1.0), "along (1, 1)", "#D55E00", -1),
        ((1.0, -1.0), "along (1, -1)", "#0072B2", 1),
    ):
        right.plot(eps, jax.vmap(LOSS)(eps[:, None] * jnp.array(towards)), color=colour, label=label)
        right.plot(eps, 1 + sign * 2 * eps**2, ":", color=colour, label=f"1 {'+' if sign > 0 else '-'} 2 eps$^2$")
    right.set(xlabel="eps", ylabel="loss", title="the loss along the eigenvectors of the saddle")
    phi = np.linspace(0, 2 * np.pi, 181)
    for (kind, (a, b)), colour in zip(CASES.items(), figures.PALETTE, strict=False):
        last.plot(
            np.degrees(phi), a * np.cos(phi) ** 2 + b * np.sin(phi) ** 2, color=colour, label=f"{kind}: {a:g}, {b:g}"
        )
    last.axhline(0, color="0.5", linewidth=0.8)
    last.set(
        ylim=(-3.4, 4.2),
        xticks=range(0, 361, 90),
        xlabel="direction of v (degrees)",
        ylabel="v.Hv",
        title="three cases, by eigenvalues",
    )
    right.legend(fontsize=7)
    last.legend(fontsize=7, ncols=3, loc="upper center")
    return figure
