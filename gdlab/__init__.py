"""gdlab: gradient descent as pure functions whose every step can be read.

    theta  <-  theta  -  eta_t / sigma_t * m_t

`schedules` say how far (eta), `scales` how big gradients have been (sigma), `directions` where to go (m); `descent`
joins them, `optimizers` names the joints, `minimize` runs them, `sweep` runs them by the thousand, `long_run` for as
long as it takes; `compare` says what the runs tell.
"""

from typing import TYPE_CHECKING

from gdlab import directions, scales, schedules
from gdlab.equation import Optimizer, Step, descent
from gdlab.ground.lazily import asked_for
from gdlab.optimizers import named, of_matrices, recent
from gdlab.optimizers.inspect import inspect
from gdlab.optimizers.named import *  # noqa: F403  # its __all__ is the list of named optimizers
from gdlab.optimizers.of_matrices import *  # noqa: F403
from gdlab.optimizers.other_points import mars, sam, schedule_free, schedule_free_average
from gdlab.optimizers.prodigy import prodigy
from gdlab.optimizers.recent import *  # noqa: F403
from gdlab.optimizers.rescaled import cautious, hyperball, with_clipped_rms, with_parameter_scale, with_trust_ratio
from gdlab.optimizers.swats import swats
from gdlab.optimizers.wrappers import (
    chain,
    ema_on_updates,
    lookahead,
    momentum_on_updates,
    trace_on_updates,
    with_independent_weight_decay,
    with_weight_decay,
)
from gdlab.runs.data import minibatches, standardize
from gdlab.runs.minimize import Run, minimize

if TYPE_CHECKING:  # each of these is imported where it is first asked for, by `__getattr__`
    from gdlab import plots, problems
    from gdlab.comparisons.compare import Comparison, compare
    from gdlab.comparisons.pairs import runs_needed
    from gdlab.runs.long_run import long_run, read_history
    from gdlab.runs.tune import hyperparameters, lr_range_test, tune
    from gdlab.sweeps.axes import draws, seeds
    from gdlab.sweeps.sweep import merge, sweep
    from gdlab.sweeps.trials import trials

__version__ = "0.1.0"

__all__ = [
    *named.__all__,
    *of_matrices.__all__,
    *recent.__all__,
    "Comparison",
    "Optimizer",
    "Run",
    "Step",
    "cautious",
    "chain",
    "compare",
    "descent",
    "directions",
    "draws",
    "ema_on_updates",
    "hyperball",
    "hyperparameters",
    "inspect",
    "long_run",
    "lookahead",
    "lr_range_test",
    "mars",
    "merge",
    "minibatches",
    "minimize",
    "momentum_on_updates",
    "plots",
    "problems",
    "prodigy",
    "read_history",
    "runs_needed",
    "sam",
    "scales",
    "schedule_free",
    "schedule_free_average",
    "schedules",
    "seeds",
    "standardize",
    "swats",
    "sweep",
    "trace_on_updates",
    "trials",
    "tune",
    "with_clipped_rms",
    "with_independent_weight_decay",
    "with_parameter_scale",
    "with_trust_ratio",
    "with_weight_decay",
]


def __dir__() -> list[str]:
    """What completion offers: the public names."""
    return sorted(["__version__", *__all__])


if not TYPE_CHECKING:  # to a type checker every name is there, and no other
    __getattr__ = asked_for(globals())
