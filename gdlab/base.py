"""The three kinds of pieces that a step is made of, and what each is asked for.

| class | methods | what it is |
|---|---|---|
| `Schedule` | `__call__(count) -> eta` | how far: a number per step |
| `LossSchedule` | `init()`, `follow(grads, state, count, value) -> eta, state` | a rate that answers to the loss |
| `Direction` | `init(params)`, `follow(grads, state, count, eta) -> eta, m, state` | where to: a sum of gradients |
| `Scale` | `init(params)`, `measure(grads, state, count, eta, m) -> sigma, state` | how big gradients have been, > 0 |

They are frozen dataclasses whose fields are their hyperparameters (`gdlab.pieces`); `gdlab.equation` puts them
together.  The method of a Scale is not called `update`, so that none can be mistaken for a transformation of optax.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gdlab.numerics import Params, widest
from gdlab.pieces import Piece


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


def rate_dtype(grads: Params) -> jnp.dtype:
    """The real dtype in which the rate of a step is given: the widest of its leaves, at least float32."""
    return jnp.finfo(widest(*{jnp.result_type(g) for g in jax.tree.leaves(grads)})).dtype
