"""Why does the gradient point the way, and how far may one go? (S54, S66-S72)

Near a point a function is its Taylor polynomial: the sine about pi/4 up to order 10, two variables with an error of
order 2 or 3.  On a small circle |delta| = d the linear part is least at -d g / |g|; the true minimum on the circle
lies an angle ~ d beside it, found here by trying 10 800 directions.  The lectures' angles, 3.75 degrees at d = 1 to
.0160 at .01, belong to a surface that is not named; on the one below the angles shrink in the same way, tenfold for
each tenth of d.  (Note 000 writes the circle without the square on theta_2 - b, and 004 a = -eta b
with step and gradient reversed.)

Jumping to the lowest point of the circle again and again is normalised descent: with a fixed d it
never arrives.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
import hessian
from gdlab.problems import POKEMON_OPTIMUM, POKEMON_START, pokemon, pokemon_loss, surface

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, exactly, farthest, is_true, printed

QUESTION = "Why does the gradient point the way, and how far may one go? (S54, S66-S72)"
CENTRE = math.pi / 4
ERRORS = {0: ".270", 1: ".437", 2: ".0836", 3: ".0343", 5: "1.1e-3", 10: "1.6e-8"}  # of each order at h = 1
SURFACE = surface("himmelblau").loss
AT = jnp.array([-4.5, 3.5])  # where the Hessian is no diagonal
RADII = (1.0, 0.3, 0.1, 0.03, 0.01)
DIRECTIONS = 3600  # of each of three searches
REACHES = (180.0, 0.1, 0.018)  # degrees to either side: all around, then about the best
FINE = 1e-5  # degrees between those of the last
STEPS = np.concatenate([[1.0, 0.1, 3.0], np.linspace(-4.8, 5.2, 300)])  # from the centre: those printed, and the figure
BOWL = surface("ill_conditioned_bowl").loss


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "taylor", QUESTION, measure)


def measure():
    """The checks and the figure."""
    (angles, places), remainders, near = circle(), remainder(), polynomials()
    checks = [*sine(near), *two_variables(remainders), *lowest(angles), *jumping(), *second_order()]
    return checks, lambda: draw(near, angles, remainders, places[0])


def polynomials():
    """The Taylor polynomials of the sine about pi/4 at CENTRE + STEPS, by order."""
    x = CENTRE + jnp.asarray(STEPS)
    return {order: np.asarray(jax.jit(jax.vmap(hessian.taylor(jnp.sin, CENTRE, order=order)))(x)) for order in ERRORS}


def sine(near):
    """The sine about pi/4: coefficients sqrt(2)/2 with signs ++-- over k!, and the errors (S66, S67)."""
    derivative, coefficients = jnp.sin, []
    for k in range(11):
        coefficients.append(float(derivative(CENTRE)) / math.factorial(k))
        derivative = jax.grad(derivative)
    signs = np.array([1, 1, -1, -1] * 3)[:11]
    expected = signs * math.sqrt(0.5) / np.array([math.factorial(k) for k in range(11)])
    error = {order: np.abs(np.sin(CENTRE + STEPS) - values) for order, values in near.items()}
    by_hand = float(expected.sum())
    return (
        at_most(
            "S66",
            "coefficients - sqrt(1/2) (++--) / k!, k = 0 ... 10, relative",
            farthest(coefficients / expected, 1),
            1e-14,
        ),
        exactly("S67", "the polynomial of order 10 at h = 1, summed by hand", near[10][0], by_hand),
        *(
            printed("S67", f"order {order}: error at h = 1", error[order][0], digits)
            for order, digits in ERRORS.items()
        ),
        at_most("S67", "order 10: error at h = 1", error[10][0], 1 / math.factorial(11)),
        printed("S67", "order 1: error at h = .1", error[1][1], "3.65e-3"),
        printed("S67", "order 1: error at h = 3", error[1][2], "3.43"),
    )


def remainder():
    """The errors of first and second order in a fixed direction, at distances 10^-3 ... 1."""
    h = np.geomspace(1e-3, 1, 13)
    direction = jnp.array([0.6, -0.8])
    points = AT + h[:, None] * direction
    values = jax.vmap(SURFACE)(points)
    return h, {k: np.abs(values - jax.vmap(hessian.taylor(SURFACE, AT, order=k))(points)) for k in (1, 2)}


def two_variables(remainders):
    """L is s + u (theta1 - a) + v (theta2 - b) to first order (S68, S69), with the Hessian to second (S54)."""
    h, errors = remainders
    slopes = {k: np.polyfit(np.log(h[:7]), np.log(e[:7]), 1)[0] for k, e in errors.items()}
    delta = jnp.array([0.2, -0.1])
    crossed = lambda p: p[0] * p[1]  # noqa: E731
    exact = by_expansion(h)
    return (
        *(
            at_most(
                item,
                f"order {k}: errors at 13 distances - those by expansion",
                farthest(errors[k], exact[k]),
                1e-11,
            )
            for k, item in ((1, "S68"), (2, "S54"))
        ),  # rounding of values near 300
        # The next order adds a share of about h, which is .03 at the last of the seven distances, over 1.5 decades.
        Check("S68", "first order: slope of the error on log-log axes", slopes[1], 2.0, np.log10(1 + h[6]) / 1.5),
        Check("S54", "second order: slope of the error on log-log axes", slopes[2], 3.0, np.log10(1 + h[6]) / 1.5),
        exactly(
            "S69",
            "s + u (theta1 - a) + v (theta2 - b)",
            hessian.taylor(SURFACE, AT, order=1)(AT + delta),
            163.125 - 228 * 0.2 - 36 * 0.1,  # by hand, (x^2 + y - 11)^2 + (x + y^2 - 7)^2 about (-4.5, 3.5)
        ),
        exactly(
            "S68",
            "the cross term that the slide omits: xy about (1, 2) at (3, 5)",
            hessian.quadratic_model(crossed, jnp.array([1.0, 2.0]))(jnp.array([2.0, 3.0])),
            15.0,
        ),
    )


def by_expansion(h):
    """The same errors from the coefficients of (x^2 + y - 11)^2 + (x + y^2 - 7)^2 as a polynomial in the distance."""
    (x, y), (p, q) = np.asarray(AT), (0.6, -0.8)
    first = np.array([p * p, 2 * x * p + q, x * x + y - 11])
    second = np.array([q * q, p + 2 * y * q, x + y * y - 7])
    falling = np.polymul(first, first) + np.polymul(second, second)
    return {k: np.abs(np.polyval([*falling[: 4 - k], *[0] * (k + 1)], h)) for k in (1, 2)}


def circle():
    """The angle in degrees from -g, counterclockwise, to the best of many directions, and its place, by radius."""
    g = np.asarray(jax.grad(SURFACE)(AT))
    down = np.degrees(np.arctan2(-g[1], -g[0]))

    @jax.jit
    @jax.vmap
    def best(radius, degrees):
        directions = jnp.stack([jnp.cos(jnp.radians(degrees)), jnp.sin(jnp.radians(degrees))], 1)
        places = AT + radius * directions
        least = jnp.argmin(jax.vmap(SURFACE)(places))
        return degrees[least], places[least]

    degrees = np.zeros(len(RADII))
    for reach in REACHES:
        tried = degrees[:, None] + np.linspace(-reach, reach, DIRECTIONS)
        degrees, places = map(np.asarray, best(np.array(RADII), tried))
    return (degrees - down + 180) % 360 - 180, places


def by_fixed_point(radius):
    """The degrees from -g to the lowest point of the circle: the direction that is -g of the point it leads to."""

    def downhill(x, y):
        u, v = x * x + y - 11, x + y * y - 7
        return np.arctan2(-2 * u - 4 * y * v, -4 * x * u - 2 * v)

    a, b = np.asarray(AT)
    angle = down = downhill(a, b)
    for _ in range(100):
        angle = (
            angle + downhill(a + radius * np.cos(angle), b + radius * np.sin(angle))
        ) / 2  # or it may go to and fro
    return np.degrees(angle - down)


def lowest(angles):
    """On the circle the lowest point lies at -g, the more so the smaller it is (S70)."""
    g, h = jax.grad(SURFACE)(AT), jax.hessian(SURFACE)(AT)
    norm = jnp.linalg.norm(g)
    across = jnp.array([g[1], -g[0]]) / norm  # counterclockwise from -g
    per_radius = float(jnp.degrees(across @ h @ g) / norm**2)
    slope = np.polyfit(np.log(RADII[2:]), np.log(np.abs(angles[2:])), 1)[0]
    steps, second = (
        jax.jit(jax.vmap(lambda d, k=k: hessian.trust_region_step(SURFACE, AT, radius=d, order=k)))(jnp.array(RADII))
        for k in (1, 2)
    )
    descent = gdlab.gd(RADII[2] / norm)
    taken, _ = descent.update(g, descent.init(AT), AT)
    bent = np.degrees(np.arctan2(second @ across, -(second @ g) / norm))
    return (
        *(
            at_most("S70", f"d = {d}: linear minimizer + d g / |g|", farthest(s, -d * g / norm), 1e-13)
            for s, d in zip(steps, RADII, strict=True)
        ),
        *(
            Check(
                "S70",
                f"d = {d}: degrees beside -g, of the direction that is -g where it leads",
                a,
                by_fixed_point(d),
                FINE + np.degrees(np.sqrt(2 * np.spacing(SURFACE(AT)) / (norm * d))),  # within a rounding of the least
            )
            for a, d in zip(angles, RADII, strict=True)
        ),
        # The next order adds a share of about d, here and below.
        *(
            Check("S70", f"d = {d}: degrees beside -g, by the Hessian", a, per_radius * d, d * abs(per_radius * d))
            for a, d in zip(angles[2:], RADII[2:], strict=True)
        ),
        *(
            Check("S70", f"d = {d}: and by the quadratic model", a, b, d * abs(b))
            for a, b, d in zip(angles[2:], bent[2:], RADII[2:], strict=True)
        ),
        *least_on_spheres(g, h, second),
        # Likewise a share of d: of .1 at the first, which over one decade is log10(1.1).
        Check("S70", "slope of the angle on log-log axes, d = .1 to .01", slope, 1.0, np.log10(1.1)),
        at_most("S70", "a gradient step of eta = d / |g| less that linear minimizer", farthest(taken, steps[2]), 1e-13),
    )


def least_on_spheres(g, h, steps):
    """The quadratic model is least on |s| = d where g + H s = -mu s with mu + lambda_1 >= 0 (S54)."""
    slopes = g + steps @ h
    pulls = -(slopes * steps).sum(1) / (steps**2).sum(1)
    off = farthest(slopes, -pulls[:, None] * steps)
    return (
        at_most("S54", "the quadratic model's: its slope along the circle", off, 1e-12 * jnp.linalg.norm(g)),
        at_most("S54", "and the length, less d", farthest(jnp.linalg.norm(steps, axis=1), RADII), 1e-12),
        is_true("S54", "and it bends up along the circle", (-pulls < jnp.linalg.eigvalsh(h)[0]).all()),
    )


def jumping():
    """Jumping to the lowest point of the circle again and again (S71)."""
    start = jnp.array([3.0, 1.0])
    fixed = gdlab.minimize(BOWL, gdlab.normalized_gd(0.1), start, 2000, record=("params",)).history["params"]
    slopes = jax.vmap(jax.grad(BOWL))(fixed[:-1])
    away = jnp.diff(fixed, axis=0) + 0.1 * slopes / jnp.linalg.norm(slopes, axis=1, keepdims=True)
    far = jnp.linalg.norm(fixed[-200:], axis=1)
    loop = jumped(start, 0.1, len(fixed))
    shrinking = gdlab.minimize(BOWL, gdlab.gd(0.1), start, 2000).params
    stands = gdlab.minimize(BOWL, gdlab.normalized_gd(0.1), jnp.zeros(2), 1, record=("update", "sigma")).history
    return (
        at_most("S71", "fixed d = .1: every jump + d g / |g|, on and off the axes", jnp.abs(away).max(), 1e-12),
        at_most("S71", "all 2000 places - a NumPy loop's", farthest(fixed, loop), 1e-9),  # rounding
        at_most("S71", "farthest in the last 200 jumps", far.max(), 0.1),  # d: from farther away it comes nearer
        is_true("S71", "it jumps over the minimum", fixed[-1] @ fixed[-2] < 0),
        exactly(
            "S71", "d wide, so that one of two points is d / 2 away or more", abs(fixed[-1] - fixed[-2]).sum(), 0.1
        ),
        # Across the way the places shrink at every jump by 1 - d lambda / |g|, which leaves rounding.
        at_most("S71", "and every second jump comes back", farthest(fixed[-1], fixed[-3]), 1e-12),
        at_most("S71", "with eta instead, d = eta |g|: distance", jnp.linalg.norm(shrinking), 1e-12),
        at_most("S71", "at the minimum, where -g leads nowhere: the jump", jnp.abs(stands["update"]).max(), 0.0),
        is_true("S71", "and the |g| to divide by has a square above 0", (np.square(stands["sigma"]) > 0).all()),
    )


def jumped(start, d, count):
    """The places of d-wide jumps down the bowl, by a loop in NumPy."""
    curvatures, x, places = np.asarray(jnp.diag(jax.hessian(BOWL)(start))), np.asarray(start), []
    for _ in range(count):
        places.append(x)
        slope = curvatures * x
        x = x - d * slope / np.sqrt(slope @ slope)
    return np.array(places)


def second_order():
    """Newton's step minimizes the second-order polynomial: on a quadratic it is the end (S72)."""
    arrived = gdlab.minimize(pokemon_loss, hessian.newton(), jnp.array(POKEMON_START), 1, args=(pokemon(),)).params
    return (
        at_most(
            "S72",
            "Pokemon: one Newton step, distance to the optimum",
            jnp.linalg.norm(arrived - jnp.array(POKEMON_OPTIMUM)),
            5e-9,
        ),  # rounding of a step of 68, times the condition number of 3e5
    )


def draw(near, angles, remainders, lowest_place):
    """The sine and its polynomials, the errors in two variables, the angles."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, ((left, middle), (plane, right)) = plt.subplots(2, 2, figsize=(11, 8))
    red_circle(plane, lowest_place)
    x = CENTRE + STEPS[3:]
    left.plot(x, np.sin(x), color="black", label="sin x")
    dashes = "--", "-.", ":", (0, (1, 3)), (0, (6, 1))
    for order, colour, dash in zip((1, 2, 3, 5, 10), figures.PALETTE, dashes, strict=False):
        left.plot(x, near[order][3:], linestyle=dash, color=colour, linewidth=1.2, label=f"order {order}")
    left.plot(CENTRE, math.sin(CENTRE), "o", color="black", markersize=4)
    left.set(ylim=(-2.5, 2.5), xlabel="x (radians)", ylabel="value", title="the sine about $\\pi/4$")
    h, errors = remainders
    for k, colour in ((1, figures.PALETTE[0]), (2, figures.PALETTE[3])):
        middle.plot(h, errors[k], "o-", color=colour, markersize=4, label=f"order {k}: slope {k + 1}")
    middle.set(
        xscale="log", yscale="log", xlabel="distance", ylabel="|error|", title="two variables: Himmelblau's function"
    )
    right.plot(RADII, np.abs(angles), "o", color=figures.PALETTE[0], label="best of all directions tried")
    right.plot(RADII, abs(angles[-2]) / RADII[-2] * np.array(RADII), ":", color="black", label="proportional to d")
    right.set(
        xscale="log",
        yscale="log",
        xlabel="radius d",
        ylabel="degrees beside $-g$",
        title="the smaller the circle, the nearer to $-g$",
    )
    for axes in (left, middle, right):
        axes.legend(fontsize=7)
    plane.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2)
    return figure


def red_circle(plane, best, radius=1.0):
    """The contours about a point, the circle around it, its lowest point, and where the linear part says it is."""
    from ..reporting import figures
    from ..reporting.figures import plt

    a, b = np.asarray(AT)
    ring = {"fill": False, "color": "#D55E00", "linewidth": 2, "zorder": 3}
    plane.add_patch(plt.Circle((a, b), radius, label=f"circle around (a, b), d = {radius:g}", **ring))
    plane.margins(0.3)
    plane.autoscale_view()
    figures.contours(SURFACE, (plane.get_xlim(), plane.get_ylim()), ax=plane)
    linear = hessian.trust_region_step(SURFACE, AT, radius=radius, order=1)
    plane.quiver(a, b, *np.asarray(linear), angles="xy", scale_units="xy", scale=1, color="black", width=0.006)
    plane.plot([], [], color="black", marker=r"$\rightarrow$", linestyle="", label="$-\\eta (u, v)$, the linear part's")
    plane.plot(*best, "o", color="#F0E442", markeredgecolor="black", markersize=8, label="the lowest point")
    plane.plot(a, b, "s", color="black", markersize=5, label="(a, b)")
    plane.set(xlabel="$\\theta_1$", ylabel="$\\theta_2$", title="the lowest point of the circle", aspect="equal")
