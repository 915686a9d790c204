"""`prove_saddle`: the curvature along one direction, at a point or on a whole box around it, for any number of weights.

    v.Hv in [low, high] wherever |theta_i - params_i| <= radius;  high < 0 says that no local minimum lies there

The loss is followed along theta + t v to the second order in t, whole arrays at a time: one pass at a point, and one
forward and backward on a box, for the gradient of v.Hv and the mean value theorem.
"""

import json
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp  # noqa: F401  (the example)
import numpy as np

from gdlab.ground.checks import number
from hessian.arguments import alike
from hessian.precision import Loss, Params, check, separated
from hessian.proofs.program import NotProved, Program
from hessian.proofs.record import save

FORMAT = "gdlab curvature 1"


@dataclass(frozen=True)
class Curvature:
    """What is proved of the curvature along one direction, or why nothing is."""

    reason: str  # why nothing is proved; "" where it is
    low: float = float("-inf")  # v.Hv is no less
    high: float = float("inf")  # and no more
    radius: float = 0.0  # of the box, for each coordinate
    center: np.ndarray | None = None  # shape (n,)
    direction: np.ndarray | None = None  # shape (n,)
    program: Program | None = None

    @property
    def proved(self) -> bool:
        """Whether v.Hv < 0 is proved on all of the box: no local minimum lies there."""
        return not self.reason and self.high < 0

    @property
    def statement(self) -> str:
        """The theorem in words."""
        if self.reason:
            return f"not proved: {self.reason}"
        where = "at the point" if not self.radius else f"wherever no coordinate is more than {self.radius:.3g} away"
        bounds = f"v.Hv lies between {self.low!r} and {self.high!r} {where}"
        if self.high < 0:
            return f"proved: {bounds}: no local minimum lies there"
        if self.low > 0:
            return f"proved: {bounds}: no local maximum lies there; of saddles this direction says nothing"
        return f"not proved: {bounds}, which may be of either sign; take another direction or a smaller radius"

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        """The statement."""
        return self.statement

    def save(self, path: Any) -> None:
        """Write the record, whole or not at all, to a file that must not exist yet.

        Raises:
            ValueError: where no bounds are proved.
            FileExistsError: where the file exists.
        """
        from hessian.proofs import program

        if self.program is None or self.center is None or self.direction is None:
            msg = f"a record must hold a proof; got {self.statement}"
            raise ValueError(msg)
        save(
            path,
            {
                "format": FORMAT,
                "statement": self.statement,
                "low": self.low.hex(),
                "high": self.high.hex(),
                "radius": self.radius.hex(),
                "center": [one.hex() for one in self.center.tolist()],
                "direction": [one.hex() for one in self.direction.tolist()],
                "kernel": "balls",
                "hypotheses": [],
                "program": program.as_data(self.program),
            },
        )


def prove_saddle(loss: Loss, params: Params, direction: Params, *args: Any, radius: float = 0.0) -> Curvature:
    """Bounds of v.Hv that hold for certain; below zero they prove that params are no local minimum, nor any near them.

    It does not say that a critical point is near: a strict direction down in the curvature, at the point or on all of
    the box, is what is proved.  The bounds are of the real function that `loss` denotes, not of its rounded values.

    Args:
        loss: `loss(params, *args) -> scalar`, of JAX; comparisons must be decided on the box.
        params: pytree of real floating arrays, n numbers, of any n: the cost is about that of two Hessian products.
        direction: v, like params, in their dtypes; any length but 0; taken as exact.
        *args: further arguments, taken as exact.
        radius: how far each coordinate may be from params; 0 for the point alone.

    Returns:
        A `Curvature`: `proved`, `low`, `high`, `reason`, `statement`, `save(path)`.

    Raises:
        ImportError: where the extra `proof` is not installed.
        TypeError, ValueError: as `hessian.classify`; and for a direction unlike params, zero or not finite, or a
            radius that is negative or not finite.

    Source: Moore, Interval Analysis, 1966 (Taylor models); Rump, BIT 39, 1999 (matrix products).

    >>> saddle = lambda w: w[0] ** 2 - w[1] ** 2 + w[0] * w[1] ** 3
    >>> found = prove_saddle(saddle, jnp.array([0.0, 0.1]), jnp.array([0.0, 1.0]), radius=0.1)
    >>> found.proved, round(found.low, 2), round(found.high, 2)
    (True, -2.12, -1.88)
    """
    try:
        from hessian.proofs import lowering
        from hessian.proofs.kernels import adjoint
    except ImportError as error:
        msg = "prove_saddle needs python-flint and crival; install them with the extra: pip install 'gdlab[proof]'"
        raise ImportError(msg) from error
    loss, params, args, _ = separated(loss, params, args)
    check(loss, params, *args)
    radius = float(np.asarray(number("radius", radius, "[0, inf)")))
    v = np.concatenate(
        [np.asarray(leaf, np.float64).reshape(-1) for leaf in jax.tree.leaves(alike("direction", direction, params))]
    )
    if not (np.isfinite(v).all() and v.any()):
        msg = "direction must be finite and not zero"
        raise ValueError(msg)
    try:
        program, center = lowering.lowered(loss, params, *args)
        low, high = adjoint.curvature(program, center, radius, v)
    except NotProved as error:
        return Curvature(str(error), radius=radius)
    return Curvature(reason="", low=low, high=high, radius=radius, center=center, direction=v, program=program)


def from_data(data: dict[str, Any]) -> Curvature:
    """The record in this data; ValueError with a sentence for what is none."""
    from hessian.proofs import program

    numbers = {}
    for name in ("low", "high", "radius", "center", "direction"):
        given = data.get(name)
        texts: list[Any] = given if isinstance(given, list) else [given]
        try:
            numbers[name] = np.array([float.fromhex(one) for one in texts])
        except (TypeError, ValueError, OverflowError):
            numbers[name] = np.array([np.nan])
        if not np.isfinite(numbers[name]).all():
            msg = f"{name} must be finite doubles in hexadecimal"
            raise ValueError(msg)
    made = program.from_data(data.get("program"))
    if not (made.inputs == numbers["center"].size == numbers["direction"].size and numbers["radius"].size == 1):
        msg = "center and direction must have a number for each input of the program"
        raise ValueError(msg)
    low, high, radius = (float(numbers[name][0]) for name in ("low", "high", "radius"))
    if radius < 0 or low > high or not numbers["direction"].any():
        msg = "a record must have low <= high, a radius of at least 0, and a direction that is not zero"
        raise ValueError(msg)
    proof = Curvature(
        reason="",
        low=low,
        high=high,
        radius=radius,
        center=numbers["center"],
        direction=numbers["direction"],
        program=made,
    )
    if data.get("statement") != proof.statement:
        msg = f"a record must say what its numbers say, {json.dumps(proof.statement)}"
        raise ValueError(msg)
    return proof
