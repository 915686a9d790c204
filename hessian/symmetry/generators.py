"""Continuous symmetries: a basis of a Lie algebra, and the field by which each of its elements moves params.

    translations     X -> X + 1 t'                      d generators
    rotations        X -> X R'                          d (d - 1) / 2
    rescale          a -> a D,    b -> D^-1 b           h, D diagonal: of a @ b, and of ReLU units
    rotate           a -> a R,    b -> R' b             h (h - 1) / 2: of a @ b with equal penalties on both
    linear           a -> a G,    b -> G^-1 b           h^2: of a @ b

X holds points as rows of d coordinates; a has h hidden units along its last axis, b along its first.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from gdlab.ground.checks import whole
from gdlab.ground.leaves import shown
from hessian.arguments import alike
from hessian.precision import Params
from hessian.symmetry.parts import named, placed, taken, zeros


class Continuous:
    """A Lie algebra that acts on params."""

    def basis(self, params: Params) -> np.ndarray:
        """Its basis, with a leading axis of generators."""
        raise NotImplementedError

    def field(self, params: Params, element: jax.Array) -> Params:
        """How one element moves params: a pytree like params."""
        raise NotImplementedError

    def fields(self, params: Params) -> jax.Array:
        """The fields of all generators at params, raveled, shape (generators, n)."""
        theta = ravel_pytree(params)[0]
        basis = self.basis(params)
        if not len(basis):
            return jnp.zeros((0, theta.size), theta.dtype)
        return jax.vmap(lambda element: ravel_pytree(self.field(params, element))[0])(jnp.asarray(basis, theta.dtype))


@dataclass(frozen=True)
class Field(Continuous):
    """The field of a function of the user's."""

    function: Callable[[Params], Params]

    def basis(self, params: Params) -> np.ndarray:
        return np.ones((1, 1))

    def field(self, params: Params, element: jax.Array) -> Params:
        return alike("symmetries", self.function(params), params)


@dataclass(frozen=True)
class _OfPoints(Continuous):
    """What moves the points that the leaves hold, all together."""

    d: int
    parts: tuple | None

    def _moved(self, params, move):
        names = self.parts or tuple(dict.fromkeys(_names(params)))
        arrays = [jnp.asarray(params)] if names == ("",) else taken(params, names)
        for name, array in zip(names, arrays, strict=True):
            if array.size % self.d:
                msg = (
                    f"symmetries must move points of d = {self.d} coordinates; got {array.size} values"
                    f" {f'at {name!r}' if name else 'in params'}"
                )
                raise ValueError(msg)
        new = [move(array.reshape(-1, self.d)).reshape(array.shape) for array in arrays]
        return new[0] if names == ("",) else placed(zeros(params), dict(zip(names, new, strict=True)))


@dataclass(frozen=True)
class Translations(_OfPoints):
    """The same shift of all points."""

    def basis(self, params: Params) -> np.ndarray:
        return np.eye(self.d)

    def field(self, params: Params, element: jax.Array) -> Params:
        return self._moved(params, lambda points: jnp.broadcast_to(element, points.shape))


@dataclass(frozen=True)
class Rotations(_OfPoints):
    """The same rotation of all points about the origin."""

    def basis(self, params: Params) -> np.ndarray:
        return _skew(self.d)

    def field(self, params: Params, element: jax.Array) -> Params:
        return self._moved(params, lambda points: points @ element.T)


@dataclass(frozen=True)
class OfUnits(Continuous):
    """What changes the basis of the hidden units of a @ b."""

    a: tuple
    b: tuple
    algebra: str  # "scales", "rotations" or "all"

    def basis(self, params: Params) -> np.ndarray:
        h = units(params, self.a, self.b)
        if self.algebra == "rotations":
            return _skew(h)
        every = np.eye(h * h).reshape(h * h, h, h)
        return every[:: h + 1] if self.algebra == "scales" else every

    def field(self, params: Params, element: jax.Array) -> Params:
        right = [a @ element if a.ndim else a * element[0, 0] for a in taken(params, self.a)]
        left = [-jnp.tensordot(element, b, axes=1) if b.ndim else -b * element[0, 0] for b in taken(params, self.b)]
        return placed(zeros(params), dict(zip(self.a + self.b, right + left, strict=True)))


@dataclass(frozen=True, eq=False)
class Affine(Continuous):
    """The fields x -> A_i x + b_i of raveled params: `matrices`, shape (m, n, n), and `shifts`, shape (m, n)."""

    matrices: np.ndarray
    shifts: np.ndarray

    def basis(self, params: Params) -> np.ndarray:
        return np.concatenate([self.matrices, self.shifts[:, :, None]], axis=2)

    def field(self, params: Params, element: jax.Array) -> Params:
        theta, unravel = ravel_pytree(params)
        if self.shifts.shape[1] != theta.size:
            msg = f"symmetries must move params of {self.shifts.shape[1]} values; got {theta.size}"
            raise ValueError(msg)
        return unravel(element[:, :-1] @ theta + element[:, -1])

    def __len__(self) -> int:
        return len(self.shifts)

    def __str__(self) -> str:
        lines = [f"{len(self)} generators x -> A x + b, suggested and not proved"]
        for matrix, shift in zip(self.matrices, self.shifts, strict=True):
            size = np.abs(matrix).max(initial=0)
            skew = np.abs(matrix + matrix.T).max(initial=0) <= 1e-6 * size
            kind = "a shift" if size <= 1e-6 * np.abs(shift).max() else "a rotation" if skew else "a linear map"
            lines.append(f"  {kind}")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False)
class Raveled(Continuous):
    """What is declared on pytrees like `like`, for params that are one array of the same values in the same order."""

    like: Params
    parts: tuple

    def basis(self, params: Params) -> np.ndarray:
        return np.eye(sum(len(part.basis(self.like)) for part in self.parts))

    def field(self, params: Params, element: jax.Array) -> Params:
        theta, back = ravel_pytree(params)
        flat, unravel = ravel_pytree(jax.tree.map(lambda leaf: jnp.zeros(jnp.shape(leaf), theta.dtype), self.like))
        if flat.size != theta.size:
            msg = f"symmetries must be declared on as many values as params holds, {theta.size}; got {flat.size}"
            raise ValueError(msg)
        return back(element @ jnp.concatenate([part.fields(unravel(theta)) for part in self.parts]))


def translations(d: int, part: Any = None) -> Translations:
    """The shifts of all points together, in d dimensions.

    Args:
        d: the number of coordinates of a point, >= 1.
        part: the leaf or leaves whose values, in their order, are the points; all by default.

    >>> translations(2).fields(jnp.zeros((2, 2))).astype(int).tolist()
    [[1, 0, 1, 0], [0, 1, 0, 1]]
    """
    return Translations(whole("d", d), None if part is None else named("part", part))


def rotations(d: int, part: Any = None) -> Rotations:
    """The rotations of all points together about the origin; arguments as of `translations`.

    >>> (0 + rotations(2).fields(jnp.array([[1.0, 2.0]]))).tolist()
    [[2.0, -1.0]]
    """
    return Rotations(whole("d", d), None if part is None else named("part", part))


def euclidean(d: int, part: Any = None) -> tuple[Translations, Rotations]:
    """Translations and rotations of all points together: 6 directions in space, 5 for points on a line, 3 in a plane.

    >>> [len(moves.basis(jnp.zeros((4, 3)))) for moves in euclidean(3)]
    [3, 3]
    """
    return translations(d, part), rotations(d, part)


def rescale(a: Any, b: Any) -> OfUnits:
    """The sizes of hidden units: a -> a D, b -> D^-1 b with D diagonal, as where only a @ b counts, or of ReLU units.

    Args:
        a: names of leaves whose last axis are the hidden units, or of entries of one array.
        b: names of leaves whose first axis are the hidden units; `("weight", "bias")` are two.

    >>> rescale(0, 1).fields(jnp.array([2.0, 0.5])).tolist()
    [[2.0, -0.5]]
    """
    return OfUnits(named("a", a), named("b", b), "scales")


def rotate(a: Any, b: Any) -> OfUnits:
    """The rotations of hidden units: a -> a R, b -> R' b; arguments as of `rescale`.

    >>> rotate("a", "b").fields({"a": jnp.array([[1.0, 2.0]]), "b": jnp.array([[3.0], [4.0]])}).tolist()
    [[-2.0, 1.0, -4.0, 3.0]]
    """
    return OfUnits(named("a", a), named("b", b), "rotations")


def linear(a: Any, b: Any) -> OfUnits:
    """Every change of basis of hidden units: a -> a G, b -> G^-1 b; arguments as of `rescale`.

    >>> len(linear("a", "b").basis({"a": jnp.ones((1, 3)), "b": jnp.ones((3, 1))}))
    9
    """
    return OfUnits(named("a", a), named("b", b), "all")


def raveled(like: Params, *symmetries: Any) -> Raveled:
    """What is declared on pytrees like `like`, for a loss whose params are one array of the same values.

    >>> net = {"w1": jnp.zeros((1, 2)), "w2": jnp.zeros((2, 1))}
    >>> (0 + raveled(net, rescale("w1", "w2")).fields(jnp.arange(4.0))).tolist()
    [[0.0, 0.0, -2.0, 0.0], [0.0, 1.0, 0.0, -3.0]]
    """
    parts = tuple(one for one in flattened(symmetries) if isinstance(one, Continuous))
    return Raveled(jax.tree.map(jnp.asarray, like), parts)


def flattened(symmetries: Any) -> Iterator[Any]:
    """The symmetries of a nest of sequences, with functions as fields."""
    if isinstance(symmetries, tuple | list):
        for one in symmetries:
            yield from flattened(one)
    elif isinstance(symmetries, Continuous) or hasattr(symmetries, "nearest"):
        yield symmetries
    elif callable(symmetries) and not isinstance(symmetries, type):
        yield Field(symmetries)
    else:
        msg = (
            "symmetries must be one or several of hessian.symmetry, or functions of params that return what is like"
            f" params; got {shown(symmetries)}"
        )
        raise TypeError(msg)


def units(params: Params, a: tuple, b: tuple) -> int:
    """How many hidden units the last axes of `a` and the first axes of `b` have."""
    sizes = [x.shape[-1] if x.ndim else 1 for x in taken(params, a)]
    sizes += [x.shape[0] if x.ndim else 1 for x in taken(params, b)]
    if len(set(sizes)) > 1:
        msg = (
            f"symmetries must name parts with the same hidden units along the last axis of a = {a} and the first of"
            f" b = {b}; got {sizes}"
        )
        raise ValueError(msg)
    return sizes[0]


def _skew(d):
    """The antisymmetric matrices E_ij - E_ji, shape (d (d - 1) / 2, d, d)."""
    i, j = np.triu_indices(d, 1)
    basis = np.zeros((len(i), d, d))
    basis[np.arange(len(i)), i, j], basis[np.arange(len(i)), j, i] = 1, -1
    return basis


def _names(params):
    return [
        jax.tree_util.keystr(path, simple=True, separator=".")
        for path, _ in jax.tree_util.tree_leaves_with_path(params)
    ]
