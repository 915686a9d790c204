"""`prove`: from a loss and a point to a record, or to the reason why there is none."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from hessian.bounds import box
from hessian.precision import Loss, Params, check, separated, working
from hessian.proofs.orbit import OrbitSlice
from hessian.proofs.program import NotProved
from hessian.proofs.record import Proof
from hessian.symmetry.declared import declare, refuse_wrong
from hessian.symmetry.slices import orbit_at

ACTIVE = "a bound is active at these parameters, and proofs speak of critical points inside of bounds"
PRECISION = 106  # bits in which it is proved that the fields of an orbit lead off its slice


def prove(
    loss: Loss, params: Params, *args: Any, symmetries: Any = None, trainable: Any = None, bounds: Any = None
) -> Proof:
    """The proof that exactly one critical point lies beside params, and of its index, or why there is none.

    Newton's method goes from params to the nearest critical point; Krawczyk's operator then proves that a ball around
    it holds exactly one, and pivots in ball arithmetic prove its index.  What is proved is the real function that
    `loss` denotes, not its rounded values: all numbers are enclosed by Arb, on the host.

    Args:
        loss: `loss(params, *args) -> scalar`, of JAX; comparisons must be decided beside the point.
        params: pytree of real floating arrays, n numbers; up to about a thousand.
        *args: further arguments, taken as exact.
        symmetries: as in `hessian.classify`, of generators that are affine, as all of `hessian.symmetry` are.  Proved
            is then that there is one critical point on the slice across its orbit, the dimension of the orbit and the
            index across it; that the generators hold is checked at random points, and stands in the record as a
            hypothesis.
        trainable: which floating arrays are free, a pytree of bools like params or a prefix of it, or a function of
            paths such as "['layer']['bias']"; the others are held where they are, and the statement says so.
        bounds: as in `hessian.classify`; proved is then also that the ball lies inside of them, where they change
            nothing.  A point beside an active bound is not proved.

    Returns:
        A `Proof`: `proved`, `kind`, `index`, `flat`, `center`, `radius`, `reason`, `distance`, `save(path)`.

    Raises:
        ImportError: where python-flint is not installed, which the extra `proof` brings.
        TypeError, ValueError: as `hessian.classify`, for params that are no real floating arrays or a loss of more;
            ValueError for symmetries that do not hold.

    Source: Krawczyk 1969; Neumaier, Interval Methods for Systems of Equations, 1990; Bott 1954.

    >>> proof = prove(lambda w: (1 - w[0] * w[1]) ** 2, jnp.array([1e-9, 0.0]))
    >>> proof.kind, proof.index
    ('saddle', 1)
    >>> prove(lambda w: w[0] ** 3 + w[1] ** 2, jnp.array([1e-9, 0.0])).proved
    False
    """
    try:
        from hessian.proofs import lowering, point
    except ImportError as error:
        msg = "prove needs python-flint and crival; install them with the extra: pip install 'gdlab[proof]'"
        raise ImportError(msg) from error
    if symmetries is not None and trainable is not None:
        msg = "symmetries must be None where trainable holds parameters, which symmetries would move; got both"
        raise ValueError(msg)
    loss, params, args, model = separated(loss, params, args, trainable=trainable)
    within = box(bounds, check(loss, params, *args), inside=False)
    try:
        program, start = lowering.lowered(loss, params, *args)
        orbit = None if symmetries is None else _orbit(loss, params, args, symmetries)
        ball = point.proved_at(program, start) if orbit is None else _on_slice(program, orbit, start)
        if within is not None:
            _inside(ball, within)
    except NotProved as error:
        active = within is not None and _is_active(params, within)
        return Proof(f"{ACTIVE}; hold the active ones by trainable= to prove the rest" if active else str(error))
    proof = Proof("", ball, program, orbit=orbit, frozen=0 if model is None else model.frozen)
    return replace(proof, distance=float(np.linalg.norm(proof.center - start)))


def _inside(ball, within):
    """Nothing; NotProved where the ball reaches a bound."""
    for (m, e), radius, low, high in zip(ball.center, ball.radius, *map(np.asarray, within), strict=True):
        center, reach = Fraction(m) * Fraction(2) ** e, Fraction(radius)
        above = np.isneginf(low) or center - reach > Fraction(float(low))
        below = np.isposinf(high) or center + reach < Fraction(float(high))
        if not (above and below):
            msg = "a bound lies in the ball around the critical point without bounds: proofs speak of critical points"
            raise NotProved(f"{msg} inside of bounds")


def _is_active(params, within):
    """Whether params lie on a bound."""
    theta = np.asarray(ravel_pytree(params)[0])
    return bool(np.any([np.any(theta == np.asarray(ravel_pytree(side)[0])) for side in within]))


def _on_slice(program, orbit, start):
    """The ball around the critical point on a slice, across which the fields lead everywhere in it."""
    from hessian.proofs import point

    across = orbit.onto(program)
    ball = point.confirmed(across, point.proved_at(across, start))
    if not point.transverse(orbit, ball, PRECISION):
        msg = "the generators may lead along the slice somewhere in the ball"
        raise NotProved(msg)
    return ball


def _orbit(loss, params, args, symmetries):
    """The slice across the orbit of params; None where no symmetry moves them."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), params)
        loss, wide, args, _ = working(loss, wide, *args)
        declared = declare(symmetries, wide)
        assert declared is not None  # for None is no declaration
        refuse_wrong(loss, wide, args, declared)
        orbit = orbit_at(declared, wide)
        theta, unravel = ravel_pytree(wide)
        rows = np.asarray(orbit.flat)
        rows = rows[np.linalg.norm(rows, axis=1) > 0.5]
        if not len(rows):
            return None
        affine = np.asarray(_affine(lambda x: declared.fields(unravel(x)), theta))
        here = affine[:, :, :-1] @ np.asarray(theta) + affine[:, :, -1]
        mixed = np.tensordot(rows @ np.linalg.pinv(here), affine, 1)
        slope = jax.hessian(lambda x: loss(unravel(x), *args))(theta)
        weight = float(np.median(np.abs(np.linalg.eigvalsh(np.asarray(slope))))) or 1.0
    fields = tuple(
        tuple((int(i), int(j), float(field[i, j])) for i, j in zip(*np.nonzero(field), strict=True)) for field in mixed
    )
    return OrbitSlice(tuple(theta.tolist()), tuple(map(tuple, rows.tolist())), weight, fields)


def _affine(fields, theta):
    """The matrices [A | b] of affine fields, shape (m, n, n + 1).

    Raises:
        NotProved: for fields that are not affine with entries that are found exactly.
    """
    nothing = jnp.zeros_like(theta)
    shift, matrix = fields(nothing), jax.jacfwd(fields)(nothing)
    if not jnp.array_equal(matrix, jax.jacfwd(fields)(1.5 + theta)):
        msg = "symmetries must have affine generators for a proof; got one whose derivative depends on params"
        raise NotProved(msg)
    return jnp.concatenate([matrix, shift[:, :, None]], axis=2)
