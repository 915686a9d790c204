"""Scales: how big gradients have been, sigma, a positive size for each parameter.

`gdlab.scales.moments` measures it from gradients; `gdlab.scales.combinators` makes a scale of another scale.
"""

from gdlab.base import Scale
from gdlab.scales import combinators, moments
from gdlab.scales.combinators import *  # noqa: F403
from gdlab.scales.moments import *  # noqa: F403

__all__ = ["Scale", *combinators.__all__, *moments.__all__]
