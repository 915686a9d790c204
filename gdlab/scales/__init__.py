"""Scales: how big gradients have been, sigma, a positive size for each parameter.

`gdlab.scales.moments` measures it from gradients; `gdlab.scales.combinators` makes a scale of another scale.
"""

from gdlab.scales.combinators import (
    bounded,
    debias,
    peak,
    plus,
    rectified,
    weighted,
)
from gdlab.scales.moments import (
    additive,
    belief,
    centred,
    debiased_root_mean_square,
    infinity,
    norm,
    root_mean_square,
    root_sum_square,
    running_root_mean_square,
    unit,
    windowed_root_mean_square,
)

__all__ = [
    "additive",
    "belief",
    "bounded",
    "centred",
    "debias",
    "debiased_root_mean_square",
    "infinity",
    "norm",
    "peak",
    "plus",
    "rectified",
    "root_mean_square",
    "root_sum_square",
    "running_root_mean_square",
    "unit",
    "weighted",
    "windowed_root_mean_square",
]
