"""Scales: how big gradients have been, sigma, a positive size for each parameter.

`gdlab.scales.moments` measures it from gradients, `gdlab.scales.matrices` as an operator on the matrices of a leaf;
`gdlab.scales.kron` fits such an operator;
`gdlab.scales.combinators` makes a scale of another scale.
"""

from gdlab.base import Scale
from gdlab.scales import combinators, kron, matrices, moments
from gdlab.scales.combinators import *  # noqa: F403
from gdlab.scales.kron import *  # noqa: F403
from gdlab.scales.matrices import *  # noqa: F403
from gdlab.scales.moments import *  # noqa: F403

__all__ = ["Scale", *combinators.__all__, *kron.__all__, *matrices.__all__, *moments.__all__]


def __dir__() -> list[str]:
    """What completion offers: the public names."""
    return sorted(__all__)
