"""The equation: where direction, scale and schedule meet, and the optimizer that they make.

    theta  <-  theta  -  eta_t / sigma_t * m_t

m and sigma are parallel statistics of the same gradient, so `descent` is a fork-join; a chain of transformations
would feed one into the other.  The sign flips in `Step.update`, nowhere else.  For a matrix sigma may be an operator
(`gdlab.operators`), and the quotient is what `sigma.solve` makes of m.

| name | what it is |
|---|---|
| `Step` | what one step is made of: `count, eta, sigma, m`, and the `update` that they make |
| `Rule` | an update rule: `init(params)`, `step(grads, state, params) -> Step, state` |
| `Descent` | the rule of the equation |
| `Optimizer` | optax's pair, `init(params)` and `update(grads, state, params)`, made of a rule |
| `descent` | the optimizer made of a direction, a scale and a schedule |

A rule and an optimizer are pytrees of their hyperparameters, so one trace serves all values, and `vmap` and `grad` go
through an optimizer as through any other argument.
"""

from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gdlab.base import Direction, LossSchedule, Scale, rate_dtype
from gdlab.ground.checks import alike
from gdlab.ground.results import result
from gdlab.numerics import Params, Tree, likes, one_where
from gdlab.operators import applied, by_leaf, is_operator, of_operators
from gdlab.pieces import Piece, checked, part, piece, rebuilt, short
from gdlab.schedules.base import Rate, as_loss_schedule


@result
class Step(NamedTuple, Generic[Tree]):
    """What a step is made of: it moves the parameters by exactly `-eta / sigma * m`."""

    count: jax.Array  # type: ignore[assignment]  # how many steps came before this one, from 0
    eta: jax.Array  # the rate: a scalar
    sigma: Tree  # the size of gradients: positive and shaped like params, or an operator on the matrices of a leaf
    m: Tree  # the direction: shaped like params
    moved: Tree | None = None  # the update of operators where it came first: `solve` may not lead back to it

    @property
    def update(self) -> Tree:
        """The change of the parameters, `-eta / sigma * m`, shaped like params."""
        of, ratios = likes(self.eta), {}  # leaves that share their sigma share the division

        def move(sigma, m, moved):
            if is_operator(sigma):
                return -of(m) * sigma.solve(m) if moved is None else moved
            if id(sigma) not in ratios:
                unit = _unit(sigma)
                ratios[id(sigma)] = of(sigma) / (sigma * unit), unit
            ratio, unit = ratios[id(sigma)]
            return -(ratio * (m * unit))

        moved = by_leaf(lambda sigma: None, self.sigma) if self.moved is None else self.moved
        return by_leaf(move, self.sigma, self.m, moved)

    def moving(self, update: Tree) -> "Step[Tree]":
        """The step that makes another update with the same sigma; its rate is 1 where the rate was 0."""
        eta = one_where(self.eta == 0, self.eta)
        of = likes(-eta)
        m = by_leaf(lambda sigma, u: applied(sigma, u) / of(u), self.sigma, update)
        return Step(self.count, eta, self.sigma, m, of_operators(self.sigma, update))


def _unit(sigma):
    """A power of two that keeps eta / sigma in the range of its dtype: 1 but for the largest and smallest of sigma."""
    half = jnp.finfo(sigma.dtype).maxexp // 2
    unit = lambda exponent: jnp.asarray(2.0**exponent, sigma.dtype)  # noqa: E731
    far = jnp.where((sigma > unit(3 * half // 2)) & jnp.isfinite(sigma), unit(-half), unit(0))
    return jnp.where(sigma < unit(-3 * half // 2), unit(half), far)


class Rule(Piece):
    """How an optimizer makes its step; its fields are pieces, other optimizers and hyperparameters."""

    def init(self, params: Params) -> Any:
        """The state before the first step."""
        raise NotImplementedError

    def step(self, grads: Tree, state: Any, params: Tree | None = None, **extra: Any) -> tuple[Step[Tree], Any]:
        """The step, and the state after it."""
        raise NotImplementedError

    def extras(self, grads: Params, state: Any, params: Params | None = None, **extra: Any) -> dict[str, jax.Array]:
        """What else the rule knows of that step, by name."""
        return {}

    def update(self, grads: Params, state: Any, params: Params | None = None, **extra: Any) -> tuple[Params, Any]:
        """The change of the parameters, `-eta / sigma * m` in the dtypes of the gradients, and the state after it."""
        if params is not None:
            alike("grads", grads, params)
        step, state = self.step(grads, state, params, **extra)
        updates = step.update
        alike("grads", grads, updates)
        return jax.tree.map(lambda u, g: u.astype(jnp.result_type(g)), updates, grads), state


class DescentState(NamedTuple):
    """What the next step needs."""

    count: jax.Array  # type: ignore[assignment]  # steps made so far: int32 scalar
    direction: Any  # the state of the direction
    scale: Any  # the state of the scale
    schedule: Any  # the state of the schedule, empty unless the loss drives it


@piece
class Descent(Rule):
    """The rule theta <- theta - eta / sigma * m; its three pieces do not read each other's state."""

    direction: Direction = part(Direction, "one of gdlab.directions, such as HeavyBall(0.9)")
    scale: Scale = part(Scale, "one of gdlab.scales, such as Unit()")
    schedule: Any = checked(lambda name, rate: as_loss_schedule(rate))

    def init(self, params):
        zero = jnp.zeros([], jnp.int32)
        return DescentState(zero, self.direction.init(params), self.scale.init(params), self.schedule.init())

    def step(self, grads, state, params=None, value=None, **extra):
        eta, schedule_state = self._rate(grads, state, value)
        eta, m, direction_state = self.direction.follow(grads, state.direction, state.count, eta)
        sigma, scale_state = self.scale.measure(grads, state.scale, state.count, eta, m)
        after = DescentState(state.count + 1, direction_state, scale_state, schedule_state)
        return Step(state.count, eta, sigma, m), after

    def _rate(self, grads, state, value):
        eta, schedule_state = self.schedule.follow(grads, state.schedule, state.count, value)
        return eta.astype(rate_dtype(grads)), schedule_state

    def extras(self, grads, state, params=None, value=None, **extra):
        eta, _ = self._rate(grads, state, value)
        eta, m, _ = self.direction.follow(grads, state.direction, state.count, eta)
        return self.scale.extras(grads, state.scale, state.count, eta, m)


class Optimizer(optax.GradientTransformationExtraArgs):
    """An optax optimizer, the pair `(init, update)`, whose every step can be read.

    It is a 2-tuple, so `optax.chain`, `masked`, `partition`, `MultiSteps` take it as it is; and a pytree of its
    hyperparameters, so it can be an argument of `jit`, `vmap` and `grad`.  Made by `gdlab.descent` and the named
    optimizers; `Optimizer(rule)` makes one from any `Rule`.

    >>> import gdlab, jax.numpy as jnp
    >>> optimizer = gdlab.gd(0.5)
    >>> optimizer
    Descent(
      direction=Gradient(),
      scale=Unit(),
      schedule=Constant(rate=0.5))
    >>> state = optimizer.init(jnp.zeros(2))
    >>> step, state = optimizer.step(jnp.array([2.0, -4.0]), state)
    >>> float(step.eta), step.m.tolist(), step.update.tolist()
    (0.5, [2.0, -4.0], [-1.0, 2.0])
    """

    __slots__ = ()

    def __new__(cls, rule: Rule) -> "Optimizer":
        """The optimizer that follows the rule."""
        return tuple.__new__(cls, (rule.init, rule.update))

    @property
    def rule(self) -> Rule:
        """The pieces and the hyperparameters."""
        return self.update.__self__

    def step(self, grads: Tree, state: Any, params: Tree | None = None, **extra: Any) -> tuple[Step[Tree], Any]:
        """The step, and the state after it; `update` is defined by it."""
        return self.rule.step(grads, state, params, **extra)

    def extras(self, grads: Params, state: Any, params: Params | None = None, **extra: Any) -> dict[str, jax.Array]:
        """What else there is to know of that step, by name.

        RAdam's rho and r, AdaBound's bounds and the share of parameters that they clip, whether SWATS has switched;
        empty for most.  Reading costs a step; nothing is stored for it.
        """
        return self.rule.extras(grads, state, params, **extra)

    def __repr__(self) -> str:
        """The pieces and their numbers, one a line."""
        rule = self.rule
        named = [(name, short(getattr(rule, name))) for name in (*rule._leaves, *rule._statics)]
        lines = [f"{name}={text}".replace("\n", "\n  ") for name, text in named]
        return f"{type(rule).__name__}(\n  " + ",\n  ".join(lines) + ")"

    def __reduce__(self) -> tuple:
        """What `pickle` and `copy` make it again of."""
        return type(self), (self.rule,)


def _flatten(optimizer):
    rule = optimizer.rule
    values = rule.__dict__
    return [values[name] for name in rule._leaves], (type(rule), tuple([values[name] for name in rule._statics]))


def _flatten_with_keys(optimizer):
    children, structure = _flatten(optimizer)
    keys = map(jax.tree_util.GetAttrKey, optimizer.rule._leaves)
    return list(zip(keys, children, strict=True)), structure


def _unflatten(structure, children):
    kind, statics = structure
    return Optimizer(rebuilt(kind, children, statics))


# An optimizer is the pytree of its rule: the names of its hyperparameters are `direction.decay`, `schedule.rate`, ...
jax.tree_util.register_pytree_with_keys(Optimizer, _flatten_with_keys, _unflatten, _flatten)


def descent(direction: Direction, scale: Scale, schedule: Rate | LossSchedule) -> Optimizer:
    """The optimizer that moves by -eta / sigma * m (S83).

    Args:
        direction: m, one of `gdlab.directions`.
        scale: sigma, one of `gdlab.scales`.
        schedule: eta, a rate >= 0, one of `gdlab.schedules`, or any callable count -> rate.

    Returns:
        An `Optimizer`: optax's pair, a pytree of its hyperparameters, each step readable with `.step`.

    >>> import jax.numpy as jnp
    >>> from gdlab import directions, scales
    >>> sign_descent = descent(directions.Gradient(), scales.RunningRootMeanSquare(0.0), 0.5)
    >>> updates, _ = sign_descent.update(jnp.array([8.0, -0.1]), sign_descent.init(jnp.zeros(2)))
    >>> [round(float(u), 6) for u in updates]
    [-0.5, 0.5]
    """
    return Optimizer(Descent(direction, scale, schedule))
