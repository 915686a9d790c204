"""Krawczyk's operator and the index for many parameters, by balls over arrays: matrices by BLAS, Hessians by rows.

    |Y g|_i + sum_j |I - Y H(X)|_ij r_j < r_i        exactly one critical point in X = center +/- r (Krawczyk)
    s_i |T_ii| > sum_j s_j |T_ij|,  T = V' H V        the signs of T_ii are those of H's eigenvalues

Y is nearly the inverse of H, V nearly its eigenvectors; neither has to be, and the second line also says that V is
nonsingular.  Since no H on X is singular, the count at
the center holds on all of X.

R. Krawczyk, Computing 4 (1969); S. M. Rump, Acta Numerica 19 (2010).
"""

from typing import NamedTuple

import numpy as np

from hessian.proofs.kernels.adjoint import derivatives, products
from hessian.proofs.kernels.balls import Balls, product, upward
from hessian.proofs.program import NotProved, Program

TURNS = 20  # of Newton's method with one Hessian
RENEWED = 3  # Hessians for it, at most
BALLS = 8  # radii that are tried, at most
FIRST = 1e-3  # the first radius, against 1 + |x|


class Point(NamedTuple):
    """Exactly one critical point lies where |x_i - center_i| < radius_i; so many eigenvalues there are negative."""

    center: np.ndarray
    radius: np.ndarray
    index: int  # type: ignore[assignment]


def proved_at(program: Program, start: np.ndarray) -> Point:
    """A box around the critical point that Newton's method finds from a start.

    Raises:
        NotProved: with the reason; another kernel may know more, in more bits.
    """
    center, inverse, lengths = _newton(program, start)
    sizes = 1 + np.abs(center)
    rho = FIRST / np.max(lengths / sizes)
    for _ in range(BALLS):
        radius = rho * lengths
        growth = _growth(program, center, radius, inverse)
        if growth < 1:
            return Point(center, radius, _index(derivatives(program, Balls(center))[1]))
        rho *= 0.01 if growth > 50 else 0.5 / growth
    msg = "the Hessian changes too much over any ball that rounding allows: degenerate, or in need of more bits"
    raise NotProved(msg)


def holds(program: Program, point: Point) -> bool:
    """Whether the statement of a point comes out again; raises as `proved_at`."""
    _, hessian = derivatives(program, Balls(point.center))
    growth = _growth(program, point.center, point.radius, _inverse(hessian))
    return bool(growth < 1) and _index(hessian) == point.index


def _newton(program, start):
    """The center, nearly the inverse of its Hessian, and the lengths of its units."""
    center, shortest = np.asarray(start, float), float("inf")
    for _ in range(RENEWED):
        _, hessian = derivatives(program, Balls(center))
        inverse, began = _inverse(hessian), shortest
        for _ in range(TURNS):
            slopes, _ = products(program, Balls(center), np.zeros((1, center.size)))
            step = inverse @ slopes.mid
            length = float(np.linalg.norm(step))
            if not length < shortest / 2:
                break
            shortest, center = length, center - step
        if not shortest < began / 2 or shortest <= 1e-14 * (1 + np.linalg.norm(center)):
            break
    sizes, vectors = np.linalg.eigh(hessian.mid)
    sizes = np.maximum(np.abs(sizes), 1e-30 * np.abs(sizes).max() + 1e-300)
    return center, inverse, np.sqrt(np.sum(vectors**2 / sizes, axis=1))


def _inverse(hessian):
    try:
        inverse = np.linalg.inv(hessian.mid)
    except np.linalg.LinAlgError:
        inverse = np.full_like(hessian.mid, np.nan)
    if not np.isfinite(inverse).all():
        msg = "the Hessian is singular as far as can be told: degenerate, or in need of more bits"
        raise NotProved(msg)
    return inverse


def _growth(program, center, radius, inverse):
    """How far Krawczyk's operator reaches, in radii: below 1 it maps the box into its inside."""
    slopes, _ = products(program, Balls(center), np.zeros((1, center.size)))
    _, hessian = derivatives(program, Balls(center, radius))
    step = product([Balls(inverse)], [slopes.moved(lambda ends: ends[:, None])])
    change = product([Balls(inverse)], [hessian]) - Balls(np.eye(center.size))
    reach = upward(step.largest[:, 0] + upward(change.largest @ radius, center.size))
    with np.errstate(all="ignore"):
        growth = np.max(upward(reach / radius))
    return float(growth) if growth == growth else np.inf


def _index(hessian):
    """How many eigenvalues are negative, from signs that are certain (Gershgorin, Sylvester)."""
    _, vectors = np.linalg.eigh((hessian.mid + hessian.mid.T) / 2)
    turned = product([Balls(np.ascontiguousarray(vectors.T))], [product([hessian], [Balls(vectors)])])
    diagonal = np.diag(turned.mid)
    scale = 1 / np.sqrt(np.abs(diagonal) + 1e-300)
    aside = turned.largest
    np.fill_diagonal(aside, np.diagonal(np.asarray(turned.filled().rad)))
    certain = np.abs(diagonal) * scale > upward(aside @ scale, len(vectors)) * (1 + 1e-12)
    if not certain.all():
        msg = "an eigenvalue of the Hessian may be zero: degenerate, or in need of more bits"
        raise NotProved(msg)
    return int((diagonal < 0).sum())
