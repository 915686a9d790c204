"""gdlab: gradient descent as pure functions whose every step can be read.

    theta  <-  theta  -  eta_t / sigma_t * m_t

`schedules` say how far (eta), `scales` how big gradients have been (sigma), `directions` where to go (m); `descent`
joins them, `optimizers` names the joints, `minimize` runs them, `sweep` runs them by the thousand.
"""

from gdlab import directions, problems, scales, schedules
from gdlab.data import minibatches, standardize
from gdlab.descent import descent
from gdlab.optimizers import adagrad, adam, gd, momentum, nesterov, rmsprop, sgd
from gdlab.pieces import Optimizer, Step
from gdlab.run import Run, minimize
from gdlab.sweep import sweep

__all__ = [
    "Optimizer",
    "Run",
    "Step",
    "adagrad",
    "adam",
    "descent",
    "directions",
    "gd",
    "minibatches",
    "minimize",
    "momentum",
    "nesterov",
    "problems",
    "rmsprop",
    "scales",
    "schedules",
    "sgd",
    "standardize",
    "sweep",
]
