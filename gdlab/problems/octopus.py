"""The octopus: descent visits 2^d - 1 saddles in a row and waits at each one longer (Du et al. 2017).

On the tube in which k coordinates have left 0 (each to +-4 tau) and the next is on its way, with z = |x_k|:

    z <= tau          -gamma x_k^2                        + L sum of (|x_i| - 4 tau)^2, i < k,  + L sum of x_i^2, i > k
    tau <= z <= 2tau   g1(z) + g2(z) x_{k+1}^2            the same, without i = k + 1 in the second sum
    z >= 2 tau         the tube of the next coordinate, lower by nu = 4 L tau^2 - g1(2 tau)

g1 and g2 are the polynomials that make this twice continuously differentiable.  It is declared where |x_i| <= tau for
all i > k, which descent from the cube |x_i| <= tau never leaves.  Gradient descent multiplies x_{k+1} by 1 - 2 rate L
while it waits for x_k, so that the waiting times grow like (1 + log 2 / log(1 + gamma/(2 L)))^k at rate 1/(4 L); with
floats the waiting coordinate is soon exactly 0, and it waits for ever.

| name | what it is |
|---|---|
| `octopus` | the loss |
| `octopus_points` | all 2^d - 1 saddles and 2^d minima, in closed form |
"""

import itertools
import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gdlab.arguments import hyperparameter
from gdlab.ground.checks import whole
from gdlab.problems.landscape import KnownPoint, Surface, arranged, coordinates


def octopus(
    theta: jax.Array, stiffness: ArrayLike = math.e, tau: ArrayLike = math.e, gamma: ArrayLike = 1.0
) -> jax.Array:
    """The octopus, theta of shape (d,): every saddle has one eigenvalue -2 gamma, and 2 L otherwise (S57, S61).

    Args:
        theta: where |x_i| <= tau for all i behind the first coordinate below 2 tau.
        stiffness: L >= gamma; the larger, the longer descent waits.
        tau: the width of a tube, > 0.
        gamma: half the negative curvature, > 0.

    >>> float(octopus(jnp.array([1.0, 2.0]), stiffness=3.0))  # -1 + 3 * 4
    11.0
    """
    x = coordinates(theta)
    stiffness, tau, gamma = _constants(stiffness, tau, gamma)
    size = jnp.abs(x)
    gone = jnp.cumprod((size >= 2 * tau).astype(x.dtype))  # 1 for each coordinate behind which none waits
    first = jnp.append(1, gone[:-1]) - gone  # 1 at the first that has not left; 0 everywhere where all have
    left, here, after = (mask > 0.5 for mask in (gone, first, jnp.append(0, first[:-1])))
    grown = jnp.where(left, (size - 4 * tau) ** 2, 0)
    square = jnp.where(left, 0, x**2)
    z, beyond = jnp.sum(jnp.where(here, size, 0)), jnp.sum(jnp.where(after, square, 0))
    turning = z > tau
    waiting = jnp.where(here | (turning & after), 0, square)
    turn = _g1(z, stiffness, tau, gamma) + _g2(z, stiffness, tau, gamma) * beyond
    own = jnp.where(turning, turn, -jnp.sum(jnp.where(here, square, 0)) * gamma)
    nu = _drop(stiffness, tau, gamma)
    return (stiffness * (jnp.sum(grown) + jnp.sum(waiting)) + own - jnp.sum(gone) * nu).astype(x.dtype)


def _constants(stiffness, tau, gamma):
    named = {"stiffness": stiffness, "tau": tau, "gamma": gamma}
    return tuple(hyperparameter(name, value, 0, above=True) for name, value in named.items())


def _drop(stiffness, tau, gamma):
    return 4 * stiffness * tau**2 - _g1(2 * tau, stiffness, tau, gamma)


def _g1(z, stiffness, tau, gamma):
    u = z - tau
    cubic, quartic = (10 * gamma - 14 * stiffness) / (3 * tau), (5 * stiffness - 3 * gamma) / (2 * tau**2)
    return -gamma * z**2 + cubic * u**3 + quartic * u**4


def _g2(z, stiffness, tau, gamma):
    u = (z - 2 * tau) / tau
    return -gamma - (stiffness + gamma) * (10 * u**3 + 15 * u**4 + 6 * u**5)


def octopus_points(
    dim: int, stiffness: float = math.e, tau: float = math.e, gamma: float = 1.0
) -> tuple[KnownPoint, ...]:
    """All critical points: the first k coordinates at +-4 tau, the others at 0, for k = 0, ..., d.

    >>> [point.kind for point in octopus_points(1)]
    ['minimum', 'minimum', 'maximum']
    """
    dim, (stiffness, tau, gamma) = whole("dim", dim), _constants(stiffness, tau, gamma)
    nu = _drop(stiffness, tau, gamma)
    rows = []
    for k in range(dim + 1):
        eigenvalues = (-2 * gamma,) * (k < dim) + (2 * stiffness,) * (dim - (k < dim))
        for signs in itertools.product((-1, 1), repeat=k):
            rows.append((tuple(4 * tau * s for s in signs) + (0.0,) * (dim - k), -k * nu, eigenvalues))
    return arranged(rows)


OCTOPUS_3D = Surface(
    name="octopus_3d",
    loss=octopus,
    dim=3,
    source="Du, Jin, Lee, Jordan, Poczos & Singh 2017, arXiv:1705.10412",
    box=((-16.0, 16.0),) * 3,
    starts=((0.5, -0.3, 0.7), (0.0, 0.0, 0.0), (0.0, 0.5, 0.5)),
    critical_points=octopus_points(3),
    complete=True,
    formula="Du et al. 2017, with tau = e, gamma = 1 and L = e",
    coercive=False,  # off the tubes it is not continuous, and may be lower than its minima
)
