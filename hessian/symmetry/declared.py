"""Declared symmetries, checked at random points before they are used.

    |xi(x) . grad L(x)|  <=  its rounding          at points x around params, near and far
    |L(g x) - L(x)|      <=  its rounding          for a discrete one

A violation beyond rounding refutes the declaration for certain; none at some points proves nothing.

| name | what it is |
|---|---|
| `Symmetries` | the continuous and the discrete ones of one declaration |
| `declare` | them, after a look at what came |
| `refuse_wrong` | raises where a symmetry does not hold; says whether it does where values are traced |
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from hessian.compiled import compiled
from hessian.numerics import divisor
from hessian.precision import Loss, Params
from hessian.product import gradient
from hessian.roundoff import SAFETY, STRIDE, UNIFORM, jittered
from hessian.symmetry.discrete import joined
from hessian.symmetry.generators import Continuous, flattened

REACHES = (1e-2, 1e-1, 1.0)  # how far from params it is checked, in units of their root mean square
POINTS = 3  # at each of these distances
DRAWS = 4  # samples of rounding, of both signs
SLACK = 1e3  # eps times the sum of sizes that rounding may be as well


@dataclass(frozen=True)
class Symmetries:
    """The symmetries of one declaration; equal for equal ones, so that a program is traced once."""

    continuous: tuple = ()
    discrete: tuple = ()

    def fields(self, params: Params) -> jax.Array:
        """The fields of all generators at params, raveled, shape (generators, n)."""
        theta = ravel_pytree(params)[0]
        none = jnp.zeros((0, theta.size), theta.dtype)
        return jnp.concatenate([none, *(one.fields(params) for one in self.continuous)])

    def stretch(self, params: Params) -> bool:
        """Whether one of them changes distances, as rescalings do; rotations and shifts do not."""
        theta, unravel = ravel_pytree(params)
        if not self.continuous:
            return False
        slopes = np.asarray(jax.jacfwd(lambda x: self.fields(unravel(x)))(theta))
        skew = np.abs(slopes + slopes.transpose(0, 2, 1)) <= 1e-4 * np.abs(slopes).max(initial=0)
        return not bool(skew.all())


def declare(symmetries: Any, params: Params) -> Symmetries | None:
    """The declared symmetries of params in the working precision; None for None."""
    if symmetries is None or isinstance(symmetries, Symmetries):
        return symmetries
    every = tuple(flattened(symmetries))
    continuous = tuple(one for one in every if isinstance(one, Continuous))
    found = Symmetries(continuous, joined(one for one in every if not isinstance(one, Continuous)))
    jax.eval_shape(found.fields, params)
    for one in found.discrete:
        jax.eval_shape(one.image, params, jax.random.key(0))
    return found


def refuse_wrong(loss: Loss, params: Params, args: tuple, symmetries: Symmetries | None) -> Any:
    """Whether the symmetries hold as far as can be told, at random points; ValueError outside `jit` where they do not.

    The loss and params are in the working precision.
    """
    if symmetries is None:
        return True
    of_fields, of_images = _violations(loss, symmetries, params, args)
    holds = jnp.all(of_fields[:, 1] <= 1) & jnp.all(of_images[:, 1] <= 1)
    if isinstance(holds, jax.core.Tracer) or holds:
        return holds
    which, kind = (of_fields, "generator") if jnp.any(~(of_fields[:, 1] <= 1)) else (of_images, "discrete symmetry")
    worst = int(jnp.argmax(jnp.where(jnp.isnan(which[:, 1]), jnp.inf, which[:, 1])))
    measured, excess = map(float, which[worst])
    if not excess >= 0:
        msg = (
            f"symmetries must be checked at points near params, where the loss is not finite; got no finite gradient"
            f" for {kind} {worst}"
        )
    elif kind == "generator":
        msg = (
            f"symmetries must leave the loss as it is; along generator {worst} the slope is {measured:.2g} of |xi| |g|,"
            f" {excess:.2g} times what rounding explains"
        )
    else:
        msg = (
            f"symmetries must leave the loss as it is; {kind} {worst} changes it by {measured:.2g} of itself,"
            f" {excess:.2g} times what rounding explains"
        )
    raise ValueError(msg)


@compiled(static_argnums=(0, 1))
def _violations(loss, symmetries, params, args):
    """For each generator, and each discrete symmetry: its worst violation, in relative terms and in roundings.

    NaN where no point has a finite gradient.
    """
    theta, unravel = ravel_pytree(params)
    eps = jnp.finfo(theta.dtype).eps
    size = jnp.sqrt(jnp.mean(theta**2))
    reach = jnp.repeat(jnp.asarray(REACHES, theta.dtype), POINTS) * divisor(size)
    keys = jax.random.split(jax.random.key(0), len(reach))

    def slope_at(there):
        return ravel_pytree(gradient(loss, unravel(there), *args))[0]

    pools = jnp.asarray(np.stack([side * np.roll(UNIFORM, STRIDE * i) for i in range(DRAWS) for side in (1, -1)]))
    pools, rounded = pools.astype(theta.dtype), jittered(slope_at, theta)

    def at_point(each):
        key, far = each
        there = theta + far * jax.random.normal(key, theta.shape, theta.dtype)
        x = unravel(there)
        fields, g = symmetries.fields(x), slope_at(there)
        errors = jax.vmap(rounded, (0, None))(pools, there) - g
        slack = jnp.max(jnp.abs(fields @ errors.T), axis=1, initial=0)
        allowed = SAFETY * slack + SLACK * eps * (jnp.abs(fields) @ jnp.abs(g))
        slope = jnp.abs(fields @ g)
        sizes = jnp.linalg.norm(fields, axis=1) * jnp.linalg.norm(g)
        return _ratios(slope, sizes, allowed), _images(loss, symmetries, x, args, key, pools)

    of_fields, of_images = jax.lax.map(at_point, (keys, reach))

    def worst(ratios):
        """Over the points, those that are finite; NaN where none is."""
        seen = jnp.isfinite(ratios).all(axis=2, keepdims=True)
        return jnp.where(seen.any(axis=0), jnp.max(jnp.where(seen, ratios, -1), axis=0), jnp.nan)

    return worst(of_fields), worst(of_images)


def _ratios(violation, sizes, allowed):
    """The violation relative to sizes and to what is allowed, shape (k, 2); 0 where it is 0."""
    some = violation != 0
    return jnp.stack([jnp.where(some, violation / jnp.where(some, each, 1), 0) for each in (sizes, allowed)], axis=-1)


def _images(loss, symmetries, x, args, key, pools):
    """How much a random image of each discrete symmetry changes the loss."""
    if not symmetries.discrete:
        return jnp.zeros((0, 2), pools.dtype)
    value = loss(x, *args)
    rounded = jax.vmap(jittered(lambda x: loss(x, *args), x), (0, None))(pools, x)
    changes = jnp.stack([jnp.abs(loss(one.image(x, key), *args) - value) for one in symmetries.discrete])
    allowed = SAFETY * jnp.max(jnp.abs(rounded - value)) + SLACK * jnp.finfo(value.dtype).eps * jnp.abs(value)
    return _ratios(changes, jnp.abs(value), jnp.broadcast_to(allowed, changes.shape))
