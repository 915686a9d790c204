"""The live page: a race whose loss and optimizers are JavaScript, so that a browser computes every run again.

    x = B (theta - theta_0)        where a run is drawn, as on the page that replays (`page`)

Nothing is written twice: value, gradient, Hessian, eigenvalues, the plane, and each step with its eta, sigma and m are
emitted from the functions that the race ran.  What the emitter refuses is `Refused`, and its page replays instead.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gdlab.base import Optimizer
from gdlab.optimizers.inspect import inspect
from gdlab.pieces import NONNEGATIVE, ranges

from ..playground.emit import PRELUDE, Refused, emitted
from ..workloads.workload import Workload

LARGEST = 120_000  # characters of all functions of a page
NAMES = ("embed", "project", "height", "slope", "look", "eigen")  # of the functions of the surface
ENDLESS = 1e300  # stands for a range without an end, which JSON has not


def code(workload: Workload, plane: Any, optimizers: dict[str, Any], rates: list[float]) -> tuple[str, list[Any]]:
    """The functions of a page, and of each optimizer its name, its hyperparameters and the sizes of what it reads.

    Raises:
        Refused: where the loss, an optimizer or the size of the whole does not fit a page.
    """
    if workload.batches is not None:
        msg = "mini-batches have no place on a page that computes"
        raise Refused(msg)
    first = jax.tree.map(lambda leaf: np.asarray(leaf[0], np.float64), workload.starts)
    with jax.enable_x64(True):
        ab, (theta, unravel) = jnp.zeros(2), ravel_pytree(jax.tree.map(jnp.asarray, first))
        origin, basis = jnp.asarray(plane.origin, float), jnp.asarray(plane.basis, float)
        texts = [PRELUDE, *surface(lambda x: workload.loss(unravel(x), *workload.args), origin, basis, ab, theta)]
        cards = []
        for i, (name, factory) in enumerate(optimizers.items()):
            made, card = stepper(i, factory, rates[i], theta, basis, unravel)
            texts += made
            cards.append({"name": name, **card})
    text = "\n".join(texts)
    if len(text) > LARGEST:
        msg = f"the functions of the page have {len(text)} characters; {LARGEST} fit"
        raise Refused(msg)
    return text, cards


def surface(loss: Any, origin: Any, basis: Any, ab: Any, theta: Any) -> list[str]:
    """The functions of the surface: to the plane and back, the loss there, and all there is to know of a point."""

    def embedded(x):
        return origin + basis.T @ x

    def inside(x):
        return loss(embedded(x))

    return [
        emitted("embed", embedded, ab),
        emitted("project", lambda theta: basis @ (theta - origin), theta),
        emitted("height", inside, ab),
        emitted("slope", jax.value_and_grad(loss), theta),
        emitted("look", lambda x: (*jax.value_and_grad(inside)(x), *eigen(jax.hessian(inside)(x))), ab),
        emitted("eigen", eigen, jnp.zeros((2, 2))),
    ]


def eigen(h: jax.Array) -> tuple[jax.Array, ...]:
    """The Hessian of two parameters, its eigenvalues, the lower first, and the eigenvectors of both, as rows."""
    middle, half, beside = (h[0, 0] + h[1, 1]) / 2, (h[0, 0] - h[1, 1]) / 2, (h[0, 1] + h[1, 0]) / 2
    size = jnp.maximum(jnp.abs(half), jnp.abs(beside))
    unit = jnp.where(size > 0, size, 1.0)
    radius = size * jnp.sqrt((half / unit) ** 2 + (beside / unit) ** 2)
    angle = jnp.arctan2(beside, half) / 2
    high = jnp.stack([jnp.cos(angle), jnp.sin(angle)])
    low = jnp.stack([-jnp.sin(angle), jnp.cos(angle)])
    return h, middle - radius, middle + radius, low, high


def stepper(
    i: int, factory: Any, rate: float, theta: Any, basis: Any, unravel: Any
) -> tuple[list[str], dict[str, Any]]:
    """The functions of an optimizer: its first state, and a step of it; its hyperparameters and sizes.

    A step is made on the parameters as the loss takes them, for some optimizers ask where one array ends.
    """
    optimizer = factory(rate)
    if isinstance(optimizer, Optimizer):
        numbers, rebuild = jax.tree.flatten(optimizer)
        named = [(name, value, allowed) for name, value, allowed in ranges(optimizer) if value is not None]
    else:  # of optax only the rate is known
        numbers, rebuild, named = [rate], None, [("learning rate", rate, NONNEGATIVE)]
    if len(named) != len(numbers) or any(np.ndim(one) for one in numbers):
        msg = f"hyperparameters that are not numbers, of optimizer {i + 1}, have no place on a page that computes"
        raise Refused(msg)
    plain = theta.size == 2

    def of(hypers):
        return factory(hypers[0]) if rebuild is None else jax.tree.unflatten(rebuild, hypers)

    def step(hypers, state, theta, grads, value):
        one, params, grads = of(hypers), unravel(theta), unravel(grads)
        nothing = jnp.full(2, jnp.nan)
        try:
            made, state = inspect(one).step(grads, state, params, value=value, grad=grads)
        except ValueError:  # optax's own, of which eta, sigma and m are not known
            update, state = one.update(grads, state, params)
            update = ravel_pytree(update)[0]
            return state, jnp.nan, nothing, nothing, basis @ update, theta + update
        sizes = jax.tree.map(jnp.broadcast_to, made.sigma, jax.tree.map(jnp.shape, params)) if plain else nothing
        sigma, m, update = (ravel_pytree(tree)[0] for tree in (sizes, made.m, made.update))
        return state, jnp.mean(made.eta), sigma, basis @ m, basis @ update, theta + update

    hypers = [jnp.asarray(one, float) for one in numbers]
    try:
        state = of(hypers).init(unravel(theta))
        texts = [
            emitted(f"init{i}", lambda hypers, theta: of(hypers).init(unravel(theta)), hypers, theta),
            emitted(f"step{i}", step, hypers, state, theta, theta, theta[0]),
        ]
    except (TypeError, AttributeError) as error:  # a library that cannot be traced by its rate, or needs more
        msg = f"optimizer {i + 1} has no step that can be emitted"
        raise Refused(msg) from error
    size = sum(jnp.size(one) for one in jax.tree.leaves(state))
    return texts, {"hypers": [_slider(*one) for one in named], "state": size}


def _slider(name, value, allowed):
    """What a slider must know of a hyperparameter."""
    ends = [float(np.clip(end, -ENDLESS, ENDLESS)) for end in (allowed.low, allowed.high)]
    return {"name": name, "value": float(value), "low": ends[0], "high": ends[1]}


__all__ = ["NAMES", "Refused", "code"]
