"""Box bounds: the face on which a point lies, and what its multipliers say.

    lower <= theta <= upper          A = the numbers that lie at a bound towards which the loss falls: active
    F(x) = L(x with x_A at its bounds),   grad F = P grad L,   H_F = P H P,   P = 1 on the free numbers, 0 on A

A point is critical in a box where F is critical at it and every multiplier, the slope of the loss from an active bound
into the box, is positive (Karush 1939; Kuhn & Tucker 1951).  Its index is that of F: the loss rises into the box from
every active bound, so only what happens on the face counts.  Where a multiplier is zero to rounding the curvature
across the bound would have to be asked as well, on one side of it alone: that is undetermined.

| name | what it is |
|---|---|
| `Box`, `box`, `boxed` | the bounds as vectors; those of an argument, checked; where no symmetries are declared |
| `Face`, `face_at` | a point with its active bounds; that of a point |
| `OnFace`, `on_face` | what bounds have to do with a verdict; that of a verdict |
| `Clipped`, `Boxed` | a loss that is taken at the nearest point of the box, of one vector and of params |
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gdlab.ground.boxes import sides
from gdlab.ground.results import result
from hessian.numerics import unit
from hessian.precision import Loss, Params, Storage, Tree
from hessian.product import gradient
from hessian.roundoff import SAFETY, spread
from hessian.tolerances import distance_tol

SAMPLES = 4  # of the rounding of the gradient


class Box(NamedTuple):
    """The bounds on the raveled parameters."""

    lower: jax.Array  # (n,)
    upper: jax.Array  # (n,)

    def clip(self, theta: jax.Array) -> jax.Array:
        """The nearest point of the box."""
        return jnp.clip(theta, self.lower, self.upper)

    def holds(self, theta: jax.Array) -> jax.Array:
        """Whether a point lies in the box: bool."""
        return jnp.all((theta >= self.lower) & (theta <= self.upper))


def box(bounds: Any, params: Params, inside: bool = True) -> Box | None:
    """The box of the argument `bounds` around params; None for None.

    Args:
        bounds: a pair (lower, upper), each a number, None or a pytree like params, in which None is no bound.
        params: a pytree of arrays.
        inside: whether params must lie in the box; values inside `jit` are not looked at.

    Raises:
        ValueError: for what is no pair, fits no params, or holds a lower bound above the upper one; for params outside.

    >>> box((0.0, {"w": None}), {"w": jnp.ones(2)}).upper.tolist()
    [inf, inf]
    """
    given = sides(bounds, params)
    if given is None:
        return None
    there, theta = Box(*(ravel_pytree(side)[0] for side in given)), ravel_pytree(params)[0]
    if inside and _false(there.holds(theta)):
        beyond = int(np.sum((theta < there.lower) | (theta > there.upper)))
        msg = f"params must lie within bounds; got {beyond} of {theta.size} numbers outside"
        raise ValueError(msg)
    return there


def boxed(bounds: Any, params: Params, symmetries: Any) -> Box | None:
    """The box of a verdict or a way out; ValueError where symmetries, which would lead out of it, are declared too."""
    if bounds is not None and symmetries is not None:
        msg = "symmetries must be None where bounds hold params, which symmetries would move; got both"
        raise ValueError(msg)
    return box(bounds, params)


def _false(condition):
    return not isinstance(condition, jax.core.Tracer) and not bool(condition)


class Face(NamedTuple):
    """A point with the bounds that are active there; to a `Slice` what an `Orbit` is."""

    center: jax.Array  # (n,): the point, its active numbers at their bounds
    side: jax.Array  # (n,): 1 at an active lower bound, -1 at an upper one, 0 where free
    noise: jax.Array  # (n,): the rounding of the gradient
    box: Box

    @property
    def active(self) -> jax.Array:
        """Which numbers are held by a bound, shape (n,)."""
        return self.side != 0

    @property
    def dimension(self) -> jax.Array:
        """How many numbers are held by a bound."""
        return jnp.sum(self.active, dtype=jnp.int32)

    def across(self, vector: jax.Array) -> jax.Array:
        """The free part of a vector."""
        return jnp.where(self.active, 0, vector)

    def onto(self, theta: jax.Array) -> jax.Array:
        """The point of the face beside theta."""
        return jnp.where(self.active, self.center, theta)

    @property
    def projector(self) -> jax.Array:
        """The matrix that leaves the active part of a vector."""
        return jnp.diag(self.active.astype(self.center.dtype))

    def vanishing(self, here: jax.Array, there: jax.Array, step: jax.Array) -> jax.Array:
        """Whether it is open if a bound is active at the critical point a step away: bool.

        `here` and `there` are the gradients at the center and at the step's end.  Open is a multiplier that is zero to
        rounding and to what it changes on the way, and a free number that the step takes beyond its bound.
        """
        fixed = self.box.lower == self.box.upper
        least = jnp.minimum(self.side * here, self.side * there)
        weak = self.active & ~fixed & ~(least > self.noise + jnp.abs(there - here))
        end = self.center + step
        beyond = ~self.active & ((end < self.box.lower) | (end > self.box.upper))
        return jnp.any(weak | beyond) | ~self.box.holds(self.center)

    def descent(self, slope: jax.Array) -> jax.Array:
        """The direction of steepest descent into the box and along the face, of length 1, or 0."""
        return unit(jnp.where(self.active, 0, -slope))


@result
class OnFace(NamedTuple, Generic[Tree]):
    """A verdict within bounds: what they have to do with it."""

    side: Tree  # 1 where a lower bound is active, -1 where an upper one is, 0 where a number is free
    multipliers: Tree  # the slope of the loss from an active bound into the box, 0 where a number is free
    descent: Tree  # the steepest way down that stays in the box, of length 1; where the point is critical, rounding
    active: jax.Array  # how many bounds are active
    strict: jax.Array  # bool: every multiplier is certain to be positive, and every free number to be free

    def _words(self) -> str:
        return self.words

    @property
    def words(self) -> str:
        """How many bounds are active, and how far their multipliers are from zero.  Not inside `jit`."""
        active = int(np.sum(np.asarray(self.active)))
        if not active:
            return "none active"
        pairs = zip(jax.tree.leaves(self.side), jax.tree.leaves(self.multipliers), strict=True)
        least = min(np.min(np.asarray(m, float)[np.asarray(s) != 0], initial=np.inf) for s, m in pairs)
        return f"{active} active with multipliers of {least:.2g} or more"

    def in_storage(self, stored: Storage) -> "OnFace[Tree]":
        """The same in the dtypes of the parameters."""
        return self._replace(side=stored(self.side), multipliers=stored(self.multipliers), descent=stored(self.descent))


def face_at(loss: Loss, params: Params, args: tuple, box: Box) -> Face:
    """The face of the box on which params lie, or near which they lie with a slope that leads there.

    Near is what counts as near a critical point, `hessian.tolerances.distance_tol`.
    """
    theta, unravel = ravel_pytree(params)
    near = distance_tol(theta)

    def slope_at(x):
        return ravel_pytree(gradient(loss, unravel(x), *args))[0]

    slope = slope_at(theta)
    noise = SAFETY * jnp.max(jnp.abs(spread(loss, params, args, SAMPLES)[0]), axis=0)
    low = (theta - box.lower <= near) & ~(slope < -noise)
    high = (box.upper - theta <= near) & ~(slope > noise)
    side = jnp.where(low & (~high | (slope > 0)), 1, jnp.where(high, -1, 0)).astype(theta.dtype)
    snapped = jnp.where(side > 0, box.lower, jnp.where(side < 0, box.upper, theta))
    # A bound near which the slope leads, but on which it leads back, is not active: the point is inside.
    kept = (side * slope_at(snapped) >= -noise) | (box.lower == box.upper)
    side = jnp.where(kept, side, 0)
    return Face(jnp.where(side == 0, theta, snapped), side, noise, box)


def on_face(loss: Loss, params: Params, args: tuple, face: Face, step: jax.Array) -> OnFace:
    """What the bounds have to do with a verdict at the center of a face, given Newton's step on it."""
    theta, unravel = ravel_pytree(params)
    here, there = (ravel_pytree(gradient(loss, unravel(x), *args))[0] for x in (theta, theta + step))
    strict = ~face.vanishing(here, there, step)
    return OnFace(
        side=unravel(face.side),
        multipliers=unravel(face.side * here),
        descent=unravel(face.descent(here)),
        active=face.dimension,
        strict=strict,
    )


@dataclass(frozen=True, eq=False)
class Clipped:
    """A loss of one vector that is taken at the nearest point of the box."""

    loss: Callable[[jax.Array], jax.Array]
    box: Box

    def __call__(self, theta: jax.Array) -> jax.Array:
        return self.loss(self.box.clip(theta))


@dataclass(frozen=True)
class Boxed:
    """A loss `Boxed(loss)(params, box, *args)` taken at the nearest point of the box; equal for equal losses."""

    loss: Loss

    def __call__(self, params: Params, box: Box, *args: Any) -> jax.Array:
        theta, unravel = ravel_pytree(params)
        return self.loss(unravel(box.clip(theta)), *args)
