"""All declared surfaces by name: `surfaces` is the dictionary, `surface(name)` looks one up."""

from gdlab.ground.checks import choice
from gdlab.problems.bowls import BOWLS
from gdlab.problems.classics import CLASSICS
from gdlab.problems.landscape import Surface
from gdlab.problems.lattices import LATTICES
from gdlab.problems.linear_nets import LINEAR_NETS
from gdlab.problems.octopus import OCTOPUS_3D
from gdlab.problems.recovery import RECOVERIES
from gdlab.problems.saddles import SADDLES
from gdlab.problems.valleys import VALLEYS

surfaces: dict[str, Surface] = {
    entry.name: entry
    for entry in (*LINEAR_NETS, *SADDLES, OCTOPUS_3D, *RECOVERIES, *BOWLS, *VALLEYS, *CLASSICS, *LATTICES)
}


def surface(name: str) -> Surface:
    """The surface of this name.

    Raises:
        ValueError: for a name that is not in `surfaces`.

    >>> surface("linear_net").critical_points[-1].kind
    'saddle'
    """
    return choice("name", name, dict(sorted(surfaces.items())))
