"""How often the lowest or the highest eigenvalue occurs: block Lanczos, which sees as many copies as its block is wide.

    H Q_j  =  Q_{j-1} B_{j-1}^T + Q_j A_j + Q_{j+1} B_j,      Q_1 a random block of b orthonormal columns

A single start vector has one component in the eigenspace of a repeated eigenvalue, so its Krylov space holds one copy
however long it grows; b starts hold b of them (Golub & Underwood 1977).  A copy counts where its Ritz pair has
converged; the count is settled where the next Ritz pair shows a different eigenvalue.
"""

from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from gdlab.ground.checks import choice, key_or_default, number, whole
from gdlab.ground.results import result
from hessian.limits import BASIS_MEMORY
from hessian.numerics import divisor
from hessian.precision import working
from hessian.product import Loss, Params, flat_product, matrix
from hessian.spectra.eigh import eigh
from hessian.spectra.lanczos import BREAKDOWN, Product
from hessian.spectra.spectrum import rows_within

EVERY = 4  # blocks between two looks, or a third of those behind if that is more


@result
class Multiplicity(NamedTuple):
    """How many copies of an extreme eigenvalue there are."""

    value: jax.Array  # the eigenvalue: the mean of its copies
    count: jax.Array  # type: ignore[assignment]  # copies that were found
    exact: jax.Array  # bool: there are no more; else the block was too narrow, or the products too few, to know
    spread: jax.Array  # between the copies
    gap: jax.Array  # from the copies to the next eigenvalue that was seen, 0 where none was
    num_matvecs: jax.Array  # products with the Hessian

    @property
    def words(self) -> str:
        """The count in words, for one point.  Not inside `jit`."""
        return f"{'' if self.exact else 'at least '}{int(self.count)} of {float(self.value):.6g}"

    def _words(self):
        return self.words


class _Look(NamedTuple):
    count: jax.Array  # type: ignore[assignment]
    exact: jax.Array
    settled: jax.Array  # bool: more products would show no more
    value: jax.Array
    spread: jax.Array
    gap: jax.Array


class _Blocks(NamedTuple):
    basis: jax.Array  # (rows, n), orthonormal
    matrix: jax.Array  # (rows, rows): basis @ H @ basis.T
    count: jax.Array  # type: ignore[assignment]  # blocks in use
    following: jax.Array  # (b, n), the block that comes next
    coupling: jax.Array  # (b, b), what ties it to the last one
    key: jax.Array


def multiplicity(
    loss: Loss,
    params: Params,
    *args: Any,
    which: Literal["lowest", "highest"] = "lowest",
    block: int = 4,
    tol: ArrayLike | None = None,
    key: jax.Array | None = None,
    num_matvecs: int = 400,
    memory: float = BASIS_MEMORY,
) -> Multiplicity:
    """How often the lowest or highest eigenvalue of the Hessian occurs, without the matrix (Golub & Underwood 1977).

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        params: pytree of n real floating values.
        *args: further arguments of the loss.
        which: "lowest" or "highest".
        block: the width of the block, from 1 to n: up to so many copies are seen.
        tol: eigenvalues within tol |H| are copies, > 0; by default eps^(1/2).
        key: of the random block, `jax.random.key(0)` by default.
        num_matvecs: how many products with H it may take, at least 2 blocks.
        memory: bytes of the basis.

    Returns:
        A `Multiplicity`.  Up to `num_matvecs` parameters the matrix itself is taken, and the count is exact.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError for which, block, products and memory out of range.

    >>> found = multiplicity(lambda w: w @ w - 2 * jnp.sum(w[:3] ** 2), jnp.zeros(9))
    >>> found.words
    '3 of -2'
    """
    loss, params, args, _ = working(loss, params, *args)
    theta = ravel_pytree(params)[0]
    choice("which", which, ("lowest", "highest"))
    block = whole("block", block, 1, theta.size)
    num_matvecs, start = whole("num_matvecs", num_matvecs, min(2 * block, theta.size)), key_or_default(key)
    rows = rows_within(memory, theta, num_matvecs, least=min(2 * block, theta.size))
    tolerance = jnp.finfo(theta.dtype).eps ** 0.5 if tol is None else number("tol", tol)
    return _multiplicity(loss, params, args, tolerance, start, which, block, rows // block, theta.size <= num_matvecs)


@partial(jax.jit, static_argnames=("loss", "which", "block", "blocks", "dense"))
def _multiplicity(loss, params, args, tol, key, which, block, blocks, dense):
    theta = ravel_pytree(params)[0]
    tol, sign = jnp.asarray(tol, theta.dtype), 1 if which == "lowest" else -1
    if dense:
        values = jnp.sort(sign * eigh(matrix(loss, params, *args))[0])
        look = _copies(values, jnp.zeros_like(values), theta.size, theta.size + 1, tol)
        return _named(look, sign, jnp.int32(theta.size))
    hessian = flat_product(loss, params, *args)
    state, look = _grown(lambda v: sign * hessian(v), key, theta, block, blocks, tol)
    return _named(look, sign, state.count * block)


def _named(look, sign, num_matvecs):
    return Multiplicity(
        value=sign * look.value,
        count=look.count,
        exact=look.exact,
        spread=look.spread,
        gap=look.gap,
        num_matvecs=num_matvecs,
    )


def _grown(product: Product, key: jax.Array, theta: jax.Array, block: int, blocks: int, tol: jax.Array) -> Any:
    """The basis after as many blocks as it takes, and what it says of the lowest eigenvalue."""
    rows, n = block * blocks, theta.size
    key, start = jax.random.split(key)
    first = jnp.linalg.qr(jax.random.normal(start, (n, block), theta.dtype))[0].T
    nothing = jnp.zeros((rows, n), theta.dtype), jnp.zeros((rows, rows), theta.dtype), jnp.int32(0)
    state = _Blocks(*nothing, first, jnp.zeros((block, block), theta.dtype), key)

    def extend(carry):
        state, _ = carry
        steps = jnp.minimum(jnp.maximum(EVERY, state.count // 3), blocks - state.count)
        state = jax.lax.fori_loop(0, steps, lambda _, s: _step(product, s), state)
        return state, _look(state, block, tol)

    def going(carry):
        state, look = carry
        return ~look.settled & (state.count < blocks)

    zero, no = jnp.zeros((), theta.dtype), jnp.bool_(False)
    return jax.lax.while_loop(
        going, extend, (state, _Look(count=jnp.int32(0), exact=no, settled=no, value=zero, spread=zero, gap=zero))
    )


def _step(product: Product, state: _Blocks) -> _Blocks:
    """One more block, and its products."""
    block, n = state.following.shape
    here, zero = state.count * block, jnp.int32(0)
    with jax.default_matmul_precision("highest"):
        basis = jax.lax.dynamic_update_slice(state.basis, state.following, (here, zero))
        images = jax.lax.map(product, state.following)
        inner = basis @ images.T  # (rows, b): exact couplings to all that came before, up to rounding
        small = jax.lax.dynamic_update_slice(state.matrix, inner, (zero, here))
        small = jax.lax.dynamic_update_slice(small, inner.T, (here, zero))
        left = images - inner.T @ basis
        left -= (left @ basis.T) @ basis
        q, r = jnp.linalg.qr(left.T)
        u, sizes, v = jnp.linalg.svd(r)
        directions = (q @ u).T  # (b, n), the largest remainder first
        spectral_norm = jnp.max(jnp.abs(small))
        lost = ~(sizes > BREAKDOWN * jnp.finfo(left.dtype).eps * jnp.maximum(spectral_norm, sizes[0]))
        key, fresh = jax.random.split(state.key)
        random = jax.random.normal(fresh, (block, n), left.dtype)
        following = jnp.where(lost[:, None], random, directions)
        for _ in range(2):
            following = following - (following @ basis.T) @ basis
            q, r = jnp.linalg.qr(following.T)
            following = (q * jnp.where(jnp.diag(r) < 0, -1, 1)).T
        coupling = jnp.where(lost[:, None], 0, sizes[:, None] * v)
    return _Blocks(basis=basis, matrix=small, count=state.count + 1, following=following, coupling=coupling, key=key)


def _look(state, block, tol):
    """What the basis says."""
    rows, count = len(state.matrix), state.count * block
    used = jnp.arange(rows, dtype=jnp.int32) < count
    small = jnp.where(used[None] & used[:, None], state.matrix, 0)
    beyond = 1.1 * jnp.max(jnp.sum(jnp.abs(small), axis=1))
    values, vectors = eigh((small + small.T) / 2 + jnp.diag(jnp.where(used, 0, divisor(beyond))))
    last = jax.lax.dynamic_slice(vectors, (count - block, jnp.int32(0)), (block, rows))
    residuals = jnp.linalg.norm(state.coupling @ last, axis=0)
    return _copies(values, residuals, count, block, tol)


def _copies(values, residuals, used, block, tol):
    """The copies among the first `used` values, ascending, with residuals, that a block of this width can see."""
    places = jnp.arange(len(values), dtype=jnp.int32)
    near = tol * jnp.maximum(jnp.abs(values[0]), jnp.max(jnp.where(places < used, jnp.abs(values), 0)))
    beside = (values - values[0] <= near) & (places < used)
    candidates = jnp.sum(beside, dtype=jnp.int32)
    count = jnp.minimum(jnp.sum(beside & (residuals <= near), dtype=jnp.int32), block)
    # The next Ritz pair shows another eigenvalue where it lies far from the copies, beside what it may be off.
    following = jnp.minimum(candidates, len(values) - 1)
    gap = jnp.where(candidates < used, values[following] - values[0], 0)
    apart = (gap > near) & (residuals[following] < gap / 2) | (candidates == used) & jnp.all(residuals == 0)
    exact = (count == candidates) & (count < block) & apart
    spread = jnp.max(jnp.where(beside, values - values[0], 0))
    mean = values[0] + jnp.sum(jnp.where(beside, values - values[0], 0)) / divisor(candidates.astype(values.dtype))
    return _Look(count=count, exact=exact, settled=exact | (count == block), value=mean, spread=spread, gap=gap)
