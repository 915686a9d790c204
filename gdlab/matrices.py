"""Which leaves of a pytree hold matrices, and those matrices as a stack.

    leaf (..., rows, columns)   ->   stack (count, rows, columns)   ->   leaf

A rule says it for each leaf, from its path and its shape: the axes that are the rows and those that are the columns, or
None for a leaf that holds no matrices, which then takes the diagonal piece.  The axes left over number the matrices.

| rule | matrices of |
|---|---|
| "last two" | the last two axes of every leaf of rank 2 or more whose path names no embedding: the default |
| "flattened" | all axes but the last against the last: kernels of convolutions as (height, width, in, out) |
| "rank two" | leaves of rank 2, whatever their name, and no others, as optax.contrib.muon has it |
| a function | `rule(path, shape) -> View(rows, columns)` or None, such as one that looks for "head" in the path |

An embedding is a list of rows that are looked up one at a time: a step of size 1 in every singular direction would move
rows that no gradient has reached.  The last two axes of a convolution are (in, out) at each place of its kernel.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax

from gdlab.ground.checks import choice
from gdlab.numerics import Params


@dataclass(frozen=True)
class View:
    """The axes of an array that are the rows and the columns of its matrices, each counted from 0.

    >>> import jax.numpy as jnp
    >>> View((1,), (2,)).stack(jnp.zeros((5, 2, 3))).shape
    (5, 2, 3)
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]

    def sizes(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """The numbers of rows and of columns."""
        return math.prod(shape[i] for i in self.rows), math.prod(shape[i] for i in self.columns)

    def wide(self, shape: tuple[int, ...]) -> "View":
        """The view whose matrices have no more rows than columns: this one, or its transpose."""
        rows, columns = self.sizes(shape)
        return self if rows <= columns else View(self.columns, self.rows)

    def stack(self, leaf: jax.Array) -> jax.Array:
        """The matrices, shape (count, rows, columns)."""
        return _gathered(leaf).transpose(self._order(leaf.ndim)).reshape(-1, *self.sizes(leaf.shape))

    def unstack(self, stack: jax.Array, leaf: jax.Array) -> jax.Array:
        """The matrices as an array laid out as the leaf is."""
        order = self._order(leaf.ndim)
        back = tuple(sorted(range(leaf.ndim), key=lambda axis: order[axis]))
        return spread(stack.reshape([leaf.shape[i] for i in order]).transpose(back), leaf)

    def _order(self, rank):
        taken = self.rows + self.columns
        return (*(i for i in range(rank) if i not in taken), *taken)


def _gathered(leaf):
    """The leaf on every device: a product over an axis that is spread over devices has no one layout."""
    mesh = jax.typeof(leaf).sharding.mesh
    return jax.sharding.reshard(leaf, jax.P()) if mesh.explicit_axes else leaf


def spread(array, leaf):
    """The array over the devices as the leaf is, where their mesh is explicit."""
    sharding = jax.typeof(leaf).sharding
    return jax.sharding.reshard(array, sharding.spec) if sharding.mesh.explicit_axes else array


Rule = Callable[[str, tuple[int, ...]], View | None]


def _last_two(path, shape):
    return None if "embed" in path.lower() else _of_rank(2, shape, View((len(shape) - 2,), (len(shape) - 1,)))


def _flattened(path, shape):
    return _of_rank(2, shape, View(tuple(range(len(shape) - 1)), (len(shape) - 1,)))


def _rank_two(path, shape):
    return View((0,), (1,)) if len(shape) == 2 else None


def _of_rank(least, shape, view):
    return view if len(shape) >= least else None


RULES: dict[str, Rule] = {"last two": _last_two, "flattened": _flattened, "rank two": _rank_two}


def rule_of(name: str, value: Any) -> Any:
    """The rule that a word names, or the rule itself where it is a function; ValueError for another word."""
    return value if callable(value) else choice(name, value, RULES) and value


def each_matrix(rule: str | Rule, fn: Callable[..., Any], tree: Params, *others: Params) -> Params:
    """`fn(view, leaf, ...)` for the leaves that hold matrices, and None in the place of the others."""

    def leaf(view, leaf, *others):
        return None if view is None else fn(view, leaf, *others)

    return _with_views(rule, leaf, tree, *others)


def without_matrices(rule: str | Rule, tree: Params) -> Params:
    """The tree with None in the place of the leaves that hold matrices."""
    return _with_views(rule, lambda view, leaf: leaf if view is None else None, tree)


def only_matrices(rule: str | Rule, tree: Params) -> Params:
    """The tree with None in the place of the leaves that hold no matrices."""
    return each_matrix(rule, lambda view, leaf: leaf, tree)


def merged(first: Params, second: Params, is_leaf: Callable[[Any], bool] = lambda one: False) -> Params:
    """The tree of which one part is in the first tree and the rest in the second, each with None for the other's."""

    def leaf(one):
        return one is None or is_leaf(one)

    return jax.tree.map(lambda one, other: other if one is None else one, first, second, is_leaf=leaf)


def _with_views(rule, fn, tree, *others):
    rule = RULES[rule] if isinstance(rule, str) else rule

    def leaf(path, leaf, *others):
        shape = tuple(leaf.shape) if hasattr(leaf, "shape") else ()
        view = None if 0 in shape else rule(jax.tree_util.keystr(path), shape)
        return fn(view, leaf, *others)

    return jax.tree_util.tree_map_with_path(leaf, tree, *others)
