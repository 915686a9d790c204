"""Discrete symmetries of points that lie in d dimensions: which may change places, and the mirror.

    identical        X -> P X     a permutation of the rows, within each kind
    reflections      X -> X S     the first coordinate changes its sign

Together with `translations` and `rotations` they are what leaves the distances of a cluster of atoms as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gdlab.ground.checks import whole
from gdlab.ground.leaves import shown
from hessian.precision import Params
from hessian.symmetry.generators import Rotations, Translations, euclidean


@dataclass(frozen=True)
class OfPoints:
    """What moves all values of params, as points of d coordinates, to other points."""

    d: int

    def image(self, params: Params, key: jax.Array) -> Params:
        """A random copy of params."""
        theta, unravel = ravel_pytree(params)
        return unravel(self.scattered(self.rows(theta), key).ravel())

    def nearest(self, params: Params, goal: Params) -> Params:
        """The copy of params nearest to `goal`."""
        (theta, unravel), there = ravel_pytree(params), ravel_pytree(goal)[0]
        return unravel(jnp.asarray(self.gathered(self.rows(np.asarray(theta)), self.rows(np.asarray(there))).ravel()))

    def rows(self, theta: Any) -> Any:
        """The points, shape (points, d); ValueError where the values are no such points."""
        if theta.size % self.d:
            msg = f"symmetries must move points of d = {self.d} coordinates; got {theta.size} values in params"
            raise ValueError(msg)
        return theta.reshape(-1, self.d)

    def scattered(self, x: jax.Array, key: jax.Array) -> jax.Array:
        """A random copy of the points."""
        raise NotImplementedError

    def gathered(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The copy of the points x nearest to y."""
        raise NotImplementedError


@dataclass(frozen=True)
class Identical(OfPoints):
    """Points that may change places; `kinds` says which are alike, all where it is None."""

    kinds: tuple | None

    def groups(self, count: int) -> list[np.ndarray]:
        """The places of the points of each kind, of so many points."""
        if self.kinds is None:
            return [np.arange(count)]
        if len(self.kinds) != count:
            msg = f"kinds must name one kind for each of the {count} points; got {len(self.kinds)}"
            raise ValueError(msg)
        names = list(dict.fromkeys(self.kinds))
        return [np.array([i for i, one in enumerate(self.kinds) if one == name]) for name in names]

    def scattered(self, x: jax.Array, key: jax.Array) -> jax.Array:
        for part, group in zip(jax.random.split(key, len(x)), self.groups(len(x)), strict=False):
            x = x.at[group].set(x[jax.random.permutation(part, jnp.asarray(group))])
        return x

    def gathered(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return x[self.order(x, y)]

    def order(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The places of the points of x, in the order in which they lie nearest to those of y."""
        from scipy.optimize import linear_sum_assignment

        order = np.arange(len(x))
        for group in self.groups(len(x)):
            apart = np.sum((y[group][:, None] - x[group][None]) ** 2, axis=-1)
            order[group] = group[linear_sum_assignment(apart)[1]]
        return order


@dataclass(frozen=True)
class Reflections(OfPoints):
    """The mirror of all points."""

    def scattered(self, x: jax.Array, key: jax.Array) -> jax.Array:
        return x.at[:, 0].multiply(-1)

    def gathered(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        mirrored = x * np.where(np.arange(self.d) == 0, -1, 1)
        return mirrored if np.sum((mirrored - y) ** 2) < np.sum((x - y) ** 2) else x


def identical(d: int, kinds: Sequence[Any] | None = None) -> Identical:
    """The permutations of points in d dimensions, as of atoms of one kind.

    Args:
        d: the number of coordinates of a point, >= 1.
        kinds: a name for each point, `["A", "A", "B"]`; those of one name may change places, all by default.

    >>> identical(2).nearest(jnp.array([[0.0, 1.0], [2.0, 0.0]]), jnp.array([[2.0, 0.0], [0.0, 1.0]])).tolist()
    [[2.0, 0.0], [0.0, 1.0]]
    """
    if isinstance(kinds, str) or not (kinds is None or hasattr(kinds, "__len__")):
        msg = f"kinds must be a sequence with a name for each point, or None; got {shown(kinds)}"
        raise TypeError(msg)
    return Identical(whole("d", d), None if kinds is None else tuple(np.asarray(kinds).tolist()))


def reflections(d: int) -> Reflections:
    """The mirror images of points in d dimensions; with `rotations`, every one of them.

    >>> reflections(2).nearest(jnp.array([[1.0, 2.0]]), jnp.array([[-1.0, 2.0]])).tolist()
    [[-1.0, 2.0]]
    """
    return Reflections(whole("d", d))


def atoms(d: int, kinds: Sequence[Any] | None = None) -> tuple[Translations, Rotations, Reflections, Identical]:
    """All that leaves the distances of points as they are: `euclidean`, `reflections` and `identical`.

    Args:
        d: the number of coordinates of a point, >= 1.
        kinds: as of `identical`.

    >>> [type(one).__name__ for one in atoms(3)]
    ['Translations', 'Rotations', 'Reflections', 'Identical']
    """
    return (*euclidean(d), reflections(d), identical(d, kinds))
