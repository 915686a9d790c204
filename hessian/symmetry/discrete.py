"""Discrete symmetries of hidden units and of angles: they make no direction flat, they make copies of a critical point.

    permutations     a -> a P,   b -> P' b
    signs            a -> a S,   b -> S b,   S diagonal of +1 and -1: of linear units, and of odd ones such as tanh
    periodic         x -> x + period k,      k whole numbers, each value by its own

They have no generator; `nearest` finds the copy that lies nearest to another point, which tells orbits apart.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gdlab.ground.checks import number
from hessian.precision import Params
from hessian.symmetry.generators import units
from hessian.symmetry.parts import named, placed, taken


@dataclass(frozen=True)
class Copies:
    """Hidden units that may change places, signs, or both."""

    a: tuple
    b: tuple
    permuted: bool
    signed: bool

    def image(self, params: Params, key: jax.Array) -> Params:
        """A random copy of params."""
        h = units(params, self.a, self.b)
        places, turns = jax.random.split(key)
        order = jax.random.permutation(places, h) if self.permuted else jnp.arange(h)
        sides = jnp.where(jax.random.bernoulli(turns, shape=(h,)), 1, -1) if self.signed else jnp.ones(h, int)
        return self._moved(params, order, sides)

    def nearest(self, params: Params, goal: Params) -> Params:
        """The copy of params nearest to `goal`, with arrays of numpy; an assignment of units to units."""
        from scipy.optimize import linear_sum_assignment

        here, there = self.columns(params), self.columns(goal)
        products = here @ there.T  # of unit i here and unit j there
        gain = np.abs(products) if self.signed else products
        order = linear_sum_assignment(-gain.T)[1] if self.permuted else np.arange(len(gain))
        chosen = products[order, np.arange(len(order))]
        sides = np.where(chosen < 0, -1, 1) if self.signed else np.ones(len(order), int)
        return self._moved(params, order, sides)

    def columns(self, params: Params) -> np.ndarray:
        """The weights of each unit, shape (units, weights)."""
        h = units(params, self.a, self.b)
        right = [np.asarray(x, float).reshape(-1, h).T for x in taken(params, self.a)]
        left = [np.asarray(x, float).reshape(h, -1) for x in taken(params, self.b)]
        return np.concatenate(right + left, axis=1)

    def _moved(self, params, order, sides):
        def on_last(x):
            return x if not x.ndim else x[..., order] * sides.astype(x.dtype)

        def on_first(x):
            return x if not x.ndim else x[order] * sides.astype(x.dtype).reshape(-1, *[1] * (x.ndim - 1))

        new = [on_last(x) for x in taken(params, self.a)] + [on_first(x) for x in taken(params, self.b)]
        return placed(params, dict(zip(self.a + self.b, new, strict=True)))


@dataclass(frozen=True)
class Periodic:
    """Values that count only up to multiples of a period."""

    period: float
    names: tuple | None  # of leaves or entries; all values where it is None

    def image(self, params: Params, key: jax.Array) -> Params:
        """A random copy of params."""
        theta, unravel = ravel_pytree(params)
        times = jax.random.randint(key, theta.shape, -1, 2).astype(theta.dtype)
        return self._moved(params, unravel(times))

    def nearest(self, params: Params, goal: Params) -> Params:
        """The copy of params nearest to `goal`."""
        times = jax.tree.map(lambda here, there: jnp.round((there - here) / self.period), params, goal)
        return self._moved(params, times)

    def _moved(self, params, times):
        new = jax.tree.map(lambda here, k: here + self.period * k, params, times)
        return new if self.names is None else placed(params, dict(zip(self.names, taken(new, self.names), strict=True)))


def joined(symmetries: Iterable[Any]) -> tuple[Any, ...]:
    """Those of the same units as one: the nearest copy by place and sign is found for both at once."""
    every = tuple(symmetries)
    by_units = dict[tuple, Copies]()
    for one in every:
        if not isinstance(one, Copies):
            continue
        other = by_units.get((one.a, one.b), one)
        both = Copies(one.a, one.b, one.permuted or other.permuted, one.signed or other.signed)
        by_units[one.a, one.b] = both
    others = dict.fromkeys(one for one in every if not isinstance(one, Copies))
    return (*by_units.values(), *others)


def permutations(a: Any, b: Any) -> Copies:
    """The permutations of hidden units: a -> a P, b -> P' b.

    Args:
        a: names of leaves whose last axis are the hidden units.
        b: names of leaves whose first axis are the hidden units; `("weight", "bias")` are two.

    >>> here = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])}
    >>> goal = {"a": np.array([2.0, 1.0]), "b": np.array([4.0, 3.0])}
    >>> permutations("a", "b").nearest(here, goal)["a"].tolist()
    [2.0, 1.0]
    """
    return Copies(named("a", a), named("b", b), permuted=True, signed=False)


def signs(a: Any, b: Any) -> Copies:
    """The signs of hidden units: a -> a S, b -> S b; arguments as of `permutations`.

    >>> here, goal = {"a": np.ones(2), "b": np.ones(2)}, {"a": -np.ones(2), "b": -np.ones(2)}
    >>> signs("a", "b").nearest(here, goal)["a"].tolist()
    [-1.0, -1.0]
    """
    return Copies(named("a", a), named("b", b), permuted=False, signed=True)


def periodic(period: float, part: Any = None) -> Periodic:
    """The shifts of each value by its own multiple of a period, as of angles.

    Args:
        period: > 0.
        part: the leaf or leaves, or entries of one array, that are angles; all values by default.

    >>> periodic(1.0).nearest(jnp.array([0.25, 3.5]), jnp.array([5.0, 3.4])).tolist()
    [5.25, 3.5]
    """
    return Periodic(float(np.asarray(number("period", period))), None if part is None else named("part", part))
