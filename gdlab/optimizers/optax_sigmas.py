"""Sigma, read out of the parts of optax that have one.

A reader takes a part with what its closure holds and its state before and after the step (`Part`), and returns sigma
for the leaves that the part has seen.  An unknown option is refused by ValueError, which names it.
"""

import inspect as introspection
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gdlab import operators
from gdlab.matrices import View
from gdlab.numerics import Params, square


class Part(NamedTuple):
    """One transformation of a chain, and what it has done."""

    name: str  # of the function of optax that makes it
    hypers: Mapping[str, Any]
    before: Any  # its state
    after: Any
    taken: Params
    given: Params
    step: Any = None  # the step of a part that is an optimizer of its own


def _unbiased(average, decay, count):
    return jax.tree.map(lambda average: average / (1 - jnp.asarray(decay, average.dtype) ** count), average)


def _rooted(nu, eps, eps_root=0.0):
    return jax.tree.map(lambda nu: jnp.sqrt(nu + eps_root) + eps, nu)


def _adam(part):
    nu = _unbiased(part.after.nu, part.hypers["b2"], part.after.count)
    # AdaBelief has its eps_root in nu already.
    return _rooted(nu, part.hypers["eps"], 0 if part.name == "scale_by_belief" else part.hypers["eps_root"])


def _amsgrad(part):
    return _rooted(part.after.nu_max, part.hypers["eps"], part.hypers["eps_root"])


def _adamax(part):
    return part.after.nu


def _adan(part):
    squares = _unbiased(part.after.n, part.hypers["b3"], part.after.t)
    return _rooted(squares, part.hypers["eps"], part.hypers["eps_root"])


def _radam(part):
    """Adam's sigma over r_t; 1 while there is no r_t."""
    decay, largest, t = part.hypers["b2"], part.hypers["ro_inf"], part.after.count
    length = largest - 2 * t * decay**t / (1 - decay**t)
    there = length >= part.hypers["threshold"]
    square = (length - 4) * (length - 2) * largest / ((largest - 4) * (largest - 2) * length)
    r = jnp.sqrt(jnp.where(there, square, 1))
    inner = introspection.getclosurevars(part.hypers["_radam_update"]).nonlocals
    sigma = _rooted(_unbiased(part.after.nu, decay, t), inner["eps"], inner["eps_root"])
    return jax.tree.map(lambda sigma: jnp.where(there, sigma / r.astype(sigma.dtype), 1), sigma)


def _rms(part):
    hypers, state = part.hypers, part.after
    nu, mu = state.nu, getattr(state, "mu", None)
    if hypers["bias_correction"]:
        nu, mu = (_unbiased(average, hypers["decay"], state.count) for average in (nu, mu))
    if mu is not None:
        nu = jax.tree.map(lambda nu, mu: nu - (mu * mu.conj()).real, nu, mu)
    return _rooted(nu, *((0, hypers["eps"]) if hypers["eps_in_sqrt"] else (hypers["eps"], 0)))


def _rss(part):
    """The root of the sum, and 1 where it is 0: optax makes no step there."""

    def root(total):
        return jnp.where(total > 0, jnp.sqrt(jnp.where(total > 0, total + part.hypers["eps"], 1)), 1)

    return jax.tree.map(root, part.after.sum_of_squares)


def _novograd(part):
    """One size for each leaf."""
    inner = introspection.getclosurevars(introspection.getclosurevars(part.hypers["init_mu"]).nonlocals["mu_addition"])
    nu = _rooted(part.after.nu, inner.nonlocals["eps"], inner.nonlocals["eps_root"])
    return jax.tree.map(lambda nu, g: jnp.full(g.shape, nu, g.dtype), nu, part.taken)


def _adadelta(part):
    """The root of squared gradients over that of the squared updates before."""
    eps = part.hypers["eps"]
    return jax.tree.map(lambda g, x: jnp.sqrt(g + eps) / jnp.sqrt(x + eps), part.after.e_g, part.before.e_x)


def _factored(part):
    """Adafactor's: of the means over the two longest axes where the state holds them, else of the mean itself."""

    def size(g, row, column, v):
        if v.shape == g.shape:
            return jnp.sqrt(v)
        low, high = (int(axis) for axis in np.argsort(g.shape)[-2:])
        row, column = jnp.expand_dims(row, high), jnp.expand_dims(column, low)
        return jnp.sqrt(row / jnp.mean(row, axis=low, keepdims=True) * column)

    return jax.tree.map(size, part.taken, part.after.v_row, part.after.v_col, part.after.v)


def _adopt(part):
    return jax.tree.map(lambda nu: jnp.maximum(jnp.sqrt(nu), part.hypers["eps"]), part.before.nu)


def _acprop(part):
    """AdaBelief's of the step before; 1 at the first."""
    first = part.before.count == 0
    nu = _unbiased(part.before.nu, part.hypers["b2"], jnp.maximum(part.before.count, 1))
    return _rooted(jax.tree.map(lambda nu: jnp.where(first, 1, nu), nu), part.hypers["eps"])


def _simplified(part):
    squares = _unbiased(part.after.n, part.hypers["b2"], part.after.t)
    return _rooted(squares, part.hypers["eps"], part.hypers["eps_root"])


def _muon(part):
    """The polynomial of Newton-Schulz, as an operator."""
    hypers, count = part.hypers, part.after.count
    if hypers["preconditioning"] != "frobenius" or hypers["adaptive"]:
        msg = "optimizer must have preconditioning 'frobenius' and not be adaptive where it is muon; "
        raise ValueError(msg + f"got preconditioning {hypers['preconditioning']!r}, adaptive {hypers['adaptive']}")
    beta, rows = hypers["beta"], part.before.ns_coeffs
    rows = jnp.stack([rows] * int(hypers["ns_steps"])) if rows.ndim == 1 else rows
    direction = _unbiased(part.after.mu, beta, count)
    if hypers["nesterov"]:
        ahead, g = _unbiased(part.after.mu, beta, count + 1), _unbiased(part.taken, beta, count)
        direction = jax.tree.map(lambda ahead, g: beta * ahead + (1 - beta) * g, ahead, g)

    def sigma(m, dims):
        view = View(*(tuple(i % m.ndim for i in _axes(axis)) for axis in dims)).wide(m.shape)
        size = jnp.sqrt(jnp.sum(square(view.stack(m)), axis=(1, 2), keepdims=True)) + hypers["eps"]
        return operators.NewtonSchulz(m, size, rows.astype(size.dtype), view, m.shape, factor=1.0)

    dims = hypers["weight_dimension_numbers"]
    dims = dims(part.taken) if callable(dims) else dims
    plain = dims is None
    return jax.tree.map(lambda m, *one: sigma(m, (0, 1) if plain else one[0]), direction, *([] if plain else [dims]))


def _axes(axis):
    return (axis,) if isinstance(axis, int) else tuple(axis)


SIGMAS: dict[str, Callable[[Part], Params]] = {
    "scale_by_acprop": _acprop,
    "scale_by_adadelta": _adadelta,
    "scale_by_adam": _adam,
    "scale_by_ademamix": _adam,
    "scale_by_adopt": _adopt,
    "scale_by_adamax": _adamax,
    "scale_by_adan": _adan,
    "scale_by_amsgrad": _amsgrad,
    "scale_by_belief": _adam,
    "scale_by_factored_rms": _factored,
    "scale_by_muon": _muon,
    "scale_by_novograd": _novograd,
    "scale_by_radam": _radam,
    "scale_by_rms": _rms,
    "scale_by_rss": _rss,
    "scale_by_simplified_ademamix": _simplified,
    "scale_by_stddev": _rms,
    "scale_by_yogi": _adam,
}
