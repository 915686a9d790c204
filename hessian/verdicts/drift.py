"""Which signs of curvature survive the way to the critical point that Newton's step predicts: a Kantorovich test.

Eigenvectors U and eigenvalues Lambda of H(theta) measure every change in units of the curvature itself,

    S(d)  =  |Lambda|^-1/2 U^T (H(theta + d) - H(theta)) U |Lambda|^-1/2,      p  =  -H^-1 grad L,   undamped

so the test means the same in all linear coordinates, and sees a Hessian that turns as well as one that shrinks.  Along
x^k = 0, however near, |S| does not fall: 1/2 at x^3, 5/9 at x^4, 0.14 at |x|^2.05.  Curvature is looked at at p and
at both ends of a diagonal of the box that holds p, Newton's second step and what rounding of the gradient hides; what
the gradient tells of it on the way, also at p/2, 2p and on both sides of theta as near as numbers allow, where a kink
shows.  In modes with |S| <= DRIFT at all of them H keeps its signs (Haynsworth): a test at seven points, no proof.

| function | what it returns |
|---|---|
| `newton_steps` | Newton's step, and the second with the same Hessian, in modes |
| `slope_left` | the slope that is left after many of them |
| `drift` | how far S goes in the k stiffest modes, for each k, and whether there is a kink |
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hessian.numerics import divided, divisor
from hessian.roundoff import SAFETY, UNIFORM
from hessian.spectra.spectrum import rounding

DRIFT = 0.05  # the largest relative change of curvature under which a sign is certain
HIDDEN = 3  # how many times its spread the rounding of the gradient may hide of Newton's step
BESIDE = 16  # how near a kink is looked for, in units of eps |theta|
STEPS = 16  # of Newton's with one Hessian, to see whether the slope vanishes
VANISHED = 0.1  # the share of the slope that may be left of it after them
SUDDEN = 16  # how much more than at p the gradient may bend at 2p
WIDER = 16  # how much farther the other looks go, at least


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
    converging: jax.Array  # bool: where curvature changes, the slope vanishes along Newton's steps, as near x^k = 0


def newton_steps(frame: Frame, slope: Callable[[jax.Array], jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Newton's step in the modes that are seen, and the next with the same Hessian."""
    first = divided(-frame.gradient, frame.values, frame.seen)
    return first, divided(-_slope_at(frame, slope, first), frame.values, frame.seen)


def slope_left(frame: Frame, slope: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """The slope after many of Newton's steps with one Hessian, along the modes whose slope is more than rounding.

    Near x^k = 0 it falls to 1 / (1 + steps) or below; where no critical point is near it stays.
    """
    falling = frame.seen & (jnp.abs(frame.gradient) > frame.gradient_error)

    def onward(_, here):
        return here + divided(-_slope_at(frame, slope, here), frame.values, falling)

    end = jax.lax.fori_loop(0, STEPS, onward, jnp.zeros_like(frame.values))
    return jnp.where(falling, jnp.abs(_slope_at(frame, slope, end)), 0)


def _slope_at(frame, slope, coordinates):
    """The slope along each mode at these coordinates."""
    return slope(frame.theta + frame.basis @ coordinates) @ frame.basis


def drift(frame: Frame, slope: Callable[[jax.Array], jax.Array], curvature: Callable[[jax.Array], jax.Array]) -> Drift:
    """How far curvature changes; `slope` is the gradient at a point, `curvature` the matrix there."""
    values, seen = frame.values, frame.seen
    eps = jnp.finfo(values.dtype).eps
    first, second = newton_steps(frame, slope)
    hidden = divided(HIDDEN / SAFETY * frame.gradient_error, jnp.abs(values), seen)
    box = jnp.abs(first) + jnp.abs(second) + hidden
    beside = BESIDE * eps * (jnp.linalg.norm(frame.theta) + eps)
    side = jnp.where(jnp.resize(UNIFORM, values.shape) > 0, 1, -1).astype(values.dtype)
    corner, close = side * (2 * box + WIDER * beside), side * beside
    moves = jnp.stack([first, corner, -corner, first / 2, 2 * first, close, -close])

    weight = 1 / jnp.sqrt(divisor(jnp.where(seen, jnp.abs(values), 0)))
    stiffest = jnp.argsort(-jnp.abs(values))

    # Few samples are few for each mode: what rounds in one may round in another.
    noise = jnp.maximum(frame.gradient_error, jnp.sqrt(jnp.mean(frame.gradient_error**2)))

    def bend(move):
        """How far the gradient is from the quadratic's, in the stiffest modes and in all, and the length of the way."""
        there = frame.theta + frame.basis @ move
        moved = (there - frame.theta) @ frame.basis  # what rounding left of it
        bent = slope(there) @ frame.basis - frame.gradient - values * moved
        bent = jnp.maximum(jnp.abs(bent) - noise - rounding(values) * jnp.linalg.norm(moved), 0)
        energy = jnp.linalg.norm(jnp.where(seen, moved / weight, 0))
        of_slope = divided(jnp.sqrt(jnp.cumsum((weight * bent)[stiffest] ** 2)), energy)
        return of_slope, jnp.linalg.norm(bent), jnp.linalg.norm(moved)

    def turn(move):
        """How far curvature changes."""
        there = curvature(frame.theta + frame.basis @ move)
        return jnp.maximum(jnp.abs(frame.basis.T @ there @ frame.basis - jnp.diag(values)) - frame.entry_error, 0)

    def in_stiffest(change):
        scaled = (weight[:, None] * change * weight[None])[stiffest][:, stiffest]
        return jnp.sqrt(jnp.diagonal(jnp.cumsum(jnp.cumsum(scaled**2, axis=0), axis=1)))

    of_slope, sizes, lengths = jax.lax.map(bend, moves)
    of_curvature = jax.lax.map(lambda move: in_stiffest(turn(move)), moves[:3])
    worst = jnp.concatenate([of_slope, of_curvature])
    worst = jnp.max(jnp.where(jnp.isfinite(worst), worst, jnp.inf), axis=0)
    relative = jnp.zeros_like(values).at[stiffest].set(worst)

    # Smooth gradients bend as the square of the way: far less where it is short, at 2p four times as at p.
    share = divided(sizes, lengths)
    ahead = sizes[4] > SUDDEN * (sizes[0] + jnp.linalg.norm(frame.gradient_error))
    kink = (jnp.max(share[5:]) > jnp.max(share[1:3]) / 2) | ahead
    vanished = VANISHED * jnp.linalg.norm(jnp.where(seen, frame.gradient, 0)) + frame.gradient_error
    uncertain = seen & (relative > DRIFT)
    left_over = jax.lax.cond(jnp.any(uncertain), lambda: slope_left(frame, slope), lambda: jnp.zeros_like(values))
    return Drift(relative, kink, jnp.all(left_over <= vanished))
