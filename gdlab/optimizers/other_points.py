"""Optimizers that look at other points than the one they stand on: the last gradient, a worse place, an average.

mars            g  <-  g + gamma b / (1 - b) (g - the gradient before), shortened to norm 1      Yuan et al. 2024
sam             g  <-  the gradient at theta + rho g / norm(g)                                   Foret et al. 2021
schedule_free   z moves, x is its average, gradients are taken at y between them                 Defazio et al. 2024
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gdlab.equation import Optimizer, Rule
from gdlab.ground.checks import one_of
from gdlab.numerics import Params, Tree, each, like, norm, one_where, safe_ratio, wide, zeros_wide
from gdlab.optimizers.wrappers import EXAMPLE, copied, given
from gdlab.pieces import NONNEGATIVE, OPEN_SHARE, SHARE, Number, Range, number, part, piece


class MarsState(NamedTuple):
    """The state of MARS."""

    inner: Any  # the state of the optimizer
    count: jax.Array  # type: ignore[assignment]  # steps made so far: int32 scalar
    last: Params  # the gradient before, like params


def mars(optimizer: Optimizer, gamma: ArrayLike = 0.025, b1: ArrayLike = 0.95) -> Optimizer:
    """The optimizer on gradients with less variance, c = g + gamma b1 / (1 - b1) (g - the gradient before).

    A leaf of c longer than 1 is shortened to norm 1; the first has no correction.  This is the paper's approximate
    form, whose gradient before is that of its own batch, so that a step costs one gradient (Yuan et al. 2024).

    Args:
        optimizer: one of ours, such as `adamw` or `lion`.
        gamma: the weight of the correction, >= 0.
        b1: in [0, 1), that of the optimizer in the paper.

    >>> import gdlab
    >>> optimizer = mars(gdlab.gd(0.1))
    >>> _, state = optimizer.update(0.5, optimizer.init(0.0))
    >>> round(float(optimizer.update(0.6, state)[0]), 6)
    -0.06475
    """
    return Optimizer(Mars(optimizer, gamma, b1))


@piece
class Mars(Rule):
    """The rule of `mars`."""

    optimizer: Optimizer = part(Optimizer, EXAMPLE)
    gamma: Number = number(NONNEGATIVE, default=0.025)
    b1: Number = number(SHARE, default=0.95)

    def init(self, params):
        return MarsState(self.optimizer.init(params), jnp.zeros([], jnp.int32), jax.tree.map(zeros_wide, params))

    def _corrected(self, grads, state):
        def correct(last, g, gamma, b1):
            g = g.astype(last.dtype)
            c = g + jnp.where(state.count == 0, 0, gamma * b1 / (1 - b1)) * (g - last)
            return c / jnp.maximum(1, norm(c))

        return each(correct, state.last, grads, gamma=self.gamma, b1=self.b1)

    def step(self, grads, state, params=None, **extra):
        step, inner = self.optimizer.step(self._corrected(grads, state), state.inner, params, **extra)
        last = each(lambda last, g: g.astype(last.dtype), state.last, grads)
        return step, MarsState(inner, state.count + 1, last)

    def extras(self, grads, state, params=None, **extra):
        return self.optimizer.extras(self._corrected(grads, state), state.inner, params, **extra)


def sam(optimizer: Optimizer, radius: ArrayLike = 0.05) -> Optimizer:
    """The optimizer on the gradient at the worst point near, theta + radius g / norm(g) (Foret et al. 2021).

    Its `update` takes `value_fn=`, the loss as a function of the parameters on the data of the step, which
    `gdlab.minimize` gives to every optimizer; a step costs two gradients.

    Args:
        optimizer: one of ours; its `update` must then be given `params` and `value_fn`.
        radius: rho >= 0.

    >>> import gdlab
    >>> optimizer = sam(gdlab.gd(0.1), radius=0.5)
    >>> round(float(optimizer.update(2.0, optimizer.init(1.0), 1.0, value_fn=lambda w: w**2)[0]), 6)
    -0.3
    """
    return Optimizer(Sam(optimizer, radius))


@piece
class Sam(Rule):
    """The rule of `sam`."""

    optimizer: Optimizer = part(Optimizer, EXAMPLE)
    radius: Number = number(NONNEGATIVE, default=0.05)

    def init(self, params):
        return self.optimizer.init(params)

    def _uphill(self, grads, params, extra):
        if extra.get("value_fn") is None:
            msg = "value_fn must be given, update(grads, state, params, value_fn=loss): SAM takes a second gradient; "
            raise ValueError(msg + "got None")
        length = safe_ratio(like(self.radius, size := norm(grads)), size, 0)

        def moved(theta, g):
            return theta + (length * wide(g)).astype(jnp.result_type(theta))

        worst = jax.tree.map(moved, given(params), grads)
        return jax.tree.map(jnp.conj, jax.grad(extra["value_fn"])(worst))

    def step(self, grads, state, params=None, **extra):
        return self.optimizer.step(self._uphill(grads, params, extra), state, params, **extra)

    def extras(self, grads, state, params=None, **extra):
        return self.optimizer.extras(self._uphill(grads, params, extra), state, params, **extra)


class ScheduleFreeState(NamedTuple):
    """The state of an optimizer whose parameters lie between where it is and where it was on average."""

    inner: Any  # the state of the optimizer
    z: Params  # where it is, like params
    weight_sum: jax.Array  # of the average so far: scalar
    max_rate: jax.Array  # the largest rate so far: scalar


def schedule_free(optimizer: Optimizer, b1: ArrayLike = 0.9, power: ArrayLike = 2.0) -> Optimizer:
    """z <- z - eta / sigma * m, x <- (1 - c) x + c z, y <- b1 x + (1 - b1) z: no schedule is needed (Defazio 2024).

    Gradients are taken at y, the parameters that are given and updated; `schedule_free_average` gives x, which is what
    to evaluate.  c is the weight of a step, (the largest rate so far)^power, over the sum of all so far.  The optimizer
    should have no momentum of its own, such as `gd` or `rmsprop` (Adam with b1 = 0).

    Args:
        optimizer: one of ours; its `update` must then be given `params`.
        b1: how much of y is the average, in (0, 1).
        power: of the rate in the weights, >= 0.

    >>> import gdlab
    >>> optimizer = schedule_free(gdlab.gd(0.1))
    >>> _, state = optimizer.update(2.0, optimizer.init(1.0), 1.0)
    >>> round(float(optimizer.update(2.0, state, 0.8)[0]), 6)
    -0.11
    """
    return Optimizer(ScheduleFree(optimizer, b1, power))


def schedule_free_average(optimizer: Optimizer, state: ScheduleFreeState, params: Tree) -> Tree:
    """The average x = (y - (1 - b1) z) / b1, to be evaluated, of the parameters y of `schedule_free`.

    Args:
        optimizer: made by `schedule_free`.
        state: its state.
        params: y, the parameters that it updated last.

    >>> import gdlab
    >>> optimizer = schedule_free(gdlab.gd(0.1))
    >>> update, state = optimizer.update(2.0, optimizer.init(1.0), 1.0)
    >>> round(float(schedule_free_average(optimizer, state, 1.0 + update)), 6)
    0.8
    """
    rule = one_of("optimizer", getattr(optimizer, "rule", optimizer), ScheduleFree, "made by gdlab.schedule_free")
    return rule.average(state.z, params)


@piece
class ScheduleFree(Rule):
    """The rule of `schedule_free`."""

    optimizer: Optimizer = part(Optimizer, EXAMPLE)
    b1: Number = number(OPEN_SHARE, default=0.9)
    power: Number = number(Range(0), default=2.0)

    def init(self, params):
        z = jax.tree.map(copied, params)
        zero = jnp.zeros([], jnp.finfo(jax.tree.leaves(z)[0].dtype).dtype) if jax.tree.leaves(z) else jnp.zeros([])
        return ScheduleFreeState(self.optimizer.init(params), z, zero, zero)

    def average(self, z, y):
        """The average of the points z, from it and the parameters y."""
        return each(lambda z, y, b1: (y - (1 - b1) * z) / b1, z, y, b1=self.b1)

    def step(self, grads, state, params=None, **extra):
        step, inner = self.optimizer.step(grads, state.inner, params, **extra)
        max_rate = jnp.maximum(state.max_rate, like(step.eta, state.max_rate))
        weight = jnp.where(max_rate == 0, 0, one_where(max_rate == 0, max_rate) ** like(self.power, max_rate))
        total = state.weight_sum + weight
        c = safe_ratio(weight, total, 0)

        x = self.average(state.z, given(params))
        z = each(lambda z, u: z + u, state.z, step.update)
        x = each(lambda x, z, c: (1 - c) * x + c * z, x, z, c=c)
        update = each(lambda x, z, y, b1: b1 * x + (1 - b1) * z - y, x, z, params, b1=self.b1)
        return step.moving(update), ScheduleFreeState(inner, z, total, max_rate)

    def extras(self, grads, state, params=None, **extra):
        return self.optimizer.extras(grads, state.inner, params, **extra)
