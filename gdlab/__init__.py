"""gdlab: gradient descent as pure functions whose every step can be read.

    theta  <-  theta  -  eta_t / sigma_t * m_t

`schedules` say how far (eta), `scales` how big gradients have been (sigma), `directions` where to go (m); `descent`
joins them, `optimizers` names the joints, `minimize` runs them, `sweep` runs them by the thousand, `long_run` for as
long as it takes.
"""

from gdlab import directions, problems, scales, schedules
from gdlab.base import Optimizer, Step
from gdlab.equation import descent
from gdlab.optimizers.inspect import inspect
from gdlab.optimizers.named import (
    adabelief,
    adabound,
    adagrad,
    adam,
    adamax,
    adamw,
    amsbound,
    amsgrad,
    gd,
    lion,
    momentum,
    nadam,
    nesterov,
    normalized_gd,
    polyak,
    radam,
    rmsprop,
    sgd,
    sgdw,
    sign_gd,
    signum,
    yogi,
)
from gdlab.optimizers.swats import swats
from gdlab.optimizers.wrappers import chain, decayed, decayed_outright, lookahead, rolling, rolling_outside
from gdlab.runs.data import minibatches, standardize
from gdlab.runs.long_run import long_run, read_history
from gdlab.runs.minimize import Run, minimize
from gdlab.runs.tune import hyperparameters, lr_range_test, tune
from gdlab.sweeps.axes import draws, seeds
from gdlab.sweeps.sweep import merge, sweep
from gdlab.sweeps.trials import trials

__all__ = [
    "Optimizer",
    "Run",
    "Step",
    "adabelief",
    "adabound",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "amsbound",
    "amsgrad",
    "chain",
    "decayed",
    "decayed_outright",
    "descent",
    "directions",
    "draws",
    "gd",
    "hyperparameters",
    "inspect",
    "lion",
    "long_run",
    "lookahead",
    "lr_range_test",
    "merge",
    "minibatches",
    "minimize",
    "momentum",
    "nadam",
    "nesterov",
    "normalized_gd",
    "polyak",
    "problems",
    "radam",
    "read_history",
    "rmsprop",
    "rolling",
    "rolling_outside",
    "scales",
    "schedules",
    "seeds",
    "sgd",
    "sgdw",
    "sign_gd",
    "signum",
    "standardize",
    "swats",
    "sweep",
    "trials",
    "tune",
    "yogi",
]
