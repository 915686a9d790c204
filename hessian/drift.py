"""Which signs of curvature survive the way to the critical point that Newton's step predicts: a Kantorovich test.

Eigenvectors U and eigenvalues Lambda of H(theta) measure every change in units of the curvature itself,

    S(d)  =  |Lambda|^-1/2 U^T (H(theta + d) - H(theta)) U |Lambda|^-1/2,      p  =  -H^-1 grad L,   undamped

so the test means the same in all linear coordinates, and sees a Hessian that turns as well as one that shrinks.  Along
x^k = 0, however near, |S| does not fall: 1/2 at x^3, 5/9 at x^4, 0.14 at |x|^2.05.  Looked at are p/2, p, 2p, both
ends of a random diagonal of the box that holds p, Newton's second step and what rounding of the gradient hides, and
both sides of theta as near as numbers allow, where a kink shows.  In a set of modes with |S| <= DRIFT at all of them
H keeps its signs there (Haynsworth); it is a test at seven points and no proof.

| function | what it returns |
|---|---|
| `newton_steps` | Newton's step, the second with the same Hessian, and the slope after many, in modes |
| `drift` | how far S goes in the k stiffest modes, for each k, and whether there is a kink |
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hessian.division import divided, divisor
from hessian.roundoff import UNIFORM

DRIFT = 0.05  # the largest relative change of curvature under which a sign is certain
BESIDE = 64  # how near a kink is looked for, in units of eps |theta|
STEPS = 16  # of Newton's with one Hessian, to see whether the slope vanishes
VANISHED = 0.1  # the share of the slope that may be left of it after them
WIDER = 1000  # how much farther the other looks go, at least; over it what is smooth changes more than half


class Frame(NamedTuple):
    """A point in the coordinates of its own curvature."""

    theta: jax.Array  # (n,)
    gradient: jax.Array  # (n,), along each mode
    values: jax.Array  # (n,), ascending
    basis: jax.Array  # (n, n), a column per mode
    seen: jax.Array  # (n,) bool: which eigenvalues lie beyond rounding
    gradient_error: jax.Array  # (n,), rounding of the gradient along each mode
    entry_error: jax.Array  # rounding of one entry of U^T H U


class Drift(NamedTuple):
    """What changes on the way to the critical point."""

    relative: jax.Array  # (n,): |S| in the modes at least as stiff as this one
    kink: jax.Array  # bool: gradient or Hessian jump at theta
    converging: jax.Array  # bool: the slope vanishes along Newton's steps, as near x^k = 0


def newton_steps(frame: Frame, slope: Callable[[jax.Array], jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Newton's step in the modes that are seen, the next with the same Hessian, and the slopes after `STEPS` of them.

    Near x^k = 0 the slope falls to 1 / (1 + steps) or below; where no critical point is near it stays.
    """

    def step(slopes):
        return divided(-slopes, frame.values, frame.seen)

    def after(coordinates):
        return slope(frame.theta + frame.basis @ coordinates) @ frame.basis

    first = step(frame.gradient)
    second = step(after(first))

    def onward(_, coordinates):
        return coordinates + step(after(coordinates))

    return first, second, after(jax.lax.fori_loop(0, STEPS - 2, onward, first + second))


def drift(frame: Frame, slope: Callable[[jax.Array], jax.Array], curvature: Callable[[jax.Array], jax.Array]) -> Drift:
    """How far curvature changes; `slope` is the gradient at a point, `curvature` the matrix there."""
    values, seen = frame.values, frame.seen
    eps = jnp.finfo(values.dtype).eps
    first, second, left = newton_steps(frame, slope)
    hidden = divided(frame.gradient_error, jnp.abs(values), seen)
    box = jnp.abs(first) + jnp.abs(second) + hidden
    beside = BESIDE * eps * (jnp.linalg.norm(frame.theta) + eps)
    side = jnp.where(jnp.resize(UNIFORM, values.shape) > 0, 1, -1).astype(values.dtype)
    corner, close = side * (2 * box + WIDER * beside), side * beside
    moves = jnp.stack([first / 2, first, 2 * first, corner, -corner, close, -close])

    weight = 1 / jnp.sqrt(divisor(jnp.where(seen, jnp.abs(values), 0)))
    stiffest = jnp.argsort(-jnp.abs(values))

    def look(move):
        there = frame.theta + frame.basis @ move
        moved = (there - frame.theta) @ frame.basis  # what rounding left of it
        change = frame.basis.T @ (curvature(there) @ frame.basis) - jnp.diag(values)
        change = jnp.maximum(jnp.abs(change) - frame.entry_error, 0)
        bent = slope(there) @ frame.basis - frame.gradient - values * moved
        bent = jnp.maximum(jnp.abs(bent) - frame.gradient_error, 0)
        energy = jnp.linalg.norm(jnp.where(seen, moved / weight, 0))
        scaled = (weight[:, None] * change * weight[None])[stiffest][:, stiffest]
        of_curvature = jnp.sqrt(jnp.diagonal(jnp.cumsum(jnp.cumsum(scaled**2, axis=0), axis=1)))
        of_slope = divided(jnp.sqrt(jnp.cumsum((weight * bent)[stiffest] ** 2)), energy)
        worse = jnp.maximum(of_curvature, of_slope)
        worse = jnp.where(jnp.isfinite(worse), worse, jnp.inf)
        return worse, jnp.linalg.norm(change), jnp.linalg.norm(bent)

    worst, changes, bends = jax.lax.map(look, moves)
    relative = jnp.zeros_like(values).at[stiffest].set(jnp.max(worst, axis=0))
    jumps = [jnp.any((size[5:] > size[3:5] / 2) & (size[5:] > 0)) for size in (changes, bends)]
    vanishing = jnp.abs(left) <= VANISHED * jnp.linalg.norm(jnp.where(seen, frame.gradient, 0)) + frame.gradient_error
    return Drift(relative, jumps[0] | jumps[1], jnp.all(vanishing | ~seen))
