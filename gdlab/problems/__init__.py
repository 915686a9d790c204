"""Problems to descend on: plain functions, with their source, start points and known critical points beside them.

| what | names |
|---|---|
| surfaces with all that is known about them | `surfaces`, `surface(name)`, `Surface`, `KnownPoint` |
| linear networks | `linear_net` (S52), `linear_net_ridge`, `linear_net_depth3`, `linear_autoencoder`, |
| | `linear_autoencoder_2_1_2`; `linear_autoencoder_points` |
| saddles | `classical_saddle`, `double_well_quadratic`, `quadratic_saddle_quartic`, `mexican_hat` |
| saddles in a row (Du et al. 2017) | `octopus`; `octopus_points` |
| recovery | `matrix_factorization`, `phase_retrieval` |
| degenerate saddles | `monkey_saddle`, `quartic_min`, `quartic_saddle`, `cubic_fold`, `peano`, `real_part_z4` |
| bowls and wells | `quadratic_bowl` (S7), `booth`, `matyas`, `gaussian_well`, `plateau` (S62) |
| valleys | `rosenbrock` (S79), `beale`, `tilted_double_well` (S10), `hills` (S75) |
| classics | `himmelblau`, `six_hump_camel`, `three_hump_camel`, `dixon_price`, `goldstein_price`, |
| | `wolfe_quapp`, `mueller_brown` |
| lattices | `styblinski_tang`, `double_wells`, `rastrigin` |
| clusters of atoms | `lennard_jones`, `lennard_jones_starts` |
| spins with couplings of both signs | `spin_glass`, `spin_glass_couplings` |
| the lectures' regression (S1) | `pokemon`, `pokemon_loss`, `POKEMON_START`, `POKEMON_OPTIMUM`, `POKEMON_CURVATURES`, |
| | `POKEMON_RATE_BOUND`, `POKEMON_BOX` |
| handwritten digits and a network (S48) | `digits`, `network`, `network_logits`, `network_loss`, `network_accuracy` |

Any other loss does as well: a function of a pytree of parameters that returns a scalar.
"""

from gdlab.problems.bowls import booth, gaussian_well, matyas, plateau, quadratic_bowl
from gdlab.problems.catalogue import surface, surfaces
from gdlab.problems.classics import (
    dixon_price,
    goldstein_price,
    himmelblau,
    mueller_brown,
    six_hump_camel,
    three_hump_camel,
    wolfe_quapp,
)
from gdlab.problems.clusters import lennard_jones, lennard_jones_starts
from gdlab.problems.digits import digits, network, network_accuracy, network_logits, network_loss
from gdlab.problems.landscape import KnownPoint, Surface
from gdlab.problems.lattices import double_wells, rastrigin, styblinski_tang
from gdlab.problems.linear_nets import (
    linear_autoencoder,
    linear_autoencoder_2_1_2,
    linear_autoencoder_points,
    linear_net,
    linear_net_depth3,
    linear_net_ridge,
)
from gdlab.problems.octopus import octopus, octopus_points
from gdlab.problems.pokemon import (
    POKEMON_BOX,
    POKEMON_CURVATURES,
    POKEMON_OPTIMUM,
    POKEMON_RATE_BOUND,
    POKEMON_START,
    pokemon,
    pokemon_loss,
)
from gdlab.problems.recovery import matrix_factorization, phase_retrieval
from gdlab.problems.saddles import (
    classical_saddle,
    cubic_fold,
    double_well_quadratic,
    mexican_hat,
    monkey_saddle,
    peano,
    quadratic_saddle_quartic,
    quartic_min,
    quartic_saddle,
    real_part_z4,
)
from gdlab.problems.spins import spin_glass, spin_glass_couplings
from gdlab.problems.valleys import beale, hills, rosenbrock, tilted_double_well

__all__ = [
    "POKEMON_BOX",
    "POKEMON_CURVATURES",
    "POKEMON_OPTIMUM",
    "POKEMON_RATE_BOUND",
    "POKEMON_START",
    "KnownPoint",
    "Surface",
    "beale",
    "booth",
    "classical_saddle",
    "cubic_fold",
    "digits",
    "dixon_price",
    "double_well_quadratic",
    "double_wells",
    "gaussian_well",
    "goldstein_price",
    "hills",
    "himmelblau",
    "lennard_jones",
    "lennard_jones_starts",
    "linear_autoencoder",
    "linear_autoencoder_2_1_2",
    "linear_autoencoder_points",
    "linear_net",
    "linear_net_depth3",
    "linear_net_ridge",
    "matrix_factorization",
    "matyas",
    "mexican_hat",
    "monkey_saddle",
    "mueller_brown",
    "network",
    "network_accuracy",
    "network_logits",
    "network_loss",
    "octopus",
    "octopus_points",
    "peano",
    "phase_retrieval",
    "plateau",
    "pokemon",
    "pokemon_loss",
    "quadratic_bowl",
    "quadratic_saddle_quartic",
    "quartic_min",
    "quartic_saddle",
    "rastrigin",
    "real_part_z4",
    "rosenbrock",
    "six_hump_camel",
    "spin_glass",
    "spin_glass_couplings",
    "styblinski_tang",
    "surface",
    "surfaces",
    "three_hump_camel",
    "tilted_double_well",
    "wolfe_quapp",
]


def __dir__() -> list[str]:
    """What completion offers: the public names."""
    return sorted(__all__)
