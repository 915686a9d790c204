"""Second-order steps as optax transformations; they differ in what they do at a saddle.

In the eigenbasis of the Hessian, a_i = u_i.g, each is one line per coordinate:

    newton                 p_i = -a_i / lambda_i                          to the nearest critical point, saddles too
    saddle_free_newton     p_i = -a_i / (|lambda_i| + damping)            away from saddles where a_1 != 0
    trust_region           p_i = -a_i / (lambda_i + mu),  |p| <= radius   out of every saddle, a_1 = 0 included
    cubic_regularization   the same with mu = weight |p|                  likewise

The last two need mu >= -lambda_1.  Where |p| is too short even so (the hard case, which Krylov methods driven by the
gradient alone never see), the rest of the length goes along u_1, to the side with the lower loss.  Their steps never
raise the loss; where no step lowers it the update is zero.  `hessian.steps.trust_region` solves for mu.

| function | source |
|---|---|
| `newton` | S52; it is drawn to saddles |
| `saddle_free_newton` | Dauphin et al. 2014, arXiv:1406.2572 |
| `trust_region` | More & Sorensen 1983; Conn, Gould & Toint 2000, section 7.3 |
| `cubic_regularization` | Nesterov & Polyak 2006; Cartis, Gould & Toint 2011 |

Each takes `value=`, `grad=` and `value_fn=` in `update`, as `gdlab.minimize` and optax's line searches give them.
`krylov=None` takes the dense Hessian; a number takes two Krylov spaces of that size, for any number of parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.ground.checks import key_or_default, number
from gdlab.ground.leaves import shown
from hessian.numerics import length, newton_coordinates, unit
from hessian.precision import Storage, TracedOnce, rounded, working, working_dtype
from hessian.product import Params, slope_of
from hessian.steps.acceptance import accepted, gradient_fell, is_hidden
from hessian.steps.eigenbasis import eigenbasis
from hessian.steps.trust_region import cubic, in_ball

TRIES = 30  # of ever smaller steps, a quarter each time


class SecondOrderState(NamedTuple):
    """What the next step needs."""

    key: jax.Array  # of the random Krylov space; each step draws its own
    region: jax.Array  # the trust radius, or the weight of the cubic term; unused by the others


class Move(NamedTuple):
    """A step that was found, in flat coordinates."""

    theta: jax.Array
    value: jax.Array
    region: jax.Array
    moved: jax.Array  # bool
    evaluations: jax.Array  # of the loss


def newton(
    rate: ArrayLike = 1.0, *, krylov: int | None = None, key: jax.Array | None = None
) -> optax.GradientTransformationExtraArgs:
    """Newton's method, p = -rate H^+ g: to the next critical point, be it a minimum or not (S52, S58).

    Args:
        rate: the share of the step that is taken, > 0.
        krylov: the size of the Krylov spaces, >= 1; None for the dense Hessian.
        key: of the random start, `jax.random.key(0)` by default.

    Returns:
        An `optax.GradientTransformationExtraArgs` whose update needs `value_fn=`.

    Raises:
        ValueError: for krylov below 1; in `update`, without params or value_fn.

    >>> step = newton()
    >>> def loss(w):
    ...     return w[0] ** 2 - w[1] ** 2
    >>> w = jnp.array([3.0, 1.0])
    >>> step.update(jax.grad(loss)(w), step.init(w), w, value_fn=loss)[0].tolist()  # into the saddle
    [-3.0, -1.0]
    """
    return _transformation(Newton(_checked(krylov)), key, jnp.zeros(()), number("rate", rate))


def saddle_free_newton(
    rate: ArrayLike = 1.0, *, damping: ArrayLike = 0.0, krylov: int | None = None, key: jax.Array | None = None
) -> optax.GradientTransformationExtraArgs:
    """Saddle-free Newton, p = -rate |H|^-1 g: saddles repel it, unless the gradient has no component along u_1.

    On a saddle and on its stable manifold a_1 = 0, so it stays there: wrap it in `hessian.with_saddle_escape`.

    Args:
        rate: the share of the step that is taken, > 0.
        damping: added to each |lambda_i|, >= 0.
        krylov: as for `newton`.
        key: as for `newton`.

    >>> step = saddle_free_newton()
    >>> def loss(w):
    ...     return w[0] ** 2 - w[1] ** 2
    >>> w = jnp.array([3.0, 1.0])
    >>> step.update(jax.grad(loss)(w), step.init(w), w, value_fn=loss)[0].tolist()
    [-3.0, 1.0]
    """
    rate, damping = number("rate", rate), number("damping", damping, "[0, inf)")
    return _transformation(SaddleFree(_checked(krylov)), key, jnp.zeros(()), rate, damping)


def trust_region(
    radius: ArrayLike = 1.0, *, krylov: int | None = None, key: jax.Array | None = None
) -> optax.GradientTransformationExtraArgs:
    """The best step within a radius that adapts, hard case included: it leaves every strict saddle (S57).

    Args:
        radius: the first radius, > 0; doubled after a good step, cut after a bad one.
        krylov: as for `newton`.
        key: as for `newton`.

    Returns:
        An `optax.GradientTransformationExtraArgs`; its update never raises the loss, and is zero where no step lowers
        it.

    >>> step = trust_region(0.5)
    >>> def loss(w):
    ...     return (1 - w[0] * w[1]) ** 2
    >>> w = jnp.zeros(2)  # exactly on the saddle
    >>> update, _ = step.update(jax.grad(loss)(w), step.init(w), w, value_fn=loss)
    >>> round(float(loss(w + update)), 6)  # (1 - 1/8)^2: half a unit along (1, 1)
    0.765625
    """
    return _transformation(TrustRegion(_checked(krylov)), key, number("radius", radius))


def cubic_regularization(
    weight: ArrayLike = 1.0, *, krylov: int | None = None, key: jax.Array | None = None
) -> optax.GradientTransformationExtraArgs:
    """The minimizer of the model with weight |p|^3 / 3 added, the weight adapted (S57).

    On a saddle it goes |lambda_1| / weight along u_1, and predicts a decrease of |lambda_1|^3 / (6 weight^2).

    Args:
        weight: the first weight, > 0; doubled after a bad step, halved after a very good one.
        krylov: as for `newton`.
        key: as for `newton`.

    >>> step = cubic_regularization(4.0)
    >>> def loss(w):
    ...     return (1 - w[0] * w[1]) ** 2
    >>> w = jnp.zeros(2)
    >>> update, _ = step.update(jax.grad(loss)(w), step.init(w), w, value_fn=loss)
    >>> round(float(jnp.linalg.norm(update)), 6)  # 2 / 4
    0.5
    """
    return _transformation(Cubic(_checked(krylov)), key, number("weight", weight))


# ------------------------------------------------------------------------------------------ the steps, flat


@dataclass(frozen=True)
class Newton:
    """One step of `newton`: (loss, theta, value, gradient, eigenbasis, region, rate) -> Move."""

    krylov: int | None

    def __call__(self, loss, theta, value, gradient, found, region, rate):
        return _unconditional(loss, theta, rate * found.step(found.newton(found.projections)), region)


@dataclass(frozen=True)
class SaddleFree:
    """One step of `saddle_free_newton`."""

    krylov: int | None

    def __call__(self, loss, theta, value, gradient, found, region, rate, damping):
        sizes = jnp.abs(found.values) + damping
        seen = sizes > found.band
        coordinates = newton_coordinates(sizes, found.projections, seen)
        return _unconditional(loss, theta, rate * found.step(coordinates), region)


@dataclass(frozen=True)
class TrustRegion:
    """One step of `trust_region`: the region is the radius."""

    krylov: int | None = None

    def __call__(self, loss, theta, value, gradient, found, radius):
        def propose(radius):
            inside, rest, size = in_ball(found, radius)
            return inside, rest, size >= 0.99 * radius

        return _tried(loss, theta, value, gradient, found, radius, propose, self.adapt)

    @staticmethod
    def adapt(radius, size, ratio, on_boundary):
        """The next radius, after a step of this size that brought this share of what was predicted, or none."""
        smaller = jnp.where(ratio > 0, size / 2, jnp.minimum(radius, size) / 4)
        return jnp.where(ratio < 0.25, smaller, jnp.where((ratio > 0.75) & on_boundary, 2 * radius, radius))


@dataclass(frozen=True)
class Cubic:
    """One step of `cubic_regularization`: the region is the weight of the cubic term."""

    krylov: int | None = None

    def __call__(self, loss, theta, value, gradient, found, weight):
        def propose(weight):
            inside, rest = cubic(found, weight)
            return inside, rest, jnp.bool_(True)

        def adapt(weight, size, ratio, on_boundary):
            larger = jnp.where(ratio > 0, 2 * weight, 4 * weight)
            least = jnp.finfo(weight.dtype).eps * jnp.max(jnp.abs(found.values))
            smaller = jnp.maximum(weight / 2, jnp.where(least > 0, least, weight))
            return jnp.where(ratio < 0.25, larger, jnp.where(ratio > 0.9, smaller, weight))

        return _tried(loss, theta, value, gradient, found, weight, propose, adapt)


class _Tries(NamedTuple):
    """The state of the search for a region; its loop reads only `searching`."""

    searching: jax.Array  # bool
    count: jax.Array  # type: ignore[assignment]
    region: jax.Array
    theta: jax.Array
    value: jax.Array
    moved: jax.Array


def _tried(loss, theta, value, gradient, found, region, propose, adapt):
    """The first step, from regions that shrink, which lowers the loss as the model says."""

    def candidate(region):
        inside, rest, on_boundary = propose(region)
        out = jnp.zeros_like(inside).at[0].set(rest)
        both = jnp.stack([inside + out, inside - out])
        points = theta + jax.vmap(found.step)(both)
        values = jax.vmap(loss)(points)
        values = jnp.where(jnp.isfinite(values), values, jnp.inf)
        best = jnp.argmin(values)
        p = both[best]
        size, u = length(p), unit(p)
        decline = -(
            found.projections @ u + 0.5 * (found.values * p) @ u
        )  # per length, which no small step makes vanish
        return points[best], values[best], decline, size, on_boundary

    steepness = length(gradient)

    def try_region(tries):
        point, reached, decline, size, on_boundary = candidate(tries.region)
        predicted = decline * size
        fell = jax.lax.cond(
            is_hidden(value, reached, predicted),
            lambda: gradient_fell(steepness, length(slope_of(loss)(point))),
            lambda: jnp.bool_(False),
        )
        good, ratio = accepted(value, reached, predicted, decline > 0, fell)
        region = adapt(tries.region, size, ratio, on_boundary)
        by_gradient = good & (ratio == 0)  # which says nothing about the region
        return _Tries(
            searching=~good & (tries.count + 1 < TRIES) & (size > 0),
            count=tries.count + 1,
            region=jnp.where(by_gradient, tries.region, region),
            theta=jnp.where(good, point, theta),
            value=jnp.where(good, reached, value),
            moved=good,
        )

    start = _Tries(
        searching=jnp.isfinite(value),
        count=jnp.int32(0),
        region=region,
        theta=theta,
        value=value,
        moved=jnp.bool_(False),
    )
    tries = jax.lax.while_loop(lambda tries: tries.searching, try_region, start)
    # Where no region helped, it was not the region that was at fault.
    return Move(tries.theta, tries.value, jnp.where(tries.moved, tries.region, region), tries.moved, 2 * tries.count)


def _unconditional(loss, theta, step, region):
    return Move(theta + step, loss(theta + step), region, jnp.bool_(True), jnp.int32(1))


# ------------------------------------------------------------------------------------------ as transformations


def _transformation(method, key, region, *hyperparameters):
    key = key_or_default(key)
    return optax.GradientTransformationExtraArgs(
        Partial(_init, key, region), Partial(_update, _Static(method), hyperparameters)
    )


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Static:
    """The structure of a method: no leaf."""

    method: Callable


def _init(key, region, params):
    return SecondOrderState(key, jnp.asarray(region, working_dtype(params)))


@dataclass(frozen=True, eq=False)
class Flat(TracedOnce):
    """A loss of a pytree as a loss of one vector."""

    loss: Callable[..., jax.Array]
    unravel: Callable[[jax.Array], Params]
    args: tuple = ()

    def __call__(self, theta):
        with jax.default_matmul_precision("highest"):
            return self.loss(self.unravel(theta), *self.args)


@dataclass(frozen=True, eq=False, kw_only=True)
class Updated(Flat):
    """A flat loss, and how a step becomes an update of params in the dtypes of the gradients."""

    params: Params
    grads: Params
    stored: Storage

    def updates(self, step: jax.Array) -> Params:
        """The step, shape (n,), as updates."""
        return jax.tree.map(lambda u, g: rounded(u, jnp.result_type(g)), self.unravel(step), self.grads)

    def landed(self, theta: jax.Array) -> jax.Array:
        """The loss at theta as it is once the update was rounded to the dtypes of params."""
        if not self.stored.rounds:
            return self(theta)
        here, unravel = ravel_pytree(self.stored.carried(self.params))
        step = ravel_pytree(self.stored.carried(self.updates(theta - here)))[0]
        return self(ravel_pytree(self.stored.landed(unravel(here + step)))[0])


def flattened(
    grads: Params, params: Params | None, value: ArrayLike | None, value_fn: Callable[[Params], jax.Array] | None
) -> tuple[Updated, jax.Array, jax.Array, jax.Array]:
    """What an update is given, over the raveled parameters: the loss, where it stands, value and gradient."""
    if params is None or value_fn is None:
        missing = "params" if params is None else "value_fn"
        msg = f"{missing} must be given to update: a second-order step needs params and value_fn; got None"
        raise ValueError(msg)
    value_fn, inside, _, stored = working(value_fn, params, names=("value_fn", "params"))
    theta, unravel = ravel_pytree(inside)
    loss = Updated(value_fn, unravel, params=params, grads=grads, stored=stored)
    # A value that was computed in half precision is no measure for one that is not.
    known = value is not None and jnp.result_type(value).itemsize >= theta.dtype.itemsize
    value = jnp.asarray(value, theta.dtype) if known else loss(theta)
    gradient = ravel_pytree(stored.carried(grads))[0]
    return loss, theta, value, gradient


def _update(static, hyperparameters, grads, state, params=None, *, value=None, grad=None, value_fn=None, **extra):
    del extra
    loss, theta, value, gradient = flattened(grads, params, value, value_fn)
    key, fresh = jax.random.split(state.key)
    found = eigenbasis(loss, theta, gradient, static.method.krylov, fresh)
    region, *others = (jnp.asarray(one, theta.dtype) for one in (state.region, *hyperparameters))
    move = static.method(loss.landed, theta, value, gradient, found, region, *others)
    return loss.updates(move.theta - theta), SecondOrderState(key, move.region.astype(state.region.dtype))


def _checked(krylov):
    if krylov is not None and (isinstance(krylov, bool) or not isinstance(krylov, int) or krylov < 1):
        msg = f"krylov must be None for the dense Hessian, or a whole number, at least 1; got {shown(krylov)}"
        raise ValueError(msg)
    return krylov
