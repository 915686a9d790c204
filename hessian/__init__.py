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

from hessian.local_models import best_step, quadratic_model, taylor, trust_circle_minimizer
from hessian.product import hvp
from hessian.proofs.prove import prove
from hessian.proofs.record import Proof
from hessian.saddles.connect import Connection, connect
from hessian.saddles.escape import Escape, escape
from hessian.saddles.find_minimum import Arrival, arrive
from hessian.saddles.trajectory import Departure, departure, escape_time
from hessian.saddles.wrapper import escaping, perturbed
from hessian.spectra.density import Density, MinimumRatio, density, minimum_ratio
from hessian.spectra.sharpness import Sharpness, sharpness
from hessian.spectra.spectrum import Inertia, Spectrum, condition_number, extremal, inertia, spectrum
from hessian.spectra.trace import Estimate, diagonal, trace
from hessian.steps.newton_cg import newton_cg
from hessian.steps.second_order import cubic_regularisation, newton, saddle_free_newton, trust_region
from hessian.transforms import (
    data_parallel,
    empirical_fisher,
    gauss_newton,
    microbatched,
    partial_loss,
    pooled,
    preconditioned,
    split,
)
from hessian.verdicts.classify import KINDS, CriticalPoint, classify
from hessian.verdicts.evidence import Eigenpair
from hessian.verdicts.search import CriticalPoints, find_critical_points

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
    "Proof",
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
    "prove",
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
