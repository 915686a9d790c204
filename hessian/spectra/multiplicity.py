"""How often the lowest or the highest eigenvalue occurs: block Lanczos, which sees as many copies as its block is wide.

    H Q_j  =  Q_{j-1} B_{j-1}^T + Q_j A_j + Q_{j+1} B_j,      Q_1 a random block of b orthonormal columns

A single start vector has one component in the eigenspace of a repeated eigenvalue, so its Krylov space holds one copy
however long it grows; b starts hold b of them (Golub & Underwood 1977).  The count is settled where the next Ritz pair
shows a different eigenvalue, at a gap, and the copies have converged beside it: a Ritz value is off by r^2 / gap, where
its vector leaves a residual r (Temple 1928).  One start more than copies are asked for: of b random vectors b
components of one eigenspace can be nearly dependent, of b + 1 hardly ever, and a missed copy would be a wrong count.

A basis that outgrows its rows goes on from its lowest Ritz vectors (Wu & Simon 2000).
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
ROWS = 256  # of the basis between two restarts, or so many blocks if that is more:
BLOCKS = 24
BLOCK = 4  # by default
AT_ONCE = 400  # parameters up to which the matrix is cheaper than a basis
AT_LAST = 2048  # and up to which it is what settles the count where blocks do not


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
    num_matvecs: jax.Array


def multiplicity(
    loss: Loss,
    params: Params,
    *args: Any,
    which: Literal["lowest", "highest"] = "lowest",
    block: int | None = None,
    tol: ArrayLike | None = None,
    key: jax.Array | None = None,
    num_matvecs: int | None = None,
    memory: float = BASIS_MEMORY,
) -> Multiplicity:
    """How often the lowest or highest eigenvalue of the Hessian occurs, without the matrix (Golub & Underwood 1977).

    Args:
        loss: `loss(params, *args) -> scalar`, twice differentiable.
        params: pytree of n real floating values.
        *args: further arguments of the loss.
        which: "lowest" or "highest".
        block: from 1 to n: up to so many copies are counted, exactly where there are fewer; by default 4, or n below.
        tol: eigenvalues within tol |H| are copies, > 0; by default eps^(1/2).
        key: of the random block, `jax.random.key(0)` by default.
        num_matvecs: how many products with H it may take, at least 2 (block + 1); by default 2 n up to 2,048
            parameters, and 400 beyond.  Where n of them are left, the matrix settles what blocks did not.
        memory: bytes of the basis.

    Returns:
        A `Multiplicity`.  Up to 400 parameters the matrix itself is taken, and the count is exact whatever the block.

    Raises:
        TypeError, ValueError: as `hessian.hvp`; ValueError for which, block, products and memory out of range.

    >>> found = multiplicity(lambda w: w @ w - 2 * jnp.sum(w[:3] ** 2), jnp.zeros(9))
    >>> found.words
    '3 of -2'
    """
    loss, params, args, _ = working(loss, params, *args)
    theta = ravel_pytree(params)[0]
    choice("which", which, ("lowest", "highest"))
    block = whole("block", min(BLOCK, theta.size) if block is None else block, 1, theta.size)
    n, width = theta.size, min(block + 1, theta.size)
    usual = 2 * n if n <= AT_LAST else AT_ONCE
    most = whole("num_matvecs", usual if num_matvecs is None else num_matvecs, min(2 * width, n))
    start, dense = key_or_default(key), n <= most
    blocks = 0 if dense and (n <= AT_ONCE or most - n < 2 * width) else (most - n * dense) // width
    rows = rows_within(memory, theta, width * min(blocks, max(BLOCKS, ROWS // width)), least=min(2 * width, n))
    tolerance = jnp.finfo(theta.dtype).eps ** 0.5 if tol is None else number("tol", tol)
    return _multiplicity(loss, params, args, tolerance, start, blocks, which, block, rows // width, dense)


@partial(jax.jit, static_argnames=("loss", "which", "block", "rows", "dense"))
def _multiplicity(loss, params, args, tol, key, most, which, block, rows, dense):
    """Blocks of products, as many as `most`, in a basis of as many as `rows`, then the matrix, where it is allowed."""
    theta = ravel_pytree(params)[0]
    tol, sign = jnp.asarray(tol, theta.dtype), 1 if which == "lowest" else -1

    def of_matrix(block):
        values = jnp.sort(sign * eigh(matrix(loss, params, *args))[0])
        return _copies(values, jnp.zeros_like(values), theta.size, block, tol)

    if not rows:
        return _named(of_matrix(theta.size + 1), sign, jnp.int32(theta.size))
    hessian = flat_product(loss, params, *args)
    state, look = _grown(lambda v: sign * hessian(v), key, theta, block, rows, most, tol)
    if not dense:
        return _named(look, sign, state.num_matvecs)
    last = jax.lax.cond(look.settled, lambda: look, lambda: of_matrix(block))
    return _named(last, sign, state.num_matvecs + jnp.where(look.settled, 0, theta.size))


def _named(look, sign, num_matvecs):
    return Multiplicity(
        value=sign * look.value,
        count=look.count,
        exact=look.exact,
        spread=look.spread,
        gap=look.gap,
        num_matvecs=num_matvecs,
    )


def _grown(
    product: Product, key: jax.Array, theta: jax.Array, block: int, blocks: int, most: jax.Array, tol: jax.Array
) -> tuple[_Blocks, _Look]:
    """The basis after as many blocks as it takes, at most so many, and what it says of the lowest eigenvalue."""
    n, width = theta.size, min(block + 1, theta.size)
    rows = width * blocks
    key, start = jax.random.split(key)
    first = jnp.linalg.qr(jax.random.normal(start, (n, width), theta.dtype))[0].T
    nothing = jnp.zeros((rows, n), theta.dtype), jnp.zeros((rows, rows), theta.dtype), jnp.int32(0)
    state = _Blocks(*nothing, first, jnp.zeros((width, width), theta.dtype), key, jnp.int32(0))

    def extend(carry):
        state, _ = carry
        steps = jnp.minimum(jnp.maximum(EVERY, state.count // 3), blocks - state.count)
        steps = jnp.minimum(steps, most - state.num_matvecs // width)
        state = jax.lax.fori_loop(0, steps, lambda _, s: _step(product, s), state)
        values, vectors, residuals = _ritz(state)
        look = _copies(values, residuals, state.count * width, block, tol)
        again = ~look.settled & (state.count == blocks)
        return jax.lax.cond(again, lambda: _restarted(state, values, vectors), lambda: state), look

    def going(carry):
        state, look = carry
        return ~look.settled & (state.num_matvecs // width < most)

    zero, no = jnp.zeros((), theta.dtype), jnp.bool_(False)
    return jax.lax.while_loop(
        going, extend, (state, _Look(count=jnp.int32(0), exact=no, settled=no, value=zero, spread=zero, gap=zero))
    )


def _restarted(state: _Blocks, values: jax.Array, vectors: jax.Array) -> _Blocks:
    """The basis of the lowest third of the Ritz vectors, or of one block; what comes next goes on from there."""
    width, rows = len(state.following), len(values)
    blocks = max(rows // width // 3, 1)
    kept = blocks * width
    with jax.default_matmul_precision("highest"):
        basis = jnp.zeros_like(state.basis).at[:kept].set(vectors[:, :kept].T @ state.basis)
    small = jnp.diag(jnp.where(jnp.arange(rows, dtype=jnp.int32) < kept, values, 0))
    return state._replace(basis=basis, matrix=small, count=jnp.int32(blocks))


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
    return _Blocks(
        basis=basis,
        matrix=small,
        count=state.count + 1,
        following=following,
        coupling=coupling,
        key=key,
        num_matvecs=state.num_matvecs + block,
    )


def _ritz(state):
    """Eigenpairs of the matrix in the basis, ascending, and the residual of each; rows not in use come last."""
    width, rows = len(state.following), len(state.matrix)
    count = state.count * width
    used = jnp.arange(rows, dtype=jnp.int32) < count
    small = jnp.where(used[None] & used[:, None], state.matrix, 0)
    beyond = 1.1 * jnp.max(jnp.sum(jnp.abs(small), axis=1))
    values, vectors = eigh((small + small.T) / 2 + jnp.diag(jnp.where(used, 0, divisor(beyond))))
    last = jax.lax.dynamic_slice(vectors, (count - width, jnp.int32(0)), (width, rows))
    return values, vectors, jnp.linalg.norm(state.coupling @ last, axis=0)


def _copies(values, residuals, used, block, tol):
    """The copies among the first `used` values, ascending, with residuals: as many as this block may count."""
    places = jnp.arange(len(values), dtype=jnp.int32)
    near = tol * jnp.maximum(jnp.abs(values[0]), jnp.max(jnp.where(places < used, jnp.abs(values), 0)))
    beside = (values - values[0] <= near) & (places < used)
    candidates = jnp.sum(beside, dtype=jnp.int32)
    # The next Ritz pair shows another eigenvalue where it lies far from the copies, beside what it may be off.
    following = jnp.minimum(candidates, len(values) - 1)
    gap = jnp.where(candidates < used, values[following] - values[0], 0)
    apart = (gap > near) & (residuals[following] < gap / 2) | (candidates == used) & jnp.all(residuals == 0)
    # A value is off by its residual at most, and beside a gap by residual^2 / gap.
    off = jnp.where(apart & (gap > 0), jnp.minimum(residuals, 2 * residuals**2 / divisor(gap)), residuals)
    converged = beside & (off <= near)
    count = jnp.minimum(jnp.sum(converged, dtype=jnp.int32), block)
    exact = (count == candidates) & (count < block) & apart
    spread = jnp.max(jnp.where(beside, values - values[0], 0))
    mean = values[0] + jnp.sum(jnp.where(beside, values - values[0], 0)) / divisor(candidates.astype(values.dtype))
    return _Look(count=count, exact=exact, settled=exact | (count == block), value=mean, spread=spread, gap=gap)
