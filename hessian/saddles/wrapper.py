"""Any optimizer, wrapped so that it leaves saddles; and gradient descent with random perturbations, to compare with.

    every step                   the optimizer's own
    after each `every` of them   one check:  lambda_1, u_1 of the Hessian from a fresh random start;
                                 the step along u_1, where it lowers the loss by more than the last `every` steps did

Near a saddle the optimizer's progress shrinks, so at some check a negative-curvature step promises more and is taken
instead; elsewhere the optimizer runs unchanged.  The count alone decides when to check: under `vmap` a condition on the
gradient would be evaluated with both branches, for every lane at every step.

| function | what it returns |
|---|---|
| `with_saddle_escape` | an optimizer that checks the curvature and never stays on a strict saddle |
| `perturbed_gd` | gradient descent with noise where the gradient is small (Jin et al. 2017) |
| `negative_curvature_step` | one check, and the step along negative curvature |

`hessian.find_minimum` runs an optimizer in the same way, down to a certificate.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.ground.checks import key_or_default, number, switch, whole
from hessian.arguments import tolerance, transformation
from hessian.numerics import length_scale
from hessian.precision import Storage, rounded, working, working_dtype
from hessian.product import Loss, Params, flat_product
from hessian.saddles.escape import Escape, EscapeOutcome, line_search_along
from hessian.spectra.spectrum import rounding
from hessian.steps.acceptance import smallest_visible_step
from hessian.steps.eigenbasis import lowest_direction
from hessian.steps.second_order import Flat

SECOND_DIFFERENCE = 32  # the rounding of a second difference of losses, in eps |loss|
NUM_MATVECS = 40  # with the Hessian, at most, for one check


class SaddleEscapeState(NamedTuple):
    """What the next step needs."""

    count: jax.Array  # type: ignore[assignment]  # steps taken
    key: jax.Array
    value: jax.Array  # the loss at the last check
    escapes: jax.Array  # how often a step along negative curvature was taken
    inner: Any  # the optimizer's own state


class PerturbedState(NamedTuple):
    """What the next step needs."""

    count: jax.Array  # type: ignore[assignment]  # steps taken
    last: jax.Array  # the step of the last perturbation
    key: jax.Array


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


def perturbed_gd(
    rate: ArrayLike,
    *,
    radius: ArrayLike,
    threshold: ArrayLike,
    wait: ArrayLike = 10,
    key: jax.Array | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Gradient descent with a perturbation, uniform in a ball, where the gradient is small (Jin et al. 2017; S49, S99).

    theta <- theta - rate g,  and + xi, |xi| <= radius, where |g| <= threshold and none was added for `wait` steps.

    Args:
        rate: of gradient descent, > 0.
        radius: of the ball, >= 0.
        threshold: of the gradient's norm, >= 0; infinite for noise at every `wait`-th step.
        wait: steps between two perturbations, >= 1.
        key: of the noise, `jax.random.key(0)` by default.

    >>> step = perturbed_gd(0.1, radius=0.5, threshold=1e-3)
    >>> updates, _ = step.update(jnp.zeros(3), step.init(jnp.zeros(3)))
    >>> 0 < float(jnp.linalg.norm(updates)) <= 0.5
    True
    """
    rate, radius, key = number("rate", rate), number("radius", radius, "[0, inf)"), key_or_default(key)
    threshold, wait = number("threshold", threshold, "[0, inf]"), number("wait", wait, "[1, inf)")
    return optax.GradientTransformationExtraArgs(
        Partial(_perturbed_init, key, wait), Partial(_perturbed_update, rate, radius, threshold, wait)
    )


def negative_curvature_step(
    loss: Loss,
    params: Params,
    args: tuple,
    curvature_tol: ArrayLike | None,
    key: jax.Array,
    num_matvecs: int,
    stored: Storage | None = None,
) -> tuple[Escape, jax.Array]:
    """The step along the first clear direction of negative curvature, and the number of products that it took."""
    theta, unravel = ravel_pytree(params)
    _, direction, spectral_norm, used = lowest_direction(loss, params, args, key, num_matvecs)
    with jax.default_matmul_precision("highest"):
        value = direction @ flat_product(loss, params, *args)(direction)
    tol = curvature_tol
    if tol is None:
        tol = jnp.where(_bends_down(Flat(loss, unravel, args), theta, direction, value), 0, rounding(spectral_norm))
    return line_search_along(loss, params, args, tol, unravel(direction), value, spectral_norm, stored), used + 1


def _bends_down(flat, theta, direction, curvature):
    """Whether the loss itself shows this negative curvature, by more than rounding, where eps |H| would hide it."""
    eps = jnp.finfo(theta.dtype).eps
    reach = length_scale(theta)
    here = flat(theta)
    length = jnp.clip(smallest_visible_step(here, curvature), eps ** (1 / 4) * reach, reach)
    ahead, behind = flat(theta + length * direction), flat(theta - length * direction)
    noise = SECOND_DIFFERENCE * eps * jnp.maximum(jnp.abs(here), jnp.maximum(jnp.abs(ahead), jnp.abs(behind)))
    return (ahead - here) + (behind - here) < jnp.minimum(-noise, curvature * length**2 / 4)


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


def _perturbed_init(key, wait, params):
    del params
    count = jnp.zeros([], jnp.int32)
    return PerturbedState(count, count - jnp.asarray(wait, jnp.int32), key)


def _perturbed_update(rate, radius, threshold, wait, grads, state, params=None, **extra):
    del params, extra
    narrow, unravel = ravel_pytree(grads)
    g = narrow.astype(narrow.dtype if narrow.dtype.itemsize >= 4 else jnp.float32)
    key, direction, share = jax.random.split(state.key, 3)
    xi = jax.random.normal(direction, g.shape, g.dtype)
    sides = g.size * (2 if jnp.iscomplexobj(g) else 1)
    length = radius * jax.random.uniform(share, (), xi.real.dtype) ** (1 / sides)
    xi = xi * length / jnp.linalg.norm(xi)
    add = (jnp.linalg.norm(g) <= threshold) & (state.count - state.last >= wait)
    updates = unravel((-rate * g + jnp.where(add, xi, 0)).astype(narrow.dtype))
    return updates, PerturbedState(state.count + 1, jnp.where(add, state.count, state.last), key)


def _like(updates, grads):
    return jax.tree.map(lambda u, g: rounded(u, jnp.result_type(g)), updates, grads)
