"""Both ends of the spectrum, and how they move along a run: a search that goes on from the last eigenvectors.

    s  =  q + 100 u_1 + 10 u_n,      q uniform on the sphere, u_1 and u_n the eigenvectors at the parameters before

Lanczos from s finds the ends again in few products where they turned little.  Its bounds on both ends are those of the
random q: a coordinate of q falls into an interval with no greater a probability for its being moved away from 0, so
|u.s| >= t holds as |u.q| >= t does, whatever u_1 and u_n were, and every product counts (`hessian.spectra.bounds`).

How near 20 products come depends on how an end stands out, and on how fast it turns.  `tol` asks for more products
where r^2 / gap says that an end is not known yet, and for fewer where it is.

| name | what it is |
|---|---|
| `curvature` | both ends at one point, from nothing or from those before |
| `Curvature` | the ends, their bounds and their vectors |
| `curvature_recorder` | the same along a run: for `record=` of `gdlab.minimize` |

References: Lanczos 1950; r^2 / gap: Temple 1928.
"""

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from gdlab.ground.checks import key_or_default, number, whole
from gdlab.ground.leaves import shown
from gdlab.ground.results import digits, result
from hessian.compiled import compiled
from hessian.limits import BASIS_MEMORY
from hessian.models import partition
from hessian.numerics import curvature_rounding, divisor, length, unit
from hessian.precision import Tree, working, working_dtype
from hessian.product import Loss, Params, flat_product
from hessian.spectra import lanczos
from hessian.spectra.bounds import ends
from hessian.spectra.spectrum import rows_within

SHARES = (100, 10)  # of the lowest and the highest eigenvector before in the start, beside 1 of the random vector


@result
class Curvature(NamedTuple, Generic[Tree]):
    """The ends of the spectrum of the Hessian at one point."""

    lowest: jax.Array  # a Rayleigh quotient: the lowest eigenvalue is at most this
    highest: jax.Array  # the highest is at least this: the sharpness
    low: jax.Array  # the lowest eigenvalue is at least this, at the confidence
    high: jax.Array  # the highest is at most this, at the confidence
    residuals: jax.Array  # (2,), |H u - lambda u|: an eigenvalue lies that near to each end
    vectors: Tree  # like params behind an axis of 2: the eigenvectors, each of length 1
    num_matvecs: jax.Array  # products with the Hessian that it took

    def _words(self) -> str:
        lowest, highest = (digits(value) for value in (self.lowest, self.highest))
        return f"{lowest} >= {digits(self.low)} to {highest} <= {digits(self.high)}"


def curvature(
    loss: Loss,
    params: Tree,
    *args: Any,
    before: Curvature[Tree] | None = None,
    num_matvecs: int | None = None,
    tol: ArrayLike | None = None,
    confidence: ArrayLike = 0.99,
    key: jax.Array | None = None,
    memory: float = BASIS_MEMORY,
) -> Curvature[Tree]:
    """The lowest and the highest eigenvalue of the Hessian, from those at parameters nearby where they are given (S58).

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        params: pytree of n real floating values.
        *args: further arguments of the loss.
        before: the curvature at other parameters, as after the step before; the start leans towards its vectors.
        num_matvecs: products with the Hessian, at most, >= 6; by default 70, or 20 with `before` and no `tol`.
        tol: enough where both ends are known to tol times themselves, by r^2 / gap, > 0; by default never.
        confidence: that `low` and `high` hold, 0 < confidence < 1, for a random vector that is independent of `before`.
        key: of the random vector, by default `jax.random.key(0)`, or another one with `before`; take a fresh one at
            each point.
        memory: bytes of the basis.

    Returns:
        A `Curvature`.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError for products, confidence and memory out of range, and for
            vectors before that are not like params.

    >>> def loss(w):
    ...     return w[0] ** 2 - jnp.sum(w[1:] ** 2)
    >>> found = curvature(loss, jnp.zeros(5))
    >>> round(float(found.lowest), 4), round(float(found.highest), 4)
    (-2.0, 2.0)
    """
    loss, params, args, stored = working(loss, params, *args)
    theta = ravel_pytree(params)[0]
    usual = 70 if before is None or tol is not None else 20
    most = whole("num_matvecs", usual if num_matvecs is None else num_matvecs, 6)
    doubt, enough = 1 - number("confidence", confidence, "(0, 1)"), 0.0 if tol is None else number("tol", tol)
    start = key_or_default(key)
    rows = rows_within(memory, theta, most, least=min(theta.size, 4))
    if before is None:
        known = jnp.zeros((2, theta.size), theta.dtype)
    else:
        known = _like(before, theta, stored)
        start = start if key is not None else jax.random.fold_in(start, 1)
    found = _curvature(loss, params, args, known, start, doubt, enough, most, rows)
    return found._replace(vectors=stored(found.vectors))


def _like(before, theta, stored):
    """The vectors of a curvature, shape (2, n)."""
    if not isinstance(before, Curvature):
        msg = f"before must be a Curvature, as hessian.curvature returns it; got {shown(before)}"
        raise TypeError(msg)
    vectors = jax.vmap(lambda tree: ravel_pytree(tree)[0])(before.vectors)
    if vectors.shape != (2, theta.size):
        msg = f"before must be of parameters of {theta.size:,} values; got {vectors.shape[-1]:,}"
        raise ValueError(msg)
    return vectors.astype(stored.working)


@compiled(products=70, static_argnames=("loss", "rows"))
def _curvature(loss, params, args, before, key, doubt, tol, products, rows):
    theta, unravel = ravel_pytree(params)
    leaning = jnp.asarray(SHARES, theta.dtype) @ before
    krylov, found = lanczos.grow(
        flat_product(loss, params, *args),
        lanczos.begin(key, theta.size, rows, theta.dtype, leaning=leaning),
        jnp.asarray(products, jnp.int32),
        lambda _, found: jnp.all(_off(found) < tol * jnp.abs(found.values[_both(found)])),
    )
    low, high = ends(krylov, found, doubt, length(leaning))
    chosen = _both(found)
    with jax.default_matmul_precision("highest"):
        vectors = jax.vmap(unit)(found.vectors[:, chosen].T @ krylov.basis)
    lowest, highest = values = found.values[chosen]
    margin = curvature_rounding(values)
    return Curvature(
        lowest=lowest,
        highest=highest,
        low=low - margin,
        high=high + margin,
        residuals=found.residuals[chosen],
        vectors=jax.vmap(unravel)(vectors),
        num_matvecs=krylov.num_matvecs,
    )


def _both(found):
    """Where the lowest and the highest Ritz value stand."""
    return jnp.stack([jnp.int32(0), found.count - 1])


def _off(found):
    """How far both ends are off: r^2 / gap, with the gap between Ritz values, which can be too wide; r at most."""
    beside = jnp.clip(_both(found) + jnp.array([1, -1], jnp.int32), 0, len(found.values) - 1)
    gaps = jnp.abs(found.values[beside] - found.values[_both(found)])
    residuals = found.residuals[_both(found)]
    return jnp.minimum(residuals, residuals**2 / divisor(gaps))


# --------------------------------------------------------------------------------------------------- along a run


class Watched(NamedTuple):
    """What the next look needs."""

    vectors: jax.Array  # (2, n), the eigenvectors at the last look; zeros before the first


@dataclass(frozen=True, eq=False)
class CurvatureRecorder:
    """A recorder with a state of its own: `init(params)`, and (snapshot, state) -> (row, state)."""

    num_matvecs: int
    first: int
    tol: float
    confidence: float
    key: jax.Array
    trainable: Any

    def init(self, params: Params) -> Watched:
        params = partition(params, self.trainable)[0]
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        return Watched(jnp.zeros((2, size), working_dtype(params)))

    def __call__(self, snapshot: Any, state: Watched) -> tuple[dict[str, jax.Array], Watched]:
        loss, params, args, _ = working(snapshot.value_fn, snapshot.params, trainable=self.trainable)
        theta = ravel_pytree(params)[0]
        key, vectors = jax.random.fold_in(self.key, snapshot.count), state.vectors.astype(theta.dtype)
        products = jnp.where(jnp.any(state.vectors != 0), self.num_matvecs, self.first)
        rows = min(max(self.num_matvecs, self.first), theta.size)
        found = _curvature(loss, params, args, vectors, key, 1 - self.confidence, self.tol, products, rows)
        vectors = jax.vmap(lambda tree: ravel_pytree(tree)[0])(found.vectors)
        row = {name: value for name, value in found._asdict().items() if name != "vectors"}
        return row, Watched(vectors.astype(state.vectors.dtype))


def curvature_recorder(
    *,
    num_matvecs: int = 20,
    first: int = 70,
    tol: float | None = None,
    confidence: float = 0.99,
    key: jax.Array | None = None,
    trainable: Any = None,
) -> CurvatureRecorder:
    """A recorder of both ends of the spectrum, which goes on from the eigenvectors of the last recorded step.

    `gdlab.minimize(..., record={"curvature": curvature_recorder()}, every=10)` records the fields of a `Curvature`
    without its vectors; the sharpness is "highest", to be held against 2 / eta.

    Args:
        num_matvecs: products with the Hessian at each recorded step, at most, >= 6.
        first: at the first one, where nothing is known, >= 6.
        tol: enough where both ends are known to tol times themselves, by r^2 / gap, > 0; by default never.  With
            num_matvecs=70 it is reached in few products where the ends turn slowly, and in more where they do not.
        confidence: of the bounds `low` and `high` at each step, 0 < confidence < 1.
        key: of the random starts, `jax.random.key(0)` by default.
        trainable: of which arrays the block of the Hessian is looked at, a pytree of bools like params or a prefix of
            it, or a function of paths such as `lambda path: "bias" not in path`; by default the whole.

    Raises:
        ValueError: for products below 6, and for tol and confidence out of range.

    >>> recorder = curvature_recorder(num_matvecs=10)
    >>> recorder.init(jnp.zeros(3)).vectors.shape
    (2, 3)
    """
    number("confidence", confidence, "(0, 1)")
    number("tol", 1.0 if tol is None else tol)
    return CurvatureRecorder(
        num_matvecs=whole("num_matvecs", num_matvecs, 6),
        first=whole("first", first, 6),
        tol=0.0 if tol is None else float(tol),
        confidence=float(confidence),
        key=key_or_default(key),
        trainable=trainable,
    )
