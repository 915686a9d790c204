"""Schedules: how far to step, eta, a rate for each step.

`gdlab.schedules.of_count` and `cycles` read the count of steps, `gdlab.schedules.of_loss` the loss as well.
"""

from gdlab.base import LossSchedule, Schedule
from gdlab.schedules import cycles, of_count, of_loss
from gdlab.schedules.base import Constant, FromFunction, as_schedule
from gdlab.schedules.cycles import *  # noqa: F403
from gdlab.schedules.of_count import *  # noqa: F403
from gdlab.schedules.of_loss import *  # noqa: F403

__all__ = [
    "Constant",
    "FromFunction",
    "LossSchedule",
    "Schedule",
    "as_schedule",
    *cycles.__all__,
    *of_count.__all__,
    *of_loss.__all__,
]


def __dir__() -> list[str]:
    """What completion offers: the public names."""
    return sorted(__all__)
