"""Symmetries of a loss, declared by their generators, and what they make flat.

A generator is a vector field xi with xi(x) . grad L(x) = 0 for every x: the loss does not change along it, so where xi
is not zero a critical point lies on a whole orbit of critical points, and the Hessian has xi among its null vectors.
A verdict modulo symmetry asks for the rest of the spectrum only (Morse-Bott).

| name | what it moves |
|---|---|
| `translations`, `rotations` | points of d coordinates, all together |
| `euclidean` | both |
| `rescale`, `rotate`, `linear` | hidden units of a @ b: by their sizes, by rotations, by any change of basis |
| `permutations`, `signs` | the same units, one for another and by their signs: discrete |
| `periodic` | angles: each by its own multiple of a period: discrete |
| `identical`, `reflections` | points: one for another of its kind, and mirrored: discrete |
| `atoms` | points, by all that leaves their distances as they are: `euclidean` and the two before |
| `raveled` | what is declared on a pytree, for a loss of one array |
| `detect` | nothing: it suggests affine generators that a loss seems to have |

A function of params that returns what is like params is a generator, too.
"""

from hessian.symmetry.detection import detect
from hessian.symmetry.discrete import periodic, permutations, signs
from hessian.symmetry.generators import (
    Affine,
    Raveled,
    euclidean,
    linear,
    raveled,
    rescale,
    rotate,
    rotations,
    translations,
)
from hessian.symmetry.points import atoms, identical, reflections

__all__ = [
    "Affine",
    "Raveled",
    "atoms",
    "detect",
    "euclidean",
    "identical",
    "linear",
    "periodic",
    "permutations",
    "raveled",
    "reflections",
    "rescale",
    "rotate",
    "rotations",
    "signs",
    "translations",
]


def __dir__() -> list[str]:
    """What completion offers: the public names."""
    return sorted(__all__)
