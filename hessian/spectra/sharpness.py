"""How sharp a minimum is: two measures that share the word, each named in its result (S51).

    eigenvalue    lambda_max of H: what a rate must stay below, eta < 2 / lambda_max
    keskar        100 (max_{|y_i| <= eps (|theta_i| + 1)} L(theta + y) - L(theta)) / (1 + L(theta))

Neither survives a change of parameters that leaves the function as it is (Dinh et al. 2017).
"""

from typing import Any, Generic, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gdlab.ground.checks import choice, key_or_default, number, whole
from gdlab.ground.results import digits, result
from hessian.compiled import compiled
from hessian.precision import Tree, working
from hessian.product import Loss
from hessian.results import Outcome, counts
from hessian.spectra.spectrum import extremal

Measure = Literal["eigenvalue", "keskar"]


class SharpnessMeasure(Outcome):
    """Which measure of sharpness was taken."""

    EIGENVALUE = "eigenvalue"
    KESKAR = "keskar"


@result
class Sharpness(NamedTuple, Generic[Tree]):
    """A measure of sharpness, a lower bound for both measures."""

    value: jax.Array  # the sharpness
    code: jax.Array  # which measure, as an integer: a `SharpnessMeasure`
    error: jax.Array  # of the eigenvalue its residual; of keskar infinite: the true maximum may be larger
    direction: Tree  # the eigenvector, or the y that was found

    def _words(self) -> str:
        return f"{digits(self.value)} by {counts(SharpnessMeasure, self.code)}, error {digits(self.error)}"

    @property
    def measure(self) -> str:
        """Which measure it is, in a word.  Not inside `jit`."""
        return SharpnessMeasure.words_of(jnp.ravel(self.code)[0])


def sharpness(
    loss: Loss,
    params: Tree,
    *args: Any,
    measure: Measure = "eigenvalue",
    key: jax.Array | None = None,
    epsilon: ArrayLike = 1e-3,
    starts: int = 4,
    steps: int = 20,
    num_matvecs: int = 60,
    trainable: Any = None,
) -> Sharpness[Tree]:
    """How sharp the loss is at params, by the largest eigenvalue or as Keskar et al. (2017) measure it (S51).

    Args:
        loss: `loss(params, *args) -> scalar`.
        params: pytree of n real floating values.
        *args: further arguments of the loss.
        measure: "eigenvalue" or "keskar".
        key: of the random starts, `jax.random.key(0)` by default.
        epsilon: half width of Keskar's box, relative to |theta_i| + 1, > 0.
        starts: random starts of the ascent in the box, >= 1.
        steps: gradients from each, >= 1.
        num_matvecs: with the Hessian, for the eigenvalue, >= 3.
        trainable: which floating arrays are free, a pytree of bools like params or a prefix of it, or a function of
            paths such as `lambda path: "bias" not in path`; the others stay as they are.

    Raises:
        TypeError, ValueError: as `hessian.hvp` and `hessian.extremal`; ValueError for another measure.

    >>> found = sharpness(lambda w: w[0] ** 2 + 5 * w[1] ** 2, jnp.zeros(2))
    >>> found.measure, round(float(found.value), 6)
    ('eigenvalue', 10.0)
    >>> found = sharpness(lambda w: w @ w, jnp.zeros(2), measure="keskar", epsilon=0.1)
    >>> round(float(found.value), 6)  # 100 * 2 * 0.1^2
    2.0
    """
    loss, params, args, stored = working(loss, params, *args, trainable=trainable)
    choice("measure", measure, SharpnessMeasure.list_words())
    starts, steps, num_matvecs = whole("starts", starts), whole("steps", steps), whole("num_matvecs", num_matvecs, 3)
    epsilon, start = number("epsilon", epsilon), key_or_default(key)
    if measure == "eigenvalue":
        found = extremal(loss, params, *args, which="highest", key=start, num_matvecs=num_matvecs)
        direction = jax.tree.map(lambda v: v[0], found.eigenvectors)
        code = jnp.int32(SharpnessMeasure.EIGENVALUE)
        return Sharpness(found.eigenvalues[0], code, found.residuals[0], stored(direction))
    value, direction = _keskar(loss, params, args, start, epsilon, starts, steps)
    return Sharpness(value, jnp.int32(SharpnessMeasure.KESKAR), jnp.full_like(value, jnp.inf), stored(direction))


@compiled(static_argnames=("loss", "starts", "steps"))
def _keskar(loss, params, args, key, epsilon, starts, steps):
    """The largest rise found in the box, and where."""
    box = jax.tree.map(lambda p: jnp.asarray(epsilon, p.dtype) * (jnp.abs(p) + 1), params)

    def rise(y):
        return loss(jax.tree.map(jnp.add, params, y), *args)

    def ascend(key):
        leaves, tree = jax.tree.flatten(box)
        keys = jax.random.split(key, len(leaves))
        y = [b * jax.random.uniform(k, b.shape, b.dtype, -1, 1) for k, b in zip(keys, leaves, strict=True)]
        y = jax.tree.unflatten(tree, y)

        def climb(state, i):
            y, best, highest = state
            value, slope = jax.value_and_grad(rise)(y)
            better = value > highest
            best = jax.tree.map(lambda a, b: jnp.where(better, a, b), y, best)
            # Towards the corner the gradient points at: all the way at first (for a convex loss that never falls),
            # then less and less (Frank & Wolfe 1956).
            part = jnp.where(i < steps // 2, 1.0, 2 / (2 + i - steps // 2))
            y = jax.tree.map(lambda a, g, b: a + part.astype(a.dtype) * (b * jnp.sign(g) - a), y, slope, box)
            return (y, best, jnp.maximum(value, highest)), None

        nowhere = jax.tree.map(jnp.zeros_like, box)
        (y, best, highest), _ = jax.lax.scan(climb, (y, nowhere, rise(nowhere)), jnp.arange(steps))
        value = rise(y)
        best = jax.tree.map(lambda a, b: jnp.where(value > highest, a, b), y, best)
        return best, jnp.maximum(value, highest)

    found, heights = jax.lax.map(ascend, jax.random.split(key, starts))
    top = jnp.argmax(heights)
    here = loss(params, *args)
    return 100 * (heights[top] - here) / (1 + here), jax.tree.map(lambda y: y[top], found)
