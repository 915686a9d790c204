"""Scales of matrices: sigma as an operator, the matrix cells of the grid.

    Polar         Sigma = (M M')^(1/2), so that Sigma^-1 M = U V'                       what abs(m) is to a number
    NewtonSchulz  the same by a polynomial: Sigma^-1 is what the iteration applies     Muon
    ShampooSum    Sigma = L^(1/4) (x) R^(1/4), L = sum of G G', R = sum of G' G            Adagrad's matrix cell
    Shampoo       the same with bias-corrected averages                                Adam's
    Soap          Sigma = (Q_L (x) Q_R) diag(sqrt(nu) + eps) (Q_L (x) Q_R)'            Adam in Shampoo's eigenbasis

`FactoredRootMeanSquare` is an array made of a matrix's means: sigma_ij^2 = row_i column_j / mean of rows.

Each takes the leaves that hold matrices by a rule (`gdlab.matrices`), and leaves the rest to the scale `others`.  Where
Sigma is singular its inverse is the pseudo-inverse: what has no gradient does not move.

| scale | state | its optimizer |
|---|---|---|
| `Polar(others)`, `NewtonSchulz(others, eps)` | that of the others | muon, scion |
| `ShampooSum(others, eps)`, `Shampoo(others, decay, eps)` | `left`, `right` | shampoo |
| `Soap(decay, eps, basis_decay=, every=)` | `nu`, `left`, `right`, their bases | soap |
| `FactoredRootMeanSquare(power, eps, smallest)` | means of `rows`, `columns`, else `nu` | adafactor |
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gdlab import operators
from gdlab.arguments import sequence
from gdlab.base import Scale
from gdlab.ground.checks import choice, whole
from gdlab.ground.leaves import shown
from gdlab.matrices import View, each_matrix, merged, only_matrices, rule_of, without_matrices
from gdlab.numerics import Params, bias_weight, each, ema, like, positive_root, square, wide, zeros_wide_real
from gdlab.operators import InverseFactors, Rotated, is_operator
from gdlab.pieces import NONNEGATIVE, SHARE, Number, number, part, piece, static
from gdlab.roots import eigh, inverse_modulus, inverse_root, of_each, orthonormal

__all__ = ["DION", "FactoredRootMeanSquare", "NewtonSchulz", "Polar", "Shampoo", "ShampooSum", "Soap"]

STANDARD = ((3.4445, -4.7750, 2.0315),) * 5  # Jordan et al. 2024: the steepest at 0, to within 30 % of 1
DION = (  # Ahn et al. 2025, one row a step
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)

# What a step of unit singular values is multiplied by, for a matrix of so many rows (inputs) and columns (outputs).
SHAPE_FACTORS: dict[str, Callable[[int, int], float]] = {
    "one": lambda rows, columns: 1.0,
    "width": lambda rows, columns: math.sqrt(max(1.0, columns / rows)),  # Jordan et al. 2024, optax
    "ratio": lambda rows, columns: math.sqrt(columns / rows),  # Pethick et al. 2025: norm 1 from rms to rms
    "rms": lambda rows, columns: 0.2 * math.sqrt(max(rows, columns)),  # Liu et al. 2025: the rms of Adam's steps
}

OTHERS = "one of gdlab.scales, such as Unit()"


def _shape_factor(name, value):
    choice(name, value, SHAPE_FACTORS)
    return value


class MatrixScale(Scale):
    """A scale that is an operator where a leaf holds matrices."""

    matrices: Any


class OthersState(NamedTuple):
    """The state of a scale that keeps one for the leaves without matrices."""

    others: Any  # the state of their scale
    matrices: Any  # what is kept of the matrices


class FactorState(NamedTuple):
    """Second moments of the two sides of matrices."""

    left: Params  # sum or average of G G', (count, rows, rows) for each leaf with matrices
    right: Params  # sum or average of G' G, (count, columns, columns)


class SoapState(NamedTuple):
    """The state of Adam in a turning basis."""

    nu: Params  # average of squared gradients, in the basis where there is one: real, like params
    moments: FactorState  # averages of G G' and G' G
    bases: FactorState  # Q_L and Q_R


class _WithOthers(MatrixScale):
    """A matrix scale that leaves the rest of the leaves to another scale."""

    others: Scale

    def init(self, params):
        kept = self._begin(only_matrices(self.matrices, params))
        return OthersState(self.others.init(without_matrices(self.matrices, params)), kept)

    def measure(self, grads, state, count, eta, m):
        rest = (without_matrices(self.matrices, tree) for tree in (grads, m))
        plain, others = self.others.measure(next(rest), state.others, count, eta, next(rest))
        sigma, kept = self._measure(grads, state.matrices, count, m)
        return merged(sigma, plain, is_operator), OthersState(others, kept)

    def _begin(self, params):
        return ()

    def _measure(self, grads, state, count, m):
        """The operators of leaves with matrices, None in the place of the rest, and what is kept of the matrices."""
        raise NotImplementedError


@piece
class Polar(_WithOthers):
    """Sigma = (M M')^(1/2) / f, the exact one: Sigma^-1 M is the polar factor U V' of the direction, times a factor f.

    Args:
        others: the scale of leaves without matrices.
        shape_factor: "one", "width" sqrt(max(1, columns / rows)), "ratio" sqrt(columns / rows) or "rms"
            .2 sqrt(max(rows, columns)), for matrices that map rows to columns.
        matrices: which leaves hold matrices, a rule of `gdlab.matrices`.
    """

    others: Scale = part(Scale, OTHERS)
    shape_factor: str = static(_shape_factor, default="one")
    matrices: Any = static(rule_of, default="last two")

    def _measure(self, grads, state, count, m):
        def sigma(view, m):
            wider, factor = view.wide(m.shape), SHAPE_FACTORS[self.shape_factor](*view.sizes(m.shape))
            root = of_each(inverse_modulus, wider.stack(m))
            return InverseFactors(factor * root, None, wider, m.shape)

        return each_matrix(self.matrices, sigma, m), state


def _coefficients(name, value):
    with jax.ensure_compile_time_eval():  # they are static, also where the optimizer is made inside of a jit
        array = sequence(name, value)
    if array.shape[1:] != (3,):
        msg = f"{name} must be a sequence of rows (a, b, c), one a step; got {shown(value)}"
        raise ValueError(msg)
    return tuple(map(tuple, array.tolist()))


@piece
class NewtonSchulz(_WithOthers):
    """Sigma^-1 = the polynomial in M M' that steps of Newton-Schulz apply to M / (norm(M) + eps), times the factor.

        X  <-  a X + (b A + c A^2) X,   A = X X'

    Args:
        others: the scale of leaves without matrices.
        eps: added to the norm, >= 0.
        coefficients: a, b, c of each step, shape (steps, 3); five equal steps of Jordan et al. (2024).
        shape_factor: as in `Polar`.
        matrices: which leaves hold matrices, a rule of `gdlab.matrices`.
    """

    others: Scale = part(Scale, OTHERS)
    eps: Number = number(NONNEGATIVE, default=1e-8)
    coefficients: Any = static(_coefficients, default=STANDARD)
    shape_factor: str = static(_shape_factor, default="one")
    matrices: Any = static(rule_of, default="last two")

    def _measure(self, grads, state, count, m):
        def sigma(view, m):
            wider, factor = view.wide(m.shape), SHAPE_FACTORS[self.shape_factor](*view.sizes(m.shape))
            size = positive_root(jnp.sum(square(wider.stack(m)), axis=(1, 2), keepdims=True))
            rows = jnp.asarray(self.coefficients, size.dtype)
            return operators.NewtonSchulz(m, size + like(self.eps, size), rows, wider, m.shape, factor=factor)

        return each_matrix(self.matrices, sigma, m), state


class _Factored(_WithOthers):
    """Sigma = L^(1/4) (x) R^(1/4) of what is kept of G G' and G' G."""

    eps: Number

    def _begin(self, params):
        return FactorState(*_sides(self.matrices, lambda stack: jnp.zeros_like(_gram(stack)), params))

    def _sigma(self, moments, m):
        def root(moment):
            identity = jnp.eye(moment.shape[-1], dtype=moment.dtype)[None]
            return of_each(inverse_root, moment + like(self.eps, moment) * identity, 4)

        def sigma(view, m, left, right):
            return InverseFactors(root(left), root(right), view, m.shape)

        return each_matrix(self.matrices, sigma, m, *moments)


@piece
class ShampooSum(_Factored):
    """Sigma = L^(1/4) (x) R^(1/4) with L = eps + sum of G G', R = eps + sum of G' G (Gupta et al. 2018).

    Args:
        others: the scale of leaves without matrices.
        eps: the sums before the first gradient, in all directions, >= 0.
        matrices: which leaves hold matrices, a rule of `gdlab.matrices`.
    """

    others: Scale = part(Scale, OTHERS)
    eps: Number = number(NONNEGATIVE, default=1e-4)
    matrices: Any = static(rule_of, default="last two")

    def _measure(self, grads, state, count, m):
        grams = _sides(self.matrices, _gram, grads)
        state = FactorState(*(each(lambda sum, new: sum + new, *pair) for pair in zip(state, grams, strict=True)))
        return self._sigma(state, m), state


@piece
class Shampoo(_Factored):
    """Sigma = (L + eps)^(1/4) (x) (R + eps)^(1/4) with bias-corrected averages L of G G' and R of G' G.

    With decay and eps 0 it is the polar factor of the gradient.

    Args:
        others: the scale of leaves without matrices.
        decay: of both averages, in [0, 1).
        eps: added to each eigenvalue, >= 0.
        matrices: which leaves hold matrices, a rule of `gdlab.matrices`.
    """

    others: Scale = part(Scale, OTHERS)
    decay: Number = number(SHARE, default=0.999)
    eps: Number = number(NONNEGATIVE, default=1e-12)
    matrices: Any = static(rule_of, default="last two")

    def _measure(self, grads, state, count, m):
        grams = _sides(self.matrices, _gram, grads)
        state = FactorState(*(ema(*pair, self.decay) for pair in zip(state, grams, strict=True)))
        weight = bias_weight(self.decay, count + 1)
        moments = [each(lambda moment, weight: moment / weight, side, weight=weight) for side in state]
        return self._sigma(moments, m), state


@piece
class Soap(MatrixScale):
    """Sigma = (Q_L (x) Q_R) diag((sqrt(nu) + eps) / sqrt(1 - b^t)) (Q_L (x) Q_R)', nu <- b nu + (1 - b) (Q_L' G Q_R)^2.

    The bases are the eigenvectors of averages of G G' and G' G.  The first gradient only makes them, so that no
    gradient is measured in its own basis: nu begins with the second (`directions.AfterFirst` does so too).  After every
    `every`-th step they take one step of the power iteration, Q <- QR(L Q) with the columns by descending Q' L Q, and
    nu keeps its places (Vyas et al. 2024).  Leaves without matrices keep their basis, which is Adam.

    Args:
        decay: b in [0, 1).
        eps: added to the root before the correction of the bias, >= 0.
        basis_decay: of the averages of G G' and G' G, in [0, 1).
        every: steps between two turns of the basis, a whole number >= 1.
        matrices: which leaves hold matrices, a rule of `gdlab.matrices`.
    """

    decay: Number = number(SHARE, default=0.95)
    eps: Number = number(NONNEGATIVE, default=1e-8)
    basis_decay: Number = number(SHARE, default=0.95, kw_only=True)
    every: int = static(whole, default=10)
    matrices: Any = static(rule_of, default="last two")

    def init(self, params):
        moments = FactorState(*_sides(self.matrices, lambda stack: jnp.zeros_like(_gram(stack)), params))
        bases = jax.tree.map(lambda moment: moment + jnp.eye(moment.shape[-1], dtype=moment.dtype)[None], moments)
        return SoapState(jax.tree.map(zeros_wide_real, params), moments, bases)

    def measure(self, grads, state, count, eta, m):
        first = count == 0

        def rotate(view, g, left, right):
            return view.unstack(_adjoint(left) @ view.stack(wide(g)) @ right, g)

        turned = each_matrix(self.matrices, rotate, grads, *state.bases)
        squares = jax.tree.map(lambda g: square(wide(g)), merged(turned, without_matrices(self.matrices, grads)))
        nu = ema(state.nu, squares, jnp.where(first, 1, like(self.decay, eta)))
        sigma = self._sigma(nu, count, m, state.bases)

        grams = _sides(self.matrices, _gram, grads)
        moments = FactorState(*(ema(*pair, self.basis_decay) for pair in zip(state.moments, grams, strict=True)))
        due = jnp.where(first, 1, jnp.where(count % self.every == 0, 2, 0))
        return sigma, jax.lax.switch(due, (_kept, _begun, self._turned), SoapState(nu, moments, state.bases))

    def _sigma(self, nu, count, m, bases):
        def root_weight(dtype):
            return jnp.sqrt(bias_weight(self.decay, jnp.maximum(count, 1))(dtype))

        sizes = each(lambda nu, eps, w: (positive_root(nu) + eps) / w, nu, eps=self.eps, w=root_weight)
        sizes = jax.tree.map(lambda sizes: jnp.where(count == 0, 1, sizes), sizes)

        def sigma(view, m, sizes, left, right):
            return Rotated(left, right, view.stack(sizes), view, m.shape)

        found = each_matrix(self.matrices, sigma, m, sizes, *bases)
        return merged(found, without_matrices(self.matrices, sizes), is_operator)

    def _turned(self, state):
        """The state whose bases have taken a step of the power iteration."""

        def order(moment, basis):
            return jnp.argsort(-jnp.sum(basis.conj() * (moment @ basis), axis=1).real, axis=1)

        def turn(moment, basis, order):
            basis = jnp.take_along_axis(basis, order[:, None, :], axis=2)
            return of_each(orthonormal, moment @ basis)

        def sort(view, nu, left, right):
            stack = jnp.take_along_axis(view.stack(nu), left[:, :, None], axis=1)
            return view.unstack(jnp.take_along_axis(stack, right[:, None, :], axis=2), nu)

        orders = jax.tree.map(order, state.moments, state.bases)
        nu = merged(each_matrix(self.matrices, sort, state.nu, *orders), without_matrices(self.matrices, state.nu))
        return SoapState(nu, state.moments, jax.tree.map(turn, state.moments, state.bases, orders))


def _kept(state):
    return state


def _begun(state):
    """The state whose bases are the eigenvectors, by descending eigenvalue."""
    vectors = jax.tree.map(lambda moment: of_each(eigh, moment)[1][:, :, ::-1], state.moments)
    return state._replace(bases=vectors)


def _gram(stack):
    return stack @ _adjoint(stack)


class FactoredState(NamedTuple):
    """Means of squared gradients over rows and columns."""

    rows: Params  # over columns, for leaves that are factored, with an axis of length 1 in their place
    columns: Params  # over rows, likewise
    nu: Params  # averages of the squares of the other leaves: real, like params


@piece
class FactoredRootMeanSquare(Scale):
    """sigma_ij = sqrt(row_i column_j / mean(row)) of running means of g^2 + eps over the columns and rows of a matrix.

    The decay of step t, from 1, is 1 - t^-power.  The matrix of a leaf is made of its two longest axes; a leaf that is
    shorter keeps a mean for each parameter (Shazeer & Stern 2018).

    Args:
        power: >= 0.
        eps: added to each square, >= 0.
        smallest: the least length of both axes, a whole number >= 1.
    """

    power: Number = number(NONNEGATIVE, default=0.8)
    eps: Number = number(NONNEGATIVE, default=1e-30)
    smallest: int = static(whole, default=128)

    def _rule(self, path, shape):
        order = [int(axis) for axis in np.argsort(shape)]
        large = len(shape) >= 2 and shape[order[-2]] >= self.smallest
        return View((order[-2],), (order[-1],)) if large else None

    def init(self, params):
        zeros = jax.tree.map(zeros_wide_real, params)
        return self._means(zeros)

    def _means(self, squares):
        def over(axes):
            return lambda view, square: jnp.mean(square, axis=axes(view), keepdims=True)

        rows = each_matrix(self._rule, over(lambda view: view.columns), squares)
        columns = each_matrix(self._rule, over(lambda view: view.rows), squares)
        return FactoredState(rows, columns, without_matrices(self._rule, squares))

    def measure(self, grads, state, count, eta, m):
        squares = jax.tree.map(lambda g: square(wide(g)), grads)
        squares = each(lambda square, eps: square + eps, squares, eps=self.eps)
        decay = 1 - like(count + 1, eta) ** -like(self.power, eta)
        state = FactoredState(*(ema(*pair, decay) for pair in zip(state, self._means(squares), strict=True)))

        def size(view, square, rows, columns):
            return positive_root(rows / positive_root(jnp.mean(rows, axis=view.rows, keepdims=True)) ** 2 * columns)

        factored = each_matrix(self._rule, size, squares, state.rows, state.columns)
        return merged(factored, jax.tree.map(positive_root, state.nu)), state


def _adjoint(stack):
    return stack.mT.conj()


def _sides(rule, fn, tree):
    """Both sides of every matrix: `fn` of the stack, and of its transpose."""

    def side(turn):
        return lambda view, leaf: fn(turn(view.stack(wide(leaf))))

    return [each_matrix(rule, side(turn), tree) for turn in (lambda stack: stack, _adjoint)]
