"""One step out of a saddle, along the eigenvector of the lowest eigenvalue; the loss never rises (S57).

    u = eigenvector of lambda_1 < 0,   s = -sign(g.u),   L(theta + s a u)  ~  L(theta) + s a g.u + a^2 lambda_1 / 2

The sign is that of -g.u; at the saddle itself, where g.u is zero, both signs are tried.  The length starts at
a = |lambda_1| / rho, where rho is the change of the curvature along u, measured; it is halved until the loss falls by
|lambda_1| a^2 / 8, then doubled while the loss keeps falling, up to 100 (1 + |theta|).  A step of 1e-8 from a saddle
lowers the loss by less than its rounding, so the length never starts below the smallest whose decrease is visible.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from gdlab.ground.checks import key_or_default, whole
from gdlab.ground.results import digits, result
from hessian.arguments import tolerance
from hessian.bounds import Boxed, boxed, face_at
from hessian.compiled import compiled
from hessian.limits import DENSE_SPECTRUM
from hessian.numerics import curvature_rounding, length_scale
from hessian.precision import Storage, Tree, storage, working
from hessian.product import Loss, Params, gradient, hvp, second_order
from hessian.results import Outcome, counts
from hessian.spectra.spectrum import spectrum
from hessian.steps.acceptance import descent_sign, smallest_visible_step
from hessian.steps.eigenbasis import lowest_direction
from hessian.symmetry.declared import declare, refuse_wrong
from hessian.symmetry.slices import Slice, sliced


class EscapeOutcome(Outcome):
    """What became of an escape."""

    STEPPED = "stepped along negative curvature"
    NO_CURVATURE = "no negative curvature beyond the zero band"
    NO_DECREASE = "negative curvature, but no step along it lowers the loss visibly"
    NOT_FINITE = "the loss, gradient or Hessian is not finite"


HALVINGS = DOUBLINGS = 60  # enough to cross the range of lengths that floats can tell apart


@result
class Escape(NamedTuple, Generic[Tree]):
    """The step that was taken; where there was none the parameters are those given and the step is 0."""

    params: Tree  # params + step * direction, never of a higher loss
    step: jax.Array  # the length of the step, >= 0
    direction: Tree  # the lowest eigenvector, of length 1, its sign the one that was taken
    loss_before: jax.Array  # at the params given
    loss_after: jax.Array  # at the params returned
    curvature: jax.Array  # the lowest eigenvalue
    code: jax.Array  # the reason as an integer: an `EscapeOutcome`

    def _words(self) -> str:
        loss = f"loss {digits(self.loss_before)} -> {digits(self.loss_after)}"
        step = f"step {digits(self.step)} along curvature {digits(self.curvature)}"
        return f"{counts(EscapeOutcome, self.code)}; {step}, {loss}"

    @property
    def reason(self) -> str:
        """What was done and why, in words: a string, or an array of them for many points.  Not inside `jit`."""
        return EscapeOutcome.words_of(self.code)


class _Line(NamedTuple):
    """The line theta + t u through a saddle, and what is known along it."""

    loss_at: Callable[[jax.Array], jax.Array]  # of the signed length t
    before: jax.Array  # the loss at t = 0
    directional_derivative: jax.Array  # g.u
    curvature: jax.Array  # |u.H u|
    longest: jax.Array  # the largest t


class _Search(NamedTuple):
    """The state of the search for a length; its loop reads only `searching` and `tried`."""

    searching: jax.Array  # bool
    tried: jax.Array  # int
    length: jax.Array  # the length to try next
    best: jax.Array  # the best length so far, 0 where none lowered the loss
    best_loss: jax.Array
    growing: jax.Array  # bool: a length was accepted, and twice that is tried


def escape(
    loss: Loss,
    params: Tree,
    *args: Any,
    curvature_tol: ArrayLike | None = None,
    key: jax.Array | None = None,
    num_matvecs: int = 100,
    symmetries: Any = None,
    trainable: Any = None,
    bounds: Any = None,
) -> Escape[Tree]:
    """One step out of a saddle, along its direction of most negative curvature (S57).

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        params: pytree of n real floating values, at or near a saddle.
        *args: further arguments of the loss.
        curvature_tol: curvature is negative where it lies below minus this, >= 0; by default 50 eps |H|.
        key: of the random start of Lanczos, above 1024 parameters; `jax.random.key(0)` by default.
        num_matvecs: how many products with the Hessian Lanczos may take, >= 5; it stops at the first clear direction of
            negative curvature, which need not be an eigenvector.
        symmetries: as in `hessian.classify`; the step then leads off the orbit.  Inside `jit` they are not checked.
        trainable: which floating arrays are free, a pytree of bools like params or a prefix of it, or a function of
            paths such as "['layer']['bias']"; the others are held where they are, and the step leaves them there.
        bounds: as in `hessian.classify`; the step then leads along the face of the active ones, and ends at the
            point of the box that is nearest to params + step * direction.

    Returns:
        An `Escape`; its `reason` says what was done.  The loss never rises.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError for fewer products,
            and for symmetries that do not hold.

    >>> way = escape(lambda w: (1 - w[0] * w[1]) ** 2, jnp.zeros(2))
    >>> float(way.curvature), float(way.loss_before), round(float(way.loss_after), 6)
    (-2.0, 1.0, 0.25)
    """
    loss, params, args, stored = working(loss, params, *args, trainable=trainable)
    num_matvecs, key = whole("num_matvecs", num_matvecs, 5), None if key is None else key_or_default(key)
    tolerance("curvature_tol", curvature_tol)
    within, symmetries = boxed(bounds, params, symmetries), declare(symmetries, params)
    refuse_wrong(loss, params, args, symmetries)
    restored = partial(stored.whole, args=args)
    loss, args, _ = sliced(loss, args, symmetries, params)
    way = _escaped(loss, stored, num_matvecs, params, args, curvature_tol, key, within)
    return way._replace(params=restored(way.params))


@compiled(products=100, kept_by=second_order, static_argnums=(0, 1, 2))
def _escaped(loss, stored, num_matvecs, params, args, curvature_tol, key, within):
    """The way out along the direction of most negative curvature, in one program."""
    taken, given = loss, args
    if within is not None:
        face = face_at(loss, params, args, within)
        taken, given = Boxed(loss), (within, *args)
        loss, args, params = Slice(loss), (face, *args), ravel_pytree(params)[1](face.center)
    if sum(leaf.size for leaf in jax.tree.leaves(params)) <= DENSE_SPECTRUM:
        found = spectrum(loss, params, *args)
        lowest = jax.tree.map(lambda v: v[0], found.eigenvectors)
        value, spectral_norm = found.eigenvalues[0], jnp.max(jnp.abs(found.eigenvalues))
    else:
        value, direction, spectral_norm, _ = lowest_direction(loss, params, args, key_or_default(key), num_matvecs)
        lowest = ravel_pytree(params)[1](direction)
    way = line_search_along(taken, params, given, curvature_tol, lowest, value, spectral_norm, stored)
    if within is None:
        return way
    end, unravel = ravel_pytree(stored.carried(way.params))
    return way._replace(params=stored(unravel(within.clip(end))))


@compiled(static_argnames=("loss", "stored"))
def line_search_along(
    loss: Loss,
    params: Params,
    args: tuple,
    curvature_tol: Any,
    lowest: Params,
    curvature: Any,
    spectral_norm: Any,
    stored: Storage | None = None,
) -> Escape:
    """The step along a direction `lowest` of length 1 and of this curvature, where |H| = spectral_norm.

    Its losses are those of the parameters as they are after they were `stored`.
    """
    stored = storage(params) if stored is None else stored
    theta, unravel = ravel_pytree(params)
    u = ravel_pytree(lowest)[0]
    directional_derivative = ravel_pytree(gradient(loss, params, *args))[0] @ u
    before = loss(params, *args)
    band = jnp.asarray(curvature_rounding(spectral_norm) if curvature_tol is None else curvature_tol, theta.dtype)
    scale = length_scale(theta)

    def loss_at(length):
        return loss(stored.landed(unravel(theta + length * u)), *args)

    line = _Line(loss_at, before, directional_derivative, jnp.abs(curvature), 100 * scale)
    balanced = _balanced_length(loss, params, args, u, curvature, scale)
    start = jnp.minimum(jnp.maximum(balanced, smallest_visible_step(before, curvature)), line.longest)
    sign = _lower_side(line, start)
    negative = curvature < -band
    finite = jnp.isfinite(before) & jnp.isfinite(directional_derivative) & jnp.isfinite(spectral_norm)
    step, reached = _length_search(line, sign, start, negative & finite)

    code = EscapeOutcome.code_of(
        [
            (~finite, EscapeOutcome.NOT_FINITE),
            (~negative, EscapeOutcome.NO_CURVATURE),
            (step == 0, EscapeOutcome.NO_DECREASE),
        ],
        EscapeOutcome.STEPPED,
    )
    after = jnp.where(code == EscapeOutcome.STEPPED, theta + step * sign * u, theta)
    return Escape(
        params=stored(unravel(after)),
        step=step,
        direction=stored(unravel(sign * u)),
        loss_before=before,
        loss_after=reached,
        curvature=curvature,
        code=code,
    )


def _balanced_length(loss, params, args, u, curvature, scale):
    """|curvature| / (its change per length along u); the length scale where the curvature does not change."""
    theta, unravel = ravel_pytree(params)

    def curvature_at(length):
        hv = hvp(loss, unravel(theta + length * u), *args)(unravel(u))
        return ravel_pytree(hv)[0] @ u

    h = jnp.finfo(theta.dtype).eps ** (1 / 4) * scale
    beside = jax.lax.map(curvature_at, jnp.stack([h, -h]))
    change = jnp.max(jnp.abs(beside - curvature)) / h
    is_constant = change * scale <= jnp.abs(curvature)
    return jnp.where(is_constant, scale, jnp.abs(curvature) / jnp.where(is_constant, 1, change))


def _lower_side(line, length):
    """The sign that goes down: -sign(g.u) where that is known, else the side with the lower loss."""
    downhill, sign_known = descent_sign(line.directional_derivative, line.curvature, length)
    ahead, behind = jax.lax.map(line.loss_at, jnp.stack([length, -length]))
    lower = jnp.where(ahead <= behind, 1.0, -1.0).astype(line.directional_derivative.dtype)
    return jnp.where(sign_known, downhill, lower)


def _length_search(line, sign, start, is_needed):
    """The length at which the loss is lowest of those tried, 0 where none lowers it, and the loss there."""

    def try_length(search):
        value = line.loss_at(sign * search.length)
        enough = value <= line.before - line.curvature * search.length**2 / 8
        falling = jnp.where(search.growing, value < search.best_loss, enough & (value < line.before))
        best = jnp.where(falling, search.length, search.best)
        best_loss = jnp.where(falling, value, search.best_loss)
        growing = search.growing | falling
        tried = search.tried + 1
        limit = jnp.where(growing, DOUBLINGS, HALVINGS)
        length = jnp.where(growing, 2 * search.length, search.length / 2)
        searching = jnp.where(growing, falling & (length <= line.longest), True) & (tried < limit)
        return _Search(searching=searching, tried=tried, length=length, best=best, best_loss=best_loss, growing=growing)

    before = jnp.asarray(line.before)
    begin = _Search(
        searching=is_needed,
        tried=jnp.int32(0),
        length=start,
        best=jnp.zeros_like(start),
        best_loss=before,
        growing=jnp.bool_(False),
    )
    found = jax.lax.while_loop(lambda search: search.searching, try_length, begin)
    return found.best, found.best_loss
