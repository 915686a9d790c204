"""Optimizers whose steps are another's, each leaf made longer or shorter; sigma is kept, m is multiplied.

    theta  <-  theta  -  eta f * (m / sigma),   u = m / sigma

| wrapper | f, for one leaf | source |
|---|---|---|
| `with_trust_ratio` | coefficient norm(theta) / (norm(u) + eps) | LARS, LAMB |
| `with_clipped_rms` | 1 / max(1, rms(u) / threshold) | Adafactor |
| `with_parameter_scale` | max(rms(theta), least) | Adafactor |
| `cautious` | 1 where u g > 0, else 0, over the share of ones | Liang et al. 2024 |
| `hyperball` | norm(theta_0) / norm(u), and theta is put back on the sphere of theta_0 | for matrices |
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gdlab.equation import Optimizer, Rule
from gdlab.matrices import Rule as MatrixRule
from gdlab.matrices import each_matrix, merged, rule_of, without_matrices
from gdlab.numerics import Params, like, norm, safe_ratio, safe_root, square, wide
from gdlab.operators import by_leaf, is_operator, of_operators, solved
from gdlab.optimizers.wrappers import EXAMPLE, given
from gdlab.pieces import NONNEGATIVE, POSITIVE, Number, number, part, piece, static


class _Rescaled(Rule):
    """A rule that multiplies the step of each leaf by `factor(theta, g, u)`, a number or an array like the leaf."""

    optimizer: Optimizer

    def init(self, params):
        return self.optimizer.init(params)

    def factor(self, theta, g, u):
        """What the step of a leaf is multiplied by."""
        raise NotImplementedError

    def step(self, grads, state, params=None, **extra):
        step, state = self.optimizer.step(grads, state, params, **extra)
        theta = jax.tree.map(lambda u, theta: wide(theta).astype(u.dtype), step.m, given(params))
        g = jax.tree.map(lambda u, g: wide(g).astype(u.dtype), step.m, grads)
        u = by_leaf(solved, step.sigma, step.m)
        factors = jax.tree.map(self.factor, theta, g, u)

        def longer(sigma, m, u, f):
            return sigma.apply(f * u) if is_operator(sigma) else f * m

        moved = jax.tree.map(jnp.multiply, *(of_operators(step.sigma, tree) for tree in (step.update, factors)))
        return step._replace(m=by_leaf(longer, step.sigma, step.m, u, factors), moved=moved), state

    def extras(self, grads, state, params=None, **extra):
        return self.optimizer.extras(grads, state, params, **extra)


def _rms(leaf):
    return safe_root(jnp.sum(square(leaf)) / max(1, leaf.size))


def with_trust_ratio(optimizer: Optimizer, coefficient: ArrayLike = 1.0, eps: ArrayLike = 0.0) -> Optimizer:
    """Each leaf moves by eta coefficient norm(theta) / (norm(u) + eps) u; by eta u where either norm is 0 (LARS, LAMB).

    Args:
        optimizer: one of ours; its `update` must then be given `params`.
        coefficient: of the ratio, >= 0.
        eps: added to the norm of u, >= 0.

    >>> import gdlab
    >>> optimizer = with_trust_ratio(gdlab.gd(0.1))
    >>> round(float(optimizer.update(2.0, optimizer.init(3.0), 3.0)[0]), 6)
    -0.3
    """
    return Optimizer(WithTrustRatio(optimizer, coefficient, eps))


@piece
class WithTrustRatio(_Rescaled):
    """The rule of `with_trust_ratio`."""

    optimizer: Optimizer = part(Optimizer, EXAMPLE)
    coefficient: Number = number(NONNEGATIVE, default=1.0)
    eps: Number = number(NONNEGATIVE, default=0.0)

    def factor(self, theta, g, u):
        size, length = norm(theta), norm(u)
        ratio = like(self.coefficient, u) * safe_ratio(size, length + like(self.eps, u), 1)
        return jnp.where((size == 0) | (length == 0), 1, ratio)


def with_clipped_rms(optimizer: Optimizer, threshold: ArrayLike = 1.0) -> Optimizer:
    """Each leaf moves by eta u / max(1, rms(u) / threshold) (Shazeer & Stern 2018, section 6).

    Args:
        optimizer: one of ours; its `update` must then be given `params`.
        threshold: of the root of the mean square of u, > 0.

    >>> import gdlab
    >>> optimizer = with_clipped_rms(gdlab.gd(0.1))
    >>> round(float(optimizer.update(2.0, optimizer.init(3.0), 3.0)[0]), 6)
    -0.1
    """
    return Optimizer(WithClippedRms(optimizer, threshold))


@piece
class WithClippedRms(_Rescaled):
    """The rule of `with_clipped_rms`."""

    optimizer: Optimizer = part(Optimizer, EXAMPLE)
    threshold: Number = number(POSITIVE, default=1.0)

    def factor(self, theta, g, u):
        return 1 / jnp.maximum(1, _rms(u) / like(self.threshold, u))


def with_parameter_scale(optimizer: Optimizer, least: ArrayLike = 1e-3) -> Optimizer:
    """Each leaf moves by eta max(rms(theta), least) u: a relative rate (Shazeer & Stern 2018, section 8).

    Args:
        optimizer: one of ours; its `update` must then be given `params`.
        least: the smallest size that a leaf counts as, >= 0.

    >>> import gdlab
    >>> optimizer = with_parameter_scale(gdlab.gd(0.1))
    >>> round(float(optimizer.update(2.0, optimizer.init(3.0), 3.0)[0]), 6)
    -0.6
    """
    return Optimizer(WithParameterScale(optimizer, least))


@piece
class WithParameterScale(_Rescaled):
    """The rule of `with_parameter_scale`."""

    optimizer: Optimizer = part(Optimizer, EXAMPLE)
    least: Number = number(NONNEGATIVE, default=1e-3)

    def factor(self, theta, g, u):
        return jnp.maximum(_rms(theta), like(self.least, u))


def cautious(optimizer: Optimizer, least: ArrayLike = 1e-3) -> Optimizer:
    """Only the parameters whose step goes down their gradient move, by as much more as they are fewer (Liang 2024).

    f = 1 / max(share, least) where u g > 0 (the real part for complex ones), else 0; share of each leaf.

    Args:
        optimizer: one of ours; its `update` must then be given `params`.
        least: the smallest share that is divided by, > 0.

    >>> import gdlab
    >>> optimizer, theta = cautious(gdlab.momentum(0.1)), jnp.zeros(2)
    >>> _, state = optimizer.update(jnp.array([1.0, 1.0]), optimizer.init(theta), theta)
    >>> (0 + optimizer.update(jnp.array([1.0, -0.5]), state, theta)[0].round(6)).tolist()
    [-0.38, 0.0]
    """
    return Optimizer(Cautious(optimizer, least))


@piece
class Cautious(_Rescaled):
    """The rule of `cautious`."""

    optimizer: Optimizer = part(Optimizer, EXAMPLE)
    least: Number = number(POSITIVE, default=1e-3)

    def factor(self, theta, g, u):
        down = (jnp.real(u * g.conj()) > 0).astype(jnp.finfo(u.dtype).dtype)
        return down / jnp.maximum(jnp.sum(down) / max(1, down.size), like(self.least, u))


class HyperballState(NamedTuple):
    """The state of steps on spheres."""

    inner: Any  # the state of the optimizer
    radius: Params  # the norm of each leaf of matrices at the start: scalars, None for the rest


def hyperball(optimizer: Optimizer, matrices: str | MatrixRule = "last two") -> Optimizer:
    """Matrices stay on the sphere of their first norm R, each step of relative length eta; the rest moves as it did.

        theta  <-  R n(theta - eta R n(u)),   n(x) = x / norm(x)

    Args:
        optimizer: one of ours; its `update` must then be given `params`.
        matrices: which leaves hold matrices, a rule of `gdlab.matrices`.

    >>> import gdlab
    >>> optimizer, theta = hyperball(gdlab.gd(0.1)), jnp.array([[3.0, 4.0]])
    >>> update, _ = optimizer.update(jnp.array([[1.0, -1.0]]), optimizer.init(theta), theta)
    >>> round(float(jnp.linalg.norm(theta + update)), 6)
    5.0
    """
    return Optimizer(Hyperball(optimizer, matrices))


@piece
class Hyperball(Rule):
    """The rule of `hyperball`."""

    optimizer: Optimizer = part(Optimizer, EXAMPLE)
    matrices: Any = static(rule_of, default="last two")

    def init(self, params):
        radius = each_matrix(self.matrices, lambda view, leaf: _norm_of(leaf), params)
        return HyperballState(self.optimizer.init(params), radius)

    def step(self, grads, state, params=None, **extra):
        step, inner = self.optimizer.step(grads, state.inner, params, **extra)

        def turned(view, u, theta, radius):
            theta, radius = wide(theta).astype(u.dtype), like(radius, u)
            ahead = theta - like(step.eta, u) * radius * u * safe_ratio(1, norm(u), 0)
            return ahead * (radius * safe_ratio(1, norm(ahead), 0)) - theta

        moves = by_leaf(solved, step.sigma, step.m)
        update = each_matrix(self.matrices, turned, moves, given(params), state.radius)
        return step.moving(merged(update, without_matrices(self.matrices, step.update))), state._replace(inner=inner)

    def extras(self, grads, state, params=None, **extra):
        return self.optimizer.extras(grads, state.inner, params, **extra)


def _norm_of(leaf):
    abstract = isinstance(leaf, jax.ShapeDtypeStruct)
    return norm(jnp.zeros(leaf.shape, leaf.dtype) if abstract else leaf)
