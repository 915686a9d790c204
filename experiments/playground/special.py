"""Special functions from the operations that a browser has: erf, erfc and erf_inv, to a few roundings.

    erf(x)   =  2 x exp(-x^2) / sqrt(pi)  sum_n  (2 x^2)^n / (1 3 ... (2 n + 1))                    |x| <= 2
    erfc(x)  =  exp(-x^2) / sqrt(pi) / (x + (1/2) / (x + (2/2) / (x + (3/2) / (x + ...))))            x > 2

The terms of the sum are positive, so that nothing cancels (Abramowitz & Stegun 7.1.6, 7.1.14).  erf_inv is found by
Halley's method from a polynomial of single precision (Giles 2012); XLA's own is off by up to 1e-10 near -1 and 1.
"""

import functools
import math

import jax
import jax.numpy as jnp

TERMS, FRACTIONS = 60, 100  # enough for 2^-53 on their sides of 2
STEPS, FAR = 3, 16.0  # of Halley's method; where the polynomial ends
CENTER: tuple[float, ...] = (
    2.81022636e-08,
    3.43273939e-07,
    -3.5233877e-06,
    -4.39150654e-06,
    0.00021858087,
    -0.00125372503,
)
CENTER = (*CENTER, -0.00417768164, 0.246640727, 1.50140941)
TAIL: tuple[float, ...] = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613)
TAIL = (*TAIL, 0.00943887047, 1.00167406, 2.83297682)


def erf(x: jax.Array) -> jax.Array:
    """The error function."""
    return jnp.where(jnp.abs(x) <= 2, _near(x), jnp.sign(x) * (1 - _far(jnp.abs(x))))


def erfc(x: jax.Array) -> jax.Array:
    """1 - erf(x), also where that is tiny."""
    return jnp.where(x > 2, _far(x), jnp.where(x < -2, 2 - _far(-x), 1 - _near(x)))


def erf_inv(x: jax.Array) -> jax.Array:
    """The y whose erf(y) is x: infinite at -1 and 1, NaN beyond."""
    w = -jnp.log1p(-x * x)
    y = x * jnp.where(w < 5, _polynomial(CENTER, w - 2.5), _polynomial(TAIL, jnp.sqrt(w) - 3))
    far = jnp.sign(x) * jnp.sqrt(jnp.abs(w + math.log(2) - jnp.log(math.pi * jnp.maximum(w, 1)) / 2))
    y = jnp.where(w < FAR, y, far)  # erfc(y) ~ exp(-y^2) / (y sqrt(pi))
    for _ in range(STEPS):
        off = jnp.where(jnp.abs(x) < 0.5, erf(y) - x, jnp.sign(x) * ((1 - jnp.abs(x)) - erfc(jnp.abs(y))))
        step = off * jnp.exp(y * y) * math.sqrt(math.pi) / 2
        y = y - step / (1 + y * step)
    return jnp.where(jnp.abs(x) == 1, x * jnp.inf, y)


def _polynomial(coefficients, x):
    return functools.reduce(lambda total, one: total * x + one, coefficients)


def _near(x):
    """The sum, from its last term on."""
    s = 2 * jnp.where(jnp.abs(x) <= 2, x * x, 0)
    total = jax.lax.fori_loop(0, TERMS, lambda n, total: 1 + s / (2 * (TERMS - n) + 1) * total, jnp.ones_like(x))
    return 2 / math.sqrt(math.pi) * x * jnp.exp(-s / 2) * total


def _far(x):
    """The fraction, from its innermost on."""
    x = jnp.where(x > 2, x, 2)
    below = jax.lax.fori_loop(0, FRACTIONS, lambda n, below: x + (FRACTIONS - n) / 2 / below, x)
    return jnp.exp(-x * x) / math.sqrt(math.pi) / below


SPECIAL = {"erf": erf, "erfc": erfc, "erf_inv": erf_inv}
