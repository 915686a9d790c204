"""`prove`: from a loss and a point to a record, or to the reason why there is none."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp  # noqa: F401  (the example)
import numpy as np

from hessian.precision import Loss, Params, check, separated
from hessian.proofs.program import NotProved
from hessian.proofs.record import Proof


def prove(loss: Loss, params: Params, *args: Any, trainable: Any = None) -> Proof:
    """The proof that exactly one critical point lies beside params, and of its index, or why there is none.

    Newton's method goes from params to the nearest critical point; Krawczyk's operator then proves that a ball around
    it holds exactly one, and pivots in ball arithmetic prove its index.  What is proved is the real function that
    `loss` denotes, not its rounded values: all numbers are enclosed by Arb, on the host.

    Args:
        loss: `loss(params, *args) -> scalar`, of JAX; comparisons must be decided beside the point.
        params: pytree of real floating arrays, n numbers; up to about a thousand.
        *args: further arguments, taken as exact.
        trainable: which floating arrays are free, a pytree of bools like params or a prefix of it, or a function of
            paths such as "['layer']['bias']"; the others are held where they are, and the statement says so.

    Returns:
        A `Proof`: `proved`, `kind`, `index`, `center`, `radius`, `reason`, `distance`, `save(path)`.

    Raises:
        ImportError: where python-flint is not installed, which the extra `proof` brings.
        TypeError, ValueError: as `hessian.classify`, for params that are no real floating arrays or a loss of more.

    Source: Krawczyk 1969; Neumaier, Interval Methods for Systems of Equations, 1990.

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
    loss, params, args, model = separated(loss, params, args, trainable=trainable)
    check(loss, params, *args)
    try:
        program, start = lowering.lowered(loss, params, *args)
        ball = point.proved_at(program, start)
    except NotProved as error:
        return Proof(str(error))
    proof = Proof("", ball, program, frozen=0 if model is None else model.frozen)
    return replace(proof, distance=float(np.linalg.norm(proof.center - start)))
