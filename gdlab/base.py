"""The pieces of a step, and the optimizer that they make.

    theta  <-  theta  -  eta / sigma * m

For a matrix sigma may be an operator (`gdlab.operators`), and the quotient is what `sigma.solve` makes of m.

| class | methods | what it is |
|---|---|---|
| `Schedule` | `__call__(count) -> eta` | how far: a number per step |
| `LossSchedule` | `init()`, `follow(grads, state, count, value) -> eta, state` | a rate that answers to the loss |
| `Direction` | `init(params)`, `follow(grads, state, count, eta) -> eta, m, state` | where to: a sum of gradients |
| `Scale` | `init(params)`, `measure(grads, state, count, eta, m) -> sigma, state` | how big gradients have been, > 0 |
| `Step` | `count, eta, sigma, m` | what one step is made of |
| `Rule` | `init(params)`, `step(grads, state, params) -> Step, state` | an update rule made of pieces |
| `Optimizer` | `init(params)`, `update(grads, state, params)` | optax's pair, made of a rule |

All but `Step` are frozen dataclasses whose fields are their hyperparameters (`gdlab.pieces`): pytrees, so one trace
serves all values, and `vmap` and `grad` go through an optimizer as through any other argument.  The method of a Scale
is not called `update`, so that none can be mistaken for a transformation of optax.
"""

from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from gdlab.ground.checks import alike
from gdlab.ground.results import result
from gdlab.numerics import Params, Tree, likes, widest
from gdlab.operators import applied, by_leaf, is_operator, of_operators
from gdlab.pieces import Piece, rebuilt, short


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
        eta = jnp.where(self.eta == 0, jnp.ones_like(self.eta), self.eta)
        of = likes(-eta)
        m = by_leaf(lambda sigma, u: applied(sigma, u) / of(u), self.sigma, update)
        return Step(self.count, eta, self.sigma, m, of_operators(self.sigma, update))


def _unit(sigma):
    """A power of two that keeps eta / sigma in the range of its dtype: 1 but for the largest and smallest of sigma."""
    half = jnp.finfo(sigma.dtype).maxexp // 2
    unit = lambda exponent: jnp.asarray(2.0**exponent, sigma.dtype)  # noqa: E731
    far = jnp.where(sigma > unit(3 * half // 2), unit(-half), unit(0))
    return jnp.where(sigma < unit(-3 * half // 2), unit(half), far)


class LossSchedule(Piece):
    """A rate that answers to the loss."""

    def init(self) -> Any:
        """The state before the first step."""
        raise NotImplementedError

    def follow(self, grads: Params, state: Any, count: ArrayLike, value: ArrayLike | None) -> tuple[jax.Array, Any]:
        """The rate of this step, and the state after it; the value is the loss before the step."""
        raise NotImplementedError


class Schedule(LossSchedule):
    """A rate for each count of steps, from 0; it ignores the loss and has no state."""

    def __call__(self, count: ArrayLike) -> jax.Array:
        """The rate of the step before which `count` steps were taken."""
        raise NotImplementedError

    def init(self) -> Any:
        """No state."""
        return ()

    def follow(self, grads: Params, state: Any, count: ArrayLike, value: ArrayLike | None) -> tuple[jax.Array, Any]:
        """The rate of this step."""
        return jnp.asarray(self(count)), state


class Direction(Piece):
    """Where to go: m, a weighted sum of gradients."""

    def init(self, params: Params) -> Any:
        """The state before the first step."""
        raise NotImplementedError

    def follow(self, grads: Params, state: Any, count: jax.Array, eta: jax.Array) -> tuple[jax.Array, Params, Any]:
        """The rate, the direction m, and the state after this step.

        `follow` also returns eta.  A heavy-ball buffer already contains past learning rates, so it still moves when
        the schedule returns 0; m = v / eta would then divide by zero, and eta = 1 is used instead.
        """
        raise NotImplementedError


class Scale(Piece):
    """How big gradients have been: sigma, a positive size for each parameter."""

    def init(self, params: Params) -> Any:
        """The state before the first step."""
        raise NotImplementedError

    def measure(self, grads: Params, state: Any, count: jax.Array, eta: jax.Array, m: Params) -> tuple[Params, Any]:
        """The sizes sigma > 0, and the state after this step."""
        raise NotImplementedError

    def extras(self, grads: Params, state: Any, count: jax.Array, eta: jax.Array, m: Params) -> dict[str, jax.Array]:
        """What else the scale knows of this step, by name."""
        return {}


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


def rate_dtype(grads: Params) -> jnp.dtype:
    """The real dtype in which the rate of a step is given: the widest of its leaves, at least float32."""
    return jnp.finfo(widest(*{jnp.result_type(g) for g in jax.tree.leaves(grads)})).dtype
