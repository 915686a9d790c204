"""Copies of an extreme eigenvalue are counted: exactly below the block's width, from below beyond it."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hessian
from gdlab.problems import linear_autoencoder
from hessian.spectra.multiplicity import _Blocks, _copies, _restarted, _ritz, _step

pytestmark = pytest.mark.full
N, STARTS = 120, 20


def quadratic(w, a):
    return w @ (a @ w) / 2


def planted(copies):
    """A matrix whose lowest eigenvalue -1 occurs so often, with its neighbor at -0.8."""
    rng = np.random.default_rng(copies)
    basis = np.linalg.qr(rng.normal(size=(N, N)))[0]
    values = np.concatenate([np.full(copies, -1.0), [-0.8], rng.uniform(-0.7, 2, N - copies - 1)])
    a = (basis * values) @ basis.T
    return jnp.asarray((a + a.T) / 2)


@functools.cache
def counted(block):
    def count(key, a):
        return hessian.multiplicity(quadratic, jnp.zeros(N), a, block=block, key=key, num_matvecs=N - 4)

    keys = jax.random.split(jax.random.key(0), STARTS)
    return functools.partial(jax.jit(jax.vmap(count, in_axes=(0, None))), keys)


@pytest.mark.parametrize("copies", [1, 2, 3, 4, 7])
def test_copies_are_counted_exactly_below_the_width_of_the_block_and_from_below_beyond(copies):
    found = counted(4)(planted(copies))
    np.testing.assert_array_equal(found.count, min(copies, 4))
    np.testing.assert_array_equal(found.exact, copies < 4)
    np.testing.assert_allclose(found.value, -1, atol=1e-7)
    np.testing.assert_allclose(found.gap[found.exact], 0.2, atol=1e-2)
    assert (found.spread < 1e-7).all()


def test_few_parameters_and_the_highest_end_are_counted_on_the_matrix():
    a = jnp.diag(jnp.array([1.0, 5, 5, 5, 5, 5, -2, -2]))
    found = hessian.multiplicity(quadratic, jnp.zeros(8), a, which="highest", block=2)
    assert (found.words, int(found.num_matvecs)) == ("5 of 5", 8)
    assert hessian.multiplicity(quadratic, jnp.zeros(8), a, block=1).words == "2 of -2"
    assert hessian.multiplicity(quadratic, jnp.zeros(8), 0 * a).words == "8 of 0"
    origin = hessian.multiplicity(linear_autoencoder, jnp.zeros(24))
    values = np.linalg.eigvalsh(jax.jit(jax.hessian(linear_autoencoder))(jnp.zeros(24)))
    assert int(origin.count) == np.sum(values - values[0] < 1e-9)


def test_too_few_products_say_at_least_and_an_invariant_space_is_left():
    found = hessian.multiplicity(quadratic, jnp.zeros(N), planted(3), block=4, num_matvecs=12)
    assert not found.exact
    flat = jnp.eye(N).at[:3, :3].multiply(-1)  # two eigenvalues: two blocks span what a block can reach
    found = hessian.multiplicity(quadratic, jnp.zeros(N), flat, block=4, num_matvecs=40)
    assert found.words == "3 of -1"


def test_a_small_basis_is_restarted_and_the_matrix_settles_what_blocks_do_not():
    values = jnp.asarray(np.concatenate([np.full(3, -1.0), np.random.default_rng(0).uniform(-0.98, 2, 447)]))
    count = functools.partial(hessian.multiplicity, lambda w, d: jnp.sum(d * w * w) / 2, jnp.zeros(450), values)
    restarted, few = count(memory=40 * 450 * 8), count(num_matvecs=462)
    assert restarted.words == few.words == "3 of -1"
    assert 40 < restarted.num_matvecs <= 450
    assert few.num_matvecs == 460
    assert count(block=2, num_matvecs=456).words == "at least 2 of -1"
    assert not count(num_matvecs=449, memory=10 * 450 * 8).exact


def test_copies_are_the_near_ones_that_converged_and_all_of_them_where_the_next_value_is_seen_apart():
    # of |H| = 4 a share of 1/4: values up to -1 are copies of -2; the next lies 3 away, the last is not in use
    def look(copy=0.0, following=0.0, block=3, values=(-2.0, -1.0, 1.0, 4.0, 9.0), used=4, tol=0.25):
        residuals = jnp.array([0.0, copy, following, 7.0, 7.0])
        return _copies(jnp.asarray(values), residuals, used, block, tol)

    for found, count, exact, settled in (
        (look(), 2, True, True),
        (look(following=1.49), 2, True, True),  # off by less than half of the gap
        (look(following=1.5), 2, False, False),
        (look(copy=1.22), 2, True, True),  # 2 r^2 / gap = 0.992
        (look(copy=1.23), 1, False, False),
        (look(copy=0.99, following=1.5), 2, False, False),  # r itself where the gap is not known
        (look(copy=1.01, following=1.5), 1, False, False),
        (look(block=2), 2, False, True),
        (look(block=1), 1, False, True),
    ):
        assert (int(found.count), bool(found.exact), bool(found.settled)) == (count, exact, settled)
        np.testing.assert_allclose([found.value, found.spread, found.gap], [-1.5, 1, 3])
    three = look(values=(-2.0, -1.0, -0.9, 4.0, 9.0))
    np.testing.assert_allclose([three.value, three.spread, three.gap], [-1.5, 1, 1.1])
    assert bool(three.exact)
    nothing = look(values=(1.0, 1.5, 2.0, 4.0, 9.0), used=3, tol=0.5)  # all that is in use is one value
    np.testing.assert_allclose([nothing.value, nothing.spread, nothing.gap], [1.5, 1, 0])
    assert not nothing.exact
    whole = _copies(jnp.array([1.0, 1.5, 2.0]), jnp.zeros(3), 3, 4, 0.5)
    assert (int(whole.count), bool(whole.exact)) == (3, True)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_loss_of_few_parameters_has_a_block_that_fits(n):
    assert hessian.multiplicity(lambda w: w @ w, jnp.zeros(n)).words == f"{n} of 2"


def test_arguments_out_of_range_are_named():
    with pytest.raises(ValueError, match="block must be a whole number, from 1 to 2; got 3"):
        hessian.multiplicity(jnp.sum, jnp.zeros(2), block=3)
    with pytest.raises(ValueError, match="which must be 'lowest' or 'highest'"):
        hessian.multiplicity(jnp.sum, jnp.zeros(2), which="both")


@jax.jit
def grown(a):
    """Two blocks of three columns in a basis of nine rows, its Ritz pairs, and what it is restarted with."""
    first = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (12, 3)))[0].T
    state = _Blocks(jnp.zeros((9, 12)), jnp.zeros((9, 9)), jnp.int32(0), first, jnp.zeros((3, 3)), jax.random.key(1), 0)
    state = jax.lax.fori_loop(0, 2, lambda _, s: _step(lambda v: a @ v, s), state)
    pairs = _ritz(state)
    return [one._replace(key=None) for one in (state, _restarted(state, *pairs[:2]))], pairs


def test_a_block_basis_is_orthonormal_holds_the_projection_and_leaves_what_the_coupling_says():
    a = np.asarray(planted(3))[:12, :12]
    (state, again), (values, vectors, residuals) = jax.tree.map(np.asarray, grown(jnp.asarray(a)))
    basis = state.basis[:6]
    assert (int(state.count), int(state.num_matvecs)) == (2, 6)
    np.testing.assert_allclose(basis @ basis.T, np.eye(6), atol=1e-14)
    np.testing.assert_array_equal(state.basis[6:], 0)
    small = basis @ a @ basis.T
    np.testing.assert_allclose(state.matrix[:6, :6], small, atol=1e-14)
    rest = a @ basis[3:].T - basis.T @ (basis @ a @ basis[3:].T)
    np.testing.assert_allclose(state.following.T @ state.coupling, rest, atol=1e-13)
    np.testing.assert_allclose(state.following @ state.following.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(state.following @ basis.T, 0, atol=1e-14)
    np.testing.assert_allclose(values[:6], np.linalg.eigvalsh(small), atol=1e-14)
    assert (values[6:] > values[5]).all()
    y = vectors[:6, :6].T @ basis
    np.testing.assert_allclose(residuals[:6], np.linalg.norm(y @ a - values[:6, None] * y, axis=1), atol=1e-13)
    assert int(again.count) == 1  # a third of the rows
    np.testing.assert_allclose(again.basis, np.r_[y[:3], np.zeros((6, 12))], atol=1e-14)
    np.testing.assert_allclose(again.matrix, np.diag([*values[:3], *[0] * 6]), atol=1e-14)
    np.testing.assert_array_equal(again.following, state.following)


def test_a_block_that_closes_its_space_goes_on_elsewhere():
    (state, _), (values, _, residuals) = jax.tree.map(np.asarray, grown(jnp.diag(jnp.array([1.0] * 6 + [2.0] * 6))))
    np.testing.assert_array_equal(state.coupling, 0)  # two eigenvalues: each start spans two dimensions
    np.testing.assert_allclose(values[:6], [1] * 3 + [2] * 3, atol=1e-13)
    np.testing.assert_array_equal(residuals[:6], 0)
    np.testing.assert_allclose(state.following @ state.following.T, np.eye(3), atol=1e-14)
    np.testing.assert_allclose(state.following @ state.basis[:6].T, 0, atol=1e-14)


def test_products_are_shared_between_blocks_and_the_matrix_by_how_many_parameters_there_are(monkeypatch):
    class Asked(Exception):
        pass

    def counted(loss, params, args, tol, key, most, which, block, rows, dense):
        raise Asked(most, block, rows, dense)

    monkeypatch.setattr(sys.modules["hessian.spectra.multiplicity"], "_multiplicity", counted)
    for n, given, asked in (  # blocks that may be made, copies, blocks that are held, whether the matrix may be taken
        (400, {}, (0, 4, 0, True)),
        (401, {}, (401 // 5, 4, 51, True)),  # of 802 products those that the matrix leaves; 256 rows
        (2048, {}, (2048 // 5, 4, 51, True)),
        (2049, {}, (400 // 5, 4, 51, False)),
        (450, {"num_matvecs": 459}, (0, 4, 0, True)),  # two blocks at least
        (450, {"num_matvecs": 460}, (2, 4, 2, True)),
        (450, {"num_matvecs": 450}, (0, 4, 0, True)),
        (450, {"num_matvecs": 449}, (89, 4, 51, False)),
        (2049, {"num_matvecs": 10, "memory": 10 * 2049 * 8}, (2, 4, 2, False)),
        (2049, {"block": 15, "num_matvecs": 1600}, (100, 15, 24, False)),  # or 24 blocks, if that is more
        (450, {"memory": 450 * 8 * 17}, (90, 4, 3, True)),
    ):
        with pytest.raises(Asked) as found:
            hessian.multiplicity(lambda w: w @ w, jnp.zeros(n), **given)
        assert found.value.args == asked
    for given in ({"num_matvecs": 9}, {"memory": 9 * 2049 * 8}):
        with pytest.raises(ValueError, match=r"must be .*at least"):
            hessian.multiplicity(lambda w: w @ w, jnp.zeros(2049), **given)
