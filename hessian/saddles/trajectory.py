"""An optimizer's run away from a saddle, recorded step by step, and how long theory says that it takes.

    theta_0 = saddle + offset xi,  |xi| = 1;     in the linear theory of gradient descent with rate eta

    (theta_t - saddle).u  =  (1 + eta |lambda_1|)^t  offset (xi.u),
    T                     =  log(radius / (offset |xi.u|)) / log(1 + eta |lambda_1|),

about log(1/offset) / (eta |lambda_1|) for small rates.  Each step records the loss, the gradient's norm, the lowest
eigenvalue and the part of the gradient in the negative eigenspace.  Up to 64 parameters these come from all
eigenvectors; beyond, only the lowest one is followed, by two products a step in the span of itself and its residual.

| function | what it returns |
|---|---|
| `escape_trajectory` | a run of any optimizer from beside a saddle, recorded |
| `escape_time` | T, for gradient descent |
"""

from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from gdlab.ground.checks import key_or_default, number, whole
from gdlab.ground.results import digits, result
from hessian.arguments import transformation
from hessian.limits import DENSE_TRAJECTORY
from hessian.numerics import divisor, unit
from hessian.precision import Tree, working
from hessian.product import Loss, flat_product
from hessian.steps.eigenbasis import eigenbasis, lowest_direction, orthogonal

NUM_MATVECS = 128  # with the Hessian at most, for the eigenvector at the saddle


@result
class EscapeTrajectory(NamedTuple, Generic[Tree]):
    """A recorded run; arrays of shape (steps,), taken before each step."""

    loss: jax.Array  # of the params
    gradient_norm: jax.Array  # the Euclidean norm of the gradient
    lowest: jax.Array  # the lowest eigenvalue
    alignment: jax.Array  # the share of the gradient in the negative eigenspace, from 0 to 1
    distance: jax.Array  # from the saddle
    left_at: jax.Array  # the first step at which the distance exceeds the radius; `steps` where none does
    start_projection: jax.Array  # |offset xi.u_1|: what the theory starts from
    curvature: jax.Array  # lambda_1 at the saddle
    params: Tree  # after the last step

    def _words(self) -> str:
        loss = f"loss {digits(self.loss[0])} -> {digits(self.loss[-1])}"
        return f"{jnp.size(self.loss)} steps, left at step {digits(self.left_at)}, {loss}"


def escape_time(curvature: ArrayLike, rate: ArrayLike, projection: ArrayLike, radius: ArrayLike = 1.0) -> jax.Array:
    """Steps of gradient descent until a distance `projection` along the lowest eigenvector has grown to the radius.

    Args:
        curvature: the lowest eigenvalue, < 0.
        rate: of gradient descent, > 0.
        projection: the distance at the start, > 0.
        radius: the distance at the end, > 0.

    >>> round(float(escape_time(-2.0, 0.5, 1 / 8)), 6)  # doubled by each step
    3.0
    """
    number("curvature", curvature, "(-inf, 0)")
    for name, value in (("rate", rate), ("projection", projection), ("radius", radius)):
        number(name, value)
    return jnp.log(jnp.asarray(radius) / projection) / jnp.log1p(-jnp.asarray(curvature) * rate)


def escape_trajectory(
    loss: Loss,
    saddle: Tree,
    *args: Any,
    optimizer: optax.GradientTransformation,
    steps: int,
    offset: ArrayLike = 1e-6,
    radius: ArrayLike = 0.5,
    key: jax.Array | None = None,
) -> EscapeTrajectory[Tree]:
    """A run of an optimizer from a random point beside a saddle, with its curvature at each step (S57).

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        saddle: pytree of floating arrays.
        *args: further arguments of the loss.
        optimizer: any optax-compatible optimizer.
        steps: how many, >= 1.
        offset: the distance of the start from the saddle, > 0.
        radius: the distance at which the saddle counts as left, > 0.
        key: of the direction, `jax.random.key(0)` by default; `vmap` over keys for many.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError for steps out of range.

    >>> run = escape_trajectory(lambda w: (1 - w[0] * w[1]) ** 2, jnp.zeros(2), optimizer=optax.sgd(0.1), steps=150)
    >>> predicted = escape_time(run.curvature, 0.1, run.start_projection, 0.5)
    >>> bool(abs(run.left_at - predicted) < 3)
    True
    """
    loss, saddle, args, stored = working(loss, saddle, *args, names=("loss", "saddle"))
    steps = whole("steps", steps)
    offset, radius = number("offset", offset), number("radius", radius)
    transformation(optimizer)
    theta, unravel = ravel_pytree(saddle)
    offset, radius = jnp.asarray(offset, theta.dtype), jnp.asarray(radius, theta.dtype)
    start_key, lanczos_key = jax.random.split(key_or_default(key))
    xi = unit(jax.random.normal(start_key, theta.shape, theta.dtype))
    curvature, out, _, _ = lowest_direction(loss, saddle, args, lanczos_key, NUM_MATVECS)
    extended = optax.with_extra_args_support(optimizer)

    def value_fn(params):
        return loss(params, *args)

    def step(carry, _):
        params, state, vector = carry
        value, grads = jax.value_and_grad(value_fn)(params)
        here, g = ravel_pytree(params)[0], ravel_pytree(grads)[0]
        lowest, vector, share = _lowest(loss, params, args, here, g, vector, lanczos_key)
        norm = jnp.linalg.norm(g)
        recorded = (value, norm, lowest, share / divisor(norm), jnp.linalg.norm(here - theta))
        updates, state = extended.update(grads, state, params, value=value, grad=grads, value_fn=value_fn)
        return (optax.apply_updates(params, updates), state, vector), recorded

    start = unravel(theta + offset * xi)
    (end, _, _), recorded = jax.lax.scan(step, (start, optimizer.init(start), out), length=steps)
    beyond = recorded[4] > radius
    left_at = jnp.where(jnp.any(beyond), jnp.argmax(beyond), steps)
    values, norms, lowest, shares, distances = recorded
    projection, end = jnp.abs(offset * (xi @ out)), stored.whole(stored(end), args)
    return EscapeTrajectory(
        loss=values,
        gradient_norm=norms,
        lowest=lowest,
        alignment=shares,
        distance=distances,
        left_at=left_at,
        start_projection=projection,
        curvature=curvature,
        params=end,
    )


def _lowest(loss, params, args, here, g, vector, key):
    """The lowest eigenvalue, its vector, and the length of the gradient within the negative eigenspace."""
    if here.size <= DENSE_TRAJECTORY:
        unravel = ravel_pytree(params)[1]
        found = eigenbasis(lambda x: loss(unravel(x), *args), here, g, None, key)
        negative = found.values < -found.band
        return found.values[0], found.vectors[0], jnp.linalg.norm(jnp.where(negative, found.projections, 0))
    product = flat_product(loss, params, *args)
    with jax.default_matmul_precision("highest"):
        image = product(vector)
        # The residual of an eigenvector is rounding; a random direction beside it shows whether another one is lower.
        other = orthogonal(vector[None], unit(image - (vector @ image) * vector), key)
        pair = jnp.stack([vector, other])
        small = pair @ jnp.stack([image, product(other)]).T
        values, columns = jnp.linalg.eigh((small + small.T) / 2)
        best = unit(columns[:, 0] @ pair)
        share = jnp.where(values[0] < 0, jnp.abs(best @ g), 0)
    return values[0], best, share
