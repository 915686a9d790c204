"""Trust-region steps within bounds: each is made on the face of the active ones, and put back into the box.

    A      numbers at a bound towards which the loss falls, found again before every step
    step   p minimizes g.p + p.H p / 2 over the other numbers in |p| <= radius, hard case included
    theta  <-  clip(theta + p)        taken where the loss there falls by a share of what was predicted

As the radius shrinks the step becomes one against the gradient, which lowers the loss after clipping as well, so that
some radius serves (Bertsekas 1982; Conn, Gould & Toint 1988).  Bounds that the step meets are active from then on.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from gdlab.ground.leaves import shown
from hessian.bounds import Box, Clipped, box, face_at
from hessian.product import Params, gradient
from hessian.steps.eigenbasis import eigenbasis
from hessian.steps.second_order import Flat, TrustRegion
from hessian.steps.sr1_trust_region import Goal, Walk, krylov_size
from hessian.symmetry.slices import Slice


def bounded(bounds: Any, params: Params, symmetries: Any, optimizer: optax.GradientTransformation | None) -> Box | None:
    """The box of a descent; ValueError where symmetries or an optimizer, which would leave it, are given too."""
    for name, given in (("symmetries", symmetries), ("optimizer", optimizer)):
        if bounds is not None and given is not None:
            msg = f"{name} must be None where bounds hold params; got {shown(given)}"
            raise ValueError(msg)
    return box(bounds, params, inside=False)


def projected_trust_region(goal: Goal, walk: Walk, within: Box) -> Walk:
    """The walk after steps until the tolerances are met on a face, none lowers the loss, or the budget is spent."""
    begin = walk._replace(walking=walk.left > 0)
    return jax.lax.while_loop(lambda walk: walk.walking, partial(_step, goal, within), begin)


def _step(goal, within, walk):
    """The walk after one step on the face where it stands."""
    flat = goal.flat
    key, fresh = jax.random.split(walk.key)
    face = face_at(flat.loss, flat.unravel(walk.theta), flat.args, within)
    on_face = Flat(Slice(flat.loss), flat.unravel, (face, *flat.args))
    slope = face.across(ravel_pytree(gradient(flat.loss, flat.unravel(face.center), *flat.args))[0])
    here = walk._replace(theta=face.center, value=flat(face.center), gradient=slope)
    found = eigenbasis(on_face, here.theta, slope, krylov_size(here.theta), fresh)
    convex = goal.is_convex(found)
    met = goal.is_met(here, found, 0.5) & convex
    move = TrustRegion()(Clipped(flat, within), here.theta, here.value, slope, found, walk.region)
    moved = move.moved & ~met
    theta = jnp.where(moved, within.clip(move.theta), here.theta)
    value = jnp.where(moved, move.value, here.value)
    going = moved & (walk.left > 1) & (value >= goal.floor)
    return here._replace(
        walking=going,
        theta=theta,
        value=value,
        region=jnp.where(moved, move.region, walk.region),
        moved=moved | met,
        convex=convex,
        left=walk.left - 1,
        steps=walk.steps + moved,
        gradients=walk.gradients + 4,
        num_matvecs=walk.num_matvecs + found.num_matvecs,
        evaluations=walk.evaluations + move.evaluations + 1,
        key=key,
    )
