"""hessian: what the loss surface is like where theta stands, and the way out when it is a saddle.

Everything takes `loss(params, *args)` and any pytree of floating arrays, and goes through `jit` and `vmap`.

| what | with the matrix | without it |
|---|---|---|
| products | | `hvp` |
| eigenvalues | `spectrum`, `inertia`, `condition_number` | `extremal`, `density`, `minimum_ratio`, `sharpness` |
| trace and diagonal | | `trace`, `diagonal` |
| verdict | `classify` | `classify(method="lanczos")` |
| way out | `escape`, `arrive`, `newton`, `trust_region`, `cubic_regularisation` | the same, `escaping`, `newton_cg` |
| all of them | `find_critical_points`, `connect` | |
| other matrices | `gauss_newton`, `empirical_fisher`, `preconditioned`, `partial_loss` of `split` | the same |
| large data | `microbatched`, `pooled`, `data_parallel` | the same |
| Taylor | `trust_circle_minimizer` | `taylor`, `quadratic_model`, `best_step` |
"""

from hessian.arrival import Arrival, arrive
from hessian.conjugate_gradients import newton_cg
from hessian.connections import Connection, connect
from hessian.critical import KINDS, CriticalPoint, classify
from hessian.density import Density, MinimumRatio, density, minimum_ratio
from hessian.departure import Departure, departure, escape_time
from hessian.escape import Escape, escape
from hessian.escaping import escaping, perturbed
from hessian.evidence import Eigenpair
from hessian.losses import (
    data_parallel,
    empirical_fisher,
    gauss_newton,
    microbatched,
    partial_loss,
    pooled,
    preconditioned,
    split,
)
from hessian.product import hvp
from hessian.search import CriticalPoints, find_critical_points
from hessian.second_order import cubic_regularisation, newton, saddle_free_newton, trust_region
from hessian.sharpness import Sharpness, sharpness
from hessian.spectrum import Inertia, Spectrum, condition_number, extremal, inertia, spectrum
from hessian.taylor import best_step, quadratic_model, taylor, trust_circle_minimizer
from hessian.trace import Estimate, diagonal, trace

__all__ = [
    "KINDS",
    "Arrival",
    "Connection",
    "CriticalPoint",
    "CriticalPoints",
    "Density",
    "Departure",
    "Eigenpair",
    "Escape",
    "Estimate",
    "Inertia",
    "MinimumRatio",
    "Sharpness",
    "Spectrum",
    "arrive",
    "best_step",
    "classify",
    "condition_number",
    "connect",
    "cubic_regularisation",
    "data_parallel",
    "density",
    "departure",
    "diagonal",
    "empirical_fisher",
    "escape",
    "escape_time",
    "escaping",
    "extremal",
    "find_critical_points",
    "gauss_newton",
    "hvp",
    "inertia",
    "microbatched",
    "minimum_ratio",
    "newton",
    "newton_cg",
    "partial_loss",
    "perturbed",
    "pooled",
    "preconditioned",
    "quadratic_model",
    "saddle_free_newton",
    "sharpness",
    "spectrum",
    "split",
    "taylor",
    "trace",
    "trust_circle_minimizer",
    "trust_region",
]
