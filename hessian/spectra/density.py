"""The density of the eigenvalues, and which fraction of them is positive, without the matrix.

    (1/n) sum_i delta(x - lambda_i)  =  E_q sum_j  (e_1.s_j)^2 delta(x - theta_j)      stochastic Lanczos quadrature

over random unit vectors q, with the Ritz values theta_j of Lanczos from q and the first entries of the eigenvectors s_j
of its small matrix (Golub & Welsch 1969; Ubaru, Chen & Saad 2017).  Each probe's weights sum to one, so the density
integrates to one whatever the number of probes; their scatter is its error.  A fraction of the eigenvalues has another
one: few nodes stand for many eigenvalues, and one beside x says only roughly how many lie on each side of it.

| function | what it returns |
|---|---|
| `density` | nodes and weights, with `pdf`, `cdf` and their standard errors |
| `density_recorder` | the same along a run, of the Hessian or of a block of it: for `record=` of `gdlab.minimize` |
| `minimum_ratio` | the fraction of positive eigenvalues, as an interval, and (+, 0, -) |
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from gdlab.ground.checks import key_or_default, whole
from gdlab.ground.results import digits, result
from hessian.arguments import tolerance
from hessian.compiled import compiled
from hessian.limits import BASIS_MEMORY, DENSE_SPECTRUM
from hessian.numerics import curvature_rounding
from hessian.precision import working
from hessian.product import Loss, Params, flat_product, matrix
from hessian.spectra import lanczos
from hessian.spectra.eigh import eigh
from hessian.spectra.spectrum import rows_within


@result
class Density(NamedTuple):
    """A density of eigenvalues: for each probe nodes and weights that sum to one."""

    nodes: jax.Array  # shape (probes, steps)
    weights: jax.Array  # shape (probes, steps), >= 0
    residuals: jax.Array  # shape (probes, steps): an eigenvalue lies that near to each node
    num_matvecs: jax.Array  # with the Hessian, used

    def _words(self) -> str:
        probes, steps = jnp.shape(self.nodes)
        mean, error = self.mean()
        return f"{probes} probes of {steps} steps, mean eigenvalue {digits(mean)} with standard error {digits(error)}"

    def pdf(self, x: ArrayLike, width: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """The density at x, each node a Gaussian of standard deviation `width` > 0, and its standard error.

        A width below the distance of two nodes shows the nodes.
        """
        distance = (jnp.asarray(x)[..., None, None] - self.nodes) / width
        bumps = jnp.exp(-(distance**2) / 2) / (width * jnp.sqrt(2 * jnp.pi))
        return _mean(jnp.sum(self.weights * bumps, axis=-1))

    def cdf(self, x: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """The fraction of eigenvalues <= x, and its error: the standard error, and what the nodes cannot place.

        A node stands for the eigenvalues in its cell, halfway to its neighbors, or nearer where its residual says so;
        where x lies in the cell, half of the node's weight may be on the other side.
        """
        at = jnp.asarray(x)[..., None, None]
        fraction, error = _mean(jnp.sum(self.weights * (self.nodes <= at), axis=-1))
        left, right = _halfway(self.nodes, jnp.inf)
        below, above = self.nodes - jnp.minimum(left, self.residuals), self.nodes + jnp.minimum(right, self.residuals)
        unplaced = jnp.sum(self.weights * ((below < at) & (at < above)), axis=-1) / 2
        return fraction, jnp.hypot(error, jnp.mean(unplaced, axis=-1))

    def mean(self) -> tuple[jax.Array, jax.Array]:
        """The mean eigenvalue, trace / n, and its standard error."""
        return _mean(jnp.sum(self.weights * self.nodes, axis=-1))


@result
class MinimumRatio(NamedTuple):
    """Fractions of eigenvalues with certain signs (S60); "positive" is what the lectures call the minimum ratio."""

    low: jax.Array  # those above the zero band
    high: jax.Array  # those above it or within
    positive: jax.Array  # above the band, as estimated
    zero: jax.Array  # within it
    negative: jax.Array  # below it
    error: jax.Array  # standard error of low and high: 0 where all eigenvalues were computed

    def _words(self) -> str:
        low, high = digits(self.low), digits(self.high)
        share = low if low == high else f"{low} to {high}"
        return f"{share} of the eigenvalues are positive, standard error {digits(self.error)}"


def density(
    loss: Loss,
    params: Params,
    *args: Any,
    probes: int = 8,
    steps: int = 80,
    key: jax.Array | None = None,
    memory: float = BASIS_MEMORY,
) -> Density:
    """The density of the Hessian's eigenvalues by stochastic Lanczos quadrature.

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        params: pytree of n real floating values.
        *args: further arguments of the loss.
        probes: random vectors, >= 1; the error falls with their root, and takes two to be known.
        steps: products for each, >= 1; never more than n.
        key: of the random vectors, `jax.random.key(0)` by default.
        memory: bytes of one probe's basis.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError for probes, steps and memory out of range.

    >>> found = density(lambda w: w[0] ** 2 + w[1] ** 2 - w[2] ** 2, jnp.zeros(3), probes=400)
    >>> fraction, error = found.cdf(0.0)
    >>> bool(abs(fraction - 1 / 3) < 4 * error)
    True
    """
    loss, params, args, _ = working(loss, params, *args)
    theta = ravel_pytree(params)[0]
    probes, steps = whole("probes", probes), whole("steps", steps)
    rows = rows_within(memory, theta, steps, least=min(steps, theta.size))
    return Density(*_quadrature(loss, params, args, key_or_default(key), probes, rows))


@compiled(static_argnames=("loss", "probes", "rows"))
def _quadrature(loss, params, args, key, probes, rows):
    """The fields of a `Density`."""
    theta = ravel_pytree(params)[0]
    product = flat_product(loss, params, *args)

    def probe(key):
        start = lanczos.begin(key, theta.size, rows, theta.dtype)
        krylov, found = lanczos.grow(product, start, rows, lambda *_: jnp.bool_(False))
        # After an invariant space a fresh vector opens another one: it has no part in the first vector, so weight 0.
        return found.values, found.vectors[0] ** 2, found.residuals, krylov.num_matvecs

    *of_probes, num_matvecs = jax.lax.map(probe, jax.random.split(key, probes))
    return *of_probes, jnp.sum(num_matvecs)


@dataclass(frozen=True, eq=False)
class DensityRecorder:
    """A recorder of the density: snapshot -> a `Density`."""

    probes: int
    steps: int
    key: jax.Array
    trainable: Any

    def __call__(self, snapshot: Any) -> Density:
        loss, params, args, _ = working(snapshot.value_fn, snapshot.params, trainable=self.trainable)
        rows = min(self.steps, ravel_pytree(params)[0].size)
        return Density(*_quadrature(loss, params, args, self.key, self.probes, rows))


def density_recorder(
    *, probes: int = 2, steps: int = 40, key: jax.Array | None = None, trainable: Any = None
) -> DensityRecorder:
    """A recorder of the density of the eigenvalues, or of those of a block of the Hessian.

    `gdlab.minimize(..., record={"density": density_recorder()}, every=100)` records a `Density` with an axis of steps
    in front, whose methods hold for each of them.  All steps see the same random vectors, so that they differ by what
    the Hessian does.

    Args:
        probes: random vectors, >= 1.
        steps: products for each, >= 1; never more than the block has rows.
        key: of the random vectors, `jax.random.key(0)` by default.
        trainable: of which arrays the block is looked at, as in `curvature_recorder`; by default the whole.

    Raises:
        ValueError: for probes and steps below 1.

    >>> density_recorder(steps=20).steps
    20
    """
    return DensityRecorder(whole("probes", probes), whole("steps", steps), key_or_default(key), trainable)


def minimum_ratio(
    loss: Loss,
    params: Params,
    *args: Any,
    curvature_tol: ArrayLike | None = None,
    probes: int = 8,
    steps: int = 80,
    key: jax.Array | None = None,
) -> MinimumRatio:
    """The fraction of positive eigenvalues between those above the zero band and those not below it (S60).

    Up to 1024 parameters all eigenvalues are counted.  Above, `density` weighs them: few quadrature nodes represent the
    eigenvalues near zero and their signs are unreliable, so the interval is widened by the weight of every node whose
    cell touches the zero band.

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        params: pytree of n real floating values.
        *args: further arguments of the loss.
        curvature_tol: half width of the zero band, >= 0; by default 50 eps |H|.
        probes: random vectors above 1024 parameters, as in `density`.
        steps: products for each.
        key: of the random vectors.

    >>> ratio = minimum_ratio(lambda w: w[0] ** 2 - w[1] ** 2 + 0 * w[2] + w[3] ** 2, jnp.zeros(4))
    >>> float(ratio.low), float(ratio.high), float(ratio.negative)
    (0.5, 0.75, 0.25)
    """
    loss, params, args, _ = working(loss, params, *args)
    tolerance("curvature_tol", curvature_tol)
    probes, steps, key = whole("probes", probes), whole("steps", steps), key_or_default(key)
    if ravel_pytree(params)[0].size <= DENSE_SPECTRUM:
        nodes = _eigenvalues(loss, params, args)[None]
        weights = jnp.full_like(nodes, 1 / nodes.size)
    else:
        nodes, weights, *_ = density(loss, params, *args, probes=probes, steps=steps, key=key)
    tau = curvature_rounding(nodes) if curvature_tol is None else jnp.asarray(curvature_tol, nodes.dtype)
    if len(nodes) > 1:
        # A node stands for the eigenvalues halfway to its neighbors: if its cell touches the band, its sign is unknown.
        left, right = _halfway(nodes, 0.0)
    else:
        left = right = jnp.zeros_like(nodes)
    above, below = nodes - left > tau, nodes + right < -tau
    positive, error = _mean(jnp.sum(weights * above, axis=1))
    negative, other = _mean(jnp.sum(weights * below, axis=1))
    return MinimumRatio(
        low=positive,
        high=1 - negative,
        positive=positive,
        zero=1 - positive - negative,
        negative=negative,
        error=jnp.maximum(error, other),
    )


def _halfway(nodes, beyond):
    """Half of the way from each node to its neighbors, on the left and on the right; `beyond` where there is none."""
    gaps, kept = jnp.diff(nodes) / 2, [(0, 0)] * (jnp.ndim(nodes) - 1)
    return tuple(jnp.pad(gaps, [*kept, side], constant_values=beyond) for side in ((1, 0), (0, 1)))


@compiled(static_argnames="loss")
def _eigenvalues(loss, params, args):
    return eigh(matrix(loss, params, *args))[0]


def _mean(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and standard error over the probes, the last axis; one exact probe, and one alone, have the error 0."""
    probes = values.shape[-1]
    scatter = jnp.std(values, axis=-1, ddof=1) if probes > 1 else jnp.zeros(values.shape[:-1], values.dtype)
    return jnp.mean(values, axis=-1), scatter / jnp.sqrt(probes)
