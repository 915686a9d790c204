"""Which eigenvalues keep their sign up to the critical point that Newton's step predicts: a Kantorovich test.

The eigenvectors U and eigenvalues Lambda of H(theta) measure every change in units of the curvature itself,

    S(d)  =  |Lambda|^(-1/2) U^T (H(theta + d) - H(theta)) U |Lambda|^(-1/2),      p  =  -H^-1 grad L,   undamped

so the test does not depend on linear coordinates, and detects a Hessian that turns as well as one that shrinks.  Near a
degenerate point |S| stays large at every distance: 1/2 for x^3, 5/9 for x^4, 0.14 for |x|^2.05.  The Hessian is
computed at p and at both ends of a diagonal of the box that contains p, Newton's second step and the rounding of the
gradient; the gradient also at p/2, at 2p and on both sides of theta as near as floats allow, where a kink shows.  Among
the eigenvectors with |S| <= MAX_DRIFT at all of these H keeps its signs (Haynsworth): a test at seven points, no proof.

| function | what it returns |
|---|---|
| `newton_steps` | Newton's step, and the second with the same Hessian, in eigenvectors |
| `slope_left` | the slope that is left after many of them |
| `drift` | |S| in the k stiffest eigenvectors, for each k, and whether there is a kink |
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hessian.numerics import curvature_rounding, divided, divisor, newton_coordinates
from hessian.roundoff import SAFETY, UNIFORM

MAX_DRIFT = 0.05  # the largest relative change of curvature under which a sign is certain
HIDDEN = 3  # the part of Newton's step that rounding of the gradient may hide, in units of its spread
BESIDE = 16  # the distance at which a kink is looked for, in units of eps |theta|
STEPS = 16  # of Newton's with one Hessian, to see whether the slope vanishes
VANISHED = 0.1  # the share of the slope that may be left of it after them
SUDDEN = 16  # how many times larger the gradient's deviation may be at 2p than at p
WIDER = 16  # how many times farther than BESIDE the box reaches, at least


class Frame(NamedTuple):
    """A point in the eigenbasis of its Hessian."""

    theta: jax.Array  # (n,)
    gradient: jax.Array  # (n,), along each eigenvector
    values: jax.Array  # (n,), ascending
    basis: jax.Array  # (n, n), a column per eigenvector
    seen: jax.Array  # (n,) bool: which eigenvalues lie beyond rounding
    gradient_error: jax.Array  # (n,), rounding of the gradient along each eigenvector
    entry_error: jax.Array  # rounding of one entry of U^T H U


class Drift(NamedTuple):
    """How much the curvature changes on the way to the critical point."""

    relative: jax.Array  # (n,): |S| in the eigenvectors at least as stiff as this one
    kink: jax.Array  # bool: gradient or Hessian jump at theta
    converging: jax.Array  # bool: where curvature changes, the slope vanishes along Newton's steps, as near x^k = 0


def newton_steps(frame: Frame, gradient_at: Callable[[jax.Array], jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Newton's step along the eigenvectors beyond rounding, and the next with the same Hessian."""
    first = newton_coordinates(frame.values, frame.gradient, frame.seen)
    return first, newton_coordinates(frame.values, _slope_at(frame, gradient_at, first), frame.seen)


def slope_left(frame: Frame, gradient_at: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """The slope after many of Newton's steps with one Hessian, along the eigenvectors whose slope exceeds rounding.

    Beside a degenerate point of x^k it falls to 1 / (1 + steps) or below; where no critical point is near it stays.
    """
    falling = frame.seen & (jnp.abs(frame.gradient) > frame.gradient_error)

    def onward(_, walked):
        here, _ = walked
        slope = _slope_at(frame, gradient_at, here)
        return here + newton_coordinates(frame.values, slope, falling), slope

    still = jnp.zeros_like(frame.values)
    _, slope = jax.lax.fori_loop(0, STEPS + 1, onward, (still, still))  # the last of these steps is not used
    return jnp.where(falling, jnp.abs(slope), 0)


def _slope_at(frame, gradient_at, coordinates):
    """The slope along each eigenvector at these coordinates."""
    return gradient_at(frame.theta + frame.basis @ coordinates) @ frame.basis


def drift(
    frame: Frame, gradient_at: Callable[[jax.Array], jax.Array], curvature: Callable[[jax.Array], jax.Array]
) -> Drift:
    """How far curvature changes; `gradient_at` is the gradient at a point, `curvature` the matrix there."""
    values, seen = frame.values, frame.seen
    eps = jnp.finfo(values.dtype).eps
    first, second = newton_steps(frame, gradient_at)
    hidden = divided(HIDDEN / SAFETY * frame.gradient_error, jnp.abs(values), seen)
    box = jnp.abs(first) + jnp.abs(second) + hidden
    beside = BESIDE * eps * (jnp.linalg.norm(frame.theta) + eps)
    side = jnp.where(jnp.resize(jnp.asarray(UNIFORM, values.dtype), values.shape) > 0, 1, -1).astype(values.dtype)
    corner, close = side * (2 * box + WIDER * beside), side * beside
    moves = jnp.stack([first, corner, -corner, first / 2, 2 * first, close, -close])

    weight = 1 / jnp.sqrt(divisor(jnp.where(seen, jnp.abs(values), 0)))
    stiffest = jnp.argsort(-jnp.abs(values))

    # The samples are too few for each eigenvector alone, so each also gets the mean over all.
    noise = jnp.maximum(frame.gradient_error, jnp.sqrt(jnp.mean(frame.gradient_error**2)))

    def deviation_at(move):
        """The gradient's deviation from the quadratic model, in the k stiffest eigenvectors and in all; and |move|."""
        there = frame.theta + frame.basis @ move
        moved = (there - frame.theta) @ frame.basis  # the move after rounding
        deviation = gradient_at(there) @ frame.basis - frame.gradient - values * moved
        deviation = jnp.maximum(jnp.abs(deviation) - noise - curvature_rounding(values) * jnp.linalg.norm(moved), 0)
        energy = jnp.linalg.norm(jnp.where(seen, moved / weight, 0))
        of_slope = divided(jnp.sqrt(jnp.cumsum((weight * deviation)[stiffest] ** 2)), energy)
        return of_slope, jnp.linalg.norm(deviation), jnp.linalg.norm(moved)

    def turn(move):
        """The change of the curvature beyond its rounding."""
        there = curvature(frame.theta + frame.basis @ move)
        return jnp.maximum(jnp.abs(frame.basis.T @ there @ frame.basis - jnp.diag(values)) - frame.entry_error, 0)

    def in_stiffest(change):
        scaled = (weight[:, None] * change * weight[None])[stiffest][:, stiffest]
        return jnp.sqrt(jnp.diagonal(jnp.cumsum(jnp.cumsum(scaled**2, axis=0), axis=1)))

    of_slope, sizes, lengths = jax.lax.map(deviation_at, moves)
    of_curvature = jax.lax.map(lambda move: in_stiffest(turn(move)), moves[:3])
    worst = jnp.concatenate([of_slope, of_curvature])
    worst = jnp.max(jnp.where(jnp.isfinite(worst), worst, jnp.inf), axis=0)
    relative = jnp.zeros_like(values).at[stiffest].set(worst)

    # The deviation of a smooth gradient grows with the square of the move: four times as large at 2p as at p.
    share = divided(sizes, lengths)
    ahead = sizes[4] > SUDDEN * (sizes[0] + jnp.linalg.norm(frame.gradient_error))
    kink = (jnp.max(share[5:]) > jnp.max(share[1:3]) / 2) | ahead
    vanished = VANISHED * jnp.linalg.norm(jnp.where(seen, frame.gradient, 0)) + frame.gradient_error
    uncertain = seen & (relative > MAX_DRIFT)
    left_over = jax.lax.cond(jnp.any(uncertain), lambda: slope_left(frame, gradient_at), lambda: jnp.zeros_like(values))
    return Drift(relative, kink, jnp.all(left_over <= vanished))
