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
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from gdlab.matrices import View
from gdlab.numerics import Params, safe_ratio
from gdlab.roots import eigh

Stack = Any  # (count, rows, columns), one for each matrix of a leaf


class Operator:
    """A symmetric positive operator on one leaf; its fields are stacks of matrices."""

    view: View
    shape: tuple[int, ...]  # of the leaf

    def solve(self, x: jax.Array) -> jax.Array:
        """Sigma^-1 [x], of the pseudo-inverse where Sigma is singular."""
        return self.view.unstack(self._solve(self.view.stack(x)), x)

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

    def _solve(self, stack):
        raise NotImplementedError

    def _stacked(self):
        return jax.eval_shape(self.view.stack, jax.ShapeDtypeStruct(self.shape, jnp.float32)).shape


def operator(cls: type) -> type:
    """The class as a pytree of its stacks, whose view and shape are structure."""
    cls = dataclass(frozen=True, eq=False)(cls)
    fields = [name for name in cls.__annotations__ if name not in ("view", "shape")]  # those of the class itself
    return jax.tree_util.register_dataclass(cls, fields, ["view", "shape"])


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

    def _solve(self, stack):
        return _in_basis(self, stack, lambda y: safe_ratio(y, self.sizes, 0))


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

    def _solve(self, stack):
        return _turned(self.left, stack, self.right)


@operator
class NewtonSchulz(Operator):
    """Sigma^-1 [X] = factor / size p(Y Y') X with Y = M / size, where p(Y Y') Y is what the iteration makes of Y.

        Y  <-  a Y + (b A + c A^2) Y,   A = Y Y'         for each row (a, b, c) of the coefficients

    The odd polynomial of the singular values is s p(s^2), and p > 0 for the coefficients in use: Sigma is never
    singular, and tends to (M M')^1/2 only as closely as the iteration converges.  What is solved for goes through the
    iteration beside Y; where it is M itself, the two are one computation to the compiler.
    """

    matrix: Stack  # M
    size: jax.Array  # (count, 1, 1): what M is divided by
    coefficients: jax.Array  # (steps, 3)
    factor: jax.Array  # of the step
    view: View
    shape: tuple[int, ...]

    def _solve(self, stack):
        y, x = self.matrix / self.size, stack / self.size
        for a, b, c in self.coefficients:
            gram = y @ _adjoint(y)
            polynomial = b * gram + c * (gram @ gram)
            y, x = a * y + polynomial @ y, a * x + polynomial @ x
        return self.factor * x

    def eigenbasis(self):
        y = self.matrix / self.size
        squares, basis = jax.vmap(eigh)(y @ _adjoint(y))
        total, squares = jnp.ones_like(squares), jnp.maximum(squares, 0)
        for a, b, c in self.coefficients:
            gain = a + b * squares + c * squares**2
            total, squares = total * gain, squares * gain**2
        sizes = self.size / (self.factor * total[:, :, None])
        return Rotated(basis, None, sizes, self.view, self.shape)


def is_operator(sigma: Any) -> bool:
    """Whether the sigma of a leaf is an operator."""
    return isinstance(sigma, Operator)


def has_operators(sigma: Params) -> bool:
    """Whether the sigma of any leaf is an operator."""
    return any(map(is_operator, jax.tree.leaves(sigma, is_leaf=is_operator)))


def by_leaf(fn: Callable[..., Any], sigma: Params, *others: Params) -> Params:
    """`fn(sigma, ...)` for each leaf, where that of a leaf may be an operator."""
    return jax.tree.map(fn, sigma, *others, is_leaf=is_operator)


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
    values, vectors = jax.vmap(eigh)(factor)
    least = values.shape[-1] * jnp.finfo(values.dtype).eps * jnp.max(values, axis=-1, keepdims=True)
    return vectors, jnp.where(values > least, 1 / jnp.where(values > least, values, 1), 0)
