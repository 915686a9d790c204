"""The pieces of a step, and the optimizer that they make.

    theta  <-  theta  -  eta / sigma * m

| piece | fields | what it is |
|---|---|---|
| `Schedule` | a callable: count -> eta | how far: a number per step |
| `Driven` | `init()`, `follow(count, state, grads, value)` | a rate that answers to the loss |
| `Direction` | `init(params)`, `follow(grads, state, count, eta)` | where to: m, a weighted sum of gradients |
| `Scale` | `init(params)`, `measure(grads, state, count, eta, m)` | how big gradients have been: sigma > 0 |
| `Step` | `count, eta, sigma, m` | what one step is made of |
| `Optimizer` | `init(params)`, `update(grads, state, params)` | optax's pair, and `step`, `extras`, which read it |

All of them are pytrees whose leaves are their hyperparameters: functions are `jax.tree_util.Partial`s of module-level
functions, so one trace serves all values, and `vmap` and `grad` go through an optimizer as through any other argument.
No field of a Scale is called `update`, lest it slip silently into a chain of transformations.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.tree_util import Partial
from jax.typing import ArrayLike

from gdlab.arguments import alike
from gdlab.numerics import Params, likes, widest

Schedule = Callable[[ArrayLike], ArrayLike]


class Step(NamedTuple):
    """What a step is made of: it moves the parameters by exactly `-eta / sigma * m`."""

    count: jax.Array  # type: ignore[assignment]  # how many steps came before this one, from 0
    eta: jax.Array  # the rate: a scalar
    sigma: Params  # the size of gradients: positive, shaped like params
    m: Params  # the direction: shaped like params

    @property
    def update(self) -> Params:
        """The change of the parameters, `-eta / sigma * m`, shaped like params."""
        of, ratios = likes(-self.eta), {}  # leaves that share their sigma share the division

        def move(sigma, m):
            if id(sigma) not in ratios:
                unit = _unit(sigma)
                ratios[id(sigma)] = of(sigma) / (sigma * unit), unit
            ratio, unit = ratios[id(sigma)]
            return ratio * (m * unit)

        return jax.tree.map(move, self.sigma, self.m)


def _unit(sigma):
    """A power of two that keeps eta / sigma in the range of its dtype: 1 but for the largest and smallest of sigma."""
    half = jnp.finfo(sigma.dtype).maxexp // 2
    unit = lambda exponent: jnp.asarray(2.0**exponent, sigma.dtype)  # noqa: E731
    far = jnp.where(sigma > unit(3 * half // 2), unit(-half), unit(0))
    return jnp.where(sigma < unit(-3 * half // 2), unit(half), far)


class Driven(NamedTuple):
    """A rate that answers to the loss: `follow(count, state, grads, value) -> (eta, state)`, from `init()`."""

    init: Callable[[], Any]
    follow: Callable[..., tuple[jax.Array, Any]]


class Direction(NamedTuple):
    """Where to go: `follow(grads, state, count, eta) -> (eta, m, state)`.

    A direction returns the rate as well, because a buffer that already holds rates (heavy ball) keeps moving the
    parameters when the schedule says 0, and has then to name the rate in which its m is measured.
    """

    init: Callable[[Params], Any]
    follow: Callable[..., tuple[jax.Array, Params, Any]]


class Scale(NamedTuple):
    """How big gradients have been: `measure(grads, state, count, eta, m) -> (sigma, state)`, sigma above 0."""

    init: Callable[[Params], Any]
    measure: Callable[..., tuple[Params, Any]]
    # What else it knows of a step, by name; called with the hyperparameters of `measure` before its arguments.
    extras: Callable[..., dict[str, jax.Array]] | None = None


class Optimizer(optax.GradientTransformationExtraArgs):
    """An optax optimizer, the pair `(init, update)`, whose every step can be read.

    It is a 2-tuple, so `optax.chain`, `masked`, `partition`, `MultiSteps` take it as it is; and a pytree of its
    hyperparameters, so it can be an argument of `jit`, `vmap` and `grad`.  Made by `gdlab.descent` and the named
    optimizers; `optimizer_from` makes one from any step.

    >>> import gdlab, jax.numpy as jnp
    >>> optimizer = gdlab.gd(0.5)
    >>> state = optimizer.init(jnp.zeros(2))
    >>> step, state = optimizer.step(jnp.array([2.0, -4.0]), state)
    >>> float(step.eta), step.m.tolist(), step.update.tolist()
    (0.5, [2.0, -4.0], [-1.0, 2.0])
    """

    __slots__ = ()

    @property
    def step(self) -> Callable[..., tuple[Step, Any]]:
        """`step(grads, state, params=None, **extra) -> (Step, state)`; `update` is defined by it."""
        return self.update.args[0]

    @property
    def extras(self) -> Callable[..., dict[str, jax.Array]]:
        """`extras(grads, state, params=None, **extra) -> dict`: what else there is to know of that step, by name.

        RAdam's rho and r, AdaBound's bounds and the share of parameters that they clip, whether SWATS has switched;
        empty for most.  Reading costs a step; nothing is stored for it.
        """
        step, extras = self.update.args
        return Partial(extras.func, *step.args)


def optimizer_from(init: Partial, step: Partial, extras: Callable[..., dict] | None = None) -> Optimizer:
    """The optimizer whose update is `-eta / sigma * m` of what `step(grads, state, params, **extra)` returns.

    `extras`, a module-level function, is called with the hyperparameters of `step` before its arguments.
    """
    return Optimizer(init, Partial(_move, step, Partial(extras or _no_extras)))


def _move(step, extras, grads, state, params=None, **extra):
    del extras
    if params is not None:
        alike("grads", grads, params)
    made, state = step(grads, state, params, **extra)
    alike("grads", grads, made.update)
    updates = jax.tree.map(lambda u, g: u.astype(jnp.result_type(g)), made.update, grads)
    return updates, state


def _no_extras(*args, **extra):
    del args, extra
    return {}


def rate_dtype(grads: Params) -> jnp.dtype:
    """The real dtype in which the rate of a step is given: the widest of its leaves, at least float32."""
    return jnp.finfo(widest(*{jnp.result_type(g) for g in jax.tree.leaves(grads)})).dtype
