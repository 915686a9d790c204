"""A scale that is fitted: PSGD's Kronecker factors (Li 2018; Pooladzandi & Li 2024).

    Sigma^-1 [ X ]  =  P_L X P_R,     P_L = Q_L' Q_L,   P_R likewise of Q_R,     both Q upper triangular

P is fitted so that E |P^(1/2) m|^2 + |P^(-1/2) v|^2 is lowest, for normal v: then the covariance of P m is that of
Sigma m, and what is made of a gradient has the size of noise.  A step of the fit, with A = Q_L m Q_R^T and
B = Q_L'^-1 v conj(Q_R)^-1:

    Q_L  <-  Q_L  -  rate triu(A A' - B B') Q_L / |A A' + B B'|                 and Q_R so with A^T and B^T

where |.| is a lower bound of the spectral norm that is exact to 30 %.  A leaf without matrices has a diagonal Q of its
own, q <- q - rate (a^2 - b^2) q / max(a^2 + b^2) with a = q m, b = v / q.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gdlab.ground.checks import whole
from gdlab.matrices import each_matrix, merged, rule_of, spread, without_matrices
from gdlab.numerics import Params, like, square, wide, zeros_wide, zeros_wide_real
from gdlab.operators import InverseFactors, is_operator
from gdlab.pieces import SHARE, Number, number, piece, static
from gdlab.scales.matrices import MatrixScale

__all__ = ["Kron"]


class KronState(NamedTuple):
    """The roots of the inverse of sigma."""

    factors: Params  # for each leaf with matrices its (Q_L, Q_R): (count, rows, rows), (count, columns, columns)
    diagonal: Params  # q of the other leaves, like params


class Factors(NamedTuple):
    """Q_L and Q_R of the matrices of a leaf."""

    left: jax.Array
    right: jax.Array


def _seed(name: str, value: Any) -> int:
    return whole(name, value, 0)


@piece
class Kron(MatrixScale):
    """Sigma^-1 = P_L (x) P_R, fitted to the direction before it is used (Pooladzandi & Li 2024).

    Args:
        fit_rate: the rate of the fit, in [0, 1).
        every: steps between two steps of the fit, a whole number >= 1.
        seed: of the noise v, a whole number >= 0; step t folds in t.
        matrices: which leaves hold matrices, a rule of `gdlab.matrices`.
    """

    fit_rate: Number = number(SHARE, default=0.1)
    every: int = static(whole, default=1)
    seed: int = static(_seed, default=0)
    matrices: Any = static(rule_of, default="last two")

    def init(self, params):
        def begin(view, leaf):
            stack = view.stack(zeros_wide(leaf))
            left, right = (jnp.eye(size, dtype=stack.dtype) for size in stack.shape[1:])
            return Factors(*(jnp.broadcast_to(q, (len(stack), *q.shape)) for q in (left, right)))

        rest = without_matrices(self.matrices, params)
        return KronState(each_matrix(self.matrices, begin, params), jax.tree.map(_ones, rest))

    def measure(self, grads, state, count, eta, m):
        def fit(state):
            return self._fitted(m, state, jax.random.fold_in(jax.random.key(self.seed), count))

        state = jax.lax.cond(count % self.every == 0, fit, lambda state: state, state)

        def sigma(view, m, factors):
            left, right = (q.mT.conj() @ q for q in factors)
            return InverseFactors(left, right.mT, view, m.shape)

        found = each_matrix(self.matrices, sigma, m, state.factors)
        return merged(found, jax.tree.map(lambda q: 1 / square(q), state.diagonal), is_operator), state

    def _fitted(self, m, state, key):
        """The state after one step of the fit."""
        leaves, structure = jax.tree.flatten(jax.tree.map(wide, m))
        keys = [jax.random.fold_in(key, number) for number in range(len(leaves))]
        noise = jax.tree.unflatten(structure, map(_noise, keys, leaves))
        m = jax.tree.unflatten(structure, leaves)

        def matrices(view, m, noise, factors):
            rate = like(self.fit_rate, m)
            return Factors(*jax.vmap(_fitted, (0, 0, 0, None))(factors, view.stack(m), view.stack(noise), rate))

        def numbers(q, m, noise):
            return _fitted_diagonal(q, m, noise, like(self.fit_rate, q))

        factors = each_matrix(self.matrices, matrices, m, noise, state.factors)
        rest = (without_matrices(self.matrices, tree) for tree in (m, noise))
        return KronState(factors, jax.tree.map(numbers, state.diagonal, *rest))


def _noise(key, leaf):
    return spread(jax.random.normal(key, leaf.shape, leaf.dtype), leaf)


def _ones(leaf):
    return zeros_wide_real(leaf) + 1


def _fitted(factors, m, v, rate):
    left, right = factors
    a = left @ m @ right.T
    b = _solved(left, _solved(right, v.T).T)
    return _turned(left, a, b, rate), _turned(right, a.T, b.T, rate)


def _solved(q, x):
    """Q'^-1 X, of an upper triangular Q."""
    return jax.scipy.linalg.solve_triangular(q, x, trans=2)


def _turned(q, a, b, rate):
    first, second = a @ a.T.conj(), b @ b.T.conj()
    share = (rate / _norm(first + second)).astype(q.dtype)
    return q - share * jnp.triu(first - second) @ q


def _norm(matrix):
    """A lower bound of the spectral norm of a symmetric positive M: |M y| / |y| with y = M x, x the longest column."""
    largest = jnp.max(jnp.abs(matrix))
    matrix = matrix / largest.astype(matrix.dtype)
    column = matrix[:, jnp.argmax(jnp.sum(square(matrix), axis=0))]
    y = matrix @ column
    return largest * jnp.linalg.norm(matrix @ y) / jnp.linalg.norm(y)


def _fitted_diagonal(q, m, v, rate):
    first, second = square(q) * square(m), square(v) / square(q)
    return q - rate * (first - second) * q / jnp.max(first + second, initial=0)
