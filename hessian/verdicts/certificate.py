"""Kinds of points, and the evidence for one of them in a sentence.

| name | what it is |
|---|---|
| `Kind` | what kind of point of the loss surface it is |
| `certificate` | the evidence: certain to rounding, and what is proved |
"""

from typing import Any

import numpy as np

from hessian.results import Outcome
from hessian.verdicts.drift import MAX_DRIFT


class Kind(Outcome):
    """What kind of point of the loss surface it is."""

    UNDETERMINED = "undetermined"
    NOT_CRITICAL = "not critical"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    SADDLE = "saddle"
    DEGENERATE = "degenerate"


def certificate(point: Any) -> str:
    """The evidence for the kind of one `CriticalPoint`, in one sentence."""
    g, g_tol, tau = float(point.gradient_norm), float(point.gradient_tol), float(point.curvature_tol)
    (low, below, above), (high, under, over) = (
        (float(end.value), float(end.low), float(end.high)) for end in (point.lowest, point.highest)
    )
    zero, flat = int(point.unexplained), int(point.flat)
    n = sum(int(count) for count in point.inertia) - flat
    bounded = point.face is not None and int(point.face.active) > 0
    lowest = (
        "every number is held by a bound" if bounded and n == 0 else f"the lowest eigenvalue is at least {below:.6g}"
    )
    least = int(point.index)
    most = least + zero
    is_critical = int(point.code) != Kind.NOT_CRITICAL
    critical = f"|g| = {g:.2g} {'<=' if is_critical else '>'} {g_tol:.2g}, Newton's step {float(point.distance):.2g}"
    chance = "" if point.confidence == 1 else f" with probability {float(point.confidence):.6g}"
    if not point.symmetric:
        undetermined = "a declared symmetry does not hold"
    elif not np.isfinite([g, low, high, below, over]).all():
        undetermined = "the gradient or the Hessian is not finite"
    elif point.face is not None and not point.face.strict:
        undetermined = f"{critical}; whether a bound is active is open: a multiplier is zero to rounding"
    elif point.kink:
        undetermined = f"{critical}; gradient or Hessian jump here, so it is not twice differentiable"
    elif not point.settled:
        undetermined = f"{critical}, which is not known after {int(point.num_matvecs)} products with the Hessian"
    elif point.change > MAX_DRIFT:
        undetermined = f"{critical}; along it curvature changes by {float(point.change):.2g} of itself"
    else:
        undetermined = (
            f"{critical}; after {int(point.num_matvecs)} products the lowest eigenvalue lies in [{below:.2g},"
            f" {above:.2g}] and the highest in [{under:.2g}, {over:.2g}];"
            f" {int(point.num_matvecs_needed)} products would settle it"
        )
    index = f"index {least}" if least == most else f"index {least} to {most}"
    reasons: dict[int, str] = {
        Kind.UNDETERMINED: undetermined,
        Kind.NOT_CRITICAL: critical,
        Kind.MINIMUM: f"{critical}, and {lowest}{chance}",
        Kind.MAXIMUM: f"{critical}, and the highest eigenvalue is at most {over:.6g}{chance}",
        Kind.SADDLE: f"{critical}, and the highest eigenvalue is at most {over:.6g}, {index}"
        if over < 0 and bounded
        else f"{critical}, the lowest eigenvalue is at most {above:.6g} and the highest at least {under:.6g}, {index}",
        Kind.DEGENERATE: f"{critical}, and of {n} eigenvalues {zero} with no certain sign beyond {tau:.2g}"
        ", none opposite",
    }
    dtype = point.gradient_norm.dtype
    modulo = f"; modulo {flat} direction{'s'[: flat != 1]} flat by symmetry" if flat else ""
    proof = "" if point.proof is None else f"; {point.proof}"
    rounded = "" if dtype == np.float64 else f"; in {dtype}"
    held = f"{int(point.frozen):,} parameter{'s'[: int(point.frozen) != 1]} frozen"
    frozen = f"; of the free part, with {held}" if point.frozen else ""
    face = "" if point.face is None else f"; within bounds, {point.face.words}"
    return f"{point.kind}: {reasons[int(point.code)]}{modulo}{frozen}{face}{rounded}{proof}"
