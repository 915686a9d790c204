"""Losses that are not JAX: a function of NumPy, of C or of a calculator, that gives the energy and its gradient.

    H v  ~  (45 c_1 - 9 c_2 + c_3) |v| / (60 h),     c_k = g(theta + k h u) - g(theta - k h u),     u = v / |v|

The differences have order h^6; h is halved until they agree to rounding with those of order h^4 and of twice the
step, or as well as they can.  What they may be off is stated beside each: how far they are from these, and 11/6 of the
gradient's own error over h.  A verdict takes these errors for rounding, as `hessian.roundoff` takes
those of the operations of JAX, so that a curvature which they hide has no sign.  All of it is computed on the host in
float64.  The third derivative is not known.

| name | what it is |
|---|---|
| `foreign_loss` | the loss, as every function of this package takes it |
| `stated_error` | an array, and how far it may be off |
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.interpreters import batching, mlir

from gdlab.ground.checks import function, number
from gdlab.ground.jaxprs import Primitive
from gdlab.ground.leaves import shown

LARGEST_ERROR = 0.01  # of a directional derivative: energies may be rounded
CHECKED: set["_Host"] = set()  # the last ones whose gradient is known to be that of the energy
HALVINGS = 12  # of the step, where the formulas disagree beyond rounding
REMEMBERED = 16  # points whose energy and gradient are kept, since both are asked for one after the other
ROUNDED = 11 / 6  # the sum of the sizes of the coefficients of the differences, over h

stated = Primitive("stated_error")
stated.def_impl(lambda x, error: x)
stated.def_abstract_eval(lambda x, error: x)
mlir.register_lowering(stated, mlir.lower_fun(lambda x, error: x, multiple_results=False))
batching.defbroadcasting(stated)


def stated_error(x: jax.Array, error: jax.Array) -> jax.Array:
    """The array; where rounding is measured, moved by up to this error, of its shape.

    >>> float(stated_error(jnp.array(2.0), jnp.array(0.1)))
    2.0
    """
    return stated.bind(x, jnp.broadcast_to(jnp.asarray(error, x.dtype), x.shape))


@dataclass(frozen=True)
class _Host:
    """The function on the host, over raveled parameters."""

    fn: Callable[[Any], tuple[Any, Any]]
    structure: Any
    shapes: tuple
    accuracy: float
    step: float

    def at(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        """The energy, and its gradient of shape (n,)."""
        theta = np.asarray(theta, np.float64)
        if self not in CHECKED:
            self.check(theta)
        return _remembered(self, theta.tobytes())

    def check(self, theta: np.ndarray) -> None:
        """ValueError where the gradient, a step away in a random direction, is certainly not that of the energy."""
        ask = lambda x: _remembered(self, x.tobytes())  # noqa: E731
        away = _unit(np.random.default_rng(0).standard_normal(theta.size))
        theta = theta + self.step * away
        slope = ask(theta)[1]
        if not np.isfinite(slope).all() or not slope.any():
            return
        along = _unit(_unit(slope) + away / 2)  # all numbers of the gradient count, and its sign does
        said, changes, errors = float(slope @ along), [], []
        for h in self.step / 4.0 ** np.arange(HALVINGS // 2 + 1):
            ahead, behind = ([ask(theta + sign * k * h * along)[0] for k in (1, 2)] for sign in (1, -1))
            near, far = ahead[0] - behind[0], ahead[1] - behind[1]
            changes.append((8 * near - far) / (12 * h))
            errors.append(abs(changes[-1] - near / (2 * h)) + 4 * np.finfo(float).eps * abs(ahead[0]) / h)
            if abs(changes[-1] - said) <= LARGEST_ERROR * abs(said):
                break
        change = changes[int(np.argmin(errors))]
        most = max(10 * min(errors) + self.accuracy * np.sqrt(theta.size), LARGEST_ERROR * max(abs(said), abs(change)))
        if min(abs(one - said) for one in changes) > most:
            msg = (
                f"energy_and_gradient must return the gradient of its energy, which changes by {change:.4g} a unit"
                f" along a line where it says {said:.4g}; forces are the negative of the gradient"
            )
            raise ValueError(msg)
        if len(CHECKED) >= REMEMBERED:
            CHECKED.clear()
        CHECKED.add(self)

    def differences(self, theta: np.ndarray, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """H v, and how far each of its entries may be off: at the longest step whose formulas agree to rounding."""
        theta, vector = np.asarray(theta, np.float64), np.asarray(vector, np.float64)
        size = float(np.linalg.norm(vector))
        if not size or not np.isfinite(size):
            return vector, vector
        before, least = self._at_step(theta, vector / size, self.step)[0], np.inf
        best = (np.full_like(vector, np.nan),) * 2
        for h in self.step / 2.0 ** np.arange(1, HALVINGS + 1):
            product, apart = self._at_step(theta, vector / size, h)
            apart, rounding = np.maximum(apart, np.abs(product - before)), ROUNDED * self.accuracy / h
            if np.max(apart) + rounding < least:
                best, least = (product, apart + rounding), np.max(apart) + rounding
            if np.max(apart) <= rounding:
                break
            before = product
        return size * best[0], size * best[1]

    def _at_step(self, theta, unit, h):
        """H u by differences of order 6 over a step, and how far those of order 4 are from them."""
        ahead, behind = ([self.at(theta + sign * k * h * unit)[1] for k in (1, 2, 3)] for sign in (1, -1))
        first, second, third = (a - b for a, b in zip(ahead, behind, strict=True))
        product = (45 * first - 9 * second + third) / (60 * h)
        return product, np.abs(product - (8 * first - second) / (12 * h))


def _unit(vector):
    return vector / np.linalg.norm(vector)


@functools.lru_cache(maxsize=REMEMBERED)
def _remembered(host, point):
    theta, leaves, first = np.frombuffer(point), [], 0
    for shape in host.shapes:
        leaves.append(theta[first : first + int(np.prod(shape))].reshape(shape).copy())
        first += leaves[-1].size
    out = host.fn(jax.tree.unflatten(host.structure, leaves))
    if not isinstance(out, tuple | list) or len(out) != 2 or np.size(out[0]) != 1:
        msg = f"energy_and_gradient must return (energy, gradient), the energy a number; got {shown(out)}"
        raise ValueError(msg)
    slope = [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(out[1])]
    if [leaf.size for leaf in slope] != [leaf.size for leaf in leaves]:
        got = [leaf.shape for leaf in slope]
        msg = f"energy_and_gradient must return a gradient like params, of shapes {list(host.shapes)}; got {got}"
        raise ValueError(msg)
    return float(np.reshape(out[0], ())), np.concatenate([leaf.ravel() for leaf in slope])


def _called(ask, like, *args):
    return jax.pure_callback(ask, like, *args, vmap_method="sequential")


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _value(host, theta):
    like = jax.ShapeDtypeStruct((), theta.dtype)
    return _called(lambda x: np.asarray(host.at(x)[0], theta.dtype), like, theta)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _gradient(host, theta):
    slope = _called(lambda x: host.at(x)[1].astype(theta.dtype), theta, theta)
    return stated_error(slope, jnp.full_like(theta, host.accuracy))


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _product(host, theta, vector):
    def ask(x, v):
        return tuple(one.astype(theta.dtype) for one in host.differences(x, v))

    return stated_error(*_called(ask, (theta, theta), theta, vector))


@_value.defjvp
def _value_jvp(host, primals, tangents):
    (theta,), (moved,) = primals, tangents
    return _value(host, theta), jnp.vdot(_gradient(host, theta), moved)


@_gradient.defjvp
def _gradient_jvp(host, primals, tangents):
    (theta,), (moved,) = primals, tangents
    return _gradient(host, theta), _product(host, theta, moved)


@_product.defjvp
def _product_jvp(host, primals, tangents):
    msg = "loss must be of JAX for derivatives beyond the second; got one of another program, of which two are known"
    raise TypeError(msg)


@dataclass(frozen=True)
class ForeignLoss:
    """A loss of another program: `loss(params)`; equal for equal functions, so that it is traced once."""

    energy_and_gradient: Callable[[Any], tuple[Any, Any]]
    accuracy: float
    step: float

    def __call__(self, params: Any) -> jax.Array:
        """The energy."""
        return _value(self._host(params), ravel_pytree(params)[0])

    def check(self, params: Any) -> None:
        """ValueError where the function does not return an energy with its gradient: one sentence, outside of JAX."""
        self._host(params).at(np.asarray(ravel_pytree(params)[0]))

    def _host(self, params):
        leaves, structure = jax.tree.flatten(params)
        shapes = tuple(jnp.shape(leaf) for leaf in leaves)
        return _Host(self.energy_and_gradient, structure, shapes, self.accuracy, self.step)


def foreign_loss(
    energy_and_gradient: Callable[[Any], tuple[Any, Any]], *, accuracy: float = 1e-10, step: float | None = None
) -> ForeignLoss:
    """A loss of another program, of which energy and gradient are known: a calculator of ASE, a function of NumPy or C.

    Verdicts, ways out, searches and landscapes take it as one of JAX; `hessian.prove` refuses it.  A product with the
    Hessian costs twelve gradients, or a few times six more.

    Args:
        energy_and_gradient: `energy_and_gradient(params) -> (energy, gradient)`, called with arrays of NumPy in
            float64; the gradient is like params.  Of forces it is the negative.
        accuracy: how far an entry of the gradient may be off, in its own units, > 0.
        step: the longest h, in units of the parameters, > 0; by default accuracy^(1/7), where both errors of a
            difference are about equal if the gradient changes over lengths of 1.

    Returns:
        `loss(params) -> scalar`, twice differentiable.

    Raises:
        TypeError, ValueError: for what is no function, and for numbers out of range.  What returns no energy with its
            gradient, a sign or a unit that is wrong included, is found when it is called; within a transformation JAX's
            error then ends with the sentence about it.

    >>> loss = foreign_loss(lambda w: (np.prod(w) ** 2 - w @ w, 2 * np.prod(w) * w[::-1] - 2 * w))
    >>> float(loss(jnp.array([2.0, 1.0])))
    -1.0
    """
    function("energy_and_gradient", energy_and_gradient)
    number("accuracy", accuracy)
    if step is not None:
        number("step", step)
    return ForeignLoss(energy_and_gradient, float(accuracy), float(accuracy ** (1 / 7) if step is None else step))
