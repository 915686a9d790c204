"""Is a network whose loss falls slowly at a saddle, and where is the way out? (S57, S58)

A network of three hidden layers of 4 units learns to read digits, and then each unit is copied many times, its outgoing
weights shared among the copies: the same function, the same loss, and a critical point where the small one is at one
(Fukumizu & Amari 2000).  Gradient descent gives copies the same gradient, so that they stay copies for ever.

The network learns slowly by then, but it is at no critical point: along its soft directions Newton's step is long,
`classify` calls the place no saddle, and Adam lowers the loss further.  What holds the wide one is the space in which
copies are equal.  Of the wide network,
too large for a matrix, products with the Hessian find curvature of both signs: along the negative one copies part, and
a step there lowers the loss.  All is in single precision; the witness of the curvature is a second difference of the
loss in double precision.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

import gdlab
import hessian
from gdlab.problems import network_loss

from ..cli.settings import Experiment
from ..reporting.checks import at_most, conclude, exactly, is_true
from ..workloads.digits import examples, start

QUESTION = "Is a network whose loss falls slowly at a saddle, and where is the way out? (S57, S58)"
UNITS = 4  # of each hidden layer, before they are copied
LEARNT = 500  # images
STEPS = 1500  # of Adam
LATER = 100  # steps of descent, with the way out and without it
RATE = 0.05
PRODUCTS = 1000  # a ceiling, far above what is taken: the search ends where both ends are known
KNOWN = float(np.finfo(np.float32).eps) ** (2 / 3)  # the residuals of both ends, over |H|
MADE = {"w": np.array([[1.0, 1.0, 2.0, 2.0, -4.0, -4.0, 3.0, 2.0]])}  # four units, twice each, the last two not alike


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "digits_saddle", QUESTION, lambda: measure(32 if settings.quick else 512))


def measure(units):
    """The checks and the figure, with this number of units in each hidden layer."""
    data, _ = examples(jax.random.key(0), LEARNT)
    small, losses = learnt(start(jax.random.key(0), (64, UNITS, UNITS, UNITS, 10)), data)
    wide = copied(small, units // UNITS)
    point = hessian.classify(network_loss, wide, data, method="lanczos")
    ends = hessian.extremal(network_loss, wide, data, which="both", tol=KNOWN, num_matvecs=PRODUCTS)
    way = hessian.escape(network_loss, wide, data)
    paths = [descend(params, data) for params in (wide, way.params)]
    rows = *slowly(losses, learnt(small, data)[1]), *checks(small, wide, data, point, ends, way, paths)
    return rows, lambda: draw(paths, way, wide, data)


@jax.jit
def learnt(params, data):
    """The network after full batches of Adam, and the losses before each."""
    run = gdlab.minimize(network_loss, optax.adam(1e-2), params, STEPS, args=(data,))
    return run.params, run.history["loss"]


def copied(layers, times):
    """The network in which each hidden unit is copied, its outgoing weights divided among the copies."""
    wide = []
    for i, layer in enumerate(layers):
        w, b = layer["w"], layer["b"]
        if i:
            w = jnp.repeat(w, times, axis=0) / times
        if i < len(layers) - 1:
            w, b = jnp.repeat(w, times, axis=1), jnp.repeat(b, times)
        wide.append({"w": w, "b": b})
    return wide


@jax.jit
def descend(params, data):
    """The losses of gradient descent, and where it ends."""
    run = gdlab.minimize(network_loss, gdlab.gd(RATE), params, LATER, args=(data,))
    return jnp.append(run.history["loss"], network_loss(run.params, data)), run.params


def losses_along(params, direction, data, lengths):
    """The losses along a direction, in double precision."""
    with jax.enable_x64(True):
        (to, along), precise = map(in_double, (params, direction)), (in_double(data[0]), data[1])
        return [float(network_loss(jax.tree.map(lambda x, u, t=t: x + t * u, to, along), precise)) for t in lengths]


def in_double(tree):
    """The leaves in double precision."""
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), float), tree)


def step_length(params, data):
    """The length of Newton's step, or less: where the curvature is a millionth of the largest and more, in float64."""
    with jax.enable_x64(True):
        (flat, unravel), precise = ravel_pytree(in_double(params)), (in_double(data[0]), data[1])
        loss = lambda x: network_loss(unravel(x), precise)  # noqa: E731
        slope, (values, vectors) = jax.grad(loss)(flat), np.linalg.eigh(jax.hessian(loss)(flat))
    bent = np.abs(values) > 1e-6 * np.abs(values).max()
    return np.linalg.norm((slope @ vectors)[bent] / values[bent])


def bend(params, direction, data):
    """The curvature along a direction, from losses in double precision alone."""
    h = 1e-4  # off by some h^2 of the fourth derivative, and by eps / h^2
    before, here, after = losses_along(params, direction, data, (-h, 0.0, h))
    return (after - 2 * here + before) / h**2


def apart(layers, times):
    """How far the weights into copies are from each other, relative to the largest of their layer: the worst layer."""

    def spread(w):
        w = np.asarray(w).reshape(len(w), UNITS, times)
        return np.abs(w - w[:, :, :1]).max() / np.abs(w).max()

    return float(max(spread(layer["w"]) for layer in layers[:-1]))


def slowly(losses, further):
    """The last steps of the network before it is copied, and as many as it has had from there."""
    return (
        at_most(
            "S57", "of the first loss, what the last 100 steps took", abs(losses[-100] - losses[-1]) / losses[0], 0.01
        ),
        at_most("S57", f"yet a tenth of the loss and more goes in {STEPS} more", further[-1], 0.9 * further[0]),
    )


def checks(small, wide, data, point, ends, way, paths):
    """The verdict, its witness, and what the step brings."""
    times = wide[0]["b"].size // UNITS
    values = sum(leaf.size for leaf in jax.tree.leaves(wide))
    alike, before = network_loss(small, data), float(way.loss_before)
    there, out = (end for _, end in paths)
    low, high = (float(value) for value in ends.eigenvalues)
    sizes = np.abs(ends.eigenvalues)
    largest = float(sizes.max())
    # The rounding of a sum of n products in single precision is about n^(1/2) eps: those of the four layers add up, and
    # the mean over images; each step of descent makes one.
    sums = [layer["w"].shape[0] for layer in wide] + [LEARNT]
    rounding = float(np.sqrt(sums).sum() * np.finfo(np.float32).eps)
    band, later = rounding * largest, LATER * rounding
    near, top = KNOWN * largest, jax.tree.map(lambda leaf: leaf[-1], ends.eigenvectors)
    far = np.finfo(np.float32).eps ** 0.5 * (1 + float(optax.tree.norm(wide)))
    # Of losses in double precision rounding leaves some 1e-16: which of two is lower is seen at 1e-12.
    here, stepped = losses_along(wide, way.direction, data, (0.0, float(way.step)))
    stays, goes = (losses_along(at, at, data, (0.0,))[0] for at in (there, out))
    return (
        exactly("S58", f"{values} parameters in single precision: signs of curvature", np.ptp(np.sign((low, high))), 2),
        is_true("S58", "both beyond the rounding", sizes.min() > band),
        at_most("S58", "residuals of both ends, within a share of the largest", ends.residuals.max(), near),
        at_most(
            "S58",
            f"products with the Hessian until both were known, below the ceiling; {values} would build it",
            ends.num_matvecs,
            PRODUCTS - 1,
        ),
        at_most(
            "S58",
            "the highest - second differences along its vector in float64, within the rounding",
            abs(bend(wide, top, data) - high),
            band,
        ),
        at_most("S58", "the lowest - that of the way out, within the residual", abs(low - float(way.curvature)), near),
        is_true("S57", "no claim of a critical point", point.kind == "not critical"),
        is_true("S57", "for Newton's step is long: the root of eps, times 1 + |theta|", float(point.distance) > far),
        is_true("S57", "as is that of the originals, by their matrix in float64", step_length(small, data) > far),
        at_most("S57", "loss of the copies - loss of the originals, relative", abs(before / alike - 1), rounding),
        at_most(
            "S58",
            "its curvature - second differences in float64, within the rounding of the largest",
            abs(bend(wide, way.direction, data) - float(way.curvature)),
            band,
        ),
        at_most("S57", "loss after the step along it - in float64, relative", way.loss_after / stepped - 1, rounding),
        is_true("S57", "which is lower than before it, in float64", stepped < here - 1e-12),
        exactly("S57", "pairs of which one is 3 and 2, beside a 4: how far copies part", apart([MADE, {}], 2), 0.25),
        at_most("S57", "descent alone: how far copies part", apart(there, times), later),
        is_true("S57", "after the step copies part by more than that", apart(out, times) > later),
        is_true("S57", "descent after the step ends lower than descent alone, in float64", goes < stays - 1e-12),
    )


def draw(paths, way, wide, data):
    """The loss along the way out, and later."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    lengths = jnp.linspace(-1.5, 1.5, 61) * way.step

    @jax.jit
    def along(params, direction, data):
        return jax.lax.map(
            lambda t: network_loss(jax.tree.map(lambda x, u: x + t * u, params, direction), data), lengths
        )

    left.plot(lengths, along(wide, way.direction, data), color=figures.PALETTE[0])
    left.plot([0, way.step], [way.loss_before, way.loss_after], "o", color="black")
    left.set(xlabel="along the lowest eigenvector", ylabel="loss", title="the way out")
    for (losses, _), label, colour in zip(paths, ("copies", "after the step"), figures.PALETTE, strict=False):
        right.plot(losses, color=colour, label=label)
    right.set(xlabel="steps of gradient descent", ylabel="loss", title="copies stay copies")
    right.legend()
    return figure
