"""hessian: what the loss surface is like where theta stands, and the way out when it is a saddle.

Everything takes `loss(params, *args)` and any pytree of floating arrays, and goes through `jit` and `vmap`.
"""

from hessian.critical import KINDS, CriticalPoint, classify
from hessian.escape import Escape, escape
from hessian.evidence import Eigenpair
from hessian.product import hvp
from hessian.spectrum import Inertia, Spectrum, condition_number, extremal, inertia, spectrum

__all__ = [
    "KINDS",
    "CriticalPoint",
    "Eigenpair",
    "Escape",
    "Inertia",
    "Spectrum",
    "classify",
    "condition_number",
    "escape",
    "extremal",
    "hvp",
    "inertia",
    "spectrum",
]
