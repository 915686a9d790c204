"""hessian: what the loss surface is like where theta stands, and the way out when it is a saddle.

Everything takes `loss(params, *args)` and any pytree of floating arrays, and goes through `jit` and `vmap`.
"""

from hessian.critical import KINDS, CriticalPoint, Eigenpair, Inertia, classify
from hessian.escape import Escape, escape
from hessian.product import hvp
from hessian.spectrum import Spectrum, spectrum

__all__ = [
    "KINDS",
    "CriticalPoint",
    "Eigenpair",
    "Escape",
    "Inertia",
    "Spectrum",
    "classify",
    "escape",
    "hvp",
    "spectrum",
]
