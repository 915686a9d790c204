"""Eigenvalues and eigenvectors of the Hessian: what the surface is like where theta stands.

    H u_i = lambda_i u_i,   lambda_1 <= ... <= lambda_n                        (S55)

| function | what it returns | products |
|---|---|---|
| `spectrum` | all of them, from the dense matrix | n |
| `extremal` | those at the ends, without the matrix | tens to hundreds, whatever n |
| `inertia` | how many lie above, within and below a band around zero | none: from the eigenvalues |
| `condition_number` | largest over smallest absolute eigenvalue | none: from the eigenvalues |
"""

from typing import Any, Generic, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from gdlab.ground.checks import choice, key_or_default, number, whole
from gdlab.ground.results import digits, result
from hessian.compiled import compiled
from hessian.limits import BASIS_MEMORY, MATRIX_MEMORY
from hessian.numerics import curvature_rounding, length, unit
from hessian.precision import Tree, working, working_dtype
from hessian.product import Loss, flat_product, matrix
from hessian.spectra import lanczos
from hessian.spectra.eigh import eigh

COPIES = 8  # a dense spectrum takes at most this many times the memory of the matrix
Which = Literal["lowest", "highest", "both"]


@result
class Spectrum(NamedTuple, Generic[Tree]):
    """Eigenvalues in ascending order, their eigenvectors, and how well they are known."""

    eigenvalues: jax.Array  # shape (k,), ascending
    eigenvectors: Tree  # like params with a leading axis of k; each of length 1 over all leaves together
    residuals: jax.Array  # shape (k,), |H u - lambda u|: some eigenvalue is no further than this from lambda
    num_matvecs: jax.Array  # how many products with H it took

    def _words(self) -> str:
        ends = f"{jnp.shape(self.eigenvalues)[-1]} eigenvalues from {digits(jnp.min(self.eigenvalues))}"
        return f"{ends} to {digits(jnp.max(self.eigenvalues))}, residuals at most {digits(jnp.max(self.residuals))}"


@result
class Inertia(NamedTuple):
    """How many eigenvalues lie above, within and below the zero band: integers that sum to n."""

    positive: jax.Array  # above the band
    zero: jax.Array  # within it
    negative: jax.Array  # below it

    def _words(self) -> str:
        return f"{digits(self.positive)} positive, {digits(self.zero)} zero, {digits(self.negative)} negative"


def spectrum(loss: Loss, params: Tree, *args: Any, chunk: int = 64, memory: float = MATRIX_MEMORY) -> Spectrum[Tree]:
    """All eigenvalues and eigenvectors of the Hessian of the loss at params (S52, S55, S56).

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        params: pytree of n real floating values; the whole takes at most the memory of 8 n^2 of them.
        *args: further arguments of the loss.
        chunk: how many products are made at once, >= 1; more is faster and takes their memory.
        memory: bytes that it may take, 8 GiB by default.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError where it would take more memory than allowed.

    >>> found = spectrum(lambda w: (1 - w[0] * w[1]) ** 2, jnp.zeros(2))
    >>> found.eigenvalues.tolist()
    [-2.0, 2.0]
    """
    loss, params, args, stored = working(loss, params, *args)
    chunk = whole("chunk", chunk)
    theta, unravel = ravel_pytree(params)
    fits(theta, memory)
    eigenvalues, basis, residuals = _spectrum(loss, params, args, chunk)
    return Spectrum(eigenvalues, stored(jax.vmap(unravel, in_axes=1)(basis)), residuals, jnp.int32(theta.size))


@compiled(static_argnames=("loss", "chunk"))
def _spectrum(loss, params, args, chunk):
    """Eigenvalues, a column per eigenvector, and residuals."""
    dense = matrix(loss, params, *args, chunk=chunk)
    eigenvalues, basis = eigh(dense)
    with jax.default_matmul_precision("highest"):
        return eigenvalues, basis, jnp.linalg.norm(dense @ basis - basis * eigenvalues[None], axis=0)


def extremal(
    loss: Loss,
    params: Tree,
    *args: Any,
    k: int = 1,
    which: Which = "lowest",
    tol: ArrayLike | None = None,
    key: jax.Array | None = None,
    num_matvecs: int = 200,
    memory: float = BASIS_MEMORY,
) -> Spectrum[Tree]:
    """The k lowest or highest eigenpairs of the Hessian, or both, without the matrix (S58; Lanczos 1950).

    Differentiable: the derivative of an eigenvalue is that of u^T H u at a fixed eigenvector.

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        params: pytree of n real floating values.
        *args: further arguments of the loss.
        k: how many at an end, from 1 to n.
        which: "lowest", "highest" or "both" ends, then 2k pairs in ascending order.
        tol: enough where each residual |H u - lambda u| <= tol |H|, > 0; by default eps^(2/3).
        key: of the random start, `jax.random.key(0)` by default.
        num_matvecs: how many products with H it may take, at least 2k + 1.
        memory: bytes of the basis, 2 GiB by default; more products than fit are made by restarting.

    Returns:
        A `Spectrum`; its residuals say how far each eigenvalue was reached.  One start vector sees one copy of a
        repeated eigenvalue until its space is exhausted, so further copies may be missing.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError for k, which, products and memory out of range.

    >>> found = extremal(lambda w: w[0] ** 2 - jnp.sum(w[1:] ** 2), jnp.zeros(5))
    >>> round(float(found.eigenvalues[0]), 4)
    -2.0
    """
    loss, params, args, stored = working(loss, params, *args)
    theta, unravel = ravel_pytree(params)
    n = theta.size
    pairs = _pairs(k, which, n)
    num_matvecs, start = whole("num_matvecs", num_matvecs), key_or_default(key)
    if num_matvecs < 2 * pairs + 1 and num_matvecs < n + pairs:
        msg = f"num_matvecs must be at least {2 * pairs + 1} for {pairs} eigenpairs; got {num_matvecs}"
        raise ValueError(msg)
    rows = rows_within(memory, theta, num_matvecs - pairs, least=min(n, 2 * pairs + 4))
    tolerance = jnp.finfo(theta.dtype).eps ** (2 / 3) if tol is None else number("tol", tol)
    values, vectors, residuals, used = _extremal(loss, params, args, tolerance, start, k, which, num_matvecs, rows)
    return Spectrum(values, stored(jax.vmap(unravel)(vectors)), residuals, used)


@compiled(products=100, static_argnames=("loss", "k", "which", "num_matvecs", "rows"))
def _extremal(loss, params, args, tol, key, k, which, num_matvecs, rows):
    """Eigenvalues, a row per eigenvector, residuals, and the products used."""
    theta = ravel_pytree(params)[0]
    lowest, highest = (0 if which == "highest" else k), (0 if which == "lowest" else k)
    pairs = lowest + highest
    kept = max(pairs, min(rows // 2, rows - 2))
    kept_lowest = {"lowest": kept, "highest": 0, "both": kept - kept // 2}[which]

    def ends(found, of_lowest, of_highest):
        return jnp.concatenate(
            [jnp.arange(of_lowest, dtype=jnp.int32), found.count - 1 - jnp.arange(of_highest, dtype=jnp.int32)[::-1]]
        )

    def enough(_, found):
        worst = jnp.max(found.residuals[ends(found, lowest, highest)])
        return (found.count >= pairs) & (worst <= tol * found.spectral_norm)

    fixed_params, fixed_args = frozen((params, args))
    krylov, found = lanczos.grow(
        flat_product(loss, fixed_params, *fixed_args),
        lanczos.begin(key, theta.size, rows, theta.dtype),
        num_matvecs - pairs,
        enough,
        None if rows >= min(theta.size, num_matvecs - pairs) else lambda r: ends(r, kept_lowest, kept - kept_lowest),
    )
    with jax.default_matmul_precision("highest"):
        vectors = found.vectors[:, ends(found, lowest, highest)].T @ krylov.basis
    vectors = jax.vmap(unit)(vectors)
    images = jax.lax.map(flat_product(loss, params, *args), vectors)
    values = jnp.sum(vectors * images, axis=1)
    order = jnp.argsort(values)
    residuals = jax.vmap(length)(images - values[:, None] * vectors)
    return values[order], vectors[order], residuals[order], krylov.num_matvecs + pairs


def inertia(eigenvalues: jax.Array, curvature_tol: ArrayLike | None = None) -> Inertia:
    """How many eigenvalues, shape (n,), lie above, within and below [-curvature_tol, curvature_tol].

    The band is 50 eps times the largest absolute eigenvalue by default.

    >>> [int(count) for count in inertia(jnp.array([-2.0, 0.0, 1e-30, 2.0]))]
    [1, 2, 1]
    """
    eigenvalues = _numbers(eigenvalues)
    tau = (
        curvature_rounding(eigenvalues) if curvature_tol is None else number("curvature_tol", curvature_tol, "[0, inf)")
    )
    positive, negative = (jnp.sum(side > tau, dtype=jnp.int32) for side in (eigenvalues, -eigenvalues))
    return Inertia(positive, eigenvalues.size - positive - negative, negative)


def condition_number(eigenvalues: jax.Array) -> jax.Array:
    """Largest over smallest absolute eigenvalue; infinite where the smallest lies within rounding of zero.

    >>> float(condition_number(jnp.array([-2.0, 0.5])))
    4.0
    """
    eigenvalues = _numbers(eigenvalues)
    sizes = jnp.abs(eigenvalues)
    smallest = jnp.min(sizes)
    seen = smallest > curvature_rounding(eigenvalues)
    return jnp.where(seen, jnp.max(sizes) / jnp.where(seen, smallest, 1), jnp.inf)


def _numbers(eigenvalues):
    """Eigenvalues as a floating array of at least one."""
    array = jnp.asarray(number("eigenvalues", eigenvalues))
    if array.ndim == 0 or array.size == 0:
        msg = f"eigenvalues must be an array of at least one number; got shape {array.shape}"
        raise ValueError(msg)
    return array.astype(working_dtype(array) if jnp.issubdtype(array.dtype, jnp.floating) else float)


def fits(theta: jax.Array, memory: float) -> None:
    """Raise where the dense spectrum of so many parameters would take more bytes than allowed."""
    number("memory", memory)
    needed = COPIES * theta.size**2 * theta.dtype.itemsize
    if needed > memory:
        msg = (
            f"params holds {theta.size:,} values, whose dense Hessian with its eigenvectors takes {needed / 2**30:,.1f}"
            f" GiB where memory allows {memory / 2**30:,.1f}; raise memory, or call hessian.extremal or"
            " hessian.classify(method='lanczos'), which need no matrix"
        )
        raise ValueError(msg)


def rows_within(memory: float, theta: jax.Array, most: int, least: int) -> int:
    """How many vectors like theta a basis may hold: as many as fit in memory, at most `most` and n."""
    number("memory", memory)
    rows = min(int(memory // (theta.size * theta.dtype.itemsize)), most, theta.size)
    if rows < min(least, most, theta.size):
        needed = least * theta.size * theta.dtype.itemsize
        msg = f"memory must be at least {needed:,} bytes for a basis of {least} vectors; got {int(memory):,}"
        raise ValueError(msg)
    return rows


def frozen(tree: Any) -> Any:
    """The same values, with a derivative of zero."""
    return jax.tree.map(lambda x: jax.lax.stop_gradient(x) if isinstance(x, jax.Array) else x, tree)


def _pairs(k: int, which: str, n: int) -> int:
    """How many eigenpairs are asked for."""
    choice("which", which, ("lowest", "highest", "both"))
    k = whole("k", k, 1, n)
    return 2 * k if which == "both" else k
