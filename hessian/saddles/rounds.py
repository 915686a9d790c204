"""Rounds of a first-order optimizer, each followed by one check of the curvature.

    round    `steps` steps of the optimizer; the lowest point is kept
    check    lambda_1 from a fresh random start; a step along it where that lowers the loss by more than the round did

The rounds end when the optimizer makes no more progress and no curvature is negative, or when it diverges.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree

from hessian.saddles.escape import EscapeOutcome
from hessian.saddles.negative_curvature import NUM_MATVECS, negative_curvature_step
from hessian.steps.acceptance import loss_rounding
from hessian.steps.second_order import Flat
from hessian.steps.sr1_trust_region import Walk


def run_rounds(
    flat: Flat,
    optimizer: optax.GradientTransformation,
    walk: Walk,
    floor: jax.Array,
    curvature_tol: Any,
    rounds: int,
    steps: int,
    reset: bool,
) -> Walk:
    """The walk at the lowest point that the rounds visited.

    Args:
        flat: the loss.
        optimizer: it starts afresh after an escape where `reset` says so, and after a round without progress.
        walk: the start.
        floor: a loss below this ends the rounds.
        curvature_tol: as in `hessian.with_saddle_escape`.
        rounds: how many at most.
        steps: of the optimizer in each.
        reset: whether the optimizer starts afresh after an escape.
    """
    extended = optax.with_extra_args_support(optimizer)
    unravel = flat.unravel

    def value_fn(params):
        return flat.loss(params, *flat.args)

    def cheap(carry, _):
        params, state, lowest, at = carry
        value, grads = jax.value_and_grad(value_fn)(params)
        better = value < lowest
        lowest, at = jnp.where(better, value, lowest), jax.tree.map(partial(jnp.where, better), params, at)
        updates, state = extended.update(grads, state, params, value=value, grad=grads, value_fn=value_fn)
        return (optax.apply_updates(params, updates), state, lowest, at), None

    def a_round(state):
        walk, inner = state
        params = unravel(walk.theta)
        (params, inner, lowest, at), _ = jax.lax.scan(cheap, (params, inner, walk.value, params), length=steps)
        value = value_fn(params)
        finite = jnp.isfinite(value)
        better = value < lowest
        theta = jnp.where(better, ravel_pytree(params)[0], ravel_pytree(at)[0])
        reached = jnp.where(better, value, lowest)
        fell = walk.value - reached
        # A divergent step ends the rounds at the lowest point that they visited.
        going = finite & (reached >= floor)
        onward = walk._replace(theta=theta, value=reached, steps=walk.steps + steps, gradients=walk.gradients + steps)
        checked, escaped = _checked(flat, onward, going, curvature_tol, fell)
        fresh = optimizer.init(unravel(checked.theta))
        restart = escaped & reset | ~better
        inner = jax.tree.map(lambda new, old: jnp.where(restart, new, old), fresh, inner)
        slow = fell <= loss_rounding(reached)
        left = walk.left - 1
        return checked._replace(walking=going & (left > 0) & (escaped | ~slow), left=left), inner

    begin = walk._replace(left=jnp.int32(rounds))
    walk, _ = jax.lax.while_loop(lambda state: state[0].walking, a_round, (begin, optimizer.init(unravel(walk.theta))))
    return walk


def _checked(flat, walk, going, curvature_tol, fell):
    """One check of the curvature, and the step along it where that lowers the loss by more than the round did."""
    key, fresh = jax.random.split(walk.key)
    way, num_matvecs = negative_curvature_step(
        flat.loss, flat.unravel(walk.theta), flat.args, curvature_tol, fresh, NUM_MATVECS
    )
    escaped = going & (way.code == EscapeOutcome.STEPPED) & (way.loss_before - way.loss_after > fell)
    walk = walk._replace(
        theta=jnp.where(escaped, ravel_pytree(way.params)[0], walk.theta),
        value=jnp.where(escaped, way.loss_after, walk.value),
        escapes=walk.escapes + escaped,
        gradients=walk.gradients + 1,
        num_matvecs=walk.num_matvecs + num_matvecs,
        key=key,
    )
    return walk, escaped
