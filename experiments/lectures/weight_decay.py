"""Is weight decay the same as an L2 penalty? (S98; section 3.11)

For plain descent it is: the gradient of lambda |w|^2 / 2 shrinks every weight by 1 - eta lambda.  Adam divides that
gradient by sigma, so that weights with large gradients are hardly decayed; beside the gradient (AdamW) all of them
shrink alike, by (1 - eta lambda) per step.  The weights here see zero-mean gradients of scale 1, 10, ..., 10 000.

How far L2 is off follows without a run: for gradients of root mean square s the pull of the penalty is lambda w / s,
so that w shrinks by about 1 - alpha lambda / s per step: a tenth as fast at s = 10, hardly at all at s = 10 000.  What
the penalty does there lies far below the noise; it is seen beside the same run without it, on the same gradients.
"""

import jax
import jax.numpy as jnp
import numpy as np

import gdlab
from gdlab.operators import solved
from gdlab.roots import inverse_root

from ..cli.settings import Experiment
from ..reporting.checks import Check, at_most, conclude, farthest, printed
from ..reporting.standard_errors import error_of_mean

QUESTION = "Is weight decay the same as an L2 penalty? (S98; section 3.11)"
SCALES = jnp.array([1.0, 10.0, 100.0, 1e3, 1e4])
START = (1.0, 2.0, 3.0)
RATE, DECAY, STEPS, LANES = 0.01, 0.1, 2000, 2000


def main(settings: Experiment) -> int:
    """Measure, print the verdict, write the folder; the exit status."""
    return conclude(settings, "weight_decay", QUESTION, measure, heavy=True)


def measure():
    """The checks and the figure."""
    kept = {"AdamW": left(gdlab.adamw(RATE, weight_decay=DECAY), 0.0), "Adam with L2": left(gdlab.adam(RATE), DECAY)}
    without = left(gdlab.adam(RATE), 0.0)[-1]
    return [*same(), *beside(), *looped(), *uneven(kept, without)], lambda: draw(kept)


def noisy(w, penalty, *, key):
    """Zero-mean gradients of the given scales, and the L2 penalty."""
    return jnp.vdot(SCALES * jax.random.normal(key, SCALES.shape), w) + penalty * jnp.sum(w**2) / 2


def left(optimizer, penalty):
    """The weights of every lane every 20 steps, from 1, shape (times, LANES, scales)."""

    def run(key):
        start = jnp.ones_like(SCALES)
        ran = gdlab.minimize(noisy, optimizer, start, STEPS, args=(penalty,), key=key, record=("params",), every=20)
        return jnp.concatenate([ran.history["params"], ran.params[None]])

    return np.asarray(jax.jit(jax.vmap(run, out_axes=1))(jax.random.split(jax.random.key(0), LANES)))


def same():
    """Plain descent with L2 and with decay: the same path; Adam's two are not."""
    loss = lambda w, penalty: jnp.cosh(w) @ jnp.array([1.0, 5.0, 0.2]) + penalty * jnp.sum(w**2) / 2  # noqa: E731
    start = jnp.array(START)

    def path(optimizer, penalty):
        return gdlab.minimize(loss, optimizer, start, 300, args=(penalty,), record=("params",)).history["params"]

    plain = path(gdlab.sgdw(0.05, 0.0, weight_decay=DECAY), 0.0) - path(gdlab.gd(0.05), DECAY)
    adaptive = path(gdlab.adamw(0.05, weight_decay=DECAY), 0.0) - path(gdlab.adam(0.05), DECAY)
    return (
        at_most("S98", "descent: decay - L2, 300 steps", jnp.abs(plain).max(), 1e-14),
        # The penalty does not change the sign of a gradient here, and so not Adam's first step.
        at_most(
            "S98",
            "Adam: decay - L2 after one step, + eta lambda w",
            jnp.abs(adaptive[1] + 0.05 * DECAY * start).max(),
            1e-8,  # its eps, beside gradients of 1 and more
        ),
    )


def beside():
    """Decay stands beside the step, whatever divides the gradient: steps with and without it are eta w theta apart.

    The first step of Shampoo, L^(-1/4) G R^(-1/4) with L = G G' and R = G' G, is U V' for G = U S V'.
    """
    theta, g = jax.random.normal(jax.random.key(1), (2, 4, 3))
    yield one_direction()
    left, _, right = np.linalg.svd(g, full_matrices=False)
    for name, optimizer in (("Adam", gdlab.adam(0.3)), ("Shampoo, whose sigma is a matrix", gdlab.shampoo(0.3))):
        decayed = gdlab.with_weight_decay(optimizer, DECAY)
        steps = [one.update(g, one.init(theta), theta)[0] for one in (decayed, optimizer)]
        read, _ = decayed.step(g, decayed.init(theta), theta)
        told = steps[0] + 0.3 * solved(read.sigma, read.m)
        off = jnp.abs(steps[0] - steps[1] + 0.3 * DECAY * theta).max()
        yield at_most("S98", f"{name}: step less that without decay, + eta w theta", off, 1e-14)
        # What is read has been multiplied by Sigma and divided by it again, whose sizes lie within 1e3 of another.
        yield at_most("S98", f"{name}: step + eta Sigma^-1 [m], as they are read", jnp.abs(told).max(), 1e-9)
        due = g / (jnp.abs(g) + 1e-8) if name == "Adam" else left @ right
        # Shampoo's eps of 1e-12 stands beside eigenvalues above .01.
        yield at_most(
            "S98", f"{name}: first step without decay + eta times its law", farthest(steps[1], -0.3 * due), 1e-9
        )


def one_direction():
    """(v v')^(-1/4) for 100 vectors: v v' / |v|^(5/2), and 0 wherever an eigenvalue is 0 but for rounding."""
    v = np.random.default_rng(0).normal(size=(100, 4))
    found = jax.jit(jax.vmap(lambda v: inverse_root(jnp.outer(v, v), 4)))(v)
    due = np.einsum("ni,nj->nij", v, v) / np.linalg.norm(v, axis=1)[:, None, None] ** 2.5
    name = "Shampoo where all but one eigenvalue are 0: off that direction's root"
    return at_most("S98", name, farthest(found, due), 1e-9)


def looped():
    """One lane of each by a loop in NumPy, on gradients of its own: w - eta (decay w + m / sigma), or L2 within g."""
    noise = np.random.default_rng(0).normal(scale=SCALES, size=(STEPS, 5))
    pulled = lambda w, g, penalty: jnp.vdot(g, w) + penalty * jnp.sum(w**2) / 2  # noqa: E731
    for name, optimizer, beside, within in (
        ("AdamW", gdlab.adamw(RATE, weight_decay=DECAY), DECAY, 0.0),
        ("Adam with L2", gdlab.adam(RATE), 0.0, DECAY),
    ):
        found = gdlab.minimize(
            lambda w, g, within=within: pulled(w, g, within), optimizer, jnp.ones(5), STEPS, batches=jnp.asarray(noise)
        ).params
        w, m, v = np.ones(5), 0.0, 0.0
        for t, drawn in enumerate(noise, 1):
            g = drawn + within * w
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            w = w - RATE * (beside * w + m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8))
        yield at_most("3.11", f"{name}: one lane after {STEPS} steps, off a NumPy loop", np.abs(found - w).max(), 1e-9)


def uneven(kept, without):
    """What is left of the weights after 2000 steps, of L2 beside the runs without it; four standard errors."""
    uniform = (1 - RATE * DECAY) ** STEPS
    yield printed("3.11", "(1 - .001)^2000", uniform, ".1352")
    final = {name: values[-1] for name, values in kept.items()}
    error = error_of_mean(final["AdamW"], axis=0)
    for i, scale in enumerate(SCALES.tolist()):
        mean = final["AdamW"][:, i].mean()
        yield Check("3.11", f"AdamW, gradients of {scale:g}: left", mean, uniform, error[i])
    left_by_l2 = 1 - (without - final["Adam with L2"])
    error = error_of_mean(left_by_l2, axis=0)
    for i, scale in enumerate(SCALES.tolist()):
        # The penalty is a small part of the gradient, so that sigma is the scale: within .5 % at 1, and ever less.
        law = (1 - RATE * DECAY / scale) ** STEPS
        yield Check("3.11", f"L2, gradients of {scale:g}: left", left_by_l2[:, i].mean(), law, error[i])


def draw(kept):
    """What is left over the steps, for each scale."""
    from ..reporting import figures
    from ..reporting.figures import plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    t = np.minimum(np.arange(len(next(iter(kept.values())))) * 20, STEPS)
    for panel, (name, values) in zip(axes, kept.items(), strict=True):
        for i, scale in enumerate(SCALES.tolist()):
            panel.plot(t, values[:, :, i].mean(axis=1), color=figures.PALETTE[i], label=f"gradients of {scale:g}")
        panel.plot(t, (1 - RATE * DECAY) ** t, ":", color="black", label="(1 - .001)$^t$")
        panel.set(yscale="log", ylim=(0.1, 1.1), xlabel="step", title=name)
        panel.legend(fontsize=7, loc="lower left")
    axes[0].set_ylabel("weight, mean over 2000 runs")
    return figure
