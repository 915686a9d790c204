"""Schedules: how far to step, eta, a rate for each step.

`gdlab.schedules.of_count` reads the count of steps, `gdlab.schedules.of_loss` the loss as well.
"""

from gdlab.schedules.base import (
    as_schedule,
    constant,
)
from gdlab.schedules.of_count import (
    cosine,
    cyclic,
    exponential,
    in_proportion,
    inverse_sqrt,
    inverse_time,
    join,
    linear,
    lr_range_test,
    noam,
    one_cycle,
    one_cycle_cosine,
    piecewise,
    polynomial,
    sgdr,
    step_decay,
    warmup,
    wsd,
)
from gdlab.schedules.of_loss import (
    polyak_step,
    reduce_on_plateau,
)

__all__ = [
    "as_schedule",
    "constant",
    "cosine",
    "cyclic",
    "exponential",
    "in_proportion",
    "inverse_sqrt",
    "inverse_time",
    "join",
    "linear",
    "lr_range_test",
    "noam",
    "one_cycle",
    "one_cycle_cosine",
    "piecewise",
    "polyak_step",
    "polynomial",
    "reduce_on_plateau",
    "sgdr",
    "step_decay",
    "warmup",
    "wsd",
]
