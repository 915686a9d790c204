"""Any optimizer, wrapped so that it leaves saddles.

    every step                   the optimizer's own
    after each `every` of them   one check:  lambda_1, u_1 of the Hessian from a fresh random start;
                                 the step along u_1, where it lowers the loss by more than the last `every` steps did

Near a saddle the optimizer's progress shrinks, so at some check a negative-curvature step promises more and is taken
instead; elsewhere the optimizer runs unchanged.  The count alone decides when to check: under `vmap` a condition on the
gradient would be evaluated with both branches, for every lane at every step.

`hessian.find_minimum` runs an optimizer in the same way, down to a certificate.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.ground.checks import key_or_default, number, switch, whole
from hessian.arguments import tolerance, transformation
from hessian.precision import rounded, working, working_dtype
from hessian.saddles.escape import EscapeOutcome
from hessian.saddles.negative_curvature import NUM_MATVECS, negative_curvature_step


class SaddleEscapeState(NamedTuple):
    """What the next step needs."""

    count: jax.Array  # type: ignore[assignment]  # steps taken
    key: jax.Array
    value: jax.Array  # the loss at the last check
    escapes: jax.Array  # how often a step along negative curvature was taken
    inner: Any  # the optimizer's own state


def with_saddle_escape(
    optimizer: optax.GradientTransformation,
    *,
    every: ArrayLike = 50,
    reset: bool = True,
    curvature_tol: ArrayLike | None = None,
    num_matvecs: int = NUM_MATVECS,
    key: jax.Array | None = None,
) -> optax.GradientTransformationExtraArgs:
    """The optimizer, with a check of the curvature every few steps and an escape where it is negative (S57).

    Args:
        optimizer: any optax-compatible optimizer.
        every: steps from one check to the next, >= 1.
        reset: whether the optimizer starts afresh after an escape, or keeps its state.
        curvature_tol: curvature is negative where it lies below minus this, >= 0; by default 50 eps |H|, or where the
            loss itself falls to both sides by more than its rounding.
        num_matvecs: products with the Hessian for one check, at most, >= 2; most escape directions take about ten.
        key: of the random starts, `jax.random.key(0)` by default.

    Returns:
        An optax transformation whose update needs `params` and `value_fn=`, as `gdlab.minimize` gives them.  A step
        along negative curvature never raises the loss; the optimizer's own steps are its own.

    Raises:
        ValueError: for products below 2; in `update`, without params or value_fn.

    >>> def loss(w):
    ...     return (1 - w[0] * w[1]) ** 2
    >>> optimizer = with_saddle_escape(optax.sgd(0.1), every=10)
    >>> @jax.jit
    ... def step(w, state):
    ...     updates, state = optimizer.update(jax.grad(loss)(w), state, w, value_fn=loss)
    ...     return w + updates, state
    >>> w, state = jnp.zeros(2), optimizer.init(jnp.zeros(2))  # exactly on the saddle
    >>> for _ in range(60):
    ...     w, state = step(w, state)
    >>> round(float(loss(w)), 6), int(state.escapes)
    (0.0, 1)
    """
    transformation(optimizer)
    structure = _Structure(switch("reset", reset), whole("num_matvecs", num_matvecs, 2))
    every, key = number("every", every, "[1, inf)"), key_or_default(key)
    tolerance("curvature_tol", curvature_tol)
    return optax.GradientTransformationExtraArgs(
        Partial(_init, optimizer, key), Partial(_update, structure, optimizer, every, curvature_tol)
    )


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Structure:
    """What fixes the types of the state, and so is no leaf."""

    reset: bool
    num_matvecs: int


def _init(optimizer, key, params):
    none = jnp.zeros([], jnp.int32)
    return SaddleEscapeState(none, key, jnp.asarray(jnp.inf, working_dtype(params)), none, optimizer.init(params))


def _update(
    structure, optimizer, every, curvature_tol, grads, state, params=None, *, value=None, value_fn=None, **extra
):
    if params is None or value_fn is None:
        missing = "params" if params is None else "value_fn"
        msg = f"{missing} must be given to update: a check of the curvature needs params and value_fn; got None"
        raise ValueError(msg)
    value = jnp.asarray(value_fn(params) if value is None else value, state.value.dtype)
    before = jnp.where(state.count == 0, value, state.value)
    extended = optax.with_extra_args_support(optimizer)
    key, fresh = jax.random.split(state.key)

    def go_on():
        updates, inner = extended.update(grads, state.inner, params, value=value, value_fn=value_fn, **extra)
        return _like(updates, grads), inner, before, state.escapes

    def check():
        updates, inner, _, escapes = go_on()
        loss, here, _, stored = working(value_fn, params, names=("value_fn", "params"))
        way, _ = negative_curvature_step(loss, here, (), curvature_tol, fresh, structure.num_matvecs, stored)
        leave = (way.code == EscapeOutcome.STEPPED) & (way.loss_before - way.loss_after > before - value)
        outward = _like(jax.tree.map(jnp.subtract, stored.carried(way.params), here), grads)
        if stored.rounds:  # and so may the step
            there = jax.tree.map(jnp.add, here, stored.carried(outward))
            leave &= loss(stored.landed(there)) <= way.loss_before
        afresh = optimizer.init(way.params) if structure.reset else inner
        chosen = jax.tree.map(lambda a, b: jnp.where(leave, a, b), (outward, afresh), (updates, inner))
        seen = jnp.where(leave, way.loss_after, value).astype(state.value.dtype)
        return *chosen, seen, escapes + leave

    updates, inner, seen, escapes = jax.lax.cond((state.count + 1) % every == 0, check, go_on)
    return updates, SaddleEscapeState(state.count + 1, key, seen, escapes, inner)


def _like(updates, grads):
    return jax.tree.map(lambda u, g: rounded(u, jnp.result_type(g)), updates, grads)
