"""The kind of a critical point, and the evidence for it in one sentence (S53, S55).

    Newton's step is long, along some eigenvector        not critical
    short, an eigenvalue below -tau and one above tau    saddle; its index counts those below -tau
    short, all above tau                                 minimum
    short, all below -tau                                maximum
    short, some within [-tau, tau], no opposite signs    degenerate: second order cannot tell
    not finite, a kink, a Hessian that changes on the way there, or too few products to know        undetermined

The simpler rule "all positive: minimum, otherwise saddle" calls each minimum of (1 - w1 w2)^2 a saddle, because one
eigenvalue there is zero; the band [-tau, tau] prevents that.  `hessian.tolerances` defines tau, and
`hessian.verdicts.evidence` says what becomes of a point beside a degenerate one.
"""

from typing import Any, Generic, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from gdlab.ground.checks import choice, key_or_default, number, switch, whole
from gdlab.ground.results import result
from hessian.arguments import tolerance
from hessian.bounds import OnFace, boxed, face_at, on_face
from hessian.compiled import compiled
from hessian.limits import BASIS_MEMORY, DENSE_SPECTRUM, MATRIX_MEMORY
from hessian.numerics import divisor
from hessian.precision import Storage, Tree, working
from hessian.product import Loss, second_order
from hessian.proofs.record import Proof
from hessian.results import counts
from hessian.spectra.bounds import num_matvecs_for
from hessian.spectra.spectrum import Inertia, fits, rows_within
from hessian.symmetry.declared import Symmetries, declare, refuse_wrong
from hessian.symmetry.slices import Slice, sliced
from hessian.verdicts.certificate import Kind, certificate
from hessian.verdicts.evidence import Eigenpair, Evidence, dense
from hessian.verdicts.krylov_evidence import CHECKS, matrix_free, rounding_of

Method = Literal["auto", "dense", "lanczos"]


@result
class CriticalPoint(NamedTuple, Generic[Tree]):
    """The verdict on a point, a pytree of arrays; `vmap` gives one for each of many points."""

    code: jax.Array  # the kind as an integer: a `Kind`
    index: jax.Array  # type: ignore[assignment]  # Morse index: eigenvalues certain to be negative
    inertia: Inertia  # positive and negative: certain ones; zero: those within the band, or not seen, or flat
    gradient_norm: jax.Array  # the Euclidean norm of the gradient
    gradient_tol: jax.Array  # critical where gradient_norm <= gradient_tol, for a gradient of this direction
    curvature_tol: jax.Array  # half width of the zero band: rounding
    lowest: Eigenpair[Tree]  # with the interval low <= value <= high that holds the eigenvalue
    highest: Eigenpair[Tree]  # the same at the other end
    confidence: jax.Array  # in the kind: 1 where all eigenvalues or both signs are seen, 0 where it is undetermined
    newton_decrement: jax.Array  # sqrt(|g.H^-1 g|)
    distance: jax.Array  # to the critical point, at most about: the length of Newton's step
    change: jax.Array  # of the curvature on the way there, relative to the curvature
    kink: jax.Array  # bool: gradient or Hessian jump here, so that there is no second order
    settled: jax.Array  # bool: the distance is known
    num_matvecs: jax.Array  # products with the Hessian that it took
    num_matvecs_needed: jax.Array  # products that would decide an undetermined kind, at most; else 0
    flat: jax.Array  # directions that are flat by the declared symmetries; kind and index are modulo these
    symmetric: jax.Array  # bool: the declared symmetries hold, as far as was checked
    proof: Proof | None = None  # the record, where it was asked for
    frozen: jax.Array | int = 0  # how many parameters are held where they are; the verdict is that of the others
    face: OnFace[Tree] | None = None  # where bounds were given: which are active, and their multipliers

    def _words(self) -> str:
        many = np.ndim(self.code) > 0
        return f"{jnp.size(self.code)} points: {counts(Kind, self.code)}" if many else self.certificate

    @property
    def kind(self) -> str:
        """The kind in words: a string, or an array of strings for many points.  Not inside `jit`."""
        return Kind.words_of(self.code)

    @property
    def index_bounds(self) -> tuple[jax.Array, jax.Array]:
        """The least and the largest Morse index that the evidence allows."""
        return self.index, self.index + self.unexplained

    @property
    def nullity(self) -> jax.Array:
        """How many eigenvalues have no certain sign: `flat` by symmetry and `unexplained`."""
        return self.inertia.zero

    @property
    def unexplained(self) -> jax.Array:
        """How many eigenvalues without a certain sign no declared symmetry explains."""
        return self.nullity - self.flat

    @property
    def manifold_dimension(self) -> jax.Array:
        """The dimension of the set of critical points here, which is that of the orbit; -1 where that is not known.

        Known where the point is critical and no eigenvalue without a sign is unexplained.
        """
        kinds = (Kind.MINIMUM, Kind.MAXIMUM, Kind.SADDLE)
        critical_there = jnp.any(jnp.stack([self.code == kind for kind in kinds]), axis=0)
        return jnp.where(critical_there & (self.unexplained == 0), self.flat, -1)

    @property
    def learning_coefficient(self) -> jax.Array:
        """The local learning coefficient at a minimum, half the rank of the Hessian, else NaN (Watanabe 2009).

        The volume of {L < L(theta) + e} beside the point shrinks like e to this power.
        """
        return jnp.where(self.code == Kind.MINIMUM, self.inertia.positive / 2, jnp.nan)

    def provided(self, symmetric: ArrayLike) -> "CriticalPoint[Tree]":
        """The same where the declared symmetries hold; elsewhere undetermined."""
        symmetric = self.symmetric & jnp.asarray(symmetric)
        return self._replace(
            code=jnp.where(symmetric, self.code, jnp.int32(Kind.UNDETERMINED)),
            confidence=jnp.where(symmetric, self.confidence, 0),
            symmetric=symmetric,
        )

    def in_storage(self, stored: Storage) -> "CriticalPoint[Tree]":
        """The same with its eigenvectors in the dtypes of the parameters."""
        lowest, highest = (end._replace(vector=stored(end.vector)) for end in (self.lowest, self.highest))
        face = None if self.face is None else self.face.in_storage(stored)
        return self._replace(lowest=lowest, highest=highest, face=face)

    @property
    def certificate(self) -> str:
        """The evidence in one sentence, for one point: certain to rounding, and what is proved.  Not inside `jit`."""
        return certificate(self)


def classify(
    loss: Loss,
    params: Tree,
    *args: Any,
    gradient_tol: ArrayLike | None = None,
    curvature_tol: ArrayLike | None = None,
    method: Method = "auto",
    key: jax.Array | None = None,
    confidence: ArrayLike = 0.99,
    num_matvecs: int = 200,
    memory: float | None = None,
    symmetries: Any = None,
    trainable: Any = None,
    bounds: Any = None,
    proof: bool = False,
) -> CriticalPoint[Tree]:
    """The kind of a point of the loss surface, with its index, inertia and extreme eigenpairs (S52-S57).

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        params: pytree of n real floating values.
        *args: further arguments of the loss.
        gradient_tol: the point is critical where the Euclidean norm of the gradient is at most this, >= 0; by default
            where Newton's step is at most 1e-6 (1 + |theta|) long (3e-4 in float32), or the gradient is rounding, along
            each eigenvector.
        curvature_tol: the zero band, >= 0; by default 50 eps |H|, or ten times the rounding of H where that is more.
        method: "dense" finds every kind, in 4n products and some where the gradient is small; "lanczos" finds saddles
            in tens, minima and maxima at a confidence, and nothing else; "auto" is dense up to 1024 parameters.
        key: of the random start of "lanczos", `jax.random.key(0)` by default.
        confidence: that the bounds which "lanczos" gives on the far sides of both ends hold in each of 1,000 random
            runs, 0 < confidence < 1.
        num_matvecs: how many products with the Hessian "lanczos" may take, >= 24.
        memory: bytes of the dense matrix and its eigenvectors, or of the basis; by default 8 and 2 GiB.
        symmetries: one or several of `hessian.symmetry`, or functions of params that return a vector field like params
            along which the loss does not change; the kind is then that modulo the directions which these make flat.
            They are checked at random points around params.
        trainable: which floating arrays are free, a pytree of bools like params or a prefix of it, or a function of
            paths such as "['layer']['bias']"; the others are held where they are, and the verdict says so.
        bounds: a pair (lower, upper), each a number, None or a pytree like params, in which None is no bound; the kind
            is then that within the box: of the free part where every multiplier of an active bound is positive, else
            "not critical", and "undetermined" where one is zero to rounding; `.face` holds them.
        proof: whether `hessian.prove` is asked too, outside of `jit`; its record comes back as `.proof`.

    Returns:
        A `CriticalPoint`.  A gradient or Hessian that is not finite is "undetermined", never an exception; so is,
        inside `jit`, a symmetry that does not hold.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError for method, confidence, products and memory out of range,
            and for symmetries that do not hold.
        ImportError: for a proof where the extra `proof` is not installed.

    >>> point = classify(lambda w: (1 - w[0] * w[1]) ** 2, jnp.zeros(2))
    >>> point.kind, int(point.index), float(point.lowest.value), float(point.highest.value)
    ('saddle', 1, -2.0, 2.0)
    >>> classify(lambda w: (1 - w[0] * w[1]) ** 2, jnp.ones(2)).kind
    'degenerate'
    >>> from hessian import symmetry
    >>> classify(lambda w: (1 - w[0] * w[1]) ** 2, jnp.ones(2), symmetries=symmetry.rescale(0, 1)).kind
    'minimum'
    """
    record = _proved(loss, params, args, trainable, bounds) if switch("proof", proof) else None
    loss, params, args, stored = working(loss, params, *args, trainable=trainable)
    theta = jax.eval_shape(lambda tree: ravel_pytree(tree)[0], params)
    choice("method", method, ("auto", "dense", "lanczos"))
    tolerance("gradient_tol", gradient_tol)
    tolerance("curvature_tol", curvature_tol)
    number("confidence", confidence, "(0, 1)")
    num_matvecs, start = whole("num_matvecs", num_matvecs, 24), None if key is None else key_or_default(key)
    if memory is not None:
        number("memory", memory)
    within = boxed(bounds, params, symmetries)
    known = isinstance(symmetries, Symmetries)  # to hold: declared and checked before
    symmetries = declare(symmetries, params)
    symmetric = known or refuse_wrong(loss, params, args, symmetries)
    loss, args, orbit = sliced(loss, args, symmetries, params)
    if method == "dense" or (method == "auto" and theta.size <= DENSE_SPECTRUM):
        fits(theta, MATRIX_MEMORY if memory is None else memory)
        krylov = None
    else:
        rows = rows_within(BASIS_MEMORY if memory is None else memory, theta, num_matvecs - CHECKS, least=2)
        krylov = num_matvecs, rows
    tols = gradient_tol, curvature_tol
    errors = None if krylov is None else _errors(loss, params, args, within)
    verdict = _judged(loss, stored, krylov, params, args, tols, start, confidence, orbit, symmetric, within, errors)
    return verdict._replace(proof=record, frozen=jax.device_put(np.int32(stored.frozen)))


def _proved(loss, params, args, trainable, bounds):
    from hessian.proofs.prove import prove  # takes time to import

    return prove(loss, params, *args, trainable=trainable, bounds=bounds)


@compiled(products=4, kept_by=second_order, static_argnums=0)
def _errors(loss, params, args, within):
    """Rounding of gradient and Hessian: its program is many times as large as all others, and runs once."""
    _, loss, params, args = _faced(loss, params, args, within)
    return rounding_of(loss, params, args)


def _faced(loss, params, args, within):
    """The face of the box at params, and loss, params and args on it; what was given where there is no box."""
    if within is None:
        return None, loss, params, args
    face = face_at(loss, params, args, within)
    return face, Slice(loss), ravel_pytree(params)[1](face.center), (face, *args)


@compiled(products=200, kept_by=second_order, static_argnums=(0, 1, 2))
def _judged(loss, stored, krylov, params, args, tols, key, confidence, orbit, symmetric, within, errors):
    """The verdict in one program; `krylov` is None with the dense Hessian, else the products and rows allowed."""
    n = sum(leaf.size for leaf in jax.tree.leaves(params))
    flat = jnp.int32(0) if orbit is None else orbit.dimension
    whole, given = loss, args
    face, loss, params, args = _faced(loss, params, args, within)
    orbit = orbit if face is None else face
    if krylov is None:
        found, confidence = dense(loss, params, args, *tols, orbit), 1.0
    else:
        found = matrix_free(loss, params, args, errors, *tols, key_or_default(key), confidence, *krylov, orbit)
    verdict = _verdict(found, n, confidence, flat if within is None else orbit.dimension)
    if within is not None:
        verdict = _within(verdict, orbit, on_face(whole, params, given, orbit, found.step))
    return verdict.provided(symmetric).in_storage(stored)


def _within(verdict, face, on):
    """The verdict on the free part as one within the box."""
    critical = (verdict.code != Kind.NOT_CRITICAL) & (verdict.code != Kind.UNDETERMINED)
    on = on._replace(strict=on.strict | ~critical)
    # From an active bound the loss rises into the box, so that a maximum of the face is none of the box.
    held = jnp.any(face.active & (face.box.lower < face.box.upper))
    code = jnp.where((verdict.code == Kind.MAXIMUM) & held, jnp.int32(Kind.SADDLE), verdict.code)
    return verdict._replace(
        code=jnp.where(on.strict, code, jnp.int32(Kind.UNDETERMINED)),
        confidence=jnp.where(on.strict, verdict.confidence, 0),
        inertia=verdict.inertia._replace(zero=verdict.inertia.zero - face.dimension),
        flat=jnp.int32(0),
        face=on,
    )


def _verdict(found: Evidence, n: int, confidence: ArrayLike, flat: ArrayLike = 0) -> CriticalPoint:
    """The kind that the evidence shows, and how many products would decide what it leaves open."""
    flat = jnp.asarray(flat, jnp.int32)
    lowest, highest = found.lowest, found.highest
    critical = found.gradient_norm <= found.gradient_tol
    saddle = (lowest.high < 0) & (highest.low > 0)
    minimum, maximum = (lowest.low > 0) | (flat == n), highest.high < 0  # no direction off the orbit falls
    code = Kind.code_of(
        [
            (~found.finite, Kind.UNDETERMINED),
            (~critical, Kind.NOT_CRITICAL),
            (~found.settled, Kind.UNDETERMINED),
            (saddle, Kind.SADDLE),
            (minimum, Kind.MINIMUM),
            (maximum, Kind.MAXIMUM),
            (found.complete & found.flat, Kind.DEGENERATE),
        ],
        Kind.UNDETERMINED,
    )

    certainty = jnp.where(found.complete | saddle | (code == Kind.NOT_CRITICAL), 1.0, confidence)
    spectral_norm = jnp.maximum(jnp.abs(lowest.value), jnp.abs(highest.value))
    # The end next to zero decides; where that lies within the band, only all n products do.
    nearest = jnp.minimum(jnp.abs(lowest.value), jnp.abs(highest.value))
    open_end = nearest > found.curvature_tol
    resolution = jnp.where(open_end, nearest, 0) / divisor(2 * spectral_norm)
    needed = jnp.where((code == Kind.UNDETERMINED) & found.finite, num_matvecs_for(resolution, n, certainty), 0)
    zero = n - found.positive - found.negative
    return CriticalPoint(
        code=code,
        index=found.negative,
        inertia=Inertia(found.positive, zero, found.negative),
        gradient_norm=found.gradient_norm,
        gradient_tol=found.gradient_tol,
        curvature_tol=found.curvature_tol,
        lowest=lowest,
        highest=highest,
        confidence=jnp.where(code == Kind.UNDETERMINED, 0, certainty),
        newton_decrement=found.decrement,
        distance=found.distance,
        change=found.change,
        kink=found.kink,
        settled=found.settled,
        num_matvecs=found.num_matvecs,
        num_matvecs_needed=needed,
        flat=flat,
        symmetric=jnp.bool_(True),
    )
