"""hessian: what kind of point of the loss surface theta is, how to leave it when it is a saddle, and why to believe it.

Every function takes `loss(params, *args)` and any pytree of floating arrays, and passes through `jit` and `vmap`.

| task | with the dense Hessian | with products only |
|---|---|---|
| products | | `hvp` |
| eigenvalues | `spectrum`, `inertia`, `condition_number` | `extremal`, `curvature`, `multiplicity`, `density`, ... |
| trace and diagonal | | `trace`, `diagonal` |
| kind of point | `classify` | `classify(method="lanczos")` |
| kind modulo symmetry | `classify(symmetries=)`, `symmetry` | the same |
| proof | `prove`, `prove_all`, `prove_saddle` | |
| leave a saddle | `escape`, `find_minimum`, `escape_trajectory` | the same, `with_saddle_escape`, `perturbed_gd` |
| second-order steps | `newton`, `saddle_free_newton`, `trust_region`, `cubic_regularization` | the same, `newton_cg` |
| all critical points, each orbit once | `find_critical_points`, `connect` | |
| all minima, and the saddles between them | `landscape` | |
| other matrices | `gauss_newton`, `empirical_fisher`, `preconditioned`, `partial_loss` of `split` | the same |
| a loss that is not JAX | `foreign_loss` | the same |
| large data | `microbatched`, `pooled`, `streamed`, `data_parallel` | the same |
| Taylor models | `trust_region_step` | `taylor`, `quadratic_model`, `newton_step_length` |
"""

from typing import TYPE_CHECKING

from gdlab.ground.lazily import asked_for

if TYPE_CHECKING:  # each is imported where it is first asked for, by `__getattr__`
    from hessian import plots, symmetry
    from hessian.foreign import foreign_loss
    from hessian.landscapes.disconnectivity import Disconnectivity
    from hessian.landscapes.graph import Landscape, Path, Points
    from hessian.landscapes.landscape import landscape
    from hessian.local_models import newton_step_length, quadratic_model, taylor, trust_region_step
    from hessian.product import hvp
    from hessian.proofs.complete import prove_all
    from hessian.proofs.curvature import prove_saddle
    from hessian.proofs.prove import prove
    from hessian.proofs.record import Proof
    from hessian.saddles.connect import Connection, connect
    from hessian.saddles.escape import Escape, escape
    from hessian.saddles.find_minimum import MinimumSearch, find_minimum
    from hessian.saddles.perturbed_gd import perturbed_gd
    from hessian.saddles.trajectory import EscapeTrajectory, escape_time, escape_trajectory
    from hessian.saddles.with_saddle_escape import with_saddle_escape
    from hessian.spectra.curvature import Curvature, curvature, curvature_recorder
    from hessian.spectra.density import Density, MinimumRatio, density, density_recorder, minimum_ratio
    from hessian.spectra.multiplicity import Multiplicity, multiplicity
    from hessian.spectra.sharpness import Sharpness, sharpness
    from hessian.spectra.spectrum import Inertia, Spectrum, condition_number, extremal, inertia, spectrum
    from hessian.spectra.trace import Estimate, diagonal, trace
    from hessian.steps.newton_cg import newton_cg
    from hessian.steps.second_order import cubic_regularization, newton, saddle_free_newton, trust_region
    from hessian.streams import streamed
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
    from hessian.verdicts.classify import CriticalPoint, Kind, classify
    from hessian.verdicts.critical_points import CriticalPoints, SearchOutcome
    from hessian.verdicts.evidence import Eigenpair
    from hessian.verdicts.search import find_critical_points

__all__ = [
    "Connection",
    "CriticalPoint",
    "CriticalPoints",
    "Curvature",
    "Density",
    "Disconnectivity",
    "Eigenpair",
    "Escape",
    "EscapeTrajectory",
    "Estimate",
    "Inertia",
    "Kind",
    "Landscape",
    "MinimumRatio",
    "MinimumSearch",
    "Multiplicity",
    "Path",
    "Points",
    "Proof",
    "SearchOutcome",
    "Sharpness",
    "Spectrum",
    "classify",
    "condition_number",
    "connect",
    "cubic_regularization",
    "curvature",
    "curvature_recorder",
    "data_parallel",
    "density",
    "density_recorder",
    "diagonal",
    "empirical_fisher",
    "escape",
    "escape_time",
    "escape_trajectory",
    "extremal",
    "find_critical_points",
    "find_minimum",
    "foreign_loss",
    "gauss_newton",
    "hvp",
    "inertia",
    "landscape",
    "microbatched",
    "minimum_ratio",
    "multiplicity",
    "newton",
    "newton_cg",
    "newton_step_length",
    "partial_loss",
    "perturbed_gd",
    "plots",
    "pooled",
    "preconditioned",
    "prove",
    "prove_all",
    "prove_saddle",
    "quadratic_model",
    "saddle_free_newton",
    "sharpness",
    "spectrum",
    "split",
    "streamed",
    "symmetry",
    "taylor",
    "trace",
    "trust_region",
    "trust_region_step",
    "with_saddle_escape",
]


def __dir__() -> list[str]:
    """What completion offers: the public names."""
    return sorted(__all__)


if not TYPE_CHECKING:  # to a type checker every name is there, and no other
    __getattr__ = asked_for(globals())
