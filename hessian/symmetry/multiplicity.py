"""How many copies of a point the declared discrete symmetries make: the orbit, counted by what leaves the point.

    copies  =  |G| / |G_x|,        G_x: the elements that bring x back, alone or with a continuous symmetry after them

Of N identical atoms with mirror images |G| = 2 N!, and |G_x| is the order of the point group where the atoms do not
lie in a plane.  Shifts by a period are the identity.

| function | what it returns |
|---|---|
| `multiplicity` | the number of copies; None where it is not counted |
"""

from math import factorial, prod
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from hessian.precision import Params
from hessian.symmetry.congruence import group_of_points
from hessian.symmetry.declared import Symmetries
from hessian.symmetry.discrete import Copies, Periodic


def multiplicity(symmetries: Symmetries | None, like: Params, theta: Any, within: float) -> int | None:
    """The number of copies of theta, raveled like `like`; None for discrete symmetries whose copies are not counted.

    Those are counted that move points, and permutations and signs of hidden units, where no two of these share a
    leaf and none comes with a continuous symmetry.

    Args:
        symmetries: the declared ones.
        like: params.
        theta: shape (n,).
        within: a distance at which points are the same.
    """
    if symmetries is None or not symmetries.discrete:
        return 1
    points = group_of_points(symmetries)
    if points is not None:
        return points.copies(np.asarray(theta, float), within)
    of_units = [one for one in symmetries.discrete if isinstance(one, Copies)]
    names = [name for one in of_units for name in one.a + one.b]
    others = [one for one in symmetries.discrete if not isinstance(one, Copies | Periodic)]
    if others or symmetries.continuous or len(names) != len(set(names)):
        return None
    params = ravel_pytree(like)[1](jnp.asarray(theta))
    return prod(_copies_of_units(one, params, within) for one in of_units)


def _copies_of_units(symmetry, params, within):
    """|G| / |G_x| of permutations and signs of hidden units."""
    columns = symmetry.columns(params)
    groups = list[list[np.ndarray]]()
    for column in columns:
        sides = (column, -column) if symmetry.signed else (column,)
        same = (group for group in groups if min(np.linalg.norm(group[0] - side) for side in sides) <= within)
        group = next(same, None)
        groups.append([column]) if group is None else group.append(column)
    zeros = sum(bool(np.linalg.norm(column) <= within) for column in columns)
    places = factorial(len(columns)) // prod(factorial(len(group)) for group in groups) if symmetry.permuted else 1
    return places * (2 ** (len(columns) - zeros) if symmetry.signed else 1)
