"""Sigma of a matrix: a symmetric positive operator on the matrices of a leaf.

    theta  <-  theta  -  eta Sigma^-1 [ m ]          Sigma^-1 [ X ] = A X B   for one leaf

A diagonal sigma is an array of the shape of its leaf; an operator stands in its place where the size of a gradient has
directions of its own.  Every operator says what a diagonal one says by arithmetic:

    apply(x)        Sigma [ x ], the product of an array
    solve(x)        Sigma^-1 [ x ], the quotient; of the pseudo-inverse where Sigma is singular
    diagonal()      the entries of Sigma on its diagonal, shaped like the leaf
    eigenvalues()   shaped like the stack of the leaf's matrices: (count, rows, columns)

| operator | Sigma^-1 [ X ] | its optimizer |
|---|---|---|
| `InverseFactors` | A X B, for given symmetric A and B | exact polar factor, Shampoo, PSGD |
| `Rotated` | Q ((Q' X P) / sizes) P', in a given basis | SOAP; what the others become to be read |
| `NewtonSchulz` | p(M M') X, for the polynomial p of the iteration | Muon |

Only `solve` is computed in a step.  The rest is for readers, and takes an eigendecomposition.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp

from gdlab.matrices import View
from gdlab.numerics import Params, safe_ratio
from gdlab.roots import eigh, of_each, pseudo_inverse

T = TypeVar("T")
Stack = Any  # (count, rows, columns), one for each matrix of a leaf


class Operator:
    """A symmetric positive operator on one leaf; its fields are stacks of matrices."""

    view: View
    shape: tuple[int, ...]  # of the leaf

    def solve(self, x: jax.Array) -> jax.Array:
        """Sigma^-1 [x], of the pseudo-inverse where Sigma is singular."""
        raise NotImplementedError

    def apply(self, x: jax.Array) -> jax.Array:
        """Sigma [x]."""
        rotated = self.eigenbasis()
        return self.view.unstack(_in_basis(rotated, self.view.stack(x), lambda y: y * rotated.sizes), x)

    def diagonal(self) -> jax.Array:
        """The entries on the diagonal of Sigma, shaped like the leaf."""
        rotated = self.eigenbasis()
        sizes = jnp.broadcast_to(rotated.sizes, self._stacked())
        squares = _turned(_squared(rotated.left), sizes, _squared(rotated.right, transposed=True))
        return self.view.unstack(squares, jnp.zeros(self.shape, squares.dtype))

    def eigenvalues(self) -> jax.Array:
        """The eigenvalues of Sigma, shape (count, rows, columns)."""
        return jnp.broadcast_to(self.eigenbasis().sizes, self._stacked())

    def eigenbasis(self) -> "Rotated":
        """The same operator in its eigenbasis."""
        raise NotImplementedError

    def _stacked(self):
        return jax.eval_shape(self.view.stack, jax.ShapeDtypeStruct(self.shape, jnp.float32)).shape


@dataclass_transform(frozen_default=True, eq_default=False)
def operator(cls: type[T]) -> type[T]:
    """The class as a pytree of its stacks; what stands behind the shape of the leaf is structure as well."""
    cls = dataclass(frozen=True, eq=False)(cls)
    names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
    stacks = names.index("view")
    return jax.tree_util.register_dataclass(cls, names[:stacks], names[stacks:])


@operator
class Rotated(Operator):
    """Sigma [X] = Q (sizes * (Q' X P)) P', for orthogonal Q and P: a diagonal one in another basis.

    None stands for the basis that is there already.
    """

    left: Stack | None  # Q: (count, rows, rows)
    right: Stack | None  # P: (count, columns, columns)
    sizes: Stack  # >= 0, of a shape that broadcasts to (count, rows, columns)
    view: View
    shape: tuple[int, ...]

    def eigenbasis(self):
        return self

    def solve(self, x):
        return self.view.unstack(_in_basis(self, self.view.stack(x), lambda y: safe_ratio(y, self.sizes, 0)), x)


@operator
class InverseFactors(Operator):
    """Sigma^-1 [X] = left X right, for symmetric positive factors; None stands for the identity."""

    left: Stack | None  # (count, rows, rows)
    right: Stack | None  # (count, columns, columns)
    view: View
    shape: tuple[int, ...]

    def eigenbasis(self):
        left, left_sizes = _inverted(self.left)
        right, right_sizes = _inverted(self.right)
        return Rotated(left, right, left_sizes[:, :, None] * right_sizes[:, None, :], self.view, self.shape)

    def solve(self, x):
        return self.view.unstack(_turned(self.left, self.view.stack(x), self.right), x)


@operator
class NewtonSchulz(Operator):
    """Sigma^-1 [X] = factor / size p(Y Y') X with Y = M / size, where p(Y Y') Y is what the iteration makes of Y.

        Y  <-  a Y + (b A + c A^2) Y,   A = Y Y'         for each row (a, b, c) of the coefficients

    The odd polynomial of the singular values is s p(s^2), and p > 0 for the coefficients in use: Sigma is never
    singular, and tends to (M M')^(1/2) only as closely as the iteration converges.  What is solved for goes through the
    iteration beside Y; where it is M itself, the very array, the two are one.
    """

    leaf: jax.Array  # M, the leaf itself
    size: jax.Array  # (count, 1, 1): what M is divided by
    coefficients: jax.Array  # (steps, 3)
    view: View
    shape: tuple[int, ...]
    factor: float  # of the step

    def solve(self, x):
        y = self.view.stack(self.leaf) / self.size
        moved = y if x is self.leaf else self.view.stack(x) / self.size
        for a, b, c in self.coefficients:
            gram = y @ _adjoint(y)
            polynomial = b * gram + c * (gram @ gram)
            after = a * y + polynomial @ y
            moved = after if moved is y else a * moved + polynomial @ moved
            y = after
        return self.view.unstack(self.factor * moved, x)

    def eigenbasis(self):
        y = self.view.stack(self.leaf) / self.size
        squares, basis = of_each(eigh, y @ _adjoint(y))
        total, squares = jnp.ones_like(squares), jnp.maximum(squares, 0)
        for a, b, c in self.coefficients:
            gain = a + b * squares + c * squares**2
            total, squares = total * gain, squares * gain**2
        sizes = self.size / (self.factor * total[:, :, None])
        return Rotated(basis, None, sizes, self.view, self.shape)


def is_operator(sigma: Any) -> bool:
    """Whether the sigma of a leaf is an operator."""
    return isinstance(sigma, Operator)


def by_leaf(fn: Callable[..., Any], sigma: Params, *others: Params) -> Params:
    """`fn(sigma, ...)` for each leaf, where that of a leaf may be an operator."""
    return jax.tree.map(fn, sigma, *others, is_leaf=is_operator)


def of_operators(sigma: Params, tree: Params) -> Params:
    """The tree with None in the place of the leaves whose sigma is no operator."""
    return by_leaf(lambda sigma, leaf: leaf if is_operator(sigma) else None, sigma, tree)


def applied(sigma: Any, x: jax.Array) -> jax.Array:
    """Sigma [x] of a leaf: the product with an array, what an operator makes of it."""
    return sigma.apply(x) if is_operator(sigma) else sigma * x


def solved(sigma: Any, x: jax.Array) -> jax.Array:
    """Sigma^-1 [x] of a leaf: the quotient by an array, what an operator makes of it."""
    return sigma.solve(x) if is_operator(sigma) else x / sigma


def _adjoint(stack):
    return stack.mT.conj()


def _turned(left, stack, right):
    stack = stack if left is None else left @ stack
    return stack if right is None else stack @ right


def _in_basis(rotated, stack, change):
    """Q change(Q' X P) P'."""
    left, right = rotated.left, rotated.right
    inner = _turned(None if left is None else _adjoint(left), stack, right)
    return _turned(left, change(inner), None if right is None else _adjoint(right))


def _squared(basis, transposed=False):
    if basis is None:
        return None
    squares = jnp.abs(basis) ** 2
    return squares.mT if transposed else squares


def _inverted(factor):
    """The eigenvectors of a factor and the sizes of its pseudo-inverse; one size 1 for the identity."""
    if factor is None:
        return None, jnp.ones([1, 1])
    values, vectors = of_each(eigh, factor)
    return vectors, jax.vmap(pseudo_inverse)(values)
